// Discrete Fourier transforms of up to 4096 numbers in threadgroup memory, in stages of radix 2, 3,
// 4, 5, 7 and 8 (Stockham's order, so that nothing is bit-reversed).
//
// Longer transforms are two passes (Bailey 1990, the four-step method), other lengths convolutions
// with a chirp (Bluestein 1970); passes differ in how they load and store, which function constants
// tell. A `place` is a number's position in the whole transform.
//
// Rules: numbers are float2 (real, imaginary); a threadgroup holds `together` transforms, each of
// `threads` threads, which keep what they read of a stage in registers, until all have read.
#include "common.h"

constant int INPUT [[function_constant(0)]];      // one of the following
constant bool REAL_OUT [[function_constant(1)]];  // real parts alone are stored
constant bool CHIRP_IN [[function_constant(2)]];  // the operand is multiplied by the chirp
constant bool CHIRP_OUT [[function_constant(3)]]; // the result is
constant bool FILTER [[function_constant(4)]];    // the result is multiplied by `filter`
constant bool TWIDDLE [[function_constant(5)]];   // the first of two passes
constant bool DOWN_IN [[function_constant(6)]];   // transforms lie closer than their numbers
constant bool DOWN_OUT [[function_constant(7)]];
constant bool PADDED [[function_constant(8)]]; // threadgroup memory has room for gaps
constant constexpr int COMPLEX = 0;
constant constexpr int REAL = 1;
constant constexpr int HERMITIAN = 2; // half of the spectrum is there, the rest its mirror image
constant constexpr int CHIRP = 3;     // no operand: the chirp's inverse, wrapped around

// How numbers are found: place = number * step + column * column_step; 64-bit numbers first.
struct FftSide {
    long stride;   // from place to place, in elements
    long batch[6]; // from transform to transform
    uint step, column_step;
    uint limit; // places from it on are 0, or not stored
    uint padding;
};

// As `mlxc/_backends/metal/fft.py` packs it.
struct Fft {
    FftSide in, out;
    uint shape[6]; // of the batch
    uint rank;
    uint count;   // transforms: batch x columns
    uint columns; // of one long transform
    uint n;
    uint together, threads;
    uint whole; // length of the long transform, or of the one that is mirrored or wrapped
    uint chirp; // length of the chirp
    uint stages, radices[12];
    uint padding;
    float sign, scale; // of the exponent; of the result
    float2 roots[15];  // of unity: of 3, 5 and 7
};

inline float2 times(float2 a, float2 b) {
    return float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// exp(2 pi i part / whole), part between -whole and whole.
inline float2 turn(float part, float whole) {
    float turns = 2.0f * (part / whole);
    return float2(cospi(turns), sinpi(turns));
}

// exp(sign pi i place^2 / n).
inline float2 chirp_at(uint place, uint n, float sign) {
    ulong rest = ulong(place) * place % (2 * ulong(n));
    long part = rest > n ? long(rest) - 2 * long(n) : long(rest);
    return turn(sign * 0.5f * float(part), float(n));
}

// Where number i of a transform stands in threadgroup memory: a gap every 16 numbers, so that those
// whose distance is a power of two do not meet in one bank.
inline uint slot(uint i) { return PADDED ? i + (i >> 4) : i; }

// ---- transforms in registers ----

template <int R> inline void butterfly(thread float2 *v, constant Fft &p);

template <> inline void butterfly<2>(thread float2 *v, constant Fft &) {
    float2 a = v[0], b = v[1];
    v[0] = a + b;
    v[1] = a - b;
}

template <> inline void butterfly<4>(thread float2 *v, constant Fft &p) {
    float2 a = v[0] + v[2], b = v[0] - v[2], c = v[1] + v[3], d = v[1] - v[3];
    float2 turned = float2(-d.y, d.x) * p.sign;
    v[0] = a + c;
    v[1] = b + turned;
    v[2] = a - c;
    v[3] = b - turned;
}

template <> inline void butterfly<8>(thread float2 *v, constant Fft &p) {
    float2 even[4] = {v[0], v[2], v[4], v[6]}, odd[4] = {v[1], v[3], v[5], v[7]};
    butterfly<4>(even, p);
    butterfly<4>(odd, p);
    constexpr float half_root = 0.7071067811865476f;
    odd[1] = times(odd[1], float2(half_root, half_root * p.sign));
    odd[2] = times(odd[2], float2(0.0f, p.sign));
    odd[3] = times(odd[3], float2(-half_root, half_root * p.sign));
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[i] = even[i] + odd[i];
        v[i + 4] = even[i] - odd[i];
    }
}

