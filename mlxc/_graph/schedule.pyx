# cython: wraparound=True
"""The scheduler: which nodes run together, in what order, in whose memory.

Grouping goes from consumers to producers. A node that only one group consumes, and whose values
line up with that group's iteration space (or with its rows, or is a single value), joins the group:
its values then never leave registers unless somebody else holds the node. That rule alone keeps the
groups free of cycles: a path out of a group and back into it would have to leave through a node
that something outside consumes, and such a node always ends a group. A reduction along trailing
axes joins too, which makes the group a *row program* (softmax, norms, losses). Shapes are compared
with axes of size 1 left out, so that ``keepdims`` and ``expand_dims`` cost nothing.

Movement is strides only: it is resolved against memory when a program loads it.

A group is of nodes of one device. What the device cannot run becomes a step of the processor, on
the same memory.
"""

import os
from math import prod

from mlxc._graph.bind cimport (
    ASTYPE, ATTACH, BROADCAST, ELEMENTWISE, MOVEMENT, REDUCTION, RESHAPE, row_kind,
)
from mlxc._graph.dtypes cimport FLOAT64, itemsize
from mlxc._graph.kernel cimport find_launcher
from mlxc._graph.layouts cimport dense_strides, is_dense, moved, squeeze_strides, squeezed
from mlxc._graph.node cimport BUNDLE, EVALUATED, ON_DEVICE, Node, shape_tuple
from mlxc._graph.plan cimport Plan, Step, kernel_step, program_step, set_dead, stored_at
from mlxc._graph.program cimport Backend, Executable, Program, device_backend

from mlxc._graph.bind import ROWS

ROW_NAMES = [row.name for row in ROWS]
# A row longer than this does not stay in cache: reductions along it run by themselves, in parallel.
ROW_LIMIT = 16384
MAX_VALUES = 96      # of a program: beyond it registers no longer fit the first-level cache anyway
MAX_LOADS = 24
FUSE = os.environ.get("MLXC_FUSE", "1") != "0"   # off: every node is a program of its own
DEBUG = int(os.environ.get("MLXC_DEBUG", "0") or 0)

# in `wanted`: no consumer yet; consumers that read memory, or more than one group
NOBODY, MEMORY = -1, -2


def repeats_trailing(shape, new_shape):
    """Whether broadcasting only adds repetition behind the axes that hold values: then rows keep
    their order."""
    shape = (1,) * (len(new_shape) - len(shape)) + tuple(shape)
    stretched = [old == 1 and new != 1 for old, new in zip(shape, new_shape)]
    if True not in stretched:
        return True
    return all([size == 1 for size in shape[stretched.index(True):]])


class Group:
    """Nodes that will be one program."""

    __slots__ = ("members", "space", "row_axes", "root", "reduced", "loads", "on_device")

    def __init__(self, root, space, on_device):
        self.root = root
        self.on_device = on_device
        self.members = []
        self.space = space
        self.row_axes = 0
        self.reduced = None   # axes of the space, for a reduction that is not along rows
        self.loads = 0

    def has_room(self):
        """Whether another member fits a program."""
        return len(self.members) < MAX_VALUES and self.loads < MAX_LOADS

    def fits_beside(self, group):
        """Whether both can be one program."""
        return (
            self.space == group.space
            and self.on_device == group.on_device
            and len(self.members) + len(group.members) < MAX_VALUES
            and self.loads + group.loads < MAX_LOADS
        )

    def takes(self, shape):
        """Whether values of a squeezed shape line up with the space, its rows, or are single."""
        if shape == self.space or not shape:
            return True
        if self.reduced is not None:
            return False
        return bool(self.row_axes) and shape == self.space[: -self.row_axes]

    def takes_broadcast(self, shape):
        """The same for values that the group repeats: they may also be the first to say what a row
        is."""
        if self.takes(shape):
            return True
        return (
            self.reduced is None
            and not self.row_axes
            and shape == self.space[: len(shape)]
            and prod(self.space[len(shape):]) <= ROW_LIMIT
        )


