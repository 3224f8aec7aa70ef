"""Nodes of the lazy graph.

A Node never changes what it stands for: evaluation gives it data and lets go of its inputs, nothing
else. Nothing here recurses along the graph, so that a chain of any depth can be built, walked and
freed.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy, memset

from mlxc._graph.dtypes cimport itemsize, store_scalar
from mlxc._memory.buffer cimport Buffer

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject*)

cdef extern from *:
    """
    /* What a thread's placement differs in from the first one: a thread that never asked has 0. */
    static uint16_t mlxc_first_placement = 0;
    #ifdef __linux__
    __attribute__((tls_model("initial-exec")))
    #endif
    static __thread uint16_t mlxc_other_placement = 0;
    """
    uint16_t mlxc_first_placement
    uint16_t mlxc_other_placement

cdef uint64_t EPOCH = 0
cdef Py_ssize_t LIVE = 0


cdef uint64_t next_epoch() noexcept:
    """A number no walk has used: nodes whose ``epoch`` differs have not been seen by this walk."""
    global EPOCH
    EPOCH += 1
    return EPOCH


cdef uint16_t placement() noexcept:
    """Where this thread's new nodes are to be computed."""
    return mlxc_first_placement ^ mlxc_other_placement


cdef void set_placement(uint16_t where) noexcept:
    global mlxc_other_placement
    mlxc_other_placement = mlxc_first_placement ^ where


cdef void set_first_placement(uint16_t where) noexcept:
    global mlxc_first_placement
    mlxc_first_placement = where


cdef Py_ssize_t live_nodes() noexcept:
    """How many nodes exist, with those that pending calls stand for."""
    return LIVE


cdef void weigh(Py_ssize_t count) noexcept:
    """Count more nodes than there are: what a pending call will become."""
    global LIVE
    LIVE += count


cdef object MADE = None


def watch_new_nodes(callback):
    """Have the address of every new node told to callback(address); None: to nobody."""
    global MADE
    MADE = callback


cdef int TRACES = 0


cdef int tracing() noexcept:
    """How many transforms are tracing a function right now."""
    return TRACES


cdef void trace_begins() noexcept:
    global TRACES
    TRACES += 1


cdef void trace_ends() noexcept:
    global TRACES
    TRACES -= 1


# Nodes waiting to be freed. Dropping the last reference to the end of a chain drops the chain: each
# node that would be freed from within another's deallocation is put here instead, and the outermost
# deallocation frees them one by one.
cdef PyObject** DOOMED = NULL
cdef Py_ssize_t DOOMED_COUNT = 0
cdef Py_ssize_t DOOMED_SPACE = 0
cdef bint DRAINING = False


cdef bint doom(PyObject* node) noexcept:
    global DOOMED, DOOMED_COUNT, DOOMED_SPACE
    cdef PyObject** larger
    cdef Py_ssize_t space
    if DOOMED_COUNT == DOOMED_SPACE:
        space = 2 * DOOMED_SPACE + 256
        larger = <PyObject**>PyMem_Malloc(space * sizeof(PyObject*))
        if larger == NULL:
            return False
        if DOOMED != NULL:
            memcpy(larger, DOOMED, DOOMED_COUNT * sizeof(PyObject*))
            PyMem_Free(DOOMED)
        DOOMED = larger
        DOOMED_SPACE = space
    DOOMED[DOOMED_COUNT] = node
    DOOMED_COUNT += 1
    return True


cdef void drain() noexcept:
    global DOOMED_COUNT, DRAINING
    DRAINING = True
    while DOOMED_COUNT:
        DOOMED_COUNT -= 1
        Py_DECREF(<object>DOOMED[DOOMED_COUNT])
    DRAINING = False


@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class Node:
    """One value of the graph: evaluated data, or a row applied to inputs."""

    def __cinit__(self):
        global LIVE
        LIVE += 1
        self.op = OP_NONE
        self.flags = mlxc_first_placement ^ mlxc_other_placement
        self.inputs = self.few_inputs
        self.shape = self.few_dims
        self.strides = self.few_dims + INLINE_DIMS
        if MADE is not None:
            MADE(<size_t><void*>self)

    def __dealloc__(self):
        global LIVE
        LIVE -= 1 + (self.size if self.flags & CALL else 0)
        detach(self)
        if self.shape != self.few_dims:
            PyMem_Free(self.shape)
        if self.outputs != NULL:
            PyMem_Free(self.outputs)


