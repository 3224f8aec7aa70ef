"""Conversions of one element between formats, named `source_to_target`; equal on every
instruction set.

A floating-point number becomes an integer by truncation; NaN becomes 0 and what does not fit is
clamped to the nearest value that does. 32-bit unsigned targets take the low bits of a clamped
64-bit integer, so that -1.0 becomes the largest value, as narrower unsigned types do by wrapping.
Narrowing floats rounds to nearest, half to even, and keeps NaN.
"""

from libc.stdint cimport uint8_t, uint16_t

from mlxc._kernels.types cimport c64, f32, f64, i32, i64, u32, u64
from mlxc._kernels.mathematics cimport INFINITY, bits_of_f32, f32_of_bits

cdef extern from *:
    """
    #if defined(__F16C__)
    #include <immintrin.h>
    #endif
    /* Blocks that the hardware converts; each returns how many elements it has done. */
    static inline long mlxc_widen_f16(f32_out out, u16_in a, long n) {
        long i = 0;
    #if defined(__AVX512F__)
        for (; i + 16 <= n; i += 16)
            _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256((void *)(a + i))));
    #elif defined(__F16C__)
        for (; i + 8 <= n; i += 8)
            _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((void *)(a + i))));
    #elif defined(__aarch64__)
        for (; i < n; i++) out[i] = ((const __fp16 *)a)[i];
    #endif
        return i;
    }
    static inline long mlxc_narrow_f16(u16_out out, f32_in a, long n) {
        long i = 0;
    #if defined(__AVX512F__)
        for (; i + 16 <= n; i += 16)
            _mm256_storeu_si256((void *)(out + i), _mm512_cvtps_ph(_mm512_loadu_ps(a + i), 0));
    #elif defined(__F16C__)
        for (; i + 8 <= n; i += 8)
            _mm_storeu_si128((__m128i *)(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(a + i), 0));
    #elif defined(__aarch64__)
        for (; i < n; i++) ((__fp16 *)out)[i] = (__fp16)a[i];
    #endif
        return i;
    }
    static inline long mlxc_round_f16(f32_out out, f32_in a, long n) {
        long i = 0;
    #if defined(__AVX512F__)
        for (; i + 16 <= n; i += 16)
        {
            __m256i half = _mm512_cvtps_ph(_mm512_loadu_ps(a + i), 0);
            _mm512_storeu_ps(out + i, _mm512_cvtph_ps(half));
        }
    #elif defined(__F16C__)
        for (; i + 8 <= n; i += 8)
        {
            __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(a + i), 0);
            _mm256_storeu_ps(out + i, _mm256_cvtph_ps(half));
        }
    #elif defined(__aarch64__)
        for (; i < n; i++) out[i] = (float)(__fp16)a[i];
    #endif
        return i;
    }
    """
    long widen_f16_block "mlxc_widen_f16"(f32* out, const uint16_t* a, long n) noexcept nogil
    long narrow_f16_block "mlxc_narrow_f16"(uint16_t* out, const f32* a, long n) noexcept nogil
    long round_f16_block "mlxc_round_f16"(f32* out, const f32* a, long n) noexcept nogil

# ---- 16-bit floats by their bits ----

cdef inline f32 f16_to_f32(uint16_t h) noexcept nogil:
    cdef i32 magnitude = (<i32>h & 0x7FFF) << 13
    # 2**112 moves the exponent from one bias to the other, and makes denormals normal.
    cdef i32 bits = bits_of_f32(f32_of_bits(magnitude) * f32_of_bits(0x77800000))
    bits = bits | 0x7F800000 if magnitude >= 0x0F800000 else bits
    bits = bits | 0x00400000 if magnitude > 0x0F800000 else bits  # a quiet NaN, as the hardware's
    return f32_of_bits(bits | ((<i32>h & 0x8000) << 16))

