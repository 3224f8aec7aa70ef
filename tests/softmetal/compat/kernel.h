// How a kernel is given its arguments, on the processor and on an NVIDIA device.
//
// Rules: mslc.py writes, for a kernel `f`, an `sm_launch<&f, sm_argument<kind, number>...>`; types
// are deduced from f. Everything else that a shader's text becomes stands on the headers below.
#pragma once

#include "matrix.h"

namespace msl {

enum sm_kind {
    sm_buffer,
    sm_threadgroup_memory,
    sm_thread_position_in_grid,
    sm_threads_per_grid,
    sm_threadgroup_position_in_grid,
    sm_thread_position_in_threadgroup,
    sm_thread_index_in_threadgroup,
    sm_threads_per_threadgroup,
    sm_dispatch_threads_per_threadgroup,
    sm_threadgroups_per_grid,
    sm_thread_index_in_simdgroup,
    sm_simdgroup_index_in_threadgroup,
    sm_simdgroups_per_threadgroup,
    sm_threads_per_simdgroup,
    sm_thread_index_in_quadgroup,
    sm_quadgroup_index_in_threadgroup
};
template <sm_kind Kind, int Number> struct sm_argument {
    static constexpr sm_kind kind = Kind;
    static constexpr int number = Number;
};

struct sm_size {
    uint x, y, z;
};
template <class T> struct sm_position {
    static SM_INLINE T of(sm_size s) { return (T)s.x; }
};
template <class T> struct sm_position<metal::vec<T, 2>> {
    static SM_INLINE metal::vec<T, 2> of(sm_size s) { return {(T)s.x, (T)s.y}; }
};
template <class T> struct sm_position<metal::vec<T, 3>> {
    static SM_INLINE metal::vec<T, 3> of(sm_size s) { return {(T)s.x, (T)s.y, (T)s.z}; }
};

#ifdef __CUDACC__

// The one parameter of a kernel. Buffers that are not bound are null.
struct sm_parameters {
    void *buffers[31];
    uint threadgroup[31]; // offsets into dynamic shared memory
    uint threads[3];
};
extern __shared__ __align__(128) char sm_dynamic[];

template <class A, class T> struct sm_get {
    static SM_INLINE metal::remove_cv_t<T> from(const sm_parameters &p) {
        uint index = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
        uint count = blockDim.x * blockDim.y * blockDim.z;
        sm_size s = {0, 0, 0};
        if constexpr (A::kind == sm_thread_position_in_grid)
            s = {blockIdx.x * blockDim.x + threadIdx.x, blockIdx.y * blockDim.y + threadIdx.y,
                 blockIdx.z * blockDim.z + threadIdx.z};
        else if constexpr (A::kind == sm_threads_per_grid)
            s = {p.threads[0], p.threads[1], p.threads[2]};
        else if constexpr (A::kind == sm_threadgroup_position_in_grid)
            s = {blockIdx.x, blockIdx.y, blockIdx.z};
        else if constexpr (A::kind == sm_thread_position_in_threadgroup)
            s = {threadIdx.x, threadIdx.y, threadIdx.z};
        else if constexpr (A::kind == sm_thread_index_in_threadgroup)
            s.x = index;
        else if constexpr (A::kind == sm_threads_per_threadgroup ||
                           A::kind == sm_dispatch_threads_per_threadgroup)
            s = {blockDim.x, blockDim.y, blockDim.z};
        else if constexpr (A::kind == sm_threadgroups_per_grid)
            s = {gridDim.x, gridDim.y, gridDim.z};
        else if constexpr (A::kind == sm_thread_index_in_simdgroup)
            s.x = index & 31;
        else if constexpr (A::kind == sm_simdgroup_index_in_threadgroup)
            s.x = index >> 5;
        else if constexpr (A::kind == sm_simdgroups_per_threadgroup)
            s.x = (count + 31) >> 5;
        else if constexpr (A::kind == sm_threads_per_simdgroup)
            s.x = 32;
        else if constexpr (A::kind == sm_thread_index_in_quadgroup)
            s.x = index & 3;
        else
            s.x = index >> 2;
        return sm_position<metal::remove_cv_t<T>>::of(s);
    }
};
template <class A, class T> struct sm_get<A, T *> {
    static SM_INLINE T *from(const sm_parameters &p) {
        if constexpr (A::kind == sm_threadgroup_memory)
            return (T *)(sm_dynamic + p.threadgroup[A::number]);
        else
            return (T *)p.buffers[A::number];
    }
};
template <class A, class T> struct sm_get<A, T &> {
    static SM_INLINE T &from(const sm_parameters &p) { return *sm_get<A, T *>::from(p); }
};
template <auto F, class... A> struct sm_launch {
    template <class... T> static SM_INLINE void call(void (*)(T...), const sm_parameters &p) {
        F(sm_get<A, T>::from(p)...);
    }
    // Threads of a ragged edge are not in the grid.
    static SM_INLINE void run(const sm_parameters &p) {
        if (blockIdx.x * blockDim.x + threadIdx.x < p.threads[0] &&
            blockIdx.y * blockDim.y + threadIdx.y < p.threads[1] &&
            blockIdx.z * blockDim.z + threadIdx.z < p.threads[2])
            call(F, p);
    }
};

#define SM_THREADGROUP(number, type, name)                                                         \
    __shared__ __align__(16) unsigned char name##_sm_bytes[sizeof(type)];                          \
    type &name = *(type *)name##_sm_bytes
// A set of values is a compilation, as in Metal: they come as macros.
#define SM_FUNCTION_CONSTANT(type, name, number)                                                   \
    static constexpr type name = sm_constant_value<type>(SM_VALUE_##number)
#define SM_CONSTANT_DEFINED(name, number) SM_GIVEN_##number
template <class T> constexpr T sm_constant_value(ulong bits) {
    if constexpr (metal::is_same_v<T, float>)
        return __builtin_bit_cast(float, (uint)bits);
    else
        return (T)bits;
}

#else

template <class A, class T> struct sm_get {
    static SM_INLINE metal::remove_cv_t<T> from(const softmetal::Launch &l,
                                                const softmetal::Thread &t) {
        const softmetal::Size all[] = {// in the order of sm_kind
                                       {},
                                       {},
                                       t.in_grid,
                                       l.threads,
                                       t.group,
                                       t.in_group,
                                       {t.index, 0, 0},
                                       t.group_size,
                                       l.group,
                                       l.groups,
                                       {t.lane, 0, 0},
                                       {t.simdgroup, 0, 0},
                                       {t.simdgroups, 0, 0},
                                       {32, 0, 0},
                                       {t.index & 3, 0, 0},
                                       {t.index >> 2, 0, 0}};
        const softmetal::Size &s = all[A::kind];
        return sm_position<metal::remove_cv_t<T>>::of({s.x, s.y, s.z});
    }
};
template <class A, class T> struct sm_get<A, T *> {
    static SM_INLINE T *from(const softmetal::Launch &l, const softmetal::Thread &) {
        void *const *all = A::kind == sm_threadgroup_memory ? l.threadgroup : l.buffers;
        return (T *)all[A::number];
    }
};
template <class A, class T> struct sm_get<A, T &> {
    static SM_INLINE T &from(const softmetal::Launch &l, const softmetal::Thread &) {
        if (l.lengths[A::number] && l.lengths[A::number] < sizeof(T))
            sm_fault("a `constant T &` argument is bound to fewer bytes than T has");
        return *(T *)l.buffers[A::number];
    }
};
template <auto F, class... A> struct sm_launch {
    template <class... T>
    static SM_INLINE void call(void (*)(T...), const softmetal::Launch &l,
                               const softmetal::Thread &t) {
        F(sm_get<A, T>::from(l, t)...);
    }
    static void run(const softmetal::Launch &l, const softmetal::Thread &t) { call(F, l, t); }
};

#define SM_THREADGROUP(number, type, name)                                                         \
    type &name = *(type *)sm_threadgroup_array(number, sizeof(type), alignof(type), #name)
#define SM_FUNCTION_CONSTANT(type, name, number)                                                   \
    static const type name = sm_constant_value<type>(number)
#define SM_CONSTANT_DEFINED(name, number) (sm_constant_types()[number] != 0)
template <class T> static inline T sm_constant_value(int number) {
    T value;
    SM_COPY(&value, &sm_constant_bits()[number], sizeof value);
    return value;
}

#endif

} // namespace msl
