"""What the kernels of linear algebra share, inlined into them: copies, products, lines of numbers.

Rows are contiguous; distances between them (`ld`) and strides count elements unless they say bytes.
"""

from libc.string cimport memcpy, memset

from mlxc._kernels.factor cimport Tools
from mlxc._kernels.product cimport SUBTRACT, Product
from mlxc._kernels.types cimport f32, f64
from mlxc._threads.pool cimport interrupted

ctypedef fused real:
    f32
    f64

cdef enum:
    STRIP = 64           # columns that are substituted together, lanes of sums
    PIECE = 64           # rows that are copied together
    ALIGN = 16           # distances of rows of scratch are multiples of it

# ---- sizes and copies ----

cdef inline Py_ssize_t distance(Py_ssize_t n) noexcept nogil:
    """Of rows of n numbers in scratch: odd multiples, so that columns spread over the cache."""
    return ((n + ALIGN - 1) // ALIGN | 1) * ALIGN


cdef inline void load_piece(
    const Tools* tools, real* to, Py_ssize_t ld, const char* a, Py_ssize_t row, Py_ssize_t col,
    Py_ssize_t m, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i, j
    if col == sizeof(real) or n == 1:
        for i in range(m):
            memcpy(to + i * ld, a + i * row, n * sizeof(real))
    elif row == sizeof(real) and m >= 8:
        tools.turn(<char*>to, ld * sizeof(real), a, col, m, n)
    else:
        for i in range(m):
            for j in range(n):
                to[i * ld + j] = (<const real*>(a + i * row + j * col))[0]


cdef inline void load(
    const Tools* tools, real* to, Py_ssize_t ld, const char* a, Py_ssize_t row, Py_ssize_t col,
    Py_ssize_t m, Py_ssize_t n
) noexcept nogil:
    """An m x n matrix of any strides (bytes) to rows, piece by piece."""
    cdef Py_ssize_t i = 0
    while i + PIECE < m and not interrupted():
        load_piece(tools, to + i * ld, ld, a + i * row, row, col, PIECE, n)
        i += PIECE
    load_piece(tools, to + i * ld, ld, a + i * row, row, col, min(m - i, <Py_ssize_t>PIECE), n)

# ---- products ----

cdef inline void product(
    const Tools* tools, int onto, real* c, Py_ssize_t ldc, const real* a, Py_ssize_t a_row,
    Py_ssize_t a_col, const real* b, Py_ssize_t b_row, Py_ssize_t b_col, Py_ssize_t m,
    Py_ssize_t n, Py_ssize_t k
) noexcept nogil:
    """c = a @ b, or c -= a @ b."""
    cdef Product g
    memset(&g, 0, sizeof(Product))
    g.m, g.n, g.k = m, n, k
    g.a, g.a_row, g.a_col = <const char*>a, a_row * sizeof(real), a_col * sizeof(real)
    g.b, g.b_row, g.b_col = <const char*>b, b_row * sizeof(real), b_col * sizeof(real)
    g.out, g.out_row, g.out_col = <char*>c, ldc * sizeof(real), sizeof(real)
    g.alpha = g.beta = 1
    if onto == SUBTRACT:
        g.alpha = -1
        g.c, g.c_row, g.c_col = g.out, g.out_row, g.out_col
    tools.multiply(&g, tools)

# ---- lines ----

cdef inline Py_ssize_t largest(const real* x, Py_ssize_t n) noexcept nogil:
    """Where the first number of the largest size is; NaN is passed over."""
    cdef real[STRIP] best
    cdef real size, top = 0
    cdef Py_ssize_t i = 0, v
    cdef bint found = False
    for v in range(STRIP):
        best[v] = 0
    while i + STRIP <= n:
        for v in range(STRIP):
            size = x[i + v] if x[i + v] > 0 else -x[i + v]
            best[v] = size if size > best[v] else best[v]
        i += STRIP
    for v in range(n - i):
        size = x[i + v] if x[i + v] > 0 else -x[i + v]
        best[v] = size if size > best[v] else best[v]
    for v in range(STRIP):
        top = best[v] if best[v] > top else top
    i = 0
    while i + STRIP <= n and not found:
        for v in range(STRIP):
            found |= (x[i + v] == top) | (x[i + v] == -top)
        i += 0 if found else STRIP
    while i < n:
        if x[i] == top or x[i] == -top:
            return i
        i += 1
    return 0


cdef inline void eliminate(real* to, const real* x, real factor, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        to[i] = to[i] - factor * x[i]
