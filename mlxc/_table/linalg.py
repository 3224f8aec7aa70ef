"""Factorisations, inverses and solvers of (batches of) matrices.

Matrices stand in the last two axes and any axes before them are batch axes, so batching an operand
is putting an axis in front. Derivatives are those of Giles 2008, "An extended collection of matrix
derivative results", and of the papers named at each rule. Where eigenvalues or singular values
coincide, the derivative of the vectors does not exist; the undefined factor is taken as 0, which
leaves the derivative of every function that does not depend on the choice of vectors right.
``cholesky`` and ``eigh`` read one triangle and differentiate as functions of a symmetric matrix.
"""

from .rows import NO_GRADIENT, Kernel, register

_NO_METAL = "factorisations run on the CPU, where they are faster for all but very large matrices"
_REAL = ("float32", "float64")


def _t(mx, x):
    return mx.swapaxes(x, -1, -2)


def _h(mx, x):
    return mx.conj(_t(mx, x)) if x.dtype == mx.complex64 else _t(mx, x)


def _eye(mx, n, like):
    return mx.eye(n, dtype=like.dtype)


def _reciprocal(mx, x):
    """1/x, and 0 where x is 0."""
    zero = x == 0
    return mx.where(zero, 0.0, 1.0 / mx.where(zero, 1.0, x)).astype(x.dtype)


def _check(op, shape, dtype, dtypes, square=True):
    if dtype not in dtypes:
        raise ValueError(f"[{op}] was given {dtype}; it takes {', '.join(dtypes)} (use astype)")
    if len(shape) < 2:
        raise ValueError(f"[{op}] was given {len(shape)} dimensions; matrices need at least 2")
    if square and shape[-1] != shape[-2]:
        raise ValueError(f"[{op}] was given shape {tuple(shape)}; the last two axes must be equal")


def _square_like(op):
    """The rule of functions from a square matrix to one of the same shape."""

    def infer(shapes, dtypes, **params):
        _check(op, shapes[0], dtypes[0], _REAL)
        return [(tuple(shapes[0]), dtypes[0])]

    return infer


def _by_name(op):
    """Batching of functions of one matrix: more axes in front change nothing."""

    def vmap(mx, batched, a, **params):
        outs = getattr(mx.linalg, op)(a, **params)
        return outs if isinstance(outs, tuple) else (outs,)

    return vmap


# Inverse: Giles 2008, 2.2.3.


def _inv_vjp(mx, cts, outs, a):
    xt = _t(mx, outs[0])
    return (-(xt @ cts[0] @ xt),)


def _inv_jvp(mx, tangents, outs, a):
    return (-(outs[0] @ tangents[0] @ outs[0]),)


# Pseudo-inverse, rank locally constant: Golub and Pereyra 1973, eq. 4.12.


def _pinv_infer(shapes, dtypes):
    shape = tuple(shapes[0])
    _check("pinv", shape, dtypes[0], _REAL, square=False)
    return [(shape[:-2] + (shape[-1], shape[-2]), dtypes[0])]


def _pinv_vjp(mx, cts, outs, a):
    p, ct = outs[0], cts[0]
    pt, ctt = _t(mx, p), _t(mx, ct)
    left = _eye(mx, a.shape[-2], a) - a @ p
    right = _eye(mx, a.shape[-1], a) - p @ a
    return (left @ ctt @ p @ pt + pt @ p @ ctt @ right - pt @ ct @ pt,)


def _pinv_jvp(mx, tangents, outs, a):
    p, da = outs[0], tangents[0]
    pt, dat = _t(mx, p), _t(mx, da)
    left = _eye(mx, a.shape[-2], a) - a @ p
    right = _eye(mx, a.shape[-1], a) - p @ a
    return (p @ pt @ dat @ left + right @ dat @ pt @ p - p @ da @ p,)


# Cholesky: Murray 2016, "Differentiation of the Cholesky decomposition".


def _half_tril(mx, x):
    """The lower triangle with the diagonal halved."""
    return mx.tril(x, -1) + 0.5 * _eye(mx, x.shape[-1], x) * x


def _cholesky_vjp(mx, cts, outs, a, *, upper):
    low, ct = (_t(mx, outs[0]), _t(mx, cts[0])) if upper else (outs[0], cts[0])
    inner = _half_tril(mx, _t(mx, low) @ ct)
    low_inv = mx.linalg.tri_inv(low)
    s = _t(mx, low_inv) @ inner @ low_inv
    return (0.5 * (s + _t(mx, s)),)


