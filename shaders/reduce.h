/* Reductions and prefixes over simdgroups and threadgroups, for reduction rows and scans.
 *
 * Rules:
 *   - an operation is a type with `identity()` and `join(earlier, later)`; NaN wins in Maximum and
 *     Minimum, and the earlier of equal values stays;
 *   - simdgroups are 32 wide and full: threadgroups are multiples of 32 threads, and every thread
 *     calls;
 *   - joining happens in a fixed tree: results do not depend on scheduling;
 *   - every function that takes shared memory ends with a barrier, so that it can be used again.
 */
#ifndef MLXC_REDUCE_H
#define MLXC_REDUCE_H

#include "complex.h"

/* ---- shuffles of every type of arithmetic: MSL has them for 32 bits ---- */

template <typename T> inline T shuffle_xor(T v, ushort mask) { return simd_shuffle_xor(v, mask); }
template <> inline bool shuffle_xor<bool>(bool v, ushort mask) {
    return simd_shuffle_xor(uint(v), mask) != 0;
}
template <> inline long shuffle_xor<long>(long v, ushort mask) {
    return as_type<long>(simd_shuffle_xor(as_type<uint2>(v), mask));
}
template <> inline ulong shuffle_xor<ulong>(ulong v, ushort mask) {
    return as_type<ulong>(simd_shuffle_xor(as_type<uint2>(v), mask));
}

template <typename T> inline T shuffle_up(T v, ushort delta) { return simd_shuffle_up(v, delta); }
template <> inline bool shuffle_up<bool>(bool v, ushort delta) {
    return simd_shuffle_up(uint(v), delta) != 0;
}
template <> inline long shuffle_up<long>(long v, ushort delta) {
    return as_type<long>(simd_shuffle_up(as_type<uint2>(v), delta));
}
template <> inline ulong shuffle_up<ulong>(ulong v, ushort delta) {
    return as_type<ulong>(simd_shuffle_up(as_type<uint2>(v), delta));
}

/* ---- operations ---- */

template <typename T> struct Limits;
template <> struct Limits<bool> {
    static bool lowest() { return false; }
    static bool highest() { return true; }
};
template <> struct Limits<int> {
    static int lowest() { return int(0x80000000u); }
    static int highest() { return 0x7FFFFFFF; }
};
template <> struct Limits<uint> {
    static uint lowest() { return 0u; }
    static uint highest() { return 0xFFFFFFFFu; }
};
template <> struct Limits<long> {
    static long lowest() { return long(0x8000000000000000UL); }
    static long highest() { return 0x7FFFFFFFFFFFFFFFL; }
};
template <> struct Limits<ulong> {
    static ulong lowest() { return 0UL; }
    static ulong highest() { return 0xFFFFFFFFFFFFFFFFUL; }
};
template <> struct Limits<float> {
    static float lowest() { return -INFINITY; }
    static float highest() { return INFINITY; }
};
template <> struct Limits<complex64> {
    static complex64 lowest() { return complex64(-INFINITY, -INFINITY); }
    static complex64 highest() { return complex64(INFINITY, INFINITY); }
};

/* Order in which NaN differs from itself, of real and complex numbers. */
template <typename T> inline bool is_nan(T x) { return x != x; }
template <> inline bool is_nan<complex64>(complex64 x) { return isnan_c64(x); }
template <typename T> inline bool is_less(T x, T y) { return x < y; }
template <> inline bool is_less<complex64>(complex64 x, complex64 y) { return less_c64(x, y); }

template <typename T> struct Sum {
    static T identity() { return T(0); }
    static T join(T x, T y) { return wrapping_add<T>(x, y); }
};
template <> struct Sum<float> {
    static float identity() { return 0.0f; }
    static float join(float x, float y) { return x + y; }
};
template <> struct Sum<complex64> {
    static complex64 identity() { return complex64(0.0f, 0.0f); }
    static complex64 join(complex64 x, complex64 y) { return add_c64(x, y); }
};

template <typename T> struct Product {
    static T identity() { return T(1); }
    static T join(T x, T y) { return wrapping_multiply<T>(x, y); }
};
template <> struct Product<float> {
    static float identity() { return 1.0f; }
    static float join(float x, float y) { return x * y; }
};
template <> struct Product<complex64> {
    static complex64 identity() { return complex64(1.0f, 0.0f); }
    static complex64 join(complex64 x, complex64 y) { return multiply_c64(x, y); }
};

/* Without branches, so that reads of what is compared do not wait for each other. Where x is NaN,
 * nothing is greater or less than it. */
template <typename T> struct Maximum {
    static T identity() { return Limits<T>::lowest(); }
    static T join(T x, T y) { return (!is_nan<T>(x) & (is_less<T>(x, y) | is_nan<T>(y))) ? y : x; }
};

template <> struct Maximum<float> {
    static float identity() { return -INFINITY; }
    static float join(float x, float y) { return ((x < y) | (y != y)) ? y : x; }
};

template <typename T> struct Minimum {
    static T identity() { return Limits<T>::highest(); }
    static T join(T x, T y) { return (!is_nan<T>(x) & (is_less<T>(y, x) | is_nan<T>(y))) ? y : x; }
};

