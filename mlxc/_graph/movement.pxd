"""Arithmetic on layouts (shape, byte strides, byte offset). Nothing here allocates, raises or knows
what an array is."""

cdef struct Layout:
    int ndim
    Py_ssize_t[32] shape
    Py_ssize_t[32] strides      # bytes
    Py_ssize_t offset           # bytes from the storage's first byte
    int itemsize                # bytes

cdef void row_major(Layout* layout) noexcept nogil
cdef bint dense(const Layout* layout) noexcept nogil
cdef bint reshape_layout(Layout* layout, int ndim, const Py_ssize_t* shape) noexcept nogil
cdef void broadcast_layout(Layout* layout, int ndim, const Py_ssize_t* shape) noexcept nogil
