# cython: wraparound=True
"""Evaluation: walk the pending graph, find or make the plan for its structure, have it run.

* One evaluation at a time, on all cores. Who evaluates is decided with the GIL held; others wait
  without it, so other Python threads go on.
* The walk writes the structure (rows, dtypes, shapes, edges, who is held by somebody, whose memory
    may be reused) as
  words; plans are cached by those words, compared in full. A repeated step costs the walk and a
  lookup.
* Graphs larger than WINDOW are evaluated piece by piece, so that neither planning nor memory grows
    with the graph.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_get_thread_ident, PyThread_release_lock,
    PyThread_type_lock,
)
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memset

from mlxc._graph.bind cimport PICK
from mlxc._graph.node cimport (
    ABSTRACT, BUNDLE, CALLED, EVALUATED, ON_DEVICE, OP_NONE, TRACED, Node, is_row_major, next_epoch,
    tracing,
)
from mlxc._graph.plan cimport AT_ONCE, GENERAL, Plan, Stored, same_params
from mlxc._graph.program cimport Backend
from mlxc._graph.recipe cimport Prepared, Recipe, expand, find_prepared, keep_prepared
from mlxc._graph.resize cimport resized, structure_of
from mlxc._graph.run cimport MOST_NODES, run_plan, run_single
from mlxc._graph.schedule cimport make_plan
from mlxc._graph.small cimport Small, find_small, keep_small
from mlxc._graph.watching cimport PROFILER, WATCHER

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject*)
    int PyThread_acquire_lock_timed(PyThread_type_lock, long long microseconds, int) nogil

cdef enum:
    WINDOW = 8192            # nodes planned together
    MAX_PLANS = 4096         # cached
    MAX_RESIZED = 8          # of them, of one structure, that were made of others
    RECENT_PLANS = 1024      # found without a dictionary; a power of two
    TURN_WAIT = 50000        # microseconds between looks for Ctrl-C while another thread evaluates

cdef Backend BACKEND = None
cdef dict PLANS = {}         # hash of the words -> list of plans
# The last plan found for a hash's low bits, borrowed from PLANS.
cdef PyObject* RECENT[RECENT_PLANS]
cdef int PLAN_COUNT = 0
cdef int RESIZED_COUNT = 0   # ever made of others
cdef dict STRUCTURES = {}    # hash of the words without sizes -> list of plans, the latest first
# Who evaluates (0: nobody) and how many wait: changed with the GIL held. TURN is a semaphore, taken
# by who waits and given by who ends while somebody waits; while OPEN says that it was given and not
# yet taken, newcomers wait too, so that nobody is overtaken for ever.
cdef unsigned long OWNER = 0
cdef int WAITING = 0
cdef PyThread_type_lock TURN = NULL
cdef bint OPEN = False


def _reset_after_fork():
    """The child has one thread: whoever evaluated or waited is not in it."""
    global OWNER, WAITING, OPEN, WALKING
    make_turn()
    OWNER = 0
    WAITING = 0
    OPEN = False
    WALKING = False


cdef int make_turn() except -1:
    """A new semaphore, not given."""
    global TURN
    TURN = PyThread_allocate_lock()
    if TURN == NULL:
        raise MemoryError()
    PyThread_acquire_lock(TURN, 0)
    return 0


make_turn()


os.register_at_fork(after_in_child=_reset_after_fork)


cdef int set_backend(Backend backend) except -1:
    """Say which device runs programs."""
    global BACKEND
    BACKEND = backend
    return 0


cdef struct Pointers:        # a growing list of borrowed nodes
    PyObject** items
    Py_ssize_t count
    Py_ssize_t space


cdef struct Words:           # a growing list of words
    uint64_t* items
    Py_ssize_t count
    Py_ssize_t space


cdef Words KEY


cdef int push(Pointers* list_, PyObject* item) except -1:
    cdef void* larger
    if list_.count == list_.space:
        larger = PyMem_Realloc(list_.items, (2 * list_.space + 64) * sizeof(PyObject*))
        if larger == NULL:
            raise MemoryError()
        list_.items = <PyObject**>larger
        list_.space = 2 * list_.space + 64
    list_.items[list_.count] = item
    list_.count += 1
    return 0


cdef int reserve(Words* words, Py_ssize_t more) except -1:
    cdef void* larger
    cdef Py_ssize_t space
    if words.count + more > words.space:
        space = 2 * words.space + more + 256
        larger = PyMem_Realloc(words.items, space * sizeof(uint64_t))
        if larger == NULL:
            raise MemoryError()
        words.items = <uint64_t*>larger
        words.space = space
    return 0


cdef int collect(PyObject* root, uint64_t epoch, Pointers* stack, Pointers* order) except -1:
    """Append root's unevaluated ancestors and root, producers first. A node's `index` counts its
    visited inputs."""
    cdef Node node, source, pick
    cdef int k
    if (<Node>root).epoch == epoch or (<Node>root).flags & EVALUATED:
        return 0
    if (<Node>root).flags & CALLED:
        expand(<Node>root)
    (<Node>root).epoch = epoch
    (<Node>root).index = 0
    push(stack, root)
    while stack.count:
        node = <Node>stack.items[stack.count - 1]
        if node.index < node.nin:
            source = <Node>node.inputs[node.index]
            node.index += 1
            if source.epoch != epoch and not source.flags & EVALUATED:
                if source.flags & CALLED:
                    expand(source)
                source.epoch = epoch
                source.index = 0
                push(stack, <PyObject*>source)
            continue
        stack.count -= 1
        push(order, <PyObject*>node)
        if node.flags & BUNDLE:
            # all outputs are computed at once: whoever holds one gets it now
            for k in range(node.noutputs):
                if node.outputs[k] != NULL:
                    pick = <Node>node.outputs[k]
                    if pick.epoch != epoch:
                        pick.epoch = epoch
                        push(order, <PyObject*>pick)
    return 0


cdef int describe(Node node, Words* words, list params) except -1:
    """Append what the plan may depend on, except who holds the node."""
    cdef int k
    cdef bint strided
    reserve(words, 2 + 2 * node.ndim + node.nin)
    if node.flags & EVALUATED:
        strided = not is_row_major(node)
        words.items[words.count] = (
            <uint64_t>1 << 63 | <uint64_t>strided << 62 | <uint64_t>node.ndim << 8 | node.dtype
        )
        words.count += 1
        for k in range(node.ndim):
            words.items[words.count] = node.shape[k]
            words.count += 1
        if strided:
            for k in range(node.ndim):
                words.items[words.count] = node.strides[k]
                words.count += 1
        return 0
    words.items[words.count] = (
        <uint64_t>node.op << 32 | <uint64_t>node.nin << 16 | <uint64_t>node.ndim << 8 | node.dtype
        | <uint64_t>(node.flags & ON_DEVICE) << 48
    )
    words.count += 1
    if node.op == OP_NONE:
        raise RuntimeError("[eval] the device failed while it wrote over this value, which is lost")
    for k in range(node.ndim):
        words.items[words.count] = node.shape[k]
        words.count += 1
    for k in range(node.nin):
        words.items[words.count] = (<Node>node.inputs[k]).index
        words.count += 1
    if node.params is not None:
        params.append(node.params)
    if node.flags & BUNDLE:
        reserve(words, node.noutputs)
        for k in range(node.noutputs):
            words.items[words.count] = node.outputs[k] != NULL
            words.count += 1
    return 0


cdef inline int enter(Node node, uint64_t epoch, Pointers* window, list params) except -1:
    node.epoch = epoch
    node.index = window.count
    node.uses = 0
    push(window, <PyObject*>node)
    return describe(node, &KEY, params)


cdef int survey(Pointers* order, Py_ssize_t low, Py_ssize_t high, Pointers* window,
                list params) except -1:
    """Number the nodes order[low:high] and the leaves they read, and write the key of the plan they
    need.

    The last words say of each node whether somebody else holds it (a value to be kept, or memory
    not to be reused).
    """
    cdef uint64_t epoch = next_epoch()
    cdef Py_ssize_t k
    cdef int i
    cdef Node node, source
    cdef bint traced = False
    cdef bint held
    KEY.count = 0
    for k in range(low, high):
        node = <Node>order.items[k]
        for i in range(node.nin):
            source = <Node>node.inputs[i]
            if source.epoch != epoch:
                enter(source, epoch, window, params)
            source.uses += 1
        enter(node, epoch, window, params)
        traced = traced or (node.flags & TRACED != 0 and tracing() != 0)
    source = node = None
    reserve(&KEY, window.count // 64 + 1)
    for k in range(window.count):
        if k % 64 == 0:
            KEY.items[KEY.count] = 0
            KEY.count += 1
        node = <Node>window.items[k]
        held = Py_REFCNT(<PyObject*>node) - 1 > node.uses   # `node` itself is one
        if node.flags & EVALUATED:
            held = held or traced or node.buffer is None or node.buffer.readonly \
                or Py_REFCNT(<PyObject*>node.buffer) > 1
        KEY.items[KEY.count - 1] |= <uint64_t>held << (k % 64)
    return 0


cdef uint64_t hash_words(const Words* words) noexcept:
    cdef uint64_t h = 0x9e3779b97f4a7c15
    cdef Py_ssize_t k
    for k in range(words.count):
        h = (h ^ words.items[k]) * <uint64_t>0xff51afd7ed558ccd
        h ^= h >> 32
    return h


cdef Plan cached_plan(uint64_t hashed, list params):
    """The plan made for exactly this structure, or None."""
    cdef Plan plan
    cdef PyObject* recent = RECENT[hashed & (RECENT_PLANS - 1)]
    if recent != NULL and (<Plan>recent).hashed == hashed and suits(<Plan>recent, params):
        return <Plan>recent
    plans = PLANS.get(hashed)
    if plans is not None:
        for plan in plans:
            if suits(plan, params):
                RECENT[hashed & (RECENT_PLANS - 1)] = <PyObject*>plan
                return plan
    return None


cdef bint suits(Plan plan, list params) except -1:
    """Whether a plan was made for the structure in KEY."""
    cdef Py_ssize_t size = KEY.count * <Py_ssize_t>sizeof(uint64_t)
    cdef Py_ssize_t k
    if PyBytes_GET_SIZE(plan.words) != size:
        return False
    if memcmp(PyBytes_AS_STRING(plan.words), KEY.items, size) != 0:
        return False
    if len(plan.params) != len(params):
        return False
    for k in range(len(params)):
        if not same_params(plan.params[k], params[k]):
            return False
    return True


cdef Plan find_plan(Pointers* window, list params):
    """The plan for the surveyed window, from the cache, of another one, or new."""
    cdef uint64_t hashed = hash_words(&KEY)
    cdef Plan plan = cached_plan(hashed, params)
    cdef const uint64_t* held
    cdef uint64_t structure
    cdef Py_ssize_t k, count
    if plan is not None:
        return plan
    words = PyBytes_FromStringAndSize(<char*>KEY.items, KEY.count * sizeof(uint64_t))
    # From here on Python may run (and evaluate something): KEY is not ours any more.
    held = <const uint64_t*>PyBytes_AS_STRING(words)
    count = PyBytes_GET_SIZE(words) // <Py_ssize_t>sizeof(uint64_t)
    nodes = [<Node>window.items[k] for k in range(window.count)]
    params = list(params)
    structure = structure_of(nodes, held, count)
    alike = STRUCTURES.setdefault(structure, [])
    if alike:
        plan = resized(alike[0], nodes, held, count, params)
    if plan is None:
        plan = new_plan(nodes, held + count - (window.count + 63) // 64)
    plan.words = words
    plan.params = params
    plan.hashed = hashed
    keep_plan(plan, structure)
    return plan


cdef Plan new_plan(list nodes, const uint64_t* held):
    """A plan for nodes of which bits say whether somebody else holds them."""
    cdef Py_ssize_t k
    stored = set()
    donatable = set()
    for k, node in enumerate(nodes):
        if held[k // 64] >> (k % 64) & 1:
            if not (<Node>node).flags & EVALUATED:
                stored.add(k)
        elif (<Node>node).flags & EVALUATED:
            donatable.add(k)
    return make_plan(nodes, stored, donatable, BACKEND)


cdef int keep_plan(Plan plan, uint64_t structure) except -1:
    """Have a plan found from now on. Of those that grow with a sequence only the latest are kept:
    they are soon made again."""
    global PLAN_COUNT, RESIZED_COUNT
    cdef list alike
    if PLAN_COUNT >= MAX_PLANS:
        memset(RECENT, 0, sizeof(RECENT))
        PLANS.clear()
        STRUCTURES.clear()
        PLAN_COUNT = 0
    PLANS.setdefault(plan.hashed, []).append(plan)
    PLAN_COUNT += 1
    alike = STRUCTURES.setdefault(structure, [])
    alike.insert(0, plan)
    if plan.resized:
        RESIZED_COUNT += 1
        latest = [other for other in alike if (<Plan>other).resized]
        if len(latest) > MAX_RESIZED:
            forget_plan(latest[MAX_RESIZED])
            alike.remove(latest[MAX_RESIZED])
    return 0


cdef int forget_plan(Plan plan) except -1:
    global PLAN_COUNT
    cdef list same = PLANS[plan.hashed]
    RECENT[plan.hashed & (RECENT_PLANS - 1)] = NULL
    same.remove(plan)
    if not same:
        del PLANS[plan.hashed]
    PLAN_COUNT -= 1
    return 0


cdef struct Walk:            # what one evaluation needs to go along the graph
    Pointers order
    Pointers stack
    Pointers window


# Calls of recipes. Evaluated alone, with inputs that have their data, a call is expanded and
# planned like any graph the first time; the recipe keeps the plan together with where in its window
# the inputs and outputs stand, and runs it over the next call without making a node.

cdef class Lesson:
    """What a walk has to find out to prepare a recipe's next call. Its nodes are borrowed: they are
    compared with those of the window, never followed."""
    cdef Recipe recipe
    cdef bytes key
    cdef dict inputs             # address of a node -> number of the input; ~number of the constant
    cdef dict picks              # address of a node -> number of the pick


cdef list with_companions(list roots):
    """The roots, and outputs that are evaluated together with one of them."""
    cdef Node root, call
    cdef list others = None
    cdef int k
    for root in roots:
        if root.flags & CALLED:
            call = <Node>root.inputs[0]
            if (<Recipe>call.params).together:
                others = [] if others is None else others
                for k in range(call.noutputs):
                    if call.outputs[k] != NULL:
                        others.append(<Node>call.outputs[k])
    return roots if others is None else roots + others


cdef Node common_call(list roots):
    """The call whose outputs all the pending roots are, if it can be run at once."""
    cdef Node root, source
    cdef Node call = None
    cdef int k
    for root in roots:
        if root.flags & EVALUATED:
            continue
        if not root.flags & CALLED:
            return None
        source = <Node>root.inputs[0]
        if call is not None and call is not source:
            return None
        call = source
    if call is None or WATCHER is not None:
        return None
    for source in (<Recipe>call.params).constants:
        if not source.flags & EVALUATED:
            return None
    for k in range(call.nin):
        if not (<Node>call.inputs[k]).flags & EVALUATED:
            return None
    return call


cdef int write_call_key(Node call, list roots) except -1:
    """Write to KEY what the plan of a call depends on besides its recipe: strides of the inputs,
    which of them are the same, whose memory may be reused, which outputs somebody holds, and which
    are to be evaluated."""
    cdef uint64_t epoch = next_epoch()
    cdef Node node
    cdef bint held, strided
    cdef int k = 0, axis
    KEY.count = 0
    for node in roots:
        node.epoch = epoch
    for node in (<Recipe>call.params).constants:
        node.epoch = epoch
        node.index = call.nin + k
        node.uses = 0
        k += 1
    for k in range(call.nin):
        node = <Node>call.inputs[k]
        if node.epoch != epoch:
            node.epoch = epoch
            node.index = k
            node.uses = 0
        node.uses += 1
    for k in range(call.nin):
        node = <Node>call.inputs[k]
        strided = not is_row_major(node)
        held = (Py_REFCNT(<PyObject*>node) - 1 > node.uses or node.buffer is None
                or node.buffer.readonly or Py_REFCNT(<PyObject*>node.buffer) > 1)
        reserve(&KEY, 1 + node.ndim)
        KEY.items[KEY.count] = <uint64_t>strided << 33 | <uint64_t>held << 32 | node.index
        KEY.count += 1
        if strided:
            for axis in range(node.ndim):
                KEY.items[KEY.count] = node.strides[axis]
                KEY.count += 1
    node = None
    reserve(&KEY, call.noutputs + 1)
    for k in range(call.noutputs):
        KEY.items[KEY.count] = 0
        if call.outputs[k] != NULL:
            KEY.items[KEY.count] = 2 if (<Node>call.outputs[k]).epoch == epoch else 1
        KEY.count += 1
    return 0


cdef Lesson run_call(Node call, list roots):
    """Run a call by the plan that its recipe keeps; if there is none, what to find out."""
    cdef Recipe recipe = <Recipe>call.params
    cdef Prepared prepared
    cdef Lesson lesson
    write_call_key(call, roots)
    prepared = find_prepared(recipe, KEY.items, KEY.count)
    if prepared is not None:
        run_prepared(call, recipe, prepared)
        return None
    lesson = Lesson.__new__(Lesson)
    lesson.recipe = recipe
    lesson.key = PyBytes_FromStringAndSize(<char*>KEY.items, KEY.count * sizeof(uint64_t))
    lesson.inputs = {}
    for k, constant in enumerate(recipe.constants):
        lesson.inputs[<size_t><PyObject*>constant] = ~k
    for k in range(call.nin):
        lesson.inputs[<size_t>call.inputs[k]] = k
    lesson.picks = {<size_t>call.outputs[k]: k for k in range(call.noutputs)}
    return lesson


cdef int learn(Lesson lesson, Plan plan, Pointers* window) except -1:
    """Keep the plan with the places of inputs and outputs, if the window has no other leaves."""
    cdef Prepared prepared = Prepared.__new__(Prepared)
    cdef Stored entry
    prepared.leaves = []
    prepared.stored = []
    for k in range(window.count):
        if (<Node>window.items[k]).flags & EVALUATED:
            place = lesson.inputs.get(<size_t>window.items[k])
            if place is None:
                return 0
            prepared.leaves.append((k, place))
    for entry in plan.stored:
        place = lesson.picks.get(<size_t>window.items[entry.index])
        if place is None:
            return 0
        prepared.stored.append((entry.index, place))
    prepared.plan = plan
    prepared.key = lesson.key
    return keep_prepared(lesson.recipe, prepared)


cdef int run_prepared(Node call, Recipe recipe, Prepared prepared) except -1:
    cdef PyObject* few[128]
    cdef PyObject** window = few
    cdef Plan plan = prepared.plan
    cdef tuple pair
    cdef int source
    if plan.nwindow > 128:
        window = <PyObject**>PyMem_Malloc(plan.nwindow * sizeof(PyObject*))
        if window == NULL:
            raise MemoryError()
    memset(window, 0, plan.nwindow * sizeof(PyObject*))
    for pair in prepared.leaves:
        source = pair[1]
        window[<int>pair[0]] = (call.inputs[source] if source >= 0
                                else <PyObject*><Node>recipe.constants[~source])
    for pair in prepared.stored:
        window[<int>pair[0]] = call.outputs[<int>pair[1]]
    try:
        run_plan(plan, window, call, grow)
    finally:
        if window != few:
            PyMem_Free(window)
    return 0


cdef int grow(Node call, PyObject** window) except -1:
    """Fill the window of a call with its nodes, in the order of the walk that made the plan."""
    cdef Walk own
    cdef uint64_t epoch = next_epoch()
    cdef list picks = [<Node>call.outputs[k] for k in range(call.noutputs)
                       if call.outputs[k] != NULL]
    cdef Py_ssize_t k
    memset(&own, 0, sizeof(own))
    try:
        for pick in picks:
            collect(<PyObject*>pick, epoch, &own.stack, &own.order)
        survey(&own.order, 0, own.order.count, &own.window, [])
        for k in range(own.window.count):
            window[k] = own.window.items[k]
    finally:
        PyMem_Free(own.order.items)
        PyMem_Free(own.stack.items)
        PyMem_Free(own.window.items)
    return 0


# Kept between evaluations, so that small ones allocate nothing.
cdef Walk WALK
cdef list PARAMS = []        # parameters of the nodes in its window
cdef bint WALKING = False


cdef int evaluate_locked(list roots) except -1:
    """Evaluate while it is this thread's turn."""
    if PROFILER is None:
        return walk_all(roots)
    profiler = PROFILER
    profiler.begin(None)
    try:
        return walk_all(roots)
    finally:
        profiler.end()


