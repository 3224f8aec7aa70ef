// simdgroup_matrix: 8x8 elements over 32 lanes, two each.
//
// Rules: elements lie over lanes as on Apple's GPUs (row of bits 4, 2, 1 of the lane, columns of
// bits 3 and 0), which shaders that use thread_elements() count on. Products are summed in float.
#pragma once

#include "simd.h"

namespace msl {
namespace metal {

SM_INLINE uint sm_row(uint lane) { return (lane >> 4) * 4 + ((lane >> 1) & 3); }
SM_INLINE uint sm_column(uint lane) { return ((lane >> 3) & 1) * 4 + (lane & 1) * 2; }
SM_INLINE uint sm_holder(uint row, uint column) {
    return (row >> 2) << 4 | (column >> 2) << 3 | (row & 3) << 1 | ((column >> 1) & 1);
}

template <class T, int Rows, int Columns> struct simdgroup_matrix {
    static_assert(Rows == 8 && Columns == 8, "simdgroup matrices are 8x8");
    static_assert(is_floating_point_v<T>, "simdgroup matrices are of floats");
    vec<T, 2> elements;
    simdgroup_matrix() = default;
    // A diagonal matrix, as in MSL.
    SM_INLINE explicit simdgroup_matrix(T value) {
        uint lane = sm_lane(), row = sm_row(lane), column = sm_column(lane);
        elements.v[0] = row == column ? value : (T)0.0f;
        elements.v[1] = row == column + 1 ? value : (T)0.0f;
    }
    SM_INLINE vec<T, 2> &thread_elements() { return elements; }
    SM_INLINE const vec<T, 2> &thread_elements() const { return elements; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <class T, int R, int C>
SM_INLINE simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T v) {
    simdgroup_matrix<T, R, C> out;
    out.elements = vec<T, 2>(v);
    return out;
}

template <class T>
SM_INLINE void simdgroup_load(simdgroup_matrix<T, 8, 8> &d, const T *from, ulong pitch = 8,
                              ulong2 origin = ulong2(0), bool transpose = false) {
    uint lane = sm_lane(), row = sm_row(lane), column = sm_column(lane);
    for (uint i = 0; i < 2; i++) {
        ulong r = transpose ? column + i : row, c = transpose ? row : column + i;
        d.elements.v[i] = from[(origin.y + r) * pitch + origin.x + c];
    }
}
template <class T>
SM_INLINE void simdgroup_store(const simdgroup_matrix<T, 8, 8> &s, T *to, ulong pitch = 8,
                               ulong2 origin = ulong2(0), bool transpose = false) {
    uint lane = sm_lane(), row = sm_row(lane), column = sm_column(lane);
    for (uint i = 0; i < 2; i++) {
        ulong r = transpose ? column + i : row, c = transpose ? row : column + i;
        to[(origin.y + r) * pitch + origin.x + c] = s.elements.v[i];
    }
}

#ifdef __CUDACC__

// Tensor cores have another layout than Apple's lanes: a 16x8 by 8x8 product needs its rows below.
// float32 has none that keeps 24 bits, so its products are made of shuffles.
template <class A, class B>
SM_INLINE void sm_product(float out[2], const vec<A, 2> &a, const vec<B, 2> &b) {
    uint lane = sm_lane(), row = sm_row(lane), column = sm_column(lane);
    for (uint k = 0; k < 8; k += 2) {
        vec<A, 2> left = sm_from(a, sm_holder(row, k));
        for (uint i = 0; i < 2; i++) {
            vec<B, 2> right = sm_from(b, sm_holder(k + i, column));
            out[0] = ::fmaf((float)left.v[i], (float)right.v[0], out[0]);
            out[1] = ::fmaf((float)left.v[i], (float)right.v[1], out[1]);
        }
    }
}

#else

struct sm_factors {
    float a[2], b[2], c[2];
};
static inline void sm_product_all(softmetal::Slots &s) {
    float a[8][8], b[8][8], c[8][8];
    if (s.active != 0xffffffffu)
        sm_fault("a simdgroup matrix in a simdgroup of less than 32 threads");
    for (uint lane = 0; lane < 32; lane++) {
        const sm_factors *f = (const sm_factors *)s.in[lane];
        for (uint i = 0; i < 2; i++) {
            uint row = sm_row(lane), column = sm_column(lane) + i;
            a[row][column] = f->a[i], b[row][column] = f->b[i], c[row][column] = f->c[i];
        }
    }
    for (uint i = 0; i < 8; i++)
        for (uint k = 0; k < 8; k++)
            for (uint j = 0; j < 8; j++)
                c[i][j] = __builtin_fmaf(a[i][k], b[k][j], c[i][j]);
    for (uint lane = 0; lane < 32; lane++) {
        float *out = (float *)s.out[lane];
        out[0] = c[sm_row(lane)][sm_column(lane)];
        out[1] = c[sm_row(lane)][sm_column(lane) + 1];
    }
}
template <class A, class B>
SM_INLINE void sm_product(float out[2], const vec<A, 2> &a, const vec<B, 2> &b) {
    sm_factors f = {
        {(float)a.v[0], (float)a.v[1]}, {(float)b.v[0], (float)b.v[1]}, {out[0], out[1]}};
    float result[2];
    sm_meet(sm_meet_matrix, &f, sizeof f, result, sizeof result, sm_product_all);
    out[0] = result[0];
    out[1] = result[1];
}

#endif

template <class D, class A, class B, class C>
SM_INLINE void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8> &d,
                                             const simdgroup_matrix<A, 8, 8> &a,
                                             const simdgroup_matrix<B, 8, 8> &b,
                                             const simdgroup_matrix<C, 8, 8> &c) {
    float out[2] = {(float)c.elements.v[0], (float)c.elements.v[1]};
    sm_product(out, a.elements, b.elements);
    d.elements.v[0] = (D)out[0];
    d.elements.v[1] = (D)out[1];
}
template <class D, class A, class B>
SM_INLINE void simdgroup_multiply(simdgroup_matrix<D, 8, 8> &d, const simdgroup_matrix<A, 8, 8> &a,
                                  const simdgroup_matrix<B, 8, 8> &b) {
    simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<float, 8, 8>(0.0f));
}
template <class T>
SM_INLINE simdgroup_matrix<T, 8, 8> operator*(const simdgroup_matrix<T, 8, 8> &a,
                                              const simdgroup_matrix<T, 8, 8> &b) {
    simdgroup_matrix<T, 8, 8> out;
    simdgroup_multiply(out, a, b);
    return out;
}

} // namespace metal
} // namespace msl
