"""Launchers of gather, scatter, their counterparts along one axis, and blocks put into an array."""

import struct
from math import prod

from mlxc._table.dtypes import CODE
from mlxc._table.rows import BY_NAME

from .dispatch import Bytes, Dispatch, Faults, In, Operand, Out, Scratch, launcher
from .expressions import STORED, compute_type
from .layout import LIMIT, SPREAD, dense_strides, element_strides, joined, spread, up
from .movement import block, copy, pack_longs, pack_uints
from .reduce import OPERATIONS
from .sort import sorted_pairs

__all__ = ["concatenate", "gather", "put_along", "scatter", "slice_update", "take_along"]

WIDE = 32  # trailing positions from which each row of threads takes one index
LONG = 512  # from which each thread takes EACH of them, as in indexing.metal
EACH = 4
PACK = 16  # bytes of neighbours that are read at once
SHORT_TAIL, LONG_TAIL, CLOSE_TAIL = range(3)
MODES = {"none": -1, "add": OPERATIONS["sum"]} | OPERATIONS  # as in indexing.metal
INDEX_LIMIT = (1 << 32) - 1  # destinations are numbered in 32 bits, all ones is none


def selection(leads, indices, tail, size, step, axes, row="gather", axis=0):
    """The constants of the kernels; `axes` counts leading, index, trailing and key axes; `row` and
    `axis` are named where an index is out of range."""
    where = BY_NAME[row].code, axis
    return Bytes(struct.pack("<QQQqq4I2I", leads, indices, tail, size, step, *axes, *where))


def word_of(dtype):
    """The type of arithmetic of an element, as kernels are named."""
    kind = compute_type(dtype)
    return "i32" if kind == "b8" else kind


def mode_of(mode, dtype):
    """Sums and products of bools are maxima and minima."""
    if dtype == "bool_":
        mode = {"add": "max", "prod": "min"}.get(mode, mode)
    return MODES[mode]


def groups_of(shape, axes, lead):
    """The axes that are not indexed: leading ones and trailing ones."""
    others = [axis for axis in range(len(shape)) if axis not in axes]
    return others[:lead], others[lead:]


def pick(values, axes):
    return tuple(values[axis] for axis in axes)


def fits(*operands):
    """Whether elements stand at multiples of their size; their strides in elements, or None."""
    strides = [element_strides(operand) for operand in operands]
    return None if any(each is None for each in strides) else strides


def index_pass(kernel, row, number, operand, index, strides, target, size, step, axis):
    """Index array `number`'s part of all positions or keys; `operand` is its place among the
    inputs."""
    sizes, near = joined(index.shape, strides)
    about = selection(1, index.size, 1, size, step, (0, len(sizes), 0, 0), row, axis)
    constants = {0: 0, 1: CODE[index.dtype], 2: 0, 3: False, 4: False, 5: number == 0, 6: 0}
    arguments = [In(operand), target, about, pack_uints(sizes), pack_longs(near), Faults()]
    grid = (index.size, 1, 1)
    return Dispatch("indexing", kernel, arguments, grid, block(*grid[:2]), constants=constants)


def tail_of(axes, size, itemsize):
    """How gather takes trailing axes, joined as sizes and strides, of that many positions."""
    if size < LONG or len(axes[0]) != 1:
        return SHORT_TAIL
    return CLOSE_TAIL if axes[1] == (1,) and size * itemsize % PACK == 0 else LONG_TAIL


