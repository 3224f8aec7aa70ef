"""Steps of recurrent cells, forward and back: the product of the states with the packed weights and
the gates, for a block of units at a time, while it stands in the first-level cache.

Every number is computed by the same operations in the same order, however rows and blocks are
dealt out.
"""

from mlxc._kernels.mathematics cimport sigmoid_f32, tanh_f32
from mlxc._kernels.sequence cimport BLOCK, GRU, LSTM, RNN, TALL, Sequence
from mlxc._kernels.tile cimport LANES, ZERO, Vector, at, put
from mlxc._kernels.turn cimport turn_square
from mlxc._kernels.types cimport f32, f32_in, f32_out

cdef extern from * nogil:
    """
    #define mlxc_prefetch(p) __builtin_prefetch(p)
    """
    void prefetch "mlxc_prefetch"(const void* p)


cdef inline void fetch_ahead(
    const f32* a, Py_ssize_t row, Py_ssize_t count, Py_ssize_t size, Py_ssize_t gates
) noexcept nogil:
    """Ask for BLOCK numbers of every row and gate; rows lie too far apart to be foreseen."""
    cdef Py_ssize_t r, gate
    for r in range(count):
        for gate in range(gates):
            prefetch(a + r * row + gate * size)
            prefetch(a + r * row + gate * size + LANES)

# ---- products ----

cdef inline void put_two(f32* c, Vector left, Vector right) noexcept nogil:
    put(c, left, False)
    put(c + LANES, right, False)


cdef inline void four_rows(
    f32* c, Py_ssize_t ldc, const f32* a, Py_ssize_t row, const f32* panel, Py_ssize_t k
) noexcept nogil:
    """4 rows by BLOCK columns: eight sums keep the multipliers busy."""
    cdef Vector b0, b1
    cdef Vector c00 = ZERO, c01 = ZERO
    cdef Vector c10 = ZERO, c11 = ZERO
    cdef Vector c20 = ZERO, c21 = ZERO
    cdef Vector c30 = ZERO, c31 = ZERO
    cdef Py_ssize_t p
    for p in range(k):
        b0 = at(panel)
        b1 = at(panel + LANES)
        c00 = c00 + a[p] * b0
        c01 = c01 + a[p] * b1
        c10 = c10 + a[row + p] * b0
        c11 = c11 + a[row + p] * b1
        c20 = c20 + a[2 * row + p] * b0
        c21 = c21 + a[2 * row + p] * b1
        c30 = c30 + a[3 * row + p] * b0
        c31 = c31 + a[3 * row + p] * b1
        panel += BLOCK
    put_two(c, c00, c01)
    put_two(c + ldc, c10, c11)
    put_two(c + 2 * ldc, c20, c21)
    put_two(c + 3 * ldc, c30, c31)


cdef inline void eight_rows(
    f32* c, Py_ssize_t ldc, const f32* a, Py_ssize_t row, const f32* panel, Py_ssize_t k
) noexcept nogil:
    """8 rows by BLOCK columns, for 32 registers: the panel is read half as often."""
    cdef const f32* low = a + 4 * row
    cdef Vector b0, b1
    cdef Vector c00 = ZERO, c01 = ZERO, c10 = ZERO, c11 = ZERO
    cdef Vector c20 = ZERO, c21 = ZERO, c30 = ZERO, c31 = ZERO
    cdef Vector c40 = ZERO, c41 = ZERO, c50 = ZERO, c51 = ZERO
    cdef Vector c60 = ZERO, c61 = ZERO, c70 = ZERO, c71 = ZERO
    cdef Py_ssize_t p
    for p in range(k):
        b0 = at(panel)
        b1 = at(panel + LANES)
        c00 = c00 + a[p] * b0
        c01 = c01 + a[p] * b1
        c10 = c10 + a[row + p] * b0
        c11 = c11 + a[row + p] * b1
        c20 = c20 + a[2 * row + p] * b0
        c21 = c21 + a[2 * row + p] * b1
        c30 = c30 + a[3 * row + p] * b0
        c31 = c31 + a[3 * row + p] * b1
        c40 = c40 + low[p] * b0
        c41 = c41 + low[p] * b1
        c50 = c50 + low[row + p] * b0
        c51 = c51 + low[row + p] * b1
        c60 = c60 + low[2 * row + p] * b0
        c61 = c61 + low[2 * row + p] * b1
        c70 = c70 + low[3 * row + p] * b0
        c71 = c71 + low[3 * row + p] * b1
        panel += BLOCK
    put_two(c, c00, c01)
    put_two(c + ldc, c10, c11)
    put_two(c + 2 * ldc, c20, c21)
    put_two(c + 3 * ldc, c30, c31)
    put_two(c + 4 * ldc, c40, c41)
    put_two(c + 5 * ldc, c50, c51)
    put_two(c + 6 * ldc, c60, c61)
    put_two(c + 7 * ldc, c70, c71)


