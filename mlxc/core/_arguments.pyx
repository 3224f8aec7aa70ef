"""Checks and conversions of arguments that public functions share; compiled, since each call of a
function passes through some."""

from operator import index

from mlxc._graph import as_array

__all__ = ["AxisError", "as_array", "as_shape", "normalize_axes", "normalize_axis"]


class AxisError(ValueError, IndexError):
    """An axis that an array does not have: what NumPy's users catch, and MLX's (IndexError)."""


def normalize_axis(op, axis, ndim):
    """An axis counted from the front; AxisError, naming the operation, where there is none such."""
    if type(axis) is int:
        position = axis
    else:
        try:
            position = index(axis)
        except TypeError:
            raise TypeError(
                f"[{op}] axis {axis!r} of type {type(axis).__name__}; an integer would be right"
            ) from None
    if not -ndim <= position < ndim:
        raise AxisError(
            f"[{op}] axis {position} of an array with {ndim} axes; "
            f"{-ndim} to {ndim - 1} would be right"
            if ndim
            else f"[{op}] axis {position} of an array without axes"
        )
    return position + ndim if position < 0 else position


def normalize_axes(op, axes, ndim):
    """Axes as a sorted tuple counted from the front: None for all, one integer, or a sequence
    without repetition."""
    if axes is None:
        return tuple(range(ndim))
    if not isinstance(axes, (tuple, list)):
        return (normalize_axis(op, axes, ndim),)
    positions = sorted([normalize_axis(op, axis, ndim) for axis in axes])
    if len(set(positions)) != len(positions):
        raise ValueError(f"[{op}] axes {tuple(axes)} name an axis twice; every axis may stand once")
    return tuple(positions)


def as_shape(op, shape):
    """A shape as a tuple of integers: one integer or a sequence."""
    if type(shape) is tuple and _all_integers(shape):
        return _counted(op, shape)
    if isinstance(shape, (tuple, list)):
        try:
            return _counted(op, tuple([index(size) for size in shape]))
        except TypeError:
            raise TypeError(f"[{op}] shape {shape!r}; integers would be right") from None
    try:
        return _counted(op, (index(shape),))
    except TypeError:
        raise TypeError(
            f"[{op}] shape {shape!r}; an integer or a sequence of integers would be right"
        ) from None


cdef bint _all_integers(tuple shape):
    for size in shape:
        if type(size) is not int:
            return False
    return True


cdef tuple _counted(op, tuple shape):
    """The shape itself; ValueError where 64 bits do not count an axis."""
    for size in shape:
        if not -(2**63) <= size < 2**63:
            raise ValueError(f"[{op}] shape {shape}; a size is at most 2**63 - 1")
    return shape
