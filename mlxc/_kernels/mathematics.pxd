"""Real functions of one element, for loops that the C compiler vectorises: no branch, no call,
no table.

Rules. Every function is named `function_type`. Constants are cast, so that nothing widens by
accident. Selections are conditional expressions on values already computed. Clamps are written
`limit if x > limit else x`, which keeps NaN. The float32 functions used most (exp, expm1, log,
tanh, sigmoid, erf, power, and the polynomials of sin and cos) work in float32; the others work in
float64 lanes, whose range also disposes of overflow and denormals, and round once at the end.
Polynomials are minimax fits (Remez exchange) made for this file; the interval stands beside each.
Functions whose reduction holds for part of the range say which, and the loop around them switches
to the `_any` function beyond it. float64 functions are the C library's: they are rarely used, and a
vector version at full accuracy would not pay.
"""

from mlxc._kernels.types cimport f32, f64, i32, i64, u32, u64

cdef extern from "<math.h>" nogil:
    const float INFINITY
    const float NAN
    f32 abs_f32 "fabsf"(f32)
    f32 sqrt_f32 "sqrtf"(f32)
    f32 floor_f32 "floorf"(f32)
    f32 ceil_f32 "ceilf"(f32)
    f32 trunc_f32 "truncf"(f32)
    f32 rint_f32 "rintf"(f32)
    f32 copysign_f32 "copysignf"(f32, f32)
    f32 sin_any_f32 "sinf"(f32)
    f32 cos_any_f32 "cosf"(f32)
    f32 tan_any_f32 "tanf"(f32)
    f32 fmod_f32 "fmodf"(f32, f32)
    f64 abs_f64 "fabs"(f64)
    f64 sqrt_f64 "sqrt"(f64)
    f64 floor_f64 "floor"(f64)
    f64 ceil_f64 "ceil"(f64)
    f64 trunc_f64 "trunc"(f64)
    f64 rint_f64 "rint"(f64)
    f64 copysign_f64 "copysign"(f64, f64)
    f64 fmod_f64 "fmod"(f64, f64)
    f64 exp_f64 "exp"(f64)
    f64 expm1_f64 "expm1"(f64)
    f64 log_f64 "log"(f64)
    f64 log2_f64 "log2"(f64)
    f64 log10_f64 "log10"(f64)
    f64 log1p_f64 "log1p"(f64)
    f64 sin_f64 "sin"(f64)
    f64 cos_f64 "cos"(f64)
    f64 tan_f64 "tan"(f64)
    f64 arcsin_f64 "asin"(f64)
    f64 arccos_f64 "acos"(f64)
    f64 arctan_f64 "atan"(f64)
    f64 arctan2_f64 "atan2"(f64, f64)
    f64 sinh_f64 "sinh"(f64)
    f64 cosh_f64 "cosh"(f64)
    f64 tanh_f64 "tanh"(f64)
    f64 arcsinh_f64 "asinh"(f64)
    f64 arccosh_f64 "acosh"(f64)
    f64 arctanh_f64 "atanh"(f64)
    f64 erf_f64 "erf"(f64)
    f64 erfc_f64 "erfc"(f64)
    f64 power_f64 "pow"(f64, f64)

cdef extern from *:
    """
    /* a * b + c rounded once; without the instruction nearly so. */
    #if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    #define mlxc_fma(a, b, c) __builtin_fmaf(a, b, c)
    #else
    #define mlxc_fma(a, b, c) ((float)((double)(a) * (double)(b) + (double)(c)))
    #endif
    """
    f32 fma_f32 "mlxc_fma"(f32, f32, f32) noexcept nogil

# ---- bits ----

cdef union word32:
    f32 f
    i32 i

cdef union word64:
    f64 f
    u64 i

cdef inline f32 f32_of_bits(i32 bits) noexcept nogil:
    cdef word32 w
    w.i = bits
    return w.f

cdef inline i32 bits_of_f32(f32 x) noexcept nogil:
    cdef word32 w
    w.f = x
    return w.i

cdef inline f64 f64_of_bits(u64 bits) noexcept nogil:
    cdef word64 w
    w.i = bits
    return w.f

cdef inline u64 bits_of_f64(f64 x) noexcept nogil:
    cdef word64 w
    w.f = x
    return w.i

