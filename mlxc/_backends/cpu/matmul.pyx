"""Launchers of matrix products: views to products, batches to the pool.

Rules: how work is split follows from sizes alone. A batch of small products is spread over the pool
item by item, each worker with its own scratch; a large product is spread by the units of its
kernels. Operands are never copied: the kernels read any strides, and a batch stride of 0 is a
broadcast operand.
"""

from libc.string cimport memset
from libc.stdint cimport int64_t

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.product cimport (
    BRAIN, HALF, OWN, SMALL_COLUMNS, SMALL_DEEP, SMALL_ROWS, Product, advance_fn, plan_fn,
    small_fn,
)
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._table.dtypes import CODE, DTYPES
from mlxc._threads.pool cimport interrupted, job_fn, par, thread_count

cdef enum:
    ALONE = 1 << 17     # multiply-adds of a product that is not worth waking a thread for
    SMALL = 1 << 21     # of a product whose batch is spread item by item
    MIDDLE = 1 << 26    # the same, where the batch has many items
    MANY = 16

cdef int FLOAT16 = CODE["float16"], BFLOAT16 = CODE["bfloat16"]

# Compute types that have kernels, and the one that each dtype's products run in (-1: none).
# Unsigned products are signed ones modulo a power of two.
cdef tuple WORDS = ("f32", "f64", "i32", "i64", "c64")
cdef Family[5] FAMILIES
cdef bint[5] RESOLVED
cdef int[32] WORD_OF
memset(RESOLVED, 0, sizeof(RESOLVED))
memset(FAMILIES, 0, sizeof(FAMILIES))

_SIGNED = {"u32": "i32", "u64": "i64"}
for _code, _fact in enumerate(DTYPES):
    _word = _SIGNED.get(_fact.compute, _fact.compute)
    _whole = _fact.size >= 4 or _fact.kind == "f"
    WORD_OF[_code] = WORDS.index(_word) if _whole and _word in WORDS else -1


cdef Family* family(str op, int dtype) except NULL:
    cdef int which = WORD_OF[dtype]
    cdef Family* f
    if which < 0:
        raise TypeError(
            f"[{op}] there are no products of {DTYPES[dtype].name}; convert the operands to int32 "
            "or float32 first."
        )
    f = &FAMILIES[which]
    if not RESOLVED[which]:
        word = WORDS[which]
        if word == "c64":
            f.whole = <job_fn>kernel("matmul_c64")
        else:
            f.plan = <plan_fn>kernel("matmul_plan_" + word)
            f.advance = <advance_fn>kernel("matmul_advance_" + word)
            f.pack = <job_fn>kernel("matmul_pack_" + word)
            f.tile = <job_fn>kernel("matmul_tile_" + word)
            f.skinny = <job_fn>kernel("matmul_skinny_" + word)
            f.gather = <job_fn>kernel("matmul_gather_" + word)
            f.small = <small_fn>kernel("matmul_small_" + word)
        RESOLVED[which] = True
    return f


cdef int form_of(int dtype) noexcept nogil:
    return HALF if dtype == FLOAT16 else BRAIN if dtype == BFLOAT16 else OWN


cdef inline void run_units(job_fn job, Product* g, Py_ssize_t units, bint alone) noexcept nogil:
    cdef Py_ssize_t unit
    if alone or units == 1:
        for unit in range(units):
            if unit and interrupted():
                return
            job(g, unit, 0)
    else:
        par(job, g, units)


