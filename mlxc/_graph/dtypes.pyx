"""The dtype table as C arrays, Dtype objects, and single values to and from Python.

What the table says is not repeated here: arrays are filled from ``_table.dtypes`` and the enum is
checked against it.
"""

from libc.string cimport memcpy

from mlxc._table import dtypes as table

_ORDER = (
    "bool_ uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 bfloat16 "
    "complex64"
)
if _ORDER.split() != [fact.name for fact in table.DTYPES]:
    raise ImportError("[mlxc] _graph/dtypes.pxd and _table/dtypes.py number the dtypes differently")
if table.COMPUTE_TYPES != ("b8", "i32", "u32", "i64", "u64", "f32", "f64", "c64"):
    raise ImportError("[mlxc] _graph/dtypes.pxd and _table/dtypes.py number the compute types "
                      "differently")

PACKAGE = "mlxc.core"                    # whose data types say that they are; array.show_package


cdef class Dtype:
    """An element type, such as ``mx.float32``."""

    @property
    def size(self):
        """Bytes an element."""
        return itemsize[self.code]

    def __repr__(self):
        return f"{PACKAGE}.{self.name.rstrip('_')}"

    def __hash__(self):
        return self.hashed

    def __eq__(self, other):
        return self is other

    def __reduce__(self):
        return _dtype_named, (self.name,)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def _dtype_named(name):
    """The Dtype called name: what pickles hold."""
    return DTYPE_OBJECTS[table.CODE[name]]


cdef void fill_tables():
    cdef int a, b
    for a, fact in enumerate(table.DTYPES):
        itemsize[a] = fact.size
        compute_type[a] = table.COMPUTE_TYPES.index(fact.compute)
        dtype_kind[a] = ord(fact.kind)
        for b, other in enumerate(table.DTYPES):
            promoted[a][b] = table.CODE[table.promote(fact.name, other.name)]
    for a, name in enumerate(table.COMPUTE_TYPES):
        compute_size[a] = table.COMPUTE_SIZE[name]


cdef Dtype make_dtype(int code, str name):
    cdef Dtype dtype = Dtype.__new__(Dtype)
    dtype.code = code
    dtype.name = name
    dtype.hashed = hash(name) & 0x7fffffff
    return dtype


fill_tables()
DTYPE_OBJECTS = [make_dtype(code, fact.name) for code, fact in enumerate(table.DTYPES)]
DTYPES = tuple(DTYPE_OBJECTS)


cdef int dtype_code(object dtype) except -1:
    """The code of a Dtype; TypeError for anything else."""
    if isinstance(dtype, Dtype):
        return (<Dtype>dtype).code
    raise TypeError(
        f"[dtype] got {dtype!r} of type {type(dtype).__name__}; a data type such as "
        "mlxc.core.float32 would be right"
    )


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static float mlxc_half_to_float(uint16_t h) {
        uint32_t sign = (uint32_t)(h & 0x8000) << 16, bits = (uint32_t)(h & 0x7fff) << 13, out;
        float scaled, scale;
        uint32_t scale_bits = 0x77800000u;  /* 2**112 repairs the exponent, denormals included */
        memcpy(&scale, &scale_bits, 4);
        memcpy(&scaled, &bits, 4);
        scaled *= scale;
        memcpy(&out, &scaled, 4);
        if (bits >= 0x0f800000u) out |= 0x7f800000u;  /* inf and NaN */
        out |= sign;
        memcpy(&scaled, &out, 4);
        return scaled;
    }
    static uint16_t mlxc_float_to_half(float value) {
        uint32_t u, sign, rounded;
        float magic;
        memcpy(&u, &value, 4);
        sign = (u >> 16) & 0x8000u;
        u &= 0x7fffffffu;
        if (u > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
        if (u >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
        if (u < 0x38800000u) {  /* denormal: adding one half lets the hardware round */
            memcpy(&magic, &u, 4);
            magic += 0.5f;
            memcpy(&rounded, &magic, 4);
            return (uint16_t)(sign | (rounded - 0x3f000000u));
        }
        rounded = u - 0x38000000u + 0xfffu + ((u >> 13) & 1u);
        return (uint16_t)(sign | (rounded >> 13));
    }
    static uint16_t mlxc_float_to_bfloat(float value) {
        uint32_t u;
        memcpy(&u, &value, 4);
        if (value != value) return (uint16_t)((u >> 16) | 0x40u);
        return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
    """
    float mlxc_half_to_float(unsigned short) nogil
    unsigned short mlxc_float_to_half(float) nogil
    unsigned short mlxc_float_to_bfloat(float) nogil


cdef float half_to_float(unsigned short h) noexcept nogil:
    return mlxc_half_to_float(h)


cdef int store_scalar(int dtype, object value, void* out) except -1:
    """Write one Python number as dtype; integers wrap as C's do. TypeError for what is not a
    number."""
    cdef float single
    cdef double double_value
    cdef long long bits
    cdef unsigned short half
    cdef float[2] pair
    cdef char kind = dtype_kind[dtype]
    if kind == c"b":
        (<unsigned char*>out)[0] = 1 if value else 0
    elif kind == c"f":
        double_value = value
        if dtype == FLOAT64:
            (<double*>out)[0] = double_value
        elif dtype == FLOAT32:
            (<float*>out)[0] = <float>double_value
        else:
            single = <float>double_value
            half = mlxc_float_to_half(single) if dtype == FLOAT16 else mlxc_float_to_bfloat(single)
            (<unsigned short*>out)[0] = half
    elif kind == c"c":
        number = complex(value)
        pair[0] = number.real
        pair[1] = number.imag
        memcpy(out, pair, 8)
    else:
        if isinstance(value, float):
            value = int(value)
        value = int(value)
        if not -0x8000000000000000 <= value < 0x10000000000000000:
            raise OverflowError(f"[array] {value} does not fit into 64 bits; a float would be "
                                "right")
        wrapped = value & 0xffffffffffffffff
        bits = <long long><unsigned long long>wrapped
        memcpy(out, &bits, itemsize[dtype])  # little-endian: the low bytes come first
    return 0


cdef object load_scalar(int dtype, const void* data):
    """One stored value as a Python number."""
    cdef unsigned int bits
    cdef float single
    if dtype == BOOL:
        return (<unsigned char*>data)[0] != 0
    if dtype == UINT8:
        return (<unsigned char*>data)[0]
    if dtype == UINT16:
        return (<unsigned short*>data)[0]
    if dtype == UINT32:
        return (<unsigned int*>data)[0]
    if dtype == UINT64:
        return (<unsigned long long*>data)[0]
    if dtype == INT8:
        return (<signed char*>data)[0]
    if dtype == INT16:
        return (<short*>data)[0]
    if dtype == INT32:
        return (<int*>data)[0]
    if dtype == INT64:
        return (<long long*>data)[0]
    if dtype == FLOAT16:
        return <double>mlxc_half_to_float((<unsigned short*>data)[0])
    if dtype == FLOAT32:
        return <double>(<float*>data)[0]
    if dtype == FLOAT64:
        return (<double*>data)[0]
    if dtype == BFLOAT16:
        bits = <unsigned int>(<unsigned short*>data)[0] << 16
        memcpy(&single, &bits, 4)
        return <double>single
    return complex((<float*>data)[0], (<float*>data)[1])
