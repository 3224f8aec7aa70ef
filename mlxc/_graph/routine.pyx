# cython: wraparound=True
"""Functions whose graph follows from their arguments' shapes and dtypes alone: the checks and the
composition run once for each kind of arguments, then a recipe makes the nodes.

Such a function takes its arrays first (None where one may be missing), then numbers, strings,
dtypes, tuples of integers and None. It gives an array, or a tuple of several. It must not look at
values.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

from mlxc._graph.array cimport array, wrap
from mlxc._graph.dtypes cimport Dtype
from mlxc._graph.instant cimport outputs_at_once
from mlxc._graph.node cimport (
    ABSTRACT, BUNDLE, CALLED, EVALUATED, PLACEHOLDER, Node, new_node, next_epoch, placement,
)
from mlxc._graph.recipe cimport Recipe

cdef enum:
    MAX_WORDS = 128      # of a key: beyond it the function itself runs
    MAX_RECIPES = 512    # kept by a function


cdef class Routine:
    """Call it as (arrays, *others), with the arrays as a tuple.

    What is mostly evaluated by itself is ``pending``: no nodes are made unless something else is
    computed of it, too; and of several results all are evaluated with the first.
    """

    def __init__(self, function, bint pending=False):
        self.function = function
        self.pending = pending
        self.recipes = {}

    def __call__(self, tuple arrays, *others):
        return self.apply(arrays, others)

    cpdef object advance(self, list state, tuple arrays, tuple others=()):
        """Call it with the one array of a state before the others. Of its two results the first
        takes that array's place."""
        while True:
            before = state[0]
            after, result = self.apply((before,) + arrays, others)
            if state[0] is before:   # else another thread has advanced it meanwhile
                state[0] = after
                return result

    cdef object advance_at_once(self, list state, tuple arrays, tuple others):
        """Likewise, evaluated already; None, and nothing advanced, where that would be much work or
        the state is pending."""
        cdef list results
        cdef object before = state[0]
        cdef Recipe recipe
        if type(before) is not array:
            return None
        arrays = (before,) + arrays
        recipe = self.recipe(arrays, others)
        if recipe is None:
            return None
        results = outputs_at_once(recipe, present(arrays))
        if results is None or state[0] is not before:
            return None
        state[0] = results[0]
        return results[1]

    cdef object apply(self, tuple arrays, tuple others):
        cdef list results
        cdef list values
        cdef Recipe recipe = self.recipe(arrays, others)
        if recipe is None:
            return self.function(*arrays, *others)
        values = present(arrays)
        results = recipe.outputs_over(values) if self.pending else recipe.make(values)
        return results[0] if recipe.noutputs == 1 else tuple(results)

    cdef Recipe recipe(self, tuple arrays, tuple others):
        """What makes the graph over such arguments; None where the function itself has to."""
        cdef int64_t[MAX_WORDS] words
        cdef Py_ssize_t size = write_words(arrays, others, words) * sizeof(int64_t)
        cdef Recipe recipe = self.latest
        cdef bytes key
        if size == 0:
            return None
        if (recipe is not None and PyBytes_GET_SIZE(self.latest_words) == size
                and memcmp(PyBytes_AS_STRING(self.latest_words), words, size) == 0
                and self.latest_others == others):
            return recipe
        key = PyBytes_FromStringAndSize(<char*>words, size)
        recipe = self.recipes.get((key, others))
        if recipe is None:
            recipe = traced(self.function, arrays, others)
            if recipe is None:
                return None
            if len(self.recipes) >= MAX_RECIPES:
                self.recipes.clear()
            recipe.together = self.pending
            self.recipes[key, others] = recipe
        self.latest = None       # these are read together
        self.latest_words = key
        self.latest_others = others
        self.latest = recipe
        return recipe


cdef list present(tuple arrays):
    """The arrays without those that are missing."""
    return [x for x in arrays if x is not None]


cdef Py_ssize_t write_words(tuple arrays, tuple others, int64_t* words) except -1:
    """Write what the graph may depend on besides the others' values; how many words, or 0 where it
    may depend on more."""
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
            return 0
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
        elif type(value) is int or type(value) is str or type(value) is Dtype:
            words[at] = 2
        elif type(value) is tuple and all_integers(<tuple>value):
            words[at] = 3
        else:
            return 0
        at += 1
    return at


cdef bint all_integers(tuple values) noexcept:
    for value in values:
        if type(value) is not int:
            return False
    return True


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
    cdef list results, nodes, constants, templates
    cdef dict position = {}
    cdef Node node
    cdef int k, at = 0
    for x in arrays:
        handles.append(None if x is None else wrap(<Node>inputs[at]))
        at += x is not None
    result = function(*handles, *others)
    results = [(<array?>x).node for x in (result if type(result) is tuple else (result,))]
    nodes = reached(results, inputs)
    if nodes is None:
        return None
    constants = [node for node in nodes if node.flags & EVALUATED]
    templates = [node for node in nodes if not node.flags & EVALUATED]
    for node in inputs + constants + templates:
        position[id(node)] = len(position)
    operands = [tuple([position[id(<Node>node.inputs[k])] for k in range(node.nin)])
                for node in templates]
    return Recipe(templates, constants, operands, [position[id(node)] for node in results],
                  len(inputs))


cdef list reached(list results, list inputs):
    """The nodes that results are made of, inputs left out, producers first; None where there are
    some that a recipe does not make one by one."""
    cdef unsigned long long epoch = next_epoch()
    cdef list stack = [], order = []
    cdef Node node, source
    for node in inputs:
        node.epoch = epoch
    for result in results:
        if (<Node>result).epoch == epoch:
            continue
        (<Node>result).epoch = epoch
        (<Node>result).index = 0
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
