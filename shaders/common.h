/* What every shader includes: types, conversions between them, index arithmetic.
 *
 * Rules:
 *   - elements are stored in one format and computed in another, as on the processor: bool, int,
 *     uint, long, ulong, float, complex64 are the formats of arithmetic; narrow integers compute in
 *     int and are wrapped, half and bfloat compute in float;
 *   - counters of elements are 32 bits wide where the launcher has seen that they suffice, offsets
 *     into memory are always 64;
 *   - signed arithmetic wraps, so it is written through unsigned types.
 */
#ifndef MLXC_COMMON_H
#define MLXC_COMMON_H

#include <metal_stdlib>
using namespace metal;

typedef float2 complex64; /* real, imaginary */

/* The numbers of dtypes, in the order of mlxc/_table/dtypes.py. */
enum Dtype : uint {
    DTYPE_BOOL,
    DTYPE_UINT8,
    DTYPE_UINT16,
    DTYPE_UINT32,
    DTYPE_UINT64,
    DTYPE_INT8,
    DTYPE_INT16,
    DTYPE_INT32,
    DTYPE_INT64,
    DTYPE_FLOAT16,
    DTYPE_FLOAT32,
    DTYPE_FLOAT64,
    DTYPE_BFLOAT16,
    DTYPE_COMPLEX64,
};

/* ---- integers by their bits ---- */

template <typename T> struct Bits {
    typedef T type;
};
template <> struct Bits<int> {
    typedef uint type;
};
template <> struct Bits<long> {
    typedef ulong type;
};

template <typename T> inline T wrapping_add(T x, T y) {
    typedef typename Bits<T>::type U;
    return T(U(x) + U(y));
}

template <typename T> inline T wrapping_subtract(T x, T y) {
    typedef typename Bits<T>::type U;
    return T(U(x) - U(y));
}

template <typename T> inline T wrapping_multiply(T x, T y) {
    typedef typename Bits<T>::type U;
    return T(U(x) * U(y));
}

template <typename T> inline T wrapping_negative(T x) {
    typedef typename Bits<T>::type U;
    return T(U(0) - U(x));
}

/* ---- floats to integers: towards zero, NaN becomes 0, what does not fit is clamped ---- */

inline int f32_to_i32(float x) {
    float c = x == x ? x : 0.0f;
    c = c < -2147483648.0f ? -2147483648.0f : c;
    int low = int(c > 2147483520.0f ? 2147483520.0f : c);
    return c >= 2147483648.0f ? 2147483647 : low;
}

inline long f32_to_i64(float x) {
    float c = x == x ? x : 0.0f;
    c = c < -9223372036854775808.0f ? -9223372036854775808.0f : c;
    long low = long(c > 9223371487098961920.0f ? 9223371487098961920.0f : c);
    return c >= 9223372036854775808.0f ? 0x7FFFFFFFFFFFFFFFL : low;
}

/* The low bits of the 64-bit integer: -1 becomes the largest value. */
inline uint f32_to_u32(float x) { return uint(ulong(f32_to_i64(x))); }

/* Negative values wrap as long does; the upper half of the range is clamped at its end. */
inline ulong f32_to_u64(float x) {
    if (!(x >= 9223372036854775808.0f))
        return ulong(f32_to_i64(x));
    if (x >= 18446744073709551616.0f)
        return 0xFFFFFFFFFFFFFFFFUL;
    return ulong(f32_to_i64(x - 9223372036854775808.0f)) + 0x8000000000000000UL;
}

inline complex64 make_c64(float re, float im) { return complex64(re, im); }

/* ---- neighbouring elements ---- */

template <uint BYTES> struct Word;
template <> struct Word<1> {
    typedef uchar type;
};
template <> struct Word<2> {
    typedef ushort type;
};
template <> struct Word<4> {
    typedef uint type;
};

/* An element from the low bits of a word, and back. */
template <typename T> inline T of_word(uint bits) {
    typedef typename Word<sizeof(T)>::type U;
    return as_type<T>(U(bits));
}
template <> inline bool of_word<bool>(uint bits) { return uchar(bits) != 0; }

template <typename T> inline uint word_of(T value) {
    typedef typename Word<sizeof(T)>::type U;
    return as_type<U>(value);
}
template <> inline uint word_of<bool>(bool value) { return value ? 1u : 0u; }

/* N elements that lie side by side and fill whole words of 32 bits: they are read and written by
 * few instructions. The first element is the low end of the first word. */
