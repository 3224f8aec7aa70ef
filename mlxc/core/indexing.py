"""Indexing: reading and writing by keys, and the public functions that take index arrays.

Rules: integers, slices, None and Ellipsis alone are one ``slice`` (and a ``reshape``). Index arrays
are one ``gather`` or ``scatter``; where their axes go follows NumPy: in place if the integers and
arrays stand next to each other, else first. An Ellipsis that stands for no axis does not part them.
Boolean masks are evaluated when they are read, and the axes they cover are merged into one.
Negative indices count from the end; an index out of range is an IndexError.
"""

from math import prod
from operator import index as as_int
from typing import NamedTuple

import numpy as np

import mlxc.core as mx
from mlxc._graph import array, bind, is_evaluated

from ._arguments import as_array, normalize_axis
from ._keys import read_basic, write_basic
from ._rows import gathered

__all__ = [
    "ArrayAt",
    "argwhere",
    "nonzero",
    "put_along_axis",
    "slice",
    "slice_update",
    "take",
    "take_along_axis",
]

_Slice = slice  # the name is taken by the public function below
_INTEGERS = frozenset(
    (mx.int8, mx.int16, mx.int32, mx.int64, mx.uint8, mx.uint16, mx.uint32, mx.uint64)
)


class IndexingError(IndexError, ValueError):
    """A key that does not fit: what NumPy's users catch (IndexError), and MLX's (ValueError)."""


class _Plan(NamedTuple):
    """How a key reads an array: reshape to merged, slice, drop axes, gather, reshape to shape."""

    merged: tuple  # the array's shape with the axes under a mask as one
    slices: tuple  # start, stop, stride
    sliced: tuple  # shape after slicing
    kept: tuple  # shape without the axes that integers took
    axes: tuple  # of the kept ones, those that index arrays read
    indices: tuple  # index arrays of one shape
    lead: int  # axes before those of the indices in what is gathered
    shape: tuple  # of the result
    whole: bool  # whether slicing leaves everything


# ---- from keys to plans ----


def _slice_bounds(key, size):
    """start, stop, stride and the number of elements; slices of none or one have one form each,
    for their strides may be beyond any address."""
    try:
        start, stop, stride = key.indices(size)
    except TypeError:
        raise IndexingError(f"[getitem] {key}; slices take integers or None") from None
    length = len(range(start, stop, stride))
    if length > 1:
        return start, stop, stride, length
    return (start, start + 1, 1, 1) if length else (0, 0, 1, 0)


def _position(index, axis, size):
    """An integer index counted from the front."""
    if not -size <= index < size:
        raise IndexError(
            f"[getitem] index {index} is out of range for axis {axis} with size {size}"
        )
    return index + size if index < 0 else index


def _classify(key):
    """One part of a key: None, Ellipsis, a slice, an int, or an array of integers or booleans."""
    if key is None or key is Ellipsis or isinstance(key, _Slice):
        return key
    if isinstance(key, array):
        found = key
    elif isinstance(key, (bool, np.bool_)):
        return np.array(bool(key))
    elif isinstance(key, np.ndarray):
        found = key if key.dtype == bool else as_array(key)
    elif isinstance(key, (list, range)):
        found = as_array(list(key)) if len(key) else as_array(np.zeros((0,), np.int32))
    elif hasattr(key, "__index__"):
        return as_int(key)
    else:
        raise IndexingError(
            f"[getitem] a key of type {type(key).__name__}; integers, slices, None, Ellipsis and "
            f"arrays of "
            f"integers or booleans would be right"
        )
    if not _is_mask(found) and found.dtype not in _INTEGERS:
        raise IndexingError(
            f"[getitem] indices of dtype {found.dtype}; integers or booleans would be right"
        )
    return found


def _is_mask(part):
    return isinstance(part, np.ndarray) or (isinstance(part, array) and part.dtype == mx.bool_)


