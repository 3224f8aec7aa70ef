// Matrix products: tiles of simdgroup matrices, products with few columns, products of integers and
// complex numbers, and the sum of parts of the inner axis.
//
// Rules: out (m x n) = alpha a (m x k) b (k x n) + beta c; every matrix has strides, in elements,
// so that transposed and broadcast operands are read as they lie; sums are float32, integers wrap.
// The items of a batch are found by strides, by index arrays (gather_mm), or are segments of the
// inner axis. Indices are clamped to what there is, so nothing is read out of bounds, after
// matmul_check has reported those that it should not be asked for.
#include "tiles.h"

constant bool ADDEND [[function_constant(0)]]; // there is a c
constant bool PARTS [[function_constant(1)]];  // sums of parts of the inner axis are kept apart
constant bool A_DOWN [[function_constant(2)]]; // a's rows lie closer than its columns
constant bool B_DOWN [[function_constant(3)]];
constant bool WHOLE [[function_constant(4)]];   // no tile sticks out
constant int ITEMS [[function_constant(5)]];    // how items are found: one of the following
constant int VECTORS [[function_constant(6)]];  // b's columns, where they are few
constant bool A_CLOSE [[function_constant(7)]]; // the axis that a kernel runs along has stride 1
constant bool B_CLOSE [[function_constant(8)]];
constant constexpr int STRIDED = 0;
constant constexpr int GATHERED = 1; // `left` and `right` hold the numbers of matrices
constant constexpr int SEGMENTS = 2; // `left` holds pairs: from and to along the inner axis

constant constexpr uint SPREAD = 32768; // threadgroups along y; more stand along z

// As `mlxc/_backends/metal/matmul.py` packs it: 64-bit numbers first.
struct Matmul {
    long a_row, a_column, b_row, b_column, c_row, c_column, out_row, out_column;
    long a_item, b_item; // between gathered matrices; a_item: from `from` to `to`
    long a_batch[6], b_batch[6], c_batch[6]; // of index arrays, if the items are gathered
    uint shape[6];                           // of the batch
    uint rank, items;
    uint m, n, k;
    uint tiles;            // along m
    uint parts, depth;     // of the inner axis: how many, how long
    uint a_count, b_count; // of matrices to choose from
    float alpha, beta;
};

// One item of a batch: where its matrices start, and its part of the inner axis.
struct Item {
    long a, b, c;
    uint from, to;
};

// By the strides of the batch: of the matrices, or of the index arrays that name them.
inline Item find_place(constant Matmul &p, uint number) {
    Item item = {0, 0, 0, 0, p.k};
    for (uint axis = p.rank; axis-- > 0;) {
        long place = number % p.shape[axis];
        number /= p.shape[axis];
        item.a += place * p.a_batch[axis];
        item.b += place * p.b_batch[axis];
        item.c += place * p.c_batch[axis];
    }
    return item;
}

inline Item find_item(constant Matmul &p, device const long *left, device const long *right,
                      uint number) {
    Item item = find_place(p, number);
    if (ITEMS == GATHERED) {
        item.a = clamp(left[item.a], 0l, long(p.a_count) - 1) * p.a_item;
        item.b = clamp(right[item.b], 0l, long(p.b_count) - 1) * p.b_item;
    } else if (ITEMS == SEGMENTS) {
        item.from = uint(clamp(left[item.a], 0l, long(p.k)));
        item.to = uint(clamp(left[item.a + p.a_item], 0l, long(p.k)));
        item.a = item.b = 0;
    }
    return item;
}

// Reports an index that names no matrix, or a segment beyond the inner axis; a thread an item.
[[kernel]] void matmul_check(device const long *left [[buffer(0)]],
                             device const long *right [[buffer(1)]],
                             constant Matmul &p [[buffer(2)]], constant uint &row [[buffer(3)]],
                             device atomic_uint *faults [[buffer(4)]],
                             uint number [[thread_position_in_grid]]) {
    Item item = find_place(p, number);
    if (ITEMS == SEGMENTS) {
        long from = left[item.a], to = left[item.a + p.a_item];
        if (from < to && (from < 0 || to > long(p.k)))
            report_fault(faults, row, 0, false, from < 0 ? from : to, p.k);
        return;
    }
    long a = left[item.a], b = right[item.b];
    if (a < 0 || a >= long(p.a_count))
        report_fault(faults, row, 0, false, a, p.a_count);
    if (b < 0 || b >= long(p.b_count))
        report_fault(faults, row, 0, false, b, p.b_count);
}

