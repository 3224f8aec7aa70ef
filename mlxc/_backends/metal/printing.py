"""Programs of the scheduler as MSL: statements, and offsets of elements.

A `Kernel` collects the text of one kernel and the numbers it is handed. Sizes and strides are not
part of the text, but of the constant argument ``layout``, so that one kernel serves many shapes;
what is part of it is which streams repeat (stride 0) and which are dense (stride 1).

Elements of less than four bytes are read and written in packs, of several neighbours, where the
layout allows it: a step of such a kernel is a pack, and a loop over ``e`` has its elements. Where
the memory lies is known when the kernel runs, so it looks itself whether packs may be read whole.
"""

from dataclasses import dataclass
from math import prod

from mlxc._table import load_rows
from mlxc._table.dtypes import CODE, DTYPES

from . import expressions
from .layout import joined

__all__ = ["OPERATIONS", "Kernel", "Stream", "Unprintable"]

ROWS = load_rows()
INT_LIMIT = 2**31
MOST_BUFFERS = 30  # of 31: one is the layout
MOST_LAYOUT = 4096  # bytes
PACKED = (8, 4)  # bytes of the narrowest elements of a pack, the best first
HALVES = ("float16", "bfloat16")
# Reduction rows and their operations in shaders/reduce.h.
OPERATIONS = {
    "sum": "Sum",
    "prod": "Product",
    "max": "Maximum",
    "min": "Minimum",
    "all": "All",
    "any": "Any",
}


class Unprintable(Exception):
    """The program cannot be a kernel of this device."""


@dataclass
class Stream:
    """A load or an output: memory, walked along the space."""

    name: str  # of the argument
    dtype: str
    slot: int
    offset: int  # bytes
    strides: tuple[int, ...]  # elements, along the space
    value: int  # of the program
    written: bool


def _dtype(code):
    name = DTYPES[code].name
    if name not in expressions.STORED:
        raise Unprintable(f"{name} is no type of MSL")
    return name


