"""Prints the register tiles of convolutions for one instruction set: see ``stencil.pxd``.

Both operands are read where they stand, so that nothing is packed but the weights. There is a tile
for every number of rows, because lines of an image have any length. Where every channel is on its
own and rows stand as far apart as taps, a vector that was read serves three taps; or whole lines
slide past weights that stay in registers, and a vector serves all taps. Only fully unrolled code
keeps its tile in registers. Standard library only: setup.py calls ``render``.
"""

# Bytes in a vector register, most rows and vectors of a tile, most rows where both operands are
# vectors.
SHAPES = {"v4": (64, 12, 2, 12), "v3": (32, 6, 2, 8), "v2": (16, 4, 2, 8), "arm64": (16, 8, 3, 12)}
TAPS = 3  # that share a vector in `lanes`
SLIDING = range(2, 8)  # taps of lines that slide
TOGETHER = 3  # runs that slide at once, where their weights and sums fit the registers
REGISTERS = {"v4": 32, "v3": 16, "v2": 16, "arm64": 32}
PAIRED = ("v4",)  # where some processors multiply pairs of bfloat16
TYPES = (("f32", "float", 4), ("f64", "double", 8))

# Of each kind of tile: what is read at a row, and how its product is added.
WORK = {
    "dense": ("{at}[0]", "{c} + x * {b}"),
    "lanes": ("(<const {u}*>{at})[0]", "{c} + x * {b}"),
    "pairs": ("spread_pair({at})", "add_pairs({c}, x, {b})"),
}

HEADER = '''# Printed by mlxc/_kernels/conv_render.py: do not edit.
"""Register tiles of convolutions. See mlxc/_kernels/stencil.pxd."""

from mlxc._kernels.stencil cimport Conv, Run, Tile

cdef extern from *:
    """
@VECTORS@
    """
    ctypedef float v_f32
    ctypedef float u_f32
    ctypedef double v_f64
    ctypedef double u_f64
    const v_f32 NOTHING_f32 "((v_f32){0})"
    const v_f64 NOTHING_f64 "((v_f64){0})"

'''

# The instruction is beyond the set: whether the processor has it is asked as the program runs, and
# only assembly may name it in functions for any processor.
PAIRS = '''cdef extern from *:
    """
    static inline int can_pair(void) { return __builtin_cpu_supports("avx512bf16"); }
    static inline v_f32 spread_pair(const float *p) {
        v_f32 x;
        __asm__("vbroadcastss %1, %0" : "=v"(x) : "m"(*p));
        return x;
    }
    static inline v_f32 add_pairs(v_f32 c, v_f32 x, v_f32 b) {
        __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(x), "v"(b));
        return c;
    }
    """
    bint can_pair() noexcept nogil
    v_f32 spread_pair(const float*) noexcept nogil
    v_f32 add_pairs(v_f32, v_f32, v_f32) noexcept nogil
'''


