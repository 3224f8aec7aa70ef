# cython: wraparound=True
"""The CPU back end: programs of tiles run on the thread pool.

Work is split by its size alone, so that results do not depend on the number of threads.
"""

import os
from math import prod

from libc.string cimport memcpy

from mlxc._backends.cpu.blocks cimport Block, add_axis, fold_fn, move_parallel, start_block
from mlxc._backends.cpu.kernels cimport kernel
from mlxc._backends.cpu.tiles cimport (
    FULL, LOOP, MAX_REGISTERS, STACK_SCRATCH, Instruction, Stream, TileCode, Tiles, bind_code,
    prepare, run_next_tile, run_tile,
)
from mlxc._graph.dtypes cimport itemsize
from mlxc._graph.evaluate cimport set_backend
from mlxc._graph.program cimport Backend, Executable, Program
from mlxc._kernels.abi cimport centered_cols_fn, centered_rows_fn, cols_fn, loop_fn, rows_fn
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._threads.pool cimport interrupted, par, thread_count

from mlxc._graph.bind import ROWS
from mlxc._table.dtypes import COMPUTE_SIZE, DTYPES

from .kernels import TABLE
from .lowering import Lowering

DEBUG = int(os.environ.get("MLXC_DEBUG", "0") or 0)

cdef enum:
    CHUNK_WORK = 65536       # element operations a chunk of tiles should hold
    MAX_CHUNKS = 16          # a thread
    CHUNK_SIZE = 32768       # elements that are worth beginning a chunk: it takes a microsecond
    FEW_CHUNKS = 4           # a thread, which may be smaller than that
    PARTS = 64               # at most this many partial results of one long reduction
    PART_SIZE = 65536        # elements a partial result is worth
    PLAIN = 1 << 18          # elements that are added at a time where they stand,
    PLAIN_COLUMNS = 1024     # and their columns at most
    FEW_ROWS = 16            # at most so many are joined without accumulators
    FILL = 1 << 15           # bytes that are filled at a time
    MAX_KNOWN = 4096         # programs that are kept ready
    LOOK = 8                 # tiles between looks at the clock, which cost as much as a small one


cdef Py_ssize_t ceil_div(Py_ssize_t total, Py_ssize_t piece) noexcept nogil:
    """How many pieces cover a total; an empty piece counts as one."""
    return (total + piece - 1) // piece if piece > 0 else 0


cdef class CopyProgram(Executable):
    """A map that loads one stream and writes it as it is, into another arrangement."""

    cdef Block block
    cdef int source, target
    cdef Py_ssize_t offset

    def __init__(self, Program program):
        _, dtype, self.source, self.offset, steps = program.values[0]
        _, _, self.target, into = program.outputs[0]
        cdef Py_ssize_t item = itemsize[<int>dtype]
        start_block(&self.block, item, <fold_fn>kernel(f"fold_set_{item}"))
        for size, step, step_into in zip(program.space, steps, into):
            add_axis(&self.block, size, step_into, step)
        self.work = program.work

    cdef int run(self, char** slots) noexcept nogil:
        move_parallel(&self.block, slots[self.target], slots[self.source] + self.offset)
        return 0


def only_copies(Program program):
    """Whether a program changes nothing but the arrangement."""
    return (
        program.kind == "map" and len(program.values) == 1 and len(program.outputs) == 1
        and program.values[0][0] == "load" and program.values[0][1] == program.outputs[0][1]
    )


cdef struct MapJob:
    TileCode* tiles
    Py_ssize_t row_tiles
    Py_ssize_t column_tiles
    char** slots
    char* scratch            # per worker, or NULL: on the stack
    Py_ssize_t chunks


