"""Public transforms of differentiation and batching: vjp, jvp, grad, value_and_grad, vmap."""

import functools
from operator import index

from mlxc import core as mx
from mlxc._graph import array

from . import trees
from .autodiff import pull_back, push_forward
from .tracing import Tracing, abstract_like, new_handles, placeholders
from .vectorize import replay_batched

__all__ = ["grad", "jvp", "value_and_grad", "vjp", "vmap"]


def _as_list(op, value, what):
    """Outputs or vectors as a list of arrays."""
    items = [value] if isinstance(value, array) else value
    sequence = isinstance(items, (list, tuple))
    if not sequence or not all(isinstance(item, array) for item in items):
        raise ValueError(
            f"[{op}] {what} of type {type(value).__name__}; an array or a list of arrays would be "
            "right"
        )
    return list(items)


def _check_like(op, what, given, wanted):
    """Vectors must have the shapes of what they go with."""
    if len(given) != len(wanted):
        raise ValueError(
            f"[{op}] {len(given)} {what} for {len(wanted)} values; one each would be right"
        )
    for k, (g, w) in enumerate(zip(given, wanted)):
        if g.shape != w.shape:
            raise ValueError(
                f"[{op}] {what} {k} has shape {g.shape}; shape {w.shape} would be right"
            )


def vjp(fun, primals, cotangents):
    """The outputs of a function, and the products of cotangents with its Jacobian.

    Args:
        fun (callable): Takes arrays, returns an array or a list or tuple of arrays.
        primals (list of array): Where to evaluate it.
        cotangents (list of array): One an output, of the outputs' shapes.

    Returns:
        tuple of list: The outputs, and one product for each primal.

    Raises:
        ValueError: If shapes or numbers of vectors do not fit, or an operation has no derivative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.vjp(mx.square, [mx.array(3.0)], [mx.array(1.0)])[1]
        [array(6, dtype=float32)]
    """
    primals = _as_list("vjp", primals, "primals")
    cotangents = _as_list("vjp", cotangents, "cotangents")
    with Tracing():
        inputs = placeholders(primals)
        outputs = _as_list("vjp", fun(*new_handles(inputs)), "outputs")
        _check_like("vjp", "cotangents", cotangents, outputs)
        products = pull_back(mx, outputs, inputs, cotangents)
    return outputs, [mx.zeros_like(x) if ct is None else ct for x, ct in zip(primals, products)]


def jvp(fun, primals, tangents):
    """The outputs of a function, and the products of its Jacobian with tangents.

    Args:
        fun (callable): Takes arrays, returns an array or a list or tuple of arrays.
        primals (list of array): Where to evaluate it.
        tangents (list of array): One a primal, of the primals' shapes.

    Returns:
        tuple of list: The outputs, and one product for each output.

    Raises:
        ValueError: If shapes or numbers of vectors do not fit, or an operation has no derivative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.jvp(mx.square, [mx.array(3.0)], [mx.array(1.0)])[1]
        [array(6, dtype=float32)]
    """
    primals = _as_list("jvp", primals, "primals")
    tangents = _as_list("jvp", tangents, "tangents")
    _check_like("jvp", "tangents", tangents, primals)
    with Tracing():
        inputs = placeholders(primals)
        outputs = _as_list("jvp", fun(*new_handles(inputs)), "outputs")
        products = push_forward(mx, outputs, inputs, tangents)
    return outputs, [mx.zeros_like(x) if t is None else t for x, t in zip(outputs, products)]


def _positions(op, argnums, argnames):
    """argnums and argnames checked: tuples, and whether a single position was asked for."""
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames or ())
    if argnums is None:
        single = False
        numbers = () if names else (0,)
        single = not names
    elif isinstance(argnums, (list, tuple)):
        numbers = tuple(sorted([index(n) for n in argnums]))  # gradients come in this order
        single = len(numbers) == 1 and not names
    else:
        single, numbers = not names, (index(argnums),)
    for what, values in (("argnums", numbers), ("argnames", names)):
        if len(set(values)) != len(values):
            raise ValueError(f"[{op}] {what} {values} name an argument twice")
    if any(n < 0 for n in numbers):
        raise ValueError(f"[{op}] argnums {numbers}; positions counted from 0 would be right")
    if not numbers and not names:
        raise ValueError(
            f"[{op}] neither argnums nor argnames; at least one argument must be differentiated"
        )
    return numbers, names, single


def _check_inputs(op, leaves, what):
    if not leaves:
        raise ValueError(
            f"[{op}] {what} holds no array; there is nothing to differentiate with respect to"
        )
    # Integers among them, like a table in a model's parameters, get gradients of their own dtype.
    if not any(mx.issubdtype(x.dtype, mx.inexact) for x in leaves):
        raise ValueError(
            f"[{op}] {what} has dtype {leaves[0].dtype.name.rstrip('_')}; derivatives are defined "
            "for floating-point and complex arrays: convert with astype first"
        )


