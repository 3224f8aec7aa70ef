# cython: wraparound=True
"""Programs lowered to loops over tiles: what both the map and the reduction drivers run.

`run_tile` points each register at memory or scratch for one tile and calls the instructions in
order. Instructions on SINGLE registers are the same for every tile and run once, in `prepare`. Of
tiles that follow each other in a row only the first is pointed: the others' operands are some bytes
further each.
"""

from operator import itemgetter

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memcpy

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._kernels.abi cimport centered_rows_fn, copy_fn, loop_fn, rows_fn

cdef enum:
    BOUND = 64               # bytes of an instruction's operands

cdef copy_fn[9] COPIERS


cdef void fill_copiers():
    for size in (1, 2, 4, 8):
        COPIERS[<int>size] = <copy_fn>kernel(f"copy_{size}")


fill_copiers()


cdef void* zeroed(Py_ssize_t count, Py_ssize_t size) except NULL:
    cdef void* data = PyMem_Calloc(max(count, 1), size)
    if data == NULL:
        raise MemoryError()
    return data


cdef class Tiles:
    """What a Lowering found out, packed for loops without Python."""

    def __init__(self, lowering):
        cdef int k, j
        lowering.allocate()
        self.c.rows = lowering.rows
        self.c.columns = lowering.columns
        self.c.tile_rows = lowering.tile_rows
        self.c.tile_columns = lowering.tile_columns
        self.c.bound = lowering.scratch
        self.c.scratch = lowering.scratch + BOUND * len(lowering.code)
        self.c.result = lowering.result
        self.c.nouter = len(lowering.outer)
        for k in range(self.c.nouter):
            self.c.outer[k] = lowering.outer[k]
        self.c.nwithin = len(lowering.within)
        for k in range(self.c.nwithin):
            self.c.within[k] = lowering.within[k]
        self.c.nregs = len(lowering.shapes)
        if self.c.nregs > MAX_REGISTERS:
            raise RuntimeError(f"[eval] a program of {self.c.nregs} registers; at most "
                               f"{MAX_REGISTERS} are planned for")
        self.c.reg_shape = <int*>zeroed(self.c.nregs, sizeof(int))
        self.c.reg_offset = <int*>zeroed(self.c.nregs, sizeof(int))
        for k in range(self.c.nregs):
            self.c.reg_shape[k] = lowering.shapes[k]
            self.c.reg_offset[k] = lowering.offsets[k]
        self.pack_streams(sorted(lowering.streams, key=itemgetter(3)))   # by shape
        code = [c for c in lowering.code if c[3] == SINGLE] + [c for c in lowering.code
                                                               if c[3] != SINGLE]
        self.c.nprologue = len([c for c in lowering.code if c[3] == SINGLE])
        self.c.ncode = len(code)
        steps = {stream[2]: stream[4] * lowering.tile_columns for stream in lowering.streams
                 if stream[3] == FULL}
        self.c.code = <Instruction*>zeroed(self.c.ncode, sizeof(Instruction))
        for k, (function, kind, args, shape, item, _) in enumerate(code):
            self.c.code[k].function = <void*><size_t>function
            self.c.code[k].kind = kind
            self.c.code[k].count = len(args)
            self.c.code[k].shape = shape
            self.c.code[k].itemsize = item
            for j in range(self.c.code[k].count):
                self.c.code[k].args[j] = args[j]
                self.c.code[k].steps[j] = steps.get(args[j], 0)

    def pack_streams(self, streams):
        cdef int k, j
        cdef Stream* s
        self.c.nstreams = len(streams)
        self.c.nsingle = len([stream for stream in streams if stream[3] == SINGLE])
        self.c.direct = all([stream[5] for stream in streams])
        self.c.streams = <Stream*>zeroed(self.c.nstreams, sizeof(Stream))
        for k, (slot, offset, reg, shape, item, direct, dense, output, inner, outer,
                within) in enumerate(streams):
            s = &self.c.streams[k]
            s.slot = slot
            s.offset = offset
            s.reg = reg
            s.shape = shape
            s.itemsize = item
            s.direct = direct
            s.dense = dense
            s.output = output
            s.inner = inner
            for j in range(<int>len(outer)):
                s.outer[j] = outer[j]
            for j in range(<int>len(within)):
                s.within[j] = within[j]

    def __dealloc__(self):
        PyMem_Free(self.c.streams)
        PyMem_Free(self.c.code)
        PyMem_Free(self.c.reg_shape)
        PyMem_Free(self.c.reg_offset)

cdef void prepare(TileCode* tiles, char** slots, char** regs, char* scratch) noexcept nogil:
    """Point the registers that live in scratch, and compute what is the same for all tiles."""
    cdef int k
    cdef Stream* s
    for k in range(tiles.nregs):
        if tiles.reg_offset[k] >= 0:
            regs[k] = scratch + tiles.reg_offset[k]
    for k in range(tiles.nsingle):
        s = &tiles.streams[k]
        regs[s.reg] = slots[s.slot] + s.offset
    for k in range(tiles.nprologue):
        run_instruction(&tiles.code[k], regs, 1, 1)


