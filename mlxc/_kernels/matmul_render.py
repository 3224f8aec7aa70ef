"""Prints the matrix-product kernels of one instruction set as a Cython source.

The structure is Goto's: both operands are packed into panels that a register-tiled microkernel
streams through, so every stride, transposition and half-precision format is dealt with while
packing, and only there. Products with at most eight rows (or columns, transposed) read the large
operand once, unpacked, at the speed of memory. Microkernels are printed, because only fully
unrolled code keeps its tile in registers. Standard library only: setup.py calls ``render``.
"""

from typing import NamedTuple

from mlxc._kernels.matmul_templates import (
    COMPLEX,
    FETCH,
    FETCH_HALF,
    HEADER,
    MULTIPLY,
    MULTIPLY_PAIRS,
    PACKED,
    PAIRS,
    PANEL,
    PANEL_4,
    SKINNY,
)

# Bytes in a vector register, rows of a register tile, and vectors across it: as many accumulators
# as
# the register file holds beside one row of b and a broadcast.
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
EXPORTS = ("plan", "advance", "pack", "tile", "skinny", "gather")


def render(isa: str) -> dict[str, str]:
    """Module name to Cython source, for one instruction set of ``SHAPES``."""
    register, rows, vectors = SHAPES[isa]
    parts = [HEADER.replace("@VECTORS@", _vector_types(register))]
    for t in TYPES:
        lanes = register // t.size
        names = {
            "@T@": t.name,
            "@t@": t.word,
            "@SIZE@": str(t.size),
            "@MR@": str(rows),
            "@NR@": str(vectors * lanes),
            "@LANES@": str(lanes),
            "@KC@": str(1536 // t.size),
            "@PA@": str(max(1, 36 // rows)),
            "@PB@": str(max(1, 32 // (vectors * lanes))),
            "@WIDTH@": str(WIDTH),
            "@DOT@": str(16384 // t.size),
        }
        parts.append(_fill(FETCH_HALF if t.word == "f32" else FETCH, names))
        parts.append(_micro("micro", t, rows, vectors, lanes, vectors * lanes))
        parts.append(_micro("narrow", t, rows, 1, lanes, vectors * lanes))
        for panel in sorted({rows, vectors * lanes}):
            text = PANEL_4 if t.size == 4 and panel >= 4 else PANEL
            parts.append(_fill(text, names | {"@R@": str(panel), "@FOURS@": str(panel // 4 * 4)}))
        if t.word == "f32" and isa in PAIRED:
            parts.append(_micro_pairs(rows, vectors, lanes))
            parts += [PAIRS.replace("@R@", str(panel)) for panel in (rows, vectors * lanes)]
            parts.append(_fill(MULTIPLY_PAIRS, names))
        else:
            parts.append(_fill(MULTIPLY, names))
        parts.append(_fill(PACKED, names))
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


def _micro(name: str, t: Type, rows: int, vectors: int, lanes: int, width: int) -> str:
    """c = a @ b, c + a @ b or c - a @ b for one register tile: packed a and b, these `width` wide,
    any row length of c."""
    c = _tile(rows, vectors)
    flat = [name for row in c for name in row]
    v, u = f"v_{t.word}", f"u_{t.word}"
    out = [
        f"cdef void {name}_{t.word}(Py_ssize_t kc, const {t.name}* a, const {t.name}* b,",
        f"        {t.name}* c, Py_ssize_t row, int onto) noexcept nogil:",
        "    cdef Py_ssize_t k",
        f"    cdef {t.name} x",
    ]
    out += [f"    cdef {v} {name}" for name in [*flat, *(f"b{j}" for j in range(vectors))]]
    out += [f"    zero(&{name}, sizeof({v}))" for name in flat]
    out.append("    for k in range(kc):")
    out += [f"        b{j} = (<const {u}*>(b + {j * lanes}))[0]" for j in range(vectors)]
    for i in range(rows):
        out.append(f"        x = a[{i}]")
        out += [f"        {c[i][j]} = {c[i][j]} + x * b{j}" for j in range(vectors)]
    out += [f"        a += {rows}", f"        b += {width}"]
    for word, way, result in (("if", "ADD", "{1} + {0}"), ("elif", "SUBTRACT", "{1} - {0}")):
        out.append(f"    {word} onto == {way}:")
        for i in range(rows):
            for j in range(vectors):
                at = f"(<const {u}*>(c + {i} * row + {j * lanes}))[0]"
                out.append(f"        {c[i][j]} = {result.format(c[i][j], at)}")
    for i in range(rows):
        out += [f"    (<{u}*>(c + {i} * row + {j * lanes}))[0] = {c[i][j]}" for j in range(vectors)]
    return "\n".join(out) + "\n"


def _micro_pairs(rows: int, vectors: int, lanes: int) -> str:
    """c = a @ b (+ c) for panels of pairs of bfloat16, by intrinsics, because the instruction is
    beyond the set; whether the processor has it is asked as the program runs."""
    c = _tile(rows, vectors)
    flat = [name for row in c for name in row]
    places = [f"c + {i} * row + {j * lanes}" for i in range(rows) for j in range(vectors)]
    loads = [f"b{j} = (__m512bh)_mm512_loadu_si512(b + {j * lanes})" for j in range(vectors)]
    body = [f"        __m512bh {load};" for load in loads]
    for i in range(rows):
        body.append(f"        x = (__m512bh)_mm512_set1_epi32((int)a[{i}]);")
        body += [
            f"        {c[i][j]} = _mm512_dpbf16_ps({c[i][j]}, x, b{j});" for j in range(vectors)
        ]
    lines = [
        "#include <immintrin.h>",
        "static inline int can_pair(void) {",
        '    return __builtin_cpu_supports("avx512bf16");',
        "}",
        "static inline uint32_t pair_of(const char *s, Py_ssize_t along, int both) {",
        "    uint16_t low, high = 0;",
        "    memcpy(&low, s, 2);",
        "    if (both) memcpy(&high, s + along, 2);",
        "    return low | (uint32_t)high << 16;",
        "}",
        '__attribute__((target("avx512bf16")))',
        "static void micro_pairs(Py_ssize_t depth, const uint32_t *a, const uint32_t *b, float *c,",
        "                        Py_ssize_t row, int add) {",
        "    __m512bh x;",
        *(f"    __m512 {name} = _mm512_setzero_ps();" for name in flat),
        f"    for (Py_ssize_t k = 0; k < depth; k++, a += {rows}, b += {vectors * lanes}) {{",
        *body,
        "    }",
        "    if (add) {",
        *(
            f"        {x} = _mm512_add_ps({x}, _mm512_loadu_ps({at}));"
            for x, at in zip(flat, places)
        ),
        "    }",
        *(f"    _mm512_storeu_ps({at}, {x});" for x, at in zip(flat, places)),
        "}",
    ]
    block = "\n".join(f"    {line}" for line in lines)
    return f'''
cdef extern from *:
    """
{block}
    """
    ctypedef unsigned int uint32_t
    bint can_pair() noexcept nogil
    uint32_t pair_of(const char*, Py_ssize_t, bint) noexcept nogil
    void micro_pairs(Py_ssize_t, const uint32_t*, const uint32_t*, float*, Py_ssize_t,
        bint) noexcept nogil

'''


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
    """acc[i, j] += dot of row i of a with row j of b, both along k."""
    v, u = f"v_{t.word}", f"u_{t.word}"
    c = _tile(m, columns)
    flat = [name for row in c for name in row]
    out = [
        f"cdef void dot_{t.word}_{m}_{columns}(const {t.name}* a, Py_ssize_t a_row,",
        f"        const {t.name}* b, Py_ssize_t b_row, {t.name}* acc, Py_ssize_t row,",
        "        Py_ssize_t n) noexcept nogil:",
        "    cdef Py_ssize_t k = 0",
    ]
    out += [f"    cdef {v} {name}" for name in [*flat, "x", *(f"b{j}" for j in range(columns))]]
    out += [f"    zero(&{name}, sizeof({v}))" for name in flat]
    out.append(f"    while k + {lanes} <= n:")
    out += [f"        b{j} = (<const {u}*>(b + {j} * b_row + k))[0]" for j in range(columns)]
    for i in range(m):
        out.append(f"        x = (<const {u}*>(a + {i} * a_row + k))[0]")
        out += [f"        {c[i][j]} = {c[i][j]} + x * b{j}" for j in range(columns)]
    out.append(f"        k += {lanes}")
    for i in range(m):
        for j in range(columns):
            out.append(f"    acc[{i} * row + {j}] += lanes_{t.word}(<const {t.name}*>&{c[i][j]})")
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
