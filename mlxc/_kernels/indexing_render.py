"""Renders the loops that move and combine elements by index or stride: `offsets_*`, `take_*`,
`along_*`, `take_rows`, `fold_*`, `index_*`, and `turn_*`, which transposes.

Offsets and strides are in bytes. Moves know only the width of an element (1, 2, 4, 8); combining
knows the dtype, and computes 16-bit floats in float32. Duplicate destinations combine in order.
Maxima and minima keep NaN.
"""

HEAD = '''"""Loops over elements by index or stride, in bytes; signatures in cpu/blocks.pxd."""

from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcpy

from mlxc._kernels.convert cimport bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16
from mlxc._kernels.types cimport c64, word1, word2, word4, word8

cdef extern from *:
    """
    /* A value in a register of its own, not a part of a vector. */
    static inline int64_t apart(int64_t v) { __asm__("" : "+r"(v)); return v; }
    """
    int64_t apart(int64_t v) noexcept nogil
    void prefetch "__builtin_prefetch"(const void*) noexcept nogil


cdef inline c64 add_complex(c64 a, c64 b) noexcept nogil:
    a.re += b.re
    a.im += b.im
    return a


cdef inline c64 multiply_complex(c64 a, c64 b) noexcept nogil:
    cdef c64 c
    c.re = a.re * b.re - a.im * b.im
    c.im = a.re * b.im + a.im * b.re
    return c

'''

WIDTHS = (1, 2, 4, 8)
LINE = 64  # bytes of a cache line

# dtype's short word -> C type of an element
INTEGERS = {
    "u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t",
    "i8": "int8_t", "i16": "int16_t", "i32": "int32_t", "i64": "int64_t",
}  # fmt: skip
STORED = {"b8": "uint8_t", **INTEGERS, "f16": "uint16_t", "f32": "float", "f64": "double",
          "bf16": "uint16_t", "c64": "c64"}  # fmt: skip
HALVES = {"f16": ("f16_to_f32", "f32_to_f16"), "bf16": ("bf16_to_f32", "f32_to_bf16")}

NUMBERS = {
    "add": "a + b",
    "prod": "a * b",
    "max": "a if a > b else b",
    "min": "a if a < b else b",
}
FLOATS = {
    **NUMBERS,
    "max": "a if a != a else (a if a > b else b)",
    "min": "a if a != a else (a if a < b else b)",
}
BOOLEANS = {"add": "a | b", "prod": "a & b", "max": "a | b", "min": "a & b"}
COMPLEXES = {"add": "add_complex(a, b)", "prod": "multiply_complex(a, b)"}

# An index counts from the end if it is negative; what is still outside is not added, and its
# position returned.
OFFSETS = """
cdef Py_ssize_t offsets_{t}(
    const char* index, Py_ssize_t index_stride, Py_ssize_t n, Py_ssize_t size, Py_ssize_t step,
    int64_t* offsets
) noexcept nogil:
    cdef Py_ssize_t j
    cdef int64_t v
    cdef bint bad = False
    for j in range(n):
        v = <int64_t>(<const {c}*>(index + j * index_stride))[0]
        {wrap}
        bad |= <uint64_t>v >= <uint64_t>size
        offsets[j] += v * step
    if not bad:
        return -1
    for j in range(n):
        v = <int64_t>(<const {c}*>(index + j * index_stride))[0]
        {wrap}
        if <uint64_t>v >= <uint64_t>size:
            return j
    return -1

"""

# One pass over a line of indices, up to the first that is outside. Four at a time are looked at
# together, each in a register of its own (`apart`): vectors of indices and of elements take longer
# to come apart and together than the loads of scattered elements.
ALONG = """
cdef Py_ssize_t along_{t}_{w}(
    const char* src, Py_ssize_t step, Py_ssize_t ramp, const char* index, Py_ssize_t index_stride,
    char* dst, Py_ssize_t n, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t j = 0, end
    cdef int64_t {v}
    cdef int64_t {x}
    cdef const {c}* at
    cdef const word{w}* line
    cdef word{w}* out
    cdef bint dense = index_stride == sizeof({c}) and step == {w} and ramp == 0
    while j < n:
        if dense:
            line = <const word{w}*>src
            while j + 4 <= n:
                at = <const {c}*>index + j
                out = <word{w}*>dst + j
                {load_dense}
                if {outside}:
                    break
                {read_dense}
                {write}
                j += 4
        else:
            while j + 4 <= n:
                at = <const {c}*>(index + j * index_stride)
                line = <const word{w}*>(src + j * ramp)
                out = <word{w}*>dst + j
                {load}
                if {outside}:
                    break
                {read}
                {write}
                j += 4
        end = min(j + 4, n)
        while j < end:
            v0 = <int64_t>(<const {c}*>(index + j * index_stride))[0]
            {wrap}
            if <uint64_t>v0 >= <uint64_t>size:
                return j
            (<word{w}*>dst + j)[0] = (<const word{w}*>(src + v0 * step + j * ramp))[0]
            j += 1
    return -1

"""


