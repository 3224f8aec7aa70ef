"""Launchers of factorisations and solvers that have kernels of our own; lapack.py has the rest.

Rules: how work is split follows from sizes alone. Batches of small matrices are spread over the
pool matrix by matrix, each worker with its own scratch; large matrices follow each other, and their
products are spread. Input that has no answer (singular, not positive definite) raises
``numpy.linalg.LinAlgError``, which is a ``ValueError``.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memset

from numpy.linalg import LinAlgError

from mlxc._backends.cpu.kernels cimport kernel, kernel_or_null
from mlxc._backends.cpu.matmul cimport Family, family, offset_of, run_product
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.factor cimport (
    FEW, LANES, SIDES, Few, System, Tools, few_fn, room_fn, solve_fn, turn_fn,
)
from mlxc._kernels.product cimport Product
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._threads.pool cimport interrupted, par, thread_count

cdef enum:
    ALONE = 1 << 21      # multiply-adds of a product that one thread computes
    SMALL = 1 << 21      # multiply-adds of a matrix whose batch is spread matrix by matrix
    MIDDLE = 1 << 26     # the same, where the batch has many
    MANY = 16
    SOME = 4             # small matrices that are worth being computed side by side
    CHUNK = 1 << 17      # multiply-adds that are worth waking a thread for

cdef str SINGULAR = "the matrix is singular; it must be invertible"

cdef struct Batch:
    System like
    Tools tools
    solve_fn solve
    few_fn few                  # NULL: matrices are not small
    const View* a
    const View* b               # NULL: there is none
    Py_ssize_t count, together  # matrices; of a chunk
    Py_ssize_t out_bytes, more_bytes, order_size  # a matrix
    Py_ssize_t work_bytes       # a worker
    int short_of_memory, unsolved


cdef void multiply(Product* g, const Tools* tools) noexcept nogil:
    cdef const Family* f = <const Family*>tools.family
    g.workers = tools.workers if <double>g.m * g.n * g.k >= ALONE else 1
    f.plan(g)
    g.scratch = scratch_alloc(g.scratch_bytes)
    if g.scratch == NULL:
        tools.short_of_memory[0] = 1
        return
    run_product(g, f)
    scratch_free(g.scratch, g.scratch_bytes)


cdef void run_item(Batch* batch, Py_ssize_t item, int worker) noexcept nogil:
    cdef System s = batch.like
    s.a += offset_of(batch.a, item)
    if batch.b != NULL:
        s.b += offset_of(batch.b, item)
    s.out += item * batch.out_bytes
    s.more += item * batch.more_bytes
    s.order += item * batch.order_size
    s.work += worker * batch.work_bytes
    if not batch.solve(&s):
        batch.unsolved = 1


cdef void run_few(Batch* batch, Py_ssize_t first) noexcept nogil:
    """The matrices from number `first` on that fill the lanes."""
    cdef Few s
    cdef const System* like = &batch.like
    cdef Py_ssize_t v, item
    s.m, s.n, s.k, s.upper = like.m, like.n, like.k, like.upper
    s.a_row, s.a_col, s.b_row, s.b_col = like.a_row, like.a_col, like.b_row, like.b_col
    s.count = min(<Py_ssize_t>LANES, batch.count - first)
    for v in range(LANES):
        item = first + (v if v < s.count else 0)
        s.a[v] = <char*>like.a + offset_of(batch.a, item)
        if batch.b != NULL:
            s.b[v] = <char*>like.b + offset_of(batch.b, item)
        s.out[v] = like.out + item * batch.out_bytes
        s.more[v] = like.more + item * batch.more_bytes
    if not batch.few(&s):
        batch.unsolved = 1


cdef void run_items(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Batch* batch = <Batch*>arg
    cdef Py_ssize_t item = chunk * batch.together
    if batch.few != NULL:
        while item < min(batch.count, (chunk + 1) * batch.together):
            run_few(batch, item)
            item += LANES
        return
    for item in range(chunk * batch.together, min(batch.count, (chunk + 1) * batch.together)):
        run_item(batch, item, worker)


cdef int set_batch(Batch* batch, str op, View* a, View* b, View* out) except -1:
    """The kernels, the sizes and the strides of matrices; outputs beside the first are the
    caller's."""
    cdef System* s = &batch.like
    cdef int axis
    word = "f32" if a.itemsize == 4 else "f64"
    memset(batch, 0, sizeof(Batch))
    batch.solve = <solve_fn>kernel(f"linalg_{op}_{word}")
    batch.a = a
    batch.b = b
    s.m, s.n = a.shape[a.ndim - 2], a.shape[a.ndim - 1]
    s.a, s.a_row, s.a_col = a.data, a.strides[a.ndim - 2], a.strides[a.ndim - 1]
    if b != NULL:
        s.k = b.shape[b.ndim - 1]
        s.b, s.b_row, s.b_col = b.data, b.strides[b.ndim - 2], b.strides[b.ndim - 1]
    s.out = out.data
    batch.count = 1
    for axis in range(a.ndim - 2):
        batch.count *= a.shape[axis]
    batch.out_bytes = out.size // max(1, batch.count) * out.itemsize
    batch.tools.family = family(op, a.dtype)
    batch.tools.multiply = multiply
    batch.tools.turn = <turn_fn>kernel(f"turn_{a.itemsize}")
    return 0


