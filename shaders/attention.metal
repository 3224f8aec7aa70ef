// Scaled dot-product attention without the matrix of scores (Dao et al. 2022, "FlashAttention";
// Milakov and Gimelshein 2018, "Online normalizer calculation for softmax").
//
// Rules: scores and sums are float32; masked scores are the least float, not -infinity, so that a
// query that sees nothing averages all values, as on the processor; a sink is a score whose value
// is 0. Strides are in elements. Loops over head sizes have a fixed length and ask a function
// constant inside, so that they unroll and their arrays stay in registers.
#include "tiles.h"

constant int MASKING [[function_constant(0)]]; // one of the following
constant bool CAUSAL [[function_constant(1)]]; // query t sees keys up to t + keys - queries
constant bool SINKS [[function_constant(2)]];
constant int SIZE_PARTS [[function_constant(3)]];  // eighths of the queries' size, upwards
constant int WIDTH_PARTS [[function_constant(4)]]; // of the values'
constant bool PARTS [[function_constant(5)]];      // the keys are split, and results joined later
constant bool CLOSE [[function_constant(6)]];      // numbers of a head are neighbours in memory
constant constexpr int BOOLEAN = 1;
constant constexpr int ADDITIVE = 2;
constant constexpr float LEAST = -3.4028234663852886e38f;

// As `mlxc/_backends/metal/attention.py` packs it.
struct Attention {
    long q[4], k[4], v[4], mask[4], sinks[2]; // strides
    uint heads, group;                        // of queries; those that share keys
    uint queries, keys, size, width;
    uint units;        // batch x heads x queries
    uint parts, depth; // of the keys: how many, how long
    float scale;
};

// Where one head of one example starts.
struct Head {
    long q, k, v, mask, sink;
};

inline Head find_head(constant Attention &p, uint number) {
    long example = number / p.heads, head = number % p.heads, shared = head / p.group;
    Head at = {example * p.q[0] + head * p.q[1], example * p.k[0] + shared * p.k[1],
               example * p.v[0] + shared * p.v[1], 0, 0};
    if (MASKING != 0)
        at.mask = example * p.mask[0] + head * p.mask[1];
    if (SINKS)
        at.sink = example * p.sinks[0] + head * p.sinks[1];
    return at;
}

// How many keys a query sees if attention is causal; 0 or less: none, so that it averages all.
inline long causal_limit(constant Attention &p, uint query) {
    return long(query) + long(p.keys) - long(p.queries) + 1;
}

inline float masked(constant Attention &p, device const uchar *mask, long start, uint query,
                    uint key, float score) {
    if (MASKING != 0) {
        long place = start + query * p.mask[2] + key * p.mask[3];
        if (MASKING == BOOLEAN)
            score = mask[place] != 0 ? score : LEAST;
        if (MASKING == ADDITIVE)
            score += ((device const float *)mask)[place];
    }
    if (CAUSAL && long(key) >= causal_limit(p, query))
        score = LEAST;
    return score;
}

// The mean that weights of `total` give; 0 where there are no keys at all.
inline float mean(constant Attention &p, float value, float total) {
    return p.keys == 0 ? 0.0f : value / total;
}

// ---- many queries: tiles of 32, eight for each of four simdgroups ----

// Brings rows of keys or values to threadgroup memory; what is beyond them is 0.
template <typename T, int KEYS, int SIZE>
inline void load_rows(threadgroup T *tile, device const T *from, long row_stride,
                      long column_stride, uint rows, uint columns, uint index) {
    constexpr uint STEP = tile_step<T, SIZE>(), COUNT = run_length<T>();
    for (uint i = index * COUNT; i < KEYS * SIZE; i += TILE_THREADS * COUNT) {
        uint r = i / SIZE, c = i % SIZE;
        uint there = r < rows && c < columns ? columns - c : 0;
        device const T *place = from + r * row_stride + c * column_stride;
        store_run<T, COUNT>(tile + r * STEP + c,
                            load_run<T, COUNT>(place, column_stride, CLOSE, there));
    }
}

// The running softmax of the row that a lane shares with the three others of its row.
struct Running {
    float top, total;
};

inline float row_maximum(float x) {
    float other = simd_shuffle_xor(x, 1);
    x = other > x ? other : x;
    other = simd_shuffle_xor(x, 8);
    return other > x ? other : x;
}

inline float row_sum(float x) {
    x += simd_shuffle_xor(x, 1);
    return x + simd_shuffle_xor(x, 8);
}

