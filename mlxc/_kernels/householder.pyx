"""QR factorisation by Householder reflections, in panels of columns whose reflections are joined,
so that the rest of the matrix meets them in three products.

A panel's columns stand as rows of scratch, where every inner loop runs along them; there they stay,
as V, until Q is made of them.
"""

from libc.math cimport INFINITY, fabs, hypot, sqrt
from libc.string cimport memcpy, memset

from mlxc._kernels.factor cimport System, Tools
from mlxc._kernels.lines cimport STRIP, distance, eliminate, largest, load, product, real
from mlxc._kernels.product cimport SET, SUBTRACT
from mlxc._kernels.types cimport f32, f64
from mlxc._threads.pool cimport interrupted

cdef enum:
    WIDTH = 64           # columns whose reflections are joined, at most
    NARROW = 32          # the same, of matrices with fewer than WIDE columns
    WIDE = 400

# Between these, a sum of squares of either type neither overflowed nor vanished.
cdef double SMALLEST = 1e-30, LARGEST = 1e30
cdef double LIFT = 1267650600228229401496703205376.0  # 2 ** 100

cdef inline Py_ssize_t halve(
    real* lanes, const real* x, const real* y, Py_ssize_t n, const Py_ssize_t half
) noexcept nogil:
    """Add the upper half of the lanes to the lower, and as many products if there are; how many."""
    cdef Py_ssize_t v
    for v in range(half):
        lanes[v] = lanes[v] + lanes[half + v]
    if n < half:
        return 0
    for v in range(half):
        lanes[v] = lanes[v] + x[v] * y[v]
    return half


