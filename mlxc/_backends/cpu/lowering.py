"""From a program to instructions over tiles: which loops, which registers, what shape of tile.

The iteration space is seen as rows of columns. A register holds one value for the whole space
(SINGLE), one a row (COLUMN), or the full tile (FULL); an instruction works on the largest shape
among its operands, and smaller operands are handed to loops that take a single value, or are
expanded. Narrow dtypes are computed in their compute type and wrapped after each operation; half
floats stay float32 between instructions, and are rounded where a cast asks for it, and where it
could be seen that they were not: before comparisons, steps and casts to other dtypes.
"""

from math import prod

from mlxc._table import load_rows
from mlxc._table.dtypes import COMPUTE_SIZE, DTYPES

from . import macros
from .kernels import TABLE

SINGLE, COLUMN, FULL = range(3)
LOOP, EXPAND, REPEAT, FOLD, COPY = range(5)
# Bytes that the registers of a tile may fill: a part of the first-level cache, since the hardware
# fetches what the next tiles need at the same time.
FIRST_LEVEL = 12288
MANY_STREAMS = 5  # of a map: then it fetches so much ahead that tiles must leave more room
LEFT_ROOM = 8192  # bytes of a tile's registers beside them
PLAIN = 1 << 15  # elements of a tile of which nothing is kept between loops
ROWS = load_rows()
NARROW = ("u8", "u16", "i8", "i16")
HALF = ("f16", "bf16")


def collapse(sizes, strides_list):
    """Merge neighbouring dimensions that every stream walks as one: (sizes, strides a stream)."""
    dims = [
        (size, [strides[axis] for strides in strides_list])
        for axis, size in enumerate(sizes)
        if size != 1
    ]
    merged = []
    for size, steps in dims:
        if merged and all(before == step * size for before, step in zip(merged[-1][1], steps)):
            merged[-1] = (merged[-1][0] * size, steps)
        else:
            merged.append((size, steps))
    return [size for size, _ in merged], [
        [steps[k] for _, steps in merged] for k in range(len(strides_list))
    ]


def kernel_address(name):
    """The address of a loop; RuntimeError names what is missing."""
    try:
        return TABLE[name]
    except KeyError:
        raise RuntimeError(f"[kernels] there is no loop {name!r}") from None