def _elements(strides, item, offset):
    if offset % item or any(stride % item for stride in strides):
        raise Unprintable("an element stands at no multiple of its size")
    return tuple(stride // item for stride in strides)


class Kernel:
    """The text of a kernel for a program, and its layout argument."""

    def __init__(self, program):
        self.program = program
        self.streams = []
        self.headers = {"common.h"}
        self.layout = []
        self.lines = []
        self.types = [None] * len(program.values)  # compute type of each value
        self.stream_of = {}  # value of a load -> stream
        self.kept = {}  # value that is fetched or computed before it is needed -> text
        self.divisors = set()  # values of which there is a Divisor
        self.pack = 1  # elements of a step; 1: each by itself
        self.packed = set()  # names of the streams that are read or written in packs
        self.there = "1"  # how many elements of a pack there are, where it is not whole
        for k, value in enumerate(program.values):
            if value[0] == "load":
                _, code, slot, offset, strides = value
                self.stream_of[k] = self._stream("in", code, slot, offset, strides, k, False)
        self.outputs = [
            self._stream("out", code, slot, 0, strides, value, True)
            for value, code, slot, strides in program.outputs
        ]
        if len(self.streams) > MOST_BUFFERS:
            raise Unprintable(f"{len(self.streams)} streams")
        self.wide = self._reach() >= INT_LIMIT
        self.whole, self.step = ("ulong", "long") if self.wide else ("uint", "int")

    def _stream(self, prefix, code, slot, offset, strides, value, written):
        dtype = _dtype(code)
        strides = _elements(strides, DTYPES[code].size, offset)
        name = f"{prefix}{sum(s.written == written for s in self.streams)}"
        stream = Stream(name, dtype, slot, offset, strides, value, written)
        self.streams.append(stream)
        return stream

    def _reach(self):
        """The largest distance in elements that a counter has to hold."""
        space = self.program.space
        total = prod(space)
        reaches = [
            sum(abs(stride) * (size - 1) for size, stride in zip(space, stream.strides))
            for stream in self.streams
        ]
        return max([total, *reaches])

    # ---- the layout argument

    def number(self, value):
        """A number of the layout argument, as text."""
        self.layout.append(value)
        if len(self.layout) * 8 > MOST_LAYOUT:
            raise Unprintable("too many sizes and strides")
        return f"layout[{len(self.layout) - 1}]"

    def joined(self, axes):
        """Sizes, and strides a stream, along axes of the space; neighbours joined."""
        space = self.program.space
        strides = [[stream.strides[axis] for axis in axes] for stream in self.streams]
        sizes, *steps = joined([space[axis] for axis in axes], *strides)
        return list(sizes), [list(step) for step in steps]

    # ---- packs

    def choose_pack(self, last, others, size, ragged=False, results=True, sizes=PACKED, most=16):
        """Let a step along an axis be a pack, if memory allows it.

        Args:
            last: the stride of each stream along the axis.
            others: its strides along all other axes.
            size: of the axis.
            ragged: whether the last pack may have less elements than the others.
            results: whether outputs are written in packs, too.
            sizes: bytes of the narrowest elements of a pack, the best first.
            most: elements of a pack.
        """
        moving = [
            k for k, step in enumerate(last) if step and (results or not self.streams[k].written)
        ]
        items = [DTYPES[CODE[self.streams[k].dtype]].size for k in moving]
        if not items or min(items) >= 4 or max(items) > 4:
            return
        for nbytes in sizes:
            pack = nbytes // min(items)
            fits = 1 < pack <= min(size, most) and (ragged or size % pack == 0)
            fits = fits and (pack * max(items) <= 16 or nbytes == sizes[-1])
            for k, item in zip(moving, items):
                steps = any(step % pack for step in others[k])
                here = self.streams[k].offset % min(16, pack * item)
                fits = fits and last[k] == 1 and not steps and not here
            if fits:
                break
        else:
            return
        self.pack, self.there = pack, str(pack)
        self.packed = {self.streams[k].name for k in moving}
        places = [
            f"misplaced({self.streams[k].name}, {min(16, pack * item)})"
            for k, item in zip(moving, items)
        ]
        self.add(f"const bool placed = ({' | '.join(places)}) == 0;")
        self.add("const bool whole = placed;") if not ragged else None

    def in_packs(self, sizes, strides):
        """Sizes and strides whose last axis goes by packs."""
        if self.pack == 1:
            return sizes, strides
        sizes = [*sizes[:-1], -(-sizes[-1] // self.pack)]
        return sizes, [[*each[:-1], each[-1] * self.pack] for each in strides]

    def pack_type(self, stream):
        return f"Pack<{expressions.STORED[stream.dtype]}, {self.pack}>"

    def load_packs(self, values, at, depth):
        """Packs of the loads among `values`, ahead of the loop over their elements."""
        for k in values:
            stream = self.stream_of.get(k)
            if stream is not None and stream.name in self.packed and k not in self.kept:
                self.add(
                    f"const {self.pack_type(stream)} pack{k} = {self._pack(stream, at)};", depth
                )

    def _pack(self, stream, at):
        kind = f"{expressions.STORED[stream.dtype]}, {self.pack}"
        return f"load_pack<{kind}>({stream.name} + ({at(stream)}), whole, {self.there})"

    def open_elements(self, streams, depth):
        """Begin the loop over a pack's elements, which go to `streams`; the depth within."""
        if self.pack == 1:
            return depth
        for stream in streams:
            if stream.name in self.packed:
                self.add(f"{self.pack_type(stream)} put_{stream.name};", depth)
        self.add("#pragma unroll", 0)
        self.add(f"for (uint e = 0; e < {self.pack}; e++) {{", depth)
        return depth + 1

    def put(self, stream, at, depth):
        """The statement that writes an output, or keeps it for its pack."""
        value = f"v{stream.value}"
        if stream.name in self.packed:
            self.add(f"put_{stream.name}.set(e, {expressions.store(value, stream.dtype)});", depth)
        else:
            self.store(stream, value, at, depth)

    def close_elements(self, streams, at, depth):
        """End that loop, and write the packs to where `at` says."""
        if self.pack == 1:
            return
        self.add("}", depth)
        for stream in streams:
            if stream.name in self.packed:
                kind = f"{expressions.STORED[stream.dtype]}, {self.pack}"
                place = f"{stream.name} + ({at(stream)}), put_{stream.name}, whole, {self.there}"
                self.add(f"store_pack<{kind}>({place});", depth)

    def only(self, condition):
        """A condition on a step, of its first element alone."""
        return condition if self.pack == 1 else f"{condition} && e == 0"

    # ---- text

    def add(self, line, depth=1):
        self.lines.append("    " * depth + line)

    def add_offsets(self, prefix, index, sizes, strides, before="", depth=1):
        """Statements that give every stream that moves along these axes its offset
        ``<prefix>_<stream>``; others are not defined. `index` is a row-major position along the
        axes; ``before`` the prefix of offsets to start from. Gives the streams that move."""
        moving = [k for k in range(len(self.streams)) if any(strides[k])]
        for k in moving:
            name = self.streams[k].name
            start = f"{before}_{name}" if before else "0"
            self.add(f"{self.step} {prefix}_{name} = {start};", depth)
        if not moving:
            return moving
        rest = index
        if len(sizes) > 1:
            rest = f"{prefix}_rest"
            self.add(f"{self.whole} {rest} = {index};", depth)
        for axis in range(len(sizes) - 1, -1, -1):
            at = rest
            if axis:
                at, whole = f"{prefix}_{axis}", f"{prefix}_whole{axis}"
                size = self.number(sizes[axis])
                self.add(f"const {self.whole} {whole} = {rest} / {self.whole}({size});", depth)
                self.add(
                    f"const {self.whole} {at} = {rest} - {whole} * {self.whole}({size});", depth
                )
                self.add(f"{rest} = {whole};", depth)
            for k in moving:
                stride = strides[k][axis]
                if stride:
                    factor = f" * {self.step}({self.number(stride)})"
                    if stride in (1, self.pack):  # part of the text
                        factor = f" * {stride}" if stride > 1 else ""
                    name = self.streams[k].name
                    self.add(f"{prefix}_{name} += {self.step}({at}){factor};", depth)
        return moving

    def statement(self, k, at, depth):
        """The statement that defines value k; `at` gives the offset of a stream as text."""
        value = self.program.values[k]
        if value[0] != "load" and k in self.kept:
            text = self.kept[k]
        elif value[0] == "load":
            self.types[k] = expressions.compute_type(self.stream_of[k].dtype)
            text = self.kept[k] if k in self.kept else self._loaded(k, at)
        elif value[0] == "cast":
            _, source, target, operand = value
            source, target = _dtype(source), _dtype(target)
            self.types[k] = expressions.compute_type(target)
            text = expressions.cast(self._rounded(operand, source), source, target)
        else:
            _, code, source, operands = value
            text = self._operation(k, ROWS[code], _dtype(source), operands)
        self.add(f"const {expressions.TYPES[self.types[k]]} v{k} = {text};", depth)

    def _loaded(self, k, at):
        stream = self.stream_of[k]
        element = f"pack{k}.at(e)" if stream.name in self.packed else f"{stream.name}[{at(stream)}]"
        return expressions.load(element, stream.dtype)

    def keep(self, loads, count):
        """Room for `count` elements of each load. For all that a compiler knows, what is written
        may be read next: unless a thread reads all before it writes, each read waits."""
        for k in loads:
            stream = self.stream_of[k]
            if stream.name in self.packed:
                self.add(f"{self.pack_type(stream)} kept{k}[{count}] = {{}};")
                self.kept[k] = expressions.load(f"kept{k}[k].at(e)", stream.dtype)
                continue
            kind = expressions.TYPES[expressions.compute_type(stream.dtype)]
            self.add(f"{kind} kept{k}[{count}];")
            self.kept[k] = f"kept{k}[k]"

    def fetch(self, loads, at, depth):
        """The statements that fill it, in a loop over ``k``."""
        for k in loads:
            stream = self.stream_of[k]
            packed = stream.name in self.packed
            text = self._pack(stream, at) if packed else self._loaded(k, at)
            self.add(f"kept{k}[k] = {text};", depth)

    def _rounded(self, i, dtype):
        """A value as it would be stored. Half floats are loaded or cast already rounded."""
        if dtype not in HALVES or self.program.values[i][0] in ("load", "cast"):
            return f"v{i}"
        return f"(float({expressions.STORED[dtype]}(v{i})))"

    def add_divisors(self, values, within):
        """Of values that stay the same for many: what others among `within` divide by."""
        for value in (self.program.values[k] for k in within):
            if value[0] == "op" and ROWS[value[1]].name == "divide" and _dtype(value[2]) in HALVES:
                k = value[3][1]
                if k in values and k not in self.divisors:
                    self.divisors.add(k)
                    self.add(f"const Divisor divisor{k}(v{k});")

    def _operation(self, k, row, dtype, operands):
        compute = expressions.compute_type(dtype)
        if row.name == "divide" and operands[1] in self.divisors and dtype in HALVES:
            self.types[k] = "f32"
            return f"divisor{operands[1]}.divide(v{operands[0]})"
        texts = [self._rounded(i, dtype) if row.jumps else f"v{i}" for i in operands]
        formula = expressions.formula(row.name, compute, texts)
        if formula is None:
            raise Unprintable(f"{row.name} of {dtype} has no formula in MSL")
        self.headers.update(formula.headers)
        self.types[k] = formula.compute
        return expressions.wrap(formula.text, dtype) if formula.compute == compute else formula.text

    def store(self, stream, value, at, depth):
        """The statement that writes a value."""
        self.add(f"{stream.name}[{at}] = {expressions.store(value, stream.dtype)};", depth)

    def name(self, kind):
        """A name that says what the kernel does."""
        words = [kind]
        for value in self.program.values:
            word = ROWS[value[1]].name if value[0] in ("op", "reduce") else "cast"
            if value[0] != "load" and len("_".join([*words, word])) < 60:
                words.append(word)
        return "_".join(words) if len(words) > 1 else f"{kind}_copy"

    def source(self, name, attributes, constants=()):
        """The whole text: headers, signature, statements."""
        order = [*expressions.HEADERS, "reduce.h"]
        last = max(order.index(header) for header in self.headers)
        lines = [f'#include "{header}"' for header in order[: last + 1]]
        lines += ["", *constants, f"kernel void {name}("]
        for position, stream in enumerate(self.streams):
            const = "" if stream.written else "const "
            kind = expressions.STORED[stream.dtype]
            lines.append(f"    device {const}{kind}* {stream.name} [[buffer({position})]],")
        lines.append(f"    constant const {self.step}* layout [[buffer({len(self.streams)})]],")
        lines += [f"    {attribute}," for attribute in attributes[:-1]]
        lines += [f"    {attributes[-1]}) {{", *self.lines, "}", ""]
        return "\n".join(lines)
