"""Ordering along an axis: ``mx.sort`` and its kin, and the composites made of them.

Rules: NaN counts as larger than every number; equal values keep their order; places are uint32;
axis None orders the flattened array. Nothing here looks at values, so shapes never depend on them.
"""

from operator import index

import mlxc.core as mx
from mlxc._graph import bind

from ._arguments import as_array, normalize_axes, normalize_axis
from ._rows import along

__all__ = [
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "median",
    "partition",
    "searchsorted",
    "sort",
    "topk",
    "unique",
]

_FLOATING = (mx.float16, mx.bfloat16, mx.float32, mx.float64, mx.complex64)


def _line(name, a, axis):
    """The array, flattened for axis None, and the axis counted from the front."""
    a = as_array(a)
    if axis is None:
        return mx.reshape(a, (-1,)), 0
    return a, normalize_axis(name, axis, a.ndim)


def _integer(name, word, value):
    """An integer argument as an int."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(
            f"[{name}] {word} {value!r} of type {type(value).__name__}; an integer would be right"
        ) from None


def sort(a, /, axis=-1, *, stream=None):
    """A copy sorted along an axis, ascending, NaN last.

    Args:
        a (array): of any shape and dtype; complex numbers are ordered by real, then imaginary part.
        axis (int or None): what to sort along; None sorts the flattened array.

    Returns:
        array: of a's shape (flat for axis None) and dtype.

    Raises:
        ValueError: the axis is out of range.

    >>> import mlxc.core as mx
    >>> mx.sort(mx.array([3, 1, 2])).tolist()
    [1, 2, 3]
    """
    return along("sort", a, axis)


def argsort(a, /, axis=-1, *, stream=None):
    """Places of the values that sort along an axis, NaN last; equal values keep their order.

    Args:
        a (array): of any shape and dtype.
        axis (int or None): what to sort along; None sorts the flattened array.

    Returns:
        array: uint32, of a's shape (flat for axis None).

    Raises:
        ValueError: the axis is out of range, or longer than 2**32.

    >>> import mlxc.core as mx
    >>> mx.argsort(mx.array([3, 1, 2])).tolist()
    [1, 2, 0]
    """
    return along("argsort", a, axis)


def _kth(name, kth, a, axis):
    """kth counted from the front; ValueError where there is no such value."""
    position, n = _integer(name, "kth", kth), a.shape[axis]
    if not -n <= position < n:
        raise ValueError(
            f"[{name}] kth {position} along axis {axis} of shape {tuple(a.shape)}; "
            f"{-n} to {n - 1} would be right"
        )
    return position + n if position < 0 else position


def partition(a, /, kth, axis=-1, *, stream=None):
    """A copy in which the kth value along an axis is in its sorted place, smaller values before it.

    Args:
        a (array): of any shape and dtype.
        kth (int): the place, from the end if negative; no larger value stands before it, no smaller
            one after.
        axis (int or None): what to partition along; None takes the flattened array.

    Returns:
        array: of a's shape (flat for axis None) and dtype.

    Raises:
        ValueError: the axis or kth is out of range.

    >>> import mlxc.core as mx
    >>> mx.partition(mx.array([4, 1, 3, 2]), 1)[1].item()
    2
    """
    a, axis = _line("partition", a, axis)
    return bind("partition", (a,), (_kth("partition", kth, a, axis), axis))


def argpartition(a, /, kth, axis=-1, *, stream=None):
    """Places of the values as ``partition`` moves them.

    Args:
        a (array): of any shape and dtype.
        kth (int): the place that gets its sorted value, from the end if negative.
        axis (int or None): what to partition along; None takes the flattened array.

    Returns:
        array: uint32, of a's shape (flat for axis None).

    Raises:
        ValueError: the axis or kth is out of range.

    >>> import mlxc.core as mx
    >>> mx.argpartition(mx.array([4, 1, 3, 2]), 1)[1].item()
    3
    """
    a, axis = _line("argpartition", a, axis)
    return bind("argpartition", (a,), (_kth("argpartition", kth, a, axis), axis))


def _cut(a, axis, start, stop):
    """a[start:stop] along one axis."""
    starts, stops = [0] * a.ndim, list(a.shape)
    starts[axis], stops[axis] = start, stop
    return bind("slice", (a,), (tuple(starts), tuple(stops), (1,) * a.ndim))


def topk(a, /, k, axis=-1, *, stream=None):
    """The k largest values along an axis, in any order.

    Args:
        a (array): of any shape and dtype.
        k (int): how many, from 0 to the size of the axis.
        axis (int or None): what to choose along; None takes the flattened array.

    Returns:
        array: of a's shape with k values along the axis, and of its dtype.

    Raises:
        ValueError: the axis or k is out of range.

    >>> import mlxc.core as mx
    >>> sorted(mx.topk(mx.array([4, 1, 3, 2]), 2).tolist())
    [3, 4]
    """
    a, axis = _line("topk", a, axis)
    k, n = _integer("topk", "k", k), a.shape[axis]
    if not 0 <= k <= n:
        raise ValueError(
            f"[topk] k {k} along axis {axis} of shape {tuple(a.shape)}; 0 to {n} would be right"
        )
    if 0 < k < n:
        a = bind("partition", (a,), (n - k, axis))
    return _cut(a, axis, n - k, n)


def _extremum(name, a, axis, keepdims):
    if axis is not None:
        return along(name, a, axis, bool(keepdims))
    place = along(name, a, None, False)
    return mx.reshape(place, (1,) * as_array(a).ndim) if keepdims else place


def argmax(a, /, axis=None, keepdims=False, *, stream=None):
    """Place of the first largest value along an axis, or of the first NaN if there is one.

    Args:
        a (array): of any shape and dtype.
        axis (int or None): what to compare along; None takes the flattened array.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: uint32.

    Raises:
        ValueError: the axis is out of range or empty.

    >>> import mlxc.core as mx
    >>> mx.argmax(mx.array([[1, 5], [4, 3]]), axis=1).tolist()
    [1, 0]
    """
    return _extremum("argmax", a, axis, keepdims)


def argmin(a, /, axis=None, keepdims=False, *, stream=None):
    """Place of the first smallest value along an axis, or of the first NaN if there is one.

    Args:
        a (array): of any shape and dtype.
        axis (int or None): what to compare along; None takes the flattened array.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: uint32.

    Raises:
        ValueError: the axis is out of range or empty.

    >>> import mlxc.core as mx
    >>> mx.argmin(mx.array([[1, 5], [4, 3]]), axis=1).tolist()
    [0, 1]
    """
    return _extremum("argmin", a, axis, keepdims)


def searchsorted(sorted_sequence, values, /, side="left", *, stream=None):
    """Places where values would keep a sorted sequence sorted.

    Args:
        sorted_sequence (array): (n,), ascending, NaN last.
        values (array): of any shape; both are converted to their common dtype.
        side (str): "left" counts the elements before a value, "right" also those equal to it.

    Returns:
        array: uint32, of values' shape, from 0 to n.

    Raises:
        ValueError: the sequence is not one-dimensional, or side is neither "left" nor "right".

    >>> import mlxc.core as mx
    >>> mx.searchsorted(mx.array([1, 2, 2, 4]), mx.array([0, 2, 5])).tolist()
    [0, 1, 4]
    """
    if side not in ("left", "right"):
        raise ValueError(f'[searchsorted] side {side!r}; "left" or "right" would be right')
    sequence, values = as_array(sorted_sequence), as_array(values)
    dtype = mx.result_type(sequence, values)
    return bind("searchsorted", (sequence.astype(dtype), values.astype(dtype)), (side == "right",))


def _fill(a, order, flat, fill_value):
    """What stands beyond the last unique value."""
    if fill_value is not None:
        return as_array(fill_value).astype(a.dtype)
    if a.size == 0:
        raise ValueError("[unique] an empty array has no value to fill with; give fill_value")
    return mx.take(flat, order[0])


def unique(
    a,
    /,
    size,
    return_index=False,
    return_inverse=False,
    return_counts=False,
    fill_value=None,
    *,
    stream=None,
):
    """Sorted unique values of an array, ``size`` of them: cut off or filled up.

    The size is given, not found, so that the shape does not depend on values. If there are more
    unique values than ``size``, the smallest stay, and places of the others in ``inverse`` are
    those of the last one.

    Args:
        a (array): of any shape and dtype; NaNs are not equal to each other.
        size (int): how many values come out.
        return_index (bool): also the place of each one's first occurrence in the flattened array.
        return_inverse (bool): also, for each value of a, its place among the unique ones.
        return_counts (bool): also how often each one occurs; 0 beyond the last.
        fill_value (scalar or array): what stands beyond the last one; None: the smallest value.

    Returns:
        array or tuple: values (size,) of a's dtype, and as asked for index (size,) uint32,
        inverse of a's shape, uint32, and counts (size,) int32.

    Raises:
        ValueError: size is negative, or there is nothing to fill with.

    >>> import mlxc.core as mx
    >>> mx.unique(mx.array([2, 1, 2, 3, 1]), 5).tolist()
    [1, 2, 3, 1, 1]
    """
    a, size = as_array(a), _integer("unique", "size", size)
    if size < 0:
        raise ValueError(f"[unique] size {size}; 0 or more would be right")
    flat = mx.reshape(a, (-1,))
    order = bind("argsort", (flat,), (0,))
    fill = _fill(a, order, flat, fill_value) if size else mx.zeros((), a.dtype)
    if a.size == 0:
        starts = counts = index_ = mx.zeros((size,), mx.uint32)
        values, inverse = mx.broadcast_to(fill, (size,)), mx.zeros(a.shape, mx.uint32)
    else:
        ordered = mx.take(flat, order)
        new = (ordered[1:] != ordered[:-1]).astype(mx.int32)
        group = mx.concatenate([mx.zeros((1,), mx.int32), mx.cumsum(new, axis=0)])
        wanted = mx.arange(size, dtype=mx.int32)
        starts = bind("searchsorted", (group, wanted), (False,))
        counts = bind("searchsorted", (group, wanted), (True,)) - starts
        there = wanted <= group[-1]
        index_ = mx.take(order, mx.where(there, starts, mx.zeros_like(starts)))
        values = mx.where(there, mx.take(flat, index_), fill)
        places = mx.minimum(group, mx.array(max(size - 1, 0), mx.int32)).astype(mx.uint32)
        inverse = mx.reshape(mx.take(places, bind("argsort", (order,), (0,))), a.shape)
    if not (return_index or return_inverse or return_counts):
        return values
    asked = (
        (return_index, index_),
        (return_inverse, inverse),
        (return_counts, counts.astype(mx.int32)),
    )
    return (values, *(array for wanted, array in asked if wanted))


def median(a, /, axis=None, keepdims=False, *, stream=None):
    """Middle value over axes, or the mean of the two middle ones; NaN where there is one.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to look over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: of a's dtype if that is floating or complex, else float32.

    Raises:
        ValueError: axes empty, twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.median(mx.array([5, 1, 4, 2])).item()
    3.0
    """
    a = as_array(a)
    axes = normalize_axes("median", axis, a.ndim)
    dtype = a.dtype if a.dtype in _FLOATING else mx.float32
    kept = tuple(k for k in range(a.ndim) if k not in axes)
    count = 1
    for k in axes:
        count *= a.shape[k]
    if count == 0:
        raise ValueError(
            f"[median] axes {axes} of shape {tuple(a.shape)} are empty; one value is needed"
        )
    lines = mx.reshape(mx.transpose(a, kept + axes), tuple(a.shape[k] for k in kept) + (count,))
    last, half = len(kept), count // 2
    if dtype in (mx.float16, mx.bfloat16):
        lines = lines.astype(mx.float32)
    parted = bind("partition", (lines,), (half, last)) if count > 1 else lines
    middle = _cut(parted, last, half, half + 1)
    if dtype != a.dtype:
        middle = middle.astype(dtype)
    if count % 2 == 0:
        below = mx.max(_cut(parted, last, 0, half), last, keepdims=True)
        middle = (middle + below.astype(middle.dtype)) * 0.5
    if a.dtype in _FLOATING:
        spoiled = mx.any(mx.isnan(lines), last, keepdims=True)
        middle = mx.where(spoiled, mx.full(middle.shape, mx.nan, middle.dtype), middle)
    shape = tuple(1 if k in axes else size for k, size in enumerate(a.shape))
    if not keepdims:
        shape = tuple(a.shape[k] for k in kept)
    return mx.reshape(middle, shape).astype(dtype)