# Adding 1.5 * 2**23 (2**52) rounds to the nearest integer, half to even, and leaves that integer in
# the low bits.
cdef enum:
    ROUND_BITS_F32 = 0x4B400000

cdef inline f32 round_shift_f32() noexcept nogil:
    return <f32>12582912.0

cdef inline f64 round_shift_f64() noexcept nogil:
    return 6755399441055744.0

# ---- cores in float64, for float32 arguments: relative error near 1e-13 ----

cdef inline f64 exp_polynomial(f64 r) noexcept nogil:
    """(exp(r) - 1 - r) / r**2 for |r| <= log(2)/2."""
    cdef f64 q = 2.76393039737573014e-6
    q = q * r + 2.48761355056305817e-5
    q = q * r + 0.000198411754531519605
    q = q * r + 0.00138888217744874698
    q = q * r + 0.00833333337750346849
    q = q * r + 0.0416666668900519556
    q = q * r + 0.166666666665990287
    return q * r + 0.499999999998002438

cdef inline f64 exp_wide(f64 x) noexcept nogil:
    """exp(x), clamped to |x| <= 700."""
    cdef f64 t, n, r, p
    x = 700.0 if x > 700.0 else x
    x = -700.0 if x < -700.0 else x
    t = x * 1.4426950408889634 + round_shift_f64()
    n = t - round_shift_f64()
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    p = exp_polynomial(r) * (r * r) + r + 1.0
    return f64_of_bits(bits_of_f64(p) + (bits_of_f64(t) << 52))

cdef inline f64 expm1_wide(f64 x) noexcept nogil:
    """exp(x) - 1 with small relative error, clamped to |x| <= 700."""
    cdef f64 t, n, r, p, s
    x = 700.0 if x > 700.0 else x
    x = -700.0 if x < -700.0 else x
    t = x * 1.4426950408889634 + round_shift_f64()
    n = t - round_shift_f64()
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    p = exp_polynomial(r) * (r * r) + r
    s = f64_of_bits(bits_of_f64(1.0) + (bits_of_f64(t) << 52))
    return s * p + (s - 1.0)

cdef inline f64 exponent_wide(f64 x) noexcept nogil:
    """The integer e with x * 2**-e in [sqrt(1/2), sqrt(2)), for positive normal x."""
    cdef u64 biased = bits_of_f64(x) - <u64>0x3FE6A09E667F3BCD + <u64>0x4000000000000000
    # The exponent becomes the low bits of a float64 near 2**52: no 64-bit conversion, which AVX2
    # lacks.
    return f64_of_bits((biased >> 52) | <u64>0x4330000000000000) - 4503599627371520.0

cdef inline f64 log_fraction(f64 x) noexcept nogil:
    """log(x * 2**-exponent_wide(x)), by the series of 2 artanh(s)."""
    cdef u64 biased = bits_of_f64(x) - <u64>0x3FE6A09E667F3BCD + <u64>0x4000000000000000
    cdef f64 m, s, z, p
    biased = (biased & <u64>0xFFF0000000000000) - <u64>0x4000000000000000  # the exponent alone
    m = f64_of_bits(bits_of_f64(x) - biased)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = 0.196103494869060082
    p = p * z + 0.221740887763322193
    p = p * z + 0.285721701743584492
    p = p * z + 0.399999948507601497
    p = p * z + 0.666666666797257024
    p = p * z + 1.99999999999994635
    return p * s

cdef inline f64 log_wide(f64 x) noexcept nogil:
    """log(x) for positive, normal, finite x; anything else gives an arbitrary value."""
    return exponent_wide(x) * 0.6931471805599453 + log_fraction(x)

cdef inline f64 log1p_wide(f64 y) noexcept nogil:
    """log(1 + y) with small relative error, for finite y > -1."""
    cdef f64 u = 1.0 + y
    # What rounding took from u matters only where u is near 1; it is 1 at 2**53.
    return log_wide(u) + ((y - (u - 1.0)) if u < 1048576.0 else 0.0)

cdef inline f64 arctan_wide(f64 q) noexcept nogil:
    """arctan(q) for 0 <= q <= 1."""
    cdef f64 z = q * q, p
    p = -0.00068478473342246599
    p = p * z + 0.0048509076279923014
    p = p * z + -0.016111618029751639
    p = p * z + 0.034209522077021998
    p = p * z + -0.054279031809654621
    p = p * z + 0.072457138985855278
    p = p * z + -0.089802373679304674
    p = p * z + 0.11093240809465522
    p = p * z + -0.14283980686215117
    p = p * z + 0.19999912044849767
    p = p * z + -0.33333331570967392
    p = p * z + 0.99999999994122087
    return p * q

