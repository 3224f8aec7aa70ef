# cython: wraparound=True
"""Between nodes and the values of Python and NumPy, both ways, where no handle is needed.

What comes in is copied: a node's memory is its own. float64 becomes float32, as everywhere in MLX,
unless it is asked for.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.string cimport memcpy

from mlxc._graph.dtypes cimport itemsize, load_scalar
from mlxc._graph.node cimport MAX_DIMS, Node, leaf_node
from mlxc._memory.buffer cimport Buffer, new_buffer

from mlxc._graph.errors import ConversionError
from mlxc._table.dtypes import CODE

cdef enum:
    SIGNAL_EVERY = 65536     # values of a list between looks for Ctrl-C


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
        memcpy(buffer.data, view.buf, view.len)
        PyBuffer_Release(&view)
    return node


cdef Node node_of_numpy(object value):
    """A copy of a NumPy array (or of what NumPy can read); float64 becomes float32 as everywhere in
    MLX."""
    import numpy
    cdef int code
    if type(value).__module__.startswith("ml_dtypes") and type(value).__name__ == "bfloat16":
        value = numpy.asarray(value)
    values = numpy.asarray(value)
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
    values = numpy.ascontiguousarray(values).reshape(values.shape).astype(native, copy=False)
    if values.ndim > MAX_DIMS:
        raise ValueError(f"[array] {values.ndim} dimensions; at most {MAX_DIMS} are supported")
    return filled(code, values)


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
    cdef Py_ssize_t k
    cdef list values
    if axis == node.ndim:
        return load_scalar(node.dtype, data)
    values = []
    for k in range(node.shape[axis]):
        if k % SIGNAL_EVERY == 0:   # a broadcast array may be longer than memory
            PyErr_CheckSignals()
        values.append(nested_list(node, axis + 1, data + k * node.strides[axis]))
    return values
