"""Launcher of scans: outer x n x inner values, scanned along n.

Lines and blocks of columns are independent and are shared out by size alone. A few long lines are
cut into pieces: first what each adds up to is found, then each is scanned from what the pieces
before it add up to, so that results do not depend on the number of threads.
"""

from mlxc._backends.cpu.kernels cimport fill_by_dtype, kernel
from mlxc._graph.dtypes cimport DTYPE_COUNT
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.abi cimport loop_fn, rows_fn
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._threads.pool cimport interrupted, par, share, thread_count

from mlxc._table.dtypes import DTYPES
from mlxc._table.rows import BY_NAME

ctypedef void (*scan_fn)(
    const char* a, char* out, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t stop,
    bint reverse, bint inclusive
) noexcept nogil

# The scan of a piece of a line from what came before it.
ctypedef void (*from_fn)(
    const char* a, char* out, Py_ssize_t n, Py_ssize_t step, bint inclusive, const char* carry
) noexcept nogil

cdef enum:
    FEW = 16            # lines that are cut at most
    LOOK = 16           # pieces between looks for Ctrl-C
    COLUMNS = 512       # columns a task: a row of them is a few cache lines
    TASK = 1 << 15      # elements a task at least
    PIECE = 1 << 14     # elements of a piece of a line

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


cdef struct Lines:
    rows_fn total         # of a piece, as reductions have it
    loop_fn join          # two of those
    from_fn scan
    const char* a
    char* out
    Py_ssize_t n
    Py_ssize_t item       # bytes
    Py_ssize_t pieces     # a line
    char* carries         # before each piece
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


cdef void add_up(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A piece, for the carry of the next one; the last gives the first's, which is nothing."""
    cdef Lines* lines = <Lines*>arg
    cdef Py_ssize_t piece = chunk % lines.pieces, line = chunk // lines.pieces
    cdef Py_ssize_t to = (piece + 1) % lines.pieces
    cdef const char* first = lines.a + first_of(lines, line, piece)
    if lines.reverse:
        first -= (PIECE - 1) * lines.item
    lines.total(first, lines.carries + (line * lines.pieces + to) * 8, 1, PIECE if to else 0)


cdef void scan_piece(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Lines* lines = <Lines*>arg
    cdef Py_ssize_t piece = chunk % lines.pieces
    cdef Py_ssize_t first = first_of(lines, chunk // lines.pieces, piece)
    lines.scan(lines.a + first, lines.out + first, min(<Py_ssize_t>PIECE, lines.n - piece * PIECE),
               -1 if lines.reverse else 1, lines.inclusive, lines.carries + chunk * 8)


cdef Py_ssize_t first_of(Lines* lines, Py_ssize_t line, Py_ssize_t piece) noexcept nogil:
    """Bytes to the value that a piece begins with."""
    cdef Py_ssize_t at = piece * PIECE
    return (line * lines.n + (lines.n - 1 - at if lines.reverse else at)) * lines.item


cdef void run_alone(Lines* lines, Py_ssize_t line) noexcept nogil:
    """A line in one thread: each piece is scanned while what was added up is near."""
    cdef Py_ssize_t k, end = (line + 1) * lines.pieces
    add_up(lines, end - 1, 0)
    for k in range(end - lines.pieces, end):
        if k + 1 < end:
            add_up(lines, k, 0)
        carry_on(lines, k)
        scan_piece(lines, k, 0)
        if k % LOOK == LOOK - 1 and interrupted():
            return


cdef void carry_on(Lines* lines, Py_ssize_t chunk) noexcept nogil:
    """What the piece before adds up to, joined with what came before that."""
    cdef char* args[3]
    if chunk % lines.pieces:
        args[0] = args[2] = lines.carries + chunk * 8
        args[1] = lines.carries + (chunk - 1) * 8
        lines.join(args, 1)


cdef int run_lines(Lines* lines, Py_ssize_t count) noexcept nogil:
    """So many lines; 1 if there is no memory."""
    cdef Py_ssize_t k, chunks = count * lines.pieces
    lines.carries = scratch_alloc(8 * chunks)
    if lines.carries == NULL:
        return 1
    if thread_count() > 1:
        par(add_up, lines, chunks)
        for k in range(chunks):
            carry_on(lines, k)
        par(scan_piece, lines, chunks)
    else:
        for k in range(count):
            run_alone(lines, k)
    scratch_free(lines.carries, 8 * chunks)
    return 0


cdef enum:
    SUM, PROD, MAX, MIN, LOGSUMEXP, SCANS

cdef void* LOOPS[SCANS][DTYPE_COUNT]
cdef void* TOTALS[SCANS][DTYPE_COUNT]
cdef void* JOINS[SCANS][DTYPE_COUNT]
cdef void* FROMS[SCANS][DTYPE_COUNT]


cdef void fill_tables():
    """Of what is cut, too, how it is added up, as reductions do it or with more digits, and
    joined."""
    cdef int kind
    reductions = ("sum", "prod", "max", "min", None)
    for kind, name in enumerate(("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")):
        fill_by_dtype(LOOPS[kind], f"{name}_")
        fill_by_dtype(FROMS[kind], f"{name}_from_")
        fill_by_dtype(TOTALS[kind], f"{name}_total_")
        for code, fact in enumerate(DTYPES):
            if FROMS[kind][<int>code] != NULL:
                row = BY_NAME[reductions[kind]]
                wide = row.accumulate.get(fact.compute, fact.compute)
                if TOTALS[kind][<int>code] == NULL:
                    TOTALS[kind][<int>code] = kernel(f"{row.name}_{fact.short}_part")
                JOINS[kind][<int>code] = kernel(f"{row.combine}_{wide}_vv")


fill_tables()


cdef int launch_lines(int kind, View* x, View* out, Py_ssize_t n, Py_ssize_t count,
                      tuple params) except -1:
    """A few long lines, in pieces."""
    cdef Lines lines
    cdef int failed
    lines.total = <rows_fn>TOTALS[kind][x.dtype]
    lines.join = <loop_fn>JOINS[kind][x.dtype]
    lines.scan = <from_fn>FROMS[kind][x.dtype]
    lines.a = x.data
    lines.out = out.data
    lines.n = n
    lines.item = x.itemsize
    lines.pieces = (n + PIECE - 1) // PIECE
    lines.reverse = params[1]
    lines.inclusive = params[2]
    with nogil:
        failed = run_lines(&lines, count)
    if failed:
        raise MemoryError(f"[scan] no memory for {count * lines.pieces} sums")
    return 0


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
    if work.inner == 1 and outer < FEW and work.n > TASK and FROMS[kind][x.dtype] != NULL:
        return launch_lines(kind, x, outs, work.n, outer, params)
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
