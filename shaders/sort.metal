/* Sorting, extrema and binary search by unsigned keys in the order of the values.
 *
 * Rules:
 *   - numbers of up to 32 bits have uint keys, the others ulong; NaN has the largest key, -0 that
 * of 0 where RANK says so; what carries places is stable;
 *   - a threadgroup sorts a block of its line: eight values a thread, merged along the merge path
 *     (Green, McColl, Bader, "GPU merge path", 2012); blocks are merged pairwise in scratch memory;
 *   - lines are outer x n x inner values along n.
 */
#include "reduce.h"

constant int DTYPE [[function_constant(0)]];
constant bool RANK [[function_constant(1)]];   /* -0 equals 0 */
constant bool PLACES [[function_constant(2)]]; /* whether places travel with the keys */
constant int FINISH [[function_constant(3)]];  /* what is written, see below */
constant bool LEAST [[function_constant(4)]];  /* argmin */
constant int COUNT [[function_constant(5)]];   /* narrow values of a word, in searches of extrema */

#define TO_SCRATCH 0
#define TO_VALUES 1 /* from keys */
#define TO_PLACES 2
#define TO_FETCHED 3 /* the values that the places name */

#define EACH 8
#define THREADS 256
#define BLOCK (EACH * THREADS)
#define SMALL (EACH * 32)

/* As mlxc/_backends/metal/sort.py packs it ("<QQQII"). */
struct Lines {
    ulong n;
    ulong inner;
    ulong width; /* of the sorted runs; of a part, in searches of extrema */
    uint parts;
    uint itemsize;
};

/* ---- keys ---- */

inline uint float_key(float x) {
    if (x != x)
        return 0xFFFFFFFFu;
    uint b = as_type<uint>(x);
    b = RANK && x == 0.0f ? 0u : b;
    return (b & 0x80000000u) != 0 ? ~b : b | 0x80000000u;
}

inline float float_of(uint key) {
    if (key == 0xFFFFFFFFu)
        return NAN;
    return as_type<float>((key & 0x80000000u) != 0 ? key ^ 0x80000000u : ~key);
}

template <typename K> struct Key;

template <> struct Key<uint> {
    static uint of(const device uchar *x, ulong i) {
        if (DTYPE == int(DTYPE_UINT32))
            return ((const device uint *)x)[i];
        if (DTYPE == int(DTYPE_FLOAT16) || DTYPE == int(DTYPE_FLOAT32) ||
            DTYPE == int(DTYPE_BFLOAT16))
            return float_key(Element<float>::load(x, i, uint(DTYPE)));
        return uint(Element<int>::load(x, i, uint(DTYPE))) ^ 0x80000000u;
    }
    static void write(device uchar *out, ulong i, uint key) {
        if (DTYPE == int(DTYPE_UINT32))
            ((device uint *)out)[i] = key;
        else if (DTYPE == int(DTYPE_FLOAT16) || DTYPE == int(DTYPE_FLOAT32) ||
                 DTYPE == int(DTYPE_BFLOAT16))
            Element<float>::store(out, i, uint(DTYPE), float_of(key));
        else
            Element<int>::store(out, i, uint(DTYPE), int(key ^ 0x80000000u));
    }
};

template <> struct Key<ulong> {
    static ulong of(const device uchar *x, ulong i) {
        if (DTYPE == int(DTYPE_COMPLEX64)) {
            complex64 z = ((const device complex64 *)x)[i];
            ulong re = float_key(z.x), im = float_key(z.y);
            /* After all numbers: NaN in the imaginary part, in the real one, in both. */
            if (z.x != z.x)
                return z.y != z.y ? ~0UL : (0xFFFFFFFEUL << 32) | im;
            return z.y != z.y ? (0xFFFFFFFDUL << 32) | re : (re << 32) | im;
        }
        ulong b = ((const device ulong *)x)[i];
        return DTYPE == int(DTYPE_INT64) ? b ^ 0x8000000000000000UL : b;
    }
    static void write(device uchar *out, ulong i, ulong key) {
        ((device ulong *)out)[i] = DTYPE == int(DTYPE_INT64) ? key ^ 0x8000000000000000UL : key;
    }
};

