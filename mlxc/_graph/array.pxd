"""The handle that users hold."""

from mlxc._graph.node cimport Node

cdef class array:
    cdef Node node
    cdef object __weakref__
    cdef void keep_dims(self, Py_buffer* view, Py_ssize_t* dims) noexcept

cdef array wrap(Node node)
cdef Node node_of(object value)
cdef Node operand_node(object value, Node partner)
