// Convolutions, channels last: products of a matrix of taps that is never stored.
//
// Rules: images are (n, depth, height, width, c), weights (o, taps, c / groups), one and two
// spatial axes have leading sizes of 1; row m of the matrix of taps is a window (a place of the
// result), column k a tap and channel of it. Images with gaps between their pixels are convolved by
// phases: the results of a phase see pixels through the same taps, so nothing is multiplied by a
// gap. What a window sees outside of the image is 0. Sums are float32; parts of the inner axis are
// added up by matmul_sum.
#include "tiles.h"

constant bool FLIP [[function_constant(0)]];  // the window is turned round
constant bool PARTS [[function_constant(1)]]; // the inner axis is split
constant bool RUNS [[function_constant(2)]];  // a group's channels fill runs

// As `mlxc/_backends/metal/conv.py` packs it; three numbers: depth, height, width.
struct Conv {
    uint size[3], out[3], kernel_size[3];
    int stride[3], low[3], step[3], gap[3]; // step: from tap to tap; gap: from pixel to pixel
    // From one result, or tap, of a phase to the next; and how many pixels lie between them.
    uint out_step[3], tap_step[3];
    int out_move[3], tap_move[3];
    uint channels, filters; // of all groups
    uint c, o;              // of one group
    uint groups, phases, images;
    uint windows;      // n x out
    uint columns;      // taps x c
    uint tiles;        // along the rows of the result, of the largest phase
    uint parts, depth; // of the inner axis: how many, how long
};

// Results and taps that meet at pixels: the first of each, how many, and the pixel that the first
// result sees through the first tap.
struct Phase {
    uint first_out[3], outs[3], first_tap[3], taps[3];
    int pixel[3];

    uint windows(uint images) const { return images * outs[0] * outs[1] * outs[2]; }

    uint columns(uint c) const { return taps[0] * taps[1] * taps[2] * c; }
};

inline int position(constant Conv &p, int axis, uint out, uint tap) {
    return int(out) * p.stride[axis] - p.low[axis] + int(tap) * p.step[axis];
}

// `out` and `tap` are the phase's first, unless they do not meet: then it has none of one of them.
inline void set_axis(thread Phase &phase, constant Conv &p, int axis, uint out, uint tap) {
    uint outs = p.out[axis] + p.out_step[axis] - 1,
         taps = p.kernel_size[axis] + p.tap_step[axis] - 1;
    phase.first_out[axis] = out;
    phase.first_tap[axis] = tap;
    phase.outs[axis] = out < p.out_step[axis] ? (outs - out) / p.out_step[axis] : 0;
    phase.taps[axis] = tap < p.tap_step[axis] ? (taps - tap) / p.tap_step[axis] : 0;
    phase.pixel[axis] = position(p, axis, out, tap) / p.gap[axis];
}

// The phase of results from `out` on; each is below `out_step`.
inline Phase phase_of_results(constant Conv &p, uint3 out) {
    Phase phase;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        uint tap = 0;
        while (tap < p.tap_step[axis] && position(p, axis, out[axis], tap) % p.gap[axis] != 0)
            tap++;
        set_axis(phase, p, axis, out[axis], tap);
    }
    return phase;
}

// The phase of taps from `tap` on; each is below `tap_step`.
inline Phase phase_of_taps(constant Conv &p, uint3 tap) {
    Phase phase;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        uint out = 0;
        while (out < p.out_step[axis] && position(p, axis, out, tap[axis]) % p.gap[axis] != 0)
            out++;
        set_axis(phase, p, axis, out, tap[axis]);
    }
    return phase;
}

// Places of a row-major number; sizes may be 0 where nothing is asked for.
inline uint3 places(uint number, uint depth, uint height, uint width) {
    height = max(height, 1u);
    width = max(width, 1u);
    return uint3(number / width / height % max(depth, 1u), number / width % height, number % width);
}

// A window: its number among the results, where its image starts, and the pixel of its first tap.
struct Window {
    long image;
    uint number;
    int place[3];
};

inline Window find_window(constant Conv &p, thread const Phase &phase, uint number) {
    uint3 at = places(number, phase.outs[0], phase.outs[1], phase.outs[2]);
    Window window;
    window.number = number / max(phase.windows(1), 1u);
    window.image = long(window.number) * p.size[0] * p.size[1] * (p.size[2] * p.channels);
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        uint out = phase.first_out[axis] + at[axis] * p.out_step[axis];
        window.number = window.number * p.out[axis] + out;
        window.place[axis] = phase.pixel[axis] + int(at[axis]) * p.out_move[axis];
    }
    return window;
}