cdef inline f64 arcsin_wide(f64 q, f64 z) noexcept nogil:
    """arcsin(q) for q = sqrt(z), 0 <= z <= 1/4."""
    cdef f64 p = 0.033158624271496
    p = p * z + 0.0017151337182063713
    p = p * z + 0.020762514619812016
    p = p * z + 0.021838631037657002
    p = p * z + 0.030430115698967184
    p = p * z + 0.044640438276088751
    p = p * z + 0.075000060484611152
    p = p * z + 0.16666666608638884
    p = p * z + 1.0000000000009149
    return p * q

# ---- exponentials, float32 ----

cdef inline f32 expm1_reduced_f32(f32 r) noexcept nogil:
    """exp(r) - 1 for |r| <= 0.347."""
    cdef f32 q = <f32>0.000198458673
    q = q * r + <f32>0.00139407433
    q = q * r + <f32>0.00833338966
    q = q * r + <f32>0.0416663595
    q = q * r + <f32>0.166666664
    q = q * r + <f32>0.5
    return q * (r * r) + r

cdef inline f32 exp_reduced_f32(f32 r) noexcept nogil:
    """exp(r) for |r| <= 0.347: nothing cancels, so that one term less does."""
    cdef f32 q = <f32>0.0013814202
    q = q * r + <f32>0.008368899
    q = q * r + <f32>0.041668408
    q = q * r + <f32>0.1666652
    q = q * r + <f32>0.49999994
    return q * (r * r) + r + <f32>1.0

cdef inline f32 exp_f32(f32 x) noexcept nogil:
    # 254 more than the exponent: its two halves, which are added to 127 each, are factors as they
    # are. One factor would overflow at the top and be denormal at the bottom.
    cdef f32 shift = round_shift_f32() + <f32>254.0
    cdef f32 t = x * <f32>1.44269504 + shift
    cdef f32 n = t - shift
    cdef f32 r = (x - n * <f32>0.693359375) - n * <f32>-2.12194440e-4
    cdef f32 p = exp_reduced_f32(r)
    cdef i32 bits = bits_of_f32(t), half = bits >> 1
    p = p * f32_of_bits(half << 23) * f32_of_bits((bits - half) << 23)
    p = <f32>0.0 if x < <f32>-104.0 else p
    return <f32>INFINITY if x > <f32>89.0 else p

cdef inline f32 expm1_f32(f32 x) noexcept nogil:
    cdef f32 t, n, r, p, s
    cdef f32 c = <f32>89.0 if x > <f32>89.0 else x
    c = <f32>-30.0 if c < <f32>-30.0 else c
    t = c * <f32>1.44269504 + round_shift_f32()
    n = t - round_shift_f32()
    r = (c - n * <f32>0.693359375) - n * <f32>-2.12194440e-4
    p = expm1_reduced_f32(r)
    # Half of 2**n, which is finite also where the result is the largest float32.
    s = f32_of_bits(((bits_of_f32(t) - ROUND_BITS_F32) << 23) + 0x3F000000)
    p = (s * p + (s - <f32>0.5)) * <f32>2.0
    return x if abs_f32(x) < <f32>1e-10 else p  # halving would cost a denormal its last bit

cdef inline f32 tanh_f32(f32 x) noexcept nogil:
    """tanh(a) = expm1(2a) / (expm1(2a) + 2), for a = |x|."""
    cdef f32 t, n, r, p, s
    cdef f32 a = abs_f32(x) * <f32>2.0
    a = <f32>20.0 if a > <f32>20.0 else a
    t = a * <f32>1.44269504 + round_shift_f32()
    n = t - round_shift_f32()
    r = (a - n * <f32>0.693359375) - n * <f32>-2.12194440e-4
    s = f32_of_bits(((bits_of_f32(t) - ROUND_BITS_F32) << 23) + 0x3F800000)
    p = s * expm1_reduced_f32(r) + (s - <f32>1.0)
    return copysign_f32(p / (p + <f32>2.0), x)

