"""What the kernels of quantized matrices are handed: how numbers are packed, and one product.

Codes of `bits` bits follow each other from the lowest bit of the first byte on; each `group` of
codes of a row shares a scale and, in affine packing, a bias. A code stands for `scale * code +
bias`, or for `scale * values[code]`.
"""

from libc.stdint cimport uint8_t

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
    int form                 # of x and out
    int itemsize
    char* prepared           # x as the kernels want it
    Py_ssize_t prepared_item  # bytes
    Py_ssize_t units         # an item
    char* scratch
    Py_ssize_t scratch_bytes  # a worker

cdef inline Py_ssize_t few_step(const PackedProduct* g) noexcept nogil:
    """Numbers from one prepared row of x to the next, where there are few: the row as blocks want
    it, itself, its sums over groups, the scales of its digits, and whether it has any."""
    return 2 * g.k + 2 * g.groups + 1
