// MSL's mathematical and integer functions, for scalars and elementwise for vectors.
//
// Rules: half types compute in float and round once. What MSL does not have (erf, log1p, expm1) is
// not here, so that no shader comes to need it.
#pragma once

#include "vectors.h"

#ifdef __CUDACC__
#define SM_C(name) ::name
#else
#define SM_C(name) __builtin_##name
#endif

namespace msl {
namespace metal {

template <class T> inline constexpr bool sm_real = is_floating_point_v<T>;

#ifndef __CUDACC__
// sin(pi x), or cos(pi x): x less the nearest multiple of 1/2 is exact.
SM_INLINE float sm_sine(float x, int quarters) {
    float halves = __builtin_rintf(2.0f * x);
    float rest = M_PI_F * (x - 0.5f * halves);
    int quadrant = ((int)__builtin_fmodf(halves, 4.0f) + quarters) & 3;
    float value = quadrant & 1 ? __builtin_cosf(rest) : __builtin_sinf(rest);
    return quadrant & 2 ? -value : value;
}
#endif

// Functions of floats: f(float) gives each type its own.
#define SM_UNARY(name, expression)                                                                 \
    template <class T, enable_if_t<sm_real<T>, int> = 0> SM_INLINE T name(T given) {               \
        float x = (float)given;                                                                    \
        return (T)(expression);                                                                    \
    }                                                                                              \
    template <class T, int N> SM_INLINE vec<T, N> name(const vec<T, N> &given) {                   \
        vec<T, N> out;                                                                             \
        for (int i = 0; i < N; i++)                                                                \
            out.v[i] = name(given.v[i]);                                                           \
        return out;                                                                                \
    }
#define SM_BINARY(name, expression)                                                                \
    template <class T, enable_if_t<sm_real<T>, int> = 0> SM_INLINE T name(T left, T right) {       \
        float x = (float)left, y = (float)right;                                                   \
        return (T)(expression);                                                                    \
    }                                                                                              \
    template <class T, int N> SM_INLINE vec<T, N> name(const vec<T, N> &a, const vec<T, N> &b) {   \
        vec<T, N> out;                                                                             \
        for (int i = 0; i < N; i++)                                                                \
            out.v[i] = name(a.v[i], b.v[i]);                                                       \
        return out;                                                                                \
    }
#define SM_TEST(name, expression)                                                                  \
    template <class T, enable_if_t<sm_real<T>, int> = 0> SM_INLINE bool name(T given) {            \
        float x = (float)given;                                                                    \
        return expression;                                                                         \
    }                                                                                              \
    template <class T, int N> SM_INLINE vec<bool, N> name(const vec<T, N> &given) {                \
        vec<bool, N> out;                                                                          \
        for (int i = 0; i < N; i++)                                                                \
            out.v[i] = name(given.v[i]);                                                           \
        return out;                                                                                \
    }

SM_UNARY(acos, SM_C(acosf)(x))
SM_UNARY(acosh, SM_C(acoshf)(x))
SM_UNARY(asin, SM_C(asinf)(x))
SM_UNARY(asinh, SM_C(asinhf)(x))
SM_UNARY(atan, SM_C(atanf)(x))
SM_UNARY(atanh, SM_C(atanhf)(x))
SM_UNARY(ceil, SM_C(ceilf)(x))
SM_UNARY(cos, SM_C(cosf)(x))
SM_UNARY(cosh, SM_C(coshf)(x))
SM_UNARY(exp, SM_C(expf)(x))
SM_UNARY(exp2, SM_C(exp2f)(x))
SM_UNARY(exp10, SM_C(powf)(10.0f, x))
SM_UNARY(fabs, SM_C(fabsf)(x))
SM_UNARY(floor, SM_C(floorf)(x))
SM_UNARY(fract, SM_C(fminf)(x - SM_C(floorf)(x), 0.99999994f))
SM_UNARY(log, SM_C(logf)(x))
SM_UNARY(log10, SM_C(log10f)(x))
SM_UNARY(log2, SM_C(log2f)(x))
SM_UNARY(rint, SM_C(rintf)(x))
SM_UNARY(round, SM_C(roundf)(x))
SM_UNARY(rsqrt, 1.0f / SM_C(sqrtf)(x))
SM_UNARY(saturate, SM_C(fminf)(SM_C(fmaxf)(x, 0.0f), 1.0f))
SM_UNARY(sign, x > 0 ? 1.0f : x < 0 ? -1.0f : x == 0 ? x : 0.0f)
SM_UNARY(sin, SM_C(sinf)(x))
SM_UNARY(sinh, SM_C(sinhf)(x))
#ifdef __CUDACC__
SM_UNARY(sinpi, ::sinpif(x))
SM_UNARY(cospi, ::cospif(x))
#else // about the nearest half of a turn, whose sine is exact
SM_UNARY(sinpi, sm_sine(x, 0))
SM_UNARY(cospi, sm_sine(x, 1))
#endif
SM_UNARY(sqrt, SM_C(sqrtf)(x))
SM_UNARY(tan, SM_C(tanf)(x))
SM_UNARY(tanh, SM_C(tanhf)(x))
SM_UNARY(trunc, SM_C(truncf)(x))
SM_BINARY(atan2, SM_C(atan2f)(x, y))
SM_BINARY(copysign, SM_C(copysignf)(x, y))
SM_BINARY(fdim, SM_C(fdimf)(x, y))
SM_BINARY(fmax, SM_C(fmaxf)(x, y))
SM_BINARY(fmin, SM_C(fminf)(x, y))
SM_BINARY(fmod, SM_C(fmodf)(x, y))
SM_BINARY(nextafter, SM_C(nextafterf)(x, y))
SM_BINARY(pow, SM_C(powf)(x, y))
SM_BINARY(powr, SM_C(powf)(x, y))
SM_BINARY(step, y < x ? 0.0f : 1.0f)
SM_TEST(isnan, x != x)
SM_TEST(isinf, SM_C(fabsf)(x) == INFINITY)
SM_TEST(isfinite, SM_C(fabsf)(x) < INFINITY)
SM_TEST(isnormal, SM_C(fabsf)(x) < INFINITY && SM_C(fabsf)(x) >= FLT_MIN)
SM_TEST(signbit, (__builtin_bit_cast(uint, x) >> 31) != 0)
#undef SM_UNARY
#undef SM_BINARY
#undef SM_TEST

template <class T, enable_if_t<sm_real<T>, int> = 0> SM_INLINE T fma(T a, T b, T c) {
    return (T)SM_C(fmaf)((float)a, (float)b, (float)c);
}
template <class T, int N>
SM_INLINE vec<T, N> fma(const vec<T, N> &a, const vec<T, N> &b, const vec<T, N> &c) {
    vec<T, N> out;
    for (int i = 0; i < N; i++)
        out.v[i] = fma(a.v[i], b.v[i], c.v[i]);
    return out;
}
SM_INLINE float divide(float a, float b) { return a / b; }
SM_INLINE float ldexp(float x, int k) { return SM_C(ldexpf)(x, k); }
SM_INLINE int ilogb(float x) { return SM_C(ilogbf)(x); }
SM_INLINE float frexp(float x, int &k) { return SM_C(frexpf)(x, &k); }
SM_INLINE float modf(float x, float &whole) {
    whole = SM_C(truncf)(x);
    return SM_C(fabsf)(x) == INFINITY ? SM_C(copysignf)(0.0f, x) : x - whole;
}
SM_INLINE float sincos(float x, float &cosine) {
    cosine = SM_C(cosf)(x);
    return SM_C(sinf)(x);
}
template <class T> SM_INLINE T mix(T a, T b, T t) { return a + (b - a) * t; }

// min and max of two of one type; of floats, the number where the other is NaN, as in MSL.
template <class T, enable_if_t<is_arithmetic_v<T>, int> = 0> SM_INLINE T min(T a, T b) {
    if constexpr (sm_real<T>)
        return fmin(a, b);
    else
        return b < a ? b : a;
}
template <class T, enable_if_t<is_arithmetic_v<T>, int> = 0> SM_INLINE T max(T a, T b) {
    if constexpr (sm_real<T>)
        return fmax(a, b);
    else
        return a < b ? b : a;
}
template <class T, enable_if_t<is_arithmetic_v<T>, int> = 0> SM_INLINE T abs(T a) {
    if constexpr (sm_real<T>)
        return fabs(a);
    else
        return a < 0 ? (T)(0 - a) : a;
}
template <class T, enable_if_t<is_arithmetic_v<T>, int> = 0> SM_INLINE T clamp(T x, T low, T high) {
    return min(max(x, low), high);
}
template <class T, enable_if_t<is_arithmetic_v<T>, int> = 0> SM_INLINE T select(T a, T b, bool c) {
    return c ? b : a;
}
template <class T, int N>
SM_INLINE vec<T, N> select(const vec<T, N> &a, const vec<T, N> &b, const vec<bool, N> &c) {
    vec<T, N> out;
    for (int i = 0; i < N; i++)
        out.v[i] = c.v[i] ? b.v[i] : a.v[i];
    return out;
}
#define SM_EACH2(name)                                                                             \
    template <class T, int N> SM_INLINE vec<T, N> name(const vec<T, N> &a, const vec<T, N> &b) {   \
        vec<T, N> out;                                                                             \
        for (int i = 0; i < N; i++)                                                                \
            out.v[i] = name(a.v[i], b.v[i]);                                                       \
        return out;                                                                                \
    }
#define SM_EACH1(name)                                                                             \
    template <class T, int N> SM_INLINE vec<T, N> name(const vec<T, N> &a) {                       \
        vec<T, N> out;                                                                             \
        for (int i = 0; i < N; i++)                                                                \
            out.v[i] = name(a.v[i]);                                                               \
        return out;                                                                                \
    }
SM_EACH2(min)
SM_EACH2(max)
SM_EACH1(abs)
template <class T, int N>
SM_INLINE vec<T, N> clamp(const vec<T, N> &x, const vec<T, N> &low, const vec<T, N> &high) {
    return min(max(x, low), high);
}

// Integers

template <class T, enable_if_t<is_integral_v<T>, int> = 0> SM_INLINE T popcount(T value) {
    T out = 0;
    for (make_unsigned_t<T> bits = (make_unsigned_t<T>)value; bits; bits &= bits - 1)
        out++;
    return out;
}
template <class T, enable_if_t<is_integral_v<T>, int> = 0> SM_INLINE T clz(T value) {
    int out = 0, width = (int)sizeof(T) * 8;
    while (out < width && !(((make_unsigned_t<T>)value >> (width - 1 - out)) & 1))
        out++;
    return (T)out;
}
template <class T, enable_if_t<is_integral_v<T>, int> = 0> SM_INLINE T ctz(T value) {
    int out = 0, width = (int)sizeof(T) * 8;
    while (out < width && !(((make_unsigned_t<T>)value >> out) & 1))
        out++;
    return (T)out;
}
template <class T, enable_if_t<is_integral_v<T>, int> = 0> SM_INLINE T reverse_bits(T value) {
    make_unsigned_t<T> in = (make_unsigned_t<T>)value, out = 0;
    for (unsigned i = 0; i < sizeof(T) * 8; i++)
        out = (make_unsigned_t<T>)(out << 1 | (in >> i & 1));
    return (T)out;
}
template <class T, enable_if_t<is_integral_v<T>, int> = 0> SM_INLINE T rotate(T value, T count) {
    constexpr unsigned width = sizeof(T) * 8;
    unsigned k = (unsigned)count % width;
    make_unsigned_t<T> in = (make_unsigned_t<T>)value;
    return (T)(k ? (make_unsigned_t<T>)(in << k | in >> (width - k)) : in);
}
template <class T, enable_if_t<is_integral_v<T>, int> = 0> SM_INLINE T mulhi(T a, T b) {
    if constexpr (sizeof(T) == 8) {
        typedef conditional_t<is_signed_v<T>, __int128, unsigned __int128> wide;
        return (T)((wide)a * (wide)b >> 64);
    } else {
        typedef conditional_t<is_signed_v<T>, long, ulong> wide;
        return (T)((wide)a * (wide)b >> (sizeof(T) * 8));
    }
}
template <class T, enable_if_t<is_integral_v<T>, int> = 0> SM_INLINE T mul24(T a, T b) {
    return a * b;
}
template <class T, enable_if_t<is_integral_v<T>, int> = 0>
SM_INLINE T extract_bits(T v, uint at, uint n) {
    constexpr unsigned width = sizeof(T) * 8;
    return n == 0 ? 0 : (T)((T)((make_unsigned_t<T>)v << (width - at - n)) >> (width - n));
}
SM_EACH1(popcount)
SM_EACH1(clz)
SM_EACH1(ctz)
SM_EACH2(mulhi)
SM_EACH2(rotate)
#undef SM_EACH1
#undef SM_EACH2

template <class T, int N> SM_INLINE T length_squared(const vec<T, N> &a) { return dot(a, a); }
template <class T, int N> SM_INLINE T length(const vec<T, N> &a) { return sqrt(dot(a, a)); }

namespace precise {
using namespace metal;
}
namespace fast {
using namespace metal;
}

} // namespace metal
} // namespace msl
