"""Moving and combining strided blocks: what the launchers of indexing share.

A Block is a nest of loops with joined axes; the innermost is one call of a kernel. Where a move
writes along one axis and would read across it, planes of two axes are turned square by square.
Work is split by its size alone.
"""

from mlxc._backends.cpu.kernels cimport fill_by_dtype, kernel, kernel_or_null
from mlxc._graph.dtypes cimport DTYPE_COUNT
from mlxc._threads.pool cimport par

from mlxc._table.dtypes import DTYPES

cdef list SHORT = [fact.short for fact in DTYPES]

cdef enum:
    THIN = 8             # planes that are thinner are moved row by row
    TURN_ROWS = 64       # of a piece of a plane: whole lines of any width of element
    TURN_COLUMNS = 2048

cdef fold_fn[9] SETS     # by width of element
cdef turn_fn[9] TURNS
cdef set_rows_fn[9] SET_ROWS
cdef take_fn[9] TAKES
cdef index_fn[9] INDEX_SETS
cdef void* OFFSETS[DTYPE_COUNT]          # by dtype of an index
cdef void* ALONG[9][DTYPE_COUNT]
for _width in (1, 2, 4, 8):
    SETS[<int>_width] = <fold_fn>kernel(f"fold_set_{_width}")
    TURNS[<int>_width] = <turn_fn>kernel(f"turn_{_width}")
    SET_ROWS[<int>_width] = <set_rows_fn>kernel(f"rows_set_{_width}")
    TAKES[<int>_width] = <take_fn>kernel(f"take_{_width}")
    INDEX_SETS[<int>_width] = <index_fn>kernel(f"index_set_{_width}")
    for _code, _short in enumerate(SHORT):
        ALONG[<int>_width][<int>_code] = kernel_or_null(f"along_{_short}_{_width}")
fill_by_dtype(OFFSETS, "offsets_")


# Plain moves need the width of an element only, combining its dtype.

cdef fold_fn fold_of(str mode, View* view) except NULL:
    if mode == "none":
        return SETS[view.itemsize]
    return <fold_fn>kernel(f"fold_{mode}_{SHORT[view.dtype]}")


cdef index_fn index_of(str mode, View* view) except NULL:
    if mode == "none":
        return INDEX_SETS[view.itemsize]
    return <index_fn>kernel(f"index_{mode}_{SHORT[view.dtype]}")


cdef take_fn take_of(View* view) noexcept:
    return TAKES[view.itemsize]


cdef void* found(void* loop) except NULL:
    if loop == NULL:
        raise RuntimeError("[indexing] an index was given of a dtype for which there is no loop")
    return loop


cdef offsets_fn offsets_of(View* view) except NULL:
    return <offsets_fn>found(OFFSETS[view.dtype])


cdef along_fn along_of(View* index, View* view) except NULL:
    return <along_fn>found(ALONG[view.itemsize][index.dtype])


cdef void start_block(Block* block, Py_ssize_t itemsize, fold_fn fold) noexcept nogil:
    """An empty nest: one element."""
    block.ndim = 0
    block.size = 1
    block.itemsize = itemsize
    block.fold = fold
    block.turn = TURNS[itemsize] if fold == SETS[itemsize] else NULL
    block.set_rows = SET_ROWS[itemsize] if fold == SETS[itemsize] else NULL


cdef void add_axis(
    Block* block, Py_ssize_t size, Py_ssize_t dst_stride, Py_ssize_t src_stride
) noexcept nogil:
    """Nest one more loop inside; loops that continue each other on both sides become one."""
    cdef int last = block.ndim - 1
    block.size *= size
    if size == 1:
        return
    if (
        last >= 0
        and block.dst_strides[last] == dst_stride * size
        and block.src_strides[last] == src_stride * size
    ):
        block.shape[last] *= size
        block.dst_strides[last] = dst_stride
        block.src_strides[last] = src_stride
        return
    block.shape[block.ndim] = size
    block.dst_strides[block.ndim] = dst_stride
    block.src_strides[block.ndim] = src_stride
    block.ndim += 1