cdef int walk_all(list roots) except -1:
    """An evaluation inside an evaluation brings its own lists."""
    global WALKING
    cdef Walk own
    cdef Lesson lesson = None
    cdef Node call
    roots = with_companions(roots)
    call = common_call(roots)
    if call is not None:
        lesson = run_call(call, roots)
        if lesson is None:
            return 0
        call = None        # the walk expands it, and looks at who holds its inputs
    if WALKING:
        memset(&own, 0, sizeof(own))
        try:
            walk_along(roots, &own, lesson)
        finally:
            PyMem_Free(own.order.items)
            PyMem_Free(own.stack.items)
            PyMem_Free(own.window.items)
        return 0
    WALKING = True
    try:
        walk_along(roots, &WALK, lesson)
    finally:
        WALKING = False
    return 0


cdef int walk_along(list roots, Walk* walk, Lesson lesson) except -1:
    cdef uint64_t epoch = next_epoch()
    cdef Py_ssize_t low = 0, high
    cdef Node root
    walk.order.count = walk.stack.count = 0
    for root in roots:
        collect(<PyObject*>root, epoch, &walk.stack, &walk.order)
    root = None
    while low < walk.order.count:
        high = min(low + (WINDOW if WATCHER is None else 1), walk.order.count)
        while high < walk.order.count and (<Node>walk.order.items[high]).op == PICK:
            high += 1    # the outputs of a bundle are planned with it
        if WATCHER is None:
            run_window(walk, low, high, lesson)
        else:
            run_watched(walk, low, high, roots)
        low = high
    return 0


