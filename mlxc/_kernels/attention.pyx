"""Attention in tiles of keys, without the matrix of scores (Dao et al. 2022, "FlashAttention";
Milakov and Gimelshein 2018, "Online normalizer calculation for softmax").

A unit is up to UNIT query rows (of all query heads that share a head of keys). Scores stand
transposed, keys down and queries across, so that a vector register holds one key's scores of many
queries: the softmax needs no horizontal sums, and keys and values are read as they lie. Units of
    few rows (decoding) go row by row instead, at the speed of memory.
Masked scores are the least float, not -inf, so that a query that sees nothing averages all values.
"""

from mlxc._kernels.attend cimport BOOLEAN, KEYS, UNIT, UNMASKED, Attend
from mlxc._kernels.mathematics cimport INFINITY, exp_f32
from mlxc._kernels.tile cimport F32, LANES, dot, narrow_row, row_product, tile_product, widen_row
from mlxc._kernels.types cimport f32

cdef enum:
    SINGLE_KEYS = 64  # keys of a tile of row-by-row units

cdef struct Rows:
    # One unit.
    Py_ssize_t batch, kv_head
    Py_ssize_t first, count       # rows
    Py_ssize_t stop               # keys beyond are seen by no row


cdef inline f32 least() noexcept nogil:
    return <f32>-3.4028234663852886e38


cdef inline f32 minus_infinity() noexcept nogil:
    return <f32>(-INFINITY)


cdef inline Rows unit_rows(const Attend* g, Py_ssize_t chunk) noexcept nogil:
    cdef Rows u
    cdef Py_ssize_t total = g.group * g.queries
    cdef Py_ssize_t shift = g.keys - g.queries
    cdef Py_ssize_t r, limit
    u.batch = chunk // (g.kv_heads * g.units)
    u.kv_head = chunk // g.units % g.kv_heads
    u.first = chunk % g.units * UNIT
    u.count = min(<Py_ssize_t>UNIT, total - u.first)
    u.stop = g.keys
    if g.causal:
        u.stop = 0
        for r in range(u.first, u.first + u.count):
            limit = r % g.queries + shift + 1
            # A query before all keys averages all values.
            u.stop = max(u.stop, g.keys if limit <= 0 else limit)
    return u


cdef inline const char* row_at(const Attend* g, const Rows* u, Py_ssize_t r, const char* base,
                               const Py_ssize_t* strides) noexcept nogil:
    """Where row r of the unit starts in q or the mask."""
    cdef Py_ssize_t head = u.kv_head * g.group + (u.first + r) // g.queries
    return base + u.batch * strides[0] + head * strides[1] + (u.first + r) % g.queries * strides[2]


cdef inline f32 sink_of(const Attend* g, const Rows* u, Py_ssize_t r) noexcept nogil:
    cdef Py_ssize_t head = u.kv_head * g.group + (u.first + r) // g.queries
    return (<const f32*>(g.sinks + u.batch * g.sink_strides[0] + head * g.sink_strides[1]))[0]


cdef inline char* out_at(const Attend* g, const Rows* u, Py_ssize_t r) noexcept nogil:
    cdef Py_ssize_t row = (u.batch * g.kv_heads + u.kv_head) * g.group * g.queries + u.first + r
    return g.out + row * g.width * g.itemsize


cdef inline const f32* fetch(
    const Attend* g, const char* base, const Py_ssize_t* strides, Py_ssize_t n, const Rows* u,
    Py_ssize_t j,
    Py_ssize_t count, f32* space, Py_ssize_t* ld
) noexcept nogil:
    """Keys or values j to j + count as float32 rows: in place if they are, else widened into
    space."""
    cdef const char* p = base + u.batch * strides[0] + u.kv_head * strides[1] + j * strides[2]
    cdef Py_ssize_t i
    if g.form == F32 and strides[3] == 4 and strides[2] % 4 == 0:
        ld[0] = strides[2] // 4
        return <const f32*>p
    for i in range(count):
        widen_row(space + i * n, p + i * strides[2], strides[3], n, g.form)
    ld[0] = n
    return space


