"""Python trees of arrays, as transforms take and give them: lists, tuples and dicts, nested."""

from copy import copy

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
    """A list, or a tuple of like's type: named tuples keep their fields."""
    return tuple.__new__(type(like), items) if isinstance(like, tuple) else items


class Loan:
    """A tree with other arrays for its own, lent: ``with Loan(tree, arrays) as lent``.

    Dicts and lists of types of their own, as modules are, stay the objects that they are, so that
    they may be called, and get their arrays back at the end; plain ones are copied, so that threads
    may share them. What the function has put into them itself, as running averages are, stays.
    """

    def __init__(self, tree, arrays):
        self._tree, self._arrays = tree, iter(arrays)
        self._places = []  # (container, the container lent, key, what was lent, what was there)
        self._known = set()

    def __enter__(self):
        return self._lent(self._tree)

    def __exit__(self, kind, error, trace):
        for container, lent, key, new, old in self._places:
            try:
                now = lent[key]
            except LookupError:  # the function has removed it
                continue
            if now is new and lent is container:
                container[key] = old
            elif now is not new and lent is not container and kind is None:
                container[key] = now

    def _lent(self, node):
        if isinstance(node, array):
            return next(self._arrays)
        if isinstance(node, tuple):
            return _rebuilt(node, [self._lent(item) for item in node])
        if not isinstance(node, (dict, list)):
            return node
        # One that stands in the tree twice can only hold the arrays of one of its places.
        plain = type(node) in (dict, list) or id(node) in self._known
        self._known.add(id(node))
        lent = copy(node) if plain else node
        for key, item in [*node.items()] if isinstance(node, dict) else enumerate(node):
            new = self._lent(item)
            if new is not item:
                lent[key] = new
                self._places.append((node, lent, key, new, item))
        return lent


class _Leaf:
    """The place of an array in a skeleton."""

    __slots__ = ("position",)

    def __init__(self, position):
        self.position = position

    def __eq__(self, other):
        return isinstance(other, _Leaf) and other.position == self.position

    def __hash__(self):
        return self.position
