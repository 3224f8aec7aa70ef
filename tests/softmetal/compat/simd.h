// Simdgroup functions and barriers.
//
// Rules: each is built on `sm_exchange`: every lane brings a value and is given what a function
// makes of all of them. On the processor lanes meet (sm_meet); on an NVIDIA device they shuffle.
// What Metal has not, 64-bit and bool operands, is refused.
#pragma once

#include "atomics.h"
#ifndef __CUDACC__
#include "abi.h"
#endif

namespace msl {
namespace metal {

enum class mem_flags : int {
    mem_none = 0,
    mem_device = 1,
    mem_threadgroup = 2,
    mem_texture = 4,
    mem_device_and_threadgroup = 3
};
SM_INLINE constexpr mem_flags operator|(mem_flags a, mem_flags b) {
    return (mem_flags)((int)a | (int)b);
}

template <class T> struct sm_scalar {
    typedef T type;
};
template <class T, int N> struct sm_scalar<vec<T, N>> {
    typedef T type;
};
template <class T> constexpr void sm_check_simd() {
    typedef typename sm_scalar<T>::type S;
    static_assert(sizeof(S) <= 4 && !is_same_v<S, bool> && is_arithmetic_v<S>,
                  "simd functions take no bool and no 64-bit types: split them into uint2");
}

#ifdef __CUDACC__

SM_INLINE void threadgroup_barrier(mem_flags) { ::__syncthreads(); }
SM_INLINE void simdgroup_barrier(mem_flags) { ::__syncwarp(::__activemask()); }
SM_INLINE uint sm_lane() {
    uint lane;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
}
SM_INLINE uint sm_active() { return ::__activemask(); }

// The value of another lane.
template <class T> SM_INLINE T sm_from(const T &value, uint lane) {
    T out;
    uint words[(sizeof(T) + 3) / 4] = {};
    SM_COPY(words, &value, sizeof(T));
    for (uint &word : words)
        word = ::__shfl_sync(sm_active(), word, lane);
    SM_COPY((void *)&out, words, sizeof(T));
    return out;
}

// Butterflies where all lanes are there, else one lane after the other.
template <class T, class F> SM_INLINE T sm_reduce(T value, F f) {
    uint active = sm_active(), lane = sm_lane();
    if (active == 0xffffffffu) {
        for (uint k = 16; k; k >>= 1)
            value = f(value, sm_from(value, lane ^ k));
        return value;
    }
    bool first = true;
    T out = value;
    for (uint k = 0; k < 32; k++)
        if (active >> k & 1) {
            T other = sm_from(value, k);
            out = first ? other : f(out, other);
            first = false;
        }
    return out;
}
template <class T, class F> SM_INLINE T sm_scan(T value, T start, bool inclusive, F f) {
    uint active = sm_active(), lane = sm_lane();
    T out = start;
    for (uint k = 0; k < 32; k++)
        if (active >> k & 1) {
            T other = sm_from(value, k);
            if (k < lane || (inclusive && k == lane))
                out = f(out, other);
        }
    return out;
}
SM_INLINE ulong sm_ballot(bool value) { return ::__ballot_sync(sm_active(), value); }

#else

SM_INLINE void threadgroup_barrier(mem_flags flags) {
    sm_barrier(softmetal::threadgroup_scope, (int)flags);
}
SM_INLINE void simdgroup_barrier(mem_flags flags) {
    sm_barrier(softmetal::simdgroup_scope, (int)flags);
}

enum { sm_meet_shuffle, sm_meet_reduce, sm_meet_scan, sm_meet_ballot, sm_meet_matrix };

// What lanes bring and take while they meet.
template <class T> struct sm_shuffled {
    T value;
    uint from; // a lane
};
template <class T> void sm_shuffle_all(softmetal::Slots &s) {
    for (uint i = 0; i < 32; i++) {
        if (!(s.active >> i & 1))
            continue;
        sm_shuffled<T> *mine = (sm_shuffled<T> *)s.in[i];
        uint from = mine->from;
        if (from < 32 && (s.active >> from & 1))
            SM_COPY(s.out[i], s.in[from], sizeof(T));
        else // of a lane that is not there: nothing to rely on
            __builtin_memset(s.out[i], 0xff, sizeof(T));
    }
}
template <class T> SM_INLINE T sm_from(const T &value, uint lane) {
    sm_shuffled<T> in = {value, lane};
    T out;
    sm_meet(sm_meet_shuffle, &in, sizeof in, &out, sizeof out, sm_shuffle_all<T>);
    return out;
}
// A reduction in the order of a butterfly, so that every lane is given the same bits as on a GPU.
template <class T, class F> void sm_reduce_all(softmetal::Slots &s) {
    T values[32], out;
    uint n = 0;
    for (uint i = 0; i < 32; i++)
        if (s.active >> i & 1)
            SM_COPY((void *)&values[n++], s.in[i], sizeof(T));
    for (; n > 1; n = (n + 1) / 2)
        for (uint i = 0; i < n / 2; i++)
            values[i] = F()(values[i], values[i + (n + 1) / 2]);
    out = values[0];
    for (uint i = 0; i < 32; i++)
        SM_COPY(s.out[i], &out, sizeof(T));
}
template <class T, class F> SM_INLINE T sm_reduce(T value, F) {
    T out;
    sm_meet(sm_meet_reduce, &value, sizeof value, &out, sizeof out, sm_reduce_all<T, F>);
    return out;
}
template <class T, class F, bool Inclusive> void sm_scan_all(softmetal::Slots &s) {
    T sum = F::template start<T>();
    for (uint i = 0; i < 32; i++) {
        if (!(s.active >> i & 1))
            continue;
        T value;
        SM_COPY((void *)&value, s.in[i], sizeof(T));
        T next = F()(sum, value);
        SM_COPY(s.out[i], Inclusive ? &next : &sum, sizeof(T));
        sum = next;
    }
}
static inline void sm_ballot_all(softmetal::Slots &s) {
    ulong bits = 0;
    for (uint i = 0; i < 32; i++)
        bits |= (ulong)((s.active >> i & 1) && s.in[i][0]) << i;
    for (uint i = 0; i < 32; i++)
        SM_COPY(s.out[i], &bits, sizeof bits);
}
SM_INLINE ulong sm_ballot(bool value) {
    ulong out;
    sm_meet(sm_meet_ballot, &value, sizeof value, &out, sizeof out, sm_ballot_all);
    return out;
}

SM_INLINE uint sm_lane() { return sm_lane_index(); }

#endif

// Reductions and scans

struct sm_plus {
    template <class T> SM_INLINE T operator()(T a, T b) const { return (T)(a + b); }
    template <class T> static SM_INLINE T start() { return (T)0; }
};
struct sm_times {
    template <class T> SM_INLINE T operator()(T a, T b) const { return (T)(a * b); }
    template <class T> static SM_INLINE T start() { return (T)1; }
};
struct sm_least {
    template <class T> SM_INLINE T operator()(T a, T b) const { return min(a, b); }
};
struct sm_greatest {
    template <class T> SM_INLINE T operator()(T a, T b) const { return max(a, b); }
};
struct sm_both {
    template <class T> SM_INLINE T operator()(T a, T b) const { return (T)(a & b); }
};
struct sm_either {
    template <class T> SM_INLINE T operator()(T a, T b) const { return (T)(a | b); }
};
struct sm_one {
    template <class T> SM_INLINE T operator()(T a, T b) const { return (T)(a ^ b); }
};

#define SM_REDUCTION(name, F)                                                                      \
    template <class T> SM_INLINE T name(T value) {                                                 \
        sm_check_simd<T>();                                                                        \
        return sm_reduce(value, F());                                                              \
    }
SM_REDUCTION(simd_sum, sm_plus)
SM_REDUCTION(simd_product, sm_times)
SM_REDUCTION(simd_min, sm_least)
SM_REDUCTION(simd_max, sm_greatest)
SM_REDUCTION(simd_and, sm_both)
SM_REDUCTION(simd_or, sm_either)
SM_REDUCTION(simd_xor, sm_one)
#undef SM_REDUCTION

#ifdef __CUDACC__
#define SM_PREFIX(name, F, inclusive)                                                              \
    template <class T> SM_INLINE T name(T value) {                                                 \
        sm_check_simd<T>();                                                                        \
        return sm_scan(value, F::template start<T>(), inclusive, F());                             \
    }
#else
#define SM_PREFIX(name, F, inclusive)                                                              \
    template <class T> SM_INLINE T name(T value) {                                                 \
        sm_check_simd<T>();                                                                        \
        T out;                                                                                     \
        sm_meet(sm_meet_scan, &value, sizeof value, &out, sizeof out,                              \
                sm_scan_all<T, F, inclusive>);                                                     \
        return out;                                                                                \
    }
#endif
SM_PREFIX(simd_prefix_inclusive_sum, sm_plus, true)
SM_PREFIX(simd_prefix_exclusive_sum, sm_plus, false)
SM_PREFIX(simd_prefix_inclusive_product, sm_times, true)
SM_PREFIX(simd_prefix_exclusive_product, sm_times, false)
#undef SM_PREFIX

// Votes

struct simd_vote {
    typedef ulong vote_t;
    vote_t bits;
    SM_INLINE explicit simd_vote(vote_t given) : bits(given) {}
    SM_INLINE explicit operator vote_t() const { return bits; }
    SM_INLINE bool all() const { return bits == 0xffffffffu; }
    SM_INLINE bool any() const { return bits != 0; }
};
SM_INLINE simd_vote simd_ballot(bool value) { return simd_vote(sm_ballot(value)); }
SM_INLINE bool simd_any(bool value) { return sm_ballot(value) != 0; }
SM_INLINE bool simd_all(bool value) { return sm_ballot(!value) == 0; }
SM_INLINE simd_vote simd_active_threads_mask() { return simd_vote(sm_ballot(true)); }
SM_INLINE bool simd_is_first() {
    ulong bits = sm_ballot(true);
    return (bits & (~bits + 1)) == 1ul << sm_lane();
}

// Shuffles

#define SM_SHUFFLE(name, argument, from)                                                           \
    template <class T> SM_INLINE T name(T value, ushort argument) {                                \
        sm_check_simd<T>();                                                                        \
        uint lane = sm_lane();                                                                     \
        (void)lane;                                                                                \
        return sm_from(value, (uint)(from));                                                       \
    }
SM_SHUFFLE(simd_shuffle, k, k)
SM_SHUFFLE(simd_broadcast, k, k)
SM_SHUFFLE(simd_shuffle_xor, k, lane ^ k)
SM_SHUFFLE(simd_shuffle_rotate_up, k, (lane - k) & 31)
SM_SHUFFLE(simd_shuffle_rotate_down, k, (lane + k) & 31)
SM_SHUFFLE(quad_shuffle, k, (lane & ~3u) | (k & 3))
SM_SHUFFLE(quad_broadcast, k, (lane & ~3u) | (k & 3))
SM_SHUFFLE(quad_shuffle_xor, k, lane ^ (k & 3))
#undef SM_SHUFFLE
// Past the edge a lane keeps its own: MSL leaves that undefined.
template <class T> SM_INLINE T simd_shuffle_up(T value, ushort k) {
    sm_check_simd<T>();
    uint lane = sm_lane();
    return sm_from(value, lane < k ? lane : lane - k);
}
template <class T> SM_INLINE T simd_shuffle_down(T value, ushort k) {
    sm_check_simd<T>();
    uint lane = sm_lane();
    return sm_from(value, lane + k > 31 ? lane : lane + k);
}
template <class T> SM_INLINE T simd_shuffle_and_fill_up(T value, T fill, ushort k) {
    sm_check_simd<T>();
    uint lane = sm_lane();
    T out = sm_from(value, lane < k ? lane : lane - k), in = sm_from(fill, (lane - k) & 31);
    return lane < k ? in : out;
}
template <class T> SM_INLINE T simd_shuffle_and_fill_down(T value, T fill, ushort k) {
    sm_check_simd<T>();
    uint lane = sm_lane();
    T out = sm_from(value, lane + k > 31 ? lane : lane + k), in = sm_from(fill, (lane + k) & 31);
    return lane + k > 31 ? in : out;
}
template <class T> SM_INLINE T simd_broadcast_first(T value) {
    sm_check_simd<T>();
    ulong bits = sm_ballot(true);
    return sm_from(value, (uint)ctz((uint)bits));
}

} // namespace metal
} // namespace msl
