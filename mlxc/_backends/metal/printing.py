"""Programs of the scheduler as MSL: statements, and offsets of elements.

A `Kernel` collects the text of one kernel and the numbers it is handed. Sizes and strides are not
part of the text, but of the constant argument ``layout``, so that one kernel serves many shapes;
what is part of it is which streams repeat (stride 0) and which are dense (stride 1).
"""

from dataclasses import dataclass
from math import prod

from mlxc._table import load_rows
from mlxc._table.dtypes import DTYPES

from . import expressions
from .layout import joined

__all__ = ["OPERATIONS", "Kernel", "Stream", "Unprintable"]

ROWS = load_rows()
INT_LIMIT = 2**31
MOST_BUFFERS = 30  # of 31: one is the layout
MOST_LAYOUT = 4096  # bytes
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
        self.kept = {}  # value of a load that was fetched before it is needed -> text
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
                    factor = "" if stride == 1 else f" * {self.step}({self.number(stride)})"
                    name = self.streams[k].name
                    self.add(f"{prefix}_{name} += {self.step}({at}){factor};", depth)
        return moving

    def statement(self, k, at, depth):
        """The statement that defines value k; `at` gives the offset of a stream as text."""
        value = self.program.values[k]
        if value[0] == "load":
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
        return expressions.load(f"{stream.name}[{at(stream)}]", stream.dtype)

    def keep(self, loads, count):
        """Room for `count` elements of each load. For all that a compiler knows, what is written
        may be read next: unless a thread reads all before it writes, each read waits."""
        for k in loads:
            kind = expressions.TYPES[expressions.compute_type(self.stream_of[k].dtype)]
            self.add(f"{kind} kept{k}[{count}];")
            self.kept[k] = f"kept{k}[k]"

    def fetch(self, loads, at, depth):
        """The statements that fill it, in a loop over ``k``."""
        for k in loads:
            self.add(f"{self.kept[k]} = {self._loaded(k, at)};", depth)

    def _rounded(self, i, dtype):
        """A value as it would be stored. Half floats are loaded or cast already rounded."""
        if dtype not in ("float16", "bfloat16") or self.program.values[i][0] in ("load", "cast"):
            return f"v{i}"
        return f"(float({expressions.STORED[dtype]}(v{i})))"

    def _operation(self, k, row, dtype, operands):
        compute = expressions.compute_type(dtype)
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
