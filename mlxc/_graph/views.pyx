"""Views of arrays that have their data: they have it, too, at once. There is nothing to compute,
and no graph to walk when they are read.
"""

from mlxc._graph.bind cimport reshape, transpose
from mlxc._graph.node cimport EVALUATED, MAX_DIMS, Node, is_row_major, new_node, set_row_major

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1


cdef Node view_of(Node x, int ndim):
    cdef Node view = new_node(x.dtype, ndim)
    view.buffer = x.buffer
    view.data = x.data
    view.flags = EVALUATED
    return view


cdef Node transposed(Node x, tuple axes):
    cdef Node view
    cdef int k, axis
    if not has_data(x):
        return transpose(x, axes)
    view = view_of(x, x.ndim)
    view.size = x.size
    for k in range(x.ndim):
        axis = axes[k]
        view.shape[k] = x.shape[axis]
        view.strides[k] = x.strides[axis]
    return view


cdef Node reshaped(Node x, tuple shape):
    cdef Node view
    cdef Py_ssize_t size = 1, length
    cdef int axis, overflow = 0
    if len(shape) > MAX_DIMS or not has_data(x) or not is_row_major(x) or x.size == 0:
        return reshape(x, shape)
    view = view_of(x, <int>len(shape))
    for axis in range(view.ndim):
        length = PyLong_AsLongLongAndOverflow(shape[axis], &overflow)
        if overflow or length < 1 or length > x.size // size:
            return reshape(x, shape)     # which says what is wrong
        view.shape[axis] = length
        size *= length
    if size != x.size:
        return reshape(x, shape)
    view.size = size
    set_row_major(view)
    return view
