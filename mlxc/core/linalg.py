"""Linear algebra: factorisations, solvers, determinants and norms of (batches of) matrices.

Rules: factorisations take float32 or float64 (``svd``, ``eigh`` and ``eig`` complex64 too); axes
    before the last two are
batch axes; input without an answer raises ``numpy.linalg.LinAlgError``, a ``ValueError``, when it
is evaluated.
"""

import math as _math

import mlxc.core as _mx
from mlxc._graph import Routine as _Routine
from mlxc._graph import bind as _bind

from ._arguments import as_array as _as_array
from ._arguments import normalize_axis as _normalize_axis

__all__ = [
    "cholesky",
    "cholesky_inv",
    "cross",
    "det",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lu",
    "lu_factor",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "tri_inv",
]


def inv(a, stream=None):
    """Inverse of a square matrix.

    Args:
        a (array): (..., n, n), float32 or float64.

    Returns:
        array: (..., n, n) of the same dtype.

    Raises:
        ValueError: if not square, of another dtype, or singular (``numpy.linalg.LinAlgError``).

    >>> import mlxc.core as mx
    >>> mx.linalg.inv(mx.array([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return _bind("inv", (_as_array(a),), ())


def tri_inv(a, upper=False, stream=None):
    """Inverse of a triangular matrix; the other triangle is not read.

    Args:
        a (array): (..., n, n), float32 or float64.
        upper (bool): whether the upper triangle is meant.

    Returns:
        array: (..., n, n), triangular.

    >>> import mlxc.core as mx
    >>> mx.linalg.tri_inv(mx.array([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    a = _as_array(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"[tri_inv] was given shape {tuple(a.shape)}; square matrices are needed")
    identity = _mx.broadcast_to(_mx.eye(a.shape[-1], dtype=a.dtype), a.shape)
    return _bind("solve_triangular", (a, identity), (bool(upper),))


def cholesky(a, upper=False, stream=None):
    """Cholesky factor of a symmetric positive definite matrix, of which one triangle is read.

    Args:
        a (array): (..., n, n), float32 or float64.
        upper (bool): return (and read) the upper triangle U with U.T @ U = a instead of L with L @
            L.T = a.

    Returns:
        array: (..., n, n), triangular.

    Raises:
        ValueError: if not positive definite (``numpy.linalg.LinAlgError``).

    Its derivative is Murray 2016, "Differentiation of the Cholesky decomposition", for symmetric
    ``a``.

    >>> import mlxc.core as mx
    >>> mx.linalg.cholesky(mx.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    return _bind("cholesky", (_as_array(a),), (bool(upper),))


def cholesky_inv(a, upper=False, stream=None):
    """Inverse of A from its Cholesky factor.

    Args:
        a (array): (..., n, n), the factor L (or U if ``upper``), not A itself.
        upper (bool): which factor it is.

    Returns:
        array: (..., n, n), the inverse of L @ L.T (or of U.T @ U).

    >>> import mlxc.core as mx
    >>> mx.linalg.cholesky_inv(mx.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [[0.25, 0.0], [0.0, 1.0]]
    """
    factor = tri_inv(a, upper)
    transposed = _mx.swapaxes(factor, -1, -2)
    return factor @ transposed if upper else transposed @ factor


def pinv(a, stream=None):
    """Moore-Penrose pseudo-inverse; singular values below max(m, n) * eps of the largest count as
    0.

    Args:
        a (array): (..., m, n), float32 or float64.

    Returns:
        array: (..., n, m).

    Its derivative is Golub and Pereyra 1973, for constant rank.

    >>> import mlxc.core as mx
    >>> mx.linalg.pinv(mx.array([[2.0], [0.0]])).tolist()
    [[0.5, 0.0]]
    """
    return _bind("pinv", (_as_array(a),), ())


def svd(a, compute_uv=True, stream=None):
    """Singular value decomposition a = U[..., :k] @ diag(S) @ Vt[..., :k, :].

    Args:
        a (array): (..., m, n), float32, float64 or complex64.
        compute_uv (bool): whether U and Vt are wanted.

    Returns:
        tuple of array: U (..., m, m), S (..., k) descending, Vt (..., n, n), with k = min(m, n); S
        alone if not ``compute_uv``.

    Its derivative is Townsend 2016, "Differentiating the singular value decomposition".

    >>> import mlxc.core as mx
    >>> mx.linalg.svd(mx.array([[3.0, 0.0], [0.0, 4.0]]), compute_uv=False).tolist()
    [4.0, 3.0]
    """
    return _bind("svd", (_as_array(a),), (bool(compute_uv),))


def qr(a, stream=None):
    """Reduced QR factorisation.

    Args:
        a (array): (..., m, n), float32 or float64.

    Returns:
        tuple of array: Q (..., m, k) with orthonormal columns, R (..., k, n) upper triangular, k =
        min(m, n).

    >>> import mlxc.core as mx
    >>> q, r = mx.linalg.qr(mx.array([[3.0, 1.0], [4.0, 2.0]]))
    >>> mx.allclose(q @ r, mx.array([[3.0, 1.0], [4.0, 2.0]]), atol=1e-5).item()
    True
    """
    return _bind("qr", (_as_array(a),), ())


def _check_triangle(op, UPLO):
    if UPLO not in ("L", "U"):
        raise ValueError(f"[{op}] UPLO is {UPLO!r}; it must be 'L' or 'U'")
    return UPLO


def eigh(a, UPLO="L", stream=None):
    """Eigenvalues and eigenvectors of a Hermitian matrix, of which one triangle is read.

    Args:
        a (array): (..., n, n), float32, float64 or complex64.
        UPLO (str): "L" or "U", the triangle to read.

    Returns:
        tuple of array: eigenvalues (..., n), real and ascending; eigenvectors (..., n, n) in
            columns.

    Raises:
        ValueError: for a matrix that is not square, or another ``UPLO``.

    Its derivative is Giles 2008, 3.1, for symmetric ``a``.

    >>> import mlxc.core as mx
    >>> mx.linalg.eigh(mx.array([[2.0, 0.0], [0.0, 1.0]]))[0].tolist()
    [1.0, 2.0]
    """
    return _bind("eigh", (_as_array(a),), (_check_triangle("eigh", UPLO),))


def eigvalsh(a, UPLO="L", stream=None):
    """Eigenvalues of a Hermitian matrix; arguments as in :func:`eigh`.

    >>> import mlxc.core as mx
    >>> mx.linalg.eigvalsh(mx.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 2.0]
    """
    return _bind("eigh", (_as_array(a),), (_check_triangle("eigvalsh", UPLO),))[0]


def eig(a, stream=None):
    """Eigenvalues and right eigenvectors of a square matrix, always complex.

    Args:
        a (array): (..., n, n), float32, float64 or complex64.

    Returns:
        tuple of array: eigenvalues (..., n) and eigenvectors (..., n, n) in columns, complex64. Not
            differentiable.

    >>> import mlxc.core as mx
    >>> mx.linalg.eig(mx.array([[2.0, 0.0], [0.0, 1.0]]))[0].tolist()
    [(2+0j), (1+0j)]
    """
    return _bind("eig", (_as_array(a),), (True,))


def eigvals(a, stream=None):
    """Eigenvalues of a square matrix in no particular order, always complex64; see :func:`eig`.

    >>> import mlxc.core as mx
    >>> mx.linalg.eigvals(mx.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [(2+0j), (1+0j)]
    """
    return _bind("eig", (_as_array(a),), (False,))


def _lu(a):
    """LU in one matrix, exchanges, and P with A = L[P] @ U."""
    return _bind("lu_factor", (_as_array(a),), ())


def lu(a, stream=None):
    """LU factorisation with partial pivoting: a = L[P, :] @ U.

    Args:
        a (array): (..., m, n), float32 or float64.

    Returns:
        tuple of array: P (..., m) uint32, L (..., m, k) with unit diagonal, U (..., k, n), k =
        min(m, n). Not differentiable.

    >>> import mlxc.core as mx
    >>> P, L, U = mx.linalg.lu(mx.array([[1.0, 2.0], [2.0, 2.0]]))
    >>> (L[P, :] @ U).tolist()
    [[1.0, 2.0], [2.0, 2.0]]
    """
    packed, _, order = _lu(a)
    m, n = packed.shape[-2:]
    k = min(m, n)
    return (
        order,
        _mx.tril(packed[..., :k], -1) + _mx.eye(m, k, dtype=packed.dtype),
        _mx.triu(packed[..., :k, :]),
    )


def lu_factor(a, stream=None):
    """LU factorisation in compact form.

    Args:
        a (array): (..., m, n), float32 or float64.

    Returns:
        tuple of array: LU (..., m, n), L below the diagonal (its unit diagonal not stored) and U on
        and above it; pivots (..., k) uint32: row i was exchanged with row pivots[i], one after the
        other.

    >>> import mlxc.core as mx
    >>> mx.linalg.lu_factor(mx.array([[1.0, 2.0], [2.0, 2.0]]))[1].tolist()
    [1, 1]
    """
    return _lu(a)[:2]


def _systems(op, a, b):
    """Promote and broadcast a system; whether the right side was one vector."""
    a, b = _as_array(a), _as_array(b)
    dtype = _mx.result_type(a, b)
    if dtype not in (_mx.float32, _mx.float64):
        raise ValueError(
            f"[{op}] was given {a.dtype} and {b.dtype}; they must promote to float32 or float64"
        )
    if a.ndim < 2 or b.ndim < 1 or a.shape[-1] != a.shape[-2]:
        raise ValueError(
            f"[{op}] shapes {tuple(a.shape)} and {tuple(b.shape)}: the first must be square "
            f"matrices"
        )
    vector = b.ndim == 1
    if vector:
        b = _mx.expand_dims(b, 1)
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"[{op}] the matrix has {a.shape[-1]} columns and the right side {b.shape[-2]} rows; "
            f"they must agree"
        )
    a, b = (x if x.dtype == dtype else x.astype(dtype) for x in (a, b))
    if a.shape[:-2] != b.shape[:-2]:
        batch = _broadcast_batch(op, tuple(a.shape[:-2]), tuple(b.shape[:-2]))
        a, b = (_mx.broadcast_to(x, batch + tuple(x.shape[-2:])) for x in (a, b))
    return a, b, vector


def _broadcast_batch(op, x, y):
    longest = max(len(x), len(y))
    x, y = (1,) * (longest - len(x)) + x, (1,) * (longest - len(y)) + y
    if any(m != n and 1 not in (m, n) for m, n in zip(x, y)):
        raise ValueError(f"[{op}] batch shapes {x} and {y} cannot be broadcast together")
    return tuple(n if m == 1 else m for m, n in zip(x, y))


def solve(a, b, stream=None):
    """Solution X of a @ X = b.

    Args:
        a (array): (..., n, n), float32 or float64 (after promotion with ``b``).
        b (array): (n,) or (..., n, k); batch axes broadcast.

    Returns:
        array: of the shape of ``b`` (with broadcast batch axes).

    Raises:
        ValueError: for shapes that do not fit, or a singular matrix (``numpy.linalg.LinAlgError``).

    >>> import mlxc.core as mx
    >>> mx.linalg.solve(mx.array([[2.0, 0.0], [0.0, 4.0]]), mx.array([1.0, 2.0])).tolist()
    [0.5, 0.5]
    """
    a, b, vector = _systems("solve", a, b)
    x = _bind("solve", (a, b), ())
    return _mx.squeeze(x, -1) if vector else x


def solve_triangular(a, b, *, upper=False, stream=None):
    """Solution X of a @ X = b for triangular ``a``, whose other triangle is not read.

    Args:
        a (array): (..., n, n), float32 or float64 (after promotion with ``b``).
        b (array): (n,) or (..., n, k); batch axes broadcast.
        upper (bool): whether the upper triangle is meant.

    Returns:
        array: of the shape of ``b`` (with broadcast batch axes).

    Raises:
        ValueError: for shapes that do not fit, or a zero on the diagonal
            (``numpy.linalg.LinAlgError``).

    >>> import mlxc.core as mx
    >>> low = mx.array([[2.0, 0.0], [1.0, 1.0]])
    >>> mx.linalg.solve_triangular(low, mx.array([2.0, 3.0])).tolist()
    [1.0, 2.0]
    """
    a, b, vector = _systems("solve_triangular", a, b)
    x = _bind("solve_triangular", (a, b), (bool(upper),))
    return _mx.squeeze(x, -1) if vector else x


def _determinable(op, a):
    a = _as_array(a)
    if a.dtype == _mx.complex64:
        raise ValueError(f"[{op}] complex matrices are not supported; real ones are")
    return a if a.dtype in (_mx.float32, _mx.float64) else a.astype(_mx.float32)


def det(a, stream=None):
    """Determinant.

    Args:
        a (array): (..., n, n), real; other dtypes than float64 are computed in float32.

    Returns:
        array: (...).

    Its derivative is the matrix of cofactors, which exists for singular matrices too.

    >>> import mlxc.core as mx
    >>> mx.linalg.det(mx.array([[2.0, 0.0], [0.0, 4.0]])).item()
    8.0
    """
    return _bind("det", (_determinable("det", a),), ())


def _cofactor(a):
    return _bind("cofactor", (a,), ())


def slogdet(a, stream=None):
    """Sign and natural logarithm of the magnitude of the determinant: det = sign * exp(logabsdet).

    Args:
        a (array): (..., n, n), real; other dtypes than float64 are computed in float32.

    Returns:
        tuple of array: sign (...) of -1, 0 or 1, and logabsdet (...), -inf if singular.

    >>> import mlxc.core as mx
    >>> mx.linalg.slogdet(mx.array([[0.0, 1.0], [1.0, 0.0]]))[0].item()
    -1.0
    """
    return _bind("slogdet", (_determinable("slogdet", a),), ())


def cross(a, b, axis=-1, stream=None):
    """Cross product of vectors of size 2 or 3; a missing third component is 0.

    Args:
        a (array): vectors along ``axis``.
        b (array): vectors along ``axis``; the other axes broadcast.
        axis (int): the axis that holds the vectors.

    Returns:
        array: vectors of size 3 along ``axis``.

    Raises:
        ValueError: for vectors of another size.

    >>> import mlxc.core as mx
    >>> mx.linalg.cross(mx.array([1.0, 0.0, 0.0]), mx.array([0.0, 1.0, 0.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    parts = []
    for x in (_as_array(a), _as_array(b)):
        x = _mx.moveaxis(x, _normalize_axis("cross", axis, x.ndim), -1)
        size = x.shape[-1]
        if size not in (2, 3):
            raise ValueError(
                f"[cross] the vectors along axis {axis} have size {size}; it must be 2 or 3"
            )
        parts.append([x[..., 0], x[..., 1], x[..., 2] if size == 3 else _mx.zeros_like(x[..., 0])])
    (a0, a1, a2), (b0, b1, b2) = parts
    out = _mx.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=-1)
    return _mx.moveaxis(out, -1, axis)


def _root(total, power):
    """total ** (1 / power) for total >= 0, with derivative 0 (a subgradient of the norm) where it
    is 0."""
    zero = total == 0
    safe = _mx.where(zero, 1.0, total)
    return _mx.where(zero, 0.0, _mx.sqrt(safe) if power == 2 else safe ** (1.0 / power))


def _two_norm(a, axes, keepdims):
    if a.dtype == _mx.complex64:
        real, imag = _mx.real(a), _mx.imag(a)
        return _root(_mx.sum(real * real + imag * imag, axis=axes, keepdims=keepdims), 2)
    return _root(_mx.sum(a * a, axis=axes, keepdims=keepdims), 2)


def _vector_norm(a, order, axes, keepdims):
    if order == 2:
        return _two_norm(a, axes, keepdims)
    size = _mx.abs(a)
    if order == _math.inf:
        return _mx.max(size, axis=axes, keepdims=keepdims)
    if order == -_math.inf:
        return _mx.min(size, axis=axes, keepdims=keepdims)
    if order == 0:
        return _mx.sum((a != 0).astype(size.dtype), axis=axes, keepdims=keepdims)
    if order == 1:
        return _mx.sum(size, axis=axes, keepdims=keepdims)
    total = _mx.sum(size ** float(order), axis=axes, keepdims=keepdims)
    return _root(total, float(order)) if order > 0 else total ** (1.0 / order)


def _matrix_norm(a, order, axes, keepdims):
    if order in ("fro", "f"):
        return _two_norm(a, axes, keepdims)
    if order in (1, -1, _math.inf, -_math.inf):
        inner, outer = axes if abs(order) == 1 else axes[::-1]
        sums = _mx.sum(_mx.abs(a), axis=inner, keepdims=True)
        out = (_mx.max if order > 0 else _mx.min)(sums, axis=outer, keepdims=True)
    elif order in (2, -2, "nuc"):
        order_of_axes = [i for i in range(a.ndim) if i not in axes] + list(axes)
        values = svd(_mx.transpose(a, order_of_axes), compute_uv=False)
        reduce = _mx.sum if order == "nuc" else _mx.max if order == 2 else _mx.min
        out = _mx.expand_dims(reduce(values, axis=-1), sorted(axes))
    else:
        raise ValueError(
            f"[norm] ord {order!r} is unknown for matrices; choose from 'fro', 'nuc', 1, -1, 2, "
            f"-2, inf and -inf"
        )
    return out if keepdims else _mx.squeeze(out, axes)


def norm(a, /, ord=None, axis=None, keepdims=False, *, stream=None):
    """Norm of vectors or matrices.

    Args:
        a (array): any shape; integers are computed in float32.
        ord (int, float or str, optional): order of the norm. For vectors inf (largest magnitude),
            -inf, 0 (count of non-zeros) or any p: sum(abs(x) ** p) ** (1 / p). For matrices 'fro',
            'nuc' (sum of singular values), inf (largest row sum of magnitudes), -inf, 1 (column
            sum), -1, 2 (largest singular value), -2. By default the 2-norm or Frobenius norm.
        axis (int or sequence of int, optional): one axis for vectors, two for matrices; by default
            all.
        keepdims (bool): keep reduced axes with size 1.

    Returns:
        array: real. The derivative of a norm at 0 is taken as 0, a subgradient.

    Raises:
        ValueError: for an order that does not exist, or more than two axes with an order.

    Formulas: Golub and Van Loan 1985, p. 15.

    >>> import mlxc.core as mx
    >>> mx.linalg.norm(mx.array([3.0, 4.0])).item()
    5.0
    """
    a = _as_array(a)
    if ord is None:
        return _default_norm((a,), tuple(axis) if isinstance(axis, list) else axis, keepdims)
    return _norm(a, ord, axis, keepdims)


@_Routine
def _default_norm(a, axis, keepdims):
    return _norm(a, None, axis, keepdims)


def _norm(a, ord, axis, keepdims):
    dtype = a.dtype if _mx.issubdtype(a.dtype, _mx.inexact) else _mx.float32
    # Squares of half-precision numbers overflow at 256.
    half = dtype in (_mx.float16, _mx.bfloat16)
    a = a.astype(_mx.float32 if half else dtype)
    if axis is None:
        axes = tuple(range(a.ndim))
    else:
        axes = tuple(
            _normalize_axis("norm", i, a.ndim) for i in ((axis,) if isinstance(axis, int) else axis)
        )
        if len(set(axes)) != len(axes):
            raise ValueError(f"[norm] axes {axes} repeat")
    if ord is None and (axis is None or len(axes) <= 2):
        out = _two_norm(a, axes, keepdims)
    elif len(axes) == 2:
        out = _matrix_norm(a, ord, axes, keepdims)
    elif len(axes) == 1:
        if isinstance(ord, str):
            raise ValueError(f"[norm] ord {ord!r} is for matrices (two axes); one axis was given")
        out = _vector_norm(a, ord, axes, keepdims)
    else:
        raise ValueError(
            f"[norm] {len(axes)} axes were given; one (vectors) or two (matrices) are possible"
        )
    return out.astype(dtype) if half else out
