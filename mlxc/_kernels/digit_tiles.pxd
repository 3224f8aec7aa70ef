"""Tiles of products of many rows with codes, by bytes, where the processor multiplies four at a
time.

Codes become bytes, four of a row of w in a lane. A chunk of a row of x becomes integers times one
scale, in three digits for float32, in two for half floats. Products of digits with codes are added
up exactly over a chunk. By intrinsics, as in digits.pxd.

Codes of 8 bits meet digits to the base 256. Smaller ones leave room in their bytes, which halves
the multiplications (Winograd 1968): with codes c0, c1 and digits x0, x1 from -128 to 127 less the
largest code, (c1 + x0 + 128) (c0 + x1) is c0 x0 + c1 x1, and a part that depends on the codes
alone, c0 (c1 + 128), and a part that depends on x alone, (x0 + 128) x1. Bytes are added where
nothing is multiplied. The base is 256 - 2**room, and room 32 where codes leave none.
"""

from libc.stdint cimport int8_t, uint8_t
from libc.string cimport memcpy, memset

from mlxc._kernels.digits cimport digit_scale, has_digits
from mlxc._kernels.packing cimport (
    AFFINE, BLOCK, CHUNK, FEW, ROWS, TILE_CHUNKS, TILE_DEPTH, TILE_ROWS, PackedProduct, Packing,
    chunk_bytes, chunk_of, codes_of, digits_of, load_scales, split,
)
from mlxc._kernels.tile cimport LANES, ZERO, Vector, at, narrow_row, put, total_of, widen_row
from mlxc._kernels.turn cimport turned
from mlxc._kernels.types cimport f32, i32

