# cython: wraparound=True
"""Between nodes and the values of Python and NumPy, both ways, where no handle is needed.

What comes in is copied: a node's memory is its own. float64 becomes float32, as everywhere in MLX,
unless it is asked for.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.string cimport memcpy

from mlxc._graph.dtypes cimport FLOAT32, INT32, itemsize, load_scalar
from mlxc._graph.node cimport MAX_DIMS, Node, leaf_node
from mlxc._memory.buffer cimport Buffer, new_buffer
from mlxc._threads.pool cimport begin_work, par, raise_if_interrupted

from mlxc._graph.errors import ConversionError
from mlxc._table.dtypes import CODE

cdef enum:
    SIGNAL_EVERY = 65536     # values of a list between looks for Ctrl-C
    PIECE = 1 << 18          # bytes that a thread copies at a time

cdef Py_ssize_t LARGEST = <Py_ssize_t>1 << 40   # bytes of nested lists that are looked at here

cdef dict KNOWN = {}         # dtype of NumPy -> code, of those that need no conversion

cdef struct Copy:
    char* dst
    const char* src
    Py_ssize_t size          # bytes


cdef void copy_piece(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Copy* job = <Copy*>arg
    cdef Py_ssize_t begin = chunk * PIECE
    memcpy(job.dst + begin, job.src + begin, min(<Py_ssize_t>PIECE, job.size - begin))


cdef int copy_bytes(char* dst, const char* src, Py_ssize_t size) except -1:
    """On all threads where there is much."""
    cdef Copy job
    if size <= PIECE:
        memcpy(dst, src, size)
        return 0
    job.dst = dst
    job.src = src
    job.size = size
    with nogil:
        begin_work()
        par(copy_piece, &job, (size + PIECE - 1) // PIECE)
    return raise_if_interrupted()


cdef Node filled(int code, object values):
    """A node with the values of a dense row-major NumPy array whose dtype has this code."""
    cdef Py_buffer view
    cdef Node node
    cdef Buffer buffer = new_buffer(values.nbytes)
    cdef Py_ssize_t[MAX_DIMS] shape
    cdef int axis
    for axis in range(<int>values.ndim):
        shape[axis] = values.shape[axis]
    node = leaf_node(code, values.ndim, shape, buffer)
    if values.nbytes:
        PyObject_GetBuffer(values, &view, PyBUF_SIMPLE | PyBUF_C_CONTIGUOUS)
        try:
            copy_bytes(buffer.data, <const char*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
    return node


def values_alone(value):
    """A PyTorch tensor as other libraries can read it: without the record of its gradient, and
    what it is a conjugated or negated view of written out; anything else as it is."""
    if hasattr(value, "resolve_conj"):
        return value.detach().resolve_conj().resolve_neg()
    return value


cdef Node node_of_numpy(object value):
    """A copy of a NumPy array (or of what NumPy can read); float64 becomes float32 as everywhere in
    MLX."""
    import numpy
    cdef int code
    if type(value) is numpy.ndarray:
        known = KNOWN.get(value.dtype)
        if known is not None and value.flags.c_contiguous and value.ndim <= MAX_DIMS:
            return filled(known, value)
    if type(value).__module__.startswith("ml_dtypes") and type(value).__name__ == "bfloat16":
        value = numpy.asarray(value)
    values = numpy.asarray(values_alone(value))
    name = values.dtype.name
    if name == "bfloat16":
        values = values.view(numpy.uint16)
    elif name == "float64":
        name = "float32"
        values = values.astype(numpy.float32)
    elif name == "complex128":
        name = "complex64"
        values = values.astype(numpy.complex64)
    elif name == "bool":
        name = "bool_"
    if name not in CODE:
        raise ConversionError(
            f"[array] got {type(value).__name__} with elements of type {name}; numbers, nested "
            "lists of numbers or arrays would be right"
        )
    code = CODE[name]
    native = values.dtype.newbyteorder("=")
    if type(value) is numpy.ndarray and value.dtype == native:
        KNOWN[native] = code
    values = numpy.ascontiguousarray(values).reshape(values.shape).astype(native, copy=False)
    if values.ndim > MAX_DIMS:
        raise ValueError(f"[array] {values.ndim} dimensions; at most {MAX_DIMS} are supported")
    return filled(code, values)


cdef bint plain_shape(object value, int* ndim, Py_ssize_t* shape):
    """The shape of nested lists and tuples, as their first elements tell; False if too deep or
    empty."""
    ndim[0] = 0
    while type(value) is list or type(value) is tuple:
        if ndim[0] == MAX_DIMS or not value:
            return False
        shape[ndim[0]] = len(value)
        ndim[0] += 1
        value = value[0]
    return True


cdef bint has_shape(object value, int ndim, const Py_ssize_t* shape):
    """Whether nested lists and tuples are as long as a shape says, all of them."""
    if (type(value) is not list and type(value) is not tuple) or len(value) != shape[0]:
        return False
    if ndim > 1:
        for item in value:
            if not has_shape(item, ndim - 1, shape + 1):
                return False
    return True


cdef char* put_numbers(
    object value, int ndim, const Py_ssize_t* shape, bint floats, char* out
) except? NULL:
    """Write nested numbers one after the other; where the next one goes, or NULL if they are not
    all floats or all of 32 bits."""
    cdef Py_ssize_t k
    cdef long long whole
    cdef int beyond = 0
    if ndim > 1:
        for item in value:
            out = put_numbers(item, ndim - 1, shape + 1, floats, out)
            if out == NULL:
                return NULL
        return out
    for k in range(shape[0]):
        item = value[k]
        if k % SIGNAL_EVERY == SIGNAL_EVERY - 1:
            PyErr_CheckSignals()
        if floats:
            if type(item) is not float:
                return NULL
            (<float*>out)[0] = <float><double>item
        else:
            if type(item) is not int:
                return NULL
            whole = PyLong_AsLongLongAndOverflow(item, &beyond)
            if beyond or whole != <int>whole:
                return NULL
            (<int*>out)[0] = <int>whole
        out += 4
    return out


cdef Node node_of_numbers(object value):
    """Nested lists of nothing but floats, or of nothing but ints of 32 bits, as most are, without a
    detour through NumPy; None for others, good or bad."""
    cdef Py_ssize_t[MAX_DIMS] shape
    cdef Py_ssize_t size = 4
    cdef int ndim, axis
    cdef Buffer buffer
    cdef bint floats
    if not plain_shape(value, &ndim, shape):
        return None
    leaf = value
    for axis in range(ndim):
        leaf = leaf[0]
        if shape[axis] > LARGEST // size:
            return None
        size *= shape[axis]
    floats = type(leaf) is float
    if (not floats and type(leaf) is not int) or not has_shape(value, ndim, shape):
        return None
    buffer = new_buffer(size)
    if put_numbers(value, ndim, shape, floats, buffer.data) == NULL:
        return None
    return leaf_node(FLOAT32 if floats else INT32, ndim, shape, buffer)


cdef object first_leaf(object value):
    """The first element that is not a sequence, to name in an error."""
    while isinstance(value, (list, tuple)) and value:
        for item in value:
            if not isinstance(item, (bool, int, float, complex, list, tuple)):
                return item
        value = value[0]
    return value


cdef void own_buffer(Node node) except *:
    """Give a scalar that holds its value itself a Buffer, so that others can hold its memory."""
    cdef Buffer buffer
    if node.buffer is None:
        buffer = new_buffer(8)
        memcpy(buffer.data, node.data, itemsize[node.dtype])
        node.buffer = buffer
        node.data = buffer.data


cdef bint elements_overlap(Node node) noexcept:
    """Whether several elements lie on the same memory, as after a broadcast: readers of raw memory
    expect one place an element, and writers would change several."""
    cdef int axis
    for axis in range(node.ndim):
        if node.strides[axis] == 0 and node.shape[axis] > 1:
            return True
    return False


cdef object nested_list(Node node, int axis, const char* data):
    """Values as nested lists; as deep as there are axes."""
    cdef Py_ssize_t k, step
    cdef list values
    if axis == node.ndim:
        return load_scalar(node.dtype, data)
    values = []
    step = node.strides[axis]
    for k in range(node.shape[axis]):
        if k % SIGNAL_EVERY == 0:   # a broadcast array may be longer than memory
            PyErr_CheckSignals()
        if axis < node.ndim - 1:
            values.append(nested_list(node, axis + 1, data + k * step))
        elif node.dtype == FLOAT32:   # most often
            values.append(<double>(<const float*>(data + k * step))[0])
        else:
            values.append(load_scalar(node.dtype, data + k * step))
    return values
