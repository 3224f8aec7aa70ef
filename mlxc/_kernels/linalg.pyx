"""Factorisations of matrices, in recursions that leave nearly all work to large products.

Matrices are cut in halves until a block fits the first cache, and what couples the halves is a
product (Toledo 1997, "Locality of reference in LU decomposition with partial pivoting"; Gustavson
1997, "Recursion leads to automatic variable blocking"). Rows are contiguous; distances between them
(`ld`) and strides count elements. A Cholesky factor is computed as its upper triangle, so that
every inner loop runs along rows.
"""

from libc.math cimport fabs, frexp, ldexp, log, sqrt
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from mlxc._kernels.factor cimport System, Tools
from mlxc._kernels.lines cimport (
    ALIGN, PIECE, STRIP, distance, eliminate, largest, load, product, real,
)
from mlxc._kernels.product cimport SUBTRACT
from mlxc._kernels.types cimport f32, f64
from mlxc._threads.pool cimport interrupted

cdef enum:
    BLOCK = 32           # rows of a block that is factored where it stands
    PANEL = 16           # columns that are eliminated one by one
    STEP = 16            # rows of a triangle that are substituted one by one
    CORNER = 128         # rows of a symmetric block that is computed whole

# ---- copies ----

cdef inline Py_ssize_t half_of(Py_ssize_t n, Py_ssize_t block) noexcept nogil:
    """About a half, of whole blocks."""
    return (n + 2 * block - 1) // (2 * block) * block