class Planner:
    """One planning: from nodes in topological order (leaves included) to steps."""

    def __init__(self, nodes, stored, donatable, backend):
        self.nodes = nodes
        self.stored = stored          # indices of nodes that somebody holds
        self.donatable = donatable    # indices of leaves whose memory may be written to once read
        self.backend = backend
        count = len(nodes)
        self.shapes = [node_shape(node) for node in nodes]
        self.kinds = [kind_of(node) for node in nodes]
        self.inputs = [node_inputs(node) for node in nodes]
        self.wanted = [NOBODY] * count
        self.group_of = [None] * count
        self.layouts = [None] * count   # (slot, offset, shape, strides) of what is in memory
        self.steps = []
        self.step_of = {}               # node of a kernel -> position of its step
        self.step_reads = []            # slots read by each step
        self.slot_bytes = {}
        self.nslots = 0
        self.leaf_of_slot = {}
        self.on_device = False          # whether what is emitted right now is for the device
        self.alignment = {}

    # ---- grouping, consumers first

    def want(self, k, group):
        """Note that a group (or MEMORY) consumes node k."""
        if group is not MEMORY and group.on_device != is_on_device(self.nodes[k]):
            group = MEMORY
        if self.wanted[k] is NOBODY:
            self.wanted[k] = group
        elif self.wanted[k] is not group:
            self.wanted[k] = MEMORY

    def group_nodes(self):
        for k in range(len(self.nodes) - 1, -1, -1):
            kind = self.kinds[k]
            if kind == LEAF:
                continue
            if kind == POINTWISE:
                group = self.join_pointwise(k)
            elif kind == REDUCE:
                group = self.join_reduction(k)
            elif kind == ALIAS and k not in self.stored and isinstance(self.wanted[k], Group):
                group = self.wanted[k]
            else:
                group = MEMORY
            for i in self.inputs[k]:
                self.want(i, group)
        if FUSE:
            self.join_siblings()

    def join_siblings(self):
        """Make one group of maps that read the same array, of those whose results nobody reads
        here: they depend on each other in no way. So optimisers read gradients and state once."""
        reader = {}
        for k in range(len(self.nodes)):
            group = self.group_of[k]
            if group is None or group.root != k or self.wanted[k] is not NOBODY:
                continue
            if group.row_axes or group.reduced is not None:
                continue
            for i in self.read_along(group):
                other = self.group_of[reader.setdefault(i, k)]
                if other is not group and other.fits_beside(group):
                    self.unite(other, group)

    def read_along(self, group):
        """The nodes that a group reads element by element."""
        return [i for m in group.members for i in self.inputs[m]
                if self.group_of[i] is not group and squeezed(self.shapes[i]) == group.space]

    def unite(self, first, group):
        """Let a group have the members of another one, whose root comes first."""
        group.members += first.members
        group.loads += first.loads
        for m in first.members:
            self.group_of[m] = group
            for i in self.inputs[m]:
                while self.wanted[i] is first:
                    self.wanted[i] = group
                    i = self.inputs[i][0] if self.kinds[i] == ALIAS else i

    def join_pointwise(self, k):
        group = self.wanted[k]
        shape = squeezed(self.shapes[k])
        if FUSE and isinstance(group, Group) and group.has_room():
            if group.reduced is not None and k in self.stored:
                # such a program writes its reduction and nothing else
                return self.enter(k, Group(k, shape, group.on_device))
            if group.takes(shape):
                return self.enter(k, group)
            if group.takes_broadcast(shape):
                group.row_axes = len(group.space) - len(shape)
                return self.enter(k, group)
        return self.enter(k, Group(k, shape, is_on_device(self.nodes[k])))

    def enter(self, k, group):
        group.members.append(k)
        group.loads += len(self.inputs[k]) - 1
        self.group_of[k] = group
        return group

    def join_reduction(self, k):
        source = self.inputs[k][0]
        shape = self.shapes[source]
        axes = node_params(self.nodes[k])[0]
        space = squeezed(shape)
        kept = squeezed([size for axis, size in enumerate(shape) if axis not in axes])
        trailing = len(space) - len(kept)
        along_rows = (
            trailing > 0
            and 0 not in space
            and space[: len(kept)] == kept
            and all(shape[a] == 1 for a in axes if squeezed_position(shape, a) < len(kept))
            and prod(space[len(kept):]) <= ROW_LIMIT
        )
        group = self.wanted[k]
        if FUSE and along_rows and isinstance(group, Group) and group.reduced is None:
            if len(group.members) < MAX_VALUES:
                if group.space == space and group.row_axes in (0, trailing):
                    group.row_axes = trailing
                    return self.enter(k, group)
                if group.space == kept and not group.row_axes and self.all_full(group):
                    group.space = space
                    group.row_axes = trailing
                    return self.enter(k, group)
        group = Group(k, space, is_on_device(self.nodes[k]))
        if along_rows:
            group.row_axes = trailing
        else:
            group.reduced = tuple(
                squeezed_position(shape, axis) for axis in axes if shape[axis] != 1
            )
        return self.enter(k, group)

    def all_full(self, group):
        """Whether every member spans the group's space, so that the space may become its rows."""
        return all(squeezed(self.shapes[m]) == group.space or not squeezed(self.shapes[m])
                   for m in group.members)

    # ---- memory

    def new_slot(self, nbytes):
        slot = self.nslots
        self.nslots += 1
        self.slot_bytes[slot] = nbytes
        return slot

    def materialize(self, k):
        """Give node k a dense slot of its own."""
        shape = self.shapes[k]
        item = itemsize_of(self.nodes[k])
        slot = self.new_slot(prod(shape) * item)
        self.layouts[k] = (slot, 0, shape, dense_strides(shape, item))
        return slot

    def locate(self, k):
        """Where node k lies in memory, resolving movement against its source (a loop, not a
        recursion)."""
        chain = []
        while self.layouts[k] is None:
            if self.kinds[k] not in (ALIAS, MOVE):
                raise RuntimeError(f"[eval] {ROW_NAMES[node_op(self.nodes[k])]} is read before it "
                                   "is computed")
            source = self.inputs[k][0]
            if self.kinds[source] == NAME:   # output i of attach is operand first + i
                first = node_params(self.nodes[source])[0].first
                self.layouts[k] = self.locate(self.inputs[source][first
                                                                  + node_params(self.nodes[k])[0]])
                break
            chain.append(k)
            k = source
        layout = self.layouts[k]
        for k in reversed(chain):
            layout = self.move(k, layout)
            self.layouts[k] = layout
        return layout

    def move(self, k, layout):
        """The layout of a movement node whose source has a layout; copies only where strides cannot
        say it."""
        found = moved(self.nodes[k], layout)
        if found is None:
            source = node_dtype(self.nodes[self.inputs[k][0]])
            found = moved(self.nodes[k], self.copy(layout, source))
        return found

    def dense(self, layout, dtype):
        """The layout itself if it is dense in row-major order, else that of a copy."""
        return layout if is_dense(layout, size_of_dtype(dtype)) else self.copy(layout, dtype)

    def copy(self, layout, dtype):
        """A program that copies a view into dense memory."""
        slot, offset, shape, strides = layout
        space = squeezed(shape)
        program = Program("map", space)
        steps = squeeze_strides(shape, strides)
        value = add_to(program, ("load", dtype, slot, offset, steps))
        item = size_of_dtype(dtype)
        out = self.new_slot(prod(shape) * item)
        program.outputs.append((value, dtype, out, dense_strides(space, item)))
        self.add_program(program, [out], [-1])
        return out, 0, shape, dense_strides(shape, item)

    # ---- steps

    def add_program(self, program, slots, donors):
        program.finish(ROW_NAMES)
        if DEBUG >= 3:
            print(program.describe(ROW_NAMES))
        outputs = [(slot, self.slot_bytes[slot]) for slot in slots]
        reads = [value[2] for value in program.values if value[0] == "load"] + slots
        executable = lower_on_device(program) if self.on_device else None
        if executable is None:
            executable = lower(self.backend, program)
        else:
            scratch = self.scratch(executable)
            outputs += scratch
            donors = donors + [-1] * len(scratch)
            reads += [slot for slot, _ in scratch]
        self.steps.append(program_step(executable, program, outputs, donors))
        self.step_reads.append(reads)

    def emit(self):
        """Steps in the order of the groups' roots, which is an order in which everything is ready.
        """
        for k, kind in enumerate(self.kinds):
            if kind == LEAF:
                slot = self.new_slot(0)
                self.layouts[k] = (slot, 0, self.shapes[k], node_strides(self.nodes[k]))
                self.leaf_of_slot[slot] = k
        for k, kind in enumerate(self.kinds):
            if kind in (POINTWISE, REDUCE):
                if self.group_of[k].root == k:
                    self.emit_group(self.group_of[k])
            elif kind == BIG:
                self.emit_kernel(k)
        for k in sorted(self.stored):
            if not is_bundle(self.nodes[k]):
                self.on_device = is_on_device(self.nodes[k])
                self.locate(k)

    def emit_kernel(self, k):
        node = self.nodes[k]
        row = ROWS[node_op(node)]
        self.on_device = is_on_device(node)
        operands = []
        for position, i in enumerate(self.inputs[k]):
            layout = self.locate(i)
            dtype = node_dtype(self.nodes[i])
            if row.contiguous if isinstance(row.contiguous, bool) else row.contiguous[position]:
                layout = self.dense(layout, dtype)
            slot, offset, shape, strides = layout
            operands.append((slot, offset, dtype, shape, strides))
        outputs = []
        picks = self.picks_of(k) if is_bundle(node) else [k]
        for position, pick in enumerate(picks):
            if isinstance(pick, int):
                slot = self.materialize(pick)
                _, offset, shape, strides = self.layouts[pick]
                outputs.append((slot, offset, node_dtype(self.nodes[pick]), shape, strides))
            else:   # what nobody holds any more still needs somewhere to go
                shape, dtype = pick
                if row.skips_last and position == len(picks) - 1 and not self.on_device:
                    shape = (0,)
                item = size_of_dtype(dtype)
                slot = self.new_slot(prod(shape) * item)
                outputs.append((slot, 0, dtype, shape, dense_strides(shape, item)))
        self.add_kernel(row, node_params(node), operands, outputs)
        self.step_of[k] = len(self.steps) - 1

    def overwritten(self, operands):
        """The slot of the first operand if an output may be written over it: it is dense and of no
        other operand. `settle` sees to it that this is its last use."""
        slot, offset, dtype, shape, strides = operands[0]
        item = size_of_dtype(dtype)
        wanted = dense_strides(squeezed(shape), item)
        fits = offset == 0 and prod(shape) > 0 and squeeze_strides(shape, strides) == wanted
        fits = fits and slot not in [other[0] for other in operands[1:]]
        return slot if fits and self.may_donate(slot, prod(shape) * item) else -1

    def add_kernel(self, row, params, operands, outputs):
        """The step of a Kernel row: the device's, or the processor's."""
        name = row.name
        executable = None
        slots = [(output[0], self.slot_bytes[output[0]]) for output in outputs]
        if self.on_device:
            executable = kernel_on_device(name, params, operands, outputs)
        if executable is None:
            donors = [self.overwritten(operands)] if row.overwrites else [-1] * len(outputs)
            step = kernel_step(find_launcher(name), name, params, operands, outputs, donors)
        else:
            slots += self.scratch(executable)
            step = device_step(executable, name, slots)
        self.steps.append(step)
        self.step_reads.append([operand[0] for operand in operands] + [slot for slot, _ in slots])

    def scratch(self, executable):
        """(slot, bytes) of what a step of the device needs besides; notes what it wants aligned.
        """
        wanted, alignment = wishes_of(executable)
        for slot, item in alignment.items():
            self.alignment[slot] = max(item, self.alignment.get(slot, 1))
        slots = [(self.new_slot(nbytes), nbytes) for nbytes in wanted]
        tell_scratch(executable, [slot for slot, _ in slots])
        return slots

    def picks_of(self, k):
        """Outputs of a bundle in order: the index of each pick in the walk, or (shape, dtype) of a
        dead one."""
        node = self.nodes[k]
        index = {id(other): position for position, other in enumerate(self.nodes)}
        alive = bundle_outputs(node)
        if all([pick is not None for pick in alive]):
            return [index[id(pick)] for pick in alive]
        row = ROWS[node_op(node)]
        shapes = [self.shapes[i] for i in self.inputs[k]]
        names = [dtype_name(self.nodes[i]) for i in self.inputs[k]]
        inferred = row.infer(shapes, names, **dict(zip(row.params, node_params(node))))
        return [
            index[id(pick)] if pick is not None else (tuple(shape), code_of_dtype(dtype))
            for pick, (shape, dtype) in zip(alive, inferred)
        ]

    def emit_group(self, group):
        members = sorted(group.members)
        self.on_device = group.on_device
        kind = "reduce" if group.reduced is not None else ("rows" if group.row_axes else "map")
        # Everything the program loads is located first: locating may emit copies of its own.
        for m in members:
            for i in self.inputs[m]:
                if self.inside(i, group) is None:
                    self.locate(i)
        program = Program(kind, group.space, group.row_axes, group.reduced or ())
        value_of = {}
        for m in members:
            operands = tuple([self.operand(program, value_of, group, i) for i in self.inputs[m]])
            value_of[m] = self.add_value(program, m, operands)
        written = [m for m in members if m == group.root or m in self.stored]
        slots = [self.add_output(program, group, m, value_of[m]) for m in written]
        donors = []
        for m in written:
            donors.append(self.donor(program, group, m, value_of[m], donors))
        self.add_program(program, slots, donors)

    def inside(self, i, group):
        """The member that computes operand i, seen through aliases, or None."""
        while self.kinds[i] == ALIAS and self.wanted[i] is group and i not in self.stored:
            i = self.inputs[i][0]
        return i if self.group_of[i] is group else None

    def operand(self, program, value_of, group, i):
        member = self.inside(i, group)
        if member is not None:
            return value_of[member]
        slot, offset, shape, strides = self.locate(i)
        strides = squeeze_strides(shape, strides)
        strides += (0,) * (len(program.space) - len(strides))
        return add_to(program, ("load", node_dtype(self.nodes[i]), slot, offset, strides))

    def add_value(self, program, m, operands):
        node = self.nodes[m]
        op = node_op(node)
        source = node_dtype(self.nodes[self.inputs[m][-1]])
        if op == ASTYPE:
            return add_to(program, ("cast", source, node_dtype(node), operands[0]))
        if self.kinds[m] == REDUCE:
            return add_to(program, ("reduce", op, source, operands[0]))
        return add_to(program, ("op", op, source, operands))

    def add_output(self, program, group, m, value):
        slot = self.materialize(m)
        shape = squeezed(self.shapes[m])
        item = itemsize_of(self.nodes[m])
        strides = dense_strides(shape, item)
        if group.reduced is not None and self.kinds[m] == REDUCE:
            kept = iter(strides)
            strides = tuple([0 if axis in group.reduced else next(kept)
                             for axis in range(len(group.space))])
        else:
            strides += (0,) * (len(group.space) - len(strides))
        program.outputs.append((value, node_dtype(self.nodes[m]), slot, strides))
        return slot

    def donor(self, program, group, m, value, taken):
        """The slot whose memory output m may take over: dense, of its size, read for the last time
        before m is written.

        Whether it is indeed the last use is known when all steps stand; `settle` drops the others.
        """
        if group.reduced is not None or squeezed(self.shapes[m]) != group.space or not group.space:
            return -1
        item = itemsize_of(self.nodes[m])
        nbytes = prod(group.space) * item
        wanted = dense_strides(group.space, item)
        last = last_uses(program)
        for k, entry in enumerate(program.values):
            if entry[0] != "load" or entry[2] in taken:
                continue
            _, source, slot, offset, strides = entry
            loads = [v for v in program.values if v[0] == "load" and v[2] == slot]
            fits = offset == 0 and strides == wanted and size_of_dtype(source) == item
            if fits and len(loads) == 1 and last[k] <= value and self.may_donate(slot, nbytes):
                return slot
        return -1

    def may_donate(self, slot, nbytes):
        """Whether a slot's memory may be written to: a leaf's if nobody else holds it, a step's if
        all of it is read."""
        if slot in self.leaf_of_slot:
            return self.leaf_of_slot[slot] in self.donatable
        return self.slot_bytes[slot] == nbytes

    def settle(self):
        """Find each slot's last step, drop donations of what lives on, and say what dies where."""
        held = {self.layouts[k][0] for k in self.stored if not is_bundle(self.nodes[k])}
        last = {}
        for position, reads in enumerate(self.step_reads):
            for slot in reads:
                last[slot] = position
        dead = [[] for _ in self.steps]
        for slot, position in last.items():
            if slot not in held:
                dead[position].append(slot)
        for position, step in enumerate(self.steps):
            given = keep_donors(step, last, held, position)
            set_dead(step, [slot for slot in dead[position] if slot not in given])


