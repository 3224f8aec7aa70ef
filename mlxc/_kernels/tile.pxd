"""Products of small float32 tiles that stand in the cache, inlined into the kernels that use them.

`Vector` is the widest vector register of the instruction set: arithmetic on it is that of its LANES
numbers, and a scalar meets it by being repeated. Vectors are read from any address. Strides and
sizes count float32 elements.
"""

from libc.stdint cimport uint16_t

from mlxc._kernels.convert cimport (
    bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, narrow_f16_block, widen_f16_block,
)
from mlxc._kernels.types cimport f32

cdef extern from *:
    """
    #ifndef MLXC_TILE
    #define MLXC_TILE
    #if defined(__AVX512F__)
    #define MLXC_LANES 16
    #elif defined(__AVX__)
    #define MLXC_LANES 8
    #else
    #define MLXC_LANES 4
    #endif
    typedef float __attribute__((vector_size(4 * MLXC_LANES), aligned(4), may_alias)) mlxc_vector;
    #define MLXC_ZERO ((mlxc_vector){0})
    /* The sum of the lanes. */
    static inline float mlxc_total(mlxc_vector x) {
        typedef float four __attribute__((vector_size(16)));
        typedef float two __attribute__((vector_size(8)));
    #if MLXC_LANES == 16
        typedef float eight __attribute__((vector_size(32)));
        eight y = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7)
            + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    #else
        mlxc_vector y = x;
    #endif
    #if MLXC_LANES > 4
        four z = __builtin_shufflevector(y, y, 0, 1, 2, 3)
            + __builtin_shufflevector(y, y, 4, 5, 6, 7);
    #else
        four z = y;
    #endif
        two last = __builtin_shufflevector(z, z, 0, 1) + __builtin_shufflevector(z, z, 2, 3);
        return last[0] + last[1];
    }
    #endif
    """
    ctypedef f32 Vector "mlxc_vector"
    enum:
        LANES "MLXC_LANES"
    const Vector ZERO "MLXC_ZERO"
    f32 total_of "mlxc_total"(Vector x) noexcept nogil

cdef enum:
    F32 = 0   # how numbers are stored
    F16 = 1
    BF16 = 2

# ---- rows of stored numbers ----

cdef inline void widen_row(
    f32* out, const char* a, Py_ssize_t stride, Py_ssize_t n, int form
) noexcept nogil:
    """n numbers, `stride` bytes apart, to float32."""
    cdef Py_ssize_t i = 0
    if form == F32:
        if stride == 4:
            for i in range(n):
                out[i] = (<const f32*>a)[i]
        else:
            for i in range(n):
                out[i] = (<const f32*>(a + i * stride))[0]
    elif form == F16:
        if stride == 2:
            i = widen_f16_block(out, <const uint16_t*>a, n)
        while i < n:
            out[i] = f16_to_f32((<const uint16_t*>(a + i * stride))[0])
            i += 1
    elif stride == 2:
        for i in range(n):
            out[i] = bf16_to_f32((<const uint16_t*>a)[i])
    else:
        for i in range(n):
            out[i] = bf16_to_f32((<const uint16_t*>(a + i * stride))[0])


cdef inline void narrow_row(char* out, const f32* a, Py_ssize_t n, int form) noexcept nogil:
    """n float32 numbers to their stored form, side by side."""
    cdef Py_ssize_t i = 0
    if form == F32:
        for i in range(n):
            (<f32*>out)[i] = a[i]
    elif form == F16:
        i = narrow_f16_block(<uint16_t*>out, a, n)
        while i < n:
            (<uint16_t*>out)[i] = f32_to_f16(a[i])
            i += 1
    else:
        for i in range(n):
            (<uint16_t*>out)[i] = f32_to_bf16(a[i])

# ---- products ----

cdef inline Vector at(const f32* p) noexcept nogil:
    return (<const Vector*>p)[0]


cdef inline void put(f32* p, Vector x, bint add) noexcept nogil:
    (<Vector*>p)[0] = at(p) + x if add else x


