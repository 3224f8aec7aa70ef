/* Real functions of one element, named `function_type` as in the rows' formulas, and functions of
 * integers, `function_int`.
 *
 * Rules:
 *   - what MSL computes to a few units in the last place with fast mathematics off is MSL's;
 *     the rest is here, in float alone: MSL has no double;
 *   - functions hold for every operand; NaN, infinities and the sign of zero are those of the
 *     processor's functions (mlxc/_kernels/mathematics.pxd), denormals may be flushed;
 *   - polynomials are minimax fits made for this project; the interval stands beside each.
 */
#ifndef MLXC_MATHEMATICS_H
#define MLXC_MATHEMATICS_H

#include "common.h"

/* ---- MSL's own ---- */

inline float abs_f32(float x) { return fabs(x); }
inline float sqrt_f32(float x) { return sqrt(x); }
inline float rsqrt_f32(float x) { return 1.0f / sqrt(x); }
inline float floor_f32(float x) { return floor(x); }
inline float ceil_f32(float x) { return ceil(x); }
inline float trunc_f32(float x) { return trunc(x); }
inline float rint_f32(float x) { return rint(x); }
inline float exp_f32(float x) { return exp(x); }
inline float log_f32(float x) { return log(x); }
inline float log2_f32(float x) { return log2(x); }
inline float log10_f32(float x) { return log10(x); }
inline float sin_f32(float x) { return sin(x); }
inline float cos_f32(float x) { return cos(x); }
inline float tan_f32(float x) { return tan(x); }
inline float arcsin_f32(float x) { return asin(x); }
inline float arccos_f32(float x) { return acos(x); }
inline float arctan_f32(float x) { return atan(x); }
inline float cosh_f32(float x) { return cosh(x); }
inline float arccosh_f32(float x) { return acosh(x); }
inline float arctanh_f32(float x) { return atanh(x); }

/* ---- bits ---- */

/* 2**k for -126 <= k <= 127. */
inline float power_of_two(int k) { return as_type<float>((k + 127) << 23); }

/* x * 2**k for |k| <= 252: in two factors, since one alone may overflow or vanish. */
inline float scale_f32(float x, int k) {
    return x * power_of_two(k >> 1) * power_of_two(k - (k >> 1));
}

/* The exponent of a positive normal number. */
inline int exponent_f32(float x) { return (as_type<int>(x) >> 23) - 127; }

/* ---- exponentials ---- */

/* exp(r) - 1 for |r| <= 0.347. */
inline float expm1_reduced(float r) {
    float q = 0.000198458673f;
    q = fma(q, r, 0.00139407433f);
    q = fma(q, r, 0.00833338966f);
    q = fma(q, r, 0.0416663595f);
    q = fma(q, r, 0.166666664f);
    q = fma(q, r, 0.5f);
    return fma(q, r * r, r);
}

/* expm1 for -30 <= c <= 89, halved: finite where the result is the largest float. */
inline float half_expm1(float c) {
    float n = rint(c * 1.44269504f);
    float r = fma(n, -0.693359375f, c);
    r = fma(n, 2.12194440e-4f, r);
    float s = power_of_two(int(n) - 1);
    return s * expm1_reduced(r) + (s - 0.5f);
}

inline float expm1_f32(float x) {
    float c = x > 89.0f ? 89.0f : x;
    c = c < -30.0f ? -30.0f : c;
    if (!(fabs(x) >= 1e-10f)) /* NaN too */
        return x;
    return half_expm1(c) * 2.0f;
}

/* With e = expm1(2a): e / (e + 2), for a = |x|. */
inline float tanh_f32(float x) {
    float a = fabs(x);
    if (!(a >= 1e-10f))
        return x;
    float p = half_expm1(a > 10.0f ? 20.0f : a + a);
    return copysign(p / (p + 1.0f), x);
}

