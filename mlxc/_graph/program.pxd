"""Programs: what the scheduler makes of a fused group and both back ends run."""

cdef class Program:
    # "map", "rows" (whole rows in cache, reductions along them), "reduce"
    cdef readonly str kind
    cdef readonly tuple space       # iteration sizes, axes of size 1 left out
    cdef readonly int row_axes      # rows: how many trailing axes make one row
    cdef readonly tuple reduced     # reduce: axes of the space that vanish
    cdef readonly list values       # instructions in order, see Program
    cdef readonly list outputs      # (value, dtype, slot, byte strides along the space)
    cdef readonly double work       # a rough count of element operations
    # (slot, offset, strides, dtype) -> value: no stream is loaded twice
    cdef dict loads

    cdef int load(self, int slot, Py_ssize_t offset, int dtype, tuple strides)
    cdef int add(self, tuple value)

cdef class Executable:
    """A program made ready for one device."""
    cdef double work
    cdef int run(self, char** slots) noexcept nogil   # 0, or 1: no memory for scratch

cdef class Backend:
    cdef Executable lower(self, Program program)
