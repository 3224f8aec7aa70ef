# cython: wraparound=True
"""Recipes: a traced graph that can be made again over other inputs, without running the function.

Making a node from a recipe asks no rule and checks nothing: shapes and dtypes are those of the
trace. Common subexpressions are made once; what no output needs is not in the trace.
"""

from cpython.mem cimport PyMem_Malloc
from cpython.object cimport PyObject

from mlxc._graph.array cimport array, wrap
from mlxc._graph.node cimport BUNDLE, Node, new_node, put_input, set_inputs
from mlxc.transforms.tracing cimport Trace, trace_back

from mlxc._graph import arrays_of


cdef class Recipe:
    """Nodes in order; operands as positions (inputs first) or as nodes that do not depend on the
    inputs."""

    cdef list templates      # traced Nodes: what each new node looks like
    cdef list operands       # for each, a tuple of int positions or Nodes
    cdef list outputs        # int positions, or Nodes that do not depend on the inputs
    cdef readonly int inputs

    def __init__(self, list outputs, list inputs):
        cdef array x
        cdef Trace trace = trace_back([x.node for x in outputs], [x.node for x in inputs])
        cdef Node node
        cdef dict place = {}
        cdef dict seen = {}
        self.inputs = len(inputs)
        self.templates = []
        self.operands = []
        for k in range(self.inputs):
            place[id(trace.inputs[k])] = k
        for node in trace.nodes:
            operands = []
            for i in range(node.nin):
                source = <Node>node.inputs[i]
                operands.append(place.get(id(source), source))
            key = (node.op, node.dtype, typed(node.params),
                   tuple([o if isinstance(o, int) else (id(o),) for o in operands]))
            if key in seen:
                place[id(node)] = seen[key]
                continue
            place[id(node)] = seen[key] = self.inputs + len(self.templates)
            self.templates.append(node)
            self.operands.append(tuple(operands))
        self.outputs = [place.get(id(x.node), x.node) for x in outputs]

    def __len__(self):
        return len(self.templates)

    def make(self, list values):
        """The outputs over new inputs."""
        cdef list made = [None] * (self.inputs + len(self.templates))
        cdef Node template, node
        cdef array x
        cdef int k, i, at = 0
        cdef tuple operands
        for x in values:
            made[at] = x.node
            at += 1
        for k in range(len(self.templates)):
            template = <Node>self.templates[k]
            operands = <tuple>self.operands[k]
            node = new_node(template.dtype, template.ndim)
            for i in range(template.ndim):
                node.shape[i] = template.shape[i]
            node.size = template.size
            node.op = template.op
            node.params = template.params
            set_inputs(node, len(operands))
            for i in range(node.nin):
                operand = operands[i]
                put_input(node, i, <Node>made[<int>operand] if type(operand) is int
                          else <Node>operand)
            if template.flags & BUNDLE:
                make_bundle(node, template.noutputs)
            elif node.nin == 1 and (<Node>node.inputs[0]).flags & BUNDLE:
                (<Node>node.inputs[0]).outputs[<int>node.params[0]] = <PyObject*>node
            made[at] = node
            at += 1
        return [wrap(<Node>made[<int>o]) if type(o) is int else wrap(<Node>o) for o in self.outputs]


def quick_key(tuple args, inputs):
    """The dtypes and shapes of arguments that are all arrays, as bytes, and the arrays with those
    of the captured containers behind them; (None, None) if an argument is something else."""
    cdef list values = list(args)
    cdef list words = []
    cdef array x
    cdef Py_ssize_t[40] block
    cdef int axis
    for value in values:
        if type(value) is not array:
            return None, None
    if inputs is not None:
        values.extend(<list>arrays_of(inputs))
    for x in values:
        block[0] = x.node.dtype << 8 | x.node.ndim
        for axis in range(x.node.ndim):
            block[1 + axis] = x.node.shape[axis]
        words.append((<char*>block)[:(1 + x.node.ndim) * sizeof(Py_ssize_t)])
    return (len(args), b"".join(words)), values


cdef object typed(object params):
    """Parameters that compare equal only if their types do: 1, 1.0 and True are different
    constants."""
    if isinstance(params, tuple):
        return tuple([typed(p) for p in params])
    return type(params), params


cdef int make_bundle(Node node, int count) except -1:
    cdef int k
    node.flags |= BUNDLE
    node.outputs = <PyObject**>PyMem_Malloc(count * sizeof(PyObject*))
    if node.outputs == NULL:
        raise MemoryError()
    node.noutputs = count
    for k in range(count):
        node.outputs[k] = NULL
    return 0
