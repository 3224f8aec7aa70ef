"""Functions of one complex64 element, named `function_c64`.

Products and quotients are formed in float64, where float32 parts cannot overflow; transcendental
functions are the C library's, which knows the branch cuts. Order is lexicographic, as in NumPy:
real parts first, then imaginary ones.
"""

from mlxc._kernels.types cimport c64, f32, f64
from mlxc._kernels.mathematics cimport (
    INFINITY, NAN, abs_f32, abs_f64, arctan2_f64, copysign_f64, cos_f64, expm1_f64,
    log1p_f64, rint_f32, sin_f64,
)

cdef extern from "<math.h>" nogil:
    f32 hypot_f32 "hypotf"(f32, f32)

cdef extern from "<complex.h>" nogil:
    float complex csqrtf(float complex)
    float complex cexpf(float complex)
    float complex clogf(float complex)
    float complex csinf(float complex)
    float complex ccosf(float complex)
    float complex casinf(float complex)
    float complex cacosf(float complex)
    float complex catanf(float complex)
    float complex csinhf(float complex)
    float complex ccoshf(float complex)
    float complex casinhf(float complex)
    float complex cacoshf(float complex)
    float complex catanhf(float complex)
    double complex clog(double complex)
    double complex cexp(double complex)

cdef inline c64 make_c64(f32 re, f32 im) noexcept nogil:
    cdef c64 z
    z.re = re
    z.im = im
    return z

cdef inline float complex library(c64 x) noexcept nogil:
    """The C library's type. Part by part: re + im * 1j would make NaN of an infinite part."""
    cdef float complex z
    z.real = x.re
    z.imag = x.im
    return z

cdef inline c64 ours(float complex z) noexcept nogil:
    return make_c64(z.real, z.imag)

cdef inline double complex library_wide(c64 x) noexcept nogil:
    cdef double complex z
    z.real = <f64>x.re
    z.imag = <f64>x.im
    return z

# ---- parts ----

cdef inline f32 real_c64(c64 x) noexcept nogil:
    return x.re

cdef inline f32 imag_c64(c64 x) noexcept nogil:
    return x.im

cdef inline f32 abs_c64(c64 x) noexcept nogil:
    return hypot_f32(x.re, x.im)

cdef inline c64 conjugate_c64(c64 x) noexcept nogil:
    return make_c64(x.re, -x.im)

cdef inline c64 rint_c64(c64 x) noexcept nogil:
    return make_c64(rint_f32(x.re), rint_f32(x.im))

cdef inline c64 degrees_c64(c64 x) noexcept nogil:
    return make_c64(x.re * <f32>57.29577951308232, x.im * <f32>57.29577951308232)

cdef inline c64 radians_c64(c64 x) noexcept nogil:
    return make_c64(x.re * <f32>0.017453292519943295, x.im * <f32>0.017453292519943295)

cdef inline c64 sign_c64(c64 x) noexcept nogil:
    """x / |x|, and 0 at 0."""
    cdef f32 size = hypot_f32(x.re, x.im)
    if size == <f32>0.0:
        return make_c64(<f32>0.0, <f32>0.0)
    return make_c64(x.re / size, x.im / size)

# ---- arithmetic ----

cdef inline c64 negative_c64(c64 x) noexcept nogil:
    return make_c64(-x.re, -x.im)

cdef inline c64 add_c64(c64 x, c64 y) noexcept nogil:
    return make_c64(x.re + y.re, x.im + y.im)

cdef inline c64 subtract_c64(c64 x, c64 y) noexcept nogil:
    return make_c64(x.re - y.re, x.im - y.im)

cdef inline c64 multiply_c64(c64 x, c64 y) noexcept nogil:
    cdef f64 a = x.re, b = x.im, c = y.re, d = y.im
    return make_c64(<f32>(a * c - b * d), <f32>(a * d + b * c))

