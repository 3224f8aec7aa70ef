/* Reading and writing elements by index.
 *
 * Rules:
 *   - the launcher groups axes: leading ones, those of the indices, trailing ones; `sizes` and
 *     strides (in elements) hold the groups one after the other;
 *   - an index that is out of range is reported, and the nearest one taken in its place: no memory
 *     beyond an array is touched;
 *   - writing is deterministic: destinations are sorted (stably, sort.metal), and whoever stands at
 *     the first of equal ones folds them all, in the order of the indices. "none" keeps the last.
 */
#include "reduce.h"

constant int DTYPE [[function_constant(0)]]; /* of the elements */
constant int INDEX_DTYPE [[function_constant(1)]];
constant int MODE [[function_constant(2)]];    /* MODE_NONE or an operation */
constant bool DIRECT [[function_constant(3)]]; /* one index array, read where it is used */
constant bool FLAT [[function_constant(4)]];   /* indices and trailing axes are one axis */
constant bool FIRST [[function_constant(5)]];  /* of several index arrays */
constant int LONG [[function_constant(6)]];    /* how long the trailing axes are, see below */

#define SHORT_TAIL 0
#define LONG_TAIL 1  /* they are one long axis */
#define CLOSE_TAIL 2 /* of neighbours, which fill packs of 16 bytes */
#define EACH 4       /* positions, or packs, that a thread of gather takes of a long axis */

/* As mlxc/_backends/metal/indexing.py packs it ("<QQQqqIIIIII"). */
struct Selection {
    ulong leads;   /* positions of the leading axes */
    ulong indices; /* of one index array */
    ulong tail;    /* positions of the trailing axes */
    long size;     /* of the indexed axis, where there is one */
    long step;     /* its stride; for keys 1 */
    uint lead_axes;
    uint index_axes;
    uint tail_axes;
    uint key_axes; /* indexed axes, behind the trailing ones in `sizes` (writing) */
    uint row;      /* for reports */
    uint axis;     /* of the index array */
};

inline ulong row_of(uint3 at, uint3 grid) { return ulong(at.z) * grid.y + at.y; }

/* The index at a place of an index array, or the nearest one that is in range: then a report is
 * made. */
inline long index_at(const device uchar *indices, long at, device atomic_uint *faults,
                     constant const Selection &p) {
    long index = load_index(indices, at, uint(INDEX_DTYPE), p.size);
    if (index >= 0 && index < p.size)
        return index;
    report_index(faults, p.row, p.axis, uint(INDEX_DTYPE), index, p.size);
    return index < 0 ? 0 : p.size - 1;
}

/* ---- where indices point ---- */

/* A thread an index: adds an index array's part to the positions. */
kernel void
index_positions(const device uchar *index [[buffer(0)]], device long *positions [[buffer(1)]],
                constant const Selection &p [[buffer(2)]], constant const uint *sizes [[buffer(3)]],
                constant const long *strides [[buffer(4)]],
                device atomic_uint *faults [[buffer(5)]], uint i [[thread_position_in_grid]]) {
    long at = strided_offset(i, p.index_axes, sizes, strides);
    long v = index_at(index, at, faults, p) * p.step;
    positions[i] = FIRST ? v : positions[i] + v;
}

/* A thread an index: the number of the destination among all of the indexed axes. */
kernel void index_keys(const device uchar *index [[buffer(0)]], device uint *keys [[buffer(1)]],
                       constant const Selection &p [[buffer(2)]],
                       constant const uint *sizes [[buffer(3)]],
                       constant const long *strides [[buffer(4)]],
                       device atomic_uint *faults [[buffer(5)]],
                       uint i [[thread_position_in_grid]]) {
    long at = strided_offset(i, p.index_axes, sizes, strides);
    uint before = FIRST ? 0u : keys[i];
    keys[i] = before * uint(p.size) + uint(index_at(index, at, faults, p));
}

/* The same along one axis: leads x indices x tail positions are numbered, in the array of `size`
 * values along the axis. */
