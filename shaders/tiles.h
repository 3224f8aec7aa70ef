// Tiles of matrices: from memory to threadgroup memory, and products of 8x8 fragments.
//
// Rules: a threadgroup of 128 threads, four simdgroups in two rows and two columns, works on one
// tile of the result; sums are float32 whatever the operands; places outside of a matrix are read
// as 0 on both sides, so that 0 * infinity cannot arise. The lanes' places in a fragment are those
// that Apple's GPUs have been seen to use; no document promises them.
#ifndef MLXC_TILES_H
#define MLXC_TILES_H

#include "common.h"

constant constexpr uint TILE_THREADS = 128;

// Where the first of a lane's two neighbouring elements stands in a fragment.
inline uint fragment_row(uint lane) { return ((lane >> 2) & 4) + ((lane >> 1) & 3); }

inline uint fragment_column(uint lane) { return ((lane >> 2) & 2) * 2 + (lane & 1) * 2; }

// How long a tile is along the inner axis: 64 bytes a row.
template <typename T> constexpr int tile_depth() { return sizeof(T) == 4 ? 16 : 32; }

// Numbers from row to row of a tile in threadgroup memory; the rest keeps rows out of one bank.
template <typename T, int COLUMNS> constexpr int tile_step() {
    return COLUMNS + 16 / int(sizeof(T));
}

// Neighbouring numbers, which few instructions read.
template <typename T, int COUNT> struct Run {
    T at[COUNT];
};

template <typename T> constexpr int run_length() { return 16 / int(sizeof(T)); }

// COUNT numbers `stride` apart, of which `there` exist; the others are 0. `close`: stride is 1.
template <typename T, int COUNT>
inline Run<T, COUNT> load_run(device const T *from, long stride, bool close, uint there) {
    constexpr uint BYTES = sizeof(T) * COUNT < 16 ? sizeof(T) * COUNT : 16;
    Run<T, COUNT> run;
    if (close && there >= COUNT) {
        Pack<T, COUNT> pack = load_pack<T, COUNT>(from, misplaced(from, BYTES) == 0, COUNT);
#pragma unroll
        for (uint i = 0; i < COUNT; i++)
            run.at[i] = pack.at(i);
        return run;
    }
#pragma unroll
    for (uint i = 0; i < COUNT; i++)
        run.at[i] = i < there ? from[i * stride] : T(0);
    return run;
}

template <typename T, int COUNT>
inline void store_run(threadgroup T *to, thread const Run<T, COUNT> &run) {
#pragma unroll
    for (uint i = 0; i < COUNT; i++)
        to[i] = run.at[i];
}

// A tile in threadgroup memory lies as its matrix does: row by row, or column by column if `down`.
template <typename T, int ROWS, int COLUMNS> constexpr int tile_room() {
    return ROWS * tile_step<T, COLUMNS>() > COLUMNS * tile_step<T, ROWS>()
               ? ROWS * tile_step<T, COLUMNS>()
               : COLUMNS * tile_step<T, ROWS>();
}

// Numbers from place to place of such a tile: (row to row, column to column).
template <typename T, int ROWS, int COLUMNS> inline uint2 tile_steps(bool down) {
    return down ? uint2(1, tile_step<T, ROWS>()) : uint2(tile_step<T, COLUMNS>(), 1);
}

// Brings tiles of a strided matrix to threadgroup memory, in runs along its closer axis.
template <typename T, int ROWS, int COLUMNS> struct TileLoader {
    device const T *from;
    long pitch;  // elements from line to line (a row, or a column if `down`)
    long stride; // and along a line
    uint line;   // of the thread's first run
    uint along;
    bool down;

    TileLoader(device const T *matrix, long row_stride, long column_stride, bool is_down,
               uint index) {
        down = is_down;
        pitch = down ? column_stride : row_stride;
        stride = down ? row_stride : column_stride;
        line = index / runs();
        along = index % runs() * run_length<T>();
        from = matrix + long(line) * pitch + long(along) * stride;
    }

    uint runs() const { return (down ? ROWS : COLUMNS) / run_length<T>(); }

    // `close`: stride is 1. `whole`: the tile does not stick out.
    void load(threadgroup T *tile, uint rows, uint columns, bool close, bool whole) const {
        constexpr uint COUNT = run_length<T>();
        uint lines = down ? columns : rows, length = down ? rows : columns;
        uint step = down ? tile_step<T, ROWS>() : tile_step<T, COLUMNS>();
        uint left = length > along ? length - along : 0, apart = TILE_THREADS / runs();
        device const T *place = from;
#pragma unroll
        for (uint i = 0; i < ROWS * COLUMNS / (TILE_THREADS * COUNT); i++) {
            uint at = line + i * apart;
            uint there = whole ? COUNT : at < lines ? left : 0;
            store_run<T, COUNT>(tile + at * step + along,
                                load_run<T, COUNT>(place, stride, close, there));
            place += long(apart) * pitch;
        }
    }
};

// The sums of one simdgroup: DOWN x ACROSS fragments.
template <int DOWN, int ACROSS> struct Sums {
    simdgroup_float8x8 part[DOWN][ACROSS];

    void clear() {
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < ACROSS; j++) {
                part[i][j].thread_elements()[0] = 0.0f;
                part[i][j].thread_elements()[1] = 0.0f;
            }
    }
};

// A fragment of a tile of the steps given.
template <typename T>
inline simdgroup_float8x8 load_fragment(threadgroup const T *tile, uint2 steps, uint lane) {
    threadgroup const T *place =
        tile + fragment_row(lane) * steps.x + fragment_column(lane) * steps.y;
    simdgroup_float8x8 out;
    out.thread_elements()[0] = float(place[0]);
    out.thread_elements()[1] = float(place[steps.y]);
    return out;
}

// sums += a (8 DOWN x DEPTH) b (DEPTH x 8 ACROSS), tiles of the steps given.
template <typename A, typename B, int DOWN, int ACROSS, int DEPTH>
inline void multiply_tiles(thread Sums<DOWN, ACROSS> &sums, threadgroup const A *a, uint2 a_steps,
                           threadgroup const B *b, uint2 b_steps, uint lane) {
#pragma unroll
    for (uint k = 0; k < DEPTH; k += 8) {
        simdgroup_float8x8 left[DOWN], right[ACROSS];
#pragma unroll
        for (uint i = 0; i < DOWN; i++)
            left[i] = load_fragment<A>(a + 8 * i * a_steps.x + k * a_steps.y, a_steps, lane);
#pragma unroll
        for (uint j = 0; j < ACROSS; j++)
            right[j] = load_fragment<B>(b + k * b_steps.x + 8 * j * b_steps.y, b_steps, lane);
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < ACROSS; j++)
                simdgroup_multiply_accumulate(sums.part[i][j], left[i], right[j], sums.part[i][j]);
    }
}

#endif
