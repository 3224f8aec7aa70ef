"""Public functions of the movement family: the same values arranged anew, without a copy."""

from math import prod
from operator import index

from mlxc._graph import Dtype, array, as_array, bind, broadcast, reshape_to, transpose_to
from mlxc._graph import astype as _astype
from mlxc._table.dtypes import CODE

from ._arguments import as_shape, normalize_axes, normalize_axis

__all__ = [
    "as_strided",
    "astype",
    "broadcast_to",
    "expand_dims",
    "flatten",
    "matrix_transpose",
    "moveaxis",
    "permute_dims",
    "reshape",
    "squeeze",
    "swapaxes",
    "transpose",
    "unflatten",
    "view",
]


def astype(a, /, dtype, *, copy=True, stream=None):
    """The values converted to another dtype.

    Args:
        a (array): Any shape.
        dtype (Dtype): The dtype of the result. Floats are truncated to integers; anything but zero
            is True.
        copy (bool): Kept for the array API standard; values are never shared in a way that could be
            seen.

    Returns:
        array: The same shape.

    Raises:
        TypeError: If dtype is not a Dtype.

    Example:
        >>> import mlxc.core as mx
        >>> mx.astype(mx.array([1.7, -1.7]), mx.int32)
        array([1, -1], dtype=int32)
    """
    return _astype(as_array(a), dtype)


def reshape(a, /, shape, *, stream=None):
    """The values in row-major order under another shape.

    Args:
        a (array): Any shape.
        shape (tuple of int): Sizes with the same product; one may be -1 and follows from the
            others.

    Returns:
        array: Shares memory where strides allow.

    Raises:
        ValueError: If the sizes do not fit.

    Example:
        >>> import mlxc.core as mx
        >>> mx.reshape(mx.array([1, 2, 3, 4]), (2, -1)).shape
        (2, 2)
    """
    return reshape_to(as_array(a), as_shape("reshape", shape))


def flatten(a, /, start_axis=0, end_axis=-1, *, stream=None):
    """The axes from start_axis to end_axis merged into one.

    Args:
        a (array): Any shape; an array of no axes becomes one of shape (1,).
        start_axis (int): First axis to merge.
        end_axis (int): Last axis to merge.

    Returns:
        array: The same values.

    Raises:
        ValueError: If an axis is out of range or end_axis is before start_axis.

    Example:
        >>> import mlxc.core as mx
        >>> mx.flatten(mx.zeros((2, 3, 4)), 1).shape
        (2, 12)
    """
    a = as_array(a)
    if a.ndim == 0:
        return reshape_to(a, (1,))
    first = max(index(start_axis) + a.ndim, 0) if start_axis < 0 else index(start_axis)
    last = index(end_axis) + a.ndim if end_axis < 0 else min(index(end_axis), a.ndim - 1)
    if not 0 <= first < a.ndim or last < first:
        raise ValueError(
            f"[flatten] axes {start_axis} to {end_axis} of an array with {a.ndim} axes; "
            f"start must not be behind end"
        )
    merged = prod(a.shape[first : last + 1])
    return reshape_to(a, (*a.shape[:first], merged, *a.shape[last + 1 :]))


