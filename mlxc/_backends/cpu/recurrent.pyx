"""Launchers of recurrent cells.

Rows of a batch do not wait for each other: where there are enough of them, each task takes some
through the whole sequence. Otherwise, and where the weights outgrow a core's cache, the units of
every step are dealt out. Nothing that is computed depends on which.
"""

from libc.string cimport memset

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.sequence cimport GRU, LSTM, RNN, TALL, Sequence, pack_fn, step_fn
from mlxc._kernels.types cimport f32
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._threads.pool cimport interrupted, par, thread_count

ctypedef Py_ssize_t (*width_fn)() noexcept nogil

cdef enum:
    ALONE = 1 << 14       # multiply-adds of a step that are not worth waking a thread for
    CACHED = 1 << 17      # weights that a core keeps at hand
    FEW = 8               # rows of a task: fewer read the weights too often

cdef Py_ssize_t BLOCK = (<width_fn>kernel("recurrent_width"))()
cdef dict CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
cdef int[3] GATES
GATES[:] = [1, 3, 4]

cdef struct Run:
    Sequence s
    pack_fn pack
    step_fn step
    Py_ssize_t tall         # rows of a task
    Py_ssize_t now          # the step in hand
    Py_ssize_t shares       # that its blocks of units are cut into, see _threads
    Py_ssize_t from_step, to_step, by


cdef void pack_block(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Run* run = <Run*>arg
    run.pack(&run.s, chunk)


cdef void take_units(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """One block of units of the step in hand, all rows. Every other step a thread goes through its
    blocks the other way: the last weights that it read are the ones in its cache."""
    cdef Run* run = <Run*>arg
    cdef Py_ssize_t first = 0, blocks = run.s.blocks, share
    if run.now & 1:
        share = ((chunk + 1) * run.shares - 1) // blocks
        chunk = blocks * share // run.shares + blocks * (share + 1) // run.shares - 1 - chunk
    while first < run.s.batch:
        run.step(&run.s, run.now, first, min(<Py_ssize_t>TALL, run.s.batch - first), chunk)
        first += TALL


cdef void take_rows(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some rows through all steps."""
    cdef Run* run = <Run*>arg
    cdef Py_ssize_t first = chunk * run.tall, block, step = run.from_step
    cdef Py_ssize_t count = min(run.tall, run.s.batch - first)
    while step != run.to_step and not interrupted():
        for block in range(run.s.blocks):
            run.step(&run.s, step, first, count, block)
        step += run.by


cdef void go(Run* run) noexcept nogil:
    cdef Sequence* s = &run.s
    cdef Py_ssize_t weights = s.gates * s.size * s.size
    cdef Py_ssize_t threads = thread_count(), tasks
    par(pack_block, run, s.blocks)
    # Rows of a task in fours, which the kernels take together.
    run.tall = min(<Py_ssize_t>TALL, max(<Py_ssize_t>FEW, (s.batch + threads - 1) // threads))
    run.tall = (run.tall + 3) // 4 * 4
    tasks = (s.batch + run.tall - 1) // run.tall
    if threads == 1 or (weights <= CACHED and tasks >= threads) or weights * s.batch < ALONE:
        par(take_rows, run, tasks)
        return
    run.shares = min(threads, s.blocks)
    run.now = run.from_step
    while run.now != run.to_step and not interrupted():
        par(take_units, run, s.blocks)
        run.now += run.by


cdef int start(
    Run* run, object cell, View* weight, Py_ssize_t batch, Py_ssize_t steps
) except -1:
    """Sizes, and room for the packed weights."""
    cdef Sequence* s = &run.s
    memset(run, 0, sizeof(Run))
    s.cell = CELLS[cell]
    s.gates = GATES[s.cell]
    s.batch, s.steps, s.size = batch, steps, weight.shape[1]
    s.weight = <const f32*>weight.data
    s.blocks = (s.size + BLOCK - 1) // BLOCK
    s.panel = s.gates * s.size * BLOCK
    s.panels = <f32*>scratch_alloc(4 * s.blocks * s.panel)
    if s.panels == NULL:
        raise MemoryError(f"[recurrent] no memory for {4 * s.blocks * s.panel} bytes of weights")
    return 0


cdef int launch_recurrent(View* ins, int nin, View* outs, int nout, object params) except -1:
    """x, weight, hidden, then the bias (gru) or the cells (lstm)."""
    cdef Run run
    cdef Sequence* s = &run.s
    if outs[0].size == 0:
        return 0
    start(&run, params[0], &ins[1], ins[0].shape[0], ins[0].shape[1])
    run.pack = <pack_fn>kernel("recurrent_pack")
    run.step = <step_fn>kernel("recurrent_step")
    run.from_step, run.to_step, run.by = 0, s.steps, 1
    s.x, s.first, s.hidden = <f32*>ins[0].data, <f32*>ins[2].data, <f32*>outs[0].data
    if s.cell != RNN:
        s.other = <f32*>ins[3].data
        if outs[nout - 1].size:
            s.saved = <f32*>outs[nout - 1].data
    if s.cell == LSTM:
        s.cells = <f32*>outs[1].data
    with nogil:
        go(&run)
        scratch_free(<char*>s.panels, 4 * s.blocks * s.panel)
    return 0


cdef int launch_recurrent_backward(
    View* ins, int nin, View* outs, int nout, object params
) except -1:
    """Cotangents of the states, weight, the first states, the states, what was saved."""
    cdef Run run
    cdef Sequence* s = &run.s
    cdef int weight = 2 if params[0] == "lstm" else 1
    if outs[0].size == 0:
        return 0
    start(&run, params[0], &ins[weight], ins[0].shape[0], ins[0].shape[1])
    run.pack = <pack_fn>kernel("recurrent_pack_back")
    run.step = <step_fn>kernel("recurrent_step_back")
    run.from_step, run.to_step, run.by = s.steps - 1, -2, -1
    s.ct_hidden, s.back, s.ct_first = <f32*>ins[0].data, <f32*>outs[0].data, <f32*>outs[1].data
    s.back_size = outs[0].shape[2]
    if s.cell == LSTM:
        s.ct_cells, s.ct_other = <f32*>ins[1].data, <f32*>outs[2].data
        s.other, s.cells, s.saved = <f32*>ins[3].data, <f32*>ins[4].data, <f32*>ins[5].data
        memset(s.ct_other, 0, 4 * s.batch * s.size)
    elif s.cell == GRU:
        s.first, s.hidden, s.saved = <f32*>ins[2].data, <f32*>ins[3].data, <f32*>ins[4].data
    else:
        s.hidden = <f32*>ins[2].data
    memset(s.ct_first, 0, 4 * s.batch * s.size)
    with nogil:
        go(&run)
        scratch_free(<char*>s.panels, 4 * s.blocks * s.panel)
    return 0


register_launcher("recurrent", launch_recurrent)
register_launcher("recurrent_backward", launch_recurrent_backward)