def _cholesky_jvp(mx, tangents, outs, a, *, upper):
    low = _t(mx, outs[0]) if upper else outs[0]
    da = 0.5 * (tangents[0] + _t(mx, tangents[0]))
    low_inv = mx.linalg.tri_inv(low)
    d_low = low @ _half_tril(mx, low_inv @ da @ _t(mx, low_inv))
    return (_t(mx, d_low) if upper else d_low,)


# QR: Seeger et al. 2017, "Auto-differentiating linear algebra"; wide matrices are split into a
# square part and the rest.


def _qr_infer(shapes, dtypes):
    shape = tuple(shapes[0])
    _check("qr", shape, dtypes[0], _REAL, square=False)
    k = min(shape[-2:])
    return [(shape[:-1] + (k,), dtypes[0]), (shape[:-2] + (k, shape[-1]), dtypes[0])]


def _over_r(mx, x, r):
    """x @ inv(r) for upper triangular r."""
    return _t(mx, mx.linalg.solve_triangular(_t(mx, r), _t(mx, x)))


def _over_rt(mx, x, r):
    """x @ inv(r.T) for upper triangular r."""
    return _t(mx, mx.linalg.solve_triangular(r, _t(mx, x), upper=True))


def _qr_vjp(mx, cts, outs, a):
    (q, r), (ct_q, ct_r) = outs, cts
    m, n = a.shape[-2:]
    rest = None
    if m < n:
        ct_rest = ct_r[..., m:]
        rest = q @ ct_rest
        ct_q = ct_q + a[..., m:] @ _t(mx, ct_rest)
        r, ct_r = r[..., :m], ct_r[..., :m]
    inner = r @ _t(mx, ct_r) - _t(mx, ct_q) @ q
    inner = mx.tril(inner) + _t(mx, mx.tril(inner, -1))
    ct = _over_rt(mx, ct_q + q @ inner, r)
    return (ct if rest is None else mx.concatenate([ct, rest], axis=-1),)


def _qr_jvp(mx, tangents, outs, a):
    (q, r), da = outs, tangents[0]
    m, n = a.shape[-2:]
    k = min(m, n)
    scaled = _over_r(mx, da[..., :k], r[..., :k])
    inner = _t(mx, q) @ scaled
    low = mx.tril(inner, -1)
    turn = low - _t(mx, low)
    dq = q @ turn + scaled - q @ inner
    dr = (inner - turn) @ r[..., :k]
    if m < n:
        dr = mx.concatenate([dr, _t(mx, dq) @ a[..., m:] + _t(mx, q) @ da[..., m:]], axis=-1)
    return dq, dr


# Singular values: Townsend 2016, "Differentiating the singular value decomposition", extended to
# the full U and V: the rotation of U is the skew matrix U'dU, whose block between null vectors (a
# free choice) is 0.


def _svd_infer(shapes, dtypes, *, compute_uv):
    shape = tuple(shapes[0])
    _check("svd", shape, dtypes[0], _REAL + ("complex64",), square=False)
    batch, (m, n) = shape[:-2], shape[-2:]
    values = (batch + (min(m, n),), "float32" if dtypes[0] == "complex64" else dtypes[0])
    if not compute_uv:
        return [values]
    return [(batch + (m, m), dtypes[0]), values, (batch + (n, n), dtypes[0])]


def _row_column(mx, s):
    return mx.expand_dims(s, -2), mx.expand_dims(s, -1)


def _gaps(mx, values):
    """F[i, j] = 1 / (values[j] - values[i]), 0 on the diagonal and where values coincide."""
    row, column = _row_column(mx, values)
    return _reciprocal(mx, row - column)


def _rotation_vjp(mx, g, s):
    """Cotangent of M (size x k) where g is U'ct_U (size x size): the adjoint of
    ``_rotation_jvp``."""
    k = s.shape[-1]
    row = mx.expand_dims(s, -2)
    skew = g - _t(mx, g)
    top = skew[..., :k, :k] * _gaps(mx, s * s) * row
    return mx.concatenate([top, skew[..., k:, :k] * _reciprocal(mx, row)], axis=-2)


def _rotation_jvp(mx, m, s):
    """The skew matrix U'dU (size x size) for M = U'dA V cut to size x k."""
    k, size = s.shape[-1], m.shape[-2]
    row, column = _row_column(mx, s)
    square = m[..., :k, :]
    top = _gaps(mx, s * s) * (square * row + column * _t(mx, square))
    below = m[..., k:, :] * _reciprocal(mx, row)
    right = mx.pad(-_t(mx, below), [(0, 0)] * (m.ndim - 2) + [(0, size - k), (0, 0)])
    return mx.concatenate([mx.concatenate([top, below], axis=-2), right], axis=-1)


