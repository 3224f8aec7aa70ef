"""Loops that make numbers from nothing: arithmetic ranges.

Integers are computed modulo 2**64 and keep their low bytes; floats are computed in float64, so that
a float32 range is the correctly rounded `start + k * step` however long it is.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

ctypedef fused word:
    uint8_t
    uint16_t
    uint32_t
    uint64_t

ctypedef fused real:
    float
    double


cdef inline void integers(uint64_t start, uint64_t step, word* out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        out[k] = <word>(start + <uint64_t>k * step)


cdef inline void reals(
    double start, double step, Py_ssize_t first, real* out, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        out[k] = <real>(start + <double>(first + k) * step)


cdef void arange_1(uint64_t start, uint64_t step, char* out, Py_ssize_t n) noexcept nogil:
    integers[uint8_t](start, step, <uint8_t*>out, n)


cdef void arange_2(uint64_t start, uint64_t step, char* out, Py_ssize_t n) noexcept nogil:
    integers[uint16_t](start, step, <uint16_t*>out, n)


cdef void arange_4(uint64_t start, uint64_t step, char* out, Py_ssize_t n) noexcept nogil:
    integers[uint32_t](start, step, <uint32_t*>out, n)


cdef void arange_8(uint64_t start, uint64_t step, char* out, Py_ssize_t n) noexcept nogil:
    integers[uint64_t](start, step, <uint64_t*>out, n)


cdef void arange_f32(
    double start, double step, Py_ssize_t first, char* out, Py_ssize_t n
) noexcept nogil:
    reals[float](start, step, first, <float*>out, n)


cdef void arange_f64(
    double start, double step, Py_ssize_t first, char* out, Py_ssize_t n
) noexcept nogil:
    reals[double](start, step, first, <double*>out, n)


def table():
    """Addresses of the kernels by name."""
    return {
        "arange_1": <size_t>&arange_1,
        "arange_2": <size_t>&arange_2,
        "arange_4": <size_t>&arange_4,
        "arange_8": <size_t>&arange_8,
        "arange_f32": <size_t>&arange_f32,
        "arange_f64": <size_t>&arange_f64,
    }
