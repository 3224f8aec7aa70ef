"""Arrays made from nothing or from a few numbers: constants, ranges, grids, diagonals, windows.

Rules: constants are one scalar stretched without a copy; ranges are the ``arange`` row, whose
floats are rounded once from float64; everything triangular or diagonal is a comparison of two
ranges, which fuses with what follows.
"""

import contextlib
import math
from operator import index as as_int

import numpy as np

import mlxc.core as mx
from mlxc._graph import Dtype, Routine, array, bind

from ._arguments import as_array, as_shape, normalize_axis
from ._rows import filled

__all__ = [
    "arange", "asarray", "bartlett", "blackman", "broadcast_arrays", "broadcast_shapes", "diag",
    "diagonal", "empty", "empty_like", "eye", "full", "full_like", "hamming", "hanning", "identity",
    "linspace", "meshgrid", "ones", "ones_like", "trace", "tri", "tril", "triu", "zeros",
    "zeros_like",
]  # fmt: skip


# ---- constants ----


def full(shape, vals, dtype=None, *, stream=None):
    """An array filled with a value.

    Args:
        shape (int or sequence of int): The shape.
        vals (number or array): What to fill it with; an array is broadcast to the shape.
        dtype (Dtype, optional): By default that of ``vals``.

    Returns:
        array: Of the given shape.

    Raises:
        ValueError: If a size is negative or ``vals`` does not broadcast to the shape.

    Example:
        >>> import mlxc.core as mx
        >>> mx.full((2, 2), 7)
        array([[7, 7],
               [7, 7]], dtype=int32)
    """
    return mx.broadcast_to(array(vals, dtype), as_shape("full", shape))


def zeros(shape, dtype=None, *, stream=None):
    """An array of zeros.

    Args:
        shape (int or sequence of int): The shape.
        dtype (Dtype, optional): float32 by default.

    Returns:
        array: Of the given shape.

    Raises:
        ValueError: If a size is negative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.zeros((2, 3)).shape
        (2, 3)
    """
    return filled(shape, 0, dtype)


def ones(shape, dtype=None, *, stream=None):
    """An array of ones.

    Args:
        shape (int or sequence of int): The shape.
        dtype (Dtype, optional): float32 by default.

    Returns:
        array: Of the given shape.

    Raises:
        ValueError: If a size is negative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.ones(2)
        array([1, 1], dtype=float32)
    """
    return filled(shape, 1, dtype)


def empty(shape, dtype=None, *, stream=None):
    """An array whose values one should not rely on; they are zeros.

    Args, Returns and Raises as in :func:`zeros`.

    Example:
        >>> import mlxc.core as mx
        >>> mx.empty((2, 3)).shape
        (2, 3)
    """
    return zeros(shape, dtype)


def full_like(a, vals, dtype=None, *, stream=None):
    """An array filled with a value, of the shape of another.

    Args:
        a (array): Whose shape to take.
        vals (number or array): What to fill it with; an array is broadcast to the shape.
        dtype (Dtype, optional): By default that of ``a``.

    Returns:
        array: Of the shape of ``a``.

    Raises:
        ValueError: If ``vals`` does not broadcast to the shape.

    Example:
        >>> import mlxc.core as mx
        >>> mx.full_like(mx.zeros(2), 3)
        array([3, 3], dtype=float32)
    """
    a = as_array(a)
    dtype = a.dtype if dtype is None else dtype
    return mx.broadcast_to(as_array(vals).astype(dtype), a.shape)


def zeros_like(a, /, dtype=None, *, stream=None):
    """Zeros of the shape of another array.

    Args:
        a (array): Whose shape to take.
        dtype (Dtype, optional): By default that of ``a``.

    Returns:
        array: Of the shape of ``a``.

    Example:
        >>> import mlxc.core as mx
        >>> mx.zeros_like(mx.array([1, 2]))
        array([0, 0], dtype=int32)
    """
    a = as_array(a)
    return zeros(a.shape, a.dtype if dtype is None else dtype)


