"""Fourier transforms by Stockham's algorithm.

`fft_lines` transforms many lines at once, one a lane. `fft_rows` transforms one line at a time: its
parts, sixteen or fewer, meet in a first transform, whose results are the lanes of all other passes.
`fft_spread`, `fft_filter` and `fft_fold` stand around transforms of another length (Bluestein 1970,
"A linear filtering approach to the computation of the discrete Fourier transform").

Inverse transforms exchange real and imaginary parts on the way in and out. Real lines of even
length are transformed as complex ones of half the length.
"""

from libc.string cimport memcpy, memset

from mlxc._kernels.lanes cimport C2C, C2R, PART, PIECE, R2C, ROW, STRIDE, Lines, place
from mlxc._kernels.passes cimport quarter, run_passes, turn
from mlxc._kernels.tile cimport LANES, ZERO, Vector, at, put
from mlxc._kernels.turn cimport back, even, high, low, odd, turn_square, turned
from mlxc._kernels.types cimport f32

ctypedef const char* const_chars
ctypedef char* chars

cdef struct Run:
    bint near            # lines stand side by side: split of them, and then the rest
    Py_ssize_t split
    Py_ssize_t rest

cdef enum:
    PAIRS = PART // 2    # complex numbers side by side of a square
    BINS = 32            # of real lines that are joined before they are written
    PARTS = PART // LANES

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

# ---- lines in and out ----

cdef inline void gather_squares(
    f32* x, const char** src, Py_ssize_t offset, bint exchanged
) noexcept nogil:
    """PAIRS complex numbers of every line, side by side from ``offset``."""
    cdef Vector[LANES] a
    cdef int h, v, k
    for h in range(PARTS):
        for v in range(PARTS):
            for k in range(LANES):
                a[k] = at(<const f32*>(src[v * LANES + k] + offset) + h * LANES)
            turned(a)
            for k in range(LANES):
                put(x + (h * LANES + (k ^ exchanged)) * PART + v * LANES, a[k], False)


cdef inline void scatter_squares(
    const f32* x, char** dst, Py_ssize_t lines, Py_ssize_t offset, bint exchanged, f32 scale
) noexcept nogil:
    cdef Vector[LANES] a
    cdef int h, v, k
    for h in range(PARTS):
        for v in range(PARTS):
            for k in range(LANES):
                a[k] = at(x + (h * LANES + (k ^ exchanged)) * PART + v * LANES) * scale
            turned(a)
            for k in range(LANES):
                if v * LANES + k < lines:
                    put(<f32*>(dst[v * LANES + k] + offset) + h * LANES, a[k], False)

cdef void gather(
    f32* x, const char** src, Py_ssize_t count, Py_ssize_t step, Py_ssize_t other, bint exchanged,
    const Run* run
) noexcept nogil:
    """count elements of all lines: numbers at multiples of step, imaginary parts ``other`` bytes
    behind the real ones (0: there are none)."""
    cdef f32[ROW] both
    cdef Py_ssize_t i = 0, j, v, first = PART if exchanged else 0, second = PART - first
    cdef Vector re, im
    cdef const char* p
    cdef const f32* z
    memset(both, 0, sizeof(both))
    while run.near and i < count:
        z = <const f32*>(src[0] + i * step)
        if run.split < PART:
            memcpy(both, z, 8 * run.split)
            memcpy(both + 2 * run.split, src[run.split] + i * step, 8 * run.rest)
            z = both
        for v in range(PARTS):
            re, im = at(z + 2 * v * LANES), at(z + (2 * v + 1) * LANES)
            put(x + i * ROW + first + v * LANES, even(re, im), False)
            put(x + i * ROW + second + v * LANES, odd(re, im), False)
        i += 1
    while step == 8 and other == 4 and i + PAIRS <= count:
        gather_squares(x + i * ROW, src, i * step, exchanged)
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
    Py_ssize_t step, Py_ssize_t other, bint exchanged, const Run* run, f32 scale
) noexcept nogil:
    """count rows to the elements of all lines from ``start``."""
    cdef f32[ROW] both
    cdef Py_ssize_t i = 0, j, v, first = PART if exchanged else 0, second = PART - first
    cdef Vector re, im
    cdef char* p
    cdef f32* z
    while run.near and i < count:
        z = <f32*>(dst[0] + (start + i) * step)
        if run.split < PART:
            z = both
        for v in range(PARTS):
            re = at(x + i * ROW + first + v * LANES) * scale
            im = at(x + i * ROW + second + v * LANES) * scale
            put(z + 2 * v * LANES, low(re, im), False)
            put(z + (2 * v + 1) * LANES, high(re, im), False)
        if run.split < PART:
            memcpy(dst[0] + (start + i) * step, both, 8 * run.split)
            memcpy(dst[run.split] + (start + i) * step, both + 2 * run.split, 8 * run.rest)
        i += 1
    while step == 8 and other == 4 and i + PAIRS <= count:
        scatter_squares(x + i * ROW, dst, lines, (start + i) * step, exchanged, scale)
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

