/* Functions of one complex64 element, named `function_c64` as in the rows' formulas.
 *
 * Rules:
 *   - everything is float: products keep what rounding took (fma), quotients and moduli are scaled
 *     by powers of two, so that nothing overflows on the way;
 *   - branch cuts, infinities, NaN and signs of zero are those of C (Annex G);
 *   - order is lexicographic: real parts first, then imaginary ones.
 */
#ifndef MLXC_COMPLEX_H
#define MLXC_COMPLEX_H

#include "mathematics.h"

/* ---- parts ---- */

inline float real_c64(complex64 x) { return x.x; }
inline float imag_c64(complex64 x) { return x.y; }
inline complex64 conjugate_c64(complex64 x) { return complex64(x.x, -x.y); }
inline complex64 negative_c64(complex64 x) { return complex64(-x.x, -x.y); }
inline complex64 rint_c64(complex64 x) { return complex64(rint(x.x), rint(x.y)); }

/* The product with a real number. */
inline complex64 stretch_c64(complex64 x, float factor) {
    return complex64(x.x * factor, x.y * factor);
}

inline complex64 degrees_c64(complex64 x) { return stretch_c64(x, 57.29577951308232f); }
inline complex64 radians_c64(complex64 x) { return stretch_c64(x, 0.017453292519943295f); }

/* x * i. */
inline complex64 turn_c64(complex64 x) { return complex64(-x.y, x.x); }

/* x / i. */
inline complex64 turn_back_c64(complex64 x) { return complex64(x.y, -x.x); }

inline bool is_negative(float x) { return as_type<int>(x) < 0; }

/* A power of two by which the larger of |x| and |y| comes near 1; 0 where there is none. */
inline int magnitude(float x, float y) {
    float m = max(fabs(x), fabs(y));
    return m > 0.0f && m < INFINITY ? exponent_f32(m) : 0;
}

/* sqrt(a**2 + b**2) for numbers near 1. */
inline float near_hypot(float a, float b) { return sqrt(fma(a, a, b * b)); }

inline float abs_c64(complex64 x) {
    if (fabs(x.x) == INFINITY || fabs(x.y) == INFINITY)
        return INFINITY;
    int k = magnitude(x.x, x.y);
    return scale_f32(near_hypot(scale_f32(x.x, -k), scale_f32(x.y, -k)), k);
}

/* x / |x|, and 0 at 0. */
inline complex64 sign_c64(complex64 x) {
    float size = abs_c64(x);
    if (size == 0.0f)
        return complex64(0.0f, 0.0f);
    return complex64(x.x / size, x.y / size);
}

/* ---- order ---- */

inline bool isnan_c64(complex64 x) { return (x.x != x.x) | (x.y != x.y); }
inline bool isinf_c64(complex64 x) { return (fabs(x.x) == INFINITY) | (fabs(x.y) == INFINITY); }
inline bool isfinite_c64(complex64 x) { return (fabs(x.x) < INFINITY) & (fabs(x.y) < INFINITY); }
inline bool isposinf_c64(complex64 x) { return x.x == INFINITY; }
inline bool isneginf_c64(complex64 x) { return x.x == -INFINITY; }
inline bool equal_c64(complex64 x, complex64 y) { return (x.x == y.x) & (x.y == y.y); }
inline bool not_equal_c64(complex64 x, complex64 y) { return (x.x != y.x) | (x.y != y.y); }
inline bool less_c64(complex64 x, complex64 y) {
    return (x.x < y.x) | ((x.x == y.x) & (x.y < y.y));
}
inline bool less_equal_c64(complex64 x, complex64 y) {
    return (x.x < y.x) | ((x.x == y.x) & (x.y <= y.y));
}
inline bool greater_c64(complex64 x, complex64 y) { return less_c64(y, x); }
inline bool greater_equal_c64(complex64 x, complex64 y) { return less_equal_c64(y, x); }