cdef inline real dot(const real* x, const real* y, Py_ssize_t n) noexcept nogil:
    """The lanes are halved as they are added up; what is left of the line fits the next half."""
    cdef real[STRIP] lanes
    cdef Py_ssize_t i = 0, v
    for v in range(STRIP):
        lanes[v] = 0
    while i + STRIP <= n:
        for v in range(STRIP):
            lanes[v] = lanes[v] + x[i + v] * y[i + v]
        i += STRIP
    i += halve(lanes, x + i, y + i, n - i, STRIP // 2)
    i += halve(lanes, x + i, y + i, n - i, STRIP // 4)
    i += halve(lanes, x + i, y + i, n - i, STRIP // 8)
    i += halve(lanes, x + i, y + i, n - i, STRIP // 16)
    i += halve(lanes, x + i, y + i, n - i, STRIP // 32)
    halve(lanes, x + i, y + i, n - i, STRIP // 64)
    return lanes[0]


cdef double length_of(const real* x, Py_ssize_t n) noexcept nogil:
    """The 2-norm, scaled where squares overflow or vanish."""
    cdef double total = dot(x, x, n), top
    cdef Py_ssize_t i
    if SMALLEST < total < LARGEST or total != total:
        return sqrt(total)
    top = fabs(<double>x[largest(x, n)]) if n > 0 else 0
    if top == 0 or top == INFINITY:
        return top
    total = 0
    for i in range(n):
        total += (x[i] / top) * (x[i] / top)
    return top * sqrt(total)


cdef void reflect_panel(
    real* v, Py_ssize_t across, Py_ssize_t m, Py_ssize_t n, real* tau
) noexcept nogil:
    """Householder reflections I - tau v v' of n columns, which stand as rows: R to the left of and
    on the diagonal, v right of it. Signs are LAPACK's: R's diagonal has the opposite ones."""
    cdef Py_ssize_t i, j, c
    cdef real* x
    cdef real* y
    cdef real head, factor
    cdef double tail, beta, lift
    for j in range(min(m, n)):
        x = v + j * across + j
        head, tail, lift = x[0], length_of(x + 1, m - j - 1), 1
        tau[j] = 0
        if tail == 0:
            continue
        beta = hypot(<double>head, tail)
        if beta < SMALLEST:  # its own digits would be lost
            lift = LIFT
            for i in range(m - j):
                x[i] = x[i] * <real>LIFT
            head, tail, beta = x[0], tail * LIFT, beta * LIFT
        beta = beta if head < 0 else -beta
        tau[j] = <real>((beta - head) / beta)
        factor = <real>(head - beta)
        for i in range(1, m - j):
            x[i] = x[i] / factor
        for c in range(j + 1, n):
            y = v + c * across + j
            factor = tau[j] * (y[0] + dot(x + 1, y + 1, m - j - 1))
            y[0] = y[0] - factor
            eliminate(y + 1, x + 1, factor, m - j - 1)
        x[0] = <real>(beta / lift)
        if interrupted():
            return


cdef void join_reflections(
    const Tools* tools, const real* v, Py_ssize_t across, Py_ssize_t m, Py_ssize_t n,
    const real* tau, real* t, real* gram
) noexcept nogil:
    """T, upper triangular, with I - V T V' the product of n reflections (Schreiber and Van Loan
    1989, "A storage-efficient WY representation"). Rows of t and gram hold WIDTH numbers."""
    cdef Py_ssize_t i, j, p
    cdef real total
    product(tools, SET, gram, WIDTH, v, across, 1, v, 1, across, n, n, m)
    for j in range(n):
        for i in range(j):
            total = 0
            for p in range(i, j):
                total = total + t[i * WIDTH + p] * gram[p * WIDTH + j]
            t[i * WIDTH + j] = -tau[j] * total
            t[j * WIDTH + i] = 0
        t[j * WIDTH + j] = tau[j]


cdef void reflect(
    const Tools* tools, const real* v, Py_ssize_t across, const real* t, bint transposed,
    real* x, Py_ssize_t ld, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, real* work
) noexcept nogil:
    """x -= V T V' x, or with T' for T: n columns by k reflections."""
    cdef Py_ssize_t row = distance(n)
    cdef real* turned = work + WIDTH * row
    if n == 0:
        return
    product(tools, SET, work, row, v, across, 1, x, ld, 1, k, n, m)
    if transposed:
        product(tools, SET, turned, row, t, 1, WIDTH, work, row, 1, k, n, k)
    else:
        product(tools, SET, turned, row, t, WIDTH, 1, work, row, 1, k, n, k)
    product(tools, SUBTRACT, x, ld, v, 1, across, turned, row, 1, m, n, k)


cdef void write_triangle(
    real* a, Py_ssize_t ld, real* v, Py_ssize_t across, Py_ssize_t n
) noexcept nogil:
    """R of a panel to where it stood; V gets its ones and zeros."""
    cdef Py_ssize_t i, c
    for c in range(n):
        for i in range(c + 1):
            a[i * ld + c] = v[c * across + i]
            v[c * across + i] = 0
        v[c * across + c] = 1


cdef bint qr(System* s, real* q) noexcept nogil:
    """Q to out, R to more."""
    cdef Py_ssize_t m = s.m, n = s.n, k = min(m, n), ld = distance(n), across = distance(m)
    cdef Py_ssize_t j, width, i, most = NARROW if k < WIDE else WIDTH
    cdef real* a = <real*>s.work
    cdef real* v = a + m * ld
    cdef real* t = v + k * across            # of each panel
    cdef real* gram = t + (k + WIDTH) * WIDTH
    cdef real* tau = gram + WIDTH * WIDTH
    cdef real* more = tau + distance(WIDTH)
    cdef real* r = <real*>s.more
    load(s.tools, a, ld, s.a, s.a_row, s.a_col, m, n)
    j = 0
    while j < k:
        width = min(k - j, most)
        load(
            s.tools, v + j * across + j, across, <const char*>(a + j * ld + j), sizeof(real),
            ld * sizeof(real), width, m - j
        )
        reflect_panel(v + j * across + j, across, m - j, width, tau)
        if interrupted():
            return True
        write_triangle(a + j * ld + j, ld, v + j * across + j, across, width)
        join_reflections(
            s.tools, v + j * across + j, across, m - j, width, tau, t + j * WIDTH, gram
        )
        reflect(
            s.tools, v + j * across + j, across, t + j * WIDTH, True, a + j * ld + j + width, ld,
            m - j, n - j - width, width, more
        )
        j += width
    for i in range(k):
        memset(r + i * n, 0, i * sizeof(real))
        memcpy(r + i * n + i, a + i * ld + i, (n - i) * sizeof(real))
    memset(q, 0, m * k * sizeof(real))
    for i in range(k):
        q[i * k + i] = 1
    j = (k - 1) // most * most
    while j >= 0:
        width = min(k - j, most)
        reflect(
            s.tools, v + j * across + j, across, t + j * WIDTH, False, q + j * k + j, k, m - j,
            k - j, width, more
        )
        if interrupted():
            return True
        j -= most
    return True


cdef Py_ssize_t qr_room(const System* s) noexcept nogil:
    cdef Py_ssize_t k = min(s.m, s.n), ld = distance(s.n)
    return (
        s.m * ld + k * distance(s.m) + (k + 2 * WIDTH) * WIDTH + distance(WIDTH) + 2 * WIDTH * ld
    )


cdef bint qr_f32(System* s) noexcept nogil:
    return qr(s, <f32*>s.out)


cdef bint qr_f64(System* s) noexcept nogil:
    return qr(s, <f64*>s.out)


def table():
    """Addresses of the kernels by name."""
    return {
        "linalg_qr_f32": <size_t>&qr_f32,
        "linalg_qr_f64": <size_t>&qr_f64,
        "linalg_qr_room": <size_t>&qr_room,
    }
