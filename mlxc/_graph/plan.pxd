"""Plans: the steps that evaluate a graph of a given structure, and their memory."""

from mlxc._graph.kernel cimport Launcher, View
from mlxc._graph.program cimport Executable, Program

cdef class Step:
    cdef Executable program        # a program,
    cdef Program source            # what it was lowered from; or
    cdef Launcher launcher         # a kernel with its
    cdef str name                  # row
    cdef object params
    cdef View* views               # inputs, then outputs
    cdef Py_ssize_t* dims          # what the views point into
    cdef int* view_slots
    cdef Py_ssize_t* view_offsets  # bytes
    cdef int nin
    cdef int nout
    cdef int* out_slots
    cdef Py_ssize_t* out_bytes
    cdef int* donors               # slot whose buffer an output takes over, or -1
    cdef int ndead
    cdef int* dead                 # slots whose buffers nobody needs after this step
    cdef double work

cdef class Stored:
    cdef int index                 # position of the node in the walk
    cdef int slot
    cdef Py_ssize_t offset         # bytes
    cdef tuple strides             # bytes

cdef class Plan:
    cdef readonly list steps
    cdef list stored               # Stored: nodes that get data
    cdef list kinds                # how each node is treated, see schedule.pxd
    cdef list layouts              # where each node lies; None if nowhere
    cdef dict step_of              # index of a kernel's node -> position of its step
    cdef readonly int nslots
    cdef readonly int nleaves
    cdef readonly Py_ssize_t nwindow   # nodes of the walk, leaves included
    cdef readonly double work
    cdef readonly bint on_device       # whether a step runs on the device
    cdef dict alignment                # slot -> bytes that the device wants its memory aligned to
    cdef bytes words               # the key it was made for
    cdef unsigned long long hashed
    cdef list params               # the parameters that belong to the key
    cdef bint resized              # made of another one, by _graph.resize
    # of the plan of a small graph: how it runs, its only step or None, and its only result
    cdef int single
    cdef Step only
    cdef Stored result

cdef enum:                         # Plan.single
    GENERAL = 0                    # as any plan
    ONE_STEP = 1                   # one step gives the one result
    AT_ONCE = 2                    # likewise, without the GIL being released or Python running

cdef Step program_step(Executable program, Program source, list outputs, list donors)
cdef Step kernel_step(
    Launcher launcher, str name, object params, list inputs, list outputs, list donors
)
cdef Stored stored_at(int index, tuple layout)
cdef int set_dead(Step step, list slots) except -1
cdef bint same_params(object a, object b) except -1
