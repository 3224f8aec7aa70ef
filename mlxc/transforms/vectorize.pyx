# cython: wraparound=True
"""vmap: a trace replayed with every value batched along axis 0."""

from mlxc._graph.array cimport array, wrap
from mlxc._graph.bind cimport ELEMENTWISE, MOVEMENT, PICK, REDUCTION, row_kind
from mlxc._graph.node cimport BUNDLE, Node
from mlxc._graph.watching cimport TRACKER
from mlxc.transforms.tracing cimport Trace, trace_back, tracked

from mlxc._graph.bind import ROWS


cdef object aligned(object mx, object value, int rank):
    """A batched value with axes of size 1 behind the batch, so that it broadcasts beside values of
    a rank."""
    missing = rank - (value.ndim - 1)
    if missing <= 0:
        return value
    return mx.reshape(value, (value.shape[0],) + (1,) * missing + tuple(value.shape[1:]))


cdef object batch_node(object mx, Node node, list values, list batched):
    """The batched output of a node (a tuple for a bundle)."""
    row = ROWS[node.op]
    kind = row_kind[node.op]
    if kind == ELEMENTWISE:
        values = [aligned(mx, v, node.ndim) if b else v for v, b in zip(values, batched)]
        return mx._bind(row.name, tuple(values), ())
    if kind == REDUCTION:
        axes, keepdims = node.params
        return mx._bind(row.name, (values[0],), (tuple([axis + 1 for axis in axes]), keepdims))
    keywords = dict(zip(row.params, node.params))
    if kind == MOVEMENT:
        return row.vmap(mx, values[0], **keywords)
    if 0 in [v.shape[0] for v, b in zip(values, batched) if b]:
        return no_examples(mx, row, node, values, batched, keywords)
    if row.vmap is not None:
        result = row.vmap(mx, tuple(batched), *values, **keywords)
        if node.flags & BUNDLE:
            return tuple(result)
        return result[0] if isinstance(result, (tuple, list)) else result
    return one_by_one(mx, row, node, values, batched)


cdef object no_examples(object mx, object row, Node node, list values, list batched, dict keywords):
    """A batch of none: nothing is computed, but shapes and dtypes are as for one example."""
    shapes = [tuple(v.shape[1:]) if b else tuple(v.shape) for v, b in zip(values, batched)]
    inferred = row.infer(shapes, [v.dtype.name for v in values], **keywords)
    outputs = [mx.zeros((0, *shape), getattr(mx, dtype)) for shape, dtype in inferred]
    return tuple(outputs) if node.flags & BUNDLE else outputs[0]


cdef object one_by_one(object mx, object row, Node node, list values, list batched):
    """Rows without a batching rule compute example by example."""
    size = [v.shape[0] for v, b in zip(values, batched) if b][0]
    results = []
    for k in range(size):
        example = tuple([v[k] if b else v for v, b in zip(values, batched)])
        results.append(mx._bind(row.name, example, node.params))
    if node.flags & BUNDLE:
        return tuple([mx.stack(list(outputs)) for outputs in zip(*results)])
    return mx.stack(results)


def replay_batched(mx, list outputs, list inputs, list values):
    """Outputs for batched values of the inputs (placeholders); inputs whose value is not batched
    are given as None in ``values`` and stand for themselves. Returns (array, whether it is batched)
    pairs."""
    return tracked("batch", replay_nodes, mx, outputs, inputs, values)


cdef list replay_nodes(object mx, list outputs, list inputs, list values):
    cdef array x
    cdef Trace trace = trace_back([x.node for x in outputs], [x.node for x in inputs])
    cdef list known = list(values) + [None] * len(trace.nodes)
    cdef Py_ssize_t offset = len(trace.inputs)
    cdef Py_ssize_t k
    cdef Node node
    for k in range(len(trace.nodes)):
        node = <Node>trace.nodes[k]
        operands = []
        batched = []
        for i in range(node.nin):
            place = trace.position.get(id(<Node>node.inputs[i]))
            batched.append(place is not None)
            operands.append(wrap(<Node>node.inputs[i]) if place is None else known[place])
        if TRACKER is not None:
            TRACKER.follow(<size_t><void*>node, node.op)
        if node.op == PICK:
            known[offset + k] = operands[0][node.params[0]]
        else:
            known[offset + k] = batch_node(mx, node, operands, batched)
    results = []
    for x in outputs:
        place = trace.position.get(id(x.node))
        results.append((x, False) if place is None else (known[place], True))
    return results