cdef inline f32 sigmoid_f32(f32 x) noexcept nogil:
    """1 / (1 + exp(-x)). exp(-x) is p * a * b as in exp_f32; with 1/b above and below, nothing
    overflows, and what is denormal is rounded once."""
    cdef f32 c = <f32>105.0 if x > <f32>105.0 else x
    cdef f32 shift = round_shift_f32() + <f32>254.0, t, n, r, p, g
    cdef i32 bits, half
    c = <f32>-105.0 if c < <f32>-105.0 else c
    t = c * <f32>-1.44269504 + shift
    n = t - shift
    r = n * <f32>2.12194440e-4 - (n * <f32>0.693359375 + c)
    p = exp_reduced_f32(r)
    bits = bits_of_f32(t)
    half = bits >> 1
    g = f32_of_bits((254 - bits + half) << 23)
    return g / (g + p * f32_of_bits(half << 23))

cdef inline f32 sinh_f32(f32 x) noexcept nogil:
    cdef f64 t = expm1_wide(<f64>abs_f32(x))
    return copysign_f32(<f32>(0.5 * (t + t / (t + 1.0))), x)

cdef inline f32 cosh_f32(f32 x) noexcept nogil:
    cdef f64 e = exp_wide(<f64>abs_f32(x))
    return <f32>(0.5 * (e + 1.0 / e))

# ---- logarithms, float32 ----

cdef inline f64 log_specials(f64 result, f64 x) noexcept nogil:
    """-inf at 0, NaN below, x itself at inf and NaN."""
    result = result if x < <f64>INFINITY else x
    return result if x > 0.0 else (<f64>(-INFINITY) if x == 0.0 else <f64>NAN)

cdef inline bint is_normal_f32(f32 x) noexcept nogil:
    """Whether x is positive, normal and finite."""
    return <u32>(bits_of_f32(x) - 0x00800000) < 0x7F000000

cdef inline f32 log_normal_f32(f32 x, f32 more) noexcept nogil:
    """log(x * 2**more) for positive, normal, finite x."""
    cdef i32 bits = bits_of_f32(x), k = (bits - 0x3F3504F3) >> 23
    cdef f32 e = more + <f32>k, f, z, p
    f = f32_of_bits(bits - (k << 23)) - <f32>1.0  # in [sqrt(1/2) - 1, sqrt(2) - 1)
    z = f * f
    p = <f32>0.0693729269
    p = p * f + <f32>-0.118467356
    p = p * f + <f32>0.118887991
    p = p * f + <f32>-0.12377487
    p = p * f + <f32>0.142171176
    p = p * f + <f32>-0.166694837
    p = p * f + <f32>0.200021873
    p = p * f + <f32>-0.249999838
    p = p * f + <f32>0.33333314
    p = p * (f * z) + e * <f32>-2.12194440e-4
    return (f + (p - <f32>0.5 * z)) + e * <f32>0.693359375

cdef inline f32 log_f32(f32 x) noexcept nogil:
    """For positive, normal, finite x."""
    return log_normal_f32(x, <f32>-0.0)

cdef inline f32 log_any_f32(f32 x) noexcept nogil:
    cdef bint tiny = x < <f32>1.17549435e-38
    cdef f32 scaled = x * <f32>8388608.0 if tiny else x
    cdef f32 r = log_normal_f32(scaled, <f32>-23.0 if tiny else <f32>0.0)
    r = r if x < <f32>INFINITY else x
    return r if x > <f32>0.0 else (<f32>(-INFINITY) if x == <f32>0.0 else <f32>NAN)

cdef inline f32 log2_f32(f32 x) noexcept nogil:
    cdef f64 d = <f64>x
    return <f32>log_specials(exponent_wide(d) + log_fraction(d) * 1.4426950408889634, d)

cdef inline f32 log10_f32(f32 x) noexcept nogil:
    cdef f64 d = <f64>x
    return <f32>log_specials(log_wide(d) * 0.4342944819032518, d)

cdef inline f32 log1p_f32(f32 x) noexcept nogil:
    cdef f64 d = <f64>x
    cdef f64 r = log_specials(log1p_wide(d), 1.0 + d)
    return <f32>(d if d == 0.0 else r)

