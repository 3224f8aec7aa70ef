"""What the kernels of linear algebra are handed: one matrix or system, room to work in, and the
tools that large products and transpositions are made with.
"""

from libc.stdint cimport uint32_t

from mlxc._kernels.product cimport Product

cdef struct Tools  # below

# Plans and computes a product: see product.pxd.
ctypedef void (*multiply_fn)(Product* product, const Tools* tools) noexcept nogil
# dst[i, j] = src[i, j], rows x columns: dst is contiguous along j, src along i; the other strides
# are given, in bytes.
ctypedef void (*turn_fn)(
    char* dst, Py_ssize_t dst_stride, const char* src, Py_ssize_t src_stride, Py_ssize_t rows,
    Py_ssize_t columns
) noexcept nogil

cdef struct Tools:
    multiply_fn multiply
    turn_fn turn
    const void* family       # multiply's own
    int workers              # that multiply may use
    int* short_of_memory     # set by multiply; results are worthless then

cdef struct System:
    const Tools* tools
    Py_ssize_t m, n          # of a
    Py_ssize_t k             # columns of b
    bint upper
    const char* a            # strides in bytes
    Py_ssize_t a_row, a_col
    const char* b
    Py_ssize_t b_row, b_col
    char* out                # outputs are dense
    char* more
    uint32_t* order
    char* work               # 64-byte aligned, of the kernel's `room`

# The numbers of `work` that a system of these sizes needs.
ctypedef Py_ssize_t (*room_fn)(const System* system) noexcept nogil
# Whether there is an answer.
ctypedef bint (*solve_fn)(System* system) noexcept nogil

# Small matrices are computed side by side.
cdef enum:
    LANES = 16
    FEW = 8              # rows and columns, at most
    SIDES = 16           # right sides, at most

ctypedef char* chars

cdef struct Few:
    Py_ssize_t m, n          # of each a
    Py_ssize_t k             # columns of each b
    bint upper
    Py_ssize_t count         # matrices; the first one is there LANES - count times more
    chars[LANES] a           # strides in bytes
    Py_ssize_t a_row, a_col
    chars[LANES] b
    Py_ssize_t b_row, b_col
    chars[LANES] out         # dense
    chars[LANES] more

# Whether all have an answer.
ctypedef bint (*few_fn)(Few* few) noexcept nogil
