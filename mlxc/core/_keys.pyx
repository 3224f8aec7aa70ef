"""Reading and writing by integers, slices, None and Ellipsis alone: common keys, without detours.

Each function gives None where the case is another one; those in ``indexing.py`` then see to it. A
part of an array that has its data has it, too: nothing is left to compute.
"""

cimport cython

from mlxc._graph.array cimport array, wrap
from mlxc._graph.bind cimport SLICE, broadcast_to_tuple, like, reshape, row_code
from mlxc._graph.dtypes cimport itemsize
from mlxc._graph.node cimport MAX_DIMS, Node, new_node, put_input, set_inputs
from mlxc._graph.views cimport has_data, view_of

cdef extern from "Python.h":
    int PySlice_Unpack(object, Py_ssize_t*, Py_ssize_t*, Py_ssize_t*) except -1
    Py_ssize_t PySlice_AdjustIndices(Py_ssize_t, Py_ssize_t*, Py_ssize_t*, Py_ssize_t)

cdef int SLICE_UPDATE = row_code("slice_update")


cdef struct Selection:       # what a key says of each axis, and what it leaves
    Py_ssize_t[MAX_DIMS] start
    Py_ssize_t[MAX_DIMS] stop
    Py_ssize_t[MAX_DIMS] stride
    Py_ssize_t[MAX_DIMS] sizes     # of the axes, sliced
    int axes                       # seen so far
    Py_ssize_t[MAX_DIMS] shape     # the same without the axes of integers, with those of None
    int[MAX_DIMS] source           # of an axis of the shape: the axis sliced; -1: None
    int ndim
    bint whole                     # whether nothing is left out


cdef Py_ssize_t count_axes(tuple parts) noexcept:
    """How many axes the parts of a key stand for; -1 for parts of another kind, two Ellipses, and
    too many parts."""
    cdef Py_ssize_t count = 0
    cdef bint dots = False
    if len(parts) > MAX_DIMS:
        return -1
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


cdef void cut(Selection* found, Node node, Py_ssize_t low, Py_ssize_t high, Py_ssize_t step,
              Py_ssize_t length) noexcept:
    """Settle the next axis."""
    cdef int axis = found.axes
    found.start[axis] = low
    found.stop[axis] = high
    found.stride[axis] = step
    found.sizes[axis] = length
    found.whole = found.whole and length == node.shape[axis] and step == 1
    found.axes += 1


cdef bint leave(Selection* found, Py_ssize_t length, int source) noexcept:
    """An axis of the result; False where there are too many."""
    if found.ndim == MAX_DIMS:
        return False
    found.shape[found.ndim] = length
    found.source[found.ndim] = source
    found.ndim += 1
    return True


cdef bint pass_over(Selection* found, Node node, int axes) noexcept:
    """Axes that are taken whole."""
    cdef int _k
    for _k in range(axes):
        if not leave(found, node.shape[found.axes], found.axes):
            return False
        cut(found, node, 0, node.shape[found.axes], 1, node.shape[found.axes])
    return True


cdef bint take_slice(Selection* found, Node node, object part) except -1:
    cdef Py_ssize_t low, high, step, length, size = node.shape[found.axes]
    PySlice_Unpack(part, &low, &high, &step)
    length = PySlice_AdjustIndices(size, &low, &high, step)
    step = min(max(step, -size - 1), size + 1)
    if length < 2:   # a stride that is not taken is 1
        low, high, step = low * length, low * length + length, 1
    if not leave(found, length, found.axes):
        return False
    cut(found, node, low, high, step, length)
    return True


cdef bint take_index(Selection* found, Node node, object part) except -1:
    cdef Py_ssize_t low, size = node.shape[found.axes]
    if not -size <= part < size:
        return False
    low = part
    low = low + size if low < 0 else low
    cut(found, node, low, low + 1, 1, 1)
    return True


cdef bint select(Node node, key, Selection* found) except -1:
    """What a key of integers, slices, None and Ellipsis selects; False for any other, and for one
    that does not fit."""
    cdef tuple parts = key if type(key) is tuple else (key,)
    cdef Py_ssize_t count = count_axes(parts)
    cdef bint fits = True
    if count < 0 or count > node.ndim:
        return False
    found.axes = found.ndim = 0
    found.whole = True
    for part in parts:
        if type(part) is int:
            fits = take_index(found, node, part)
        elif type(part) is slice:
            fits = take_slice(found, node, part)
        elif part is None:
            fits = leave(found, 1, -1)
        else:
            fits = pass_over(found, node, node.ndim - <int>count)
        if not fits:
            return False
    return pass_over(found, node, node.ndim - found.axes)