cdef inline f32 logaddexp_f32(f32 x, f32 y) noexcept nogil:
    cdef f64 a = <f64>x, b = <f64>y, m, d
    m = a if a > b else b
    d = -abs_f64(a - b)
    # Where a == b the difference is 0, or NaN for two infinities.
    d = 0.0 if a == b else d
    d = m + log1p_wide(exp_wide(d))
    return <f32>(a + b if a != a else d)

# ---- circular functions, float32 ----

cdef inline f32 sincos_f32(f32 x, i32 quarter) noexcept nogil:
    """sin(x + quarter * pi/2) for |x| < 1.6e6: the product of n with the first part of pi/2 is
    exact.
    """
    cdef f64 d = <f64>x, n
    cdef f32 r, z, s, c
    cdef i32 k
    n = (d * 0.63661977236758134 + round_shift_f64()) - round_shift_f64()
    r = <f32>((d - n * 1.5707963267341256) - n * 6.077100506506192e-11)
    k = <i32>n + quarter
    z = r * r
    s = <f32>2.71727839e-6
    s = s * z + <f32>-0.000198392541
    s = s * z + <f32>0.00833332931
    s = s * z + <f32>-0.166666666
    s = s * (z * r) + r
    c = <f32>2.44632121e-5
    c = c * z + <f32>-0.00138876498
    c = c * z + <f32>0.0416666546
    c = c * (z * z) + (<f32>1.0 - <f32>0.5 * z)
    s = c if (k & 1) != 0 else s
    return f32_of_bits(bits_of_f32(s) ^ ((k & 2) << 30))

cdef inline f32 sin_f32(f32 x) noexcept nogil:
    """For |x| < 1.6e6."""
    cdef f32 s = sincos_f32(x, 0)
    return x if x == <f32>0.0 else s

cdef inline f32 cos_f32(f32 x) noexcept nogil:
    """For |x| < 1.6e6."""
    return sincos_f32(x, 1)

cdef inline f32 tan_f32(f32 x) noexcept nogil:
    """For |x| < 1.6e6."""
    cdef f64 d = <f64>x, n, h, r, z, s, c
    n = (d * 0.63661977236758134 + round_shift_f64()) - round_shift_f64()
    r = (d - n * 1.5707963267341256) - n * 6.077100506506192e-11
    z = r * r
    s = 2.7172821848769359e-6
    s = s * z + -0.00019839195467446001
    s = s * z + 0.0083333287606613739
    s = s * z + -0.16666666631374206
    s = (s * z + 0.99999999999564127) * r
    c = -2.7172773067992076e-7
    c = c * z + 2.479891971434533e-5
    c = c * z + -0.0013888880350856986
    c = c * z + 0.041666666543095382
    c = c * z + -0.49999999999345826
    c = c * z + 0.99999999999994388
    # n is odd where half of it is not an integer.
    h = n * 0.5
    h = h - ((h + round_shift_f64()) - round_shift_f64())
    n = s if h == 0.0 else -c
    d = c if h == 0.0 else s
    return <f32>(n / d)

cdef inline f32 arctan_f32(f32 x) noexcept nogil:
    cdef f64 a = <f64>abs_f32(x), p
    cdef f64 top = 1.0 if a > 1.0 else a
    cdef f64 bottom = a if a > 1.0 else 1.0
    p = arctan_wide(top / bottom)
    p = 1.5707963267948966 - p if a > 1.0 else p
    return copysign_f32(<f32>p, x)

cdef inline f32 arctan2_f32(f32 y, f32 x) noexcept nogil:
    cdef f64 a = <f64>abs_f32(y), b = <f64>abs_f32(x), q, p
    cdef f64 side = copysign_f64(1.0, <f64>x)
    cdef f64 top = b if a > b else a
    cdef f64 bottom = a if a > b else b
    bottom = 1.0 if bottom == 0.0 else bottom
    q = top / bottom
    q = 1.0 if (top == <f64>INFINITY) & (bottom == <f64>INFINITY) else q
    p = arctan_wide(q)
    p = 1.5707963267948966 - p if a > b else p
    p = 3.141592653589793 - p if side < 0.0 else p
    return copysign_f32(<f32>p, y)

cdef inline f32 arcsin_f32(f32 x) noexcept nogil:
    cdef f64 a = <f64>abs_f32(x), z, q, root, p
    z = (1.0 - a) * 0.5
    root = sqrt_f64(z)
    q = root if a > 0.5 else a
    z = z if a > 0.5 else a * a
    p = arcsin_wide(q, z)
    p = 1.5707963267948966 - (p + p) if a > 0.5 else p
    return copysign_f32(<f32>p, x)