// A column of the matrix of taps: pixels from the window's first tap, the channel, and the column
// of the weights.
struct Tap {
    int place[3];
    uint channel, weight;
};

inline Tap find_tap(constant Conv &p, thread const Phase &phase, uint column) {
    uint3 at = places(column / p.c, phase.taps[0], phase.taps[1], phase.taps[2]);
    Tap tap;
    tap.channel = column % p.c;
    tap.weight = 0;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        uint own = phase.first_tap[axis] + at[axis] * p.tap_step[axis];
        own = FLIP ? p.kernel_size[axis] - 1 - own : own;
        tap.weight = tap.weight * p.kernel_size[axis] + own;
        tap.place[axis] = int(at[axis]) * p.tap_move[axis];
    }
    tap.weight = tap.weight * p.c + tap.channel;
    return tap;
}

// Which pixel of its image a window sees through a tap; -1 if none.
inline long find_pixel(constant Conv &p, thread const Window &window, thread const Tap &tap) {
    uint pixel = 0;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        int place = window.place[axis] + tap.place[axis];
        if (place < 0 || uint(place) >= p.size[axis])
            return -1;
        pixel = pixel * p.size[axis] + uint(place);
    }
    return long(pixel);
}

// One number, or a run of them; zeros if they are not there.
template <typename T> inline void copy_run(threadgroup T *to, device const T *from, bool there) {
    constexpr int COUNT = run_length<T>();
    if (RUNS)
        store_run<T, COUNT>(to, load_run<T, COUNT>(from, 1, true, there ? COUNT : 0));
    else
        *to = there ? *from : T(0);
}

// Brings tiles of taps, and of the weights that belong to them, to threadgroup memory. A thread
// stays in its columns: one, or a run of channels of one tap.
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
    void aim(constant Conv &p, thread const Phase &phase, uint first) {
        tap = find_tap(p, phase, first + column);
    }

    void load(threadgroup T *tile, constant Conv &p, device const T *x,
              threadgroup const Window *windows, uint rows, uint columns) const {
        for (uint at = row; at < ROWS; at += row_step) {
            Window window = windows[at];
            bool inside = at < rows && column < columns;
            long pixel = inside ? find_pixel(p, window, tap) : -1;
            copy_run<T>(tile + at * tile_step<T, COLUMNS>() + column,
                        x + window.image + pixel * p.channels + tap.channel, pixel >= 0);
        }
    }

    // Filter by filter, so that the tile is that of the weights' transpose.
    void load_weights(threadgroup T *tile, constant Conv &p, device const T *filters, uint rows,
                      uint columns) const {
        for (uint at = row; at < ROWS; at += row_step)
            copy_run<T>(tile + at * tile_step<T, COLUMNS>() + column,
                        filters + ulong(at) * p.columns + tap.weight,
                        at < rows && column < columns);
    }
};

// Brings a tile of cotangents to threadgroup memory, window by window.
template <typename T, int ROWS, int WINDOWS>
inline void load_cotangents(threadgroup T *tile, device const T *ct, ulong filters,
                            threadgroup const Window *windows, uint rows, uint count, uint index) {
    constexpr uint COUNT = run_length<T>();
    for (uint i = index; i < ROWS * WINDOWS / COUNT; i += TILE_THREADS) {
        uint line = i / (ROWS / COUNT), along = i % (ROWS / COUNT) * COUNT;
        device const T *from = ct + windows[line].number * filters + along;
        uint there = line < count && along < rows ? rows - along : 0;
        store_run<T, COUNT>(tile + line * tile_step<T, ROWS>() + along,
                            load_run<T, COUNT>(from, 1, true, there));
    }
}

// What a threadgroup works on, from its place along y and z: see SPREAD of layout.py.
struct Share {
    uint part, group, phase;
};

inline Share find_share(constant Conv &p, uint3 at) {
    uint number = at.y + at.z * 32768;
    Share share = {number % p.parts, number / p.parts % p.groups, number / p.parts / p.groups};
    return share;
}

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

