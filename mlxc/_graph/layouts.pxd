"""Where a plan's nodes lie in memory, and where movement of them lies."""

from mlxc._graph.node cimport Node

cdef tuple squeezed(object shape)
cdef tuple squeeze_strides(tuple shape, tuple strides)
cdef tuple dense_strides(tuple shape, Py_ssize_t item)
cdef bint is_dense(tuple layout, Py_ssize_t item) except -1
cdef tuple moved(Node node, tuple layout)
