"""Launchers of gather, scatter, their counterparts along one axis, and blocks put into an array.

Rules: every index is checked, and turned into a byte offset, before its element is touched; chunks
are cut so that no two write the same element, by sizes alone, and duplicate destinations are
combined in the order of the indices.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from mlxc._backends.cpu.blocks cimport (
    GRAIN, MAX_AXES, Block, Placing, add_axis, along_fn, along_of, copy_view, fold_fn, fold_of,
    index_fn, index_of, move_block, move_parallel, offsets_fn, offsets_of, place, rows_fn,
    start_block, take_fn, take_of,
)
from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._threads.pool cimport BRIEF, interrupted, par, raise_if_interrupted, share

from mlxc._table.dtypes import DTYPES

cdef extern from * nogil:
    void prefetch "__builtin_prefetch"(const void*)

cdef enum:
    LINE = 512           # offsets at a time along an axis: 4 KiB on the stack
    BLOCK = 1 << 18      # indices between looks for Ctrl-C
    LOOK = 1 << 12       # blocks of values between such looks
    ALONG_CHUNK = 1 << 14    # elements
    STRIPE = 1 << 19     # bytes of an array whose rows are visited in any order: half a cache
    LINE_BYTES = 64      # of a cache line
    SOON = 4             # rows between asking for one and writing it
    FETCHED = 4096       # bytes of the longest rows that are asked for

cdef rows_fn TAKE_ROWS = <rows_fn>kernel("take_rows")

cdef struct Along:
    # Axes of size 1 are left out, so that the innermost one is long.
    int ndim                                 # at least 1
    int axis                                 # of the operands
    int cut                                  # the axis that chunks divide, or -1
    Py_ssize_t piece                         # of that axis, a chunk
    Py_ssize_t[MAX_AXES] shape               # of the indices
    Py_ssize_t[MAX_AXES] index_strides       # bytes
    Py_ssize_t[MAX_AXES] side_strides        # bytes, of the indexed side; its axis steps by index
    Py_ssize_t[MAX_AXES] value_strides       # bytes
    Py_ssize_t size                          # of the indexed side along axis
    Py_ssize_t step                          # bytes along axis
    along_fn take                            # NULL: combine
    offsets_fn offsets
    index_fn combine
    const char* index
    char* indexed
    char* values
    const char* bad                          # an index that is out of range, or NULL

cdef struct Selection:
    # Elements of one side, x (gather) or the output (scatter), named by leading axes, an index and
    # trailing axes.
    int nlead
    Py_ssize_t[MAX_AXES] lead_shape
    Py_ssize_t[MAX_AXES] lead_strides        # bytes, of the indexed side
    Py_ssize_t[MAX_AXES] value_strides       # bytes, of the values' leading axes
    Py_ssize_t leads                         # product of lead_shape
    Py_ssize_t n                             # indices
    int64_t* offsets                         # n, in bytes into the indexed side; or NULL:
    Along line                               # they follow from one index array as it is read
    Block tail                               # one index's trailing axes
    char* indexed
    char* values
    Py_ssize_t itemsize
    take_fn take
    # scatter: where an index's values start, in bytes
    int64_t* value_offsets
    index_fn combine
    Py_ssize_t value_stride                  # bytes, where indices step evenly through values
    bint even
    Py_ssize_t pieces                        # of the first trailing axis, where it is cut

cdef Py_ssize_t add_offsets(
    View* index, offsets_fn convert, Py_ssize_t size, Py_ssize_t step, int64_t* offsets, bint first
) noexcept nogil:
    """Add an index array's part to the offsets, which the first one begins; the row-major position
    of a bad index, or -1."""
    cdef Py_ssize_t[MAX_AXES] at
    cdef int inner = index.ndim - 1
    cdef int axis
    cdef Py_ssize_t n, bad, count, start, stride, done = 0, looked = 0
    cdef const char* data = index.data
    if index.size == 0:
        return -1
    n = index.shape[inner] if inner >= 0 else 1
    stride = index.strides[inner] if inner >= 0 else 0
    memset(at, 0, sizeof(at))
    while done < index.size:
        start = 0
        while start < n:
            if done + start - looked >= BLOCK:
                if interrupted():
                    return -1
                looked = done + start
            count = min(<Py_ssize_t>BLOCK, n - start)
            if first:
                memset(offsets + done + start, 0, count * sizeof(int64_t))
            bad = convert(
                data + start * stride, stride, count, size, step, offsets + done + start
            )
            if bad >= 0:
                return done + start + bad
            start += count
        done += n
        axis = inner - 1
        while axis >= 0:
            at[axis] += 1
            data += index.strides[axis]
            if at[axis] < index.shape[axis]:
                break
            at[axis] = 0
            data -= index.shape[axis] * index.strides[axis]
            axis -= 1
    return -1


cdef int refuse(str op, View* index, const char* bad, int axis, Py_ssize_t size) except -1:
    """Raise for the index at an address."""
    signed = DTYPES[index.dtype].kind == "i"
    value = int.from_bytes(bad[:index.itemsize], byteorder="little", signed=signed)
    raise IndexError(f"[{op}] index {value} is out of range for axis {axis} with size {size}")


cdef const char* element(View* view, Py_ssize_t position) noexcept nogil:
    """The address of the element at a row-major position."""
    cdef const char* data = view.data
    cdef int d
    for d in range(view.ndim - 1, -1, -1):
        data += position % view.shape[d] * view.strides[d]
        position //= view.shape[d]
    return data


cdef int fill_offsets(
    Selection* job, str op, View* side, View* indices, int count, tuple axes
) except -1:
    """Byte offsets of all indices; IndexError for one that is out of range."""
    cdef offsets_fn convert
    cdef Py_ssize_t bad, size, step
    cdef int k, axis
    for k in range(count):
        axis = axes[k]
        convert = offsets_of(indices + k)
        size, step = side.shape[axis], side.strides[axis]
        with nogil:
            bad = add_offsets(indices + k, convert, size, step, job.offsets, k == 0)
        if bad >= 0:
            refuse(op, indices + k, element(indices + k, bad), axis, size)
        raise_if_interrupted()   # offsets may be missing
    return 0


cdef int split_axes(
    Selection* job, View* side, View* values, View* index, tuple axes, int lead, fold_fn fold,
    bint reading
) except -1:
    """Leading and trailing axes with both sides' strides. In reading, values are written."""
    cdef int axis, position
    cdef int passed = 0
    cdef Py_ssize_t stride
    job.nlead = lead
    job.leads = 1
    job.n = index.size
    job.itemsize = side.itemsize
    start_block(&job.tail, side.itemsize, fold)
    for axis in range(side.ndim):
        if axis in axes:
            continue
        position = passed if passed < lead else passed + index.ndim
        stride = values.strides[position]
        if passed < lead:
            job.lead_shape[passed] = side.shape[axis]
            job.lead_strides[passed] = side.strides[axis]
            job.value_strides[passed] = stride
            job.leads *= side.shape[axis]
        elif reading:
            add_axis(&job.tail, side.shape[axis], stride, side.strides[axis])
        else:
            add_axis(&job.tail, side.shape[axis], side.strides[axis], stride)
        passed += 1
    job.indexed = side.data
    job.values = values.data
    return 0


