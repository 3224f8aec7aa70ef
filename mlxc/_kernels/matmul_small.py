"""The Cython text of products that are small in one way or another, filled in by ``matmul_render``.

Whole vectors are read and written where only some of their lanes count: beyond a row's end as long
as that is the operand's own memory, or what this worker writes next. The last rows, where it is
not, go through buffers on the stack.
"""

# A batch of small products: nothing is planned, nothing packed that can be read where it stands.
SMALL = """
cdef inline const char* whole_rows_@t@(const Product* g, Py_ssize_t width) noexcept nogil:
    # b, if `width` columns of each row may be read where they stand, or NULL.
    cdef const char* last = g.b
    if g.b_form != OWN or g.b_col != @SIZE@:
        return NULL
    if g.b_row > 0:
        last += (g.k - 1) * g.b_row
    return g.b if last + width * @SIZE@ <= g.b_end else NULL


cdef inline void multiply_small_@t@(const Product* g, Py_ssize_t width, @T@* c,
        Py_ssize_t row) noexcept nogil:
    # c = a @ b: `width` columns of each row, of which all beyond n are of no use.
    cdef @T@[(SMALL_ROWS + @MR@) * SMALL_DEEP] rows
    cdef @T@[SMALL_COLUMNS * SMALL_DEEP] panels
    cdef const char* a = g.a
    cdef const char* b = whole_rows_@t@(g, width)
    cdef Py_ssize_t a_row = g.a_row, a_col = g.a_col, a_step = @MR@ * a_row
    cdef Py_ssize_t b_row = g.b_row, b_step = @NR@ * @SIZE@
    if g.a_form != OWN:
        rows_@t@(g, 0, g.m, 0, g.k, <char*>rows)
        a = <const char*>rows
        a_row, a_col, a_step = @SIZE@, @MR@ * @SIZE@, @MR@ * g.k * @SIZE@
    if b == NULL:
        columns_@t@(g, 0, g.n, 0, g.k, <char*>panels)
        b = <const char*>panels
        b_row, b_step = @NR@ * @SIZE@, @NR@ * g.k * @SIZE@
    if width == @LANES@:
        strip_@t@_1(@MR@, g.m, g.k, a, a_row, a_col, a_step, b, b_row, c, row, SET)
        return
    while width > 0:
        strip_@t@_@ACROSS@(@MR@, g.m, g.k, a, a_row, a_col, a_step, b, b_row, c, row, SET)
        b += b_step
        c += @NR@
        width -= @NR@


cdef void small_@t@(const Product* like, const Py_ssize_t* at, Py_ssize_t count) noexcept nogil:
    cdef Product g = like[0]
    cdef @T@[SMALL_ROWS * SMALL_COLUMNS] c
    cdef Py_ssize_t i, item, width = @LANES@ if g.n <= @LANES@ else padded(g.n, @NR@)
    cdef Py_ssize_t reach = (g.m - 1) * g.out_row + width * @SIZE@
    cdef const char* end = g.out + at[5 * (count - 1) + 3] + g.m * g.out_row
    cdef bint plain = (
        width <= @NR@ and g.out_form == OWN and g.out_col == @SIZE@ and g.alpha == 1
        and g.c == NULL
    )
    for item in range(count):
        g.a = like.a + at[0]
        g.b = like.b + at[1]
        g.out = like.out + at[3]
        g.k = at[4]
        if plain and g.out + reach <= end:  # rows follow each other: the next ones are written next
            multiply_small_@t@(&g, width, <@T@*>g.out, g.out_row // @SIZE@)
        else:
            if like.c != NULL:
                g.c = like.c + at[2]
            multiply_small_@t@(&g, width, c, width)
            for i in range(g.m):
                deliver_@t@(&g, c + i * width, i, 0, g.n)
        at += 5

"""

