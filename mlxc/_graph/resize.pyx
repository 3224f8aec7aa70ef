# cython: wraparound=True
"""Plans for other sizes, made of plans that there are.

A sequence that grows by one gives graphs of one structure in which few nodes differ: blocks that
are read and written a step further on, keys and values that are longer. As long as only kernels,
and movement that kernels read, see the difference, the plan for the next length is the plan there
is with the views of those kernels set anew: programs, their order and the memory of all others stay
as they are. Whatever else differs asks for a plan of its own.
"""

from mlxc._graph.bind cimport ATTACH
from mlxc._graph.dtypes cimport itemsize
from mlxc._graph.layouts cimport dense_strides, is_dense, moved
from mlxc._graph.node cimport BUNDLE, EVALUATED, Node, is_row_major, shape_tuple
from mlxc._graph.plan cimport Plan, Step, Stored, kernel_step, same_params, set_dead, stored_at
from mlxc._graph.schedule cimport ALIAS, BIG, LEAF, MOVE, kind_of

from mlxc._graph.bind import ROWS

cdef enum:            # how a node differs from the plan's
    SAME = 0
    PARAMS = 1        # parameters that its layout may depend on
    PLACE = 2         # shape or strides


cdef Py_ssize_t node_words(Node node) noexcept:
    """How many words of a key describe a node (see describe in evaluate)."""
    if node.flags & EVALUATED:
        return 1 + node.ndim * (1 if is_row_major(node) else 2)
    return 1 + node.ndim + node.nin + (node.noutputs if node.flags & BUNDLE else 0)


cdef inline Py_ssize_t size_words(Node node) noexcept:
    """How many of them, from the second on, are sizes or strides."""
    if node.flags & EVALUATED:
        return node_words(node) - 1
    return node.ndim


cdef uint64_t structure_of(list nodes, const uint64_t* words, Py_ssize_t count) noexcept:
    """A hash of a key without its sizes."""
    cdef uint64_t h = 0x9e3779b97f4a7c15
    cdef Py_ssize_t at = 0, k, skip
    cdef Node node
    for node in nodes:
        skip = size_words(node)
        for k in range(node_words(node)):
            if k == 0 or k > skip:
                h = (h ^ words[at + k]) * <uint64_t>0xff51afd7ed558ccd
                h ^= h >> 32
        at += node_words(node)
    for k in range(at, count):
        h = (h ^ words[k]) * <uint64_t>0xff51afd7ed558ccd
        h ^= h >> 32
    return h


cdef list differences(
    list nodes, const uint64_t* before, const uint64_t* words, Py_ssize_t count, list old_params,
    list params
):
    """How each node differs between two keys of as many words; None where their structures do."""
    cdef list found = []
    cdef Py_ssize_t at = 0, k, sizes, number = 0
    cdef int how
    cdef Node node
    for node in nodes:
        sizes = size_words(node)
        how = SAME
        for k in range(node_words(node)):
            if words[at + k] != before[at + k]:
                if k == 0 or k > sizes:
                    return None
                how = PLACE
        at += node_words(node)
        if not node.flags & EVALUATED and node.params is not None:
            if number >= len(old_params):
                return None
            if how == SAME and not same_params(old_params[number], params[number]):
                how = PARAMS
            number += 1
        found.append(how)
    for k in range(at, count):
        if words[k] != before[k]:
            return None
    return found if number == len(old_params) else None


cdef Plan resized(
    Plan plan, list nodes, const uint64_t* words, Py_ssize_t count, list params
):
    """The plan for nodes that differ from a plan's own in what kernels see; None where they differ
    in more."""
    cdef list differs
    cdef Resizing work
    if plan.on_device or len(plan.words) != 8 * count or plan.nwindow != len(nodes):
        return None
    differs = differences(nodes, <const uint64_t*><char*>plan.words, words, count, plan.params,
                          params)
    if differs is None:
        return None
    work = Resizing(plan, nodes, differs)
    return work.result() if work.visit_all() else None