cdef void lead_offsets(
    Selection* job, Py_ssize_t lead, Py_ssize_t* indexed, Py_ssize_t* value
) noexcept nogil:
    """Byte offsets of one position of the leading axes."""
    cdef Py_ssize_t at
    cdef int axis
    indexed[0] = 0
    value[0] = 0
    for axis in range(job.nlead - 1, -1, -1):
        at = lead % job.lead_shape[axis]
        lead //= job.lead_shape[axis]
        indexed[0] += at * job.lead_strides[axis]
        value[0] += at * job.value_strides[axis]


# ---- along one axis ----

cdef void along_line(
    Along* job, const char* index, char* indexed, char* values, Py_ssize_t n
) noexcept nogil:
    """The innermost axis; what is combined, LINE elements at a time."""
    cdef int64_t[LINE] offsets
    cdef int last = job.ndim - 1
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t ramp = job.side_strides[last]
    cdef Py_ssize_t width = job.value_strides[last]
    cdef Py_ssize_t m, k, bad
    if job.take != NULL:
        bad = job.take(
            indexed, job.step, ramp, index, job.index_strides[last], values, n, job.size
        )
        if bad >= 0:
            job.bad = index + bad * job.index_strides[last]
        return
    while done < n:
        if done % BLOCK == 0 and done and interrupted():
            return
        m = min(<Py_ssize_t>LINE, n - done)
        for k in range(m):
            offsets[k] = ramp * (done + k)
        bad = job.offsets(
            index + done * job.index_strides[last], job.index_strides[last], m, job.size, job.step,
            offsets
        )
        if bad >= 0:
            job.bad = index + (done + bad) * job.index_strides[last]
            return
        job.combine(indexed, offsets, values + done * width, width, m)
        done += m


