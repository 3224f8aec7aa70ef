# cython: wraparound=True
"""Running a plan: memory for what each step makes, the steps, and the results to their nodes.

* Nothing is lost on an error: what steps have computed is kept by its nodes, the rest stays
  pending.
* Between steps, and inside long ones, signals are noticed.
* Steps of a device are only sent; a step of the processor, and the end, wait for them. Until then
  their memory belongs to the device, and their results are not certain.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from mlxc._graph.kernel cimport View
from mlxc._graph.node cimport EVALUATED, OP_NONE, TRACED, Node, detach, tracing
from mlxc._graph.plan cimport AT_ONCE, GENERAL, ONE_STEP, Plan, Step, Stored
from mlxc._graph.program cimport device_backend
from mlxc._graph.watching cimport PROFILER
from mlxc._memory.buffer cimport Buffer, block_size, new_buffer
from mlxc._memory.regions cimport in_region, region_lend
from mlxc._threads.pool cimport begin_work, hold_signals, raise_if_interrupted

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject*)

cdef enum:
    SIGNAL_WORK = 2000000    # element operations between looks for Ctrl-C


cdef int give(Step step, Memory* memory) except -1:
    """Memory for a step's outputs: donated where the plan says so."""
    cdef int k, slot
    cdef Buffer buffer
    for k in range(step.nout):
        if step.donors[k] < 0:
            slot = step.out_slots[k]
            buffer = given_up(step, step.out_bytes[k]) if GIVEN_UP else None
            if buffer is None:
                buffer = new_buffer(step.out_bytes[k])
            Py_INCREF(buffer)
            memory.buffers[slot] = <PyObject*>buffer
            memory.data[slot] = buffer.data
    for k in range(step.nout):
        if step.donors[k] >= 0:
            slot = step.out_slots[k]
            memory.buffers[slot] = memory.buffers[step.donors[k]]
            memory.data[slot] = memory.data[step.donors[k]]
            memory.buffers[step.donors[k]] = NULL
    return 0


cdef void take_back(Step step, Memory* memory) noexcept:
    """Undo `give` for a step that did not run."""
    cdef int k, slot
    for k in range(step.nout):
        slot = step.out_slots[k]
        if step.donors[k] >= 0:
            if memory.buffers[slot] != NULL:
                memory.buffers[step.donors[k]] = memory.buffers[slot]
        elif memory.buffers[slot] != NULL:
            Py_DECREF(<object>memory.buffers[slot])
        memory.buffers[slot] = NULL


cdef int run_step(Step step, Memory* memory, bint quick) except -1:
    """Run a step; if a signal handler raised meanwhile, its exception, whatever the step gave. A
    step that writes over what it reads runs to its end: half of it could not be undone."""
    cdef bint overwrites = False
    cdef int k
    if quick and step.program is not None:   # over before anybody could want to stop it
        return launch(step, memory, quick)
    for k in range(step.nout):
        overwrites = overwrites or step.donors[k] >= 0
    if overwrites:
        hold_signals(True)
        try:
            return launch(step, memory, quick)
        finally:
            hold_signals(False)
    begin_work()
    try:
        launch(step, memory, quick)
    except Exception:
        raise_if_interrupted()
        raise
    return raise_if_interrupted()


cdef int take_step(Step step, Memory* memory, bint quick) except -1:
    """Give a step memory and run it; if it fails, memory is as before."""
    try:
        give(step, memory)
        if PROFILER is None:
            return run_step(step, memory, quick)
        return run_profiled(step, memory, quick)
    except BaseException:
        take_back(step, memory)
        raise


cdef int run_profiled(Step step, Memory* memory, bint quick) except -1:
    profiler = PROFILER
    profiler.begin(step)
    try:
        run_step(step, memory, quick)
        if step.program is not None and step.program.on_device:
            device_backend().wait()   # else its sending would be measured
        return 0
    finally:
        profiler.end()


