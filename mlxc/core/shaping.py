"""Composites that join, part, repeat and reorder arrays.

Rules: parts of an array are slices, without a copy; joining is the ``concatenate`` row after
promotion; what comes back is always another handle than what went in, so that in-place operations
on one leave the other alone.
"""

from operator import index as as_int

import numpy as np

import mlxc.core as mx
from mlxc._graph import Routine, array, bind

from ._arguments import as_array, normalize_axes, normalize_axis
from ._hadamard import hadamard_factors, hadamard_matrix
from ._rows import joined, packed

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "concat",
    "concatenate",
    "contiguous",
    "diff",
    "flip",
    "hadamard_transform",
    "pad",
    "repeat",
    "roll",
    "split",
    "stack",
    "tile",
    "unstack",
]


def _slice_axis(a, axis, start, stop, step=1):
    """A slice along one axis."""
    low = (0,) * axis + (start,) + (0,) * (a.ndim - axis - 1)
    high = (*a.shape[:axis], stop, *a.shape[axis + 1 :])
    steps = (1,) * axis + (step,) + (1,) * (a.ndim - axis - 1)
    return bind("slice", (a,), (low, high, steps))


def _with_size(shape, axis, size):
    return (*shape[:axis], size, *shape[axis + 1 :])


# ---- joining and parting ----


def _promoted(arrays):
    arrays = [x if type(x) is array else as_array(x) for x in arrays]
    dtype = arrays[0].dtype
    if all(x.dtype is dtype for x in arrays):
        return arrays
    for x in arrays[1:]:
        dtype = mx.result_type(dtype, x.dtype)
    return [x if x.dtype == dtype else x.astype(dtype) for x in arrays]


def concatenate(arrays, axis=0, *, stream=None):
    """Arrays one after the other along an axis.

    Args:
        arrays (list or tuple of array, or array): The same shapes but for ``axis``; dtypes are
            promoted.
        axis (int, optional): Along which; with None the arrays are flattened first.

    Returns:
        array: As many axes as the operands.

    Raises:
        ValueError: If there are no arrays, or shapes or ``axis`` do not fit.

    Example:
        >>> import mlxc.core as mx
        >>> mx.concatenate([mx.array([1, 2]), mx.array([3])])
        array([1, 2, 3], dtype=int32)
    """
    arrays = list(arrays)
    result = joined(arrays, axis)
    if result is not None:
        return result
    if not arrays:
        raise ValueError("[concatenate] no arrays; at least one would be right")
    arrays = _promoted(arrays)
    if axis is None:
        arrays, axis = [mx.reshape(x, (-1,)) for x in arrays], 0
    axis = normalize_axis("concatenate", axis, arrays[0].ndim)
    return array(arrays[0]) if len(arrays) == 1 else bind("concatenate", tuple(arrays), (axis,))


concat = concatenate


def stack(arrays, axis=0, *, stream=None):
    """Arrays of one shape side by side along a new axis.

    Args:
        arrays (list or tuple of array): At least one; dtypes are promoted.
        axis (int, optional): Where the new axis stands in the result; None means 0.

    Returns:
        array: One axis more than the operands.

    Raises:
        ValueError: If there are no arrays, shapes differ, or ``axis`` is out of range.

    Example:
        >>> import mlxc.core as mx
        >>> mx.stack([mx.array([1, 2]), mx.array([3, 4])], axis=1)
        array([[1, 3],
               [2, 4]], dtype=int32)
    """
    return _stack(tuple([as_array(x) for x in arrays]), axis)


@Routine
def _stack(*operands):
    *arrays, axis = operands
    if not arrays:
        raise ValueError("[stack] no arrays; at least one would be right")
    if any(x.shape != arrays[0].shape for x in arrays):
        raise ValueError(
            f"[stack] shapes {', '.join(str(x.shape) for x in arrays)}; they must be equal"
        )
    shape = arrays[0].shape
    axis = normalize_axis("stack", 0 if axis is None else axis, len(shape) + 1)
    wide = (*shape[:axis], 1, *shape[axis:])
    return concatenate([mx.reshape(x, wide) for x in arrays], axis)