// Threadgroups: (tiles along windows, then along filters; phases x groups x parts).
template <typename T, int SIDE>
[[kernel, max_total_threads_per_threadgroup(128)]] void
conv_tiles(device const T *x [[buffer(0)]], device const T *w [[buffer(1)]],
           device T *out [[buffer(2)]], device float *sums [[buffer(3)]],
           constant Conv &p [[buffer(4)]], uint3 group [[threadgroup_position_in_grid]],
           uint index [[thread_index_in_threadgroup]], uint band [[simdgroup_index_in_threadgroup]],
           uint lane [[thread_index_in_simdgroup]]) {
    constexpr int DEPTH = tile_depth<T>(), EACH = SIDE / 16;
    threadgroup T a_tile[SIDE * tile_step<T, DEPTH>()];
    threadgroup T b_tile[SIDE * tile_step<T, DEPTH>()];
    threadgroup Window windows[SIDE];
    Share share = find_share(p, group);
    if (share.phase >= p.phases)
        return;
    Phase phase =
        phase_of_results(p, places(share.phase, p.out_step[0], p.out_step[1], p.out_step[2]));
    uint row = group.x % p.tiles * SIDE, column = group.x / p.tiles * SIDE;
    uint count = phase.windows(p.images);
    if (row >= count)
        return;
    uint from = share.part * p.depth, to = min(phase.columns(p.c), from + p.depth);
    if (index < SIDE)
        windows[index] = find_window(p, phase, min(row + index, count - 1));
    device const T *filters = w + ulong(share.group * p.o + column) * p.columns;
    TapLoader<T, SIDE, DEPTH> taps(index);
    Sums<EACH, EACH> tile;
    tile.clear();
    uint below = band / 2 * (SIDE / 2), beside = band % 2 * (SIDE / 2);
    uint2 a_steps = tile_steps<T, SIDE, DEPTH>(false), b_steps = tile_steps<T, DEPTH, SIDE>(true);
    for (uint k = from; k < to; k += DEPTH) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        taps.aim(p, phase, k);
        taps.load(a_tile, p, x + share.group * p.c, windows, count - row, to - k);
        taps.load_weights(b_tile, p, filters, p.o - column, to - k);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        multiply_tiles<T, T, EACH, EACH, DEPTH>(tile, a_tile + below * a_steps.x, a_steps,
                                                b_tile + beside * b_steps.y, b_steps, lane);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup); // `windows`, if there was nothing to add up
    below += fragment_row(lane);
    column += beside + fragment_column(lane);
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < 2 * EACH; j++) {
            uint r = below + 8 * i, s = column + 8 * (j / 2) + j % 2;
            if (row + r >= count || s >= p.o)
                continue;
            float sum = tile.part[i][j / 2].thread_elements()[j % 2];
            ulong number = windows[r].number;
            if (PARTS) // of one group
                sums[(ulong(share.part) * p.windows + number) * p.o + s] = sum;
            else
                out[number * p.filters + share.group * p.o + s] = T(sum);
        }
}

// The weights' gradient: the cotangent's transpose times the matrix of taps.
// Threadgroups: (tiles along filters, then along taps; phases x groups x parts).
template <typename T, int SIDE>
[[kernel, max_total_threads_per_threadgroup(128)]] void conv_gradient_tiles(
    device const T *x [[buffer(0)]], device const T *ct [[buffer(1)]], device T *out [[buffer(2)]],
    device float *sums [[buffer(3)]], constant Conv &p [[buffer(4)]],
    uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
    uint band [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
    constexpr int DEPTH = tile_depth<T>(), EACH = SIDE / 16;
    threadgroup T a_tile[DEPTH * tile_step<T, SIDE>()];
    threadgroup T b_tile[DEPTH * tile_step<T, SIDE>()];
    threadgroup Window windows[DEPTH];
    Share share = find_share(p, group);
    if (share.phase >= p.phases)
        return;
    Phase phase =
        phase_of_taps(p, places(share.phase, p.tap_step[0], p.tap_step[1], p.tap_step[2]));
    uint row = group.x % p.tiles * SIDE, column = group.x / p.tiles * SIDE;
    uint count = phase.windows(p.images), columns = phase.columns(p.c);
    if (column >= columns)
        return;
    uint from = share.part * p.depth, to = min(count, from + p.depth);
    TapLoader<T, DEPTH, SIDE> taps(index);
    taps.aim(p, phase, column);
    ct += share.group * p.o + row;
    Sums<EACH, EACH> tile;
    tile.clear();
    uint below = band / 2 * (SIDE / 2), beside = band % 2 * (SIDE / 2);
    uint2 a_steps = tile_steps<T, SIDE, DEPTH>(true), b_steps = tile_steps<T, DEPTH, SIDE>(false);
    for (uint k = from; k < to; k += DEPTH) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (index < DEPTH)
            windows[index] = find_window(p, phase, min(k + index, count - 1));
        threadgroup_barrier(mem_flags::mem_threadgroup);
        load_cotangents<T, SIDE, DEPTH>(a_tile, ct, p.filters, windows, p.o - row, to - k, index);
        taps.load(b_tile, p, x + share.group * p.c, windows, to - k, columns - column);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        multiply_tiles<T, T, EACH, EACH, DEPTH>(tile, a_tile + below * a_steps.x, a_steps,
                                                b_tile + beside * b_steps.y, b_steps, lane);
    }
    row += below + fragment_row(lane);
    column += beside + fragment_column(lane);
#pragma unroll
    for (int j = 0; j < 2 * EACH; j++) {
        uint s = column + 8 * (j / 2) + j % 2;
        if (s >= columns)
            continue;
        uint weight = find_tap(p, phase, s).weight;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            uint r = row + 8 * i;
            if (r >= p.o)
                continue;
            float sum = tile.part[i][j / 2].thread_elements()[j % 2];
            ulong place = ulong(share.group * p.o + r) * p.columns + weight;
            if (PARTS)
                sums[ulong(share.part) * p.filters * p.columns + place] = sum;
            else
                out[place] = T(sum);
        }
    }
}