cdef void run_product(Product* g, const Family* f) noexcept nogil:
    cdef bint tiny = <double>g.m * g.n * g.k < ALONE
    cdef bint alone = g.workers == 1 or tiny
    if f.whole != NULL:
        run_units(f.whole, g, (g.m + 3) // 4 * ((g.n + 255) // 256), alone)
    elif g.skinny:
        run_units(f.skinny, g, g.skinny_units, alone)
        if g.parts > 1:
            run_units(f.gather, g, g.m, True)
    else:
        while f.advance(g):
            run_units(f.pack, g, g.pack_units, alone)
            run_units(f.tile, g, g.tile_units, alone)
            if not tiny and interrupted():
                return
        if g.parts > 1:
            run_units(f.gather, g, g.m, g.workers == 1 or g.parts * g.m * g.n < ALONE)


# Products that share everything but where their operands start (and, for segments, the inner size).
cdef struct Batch:
    Product like
    Product planned             # for one of the inner sizes
    const Family* f
    Py_ssize_t count
    bint small                  # whether the kernel of small products takes them
    Py_ssize_t together         # items of one chunk
    Py_ssize_t* at              # bytes from the start of a, b, c and out, and k: five an item
    char* scratch
    Py_ssize_t scratch_bytes    # a worker


cdef void place(const Batch* batch, Product* g, Py_ssize_t item) noexcept nogil:
    """Make a planned product that of an item."""
    cdef const Py_ssize_t* at = batch.at + 5 * item
    cdef const Product* like = &batch.like
    cdef char* scratch = g.scratch
    cdef bint first
    if at[4] != g.k:
        g[0] = like[0]
        g.scratch = scratch
        g.k = at[4]
        if batch.f.plan != NULL:
            batch.f.plan(g)
    first = not g.swapped
    g.a = like.a + at[0] if first else like.b + at[1]
    g.b = like.b + at[1] if first else like.a + at[0]
    if like.c != NULL:
        g.c = like.c + at[2]
    g.out = like.out + at[3]
    g.started = False


cdef void run_items(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Batch* batch = <Batch*>arg
    cdef Product g
    cdef Py_ssize_t first = chunk * batch.together
    cdef Py_ssize_t end = min(batch.count, first + batch.together), item
    if batch.small:
        batch.f.small(&batch.like, batch.at + 5 * first, end - first)
        return
    g = batch.planned
    g.scratch = batch.scratch + worker * batch.scratch_bytes
    for item in range(first, end):
        place(batch, &g, item)
        run_product(&g, batch.f)


cdef int run_batch(Batch* batch) except -1:
    """Plan, get scratch, and run all items; like.k is the largest inner size of any item."""
    cdef Product* g = &batch.planned
    cdef Py_ssize_t item, bytes_
    cdef double work = <double>batch.like.m * batch.like.n * batch.like.k
    cdef bint spread = batch.count > 1 and (
        work <= SMALL or (work <= MIDDLE and batch.count >= MANY)
    )
    batch.like.workers = 1 if spread else thread_count()
    batch.scratch_bytes = 0
    g[0] = batch.like
    batch.small = batch.f.small != NULL and batch.count > 1 and (
        g.m <= SMALL_ROWS and g.n <= SMALL_COLUMNS and g.k <= SMALL_DEEP
    )
    for item in range(0 if batch.small or batch.f.plan == NULL else batch.count):
        if item == 0 or batch.at[5 * item + 4] != g.k:
            g[0] = batch.like
            g.k = batch.at[5 * item + 4]
            batch.f.plan(g)
            batch.scratch_bytes = max(batch.scratch_bytes, (g.scratch_bytes + 63) // 64 * 64)
    batch.together = max(1, <Py_ssize_t>(ALONE / (work + 256))) if spread else batch.count
    bytes_ = batch.scratch_bytes * (thread_count() if spread else 1)
    batch.scratch = NULL
    if bytes_ > 0:
        batch.scratch = scratch_alloc(bytes_)
        if batch.scratch == NULL:
            raise MemoryError(f"[matmul] no memory for {bytes_} bytes of scratch.")
    with nogil:
        if spread:
            par(run_items, batch, (batch.count + batch.together - 1) // batch.together)
        else:
            run_items(batch, 0, 0)
    if bytes_ > 0:
        scratch_free(batch.scratch, bytes_)
    return 0


cdef Py_ssize_t* new_places(Py_ssize_t count) except NULL:
    """Room for the places of count items; freed by scratch_free(..., 40 * count)."""
    cdef char* at = scratch_alloc(40 * count)
    if at == NULL:
        raise MemoryError(f"[matmul] no memory for the places of {count} products.")
    return <Py_ssize_t*>at


cdef const char* end_of(const View* v) noexcept nogil:
    """Where the memory ends that a view's elements lie in."""
    cdef const char* end = v.data
    cdef int axis
    if v.size == 0:
        return end
    for axis in range(v.ndim):
        end += max(0, (v.shape[axis] - 1) * v.strides[axis])
    return end + v.itemsize


cdef void set_product(Product* g, View* a, View* b, View* c, View* out) noexcept nogil:
    """Pointers, formats and the strides of the last two axes; c may be NULL."""
    memset(g, 0, sizeof(Product))
    g.m, g.n = out.shape[out.ndim - 2], out.shape[out.ndim - 1]
    g.k = a.shape[a.ndim - 1]
    g.a, g.a_form = a.data, form_of(a.dtype)
    g.a_row, g.a_col = a.strides[a.ndim - 2], a.strides[a.ndim - 1]
    g.b, g.b_form = b.data, form_of(b.dtype)
    g.b_row, g.b_col = b.strides[b.ndim - 2], b.strides[b.ndim - 1]
    if c != NULL:
        g.c, g.c_form = c.data, form_of(c.dtype)
        g.c_row, g.c_col = c.strides[c.ndim - 2], c.strides[c.ndim - 1]
    g.out, g.out_form = out.data, form_of(out.dtype)
    g.out_row, g.out_col = out.strides[out.ndim - 2], out.strides[out.ndim - 1]
    g.a_end, g.b_end = end_of(a), end_of(b)
    g.alpha = g.beta = 1


cdef Py_ssize_t offset_of(const View* v, Py_ssize_t item) noexcept nogil:
    """Bytes to matrix number `item` of a view, counting over its leading axes row by row."""
    cdef Py_ssize_t at = 0
    cdef int axis
    for axis in range(v.ndim - 3, -1, -1):
        at += item % v.shape[axis] * v.strides[axis]
        item //= v.shape[axis]
    return at


cdef void note_places(const View* v, Py_ssize_t count, Py_ssize_t* at) noexcept nogil:
    """Offsets of the first `count` matrices of a view, to every fifth place."""
    cdef Py_ssize_t inner = 1, step = 0, first = 0, start, i
    if v.ndim > 2:
        inner, step = v.shape[v.ndim - 3], v.strides[v.ndim - 3]
    while first < count:
        start = offset_of(v, first)
        for i in range(min(inner, count - first)):
            at[5 * (first + i)] = start + i * step
        first += inner


cdef bint is_shared(const View* v) noexcept nogil:
    """Whether all matrices of a view are the same one."""
    cdef int axis
    for axis in range(v.ndim - 2):
        if v.shape[axis] != 1 and v.strides[axis] != 0:
            return False
    return True


cdef bint is_one_stack(const View* v, Py_ssize_t* row) noexcept nogil:
    """Whether the matrices of a view lie under one another with one row stride, which is stored."""
    cdef Py_ssize_t step = v.strides[v.ndim - 2], rows = v.shape[v.ndim - 2]
    cdef int axis
    for axis in range(v.ndim - 3, -1, -1):
        if v.shape[axis] == 1:
            continue
        if rows == 1:
            step = v.strides[axis]
        elif v.strides[axis] != step * rows:
            return False
        rows *= v.shape[axis]
    row[0] = step
    return True


cdef int multiply(View* a, View* b, View* c, View* out, double alpha, double beta) except -1:
    """out = alpha * a @ b + beta * c, all of equal batch shape; c may be NULL."""
    cdef Batch batch
    cdef Py_ssize_t item, a_row, c_row = 0, matrix = 1
    cdef Py_ssize_t[5] one
    cdef Product* g = &batch.like
    if out.size == 0:
        return 0
    batch.f = family("matmul", out.dtype)
    set_product(g, a, b, c, out)
    g.alpha, g.beta = alpha, beta
    if beta == 0:
        g.c = NULL
    matrix = g.m * g.n * out.itemsize
    batch.count = out.size // (g.m * g.n)
    if batch.count > 1 and is_shared(b) and is_one_stack(a, &a_row) and (
        g.c == NULL or is_one_stack(c, &c_row) or (is_shared(c) and g.c_row == 0)
    ):  # one b for all: a single taller product
        g.m *= batch.count
        g.a_row, g.c_row = a_row, c_row
        g.out_row = g.n * out.itemsize
        batch.count = 1
    batch.at = &one[0]
    if batch.count > 1:
        batch.at = new_places(batch.count)
    note_places(a, batch.count, batch.at)
    note_places(b, batch.count, batch.at + 1)
    if c != NULL:
        note_places(c, batch.count, batch.at + 2)
    for item in range(batch.count):
        batch.at[5 * item + 3] = item * matrix
        batch.at[5 * item + 4] = g.k
    try:
        run_batch(&batch)
    finally:
        if batch.count > 1:
            scratch_free(<char*>batch.at, 40 * batch.count)
    return 0


cdef int launch_matmul(View* ins, int nin, View* outs, int nout, object params) except -1:
    return multiply(&ins[0], &ins[1], NULL, &outs[0], 1, 0)


cdef int launch_addmm(View* ins, int nin, View* outs, int nout, object params) except -1:
    alpha, beta = params
    return multiply(&ins[1], &ins[2], &ins[0], &outs[0], alpha, beta)


cdef int64_t index_at(const View* v, Py_ssize_t item) noexcept nogil:
    """Element number `item`, counted row by row, of an int64 view."""
    cdef Py_ssize_t at = 0
    cdef int axis
    for axis in range(v.ndim - 1, -1, -1):
        at += item % v.shape[axis] * v.strides[axis]
        item //= v.shape[axis]
    return (<int64_t*>(v.data + at))[0]


cdef int launch_gather_mm(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: a (p, m, k), b (q, k, n), and for each product which a and which b, int64."""
    cdef View* out = &outs[0]
    cdef Batch batch
    cdef Py_ssize_t item, matrix
    cdef int64_t left, right
    if out.size == 0:
        return 0
    batch.f = family("gather_mm", out.dtype)
    set_product(&batch.like, &ins[0], &ins[1], NULL, out)
    matrix = batch.like.m * batch.like.n
    batch.count = out.size // matrix
    batch.at = new_places(batch.count)
    try:
        for item in range(batch.count):
            left, right = index_at(&ins[2], item), index_at(&ins[3], item)
            if not 0 <= left < ins[0].shape[0] or not 0 <= right < ins[1].shape[0]:
                raise IndexError(
                    f"[gather_mm] indices ({left}, {right}) at position {item} are out of bounds: "
                    f"there are {ins[0].shape[0]} matrices in a and {ins[1].shape[0]} in b."
                )
            batch.at[5 * item] = left * ins[0].strides[0]
            batch.at[5 * item + 1] = right * ins[1].strides[0]
            batch.at[5 * item + 2] = 0
            batch.at[5 * item + 3] = item * matrix * out.itemsize
            batch.at[5 * item + 4] = batch.like.k
        run_batch(&batch)
    finally:
        scratch_free(<char*>batch.at, 40 * batch.count)
    return 0


cdef int launch_segmented_mm(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: a (m, k), b (k, n), segments (..., 2) int64: from and to along k."""
    cdef View* out = &outs[0]
    cdef Batch batch
    cdef Product* g = &batch.like
    cdef Py_ssize_t item, k, longest = 0
    cdef int64_t start, stop
    if out.size == 0:
        return 0
    batch.f = family("segmented_mm", out.dtype)
    set_product(g, &ins[0], &ins[1], NULL, out)
    k = g.k
    batch.count = out.size // (g.m * g.n)
    batch.at = new_places(batch.count)
    try:
        for item in range(batch.count):
            start, stop = index_at(&ins[2], 2 * item), index_at(&ins[2], 2 * item + 1)
            if start >= stop:  # an empty segment, wherever it lies
                start = stop = 0
            if start < 0 or stop > k:
                raise IndexError(
                    f"[segmented_mm] segment {item} is [{start}, {stop}), beyond the inner axis of "
                    f"{k}."
                )
            longest = max(longest, stop - start)
            batch.at[5 * item] = start * g.a_col
            batch.at[5 * item + 1] = start * g.b_row
            batch.at[5 * item + 2] = 0
            batch.at[5 * item + 3] = item * g.m * g.n * out.itemsize
            batch.at[5 * item + 4] = stop - start
        g.k = longest
        run_batch(&batch)
    finally:
        scratch_free(<char*>batch.at, 40 * batch.count)
    return 0


register_launcher("matmul", launch_matmul)
register_launcher("addmm", launch_addmm)
register_launcher("gather_mm", launch_gather_mm)
register_launcher("segmented_mm", launch_segmented_mm)
