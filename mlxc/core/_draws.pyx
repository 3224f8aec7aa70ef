"""Draws from a distribution: with a key, or with the state's; compiled, since a draw of few numbers
is hardly more than the call.
"""

from mlxc._backends.cpu.random import split_at_once
from mlxc._graph.routine cimport Routine


cdef class Distribution:
    """Call it as (key, arrays, shape, *others), with the arrays as a tuple.

    ``given`` makes the graph of (key, *arrays, shape, *others). Where the key is None that is the
    second half of the split state, whose first half is kept: ``halves`` makes both of (state,
    *arrays, shape, *others). Few numbers of a state that has its value are there at once.
    """

    cdef Routine given, halves
    cdef list state
    cdef object as_key

    def __init__(self, Routine given, Routine halves, list state, as_key):
        self.given = given
        self.halves = halves
        self.state = state
        self.as_key = as_key

    def __call__(self, key, tuple arrays, *others):
        cdef object drawn, whole, pair
        if type(others[0]) is list:
            others = (tuple(others[0]),) + others[1:]
        if key is not None:
            return self.given.apply((self.as_key(key),) + arrays, others)
        drawn = self.halves.advance_at_once(self.state, arrays, others)
        if drawn is not None:
            return drawn
        whole = self.state[0]
        pair = split_at_once(whole)
        if pair is not None:
            drawn = self.given.apply((pair[1],) + arrays, others)
            if self.state[0] is whole:   # else another thread has drawn meanwhile
                self.state[0] = pair[0]
                return drawn
        return self.halves.advance(self.state, arrays, others)
