"""Passes of Stockham's algorithm over rows of a work space, of radix 8, 4, 2, 3, 5, 7, 11 and 13
(Van Loan 1992, "Computational frameworks for the fast Fourier transform", 1.7).

A pass takes x (radix, m, s) to y (m, radix, s), rows of the work space: PART real parts and then
their imaginary parts.
"""

from mlxc._kernels.lanes cimport MAX_HALF, PART, ROW, Pass
from mlxc._kernels.tile cimport LANES, ZERO, Vector, at, put
from mlxc._kernels.types cimport f32


cdef inline void turn(f32* y, Vector re, Vector im, const f32* w) noexcept nogil:
    """re + i im, times the twiddle at w, into a row."""
    put(y, re * w[0] - im * w[1], False)
    put(y + PART, re * w[1] + im * w[0], False)


cdef inline void pass_2(const f32* x, f32* y, const Pass* g) noexcept nogil:
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


cdef inline void pass_3(const f32* x, f32* y, const Pass* g) noexcept nogil:
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


cdef inline void pass_4(const f32* x, f32* y, const Pass* g) noexcept nogil:
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


cdef inline void pass_5(const f32* x, f32* y, const Pass* g) noexcept nogil:
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


cdef inline void pass_8(const f32* x, f32* y, const Pass* g) noexcept nogil:
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


cdef inline void pass_odd(const f32* x, f32* y, const Pass* g) noexcept nogil:
    """Any odd radix up to MAX_RADIX: points j and radix - j meet in sums and differences."""
    cdef Py_ssize_t p, q, v, far = g.m * g.s * ROW, next = g.s * ROW
    cdef int j, k, half = g.radix // 2
    cdef Vector[MAX_HALF] ur
    cdef Vector[MAX_HALF] ui
    cdef Vector[MAX_HALF] dr
    cdef Vector[MAX_HALF] di
    cdef Vector ar, ai, br, bi
    cdef const f32* w
    cdef const f32* a
    cdef const f32* b
    cdef f32* out
    for p in range(g.m):
        for q in range(g.s):
            for v in range(PART // LANES):
                a = x + (p * g.s + q) * ROW + v * LANES
                out = y + (g.radix * p * g.s + q) * ROW + v * LANES
                ar, ai = at(a), at(a + PART)
                for j in range(half):
                    b = a + (g.radix - 1 - j) * far
                    w = a + (j + 1) * far
                    ur[j], ui[j] = at(w) + at(b), at(w + PART) + at(b + PART)
                    dr[j], di[j] = at(w) - at(b), at(w + PART) - at(b + PART)
                    ar, ai = ar + ur[j], ai + ui[j]
                put(out, ar, False)
                put(out + PART, ai, False)
                for k in range(half):
                    w = g.roots + 2 * half * k
                    ar, ai, br, bi = at(a), at(a + PART), ZERO, ZERO
                    for j in range(half):
                        ar, ai = ar + w[2 * j] * ur[j], ai + w[2 * j] * ui[j]
                        br, bi = br + w[2 * j + 1] * di[j], bi + w[2 * j + 1] * dr[j]
                    w = g.twiddles + 2 * (g.radix - 1) * p
                    turn(out + (k + 1) * next, ar + br, ai - bi, w + 2 * k)
                    j = g.radix - 1 - k
                    turn(out + j * next, ar - br, ai + bi, w + 2 * (j - 1))


cdef inline f32* run_passes(const Pass* plan, int passes, f32* x, f32* y) noexcept nogil:
    """The half of the work space where the result stands."""
    cdef int k
    cdef const Pass* each
    for k in range(passes):
        each = plan + k
        if each.radix == 8:
            pass_8(x, y, each)
        elif each.radix == 4:
            pass_4(x, y, each)
        elif each.radix == 2:
            pass_2(x, y, each)
        elif each.radix == 3:
            pass_3(x, y, each)
        elif each.radix == 5:
            pass_5(x, y, each)
        else:
            pass_odd(x, y, each)
        x, y = y, x
    return x