cdef extern from *:
    """
    #ifndef MLXC_DIGIT_TILES
    #define MLXC_DIGIT_TILES
    #define MLXC_TILE_ROWS 8             /* as in packing.pxd */
    #define MLXC_TILE_BYTES (16 * 512)   /* of codes of one vector of rows of w */
    #define MLXC_TILE_CHUNKS (512 / 16)
    typedef uint8_t __attribute__((vector_size(4 * MLXC_LANES), aligned(1), may_alias)) mlxc_bytes;
    #define MLXC_BYTES(x) ((mlxc_bytes)(x))
    #if defined(__AVX512BW__)
    #include <immintrin.h>
    #define MLXC_EACH(i, n) _Pragma("GCC unroll 8") for (int i = 0; i < n; i++)
    /* n codes of fewer than 8 bits, a multiple of 8, as bytes; of `floats` 12 more than twice the
       value. */
    static void mlxc_expand(const uint8_t *w, Py_ssize_t n, int bits, int floats,
                            uint8_t *out) {
        const uint64_t mask = 0x0101010101010101u * ((1u << bits) - 1);
        const __m128i values = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24,
                                             12, 11, 10, 9, 8, 6, 4, 0);
        for (Py_ssize_t i = 0; i < n; i += 8, w += bits) {
            uint64_t word = 0;
            if (n - i >= 64) memcpy(&word, w, 8);
            else for (int j = 0; j < bits; j++) word |= (uint64_t)w[j] << 8 * j;
            word = _pdep_u64(word, mask);
            if (floats)
                word = _mm_cvtsi128_si64(_mm_shuffle_epi8(values, _mm_cvtsi64_si128(word)));
            memcpy(out + i, &word, 8);
        }
    }
    /* A chunk of a row of x in digits, the highest first, four of them at a step; with `nibbles`
       the even places of eight before the odd ones. What sums of a digit start from stands before
       its steps, for every row. */
    __attribute__((target("avx512vnni")))
    static void mlxc_chunk_digits(const float *x, int n, float scale, int digits, int room,
                                  int nibbles, int8_t *out) {
        const int pairs = room < 32, base = pairs ? 256 - (1 << room) : 256;
        const int plane = (n + 4) * MLXC_TILE_ROWS;
        const __m512 middle = _mm512_set1_ps(0.5f + (pairs ? 1 << (room - 1) : 0));
        const __m512 inverse = _mm512_set1_ps(scale == 0 ? 0 : 1 / scale);
        const __m512 part = _mm512_set1_ps(1.0f / base);
        const __m128i first = _mm_setr_epi32(-1, 0, -1, 0);
        const __m128i sign = _mm_and_si128(_mm_set1_epi8(pairs ? -128 : 0), first);
        const __m128i order = nibbles
            ? _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15)
            : _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        __m128i own[3] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
        for (int i = 0; i < n; i += 16) {
            __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), inverse));
            for (int d = digits - 1; d >= 0; d--) {
                __m512i digit = v;
                if (d) {
                    v = _mm512_cvtps_epi32(_mm512_mul_ps(part, _mm512_add_ps(
                        _mm512_cvtepi32_ps(v), middle)));
                    digit = _mm512_sub_epi32(digit,
                                             _mm512_mullo_epi32(v, _mm512_set1_epi32(base)));
                    /* The quotient was rounded. */
                    __mmask16 less = _mm512_cmplt_epi32_mask(digit, _mm512_set1_epi32(-128));
                    v = _mm512_mask_sub_epi32(v, less, v, _mm512_set1_epi32(1));
                    digit = _mm512_mask_add_epi32(digit, less, digit, _mm512_set1_epi32(base));
                }
                __m128i bytes = _mm_shuffle_epi8(_mm512_cvtepi32_epi8(digit), order);
                int8_t *to = out + d * plane + (i + 4) * MLXC_TILE_ROWS;
                bytes = _mm_xor_si128(bytes, sign);
                own[d] = _mm_dpbusd_epi32(own[d], _mm_and_si128(bytes, first),
                                          _mm_srli_si128(bytes, 4));
                for (int j = 0; j < 4; j++, bytes = _mm_srli_si128(bytes, 4)) {
                    int four = _mm_cvtsi128_si32(bytes);
                    memcpy(to + 4 * j * MLXC_TILE_ROWS, &four, 4);
                }
            }
        }
        for (int d = 0; d < digits; d++) {
            int sum = pairs ? _mm_cvtsi128_si32(own[d]) + _mm_extract_epi32(own[d], 2) : 0;
            sum = -sum;
            memcpy(out + d * plane, &sum, 4);
        }
    }
    /* What pairs of codes of 16 rows add to every product, negative; nothing without room. */
    __attribute__((target("avx512vnni")))
    static void mlxc_code_pairs(const uint8_t *w, Py_ssize_t chunks, int steps, int room,
                                int32_t *out) {
        const __m512i none = _mm512_setzero_si512();
        for (Py_ssize_t c = 0; c < chunks; c++, out += 16) {
            __m512i sum = none;
            for (int k = 0; k < steps && room < 32; k += 2, w += 128)
                sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(_mm512_loadu_si512(w + 64),
                                          _mm512_set1_epi8(-128)), _mm512_loadu_si512(w));
            _mm512_storeu_si512(out, _mm512_sub_epi32(none, sum));
        }
    }
    static inline __m512i mlxc_four(const int8_t *x) {
        int four;
        memcpy(&four, x, 4);
        return _mm512_set1_epi32(four);
    }
    typedef struct { int8_t digits[4 * MLXC_TILE_ROWS]; } mlxc_some;
    #define MLXC_FOUR_TIMES(at, sums) "vpdpbusd " #at "(%9)%{1to16%}, %8, " #sums "\\n"
    /* Adds one digit's products over a chunk, where nothing is left to add to codes. */
    __attribute__((target("avx512vnni"), always_inline))
    static inline void mlxc_add_fours(__m512i *a, const uint8_t *w, const int8_t *x, int steps) {
        for (int k = 0; k < steps; k++, w += 64, x += 4 * MLXC_TILE_ROWS)
            __asm__(MLXC_FOUR_TIMES(0, %0) MLXC_FOUR_TIMES(4, %1) MLXC_FOUR_TIMES(8, %2)
                    MLXC_FOUR_TIMES(12, %3) MLXC_FOUR_TIMES(16, %4) MLXC_FOUR_TIMES(20, %5)
                    MLXC_FOUR_TIMES(24, %6) MLXC_FOUR_TIMES(28, %7)
                    : "+v"(a[0]), "+v"(a[1]), "+v"(a[2]), "+v"(a[3]), "+v"(a[4]), "+v"(a[5]),
                      "+v"(a[6]), "+v"(a[7])
                    : "v"(_mm512_loadu_si512(w)), "r"(x), "m"(*(const mlxc_some *)x));
    }
    /* The same by pairs, for several vectors of w: what is spread of x serves all of them. */
    __attribute__((target("avx512vnni"), always_inline))
    static inline void mlxc_add_pairs(__m512i *a, const uint8_t *w, const int8_t *x, int steps,
                                      int vectors, int rows) {
        for (int k = 0; k < steps; k += 2, w += 128, x += 8 * MLXC_TILE_ROWS) {
            __m512i even[3], odd[3];
            MLXC_EACH(v, vectors) {
                even[v] = _mm512_loadu_si512(w + v * MLXC_TILE_BYTES);
                odd[v] = _mm512_loadu_si512(w + v * MLXC_TILE_BYTES + 64);
                __asm__("" : "+v"(even[v]), "+v"(odd[v]));   /* to stay, not to be loaded again */
            }
            MLXC_EACH(i, rows) {
                const __m512i x0 = mlxc_four(x + 4 * i);
                const __m512i x1 = mlxc_four(x + 4 * (MLXC_TILE_ROWS + i));
                MLXC_EACH(v, vectors)
                    __asm__("vpdpbusd %2, %1, %0" : "+v"(a[v * rows + i])
                            : "v"(_mm512_add_epi8(odd[v], x0)), "v"(_mm512_add_epi8(even[v], x1)));
            }
        }
    }
    /* Some rows of x and some vectors of w over a chunk: sums of one digit after the other, as
       integers, times 16 scales of w and those of the rows; then what the biases add. */
    __attribute__((target("avx512vnni"), always_inline))
    static inline void mlxc_add_chunk(const uint8_t *w, const int8_t *x, const float *own,
                                      const float *scales, Py_ssize_t apart, const int32_t *w_own,
                                      int steps, int digits, int room, int vectors, int rows,
                                      float *out) {
        const int plane = 4 * MLXC_TILE_ROWS * (steps + 1), pairs = room < 32;
        const __m512 base = _mm512_set1_ps(pairs ? 256 - (1 << room) : 256);
        const __m128i count = _mm_cvtsi32_si128(room);
        __m512i a[12];
        MLXC_EACH(d, digits) {
            MLXC_EACH(v, vectors) {
                const __m512i start = _mm512_loadu_si512(w_own + v * 16 * MLXC_TILE_CHUNKS);
                MLXC_EACH(i, rows) {
                    __m512i *sum = a + v * rows + i, more = _mm512_add_epi32(start,
                                                                             mlxc_four(x + 4 * i));
                    *sum = d != 1 ? more : _mm512_add_epi32(more, _mm512_sub_epi32(
                        _mm512_slli_epi32(*sum, 8), _mm512_sll_epi32(*sum, count)));
                }
            }
            if (pairs) mlxc_add_pairs(a, w, x + 4 * MLXC_TILE_ROWS, steps, vectors, rows);
            else mlxc_add_fours(a, w, x + 4 * MLXC_TILE_ROWS, steps);
            x += plane;
            if (d == 0) continue;
            MLXC_EACH(v, vectors) {
                const float *some = scales + v * apart;
                __m512 scale = _mm512_loadu_ps(some), bias = _mm512_loadu_ps(some + 16);
                if (d + 1 < digits) scale = _mm512_mul_ps(scale, base);
                MLXC_EACH(i, rows) {
                    float *to = out + 16 * (v * MLXC_TILE_ROWS + i);
                    __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(a[v * rows + i]), scale);
                    sum = _mm512_fmadd_ps(sum, _mm512_set1_ps(own[i]), _mm512_loadu_ps(to));
                    if (d + 1 == digits)
                        sum = _mm512_fmadd_ps(bias, _mm512_set1_ps(own[MLXC_TILE_ROWS + i]), sum);
                    _mm512_storeu_ps(to, sum);
                }
            }
        }
    }
    /* Adds chunks of 4 * steps codes of `vectors` times 16 rows of w by those of 8 rows of x to as
       many rows of 16 sums. A chunk of x: its digits, the rows' scales, the rows' sums. 16 scales
       and 16 biases of w serve 2**shift chunks, those of the next vector lie `apart`; w_own is what
       mlxc_code_pairs found. */
    __attribute__((target("avx512vnni"), always_inline))
    static inline void mlxc_add_chunks(const uint8_t *w, const int8_t *x, const float *scales,
                                       Py_ssize_t apart, const int32_t *w_own, Py_ssize_t chunks,
                                       int steps, int shift, int digits, int room, int vectors,
                                       float *out) {
        const int rows = vectors > 1 ? MLXC_TILE_ROWS / 2 : MLXC_TILE_ROWS;
        for (Py_ssize_t c = 0; c < chunks; c++, w += 64 * steps, w_own += 16) {
            const float *own = (const float *)(x + digits * 4 * MLXC_TILE_ROWS * (steps + 1));
            for (int i = 0; i < MLXC_TILE_ROWS; i += rows)
                mlxc_add_chunk(w, x + 4 * i, own + i, scales + 32 * (c >> shift), apart, w_own,
                               steps, digits, room, vectors, rows, out + 16 * i);
            x = (const int8_t *)(own + 2 * MLXC_TILE_ROWS);
        }
    }
    /* With constants, so that sums stay in registers. */
    __attribute__((target("avx512vnni"), always_inline))
    static inline void mlxc_add_digits(const uint8_t *w, const int8_t *x, const float *scales,
                                       Py_ssize_t apart, const int32_t *w_own, Py_ssize_t chunks,
                                       int steps, int shift, int digits, int room, int vectors,
                                       float *out) {
        if (digits == 3)
            mlxc_add_chunks(w, x, scales, apart, w_own, chunks, steps, shift, 3, room, vectors,
                            out);
        else
            mlxc_add_chunks(w, x, scales, apart, w_own, chunks, steps, shift, 2, room, vectors,
                            out);
    }
    __attribute__((target("avx512vnni")))
    static void mlxc_digit_tile(const uint8_t *w, const int8_t *x, const float *scales,
                                Py_ssize_t apart, const int32_t *w_own, Py_ssize_t chunks,
                                int steps, int shift, int digits, int room, int vectors,
                                float *out) {
        if (room == 4 && vectors == 3)
            mlxc_add_digits(w, x, scales, apart, w_own, chunks, steps, shift, digits, 4, 3, out);
        else if (room < 32 && vectors == 3)
            mlxc_add_digits(w, x, scales, apart, w_own, chunks, steps, shift, digits, room & 15, 3,
                            out);
        else
            for (int v = 0; v < vectors; v++, w += MLXC_TILE_BYTES, scales += apart,
                     w_own += 16 * MLXC_TILE_CHUNKS, out += 16 * MLXC_TILE_ROWS) {
                if (room == 32)
                    mlxc_add_digits(w, x, scales, apart, w_own, chunks, steps, shift, digits, 32,
                                    1, out);
                else
                    mlxc_add_digits(w, x, scales, apart, w_own, chunks, steps, shift, digits,
                                    room & 15, 1, out);
            }
    }
    #else
    static void mlxc_expand(const uint8_t *w, Py_ssize_t n, int bits, int floats,
                            uint8_t *out) {}
    static void mlxc_chunk_digits(const float *x, int n, float scale, int digits, int room,
                                  int nibbles, int8_t *out) {}
    static void mlxc_code_pairs(const uint8_t *w, Py_ssize_t chunks, int steps, int room,
                                int32_t *out) {}
    static void mlxc_digit_tile(const uint8_t *w, const int8_t *x, const float *scales,
                                Py_ssize_t apart, const int32_t *w_own, Py_ssize_t chunks,
                                int steps, int shift, int digits, int room, int vectors,
                                float *out) {}
    #endif
    #endif
    """
    ctypedef uint8_t Bytes "mlxc_bytes"
    Bytes bytes_of "MLXC_BYTES"(Vector x) noexcept nogil
    int __builtin_ctzll(unsigned long long) noexcept nogil
    void expand "mlxc_expand"(
        const uint8_t* w, Py_ssize_t n, int bits, int floats, uint8_t* out
    ) noexcept nogil
    void chunk_digits "mlxc_chunk_digits"(
        const f32* x, int n, f32 scale, int digits, int room, int nibbles, int8_t* out
    ) noexcept nogil
    void code_pairs "mlxc_code_pairs"(
        const uint8_t* w, Py_ssize_t chunks, int steps, int room, i32* out
    ) noexcept nogil
    void digit_tile "mlxc_digit_tile"(
        const uint8_t* w, const int8_t* x, const f32* scales, Py_ssize_t apart, const i32* w_own,
        Py_ssize_t chunks, int steps, int shift, int digits, int room, int vectors, f32* out
    ) noexcept nogil

