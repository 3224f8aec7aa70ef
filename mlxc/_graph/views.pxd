"""Views of arrays that have their data."""

from mlxc._graph.node cimport EVALUATED, ON_DEVICE, Node

cdef inline bint has_data(Node x) noexcept:
    """Whether a view of x can be made at once: nobody traces it, and its memory is a buffer's."""
    return x.flags & ~ON_DEVICE == EVALUATED and x.buffer is not None

# Views that have their data if x has; else nodes of the graph.
cdef Node transposed(Node x, tuple axes)
cdef Node reshaped(Node x, tuple shape)
# A node over x's memory, whose shape, size and strides the caller fills in.
cdef Node view_of(Node x, int ndim)
