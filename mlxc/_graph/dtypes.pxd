"""The dtype table as C arrays, and the promotion of pairs."""

cdef enum:               # codes of _table.dtypes.DTYPES, checked at import
    BOOL = 0
    UINT8 = 1
    UINT16 = 2
    UINT32 = 3
    UINT64 = 4
    INT8 = 5
    INT16 = 6
    INT32 = 7
    INT64 = 8
    FLOAT16 = 9
    FLOAT32 = 10
    FLOAT64 = 11
    BFLOAT16 = 12
    COMPLEX64 = 13
    DTYPE_COUNT = 14

cdef enum:               # codes of _table.dtypes.COMPUTE_TYPES, checked at import
    C_B8 = 0
    C_I32 = 1
    C_U32 = 2
    C_I64 = 3
    C_U64 = 4
    C_F32 = 5
    C_F64 = 6
    C_C64 = 7
    COMPUTE_COUNT = 8

cdef int[DTYPE_COUNT] itemsize           # bytes an element as stored
cdef int[DTYPE_COUNT] compute_type       # COMPUTE_TYPES code
cdef char[DTYPE_COUNT] dtype_kind        # b u i f c
cdef int[COMPUTE_COUNT] compute_size     # bytes an element as computed
cdef int[DTYPE_COUNT][DTYPE_COUNT] promoted

cdef class Dtype:
    cdef readonly int code
    cdef readonly str name               # as in mx.<name>
    cdef int hashed

cdef list DTYPE_OBJECTS                  # Dtype by code
cdef int dtype_code(object dtype) except -1
cdef int store_scalar(int dtype, object value, void* out) except -1
cdef object load_scalar(int dtype, const void* data)
cdef float half_to_float(unsigned short h) noexcept nogil
