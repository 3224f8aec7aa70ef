# cython: wraparound=True
"""Plans: the steps that evaluate a graph of a given structure, and their memory.

A plan names memory by slots: first the leaves in the order the walk met them, then what steps
produce. Running it is ``_graph.run``'s work; making it, ``_graph.schedule``'s.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memcmp

from mlxc._graph.dtypes cimport itemsize


cdef void* zeroed(Py_ssize_t count, Py_ssize_t size) except NULL:
    cdef void* data = PyMem_Calloc(max(count, 1), size)
    if data == NULL:
        raise MemoryError()
    return data


cdef class Step:
    """One program or kernel, where its results go and whose memory ends with it."""

    def __dealloc__(self):
        PyMem_Free(self.views)
        PyMem_Free(self.dims)
        PyMem_Free(self.view_slots)
        PyMem_Free(self.view_offsets)
        PyMem_Free(self.out_slots)
        PyMem_Free(self.out_bytes)
        PyMem_Free(self.donors)
        PyMem_Free(self.dead)


cdef class Stored:
    """A node that has data once the plan has run."""


cdef Stored stored_at(int index, tuple layout):
    """A node that gets data, at a layout (slot, offset, shape, strides)."""
    cdef Stored entry = Stored.__new__(Stored)
    entry.index = index
    entry.slot, entry.offset, _, entry.strides = layout
    return entry


cdef class Plan:
    """Steps in order, and which nodes they give data to."""


cdef int set_outputs(Step step, list outputs, list donors) except -1:
    """outputs: (slot, bytes) pairs."""
    cdef int k
    step.nout = len(outputs)
    step.out_slots = <int*>zeroed(step.nout, sizeof(int))
    step.out_bytes = <Py_ssize_t*>zeroed(step.nout, sizeof(Py_ssize_t))
    step.donors = <int*>zeroed(step.nout, sizeof(int))
    for k in range(step.nout):
        step.out_slots[k], step.out_bytes[k] = outputs[k]
        step.donors[k] = donors[k]
    return 0


cdef Step program_step(Executable program, Program source, list outputs, list donors):
    """A step that runs a program."""
    cdef Step step = Step.__new__(Step)
    step.program = program
    step.source = source
    step.work = program.work
    set_outputs(step, outputs, donors)
    return step


cdef Step kernel_step(
    Launcher launcher, str name, object params, list inputs, list outputs, list donors
):
    """A step that calls a launcher; operands are (slot, offset, dtype, shape, strides)."""
    cdef Step step = Step.__new__(Step)
    cdef int k, axis, ndim
    cdef Py_ssize_t* dims
    cdef View* view
    step.launcher = launcher
    step.name = name
    step.params = params
    operands = inputs + outputs
    step.nin = len(inputs)
    step.views = <View*>zeroed(len(operands), sizeof(View))
    step.view_slots = <int*>zeroed(len(operands), sizeof(int))
    step.view_offsets = <Py_ssize_t*>zeroed(len(operands), sizeof(Py_ssize_t))
    step.dims = <Py_ssize_t*>zeroed(sum([2 * len(operand[3]) for operand in operands]),
                                    sizeof(Py_ssize_t))
    dims = step.dims
    sizes = []
    for k, (slot, offset, dtype, shape, strides) in enumerate(operands):
        view = &step.views[k]
        ndim = len(shape)
        view.dtype = dtype
        view.itemsize = itemsize[view.dtype]
        view.ndim = ndim
        view.size = 1
        view.shape = dims
        view.strides = dims + ndim
        for axis in range(ndim):
            dims[axis] = shape[axis]
            dims[ndim + axis] = strides[axis]
            view.size *= dims[axis]
        dims += 2 * ndim
        step.view_slots[k] = slot
        step.view_offsets[k] = offset
        step.work += view.size
        sizes.append(view.size * view.itemsize)
    set_outputs(step, [(operand[0], size) for operand, size in zip(outputs, sizes[len(inputs):])],
                donors)
    return step


cdef int set_dead(Step step, list slots) except -1:
    """Say which slots end with the step."""
    cdef int k
    step.ndead = len(slots)
    step.dead = <int*>zeroed(step.ndead, sizeof(int))
    for k in range(step.ndead):
        step.dead[k] = slots[k]
    return 0


cdef bint same_params(object a, object b) except -1:
    """Whether parameters are the same constants: 1, 1.0 and True are not, nor are 0.0 and -0.0; a
    NaN is itself."""
    cdef Py_ssize_t k
    cdef double x, y
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is int:
        return a == b
    if isinstance(a, tuple):
        if len(<tuple>a) != len(<tuple>b):
            return False
        for k in range(len(<tuple>a)):
            if not same_params((<tuple>a)[k], (<tuple>b)[k]):
                return False
        return True
    if isinstance(a, float):
        x, y = a, b
        return memcmp(&x, &y, sizeof(double)) == 0
    if isinstance(a, complex):
        return same_params((a.real, a.imag), (b.real, b.imag))
    return a == b
