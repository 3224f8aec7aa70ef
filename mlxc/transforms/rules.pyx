# cython: wraparound=True
"""Applying the rows' rules: vector-Jacobian and Jacobian-vector products of one node.

``pull`` gives cotangents for a node's inputs, ``push`` the tangent of its output. Elementwise rows
say one factor an operand, from which both follow; other kinds say their rules. A row without a rule
raises, naming the reason it gives.
"""

from mlxc._graph.array cimport array, wrap
from mlxc._graph.bind cimport ELEMENTWISE, MOVEMENT, REDUCTION, row_kind
from mlxc._graph.node cimport BUNDLE, Node

from mlxc._graph.bind import ROWS
from mlxc._table.rows import NoGradient

INEXACT = tuple([fact.kind in "fc"
                 for fact in __import__("mlxc._table.dtypes", fromlist=["DTYPES"]).DTYPES])


class GradientError(ValueError):
    """A derivative was asked for that does not exist; the message says of what and why."""


cdef list operands(Node node):
    cdef int k
    return [wrap(<Node>node.inputs[k]) for k in range(node.nin)]


cdef dict keywords(object row, Node node):
    return dict(zip(row.params, node.params))


cdef object refuse(object row, Node node, object rule):
    raise GradientError(
        f"[grad] {row.name} of {', '.join([str(x.shape) for x in operands(node)])} has no "
        f"derivative: {rule.reason}"
    )


cdef object scaled(object mx, object value, object factor):
    """value times a partial derivative, which may be the number 1 or -1."""
    if isinstance(factor, (int, float)):
        if factor == 1:
            return value
        if factor == -1:
            return mx.negative(value)
    return mx.multiply(value, factor)


cdef object holomorphic(object mx, object factor, Node node):
    """Cotangents of complex operands take the conjugate factor."""
    if isinstance(factor, array) and (<array>factor).node.dtype == 13:
        return mx.conjugate(factor)
    return factor


cdef list pull(object mx, Node node, object ct, list wanted):
    """Cotangents of the inputs that are wanted; None for zero. ct is a list for a bundle."""
    row = ROWS[node.op]
    kind = row_kind[node.op]
    xs = operands(node)
    if kind == ELEMENTWISE:
        return pull_elementwise(mx, row, node, ct, xs, wanted)
    if kind == REDUCTION:
        if isinstance(row.vjp, NoGradient):
            refuse(row, node, row.vjp)
        return list(row.vjp(mx, ct, wrap(node), *xs, **keywords(row, node)))
    if kind == MOVEMENT:
        return [row.transpose(mx, ct, xs[0], **keywords(row, node))]
    if isinstance(row.vjp, NoGradient):
        refuse(row, node, row.vjp)
    outs = bundle_outputs(mx, node)
    if node.flags & BUNDLE:
        cts = list(ct)
        if not row.partial_cotangents:
            cts = [mx.zeros(o.shape, o.dtype) if c is None else c for c, o in zip(ct, outs)]
    else:
        cts = [ct]
    return list(row.vjp(mx, tuple(cts), tuple(outs), *xs, **keywords(row, node)))


cdef list pull_elementwise(object mx, object row, Node node, object ct, list xs, list wanted):
    out = wrap(node)
    if row.vjp is not None:
        if isinstance(row.vjp, NoGradient):
            refuse(row, node, row.vjp)
        return list(row.vjp(mx, ct, out, *xs))
    if isinstance(row.partials, NoGradient):
        refuse(row, node, row.partials)
    result = []
    for k, partial in enumerate(row.partials):
        if partial is None or not wanted[k]:
            result.append(None)
        else:
            factor = partial(mx, out, *xs)
            result.append(None if factor is None else scaled(mx, ct, holomorphic(mx, factor, node)))
    return result


cdef list bundle_outputs(object mx, Node node):
    """The outputs of a kernel node as arrays: itself, or new picks of a bundle."""
    cdef int k
    if not node.flags & BUNDLE:
        return [wrap(node)]
    return [wrap(pick_of(node, k)) for k in range(node.noutputs)]


cdef Node pick_of(Node bundle, int k):
    """The k-th output of a bundle, made anew if nobody holds it any more."""
    cdef Node pick
    if bundle.outputs[k] != NULL:
        return <Node>bundle.outputs[k]
    from mlxc._graph.interface import bundle_pick
    pick = (<array>bundle_pick(wrap(bundle), k)).node
    return pick


cdef object push(object mx, Node node, list tangents):
    """The tangent of a node's output (a list for a bundle), given its inputs' tangents; None for
    zero."""
    row = ROWS[node.op]
    kind = row_kind[node.op]
    xs = operands(node)
    if kind == ELEMENTWISE:
        return push_elementwise(mx, row, node, tangents, xs)
    if kind == REDUCTION:
        if isinstance(row.jvp, NoGradient) or isinstance(row.vjp, NoGradient):
            refuse(row, node, row.vjp if isinstance(row.vjp, NoGradient) else row.jvp)
        return row.jvp(mx, tuple(tangents), wrap(node), *xs, **keywords(row, node))
    if kind == MOVEMENT:
        return mx._bind(row.name, (tangents[0],), node.params) if row.linear else None
    if isinstance(row.vjp, NoGradient):
        refuse(row, node, row.vjp)
    if row.jvp is not None:
        if isinstance(row.jvp, NoGradient):
            refuse(row, node, row.jvp)
        result = row.jvp(mx, tuple(tangents), tuple(bundle_outputs(mx, node)), *xs,
                         **keywords(row, node))
        if node.flags & BUNDLE:
            return list(result)
        return result[0] if isinstance(result, (tuple, list)) else result
    return push_linear(mx, row, node, tangents, xs)


cdef object push_linear(object mx, object row, Node node, list tangents, list xs):
    """Outputs linear in every operand taken alone: one application an operand with a tangent,
    summed."""
    total = None
    for k, tangent in enumerate(tangents):
        if tangent is None:
            continue
        part = mx._bind(row.name, tuple(xs[:k]) + (tangent,) + tuple(xs[k + 1:]), node.params)
        if total is None:
            total = part
        elif isinstance(part, tuple):
            total = tuple([mx.add(a, b) for a, b in zip(total, part)])
        else:
            total = mx.add(total, part)
    return list(total) if isinstance(total, tuple) else total


cdef object push_elementwise(object mx, object row, Node node, list tangents, list xs):
    out = wrap(node)
    if row.jvp is not None and not isinstance(row.jvp, NoGradient):
        return row.jvp(mx, tuple(tangents), out, *xs)
    if isinstance(row.partials, NoGradient):
        refuse(row, node, row.partials)
    total = None
    for k, partial in enumerate(row.partials):
        if partial is None or tangents[k] is None:
            continue
        factor = partial(mx, out, *xs)
        if factor is None:
            continue
        term = scaled(mx, tangents[k], factor)
        total = term if total is None else mx.add(total, term)
    return total
