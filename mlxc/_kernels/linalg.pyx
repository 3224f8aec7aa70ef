"""Factorisations of matrices, in recursions that leave nearly all work to large products.

Matrices are cut in halves until a block fits the first cache, and what couples the halves is a
product (Toledo 1997, "Locality of reference in LU decomposition with partial pivoting"; Gustavson
1997, "Recursion leads to automatic variable blocking"). Rows are contiguous; distances between them
(`ld`) and strides count elements. A Cholesky factor is computed as its upper triangle, so that
every inner loop runs along rows.
"""

from libc.math cimport sqrt
from libc.string cimport memcpy, memset

from mlxc._kernels.factor cimport System, Tools
from mlxc._kernels.product cimport SUBTRACT, Product
from mlxc._kernels.types cimport f32, f64
from mlxc._threads.pool cimport interrupted

ctypedef fused real:
    f32
    f64

cdef enum:
    BLOCK = 32           # rows of a block that is factored where it stands
    STEP = 16            # rows of a triangle that are substituted one by one
    STRIP = 64           # columns that are substituted together
    CORNER = 128         # rows of a symmetric block that is computed whole
    PIECE = 64           # rows of a triangle that are copied together
    ALIGN = 16           # distances of rows of scratch are multiples of it

# ---- sizes and copies ----

cdef inline Py_ssize_t half_of(Py_ssize_t n, Py_ssize_t block) noexcept nogil:
    """About a half, of whole blocks."""
    return (n + 2 * block - 1) // (2 * block) * block


