"""Launchers of linear algebra that has no kernels of our own: NumPy's LAPACK where it has the
routine, blocked NumPy where it has not (LU, triangular).

Input that has no answer (singular, not positive definite, no convergence) raises
``numpy.linalg.LinAlgError``, which is a ``ValueError``. NumPy batches over leading axes and
releases the interpreter lock.
"""

import numpy as np
from numpy.linalg import LinAlgError

from mlxc._graph.kernel import register_python_launcher

from .aside import aside

_BLOCK = 64  # columns a block: the part outside matrix products costs n² * _BLOCK


def _in_sight_of_signals(launch):
    """The launcher, aside if its matrices are large: n³ operations for one of n x n."""

    def launch_in_sight(outs, ins, params):
        aside(ins[0].size * max(1, *ins[0].shape[-2:]), launch, outs, ins, params)

    return launch_in_sight


def _singular(op):
    return LinAlgError(f"[{op}] the matrix is singular; it must be invertible")


def _require_finite(op, a):
    """LAPACK's iterations may never end on infinities."""
    if not np.isfinite(a).all():
        raise LinAlgError(f"[{op}] the matrix holds NaN or infinity; finite numbers would be right")


def launch_inv(outs, ins, params):
    try:
        outs[0][...] = np.linalg.inv(ins[0])
    except LinAlgError:
        raise _singular("inv") from None


def launch_pinv(outs, ins, params):
    (a,) = ins
    if outs[0].size == 0:
        return
    _require_finite("pinv", a)
    outs[0][...] = np.linalg.pinv(a, rcond=max(a.shape[-2:]) * np.finfo(a.dtype).eps)


def launch_qr(outs, ins, params):
    if ins[0].size:
        outs[0][...], outs[1][...] = np.linalg.qr(ins[0])


def launch_svd(outs, ins, params):
    (a,), (compute_uv,) = ins, params
    if a.size == 0:  # no singular values; any orthonormal basis will do
        if compute_uv:
            outs[0][...], outs[2][...] = np.eye(a.shape[-2]), np.eye(a.shape[-1])
        return
    _require_finite("svd", a)
    try:
        result = np.linalg.svd(a, full_matrices=True, compute_uv=compute_uv)
    except LinAlgError:
        raise LinAlgError("[svd] no convergence; the matrix must be finite") from None
    for out, value in zip(outs, result if compute_uv else (result,)):
        out[...] = value


def launch_eigh(outs, ins, params):
    _require_finite("eigh", ins[0])
    try:
        outs[0][...], outs[1][...] = np.linalg.eigh(ins[0], UPLO=params[0])
    except LinAlgError:
        raise LinAlgError("[eigh] no convergence; the matrix must be finite") from None


def launch_eig(outs, ins, params):
    (a,), (vectors,) = ins, params
    _require_finite("eig", a)
    try:
        if vectors:
            outs[0][...], outs[1][...] = np.linalg.eig(a)
        else:
            outs[0][...] = np.linalg.eigvals(a)
    except LinAlgError:
        raise LinAlgError("[eig] no convergence; the matrix must be finite") from None


def launch_det(outs, ins, params):
    outs[0][...] = np.linalg.det(ins[0])


def launch_slogdet(outs, ins, params):
    outs[0][...], outs[1][...] = np.linalg.slogdet(ins[0])


