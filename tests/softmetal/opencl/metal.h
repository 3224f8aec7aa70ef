// What shaders see of Metal when lint.py reads them as OpenCL C++, whose address spaces are
// Metal's.
//
// Rules: declarations alone, as loose as templates make them: types are checked elsewhere
// (compat/); here it matters where pointers and references point. Nothing but what MSL has is
// declared.
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#pragma OPENCL EXTENSION cl_khr_fp64 : disable

#define device __global
#define threadgroup __local
#define thread __private

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef uchar uint8_t;
typedef short int16_t;
typedef ushort uint16_t;
typedef int int32_t;
typedef uint uint32_t;
typedef long int64_t;
typedef ulong uint64_t;
typedef ulong size_t;

struct bfloat {
    ushort bits;
    bfloat() = default;
    explicit bfloat(float);
    explicit bfloat(half);
    bfloat(int);
    operator float() const;
};

#define VECTORS(T)                                                                                 \
    typedef T T##2 __attribute__((ext_vector_type(2)));                                            \
    typedef T T##3 __attribute__((ext_vector_type(3)));                                            \
    typedef T T##4 __attribute__((ext_vector_type(4)));                                            \
    struct packed_##T##3 { T x, y, z; };
VECTORS(char)
VECTORS(uchar)
VECTORS(short)
VECTORS(ushort)
VECTORS(int)
VECTORS(uint)
VECTORS(long)
VECTORS(ulong)
VECTORS(half)
VECTORS(float)

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define M_PI_F 3.14159265358979323846f
#define FLT_MAX 3.40282346638528859812e+38f
#define MAXFLOAT FLT_MAX
#define FLT_MIN 1.17549435082228750797e-38f

// mslc.py writes these.
#define SM_FUNCTION_CONSTANT(type, name, number) constant type name = (type)(64 + number)
#define SM_CONSTANT_DEFINED(name, number) (name != 0)
#define SM_THREADGROUP(number, type, name) threadgroup type &name = *sm_array<type>()
template <class T> threadgroup T *sm_array();

namespace metal {

#define ONE(name) template <class T> T name(T)
#define TWO(name)                                                                                  \
    template <class T> T name(T, T);                                                               \
    template <class T, class U> auto name(T a, U b) -> decltype(a + b)
#define THREE(name) template <class T> T name(T, T, T)
ONE(abs);
ONE(acos);
ONE(acosh);
ONE(asin);
ONE(asinh);
ONE(atan);
ONE(atanh);
ONE(ceil);
ONE(cos);
ONE(cosh);
ONE(exp);
ONE(exp2);
ONE(exp10);
ONE(fabs);
ONE(floor);
ONE(fract);
ONE(log);
ONE(log10);
ONE(log2);
ONE(rint);
ONE(round);
ONE(rsqrt);
ONE(saturate);
ONE(sign);
ONE(sin);
ONE(sinh);
ONE(sinpi);
ONE(cospi);
ONE(sqrt);
ONE(tan);
ONE(tanh);
ONE(trunc);
ONE(popcount);
ONE(clz);
ONE(ctz);
ONE(reverse_bits);
ONE(simd_sum);
ONE(simd_product);
ONE(simd_min);
ONE(simd_max);
ONE(simd_and);
ONE(simd_or);
ONE(simd_xor);
ONE(simd_prefix_inclusive_sum);
ONE(simd_prefix_exclusive_sum);
ONE(simd_prefix_inclusive_product);
ONE(simd_prefix_exclusive_product);
ONE(simd_broadcast_first);
TWO(atan2);
TWO(copysign);
TWO(fdim);
TWO(fmax);
TWO(fmin);
TWO(fmod);
TWO(nextafter);
TWO(pow);
TWO(powr);
TWO(step);
TWO(min);
TWO(max);
TWO(rotate);
TWO(mulhi);
TWO(mul24);
THREE(fma);
THREE(clamp);
THREE(mix);

template <class T, class U> T select(T, T, U);
template <class T, class N> T ldexp(T, N);
template <class T, class U> T extract_bits(T, U, U);
template <class T> bool isnan(T);
template <class T> bool isinf(T);
template <class T> bool isfinite(T);
template <class T> bool signbit(T);
template <class T> bool any(T);
template <class T> bool all(T);
float sincos(float, thread float &);
float frexp(float, thread int &);
float modf(float, thread float &);
template <class T> auto dot(T a, T b) -> decltype(a.x);
template <class To, class From> To as_type(From);

#define SHUFFLE(name) template <class T> T name(T, ushort)
SHUFFLE(simd_shuffle);
SHUFFLE(simd_shuffle_up);
SHUFFLE(simd_shuffle_down);
SHUFFLE(simd_shuffle_xor);
SHUFFLE(simd_shuffle_rotate_up);
SHUFFLE(simd_shuffle_rotate_down);
SHUFFLE(simd_broadcast);
SHUFFLE(quad_shuffle);
SHUFFLE(quad_shuffle_xor);
SHUFFLE(quad_broadcast);
template <class T> T simd_shuffle_and_fill_up(T, T, ushort);
template <class T> T simd_shuffle_and_fill_down(T, T, ushort);
struct simd_vote {
    explicit operator ulong() const;
};
simd_vote simd_ballot(bool);
bool simd_any(bool);
bool simd_all(bool);
bool simd_is_first();

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
mem_flags operator|(mem_flags, mem_flags);
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);

