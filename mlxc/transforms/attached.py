"""Functions with rules of their own: custom_function, checkpoint, depends.

The graph of such a function stays as it is; its outputs are passed through an ``attach`` node,
which also sees the arguments. A transform that meets the node asks the attached rules instead of
walking into the function; where a rule is not given, it walks on.
"""

import functools

from mlxc import core as mx
from mlxc._graph import array

from . import trees
from .functions import vjp as _vjp

__all__ = ["checkpoint", "custom_function", "depends"]


class Rules:
    """What an attach node carries. Plans do not depend on it, so all with the same ``first``
    compare equal."""

    def __init__(self, first, vjp=None, jvp=None, vmap=None):
        self.first = first
        self._vjp, self._jvp, self._vmap = vjp, jvp, vmap

    def __eq__(self, other):
        return isinstance(other, Rules) and other.first == self.first

    def __hash__(self):
        return self.first

    def vjp(self, mx, cts, outs, operands):
        if self._vjp is None:
            return [None] * self.first + list(cts)
        return self._vjp(operands[: self.first], cts, outs) + [None] * (len(operands) - self.first)

    def jvp(self, mx, tangents, outs, operands):
        if self._jvp is None:
            return [
                mx.zeros_like(o) if t is None else t for t, o in zip(tangents[self.first :], outs)
            ]
        known = [
            mx.zeros_like(x) if t is None else t for t, x in zip(tangents, operands[: self.first])
        ]
        return self._jvp(operands[: self.first], known)

    def vmap(self, mx, batched, operands):
        if self._vmap is None:
            size = next(x.shape[0] for x, b in zip(operands, batched) if b)
            results = [
                x if b else mx.broadcast_to(x, (size, *x.shape))
                for x, b in zip(operands[self.first :], batched[self.first :])
            ]
            return results
        return self._vmap(operands[: self.first], batched[: self.first])


def _attach(arguments, outputs, rules):
    """The outputs, as an attach node names them."""
    if not outputs:
        return outputs
    results = mx._bind("attach", (*arguments, *outputs), (rules,))
    return list(results)


class custom_function:
    """A function whose derivatives or batching are given by other functions.

    Args:
        f (callable): Takes arrays or trees of arrays, gives the same.

    Example:
        >>> import mlxc.core as mx
        >>> @mx.custom_function
        ... def f(x):
        ...     return mx.sin(x)
        >>> @f.vjp
        ... def f_vjp(primals, cotangents, outputs):
        ...     return cotangents * 2
        >>> mx.grad(f)(mx.array(0.0))
        array(2, dtype=float32)
    """

    def __init__(self, f):
        if not callable(f):
            raise TypeError(
                f"[custom_function] {type(f).__name__} is not callable; a function would be right"
            )
        self._function = f
        self._vjp = self._jvp = self._vmap = None
        functools.update_wrapper(self, f)

    def vjp(self, f):
        """Give the product of cotangents with the Jacobian: f(primals, cotangents, outputs) ->
        cotangents."""
        self._vjp = f
        return self

    def jvp(self, f):
        """Give the product of the Jacobian with tangents: f(primals, tangents) -> tangents."""
        self._jvp = f
        return self

    def vmap(self, f):
        """Give the batched function: f(inputs, axes) -> (outputs, axes)."""
        self._vmap = f
        return self

    def __call__(self, *args, **kwargs):
        result = self._function(*args, **kwargs)
        if self._vjp is None and self._jvp is None and self._vmap is None:
            return result
        arguments, skeleton = trees.flatten(args)
        outputs, out_skeleton = trees.flatten(result)
        single = len(args) == 1

        def primals(values):
            tree = trees.unflatten(skeleton, list(values))
            return tree[0] if single else tree

        def vjp(values, cts, outs):
            cts = trees.unflatten(out_skeleton, list(cts))
            products = self._vjp(primals(values), cts, trees.unflatten(out_skeleton, list(outs)))
            return _matching("vjp", products, arguments)

        def jvp(values, tangents):
            return _matching("jvp", self._jvp(primals(values), primals(tangents)), outputs)

        def vmap(values, batched):
            axes = _axes_tree(skeleton, [0 if b else None for b in batched])
            results, out_axes = self._vmap(primals(values), axes[0] if single else axes)
            return _moved_to_front(results, out_axes)

        rules = Rules(
            len(arguments),
            vjp if self._vjp else None,
            jvp if self._jvp else None,
            vmap if self._vmap else None,
        )
        return trees.unflatten(out_skeleton, _attach(arguments, outputs, rules))