cdef int run_window(Walk* walk, Py_ssize_t low, Py_ssize_t high, Lesson lesson) except -1:
    cdef list params = PARAMS if walk is &WALK else []
    cdef Plan plan
    params.clear()
    walk.window.count = 0
    survey(&walk.order, low, high, &walk.window, params)
    plan = find_plan(&walk.window, params)
    if lesson is not None and low == 0 and high == walk.order.count:
        learn(lesson, plan, &walk.window)
    elif low == 0 and high == walk.order.count <= MOST_NODES:
        keep_small(<Node>walk.order.items[high - 1], plan, walk.window.items)
    return run_plan(plan, walk.window.items, None, NULL)


cdef int run_watched(Walk* walk, Py_ssize_t low, Py_ssize_t high, list roots) except -1:
    """Run one operation with its outputs, and show it to the watcher."""
    cdef Node node = <Node>walk.order.items[low]
    cdef int op = node.op
    watcher = WATCHER
    operands = [<Node>node.inputs[k] for k in range(node.nin)]
    results = [<Node>walk.order.items[k] for k in range(low, high)]
    run_window(walk, low, high, None)
    watcher(op, operands, results, roots)
    return 0


cdef int evaluate(list roots) except -1:
    """Give every root its data. One evaluation runs at a time; a nested one (from a finaliser, say)
    runs inside."""
    global OWNER
    cdef Node root
    cdef bint pending = False
    cdef unsigned long me
    for root in roots:
        if not root.flags & EVALUATED:
            pending = True
            if root.flags & ABSTRACT:
                refuse_abstract()
    if not pending:
        return 0
    me = PyThread_get_thread_ident()
    if OWNER == me:
        return evaluate_locked(roots)
    if OWNER or OPEN:
        wait_for_turn()
    OWNER = me
    try:
        evaluate_locked(roots)
    finally:
        end_turn()
    return 0