def _widen(mx, x, columns):
    return mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, columns - x.shape[-1])])


def _svd_factors(mx, outs, a, compute_uv):
    if a.dtype == mx.complex64 and compute_uv:
        raise ValueError(
            "[svd] complex singular vectors have no derivative here; use compute_uv=False"
        )
    return outs if compute_uv else mx.linalg.svd(a)


def _svd_vjp(mx, cts, outs, a, *, compute_uv):
    u, s, vt = _svd_factors(mx, outs, a, compute_uv)
    m, n = a.shape[-2:]
    k = min(m, n)
    ct_s = cts[1] if compute_uv else cts[0]
    inner = mx.expand_dims(ct_s, -1) * mx.eye(k, dtype=s.dtype)
    if not compute_uv:
        return (u[..., :k] @ inner.astype(a.dtype) @ vt[..., :k, :],)
    inner = mx.pad(inner, [(0, 0)] * (inner.ndim - 2) + [(0, m - k), (0, n - k)])
    inner = inner + _widen(mx, _rotation_vjp(mx, _t(mx, u) @ cts[0], s), n)
    inner = inner + _t(mx, _widen(mx, _rotation_vjp(mx, vt @ _t(mx, cts[2]), s), m))
    return (u @ inner @ vt,)


def _svd_jvp(mx, tangents, outs, a, *, compute_uv):
    u, s, vt = _svd_factors(mx, outs, a, compute_uv)
    k = min(a.shape[-2:])
    inner = _h(mx, u) @ tangents[0] @ _h(mx, vt)
    ds = mx.diagonal(inner, axis1=-2, axis2=-1)
    if not compute_uv:
        return (mx.real(ds) if a.dtype == mx.complex64 else ds,)
    du = u @ _rotation_jvp(mx, inner[..., :k], s)
    dv = _t(mx, vt) @ _rotation_jvp(mx, _t(mx, inner)[..., :k], s)
    return du, ds, _t(mx, dv)


# Symmetric eigenvalues: Giles 2008, 3.1.


def _eigh_infer(shapes, dtypes, *, UPLO):
    _check("eigh", shapes[0], dtypes[0], _REAL + ("complex64",))
    values = "float32" if dtypes[0] == "complex64" else dtypes[0]
    return [(tuple(shapes[0][:-1]), values), (tuple(shapes[0]), dtypes[0])]


def _eigh_vjp(mx, cts, outs, a, *, UPLO):
    (w, v), (ct_w, ct_v) = outs, cts
    vh = _h(mx, v)
    inner = _gaps(mx, w) * (vh @ ct_v) + mx.expand_dims(ct_w, -1) * mx.eye(
        w.shape[-1], dtype=w.dtype
    )
    ct = v @ inner.astype(a.dtype) @ vh
    return (0.5 * (ct + _h(mx, ct)),)


def _eigh_jvp(mx, tangents, outs, a, *, UPLO):
    w, v = outs
    da = 0.5 * (tangents[0] + _h(mx, tangents[0]))
    inner = _h(mx, v) @ da @ v
    dw = mx.diagonal(inner, axis1=-2, axis2=-1)
    return (mx.real(dw) if a.dtype == mx.complex64 else dw), v @ (_gaps(mx, w) * inner)


def _eig_infer(shapes, dtypes, *, vectors):
    _check("eig", shapes[0], dtypes[0], _REAL + ("complex64",))
    values = (tuple(shapes[0][:-1]), "complex64")
    return [values, (tuple(shapes[0]), "complex64")] if vectors else [values]


def _eig_vmap(mx, batched, a, *, vectors):
    return mx.linalg.eig(a) if vectors else (mx.linalg.eigvals(a),)


# LU.


def _lu_infer(shapes, dtypes):
    shape = tuple(shapes[0])
    _check("lu", shape, dtypes[0], _REAL, square=False)
    batch, (m, n) = shape[:-2], shape[-2:]
    return [(shape, dtypes[0]), (batch + (min(m, n),), "uint32"), (batch + (m,), "uint32")]


# Linear systems: Giles 2008, 2.3.1.


def _solve_infer(op):
    def infer(shapes, dtypes, **params):
        (a, b), dtype = shapes, dtypes[0]
        _check(op, a, dtype, _REAL)
        if dtypes[1] != dtype or len(b) != len(a) or tuple(a[:-1]) != tuple(b[:-1]):
            raise ValueError(
                f"[{op}] shapes {tuple(a)} and {tuple(b)} of {dtype} and {dtypes[1]} do not match; "
                "the rows of the second must be as many as those of the first"
            )
        return [(tuple(b), dtype)]

    return infer


