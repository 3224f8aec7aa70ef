// MSL's atomics: relaxed, as MSL has no other order.
//
// Rules: on an NVIDIA device they are the hardware's; float minimum and maximum are not in MSL.
#pragma once

#include "mathematics.h"

namespace msl {
namespace metal {

enum memory_order { memory_order_relaxed };

template <class T> struct atomic {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "atomics have 32 or 64 bits");
    T value;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<float> atomic_float;
typedef atomic<ulong> atomic_ulong;
typedef atomic<uint> atomic_bool;

template <class T> struct sm_same {
    typedef T type;
};
template <class T> using sm_value = typename sm_same<T>::type; // not deduced

template <class T> struct sm_word {
    typedef conditional_t<sizeof(T) == 4, uint, ulong> type;
};

#ifdef __CUDACC__
template <class W> SM_INLINE bool sm_swap_if(W *at, W &expected, W desired) {
    W seen;
    if constexpr (sizeof(W) == 4)
        seen = ::atomicCAS((unsigned *)at, expected, desired);
    else
        seen = ::atomicCAS((unsigned long long *)at, (unsigned long long)expected,
                           (unsigned long long)desired);
    bool swapped = seen == expected;
    expected = seen;
    return swapped;
}
template <class W> SM_INLINE W sm_load(const W *at) { return *(const volatile W *)at; }
template <class W> SM_INLINE void sm_store(W *at, W value) { *(volatile W *)at = value; }
#else
template <class W> SM_INLINE bool sm_swap_if(W *at, W &expected, W desired) {
    return __atomic_compare_exchange_n(at, &expected, desired, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}
template <class W> SM_INLINE W sm_load(const W *at) {
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}
template <class W> SM_INLINE void sm_store(W *at, W value) {
    __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
#endif

template <class T> SM_INLINE T atomic_load_explicit(const atomic<T> *a, memory_order) {
    typedef typename sm_word<T>::type W;
    return __builtin_bit_cast(T, sm_load((const W *)a));
}
template <class T> SM_INLINE void atomic_store_explicit(atomic<T> *a, sm_value<T> v, memory_order) {
    typedef typename sm_word<T>::type W;
    sm_store((W *)a, __builtin_bit_cast(W, v));
}
template <class T>
SM_INLINE bool atomic_compare_exchange_weak_explicit(atomic<T> *a, T *expected, sm_value<T> desired,
                                                     memory_order, memory_order) {
    typedef typename sm_word<T>::type W;
    W seen = __builtin_bit_cast(W, *expected);
    bool swapped = sm_swap_if((W *)a, seen, __builtin_bit_cast(W, desired));
    *expected = __builtin_bit_cast(T, seen);
    return swapped;
}

template <class T, class F> SM_INLINE T sm_modify(atomic<T> *a, F change) {
    typedef typename sm_word<T>::type W;
    W seen = sm_load((const W *)a);
    T old;
    do
        old = __builtin_bit_cast(T, seen);
    while (!sm_swap_if((W *)a, seen, __builtin_bit_cast(W, (T)change(old))));
    return old;
}

#define SM_FETCH(name, expression)                                                                 \
    template <class T>                                                                             \
    SM_INLINE T atomic_##name##_explicit(atomic<T> *a, sm_value<T> v, memory_order) {              \
        return sm_modify(a, [v](T x) { return expression; });                                      \
    }
SM_FETCH(exchange, ((void)x, v))
SM_FETCH(fetch_sub, x - v)
SM_FETCH(fetch_min, min(x, v))
SM_FETCH(fetch_max, max(x, v))
SM_FETCH(fetch_and, x &v)
SM_FETCH(fetch_or, x | v)
SM_FETCH(fetch_xor, x ^ v)
#ifdef __CUDACC__
template <class T>
SM_INLINE T atomic_fetch_add_explicit(atomic<T> *a, sm_value<T> v, memory_order) {
    if constexpr (sizeof(T) == 8)
        return (T)::atomicAdd((unsigned long long *)a, (unsigned long long)v);
    else
        return ::atomicAdd((T *)a, v);
}
#else
SM_FETCH(fetch_add, x + v)
#endif
#undef SM_FETCH

} // namespace metal
} // namespace msl
