"""What the kernels of quantized matrices are handed: how numbers are packed, and one product.

Codes of `bits` bits follow each other from the lowest bit of the first byte on; each `group` of
codes of a row shares a scale and, in affine packing, a bias. A code stands for `scale * code +
bias`, or for `scale * values[code]`.
"""

from libc.stdint cimport uint8_t

from mlxc._kernels.tile cimport F32, widen_row
from mlxc._kernels.types cimport f32

cdef enum:
    AFFINE = 0
    MX = 1       # scales are powers of two (E8M0)
    NV = 2       # scales are E4M3

cdef enum:
    BYTES = 3    # form of scales stored as uint8, beside F32, F16 and BF16

cdef struct Packing:
    int mode
    int bits
    int group
    int scale_form
    int scale_size           # bytes
    const f32* values        # of the codes; NULL if affine
    const f32* scale_values  # of the 256 scale bytes; else NULL
    f32 factor               # global factor of the scales (NV)

# Products: out[m, n] = x[m, k] w[n, k] (by rows) or x[m, k] w[k, n], for every item of a batch.
cdef enum:
    FEW = 6          # most rows of x that are multiplied one by one
    ROWS = 48        # rows of w that are decoded at a time
    DEPTH = 128      # codes of a row that are decoded at a time
    PANEL = 64       # rows of x that share a panel
    BLOCK = 512      # rows of x of a unit
    TILE_ROWS = 8    # rows of x that are multiplied by bytes at a time
    TILE_DEPTH = 512  # codes of a row that are turned into bytes at a time
    TILE_CHUNKS = TILE_DEPTH // 16
    CHUNK = 64       # codes whose products with digits are added up as integers, at most

cdef struct PackedProduct:
    Packing packing
    const char* x            # (items of x, m, k), dense
    const uint8_t* w         # (items of w, rows, bytes), dense
    const char* scales       # (items of w, rows, groups), dense
    const char* biases
    char* out                # (items, m, n), dense
    const unsigned int* lhs  # item of x; NULL: the item itself
    const unsigned int* rhs  # item of w
    Py_ssize_t items, x_items
    Py_ssize_t m, n, k
    Py_ssize_t rows, groups, row_bytes   # of one w
    bint by_rows
    bint by_digits           # many rows: x is written as digits
    bint undone              # some numbers of x have no digits
    int form                 # of x and out
    int itemsize
    char* prepared           # x as the kernels want it
    Py_ssize_t prepared_item  # bytes
    Py_ssize_t preparations  # pieces of preparing an item of x
    Py_ssize_t units         # an item
    char* scratch
    Py_ssize_t scratch_bytes  # a worker

cdef inline Py_ssize_t few_step(const PackedProduct* g) noexcept nogil:
    """Numbers from one prepared row of x to the next, where there are few: the row as blocks want
    it, itself, its sums over groups, the scales of its digits, and whether it has any."""
    return 2 * g.k + 2 * g.groups + 1


cdef inline int chunk_of(const Packing* p) noexcept nogil:
    """Codes of a chunk: they share a scale, and a group is one chunk or several."""
    return min(<int>CHUNK, p.group)


cdef inline int digits_of(int form) noexcept nogil:
    """How many digits hold what numbers of a form hold, within a chunk."""
    return 3 if form == F32 else 2


cdef inline Py_ssize_t chunk_bytes(const PackedProduct* g) noexcept nogil:
    """What a chunk of TILE_ROWS rows of x takes: digits, what they start from, scales and sums."""
    return TILE_ROWS * (digits_of(g.form) * (chunk_of(&g.packing) + 4) + 2 * sizeof(f32))


cdef inline void scale_row(
    const Packing* p, const char* stored, Py_ssize_t n, f32* out
) noexcept nogil:
    """Scales or biases as float32."""
    cdef Py_ssize_t i
    if p.scale_form == BYTES:
        for i in range(n):
            out[i] = p.scale_values[(<const uint8_t*>stored)[i]]
    else:
        widen_row(out, stored, p.scale_size, n, p.scale_form)


cdef inline const uint8_t* codes_of(
    const PackedProduct* g, Py_ssize_t item, Py_ssize_t row
) noexcept nogil:
    return g.w + (item * g.rows + row) * g.row_bytes


cdef inline void load_scales(
    const PackedProduct* g, Py_ssize_t item, Py_ssize_t row, Py_ssize_t first, Py_ssize_t count,
    f32* scales, f32* biases
) noexcept nogil:
    """Scales and biases of groups first to first + count of a row."""
    cdef Py_ssize_t offset = ((item * g.rows + row) * g.groups + first) * g.packing.scale_size
    scale_row(&g.packing, g.scales + offset, count, scales)
    if g.packing.mode == AFFINE:
        scale_row(&g.packing, g.biases + offset, count, biases)


cdef inline void split(const PackedProduct* g, Py_ssize_t chunk, Py_ssize_t* item, Py_ssize_t* unit,
                       Py_ssize_t* x_item, Py_ssize_t* w_item) noexcept nogil:
    item[0] = chunk // g.units
    unit[0] = chunk % g.units
    x_item[0] = item[0] if g.lhs == NULL else g.lhs[item[0]]
    w_item[0] = item[0] if g.rhs == NULL else g.rhs[item[0]]
