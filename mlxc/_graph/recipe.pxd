"""Recipes: a traced graph that can be made again over other inputs."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from mlxc._graph.node cimport Node
from mlxc._graph.plan cimport Plan

cdef class Prepared:
    cdef Plan plan
    cdef bytes key               # what of the inputs and outputs it was made for
    cdef list leaves             # (position in the window, input; ~constant) pairs
    cdef list stored             # (position in the window, pick) pairs

cdef class Recipe:
    cdef list templates          # traced nodes: what each new one looks like
    cdef list constants          # nodes that do not depend on the inputs
    cdef int* operands           # of all templates: positions among inputs, constants, templates
    cdef int* outputs            # likewise
    cdef int* pick_of            # an output: its number among the picks; -1: not made by a template
    cdef int* picked             # a pick: its template
    cdef readonly int inputs
    cdef int noutputs
    cdef int npicks
    cdef bint together           # whether who evaluates an output of a call gets the others, too
    cdef bint traced             # whether a constant depends on an input of somebody's trace
    cdef list prepared           # plans of pending calls, the latest first
    cdef object instant          # how to run it at once (_graph.instant); None: not known, or False
    cdef int build(self, PyObject** made, PyObject** into) except -1
    cdef list outputs_over(self, list values)
    cdef list make(self, list values)
    cdef list call(self, list values)
    cdef list nodes_over(self, list values)

cdef int expand(Node pick) except -1
cdef Prepared find_prepared(Recipe recipe, const uint64_t* key, Py_ssize_t count)
cdef int keep_prepared(Recipe recipe, Prepared prepared) except -1
