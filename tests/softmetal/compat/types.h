// MSL's scalar types and type traits in C++, for clang and for NVRTC.
//
// Rules: no includes. What Apple's compiler refuses is refused here where it is cheap to do so:
// bfloat is made from float explicitly, and never meets half.
#pragma once

#ifdef __CUDACC__
#define SM_INLINE inline __attribute__((always_inline))
#define SM_COPY ::memcpy
#else
#define SM_INLINE inline __attribute__((always_inline))
#define SM_COPY __builtin_memcpy
#endif
#define METAL_FUNC SM_INLINE

#define INFINITY (__builtin_bit_cast(float, 0x7f800000u))
#define NAN (__builtin_bit_cast(float, 0x7fc00000u))
#define HUGE_VALF INFINITY
#define MAXFLOAT 3.40282346638528859811704183484516925e+38f
#define FLT_MAX 3.40282346638528859811704183484516925e+38f
#define FLT_MIN 1.17549435082228750796873653722224568e-38f
#define FLT_EPSILON 1.1920928955078125e-07f
#define M_E_F 2.71828182845904523536028747135266250f
#define M_LOG2E_F 1.44269504088896340735992468100189214f
#define M_LOG10E_F 0.434294481903251827651128918916605082f
#define M_LN2_F 0.693147180559945309417232121458176568f
#define M_LN10_F 2.30258509299404568401799145468436421f
#define M_PI_F 3.14159265358979323846264338327950288f
#define M_PI_2_F 1.57079632679489661923132169163975144f
#define M_PI_4_F 0.785398163397448309615660845819875721f
#define M_1_PI_F 0.318309886183790671537767526745028724f
#define M_2_PI_F 0.636619772367581343075535053490057448f
#define M_2_SQRTPI_F 1.12837916709551257389615890312154517f
#define M_SQRT2_F 1.41421356237309504880168872420969808f
#define M_SQRT1_2_F 0.707106781186547524400844362104849039f

