"""One kernel for each kind of program: maps, rows, reductions.

* map, dense: threads take elements a threadgroup's width apart, a few each.
* map, strided: threadgroups cover the innermost axis and, above it, all others taken together;
  threads take a few elements along one of the two.
* rows: a simdgroup has a short row, a threadgroup a long one. The rows are gone through once a
  stage (between reductions); what spans them is computed again from its loads. Threads keep those
  in registers, where they fit.
* reduce: what is left is laid out as results times reduced elements. Where the innermost axis is
  reduced, a team of threads has a result, otherwise a column of threads; few long results are cut
  into parts, whose values a second kernel joins.

Results do not depend on scheduling: every element has one place in a fixed tree.
"""

import struct
from math import prod

from mlxc._table.dtypes import CODE, DTYPES

from . import expressions
from .dispatch import Bytes, Dispatch, In, Out, Scratch
from .layout import spread, up
from .printing import OPERATIONS, ROWS, Kernel, Unprintable

__all__ = ["dispatches"]

GROUP = 256  # threads of a threadgroup, where nothing else says it
EACH = 4  # elements a thread of a map; twice as many where all are narrow
KEPT = 32  # elements that a thread keeps in registers at most
KEPT_OF_ROW = 16  # of one load of a row
MANY = 1 << 18  # elements from which a thread of a strided map has several
SIMD = 32
SHORT_ROW = 512  # elements up to which a simdgroup has a row
ENOUGH = 1024  # threadgroups that fill a device
PART = 4096  # elements a part of a reduction is worth
COLUMNS = 32  # of a threadgroup that reduces down columns

_GROUP = "uint3 group [[threadgroup_position_in_grid]]"
_THREAD = "uint3 thread_in_group [[thread_position_in_threadgroup]]"
_GROUPS = "uint3 groups [[threadgroups_per_grid]]"
_LANES = (
    "uint lane [[thread_index_in_simdgroup]]",
    "uint simdgroup [[simdgroup_index_in_threadgroup]]",
)


def dispatches(program):
    """What runs a program, or None where it must run on the processor."""
    try:
        if 0 in program.space:
            if program.kind == "reduce":
                return None  # its results are identities
            return []
        kernel = Kernel(program)
        if program.kind == "map":
            return _map(kernel)
        if program.kind == "rows":
            return _rows(kernel)
        return _reduce(kernel)
    except Unprintable:
        return None


def _dispatch(kernel, name, attributes, grid, group, extra=(), constants=()):
    loads = sum(not stream.written for stream in kernel.streams)
    arguments = [*map(In, range(loads)), *map(Out, range(len(kernel.outputs))), *extra]
    letter = "q" if kernel.wide else "i"
    layout = kernel.layout or [0]
    arguments.insert(len(kernel.streams), Bytes(struct.pack(f"<{len(layout)}{letter}", *layout)))
    source = kernel.source(name, attributes, constants)
    return Dispatch("", name, arguments, grid, group, groups=True, source=source)


def _print_values(kernel, wanted, at, depth):
    """Statements of the values in `wanted`, in order."""
    for k in sorted(wanted):
        kernel.statement(k, at, depth)


# ---- maps


def _map(kernel):
    program = kernel.program
    sizes, strides = kernel.joined(range(len(program.space)))
    dense = len(sizes) <= 1 and all(s in ([], [0], [1]) for s in strides)
    return [(_dense_map if dense else _strided_map)(kernel, sizes, strides)]


def _each(kernel, loads):
    """Elements a thread of a map: enough of them in flight hide the time that memory takes."""
    narrow = all(DTYPES[CODE[stream.dtype]].size <= 2 for stream in kernel.streams)
    each = 2 * EACH if narrow else EACH
    return each if each * len(loads) <= KEPT else 1


def _open_loop(kernel, each, index, start, apart, end):
    """A loop over this thread's elements, before `end` if that is not empty."""
    kernel.add("#pragma unroll", 0)
    kernel.add(f"for (uint k = 0; k < {each}; k++) {{")
    kernel.add(f"const {kernel.whole} {index} = {start} + k * {apart};", 2)
    kernel.add(f"if ({index} < {end}) {{" if end else "{", 2)


def _close_loop(kernel):
    kernel.add("}", 2)
    kernel.add("}")


