"""Launcher of scans: outer x n x inner values, scanned along n.

Lines and blocks of columns are independent and are shared out by size alone. A single long line is
one task.
"""

from mlxc._backends.cpu.kernels cimport fill_by_dtype
from mlxc._graph.dtypes cimport DTYPE_COUNT
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._threads.pool cimport share

ctypedef void (*scan_fn)(
    const char* a, char* out, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t stop,
    bint reverse, bint inclusive
) noexcept nogil

cdef enum:
    COLUMNS = 512       # columns a task: a row of them is a few cache lines
    TASK = 1 << 15      # elements a task at least

cdef struct Work:
    scan_fn scan
    const char* a
    char* out
    Py_ssize_t n
    Py_ssize_t inner
    Py_ssize_t slab       # bytes of n x inner values
    Py_ssize_t blocks     # of columns, a slab
    Py_ssize_t pieces     # blocks of all slabs
    Py_ssize_t together   # pieces a task
    bint reverse
    bint inclusive


cdef void run(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some consecutive blocks of columns."""
    cdef Work* work = <Work*>arg
    cdef Py_ssize_t piece, slab, start
    cdef Py_ssize_t end = min((chunk + 1) * work.together, work.pieces)
    for piece in range(chunk * work.together, end):
        slab = piece // work.blocks * work.slab
        start = piece % work.blocks * COLUMNS
        work.scan(
            work.a + slab, work.out + slab, work.n, work.inner, start,
            min(start + COLUMNS, work.inner), work.reverse, work.inclusive,
        )


cdef enum:
    SUM, PROD, MAX, MIN, LOGSUMEXP, SCANS

cdef void* LOOPS[SCANS][DTYPE_COUNT]
fill_by_dtype(LOOPS[SUM], "cumsum_")
fill_by_dtype(LOOPS[PROD], "cumprod_")
fill_by_dtype(LOOPS[MAX], "cummax_")
fill_by_dtype(LOOPS[MIN], "cummin_")
fill_by_dtype(LOOPS[LOGSUMEXP], "logcumsumexp_")


cdef int launch(int kind, View* ins, View* outs, tuple params) except -1:
    cdef Work work
    cdef View* x = ins
    cdef int k, axis = params[0]
    cdef Py_ssize_t outer = 1
    if x.size == 0:
        return 0
    work.scan = <scan_fn>LOOPS[kind][x.dtype]
    if work.scan == NULL:
        raise RuntimeError("[scan] a dtype was given for which there is no loop")
    work.a = x.data
    work.out = outs.data
    work.reverse = params[1]
    work.inclusive = params[2]
    work.n = x.shape[axis]
    work.inner = 1
    for k in range(axis):
        outer *= x.shape[k]
    for k in range(axis + 1, x.ndim):
        work.inner *= x.shape[k]
    work.slab = work.n * work.inner * x.itemsize
    work.blocks = (work.inner + COLUMNS - 1) // COLUMNS
    work.pieces = outer * work.blocks
    work.together = max(<Py_ssize_t>1, TASK // (work.n * min(work.inner, <Py_ssize_t>COLUMNS)))
    share(run, &work, (work.pieces + work.together - 1) // work.together, x.size)
    return 0


cdef int launch_cumsum(View* ins, int nin, View* outs, int nout, object params) except -1:
    return launch(SUM, ins, outs, params)


cdef int launch_cumprod(View* ins, int nin, View* outs, int nout, object params) except -1:
    return launch(PROD, ins, outs, params)


cdef int launch_cummax(View* ins, int nin, View* outs, int nout, object params) except -1:
    return launch(MAX, ins, outs, params)


cdef int launch_cummin(View* ins, int nin, View* outs, int nout, object params) except -1:
    return launch(MIN, ins, outs, params)


cdef int launch_logcumsumexp(View* ins, int nin, View* outs, int nout, object params) except -1:
    return launch(LOGSUMEXP, ins, outs, params)


register_launcher("cumsum", launch_cumsum)
register_launcher("cumprod", launch_cumprod)
register_launcher("cummax", launch_cummax)
register_launcher("cummin", launch_cummin)
register_launcher("logcumsumexp", launch_logcumsumexp)
