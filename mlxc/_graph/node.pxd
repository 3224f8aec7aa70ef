"""Nodes of the lazy graph: what an array is before and after it is evaluated."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from mlxc._graph.dtypes cimport itemsize
from mlxc._memory.buffer cimport Buffer

cdef enum:
    MAX_DIMS = 32        # of any array
    INLINE_DIMS = 4      # shapes up to this need no allocation of their own
    INLINE_INPUTS = 3

cdef enum:               # Node.flags
    EVALUATED = 1        # data can be read
    TRACED = 2           # depends on an input being differentiated: keeps its inputs when evaluated
    # depends on a placeholder without a value (vmap, compile): cannot be evaluated
    ABSTRACT = 4
    BUNDLE = 8           # a primitive of several outputs; its outputs are nodes of the row "pick"
    PLACEHOLDER = 16     # an input of a traced function: walks stop here
    CALL = 32            # a pending call of a recipe (its params); walks expand it
    CALLED = 64          # an output of a call; `immediate` says which
    ON_DEVICE = 128      # computed on the GPU, unless it cannot; means nothing once EVALUATED

cdef enum:               # op of a node that no row made
    OP_NONE = -1
    OP_CALLED = -2

cdef class Node:
    cdef PyObject** inputs            # borrowed spelling of strong references to Nodes
    cdef PyObject* few_inputs[INLINE_INPUTS]
    cdef int nin
    cdef int op                       # row code
    cdef uint8_t dtype
    cdef uint8_t ndim
    cdef uint16_t flags
    cdef int index                    # scratch of the walk that set `epoch`
    cdef int uses                     # scratch, likewise
    cdef uint64_t epoch
    cdef Py_ssize_t size              # elements
    cdef Py_ssize_t* shape
    cdef Py_ssize_t* strides          # bytes; meaningful once EVALUATED
    cdef Py_ssize_t[2 * INLINE_DIMS] few_dims
    cdef char* data                   # first element; meaningful once EVALUATED
    cdef int64_t immediate            # the value of a scalar that needs no Buffer: data points here
    cdef Buffer buffer                # keeps data alive
    cdef object params                # tuple in the order of row.params, or None
    # BUNDLE: its "pick" nodes, CALL: its outputs; borrowed; NULL where one has died
    cdef PyObject** outputs
    cdef int noutputs

# where this thread's nodes are to be computed: ON_DEVICE or 0; what threads begin with
cdef uint16_t placement() noexcept
cdef void set_placement(uint16_t where) noexcept
cdef void set_first_placement(uint16_t where) noexcept

cdef uint64_t next_epoch() noexcept
cdef Node new_node(int dtype, int ndim)
cdef int set_inputs(Node node, int count) except -1
cdef void detach(Node node) noexcept
cdef void set_row_major(Node node) noexcept
cdef Node leaf_node(int dtype, int ndim, const Py_ssize_t* shape, Buffer buffer)
cdef Node scalar_node(int dtype, object value)
cdef tuple shape_tuple(Node node)
cdef int new_outputs(Node node, int count) except -1
cdef Py_ssize_t live_nodes() noexcept
cdef void weigh(Py_ssize_t count) noexcept

cdef inline void put_input(Node node, int k, Node value) noexcept:
    """Make value the k-th input, taking a reference and inheriting what tracing says about it."""
    Py_INCREF(value)
    node.inputs[k] = <PyObject*>value
    node.flags |= value.flags & (TRACED | ABSTRACT)

cdef inline bint is_row_major(Node node) noexcept:
    """Whether an evaluated node is dense in C order; axes of size 1 do not matter."""
    cdef Py_ssize_t step = itemsize[node.dtype]
    cdef int axis
    if node.size <= 1:
        return True
    for axis in range(node.ndim - 1, -1, -1):
        if node.shape[axis] != 1:
            if node.strides[axis] != step:
                return False
            step *= node.shape[axis]
    return True

# how many transforms are tracing: TRACED nodes keep their inputs while any is
cdef int tracing() noexcept
cdef void trace_begins() noexcept
cdef void trace_ends() noexcept
