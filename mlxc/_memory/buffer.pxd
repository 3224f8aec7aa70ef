"""Buffers: the bytes behind arrays, from a bounded cache of freed blocks."""

cdef class Buffer:
    cdef char* data
    cdef Py_ssize_t nbytes    # capacity; what counts as active memory
    # who frees foreign memory (a NumPy array, a capsule); None: the cache does
    cdef object owner
    cdef bint readonly        # foreign memory that must not be written to (never donated)

# A fresh Buffer of at least nbytes, 64-byte aligned; MemoryError if there is none. nbytes = 0 is
# allowed.
cdef Buffer new_buffer(Py_ssize_t nbytes)
# A Buffer over foreign memory, kept alive by owner.
cdef Buffer wrap_buffer(char* data, Py_ssize_t nbytes, object owner, bint readonly)
# The bytes of the block that a request of nbytes (0 or more) gets.
cdef Py_ssize_t block_size(Py_ssize_t nbytes) noexcept nogil
# Scratch memory from the same cache, for use without the GIL. NULL if there is none. nbytes as
# given to scratch_alloc.
cdef char* scratch_alloc(Py_ssize_t nbytes) noexcept nogil
cdef void scratch_free(char* data, Py_ssize_t nbytes) noexcept nogil
