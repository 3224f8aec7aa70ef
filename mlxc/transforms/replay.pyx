# cython: wraparound=True
"""From graphs to recipes: what a trace has found, or what is pending, with common subexpressions
made once. What no output needs is in neither."""

from mlxc._graph.array cimport array
from mlxc._graph.node cimport CALLED, EVALUATED, PLACEHOLDER, Node, next_epoch
from mlxc._graph.recipe cimport Recipe, expand
from mlxc.transforms.tracing cimport trace_back


def recipe_of(list outputs, list inputs):
    """How the outputs are made of a trace's inputs.

    Args:
        outputs (list of array): What the traced function has given.
        inputs (list of array): The placeholders it was given.

    Returns:
        Recipe: Its ``len`` is the number of operations.
    """
    cdef array x
    cdef list sources = [x.node for x in inputs]
    return written([x.node for x in outputs], sources,
                   trace_back([x.node for x in outputs], sources).nodes)


def remade(list outputs):
    """Pending arrays made anew, each common subexpression once.

    Args:
        outputs (list of array): They stay as they are.

    Returns:
        list of array: The same values.
    """
    cdef array x
    cdef Recipe recipe
    cdef list roots = [x.node for x in outputs]
    recipe = written(roots, [], pending_behind(roots))
    return recipe.make([])


cdef Recipe written(list outputs, list inputs, list nodes):
    """The recipe of ``nodes``, which come after their operands."""
    cdef Node node, source
    cdef dict place = {}         # of a node: number of an input, or of a template behind those
    cdef dict seen = {}
    cdef dict fixed = {}         # constants by their addresses
    cdef list templates = [], operands = []
    cdef int k, first = len(inputs)
    for k in range(first):
        place[id(inputs[k])] = k
    for node in nodes:
        sources = []
        for k in range(node.nin):
            source = <Node>node.inputs[k]
            if id(source) not in place:
                fixed[id(source)] = source
            sources.append(place.get(id(source), source))
        key = (node.op, node.dtype, typed(node.params),
               tuple([o if isinstance(o, int) else (id(o),) for o in sources]))
        if key not in seen:
            seen[key] = first + len(templates)
            templates.append(node)
            operands.append(sources)
        place[id(node)] = seen[key]
    for node in outputs:
        if id(node) not in place:
            fixed[id(node)] = node
    behind = {address: first + k for k, address in enumerate(fixed)}

    def position(value):
        number = value if isinstance(value, int) else place.get(id(value), None)
        if number is None:
            return behind[id(value)]
        return number if number < first else number + len(fixed)

    return Recipe(templates, list(fixed.values()),
                  [tuple([position(o) for o in sources]) for sources in operands],
                  [position(node) for node in outputs], first)


cdef list pending_behind(list outputs):
    """What is still to be computed for the outputs, operands first. A loop with its own stack."""
    cdef unsigned long long epoch = next_epoch()
    cdef Node node, source
    cdef list stack = [], nodes = []
    for node in outputs:
        if node.epoch != epoch and enters(node, epoch):
            stack.append(node)
        while stack:
            node = <Node>stack[-1]
            if node.index < node.nin:
                source = <Node>node.inputs[node.index]
                node.index += 1
                if source.epoch != epoch and enters(source, epoch):
                    stack.append(source)
                continue
            stack.pop()
            nodes.append(node)
    return nodes


cdef bint enters(Node node, unsigned long long epoch) except -1:
    """Mark a node as seen; whether it is pending, and no input of somebody's trace."""
    if node.flags & CALLED:
        expand(node)
    node.epoch = epoch
    node.index = 0
    return not node.flags & (EVALUATED | PLACEHOLDER)


cdef object typed(object params):
    """Parameters that compare equal only if they are the same constants: 1, 1.0 and True are not,
    nor are 0.0 and -0.0."""
    if isinstance(params, tuple):
        return tuple([typed(p) for p in params])
    if isinstance(params, (float, complex)):
        return type(params), repr(params)
    return type(params), params