cdef void run_tile(TileCode* tiles, char** slots, char** regs, Py_ssize_t row, Py_ssize_t rows,
                   Py_ssize_t column,
                   Py_ssize_t columns) noexcept nogil:
    """One tile: rows from row on, columns from column on (all of them if there are several rows).
    """
    cdef int k
    cdef Stream* s
    for k in range(tiles.nsingle, tiles.nstreams):
        s = &tiles.streams[k]
        if s.direct:
            regs[s.reg] = slots[s.slot] + s.offset + row_offset(tiles, s, row)
            if s.shape == FULL:
                regs[s.reg] += column * s.itemsize
        else:
            gather(tiles, s, slots[s.slot] + s.offset, regs[s.reg], row, rows, column, columns)
    for k in range(tiles.nprologue, tiles.ncode):
        run_instruction(&tiles.code[k], regs, rows, columns)


cdef void bind_code(TileCode* tiles, char** regs, char* scratch) noexcept nogil:
    """Note where the tile just run has the operands of each instruction; all streams are direct."""
    cdef char** args = <char**>(scratch + tiles.bound)
    cdef int k, j
    for k in range(tiles.nprologue, tiles.ncode):
        for j in range(8):
            args[j] = regs[tiles.code[k].args[j]] if j < tiles.code[k].count else NULL
        args += 8


cdef void run_next_tile(TileCode* tiles, char* scratch, Py_ssize_t columns) noexcept nogil:
    """The tile behind the one that the code is bound to, in the same row. What it does besides the
    loops is a good part of a small tile's time: one addition an operand."""
    cdef char** args = <char**>(scratch + tiles.bound)
    cdef Instruction* code
    cdef int k, j
    for k in range(tiles.nprologue, tiles.ncode):
        code = &tiles.code[k]
        for j in range(8):
            args[j] += code.steps[j]
        run_loop(code, args, 1, columns)
        args += 8


cdef inline Py_ssize_t row_offset(TileCode* tiles, Stream* s, Py_ssize_t row) noexcept nogil:
    """Bytes from the stream's start to a row."""
    cdef Py_ssize_t offset = 0
    cdef int k
    if tiles.nouter == 1:
        return row * s.outer[0]
    for k in range(tiles.nouter - 1, -1, -1):
        offset += row % tiles.outer[k] * s.outer[k]
        row //= tiles.outer[k]
    return offset


cdef void gather(TileCode* tiles, Stream* s, char* source, char* target, Py_ssize_t row,
                 Py_ssize_t rows,
                 Py_ssize_t column, Py_ssize_t columns) noexcept nogil:
    """Copy a strided tile into a dense register."""
    cdef copy_fn copy = COPIERS[s.itemsize]
    cdef Py_ssize_t r, offset, index, width, run, done
    cdef int k
    if s.shape == COLUMN:
        if tiles.nouter == 1:
            copy(source + row * s.outer[0], s.outer[0], target, s.itemsize, rows)
            return
        for r in range(rows):
            memcpy(target + r * s.itemsize, source + row_offset(tiles, s, row + r), s.itemsize)
        return
    if tiles.nwithin <= 1:
        for r in range(rows):
            copy(source + row_offset(tiles, s, row + r) + column * s.inner, s.inner, target,
                 s.itemsize, columns)
            target += columns * s.itemsize
        return
    width = tiles.within[tiles.nwithin - 1]      # runs along the innermost dimension
    for r in range(rows):
        done = 0
        while done < columns:
            index = (column + done) // width
            run = (column + done) % width
            offset = row_offset(tiles, s, row + r) + run * s.inner
            run = min(width - run, columns - done)
            for k in range(tiles.nwithin - 2, -1, -1):
                offset += index % tiles.within[k] * s.within[k]
                index //= tiles.within[k]
            copy(source + offset, s.inner, target, s.itemsize, run)
            target += run * s.itemsize
            done += run


cdef inline void run_instruction(Instruction* code, char** regs, Py_ssize_t rows,
                                 Py_ssize_t columns) noexcept nogil:
    cdef char* args[8]
    cdef int k
    for k in range(code.count):
        args[k] = regs[code.args[k]]
    run_loop(code, args, rows, columns)


cdef inline void run_loop(Instruction* code, char** args, Py_ssize_t rows,
                          Py_ssize_t columns) noexcept nogil:
    cdef Py_ssize_t count = 1
    if code.shape == FULL:
        count = rows * columns
    elif code.shape == COLUMN:
        count = rows
    if code.kind == LOOP or code.kind == REPEAT:
        (<loop_fn>code.function)(args, count)
    elif code.kind == FOLD and code.count == 3:
        (<centered_rows_fn>code.function)(args[0], args[1], args[2], rows, columns)
    elif code.kind == FOLD or code.kind == EXPAND:
        (<rows_fn>code.function)(args[0], args[1], rows, columns)
    elif args[0] != args[1]:
        memcpy(args[1], args[0], count * code.itemsize)
