"""Linear algebra of small matrices, as many at once as there are lanes.

Numbers of the same place in all matrices stand side by side, so that one vector operation serves
all of them, and rows are exchanged by choosing. Places count numbers of LANES; what a matrix lacks
to fill the lanes, the first one repeated does.
"""

from libc.math cimport fabs, frexp, ldexp, log, sqrt

from mlxc._kernels.factor cimport FEW, LANES, SIDES, Few
from mlxc._kernels.lines cimport real
from mlxc._kernels.types cimport f32, f64

# ---- in and out ----

cdef void gather(
    real* x, Py_ssize_t ld, char** from_, Py_ssize_t row, Py_ssize_t col, Py_ssize_t m,
    Py_ssize_t n
) noexcept nogil:
    """m x n matrices of any strides (bytes) to rows of `ld` places."""
    cdef Py_ssize_t i, j, v
    for v in range(LANES):
        for i in range(m):
            for j in range(n):
                x[(i * ld + j) * LANES + v] = (<const real*>(from_[v] + i * row + j * col))[0]


cdef void scatter(
    const real* x, Py_ssize_t ld, char** to, Py_ssize_t row, Py_ssize_t col, Py_ssize_t m,
    Py_ssize_t n, Py_ssize_t count
) noexcept nogil:
    """The same back, for the first `count` matrices; strides count numbers."""
    cdef Py_ssize_t i, j, v
    for v in range(count):
        for i in range(m):
            for j in range(n):
                (<real*>to[v])[i * row + j * col] = x[(i * ld + j) * LANES + v]

# ---- one place of all matrices ----

cdef inline void subtract(real* to, const real* x, const real* y) noexcept nogil:
    """to -= x * y."""
    cdef real[LANES] t
    cdef Py_ssize_t v
    for v in range(LANES):
        t[v] = to[v] - x[v] * y[v]
    for v in range(LANES):
        to[v] = t[v]


cdef inline void add(real* to, const real* x, const real* y) noexcept nogil:
    """to += x * y."""
    cdef real[LANES] t
    cdef Py_ssize_t v
    for v in range(LANES):
        t[v] = to[v] + x[v] * y[v]
    for v in range(LANES):
        to[v] = t[v]


cdef inline void divide(real* to, const real* x) noexcept nogil:
    cdef real[LANES] t
    cdef Py_ssize_t v
    for v in range(LANES):
        t[v] = to[v] / x[v]
    for v in range(LANES):
        to[v] = t[v]


cdef inline void exchange(real* x, real* y, const real* at, real i) noexcept nogil:
    """x and y where `at` is i."""
    cdef real[LANES] s, t
    cdef Py_ssize_t v
    for v in range(LANES):
        s[v] = y[v] if at[v] == i else x[v]
        t[v] = x[v] if at[v] == i else y[v]
    for v in range(LANES):
        x[v] = s[v]
        y[v] = t[v]

# ---- Cholesky ----

cdef bint cholesky(Few* s, real* _) noexcept nogil:
    """L, or its transpose by exchanged strides."""
    cdef real[FEW * FEW * LANES] a
    cdef Py_ssize_t n = s.n, i, j, k, v
    cdef bint bad = False
    cdef real* x
    if s.upper:
        gather(a, n, s.a, s.a_col, s.a_row, n, n)
    else:
        gather(a, n, s.a, s.a_row, s.a_col, n, n)
    for j in range(n):
        for i in range(j, n):
            x = a + (i * n + j) * LANES
            for k in range(j):
                subtract(x, a + (i * n + k) * LANES, a + (j * n + k) * LANES)
            if i > j:
                divide(x, a + (j * n + j) * LANES)
                continue
            for v in range(LANES):
                bad |= x[v] <= 0
            for v in range(LANES):
                x[v] = <real>sqrt(x[v])
            for k in range(j + 1, n):
                for v in range(LANES):
                    a[(j * n + k) * LANES + v] = 0
    if s.upper:
        scatter(a, n, s.out, 1, n, n, n, s.count)
    else:
        scatter(a, n, s.out, n, 1, n, n, s.count)
    return not bad

# ---- elimination ----

