"""Launcher of the Fourier transforms, one axis after the other.

Many lines of a length of small factors are transformed by our own kernels, sixteen at a time; few
lines and other lengths by NumPy's pocketfft, which computes float32 data in float32.
"""

import functools

import numpy as np

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._kernels.lanes cimport C2C, C2R, PART, R2C, ROW, Lines
from mlxc._kernels.types cimport f32
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._threads.pool cimport job_fn, par, thread_count

from mlxc._backends.cpu.aside import aside
from mlxc._graph.kernel import register_python_launcher

cdef enum:
    FEW = 4              # fewer lines are left to NumPy
    LONG = 1 << 14       # so are longer ones: the work space would outgrow the caches
    TASK = 1 << 13       # elements of a task
    STEPS = 16           # operations of NumPy's for an element, or more

cdef job_fn LINES = <job_fn>kernel("fft_lines")
cdef dict KINDS = {"c2c": C2C, "r2c": R2C, "c2r": C2R}

# NumPy 1 cannot write into an array that it is given, and computes in float64.
_WRITES_INTO = int(np.__version__.split(".")[0]) >= 2


def radices_of(length):
    """Factors of passes over a length, as many of 8 as go with 4 and 2; None: another prime."""
    eights, twos = divmod((length & -length).bit_length() - 1, 3)
    if eights and twos == 1:
        eights, twos = eights - 1, 4  # two passes of 4 are shorter than one of 8 and one of 2
    radices = [8] * eights + [4] * (twos // 2) + [2] * (twos % 2)
    left = length // (length & -length)
    for radix in (5, 3):
        while left % radix == 0:
            radices.append(radix)
            left //= radix
    return radices if left == 1 else None


@functools.lru_cache(maxsize=64)
def passes_of(length):
    """(radix, m, s, twiddles) of each pass over a length; None if it has another prime factor."""
    passes, done, left = [], 1, length
    radices = radices_of(length)
    for radix in radices or ():
        m = left // radix
        powers = np.arange(radix not in (4, 8), radix)  # these turn the first point, too
        passes.append((radix, m, done, pairs(np.outer(np.arange(m), powers) / left)))
        done, left = done * radix, m
    return None if radices is None else passes


@functools.lru_cache(maxsize=64)
def turns_of(n):
    """exp(-2 pi i k / n) for k up to n / 2."""
    return pairs(np.arange(n // 2 + 1) / n)


def pairs(turns):
    """exp(-2 pi i turns), rounded once, as pairs of float32."""
    return np.exp(-2j * np.pi * turns).astype(np.complex64)


def factor_of(n, inverse, norm):
    """What a transform of length n is multiplied by."""
    if norm == "ortho":
        return n**-0.5
    return 1 / n if inverse == (norm == "backward") else 1.0


def along_axis(x, out, int axis, Py_ssize_t n, str kind, bint inverse, str norm):
    """Transform along one axis, which may be in place."""
    cdef Lines g
    cdef Py_ssize_t units, nbytes
    cdef int k
    g.halved = kind != "c2c" and n % 2 == 0
    g.length = n // 2 if g.halved else n
    g.count = out.size // out.shape[axis]
    passes = passes_of(g.length) if g.count >= FEW and g.length <= LONG else None
    if passes is None:
        with_numpy(x, out, axis, n, kind, inverse, norm)
        return
    turns = turns_of(n) if g.halved else None
    if turns is not None:
        g.turns = <const f32*><size_t>turns.ctypes.data
    g.kind, g.inverse, g.n = KINDS[kind], inverse, n
    g.scale = factor_of(n, inverse, norm)
    g.passes = len(passes)
    for k, (radix, m, s, twiddles) in enumerate(passes):
        g.plan[k].radix, g.plan[k].m, g.plan[k].s = radix, m, s
        g.plan[k].twiddles = <const f32*><size_t>twiddles.ctypes.data
    g.src, g.dst = <const char*><size_t>x.ctypes.data, <char*><size_t>out.ctypes.data
    g.src_stride, g.dst_stride = x.strides[axis], out.strides[axis]
    g.ndim = 0
    for k in range(out.ndim):
        if k != axis % out.ndim:
            g.shape[g.ndim] = out.shape[k]
            g.src_steps[g.ndim], g.dst_steps[g.ndim] = x.strides[k], out.strides[k]
            g.ndim += 1
    units = (g.count + PART - 1) // PART
    g.together = max(<Py_ssize_t>1, TASK // (n * PART))
    nbytes = 2 * (g.length + 1) * ROW * sizeof(f32) * thread_count()
    g.scratch = <f32*>scratch_alloc(nbytes)
    if g.scratch == NULL:
        raise MemoryError(f"[fft] no memory for {nbytes} bytes of scratch")
    with nogil:
        par(LINES, &g, (units + g.together - 1) // g.together)
        scratch_free(<char*>g.scratch, nbytes)


def with_numpy(x, out, axis, n, kind, inverse, norm):
    """The same by NumPy, which releases the interpreter lock while it transforms."""
    aside(
        STEPS * max(x.size, out.size), transform, [out], [x], (axis, n, kind, inverse, norm)
    )


def transform(outs, ins, params):
    (out,), (x,) = outs, ins
    axis, n, kind, inverse, norm = params
    name = {"c2c": "ifft" if inverse else "fft", "r2c": "rfft", "c2r": "irfft"}[kind]
    target = {"out": out} if _WRITES_INTO else {}
    result = getattr(np.fft, name)(x, n=n, axis=axis, norm=norm, **target)
    if not _WRITES_INTO:
        out[...] = result


def launch_fft(outs, ins, params):
    """Transform ``ins[0]`` into ``outs[0]``; parameters as in the row."""
    (out,), (x,) = outs, ins
    axes, sizes, kind, inverse, norm = params
    if out.size == 0:
        return
    last = (axes[-1], sizes[-1])
    others = list(zip(axes[:-1], sizes[:-1]))
    if kind == "c2r":
        for axis, n in others:
            between = np.empty(x.shape, np.complex64)
            along_axis(x, between, axis, n, "c2c", inverse, norm)
            x = between
        along_axis(x, out, *last, kind, inverse, norm)
        return
    along_axis(x, out, *last, kind, inverse, norm)
    for axis, n in others:
        along_axis(out, out, axis, n, "c2c", inverse, norm)


register_python_launcher("fft", launch_fft)
