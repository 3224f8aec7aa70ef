"""The loops of the instruction set in use, by name."""

cdef void* kernel(str name) except NULL
cdef void* kernel_or_null(str name)
