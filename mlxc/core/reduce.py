"""Reductions along axes: ``mx.sum`` and its kin, and the composites made of them.

Rules: ``axis`` is None (all axes), an int, or a sequence of ints; reduced axes go, or stay with
size 1 under ``keepdims``. Composites compute 16-bit floats in float32, so that nothing overflows on
the way, and return them in their own dtype.
This module shadows the built-in names it defines; nothing here may use the built-in ones.
"""

import mlxc.core as mx
from mlxc._graph import Routine, bind

from ._arguments import as_array, normalize_axes
from ._rows import reduced

__all__ = [
    "all",
    "any",
    "count_nonzero",
    "logsumexp",
    "max",
    "mean",
    "min",
    "minmax",
    "prod",
    "std",
    "sum",
    "var",
]

_HALF = (mx.float16, mx.bfloat16)
_FLOATING = (mx.float16, mx.bfloat16, mx.float32, mx.float64, mx.complex64)


def sum(a, /, axis=None, keepdims=False, *, stream=None):
    """Sum over axes; 0 where they are empty.

    float32 is added up in float64: the sum of 1e8 values is right to the last digits.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to sum over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: of a's dtype, but int32 for bool, int8 and int16, uint32 for uint8 and uint16.

    Raises:
        ValueError: axes twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.sum(mx.array([[1, 2], [3, 4]]), axis=0).tolist()
    [4, 6]
    """
    return reduced("sum", a, axis, keepdims)


def prod(a, /, axis=None, keepdims=False, *, stream=None):
    """Product over axes; 1 where they are empty.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to multiply over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: of a's dtype, but int32 for bool, int8 and int16, uint32 for uint8 and uint16.

    Raises:
        ValueError: axes twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.prod(mx.array([2.0, 3.0, 4.0])).item()
    24.0
    """
    return reduced("prod", a, axis, keepdims)


def max(a, /, axis=None, keepdims=False, *, stream=None):
    """Largest value over axes; NaN where there is one.

    Args:
        a (array): of any shape and dtype; complex numbers are ordered by real, then imaginary part.
        axis (int, sequence of ints or None): what to compare over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: of a's dtype.

    Raises:
        ValueError: axes empty, twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.max(mx.array([[1, 5], [3, 4]]), axis=1).tolist()
    [5, 4]
    """
    return reduced("max", a, axis, keepdims)


def min(a, /, axis=None, keepdims=False, *, stream=None):
    """Smallest value over axes; NaN where there is one.

    Args:
        a (array): of any shape and dtype; complex numbers are ordered by real, then imaginary part.
        axis (int, sequence of ints or None): what to compare over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: of a's dtype.

    Raises:
        ValueError: axes empty, twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.min(mx.array([[1, 5], [3, 4]]), axis=1).tolist()
    [1, 3]
    """
    return reduced("min", a, axis, keepdims)


def minmax(a, /, axis=None, keepdims=False, *, stream=None):
    """Smallest and largest value over axes; NaN where there is one.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to compare over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        tuple(array, array): smallest and largest, of a's dtype.

    Raises:
        ValueError: axes empty, twice or out of range.

    >>> import mlxc.core as mx
    >>> [x.item() for x in mx.minmax(mx.array([3, 1, 2]))]
    [1, 3]
    """
    a = as_array(a)
    return reduced("min", a, axis, keepdims), reduced("max", a, axis, keepdims)


def all(a, /, axis=None, keepdims=False, *, stream=None):
    """Whether every value over axes is true, that is, not zero; true where they are empty.

    Args:
        a (array): of any shape and dtype; NaN counts as true.
        axis (int, sequence of ints or None): what to look over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: bool.

    Raises:
        ValueError: axes twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.all(mx.array([[1, 0], [2, 3]]), axis=1).tolist()
    [False, True]
    """
    return reduced("all", a, axis, keepdims)


def any(a, /, axis=None, keepdims=False, *, stream=None):
    """Whether some value over axes is true, that is, not zero; false where they are empty.

    Args:
        a (array): of any shape and dtype; NaN counts as true.
        axis (int, sequence of ints or None): what to look over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: bool.

    Raises:
        ValueError: axes twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.any(mx.array([[0, 0], [2, 0]]), axis=1).tolist()
    [False, True]
    """
    return reduced("any", a, axis, keepdims)


def count_nonzero(a, /, axis=None, keepdims=False, *, stream=None):
    """How many values over axes are not zero.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to count over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: int32.

    Raises:
        ValueError: axes twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.count_nonzero(mx.array([[0, 1], [2, 3]]), axis=1).tolist()
    [1, 2]
    """
    a = as_array(a)
    axes = normalize_axes("count_nonzero", axis, a.ndim)
    return bind("sum", (a.astype(mx.bool_),), (axes, bool(keepdims)))


def _as_floating(a):
    """What composites compute in, and the dtype of their result."""
    if a.dtype in _HALF:
        return a.astype(mx.float32), a.dtype
    if a.dtype not in _FLOATING:
        a = a.astype(mx.float32)
    return a, a.dtype


def _count(a, axes):
    """How many values go into one along axes."""
    count = 1
    for axis in axes:
        count *= a.shape[axis]
    return count