cdef inline f32 arccos_f32(f32 x) noexcept nogil:
    cdef f64 d = <f64>x, a, z, q, root, p, far
    a = abs_f64(d)
    z = (1.0 - a) * 0.5
    root = sqrt_f64(z)
    q = root if a > 0.5 else a
    z = z if a > 0.5 else a * a
    p = arcsin_wide(q, z)
    far = 3.141592653589793 - (p + p) if d < 0.0 else p + p
    p = far if a > 0.5 else 1.5707963267948966 - copysign_f64(p, d)
    return <f32>p

# ---- inverse hyperbolic functions, float32 ----

cdef inline f32 arcsinh_f32(f32 x) noexcept nogil:
    cdef f64 a = <f64>abs_f32(x), z, r
    z = a * a
    r = log1p_wide(a + z / (1.0 + sqrt_f64(z + 1.0)))
    r = r if a < <f64>INFINITY else a
    return copysign_f32(<f32>r, x)

cdef inline f32 arccosh_f32(f32 x) noexcept nogil:
    cdef f64 d = <f64>x, t, r
    t = d - 1.0
    r = log1p_wide(t + sqrt_f64(t * (t + 2.0)))
    r = r if d < <f64>INFINITY else d
    return <f32>(r if d >= 1.0 else <f64>NAN)

cdef inline f32 arctanh_f32(f32 x) noexcept nogil:
    cdef f64 a = <f64>abs_f32(x), r
    r = 0.5 * log1p_wide((a + a) / (1.0 - a))
    r = r if a < 1.0 else (<f64>INFINITY if a == 1.0 else <f64>NAN)
    return copysign_f32(<f32>r, x)

# ---- the error function and its inverse, float32 ----

cdef inline f32 erf_f32(f32 x) noexcept nogil:
    cdef f32 a = abs_f32(x), z, p, u, q
    z = x * x
    p = <f32>7.85385791e-5
    p = p * z + <f32>-0.000801019223
    p = p * z + <f32>0.00518832748
    p = p * z + <f32>-0.0268538118
    p = p * z + <f32>0.112835851
    p = p * z + <f32>-0.376126258
    p = p * z + <f32>0.128379166
    p = p * x + x
    # erfc(a) on [1, 3.94]; beyond that erf is 1 in float32.
    u = <f32>3.94 if a > <f32>3.94 else a
    u = (u - <f32>2.5) * <f32>0.666666667
    q = <f32>-0.000303822822
    q = q * u + <f32>-0.00012733685
    q = q * u + <f32>0.00217572909
    q = q * u + <f32>-0.00144844469
    q = q * u + <f32>-0.00484152153
    q = q * u + <f32>0.0103062259
    q = q * u + <f32>-0.00653267719
    q = q * u + <f32>-0.00952289391
    q = q * u + <f32>0.0318360466
    q = q * u + <f32>-0.0464041469
    q = q * u + <f32>0.0436562108
    q = q * u + <f32>-0.028185806
    q = q * u + <f32>0.0122525723
    q = q * u + <f32>-0.00326732017
    q = q * u + <f32>0.000406954311
    return copysign_f32(<f32>1.0 - q, x) if a > <f32>1.0 else p

cdef inline f64 erfinv_wide(f64 x) noexcept nogil:
    """erfinv(x) for |x| <= 1 - 2**-24, as x times a function of w = -log(1 - x**2); relative
    error 7e-9.
    """
    cdef f64 w = -log_wide(1.0 - x * x), v, near, far
    v = w - 2.625
    near = 4.551520648329212e-10
    near = near * v + -8.0173495401944259e-09
    near = near * v + 6.9955042877464585e-09
    near = near * v + 4.7499374293482096e-07
    near = near * v + -3.0152009967236171e-06
    near = near * v + -7.3670949422975563e-06
    near = near * v + 0.00021440196563553825
    near = near * v + -0.0011445319831536615
    near = near * v + -0.0046267625987114187
    near = near * v + 0.24553893763149629
    near = near * v + 1.5321717252133752
    v = sqrt_f64(w) - 3.0
    far = 0.00011452946504377986
    far = far * v + -0.00030327500590759925
    far = far * v + -6.1653004179848067e-05
    far = far * v + 0.0014798743938935749
    far = far * v + -0.0035924161598530413
    far = far * v + 0.0056882715216256167
    far = far * v + -0.007638588608319489
    far = far * v + 0.0094451801954515324
    far = far * v + 1.0016750470426397
    far = far * v + 2.8329768029398724
    return x * (near if w < 5.25 else far)