def _dense_map(kernel, sizes, strides):
    size, whole = prod(sizes), kernel.whole
    moving = {stream.name for stream, s in zip(kernel.streams, strides) if s == [1]}
    loads = [k for k, stream in kernel.stream_of.items() if stream.name in moving]
    fixed = [k for k in kernel.stream_of if k not in loads]
    each = _each(kernel, loads)
    kernel.add(f"const {whole} size = {kernel.number(size)};")
    kernel.add(
        f"const {whole} start = {whole}(group.x) * {each * GROUP} + thread_in_group.x;",
    )
    kernel.add("if (start >= size)")
    kernel.add("return;", 2)

    def at(stream):
        return "i" if stream.name in moving else "0"

    _print_values(kernel, fixed, at, 1)
    kernel.keep(loads, each)
    loop = each, "i", "start", GROUP, "size"
    if loads:
        _open_loop(kernel, *loop)
        kernel.fetch(loads, at, 3)
        _close_loop(kernel)
    _open_loop(kernel, *loop)
    _print_values(kernel, set(range(len(kernel.program.values))) - set(fixed), at, 3)
    for stream in kernel.outputs:
        if stream.name not in moving and size > 1:  # one value, which one thread writes
            kernel.add("if (i == 0)", 3)
        kernel.store(stream, f"v{stream.value}", at(stream), 3)
    _close_loop(kernel)
    grid = (up(size, each * GROUP), 1, 1)
    name = f"{kernel.name('map')}_{each}"
    return _dispatch(kernel, name, [_GROUP, _THREAD], grid, (GROUP, 1, 1))


def _strided_map(kernel, sizes, strides):
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
    across = columns >= each * width and all(s[-1] in (0, 1) for s in strides)
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
        loop = each, "column", "start", width, "columns"
        outside, inside = by_row, by_column
    else:
        loop = each, "row", "start", height, "rows"
        outside, inside = by_column, by_row
    _print_strided_map(kernel, loads, fixed, outside, inside, loop)
    grid = (up(columns, wide), *spread(up(rows, high)))
    name = f"{kernel.name('map')}_{width}_{each}{'_across' if across else ''}"
    return _dispatch(kernel, name, [_GROUP, _THREAD, _GROUPS], grid, (width, height, 1))


def _print_strided_map(kernel, loads, fixed, outside, inside, loop):
    """Offsets along one axis `outside` of the loop over this thread's elements, along the other
    within it."""
    above = kernel.add_offsets(*outside)
    _print_values(kernel, fixed, lambda stream: "0", 1)
    kernel.keep(loads, loop[0])
    places = {stream.name: f"place_{stream.name}" for stream in kernel.outputs}
    for name in places.values():
        kernel.add(f"{kernel.step} {name}[{loop[0]}];")
    _open_loop(kernel, *loop)
    known = _add_inner(kernel, *inside, outside[0], above, depth=3)
    kernel.fetch(loads, lambda stream: known.get(stream.name, "0"), 3)
    for name, place in places.items():
        kernel.add(f"{place}[k] = {known.get(name, '0')};", 3)
    _close_loop(kernel)
    _open_loop(kernel, *loop)
    _print_values(kernel, set(range(len(kernel.program.values))) - set(fixed), None, 3)
    for stream in kernel.outputs:
        if stream.name not in known:  # one value, which one thread writes
            kernel.add("if (column == 0 && row == 0)", 3)
        kernel.store(stream, f"v{stream.value}", f"{places[stream.name]}[k]", 3)
    _close_loop(kernel)


def _add_inner(kernel, prefix, index, sizes, strides, before, above, depth=1):
    """Offsets within something whose own offsets are `before` (of the streams in `above`): name of
    the stream -> offset as text."""
    names = [stream.name for stream in kernel.streams]
    known = {names[k]: f"{before}_{names[k]}" for k in above}
    for k in kernel.add_offsets(prefix, index, sizes, strides, depth=depth):
        inner = f"{prefix}_{names[k]}"
        known[names[k]] = f"{known[names[k]]} + {inner}" if k in above else inner
    return known


# ---- rows


class _Levels:
    """Which values span a row (`full`), and after how many reductions each is known (`stage`)."""

    def __init__(self, kernel, within):
        program = kernel.program
        self.values = program.values
        self.full, self.stage = [], []
        for k, value in enumerate(self.values):
            if value[0] == "load":
                position = kernel.streams.index(kernel.stream_of[k])
                self.full.append(any(within[position]))
                self.stage.append(0)
                continue
            operands = self.operands(k)
            stage = max([self.stage[i] for i in operands], default=0)
            self.full.append(value[0] != "reduce" and any(self.full[i] for i in operands))
            self.stage.append(stage + (value[0] == "reduce"))

    def operands(self, k):
        value = self.values[k]
        if value[0] == "load":
            return ()
        return value[3] if value[0] == "op" else (value[3],)

    def needed(self, roots):
        """The values that span rows and that `roots` are computed from, roots included."""
        wanted, pending = set(), [k for k in roots if self.full[k]]
        while pending:
            k = pending.pop()
            if k not in wanted:
                wanted.add(k)
                pending += [i for i in self.operands(k) if self.full[i]]
        return wanted


