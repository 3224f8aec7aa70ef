# cython: wraparound=True
"""Traces: the part of the graph that depends on a function's inputs.

A transform runs the function on placeholders and then walks the graph it made. A placeholder is a
node of its own, so that transforms nest: to the outer one, the placeholder of the inner one is an
operation like any other.
"""

from mlxc._graph.array cimport array, wrap
from mlxc._graph.bind cimport RESHAPE
from mlxc._graph.node cimport (
    ABSTRACT, PLACEHOLDER, TRACED, Node, new_node, next_epoch, put_input, set_inputs, shape_tuple,
    trace_begins, trace_ends,
)
from mlxc._graph.watching cimport TRACKER


cdef class Trace:
    """Nodes between a function's inputs and outputs."""


cdef class Tracing:
    """``with Tracing():`` values computed meanwhile keep their history."""

    def __enter__(self):
        trace_begins()

    def __exit__(self, *error):
        trace_ends()
        return False


cdef Node placeholder_for(Node x):
    """A node of x's value that a walk recognises as an input."""
    cdef Node node = new_node(x.dtype, x.ndim)
    cdef int axis
    for axis in range(x.ndim):
        node.shape[axis] = x.shape[axis]
    node.size = x.size
    node.op = RESHAPE
    node.params = (shape_tuple(x),)
    set_inputs(node, 1)
    put_input(node, 0, x)
    node.flags |= PLACEHOLDER | TRACED
    return node


cdef Node abstract_placeholder(int dtype, tuple shape):
    """A node without a value: tracing needs only its dtype and shape."""
    cdef Node node = new_node(dtype, len(shape))
    cdef int axis
    node.size = 1
    for axis in range(node.ndim):
        node.shape[axis] = shape[axis]
        node.size *= node.shape[axis]
    node.flags = PLACEHOLDER | TRACED | ABSTRACT
    return node


cdef Trace trace_back(list outputs, list inputs):
    """Walk from outputs towards inputs; only nodes that depend on an input stay. A loop with its
    own stack."""
    cdef Trace trace = Trace.__new__(Trace)
    cdef unsigned long long epoch = next_epoch()
    cdef Node node, source
    cdef list stack = []
    cdef int k
    cdef bint depends
    trace.inputs = inputs
    trace.nodes = []
    trace.position = {}
    for node in inputs:
        node.epoch = epoch
        node.uses = 1                # 1: depends on an input
        trace.position[id(node)] = len(trace.position)
    for node in outputs:
        if node.epoch == epoch or not node.flags & TRACED:
            continue
        node.epoch = epoch
        node.index = 0
        node.uses = 0
        stack.append(node)
        while stack:
            node = <Node>stack[-1]
            if node.index < node.nin:
                source = <Node>node.inputs[node.index]
                node.index += 1
                if source.epoch != epoch:
                    source.epoch = epoch
                    source.index = 0
                    source.uses = 0
                    if source.flags & TRACED:
                        stack.append(source)
                continue
            stack.pop()
            depends = False
            for k in range(node.nin):
                depends = depends or (<Node>node.inputs[k]).uses != 0
            if depends:
                node.uses = 1
                trace.position[id(node)] = len(trace.position)
                trace.nodes.append(node)
    return trace


cdef list tracked(str transform, walk_fn walk, object mx, list outputs, list inputs, list values):
    """What a walk over a trace gives; a tracker hears which transform it belongs to."""
    tracker = TRACKER
    if tracker is None:
        return walk(mx, outputs, inputs, values)
    tracker.enter(transform)
    try:
        return walk(mx, outputs, inputs, values)
    finally:
        tracker.leave()


def placeholders(list arrays):
    """Placeholders with values, one an array."""
    cdef array x
    return [wrap(placeholder_for(x.node)) for x in arrays]


def new_handles(list arrays):
    """Other handles of the same values: changes in place move them, not those of the trace."""
    cdef array x
    return [wrap(x.node) for x in arrays]


def abstract_like(list arrays, list shapes):
    """Placeholders without values: the arrays' dtypes, given shapes."""
    cdef array x
    return [wrap(abstract_placeholder(x.node.dtype, shape)) for x, shape in zip(arrays, shapes)]


def stand_for(list handles, list placeholders, list values):
    """Let the handles that still stand for their placeholders stand for values from now on."""
    cdef array handle, placeholder, value
    for handle, placeholder, value in zip(handles, placeholders, values):
        if handle.node is placeholder.node:
            handle.node = value.node
