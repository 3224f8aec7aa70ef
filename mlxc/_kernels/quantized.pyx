"""Quantized matrices: packing, unpacking, and products that unpack tiles into the cache.

Codes of 4 and 8 bits are unpacked LANES words at a time, by a shift, a mask and a conversion. That
leaves a block of LANES words in the order (place in the word, word); operands are brought into the
same order instead of the codes, which costs nothing, as a product does not mind the order of its
inner axis. Few rows are multiplied in registers at the speed of memory: by digits (digits.pxd), or
codes stay where they stand in their words, as numbers 2**(bits * place) times as large, and x is
that much smaller. More rows are multiplied by digits, too (digit_tiles.pxd), or go through tiles of
ROWS x DEPTH numbers.
"""

from libc.stdint cimport int8_t, uint8_t, uint64_t
from libc.string cimport memcpy

from mlxc._kernels.digit_tiles cimport digit_panel, multiply_digits, takes_digits
from mlxc._kernels.digits cimport DIGIT_BLOCK, DIGITS, LARGEST, digit_scale, dot_digits, has_digits
from mlxc._kernels.mathematics cimport (
    INFINITY, abs_f32, bits_of_f32, f32_of_bits, rint_f32,
)
from mlxc._kernels.packing cimport (
    AFFINE, BLOCK, DEPTH, FEW, MX, PANEL, ROWS, PackedProduct, Packing, codes_of, few_step,
    load_scales, scale_row, split,
)
from mlxc._kernels.tile cimport (
    F32, LANES, ZERO, Vector, at, dot, narrow_row, put, tile_product, total_of, widen_row,
)
from mlxc._kernels.types cimport f32, i32, u32

cdef extern from *:
    """
    typedef uint32_t __attribute__((vector_size(4 * MLXC_LANES), aligned(4), may_alias)) mlxc_words;
    typedef int32_t __attribute__((vector_size(4 * MLXC_LANES))) mlxc_integers;
    #define MLXC_FIELD(w, shift, mask) \\
        __builtin_convertvector( \\
            (mlxc_integers)(((w) >> (uint32_t)(shift)) & (uint32_t)(mask)), mlxc_vector)
    /* The code at a place of the words, times 2 ** (bits * place); the last one as it is. */
    #define MLXC_LAST(place, bits) ((place) == 32 / (bits) - 1)
    #define MLXC_PLACED(w, place, bits) \\
        MLXC_FIELD(w, MLXC_LAST(place, bits) ? 32 - (bits) : 0, \\
            ((1u << (bits)) - 1) << (MLXC_LAST(place, bits) ? 0 : (place) * (bits)))
    /* Element i / each of v, in lane i. */
    #if MLXC_LANES == 16
    #define MLXC_TWO(x) \\
        __builtin_shufflevector(x, x, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
    #define MLXC_FOUR(x) \\
        __builtin_shufflevector(x, x, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
    #elif MLXC_LANES == 8
    #define MLXC_TWO(x) __builtin_shufflevector(x, x, 0, 0, 0, 0, 1, 1, 1, 1)
    #define MLXC_FOUR(x) __builtin_shufflevector(x, x, 0, 0, 1, 1, 2, 2, 3, 3)
    #else
    #define MLXC_TWO(x) __builtin_shufflevector(x, x, 0, 0, 1, 1)
    #define MLXC_FOUR(x) __builtin_shufflevector(x, x, 0, 1, 2, 3)
    #endif
    static inline mlxc_vector mlxc_spread(const float *v, int each) {
        mlxc_vector x = *(const mlxc_vector *)v;
        return 2 * each == MLXC_LANES ? MLXC_TWO(x) : MLXC_FOUR(x);
    }
    """
    ctypedef u32 Words "mlxc_words"
    Vector field "MLXC_FIELD"(Words w, int shift, int mask) noexcept nogil
    Vector placed "MLXC_PLACED"(Words w, int place, int bits) noexcept nogil
    void __builtin_prefetch(const void*) noexcept nogil
    int __builtin_ctzll(unsigned long long) noexcept nogil
    Vector spread "mlxc_spread"(const f32* v, int each) noexcept nogil