def _split_points(op, size, indices_or_sections, axis):
    """Pairs of start and stop."""
    if isinstance(indices_or_sections, (list, tuple)):
        points = [as_int(point) for point in indices_or_sections]
        return [slice(a, b).indices(size)[:2] for a, b in zip([0, *points], [*points, None])]
    count = as_int(indices_or_sections)
    if count <= 0:
        raise ValueError(f"[{op}] {count} parts; 1 or more would be right")
    if size % count:
        raise ValueError(
            f"[{op}] axis {axis} with size {size} does not divide into {count} equal parts"
        )
    width = size // count
    return [(k * width, (k + 1) * width) for k in range(count)]


def split(a, /, indices_or_sections, axis=0, *, stream=None):
    """The parts of an array along an axis.

    Args:
        a (array): At least one axis.
        indices_or_sections (int or sequence of int): How many equal parts, or where to cut.
        axis (int): Along which.

    Returns:
        list of array: The parts in order; each shares memory with ``a``.

    Raises:
        ValueError: If the axis does not divide into that many parts, or there is no such axis.

    Example:
        >>> import mlxc.core as mx
        >>> [x.tolist() for x in mx.split(mx.array([1, 2, 3, 4]), 2)]
        [[1, 2], [3, 4]]
    """
    a = as_array(a)
    axis = normalize_axis("split", axis, a.ndim)
    points = _split_points("split", a.shape[axis], indices_or_sections, axis)
    whole = (slice(None),) * axis
    return [a[(*whole, slice(start, max(start, stop)))] for start, stop in points]


def unstack(x, /, *, axis=0, stream=None):
    """The sub-arrays along an axis, which goes.

    Args:
        x (array): At least one axis.
        axis (int): Along which.

    Returns:
        tuple of array: One for every position of the axis.

    Raises:
        ValueError: If there is no such axis.

    Example:
        >>> import mlxc.core as mx
        >>> [y.tolist() for y in mx.unstack(mx.array([[1, 2], [3, 4]]), axis=1)]
        [[1, 3], [2, 4]]
    """
    x = as_array(x)
    axis = normalize_axis("unstack", axis, x.ndim)
    whole = (slice(None),) * axis
    return tuple([x[(*whole, k)] for k in range(x.shape[axis])])


# ---- padding ----


def _pad_widths(pad_width, ndim):
    """A pair for every axis, from one number, one pair, or a list of pairs."""
    if not isinstance(pad_width, (list, tuple)):
        widths = [(pad_width, pad_width)]
    elif not any(isinstance(entry, (list, tuple)) for entry in pad_width):
        widths = [tuple(pad_width)]
    else:
        widths = [
            tuple(entry) if isinstance(entry, (list, tuple)) else (entry,) for entry in pad_width
        ]
    widths = [pair * 2 if len(pair) == 1 else pair for pair in widths]
    if len(widths) == 1:
        widths = widths * ndim
    if len(widths) != ndim or any(len(pair) != 2 for pair in widths):
        raise ValueError(
            f"[pad] widths {pad_width} for {ndim} axes; one pair for all or one an axis would be "
            f"right"
        )
    widths = [(as_int(low), as_int(high)) for low, high in widths]
    for axis, pair in enumerate(widths):
        if min(pair) < 0:
            raise ValueError(f"[pad] widths {pair} of axis {axis}; 0 or more would be right")
    return widths


def _pad_constant(a, widths, value):
    value = as_array(value).astype(a.dtype)
    shape = tuple(low + size + high for size, (low, high) in zip(a.shape, widths))
    start = tuple(low for low, _ in widths)
    stop = tuple(low + size for size, (low, _) in zip(a.shape, widths))
    return bind(
        "slice_update", (mx.broadcast_to(value, shape), a), (start, stop, (1,) * a.ndim, "none")
    )


def _pad_edge(a, axis, low, high):
    """The first and the last element stretched."""
    size = a.shape[axis]
    if size == 0:
        raise ValueError(
            f"[pad] mode 'edge' along axis {axis} with size 0; there is no edge to repeat"
        )
    first = mx.broadcast_to(_slice_axis(a, axis, 0, 1), _with_size(a.shape, axis, low))
    last = mx.broadcast_to(_slice_axis(a, axis, size - 1, size), _with_size(a.shape, axis, high))
    return concatenate([first, a, last], axis)


