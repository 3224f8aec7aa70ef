"""compile: run a function's Python once for each kind of arguments, and make its graph again after
that."""

import functools
import os
from collections import OrderedDict

from mlxc import core as mx
from mlxc._graph import array

from . import trees
from .replay import Recipe, quick_key
from .tracing import Tracing, abstract_like, new_handles

__all__ = ["compile", "disable_compile", "enable_compile", "simplify"]

CACHE_LIMIT = 256  # recipes a function: beyond it the oldest goes

_enabled = not any(
    os.environ.get(name, "0") not in ("", "0")
    for name in ("MLXC_DISABLE_COMPILE", "MLX_DISABLE_COMPILE")
)


def disable_compile():
    """Let compiled functions run their Python every time.

    Example:
        >>> import mlxc.core as mx
        >>> mx.disable_compile()
        >>> mx.enable_compile()
    """
    global _enabled
    _enabled = False


def enable_compile():
    """Let compiled functions use what they have traced.

    Example:
        >>> import mlxc.core as mx
        >>> mx.enable_compile()
    """
    global _enabled
    _enabled = True


def simplify(*args):
    """Remove common subexpressions from the graph behind arrays.

    Evaluation does what can be done on its own; the call is kept for programs that make it.

    Args:
        *args (arrays or trees of arrays): Their graphs.

    Example:
        >>> import mlxc.core as mx
        >>> mx.simplify(mx.ones((2,)) + 1)
    """
    arrays = trees.flatten(args)[0]
    if arrays:
        for x, y in zip(arrays, Recipe(arrays, []).make([])):
            mx._replace(x, y)


class _Traced:
    """One trace of a function: its recipe, and where its outputs go."""

    def __init__(self, recipe, skeleton, count):
        self.recipe = recipe
        self.skeleton = skeleton
        self.count = count
        self.single = isinstance(skeleton, trees._Leaf)


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
    return type(tree).__name__, tree


_PLACE = object()  # marks a found place among what is still to be searched


def _slots(tree):
    """Where the arrays of nested containers stand, in order: (container, key) pairs; a lone array
    is its own."""
    if isinstance(tree, array):
        return [(tree, None)]
    found = []
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple) and len(node) == 2 and node[0] is _PLACE:
            found.append(node[1])
        elif isinstance(node, (dict, list, tuple)):
            items = list(node.items() if isinstance(node, dict) else enumerate(node))
            for key, item in reversed(items):
                if isinstance(item, array):
                    place = (item, None) if isinstance(node, tuple) else (node, key)
                    pending.append((_PLACE, place))
                else:
                    pending.append(item)
    return found


def _put(slots, values):
    """Put arrays where slots say, changing the containers themselves."""
    for (container, key), value in zip(slots, values):
        if key is None:
            mx._replace(container, value)
        else:
            container[key] = value


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
    cache = OrderedDict()

    @functools.wraps(fun)
    def compiled(*args, **kwargs):
        if not _enabled:
            return fun(*args, **kwargs)
        key, values = quick_key(args, inputs) if not kwargs else (None, None)
        traced = cache.get(key) if key is not None else None
        if traced is None:
            leaves, skeleton = trees.flatten((args, kwargs))
            state = trees.flatten(inputs)[0] if inputs is not None else []
            values = leaves + state
            if key is None:
                shapes = tuple([(x.shape, x.dtype) for x in values])
                key = (shapes, len(leaves), _constants(skeleton))
                traced = cache.get(key)
        if traced is None:
            traced = cache[key] = _trace(fun, skeleton, leaves, inputs, state, outputs)
            if len(cache) > CACHE_LIMIT:
                cache.popitem(last=False)
        results = traced.recipe.make(values)
        if outputs is not None:
            _put(_slots(outputs), results[traced.count :])
        if traced.single:
            return results[0]
        return trees.unflatten(traced.skeleton, results[: traced.count])

    return compiled


def _trace(fun, skeleton, leaves, inputs, state, outputs):
    """Run the function on placeholders; containers are as before afterwards, whatever happens."""
    values = leaves + state
    snapshot = _Snapshot(inputs, outputs)
    slots = _slots(inputs)
    try:
        with Tracing():
            placeholders = abstract_like(values, [x.shape for x in values])
            given = new_handles(placeholders)
            args, kwargs = trees.unflatten(skeleton, given[: len(leaves)])
            _put(slots, given[len(leaves) :])
            results, out_skeleton = trees.flatten(fun(*args, **kwargs))
            changed = trees.flatten(outputs)[0] if outputs is not None else []
            recipe = Recipe(results + changed, placeholders)
    except BaseException:
        snapshot.restore()
        raise
    _put(slots, state)
    return _Traced(recipe, out_skeleton, len(results))
