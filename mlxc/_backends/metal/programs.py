"""One kernel for each kind of program: maps, rows, reductions.

* map: see maps.py.
* rows: a simdgroup has a short row, a threadgroup a long one. The rows are gone through once a
  stage (between reductions); what spans them is computed again from its loads. Threads keep those
  in registers, where they fit, and what was reduced and is needed again.
* reduce: what is left is laid out as results times reduced elements. Where the innermost axis is
  reduced, a team of threads has a result, otherwise a column of threads; few long results are cut
  into parts, whose values a second kernel joins.

Results do not depend on scheduling: every element has one place in a fixed tree.
"""

from math import prod

from . import expressions
from .dispatch import Out, Scratch
from .layout import up
from .loops import (
    GROUP,
    GROUP_ARGUMENT,
    KEPT,
    LANE_ARGUMENTS,
    SIMD,
    THREAD_ARGUMENT,
    add_inner,
    close_loop,
    dispatch,
    open_loop,
    packs,
    print_values,
)
from .maps import map_program
from .printing import OPERATIONS, ROWS, Kernel, Unprintable

__all__ = ["dispatches"]

KEPT_OF_ROW = 16  # of one load of a row
SHORT_ROW = 512  # elements up to which a simdgroup has a row
ENOUGH = 1024  # threadgroups that fill a device
PART = 4096  # elements a part of a reduction is worth
COLUMNS = 32  # of a threadgroup that reduces down columns
PACKED_ROWS, PACKED_COLUMNS = (16, 8, 4), (4,)  # bytes of packs where those are reduced
AHEAD = 4  # packs that a thread reads before it joins columns


def dispatches(program):
    """What runs a program, or None where it must run on the processor."""
    try:
        if 0 in program.space:
            if program.kind == "reduce":
                return None  # its results are identities
            return []
        kernel = Kernel(program)
        if program.kind == "map":
            return map_program(kernel)
        if program.kind == "rows":
            return _rows(kernel)
        return _reduce(kernel)
    except Unprintable:
        return None


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

    def needed(self, roots, known=()):
        """The values that span rows and that `roots` are computed from, roots included; what is
        known is not computed."""
        wanted, pending = set(), [k for k in roots if self.full[k]]
        while pending:
            k = pending.pop()
            if k not in wanted:
                wanted.add(k)
                pending += [i for i in self.operands(k) if self.full[i] and k not in known]
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
    if inner_sizes:
        others = [(*a, *b[:-1]) for a, b in zip(outer, inner)]
        kernel.choose_pack([s[-1] for s in inner], others, inner_sizes[-1])
        inner_sizes, inner = kernel.in_packs(inner_sizes, inner)
        columns = prod(inner_sizes)
    threads, each = _threads_of_row(rows, columns, short, len(loads), kernel.pack)
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
        print_values(kernel, flat, at_row, 1)
        spanning = [k for k in range(len(levels.full)) if levels.full[k]]
        kernel.add_divisors(flat, spanning)
        found = [
            k
            for k, value in enumerate(program.values)
            if value[0] == "reduce" and levels.stage[k] == stage + 1
        ]
        if found:
            _print_stage(kernel, levels, found, along)
            kernel.add_divisors(found, spanning)
    _print_outputs(kernel, levels, along, inner, at_row)
    name = f"{kernel.name('rows')}_{'short' if short else threads}_{each}"
    name += f"{'_whole' if whole else ''}{packs(kernel)}"
    grid = (up(rows, teams), 1, 1)
    return [dispatch(kernel, name, [GROUP_ARGUMENT, *LANE_ARGUMENTS], grid, (threads, 1, 1))]


