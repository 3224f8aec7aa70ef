"""Launcher of Fourier transforms: axes to lines, lines to passes of shaders/fft.metal.

A line of up to 4096 numbers with small prime factors is one pass; a longer one is two (Bailey
1990); any other is a convolution with a chirp (Bluestein 1970), three lines of a power of two.
"""

import cmath
import math
import struct
from dataclasses import dataclass, field, replace

from .dispatch import Bytes, Dispatch, In, Out, Scratch, launcher
from .layout import LIMIT, dense_strides, element_strides, joined, up

ROOMS = (1024, 4096)  # numbers that threadgroups hold
MOST = ROOMS[-1]
PADDED = MOST * 16 // 17  # numbers that leave room for a gap every 16
RADICES = (8, 4, 2, 3, 5, 7)
BATCH_AXES = 6
COMPLEX, REAL, HERMITIAN, CHIRP = range(4)


@dataclass(frozen=True)
class Side:
    """`struct FftSide`: where the numbers of a pass lie."""

    argument: In | Out | Scratch
    stride: int  # elements from place to place
    batch: tuple[int, ...]  # elements from transform to transform
    limit: int  # places that there are
    step: int = 1
    column_step: int = 0

    def packed(self) -> bytes:
        """The struct's bytes."""
        batch = [*self.batch, *[0] * (BATCH_AXES - len(self.batch))]
        return struct.pack("<7q4I", self.stride, *batch, self.step, self.column_step, self.limit, 0)


@dataclass(frozen=True)
class Line:
    """Transforms of n numbers each, one for every place of a batch; and how they load and store."""

    n: int
    shape: tuple[int, ...]  # of the batch
    source: Side
    target: Side
    sign: float
    scale: float = 1.0
    columns: int = 1  # of one long transform
    whole: int = 0  # length of the long transform, or of the mirrored or wrapped one
    chirp: int = 0
    kind: int = COMPLEX  # of the operand
    real_out: bool = False
    chirp_in: bool = False
    chirp_out: bool = False
    filter: Scratch | None = None
    twiddle: bool = False

    @property
    def count(self) -> int:
        """Transforms."""
        return math.prod(self.shape) * self.columns


def radices(n: int) -> list[int] | None:
    """Stages of a transform, or None if n has a prime factor that has none."""
    stages = []
    for radix in RADICES:
        while n % radix == 0:
            stages.append(radix)
            n //= radix
    return stages if n == 1 else None


