"""Running a plan over nodes."""

from cpython.object cimport PyObject

from mlxc._graph.node cimport Node
from mlxc._graph.plan cimport Plan

# Fills a window with the nodes that a pending call stands for.
ctypedef int (*grow_fn)(Node call, PyObject** window) except -1

cdef int run_plan(Plan plan, PyObject** window, Node call, grow_fn grow) except -1
