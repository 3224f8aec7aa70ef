"""Walking Python trees: nested dicts, lists and tuples whose leaves are anything else.

Rules: leaves are never inspected; containers are rebuilt as the type they came in (named tuples
included); the order of a dict is the order of its keys.
"""

_CONTAINERS = (dict, list, tuple)


def _is_named_tuple(node):
    return isinstance(node, tuple) and hasattr(node, "_fields")


def _rebuild(like, items):
    """A list or tuple of the type of `like` that holds `items`."""
    return type(like)(*items) if _is_named_tuple(like) else type(like)(items)


def _children(trees, key, path):
    """The entry `key` of companion trees, with an error that says where one lacks it."""
    try:
        return [tree[key] for tree in trees]
    except (KeyError, IndexError) as error:
        message = f"[tree_map] a companion tree has no entry {key!r} at {path or 'its root'!r}"
        raise type(error)(message) from None


def tree_map(fn, tree, *rest, is_leaf=None):
    """Apply a function to every leaf of a tree and return the tree of results.

    Args:
        fn (callable): called as ``fn(leaf, *companions)``.
        tree (Any): the tree whose structure is followed.
        *rest (Any): companion trees, each a superset of ``tree``.
        is_leaf (callable, optional): says which containers count as leaves.

    Returns:
        Any: a tree of the same structure.

    Raises:
        KeyError, IndexError: when a companion lacks an entry of ``tree``.

    Example:
        >>> tree_map(lambda a, b: a + b, {"x": [1, 2]}, {"x": [10, 20], "y": 0})
        {'x': [11, 22]}
    """
    if (is_leaf is not None and is_leaf(tree)) or not isinstance(tree, _CONTAINERS):
        return fn(tree, *rest)
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    mapped = {}
    for key, child in pairs:
        others = _children(rest, key, "")
        if is_leaf is None and not isinstance(child, _CONTAINERS):
            mapped[key] = fn(child, *others)  # without one more call
        else:
            mapped[key] = tree_map(fn, child, *others, is_leaf=is_leaf)
    return mapped if isinstance(tree, dict) else _rebuild(tree, mapped.values())


def tree_map_with_path(fn, tree, *rest, is_leaf=None, path=None):
    """Apply a function to the dotted path and the value of every leaf.

    Args:
        fn (callable): called as ``fn(path, leaf, *companions)``.
        tree (Any): the tree whose structure is followed.
        *rest (Any): companion trees, each a superset of ``tree``.
        is_leaf (callable, optional): says which containers count as leaves.
        path (str, optional): a prefix of all paths.

    Returns:
        Any: a tree of the same structure.

    Raises:
        KeyError, IndexError: when a companion lacks an entry of ``tree``.

    Example:
        >>> tree_map_with_path(lambda p, v: f"{p}={v}", {"a": [1, 2]})
        {'a': ['a.0=1', 'a.1=2']}
    """
    if is_leaf is not None and is_leaf(tree):
        return fn(path, tree, *rest)
    if isinstance(tree, (list, tuple)):
        pairs = enumerate(tree)
    elif isinstance(tree, dict):
        pairs = tree.items()
    else:
        return fn(path, tree, *rest)
    prefix = f"{path}." if path else ""
    mapped = {
        key: tree_map_with_path(
            fn,
            child,
            *_children(rest, key, path),
            is_leaf=is_leaf,
            path=f"{prefix}{key}",
        )
        for key, child in pairs
    }
    return mapped if isinstance(tree, dict) else _rebuild(tree, mapped.values())


def _walk(node, path, is_leaf, put):
    """Put every leaf with its path. No closure: one that calls itself would keep the leaves until
    the garbage collector finds it."""
    if is_leaf is not None and is_leaf(node):
        put(path[1:], node)
    elif isinstance(node, (list, tuple)):
        for i, child in enumerate(node):
            _walk(child, f"{path}.{i}", is_leaf, put)
    elif isinstance(node, dict):
        for key, child in node.items():
            _walk(child, f"{path}.{key}", is_leaf, put)
    else:
        put(path[1:], node)


def tree_flatten(tree, prefix="", is_leaf=None, destination=None):
    """Flatten a tree into pairs of dotted path and leaf.

    Args:
        tree (Any): the tree.
        prefix (str): put before every path; its first character is dropped.
        is_leaf (callable, optional): says which containers count as leaves.
        destination (list or dict, optional): receives the pairs; a new list by default.

    Returns:
        list[tuple[str, Any]] or dict[str, Any]: the destination.

    Raises:
        ValueError: when ``destination`` is neither a list nor a dict.

    Example:
        >>> tree_flatten({"a": [1, {"b": 2}]})
        [('a.0', 1), ('a.1.b', 2)]
    """
    if destination is None:
        destination = []
    if isinstance(destination, list):

        def put(path, value):
            destination.append((path, value))
    elif isinstance(destination, dict):
        put = destination.__setitem__
    else:
        given = type(destination).__name__
        raise ValueError(f"[tree_flatten] destination is a {given}; pass a list, a dict or None")

    _walk(tree, prefix, is_leaf, put)
    return destination


