"""Plans for other sizes, made of plans that there are."""

from libc.stdint cimport uint64_t

from mlxc._graph.node cimport Node
from mlxc._graph.plan cimport Plan

cdef Py_ssize_t node_words(Node node) noexcept
cdef uint64_t structure_of(list nodes, const uint64_t* words, Py_ssize_t count) noexcept
cdef Plan resized(
    Plan plan, list nodes, const uint64_t* words, Py_ssize_t count, list params
)
