// Packed matrices: packing, unpacking, and products that unpack on the way.
//
// Rules: all arrays are row-major; a thread handles eight codes at a time, which lie in one group;
// sums are float32, and tiles of unpacked numbers are float32 too. Numbers of gathered items are
// clamped to the matrices that there are, after packed_check has reported those that are not.
#include "quantized.h"
#include "tiles.h"

constant bool GATHERED [[function_constant(5)]]; // items are chosen by `lhs` and `rhs`
constant bool BY_ROWS [[function_constant(6)]];  // the matrix is (n, k) and multiplied transposed

constant int VECTORS [[function_constant(7)]]; // rows of x, where they are few

// As `mlxc/_backends/metal/quantized.py` packs it.
struct Quantized {
    ulong x_item, w_item, scale_item; // elements, bytes, groups from item to item
    ulong row_bytes;                  // of codes
    uint m, n, k;
    uint groups; // a row
    uint items, x_count, w_count;
    uint tiles; // along m
};

// One item: its numbers, codes and groups.
struct Packed {
    ulong x, w, scales;
};

inline Packed find_packed(constant Quantized &p, device const uint *lhs, device const uint *rhs,
                          uint number) {
    ulong x = GATHERED ? min(lhs[number], p.x_count - 1) : number;
    ulong w = GATHERED ? min(rhs[number], p.w_count - 1) : number;
    Packed packed = {x * p.x_item, w * p.w_item, w * p.scale_item};
    return packed;
}

// Reports an index that names no item; a thread an item.
[[kernel]] void packed_check(device const uint *lhs [[buffer(0)]],
                             device const uint *rhs [[buffer(1)]],
                             constant Quantized &p [[buffer(2)]], constant uint &row [[buffer(3)]],
                             device atomic_uint *faults [[buffer(4)]],
                             uint number [[thread_position_in_grid]]) {
    if (lhs[number] >= p.x_count)
        report_fault(faults, row, 0, true, long(lhs[number]), p.x_count);
    if (rhs[number] >= p.w_count)
        report_fault(faults, row, 0, true, long(rhs[number]), p.w_count);
}

constant constexpr uint SPREAD = 32768; // threadgroups along y; more stand along z
constant constexpr uint FEW = 4;        // most rows of x in the kernels that follow
constant constexpr uint ROWS = 4;       // rows of codes that a simdgroup takes at once
constant constexpr uint AHEAD = 2; // packs of codes of each that a lane reads before it multiplies

// Few rows of x, the matrix by rows: a simdgroup for ROWS rows of codes, its lanes along them.
// Threadgroups of four simdgroups: (rows, items).
template <typename T>
[[kernel, max_total_threads_per_threadgroup(128)]] void
packed_along(device const T *x [[buffer(0)]], device const uchar *w [[buffer(1)]],
             device const uchar *scales [[buffer(2)]], device const uchar *biases [[buffer(3)]],
             device T *out [[buffer(4)]], constant Quantized &p [[buffer(5)]],
             device const uint *lhs [[buffer(6)]], device const uint *rhs [[buffer(7)]],
             uint3 group [[threadgroup_position_in_grid]],
             uint band [[simdgroup_index_in_threadgroup]],
             uint lane [[thread_index_in_simdgroup]]) {
    uint number = group.y + group.z * SPREAD, row = (group.x * 4 + band) * ROWS;
    if (number >= p.items || row >= p.n)
        return;
    Packed at = find_packed(p, lhs, rhs, number);
    float sums[ROWS][FEW] = {};
    for (uint first = lane * 8; first < p.k; first += 256 * AHEAD) {
        ulong codes[AHEAD][ROWS];
        float scale[AHEAD][ROWS], bias[AHEAD][ROWS];
#pragma unroll
        for (uint a = 0; a < AHEAD; a++)
#pragma unroll
            for (uint i = 0; i < ROWS; i++) {
                uint k = first + 256 * a < p.k ? first + 256 * a : first;
                ulong r = min(row + i, p.n - 1);
                ulong place = at.scales + r * p.groups + k / uint(GROUP);
                codes[a][i] = read_codes(w + at.w + r * p.row_bytes + ulong(k) * uint(BITS) / 8);
                scale[a][i] = read_scale(scales, place);
                bias[a][i] = MODE == AFFINE ? read_scale(biases, place) : 0.0f;
            }
#pragma unroll
        for (uint a = 0; a < AHEAD; a++) {
            uint k = first + 256 * a;
            if (k >= p.k)
                break;
            Run<T, 8> known[FEW];
#pragma unroll
            for (uint s = 0; s < FEW; s++)
                if (s < uint(VECTORS))
                    known[s] = load_run<T, 8>(x + at.x + ulong(s) * p.k + k, 1, true, 8);
#pragma unroll
            for (uint i = 0; i < ROWS; i++)
#pragma unroll
                for (uint j = 0; j < 8; j++) {
                    // Not scale * (sum of codes) + bias * (sum of x): infinities would cancel.
                    float value = scale[a][i] * plain_value(code_at(codes[a][i], j)) + bias[a][i];
#pragma unroll
                    for (uint s = 0; s < FEW; s++)
                        if (s < uint(VECTORS))
                            sums[i][s] += value * float(known[s].at[j]);
                }
        }
    }
#pragma unroll
    for (uint i = 0; i < ROWS; i++)
#pragma unroll
        for (uint s = 0; s < FEW; s++) {
            if (s >= uint(VECTORS))
                break;
            float sum = simd_sum(sums[i][s]);
            if (lane == 0 && row + i < p.n)
                out[(ulong(number) * p.m + s) * p.n + row + i] = T(sum);
        }
}