namespace msl {

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
typedef unsigned long size_t;
typedef long ptrdiff_t;
typedef unsigned long uintptr_t;
typedef long intptr_t;

namespace metal {

// Traits

template <class T, T V> struct integral_constant {
    static constexpr T value = V;
    typedef T value_type;
    constexpr operator T() const { return V; }
};
template <bool B> using bool_constant = integral_constant<bool, B>;
typedef bool_constant<true> true_type;
typedef bool_constant<false> false_type;
template <bool B, class T = void> struct enable_if {};
template <class T> struct enable_if<true, T> {
    typedef T type;
};
template <bool B, class T = void> using enable_if_t = typename enable_if<B, T>::type;
template <bool B, class T, class F> struct conditional {
    typedef T type;
};
template <class T, class F> struct conditional<false, T, F> {
    typedef F type;
};
template <bool B, class T, class F> using conditional_t = typename conditional<B, T, F>::type;
template <class A, class B> inline constexpr bool is_same_v = false;
template <class A> inline constexpr bool is_same_v<A, A> = true;
template <class A, class B> struct is_same : bool_constant<is_same_v<A, B>> {};
template <class T> struct remove_cv {
    typedef T type;
};
template <class T> struct remove_cv<const T> {
    typedef T type;
};
template <class T> struct remove_cv<volatile T> {
    typedef T type;
};
template <class T> struct remove_cv<const volatile T> {
    typedef T type;
};
template <class T> using remove_cv_t = typename remove_cv<T>::type;
template <class T> using remove_const_t = remove_cv_t<T>;
template <class T> struct remove_reference {
    typedef T type;
};
template <class T> struct remove_reference<T &> {
    typedef T type;
};
template <class T> struct remove_reference<T &&> {
    typedef T type;
};
template <class T> using remove_reference_t = typename remove_reference<T>::type;
template <class T> inline constexpr bool is_pointer_v = false;
template <class T> inline constexpr bool is_pointer_v<T *> = true;

template <class T> inline constexpr bool sm_integral = false;
template <> inline constexpr bool sm_integral<bool> = true;
template <> inline constexpr bool sm_integral<char> = true;
template <> inline constexpr bool sm_integral<int8_t> = true;
template <> inline constexpr bool sm_integral<uint8_t> = true;
template <> inline constexpr bool sm_integral<short> = true;
template <> inline constexpr bool sm_integral<ushort> = true;
template <> inline constexpr bool sm_integral<int> = true;
template <> inline constexpr bool sm_integral<uint> = true;
template <> inline constexpr bool sm_integral<long> = true;
template <> inline constexpr bool sm_integral<ulong> = true;
template <> inline constexpr bool sm_integral<long long> = true;
template <> inline constexpr bool sm_integral<unsigned long long> = true;
template <class T> inline constexpr bool is_integral_v = sm_integral<remove_cv_t<T>>;
template <class T> struct is_integral : bool_constant<is_integral_v<T>> {};

// Half floats. `Format` 0 is half, 1 is bfloat. Each operation rounds, as in MSL.

template <class To, class From> constexpr SM_INLINE To as_type(const From &from) {
    static_assert(sizeof(To) == sizeof(From), "as_type needs types of one size");
    return __builtin_bit_cast(To, from);
}

#ifdef __CUDACC__
SM_INLINE uint16_t sm_bfloat_bits(float value) {
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#else
constexpr SM_INLINE uint16_t sm_bfloat_bits(float value) {
    uint bits = __builtin_bit_cast(uint, value);
    return (bits & 0x7fffffffu) > 0x7f800000u
               ? (uint16_t)((bits >> 16) | 0x40)
               : (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}
#endif

#ifdef __CUDACC__
SM_INLINE uint16_t sm_half_bits(float value) {
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
SM_INLINE float sm_half_value(uint16_t bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
#else
constexpr SM_INLINE uint16_t sm_half_bits(float value) {
    return __builtin_bit_cast(uint16_t, (_Float16)value);
}
constexpr SM_INLINE float sm_half_value(uint16_t bits) {
    return (float)__builtin_bit_cast(_Float16, bits);
}
#endif

struct sm_raw {};

template <int Format> struct sm_float16 {
    uint16_t bits;
    sm_float16() = default;
    constexpr SM_INLINE sm_float16(sm_raw, uint16_t given) : bits(given) {}
    static constexpr SM_INLINE uint16_t encode(float value) {
        return Format ? sm_bfloat_bits(value) : sm_half_bits(value);
    }
    template <class T, enable_if_t<is_integral_v<T> || (!Format && is_same_v<T, float>), int> = 0>
    constexpr SM_INLINE sm_float16(T value) : bits(encode((float)value)) {}
    template <class T, enable_if_t<Format && is_same_v<T, float>, int> = 0>
    constexpr SM_INLINE explicit sm_float16(T value) : bits(encode(value)) {}
    template <int Other, enable_if_t<Other != Format, int> = 0>
    constexpr SM_INLINE explicit sm_float16(sm_float16<Other> value) : bits(encode((float)value)) {}
#ifndef __CUDACC__
    constexpr SM_INLINE explicit sm_float16(_Float16 value) : bits(encode((float)value)) {}
#endif
    constexpr SM_INLINE operator float() const {
        return Format ? __builtin_bit_cast(float, (uint)bits << 16) : sm_half_value(bits);
    }
    constexpr SM_INLINE sm_float16 operator-() const {
        return {sm_raw(), (uint16_t)(bits ^ 0x8000)};
    }
    constexpr SM_INLINE sm_float16 operator+() const { return *this; }
    template <class U> constexpr SM_INLINE sm_float16 &operator+=(U other) {
        return *this = sm_float16((float)*this + (float)other);
    }
    template <class U> constexpr SM_INLINE sm_float16 &operator-=(U other) {
        return *this = sm_float16((float)*this - (float)other);
    }
    template <class U> constexpr SM_INLINE sm_float16 &operator*=(U other) {
        return *this = sm_float16((float)*this * (float)other);
    }
    template <class U> constexpr SM_INLINE sm_float16 &operator/=(U other) {
        return *this = sm_float16((float)*this / (float)other);
    }
};

#define SM_ARITHMETIC(op)                                                                          \
    template <int F>                                                                               \
    constexpr SM_INLINE sm_float16<F> operator op(sm_float16<F> a, sm_float16<F> b) {              \
        return sm_float16<F>((float)a op(float) b);                                                \
    }                                                                                              \
    template <int F> constexpr SM_INLINE float operator op(sm_float16<F> a, float b) {             \
        return (float)a op b;                                                                      \
    }                                                                                              \
    template <int F> constexpr SM_INLINE float operator op(float a, sm_float16<F> b) {             \
        return a op(float) b;                                                                      \
    }                                                                                              \
    template <int F, class I, class = enable_if_t<is_integral_v<I>>>                               \
    constexpr SM_INLINE sm_float16<F> operator op(sm_float16<F> a, I b) {                          \
        return sm_float16<F>((float)a op(float) sm_float16<F>(b));                                 \
    }                                                                                              \
    template <int F, class I, class = enable_if_t<is_integral_v<I>>>                               \
    constexpr SM_INLINE sm_float16<F> operator op(I a, sm_float16<F> b) {                          \
        return sm_float16<F>((float)sm_float16<F>(a) op(float) b);                                 \
    }
SM_ARITHMETIC(+)
SM_ARITHMETIC(-)
SM_ARITHMETIC(*)
SM_ARITHMETIC(/)
#undef SM_ARITHMETIC
#define SM_COMPARISON(op)                                                                          \
    template <int F> constexpr SM_INLINE bool operator op(sm_float16<F> a, sm_float16<F> b) {      \
        return (float)a op(float) b;                                                               \
    }                                                                                              \
    template <int F, class I, class = enable_if_t<is_integral_v<I> || is_same_v<I, float>>>        \
    constexpr SM_INLINE bool operator op(sm_float16<F> a, I b) {                                   \
        return (float)a op(float) b;                                                               \
    }                                                                                              \
    template <int F, class I, class = enable_if_t<is_integral_v<I> || is_same_v<I, float>>>        \
    constexpr SM_INLINE bool operator op(I a, sm_float16<F> b) {                                   \
        return (float)a op(float) b;                                                               \
    }
SM_COMPARISON(<)
SM_COMPARISON(<=)
SM_COMPARISON(>)
SM_COMPARISON(>=)
SM_COMPARISON(==)
SM_COMPARISON(!=)
#undef SM_COMPARISON

typedef sm_float16<1> bfloat;
#ifdef __CUDACC__
typedef sm_float16<0> half;
#else
typedef _Float16 half;
#endif

template <class T>
inline constexpr bool is_floating_point_v =
    is_same_v<remove_cv_t<T>, float> || is_same_v<remove_cv_t<T>, half> ||
    is_same_v<remove_cv_t<T>, bfloat>;
template <class T> struct is_floating_point : bool_constant<is_floating_point_v<T>> {};
template <class T>
inline constexpr bool is_arithmetic_v = is_integral_v<T> || is_floating_point_v<T>;
template <class T> struct is_arithmetic : bool_constant<is_arithmetic_v<T>> {};

template <class T> constexpr bool sm_is_signed() {
    if constexpr (is_floating_point_v<T>)
        return true;
    else if constexpr (is_integral_v<T>)
        return (T)-1 < (T)0;
    else
        return false;
}
template <class T> inline constexpr bool is_signed_v = sm_is_signed<remove_cv_t<T>>();
template <class T> struct is_signed : bool_constant<is_signed_v<T>> {};
template <class T> inline constexpr bool is_unsigned_v = is_integral_v<T> && !is_signed_v<T>;
template <class T> struct is_unsigned : bool_constant<is_unsigned_v<T>> {};
template <class T> struct make_unsigned {
    typedef conditional_t<
        sizeof(T) == 1, uint8_t,
        conditional_t<sizeof(T) == 2, uint16_t, conditional_t<sizeof(T) == 4, uint, ulong>>>
        type;
};
template <class T> using make_unsigned_t = typename make_unsigned<T>::type;
template <class T> struct make_signed {
    typedef conditional_t<
        sizeof(T) == 1, int8_t,
        conditional_t<sizeof(T) == 2, int16_t, conditional_t<sizeof(T) == 4, int, long>>>
        type;
};
template <class T> using make_signed_t = typename make_signed<T>::type;

template <class T> struct numeric_limits {
    static constexpr bool is_signed = is_signed_v<T>, is_integer = is_integral_v<T>;
    static constexpr bool has_infinity = false;
    static constexpr int digits = is_same_v<T, bool> ? 1 : (int)sizeof(T) * 8 - is_signed;
    static constexpr T max() {
        if constexpr (is_same_v<T, bool>)
            return true;
        return is_signed ? (T)((1ul << (sizeof(T) * 8 - 1)) - 1) : (T)~0ul;
    }
    static constexpr T min() { return is_signed ? (T)(-max() - 1) : (T)0; }
    static constexpr T lowest() { return min(); }
};
template <> struct numeric_limits<float> {
    static constexpr bool is_signed = true, is_integer = false, has_infinity = true;
    static constexpr int digits = 24;
    static constexpr float max() { return FLT_MAX; }
    static constexpr float lowest() { return -FLT_MAX; }
    static constexpr float min() { return FLT_MIN; }
    static constexpr float epsilon() { return FLT_EPSILON; }
    static constexpr float infinity() { return INFINITY; }
    static constexpr float quiet_NaN() { return NAN; }
    static constexpr float denorm_min() { return __builtin_bit_cast(float, 1u); }
};
template <class T, uint16_t Max, uint16_t Min, uint16_t Epsilon, uint16_t Infinity, uint16_t Nan>
struct sm_limits16 {
    static constexpr bool is_signed = true, is_integer = false, has_infinity = true;
    static constexpr T of(uint16_t bits) { return __builtin_bit_cast(T, bits); }
    static constexpr T max() { return of(Max); }
    static constexpr T lowest() { return of(Max | 0x8000); }
    static constexpr T min() { return of(Min); }
    static constexpr T epsilon() { return of(Epsilon); }
    static constexpr T infinity() { return of(Infinity); }
    static constexpr T quiet_NaN() { return of(Nan); }
};
template <>
struct numeric_limits<half> : sm_limits16<half, 0x7bff, 0x0400, 0x1400, 0x7c00, 0x7e00> {};
template <>
struct numeric_limits<bfloat> : sm_limits16<bfloat, 0x7f7f, 0x0080, 0x3c00, 0x7f80, 0x7fc0> {};

} // namespace metal
using metal::bfloat;
using metal::half;
} // namespace msl
