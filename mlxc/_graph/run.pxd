"""Running a plan over nodes."""

from cpython.object cimport PyObject

from mlxc._graph.node cimport Node
from mlxc._graph.plan cimport Plan, Step

# Fills a window with the nodes that a pending call stands for.
ctypedef int (*grow_fn)(Node call, PyObject** window) except -1

cdef enum:
    MOST_NODES = 12      # of a graph that counts as small, leaves included
    QUICK = 200000       # element operations below which the GIL is not released

cdef struct Memory:      # slots of one run
    char** data
    PyObject** buffers   # strong; NULL where a slot has none (yet, or any more)

# Find out whether run_single can run the plan of a small graph: it says so in plan.single.
cdef int classify(Plan plan) except -1
# Run such a plan over a window as of run_plan.
cdef int run_single(Plan plan, PyObject** window) except -1
cdef int run_plan(Plan plan, PyObject** window, Node call, grow_fn grow) except -1
# Run a step over such memory; quick: what takes no time worth a look for Ctrl-C.
cdef int run_step(Step step, Memory* memory, bint quick) except -1
# Give a node its data.
cdef void settle(Node node, PyObject* buffer, char* data, tuple strides) noexcept