constant constexpr uint SLICES = 8; // simdgroups that share the inner axis

// Few rows of x, the inner axis down the rows of codes: a lane for eight columns.
// Threadgroups of SLICES simdgroups: (256 columns, items).
template <typename T>
[[kernel, max_total_threads_per_threadgroup(256)]] void
packed_across(device const T *x [[buffer(0)]], device const uchar *w [[buffer(1)]],
              device const uchar *scales [[buffer(2)]], device const uchar *biases [[buffer(3)]],
              device T *out [[buffer(4)]], constant Quantized &p [[buffer(5)]],
              device const uint *lhs [[buffer(6)]], device const uint *rhs [[buffer(7)]],
              uint3 group [[threadgroup_position_in_grid]],
              uint slice [[simdgroup_index_in_threadgroup]],
              uint lane [[thread_index_in_simdgroup]]) {
    threadgroup float shared[SLICES * 256];
    uint number = group.y + group.z * SPREAD, column = group.x * 256 + lane * 8;
    if (number >= p.items)
        return;
    Packed at = find_packed(p, lhs, rhs, number);
    float sums[FEW][8] = {};
    for (uint k = slice; k < p.k && column < p.n; k += SLICES) {
        ulong place = at.scales + ulong(k) * p.groups + column / uint(GROUP);
        ulong codes = read_codes(w + at.w + k * p.row_bytes + ulong(column) * uint(BITS) / 8);
        float scale = read_scale(scales, place);
        float bias = MODE == AFFINE ? read_scale(biases, place) : 0.0f;
#pragma unroll
        for (uint j = 0; j < 8; j++) {
            float value = scale * plain_value(code_at(codes, j)) + bias;
#pragma unroll
            for (uint s = 0; s < FEW; s++)
                if (s < uint(VECTORS))
                    sums[s][j] += value * float(x[at.x + ulong(s) * p.k + k]);
        }
    }
    uint index = slice * 32 + lane;
#pragma unroll
    for (uint s = 0; s < FEW; s++) {
        if (s >= uint(VECTORS))
            break;
        threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
        for (uint j = 0; j < 8; j++)
            shared[slice * 256 + j * 32 + lane] = sums[s][j];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        float sum = 0.0f;
        uint from = index % 8 * 32 + index / 8;
        for (uint i = 0; i < SLICES; i++)
            sum += shared[i * 256 + from];
        uint to = group.x * 256 + index;
        if (to < p.n)
            out[(ulong(number) * p.m + s) * p.n + to] = T(sum);
    }
}

constant constexpr uint HIGH = 32;  // rows of a tile of the result
constant constexpr uint WIDE = 64;  // its columns
constant constexpr uint DEPTH = 32; // of the inner axis