enum memory_order { memory_order_relaxed };
template <class T> struct atomic {
    T hidden;
};
// OpenCL has types of these names.
#define atomic_int metal::atomic<int>
#define atomic_uint metal::atomic<uint>
#define atomic_float metal::atomic<float>
#define atomic_ulong metal::atomic<ulong>
template <class T> struct same {
    typedef T type;
};
#define ATOMICS(space)                                                                             \
    template <class T> T atomic_load_explicit(const volatile space atomic<T> *, memory_order);     \
    template <class T>                                                                             \
    void atomic_store_explicit(volatile space atomic<T> *, typename same<T>::type, memory_order);  \
    template <class T>                                                                             \
    bool atomic_compare_exchange_weak_explicit(volatile space atomic<T> *, thread T *,             \
                                               typename same<T>::type, memory_order,               \
                                               memory_order);                                      \
    ATOMIC(space, exchange)                                                                        \
    ATOMIC(space, fetch_add)                                                                       \
    ATOMIC(space, fetch_sub)                                                                       \
    ATOMIC(space, fetch_min)                                                                       \
    ATOMIC(space, fetch_max)                                                                       \
    ATOMIC(space, fetch_and)                                                                       \
    ATOMIC(space, fetch_or)                                                                        \
    ATOMIC(space, fetch_xor)
#define ATOMIC(space, name)                                                                        \
    template <class T>                                                                             \
    T atomic_##name##_explicit(volatile space atomic<T> *, typename same<T>::type, memory_order);
ATOMICS(device)
ATOMICS(threadgroup)

template <class T> struct pair_of {
    T hidden[2];
    thread T &operator[](int);
};
template <class T, int Rows, int Columns> struct simdgroup_matrix {
    pair_of<T> hidden;
    simdgroup_matrix() = default;
    explicit simdgroup_matrix(T);
    thread pair_of<T> &thread_elements();
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;
template <class T, int R, int C> simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T);
#define MATRICES(space)                                                                            \
    template <class T>                                                                             \
    void simdgroup_load(thread simdgroup_matrix<T, 8, 8> &, const space T *, ulong = 8,            \
                        ulong2 = 0, bool = false);                                                 \
    template <class T>                                                                             \
    void simdgroup_store(simdgroup_matrix<T, 8, 8>, space T *, ulong = 8, ulong2 = 0,              \
                         bool = false);
MATRICES(device)
MATRICES(threadgroup)
template <class D, class A, class B, class C>
void simdgroup_multiply_accumulate(thread simdgroup_matrix<D, 8, 8> &, simdgroup_matrix<A, 8, 8>,
                                   simdgroup_matrix<B, 8, 8>, simdgroup_matrix<C, 8, 8>);
template <class D, class A, class B>
void simdgroup_multiply(thread simdgroup_matrix<D, 8, 8> &, simdgroup_matrix<A, 8, 8>,
                        simdgroup_matrix<B, 8, 8>);

template <class T> struct numeric_limits {
    static constexpr T max() { return 0; }
    static constexpr T min() { return 0; }
    static constexpr T lowest() { return 0; }
};

} // namespace metal
