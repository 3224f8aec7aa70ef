"""Launchers of quantized matrices: rows of codes, and units of products, are spread over the
pool."""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.packing cimport (
    AFFINE, BLOCK, BYTES, DEPTH, FEW, MX, NV, PANEL, ROWS, TILE_CHUNKS, TILE_DEPTH, TILE_ROWS,
    PackedProduct, Packing, chunk_bytes, chunk_of, few_step,
)
from mlxc._kernels.tile cimport BF16, F16, F32, widen_row
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._table.dtypes import CODE
from mlxc._threads.pool cimport job_fn, par, thread_count

ctypedef void (*quantize_fn)(
    const Packing*, const float*, Py_ssize_t, uint8_t*, char*, char*
) noexcept nogil
ctypedef void (*dequantize_fn)(
    const Packing*, const uint8_t*, const char*, const char*, Py_ssize_t, char*, int
) noexcept nogil
ctypedef void (*fp8_fn)(const float*, uint8_t*, Py_ssize_t) noexcept nogil
ctypedef bint (*by_digits_fn)(const PackedProduct*) noexcept nogil

cdef enum:
    PIECE = 1 << 14     # numbers of a piece of work
    MOST_LANES = 16     # what kernels may read beyond a row of scales

cdef quantize_fn QUANTIZE = <quantize_fn>kernel("quantize_row")
cdef dequantize_fn DEQUANTIZE = <dequantize_fn>kernel("dequantize_row")
cdef fp8_fn TO_FP8 = <fp8_fn>kernel("to_fp8_row")
cdef by_digits_fn BY_DIGITS = <by_digits_fn>kernel("packed_by_digits")
cdef job_fn PREPARE = <job_fn>kernel("packed_prepare")
cdef job_fn UNIT = <job_fn>kernel("packed_unit")
cdef dict FORMS = {
    CODE["float32"]: F32, CODE["float16"]: F16, CODE["bfloat16"]: BF16,
    CODE["uint8"]: BYTES
}
cdef dict MODES = {"affine": AFFINE, "mxfp4": MX, "mxfp8": MX, "nvfp4": NV}

# What codes and scale bytes stand for (OCP Microscaling Formats 1.0).
cdef float[16] E2M1
cdef float[256] E4M3
cdef float[256] E8M0


cdef float small_float(int code, int exponent_bits, int mantissa_bits):
    """A float of few bits: sign, biased exponent, mantissa."""
    cdef int bias = (1 << (exponent_bits - 1)) - 1
    cdef int mantissa = code & ((1 << mantissa_bits) - 1)
    cdef int exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1)
    cdef double size = mantissa if exponent == 0 else mantissa + (1 << mantissa_bits)
    size *= 2.0 ** (max(exponent, 1) - bias - mantissa_bits)
    return <float>(-size if code >> (exponent_bits + mantissa_bits) else size)


cdef void fill_tables():
    cdef int i
    for i in range(16):
        E2M1[i] = small_float(i, 2, 1)
    for i in range(256):
        E4M3[i] = small_float(i, 4, 3) if i & 0x7F != 0x7F else <float>float("nan")
        E8M0[i] = <float>(2.0 ** (i - 127)) if i < 255 else <float>float("nan")


fill_tables()


cdef int describe(
    Packing* p, int group, int bits, str mode, int scale_dtype, float* scale_values, View* factor
) except -1:
    """Fill a Packing; scale_values is room for 256 scales, multiplied by the global factor if
    there is one."""
    cdef int i
    cdef float* own
    p.mode = MODES[mode]
    p.group = group
    p.bits = bits
    p.scale_form = FORMS[scale_dtype]
    p.scale_size = 4 if p.scale_form == F32 else 1 if p.scale_form == BYTES else 2
    p.values = NULL
    p.scale_values = NULL
    p.factor = 1.0
    if p.mode == AFFINE:
        return 0
    p.values = &E4M3[0] if bits == 8 else &E2M1[0]
    own = &E8M0[0] if p.mode == MX else &E4M3[0]
    if factor != NULL:
        # The largest code times the largest scale is the largest number.
        p.factor = (<float*>factor.data)[0] / <float>2688.0
    for i in range(256):
        scale_values[i] = own[i] * p.factor
    p.scale_values = scale_values
    return 0

# ---- quantize and dequantize ----

cdef struct Rows:
    Packing packing
    int form              # of the numbers
    int itemsize
    char* numbers
    char* codes
    char* scales
    char* biases
    Py_ssize_t count      # groups
    Py_ssize_t together   # of a piece
    char* scratch         # float32 numbers of a piece, a worker