cdef inline c64 divide_c64(c64 x, c64 y) noexcept nogil:
    cdef f64 a = x.re, b = x.im, c = y.re, d = y.im, size
    if (abs_f64(c) == INFINITY) | (abs_f64(d) == INFINITY):
        # A finite number over an infinite one is 0 with the sign of the quotient (C, Annex G).
        if (abs_f64(a) < INFINITY) & (abs_f64(b) < INFINITY):
            c = copysign_f64(1.0 if abs_f64(c) == INFINITY else 0.0, c)
            d = copysign_f64(1.0 if abs_f64(d) == INFINITY else 0.0, d)
            return make_c64(<f32>(0.0 * (a * c + b * d)), <f32>(0.0 * (b * c - a * d)))
    size = c * c + d * d
    return make_c64(<f32>((a * c + b * d) / size), <f32>((b * c - a * d) / size))

cdef inline c64 square_c64(c64 x) noexcept nogil:
    return multiply_c64(x, x)

cdef inline c64 reciprocal_c64(c64 x) noexcept nogil:
    return divide_c64(make_c64(<f32>1.0, <f32>0.0), x)

# ---- order ----

cdef inline bint isnan_c64(c64 x) noexcept nogil:
    return (x.re != x.re) | (x.im != x.im)

cdef inline bint isinf_c64(c64 x) noexcept nogil:
    return (abs_f32(x.re) == INFINITY) | (abs_f32(x.im) == INFINITY)

cdef inline bint isfinite_c64(c64 x) noexcept nogil:
    return (abs_f32(x.re) < INFINITY) & (abs_f32(x.im) < INFINITY)

cdef inline bint isposinf_c64(c64 x) noexcept nogil:
    return x.re == INFINITY

cdef inline bint isneginf_c64(c64 x) noexcept nogil:
    return x.re == -INFINITY

cdef inline bint equal_c64(c64 x, c64 y) noexcept nogil:
    return (x.re == y.re) & (x.im == y.im)

cdef inline bint not_equal_c64(c64 x, c64 y) noexcept nogil:
    return (x.re != y.re) | (x.im != y.im)

cdef inline bint less_c64(c64 x, c64 y) noexcept nogil:
    return (x.re < y.re) | ((x.re == y.re) & (x.im < y.im))

cdef inline bint less_equal_c64(c64 x, c64 y) noexcept nogil:
    return (x.re < y.re) | ((x.re == y.re) & (x.im <= y.im))

cdef inline bint greater_c64(c64 x, c64 y) noexcept nogil:
    return less_c64(y, x)

cdef inline bint greater_equal_c64(c64 x, c64 y) noexcept nogil:
    return less_equal_c64(y, x)

cdef inline c64 maximum_c64(c64 x, c64 y) noexcept nogil:
    return x if (isnan_c64(x) | ((not isnan_c64(y)) & less_c64(y, x))) else y

cdef inline c64 minimum_c64(c64 x, c64 y) noexcept nogil:
    return x if (isnan_c64(x) | ((not isnan_c64(y)) & less_c64(x, y))) else y

# ---- transcendental ----

cdef inline c64 sqrt_c64(c64 x) noexcept nogil:
    return ours(csqrtf(library(x)))

cdef inline c64 rsqrt_c64(c64 x) noexcept nogil:
    return reciprocal_c64(sqrt_c64(x))

cdef inline c64 exp_c64(c64 x) noexcept nogil:
    return ours(cexpf(library(x)))

cdef inline c64 log_c64(c64 x) noexcept nogil:
    return ours(clogf(library(x)))

cdef inline c64 log2_c64(c64 x) noexcept nogil:
    cdef c64 z = log_c64(x)
    return make_c64(z.re * <f32>1.4426950408889634, z.im * <f32>1.4426950408889634)

cdef inline c64 log10_c64(c64 x) noexcept nogil:
    cdef c64 z = log_c64(x)
    return make_c64(z.re * <f32>0.4342944819032518, z.im * <f32>0.4342944819032518)

