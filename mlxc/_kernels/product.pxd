"""What the kernels of matrix products are handed: one product, its plan, and the block in hand.

A product is out = alpha * (a @ b) + beta * c with a (m, k), b (k, n), c and out (m, n); c may be
out itself, a and b may not. The launcher fills the first part, `plan` the second; then either
`advance` steps from block to block, each packed by `pack` where units share panels and computed by
`tile`, or `skinny` takes few rows or columns; where the inner axis was split, `gather` ends it.
Many small products of one shape are taken by `small`, without a plan.
Units of one call are independent of each other and fixed by the sizes alone, so that results do not
depend on who computes them.
"""

cdef struct Product  # below

cdef enum:
    OWN = 0       # stored in the format that is computed in
    HALF = 1      # float16, computed in float32
    BRAIN = 2     # bfloat16, computed in float32

# What a tile does with what stands in out: nothing, out + a @ b, out - a @ b.
cdef enum:
    SET = 0
    ADD = 1
    SUBTRACT = 2

# Where a unit of `tile` finds an operand: where it stands, packed for all units, or in panels that
# it packs for itself.
cdef enum:
    STANDS = 0
    SHARED = 1
    OWNED = 2

# Sizes of the products of a batch that nothing is planned for, at most.
cdef enum:
    SMALL_ROWS = 32
    SMALL_COLUMNS = 64
    SMALL_DEEP = 32

# Packs `count` rows of a (columns of b) from number `first` on, kc long from k0 on, into panels.
ctypedef void (*panels_fn)(
    const Product* product, Py_ssize_t first, Py_ssize_t count, Py_ssize_t k0, Py_ssize_t kc,
    char* panels
) noexcept nogil

cdef struct Product:
    # The launcher's part. Strides in bytes; any sign, 0 allowed.
    Py_ssize_t m, n, k
    const char* a
    const char* b
    const char* c                     # NULL: nothing is added
    char* out
    # Where the memory ends that may be read beyond an operand's rows; NULL: nobody knows.
    const char* a_end
    const char* b_end
    Py_ssize_t a_row, a_col, b_row, b_col, c_row, c_col, out_row, out_col
    int a_form, b_form, c_form, out_form
    double alpha, beta
    char* scratch                     # of scratch_bytes, 64-byte aligned; set after plan
    int workers                       # how many may run units at once: for scratch_bytes alone

    # The plan. Sizes in elements unless they say bytes.
    bint skinny
    bint swapped                      # whether a and b have changed places
    int onto                          # what the first block of the inner axis does with out
    bint pairs                        # whether panels hold pairs of bfloat16
    Py_ssize_t scratch_bytes
    panels_fn rows                    # packs rows of a
    panels_fn columns                 # packs columns of b
    int a_way, b_way                  # where a unit finds them
    Py_ssize_t mr                     # rows of a that are multiplied at a time, at most
    Py_ssize_t mb, nb, kb             # what is packed at a time
    Py_ssize_t a_at, own_at, acc_at   # bytes into scratch, where the shared panels of b are first
    Py_ssize_t own_bytes              # panels and sums of a worker
    bint apart                        # whether tiles are computed in scratch
    bint kept                         # whether all their sums stay there until they are complete
    bint whole                        # whether a unit goes along all of its inner axis
    Py_ssize_t parts, part            # pieces of the inner axis, and the length of one
    Py_ssize_t skinny_units
    bint by_dot                       # skinny: b is contiguous along k, else along n
    bint by_fold                      # ... and so short that several dot products are one sum

    # The block in hand (packed products).
    bint started
    Py_ssize_t i0, j0, k0, mc, nc, kc
    Py_ssize_t um, un                 # rows and columns of a unit of `tile`
    Py_ssize_t b_units, pack_units, tile_units

ctypedef void (*plan_fn)(Product* product) noexcept nogil
# `count` small products that share all but their places: bytes from the start of a, b, c and out,
# and the inner size, five numbers for each; out in order, one behind the other.
ctypedef void (*small_fn)(
    const Product* like, const Py_ssize_t* at, Py_ssize_t count
) noexcept nogil
ctypedef bint (*advance_fn)(Product* product) noexcept nogil