// Scores to exponentials, in place; what older results fade by.
template <int COUNT> inline float soften(thread Sums<1, COUNT> &scores, thread Running &row) {
    float top = row.top;
#pragma unroll
    for (int j = 0; j < COUNT; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float score = scores.part[0][j].thread_elements()[e];
            top = score > top ? score : top;
        }
    top = row_maximum(top);
    // -infinity less -infinity would be NaN where nothing has been seen yet.
    float shift = top > -INFINITY ? top : 0.0f, fade = exp(row.top - shift), sum = 0.0f;
#pragma unroll
    for (int j = 0; j < COUNT; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float weight = exp(scores.part[0][j].thread_elements()[e] - shift);
            scores.part[0][j].thread_elements()[e] = weight;
            sum += weight;
        }
    row.top = top;
    row.total = row.total * fade + row_sum(sum);
    return fade;
}

// A lane's part of eight queries, scaled.
template <typename T, int COUNT>
inline void load_queries(thread Sums<1, COUNT> &asked, constant Attention &p, device const T *q,
                         uint query, uint column) {
#pragma unroll
    for (uint d = 0; d < COUNT; d++)
#pragma unroll
        for (uint e = 0; e < 2; e++) {
            uint place = 8 * d + column + e;
            bool inside = query < p.queries && place < p.size;
            asked.part[0][d].thread_elements()[e] =
                inside ? float(q[query * p.q[2] + place * p.q[3]]) * p.scale : 0.0f;
        }
}

// Scores of eight queries and a tile of keys.
template <typename T, int KEYS, int SIZE>
inline void find_scores(thread Sums<1, KEYS / 8> &scores, thread const Sums<1, SIZE / 8> &asked,
                        threadgroup const T *tile, uint lane) {
    constexpr uint STEP = tile_step<T, SIZE>();
    scores.clear();
#pragma unroll
    for (uint d = 0; d < SIZE / 8; d++)
        if (d < uint(SIZE_PARTS))
#pragma unroll
            for (uint j = 0; j < KEYS / 8; j++) {
                simdgroup_float8x8 known =
                    load_fragment<T>(tile + 8 * j * STEP + 8 * d, uint2(1, STEP), lane);
                simdgroup_multiply_accumulate(scores.part[0][j], asked.part[0][d], known,
                                              scores.part[0][j]);
            }
}

// The tile's first key is `key`.
template <int KEYS>
inline void mask_scores(thread Sums<1, KEYS / 8> &scores, constant Attention &p,
                        device const uchar *mask, long start, uint query, uint key, uint column) {
#pragma unroll
    for (uint j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (uint e = 0; e < 2; e++) {
            uint own = key + 8 * j + column + e;
            float score = scores.part[0][j].thread_elements()[e];
            if (own >= p.keys)
                score = -INFINITY;
            else if (query < p.queries)
                score = masked(p, mask, start, query, own, score);
            scores.part[0][j].thread_elements()[e] = score;
        }
}

// values = fade values + weights (a tile of values).
template <typename T, int KEYS, int SIZE>
inline void add_values(thread Sums<1, SIZE / 8> &values, thread const Sums<1, KEYS / 8> &weights,
                       float fade, threadgroup const T *tile, uint lane) {
    constexpr uint STEP = tile_step<T, SIZE>();
#pragma unroll
    for (uint d = 0; d < SIZE / 8; d++)
        if (d < uint(WIDTH_PARTS)) {
#pragma unroll
            for (uint e = 0; e < 2; e++)
                values.part[0][d].thread_elements()[e] *= fade;
#pragma unroll
            for (uint j = 0; j < KEYS / 8; j++) {
                simdgroup_float8x8 known =
                    load_fragment<T>(tile + 8 * j * STEP + 8 * d, uint2(STEP, 1), lane);
                simdgroup_multiply_accumulate(values.part[0][d], weights.part[0][j], known,
                                              values.part[0][d]);
            }
        }
}

// Threadgroups: (tiles of queries, batch x heads). SIZE is the largest size of q and width of v.
template <typename T, int SIZE>
[[kernel, max_total_threads_per_threadgroup(128)]] void
attention_tiles(device const T *q [[buffer(0)]], device const T *k [[buffer(1)]],
                device const T *v [[buffer(2)]], device const uchar *mask [[buffer(3)]],
                device const float *sinks [[buffer(4)]], device T *out [[buffer(5)]],
                constant Attention &p [[buffer(6)]], uint3 group [[threadgroup_position_in_grid]],
                uint index [[thread_index_in_threadgroup]],
                uint band [[simdgroup_index_in_threadgroup]],
                uint lane [[thread_index_in_simdgroup]]) {
    constexpr int KEYS = SIZE * sizeof(T) > 512 ? 16 : 32;
    threadgroup T tile[KEYS * tile_step<T, SIZE>()];
    uint number = group.y + group.z * 32768;
    if (number * p.queries >= p.units)
        return;
    Head at = find_head(p, number);
    uint first = group.x * 32, query = first + band * 8 + fragment_row(lane);
    uint column = fragment_column(lane);
    Sums<1, SIZE / 8> asked, values;
    load_queries<T, SIZE / 8>(asked, p, q + at.q, query, column);
    values.clear();
    Running row = {SINKS ? sinks[at.sink] : -INFINITY, SINKS ? 1.0f : 0.0f};
    uint stop = p.keys;
    if (CAUSAL && causal_limit(p, first) > 0)
        stop = uint(min(long(p.keys), causal_limit(p, min(first + 32, p.queries) - 1)));
    for (uint key = 0; key < stop; key += KEYS) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        load_rows<T, KEYS, SIZE>(tile, k + at.k + key * p.k[2], p.k[2], p.k[3], p.keys - key,
                                 p.size, index);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        Sums<1, KEYS / 8> scores;
        find_scores<T, KEYS, SIZE>(scores, asked, tile, lane);
        mask_scores<KEYS>(scores, p, mask, at.mask, query, key, column);
        float fade = soften<KEYS / 8>(scores, row);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        load_rows<T, KEYS, SIZE>(tile, v + at.v + key * p.v[2], p.v[2], p.v[3], p.keys - key,
                                 p.width, index);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        add_values<T, KEYS, SIZE>(values, scores, fade, tile, lane);
    }
    if (query >= p.queries)
        return;
    ulong to = (ulong(number) * p.queries + query) * p.width;
#pragma unroll
    for (uint d = 0; d < SIZE / 8; d++)
#pragma unroll
        for (uint e = 0; e < 2; e++) {
            uint place = 8 * d + column + e;
            if (place < p.width)
                out[to + place] = T(mean(p, values.part[0][d].thread_elements()[e], row.total));
        }
}