cdef enum:
    AHEAD = 2048   # bytes from the codes in hand to those that are fetched meanwhile
    SOON = 8       # rows from the scales in hand to those

# ---- 8-bit and 4-bit floats ----

cdef inline uint8_t e4m3_of(f32 x) noexcept nogil:
    """Nearest, half to even; what is too large becomes 448, NaN stays."""
    cdef u32 bits = <u32>bits_of_f32(x)
    cdef u32 sign = (bits >> 24) & 0x80
    cdef f32 size = abs_f32(x)
    cdef u32 code
    if x != x:
        return <uint8_t>(sign | 0x7F)
    size = <f32>448.0 if size > <f32>448.0 else size
    if size < <f32>0.015625:
        code = <u32>rint_f32(size * <f32>512.0)
    else:
        bits = <u32>bits_of_f32(size)
        code = ((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - (120 << 3)
    return <uint8_t>(sign | code)


cdef inline uint8_t e2m1_of(f32 x) noexcept nogil:
    """Nearest, half towards zero; NaN and what rounds to 0 become +0."""
    cdef f32 size = abs_f32(x)
    cdef int code = (
        (size > <f32>0.25) + (size > <f32>0.75) + (size > <f32>1.25) + (size > <f32>1.75)
        + (size > <f32>2.5) + (size > <f32>3.5) + (size > <f32>5.0)
    )
    return <uint8_t>(code | 8 if code > 0 and x < <f32>0.0 else code)


cdef inline int power_above(f32 x) noexcept nogil:
    """The least exponent whose power of two is at least x, from -127 to 127."""
    cdef i32 bits = bits_of_f32(x)
    cdef int exponent = (bits >> 23) - 127
    if x == <f32>0.0:
        return 0
    if exponent == -127:
        return -126 if bits > 0x400000 else -127
    if bits & 0x7FFFFF:
        exponent += 1
    return exponent if exponent < 127 else 127

# ---- packing ----

cdef void pack_codes(const uint8_t* codes, Py_ssize_t n, int bits, uint8_t* out) noexcept nogil:
    """n codes, a multiple of 8: eight codes fill `bits` bytes."""
    cdef Py_ssize_t i, j
    cdef uint64_t word
    for i in range(n // 8):
        word = 0
        for j in range(8):
            word |= <uint64_t>codes[8 * i + j] << (j * bits)
        for j in range(bits):
            out[i * bits + j] = <uint8_t>(word >> (8 * j))


cdef inline void affine_range(const f32* w, int n, f32 steps, f32* scale, f32* bias) noexcept nogil:
    """The step of larger magnitude at the end of larger magnitude, so that 0 is met exactly."""
    cdef f32 low = <f32>INFINITY, high = <f32>(-INFINITY), edge, count
    cdef bint negative
    cdef int i
    for i in range(n):
        low = w[i] if w[i] < low else low
        high = w[i] if w[i] > high else high
    scale[0] = (high - low) / steps
    scale[0] = scale[0] if scale[0] > <f32>1e-7 else <f32>1e-7
    if steps == <f32>1.0:
        bias[0] = low
        return
    negative = abs_f32(low) > abs_f32(high)
    scale[0] = scale[0] if negative else -scale[0]
    edge = low if negative else high
    count = rint_f32(edge / scale[0])
    bias[0] = <f32>0.0
    if count != <f32>0.0:
        scale[0] = edge / count
        bias[0] = edge


cdef void quantize_affine(
    const Packing* p, const f32* w, uint8_t* codes, f32* scale, f32* bias
) noexcept nogil:
    cdef f32 steps = <f32>((1 << p.bits) - 1), q
    cdef int i
    affine_range(w, p.group, steps, scale, bias)
    for i in range(p.group):
        q = rint_f32((w[i] - bias[0]) / scale[0])
        q = q if q > <f32>0.0 else <f32>0.0
        codes[i] = <uint8_t>(q if q < steps else steps)


cdef uint8_t quantize_float(const Packing* p, const f32* w, uint8_t* codes) noexcept nogil:
    """Codes of one group; its scale's byte."""
    cdef f32 top = <f32>0.0, size, scale
    cdef uint8_t code
    cdef int i
    for i in range(p.group):
        size = abs_f32(w[i])
        top = size if size > top else top
    top = top / <f32>(448.0 if p.bits == 8 else 6.0)
    if p.mode == MX:
        code = <uint8_t>(power_above(top) + 127)
    else:
        code = e4m3_of(top / p.factor)
    scale = p.scale_values[code]
    for i in range(p.group):
        size = w[i] / scale if scale > <f32>0.0 else <f32>0.0
        codes[i] = e4m3_of(size) if p.bits == 8 else e2m1_of(size)
    return code


cdef void quantize_row(
    const Packing* p, const f32* w, Py_ssize_t groups, uint8_t* out, char* scales, char* biases
) noexcept nogil:
    """One row of groups * group numbers."""
    cdef uint8_t[128] codes
    cdef f32 scale, bias
    cdef Py_ssize_t g
    for g in range(groups):
        if p.mode == AFFINE:
            quantize_affine(p, w + g * p.group, codes, &scale, &bias)
            narrow_row(scales + g * p.scale_size, &scale, 1, p.scale_form)
            narrow_row(biases + g * p.scale_size, &bias, 1, p.scale_form)
        else:
            (<uint8_t*>scales)[g] = quantize_float(p, w + g * p.group, codes)
        pack_codes(codes, p.group, p.bits, out + g * p.group * p.bits // 8)


cdef void to_fp8_row(const f32* a, uint8_t* out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = e4m3_of(a[i])

# ---- unpacking ----

cdef inline bint by_words(const Packing* p) noexcept nogil:
    return p.mode == AFFINE and (p.bits == 4 or p.bits == 8)


cdef inline Py_ssize_t block_codes(const Packing* p) noexcept nogil:
    """Codes in LANES words: what is unpacked out of order."""
    return LANES * 32 // p.bits


cdef inline Py_ssize_t in_order(const Packing* p, Py_ssize_t at_, Py_ssize_t n) noexcept nogil:
    """Which code of n stands at a place of the unpacked row."""
    cdef Py_ssize_t size, place
    if not by_words(p):
        return at_
    size = block_codes(p)
    if at_ >= n // size * size:
        return at_
    place = at_ % size
    return at_ - place + place % LANES * (32 // p.bits) + place // LANES


cdef inline Vector group_scales(
    const f32* scales, Py_ssize_t word, Py_ssize_t words_a_group
) noexcept nogil:
    """The scales of LANES words from number `word` on; the array may be read LANES beyond its
    end."""
    cdef int shift = __builtin_ctzll(words_a_group)   # groups are powers of two
    if words_a_group >= LANES:
        return ZERO + scales[word >> shift]
    return spread(scales + (word >> shift), <int>words_a_group)


cdef inline void decode_words(
    const uint8_t* w, const f32* scales, const f32* biases, Py_ssize_t first, Py_ssize_t blocks,
    int group,
    f32* out, int bits
) noexcept nogil:
    """`blocks` blocks of LANES words; `first` is the number in its row of the first word. bits is
    a constant."""
    cdef Py_ssize_t b, each = group * bits // 32
    cdef Words words
    cdef Vector s, t
    cdef int j
    for b in range(blocks):
        words = (<const Words*>(w + 4 * b * LANES))[0]
        s = group_scales(scales, first + b * LANES, each)
        t = group_scales(biases, first + b * LANES, each)
        for j in range(32 // bits):
            put(out + j * LANES, field(words, j * bits, (1 << bits) - 1) * s + t, False)
        out += LANES * (32 // bits)


cdef void decode_plain(
    const Packing* p, const uint8_t* w, const f32* scales, const f32* biases, Py_ssize_t first,
    Py_ssize_t n, f32* out
) noexcept nogil:
    """n codes, a multiple of 8, in order; `first` is the number in its row of the first."""
    cdef uint64_t word = 0
    cdef u32 mask = (1u << p.bits) - 1, code
    cdef f32 s, t
    cdef Py_ssize_t i, j, g
    for i in range(n // 8):
        memcpy(&word, w + i * p.bits, p.bits)
        g = (first + 8 * i) // p.group
        s = scales[g]
        if p.mode == AFFINE:
            t = biases[g]
            for j in range(8):
                out[8 * i + j] = <f32>(<i32>((word >> (j * p.bits)) & mask)) * s + t
        else:
            for j in range(8):
                code = (word >> (j * p.bits)) & mask
                out[8 * i + j] = p.values[code] * s


cdef void decode(
    const Packing* p, const uint8_t* row, const f32* scales, const f32* biases, Py_ssize_t first,
    Py_ssize_t n, f32* out
) noexcept nogil:
    """Codes first to first + n of a row; whole blocks out of order if `by_words`."""
    cdef const uint8_t* w = row + first * p.bits // 8
    cdef Py_ssize_t blocks = 0, done
    if by_words(p):
        blocks = n // block_codes(p)
        if p.bits == 4:
            decode_words(w, scales, biases, first // 8, blocks, p.group, out, 4)
        else:
            decode_words(w, scales, biases, first // 4, blocks, p.group, out, 8)
    done = blocks * block_codes(p)
    decode_plain(p, w + done * p.bits // 8, scales, biases, first + done, n - done, out + done)


cdef void dequantize_row(
    const Packing* p, const uint8_t* w, const char* scales, const char* biases, Py_ssize_t groups,
    char* out, int form
) noexcept nogil:
    """One row, written in its form."""
    cdef f32[128] block
    cdef f32 s, t = <f32>0.0
    cdef Py_ssize_t g
    cdef Py_ssize_t size = 4 if form == 0 else 2
    for g in range(groups):
        scale_row(p, scales + g * p.scale_size, 1, &s)
        if p.mode == AFFINE:
            scale_row(p, biases + g * p.scale_size, 1, &t)
        decode_plain(p, w + g * p.group * p.bits // 8, &s, &t, 0, p.group, block)
        narrow_row(out + g * p.group * size, block, p.group, form)

# ---- products ----

cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    return (n + 2 * LANES - 1) // (2 * LANES) * (2 * LANES)


cdef inline void place_block(const f32* x, int bits, f32* out) noexcept nogil:
    """x under the codes of a block, in the order of unpacking, as much smaller as `placed` makes
    codes larger. bits is a constant."""
    cdef Py_ssize_t i
    cdef int j
    cdef f32 factor
    for j in range(32 // bits):
        factor = f32_of_bits((127 - (j * bits if j < 32 // bits - 1 else 0)) << 23)
        for i in range(LANES):
            out[j * LANES + i] = x[i * (32 // bits) + j] * factor


cdef inline void write_digits(
    const f32* x, const f32* scales, int group, int8_t* out
) noexcept nogil:
    """A block's digits, in the order of dot_digits; exact sums of them are the rounded numbers."""
    cdef i32[DIGIT_BLOCK] whole   # even places, then odd ones
    cdef i32* first
    cdef f32 inverse
    cdef int i, j
    for i in range(DIGIT_BLOCK // group):
        inverse = <f32>1.0 / scales[i]
        first = whole + i * (group // 2)
        for j in range(group // 2):
            first[j] = <i32>rint_f32(x[i * group + 2 * j] * inverse)
            first[j + DIGIT_BLOCK // 2] = <i32>rint_f32(x[i * group + 2 * j + 1] * inverse)
    for i in range(DIGIT_BLOCK):
        out[i] = <int8_t>((whole[i] + 0x8080) >> 16)
        out[i + DIGIT_BLOCK] = <int8_t>((whole[i] + 0x80) >> 8)
        out[i + 2 * DIGIT_BLOCK] = <int8_t>whole[i]


cdef bint prepare_digits(
    const PackedProduct* g, const f32* row, f32* scales, int8_t* out
) noexcept nogil:
    """Whether a row's blocks could be written as digits."""
    cdef int group = g.packing.group
    cdef Py_ssize_t i, blocks = g.k // DIGIT_BLOCK
    if g.packing.mode != AFFINE or g.packing.bits != 4 or not has_digits():
        return False
    for i in range(blocks * DIGIT_BLOCK // group):
        scales[i] = digit_scale(row + i * group, group, <f32>LARGEST)
        if scales[i] == <f32>0.0:
            return False
    for i in range(blocks):
        write_digits(row + i * DIGIT_BLOCK, scales + i * DIGIT_BLOCK // group, group,
                     out + i * DIGITS * DIGIT_BLOCK)
    return True


cdef void prepare_few(PackedProduct* g, Py_ssize_t item) noexcept nogil:
    """Of each row: its blocks as dot_digits or dot_words want them, itself, its sums over groups,
    the scales of digits, and whether they are."""
    cdef f32* blocks
    cdef f32* row
    cdef f32* sums
    cdef f32* scales
    cdef Vector total
    cdef Py_ssize_t r, i, j, size = block_codes(&g.packing)
    cdef bint digits
    for r in range(g.m):
        blocks = <f32*>(g.prepared + item * g.prepared_item) + r * few_step(g)
        row = blocks + g.k
        sums = row + g.k
        scales = sums + g.groups
        widen_row(row, g.x + (item * g.m + r) * g.k * g.itemsize, g.itemsize, g.k, g.form)
        for i in range(g.groups):
            total = ZERO
            for j in range(g.packing.group // LANES):
                total = total + at(row + i * g.packing.group + j * LANES)
            sums[i] = total_of(total)
        digits = prepare_digits(g, row, scales, <int8_t*>blocks)
        scales[g.groups] = <f32>digits
        if digits or not by_words(&g.packing):
            continue
        for i in range(g.k // size):
            if g.packing.bits == 4:
                place_block(row + i * size, 4, blocks + i * size)
            else:
                place_block(row + i * size, 8, blocks + i * size)


cdef void prepare_panels(PackedProduct* g, Py_ssize_t item, Py_ssize_t panel) noexcept nogil:
    """PANEL rows of x, transposed to (k, PANEL), the inner axis in the order of unpacking in
    pieces of DEPTH."""
    cdef Py_ssize_t count = min(<Py_ssize_t>PANEL, g.m - panel * PANEL)
    cdef Py_ssize_t cols = padded(count)
    cdef f32* out = <f32*>(g.prepared + item * g.prepared_item) + panel * PANEL * g.k
    cdef const char* x = g.x + (item * g.m + panel * PANEL) * g.k * g.itemsize
    cdef Py_ssize_t first = 0, n, i, c, place
    while first < g.k:
        n = min(<Py_ssize_t>DEPTH, g.k - first)
        for i in range(n):
            place = first + in_order(&g.packing, i, n)
            widen_row(
                out + (first + i) * cols, x + place * g.itemsize, g.k * g.itemsize, count,
                g.form
            )
            for c in range(count, cols):
                out[(first + i) * cols + c] = <f32>0.0
        first += n


cdef void packed_prepare(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """x for the kernels: rows in unpacking order, panels, or plain float32."""
    cdef PackedProduct* g = <PackedProduct*>arg
    if g.by_digits:
        digit_panel(g, chunk // g.preparations, chunk % g.preparations)
    elif not g.by_rows:
        widen_row(
            <f32*>g.prepared + chunk * g.k, g.x + chunk * g.k * g.itemsize, g.itemsize, g.k,
            g.form
        )
    elif g.m <= FEW:
        prepare_few(g, chunk)
    else:
        prepare_panels(g, chunk // g.preparations, chunk % g.preparations)


cdef inline f32 dot_words(
    const uint8_t* w, const f32* scales, const f32* x, Py_ssize_t blocks, int group, int bits
) noexcept nogil:
    """Sum of scale * code * x over whole blocks; x is as place_block leaves it, bits a constant."""
    cdef Vector total = ZERO, part0, part1
    cdef Words words
    cdef Py_ssize_t b, each = group * bits // 32
    cdef int j
    for b in range(blocks):
        __builtin_prefetch(w + AHEAD)
        words = (<const Words*>w)[0]
        part0 = part1 = ZERO
        for j in range(0, 32 // bits, 2):
            part0 = part0 + placed(words, j, bits) * at(x + j * LANES)
            part1 = part1 + placed(words, j + 1, bits) * at(x + (j + 1) * LANES)
        total = total + (part0 + part1) * group_scales(scales, b * LANES, each)
        x += LANES * (32 // bits)
        w += 4 * LANES
    return total_of(total)


cdef inline void fetch(const char* p, Py_ssize_t nbytes) noexcept nogil:
    """Have memory brought into the cache meanwhile."""
    cdef Py_ssize_t i
    for i in range(0, nbytes, 64):
        __builtin_prefetch(p + i)


cdef inline void add_blocks(
    const PackedProduct* g, const uint8_t* w, const f32* scales, const f32* biases, Py_ssize_t rows,
    const f32* x, Py_ssize_t blocks, Py_ssize_t groups, f32* products, f32* sums
) noexcept nogil:
    """Add what whole blocks, which are so many groups, of up to four rows of w and a prepared row
    of x sum up to."""
    cdef const Packing* p = &g.packing
    cdef const f32* own = x + 2 * g.k + g.groups
    cdef f32[4] some
    cdef Py_ssize_t i, n
    cdef bint together = rows == 4
    if own[g.groups] != <f32>0.0:
        for n in range(rows):
            for i in range(g.groups):
                products[n * g.groups + i] = scales[n * g.groups + i] * own[i]
        for n in range(1 if together else rows):
            dot_digits(w + n * g.row_bytes, g.row_bytes if together else 0, products + n * g.groups,
                       g.groups if together else 0, <const int8_t*>x, blocks,
                       __builtin_ctzll(p.group // 8), some)
            for i in range(4 if together else 1):
                sums[n + i] = sums[n + i] + some[i]
    for n in range(rows):
        if own[g.groups] == <f32>0.0 and p.bits == 4:
            sums[n] = sums[n] + dot_words(w + n * g.row_bytes, scales + n * g.groups, x, blocks,
                                          p.group, 4)
        elif own[g.groups] == <f32>0.0:
            sums[n] = sums[n] + dot_words(w + n * g.row_bytes, scales + n * g.groups, x, blocks,
                                          p.group, 8)
        sums[n] = sums[n] + dot(biases + n * g.groups, x + 2 * g.k, groups)


cdef inline bint all_digits(const PackedProduct* g, Py_ssize_t x_item) noexcept nogil:
    """Whether all rows of an item became digits: then no scale is read beyond the last one."""
    cdef const f32* x = <const f32*>(g.prepared + x_item * g.prepared_item)
    cdef Py_ssize_t r
    for r in range(g.m):
        if x[r * few_step(g) + 2 * g.k + 2 * g.groups] == <f32>0.0:
            return False
    return True


cdef void multiply_few(PackedProduct* g, Py_ssize_t chunk, f32* scratch) noexcept nogil:
    """ROWS rows of w with all rows of x, four at a time."""
    cdef const Packing* p = &g.packing
    cdef Py_ssize_t item, unit, x_item, w_item, r, n, first, rows, last, size, line, blocks, groups
    cdef bint as_stored
    cdef f32* scales = scratch
    cdef f32* biases = scales + 4 * g.groups + LANES
    cdef f32* products = biases + 4 * g.groups + LANES
    cdef f32* plain = products + 4 * g.groups + LANES
    cdef f32[4] sums
    cdef const f32* x
    cdef const uint8_t* w
    split(g, chunk, &item, &unit, &x_item, &w_item)
    first = unit * ROWS
    last = min(first + ROWS, g.n)
    size = g.k // block_codes(p) * block_codes(p) if by_words(p) else 0
    line = g.groups * p.scale_size
    blocks, groups = size // block_codes(p), size // p.group
    as_stored = p.scale_form == F32 and all_digits(g, x_item)
    while first < last:
        rows = min(<Py_ssize_t>4, last - first)
        w = codes_of(g, w_item, first)
        if as_stored:
            scales = <f32*>(g.scales + (w_item * g.rows + first) * line)
            biases = <f32*>(g.biases + (w_item * g.rows + first) * line)
        else:
            load_scales(g, w_item, first, 0, rows * g.groups, scales, biases)
        if size:
            fetch(g.scales + (w_item * g.rows + first + SOON) * line, rows * line)
            fetch(g.biases + (w_item * g.rows + first + SOON) * line, rows * line)
        for n in range(rows if size < g.k else 0):
            decode_plain(p, w + n * g.row_bytes + size * p.bits // 8, scales + n * g.groups,
                         biases + n * g.groups, size, g.k - size, plain + n * g.k + size)
        for r in range(g.m):
            x = <const f32*>(g.prepared + x_item * g.prepared_item) + r * few_step(g)
            for n in range(4):
                sums[n] = <f32>0.0
            for n in range(rows if size < g.k else 0):
                sums[n] = dot(plain + n * g.k + size, x + g.k + size, g.k - size)
            if size:
                add_blocks(g, w, scales, biases, rows, x, blocks, groups, products, sums)
            narrow_row(g.out + ((item * g.m + r) * g.n + first) * g.itemsize, sums, rows, g.form)
        first += 4


cdef void multiply_many(PackedProduct* g, Py_ssize_t chunk, f32* scratch) noexcept nogil:
    """ROWS rows of w with BLOCK rows of x: sums stand transposed, rows of x in the lanes."""
    cdef Py_ssize_t item, unit, x_item, w_item, rows, first_row, m0, m1, panel, last, first, n, i
    cdef Py_ssize_t c, cols
    cdef Py_ssize_t scale_step = g.groups + LANES
    cdef f32* tile = scratch
    cdef f32* scales = tile + ROWS * DEPTH
    cdef f32* biases = scales + ROWS * scale_step
    cdef f32* sums = biases + ROWS * scale_step
    cdef f32* line = sums + ROWS * BLOCK
    cdef const f32* x
    split(g, chunk, &item, &unit, &x_item, &w_item)
    first_row = unit % ((g.n + ROWS - 1) // ROWS) * ROWS
    m0 = unit // ((g.n + ROWS - 1) // ROWS) * BLOCK
    m1 = min(m0 + BLOCK, g.m)
    rows = min(<Py_ssize_t>ROWS, g.n - first_row)
    for i in range(rows):
        load_scales(
            g, w_item, first_row + i, 0, g.groups, scales + i * scale_step,
            biases + i * scale_step
        )
    panel = m0 // PANEL
    last = (m1 + PANEL - 1) // PANEL
    first = 0
    while first < g.k:
        n = min(<Py_ssize_t>DEPTH, g.k - first)
        for i in range(rows):
            decode(&g.packing, codes_of(g, w_item, first_row + i), scales + i * scale_step,
                   biases + i * scale_step, first, n, tile + i * DEPTH)
        for c in range(panel, last):
            cols = padded(min(<Py_ssize_t>PANEL, g.m - c * PANEL))
            x = <const f32*>(g.prepared + x_item * g.prepared_item) + c * PANEL * g.k + first * cols
            tile_product(
                sums + (c - panel) * ROWS * PANEL, PANEL, tile, DEPTH, 1, x, cols, rows,
                cols, n, first > 0
            )
        first += n
    for c in range(m0, m1):
        for i in range(rows):
            line[i] = sums[(c - m0) // PANEL * ROWS * PANEL + i * PANEL + (c - m0) % PANEL]
        narrow_row(g.out + ((item * g.m + c) * g.n + first_row) * g.itemsize, line, rows, g.form)


cdef void multiply_columns(PackedProduct* g, Py_ssize_t chunk, f32* scratch) noexcept nogil:
    """BLOCK rows of x with DEPTH columns of w, whose rows are the inner axis."""
    cdef Py_ssize_t item, unit, x_item, w_item, m0, m1, col, cols, wide, first, n, i, j
    cdef Py_ssize_t columns = (g.n + DEPTH - 1) // DEPTH
    cdef f32* tile = scratch
    cdef f32* scales = tile + ROWS * DEPTH
    cdef f32* biases = scales + DEPTH
    cdef f32* sums = biases + DEPTH
    cdef f32* line = sums + BLOCK * DEPTH
    cdef const f32* x
    cdef const uint8_t* codes
    split(g, chunk, &item, &unit, &x_item, &w_item)
    m0 = unit // columns * BLOCK
    m1 = min(m0 + BLOCK, g.m)
    col = unit % columns * DEPTH
    cols = min(<Py_ssize_t>DEPTH, g.n - col)
    wide = padded(cols)
    x = <const f32*>g.prepared + (x_item * g.m + m0) * g.k
    first = 0
    while first < g.k:
        n = min(<Py_ssize_t>ROWS, g.k - first)
        for i in range(n):
            load_scales(
                g, w_item, first + i, col // g.packing.group, cols // g.packing.group,
                scales, biases
            )
            codes = codes_of(g, w_item, first + i) + col * g.packing.bits // 8
            decode(&g.packing, codes, scales, biases, 0, cols, tile + i * DEPTH)
            for j in range(cols, wide):
                tile[i * DEPTH + j] = <f32>0.0
        tile_product(sums, DEPTH, x + first, g.k, 1, tile, DEPTH, m1 - m0, wide, n, first > 0)
        first += n
    for i in range(m1 - m0):
        for j in range(cols):
            line[in_order(&g.packing, j, cols)] = sums[i * DEPTH + j]
        narrow_row(g.out + ((item * g.m + m0 + i) * g.n + col) * g.itemsize, line, cols, g.form)


cdef void packed_unit(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef PackedProduct* g = <PackedProduct*>arg
    cdef f32* scratch = <f32*>(g.scratch + worker * g.scratch_bytes)
    if g.by_digits:
        multiply_digits(g, chunk, scratch)
    elif not g.by_rows:
        multiply_columns(g, chunk, scratch)
    elif g.m <= FEW:
        multiply_few(g, chunk, scratch)
    else:
        multiply_many(g, chunk, scratch)


cdef bint packed_by_digits(const PackedProduct* g) noexcept nogil:
    """Whether x is prepared as digits, which some of its numbers may refuse."""
    return takes_digits(g)


def table():
    """Addresses of the kernels by name."""
    return {
        "quantize_row": <size_t>&quantize_row,
        "dequantize_row": <size_t>&dequantize_row,
        "to_fp8_row": <size_t>&to_fp8_row,
        "packed_by_digits": <size_t>&packed_by_digits,
        "packed_prepare": <size_t>&packed_prepare,
        "packed_unit": <size_t>&packed_unit,
    }
