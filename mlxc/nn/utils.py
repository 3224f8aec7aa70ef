"""Functions of models: gradients with respect to parameters, checkpointing, shared gradients.

Rules: a model that lends its parameters to a transform has them back when the call ends, whether
it returns or raises.
"""

from functools import wraps

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.utils import tree_flatten, tree_map, tree_reduce


def _call_with(module, parameters, fn, args, kwargs):
    """Call `fn` while `module` holds `parameters`; then give it back what it held before."""
    before = module.trainable_parameters()
    module.update(parameters)
    try:
        return fn(*args, **kwargs)
    finally:
        # Only what is still lent is taken back: `fn` may have set parameters itself.
        now = module.parameters()
        back = tree_map(
            lambda lent, own, held: own if held is lent else held, parameters, before, now
        )
        module.update(back)


def value_and_grad(model, fn):
    """Make a function that returns the value of ``fn`` and gradients of the model's parameters.

    Args:
        model (Module): gradients are taken with respect to its trainable parameters.
        fn (callable): computes a scalar loss, or a tuple or list that begins with one, from
            its own arguments and the model.

    Returns:
        callable: takes the arguments of ``fn`` and returns its value and the gradients, a tree
        like ``model.trainable_parameters()``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> model = nn.Linear(2, 1)
        >>> loss_and_grad = nn.value_and_grad(model, lambda x: model(x).sum())
        >>> loss, grads = loss_and_grad(mx.ones((3, 2)))
        >>> grads["weight"].tolist()
        [[3.0, 3.0]]
    """

    def inner(parameters, *args, **kwargs):
        return _call_with(model, parameters, fn, args, kwargs)

    transformed = mx.value_and_grad(inner)

    @wraps(fn)
    def wrapped(*args, **kwargs):
        return transformed(model.trainable_parameters(), *args, **kwargs)

    return wrapped


def checkpoint(module, fn=None):
    """Make a function that keeps nothing for the backward pass but computes again there.

    Args:
        module (Module): its trainable parameters get gradients.
        fn (callable, optional): what to call; the module by default.

    Returns:
        callable: the same function, with a backward pass that trades time for memory.

    Raises:
        TypeError: when what is to be called cannot be.

    Source: Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", 2016.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> layer = nn.Linear(2, 1)
        >>> nn.utils.checkpoint(layer)(mx.ones((3, 2))).shape
        (3, 1)
    """
    fn = module if fn is None else fn
    if not callable(fn):
        raise TypeError(f"[checkpoint] a {type(fn).__name__} cannot be called")

    def inner(parameters, *args, **kwargs):
        return _call_with(module, parameters, fn, args, kwargs)

    transformed = mx.checkpoint(inner)

    def wrapped(*args, **kwargs):
        return transformed(module.trainable_parameters(), *args, **kwargs)

    return wrapped


def _in_groups(flat, limit):
    """Split pairs of name and array into runs of one dtype and about `limit` bytes."""
    groups, size = [], 0
    for name, gradient in flat:
        if not groups or size >= limit or groups[-1][0][1].dtype != gradient.dtype:
            groups.append([])
            size = 0
        groups[-1].append((name, gradient))
        size += gradient.nbytes
    return groups


def average_gradients(
    gradients, group=None, all_reduce_size=32 * 1024**2, communication_stream=None
):
    """Average gradients over the processes of a group.

    Args:
        gradients (Any): a tree of arrays, of the same structure in all processes.
        group (Group, optional): the processes; all of them by default.
        all_reduce_size (int): small gradients are sent together until they have so many bytes;
            0 sends each by itself. Default: 32 MiB.
        communication_stream (Stream, optional): the stream that communicates.

    Returns:
        Any: the tree of averages.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.average_gradients({"w": mx.ones((2,))})["w"].tolist()
        [1.0, 1.0]
    """
    group = _checks.members(group)
    processes = group.size()
    if processes == 1:
        return gradients

    def average(x):
        return mx.distributed.all_sum(x, group=group, stream=communication_stream) / processes

    if all_reduce_size <= 0:
        return tree_map(average, gradients)
    averaged = []
    for names_and_arrays in _in_groups(tree_flatten(gradients), all_reduce_size):
        flat = average(mx.concatenate([g.flatten() for _, g in names_and_arrays]))
        start = 0
        for name, gradient in names_and_arrays:
            part = flat[start : start + gradient.size]
            averaged.append((name, mx.reshape(part, gradient.shape)))
            start += gradient.size
    found = dict(averaged)
    names = iter([name for name, _ in tree_flatten(gradients)])
    return tree_map(lambda _: found[next(names)], gradients)


def clip_grad_norm_sharded(gradients, max_norm, group=None):
    """Scale gradients that are spread over processes so that their common norm is bounded.

    Args:
        gradients (Any): a tree with this process's part of the gradients.
        max_norm (float): the bound.
        group (Group, optional): the processes; all of them by default.

    Returns:
        tuple: the scaled tree and the norm before, an array.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> _, norm = nn.utils.clip_grad_norm_sharded({"w": mx.array([3.0, 4.0])}, 1.0)
        >>> norm.item()
        5.0
    """
    group = _checks.members(group)
    squares = tree_reduce(
        lambda total, g: total + mx.sum(mx.square(g.astype(mx.float32))),
        gradients,
        mx.array(0.0),
    )
    if group.size() > 1:
        squares = mx.distributed.all_sum(squares, group=group)
    norm = mx.sqrt(squares)
    factor = mx.minimum(max_norm / (norm + 1e-6), 1.0)
    return tree_map(lambda g: g * factor.astype(g.dtype), gradients), norm
