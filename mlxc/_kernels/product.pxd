"""What the kernels of matrix products are handed: one product, its plan, and the block in hand.

A product is out = alpha * (a @ b) + beta * c with a (m, k), b (k, n), c and out (m, n); c may be
out itself, a and b may not. The launcher fills the first part, `plan` the second; then either
`advance` steps from block to block, each packed by `pack` and computed by `tile`, or (few rows or
few columns) `skinny` and, where the inner axis was split, `gather`. Units of one call are
independent of each other and fixed by the sizes alone, so that results do not depend on who
computes them.
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

# Packs `count` rows of a (columns of b) from number `first` on, and the inner block in hand, into
# panels.
ctypedef void (*panels_fn)(
    const Product* product, Py_ssize_t first, Py_ssize_t count, char* panels
) noexcept nogil

cdef struct Product:
    # The launcher's part. Strides in bytes; any sign, 0 allowed.
    Py_ssize_t m, n, k
    const char* a
    const char* b
    const char* c                     # NULL: nothing is added
    char* out
    Py_ssize_t a_row, a_col, b_row, b_col, c_row, c_col, out_row, out_col
    int a_form, b_form, c_form, out_form
    double alpha, beta
    char* scratch                     # of scratch_bytes, 64-byte aligned; set after plan
    int workers                       # how many may run units at once: for scratch_bytes alone

    # The plan. Sizes in elements unless they say bytes.
    bint skinny
    int onto                          # what the first block of the inner axis does with out
    bint pairs                        # whether panels hold pairs of bfloat16
    Py_ssize_t scratch_bytes
    panels_fn rows                    # packs rows of a
    panels_fn columns                 # packs columns of b
    int mr, nr                        # rows of a panel of a, columns of a panel of b
    Py_ssize_t mb, nb, kb             # what is packed at a time
    bint fused                        # one unit of columns: `tile` packs its own rows
    Py_ssize_t a_at, acc_at           # bytes into scratch, where packed b is first
    Py_ssize_t skinny_units, parts    # parts: pieces of the inner axis
    Py_ssize_t part                   # length of a piece
    bint by_dot                       # skinny: b is contiguous along k, else along n

    # The block in hand (packed products).
    bint started
    Py_ssize_t i0, j0, k0, mc, nc, kc
    Py_ssize_t um, un                 # rows and columns of a unit of `tile`
    Py_ssize_t b_units, pack_units, tile_units

ctypedef void (*plan_fn)(Product* product) noexcept nogil
ctypedef bint (*advance_fn)(Product* product) noexcept nogil