cdef bint eliminate(real* a, Py_ssize_t ld, Py_ssize_t n, real* sign) noexcept nogil:
    """Rows of `ld` places, of which the first n are a square matrix, to an upper triangle by
    partial pivoting; whether no matrix is singular. The signs of the exchanges."""
    cdef real[LANES] best, at, factor
    cdef Py_ssize_t c, i, j, v
    cdef real size
    cdef bint singular = False
    cdef real* head
    for v in range(LANES):
        sign[v] = 1
    for c in range(n):
        head = a + (c * ld + c) * LANES
        for v in range(LANES):
            best[v] = head[v] if head[v] > 0 else -head[v]
            at[v] = <real>c
        for i in range(c + 1, n):
            for v in range(LANES):
                size = a[(i * ld + c) * LANES + v]
                size = size if size > 0 else -size
                at[v] = <real>i if size > best[v] else at[v]
                best[v] = size if size > best[v] else best[v]
        for i in range(c + 1, n):
            for j in range(c, ld):
                exchange(a + (c * ld + j) * LANES, a + (i * ld + j) * LANES, at, <real>i)
        for v in range(LANES):
            sign[v] = sign[v] if at[v] == c else -sign[v]
            singular |= head[v] == 0
        for i in range(c + 1, n):
            for v in range(LANES):  # a column of zeros is already eliminated
                size = a[(i * ld + c) * LANES + v]
                factor[v] = size / (head[v] if head[v] != 0 else <real>1)
            for j in range(c + 1, ld):
                subtract(a + (i * ld + j) * LANES, factor, a + (c * ld + j) * LANES)
    return not singular


cdef void substitute(real* a, Py_ssize_t ld, Py_ssize_t n) noexcept nogil:
    """The columns behind a triangle to the solutions."""
    cdef Py_ssize_t c, j, k
    for c in range(n - 1, -1, -1):
        for j in range(n, ld):
            for k in range(c + 1, n):
                subtract(
                    a + (c * ld + j) * LANES, a + (c * ld + k) * LANES, a + (k * ld + j) * LANES
                )
            divide(a + (c * ld + j) * LANES, a + (c * ld + c) * LANES)


cdef bint solve(Few* s, real* _) noexcept nogil:
    cdef real[FEW * (FEW + SIDES) * LANES] a
    cdef real[LANES] sign
    cdef Py_ssize_t n = s.n, ld = n + s.k
    gather(a, ld, s.a, s.a_row, s.a_col, n, n)
    gather(&a[n * LANES], ld, s.b, s.b_row, s.b_col, n, s.k)
    if not eliminate(a, ld, n, sign):
        return False
    substitute(a, ld, n)
    scatter(&a[n * LANES], ld, s.out, s.k, 1, n, s.k, s.count)
    return True


cdef bint inv(Few* s, real* _) noexcept nogil:
    cdef real[2 * FEW * FEW * LANES] a
    cdef real[LANES] sign
    cdef Py_ssize_t n = s.n, ld = 2 * n, i, j, v
    gather(a, ld, s.a, s.a_row, s.a_col, n, n)
    for i in range(n):
        for j in range(n):
            for v in range(LANES):
                a[(i * ld + n + j) * LANES + v] = 1 if i == j else 0
    if not eliminate(a, ld, n, sign):
        return False
    substitute(a, ld, n)
    scatter(&a[n * LANES], ld, s.out, n, 1, n, n, s.count)
    return True


cdef bint det(Few* s, real* _) noexcept nogil:
    """Exponents apart: it overflows only if the result does."""
    cdef real[FEW * FEW * LANES] a
    cdef real[LANES] sign
    cdef Py_ssize_t n = s.n, i, v
    cdef double value
    cdef int exponent, more
    gather(a, n, s.a, s.a_row, s.a_col, n, n)
    eliminate(a, n, n, sign)
    for v in range(s.count):
        value, exponent = sign[v], 0
        for i in range(n):
            value = frexp(value * a[(i * n + i) * LANES + v], &more)
            exponent += more
        (<real*>s.out[v])[0] = <real>ldexp(value, exponent)
    return True


cdef bint slogdet(Few* s, real* _) noexcept nogil:
    cdef real[FEW * FEW * LANES] a
    cdef real[LANES] sign
    cdef Py_ssize_t n = s.n, i, v
    cdef double total, x
    gather(a, n, s.a, s.a_row, s.a_col, n, n)
    eliminate(a, n, n, sign)
    for v in range(s.count):
        total = 0
        for i in range(n):
            x = a[(i * n + i) * LANES + v]
            total += log(fabs(x))
            sign[v] = 0 if x == 0 else (-sign[v] if x < 0 else sign[v])
        (<real*>s.out[v])[0] = sign[v]
        (<real*>s.more[v])[0] = <real>total
    return True

# ---- QR ----

cdef void mirror(real* x, Py_ssize_t ld, Py_ssize_t m, real* tau) noexcept nogil:
    """The reflection I - tau v v' that takes a column of m places to its first, with LAPACK's
    sign; v, whose first number is 1, stands in the others afterwards."""
    cdef real[LANES] scale, total, head, beta, rest
    cdef Py_ssize_t i, v
    cdef real size
    for v in range(LANES):
        scale[v] = total[v] = rest[v] = 0
    for i in range(m):
        for v in range(LANES):
            size = x[i * ld * LANES + v]
            size = size if size > 0 else -size
            scale[v] = size if size > scale[v] else scale[v]
            rest[v] = rest[v] + (size if i > 0 else <real>0)  # NaN stays
    for v in range(LANES):
        scale[v] = scale[v] if scale[v] > 0 else <real>1
    for i in range(m):
        divide(x + i * ld * LANES, scale)
        add(total, x + i * ld * LANES, x + i * ld * LANES)
    for v in range(LANES):
        head[v] = x[v]
        beta[v] = <real>sqrt(total[v])
        beta[v] = beta[v] if head[v] < 0 else -beta[v]
        tau[v] = (beta[v] - head[v]) / beta[v] if rest[v] != 0 else <real>0
        x[v] = (beta[v] if rest[v] != 0 else head[v]) * scale[v]
        head[v] = head[v] - beta[v] if rest[v] != 0 else <real>1
    for i in range(1, m):
        divide(x + i * ld * LANES, head)