def _scalar_value(op, outputs):
    """The loss among a function's outputs: the output itself, or the first of a tuple."""
    value = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs
    if not isinstance(value, array):
        raise ValueError(
            f"[{op}] the function gave {type(value).__name__}; an array, or a tuple with an array "
            "first, would be right"
        )
    if value.size != 1 or value.ndim != 0:
        raise ValueError(
            f"[{op}] the function gave shape {value.shape}; gradients are of scalar functions: "
            "reduce to shape () first"
        )
    if not mx.issubdtype(value.dtype, mx.inexact):
        raise ValueError(
            f"[{op}] the function gave dtype {value.dtype.name}; a floating-point scalar would be "
            "right"
        )
    return value


def value_and_grad(fun, argnums=None, argnames=None):
    """A function that gives what ``fun`` gives, and the gradient of its (first) output.

    Args:
        fun (callable): Gives a scalar array, or a tuple whose first element is one; the rest is
            passed through.
        argnums (int or list of int, optional): Positions of the arguments to differentiate with
            respect to, each an array or a tree of arrays. Default: 0 if there are no argnames.
        argnames (str or list of str, optional): Keyword arguments likewise.

    Returns:
        callable: Gives (value, gradients). The gradients have the structure of the argument; a
            tuple of them for several positions; a tuple (positional gradients or None, dict of
            named ones) where argnames are given.

    Raises:
        ValueError: If the output is no scalar, an argument is not of floating point, or an
            operation between them has no derivative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.value_and_grad(lambda w: (w * w).sum())(mx.array([1.0, 2.0]))
        (array(5, dtype=float32), array([2, 4], dtype=float32))
    """
    if not callable(fun):
        raise TypeError(
            f"[value_and_grad] {type(fun).__name__} is not callable; a function would be right"
        )
    return _differentiated("value_and_grad", fun, argnums, argnames)


def grad(fun, argnums=None, argnames=None):
    """A function that gives the gradient of ``fun``.

    Args:
        fun (callable): Gives a scalar array, or a tuple whose first element is one.
        argnums (int or list of int, optional): As for value_and_grad.
        argnames (str or list of str, optional): As for value_and_grad.

    Returns:
        callable: Gives the gradients as value_and_grad does.

    Raises:
        ValueError: As value_and_grad's function.

    Example:
        >>> import mlxc.core as mx
        >>> mx.grad(mx.sin)(mx.array(0.0))
        array(1, dtype=float32)
    """
    if not callable(fun):
        raise TypeError(f"[grad] {type(fun).__name__} is not callable; a function would be right")
    inner = _differentiated("grad", fun, argnums, argnames)

    @functools.wraps(fun, assigned=("__name__", "__doc__"), updated=())
    def gradient(*args, **kwargs):
        return inner(*args, **kwargs)[1]

    return gradient


def _differentiated(op, fun, argnums, argnames):
    numbers, names, single = _positions(op, argnums, argnames)

    @functools.wraps(fun, assigned=("__name__", "__doc__"), updated=())
    def value_and_gradient(*args, **kwargs):
        if numbers and max(numbers) >= len(args):
            raise ValueError(
                f"[{op}] argnums {numbers} of {len(args)} positional arguments; fewer than that "
                "are there"
            )
        for name in names:
            if name not in kwargs:
                raise ValueError(
                    f"[{op}] there is no keyword argument {name!r}; argnames name keyword arguments"
                )
        chosen = [args[n] for n in numbers] + [kwargs[name] for name in names]
        leaves, skeleton = trees.flatten(chosen)
        _check_inputs(op, leaves, "what is differentiated with respect to")
        inputs = placeholders(leaves)
        with Tracing(), trees.Loan(chosen, new_handles(inputs)) as traced:
            new_args = list(args)
            for n, value in zip(numbers, traced):
                new_args[n] = value
            outputs = fun(*new_args, **{**kwargs, **dict(zip(names, traced[len(numbers) :]))})
            value = _scalar_value(op, outputs)
            cotangents = pull_back(mx, [value], inputs, [mx.ones_like(value)])
        gradients = [mx.zeros_like(x) if ct is None else ct for x, ct in zip(leaves, cotangents)]
        result = trees.unflatten(skeleton, gradients)
        return outputs, _arranged(result, numbers, names, single)

    return value_and_gradient