cdef inline void one_row(f32* c, const f32* a, const f32* panel, Py_ssize_t k) noexcept nogil:
    cdef Vector c0 = ZERO, c1 = ZERO
    cdef Py_ssize_t p
    for p in range(k):
        c0 = c0 + a[p] * at(panel)
        c1 = c1 + a[p] * at(panel + LANES)
        panel += BLOCK
    put_two(c, c0, c1)


cdef void product(
    f32* c, Py_ssize_t ldc, const f32* a, Py_ssize_t row, Py_ssize_t count, const f32* panel,
    Py_ssize_t k
) noexcept nogil:
    """c (count, BLOCK) = a (count, k) @ panel (k, BLOCK); ldc and row are in numbers."""
    cdef Py_ssize_t r = 0
    while LANES == 16 and r + 8 <= count:
        eight_rows(c + r * ldc, ldc, a + r * row, row, panel, k)
        r += 8
    while r + 4 <= count:
        four_rows(c + r * ldc, ldc, a + r * row, row, panel, k)
        r += 4
    while r < count:
        one_row(c + r * ldc, a + r * row, panel, k)
        r += 1


cdef void pack_forward(Sequence* s, Py_ssize_t block) noexcept nogil:
    """Numbers that meet one number of the state stand side by side."""
    cdef f32* out = s.panels + block * s.panel
    cdef Py_ssize_t start = block * BLOCK
    cdef Py_ssize_t width = min(<Py_ssize_t>BLOCK, s.size - start)
    cdef Py_ssize_t gate, k, j, squares = s.size // LANES if width == BLOCK else 0
    cdef const f32* w
    for gate in range(s.gates):
        w = s.weight + (gate * s.size + start) * s.size
        for k in range(squares):
            for j in range(2):
                turn_square(w + j * LANES * s.size + k * LANES, s.size, out + j * LANES, BLOCK)
            out += LANES * BLOCK
        for k in range(squares * LANES, s.size):
            for j in range(width):
                out[j] = w[j * s.size + k]
            for j in range(width, BLOCK):
                out[j] = <f32>0.0
            out += BLOCK


cdef void pack_back(Sequence* s, Py_ssize_t block) noexcept nogil:
    cdef f32* out = s.panels + block * s.panel
    cdef Py_ssize_t start = block * BLOCK
    cdef Py_ssize_t width = min(<Py_ssize_t>BLOCK, s.size - start)
    cdef Py_ssize_t k, j
    cdef const f32* w
    for k in range(s.gates * s.size):
        w = s.weight + k * s.size + start
        for j in range(width):
            out[j] = w[j]
        for j in range(width, BLOCK):
            out[j] = <f32>0.0
        out += BLOCK

# ---- forward: sums are (gates, BLOCK) of one row, of the product alone; gates that are saved lie
# `apart` numbers from each other ----

