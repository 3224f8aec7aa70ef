"""The scheduler: from a walk of nodes to a plan."""

from mlxc._graph.plan cimport Plan
from mlxc._graph.program cimport Backend

cdef Plan make_plan(list nodes, set stored, set donatable, Backend backend)
