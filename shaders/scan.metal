/* Scans of outer x n x inner values along n, in the direction that REVERSE says.
 *
 * Long lines are cut in parts: `scan_totals` joins each part, `scan_offsets` turns the totals of a
 * line into what comes before each part, and `scan_lines` or `scan_columns` scan the parts from
 * there. Lines that lie close (inner = 1) are scanned by threadgroups, columns by threads.
 *
 * One kernel a type of arithmetic: function constants tell the operation and the dtype in memory.
 */
#include "reduce.h"

constant int OPERATION [[function_constant(0)]]; /* of reduce.h, or one more */
constant int DTYPE [[function_constant(1)]];
constant bool REVERSE [[function_constant(2)]];
constant bool INCLUSIVE [[function_constant(3)]];
constant bool PARTS [[function_constant(4)]]; /* whether parts start from offsets */

/* As mlxc/_backends/metal/scan.py packs it ("<QQQQ"). */
struct Lines {
    ulong n;
    ulong inner;
    ulong part; /* values of a part */
    ulong parts;
};

#define EACH 8 /* values that a thread takes at a time */

#define OPERATION_LOGSUMEXP 4 /* beside those of reduce.h */

/* Integers start from the ends of their own range, not of that of the arithmetic. */
template <typename A> inline A first_value() { return identity_of<A>(OPERATION); }
template <> inline int first_value<int>() {
    if (OPERATION < OPERATION_MAXIMUM || DTYPE == int(DTYPE_INT32))
        return identity_of<int>(OPERATION);
    bool lowest = OPERATION == OPERATION_MAXIMUM;
    switch (uint(DTYPE)) {
    case DTYPE_BOOL:
        return lowest ? 0 : 1;
    case DTYPE_UINT8:
        return lowest ? 0 : 255;
    case DTYPE_INT8:
        return lowest ? -128 : 127;
    case DTYPE_UINT16:
        return lowest ? 0 : 65535;
    default:
        return lowest ? -32768 : 32767;
    }
}

/* The operation that OPERATION names, on what values are read as and results are said from. */
template <typename A> struct Chosen {
    typedef A Value;
    static A identity() { return first_value<A>(); }
    static A join(A x, A y) { return joined_by<A>(OPERATION, x, y); }
    static A append(A x, A next) { return join(x, next); } /* a few times, then settled */
    static A settled(A x) { return x; }
    static A read(A x) { return x; }
    static A say(A x) { return x; }
};

/* A float as a sum of two, so that a scan of millions of values keeps its digits; for logarithms of
 * sums of exponentials the largest value, and the sum of exp(value - largest). */
struct Pair {
    float high;
    float low;
};

template <> inline Pair shuffle_up<Pair>(Pair v, ushort delta) {
    Pair out = {simd_shuffle_up(v.high, delta), simd_shuffle_up(v.low, delta)};
    return out;
}

/* high + low, of which low is small or nothing. */
inline Pair balanced(float high, float low) {
    low = fabs(high) < INFINITY ? low : 0.0f;
    float sum = low == 0.0f ? high : high + low;
    Pair out = {sum, fabs(sum) < INFINITY ? low - (sum - high) : 0.0f};
    return out;
}

inline Pair add_pairs(Pair x, Pair y) {
    float sum = x.high + y.high, back = sum - x.high;
    float lost = (x.high - (sum - back)) + (y.high - back);
    return balanced(sum, lost + (x.low + y.low));
}

inline Pair multiply_pairs(Pair x, Pair y) {
    float product = x.high * y.high, lost = fma(x.high, y.high, -product);
    return balanced(product, lost + (x.high * y.low + x.low * y.high));
}

inline Pair add_exponentials(Pair x, Pair y) {
    float top = x.high > y.high ? x.high : y.high;
    top = x.high != x.high || y.high != y.high ? NAN : top;
    float left = x.high == top ? x.low : x.low * exp(x.high - top);
    float right = y.high == top ? y.low : y.low * exp(y.high - top);
    Pair out = {top, left + right};
    return out;
}

