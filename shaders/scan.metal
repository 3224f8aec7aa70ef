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

#define EACH 4 /* values that a thread of scan_totals and scan_lines takes at a time */

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
    static float say(Pair x) {
        if (OPERATION == OPERATION_LOGSUMEXP)
            return x.high + log(x.low);
        return x.high; /* pairs are balanced */
    }
};

/* Where value i of a line lies. */
inline ulong place(ulong line, ulong i, constant const Lines &p) {
    ulong at = REVERSE ? p.n - 1 - i : i;
    if (p.inner == 1)
        return line * p.n + at;
    ulong outer = line / p.inner;
    return (outer * p.n + at) * p.inner + (line - outer * p.inner);
}

template <typename A>
inline A value_at(const device uchar *x, ulong line, ulong i, constant const Lines &p) {
    typedef typename Chosen<A>::Value V;
    return Chosen<A>::read(Element<V>::load(x, place(line, i, p), uint(DTYPE)));
}

template <typename A>
inline void put(device uchar *out, ulong line, ulong i, constant const Lines &p, A value) {
    typedef typename Chosen<A>::Value V;
    Element<V>::store(out, place(line, i, p), uint(DTYPE), Chosen<A>::say(value));
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
        A mine = Chosen<A>::identity();
        for (uint k = 0; k < EACH; k++) {
            ulong at = i + thread_in_group * EACH + k;
            mine = at < end ? Chosen<A>::join(mine, value_at<A>(x, line, at, p)) : mine;
        }
        A all;
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
    A total = Chosen<A>::identity();
    for (ulong i = begin; i < end; i++)
        total = Chosen<A>::join(total, value_at<A>(x, at.x, i, p));
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
        A values[EACH];
        A mine = Chosen<A>::identity();
        for (uint k = 0; k < EACH; k++) {
            ulong at = i + thread_in_group * EACH + k;
            values[k] = at < end ? value_at<A>(x, line, at, p) : Chosen<A>::identity();
            mine = Chosen<A>::join(mine, values[k]);
        }
        A all;
        A before = block_prefix<Chosen<A>, A>(mine, all, shared, lane, simdgroup, simdgroups);
        before = Chosen<A>::join(carry, before);
        for (uint k = 0; k < EACH; k++) {
            ulong at = i + thread_in_group * EACH + k;
            A upto = Chosen<A>::join(before, values[k]);
            if (at < end)
                put<A>(out, line, at, p, INCLUSIVE ? upto : before);
            before = upto;
        }
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
    for (ulong i = begin; i < end; i++) {
        A upto = Chosen<A>::join(carry, value_at<A>(x, at.x, i, p));
        put<A>(out, at.x, i, p, INCLUSIVE ? upto : carry);
        carry = upto;
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