// Mirrored terms share their products: R is odd.
template <int R> inline void odd_butterfly(thread float2 *v, constant const float2 *roots) {
    float2 sums[R / 2], differences[R / 2], first = v[0];
#pragma unroll
    for (int i = 0; i < R / 2; i++) {
        sums[i] = v[i + 1] + v[R - 1 - i];
        differences[i] = v[i + 1] - v[R - 1 - i];
        v[0] += sums[i];
    }
#pragma unroll
    for (int k = 1; k <= R / 2; k++) {
        float2 even = first, odd = float2(0.0f);
#pragma unroll
        for (int i = 0; i < R / 2; i++) {
            float2 root = roots[k * (i + 1) % R];
            even += sums[i] * root.x;
            odd += float2(-differences[i].y, differences[i].x) * root.y;
        }
        v[k] = even + odd;
        v[R - k] = even - odd;
    }
}

template <> inline void butterfly<3>(thread float2 *v, constant Fft &p) {
    odd_butterfly<3>(v, p.roots);
}

template <> inline void butterfly<5>(thread float2 *v, constant Fft &p) {
    odd_butterfly<5>(v, p.roots + 3);
}

template <> inline void butterfly<7>(thread float2 *v, constant Fft &p) {
    odd_butterfly<7>(v, p.roots + 8);
}

