// Recurrent cells, a step at a time: the product of the states with the weight, and the gates.
//
// Rules: all arrays are row-major float32; a kernel does one step of a sequence for all of a batch,
// so a sequence is one dispatch a step, forwards or backwards, and each reads what the dispatch
// before it wrote. A threadgroup takes ROWS rows of the batch, which share the weight that it
// reads. What the cells' operands are and what is saved: mlxc/_table/recurrent.py.
#include "mathematics.h"
#include "tiles.h"

constant int CELL [[function_constant(0)]]; // one of the following
constant constexpr int RNN = 0;
constant constexpr int GRU = 1;
constant constexpr int LSTM = 2;

constant constexpr uint GATES = 4; // at most
constant constexpr uint ROWS = 8;  // of a batch

// As `mlxc/_backends/metal/recurrent.py` packs it.
struct Recurrent {
    uint batch, steps, size;
    uint step; // the one to do; backwards: `steps` - 1 to 0, then END
};

constant constexpr uint END = 0xFFFFFFFF;

inline uint gate_count() { return CELL == RNN ? 1 : CELL == GRU ? 3 : 4; }

// Of a (batch, steps, width) array: where a row's numbers of a step start.
inline ulong at_step(constant Recurrent &p, uint row, uint step, uint width) {
    return (ulong(row) * p.steps + step) * width;
}

// What one unit of one row reads and writes.
struct Unit {
    uint row, place;
};

// The gates from the sums of a unit's weights and states; writes what the step gives.
inline void forward_gates(constant Recurrent &p, device const float *x, device const float *other,
                          device float *hiddens, device float *cells, device float *saved,
                          Unit unit, float before, thread const float *sums) {
    uint row = unit.row, j = unit.place, size = p.size;
    x += at_step(p, row, p.step, gate_count() * size) + j;
    saved += at_step(p, row, p.step, 4 * size) + j;
    ulong here = at_step(p, row, p.step, size) + j;
    if (CELL == RNN) {
        hiddens[here] = tanh_f32(x[0] + sums[0]);
    } else if (CELL == GRU) {
        float reset = sigmoid_f32(x[0] + sums[0]), keep = sigmoid_f32(x[size] + sums[1]);
        float inner = sums[2] + other[j], fresh = tanh_f32(x[2 * size] + reset * inner);
        hiddens[here] = (1.0f - keep) * fresh + keep * before;
        saved[0] = reset;
        saved[size] = keep;
        saved[2 * size] = inner;
        saved[3 * size] = fresh;
    } else {
        float in = sigmoid_f32(x[0] + sums[0]), forget = sigmoid_f32(x[size] + sums[1]);
        float fresh = tanh_f32(x[2 * size] + sums[2]), out = sigmoid_f32(x[3 * size] + sums[3]);
        float level = p.step == 0 ? other[ulong(row) * size + j] : cells[here - size];
        level = forget * level + in * fresh;
        cells[here] = level;
        hiddens[here] = out * tanh_f32(level);
        saved[0] = in;
        saved[size] = forget;
        saved[2 * size] = fresh;
        saved[3 * size] = out;
    }
}

// A simdgroup for a unit, its lanes along the states. Threadgroups of four simdgroups: (units,
// rows). `other`: the inner bias (gru) or the first cells (lstm).
[[kernel, max_total_threads_per_threadgroup(128)]] void
recurrent_forward(device const float *x [[buffer(0)]], device const float *weight [[buffer(1)]],
                  device const float *first [[buffer(2)]], device const float *other [[buffer(3)]],
                  device float *hiddens [[buffer(4)]], device float *cells [[buffer(5)]],
                  device float *saved [[buffer(6)]], constant Recurrent &p [[buffer(7)]],
                  uint2 group [[threadgroup_position_in_grid]],
                  uint band [[simdgroup_index_in_threadgroup]],
                  uint lane [[thread_index_in_simdgroup]]) {
    constexpr int NEAR = run_length<float>();
    uint unit = group.x * 4 + band, row = group.y * ROWS, rows = min(ROWS, p.batch - row);
    if (unit >= p.size)
        return;
    bool begun = p.step > 0;
    device const float *states = begun ? hiddens + p.step * ulong(p.size) - p.size : first;
    ulong apart = begun ? ulong(p.steps) * p.size : p.size;
    states += row * apart;
    float own[GATES][ROWS] = {};
    for (uint k = lane * NEAR; k < p.size; k += 32 * NEAR) {
        Run<float, NEAR> known[GATES];
#pragma unroll
        for (uint g = 0; g < GATES; g++)
            if (g < gate_count())
                known[g] = load_run<float, NEAR>(weight + (ulong(g) * p.size + unit) * p.size + k,
                                                 1, true, p.size - k);
#pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            if (r >= rows)
                break;
            Run<float, NEAR> state =
                load_run<float, NEAR>(states + r * apart + k, 1, true, p.size - k);
#pragma unroll
            for (uint g = 0; g < GATES; g++)
                if (g < gate_count())
#pragma unroll
                    for (uint j = 0; j < NEAR; j++)
                        own[g][r] += known[g].at[j] * state.at[j];
        }
    }
    float sums[GATES] = {};
