# cython: wraparound=True
"""Compiled functions: what happens at every call.

A call compares what its arguments are with the latest trace, makes one node and hands out arrays of
it. Everything slower (tracing, arguments that are no arrays, other kinds of arguments than last
time) is in ``find``.
"""

import functools
import types

from cpython.dict cimport PyDict_Next
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject

from mlxc._graph.array cimport array
from mlxc._graph.node cimport placement
from mlxc._graph.recipe cimport Recipe

from mlxc.transforms import trees

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char* where) except *
    void Py_LeaveRecursiveCall()

cdef enum:
    CACHE_LIMIT = 256        # traces a function: beyond it the oldest goes

cdef bint ENABLED = True


def switch(bint on):
    """Use traces, or run the functions; which it was."""
    global ENABLED
    before = ENABLED
    ENABLED = on
    return before


cdef class Traced:
    """One trace of a function: its recipe, for which arrays, and where its outputs go."""

    cdef Recipe recipe
    cdef object skeleton         # of the results: a tree with positions for arrays
    cdef Py_ssize_t count        # arrays in it; behind them come those for the outputs' containers
    cdef bint single             # it is one array
    cdef bint flat               # it is a tuple of arrays
    cdef Py_ssize_t nargs        # arguments, if all were arrays; else -1
    cdef Py_ssize_t* words       # dtype and shape of each array given, and where it was traced for
    cdef Py_ssize_t nwords

    def __init__(self, recipe, skeleton, Py_ssize_t count, Py_ssize_t nargs, list values):
        cdef array x
        cdef int axis
        cdef Py_ssize_t at = 1
        self.recipe = recipe
        self.skeleton = skeleton
        self.count = count
        self.nargs = nargs
        self.single = isinstance(skeleton, trees._Leaf)
        self.flat = type(skeleton) is tuple and all(isinstance(k, trees._Leaf) for k in skeleton)
        self.nwords = 1
        for x in values:
            self.nwords += 1 + x.node.ndim
        self.words = <Py_ssize_t*>PyMem_Malloc(self.nwords * sizeof(Py_ssize_t))
        if self.words == NULL:
            raise MemoryError()
        self.words[0] = placement()
        for x in values:
            self.words[at] = x.node.dtype << 8 | x.node.ndim
            for axis in range(x.node.ndim):
                self.words[at + 1 + axis] = x.node.shape[axis]
            at += 1 + x.node.ndim

    def __dealloc__(self):
        PyMem_Free(self.words)

    cdef bint suits(self, Py_ssize_t nargs, list values) noexcept:
        """Whether it was made for just such arrays."""
        cdef array x
        cdef int axis
        cdef Py_ssize_t at = 1
        if nargs != self.nargs or len(values) != self.recipe.inputs:
            return False
        if self.words[0] != placement():
            return False
        for x in values:
            if self.words[at] != (x.node.dtype << 8 | x.node.ndim):
                return False
            for axis in range(x.node.ndim):
                if self.words[at + 1 + axis] != x.node.shape[axis]:
                    return False
            at += 1 + x.node.ndim
        return True

    def key(self):
        """The same as bytes, for a dictionary."""
        return self.nargs, (<char*>self.words)[:self.nwords * sizeof(Py_ssize_t)]


cdef class Compiled:
    """A function that is traced once for each kind of arguments."""

    cdef object fun
    cdef object inputs           # containers of arrays that it reads
    cdef object outputs          # and that it changes
    cdef object trace            # trace(fun, skeleton, leaves, inputs, state, outputs)
    cdef object constants        # constants(skeleton): hashable
    cdef dict cache
    cdef Traced latest
    cdef dict __dict__
    cdef object __weakref__

    def __init__(self, fun, inputs, outputs, trace, constants):
        self.fun = fun
        self.inputs = inputs
        self.outputs = outputs
        self.trace = trace
        self.constants = constants
        self.cache = {}
        self.latest = None
        functools.update_wrapper(self, fun)

    def __repr__(self):
        return f"<compiled {getattr(self.fun, '__qualname__', None) or self.fun!r}>"

    def __get__(self, instance, owner):
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args, **kwargs):
        cdef list values, results
        cdef Traced traced = self.latest
        if not ENABLED:
            return self.fun(*args, **kwargs)
        values = None if kwargs else arrays_among(args, self.inputs)
        if values is None or traced is None or not traced.suits(len(args), values):
            traced, values = self.find(args, kwargs)
        results = traced.recipe.outputs_over(values)
        if self.outputs is not None:
            put(places(self.outputs), results[traced.count:])
            del results[traced.count:]
        if traced.single:
            return results[0]
        if traced.flat:
            return tuple(results)
        return trees.unflatten(traced.skeleton, results)

    cdef tuple find(self, tuple args, dict kwargs):
        """The trace for arguments, and the arrays to give its recipe."""
        cdef Traced traced, found
        leaves, skeleton = trees.flatten((args, kwargs))
        state = trees.flatten(self.inputs)[0] if self.inputs is not None else []
        values = leaves + state
        nargs = len(args) if not kwargs and all(type(x) is array for x in args) else -1
        found = Traced(Recipe([], [], [], [], 0), None, 0, nargs, values)
        key = found.key()
        if nargs < 0:
            key += (len(leaves), self.constants(skeleton))
        traced = self.cache.get(key)
        if traced is None:
            traced = Traced(
                *self.trace(self.fun, skeleton, leaves, self.inputs, state, self.outputs),
                nargs, values,
            )
            if len(self.cache) >= CACHE_LIMIT:
                del self.cache[next(iter(self.cache))]
            self.cache[key] = traced
        self.latest = traced
        return traced, values


cdef list arrays_among(tuple args, object state):
    """Arguments that are all arrays, and those of the state behind them; None if one is something
    else."""
    cdef list values = []
    for value in args:
        if type(value) is not array:
            return None
        values.append(value)
    if state is not None:
        gather(state, None, None, values, None)
    return values


def places(tree):
    """Where nested containers have arrays, in order: (container, key) pairs; key None: the array
    itself is the place."""
    cdef list found = []
    gather(tree, tree, None, None, found)
    return found


def put(list places, list values):
    """Put arrays in places, changing the containers themselves."""
    for (container, key), value in zip(places, values):
        if key is None:
            (<array>container).node = (<array>value).node
        else:
            container[key] = value


cdef int gather(object tree, object container, object key, list values, list found) except -1:
    """Append the arrays of nested containers to ``values``, or their places to ``found``."""
    cdef PyObject* name
    cdef PyObject* item
    cdef Py_ssize_t position = 0
    if type(tree) is array:
        if values is not None:
            values.append(tree)
        elif key is None or type(container) is tuple:
            found.append((tree, None))
        else:
            found.append((container, key))
        return 0
    if not isinstance(tree, (dict, list, tuple)):
        return 0
    Py_EnterRecursiveCall(" while the state of a compiled function is searched for arrays")
    try:
        if isinstance(tree, dict):
            while PyDict_Next(tree, &position, &name, &item):
                gather(<object>item, tree, <object>name, values, found)
        else:
            for position in range(len(tree)):
                gather(tree[position], tree, position if found is not None else None, values, found)
    finally:
        Py_LeaveRecursiveCall()
    return 0