template <> struct Chosen<Pair> {
    typedef float Value;
    static Pair identity() {
        bool logarithm = OPERATION == OPERATION_LOGSUMEXP;
        Pair out = {identity_of<float>(logarithm ? OPERATION_MAXIMUM : OPERATION), 0.0f};
        return out;
    }
    static Pair read(float x) {
        Pair out = {x, 0.0f};
        if (OPERATION == OPERATION_LOGSUMEXP)
            out.low = x > -INFINITY ? 1.0f : x == x ? 0.0f : x;
        return out;
    }
    static Pair join(Pair x, Pair y) {
        switch (OPERATION) {
        case OPERATION_SUM:
            return add_pairs(x, y);
        case OPERATION_PRODUCT:
            return multiply_pairs(x, y);
        case OPERATION_LOGSUMEXP:
            return add_exponentials(x, y);
        }
        Pair out = {joined_by<float>(OPERATION, x.high, y.high), 0.0f};
        return out;
    }
    static Pair append(Pair x, float next) {
        if (OPERATION != OPERATION_SUM)
            return join(x, read(next));
        add_kept(x.high, x.low, next);
        return x;
    }
    static Pair settled(Pair x) { return OPERATION == OPERATION_SUM ? balanced(x.high, x.low) : x; }
    static float say(Pair x) {
        if (OPERATION == OPERATION_LOGSUMEXP)
            return x.high + log(x.low);
        return OPERATION == OPERATION_SUM ? sum_kept(x.high, x.low) : x.high;
    }
};

/* EACH values that follow each other in memory, in packs of 16 bytes where they begin at one. */
template <typename T, typename V>
inline void load_as(const device uchar *x, ulong at, thread V *values) {
    constexpr uint N = 16 / sizeof(T);
    bool whole = misplaced(x, 16) == 0 && at % N == 0;
    Pack<T, EACH> pack = load_pack<T, EACH>((const device T *)x + at, whole, EACH);
#pragma unroll
    for (uint k = 0; k < EACH; k++)
        values[k] = V(pack.at(k));
}

template <typename T, typename V>
inline void store_as(device uchar *out, ulong at, thread const V *values) {
    constexpr uint N = 16 / sizeof(T);
    Pack<T, EACH> pack;
#pragma unroll
    for (uint k = 0; k < EACH; k++)
        pack.set(k, T(values[k]));
    if (misplaced(out, 16) == 0 && at % N == 0)
        store_pack<T, EACH>((device T *)((device uint4 *)out + at / N), pack, true, EACH);
    else
        store_pack<T, EACH>((device T *)out + at, pack, false, EACH);
}

template <typename V> inline void load_run(const device uchar *x, ulong at, thread V *values) {
#pragma unroll
    for (uint k = 0; k < EACH; k++)
        values[k] = Element<V>::load(x, at + k, uint(DTYPE));
}
template <typename V> inline void store_run(device uchar *out, ulong at, thread const V *values) {
#pragma unroll
    for (uint k = 0; k < EACH; k++)
        Element<V>::store(out, at + k, uint(DTYPE), values[k]);
}
template <> inline void load_run<uint>(const device uchar *x, ulong at, thread uint *values) {
    load_as<uint, uint>(x, at, values);
}
template <> inline void store_run<uint>(device uchar *out, ulong at, thread const uint *values) {
    store_as<uint, uint>(out, at, values);
}
template <> inline void load_run<float>(const device uchar *x, ulong at, thread float *values) {
    if (DTYPE == int(DTYPE_FLOAT16))
        load_as<half, float>(x, at, values);
    else if (DTYPE == int(DTYPE_BFLOAT16))
        load_as<bfloat, float>(x, at, values);
    else
        load_as<float, float>(x, at, values);
}
template <> inline void store_run<float>(device uchar *out, ulong at, thread const float *values) {
    if (DTYPE == int(DTYPE_FLOAT16))
        store_as<half, float>(out, at, values);
    else if (DTYPE == int(DTYPE_BFLOAT16))
        store_as<bfloat, float>(out, at, values);
    else
        store_as<float, float>(out, at, values);
}

/* Where the EACH values of a line from i on lie, the first in memory; inner is 1. */
inline ulong run_of(ulong line, ulong i, constant const Lines &p) {
    return line * p.n + (REVERSE ? p.n - EACH - i : i);
}

inline uint in_run(uint k) { return REVERSE ? EACH - 1 - k : k; }

/* EACH values of a run, of which `there` are before their part's end. */
template <typename V>
inline void read_line(const device uchar *x, ulong run, uint there, thread V *values) {
    V found[EACH];
    if (there < EACH) {
#pragma unroll
        for (uint k = 0; k < EACH; k++)
            found[in_run(k)] = k < there ? Element<V>::load(x, run + in_run(k), uint(DTYPE)) : V(0);
    } else
        load_run<V>(x, run, found);
#pragma unroll
    for (uint k = 0; k < EACH; k++)
        values[k] = found[in_run(k)];
}

