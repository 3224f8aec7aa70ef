"""Launchers of matrix products: which kernel, in which tiles, and where the inner axis is split.

A product with few columns (or few rows: then the product of the transposes is computed) goes at the
speed of memory through the `matvec` kernels; others go in tiles of 64 or 32, whose inner axis is
split where there are too few tiles to keep the device busy.
"""

import struct
from dataclasses import dataclass, field, replace
from math import prod

from mlxc._table.rows import BY_NAME

from .dispatch import Bytes, Dispatch, Faults, In, Operand, Out, Scratch, launcher
from .layout import LIMIT, element_strides, joined, spread, up

FLOATS = ("float16", "bfloat16", "float32")
PLAIN = {"int32": "32", "uint32": "32", "int64": "64", "uint64": "64", "complex64": "complex64"}
BATCH_AXES = 6
COLUMNS = 4  # of matvec kernels, at most
BUSY = 64  # threadgroups that keep a device busy
DEPTH = 512  # shortest part of a split inner axis, in tiles
LONG = 4096  # the same where columns are few
PACK = 4  # rows of a that a lane takes where they are neighbours: NEAR_ROWS of matmul.metal
LANES = 512  # threadgroups that do it, and the shortest part of their inner axis
PACKED_LONG = 1024
STRIDED, GATHERED, SEGMENTS = range(3)


@dataclass(frozen=True)
class Matrix:
    """An operand: its argument, and strides in elements."""

    argument: In
    row: int
    column: int
    batch: tuple[int, ...]  # of the item, or of its index where items are gathered
    item: int = 0
    count: int = 0  # of matrices to choose from
    index: In | None = None

    @property
    def turned(self) -> "Matrix":
        """The transpose."""
        return replace(self, row=self.column, column=self.row)

    @property
    def down(self) -> bool:
        """Whether rows lie closer than columns."""
        return abs(self.row) < abs(self.column)

    @property
    def close(self) -> bool:
        """Whether neighbours along the closer axis are neighbours in memory."""
        return (self.row if self.down else self.column) == 1


@dataclass(frozen=True)
class Product:
    """out = alpha a b + beta c, for every item."""

    dtype: str
    m: int
    n: int
    k: int
    shape: tuple[int, ...]  # of the batch
    a: Matrix
    b: Matrix
    c: Matrix | None = None
    alpha: float = 1.0
    beta: float = 0.0
    kind: int = STRIDED
    out_row: int = 0
    out_column: int = 1
    pair: int = 0  # from a segment's first number to its second
    parts: int = 1
    items: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "items", prod(self.shape))

    @property
    def turned(self) -> "Product":
        """The product of the transposes, in the other order: the same numbers."""
        return replace(
            self,
            m=self.n,
            n=self.m,
            a=self.b.turned,
            b=self.a.turned,
            c=self.c and self.c.turned,
            out_row=self.out_column,
            out_column=self.out_row,
        )

    @property
    def depth(self) -> int:
        """Of a part of the inner axis: a multiple of every tile's depth."""
        return up(up(self.k, self.parts), 32) * 32

    def packed(self, tiles: int = 0) -> Bytes:
        """`struct Matmul` of shaders/matmul.metal."""
        a, b, c = self.a, self.b, self.c or Matrix(In(0), 0, 0, ())
        first = [a.row, a.column, b.row, b.column, c.row, c.column, self.out_row, self.out_column]
        first += [self.pair if self.kind == SEGMENTS else a.item, b.item]
        for matrix in (a, b, c):
            first += _filled(matrix.batch)
        second = [*_filled(self.shape), len(self.shape), self.items, self.m, self.n, self.k]
        second += [tiles, self.parts, self.depth, a.count, b.count]
        return Bytes(struct.pack("<28q16I2f", *first, *second, self.alpha, self.beta))

    def tail(self) -> list:
        """The index arrays, the last arguments of every kernel; unused ones stand in for them."""
        index = self.a.index or self.a.argument
        return [index, self.b.index or index]

    def constants(self) -> dict:
        """Function constants of shaders/matmul.metal, where nothing is known of tiles."""
        vectors = min(self.n, COLUMNS)
        settings = (self.c is not None, self.parts > 1, False, False, False, self.kind, vectors)
        settings += (False, False)
        return dict(enumerate(settings))