// Unpacks a tile of the matrix: (WIDE, DEPTH) if BY_ROWS, else (DEPTH, WIDE), rows `step` apart.
inline void unpack_tile(constant Quantized &p, device const uchar *w, device const uchar *scales,
                        device const uchar *biases, thread const Packed &at,
                        threadgroup float *tile, uint step, uint row, uint column, uint index) {
    uint packs = (BY_ROWS ? DEPTH : WIDE) / 8;
    uint rows = BY_ROWS ? p.n : p.k, columns = BY_ROWS ? p.k : p.n;
    for (uint i = index; i < WIDE * DEPTH / 8; i += TILE_THREADS) {
        uint r = row + i / packs, c = column + i % packs * 8;
        threadgroup float *place = tile + i / packs * step + i % packs * 8;
        if (r >= rows || c >= columns) {
#pragma unroll
            for (uint j = 0; j < 8; j++)
                place[j] = 0.0f;
            continue;
        }
        ulong which = at.scales + ulong(r) * p.groups + c / uint(GROUP);
        ulong codes = read_codes(w + at.w + r * p.row_bytes + ulong(c) * uint(BITS) / 8);
        float scale = read_scale(scales, which);
        float bias = MODE == AFFINE ? read_scale(biases, which) : 0.0f;
#pragma unroll
        for (uint j = 0; j < 8; j++)
            place[j] = scale * plain_value(code_at(codes, j)) + bias;
    }
}

// Threadgroups: (tiles along m, then along n; items).
template <typename T>
[[kernel, max_total_threads_per_threadgroup(128)]] void packed_tiles(
    device const T *x [[buffer(0)]], device const uchar *w [[buffer(1)]],
    device const uchar *scales [[buffer(2)]], device const uchar *biases [[buffer(3)]],
    device T *out [[buffer(4)]], constant Quantized &p [[buffer(5)]],
    device const uint *lhs [[buffer(6)]], device const uint *rhs [[buffer(7)]],
    uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
    uint band [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
    threadgroup T x_tile[tile_room<T, HIGH, DEPTH>()];
    threadgroup float w_tile[tile_room<float, DEPTH, WIDE>()];
    uint number = group.y + group.z * SPREAD;
    if (number >= p.items)
        return;
    uint row = group.x % p.tiles * HIGH, column = group.x / p.tiles * WIDE;
    Packed at = find_packed(p, lhs, rhs, number);
    TileLoader<T, HIGH, DEPTH> loader(x + at.x + ulong(row) * p.k, p.k, 1, false, index);
    Sums<2, 4> sums;
    sums.clear();
    uint below = band / 2 * 16, beside = band % 2 * 32;
    uint2 x_steps = tile_steps<T, HIGH, DEPTH>(false);
    uint2 w_steps = tile_steps<float, DEPTH, WIDE>(BY_ROWS);
    for (uint k = 0; k < p.k; k += DEPTH) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        loader.load(x_tile, p.m - row, p.k - k, true, false);
        unpack_tile(p, w, scales, biases, at, w_tile, BY_ROWS ? w_steps.y : w_steps.x,
                    BY_ROWS ? column : k, BY_ROWS ? k : column, index);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        multiply_tiles<T, float, 2, 4, DEPTH>(sums, x_tile + below * x_steps.x, x_steps,
                                              w_tile + beside * w_steps.y, w_steps, lane);
        loader.from += DEPTH;
    }
    row += below + fragment_row(lane);
    column += beside + fragment_column(lane);
#pragma unroll
    for (uint i = 0; i < 2; i++)
#pragma unroll
        for (uint j = 0; j < 8; j++) {
            uint r = row + 8 * i, c = column + 8 * (j / 2) + j % 2;
            if (r < p.m && c < p.n)
                out[(ulong(number) * p.m + r) * p.n + c] =
                    T(sums.part[i][j / 2].thread_elements()[j % 2]);
        }
}

// ---- packing and unpacking: a thread for eight numbers ----

// The step of larger magnitude at the end of larger magnitude, so that 0 is met exactly.
inline float2 affine_scale(float low, float high) {
    float steps = float((1 << BITS) - 1), scale = (high - low) / steps;
    scale = scale > 1e-7f ? scale : 1e-7f;
    if (BITS == 1)
        return float2(scale, low);
    bool negative = magnitude(low) > magnitude(high);
    scale = negative ? scale : -scale;
    float edge = negative ? low : high, count = rint(edge / scale);
    return count != 0.0f ? float2(edge / count, edge) : float2(scale, 0.0f);
}

inline ulong affine_codes(thread const float *numbers, float scale, float bias) {
    float steps = float((1 << BITS) - 1);
    ulong codes = 0;
#pragma unroll
    for (uint j = 0; j < 8; j++) {
        float q = rint((numbers[j] - bias) / scale);
        q = q > 0.0f ? q : 0.0f;
        codes |= ulong(uint(q < steps ? q : steps)) << (j * uint(BITS));
    }
    return codes;
}

