# cython: wraparound=True
"""Programs: what the scheduler makes of a fused group and both back ends run.

A program is an iteration space, values and outputs. Its values, in order, are tuples; an index
stands for a value:

* ``("load", dtype, slot, offset, strides)``: a stream of memory; strides in bytes along the space,
    0 where it repeats
* ``("op", row, dtype, operands)``: an elementwise row on operands of a dtype; which dtype comes out
    the row says
* ``("cast", from, to, operand)``: conversion between dtypes
* ``("reduce", row, dtype, operand)``: along the row (kind "rows") or the reduced axes (kind
    "reduce", last value)

Dtypes are stored dtypes; the back end computes narrow ones in a wider type. Nothing here names a
primitive or a device.
"""

from math import prod


cdef class Program:
    """A fused group."""

    def __init__(self, str kind, tuple space, int row_axes=0, tuple reduced=()):
        self.kind = kind
        self.space = space
        self.row_axes = row_axes
        self.reduced = reduced
        self.values = []
        self.outputs = []
        self.known = {}
        self.work = 1.0

    cdef int add(self, tuple value):
        """The index of a value, appended if there is no equal one: streams are loaded once and
        formulas computed once, however often they are written."""
        index = self.known.get(value)
        if index is None:
            index = self.known[value] = len(self.values)
            self.values.append(value)
        return index

    def finish(self, list row_names):
        """Settle the amount of work; print the program where MLXC_DEBUG asks for it."""
        self.work = float(prod(self.space)) * len(self.values)
        return self

    def describe(self, list row_names):
        """The program as text, one value a line."""
        lines = [f"program {self.kind} over {self.space}, row axes {self.row_axes}, reduced "
                 f"{self.reduced}"]
        for k, value in enumerate(self.values):
            if value[0] in ("op", "reduce"):
                value = (value[0], row_names[value[1]], *value[2:])
            lines.append(f"  %{k} = {' '.join(map(str, value))}")
        lines += [f"  out slot {slot}: %{value} dtype {dtype} strides {strides}"
                  for value, dtype, slot, strides in self.outputs]
        return "\n".join(lines)


cdef class Executable:
    """A program made ready for one device."""

    cdef int run(self, char** slots) noexcept nogil:
        return 1

    cdef int take_scratch(self, list slots) except -1:
        """Be told which slots the scratch memory is."""
        return 0


cdef class Backend:
    """What a device must offer: it makes programs ready to run."""

    cdef Executable lower(self, Program program):
        """None: this device cannot run it."""
        raise NotImplementedError("a Backend of a device")

    cdef Executable kernel(self, str name, object params, list inputs, list outputs):
        """A Kernel row over operands (slot, offset, dtype, shape, strides); None: this device
        cannot run it."""
        return None

    cdef int wait(self) except -1:
        """Wait for what was sent; RuntimeError if some of it failed."""
        return 0

    cdef str complaint(self):
        """Why the device refused."""
        return ""


cdef Backend DEVICE = None


cdef Backend device_backend():
    return DEVICE


cdef int set_device_backend(Backend backend) except -1:
    global DEVICE
    DEVICE = backend
    return 0