cdef tuple as_tuple(const Py_ssize_t* values, int count):
    cdef int k
    return tuple([values[k] for k in range(count)])


cdef tuple bounds(Selection* found):
    return (as_tuple(found.start, found.axes), as_tuple(found.stop, found.axes),
            as_tuple(found.stride, found.axes))


cdef bint has_shape(const Py_ssize_t* shape, int ndim, const Py_ssize_t* other, int count) noexcept:
    cdef int axis
    if ndim != count:
        return False
    for axis in range(ndim):
        if shape[axis] != other[axis]:
            return False
    return True


cdef Node part_of(Node source, Selection* found):
    """A selection of an array that has its data."""
    cdef Node node = view_of(source, found.ndim)
    cdef int axis
    node.size = 1
    for axis in range(found.ndim):
        node.shape[axis] = found.shape[axis]
        node.size *= found.shape[axis]
        node.strides[axis] = itemsize[source.dtype]
        if found.source[axis] >= 0:
            node.strides[axis] = source.strides[found.source[axis]] * found.stride[
                found.source[axis]]
    for axis in range(found.axes):
        node.data += found.start[axis] * source.strides[axis]
    return node


def read_basic(array x not None, key):
    """x[key] for a key of integers, slices, None and Ellipsis that fits; None for any other."""
    return read(x, key)


cdef object read(array x, key):
    cdef Selection found
    cdef Node node, source
    cdef int axis
    node = x.node
    if not select(node, key, &found):
        return None
    if has_data(node):
        if found.whole and has_shape(found.shape, found.ndim, node.shape, node.ndim):
            return wrap(node)
        return wrap(part_of(node, &found))
    if not found.whole:
        source = node
        node = new_node(source.dtype, source.ndim)
        node.size = 1
        for axis in range(node.ndim):
            node.shape[axis] = found.sizes[axis]
            node.size *= node.shape[axis]
        node.op = SLICE
        node.params = bounds(&found)
        set_inputs(node, 1)
        put_input(node, 0, source)
    if not has_shape(found.shape, found.ndim, node.shape, node.ndim):
        node = reshape(node, as_tuple(found.shape, found.ndim))
    return wrap(node)


def write_basic(array x not None, key, value):
    """What x[key] = value leaves in x, for such a key and an array of just the shape and dtype that
    are selected, or a single value of the dtype; None for any other."""
    cdef Selection found
    cdef Node node, update
    if type(value) is not array:
        return None
    update = (<array>value).node
    if update.dtype != x.node.dtype or not select(x.node, key, &found):
        return None
    if update.ndim == 0:
        update = broadcast_to_tuple(update, as_tuple(found.sizes, found.axes))
    elif not has_shape(found.shape, found.ndim, update.shape, update.ndim):
        return None
    elif not has_shape(found.sizes, found.axes, update.shape, update.ndim):
        update = reshape(update, as_tuple(found.sizes, found.axes))
    if found.whole:
        return wrap(update)
    node = like(x.node, x.node.dtype)
    node.op = SLICE_UPDATE
    node.params = bounds(&found) + ("none",)
    set_inputs(node, 2)
    put_input(node, 0, x.node)
    put_input(node, 1, update)
    return wrap(node)


@cython.final
cdef class ArrayIterator:
    """The parts of an array along its first axis, one after the other; what ``iter(x)`` gives.

    Args:
        x (array): At least one axis.

    Example:
        >>> import mlxc.core as mx
        >>> [row.tolist() for row in mx.array([[1, 2], [3, 4]])]
        [[1, 2], [3, 4]]
    """

    cdef array whole
    cdef Py_ssize_t next

    def __init__(self, array x not None):
        if x.node.ndim == 0:
            raise TypeError("[iter] an array of no axes cannot be iterated over")
        self.whole = x
        self.next = 0

    def __iter__(self):
        return self

    def __next__(self):
        cdef Py_ssize_t k = self.next
        if self.left() <= 0:
            raise StopIteration
        self.next = k + 1
        return read(self.whole, k)

    def __length_hint__(self):
        return max(self.left(), 0)

    cdef Py_ssize_t left(self) noexcept:
        """How many parts are to come; what the array stands for may change meanwhile."""
        return self.whole.node.shape[0] - self.next if self.whole.node.ndim else 0
