"""Launchers of the sort family: outer x n x inner values, ordered along n.

Lines are independent and are shared out by size alone. Every line is turned into keys, ordered in
scratch memory, and written back, so that strides cost nothing more. Lines that are not long are
sorted several at a time, each in a lane of its own; places of extrema of short rows are found like
those of columns, in a turned copy.
"""

from libc.stdint cimport uint32_t

from mlxc._backends.cpu.blocks cimport turn_fn
from mlxc._backends.cpu.kernels cimport fill_by_dtype, kernel, kernel_or_null
from mlxc._graph.dtypes cimport COMPLEX64, DTYPE_COUNT
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._threads.pool cimport interrupted, share

ctypedef void (*keys_fn)(const char* a, Py_ssize_t stride, char* keys, Py_ssize_t n) noexcept nogil
ctypedef void (*values_fn)(const char* keys, char* a, Py_ssize_t stride,
                           Py_ssize_t n) noexcept nogil
ctypedef void (*fetch_fn)(
    const char* a, Py_ssize_t stride, const char* keys, char* out, Py_ssize_t out_stride,
    Py_ssize_t n
) noexcept nogil
ctypedef void (*sort_fn)(char* keys, char* other, Py_ssize_t n, int low) noexcept nogil
ctypedef void (*network_fn)(char* keys, Py_ssize_t n) noexcept nogil
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
    LINE = 64           # bytes of a row of a network: one key a lane
    NETWORK = 1024      # longest lines that a network sorts
    SHORT = 48          # longest rows whose extrema are found in a turned copy
    ROWS = 64           # of such rows at a time
    THIN = 8            # fewer are not worth turning
    BLOCK = 1 << 18     # elements between looks for Ctrl-C

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
    network_fn network
    turn_fn turn
    select_fn select
    values_fn write       # keys to values or places; NULL: fetch
    fetch_fn fetch
    bint failed           # no memory


cdef inline Py_ssize_t start_of(const Lines* work, Py_ssize_t line) noexcept nogil:
    """Where a line starts, in elements."""
    return line // work.inner * work.inner * work.n + line % work.inner


cdef inline bint read_line(const Lines* work, Py_ssize_t line, char* keys) noexcept nogil:
    """Turn a line into keys; whether nobody interrupted it."""
    cdef Py_ssize_t stride = work.inner * work.itemsize, start = 0
    cdef const char* a = work.a + start_of(work, line) * work.itemsize
    while start < work.n:
        if start and interrupted():
            return False
        work.keys(a + start * stride, stride, keys + start * work.keysize,
                  min(<Py_ssize_t>BLOCK, work.n - start))
        start += BLOCK
    return True


cdef inline void write_line(const Lines* work, Py_ssize_t line, char* keys) noexcept nogil:
    cdef Py_ssize_t first = start_of(work, line), start = 0, count
    cdef Py_ssize_t stride = work.inner * work.out_itemsize
    cdef const char* a = work.a + first * work.itemsize
    cdef char* out = work.out + first * work.out_itemsize
    while start < work.n and not (start and interrupted()):
        count = min(<Py_ssize_t>BLOCK, work.n - start)
        if work.write != NULL:
            work.write(keys + start * work.keysize, out + start * stride, stride, count)
        else:
            work.fetch(a, work.inner * work.itemsize, keys + start * work.keysize,
                       out + start * stride, stride, count)
        start += count


cdef void sort_together(
    const Lines* work, Py_ssize_t first, Py_ssize_t count, char* keys, char* other
) noexcept nogil:
    """Sort as many lines as a network has lanes, or fewer: what lanes are left over hold anything.
    """
    cdef Py_ssize_t k, nbytes = work.n * work.keysize, lanes = LINE // work.keysize
    for k in range(count):
        read_line(work, first + k, keys + k * nbytes)
    work.turn(other, LINE, keys, nbytes, work.n, lanes)
    work.network(other, work.n)
    work.turn(keys, nbytes, other, LINE, lanes, work.n)
    for k in range(count):
        write_line(work, first + k, keys + k * nbytes)