cdef int launch(Step step, Memory* memory, bint quick) except -1:
    cdef int failed, k
    if step.program is not None:
        if quick:
            failed = step.program.run(memory.data)
        else:
            with nogil:
                failed = step.program.run(memory.data)
        if failed == 2:
            raise RuntimeError(device_backend().complaint())
        if failed:
            raise MemoryError("[eval] no memory for a program's scratch")
        return 0
    for k in range(step.nin + step.nout):
        step.views[k].data = memory.data[step.view_slots[k]] + step.view_offsets[k]
    if step.launcher.compiled != NULL:
        step.launcher.compiled(step.views, step.nin, step.views + step.nin, step.nout, step.params)
    else:
        ins = [numpy_view(&step.views[k]) for k in range(step.nin)]
        outs = [numpy_view(&step.views[step.nin + k]) for k in range(step.nout)]
        step.launcher.python(outs, ins, step.params)
    return 0


cdef object numpy_view(View* view):
    """The operand as a NumPy array over the same memory; bfloat16 as its bits."""
    import numpy
    cdef Py_ssize_t low = 0, high = view.itemsize
    cdef int axis
    shape = []
    strides = []
    for axis in range(view.ndim):
        shape.append(view.shape[axis])
        strides.append(view.strides[axis])
        if view.strides[axis] < 0:
            low += (view.shape[axis] - 1) * view.strides[axis]
        else:
            high += (view.shape[axis] - 1) * view.strides[axis]
    if view.size == 0:
        return numpy.empty(shape, numpy_dtype(view.dtype))
    raw = <char[:high - low]>(view.data + low)
    return numpy.ndarray(shape, numpy_dtype(view.dtype), numpy.asarray(raw), -low, strides)


cdef list NUMPY_DTYPES = []


cdef object numpy_dtype(int dtype):
    import numpy
    from mlxc._table.dtypes import DTYPES
    if not NUMPY_DTYPES:
        for fact in DTYPES:
            name = {"bool_": "bool", "bfloat16": "uint16"}.get(fact.name, fact.name)
            NUMPY_DTYPES.append(numpy.dtype(name))
    return NUMPY_DTYPES[dtype]


cdef void settle(Node node, PyObject* buffer, char* data, tuple strides) noexcept:
    """Give a node its data and let go of its inputs, unless a transform still follows them."""
    cdef int axis
    node.buffer = <Buffer>buffer if buffer != NULL else None
    node.data = data
    for axis in range(node.ndim):
        node.strides[axis] = strides[axis]
    node.flags |= EVALUATED
    if not (node.flags & TRACED and tracing()):
        node.flags &= ~TRACED
        detach(node)


cdef int keep_stored(Plan plan, PyObject** window, Memory* memory) except -1:
    """Hand out the results. Scalars that live in a leaf itself are copied to a buffer of their own.
    """
    cdef Stored entry
    cdef Buffer buffer
    for entry in plan.stored:
        if memory.buffers[entry.slot] == NULL:   # a view of a scalar leaf
            buffer = new_buffer(8)
            (<uint64_t*>buffer.data)[0] = (<uint64_t*>memory.data[entry.slot])[0]
            Py_INCREF(buffer)
            memory.buffers[entry.slot] = <PyObject*>buffer
            memory.data[entry.slot] = buffer.data
        settle(<Node>window[entry.index], memory.buffers[entry.slot],
               memory.data[entry.slot] + entry.offset, entry.strides)
    return 0


cdef int keep_computed(Plan plan, PyObject** window, Memory* memory, int done) except -1:
    """After an error: every value that steps have computed and that is still in memory stays with
    its node."""
    cdef int k
    computed = set()
    for step in (<list>plan.steps)[:done]:
        for k in range((<Step>step).nout):
            computed.add((<Step>step).out_slots[k])
    for index, layout in enumerate(plan.layouts):
        if layout is None:
            continue
        slot, offset, _, strides = layout
        if (slot in computed and memory.buffers[<int>slot] != NULL
                and window[<Py_ssize_t>index] != NULL):
            settle(<Node>window[<Py_ssize_t>index], memory.buffers[<int>slot],
                   memory.data[<int>slot] + <Py_ssize_t>offset, strides)
    return 0


cdef int run_steps(Plan plan, Memory* memory, int* done) except -1:
    cdef bint quick = plan.work < QUICK
    cdef double unseen = 0
    cdef Step step
    cdef int k
    for step in plan.steps:
        take_step(step, memory, quick)
        done[0] += 1
        for k in range(step.ndead):
            if memory.buffers[step.dead[k]] != NULL:
                Py_DECREF(<object>memory.buffers[step.dead[k]])
                memory.buffers[step.dead[k]] = NULL
        unseen += step.work
        if unseen > SIGNAL_WORK:
            unseen = 0
            PyErr_CheckSignals()
    return 0