cdef inline void mask_scores(
    const Attend* g, const Rows* u, Py_ssize_t r, Py_ssize_t j, Py_ssize_t count, f32* s,
    Py_ssize_t step
) noexcept nogil:
    """Scores of row r against keys j to j + count, `step` elements apart."""
    cdef Py_ssize_t i, seen
    cdef Py_ssize_t stride = g.mask_strides[3]
    cdef const char* p
    if g.masking != UNMASKED:
        p = row_at(g, u, r, g.mask, g.mask_strides) + j * stride
        if g.masking == BOOLEAN:
            for i in range(count):
                s[i * step] = s[i * step] if p[i * stride] else least()
        else:
            for i in range(count):
                s[i * step] = s[i * step] + (<const f32*>(p + i * stride))[0]
    if g.causal:
        seen = (u.first + r) % g.queries + g.keys - g.queries + 1 - j
        for i in range(max(<Py_ssize_t>0, seen), count):
            s[i * step] = least()


# ---- many rows ----

cdef void soften_columns(
    f32* s, Py_ssize_t count, Py_ssize_t cols, f32* peak, f32* total, f32* fade
) noexcept nogil:
    """Scores (count, cols) to exponentials; the running maximum and sum; what older results fade
    by."""
    cdef f32[UNIT] top
    cdef f32[UNIT] shift
    cdef f32[UNIT] added
    cdef f32 e
    cdef f32* row
    cdef Py_ssize_t i, c
    for c in range(cols):
        top[c] = peak[c]
        added[c] = <f32>0.0
    for i in range(count):
        row = s + i * cols
        for c in range(cols):
            top[c] = row[c] if row[c] > top[c] else top[c]
    for c in range(cols):
        # -inf - -inf would be NaN where nothing has been seen yet.
        shift[c] = top[c] if top[c] > minus_infinity() else <f32>0.0
        fade[c] = exp_f32(peak[c] - shift[c])
        peak[c] = top[c]
    for i in range(count):
        row = s + i * cols
        for c in range(cols):
            e = exp_f32(row[c] - shift[c])
            row[c] = e
            added[c] = added[c] + e
    for c in range(cols):
        total[c] = total[c] * fade[c] + added[c]


cdef void load_queries(
    const Attend* g, const Rows* u, f32* qt, Py_ssize_t cols, f32* row
) noexcept nogil:
    """Scaled queries, transposed to (size, cols); columns beyond the rows are 0."""
    cdef Py_ssize_t r, d
    for r in range(cols):
        if r < u.count:
            widen_row(row, row_at(g, u, r, g.q, g.q_strides), g.q_strides[3], g.size, g.form)
        for d in range(g.size):
            qt[d * cols + r] = row[d] * g.scale if r < u.count else <f32>0.0


cdef void store_columns(
    const Attend* g, const Rows* u, const f32* o, Py_ssize_t cols, const f32* total, f32* row
) noexcept nogil:
    cdef Py_ssize_t r, d
    for r in range(u.count):
        for d in range(g.width):
            row[d] = o[d * cols + r] / total[r]
        narrow_row(out_at(g, u, r), row, g.width, g.form)


cdef void attend_many(const Attend* g, const Rows* u, f32* scratch) noexcept nogil:
    cdef f32[UNIT] peak
    cdef f32[UNIT] total
    cdef f32[UNIT] fade
    cdef Py_ssize_t cols = (u.count + 2 * LANES - 1) // (2 * LANES) * (2 * LANES)
    cdef f32* qt = scratch
    cdef f32* o = qt + g.size * UNIT
    cdef f32* s = o + g.width * UNIT
    cdef f32* keys = s + KEYS * UNIT
    cdef f32* values = keys + KEYS * g.size
    cdef const f32* k
    cdef const f32* v
    cdef Py_ssize_t j, count, c, d, ldk, ldv
    load_queries(g, u, qt, cols, s)
    for c in range(cols):
        peak[c] = minus_infinity()
        total[c] = <f32>0.0
        if g.sinks != NULL and c < u.count:
            peak[c] = sink_of(g, u, c)
            total[c] = <f32>1.0
    for c in range(g.width * cols):
        o[c] = <f32>0.0
    j = 0
    while j < u.stop:
        count = min(<Py_ssize_t>KEYS, u.stop - j)
        k = fetch(g, g.k, g.k_strides, g.size, u, j, count, keys, &ldk)
        v = fetch(g, g.v, g.v_strides, g.width, u, j, count, values, &ldv)
        tile_product(s, cols, k, ldk, 1, qt, cols, count, cols, g.size, False)
        if g.masking != UNMASKED or g.causal:
            for c in range(u.count):
                mask_scores(g, u, c, j, count, s + c, cols)
        soften_columns(s, count, cols, peak, total, fade)
        for d in range(g.width):
            for c in range(cols):
                o[d * cols + c] = o[d * cols + c] * fade[c]
        tile_product(o, cols, v, 1, ldv, s, cols, g.width, cols, count, True)
        j += count
    store_columns(g, u, o, cols, total, s)


