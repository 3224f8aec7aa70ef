"""Graphs of a few nodes: what calls of functions come to when each result is evaluated by itself.

Their walk allocates nothing and describes every node as it leaves it. The words say what the plan
depends on, as those of ``evaluate`` do, but of common nodes only: not traced, not of several
outputs, not the GPU's, no pending calls. They are looked up in a table of fixed size and compared
in full, parameters too. What is not there takes the long walk, which enters the plan that it finds.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from mlxc._graph.node cimport BUNDLE, CALL, EVALUATED, OP_NONE, Node, is_row_major, next_epoch
from mlxc._graph.plan cimport Plan, same_params
from mlxc._graph.run cimport classify

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject*)

cdef enum:
    SETS = 512               # a power of two
    WAYS = 2                 # plans whose words have the same hash


cdef class Known:
    """A plan, and what it was made for."""

    cdef Plan plan
    cdef bytes words
    cdef tuple params


cdef PyObject* TABLE[SETS][WAYS]     # strong references to Known, or NULL
cdef int NEXT_WAY = 0


cdef inline void put(Small* small, uint64_t word) noexcept:
    small.words[small.nwords] = word
    small.nwords += 1
    small.hashed = (small.hashed ^ word) * <uint64_t>0xff51afd7ed558ccd


cdef inline void number(PyObject* node, Small* small) noexcept:
    (<Node>node).index = small.nodes
    small.window[small.nodes] = node
    small.nodes += 1


cdef inline bint enter_leaf(PyObject* node, uint64_t epoch, Small* small) noexcept:
    """Number and describe a node that has its data."""
    cdef int axis
    cdef bint strided = not is_row_major(<Node>node)
    cdef int ndim = (<Node>node).ndim
    if (small.nodes == MOST_NODES or small.nwords + 2 * ndim + 2 > MOST_WORDS
            or (<Node>node).flags & (BUNDLE | CALL)):
        return False
    (<Node>node).epoch = epoch
    (<Node>node).uses = 0
    number(node, small)
    put(small, <uint64_t>1 << 63 | <uint64_t>strided << 62 | <uint64_t>ndim << 8
        | (<Node>node).dtype)
    for axis in range(ndim):
        put(small, (<Node>node).shape[axis])
    if strided:
        for axis in range(ndim):
            put(small, (<Node>node).strides[axis])
    return True


cdef inline bint leave(PyObject* node, uint64_t epoch, Small* small) noexcept:
    """Number and describe a pending node whose pending inputs are entered, and its leaves."""
    cdef int k
    cdef int nin = (<Node>node).nin, ndim = (<Node>node).ndim
    cdef PyObject* source
    for k in range(nin):
        source = (<Node>node).inputs[k]
        if (<Node>source).epoch != epoch and not enter_leaf(source, epoch, small):
            return False
        (<Node>source).uses += 1
    if small.nodes == MOST_NODES or small.nwords + nin + ndim + 2 > MOST_WORDS:
        return False
    number(node, small)
    put(small, <uint64_t>(<Node>node).op << 32 | <uint64_t>nin << 16 | <uint64_t>ndim << 8
        | (<Node>node).dtype)
    for k in range(ndim):
        put(small, (<Node>node).shape[k])
    for k in range(nin):
        put(small, (<Node>(<Node>node).inputs[k]).index)
    if (<Node>node).params is not None:
        small.params[small.nparams] = <PyObject*>(<Node>node).params
        small.nparams += 1
    return True


cdef inline bint begin(PyObject* node, uint64_t epoch) noexcept:
    """Come to a pending node; whether it is a common one."""
    (<Node>node).epoch = epoch
    (<Node>node).index = 0
    (<Node>node).uses = 0
    return (<Node>node).flags == 0 and (<Node>node).op > OP_NONE


cdef bint describe(PyObject* root, Small* small) noexcept:
    """Walk the pending graph of a node; whether it is small. No node is referenced meanwhile, since
    the last word says which nodes somebody else holds."""
    cdef PyObject* stack[MOST_NODES]
    cdef PyObject* node
    cdef PyObject* source
    cdef uint64_t epoch = next_epoch(), word = 0
    cdef int depth = 1, k
    cdef bint held, deeper
    small.nodes = small.nwords = small.nparams = 0
    small.hashed = 0x9e3779b97f4a7c15
    stack[0] = root
    if not begin(root, epoch):
        return False
    while depth:
        node = stack[depth - 1]
        deeper = False
        while (<Node>node).index < (<Node>node).nin and not deeper:
            source = (<Node>node).inputs[(<Node>node).index]
            (<Node>node).index += 1
            deeper = not (<Node>source).flags & EVALUATED and (<Node>source).epoch != epoch
        if deeper:
            if depth == MOST_NODES or not begin(source, epoch):
                return False
            stack[depth] = source
            depth += 1
        else:
            depth -= 1
            if not leave(node, epoch, small):
                return False
    for k in range(small.nodes):
        node = small.window[k]
        held = Py_REFCNT(node) > (<Node>node).uses
        if (<Node>node).flags & EVALUATED:
            held = (held or (<Node>node).buffer is None or (<Node>node).buffer.readonly
                    or Py_REFCNT(<PyObject*>(<Node>node).buffer) > 1)
        word |= <uint64_t>held << k
    put(small, word)
    return True


cdef bint suits(Known known, Small* small) except -1:
    cdef Py_ssize_t size = small.nwords * <Py_ssize_t>sizeof(uint64_t)
    cdef int k
    if (PyBytes_GET_SIZE(known.words) != size or len(known.params) != small.nparams
            or memcmp(PyBytes_AS_STRING(known.words), small.words, size) != 0):
        return False
    for k in range(small.nparams):
        if not same_params(known.params[k], <object>small.params[k]):
            return False
    return True


cdef bint find_small(Node root, Small* small) except -1:
    cdef PyObject** known
    cdef int way
    if not describe(<PyObject*>root, small):
        return False
    known = TABLE[(small.hashed >> 32) % SETS]
    for way in range(WAYS):
        if known[way] != NULL and suits(<Known>known[way], small):
            small.plan = <PyObject*>(<Known>known[way]).plan
            return True
    return False


cdef int keep_small(Node root, Plan plan, PyObject** window) except -1:
    global NEXT_WAY
    cdef Small small
    cdef Known known
    cdef PyObject** place
    cdef PyObject* before
    if not describe(<PyObject*>root, &small):
        return 0
    if plan.nwindow != small.nodes or memcmp(window, small.window,
                                             small.nodes * sizeof(PyObject*)) != 0:
        return 0
    known = Known.__new__(Known)
    known.plan = plan
    known.words = PyBytes_FromStringAndSize(<char*>small.words, small.nwords * sizeof(uint64_t))
    known.params = tuple([<object>small.params[k] for k in range(small.nparams)])
    classify(plan)
    NEXT_WAY = (NEXT_WAY + 1) % WAYS
    place = &TABLE[(small.hashed >> 32) % SETS][NEXT_WAY]
    before = place[0]
    Py_INCREF(known)
    place[0] = <PyObject*>known
    if before != NULL:
        Py_DECREF(<object>before)
    return 0
