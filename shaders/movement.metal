/* Copies of elements by their bits, from any strides to any strides.
 *
 * `copy_<bytes of an element>`: the grid is (ceil(last axis / 4), rows), the rows spread over y and
 * z. A thread moves four elements that lie a quarter of the row apart, so that neighbouring threads
 * touch neighbouring elements.
 */
#include "common.h"

/* As mlxc/_backends/metal/movement.py packs it ("<IIQq"). */
struct Copy {
    uint axes; /* 1 at least */
    uint step; /* threads along the last axis */
    ulong rows;
    long target; /* elements before the first one written */
};

template <typename T>
[[kernel]] void
copy_elements(const device T *source [[buffer(0)]], device T *target [[buffer(1)]],
              constant const Copy &p [[buffer(2)]], constant const uint *sizes [[buffer(3)]],
              constant const long *source_strides [[buffer(4)]],
              constant const long *target_strides [[buffer(5)]],
              uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
    ulong row = ulong(at.z) * grid.y + at.y;
    if (row >= p.rows)
        return;
    uint last = p.axes - 1, n = sizes[last];
    long from = strided_offset(row, last, sizes, source_strides);
    long to = p.target + strided_offset(row, last, sizes, target_strides);
    for (uint i = at.x; i < n; i += p.step)
        target[to + long(i) * target_strides[last]] = source[from + long(i) * source_strides[last]];
}

#define COPY(name, T)                                                                              \
    template [[host_name(name)]] [[kernel]] decltype(copy_elements<T>) copy_elements<T>;
COPY("copy_1", uchar)
COPY("copy_2", ushort)
COPY("copy_4", uint)
COPY("copy_8", ulong)