def _pad_mirror(a, axis, low, high, mode):
    """The axis read back and forth; "symmetric" repeats the ends, "reflect" does not."""
    size = a.shape[axis]
    if size == 0:
        raise ValueError(
            f"[pad] mode {mode!r} along axis {axis} with size 0; there is nothing to mirror"
        )
    if low + size + high > 2**58:
        raise ValueError(
            f"[pad] widths {(low, high)} along axis {axis} with size {size}; at most 2**58 "
            "elements are addressable"
        )
    at = np.arange(-low, size + high)
    if mode == "symmetric":
        at = at % (2 * size)
        at = np.minimum(at, 2 * size - 1 - at)
    elif size == 1:
        at = at * 0
    else:
        at = at % (2 * size - 2)
        at = np.minimum(at, 2 * size - 2 - at)
    return mx.take(a, as_array(at), axis=axis)


def pad(a, pad_width, mode="constant", constant_values=0, *, stream=None):
    """The array with a margin.

    Args:
        a (array): Any shape and dtype.
        pad_width (int, pair of int or list of pairs): Elements before and after: one number or pair
            for all axes, or a
            pair for each.
        mode (str): "constant"; "edge" repeats the outermost elements; "reflect" mirrors without,
            "symmetric" with
            them.
        constant_values (number or array): What the margin is filled with under "constant".

    Returns:
        array: Larger by the widths; the dtype of ``a``.

    Raises:
        ValueError: If a width is negative, the mode unknown, or there is nothing to repeat.

    Example:
        >>> import mlxc.core as mx
        >>> mx.pad(mx.array([1, 2]), (1, 2))
        array([0, 1, 2, 0, 0], dtype=int32)
    """
    a = as_array(a)
    if mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError(
            f"[pad] mode {mode!r}; 'constant', 'edge', 'reflect' or 'symmetric' would be right"
        )
    widths = _pad_widths(pad_width, a.ndim)
    if not any(low or high for low, high in widths):
        return array(a)
    if mode == "constant":
        return _pad_constant(a, widths, constant_values)
    for axis, (low, high) in enumerate(widths):
        if (low or high) and mode == "edge":
            a = _pad_edge(a, axis, low, high)
        elif low or high:
            a = _pad_mirror(a, axis, low, high, mode)
    return a


# ---- repeating and reordering ----


def repeat(array, repeats, axis=None, *, stream=None):
    """Every element, or sub-array along an axis, several times in a row.

    Args:
        array (array): Any shape.
        repeats (int): How often.
        axis (int, optional): Along which; without it the array is flattened.

    Returns:
        array: The axis ``repeats`` times as long.

    Raises:
        ValueError: If ``repeats`` is negative or there is no such axis.

    Example:
        >>> import mlxc.core as mx
        >>> mx.repeat(mx.array([1, 2]), 2)
        array([1, 1, 2, 2], dtype=int32)
    """
    return _repeat((as_array(array),), repeats, axis)


@Routine
def _repeat(a, repeats, axis):
    repeats = as_int(repeats)
    if repeats < 0:
        raise ValueError(f"[repeat] {repeats} times; 0 or more would be right")
    if axis is None:
        a, axis = mx.reshape(a, (-1,)), 0
    axis = normalize_axis("repeat", axis, a.ndim)
    size = a.shape[axis]
    wide = mx.expand_dims(a, axis + 1)
    wide = mx.broadcast_to(wide, (*a.shape[: axis + 1], repeats, *a.shape[axis + 1 :]))
    return mx.reshape(wide, _with_size(a.shape, axis, size * repeats))


def tile(a, reps, /, *, stream=None):
    """The whole array several times along axes.

    Args:
        a (array): Any shape.
        reps (int or sequence of int): How often along each axis; missing ones in front count as 1.

    Returns:
        array: As many axes as the longer of ``a.shape`` and ``reps``.

    Raises:
        ValueError: If a number is negative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.tile(mx.array([1, 2]), (2, 2))
        array([[1, 2, 1, 2],
               [1, 2, 1, 2]], dtype=int32)
    """
    return _tile((as_array(a),), tuple(reps) if isinstance(reps, list) else reps)