cdef void order_lines(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """Sort or partition some consecutive lines."""
    cdef Lines* work = <Lines*>arg
    cdef Py_ssize_t line = chunk * work.together, lanes = LINE // work.keysize
    cdef Py_ssize_t end = min(line + work.together, work.count), size, count
    cdef bint joined = work.kth < 0 and work.network != NULL and work.n <= NETWORK
    cdef char* keys
    cdef char* other
    size = work.n * LINE if joined else work.n * work.keysize
    keys = scratch_alloc(2 * size)
    other = keys + size
    if keys == NULL:
        work.failed = True
        return
    while line < end:
        count = min(lanes, end - line)
        if joined and (4 * count >= lanes or work.n <= ROWS):
            sort_together(work, line, count, keys, other)
            line += count
            continue
        if not read_line(work, line, keys):
            break
        if work.kth < 0:
            work.sort(keys, other, work.n, work.low)
        else:
            work.select(keys, other, work.n, work.kth)
        write_line(work, line, keys)
        line += 1
    scratch_free(keys, 2 * size)


cdef struct Sorting:      # of keys of one size
    sort_fn sort
    network_fn network    # NULL: none
    turn_fn turn
    select_fn select
    values_fn places

cdef Sorting[17] BY_KEYSIZE
cdef void* FETCH[9][17]         # by bytes of a value and of its key
cdef void* MAP[DTYPE_COUNT]
cdef void* UNMAP[DTYPE_COUNT]
cdef void* RANK[DTYPE_COUNT]
cdef void* ARGMAX[DTYPE_COUNT]
cdef void* ARGMIN[DTYPE_COUNT]
cdef void* SEARCH[DTYPE_COUNT]
fill_by_dtype(MAP, "map_")
fill_by_dtype(UNMAP, "unmap_")
fill_by_dtype(RANK, "rank_")
fill_by_dtype(ARGMAX, "argmax_")
fill_by_dtype(ARGMIN, "argmin_")
fill_by_dtype(SEARCH, "searchsorted_")


cdef int fill_by_size() except -1:
    for keysize in (4, 8, 16):
        BY_KEYSIZE[<int>keysize].sort = <sort_fn>kernel(f"sort_{keysize}")
        if keysize <= 8:
            BY_KEYSIZE[<int>keysize].network = <network_fn>kernel(f"network_{keysize}")
            BY_KEYSIZE[<int>keysize].turn = <turn_fn>kernel(f"turn_{keysize}")
        if keysize >= 8:
            BY_KEYSIZE[<int>keysize].select = <select_fn>kernel(f"select_{keysize}")
            BY_KEYSIZE[<int>keysize].places = <values_fn>kernel(f"places_{keysize}")
        for size in (1, 2, 4, 8):
            FETCH[<int>size][<int>keysize] = kernel_or_null(f"fetch_{size}_{keysize}")
    return 0


fill_by_size()


cdef int order(View* x, View* out, int axis, Py_ssize_t kth, bint places) except -1:
    """Sort (kth < 0) or partition; values, or the places that they came from."""
    cdef Lines work
    cdef int half = 8 if x.itemsize == 8 else 4
    cdef Sorting* sorting
    if x.size == 0:
        return 0
    set_lines(&work, x, out, axis)
    work.kth = kth
    work.failed = False
    if kth < 0 and not places and x.dtype != COMPLEX64:
        work.keysize = half
        work.low = 0
        work.keys = <keys_fn>MAP[x.dtype]
        work.write = <values_fn>UNMAP[x.dtype]
    else:
        work.keysize = 2 * half
        work.low = half
        work.keys = <keys_fn>RANK[x.dtype]
        work.fetch = <fetch_fn>FETCH[x.itemsize][work.keysize]
        work.write = BY_KEYSIZE[work.keysize].places if places else NULL
    sorting = &BY_KEYSIZE[work.keysize]
    work.sort = sorting.sort
    work.select = sorting.select
    work.network = sorting.network if work.n > 1 else NULL
    work.turn = sorting.turn
    share(order_lines, &work, (work.count + work.together - 1) // work.together, x.size)
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
    if work.together > 1:
        work.together = (work.together + LINE // 4 - 1) // (LINE // 4) * (LINE // 4)


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
    turn_fn turn          # of short rows; else NULL


cdef void find_in_short_rows(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some consecutive rows, turned into columns ROWS at a time."""
    cdef Extrema* work = <Extrema*>arg
    cdef Lines* lines = &work.lines
    cdef char[SHORT * ROWS * 8] columns
    cdef Py_ssize_t row = chunk * work.together * ROWS, nbytes = lines.n * lines.itemsize, count
    cdef Py_ssize_t end = min(row + work.together * ROWS, lines.count)
    while row < end:
        count = min(<Py_ssize_t>ROWS, end - row)
        work.turn(columns, count * lines.itemsize, lines.a + row * nbytes, nbytes, lines.n, count)
        work.find(columns, <uint32_t*>lines.out + row, lines.n, count, 0, count)
        row += count


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


cdef int extremum(void* find, View* x, View* out, int axis) except -1:
    cdef Extrema work
    cdef Py_ssize_t width
    if out.size == 0:
        return 0
    set_lines(&work.lines, x, out, axis)
    work.find = <arg_fn>find
    if work.lines.inner == 1 and work.lines.n <= SHORT and work.lines.count >= THIN:
        work.turn = <turn_fn>kernel(f"turn_{x.itemsize}")
        work.together = max(<Py_ssize_t>1, 2 * TASK // (work.lines.n * ROWS))
        width = ROWS * work.together
        share(find_in_short_rows, &work, (work.lines.count + width - 1) // width, x.size)
        return 0
    width = min(work.lines.inner, <Py_ssize_t>COLUMNS)
    work.blocks = (work.lines.inner + COLUMNS - 1) // COLUMNS
    work.pieces = work.lines.count // work.lines.inner * work.blocks
    work.together = max(<Py_ssize_t>1, 2 * TASK // (work.lines.n * width))
    share(find_extrema, &work, (work.pieces + work.together - 1) // work.together, x.size)
    return 0


cdef int launch_argmax(View* ins, int nin, View* outs, int nout, object params) except -1:
    return extremum(ARGMAX[ins.dtype], ins, outs, params[0])


cdef int launch_argmin(View* ins, int nin, View* outs, int nout, object params) except -1:
    return extremum(ARGMIN[ins.dtype], ins, outs, params[0])


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
    work.find = <search_fn>SEARCH[ins[0].dtype]
    work.sequence = &ins[0]
    work.values = &ins[1]
    work.out = <uint32_t*>outs[0].data
    work.right = params[0]
    share(find_places, &work, (ins[1].size + TASK - 1) // TASK, ins[1].size)
    return 0


register_launcher("sort", launch_sort)
register_launcher("argsort", launch_argsort)
register_launcher("partition", launch_partition)
register_launcher("argpartition", launch_argpartition)
register_launcher("argmax", launch_argmax)
register_launcher("argmin", launch_argmin)
register_launcher("searchsorted", launch_searchsorted)