kernel void along_keys(const device uchar *index [[buffer(0)]], device uint *keys [[buffer(1)]],
                       constant const Selection &p [[buffer(2)]],
                       constant const uint *sizes [[buffer(3)]],
                       constant const long *strides [[buffer(4)]],
                       device atomic_uint *faults [[buffer(5)]],
                       uint i [[thread_position_in_grid]]) {
    long at = strided_offset(i, p.index_axes, sizes, strides);
    uint v = uint(index_at(index, at, faults, p));
    uint line = i / uint(p.tail), inner = i - line * uint(p.tail);
    uint outer = line / uint(p.indices);
    keys[i] = (outer * uint(p.size) + v) * uint(p.tail) + inner;
}

/* ---- reading ---- */

/* Neighbouring elements from one place to another, in packs, which lie the grid's width apart. */
template <typename T>
inline void move_packs(const device T *from, device T *to, uint first, uint width, uint tail) {
    constexpr uint N = 16 / sizeof(T);
    bool whole = (misplaced(from, 16) | misplaced(to, 16)) == 0;
    Pack<T, N> kept[EACH];
#pragma unroll
    for (uint e = 0; e < EACH; e++) {
        uint t = (first + e * width) * N;
        if (t < tail)
            kept[e] = load_pack<T, N>(from + t, whole, N);
    }
#pragma unroll
    for (uint e = 0; e < EACH; e++) {
        uint t = (first + e * width) * N;
        if (t < tail)
            store_pack<T, N>(to + t, kept[e], whole, N);
    }
}
template <> /* comes as two uints each */
inline void move_packs<ulong>(const device ulong *, device ulong *, uint, uint, uint) {}

/* The grid is (trailing positions, leads x indices), or FLAT (indices x trailing, leads). Of a long
 * tail a thread takes EACH positions (or packs), the grid's width apart: where they come from is
 * found once, and all are read before any is written. */
template <typename T>
[[kernel]] void
gather(const device T *x [[buffer(0)]], const device uchar *index [[buffer(1)]],
       const device long *positions [[buffer(2)]], device T *out [[buffer(3)]],
       constant const Selection &p [[buffer(4)]], constant const uint *sizes [[buffer(5)]],
       constant const long *strides [[buffer(6)]], device atomic_uint *faults [[buffer(7)]],
       uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
    ulong row = row_of(at, grid);
    if (row >= (FLAT ? p.leads : p.leads * p.indices))
        return;
    uint tail = uint(p.tail), first = at.x, before_tail = p.lead_axes + p.index_axes;
    ulong lead, k;
    if (FLAT) {
        lead = row;
        k = at.x / tail;
        first = at.x - uint(k) * tail;
    } else {
        lead = p.leads == 1 ? 0 : row / p.indices;
        k = row - lead * p.indices;
    }
    long from = strided_offset(lead, p.lead_axes, sizes, strides);
    if (DIRECT) {
        long where = strided_offset(k, p.index_axes, sizes + p.lead_axes, strides + p.lead_axes);
        from += index_at(index, where, faults, p) * p.step;
    } else
        from += positions[k];
    ulong to = (lead * p.indices + k) * p.tail;
    if (LONG == CLOSE_TAIL) {
        move_packs<T>(x + from, out + to, first, grid.x, tail);
        return;
    }
    if (LONG == SHORT_TAIL) {
        out[to + first] = x[from + strided_offset(first, p.tail_axes, sizes + before_tail,
                                                  strides + before_tail)];
        return;
    }
    T kept[EACH];
    long stride = strides[before_tail];
#pragma unroll
    for (uint e = 0; e < EACH; e++) {
        uint t = first + e * grid.x;
        if (t < tail)
            kept[e] = x[from + t * stride];
    }
#pragma unroll
    for (uint e = 0; e < EACH; e++) {
        uint t = first + e * grid.x;
        if (t < tail)
            out[to + t] = kept[e];
    }
}