# ---- few rows ----

cdef f32 soften_row(f32* s, Py_ssize_t n, f32* peak, f32* total) noexcept nogil:
    """Scores to exponentials, in place; n is a multiple of 16, padded with -inf. What older
    results fade by."""
    cdef f32[16] lanes
    cdef f32 top = peak[0], shift, fade, e, added = <f32>0.0
    cdef Py_ssize_t i, j
    for j in range(16):
        lanes[j] = top
    for i in range(0, n, 16):
        for j in range(16):
            lanes[j] = s[i + j] if s[i + j] > lanes[j] else lanes[j]
    for j in range(16):
        top = lanes[j] if lanes[j] > top else top
        lanes[j] = <f32>0.0
    shift = top if top > minus_infinity() else <f32>0.0
    fade = exp_f32(peak[0] - shift)
    for i in range(0, n, 16):
        for j in range(16):
            e = exp_f32(s[i + j] - shift)
            s[i + j] = e
            lanes[j] = lanes[j] + e
    for j in range(16):
        added = added + lanes[j]
    peak[0] = top
    total[0] = total[0] * fade + added
    return fade


cdef void attend_few(const Attend* g, const Rows* u, f32* scratch) noexcept nogil:
    cdef f32[UNIT] peak
    cdef f32[UNIT] total
    cdef f32* q = scratch
    cdef f32* o = q + g.size * UNIT
    cdef f32* s = o + g.width * UNIT
    cdef f32* keys = s + SINGLE_KEYS
    cdef f32* values = keys + SINGLE_KEYS * g.size
    cdef const f32* k
    cdef const f32* v
    cdef f32 fade
    cdef Py_ssize_t j, count, padded, r, i, ldk, ldv
    for r in range(u.count):
        widen_row(q + r * g.size, row_at(g, u, r, g.q, g.q_strides), g.q_strides[3], g.size, g.form)
        for i in range(g.size):
            q[r * g.size + i] = q[r * g.size + i] * g.scale
        for i in range(g.width):
            o[r * g.width + i] = <f32>0.0
        peak[r] = sink_of(g, u, r) if g.sinks != NULL else minus_infinity()
        total[r] = <f32>1.0 if g.sinks != NULL else <f32>0.0
    j = 0
    while j < u.stop:
        count = min(<Py_ssize_t>SINGLE_KEYS, u.stop - j)
        padded = (count + 15) // 16 * 16
        k = fetch(g, g.k, g.k_strides, g.size, u, j, count, keys, &ldk)
        v = fetch(g, g.v, g.v_strides, g.width, u, j, count, values, &ldv)
        for r in range(u.count):
            for i in range(count):
                s[i] = dot(q + r * g.size, k + i * ldk, g.size)
            for i in range(count, padded):
                s[i] = minus_infinity()
            mask_scores(g, u, r, j, count, s, 1)
            fade = soften_row(s, padded, peak + r, total + r)
            for i in range(g.width):
                o[r * g.width + i] = o[r * g.width + i] * fade
            row_product(o + r * g.width, s, v, ldv, g.width, count)
        j += count
    for r in range(u.count):
        for i in range(g.width):
            o[r * g.width + i] = o[r * g.width + i] / total[r]
        narrow_row(out_at(g, u, r), o + r * g.width, g.width, g.form)


cdef void attention_unit(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Attend* g = <Attend*>arg
    cdef Rows u = unit_rows(g, chunk)
    cdef f32* scratch = <f32*>(g.scratch + worker * g.scratch_bytes)
    if u.count > LANES // 2:
        attend_many(g, &u, scratch)
    else:
        attend_few(g, &u, scratch)


cdef Py_ssize_t attention_scratch(Py_ssize_t size, Py_ssize_t width) noexcept nogil:
    """Bytes of scratch a worker; row by row or not, queries and outputs come first."""
    cdef Py_ssize_t many = KEYS * UNIT + KEYS * (size + width)
    cdef Py_ssize_t few = SINGLE_KEYS + SINGLE_KEYS * (size + width)
    # The scores' space also holds one row of queries or outputs.
    cdef Py_ssize_t rest = max(max(many, few), max(size, width))
    return 4 * ((size + width) * UNIT + rest)


def table():
    """Addresses of the kernels by name."""
    return {
        "attention_unit": <size_t>&attention_unit,
        "attention_scratch": <size_t>&attention_scratch,
    }