# Buffers that work on its way still uses, by their bytes. The next steps of the device may have
# them, since they run after it; nobody else before it has ended.
cdef dict GIVEN_UP = {}


cdef Buffer given_up(Step step, Py_ssize_t nbytes):
    """Memory for an output of a step of the device, or None."""
    cdef list buffers
    if step.program is None or not step.program.on_device:
        return None
    buffers = <list>GIVEN_UP.get(block_size(nbytes))
    return buffers.pop() if buffers else None


cdef int give_up(Buffer buffer) except -1:
    """Keep a buffer until the device is done with it."""
    if buffer.owner is None and Py_REFCNT(<PyObject*>buffer) <= 2:   # the slot's and ours
        GIVEN_UP.setdefault(buffer.nbytes, []).append(buffer)
    else:      # somebody may read it still: kept, but not for others
        GIVEN_UP.setdefault(-1, []).append(buffer)
    return 0


cdef int finish(Plan plan, PyObject** window, int done, int sent) except -1:
    """Wait for the device. If work failed, or met an index out of range, steps from ``done`` on
    have no results, and what they were to write over is lost."""
    cdef Step step
    cdef Node node
    cdef Py_ssize_t k, leaf
    try:
        device_backend().wait()
    except (RuntimeError, IndexError):
        lost = set()
        for step in (<list>plan.steps)[done:sent]:
            for k in range(step.nout):
                lost.add(step.donors[k])
        leaf = -1
        for k in range(plan.nwindow):
            if window[k] != NULL and (<Node>window[k]).flags & EVALUATED:
                leaf += 1
                if leaf in lost:
                    node = <Node>window[k]
                    node.flags &= ~EVALUATED
                    node.op = OP_NONE
        raise
    finally:
        GIVEN_UP.clear()
    return 0


cdef int lend_leaves(Plan plan, Memory* memory) except -1:
    """Make the device see every leaf; what it cannot see, or wants aligned, is copied."""
    cdef int slot
    cdef Py_ssize_t shift
    cdef Buffer buffer, copy
    for slot in range(plan.nleaves):
        buffer = <Buffer>memory.buffers[slot] if memory.buffers[slot] != NULL else None
        shift = <size_t>memory.data[slot] % <size_t>plan.alignment.get(slot, 1)
        if buffer is not None and shift == 0:
            if in_region(buffer.data):
                continue
            if buffer.owner is not None and region_lend(buffer.data, buffer.nbytes) == 0:
                continue
        if buffer is None:
            copy = new_buffer(8)
            memcpy(copy.data, memory.data[slot], 8)
            memory.data[slot] = copy.data
        else:
            shift = (64 - (memory.data[slot] - buffer.data)) & 15
            copy = new_buffer(buffer.nbytes + shift)
            memcpy(copy.data + shift, buffer.data, buffer.nbytes)
            memory.data[slot] = copy.data + shift + (memory.data[slot] - buffer.data)
            Py_DECREF(buffer)
        Py_INCREF(copy)
        memory.buffers[slot] = <PyObject*>copy
    return 0


cdef int run_steps_on_device(Plan plan, PyObject** window, Memory* memory, int* done) except -1:
    """As run_steps. ``done`` counts the steps whose results are certain."""
    cdef bint pending = False, on_device
    cdef Step step
    cdef int k, sent = 0
    lend_leaves(plan, memory)
    try:
        for step in plan.steps:
            on_device = step.program is not None and step.program.on_device
            if pending and not on_device:
                pending = False
                finish(plan, window, done[0], sent)
                done[0] = sent
            take_step(step, memory, False)
            sent += 1
            pending = pending or on_device
            for k in range(step.ndead):
                if memory.buffers[step.dead[k]] != NULL:
                    if pending:
                        give_up(<Buffer>memory.buffers[step.dead[k]])
                    Py_DECREF(<object>memory.buffers[step.dead[k]])
                    memory.buffers[step.dead[k]] = NULL
            if not pending:
                done[0] = sent
            PyErr_CheckSignals()
    finally:
        if pending:
            finish(plan, window, done[0], sent)
            done[0] = sent
    return 0


