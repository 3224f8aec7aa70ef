"""Fourier transforms of many lines at once, one a lane: Stockham's algorithm in passes of radix 8,
4, 2, 5 and 3 (Van Loan 1992, "Computational frameworks for the fast Fourier transform", 1.7).

Lines are gathered into the work space, transformed between its two halves, and written back.
Inverse transforms exchange real and imaginary parts on the way in and out. Real lines of even
length are transformed as complex ones of half the length.
"""

from mlxc._kernels.lanes cimport C2C, PART, R2C, ROW, Lines, Pass
from mlxc._kernels.tile cimport LANES, Vector, at, put
from mlxc._kernels.types cimport f32

cdef extern from *:
    """
    /* The numbers of two vectors in turn: of their first halves, of their second halves. */
    #if MLXC_LANES == 16
    #define MLXC_LOW(a, b) \\
        __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
    #define MLXC_HIGH(a, b) \\
        __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
    #elif MLXC_LANES == 8
    #define MLXC_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
    #define MLXC_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
    #else
    #define MLXC_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
    #define MLXC_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
    #endif
    """
    Vector low "MLXC_LOW"(Vector a, Vector b) noexcept nogil
    Vector high "MLXC_HIGH"(Vector a, Vector b) noexcept nogil

ctypedef const char* const_chars
ctypedef char* chars

cdef enum:
    PAIRS = PART // 2    # complex numbers side by side of a square
    BINS = 32            # of real lines that are joined before they are written

# ---- passes: x (radix, m, s) to y (m, radix, s), rows of the work space ----

cdef inline void turn(f32* y, Vector re, Vector im, const f32* w) noexcept nogil:
    """re + i im, times the twiddle at w, into a row."""
    put(y, re * w[0] - im * w[1], False)
    put(y + PART, re * w[1] + im * w[0], False)


