"""The Cython text of products of bfloat16 by pairs, where the processor has an instruction for it.

Filled in by ``matmul_render`` like the rest, in ``matmul_templates``.
"""

PAIR_KERNELS = '''
cdef extern from *:
    """
    #include <immintrin.h>
    typedef struct { int i; } __attribute__((packed, may_alias)) word;
    static inline int can_pair(void) {
        return __builtin_cpu_supports("avx512bf16");
    }
    static inline uint32_t pair_of(const char *s, Py_ssize_t along, int both) {
        uint16_t low, high = 0;
        memcpy(&low, s, 2);
        if (both) memcpy(&high, s + along, 2);
        return low | (uint32_t)high << 16;
    }
@KERNELS@
    """
    ctypedef unsigned int uint32_t
    bint can_pair() noexcept nogil
    uint32_t pair_of(const char*, Py_ssize_t, bint) noexcept nogil
@NAMES@

'''

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
cdef void rows_pairs(const Product* g, Py_ssize_t first, Py_ssize_t count, Py_ssize_t k0,
        Py_ssize_t kc, char* panels) noexcept nogil:
    cdef const char* a = g.a + first * g.a_row + k0 * g.a_col
    cdef Py_ssize_t i
    for i in range(0, count, @MR@):
        panel_pairs_@MR@(a + i * g.a_row, g.a_row, g.a_col, least(@MR@, count - i), kc,
            <uint32_t*>panels + i * depth_of(g, kc))


cdef void columns_pairs(const Product* g, Py_ssize_t first, Py_ssize_t count, Py_ssize_t k0,
        Py_ssize_t kc, char* panels) noexcept nogil:
    cdef const char* b = g.b + first * g.b_col + k0 * g.b_row
    cdef Py_ssize_t i
    for i in range(0, count, @NR@):
        panel_pairs_@NR@(b + i * g.b_col, g.b_col, g.b_row, least(@NR@, count - i), kc,
            <uint32_t*>panels + i * depth_of(g, kc))


cdef inline void pair_f32(Product* g) noexcept nogil:
    g.pairs = g.a_form == BRAIN and g.b_form == BRAIN and can_pair()
    if g.pairs:
        g.rows = rows_pairs
        g.columns = columns_pairs


cdef inline void strip_f32(const Product* g, int vectors, Py_ssize_t m, Py_ssize_t kc,
        const char* a, Py_ssize_t a_row, Py_ssize_t a_col, Py_ssize_t panel, const char* b,
        Py_ssize_t b_row, float* c, Py_ssize_t row, int onto) noexcept nogil:
    if g.pairs and vectors > 1:
        strip_pairs_@ACROSS@(g.mr, m, kc, a, a_row, a_col, panel, b, b_row, c, row, onto)
    elif g.pairs:
        strip_pairs_1(g.mr, m, kc, a, a_row, a_col, panel, b, b_row, c, row, onto)
    elif vectors > 1:
        strip_f32_@ACROSS@(g.mr, m, kc, a, a_row, a_col, panel, b, b_row, c, row, onto)
    else:
        strip_f32_1(g.mr, m, kc, a, a_row, a_col, panel, b, b_row, c, row, onto)

"""