inline complex64 maximum_c64(complex64 x, complex64 y) {
    return isnan_c64(x) | (!isnan_c64(y) & less_c64(y, x)) ? x : y;
}
inline complex64 minimum_c64(complex64 x, complex64 y) {
    return isnan_c64(x) | (!isnan_c64(y) & less_c64(x, y)) ? x : y;
}

/* ---- arithmetic ---- */

inline complex64 add_c64(complex64 x, complex64 y) { return complex64(x.x + y.x, x.y + y.y); }
inline complex64 subtract_c64(complex64 x, complex64 y) { return complex64(x.x - y.x, x.y - y.y); }

/* a b + c d with one rounding or two (Kahan); plainly where that is not finite. */
inline float sum_of_products(float a, float b, float c, float d) {
    float p = c * d;
    float r = fma(a, b, p) + fma(c, d, -p);
    return fabs(r) < INFINITY ? r : a * b + c * d;
}

inline complex64 multiply_c64(complex64 x, complex64 y) {
    return complex64(sum_of_products(x.x, y.x, -x.y, y.y), sum_of_products(x.x, y.y, x.y, y.x));
}

inline complex64 square_c64(complex64 x) { return multiply_c64(x, x); }

inline complex64 divide_c64(complex64 x, complex64 y) {
    bool finite = isfinite_c64(x);
    if (isinf_c64(y) & finite) {
        /* A finite number over an infinite one is 0 with the sign of the quotient. */
        float c = copysign(fabs(y.x) == INFINITY ? 1.0f : 0.0f, y.x);
        float d = copysign(fabs(y.y) == INFINITY ? 1.0f : 0.0f, y.y);
        return complex64(0.0f * (x.x * c + x.y * d), 0.0f * (x.y * c - x.x * d));
    }
    int j = finite ? magnitude(x.x, x.y) : 0;
    int k = isfinite_c64(y) ? magnitude(y.x, y.y) : 0;
    float a = scale_f32(x.x, -j), b = scale_f32(x.y, -j);
    float c = scale_f32(y.x, -k), d = scale_f32(y.y, -k);
    float size = fma(c, c, d * d);
    float re = sum_of_products(a, c, b, d) / size, im = sum_of_products(b, c, -a, d) / size;
    int shift = j - k;
    return complex64(scale_f32(re, shift), scale_f32(im, shift));
}

inline complex64 reciprocal_c64(complex64 x) { return divide_c64(complex64(1.0f, 0.0f), x); }

/* ---- roots ---- */

inline complex64 sqrt_c64(complex64 x) {
    float a = x.x, b = x.y;
    if (fabs(b) == INFINITY)
        return complex64(INFINITY, b);
    if (a == INFINITY)
        return complex64(a, b != b ? b : copysign(0.0f, b));
    if (a == -INFINITY)
        return complex64(b != b ? b : 0.0f, copysign(INFINITY, b));
    if (a != a || b != b)
        return complex64(NAN, NAN);
    if (a == 0.0f && b == 0.0f)
        return complex64(0.0f, b);
    int k = magnitude(a, b) >> 1;
    a = scale_f32(a, -2 * k);
    b = scale_f32(b, -2 * k);
    float t = sqrt((fabs(a) + near_hypot(a, b)) * 0.5f);
    float u = fabs(b) / (t + t);
    return complex64(scale_f32(a >= 0.0f ? t : u, k), copysign(scale_f32(a >= 0.0f ? u : t, k), b));
}

inline complex64 rsqrt_c64(complex64 x) { return reciprocal_c64(sqrt_c64(x)); }

/* ---- exponentials and logarithms ---- */

