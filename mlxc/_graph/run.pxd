"""Running a plan over nodes."""

from cpython.object cimport PyObject

from mlxc._graph.node cimport Node
from mlxc._graph.plan cimport Plan

# Fills a window with the nodes that a pending call stands for.
ctypedef int (*grow_fn)(Node call, PyObject** window) except -1

cdef enum:
    MOST_NODES = 12      # of a graph that counts as small, leaves included

# Find out whether run_single can run the plan of a small graph: it says so in plan.single.
cdef int classify(Plan plan) except -1
# Run such a plan over a window as of run_plan.
cdef int run_single(Plan plan, PyObject** window) except -1
cdef int run_plan(Plan plan, PyObject** window, Node call, grow_fn grow) except -1
