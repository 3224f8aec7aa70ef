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
    cdef dict known                 # value -> its index

    cdef int add(self, tuple value)

cdef class Executable:
    """A program made ready for one device."""
    cdef double work
    cdef bint on_device   # `run` only sends the work; the back end's `wait` waits for it
    cdef list scratch     # on a device: bytes of each slot that it needs besides
    cdef dict alignment   # on a device: slot -> bytes that its memory must be aligned to
    # 0; 1: no memory for scratch; 2: the device refused, the back end knows why
    cdef int run(self, char** slots) noexcept nogil
    cdef int take_scratch(self, list slots) except -1

cdef class Backend:
    cdef Executable lower(self, Program program)
    cdef Executable kernel(self, str name, object params, list inputs, list outputs)
    cdef int wait(self) except -1
    cdef str complaint(self)

# The back end of a device beside the processor, or None.
cdef Backend device_backend()
cdef int set_device_backend(Backend backend) except -1
