"""Reading by integers, slices, None and Ellipsis alone: common keys, without detours."""

from mlxc._graph.array cimport array, wrap
from mlxc._graph.bind cimport SLICE, bind_row, reshape
from mlxc._graph.node cimport Node, shape_tuple


cdef Py_ssize_t count_axes(tuple parts) except -2:
    """How many axes the parts of a key stand for; -1 for parts of another kind or two Ellipses."""
    cdef Py_ssize_t count = 0
    cdef bint dots = False
    for part in parts:
        if type(part) is int or type(part) is slice:
            count += 1
        elif part is Ellipsis:
            if dots:
                return -1
            dots = True
        elif part is not None:
            return -1
    return count


def read_basic(array x not None, key):
    """x[key] for a key of integers, slices, None and Ellipsis that fits; None for any other."""
    cdef tuple parts = key if type(key) is tuple else (key,)
    cdef Node node = x.node
    cdef int ndim = node.ndim
    cdef int axis = 0
    cdef int skip
    cdef bint whole = True
    cdef Py_ssize_t low, high, step, length, size
    cdef Py_ssize_t count = count_axes(parts)
    cdef list start = []
    cdef list stop = []
    cdef list stride = []
    cdef list shape = []
    if count < 0 or count > ndim:
        return None
    skip = ndim - <int>count
    if Ellipsis not in parts:
        parts = parts + (Ellipsis,)
    for part in parts:
        if part is None:
            shape.append(1)
            continue
        if part is Ellipsis:
            for axis in range(axis, axis + skip):
                start.append(0)
                stop.append(node.shape[axis])
                stride.append(1)
                shape.append(node.shape[axis])
            axis = len(start)
            continue
        size = node.shape[axis]
        if type(part) is int:
            low = part if -size <= part < size else size
            if low == size:
                return None
            low = low + size if low < 0 else low
            high, step, length = low + 1, 1, 1
        else:
            first, last, pace = part.indices(size)
            low, high, step = first, last, min(max(pace, -size - 1), size + 1)
            if step > 0:
                length = (high - low - 1) // step + 1 if high > low else 0
            else:
                length = (low - high - 1) // -step + 1 if high < low else 0
            if length == 0:
                low, high, step = 0, 0, 1
            shape.append(length)
        whole = whole and length == size and step == 1
        start.append(low)
        stop.append(high)
        stride.append(step)
        axis += 1
    if not whole:
        node = bind_row(SLICE, (node,), (tuple(start), tuple(stop), tuple(stride)))
    if len(shape) != ndim or shape != list(shape_tuple(node)):
        node = reshape(node, tuple(shape))
    return wrap(node)
