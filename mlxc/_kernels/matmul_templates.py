"""The Cython text that ``matmul_render`` fills in and puts together.

Names between at signs are replaced: @T@ the C type, @t@ its word, @SIZE@ its bytes, @MR@ and @NR@
the register tile's rows and columns, @R@ a panel's width, @KC@ the inner block, @LANES@ values in a
register.
"""

HEADER = '''# Printed by mlxc/_kernels/matmul_render.py: do not edit.
"""Matrix products: packing, microkernels, skinny products. See mlxc/_kernels/product.pxd."""

from libc.string cimport memcpy, memset
from mlxc._kernels.product cimport ADD, BRAIN, HALF, OWN, SET, SUBTRACT, Product
from mlxc._kernels.square cimport transpose4
from mlxc._threads.pool cimport interrupted

cdef enum:
    LOOK = 1 << 15  # of the inner axis of a skinny product, between looks for Ctrl-C

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__F16C__)
    #include <immintrin.h>
    #endif
    typedef long long llong;
@VECTORS@
    #define zero(p, n) memset((p), 0, (n))
    static inline float of_bits(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
    static inline uint32_t bits_of(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
    static inline float from_brain(uint16_t h) { return of_bits((uint32_t)h << 16); }
    static inline uint16_t to_brain(float f) {
        uint32_t u = bits_of(f), rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
        return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded);
    }
    static inline float from_half(uint16_t h) {
        uint32_t special = (h & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
        float f = of_bits((uint32_t)(h & 0x7fffu) << 13) * 0x1p112f;
        return of_bits(bits_of(f) | special | (uint32_t)(h & 0x8000u) << 16);
    }
    static inline uint16_t to_half(float f) {
        uint32_t u = bits_of(f), m = u & 0x7fffffffu;
        uint32_t small = bits_of(of_bits(m) + 0.5f) - 0x3f000000u;
        uint32_t normal = (m + 0xc8000fffu + ((m >> 13) & 1u)) >> 13;
        uint32_t h = m < 0x38800000u ? small : normal;
        h = m >= 0x477ff000u ? 0x7c00u : h;
        h = m > 0x7f800000u ? 0x7e00u : h;
        return (uint16_t)(h | (u >> 16 & 0x8000u));
    }
    static inline void from_halves(const char *s, float *d, Py_ssize_t n) {
        const uint16_t *h = (const uint16_t *)s;
        Py_ssize_t i = 0;
    #if defined(__F16C__)
        for (; i + 8 <= n; i += 8)
            _mm256_storeu_ps(d + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(h + i))));
    #endif
        for (; i < n; i++) d[i] = from_half(h[i]);
    }
    static inline void to_halves(const float *s, char *d, Py_ssize_t n) {
        uint16_t *h = (uint16_t *)d;
        Py_ssize_t i = 0;
    #if defined(__F16C__)
        for (; i + 8 <= n; i += 8)
            _mm_storeu_si128((__m128i *)(h + i), _mm256_cvtps_ph(_mm256_loadu_ps(s + i), 0));
    #endif
        for (; i < n; i++) h[i] = to_half(s[i]);
    }
    """
    ctypedef long long llong
    ctypedef float v_f32
    ctypedef float u_f32
    ctypedef double v_f64
    ctypedef double u_f64
    ctypedef int v_i32
    ctypedef int u_i32
    ctypedef long long v_i64
    ctypedef long long u_i64
    ctypedef unsigned short uint16_t
    void zero(void*, size_t) noexcept nogil
    float from_brain(uint16_t) noexcept nogil
    uint16_t to_brain(float) noexcept nogil
    float from_half(uint16_t) noexcept nogil
    uint16_t to_half(float) noexcept nogil
    void from_halves(const char*, float*, Py_ssize_t) noexcept nogil
    void to_halves(const float*, char*, Py_ssize_t) noexcept nogil


cdef inline Py_ssize_t least(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a < b else b


cdef inline Py_ssize_t pieces(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


cdef inline Py_ssize_t padded(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size * size


cdef inline Py_ssize_t depth_of(const Product* g) noexcept nogil:
    # How many values, or pairs of values, a row of a panel has.
    return (g.kc + 1) // 2 if g.pairs else g.kc

'''