// One stage; `span` numbers belong together before it. A thread has at most EACH butterflies.
template <int R, int EACH>
inline void stage(threadgroup float2 *data, constant Fft &p, uint span, uint thread_number,
                  bool active) {
    float2 v[EACH][R];
    uint apart = p.n / R;
#pragma unroll
    for (uint b = 0; b < EACH; b++) {
        uint j = thread_number + b * p.threads;
        if (!active || j >= apart)
            continue;
        float2 root = turn(p.sign * float(j % span), float(span * R)), power = root;
        v[b][0] = data[slot(j)];
#pragma unroll
        for (uint r = 1; r < R; r++) {
            v[b][r] = times(data[slot(j + r * apart)], power);
            power = times(power, root);
        }
        butterfly<R>(v[b], p);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (uint b = 0; b < EACH; b++) {
        uint j = thread_number + b * p.threads;
        if (!active || j >= apart)
            continue;
        uint to = j / span * span * R + j % span;
#pragma unroll
        for (uint r = 0; r < R; r++)
            data[slot(to + r * span)] = v[b][r];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
}

// ---- memory ----

inline long start_of(constant Fft &p, constant FftSide &side, uint number) {
    long start = 0;
    uint rest = number / p.columns;
    for (uint axis = p.rank; axis-- > 0;) {
        start += long(rest % p.shape[axis]) * side.batch[axis];
        rest /= p.shape[axis];
    }
    return start;
}

inline uint place_of(constant Fft &p, constant FftSide &side, uint number, uint i) {
    return i * side.step + number % p.columns * side.column_step;
}

// `start`: of the transform's numbers.
inline float2 load_number(constant Fft &p, device const float *x, long start, uint number, uint i) {
    uint place = place_of(p, p.in, number, i);
    if (INPUT == CHIRP) {
        uint distance = min(place, p.whole - place);
        return distance < p.chirp ? chirp_at(distance, p.chirp, -p.sign) : float2(0.0f);
    }
    uint length = CHIRP_IN ? p.chirp : p.whole; // of the mirrored transform
    if (place >= (INPUT == HERMITIAN ? length : p.in.limit))
        return float2(0.0f);
    bool mirrored = INPUT == HERMITIAN && place >= p.in.limit;
    long at = start + long(mirrored ? length - place : place) * p.in.stride;
    float2 value = INPUT == REAL ? float2(x[at], 0.0f) : ((device const float2 *)x)[at];
    value.y = mirrored ? -value.y : value.y;
    return CHIRP_IN ? times(value, chirp_at(place, p.chirp, p.sign)) : value;
}

inline void store_number(constant Fft &p, device float *out, device const float2 *filter,
                         long start, uint number, uint i, float2 value) {
    uint place = place_of(p, p.out, number, i);
    if (place >= p.out.limit)
        return;
    if (TWIDDLE)
        value = times(value, turn(p.sign * float(i * (number % p.columns)), float(p.whole)));
    if (FILTER)
        value = times(value, filter[place]);
    if (CHIRP_OUT) // of the transform that the convolution stands for: the other sign
        value = times(value, chirp_at(place, p.chirp, -p.sign));
    value *= p.scale;
    long at = start + long(place) * p.out.stride;
    if (REAL_OUT)
        out[at] = value.x;
    else
        ((device float2 *)out)[at] = value;
}

// Threadgroups: as many as hold all transforms. ROOM: numbers that one of them holds.
template <int ROOM>
[[kernel, max_total_threads_per_threadgroup(512)]] void
fft_pass(device const float *x [[buffer(0)]], device float *out [[buffer(1)]],
         device const float2 *filter [[buffer(2)]], constant Fft &p [[buffer(3)]],
         uint group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
         uint size [[threads_per_threadgroup]]) {
    threadgroup float2 data[ROOM];
    uint first = group * p.together, here = min(p.together, p.count - first);
    uint own = index / p.threads, thread_number = index % p.threads, span = 1;
    bool active = own < here;
    uint pitch = slot(p.n);
    threadgroup float2 *mine = data + own * pitch;
    if (DOWN_IN) {
        for (uint e = index; e < here * p.n; e += size) {
            uint number = first + e % here, i = e / here;
            data[e % here * pitch + slot(i)] =
                load_number(p, x, start_of(p, p.in, number), number, i);
        }
    } else if (active) {
        long start = start_of(p, p.in, first + own);
#pragma unroll 8
        for (uint i = thread_number; i < p.n; i += p.threads)
            mine[slot(i)] = load_number(p, x, start, first + own, i);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint s = 0; s < p.stages; s++) {
        uint radix = p.radices[s];
        switch (radix) {
        case 2:
            stage<2, 4>(mine, p, span, thread_number, active);
            break;
        case 3:
            stage<3, 3>(mine, p, span, thread_number, active);
            break;
        case 4:
            stage<4, 2>(mine, p, span, thread_number, active);
            break;
        case 5:
            stage<5, 2>(mine, p, span, thread_number, active);
            break;
        case 7:
            stage<7, 2>(mine, p, span, thread_number, active);
            break;
        default:
            stage<8, 1>(mine, p, span, thread_number, active);
        }
        span *= radix;
    }
    if (DOWN_OUT) {
        for (uint e = index; e < here * p.n; e += size) {
            uint number = first + e % here, i = e / here;
            store_number(p, out, filter, start_of(p, p.out, number), number, i,
                         data[e % here * pitch + slot(i)]);
        }
    } else if (active) {
        long start = start_of(p, p.out, first + own);
        for (uint i = thread_number; i < p.n; i += p.threads)
            store_number(p, out, filter, start, first + own, i, mine[slot(i)]);
    }
}

template [[host_name("fft_pass_1024")]] [[kernel]] decltype(fft_pass<1024>) fft_pass<1024>;
template [[host_name("fft_pass_4096")]] [[kernel]] decltype(fft_pass<4096>) fft_pass<4096>;