inline complex64 exp_c64(complex64 x) {
    float a = x.x, b = x.y;
    if (b == 0.0f)
        return complex64(exp(a), b);
    if (!(fabs(b) < INFINITY)) {
        if (a == -INFINITY)
            return complex64(0.0f, 0.0f);
        return complex64(a == INFINITY ? a : NAN, NAN);
    }
    /* exp(a) may overflow where a part does not. */
    float extra = a > 88.0f && a < 177.0f ? 88.0f : 0.0f;
    float size = exp(a - extra), top = extra > 0.0f ? 1.65163625e38f : 1.0f;
    return complex64(size * cos(b) * top, size * sin(b) * top);
}

/* log|x|, accurate also where |x| is near 1. */
inline float log_abs(complex64 x) {
    float a = max(fabs(x.x), fabs(x.y)), b = min(fabs(x.x), fabs(x.y));
    if (fabs(x.x) == INFINITY || fabs(x.y) == INFINITY)
        return INFINITY;
    if (x.x != x.x || x.y != x.y)
        return NAN;
    if (a == 0.0f)
        return -INFINITY;
    if (a > 0.5f && a < 2.0f) {
        float aa = a * a, bb = b * b;
        float low = fma(a, a, -aa) + fma(b, b, -bb);
        float t = aa - 1.0f, sum = t + bb;
        low += (t - (sum - bb)) + (bb - (sum - (sum - bb)));
        return 0.5f * log1p_f32(sum + low);
    }
    int k = magnitude(a, b);
    float n = float(k), r = log(near_hypot(scale_f32(a, -k), scale_f32(b, -k)));
    return fma(n, 0.693359375f, fma(n, -2.12194440e-4f, r));
}

inline complex64 log_c64(complex64 x) { return complex64(log_abs(x), arctan2_f32(x.y, x.x)); }
inline complex64 log2_c64(complex64 x) { return stretch_c64(log_c64(x), 1.4426950408889634f); }
inline complex64 log10_c64(complex64 x) { return stretch_c64(log_c64(x), 0.4342944819032518f); }

/* log|1 + x| = log1p(a**2 + 2a + b**2) / 2 keeps small x. */
inline complex64 log1p_c64(complex64 x) {
    if (isnan_c64(x))
        return complex64(NAN, NAN);
    float angle = arctan2_f32(x.y, 1.0f + x.x);
    if (fabs(x.x) < 0.5f && fabs(x.y) < 0.5f) {
        float bb = x.y * x.y, p = x.x * (x.x + 2.0f);
        float low = fma(x.y, x.y, -bb) + fma(x.x, x.x + 2.0f, -p);
        return complex64(0.5f * log1p_f32((p + bb) + low), angle);
    }
    return complex64(log_abs(complex64(1.0f + x.x, x.y)), angle);
}

inline complex64 logaddexp_c64(complex64 x, complex64 y) {
    complex64 high = x.x < y.x ? y : x;
    complex64 low = x.x < y.x ? x : y;
    if (high.x == -INFINITY)
        return high;
    return add_c64(high, log1p_c64(exp_c64(subtract_c64(low, high))));
}

/* exp(y log x); 1 where y is 0, and 0 where x is 0 and y has a positive real part. The relative
 * error grows with |y log x|: the processor computes it in float64, which MSL has not. */
inline complex64 power_c64(complex64 x, complex64 y) {
    if (y.x == 0.0f && y.y == 0.0f)
        return complex64(1.0f, 0.0f);
    if (x.x == 0.0f && x.y == 0.0f) {
        float v = y.x > 0.0f ? 0.0f : NAN;
        return complex64(v, v);
    }
    return exp_c64(multiply_c64(y, log_c64(x)));
}

/* ---- hyperbolic and circular functions ---- */

/* Beyond 80 through exp, whose product with a sine overflows only where the result does. */
inline complex64 sinh_c64(complex64 x) {
    float a = x.x, b = x.y;
    if (b == 0.0f)
        return complex64(sinh_f32(a), b);
    if (!(fabs(b) < INFINITY)) {
        if (a == 0.0f)
            return complex64(a, NAN);
        return complex64(fabs(a) == INFINITY ? a : NAN, NAN);
    }
    float s = sin(b), c = cos(b);
    if (fabs(a) > 80.0f) {
        complex64 e = exp_c64(complex64(fabs(a) - 0.693147181f, b));
        return complex64(is_negative(a) ? -e.x : e.x, e.y);
    }
    return complex64(sinh_f32(a) * c, cosh(a) * s);
}