def _matching(what, given, wanted):
    """What a user's rule gave, checked to be one array for each value."""
    leaves = trees.flatten(given)[0]
    if len(leaves) != len(wanted):
        raise ValueError(
            f"[custom_function] the {what} gave {len(leaves)} arrays for {len(wanted)} values; "
            f"one each would be right"
        )
    for k, (g, w) in enumerate(zip(leaves, wanted)):
        if g.shape != w.shape:
            raise ValueError(
                f"[custom_function] the {what} gave shape {g.shape} for value {k} "
                f"of shape {w.shape}"
            )
    return leaves


def _axes_tree(skeleton, axes):
    """The skeleton with axes in the places of arrays."""
    if isinstance(skeleton, trees._Leaf):
        return axes[skeleton.position]
    if isinstance(skeleton, (list, tuple)):
        return type(skeleton)(_axes_tree(item, axes) for item in skeleton)
    if isinstance(skeleton, dict):
        return {key: _axes_tree(item, axes) for key, item in skeleton.items()}
    return skeleton


def _moved_to_front(results, axes):
    """Outputs of a user's batching rule with the batch on axis 0."""
    leaves = trees.flatten(results)[0]
    flat = [axes] * len(leaves) if axes is None or isinstance(axes, int) else _flat(axes)
    return [mx.moveaxis(x, axis, 0) for x, axis in zip(leaves, flat)]


def _flat(axes):
    if isinstance(axes, dict):
        axes = list(axes.values())
    return [
        a
        for item in axes
        for a in (_flat(item) if isinstance(item, (list, tuple, dict)) else [item])
    ]


def checkpoint(fun):
    """A function that computes its intermediate values again for gradients instead of keeping them.

    Args:
        fun (callable): Takes arrays or trees of arrays, gives the same.

    Returns:
        callable: The same function, with less memory in its backward pass and more work.

    Example:
        >>> import mlxc.core as mx
        >>> mx.grad(mx.checkpoint(lambda x: mx.sin(mx.sin(x))))(mx.array(0.0))
        array(1, dtype=float32)
    """
    if not callable(fun):
        raise TypeError(
            f"[checkpoint] {type(fun).__name__} is not callable; a function would be right"
        )

    @functools.wraps(fun)
    def checkpointed(*args, **kwargs):
        arguments, skeleton = trees.flatten((args, kwargs))
        outputs, out_skeleton = trees.flatten(fun(*args, **kwargs))

        def again(*values):
            new_args, new_kwargs = trees.unflatten(skeleton, list(values))
            return trees.flatten(fun(*new_args, **new_kwargs))[0]

        def vjp(values, cts, outs):
            floating = [k for k, x in enumerate(values) if mx.issubdtype(x.dtype, mx.inexact)]
            # The cotangents come first: computing again must wait for the backward pass to get
            # here.
            late = depends([values[k] for k in floating], list(cts))

            def partial(*chosen):
                everything = list(values)
                for k, x in zip(floating, chosen):
                    everything[k] = x
                return again(*everything)

            products = _vjp(partial, late, list(cts))[1]
            result = [None] * len(values)
            for k, product in zip(floating, products):
                result[k] = product
            return result

        rules = Rules(len(arguments), vjp)
        return trees.unflatten(out_skeleton, _attach(arguments, outputs, rules))

    return checkpointed


def depends(inputs, dependencies):
    """The inputs, not to be used before other arrays are computed.

    Args:
        inputs (array or sequence of array): What is passed on.
        dependencies (array or sequence of array): What must be computed first.

    Returns:
        array or list of array: The inputs' values.

    Raises:
        ValueError: If there is nothing but arrays expected and something else given.

    Example:
        >>> import mlxc.core as mx
        >>> mx.depends(mx.array(1), mx.array(2))
        array(1, dtype=int32)
    """
    single = isinstance(inputs, array)
    outputs = [inputs] if single else list(inputs)
    first = [dependencies] if isinstance(dependencies, array) else list(dependencies)
    for x in outputs + first:
        if not isinstance(x, array):
            raise ValueError(
                f"[depends] got {type(x).__name__}; arrays or sequences of arrays would be right"
            )
    results = _attach(first, outputs, Rules(len(first)))
    return results[0] if single else results