cdef void along_job(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """All positions whose coordinate on the cut axis lies in the chunk."""
    cdef Along* job = <Along*>arg
    cdef Py_ssize_t[MAX_AXES] at
    cdef Py_ssize_t[MAX_AXES] low
    cdef Py_ssize_t[MAX_AXES] high
    cdef int last = job.ndim - 1
    cdef int axis
    cdef const char* index = job.index
    cdef char* indexed = job.indexed
    cdef char* values = job.values
    cdef Py_ssize_t steps, since = 0         # elements since the last look for Ctrl-C
    cdef bint wraps
    for axis in range(job.ndim):
        low[axis] = chunk * job.piece if axis == job.cut else 0
        high[axis] = job.shape[axis]
        if axis == job.cut:
            high[axis] = min(low[axis] + job.piece, job.shape[axis])
        at[axis] = low[axis]
        index += low[axis] * job.index_strides[axis]
        indexed += low[axis] * job.side_strides[axis]
        values += low[axis] * job.value_strides[axis]
    axis = 0
    while axis >= 0:
        since += high[last] - low[last]
        if since > BLOCK:
            if interrupted():
                return
            since = 0
        along_line(job, index, indexed, values, high[last] - low[last])
        axis = last - 1
        while axis >= 0:
            at[axis] += 1
            wraps = at[axis] == high[axis]
            steps = 1 + low[axis] - high[axis] if wraps else 1
            index += steps * job.index_strides[axis]
            indexed += steps * job.side_strides[axis]
            values += steps * job.value_strides[axis]
            if not wraps:
                break
            at[axis] = low[axis]
            axis -= 1


cdef void start_along(Along* job, View* side, View* index, int axis, char* values) noexcept nogil:
    """No axes yet; ``axis`` is the one of ``side`` that indices step along."""
    job.ndim = 0
    job.axis = axis
    job.cut = -1
    job.piece = 0
    job.bad = NULL
    job.size = side.shape[axis]
    job.step = side.strides[axis]
    job.index = index.data
    job.indexed = side.data
    job.values = values


cdef void add_along(
    Along* job, Py_ssize_t size, Py_ssize_t index, Py_ssize_t value, Py_ssize_t side, bint cuttable
) noexcept nogil:
    """Nest one more loop inside, given its strides; those that continue each other become one. The
    longest of those that may be cut is."""
    cdef int last = job.ndim - 1
    if size == 1:
        return
    if (
        last >= 0 and job.index_strides[last] == index * size
        and job.value_strides[last] == value * size and job.side_strides[last] == side * size
    ):
        job.shape[last] *= size
    else:
        last += 1
        job.ndim += 1
        job.shape[last] = size
    job.index_strides[last] = index
    job.value_strides[last] = value
    job.side_strides[last] = side
    if cuttable and (job.cut < 0 or job.shape[last] > job.shape[job.cut]):
        job.cut = last


cdef void end_along(Along* job, Py_ssize_t itemsize) noexcept nogil:
    """At least one axis. Where rows of many are visited in any order, few columns at a time."""
    cdef int last
    cdef Py_ssize_t stripe
    if job.ndim == 0:
        job.ndim = 1
        job.shape[0] = 1
        job.index_strides[0] = job.value_strides[0] = job.side_strides[0] = 0
    last = job.ndim - 1
    if job.size and job.side_strides[last] == itemsize and job.step > itemsize:
        stripe = max(<Py_ssize_t>1, STRIPE // (job.size * LINE_BYTES)) * LINE_BYTES // itemsize
        if 2 * stripe <= job.shape[last]:
            job.cut = last
            job.piece = stripe


cdef int along_axes(
    Along* job, View* side, View* index, View* values, int axis, bint reading
) except -1:
    """The operands of take_along_axis and put_along_axis, whose updates may meet along the axis."""
    cdef int d
    start_along(job, side, index, axis, values.data)
    for d in range(index.ndim):
        add_along(
            job, index.shape[d], index.strides[d], values.strides[d],
            0 if d == axis else side.strides[d], reading or d != axis
        )
    end_along(job, side.itemsize)
    return 0


cdef int run_along(Along* job, str op, View* index) except -1:
    cdef Py_ssize_t chunks = 1, count = 1
    cdef int d
    for d in range(job.ndim):
        count *= job.shape[d]
    if count == 0:
        return 0
    if job.cut >= 0:
        if job.piece == 0:
            job.piece = max(<Py_ssize_t>1, ALONG_CHUNK * job.shape[job.cut] // count)
        chunks = (job.shape[job.cut] + job.piece - 1) // job.piece
    share(along_job, job, chunks, index.size)
    if job.bad != NULL:
        refuse(op, index, job.bad, job.axis, job.size)
    return 0


# ---- gather ----

cdef inline Py_ssize_t gather_units(Selection* job) noexcept nogil:
    """How many (leading position, index) pairs a chunk takes."""
    return max(<Py_ssize_t>1, GRAIN // (job.tail.size * job.itemsize))


cdef void gather_run(
    Selection* job, const char* src, const int64_t* offsets, char* out, Py_ssize_t n
) noexcept nogil:
    """What some indices name, one after the other."""
    cdef Py_ssize_t row = job.tail.size * job.itemsize
    cdef Py_ssize_t k
    if job.tail.ndim == 0:
        job.take(src, offsets, out, n)
    elif job.tail.ndim == 1 and job.tail.src_strides[0] == job.itemsize:
        TAKE_ROWS(src, offsets, out, row, n)
    else:
        for k in range(n):
            move_block(&job.tail, out + k * row, src + offsets[k])


cdef void gather_job(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A run of pairs, which lie one after the other in the output."""
    cdef Selection* job = <Selection*>arg
    cdef Py_ssize_t together = gather_units(job)
    cdef Py_ssize_t unit = chunk * together
    cdef Py_ssize_t end = min(unit + together, job.leads * job.n)
    cdef Py_ssize_t row = job.tail.size * job.itemsize
    cdef Py_ssize_t first, count, base, ignored, bad
    cdef int64_t[LINE] offsets
    cdef const char* index
    cdef char* out
    while unit < end:
        first = unit % job.n
        count = min(job.n - first, end - unit)
        lead_offsets(job, unit // job.n, &base, &ignored)
        out = job.values + unit * row
        if job.offsets != NULL:
            gather_run(job, job.indexed + base, job.offsets + first, out, count)
        else:
            count = min(<Py_ssize_t>LINE, count)
            memset(offsets, 0, count * sizeof(int64_t))
            index = job.line.index + first * job.line.index_strides[0]
            bad = job.line.offsets(
                index, job.line.index_strides[0], count, job.line.size, job.line.step, offsets
            )
            if bad >= 0:
                job.line.bad = index + bad * job.line.index_strides[0]
                return
            gather_run(job, job.indexed + base, offsets, out, count)
        unit += count


cdef int gather_elements(
    const Selection* each, View* x, View* index, View* out, int axis
) except -1:
    """One index array that names single elements: a line at a time, without offsets."""
    cdef Along job
    cdef int d
    start_along(&job, x, index, axis, out.data)
    for d in range(each.nlead):
        add_along(&job, each.lead_shape[d], 0, each.value_strides[d], each.lead_strides[d], True)
    for d in range(index.ndim):
        add_along(&job, index.shape[d], index.strides[d], out.strides[each.nlead + d], 0, True)
    end_along(&job, x.itemsize)
    job.take = along_of(index, out)
    return run_along(&job, "take", index)


cdef void run_gather(Selection* job) noexcept nogil:
    cdef Py_ssize_t together = gather_units(job)
    par(gather_job, job, (job.leads * job.n + together - 1) // together)


cdef int launch_gather(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Selection job
    cdef Py_ssize_t nbytes = max(<Py_ssize_t>1, ins[1].size) * sizeof(int64_t)
    cdef fold_fn fold = fold_of("none", outs)
    cdef tuple axes = params[0]
    cdef int lead = params[1]
    split_axes(&job, ins, outs, ins + 1, axes, lead, fold, True)
    if nin == 2 and job.tail.size == 1 and outs[0].size:
        return gather_elements(&job, ins, ins + 1, outs, axes[0])
    job.take = take_of(outs)
    if nin == 2 and outs[0].size and one_line(&job.line, ins, ins + 1, axes[0]):
        job.offsets = NULL
        if outs[0].size < BRIEF:
            run_gather(&job)
        else:
            with nogil:
                run_gather(&job)
        if job.line.bad != NULL:
            refuse("take", ins + 1, job.line.bad, axes[0], job.line.size)
        return 0
    job.offsets = <int64_t*>scratch_alloc(nbytes)
    if job.offsets == NULL:
        raise MemoryError(f"[take] no memory for the offsets of {job.n} indices")
    try:
        fill_offsets(&job, "take", ins, ins + 1, nin - 1, axes)
        with nogil:
            if outs[0].size > 0:
                run_gather(&job)
    finally:
        scratch_free(<char*>job.offsets, nbytes)
    return 0


cdef bint one_line(Along* line, View* x, View* index, int axis) except -1:
    """Whether one stride leads from index to index in row-major order; then also ``line``."""
    cdef int d
    start_along(line, x, index, axis, NULL)
    for d in range(index.ndim):
        add_along(line, index.shape[d], index.strides[d], 0, 0, False)
    end_along(line, x.itemsize)
    line.offsets = offsets_of(index)
    return line.ndim == 1


# ---- scatter ----

cdef inline void fetch_ahead(
    const Selection* job, const Block* tail, const char* dst, Py_ssize_t k
) noexcept nogil:
    """Ask for the rows that are written soon: which ones, no processor guesses."""
    cdef Py_ssize_t row = tail.size * job.itemsize, b
    if k + SOON < job.n and row <= FETCHED and tail.ndim == 1:
        for b in range((row + LINE_BYTES - 1) // LINE_BYTES):
            prefetch(dst + job.offsets[k + SOON] + b * LINE_BYTES)


cdef void scatter_lead(
    Selection* job, Py_ssize_t lead, const Block* tail, Py_ssize_t begin
) noexcept nogil:
    """All indices of one leading position, in order; tail may be a part of the trailing axes."""
    cdef Py_ssize_t base, value, k
    cdef char* dst
    cdef const char* src
    lead_offsets(job, lead, &base, &value)
    dst = job.indexed + base
    src = job.values + value
    if tail.ndim > 0 and begin > 0:
        dst += begin * tail.dst_strides[0]
        src += begin * tail.src_strides[0]
    if tail.ndim == 0 and job.even:
        k = 0
        while k < job.n and not (k and interrupted()):
            job.combine(dst, job.offsets + k, src + k * job.value_stride, job.value_stride,
                        min(<Py_ssize_t>BLOCK, job.n - k))
            k += BLOCK
    else:
        for k in range(job.n):
            if k % LOOK == LOOK - 1 and interrupted():
                return
            fetch_ahead(job, tail, dst, k)
            if tail.ndim == 1:
                tail.fold(dst + job.offsets[k], tail.dst_strides[0], src + job.value_offsets[k],
                          tail.src_strides[0], tail.shape[0])
            else:
                move_block(tail, dst + job.offsets[k], src + job.value_offsets[k])


cdef inline Py_ssize_t leads_together(Selection* job) noexcept nogil:
    """How many leading positions a chunk takes."""
    return max(<Py_ssize_t>1, GRAIN // (job.n * job.tail.size * job.itemsize))


cdef void scatter_leads_job(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Selection* job = <Selection*>arg
    cdef Py_ssize_t together = leads_together(job)
    cdef Py_ssize_t lead
    for lead in range(chunk * together, min((chunk + 1) * together, job.leads)):
        scatter_lead(job, lead, &job.tail, 0)


cdef void scatter_pieces_job(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """All indices of all leading positions for a part of the first trailing axis."""
    cdef Selection* job = <Selection*>arg
    cdef Block part = job.tail
    cdef Py_ssize_t whole = job.tail.shape[0]
    cdef Py_ssize_t begin = whole * chunk // job.pieces
    cdef Py_ssize_t lead
    part.shape[0] = whole * (chunk + 1) // job.pieces - begin
    part.size = job.tail.size // whole * part.shape[0]
    for lead in range(job.leads):
        scatter_lead(job, lead, &part, begin)


cdef void step_evenly(Selection* job, View* index, const Py_ssize_t* strides) noexcept nogil:
    """Where each index's values start; evenly, if one stride says it."""
    cdef Block order
    cdef Py_ssize_t[MAX_AXES] at
    cdef Py_ssize_t offset = 0
    cdef Py_ssize_t k
    cdef int axis
    start_block(&order, 1, NULL)
    for axis in range(index.ndim):
        add_axis(&order, index.shape[axis], strides[axis], strides[axis])
    job.even = order.ndim <= 1
    job.value_stride = order.src_strides[0] if order.ndim else 0
    memset(at, 0, sizeof(at))
    for k in range(job.n):
        if k % BLOCK == BLOCK - 1 and interrupted():
            return
        job.value_offsets[k] = offset
        axis = order.ndim - 1
        while axis >= 0:
            at[axis] += 1
            offset += order.src_strides[axis]
            if at[axis] < order.shape[axis]:
                break
            at[axis] = 0
            offset -= order.shape[axis] * order.src_strides[axis]
            axis -= 1


cdef void run_scatter(Selection* job) noexcept nogil:
    """Chunks are leading positions or parts of the trailing axes, never indices, which may meet."""
    cdef Py_ssize_t nbytes = job.n * job.tail.size * job.itemsize
    cdef Py_ssize_t lead, row
    if job.leads == 0 or job.n == 0 or job.tail.size == 0:
        return
    if job.leads * nbytes <= 2 * GRAIN:
        for lead in range(job.leads):
            scatter_lead(job, lead, &job.tail, 0)
    elif job.leads >= 16 or job.tail.ndim == 0:
        lead = leads_together(job)
        par(scatter_leads_job, job, (job.leads + lead - 1) // lead)
    else:
        row = job.tail.size * job.itemsize    # in pieces of 512 bytes, at least two if they are 128
        job.pieces = max(min(<Py_ssize_t>64, row // 512), min(<Py_ssize_t>2, row // 128))
        job.pieces = min(job.tail.shape[0], max(<Py_ssize_t>1, job.pieces))
        par(scatter_pieces_job, job, job.pieces)


cdef int scatter_elements(
    const Selection* each, View* out, View* values, View* index, int axis
) except -1:
    """One index array that names single elements: a line at a time, in order."""
    cdef Along job
    cdef int d
    start_along(&job, out, index, axis, values.data)
    for d in range(each.nlead):
        add_along(&job, each.lead_shape[d], 0, each.value_strides[d], each.lead_strides[d], True)
    for d in range(index.ndim):
        add_along(&job, index.shape[d], index.strides[d], values.strides[each.nlead + d], 0, False)
    end_along(&job, out.itemsize)
    job.take = NULL
    job.combine = each.combine
    job.offsets = offsets_of(index)
    return run_along(&job, "scatter", index)


cdef int launch_scatter(View* ins, int nin, View* outs, int nout, object params) except -1:
    """A copy of x, then updates (leading axes, indices, trailing axes) combined in order."""
    cdef Selection job
    cdef Py_ssize_t count = max(<Py_ssize_t>1, ins[2].size)
    cdef Py_ssize_t nbytes = 2 * count * sizeof(int64_t)
    cdef str mode = params[2]
    cdef fold_fn copy = fold_of("none", outs)
    cdef fold_fn fold = fold_of(mode, outs)
    cdef tuple axes = params[0]
    cdef int lead = params[1]
    split_axes(&job, outs, ins + 1, ins + 2, axes, lead, fold, False)
    job.combine = index_of(mode, outs)
    if nin == 3 and job.tail.size == 1 and outs[0].size:
        with nogil:
            copy_view(outs, ins, copy)
        return scatter_elements(&job, outs, ins + 1, ins + 2, axes[0])
    job.offsets = <int64_t*>scratch_alloc(nbytes)
    if job.offsets == NULL:
        raise MemoryError(f"[scatter] no memory for the offsets of {job.n} indices")
    job.value_offsets = job.offsets + count
    try:
        fill_offsets(&job, "scatter", outs, ins + 2, nin - 2, axes)
        with nogil:
            copy_view(outs, ins, copy)
            step_evenly(&job, ins + 2, ins[1].strides + lead)
            run_scatter(&job)
    finally:
        scratch_free(<char*>job.offsets, nbytes)
    return 0


# ---- take_along_axis and put_along_axis ----

cdef int launch_take_along_axis(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Along job
    cdef int axis = params[0]
    along_axes(&job, ins, ins + 1, outs, axis, True)
    job.take = along_of(ins + 1, outs)
    return run_along(&job, "take_along_axis", ins + 1)


cdef int launch_put_along_axis(View* ins, int nin, View* outs, int nout, object params) except -1:
    """A copy of x, then updates combined in order; operands are x, updates, indices."""
    cdef Along job
    cdef fold_fn copy = fold_of("none", outs)
    cdef int axis = params[0]
    along_axes(&job, outs, ins + 2, ins + 1, axis, False)
    job.take = NULL
    job.offsets = offsets_of(ins + 2)
    job.combine = index_of(params[1], outs)
    with nogil:
        copy_view(outs, ins, copy)
    return run_along(&job, "put_along_axis", ins + 2)


# ---- blocks ----


cdef void join(const View* ins, int nin, const View* out, int axis, fold_fn fold) noexcept nogil:
    """Each operand is a block of the output."""
    cdef int d, k
    cdef Block block
    cdef char* into = out.data
    for k in range(nin):
        start_block(&block, out.itemsize, fold)
        for d in range(ins[k].ndim):
            add_axis(&block, ins[k].shape[d], out.strides[d], ins[k].strides[d])
        move_parallel(&block, into, ins[k].data)
        into += ins[k].shape[axis] * out.strides[axis]


cdef int launch_concatenate(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef int axis = params[0]
    cdef fold_fn fold = fold_of("none", outs)
    if outs[0].size < BRIEF:
        join(ins, nin, outs, axis, fold)
    else:
        with nogil:
            join(ins, nin, outs, axis, fold)
    return 0


cdef int launch_slice_update(View* ins, int nin, View* outs, int nout, object params) except -1:
    """A copy of x, unless it stands there already; then the update combined into the slice."""
    cdef fold_fn copy = fold_of("none", outs)
    cdef fold_fn fold = fold_of(params[3], outs)
    cdef Placing job
    cdef Block block
    cdef Block line
    cdef Py_ssize_t first, step, count, stride
    cdef int axis
    cdef bint whole = params[3] == "none" and ins[1].size == outs[0].size
    job.ndim = ins[0].ndim
    job.update.itemsize = outs[0].itemsize
    job.update.fold = fold
    job.update.dst = outs[0].data
    job.update.src = ins[1].data
    start_block(&block, outs[0].itemsize, fold)
    start_block(&line, outs[0].itemsize, copy)
    for axis in range(job.ndim):
        first, step, count = params[0][axis], params[2][axis], ins[1].shape[axis]
        stride = ins[1].strides[axis]
        if step < 0 and count > 0:
            first += (count - 1) * step
            job.update.src += (count - 1) * stride
            step, stride = -step, -stride
        if ins[1].size:
            job.update.dst += first * outs[0].strides[axis]
        job.shape[axis] = outs[0].shape[axis]
        job.first[axis] = first
        job.step[axis] = step
        job.update.shape[axis] = count
        job.update.dst_strides[axis] = step * outs[0].strides[axis]
        job.update.src_strides[axis] = stride
        add_axis(&block, count, job.update.dst_strides[axis], stride)
        add_axis(&line, ins[0].shape[axis], outs[0].strides[axis], ins[0].strides[axis])
    with nogil:
        if outs[0].data != ins[0].data and not whole and ins[1].size and line.ndim == 1:
            job.copy = copy
            job.x = ins[0].data
            job.x_stride = line.src_strides[0]
            job.out = outs[0].data
            place(&job)
            return 0
        if not whole and outs[0].data != ins[0].data:
            copy_view(outs, ins, copy)
        move_parallel(&block, job.update.dst, job.update.src)
    return 0


register_launcher("gather", launch_gather)
register_launcher("scatter", launch_scatter)
register_launcher("take_along_axis", launch_take_along_axis)
register_launcher("put_along_axis", launch_put_along_axis)
register_launcher("concatenate", launch_concatenate)
register_launcher("slice_update", launch_slice_update)