def launch_cofactor(outs, ins, params):
    """cof(U S V') = det(U) det(V) U cof(S) V', where cof(S) holds the products of the other
    singular values."""
    (a,) = ins
    n = a.shape[-1]
    if a.size == 0:
        return
    if not np.isfinite(a).all():
        outs[0][...] = np.nan
        return
    u, s, vt = np.linalg.svd(a.astype(np.float64))
    ones = np.ones(s.shape[:-1] + (1,))
    before = np.cumprod(np.concatenate([ones, s[..., : n - 1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    sign = np.linalg.det(u) * np.linalg.det(vt)
    outs[0][...] = sign[..., None, None] * (u * (before * after)[..., None, :]) @ vt


def launch_solve(outs, ins, params):
    try:
        outs[0][...] = np.linalg.solve(*ins)
    except LinAlgError:
        raise _singular("solve") from None


def _substitute(a, x, upper):
    """Solve in place, block row by block row; ``x`` holds the right sides."""
    n = a.shape[-1]
    starts = range(0, n, _BLOCK)
    for start in reversed(starts) if upper else starts:
        rows = slice(start, min(start + _BLOCK, n))
        known = slice(rows.stop, n) if upper else slice(0, start)
        triangle = (np.triu if upper else np.tril)(a[..., rows, rows])
        x[..., rows, :] -= a[..., rows, known] @ x[..., known, :]
        x[..., rows, :] = np.linalg.solve(triangle, x[..., rows, :])


def launch_solve_triangular(outs, ins, params):
    (a, b), (upper,) = ins, params
    if np.any(np.diagonal(a, axis1=-2, axis2=-1) == 0):
        raise _singular("solve_triangular")
    outs[0][...] = b
    try:
        _substitute(a, outs[0], upper)
    except LinAlgError:  # what overflows or vanishes on the way
        raise _singular("solve_triangular") from None


def _swap_rows(lu, order, column, pivot):
    """Exchange rows ``column`` and ``pivot`` in every matrix that needs it."""
    for i in np.flatnonzero(pivot != column):
        pair, swapped = [column, pivot[i]], [pivot[i], column]
        lu[i][pair] = lu[i][swapped]
        order[i][pair] = order[i][swapped]


def _factor_panel(lu, pivots, order, start, stop):
    """Eliminate columns start..stop with partial pivoting, touching only the panel (and whole rows
    in exchanges)."""
    batch = np.arange(lu.shape[0])
    for j in range(start, stop):
        pivot = j + np.argmax(np.abs(lu[:, j:, j]), axis=-1)
        pivots[:, j] = pivot
        _swap_rows(lu, order, j, pivot)
        head = lu[batch, j, j]
        # A column of zeros is already eliminated.
        lu[:, j + 1 :, j] /= np.where(head == 0, 1, head)[:, None]
        lu[:, j + 1 :, j + 1 : stop] -= lu[:, j + 1 :, j, None] * lu[:, None, j, j + 1 : stop]


def launch_lu_factor(outs, ins, params):
    """Right-looking blocked LU. Outputs: the factors, the exchanges, and P with A = L[P] @ U."""
    m, n = ins[0].shape[-2:]
    k = min(m, n)
    outs[0][...] = ins[0]
    lu = outs[0].reshape((-1, m, n)) if outs[0].size else np.empty((0, m, n), outs[0].dtype)
    pivots = np.zeros((lu.shape[0], k), np.uint32)
    order = np.tile(np.arange(m, dtype=np.uint32), (lu.shape[0], 1))
    for start in range(0, k, _BLOCK):
        stop = min(start + _BLOCK, k)
        _factor_panel(lu, pivots, order, start, stop)
        if stop < n:
            unit = np.tril(lu[:, start:stop, start:stop], -1) + np.eye(stop - start, dtype=lu.dtype)
            lu[:, start:stop, stop:] = np.linalg.solve(unit, lu[:, start:stop, stop:])
            lu[:, stop:, stop:] -= lu[:, stop:, start:stop] @ lu[:, start:stop, stop:]
    if outs[0].size:
        outs[1][...] = pivots.reshape(outs[1].shape)
        outs[2][...] = np.argsort(order, axis=-1).reshape(outs[2].shape)
    else:
        outs[2][...] = np.arange(m)


for _name, _launch in {
    "inv": launch_inv,
    "pinv": launch_pinv,
    "qr": launch_qr,
    "svd": launch_svd,
    "eigh": launch_eigh,
    "eig": launch_eig,
    "lu_factor": launch_lu_factor,
    "solve": launch_solve,
    "solve_triangular": launch_solve_triangular,
    "det": launch_det,
    "cofactor": launch_cofactor,
    "slogdet": launch_slogdet,
}.items():
    register_python_launcher(_name, _in_sight_of_signals(_launch))
