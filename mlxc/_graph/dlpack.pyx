"""DLPack: memory shared with other libraries, both ways, without a copy.

Rules: everything that a foreign tensor says is checked before an array points to it; foreign memory
is never written to. A capsule keeps the Buffer of an array, an imported array keeps the foreign
tensor and frees it once. The structures are those of the DLPack specification, versions 0.8 and 1.0
(https://dmlc.github.io/dlpack/latest/c_api.html).
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport (
    PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New, PyCapsule_SetName,
)
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from mlxc._graph.array cimport array, wrap
from mlxc._graph.dtypes cimport BFLOAT16, COMPLEX64, dtype_kind, itemsize
from mlxc._graph.evaluate cimport evaluate_one
from mlxc._graph.node cimport EVALUATED, MAX_DIMS, Node, new_node
from mlxc._graph.values cimport elements_overlap
from mlxc._memory.buffer cimport new_buffer, wrap_buffer

from mlxc._table.dtypes import DTYPES

cdef struct DLDevice:
    int32_t device_type
    int32_t device_id

cdef struct DLDataType:
    uint8_t code
    uint8_t bits
    uint16_t lanes

cdef struct DLTensor:
    void* data
    DLDevice device
    int32_t ndim
    DLDataType dtype
    int64_t* shape        # elements
    int64_t* strides      # elements; NULL: row-major
    uint64_t byte_offset

cdef struct Managed:      # DLManagedTensor
    DLTensor tensor
    void* context
    void (*deleter)(Managed*) noexcept

cdef struct Versioned:    # DLManagedTensorVersioned
    uint32_t major
    uint32_t minor
    void* context
    void (*deleter)(Versioned*) noexcept
    uint64_t flags
    DLTensor tensor

cdef enum:
    CPU = 1
    CPU_PINNED = 3        # memory of the processor that a GPU reads as well
    READ_ONLY = 1         # Versioned.flags
    INT_CODE = 0
    UINT_CODE = 1
    FLOAT_CODE = 2
    BFLOAT_CODE = 4
    COMPLEX_CODE = 5
    BOOL_CODE = 6


cdef DLDataType described(int dtype) noexcept:
    """A dtype as DLPack says it."""
    cdef DLDataType out
    cdef char kind = dtype_kind[dtype]
    out.bits = 8 * itemsize[dtype]
    out.lanes = 1
    if dtype == BFLOAT16:
        out.code = BFLOAT_CODE
    elif kind == c"b":
        out.code = BOOL_CODE
    elif kind == c"c":
        out.code = COMPLEX_CODE
    elif kind == c"f":
        out.code = FLOAT_CODE
    else:
        out.code = INT_CODE if kind == c"i" else UINT_CODE
    return out


# ---- export ----


cdef int fill(DLTensor* tensor, Node node, int64_t* dims) except -1:
    """Describe a node's memory; dims has room for its shape and strides."""
    cdef int axis
    for axis in range(node.ndim):
        dims[axis] = node.shape[axis]
        dims[node.ndim + axis] = node.strides[axis] // itemsize[node.dtype]
        if node.strides[axis] % itemsize[node.dtype]:
            raise BufferError("[dlpack] elements overlap (a view of another dtype); make a "
                              "contiguous() copy first")
    tensor.data = node.data
    tensor.device.device_type = CPU
    tensor.device.device_id = 0
    tensor.ndim = node.ndim
    tensor.dtype = described(node.dtype)
    tensor.shape = dims
    tensor.strides = dims + node.ndim
    tensor.byte_offset = 0
    return 0


cdef void free_managed(Managed* managed) noexcept with gil:
    Py_DECREF(<object>managed.context)
    PyMem_Free(managed.tensor.shape)
    PyMem_Free(managed)


cdef void free_versioned(Versioned* managed) noexcept with gil:
    Py_DECREF(<object>managed.context)
    PyMem_Free(managed.tensor.shape)
    PyMem_Free(managed)


cdef void free_capsule(object capsule) noexcept:
    """A capsule that nobody took; one that was taken has another name."""
    cdef Managed* managed
    cdef Versioned* versioned
    if PyCapsule_IsValid(capsule, "dltensor"):
        managed = <Managed*>PyCapsule_GetPointer(capsule, "dltensor")
        managed.deleter(managed)
    elif PyCapsule_IsValid(capsule, "dltensor_versioned"):
        versioned = <Versioned*>PyCapsule_GetPointer(capsule, "dltensor_versioned")
        versioned.deleter(versioned)


def to_capsule(array x not None, bint versioned):
    """A capsule over the memory of an array, which is evaluated; None where elements share memory
    (a broadcast)."""
    cdef Managed* managed = NULL
    cdef Versioned* newer = NULL
    cdef Node node
    cdef int64_t* dims
    evaluate_one(x.node)
    node = x.node
    if node.buffer is None:   # a lone value that the node holds itself
        node.buffer = new_buffer(8)
        memcpy(node.buffer.data, node.data, itemsize[node.dtype])
        node.data = node.buffer.data
    if node.buffer.readonly and not versioned:
        raise BufferError("[dlpack] the memory is read-only, which only DLPack 1.0 can say; make "
                          "a copy, or ask for 1.0")
    if elements_overlap(node):
        return None
    dims = <int64_t*>PyMem_Malloc((2 * node.ndim + 1) * sizeof(int64_t))
    if versioned:
        newer = <Versioned*>PyMem_Malloc(sizeof(Versioned))
    else:
        managed = <Managed*>PyMem_Malloc(sizeof(Managed))
    try:
        if dims == NULL or (newer == NULL and managed == NULL):
            raise MemoryError()
        fill(&newer.tensor if versioned else &managed.tensor, node, dims)
    except BaseException:
        PyMem_Free(dims)
        PyMem_Free(newer)
        PyMem_Free(managed)
        raise
    Py_INCREF(node.buffer)
    if not versioned:
        managed.context = <void*>node.buffer
        managed.deleter = free_managed
        return PyCapsule_New(managed, "dltensor", free_capsule)
    newer.major, newer.minor = 1, 0
    newer.flags = READ_ONLY if node.buffer.readonly else 0
    newer.context = <void*>node.buffer
    newer.deleter = free_versioned
    return PyCapsule_New(newer, "dltensor_versioned", free_capsule)