# Between the stored format and the compute type: only float32 has others than its own.
FETCH = """
cdef void fetch_@t@(const char* s, Py_ssize_t stride, int form, @T@* d,
        Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if stride == @SIZE@:
        memcpy(d, s, n * @SIZE@)
    else:
        for i in range(n):
            d[i] = (<const @T@*>(s + i * stride))[0]


cdef void store_@t@(const @T@* s, char* d, Py_ssize_t stride, int form,
        Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if stride == @SIZE@:
        memcpy(d, s, n * @SIZE@)
    else:
        for i in range(n):
            (<@T@*>(d + i * stride))[0] = s[i]

"""

FETCH_HALF = """
cdef void fetch_f32(const char* s, Py_ssize_t stride, int form, float* d,
        Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if form == OWN:
        if stride == 4:
            memcpy(d, s, n * 4)
        else:
            for i in range(n):
                d[i] = (<const float*>(s + i * stride))[0]
    elif form == HALF:
        if stride == 2:
            from_halves(s, d, n)
        else:
            for i in range(n):
                d[i] = from_half((<const uint16_t*>(s + i * stride))[0])
    elif stride == 2:
        for i in range(n):
            d[i] = from_brain((<const uint16_t*>s)[i])
    else:
        for i in range(n):
            d[i] = from_brain((<const uint16_t*>(s + i * stride))[0])


cdef void store_f32(const float* s, char* d, Py_ssize_t stride, int form,
        Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if form == OWN:
        if stride == 4:
            memcpy(d, s, n * 4)
        else:
            for i in range(n):
                (<float*>(d + i * stride))[0] = s[i]
    elif form == HALF:
        if stride == 2:
            to_halves(s, d, n)
        else:
            for i in range(n):
                (<uint16_t*>(d + i * stride))[0] = to_half(s[i])
    elif stride == 2:
        for i in range(n):
            (<uint16_t*>d)[i] = to_brain(s[i])
    else:
        for i in range(n):
            (<uint16_t*>(d + i * stride))[0] = to_brain(s[i])

"""

# A panel holds @R@ rows (of a) or columns (of b): p[k, i] = s[i * across + k * along]. Missing ones
# are zero.
PANEL = """
cdef void panel_@t@_@R@(const char* s, Py_ssize_t across, Py_ssize_t along, int form, Py_ssize_t r,
        Py_ssize_t kc, @T@* p) noexcept nogil:
    cdef Py_ssize_t i, k, k0, k1
    if r < @R@:
        memset(p, 0, kc * @R@ * @SIZE@)
    if across == @SIZE@ or r < @R@:
        for k in range(kc):
            fetch_@t@(s + k * along, across, form, p + k * @R@, r)
        return
    k0 = 0
    while k0 < kc:  # in pieces, so that the panel's lines stay in the first cache
        k1 = least(kc, k0 + 32)
        for i in range(@R@):
            for k in range(k0, k1):
                p[k * @R@ + i] = (<const @T@*>(s + i * across + k * along))[0]
        k0 = k1

"""

PANEL_4 = """
cdef inline void turn_@t@_@R@(const char* s, Py_ssize_t across, Py_ssize_t r, Py_ssize_t kc,
        @T@* p) noexcept nogil:
    cdef Py_ssize_t i = 0, k
    while i + 4 <= r:
        k = 0
        while k + 4 <= kc:
            transpose4(s + i * across + k * 4, across, <char*>(p + k * @R@ + i), @R@ * 4)
            k += 4
        while k < kc:
            (p + k * @R@ + i)[0] = (<const @T@*>(s + i * across))[k]
            (p + k * @R@ + i)[1] = (<const @T@*>(s + (i + 1) * across))[k]
            (p + k * @R@ + i)[2] = (<const @T@*>(s + (i + 2) * across))[k]
            (p + k * @R@ + i)[3] = (<const @T@*>(s + (i + 3) * across))[k]
            k += 1
        i += 4
    while i < r:
        for k in range(kc):
            p[k * @R@ + i] = (<const @T@*>(s + i * across))[k]
        i += 1


cdef void panel_@t@_@R@(const char* s, Py_ssize_t across, Py_ssize_t along, int form, Py_ssize_t r,
        Py_ssize_t kc, @T@* p) noexcept nogil:
    cdef Py_ssize_t i, k, k0, k1
    cdef @T@[@R@ * 32] wide
    if r < @R@:
        memset(p, 0, kc * @R@ * 4)
    if across == (4 if form == OWN else 2):
        for k in range(kc):
            fetch_@t@(s + k * along, across, form, p + k * @R@, r)
        return
    k0 = 0
    while k0 < kc:  # in pieces, so that the panel's lines stay in the first cache
        k1 = least(kc, k0 + 32)
        if form == OWN and along == 4:
            turn_@t@_@R@(s + k0 * 4, across, r, k1 - k0, p + k0 * @R@)
        else:
            for i in range(r):
                fetch_@t@(s + i * across + k0 * along, along, form, wide + i * 32, k1 - k0)
            turn_@t@_@R@(<const char*>wide, 128, r, k1 - k0, p + k0 * @R@)
        k0 = k1

"""