cdef inline void six_rows(
    f32* c, Py_ssize_t ldc, const f32* a, Py_ssize_t row, Py_ssize_t col,
    const f32* b, Py_ssize_t ldb, Py_ssize_t k, bint add
) noexcept nogil:
    """6 rows by 2 * LANES columns: twelve accumulators fill the registers of AVX2."""
    cdef Vector b0, b1
    cdef Vector c00 = ZERO, c01 = ZERO
    cdef Vector c10 = ZERO, c11 = ZERO
    cdef Vector c20 = ZERO, c21 = ZERO
    cdef Vector c30 = ZERO, c31 = ZERO
    cdef Vector c40 = ZERO, c41 = ZERO
    cdef Vector c50 = ZERO, c51 = ZERO
    cdef Py_ssize_t _
    cdef f32 x
    for _ in range(k):
        b0 = at(b)
        b1 = at(b + LANES)
        x = a[0]
        c00 = c00 + x * b0
        c01 = c01 + x * b1
        x = a[row]
        c10 = c10 + x * b0
        c11 = c11 + x * b1
        x = a[2 * row]
        c20 = c20 + x * b0
        c21 = c21 + x * b1
        x = a[3 * row]
        c30 = c30 + x * b0
        c31 = c31 + x * b1
        x = a[4 * row]
        c40 = c40 + x * b0
        c41 = c41 + x * b1
        x = a[5 * row]
        c50 = c50 + x * b0
        c51 = c51 + x * b1
        a += col
        b += ldb
    put(c, c00, add)
    put(c + LANES, c01, add)
    c += ldc
    put(c, c10, add)
    put(c + LANES, c11, add)
    c += ldc
    put(c, c20, add)
    put(c + LANES, c21, add)
    c += ldc
    put(c, c30, add)
    put(c + LANES, c31, add)
    c += ldc
    put(c, c40, add)
    put(c + LANES, c41, add)
    c += ldc
    put(c, c50, add)
    put(c + LANES, c51, add)


cdef inline void one_row(
    f32* c, const f32* a, Py_ssize_t col, const f32* b, Py_ssize_t ldb, Py_ssize_t k, bint add
) noexcept nogil:
    """1 row by 2 * LANES columns."""
    cdef Vector c0 = ZERO, c1 = ZERO
    cdef Py_ssize_t p
    cdef f32 x
    for p in range(k):
        x = a[p * col]
        c0 = c0 + x * at(b)
        c1 = c1 + x * at(b + LANES)
        b += ldb
    put(c, c0, add)
    put(c + LANES, c1, add)


cdef inline void one_wide_row(
    f32* c, const f32* a, const f32* b, Py_ssize_t ldb, Py_ssize_t k
) noexcept nogil:
    """1 row by 4 * LANES columns, added."""
    cdef Vector c0 = ZERO, c1 = ZERO, c2 = ZERO, c3 = ZERO
    cdef Py_ssize_t p
    cdef f32 x
    for p in range(k):
        x = a[p]
        c0 = c0 + x * at(b)
        c1 = c1 + x * at(b + LANES)
        c2 = c2 + x * at(b + 2 * LANES)
        c3 = c3 + x * at(b + 3 * LANES)
        b += ldb
    put(c, c0, True)
    put(c + LANES, c1, True)
    put(c + 2 * LANES, c2, True)
    put(c + 3 * LANES, c3, True)


cdef inline void tile_product(
    f32* c, Py_ssize_t ldc, const f32* a, Py_ssize_t row, Py_ssize_t col,
    const f32* b, Py_ssize_t ldb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, bint add
) noexcept nogil:
    """c = a @ b, or c += a @ b. n is a multiple of 2 * LANES; the strides of a are free."""
    cdef Py_ssize_t i, j = 0
    while j < n:
        i = 0
        while i + 6 <= m:
            six_rows(c + i * ldc + j, ldc, a + i * row, row, col, b + j, ldb, k, add)
            i += 6
        while i < m:
            one_row(c + i * ldc + j, a + i * row, col, b + j, ldb, k, add)
            i += 1
        j += 2 * LANES


cdef inline void row_product(
    f32* c, const f32* a, const f32* b, Py_ssize_t ldb, Py_ssize_t n, Py_ssize_t k
) noexcept nogil:
    """c += a @ b for one row and any n."""
    cdef Py_ssize_t j = 0, p
    cdef f32 total
    while j + 4 * LANES <= n:
        one_wide_row(c + j, a, b + j, ldb, k)
        j += 4 * LANES
    while j + 2 * LANES <= n:
        one_row(c + j, a, 1, b + j, ldb, k, True)
        j += 2 * LANES
    while j < n:
        total = <f32>0.0
        for p in range(k):
            total = total + a[p] * b[p * ldb + j]
        c[j] += total
        j += 1


cdef inline f32 dot(const f32* a, const f32* b, Py_ssize_t n) noexcept nogil:
    """Sum of products, in four vectors of partial sums."""
    cdef Vector s0 = ZERO, s1 = ZERO, s2 = ZERO, s3 = ZERO
    cdef f32 total
    cdef Py_ssize_t i = 0
    while i + 4 * LANES <= n:
        s0 = s0 + at(a + i) * at(b + i)
        s1 = s1 + at(a + i + LANES) * at(b + i + LANES)
        s2 = s2 + at(a + i + 2 * LANES) * at(b + i + 2 * LANES)
        s3 = s3 + at(a + i + 3 * LANES) * at(b + i + 3 * LANES)
        i += 4 * LANES
    while i + LANES <= n:
        s0 = s0 + at(a + i) * at(b + i)
        i += LANES
    total = total_of((s0 + s1) + (s2 + s3))
    while i < n:
        total = total + a[i] * b[i]
        i += 1
    return total
