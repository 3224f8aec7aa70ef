"""Plans of graphs of a few nodes, found by a short walk."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from mlxc._graph.node cimport Node
from mlxc._graph.plan cimport Plan
from mlxc._graph.run cimport MOST_NODES

cdef enum:
    MOST_WORDS = 96      # that describe a small graph

cdef struct Small:       # all pointers are borrowed
    PyObject* plan
    int nodes
    PyObject* window[MOST_NODES]   # as the walk of `evaluate` would number them
    int nparams
    PyObject* params[MOST_NODES]   # of the nodes that have some
    int nwords
    uint64_t[MOST_WORDS] words
    uint64_t hashed

# Whether the pending graph of a node is small and has a plan: ``small`` is filled in.
cdef bint find_small(Node root, Small* small) except -1
# Have a plan found at once from now on, if the graph is small; `window` is what the plan runs over.
cdef int keep_small(Node root, Plan plan, PyObject** window) except -1
