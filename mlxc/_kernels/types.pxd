"""The C types that elementwise loops work on: one scalar, one read pointer and one write pointer
a compute type.

Pointers are `restrict`: an output may be exactly one of the operands (every element is read before
it is written), but may not overlap it otherwise. `word` types move bits whose meaning does not
matter, from any address.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef MLXC_TYPES
    #define MLXC_TYPES
    #include <stdint.h>
    typedef struct { float re, im; } mlxc_c64;
    #define MLXC_POINTERS(name, type) \\
        typedef const type *__restrict__ name##_in; \\
        typedef type *__restrict__ name##_out;
    MLXC_POINTERS(b8, uint8_t)
    MLXC_POINTERS(i32, int32_t)
    MLXC_POINTERS(u32, uint32_t)
    MLXC_POINTERS(i64, int64_t)
    MLXC_POINTERS(u64, uint64_t)
    MLXC_POINTERS(f32, float)
    MLXC_POINTERS(f64, double)
    MLXC_POINTERS(c64, mlxc_c64)
    MLXC_POINTERS(u8, uint8_t)
    MLXC_POINTERS(i8, int8_t)
    MLXC_POINTERS(u16, uint16_t)
    MLXC_POINTERS(i16, int16_t)
    typedef uint8_t word1;
    typedef uint16_t __attribute__((aligned(1), may_alias)) word2;
    typedef uint32_t __attribute__((aligned(1), may_alias)) word4;
    typedef uint64_t __attribute__((aligned(1), may_alias)) word8;
    #endif
    """
    ctypedef struct c64 "mlxc_c64":
        float re
        float im
    ctypedef const uint8_t* b8_in
    ctypedef uint8_t* b8_out
    ctypedef const int32_t* i32_in
    ctypedef int32_t* i32_out
    ctypedef const uint32_t* u32_in
    ctypedef uint32_t* u32_out
    ctypedef const int64_t* i64_in
    ctypedef int64_t* i64_out
    ctypedef const uint64_t* u64_in
    ctypedef uint64_t* u64_out
    ctypedef const float* f32_in
    ctypedef float* f32_out
    ctypedef const double* f64_in
    ctypedef double* f64_out
    ctypedef const c64* c64_in
    ctypedef c64* c64_out
    ctypedef const uint8_t* u8_in
    ctypedef uint8_t* u8_out
    ctypedef const signed char* i8_in
    ctypedef signed char* i8_out
    ctypedef const uint16_t* u16_in
    ctypedef uint16_t* u16_out
    ctypedef const short* i16_in
    ctypedef short* i16_out
    ctypedef uint8_t word1
    ctypedef uint16_t word2
    ctypedef uint32_t word4
    ctypedef uint64_t word8

ctypedef uint8_t b8  # 0 or 1
ctypedef uint8_t u8
ctypedef signed char i8
ctypedef uint16_t u16
ctypedef short i16
ctypedef int32_t i32
ctypedef uint32_t u32
ctypedef int64_t i64
ctypedef uint64_t u64
ctypedef float f32
ctypedef double f64
