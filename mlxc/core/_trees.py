"""Python trees of arrays, as public functions take them."""

from mlxc._graph import array


def arrays_of(tree):
    """The arrays of nested lists, tuples and dicts, in order; other leaves are passed over."""
    found = []
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, array):
            found.append(item)
        elif isinstance(item, dict):
            pending.extend(reversed(list(item.values())))
        elif isinstance(item, (list, tuple)):
            pending.extend(reversed(item))
    return found
