# cython: wraparound=True
"""Recipes of little work, run at once over inputs that have their data: the results are all the
nodes that are made, and no plan is looked up.

* Inputs are only read: nobody's memory is taken over but that of steps before.
* What lasts gets a buffer; what steps hand on to each other lies on the stack.
* Whatever is not common (traces, devices, who looks on, another thread's evaluation) is left to the
  graph.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memset

from mlxc._graph.array cimport array, wrap
from mlxc._graph.evaluate cimport BACKEND, end_turn, take_turn
from mlxc._graph.node cimport (
    EVALUATED, ON_DEVICE, Node, is_row_major, new_node, placement, tracing,
)
from mlxc._graph.plan cimport Plan, Step, Stored
from mlxc._graph.recipe cimport Recipe
from mlxc._graph.run cimport QUICK, Memory, run_step, settle
from mlxc._graph.schedule cimport make_plan
from mlxc._memory.buffer cimport Buffer, new_buffer

cdef enum:
    MOST_SLOTS = 24
    SCRATCH = 16384          # bytes on the stack
    LINE = 64                # what memory is aligned to


cdef class Instant:
    """A plan over a recipe's inputs and constants, which are its first slots, in this order."""

    cdef Plan plan
    cdef bint[MOST_SLOTS] lasts      # slots whose memory becomes a result's
    cdef list stored                 # Stored of each output


cdef list outputs_at_once(Recipe recipe, list values):
    cdef Node node
    cdef array x
    if recipe.instant is False or placement() or tracing():
        return None
    for x in values:
        node = x.node
        if node.flags & ~ON_DEVICE != EVALUATED or not is_row_major(node):
            return None
    if recipe.instant is None:
        recipe.instant = prepared(recipe, values) or False
        if recipe.instant is False:
            return None
    if not take_turn():
        return None
    try:
        return run_instant(<Instant>recipe.instant, recipe, values)
    finally:
        end_turn()


cdef Instant prepared(Recipe recipe, list values):
    """How to run a recipe at once; None where it cannot be, or is too much work."""
    cdef Instant instant = Instant.__new__(Instant)
    cdef list nodes = recipe.nodes_over(values)
    cdef Node node
    cdef Stored entry
    cdef int k
    for k, node in enumerate(nodes):
        node.index = k
        if (node.flags & EVALUATED != 0) != (k < recipe.inputs + len(recipe.constants)):
            return None
    outputs = [recipe.outputs[k] for k in range(recipe.noutputs)]
    instant.plan = make_plan(nodes, set(outputs), set(), BACKEND)
    places = {entry.index: entry for entry in instant.plan.stored}
    if not all([k in places for k in outputs]) or not suits(instant.plan):
        return None
    instant.stored = [places[k] for k in outputs]
    return instant if find_lasting(instant) else None


cdef bint suits(Plan plan) except -1:
    """Whether a plan is little work, and hands on little."""
    cdef Py_ssize_t handed_on = 0
    cdef Step step
    cdef int k
    for step in plan.steps:
        if step.program is None and step.launcher.compiled == NULL:
            return False
        for k in range(step.nout):
            handed_on += step.out_bytes[k] + LINE
    return (plan.work < QUICK and plan.nslots <= MOST_SLOTS and handed_on < SCRATCH
            and not plan.on_device)


cdef bint find_lasting(Instant instant) except -1:
    """Find the slots that results lie in at last; False where one is an input's."""
    cdef Stored entry
    cdef Step step
    cdef int k
    memset(instant.lasts, 0, sizeof(instant.lasts))
    for entry in instant.stored:
        instant.lasts[entry.slot] = True
    for step in reversed(instant.plan.steps):
        for k in range(step.nout):
            if step.donors[k] >= 0 and instant.lasts[step.out_slots[k]]:
                instant.lasts[step.donors[k]] = True
    return not any([instant.lasts[k] for k in range(instant.plan.nleaves)])


cdef list run_instant(Instant instant, Recipe recipe, list values):
    cdef char[SCRATCH] scratch
    cdef char* data[MOST_SLOTS]
    cdef PyObject* buffers[MOST_SLOTS]
    cdef PyObject* held[MOST_SLOTS]
    cdef Memory memory
    cdef Node node
    cdef array x
    cdef int slot = 0, count = 0, k
    for x in values:
        data[slot] = x.node.data
        slot += 1
    for node in recipe.constants:
        data[slot] = node.data
        slot += 1
    memory.data = data
    memory.buffers = buffers
    try:
        run_steps(instant, &memory, scratch + (-<size_t>scratch) % LINE, held, &count)
        return [result(recipe, k, <Stored>instant.stored[k], &memory)
                for k in range(recipe.noutputs)]
    finally:
        for k in range(count):
            Py_DECREF(<object>held[k])


cdef int run_steps(Instant instant, Memory* memory, char* free, PyObject** held,
                   int* count) except -1:
    """Run the steps; ``held`` lists the buffers that were made for results."""
    cdef Step step
    cdef Buffer buffer
    cdef int slot, k
    for step in instant.plan.steps:
        for k in range(step.nout):
            slot = step.out_slots[k]
            if step.donors[k] >= 0:
                memory.data[slot] = memory.data[step.donors[k]]
                memory.buffers[slot] = memory.buffers[step.donors[k]]
            elif instant.lasts[slot]:
                buffer = new_buffer(step.out_bytes[k])
                Py_INCREF(buffer)
                held[count[0]] = <PyObject*>buffer
                count[0] += 1
                memory.data[slot] = buffer.data
                memory.buffers[slot] = <PyObject*>buffer
            else:
                memory.data[slot] = free
                free += (step.out_bytes[k] + LINE - 1) // LINE * LINE
        run_step(step, memory, True)
    return 0


cdef array result(Recipe recipe, int output, Stored entry, Memory* memory):
    """An output as an array that has its data."""
    cdef Node template = <Node>recipe.templates[recipe.picked[recipe.pick_of[output]]]
    cdef Node node = new_node(template.dtype, template.ndim)
    cdef int axis
    for axis in range(node.ndim):
        node.shape[axis] = template.shape[axis]
    node.size = template.size
    settle(node, memory.buffers[entry.slot], memory.data[entry.slot] + entry.offset, entry.strides)
    return wrap(node)