inline ulong float_codes(thread const float *numbers, float scale) {
    ulong codes = 0;
#pragma unroll
    for (uint j = 0; j < 8; j++) {
        float q = scale > 0.0f ? numbers[j] / scale : 0.0f;
        codes |= ulong(BITS == 8 ? to_e4m3(q) : to_e2m1(q)) << (j * uint(BITS));
    }
    return codes;
}

// Threadgroups of 256; a group's GROUP / 8 threads stand in one simdgroup.
template <typename T>
[[kernel]] void quantize(device const T *numbers [[buffer(0)]], device uchar *codes [[buffer(1)]],
                         device uchar *scales [[buffer(2)]], device T *biases [[buffer(3)]],
                         device const float *factor [[buffer(4)]],
                         constant uint &packs [[buffer(5)]],
                         uint index [[thread_position_in_grid]]) {
    float own[8], low = INFINITY, high = -INFINITY, top = 0.0f;
    ulong place = min(index, packs - 1);
#pragma unroll
    for (uint j = 0; j < 8; j++) {
        own[j] = float(numbers[place * 8 + j]);
        low = own[j] < low ? own[j] : low;
        high = own[j] > high ? own[j] : high;
        top = magnitude(own[j]) > top ? magnitude(own[j]) : top;
    }
    for (uint width = 1; width < uint(GROUP) / 8; width *= 2) {
        float other_low = simd_shuffle_xor(low, width), other_high = simd_shuffle_xor(high, width);
        float other_top = simd_shuffle_xor(top, width);
        low = other_low < low ? other_low : low;
        high = other_high > high ? other_high : high;
        top = other_top > top ? other_top : top;
    }
    if (index >= packs)
        return;
    bool first = index % (uint(GROUP) / 8) == 0;
    ulong group = place * 8 / uint(GROUP);
    if (MODE == AFFINE) {
        float2 scale = affine_scale(low, high);
        write_codes(codes + place * uint(BITS), affine_codes(own, scale.x, scale.y));
        if (first)
            ((device T *)scales)[group] = T(scale.x);
        if (first)
            biases[group] = T(scale.y);
        return;
    }
    float global = global_factor(factor);
    top = top / (BITS == 8 ? 448.0f : 6.0f);
    uint code = MODE == MX ? to_e8m0(top) : to_e4m3(top / global);
    float scale = MODE == MX ? from_e8m0(code) : from_e4m3(code) * global;
    write_codes(codes + place * uint(BITS), float_codes(own, scale));
    if (first)
        scales[group] = uchar(code);
}

template <typename T>
[[kernel]] void
dequantize(device const uchar *codes [[buffer(0)]], device const uchar *scales [[buffer(1)]],
           device const uchar *biases [[buffer(2)]], device const float *factor [[buffer(3)]],
           device T *out [[buffer(4)]], uint index [[thread_position_in_grid]]) {
    ulong place = index, group = place * 8 / uint(GROUP);
    ulong own = read_codes(codes + place * uint(BITS));
    float scale = read_scale(scales, group) * global_factor(factor);
    float bias = MODE == AFFINE ? read_scale(biases, group) : 0.0f;
#pragma unroll
    for (uint j = 0; j < 8; j++)
        out[place * 8 + j] = T(scale * plain_value(code_at(own, j)) + bias);
}

template <typename T>
[[kernel]] void to_fp8(device const T *numbers [[buffer(0)]], device uchar *out [[buffer(1)]],
                       uint index [[thread_position_in_grid]]) {
    out[index] = uchar(to_e4m3(float(numbers[index])));
}

#define QUANTIZED_KERNEL(kernel_name, name, T)                                                     \
    template                                                                                       \
        [[host_name(#kernel_name "_" name)]] [[kernel]] decltype(kernel_name<T>) kernel_name<T>;
#define QUANTIZED_KERNELS(kernel_name)                                                             \
    QUANTIZED_KERNEL(kernel_name, "float32", float)                                                \
    QUANTIZED_KERNEL(kernel_name, "float16", half)                                                 \
    QUANTIZED_KERNEL(kernel_name, "bfloat16", bfloat)

QUANTIZED_KERNELS(packed_along)
QUANTIZED_KERNELS(packed_across)
QUANTIZED_KERNELS(packed_tiles)
QUANTIZED_KERNELS(quantize)
QUANTIZED_KERNELS(dequantize)
QUANTIZED_KERNELS(to_fp8)
