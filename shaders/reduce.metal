/* The last pass of long reductions: what programs (printed by mlxc/_backends/metal/programs.py)
 * leave of their parts becomes the results.
 *
 * One kernel a type of arithmetic; bools come as int, 0 or 1. The tree is fixed, so results do not
 * depend on scheduling.
 */
#include "reduce.h"

constant int OPERATION [[function_constant(0)]]; /* of reduce.h */
constant int DTYPE [[function_constant(1)]];     /* of the results in memory */

/* As mlxc/_backends/metal/reduce.py packs it ("<QQQQ"). */
struct Parts {
    ulong rows;
    ulong parts;
    ulong row_stride; /* elements between the parts of neighbouring results */
    ulong part_stride;
};

/* A simdgroup has a result. */
template <typename A>
[[kernel]] void join_parts(const device A *partials [[buffer(0)]], device uchar *out [[buffer(1)]],
                           constant const Parts &p [[buffer(2)]],
                           uint group [[threadgroup_position_in_grid]],
                           uint lane [[thread_index_in_simdgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]],
                           uint simdgroups [[simdgroups_per_threadgroup]]) {
    ulong row = ulong(group) * simdgroups + simdgroup;
    if (row >= p.rows)
        return;
    A value = identity_of<A>(OPERATION);
    for (ulong k = lane; k < p.parts; k += 32)
        value = joined_by<A>(OPERATION, value, partials[row * p.row_stride + k * p.part_stride]);
    for (ushort mask = 16; mask > 0; mask >>= 1)
        value = joined_by<A>(OPERATION, value, shuffle_xor<A>(value, mask));
    if (lane == 0)
        Element<A>::store(out, row, uint(DTYPE), value);
}

#define JOINS(name, A)                                                                             \
    template [[host_name("join_parts_" name)]] [[kernel]] decltype(join_parts<A>) join_parts<A>;
JOINS("i32", int)
JOINS("u32", uint)
JOINS("i64", long)
JOINS("u64", ulong)
JOINS("f32", float)
JOINS("c64", complex64)
