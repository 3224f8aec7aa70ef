"""The Cython text that ``matmul_render`` fills in and puts together.

Names between at signs are replaced: @T@ the C type, @t@ its word, @SIZE@ its bytes, @MR@ and @NR@
the register tile's rows and columns, @R@ a panel's width, @KC@ the inner block, @LANES@ values in a
register.
"""

HEADER = '''# Printed by mlxc/_kernels/matmul_render.py: do not edit.
"""Matrix products: packing, microkernels, skinny products. See mlxc/_kernels/product.pxd."""

from libc.string cimport memcpy, memset
from mlxc._kernels.product cimport (
    ADD, BRAIN, HALF, OWN, OWNED, SET, SHARED, SMALL_COLUMNS, SMALL_DEEP, SMALL_ROWS, STANDS,
    SUBTRACT, Product,
)
from mlxc._kernels.square cimport transpose4
from mlxc._threads.pool cimport interrupted

cdef enum:
    LOOK = 1 << 15  # of the inner axis of a skinny product, between looks for Ctrl-C
    A_STANDS = 512  # columns of b up to which rows of a are read where they stand
    B_STANDS = 144  # rows of a up to which columns of b are
    NEAR = 1 << 18  # bytes of an operand that is read where it stands in any case
    SPLIT = 1 << 16  # elements of a product whose inner axis may be split
    FOLDS = 8  # vectors of rows whose dot products are added up together, at most
    FOLDED = 3  # vectors that they are multiplied by, at most

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
    #define ask(p) __builtin_prefetch((p), 0, 2)
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
    void ask(const void*) noexcept nogil
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


cdef inline Py_ssize_t depth_of(const Product* g, Py_ssize_t kc) noexcept nogil:
    # How many values, or pairs of values, a row of a panel has.
    return (kc + 1) // 2 if g.pairs else kc

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

# Microkernels by how many vectors wide they are; all types but float32 have one kind.
MULTIPLY = """
cdef inline void pair_@t@(Product* g) noexcept nogil:
    pass


cdef inline void strip_@t@(const Product* g, int vectors, Py_ssize_t m, Py_ssize_t kc,
        const char* a, Py_ssize_t a_row, Py_ssize_t a_col, Py_ssize_t panel, const char* b,
        Py_ssize_t b_row, @T@* c, Py_ssize_t row, int onto) noexcept nogil:
    if vectors > 1:
        strip_@t@_@ACROSS@(g.mr, m, kc, a, a_row, a_col, panel, b, b_row, c, row, onto)
    else:
        strip_@t@_1(g.mr, m, kc, a, a_row, a_col, panel, b, b_row, c, row, onto)

"""

PACKED = """
cdef void rows_@t@(const Product* g, Py_ssize_t first, Py_ssize_t count, Py_ssize_t k0,
        Py_ssize_t kc, char* panels) noexcept nogil:
    cdef const char* a = g.a + first * g.a_row + k0 * g.a_col
    cdef Py_ssize_t i
    for i in range(0, count, @MR@):
        panel_@t@_@MR@(a + i * g.a_row, g.a_row, g.a_col, g.a_form, least(@MR@, count - i), kc,
            <@T@*>panels + i * kc)


cdef void columns_@t@(const Product* g, Py_ssize_t first, Py_ssize_t count, Py_ssize_t k0,
        Py_ssize_t kc, char* panels) noexcept nogil:
    cdef const char* b = g.b + first * g.b_col + k0 * g.b_row
    cdef Py_ssize_t i
    for i in range(0, count, @NR@):
        panel_@t@_@NR@(b + i * g.b_col, g.b_col, g.b_row, g.b_form, least(@NR@, count - i), kc,
            <@T@*>panels + i * kc)


cdef void plan_@t@(Product* g) noexcept nogil:
    cdef Py_ssize_t a_size = @SIZE@ if g.a_form == OWN else 2
    cdef Py_ssize_t b_size = @SIZE@ if g.b_form == OWN else 2
    cdef bint a_flat = g.a_col == a_size, a_tall = g.a_row == a_size
    cdef bint b_flat = g.b_col == b_size, b_tall = g.b_row == b_size
    cdef bint vector = g.m == 1 or g.n == 1
    cdef bint folds = least(g.m, g.n) <= FOLDED and (g.m >= @LANES@ or g.n >= @LANES@) and (
        g.a_form == OWN and g.b_form == OWN
    )
    cdef bint deep = folds or g.k >= (1 if vector else 2) * @LANES@  # worth a dot product
    cdef bint few_rows = g.m <= 8 and (b_flat or b_tall and deep)
    cdef bint few_columns = g.n <= 8 and (a_tall or a_flat and deep)
    g.started = g.swapped = False
    # The few become the rows. Dot products read both operands in order: first choice.
    if few_columns and (not few_rows or a_flat and not b_tall):
        few_rows = True
        b_flat, b_tall = a_tall, a_flat
        swap_@t@(g)
    g.skinny = few_rows and (
        b_tall or g.b_form != OWN or (g.m < 4 and (g.n > 64 or (g.n < @LANES@ and deep)))
    )
    if g.skinny:
        plan_skinny_@t@(g)
        return
    g.rows = rows_@t@
    g.columns = columns_@t@
    g.pairs = False
    pair_@t@(g)
    if g.m <= 64 and g.n > 2 * g.m and (b_tall if g.pairs else g.b_form == OWN and not b_flat):
        swap_@t@(g)  # the few rows are packed, and the many stand
    plan_ways_@t@(g)
    plan_units_@t@(g)
    plan_scratch_@t@(g)


cdef void swap_@t@(Product* g) noexcept nogil:
    # (a @ b) transposed is b transposed @ a transposed.
    g.swapped = not g.swapped
    g.m, g.n = g.n, g.m
    g.a, g.b = g.b, g.a
    g.a_form, g.b_form = g.b_form, g.a_form
    g.a_end, g.b_end = g.b_end, g.a_end
    g.a_row, g.a_col, g.b_row, g.b_col = g.b_col, g.b_row, g.a_col, g.a_row
    g.c_row, g.c_col = g.c_col, g.c_row
    g.out_row, g.out_col = g.out_col, g.out_row


cdef void plan_ways_@t@(Product* g) noexcept nogil:
    # Operands that are read again and again are packed, so that they are found in order.
    cdef Py_ssize_t deepest = @KC@ * (2 if g.pairs else 1), blocks
    blocks = pieces(g.k, deepest) if g.k > deepest * 4 // 3 else 1
    g.kb = padded(pieces(g.k, blocks), 8) if blocks > 1 else (g.k if g.k > 0 else 1)
    g.a_way = g.b_way = SHARED
    g.mr = @MR@
    if g.pairs:
        if g.a_col == 2 and g.k % 2 == 0 and g.n <= A_STANDS:
            g.a_way = STANDS
    else:
        if g.a_form == OWN and (g.n <= A_STANDS or g.k * g.m * @SIZE@ <= NEAR):
            g.a_way = STANDS
        if g.b_form == OWN and g.b_col == @SIZE@ and g.n >= @LANES@ and (
            g.m <= B_STANDS or g.k * g.n * @SIZE@ <= NEAR
        ):
            g.b_way = STANDS
    if g.a_way == STANDS and g.a_row % 4096 == 0 and g.mr > 8:
        g.mr = 8  # more would push each other out of the first cache


cdef void plan_units_@t@(Product* g) noexcept nogil:
    cdef Py_ssize_t macs = 131072, across, deep  # a unit is worth some microseconds at least
    g.parts, g.part = 1, g.k
    g.nb = least(padded(g.n, @NR@), 3072 // @NR@ * @NR@)
    g.mb = least(padded(g.m, g.mr), 3072 // g.mr * g.mr)
    g.um, g.un = g.mb, g.nb
    if g.m * g.n <= SPLIT and g.k >= 4 * g.kb and g.k * (g.m + g.n) >= 1 << 18:
        g.parts = least(least(64, (1 << 20) // (g.m * g.n)), g.m * g.n * g.k // (1 << 20))
        g.parts = least(g.parts, g.k // g.kb)
    if g.parts > 1:  # the inner axis is split: each part is read once
        g.part = padded(pieces(g.k, g.parts), g.kb)
        g.parts = pieces(g.k, g.part)
        g.a_way = OWNED if g.a_way == SHARED else g.a_way
        g.b_way = OWNED if g.b_way == SHARED else g.b_way
    else:
        g.parts = 1
        g.um = least(144 // g.mr * g.mr, g.mb)
        if g.nb <= 512 // @NR@ * @NR@ and g.m >= 1024:
            g.mb = padded(g.m, g.mr)
        else:
            g.un = least(256 // @NR@ * @NR@, g.nb)
        across = pieces(g.nb, g.un)
        deep = g.k if g.a_way != SHARED and g.b_way != SHARED else g.kb
        while g.um * g.un * deep > macs and pieces(g.mb, g.um) * pieces(g.nb, g.un) < 32:
            if g.un > g.um and g.un > @NR@ and (across > 1 or g.m < 1024):
                g.un = padded(g.un // 2, @NR@)
            elif g.um > g.mr:
                g.um = padded(g.um // 2, g.mr)
            else:
                break
        if g.a_way == SHARED and g.un >= g.n:
            g.a_way = OWNED
        while g.a_way != SHARED and 2 * g.um * g.un * deep <= macs and g.um < g.mb:
            g.um *= 2
        if g.b_way == SHARED and g.um >= g.m:
            g.b_way = OWNED
    g.whole = g.a_way != SHARED and g.b_way != SHARED
    if g.whole:
        g.mb, g.nb = padded(g.m, g.um), padded(g.n, g.un)


cdef void plan_scratch_@t@(Product* g) noexcept nogil:
    g.apart = g.out_form != OWN or g.out_col != @SIZE@
    g.kept = g.parts > 1 or (g.apart and not g.whole and g.kb < g.k)
    g.onto = SET
    if g.parts == 1 and not g.apart and (
        g.c == g.out and g.c_row == g.out_row and g.c_col == g.out_col and g.beta == 1
    ) and (g.alpha == 1 or g.alpha == -1):
        g.onto = ADD if g.alpha == 1 else SUBTRACT
    g.a_at = padded(g.nb * g.kb * @SIZE@, 64) if g.b_way == SHARED else 0
    g.own_at = g.a_at + (padded(g.mb * g.kb * @SIZE@, 64) if g.a_way == SHARED else 0)
    g.own_bytes = padded(@SIZE@ * (
        (padded(g.um, @MR@) * g.kb if g.a_way == OWNED else 0)
        + (g.un * g.kb if g.b_way == OWNED else 0)
        + (g.um * g.un if g.apart and not g.kept else 0)
    ), 64)
    g.acc_at = g.own_at + g.own_bytes * g.workers
    g.scratch_bytes = g.acc_at
    if g.kept:
        g.scratch_bytes += g.parts * g.m * g.n * @SIZE@


cdef bint advance_@t@(Product* g) noexcept nogil:
    # Rows go round fastest, so that a packed block of b serves all of them.
    if not g.started:
        g.started = True
        g.i0 = g.j0 = g.k0 = 0
    else:
        g.i0 += g.mb
        if g.i0 >= g.m:
            g.i0 = 0
            g.k0 += g.k if g.whole else g.kb
            if g.k0 >= g.k:
                g.k0 = 0
                g.j0 += g.nb
                if g.j0 >= g.n:
                    return False
    g.mc = least(g.mb, g.m - g.i0)
    g.nc = least(g.nb, g.n - g.j0)
    g.kc = g.k if g.whole else least(g.kb, g.k - g.k0)
    g.b_units = pieces(g.nc, @NR@ * @PB@) if g.i0 == 0 and g.b_way == SHARED else 0
    g.pack_units = g.b_units + (pieces(g.mc, @MR@ * @PA@) if g.a_way == SHARED else 0)
    g.tile_units = pieces(g.mc, g.um) * pieces(g.nc, g.un) * g.parts
    return True


cdef void pack_@t@(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    cdef Product* g = <Product*>arg
    cdef Py_ssize_t i, count, depth = depth_of(g, g.kc)
    if unit < g.b_units:
        i = unit * @NR@ * @PB@
        count = least(g.nc - i, @NR@ * @PB@)
        g.columns(g, g.j0 + i, count, g.k0, g.kc, g.scratch + i * depth * @SIZE@)
    else:
        i = (unit - g.b_units) * @MR@ * @PA@
        count = least(g.mc - i, @MR@ * @PA@)
        g.rows(g, g.i0 + i, count, g.k0, g.kc, g.scratch + g.a_at + i * depth * @SIZE@)


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


cdef void rest_@t@(const Product* g, Py_ssize_t m, Py_ssize_t depth, const char* a,
        Py_ssize_t a_row, Py_ssize_t a_col, Py_ssize_t panel, const char* b, Py_ssize_t b_row,
        @T@* c, Py_ssize_t row, int onto, Py_ssize_t from_, Py_ssize_t n) noexcept nogil:
    # The columns that are no whole vector: n of the vector's, from number `from_` on.
    cdef @T@[@MR@ * @LANES@] some
    cdef const @T@* s
    cdef Py_ssize_t i, j, rows
    while m > 0:
        rows = least(g.mr, m)
        strip_@t@(g, 1, rows, depth, a, a_row, a_col, panel, b, b_row, some, @LANES@, SET)
        for i in range(rows):
            s = some + i * @LANES@ + from_
            if onto == ADD:
                for j in range(n):
                    c[j] += s[j]
            elif onto == SUBTRACT:
                for j in range(n):
                    c[j] -= s[j]
            else:
                for j in range(n):
                    c[j] = s[j]
            c += row
        a += panel
        m -= rows


cdef void block_@t@(const Product* g, Py_ssize_t top, Py_ssize_t m, Py_ssize_t left, Py_ssize_t n,
        Py_ssize_t k0, Py_ssize_t kc, char* own, @T@* c, Py_ssize_t row, int onto) noexcept nogil:
    # Rows from `top` on and columns from `left` on of the block in hand, of kc of the inner axis.
    cdef Py_ssize_t depth = depth_of(g, kc), pair = 2 if g.pairs else 1
    cdef Py_ssize_t a_row = g.a_row, a_col = g.a_col * pair, a_step = g.mr * a_row
    cdef Py_ssize_t b_row = g.b_row * pair, b_step = @NR@ * @SIZE@, back
    cdef const char* a = g.a + (g.i0 + top) * a_row + k0 * g.a_col
    cdef const char* b = g.b + (g.j0 + left) * g.b_col + k0 * g.b_row
    if g.a_way != STANDS:
        a = g.scratch + g.a_at + top * depth * @SIZE@
        if g.a_way == OWNED:
            g.rows(g, g.i0 + top, m, k0, kc, own)
            a = own
            own += padded(g.um, @MR@) * g.kb * @SIZE@
        a_row, a_col, a_step = @SIZE@, @MR@ * @SIZE@, @MR@ * depth * @SIZE@
    if g.b_way != STANDS:
        b = g.scratch + left * depth * @SIZE@
        if g.b_way == OWNED:
            g.columns(g, g.j0 + left, n, k0, kc, own)
            b = own
        b_row, b_step = @NR@ * @SIZE@, @NR@ * depth * @SIZE@
    while n >= @NR@:
        strip_@t@(g, @ACROSS@, m, depth, a, a_row, a_col, a_step, b, b_row, c, row, onto)
        b += b_step
        c += @NR@
        n -= @NR@
    while n >= @LANES@:
        strip_@t@(g, 1, m, depth, a, a_row, a_col, a_step, b, b_row, c, row, onto)
        b += @LANES@ * @SIZE@
        c += @LANES@
        n -= @LANES@
    if n > 0:  # where b stands, its last vector is read
        back = @LANES@ - n if g.b_way == STANDS else 0
        rest_@t@(g, m, depth, a, a_row, a_col, a_step, b - back * @SIZE@, b_row, c, row, onto,
            back, n)


cdef void tile_@t@(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    cdef Product* g = <Product*>arg
    cdef Py_ssize_t down = pieces(g.mc, g.um), i, kc, part = unit % g.parts, at = unit // g.parts
    cdef Py_ssize_t top = at % down * g.um, m = least(g.um, g.mc - top)
    cdef Py_ssize_t left = at // down * g.un, n = least(g.un, g.nc - left)
    cdef Py_ssize_t k0 = g.k0 + part * g.part, k1 = least(g.k0 + g.kc, k0 + g.part), row = g.n
    cdef int onto = ADD if g.onto == SET and k0 > 0 and g.parts == 1 else g.onto
    cdef char* own = g.scratch + g.own_at + worker * g.own_bytes
    cdef @T@* acc
    if g.kept:
        acc = <@T@*>(g.scratch + g.acc_at) + (part * g.m + g.i0 + top) * g.n + g.j0 + left
    elif g.apart:
        acc = <@T@*>own
        row = g.un
        own += g.um * g.un * @SIZE@
    else:
        row = g.out_row // @SIZE@
        acc = <@T@*>g.out + (g.i0 + top) * row + g.j0 + left
    while True:
        kc = least(g.kb, k1 - k0)
        block_@t@(g, top, m, left, n, k0, kc, own, acc, row, onto)
        k0 += kc
        if k0 >= k1:
            break
        if interrupted():
            return
        onto = ADD if onto == SET else onto
    if k1 >= g.k and g.parts == 1 and g.onto == SET and (g.apart or g.alpha != 1 or g.c != NULL):
        for i in range(m):
            deliver_@t@(g, acc + i * row, g.i0 + top + i, g.j0 + left, n)

"""

SKINNY = """
cdef void plan_skinny_@t@(Product* g) noexcept nogil:
    cdef Py_ssize_t want, across
    g.by_dot = g.b_row == (@SIZE@ if g.b_form == OWN else 2)
    g.by_fold = (
        g.by_dot and g.b_form == OWN and g.m <= FOLDED and g.n >= @LANES@
        and g.k <= FOLDS * @LANES@
    )
    # Whole rows of b where they fit: memory is fastest read in order.
    g.un = 8 * @WIDTH@ // (8 if g.m > 4 else 4 if g.m > 2 else 2)
    if g.by_dot:
        g.un = @WIDTH@ if g.by_fold else 64
    across = pieces(g.n, g.un)
    g.part = g.k if g.k > 0 else 1
    cdef Py_ssize_t least_part = 512 if g.by_dot else 64
    want = least(32, g.n * g.k // 32768 + 1)  # pieces that make threads worth while
    if across < want and g.k >= 1024:
        g.part = padded(pieces(g.k, least(pieces(want, across), g.k // least_part)), 64)
    g.parts = pieces(g.k, g.part) if g.k > 0 else 1
    g.skinny_units = across * g.parts
    g.acc_at = 0
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
        if g.by_fold:
            skinny_fold_@t@(g, left, n, acc)
        elif g.by_dot:
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
    cdef @T@* row = <@T@*>(g.scratch + g.acc_at) + unit * g.n
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
