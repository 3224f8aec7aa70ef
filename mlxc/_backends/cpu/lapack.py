"""Launchers of linear algebra that has no kernels of our own: NumPy's LAPACK.

Input that has no answer (no convergence) raises ``numpy.linalg.LinAlgError``, which is a
``ValueError``. NumPy batches over leading axes and releases the interpreter lock.
"""

import numpy as np
from numpy.linalg import LinAlgError

from mlxc._graph.kernel import register_python_launcher

from .aside import aside


def _in_sight_of_signals(launch):
    """The launcher, aside if its matrices are large: n³ operations for one of n x n."""

    def launch_in_sight(outs, ins, params):
        aside(ins[0].size * max(1, *ins[0].shape[-2:]), launch, outs, ins, params)

    return launch_in_sight


def _require_finite(op, a):
    """LAPACK's iterations may never end on infinities."""
    if not np.isfinite(a).all():
        raise LinAlgError(f"[{op}] the matrix holds NaN or infinity; finite numbers would be right")


def launch_pinv(outs, ins, params):
    (a,) = ins
    if outs[0].size == 0:
        return
    _require_finite("pinv", a)
    outs[0][...] = np.linalg.pinv(a, rcond=max(a.shape[-2:]) * np.finfo(a.dtype).eps)


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


for _name, _launch in {
    "pinv": launch_pinv,
    "svd": launch_svd,
    "eigh": launch_eigh,
    "eig": launch_eig,
    "cofactor": launch_cofactor,
}.items():
    register_python_launcher(_name, _in_sight_of_signals(_launch))
