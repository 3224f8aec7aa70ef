"""Running a plan over nodes."""

from cpython.object cimport PyObject

from mlxc._graph.plan cimport Plan

cdef int run_plan(Plan plan, PyObject** window) except -1