cdef object node_shape(Node node):
    return shape_tuple(node)


cdef object node_strides(Node node):
    return tuple([node.strides[axis] for axis in range(node.ndim)])


cdef object node_inputs(Node node):
    """Positions in the walk of a node's inputs; none for what is already evaluated."""
    if node.flags & EVALUATED:
        return []
    return [(<Node>node.inputs[k]).index for k in range(node.nin)]


cdef int node_op(Node node):
    return -1 if node.flags & EVALUATED else node.op


cdef object node_params(Node node):
    return node.params


cdef int node_dtype(Node node):
    return node.dtype


cdef object dtype_name(Node node):
    from mlxc._graph.dtypes import DTYPES
    return DTYPES[node.dtype].name


cdef int code_of_dtype(str name):
    from mlxc._table.dtypes import CODE
    return CODE[name]


cdef int itemsize_of(Node node):
    return itemsize[node.dtype]


cdef int size_of_dtype(int dtype):
    return itemsize[dtype]


cdef int kind_of(Node node) except -1:
    """How the scheduler treats a node."""
    cdef int op = node_op(node)
    cdef int kind
    cdef tuple old
    if op < 0:
        return LEAF
    kind = row_kind[op]
    if kind == ELEMENTWISE or op == ASTYPE:
        return POINTWISE
    if op == ATTACH:
        return NAME
    if kind == REDUCTION:
        old = shape_tuple(<Node>node.inputs[0])
        return ALIAS if all([old[a] == 1 for a in node.params[0]]) else REDUCE
    if op == BROADCAST:
        old = shape_tuple(<Node>node.inputs[0])
        return ALIAS if repeats_trailing(old, shape_tuple(node)) else MOVE
    if op == RESHAPE and FUSE:
        old = shape_tuple(<Node>node.inputs[0])
        return ALIAS if squeezed(old) == squeezed(shape_tuple(node)) else MOVE
    return MOVE if kind == MOVEMENT else BIG