cdef int run_batch(Batch* batch, str op, str trouble, Py_ssize_t itemsize) except -1:
    """All matrices; LinAlgError if one has no answer."""
    cdef System* s = &batch.like
    cdef double work = <double>s.m * s.n * (min(s.m, s.n) + s.k)
    cdef bint spread = batch.count > 1 and (
        work <= SMALL or (work <= MIDDLE and batch.count >= MANY)
    )
    cdef Py_ssize_t item, bytes_, chunks
    word = "f32" if itemsize == 4 else "f64"
    if batch.count >= SOME and max(s.m, s.n) <= FEW and s.k <= SIDES:
        batch.few = <few_fn>kernel_or_null(f"linalg_few_{op}_{word}")
    spread = spread or batch.few != NULL
    s.tools = &batch.tools
    batch.tools.short_of_memory = &batch.short_of_memory
    batch.tools.workers = 1 if spread or work <= CHUNK else thread_count()
    batch.together = max(1, <Py_ssize_t>(CHUNK / (work + 256)))
    if batch.few != NULL:
        batch.together = (batch.together + LANES - 1) // LANES * LANES
    batch.work_bytes = (<room_fn>kernel(f"linalg_{op}_room"))(s) * itemsize
    batch.work_bytes = (batch.work_bytes + 63) // 64 * 64
    bytes_ = batch.work_bytes * (thread_count() if spread else 1)
    s.work = scratch_alloc(bytes_)
    if s.work == NULL:
        raise MemoryError(f"[{op}] no memory for {bytes_} bytes of scratch.")
    with nogil:
        if spread:
            chunks = (batch.count + batch.together - 1) // batch.together
            par(run_items, batch, chunks)
        else:
            for item in range(batch.count):
                if item and interrupted():
                    break
                run_item(batch, item, 0)
        scratch_free(s.work, bytes_)
    if batch.short_of_memory:
        raise MemoryError(f"[{op}] no memory for the products of {s.m} x {s.n} matrices.")
    if batch.unsolved:
        raise LinAlgError(f"[{op}] {trouble}")
    return 0


cdef int launch_cholesky(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Batch batch
    if outs[0].size == 0:
        return 0
    set_batch(&batch, "cholesky", &ins[0], NULL, &outs[0])
    batch.like.upper = params[0]
    return run_batch(&batch, "cholesky", "the matrix is not positive definite", ins[0].itemsize)


cdef int launch_inv(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Batch batch
    if outs[0].size == 0:
        return 0
    set_batch(&batch, "inv", &ins[0], NULL, &outs[0])
    return run_batch(&batch, "inv", SINGULAR, ins[0].itemsize)


cdef int launch_solve(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Batch batch
    if outs[0].size == 0:
        return 0
    set_batch(&batch, "solve", &ins[0], &ins[1], &outs[0])
    return run_batch(&batch, "solve", SINGULAR, ins[0].itemsize)


cdef int launch_solve_triangular(
    View* ins, int nin, View* outs, int nout, object params
) except -1:
    cdef Batch batch
    if outs[0].size == 0:
        return 0
    set_batch(&batch, "solve_triangular", &ins[0], &ins[1], &outs[0])
    batch.like.upper = params[0]
    return run_batch(&batch, "solve_triangular", SINGULAR, ins[0].itemsize)


cdef int launch_lu_factor(View* ins, int nin, View* outs, int nout, object params) except -1:
    """Outputs: the factors, the exchanges, and P with A = L[P] @ U."""
    cdef Batch batch
    set_batch(&batch, "lu_factor", &ins[0], NULL, &outs[0])
    batch.like.more = outs[1].data
    batch.like.order = <uint32_t*>outs[2].data
    batch.more_bytes = min(batch.like.m, batch.like.n) * outs[1].itemsize
    batch.order_size = batch.like.m
    return run_batch(&batch, "lu_factor", "", ins[0].itemsize)


cdef int launch_qr(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Batch batch
    if ins[0].size == 0:
        return 0
    set_batch(&batch, "qr", &ins[0], NULL, &outs[0])
    batch.like.more = outs[1].data
    batch.more_bytes = min(batch.like.m, batch.like.n) * batch.like.n * outs[1].itemsize
    return run_batch(&batch, "qr", "", ins[0].itemsize)


cdef int launch_det(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Batch batch
    set_batch(&batch, "det", &ins[0], NULL, &outs[0])
    return run_batch(&batch, "det", "", ins[0].itemsize)


cdef int launch_slogdet(View* ins, int nin, View* outs, int nout, object params) except -1:
    """Outputs: the sign, and the logarithm of the magnitude."""
    cdef Batch batch
    set_batch(&batch, "slogdet", &ins[0], NULL, &outs[0])
    batch.like.more = outs[1].data
    batch.more_bytes = outs[1].itemsize
    return run_batch(&batch, "slogdet", "", ins[0].itemsize)


register_launcher("cholesky", launch_cholesky)
register_launcher("inv", launch_inv)
register_launcher("solve", launch_solve)
register_launcher("solve_triangular", launch_solve_triangular)
register_launcher("lu_factor", launch_lu_factor)
register_launcher("qr", launch_qr)
register_launcher("det", launch_det)
register_launcher("slogdet", launch_slogdet)