cdef class Resizing:
    """One such change, node by node, producers first."""

    cdef Plan plan
    cdef list nodes, differs, layouts, steps
    cdef dict changed        # position of a step -> the new step

    def __init__(self, Plan plan, list nodes, list differs):
        self.plan = plan
        self.nodes = nodes
        self.differs = differs
        self.layouts = list(plan.layouts)
        self.changed = {}

    cdef bint visit_all(self) except -1:
        """Whether all differences could be met."""
        cdef int k
        cdef Node node
        for k in range(len(self.nodes)):
            node = <Node>self.nodes[k]
            if self.differs[k] == SAME and not self.reads_moved(node):
                continue
            if not self.visit(k, node):
                return False
        return True

    cdef bint reads_moved(self, Node node) except -1:
        """Whether an operand lies elsewhere, or has another size, than the plan says."""
        cdef int i
        if node.flags & EVALUATED:
            return False
        for i in range(node.nin):
            if self.differs[(<Node>node.inputs[i]).index] == PLACE:
                return True
        return False

    cdef bint visit(self, int k, Node node) except -1:
        cdef int kind = self.plan.kinds[k]
        if kind == LEAF:
            return self.place(k, (self.plan.layouts[k][0], 0, shape_tuple(node), strides_of(node)))
        if kind == MOVE or kind == ALIAS:
            return self.visit_movement(k, node)
        if kind == BIG and not node.flags & BUNDLE:
            return self.visit_kernel(k, node)
        return False

    cdef bint place(self, int k, tuple layout) except -1:
        self.differs[k] = SAME if layout == self.plan.layouts[k] else PLACE
        self.layouts[k] = layout
        return True

    cdef bint visit_movement(self, int k, Node node) except -1:
        """Movement that only strides say, before and now."""
        cdef Node source = <Node>node.inputs[0]
        cdef int kind = kind_of(node)
        before = self.plan.layouts[source.index]
        if kind != MOVE and kind != ALIAS or self.plan.layouts[k] is None or before is None:
            return False
        if source.op == ATTACH or self.plan.layouts[k][0] != before[0]:
            return False
        layout = moved(node, self.layouts[source.index])
        return layout is not None and self.place(k, layout)

    cdef bint visit_kernel(self, int k, Node node) except -1:
        """A kernel whose operands lie where the plan says, in other sizes, without copies."""
        cdef Step old = self.plan.steps[self.plan.step_of[k]], step
        cdef Node source
        cdef int i, item
        row = ROWS[node.op]
        inputs = []
        for i in range(node.nin):
            source = <Node>node.inputs[i]
            layout = self.layouts[source.index]
            if layout is None or layout[0] != old.view_slots[i]:
                return False
            item = itemsize[source.dtype]
            wanted = row.contiguous if isinstance(row.contiguous, bool) else row.contiguous[i]
            if wanted and not is_dense(layout, item):
                return False
            if i == 0 and row.overwrites and self.differs[source.index] == PLACE:
                return False
            inputs.append((layout[0], layout[1], source.dtype, layout[2], layout[3]))
        shape = shape_tuple(node)
        slot = old.out_slots[0]
        strides = dense_strides(shape, itemsize[node.dtype])
        if not self.place(k, (slot, 0, shape, strides)):
            return False
        step = kernel_step(old.launcher, old.name, node.params, inputs,
                           [(slot, 0, node.dtype, shape, strides)], [old.donors[0]])
        set_dead(step, [old.dead[i] for i in range(old.ndead)])
        self.changed[self.plan.step_of[k]] = step
        return True

    cdef Plan result(self):
        """The plan with what has changed, all else shared."""
        cdef Plan old = self.plan
        cdef Plan plan = Plan.__new__(Plan)
        cdef Stored entry
        plan.steps = [self.changed.get(k, step) for k, step in enumerate(old.steps)]
        plan.stored = [entry if self.differs[entry.index] == SAME
                       else stored_at(entry.index, self.layouts[entry.index])
                       for entry in old.stored]
        plan.kinds = old.kinds
        plan.layouts = self.layouts
        plan.step_of = old.step_of
        plan.nslots = old.nslots
        plan.nleaves = old.nleaves
        plan.nwindow = old.nwindow
        plan.work = sum([(<Step>step).work for step in plan.steps])
        plan.on_device = False
        plan.alignment = old.alignment
        plan.resized = True
        return plan


cdef tuple strides_of(Node node):
    cdef int axis
    return tuple([node.strides[axis] for axis in range(node.ndim)])