def ones_like(a, /, dtype=None, *, stream=None):
    """Ones of the shape of another array.

    Args:
        a (array): Whose shape to take.
        dtype (Dtype, optional): By default that of ``a``.

    Returns:
        array: Of the shape of ``a``.

    Example:
        >>> import mlxc.core as mx
        >>> mx.ones_like(mx.array([1, 2]))
        array([1, 1], dtype=int32)
    """
    a = as_array(a)
    return ones(a.shape, a.dtype if dtype is None else dtype)


def empty_like(a, /, dtype=None, *, stream=None):
    """An array of the shape of another whose values one should not rely on; they are zeros.

    Args and Returns as in :func:`zeros_like`.

    Example:
        >>> import mlxc.core as mx
        >>> mx.empty_like(mx.array([1, 2])).dtype
        mlxc.core.int32
    """
    return zeros_like(a, dtype)


def asarray(a, dtype=None, *, copy=None):
    """The input as an array.

    Args:
        a (array, number, sequence, NumPy array or DLPack object): What to convert.
        dtype (Dtype, optional): By default what ``array`` gives.
        copy (bool, optional): False refuses where values would have to be copied. Arrays never
            share values in a way
            that could be seen, so for them True and None mean the same.

    Returns:
        array: Another handle, whose in-place operations leave ``a`` alone.

    Raises:
        ValueError: If ``copy`` is False and a copy is needed.

    Example:
        >>> import mlxc.core as mx
        >>> mx.asarray([1, 2.5])
        array([1, 2.5], dtype=float32)
    """
    if copy is False and not (isinstance(a, array) and dtype in (None, a.dtype)):
        raise ValueError(
            f"[asarray] {type(a).__name__} with copy=False; only an array of the same dtype needs "
            f"no copy"
        )
    return array(a, dtype)


# ---- ranges ----


def _number(op, value):
    """A Python int or float from anything that is one number."""
    if isinstance(value, (bool, np.bool_)):
        raise ValueError(f"[{op}] {value!r}; integers and floats would be right")
    if isinstance(value, (int, float)):
        return value
    if not isinstance(value, (str, bytes, complex)) and getattr(value, "size", 1) == 1:
        try:
            return as_int(value)
        except TypeError:
            with contextlib.suppress(TypeError):
                return float(value)
    raise TypeError(f"[{op}] {value!r}; integers and floats would be right")


