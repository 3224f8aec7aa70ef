"""compile: run a function's Python once for each kind of arguments, and make its graph again after
that."""

import os

from mlxc import core as mx
from mlxc._graph import array

from . import trees
from .calling import Compiled, places, put, switch
from .replay import recipe_of, remade
from .tracing import Tracing, abstract_like, new_handles, stand_for

__all__ = ["compile", "disable_compile", "enable_compile", "simplify"]

if any(
    os.environ.get(name, "0") not in ("", "0")
    for name in ("MLXC_DISABLE_COMPILE", "MLX_DISABLE_COMPILE")
):
    switch(False)

# Whoever watches operations sees those of compiled functions too.
mx.debug._while_watching(switch)


def disable_compile():
    """Let compiled functions run their Python every time.

    Example:
        >>> import mlxc.core as mx
        >>> mx.disable_compile()
        >>> mx.enable_compile()
    """
    switch(False)


def enable_compile():
    """Let compiled functions use what they have traced.

    Example:
        >>> import mlxc.core as mx
        >>> mx.enable_compile()
    """
    switch(True)


def simplify(*args):
    """Remove common subexpressions from the graph behind arrays.

    Args:
        *args (arrays or trees of arrays): What they stand for stays the same, made of fewer
            operations.

    Example:
        >>> import mlxc.core as mx
        >>> x = mx.array(2.0)
        >>> y = mx.exp(x) + mx.exp(x)
        >>> mx.simplify(y)  # exp is computed once
        >>> y
        array(14.7781, dtype=float32)
    """
    arrays = trees.flatten(args)[0]
    for x, y in zip(arrays, remade(arrays)):
        mx._replace(x, y)


def _constants(tree):
    """A hashable picture of a tree: structure, and what stands between the arrays."""
    if isinstance(tree, trees._Leaf):
        return "array"
    if isinstance(tree, (list, tuple)):
        return (type(tree).__name__, *map(_constants, tree))
    if isinstance(tree, dict):
        return ("dict", *((key, _constants(item)) for key, item in tree.items()))
    try:
        hash(tree)
    except TypeError:
        raise ValueError(
            f"[compile] an argument of type {type(tree).__name__}; arrays, numbers, strings, None, "
            "and lists, tuples and dicts of them would be right"
        ) from None
    if isinstance(tree, (float, complex)) or hasattr(tree, "dtype"):
        return type(tree).__name__, repr(tree)  # 0.0 is not -0.0, NaN is itself
    return type(tree).__name__, tree


class _Snapshot:
    """The contents of nested containers, to be restored after a function has failed in them."""

    def __init__(self, *roots):
        self.saved = []
        pending = list(roots)
        while pending:
            node = pending.pop()
            if isinstance(node, array):
                self.saved.append((node, array(node)))
            elif isinstance(node, (dict, list, tuple)):
                copy = dict(node) if isinstance(node, dict) else list(node)
                self.saved.append((node, type(node) is not tuple and copy))
                pending.extend(node.values() if isinstance(node, dict) else node)

    def restore(self):
        for node, content in self.saved:
            if isinstance(node, array):
                mx._replace(node, content)
            elif isinstance(node, dict):
                dict.clear(node)
                dict.update(node, content)
            elif isinstance(node, list):
                node[:] = content


def compile(fun, inputs=None, outputs=None, shapeless=False):
    """A function that traces ``fun`` once for each kind of arguments and afterwards only makes its
    graph again.

    Args:
        fun (callable): Takes and gives arrays or trees of arrays; other arguments are constants of
            the trace.
        inputs (list or dict, optional): Containers of arrays that fun reads besides its arguments.
        outputs (list or dict, optional): Containers of arrays that fun changes; they are changed
            likewise.
        shapeless (bool): Kept for compatibility; new shapes are traced anew, which gives the same
            values.

    Returns:
        callable: ``fun``, faster from the second call on.

    Raises:
        ValueError: If fun needs a value while it is traced, or an argument cannot be a constant.

    Example:
        >>> import mlxc.core as mx
        >>> f = mx.compile(lambda x, y: mx.exp(x) * y)
        >>> f(mx.array(0.0), mx.array(2.0))
        array(2, dtype=float32)
    """
    if not callable(fun):
        raise TypeError(
            f"[compile] {type(fun).__name__} is not callable; a function would be right"
        )
    return Compiled(fun, inputs, outputs, _trace, _constants)


def _trace(fun, skeleton, leaves, inputs, state, outputs):
    """Run the function on placeholders: its recipe, and the tree of its results with the number of
    their arrays. Containers are as before afterwards, whatever happens."""
    values = leaves + state
    state = new_handles(state)  # those in tuples are changed themselves
    snapshot = _Snapshot(inputs, outputs)
    taken = places(inputs)
    try:
        with Tracing():
            placeholders = abstract_like(values, [x.shape for x in values])
            given = new_handles(placeholders)
            args, kwargs = trees.unflatten(skeleton, given[: len(leaves)])
            put(taken, given[len(leaves) :])
            results, out_skeleton = trees.flatten(fun(*args, **kwargs))
            changed = trees.flatten(outputs)[0] if outputs is not None else []
            recipe = recipe_of(results + changed, placeholders)
    except BaseException:
        snapshot.restore()
        raise
    put(taken, state)
    stand_for(given, placeholders, values)  # fun may have kept them: the weights of a model
    return recipe, out_skeleton, len(results)