cdef inline f32 erfinv_f32(f32 x) noexcept nogil:
    cdef f64 d = <f64>x, r
    cdef f64 a = abs_f64(d)
    r = erfinv_wide(d)
    r = r if a < 1.0 else (copysign_f64(<f64>INFINITY, d) if a == 1.0 else <f64>NAN)
    return <f32>r

# ---- powers, quotients, roots, float32 ----

cdef inline f32 rsqrt_f32(f32 x) noexcept nogil:
    return <f32>1.0 / sqrt_f32(x)

cdef inline f32 log2_pair(f32 x, f32 less, f32* low) noexcept nogil:
    """log2(x) - less as a high part and, in `low`, the rest, for positive, normal, finite x;
    together within 2**-32 of its size.
    """
    cdef i32 bits = bits_of_f32(x), k = (bits - 0x3F5105EC) >> 23
    cdef f32 m = f32_of_bits(bits - (k << 23)), e = <f32>k - less  # m in [sqrt(2/3), sqrt(8/3))
    # Above sqrt(3/2) it is 4/3 times a number near 1; log2(4/3) in two parts.
    cdef bint far = m > <f32>1.22474487
    cdef f32 c = <f32>0.75 if far else <f32>1.0
    cdef f32 start = e + <f32>0.4150390625 if far else e
    cdef f32 f, r, s, z, rest, p, high, tail
    f = fma_f32(m, c, <f32>-1.0)
    # log2(1 + f) = 2 / log(2) (s + s**3 / 3 + ...) for s = f / (2 + f), |s| < 0.1011.
    r = <f32>1.0 / (f + <f32>2.0)
    s = f * r
    rest = fma_f32(-s, f, fma_f32(<f32>-2.0, s, f)) * r
    z = s * s
    p = <f32>0.418593156
    p = p * z + <f32>0.57703982
    p = p * z + <f32>0.961796759
    p = p * z + <f32>3.85195555e-8
    high = fma_f32(<f32>2.88539004, s, start)
    tail = fma_f32(<f32>2.88539004, s, start - high)
    tail = (tail + s * p) + rest * (z * <f32>2.88539004 + <f32>2.88539004)
    low[0] = tail - <f32>1.56322116e-6 if far else tail
    return high

cdef inline f32 exp2_reduced_f32(f32 r) noexcept nogil:
    """2**r for |r| <= 0.502."""
    cdef f32 q = <f32>0.000153529475
    q = q * r + <f32>0.00133993913
    q = q * r + <f32>0.00961844235
    q = q * r + <f32>0.0555033123
    q = q * r + <f32>0.240226478
    q = q * r + <f32>0.693147203
    return q * r + <f32>1.0

cdef inline bint is_plain_power_f32(f32 x, f32 y) noexcept nogil:
    """Whether x is positive, normal and finite and x**y neither overflows nor is denormal. As an
    integer, a float32 less 1 is 2**23 times its logarithm but for 0.09.
    """
    cdef f32 size = abs_f32(<f32>(bits_of_f32(x) - 0x3F800000) * y)
    return is_normal_f32(x) & (size < <f32>1e9)

cdef inline f32 power_f32(f32 x, f32 y) noexcept nogil:
    """2**(y * log2(x)) for plain powers."""
    cdef f32 low, high, t, shift, r
    high = log2_pair(x, <f32>0.0, &low)
    shift = round_shift_f32()
    t = (y * high + y * low) + shift
    r = fma_f32(y, low, fma_f32(y, high, shift - t))
    return f32_of_bits(bits_of_f32(exp2_reduced_f32(r)) + (bits_of_f32(t) << 23))