def _solve_vjp(mx, cts, outs, a, b):
    ct_b = mx.linalg.solve(_t(mx, a), cts[0])
    return -(ct_b @ _t(mx, outs[0])), ct_b


def _solve_jvp(mx, tangents, outs, a, b):
    da, db = tangents
    right = mx.zeros_like(b) if db is None else db
    return (mx.linalg.solve(a, right if da is None else right - da @ outs[0]),)


def _keep_triangle(mx, x, upper):
    return mx.triu(x) if upper else mx.tril(x)


def _solve_triangular_vjp(mx, cts, outs, a, b, *, upper):
    ct_b = mx.linalg.solve_triangular(_t(mx, a), cts[0], upper=not upper)
    return _keep_triangle(mx, -(ct_b @ _t(mx, outs[0])), upper), ct_b


def _solve_triangular_jvp(mx, tangents, outs, a, b, *, upper):
    da, db = tangents
    right = mx.zeros_like(b) if db is None else db
    if da is not None:
        right = right - _keep_triangle(mx, da, upper) @ outs[0]
    return (mx.linalg.solve_triangular(a, right, upper=upper),)


def _solve_vmap(op):
    def vmap(mx, batched, a, b, **params):
        a = a if batched[0] else mx.expand_dims(a, 0)
        b = b if batched[1] else mx.expand_dims(b, 0)
        return (getattr(mx.linalg, op)(a, b, **params),)

    return vmap


# Determinants: Giles 2008, 2.2.4. The cofactor matrix, unlike det * inv.T, exists for singular
# matrices too.


def _det_infer(shapes, dtypes):
    _check("det", shapes[0], dtypes[0], _REAL)
    return [(tuple(shapes[0][:-2]), dtypes[0])]


def _scale(mx, factor):
    return mx.expand_dims(mx.expand_dims(factor, -1), -1)


def _inner(mx, x, y):
    return mx.sum(x * y, axis=(-2, -1))


def _cofactor_vjp(mx, cts, outs, a):
    xt = _t(mx, mx.linalg.inv(a))
    along = _scale(mx, _inner(mx, cts[0], outs[0])) * xt
    return (along - _scale(mx, mx.linalg.det(a)) * (xt @ _t(mx, cts[0]) @ xt),)


def _cofactor_jvp(mx, tangents, outs, a):
    xt = _t(mx, mx.linalg.inv(a))
    along = _scale(mx, _inner(mx, xt, tangents[0])) * outs[0]
    return (along - _scale(mx, mx.linalg.det(a)) * (xt @ _t(mx, tangents[0]) @ xt),)


def _slogdet_infer(shapes, dtypes):
    _check("slogdet", shapes[0], dtypes[0], _REAL)
    out = (tuple(shapes[0][:-2]), dtypes[0])
    return [out, out]


def _slogdet_vjp(mx, cts, outs, a):
    return (_scale(mx, cts[1]) * _t(mx, mx.linalg.inv(a)),)


def _slogdet_jvp(mx, tangents, outs, a):
    return mx.zeros_like(outs[0]), _inner(mx, _t(mx, mx.linalg.inv(a)), tangents[0])


# Samples: well-conditioned matrices.


def _matrices(mx, rng, shape):
    x = rng.standard_normal(shape)
    for i in range(min(shape[-2:])):
        x[..., i, i] += 3.0 + i
    return mx.array(x.astype("float32"))


def _square_samples(mx, rng):
    return [((_matrices(mx, rng, (4, 4)),), {}), ((_matrices(mx, rng, (2, 3, 3)),), {})]


def _any_samples(mx, rng):
    return _square_samples(mx, rng) + [((_matrices(mx, rng, s),), {}) for s in ((2, 4, 3), (3, 5))]


def _solve_samples(mx, rng):
    right = mx.array(rng.standard_normal((2, 3, 2)).astype("float32"))
    return [((_matrices(mx, rng, (2, 3, 3)), right), {})]


def _triangular_samples(mx, rng):
    return [
        (operands, dict(upper=upper))
        for operands, _ in _solve_samples(mx, rng)
        for upper in (False, True)
    ]


def _with(samples, **params):
    """The same operands with parameters."""
    return lambda mx, rng: [(operands, params) for operands, _ in samples(mx, rng)]


def _positive_samples(mx, rng):
    a = _matrices(mx, rng, (2, 4, 4))
    return [((a @ _t(mx, a),), {})]