def mean(a, /, axis=None, keepdims=False, *, stream=None):
    """Arithmetic mean over axes; NaN where they are empty.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to average over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: of a's dtype if that is floating or complex, else float32.

    Raises:
        ValueError: axes twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.mean(mx.array([[1, 2], [3, 4]]), axis=0).tolist()
    [2.0, 3.0]
    """
    return _mean((as_array(a),), _plain(axis), bool(keepdims))


@Routine
def _mean(a, axis, keepdims):
    axes = normalize_axes("mean", axis, a.ndim)
    a, dtype = _as_floating(a)
    return (bind("sum", (a,), (axes, keepdims)) / float(_count(a, axes))).astype(dtype)


def var(a, /, axis=None, keepdims=False, ddof=0, *, correction=None, stream=None):
    """Variance over axes: the mean of squared distances from the mean.

    The mean is taken first and the distances second, which keeps the digits that
    ``mean(a**2) - mean(a)**2`` loses.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to average over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.
        ddof (int): the sum is divided by (number of values - ddof), or by 0 where that is negative.
        correction (int, optional): the array API standard's name of ddof; goes before it.

    Returns:
        array: of a's dtype if that is floating, else float32 (for complex numbers too).

    Raises:
        ValueError: axes twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.var(mx.array([1.0, 2.0, 3.0, 4.0])).item()
    1.25
    """
    ddof = ddof if correction is None else correction
    return _variance((as_array(a),), "var", _plain(axis), bool(keepdims), ddof)


def _plain(axis):
    """An axis argument as routines take it."""
    return tuple(axis) if isinstance(axis, list) else axis


@Routine
def _variance(a, name, axis, keepdims, ddof):
    axes = normalize_axes(name, axis, a.ndim)
    a, dtype = _as_floating(a)
    count = _count(a, axes)
    distance = a - bind("sum", (a,), (axes, True)) / float(count)
    if dtype == mx.complex64:
        distance, dtype = mx.abs(distance), mx.float32
    total = bind("sum", (mx.square(distance),), (axes, bool(keepdims)))
    divisor = count - ddof
    return (total / float(divisor if divisor > 0 else 0)).astype(dtype)


def std(a, /, axis=None, keepdims=False, ddof=0, *, correction=None, stream=None):
    """Standard deviation over axes: the square root of the variance.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to average over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.
        ddof (int): the sum is divided by (number of values - ddof), or by 0 where that is negative.
        correction (int, optional): the array API standard's name of ddof; goes before it.

    Returns:
        array: of a's dtype if that is floating, else float32 (for complex numbers too).

    Raises:
        ValueError: axes twice or out of range.

    >>> import mlxc.core as mx
    >>> mx.std(mx.array([1.0, 1.0, 3.0, 3.0])).item()
    1.0
    """
    ddof = ddof if correction is None else correction
    return _deviation((as_array(a),), _plain(axis), bool(keepdims), ddof)


@Routine
def _deviation(a, axis, keepdims, ddof):
    dtype = a.dtype
    if dtype in _HALF:  # the root of the float32 variance, which may be beyond 16 bits
        a = a.astype(mx.float32)
    variance = _variance((a,), "std", axis, keepdims, ddof)
    flat = mx.equal(variance, 0)  # where the root has no derivative, the deviation's is taken as 0
    root = mx.where(flat, variance, mx.sqrt(mx.where(flat, mx.ones_like(variance), variance)))
    return root.astype(dtype) if dtype in _HALF else root


def logsumexp(a, /, axis=None, keepdims=False, *, stream=None):
    """Logarithm of the sum of exponentials over axes, without overflow.

    The largest value is taken out first: log(sum(exp(a - m))) + m.

    Args:
        a (array): of any shape and dtype.
        axis (int, sequence of ints or None): what to sum over; None means everything.
        keepdims (bool): whether reduced axes stay, with size 1.

    Returns:
        array: of a's dtype if that is floating or complex, else float32; -inf where all values are.

    Raises:
        ValueError: axes empty, twice or out of range.

    >>> import mlxc.core as mx
    >>> round(mx.logsumexp(mx.array([1000.0, 1000.0])).item(), 3)
    1000.693
    """
    return _logsumexp((as_array(a),), _plain(axis), bool(keepdims))


@Routine
def _logsumexp(a, axis, keepdims):
    axes = normalize_axes("logsumexp", axis, a.ndim)
    if _count(a, axes) == 0:
        raise ValueError(
            f"[logsumexp] axes {axes} of shape {tuple(a.shape)} are empty; one value is needed"
        )
    a, dtype = _as_floating(a)
    largest = bind("max", (mx.real(a) if dtype == mx.complex64 else a,), (axes, True))
    # An infinite maximum would make inf - inf; the derivative does not depend on what is taken out.
    shift = mx.stop_gradient(mx.where(mx.isfinite(largest), largest, mx.zeros_like(largest)))
    total = mx.log(bind("sum", (mx.exp(a - shift),), (axes, True))) + shift
    if not keepdims:
        total = mx.squeeze(total, axes)
    return total.astype(dtype)