# The microkernel of packed panels; a narrow one where one vector holds the columns that are left.
MULTIPLY = """
cdef inline void pair_@t@(Product* g) noexcept nogil:
    pass


cdef inline void multiply_@t@(const Product* g, Py_ssize_t depth, const @T@* a, const @T@* b,
        @T@* c, Py_ssize_t row, int onto, Py_ssize_t n) noexcept nogil:
    if n <= @LANES@:
        narrow_@t@(depth, a, b, c, row, onto)
    else:
        micro_@t@(depth, a, b, c, row, onto)

"""

# bfloat16 where the processor multiplies pairs of them and adds up in float32. Panels hold pairs of
# values that follow each other along the inner axis; an odd last one is paired with zero.
PAIRS = """
cdef inline void turn_pairs_@R@(const char* s, Py_ssize_t across, Py_ssize_t r, Py_ssize_t kc,
        uint32_t* p) noexcept nogil:
    cdef Py_ssize_t i, k, whole = r // 4 * 4
    for i in range(r):
        k = 0
        if i % 4 == 0 and i < whole:
            while k + 8 <= kc:
                transpose4(s + i * across + k * 2, across, <char*>(p + k // 2 * @R@ + i), @R@ * 4)
                k += 8
        elif i < whole:
            k = kc // 8 * 8
        while k < kc:
            p[k // 2 * @R@ + i] = pair_of(s + i * across + k * 2, 2, k + 1 < kc)
            k += 2


cdef void panel_pairs_@R@(const char* s, Py_ssize_t across, Py_ssize_t along, Py_ssize_t r,
        Py_ssize_t kc, uint32_t* p) noexcept nogil:
    cdef Py_ssize_t i, k
    cdef const uint16_t* low
    cdef const uint16_t* high
    if r < @R@:
        memset(p, 0, (kc + 1) // 2 * @R@ * 4)
    if along == 2:
        turn_pairs_@R@(s, across, r, kc, p)
        return
    k = 0
    while across == 2 and k + 2 <= kc:
        low = <const uint16_t*>(s + k * along)
        high = <const uint16_t*>(s + (k + 1) * along)
        for i in range(r):
            p[i] = low[i] | <uint32_t>high[i] << 16
        p += @R@
        k += 2
    while k < kc:
        for i in range(r):
            p[i] = pair_of(s + i * across + k * along, along, k + 1 < kc)
        p += @R@
        k += 2

"""

MULTIPLY_PAIRS = """
cdef void rows_pairs(const Product* g, Py_ssize_t first, Py_ssize_t count,
        char* panels) noexcept nogil:
    cdef const char* a = g.a + first * g.a_row + g.k0 * g.a_col
    cdef Py_ssize_t i
    for i in range(0, count, @MR@):
        panel_pairs_@MR@(a + i * g.a_row, g.a_row, g.a_col, least(@MR@, count - i), g.kc,
            <uint32_t*>panels + i * depth_of(g))


cdef void columns_pairs(const Product* g, Py_ssize_t first, Py_ssize_t count,
        char* panels) noexcept nogil:
    cdef const char* b = g.b + first * g.b_col + g.k0 * g.b_row
    cdef Py_ssize_t i
    for i in range(0, count, @NR@):
        panel_pairs_@NR@(b + i * g.b_col, g.b_col, g.b_row, least(@NR@, count - i), g.kc,
            <uint32_t*>panels + i * depth_of(g))


cdef inline void pair_f32(Product* g) noexcept nogil:
    g.pairs = g.a_form == BRAIN and g.b_form == BRAIN and can_pair()
    if g.pairs:
        g.rows = rows_pairs
        g.columns = columns_pairs


cdef inline void multiply_f32(const Product* g, Py_ssize_t depth, const float* a, const float* b,
        float* c, Py_ssize_t row, int onto, Py_ssize_t n) noexcept nogil:
    if g.pairs:
        micro_pairs(depth, <const uint32_t*>a, <const uint32_t*>b, c, row, onto)
    elif n <= @LANES@:
        narrow_f32(depth, a, b, c, row, onto)
    else:
        micro_f32(depth, a, b, c, row, onto)

"""