template <typename V>
inline void write_line(device uchar *out, ulong run, uint there, thread const V *values) {
    if (there < EACH) {
#pragma unroll
        for (uint k = 0; k < EACH; k++)
            if (k < there)
                Element<V>::store(out, run + in_run(k), uint(DTYPE), values[k]);
        return;
    }
    V given[EACH];
#pragma unroll
    for (uint k = 0; k < EACH; k++)
        given[in_run(k)] = values[k];
    store_run<V>(out, run, given);
}

/* The join of the first `there` of EACH values. */
template <typename A>
inline A joined_values(thread const typename Chosen<A>::Value *values, uint there) {
    A mine = Chosen<A>::identity();
#pragma unroll
    for (uint k = 0; k < EACH; k++)
        mine = k < there ? Chosen<A>::append(mine, values[k]) : mine;
    return Chosen<A>::settled(mine);
}

inline uint values_there(ulong i, ulong end) {
    return i < end ? uint(min(end - i, ulong(EACH))) : 0;
}

/* EACH values down a column, before `end`. */
template <typename V>
inline void read_column(const device uchar *x, ulong start, ulong i, uint there,
                        constant const Lines &p, thread V *values) {
#pragma unroll
    for (uint k = 0; k < EACH; k++)
        if (k < there) {
            ulong at = REVERSE ? p.n - 1 - i - k : i + k;
            values[k] = Element<V>::load(x, start + at * p.inner, uint(DTYPE));
        }
}

/* Where the first value of a column lies. */
inline ulong column_start(ulong column, constant const Lines &p) {
    ulong outer = column / p.inner;
    return outer * p.n * p.inner + (column - outer * p.inner);
}

/* A threadgroup joins one part of one line; parts of a line follow each other. Threadgroups are as
 * large as a line needs, up to 256 threads. */
template <typename A>
[[kernel]] void scan_totals(const device uchar *x [[buffer(0)]], device A *totals [[buffer(1)]],
                            constant const Lines &p [[buffer(2)]],
                            uint group [[threadgroup_position_in_grid]],
                            uint thread_in_group [[thread_index_in_threadgroup]],
                            uint lane [[thread_index_in_simdgroup]],
                            uint simdgroup [[simdgroup_index_in_threadgroup]],
                            uint simdgroups [[simdgroups_per_threadgroup]]) {
    threadgroup A shared[33];
    ulong line = group / p.parts, begin = (group - line * p.parts) * p.part;
    ulong end = min(begin + p.part, p.n);
    A total = Chosen<A>::identity();
    for (ulong i = begin; i < end; i += simdgroups * 32 * EACH) {
        typename Chosen<A>::Value values[EACH];
        ulong at = i + thread_in_group * EACH;
        ulong run = run_of(line, at, p);
        uint there = values_there(at, end);
        read_line(x, run, there, values);
        A mine = joined_values<A>(values, there), all;
        block_prefix<Chosen<A>, A>(mine, all, shared, lane, simdgroup, simdgroups);
        total = Chosen<A>::join(total, all);
    }
    if (thread_in_group == 0)
        totals[group] = total;
}

/* A thread joins one part of one column; the grid is (columns, parts). */
template <typename A>
[[kernel]] void
scan_column_totals(const device uchar *x [[buffer(0)]], device A *totals [[buffer(1)]],
                   constant const Lines &p [[buffer(2)]], uint2 at [[thread_position_in_grid]]) {
    ulong begin = at.y * p.part, end = min(begin + p.part, p.n);
    ulong start = column_start(at.x, p);
    A total = Chosen<A>::identity();
    for (ulong i = begin; i < end; i += EACH) {
        typename Chosen<A>::Value values[EACH];
        uint there = values_there(i, end);
        read_column(x, start, i, there, p, values);
        total = Chosen<A>::join(total, joined_values<A>(values, there));
    }
    totals[at.x * p.parts + at.y] = total;
}