cdef void twisted(f32* z, const Lines* g, Py_ssize_t unit) noexcept nogil:
    """Element k times the twiddles of rows k / STRIDE and k % STRIDE of this unit's table."""
    cdef Py_ssize_t k, v, strides = (g.n + STRIDE - 1) // STRIDE
    cdef const f32* fine = g.twist + unit * (strides + STRIDE) * ROW
    cdef const f32* coarse = fine + STRIDE * ROW
    cdef const f32* a
    cdef const f32* b
    cdef Vector re, im
    for k in range(g.n):
        for v in range(PARTS):
            a = coarse + k // STRIDE * ROW + v * LANES
            b = fine + k % STRIDE * ROW + v * LANES
            re = at(a) * at(b) - at(a + PART) * at(b + PART)
            im = at(a) * at(b + PART) + at(a + PART) * at(b)
            times(z + k * ROW + v * LANES, re, im)


cdef inline void times(f32* z, Vector re, Vector im) noexcept nogil:
    """Numbers of a row times others."""
    cdef Vector a = at(z), b = at(z + PART)
    put(z, a * re - b * im, False)
    put(z + PART, a * im + b * re, False)


cdef void transform(Lines* g, Py_ssize_t unit, f32* x) noexcept nogil:
    """Sixteen lines, or those that are left."""
    cdef const_chars[PART] src
    cdef chars[PART] dst
    cdef f32* y = x + (g.length + 1) * ROW
    cdef f32* z
    cdef f32[BINS * ROW] block
    cdef Run into, out, apart
    cdef Py_ssize_t k = 0, count, bins = g.n // 2 + 1
    cdef Py_ssize_t lines = min(<Py_ssize_t>PART, g.count - unit * PART)
    into.split = place_all(g, unit * PART, lines, src, dst)
    into.rest, apart.near = lines - into.split, False
    out = into
    into.near = side_by_side(g, g.src_steps, &into)
    out.near = side_by_side(g, g.dst_steps, &out)
    if g.kind == C2C:
        gather(x, src, g.n, g.src_stride, 4, g.inverse, &into)
        z = run_passes(g.plan, g.passes, x, y)
        if g.twist != NULL:
            twisted(z, g, unit)
        scatter(z, dst, lines, 0, g.n, g.dst_stride, 4, g.inverse, &out, g.scale)
    elif g.kind == R2C and g.halved:
        gather(x, src, g.length, 2 * g.src_stride, g.src_stride, False, &apart)
        z = run_passes(g.plan, g.passes, x, y)
        while k < bins:
            count = min(<Py_ssize_t>BINS, bins - k)
            join_halves(z, block, g, k, count)
            scatter(block, dst, lines, k, count, g.dst_stride, 4, False, &out, g.scale)
            k += count
    elif g.kind == R2C:
        gather(x, src, g.n, g.src_stride, 0, False, &apart)
        z = run_passes(g.plan, g.passes, x, y)
        scatter(z, dst, lines, 0, bins, g.dst_stride, 4, False, &out, g.scale)
    elif g.halved:
        gather(y, src, bins, g.src_stride, 4, False, &into)
        part_halves(y, x, g)
        z = run_passes(g.plan, g.passes, x, y)
        scatter(z, dst, lines, 0, g.length, 2 * g.dst_stride, g.dst_stride, True, &apart, g.scale)
    else:
        gather(x, src, bins, g.src_stride, 4, True, &into)
        mirror(x, g)
        z = run_passes(g.plan, g.passes, x, y)
        scatter(z, dst, lines, 0, g.n, g.dst_stride, 0, True, &apart, g.scale)


