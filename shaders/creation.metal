/* Arithmetic ranges: the numbers start, start + step, ...
 *
 * Integers are computed modulo 2**64 and keep their low bytes. float32 numbers are rounded once,
 * from sums of floats that hold start, step and the counter exactly, as far as 2**48.
 */
#include "common.h"

#define EACH 4

/* As mlxc/_backends/metal/creation.py packs it ("<QQQI4x"). */
struct Integers {
    ulong n;
    ulong start;
    ulong step;
    uint threads;
};

/* ("<QI3f3f4x"): start and step are the sums of their parts. */
struct Reals {
    ulong n;
    uint threads;
    float start[3];
    float step[3];
};

template <typename T>
[[kernel]] void range_integers(device T *out [[buffer(0)]],
                               constant const Integers &p [[buffer(1)]],
                               uint i [[thread_position_in_grid]]) {
    for (ulong k = i; k < p.n; k += p.threads)
        out[k] = T(p.start + k * p.step);
}

/* sum += term, what rounding takes from it going to the lower part. */
inline void add_term(thread float2 &sum, float term) {
    float high = sum.x + term, back = high - sum.x;
    sum.y += (sum.x - (high - back)) + (term - back);
    sum.x = high;
}

inline void add_product(thread float2 &sum, float a, float b) {
    float high = a * b;
    add_term(sum, high);
    add_term(sum, fma(a, b, -high));
}

kernel void range_float32(device float *out [[buffer(0)]], constant const Reals &p [[buffer(1)]],
                          uint i [[thread_position_in_grid]]) {
    for (ulong k = i; k < p.n; k += p.threads) {
        float high = float(k >> 24) * 16777216.0f, low = float(uint(k) & 0xFFFFFFu);
        float2 sum = float2(p.start[0], 0.0f);
        for (uint part = 0; part < 3; part++) {
            add_product(sum, high, p.step[part]);
            add_product(sum, low, p.step[part]);
        }
        add_term(sum, p.start[1]);
        add_term(sum, p.start[2]);
        out[k] = sum.x + sum.y;
    }
}

#define RANGES(name, T)                                                                            \
    template [[host_name(name)]] [[kernel]] decltype(range_integers<T>) range_integers<T>;
RANGES("range_1", uchar)
RANGES("range_2", ushort)
RANGES("range_4", uint)
RANGES("range_8", ulong)
