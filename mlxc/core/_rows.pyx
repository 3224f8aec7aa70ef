"""From public functions to rows: constants, reductions, and kernels along one axis; compiled,
since a call of a function on few elements is hardly more than this.
"""

from mlxc._graph.array cimport array, node_of, wrap
from mlxc._graph.bind cimport bind_reduction, bind_row, broadcast_to_tuple, row_code
from mlxc._graph.dtypes cimport FLOAT32, dtype_code
from mlxc._graph.node cimport MAX_DIMS, Node, scalar_node
from mlxc._graph.views cimport reshaped

from ._arguments import as_shape, normalize_axes, normalize_axis

cdef int CONCATENATE = row_code("concatenate")
cdef int GATHER = row_code("gather")
cdef list ALL_AXES = [tuple(range(ndim)) for ndim in range(MAX_DIMS + 1)]
cdef list ONE_AXIS = [(axis,) for axis in range(MAX_DIMS)]


cdef Node flat(Node x):
    return x if x.ndim == 1 else reshaped(x, (x.size,))


cdef int counted_axis(str name, object axis, Node x) except -1:
    """An axis counted from the front."""
    cdef Py_ssize_t position
    if type(axis) is int and -x.ndim <= axis < x.ndim:
        position = axis
        return <int>(position + x.ndim if position < 0 else position)
    return normalize_axis(name, axis, x.ndim)


def reduced(str name, a, axis, keepdims):
    """A reduction row over an axis, several, or None for all."""
    cdef Node x = node_of(a)
    cdef tuple axes
    if axis is None:
        axes = ALL_AXES[x.ndim]
    elif type(axis) is int:
        axes = ONE_AXIS[counted_axis(name, axis, x)]
    else:
        axes = normalize_axes(name, axis, x.ndim)
    return wrap(bind_reduction(row_code(name), x, axes, bool(keepdims)))


def along(str name, a, axis, *more):
    """A Kernel row with parameters (axis, ...); over the flattened array for axis None."""
    cdef Node x = node_of(a)
    cdef tuple params
    if axis is None:
        x = flat(x)
        params = ONE_AXIS[0]
    else:
        params = ONE_AXIS[counted_axis(name, axis, x)]
    return wrap(bind_row(row_code(name), (x,), params + more if more else params))


def gathered(a, indices, axis):
    """What an array of indices takes along an axis, or from the flattened array for None."""
    cdef Node x = node_of(a)
    cdef int position = 0
    if axis is None:
        x = flat(x)
    else:
        position = counted_axis("take", axis, x)
    return wrap(bind_row(GATHER, (x, node_of(indices)), (ONE_AXIS[position], position)))


def joined(arrays, axis):
    """Several arrays of one dtype one after the other; None where they are not, and for axis None.
    """
    cdef list nodes = []
    cdef int dtype = -1
    if axis is None:
        return None
    for x in arrays:
        if type(x) is not array or dtype >= 0 and (<array>x).node.dtype != dtype:
            return None
        dtype = (<array>x).node.dtype
        nodes.append((<array>x).node)
    if len(nodes) < 2:
        return None
    position = counted_axis("concatenate", axis, <Node>nodes[0])
    return wrap(bind_row(CONCATENATE, tuple(nodes), ONE_AXIS[position]))


def filled(shape, value, dtype):
    """A number that all dtypes have, stretched to a shape; float32 for dtype None."""
    cdef int code = FLOAT32 if dtype is None else dtype_code(dtype)
    return wrap(broadcast_to_tuple(scalar_node(code, value), as_shape("full", shape)))


def packed(a):
    """A copy in row-major order, which the outputs of kernels are in."""
    cdef Node x = node_of(a)
    return wrap(x if x.ndim == 0 else bind_row(CONCATENATE, (x,), ONE_AXIS[0]))