cdef int run_plan(Plan plan, PyObject** window, Node call, grow_fn grow) except -1:
    """Run the steps over the window's leaves and give the stored nodes their data.

    ``window`` has plan.nwindow nodes, in the order of the walk that the plan was made for. Of a
    pending call it has only leaves and stored nodes, NULL for the others, which ``grow`` makes if a
    step fails."""
    cdef Memory memory
    cdef void* few[128]
    cdef void** block = few
    cdef Py_ssize_t k
    cdef int slot = 0, done = 0
    cdef Node node
    cdef Stored entry
    if 2 * plan.nslots > 128:
        block = <void**>PyMem_Malloc(2 * plan.nslots * sizeof(void*))
        if block == NULL:
            raise MemoryError()
    memory.data = <char**>block
    memory.buffers = <PyObject**>(block + plan.nslots)
    memset(memory.buffers, 0, plan.nslots * sizeof(void*))
    for k in range(plan.nwindow):
        if window[k] == NULL:
            continue
        node = <Node>window[k]
        if node.flags & EVALUATED:
            memory.data[slot] = node.data
            if node.buffer is not None:
                memory.buffers[slot] = <PyObject*>node.buffer
                Py_INCREF(node.buffer)
            slot += 1
    for entry in plan.stored:      # another thread may drop them while we compute
        Py_INCREF(<Node>window[entry.index])
    held = plan.stored
    try:
        try:
            if plan.on_device:
                run_steps_on_device(plan, window, &memory, &done)
            else:
                run_steps(plan, &memory, &done)
        except BaseException:
            if call is not None:
                grow(call, window)
            keep_computed(plan, window, &memory, done)
            raise
        keep_stored(plan, window, &memory)
    finally:
        for entry in held:
            Py_DECREF(<Node>window[entry.index])
        for k in range(plan.nslots):
            if memory.buffers[k] != NULL:
                Py_DECREF(<object>memory.buffers[k])
        if block != few:
            PyMem_Free(block)
    return 0


# Plans of small graphs: mostly one step, one result, and nothing to undo.

cdef int classify(Plan plan) except -1:
    cdef Step step
    plan.single = GENERAL
    if len(plan.steps) > 1 or len(plan.stored) != 1 or plan.on_device:
        return 0
    plan.result = <Stored>plan.stored[0]
    if plan.result.index != plan.nwindow - 1 or plan.nwindow > MOST_NODES:
        return 0
    if not plan.steps:
        plan.single = AT_ONCE
        return 0
    step = <Step>plan.steps[0]
    if step.nout != 1 or step.out_slots[0] != plan.result.slot or plan.nslots != plan.nleaves + 1:
        return 0
    plan.only = step
    plan.single = AT_ONCE if step.program is not None and plan.work < QUICK else ONE_STEP
    return 0


cdef int run_single(Plan plan, PyObject** window) except -1:
    cdef char* data[MOST_NODES + 1]
    cdef PyObject* leaves[MOST_NODES]
    cdef Memory memory
    cdef Node node = <Node>window[plan.nwindow - 1]   # another thread may drop it meanwhile
    cdef Step step = plan.only
    cdef Stored result = plan.result
    cdef Buffer buffer
    cdef int slot = 0
    cdef Py_ssize_t k
    for k in range(plan.nwindow - 1):
        if (<Node>window[k]).flags & EVALUATED:
            leaves[slot] = window[k]
            data[slot] = (<Node>window[k]).data
            slot += 1
    if step is None:
        buffer = (<Node>leaves[result.slot]).buffer
        if buffer is None:      # a view of a scalar
            return run_plan(plan, window, None, NULL)
    else:
        if step.donors[0] >= 0:
            buffer = (<Node>leaves[step.donors[0]]).buffer
        else:
            buffer = new_buffer(step.out_bytes[0])
        data[result.slot] = buffer.data
        memory.data = data
        run_step(step, &memory, plan.work < QUICK)
    settle(node, <PyObject*>buffer, data[result.slot] + result.offset, result.strides)
    return 0
