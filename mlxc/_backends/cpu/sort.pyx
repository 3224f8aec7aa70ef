"""Launchers of the sort family: outer x n x inner values, ordered along n.

Lines are independent and are shared out by size alone. Every line is turned into keys, ordered in
scratch memory, and written back, so that strides cost nothing more.
"""

from libc.stdint cimport uint32_t

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._table.dtypes import DTYPES
from mlxc._threads.pool cimport par

ctypedef void (*keys_fn)(const char* a, Py_ssize_t stride, char* keys, Py_ssize_t n) noexcept nogil
ctypedef void (*values_fn)(const char* keys, char* a, Py_ssize_t stride,
                           Py_ssize_t n) noexcept nogil
ctypedef void (*fetch_fn)(
    const char* a, Py_ssize_t stride, const char* keys, char* out, Py_ssize_t out_stride,
    Py_ssize_t n
) noexcept nogil
ctypedef void (*sort_fn)(char* keys, char* other, Py_ssize_t n, int low) noexcept nogil
ctypedef void (*select_fn)(char* keys, char* other, Py_ssize_t n, Py_ssize_t kth) noexcept nogil
ctypedef void (*arg_fn)(
    const char* a, uint32_t* out, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil
ctypedef void (*search_fn)(
    const char* a, Py_ssize_t n, const char* values, uint32_t* out, Py_ssize_t count, bint right
) noexcept nogil

cdef enum:
    TASK = 1 << 14      # elements a task at least
    COLUMNS = 512       # columns a task of argmax and argmin

cdef struct Lines:
    const char* a
    char* out
    Py_ssize_t n
    Py_ssize_t inner
    Py_ssize_t itemsize
    Py_ssize_t out_itemsize
    Py_ssize_t count      # lines
    Py_ssize_t together   # lines a task
    Py_ssize_t kth        # -1: sort
    int keysize           # bytes
    int low               # first byte of keys that is sorted by
    keys_fn keys
    sort_fn sort
    select_fn select
    values_fn write       # keys to values or places; NULL: fetch
    fetch_fn fetch
    bint failed           # no memory


cdef void order_lines(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """Sort or partition some consecutive lines."""
    cdef Lines* work = <Lines*>arg
    cdef Py_ssize_t line, first
    cdef Py_ssize_t end = min((chunk + 1) * work.together, work.count)
    cdef Py_ssize_t nbytes = 2 * work.n * work.keysize
    cdef Py_ssize_t stride = work.inner * work.itemsize
    cdef Py_ssize_t out_stride = work.inner * work.out_itemsize
    cdef const char* a
    cdef char* out
    cdef char* keys = scratch_alloc(nbytes)
    cdef char* other = keys + work.n * work.keysize
    if keys == NULL:
        work.failed = True
        return
    for line in range(chunk * work.together, end):
        first = line // work.inner * work.inner * work.n + line % work.inner
        a = work.a + first * work.itemsize
        out = work.out + first * work.out_itemsize
        work.keys(a, stride, keys, work.n)
        if work.kth < 0:
            work.sort(keys, other, work.n, work.low)
        else:
            work.select(keys, other, work.n, work.kth)
        if work.write != NULL:
            work.write(keys, out, out_stride, work.n)
        else:
            work.fetch(a, stride, keys, out, out_stride, work.n)
    scratch_free(keys, nbytes)


cdef int order(View* x, View* out, int axis, Py_ssize_t kth, bint places) except -1:
    """Sort (kth < 0) or partition; values, or the places that they came from."""
    cdef Lines work
    cdef str short = DTYPES[x.dtype].short
    cdef int half = 8 if x.itemsize == 8 else 4
    if x.size == 0:
        return 0
    set_lines(&work, x, out, axis)
    work.kth = kth
    work.failed = False
    work.write = NULL
    if kth < 0 and not places and short != "c64":
        work.keysize = half
        work.low = 0
        work.keys = <keys_fn>kernel("map_" + short)
        work.write = <values_fn>kernel("unmap_" + short)
    else:
        work.keysize = 2 * half
        work.low = half
        work.keys = <keys_fn>kernel("rank_" + short)
        work.fetch = <fetch_fn>kernel(f"fetch_{x.itemsize}_{2 * half}")
        work.select = <select_fn>kernel(f"select_{2 * half}")
        if places:
            work.write = <values_fn>kernel(f"places_{2 * half}")
    work.sort = <sort_fn>kernel(f"sort_{work.keysize}")
    with nogil:
        par(order_lines, &work, (work.count + work.together - 1) // work.together)
    if work.failed:
        raise MemoryError(f"[sort] there is no scratch memory for lines of {work.n} values")
    return 0


cdef void set_lines(Lines* work, View* x, View* out, int axis) noexcept:
    """Where the lines along an axis of a row-major array begin."""
    cdef int k
    work.a = x.data
    work.out = out.data
    work.itemsize = x.itemsize
    work.out_itemsize = out.itemsize
    work.n = x.shape[axis]
    work.inner = 1
    for k in range(axis + 1, x.ndim):
        work.inner *= x.shape[k]
    work.count = x.size // work.n
    work.together = max(<Py_ssize_t>1, TASK // work.n)


cdef int launch_sort(View* ins, int nin, View* outs, int nout, object params) except -1:
    return order(ins, outs, params[0], -1, False)


cdef int launch_argsort(View* ins, int nin, View* outs, int nout, object params) except -1:
    return order(ins, outs, params[0], -1, True)


cdef int launch_partition(View* ins, int nin, View* outs, int nout, object params) except -1:
    return order(ins, outs, params[1], params[0], False)


cdef int launch_argpartition(View* ins, int nin, View* outs, int nout, object params) except -1:
    return order(ins, outs, params[1], params[0], True)


cdef struct Extrema:
    Lines lines
    arg_fn find
    Py_ssize_t blocks     # of columns, a slab
    Py_ssize_t pieces     # blocks of all slabs
    Py_ssize_t together   # pieces a task


cdef void find_extrema(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some consecutive blocks of columns."""
    cdef Extrema* work = <Extrema*>arg
    cdef Lines* lines = &work.lines
    cdef Py_ssize_t piece, slab, start
    cdef Py_ssize_t end = min((chunk + 1) * work.together, work.pieces)
    for piece in range(chunk * work.together, end):
        slab = piece // work.blocks * lines.inner
        start = piece % work.blocks * COLUMNS
        work.find(
            lines.a + slab * lines.n * lines.itemsize, <uint32_t*>lines.out + slab, lines.n,
            lines.inner, start, min(start + COLUMNS, lines.inner),
        )


cdef int extremum(str name, View* x, View* out, int axis) except -1:
    cdef Extrema work
    cdef Py_ssize_t width
    if out.size == 0:
        return 0
    set_lines(&work.lines, x, out, axis)
    work.find = <arg_fn>kernel(f"{name}_{DTYPES[x.dtype].short}")
    width = min(work.lines.inner, <Py_ssize_t>COLUMNS)
    work.blocks = (work.lines.inner + COLUMNS - 1) // COLUMNS
    work.pieces = work.lines.count // work.lines.inner * work.blocks
    work.together = max(<Py_ssize_t>1, 2 * TASK // (work.lines.n * width))
    with nogil:
        par(find_extrema, &work, (work.pieces + work.together - 1) // work.together)
    return 0


cdef int launch_argmax(View* ins, int nin, View* outs, int nout, object params) except -1:
    return extremum("argmax", ins, outs, params[0])


cdef int launch_argmin(View* ins, int nin, View* outs, int nout, object params) except -1:
    return extremum("argmin", ins, outs, params[0])


cdef struct Search:
    search_fn find
    View* sequence
    View* values
    uint32_t* out
    bint right


cdef void find_places(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """The places of TASK consecutive values."""
    cdef Search* work = <Search*>arg
    cdef Py_ssize_t start = chunk * TASK
    cdef Py_ssize_t count = min(<Py_ssize_t>TASK, work.values.size - start)
    work.find(
        work.sequence.data, work.sequence.size, work.values.data + start * work.values.itemsize,
        work.out + start, count, work.right,
    )


cdef int launch_searchsorted(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Search work
    work.find = <search_fn>kernel("searchsorted_" + DTYPES[ins[0].dtype].short)
    work.sequence = &ins[0]
    work.values = &ins[1]
    work.out = <uint32_t*>outs[0].data
    work.right = params[0]
    with nogil:
        par(find_places, &work, (ins[1].size + TASK - 1) // TASK)
    return 0


register_launcher("sort", launch_sort)
register_launcher("argsort", launch_argsort)
register_launcher("partition", launch_partition)
register_launcher("argpartition", launch_argpartition)
register_launcher("argmax", launch_argmax)
register_launcher("argmin", launch_argmin)
register_launcher("searchsorted", launch_searchsorted)
