"""Prints the matrix-product kernels of one instruction set as a Cython source.

The structure is Goto's: register-tiled microkernels stream through panels that fit the caches. What
is read again and again is packed into such panels first; what is read a few times, or is small, is
read where it stands. So strides, transposition and half-precision formats are dealt with by packing
and by the strides of the microkernels' operands. Long inner axes of small products are split and
their parts added in order. Products with few rows (or columns, transposed) of which the other
operand is read once go along its rows or columns. Microkernels are printed, because only fully
unrolled code keeps its tile in registers. Standard library only: setup.py calls ``render``.
"""

from typing import NamedTuple

from mlxc._kernels.matmul_pairs import MULTIPLY_PAIRS, PAIR_KERNELS, PAIRS
from mlxc._kernels.matmul_small import FOLDED, SMALL, folds
from mlxc._kernels.matmul_templates import (
    COMPLEX,
    FETCH,
    FETCH_HALF,
    HEADER,
    MULTIPLY,
    PACKED,
    PANEL,
    PANEL_4,
    SKINNY,
)

# Bytes in a vector register, rows of a register tile, and vectors across it: as many accumulators
# as the register file holds beside one row of b and a broadcast.
SHAPES = {"v4": (64, 12, 2), "v3": (32, 6, 2), "v2": (16, 4, 2), "arm64": (16, 8, 3)}
PAIRED = ("v4",)  # where some processors multiply pairs of bfloat16


class Type(NamedTuple):
    """One compute type: its word in kernel names, its C name and its size in bytes."""

    word: str
    name: str
    size: int


TYPES = (
    Type("f32", "float", 4),
    Type("f64", "double", 8),
    Type("i32", "int", 4),
    Type("i64", "llong", 8),
)
ROWS = (8, 4, 2, 1)  # rows that one pass of a skinny kernel takes
WIDTH = 256  # columns of a unit of a skinny product whose b lies along n
EXPORTS = ("plan", "advance", "pack", "tile", "skinny", "gather", "small")


