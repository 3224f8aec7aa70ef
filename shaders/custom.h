/* What users' own kernels (mx.fast.metal_kernel) may use besides Metal's library: the names of
 * dtypes as MLX spells them, and offsets of elements in strided arrays.
 */
#ifndef MLXC_CUSTOM_H
#define MLXC_CUSTOM_H

#include "common.h"

typedef half float16_t;
typedef bfloat bfloat16_t;

struct complex64_t {
    float real;
    float imag;
};

/* Offset in elements of the element at a row-major position. */
template <typename I>
inline I elem_to_loc(I elem, constant const int *shape, constant const int64_t *strides, int ndim) {
    int64_t offset = 0;
    for (int axis = ndim - 1; axis >= 0; axis--) {
        I size = I(shape[axis]);
        offset += int64_t(elem % size) * strides[axis];
        elem /= size;
    }
    return I(offset);
}

/* How many steps of `step` cover `n`. */
template <typename N, typename M> inline N ceildiv(N n, M step) { return (n + step - 1) / step; }

#endif
