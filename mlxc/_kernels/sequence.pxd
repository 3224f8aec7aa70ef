"""What the kernels of recurrent cells are handed: one sequence, its weights packed, and what of it
to compute: which step, rows and units.

A unit is one number of the state, a row one example of the batch; BLOCK units are computed at a
time, and TALL rows at most. All arrays are float32 and row-major.
"""

from mlxc._kernels.tile cimport LANES
from mlxc._kernels.types cimport f32

cdef enum:
    RNN = 0
    GRU = 1
    LSTM = 2

cdef enum:
    BLOCK = 2 * LANES    # units side by side in a panel; kernels alone know how many that is
    TALL = 32            # rows

cdef struct Sequence:
    int cell
    int gates                # 1, 3 or 4
    Py_ssize_t batch, steps, size
    const f32* weight        # (gates * size, size)
    f32* panels              # see pack; blocks * panel numbers
    Py_ssize_t blocks        # of units
    Py_ssize_t panel         # numbers of a packed block
    const f32* first         # (batch, size): hidden states ahead of the first step
    f32* hidden              # (batch, steps, size)
    f32* saved               # (batch, steps, 4 * size): gru and lstm; NULL: nobody wants it
    # gru: the bias of the state's part of the new gate (size); lstm: cells ahead of the first step
    const f32* other
    f32* cells               # (batch, steps, size): lstm
    const f32* x             # (batch, steps, gates * size): the way forward
    # The way back.
    const f32* ct_hidden     # (batch, steps, size)
    const f32* ct_cells
    f32* back                # (batch, steps, back_size)
    Py_ssize_t back_size     # size, or 4 * size
    f32* ct_first            # (batch, size): what a step leaves to the one before; in the end of
    f32* ct_other            # the first hidden states and cells

# Packs one block of units: forward (gate, size, BLOCK), back (gates * size, BLOCK), zeros beyond
# the last unit.
ctypedef void (*pack_fn)(Sequence* s, Py_ssize_t block) noexcept nogil
# One step of rows first to first + count (at most TALL) and of one block of units. The way back
# calls step -1 in the end, for the first states.
ctypedef void (*step_fn)(
    Sequence* s, Py_ssize_t step, Py_ssize_t first, Py_ssize_t count, Py_ssize_t block
) noexcept nogil
