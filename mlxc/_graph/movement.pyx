"""Arithmetic on layouts (shape, byte strides, byte offset). Nothing here allocates, raises or knows
what an array is."""


cdef void row_major(Layout* layout) noexcept nogil:
    """Set the strides of a dense array in C order."""
    cdef Py_ssize_t step = layout.itemsize
    cdef int axis
    for axis in range(layout.ndim - 1, -1, -1):
        layout.strides[axis] = step
        if layout.shape[axis] > 1:
            step *= layout.shape[axis]


cdef bint dense(const Layout* layout) noexcept nogil:
    """Whether the layout is dense in C order; axes of size 1 do not matter, nor do strides where
    nothing is held."""
    cdef Py_ssize_t step = layout.itemsize
    cdef int axis
    for axis in range(layout.ndim):
        if layout.shape[axis] == 0:
            return True
    for axis in range(layout.ndim - 1, -1, -1):
        if layout.shape[axis] != 1:
            if layout.strides[axis] != step:
                return False
            step *= layout.shape[axis]
    return True


cdef void broadcast_layout(Layout* layout, int ndim, const Py_ssize_t* shape) noexcept nogil:
    """Stretch to a larger shape: new and stretched axes have stride 0."""
    cdef int lead = ndim - layout.ndim
    cdef int axis
    for axis in range(ndim - 1, -1, -1):
        if axis < lead:
            layout.strides[axis] = 0
        else:
            layout.strides[axis] = layout.strides[axis - lead]
            if layout.shape[axis - lead] == 1 and shape[axis] != 1:
                layout.strides[axis] = 0
    layout.ndim = ndim
    for axis in range(ndim):
        layout.shape[axis] = shape[axis]


cdef bint reshape_layout(Layout* layout, int ndim, const Py_ssize_t* shape) noexcept nogil:
    """Give the values another shape without moving them; False (and no change) where that takes a
    copy."""
    cdef Layout old
    cdef Py_ssize_t[32] strides
    cdef Py_ssize_t step, want, have
    cdef int axis, i, first, last_old, last_new, count
    old.ndim = 0
    for axis in range(layout.ndim):
        if layout.shape[axis] != 1:
            old.shape[old.ndim] = layout.shape[axis]
            old.strides[old.ndim] = layout.strides[axis]
            old.ndim += 1
    for axis in range(ndim):
        strides[axis] = 0
    i = 0
    axis = 0
    while i < old.ndim:
        # One block: the fewest old axes and new axes whose sizes have the same product.
        first = i
        last_new = axis
        have = old.shape[i]
        i += 1
        want = 1
        count = 0
        while True:
            while last_new < ndim and want < have:
                want *= shape[last_new]
                last_new += 1
            if want == have:
                break
            if i >= old.ndim or want == 0:
                return False
            have *= old.shape[i]
            i += 1
        # the old axes of a block must be dense among themselves
        for last_old in range(first, i - 1):
            if old.strides[last_old] != old.shape[last_old + 1] * old.strides[last_old + 1]:
                return False
        step = old.strides[i - 1]
        for count in range(last_new - 1, axis - 1, -1):
            strides[count] = step
            step *= shape[count]
        axis = last_new
    layout.ndim = ndim
    for axis in range(ndim):
        layout.shape[axis] = shape[axis]
        layout.strides[axis] = strides[axis]
    return True