# Short rows times a vector: as many rows as a vector has lanes, whose sums are added up together.
FOLDED = """
cdef void fold_rows_@t@(const Product* g, const char* b, Py_ssize_t n, const @T@* x,
        @T@* acc) noexcept nogil:
    # acc[j] = dot of x, padded with zeros, with row j of n rows at b.
    cdef @T@[FOLDS * @LANES@ * @LANES@] rows
    cdef @T@[@LANES@] sums
    cdef Py_ssize_t j = 0, i, left = g.k % @LANES@, width = padded(g.k, @LANES@)
    cdef Py_ssize_t reach = width * @SIZE@
    if g.b_col > 0:
        reach += (@LANES@ - 1) * g.b_col
    while j < n:
        if j + @LANES@ <= n and b + reach <= g.b_end:
            fold_@t@(g.k // @LANES@, left, b, g.b_col, x, acc + j)
        else:
            for i in range(least(@LANES@, n - j)):
                memcpy(rows + i * width, b + i * g.b_col, g.k * @SIZE@)
            fold_@t@(g.k // @LANES@, left, <const char*>rows, width * @SIZE@, x, sums)
            memcpy(acc + j, sums, least(@LANES@, n - j) * @SIZE@)
        b += @LANES@ * g.b_col
        j += @LANES@


cdef void skinny_fold_@t@(Product* g, Py_ssize_t left, Py_ssize_t n, @T@* acc) noexcept nogil:
    cdef @T@[FOLDS * @LANES@] x
    cdef Py_ssize_t i
    for i in range(g.m):
        memset(x, 0, sizeof(x))
        fetch_@t@(g.a + i * g.a_row, g.a_col, g.a_form, x, g.k)
        fold_rows_@t@(g, g.b + left * g.b_col, n, x, acc + i * g.un)

"""

FOLD_KERNELS = '''
cdef extern from *:
    """
@KERNELS@
    """
@NAMES@

'''


def _picks(first: list[int], second: list[int]) -> list[str]:
    return [", ".join(map(str, places)) for places in (first, second)]


def _steps(lanes: int, chunk: int) -> list[list[str]]:
    """Which lanes of two vectors are added, from step to step, until lane i is the sum of vector i.
    Chunks are of sixteen bytes: few processors move single lanes from one to another at once."""
    steps = []
    starts = range(0, lanes, chunk)
    half = chunk // 2
    if half > 1:  # x0 y0 x1 y1 of each chunk, and x2 y2 x3 y3
        steps.append(
            _picks(
                [s + i + of for s in starts for i in range(half) for of in (0, lanes)],
                [s + half + i + of for s in starts for i in range(half) for of in (0, lanes)],
            )
        )
    steps.append(
        _picks(
            [s + i + of for s in starts for of in (0, lanes) for i in range(half)],
            [s + half + i + of for s in starts for of in (0, lanes) for i in range(half)],
        )
    )
    together = chunk
    while together < lanes:  # every second chunk of both
        steps.append(
            _picks(
                [s + i for s in range(0, 2 * lanes, 2 * chunk) for i in range(chunk)],
                [s + i for s in range(chunk, 2 * lanes, 2 * chunk) for i in range(chunk)],
            )
        )
        together *= 2
    return steps


def _fold(word: str, of: str, size: int, lanes: int) -> str:
    """to[i] = dot of x with row i, for as many rows as a vector has lanes."""
    v, u, bits = f"v_{word}", f"u_{word}", f"i{8 * size}"
    lines = [
        f"static void fold_{word}(Py_ssize_t whole, Py_ssize_t left, const char *b,",
        f"        Py_ssize_t row, const {of} *x, {of} *to) {{",
        f"    {v} z, {', '.join(f's{i} = {{0}}' for i in range(lanes))};",
        f"    {v.replace(word, bits)} mask;",
        f"    for (Py_ssize_t t = 0; t < whole; t++, b += {size * lanes}) {{",
        f"        z = *(const {u} *)(x + t * {lanes});",
        *(f"        s{i} += z * *(const {u} *)(b + {i} * row);" for i in range(lanes)),
        "    }",
        "    if (left) {",
        f"        for (int i = 0; i < {lanes}; i++) mask[i] = i < left ? -1 : 0;",
        f"        z = *(const {u} *)(x + whole * {lanes});",
    ]
    for i in range(lanes):
        lines.append(f"        s{i} += z * ({v})(*(const u_{bits} *)(b + {i} * row) & mask);")
    lines.append("    }")
    names = [f"s{i}" for i in range(lanes)]
    for first, second in _steps(lanes, 16 // size):
        for a, b in zip(names[::2], names[1::2], strict=True):
            lines.append(f"    {a} = __builtin_shufflevector({a}, {b}, {first})")
            lines.append(f"        + __builtin_shufflevector({a}, {b}, {second});")
        names = names[::2]
    lines += [f"    *({u} *)to = s0;", "}"]
    return "\n".join(f"    {line}" for line in lines)


def folds(types: tuple, register: int) -> str:
    """The kernels of all types of one instruction set."""
    kernels = [_fold(t.word, t.name, t.size, register // t.size) for t in types]
    names = [
        f"    void fold_{t.word}(Py_ssize_t, Py_ssize_t, const char*, Py_ssize_t,\n"
        f"        const {t.name}*, {t.name}*) noexcept nogil"
        for t in types
    ]
    text = FOLD_KERNELS.replace("@KERNELS@", "\n".join(kernels))
    return text.replace("@NAMES@", "\n".join(names))