def _arranged(result, numbers, names, single):
    """Gradients as value_and_grad documents them."""
    positional = result[: len(numbers)]
    if not names:
        return positional[0] if single else tuple(positional)
    named = dict(zip(names, result[len(numbers) :]))
    if not numbers:
        return None, named
    return (positional[0] if len(numbers) == 1 else tuple(positional)), named


def _axes_beside(op, axes, skeleton):
    """The axes of a tree, one for each array of a skeleton, in order."""
    if isinstance(skeleton, trees._Leaf):
        if axes is not None and not isinstance(axes, int):
            raise ValueError(f"[{op}] {axes!r} for an array; an axis or None would be right")
        return [axes]
    same = axes is None or isinstance(axes, int)
    if isinstance(skeleton, dict):
        if not same and (not isinstance(axes, dict) or not set(skeleton) <= set(axes)):
            raise ValueError(
                f"[{op}] {axes!r} for keys {list(skeleton)}; an axis for each would be right"
            )
        pairs = [(axes if same else axes[key], item) for key, item in skeleton.items()]
    elif isinstance(skeleton, (list, tuple)):
        if not same and not isinstance(axes, (list, tuple)):
            raise ValueError(f"[{op}] {axes!r} for {len(skeleton)} values; axes would be right")
        if not same and len(axes) != len(skeleton):
            raise ValueError(
                f"[{op}] {len(axes)} axes for {len(skeleton)} values; one each would be right"
            )
        pairs = list(zip([axes] * len(skeleton) if same else axes, skeleton))
    else:
        return []
    return [axis for spec, item in pairs for axis in _axes_beside(op, spec, item)]


def _axes_of(op, axes, value):
    """An axis (or None) for every array of a value: axes is an integer, None, or a tree like the
    value."""
    leaves, skeleton = trees.flatten(value)
    if axes is None or isinstance(axes, int):
        return [axes] * len(leaves)
    return _axes_beside(op, axes, skeleton)


def vmap(fun, in_axes=0, out_axes=0):
    """A function that maps ``fun`` over an axis of its inputs, all examples at once.

    Args:
        fun (callable): Works on one example: arrays or trees of arrays in, the same out.
        in_axes (int, None, or tree): For each argument the axis to map over; None: the same for all
            examples.
        out_axes (int, None, or tree): Where the mapped axis stands in the outputs.

    Returns:
        callable: ``fun`` over batches.

    Raises:
        ValueError: If no input is mapped, the mapped sizes differ, an axis is out of range, or a
            value is needed while the function is traced.

    Example:
        >>> import mlxc.core as mx
        >>> mx.vmap(lambda x, y: (x * y).sum())(mx.ones((3, 2)), mx.ones((3, 2)))
        array([2, 2, 2], dtype=float32)
    """
    if not callable(fun):
        raise TypeError(f"[vmap] {type(fun).__name__} is not callable; a function would be right")

    @functools.wraps(fun, assigned=("__name__", "__doc__"), updated=())
    def mapped(*args):
        leaves, skeleton = trees.flatten(args)
        axes = [
            None if axis is None else mx._normalize_axis("vmap", axis, x.ndim)
            for axis, x in zip(_axes_of("vmap", in_axes, args), leaves)
        ]
        sizes = {x.shape[axis] for axis, x in zip(axes, leaves) if axis is not None}
        if len(sizes) != 1:
            what = f"sizes {sorted(sizes)}" if sizes else "no input"
            raise ValueError(
                f"[vmap] {what} to map over; inputs of one size along their mapped axes would be "
                "right"
            )
        batch = [k for k, axis in enumerate(axes) if axis is not None]
        moved = [mx.moveaxis(leaves[k], axes[k], 0) for k in batch]
        with Tracing():
            inputs = abstract_like(moved, [x.shape[1:] for x in moved])
            traced = list(leaves)
            for k, x in zip(batch, inputs):
                traced[k] = x
            given = trees.unflatten(skeleton, new_handles(traced))
            outputs, out_skeleton = trees.flatten(fun(*given))
            results = replay_batched(mx, outputs, inputs, moved)
        placed = _axes_of("vmap", out_axes, trees.unflatten(out_skeleton, outputs))
        size = sizes.pop()
        return trees.unflatten(
            out_skeleton, [_placed(r, b, axis, size) for (r, b), axis in zip(results, placed)]
        )

    return mapped


def _placed(result, batched, axis, size):
    """A batched result with its batch where out_axes wants it."""
    if axis is None:
        if batched:
            raise ValueError(
                "[vmap] out_axes None for an output that differs between examples; an axis would "
                "be right"
            )
        return result
    if not batched:
        result = mx.broadcast_to(mx.expand_dims(result, 0), (size, *result.shape))
    return mx.moveaxis(result, 0, mx._normalize_axis("vmap", axis, result.ndim))