/* The grid is (last axis, rows) of the indices; x has stride 0 along the axis. */
template <typename T>
[[kernel]] void take_along(const device T *x [[buffer(0)]], const device uchar *index [[buffer(1)]],
                           device T *out [[buffer(2)]], constant const Selection &p [[buffer(3)]],
                           constant const uint *sizes [[buffer(4)]],
                           constant const long *strides [[buffer(5)]],
                           constant const long *index_strides [[buffer(6)]],
                           device atomic_uint *faults [[buffer(7)]],
                           uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
    ulong row = row_of(at, grid);
    if (row >= p.leads)
        return;
    uint last = p.index_axes - 1;
    long where = strided_offset(row, last, sizes, index_strides) + at.x * index_strides[last];
    long v = index_at(index, where, faults, p);
    long from = strided_offset(row, last, sizes, strides) + at.x * strides[last] + v * p.step;
    out[row * sizes[last] + at.x] = x[from];
}

/* ---- writing ---- */

#define MODE_NONE (-1) /* the later one stays; other modes are operations of reduce.h */

template <typename A> inline A join_by_mode(A x, A y) {
    return MODE == MODE_NONE ? y : joined_by<A>(MODE, x, y);
}

/* Where a destination starts, and where the updates for one lead and one trailing position do. */
struct Target {
    long out;
    long updates;
};

inline Target target_of(ulong lead, ulong t, uint key, constant const Selection &p,
                        constant const uint *sizes, constant const long *out_strides,
                        constant const long *update_strides) {
    uint tail = p.lead_axes + p.index_axes, keys = tail + p.tail_axes;
    Target found;
    found.out = strided_offset(lead, p.lead_axes, sizes, out_strides) +
                strided_offset(t, p.tail_axes, sizes + tail, out_strides + tail) +
                strided_offset(key, p.key_axes, sizes + keys, out_strides + keys);
    found.updates = strided_offset(lead, p.lead_axes, sizes, update_strides) +
                    strided_offset(t, p.tail_axes, sizes + tail, update_strides + tail);
    return found;
}

/* The grid is (trailing positions, leads x indices): a thread folds what goes to one element. */
template <typename A>
[[kernel]] void
scatter_rows(device uchar *out [[buffer(0)]], const device uchar *updates [[buffer(1)]],
             const device uint *keys [[buffer(2)]], const device uint *places [[buffer(3)]],
             constant const Selection &p [[buffer(4)]], constant const uint *sizes [[buffer(5)]],
             constant const long *out_strides [[buffer(6)]],
             constant const long *update_strides [[buffer(7)]],
             uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
    ulong row = row_of(at, grid);
    if (row >= p.leads * p.indices)
        return;
    ulong lead = p.leads == 1 ? 0 : row / p.indices, first = row - lead * p.indices;
    uint key = keys[first];
    if (first > 0 && keys[first - 1] == key)
        return;
    Target to = target_of(lead, at.x, key, p, sizes, out_strides, update_strides);
    A value = Element<A>::load(out, to.out, uint(DTYPE));
    for (ulong k = first; k < p.indices && keys[k] == key; k++) {
        long from = to.updates + strided_offset(places[k], p.index_axes, sizes + p.lead_axes,
                                                update_strides + p.lead_axes);
        value = join_by_mode<A>(value, Element<A>::load(updates, from, uint(DTYPE)));
    }
    Element<A>::store(out, to.out, uint(DTYPE), value);
}

/* A simdgroup folds what goes to one element; groups of threads are spread over (indices, leads x
 * trailing positions). The lanes take every 32nd update and are joined in order of the lanes. */
