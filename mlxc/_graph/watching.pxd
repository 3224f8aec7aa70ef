"""Hooks of what looks on: None unless somebody debugs or profiles."""

cdef object WATCHER    # debug.anomaly: called with every operation, its operands and its results
cdef object TRACKER    # debug.anomaly: told which nodes a transform derives others from
cdef object PROFILER   # profile: told when steps begin and end