cdef inline bint takes_digits(const PackedProduct* g) noexcept nogil:
    """Whether rows of x are multiplied by bytes, if they can be written as digits. Few rows are if
    their codes would be unpacked one by one otherwise."""
    cdef bint affine = g.packing.mode == AFFINE
    if not g.by_rows or not has_digits() or (not affine and g.packing.bits == 8):
        return False
    return g.m > FEW or not affine or (g.packing.bits != 4 and g.packing.bits != 8)


cdef inline bint by_nibbles(const Packing* p) noexcept nogil:
    """Whether codes come from their words at once, the even ones first."""
    return p.mode == AFFINE and p.bits == 4


cdef inline int room_of(const Packing* p) noexcept nogil:
    """Codes are below 2**room; 32 where they fill their bytes."""
    return 32 if p.bits == 8 else 5 if p.mode != AFFINE else max(p.bits, 4)


cdef inline f32 largest(const PackedProduct* g) noexcept nogil:
    """What the largest number of a chunk becomes, so that its highest digit fits."""
    cdef int room = room_of(&g.packing)
    cdef f32 code = <f32>(1 << room if room < 32 else 0), base = <f32>256.0 - code
    cdef f32 most = <f32>(127.0 if room == 32 else 128.0) - code
    return most * base * (base if digits_of(g.form) == 3 else <f32>1.0)


