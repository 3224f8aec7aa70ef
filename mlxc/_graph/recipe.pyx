"""Recipes: a traced graph that can be made again over other inputs, without running the function.

Making a node from a recipe asks no rule and checks nothing: shapes and dtypes are those of the
trace. A call of a recipe makes no nodes at all: it is one node of its own (CALL), whose outputs
(CALLED) know which of the recipe's results they are. If nothing but such outputs is evaluated, a
plan that the recipe keeps is run at once; any other walk that meets them has the call expanded.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from mlxc._graph.array cimport array, wrap
from mlxc._graph.node cimport (
    ABSTRACT, BUNDLE, CALL, CALLED, ON_DEVICE, OP_CALLED, TRACED, Node, detach, new_node,
    new_outputs, put_input, set_inputs, weigh,
)

cdef enum:
    MAX_PREPARED = 8             # plans a recipe keeps


cdef class Prepared:
    """A plan for calls of a recipe with inputs of one kind."""


cdef class Recipe:
    """Nodes in order; their operands and the outputs are positions: inputs first, then constants,
    then templates."""

    def __init__(self, list templates, list constants, list operands, list outputs, int inputs):
        """``operands``: a tuple of positions for each template."""
        cdef int k, at = 0
        cdef Node node
        cdef dict number = {}
        self.traced = False
        for node in constants:
            self.traced = self.traced or node.flags & (TRACED | ABSTRACT) != 0
        self.templates = templates
        self.constants = constants
        self.inputs = inputs
        self.noutputs = len(outputs)
        self.prepared = []
        self.operands = <int*>PyMem_Calloc(sum(map(len, operands)) + 1, sizeof(int))
        self.outputs = <int*>PyMem_Calloc(3 * self.noutputs + 1, sizeof(int))
        if self.operands == NULL or self.outputs == NULL:
            raise MemoryError()
        self.pick_of = self.outputs + self.noutputs
        self.picked = self.pick_of + self.noutputs
        for positions in operands:
            for position in positions:
                self.operands[at] = position
                at += 1
        for k in range(self.noutputs):
            self.outputs[k] = outputs[k]
            self.pick_of[k] = -1
            at = self.outputs[k] - inputs - <int>len(constants)
            if at >= 0:
                self.pick_of[k] = number.setdefault(at, len(number))
                self.picked[self.pick_of[k]] = at
        self.npicks = len(number)

    def __dealloc__(self):
        PyMem_Free(self.operands)
        PyMem_Free(self.outputs)

    def __len__(self):
        return len(self.templates)

    cdef int build(self, PyObject** made, PyObject** into) except -1:
        """Make the templates' nodes behind the inputs in ``made``, as new references.

        ``into`` (may be NULL): for each template, a node to make it in, or NULL.
        """
        cdef Node node, template
        cdef int at = self.inputs, operand = 0, axis, i, k
        for constant in self.constants:
            made[at] = <PyObject*>constant
            at += 1
        for k in range(<int>len(self.templates)):
            template = <Node>self.templates[k]
            if into != NULL and into[k] != NULL:
                node = <Node>into[k]
            else:
                node = new_node(template.dtype, template.ndim)
                for axis in range(template.ndim):
                    node.shape[axis] = template.shape[axis]
                node.size = template.size
            node.op = template.op
            node.params = template.params
            node.flags = node.flags & ~ON_DEVICE | template.flags & ON_DEVICE
            set_inputs(node, template.nin)
            for i in range(template.nin):
                put_input(node, i, <Node>made[self.operands[operand]])
                operand += 1
            if template.flags & BUNDLE:
                new_outputs(node, template.noutputs)
            elif node.nin == 1 and (<Node>node.inputs[0]).flags & BUNDLE:
                (<Node>node.inputs[0]).outputs[<int>node.params[0]] = <PyObject*>node
            Py_INCREF(node)
            made[at + k] = <PyObject*>node
        return 0

    cdef list outputs_over(self, list values):
        """The outputs over new inputs: of one pending call, unless somebody traces an operand."""
        cdef array x
        if self.traced:
            return self.make(values)
        for x in values:
            if x.node.flags & (TRACED | ABSTRACT):
                return self.make(values)
        return self.call(values)

    cdef list make(self, list values):
        """The outputs over new inputs, as arrays with all their nodes."""
        cdef int k
        cdef list nodes = self.nodes_over(values)
        return [wrap(<Node>nodes[self.outputs[k]]) for k in range(self.noutputs)]

    cdef list nodes_over(self, list values):
        """All nodes over new inputs: those of the inputs, the constants, the templates."""
        cdef array x
        cdef int k = 0, first = self.inputs + <int>len(self.constants)
        cdef int count = first + <int>len(self.templates)
        cdef PyObject** made = <PyObject**>PyMem_Calloc(count + 1, sizeof(PyObject*))
        if made == NULL:
            raise MemoryError()
        try:
            for x in values:
                made[k] = <PyObject*>x.node
                k += 1
            self.build(made, NULL)
            return [<Node>made[k] for k in range(count)]
        finally:
            release(made, first, count)

    cdef list call(self, list values):
        """The outputs over new inputs, as arrays of one pending call."""
        cdef Node call = new_node(0, 0), pick, template
        cdef int k, axis, which
        cdef list results = []
        call.params = self
        call.flags |= CALL
        call.size = len(self.templates)
        weigh(call.size)
        new_outputs(call, self.npicks)
        set_inputs(call, self.inputs)
        for k in range(self.inputs):
            put_input(call, k, (<array>values[k]).node)
        for k in range(self.noutputs):
            which = self.pick_of[k]
            if which < 0:     # an input or a constant as it is
                results.append(wrap((<array>values[self.outputs[k]]).node
                                    if self.outputs[k] < self.inputs
                                    else <Node>self.constants[self.outputs[k] - self.inputs]))
                continue
            if call.outputs[which] != NULL:
                results.append(wrap(<Node>call.outputs[which]))
                continue
            template = <Node>self.templates[self.picked[which]]
            pick = new_node(template.dtype, template.ndim)
            for axis in range(template.ndim):
                pick.shape[axis] = template.shape[axis]
            pick.size = template.size
            make_pick(call, which, pick)
            results.append(wrap(pick))
        return results


cdef void release(PyObject** made, int first, int count) noexcept:
    cdef int k
    for k in range(first, count):
        if made[k] != NULL:
            Py_DECREF(<object>made[k])
    PyMem_Free(made)


cdef int expand(Node pick) except -1:
    """Make the nodes of the call that a node is an output of, over the call's inputs; its outputs
    become what they stand for."""
    cdef Node call = <Node>pick.inputs[0]
    cdef Recipe recipe = <Recipe>call.params
    cdef int k, first = recipe.inputs + <int>len(recipe.constants)
    cdef int count = first + <int>len(recipe.templates)
    cdef PyObject** made = <PyObject**>PyMem_Calloc(2 * count + 1, sizeof(PyObject*))
    cdef PyObject** into = made + count
    if made == NULL:
        raise MemoryError()
    try:
        for k in range(recipe.inputs):
            made[k] = call.inputs[k]
        for k in range(recipe.npicks):
            if call.outputs[k] != NULL:
                into[recipe.picked[k]] = call.outputs[k]
                free_pick(call, k)
        recipe.build(made, into)
    except BaseException:
        for k in range(recipe.npicks):
            if into[recipe.picked[k]] != NULL:
                detach(<Node>into[recipe.picked[k]])
                make_pick(call, k, <Node>into[recipe.picked[k]])
        raise
    finally:
        release(made, first, count)
    return 0


cdef int make_pick(Node call, int k, Node pick) except -1:
    """Let a node without inputs be an output of a call."""
    pick.op = OP_CALLED
    pick.immediate = k
    set_inputs(pick, 1)
    put_input(pick, 0, call)
    pick.flags |= CALLED
    call.outputs[k] = <PyObject*>pick
    return 0


cdef void free_pick(Node call, int k) noexcept:
    """Undo it. Whoever calls holds the call."""
    cdef Node pick = <Node>call.outputs[k]
    call.outputs[k] = NULL
    pick.nin = 0
    pick.flags &= ~CALLED
    Py_DECREF(call)


cdef Prepared find_prepared(Recipe recipe, const uint64_t* key, Py_ssize_t count):
    """The plan kept for a key, or None."""
    cdef Prepared prepared
    for prepared in recipe.prepared:
        if (PyBytes_GET_SIZE(prepared.key) == count * <Py_ssize_t>sizeof(uint64_t)
                and memcmp(PyBytes_AS_STRING(prepared.key), key, count * sizeof(uint64_t)) == 0):
            return prepared
    return None


cdef int keep_prepared(Recipe recipe, Prepared prepared) except -1:
    """Keep a plan; beyond MAX_PREPARED the oldest goes."""
    recipe.prepared.insert(0, prepared)
    del recipe.prepared[MAX_PREPARED:]
    return 0