/* exp(x) / (1 + exp(x)) for negative x, which does not overflow. */
inline float sigmoid_f32(float x) {
    float e = exp(-fabs(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* With e = expm1(|x|): (e + e / (e + 1)) / 2. */
inline float sinh_f32(float x) {
    float a = fabs(x);
    if (!(a >= 1e-10f))
        return x;
    if (a > 80.0f) { /* expm1 would overflow before the half of it does */
        float h = exp(a * 0.5f);
        return copysign(h * 0.5f * h, x);
    }
    float h = half_expm1(a);
    return copysign(h + h / (h + h + 1.0f), x);
}

/* ---- logarithms ---- */

/* log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1], without the leading f - f**2 / 2. */
inline float log1p_polynomial(float f) {
    float p = 0.0693729269f;
    p = fma(p, f, -0.118467356f);
    p = fma(p, f, 0.118887991f);
    p = fma(p, f, -0.12377487f);
    p = fma(p, f, 0.142171176f);
    p = fma(p, f, -0.166694837f);
    p = fma(p, f, 0.200021873f);
    p = fma(p, f, -0.249999838f);
    p = fma(p, f, 0.33333314f);
    return p * (f * f * f);
}

inline float log1p_f32(float x) {
    if (x == 0.0f || !(x < INFINITY))
        return x;
    if (!(x > -1.0f))
        return x == -1.0f ? -INFINITY : NAN;
    float u = 1.0f + x;
    int bits = as_type<int>(u);
    int k = (bits - 0x3F3504F3) >> 23;
    float e = float(k);
    /* Where 1 + x needs no scaling it need not be rounded; elsewhere what rounding took is added.
     */
    float f = k == 0 ? x : as_type<float>(bits - (k << 23)) - 1.0f;
    float lost = x > 1.0f ? 1.0f - (u - x) : x - (u - 1.0f);
    float small = (k == 0 ? 0.0f : lost / u) + log1p_polynomial(f);
    small = fma(e, -2.12194440e-4f, small);
    return (f + (small - 0.5f * (f * f))) + e * 0.693359375f;
}

inline float arcsinh_f32(float x) {
    float a = fabs(x);
    float r;
    if (a > 1e8f)
        r = log(a) + 0.693147181f;
    else
        r = log1p_f32(a + a * a / (1.0f + sqrt(fma(a, a, 1.0f))));
    return copysign(r, x);
}

inline float logaddexp_f32(float x, float y) {
    if (x != x || y != y)
        return x + y;
    float high = x > y ? x : y;
    /* Where x == y the difference is 0, or NaN for two infinities. */
    float d = x == y ? 0.0f : -fabs(x - y);
    return high + log1p_f32(exp(d));
}

/* ---- angles ---- */

inline float arctan2_f32(float y, float x) {
    float a = fabs(y), b = fabs(x);
    float top = a > b ? b : a;
    float bottom = a > b ? a : b;
    bottom = bottom == 0.0f ? 1.0f : bottom;
    float q = top == INFINITY && bottom == INFINITY ? 1.0f : top / bottom;
    float p = atan(q);
    p = a > b ? 1.57079637f - (p + 4.37113883e-8f) : p;
    p = as_type<int>(x) < 0 ? 3.14159274f - (p + 8.74227766e-8f) : p;
    return a != a || b != b ? NAN : copysign(p, y);
}

/* ---- the error function and its inverse ---- */

inline float erf_f32(float x) {
    float a = fabs(x), z = x * x;
    float p = 7.85385791e-5f; /* |x| <= 1 */
    p = fma(p, z, -0.000801019223f);
    p = fma(p, z, 0.00518832748f);
    p = fma(p, z, -0.0268538118f);
    p = fma(p, z, 0.112835851f);
    p = fma(p, z, -0.376126258f);
    p = fma(p, z, 0.128379166f);
    p = fma(p, x, x);
    /* erfc(a) on [1, 3.94]; beyond that erf is 1. */
    float u = a > 3.94f ? 3.94f : a;
    u = (u - 2.5f) * 0.666666667f;
    float q = -0.000303822822f;
    q = fma(q, u, -0.00012733685f);
    q = fma(q, u, 0.00217572909f);
    q = fma(q, u, -0.00144844469f);
    q = fma(q, u, -0.00484152153f);
    q = fma(q, u, 0.0103062259f);
    q = fma(q, u, -0.00653267719f);
    q = fma(q, u, -0.00952289391f);
    q = fma(q, u, 0.0318360466f);
    q = fma(q, u, -0.0464041469f);
    q = fma(q, u, 0.0436562108f);
    q = fma(q, u, -0.028185806f);
    q = fma(q, u, 0.0122525723f);
    q = fma(q, u, -0.00326732017f);
    q = fma(q, u, 0.000406954311f);
    return a > 1.0f ? copysign(1.0f - q, x) : p;
}

/* x times a function of w = -log(1 - x**2). */
inline float erfinv_f32(float x) {
    float a = fabs(x);
    if (!(a < 1.0f))
        return a == 1.0f ? copysign(INFINITY, x) : NAN;
    float w = a < 0.5f ? -log1p_f32(-x * x) : -log((1.0f - a) * (1.0f + a));
    float v = w - 2.625f;
    float p = 4.551520648e-10f; /* w < 5.25 */
    p = fma(p, v, -8.0173495e-09f);
    p = fma(p, v, 6.99550429e-09f);
    p = fma(p, v, 4.74993743e-07f);
    p = fma(p, v, -3.015201e-06f);
    p = fma(p, v, -7.36709494e-06f);
    p = fma(p, v, 0.000214401966f);
    p = fma(p, v, -0.00114453198f);
    p = fma(p, v, -0.0046267626f);
    p = fma(p, v, 0.245538938f);
    p = fma(p, v, 1.53217173f);
    v = sqrt(w) - 3.0f;
    float q = 0.000114529465f;
    q = fma(q, v, -0.000303275006f);
    q = fma(q, v, -6.165300418e-05f);
    q = fma(q, v, 0.00147987439f);
    q = fma(q, v, -0.00359241616f);
    q = fma(q, v, 0.00568827152f);
    q = fma(q, v, -0.00763858861f);
    q = fma(q, v, 0.0094451802f);
    q = fma(q, v, 1.00167505f);
    q = fma(q, v, 2.8329768f);
    return x * (w < 5.25f ? p : q);
}

/* ---- powers ---- */

/* log2(a) of a positive finite number as a sum of two floats, to about 2**-31 of itself. */
inline float2 log2_pair(float a) {
    bool small = a < 1.17549435e-38f;
    float scaled = small ? a * 8388608.0f : a;
    int bits = as_type<int>(scaled);
    int k = (bits - 0x3F3504F3) >> 23;
    float m = as_type<float>(bits - (k << 23)); /* in [sqrt(1/2), sqrt(2)) */
    float e = float(k) - (small ? 23.0f : 0.0f);
    /* s = (m - 1) / (m + 1) in two floats. */
    float top = m - 1.0f, bottom = m + 1.0f;
    float bottom_low = m - (bottom - 1.0f);
    float s = top / bottom;
    float s_low = (fma(-s, bottom, top) - s * bottom_low) / bottom;
    /* log2(m) = (2 / log(2)) (s + s**3 / 3 + s**5 / 5 + ...). */
    float z = s * s;
    float p = 0.0980517474f;
    p = fma(p, z, 0.110870444f);
    p = fma(p, z, 0.142860852f);
    p = fma(p, z, 0.199999974f);
    p = fma(p, z, 0.333333333f);
    float tail = fma(p * z, s, s_low); /* what is beside s */
    float c = 2.88539004f, c_low = 3.85195547e-8f;
    float product = s * c;
    float low = fma(s, c, -product) + fma(s, c_low, tail * c);
    float high = e + product;
    float back = high - e;
    return float2(high, (e - (high - back)) + (product - back) + low);
}

/* 2**(high + low) for |high| <= 300. */
inline float exp2_pair(float high, float low) {
    float n = rint(high);
    float r = ((high - n) + low) * 0.693147181f;
    int k = int(n);
    k = k < -252 ? -252 : k;
    k = k > 252 ? 252 : k;
    return scale_f32(1.0f + expm1_reduced(r), k);
}

inline float power_f32(float x, float y) {
    float a = fabs(x);
    if (y == 0.0f || x == 1.0f)
        return 1.0f;
    if (x != x || y != y)
        return x + y;
    float r;
    if (a == 0.0f)
        r = y > 0.0f ? 0.0f : INFINITY;
    else if (a == INFINITY)
        r = y > 0.0f ? INFINITY : 0.0f;
    else if (a == 1.0f)
        r = 1.0f;
    else if (fabs(y) == INFINITY)
        r = (a > 1.0f) == (y > 0.0f) ? INFINITY : 0.0f;
    else {
        float2 l = log2_pair(a);
        float high = y * l.x;
        if (fabs(high) > 300.0f)
            r = high > 0.0f ? INFINITY : 0.0f;
        else
            r = exp2_pair(high, fma(y, l.x, -high) + y * l.y);
    }
    if (as_type<int>(x) >= 0)
        return r;
    float h = y * 0.5f;
    bool whole = fabs(y) == INFINITY || rint(y) == y;
    bool odd = whole && fabs(y) < INFINITY && rint(h) != h;
    return whole ? (odd ? -r : r) : (a == 0.0f || a == INFINITY ? r : NAN);
}

/* ---- remainders ---- */

/* The remainder of positive finite a by positive finite b, towards zero: exact, digit by digit. */
inline float long_remainder(float a, float b) {
    uint ua = as_type<uint>(a), ub = as_type<uint>(b);
    int ea = int(ua >> 23), eb = int(ub >> 23);
    uint ma = ea ? (ua & 0x7FFFFF) | 0x800000 : ua;
    uint mb = eb ? (ub & 0x7FFFFF) | 0x800000 : ub;
    ea = ea ? ea : 1;
    eb = eb ? eb : 1;
    ma = ma % mb;
    for (int shift = ea - eb; shift > 0;) {
        int step = shift < 8 ? shift : 8;
        ma = (ma << step) % mb;
        shift -= step;
    }
    return scale_f32(float(ma), eb - 150); /* ma counts units of that */
}

inline float remainder_f32(float x, float y) {
    float a = fabs(x), b = fabs(y);
    if (!(a < INFINITY) || y != y || b == 0.0f)
        return NAN;
    float r;
    if (a < b)
        r = a; /* infinite b too */
    else if (a < b * 8388608.0f) {
        /* The quotient may have been rounded up to an integer: then r is negative, and exact. */
        r = fma(-trunc(a / b), b, a);
        r = r < 0.0f ? r + b : r;
    } else
        r = long_remainder(a, b);
    r = x < 0.0f ? -r : r;
    r = r != 0.0f && (r < 0.0f) != (y < 0.0f) ? r + y : r;
    return r == 0.0f ? copysign(r, y) : r;
}

/* ---- integers ---- */

template <typename T> inline T floor_divide_int(T x, T y) {
    if (y == T(0))
        return T(0);
    if (T(-1) < T(0) && y == T(-1))
        return wrapping_negative<T>(x);
    T q = x / y;
    return (x - q * y != T(0)) && ((x < T(0)) != (y < T(0))) ? q - T(1) : q;
}

template <typename T> inline T remainder_int(T x, T y) {
    if (y == T(0) || (T(-1) < T(0) && y == T(-1)))
        return T(0);
    T r = x % y;
    return (r != T(0)) && ((r < T(0)) != (y < T(0))) ? r + y : r;
}

/* A negative power is the reciprocal truncated: 0, except for bases 1 and -1. */
template <typename T> inline T power_int(T x, T y) {
    T result = T(1);
    if (y < T(0)) {
        if (x == T(-1))
            return (y & T(1)) != T(0) ? T(-1) : T(1);
        return x == T(1) ? T(1) : T(0);
    }
    for (; y != T(0); y = y >> 1) {
        if ((y & T(1)) != T(0))
            result = wrapping_multiply<T>(result, x);
        x = wrapping_multiply<T>(x, x);
    }
    return result;
}

/* Counts outside the width move every bit out. */
template <typename T> inline T left_shift_int(T x, T y) {
    typedef typename Bits<T>::type U;
    const U width = U(sizeof(T) * 8);
    return U(y) < width ? T(U(x) << (U(y) & (width - U(1)))) : T(0);
}

template <typename T> inline T right_shift_int(T x, T y) {
    typedef typename Bits<T>::type U;
    const U width = U(sizeof(T) * 8);
    if (U(y) < width)
        return x >> (U(y) & (width - U(1)));
    return x < T(0) ? T(-1) : T(0);
}

#endif