template <typename T>
inline void put(constant Matmul &p, device const T *c, device T *out, thread const Item &item,
                uint number, uint row, uint column, float sum) {
    float value = sum * p.alpha;
    if (ADDEND)
        value += p.beta * float(c[item.c + row * p.c_row + column * p.c_column]);
    long first = long(number) * p.m * p.n;
    out[first + row * p.out_row + column * p.out_column] = T(value);
}

// Where a kernel is in the grid's second and third axis: an item and a part of its inner axis.
struct Share {
    uint number, part;
};

inline Share find_share(constant Matmul &p, uint3 group) {
    uint both = group.y + group.z * SPREAD;
    Share share = {both / p.parts, both % p.parts};
    return share;
}

inline void narrow(constant Matmul &p, uint part, thread Item &item) {
    item.from += part * p.depth;
    item.to = min(item.to, item.from + p.depth);
}

// A sum over a part of the inner axis; it is the result if there is one part.
template <typename T>
inline void finish(constant Matmul &p, device const T *c, device T *out, device float *sums,
                   thread const Item &item, Share share, uint row, uint column, float sum) {
    if (PARTS)
        sums[((ulong(share.part) * p.items + share.number) * p.m + row) * p.n + column] = sum;
    else
        put<T>(p, c, out, item, share.number, row, column, sum);
}

// Threadgroups: (tiles along m, then along n; items of the batch x parts). SIDE is 32 or 64.
template <typename T, int SIDE>
[[kernel, max_total_threads_per_threadgroup(128)]] void matmul_tiles(
    device const T *a [[buffer(0)]], device const T *b [[buffer(1)]],
    device const T *c [[buffer(2)]], device T *out [[buffer(3)]], device float *sums [[buffer(4)]],
    constant Matmul &p [[buffer(5)]], device const long *left [[buffer(6)]],
    device const long *right [[buffer(7)]], uint3 group [[threadgroup_position_in_grid]],
    uint index [[thread_index_in_threadgroup]], uint band [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
    constexpr int DEPTH = tile_depth<T>();
    constexpr int EACH = SIDE / 16; // fragments of a simdgroup, each way
    threadgroup T a_tile[tile_room<T, SIDE, DEPTH>()];
    threadgroup T b_tile[tile_room<T, DEPTH, SIDE>()];
    Share share = find_share(p, group);
    if (share.number >= p.items)
        return;
    uint row = group.x % p.tiles * SIDE, column = group.x / p.tiles * SIDE;
    Item item = find_item(p, left, right, share.number);
    narrow(p, share.part, item);
    uint from = item.from, to = item.to;
    TileLoader<T, SIDE, DEPTH> a_loader(a + item.a + row * p.a_row + from * p.a_column, p.a_row,
                                        p.a_column, A_DOWN, index);
    TileLoader<T, DEPTH, SIDE> b_loader(b + item.b + from * p.b_row + column * p.b_column, p.b_row,
                                        p.b_column, B_DOWN, index);
    Sums<EACH, EACH> tile;
    tile.clear();
    uint below = band / 2 * (SIDE / 2), beside = band % 2 * (SIDE / 2);
    uint2 a_steps = tile_steps<T, SIDE, DEPTH>(A_DOWN),
          b_steps = tile_steps<T, DEPTH, SIDE>(B_DOWN);
    for (uint k = from; k < to; k += DEPTH) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        a_loader.load(a_tile, p.m - row, to - k, A_CLOSE, WHOLE);
        b_loader.load(b_tile, to - k, p.n - column, B_CLOSE, WHOLE);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        multiply_tiles<T, T, EACH, EACH, DEPTH>(tile, a_tile + below * a_steps.x, a_steps,
                                                b_tile + beside * b_steps.y, b_steps, lane);
        a_loader.from += DEPTH * p.a_column;
        b_loader.from += DEPTH * p.b_row;
    }
    row += below + fragment_row(lane);
    column += beside + fragment_column(lane);
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < 2 * EACH; j++) {
            uint r = row + 8 * i, s = column + 8 * (j / 2) + j % 2;
            if (r >= p.m || s >= p.n)
                continue;
            float sum = tile.part[i][j / 2].thread_elements()[j % 2];
            finish<T>(p, c, out, sums, item, share, r, s, sum);
        }
}