cdef inline void digit_panel(PackedProduct* g, Py_ssize_t item, Py_ssize_t panel) noexcept nogil:
    """TILE_ROWS rows of x in digits, chunk after chunk."""
    cdef Py_ssize_t count = min(<Py_ssize_t>TILE_ROWS, g.m - panel * TILE_ROWS)
    cdef int n = chunk_of(&g.packing), digits = digits_of(g.form)
    cdef char* out = g.prepared + item * g.prepared_item + panel * (g.k // n) * chunk_bytes(g)
    cdef const char* x = g.x + (item * g.m + panel * TILE_ROWS) * g.k * g.itemsize
    cdef f32[CHUNK] numbers
    cdef f32* own
    cdef f32 scale
    cdef Py_ssize_t c, r, i
    cdef Vector total
    cdef f32 top = largest(g)
    if count < TILE_ROWS:
        memset(out, 0, g.k // n * chunk_bytes(g))
    for c in range(g.k // n):
        own = <f32*>(out + chunk_bytes(g)) - 2 * TILE_ROWS
        for r in range(count):
            widen_row(numbers, x + (r * g.k + c * n) * g.itemsize, g.itemsize, n, g.form)
            scale = digit_scale(numbers, n, top)
            if scale == <f32>0.0:
                g.undone = True
                return
            chunk_digits(numbers, n, scale, digits, room_of(&g.packing), by_nibbles(&g.packing),
                         <int8_t*>out + 4 * r)
            total = ZERO
            for i in range(n // LANES):
                total = total + at(numbers + i * LANES)
            own[r] = scale
            own[TILE_ROWS + r] = total_of(total)
        out += chunk_bytes(g)


cdef inline void turn_words(
    const char* w, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t count, Vector* turned_words
) noexcept nogil:
    """Words of 32 bits, `count` of LANES at most of each row: place j of all rows in vector j."""
    cdef f32[LANES * LANES] some
    cdef Py_ssize_t i
    if rows < LANES or count < LANES:
        memset(some, 0, sizeof(some))
        for i in range(rows):
            memcpy(some + i * LANES, w + i * step, 4 * count)
        w, step = <const char*>some, 4 * LANES
    for i in range(LANES):
        turned_words[i] = at(<const f32*>(w + i * step))
    turned(turned_words)


cdef inline void turn_codes(
    const PackedProduct* g, const uint8_t* w, Py_ssize_t rows, Py_ssize_t n, uint8_t* plain,
    uint8_t* out
) noexcept nogil:
    """n codes of LANES rows, of which `rows` are there, as bytes, four of a row in a lane."""
    cdef const Packing* p = &g.packing
    cdef Py_ssize_t step = g.row_bytes, words = n // (8 if by_nibbles(p) else 4), i, j, count
    cdef Vector[LANES] some
    if p.bits != 8 and not by_nibbles(p):
        for i in range(rows):
            expand(w + i * step, n, p.bits, p.mode != AFFINE, plain + i * TILE_DEPTH)
        w, step = plain, TILE_DEPTH
    for i in range((words + LANES - 1) // LANES):
        count = min(<Py_ssize_t>LANES, words - i * LANES)
        turn_words(<const char*>w + 4 * i * LANES, step, rows, count, some)
        for j in range(count):
            if by_nibbles(p):
                (<Bytes*>out)[0] = bytes_of(some[j]) & <uint8_t>15
                (<Bytes*>(out + 4 * LANES))[0] = bytes_of(some[j]) >> 4
                out += 8 * LANES
            else:
                (<Bytes*>out)[0] = bytes_of(some[j])
                out += 4 * LANES


cdef inline void turn_scales(
    const PackedProduct* g, Py_ssize_t item, Py_ssize_t first, Py_ssize_t rows, f32* plain, f32* out
) noexcept nogil:
    """Of every group, LANES rows' scales and then their biases."""
    cdef f32* biases = plain + LANES * g.groups
    cdef Vector[LANES] some, others
    cdef Py_ssize_t i, j, count
    load_scales(g, item, first, 0, rows * g.groups, plain, biases)
    if g.packing.mode != AFFINE:
        for i in range(rows * g.groups):
            biases[i] = <f32>-6.0 * plain[i]
            plain[i] = <f32>0.5 * plain[i]
    for i in range((g.groups + LANES - 1) // LANES):
        first = i * LANES
        count = min(<Py_ssize_t>LANES, g.groups - first)
        turn_words(<const char*>(plain + first), 4 * g.groups, rows, count, some)
        turn_words(<const char*>(biases + first), 4 * g.groups, rows, count, others)
        for j in range(count):
            put(out + 2 * LANES * (first + j), some[j], False)
            put(out + 2 * LANES * (first + j) + LANES, others[j], False)


cdef inline void multiply_digits(PackedProduct* g, Py_ssize_t chunk, f32* scratch) noexcept nogil:
    """ROWS rows of w with BLOCK rows of x: sums of LANES rows of w by a panel of x together."""
    cdef const Packing* p = &g.packing
    cdef Py_ssize_t item, unit, x_item, w_item, rows, first_row, m0, m1, first, n, i, r, v, panels
    cdef Py_ssize_t size = chunk_of(p), panel_bytes, vectors
    cdef int shift = __builtin_ctzll(p.group // chunk_of(p))
    cdef f32* scales = scratch
    cdef f32* sums = scales + ROWS * 2 * g.groups
    cdef f32* line = sums + ROWS * BLOCK
    cdef uint8_t* codes = <uint8_t*>(line + ROWS)
    cdef i32* owns = <i32*>(codes + ROWS * TILE_DEPTH)
    cdef uint8_t* plain = <uint8_t*>(owns + ROWS * TILE_CHUNKS)
    cdef const char* x
    split(g, chunk, &item, &unit, &x_item, &w_item)
    first_row = unit % ((g.n + ROWS - 1) // ROWS) * ROWS
    m0 = unit // ((g.n + ROWS - 1) // ROWS) * BLOCK
    m1 = min(m0 + BLOCK, g.m)
    rows = min(<Py_ssize_t>ROWS, g.n - first_row)
    panels = (m1 - m0 + TILE_ROWS - 1) // TILE_ROWS
    vectors = (rows + LANES - 1) // LANES
    panel_bytes = g.k // size * chunk_bytes(g)
    for v in range(vectors):
        turn_scales(g, w_item, first_row + v * LANES, min(<Py_ssize_t>LANES, rows - v * LANES),
                    <f32*>plain, scales + v * LANES * 2 * g.groups)
    memset(sums, 0, panels * TILE_ROWS * ROWS * sizeof(f32))
    first = 0
    while first < g.k:
        n = min(<Py_ssize_t>TILE_DEPTH, g.k - first)
        for v in range(vectors):
            turn_codes(g, codes_of(g, w_item, first_row + v * LANES) + first * p.bits // 8,
                       min(<Py_ssize_t>LANES, rows - v * LANES), n, plain,
                       codes + v * LANES * TILE_DEPTH)
            code_pairs(codes + v * LANES * TILE_DEPTH, n // size, <int>size // 4, room_of(p),
                       owns + v * LANES * TILE_CHUNKS)
        x = (g.prepared + x_item * g.prepared_item + m0 // TILE_ROWS * panel_bytes
             + first // size * chunk_bytes(g))
        for i in range(panels):
            digit_tile(
                codes, <const int8_t*>x + i * panel_bytes, scales + 2 * LANES * (first // p.group),
                2 * LANES * g.groups, owns, n // size, <int>size // 4, shift, digits_of(g.form),
                room_of(p), <int>vectors, sums + i * ROWS * TILE_ROWS
            )
        first += n
    for r in range(m1 - m0):
        for v in range(vectors):
            i = (r // TILE_ROWS * ROWS + v * LANES) * TILE_ROWS + r % TILE_ROWS * LANES
            put(line + v * LANES, at(sums + i), False)
        narrow_row(g.out + ((item * g.m + m0 + r) * g.n + first_row) * g.itemsize, line, rows,
                   g.form)