cdef bint is_bundle(Node node):
    return node.flags & BUNDLE != 0


cdef list bundle_outputs(Node node):
    """The picks of a bundle; None for one that has died."""
    return [None if node.outputs[k] == NULL else <Node>node.outputs[k]
            for k in range(node.noutputs)]


cdef int squeezed_position(tuple shape, int axis):
    """Where an axis stands once axes of size 1 are left out."""
    return len([size for size in shape[:axis] if size != 1])


cdef int add_to(Program program, tuple value):
    return program.add(value)


cdef bint is_on_device(Node node):
    """Whether the device is to run a node: none computes float64, which is the processor's."""
    cdef int k
    if not node.flags & ON_DEVICE or node.dtype == FLOAT64:
        return False
    for k in range(node.nin):
        if (<Node>node.inputs[k]).dtype == FLOAT64:
            return False
    return True


cdef Executable lower_on_device(Program program):
    """None: the device cannot run it, or there is none."""
    cdef Backend backend = device_backend()
    return None if backend is None else backend.lower(program)


cdef Executable kernel_on_device(str name, object params, list inputs, list outputs):
    cdef Backend backend = device_backend()
    return None if backend is None else backend.kernel(name, params, inputs, outputs)


cdef Step device_step(Executable executable, str name, list outputs):
    """A step that runs a Kernel row on the device."""
    cdef Step step = program_step(executable, None, outputs, [-1] * len(outputs))
    step.name = name
    return step