cdef inline uint16_t f32_to_f16(f32 x) noexcept nogil:
    cdef u32 bits = <u32>bits_of_f32(x)
    cdef u32 sign = (bits >> 16) & 0x8000
    cdef u32 size = bits & 0x7FFFFFFF
    cdef u32 normal = (size - 0x38000000 + 0x0FFF + ((size >> 13) & 1)) >> 13
    # Adding 1/2 leaves a multiple of 2**-24, the spacing of float16's denormals, in the low bits.
    cdef u32 small = <u32>(bits_of_f32(f32_of_bits(<i32>size) + <f32>0.5) - 0x3F000000)
    cdef u32 h = small if size < 0x38800000 else normal
    h = 0x7C00 if size >= 0x477FF000 else h
    h = 0x7E00 | ((size >> 13) & 0x01FF) if size > 0x7F800000 else h
    return <uint16_t>(h | sign)

cdef inline f32 bf16_to_f32(uint16_t h) noexcept nogil:
    return f32_of_bits(<i32>(<u32>h << 16))

cdef inline u32 round_to_bf16(f32 x) noexcept nogil:
    """The bits of x, of which the upper half are rounded."""
    cdef u32 bits = <u32>bits_of_f32(x)
    cdef u32 rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return bits | 0x00400000 if x != x else rounded

cdef inline uint16_t f32_to_bf16(f32 x) noexcept nogil:
    return <uint16_t>(round_to_bf16(x) >> 16)

# ---- words of two bfloat16 ----

cdef inline f32 bf16_even(u32 pair) noexcept nogil:
    return f32_of_bits(<i32>(pair << 16))

cdef inline f32 bf16_odd(u32 pair) noexcept nogil:
    return f32_of_bits(<i32>(pair & <u32>0xFFFF0000))

cdef inline u32 f32_pair_to_bf16(f32 even, f32 odd) noexcept nogil:
    return (round_to_bf16(even) >> 16) | (round_to_bf16(odd) & <u32>0xFFFF0000)

# ---- blocks of float16 ----

cdef enum:
    BLOCK = 64  # more vectors than one: gcc would take a loop of one apart, conditions and all

cdef inline void widen_f16(f32* out, const uint16_t* a) noexcept nogil:
    cdef int k
    for k in range(<int>widen_f16_block(out, a, BLOCK), BLOCK):
        out[k] = f16_to_f32(a[k])

cdef inline void narrow_f16(uint16_t* out, const f32* a) noexcept nogil:
    cdef int k
    for k in range(<int>narrow_f16_block(out, a, BLOCK), BLOCK):
        out[k] = f32_to_f16(a[k])

# ---- floats to integers ----

cdef inline i32 f32_to_i32(f32 x) noexcept nogil:
    cdef f32 c = x if x == x else <f32>0.0
    cdef i32 low
    c = <f32>-2147483648.0 if c < <f32>-2147483648.0 else c
    low = <i32>(<f32>2147483520.0 if c > <f32>2147483520.0 else c)
    return 2147483647 if c >= <f32>2147483648.0 else low

cdef inline i32 f64_to_i32(f64 x) noexcept nogil:
    cdef f64 c = x if x == x else 0.0
    c = -2147483648.0 if c < -2147483648.0 else c
    return <i32>(2147483647.0 if c > 2147483647.0 else c)

cdef inline i64 f64_to_i64(f64 x) noexcept nogil:
    cdef f64 c = x if x == x else 0.0
    cdef i64 low
    c = -9223372036854775808.0 if c < -9223372036854775808.0 else c
    low = <i64>(9223372036854774784.0 if c > 9223372036854774784.0 else c)
    return <i64>0x7FFFFFFFFFFFFFFF if c >= 9223372036854775808.0 else low

cdef inline i64 f32_to_i64(f32 x) noexcept nogil:
    return f64_to_i64(<f64>x)

cdef inline u32 f64_to_u32(f64 x) noexcept nogil:
    return <u32>f64_to_i64(x)

cdef inline u32 f32_to_u32(f32 x) noexcept nogil:
    return <u32>f64_to_i64(<f64>x)

cdef inline u64 f64_to_u64(f64 x) noexcept nogil:
    """Negative values wrap as int64 does; the upper half of the range is clamped at its end."""
    cdef u64 high
    if x < 9223372036854775808.0 or x != x:
        return <u64>f64_to_i64(x)
    high = <u64>f64_to_i64(x - 9223372036854775808.0) + <u64>0x8000000000000000
    return <u64>0xFFFFFFFFFFFFFFFF if x >= 18446744073709551616.0 else high

cdef inline u64 f32_to_u64(f32 x) noexcept nogil:
    return f64_to_u64(<f64>x)
