"""Traces: the part of the graph that depends on a function's inputs."""

from mlxc._graph.node cimport Node

cdef class Trace:
    cdef list inputs           # placeholder Nodes
    cdef list nodes            # Nodes that depend on them, producers first (inputs not included)
    cdef dict position         # id of a Node -> index: inputs first, then nodes

cdef Node placeholder_for(Node x)
cdef Node abstract_placeholder(int dtype, tuple shape)
cdef Trace trace_back(list outputs, list inputs)

ctypedef list (*walk_fn)(object mx, list outputs, list inputs, list values)

cdef list tracked(str transform, walk_fn walk, object mx, list outputs, list inputs, list values)