cdef void pass_2(const f32* x, f32* y, const Pass* g) noexcept nogil:
    cdef Py_ssize_t p, q, v, far = g.m * g.s * ROW, next = g.s * ROW
    cdef const f32* a
    cdef f32* b
    for p in range(g.m):
        for q in range(g.s):
            for v in range(PART // LANES):
                a = x + (p * g.s + q) * ROW + v * LANES
                b = y + (2 * p * g.s + q) * ROW + v * LANES
                put(b, at(a) + at(a + far), False)
                put(b + PART, at(a + PART) + at(a + far + PART), False)
                turn(b + next, at(a) - at(a + far), at(a + PART) - at(a + far + PART),
                     g.twiddles + 2 * p)


cdef void pass_3(const f32* x, f32* y, const Pass* g) noexcept nogil:
    cdef Py_ssize_t p, q, v, far = g.m * g.s * ROW, next = g.s * ROW
    cdef f32 sine = <f32>0.86602540378443865, half = <f32>0.5
    cdef Vector ar, ai, ur, ui, vr, vi
    cdef const f32* w
    cdef const f32* a
    cdef f32* b
    for p in range(g.m):
        w = g.twiddles + 4 * p
        for q in range(g.s):
            for v in range(PART // LANES):
                a = x + (p * g.s + q) * ROW + v * LANES
                b = y + (3 * p * g.s + q) * ROW + v * LANES
                ar, ai = at(a), at(a + PART)
                ur = at(a + far) + at(a + 2 * far)
                ui = at(a + far + PART) + at(a + 2 * far + PART)
                vr = sine * (at(a + far) - at(a + 2 * far))
                vi = sine * (at(a + far + PART) - at(a + 2 * far + PART))
                put(b, ar + ur, False)
                put(b + PART, ai + ui, False)
                ur = ar - half * ur
                ui = ai - half * ui
                turn(b + next, ur + vi, ui - vr, w)
                turn(b + 2 * next, ur - vi, ui + vr, w + 2)


cdef inline void quarter(
    f32* y, Py_ssize_t next, Vector r0, Vector i0, Vector r1, Vector i1, Vector r2, Vector i2,
    Vector r3, Vector i3, const f32* w, Py_ssize_t each
) noexcept nogil:
    """Four points to four rows; their twiddles stand ``each`` numbers apart."""
    cdef Vector ar = r0 + r2, ai = i0 + i2, br = r1 + r3, bi = i1 + i3
    cdef Vector cr = r0 - r2, ci = i0 - i2, dr = i1 - i3, di = r3 - r1
    turn(y, ar + br, ai + bi, w)
    turn(y + next, cr + dr, ci + di, w + each)
    turn(y + 2 * next, ar - br, ai - bi, w + 2 * each)
    turn(y + 3 * next, cr - dr, ci - di, w + 3 * each)


cdef void pass_4(const f32* x, f32* y, const Pass* g) noexcept nogil:
    cdef Py_ssize_t p, q, v, far = g.m * g.s * ROW, next = g.s * ROW
    cdef const f32* a
    for p in range(g.m):
        for q in range(g.s):
            for v in range(PART // LANES):
                a = x + (p * g.s + q) * ROW + v * LANES
                quarter(
                    y + (4 * p * g.s + q) * ROW + v * LANES, next, at(a), at(a + PART), at(a + far),
                    at(a + far + PART), at(a + 2 * far), at(a + 2 * far + PART), at(a + 3 * far),
                    at(a + 3 * far + PART), g.twiddles + 8 * p, 2
                )


cdef void pass_5(const f32* x, f32* y, const Pass* g) noexcept nogil:
    cdef Py_ssize_t p, q, v, far = g.m * g.s * ROW, next = g.s * ROW
    cdef f32 c1 = <f32>0.30901699437494742, c2 = <f32>-0.80901699437494742
    cdef f32 s1 = <f32>0.95105651629515357, s2 = <f32>0.58778525229247313
    cdef Vector ar, ai, br, bi, cr, ci, dr, di, er, ei
    cdef const f32* w
    cdef const f32* a
    cdef f32* b
    for p in range(g.m):
        w = g.twiddles + 8 * p
        for q in range(g.s):
            for v in range(PART // LANES):
                a = x + (p * g.s + q) * ROW + v * LANES
                b = y + (5 * p * g.s + q) * ROW + v * LANES
                ar, ai = at(a), at(a + PART)
                br = at(a + far) + at(a + 4 * far)
                bi = at(a + far + PART) + at(a + 4 * far + PART)
                cr = at(a + 2 * far) + at(a + 3 * far)
                ci = at(a + 2 * far + PART) + at(a + 3 * far + PART)
                dr = at(a + far) - at(a + 4 * far)
                di = at(a + far + PART) - at(a + 4 * far + PART)
                er = at(a + 2 * far) - at(a + 3 * far)
                ei = at(a + 2 * far + PART) - at(a + 3 * far + PART)
                put(b, ar + br + cr, False)
                put(b + PART, ai + bi + ci, False)
                turn(b + next, ar + c1 * br + c2 * cr + (s1 * di + s2 * ei),
                     ai + c1 * bi + c2 * ci - (s1 * dr + s2 * er), w)
                turn(b + 2 * next, ar + c2 * br + c1 * cr + (s2 * di - s1 * ei),
                     ai + c2 * bi + c1 * ci - (s2 * dr - s1 * er), w + 2)
                turn(b + 3 * next, ar + c2 * br + c1 * cr - (s2 * di - s1 * ei),
                     ai + c2 * bi + c1 * ci + (s2 * dr - s1 * er), w + 4)
                turn(b + 4 * next, ar + c1 * br + c2 * cr - (s1 * di + s2 * ei),
                     ai + c1 * bi + c2 * ci + (s1 * dr + s2 * er), w + 6)


cdef void pass_8(const f32* x, f32* y, const Pass* g) noexcept nogil:
    cdef Py_ssize_t p, q, v, far = g.m * g.s * ROW, next = g.s * ROW
    cdef f32 half = <f32>0.70710678118654752
    cdef Vector r0, i0, r1, i1, r2, i2, r3, i3
    cdef const f32* w
    cdef const f32* a
    cdef const f32* b
    cdef f32* out
    for p in range(g.m):
        w = g.twiddles + 16 * p
        for q in range(g.s):
            for v in range(PART // LANES):
                a = x + (p * g.s + q) * ROW + v * LANES
                b = a + 4 * far
                out = y + (8 * p * g.s + q) * ROW + v * LANES
                quarter(
                    out, 2 * next, at(a) + at(b), at(a + PART) + at(b + PART),
                    at(a + far) + at(b + far), at(a + far + PART) + at(b + far + PART),
                    at(a + 2 * far) + at(b + 2 * far),
                    at(a + 2 * far + PART) + at(b + 2 * far + PART),
                    at(a + 3 * far) + at(b + 3 * far),
                    at(a + 3 * far + PART) + at(b + 3 * far + PART), w, 4
                )
                r0, i0 = at(a) - at(b), at(a + PART) - at(b + PART)
                r1, i1 = at(a + far) - at(b + far), at(a + far + PART) - at(b + far + PART)
                r2 = at(a + 2 * far) - at(b + 2 * far)
                i2 = at(a + 2 * far + PART) - at(b + 2 * far + PART)
                r3 = at(a + 3 * far) - at(b + 3 * far)
                i3 = at(a + 3 * far + PART) - at(b + 3 * far + PART)
                quarter(
                    out + next, 2 * next, r0, i0, half * (r1 + i1), half * (i1 - r1), i2, -r2,
                    half * (i3 - r3), -half * (r3 + i3), w + 2, 4
                )

# ---- real lines of even length ----

cdef void join_halves(
    const f32* z, f32* x, const Lines* g, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    """Spectrum z of the even samples + i the odd ones, to some of n / 2 + 1 bins (Sorensen et al.
    1987)."""
    cdef Py_ssize_t k, v, m = g.length
    cdef f32 half = <f32>0.5
    cdef Vector er, ei, odd_r, odd_i
    cdef const f32* a
    cdef const f32* b
    for k in range(first, first + count):
        for v in range(PART // LANES):
            a = z + (k if k < m else 0) * ROW + v * LANES
            b = z + (m - k if k > 0 else 0) * ROW + v * LANES
            er = half * (at(a) + at(b))
            ei = half * (at(a + PART) - at(b + PART))
            odd_r = half * (at(a + PART) + at(b + PART))
            odd_i = half * (at(b) - at(a))
            turn(x + (k - first) * ROW + v * LANES, odd_r, odd_i, g.turns + 2 * k)
            put(x + (k - first) * ROW + v * LANES, er, True)
            put(x + (k - first) * ROW + PART + v * LANES, ei, True)


cdef void part_halves(f32* x, f32* z, const Lines* g) noexcept nogil:
    """The way back, twice as large; parts come out exchanged, for an inverse transform."""
    cdef Py_ssize_t k, v, m = g.length
    cdef f32 c, d
    cdef Vector er, ei, dr, di
    cdef const f32* a
    cdef const f32* b
    for v in range(PART):  # what a real line cannot have
        x[PART + v] = <f32>0.0
        x[m * ROW + PART + v] = <f32>0.0
    for k in range(m):
        c, d = g.turns[2 * k], -g.turns[2 * k + 1]
        for v in range(PART // LANES):
            a = x + k * ROW + v * LANES
            b = x + (m - k) * ROW + v * LANES
            er = at(a) + at(b)
            ei = at(a + PART) - at(b + PART)
            dr = at(a) - at(b)
            di = at(a + PART) + at(b + PART)
            put(z + k * ROW + PART + v * LANES, er - (dr * d + di * c), False)
            put(z + k * ROW + v * LANES, ei + (dr * c - di * d), False)


cdef void mirror(f32* x, const Lines* g) noexcept nogil:
    """The other half of the spectrum of real lines of odd length."""
    cdef Py_ssize_t k, v
    for v in range(PART):
        x[v] = <f32>0.0  # parts stand exchanged: this is the imaginary part of the mean
    for k in range(g.n // 2 + 1, g.n):
        for v in range(PART):
            x[k * ROW + v] = -x[(g.n - k) * ROW + v]
            x[k * ROW + PART + v] = x[(g.n - k) * ROW + PART + v]

# ---- in and out ----

cdef inline void interleave(const f32* x, f32* y) noexcept nogil:
    """Rows r and r + 8 of sixteen, number by number."""
    cdef Py_ssize_t k
    cdef Vector a, b
    for k in range(PART * PART // 2 // LANES):
        a, b = at(x + k * LANES), at(x + PART * PART // 2 + k * LANES)
        put(y + 2 * k * LANES, low(a, b), False)
        put(y + (2 * k + 1) * LANES, high(a, b), False)


cdef inline void transpose(f32* square) noexcept nogil:
    """Sixteen by sixteen numbers: every round moves one bit from their row to their column."""
    cdef f32[PART * PART] other
    interleave(square, other)
    interleave(other, square)
    interleave(square, other)
    interleave(other, square)


cdef void gather(
    f32* x, const char** src, Py_ssize_t count, Py_ssize_t step, Py_ssize_t other, bint exchanged,
    bint adjacent
) noexcept nogil:
    """count elements of all lines: numbers at multiples of step, imaginary parts ``other`` bytes
    behind the real ones (0: there are none)."""
    cdef f32[PART * PART] square
    cdef Py_ssize_t i = 0, j, v, first = PART if exchanged else 0, second = PART - first
    cdef const char* p
    cdef const f32* z
    while adjacent and i < count:
        z = <const f32*>(src[0] + i * step)
        for v in range(PART):
            x[i * ROW + first + v] = z[2 * v]
            x[i * ROW + second + v] = z[2 * v + 1]
        i += 1
    while step == 8 and other == 4 and i + PAIRS <= count:
        for v in range(PART):
            for j in range(PART):
                square[v * PART + j] = (<const f32*>(src[v] + i * step))[j]
        transpose(square)
        for j in range(PAIRS):
            for v in range(PART):
                x[(i + j) * ROW + first + v] = square[j * ROW + v]
                x[(i + j) * ROW + second + v] = square[j * ROW + PART + v]
        i += PAIRS
    while i < count:  # lines of cache of both sides stay near
        for v in range(PART):
            for j in range(i, min(i + PART, count)):
                p = src[v] + j * step
                x[j * ROW + first + v] = (<const f32*>p)[0]
                x[j * ROW + second + v] = (<const f32*>(p + other))[0] if other else <f32>0.0
        i += PART


cdef void scatter(
    const f32* x, char** dst, Py_ssize_t lines, Py_ssize_t start, Py_ssize_t count,
    Py_ssize_t step, Py_ssize_t other, bint exchanged, bint adjacent, f32 scale
) noexcept nogil:
    """count rows to the elements of all lines from ``start``."""
    cdef f32[PART * PART] square
    cdef Py_ssize_t i = 0, j, v, first = PART if exchanged else 0, second = PART - first
    cdef char* p
    cdef f32* z
    while adjacent and i < count:
        z = <f32*>(dst[0] + (start + i) * step)
        for v in range(PART):
            z[2 * v] = x[i * ROW + first + v] * scale
            z[2 * v + 1] = x[i * ROW + second + v] * scale
        i += 1
    while step == 8 and other == 4 and i + PAIRS <= count:
        for j in range(PAIRS):
            for v in range(PART):
                square[j * ROW + v] = x[(i + j) * ROW + first + v] * scale
                square[j * ROW + PART + v] = x[(i + j) * ROW + second + v] * scale
        transpose(square)
        for v in range(lines):
            z = <f32*>(dst[v] + (start + i) * step)
            for j in range(PART):
                z[j] = square[v * PART + j]
        i += PAIRS
    while i < count:
        for v in range(lines):
            for j in range(i, min(i + PART, count)):
                p = dst[v] + (start + j) * step
                (<f32*>p)[0] = x[j * ROW + first + v] * scale
                if other:
                    (<f32*>(p + other))[0] = x[j * ROW + second + v] * scale
        i += PART

# ---- lines ----

cdef f32* run_passes(const Lines* g, f32* x, f32* y) noexcept nogil:
    """The half of the work space where the result stands."""
    cdef int k
    cdef const Pass* each
    for k in range(g.passes):
        each = &g.plan[k]
        if each.radix == 8:
            pass_8(x, y, each)
        elif each.radix == 4:
            pass_4(x, y, each)
        elif each.radix == 2:
            pass_2(x, y, each)
        elif each.radix == 3:
            pass_3(x, y, each)
        else:
            pass_5(x, y, each)
        x, y = y, x
    return x


cdef void transform(Lines* g, Py_ssize_t unit, f32* x) noexcept nogil:
    """Sixteen lines, or those that are left."""
    cdef const_chars[PART] src
    cdef chars[PART] dst
    cdef f32* y = x + (g.length + 1) * ROW
    cdef f32* z
    cdef f32[BINS * ROW] block
    cdef Py_ssize_t k = 0, count, v, line, index, bins = g.n // 2 + 1
    cdef Py_ssize_t lines = min(<Py_ssize_t>PART, g.count - unit * PART)
    cdef bint near_src = lines == PART, near_dst = near_src
    cdef int axis
    for v in range(PART):
        line = unit * PART + (v if v < lines else 0)  # what is left over repeats the first
        src[v], dst[v] = g.src, g.dst
        for axis in range(g.ndim - 1, -1, -1):
            index = line % g.shape[axis]
            line //= g.shape[axis]
            src[v] += index * g.src_steps[axis]
            dst[v] += index * g.dst_steps[axis]
        near_src &= src[v] == src[0] + 8 * v
        near_dst &= dst[v] == dst[0] + 8 * v
    if g.kind == C2C:
        gather(x, src, g.n, g.src_stride, 4, g.inverse, near_src)
        z = run_passes(g, x, y)
        scatter(z, dst, lines, 0, g.n, g.dst_stride, 4, g.inverse, near_dst, g.scale)
    elif g.kind == R2C and g.halved:
        gather(x, src, g.length, 2 * g.src_stride, g.src_stride, False, False)
        z = run_passes(g, x, y)
        while k < bins:
            count = min(<Py_ssize_t>BINS, bins - k)
            join_halves(z, block, g, k, count)
            scatter(block, dst, lines, k, count, g.dst_stride, 4, False, near_dst, g.scale)
            k += count
    elif g.kind == R2C:
        gather(x, src, g.n, g.src_stride, 0, False, False)
        z = run_passes(g, x, y)
        scatter(z, dst, lines, 0, bins, g.dst_stride, 4, False, near_dst, g.scale)
    elif g.halved:
        gather(y, src, bins, g.src_stride, 4, False, near_src)
        part_halves(y, x, g)
        z = run_passes(g, x, y)
        scatter(z, dst, lines, 0, g.length, 2 * g.dst_stride, g.dst_stride, True, False, g.scale)
    else:
        gather(x, src, bins, g.src_stride, 4, True, near_src)
        mirror(x, g)
        z = run_passes(g, x, y)
        scatter(z, dst, lines, 0, g.n, g.dst_stride, 0, True, False, g.scale)


cdef void fft_lines(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A task: some units of lines."""
    cdef Lines* g = <Lines*>arg
    cdef Py_ssize_t unit, units = (g.count + PART - 1) // PART
    for unit in range(chunk * g.together, min((chunk + 1) * g.together, units)):
        transform(g, unit, g.scratch + worker * 2 * (g.length + 1) * ROW)


def table():
    """Addresses of the kernels by name."""
    return {"fft_lines": <size_t>&fft_lines}
