# cython: wraparound=True
"""Reverse and forward differentiation over traces."""

from mlxc._graph.array cimport array
from mlxc._graph.bind cimport PICK
from mlxc._graph.node cimport Node
from mlxc._graph.watching cimport TRACKER
from mlxc.transforms.rules cimport pull, push
from mlxc.transforms.tracing cimport Trace, trace_back, tracked


cdef list nodes_of(list arrays):
    cdef array x
    return [x.node for x in arrays]


cdef int accumulate(object mx, list sums, Py_ssize_t at, object value) except -1:
    sums[at] = value if sums[at] is None else mx.add(sums[at], value)
    return 0


cdef int accumulate_pick(object mx, list sums, Py_ssize_t at, Node bundle, int index,
                         object value) except -1:
    """The cotangents of a bundle are a list, one an output."""
    if sums[at] is None:
        sums[at] = [None] * bundle.noutputs
    if sums[at][index] is None:
        sums[at][index] = value
    else:
        sums[at][index] = mx.add(sums[at][index], value)
    return 0


def pull_back(mx, list outputs, list inputs, list cotangents):
    """Cotangents of the inputs (placeholders) given those of the outputs; None where nothing
    depends on an input."""
    return tracked("gradient", pull_nodes, mx, outputs, inputs, cotangents)


cdef list pull_nodes(object mx, list outputs, list inputs, list cotangents):
    cdef Trace trace = trace_back(nodes_of(outputs), nodes_of(inputs))
    cdef list sums = [None] * len(trace.position)
    cdef Py_ssize_t offset = len(trace.inputs)
    cdef Py_ssize_t at, k
    cdef Node node, source
    cdef array x
    cdef list wanted, results
    for x, ct in zip(outputs, cotangents):
        place = trace.position.get(id(x.node))
        if place is not None:
            accumulate(mx, sums, place, ct)
    for k in range(len(trace.nodes) - 1, -1, -1):
        node = <Node>trace.nodes[k]
        at = offset + k
        ct = sums[at]
        if ct is None:
            continue
        sums[at] = None   # free what is not needed any more
        if node.op == PICK:
            source = <Node>node.inputs[0]
            accumulate_pick(mx, sums, trace.position[id(source)], source, node.params[0], ct)
            continue
        wanted = [id(<Node>node.inputs[i]) in trace.position for i in range(node.nin)]
        if TRACKER is not None:
            TRACKER.follow(<size_t><void*>node, node.op)
        results = pull(mx, node, ct, wanted)
        for i in range(node.nin):
            if wanted[i] and results[i] is not None:
                accumulate(mx, sums, trace.position[id(<Node>node.inputs[i])], results[i])
    return sums[:offset]


def push_forward(mx, list outputs, list inputs, list tangents):
    """Tangents of the outputs given those of the inputs (placeholders); None for zero."""
    return tracked("derivative", push_nodes, mx, outputs, inputs, tangents)


cdef list push_nodes(object mx, list outputs, list inputs, list tangents):
    cdef Trace trace = trace_back(nodes_of(outputs), nodes_of(inputs))
    cdef list known = list(tangents) + [None] * len(trace.nodes)
    cdef Py_ssize_t offset = len(trace.inputs)
    cdef Py_ssize_t k
    cdef Node node
    cdef array x
    for k in range(len(trace.nodes)):
        node = <Node>trace.nodes[k]
        given = []
        for i in range(node.nin):
            place = trace.position.get(id(<Node>node.inputs[i]))
            given.append(None if place is None else known[place])
        if node.op == PICK:
            known[offset + k] = None if given[0] is None else given[0][node.params[0]]
        elif any([tangent is not None for tangent in given]):
            if TRACKER is not None:
                TRACKER.follow(<size_t><void*>node, node.op)
            known[offset + k] = push(mx, node, given)
    results = []
    for x in outputs:
        place = trace.position.get(id(x.node))
        results.append(None if place is None else known[place])
    return results