def _filled(values):
    return [*values, *[0] * (BATCH_AXES - len(values))]


def _split(product: Product, groups: int, shortest: int, busy: int = BUSY) -> Product:
    """With the inner axis in as many parts as keep the device busy; segments are short already."""
    parts = min(busy // max(1, groups * product.items), product.k // shortest)
    return replace(product, parts=parts) if parts > 1 and product.kind != SEGMENTS else product


def _steps(product: Product, name: str, groups: int, threads: int, tiles: int, constants: dict):
    """A kernel over `groups` threadgroups an item and part, and the sum of parts."""
    c = product.c.argument if product.c else product.a.argument
    nbytes = 4 * product.parts * product.items * product.m * product.n
    sums = Scratch(0, nbytes) if product.parts > 1 else Out(0)
    operands = [product.a.argument, product.b.argument, c, Out(0), sums]
    first = Dispatch(
        "matmul",
        f"{name}_{product.dtype}",
        [*operands, product.packed(tiles), *product.tail()],
        (groups, *spread(product.items * product.parts)),
        (threads, 1, 1),
        groups=True,
        constants=product.constants() | constants,
    )
    return [first] if product.parts == 1 else [first, summed(product, sums, c)]


def _tiles(product: Product) -> list[Dispatch]:
    side = 64 if product.m >= 64 and product.n >= 64 else 32
    down, across = up(product.m, side), up(product.n, side)
    product = _split(product, down * across, DEPTH)
    whole = not (product.m % side or product.n % side or product.k % 32)
    constants = {2: product.a.down, 3: product.b.down, 4: whole and product.kind != SEGMENTS}
    constants |= {7: product.a.close, 8: product.b.close}
    return _steps(product, f"matmul_tiles{side}", down * across, 128, down, constants)


def summed(product: Product, sums: Scratch, c: In) -> Dispatch:
    """Adds up the parts of the inner axis."""
    return Dispatch(
        "matmul",
        f"matmul_sum_{product.dtype}",
        [sums, c, Out(0), product.packed(), *product.tail()],
        (product.n, product.m, product.items),
        (min(product.n, 256), 1, 1),
        constants=product.constants(),
    )


def _vectors(product: Product) -> list[Dispatch]:
    """Few columns."""
    down = product.a.down
    if product.a.row == 1 and product.m % PACK == 0 and down:
        groups = up(product.m, 32 * PACK)
        product = _split(product, groups, PACKED_LONG, LANES)
        return _steps(product, "matvec_packs", groups, 256, 0, {})
    groups = up(product.m, 32 if down else 16)
    product = _split(product, groups, LONG)
    name, threads = ("matvec_across", 256) if down else ("matvec_along", 128)
    constants = {7: product.a.column == 1, 8: product.b.row == 1}
    return _steps(product, name, groups, threads, 0, constants)


def _plain(product: Product) -> list[Dispatch]:
    tiles = up(product.m, 16)
    dispatch = Dispatch(
        "matmul",
        f"matmul_plain_{PLAIN[product.dtype]}",
        [product.a.argument, product.b.argument, Out(0), product.packed(tiles), *product.tail()],
        (tiles * up(product.n, 16), *spread(product.items)),
        (256, 1, 1),
        groups=True,
        constants=product.constants(),
    )
    return [dispatch]


def dispatches(product: Product) -> list[Dispatch] | None:
    """What computes a product; None if it is too large for 32-bit counters."""
    product = replace(product, out_row=product.n)
    extents = (product.m, product.n, product.k, product.items * max(product.parts, BUSY))
    if max(extents) >= LIMIT or len(product.shape) > BATCH_AXES:
        return None
    if product.dtype in PLAIN:
        return _plain(product)
    if product.n <= COLUMNS:
        return _vectors(product)
    if product.m <= COLUMNS:
        return _vectors(product.turned)
    return _tiles(product)


def _checked(row: str, product: Product) -> list[Dispatch] | None:
    """A product whose items are chosen by indices, which are looked at first."""
    steps = dispatches(product)
    if steps is None or 0 in (product.items, product.m, product.n):
        return steps
    code = Bytes(struct.pack("<I", BY_NAME[row].code))
    check = Dispatch(
        "matmul",
        "matmul_check",
        [*product.tail(), product.packed(), code, Faults()],
        (product.items, 1, 1),
        (32, 1, 1),
        constants=product.constants(),
    )
    return [check, *steps]


def _strided(op: str, ins: list[Operand], out: Operand, alpha=1.0, beta=0.0):
    """matmul and addmm; `ins` are a, b and perhaps c, in that order of arguments `order`."""
    order = (1, 2, 0) if op == "addmm" else (0, 1)
    operands = [ins[index] for index in order]
    strides = [element_strides(operand) for operand in operands]
    if out.dtype not in FLOATS and (out.dtype not in PLAIN or op == "addmm"):
        return None
    if None in strides:
        return None
    shape, *batches = joined(out.shape[:-2], *(s[:-2] for s in strides))
    a, b, *rest = (
        Matrix(In(index), s[-2], s[-1], batch) for index, s, batch in zip(order, strides, batches)
    )
    m, n = out.shape[-2:]
    c = rest[0] if rest and beta != 0 else None
    return dispatches(
        Product(out.dtype, m, n, operands[0].shape[-1], shape, a, b, c, float(alpha), float(beta))
    )


@launcher("matmul")
def matmul(row, ins, outs, params):
    """ins: a (..., m, k), b (..., k, n)."""
    return _strided(row, ins, outs[0])


@launcher("addmm")
def addmm(row, ins, outs, params):
    """ins: c (..., m, n), a, b; params: alpha, beta."""
    return _strided(row, ins, outs[0], *params)


@launcher("gather_mm")
def gather_mm(row, ins, outs, params):
    """ins: stacks a (i, m, k) and b (j, k, n), int64 numbers of their matrices."""
    strides = [element_strides(operand) for operand in ins]
    out = outs[0]
    if out.dtype not in FLOATS or None in strides or 0 in (ins[0].shape[0], ins[1].shape[0]):
        return None
    shape, left, right = joined(ins[2].shape, strides[2], strides[3])
    a, b = (
        Matrix(In(i), s[1], s[2], batch, s[0], ins[i].shape[0], In(2 + i))
        for i, (s, batch) in enumerate(zip(strides, (left, right)))
    )
    m, n = out.shape[-2:]
    product = Product(out.dtype, m, n, ins[0].shape[2], shape, a, b, kind=GATHERED)
    return _checked(row, product)


@launcher("segmented_mm")
def segmented_mm(row, ins, outs, params):
    """ins: a (m, k), b (k, n), segments (..., 2) int64: from and to along the inner axis."""
    strides = [element_strides(operand) for operand in ins]
    out = outs[0]
    if out.dtype not in FLOATS or None in strides:
        return None
    shape, batch = joined(ins[2].shape[:-1], strides[2][:-1])
    a = Matrix(In(0), *strides[0], batch, index=In(2))
    b = Matrix(In(1), *strides[1], batch, index=In(2))
    m, n = out.shape[-2:]
    k, pair = ins[0].shape[1], strides[2][-1]
    product = Product(out.dtype, m, n, k, shape, a, b, kind=SEGMENTS, pair=pair)
    return _checked(row, product)