PACKED = """
cdef void rows_@t@(const Product* g, Py_ssize_t first, Py_ssize_t count,
        char* panels) noexcept nogil:
    cdef const char* a = g.a + first * g.a_row + g.k0 * g.a_col
    cdef Py_ssize_t i
    for i in range(0, count, @MR@):
        panel_@t@_@MR@(a + i * g.a_row, g.a_row, g.a_col, g.a_form, least(@MR@, count - i), g.kc,
            <@T@*>panels + i * g.kc)


cdef void columns_@t@(const Product* g, Py_ssize_t first, Py_ssize_t count,
        char* panels) noexcept nogil:
    cdef const char* b = g.b + first * g.b_col + g.k0 * g.b_row
    cdef Py_ssize_t i
    for i in range(0, count, @NR@):
        panel_@t@_@NR@(b + i * g.b_col, g.b_col, g.b_row, g.b_form, least(@NR@, count - i), g.kc,
            <@T@*>panels + i * g.kc)


cdef inline bint is_apart_@t@(const Product* g) noexcept nogil:
    # Whether tiles are computed in scratch, because out cannot hold them.
    return g.out_form != OWN or g.out_col != @SIZE@


cdef void plan_@t@(Product* g) noexcept nogil:
    cdef Py_ssize_t blocks, macs, deepest
    cdef Py_ssize_t a_size = @SIZE@ if g.a_form == OWN else 2
    cdef Py_ssize_t b_size = @SIZE@ if g.b_form == OWN else 2
    cdef bint a_flat = g.a_col == a_size, a_tall = g.a_row == a_size
    cdef bint b_flat = g.b_col == b_size, b_tall = g.b_row == b_size
    cdef bint few_rows = g.m <= 8 and (b_flat or b_tall)
    cdef bint few_columns = g.n <= 8 and (a_flat or a_tall)
    g.started = False
    g.mr, g.nr = @MR@, @NR@
    g.rows = rows_@t@
    g.columns = columns_@t@
    g.pairs = False
    if few_rows or few_columns:
        # The few become the rows. Dot products read both operands in order: first choice.
        if few_columns and (not few_rows or a_flat and not b_tall):
            swap_@t@(g)
        plan_skinny_@t@(g)
        return
    g.skinny = False
    if g.n <= @MR@ and g.m > 2 * @NR@:  # columns of a tile would be mostly empty, its rows are not
        swap_@t@(g)
    pair_@t@(g)
    deepest = @KC@ * (2 if g.pairs else 1)
    blocks = pieces(g.k, deepest) if g.k > deepest * 4 // 3 else 1
    g.kb = padded(pieces(g.k, blocks), 8) if blocks > 1 else (g.k if g.k > 0 else 1)
    g.nb = least(padded(g.n, @NR@), 3072 // @NR@ * @NR@)
    g.un = least(512 // @NR@ * @NR@, g.nb)
    g.fused = g.un == g.nb and g.m >= 1024
    if not g.fused:
        g.un = least(256 // @NR@ * @NR@, g.nb)
    g.mb = padded(g.m, @MR@)
    if not g.fused:
        g.mb = least(g.mb, 3072 // @MR@ * @MR@)
    g.um = least(144 // @MR@ * @MR@, g.mb)
    macs = 262144  # a unit is worth some 5 microseconds at least
    while g.um * g.un * g.kb > macs and pieces(g.mb, g.um) * pieces(g.nb, g.un) < 32:
        if g.un > g.um and g.un > @NR@ and not g.fused:
            g.un = padded(g.un // 2, @NR@)
        elif g.um > @MR@:
            g.um = padded(g.um // 2, @MR@)
        else:
            break
    g.a_at = padded(g.nb * g.kb * @SIZE@, 64)
    g.acc_at = padded(g.a_at + (g.um * g.workers if g.fused else g.mb) * g.kb * @SIZE@, 64)
    g.scratch_bytes = g.acc_at
    g.onto = SET
    if is_apart_@t@(g):
        g.scratch_bytes += g.m * g.n * @SIZE@
    elif g.c == g.out and g.c_row == g.out_row and g.c_col == g.out_col and g.beta == 1 and (
        g.alpha == 1 or g.alpha == -1
    ):
        g.onto = ADD if g.alpha == 1 else SUBTRACT


cdef void swap_@t@(Product* g) noexcept nogil:
    # (a @ b) transposed is b transposed @ a transposed.
    g.m, g.n = g.n, g.m
    g.a, g.b = g.b, g.a
    g.a_form, g.b_form = g.b_form, g.a_form
    g.a_row, g.a_col, g.b_row, g.b_col = g.b_col, g.b_row, g.a_col, g.a_row
    g.c_row, g.c_col = g.c_col, g.c_row
    g.out_row, g.out_col = g.out_col, g.out_row


cdef bint advance_@t@(Product* g) noexcept nogil:
    # Rows go round fastest, so that a packed block of b serves all of them.
    if not g.started:
        g.started = True
        g.i0 = g.j0 = g.k0 = 0
    else:
        g.i0 += g.mb
        if g.i0 >= g.m:
            g.i0 = 0
            g.k0 += g.kb
            if g.k0 >= g.k:
                g.k0 = 0
                g.j0 += g.nb
                if g.j0 >= g.n:
                    return False
    g.mc = least(g.mb, g.m - g.i0)
    g.nc = least(g.nb, g.n - g.j0)
    g.kc = least(g.kb, g.k - g.k0)
    g.b_units = pieces(g.nc, @NR@ * @PB@) if g.i0 == 0 else 0
    g.pack_units = g.b_units + (0 if g.fused else pieces(g.mc, @MR@ * @PA@))
    g.tile_units = pieces(g.mc, g.um) * pieces(g.nc, g.un)
    return True


cdef void pack_@t@(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    cdef Product* g = <Product*>arg
    cdef Py_ssize_t i, count, depth = depth_of(g)
    if unit < g.b_units:
        i = unit * @NR@ * @PB@
        count = least(g.nc - i, @NR@ * @PB@)
        g.columns(g, g.j0 + i, count, g.scratch + i * depth * @SIZE@)
    else:
        i = (unit - g.b_units) * @MR@ * @PA@
        count = least(g.mc - i, @MR@ * @PA@)
        g.rows(g, g.i0 + i, count, g.scratch + g.a_at + i * depth * @SIZE@)


cdef void deliver_@t@(Product* g, @T@* row, Py_ssize_t i, Py_ssize_t j,
        Py_ssize_t n) noexcept nogil:
    # alpha * row + beta * c, in the stored format, to row i of out from column j.
    cdef @T@[256] more
    cdef @T@ alpha = <@T@>g.alpha, beta = <@T@>g.beta
    cdef Py_ssize_t q, s, w
    if g.alpha != 1:
        for q in range(n):
            row[q] = row[q] * alpha
    if g.c != NULL:
        s = 0
        while s < n:
            w = least(256, n - s)
            fetch_@t@(g.c + i * g.c_row + (j + s) * g.c_col, g.c_col, g.c_form, more, w)
            for q in range(w):
                row[s + q] = row[s + q] + beta * more[q]
            s += w
    cdef char* d = g.out + i * g.out_row + j * g.out_col
    if d != <char*>row:
        store_@t@(row, d, g.out_col, g.out_form, n)


cdef void edge_@t@(const Product* g, Py_ssize_t depth, const @T@* a, const @T@* b, @T@* c,
        Py_ssize_t row, int onto, Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    cdef @T@[@MR@ * @NR@] whole
    cdef Py_ssize_t i, j
    multiply_@t@(g, depth, a, b, whole, @NR@, SET, n)
    for i in range(m):
        if onto == ADD:
            for j in range(n):
                c[i * row + j] += whole[i * @NR@ + j]
        elif onto == SUBTRACT:
            for j in range(n):
                c[i * row + j] -= whole[i * @NR@ + j]
        else:
            for j in range(n):
                c[i * row + j] = whole[i * @NR@ + j]


cdef void tile_@t@(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    cdef Product* g = <Product*>arg
    cdef Py_ssize_t down = pieces(g.mc, g.um), depth = depth_of(g), i, j, m, n
    cdef Py_ssize_t top = (unit % down) * g.um, bottom = least(g.mc, top + g.um)
    cdef Py_ssize_t left = (unit // down) * g.un, right = least(g.nc, left + g.un)
    cdef bint apart = is_apart_@t@(g)
    cdef int onto = ADD if g.onto == SET and g.k0 > 0 else g.onto
    cdef Py_ssize_t row = g.n if apart else g.out_row // @SIZE@
    cdef const @T@* a = <const @T@*>(g.scratch + g.a_at)
    cdef const @T@* b = <const @T@*>g.scratch
    cdef @T@* acc = <@T@*>(g.scratch + g.acc_at if apart else g.out)
    acc += g.i0 * row + g.j0
    if g.fused:
        a += worker * g.um * g.kb
        g.rows(g, g.i0 + top, bottom - top, <char*>a)
        a -= top * depth
    for j in range(left, right, @NR@):
        n = least(@NR@, right - j)
        for i in range(top, bottom, @MR@):
            m = least(@MR@, bottom - i)
            if m == @MR@ and n == @NR@:
                multiply_@t@(g, depth, a + i * depth, b + j * depth, acc + i * row + j, row, onto,
                    n)
            else:
                edge_@t@(g, depth, a + i * depth, b + j * depth, acc + i * row + j, row, onto, m,
                    n)
    if g.k0 + g.kb >= g.k and g.onto == SET and (apart or g.alpha != 1 or g.c != NULL):
        for i in range(top, bottom):
            deliver_@t@(g, acc + i * row + left, g.i0 + i, g.j0 + left, right - left)

"""