def _along(t, c, w, wrap):
    """The kernel of one dtype of indices and one width of elements."""

    def each(text):
        lines = [text.format(i=i, c=c, w=w) for i in range(4)]
        return ("\n" + 16 * " ").join(lines)

    return ALONG.format(
        t=t,
        c=c,
        w=w,
        wrap=wrap.replace("v", "v0"),
        v="v0, v1, v2, v3",
        x="x0, x1, x2, x3",
        load_dense=each("v{i} = apart(<int64_t>at[{i}])"),
        load=each("v{i} = apart(<int64_t>(<const {c}*>(<const char*>at + {i} * index_stride))[0])"),
        outside=" | ".join(f"(<uint64_t>v{i} >= <uint64_t>size)" for i in range(4)),
        read_dense=each("x{i} = apart(<int64_t>line[v{i}])"),
        read=each(
            "x{i} = apart(<int64_t>"
            "(<const word{w}*>(<const char*>line + v{i} * step + {i} * ramp))[0])"
        ),
        write=each("out[{i}] = <word{w}>x{i}"),
    )


# A row of bytes: a short one in moves of a size that is known here, the last of which overlaps the
# others.
RUN = """
cdef enum:
    AHEAD = 2048  # bytes of rows that are asked for before they are read
    SHORT = 1024  # bytes of rows that are not worth a call


cdef inline void copy_run(char* dst, const char* src, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t b
    {moves}
    elif {line} <= row <= SHORT:
        for b in range(0, row - {line}, {line}):
            memcpy(dst + b, src + b, {line})
        memcpy(dst + row - {line}, src + row - {line}, {line})
    else:
        memcpy(dst, src, row)


cdef void take_rows(
    const char* src, const int64_t* offsets, char* dst, Py_ssize_t row, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t k, b, ahead = 1 + AHEAD // row
    for k in range(n):
        if row >= {line} and k + ahead < n:
            for b in range(0, min(row, <Py_ssize_t>AHEAD), {line}):
                prefetch(src + offsets[k + ahead] + b)
        copy_run(dst, src + offsets[k], row)
        dst += row

"""


def _runs():
    """copy_run with a case for every power of two that two moves can cover, and take_rows."""
    moves = []
    for w in (32, 16, 8, 4):
        moves.append(
            f"{'el' if moves else ''}if {w} <= row < {2 * w}:\n"
            f"        memcpy(dst, src, {w})\n"
            f"        memcpy(dst + row - {w}, src + row - {w}, {w})"
        )
    return RUN.format(line=LINE, moves="\n    ".join(moves))


# Whole cache lines are read, turned in a small square, and written as whole lines: neither side
# comes back to a line that may be gone by then. What is left over beside squares is turned by one
# more that overlaps the last, unless it is a few elements only.
TURN = """
cdef void turn_{w}(
    char* dst, Py_ssize_t dst_stride, const char* src, Py_ssize_t src_stride, Py_ssize_t rows,
    Py_ssize_t columns
) noexcept nogil:
    cdef word{w}[{side}][{side}] square
    cdef Py_ssize_t i = 0, j, r, c, many
    cdef const word{w}* column
    cdef word{w}* row
    while i < rows:
        many = min(<Py_ssize_t>{side}, rows - i)
        if {few} < many < {side} <= rows:
            i = rows - {side}
            turn_{w}(
                dst + i * dst_stride, dst_stride, src + i * {w}, src_stride, {side}, columns
            )
            return
        j = 0
        while many == {side} and j + {side} <= columns:
            for c in range({side}):
                column = <const word{w}*>(src + (j + c) * src_stride) + i
                for r in range({side}):
                    square[c][r] = column[r]
            for r in range({side}):
                row = <word{w}*>(dst + (i + r) * dst_stride) + j
                for c in range({side}):
                    row[c] = square[c][r]
            j += {side}
        if many == {side} and 0 < j < columns - {few}:
            j = columns - {side}
            turn_{w}(
                dst + i * dst_stride + j * {w}, dst_stride, src + j * src_stride + i * {w},
                src_stride, {side}, {side}
            )
            j = columns
        while j < columns:
            column = <const word{w}*>(src + j * src_stride) + i
            for r in range(many):
                (<word{w}*>(dst + (i + r) * dst_stride))[j] = column[r]
            j += 1
        i += {side}

"""