cdef int evaluate_small(Plan plan, PyObject** window) except -1:
    """Run a plan over the nodes of a small graph while nobody evaluates."""
    global OWNER
    OWNER = PyThread_get_thread_ident()
    try:
        if plan.single == GENERAL:
            return run_plan(plan, window, None, NULL)
        return run_single(plan, window)
    finally:
        end_turn()


cdef bint take_turn() noexcept:
    """Let this thread evaluate; False where another does, or somebody looks on."""
    global OWNER
    if OWNER or OPEN or WATCHER is not None or PROFILER is not None:
        return False
    OWNER = PyThread_get_thread_ident()
    return True


cdef void end_turn() noexcept:
    """Let another thread evaluate."""
    global OWNER, OPEN
    OWNER = 0
    if WAITING and not OPEN:
        OPEN = True
        PyThread_release_lock(TURN)


cdef int wait_for_turn() except -1:
    """Wait until another thread's evaluation ends, or Ctrl-C."""
    global WAITING, OPEN
    cdef int taken = 0
    cdef PyThread_type_lock turn = TURN
    WAITING += 1
    try:
        while OWNER or (OPEN and not taken):
            with nogil:
                taken = PyThread_acquire_lock_timed(turn, TURN_WAIT, 0)
            if not taken:
                PyErr_CheckSignals()
        if taken:
            OPEN = False
    finally:
        WAITING -= 1
    return 0


cdef int refuse_abstract() except -1:
    raise ValueError(
        "[eval] the value of an array is not known while vmap or compile traces the function; "
        "conversions to Python numbers, printing, boolean masks and branches on values belong "
        "outside of it"
    )


cdef list ALONE = [None]     # the roots of an evaluation of one node, so that none is allocated


cdef int evaluate_one(Node root) except -1:
    cdef Small small
    if root.flags & EVALUATED:
        return 0
    if not (OWNER or OPEN) and WATCHER is None and PROFILER is None and find_small(root, &small):
        if (<Plan>small.plan).single == AT_ONCE:
            return run_single(<Plan>small.plan, small.window)
        return evaluate_small(<Plan>small.plan, small.window)
    if ALONE[0] is not None:     # in use, by another thread or further out
        return evaluate([root])
    ALONE[0] = root
    try:
        return evaluate(ALONE)
    finally:
        ALONE[0] = None


def plan_cache_info():
    """How many plans are cached, how many there may be, and how many were made of others so far."""
    return {"plans": PLAN_COUNT, "limit": MAX_PLANS, "resized": RESIZED_COUNT}
