// Convolutions, channels last: products of a matrix of taps that is never stored.
//
// Rules: images are (n, depth, height, width, c), weights (o, taps, c / groups), one and two
// spatial axes have leading sizes of 1; row m of the matrix of taps is a window (a place of the
// result), column k a tap and channel of it. What a window sees outside of the image, or between
// its spread pixels, is 0. Sums are float32; parts of the inner axis are added up by matmul_sum.
#include "tiles.h"

constant bool SPREAD_OUT [[function_constant(0)]]; // images have gaps between their pixels
constant bool FLIP [[function_constant(1)]];       // the window is turned round
constant bool PARTS [[function_constant(2)]];      // the inner axis is split
constant bool WHOLE [[function_constant(3)]];      // no tile of ordinary matrices sticks out
constant bool RUNS [[function_constant(4)]];       // a group's channels fill runs

// As `mlxc/_backends/metal/conv.py` packs it; three numbers: depth, height, width.
struct Conv {
    uint size[3], out[3], kernel_size[3];
    int stride[3], low[3], step[3], gap[3]; // step: from tap to tap; gap: from pixel to pixel
    uint channels, filters;                 // of all groups
    uint c, o;                              // of one group
    uint groups;
    uint windows;      // n x out
    uint columns;      // taps x c
    uint tiles;        // along the rows of the result
    uint parts, depth; // of the inner axis: how many, how long
    uint padding;
};

// A window: where its image starts, in elements, and where its first tap lies.
struct Window {
    long image;
    int place[3];
};

inline Window find_window(constant Conv &p, uint number) {
    Window window;
    uint rest = number;
#pragma unroll
    for (int axis = 2; axis >= 0; axis--) {
        window.place[axis] = int(rest % p.out[axis]) * p.stride[axis] - p.low[axis];
        rest /= p.out[axis];
    }
    window.image = long(rest) * p.size[0] * p.size[1] * (p.size[2] * p.channels);
    return window;
}

// A column of the matrix of taps: steps from the window's first tap, and the channel.
struct Tap {
    int place[3];
    uint channel;
};

inline Tap find_tap(constant Conv &p, uint column) {
    Tap tap;
    uint rest = column / p.c;
    tap.channel = column % p.c;
#pragma unroll
    for (int axis = 2; axis >= 0; axis--) {
        uint at = rest % p.kernel_size[axis];
        rest /= p.kernel_size[axis];
        tap.place[axis] = int(FLIP ? p.kernel_size[axis] - 1 - at : at) * p.step[axis];
    }
    return tap;
}

// Which pixel of its image a window sees through a tap; -1 if none.
inline long find_pixel(constant Conv &p, thread const Window &window, thread const Tap &tap) {
    uint pixel = 0;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        int place = window.place[axis] + tap.place[axis];
        if (place < 0)
            return -1;
        if (SPREAD_OUT) {
            if (place % p.gap[axis] != 0)
                return -1;
            place /= p.gap[axis];
        }
        if (uint(place) >= p.size[axis])
            return -1;
        pixel = pixel * p.size[axis] + uint(place);
    }
    return long(pixel);
}

// Brings tiles of taps to threadgroup memory. A thread stays in its columns: one, or a run of
// channels of one tap.
template <typename T, int ROWS, int COLUMNS> struct TapLoader {
    uint row;
    uint row_step;
    uint column;
    Tap tap;

    TapLoader(uint index) {
        uint each = RUNS ? run_length<T>() : 1;
        row = index / (COLUMNS / each);
        row_step = TILE_THREADS * each / COLUMNS;
        column = index % (COLUMNS / each) * each;
    }

    // The tile's first column is `first`.
    void aim(constant Conv &p, uint first) { tap = find_tap(p, first + column); }

    void load(threadgroup T *tile, constant Conv &p, device const T *x,
              threadgroup const Window *windows, uint rows, uint columns) const {
        for (uint at = row; at < ROWS; at += row_step) {
            Window window = windows[at];
            bool inside = at < rows && column < columns;
            long pixel = inside ? find_pixel(p, window, tap) : -1;
            device const T *place = x + window.image + pixel * p.channels + tap.channel;
            threadgroup T *to = tile + at * tile_step<T, COLUMNS>() + column;
            if (RUNS)
                store_run<T, run_length<T>()>(
                    to, load_run<T, run_length<T>()>(place, 1, true, pixel < 0 ? 0 : ~0u));
            else
                *to = pixel < 0 ? T(0) : *place;
        }
    }
};

// As `mlxc/_backends/metal/conv.py` packs it.
struct Arrangement {
    long stride[5]; // elements
    uint size[5];
    uint padding;
};

// Weights of any strides to row-major ones; a thread an element.
template <typename T>
[[kernel]] void conv_arrange(device const T *w [[buffer(0)]], device T *out [[buffer(1)]],
                             constant Arrangement &p [[buffer(2)]],
                             uint at [[thread_position_in_grid]]) {
    long place = 0;
    uint rest = at;
    for (int axis = 4; axis >= 0; axis--) {
        place += long(rest % p.size[axis]) * p.stride[axis];
        rest /= p.size[axis];
    }
    out[at] = w[place];
}