cdef Py_ssize_t place_all(
    const Lines* g, Py_ssize_t line, Py_ssize_t lines, const char** src, char** dst
) noexcept nogil:
    """Where lines begin, and how many of them stand in the last axis before it ends: those are one
    step apart. Lines that are missing repeat the first."""
    cdef Py_ssize_t v, split = lines
    place(g, line, &src[0], &dst[0])
    if g.ndim > 1:
        split = min(lines, g.shape[g.ndim - 1] - (g.first + line) % g.shape[g.ndim - 1])
    for v in range(1, PART):
        if v < split:
            src[v] = src[v - 1] + g.src_steps[g.ndim - 1]
            dst[v] = dst[v - 1] + g.dst_steps[g.ndim - 1]
        else:
            place(g, line + v if v < lines else line, &src[v], &dst[v])
    return split


cdef inline bint side_by_side(
    const Lines* g, const Py_ssize_t* steps, const Run* run
) noexcept nogil:
    """Whether a run and the rest of the lines are complex numbers side by side."""
    return g.ndim > 0 and steps[g.ndim - 1] == 8 and run.rest <= g.shape[g.ndim - 1]


cdef void fft_lines(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A task: some units of lines."""
    cdef Lines* g = <Lines*>arg
    cdef Py_ssize_t unit, units = (g.count + PART - 1) // PART
    for unit in range(chunk * g.together, min((chunk + 1) * g.together, units)):
        transform(g, unit, g.scratch + worker * 2 * (g.length + 1) * ROW)


# ---- one line at a time ----

cdef void first_pass(const f32* x, f32* y, const Lines* g, bint exchanged) noexcept nogil:
    """x (16, m), complex numbers, to rows y (m, 16): transforms of 16 as four times four."""
    cdef f32[PART * ROW] z
    cdef f32[PART * LANES] re
    cdef f32[PART * LANES] im
    cdef Py_ssize_t p, v, j, k, column, m = g.length // PART
    cdef const f32* w
    cdef const f32* a
    for p in range((m + PART - 1) // PART):
        for v in range(PARTS):
            w = g.turned + p * PART * ROW + v * LANES
            column = min(p * PART, m - PART) + v * LANES  # the last may be transformed twice
            for j in range(4):
                four_parts(z + j * ROW, x + 2 * (j * m + column), 8 * m, g.roots + 8 * j, exchanged)
            for j in range(4):
                four_turned(z + 4 * j * ROW, re + j * LANES, im + j * LANES, w + j * ROW)
            for k in range(PARTS):
                a = re + k * LANES * LANES
                turn_square(a, LANES, y + column * ROW + k * LANES, ROW)
                a = im + k * LANES * LANES
                turn_square(a, LANES, y + column * ROW + PART + k * LANES, ROW)


cdef inline void four_parts(
    f32* z, const f32* x, Py_ssize_t far, const f32* w, bint exchanged
) noexcept nogil:
    """Four vectors of complex numbers ``far`` apart, to rows four apart."""
    cdef Vector[4] e
    cdef Vector[4] o
    cdef int k
    for k in range(4):
        e[k] = even(at(x + k * far), at(x + k * far + LANES))
        o[k] = odd(at(x + k * far), at(x + k * far + LANES))
    if exchanged:
        quarter(z, 4 * ROW, o[0], e[0], o[1], e[1], o[2], e[2], o[3], e[3], w, 2)
    else:
        quarter(z, 4 * ROW, e[0], o[0], e[1], o[1], e[2], o[2], e[3], o[3], w, 2)


cdef inline void four_turned(const f32* z, f32* re, f32* im, const f32* w) noexcept nogil:
    """Four rows of z to every fourth vector of re and im, every number with a twiddle of its own.
    """
    cdef Vector ar = at(z) + at(z + 2 * ROW), ai = at(z + PART) + at(z + 2 * ROW + PART)
    cdef Vector br = at(z + ROW) + at(z + 3 * ROW), bi = at(z + ROW + PART) + at(z + 3 * ROW + PART)
    cdef Vector cr = at(z) - at(z + 2 * ROW), ci = at(z + PART) - at(z + 2 * ROW + PART)
    cdef Vector dr = at(z + ROW + PART) - at(z + 3 * ROW + PART), di = at(z + 3 * ROW) - at(z + ROW)
    by_row(re, im, ar + br, ai + bi, w)
    by_row(re + 4 * LANES, im + 4 * LANES, cr + dr, ci + di, w + 4 * ROW)
    by_row(re + 8 * LANES, im + 8 * LANES, ar - br, ai - bi, w + 8 * ROW)
    by_row(re + 12 * LANES, im + 12 * LANES, cr - dr, ci - di, w + 12 * ROW)


cdef inline void by_row(f32* re, f32* im, Vector a, Vector b, const f32* w) noexcept nogil:
    put(re, a * at(w) - b * at(w + PART), False)
    put(im, a * at(w + PART) + b * at(w), False)


cdef void first_parts(const f32* x, f32* y, const Lines* g, bint exchanged) noexcept nogil:
    """As first_pass, of fewer parts than sixteen: the lanes behind them are zeros."""
    cdef f32[PART * ROW] a
    cdef f32[PART * ROW] b
    cdef Py_ssize_t p, j, k, h, v, column, m = g.length // g.lanes
    cdef Py_ssize_t first = PART if exchanged else 0, second = PART - first, unused
    cdef const f32* source
    cdef const f32* w
    cdef f32* z
    unused = (PART - g.lanes) * ROW * sizeof(f32)
    memset(a + g.lanes * ROW, 0, unused)
    memset(b + g.lanes * ROW, 0, unused)
    for p in range((m + PART - 1) // PART):
        column = min(p * PART, m - PART)  # the last may be transformed twice
        for j in range(g.lanes):
            for v in range(PARTS):
                source = x + 2 * (j * m + column + v * LANES)
                z = a + j * ROW + v * LANES
                put(z + first, even(at(source), at(source + LANES)), False)
                put(z + second, odd(at(source), at(source + LANES)), False)
        z = run_passes(g.start, g.starts, a, b)
        for j in range(g.lanes):
            for v in range(PARTS):
                w = g.turned + (p * g.lanes + j) * ROW + v * LANES
                times(z + j * ROW + v * LANES, at(w), at(w + PART))
        for k in range(PARTS):
            for h in range(2 * PARTS):
                v = h % PARTS * LANES * ROW + h // PARTS * PART
                turn_square(z + v + k * LANES, ROW, y + (column + k * LANES) * ROW
                            + h // PARTS * PART + h % PARTS * LANES, ROW)


cdef inline const f32* vector_of(const f32* z, Py_ssize_t k) noexcept nogil:
    """The vector of rows that number k, a multiple of LANES, begins."""
    return z + k // PART * ROW + k % PART


cdef void part_planes(const f32* z, f32* x, const Lines* g) noexcept nogil:
    """Rows of few lanes to all real parts, and then all imaginary ones; behind either is room."""
    cdef Py_ssize_t _, v
    for _ in range(g.length // g.lanes):
        for v in range(PARTS):
            put(x + v * LANES, at(z + v * LANES), False)
            put(x + g.length + PART + v * LANES, at(z + PART + v * LANES), False)
        x += g.lanes
        z += ROW


cdef inline const f32* number_of(const f32* z, Py_ssize_t k, bint planes) noexcept nogil:
    return z + k if planes else vector_of(z, k)


cdef inline void join_line(const f32* z, f32* x, const Lines* g, bint planes) noexcept nogil:
    """As join_halves, of one line: rows, or planes, to complex numbers."""
    cdef Py_ssize_t v, k, m = g.length, far = m + PART if planes else PART
    cdef f32 half = <f32>0.5 * g.scale
    cdef Vector ar, ai, br, bi, er, ei, dr, di, wr, wi
    cdef const f32* a
    cdef const f32* b
    cdef const f32* w
    for v in range((m + LANES - 1) // LANES):
        k = min(v * LANES, m - LANES)
        a = number_of(z, k, planes)
        ar, ai = at(a), at(a + far)
        a, b = number_of(z, m - k if k > 0 else 0, planes), number_of(z, m - k - LANES, planes)
        br, bi = back(at(a), at(b)), back(at(a + far), at(b + far))
        w = g.turns + 2 * k
        wr, wi = even(at(w), at(w + LANES)), odd(at(w), at(w + LANES))
        er, ei, dr, di = half * (ar + br), half * (ai - bi), half * (ai + bi), half * (br - ar)
        ar, ai = er + (dr * wr - di * wi), ei + (dr * wi + di * wr)
        put(x + 2 * k, low(ar, ai), False)
        put(x + 2 * k + LANES, high(ar, ai), False)
    x[2 * m] = (z[0] - z[far]) * g.scale
    x[2 * m + 1] = <f32>0.0


cdef void part_line(const f32* x, f32* z, const Lines* g) noexcept nogil:
    """As part_halves, of one line of complex numbers: the first and the last are real."""
    cdef Py_ssize_t v, k, m = g.length
    cdef f32 first = x[0], last = x[2 * m]
    cdef Vector ar, ai, br, bi, er, ei, dr, di, wr, wi
    cdef const f32* b
    cdef const f32* w
    for v in range((m + LANES - 1) // LANES):
        k = min(v * LANES, m - LANES)
        ar = even(at(x + 2 * k), at(x + 2 * k + LANES))
        ai = odd(at(x + 2 * k), at(x + 2 * k + LANES))
        b = x + 2 * (m - k)  # its numbers down to b[-2 * LANES + 2]
        br = even(at(b - 2 * LANES), at(b - LANES))
        bi = odd(at(b - 2 * LANES), at(b - LANES))
        br, bi = back(ZERO + b[0], br), back(ZERO + b[1], bi)
        w = g.turns + 2 * k
        wr, wi = even(at(w), at(w + LANES)), odd(at(w), at(w + LANES))
        er, ei, dr, di = ar + br, ai - bi, ar - br, ai + bi
        ar, ai = er + (dr * wi - di * wr), ei + (dr * wr + di * wi)
        put(z + 2 * k, low(ai, ar), False)
        put(z + 2 * k + LANES, high(ai, ar), False)
    z[0], z[1] = first - last, first + last


cdef void store_line(const f32* z, f32* x, const Lines* g, bint exchanged) noexcept nogil:
    """Rows to complex numbers; what is written of unused lanes is written again."""
    cdef f32[ROW] last
    cdef Py_ssize_t v, first = PART if exchanged else 0, second = PART - first, left = g.length
    cdef Vector re, im
    cdef f32* to
    while left > 0:
        to = x if left >= PART else last
        for v in range(PARTS):
            re = g.scale * at(z + first + v * LANES)
            im = g.scale * at(z + second + v * LANES)
            put(to + 2 * v * LANES, low(re, im), False)
            put(to + (2 * v + 1) * LANES, high(re, im), False)
        if left < PART:
            memcpy(x, last, 8 * g.lanes)
        left -= g.lanes
        x += 2 * g.lanes
        z += ROW


cdef void copy_line(
    const char* src, Py_ssize_t step, char* dst, Py_ssize_t other, Py_ssize_t count, int width
) noexcept nogil:
    """Elements of one or two numbers at multiples of step to multiples of other bytes."""
    cdef Py_ssize_t k
    for k in range(count):
        (<f32*>(dst + k * other))[0] = (<const f32*>(src + k * step))[0]
        if width == 8:
            (<f32*>(dst + k * other))[1] = (<const f32*>(src + k * step))[1]


cdef void transform_row(Lines* g, Py_ssize_t line, f32* x) noexcept nogil:
    """One line, whose elements may lie apart."""
    cdef f32* y = x + (g.length // g.lanes + 1) * ROW
    cdef f32* z
    cdef f32* free
    cdef const char* src
    cdef char* dst
    cdef Py_ssize_t bins = g.n // 2 + 1
    cdef int narrow = 4 if g.kind == R2C else 8, wide = 4 if g.kind == C2R else 8
    place(g, line, &src, &dst)
    if g.src_stride != narrow:
        z = y if g.kind == C2R else x
        copy_line(src, g.src_stride, <char*>z, narrow, bins if g.kind == C2R else g.n, narrow)
        src = <const char*>z
    if g.kind == C2R:
        part_line(<const f32*>src, x, g)
        src = <const char*>x
    # x may hold the line: the rows of the first pass stand in y
    if g.lanes == PART:
        first_pass(<const f32*>src, y, g, g.inverse and g.kind == C2C)
    else:
        first_parts(<const f32*>src, y, g, g.inverse and g.kind == C2C)
    z = run_passes(g.plan, g.passes, y, x)
    free = x if z == y else y
    if g.kind == R2C and g.lanes < PART:
        part_planes(z, free, g)
        z, free = free, z
    src = dst
    if g.dst_stride != wide:
        dst = <char*>free
    if g.kind == R2C and g.lanes < PART:
        join_line(z, <f32*>dst, g, True)
    elif g.kind == R2C:
        join_line(z, <f32*>dst, g, False)
    else:
        store_line(z, <f32*>dst, g, g.inverse)
    if g.dst_stride != wide:
        copy_line(dst, wide, <char*>src, g.dst_stride, bins if g.kind == R2C else g.n, wide)


cdef void fft_rows(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A task: some lines."""
    cdef Lines* g = <Lines*>arg
    cdef Py_ssize_t line
    for line in range(chunk * g.together, min((chunk + 1) * g.together, g.count)):
        transform_row(g, line, g.scratch + worker * 2 * (g.length // g.lanes + 1) * ROW)


# ---- lines by way of a buffer ----

cdef void multiply(f32* z, const f32* w, Py_ssize_t count) noexcept nogil:
    """Complex numbers times others, in place."""
    cdef Py_ssize_t k = 0
    cdef Vector a, b, c, d
    cdef f32 re
    while k + LANES <= count:
        a, b = at(z + 2 * k), at(z + 2 * k + LANES)
        c, d = at(w + 2 * k), at(w + 2 * k + LANES)
        a, b, c, d = even(a, b), odd(a, b), even(c, d), odd(c, d)
        a, b = a * c - b * d, a * d + b * c
        put(z + 2 * k, low(a, b), False)
        put(z + 2 * k + LANES, high(a, b), False)
        k += LANES
    while k < count:
        re = z[2 * k] * w[2 * k] - z[2 * k + 1] * w[2 * k + 1]
        z[2 * k + 1] = z[2 * k] * w[2 * k + 1] + z[2 * k + 1] * w[2 * k]
        z[2 * k] = re
        k += 1


cdef void fetch(
    const Lines* g, const char* src, f32* z, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    """Elements of a line of any kind as complex numbers."""
    cdef Py_ssize_t k, j
    cdef const f32* p
    if g.kind == C2C and g.src_stride == 8:
        memcpy(z + 2 * first, src + 8 * first, 8 * (last - first))
        return
    for k in range(first, last):
        j = g.n - k if g.kind == C2R and 2 * k > g.n else k
        p = <const f32*>(src + j * g.src_stride)
        z[2 * k], z[2 * k + 1] = p[0], <f32>0.0
        if g.kind == C2C:
            z[2 * k + 1] = p[1]
        elif g.kind == C2R and k > 0 and 2 * k != g.n:
            z[2 * k + 1] = p[1] if j == k else -p[1]


cdef void exchange(f32* z, Py_ssize_t count) noexcept nogil:
    """Real parts for imaginary ones."""
    cdef Py_ssize_t k
    cdef f32 re
    for k in range(count):
        re = z[2 * k]
        z[2 * k] = z[2 * k + 1]
        z[2 * k + 1] = re


cdef void fft_spread(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A task: a part of a line to its complex numbers, times its chirp, and zeros behind it."""
    cdef Lines* g = <Lines*>arg
    cdef Py_ssize_t pieces = (g.length + PIECE - 1) // PIECE, line = chunk // pieces
    cdef Py_ssize_t first = chunk % pieces * PIECE, end = min(first + PIECE, g.length)
    cdef Py_ssize_t last = max(first, min(end, g.n))
    cdef f32* z = g.scratch + 2 * line * g.length
    cdef const char* src
    cdef char* dst
    place(g, line, &src, &dst)
    fetch(g, src, z, first, last)
    if g.inverse:
        exchange(z + 2 * first, last - first)
    if g.chirp != NULL:
        multiply(z + 2 * first, g.chirp + 2 * first, last - first)
    memset(z + 2 * last, 0, 8 * (end - last))


cdef void fft_filter(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A task: a part of a line times the numbers at ``turned``."""
    cdef Lines* g = <Lines*>arg
    cdef Py_ssize_t pieces = (g.length + PIECE - 1) // PIECE
    cdef Py_ssize_t first = chunk % pieces * PIECE, last = min(first + PIECE, g.length)
    cdef f32* z = g.scratch + 2 * (chunk // pieces) * g.length
    multiply(z + 2 * first, g.turned + 2 * first, last - first)


cdef void fft_fold(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """A task: what is wanted of a part of a line's results, times its chirp."""
    cdef Lines* g = <Lines*>arg
    cdef Py_ssize_t pieces = (g.length + PIECE - 1) // PIECE, line = chunk // pieces
    cdef Py_ssize_t first = chunk % pieces * PIECE, k
    cdef Py_ssize_t last = min(first + PIECE, g.n // 2 + 1 if g.kind == R2C else g.n)
    cdef f32* z = g.scratch + 2 * line * g.length
    cdef const char* src
    cdef char* dst
    place(g, line, &src, &dst)
    if last <= first:
        return
    if g.chirp != NULL:
        multiply(z + 2 * first, g.chirp + 2 * first, last - first)
    if g.inverse:
        exchange(z + 2 * first, last - first)
    if g.dst_stride == 8 and g.kind != C2R:
        for k in range(2 * first, 2 * last):
            (<f32*>dst)[k] = z[k] * g.scale
        return
    for k in range(first, last):
        (<f32*>(dst + k * g.dst_stride))[0] = z[2 * k] * g.scale
        if g.kind != C2R:
            (<f32*>(dst + k * g.dst_stride))[1] = z[2 * k + 1] * g.scale


def table():
    """Addresses of the kernels by name."""
    return {
        "fft_lines": <size_t>&fft_lines,
        "fft_rows": <size_t>&fft_rows,
        "fft_spread": <size_t>&fft_spread,
        "fft_filter": <size_t>&fft_filter,
        "fft_fold": <size_t>&fft_fold,
    }