SKINNY = """
cdef void plan_skinny_@t@(Product* g) noexcept nogil:
    cdef Py_ssize_t want, across
    g.skinny = True
    g.by_dot = g.b_row == (@SIZE@ if g.b_form == OWN else 2)
    # Whole rows of b where they fit: memory is fastest read in order.
    g.un = 64 if g.by_dot else 8 * @WIDTH@ // (8 if g.m > 4 else 4 if g.m > 2 else 2)
    across = pieces(g.n, g.un)
    g.part = g.k if g.k > 0 else 1
    cdef Py_ssize_t least_part = 512 if g.by_dot else 64
    want = least(32, g.n * g.k // 32768 + 1)  # pieces that make threads worth while
    if across < want and g.k >= 1024:
        g.part = padded(pieces(g.k, least(pieces(want, across), g.k // least_part)), 64)
    g.parts = pieces(g.k, g.part) if g.k > 0 else 1
    g.skinny_units = across * g.parts
    g.scratch_bytes = g.parts * g.m * g.n * @SIZE@ if g.parts > 1 else 0


cdef void axpys_@t@(Py_ssize_t m, Py_ssize_t kc, const @T@* a, Py_ssize_t a_row, const @T@* b,
        Py_ssize_t b_row, @T@* acc, Py_ssize_t row, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0, k
    while i < m:
        k = 0
@AXPYS@


cdef void dots_@t@(Py_ssize_t m, Py_ssize_t columns, const @T@* a, Py_ssize_t a_row, const @T@* b,
        Py_ssize_t b_row, @T@* acc, Py_ssize_t row, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0, j
    while i < m:
@DOTS@


cdef void skinny_axpy_@t@(Product* g, Py_ssize_t left, Py_ssize_t n, Py_ssize_t k0, Py_ssize_t k1,
        @T@* acc) noexcept nogil:
    cdef @T@[8 * 128] a
    cdef @T@[8 * @WIDTH@] wide
    cdef Py_ssize_t i, k, q, w, kc, row = g.un, deep = 8 * @WIDTH@ // row
    cdef const char* b
    while k0 < k1:
        kc = least(128, k1 - k0)
        for i in range(g.m):
            fetch_@t@(g.a + i * g.a_row + k0 * g.a_col, g.a_col, g.a_form, a + i * 128, kc)
        k = 0
        while k < kc:
            w = least(8 if g.b_form == OWN else least(8, deep), kc - k)
            b = g.b + (k0 + k) * g.b_row + left * g.b_col
            if g.b_form == OWN:
                axpys_@t@(g.m, w, a + k, 128, <const @T@*>b, g.b_row // @SIZE@, acc, row, n)
            else:
                for q in range(w):
                    fetch_@t@(b + q * g.b_row, g.b_col, g.b_form, wide + q * row, n)
                axpys_@t@(g.m, w, a + k, 128, wide, row, acc, row, n)
            k += w
        k0 += kc


cdef void skinny_dot_@t@(Product* g, Py_ssize_t left, Py_ssize_t n, Py_ssize_t k0, Py_ssize_t k1,
        @T@* acc) noexcept nogil:
    cdef @T@[4096] a
    cdef @T@[4 * 512] wide
    cdef Py_ssize_t i, j, q, w, kc, a_row
    cdef Py_ssize_t length = 512 if g.b_form != OWN else 4096 // g.m // 16 * 16
    cdef const @T@* rows
    cdef const char* b
    while k0 < k1:
        kc = least(length, k1 - k0)
        if g.a_form == OWN and g.a_col == @SIZE@:
            rows = <const @T@*>(g.a + k0 * g.a_col)
            a_row = g.a_row // @SIZE@
        else:
            rows = a
            a_row = kc
            for i in range(g.m):
                fetch_@t@(g.a + i * g.a_row + k0 * g.a_col, g.a_col, g.a_form, a + i * kc, kc)
        j = 0
        while j < n:
            w = least(4, n - j)
            b = g.b + k0 * g.b_row + (left + j) * g.b_col
            if g.b_form == OWN:
                dots_@t@(g.m, w, rows, a_row, <const @T@*>b, g.b_col // @SIZE@, acc + j, g.un, kc)
            else:
                for q in range(w):
                    fetch_@t@(b + q * g.b_col, g.b_row, g.b_form, wide + q * 512, kc)
                dots_@t@(g.m, w, rows, a_row, wide, 512, acc + j, g.un, kc)
            j += w
        k0 += kc


cdef void skinny_@t@(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    cdef Product* g = <Product*>arg
    cdef @T@[8 * @WIDTH@] acc
    cdef Py_ssize_t piece = unit % g.parts, left = unit // g.parts * g.un, i
    cdef Py_ssize_t n = least(g.un, g.n - left), k0 = piece * g.part, k1 = least(g.k, k0 + g.part)
    cdef Py_ssize_t last = k1
    memset(acc, 0, g.m * g.un * @SIZE@)
    while k0 < last:
        k1 = least(last, k0 + LOOK)
        if g.by_dot:
            skinny_dot_@t@(g, left, n, k0, k1, acc)
        else:
            skinny_axpy_@t@(g, left, n, k0, k1, acc)
        k0 = k1
        if k0 < last and interrupted():
            return
    for i in range(g.m):
        if g.parts == 1:
            deliver_@t@(g, acc + i * g.un, i, left, n)
        else:
            memcpy(<@T@*>g.scratch + (piece * g.m + i) * g.n + left, acc + i * g.un, n * @SIZE@)


cdef void gather_@t@(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    # Adds the pieces of the inner axis, in order, and delivers row `unit`.
    cdef Product* g = <Product*>arg
    cdef Py_ssize_t piece, j
    cdef @T@* row = <@T@*>g.scratch + unit * g.n
    for piece in range(1, g.parts):
        for j in range(g.n):
            row[j] += row[piece * g.m * g.n + j]
    deliver_@t@(g, row, unit, 0, g.n)

"""