@Routine
def _tile(a, reps):
    reps = tuple(as_int(r) for r in reps) if isinstance(reps, tuple) else (as_int(reps),)
    if any(r < 0 for r in reps):
        raise ValueError(f"[tile] repetitions {reps}; 0 or more would be right")
    ndim = max(a.ndim, len(reps))
    shape = (1,) * (ndim - a.ndim) + a.shape
    reps = (1,) * (ndim - len(reps)) + reps
    between = tuple(size for n in shape for size in (1, n))
    stretched = tuple(size for r, n in zip(reps, shape) for size in (r, n))
    out = mx.broadcast_to(mx.reshape(a, between), stretched)
    return array(mx.reshape(out, tuple(r * n for r, n in zip(reps, shape))))


def roll(a, /, shift, axis=None, *, stream=None):
    """The elements moved along axes; what leaves at one end enters at the other.

    Args:
        a (array): Any shape.
        shift (int or sequence of int): How far, to the right if positive; a sequence without an
            axis is summed.
        axis (int or sequence of int, optional): Along which; without it the array is flattened on
            the way.

    Returns:
        array: The same shape.

    Raises:
        ValueError: If there is no such axis, or there are not as many shifts as axes.

    Example:
        >>> import mlxc.core as mx
        >>> mx.roll(mx.array([1, 2, 3]), 1)
        array([3, 1, 2], dtype=int32)
    """
    shifts = tuple(shift) if isinstance(shift, (list, tuple)) else (shift,)
    return _roll((as_array(a),), shifts, tuple(axis) if isinstance(axis, list) else axis)


@Routine
def _roll(a, shifts, axis):
    if axis is None:
        flat = roll(mx.reshape(a, (-1,)), sum(as_int(s) for s in shifts), 0)
        return array(mx.reshape(flat, a.shape))
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(axes) == 1 and len(shifts) > 1:
        shifts = (sum(as_int(s) for s in shifts),)
    if len(shifts) != len(axes):
        raise ValueError(f"[roll] {len(shifts)} shifts for {len(axes)} axes; they must be as many")
    out = array(a)
    for steps, at in zip(shifts, axes):
        at = normalize_axis("roll", at, a.ndim)
        size = a.shape[at]
        cut = -as_int(steps) % size if size else 0
        if cut:
            out = concatenate([_slice_axis(out, at, cut, size), _slice_axis(out, at, 0, cut)], at)
    return out


def flip(a, /, axis=None, *, stream=None):
    """The elements in reverse order along axes.

    Args:
        a (array): Any shape.
        axis (int or sequence of int, optional): Along which; all by default.

    Returns:
        array: The same shape, sharing memory.

    Raises:
        ValueError: If there is no such axis.

    Example:
        >>> import mlxc.core as mx
        >>> mx.flip(mx.array([1, 2, 3]))
        array([3, 2, 1], dtype=int32)
    """
    a = as_array(a)
    axes = set(axis) if isinstance(axis, (list, tuple)) else axis
    axes = normalize_axes("flip", list(axes) if isinstance(axes, set) else axes, a.ndim)
    out = array(a)
    for at in axes:
        if a.shape[at] > 1:
            out = _slice_axis(out, at, a.shape[at] - 1, -1, -1)
    return out


def _at_least(arrays, shape_of):
    out = []
    for x in arrays:
        x = as_array(x)
        out.append(array(mx.reshape(x, shape_of(x.shape))))
    return out[0] if len(out) == 1 else out


def atleast_1d(*arys, stream=None):
    """Arrays with at least one axis.

    Args:
        arys (array): Any number; a 0-d array becomes one of shape (1,).

    Returns:
        array or list of array: One for each.

    Example:
        >>> import mlxc.core as mx
        >>> mx.atleast_1d(mx.array(1)).shape
        (1,)
    """
    return _at_least(arys, lambda shape: shape or (1,))