def _rows(kernel):
    program = kernel.program
    split = len(program.space) - program.row_axes
    outer_sizes, outer = kernel.joined(range(split))
    inner_sizes, inner = kernel.joined(range(split, len(program.space)))
    rows, columns = prod(outer_sizes), prod(inner_sizes)
    if rows >= 2**31:
        raise Unprintable("too many rows")
    kernel.headers.add("reduce.h")
    levels = _Levels(kernel, inner)
    loads = [k for k in kernel.stream_of if levels.full[k]]
    short = columns <= SHORT_ROW
    threads, each = _threads_of_row(rows, columns, short, len(loads))
    teams = threads // SIMD if short else 1
    _add_team(kernel, rows, short, teams, threads)
    above = kernel.add_offsets("r", "row", outer_sizes, outer)
    names = [stream.name for stream in kernel.streams]

    def at_row(stream):
        return f"r_{stream.name}" if names.index(stream.name) in above else "0"

    kernel.add(f"const uint columns = {kernel.number(columns)};")
    whole = each * (SIMD if short else threads) == columns
    along = _Along(kernel, each, whole, inner_sizes, inner, above)
    if each:
        kernel.keep(loads, each)
        along.open()
        kernel.fetch(loads, along.at, along.depth)
        along.close()
    for stage in range(max(levels.stage) + 1):
        flat = [
            k
            for k, value in enumerate(program.values)
            if not levels.full[k] and levels.stage[k] == stage and value[0] != "reduce"
        ]
        _print_values(kernel, flat, at_row, 1)
        found = [
            k
            for k, value in enumerate(program.values)
            if value[0] == "reduce" and levels.stage[k] == stage + 1
        ]
        if found:
            _print_stage(kernel, levels, found, along)
    _print_outputs(kernel, levels, along, inner, at_row)
    name = (
        f"{kernel.name('rows')}_{'short' if short else threads}_{each}{'_whole' if whole else ''}"
    )
    grid = (up(rows, teams), 1, 1)
    return [_dispatch(kernel, name, [_GROUP, *_LANES], grid, (threads, 1, 1))]


def _threads_of_row(rows, columns, short, loads):
    """Threads of a threadgroup, and elements of each load that a thread keeps: 0 if it keeps none
    and reads them again."""
    threads = GROUP
    while not short and threads < 512 and threads * KEPT_OF_ROW < columns:
        threads *= 2
    while not short and threads < 512 and rows < ENOUGH and threads * 8 < columns:
        threads *= 2
    each, team = 1, SIMD if short else threads
    if columns % team == 0:
        each = columns // team
    while each * team < columns:
        each *= 2
    if each <= KEPT_OF_ROW and each * loads <= KEPT:
        return threads, each
    threads = GROUP
    while not short and threads < 1024 and rows < ENOUGH and threads * 8 < columns:
        threads *= 2
    return threads, 0


class _Along:
    """The loop along a row: over what this thread keeps, or over memory (`each` 0). Where every
    thread has as many elements there is nothing to ask, and reads follow each other without."""

    def __init__(self, kernel, each, whole, sizes, strides, above):
        self.kernel, self.each = kernel, each
        self.end = "" if whole else "columns"
        self.sizes, self.strides, self.above = sizes, strides, above
        self.depth = 3 if each else 2
        self.known = {}

    def open(self):
        """Begin the loop; `at` knows the offsets within it."""
        if self.each:
            _open_loop(self.kernel, self.each, "c", "first", "step", self.end)
        else:
            self.kernel.add("for (uint c = first; c < columns; c += step) {")
        self.known = _add_inner(
            self.kernel, "c", "c", self.sizes, self.strides, "r", self.above, self.depth
        )

    def close(self):
        if self.each:
            _close_loop(self.kernel)
        else:
            self.kernel.add("}")

    def at(self, stream):
        return self.known.get(stream.name, "0")