template <typename A>
[[kernel]] void
scatter_runs(device uchar *out [[buffer(0)]], const device uchar *updates [[buffer(1)]],
             const device uint *keys [[buffer(2)]], const device uint *places [[buffer(3)]],
             constant const Selection &p [[buffer(4)]], constant const uint *sizes [[buffer(5)]],
             constant const long *out_strides [[buffer(6)]],
             constant const long *update_strides [[buffer(7)]],
             uint3 group [[threadgroup_position_in_grid]], uint3 groups [[threadgroups_per_grid]],
             uint lane [[thread_index_in_simdgroup]],
             uint simdgroup [[simdgroup_index_in_threadgroup]],
             uint simdgroups [[simdgroups_per_threadgroup]]) {
    ulong first = ulong(group.x) * simdgroups + simdgroup, row = row_of(group, groups);
    if (first >= p.indices || row >= p.leads * p.tail)
        return;
    uint key = keys[first];
    if (first > 0 && keys[first - 1] == key)
        return;
    ulong lead = row / p.tail, t = row - lead * p.tail;
    Target to = target_of(lead, t, key, p, sizes, out_strides, update_strides);
    A value = A(0);
    ulong mine = 0;
    for (ulong k = first + lane; k < p.indices && keys[k] == key; k += 32) {
        long from = to.updates + strided_offset(places[k], p.index_axes, sizes + p.lead_axes,
                                                update_strides + p.lead_axes);
        A next = Element<A>::load(updates, from, uint(DTYPE));
        value = mine == 0 ? next : join_by_mode<A>(value, next);
        mine = k + 1;
    }
    for (ushort mask = 1; mask < 32; mask <<= 1) {
        A other = shuffle_xor<A>(value, mask);
        ulong theirs = shuffle_xor<ulong>(mine, mask);
        /* `mine` is 0 where a lane has nothing, and else tells which one is the last. */
        A low = mine < theirs ? value : other, high = mine < theirs ? other : value;
        value = mine == 0 || theirs == 0 ? high : join_by_mode<A>(low, high);
        mine = max(mine, theirs);
    }
    if (lane == 0) {
        A old = Element<A>::load(out, to.out, uint(DTYPE));
        Element<A>::store(out, to.out, uint(DTYPE), join_by_mode<A>(old, value));
    }
}

/* The grid is (last axis, rows): every update meets one element of the target. */
template <typename A>
[[kernel]] void combine(device uchar *out [[buffer(0)]], const device uchar *updates [[buffer(1)]],
                        constant const Selection &p [[buffer(2)]],
                        constant const uint *sizes [[buffer(3)]],
                        constant const long *out_strides [[buffer(4)]],
                        constant const long *update_strides [[buffer(5)]],
                        uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
    ulong row = row_of(at, grid);
    if (row >= p.leads)
        return;
    uint last = p.index_axes - 1;
    long to = p.step + strided_offset(row, last, sizes, out_strides) + at.x * out_strides[last];
    long from = strided_offset(row, last, sizes, update_strides) + at.x * update_strides[last];
    A old = Element<A>::load(out, to, uint(DTYPE));
    A value = Element<A>::load(updates, from, uint(DTYPE));
    Element<A>::store(out, to, uint(DTYPE), join_by_mode<A>(old, value));
}

#define MOVES(name, T)                                                                             \
    template [[host_name("gather_" name)]] [[kernel]] decltype(gather<T>) gather<T>;               \
    template [[host_name("take_along_" name)]] [[kernel]] decltype(take_along<T>) take_along<T>;
MOVES("1", uchar)
MOVES("2", ushort)
MOVES("4", uint)
MOVES("8", ulong)

#define FOLDS(name, A)                                                                             \
    template                                                                                       \
        [[host_name("scatter_rows_" name)]] [[kernel]] decltype(scatter_rows<A>) scatter_rows<A>;  \
    template                                                                                       \
        [[host_name("scatter_runs_" name)]] [[kernel]] decltype(scatter_runs<A>) scatter_runs<A>;  \
    template [[host_name("combine_" name)]] [[kernel]] decltype(combine<A>) combine<A>;
FOLDS("i32", int)
FOLDS("u32", uint)
FOLDS("i64", long)
FOLDS("u64", ulong)
FOLDS("f32", float)
FOLDS("c64", complex64)