/* Where value i of a line lies. */
inline ulong place(ulong line, ulong i, constant const Lines &p) {
    ulong outer = p.inner == 1 ? line : line / p.inner;
    return (outer * p.n + i) * p.inner + (line - outer * p.inner);
}

/* ---- merging ---- */

/* Of the first `count` values of the merged runs a and b, how many come from a. Of equal ones those
 * of a come first. */
template <typename K>
inline uint split_tile(const threadgroup K *a, uint na, const threadgroup K *b, uint nb,
                       uint count) {
    uint low = count > nb ? count - nb : 0, high = min(count, na);
    while (low < high) {
        uint middle = (low + high) / 2;
        if (b[count - 1 - middle] < a[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

template <typename K>
inline ulong split_line(const device K *a, ulong na, const device K *b, ulong nb, ulong count) {
    ulong low = count > nb ? count - nb : 0, high = min(count, na);
    while (low < high) {
        ulong middle = (low + high) / 2;
        if (b[count - 1 - middle] < a[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* EACH values of two runs of the tile, merged from ia and ib on; behind both ends the last value of
 * b's is repeated. */
template <typename K>
inline void merge_each(const threadgroup K *keys, const threadgroup uint *places, uint ia,
                       uint end_a, uint ib, uint end_b, thread K *k, thread uint *w) {
    for (uint j = 0; j < EACH; j++) {
        bool from_a = ia < end_a && (ib >= end_b || !(keys[ib] < keys[ia]));
        uint at = from_a ? ia : min(ib, end_b - 1);
        k[j] = keys[at];
        if (PLACES)
            w[j] = places[at];
        ia += from_a ? 1 : 0;
        ib += from_a ? 0 : 1;
    }
}

/* Each thread's values in order; equal ones stay as they are. */
template <typename K> inline void sort_each(thread K *k, thread uint *w) {
    for (uint pass = 0; pass < EACH; pass++)
        for (uint j = pass & 1; j + 1 < EACH; j += 2) {
            bool swap = k[j + 1] < k[j];
            K low = swap ? k[j + 1] : k[j], high = swap ? k[j] : k[j + 1];
            uint wl = swap ? w[j + 1] : w[j], wh = swap ? w[j] : w[j + 1];
            k[j] = low;
            k[j + 1] = high;
            w[j] = wl;
            w[j + 1] = wh;
        }
}

/* Threadgroups of 32 to 256 threads: every block of every line in order. SIZE is the most that a
 * block holds: small ones leave threadgroup memory to their neighbours. */
template <typename K, int SIZE>
[[kernel]] void
sort_blocks(const device uchar *x [[buffer(0)]], device uchar *out [[buffer(1)]],
            device K *keys [[buffer(2)]], device uint *places [[buffer(3)]],
            constant const Lines &p [[buffer(4)]], uint group [[threadgroup_position_in_grid]],
            uint t [[thread_index_in_threadgroup]], uint3 size [[threads_per_threadgroup]]) {
    threadgroup K tile[SIZE];
    threadgroup uint from[SIZE];
    uint count = size.x * EACH;
    ulong blocks = (p.n + count - 1) / count, line = group / blocks;
    ulong base = (group - line * blocks) * count;
    for (uint i = t; i < count; i += size.x) {
        ulong at = base + i;
        tile[i] = at < p.n ? Key<K>::of(x, place(line, at, p)) : ~K(0);
        if (PLACES)
            from[i] = uint(at);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    K k[EACH];
    uint w[EACH];
    for (uint j = 0; j < EACH; j++) {
        k[j] = tile[t * EACH + j];
        w[j] = PLACES ? from[t * EACH + j] : 0u;
    }
    sort_each<K>(k, w);
    for (uint width = EACH; width <= count; width *= 2) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint j = 0; j < EACH; j++) {
            tile[t * EACH + j] = k[j];
            if (PLACES)
                from[t * EACH + j] = w[j];
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (width < count) {
            uint pair = t * EACH / (2 * width) * (2 * width), done = t * EACH - pair;
            uint ia = split_tile<K>(tile + pair, width, tile + pair + width, width, done);
            merge_each<K>(tile, from, pair + ia, pair + width, pair + width + (done - ia),
                          pair + 2 * width, k, w);
        }
    }
    for (uint i = t; i < count; i += size.x) {
        ulong at = base + i;
        if (at >= p.n)
            continue;
        if (FINISH == TO_SCRATCH) {
            keys[line * p.n + at] = tile[i];
            if (PLACES)
                places[line * p.n + at] = from[i];
        } else if (FINISH == TO_VALUES)
            Key<K>::write(out, place(line, at, p), tile[i]);
        else
            ((device uint *)out)[place(line, at, p)] = from[i];
    }
}

/* A threadgroup a block of a line: runs of p.width merged to runs of twice that. */
template <typename K>
[[kernel]] void
sort_merge(const device K *keys [[buffer(0)]], const device uint *places [[buffer(1)]],
           device K *out_keys [[buffer(2)]], device uint *out_places [[buffer(3)]],
           constant const Lines &p [[buffer(4)]], uint group [[threadgroup_position_in_grid]],
           uint t [[thread_index_in_threadgroup]]) {
    threadgroup K tile[BLOCK];
    threadgroup uint from[BLOCK];
    threadgroup ulong cuts[2];
    ulong blocks = (p.n + BLOCK - 1) / BLOCK, which = group / blocks;
    ulong line = which * p.n, first = (group - which * blocks) * BLOCK;
    ulong pair = first / (2 * p.width) * (2 * p.width);
    ulong na = min(p.width, p.n - pair), nb = min(p.width, p.n - pair - na);
    ulong begin = first - pair, end = min(begin + BLOCK, na + nb);
    const device K *a = keys + line + pair;
    if (t < 2)
        cuts[t] = split_line<K>(a, na, a + na, nb, t == 0 ? begin : end);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    ulong a0 = cuts[0], b0 = begin - a0;
    uint ca = uint(cuts[1] - a0), count = uint(end - begin);
    for (uint i = t; i < count; i += THREADS) {
        ulong at = i < ca ? a0 + i : na + b0 + (i - ca);
        tile[i] = a[at];
        if (PLACES)
            from[i] = places[line + pair + at];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    K k[EACH];
    uint w[EACH];
    uint done = min(t * EACH, count);
    uint ia = split_tile<K>(tile, ca, tile + ca, count - ca, done);
    merge_each<K>(tile, from, ia, ca, ca + (done - ia), count, k, w);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint j = 0; j < EACH; j++)
        if (t * EACH + j < count) {
            tile[t * EACH + j] = k[j];
            if (PLACES)
                from[t * EACH + j] = w[j];
        }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = t; i < count; i += THREADS) {
        out_keys[line + first + i] = tile[i];
        if (PLACES)
            out_places[line + first + i] = from[i];
    }
}

/* The grid is (n, lines), the lines spread over y and z, p.parts of them: sorted keys or places as
 * what FINISH says. */
template <typename K>
[[kernel]] void sort_finish(const device uchar *x [[buffer(0)]], device uchar *out [[buffer(1)]],
                            const device K *keys [[buffer(2)]],
                            const device uint *places [[buffer(3)]],
                            constant const Lines &p [[buffer(4)]],
                            uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
    ulong line = ulong(at.z) * grid.y + at.y;
    if (line >= p.parts)
        return;
    ulong from = line * p.n + at.x, to = place(line, at.x, p);
    if (FINISH == TO_VALUES) {
        Key<K>::write(out, to, keys[from]);
        return;
    }
    uint where = places[from];
    if (FINISH == TO_PLACES) {
        ((device uint *)out)[to] = where;
        return;
    }
    ulong source = place(line, where, p);
    switch (p.itemsize) {
    case 1:
        out[to] = x[source];
        break;
    case 2:
        ((device ushort *)out)[to] = ((const device ushort *)x)[source];
        break;
    case 4:
        ((device uint *)out)[to] = ((const device uint *)x)[source];
        break;
    default:
        ((device ulong *)out)[to] = ((const device ulong *)x)[source];
    }
}

/* ---- the first of the largest or smallest values ---- */

/* The larger key is better, at equal keys the lesser place; NaN is best of all. */
template <typename K> inline K goodness(const device uchar *x, ulong i) {
    K key = Key<K>::of(x, i);
    bool nan = false;
    if (DTYPE == int(DTYPE_COMPLEX64)) {
        complex64 z = ((const device complex64 *)x)[i];
        nan = isnan_c64(z);
    } else if (DTYPE == int(DTYPE_FLOAT16) || DTYPE == int(DTYPE_FLOAT32) ||
               DTYPE == int(DTYPE_BFLOAT16))
        nan = key == ~K(0);
    return nan ? ~K(0) : LEAST ? ~key : key;
}

template <typename K>
inline void keep_better(thread K &key, thread uint &where, K other, uint there) {
    bool better = other > key || (other == key && there < where);
    key = better ? other : key;
    where = better ? there : where;
}

/* The best of a simdgroup, in every lane. */
template <typename K> inline void best_of_lanes(thread K &key, thread uint &where) {
    for (ushort mask = 16; mask > 0; mask >>= 1) {
        K other = shuffle_xor<K>(key, mask);
        uint there = shuffle_xor<uint>(where, mask);
        keep_better<K>(key, where, other, there);
    }
}

#define AHEAD 8 /* words that a thread reads before it compares */

inline bool is_float() {
    return DTYPE == int(DTYPE_FLOAT16) || DTYPE == int(DTYPE_FLOAT32) ||
           DTYPE == int(DTYPE_BFLOAT16);
}

/* Of values of at most 32 bits. */
inline uint bits_of_value() {
    bool byte = DTYPE == int(DTYPE_BOOL) || DTYPE == int(DTYPE_UINT8) || DTYPE == int(DTYPE_INT8);
    bool two = DTYPE == int(DTYPE_UINT16) || DTYPE == int(DTYPE_INT16) ||
               DTYPE == int(DTYPE_FLOAT16) || DTYPE == int(DTYPE_BFLOAT16);
    return byte ? 8 : two ? 16 : 32;
}

/* The first best of the values that a thread sees, whose places ascend. They are read in words,
 * which hold one each, or several neighbours (`count`) of narrow ones. */
template <typename K> struct Search {
    typedef K Word;
    K key;
    uint where;

    Search() : key(0), where(0xFFFFFFFFu) {}
    static bool full() { return false; }
    static K read(const device uchar *x, ulong i, bool) { return goodness<K>(x, i); }
    static bool holds(uint e) { return e == 0; }
    void see(K next, uint, uint at) { keep_better<K>(key, where, next, at); }
    void finish() {}
};

/* Floats are compared as they are, others by keys. */
template <> struct Search<uint> {
    typedef uint Word;
    uint key;
    uint where;
    float best;

    Search() : key(0), where(0xFFFFFFFFu), best(LEAST ? INFINITY : -INFINITY) {}
    static bool full() { return uint(COUNT) * bits_of_value() == 32; }
    static uint read(const device uchar *x, ulong i, bool whole) {
        uint bits = bits_of_value(), word = 0;
        if (bits == 32)
            return ((const device uint *)x)[i];
        if (whole)
            return *(const device uint *)(x + i * (bits / 8));
        for (uint e = 0; e < uint(COUNT); e++) {
            uint next = bits == 8 ? x[i + e] : ((const device ushort *)x)[i + e];
            word |= next << (e * bits);
        }
        return word;
    }
    static bool holds(uint e) { return e * bits_of_value() < 32 && e < uint(COUNT); }
    static float float_in(uint bits) {
        if (DTYPE == int(DTYPE_FLOAT16))
            return float(of_word<half>(bits));
        if (DTYPE == int(DTYPE_BFLOAT16))
            return float(of_word<bfloat>(bits));
        return as_type<float>(bits);
    }
    static uint key_in(uint bits) {
        uint found = bits ^ 0x80000000u;
        switch (uint(DTYPE)) {
        case DTYPE_BOOL:
        case DTYPE_UINT8:
            found = bits & 0xFFu;
            break;
        case DTYPE_INT8:
            found = uint(int(of_word<char>(bits))) ^ 0x80000000u;
            break;
        case DTYPE_UINT16:
            found = bits & 0xFFFFu;
            break;
        case DTYPE_INT16:
            found = uint(int(of_word<short>(bits))) ^ 0x80000000u;
            break;
        case DTYPE_UINT32:
            found = bits;
        }
        return LEAST ? ~found : found;
    }
    void see(uint word, uint e, uint at) {
        uint own = word >> (e * bits_of_value());
        bool better;
        if (is_float()) { /* NaN is neither less nor greater; the first one stays */
            float value = float_in(own);
            better = (LEAST ? !(value >= best) : !(value <= best)) & (best == best);
            best = better ? value : best;
        } else {
            uint next = key_in(own);
            better = next > key;
            key = better ? next : key;
        }
        where = better ? at : where;
    }
    void finish() {
        if (is_float() && where != 0xFFFFFFFFu) {
            uint found = float_key(best);
            key = best != best ? 0xFFFFFFFFu : LEAST ? ~found : found;
        }
    }
};

/* Values that nothing is better than are seen by nobody: the first of them stands for them all. */
template <typename K> inline void finish_search(thread Search<K> &found, uint first, uint end) {
    found.where = first < end && found.where == 0xFFFFFFFFu ? first : found.where;
    found.finish();
}

/* A threadgroup finds the best of a part of a line; parts are of whole words. */
template <typename K>
[[kernel]] void
extremum_lines(const device uchar *x [[buffer(0)]], device uint *out [[buffer(1)]],
               device K *keys [[buffer(2)]], device uint *places [[buffer(3)]],
               constant const Lines &p [[buffer(4)]], uint group [[threadgroup_position_in_grid]],
               uint t [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
               uint simdgroup [[simdgroup_index_in_threadgroup]],
               uint simdgroups [[simdgroups_per_threadgroup]]) {
    threadgroup K best_keys[32];
    threadgroup uint best_places[32];
    uint line = group / p.parts, begin = (group - line * p.parts) * uint(p.width);
    uint end = uint(min(begin + p.width, p.n)), count = uint(COUNT);
    uint first = begin + t * count, step = 32 * simdgroups * count, i = first;
    bool whole = misplaced(x, 4) == 0 && Search<K>::full();
    ulong base = line * p.n;
    Search<K> found;
    for (; i < end && end - i > (AHEAD - 1) * step; i += AHEAD * step) {
        typename Search<K>::Word words[AHEAD];
#pragma unroll
        for (uint a = 0; a < AHEAD; a++)
            words[a] = Search<K>::read(x, base + i + a * step, whole);
#pragma unroll
        for (uint a = 0; a < AHEAD; a++)
#pragma unroll
            for (uint e = 0; e < 4; e++)
                if (Search<K>::holds(e))
                    found.see(words[a], e, i + a * step + e);
    }
    for (; i < end; i += step) {
        typename Search<K>::Word word = Search<K>::read(x, base + i, whole);
        for (uint e = 0; e < 4; e++)
            if (Search<K>::holds(e))
                found.see(word, e, i + e);
    }
    finish_search<K>(found, first, end);
    best_of_lanes<K>(found.key, found.where);
    if (lane == 0) {
        best_keys[simdgroup] = found.key;
        best_places[simdgroup] = found.where;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simdgroup > 0)
        return;
    K key = 0;
    uint where = 0xFFFFFFFFu;
    if (lane < simdgroups) {
        key = best_keys[lane];
        where = best_places[lane];
    }
    best_of_lanes<K>(key, where);
    if (lane == 0) {
        if (FINISH == TO_PLACES)
            out[line] = where;
        else {
            keys[group] = key;
            places[group] = where;
        }
    }
}

/* The grid is (columns / COUNT, parts): a thread searches a part of as many columns. */
template <typename K>
[[kernel]] void
extremum_columns(const device uchar *x [[buffer(0)]], device uint *out [[buffer(1)]],
                 device K *keys [[buffer(2)]], device uint *places [[buffer(3)]],
                 constant const Lines &p [[buffer(4)]], uint2 at [[thread_position_in_grid]]) {
    uint begin = at.y * uint(p.width), end = uint(min(begin + p.width, p.n));
    uint count = uint(COUNT);
    bool whole = misplaced(x, 4) == 0 && Search<K>::full();
    ulong column = ulong(at.x) * count, base = place(column, 0, p), inner = p.inner;
    Search<K> found[4];
    uint i = begin;
    for (; i < end && end - i >= AHEAD; i += AHEAD) {
        typename Search<K>::Word words[AHEAD];
        ulong from = base + i * inner;
#pragma unroll
        for (uint a = 0; a < AHEAD; a++)
            words[a] = Search<K>::read(x, from + a * inner, whole);
#pragma unroll
        for (uint a = 0; a < AHEAD; a++)
#pragma unroll
            for (uint e = 0; e < 4; e++)
                if (Search<K>::holds(e))
                    found[e].see(words[a], e, i + a);
    }
    for (; i < end; i++) {
        typename Search<K>::Word word = Search<K>::read(x, base + i * inner, whole);
        for (uint e = 0; e < 4; e++)
            if (Search<K>::holds(e))
                found[e].see(word, e, i);
    }
#pragma unroll
    for (uint e = 0; e < 4; e++) {
        if (!Search<K>::holds(e))
            continue;
        finish_search<K>(found[e], begin, end);
        if (FINISH == TO_PLACES)
            out[column + e] = found[e].where;
        else {
            keys[(column + e) * p.parts + at.y] = found[e].key;
            places[(column + e) * p.parts + at.y] = found[e].where;
        }
    }
}

/* One simdgroup a line: the best of its parts. */
template <typename K>
[[kernel]] void extremum_parts(device uint *out [[buffer(0)]], const device K *keys [[buffer(1)]],
                               const device uint *places [[buffer(2)]],
                               constant const Lines &p [[buffer(3)]],
                               uint line [[threadgroup_position_in_grid]],
                               uint lane [[thread_index_in_simdgroup]]) {
    K key = 0;
    uint where = 0xFFFFFFFFu;
    for (uint i = lane; i < p.parts; i += 32 * AHEAD) {
        K next[AHEAD];
        uint there[AHEAD];
#pragma unroll
        for (uint a = 0; a < AHEAD; a++) {
            ulong at = ulong(line) * p.parts + i + 32 * a;
            bool inside = i + 32 * a < p.parts;
            next[a] = inside ? keys[at] : K(0);
            there[a] = inside ? places[at] : 0xFFFFFFFFu;
        }
#pragma unroll
        for (uint a = 0; a < AHEAD; a++)
            keep_better<K>(key, where, next[a], there[a]);
    }
    best_of_lanes<K>(key, where);
    if (lane == 0)
        out[line] = where;
}

/* ---- places in a sorted sequence ---- */

/* A thread a value; the sequence has p.n values, p.width says whether equal ones come before. */
template <typename K>
[[kernel]] void search_sorted(const device uchar *sequence [[buffer(0)]],
                              const device uchar *values [[buffer(1)]],
                              device uint *out [[buffer(2)]], constant const Lines &p [[buffer(3)]],
                              uint i [[thread_position_in_grid]]) {
    K key = Key<K>::of(values, i);
    ulong low = 0, high = p.n;
    while (low < high) {
        ulong middle = (low + high) / 2;
        K here = Key<K>::of(sequence, middle);
        bool before = here < key || (p.width != 0 && here == key);
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    out[i] = uint(low);
}

#define SORTS(name, K)                                                                             \
    template [[host_name(                                                                          \
        "sort_blocks_" name)]] [[kernel]] decltype(sort_blocks<K, BLOCK>) sort_blocks<K, BLOCK>;   \
    template [[host_name(                                                                          \
        "sort_small_" name)]] [[kernel]] decltype(sort_blocks<K, SMALL>) sort_blocks<K, SMALL>;    \
    template [[host_name("sort_merge_" name)]] [[kernel]] decltype(sort_merge<K>) sort_merge<K>;   \
    template                                                                                       \
        [[host_name("sort_finish_" name)]] [[kernel]] decltype(sort_finish<K>) sort_finish<K>;     \
    template [[host_name(                                                                          \
        "extremum_lines_" name)]] [[kernel]] decltype(extremum_lines<K>) extremum_lines<K>;        \
    template [[host_name(                                                                          \
        "extremum_columns_" name)]] [[kernel]] decltype(extremum_columns<K>) extremum_columns<K>;  \
    template [[host_name(                                                                          \
        "extremum_parts_" name)]] [[kernel]] decltype(extremum_parts<K>) extremum_parts<K>;        \
    template [[host_name(                                                                          \
        "search_sorted_" name)]] [[kernel]] decltype(search_sorted<K>) search_sorted<K>;
SORTS("u32", uint)
SORTS("u64", ulong)