class Lowering:
    """One program being lowered. ``outer`` and ``within`` are the sizes of the rows' and the
    columns' dimensions."""

    def __init__(self, program, outer_axes, within_axes, fold=True):
        self.program = program
        loads = [k for k, value in enumerate(program.values) if value[0] == "load"]
        streams = [program.values[k][4] for k in loads] + [output[3] for output in program.outputs]
        space = program.space
        self.outer, outer = collapse(
            [space[a] for a in outer_axes], [[s[a] for a in outer_axes] for s in streams]
        )
        self.within, within = collapse(
            [space[a] for a in within_axes], [[s[a] for a in within_axes] for s in streams]
        )
        if fold and len(self.within) > 1 and program.kind == "map":
            # A map may treat all but the innermost dimension as rows.
            self.outer, self.within = self.outer + self.within[:-1], self.within[-1:]
            outer = [a + b[:-1] for a, b in zip(outer, within)]
            within = [b[-1:] for b in within]
        self.rows = prod(self.outer)
        self.columns = prod(self.within)
        self.stream_outer, self.stream_within = outer, within
        self.loads = loads
        self.code = []
        self.streams = []
        self.shapes = []  # of registers
        self.sizes = []  # bytes an element, of registers
        self.fixed = []  # whether a stream points the register
        self.reg_of = {}  # value -> register
        self.wider = {}  # cast value -> register that is not yet narrowed; storing narrows
        self.types = {}  # value -> compute type
        self.expanded = {}  # (register, shape) -> register
        self.stored = {}  # value -> (register, dtype's word) of what is loaded as it is
        self.packed = {}  # value -> register that holds it as it is to be stored
        self.center = -1  # register of what is taken away before squares are summed up

    # ---- registers and streams

    def register(self, shape, size, fixed=False):
        self.shapes.append(shape)
        self.sizes.append(size)
        self.fixed.append(fixed)
        return len(self.shapes) - 1

    def stream_shape(self, position):
        if any(self.stream_within[position]):
            return FULL
        return COLUMN if any(self.stream_outer[position]) else SINGLE

    def dense_in_row(self, position, item):
        for size, stride in zip(reversed(self.within), reversed(self.stream_within[position])):
            if stride != item:
                return False
            item *= size
        return True

    def add_stream(self, position, slot, offset, item, output, reg, shape):
        outer, within = self.stream_outer[position], self.stream_within[position]
        in_row = shape != FULL or self.dense_in_row(position, item)
        step = item * (self.columns if shape == FULL else 1)
        dense = in_row
        for size, stride in zip(reversed(self.outer), reversed(outer)):
            dense = dense and stride == step
            step *= size
        several = self.tile_rows > 1
        direct = shape == SINGLE or (dense if several else in_row)
        self.streams.append(
            (
                slot,
                offset,
                reg,
                shape,
                item,
                direct,
                dense,
                output,
                within[-1] if within else 0,
                tuple(outer),
                tuple(within),
            )
        )
        return direct

    def first_level(self):
        """Bytes that the registers of a tile may fill."""
        streams = len(self.loads) + len(self.program.outputs)
        full = sum(self.stream_shape(position) == FULL for position in range(streams))
        return LEFT_ROOM if self.program.kind == "map" and full >= MANY_STREAMS else FIRST_LEVEL

    def choose_tile(self, live):
        """Rows and columns of a tile, so that live float32 registers fit the first-level cache."""
        room = max(256, self.first_level() // (4 * max(live, 1)) // 64 * 64)
        if live <= 2:
            room = 8192
        self.tile_columns = max(1, self.columns)
        if self.program.kind == "map" or self.program.kind == "reduce":
            if self.columns * 2 > room or self.rows == 1:
                self.tile_rows, self.tile_columns = 1, max(1, min(self.columns, room))
                return
        self.tile_rows = max(1, min(self.rows, room // max(self.columns, 1)))

    # ---- instructions

    def emit(self, kind, name, args, shape, item=0):
        function = kernel_address(name) if name else 0
        self.code.append((function, kind, tuple(args), shape, item, name))

    def grow(self, reg, shape):
        """The register expanded to a larger shape."""
        if self.shapes[reg] >= shape:
            return reg
        key = (reg, shape)
        if key not in self.expanded:
            size = self.sizes[reg]
            wide = self.register(shape, size)
            if self.shapes[reg] == COLUMN and self.tile_rows > 1:
                self.emit(EXPAND, f"expand_{size}", (reg, wide), shape, size)
            else:
                self.emit(REPEAT, f"fill_{size}_s", (reg, wide), shape, size)
            self.expanded[key] = wide
        return self.expanded[key]

    def single_like(self, reg):
        """Whether a loop may read the register once for the whole tile."""
        return self.shapes[reg] == SINGLE or (self.shapes[reg] == COLUMN and self.tile_rows == 1)

    def lower_load(self, k, position):
        _, dtype, slot, offset, _ = self.program.values[k]
        fact = DTYPES[dtype]
        shape = self.stream_shape(position)
        reg = self.register(shape, fact.size, fixed=True)
        direct = self.add_stream(position, slot, offset, fact.size, False, reg, shape)
        if not direct:
            self.fixed[reg] = False  # gathered into scratch
        self.types[k] = fact.compute
        if fact.short != fact.compute and fact.name != "bool_":
            wide = self.register(shape, COMPUTE_SIZE[fact.compute])
            self.emit(LOOP, f"load_{fact.short}_v", (reg, wide), shape)
            self.stored[k] = reg, fact.short
            reg = wide
        self.reg_of[k] = reg

    def lower_op(self, k):
        _, row_code, dtype, operands = self.program.values[k]
        row = ROWS[row_code]
        fact = DTYPES[dtype]
        compute = fact.compute
        if self.in_one_pass(k, row.name):
            return
        if row.jumps:
            regs = [self.rounded(i, fact.short) for i in operands]
        else:
            regs = [self.reg_of[i] for i in operands]
        self.loop(k, row.name, compute, regs)
        if row.out == "bool":
            self.types[k] = "b8"
        elif row.out == "real" and compute == "c64":
            self.types[k] = "f32"
        else:
            self.types[k] = compute
            if fact.short in NARROW:
                self.emit_in_place(k, f"wrap_{fact.short}_v")

    def rounded(self, k, short):
        """The register of a value as it would be stored: half floats are loaded or cast already
        rounded, operations leave them float32."""
        reg = self.reg_of[k]
        if short not in HALF or self.values[k][0] in ("load", "cast"):
            return reg
        narrow = self.register(self.shapes[reg], COMPUTE_SIZE["f32"])
        self.emit(LOOP, f"round_{short}_v", (reg, narrow), self.shapes[reg])
        return narrow

    def loop(self, k, name, compute, regs):
        """An elementwise loop in the layout that avoids most expansions."""
        layout, shape = self.layout_of(regs)
        if f"{name}_{compute}_{layout}" not in TABLE:
            swapped = layout[::-1]
            if len(regs) == 2 and layout == "sv" and f"{name}_{compute}_{swapped}" in TABLE:
                regs, layout = regs[::-1], swapped  # commutative rows have one of the two
            else:
                layout = self.nearest_layout(name, compute, layout)
        regs = [
            self.grow(reg, shape) if letter == "v" else reg for reg, letter in zip(regs, layout)
        ]
        out_type = self.result_type(name, compute)
        out = self.register(shape, COMPUTE_SIZE[out_type])
        self.emit(LOOP, f"{name}_{compute}_{layout}", (*regs, out), shape)
        self.reg_of[k] = out

    def layout_of(self, regs):
        """Letters of a loop that would expand no single value, and the shape of what it writes."""
        shape = max(self.shapes[reg] for reg in regs)
        letters = ("s" if self.shapes[r] < shape and self.single_like(r) else "v" for r in regs)
        return "".join(letters), shape

    def in_one_pass(self, k, name, layout=""):
        """Whether a loop from half floats to half floats does for a value that is made of what was
        loaded, and only stored; then it is emitted."""
        operands = self.values[k][3]
        at, short = self.only_stored.get(k, (k, ""))
        if short not in HALF:
            return False
        layout = layout or self.layout_of([self.reg_of[i] for i in operands])[0]
        kernel = f"{name}_{short}_{layout}"
        if kernel not in TABLE:
            return False
        regs = []
        for i, letter in zip(operands, layout):
            if letter == "s":
                regs.append(self.reg_of[i])
            elif i in self.stored and self.stored[i][1] == short:
                regs.append(self.stored[i][0])
            else:
                return False
        if any(self.shapes[r] != FULL for r, letter in zip(regs, layout) if letter == "v"):
            return False
        self.packed[at] = self.register(FULL, 2)
        self.emit(LOOP, kernel, (*regs, self.packed[at]), FULL)
        return True

    def find_only_stored(self, needed):
        """Of values that nothing else is made of, and that are stored in the dtype they are of:
        themselves and the dtype's word. Of what such a value is a cast of, the same."""
        read = [i for k, v in enumerate(self.values) if needed[k] for i in macros.operands_of(v)]
        outputs = self.program.outputs
        cast = {value for value, dtype, *_ in outputs if dtype != self.values[value][2]}
        found, written = {}, {output[0] for output in outputs}
        for k in written - set(read) - cast:
            found[k] = k, DTYPES[self.values[k][2]].short
            kind, dtype, _, operand = self.values[k][:4]
            if kind == "cast" and DTYPES[dtype].short == "f32":
                if read.count(operand) == 1 and operand not in written:
                    found[operand] = found[k]
        return found

    def nearest_layout(self, name, compute, layout):
        """A layout there is a loop for, with as many of the wanted single values as possible."""
        for position, letter in enumerate(layout):
            if letter == "s":
                other = layout[:position] + "v" + layout[position + 1 :]
                if f"{name}_{compute}_{other}" in TABLE:
                    return other
        return "v" * len(layout)

    def result_type(self, name, compute):
        from mlxc._table.rows import BY_NAME

        row = BY_NAME.get(name)
        if row is None:
            return compute
        if row.out == "bool":
            return "b8"
        return "f32" if row.out == "real" and compute == "c64" else compute

    def emit_in_place(self, k, name):
        reg = self.reg_of[k]
        self.emit(LOOP, name, (reg, reg), self.shapes[reg])

    def lower_cast(self, k):
        if k in self.packed:
            return
        _, source, target, operand = self.program.values[k]
        source, target = DTYPES[source], DTYPES[target]
        reg = self.rounded(operand, source.short)
        if source.compute != target.compute:
            wide = self.register(self.shapes[reg], COMPUTE_SIZE[target.compute])
            self.emit(
                LOOP, f"cast_{source.compute}_{target.compute}_v", (reg, wide), self.shapes[reg]
            )
            reg = wide
        short = target.short
        narrowing = "wrap" if short in NARROW else "round" if short in HALF else ""
        if narrowing and short != source.short:
            self.wider[k] = reg
            narrow = self.register(self.shapes[reg], COMPUTE_SIZE[target.compute])
            self.emit(LOOP, f"{narrowing}_{short}_v", (reg, narrow), self.shapes[reg])
            reg = narrow
        self.reg_of[k] = reg
        self.types[k] = target.compute
        if reg == self.reg_of[operand] and operand in self.stored:
            self.stored[k] = self.stored[operand]

    def fold_source(self, k):
        """What a reduction reads, the register of a center or -1, and the first words of its
        kernel: values are read as they are stored, if it has a loop for them."""
        kind, row_code, dtype, operands = self.values[k]
        operand, center, name = operands, -1, ROWS[row_code].name
        if kind == "squares":
            operand, name = operands[0], f"{name}_square"
            if len(operands) == 2:
                center, name = self.reg_of[operands[1]], f"{ROWS[row_code].name}_centered"
        reg, short = self.stored.get(operand, (-1, ""))
        if f"{name}_{short}_cols" in TABLE and self.shapes[reg] == FULL:
            return reg, center, f"{name}_{short}"
        return self.grow(self.reg_of[operand], FULL), center, f"{name}_{DTYPES[dtype].compute}"

    def lower_fold(self, k):
        """A reduction along the row: FULL to COLUMN."""
        dtype = self.values[k][2]
        reg, center, words = self.fold_source(k)
        compute = DTYPES[dtype].compute
        out = self.register(COLUMN, COMPUTE_SIZE[compute])
        read = (reg,) if center < 0 else (reg, self.grow(center, COLUMN))
        self.emit(FOLD, f"{words}_rows", (*read, out), COLUMN)
        self.reg_of[k] = out
        self.types[k] = compute
        if DTYPES[dtype].short in NARROW:
            self.emit_in_place(k, f"wrap_{DTYPES[dtype].short}_v")

    def lower_output(self, position, output):
        value, dtype, slot, _ = output
        fact = DTYPES[dtype]
        # With a single row, what is one value a row is the whole output: still computed tile by
        # tile.
        reg = self.packed.get(value) or self.wider.get(value, self.reg_of.get(value))
        shape = max(self.stream_shape(position), self.shapes[reg])
        reg = self.grow(reg, shape)
        target = self.register(shape, fact.size, fixed=True)
        self.add_stream(position, slot, 0, fact.size, True, target, shape)
        narrow = fact.short != fact.compute and fact.name != "bool_"
        if narrow and value not in self.packed:
            self.emit(LOOP, f"store_{fact.short}_v", (reg, target), shape)
        else:
            self.emit(COPY, "", (reg, target), shape, fact.size)

    def lower_macro(self, k):
        _, name, _, operands = self.values[k]
        word, layout = name.split("_f32_")
        if self.in_one_pass(k, word, layout):
            return
        regs = [self.reg_of[i] for i in operands]
        shape = max(self.shapes[reg] for reg in regs)
        regs = [
            self.grow(reg, shape) if letter == "v" else reg for reg, letter in zip(regs, layout)
        ]
        out = self.register(shape, COMPUTE_SIZE["f32"])
        self.emit(LOOP, name, (*regs, out), shape)
        self.reg_of[k] = out
        self.types[k] = "f32"

    # ---- the whole

    def value_shapes(self, position):
        """SINGLE, COLUMN or FULL of every value, before any register exists."""
        shapes = []
        for k, value in enumerate(self.program.values):
            if value[0] == "load":
                shapes.append(self.stream_shape(position[k]))
            elif value[0] == "reduce":
                shapes.append(COLUMN)
            else:
                shapes.append(max(shapes[i] for i in macros.operands_of(value)))
        return shapes

    def with_macros(self, position):
        """The program's values, groups that a macro kernel computes replaced by it, and which are
        needed."""
        values = self.program.values
        if not macros.ENABLED:
            return values, [True] * len(values)
        shapes = self.value_shapes(position)
        single = [shape == SINGLE or (shape == COLUMN and self.tile_rows == 1) for shape in shapes]

        def central(x, center):
            if shapes[x] != FULL:
                return False
            if self.program.kind == "rows":
                return shapes[center] != FULL
            if self.by_rows():
                return single[center]
            return self.down_columns(position.get(center))

        outputs = [output[0] for output in self.program.outputs]
        return macros.Matcher(values, outputs, single, central).rewrite()

    def by_rows(self):
        """Whether the innermost dimension is reduced."""
        return len(self.program.space) - 1 in self.program.reduced

    def down_columns(self, position):
        """Whether a stream gives each column one value, the same in all rows that are reduced."""
        if position is None or self.stream_shape(position) != FULL:
            return False
        left = prod(self.program.space[a] for a in self.program.reduced)
        for size, step in zip(reversed(self.outer), reversed(self.stream_outer[position])):
            if left <= 1:
                break
            if step != 0:
                return False
            left //= size
        return True

    def estimate_live(self, position):
        """How many full registers are alive at once, roughly."""
        count, best, last = 0, 1, {}
        shapes = self.value_shapes(position)
        full = [k for k, shape in enumerate(shapes) if shape == FULL]
        for k in full:
            last |= dict.fromkeys((k, *macros.operands_of(self.program.values[k])), k)
        for k in full:
            count += 1
            best = max(best, count)
            count -= sum(1 for i, end in last.items() if end == k and shapes[i] == FULL)
        return best + 1

    def lower(self, result=None, tile=None):
        """Lower everything; ``result`` names the value that a reduction driver folds itself, and
        ``tile`` the rows and columns of tiles, if they are not to be chosen."""
        position = {k: p for p, k in enumerate(self.loads)}
        if tile is None:
            self.choose_tile(self.estimate_live(position))
        else:
            self.tile_rows, self.tile_columns = tile
        self.values, needed = self.with_macros(position)
        self.only_stored = self.find_only_stored(needed)
        for k, value in enumerate(self.values):
            if not needed[k]:
                continue
            if value[0] == "macro":
                self.lower_macro(k)
            elif value[0] == "load":
                self.lower_load(k, position[k])
            elif value[0] == "op":
                self.lower_op(k)
            elif value[0] == "cast":
                self.lower_cast(k)
            elif k != result:
                self.lower_fold(k)
        self.result = -1
        if result is not None:
            self.result, self.center, self.folded = self.fold_source(result)
        else:
            for p, output in enumerate(self.program.outputs):
                self.lower_output(len(self.loads) + p, output)
            self.write_directly()
        self.drop_unread()
        if tile is None:
            self.enlarge_tile()
        return self

    def drop_unread(self):
        """Leave out what nobody reads: values that were widened, but are folded as stored, or
        narrowed, but stored from what they were."""
        read, code = {self.result, self.center}, []
        for instruction in reversed(self.code):
            *operands, target = instruction[2]
            if self.fixed[target] or target in read:
                read.update(operands)
                code.append(instruction)
        self.code = code[::-1]

    def enlarge_tile(self):
        """Tiles need not fit the first-level cache if folds alone, or one loop alone, read all of
        them from memory."""
        full = [stream for stream in self.streams if stream[3] == FULL]
        loops = [c for c in self.code if c[3] == FULL]
        folds = any(c[1] == FOLD for c in self.code) or self.result >= 0
        held = {reg for c in loops for reg in c[2] if self.shapes[reg] == FULL}
        if len(loops) > (0 if folds else 1) or not all(stream[5] for stream in full):
            return
        if not held <= {stream[2] for stream in full}:
            return
        if self.tile_rows > 1:
            room = max(self.tile_rows, PLAIN // max(self.columns, 1))
            self.tile_rows = min(self.rows, room)
        elif self.tile_columns < self.columns:
            self.tile_columns = min(self.columns, max(self.tile_columns, PLAIN))

    def write_directly(self):
        """Let the instruction that computes an output write it in place of a copy at the end."""
        for at in range(len(self.code) - 1, -1, -1):
            _, kind, args, shape, _, _ = self.code[at]
            if kind != COPY:
                continue
            source, target = args
            writers = [i for i, c in enumerate(self.code) if c[2][-1] == source]
            if self.fixed[source] or len(writers) == 0 or self.is_gathered(source):
                continue
            if (
                self.shapes[source] != self.shapes[target]
                or self.sizes[source] != self.sizes[target]
            ):
                continue
            self.code = [
                (f, kd, tuple(target if r == source else r for r in a), s, i, n)
                for f, kd, a, s, i, n in self.code[:at] + self.code[at + 1 :]
            ]

    def is_gathered(self, reg):
        return any(stream[2] == reg for stream in self.streams)

    def allocate(self):
        """Offsets into scratch: full registers share space when their lives do not overlap."""
        last = {}
        for at, (_, _, args, _, _, _) in enumerate(self.code):
            for reg in args:
                last[reg] = at
        if self.result >= 0:
            last[self.result] = last[self.center] = len(self.code)
        gathered = {stream[2] for stream in self.streams if not stream[5]}
        offsets = [-1] * len(self.shapes)
        total = 0
        full = (self.tile_rows * self.tile_columns + 15) // 16 * 16
        for reg, shape in enumerate(self.shapes):
            if not self.fixed[reg] and shape != FULL:
                offsets[reg] = total
                total += (self.tile_rows * 8 + 63) // 64 * 64 if shape == COLUMN else 64
        free = {}
        for reg in sorted(gathered):
            if self.shapes[reg] == FULL:
                offsets[reg] = total
                total += (full * self.sizes[reg] + 63) // 64 * 64
        for at, (_, _, args, _, _, _) in enumerate(self.code):
            target = args[-1]
            if not self.fixed[target] and offsets[target] < 0:
                pool = free.setdefault(self.sizes[target], [])
                if pool:
                    offsets[target] = pool.pop()
                else:
                    offsets[target] = total
                    total += (full * self.sizes[target] + 63) // 64 * 64
            for reg in set(args):
                if (
                    last[reg] == at
                    and self.shapes[reg] == FULL
                    and not self.fixed[reg]
                    and reg not in gathered
                ):
                    free.setdefault(self.sizes[reg], []).append(offsets[reg])
        self.offsets = offsets
        self.scratch = total + 64

    def describe(self):
        """The instructions as text."""
        lines = [f"tiles {self.rows} x {self.columns} by {self.tile_rows} x {self.tile_columns}"]
        lines += [
            f"  stream slot {s[0]} r{s[2]} shape {s[3]} direct {s[5]} out {s[7]}"
            for s in self.streams
        ]
        lines += [f"  {n or 'copy'} {a} shape {s}" for _, _, a, s, _, n in self.code]
        return "\n".join(lines)