def _threads_of_row(rows, columns, short, loads, pack=1):
    """Threads of a threadgroup, and steps of each load that a thread keeps: 0 if it keeps none and
    reads them again. `columns` counts steps, of `pack` elements."""
    threads, kept, room = GROUP, KEPT_OF_ROW, KEPT
    if pack > 1 and loads == 1:  # packs take less registers
        kept, room = 2 * kept, 2 * room
    while not short and threads < 512 and threads * kept < columns * pack:
        threads *= 2
    while not short and threads < 512 and rows < ENOUGH and threads * 8 < columns:
        threads *= 2
    each, team = 1, SIMD if short else threads
    if columns % team == 0:
        each = columns // team
    while each * team < columns:
        each *= 2
    if each * pack <= kept and each * pack * loads <= room:
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
        self.condition = "" if whole else "c < columns"
        self.sizes, self.strides, self.above = sizes, strides, above
        self.depth = 3 if each else 2
        self.known = {}

    def open(self):
        """Begin the loop; `at` knows the offsets within it."""
        if self.each:
            open_loop(self.kernel, self.each, "c", "first", "step", self.condition)
        else:
            self.kernel.add("for (uint c = first; c < columns; c += step) {")
        self.known = add_inner(
            self.kernel, "c", "c", self.sizes, self.strides, "r", self.above, self.depth
        )

    def close(self):
        if self.each:
            close_loop(self.kernel)
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
    # Few values are joined as they come; sums of many keep what rounding takes.
    joining = "Joining" if along.each else "Running"
    for k in found:
        _, code, source, _ = values[k]
        compute = expressions.compute_type(_name(source))
        kernel.types[k] = compute
        kind = expressions.TYPES[compute]
        facts[k] = f"{OPERATIONS[ROWS[code].name]}<{kind}>", kind
        kernel.add(f"{joining}<{facts[k][0]}, {kind}> part{k};")
    again = _needed_again(kernel, levels, found, along)
    for k in again:
        kernel.add(f"{facts[again[k]][1]} kept{k}[{along.each * kernel.pack}];")
        again[k] = f"kept{k}[{'k' if kernel.pack == 1 else f'k * {kernel.pack} + e'}]"
    along.open()
    wanted = levels.needed([values[k][3] for k in found], kernel.kept)
    kernel.load_packs(sorted(wanted), along.at, along.depth)
    depth = kernel.open_elements([], along.depth)
    print_values(kernel, wanted, along.at, depth)
    for k in found:
        kernel.add(f"part{k}.add(v{values[k][3]});", depth)
    for k, place in again.items():
        kernel.add(f"{place} = v{k};", depth)
    kernel.close_elements([], along.at, along.depth)
    along.close()
    kernel.kept.update(again)
    for k in found:
        operation, kind = facts[k]
        text = _joined_by_team(kernel, operation, kind, f"part{k}.total()")
        kernel.add(f"const {kind} v{k} = {expressions.wrap(text, _name(values[k][2]))};")


def _needed_again(kernel, levels, found, along):
    """Operands of the reductions `found` that are computed, and needed in later stages: as many as
    there are registers for, each with a reduction of its type."""
    values = kernel.program.values
    if not along.each:
        return {}
    now = levels.stage[found[0]]
    roots = [
        value[3] for k, value in enumerate(values) if value[0] == "reduce" and levels.stage[k] > now
    ]
    later = levels.needed([*roots, *(stream.value for stream in kernel.outputs)], kernel.kept)
    again = {values[k][3]: k for k in found if values[k][3] in later - set(kernel.kept)}
    room = (KEPT if kernel.pack == 1 else 2 * KEPT) // (along.each * kernel.pack)
    room -= len(kernel.kept)
    return dict(list(again.items())[: max(0, room)])


def _name(code):
    return expressions.DTYPES[code].name


