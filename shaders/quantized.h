// Packed numbers: 8-bit and 4-bit floats, scales, and eight codes at a time.
//
// Rules: codes of BITS bits follow each other from the lowest bit of the first byte on, so that
// eight of them fill BITS bytes; a group of GROUP codes (a multiple of 16) shares a scale and, in
// the affine mode, a bias. What codes and scale bytes stand for: OCP Microscaling Formats 1.0.
#ifndef MLXC_QUANTIZED_H
#define MLXC_QUANTIZED_H

#include "common.h"

constant int BITS [[function_constant(0)]];
constant int GROUP [[function_constant(1)]];
constant int MODE [[function_constant(2)]];    // one of the following
constant int FORM [[function_constant(3)]];    // of stored scales and biases
constant bool FACTOR [[function_constant(4)]]; // there is a global factor of the scales

constant constexpr int AFFINE = 0;
constant constexpr int MX = 1; // scales are powers of two (E8M0)
constant constexpr int NV = 2; // scales are E4M3
constant constexpr int F32 = 0;
constant constexpr int F16 = 1;
constant constexpr int BF16 = 2;

inline float magnitude(float x) { return as_type<float>(as_type<uint>(x) & 0x7FFFFFFFu); }

// ---- what codes stand for ----

inline float from_e2m1(uint code) {
    uint exponent = (code >> 1) & 3, mantissa = code & 1;
    float size = exponent == 0 ? 0.5f * float(mantissa)
                               : as_type<float>(((exponent + 126) << 23) | (mantissa << 22));
    return code & 8 ? -size : size;
}

inline float from_e4m3(uint code) {
    uint exponent = (code >> 3) & 15, mantissa = code & 7;
    float size = exponent == 0 ? float(mantissa) * 0.001953125f
                               : as_type<float>(((exponent + 120) << 23) | (mantissa << 20));
    size = (code & 127) == 127 ? NAN : size;
    return code & 128 ? -size : size;
}

inline float from_e8m0(uint code) {
    if (code == 255)
        return NAN;
    return as_type<float>(code == 0 ? 0x400000u : code << 23);
}

// ---- the nearest code ----

// Half to even; what is too large becomes 448, NaN stays.
inline uint to_e4m3(float x) {
    uint sign = (as_type<uint>(x) >> 24) & 0x80;
    float size = magnitude(x);
    if (isnan(x))
        return sign | 0x7F;
    size = size > 448.0f ? 448.0f : size;
    if (size < 0.015625f)
        return sign | uint(rint(size * 512.0f));
    uint bits = as_type<uint>(size);
    return sign | (((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - (120 << 3));
}

// Half towards zero; NaN and what rounds to 0 become +0.
inline uint to_e2m1(float x) {
    float size = magnitude(x);
    uint code = uint(size > 0.25f) + uint(size > 0.75f) + uint(size > 1.25f) + uint(size > 1.75f) +
                uint(size > 2.5f) + uint(size > 3.5f) + uint(size > 5.0f);
    return code > 0 && x < 0.0f ? code | 8 : code;
}

// The code of the least power of two that is at least x; 127 stands for 1.
inline uint to_e8m0(float x) {
    uint bits = as_type<uint>(x), exponent = bits >> 23;
    if (x == 0.0f)
        return 127;
    if (exponent == 0)
        return bits > 0x400000u ? 1 : 0;
    exponent += (bits & 0x7FFFFF) != 0 ? 1 : 0;
    return min(exponent, 254u);
}

// ---- eight codes ----

inline ulong read_codes(device const uchar *place) {
    if (BITS == 8) {
        device const uint *words = (device const uint *)place;
        return ulong(words[0]) | (ulong(words[1]) << 32);
    }
    if (BITS == 4)
        return *(device const uint *)place;
    if (BITS == 2)
        return *(device const ushort *)place;
    ulong codes = 0;
    for (int i = 0; i < BITS; i++)
        codes |= ulong(place[i]) << (8 * i);
    return codes;
}

inline void write_codes(device uchar *place, ulong codes) {
    for (int i = 0; i < BITS; i++)
        place[i] = uchar(codes >> (8 * i));
}

inline uint code_at(ulong codes, uint i) {
    return uint(codes >> (i * uint(BITS))) & ((1u << uint(BITS)) - 1);
}

// A code as a number, without scale and bias: of integers the low bits of a float whose unit is 1.
inline float plain_value(uint code) {
    if (MODE == AFFINE)
        return as_type<float>(0x4B000000u | code) - 8388608.0f;
    return BITS == 8 ? from_e4m3(code) : from_e2m1(code);
}

inline float read_scale(device const uchar *scales, ulong place) {
    if (MODE == MX)
        return from_e8m0(scales[place]);
    if (MODE == NV)
        return from_e4m3(scales[place]);
    if (FORM == F32)
        return ((device const float *)scales)[place];
    if (FORM == F16)
        return float(((device const half *)scales)[place]);
    return float(((device const bfloat *)scales)[place]);
}

// The largest code times the largest scale is the largest number: 6 * 448.
inline float global_factor(device const float *factor) {
    return FACTOR ? factor[0] / 2688.0f : 1.0f;
}

#endif
