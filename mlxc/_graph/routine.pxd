"""Functions whose graph follows from their arguments' shapes and dtypes alone."""

from mlxc._graph.recipe cimport Recipe

cdef class Routine:
    cdef object function
    cdef bint pending
    cdef dict recipes
    cdef Recipe latest           # the last recipe asked for, and what it is for
    cdef bytes latest_words
    cdef tuple latest_others
    cdef object apply(self, tuple arrays, tuple others)
    cpdef object advance(self, list state, tuple arrays, tuple others=*)
    cdef object advance_at_once(self, list state, tuple arrays, tuple others)
    cdef Recipe recipe(self, tuple arrays, tuple others)