cdef void reflect(
    real* y, Py_ssize_t ldy, const real* x, Py_ssize_t ldx, Py_ssize_t m, const real* tau
) noexcept nogil:
    """y -= tau v (v'y) for one column."""
    cdef real[LANES] along
    cdef Py_ssize_t i, v
    for v in range(LANES):
        along[v] = y[v]
    for i in range(1, m):
        add(along, x + i * ldx * LANES, y + i * ldy * LANES)
    for v in range(LANES):
        along[v] = along[v] * tau[v]
    for v in range(LANES):
        y[v] = y[v] - along[v]
    for i in range(1, m):
        subtract(y + i * ldy * LANES, along, x + i * ldx * LANES)


cdef bint qr(Few* s, real* _) noexcept nogil:
    """Q to out, R to more."""
    cdef real[FEW * FEW * LANES] a, q
    cdef real[FEW * LANES] tau
    cdef Py_ssize_t m = s.m, n = s.n, k = min(m, n), i, j, c, v
    gather(a, n, s.a, s.a_row, s.a_col, m, n)
    for j in range(k):
        mirror(a + (j * n + j) * LANES, n, m - j, tau + j * LANES)
        for c in range(j + 1, n):
            reflect(
                a + (j * n + c) * LANES, n, a + (j * n + j) * LANES, n, m - j, tau + j * LANES
            )
    for i in range(m):
        for j in range(k):
            for v in range(LANES):
                q[(i * k + j) * LANES + v] = 1 if i == j else 0
    for j in range(k - 1, -1, -1):
        for c in range(j, k):
            reflect(
                q + (j * k + c) * LANES, k, a + (j * n + j) * LANES, n, m - j, tau + j * LANES
            )
    scatter(q, k, s.out, k, 1, m, k, s.count)
    for j in range(n):
        for i in range(j + 1, k):
            for v in range(LANES):
                a[(i * n + j) * LANES + v] = 0
    scatter(a, n, s.more, n, 1, k, n, s.count)
    return True

# ---- entries ----

cdef bint cholesky_f32(Few* s) noexcept nogil:
    return cholesky(s, <f32*>NULL)


cdef bint cholesky_f64(Few* s) noexcept nogil:
    return cholesky(s, <f64*>NULL)


cdef bint inv_f32(Few* s) noexcept nogil:
    return inv(s, <f32*>NULL)


cdef bint inv_f64(Few* s) noexcept nogil:
    return inv(s, <f64*>NULL)


cdef bint solve_f32(Few* s) noexcept nogil:
    return solve(s, <f32*>NULL)


cdef bint solve_f64(Few* s) noexcept nogil:
    return solve(s, <f64*>NULL)


cdef bint qr_f32(Few* s) noexcept nogil:
    return qr(s, <f32*>NULL)


cdef bint qr_f64(Few* s) noexcept nogil:
    return qr(s, <f64*>NULL)


cdef bint det_f32(Few* s) noexcept nogil:
    return det(s, <f32*>NULL)


cdef bint det_f64(Few* s) noexcept nogil:
    return det(s, <f64*>NULL)


cdef bint slogdet_f32(Few* s) noexcept nogil:
    return slogdet(s, <f32*>NULL)


cdef bint slogdet_f64(Few* s) noexcept nogil:
    return slogdet(s, <f64*>NULL)


def table():
    """Addresses of the kernels by name."""
    return {
        "linalg_few_cholesky_f32": <size_t>&cholesky_f32,
        "linalg_few_cholesky_f64": <size_t>&cholesky_f64,
        "linalg_few_inv_f32": <size_t>&inv_f32,
        "linalg_few_inv_f64": <size_t>&inv_f64,
        "linalg_few_solve_f32": <size_t>&solve_f32,
        "linalg_few_solve_f64": <size_t>&solve_f64,
        "linalg_few_qr_f32": <size_t>&qr_f32,
        "linalg_few_qr_f64": <size_t>&qr_f64,
        "linalg_few_det_f32": <size_t>&det_f32,
        "linalg_few_det_f64": <size_t>&det_f64,
        "linalg_few_slogdet_f32": <size_t>&slogdet_f32,
        "linalg_few_slogdet_f64": <size_t>&slogdet_f64,
    }
