"""Launcher of the Fourier transforms, one axis after the other.

Lines of a length of small factors are transformed one at a time where they are few, or the length
is a longer multiple of sixteen, and sixteen at a time otherwise. The longest are laid out as
matrices, whose columns and then rows are transformed (Bailey 1990, "FFTs in external or
hierarchical memory"). All other lengths are convolutions with a chirp, by transforms of a length of
small factors.

Plans hold the tables of a length, computed in float64 and rounded once.
"""

import functools

import numpy as np

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.lanes cimport (
    C2C, C2R, MAX_AXES, MAX_RADIX, PART, PIECE, R2C, ROW, STRIDE, Lines, Pass, place,
)
from mlxc._kernels.types cimport f32
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._threads.pool cimport job_fn, par, thread_count

cdef enum:
    LINES = 0            # sixteen lines at a time
    ROWS = 1             # one line at a time
    MATRIX = 2           # a line as a matrix
    BUFFER = 3           # by way of transforms in a buffer
    FEW = 8              # as many lines are transformed together, unless they have sixteen parts
    PIECES = 4           # parts of a line at least, for it to be transformed alone
    LONG = 1 << 15       # longer ones would outgrow the caches
    TASK = 1 << 13       # elements of a task
    BATCH = 1 << 16      # elements of a buffer, unless one line is longer

cdef job_fn LINES_JOB = <job_fn>kernel("fft_lines")
cdef job_fn ROWS_JOB = <job_fn>kernel("fft_rows")
cdef job_fn SPREAD = <job_fn>kernel("fft_spread")
cdef job_fn FILTER = <job_fn>kernel("fft_filter")
cdef job_fn FOLD = <job_fn>kernel("fft_fold")
cdef dict KINDS = {"c2c": C2C, "r2c": R2C, "c2r": C2R}


# Tables

def pairs(turns):
    """exp(-2 pi i turns), rounded once, as pairs of float32."""
    return np.exp(-2j * np.pi * turns).astype(np.complex64)