def _kernel(name, doc, **rules):
    return Kernel(name, doc=doc, no_kernel=_NO_METAL, **rules)


ROWS = register(
    "linalg",
    [
        _kernel(
            "inv",
            "Inverse of a square matrix.",
            infer=_square_like("inv"),
            vjp=_inv_vjp,
            jvp=_inv_jvp,
            vmap=_by_name("inv"),
            samples=_square_samples,
        ),
        _kernel(
            "pinv",
            "Moore-Penrose pseudo-inverse.",
            infer=_pinv_infer,
            vjp=_pinv_vjp,
            jvp=_pinv_jvp,
            vmap=_by_name("pinv"),
            samples=_any_samples,
        ),
        _kernel(
            "cholesky",
            "Triangular factor of a positive definite matrix.",
            params=("upper",),
            infer=_square_like("cholesky"),
            vjp=_cholesky_vjp,
            jvp=_cholesky_jvp,
            vmap=_by_name("cholesky"),
            samples=_with(_positive_samples, upper=False),
        ),
        _kernel(
            "qr",
            "Orthogonal and triangular factor, reduced.",
            outputs=2,
            infer=_qr_infer,
            vjp=_qr_vjp,
            jvp=_qr_jvp,
            vmap=_by_name("qr"),
            samples=_any_samples,
        ),
        _kernel(
            "svd",
            "Singular value decomposition with full U and V.",
            params=("compute_uv",),
            outputs=lambda compute_uv: 3 if compute_uv else 1,
            infer=_svd_infer,
            vjp=_svd_vjp,
            jvp=_svd_jvp,
            vmap=_by_name("svd"),
            samples=_with(_square_samples, compute_uv=True),
        ),
        _kernel(
            "eigh",
            "Eigenvalues and vectors of a Hermitian matrix.",
            params=("UPLO",),
            outputs=2,
            infer=_eigh_infer,
            vjp=_eigh_vjp,
            jvp=_eigh_jvp,
            vmap=_by_name("eigh"),
            samples=_with(_positive_samples, UPLO="L"),
        ),
        _kernel(
            "eig",
            "Eigenvalues and vectors of a square matrix.",
            params=("vectors",),
            outputs=lambda vectors: 2 if vectors else 1,
            infer=_eig_infer,
            vmap=_eig_vmap,
            samples=_with(_square_samples, vectors=True),
            vjp=NO_GRADIENT(
                "the eigenvectors of a general matrix are not unique; eigh is differentiable"
            ),
        ),
        _kernel(
            "lu_factor",
            "LU factors in one matrix, pivots, and the row order.",
            outputs=3,
            infer=_lu_infer,
            vmap=_by_name("_lu"),
            samples=_any_samples,
            vjp=NO_GRADIENT(
                "pivoting is discontinuous; solve, det, slogdet and inv are differentiable"
            ),
        ),
        _kernel(
            "solve",
            "Solution of a linear system.",
            infer=_solve_infer("solve"),
            vjp=_solve_vjp,
            jvp=_solve_jvp,
            vmap=_solve_vmap("solve"),
            samples=_solve_samples,
        ),
        _kernel(
            "solve_triangular",
            "Solution of a triangular system.",
            params=("upper",),
            infer=_solve_infer("solve_triangular"),
            vjp=_solve_triangular_vjp,
            jvp=_solve_triangular_jvp,
            vmap=_solve_vmap("solve_triangular"),
            samples=_triangular_samples,
        ),
        _kernel(
            "det",
            "Determinant.",
            infer=_det_infer,
            vmap=_by_name("det"),
            samples=_square_samples,
            vjp=lambda mx, cts, outs, a: (_scale(mx, cts[0]) * mx.linalg._cofactor(a),),
            jvp=lambda mx, tangents, outs, a: (_inner(mx, mx.linalg._cofactor(a), tangents[0]),),
        ),
        _kernel(
            "cofactor",
            "Matrix of cofactors: the gradient of the determinant.",
            infer=_square_like("cofactor"),
            vjp=_cofactor_vjp,
            jvp=_cofactor_jvp,
            vmap=_by_name("_cofactor"),
            samples=_square_samples,
        ),
        _kernel(
            "slogdet",
            "Sign and logarithm of the magnitude of the determinant.",
            outputs=2,
            infer=_slogdet_infer,
            vjp=_slogdet_vjp,
            jvp=_slogdet_jvp,
            vmap=_by_name("slogdet"),
            samples=_square_samples,
        ),
    ],
)