def _consumed(part):
    """How many axes a part of a key stands for."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if _is_mask(part) else 1


def _parts(shape, key):
    """The parts of a key, the Ellipsis written out, one for every axis and None."""
    parts = [_classify(part) for part in (key if isinstance(key, tuple) else (key,))]
    rest = len(shape) - sum(_consumed(part) for part in parts)
    if rest < 0:
        raise IndexingError(
            f"[getitem] {len(shape) - rest} indices for an array with {len(shape)} axes; "
            f"at most {len(shape)} would be right"
        )
    dots = [k for k, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexingError("[getitem] two Ellipses in a key; at most one would be right")
    at = dots[0] if dots else len(parts)
    return parts[:at] + [_Slice(None)] * rest + parts[at + len(dots) :]


def _positions_of(mask):
    """Where a mask is true, in row-major order. This evaluates the mask."""
    return as_array(np.flatnonzero(np.asarray(mask)))


def _merge_masks(shape, parts):
    """The shape with the axes under every mask as one, and the masks replaced by index arrays."""
    merged, out, axis = [], [], 0
    for part in parts:
        width = _consumed(part)
        under = shape[axis : axis + width]
        if _is_mask(part):
            if tuple(part.shape) != under:
                raise IndexingError(
                    f"[getitem] a boolean mask of shape {tuple(part.shape)} for axes of shape "
                    f"{under}; "
                    f"they must be equal"
                )
            merged.append(prod(under))
            part = _positions_of(part)
        else:
            merged.extend(under)
        out.append(part)
        axis += width
    return tuple(merged), out


def _placement(parts):
    """How many result axes stand before those of the indices; 0 where the indices stand apart."""
    advanced = [k for k, part in enumerate(parts) if isinstance(part, (int, array))]
    if not advanced or advanced[-1] - advanced[0] + 1 != len(advanced):
        return 0
    return advanced[0]


def _plan(shape, key, integers_index=False):
    """The plan of a key. ``integers_index`` makes integers next to index arrays index arrays of
    their own."""
    parts = _parts(shape, key)
    merged = shape
    if any(_is_mask(part) for part in parts):
        merged, parts = _merge_masks(shape, parts)
    start, stop, stride, sliced, kept = [], [], [], [], []
    axes, indices, plain, before, axis = [], [], [], [], 0
    place = _placement(parts)
    has_arrays = any(isinstance(part, array) for part in parts)
    for k, part in enumerate(parts):
        if part is None:
            plain.append(1)
            before.append((k, False))
            continue
        size = merged[axis]
        low, high, step, length = 0, size, 1, size
        if isinstance(part, _Slice):
            low, high, step, length = _slice_bounds(part, size)
            plain.append(length)
            before.append((k, True))
        elif isinstance(part, int):
            low = _position(part, axis, size)
            if has_arrays and integers_index:
                part, low = as_array(low), 0
            else:
                high, length = low + 1, 1
        if isinstance(part, array):
            axes.append(len(kept))
            indices.append(part)
        for values, value in ((start, low), (stop, high), (stride, step), (sliced, length)):
            values.append(value)
        if not isinstance(part, int):
            kept.append(length)
        axis += 1
    indices = tuple(mx.broadcast_arrays(*indices)) if len(indices) > 1 else tuple(indices)
    ahead = sum(k < place for k, _ in before)
    lead = sum(k < place and real for k, real in before)
    index_shape = tuple(indices[0].shape) if indices else ()
    result = (*plain[:ahead], *index_shape, *plain[ahead:])
    sliced, slices = tuple(sliced), (tuple(start), tuple(stop), tuple(stride))
    whole = sliced == merged and slices[2] == (1,) * len(merged)
    return _Plan(
        merged, slices, sliced, tuple(kept), tuple(axes), indices, lead, result, whole
    )  # fmt: skip


def _rows_plan(shape, key):
    """The plan of one array of integers as the whole key."""
    result = (*key.shape, *shape[1:])
    return _Plan(shape, None, shape, shape, (0,), (key,), 0, result, True)


def _is_rows(x, key):
    return type(key) is array and key.dtype in _INTEGERS and x.ndim > 0


# ---- reading ----


def _reshape(x, shape):
    return x if x.shape == shape else mx.reshape(x, shape)


def _read(x, plan):
    out = _reshape(x, plan.merged)
    if not plan.whole:
        out = bind("slice", (out,), plan.slices)
    if plan.axes:
        out = bind("gather", (_reshape(out, plan.kept), *plan.indices), (plan.axes, plan.lead))
    out = _reshape(out, plan.shape)
    return array(x) if out is x else out  # a handle of its own: operations in place move handles


def getitem(x, key):
    """``x[key]``."""
    found = read_basic(x, key)
    if found is not None:
        return found
    if _is_rows(x, key):
        return gathered(x, key, 0)
    if isinstance(key, (bool, np.bool_)):
        return mx.expand_dims(x, 0) if key else bind("slice", (mx.expand_dims(x, 0),), _nothing(x))
    return _read(x, _plan(x.shape, key))


def _nothing(x):
    """A slice of no elements of x with an axis in front."""
    return (0,) * (x.ndim + 1), (0, *x.shape), (1,) * (x.ndim + 1)


# ---- writing ----


def _as_value(value, dtype):
    """What is assigned, in the dtype of the array it goes into."""
    if isinstance(value, (int, float)) and dtype not in _INTEGERS and dtype != mx.bool_:
        return array(value, dtype)  # float64 keeps all digits
    value = as_array(value)
    return value if value.dtype == dtype else value.astype(dtype)


def _fit(value, shape):
    """The value broadcast to a shape; leading axes of size 1 that are too many are dropped."""
    extra = value.ndim - len(shape)
    if extra > 0 and all(size == 1 for size in value.shape[:extra]):
        value = mx.reshape(value, value.shape[extra:])
    if value.shape == shape:
        return value
    try:
        return mx.broadcast_to(value, shape)
    except ValueError:
        raise ValueError(
            f"[setitem] a value of shape {value.shape} for a selection of shape {shape}; "
            f"it must broadcast to it"
        ) from None


def _write(x, plan, value, mode):
    """x with a value of its dtype put, or combined, where the plan reads."""
    value = _fit(value, plan.shape)
    base = _reshape(x, plan.merged)
    if plan.axes:
        region = base if plan.whole else bind("slice", (base,), plan.slices)
        others = tuple(n for k, n in enumerate(plan.kept) if k not in plan.axes)
        shape = others[: plan.lead] + tuple(plan.indices[0].shape) + others[plan.lead :]
        operands = (region, _reshape(value, shape), *plan.indices)
        value, mode = bind("scatter", operands, (plan.axes, plan.lead, mode)), "none"
    value = _reshape(value, plan.sliced)
    if not (plan.whole and mode == "none"):
        value = bind("slice_update", (base, value), (*plan.slices, mode))
    return _reshape(value, x.shape)


def _writing_plan(x, key):
    return _rows_plan(x.shape, key) if _is_rows(x, key) else _plan(x.shape, key, True)


def _select_mask(x, mask, value):
    """Assignment under one mask of a value that is the same everywhere: needs no evaluation. None
    if it is not."""
    width = x.ndim - mask.ndim
    if mask.ndim == 0 or tuple(mask.shape) != x.shape[: mask.ndim]:
        return None
    extra = value.ndim - width
    if extra > 0 and any(size != 1 for size in value.shape[:extra]):
        return None
    value = _fit(value, x.shape[mask.ndim :])
    return mx.where(mx.reshape(as_array(mask), mask.shape + (1,) * width), value, x)


def setitem(x, key, value):
    """The array that ``x[key] = value`` leaves in ``x``."""
    if type(value) is not array or value.dtype != x.dtype:
        value = _as_value(value, x.dtype)
    found = write_basic(x, key, value)
    if found is not None:
        return found
    if isinstance(key, (bool, np.bool_)):
        return _fit(value, x.shape) if key else x
    if isinstance(key, (array, np.ndarray, list)):
        part = _classify(key)
        if _is_mask(part):
            chosen = _select_mask(x, part, value)
            if chosen is not None:
                return chosen
    return _write(x, _writing_plan(x, key), value, "none")


class ArrayAt:
    """Updates at given indices, ``x.at[key].add(values)``, in which repeated indices all count.

    Example:
        >>> import mlxc.core as mx
        >>> mx.array([0, 0]).at[mx.array([0, 1, 0])].add(1)
        array([2, 1], dtype=int32)
    """

    __slots__ = ("_array", "_key", "_keyed")
    __module__ = "mlxc.core"

    def __init__(self, array):
        self._array, self._key, self._keyed = array, None, False

    def __getitem__(self, key):
        found = ArrayAt(self._array)
        found._key, found._keyed = key, True
        return found

    def _update(self, x, value, mode):
        if not self._keyed:
            raise ValueError(f"[at] no indices; x.at[indices].{mode}(value) would be right")
        if isinstance(self._key, (bool, np.bool_)):
            raise IndexingError(
                "[at] a boolean as a key; integers, slices and masks would be right"
            )
        return _write(x, _writing_plan(x, self._key), value, mode)

    def _combine(self, value, mode):
        return self._update(self._array, _as_value(value, self._array.dtype), mode)

    def add(self, value):
        """The array with values added at the indices."""
        return self._combine(value, "add")

    def subtract(self, value):
        """The array with values subtracted at the indices."""
        return self._update(self._array, mx.negative(_as_value(value, self._array.dtype)), "add")

    def multiply(self, value):
        """The array with what the indices name multiplied by values."""
        return self._combine(value, "prod")

    def divide(self, value):
        """The array with what the indices name divided by values; integers are truncated."""
        x = self._array
        value = _as_value(value, x.dtype)
        quotient = x / self._update(mx.ones(x.shape, x.dtype), value, "prod")
        return quotient if quotient.dtype == x.dtype else quotient.astype(x.dtype)

    def maximum(self, value):
        """The array with the larger of what is there and the values at the indices."""
        return self._combine(value, "max")

    def minimum(self, value):
        """The array with the smaller of what is there and the values at the indices."""
        return self._combine(value, "min")


# ---- public functions ----


def take(a, /, indices, axis=None, *, stream=None):
    """The elements, or sub-arrays along an axis, that indices name.

    Args:
        a (array): Any shape and dtype.
        indices (int or array of integers): Any shape; negative ones count from the end.
        axis (int, optional): The axis to take along; without it ``a`` is flattened.

    Returns:
        array: The shape of ``a`` with ``axis`` replaced by the shape of the indices.

    Raises:
        IndexError: If an index is out of range, or not an integer.
        ValueError: If there is no such axis.

    Example:
        >>> import mlxc.core as mx
        >>> mx.take(mx.array([[1, 2], [3, 4]]), mx.array([1, 1, 0]), axis=1)
        array([[2, 2, 1],
               [4, 4, 3]], dtype=int32)
    """
    if not isinstance(indices, int) or isinstance(indices, bool):
        return gathered(a, indices, axis)
    a = as_array(a)
    if axis is None:
        a, axis = mx.reshape(a, (-1,)), 0
    axis = normalize_axis("take", axis, a.ndim)
    return getitem(a, (_Slice(None),) * axis + (indices,))


def _along_operands(op, a, indices, axis):
    """Flattened if there is no axis; as many axes on both sides."""
    a, indices = as_array(a), as_array(indices)
    if axis is None:
        a, axis = mx.reshape(a, (-1,)), 0
    axis = normalize_axis(op, axis, a.ndim)
    if a.ndim != indices.ndim:
        raise ValueError(
            f"[{op}] indices with {indices.ndim} axes for an array with {a.ndim}; they must have "
            f"as many"
        )
    return a, indices, axis


def _with_size(shape, axis, size):
    return (*shape[:axis], size, *shape[axis + 1 :])


def take_along_axis(a, /, indices, axis=-1, *, stream=None):
    """For each position, the element that an index names along an axis, as argsort's results want
    it.

    Args:
        a (array): Any shape and dtype.
        indices (array of integers): As many axes as ``a``; all but ``axis`` broadcast against it.
        axis (int, optional): The axis to take along; with None ``a`` is flattened.

    Returns:
        array: The shape of the indices, broadcast.

    Raises:
        IndexError: If an index is out of range, or not an integer.
        ValueError: If the shapes do not fit.

    Example:
        >>> import mlxc.core as mx
        >>> mx.take_along_axis(mx.array([[3, 1], [5, 7]]), mx.array([[1], [0]]), axis=1)
        array([[1],
               [5]], dtype=int32)
    """
    a, indices, axis = _along_operands("take_along_axis", a, indices, axis)
    shape, wanted = a.shape, indices.shape
    if shape[:axis] != wanted[:axis] or shape[axis + 1 :] != wanted[axis + 1 :]:
        common = mx.broadcast_shapes(_with_size(shape, axis, 1), _with_size(wanted, axis, 1))
        a = mx.broadcast_to(a, _with_size(common, axis, shape[axis]))
        indices = mx.broadcast_to(indices, _with_size(common, axis, wanted[axis]))
    return bind("take_along_axis", (a, indices), (axis,))


def put_along_axis(a, /, indices, values, axis=None, *, stream=None):
    """A copy of the array with values put where indices say along an axis; of repeated indices the
    last counts.

    Args:
        a (array): Any shape and dtype.
        indices (array of integers): As many axes as ``a``; all but ``axis`` broadcast to it.
        values (array): Broadcast to the indices and converted to the dtype of ``a``.
        axis (int, optional): The axis to put along; with None ``a`` is flattened on the way.

    Returns:
        array: The shape and dtype of ``a``.

    Raises:
        IndexError: If an index is out of range, or not an integer.
        ValueError: If the shapes do not fit.

    Example:
        >>> import mlxc.core as mx
        >>> mx.put_along_axis(mx.array([[3, 1], [5, 7]]), mx.array([[1], [0]]), mx.array(0), axis=1)
        array([[3, 0],
               [0, 7]], dtype=int32)
    """
    shape = as_array(a).shape
    a, indices, axis = _along_operands("put_along_axis", a, indices, axis)
    wanted = _with_size(a.shape, axis, indices.shape[axis])
    indices = mx.broadcast_to(indices, wanted)
    values = mx.broadcast_to(_as_value(values, a.dtype), wanted)
    out = bind("put_along_axis", (a, values, indices), (axis, "none"))
    return _reshape(out, shape)


def _dynamic_axes(op, a, start_indices, axes):
    """One start an axis, as an integer array, and the axes."""
    starts = as_array(start_indices)
    axes = tuple(normalize_axis(op, axis, a.ndim) for axis in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"[{op}] axes {axes} name an axis twice; every axis may stand once")
    if not mx.issubdtype(starts.dtype, mx.integer):
        raise ValueError(f"[{op}] start indices of dtype {starts.dtype}; integers would be right")
    if starts.ndim > 1 or starts.size != len(axes):
        raise ValueError(
            f"[{op}] start indices of shape {starts.shape} for {len(axes)} axes; one an axis would "
            f"be right"
        )
    return mx.reshape(starts.astype(mx.int64), (-1,)), axes


def _known_block(op, shape, start_indices, axes, sizes):
    """The block as slices, one an axis, where the starts have values already; else None. No trace
    replaces a value: what a transform feeds in is pending."""
    starts = as_array(start_indices)
    if not is_evaluated(starts):
        return None
    values = starts.tolist()
    starts = dict(zip(axes, values if starts.ndim else [values]))
    parts = []
    for axis, (size, length) in enumerate(zip(shape, sizes)):
        start = starts.get(axis, 0)
        first = start + size if start < 0 else start
        if not 0 <= first <= size - length:
            raise IndexError(
                f"[{op}] a block of {length} from {start} on leaves axis {axis} with size {size}"
            )
        parts.append(_Slice(first, first + length))
    return tuple(parts)


def _window(starts, k, size, length):
    """The indices of a window along one axis. A start before the axis is sent past its end, to be
    refused there."""
    start = starts[k]
    start = mx.where(start < -size, size, mx.where(start < 0, start + size, start))
    return start + mx.arange(length, dtype=mx.int64)


def slice(a, start_indices, axes, slice_size, *, stream=None):
    """A block of an array whose start may be a computed value.

    Args:
        a (array): Any shape and dtype.
        start_indices (array of integers): Where the block starts, one for each of ``axes``;
            negative ones count from
            the end. Along other axes it starts at 0.
        axes (tuple of int): The axes that ``start_indices`` speaks of.
        slice_size (tuple of int): The block's size along every axis of ``a``.

    Returns:
        array: Of shape ``slice_size``.

    Raises:
        IndexError: If the block leaves the array; this is seen at evaluation where the starts are
            not known before.
        ValueError: If the arguments do not fit.

    Example:
        >>> import mlxc.core as mx
        >>> mx.slice(mx.array([[1, 2, 3], [4, 5, 6]]), mx.array(1), axes=(1,), slice_size=(2, 1))
        array([[2],
               [5]], dtype=int32)
    """
    a = as_array(a)
    starts, axes = _dynamic_axes("slice", a, start_indices, axes)
    sizes = tuple(as_int(size) for size in slice_size)
    if len(sizes) != a.ndim or any(not 0 <= m <= n for m, n in zip(sizes, a.shape)):
        raise ValueError(
            f"[slice] sizes {sizes} for an array of shape {a.shape}; at most its own, one an axis"
        )
    known = _known_block("slice", a.shape, start_indices, axes, sizes)
    if known is not None:
        return getitem(a, known)
    static = tuple(_Slice(None) if axis in axes else _Slice(0, m) for axis, m in enumerate(sizes))
    out = getitem(a, static)
    for k, axis in enumerate(axes):
        out = take(out, _window(starts, k, a.shape[axis], sizes[axis]), axis)
    return out


def slice_update(a, update, start_indices, axes, *, stream=None):
    """A copy of the array with a block replaced whose start may be a computed value.

    Args:
        a (array): Any shape and dtype.
        update (array): The block; axes that are missing in front count as 1.
        start_indices (array of integers): Where the block starts, one for each of ``axes``;
            negative ones count from
            the end. Along other axes it starts at 0.
        axes (tuple of int): The axes that ``start_indices`` speaks of.

    Returns:
        array: The shape and dtype of ``a``.

    Raises:
        IndexError: If the block leaves the array; this is seen at evaluation where the starts are
            not known before.
        ValueError: If the arguments do not fit.

    Example:
        >>> import mlxc.core as mx
        >>> mx.slice_update(mx.zeros((3,)), mx.ones((2,)), mx.array(1), axes=(0,))
        array([0, 1, 1], dtype=float32)
    """
    a = as_array(a)
    update = array(_as_value(update, a.dtype))  # a handle of its own: it may be the result
    starts, axes = _dynamic_axes("slice_update", a, start_indices, axes)
    if update.ndim < a.ndim:  # axes that no start names are filled
        lead = range(a.ndim - update.ndim)
        missing = tuple(1 if axis in axes else a.shape[axis] for axis in lead)
        update = mx.broadcast_to(update, missing + update.shape)
    if update.ndim > a.ndim or any(m > n for m, n in zip(update.shape, a.shape)):
        raise ValueError(
            f"[slice_update] a block of shape {update.shape} does not fit into {a.shape}"
        )
    known = _known_block("slice_update", a.shape, start_indices, axes, update.shape)
    if known is not None:
        return setitem(a, known, update)
    order = sorted(axes)
    windows = [
        mx.reshape(
            _window(starts, axes.index(axis), a.shape[axis], update.shape[axis]),
            (-1,) + (1,) * (len(order) - k - 1),
        )
        for k, axis in enumerate(order)
    ]
    static = tuple(_Slice(0, m) for m in update.shape)
    key = tuple(
        windows[order.index(axis)] if axis in axes else part for axis, part in enumerate(static)
    )
    if not axes:
        return setitem(a, key, update)
    plan = _plan(a.shape, key)
    # The windows' axes come first where they stand apart: the update is put into the same order.
    lead = plan.lead
    others = [axis for axis in range(a.ndim) if axis not in axes]
    update = mx.transpose(update, (*others[:lead], *order, *others[lead:]))
    return _write(a, plan, update, "none")


def _index_dtype(size):
    return mx.int32 if size < 2**31 else mx.int64


def nonzero(a, /, *, stream=None):
    """Where an array is not zero, as one index array an axis. Evaluates the array.

    Args:
        a (array): At least one axis.

    Returns:
        tuple of array: int32 (int64 for huge arrays), each of shape (count,), in row-major order.

    Raises:
        ValueError: For an array without axes, or while vmap or compile traces.

    Example:
        >>> import mlxc.core as mx
        >>> mx.nonzero(mx.array([[0, 5], [7, 0]]))
        (array([0, 1], dtype=int32), array([1, 0], dtype=int32))
    """
    a = as_array(a)
    if a.ndim == 0:
        raise ValueError("[nonzero] an array without axes; at least one would be right")
    found = np.nonzero(np.asarray(a != 0))
    return tuple(as_array(axis).astype(_index_dtype(a.size)) for axis in found)


def argwhere(a, /, *, stream=None):
    """Where an array is not zero, one row of indices an element. Evaluates the array.

    Args:
        a (array): Any shape.

    Returns:
        array: int32 (int64 for huge arrays) of shape (count, a.ndim), in row-major order.

    Raises:
        ValueError: While vmap or compile traces.

    Example:
        >>> import mlxc.core as mx
        >>> mx.argwhere(mx.array([[0, 5], [7, 0]]))
        array([[0, 1],
               [1, 0]], dtype=int32)
    """
    a = as_array(a)
    found = np.ascontiguousarray(np.argwhere(np.asarray(a != 0)))
    return as_array(found).astype(_index_dtype(a.size))
