"""Graphs as plain Python values: what exports and drawings are made of."""

from mlxc._graph.array cimport array, wrap
from mlxc._graph.bind cimport BROADCAST
from mlxc._graph.dtypes cimport DTYPE_OBJECTS
from mlxc._graph.node cimport (
    CALLED, EVALUATED, OP_NONE, TRACED, Node, next_epoch, shape_tuple,
)
from mlxc._graph.recipe cimport expand

from mlxc._table import load_rows

cdef list NAMES = [row.name for row in load_rows()]


class Step:
    """One node: ``name`` of its row (None: a value), ``params``, ``dtype`` name, ``shape``,
    positions of its ``operands``; a value has its ``array``. Of a primitive with several outputs,
    ``pick`` nodes follow."""

    __slots__ = ("array", "dtype", "name", "operands", "params", "shape")

    def __init__(self, name, params, dtype, shape, operands, value):
        self.name = name
        self.params = params
        self.dtype = dtype
        self.shape = shape
        self.operands = operands
        self.array = value


def walk(list outputs, list inputs, bint traced_only):
    """The steps from inputs to outputs, operands first, and the positions of the outputs.

    The first steps are the inputs. A walk stops at evaluated nodes; under traced_only instead at
    those that depend on no input of a trace, which then are values. A loop with its own stack:
    graphs are deep.
    """
    cdef unsigned long long epoch = next_epoch()
    cdef Node node, source
    cdef array x
    cdef int k
    cdef list steps = [], stack = []
    cdef dict position = {}
    for x in inputs:
        x.node.epoch = epoch
        position[id(x.node)] = len(steps)
        steps.append(Step(None, (), DTYPE_OBJECTS[x.node.dtype].name, shape_tuple(x.node), (),
                          None))
    for x in outputs:
        if x.node.epoch != epoch:
            x.node.epoch = epoch
            x.node.index = 0
            stack.append(x.node)
        while stack:
            node = <Node>stack[-1]
            if node.flags & CALLED:
                expand(node)
            value = node.op == OP_NONE or node.flags & EVALUATED != 0
            if traced_only:   # a broadcast value keeps its true size
                value = not node.flags & TRACED and (value or node.op != BROADCAST)
            if not value and node.index < node.nin:
                source = <Node>node.inputs[node.index]
                node.index += 1
                if source.epoch != epoch:
                    source.epoch = epoch
                    source.index = 0
                    stack.append(source)
                continue
            stack.pop()
            operands = () if value else tuple([position[id(<Node>node.inputs[k])]
                                               for k in range(node.nin)])
            position[id(node)] = len(steps)
            steps.append(Step(
                None if value else NAMES[node.op],
                () if value or node.params is None else node.params,
                DTYPE_OBJECTS[node.dtype].name, shape_tuple(node), operands,
                wrap(node) if value else None,
            ))
    return steps, [position[id(x.node)] for x in outputs]