cdef inline f32 power_any_f32(f32 x, f32 y) noexcept nogil:
    """The same bits, and C's rules for zeros, infinities and negative x."""
    cdef f32 a = abs_f32(x), b, low, high, t, u, r, whole, half, shift
    cdef i32 bits
    cdef bint tiny = a < <f32>1.17549435e-38
    high = log2_pair(
        a * <f32>8388608.0 if tiny else a, <f32>23.0 if tiny else <f32>0.0, &low
    )
    high = <f32>(-INFINITY) if a == <f32>0.0 else high
    high = high if a < <f32>INFINITY else a
    # Beyond 2**32 all powers but those of 1 have over- or underflown.
    b = <f32>4294967296.0 if y > <f32>4294967296.0 else y
    b = <f32>-4294967296.0 if b < <f32>-4294967296.0 else b
    u = b * high + b * low
    shift = round_shift_f32() + <f32>254.0  # as in exp_f32
    t = u + shift
    r = fma_f32(b, low, fma_f32(b, high, shift - t))
    bits = bits_of_f32(t)
    r = exp2_reduced_f32(r) * f32_of_bits((bits >> 1) << 23)
    r = r * f32_of_bits((bits - (bits >> 1)) << 23)
    r = <f32>0.0 if u < <f32>-151.0 else r
    r = <f32>INFINITY if u > <f32>128.5 else r
    # Floats above 2**24 are even integers; the differences are NaN where y is infinite.
    whole = rint_f32(y) - y
    half = rint_f32(y * <f32>0.5) - y * <f32>0.5
    r = copysign_f32(r, x) if (whole == <f32>0.0) & (half != <f32>0.0) else r
    r = <f32>NAN if (x < <f32>0.0) & (a < <f32>INFINITY) & (abs_f32(whole) > <f32>0.0) else r
    return <f32>1.0 if (y == <f32>0.0) | (x == <f32>1.0) else r

cdef inline f32 remainder_f32(f32 x, f32 y) noexcept nogil:
    """x - floor(x / y) * y, exact in float64, for |x| < 2**29 |y| and finite y."""
    cdef f64 a = <f64>x, b = <f64>y, r
    r = a - floor_f64(a / b) * b
    # The quotient may have been rounded up to an integer.
    r = r + b if (r < 0.0) & (b > 0.0) else r
    r = r + b if (r > 0.0) & (b < 0.0) else r
    return copysign_f32(<f32>r, y)

cdef inline f32 remainder_any_f32(f32 x, f32 y) noexcept nogil:
    cdef f32 r = fmod_f32(x, y)
    r = r + y if (r != <f32>0.0) & ((r < <f32>0.0) != (y < <f32>0.0)) else r
    return copysign_f32(r, y) if r == <f32>0.0 else r

# ---- float64, where the C library has no function ----

cdef inline f64 rsqrt_f64(f64 x) noexcept nogil:
    return 1.0 / sqrt_f64(x)

cdef inline f64 sigmoid_f64(f64 x) noexcept nogil:
    cdef f64 e = exp_f64(-abs_f64(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)

cdef inline f64 logaddexp_f64(f64 x, f64 y) noexcept nogil:
    cdef f64 m = x if x > y else y
    cdef f64 d = 0.0 if x == y else -abs_f64(x - y)
    return x + y if x != x else m + log1p_f64(exp_f64(d))

cdef inline f64 remainder_f64(f64 x, f64 y) noexcept nogil:
    cdef f64 r = fmod_f64(x, y)
    r = r + y if (r != 0.0) & ((r < 0.0) != (y < 0.0)) else r
    return copysign_f64(r, y) if r == 0.0 else r

cdef inline f64 erfinv_f64(f64 x) noexcept nogil:
    """Halley's iteration on erfc from an asymptotic start; 1 - |x| is exact where it matters."""
    cdef f64 a = abs_f64(x), w, y, error
    cdef int _step
    if not a < 1.0:
        return copysign_f64(<f64>INFINITY, x) if a == 1.0 else <f64>NAN
    w = -log1p_f64(-a * a)
    # Winitzki, "A handy approximation for the error function and its inverse", 2008.
    y = 4.330746750799873 - 0.5 * w
    y = sqrt_f64(sqrt_f64(y * y + w * 6.802721088435375) - y) if a > 1e-3 else a * 0.886226925452758
    for _step in range(3):
        error = erf_f64(y) - a if a < 0.5 else (1.0 - a) - erfc_f64(y)
        error = error / (1.1283791670955126 * exp_f64(-y * y))
        y = y - error / (1.0 + y * error)
    return copysign_f64(y, x)