cdef inline c64 log1p_c64(c64 x) noexcept nogil:
    """log|1 + x| = log1p(a**2 + 2a + b**2) / 2 keeps small x."""
    cdef f64 a = x.re, b = x.im
    return make_c64(<f32>(0.5 * log1p_f64(a * (a + 2.0) + b * b)), <f32>arctan2_f64(b, 1.0 + a))

cdef inline c64 logaddexp_c64(c64 x, c64 y) noexcept nogil:
    cdef c64 high = y if x.re < y.re else x
    cdef c64 low = x if x.re < y.re else y
    if high.re == -INFINITY:
        return high
    return add_c64(high, log1p_c64(exp_c64(subtract_c64(low, high))))

cdef inline c64 sin_c64(c64 x) noexcept nogil:
    return ours(csinf(library(x)))

cdef inline c64 cos_c64(c64 x) noexcept nogil:
    return ours(ccosf(library(x)))

cdef inline c64 tan_c64(c64 x) noexcept nogil:
    """-i tanh(ix)."""
    cdef c64 z = tanh_c64(make_c64(-x.im, x.re))
    return make_c64(z.im, -z.re)

cdef inline c64 arcsin_c64(c64 x) noexcept nogil:
    return ours(casinf(library(x)))

cdef inline c64 arccos_c64(c64 x) noexcept nogil:
    return ours(cacosf(library(x)))

cdef inline c64 arctan_c64(c64 x) noexcept nogil:
    return ours(catanf(library(x)))

cdef inline c64 sinh_c64(c64 x) noexcept nogil:
    return ours(csinhf(library(x)))

cdef inline c64 cosh_c64(c64 x) noexcept nogil:
    return ours(ccoshf(library(x)))

cdef inline c64 tanh_c64(c64 x) noexcept nogil:
    """(sinh 2a + i sin 2b) / (cosh 2a + cos 2b), times 2 exp(-2a) above and below: nothing
    overflows, and with m = 1 - exp(-2a) nothing cancels.
    """
    cdef f64 a = abs_f64(x.re), b = x.im, m = -expm1_f64(-2.0 * a), s = sin_f64(b), c = cos_f64(b)
    cdef f64 e = 1.0 - m
    cdef f64 size = m * m + 4.0 * e * c * c
    cdef f64 re = m * (2.0 - m) / size
    cdef f64 im = 4.0 * e * s * c / size
    # C, Annex G: zeros stay beside a NaN, and the limit at infinity is a number.
    re = a if a == 0.0 else (1.0 if a == INFINITY else re)
    im = b if b == 0.0 else (copysign_f64(0.0, s * c) if a == INFINITY else im)
    return make_c64(<f32>copysign_f64(re, x.re), <f32>im)

cdef inline c64 arcsinh_c64(c64 x) noexcept nogil:
    return ours(casinhf(library(x)))

cdef inline c64 arccosh_c64(c64 x) noexcept nogil:
    return ours(cacoshf(library(x)))

cdef inline c64 arctanh_c64(c64 x) noexcept nogil:
    return ours(catanhf(library(x)))

cdef inline c64 power_c64(c64 x, c64 y) noexcept nogil:
    """exp(y log x) in float64; 1 where y is 0, and 0 where x is 0 and y has a positive real
    part.
    """
    cdef double complex z
    if (y.re == <f32>0.0) & (y.im == <f32>0.0):
        return make_c64(<f32>1.0, <f32>0.0)
    if (x.re == <f32>0.0) & (x.im == <f32>0.0):
        z = 0.0 if y.re > <f32>0.0 else <f64>NAN
        return make_c64(<f32>z.real, <f32>z.real)
    z = cexp(library_wide(y) * clog(library_wide(x)))
    return make_c64(<f32>z.real, <f32>z.imag)