def tree_unflatten(tree):
    """Rebuild a tree from pairs of dotted path and leaf: the inverse of :func:`tree_flatten`.

    Containers whose keys are all whole numbers become lists; positions that no path names hold
    an empty dict. Tuples come back as lists, and empty containers are not in a flat tree.

    Args:
        tree (list[tuple[str, Any]] or dict[str, Any]): the flat tree.

    Returns:
        Any: the tree.

    Raises:
        ValueError: when a path occurs twice.

    Example:
        >>> tree_unflatten([("a.0", 1), ("a.1.b", 2)])
        {'a': [1, {'b': 2}]}
    """
    pairs = list(tree.items() if isinstance(tree, dict) else tree)
    if not pairs:
        return []
    if len(pairs) == 1 and pairs[0][0] == "":
        return pairs[0][1]
    if len({path for path, _ in pairs}) != len(pairs):
        raise ValueError("[tree_unflatten] a path occurs twice; every leaf needs its own")

    groups = {}
    for path, value in pairs:
        head, _, tail = path.partition(".")
        groups.setdefault(head, []).append((tail, value))
    if not all(key.isdecimal() for key in groups):
        return {key: tree_unflatten(group) for key, group in groups.items()}

    by_index = {int(key): group for key, group in groups.items()}
    # A file may name index 10**12: a hole costs memory, so holes may not outnumber the leaves.
    if max(by_index) > 1_000_000 + 8 * len(pairs):
        raise ValueError(f"[tree_unflatten] list index {max(by_index)} leaves too many holes")
    return [tree_unflatten(by_index[i]) if i in by_index else {} for i in range(max(by_index) + 1)]


def tree_reduce(fn, tree, initializer=None, is_leaf=None):
    """Fold the leaves of a tree into one value.

    Args:
        fn (callable): called as ``fn(accumulated, leaf)``.
        tree (Any): the tree.
        initializer (Any, optional): the first accumulated value; the first leaf by default.
        is_leaf (callable, optional): says which containers count as leaves.

    Returns:
        Any: the accumulated value; ``initializer`` for a tree without leaves.

    Example:
        >>> tree_reduce(lambda total, leaf: total + leaf, {"a": [1, 2, 3], "b": [4, 5]}, 0)
        15
    """
    accumulated = initializer
    for _, leaf in tree_flatten(tree, is_leaf=is_leaf):
        accumulated = leaf if accumulated is None else fn(accumulated, leaf)
    return accumulated


def tree_merge(tree_a, tree_b, merge_fn=None):
    """Merge two trees into one that holds the leaves of both.

    ``None`` and empty containers count as absent.

    Args:
        tree_a (Any): the first tree.
        tree_b (Any): the second tree.
        merge_fn (callable, optional): called as ``merge_fn(a, b)`` where both have a leaf.

    Returns:
        Any: the merged tree.

    Raises:
        ValueError: when both have something at one place, not containers of one kind, and there
            is no ``merge_fn``.

    Example:
        >>> tree_merge({"a": 1}, {"b": [2]})
        {'a': 1, 'b': [2]}
    """
    containers = (dict, list, tuple)
    if tree_a is None or (isinstance(tree_a, containers) and not tree_a and tree_b is not None):
        if tree_a is not None and isinstance(tree_b, containers) and not tree_b:
            _check_same_kind(tree_a, tree_b)
        return tree_b
    if tree_b is None or (isinstance(tree_b, containers) and not tree_b):
        return tree_a
    if isinstance(tree_a, dict) and isinstance(tree_b, dict):
        merged = dict(tree_a)
        for key, b in tree_b.items():
            merged[key] = tree_merge(tree_a.get(key), b, merge_fn)
        return merged
    if isinstance(tree_a, (list, tuple)) and isinstance(tree_b, (list, tuple)):
        longest = max(len(tree_a), len(tree_b))
        padded_a = [*tree_a, *[None] * (longest - len(tree_a))]
        padded_b = [*tree_b, *[None] * (longest - len(tree_b))]
        items = [tree_merge(a, b, merge_fn) for a, b in zip(padded_a, padded_b, strict=True)]
        return _rebuild(tree_a, items)
    if merge_fn is None:
        raise ValueError(
            "[tree_merge] both trees have a leaf at the same place; pass merge_fn to join them"
        )
    return merge_fn(tree_a, tree_b)


def _check_same_kind(a, b):
    if isinstance(a, dict) != isinstance(b, dict):
        raise ValueError(
            f"[tree_merge] cannot merge a {type(a).__name__} with a {type(b).__name__}"
        )
