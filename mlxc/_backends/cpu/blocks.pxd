"""Moving and combining strided blocks: what the launchers of indexing share."""

from libc.stdint cimport int64_t

from mlxc._graph.kernel cimport View

# Strides and offsets in bytes, n in elements.
# dst[j] = combine(dst[j], src[j])
ctypedef void (*fold_fn)(
    char* dst, Py_ssize_t dst_stride, const char* src, Py_ssize_t src_stride, Py_ssize_t n
) noexcept nogil
# dst[r, j] = src[r, j], rows a step apart
ctypedef void (*set_rows_fn)(
    char* dst, Py_ssize_t dst_step, Py_ssize_t dst_stride, const char* src, Py_ssize_t src_step,
    Py_ssize_t src_stride, Py_ssize_t rows, Py_ssize_t n
) noexcept nogil
# *(dst + offsets[j]) = combine(itself, src[j]), in the order of j
ctypedef void (*index_fn)(
    char* dst, const int64_t* offsets, const char* src, Py_ssize_t src_stride, Py_ssize_t n
) noexcept nogil
# dst[j] = *(src + offsets[j]), dst contiguous
ctypedef void (*take_fn)(
    const char* src, const int64_t* offsets, char* dst, Py_ssize_t n
) noexcept nogil
# rows of bytes from src + offsets[k], one after the other in dst
ctypedef void (*rows_fn)(
    const char* src, const int64_t* offsets, char* dst, Py_ssize_t row, Py_ssize_t n
) noexcept nogil
# offsets[j] += step * index[j]; the position of the first index outside of [-size, size), or -1
ctypedef Py_ssize_t (*offsets_fn)(
    const char* index, Py_ssize_t index_stride, Py_ssize_t n, Py_ssize_t size, Py_ssize_t step,
    int64_t* offsets
) noexcept nogil
# dst[j] = *(src + index[j] * step + j * ramp), dst contiguous; the position of the first index
# outside of [-size, size), or -1
ctypedef Py_ssize_t (*along_fn)(
    const char* src, Py_ssize_t step, Py_ssize_t ramp, const char* index, Py_ssize_t index_stride,
    char* dst, Py_ssize_t n, Py_ssize_t size
) noexcept nogil

# dst[i, j] = src[i, j], rows x columns: dst is contiguous along j, src along i; the other strides
# are given
ctypedef void (*turn_fn)(
    char* dst, Py_ssize_t dst_stride, const char* src, Py_ssize_t src_stride, Py_ssize_t rows,
    Py_ssize_t columns
) noexcept nogil

cdef enum:
    MAX_AXES = 32
    GRAIN = 1 << 16      # bytes a chunk moves, at least

cdef struct Block:
    int ndim                           # after neighbouring axes were joined
    Py_ssize_t[MAX_AXES] shape
    Py_ssize_t[MAX_AXES] dst_strides   # bytes
    Py_ssize_t[MAX_AXES] src_strides   # bytes
    Py_ssize_t size                    # elements
    Py_ssize_t itemsize
    fold_fn fold
    set_rows_fn set_rows               # what is moved, not combined: many rows a call; or NULL
    char* dst
    const char* src
    # Blocks that are moved, not combined, and lie across each other: see find_plane
    turn_fn turn
    int across                         # the axis along which src is contiguous
    Py_ssize_t row_pieces, column_pieces
    Py_ssize_t units, together         # pieces of all planes; units of a chunk

cdef struct Placing:
    # A copy of x with an update in a slice of it, piece by piece of one axis: what a piece writes
    # is still in the cache when the update is combined into it.
    Block update                             # axes of the slice, unjoined; strides of both sides
    Py_ssize_t[MAX_AXES] shape               # of x
    Py_ssize_t[MAX_AXES] first, step         # of the slice, steps above 0
    int ndim
    int cut                                  # the axis that pieces divide
    Py_ssize_t below                         # elements of one step along it
    Py_ssize_t piece, pieces                 # steps a piece, pieces of the whole axis
    Py_ssize_t units                         # pieces of all positions of the axes before it
    const char* x
    Py_ssize_t x_stride                      # bytes between elements in row-major order
    char* out
    fold_fn copy

cdef void start_block(Block* block, Py_ssize_t itemsize, fold_fn fold) noexcept nogil
cdef void add_axis(
    Block* block, Py_ssize_t size, Py_ssize_t dst_stride, Py_ssize_t src_stride
) noexcept nogil
cdef void move_block(const Block* block, char* dst, const char* src) noexcept nogil
cdef void move_parallel(Block* block, char* dst, const char* src) noexcept nogil
cdef void place(Placing* job) noexcept nogil
cdef void copy_view(View* out, View* x, fold_fn fold) noexcept nogil

cdef fold_fn fold_of(str mode, View* view) except NULL
cdef index_fn index_of(str mode, View* view) except NULL
cdef take_fn take_of(View* view) noexcept
cdef offsets_fn offsets_of(View* view) except NULL
cdef along_fn along_of(View* index, View* view) except NULL
