"""Numbers exchanged between the lanes of vectors, inlined into the kernels that need it."""

from mlxc._kernels.tile cimport LANES, Vector, at, put
from mlxc._kernels.types cimport f32

cdef extern from *:
    """
    #ifndef MLXC_TURN
    #define MLXC_TURN
    #define MLXC_PICK __builtin_shufflevector
    #if MLXC_LANES == 16
    #define MLXC_LOW(a, b) MLXC_PICK(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
    #define MLXC_HIGH(a, b) \\
        MLXC_PICK(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
    #define MLXC_EVEN(a, b) \\
        MLXC_PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
    #define MLXC_ODD(a, b) \\
        MLXC_PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
    #define MLXC_BACK(a, b) \\
        MLXC_PICK(a, b, 0, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17)
    #elif MLXC_LANES == 8
    #define MLXC_LOW(a, b) MLXC_PICK(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
    #define MLXC_HIGH(a, b) MLXC_PICK(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
    #define MLXC_EVEN(a, b) MLXC_PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
    #define MLXC_ODD(a, b) MLXC_PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
    #define MLXC_BACK(a, b) MLXC_PICK(a, b, 0, 15, 14, 13, 12, 11, 10, 9)
    #else
    #define MLXC_LOW(a, b) MLXC_PICK(a, b, 0, 4, 1, 5)
    #define MLXC_HIGH(a, b) MLXC_PICK(a, b, 2, 6, 3, 7)
    #define MLXC_EVEN(a, b) MLXC_PICK(a, b, 0, 2, 4, 6)
    #define MLXC_ODD(a, b) MLXC_PICK(a, b, 1, 3, 5, 7)
    #define MLXC_BACK(a, b) MLXC_PICK(a, b, 0, 7, 6, 5)
    #endif
    #endif
    """
    # The numbers of two vectors in turn: of their first halves, of their second halves.
    Vector low "MLXC_LOW"(Vector a, Vector b) noexcept nogil
    Vector high "MLXC_HIGH"(Vector a, Vector b) noexcept nogil
    # Every second number of a and then of b: from the first one on, from the second one on.
    Vector even "MLXC_EVEN"(Vector a, Vector b) noexcept nogil
    Vector odd "MLXC_ODD"(Vector a, Vector b) noexcept nogil
    # The first number of a, and then b from its last number down to its second.
    Vector back "MLXC_BACK"(Vector a, Vector b) noexcept nogil


cdef inline void shuffle(const Vector* a, Vector* b) noexcept nogil:
    """One bit of the rows' numbers becomes one of the columns'."""
    cdef int k
    for k in range(LANES // 2):
        b[2 * k] = low(a[k], a[k + LANES // 2])
        b[2 * k + 1] = high(a[k], a[k + LANES // 2])


cdef inline void turned(Vector* a) noexcept nogil:
    """LANES vectors transposed: what stays in registers if the caller's vectors do."""
    cdef Vector[LANES] b
    cdef int k
    shuffle(a, b)
    shuffle(b, a)
    if LANES == 16:
        shuffle(a, b)
        shuffle(b, a)
    elif LANES == 8:
        shuffle(a, b)
        for k in range(LANES):
            a[k] = b[k]


cdef inline void turn_square(
    const f32* x, Py_ssize_t x_row, f32* y, Py_ssize_t y_row
) noexcept nogil:
    """LANES by LANES numbers transposed; rows are so many numbers apart."""
    cdef Vector[LANES] a
    cdef int k
    for k in range(LANES):
        a[k] = at(x + k * x_row)
    turned(a)
    for k in range(LANES):
        put(y + k * y_row, a[k], False)
