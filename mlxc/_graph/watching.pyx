# cython: wraparound=True
"""Looking on: the hooks through which debugging and profiling see the graph.

A hook is None unless somebody looks, so that it costs one comparison: an evaluation (WATCHER), a
step (PROFILER), a node that a transform walks over (TRACKER). That of new nodes stands in
``_graph.node``. Facts about nodes and steps are given as plain Python values.
"""

from mlxc._graph.bind cimport ELEMENTWISE, KERNEL, REDUCTION, row_kind
from mlxc._graph.kernel cimport View
from mlxc._graph.node cimport BUNDLE, Node
from mlxc._graph.plan cimport Step
from mlxc._graph.program cimport Program

from mlxc._graph.bind import ROWS
from mlxc._graph.dtypes import DTYPES

WATCHER = None
TRACKER = None
PROFILER = None


def set_watcher(watcher, tracker):
    """Let ``watcher(op, operands, results, roots)`` see every operation, evaluated one by one on
    the way to the roots, and ``tracker`` what transforms derive nodes from: ``enter(how)`` as one
    begins, ``follow(address, op)`` as it comes to a node, ``leave()``."""
    global WATCHER, TRACKER
    WATCHER = watcher
    TRACKER = tracker


def set_profiler(profiler):
    """Let ``profiler.begin(step)`` and ``profiler.end()`` see every step, and with None for a step
    every evaluation; returns the one before."""
    global PROFILER
    before = PROFILER
    PROFILER = profiler
    return before


def row_name(int op):
    """The name of a row."""
    return ROWS[op].name


def computes(int op):
    """Whether a row makes new values, and does not only move or name those it is given."""
    return row_kind[op] in (ELEMENTWISE, REDUCTION, KERNEL) and ROWS[op].name != "attach"


def is_bundle(Node node not None):
    """Whether a node stands for several outputs, which are nodes of their own."""
    return node.flags & BUNDLE != 0


def step_facts(Step step not None):
    """(rows, bytes) of a step: the names of what it computes in order, and how much memory it reads
    and writes, repeated values once."""
    if step.source is not None:
        return program_rows(step.source), program_bytes(step.source)
    cdef int k
    cdef Py_ssize_t total = 0
    if step.views == NULL:   # a kernel of the device: what it writes is known
        for k in range(step.nout):
            total += step.out_bytes[k]
        return (step.name,), total
    for k in range(step.nin + step.nout):
        total += view_bytes(&step.views[k])
    return (step.name,), total


cdef tuple program_rows(Program program):
    rows = []
    for value in program.values:
        if value[0] == "cast":
            rows.append("astype")
        elif value[0] != "load":
            rows.append(ROWS[value[1]].name)
    return tuple(rows) or ("copy",)


cdef object program_bytes(Program program):
    total = 0
    streams = [(dtype, strides) for _, dtype, _, _, strides in
               [value for value in program.values if value[0] == "load"]]
    streams += [(dtype, strides) for _, dtype, _, strides in program.outputs]
    for dtype, strides in streams:
        size = DTYPES[dtype].size
        for extent, stride in zip(program.space, strides):
            size *= extent if stride else 1
        total += size
    return total


cdef Py_ssize_t view_bytes(View* view):
    cdef Py_ssize_t size = view.itemsize
    cdef int axis
    for axis in range(view.ndim):
        if view.strides[axis] != 0 or view.shape[axis] == 0:
            size *= view.shape[axis]
    return size
