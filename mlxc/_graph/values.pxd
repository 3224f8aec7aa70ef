"""Between nodes and the values of Python and NumPy."""

from mlxc._graph.node cimport Node

cdef Node filled(int code, object values)
cdef Node node_of_numpy(object value)
cdef void own_buffer(Node node) except *
cdef bint elements_overlap(Node node) noexcept
cdef object nested_list(Node node, int axis, const char* data)
cdef Node node_of_numbers(object value)
cdef object first_leaf(object value)