cdef tuple wishes_of(Executable executable):
    return executable.scratch or [], executable.alignment or {}


cdef int tell_scratch(Executable executable, list slots) except -1:
    return executable.take_scratch(slots)


cdef Executable lower(Backend backend, Program program):
    return backend.lower(program)


cdef list operands_of(tuple value):
    """The values that a value reads."""
    if value[0] == "op":
        return list(value[3])
    return [value[3]] if value[0] in ("cast", "reduce") else []


cdef bint is_difference(tuple value):
    return value[0] == "op" and ROW_NAMES[value[1]] == "subtract"


cdef list last_uses(Program program):
    """For each value, the last place where it may be read. A back end may compute a value that only
    one other reads as part of that other one, and differences as part of all that read them: their
    operands are then read that late."""
    count = len(program.values)
    readers = [[] for _ in range(count)]
    for k, value in enumerate(program.values):
        for operand in set(operands_of(value)):
            readers[operand].append(k)
    written = {output[0] for output in program.outputs}
    place = list(range(count))   # where a value may be computed at the latest
    for k in range(count - 1, -1, -1):
        if k not in written and (len(readers[k]) == 1 or is_difference(program.values[k])):
            place[k] = max([place[reader] for reader in readers[k]], default=k)
    return [max([place[reader] for reader in readers[k]], default=k) for k in range(count)]


