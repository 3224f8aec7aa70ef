"""The scheduler: from a walk of nodes to a plan."""

from mlxc._graph.node cimport Node
from mlxc._graph.plan cimport Plan
from mlxc._graph.program cimport Backend

cdef enum:        # how nodes are treated
    LEAF          # has its data
    POINTWISE     # an instruction of a program
    ALIAS         # movement that changes no value's place in its row: costs a program nothing
    REDUCE
    MOVE          # other movement
    BIG           # a kernel
    NAME          # a row that only names operands

cdef int kind_of(Node node) except -1

cdef Plan make_plan(list nodes, set stored, set donatable, Backend backend)
