# cython: wraparound=True
"""From graphs to recipes: what a trace has found, or what is pending, with common subexpressions
made once. What no output needs is in neither.

What a traced function makes of constants alone is computed once and kept; but not sums and products
of an array and numbers: they cost nothing where they are used, and keeping them costs memory.
"""

from mlxc._graph.array cimport array
from mlxc._graph.bind cimport BROADCAST, ELEMENTWISE, row_kind
from mlxc._graph.node cimport (
    CALLED, EVALUATED, PLACEHOLDER, TRACED, Node, new_node, next_epoch, put_input, set_inputs,
)
from mlxc._graph.recipe cimport Recipe, expand
from mlxc.transforms.tracing cimport trace_back

from mlxc._graph.bind import ROWS


def is_arithmetic(row):
    """Whether a row's formula, of numbers of most kinds, calls no function."""
    formulas = getattr(row, "expr", None) or "()"
    if isinstance(formulas, dict):
        formulas = formulas.get("any") or formulas.get("float") or "()"
    return row.kind == "elementwise" and "(" not in formulas


cdef list ARITHMETIC = [is_arithmetic(row) for row in ROWS]


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
                   with_arithmetic(trace_back([x.node for x in outputs], sources).nodes))


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


cdef list with_arithmetic(list nodes):
    """The nodes of a trace, and before them the arithmetic on constants that they fuse with."""
    cdef Node node
    cdef set known = {id(node) for node in nodes}
    cdef list result = []
    cdef int k
    for node in nodes:
        if row_kind[node.op] == ELEMENTWISE:
            for k in range(node.nin):
                result += arithmetic_behind(<Node>node.inputs[k], known)
        result.append(node)
    return result


cdef list arithmetic_behind(Node node, set known):
    """The steps from an array that is there to a constant, if all of them are arithmetic of it with
    numbers; they are known from now on."""
    cdef list steps = []
    cdef Node following
    while id(node) not in known and not node.flags & (EVALUATED | CALLED | PLACEHOLDER):
        following = array_operand(node)
        if following is None:
            return []
        steps.append(node)
        node = following
    if node.flags & PLACEHOLDER:
        return []
    known.update([id(step) for step in steps])
    return steps[::-1]


cdef Node array_operand(Node node):
    """The array that a node combines with numbers, or None if it does something else."""
    cdef Node operand, found = None
    cdef int k
    if not ARITHMETIC[node.op]:
        return None
    for k in range(node.nin):
        operand = <Node>node.inputs[k]
        if operand is not found and not is_number(operand):
            if found is not None or operand.size != node.size or operand.dtype != node.dtype:
                return None
            found = operand
    return found


cdef bint is_number(Node node):
    """Whether it is one value, perhaps repeated."""
    cdef int axis
    if node.op == BROADCAST and not node.flags & EVALUATED:
        node = <Node>node.inputs[0]
    if not node.flags & EVALUATED:
        return node.size == 1
    for axis in range(node.ndim):
        if node.shape[axis] != 1 and node.strides[axis] != 0:
            return False
    return True


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
            templates.append(node if node.flags & TRACED else pending_copy(node))
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


cdef Node pending_copy(Node node):
    """A node like one that somebody may evaluate, which would let go of its inputs."""
    cdef Node copy = new_node(node.dtype, node.ndim)
    cdef int k
    for k in range(node.ndim):
        copy.shape[k] = node.shape[k]
    copy.size = node.size
    copy.op = node.op
    copy.params = node.params
    copy.flags = node.flags
    set_inputs(copy, node.nin)
    for k in range(node.nin):
        put_input(copy, k, <Node>node.inputs[k])
    return copy


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
