"""Scans along an axis: ``mx.cumsum`` and its kin.

Rules: axis None scans the flattened array. ``inclusive=False`` starts with the value of an empty
scan and leaves out the last element; ``reverse=True`` scans from the end.
"""

import mlxc.core as mx

from ._arguments import as_array
from ._rows import along

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "logcumsumexp",
]

_FLOATING = (mx.float16, mx.bfloat16, mx.float32, mx.float64, mx.complex64)


def cumsum(a, /, axis=None, *, reverse=False, inclusive=True, dtype=None, stream=None):
    """Sums of all values up to each one along an axis.

    Floats are carried in float64, so that long sums keep their digits.

    Args:
        a (array): of any shape and dtype.
        axis (int or None): what to scan along; None scans the flattened array.
        reverse (bool): scan from the end.
        inclusive (bool): whether a value counts for its own place.
        dtype (Dtype or None): what a is converted to first.

    Returns:
        array: of a's shape (flat for axis None) and dtype; int32 for bool.

    Raises:
        ValueError: the axis is out of range.

    >>> import mlxc.core as mx
    >>> mx.cumsum(mx.array([1, 2, 3]), axis=0, inclusive=False).tolist()
    [0, 1, 3]
    """
    a = as_array(a)
    if dtype is not None:
        a = a.astype(dtype)
    if a.dtype == mx.bool_:
        a = a.astype(mx.int32)
    return along("cumsum", a, axis, bool(reverse), bool(inclusive))


def cumprod(a, /, axis=None, *, reverse=False, inclusive=True, dtype=None, stream=None):
    """Products of all values up to each one along an axis.

    Args:
        a (array): of any shape and dtype.
        axis (int or None): what to scan along; None scans the flattened array.
        reverse (bool): scan from the end.
        inclusive (bool): whether a value counts for its own place.
        dtype (Dtype or None): what a is converted to first.

    Returns:
        array: of a's shape (flat for axis None) and dtype.

    Raises:
        ValueError: the axis is out of range.

    >>> import mlxc.core as mx
    >>> mx.cumprod(mx.array([1.0, 2.0, 3.0])).tolist()
    [1.0, 2.0, 6.0]
    """
    a = as_array(a)
    if dtype is not None:
        a = a.astype(dtype)
    return along("cumprod", a, axis, bool(reverse), bool(inclusive))


cumulative_sum = cumsum
cumulative_prod = cumprod


def cummax(a, /, axis=None, *, reverse=False, inclusive=True, stream=None):
    """Largest of all values up to each one along an axis; NaN from the first NaN on.

    Args:
        a (array): of any shape and dtype; complex numbers are ordered by real, then imaginary part.
        axis (int or None): what to scan along; None scans the flattened array.
        reverse (bool): scan from the end.
        inclusive (bool): whether a value counts for its own place; if not, the first is the least
            value of the dtype.

    Returns:
        array: of a's shape (flat for axis None) and dtype.

    Raises:
        ValueError: the axis is out of range.

    >>> import mlxc.core as mx
    >>> mx.cummax(mx.array([1, 3, 2, 4])).tolist()
    [1, 3, 3, 4]
    """
    return along("cummax", a, axis, bool(reverse), bool(inclusive))


def cummin(a, /, axis=None, *, reverse=False, inclusive=True, stream=None):
    """Smallest of all values up to each one along an axis; NaN from the first NaN on.

    Args:
        a (array): of any shape and dtype; complex numbers are ordered by real, then imaginary part.
        axis (int or None): what to scan along; None scans the flattened array.
        reverse (bool): scan from the end.
        inclusive (bool): whether a value counts for its own place; if not, the first is the largest
            value of the dtype.

    Returns:
        array: of a's shape (flat for axis None) and dtype.

    Raises:
        ValueError: the axis is out of range.

    >>> import mlxc.core as mx
    >>> mx.cummin(mx.array([3, 1, 2, 0]), reverse=True).tolist()
    [0, 0, 0, 0]
    """
    return along("cummin", a, axis, bool(reverse), bool(inclusive))


def logcumsumexp(a, /, axis=None, *, reverse=False, inclusive=True, stream=None):
    """Logarithms of the sums of exponentials up to each value along an axis, without overflow.

    Args:
        a (array): of any shape and dtype.
        axis (int or None): what to scan along; None scans the flattened array.
        reverse (bool): scan from the end.
        inclusive (bool): whether a value counts for its own place; without it the first is -inf.

    Returns:
        array: of a's shape (flat for axis None), of its dtype if that is floating or complex, else
        float32.

    Raises:
        ValueError: the axis is out of range.

    >>> import mlxc.core as mx
    >>> [round(x, 3) for x in mx.logcumsumexp(mx.array([1000.0, 1000.0])).tolist()]
    [1000.0, 1000.693]
    """
    a = as_array(a)
    if a.dtype not in _FLOATING:
        a = a.astype(mx.float32)
    return along("logcumsumexp", a, axis, bool(reverse), bool(inclusive))