// Adds up the parts; a thread an element (column, row, item).
template <typename T>
[[kernel]] void matmul_sum(device const float *sums [[buffer(0)]], device const T *c [[buffer(1)]],
                           device T *out [[buffer(2)]], constant Matmul &p [[buffer(3)]],
                           device const long *left [[buffer(4)]],
                           device const long *right [[buffer(5)]],
                           uint3 at [[thread_position_in_grid]]) {
    Item item = find_item(p, left, right, at.z);
    ulong place = (ulong(at.z) * p.m + at.y) * p.n + at.x;
    float sum = 0.0f;
    for (uint part = 0; part < p.parts; part++)
        sum += sums[ulong(part) * p.items * p.m * p.n + place];
    put<T>(p, c, out, item, at.z, at.y, at.x, sum);
}

constant constexpr uint COLUMNS = 4; // most columns of b in the kernels that follow
constant constexpr uint ROWS = 4;    // rows of a that a simdgroup takes at once

// Their loops have a fixed length and ask a function constant inside, so that they unroll and their
// arrays stay in registers.

// Few columns, a's inner axis close: a simdgroup for ROWS rows, its lanes along the inner axis.
// Threadgroups of four simdgroups: (rows, items x parts).
template <typename T>
[[kernel, max_total_threads_per_threadgroup(128)]] void matvec_along(
    device const T *a [[buffer(0)]], device const T *b [[buffer(1)]],
    device const T *c [[buffer(2)]], device T *out [[buffer(3)]], device float *sums [[buffer(4)]],
    constant Matmul &p [[buffer(5)]], device const long *left [[buffer(6)]],
    device const long *right [[buffer(7)]], uint3 group [[threadgroup_position_in_grid]],
    uint band [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
    Share share = find_share(p, group);
    uint row = (group.x * 4 + band) * ROWS;
    if (share.number >= p.items || row >= p.m)
        return;
    Item item = find_item(p, left, right, share.number);
    narrow(p, share.part, item);
    constexpr int NEAR = run_length<T>();
    float own[ROWS][COLUMNS] = {};
    for (uint k = item.from + lane * NEAR; k < item.to; k += 32 * NEAR) {
        Run<T, NEAR> known[COLUMNS];
#pragma unroll
        for (uint s = 0; s < COLUMNS; s++)
            if (s < uint(VECTORS))
                known[s] = load_run<T, NEAR>(b + item.b + k * p.b_row + s * p.b_column, p.b_row,
                                             B_CLOSE, item.to - k);
#pragma unroll
        for (uint i = 0; i < ROWS; i++) {
            device const T *y = a + item.a + min(row + i, p.m - 1) * p.a_row + k * p.a_column;
            Run<T, NEAR> weights = load_run<T, NEAR>(y, p.a_column, A_CLOSE, item.to - k);
#pragma unroll
            for (uint s = 0; s < COLUMNS; s++)
                if (s < uint(VECTORS))
#pragma unroll
                    for (uint j = 0; j < NEAR; j++)
                        own[i][s] += float(weights.at[j]) * float(known[s].at[j]);
        }
    }
#pragma unroll
    for (uint i = 0; i < ROWS; i++)
#pragma unroll
        for (uint s = 0; s < COLUMNS; s++) {
            if (s >= uint(VECTORS))
                break;
            float sum = simd_sum(own[i][s]);
            if (lane == 0 && row + i < p.m)
                finish<T>(p, c, out, sums, item, share, row + i, s, sum);
        }
}

constant constexpr uint SLICES = 8; // simdgroups that share the inner axis
constant constexpr uint AHEAD = 8;  // numbers of a that a lane reads before it multiplies

// Few columns, a's rows close: a lane for a row, simdgroups along the inner axis.
// Threadgroups of SLICES simdgroups: (32 rows, items x parts).
template <typename T>
[[kernel, max_total_threads_per_threadgroup(256)]] void matvec_across(
    device const T *a [[buffer(0)]], device const T *b [[buffer(1)]],
    device const T *c [[buffer(2)]], device T *out [[buffer(3)]], device float *sums [[buffer(4)]],
    constant Matmul &p [[buffer(5)]], device const long *left [[buffer(6)]],
    device const long *right [[buffer(7)]], uint3 group [[threadgroup_position_in_grid]],
    uint slice [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
    threadgroup float shared[SLICES * COLUMNS * 32];
    Share share = find_share(p, group);
    uint row = group.x * 32 + lane;
    if (share.number >= p.items)
        return;
    Item item = find_item(p, left, right, share.number);
    narrow(p, share.part, item);
    float own[COLUMNS] = {};
    device const T *y = a + item.a + min(row, p.m - 1) * p.a_row;
    for (uint k = item.from + slice; k < item.to; k += SLICES * AHEAD) {
        T weights[AHEAD];
#pragma unroll
        for (uint i = 0; i < AHEAD; i++)
            weights[i] = k + i * SLICES < item.to ? y[(k + i * SLICES) * p.a_column] : T(0);
#pragma unroll
        for (uint i = 0; i < AHEAD; i++) {
            if (k + i * SLICES >= item.to)
                continue;
            device const T *x = b + item.b + (k + i * SLICES) * p.b_row;
#pragma unroll
            for (uint s = 0; s < COLUMNS; s++)
                if (s < uint(VECTORS))
                    own[s] += float(weights[i]) * float(x[s * p.b_column]);
        }
    }
#pragma unroll
    for (uint s = 0; s < COLUMNS; s++)
        shared[(slice * COLUMNS + s) * 32 + lane] = own[s];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (slice >= uint(VECTORS) || row >= p.m)
        return;
    float sum = 0.0f;
    for (uint i = 0; i < SLICES; i++)
        sum += shared[(i * COLUMNS + slice) * 32 + lane];
    finish<T>(p, c, out, sums, item, share, row, slice, sum);
}

constant constexpr uint NEAR_ROWS = 4; // of a, which a lane takes of a pack

// As matvec_across where a's rows are neighbours, and whole packs: a lane for NEAR_ROWS of them.
// Threadgroups of SLICES simdgroups: (32 NEAR_ROWS rows, items x parts).
template <typename T>
[[kernel, max_total_threads_per_threadgroup(256)]] void matvec_packs(
    device const T *a [[buffer(0)]], device const T *b [[buffer(1)]],
    device const T *c [[buffer(2)]], device T *out [[buffer(3)]], device float *sums [[buffer(4)]],
    constant Matmul &p [[buffer(5)]], device const long *left [[buffer(6)]],
    device const long *right [[buffer(7)]], uint3 group [[threadgroup_position_in_grid]],
    uint slice [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
    constexpr uint WIDE = 32 * NEAR_ROWS, BYTES = NEAR_ROWS * sizeof(T),
                   STEPS = sizeof(T) == 4 ? AHEAD / 2 : AHEAD;
    threadgroup float shared[SLICES * COLUMNS * WIDE];
    Share share = find_share(p, group);
    if (share.number >= p.items)
        return;
    Item item = find_item(p, left, right, share.number);
    narrow(p, share.part, item);
    float own[COLUMNS][NEAR_ROWS] = {};
    uint first = group.x * WIDE;
    device const T *y = a + item.a + min(first + lane * NEAR_ROWS, p.m - NEAR_ROWS);
    bool whole = misplaced(y, BYTES) == 0 && p.a_column % NEAR_ROWS == 0;
    for (uint k = item.from + slice; k < item.to; k += SLICES * STEPS) {
        Pack<T, NEAR_ROWS> weights[STEPS];
#pragma unroll
        for (uint i = 0; i < STEPS; i++) {
            uint at = min(k + i * SLICES, item.to - 1);
            weights[i] = load_pack<T, NEAR_ROWS>(y + at * p.a_column, whole, NEAR_ROWS);
        }
#pragma unroll
        for (uint i = 0; i < STEPS; i++) {
            if (k + i * SLICES >= item.to)
                continue;
            device const T *x = b + item.b + (k + i * SLICES) * p.b_row;
#pragma unroll
            for (uint s = 0; s < COLUMNS; s++)
                if (s < uint(VECTORS))
#pragma unroll
                    for (uint j = 0; j < NEAR_ROWS; j++)
                        own[s][j] += float(weights[i].at(j)) * float(x[s * p.b_column]);
        }
    }
#pragma unroll
    for (uint s = 0; s < COLUMNS; s++)
#pragma unroll
        for (uint j = 0; j < NEAR_ROWS; j++)
            shared[(slice * COLUMNS + s) * WIDE + lane * NEAR_ROWS + j] = own[s][j];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint at = slice * 32 + lane; at < uint(VECTORS) * WIDE; at += 32 * SLICES) {
        uint s = at / WIDE, row = at % WIDE;
        float sum = 0.0f;
        for (uint i = 0; i < SLICES; i++)
            sum += shared[(i * COLUMNS + s) * WIDE + row];
        if (first + row < p.m)
            finish<T>(p, c, out, sums, item, share, first + row, s, sum);
    }
}

template <typename T> inline T add_product(T sum, T a, T b) { return sum + a * b; }

template <> inline complex64 add_product<complex64>(complex64 sum, complex64 a, complex64 b) {
    return sum + complex64(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// Integers, modulo a power of two, and complex numbers: a thread an element.
// Threadgroups of 16 x 16: (tiles, items).
template <typename T>
[[kernel, max_total_threads_per_threadgroup(256)]] void
matmul_plain(device const T *a [[buffer(0)]], device const T *b [[buffer(1)]],
             device T *out [[buffer(2)]], constant Matmul &p [[buffer(3)]],
             device const long *left [[buffer(4)]], device const long *right [[buffer(5)]],
             uint3 group [[threadgroup_position_in_grid]],
             uint index [[thread_index_in_threadgroup]]) {
    threadgroup T a_tile[16 * 17];
    threadgroup T b_tile[16 * 17];
    uint number = group.y + group.z * SPREAD;
    if (number >= p.items)
        return;
    uint x = index % 16, y = index / 16;
    uint row = group.x % p.tiles * 16 + y, column = group.x / p.tiles * 16 + x;
    Item item = find_item(p, left, right, number);
    T sum = T(0);
    for (uint k = 0; k < p.k; k += 16) {
        bool a_inside = row < p.m && k + x < p.k, b_inside = k + y < p.k && column < p.n;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        a_tile[y * 17 + x] = a_inside ? a[item.a + row * p.a_row + (k + x) * p.a_column] : T(0);
        b_tile[y * 17 + x] = b_inside ? b[item.b + (k + y) * p.b_row + column * p.b_column] : T(0);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint i = 0; i < 16; i++)
            sum = add_product<T>(sum, a_tile[y * 17 + i], b_tile[i * 17 + x]);
    }
    if (row < p.m && column < p.n)
        out[long(number) * p.m * p.n + row * p.out_row + column * p.out_column] = sum;
}

#define MATMUL_KERNELS(name, T)                                                                    \
    template [[host_name(                                                                          \
        "matmul_tiles32_" name)]] [[kernel]] decltype(matmul_tiles<T, 32>) matmul_tiles<T, 32>;    \
    template [[host_name(                                                                          \
        "matmul_tiles64_" name)]] [[kernel]] decltype(matmul_tiles<T, 64>) matmul_tiles<T, 64>;    \
    template                                                                                       \
        [[host_name("matvec_packs_" name)]] [[kernel]] decltype(matvec_packs<T>) matvec_packs<T>;  \
    template [[host_name("matmul_sum_" name)]] [[kernel]] decltype(matmul_sum<T>) matmul_sum<T>;   \
    template                                                                                       \
        [[host_name("matvec_along_" name)]] [[kernel]] decltype(matvec_along<T>) matvec_along<T>;  \
    template [[host_name(                                                                          \
        "matvec_across_" name)]] [[kernel]] decltype(matvec_across<T>) matvec_across<T>;

MATMUL_KERNELS("float32", float)
MATMUL_KERNELS("float16", half)
MATMUL_KERNELS("bfloat16", bfloat)

#define PLAIN_KERNEL(name, T)                                                                      \
    template                                                                                       \
        [[host_name("matmul_plain_" name)]] [[kernel]] decltype(matmul_plain<T>) matmul_plain<T>;

PLAIN_KERNEL("32", uint)
PLAIN_KERNEL("64", ulong)
PLAIN_KERNEL("complex64", complex64)
