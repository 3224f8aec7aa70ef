"""Discrete Fourier transforms: one row for the complex, the real-to-complex and the complex-to-real
transform.

``axes`` are negative numbers, so that a batch axis put in front leaves them as they are; the last
of them is the axis that is halved for real data. ``sizes`` are the lengths in the time domain, an
axis each. The operand arrives padded or truncated, as complex64 (c2c, c2r) or float32 (r2c).
"""

from .rows import Kernel, register

# The adjoint of a transform is the opposite transform with the factor moved to the other side.
_ADJOINT_NORM = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
_OUTPUT = {"c2c": "complex64", "r2c": "complex64", "c2r": "float32"}
_INPUT = {"c2c": "complex64", "r2c": "float32", "c2r": "complex64"}


def _infer(shapes, dtypes, *, axes, sizes, kind, inverse, norm):
    (shape,), (dtype,) = shapes, dtypes
    if dtype != _INPUT[kind]:
        raise TypeError(f"[fft] the {kind} transform was given {dtype}; it takes {_INPUT[kind]}")
    out = list(shape)
    for axis, n in zip(axes, sizes):
        if not -len(shape) <= axis < 0 or n < 1:
            raise ValueError(
                f"[fft] no transform of length {n} along axis {axis} of shape {tuple(shape)}"
            )
    last, n = axes[-1], sizes[-1]
    time, frequency = n, n // 2 + 1
    expected = list(sizes)
    if kind == "c2r":
        expected[-1] = frequency
        out[last] = time
    elif kind == "r2c":
        out[last] = frequency
    if any(shape[axis] != size for axis, size in zip(axes, expected)):
        raise ValueError(
            f"[fft] shape {tuple(shape)} does not hold sizes {tuple(expected)} along {tuple(axes)}"
        )
    return [(tuple(out), _OUTPUT[kind])]


def _adjoint_r2c(mx, ct, axes, sizes, norm):
    """The half spectrum of zeros is filled up, the full inverse taken, and the real part kept."""
    widths = [(0, 0)] * ct.ndim
    widths[axes[-1]] = (0, sizes[-1] - ct.shape[axes[-1]])
    return mx.real(mx.fft.ifftn(mx.pad(ct, widths), axes=axes, norm=norm))


def _adjoint_c2r(mx, ct, axes, sizes, norm):
    """Bins that stand for a conjugate pair count twice; the mean and the Nyquist bin count once."""
    n = sizes[-1]
    bins = mx.arange(n // 2 + 1)
    weights = mx.where(mx.logical_or(bins == 0, 2 * bins == n), 1.0, 2.0)
    shape = [1] * ct.ndim
    shape[axes[-1]] = n // 2 + 1
    return mx.fft.rfftn(ct, axes=axes, norm=norm) * mx.reshape(weights, shape)


def _vjp(mx, cts, outs, x, *, axes, sizes, kind, inverse, norm):
    adjoint = _ADJOINT_NORM[norm]
    if kind == "r2c":
        return (_adjoint_r2c(mx, cts[0], axes, sizes, adjoint),)
    if kind == "c2r":
        return (_adjoint_c2r(mx, cts[0], axes, sizes, adjoint),)
    transform = mx.fft.fftn if inverse else mx.fft.ifftn
    return (transform(cts[0], axes=axes, norm=adjoint),)


def _vmap(mx, batched, x, *, axes, sizes, kind, inverse, norm):
    names = {"c2c": "ifftn" if inverse else "fftn", "r2c": "rfftn", "c2r": "irfftn"}
    return (getattr(mx.fft, names[kind])(x, s=sizes, axes=axes, norm=norm),)


def _samples(mx, rng):
    real = mx.array(rng.standard_normal((3, 5, 6)).astype("float32"))
    other = mx.array(rng.standard_normal((3, 5, 6)).astype("float32"))
    both = real + other * mx.array(1j)
    half = both[..., :4]
    return [
        ((both,), dict(axes=(-1,), sizes=(6,), kind="c2c", inverse=False, norm="backward")),
        ((both,), dict(axes=(-2, -1), sizes=(5, 6), kind="c2c", inverse=True, norm="ortho")),
        ((real,), dict(axes=(-2, -1), sizes=(5, 6), kind="r2c", inverse=False, norm="forward")),
        ((half,), dict(axes=(-1,), sizes=(7,), kind="c2r", inverse=True, norm="backward")),
        ((half,), dict(axes=(-2, -1), sizes=(5, 6), kind="c2r", inverse=True, norm="backward")),
    ]


ROWS = register(
    "fft",
    [
        Kernel(
            "fft",
            doc="Discrete Fourier transform along one or more axes.",
            params=("axes", "sizes", "kind", "inverse", "norm"),
            infer=_infer,
            vjp=_vjp,
            linear=True,
            vmap=_vmap,
            samples=_samples,
        )
    ],
)
