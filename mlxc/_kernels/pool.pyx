"""Pooling: maximum and mean of sliding windows, and what derivatives ask for.

Rules: sixteen channels at a time, so that vectors run across them whatever the windows are. Results
are computed line by line; gradients image by image, where windows overlap by adding in one order.
Narrow formats are computed, and gradients added up, in float32.
"""

from libc.stdint cimport (
    int8_t,
    int16_t,
    int32_t,
    int64_t,
    uint8_t,
    uint16_t,
    uint32_t,
    uint64_t,
)
from libc.string cimport memset

from mlxc._kernels.stencil cimport Pool
from mlxc._kernels.tile cimport F32, narrow_row, widen_row

cdef extern from *:
    """
    #include <stdint.h>
    /* Sixteen channels at once; a mask is all ones where the condition holds. Sums and maxima are
       local vectors of the caller, so that they stay in registers. */
    #define MLXC_POOL(name, T, I) \\
        typedef T name##_v __attribute__((vector_size(16 * sizeof(T)), aligned(sizeof(T)), \\
                                          may_alias)); \\
        typedef I name##_m __attribute__((vector_size(16 * sizeof(T)), aligned(sizeof(T)), \\
                                          may_alias)); \\
        static inline void rise_##name(name##_v *best, const T *v) { \\
            name##_v a = *(const name##_v *)v; \\
            name##_m m = (name##_m)((a > *best) | (a != a)); \\
            *best = (name##_v)((m & (name##_m)a) | (~m & (name##_m)*best)); \\
        } \\
        static inline void fill_##name(name##_v *v, T x) { *v = x - (name##_v){0}; } \\
        static inline void sum_##name(name##_v *sum, const T *v) { \\
            *sum += *(const name##_v *)v; \\
        } \\
        static inline void tally_##name(const name##_v *best, const T *v, const T *t, \\
                                        name##_v *sum, name##_v *count) { \\
            name##_v a = *(const name##_v *)v, one = {0}; \\
            name##_m m = (name##_m)((a == *best) | (a != a)); \\
            one += 1; \\
            *count += (name##_v)(m & (name##_m)one); \\
            if (t) *sum += (name##_v)(m & (name##_m)*(const name##_v *)t); \\
        } \\
        static inline void award_##name(const name##_v *best, const T *v, \\
                                        const name##_v *share, T *to, int add) { \\
            name##_v a = *(const name##_v *)v; \\
            name##_m m = (name##_m)((a == *best) | (a != a)); \\
            name##_v gain = (name##_v)(m & (name##_m)*share); \\
            if (add) gain += *(name##_v *)to; \\
            *(name##_v *)to = gain; \\
        }
    MLXC_POOL(f32, float, int32_t)
    MLXC_POOL(f64, double, int64_t)
    """
    ctypedef float F32V "f32_v"
    ctypedef double F64V "f64_v"
    void fill_f32(F32V*, float) noexcept nogil
    void rise_f32(F32V*, const float*) noexcept nogil
    void rise_f64(F64V*, const double*) noexcept nogil
    void sum_f32(F32V*, const float*) noexcept nogil
    void sum_f64(F64V*, const double*) noexcept nogil
    void tally_f32(const F32V*, const float*, const float*, F32V*, F32V*) noexcept nogil
    void tally_f64(const F64V*, const double*, const double*, F64V*, F64V*) noexcept nogil
    void award_f32(const F32V*, const float*, const F32V*, float*, bint) noexcept nogil
    void award_f64(const F64V*, const double*, const F64V*, double*, bint) noexcept nogil

cdef enum:
    WIDE = 16       # channels of a block

ctypedef fused real:
    float
    double

# How many channels a block has: sixteen, known to the compiler, or fewer.
ctypedef signed char Whole
ctypedef short Part

ctypedef fused span:
    Whole
    Part

ctypedef fused number:
    float
    double
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t

# The taps of one window that lie inside: along each axis the first input position, how many, and
# the pixels from one to the next.
cdef struct Window:
    Py_ssize_t[3] first, count, step