// Threadgroups: (tiles along windows, then along filters; groups x parts).
template <typename T, int SIDE>
[[kernel, max_total_threads_per_threadgroup(128)]] void
conv_tiles(device const T *x [[buffer(0)]], device const T *w [[buffer(1)]],
           device T *out [[buffer(2)]], device float *sums [[buffer(3)]],
           constant Conv &p [[buffer(4)]], uint3 group [[threadgroup_position_in_grid]],
           uint index [[thread_index_in_threadgroup]], uint band [[simdgroup_index_in_threadgroup]],
           uint lane [[thread_index_in_simdgroup]]) {
    constexpr int DEPTH = tile_depth<T>(), EACH = SIDE / 16;
    threadgroup T a_tile[SIDE * tile_step<T, DEPTH>()];
    threadgroup T b_tile[tile_room<T, DEPTH, SIDE>()];
    threadgroup Window windows[SIDE];
    uint number = (group.y + group.z * 32768) / p.parts;
    uint part = (group.y + group.z * 32768) % p.parts;
    if (number >= p.groups)
        return;
    uint row = group.x % p.tiles * SIDE, column = group.x / p.tiles * SIDE;
    uint from = part * p.depth, to = min(p.columns, from + p.depth);
    if (index < SIDE)
        windows[index] = find_window(p, min(row + index, p.windows - 1));
    device const T *filters = w + long(number * p.o + column) * p.columns + from;
    TapLoader<T, SIDE, DEPTH> taps(index);
    TileLoader<T, DEPTH, SIDE> loader(filters, 1, p.columns, true, index);
    Sums<EACH, EACH> tile;
    tile.clear();
    uint below = band / 2 * (SIDE / 2), beside = band % 2 * (SIDE / 2);
    uint2 a_steps = tile_steps<T, SIDE, DEPTH>(false), b_steps = tile_steps<T, DEPTH, SIDE>(true);
    for (uint k = from; k < to; k += DEPTH) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        taps.aim(p, k);
        taps.load(a_tile, p, x + number * p.c, windows, p.windows - row, to - k);
        loader.load(b_tile, to - k, p.o - column, true, WHOLE);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        multiply_tiles<T, T, EACH, EACH, DEPTH>(tile, a_tile + below * a_steps.x, a_steps,
                                                b_tile + beside * b_steps.y, b_steps, lane);
        loader.from += DEPTH;
    }
    row += below + fragment_row(lane);
    column += beside + fragment_column(lane);
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < 2 * EACH; j++) {
            uint r = row + 8 * i, s = column + 8 * (j / 2) + j % 2;
            if (r >= p.windows || s >= p.o)
                continue;
            float sum = tile.part[i][j / 2].thread_elements()[j % 2];
            if (PARTS) // of one group
                sums[(ulong(part) * p.windows + r) * p.o + s] = sum;
            else
                out[ulong(r) * p.filters + number * p.o + s] = T(sum);
        }
}

// The weights' gradient: the cotangent's transpose times the matrix of taps.
// Threadgroups: (tiles along filters, then along taps; groups x parts).
template <typename T, int SIDE>
[[kernel, max_total_threads_per_threadgroup(128)]] void conv_gradient_tiles(
    device const T *x [[buffer(0)]], device const T *ct [[buffer(1)]], device T *out [[buffer(2)]],
    device float *sums [[buffer(3)]], constant Conv &p [[buffer(4)]],
    uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
    uint band [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
    constexpr int DEPTH = tile_depth<T>(), EACH = SIDE / 16;
    threadgroup T a_tile[tile_room<T, SIDE, DEPTH>()];
    threadgroup T b_tile[DEPTH * tile_step<T, SIDE>()];
    threadgroup Window windows[DEPTH];
    uint number = (group.y + group.z * 32768) / p.parts;
    uint part = (group.y + group.z * 32768) % p.parts;
    if (number >= p.groups)
        return;
    uint row = group.x % p.tiles * SIDE, column = group.x / p.tiles * SIDE;
    uint from = part * p.depth, to = min(p.windows, from + p.depth);
    TapLoader<T, DEPTH, SIDE> taps(index);
    taps.aim(p, column);
    device const T *filters = ct + ulong(from) * p.filters + number * p.o + row;
    TileLoader<T, SIDE, DEPTH> loader(filters, 1, p.filters, true, index);
    Sums<EACH, EACH> tile;
    tile.clear();
    uint below = band / 2 * (SIDE / 2), beside = band % 2 * (SIDE / 2);
    uint2 a_steps = tile_steps<T, SIDE, DEPTH>(true), b_steps = tile_steps<T, DEPTH, SIDE>(false);
    for (uint k = from; k < to; k += DEPTH) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (index < DEPTH)
            windows[index] = find_window(p, min(k + index, p.windows - 1));
        loader.load(a_tile, p.o - row, to - k, true, WHOLE);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        taps.load(b_tile, p, x + number * p.c, windows, to - k, p.columns - column);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        multiply_tiles<T, T, EACH, EACH, DEPTH>(tile, a_tile + below * a_steps.x, a_steps,
                                                b_tile + beside * b_steps.y, b_steps, lane);
        loader.from += long(DEPTH) * p.filters;
    }
    row += below + fragment_row(lane);
    column += beside + fragment_column(lane);
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < 2 * EACH; j++) {
            uint r = row + 8 * i, s = column + 8 * (j / 2) + j % 2;
            if (r >= p.o || s >= p.columns)
                continue;
            float sum = tile.part[i][j / 2].thread_elements()[j % 2];
            ulong place = ulong(number * p.o + r) * p.columns + s;
            if (PARTS)
                sums[ulong(part) * p.filters * p.columns + place] = sum;
            else
                out[place] = T(sum);
        }
}

