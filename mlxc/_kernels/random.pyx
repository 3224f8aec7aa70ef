"""Random bits by Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random
numbers: as easy as 1, 2, 3", SC 2011).

A stream of ``words`` 32-bit words comes from half = ceil(words / 2) counter pairs (i, half + i):
the first word of each block goes to position i, the second to half + i. Where words is odd the last
pair is (half - 1, 0) and its second word is dropped. Narrow numbers are the bytes of the words, so
outputs need not be aligned: words pass through a block on the stack.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy

cdef enum:
    BLOCK = 256  # pairs at a time: both halves stay in L1
    PARITY = 0x1BD11BDA


cdef inline void mix(uint32_t* a, uint32_t* b, int turn) noexcept nogil:
    a[0] += b[0]
    b[0] = (b[0] << turn) | (b[0] >> (32 - turn))
    b[0] ^= a[0]


cdef inline void four_even(uint32_t* a, uint32_t* b) noexcept nogil:
    mix(a, b, 13)
    mix(a, b, 15)
    mix(a, b, 26)
    mix(a, b, 6)


cdef inline void four_odd(uint32_t* a, uint32_t* b) noexcept nogil:
    mix(a, b, 17)
    mix(a, b, 29)
    mix(a, b, 16)
    mix(a, b, 24)


cdef inline void threefry(uint32_t k0, uint32_t k1, uint32_t* a, uint32_t* b) noexcept nogil:
    """Twenty rounds, a key injection after every four."""
    cdef uint32_t k2 = k0 ^ k1 ^ <uint32_t>PARITY
    a[0] += k0
    b[0] += k1
    four_even(a, b)
    a[0] += k1
    b[0] += k2 + 1
    four_odd(a, b)
    a[0] += k2
    b[0] += k0 + 2
    four_even(a, b)
    a[0] += k0
    b[0] += k1 + 3
    four_odd(a, b)
    a[0] += k1
    b[0] += k2 + 4
    four_even(a, b)
    a[0] += k2
    b[0] += k0 + 5


cdef void blocks(
    uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t* lo, uint32_t* hi, Py_ssize_t n
) noexcept nogil:
    """n consecutive counter pairs from (c0, c1)."""
    cdef Py_ssize_t j
    cdef uint32_t a, b
    for j in range(n):
        a = c0 + <uint32_t>j
        b = c1 + <uint32_t>j
        threefry(k0, k1, &a, &b)
        lo[j] = a
        hi[j] = b


cdef void random_bits(
    const char* key, char* out, Py_ssize_t nbytes, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """Pairs begin to end (of ceil(ceil(nbytes / 4) / 2)) of one key's stream of nbytes bytes, in
    their places in out."""
    cdef uint32_t[BLOCK] lo
    cdef uint32_t[BLOCK] hi
    cdef uint32_t k0, k1
    cdef Py_ssize_t words = (nbytes + 3) // 4
    cdef Py_ssize_t half = (words + 1) // 2
    cdef Py_ssize_t i = begin
    cdef Py_ssize_t n, at, room
    memcpy(&k0, key, 4)
    memcpy(&k1, key + 4, 4)
    while i < end:
        n = min(<Py_ssize_t>BLOCK, end - i)
        blocks(k0, k1, <uint32_t>i, <uint32_t>(half + i), lo, hi, n)
        if words % 2 == 1 and i + n == half:
            blocks(k0, k1, <uint32_t>(half - 1), 0, lo + (n - 1), hi + (n - 1), 1)
        at = 4 * i
        memcpy(out + at, lo, min(4 * n, nbytes - at))
        at = 4 * (half + i)
        room = min(4 * n, nbytes - at)
        if room > 0:
            memcpy(out + at, hi, room)
        i += n


def table():
    """Addresses of the kernels by name."""
    return {"random_bits": <size_t>&random_bits}
