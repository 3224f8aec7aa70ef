"""Products of 4-bit codes with float32 by bytes, where the processor multiplies four at a time.

A group of x becomes integers of 24 bits times one scale, whose rounding is that of float32 for the
largest of the group, and these three digits to the base 256, from -128 to 127. Products of digits
with codes are added up exactly. By intrinsics, because the instruction is beyond the set; whether
the processor has it is asked as the program runs.
"""

from libc.stdint cimport int8_t, uint8_t

from mlxc._kernels.mathematics cimport bits_of_f32, f32_of_bits
from mlxc._kernels.types cimport f32, i32

cdef enum:
    DIGITS = 3
    LARGEST = 127 << 16   # of these digits
    DIGIT_BLOCK = 128     # codes of 4 bits that are multiplied at a time

cdef extern from *:
    """
    #ifndef MLXC_DIGITS
    #define MLXC_DIGITS
    #if defined(__AVX512BW__)
    #include <immintrin.h>
    static int mlxc_has_digits(void) { return __builtin_cpu_supports("avx512vnni"); }
    /* Sums of scale * code * x for four rows of codes, `step` bytes and `groups` scales apart;
       `shift` is log2 of the words of a group. Scales may be read beyond their end. A block of x:
       even places, then odd ones, for each digit from the highest. Rows further on are fetched
       meanwhile, in the order of memory, which is what memory is quick in. */
    __attribute__((target("avx512vnni")))
    static void mlxc_dot_digits(const uint8_t *w, Py_ssize_t step, const float *scales,
                                Py_ssize_t groups, const int8_t *x, Py_ssize_t blocks, int shift,
                                float *sums) {
        const __m512i low = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
        const __m512i place = _mm512_srl_epi32(
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
            _mm_cvtsi32_si128(shift));
        __m512 total[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                           _mm512_setzero_ps()};
        const uint8_t *next = w + 8 * step;
        for (Py_ssize_t b = 0; b < blocks; b++, w += 64, x += 384) {
            __m512i v[6];
            for (int i = 0; i < 6; i++) v[i] = _mm512_loadu_si512(x + 64 * i);
            for (int r = 0; r < 4; r++) {
                const float *s = scales + r * groups + (16 * b >> shift);
                __m512i words = _mm512_loadu_si512(w + r * step);
                __m512i even = _mm512_and_si512(words, low);
                __m512i odd = _mm512_and_si512(_mm512_srli_epi16(words, 4), low);
                __m512i sum = _mm512_dpbusd_epi32(zero, even, v[0]);
                sum = _mm512_slli_epi32(_mm512_dpbusd_epi32(sum, odd, v[1]), 8);
                sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, even, v[2]), odd, v[3]);
                sum = _mm512_slli_epi32(sum, 8);
                sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, even, v[4]), odd, v[5]);
                total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum),
                    _mm512_permutexvar_ps(place, _mm512_loadu_ps(s)), total[r]);
                _mm_prefetch((const char *)next + 64 * (4 * b + r), _MM_HINT_T0);
            }
        }
        for (int r = 0; r < 4; r++) sums[r] = _mm512_reduce_add_ps(total[r]);
    }
    #else
    static int mlxc_has_digits(void) { return 0; }
    static void mlxc_dot_digits(const uint8_t *w, Py_ssize_t step, const float *scales,
                                Py_ssize_t groups, const int8_t *x, Py_ssize_t blocks, int shift,
                                float *sums) {
        for (int r = 0; r < 4; r++) sums[r] = 0;
    }
    #endif
    #endif
    """
    bint has_digits "mlxc_has_digits"() noexcept nogil
    void dot_digits "mlxc_dot_digits"(
        const uint8_t* w, Py_ssize_t step, const f32* scales, Py_ssize_t groups, const int8_t* x,
        Py_ssize_t blocks, int shift, f32* sums
    ) noexcept nogil


cdef inline f32 digit_scale(const f32* x, int n, f32 largest) noexcept nogil:
    """What numbers are multiples of if the largest becomes that; 0 where they have no digits (NaN,
    infinity, what is too large or too small)."""
    cdef i32 bits = 0, size
    cdef f32 top
    cdef int i
    for i in range(n):
        size = bits_of_f32(x[i]) & 0x7FFFFFFF   # in the order of numbers, NaN last
        bits = size if size > bits else bits
    top = f32_of_bits(bits) if bits > 0 else <f32>1.0
    return top / largest if <f32>1e-30 < top < <f32>1e30 else <f32>0.0