cdef inline Py_ssize_t least(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a < b else b


cdef inline void reach(const Pool* g, int axis, Py_ssize_t i, Window* s) noexcept nogil:
    cdef Py_ssize_t start = i * g.stride[axis] - g.padding[axis]
    cdef Py_ssize_t end = least(start + g.kernel[axis], g.size[axis])
    s.first[axis] = start if start > 0 else 0
    s.count[axis] = end - s.first[axis] if end > s.first[axis] else 0
    s.step[2] = 1
    s.step[1] = g.size[2]
    s.step[0] = g.size[1] * g.size[2]


cdef inline Py_ssize_t taps_of(const Window* s) noexcept nogil:
    return s.count[0] * s.count[1] * s.count[2]


cdef inline Py_ssize_t volume(const Pool* g) noexcept nogil:
    return g.kernel[0] * g.kernel[1] * g.kernel[2]


cdef inline Py_ssize_t first_pixel(const Window* s) noexcept nogil:
    return s.first[0] * s.step[0] + s.first[1] * s.step[1] + s.first[2]


cdef inline const number* load(const char* s, int form, number* room,
                               Py_ssize_t n) noexcept nogil:
    """n numbers, in place or widened into the room."""
    if number is float:
        if form != F32:
            widen_row(room, s, 2, n, form)
            return room
    return <const number*>s


cdef inline void store(const number* s, char* d, int form, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    if number is float:
        if form != F32:
            narrow_row(d, s, n, form)
            return
    for j in range(n):
        (<number*>d)[j] = s[j]


cdef inline number lowest(number kind) noexcept nogil:
    if number is float or number is double:
        return -<number>1e300 * <number>1e300
    elif number is int8_t or number is int16_t or number is int32_t or number is int64_t:
        return <number>(<uint64_t>1 << (8 * sizeof(number) - 1))
    else:
        return 0


# ---- one window, a block of channels: x and t point at its first pixel ----

cdef void find_best(const Pool* g, const Window* s, const char* x, Py_ssize_t n, number* best,
                    span kind) noexcept nogil:
    """The maximum, NaN where there is one."""
    cdef Py_ssize_t d, h, w, j, width = 16 if span is Whole else n
    cdef Py_ssize_t pixel = g.channels * g.itemsize
    cdef number[16] own, room
    cdef number a, b
    cdef F32V f32
    cdef F64V f64
    cdef const number* v
    for j in range(width):
        own[j] = lowest[number](0)
    if number is float and span is Whole:
        f32 = (<F32V*>own)[0]
    elif number is double and span is Whole:
        f64 = (<F64V*>own)[0]
    for d in range(s.count[0]):
        for h in range(s.count[1]):
            for w in range(s.count[2]):
                v = load[number](x + (d * s.step[0] + h * s.step[1] + w) * pixel, g.form, room,
                                 width)
                if number is float and span is Whole:
                    rise_f32(&f32, v)
                elif number is double and span is Whole:
                    rise_f64(&f64, v)
                else:
                    for j in range(width):
                        a = v[j]
                        b = own[j]
                        if number is float or number is double:
                            own[j] = a if (a > b) | (a != a) else b
                        else:
                            own[j] = a if a > b else b
    if number is float and span is Whole:
        (<F32V*>best)[0] = f32
    elif number is double and span is Whole:
        (<F64V*>best)[0] = f64
    else:
        for j in range(width):
            best[j] = own[j]


cdef void find_mean(const Pool* g, const Window* s, const char* x, Py_ssize_t n, real* mean,
                    span kind) noexcept nogil:
    cdef Py_ssize_t d, h, w, j, width = 16 if span is Whole else n
    cdef Py_ssize_t pixel = g.channels * g.itemsize
    cdef real[16] own, room
    cdef F32V f32
    cdef F64V f64
    cdef const real* v
    for j in range(width):
        own[j] = 0
    if real is float and span is Whole:
        f32 = (<F32V*>own)[0]
    elif real is double and span is Whole:
        f64 = (<F64V*>own)[0]
    for d in range(s.count[0]):
        for h in range(s.count[1]):
            for w in range(s.count[2]):
                v = load[real](x + (d * s.step[0] + h * s.step[1] + w) * pixel, g.form, room,
                               width)
                if real is float and span is Whole:
                    sum_f32(&f32, v)
                elif real is double and span is Whole:
                    sum_f64(&f64, v)
                else:
                    for j in range(width):
                        own[j] = own[j] + v[j]
    if real is float and span is Whole:
        (<F32V*>own)[0] = f32
    elif real is double and span is Whole:
        (<F64V*>own)[0] = f64
    for j in range(width):
        mean[j] = own[j] / volume(g)


cdef void tally(const Pool* g, const Window* s, const char* x, const char* t, Py_ssize_t n,
                const real* best, real* sums, real* count, span kind) noexcept nogil:
    """How many values attain the maximum, and the sum of what they carry (t; NULL: nothing).
    Padding attains a maximum of minus infinity too, and carries nothing."""
    cdef Py_ssize_t d, h, w, j, at, width = 16 if span is Whole else n
    cdef Py_ssize_t pixel = g.channels * g.itemsize
    cdef real[16] most, found, carried, room, place
    cdef real one
    cdef F32V most32, found32, carried32
    cdef F64V most64, found64, carried64
    cdef const real* v
    cdef const real* c = NULL
    for j in range(width):
        most[j] = best[j]
        carried[j] = 0
        found[j] = volume(g) - taps_of(s) if best[j] == lowest[real](0) else 0
    if real is float and span is Whole:
        most32, found32, carried32 = (<F32V*>most)[0], (<F32V*>found)[0], (<F32V*>carried)[0]
    elif real is double and span is Whole:
        most64, found64, carried64 = (<F64V*>most)[0], (<F64V*>found)[0], (<F64V*>carried)[0]
    for d in range(s.count[0]):
        for h in range(s.count[1]):
            for w in range(s.count[2]):
                at = (d * s.step[0] + h * s.step[1] + w) * pixel
                v = load[real](x + at, g.form, room, width)
                if t != NULL:
                    c = load[real](t + at, g.form, place, width)
                if real is float and span is Whole:
                    tally_f32(&most32, v, c, &carried32, &found32)
                elif real is double and span is Whole:
                    tally_f64(&most64, v, c, &carried64, &found64)
                else:
                    for j in range(width):
                        one = 1 if (v[j] == most[j]) | (v[j] != v[j]) else 0
                        found[j] = found[j] + one
                        if c != NULL and one != 0:
                            carried[j] = carried[j] + c[j]
    if real is float and span is Whole:
        (<F32V*>sums)[0], (<F32V*>count)[0] = carried32, found32
    elif real is double and span is Whole:
        (<F64V*>sums)[0], (<F64V*>count)[0] = carried64, found64
    else:
        for j in range(width):
            sums[j] = carried[j]
            count[j] = found[j]


cdef void award(const Pool* g, const Window* s, const char* x, Py_ssize_t n, const real* best,
                const real* share, real* to, Py_ssize_t pitch, span kind) noexcept nogil:
    """A share to each value that attains the maximum; to: the window's first pixel of the
    gradient, whose pixels are `pitch` numbers apart."""
    cdef Py_ssize_t d, h, w, j, at, width = 16 if span is Whole else n
    cdef real[16] gain, most, room
    cdef real one
    cdef F32V most32, gain32
    cdef F64V most64, gain64
    cdef const real* v
    cdef real* y
    for j in range(width):
        most[j] = best[j]
        gain[j] = share[j]
    if real is float and span is Whole:
        most32, gain32 = (<F32V*>most)[0], (<F32V*>gain)[0]
    elif real is double and span is Whole:
        most64, gain64 = (<F64V*>most)[0], (<F64V*>gain)[0]
    for d in range(s.count[0]):
        for h in range(s.count[1]):
            for w in range(s.count[2]):
                at = d * s.step[0] + h * s.step[1] + w
                v = load[real](x + at * g.channels * g.itemsize, g.form, room, width)
                y = to + at * pitch
                if real is float and span is Whole:
                    award_f32(&most32, v, &gain32, y, not g.tiled)
                elif real is double and span is Whole:
                    award_f64(&most64, v, &gain64, y, not g.tiled)
                else:
                    for j in range(width):
                        one = gain[j] if (v[j] == most[j]) | (v[j] != v[j]) else 0
                        y[j] = one if g.tiled else y[j] + one


cdef void scatter(const Window* s, Py_ssize_t n, const real* share, real* to, Py_ssize_t pitch,
                  bint tiled) noexcept nogil:
    """A share to every value of the window."""
    cdef Py_ssize_t d, h, w, j
    cdef real* y
    for d in range(s.count[0]):
        for h in range(s.count[1]):
            for w in range(s.count[2]):
                y = to + (d * s.step[0] + h * s.step[1] + w) * pitch
                for j in range(n):
                    y[j] = share[j] if tiled else y[j] + share[j]


cdef void four_blocks(const Pool* g, const Window* s, const char* x, float* out) noexcept nogil:
    """Maxima or means of four blocks of channels in step: joining values waits for the value
    before, and the processor has others to join meanwhile."""
    cdef Py_ssize_t d, h, w, pixel = g.channels * g.itemsize
    cdef F32V one, two, three, four, count
    cdef const float* v
    fill_f32(&one, 0 if g.mean else lowest[float](0))
    two = three = four = one
    fill_f32(&count, volume(g) if g.mean else 1)
    for d in range(s.count[0]):
        for h in range(s.count[1]):
            for w in range(s.count[2]):
                v = <const float*>(x + (d * s.step[0] + h * s.step[1] + w) * pixel)
                if g.mean:
                    sum_f32(&one, v)
                    sum_f32(&two, v + WIDE)
                    sum_f32(&three, v + 2 * WIDE)
                    sum_f32(&four, v + 3 * WIDE)
                else:
                    rise_f32(&one, v)
                    rise_f32(&two, v + WIDE)
                    rise_f32(&three, v + 2 * WIDE)
                    rise_f32(&four, v + 3 * WIDE)
    (<F32V*>out)[0] = one / count
    (<F32V*>(out + WIDE))[0] = two / count
    (<F32V*>(out + 2 * WIDE))[0] = three / count
    (<F32V*>(out + 3 * WIDE))[0] = four / count


# ---- results, line by line ----

cdef void result_block(const Pool* g, const Window* s, Py_ssize_t at, Py_ssize_t n, bint tangent,
                       number* value, span kind) noexcept nogil:
    """One window; at: bytes to its first pixel."""
    cdef number[16] best, count
    cdef Py_ssize_t j
    if number is float or number is double:
        if g.mean:
            find_mean[number, span](g, s, g.x + at, n, value, 0)
            return
        if tangent:
            find_best[number, span](g, s, g.x + at, n, best, 0)
            tally[number, span](g, s, g.x + at, g.carried + at, n, best, value, count, 0)
            for j in range(n):
                value[j] = value[j] / count[j]
            return
    find_best[number, span](g, s, g.x + at, n, value, 0)


cdef void results(const Pool* g, Py_ssize_t line, bint tangent, number kind) noexcept nogil:
    """One line of the result: maxima, means, or tangents of maxima."""
    cdef number[16] room
    cdef number* value
    cdef Window s
    cdef Py_ssize_t image = line // g.result[1] // g.result[0], w, channel, n, at
    cdef Py_ssize_t origin = image * g.size[0] * g.size[1] * g.size[2]
    cdef char* out = g.out + line * g.result[2] * g.channels * g.itemsize
    cdef bint plain = g.form == F32 and not tangent
    reach(g, 0, line // g.result[1] % g.result[0], &s)
    reach(g, 1, line % g.result[1], &s)
    for w in range(g.result[2]):
        reach(g, 2, w, &s)
        channel = 0
        while channel < g.channels:
            n = least(WIDE, g.channels - channel)
            at = ((origin + first_pixel(&s)) * g.channels + channel) * g.itemsize
            value = <number*>out if g.form == F32 else room
            if number is float and plain and channel + 4 * WIDE <= g.channels:
                four_blocks(g, &s, g.x + at, value)
                n = 4 * WIDE
            elif n == WIDE:
                result_block[number, Whole](g, &s, at, n, tangent, value, 0)
            else:
                result_block[number, Part](g, &s, at, n, tangent, value, 0)
            if g.form != F32:
                store[number](room, out, g.form, n)
            out += n * g.itemsize
            channel += n


# ---- gradients, image by image ----

cdef void spread_block(const Pool* g, const Window* s, const char* x, const char* ct, Py_ssize_t n,
                       real* to, Py_ssize_t pitch, span kind) noexcept nogil:
    """One window's cotangent, to whom it belongs."""
    cdef real[16] best, count, share, room
    cdef const real* v = load[real](ct, g.form, room, n)
    cdef Py_ssize_t j
    if g.mean:
        for j in range(n):
            share[j] = v[j] / volume(g)
        scatter(s, n, share, to, pitch, g.tiled)
        return
    find_best[real, span](g, s, x, n, best, 0)
    tally[real, span](g, s, x, NULL, n, best, share, count, 0)
    for j in range(n):
        share[j] = v[j] / count[j]
    award[real, span](g, s, x, n, best, share, to, pitch, 0)


cdef void gradient(const Pool* g, Py_ssize_t unit, int worker, real kind) noexcept nogil:
    """Some channels of one image."""
    cdef Py_ssize_t image = unit // g.chunks, c0 = unit % g.chunks * g.chunk, d, h, w, c, line
    cdef Py_ssize_t c1 = least(c0 + g.chunk, g.channels), pixel, n, at
    cdef Py_ssize_t pixels = g.size[0] * g.size[1] * g.size[2]
    cdef bint apart = g.form != F32
    cdef Py_ssize_t pitch = c1 - c0 if apart else g.channels
    cdef Py_ssize_t origin = (image * pixels * g.channels + c0) * g.itemsize
    cdef real* base = <real*>(g.scratch + worker * g.worker_bytes if apart else g.out + origin)
    cdef const char* x
    cdef const char* ct
    cdef Window s
    for pixel in range(0 if g.tiled else pixels):
        memset(base + pixel * pitch, 0, (c1 - c0) * sizeof(real))
    for d in range(g.result[0]):
        reach(g, 0, d, &s)
        for h in range(g.result[1]):
            reach(g, 1, h, &s)
            line = ((image * g.result[0] + d) * g.result[1] + h) * g.result[2]
            for w in range(g.result[2]):
                reach(g, 2, w, &s)
                at = first_pixel(&s)
                for c in range(0, c1 - c0, 16):
                    n = least(WIDE, c1 - c0 - c)
                    x = g.x + origin + (at * g.channels + c) * g.itemsize
                    ct = g.carried + ((line + w) * g.channels + c0 + c) * g.itemsize
                    if n == WIDE:
                        spread_block[real, Whole](
                            g, &s, x, ct, n, base + at * pitch + c, pitch, 0)
                    else:
                        spread_block[real, Part](
                            g, &s, x, ct, n, base + at * pitch + c, pitch, 0)
    for pixel in range(pixels if apart else 0):
        store[real](base + pixel * pitch, g.out + origin + pixel * g.channels * g.itemsize, g.form,
                    c1 - c0)


# ---- jobs ----

cdef void tangent_f32(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[float](<const Pool*>arg, line, True, 0)


cdef void tangent_f64(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[double](<const Pool*>arg, line, True, 0)


cdef void gradient_f32(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    gradient[float](<const Pool*>arg, unit, worker, 0)


cdef void gradient_f64(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    gradient[double](<const Pool*>arg, unit, worker, 0)


cdef void results_f32(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[float](<const Pool*>arg, line, False, 0)


cdef void results_f64(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[double](<const Pool*>arg, line, False, 0)


cdef void results_i8(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[int8_t](<const Pool*>arg, line, False, 0)


cdef void results_i16(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[int16_t](<const Pool*>arg, line, False, 0)


cdef void results_i32(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[int32_t](<const Pool*>arg, line, False, 0)


cdef void results_i64(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[int64_t](<const Pool*>arg, line, False, 0)


cdef void results_u8(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[uint8_t](<const Pool*>arg, line, False, 0)


cdef void results_u16(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[uint16_t](<const Pool*>arg, line, False, 0)


cdef void results_u32(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[uint32_t](<const Pool*>arg, line, False, 0)


cdef void results_u64(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    results[uint64_t](<const Pool*>arg, line, False, 0)


def table():
    """Kernel name to address."""
    return {
        "pool_results_f32": <size_t>&results_f32,
        "pool_results_f64": <size_t>&results_f64,
        "pool_results_i8": <size_t>&results_i8,
        "pool_results_i16": <size_t>&results_i16,
        "pool_results_i32": <size_t>&results_i32,
        "pool_results_i64": <size_t>&results_i64,
        "pool_results_u8": <size_t>&results_u8,
        "pool_results_u16": <size_t>&results_u16,
        "pool_results_u32": <size_t>&results_u32,
        "pool_results_u64": <size_t>&results_u64,
        "pool_tangent_f32": <size_t>&tangent_f32,
        "pool_tangent_f64": <size_t>&tangent_f64,
        "pool_gradient_f32": <size_t>&gradient_f32,
        "pool_gradient_f64": <size_t>&gradient_f64,
    }