# Complex products are rare: one blocked loop, four rows at a time, real and imaginary parts apart.
COMPLEX = """
cdef void product_c64(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    cdef Product* g = <Product*>arg
    cdef float[4 * 256] re, im
    cdef float[256] br, bi
    cdef Py_ssize_t down = pieces(g.m, 4), top = unit % down * 4, left = unit // down * 256
    cdef Py_ssize_t m = least(4, g.m - top), n = least(256, g.n - left), i, j, k
    cdef float ar, ai
    cdef const float* s
    cdef float* d
    memset(re, 0, sizeof(re))
    memset(im, 0, sizeof(im))
    for k in range(g.k):
        if k % LOOK == LOOK - 1 and interrupted():
            return
        for j in range(n):
            s = <const float*>(g.b + k * g.b_row + (left + j) * g.b_col)
            br[j] = s[0]
            bi[j] = s[1]
        for i in range(m):
            s = <const float*>(g.a + (top + i) * g.a_row + k * g.a_col)
            ar = s[0]
            ai = s[1]
            for j in range(n):
                re[i * 256 + j] += ar * br[j] - ai * bi[j]
                im[i * 256 + j] += ar * bi[j] + ai * br[j]
    for i in range(m):
        for j in range(n):
            d = <float*>(g.out + (top + i) * g.out_row + (left + j) * g.out_col)
            d[0] = re[i * 256 + j]
            d[1] = im[i * 256 + j]

"""