// ---- few queries: a threadgroup for each, simdgroups along the keys, lanes along the head ----

// What a simdgroup has seen: the running softmax, and a lane's part of the values.
template <int EACH> struct Seen {
    float top, total;
    float values[EACH];

    void add(float score, thread const float *value) {
        float next = score > top ? score : top;
        float shift = next > -INFINITY ? next : 0.0f;
        float fade = exp(top - shift), weight = exp(score - shift);
        top = next;
        total = total * fade + weight;
#pragma unroll
        for (uint i = 0; i < EACH; i++)
            values[i] = values[i] * fade + weight * value[i];
    }
};

// One query over the keys from `from` to `stop`, every SLICES-th of them. `first` of the head's
// numbers is the lane's.
template <typename T, int EACH, int SLICES>
inline void see_keys(thread Seen<EACH> &seen, constant Attention &p, thread const Head &at,
                     device const T *q, device const T *k, device const T *v,
                     device const uchar *mask, uint query, uint first, uint from, uint stop) {
    uint size = p.size > first ? p.size - first : 0, width = p.width > first ? p.width - first : 0;
    Run<T, EACH> asked =
        load_run<T, EACH>(q + at.q + query * p.q[2] + first * p.q[3], p.q[3], false, size);
    for (uint key = from; key < stop; key += SLICES) {
        device const T *key_place = k + at.k + key * p.k[2] + first * p.k[3];
        device const T *value_place = v + at.v + key * p.v[2] + first * p.v[3];
        Run<T, EACH> known = load_run<T, EACH>(key_place, p.k[3], CLOSE, size);
        Run<T, EACH> value = load_run<T, EACH>(value_place, p.v[3], CLOSE, width);
        float score = 0.0f, wide[EACH];
#pragma unroll
        for (uint i = 0; i < EACH; i++) {
            score += float(asked.at[i]) * p.scale * float(known.at[i]);
            wide[i] = float(value.at[i]);
        }
        seen.add(masked(p, mask, at.mask, query, key, simd_sum(score)), wide);
    }
}