cdef inline Py_ssize_t distance(Py_ssize_t n) noexcept nogil:
    """Of rows of n numbers in scratch: odd multiples, so that columns spread over the cache."""
    return ((n + ALIGN - 1) // ALIGN | 1) * ALIGN


cdef void load(
    const Tools* tools, real* to, Py_ssize_t ld, const char* a, Py_ssize_t row, Py_ssize_t col,
    Py_ssize_t m, Py_ssize_t n
) noexcept nogil:
    """An m x n matrix of any strides (bytes) to rows."""
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


cdef void load_upper(
    const Tools* tools, real* to, Py_ssize_t ld, const char* a, Py_ssize_t row, Py_ssize_t col,
    Py_ssize_t n
) noexcept nogil:
    """The upper triangle of an n x n matrix, and something below."""
    cdef Py_ssize_t i = 0
    while i < n:
        load(
            tools, to + i * ld + i, ld, a + i * (row + col), row, col,
            min(n - i, <Py_ssize_t>PIECE), n - i
        )
        i += PIECE

# ---- products ----

cdef void product(
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

# ---- triangular systems ----

cdef inline void substitute_strip(
    const real* t, Py_ssize_t row, Py_ssize_t col, Py_ssize_t n, bint upper, bint unit, real* b,
    Py_ssize_t ldb, const Py_ssize_t width
) noexcept nogil:
    """Solve for `width` columns, a constant where this is inlined."""
    cdef real[STRIP] x
    cdef real factor
    cdef Py_ssize_t s, i, j, v, first, last
    for s in range(n):
        i = n - 1 - s if upper else s
        first = i + 1 if upper else 0
        last = n if upper else i
        for v in range(width):
            x[v] = b[i * ldb + v]
        for j in range(first, last):
            factor = t[i * row + j * col]
            for v in range(width):
                x[v] = x[v] - factor * b[j * ldb + v]
        if not unit:
            factor = t[i * row + i * col]
            for v in range(width):
                x[v] = x[v] / factor
        for v in range(width):
            b[i * ldb + v] = x[v]


cdef void substitute(
    const real* t, Py_ssize_t row, Py_ssize_t col, Py_ssize_t n, bint upper, bint unit, real* b,
    Py_ssize_t ldb, Py_ssize_t k
) noexcept nogil:
    """Solve a small triangle for k columns."""
    cdef real[STEP * STRIP] some
    cdef Py_ssize_t i, j = 0, width
    while j + STRIP <= k:
        substitute_strip(t, row, col, n, upper, unit, b + j, ldb, STRIP)
        j += STRIP
    while j < k:  # what is left, among zeros
        width = min(k - j, <Py_ssize_t>ALIGN)
        for i in range(n):
            memcpy(some + i * ALIGN, b + i * ldb + j, width * sizeof(real))
            memset(some + i * ALIGN + width, 0, (ALIGN - width) * sizeof(real))
        substitute_strip(t, row, col, n, upper, unit, some, ALIGN, ALIGN)
        for i in range(n):
            memcpy(b + i * ldb + j, some + i * ALIGN, width * sizeof(real))
        j += width


cdef void solve_triangle(
    const Tools* tools, const real* t, Py_ssize_t row, Py_ssize_t col, Py_ssize_t n, bint upper,
    bint unit, real* b, Py_ssize_t ldb, Py_ssize_t k
) noexcept nogil:
    """b = inv(t) @ b; a transposed triangle by its strides. The other triangle is not read."""
    cdef Py_ssize_t half, rest
    cdef const real* far
    cdef real* below
    if n <= STEP:
        substitute(t, row, col, n, upper, unit, b, ldb, k)
        return
    if interrupted():
        return
    half = half_of(n, STEP)
    rest = n - half
    far, below = t + half * row + half * col, b + half * ldb
    if upper:
        solve_triangle(tools, far, row, col, rest, upper, unit, below, ldb, k)
        product(
            tools, SUBTRACT, b, ldb, t + half * col, row, col, below, ldb, 1, half, k, rest
        )
        solve_triangle(tools, t, row, col, half, upper, unit, b, ldb, k)
    else:
        solve_triangle(tools, t, row, col, half, upper, unit, b, ldb, k)
        product(
            tools, SUBTRACT, below, ldb, t + half * row, row, col, b, ldb, 1, rest, k, half
        )
        solve_triangle(tools, far, row, col, rest, upper, unit, below, ldb, k)

# ---- Cholesky ----

cdef inline bint factor_block(real* u, const Py_ssize_t width, Py_ssize_t n) noexcept nogil:
    """The factor of n rows of `width` numbers, a constant where this is inlined."""
    cdef Py_ssize_t i, j, k
    cdef real[BLOCK] top
    cdef real factor
    for k in range(n):
        factor = u[k * width + k]
        if factor <= 0:
            return False
        factor = <real>sqrt(factor)
        for j in range(width):
            top[j] = u[k * width + j] / factor
        top[k] = factor
        for j in range(width):
            u[k * width + j] = top[j]
        for i in range(k + 1, n):
            factor = top[i]
            for j in range(width):
                u[i * width + j] = u[i * width + j] - factor * top[j]
    return True


cdef bint factor_small(real* u, Py_ssize_t ld, Py_ssize_t n) noexcept nogil:
    """`factor_upper` of at most BLOCK rows, in the first cache."""
    cdef real[BLOCK * BLOCK] block
    cdef Py_ssize_t i, width = ALIGN if n <= ALIGN else BLOCK
    cdef bint positive
    for i in range(n):
        memset(block + i * width, 0, width * sizeof(real))
        memcpy(block + i * width + i, u + i * ld + i, (n - i) * sizeof(real))
    if width == ALIGN:
        positive = factor_block(block, ALIGN, n)
    else:
        positive = factor_block(block, BLOCK, n)
    for i in range(n):
        memcpy(u + i * ld + i, block + i * width + i, (n - i) * sizeof(real))
    return positive


cdef void downdate(
    const Tools* tools, real* c, Py_ssize_t ld, const real* u, Py_ssize_t n, Py_ssize_t k
) noexcept nogil:
    """The upper triangle of c -= u' @ u, with u of k rows."""
    cdef Py_ssize_t half
    if n <= CORNER:
        product(tools, SUBTRACT, c, ld, u, 1, ld, u, ld, 1, n, n, k)
        return
    half = half_of(n, BLOCK)
    downdate(tools, c, ld, u, half, k)
    product(tools, SUBTRACT, c + half, ld, u, 1, ld, u + half, ld, 1, half, n - half, k)
    downdate(tools, c + half * ld + half, ld, u + half, n - half, k)


cdef bint factor_upper(const Tools* tools, real* u, Py_ssize_t ld, Py_ssize_t n) noexcept nogil:
    """The upper triangle of a symmetric matrix to its factor; below it, anything."""
    cdef Py_ssize_t half
    if n <= BLOCK:
        return factor_small(u, ld, n)
    half = half_of(n, BLOCK)
    if not factor_upper(tools, u, ld, half):
        return False
    if interrupted():
        return True
    solve_triangle(tools, u, 1, ld, half, False, False, u + half, ld, n - half)
    downdate(tools, u + half * ld + half, ld, u + half, n - half, half)
    return factor_upper(tools, u + half * ld + half, ld, n - half)


cdef bint cholesky(System* s, real* out) noexcept nogil:
    """The factor of a, of which one triangle is read."""
    cdef Py_ssize_t n = s.n, ld = distance(n), i = 0, rows
    cdef real* u = <real*>s.work
    if s.upper:
        load_upper(s.tools, out, n, s.a, s.a_row, s.a_col, n)
        if not factor_upper(s.tools, out, n, n):
            return False
        for i in range(1, n):
            memset(out + i * n, 0, i * sizeof(real))
        return True
    load_upper(s.tools, u, ld, s.a, s.a_col, s.a_row, n)
    if not factor_upper(s.tools, u, ld, n):
        return False
    while i < n:
        rows = min(n - i, <Py_ssize_t>PIECE)
        load(
            s.tools, out + i * n, n, <const char*>(u + i), sizeof(real), ld * sizeof(real), rows,
            i + rows
        )
        i += rows
    for i in range(n):
        memset(out + i * n + i + 1, 0, (n - i - 1) * sizeof(real))
    return True


cdef bint cholesky_f32(System* s) noexcept nogil:
    return cholesky(s, <f32*>s.out)


cdef bint cholesky_f64(System* s) noexcept nogil:
    return cholesky(s, <f64*>s.out)


cdef Py_ssize_t cholesky_room(const System* s) noexcept nogil:
    return 0 if s.upper else s.n * distance(s.n)


def table():
    """Addresses of the kernels by name."""
    return {
        "linalg_cholesky_f32": <size_t>&cholesky_f32,
        "linalg_cholesky_f64": <size_t>&cholesky_f64,
        "linalg_cholesky_room": <size_t>&cholesky_room,
    }