// ---- groups of few channels: no products of matrices ----

// A thread a number of the result.
template <typename T>
[[kernel, max_total_threads_per_threadgroup(256)]] void
conv_direct(device const T *x [[buffer(0)]], device const T *w [[buffer(1)]],
            device T *out [[buffer(2)]], constant Conv &p [[buffer(3)]],
            uint at [[thread_position_in_grid]]) {
    uint filter = at % p.filters, number = at / p.filters;
    uint3 place = places(number, p.out[0], p.out[1], p.out[2]);
    uint3 steps = uint3(p.out_step[0], p.out_step[1], p.out_step[2]);
    Phase phase = phase_of_results(p, place % steps);
    place /= steps;
    uint image = number / (p.out[0] * p.out[1] * p.out[2]);
    uint own = (place.x * phase.outs[1] + place.y) * phase.outs[2] + place.z;
    Window window = find_window(p, phase, image * phase.windows(1) + own);
    device const T *seen = x + window.image + filter / p.o * p.c;
    device const T *weights = w + ulong(filter) * p.columns;
    float sum = 0.0f;
    uint columns = phase.columns(p.c);
    for (uint column = 0; column < columns; column += p.c) {
        Tap tap = find_tap(p, phase, column);
        long pixel = find_pixel(p, window, tap);
        for (uint c = 0; c < p.c; c++) {
            float value = pixel < 0 ? 0.0f : float(seen[pixel * p.channels + c]);
            sum += value * float(weights[tap.weight + c]);
        }
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
    uint3 sizes = uint3(p.kernel_size[0], p.kernel_size[1], p.kernel_size[2]);
    uint3 place = places(column / p.c, sizes.x, sizes.y, sizes.z);
    place = FLIP ? sizes - 1 - place : place;
    uint3 steps = uint3(p.tap_step[0], p.tap_step[1], p.tap_step[2]);
    Phase phase = phase_of_taps(p, place % steps);
    place /= steps;
    uint own_tap = (place.x * phase.taps[1] + place.y) * phase.taps[2] + place.z;
    Tap tap = find_tap(p, phase, own_tap * p.c + column % p.c);
    uint from = part * p.depth, to = min(phase.windows(p.images), from + p.depth);
    uint own = min(filter, p.filters - 1);
    device const T *image = x + own / p.o * p.c + tap.channel;
    float sum = 0.0f;
    for (uint k = from + slice; k < to; k += SLICES) {
        Window window = find_window(p, phase, k);
        long pixel = find_pixel(p, window, tap);
        float seen = pixel < 0 ? 0.0f : float(image[window.image + pixel * p.channels]);
        sum += seen * float(ct[ulong(window.number) * p.filters + own]);
    }
    shared[slice * 32 + lane] = sum;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (slice != 0 || filter >= p.filters)
        return;
    for (uint i = 1; i < SLICES; i++)
        sum += shared[i * 32 + lane];
    ulong to_place = ulong(filter) * p.columns + tap.weight;
    if (PARTS)
        sums[ulong(part) * p.filters * p.columns + to_place] = sum;
    else
        out[to_place] = T(sum);
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