inline complex64 cosh_c64(complex64 x) {
    float a = x.x, b = x.y;
    if (b == 0.0f)
        return complex64(cosh(a), is_negative(a) ? -b : b);
    if (!(fabs(b) < INFINITY)) {
        if (a == 0.0f)
            return complex64(NAN, a);
        return complex64(fabs(a) == INFINITY ? INFINITY : NAN, NAN);
    }
    float s = sin(b), c = cos(b);
    if (fabs(a) > 80.0f) {
        complex64 e = exp_c64(complex64(fabs(a) - 0.693147181f, b));
        return complex64(e.x, is_negative(a) ? -e.y : e.y);
    }
    return complex64(cosh(a) * c, sinh_f32(a) * s);
}

/* Kahan, "Branch cuts for complex elementary functions", 1987. */
inline complex64 tanh_c64(complex64 x) {
    float a = x.x, b = x.y;
    if (fabs(a) == INFINITY)
        return complex64(copysign(1.0f, a),
                         copysign(0.0f, fabs(b) < INFINITY ? sin(b) * cos(b) : b));
    if (b == 0.0f)
        return complex64(tanh_f32(a), b);
    if (!(fabs(b) < INFINITY))
        return complex64(a == 0.0f ? a : NAN, NAN);
    float s = sin(b), c = cos(b);
    if (fabs(a) > 11.0f) {
        float e = exp(-fabs(a));
        return complex64(copysign(1.0f, a), 4.0f * s * c * e * e);
    }
    float h = sinh_f32(a), size = fma(c, c, h * h);
    return complex64(h * sqrt(fma(h, h, 1.0f)) / size, s * c / size);
}

inline complex64 sin_c64(complex64 x) { return turn_back_c64(sinh_c64(turn_c64(x))); }
inline complex64 cos_c64(complex64 x) { return cosh_c64(turn_c64(x)); }
inline complex64 tan_c64(complex64 x) { return turn_back_c64(tanh_c64(turn_c64(x))); }

/* ---- their inverses ---- */

/* What arcsin and arccos of x + iy, x and y >= 0 finite, are made of: (angle of arcsin, angle of
 * arccos, imaginary part). Hull, Fairgrieve, Tang, "Implementing the complex arcsine and arccosine
 * functions using exception handling", 1997. */
inline float3 arcsine_parts(float x, float y) {
    if (x > 1e7f || y > 1e7f)
        return float3(arctan2_f32(x, y), arctan2_f32(y, x),
                      log_abs(complex64(x, y)) + 0.693147181f);
    float r = abs_c64(complex64(x + 1.0f, y)), s = abs_c64(complex64(x - 1.0f, y));
    float a = 0.5f * (r + s);
    float b = x / a, yy = y * y;
    float beside = r + x + 1.0f; /* yy / beside is what r exceeds x + 1 by, and so on */
    float sine, cosine;
    if (b <= 0.6417f) {
        sine = asin(b);
        cosine = acos(b);
    } else {
        float q;
        if (x <= 1.0f)
            q = sqrt(0.5f * (a + x) * (yy / beside + (s + (1.0f - x))));
        else
            q = y * sqrt(0.5f * ((a + x) / beside + (a + x) / (s + (x - 1.0f))));
        sine = arctan2_f32(x, q);
        cosine = arctan2_f32(q, x);
    }
    float height;
    if (y < 1e-12f && x < 1.0f) /* the square of y would vanish */
        height = y / sqrt((1.0f - x) * (1.0f + x));
    else if (a <= 1.5f) {
        float over = x < 1.0f ? yy / (s + (1.0f - x)) : s + (x - 1.0f);
        float above = 0.5f * (yy / beside + over);
        height = log1p_f32(above + sqrt(above * (a + 1.0f)));
    } else
        height = log(a + sqrt(fma(a, a, -1.0f)));
    return float3(sine, cosine, height);
}