def unflatten(a, /, axis, shape, *, stream=None):
    """One axis split into several.

    Args:
        a (array): Any shape.
        axis (int): The axis to split.
        shape (tuple of int): Sizes whose product is the axis's; one may be -1.

    Returns:
        array: The same values.

    Raises:
        ValueError: If the sizes do not fit.

    Example:
        >>> import mlxc.core as mx
        >>> mx.unflatten(mx.zeros((6, 2)), 0, (2, -1)).shape
        (2, 3, 2)
    """
    a = as_array(a)
    axis = normalize_axis("unflatten", axis, a.ndim)
    shape = as_shape("unflatten", shape)
    if not shape:
        raise ValueError("[unflatten] an empty shape; one size or more would be right")
    if -1 in shape and shape.count(-1) == 1:
        known = prod(size for size in shape if size != -1)
        if known <= 0 or a.shape[axis] % known:
            raise ValueError(
                f"[unflatten] axis {axis} of size {a.shape[axis]} does not divide into {shape}"
            )
        shape = tuple([a.shape[axis] // known if size == -1 else size for size in shape])
    return reshape_to(a, (*a.shape[:axis], *shape, *a.shape[axis + 1 :]))


def transpose(a, /, axes=None, *, stream=None):
    """The axes in another order.

    Args:
        a (array): Any shape.
        axes (sequence of int, optional): Where each axis of the result comes from. Default: all
            reversed.

    Returns:
        array: Shares memory.

    Raises:
        ValueError: If axes is not a permutation.

    Example:
        >>> import mlxc.core as mx
        >>> mx.transpose(mx.zeros((2, 3, 4)), (2, 0, 1)).shape
        (4, 2, 3)
    """
    a = as_array(a)
    if axes is None:
        return transpose_to(a, tuple(range(a.ndim - 1, -1, -1)))
    order = tuple([normalize_axis("transpose", axis, a.ndim) for axis in axes])
    if len(order) != a.ndim or len(set(order)) != a.ndim:
        raise ValueError(
            f"[transpose] axes {tuple(axes)} of an array with {a.ndim} axes; "
            f"every axis must stand once"
        )
    return transpose_to(a, order)


permute_dims = transpose


def matrix_transpose(a, /, *, stream=None):
    """The last two axes exchanged.

    Args:
        a (array): At least two axes.

    Returns:
        array: Shares memory.

    Raises:
        ValueError: If there are fewer than two axes.

    Example:
        >>> import mlxc.core as mx
        >>> mx.matrix_transpose(mx.zeros((5, 2, 3))).shape
        (5, 3, 2)
    """
    a = as_array(a)
    if a.ndim < 2:
        raise ValueError(
            f"[matrix_transpose] an array with {a.ndim} axes; at least two would be right"
        )
    return swapaxes(a, -1, -2)


def swapaxes(a, /, axis1, axis2, *, stream=None):
    """Two axes exchanged.

    Args:
        a (array): Any shape.
        axis1 (int): One axis.
        axis2 (int): The other.

    Returns:
        array: Shares memory.

    Raises:
        ValueError: If an axis is out of range.

    Example:
        >>> import mlxc.core as mx
        >>> mx.swapaxes(mx.zeros((2, 3, 4)), 0, 2).shape
        (4, 3, 2)
    """
    a = as_array(a)
    axis1 = normalize_axis("swapaxes", axis1, a.ndim)
    axis2 = normalize_axis("swapaxes", axis2, a.ndim)
    order = list(range(a.ndim))
    order[axis1], order[axis2] = axis2, axis1
    return transpose_to(a, tuple(order))


def moveaxis(a, /, source, destination, *, stream=None):
    """One axis moved to another place, the others keeping their order.

    Args:
        a (array): Any shape.
        source (int): The axis to move.
        destination (int): Where it goes.

    Returns:
        array: Shares memory.

    Raises:
        ValueError: If an axis is out of range.

    Example:
        >>> import mlxc.core as mx
        >>> mx.moveaxis(mx.zeros((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    a = as_array(a)
    source = normalize_axis("moveaxis", source, a.ndim)
    destination = normalize_axis("moveaxis", destination, a.ndim)
    order = [axis for axis in range(a.ndim) if axis != source]
    order.insert(destination, source)
    return transpose_to(a, tuple(order))


def expand_dims(a, /, axis, *, stream=None):
    """New axes of size 1.

    Args:
        a (array): Any shape.
        axis (int or sequence of int): Where they stand in the result.

    Returns:
        array: Shares memory.

    Raises:
        ValueError: If an axis is out of range or named twice.

    Example:
        >>> import mlxc.core as mx
        >>> mx.expand_dims(mx.zeros((2, 3)), (0, -1)).shape
        (1, 2, 3, 1)
    """
    a = as_array(a)
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    places = normalize_axes("expand_dims", axis, a.ndim + count)
    sizes = iter(a.shape)
    return reshape_to(a, tuple([1 if k in places else next(sizes) for k in range(a.ndim + count)]))


def squeeze(a, /, axis=None, *, stream=None):
    """Axes of size 1 removed.

    Args:
        a (array): Any shape.
        axis (int or sequence of int, optional): Which. Default: all of size 1.

    Returns:
        array: Shares memory.

    Raises:
        ValueError: If an axis has another size, is out of range or is named twice.

    Example:
        >>> import mlxc.core as mx
        >>> mx.squeeze(mx.zeros((1, 2, 1))).shape
        (2,)
    """
    a = as_array(a)
    if axis is None:
        return reshape_to(a, tuple([size for size in a.shape if size != 1]))
    places = normalize_axes("squeeze", axis, a.ndim)
    for place in places:
        if a.shape[place] != 1:
            raise ValueError(
                f"[squeeze] axis {place} of shape {a.shape} has size {a.shape[place]}; "
                f"only size 1 goes"
            )
    return reshape_to(a, tuple([size for k, size in enumerate(a.shape) if k not in places]))


def broadcast_to(a, /, shape, *, stream=None):
    """The values repeated to a larger shape, without a copy.

    Args:
        a (array or number): Any shape.
        shape (tuple of int): Every axis, counted from the last, equal to a's or a's of size 1.

    Returns:
        array: Of the given shape.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> import mlxc.core as mx
        >>> mx.broadcast_to(mx.array([1, 2]), (2, 2))
        array([[1, 2],
               [1, 2]], dtype=int32)
    """
    return broadcast(as_array(a), as_shape("broadcast_to", shape))


def as_strided(a, /, shape=None, strides=None, offset=0, *, stream=None):
    """A view of the flat values under any shape and strides that stay inside.

    Args:
        a (array): Read in row-major order.
        shape (tuple of int, optional): Default: a's.
        strides (tuple of int, optional): In elements. Default: those of a dense array of that
            shape.
        offset (int): The first element.

    Returns:
        array: Of the given shape.

    Raises:
        IndexError: If the view would leave the array.
        ValueError: If shape and strides differ in length.

    Example:
        >>> import mlxc.core as mx
        >>> mx.as_strided(mx.array([1, 2, 3, 4]), (3, 2), (1, 1))
        array([[1, 2],
               [2, 3],
               [3, 4]], dtype=int32)
    """
    a = as_array(a)
    shape = a.shape if shape is None else as_shape("as_strided", shape)
    if strides is None:
        strides, step = [], 1
        for size in reversed(shape):
            strides.insert(0, step)
            step *= max(size, 1)
    strides = as_shape("as_strided", strides if isinstance(strides, list) else list(strides))
    return bind("as_strided", (a,), (shape, strides, index(offset)))


def view(a, /, dtype, *, stream=None):
    """The bytes read as another dtype; the last axis grows or shrinks with the size of an element.

    Args:
        a (array): Any shape.
        dtype (Dtype): How to read the bytes.

    Returns:
        array: Shares memory where strides allow.

    Raises:
        ValueError: If the bytes of the last axis do not divide into elements.

    Example:
        >>> import mlxc.core as mx
        >>> mx.view(mx.array([1.0]), mx.int32).item() == 0x3F800000
        True
    """
    if not isinstance(dtype, Dtype):
        raise TypeError(f"[view] dtype {dtype!r}; a Dtype such as mlxc.core.int32 would be right")
    a = as_array(a)
    if a.dtype == dtype:
        return array(a)
    return bind("view", (a,), (CODE[dtype.name],))