def render(isa: str) -> dict[str, str]:
    """Module name to Cython source, for one instruction set of ``SHAPES``."""
    register, rows, vectors, tall = SHAPES[isa]
    lines = []
    for word, name, _ in TYPES:
        size = f"vector_size({register})"
        lines.append(f"    typedef {name} v_{word} __attribute__(({size}));")
        lines.append(
            f"    typedef {name} u_{word} "
            f"__attribute__(({size}, aligned(sizeof({name})), may_alias));"
        )
    parts = [HEADER.replace("@VECTORS@", "\n".join(lines))]
    for word, name, size in TYPES:
        width = register // size
        parts += [
            _tile("dense", word, name, m, v, width)
            for v in range(1, vectors + 1)
            for m in range(1, rows + 1)
        ]
        parts += [_tile("lanes", word, name, m, 1, width) for m in range(1, tall + 1)]
        parts.append(_choice("dense", word, rows, vectors))
        parts.append(_choice("lanes", word, tall, 1))
        held = {taps: min(TOGETHER, (REGISTERS[isa] - 2 - taps) // taps) for taps in SLIDING}
        parts += [
            _slides(word, name, taps, runs)
            for taps, most in held.items()
            for runs in range(1, most + 1)
        ]
        parts.append(_slide_choice(word, name, held))
        paired = word == "f32" and isa in PAIRED
        if paired:
            parts.append(PAIRS)
            parts += [
                _tile("pairs", word, name, m, v, width)
                for v in range(1, vectors + 1)
                for m in range(1, rows + 1)
            ]
            parts.append(_choice("pairs", word, rows, vectors))
        parts.append(_measures(word, rows, vectors, tall, width, paired))
    parts.append(_table())
    return {"conv_tiles": "\n\n".join(parts)}


def _tile(kind: str, word: str, name: str, m: int, vectors: int, width: int) -> str:
    """c = the sum over runs and k of a[i, k] * b[k, j] (+ c); pairs: of both their products."""
    v, u = f"v_{word}", f"u_{word}"
    sums = [[f"c{i}_{j}" for j in range(vectors)] for i in range(m)]
    flat = [one for row in sums for one in row]
    # Rows three by three share a pointer: more pointers than that do not fit the registers.
    bases = range(0, m + (TAPS - 1 if kind == "lanes" else 0), 3)
    out = [
        f"cdef void {kind}_{word}_{m}_{vectors}(const Tile* t, Py_ssize_t a_at, Py_ssize_t b_at,",
        f"                            {name}* c) noexcept nogil:",
        "    cdef const Run* run = t.runs",
        "    cdef const Run* end = t.runs + t.count",
        "    cdef Py_ssize_t k, length = t.length, ra = t.ra, ca = t.ca, rb = t.rb, row = t.row",
        f"    cdef const {name}* b",
        f"    cdef {name if kind == 'dense' else v} x",
    ]
    out += [f"    cdef const {name}* a{i}" for i in bases]
    held = TAPS if kind == "lanes" else vectors
    out += [f"    cdef {v} {one} = NOTHING_{word}" for one in flat]
    out += [f"    cdef {v} b{j}" for j in range(held)]
    out += ["    while run < end:", f"        a0 = <const {name}*>run.a + a_at"]
    out += [f"        a{i} = a0 + {i} * ra" for i in bases[1:]]
    out += [f"        b = <const {name}*>run.b + b_at", "        k = 0"]
    out += _slide(u, m, bases) if kind == "lanes" else []
    out.append("        while k < length:")
    out += [f"            b{j} = (<const {u}*>(b + {j * width}))[0]" for j in range(vectors)]
    for i in range(m):
        x, add = WORK[kind]
        out.append(f"            x = {x.format(u=u, at=_row(i))}")
        out += [
            f"            {one} = {add.format(c=one, b=f'b{j}')}" for j, one in enumerate(sums[i])
        ]
    out += [f"            a{i} += ca" for i in bases]
    out += ["            b += rb", "            k += 1", "        run += 1", "    if t.add:"]
    places = [f"{i} * row + {j * width}" for i in range(m) for j in range(vectors)]
    out += [f"        {one} = {one} + (<const {u}*>(c + {at}))[0]" for one, at in zip(flat, places)]
    out += [f"    (<{u}*>(c + {at}))[0] = {one}" for one, at in zip(flat, places)]
    return "\n".join(out)


def _row(i: int) -> str:
    """Where row i stands."""
    return f"(a{i // 3 * 3} + {i % 3} * ra)" if i % 3 else f"a{i}"


def _slide(u: str, m: int, bases: range) -> list[str]:
    """Some taps at a time: row i of a tap is row i + 1 of the tap before it."""
    out = ["        if ra == ca:", f"            while k + {TAPS} <= length:"]
    out += [f"                b{t} = (<const {u}*>(b + {t} * rb))[0]" for t in range(TAPS)]
    for p in range(m + TAPS - 1):
        out.append(f"                x = (<const {u}*>{_row(p)})[0]")
        for t in range(TAPS):
            if 0 <= p - t < m:
                out.append(f"                c{p - t}_0 = c{p - t}_0 + x * b{t}")
    out += [f"                a{i} += {TAPS} * ca" for i in bases]
    return [*out, f"                b += {TAPS} * rb", f"                k += {TAPS}"]


def _slides(word: str, name: str, taps: int, runs: int) -> str:
    """m sums of a line: an input is added to those of all its taps, of which the last is complete
    then; inputs before t.first and from t.last on are zeros."""
    v, u = f"v_{word}", f"u_{word}"
    sums = [f"c{k}" for k in range(taps - 1)]
    out = [
        f"cdef void slide_{word}_{taps}_{runs}(const Tile* t, const Run* run, int m, bint add,",
        f"        Py_ssize_t a_at, Py_ssize_t b_at, {name}* y) noexcept nogil:",
        f"    cdef Py_ssize_t p = {taps - 1}, end = m + {taps - 1}, ca = t.ca",
        f"    cdef {v} d",
        *(f"    cdef {v} {one} = NOTHING_{word}" for one in sums),
        *(f"    cdef {v} x{r}" for r in range(runs)),
    ]
    for r in range(runs):
        out.append(f"    cdef const {name}* a{r} = <const {name}*>run[{r}].a + a_at + t.first * ca")
        out.append(f"    cdef const {name}* b{r} = <const {name}*>run[{r}].b + b_at")
        out += [
            f"    cdef {v} w{r}_{k} = (<const {u}*>(b{r} + {k} * t.rb))[0]" for k in range(taps)
        ]
    put = [
        f"        if p >= {taps - 1}:",
        "            if add:",
        f"                d = d + (<const {u}*>y)[0]",
        f"            (<{u}*>y)[0] = d",
        "            y += t.row",
        "        p += 1",
    ]
    out += ["    while p < t.first:", f"        d = NOTHING_{word}", *put]
    out += ["    p = t.first", "    while p < t.last:"]
    out += [f"        x{r} = (<const {u}*>a{r})[0]" for r in range(runs)]
    for k in range(taps - 1, -1, -1):
        to, before = (f"c{k}" if k < taps - 1 else "d"), (f"c{k - 1} + " if k else "")
        out.append(f"        {to} = {before}x0 * w0_{k}")
        out += [f"        {to} = {to} + x{r} * w{r}_{k}" for r in range(1, runs)]
    out += [*(f"        a{r} += ca" for r in range(runs)), *put]
    out += ["    while p < end:", f"        d = {sums[-1]}"]
    out += [f"        {b} = {a}" for a, b in zip(sums[-2::-1], sums[:0:-1])]
    return "\n".join([*out, f"        c0 = NOTHING_{word}", *put])


def _slide_choice(word: str, name: str, held: dict[int, int]) -> str:
    """One row of vectors over all runs, as many of them together as the registers hold."""
    out = [
        f"cdef void slide_{word}(const Tile* t, int m, int vectors, Py_ssize_t a_at,",
        "                    Py_ssize_t b_at, char* c) noexcept nogil:",
        "    cdef Py_ssize_t done = 0, runs",
        "    while done < t.count:",
        "        runs = t.count - done",
    ]
    for taps, most in held.items():
        out.append(f"        {'if' if taps == SLIDING[0] else 'elif'} t.length == {taps}:")
        for runs in range(most, 0, -1):
            out.append(f"            {'if' if runs == most else 'elif'} runs >= {runs}:")
            out.append(f"                slide_{word}_{taps}_{runs}(")
            out.append(
                f"                    t, t.runs + done, m, done > 0, a_at, b_at, <{name}*>c)"
            )
            out.append(f"                done += {runs}")
    return "\n".join(out)


def _choice(kind: str, word: str, rows: int, vectors: int) -> str:
    """The tile of m rows and so many vectors, called."""
    name = {t: name for t, name, _ in TYPES}[word]
    out = [
        f"cdef void {kind}_{word}(const Tile* t, int m, int vectors, Py_ssize_t a_at,",
        "                    Py_ssize_t b_at, char* c) noexcept nogil:",
        f"    cdef int which = m + (vectors - 1) * {rows}",
    ]
    for v in range(1, vectors + 1):
        for m in range(1, rows + 1):
            word_ = "if" if (m, v) == (1, 1) else "elif"
            out.append(f"    {word_} which == {m + (v - 1) * rows}:")
            out.append(f"        {kind}_{word}_{m}_{v}(t, a_at, b_at, <{name}*>c)")
    return "\n".join(out)


def _measures(word: str, rows: int, vectors: int, tall: int, width: int, paired: bool) -> str:
    out = [
        f"cdef void measures_{word}(Conv* g) noexcept nogil:",
        f"    g.width = {width}",
        f"    g.rows = {tall} if g.lanes else {rows}",
        f"    g.vectors = 1 if g.lanes else {vectors}",
        f"    g.tile = lanes_{word} if g.lanes else dense_{word}",
        f"    g.slide = slide_{word}",
        f"    g.longest = {SLIDING[-1]}",
    ]
    if not paired:
        return "\n".join([*out, "    g.pairs = False"])
    out += ["    g.pairs = g.pairs and can_pair()", "    if g.pairs:"]
    return "\n".join([*out, f"        g.tile = pairs_{word}"])


def _table() -> str:
    out = ["def table():", '    """Kernel name to address."""', "    return {"]
    out += [f'        "conv_measures_{word}": <size_t>&measures_{word},' for word, _, _ in TYPES]
    return "\n".join([*out, "    }"]) + "\n"
