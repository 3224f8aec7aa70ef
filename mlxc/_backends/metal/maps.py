"""Maps as kernels: every element by itself.

* dense: threads take elements (or packs of them) a threadgroup's width apart, a few each.
* strided: threadgroups cover the innermost axis and, above it, all others taken together; threads
  take a few elements along one of the two.
* turned: where operands are dense along another axis than the result, squares of them go through
  threadgroup memory, so that both are walked along their memory.
"""

from math import prod

from mlxc._table.dtypes import CODE, DTYPES

from . import expressions
from .layout import SPREAD, spread, up
from .loops import (
    GROUP,
    GROUP_ARGUMENT,
    GROUPS_ARGUMENT,
    KEPT,
    SIMD,
    THREAD_ARGUMENT,
    add_inner,
    close_loop,
    dispatch,
    extend,
    open_loop,
    packs,
    print_values,
)

__all__ = ["map_program"]

EACH = 4  # elements, or packs of them, a thread of a map; more where all are narrow
MANY = 1 << 18  # elements from which a thread of a strided map has several
SIDE = 32  # of the squares that are turned
MOST_TILES = 24 << 10  # bytes of them


def map_program(kernel):
    program = kernel.program
    sizes, strides = kernel.joined(range(len(program.space)))
    dense = len(sizes) <= 1 and all(s in ([], [0], [1]) for s in strides)
    if dense:
        return [_dense_map(kernel, sizes, strides)]
    turned = _turned(kernel, sizes, strides)
    if turned:
        return [_turned_map(kernel, sizes, strides, *turned)]
    return [_strided_map(kernel, sizes, strides)]


