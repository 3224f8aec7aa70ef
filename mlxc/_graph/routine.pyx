# cython: wraparound=True
"""Functions whose graph follows from their arguments' shapes and dtypes alone: the checks and the
composition run once for each kind of arguments, then a recipe makes the nodes.

Such a function takes its arrays first (None where one may be missing), then numbers, strings and
None. It must not look at values.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from mlxc._graph.array cimport array, wrap
from mlxc._graph.node cimport (
    ABSTRACT, BUNDLE, CALLED, EVALUATED, PLACEHOLDER, Node, new_node, next_epoch, placement,
)
from mlxc._graph.recipe cimport Recipe

cdef enum:
    MAX_WORDS = 128      # of a key: beyond it the function itself runs
    MAX_RECIPES = 512    # kept by a function


cdef class Routine:
    """Call it as (arrays, *others), with the arrays as a tuple."""

    cdef object function
    cdef dict recipes

    def __init__(self, function):
        self.function = function
        self.recipes = {}

    def __call__(self, tuple arrays, *others):
        cdef list values = [x for x in arrays if x is not None]
        cdef object key = key_of(arrays, others)
        cdef Recipe recipe
        if key is None:
            return self.function(*arrays, *others)
        recipe = self.recipes.get(key)
        if recipe is None:
            recipe = traced(self.function, arrays, others)
            if recipe is None:
                return self.function(*arrays, *others)
            if len(self.recipes) >= MAX_RECIPES:
                self.recipes.clear()
            self.recipes[key] = recipe
        return recipe.make(values)[0]


cdef object key_of(tuple arrays, tuple others):
    """What the graph may depend on; None where it may depend on more."""
    cdef int64_t[MAX_WORDS] words
    cdef int at = 1, axis
    cdef double number
    cdef Node node
    words[0] = placement()
    for x in arrays:
        if x is None:
            words[at] = -1
            at += 1
            continue
        node = (<array?>x).node
        if at + 1 + node.ndim + len(arrays) + len(others) > MAX_WORDS:
            return None
        words[at] = node.dtype << 8 | node.ndim
        for axis in range(node.ndim):
            words[at + 1 + axis] = node.shape[axis]
        at += 1 + node.ndim
    for value in others:   # equal ones may differ: 1, 1.0 and True, 0.0 and -0.0
        if type(value) is float:
            number = value
            memcpy(&words[at], &number, sizeof(number))
        elif type(value) is bool or value is None:
            words[at] = 1
        elif type(value) is int or type(value) is str:
            words[at] = 2
        else:
            return None
        at += 1
    return PyBytes_FromStringAndSize(<char*>words, at * sizeof(int64_t)), others


cdef Node stand_in(Node x):
    """A node of x's dtype and shape without a value."""
    cdef Node node = new_node(x.dtype, x.ndim)
    cdef int axis
    for axis in range(x.ndim):
        node.shape[axis] = x.shape[axis]
    node.size = x.size
    node.flags = PLACEHOLDER | ABSTRACT
    return node


cdef Recipe traced(object function, tuple arrays, tuple others):
    """The recipe of the graph that a function makes; None where it is none that can be made again.
    """
    cdef list inputs = [stand_in((<array>x).node) for x in arrays if x is not None]
    cdef list handles = []
    cdef list nodes, constants, templates
    cdef dict position = {}
    cdef Node node
    cdef int k, at = 0
    for x in arrays:
        handles.append(None if x is None else wrap(<Node>inputs[at]))
        at += x is not None
    result = (<array?>function(*handles, *others)).node
    nodes = reached(result, inputs)
    if nodes is None:
        return None
    constants = [node for node in nodes if node.flags & EVALUATED]
    templates = [node for node in nodes if not node.flags & EVALUATED]
    for node in inputs + constants + templates:
        position[id(node)] = len(position)
    operands = [tuple([position[id(<Node>node.inputs[k])] for k in range(node.nin)])
                for node in templates]
    return Recipe(templates, constants, operands, [position[id(result)]], len(inputs))


cdef list reached(Node result, list inputs):
    """The nodes that a result is made of, inputs left out, producers first; None where there are
    some that a recipe does not make one by one."""
    cdef unsigned long long epoch = next_epoch()
    cdef list stack = [], order = []
    cdef Node node, source
    for node in inputs:
        node.epoch = epoch
    if result.epoch != epoch:
        result.epoch = epoch
        result.index = 0
        stack.append(result)
    while stack:
        node = <Node>stack[len(stack) - 1]
        if node.flags & (BUNDLE | CALLED):
            return None
        if not node.flags & EVALUATED and node.index < node.nin:
            source = <Node>node.inputs[node.index]
            node.index += 1
            if source.epoch != epoch:
                source.epoch = epoch
                source.index = 0
                stack.append(source)
            continue
        stack.pop()
        order.append(node)
    return order
