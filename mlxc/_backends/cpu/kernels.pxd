"""The loops of the instruction set in use, by name."""

cdef void* kernel(str name) except NULL
cdef void* kernel_or_null(str name)
cdef int fill_by_dtype(void** loops, str prefix) except -1
