"""Programs lowered to loops over tiles: what both the map and the reduction drivers run."""

cdef enum:
    MAX_OUTER = 32
    MAX_STREAMS = 128
    MAX_REGISTERS = 512
    STACK_SCRATCH = 65536      # bytes of scratch taken from the stack; more comes from the heap

cdef enum:                     # how many elements a register holds in a tile
    SINGLE = 0                 # one, the same everywhere
    COLUMN = 1                 # one a row
    FULL = 2                   # all

cdef enum:                     # Instruction.kind
    LOOP = 0                   # loop_fn over the tile, the column or a single value
    EXPAND = 1                 # one value a row to the full tile
    REPEAT = 2                 # a single value to the full tile or the column
    FOLD = 3                   # the full tile (and a center a row) to one value a row
    COPY = 4                   # as many bytes from register to register

cdef struct Stream:
    int slot
    Py_ssize_t offset          # bytes
    int reg
    int shape                  # SINGLE, COLUMN or FULL
    int itemsize
    # the register points into memory; otherwise values are gathered first
    bint direct
    bint dense                 # full tiles of whole rows are dense in memory
    bint output
    Py_ssize_t inner           # bytes between elements along a row (last of the row's dimensions)
    Py_ssize_t[MAX_OUTER] outer    # bytes between rows, one an outer dimension
    Py_ssize_t[MAX_OUTER] within   # bytes, one a dimension of the row

cdef struct Instruction:
    void* function
    int kind
    int count                  # registers in args
    int[8] args                # operands, then the result
    Py_ssize_t[8] steps        # bytes from theirs to those of the next tile in the same row
    int shape                  # of the result
    int itemsize               # of what is copied or repeated

cdef struct TileCode:
    Stream* streams
    Instruction* code
    int nstreams
    int nsingle                # streams of one value, which are the first
    bint direct                # whether all streams are
    int ncode
    int nprologue              # instructions that run once
    int nregs
    int* reg_shape
    int* reg_offset            # bytes into scratch, -1 for registers that streams point
    Py_ssize_t rows            # of the iteration space
    Py_ssize_t columns
    Py_ssize_t tile_rows
    Py_ssize_t tile_columns
    int nouter
    Py_ssize_t[MAX_OUTER] outer
    int nwithin                # dimensions of a row
    Py_ssize_t[MAX_OUTER] within
    Py_ssize_t scratch         # bytes
    Py_ssize_t bound           # bytes into scratch: where instructions' operands are
    int result                 # register of the value that a reduction folds, else -1

cdef class Tiles:
    cdef TileCode c

cdef void prepare(TileCode* tiles, char** slots, char** regs, char* scratch) noexcept nogil
cdef void run_tile(TileCode* tiles, char** slots, char** regs, Py_ssize_t row, Py_ssize_t rows,
                   Py_ssize_t column,
                   Py_ssize_t columns) noexcept nogil
cdef void bind_code(TileCode* tiles, char** regs, char* scratch) noexcept nogil
cdef void run_next_tile(TileCode* tiles, char* scratch, Py_ssize_t columns) noexcept nogil