template <typename T, uint N> struct Pack {
    uint words[N * sizeof(T) / 4];

    T at(uint e) const {
        constexpr uint EACH = 4 / sizeof(T);
        return of_word<T>(words[e / EACH] >> (e % EACH * 8 * uint(sizeof(T))));
    }
    /* Elements are set in order. */
    void set(uint e, T value) {
        constexpr uint EACH = 4 / sizeof(T);
        uint bits = word_of<T>(value) << (e % EACH * 8 * uint(sizeof(T)));
        words[e / EACH] = e % EACH == 0 ? bits : words[e / EACH] | bits;
    }
};

/* How far an address is from a multiple of `bytes`, a power of two. */
template <typename T> inline uint misplaced(const device T *place, uint bytes) {
    return uint(reinterpret_cast<ulong>(place)) & (bytes - 1);
}

/* The elements from a place on. `whole`: all are there, and the place is a multiple of their size
 * together, 16 bytes at most; otherwise `there` of them are read one by one, and the others are 0.
 */
template <typename T, uint N>
inline Pack<T, N> load_pack(const device T *from, bool whole, uint there) {
    constexpr uint WORDS = N * sizeof(T) / 4;
    Pack<T, N> pack;
    if (whole) {
        if (WORDS % 4 == 0) {
#pragma unroll
            for (uint w = 0; w + 3 < WORDS; w += 4) {
                uint4 four = ((const device uint4 *)from)[w / 4];
                pack.words[w] = four.x;
                pack.words[w + 1] = four.y;
                pack.words[w + 2] = four.z;
                pack.words[w + 3] = four.w;
            }
        } else if (WORDS == 2) {
            uint2 two = *(const device uint2 *)from;
            pack.words[0] = two.x;
            pack.words[WORDS - 1] = two.y;
        } else
            pack.words[0] = *(const device uint *)from;
        return pack;
    }
#pragma unroll
    for (uint e = 0; e < N; e++)
        pack.set(e, e < there ? from[e] : of_word<T>(0));
    return pack;
}

/* Their counterpart: the first `there` elements are written. */
template <typename T, uint N>
inline void store_pack(device T *to, thread const Pack<T, N> &pack, bool whole, uint there) {
    constexpr uint WORDS = N * sizeof(T) / 4;
    if (whole) {
        if (WORDS % 4 == 0) {
#pragma unroll
            for (uint w = 0; w + 3 < WORDS; w += 4)
                ((device uint4 *)to)[w / 4] =
                    uint4(pack.words[w], pack.words[w + 1], pack.words[w + 2], pack.words[w + 3]);
        } else if (WORDS == 2)
            *(device uint2 *)to = uint2(pack.words[0], pack.words[WORDS - 1]);
        else
            *(device uint *)to = pack.words[0];
        return;
    }
    /* From the last one on, so that a compiler does not make one of both ways. */
#pragma unroll
    for (uint e = N; e > 0; e--)
        if (e <= there)
            to[e - 1] = pack.at(e - 1);
}

/* ---- elements whose dtype a function constant tells ---- */

template <typename A> struct Element;

template <> struct Element<int> {
    static int load(const device uchar *memory, ulong i, uint dtype) {
        switch (dtype) {
        case DTYPE_INT8:
            return ((const device char *)memory)[i];
        case DTYPE_UINT16:
            return ((const device ushort *)memory)[i];
        case DTYPE_INT16:
            return ((const device short *)memory)[i];
        case DTYPE_INT32:
        case DTYPE_UINT32:
            return ((const device int *)memory)[i];
        default:
            return memory[i];
        }
    }
    static void store(device uchar *memory, ulong i, uint dtype, int value) {
        switch (dtype) {
        case DTYPE_UINT16:
        case DTYPE_INT16:
            ((device ushort *)memory)[i] = ushort(value);
            break;
        case DTYPE_INT32:
        case DTYPE_UINT32:
            ((device int *)memory)[i] = value;
            break;
        default:
            memory[i] = uchar(value);
        }
    }
};

template <> struct Element<uint> {
    static uint load(const device uchar *memory, ulong i, uint) {
        return ((const device uint *)memory)[i];
    }
    static void store(device uchar *memory, ulong i, uint, uint value) {
        ((device uint *)memory)[i] = value;
    }
};

template <> struct Element<long> {
    static long load(const device uchar *memory, ulong i, uint) {
        return ((const device long *)memory)[i];
    }
    static void store(device uchar *memory, ulong i, uint, long value) {
        ((device long *)memory)[i] = value;
    }
};

template <> struct Element<ulong> {
    static ulong load(const device uchar *memory, ulong i, uint) {
        return ((const device ulong *)memory)[i];
    }
    static void store(device uchar *memory, ulong i, uint, ulong value) {
        ((device ulong *)memory)[i] = value;
    }
};