MOVES = """
cdef void take_{w}(const char* src, const int64_t* offsets, char* dst, Py_ssize_t n) noexcept nogil:
    cdef word{w}* out = <word{w}*>dst
    cdef Py_ssize_t j
    for j in range(n):
        out[j] = (<const word{w}*>(src + offsets[j]))[0]


cdef void fold_set_{w}(
    char* dst, Py_ssize_t dst_stride, const char* src, Py_ssize_t src_stride, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    cdef word{w} value
    if dst_stride == {w} and src_stride == {w}:
        memcpy(dst, src, n * {w})
    elif dst_stride == {w} and src_stride == 0 and n > 0:
        value = (<const word{w}*>src)[0]
        for j in range(n):
            (<word{w}*>dst)[j] = value
    elif dst_stride == {w} and src_stride == 2 * {w}:
        for j in range(n):
            (<word{w}*>dst)[j] = (<const word{w}*>src)[2 * j]
    elif dst_stride == {w} and src_stride == -{w}:
        for j in range(n):
            (<word{w}*>dst)[j] = (<const word{w}*>src)[-j]
    else:
        for j in range(n):
            (<word{w}*>(dst + j * dst_stride))[0] = (<const word{w}*>(src + j * src_stride))[0]


cdef void rows_set_{w}(
    char* dst, Py_ssize_t dst_step, Py_ssize_t dst_stride, const char* src, Py_ssize_t src_step,
    Py_ssize_t src_stride, Py_ssize_t rows, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t r
    if dst_stride == {w} and src_stride == {w}:
        for r in range(rows):
            copy_run(dst + r * dst_step, src + r * src_step, n * {w})
    else:
        for r in range(rows):
            fold_set_{w}(dst + r * dst_step, dst_stride, src + r * src_step, src_stride, n)


cdef void index_set_{w}(
    char* dst, const int64_t* offsets, const char* src, Py_ssize_t src_stride, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        (<word{w}*>(dst + offsets[j]))[0] = (<const word{w}*>(src + j * src_stride))[0]

"""

COMBINE = """
cdef inline {c} {op}_one_{t}({c} x, {c} y) noexcept nogil:
    {body}


cdef void fold_{op}_{t}(
    char* dst, Py_ssize_t dst_stride, const char* src, Py_ssize_t src_stride, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    cdef {c}* out = <{c}*>dst
    cdef const {c}* from_ = <const {c}*>src
    if dst_stride == sizeof({c}) and src_stride == sizeof({c}):
        for j in range(n):
            out[j] = {op}_one_{t}(out[j], from_[j])
        return
    for j in range(n):
        out = <{c}*>(dst + j * dst_stride)
        out[0] = {op}_one_{t}(out[0], (<const {c}*>(src + j * src_stride))[0])


cdef void index_{op}_{t}(
    char* dst, const int64_t* offsets, const char* src, Py_ssize_t src_stride, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    cdef {c}* out
    for j in range(n):
        out = <{c}*>(dst + offsets[j])
        out[0] = {op}_one_{t}(out[0], (<const {c}*>(src + j * src_stride))[0])

"""


def _formulas(t):
    if t == "b8":
        return BOOLEANS
    if t == "c64":
        return COMPLEXES
    return NUMBERS if t in INTEGERS else FLOATS


def _body(t, formula):
    """The statements that combine two stored elements x and y."""
    if t in HALVES:
        widen, narrow = HALVES[t]
        return (
            f"cdef float a = {widen}(x)\n    cdef float b = {widen}(y)\n"
            f"    return {narrow}({formula})"
        )
    c = STORED[t]
    cast = "" if t == "c64" else f"<{c}>"
    return f"cdef {c} a = x\n    cdef {c} b = y\n    return {cast}({formula})"


def render(isa):
    """The source of the module `indexing`; the same text for every instruction set."""
    parts, names = [HEAD], []
    for t, c in INTEGERS.items():
        wrap = "v = v + size if v < 0 else v" if t.startswith("i") else "pass"
        parts.append(OFFSETS.format(t=t, c=c, wrap=wrap))
        parts += [_along(t, c, w, wrap) for w in WIDTHS]
        names += [f"offsets_{t}", *(f"along_{t}_{w}" for w in WIDTHS)]
    parts.append(_runs())
    names.append("take_rows")
    for w in WIDTHS:
        parts.append(TURN.format(w=w, side=LINE // w, few=LINE // w // 4) + MOVES.format(w=w))
        names += [f"{kind}_{w}" for kind in ("turn", "take", "fold_set", "rows_set", "index_set")]
    for t, c in STORED.items():
        for op, formula in _formulas(t).items():
            parts.append(COMBINE.format(op=op, t=t, c=c, body=_body(t, formula)))
            names += [f"fold_{op}_{t}", f"index_{op}_{t}"]
    entries = "".join(f'        "{name}": <size_t>&{name},\n' for name in names)
    doc = '"""Addresses of the kernels by name."""'
    parts.append(f"\ndef table():\n    {doc}\n    return {{\n{entries}    }}\n")
    return {"indexing": "".join(parts)}