cdef inline void lstm_row(
    f32_in x, f32_in sums, f32_in before, f32_out saved, f32_out cell, f32_out hidden,
    Py_ssize_t size, Py_ssize_t apart, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    cdef f32 i, f, g, o, c
    for j in range(n):
        i = sigmoid_f32(x[j] + sums[j])
        f = sigmoid_f32(x[size + j] + sums[BLOCK + j])
        g = tanh_f32(x[2 * size + j] + sums[2 * BLOCK + j])
        o = sigmoid_f32(x[3 * size + j] + sums[3 * BLOCK + j])
        c = f * before[j] + i * g
        saved[j] = i
        saved[apart + j] = f
        saved[2 * apart + j] = g
        saved[3 * apart + j] = o
        cell[j] = c
        hidden[j] = o * tanh_f32(c)


cdef inline void gru_row(
    f32_in x, f32_in sums, f32_in before, f32_in bias, f32_out saved, f32_out hidden,
    Py_ssize_t size, Py_ssize_t apart, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    cdef f32 reset, keep, inner, new
    for j in range(n):
        reset = sigmoid_f32(x[j] + sums[j])
        keep = sigmoid_f32(x[size + j] + sums[BLOCK + j])
        inner = sums[2 * BLOCK + j] + bias[j]
        new = tanh_f32(x[2 * size + j] + reset * inner)
        saved[j] = reset
        saved[apart + j] = keep
        saved[2 * apart + j] = inner
        saved[3 * apart + j] = new
        hidden[j] = (<f32>1.0 - keep) * new + keep * before[j]


cdef inline void rnn_row(f32_in x, f32_in sums, f32_out hidden, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        hidden[j] = tanh_f32(x[j] + sums[j])


cdef void step_forward(
    Sequence* s, Py_ssize_t step, Py_ssize_t first, Py_ssize_t count, Py_ssize_t block
) noexcept nogil:
    cdef f32[TALL * 4 * BLOCK] sums
    cdef f32[4 * BLOCK] unread                   # gates that nobody wants saved
    cdef f32* saved = unread
    cdef Py_ssize_t apart = BLOCK if s.saved == NULL else s.size
    cdef f32* panel = s.panels + block * s.panel
    cdef Py_ssize_t line = s.steps * s.size      # numbers between the states of two rows
    cdef Py_ssize_t start = block * BLOCK, ldc = s.gates * BLOCK, r, gate, at_row
    cdef Py_ssize_t width = min(<Py_ssize_t>BLOCK, s.size - start)
    cdef const f32* states = s.hidden + first * line + (step - 1) * s.size
    cdef const f32* before
    if step == 0:
        states, line = s.first + first * s.size, s.size
    at_row = first * s.steps + step
    fetch_ahead(s.x + at_row * s.gates * s.size + start, s.steps * s.gates * s.size, count, s.size,
                s.gates)
    for gate in range(s.gates):
        product(sums + gate * BLOCK, ldc, states, line, count, panel + gate * s.size * BLOCK,
                s.size)
    for r in range(count):
        at_row = (first + r) * s.steps + step
        before = states + r * line + start
        if s.saved != NULL:
            saved = s.saved + at_row * 4 * s.size + start
        if s.cell == LSTM:
            before = s.cells + (at_row - 1) * s.size + start
            if step == 0:
                before = s.other + (first + r) * s.size + start
            lstm_row(
                s.x + at_row * 4 * s.size + start, sums + r * ldc, before, saved,
                s.cells + at_row * s.size + start, s.hidden + at_row * s.size + start, s.size,
                apart, width,
            )
        elif s.cell == GRU:
            gru_row(
                s.x + at_row * 3 * s.size + start, sums + r * ldc, before, s.other + start, saved,
                s.hidden + at_row * s.size + start, s.size, apart, width,
            )
        else:
            rnn_row(
                s.x + at_row * s.size + start, sums + r * ldc, s.hidden + at_row * s.size + start,
                width,
            )

# ---- back: ct is the whole cotangent of one row's hidden states ----

cdef inline void lstm_back(
    f32_in ct, f32_in ct_cell, f32_in saved, f32_in cell, f32_in before, f32_out back,
    f32_out carry, Py_ssize_t size, Py_ssize_t n
) noexcept nogil:
    """carry: the cotangent of the cells behind this step, and then ahead of it."""
    cdef Py_ssize_t j
    cdef f32 i, f, g, o, level, d
    for j in range(n):
        i = saved[j]
        f = saved[size + j]
        g = saved[2 * size + j]
        o = saved[3 * size + j]
        level = tanh_f32(cell[j])
        d = carry[j] + ct_cell[j] + ct[j] * o * (<f32>1.0 - level * level)
        back[j] = d * g * i * (<f32>1.0 - i)
        back[size + j] = d * before[j] * f * (<f32>1.0 - f)
        back[2 * size + j] = d * i * (<f32>1.0 - g * g)
        back[3 * size + j] = ct[j] * level * o * (<f32>1.0 - o)
        carry[j] = d * f


cdef inline void gru_back(
    f32_in ct, f32_in saved, f32_in before, f32_out back, f32_out carry, Py_ssize_t size,
    Py_ssize_t n
) noexcept nogil:
    """carry: the part of the cotangent that goes past the gates."""
    cdef Py_ssize_t j
    cdef f32 reset, keep, new, d
    for j in range(n):
        reset = saved[j]
        keep = saved[size + j]
        new = saved[3 * size + j]
        d = ct[j] * (<f32>1.0 - keep) * (<f32>1.0 - new * new)
        back[j] = d * saved[2 * size + j] * reset * (<f32>1.0 - reset)
        back[size + j] = ct[j] * (before[j] - new) * keep * (<f32>1.0 - keep)
        back[2 * size + j] = d * reset
        back[3 * size + j] = d
        carry[j] = ct[j] * keep


cdef inline void rnn_back(f32_in ct, f32_in hidden, f32_out back, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        back[j] = ct[j] * (<f32>1.0 - hidden[j] * hidden[j])


cdef void cotangents(
    Sequence* s, Py_ssize_t step, Py_ssize_t first, Py_ssize_t count, Py_ssize_t block, f32* ct
) noexcept nogil:
    """(count, BLOCK) cotangents of a step's hidden states: given, and from the step behind it."""
    cdef Py_ssize_t line = s.steps * s.back_size, start = block * BLOCK, r, j
    cdef Py_ssize_t width = min(<Py_ssize_t>BLOCK, s.size - start)
    cdef f32_in given
    cdef f32_in past
    if step + 1 < s.steps:
        product(ct, BLOCK, s.back + first * line + (step + 1) * s.back_size, line, count,
                s.panels + block * s.panel, s.gates * s.size)
    else:
        for j in range(count * BLOCK):
            ct[j] = <f32>0.0
    for r in range(count):
        if step >= 0:
            given = s.ct_hidden + ((first + r) * s.steps + step) * s.size + start
            for j in range(width):
                ct[r * BLOCK + j] += given[j]
        if s.cell == GRU:
            past = s.ct_first + (first + r) * s.size + start
            for j in range(width):
                ct[r * BLOCK + j] += past[j]


cdef void step_back(
    Sequence* s, Py_ssize_t step, Py_ssize_t first, Py_ssize_t count, Py_ssize_t block
) noexcept nogil:
    cdef f32[TALL * BLOCK] ct
    cdef Py_ssize_t start = block * BLOCK, r, j, at_row
    cdef Py_ssize_t width = min(<Py_ssize_t>BLOCK, s.size - start)
    cdef const f32* before
    cdef const f32* states = s.cells if s.cell == LSTM else s.hidden
    cdef const f32* ahead = s.other if s.cell == LSTM else s.first
    at_row = first * s.steps + step
    if step >= 0:
        fetch_ahead(s.ct_hidden + at_row * s.size + start, s.steps * s.size, count, s.size, 1)
        if s.cell != RNN:
            fetch_ahead(s.saved + at_row * 4 * s.size + start, s.steps * 4 * s.size, count, s.size,
                        4)
    cotangents(s, step, first, count, block, ct)
    for r in range(count):
        at_row = (first + r) * s.steps + step
        if step < 0:
            for j in range(width):
                s.ct_first[(first + r) * s.size + start + j] = ct[r * BLOCK + j]
            continue
        before = states + (at_row - 1) * s.size + start
        if step == 0 and s.cell != RNN:
            before = ahead + (first + r) * s.size + start
        if s.cell == LSTM:
            lstm_back(
                ct + r * BLOCK, s.ct_cells + at_row * s.size + start,
                s.saved + at_row * 4 * s.size + start, s.cells + at_row * s.size + start, before,
                s.back + at_row * 4 * s.size + start,
                s.ct_other + (first + r) * s.size + start, s.size, width,
            )
        elif s.cell == GRU:
            gru_back(
                ct + r * BLOCK, s.saved + at_row * 4 * s.size + start, before,
                s.back + at_row * 4 * s.size + start,
                s.ct_first + (first + r) * s.size + start, s.size, width,
            )
        else:
            rnn_back(
                ct + r * BLOCK, s.hidden + at_row * s.size + start,
                s.back + at_row * s.size + start, width,
            )


cdef Py_ssize_t width() noexcept nogil:
    return BLOCK


def table():
    """Addresses of the kernels by name."""
    return {
        "recurrent_pack": <size_t>&pack_forward,
        "recurrent_pack_back": <size_t>&pack_back,
        "recurrent_step": <size_t>&step_forward,
        "recurrent_step_back": <size_t>&step_back,
        "recurrent_width": <size_t>&width,
    }