template <> struct Element<float> {
    static float load(const device uchar *memory, ulong i, uint dtype) {
        switch (dtype) {
        case DTYPE_FLOAT16:
            return float(((const device half *)memory)[i]);
        case DTYPE_BFLOAT16:
            return float(((const device bfloat *)memory)[i]);
        default:
            return ((const device float *)memory)[i];
        }
    }
    static void store(device uchar *memory, ulong i, uint dtype, float value) {
        switch (dtype) {
        case DTYPE_FLOAT16:
            ((device half *)memory)[i] = half(value);
            break;
        case DTYPE_BFLOAT16:
            ((device bfloat *)memory)[i] = bfloat(value);
            break;
        default:
            ((device float *)memory)[i] = value;
        }
    }
};

template <> struct Element<complex64> {
    static complex64 load(const device uchar *memory, ulong i, uint) {
        return ((const device complex64 *)memory)[i];
    }
    static void store(device uchar *memory, ulong i, uint, complex64 value) {
        ((device complex64 *)memory)[i] = value;
    }
};

/* An integer index of any dtype; negative ones count from the end. */
inline long load_index(const device uchar *memory, long i, uint dtype, long size) {
    long index;
    switch (dtype) {
    case DTYPE_UINT8:
        return memory[i];
    case DTYPE_INT8:
        index = ((const device char *)memory)[i];
        break;
    case DTYPE_UINT16:
        return ((const device ushort *)memory)[i];
    case DTYPE_INT16:
        index = ((const device short *)memory)[i];
        break;
    case DTYPE_UINT32:
        return ((const device uint *)memory)[i];
    case DTYPE_INT32:
        index = ((const device int *)memory)[i];
        break;
    default: /* of uint64 what exceeds the half is out of range as well as negative */
        index = ((const device long *)memory)[i];
        if (dtype == DTYPE_UINT64)
            return index;
    }
    return index < 0 ? index + size : index;
}

/* Note an index that is out of range, unless something was noted before. The words are unpacked by
 * mlxc/_backends/metal/dispatch.py: 1, row, axis, whether the index is unsigned, index, size
 * ("<4I2q"). */
inline void report_fault(device atomic_uint *faults, uint row, uint axis, bool is_unsigned,
                         long index, long size) {
    if (atomic_exchange_explicit(faults, 1u, memory_order_relaxed) != 0)
        return;
    uint words[7] = {row,
                     axis,
                     is_unsigned ? 1u : 0u,
                     uint(ulong(index)),
                     uint(ulong(index) >> 32),
                     uint(ulong(size)),
                     uint(ulong(size) >> 32)};
    for (uint k = 0; k < 7; k++)
        atomic_store_explicit(faults + 1 + k, words[k], memory_order_relaxed);
}

/* The same for an index as load_index gave it. */
inline void report_index(device atomic_uint *faults, uint row, uint axis, uint dtype, long index,
                         long size) {
    bool is_unsigned = dtype == DTYPE_UINT64;
    long given = index < 0 && !is_unsigned ? index - size : index;
    report_fault(faults, row, axis, is_unsigned, given, size);
}

/* ---- one divisor of many numbers ---- */

/* x / y for half floats: within two units of float, where those have 2^13. The divisor's exponent
 * goes its own way, so that nothing overflows between. */
struct Divisor {
    float inverse;
    float scale;

    Divisor(float y) {
        uint exponent = as_type<uint>(y) >> 23 & 0xFFu;
        scale = as_type<float>((254u - clamp(exponent, 1u, 253u)) << 23);
        inverse = 1.0f / (y * scale);
    }
    float divide(float x) const { return x * inverse * scale; }
};

/* ---- index arithmetic ---- */

/* Where the element at a row-major position lies, in elements. `sizes` and `strides` have `axes`
 * entries, the fastest axis last. */
inline long strided_offset(ulong position, uint axes, constant const uint *sizes,
                           constant const long *strides) {
    long offset = 0;
    if (position <= 0xFFFFFFFFUL) {
        uint rest = uint(position);
        for (int axis = int(axes) - 1; axis > 0; axis--) {
            uint size = sizes[axis];
            uint whole = rest / size;
            offset += long(rest - whole * size) * strides[axis];
            rest = whole;
        }
        return axes == 0 ? 0 : offset + long(rest) * strides[0];
    }
    for (int axis = int(axes) - 1; axis > 0; axis--) {
        ulong whole = position / sizes[axis];
        offset += long(position - whole * sizes[axis]) * strides[axis];
        position = whole;
    }
    return axes == 0 ? 0 : offset + long(position) * strides[0];
}

#endif