def render(isa: str) -> dict[str, str]:
    """Module name to Cython source, for one instruction set of ``SHAPES``."""
    register, rows, vectors = SHAPES[isa]
    parts = [HEADER.replace("@VECTORS@", _vector_types(register)), folds(TYPES, register)]
    for t in TYPES:
        lanes = register // t.size
        names = {
            "@T@": t.name,
            "@t@": t.word,
            "@SIZE@": str(t.size),
            "@MR@": str(rows),
            "@NR@": str(vectors * lanes),
            "@LANES@": str(lanes),
            "@ACROSS@": str(vectors),
            "@KC@": str(1536 // t.size),
            "@PA@": str(max(1, 36 // rows)),
            "@PB@": str(max(1, 32 // (vectors * lanes))),
            "@WIDTH@": str(WIDTH),
        }
        parts.append(_fill(FETCH_HALF if t.word == "f32" else FETCH, names))
        heights, widths = _heights(rows), sorted({vectors, 1})
        parts += [_micro(t, m, n, lanes) for n in widths for m in heights]
        parts += [_strip(t.word, t.name, heights, n) for n in widths]
        for panel in sorted({rows, vectors * lanes}):
            text = PANEL_4 if t.size == 4 and panel >= 4 else PANEL
            parts.append(_fill(text, names | {"@R@": str(panel)}))
        if t.word == "f32" and isa in PAIRED:
            parts.append(_pairs(heights, widths, lanes))
            parts += [PAIRS.replace("@R@", str(panel)) for panel in (rows, vectors * lanes)]
            parts.append(_fill(MULTIPLY_PAIRS, names))
        else:
            parts.append(_fill(MULTIPLY, names))
        parts += [_fill(PACKED, names), _fill(SMALL, names), _fill(FOLDED, names)]
        parts += [_axpy(t, m, depth, lanes) for m in ROWS for depth in (_depth(m), 1)]
        parts.append(_lanes(t, lanes))
        parts += [_dot(t, m, columns, lanes) for m in ROWS for columns in sorted({_columns(m), 1})]
        parts.append(_fill(SKINNY.replace("@AXPYS@", _axpys(t)).replace("@DOTS@", _dots(t)), names))
    parts.append(COMPLEX)
    parts.append(_table())
    return {"matmul": "\n".join(parts)}


def _fill(text: str, names: dict[str, str]) -> str:
    for key, value in names.items():
        text = text.replace(key, value)
    return text


def _vector_types(register: int) -> str:
    lines = []
    for t in TYPES:
        name = t.name.replace("llong", "long long")
        size = f"vector_size({register})"
        lines.append(f"    typedef {name} v_{t.word} __attribute__(({size}));")
        lines.append(
            f"    typedef {name} u_{t.word} __attribute__(({size}, aligned({t.size}), may_alias));"
        )
    return "\n".join(lines)


def _tile(m: int, n: int, of: str = "c") -> list[list[str]]:
    return [[f"{of}{i}_{j}" for j in range(n)] for i in range(m)]


def _micro(t: Type, rows: int, vectors: int, lanes: int) -> str:
    """c = a @ b, c + a @ b or c - a @ b for one register tile: rows of b are whole vectors; a, and
    the rows of b and c, have any strides, those of a and b in bytes."""
    c = _tile(rows, vectors)
    flat = [name for row in c for name in row]
    v, u = f"v_{t.word}", f"u_{t.word}"
    out = [
        f"cdef void micro_{t.word}_{rows}_{vectors}(Py_ssize_t kc, const char* a,",
        "        Py_ssize_t a_row, Py_ssize_t a_col, const char* b, Py_ssize_t b_row,",
        f"        {t.name}* c, Py_ssize_t row, int onto) noexcept nogil:",
        f"    cdef Py_ssize_t k{', thrice = 3 * a_row' if rows > 3 else ''}",
        f"    cdef {t.name} x",
        *(f"    cdef const char* a{i} = a + {i} * a_row" for i in range(0, rows, 4)),
    ]
    out += [f"    cdef {v} {name}" for name in [*flat, *(f"b{j}" for j in range(vectors))]]
    out += [f"    zero(&{name}, sizeof({v}))" for name in flat]
    out.append("    for k in range(kc):")
    out += [f"        b{j} = (<const {u}*>(b + {j * lanes * t.size}))[0]" for j in range(vectors)]
    out += [f"        ask(b + {(vectors + j) * lanes * t.size})" for j in range(vectors)]
    for i in range(rows):
        out.append(f"        x = (<const {t.name}*>({_row_of_a(i)}))[0]")
        out += [f"        {c[i][j]} = {c[i][j]} + x * b{j}" for j in range(vectors)]
    out += [*(f"        a{i} += a_col" for i in range(0, rows, 4)), "        b += b_row"]
    for word, way, result in (("if", "ADD", "{1} + {0}"), ("elif", "SUBTRACT", "{1} - {0}")):
        out.append(f"    {word} onto == {way}:")
        for i in range(rows):
            for j in range(vectors):
                at = f"(<const {u}*>(c + {i} * row + {j * lanes}))[0]"
                out.append(f"        {c[i][j]} = {result.format(c[i][j], at)}")
    for i in range(rows):
        out += [f"    (<{u}*>(c + {i} * row + {j * lanes}))[0] = {c[i][j]}" for j in range(vectors)]
    return "\n".join(out) + "\n"


def _row_of_a(i: int) -> str:
    """Where row i of a stands: addresses of four rows each, few enough for the registers."""
    return f"a{i // 4 * 4}" + ("", " + a_row", " + 2 * a_row", " + thrice")[i % 4]


def _heights(rows: int) -> list[int]:
    """Rows of the microkernels of one width: whatever is left is made of halves."""
    return [rows, *(m for m in (8, 4, 2, 1) if m < rows)]


def _strip(word: str, of: str, heights: list[int], vectors: int) -> str:
    """All rows of a unit with one panel of b, at most ``most`` rows at a time."""
    out = [
        f"cdef void strip_{word}_{vectors}(Py_ssize_t most, Py_ssize_t m, Py_ssize_t kc, "
        "const char* a,",
        "        Py_ssize_t a_row, Py_ssize_t a_col, Py_ssize_t panel, const char* b, "
        "Py_ssize_t b_row,",
        f"        {of}* c, Py_ssize_t row, int onto) noexcept nogil:",
    ]
    for m in heights:
        whole = m == heights[0]
        out += [
            f"    while {f'most >= {m} and ' if whole else ''}m >= {m}:",
            f"        micro_{word}_{m}_{vectors}(kc, a, a_row, a_col, b, b_row, c, row, onto)",
            f"        a += {'panel' if whole else f'{m} * a_row'}",
            f"        c += {m} * row",
            f"        m -= {m}",
        ]
    return "\n".join(out) + "\n\n"


def _micro_pairs(rows: int, vectors: int, lanes: int) -> str:
    """The microkernel of pairs of bfloat16."""
    c = _tile(rows, vectors)
    flat = [name for row in c for name in row]
    places = [f"c + {i} * row + {j * lanes}" for i in range(rows) for j in range(vectors)]
    loads = [f"b{j} = (__m512bh)_mm512_loadu_si512(b + {j * lanes * 4})" for j in range(vectors)]
    body = [f"        __m512bh {load};" for load in loads]
    for i in range(rows):
        body.append(
            f"        x = (__m512bh)_mm512_set1_epi32(((const word *)({_row_of_a(i)}))->i);"
        )
        body += [
            f"        {c[i][j]} = _mm512_dpbf16_ps({c[i][j]}, x, b{j});" for j in range(vectors)
        ]
    lines = [
        '__attribute__((target("avx512bf16")))',
        f"static void micro_pairs_{rows}_{vectors}(Py_ssize_t depth, const char *a, "
        "Py_ssize_t a_row,",
        "        Py_ssize_t a_col, const char *b, Py_ssize_t b_row, float *c, Py_ssize_t row,",
        "        int onto) {",
        "    __m512bh x;",
        *(f"    __m512 {name} = _mm512_setzero_ps();" for name in flat),
        *(["    Py_ssize_t thrice = 3 * a_row;"] if rows > 3 else []),
        *(f"    const char *a{i} = a + {i} * a_row;" for i in range(0, rows, 4)),
        "    for (Py_ssize_t k = 0; k < depth; k++, b += b_row) {",
        *body,
        *(f"        a{i} += a_col;" for i in range(0, rows, 4)),
        "    }",
        "    if (onto) {",
        *(
            f"        {x} = _mm512_add_ps({x}, _mm512_loadu_ps({at}));"
            for x, at in zip(flat, places)
        ),
        "    }",
        *(f"    _mm512_storeu_ps({at}, {x});" for x, at in zip(flat, places)),
        "}",
    ]
    return "\n".join(f"    {line}" for line in lines)


def _pairs(heights: list[int], widths: list[int], lanes: int) -> str:
    """Microkernels of pairs of bfloat16, by intrinsics, because the instruction is beyond the set;
    whether the processor has it is asked as the program runs. Only SET and ADD are asked of them:
    what they compute lies in scratch."""
    sizes = [(m, n) for n in widths for m in heights]
    block = "\n".join(_micro_pairs(m, n, lanes) for m, n in sizes)
    names = "\n".join(
        f"    void micro_pairs_{m}_{n}(Py_ssize_t, const char*, Py_ssize_t, Py_ssize_t,\n"
        "        const char*, Py_ssize_t, float*, Py_ssize_t, int) noexcept nogil"
        for m, n in sizes
    )
    return PAIR_KERNELS.replace("@KERNELS@", block).replace("@NAMES@", names) + "\n".join(
        _strip("pairs", "float", heights, n) for n in widths
    )


def _depth(m: int) -> int:
    return 4 if m >= 4 else 8


def _columns(m: int) -> int:
    return {8: 2, 4: 2, 2: 4, 1: 4}[m]


def _axpy(t: Type, m: int, depth: int, lanes: int) -> str:
    """acc[i, j] += sum over ``depth`` rows of b: b is read once for ``m`` rows of a."""
    v, u = f"v_{t.word}", f"u_{t.word}"
    x = _tile(m, depth, "x")
    out = [
        f"cdef void axpy_{t.word}_{m}_{depth}(const {t.name}* a, Py_ssize_t a_row, const "
        f"{t.name}* b,",
        f"        Py_ssize_t b_row, {t.name}* acc, Py_ssize_t row, Py_ssize_t n) noexcept nogil:",
        "    cdef Py_ssize_t j = 0",
    ]
    out += [
        f"    cdef {t.name} {x[i][k]} = a[{i} * a_row + {k}]"
        for i in range(m)
        for k in range(depth)
    ]
    out += [f"    cdef {v} {name}" for name in ["s", *(f"b{k}" for k in range(depth))]]
    out.append(f"    while j + {lanes} <= n:")
    out += [f"        b{k} = (<const {u}*>(b + {k} * b_row + j))[0]" for k in range(depth)]
    for i in range(m):
        out.append(f"        s = (<const {u}*>(acc + {i} * row + j))[0]")
        out += [f"        s = s + {x[i][k]} * b{k}" for k in range(depth)]
        out.append(f"        (<{u}*>(acc + {i} * row + j))[0] = s")
    out += [f"        j += {lanes}", "    while j < n:"]
    for i in range(m):
        terms = " + ".join(f"{x[i][k]} * b[{k} * b_row + j]" for k in range(min(depth, 4)))
        out.append(f"        acc[{i} * row + j] += {terms}")
        if depth > 4:
            terms = " + ".join(f"{x[i][k]} * b[{k} * b_row + j]" for k in range(4, depth))
            out.append(f"        acc[{i} * row + j] += {terms}")
    out.append("        j += 1")
    return "\n".join(out) + "\n"


def _lanes(t: Type, lanes: int) -> str:
    """The sum of a vector's lanes, by halves; constant bounds, so that no loop is left."""
    out = [
        f"cdef inline {t.name} lanes_{t.word}(const {t.name}* v) noexcept nogil:",
        f"    cdef {t.name}[{lanes}] s",
        "    cdef Py_ssize_t i",
        f"    memcpy(s, v, {lanes * t.size})",
    ]
    while lanes > 1:
        lanes //= 2
        out += [f"    for i in range({lanes}):", f"        s[i] = s[i] + s[i + {lanes}]"]
    return "\n".join([*out, "    return s[0]"]) + "\n\n"


def _dot(t: Type, m: int, columns: int, lanes: int) -> str:
    """acc[i, j] += dot of row i of a with row j of b, both along k; a few sums at a time, so that
    none waits for the one before."""
    v, u = f"v_{t.word}", f"u_{t.word}"
    runs = max(1, 4 // (m * columns))
    sums = [_tile(m, columns, f"c{r}_") for r in range(runs)]
    flat = [name for c in sums for row in c for name in row]
    out = [
        f"cdef void dot_{t.word}_{m}_{columns}(const {t.name}* a, Py_ssize_t a_row,",
        f"        const {t.name}* b, Py_ssize_t b_row, {t.name}* acc, Py_ssize_t row,",
        "        Py_ssize_t n) noexcept nogil:",
        "    cdef Py_ssize_t k = 0",
    ]
    out += [f"    cdef {v} {name}" for name in [*flat, "x", *(f"b{j}" for j in range(columns))]]
    out += [f"    zero(&{name}, sizeof({v}))" for name in flat]
    for together in sorted({runs, 1}, reverse=True):
        out.append(f"    while k + {together * lanes} <= n:")
        for r in range(together):
            at = f" + {r * lanes}" if r else ""
            for j in range(columns):
                out.append(f"        b{j} = (<const {u}*>(b + {j} * b_row + k{at}))[0]")
            for i in range(m):
                out.append(f"        x = (<const {u}*>(a + {i} * a_row + k{at}))[0]")
                out += [f"        {c} = {c} + x * b{j}" for j, c in enumerate(sums[r][i])]
        out.append(f"        k += {together * lanes}")
    for i in range(m):
        for j in range(columns):
            name = sums[0][i][j]
            out += [f"    {name} = {name} + {c[i][j]}" for c in sums[1:]]
            out.append(f"    acc[{i} * row + {j}] += lanes_{t.word}(<const {t.name}*>&{name})")
    out.append("    while k < n:")
    for i in range(m):
        for j in range(columns):
            out.append(f"        acc[{i} * row + {j}] += a[{i} * a_row + k] * b[{j} * b_row + k]")
    out.append("        k += 1")
    return "\n".join(out) + "\n"


def _axpys(t: Type) -> str:
    """The choice of an axpy kernel by rows left and depth left."""
    out = []
    for word, m in zip(("if", "elif", "elif", "elif"), ROWS, strict=True):
        out.append(f"        {word} m - i >= {m}:")
        out.append(f"            while k + {_depth(m)} <= kc:")
        for depth in (_depth(m), 1):
            call = f"axpy_{t.word}_{m}_{depth}(a + i * a_row + k, a_row, b + k * b_row, b_row,"
            out.append(f"                {call}")
            out.append("                    acc + i * row, row, n)")
            out.append(f"                k += {depth}")
            if depth != 1:
                out.append("            while k < kc:")
        out.append(f"            i += {m}")
    return "\n".join(out)


def _dots(t: Type) -> str:
    """The choice of a dot kernel by rows left and columns given."""
    out = []
    for word, m in zip(("if", "elif", "elif", "elif"), ROWS, strict=True):
        out.append(f"        {word} m - i >= {m}:")
        out.append("            j = 0")
        out.append(f"            while j + {_columns(m)} <= columns:")
        for columns in sorted({_columns(m), 1}, reverse=True):
            call = f"dot_{t.word}_{m}_{columns}(a + i * a_row, a_row, b + j * b_row, b_row,"
            out.append(f"                {call}")
            out.append("                    acc + i * row + j, row, n)")
            out.append(f"                j += {columns}")
            if columns != 1:
                out.append("            while j < columns:")
        out.append(f"            i += {m}")
    return "\n".join(out)


def _table() -> str:
    lines = ["def table():", '    """Kernel name to address."""', "    return {"]
    for t in TYPES:
        lines += [f'        "matmul_{x}_{t.word}": <size_t>&{x}_{t.word},' for x in EXPORTS]
    lines.append('        "matmul_c64": <size_t>&product_c64,')
    return "\n".join([*lines, "    }"]) + "\n"