cdef void quantize_piece(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Rows* r = <Rows*>arg
    cdef Py_ssize_t first = chunk * r.together
    cdef Py_ssize_t count = min(r.together, r.count - first)
    cdef Py_ssize_t group = r.packing.group
    cdef float* numbers = <float*>r.scratch + worker * r.together * group
    widen_row(numbers, r.numbers + first * group * r.itemsize, r.itemsize, count * group, r.form)
    QUANTIZE(&r.packing, numbers, count, <uint8_t*>r.codes + first * group * r.packing.bits // 8,
             r.scales + first * r.packing.scale_size, r.biases + first * r.packing.scale_size)


cdef void dequantize_piece(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Rows* r = <Rows*>arg
    cdef Py_ssize_t first = chunk * r.together
    cdef Py_ssize_t count = min(r.together, r.count - first)
    cdef Py_ssize_t group = r.packing.group
    DEQUANTIZE(&r.packing, <const uint8_t*>r.codes + first * group * r.packing.bits // 8,
               r.scales + first * r.packing.scale_size, r.biases + first * r.packing.scale_size,
               count,
               r.numbers + first * group * r.itemsize, r.form)


cdef int set_numbers(Rows* r, View* numbers, View* codes, View* scales, View* biases) except -1:
    r.form = FORMS[numbers.dtype]
    r.itemsize = <int>numbers.itemsize
    r.numbers = numbers.data
    r.codes = codes.data
    r.scales = scales.data
    r.biases = biases.data if biases != NULL else NULL
    r.count = scales.size
    r.together = max(1, PIECE // r.packing.group)
    return 0


cdef int launch_quantize(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Rows r
    cdef float[256] values
    cdef Py_ssize_t nbytes
    group, bits, mode, has_factor = params
    describe(&r.packing, group, bits, mode, outs[1].dtype, values, &ins[1] if has_factor else NULL)
    set_numbers(&r, &ins[0], &outs[0], &outs[1], &outs[2] if nout == 3 else NULL)
    nbytes = 4 * r.together * r.packing.group * thread_count()
    r.scratch = scratch_alloc(nbytes)
    if r.scratch == NULL:
        raise MemoryError(f"[quantize] no memory for {nbytes} bytes of scratch")
    with nogil:
        par(quantize_piece, &r, (r.count + r.together - 1) // r.together)
    scratch_free(r.scratch, nbytes)
    return 0


cdef int launch_dequantize(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Rows r
    cdef float[256] values
    group, bits, mode, _, has_factor = params
    describe(
        &r.packing, group, bits, mode, ins[1].dtype, values,
        &ins[nin - 1] if has_factor else NULL
    )
    set_numbers(&r, &outs[0], &ins[0], &ins[1], &ins[2] if mode == "affine" else NULL)
    with nogil:
        par(dequantize_piece, &r, (r.count + r.together - 1) // r.together)
    return 0


cdef int launch_to_fp8(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Py_ssize_t first = 0, count
    cdef float[1024] block
    cdef int form = FORMS[ins[0].dtype]
    with nogil:
        while first < ins[0].size:
            count = min(<Py_ssize_t>1024, ins[0].size - first)
            widen_row(block, ins[0].data + first * ins[0].itemsize, ins[0].itemsize, count, form)
            TO_FP8(block, <uint8_t*>outs[0].data + first, count)
            first += count
    return 0

# ---- products ----

cdef int check_items(str op, str name, View* indices, Py_ssize_t count) except -1:
    """Refuse an index beyond the matrices that there are."""
    cdef Py_ssize_t i
    for i in range(indices.size):
        if (<const unsigned int*>indices.data)[i] >= <size_t>count:
            raise IndexError(
                f"[{op}] {name} holds {(<const int*>indices.data)[i]}; there are {count} matrices"
            )
    return 0


cdef void plan(PackedProduct* g) noexcept nogil:
    """Units of an item and scratch, from the sizes alone."""
    cdef Py_ssize_t blocks = (g.m + BLOCK - 1) // BLOCK
    cdef Py_ssize_t step = g.groups + MOST_LANES
    cdef Py_ssize_t rows = (g.n + ROWS - 1) // ROWS
    cdef Py_ssize_t panel = TILE_ROWS if g.by_digits else PANEL
    cdef Py_ssize_t panels = (g.m + panel - 1) // panel
    g.preparations = panels
    if g.by_digits:
        g.units = blocks * rows
        g.prepared_item = panels * (g.k // chunk_of(&g.packing)) * chunk_bytes(g)
        g.scratch_bytes = (
            4 * ROWS * (2 * g.groups + BLOCK + TILE_CHUNKS + 1) + ROWS * TILE_DEPTH
            + MOST_LANES * max(<Py_ssize_t>TILE_DEPTH, 8 * g.groups)
        )
    elif not g.by_rows:
        g.units = blocks * ((g.n + DEPTH - 1) // DEPTH)
        g.preparations = g.m
        g.prepared_item = 4 * g.m * g.k
        g.scratch_bytes = 4 * (ROWS * DEPTH + 2 * DEPTH + BLOCK * DEPTH + DEPTH)
    elif g.m <= FEW:
        g.units = rows
        g.preparations = 1
        g.prepared_item = 4 * g.m * few_step(g)
        g.scratch_bytes = 4 * (12 * step + 4 * g.k)
    else:
        g.units = blocks * rows
        g.prepared_item = 4 * g.k * panels * PANEL
        g.scratch_bytes = 4 * (ROWS * DEPTH + 2 * ROWS * step + ROWS * BLOCK + ROWS)
    g.scratch_bytes = (g.scratch_bytes + 63) // 64 * 64


cdef int multiply(PackedProduct* g) except -1:
    """Unless x turns out to have no digits, which `undone` says."""
    cdef Py_ssize_t prepared, scratch
    plan(g)
    prepared = g.prepared_item * g.x_items
    scratch = g.scratch_bytes * thread_count()
    g.prepared = scratch_alloc(prepared)
    g.scratch = scratch_alloc(scratch)
    if g.prepared == NULL or g.scratch == NULL:
        if g.prepared != NULL:
            scratch_free(g.prepared, prepared)
        if g.scratch != NULL:
            scratch_free(g.scratch, scratch)
        raise MemoryError(f"[quantized_matmul] no memory for {prepared + scratch} bytes of scratch")
    with nogil:
        par(PREPARE, g, g.x_items * g.preparations)
        if not g.undone:
            par(UNIT, g, g.items * g.units)
    scratch_free(g.prepared, prepared)
    scratch_free(g.scratch, scratch)
    return 0


cdef int run_packed(PackedProduct* g) except -1:
    g.by_digits = BY_DIGITS(g)
    multiply(g)
    if g.undone:
        g.by_digits = g.undone = False
        multiply(g)
    return 0


cdef int launch_product(View* ins, int nin, View* outs, object params, bint gathered) except -1:
    """Operands x (items, m, k), w, scales, biases if affine, then the items' numbers if
    gathered."""
    cdef PackedProduct g
    cdef float[256] values
    cdef View* x = &ins[0]
    cdef View* w = &ins[1]
    transpose, group, bits, mode = params
    if outs[0].size == 0:
        return 0
    if x.size == 0:
        memset(outs[0].data, 0, outs[0].size * outs[0].itemsize)
        return 0
    memset(&g, 0, sizeof(PackedProduct))
    describe(&g.packing, group, bits, mode, ins[2].dtype, values, NULL)
    g.x, g.w, g.scales, g.out = x.data, <const uint8_t*>w.data, ins[2].data, outs[0].data
    if mode == "affine":
        g.biases = ins[3].data
    g.m, g.k = x.shape[x.ndim - 2], x.shape[x.ndim - 1]
    g.n = outs[0].shape[outs[0].ndim - 1]
    g.x_items = x.size // (g.m * g.k)
    g.items = outs[0].size // (g.m * g.n)
    g.rows = w.shape[w.ndim - 2]
    g.groups = ins[2].shape[ins[2].ndim - 1]
    g.row_bytes = 4 * w.shape[w.ndim - 1]
    g.by_rows = transpose
    g.form = FORMS[x.dtype]
    g.itemsize = <int>x.itemsize
    if gathered:
        check_items("gather_qmm", "lhs_indices", &ins[nin - 2], g.x_items)
        check_items("gather_qmm", "rhs_indices", &ins[nin - 1], w.shape[0])
        g.lhs = <const unsigned int*>ins[nin - 2].data
        g.rhs = <const unsigned int*>ins[nin - 1].data
    return run_packed(&g)


cdef int launch_quantized_matmul(View* ins, int nin, View* outs, int nout, object params) except -1:
    return launch_product(ins, nin, outs, params, False)


cdef int launch_gather_qmm(View* ins, int nin, View* outs, int nout, object params) except -1:
    return launch_product(ins, nin, outs, params, True)


register_launcher("quantize", launch_quantize)
register_launcher("dequantize", launch_dequantize)
register_launcher("to_fp8", launch_to_fp8)
register_launcher("quantized_matmul", launch_quantized_matmul)
register_launcher("gather_qmm", launch_gather_qmm)