cdef class MapProgram(Executable):
    """Kinds "map" and "rows": every tile by itself."""

    cdef Tiles tiles
    cdef TileCode* code
    cdef Py_ssize_t row_tiles, column_tiles
    # a single loop over memory as it lies, in one tile: how often; 0: not so
    cdef Py_ssize_t at_once
    cdef int[8] once_slots
    cdef Py_ssize_t[8] once_offsets

    def __init__(self, Program program):
        axes = range(len(program.space))
        split = len(program.space) - program.row_axes if program.kind == "rows" else 0
        lowering = Lowering(program, list(axes[:split]), list(axes[split:])).lower()
        self.tiles = Tiles(lowering)
        self.code = &self.tiles.c
        if DEBUG >= 4:
            print(lowering.describe())
        self.row_tiles = ceil_div(self.code.rows, self.code.tile_rows)
        self.column_tiles = ceil_div(self.code.columns, self.code.tile_columns)
        self.work = program.work
        self.find_loop()

    cdef int find_loop(self) except -1:
        """See whether running comes to one call of one loop."""
        cdef Instruction* only = self.code.code
        cdef Stream* s
        cdef int k, j
        self.at_once = 0
        if (self.code.ncode != 1 or only.kind != LOOP or only.shape != FULL
                or not self.code.direct or self.row_tiles * self.column_tiles != 1):
            return 0
        for k in range(only.count):
            for j in range(self.code.nstreams):
                s = &self.code.streams[j]
                if s.reg == only.args[k]:
                    self.once_slots[k] = s.slot
                    self.once_offsets[k] = s.offset
                    break
            else:
                return 0
        self.at_once = self.code.rows * self.code.columns
        return 0

    cdef int run(self, char** slots) noexcept nogil:
        cdef MapJob job
        cdef Py_ssize_t count = self.row_tiles * self.column_tiles
        cdef Py_ssize_t workers
        cdef char* args[8]
        cdef int k
        if self.at_once:
            for k in range(self.code.code.count):
                args[k] = slots[self.once_slots[k]] + self.once_offsets[k]
            (<loop_fn>self.code.code.function)(args, self.at_once)
            return 0
        if count == 0:
            return 0
        job.tiles = self.code
        job.row_tiles = self.row_tiles
        job.column_tiles = self.column_tiles
        job.slots = slots
        job.scratch = NULL
        workers = thread_count()
        job.chunks = min(MAX_CHUNKS * workers, <Py_ssize_t>(self.work / CHUNK_WORK))
        job.chunks = min(job.chunks, max(FEW_CHUNKS * workers,
                                         self.code.rows * self.code.columns // CHUNK_SIZE))
        job.chunks = min(count, max(<Py_ssize_t>1, job.chunks))
        workers = workers if job.chunks > 1 else 1
        if self.code.scratch > STACK_SCRATCH:
            job.scratch = scratch_alloc(self.code.scratch * workers)
            if job.scratch == NULL:
                return 1
        if job.chunks == 1:
            run_map(&job, 0, 0)
        else:
            par(run_map, &job, job.chunks)
        if job.scratch != NULL:
            scratch_free(job.scratch, self.code.scratch * workers)
        return 0


cdef void run_map(void* argument, Py_ssize_t chunk, int worker) noexcept nogil:
    """A run of consecutive tiles."""
    cdef MapJob* job = <MapJob*>argument
    if job.scratch == NULL:
        run_map_on_stack(job, chunk)
    else:
        run_map_with(job, chunk, job.scratch + worker * job.tiles.scratch)


cdef void run_map_on_stack(MapJob* job, Py_ssize_t chunk) noexcept nogil:
    cdef char[STACK_SCRATCH + 64] stack
    run_map_with(job, chunk, <char*>((<size_t>stack + 63) & ~<size_t>63))


cdef void run_map_with(MapJob* job, Py_ssize_t chunk, char* scratch) noexcept nogil:
    cdef TileCode* tiles = job.tiles
    cdef char* regs[MAX_REGISTERS]
    cdef Py_ssize_t count = job.row_tiles * job.column_tiles
    cdef Py_ssize_t first = count * chunk // job.chunks
    cdef Py_ssize_t end = count * (chunk + 1) // job.chunks
    cdef Py_ssize_t row = first // job.column_tiles * tiles.tile_rows
    cdef Py_ssize_t column = first % job.column_tiles * tiles.tile_columns
    cdef Py_ssize_t tile, columns
    cdef bint bound = False
    prepare(tiles, job.slots, regs, scratch)
    for tile in range(first, end):
        columns = min(tiles.tile_columns, tiles.columns - column)
        if column and tile > first and tiles.direct:
            if not bound:
                bind_code(tiles, regs, scratch)
                bound = True
            run_next_tile(tiles, scratch, columns)
        else:
            bound = False
            run_tile(tiles, job.slots, regs, row, min(tiles.tile_rows, tiles.rows - row), column,
                     columns)
        column += columns
        if column == tiles.columns:
            column = 0
            row += tiles.tile_rows
        if tile % LOOK == LOOK - 1 and interrupted():
            return


def plain_step(lowering):
    """Elements between the rows of a reduction that adds nothing but what it loads; 0 if it does
    more, or if its rows are not dense and equally far apart."""
    reduced = prod(lowering.program.space[a] for a in lowering.program.reduced)
    even = len(lowering.outer) == 1 or (lowering.outer and lowering.outer[-1] == reduced)
    if lowering.code or not even:
        return 0
    registers = [stream[2] for stream in lowering.streams]
    at = registers.index(lowering.result)
    if lowering.center >= 0 and not lowering.streams[registers.index(lowering.center)][5]:
        return 0
    _, _, _, shape, item, *_, outer, _ = lowering.streams[at]
    if shape != FULL or not lowering.dense_in_row(at, item):
        return 0
    return outer[-1] // item if outer[-1] % item == 0 and outer[-1] > 0 else 0


cdef void fill(char* out, Py_ssize_t size, const char* value, Py_ssize_t width) noexcept nogil:
    """Repeat a value of some bytes; what is filled is what is copied next."""
    cdef Py_ssize_t done = min(width, size), count
    memcpy(out, value, done)
    while done < size:
        count = min(min(done, <Py_ssize_t>FILL), size - done)
        memcpy(out + done, out, count)
        done += count


cdef struct Reduction:
    TileCode* tiles
    bint by_rows
    void* fold               # a row to one accumulator: rows_fn, with centers centered_rows_fn
    void* add                # rows into a row of accumulators: cols_fn or centered_cols_fn
    int center               # register of centers, or -1
    cols_fn few              # a few rows where they stand to a row of results, or NULL
    loop_fn combine          # two accumulators
    loop_fn convert          # accumulator to compute type, or NULL
    loop_fn narrow           # compute type to stored dtype, or NULL
    int accumulator          # bytes
    int stored               # bytes
    char[16] identity
    Py_ssize_t kept          # outer kept indices
    Py_ssize_t reduced       # outer reduced indices
    Py_ssize_t width         # results per outer kept index: 1, or the columns
    Py_ssize_t parts
    Py_ssize_t column_tiles
    Py_ssize_t column_jobs   # runs of tiles of columns
    bint whole               # columns of one part: what a job adds up, it stores as well
    Py_ssize_t step          # elements between rows that are added where they stand; or 0
    int out_slot


cdef struct ReduceJob:
    Reduction* program
    char** slots
    char* scratch
    char* partial            # accumulators: parts x kept results, or a worker's one tile


cdef class ReduceProgram(Executable):
    """Kind "reduce": the value of each tile is folded into accumulators of a wider type.

    Kept dimensions are outermost. If the innermost dimension is reduced, rows are folded
    (``fold``); if it is kept, tiles are added up column by column (``add``). A long reduction is
    cut into parts of fixed size, whose results are combined in order.
    """

    cdef Tiles tiles
    cdef Reduction r

    def __init__(self, Program program):
        k = len(program.values) - 1
        _, row_code, dtype, _ = program.values[k]
        row = ROWS[row_code]
        fact = DTYPES[dtype]
        compute = fact.compute
        wide = row.accumulate.get(compute, compute)
        _, out_dtype, slot, _ = program.outputs[0]
        self.r.out_slot = slot
        self.r.accumulator = COMPUTE_SIZE[wide]
        self.r.stored = itemsize[<int>out_dtype]
        self.r.combine = <loop_fn>kernel(f"{row.combine}_{wide}_vv")
        self.r.convert = <loop_fn>(NULL if wide == compute else kernel(f"cast_{wide}_{compute}_v"))
        narrow = fact.short != fact.compute and fact.name != "bool_"
        self.r.narrow = <loop_fn>(kernel(f"store_{fact.short}_v") if narrow else NULL)
        self.set_identity(row, wide)
        self.lay_out(program, k)
        self.work = program.work

    def set_identity(self, row, wide):
        import numpy

        names = {"b8": "uint8", "i32": "int32", "u32": "uint32", "i64": "int64", "u64": "uint64",
                 "f32": "float32", "f64": "float64", "c64": "complex64"}
        dtype = numpy.dtype(names[wide])
        if row.identity is None:
            raw = extreme(row.combine, dtype)
        else:
            raw = numpy.array(row.identity, dtype)
        text = raw.tobytes()
        memcpy(self.r.identity, <char*>text, len(text))

    def lay_out(self, Program program, k):
        """Order the dimensions and choose between folding rows and adding columns."""
        cdef TileCode* tiles
        axes = list(range(len(program.space)))
        reduced = list(program.reduced)
        kept = [a for a in axes if a not in reduced]
        self.r.by_rows = bool(reduced) and reduced[-1] == axes[-1]
        inner = []
        pool = reduced if self.r.by_rows else kept
        while axes and axes[-1] in pool:
            inner.insert(0, axes.pop())
        # columns must be walked with one stride: what does not merge into them joins the rows
        while True:
            outer = [a for a in kept if a not in inner] + [a for a in reduced if a not in inner]
            lowering = Lowering(program, outer, inner, fold=False)
            if len(lowering.within) <= 1:
                break
            inner.pop(0)
        lowering.lower(result=k)
        self.r.step = 0 if self.r.by_rows else plain_step(lowering)
        if self.r.step:
            lowering = Lowering(program, outer, inner, fold=False)
            lowering.lower(result=k, tile=(1, min(lowering.columns, PLAIN_COLUMNS)))
        self.tiles = Tiles(lowering)
        self.r.center = lowering.center
        tiles = self.r.tiles = &self.tiles.c
        self.r.kept = self.r.reduced = 1
        for a in outer:
            if a in reduced:
                self.r.reduced *= program.space[a]
            else:
                self.r.kept *= program.space[a]
        if self.r.by_rows:
            self.r.fold = kernel(f"{lowering.folded}_part")
            self.r.width = 1
        else:
            self.r.add = kernel(f"{lowering.folded}_cols")
            self.r.width = tiles.columns
        tiles.tile_rows = min(tiles.tile_rows, max(self.r.reduced, 1))
        self.r.column_tiles = ceil_div(tiles.columns, tiles.tile_columns)
        self.r.column_jobs = 1 if self.r.by_rows else self.r.column_tiles
        total = self.r.reduced * tiles.columns if self.r.by_rows else self.r.reduced
        units = self.r.kept * (1 if self.r.by_rows else self.r.column_tiles)
        self.r.parts = 1
        if units < 16:
            size = self.r.reduced * tiles.columns
            self.r.parts = max(1, min(PARTS, size // PART_SIZE, total))
        self.r.whole = not self.r.by_rows and self.r.parts == 1
        if self.r.whole:
            size = self.r.reduced * tiles.columns
            self.r.column_jobs = max(1, min(self.r.column_tiles, ceil_div(size, PART_SIZE)))
        few = f"{lowering.folded}_few"
        self.r.few = NULL
        if self.r.whole and self.r.step and 0 < self.r.reduced <= FEW_ROWS and few in TABLE:
            self.r.few = <cols_fn>kernel(few)

    cdef int run(self, char** slots) noexcept nogil:
        cdef ReduceJob job
        cdef Py_ssize_t results = self.r.kept * self.r.width
        cdef Py_ssize_t size, jobs, workers, scratch, k
        if results == 0:
            return 0
        jobs = self.r.kept * self.r.parts
        workers = thread_count()
        scratch = self.r.tiles.scratch + 64
        size = workers * self.r.tiles.tile_columns if self.r.whole else results * self.r.parts
        size = size * self.r.accumulator + 64
        job.program = &self.r
        job.slots = slots
        job.partial = scratch_alloc(size)
        job.scratch = scratch_alloc(scratch * workers)
        if job.partial == NULL or job.scratch == NULL:
            if job.partial != NULL:
                scratch_free(job.partial, size)
            if job.scratch != NULL:
                scratch_free(job.scratch, scratch * workers)
            return 1
        if not self.r.whole:
            fill(job.partial, size - 64, self.r.identity, self.r.accumulator)
        if self.r.whole or (self.r.tiles.columns and self.r.reduced):
            if self.work < CHUNK_WORK or jobs * self.r.column_jobs == 1:
                for k in range(jobs * self.r.column_jobs):
                    run_reduction(&job, k, 0)
            else:
                par(run_reduction, &job, jobs * self.r.column_jobs)
        if not self.r.whole:
            finish(&self.r, &job, results)
        scratch_free(job.partial, size)
        scratch_free(job.scratch, scratch * workers)
        return 0


cdef void run_reduction(void* argument, Py_ssize_t chunk, int worker) noexcept nogil:
    """One part of one kept index (and some tiles of columns)."""
    cdef ReduceJob* job = <ReduceJob*>argument
    cdef Reduction* program = job.program
    cdef TileCode* tiles = program.tiles
    cdef char* regs[MAX_REGISTERS]
    cdef Py_ssize_t run = chunk % program.column_jobs
    cdef Py_ssize_t part = chunk // program.column_jobs % program.parts
    cdef Py_ssize_t kept = chunk // program.column_jobs // program.parts
    cdef char* scratch = <char*>((<size_t>(job.scratch + worker * (tiles.scratch + 64))
                                  + 63) & ~<size_t>63)
    cdef char* into = job.partial + (part * program.kept
                                     + kept) * program.width * program.accumulator
    if program.reduced:
        prepare(tiles, job.slots, regs, scratch)
    if program.by_rows:
        fold_rows(program, tiles, job.slots, regs, kept, part, into)
        return
    cdef Py_ssize_t tile = program.column_tiles * run // program.column_jobs
    cdef Py_ssize_t end = program.column_tiles * (run + 1) // program.column_jobs
    cdef Py_ssize_t column, columns
    while tile < end and not interrupted():
        column = tile * tiles.tile_columns
        columns = min(tiles.tile_columns, tiles.columns - column)
        if program.few != NULL:
            add_few(program, job.slots, regs, kept, column, columns)
        elif program.whole:
            into = job.partial + worker * tiles.tile_columns * program.accumulator
            fill(into, columns * program.accumulator, program.identity, program.accumulator)
            add_columns(program, tiles, job.slots, regs, kept, part, column, columns, into)
            store(program, into, job.slots[program.out_slot]
                  + (kept * program.width + column) * program.stored, columns)
        else:
            add_columns(program, tiles, job.slots, regs, kept, part, column, columns,
                        into + column * program.accumulator)
        tile += 1


cdef void fold_rows(Reduction* program, TileCode* tiles, char** slots, char** regs, Py_ssize_t kept,
                    Py_ssize_t part,
                    char* into) noexcept nogil:
    """All tiles of a part, each to one value, combined in order."""
    cdef Py_ssize_t row, rows, column, columns, low, high, first, last
    cdef char[16] value
    cdef char* args[3]
    args[0] = into
    args[1] = value
    args[2] = into
    low, high, first, last = 0, program.reduced, 0, tiles.columns
    if program.reduced >= program.parts:       # cut the outer reduced indices, or else the columns
        low = program.reduced * part // program.parts
        high = program.reduced * (part + 1) // program.parts
    else:
        first = tiles.columns * part // program.parts
        last = tiles.columns * (part + 1) // program.parts
        if tiles.tile_rows > 1:                # several rows a tile take whole rows only
            first, last = 0, tiles.columns if part == 0 else 0
    row = low
    while row < high and not interrupted():
        rows = min(tiles.tile_rows, high - row)
        column = first
        while column < last and not interrupted():
            columns = min(tiles.tile_columns, last - column)
            run_tile(tiles, slots, regs, kept * program.reduced + row, rows, column, columns)
            if program.center < 0:
                (<rows_fn>program.fold)(regs[tiles.result], value, 1, rows * columns)
            else:
                (<centered_rows_fn>program.fold)(regs[tiles.result], regs[program.center], value,
                                                 1, rows * columns)
            program.combine(args, 1)
            column += columns
        row += rows


cdef void add_columns(Reduction* program, TileCode* tiles, char** slots, char** regs,
                      Py_ssize_t kept, Py_ssize_t part, Py_ssize_t column, Py_ssize_t columns,
                      char* into) noexcept nogil:
    """All rows of a part into one tile of columns."""
    cdef Py_ssize_t row = program.reduced * part // program.parts
    cdef Py_ssize_t high = program.reduced * (part + 1) // program.parts
    cdef Py_ssize_t rows, together = tiles.tile_rows
    cdef Py_ssize_t step = program.step if program.step else columns
    if program.step:
        together = PLAIN // columns
    while row < high and not interrupted():
        rows = min(together, high - row)
        run_tile(tiles, slots, regs, kept * program.reduced + row, 1 if program.step else rows,
                 column, columns)
        if program.center < 0:
            (<cols_fn>program.add)(regs[tiles.result], into, rows, columns, step)
        else:
            (<centered_cols_fn>program.add)(regs[tiles.result], regs[program.center], into, rows,
                                            columns, step)
        row += rows


cdef void add_few(Reduction* program, char** slots, char** regs, Py_ssize_t kept,
                  Py_ssize_t column, Py_ssize_t columns) noexcept nogil:
    """A tile of columns of a few rows, at once in the compute type."""
    cdef float[PLAIN_COLUMNS] computed         # of half floats
    cdef char* out = slots[program.out_slot] + (kept * program.width + column) * program.stored
    cdef char* args[2]
    args[0] = <char*>computed if program.narrow != NULL else out
    args[1] = out
    run_tile(program.tiles, slots, regs, kept * program.reduced, 1, column, columns)
    program.few(regs[program.tiles.result], args[0], program.reduced, columns, program.step)
    if program.narrow != NULL:
        program.narrow(args, columns)


cdef void finish(Reduction* program, ReduceJob* job, Py_ssize_t results) noexcept nogil:
    """Combine the parts in order, and store."""
    cdef char* args[3]
    cdef Py_ssize_t part
    for part in range(1, program.parts):
        args[0] = job.partial
        args[1] = job.partial + part * results * program.accumulator
        args[2] = job.partial
        program.combine(args, results)
    store(program, job.partial, job.slots[program.out_slot], results)


cdef void store(Reduction* program, char* total, char* out, Py_ssize_t results) noexcept nogil:
    """Accumulators converted to what is stored, a block at a time."""
    cdef char[2048] computed
    cdef char* args[3]
    cdef Py_ssize_t at = 0, count
    cdef char* first
    while at < results and not interrupted():
        count = min(<Py_ssize_t>256, results - at)
        first = total + at * program.accumulator
        if program.convert != NULL:
            args[0] = first
            args[1] = <char*>computed if program.narrow != NULL else out + at * program.stored
            program.convert(args, count)
            first = computed
        if program.narrow != NULL:
            args[0] = first
            args[1] = out + at * program.stored
            program.narrow(args, count)
        elif program.convert == NULL:
            memcpy(out + at * program.stored, first, count * program.stored)
        at += count


def extreme(combine, dtype):
    """The value that max or min of nothing starts from."""
    import numpy

    lowest = combine == "maximum"
    if dtype.kind == "f":
        return numpy.array(-numpy.inf if lowest else numpy.inf, dtype)
    if dtype.kind == "c":
        bound = -numpy.inf if lowest else numpy.inf
        return numpy.array(complex(bound, bound), dtype)
    info = numpy.iinfo(dtype)
    return numpy.array(info.min if lowest else info.max, dtype)


cdef class CpuBackend(Backend):
    """Programs on the processor. Equal ones are made ready once: plans that differ in some shapes,
    as those of growing sequences do, have most of their programs in common."""

    cdef dict known

    def __init__(self):
        self.known = {}

    cdef Executable lower(self, Program program):
        key = (program.kind, program.space, program.row_axes, program.reduced,
               tuple(program.values), tuple(program.outputs))
        executable = self.known.get(key)
        if executable is None:
            if len(self.known) >= MAX_KNOWN:
                self.known.clear()
            executable = self.known[key] = lowered(program)
        return executable


cdef Executable lowered(Program program):
    if program.kind == "reduce":
        return ReduceProgram(program)
    if only_copies(program):
        return CopyProgram(program)
    return MapProgram(program)


set_backend(CpuBackend())