cdef void move_rows(
    const Block* block, char* dst, const char* src, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """Rows begin to end of a block of at least one axis. What is combined is a row a call of the
    kernel, what is moved as many as stand side by side along the axis before."""
    cdef Py_ssize_t[MAX_AXES] at
    cdef int inner = block.ndim - 1
    cdef int axis
    cdef Py_ssize_t row = begin, together = 1
    for axis in range(inner - 1, -1, -1):
        at[axis] = row % block.shape[axis]
        row //= block.shape[axis]
        dst += at[axis] * block.dst_strides[axis]
        src += at[axis] * block.src_strides[axis]
    while begin < end:
        if block.set_rows == NULL or inner == 0:
            block.fold(
                dst, block.dst_strides[inner], src, block.src_strides[inner], block.shape[inner]
            )
        else:
            together = min(block.shape[inner - 1] - at[inner - 1], end - begin)
            block.set_rows(
                dst, block.dst_strides[inner - 1], block.dst_strides[inner], src,
                block.src_strides[inner - 1], block.src_strides[inner], together,
                block.shape[inner]
            )
        begin += together
        axis = inner - 1
        row = together                       # steps of the axis
        while axis >= 0:
            at[axis] += row
            dst += row * block.dst_strides[axis]
            src += row * block.src_strides[axis]
            row = 1
            if at[axis] < block.shape[axis]:
                break
            at[axis] = 0
            dst -= block.shape[axis] * block.dst_strides[axis]
            src -= block.shape[axis] * block.src_strides[axis]
            axis -= 1


cdef void move_block(const Block* block, char* dst, const char* src) noexcept nogil:
    """Run the whole nest in this thread."""
    if block.size == 0:
        return
    if block.ndim == 0:
        block.fold(dst, 0, src, 0, 1)
    else:
        move_rows(block, dst, src, 0, block.size // block.shape[block.ndim - 1])


cdef void rows_job(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Block* block = <Block*>arg
    cdef Py_ssize_t n = block.shape[block.ndim - 1]
    cdef Py_ssize_t rows = block.size // n
    cdef Py_ssize_t together = max(<Py_ssize_t>1, GRAIN // (n * block.itemsize))
    cdef Py_ssize_t begin = chunk * together
    move_rows(block, block.dst, block.src, begin, min(begin + together, rows))


cdef void line_job(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A part of a block of one axis."""
    cdef Block* block = <Block*>arg
    cdef Py_ssize_t piece = GRAIN // block.itemsize
    cdef Py_ssize_t begin = chunk * piece
    block.fold(
        block.dst + begin * block.dst_strides[0], block.dst_strides[0],
        block.src + begin * block.src_strides[0], block.src_strides[0],
        min(piece, block.shape[0] - begin),
    )


cdef bint find_plane(Block* block) noexcept nogil:
    """Whether rows of dst lie across lines of src; then also how the planes are cut."""
    cdef int inner = block.ndim - 1, axis
    cdef Py_ssize_t rows, columns
    if (
        block.turn == NULL or inner < 1 or block.dst_strides[inner] != block.itemsize
        or block.src_strides[inner] == block.itemsize or block.src_strides[inner] == 0
        or block.shape[inner] < THIN
    ):
        return False
    for axis in range(inner - 1, -1, -1):
        if block.src_strides[axis] == block.itemsize and block.shape[axis] >= THIN:
            break
    else:
        return False
    block.across = axis
    rows = min(<Py_ssize_t>TURN_ROWS, block.shape[axis])
    columns = min(<Py_ssize_t>TURN_COLUMNS, block.shape[inner])
    block.row_pieces = (block.shape[axis] + TURN_ROWS - 1) // TURN_ROWS
    block.column_pieces = (block.shape[inner] + TURN_COLUMNS - 1) // TURN_COLUMNS
    block.units = block.size // (block.shape[axis] * block.shape[inner])
    block.units *= block.row_pieces * block.column_pieces
    block.together = max(<Py_ssize_t>1, GRAIN // (rows * columns * block.itemsize))
    return True


cdef void turn_unit(const Block* block, Py_ssize_t unit) noexcept nogil:
    """One piece of one plane."""
    cdef int inner = block.ndim - 1, axis
    cdef Py_ssize_t column = unit % block.column_pieces * TURN_COLUMNS, row, index
    cdef char* dst = block.dst + column * block.itemsize
    cdef const char* src = block.src + column * block.src_strides[inner]
    unit //= block.column_pieces
    row = unit % block.row_pieces * TURN_ROWS
    unit //= block.row_pieces
    dst += row * block.dst_strides[block.across]
    src += row * block.itemsize
    for axis in range(inner - 1, -1, -1):
        if axis != block.across:
            index = unit % block.shape[axis]
            unit //= block.shape[axis]
            dst += index * block.dst_strides[axis]
            src += index * block.src_strides[axis]
    block.turn(
        dst, block.dst_strides[block.across], src, block.src_strides[inner],
        min(<Py_ssize_t>TURN_ROWS, block.shape[block.across] - row),
        min(<Py_ssize_t>TURN_COLUMNS, block.shape[inner] - column),
    )


cdef void turn_job(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Block* block = <Block*>arg
    cdef Py_ssize_t unit
    for unit in range(chunk * block.together, min((chunk + 1) * block.together, block.units)):
        turn_unit(block, unit)


cdef void move_parallel(Block* block, char* dst, const char* src) noexcept nogil:
    """Run the whole nest on all threads. Elements of dst must be distinct."""
    cdef Py_ssize_t n, rows, together, unit
    if block.ndim == 0 or block.size == 0:
        move_block(block, dst, src)
        return
    block.dst = dst
    block.src = src
    if find_plane(block):
        if block.size * block.itemsize <= 2 * GRAIN:
            for unit in range(block.units):
                turn_unit(block, unit)
        else:
            par(turn_job, block, (block.units + block.together - 1) // block.together)
        return
    if block.size * block.itemsize <= 2 * GRAIN:
        move_block(block, dst, src)
        return
    n = block.shape[block.ndim - 1]
    rows = block.size // n
    if block.ndim == 1:
        together = GRAIN // block.itemsize
        par(line_job, block, (n + together - 1) // together)
    else:
        together = max(<Py_ssize_t>1, GRAIN // (n * block.itemsize))
        par(rows_job, block, (rows + together - 1) // together)


cdef void copy_view(View* out, View* x, fold_fn fold) noexcept nogil:
    """All of x into all of out; they have the same shape."""
    cdef Block block
    cdef int axis
    start_block(&block, x.itemsize, fold)
    for axis in range(x.ndim):
        add_axis(&block, x.shape[axis], out.strides[axis], x.strides[axis])
    move_parallel(&block, out.data, x.data)


cdef void place_unit(Placing* job, Py_ssize_t unit) noexcept nogil:
    """Copy one piece, then combine what of the update lies in it."""
    cdef Block part
    cdef Py_ssize_t begin = unit % job.pieces * job.piece
    cdef Py_ssize_t end = min(begin + job.piece, job.shape[job.cut])
    cdef Py_ssize_t outer = unit // job.pieces
    cdef Py_ssize_t at = (outer * job.shape[job.cut] + begin) * job.below
    cdef Py_ssize_t item = job.update.itemsize
    cdef Py_ssize_t low, high, place
    cdef char* dst = job.update.dst
    cdef const char* src = job.update.src
    cdef int axis
    job.copy(
        job.out + at * item, item, job.x + at * job.x_stride, job.x_stride,
        (end - begin) * job.below
    )
    for axis in range(job.cut - 1, -1, -1):
        place = outer % job.shape[axis] - job.first[axis]
        outer //= job.shape[axis]
        if place < 0 or place % job.step[axis] or place // job.step[axis] >= job.update.shape[axis]:
            return
        dst += place // job.step[axis] * job.update.dst_strides[axis]
        src += place // job.step[axis] * job.update.src_strides[axis]
    axis = job.cut
    low = max(<Py_ssize_t>0, (begin - job.first[axis] + job.step[axis] - 1) // job.step[axis])
    high = (end - job.first[axis] + job.step[axis] - 1) // job.step[axis]
    high = min(high, job.update.shape[axis])
    if low >= high:
        return
    start_block(&part, item, job.update.fold)
    add_axis(&part, high - low, job.update.dst_strides[axis], job.update.src_strides[axis])
    dst += low * job.update.dst_strides[axis]
    src += low * job.update.src_strides[axis]
    for axis in range(job.cut + 1, job.ndim):
        add_axis(
            &part, job.update.shape[axis], job.update.dst_strides[axis],
            job.update.src_strides[axis]
        )
    move_block(&part, dst, src)


cdef void place_job(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    place_unit(<Placing*>arg, chunk)


cdef void place(Placing* job) noexcept nogil:
    """Cut the first axis below which there is little."""
    cdef Py_ssize_t outer = 1, unit
    job.cut = 0
    job.below = 1
    for axis in range(1, job.ndim):
        job.below *= job.shape[axis]
    while job.cut < job.ndim - 1 and job.below * job.update.itemsize > GRAIN:
        outer *= job.shape[job.cut]
        job.cut += 1
        job.below //= job.shape[job.cut]
    job.piece = max(<Py_ssize_t>1, GRAIN // (job.below * job.update.itemsize))
    job.pieces = (job.shape[job.cut] + job.piece - 1) // job.piece
    job.units = outer * job.pieces
    if job.units <= 2:
        for unit in range(job.units):
            place_unit(job, unit)
    else:
        par(place_job, job, job.units)