def _each(kernel, loads):
    """Steps a thread of a map: enough of them in flight hide the time that memory takes."""
    items = [DTYPES[CODE[stream.dtype]].size for stream in kernel.streams]
    each = 2 * EACH if max(items) <= 2 and kernel.pack == 1 else EACH
    words = max(1, kernel.pack * max(items) // 4)  # registers a step of a load
    return each if each * words * len(loads) <= KEPT else 1


def _dense_map(kernel, sizes, strides):
    size, whole = prod(sizes), kernel.whole
    steps = [s[0] if s else 0 for s in strides]
    kernel.choose_pack(steps, [()] * len(steps), size, ragged=True)
    moving = {stream.name for stream, step in zip(kernel.streams, steps) if step}
    loads = [k for k, stream in kernel.stream_of.items() if stream.name in moving]
    fixed = [k for k in kernel.stream_of if k not in loads]
    each, pack = _each(kernel, loads), kernel.pack
    kernel.add(f"const {whole} size = {kernel.number(size)};")
    first = f"{whole}(group.x) * {each * GROUP} + thread_in_group.x"
    kernel.add(f"const {whole} start = {first if pack == 1 else f'({first}) * {pack}'};")
    kernel.add("if (start >= size)")
    kernel.add("return;", 2)
    condition = "i < size"
    if pack > 1:
        last = (each - 1) * GROUP * pack + pack
        kernel.add(f"const bool whole = placed && size >= {last} && start <= size - {last};")
        kernel.there = f"uint(min(size - i, {whole}({pack})))"
        condition = "whole || i < size"

    def at(stream):
        return "i" if stream.name in moving else "0"

    print_values(kernel, fixed, at, 1)
    kernel.keep(loads, each)
    loop = each, "i", "start", GROUP * pack, condition
    if loads:
        open_loop(kernel, *loop)
        kernel.fetch(loads, at, 3)
        close_loop(kernel)
    open_loop(kernel, *loop)
    depth = kernel.open_elements(kernel.outputs, 3)
    print_values(kernel, set(range(len(kernel.program.values))) - set(fixed), at, depth)
    for stream in kernel.outputs:
        if stream.name not in moving and size > 1:  # one value, which one thread writes
            kernel.add(f"if ({kernel.only('i == 0')})", depth)
        kernel.put(stream, at(stream), depth)
    kernel.close_elements(kernel.outputs, at, 3)
    close_loop(kernel)
    grid = (up(size, each * GROUP * pack), 1, 1)
    name = f"{kernel.name('map')}_{each}{packs(kernel)}"
    return dispatch(kernel, name, [GROUP_ARGUMENT, THREAD_ARGUMENT], grid, (GROUP, 1, 1))


def _strided_map(kernel, sizes, strides):
    kernel.choose_pack([s[-1] for s in strides], [s[:-1] for s in strides], sizes[-1])
    dense = all(s[-1] in (0, 1) for s in strides)
    sizes, strides = kernel.in_packs(sizes, strides)
    columns, rows, whole = sizes[-1], prod(sizes[:-1]), kernel.whole
    width = SIMD
    while width > 1 and width // 2 >= columns:
        width //= 2
    height = GROUP // width
    moving = {stream.name for stream, s in zip(kernel.streams, strides) if any(s)}
    loads = [k for k, stream in kernel.stream_of.items() if stream.name in moving]
    fixed = [k for k in kernel.stream_of if k not in loads]
    # Along columns a row's offset is computed once; where columns lie apart, what is near them in
    # memory is in the rows below.
    each = _each(kernel, loads) if columns * rows >= MANY else 1
    across = columns >= each * width and dense
    by_row = ("r", "row", sizes[:-1], [s[:-1] for s in strides])
    by_column = ("c", "column", sizes[-1:], [s[-1:] for s in strides])
    wide, high = (width * each, height) if across else (width, height * each)
    kernel.add(f"const {whole} columns = {kernel.number(columns)};")
    kernel.add(f"const {whole} rows = {kernel.number(rows)};")
    names = ("start", "row") if across else ("column", "start")
    kernel.add(f"const {whole} {names[0]} = {whole}(group.x) * {wide} + thread_in_group.x;")
    kernel.add(
        f"const {whole} {names[1]} = ({whole}(group.z) * groups.y + group.y) * {high} + "
        "thread_in_group.y;"
    )
    kernel.add(f"if ({names[0]} >= columns || {names[1]} >= rows)")
    kernel.add("return;", 2)
    if across:
        loop = each, "column", "start", width, "column < columns"
        outside, inside = by_row, by_column
    else:
        loop = each, "row", "start", height, "row < rows"
        outside, inside = by_column, by_row
    _print_strided_map(kernel, loads, fixed, outside, inside, loop)
    grid = (up(columns, wide), *spread(up(rows, high)))
    name = f"{kernel.name('map')}_{width}_{each}{'_across' if across else ''}{packs(kernel)}"
    return dispatch(
        kernel, name, [GROUP_ARGUMENT, THREAD_ARGUMENT, GROUPS_ARGUMENT], grid, (width, height, 1)
    )


def _print_strided_map(kernel, loads, fixed, outside, inside, loop):
    """Offsets along one axis `outside` of the loop over this thread's elements, along the other
    within it."""
    above = kernel.add_offsets(*outside)
    print_values(kernel, fixed, lambda stream: "0", 1)
    kernel.keep(loads, loop[0])
    places = {stream.name: f"place_{stream.name}" for stream in kernel.outputs}
    for name in places.values():
        kernel.add(f"{kernel.step} {name}[{loop[0]}];")
    open_loop(kernel, *loop)
    known = add_inner(kernel, *inside, outside[0], above, depth=3)
    kernel.fetch(loads, lambda stream: known.get(stream.name, "0"), 3)
    for name, place in places.items():
        kernel.add(f"{place}[k] = {known.get(name, '0')};", 3)
    close_loop(kernel)

    def place(stream):
        return f"{places[stream.name]}[k]"

    open_loop(kernel, *loop)
    depth = kernel.open_elements(kernel.outputs, 3)
    print_values(kernel, set(range(len(kernel.program.values))) - set(fixed), None, depth)
    for stream in kernel.outputs:
        if stream.name not in known:  # one value, which one thread writes
            kernel.add(f"if ({kernel.only('column == 0 && row == 0')})", depth)
        kernel.put(stream, place(stream), depth)
    kernel.close_elements(kernel.outputs, place, 3)
    close_loop(kernel)


def _turned(kernel, sizes, strides):
    """The axis that some loads are dense along, and those loads, if all other streams are along the
    last; None where squares would not pay."""
    loads = [
        k
        for k, stream in kernel.stream_of.items()
        if strides[kernel.streams.index(stream)][-1] not in (0, 1)
    ]
    steps = [strides[kernel.streams.index(kernel.stream_of[k])] for k in loads]
    axes = {each.index(1) if 1 in each else None for each in steps}
    if len(axes) != 1 or None in axes:
        return None
    (axis,) = axes
    across = all(each[-1] in (0, 1) for each in strides if each not in steps)
    items = [DTYPES[CODE[stream.dtype]].size for stream in kernel.streams]
    side = 2 * SIDE if min(items) == 2 else SIDE  # as pairs
    nbytes = sum(DTYPES[CODE[kernel.stream_of[k].dtype]].size for k in loads) * side * (side + 1)
    others = prod(sizes) // (sizes[-1] * sizes[axis])
    large = min(sizes[-1], sizes[axis]) >= SIDE // 2 and others < SPREAD
    down = up(sizes[axis], SIDE) < SPREAD
    return (axis, loads) if across and large and down and nbytes <= MOST_TILES else None


def _turned_map(kernel, sizes, strides, axis, turned):
    """A threadgroup has a square: along x the last axis, along y another; z counts all others."""
    names = [stream.name for stream in kernel.streams]
    columns, rows = sizes[-1], sizes[axis]
    rest = [k for k in range(len(sizes)) if k not in (axis, len(sizes) - 1)]
    if columns % 2 == rows % 2 == 0:  # narrow elements in pairs, along whichever axis is dense
        down = [names.index(kernel.stream_of[k].name) for k in turned]
        near = [s[axis] if k in down else s[-1] for k, s in enumerate(strides)]
        far = [s[-1] if k in down else s[axis] for k, s in enumerate(strides)]
        others = [(step, *(s[k] for k in rest)) for step, s in zip(far, strides)]
        kernel.choose_pack(near, others, columns, sizes=(4,), most=2)
    side, high = SIDE * kernel.pack, GROUP // SIDE
    x = "thread_in_group.x" + (f" * {kernel.pack}" if kernel.pack > 1 else "")
    for name, number in (("columns", columns), ("rows", rows)):
        kernel.add(f"const {kernel.whole} {name} = {kernel.number(number)};")
    for name, part in (("left", "x"), ("top", "y")):
        kernel.add(f"const {kernel.whole} {name} = {kernel.whole}(group.{part}) * {side};")
    outside = {}
    others = [sizes[k] for k in rest], [[each[k] for k in rest] for each in strides]
    extend(kernel, outside, "o", f"{kernel.whole}(group.z)", *others)
    steps = {k: strides[names.index(kernel.stream_of[k].name)][-1] for k in turned}
    _print_squares(kernel, steps, outside, side, high, x)
    straight = [k for k in kernel.stream_of if k not in turned]
    extend(kernel, outside, "c", f"left + {x}", [columns], [s[-1:] for s in strides])
    kernel.keep(straight, side // high)
    loop = side // high, "row", "top + thread_in_group.y", high
    inside = f"row < rows && left + {x} < columns"
    by_row = [rows], [[each[axis]] for each in strides]
    open_loop(kernel, *loop, inside)
    known = extend(kernel, dict(outside), "r", "row", *by_row, depth=3)
    kernel.fetch(straight, lambda stream: known.get(stream.name, "0"), 3)
    close_loop(kernel)
    kernel.add("threadgroup_barrier(mem_flags::mem_threadgroup);")
    for k in turned:
        at = f"({x}{' + e' if kernel.pack > 1 else ''}) * {side + 1} + thread_in_group.y"
        element = f"tile{k}[{at} + k * {high}]"
        kernel.kept[k] = expressions.load(element, kernel.stream_of[k].dtype)
    open_loop(kernel, *loop, inside)
    known = extend(kernel, dict(outside), "r", "row", *by_row, depth=3)
    depth = kernel.open_elements(kernel.outputs, 3)
    print_values(kernel, range(len(kernel.program.values)), None, depth)
    for stream in kernel.outputs:
        if not any(strides[names.index(stream.name)]):  # one value, which one thread writes
            kernel.add(f"if ({kernel.only(f'left + {x} + row + group.z == 0')})", depth)
        kernel.put(stream, known.get(stream.name, "0"), depth)
    kernel.close_elements(kernel.outputs, lambda stream: known.get(stream.name, "0"), 3)
    close_loop(kernel)
    grid = (up(columns, side), up(rows, side), prod(others[0]))
    name = f"{kernel.name('map')}_turned{packs(kernel)}"
    return dispatch(kernel, name, [GROUP_ARGUMENT, THREAD_ARGUMENT], grid, (SIDE, high, 1))


def _print_squares(kernel, steps, outside, side, high, x):
    """Fills threadgroup memory with a square of each load in `steps`, which tells its stride along
    the last axis; neighbours there are neighbours along the other axis."""
    for k in steps:
        kind = expressions.STORED[kernel.stream_of[k].dtype]
        kernel.add(f"threadgroup {kind} tile{k}[{side * (side + 1)}];")
    open_loop(kernel, side // high, "across", "left + thread_in_group.y", high, "across < columns")
    kernel.add(f"const {kernel.whole} down = top + {x};", 3)
    kernel.add("if (down < rows) {", 3)
    for k, step in steps.items():
        stream = kernel.stream_of[k]
        place = f"{outside.get(stream.name, '0')} + {kernel.step}(down)"
        place += f" + {kernel.step}(across) * {kernel.step}({kernel.number(step)})"
        to = f"(thread_in_group.y + k * {high}) * {side + 1} + {x}"
        if kernel.pack == 1:
            kernel.add(f"tile{k}[{to}] = {stream.name}[{place}];", 4)
            continue
        kernel.load_packs([k], lambda stream, place=place: place, 4)
        kernel.add(f"for (uint e = 0; e < {kernel.pack}; e++)", 4)
        kernel.add(f"tile{k}[{to} + e] = pack{k}.at(e);", 5)
    kernel.add("}", 3)
    close_loop(kernel)