@launcher("gather")
def gather(row, ins, outs, params):
    """One dispatch; several index arrays are first made positions."""
    (x, *indices), (axes, lead) = ins, params
    strides = fits(*ins)
    n = indices[0].size
    if n == 0:
        return []
    if strides is None or n >= LIMIT or x.size == 0:  # then the processor says what is wrong
        return None
    ahead, behind = groups_of(x.shape, axes, lead)
    near = [joined(pick(x.shape, group), pick(strides[0], group)) for group in (ahead, behind)]
    leads, tail = prod(pick(x.shape, ahead)), prod(pick(x.shape, behind))
    item, long = x.itemsize, tail_of(near[1], tail, x.itemsize)
    if long == CLOSE_TAIL and item == 8:  # as pairs of words
        item, tail = 4, 2 * tail
        near = [(near[0][0], tuple(2 * step for step in near[0][1])), ((tail,), (1,))]
    scale = x.itemsize // item
    steps, positions, size, step = [], Scratch(0, 8 * n), 1, 0
    for k, (axis, index) in enumerate(zip(axes, indices)):
        size, step = x.shape[axis], strides[0][axis] * scale
        steps.append(
            index_pass(
                "index_positions", row, k, k + 1, index, strides[k + 1], positions, size, step, axis
            )
        )
    direct = len(axes) == 1
    middle = joined(indices[0].shape, strides[1])
    sizes = near[0][0] + middle[0] + near[1][0]
    moves = near[0][1] + middle[1] + near[1][1]
    flat = tail < WIDE and n * tail < LIMIT
    each = {SHORT_TAIL: 1, LONG_TAIL: EACH, CLOSE_TAIL: EACH * PACK // item}[long]
    columns = n * tail if flat else up(tail, each)
    rows = leads if flat else leads * n
    if tail >= LIMIT or rows >= SPREAD * SPREAD:
        return None
    counts = (len(near[0][0]), len(middle[0]), len(near[1][0]), 0)
    about = selection(leads, n, tail, size, step, counts, row, axes[-1])
    grid = (columns, *spread(rows))
    last = Dispatch(
        "indexing",
        f"gather_{item}",
        [In(0), In(1), In(1) if direct else positions, Out(0), about, pack_uints(sizes),
         pack_longs(moves), Faults()],
        grid,
        block(*grid[:2]),
        constants={0: 0, 1: CODE[indices[0].dtype], 2: 0, 3: direct, 4: flat, 5: False, 6: long},
    )  # fmt: skip
    return [last] if direct else [*steps, last]


@launcher("take_along_axis")
def take_along(row, ins, outs, params):
    """One dispatch."""
    (x, index), (out,), (axis,) = ins, outs, params
    strides = fits(*ins)
    if out.size == 0:
        return []
    if strides is None or x.size == 0:
        return None
    step = strides[0][axis]
    still = tuple(0 if k == axis else each for k, each in enumerate(strides[0]))
    sizes, near, far = joined(index.shape, still, strides[1])
    if not sizes:
        sizes, near, far = (1,), (0,), (0,)
    rows = prod(sizes[:-1])
    if sizes[-1] >= LIMIT or rows >= SPREAD * SPREAD:
        return None
    about = selection(rows, 1, 1, x.shape[axis], step, (0, len(sizes), 0, 0), row, axis)
    grid = (sizes[-1], *spread(rows))
    arguments = [
        In(0), In(1), Out(0), about, pack_uints(sizes), pack_longs(near), pack_longs(far), Faults()
    ]  # fmt: skip
    return [
        Dispatch(
            "indexing", f"take_along_{x.itemsize}", arguments, grid, block(*grid[:2]),
            constants={0: 0, 1: CODE[index.dtype], 2: 0, 3: True, 4: False, 5: False},
        )
    ]  # fmt: skip


def whole_copy(x, strides):
    """The first operand to the output."""
    return copy(In(0), Out(0), x.shape, strides, dense_strides(x.shape, 1), x.itemsize)


def fold(dtype, mode, keys, n, axes, leads, tail, moves):
    """Sort n destinations and fold the updates: `moves` are sizes, strides of the output and of
    the updates, for the axes that `axes` counts."""
    constants = {0: CODE["uint32"], 1: True, 2: True, 3: 0, 4: False}
    steps, (ordered, places) = sorted_pairs(keys, "u32", constants, n, 1, 1, keys.index + 1)
    narrow = tail < WIDE
    kernel = "scatter_runs" if narrow else "scatter_rows"
    rows = leads * tail if narrow else leads * n
    if rows >= SPREAD * SPREAD or tail >= LIMIT:
        return None
    sizes, near, far = moves
    about = selection(leads, n, tail, 1, 1, axes)
    if narrow:
        many = min(8, n)
        grid, group = (-(-n // many), *spread(rows)), (32 * many, 1, 1)
    else:
        grid = (tail, *spread(rows))
        group = block(*grid[:2])
    last = Dispatch(
        "indexing",
        f"{kernel}_{word_of(dtype)}",
        [Out(0), In(1), ordered, places, about, pack_uints(sizes), pack_longs(near),
         pack_longs(far)],
        grid,
        group,
        groups=narrow,
        constants={0: CODE[dtype], 1: 0, 2: mode_of(mode, dtype), 3: False, 4: False, 5: False},
    )  # fmt: skip
    return [*steps, last]


@launcher("scatter")
def scatter(row, ins, outs, params):
    """A copy of x; numbers of the destinations, sorted; what meets at each, folded."""
    (x, updates, *indices), (axes, lead, mode) = ins, params
    strides = fits(*ins)
    n = indices[0].size
    if x.size == 0:  # where there are indices the processor says what is wrong
        return None if n else []
    indexed = pick(x.shape, axes)
    if x.dtype not in STORED or strides is None or n >= LIMIT or prod(indexed) >= INDEX_LIMIT:
        return None
    steps = whole_copy(x, strides[0])
    if steps is None or updates.size == 0:
        return steps
    keys = Scratch(0, 4 * n)
    for k, index in enumerate(indices):
        steps.append(
            index_pass(
                "index_keys", row, k, k + 2, index, strides[k + 2], keys, indexed[k], 1, axes[k]
            )
        )
    ahead, behind = groups_of(x.shape, axes, lead)
    row_major, far = dense_strides(x.shape, 1), strides[1]
    middle = len(indices[0].shape)
    front = joined(pick(x.shape, ahead), pick(row_major, ahead), far[:lead])
    names = joined(indices[0].shape, far[lead : lead + middle])
    back = joined(pick(x.shape, behind), pick(row_major, behind), far[lead + middle :])
    moves = (
        front[0] + names[0] + back[0] + indexed,
        front[1] + (0,) * len(names[0]) + back[1] + pick(row_major, axes),
        front[2] + names[1] + back[2],
    )
    counts = (len(front[0]), len(names[0]), len(back[0]), len(indexed))
    leads, tail = prod(pick(x.shape, ahead)), prod(pick(x.shape, behind))
    last = fold(x.dtype, mode, keys, n, counts, leads, tail, moves)
    return None if last is None else steps + last


@launcher("put_along_axis")
def put_along(row, ins, outs, params):
    """As scatter, every element being a destination of its own."""
    (x, updates, index), (axis, mode) = ins, params
    strides = fits(*ins)
    n = index.size
    if x.size == 0:
        return None if n else []
    if x.dtype not in STORED or strides is None or n >= LIMIT or x.size >= INDEX_LIMIT:
        return None
    steps = whole_copy(x, strides[0])
    if steps is None or n == 0:
        return steps
    keys = Scratch(0, 4 * n)
    each = index_pass("along_keys", row, 0, 2, index, strides[2], keys, x.shape[axis], 1, axis)
    sizes, _ = joined(index.shape, strides[2])
    tail = prod(index.shape[axis + 1 :])
    counts = (0, len(sizes), 0, 0)
    each.arguments[2] = selection(1, index.shape[axis], tail, x.shape[axis], 1, counts, row, axis)
    names = joined(updates.shape, strides[1])
    moves = ((*names[0], x.size), (0,) * len(names[0]) + (1,), names[1])
    last = fold(x.dtype, mode, keys, n, (0, len(names[0]), 0, 1), 1, 1, moves)
    return None if last is None else [*steps, each, *last]


@launcher("slice_update")
def slice_update(row, ins, outs, params):
    """A copy of x, then the update copied or combined where it belongs."""
    (x, update), (start, _, stride, mode) = ins, params
    strides = fits(*ins)
    if x.size == 0:
        return []
    if x.dtype not in STORED or strides is None:
        return None
    steps = whole_copy(x, strides[0])
    if steps is None or update.size == 0:
        return steps
    row_major = dense_strides(x.shape, 1)
    offset = sum(first * step for first, step in zip(start, row_major))
    target = tuple(step * each for step, each in zip(stride, row_major))
    if mode == "none":
        more = copy(In(1), Out(0), update.shape, strides[1], target, x.itemsize, offset)
    else:
        more = combined(x, update, mode, strides[1], target, offset)
    return None if more is None else steps + more


def combined(x: Operand, update: Operand, mode, strides, target, offset):
    """One dispatch that joins every update with the element where it belongs."""
    sizes, near, far = joined(update.shape, target, strides)
    if not sizes:
        sizes, near, far = (1,), (0,), (0,)
    rows = prod(sizes[:-1])
    if sizes[-1] >= LIMIT or rows >= SPREAD * SPREAD:
        return None
    about = selection(rows, 1, 1, 1, offset, (0, len(sizes), 0, 0))
    grid = (sizes[-1], *spread(rows))
    arguments = [Out(0), In(1), about, pack_uints(sizes), pack_longs(near), pack_longs(far)]
    constants = {0: CODE[x.dtype], 1: 0, 2: mode_of(mode, x.dtype), 3: False, 4: False, 5: False}
    kernel = f"combine_{word_of(x.dtype)}"
    return [Dispatch("indexing", kernel, arguments, grid, block(*grid[:2]), constants=constants)]


@launcher("concatenate")
def concatenate(row, ins, outs, params):
    """A copy an operand."""
    (out,), (axis,) = outs, params
    strides = fits(*ins)
    if strides is None:
        return None
    steps, offset, target = [], 0, dense_strides(out.shape, 1)
    for k, x in enumerate(ins):
        more = copy(In(k), Out(0), x.shape, strides[k], target, x.itemsize, offset)
        if more is None:
            return None
        steps += more
        offset += x.shape[axis] * target[axis]
    return steps