/* The totals of a line's parts become what comes before each; one simdgroup a line. */
template <typename A>
[[kernel]] void scan_offsets(device A *totals [[buffer(0)]], constant const Lines &p [[buffer(1)]],
                             uint line [[threadgroup_position_in_grid]],
                             uint lane [[thread_index_in_simdgroup]]) {
    threadgroup A last[1];
    A carry = Chosen<A>::identity();
    for (ulong i = 0; i < p.parts; i += 32) {
        bool inside = i + lane < p.parts;
        A mine = Chosen<A>::identity();
        if (inside)
            mine = totals[line * p.parts + i + lane];
        A upto = simd_prefix<Chosen<A>, A>(mine, lane);
        A before = shuffle_up<A>(upto, 1);
        before = lane == 0 ? Chosen<A>::identity() : before;
        if (inside)
            totals[line * p.parts + i + lane] = Chosen<A>::join(carry, before);
        if (lane == 31)
            last[0] = upto;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        carry = Chosen<A>::join(carry, last[0]);
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
}

/* A threadgroup scans one part of one line. */
template <typename A>
[[kernel]] void scan_lines(const device uchar *x [[buffer(0)]], device uchar *out [[buffer(1)]],
                           constant const Lines &p [[buffer(2)]],
                           const device A *offsets [[buffer(3)]],
                           uint group [[threadgroup_position_in_grid]],
                           uint thread_in_group [[thread_index_in_threadgroup]],
                           uint lane [[thread_index_in_simdgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]],
                           uint simdgroups [[simdgroups_per_threadgroup]]) {
    threadgroup A shared[33];
    ulong line = group / p.parts, begin = (group - line * p.parts) * p.part;
    ulong end = min(begin + p.part, p.n);
    A carry = Chosen<A>::identity();
    if (PARTS)
        carry = offsets[group];
    for (ulong i = begin; i < end; i += simdgroups * 32 * EACH) {
        typename Chosen<A>::Value values[EACH];
        ulong at = i + thread_in_group * EACH;
        ulong run = run_of(line, at, p);
        uint there = values_there(at, end);
        read_line(x, run, there, values);
        A mine = joined_values<A>(values, there), all;
        A before = block_prefix<Chosen<A>, A>(mine, all, shared, lane, simdgroup, simdgroups);
        before = Chosen<A>::join(carry, before);
#pragma unroll
        for (uint k = 0; k < EACH; k++) {
            A upto = Chosen<A>::append(before, values[k]);
            values[k] = Chosen<A>::say(INCLUSIVE ? upto : before);
            before = upto;
        }
        write_line(out, run, there, values);
        carry = Chosen<A>::join(carry, all);
    }
}

/* A thread scans one part of one column; the grid is (columns, parts). */
template <typename A>
[[kernel]] void scan_columns(const device uchar *x [[buffer(0)]], device uchar *out [[buffer(1)]],
                             constant const Lines &p [[buffer(2)]],
                             const device A *offsets [[buffer(3)]],
                             uint2 at [[thread_position_in_grid]]) {
    ulong begin = at.y * p.part, end = min(begin + p.part, p.n);
    A carry = Chosen<A>::identity();
    if (PARTS)
        carry = offsets[at.x * p.parts + at.y];
    typedef typename Chosen<A>::Value V;
    ulong start = column_start(at.x, p);
    for (ulong i = begin; i < end; i += EACH) {
        V values[EACH];
        uint there = values_there(i, end);
        read_column(x, start, i, there, p, values);
#pragma unroll
        for (uint k = 0; k < EACH; k++)
            if (k < there) {
                A upto = Chosen<A>::append(carry, values[k]);
                ulong to = start + (REVERSE ? p.n - 1 - i - k : i + k) * p.inner;
                Element<V>::store(out, to, uint(DTYPE), Chosen<A>::say(INCLUSIVE ? upto : carry));
                carry = upto;
            }
        carry = Chosen<A>::settled(carry);
    }
}

#define SCANS(name, A)                                                                             \
    template                                                                                       \
        [[host_name("scan_totals_" name)]] [[kernel]] decltype(scan_totals<A>) scan_totals<A>;     \
    template [[host_name("scan_column_totals_" name)]] [[kernel]] decltype(scan_column_totals<A>)  \
        scan_column_totals<A>;                                                                     \
    template                                                                                       \
        [[host_name("scan_offsets_" name)]] [[kernel]] decltype(scan_offsets<A>) scan_offsets<A>;  \
    template [[host_name("scan_lines_" name)]] [[kernel]] decltype(scan_lines<A>) scan_lines<A>;   \
    template                                                                                       \
        [[host_name("scan_columns_" name)]] [[kernel]] decltype(scan_columns<A>) scan_columns<A>;
SCANS("i32", int)
SCANS("u32", uint)
SCANS("i64", long)
SCANS("u64", ulong)
SCANS("f32", Pair)
SCANS("c64", complex64)
