# cython: wraparound=True
"""Where a plan's nodes lie in memory, and where movement of them lies.

A layout is (slot, offset, shape, strides): offset and strides in bytes, strides along all axes.
"""

from math import prod

from mlxc._graph.bind cimport (
    AS_STRIDED, BROADCAST, REDUCTION, RESHAPE, SLICE, TRANSPOSE, VIEW, row_kind,
)
from mlxc._graph.dtypes cimport itemsize
from mlxc._graph.movement cimport Layout, reshape_layout
from mlxc._graph.node cimport Node, shape_tuple

from mlxc._graph.bind import ROWS


cdef tuple squeezed(object shape):
    """The shape without axes of size 1."""
    return tuple([size for size in shape if size != 1])


cdef tuple squeeze_strides(tuple shape, tuple strides):
    return tuple([stride for size, stride in zip(shape, strides) if size != 1])


cdef tuple dense_strides(tuple shape, Py_ssize_t item):
    """Byte strides of a dense row-major array."""
    cdef list strides = []
    for size in reversed(shape):
        strides.append(item)
        item *= max(size, 1)
    return tuple(reversed(strides))


cdef bint is_dense(tuple layout, Py_ssize_t item) except -1:
    """Whether values lie in row-major order without gaps."""
    _, _, shape, strides = layout
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size != 1:
            if stride != item:
                return False
            item *= size
    return True


cdef tuple reshaped(tuple shape, tuple strides, int item, tuple new_shape):
    """Strides of a reshape without a copy, or None."""
    cdef Layout layout
    cdef Py_ssize_t[32] sizes
    cdef int axis
    layout.ndim = len(shape)
    layout.itemsize = item
    layout.offset = 0
    for axis in range(layout.ndim):
        layout.shape[axis] = shape[axis]
        layout.strides[axis] = strides[axis]
    for axis in range(<int>len(new_shape)):
        sizes[axis] = new_shape[axis]
    if not reshape_layout(&layout, len(new_shape), sizes):
        return None
    return tuple([layout.strides[axis] for axis in range(layout.ndim)])


cdef tuple moved(Node node, tuple layout):
    """The layout of a movement node (or a reduction of axes of size 1) whose source has a layout;
    None where the source has to be copied into dense memory first."""
    cdef int op = node.op
    cdef int item = itemsize[node.dtype]
    cdef tuple params = node.params
    cdef tuple new_shape = shape_tuple(node)
    slot, offset, shape, strides = layout
    if prod(new_shape) == 0:
        return slot, offset, new_shape, dense_strides(new_shape, item)
    if op == BROADCAST:
        lead = len(new_shape) - len(shape)
        kept = tuple([0 if old == 1 and new != 1 else stride
                      for old, new, stride in zip(shape, new_shape[lead:], strides)])
        return slot, offset, new_shape, (0,) * lead + kept
    if op == TRANSPOSE:
        return slot, offset, new_shape, tuple([strides[a] for a in params[0]])
    if op == SLICE:
        start, _, stride = params
        offset += sum([low * step for low, step in zip(start, strides)])
        return slot, offset, new_shape, tuple([s * step for s, step in zip(stride, strides)])
    if op == RESHAPE or row_kind[op] == REDUCTION:
        found = reshaped(shape, strides, item, new_shape)
        return None if found is None else (slot, offset, new_shape, found)
    if op == AS_STRIDED:
        if not is_dense(layout, item):
            return None
        return slot, offset + params[2] * item, new_shape, tuple([s * item for s in params[1]])
    if op == VIEW:
        return viewed(layout, itemsize[(<Node>node.inputs[0]).dtype], item, new_shape)
    raise RuntimeError(f"[eval] no layout rule for {ROWS[op].name}")


cdef tuple viewed(tuple layout, int old, int item, tuple new_shape):
    """The layout of the same bytes as items of another size, or None."""
    slot, offset, shape, strides = layout
    if old == item:
        return slot, offset, new_shape, strides
    aligned = offset % item == 0 and all([s % item == 0 for s in strides[:-1]])
    if not aligned or (shape[-1] != 1 and strides[-1] != old):
        return None
    return slot, offset, new_shape, strides[:-1] + (item,)
