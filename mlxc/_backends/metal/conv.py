"""Launchers of convolutions and of their weights' gradient: tiles, or single numbers where groups
have few channels.

Images are row-major (the rows say so), weights of any strides are laid out so first. An inner axis
that would leave the device idle is split, and its parts are added up by the kernel that does so for
products of matrices.
"""

import struct
from dataclasses import dataclass, replace
from math import prod

from .dispatch import Bytes, Dispatch, In, Operand, Out, Scratch, launcher
from .layout import LIMIT, element_strides, spread, up
from .matmul import Matrix, Product, summed

FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4}  # bytes
BUSY = 64  # threadgroups that keep a device busy
DEPTH = 512  # shortest part of a split inner axis
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

    def fits(self) -> bool:
        """Whether the kernels' 32-bit counters hold every number, and places of taps too."""
        reach = [
            (size + 1) * gap + out * stride + kernel * step + abs(low)
            for size, gap, out, stride, kernel, step, low in zip(
                self.size, self.gap, self.out, self.stride, self.kernel, self.step, self.low
            )
        ]
        counts = (self.windows, self.columns, self.channels, self.filters, prod(self.size))
        return (
            max(*reach, *counts, self.filters * self.columns, self.size[2] * self.channels) < LIMIT
        )

    def split(self, inner: int, groups: int) -> "Conv":
        """With the inner axis in as many parts as keep the device busy."""
        parts = max(1, min(BUSY // max(1, groups), inner // DEPTH))
        return replace(self, parts=parts, depth=up(up(inner, parts), 32) * 32)

    def packed(self) -> Bytes:
        """The struct's bytes."""
        triples = (*self.size, *self.out, *self.kernel)
        signed = (*self.stride, *self.low, *self.step, *self.gap)
        counts = (self.channels, self.filters, self.channels // self.groups, self.o, self.groups)
        rest = (self.windows, self.columns, self.tiles, self.parts, self.depth, 0)
        return Bytes(struct.pack("<9I12i11I", *triples, *signed, *counts, *rest))

    def constants(self, whole: bool = False) -> dict:
        """Function constants."""
        runs = self.channels // self.groups % (16 // FLOATS[self.dtype]) == 0
        return {0: max(self.gap) > 1, 1: self.flip, 2: self.parts > 1, 3: whole, 4: runs}


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
        constants=dict.fromkeys(range(5), False),
    )
    return [copy], memory


def _tiled(conv: Conv, name: str, second, rows: int, columns: int, inner: int, split: bool):
    """Tiles of a result of `rows` x `columns` a group, and the sum of parts."""
    side = 64 if rows >= 64 and columns >= 64 else 32
    tiles = up(rows, side) * up(columns, side)
    conv = replace(conv, tiles=up(rows, side), depth=inner)
    if split:
        conv = conv.split(inner, tiles * conv.groups)
    filters = conv.o
    sums = Scratch(0, 4 * conv.parts * conv.groups * rows * columns) if conv.parts > 1 else Out(0)
    first = Dispatch(
        "conv",
        f"{name}{side}_{conv.dtype}",
        [In(0), second, Out(0), sums, conv.packed()],
        (tiles, *spread(conv.groups * conv.parts)),
        (128, 1, 1),
        groups=True,
        constants=conv.constants(not (filters % side or inner % 32)),
    )
    if conv.parts == 1:
        return [first]
    return [first, _added(conv, rows, columns, conv.groups, sums)]


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
    windows, o, columns = described.windows, described.o, described.columns
    if described.groups == 1 or o > NARROW:
        # The parts of one group alone lie as the result does.
        alone = described.groups == 1
        return before + _tiled(described, "conv_tiles", weights, windows, o, columns, alone)
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
    windows, columns = described.windows, described.columns
    if described.groups == 1 or described.o > NARROW:
        return _tiled(described, "conv_gradient_tiles", In(1), described.o, columns, windows, True)
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