def _add_team(kernel, rows, short, teams, threads):
    """Which row this thread works on, and with how many others."""
    count = kernel.number(rows)
    wanted = f"group.x * {teams} + simdgroup" if short else "group.x"
    kernel.add(f"const uint row = {wanted};")
    # Who has no row reads none: an output may lie where an operand lay, and its row is written.
    kernel.add(f"if (row >= uint({count}))")
    kernel.add("return;", 2)
    if short:
        kernel.add("const uint first = lane;")
        kernel.add(f"const uint step = {SIMD};")
    else:
        kernel.add(f"const uint first = simdgroup * {SIMD} + lane;")
        kernel.add(f"const uint step = {threads};")
        kernel.add(f"const uint simdgroups = {threads // SIMD};")
    kernel.short = short
    kernel.shared = {}


def _joined_by_team(kernel, operation, kind, value):
    """The join of every thread's value, as text; declares the memory it needs."""
    if kernel.short:
        return f"simd_reduce<{operation}, {kind}>({value})"
    if kind not in kernel.shared:
        kernel.shared[kind] = f"shared_{kind}"
        kernel.add(f"threadgroup {kind} shared_{kind}[{SIMD}];")
    return f"block_reduce<{operation}, {kind}>({value}, shared_{kind}, lane, simdgroup, simdgroups)"


def _print_stage(kernel, levels, found, along):
    """One pass along the row for the reductions `found`."""
    values = kernel.program.values
    facts = {}
    for k in found:
        _, code, source, _ = values[k]
        compute = expressions.compute_type(_name(source))
        kernel.types[k] = compute
        kind = expressions.TYPES[compute]
        facts[k] = f"{OPERATIONS[ROWS[code].name]}<{kind}>", kind
        kernel.add(f"Running<{facts[k][0]}, {kind}> part{k};")
    along.open()
    wanted = levels.needed([values[k][3] for k in found])
    _print_values(kernel, wanted, along.at, along.depth)
    for k in found:
        kernel.add(f"part{k}.add(v{values[k][3]});", along.depth)
    along.close()
    for k in found:
        operation, kind = facts[k]
        text = _joined_by_team(kernel, operation, kind, f"part{k}.total()")
        kernel.add(f"const {kind} v{k} = {expressions.wrap(text, _name(values[k][2]))};")


def _name(code):
    return expressions.DTYPES[code].name


def _print_outputs(kernel, levels, along, strides, at_row):
    full = [s for s in kernel.outputs if any(strides[kernel.streams.index(s)])]
    if full:
        along.open()
        wanted = levels.needed([stream.value for stream in full])
        _print_values(kernel, wanted, along.at, along.depth)
        for stream in full:
            kernel.store(stream, f"v{stream.value}", along.at(stream), along.depth)
        along.close()
    single = [s for s in kernel.outputs if s not in full]
    if single:
        kernel.add("if (first == 0) {")
        for stream in single:
            if not any(stream.strides):  # of all rows together
                kernel.add("if (row == 0)", 2)
            kernel.store(stream, f"v{stream.value}", at_row(stream), 2)
        kernel.add("}")


# ---- reductions