def _range_length(start, stop, step):
    if all(isinstance(value, int) for value in (start, stop, step)):
        return max(0, -((start - stop) // step))  # len(range(...)) stops at 2**63
    steps = (stop - start) / step
    if not math.isfinite(steps):
        raise ValueError(
            f"[arange] from {start} to {stop} by {step}; the number of steps must be finite"
        )
    return max(math.ceil(steps), 0)


def _range_dtype(values):
    if any(isinstance(value, float) for value in values):
        return mx.float32
    if any(not -(2**63) <= value < 2**63 for value in values):
        raise ValueError(f"[arange] {values}; values must fit into int64")
    return mx.int32 if all(-(2**31) <= value < 2**31 for value in values) else mx.int64


def _range_arguments(start, stop, step, dtype):
    """MLX's two call forms, (start, stop, step, dtype) and (stop, step, dtype), in one."""
    if isinstance(step, Dtype):
        stop, step, dtype = None, stop, step
    if start is None:
        start, stop = stop, None
    if start is None:
        raise TypeError(
            "[arange] no stop; arange(stop) or arange(start, stop, step) would be right"
        )
    start, stop = (0, start) if stop is None else (start, stop)
    step = 1 if step is None else step
    return (*(_number("arange", value) for value in (start, stop, step)), dtype)


def arange(start=None, stop=None, step=None, dtype=None, *, stream=None):
    """The numbers from start up to, but without, stop, in steps.

    ``arange(stop)``, ``arange(start, stop)`` and ``arange(start, stop, step)``.

    Args:
        start (int or float): First number, 0 by default.
        stop (int or float): End of the half-open interval.
        step (int or float): Increment, 1 by default; may be negative.
        dtype (Dtype, optional): float32 if an argument is a float, else int32, or int64 if it must
            be.

    Returns:
        array: Of shape (n,). Under an integer dtype the increment is ``dtype(start + step) -
        dtype(start)``, as NumPy's.

    Raises:
        ValueError: If the step is 0, the number of steps is not finite, or the dtype is bool.

    Example:
        >>> import mlxc.core as mx
        >>> mx.arange(1, 7, 2)
        array([1, 3, 5], dtype=int32)
    """
    if type(start) is int and stop is None and step is None and dtype is None and start < 2**31:
        return bind("arange", (), (0, 1, max(start, 0), "int32"))
    start, stop, step, dtype = _range_arguments(start, stop, step, dtype)
    dtype = _range_dtype((start, stop, step)) if dtype is None else dtype
    if dtype == mx.bool_:
        raise ValueError("[arange] bool has no ranges; a number's dtype would be right")
    if step == 0:
        raise ValueError("[arange] a step of 0; any other number would be right")
    size = _range_length(start, stop, step)
    if mx.issubdtype(dtype, mx.integer):
        first = int(start)
        return bind("arange", (), (first, int(start + step) - first, size, dtype.name))
    name = "float64" if dtype == mx.float64 else "float32"
    out = bind("arange", (), (float(start), float(step), size, name))
    return out if out.dtype == dtype else out.astype(dtype)


def _even_steps(start, step, size, dtype=None):
    """start, start + step, ... as float32, or float64 for that dtype."""
    name = "float64" if dtype == mx.float64 else "float32"
    return bind("arange", (), (float(start), float(step), size, name))


def linspace(start, stop, num=50, endpoint=True, dtype=None, stream=None):
    """Evenly spaced numbers over an interval.

    Args:
        start (number): First number.
        stop (number): Last number, or where the next one would be without ``endpoint``.
        num (int): How many, 50 by default.
        endpoint (bool): Whether ``stop`` is the last number.
        dtype (Dtype, optional): float32 by default.

    Returns:
        array: Of shape (num,).

    Raises:
        ValueError: If ``num`` is negative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.linspace(0, 1, 5)
        array([0, 0.25, 0.5, 0.75, 1], dtype=float32)
    """
    return _linspace((), start, stop, num, endpoint, dtype)


@Routine
def _linspace(start, stop, num, endpoint, dtype):
    num = 50 if num is None else as_int(num)
    if num < 0:
        raise ValueError(f"[linspace] {num} numbers; 0 or more would be right")
    start, stop = float(_number("linspace", start)), float(_number("linspace", stop))
    dtype = mx.float32 if dtype is None else dtype
    gaps = num - 1 if endpoint else num
    out = _even_steps(start, (stop - start) / max(gaps, 1), num, dtype)
    if endpoint and num > 1:  # exactly, whatever rounding did
        out = mx.where(mx.arange(num) == num - 1, array(stop, out.dtype), out)
    return out if out.dtype == dtype else out.astype(dtype)


# ---- windows of signal processing ----


def _window(size, formula):
    """A window of a size: empty, (1), or a formula of the phase from 0 to 2 pi."""
    size = as_int(size)
    if size <= 1:
        return ones((max(size, 0),))
    return formula(_even_steps(0, 2 * math.pi / (size - 1), size))


def hanning(M, *, stream=None):
    """The Hann window, ``0.5 - 0.5 cos(2 pi n / (M - 1))``.

    Args:
        M (int): How many points; below 1 the window is empty.

    Returns:
        array: float32 of shape (M,).

    Formula: Blackman and Tukey, The Measurement of Power Spectra, 1958.

    Example:
        >>> import mlxc.core as mx
        >>> mx.hanning(3).shape
        (3,)
    """
    return _window(M, lambda phase: 0.5 - 0.5 * mx.cos(phase))


def hamming(M, *, stream=None):
    """The Hamming window, ``0.54 - 0.46 cos(2 pi n / (M - 1))``.

    Args:
        M (int): How many points; below 1 the window is empty.

    Returns:
        array: float32 of shape (M,).

    Formula: Blackman and Tukey, The Measurement of Power Spectra, 1958.

    Example:
        >>> import mlxc.core as mx
        >>> mx.hamming(3).shape
        (3,)
    """
    return _window(M, lambda phase: 0.54 - 0.46 * mx.cos(phase))


def blackman(M, *, stream=None):
    """The Blackman window, ``0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1))``.

    Args:
        M (int): How many points; below 1 the window is empty.

    Returns:
        array: float32 of shape (M,).

    Formula: Blackman and Tukey, The Measurement of Power Spectra, 1958.

    Example:
        >>> import mlxc.core as mx
        >>> mx.blackman(3).shape
        (3,)
    """
    # Factored, with c = cos(phase), so that both ends are exactly 0.
    return _window(M, lambda phase: (1 - mx.cos(phase)) * (0.34 - 0.16 * mx.cos(phase)))


def bartlett(M, *, stream=None):
    """The triangular Bartlett window, ``1 - |2 n / (M - 1) - 1|``.

    Args:
        M (int): How many points; below 1 the window is empty.

    Returns:
        array: float32 of shape (M,).

    Formula: Bartlett, Periodogram Analysis and Continuous Spectra, Biometrika 37, 1950.

    Example:
        >>> import mlxc.core as mx
        >>> mx.bartlett(3)
        array([0, 1, 0], dtype=float32)
    """
    size = as_int(M)
    if size <= 1:
        return ones((max(size, 0),))
    return 1 - mx.abs(_even_steps(-1, 2 / (size - 1), size))


# ---- matrices ----


def _rows_and_columns(op, n, m):
    """Ranges down the rows and along the columns of an (n, m) matrix."""
    n = as_int(n)
    m = n if m is None else as_int(m)
    if n < 0 or m < 0:
        raise ValueError(f"[{op}] {n} rows and {m} columns; 0 or more would be right")
    return mx.reshape(arange(n, dtype=mx.int64), (n, 1)), arange(m, dtype=mx.int64)


def eye(n, m=None, k=0, dtype=None, *, stream=None):
    """A matrix with ones on a diagonal and zeros elsewhere.

    Args:
        n (int): Rows.
        m (int, optional): Columns, ``n`` by default.
        k (int): Which diagonal: 0 the main one, positive above, negative below.
        dtype (Dtype, optional): float32 by default.

    Returns:
        array: Of shape (n, m).

    Raises:
        ValueError: If a size is negative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.eye(2)
        array([[1, 0],
               [0, 1]], dtype=float32)
    """
    return _eye((), n, m, k, dtype)


@Routine
def _eye(n, m, k, dtype):
    rows, columns = _rows_and_columns("eye", n, m)
    return (rows + as_int(k) == columns).astype(mx.float32 if dtype is None else dtype)


def identity(n, dtype=None, *, stream=None):
    """The square identity matrix.

    Args:
        n (int): Rows and columns.
        dtype (Dtype, optional): float32 by default.

    Returns:
        array: Of shape (n, n).

    Raises:
        ValueError: If ``n`` is negative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.identity(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return eye(n, dtype=dtype)


def tri(n, m=None, k=0, dtype=None, *, stream=None):
    """A matrix with ones at and below a diagonal and zeros above.

    Args:
        n (int): Rows.
        m (int, optional): Columns, ``n`` by default.
        k (int): Which diagonal: 0 the main one, positive above, negative below.
        dtype (Dtype, optional): float32 by default.

    Returns:
        array: Of shape (n, m).

    Raises:
        ValueError: If a size is negative.

    Example:
        >>> import mlxc.core as mx
        >>> mx.tri(2, 3).tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    return _tri((), n, m, k, dtype)


@Routine
def _tri(n, m, k, dtype):
    rows, columns = _rows_and_columns("tri", n, m)
    return (rows + as_int(k) >= columns).astype(mx.float32 if dtype is None else dtype)


@Routine
def _triangle(x, op, k, lower):
    if x.ndim < 2:
        raise ValueError(f"[{op}] an array with {x.ndim} axes; at least two would be right")
    below = tri(x.shape[-2], x.shape[-1], k if lower else as_int(k) - 1, mx.bool_)
    zero = array(0, x.dtype)
    return mx.where(below, x, zero) if lower else mx.where(below, zero, x)


def tril(x, k=0, *, stream=None):
    """The array with zeros above a diagonal of its last two axes.

    Args:
        x (array): At least two axes.
        k (int): The last diagonal that stays.

    Returns:
        array: The shape and dtype of ``x``.

    Raises:
        ValueError: If ``x`` has fewer than two axes.

    Example:
        >>> import mlxc.core as mx
        >>> mx.tril(mx.ones((2, 2))).tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """
    return _triangle((as_array(x),), "tril", k, True)


def triu(x, k=0, *, stream=None):
    """The array with zeros below a diagonal of its last two axes.

    Args:
        x (array): At least two axes.
        k (int): The first diagonal that stays.

    Returns:
        array: The shape and dtype of ``x``.

    Raises:
        ValueError: If ``x`` has fewer than two axes.

    Example:
        >>> import mlxc.core as mx
        >>> mx.triu(mx.ones((2, 2))).tolist()
        [[1.0, 1.0], [0.0, 1.0]]
    """
    return _triangle((as_array(x),), "triu", k, False)


def diagonal(a, offset=0, axis1=0, axis2=1, stream=None):
    """A diagonal of the matrices that two axes make.

    Args:
        a (array): At least two axes.
        offset (int): Which diagonal: 0 the main one, positive above, negative below.
        axis1 (int): The rows' axis.
        axis2 (int): The columns' axis.

    Returns:
        array: The shape of ``a`` without the two axes, and the diagonal's length as the last axis.

    Raises:
        ValueError: If there are fewer than two axes, or the axes are equal or out of range.

    Example:
        >>> import mlxc.core as mx
        >>> mx.diagonal(mx.array([[1, 2], [3, 4]]))
        array([1, 4], dtype=int32)
    """
    a = as_array(a)
    if a.ndim < 2:
        raise ValueError(f"[diagonal] an array with {a.ndim} axes; at least two would be right")
    axis1 = normalize_axis("diagonal", axis1, a.ndim)
    axis2 = normalize_axis("diagonal", axis2, a.ndim)
    if axis1 == axis2:
        raise ValueError(f"[diagonal] axis {axis1} twice; two different axes would be right")
    offset = as_int(offset)
    others = tuple(axis for axis in range(a.ndim) if axis not in (axis1, axis2))
    rows, columns = a.shape[axis1], a.shape[axis2]
    length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    lead = tuple(a.shape[axis] for axis in others)
    flat = mx.reshape(mx.transpose(a, (*others, axis1, axis2)), (*lead, rows * columns))
    first = offset if offset >= 0 else -offset * columns
    stop = first + (length - 1) * (columns + 1) + 1
    low, high, step = (first, stop, columns + 1) if length else (0, 0, 1)
    slices = ((0,) * len(lead) + (low,), (*lead, high), (1,) * len(lead) + (step,))
    return bind("slice", (flat,), slices)


def diag(a, /, k=0, *, stream=None):
    """A diagonal of a matrix, or the matrix with a diagonal.

    Args:
        a (array): A matrix, whose diagonal is taken, or a vector, which becomes a diagonal.
        k (int): Which diagonal: 0 the main one, positive above, negative below.

    Returns:
        array: One axis for a matrix, two for a vector.

    Raises:
        ValueError: If ``a`` has neither one nor two axes.

    Example:
        >>> import mlxc.core as mx
        >>> mx.diag(mx.array([1, 2]))
        array([[1, 0],
               [0, 2]], dtype=int32)
    """
    a = as_array(a)
    if a.ndim == 2:
        return diagonal(a, k)
    if a.ndim != 1:
        raise ValueError(f"[diag] an array with {a.ndim} axes; one or two would be right")
    k = as_int(k)
    n = a.shape[0]
    size = n + abs(k)
    if n == 0:
        return zeros((size, size), a.dtype)
    first = k if k >= 0 else -k * size
    slices = (first,), (first + (n - 1) * (size + 1) + 1,), (size + 1,), "none"
    out = bind("slice_update", (zeros((size * size,), a.dtype), a), slices)
    return mx.reshape(out, (size, size))


def trace(a, /, offset=0, axis1=0, axis2=1, dtype=None, *, stream=None):
    """The sum along a diagonal of the matrices that two axes make.

    Args:
        a (array): At least two axes.
        offset (int): Which diagonal: 0 the main one, positive above, negative below.
        axis1 (int): The rows' axis.
        axis2 (int): The columns' axis.
        dtype (Dtype, optional): What to add up in; by default as in ``sum``.

    Returns:
        array: The shape of ``a`` without the two axes.

    Raises:
        ValueError: If there are fewer than two axes, or the axes are equal or out of range.

    Example:
        >>> import mlxc.core as mx
        >>> mx.trace(mx.array([[1, 2], [3, 4]]))
        array(5, dtype=int32)
    """
    values = diagonal(a, offset, axis1, axis2)
    if dtype is None:
        return mx.sum(values, axis=-1)
    return mx.sum(values.astype(dtype), axis=-1).astype(dtype)


# ---- broadcasting and grids ----


def broadcast_shapes(*shapes):
    """The shape that shapes broadcast to.

    Args:
        shapes (sequences of int): At least one.

    Returns:
        tuple of int: As long as the longest; sizes of an axis, counted from the last, are equal or
        1.

    Raises:
        ValueError: If there is none.

    Example:
        >>> import mlxc.core as mx
        >>> mx.broadcast_shapes((1, 2), (3, 1))
        (3, 2)
    """
    if not shapes:
        raise ValueError("[broadcast_shapes] no shapes; at least one would be right")
    shapes = [as_shape("broadcast_shapes", shape) for shape in shapes]
    out = [1] * max(len(shape) for shape in shapes)
    for shape in shapes:
        for k, size in enumerate(shape, len(out) - len(shape)):
            if size != 1 and out[k] not in (1, size):
                raise ValueError(
                    f"[broadcast_shapes] shapes {' and '.join(map(str, shapes))} cannot be "
                    f"broadcast together; "
                    f"sizes of an axis must be equal or 1, counted from the last axis"
                )
            out[k] = size if size != 1 else out[k]
    return tuple(out)


def broadcast_arrays(*arrays, stream=None):
    """Arrays stretched to their common shape, without a copy.

    Args:
        arrays (array): Any number.

    Returns:
        list of array: As many, of one shape; dtypes stay.

    Raises:
        ValueError: If the shapes cannot be broadcast together.

    Example:
        >>> import mlxc.core as mx
        >>> [x.shape for x in mx.broadcast_arrays(mx.ones((2, 1)), mx.ones(3))]
        [(2, 3), (2, 3)]
    """
    if not arrays:
        return []
    arrays = [as_array(x) for x in arrays]
    shape = broadcast_shapes(*(x.shape for x in arrays))
    return [array(mx.broadcast_to(x, shape)) for x in arrays]


def meshgrid(*arrays, sparse=False, indexing="xy", stream=None):
    """The coordinates of all points of a grid, from those of its axes.

    Args:
        arrays (array): Coordinates along each axis; flattened.
        sparse (bool): Leave axes along which nothing changes with size 1.
        indexing (str): "xy" gives the first two axes in the other order, "ij" as they are.

    Returns:
        tuple of array: One a coordinate.

    Raises:
        ValueError: If ``indexing`` is neither "xy" nor "ij".

    Example:
        >>> import mlxc.core as mx
        >>> [x.tolist() for x in mx.meshgrid(mx.array([1, 2]), mx.array([3, 4]))]
        [[[1, 2], [1, 2]], [[3, 3], [4, 4]]]
    """
    grid = _meshgrid(tuple([as_array(x) for x in arrays]), bool(sparse), indexing)
    return grid if type(grid) is tuple else (grid,)


@Routine
def _meshgrid(*operands):
    *arrays, sparse, indexing = operands
    if indexing not in ("xy", "ij"):
        raise ValueError(f"[meshgrid] indexing {indexing!r}; 'xy' or 'ij' would be right")
    count = len(arrays)
    out = []
    for k, x in enumerate(arrays):
        at = 1 - k if indexing == "xy" and count > 1 and k < 2 else k
        shape = tuple(-1 if axis == at else 1 for axis in range(count))
        out.append(mx.reshape(x, tuple(x.size if size == -1 else 1 for size in shape)))
    return tuple(out) if sparse else tuple(broadcast_arrays(*out))
