"""Reading and writing by integers, slices, None and Ellipsis alone: common keys, without detours.

Each function gives None where the case is another one; those in ``indexing.py`` then see to it.
"""

from mlxc._graph.array cimport array, wrap
from mlxc._graph.bind cimport SLICE, broadcast_to_tuple, like, reshape, row_code
from mlxc._graph.node cimport Node, new_node, put_input, set_inputs, shape_tuple

cdef int SLICE_UPDATE = row_code("slice_update")


cdef class Selection:
    """What a key says of each axis, and what it leaves."""

    cdef list start, stop, stride
    cdef list sizes          # of the axes, sliced
    cdef list shape          # the same without the axes of integers, with those of None
    cdef bint whole          # whether nothing is left out

    def __cinit__(self):
        self.start = []
        self.stop = []
        self.stride = []
        self.sizes = []
        self.shape = []
        self.whole = True

    cdef int add(
        self, Py_ssize_t low, Py_ssize_t high, Py_ssize_t step, Py_ssize_t length
    ) except -1:
        self.start.append(low)
        self.stop.append(high)
        self.stride.append(step)
        self.sizes.append(length)
        return 0

    cdef tuple bounds(self):
        return tuple(self.start), tuple(self.stop), tuple(self.stride)


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


cdef Selection selection(Node node, key):
    """What a key of integers, slices, None and Ellipsis selects; None for any other, and for one
    that does not fit."""
    cdef tuple parts = key if type(key) is tuple else (key,)
    cdef Selection found
    cdef int axis = 0, skip
    cdef Py_ssize_t low, high, step, length, size
    cdef Py_ssize_t count = count_axes(parts)
    if count < 0 or count > node.ndim:
        return None
    found = Selection.__new__(Selection)
    skip = node.ndim - <int>count
    if Ellipsis not in parts:
        parts = parts + (Ellipsis,)
    for part in parts:
        if part is None:
            found.shape.append(1)
            continue
        if part is Ellipsis:
            for axis in range(axis, axis + skip):
                found.add(0, node.shape[axis], 1, node.shape[axis])
                found.shape.append(node.shape[axis])
            axis = <int>len(found.start)
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
            if length < 2:   # a stride that is not taken is 1
                low, high, step = low * length, low * length + length, 1
            found.shape.append(length)
        found.whole = found.whole and length == size and step == 1
        found.add(low, high, step, length)
        axis += 1
    return found


def read_basic(array x not None, key):
    """x[key] for a key of integers, slices, None and Ellipsis that fits; None for any other."""
    cdef Selection found = selection(x.node, key)
    cdef Node node = x.node, source
    cdef int axis
    if found is None:
        return None
    if not found.whole:
        source = node
        node = new_node(source.dtype, source.ndim)
        node.size = 1
        for axis in range(node.ndim):
            node.shape[axis] = found.sizes[axis]
            node.size *= node.shape[axis]
        node.op = SLICE
        node.params = found.bounds()
        set_inputs(node, 1)
        put_input(node, 0, source)
    if len(found.shape) != node.ndim or found.shape != list(shape_tuple(node)):
        node = reshape(node, tuple(found.shape))
    return wrap(node)


def write_basic(array x not None, key, value):
    """What x[key] = value leaves in x, for such a key and an array of just the shape and dtype that
    are selected, or a single value of the dtype; None for any other."""
    cdef Selection found
    cdef Node node, update
    if type(value) is not array:
        return None
    update = (<array>value).node
    if update.dtype != x.node.dtype:
        return None
    found = selection(x.node, key)
    if found is None:
        return None
    if update.ndim == 0:
        update = broadcast_to_tuple(update, tuple(found.sizes))
    elif found.shape != list(shape_tuple(update)):
        return None
    elif found.shape != found.sizes:
        update = reshape(update, tuple(found.sizes))
    if found.whole:
        return wrap(update)
    node = like(x.node, x.node.dtype)
    node.op = SLICE_UPDATE
    node.params = found.bounds() + ("none",)
    set_inputs(node, 2)
    put_input(node, 0, x.node)
    put_input(node, 1, update)
    return wrap(node)