// ---- groups of few channels: no products of matrices ----

// A thread a number of the result.
template <typename T>
[[kernel, max_total_threads_per_threadgroup(256)]] void
conv_direct(device const T *x [[buffer(0)]], device const T *w [[buffer(1)]],
            device T *out [[buffer(2)]], constant Conv &p [[buffer(3)]],
            uint at [[thread_position_in_grid]]) {
    uint filter = at % p.filters;
    Window window = find_window(p, at / p.filters);
    device const T *image = x + filter / p.o * p.c;
    device const T *weights = w + ulong(filter) * p.columns;
    float sum = 0.0f;
    for (uint column = 0; column < p.columns; column += p.c) {
        Tap tap = find_tap(p, column);
        long pixel = find_pixel(p, window, tap);
        device const T *place = image + window.image + pixel * p.channels;
        for (uint c = 0; c < p.c; c++)
            sum += (pixel < 0 ? 0.0f : float(place[c])) * float(weights[column + c]);
    }
    out[at] = T(sum);
}

constant constexpr uint SLICES = 8; // simdgroups that share the windows

// The weights' gradient: a lane for a filter, simdgroups along the windows.
// Threadgroups of SLICES simdgroups: (32 filters x taps, parts).
template <typename T>
[[kernel, max_total_threads_per_threadgroup(256)]] void
conv_gradient_direct(device const T *x [[buffer(0)]], device const T *ct [[buffer(1)]],
                     device T *out [[buffer(2)]], device float *sums [[buffer(3)]],
                     constant Conv &p [[buffer(4)]], uint3 group [[threadgroup_position_in_grid]],
                     uint slice [[simdgroup_index_in_threadgroup]],
                     uint lane [[thread_index_in_simdgroup]]) {
    threadgroup float shared[SLICES * 32];
    uint column = group.x / p.tiles, filter = group.x % p.tiles * 32 + lane, part = group.y;
    uint from = part * p.depth, to = min(p.windows, from + p.depth);
    uint own = min(filter, p.filters - 1);
    Tap tap = find_tap(p, column);
    device const T *image = x + own / p.o * p.c;
    float sum = 0.0f;
    for (uint k = from + slice; k < to; k += SLICES) {
        Window window = find_window(p, k);
        long pixel = find_pixel(p, window, tap);
        device const T *place = image + window.image + pixel * p.channels + tap.channel;
        sum += (pixel < 0 ? 0.0f : float(*place)) * float(ct[ulong(k) * p.filters + own]);
    }
    shared[slice * 32 + lane] = sum;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (slice != 0 || filter >= p.filters)
        return;
    for (uint i = 1; i < SLICES; i++)
        sum += shared[i * 32 + lane];
    ulong place = ulong(filter) * p.columns + column;
    if (PARTS)
        sums[ulong(part) * p.filters * p.columns + place] = sum;
    else
        out[place] = T(sum);
}

#define CONV_KERNEL(kernel_name, number, name, T)                                                  \
    template [[host_name(                                                                          \
        #kernel_name #number                                                                       \
        "_" name)]] [[kernel]] decltype(kernel_name<T, number>) kernel_name<T, number>;
#define CONV_KERNELS(name, T)                                                                      \
    CONV_KERNEL(conv_tiles, 32, name, T)                                                           \
    CONV_KERNEL(conv_tiles, 64, name, T)                                                           \
    CONV_KERNEL(conv_gradient_tiles, 32, name, T)                                                  \
    CONV_KERNEL(conv_gradient_tiles, 64, name, T)                                                  \
    template                                                                                       \
        [[host_name("conv_arrange_" name)]] [[kernel]] decltype(conv_arrange<T>) conv_arrange<T>;  \
    template                                                                                       \
        [[host_name("conv_direct_" name)]] [[kernel]] decltype(conv_direct<T>) conv_direct<T>;     \
    template [[host_name("conv_gradient_direct_" name)]]                                           \
    [[kernel]] decltype(conv_gradient_direct<T>) conv_gradient_direct<T>;

CONV_KERNELS("float32", float)
CONV_KERNELS("float16", half)
CONV_KERNELS("bfloat16", bfloat)