cdef set keep_donors(Step step, dict last, set held, int position):
    """Which of a step's donations stand."""
    cdef int k
    given = set()
    for k in range(step.nout):
        if step.donors[k] >= 0 and (last[step.donors[k]] != position or step.donors[k] in held):
            step.donors[k] = -1
        if step.donors[k] >= 0:
            given.add(step.donors[k])
    return given


cdef bint runs_on_device(Step step):
    return step.program is not None and step.program.on_device


cdef Plan make_plan(list nodes, set stored, set donatable, Backend backend):
    """The plan for nodes in topological order; ``stored`` and ``donatable`` hold positions."""
    cdef Plan plan = Plan.__new__(Plan)
    planner = Planner(nodes, stored, donatable, backend)
    planner.group_nodes()
    planner.emit()
    planner.settle()
    plan.steps = planner.steps
    plan.nslots = planner.nslots
    plan.nwindow = len(nodes)
    plan.nleaves = sum([1 for kind in planner.kinds if kind == LEAF])
    plan.stored = []
    for k in sorted(stored):
        if is_bundle(nodes[k]):
            continue
        plan.stored.append(stored_at(k, planner.layouts[k]))
    plan.kinds = planner.kinds
    plan.layouts = planner.layouts
    plan.step_of = planner.step_of
    plan.work = sum([(<Step>step).work for step in plan.steps])
    plan.alignment = planner.alignment
    plan.on_device = any([runs_on_device(step) for step in plan.steps])
    return plan