def radices_of(length):
    """Factors of passes over a length, as many of 8 as go with 4 and 2; None: another prime."""
    eights, twos = divmod((length & -length).bit_length() - 1, 3)
    if eights and twos == 1:
        eights, twos = eights - 1, 4  # two passes of 4 are shorter than one of 8 and one of 2
    radices = [8] * eights + [4] * (twos // 2) + [2] * (twos % 2)
    left = length // (length & -length)
    for radix in (13, 11, 7, 5, 3):
        while left % radix == 0:
            radices.append(radix)
            left //= radix
    return radices if left == 1 else None


def columns_of(length):
    """The columns of the squarest matrix of so many elements."""
    column = 1
    for radix in sorted(radices_of(length), reverse=True):
        if column * radix <= length**0.5 * 1.5:
            column *= radix
    return column


def smooth_from(length):
    """The smallest multiple of sixteen of small factors, not below a length."""
    found = PART * -(-length // PART)
    while max(radices_of(found) or [MAX_RADIX]) > 5:
        found += PART
    return found


def lanes_of(length):
    """The most parts, up to PART, of at least PART elements that a line can be cut into."""
    return max((n for n in range(1, PART + 1) if length % n == 0 and length >= n * PART), default=0)


def first_of(length, lanes):
    """Twiddles of the first pass over rows: real parts, imaginary parts of sixteen columns, for
    each of so many powers; the last sixteen columns overlap those before them."""
    m = length // lanes
    starts = np.minimum(np.arange(0, m, PART), m - PART)
    columns = starts[:, None, None] + np.arange(PART)
    return split(columns * np.arange(lanes)[:, None] / length)


def twist_of(rows, columns):
    """Twiddles between the columns and the rows of a matrix: of sixteen columns those of the first
    STRIDE elements, and then of every STRIDE-th."""
    units = np.arange(-(-columns // PART))[:, None, None] * PART + np.arange(PART)
    powers = np.concatenate([np.arange(STRIDE), np.arange(0, rows, STRIDE)])
    return split(units * powers[:, None] / (rows * columns))


def split(turns):
    """As pairs, all real parts of the last axis before the imaginary ones."""
    return np.stack([np.cos(2 * np.pi * turns), -np.sin(2 * np.pi * turns)], -2).astype(np.float32)


def chirp_of(n, length):
    """exp(-pi i k**2 / n), and the spectrum of its inverse as a filter, divided by the length."""
    turns = np.arange(n) ** 2 % (2 * n) / (2 * n)
    chirp, both = pairs(turns), np.zeros(length, np.complex128)
    both[:n] = np.exp(2j * np.pi * turns)
    both[length - n + 1:] = both[1:n][::-1]
    return chirp, (np.fft.fft(both) / length).astype(np.complex64)


cdef class Plan:
    """How lines of one length are transformed."""

    cdef Lines lines     # the tables; where the lines are is for the call to say
    cdef int method
    cdef Plan inner      # MATRIX: of columns; BUFFER: of the buffer's lines
    cdef Plan outer      # MATRIX: of rows
    cdef list tables

    cdef const f32* table(self, array):
        self.tables.append(array)
        return <const f32*><size_t>array.ctypes.data

    cdef int add_passes(self, Pass* plan, Py_ssize_t length) except -1:
        """Passes over a length; their number."""
        cdef Py_ssize_t left = length, done = 1
        cdef int k = 0, radix, half
        for radix in radices_of(length):
            left //= radix
            half = radix // 2
            plan[k].radix, plan[k].m, plan[k].s = radix, left, done
            powers = np.arange(radix not in (4, 8), radix)  # these turn the first point, too
            turns = np.outer(np.arange(left), powers) / (left * radix)
            plan[k].twiddles = self.table(pairs(turns))
            if radix > 5 and radix != 8:
                turns = np.outer(np.arange(1, half + 1), np.arange(1, half + 1)) / radix
                plan[k].roots = self.table(pairs(-turns))
            done *= radix
            k += 1
        return k


@functools.lru_cache(maxsize=64)
def plan_of(Py_ssize_t n, int kind, bint adjacent, bint few):
    """The plan of lines of a length; adjacent: sixteen lines stand side by side; few: they are
    less than FEW."""
    cdef Plan plan = Plan.__new__(Plan)
    cdef Lines* g = &plan.lines
    cdef int lanes
    plan.tables = []
    g.kind, g.n, g.halved = kind, n, kind != C2C and n % 2 == 0
    g.length = n // 2 if g.halved else n
    smooth = radices_of(g.length) is not None
    lanes = 0 if adjacent else lanes_of(g.length)
    if lanes < (PIECES if few else PART):
        lanes = 0
    if not smooth or kind != C2C and (g.length > LONG or lanes and not g.halved):
        plan_buffer(plan, smooth, few)
    elif g.length > LONG and not adjacent:
        plan_matrix(plan)
    elif lanes:
        plan.method, g.lanes = ROWS, lanes
        g.passes = plan.add_passes(g.plan, g.length // lanes)
        if lanes == PART:
            g.roots = plan.table(pairs(np.outer(np.arange(4), np.arange(4)) / PART))
        else:
            g.starts = plan.add_passes(g.start, lanes)
        g.turned = plan.table(first_of(g.length, lanes))
    else:
        plan.method = LINES
        g.passes = plan.add_passes(g.plan, g.length)
    if g.halved:
        g.turns = plan.table(pairs(np.arange(n // 2 + 1) / n))
    return plan


cdef plan_matrix(Plan plan):
    cdef Py_ssize_t columns = columns_of(plan.lines.n)
    cdef Py_ssize_t rows = plan.lines.n // columns
    plan.method = MATRIX
    plan.inner, plan.outer = (
        plan_of.__wrapped__(rows, C2C, True, False), plan_of(columns, C2C, True, False)
    )
    plan.inner.lines.twist = plan.inner.table(twist_of(rows, columns))


cdef plan_buffer(Plan plan, bint smooth, bint few):
    plan.method = BUFFER
    plan.lines.halved = False
    plan.lines.length = plan.lines.n
    if not smooth:
        plan.lines.length = smooth_from(2 * plan.lines.n - 1)
        chirp, filter_ = chirp_of(plan.lines.n, plan.lines.length)
        plan.lines.chirp, plan.lines.turned = plan.table(chirp), plan.table(filter_)
    plan.inner = plan_of(plan.lines.length, C2C, False, few)


# Lines

cdef void describe(Lines* g, View* x, View* out, int axis) noexcept:
    """All lines of two arrays along an axis."""
    cdef Py_ssize_t n
    cdef int k, last
    g.src, g.dst = x.data, out.data
    g.src_stride, g.dst_stride = x.strides[axis], out.strides[axis]
    g.first, g.count, g.ndim = 0, out.size // out.shape[axis], 0
    for k in range(out.ndim):
        if k == axis or out.shape[k] == 1:
            continue
        n = out.shape[k]
        last = g.ndim - 1
        if (
            last >= 0 and g.src_steps[last] == n * x.strides[k]
            and g.dst_steps[last] == n * out.strides[k]
        ):
            n, g.ndim = n * g.shape[last], last  # the two axes are one
        g.shape[g.ndim], g.src_steps[g.ndim], g.dst_steps[g.ndim] = n, x.strides[k], out.strides[k]
        g.ndim += 1


cdef void describe_matrix(
    Lines* g, const char* src, Py_ssize_t src_stride, Py_ssize_t src_step, char* dst,
    Py_ssize_t dst_stride, Py_ssize_t dst_step, Py_ssize_t count
) noexcept:
    """So many lines, one step apart."""
    g.src, g.src_stride, g.dst, g.dst_stride = src, src_stride, dst, dst_stride
    g.ndim, g.shape[0], g.src_steps[0], g.dst_steps[0] = 1, count, src_step, dst_step
    g.first, g.count = 0, count


cdef f32* space(Py_ssize_t nbytes) except NULL:
    cdef char* memory = scratch_alloc(nbytes)
    if memory == NULL:
        raise MemoryError(f"[fft] no memory for {nbytes} bytes of scratch")
    return <f32*>memory


cdef int run(Plan plan, Lines* g) except -1:
    """Transform lines as planned; their tables, and whether they are inverse, stand in g."""
    if plan.method == MATRIX:
        return run_matrix(plan, g)
    if plan.method == BUFFER:
        return run_buffer(plan, g)
    cdef bint rows = plan.method == ROWS
    cdef Py_ssize_t units = g.count if rows else (g.count + PART - 1) // PART
    cdef Py_ssize_t numbers = 2 * (g.length // (g.lanes if rows else 1) + 1) * ROW
    cdef Py_ssize_t nbytes = numbers * sizeof(f32) * thread_count()
    g.together = max(<Py_ssize_t>1, TASK // (g.n if rows else g.n * PART))
    g.scratch = space(nbytes)
    with nogil:
        par(ROWS_JOB if rows else LINES_JOB, g, (units + g.together - 1) // g.together)
        scratch_free(<char*>g.scratch, nbytes)
    return 0


cdef int run_matrix(Plan plan, Lines* g) except -1:
    """Element (i, j) of a line's matrix goes to (j, i): columns, twiddles, rows."""
    cdef Lines inner = plan.inner.lines, outer = plan.outer.lines
    cdef Py_ssize_t line, rows = inner.n, columns = outer.n, nbytes = 8 * g.n
    cdef const char* src
    cdef char* dst
    cdef char* between = <char*>space(nbytes)
    inner.inverse, inner.scale = g.inverse, 1.0
    outer.inverse, outer.scale = g.inverse, g.scale
    try:
        for line in range(g.count):
            place(g, line, &src, &dst)
            describe_matrix(
                &inner, src, columns * g.src_stride, g.src_stride, between, 8 * columns, 8, columns
            )
            run(plan.inner, &inner)
            describe_matrix(
                &outer, between, 8, 8 * columns, dst, rows * g.dst_stride, g.dst_stride, rows
            )
            run(plan.outer, &outer)
    finally:
        scratch_free(between, nbytes)
    return 0


cdef int run_buffer(Plan plan, Lines* g) except -1:
    """Some lines after the other as complex numbers; with a chirp, filtered."""
    cdef Lines inner = plan.inner.lines
    cdef Py_ssize_t batch = min(g.count, max(<Py_ssize_t>1, BATCH // g.length)), total = g.count
    cdef Py_ssize_t nbytes = 8 * g.length * batch, pieces = (g.length + PIECE - 1) // PIECE
    g.scratch = space(nbytes)
    inner.scale = 1.0
    try:
        while g.first < total:
            g.count = min(batch, total - g.first)
            with nogil:
                par(SPREAD, g, g.count * pieces)
            describe_matrix(
                &inner, <char*>g.scratch, 8, 8 * g.length, <char*>g.scratch, 8, 8 * g.length,
                g.count
            )
            inner.inverse = False
            run(plan.inner, &inner)
            if g.chirp != NULL:
                with nogil:
                    par(FILTER, g, g.count * pieces)
                inner.inverse = True
                run(plan.inner, &inner)
            with nogil:
                par(FOLD, g, g.count * pieces)
            g.first += g.count
    finally:
        scratch_free(<char*>g.scratch, nbytes)
    return 0


# Launching

cdef double factor_of(Py_ssize_t n, bint inverse, str norm):
    """What a transform of length n is multiplied by."""
    if norm == "ortho":
        return n**-0.5
    return 1.0 / n if inverse == (norm == "backward") else 1.0


cdef int along_axis(
    View* x, View* out, int axis, Py_ssize_t n, int kind, bint inverse, str norm
) except -1:
    """Transform along one axis, which may be in place."""
    cdef bint adjacent = axis < out.ndim - 1 and out.shape[out.ndim - 1] >= PART
    cdef bint few = out.size < FEW * out.shape[axis]
    cdef Plan plan = plan_of(n, kind, adjacent, few)
    cdef Lines g = plan.lines
    g.inverse, g.scale = inverse, factor_of(n, inverse, norm)
    describe(&g, x, out, axis)
    return run(plan, &g)


cdef int launch(View* ins, int nin, View* outs, int nout, object params) except -1:
    """Transform the operand; parameters as in the row."""
    cdef View* out = outs
    cdef View between = ins[0]
    cdef View* x = ins
    cdef Py_ssize_t[MAX_AXES] strides
    cdef Py_ssize_t nbytes = 8 * x.size
    cdef int k, last = len(params[0]) - 1
    axes, sizes, kind, inverse, norm = params
    if out.size == 0:
        return 0
    if kind != "c2r" or last == 0:
        along_axis(x, out, out.ndim + axes[last], sizes[last], KINDS[kind], inverse, norm)
        for k in range(last):
            along_axis(out, out, out.ndim + axes[k], sizes[k], C2C, inverse, norm)
        return 0
    between.strides = strides
    strides[x.ndim - 1] = 8
    for k in range(x.ndim - 2, -1, -1):
        strides[k] = strides[k + 1] * x.shape[k + 1]
    between.data = <char*>space(nbytes)
    try:
        for k in range(last):
            along_axis(x, &between, x.ndim + axes[k], sizes[k], C2C, inverse, norm)
            x = &between
        along_axis(x, out, out.ndim + axes[last], sizes[last], C2R, inverse, norm)
    finally:
        scratch_free(between.data, nbytes)
    return 0


register_launcher("fft", launch)