inline complex64 arcsinh_c64(complex64 x) {
    float a = x.x, b = x.y;
    bool a_nan = a != a, b_nan = b != b;
    if (fabs(a) == INFINITY)
        return complex64(a, b_nan ? b : copysign(fabs(b) == INFINITY ? 0.785398163f : 0.0f, b));
    if (fabs(b) == INFINITY)
        return complex64(copysign(INFINITY, a), a_nan ? NAN : copysign(1.57079633f, b));
    if (a_nan)
        return complex64(a, b == 0.0f ? b : NAN);
    if (b_nan)
        return complex64(NAN, NAN);
    float3 parts = arcsine_parts(fabs(b), fabs(a));
    return complex64(copysign(parts.z, a), copysign(parts.x, b));
}

inline complex64 arcsin_c64(complex64 x) { return turn_back_c64(arcsinh_c64(turn_c64(x))); }

inline complex64 arccos_c64(complex64 x) {
    float a = x.x, b = x.y;
    bool a_nan = a != a, b_nan = b != b;
    if (fabs(b) == INFINITY) {
        float angle = a == INFINITY ? 0.785398163f : a == -INFINITY ? 2.35619449f : 1.57079633f;
        return complex64(a_nan ? NAN : angle, -b);
    }
    if (fabs(a) == INFINITY)
        return complex64(b_nan      ? NAN
                         : a > 0.0f ? 0.0f
                                    : 3.14159265f,
                         b_nan ? INFINITY : copysign(INFINITY, -b));
    if (a_nan || b_nan)
        return complex64(a == 0.0f ? 1.57079633f : NAN, NAN);
    float3 parts = arcsine_parts(fabs(a), fabs(b));
    float angle = is_negative(a) ? 3.14159274f - (parts.y + 8.74227766e-8f) : parts.y;
    return complex64(angle, copysign(parts.z, -b));
}

/* i arccos(x) or -i arccos(x), whichever has a real part that is not negative. */
inline complex64 arccosh_c64(complex64 x) {
    complex64 angle = arccos_c64(x);
    if (angle.y != angle.y)
        return complex64(NAN, x.x == 0.0f ? 1.57079633f : NAN);
    return complex64(fabs(angle.y), copysign(angle.x, x.y));
}

inline complex64 arctanh_c64(complex64 x) {
    float a = x.x, b = x.y;
    if (fabs(b) == INFINITY)
        return complex64(copysign(0.0f, a), copysign(1.57079633f, b));
    if (fabs(a) == INFINITY)
        return complex64(copysign(0.0f, a), b != b ? b : copysign(1.57079633f, b));
    if (a != a || b != b)
        return complex64(a == 0.0f ? a : NAN, NAN);
    float m = fabs(a), n = fabs(b);
    if (m > 1e7f || n > 1e7f) { /* the real part of 1 / x */
        complex64 inverse = reciprocal_c64(x);
        return complex64(inverse.x, copysign(1.57079633f, b));
    }
    float gap = 1.0f - m, square = fma(gap, gap, n * n);
    float re = m == 1.0f && n > 0.0f && n < 1e-6f /* the square of n might vanish */
                   ? 0.346573590f - 0.5f * log(n)
                   : 0.25f * log1p_f32(4.0f * m / square);
    /* (1 - m)(1 + m) - n**2, kept where they cancel. */
    float side = sum_of_products(gap, 1.0f + m, -n, n);
    float im = 0.5f * arctan2_f32(n + n, side);
    return complex64(copysign(re, a), copysign(im, b));
}

inline complex64 arctan_c64(complex64 x) { return turn_back_c64(arctanh_c64(turn_c64(x))); }

#endif