def _reduce(kernel):
    program = kernel.program
    axes = range(len(program.space))
    reduced = [a for a in axes if a in program.reduced]
    kept = [a for a in axes if a not in program.reduced]
    kept_sizes, outer = kernel.joined(kept)
    reduced_sizes, inner = kernel.joined(reduced)
    results, length = prod(kept_sizes), prod(reduced_sizes)
    by_rows = not kept or (reduced and reduced[-1] > kept[-1])
    if results >= 2**31 or length >= 2**31 * PART:
        raise Unprintable("too many results")
    kernel.headers.add("reduce.h")
    groups = results if by_rows else up(results, COLUMNS)
    parts = 1
    if groups < ENOUGH:
        parts = max(1, min(up(ENOUGH, groups), length // PART, 1024))
    text = _reduce_rows if by_rows else _reduce_columns
    return text(kernel, (kept_sizes, outer), (reduced_sizes, inner), results, length, parts)


def _reduction_of(kernel):
    k = len(kernel.program.values) - 1
    _, code, source, operand = kernel.program.values[k]
    compute = expressions.compute_type(_name(source))
    kind = expressions.TYPES[compute]
    kernel.types[k] = compute
    return k, operand, ROWS[code].name, compute, kind, f"{OPERATIONS[ROWS[code].name]}<{kind}>"


def _add_part(kernel, length, parts):
    """Which part of the reduced elements this threadgroup has: from `low` to `high`."""
    whole = kernel.whole
    kernel.add(f"const {whole} length = {kernel.number(length)};")
    kernel.add(f"const {whole} piece = {kernel.number(up(length, parts))};")
    kernel.add(f"const {whole} low = min(length, {whole}(group.y) * piece);")
    kernel.add(f"const {whole} high = min(length, low + piece);")


def _accumulate(kernel, operand, reduced, above):
    """The loop's body: the value of element `c`, added to `part`. What the kept axes alone decide
    is computed here too: it is mostly absent."""
    known = _add_inner(kernel, "c", "c", *reduced, "r", above, depth=2)
    _print_values(
        kernel, range(len(kernel.program.values) - 1), lambda stream: known.get(stream.name, "0"), 2
    )
    kernel.add(f"part.add(v{operand});", 2)


def _finish(kernel, k, row, compute, kind, results, parts, index, grid, group, attributes):
    """Write the result, or this part of it for a second kernel."""
    stream = kernel.outputs[0]
    code = kernel.program.values[k][2]
    extra = ()
    if parts == 1:
        kernel.store(stream, expressions.wrap("total", _name(code)), index, 2)
    else:
        memory = "int" if kind == "bool" else kind
        position = len(kernel.streams) + 1
        attributes = [f"device {memory}* partials [[buffer({position})]]", *attributes]
        kernel.add(
            f"partials[{kernel.whole}(group.y) * {kernel.whole}({kernel.number(results)}) + "
            f"{index}] = {memory}(total);",
            2,
        )
        extra = (Scratch(0, results * parts * (8 if compute in ("i64", "u64", "c64") else 4)),)
    kernel.add("}")
    name = kernel.name("reduce") + f"_{group[0]}" + ("_parts" if parts > 1 else "")
    first = _dispatch(kernel, name, attributes, grid, group, extra)
    if parts == 1:
        return [first]
    from .reduce import combine

    return [
        first,
        combine(row, compute, stream.dtype, extra[0], Out(0), results, parts, 1, results),
    ]


def _reduce_rows(kernel, kept, reduced, results, length, parts):
    k, operand, row, compute, kind, operation = _reduction_of(kernel)
    piece = up(length, parts)
    short = piece <= SHORT_ROW
    threads = GROUP
    teams = threads // SIMD if short else 1
    _add_team(kernel, results, short, teams, threads)
    _add_part(kernel, length, parts)
    above = kernel.add_offsets("r", "row", *kept)
    kernel.add(f"Running<{operation}, {kind}> part;")
    kernel.add(f"for ({kernel.whole} c = low + first; c < high; c += step) {{")
    _accumulate(kernel, operand, reduced, above)
    kernel.add("}")
    kernel.add(f"const {kind} total = {_joined_by_team(kernel, operation, kind, 'part.total()')};")
    kernel.add("if (first == 0) {")
    grid = (up(results, teams), parts, 1)
    return _finish(
        kernel,
        k,
        row,
        compute,
        kind,
        results,
        parts,
        "row",
        grid,
        (threads, 1, 1),
        [_GROUP, *_LANES],
    )


def _reduce_columns(kernel, kept, reduced, results, length, parts):
    """Threads side by side have results side by side; eight of them share one, and meet in shared
    memory."""
    k, operand, row, compute, kind, operation = _reduction_of(kernel)
    height = GROUP // COLUMNS
    kernel.add(f"const uint wanted = group.x * {COLUMNS} + thread_in_group.x;")
    kernel.add(f"const bool alive = wanted < uint({kernel.number(results)});")
    kernel.add("const uint row = alive ? wanted : 0;")
    _add_part(kernel, length, parts)
    above = kernel.add_offsets("r", "row", *kept)
    kernel.add(f"threadgroup {kind} shared[{GROUP}];")
    kernel.add(f"Running<{operation}, {kind}> part;")
    kernel.add(f"for ({kernel.whole} c = low + thread_in_group.y; c < high; c += {height}) {{")
    _accumulate(kernel, operand, reduced, above)
    kernel.add("}")
    kernel.add(f"shared[thread_in_group.y * {COLUMNS} + thread_in_group.x] = part.total();")
    kernel.add("threadgroup_barrier(mem_flags::mem_threadgroup);")
    kernel.add("if (alive && thread_in_group.y == 0) {")
    kernel.add(f"{kind} total = part.total();", 2)
    kernel.add(f"for (uint y = 1; y < {height}; y++)", 2)
    kernel.add(f"total = {operation}::join(total, shared[y * {COLUMNS} + thread_in_group.x]);", 3)
    grid = (up(results, COLUMNS), parts, 1)
    return _finish(
        kernel,
        k,
        row,
        compute,
        kind,
        results,
        parts,
        "row",
        grid,
        (COLUMNS, height, 1),
        [_GROUP, _THREAD],
    )
