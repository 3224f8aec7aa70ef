"""A small square of values turned in registers, inlined into the kernels that pack."""

cdef extern from *:
    """
    #ifndef MLXC_SQUARE
    #define MLXC_SQUARE
    typedef int quad __attribute__((vector_size(16)));
    typedef int quad_u __attribute__((vector_size(16), aligned(2), may_alias));
    static inline void transpose4(const char *s, Py_ssize_t sr, char *d, Py_ssize_t dr) {
        quad a = *(const quad_u *)s, b = *(const quad_u *)(s + sr);
        quad c = *(const quad_u *)(s + 2 * sr), e = *(const quad_u *)(s + 3 * sr);
        quad p = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        quad q = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        quad r = __builtin_shufflevector(c, e, 0, 4, 1, 5);
        quad t = __builtin_shufflevector(c, e, 2, 6, 3, 7);
        *(quad_u *)d = __builtin_shufflevector(p, r, 0, 1, 4, 5);
        *(quad_u *)(d + dr) = __builtin_shufflevector(p, r, 2, 3, 6, 7);
        *(quad_u *)(d + 2 * dr) = __builtin_shufflevector(q, t, 0, 1, 4, 5);
        *(quad_u *)(d + 3 * dr) = __builtin_shufflevector(q, t, 2, 3, 6, 7);
    }
    #endif
    """
    # d[k, i] = s[i, k] for four by four values of four bytes; distances of rows in bytes.
    void transpose4(const char* s, Py_ssize_t s_row, char* d, Py_ssize_t d_row) noexcept nogil
