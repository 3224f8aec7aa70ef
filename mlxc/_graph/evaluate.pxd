"""Evaluation: giving nodes their data."""

from mlxc._graph.node cimport Node
from mlxc._graph.program cimport Backend

cdef int evaluate(list roots) except -1
cdef int evaluate_one(Node root) except -1
cdef int set_backend(Backend backend) except -1
cdef Backend BACKEND
# Take the turn to evaluate, until `end_turn`, if nobody has it and nobody looks on.
cdef bint take_turn() noexcept
cdef void end_turn() noexcept
