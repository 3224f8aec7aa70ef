"""Python trees of arrays, as transforms take and give them: lists, tuples and dicts, nested."""

from mlxc._graph import array


def flatten(tree):
    """The arrays of a tree in order, and the tree with their positions in their place."""
    leaves = []
    return leaves, _visit(tree, leaves)


def _visit(node, leaves):
    """Collect into leaves. A function of its own: a closure that calls itself is garbage that only
    the collector finds, and it would hold the arrays until then."""
    if isinstance(node, array):
        leaves.append(node)
        return _Leaf(len(leaves) - 1)
    if isinstance(node, (list, tuple)):
        return _rebuilt(node, [_visit(item, leaves) for item in node])
    if isinstance(node, dict):
        return {key: _visit(item, leaves) for key, item in node.items()}
    return node


def unflatten(skeleton, leaves):
    """The tree of a skeleton with arrays for its positions."""
    if isinstance(skeleton, _Leaf):
        return leaves[skeleton.position]
    if isinstance(skeleton, (list, tuple)):
        return _rebuilt(skeleton, [unflatten(item, leaves) for item in skeleton])
    if isinstance(skeleton, dict):
        return {key: unflatten(item, leaves) for key, item in skeleton.items()}
    return skeleton


def _rebuilt(like, items):
    """A sequence of like's type: named tuples keep their fields."""
    if isinstance(like, tuple):
        return type(like)(*items) if hasattr(like, "_fields") else tuple(items)
    return items


class _Leaf:
    """The place of an array in a skeleton."""

    __slots__ = ("position",)

    def __init__(self, position):
        self.position = position

    def __eq__(self, other):
        return isinstance(other, _Leaf) and other.position == self.position

    def __hash__(self):
        return self.position