template <> struct Minimum<float> {
    static float identity() { return INFINITY; }
    static float join(float x, float y) { return ((y < x) | (y != y)) ? y : x; }
};

template <typename T> struct All {
    static T identity() { return T(1); }
    static T join(T x, T y) { return T(x & y); }
};

template <typename T> struct Any {
    static T identity() { return T(0); }
    static T join(T x, T y) { return T(x | y); }
};

/* ---- many values, one after the other ---- */

/* What one thread joins where there are few. */
template <typename Op, typename T> struct Joining {
    T value;

    Joining() : value(Op::identity()) {}
    void add(T next) { value = Op::join(value, next); }
    T total() const { return value; }
};

/* What one thread joins. Sums of floats keep what rounding takes from them (Neumaier, 1974), so
 * that a thread may add thousands; products of floats are left as they are. */
template <typename Op, typename T> struct Running : Joining<Op, T> {};

inline void add_kept(thread float &sum, thread float &lost, float next) {
    float total = sum + next, back = total - sum;
    lost += (sum - (total - back)) + (next - back);
    sum = total;
}

/* Infinite sums lose NaN, which is nothing. */
inline float sum_kept(float sum, float lost) { return fabs(sum) < INFINITY ? sum + lost : sum; }

template <> struct Running<Sum<float>, float> {
    float sum;
    float lost;

    Running() : sum(0.0f), lost(0.0f) {}
    void add(float next) { add_kept(sum, lost, next); }
    float total() const { return sum_kept(sum, lost); }
};

template <> struct Running<Sum<complex64>, complex64> {
    float re;
    float im;
    float re_lost;
    float im_lost;

    Running() : re(0.0f), im(0.0f), re_lost(0.0f), im_lost(0.0f) {}
    void add(complex64 next) {
        add_kept(re, re_lost, next.x);
        add_kept(im, im_lost, next.y);
    }
    complex64 total() const { return complex64(sum_kept(re, re_lost), sum_kept(im, im_lost)); }
};

/* The operation that a number names, for kernels that a constant tells it. */
#define OPERATION_SUM 0
#define OPERATION_PRODUCT 1
#define OPERATION_MAXIMUM 2
#define OPERATION_MINIMUM 3

template <typename T> inline T identity_of(int operation) {
    switch (operation) {
    case OPERATION_SUM:
        return Sum<T>::identity();
    case OPERATION_PRODUCT:
        return Product<T>::identity();
    case OPERATION_MAXIMUM:
        return Maximum<T>::identity();
    default:
        return Minimum<T>::identity();
    }
}

template <typename T> inline T joined_by(int operation, T x, T y) {
    switch (operation) {
    case OPERATION_SUM:
        return Sum<T>::join(x, y);
    case OPERATION_PRODUCT:
        return Product<T>::join(x, y);
    case OPERATION_MAXIMUM:
        return Maximum<T>::join(x, y);
    default:
        return Minimum<T>::join(x, y);
    }
}

/* ---- one value from all ---- */

/* The join over the simdgroup, in every lane. */
template <typename Op, typename T> inline T simd_reduce(T value) {
    for (ushort mask = 16; mask > 0; mask >>= 1)
        value = Op::join(value, shuffle_xor<T>(value, mask));
    return value;
}

/* The join over the threadgroup, in every thread. `shared` holds 32 values. */
template <typename Op, typename T>
inline T block_reduce(T value, threadgroup T *shared, uint lane, uint simdgroup, uint simdgroups) {
    value = simd_reduce<Op, T>(value);
    if (simdgroups == 1)
        return value;
    if (lane == 0)
        shared[simdgroup] = value;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    value = Op::identity();
    if (lane < simdgroups)
        value = shared[lane];
    value = simd_reduce<Op, T>(value);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    return value;
}

/* ---- all prefixes ---- */

/* The join of this lane's value and those of all lanes before. */
template <typename Op, typename T> inline T simd_prefix(T value, uint lane) {
    for (ushort delta = 1; delta < 32; delta <<= 1) {
        T before = shuffle_up<T>(value, delta);
        value = lane >= delta ? Op::join(before, value) : value;
    }
    return value;
}

/* The join of the values of all threads before this one; `total` becomes that of all. `shared`
 * holds 33 values. */
template <typename Op, typename T>
inline T block_prefix(T value, thread T &total, threadgroup T *shared, uint lane, uint simdgroup,
                      uint simdgroups) {
    T upto = simd_prefix<Op, T>(value, lane);
    T before = shuffle_up<T>(upto, 1);
    before = lane == 0 ? Op::identity() : before;
    if (lane == 31)
        shared[simdgroup] = upto;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simdgroup == 0) {
        T part = Op::identity();
        if (lane < simdgroups)
            part = shared[lane];
        part = simd_prefix<Op, T>(part, lane);
        simdgroup_barrier(mem_flags::mem_threadgroup); /* all lanes have read */
        shared[lane + 1] = part;
        if (lane == 0)
            shared[0] = Op::identity();
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    before = Op::join(shared[simdgroup], before);
    total = shared[simdgroups];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    return before;
}

#endif
