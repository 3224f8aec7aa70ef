/* Random bits by Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011): bit for bit what the processor gives.
 *
 * A stream of `words` 32-bit words comes from half = ceil(words / 2) counter pairs (i, half + i):
 * the first word of each block goes to position i, the second to half + i. Where words is odd the
 * last pair is (half - 1, 0) and its second word is dropped.
 */
#include "common.h"

/* As mlxc/_backends/metal/random.py packs it ("<QQII"). */
struct Stream {
    ulong nbytes; /* a key */
    ulong keys;
    uint half_words;
    uint odd;
};

inline void turn(thread uint2 &v, uint distance) {
    v.x += v.y;
    v.y = (v.y << distance) | (v.y >> (32 - distance));
    v.y ^= v.x;
}

inline void four_even(thread uint2 &v) {
    turn(v, 13);
    turn(v, 15);
    turn(v, 26);
    turn(v, 6);
}

inline void four_odd(thread uint2 &v) {
    turn(v, 17);
    turn(v, 29);
    turn(v, 16);
    turn(v, 24);
}

/* Twenty rounds, a key injection after every four. */
inline uint2 threefry(uint2 key, uint2 v) {
    uint last = key.x ^ key.y ^ 0x1BD11BDAu;
    v += key;
    four_even(v);
    v += uint2(key.y, last + 1);
    four_odd(v);
    v += uint2(last, key.x + 2);
    four_even(v);
    v += uint2(key.x, key.y + 3);
    four_odd(v);
    v += uint2(key.y, last + 4);
    four_even(v);
    v += uint2(last, key.x + 5);
    return v;
}

/* A word of a stream whose numbers of bytes need not be a multiple of 4. */
inline void put(device uchar *out, ulong base, ulong word, ulong nbytes, uint value) {
    if ((nbytes & 3) == 0) {
        ((device uint *)out)[(base >> 2) + word] = value;
        return;
    }
    for (ulong k = 0; k < 4 && word * 4 + k < nbytes; k++)
        out[base + word * 4 + k] = uchar(value >> (8 * uint(k)));
}

/* The grid is (pairs, keys), the keys spread over y and z. */
kernel void random_bits(const device uint2 *keys [[buffer(0)]], device uchar *out [[buffer(1)]],
                        constant const Stream &p [[buffer(2)]],
                        uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
    ulong key = ulong(at.z) * grid.y + at.y;
    if (key >= p.keys)
        return;
    uint i = at.x, behind = p.half_words + i;
    bool last = p.odd != 0 && i == p.half_words - 1;
    uint2 v = threefry(keys[key], uint2(i, last ? 0u : behind));
    put(out, key * p.nbytes, i, p.nbytes, v.x);
    if (!last)
        put(out, key * p.nbytes, ulong(p.half_words) + i, p.nbytes, v.y);
}
