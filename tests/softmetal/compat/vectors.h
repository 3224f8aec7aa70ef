// MSL's vectors in C++, with swizzles, which the translator turns into calls.
//
// Rules: sizes and alignments are Metal's: three elements take the room of four, packed ones none.
#pragma once

#include "types.h"

namespace msl {
namespace metal {

template <class T, int N> struct vec;
template <class T, int N> struct packed_vec;

// How many elements an argument of a constructor gives.
template <class A> inline constexpr int sm_elements = 1;
template <class T, int N> inline constexpr int sm_elements<vec<T, N>> = N;
template <class T, int N> inline constexpr int sm_elements<packed_vec<T, N>> = N;
template <class A> inline constexpr bool sm_is_vec = false;
template <class T, int N> inline constexpr bool sm_is_vec<vec<T, N>> = true;

// A swizzle that is assigned to (the translator tells it from one that is read).
template <class T, int... I> struct sm_selected {
    T *data;
    typedef vec<T, sizeof...(I)> vector;
    SM_INLINE vector value() const { return vector(data[I]...); }
    SM_INLINE void operator=(const vector &given) const {
        int k = 0;
        ((data[I] = given[k++]), ...);
    }
    template <class U> SM_INLINE void operator+=(U other) const { *this = value() + other; }
    template <class U> SM_INLINE void operator-=(U other) const { *this = value() - other; }
    template <class U> SM_INLINE void operator*=(U other) const { *this = value() * other; }
    template <class U> SM_INLINE void operator/=(U other) const { *this = value() / other; }
};

template <class T, class A> SM_INLINE void sm_put(T *to, int &k, const A &from) {
    if constexpr (sm_elements<A> == 1) {
        to[k++] = (T)from;
    } else {
        for (int i = 0; i < sm_elements<A>; i++)
            to[k++] = (T)from[i];
    }
}

template <class T, int N> struct sm_storage;
template <class T> struct alignas(2 * sizeof(T)) sm_storage<T, 2> {
    union {
        T v[2];
        struct {
            T x, y;
        };
        struct {
            T r, g;
        };
    };
};
template <class T> struct alignas(4 * sizeof(T)) sm_storage<T, 3> {
    union {
        T v[3];
        struct {
            T x, y, z;
        };
        struct {
            T r, g, b;
        };
    };
};
template <class T> struct alignas(4 * sizeof(T)) sm_storage<T, 4> {
    union {
        T v[4];
        struct {
            T x, y, z, w;
        };
        struct {
            T r, g, b, a;
        };
    };
};
template <class T, int N> struct sm_packed_storage;
template <class T> struct sm_packed_storage<T, 2> {
    union {
        T v[2];
        struct {
            T x, y;
        };
    };
};
template <class T> struct sm_packed_storage<T, 3> {
    union {
        T v[3];
        struct {
            T x, y, z;
        };
    };
};
template <class T> struct sm_packed_storage<T, 4> {
    union {
        T v[4];
        struct {
            T x, y, z, w;
        };
    };
};

template <class T, int N> struct vec : sm_storage<T, N> {
    using sm_storage<T, N>::v;
    static constexpr int size = N;
    typedef T element;
    vec() = default;
    template <class S, enable_if_t<is_arithmetic_v<S>, int> = 0> SM_INLINE vec(S value) {
        for (int i = 0; i < N; i++)
            v[i] = (T)value;
    }
    template <class U, enable_if_t<!is_same_v<U, T>, int> = 0>
    SM_INLINE explicit vec(const vec<U, N> &other) {
        for (int i = 0; i < N; i++)
            v[i] = (T)other.v[i];
    }
    SM_INLINE vec(const packed_vec<T, N> &other) {
        for (int i = 0; i < N; i++)
            v[i] = other.v[i];
    }
    template <
        class A, class B, class... More,
        enable_if_t<sm_elements<A> + sm_elements<B> + (0 + ... + sm_elements<More>) == N, int> = 0>
    SM_INLINE vec(const A &a, const B &b, const More &...more) {
        int k = 0;
        sm_put(v, k, a);
        sm_put(v, k, b);
        (sm_put(v, k, more), ...);
    }
    SM_INLINE T &operator[](int i) { return v[i]; }
    SM_INLINE const T &operator[](int i) const { return v[i]; }
    template <int... I> SM_INLINE sm_selected<T, I...> sm_select() { return {v}; }
    template <int... I> SM_INLINE vec<T, sizeof...(I)> sm_swizzle() const {
        return vec<T, sizeof...(I)>(v[I]...);
    }
    SM_INLINE vec operator-() const {
        vec out;
        for (int i = 0; i < N; i++)
            out.v[i] = (T)-v[i];
        return out;
    }
    SM_INLINE vec operator+() const { return *this; }
    SM_INLINE vec operator~() const {
        vec out;
        for (int i = 0; i < N; i++)
            out.v[i] = (T)~v[i];
        return out;
    }
    SM_INLINE vec<bool, N> operator!() const {
        vec<bool, N> out;
        for (int i = 0; i < N; i++)
            out.v[i] = !v[i];
        return out;
    }
    SM_INLINE vec &operator++() { return *this = *this + vec((T)1); }
    SM_INLINE vec &operator--() { return *this = *this - vec((T)1); }
};

template <class T, int N> struct packed_vec : sm_packed_storage<T, N> {
    using sm_packed_storage<T, N>::v;
    packed_vec() = default;
    SM_INLINE packed_vec(const vec<T, N> &other) {
        for (int i = 0; i < N; i++)
            v[i] = other.v[i];
    }
    template <class... More, enable_if_t<sizeof...(More) == N, int> = 0>
    SM_INLINE packed_vec(const More &...more) {
        int k = 0;
        (sm_put(v, k, more), ...);
    }
    SM_INLINE T &operator[](int i) { return v[i]; }
    SM_INLINE const T &operator[](int i) const { return v[i]; }
    template <int... I> SM_INLINE sm_selected<T, I...> sm_select() { return {v}; }
    template <int... I> SM_INLINE vec<T, sizeof...(I)> sm_swizzle() const {
        return vec<T, sizeof...(I)>(v[I]...);
    }
};

// Operators: vector with vector, and with a scalar, which becomes a vector of its type.

#define SM_OPERATOR(op, R)                                                                         \
    template <class T, int N>                                                                      \
    SM_INLINE vec<R, N> operator op(const vec<T, N> &a, const vec<T, N> &b) {                      \
        vec<R, N> out;                                                                             \
        for (int i = 0; i < N; i++)                                                                \
            out.v[i] = (R)(a.v[i] op b.v[i]);                                                      \
        return out;                                                                                \
    }                                                                                              \
    template <class T, int N, class S, enable_if_t<is_arithmetic_v<S>, int> = 0>                   \
    SM_INLINE vec<R, N> operator op(const vec<T, N> &a, S b) {                                     \
        return a op vec<T, N>(b);                                                                  \
    }                                                                                              \
    template <class T, int N, class S, enable_if_t<is_arithmetic_v<S>, int> = 0>                   \
    SM_INLINE vec<R, N> operator op(S a, const vec<T, N> &b) {                                     \
        return vec<T, N>(a) op b;                                                                  \
    }
SM_OPERATOR(+, T)
SM_OPERATOR(-, T)
SM_OPERATOR(*, T)
SM_OPERATOR(/, T)
SM_OPERATOR(%, T)
SM_OPERATOR(&, T)
SM_OPERATOR(|, T)
SM_OPERATOR(^, T)
SM_OPERATOR(<<, T)
SM_OPERATOR(>>, T)
SM_OPERATOR(<, bool)
SM_OPERATOR(<=, bool)
SM_OPERATOR(>, bool)
SM_OPERATOR(>=, bool)
SM_OPERATOR(==, bool)
SM_OPERATOR(!=, bool)
SM_OPERATOR(&&, bool)
SM_OPERATOR(||, bool)
#undef SM_OPERATOR
#define SM_ASSIGN(op)                                                                              \
    template <class T, int N, class B>                                                             \
    SM_INLINE vec<T, N> &operator op## = (vec<T, N> & a, const B &b) {                             \
        return a = a op b;                                                                         \
    }
SM_ASSIGN(+)
SM_ASSIGN(-)
SM_ASSIGN(*)
SM_ASSIGN(/)
SM_ASSIGN(%)
SM_ASSIGN(&)
SM_ASSIGN(|)
SM_ASSIGN(^)
SM_ASSIGN(<<)
SM_ASSIGN(>>)
#undef SM_ASSIGN

template <int N> SM_INLINE bool any(const vec<bool, N> &a) {
    bool out = false;
    for (int i = 0; i < N; i++)
        out |= a.v[i];
    return out;
}
template <int N> SM_INLINE bool all(const vec<bool, N> &a) {
    bool out = true;
    for (int i = 0; i < N; i++)
        out &= a.v[i];
    return out;
}
SM_INLINE bool any(bool a) { return a; }
SM_INLINE bool all(bool a) { return a; }

template <class T, int N> SM_INLINE T dot(const vec<T, N> &a, const vec<T, N> &b) {
    T out = a.v[0] * b.v[0];
    for (int i = 1; i < N; i++)
        out += a.v[i] * b.v[i];
    return out;
}

#define SM_NAMES(T)                                                                                \
    typedef vec<T, 2> T##2;                                                                        \
    typedef vec<T, 3> T##3;                                                                        \
    typedef vec<T, 4> T##4;                                                                        \
    typedef packed_vec<T, 2> packed_##T##2;                                                        \
    typedef packed_vec<T, 3> packed_##T##3;                                                        \
    typedef packed_vec<T, 4> packed_##T##4;
SM_NAMES(bool)
SM_NAMES(char)
SM_NAMES(uchar)
SM_NAMES(short)
SM_NAMES(ushort)
SM_NAMES(int)
SM_NAMES(uint)
SM_NAMES(long)
SM_NAMES(ulong)
SM_NAMES(half)
SM_NAMES(bfloat)
SM_NAMES(float)
#undef SM_NAMES

// Arrays as values.
template <class T, size_t N> struct array {
    T elements[N];
    SM_INLINE T &operator[](size_t i) { return elements[i]; }
    SM_INLINE const T &operator[](size_t i) const { return elements[i]; }
    static constexpr size_t size() { return N; }
};

} // namespace metal
} // namespace msl
