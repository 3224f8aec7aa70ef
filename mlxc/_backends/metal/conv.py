"""Launchers of convolutions and of their weights' gradient: tiles, or single numbers where groups
have few channels.

Images are row-major (the rows say so), weights of any strides are laid out so first. Where pixels
have gaps between them, results and taps fall into phases: those of one phase meet at pixels, others
in gaps. An inner axis that would leave the device idle is split, and its parts are added up by the
kernel that does so for products of matrices.
"""

import struct
from dataclasses import dataclass, replace
from math import gcd, prod

from .dispatch import Bytes, Dispatch, In, Operand, Out, Scratch, launcher
from .layout import LIMIT, element_strides, spread, up
from .matmul import Matrix, Product, summed

FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4}  # bytes
BUSY = 64  # threadgroups that keep a device busy
DEPTH = 512  # shortest part of a split inner axis
PHASES = 4096  # of wider gaps the processor takes care
NARROW = 8  # filters of a group that are not worth a tile


@dataclass(frozen=True)
class Conv:
    """`struct Conv` of shaders/conv.metal; three spatial axes, the first ones perhaps of size 1."""

    dtype: str
    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    low: tuple[int, ...]
    step: tuple[int, ...]
    gap: tuple[int, ...]
    channels: int
    filters: int
    groups: int
    images: int
    flip: bool
    tiles: int = 1
    parts: int = 1
    depth: int = 0

    @property
    def windows(self) -> int:
        """Rows of the matrix of taps."""
        return self.images * prod(self.out)

    @property
    def columns(self) -> int:
        """Columns of the matrix of taps."""
        return prod(self.kernel) * self.channels // self.groups

    @property
    def o(self) -> int:
        """Filters of a group."""
        return self.filters // self.groups

    @property
    def out_step(self) -> list[int]:
        """From a result to the next one of its phase."""
        return [gap // gcd(gap, stride) for gap, stride in zip(self.gap, self.stride)]

    @property
    def tap_step(self) -> list[int]:
        """From a tap to the next one of its phase."""
        return [gap // gcd(gap, step) for gap, step in zip(self.gap, self.step)]

    @property
    def most_windows(self) -> int:
        """Of a phase."""
        return self.images * prod(map(up, self.out, self.out_step))

    @property
    def most_columns(self) -> int:
        """Of a phase."""
        return prod(map(up, self.kernel, self.tap_step)) * self.channels // self.groups

    def fits(self) -> bool:
        """Whether the kernels' 32-bit counters hold every number, and places of taps too."""
        reach = [
            (size + 1) * gap + out * stride + kernel * step + abs(low)
            for size, gap, out, stride, kernel, step, low in zip(
                self.size, self.gap, self.out, self.stride, self.kernel, self.step, self.low
            )
        ]
        counts = (self.windows, self.columns, self.channels, self.filters, prod(self.size))
        largest = max(*reach, *counts, self.filters * self.columns, self.size[2] * self.channels)
        phases = max(prod(self.out_step), prod(self.tap_step))
        return largest < LIMIT and phases <= PHASES

    def split(self, inner: int, groups: int) -> "Conv":
        """With the inner axis in as many parts as keep the device busy."""
        parts = max(1, min(BUSY // max(1, groups), inner // DEPTH))
        return replace(self, parts=parts, depth=up(up(inner, parts), 32) * 32)

    def packed(self, phases: int = 1) -> Bytes:
        """The struct's bytes."""
        triples = (*self.size, *self.out, *self.kernel)
        signed = (*self.stride, *self.low, *self.step, *self.gap)
        moves = []  # pixels from one result, or tap, to the next one of its phase
        for each, steps in ((self.stride, self.out_step), (self.step, self.tap_step)):
            moves += [a * b // gap for a, b, gap in zip(each, steps, self.gap)]
        counts = (self.channels, self.filters, self.channels // self.groups, self.o, self.groups)
        counts += (phases, self.images, self.windows, self.columns)
        rest = (self.tiles, self.parts, self.depth)
        return Bytes(
            struct.pack(
                "<9I12i6I6i12I", *triples, *signed, *self.out_step, *self.tap_step, *moves,
                *counts, *rest,
            )
        )  # fmt: skip

    def constants(self) -> dict:
        """Function constants."""
        runs = self.channels // self.groups % (16 // FLOATS[self.dtype]) == 0
        return {0: self.flip, 1: self.parts > 1, 2: runs}


def _described(x: Operand, out_shape, weights_shape, params) -> Conv:
    """Images (n, *size, c), results (n, *out, o) and weights (o, *kernel, c / groups)."""
    stride, low, _, step, gap, groups, flip = params[:7]
    missing = 5 - len(x.shape)

    def three(values, fill=1):
        return (fill,) * missing + tuple(values)

    return Conv(
        x.dtype,
        *(three(shape[1:-1]) for shape in (x.shape, out_shape, weights_shape)),
        *(three(stride), three(low, 0), three(step), three(gap)),
        *(x.shape[-1], weights_shape[0], groups, x.shape[0], bool(flip)),
    )


def _arranged(w: Operand) -> tuple[list[Dispatch], In | Scratch] | None:
    """What lays weights out row-major, and where they lie then; None where they cannot be read."""
    strides, step = element_strides(w), 1
    if strides is None:
        return None
    dense = True
    for extent, stride in zip(reversed(w.shape), reversed(strides)):
        dense = dense and (extent == 1 or stride == step)
        step *= extent
    if dense or w.size == 0:
        return [], In(1)
    missing = 5 - len(w.shape)
    packed = struct.pack("<5q6I", *[0] * missing, *strides, *[1] * missing, *w.shape, 0)
    memory = Scratch(1, w.size * w.itemsize)
    copy = Dispatch(
        "conv",
        f"conv_arrange_{w.dtype}",
        [In(1), memory, Bytes(packed)],
        (w.size, 1, 1),
        (256, 1, 1),
        constants=dict.fromkeys(range(3), False),
    )
    return [copy], memory


def _tiled(conv: Conv, name: str, second, tiled, result, phases: int, split: bool):
    """Tiles of (rows, columns, inner axis) of a phase and group, and the sum of parts, where
    `result` is what a group has of rows and columns."""
    rows, columns, inner = tiled
    side = 64 if rows >= 64 and columns >= 64 else 32
    tiles = up(rows, side) * up(columns, side)
    conv = replace(conv, tiles=up(rows, side), depth=inner)
    if split:
        conv = conv.split(inner, tiles * conv.groups * phases)
    sums = Scratch(0, 4 * conv.parts * conv.groups * prod(result)) if conv.parts > 1 else Out(0)
    first = Dispatch(
        "conv",
        f"{name}{side}_{conv.dtype}",
        [In(0), second, Out(0), sums, conv.packed(phases)],
        (tiles, *spread(phases * conv.groups * conv.parts)),
        (128, 1, 1),
        groups=True,
        constants=conv.constants(),
    )
    if conv.parts == 1:
        return [first]
    return [first, _added(conv, *result, conv.groups, sums)]


def _added(conv: Conv, rows: int, columns: int, items: int, sums: Scratch) -> Dispatch:
    """The parts of a result of (items, rows, columns), added up."""
    none = Matrix(In(0), 0, 0, (0,))
    parts = Product(
        conv.dtype, rows, columns, 0, (items,), none, none, out_row=columns, parts=conv.parts
    )
    return summed(parts, sums, In(0))


@launcher("conv")
def conv(row, ins, outs, params):
    """ins: images (n, *size, c), weights (o, *kernel, c / groups); params as in the row."""
    x, w = ins
    out = outs[0]
    if x.dtype not in FLOATS:
        return None
    described = _described(x, out.shape, w.shape, params)
    arranged = _arranged(w)
    if not described.fits() or arranged is None:
        return None
    before, weights = arranged
    o, alone = described.o, described.groups == 1
    if alone or o > NARROW:
        tiled = (described.most_windows, o, described.most_columns)
        phases, result = prod(described.out_step), (described.windows, o)
        # The parts of one group alone lie as the result does.
        return before + _tiled(described, "conv_tiles", weights, tiled, result, phases, alone)
    if out.size >= LIMIT:
        return None
    step = Dispatch(
        "conv",
        f"conv_direct_{x.dtype}",
        [In(0), weights, Out(0), described.packed()],
        (out.size, 1, 1),
        (256, 1, 1),
        constants=described.constants(),
    )
    return [*before, step]


@launcher("conv_weight_gradient")
def conv_weight_gradient(row, ins, outs, params):
    """ins: images, the results' cotangent (n, *out, o); params as in the row."""
    x, ct = ins
    out = outs[0]
    if x.dtype not in FLOATS:
        return None
    described = _described(x, ct.shape, out.shape, params)
    if not described.fits():
        return None
    o, windows, columns = described.o, described.most_windows, described.columns
    if described.groups == 1 or o > NARROW:
        tiled = (o, described.most_columns, windows)
        phases, result = prod(described.tap_step), (o, columns)
        return _tiled(described, "conv_gradient_tiles", In(1), tiled, result, phases, True)
    tiles = up(described.filters, 32)
    described = replace(described, tiles=tiles).split(windows, tiles * columns)
    sums = Scratch(0, 4 * described.parts * out.size) if described.parts > 1 else Out(0)
    first = Dispatch(
        "conv",
        f"conv_gradient_direct_{x.dtype}",
        [In(0), In(1), Out(0), sums, described.packed()],
        (tiles * columns, described.parts, 1),
        (256, 1, 1),
        groups=True,
        constants=described.constants(),
    )
    if described.parts == 1:
        return [first]
    return [first, _added(described, described.filters, columns, 1, sums)]
