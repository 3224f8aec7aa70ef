"""Applying the rows' rules to one node."""

from mlxc._graph.node cimport Node

cdef list pull(object mx, Node node, object ct, list wanted)
cdef object push(object mx, Node node, list tangents)
cdef list bundle_outputs(object mx, Node node)