cdef void load_upper(
    const Tools* tools, real* to, Py_ssize_t ld, const char* a, Py_ssize_t row, Py_ssize_t col,
    Py_ssize_t n
) noexcept nogil:
    """The upper triangle of an n x n matrix, and something below."""
    cdef Py_ssize_t i = 0
    while i < n and not interrupted():
        load(
            tools, to + i * ld + i, ld, a + i * (row + col), row, col,
            min(n - i, <Py_ssize_t>PIECE), n - i
        )
        i += PIECE

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
            x[v] = 0
        for j in range(first, last):
            factor = t[i * row + j * col]
            for v in range(width):
                x[v] = x[v] + factor * b[j * ldb + v]
        for v in range(width):
            x[v] = b[i * ldb + v] - x[v]
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
    """The factor of n rows of `width` numbers, a constant where this is inlined. Products are added
    up before they are subtracted: their sum is small where the diagonal is large."""
    cdef Py_ssize_t i, j, k
    cdef real[BLOCK] even, odd
    cdef real x, y
    for k in range(n):
        for j in range(width):
            even[j] = odd[j] = 0
        for i in range(k // 2):
            x, y = u[2 * i * width + k], u[(2 * i + 1) * width + k]
            for j in range(width):
                even[j] = even[j] + x * u[2 * i * width + j]
            for j in range(width):
                odd[j] = odd[j] + y * u[(2 * i + 1) * width + j]
        if k % 2:
            x = u[(k - 1) * width + k]
            for j in range(width):
                even[j] = even[j] + x * u[(k - 1) * width + j]
        for j in range(width):
            even[j] = u[k * width + j] - (even[j] + odd[j])
        x = even[k]
        if x <= 0:
            return False
        x = <real>sqrt(x)
        for j in range(width):
            u[k * width + j] = even[j] / x
        u[k * width + k] = x
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
    while i < n and not interrupted():
        rows = min(n - i, <Py_ssize_t>PIECE)
        load(
            s.tools, out + i * n, n, <const char*>(u + i), sizeof(real), ld * sizeof(real), rows,
            i + rows
        )
        i += rows
    for i in range(n if i >= n else 0):
        memset(out + i * n + i + 1, 0, (n - i - 1) * sizeof(real))
    return True


cdef Py_ssize_t cholesky_room(const System* s) noexcept nogil:
    return 0 if s.upper else s.n * distance(s.n)

# ---- LU ----

cdef void factor_panel(
    const Tools* tools, real* a, Py_ssize_t ld, Py_ssize_t m, Py_ssize_t n, uint32_t* pivots,
    real* work
) noexcept nogil:
    """LU of at most PANEL columns, which stand as rows of scratch meanwhile."""
    cdef Py_ssize_t across = distance(m), i, j, c, pivot
    cdef real head
    cdef real* x
    load(tools, work, across, <const char*>a, sizeof(real), ld * sizeof(real), n, m)
    for j in range(min(m, n)):
        x = work + j * across
        pivot = j + largest(x + j, m - j)
        pivots[j] = <uint32_t>pivot
        for c in range(n):
            head = work[c * across + j]
            work[c * across + j] = work[c * across + pivot]
            work[c * across + pivot] = head
        head = x[j]
        if head == 0:  # a column of zeros is already eliminated
            continue
        for i in range(j + 1, m):
            x[i] = x[i] / head
        for c in range(j + 1, n):
            eliminate(
                work + c * across + j + 1, x + j + 1, work[c * across + j], m - j - 1
            )
    load(tools, a, ld, <const char*>work, sizeof(real), across * sizeof(real), m, n)


cdef void swap_rows(
    real* a, Py_ssize_t ld, Py_ssize_t n, const uint32_t* pivots, Py_ssize_t count
) noexcept nogil:
    """Exchange each row with that of its pivot, in order."""
    cdef Py_ssize_t i, j
    cdef real* x
    cdef real* y
    cdef real other
    for i in range(count):
        if <Py_ssize_t>pivots[i] != i:
            x, y = a + i * ld, a + pivots[i] * ld
            for j in range(n):
                other = x[j]
                x[j] = y[j]
                y[j] = other


cdef void factor_columns(
    const Tools* tools, real* a, Py_ssize_t ld, Py_ssize_t m, Py_ssize_t n, uint32_t* pivots,
    real* work
) noexcept nogil:
    """P @ a = L @ U in place, with partial pivoting; n <= m unless n is at most PANEL. Pivots
    count from the first row of a."""
    cdef Py_ssize_t half, i
    cdef real* right
    cdef real* below
    if n <= PANEL:
        factor_panel(tools, a, ld, m, n, pivots, work)
        return
    if interrupted():
        return
    half = half_of(n, PANEL)
    right, below = a + half, a + half * ld
    factor_columns(tools, a, ld, m, half, pivots, work)
    swap_rows(right, ld, n - half, pivots, half)
    solve_triangle(tools, a, ld, 1, half, False, True, right, ld, n - half)
    product(
        tools, SUBTRACT, below + half, ld, below, ld, 1, right, ld, 1, m - half, n - half, half
    )
    factor_columns(tools, below + half, ld, m - half, n - half, pivots + half, work)
    swap_rows(below, ld, half, pivots + half, n - half)
    for i in range(half, n):
        pivots[i] += <uint32_t>half


cdef void factor(
    const Tools* tools, real* a, Py_ssize_t ld, Py_ssize_t m, Py_ssize_t n, uint32_t* pivots,
    real* work
) noexcept nogil:
    """The same for any sizes. `work` holds PANEL rows of distance(m) numbers."""
    memset(pivots, 0, min(m, n) * sizeof(uint32_t))  # rows that are there, should Ctrl-C leave some
    if n <= m:
        factor_columns(tools, a, ld, m, n, pivots, work)
        return
    factor_columns(tools, a, ld, m, m, pivots, work)
    swap_rows(a + m, ld, n - m, pivots, m)
    solve_triangle(tools, a, ld, 1, m, False, True, a + m, ld, n - m)


cdef void order_of(
    const uint32_t* pivots, Py_ssize_t count, uint32_t* order, uint32_t* place, Py_ssize_t m
) noexcept nogil:
    """Which row comes where by the exchanges, and where each row comes."""
    cdef Py_ssize_t i
    cdef uint32_t other
    for i in range(m):
        order[i] = <uint32_t>i
    for i in range(count):
        other = order[i]
        order[i] = order[pivots[i]]
        order[pivots[i]] = other
    for i in range(m):
        place[order[i]] = <uint32_t>i


cdef bint lu_factor(System* s, real* out) noexcept nogil:
    """The factors to out, exchanges to more, and to order P with a = L[P] @ U."""
    cdef uint32_t* pivots = <uint32_t*>s.more
    load(s.tools, out, s.n, s.a, s.a_row, s.a_col, s.m, s.n)
    factor(s.tools, out, s.n, s.m, s.n, pivots, <real*>s.work)
    order_of(pivots, min(s.m, s.n), <uint32_t*>s.work, s.order, s.m)
    return True


cdef Py_ssize_t lu_factor_room(const System* s) noexcept nogil:
    return PANEL * distance(s.m)

# ---- what factors are for ----

cdef const uint32_t* factor_square(System* s, real* lu) noexcept nogil:
    """The factors of a, which come first in the room to work in, and the exchanges."""
    cdef Py_ssize_t n = s.n, ld = distance(n)
    cdef real* work = lu + n * ld
    cdef uint32_t* pivots = <uint32_t*>(work + PANEL * ld)
    load(s.tools, lu, ld, s.a, s.a_row, s.a_col, n, n)
    factor(s.tools, lu, ld, n, n, pivots, work)
    return pivots


cdef bint is_regular(const real* u, Py_ssize_t ld, Py_ssize_t n) noexcept nogil:
    """Whether no number of the diagonal is zero."""
    cdef Py_ssize_t i
    for i in range(n):
        if u[i * ld + i] == 0:
            return False
    return True


cdef bint solve(System* s, real* out) noexcept nogil:
    """inv(a) @ b."""
    cdef Py_ssize_t n = s.n, ld = distance(n)
    cdef real* lu = <real*>s.work
    cdef const uint32_t* pivots = factor_square(s, lu)
    if not is_regular(lu, ld, n):
        return False
    load(s.tools, out, s.k, s.b, s.b_row, s.b_col, n, s.k)
    swap_rows(out, s.k, s.k, pivots, n)
    solve_triangle(s.tools, lu, ld, 1, n, False, True, out, s.k, s.k)
    solve_triangle(s.tools, lu, ld, 1, n, True, False, out, s.k, s.k)
    return True


cdef Py_ssize_t square_room(const System* s) noexcept nogil:
    """Of a copy, the panels and the exchanges."""
    return (s.n + PANEL + 1) * distance(s.n)


cdef void invert_lower(
    const Tools* tools, const real* l, Py_ssize_t ld, real* x, Py_ssize_t ldx, Py_ssize_t n
) noexcept nogil:
    """x = inv(l) for a unit lower triangle; x is zero before."""
    cdef Py_ssize_t half, i
    cdef real* below
    cdef const real* far
    if n <= STEP:
        for i in range(n):
            x[i * ldx + i] = 1
        substitute(l, ld, 1, n, False, True, x, ldx, n)
        return
    half = half_of(n, STEP)
    below, far = x + half * ldx, l + half * ld
    invert_lower(tools, l, ld, x, ldx, half)
    product(tools, SUBTRACT, below, ldx, far, ld, 1, x, ldx, 1, n - half, half, half)
    solve_triangle(tools, far + half, ld, 1, n - half, False, True, below, ldx, half)
    invert_lower(tools, far + half, ld, below + half, ldx, n - half)


cdef bint inv(System* s, real* out) noexcept nogil:
    """inv(U) @ inv(L), and then columns go where the rows came from."""
    cdef Py_ssize_t n = s.n, ld = distance(n), i, j
    cdef real* lu = <real*>s.work
    cdef real* work = lu + n * ld
    cdef uint32_t* place = <uint32_t*>(work + ld)
    cdef const uint32_t* pivots = factor_square(s, lu)
    if not is_regular(lu, ld, n):
        return False
    memset(out, 0, n * n * sizeof(real))
    invert_lower(s.tools, lu, ld, out, n, n)
    solve_triangle(s.tools, lu, ld, 1, n, True, False, out, n, n)
    if interrupted():
        return True
    order_of(pivots, n, <uint32_t*>work, place, n)
    for i in range(n):
        memcpy(work, out + i * n, n * sizeof(real))
        for j in range(n):
            out[i * n + j] = work[place[j]]
    return True


cdef bint solve_triangular(System* s, real* out) noexcept nogil:
    """inv(a) @ b for a triangle of a."""
    cdef Py_ssize_t n = s.n, row = s.a_row // sizeof(real), col = s.a_col // sizeof(real)
    cdef const real* a = <const real*>s.a
    if s.a_row % sizeof(real) or s.a_col % sizeof(real):
        load(s.tools, <real*>s.work, n, s.a, s.a_row, s.a_col, n, n)
        a, row, col = <const real*>s.work, n, 1
    if not is_regular(a, row + col - 1, n):
        return False
    load(s.tools, out, s.k, s.b, s.b_row, s.b_col, n, s.k)
    solve_triangle(s.tools, a, row, col, n, s.upper, False, out, s.k, s.k)
    return True


cdef Py_ssize_t solve_triangular_room(const System* s) noexcept nogil:
    return s.n * s.n


cdef int sign_of(const real* u, Py_ssize_t ld, Py_ssize_t n, const uint32_t* pivots) noexcept nogil:
    """Of the determinant: 0, 1 or -1."""
    cdef Py_ssize_t i
    cdef int sign = 1
    for i in range(n):
        if u[i * ld + i] == 0:
            return 0
        if (<Py_ssize_t>pivots[i] != i) != (u[i * ld + i] < 0):
            sign = -sign
    return sign


cdef bint det(System* s, real* out) noexcept nogil:
    """The product of the diagonal, exponents apart: it overflows only if the result does."""
    cdef Py_ssize_t n = s.n, ld = distance(n), i
    cdef real* lu = <real*>s.work
    cdef const uint32_t* pivots = factor_square(s, lu)
    cdef int exponent = 0, more
    cdef double value = 1
    for i in range(n):
        value = frexp(value * fabs(<double>lu[i * ld + i]), &more)
        exponent += more
    out[0] = <real>(sign_of(lu, ld, n, pivots) * ldexp(value, exponent))
    return True


cdef bint slogdet(System* s, real* out) noexcept nogil:
    """The sign to out, and the sum of logarithms to more."""
    cdef Py_ssize_t n = s.n, ld = distance(n), i
    cdef real* lu = <real*>s.work
    cdef const uint32_t* pivots = factor_square(s, lu)
    cdef double total = 0
    for i in range(n):
        total += log(fabs(<double>lu[i * ld + i]))
    out[0] = <real>sign_of(lu, ld, n, pivots)
    (<real*>s.more)[0] = <real>total
    return True

# ---- entries ----

cdef bint cholesky_f32(System* s) noexcept nogil:
    return cholesky(s, <f32*>s.out)


cdef bint cholesky_f64(System* s) noexcept nogil:
    return cholesky(s, <f64*>s.out)


cdef bint lu_factor_f32(System* s) noexcept nogil:
    return lu_factor(s, <f32*>s.out)


cdef bint lu_factor_f64(System* s) noexcept nogil:
    return lu_factor(s, <f64*>s.out)


cdef bint solve_f32(System* s) noexcept nogil:
    return solve(s, <f32*>s.out)


cdef bint solve_f64(System* s) noexcept nogil:
    return solve(s, <f64*>s.out)


cdef bint inv_f32(System* s) noexcept nogil:
    return inv(s, <f32*>s.out)


cdef bint inv_f64(System* s) noexcept nogil:
    return inv(s, <f64*>s.out)


cdef bint solve_triangular_f32(System* s) noexcept nogil:
    return solve_triangular(s, <f32*>s.out)


cdef bint solve_triangular_f64(System* s) noexcept nogil:
    return solve_triangular(s, <f64*>s.out)


cdef bint det_f32(System* s) noexcept nogil:
    return det(s, <f32*>s.out)


cdef bint det_f64(System* s) noexcept nogil:
    return det(s, <f64*>s.out)


cdef bint slogdet_f32(System* s) noexcept nogil:
    return slogdet(s, <f32*>s.out)


cdef bint slogdet_f64(System* s) noexcept nogil:
    return slogdet(s, <f64*>s.out)


def table():
    """Addresses of the kernels by name."""
    return {
        "linalg_cholesky_f32": <size_t>&cholesky_f32,
        "linalg_cholesky_f64": <size_t>&cholesky_f64,
        "linalg_lu_factor_f32": <size_t>&lu_factor_f32,
        "linalg_lu_factor_f64": <size_t>&lu_factor_f64,
        "linalg_solve_f32": <size_t>&solve_f32,
        "linalg_solve_f64": <size_t>&solve_f64,
        "linalg_inv_f32": <size_t>&inv_f32,
        "linalg_inv_f64": <size_t>&inv_f64,
        "linalg_solve_triangular_f32": <size_t>&solve_triangular_f32,
        "linalg_solve_triangular_f64": <size_t>&solve_triangular_f64,
        "linalg_det_f32": <size_t>&det_f32,
        "linalg_det_f64": <size_t>&det_f64,
        "linalg_slogdet_f32": <size_t>&slogdet_f32,
        "linalg_slogdet_f64": <size_t>&slogdet_f64,
        "linalg_cholesky_room": <size_t>&cholesky_room,
        "linalg_lu_factor_room": <size_t>&lu_factor_room,
        "linalg_solve_room": <size_t>&square_room,
        "linalg_inv_room": <size_t>&square_room,
        "linalg_solve_triangular_room": <size_t>&solve_triangular_room,
        "linalg_det_room": <size_t>&square_room,
        "linalg_slogdet_room": <size_t>&square_room,
    }