def halves(n: int) -> tuple[int, int] | None:
    """Two factors of n that passes can hold, the nearest to each other."""
    for first in range(math.isqrt(n), 0, -1):
        if n % first == 0:
            return (first, n // first) if n // first <= MOST else None
    return None


def _roots(sign: float) -> list[float]:
    """Roots of unity of 3, 5 and 7, real and imaginary parts."""
    values = [cmath.exp(sign * 2j * math.pi * i / n) for n in (3, 5, 7) for i in range(n)]
    return [part for value in values for part in (value.real, value.imag)]


@dataclass
class Passes:
    """The dispatches of one transform, and the scratch memory that they pass numbers through."""

    steps: list[Dispatch] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)  # bytes of each scratch memory
    free: list[int] = field(default_factory=list)

    def take(self, numbers: int) -> Scratch:
        """Memory for complex numbers."""
        index = self.free.pop() if self.free else len(self.taken)
        self.taken[index] = max(self.taken.get(index, 0), 8 * numbers)
        return Scratch(index, 8 * numbers)

    def release(self, memory) -> None:
        """Memory that no later step reads."""
        if isinstance(memory, Scratch):
            self.free.append(memory.index)

    def finished(self) -> list[Dispatch]:
        """The steps; memory that several of them share is of one size."""
        for step in self.steps:
            step.arguments = [
                Scratch(a.index, self.taken[a.index]) if isinstance(a, Scratch) else a
                for a in step.arguments
            ]
        return self.steps

    def add(self, line: Line) -> bool:
        """Steps for a line; False if it is too long."""
        if radices(line.n) is None:
            return self._by_chirp(line)
        if line.n <= MOST:
            self._one(line)
            return True
        return self._two(line)

    def _one(self, line: Line) -> None:
        n, stages = line.n, radices(line.n)
        threads = up(n, 8)
        padded = n <= PADDED
        together = max(1, min(line.count, (PADDED if padded else MOST) // n, 256 // threads))
        room = together * (n + n // 16) if padded else n
        counts = (line.count, line.columns, n, together, threads, line.whole, line.chirp)
        shape = [*line.shape, *[1] * (BATCH_AXES - len(line.shape))]
        packed = struct.pack(
            "<6I9I12II2f30f",
            *(*shape, len(line.shape), *counts, len(stages)),
            *(*stages, *[0] * (12 - len(stages)), 0, line.sign, line.scale),
            *_roots(line.sign),
        )
        packed = line.source.packed() + line.target.packed() + packed
        source, target = line.source.argument, line.target.argument
        constants = (line.kind, line.real_out, line.chirp_in, line.chirp_out)
        down = [abs(side.stride * side.step) > 1 for side in (line.source, line.target)]
        constants = dict(
            enumerate((*constants, line.filter is not None, line.twiddle, *down, padded))
        )
        step = Dispatch(
            "fft",
            f"fft_pass_{next(each for each in ROOMS if room <= each)}",
            [source, target, line.filter or target, Bytes(packed)],
            (up(line.count, together), 1, 1),
            (together * threads, 1, 1),
            groups=True,
            constants=constants,
        )
        self.steps.append(step)

    def _two(self, line: Line) -> bool:
        """Columns, turned by roots of unity, then rows."""
        if halves(line.n) is None:
            return False
        high, wide = halves(line.n)
        memory = self.take(line.count * line.n)
        batch = dense_strides(line.shape, line.n)
        between = Side(memory, 1, batch, line.n, wide, 1)
        first = replace(
            line,
            n=high,
            source=replace(line.source, step=wide, column_step=1),
            target=between,
            scale=1.0,
            columns=wide,
            whole=line.n,
            real_out=False,
            chirp_out=False,
            filter=None,
            twiddle=True,
        )
        second = replace(
            line,
            n=wide,
            source=replace(between, step=1, column_step=wide),
            target=replace(line.target, step=high, column_step=1),
            columns=high,
            kind=COMPLEX,
            chirp_in=False,
        )
        self._one(first)
        self._one(second)
        self.release(memory)
        return True

    def _by_chirp(self, line: Line) -> bool:
        """A convolution with a chirp, by transforms of a power of two."""
        n = line.n
        long = 1 << (2 * n - 2).bit_length()
        if long > MOST * MOST:
            return False
        chirp, memory = self.take(long), self.take(line.count * long)
        dense = Side(memory, 1, dense_strides(line.shape, long), long)
        known = Side(chirp, 1, (), long)
        # The filter's exponents have the sign that the chirp has not; both passes transform
        # forwards or backwards as the line does, so that its sign is theirs.
        self.add(Line(long, (), known, known, line.sign, whole=long, chirp=n, kind=CHIRP))
        forwards = Line(
            long, line.shape, line.source, dense, line.sign, chirp=n,
            kind=line.kind, chirp_in=True, filter=chirp,
        )  # fmt: skip
        backwards = Line(
            long, line.shape, dense, line.target, -line.sign, line.scale / long, chirp=n,
            real_out=line.real_out, chirp_out=True,
        )  # fmt: skip
        self.add(forwards)
        self.add(backwards)
        self.release(chirp)
        self.release(memory)
        return True


def _factor(norm: str, sizes, inverse: bool) -> float:
    total = math.prod(sizes)
    if norm == "ortho":
        return 1 / math.sqrt(total)
    return 1 / total if (norm == "backward") == inverse else 1.0


def _line(axis: int, n: int, here, there, sign: float, scale: float, kind: str) -> Line | None:
    """Along one axis; `here` and `there` are (argument, shape, strides)."""
    (source, shape, strides), (target, out_shape, out_strides) = here, there

    def rest(values):
        return values[:axis] + values[axis + 1 :]

    batch, ins, outs = joined(rest(shape), rest(strides), rest(out_strides))
    if len(batch) > BATCH_AXES:
        return None
    return Line(
        n,
        batch,
        Side(source, strides[axis], ins, shape[axis]),
        Side(target, out_strides[axis], outs, out_shape[axis]),
        sign,
        scale,
        whole=n,
        kind={"r2c": REAL, "c2r": HERMITIAN, "c2c": COMPLEX}[kind],
        real_out=kind == "c2r",
    )


@launcher("fft")
def fft(row, ins, outs, params):
    """ins: one array; params: axes (negative), sizes, kind, inverse, norm."""
    axes, sizes, kind, inverse, norm = params
    x, out = ins[0], outs[0]
    strides = element_strides(x)
    inverse = inverse or kind == "c2r"
    if strides is None or x.size >= LIMIT or out.size >= LIMIT:
        return None
    plan = [(axis + len(x.shape), n, "c2c") for axis, n in zip(axes[:-1], sizes[:-1])]
    last = (axes[-1] + len(x.shape), sizes[-1], kind)
    plan = [last, *plan] if kind == "r2c" else [*plan, last]
    passes, sign = Passes(), 1.0 if inverse else -1.0
    here = (In(0), x.shape, strides)
    for number, (axis, n, own) in enumerate(plan):
        final = number == len(plan) - 1
        shape = here[1][:axis] + (n // 2 + 1 if own == "r2c" else n,) + here[1][axis + 1 :]
        memory = Out(0) if final else passes.take(math.prod(shape))
        there = (memory, shape, dense_strides(shape, 1))
        scale = _factor(norm, sizes, inverse) if final else 1.0
        line = _line(axis, n, here, there, sign, scale, own)
        if line is None or line.count * n >= LIMIT or not passes.add(line):
            return None
        passes.release(here[0])
        here = there
    return passes.finished()