def _print_outputs(kernel, levels, along, strides, at_row):
    full = [s for s in kernel.outputs if any(strides[kernel.streams.index(s)])]
    if full:
        along.open()
        wanted = levels.needed([stream.value for stream in full], kernel.kept)
        kernel.load_packs(sorted(wanted), along.at, along.depth)
        depth = kernel.open_elements(full, along.depth)
        print_values(kernel, wanted, along.at, depth)
        for stream in full:
            kernel.put(stream, along.at(stream), depth)
        kernel.close_elements(full, along.at, along.depth)
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
    sizes, near, far = (reduced_sizes, inner, outer) if by_rows else (kept_sizes, outer, inner)
    if sizes:
        others = [(*a, *b[:-1]) for a, b in zip(far, near)]
        packs = PACKED_ROWS if by_rows else PACKED_COLUMNS
        kernel.choose_pack([s[-1] for s in near], others, sizes[-1], results=False, sizes=packs)
        sizes, near = kernel.in_packs(sizes, near)
    if by_rows:
        reduced_sizes, inner, length = sizes, near, prod(sizes)
    else:
        kept_sizes, outer, results = sizes, near, prod(sizes)
    groups = results if by_rows else up(results, COLUMNS)
    parts = 1
    if groups < ENOUGH:
        parts = max(1, min(up(ENOUGH, groups), length // (PART // kernel.pack), 1024))
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


def _accumulate(kernel, operand, reduced, above, part="part", depth=2):
    """The loop's body: the value of step `c`, added to `part`. What the kept axes alone decide is
    computed here too: it is mostly absent."""
    known = add_inner(kernel, "c", "c", *reduced, "r", above, depth=depth)

    def at(stream):
        return known.get(stream.name, "0")

    values = range(len(kernel.program.values) - 1)
    kernel.load_packs(values, at, depth)
    inside = kernel.open_elements([], depth)
    print_values(kernel, values, at, inside)
    kernel.add(f"{part}.add(v{operand});", inside)
    kernel.close_elements([], at, depth)


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
    name += packs(kernel)
    first = dispatch(kernel, name, attributes, grid, group, extra)
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
    if kernel.pack == 1:
        _accumulate(kernel, operand, reduced, above)
    else:  # a pack's elements as they come, packs so that sums keep what rounding takes
        kernel.add(f"Joining<{operation}, {kind}> few;", 2)
        _accumulate(kernel, operand, reduced, above, "few")
        kernel.add("part.add(few.total());", 2)
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
        [GROUP_ARGUMENT, *LANE_ARGUMENTS],
    )


def _reduce_columns(kernel, kept, reduced, results, length, parts):
    """Threads side by side have results (or packs of them) side by side; eight of them share one,
    and meet in shared memory."""
    k, operand, row, compute, kind, operation = _reduction_of(kernel)
    height, pack = GROUP // COLUMNS, kernel.pack
    kernel.add(f"const uint wanted = group.x * {COLUMNS} + thread_in_group.x;")
    kernel.add(f"const bool alive = wanted < uint({kernel.number(results)});")
    kernel.add("const uint row = alive ? wanted : 0;")
    _add_part(kernel, length, parts)
    above = kernel.add_offsets("r", "row", *kept)
    kernel.add(f"threadgroup {kind} shared[{GROUP * pack}];")
    kernel.add(f"Running<{operation}, {kind}> part[{pack}];")
    if pack == 1:
        kernel.add(f"for ({kernel.whole} c = low + thread_in_group.y; c < high; c += {height}) {{")
        _accumulate(kernel, operand, reduced, above, "part[0]")
    else:  # as along rows
        kernel.add(f"{kernel.whole} at = low + thread_in_group.y;")
        rest = height * (AHEAD - 1)
        kernel.add(f"for (; at < high && high - at > {rest}; at += {height * AHEAD}) {{")
        kernel.add(f"Joining<{operation}, {kind}> few[{pack}];", 2)
        open_loop(kernel, AHEAD, "c", "at", height, "")
        _accumulate(kernel, operand, reduced, above, "few[e]", 3)
        close_loop(kernel)
        kernel.add(f"for (uint e = 0; e < {pack}; e++)", 2)
        kernel.add("part[e].add(few[e].total());", 3)
        kernel.add("}")
        kernel.add(f"for ({kernel.whole} c = at; c < high; c += {height}) {{")
        _accumulate(kernel, operand, reduced, above, "part[e]")
    kernel.add("}")
    place = f"y * {COLUMNS} + thread_in_group.x"
    kernel.add(f"for (uint e = 0; e < {pack}; e++)")
    kernel.add(f"shared[(thread_in_group.{place}) * {pack} + e] = part[e].total();", 2)
    kernel.add("threadgroup_barrier(mem_flags::mem_threadgroup);")
    kernel.add(f"for (uint e = 0; alive && thread_in_group.y == 0 && e < {pack}; e++) {{")
    kernel.add(f"{kind} total = part[e].total();", 2)
    kernel.add(f"for (uint y = 1; y < {height}; y++)", 2)
    kernel.add(f"total = {operation}::join(total, shared[({place}) * {pack} + e]);", 3)
    grid = (up(results, COLUMNS), parts, 1)
    return _finish(
        kernel,
        k,
        row,
        compute,
        kind,
        results * pack,
        parts,
        f"(row * {pack} + e)" if pack > 1 else "row",
        grid,
        (COLUMNS, height, 1),
        [GROUP_ARGUMENT, THREAD_ARGUMENT],
    )