// EACH: numbers of a head that a lane keeps. Threadgroups: (parts of the keys, units).
template <typename T, int EACH>
[[kernel, max_total_threads_per_threadgroup(256)]] void attention_vector(
    device const T *q [[buffer(0)]], device const T *k [[buffer(1)]],
    device const T *v [[buffer(2)]], device const uchar *mask [[buffer(3)]],
    device const float *sinks [[buffer(4)]], device T *out [[buffer(5)]],
    constant Attention &p [[buffer(6)]], device float *joined [[buffer(7)]],
    uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
    uint slice [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
    constexpr int SLICES = EACH > 8 ? 4 : 8, PLACES = EACH * 32;
    threadgroup float shared[SLICES * PLACES];
    threadgroup float tops[SLICES];
    threadgroup float totals[SLICES];
    uint unit = group.y + group.z * 32768, part = group.x;
    if (unit >= p.units)
        return;
    uint query = unit % p.queries;
    Head at = find_head(p, unit / p.queries);
    Seen<EACH> seen = {-INFINITY, 0.0f, {}};
    if (SINKS && slice == 0 && part == 0) {
        seen.top = sinks[at.sink];
        seen.total = 1.0f;
    }
    uint stop = min(p.keys, (part + 1) * p.depth);
    if (CAUSAL && causal_limit(p, query) > 0)
        stop = uint(min(long(stop), causal_limit(p, query)));
    see_keys<T, EACH, SLICES>(seen, p, at, q, k, v, mask, query, lane * EACH,
                              part * p.depth + slice, stop);
#pragma unroll
    for (uint i = 0; i < EACH; i++)
        shared[slice * PLACES + lane * EACH + i] = seen.values[i];
    if (lane == 0) {
        tops[slice] = seen.top;
        totals[slice] = seen.total;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float peak = -INFINITY, sum = 0.0f;
    for (uint i = 0; i < SLICES; i++)
        peak = tops[i] > peak ? tops[i] : peak;
    float shift = peak > -INFINITY ? peak : 0.0f;
    for (uint i = 0; i < SLICES; i++)
        sum += totals[i] * exp(tops[i] - shift);
    joined += (ulong(unit) * p.parts + part) * (p.width + 2);
    for (uint d = index; d < p.width; d += SLICES * 32) {
        float value = 0.0f;
        for (uint i = 0; i < SLICES; i++)
            value += shared[i * PLACES + d] * exp(tops[i] - shift);
        if (PARTS)
            joined[2 + d] = value;
        else
            out[ulong(unit) * p.width + d] = T(mean(p, value, sum));
    }
    if (PARTS && index == 0) {
        joined[0] = peak;
        joined[1] = sum;
    }
}

// Joins the parts of the keys; a thread a number of the result: (width, units).
template <typename T>
[[kernel]] void attention_join(device const float *joined [[buffer(0)]],
                               device T *out [[buffer(1)]], constant Attention &p [[buffer(2)]],
                               uint2 at [[thread_position_in_grid]]) {
    ulong row = ulong(at.y) * p.parts, step = p.width + 2;
    float peak = -INFINITY, sum = 0.0f, value = 0.0f;
    for (uint i = 0; i < p.parts; i++) {
        float top = joined[(row + i) * step];
        peak = top > peak ? top : peak;
    }
    float shift = peak > -INFINITY ? peak : 0.0f;
    for (uint i = 0; i < p.parts; i++) {
        float weight = exp(joined[(row + i) * step] - shift);
        sum += weight * joined[(row + i) * step + 1];
        value += weight * joined[(row + i) * step + 2 + at.x];
    }
    out[ulong(at.y) * p.width + at.x] = T(value / sum);
}

#define ATTENTION_KERNEL(kernel_name, number, name, T)                                             \
    template [[host_name(                                                                          \
        #kernel_name #number                                                                       \
        "_" name)]] [[kernel]] decltype(kernel_name<T, number>) kernel_name<T, number>;
#define ATTENTION_KERNELS(name, T)                                                                 \
    ATTENTION_KERNEL(attention_tiles, 64, name, T)                                                 \
    ATTENTION_KERNEL(attention_tiles, 128, name, T)                                                \
    ATTENTION_KERNEL(attention_tiles, 256, name, T)                                                \
    ATTENTION_KERNEL(attention_vector, 2, name, T)                                                 \
    ATTENTION_KERNEL(attention_vector, 4, name, T)                                                 \
    ATTENTION_KERNEL(attention_vector, 8, name, T)                                                 \
    ATTENTION_KERNEL(attention_vector, 32, name, T)                                                \
    template [[host_name(                                                                          \
        "attention_join_" name)]] [[kernel]] decltype(attention_join<T>) attention_join<T>;

ATTENTION_KERNELS("float32", float)
ATTENTION_KERNELS("float16", half)
ATTENTION_KERNELS("bfloat16", bfloat)