def atleast_2d(*arys, stream=None):
    """Arrays with at least two axes.

    Args:
        arys (array): Any number; a vector of n becomes (1, n).

    Returns:
        array or list of array: One for each.

    Example:
        >>> import mlxc.core as mx
        >>> mx.atleast_2d(mx.array([1, 2])).shape
        (1, 2)
    """
    return _at_least(arys, lambda shape: (1,) * (2 - len(shape)) + shape)


def _three_axes(shape):
    if len(shape) >= 3:
        return shape
    return {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[len(shape)]


def atleast_3d(*arys, stream=None):
    """Arrays with at least three axes.

    Args:
        arys (array): Any number; a vector of n becomes (1, n, 1), a matrix (m, n) becomes (m, n,
            1).

    Returns:
        array or list of array: One for each.

    Example:
        >>> import mlxc.core as mx
        >>> mx.atleast_3d(mx.array([1, 2])).shape
        (1, 2, 1)
    """
    return _at_least(arys, _three_axes)


def contiguous(a, /, allow_col_major=False, *, stream=None):
    """The values in row-major order in memory.

    Args:
        a (array): Any shape.
        allow_col_major (bool): Kept for MLX's interface; row-major order satisfies it.

    Returns:
        array: The same values.

    Example:
        >>> import mlxc.core as mx
        >>> mx.contiguous(mx.array([[1, 2], [3, 4]]).T)
        array([[1, 3],
               [2, 4]], dtype=int32)
    """
    return packed(a)


# ---- differences and transforms ----


def diff(a, /, n=1, axis=-1, *, stream=None):
    """Differences of neighbours along an axis, n times over.

    Args:
        a (array): At least one axis; for bool "not equal" takes the place of the difference.
        n (int): How often.
        axis (int): Along which.

    Returns:
        array: The axis shorter by ``n``, at least empty.

    Raises:
        ValueError: If ``n`` is negative or there is no such axis.

    Example:
        >>> import mlxc.core as mx
        >>> mx.diff(mx.array([1, 4, 9]))
        array([3, 5], dtype=int32)
    """
    a = as_array(a)
    n = as_int(n)
    if n < 0:
        raise ValueError(f"[diff] {n} times; 0 or more would be right")
    axis, out = normalize_axis("diff", axis, a.ndim), array(a)
    for _ in range(min(n, a.shape[axis])):
        size = out.shape[axis]
        high = _slice_axis(out, axis, min(1, size), size)
        low = _slice_axis(out, axis, 0, max(size - 1, 0))
        out = mx.not_equal(high, low) if a.dtype == mx.bool_ else high - low
    return out


def hadamard_transform(a, scale=None, stream=None):
    """The Walsh-Hadamard transform of the last axis: its product with a matrix of 1 and -1 with
    orthogonal rows.

    Args:
        a (array): Last axis of size m * 2**k with m of 1, 12, 20 or 28. Integers become float32.
        scale (float, optional): Factor of the result; 1 / sqrt(size) by default.

    Returns:
        array: The same shape.

    Raises:
        ValueError: If the array is empty or the size of its last axis has no such matrix here.

    Formula: Sylvester 1867; Paley 1933; Williamson 1944.

    Example:
        >>> import mlxc.core as mx
        >>> mx.hadamard_transform(mx.ones(4))
        array([2, 0, 0, 0], dtype=float32)
    """
    a = as_array(a)
    if a.size == 0:
        raise ValueError("[hadamard_transform] an empty array; at least one value would be right")
    dtype = a.dtype if mx.issubdtype(a.dtype, mx.floating) else mx.float32
    if a.ndim == 0:
        return array(a.astype(dtype))
    n = a.shape[-1]
    work = dtype if dtype == mx.float64 else mx.float32
    out, done = mx.reshape(a.astype(work), (-1, n)), 1
    for m in hadamard_factors(n):
        matrix = array(hadamard_matrix(m), work)
        out = mx.matmul(matrix, mx.reshape(out, (-1, m, n // (done * m))))
        done *= m
    scale = n**-0.5 if scale is None else scale
    return (mx.reshape(out, a.shape) * scale).astype(dtype)
