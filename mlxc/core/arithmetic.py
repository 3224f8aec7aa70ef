"""Small arithmetic and comparisons that are made of other functions.

What comes back is always another handle than what went in, so that in-place operations on one leave
the other alone.
"""

from operator import index as as_int

import numpy as np

import mlxc.core as mx
from mlxc._graph import array, bind

from ._arguments import as_array

__all__ = [
    "allclose",
    "array_equal",
    "clip",
    "divmod",
    "isclose",
    "nan_to_num",
    "positive",
    "round",
]


def divmod(a, b, stream=None):
    """Floor division and its remainder.

    Args:
        a (array or number): Dividends.
        b (array or number): Divisors. Shapes are broadcast together, dtypes promoted.

    Returns:
        list of array: Quotients and remainders.

    Example:
        >>> import mlxc.core as mx
        >>> [x.item() for x in mx.divmod(mx.array(-7), 2)]
        [-4, 1]
    """
    return [mx.floor_divide(a, b), mx.remainder(a, b)]


def clip(a, /, a_min, a_max, *, stream=None):
    """The values kept between two bounds; NaN stays NaN.

    Args:
        a (array): Any shape.
        a_min (number, array or None): Lower bound; None is without.
        a_max (number, array or None): Upper bound, which wins where the two cross; None is without.

    Returns:
        array: Shapes are broadcast together, dtypes promoted.

    Raises:
        ValueError: If both bounds are None.

    Example:
        >>> import mlxc.core as mx
        >>> mx.clip(mx.array([1, 5, 9]), 2, 6)
        array([2, 5, 6], dtype=int32)
    """
    if a_min is None and a_max is None:
        raise ValueError("[clip] neither bound; at least one would be right")
    out = as_array(a)
    if a_min is not None:
        out = mx.maximum(out, a_min)
    return out if a_max is None else mx.minimum(out, a_max)


_LARGEST = {
    "float16": 65504.0,
    "bfloat16": 2.0**127 * (2 - 2**-7),
    "float64": float(np.finfo("f8").max),
}


def nan_to_num(a, nan=0, posinf=None, neginf=None, stream=None):
    """The values with NaN and infinities replaced.

    Args:
        a (array or number): Any shape; integers have nothing to replace.
        nan (float): What NaN becomes.
        posinf (float, optional): What infinity becomes; the dtype's largest value by default.
        neginf (float, optional): What minus infinity becomes; the dtype's smallest value by
            default.

    Returns:
        array: The same shape and dtype.

    Raises:
        ValueError: For complex64.

    Example:
        >>> import mlxc.core as mx
        >>> mx.nan_to_num(mx.array([1.0, float("nan")]))
        array([1, 0], dtype=float32)
    """
    a = as_array(a)
    if a.dtype == mx.complex64:
        raise ValueError("[nan_to_num] complex64; apply it to the real and the imaginary part")
    if not mx.issubdtype(a.dtype, mx.floating):
        return array(a)
    largest = _LARGEST.get(a.dtype.name, float(np.finfo("f4").max))
    high = array(largest if posinf is None else posinf, a.dtype)
    low = array(-largest if neginf is None else neginf, a.dtype)
    out = mx.where(mx.isnan(a), array(nan, a.dtype), a)
    return mx.where(mx.isposinf(a), high, mx.where(mx.isneginf(a), low, out))


def round(a, /, decimals=0, stream=None):
    """The values rounded to decimals, half to even.

    Args:
        a (array): Any shape and dtype.
        decimals (int): Places behind the point; negative ones are places before it.

    Returns:
        array: The same shape and dtype.

    Example:
        >>> import mlxc.core as mx
        >>> mx.round(mx.array([0.5, 1.5, 2.4]))
        array([0, 2, 2], dtype=float32)
    """
    a = as_array(a)
    decimals = as_int(decimals)
    if abs(decimals) > 300:
        raise ValueError(f"[round] {decimals} decimals; -300 to 300 would be right")
    if a.dtype == mx.complex64:
        parts = [round(mx.real(a), decimals), round(mx.imag(a), decimals)]
        return parts[0] + parts[1] * array(1j)
    whole = not mx.issubdtype(a.dtype, mx.floating)
    if whole and decimals >= 0:
        return array(a)
    if decimals == 0:
        return bind("rint", (a,))
    values = a.astype(mx.float64 if whole else a.dtype)
    scale = array(10.0 ** abs(decimals), values.dtype)
    if decimals > 0:
        return bind("rint", (values * scale,)) / scale
    return (bind("rint", (values / scale,)) * scale).astype(a.dtype)


def isclose(a, b, /, rtol=1e-05, atol=1e-08, *, equal_nan=False, stream=None):
    """Whether values are equal up to a tolerance: ``|a - b| <= atol + rtol |b|``.

    Args:
        a (array or number): Any shape.
        b (array or number): Broadcast against ``a``.
        rtol (float): Relative tolerance.
        atol (float): Absolute tolerance.
        equal_nan (bool): Whether NaN is close to NaN.

    Returns:
        array: bool. Infinities are close to themselves alone.

    Example:
        >>> import mlxc.core as mx
        >>> mx.isclose(mx.array([1.0, 2.0]), mx.array([1.0, 2.1])).tolist()
        [True, False]
    """
    a, b = as_array(a), as_array(b)
    dtype = mx.result_type(a.dtype, b.dtype)
    if not mx.issubdtype(dtype, mx.inexact):
        dtype = mx.float32
    a, b = a.astype(dtype), b.astype(dtype)
    near = mx.abs(a - b) <= atol + rtol * mx.abs(b)
    infinite = mx.logical_or(mx.isinf(a), mx.isinf(b))
    out = mx.where(infinite, a == b, near)
    if equal_nan:
        out = mx.logical_or(out, mx.logical_and(mx.isnan(a), mx.isnan(b)))
    return out


def allclose(a, b, /, rtol=1e-05, atol=1e-08, *, equal_nan=False, stream=None):
    """Whether all values are equal up to a tolerance, as :func:`isclose` tells.

    Args:
        a, b, rtol, atol, equal_nan: As in :func:`isclose`.

    Returns:
        array: One bool.

    Raises:
        ValueError: If the shapes cannot be broadcast together.

    Example:
        >>> import mlxc.core as mx
        >>> mx.allclose(mx.ones(2), mx.ones(2)).item()
        True
    """
    return mx.all(isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan))


def array_equal(a, b, equal_nan=False, stream=None):
    """Whether two arrays have the same shape and values.

    Args:
        a (array or number): Any shape.
        b (array or number): Any shape.
        equal_nan (bool): Whether NaN is equal to NaN.

    Returns:
        array: One bool.

    Example:
        >>> import mlxc.core as mx
        >>> mx.array_equal(mx.array([1, 2]), mx.array([1.0, 2.0])).item()
        True
    """
    a, b = as_array(a), as_array(b)
    if a.shape != b.shape:
        return array(False)
    same = a == b
    if equal_nan:
        same = mx.logical_or(same, mx.logical_and(mx.isnan(a), mx.isnan(b)))
    return mx.all(same)


def positive(a, /, *, stream=None):
    """The array itself, under another handle.

    Args:
        a (array): Any shape and dtype.

    Returns:
        array: The same values.

    Example:
        >>> import mlxc.core as mx
        >>> mx.positive(mx.array([1, -1]))
        array([1, -1], dtype=int32)
    """
    return array(as_array(a))