# ---- import ----


cdef class Foreign:
    """Keeps a foreign tensor until no array needs its memory."""

    cdef Managed* managed
    cdef Versioned* versioned

    def __dealloc__(self):
        if self.managed != NULL and self.managed.deleter != NULL:
            self.managed.deleter(self.managed)
        if self.versioned != NULL and self.versioned.deleter != NULL:
            self.versioned.deleter(self.versioned)


cdef int code_of(DLDataType dtype) except -1:
    """Our dtype for DLPack's."""
    cdef int code
    cdef DLDataType ours
    for code in range(<int>len(DTYPES)):
        ours = described(code)
        if (ours.code, ours.bits, ours.lanes) == (dtype.code, dtype.bits, dtype.lanes):
            return code
    raise ValueError(
        f"[from_dlpack] elements of DLPack type code {dtype.code} with {dtype.bits} bits and "
        f"{dtype.lanes} lanes; a dtype that mx has would be right"
    )


cdef int check_dims(DLTensor* tensor) except -1:
    """Refuse sizes and strides that no memory can have."""
    cdef int axis
    if not 0 <= tensor.ndim <= MAX_DIMS:
        raise ValueError(f"[from_dlpack] {tensor.ndim} dimensions; 0 to {MAX_DIMS} would be right")
    if tensor.ndim and tensor.shape == NULL:
        raise ValueError("[from_dlpack] a tensor without a shape; one size an axis would be right")
    size, low, high = 1, 0, 0       # Python's integers: they do not overflow
    for axis in range(tensor.ndim):
        if tensor.shape[axis] < 0:
            raise ValueError(f"[from_dlpack] a size of {tensor.shape[axis]}; sizes are 0 or more")
        size *= max(tensor.shape[axis], 1)
        if tensor.strides != NULL:
            reach = max(tensor.shape[axis] - 1, 0) * int(tensor.strides[axis])
            low, high = low + min(reach, 0), high + max(reach, 0)
    if size > 1 << 58 or max(high, -low) > 1 << 58:
        raise ValueError("[from_dlpack] the tensor is larger than memory can be; at most 2**58 "
                         "elements are addressable")
    return 0


cdef array over(DLTensor* tensor, Foreign owner):
    """An array over a foreign tensor's memory; None where elements are not aligned."""
    cdef int code, axis
    cdef Node node
    cdef Py_ssize_t stride = 1, low = 0, high = 0, reach
    cdef char* data = <char*>tensor.data + tensor.byte_offset
    if tensor.device.device_type not in (CPU, CPU_PINNED):
        raise BufferError(
            f"[from_dlpack] memory of DLPack device type {tensor.device.device_type}; memory of "
            "the processor (1) would be right"
        )
    code = code_of(tensor.dtype)
    check_dims(tensor)
    node = new_node(code, tensor.ndim)
    node.size = 1
    for axis in range(tensor.ndim - 1, -1, -1):
        node.shape[axis] = tensor.shape[axis]
        node.strides[axis] = (stride if tensor.strides == NULL
                              else tensor.strides[axis]) * itemsize[code]
        stride *= max(node.shape[axis], 1)
        node.size *= node.shape[axis]
        reach = max(node.shape[axis] - 1, 0) * node.strides[axis]
        if reach < 0:
            low += reach
        else:
            high += reach
    if node.size and tensor.data == NULL:
        raise ValueError("[from_dlpack] a tensor with elements but without memory")
    if <size_t>data % (4 if code == COMPLEX64 else itemsize[code]):
        return None
    node.buffer = wrap_buffer(data + low, high - low + itemsize[code], owner, True)
    node.data = data
    node.flags = EVALUATED
    return wrap(node)


def from_capsule(capsule):
    """An array over the tensor in a capsule, which is used up; None where elements are not aligned.
    """
    cdef Foreign owner = Foreign.__new__(Foreign)
    cdef Versioned* versioned
    cdef Managed* managed
    if PyCapsule_IsValid(capsule, "dltensor"):
        managed = <Managed*>PyCapsule_GetPointer(capsule, "dltensor")
        PyCapsule_SetName(capsule, "used_dltensor")
        owner.managed = managed
        return over(&managed.tensor, owner)
    if PyCapsule_IsValid(capsule, "dltensor_versioned"):
        versioned = <Versioned*>PyCapsule_GetPointer(capsule, "dltensor_versioned")
        if versioned.major > 1:
            raise BufferError(f"[from_dlpack] DLPack version {versioned.major}; 1 or older would "
                              "be right")
        PyCapsule_SetName(capsule, "used_dltensor_versioned")
        owner.versioned = versioned
        return over(&versioned.tensor, owner)
    raise ValueError("[from_dlpack] the capsule holds no DLPack tensor, or was used before; a new "
                     "one would be right")