#pragma unroll
    for (uint r = 0; r < ROWS; r++) {
        if (r >= rows)
            break;
#pragma unroll
        for (uint g = 0; g < GATES; g++) {
            float sum = simd_sum(own[g][r]);
            sums[g] = lane == r ? sum : sums[g];
        }
    }
    if (lane >= rows)
        return;
    Unit mine = {row + lane, unit};
    forward_gates(p, x, other, hiddens, cells, saved, mine, states[lane * apart + unit], sums);
}

// Cotangents of one unit's gates from the state's; what is left for the step before.
inline void backward_gates(constant Recurrent &p, device const float *ct_cells,
                           device const float *first, device const float *states,
                           device const float *saved, device float *back, device float *ct_hidden,
                           device float *ct_cell, Unit unit, float ct) {
    uint j = unit.place, size = p.size;
    ulong here = at_step(p, unit.row, p.step, size) + j, alone = ulong(unit.row) * size + j;
    if (CELL == RNN) {
        back[here] = ct * (1.0f - states[here] * states[here]);
        return;
    }
    ulong gates = at_step(p, unit.row, p.step, 4 * size) + j;
    saved += gates;
    back += gates;
    float before = p.step == 0 ? first[alone] : states[here - size];
    if (CELL == GRU) {
        float reset = saved[0], keep = saved[size], inner = saved[2 * size];
        float fresh = saved[3 * size], d_fresh = ct * (1.0f - keep) * (1.0f - fresh * fresh);
        back[0] = d_fresh * inner * reset * (1.0f - reset);
        back[size] = ct * (before - fresh) * keep * (1.0f - keep);
        back[2 * size] = d_fresh * reset;
        back[3 * size] = d_fresh;
        ct_hidden[alone] = ct * keep;
        return;
    }
    float in = saved[0], forget = saved[size], fresh = saved[2 * size], out = saved[3 * size];
    float level = tanh_f32(states[here]);
    float d_cell = ct_cells[here] + ct * out * (1.0f - level * level);
    d_cell += p.step + 1 < p.steps ? ct_cell[alone] : 0.0f;
    back[0] = d_cell * fresh * in * (1.0f - in);
    back[size] = d_cell * before * forget * (1.0f - forget);
    back[2 * size] = d_cell * in * (1.0f - fresh * fresh);
    back[3 * size] = ct * level * out * (1.0f - out);
    ct_cell[alone] = d_cell * forget;
}

// A lane for a unit, simdgroups along the gates. Threadgroups of ROWS simdgroups: (units, rows).
// `states`: hidden states, or cells (lstm); `first`: those before them. Where the state's cotangent
// does not come through the weight alone (gru), `ct_hidden` carries the rest from step to step.
[[kernel, max_total_threads_per_threadgroup(256)]] void recurrent_backward(
    device const float *cts [[buffer(0)]], device const float *ct_cells [[buffer(1)]],
    device const float *weight [[buffer(2)]], device const float *first [[buffer(3)]],
    device const float *states [[buffer(4)]], device const float *saved [[buffer(5)]],
    device float *back [[buffer(6)]], device float *ct_hidden [[buffer(7)]],
    device float *ct_cell [[buffer(8)]], constant Recurrent &p [[buffer(9)]],
    uint2 group [[threadgroup_position_in_grid]], uint slice [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
    threadgroup float shared[ROWS * ROWS * 32];
    uint unit = group.x * 32 + lane, row = group.y * ROWS, rows = min(ROWS, p.batch - row);
    uint width = CELL == RNN ? p.size : 4 * p.size, terms = gate_count() * p.size;
    uint later = p.step + 1; // 0 after the END
    bool last = later == p.steps;
    device const float *turned = back + at_step(p, row, later, width);
    ulong apart = ulong(p.steps) * width;
    float own[ROWS] = {};
    for (uint k = slice; k < terms && !last; k += ROWS) {
        float known = weight[ulong(k) * p.size + min(unit, p.size - 1)];
#pragma unroll
        for (uint r = 0; r < ROWS; r++)
            if (r < rows)
                own[r] += turned[r * apart + k] * known;
    }
#pragma unroll
    for (uint r = 0; r < ROWS; r++)
        shared[(slice * ROWS + r) * 32 + lane] = own[r];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (slice >= rows || unit >= p.size)
        return;
    Unit mine = {row + slice, unit};
    ulong alone = ulong(mine.row) * p.size + unit;
    float ct = CELL == GRU && !last ? ct_hidden[alone] : 0.0f;
    for (uint i = 0; i < ROWS; i++)
        ct += shared[(i * ROWS + slice) * 32 + lane];
    if (p.step == END) {
        ct_hidden[alone] = ct;
        return;
    }
    ct += cts[at_step(p, mine.row, p.step, p.size) + unit];
    backward_gates(p, ct_cells, first, states, saved, back, ct_hidden, ct_cell, mine, ct);
}