cdef void detach(Node node) noexcept:
    """Let go of the inputs; whatever only this node held is freed, without recursion."""
    cdef int j, k
    cdef int count = node.nin
    cdef PyObject* value
    cdef Node bundle
    if count == 0:
        return
    node.nin = 0
    for k in range(count):
        value = node.inputs[k]
        if value == NULL:  # an error came between set_inputs and put_input
            continue
        if node.flags & CALLED:
            (<Node>value).outputs[node.immediate] = NULL
            node.flags &= ~CALLED
        elif (<Node>value).flags & BUNDLE:
            bundle = <Node>value
            for j in range(bundle.noutputs):
                if bundle.outputs[j] == <PyObject*>node:
                    bundle.outputs[j] = NULL
        if Py_REFCNT(value) > 1 or not doom(value):
            Py_DECREF(<object>value)
    if node.inputs != node.few_inputs:
        PyMem_Free(node.inputs)
        node.inputs = node.few_inputs
    node.params = None
    if DOOMED_COUNT and not DRAINING:
        drain()


cdef Node new_node(int dtype, int ndim):
    """A node with room for a shape, which the caller fills in (and sets size)."""
    cdef Node node = Node.__new__(Node)
    node.dtype = dtype
    node.ndim = ndim
    if ndim > INLINE_DIMS:
        if ndim > MAX_DIMS:
            raise ValueError(f"[array] {ndim} dimensions; at most {MAX_DIMS} are supported")
        node.shape = <Py_ssize_t*>PyMem_Malloc(2 * ndim * sizeof(Py_ssize_t))
        if node.shape == NULL:
            node.shape = node.few_dims
            raise MemoryError()
        node.strides = node.shape + ndim
    return node


cdef int set_inputs(Node node, int count) except -1:
    """Make room for count inputs, to be filled by put_input in order."""
    if count > INLINE_INPUTS:
        node.inputs = <PyObject**>PyMem_Malloc(count * sizeof(PyObject*))
        if node.inputs == NULL:
            node.inputs = node.few_inputs
            raise MemoryError()
        memset(node.inputs, 0, count * sizeof(PyObject*))
    node.nin = count
    return 0


cdef int new_outputs(Node node, int count) except -1:
    """Make a node one of several outputs, which the caller fills in."""
    cdef int k
    if not node.flags & CALL:
        node.flags |= BUNDLE
    node.outputs = <PyObject**>PyMem_Malloc((count + 1) * sizeof(PyObject*))
    if node.outputs == NULL:
        raise MemoryError()
    node.noutputs = count
    for k in range(count):
        node.outputs[k] = NULL
    return 0


cdef void set_row_major(Node node) noexcept:
    """Strides of a dense array in C order."""
    cdef Py_ssize_t step = itemsize[node.dtype]
    cdef int axis
    for axis in range(node.ndim - 1, -1, -1):
        node.strides[axis] = step
        step *= node.shape[axis] if node.shape[axis] > 1 else 1


cdef Node leaf_node(int dtype, int ndim, const Py_ssize_t* shape, Buffer buffer):
    """An evaluated node over a dense buffer."""
    cdef Node node = new_node(dtype, ndim)
    cdef int axis
    node.size = 1
    for axis in range(ndim):
        node.shape[axis] = shape[axis]
        node.size *= shape[axis]
    set_row_major(node)
    node.buffer = buffer
    node.data = buffer.data
    node.flags = EVALUATED
    return node


cdef Node scalar_node(int dtype, object value):
    """An evaluated node of no dimensions that holds its value itself."""
    cdef Node node = Node.__new__(Node)
    node.dtype = dtype
    node.size = 1
    store_scalar(dtype, value, &node.immediate)
    node.data = <char*>&node.immediate
    node.flags = EVALUATED
    return node


cdef tuple shape_tuple(Node node):
    cdef int axis
    return tuple([node.shape[axis] for axis in range(node.ndim)])
