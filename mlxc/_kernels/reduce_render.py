"""Prints the loops of reductions: ``op_type_rows``, ``op_type_part`` and ``op_type_cols``.

Standard library only: ``setup.py`` runs it. ``render(isa)`` gives Cython sources by module name,
sized so that each compiles in seconds. Rules the loops keep:

* Sums are folded from many lanes, in blocks of 2048, into double: 1e8 float32 values add to 1e-6.
* A NaN anywhere makes max and min NaN. Complex numbers are ordered by real part, then imaginary.
* Short rows stay in one vector of lanes; narrow columns are widened by taking several rows as one.
"""

VECTOR_BYTES = {"v2": 16, "v3": 32, "v4": 64, "arm64": 16}
BLOCK = 2048  # values folded in the lanes' own precision before they go to the total
WIDE = 256  # columns of the buffer that narrow columns are widened into

C_TYPE = {
    "i32": "int32_t",
    "u32": "uint32_t",
    "i64": "int64_t",
    "u64": "uint64_t",
    "f32": "float",
    "f64": "double",
}
SIZE = {"i32": 4, "u32": 4, "i64": 8, "u64": 8, "f32": 4, "f64": 8}
LOWEST = {
    "i32": "INT32_MIN",
    "u32": "0",
    "i64": "INT64_MIN",
    "u64": "0",
    "f32": "-INFINITY",
    "f64": "-INFINITY",
}
HIGHEST = {
    "i32": "INT32_MAX",
    "u32": "UINT32_MAX",
    "i64": "INT64_MAX",
    "u64": "UINT64_MAX",
    "f32": "INFINITY",
    "f64": "INFINITY",
}

HEAD = '''"""Reductions {ops}. Written by mlxc/_kernels/reduce_render.py: do not edit."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, UINT32_MAX, UINT64_MAX
from libc.string cimport memchr

ctypedef struct c64:
    float re
    float im

ctypedef struct c128:
    double re
    double im
'''

STEP = """

cdef inline {type} {name}({type} x, {type} y) noexcept nogil:
    return {expr}
"""

# Two selects, not one with "or": the first is the processor's own maximum, and both vectorise.
STEP_NAN = """

cdef inline {type} {name}({type} x, {type} y) noexcept nogil:
    cdef {type} best = x if x {sign} y else y
    return x if x != x else best
"""

# A row's value: one vector of lanes for short rows, eight vectors and blocks for long ones.
ROW = """

cdef inline {D} {key}_short(const {T}* a, Py_ssize_t n) noexcept nogil:
    cdef {A}[{short}] lane
    cdef {A} single
    cdef Py_ssize_t i, l
    if n < {short}:
        single = {identity}
        for i in range(n):
            single = {stepA}(single, <{A}>a[i])
        return <{D}>single
    for l in range({short}):
        lane[l] = <{A}>a[l]
    i = {short}
    while i + {short} <= n:
        for l in range({short}):
            lane[l] = {stepA}(lane[l], <{A}>a[i + l])
        i += {short}
    single = {tree_lane}
    while i < n:
        single = {stepA}(single, <{A}>a[i])
        i += 1
    return <{D}>single


cdef {D} {key}_long(const {T}* a, Py_ssize_t n) noexcept nogil:
    cdef {A}[{lanes}] lane
    cdef {D}[{fold}] total
    cdef Py_ssize_t i = 0, k, l, stop
    for l in range({fold}):
        total[l] = {identity}
    while i + {lanes} <= n:
        stop = n if n - i < {block} else i + {block}
        for l in range({lanes}):
            lane[l] = <{A}>a[i + l]
        i += {lanes}
        while i + {lanes} <= stop:
            for l in range({lanes}):
                lane[l] = {stepA}(lane[l], <{A}>a[i + l])
            i += {lanes}
        for k in range(1, {vectors}):
            for l in range({fold}):
                lane[l] = {stepA}(lane[l], lane[k * {fold} + l])
        for l in range({fold}):
            total[l] = {stepD}(total[l], <{D}>lane[l])
    while i + {fold} <= n:
        for l in range({fold}):
            total[l] = {stepD}(total[l], <{D}>a[i + l])
        i += {fold}
    for l in range(n - i):
        total[l] = {stepD}(total[l], <{D}>a[i + l])
    return {tree_total}
"""

# Real maxima and minima: whole vectors, the last of which may overlap the one before. C, since gcc
# keeps selects of few numbers as branches: the loops that join lanes would cost more than the row.
EXTERN = '\n\ncdef extern from *:\n    """{inline}    """\n{declared}'
VECTORS = """
    typedef {C} {V} __attribute__((vector_size({bytes}), aligned({size}), may_alias));
    typedef {integer} {V}_bits __attribute__((vector_size({bytes})));
"""

BEST = """
    static inline {V} {key}_best_{n}({V} x, {V} y) {{
        {V}_bits take = ({V}_bits)(x {sign} y) | ({V}_bits)(x != x);
        return ({V})((take & ({V}_bits)x) | (~take & ({V}_bits)y));
    }}
    static inline {C} {key}_fold_{n}({V} x) {{
{fold}
    }}
"""

DECLARED = """\
    {V} {key}_best_{n}({V} x, {V} y) noexcept nogil
    {C} {key}_fold_{n}({V} x) noexcept nogil
"""

OVER = """

cdef inline {C} {key}_over_{n}(const {C}* a, Py_ssize_t size) noexcept nogil:
    \"\"\"At least {n} values.\"\"\"
    cdef {V}[8] best
    cdef Py_ssize_t i = {n}, k
    best[0] = (<const {V}*>a)[0]
    if size >= 16 * {n}:
        for k in range(1, 8):
            best[k] = (<const {V}*>(a + k * {n}))[0]
        i = 8 * {n}
        while i + 8 * {n} <= size:
            for k in range(8):
                best[k] = {key}_best_{n}((<const {V}*>(a + i + k * {n}))[0], best[k])
            i += 8 * {n}
        for k in range(4):
            best[k] = {key}_best_{n}(best[k], best[k + 4])
        best[0] = {key}_best_{n}(
            {key}_best_{n}(best[0], best[1]), {key}_best_{n}(best[2], best[3])
        )
    while i + {n} <= size:
        best[0] = {key}_best_{n}((<const {V}*>(a + i))[0], best[0])
        i += {n}
    if i < size:
        best[0] = {key}_best_{n}((<const {V}*>(a + size - {n}))[0], best[0])
    return {key}_fold_{n}(best[0])
"""

ROWS_ORDER = """

cdef void {key}_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef const {T}* x = <const {T}*>a
    cdef {T}* y = <{T}*>out
    cdef Py_ssize_t r, i
    if n >= {wide_lanes}:
        for r in range(rows):
            y[r] = {key}_over_{wide_lanes}(x + r * n, n)
    elif n >= {few_lanes}:
        for r in range(rows):
            y[r] = {key}_over_{few_lanes}(x + r * n, n)
    else:
        for r in range(rows):
            y[r] = {identity}
            for i in range(n):
                y[r] = {stepA}(y[r], x[r * n + i])
"""

ROWS = """

cdef void {key}_{kind}(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef const {T}* x = <const {T}*>a
    cdef {O}* y = <{O}*>out
    cdef Py_ssize_t r
    if n <= {limit}:
        for r in range(rows):
            y[r] = <{O}>{key}_short(x + r * n, n)
    else:
        for r in range(rows):
            y[r] = <{O}>{key}_long(x + r * n, n)
"""

# Complex sums are sums of floats whose lanes alternate between real and imaginary parts.
ROWS_COMPLEX_SUM = """

cdef void sum_c64_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef const float* x
    cdef float* y = <float*>out
    cdef float[{lanes}] lane
    cdef double[{fold}] total
    cdef Py_ssize_t r, i, l, k, stop, size = 2 * n
    for r in range(rows):
        x = <const float*>a + r * size
        i = 0
        for l in range({fold}):
            total[l] = 0
        while i + {lanes} <= size:
            stop = size if size - i < {block} else i + {block}
            for l in range({lanes}):
                lane[l] = x[i + l]
            i += {lanes}
            while i + {lanes} <= stop:
                for l in range({lanes}):
                    lane[l] += x[i + l]
                i += {lanes}
            for k in range(1, {vectors}):
                for l in range({fold}):
                    lane[l] += lane[k * {fold} + l]
            for l in range({fold}):
                total[l] += lane[l]
        while i + {fold} <= size:
            for l in range({fold}):
                total[l] += x[i + l]
            i += {fold}
        while i < size:
            total[0] += x[i]
            total[1] += x[i + 1]
            i += 2
        for l in range(2, {fold}, 2):
            total[0] += total[l]
            total[1] += total[l + 1]
        y[2 * r] = <float>total[0]
        y[2 * r + 1] = <float>total[1]
"""

# Columns: eight rows are joined before the accumulator is touched.
COLS = """

cdef void {key}_tall(
    const {T}* x, {D}* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const {T}* y
    cdef Py_ssize_t r = 0, j
    while r + 8 <= rows:
        y = x + r * step
        for j in range(n):
            acc[j] = {stepD}(acc[j], <{D}>{tree_rows})
        r += 8
    while r < rows:
        y = x + r * step
        for j in range(n):
            acc[j] = {stepD}(acc[j], <{D}>y[j])
        r += 1


cdef void {key}_cols(
    const char* a, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const {T}* x = <const {T}*>a
    cdef {D}* y = <{D}*>acc
    cdef {D}[{wide}] buffer
    cdef Py_ssize_t j, k, many
    if 0 < n <= {narrow} and rows >= 64 and step == n:
        many = {wide} // n
        for j in range(many * n):
            buffer[j] = {identity}
        {key}_tall(x, buffer, rows // many, many * n, many * n)
        for k in range(many):
            for j in range(n):
                y[j] = {stepD}(y[j], buffer[k * n + j])
        x += rows // many * many * n
        rows %= many
    {key}_tall(x, y, rows, n, step)
"""

COLS_COMPLEX_SUM = """

cdef void sum_c64_cols(
    const char* a, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const float* x = <const float*>a
    cdef float* y = <float*>acc
    cdef double[{wide}] buffer
    cdef Py_ssize_t r, start, j, k, size, many, width = 2 * n
    if 0 < width <= {narrow} and rows >= 64 and step == n:
        many = {wide} // width
        size = many * width
        for j in range(size):
            buffer[j] = 0
        for r in range(rows // many):
            for j in range(size):
                buffer[j] += x[r * size + j]
        for j in range(width):
            for k in range(1, many):
                buffer[j] += buffer[k * width + j]
            y[j] += <float>buffer[j]
        x += rows // many * size
        rows %= many
    for start in range(0, width, {wide}):
        size = width - start if width - start < {wide} else {wide}
        for j in range(size):
            buffer[j] = y[start + j]
        for r in range(rows):
            for j in range(size):
                buffer[j] += x[2 * r * step + start + j]
        for j in range(size):
            y[start + j] = <float>buffer[j]
"""

PROD_COMPLEX = """

cdef inline c128 times(c128 x, c64 y) noexcept nogil:
    cdef c128 out
    out.re = x.re * y.re - x.im * y.im
    out.im = x.re * y.im + x.im * y.re
    return out


cdef void prod_c64_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64* y = <c64*>out
    cdef c128 total
    cdef Py_ssize_t r, i
    for r in range(rows):
        total.re = 1
        total.im = 0
        for i in range(n):
            total = times(total, x[r * n + i])
        y[r].re = <float>total.re
        y[r].im = <float>total.im


cdef void prod_c64_cols(
    const char* a, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64* y = <c64*>acc
    cdef c128 total
    cdef Py_ssize_t r, j
    for j in range(n):
        total.re = y[j].re
        total.im = y[j].im
        for r in range(rows):
            total = times(total, x[r * step + j])
        y[j].re = <float>total.re
        y[j].im = <float>total.im
"""

ORDER_COMPLEX = """

cdef inline c64 {op}_c64_step(c64 x, c64 y) noexcept nogil:
    if (y.re != y.re) or (y.im != y.im):
        return y
    if (x.re != x.re) or (x.im != x.im):
        return x
    return x if (x.re {sign} y.re) or (x.re == y.re and x.im {sign} y.im) else y


cdef void {op}_c64_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64 best
    cdef Py_ssize_t r, i
    for r in range(rows):
        best.re = best.im = {worst}
        for i in range(n):
            best = {op}_c64_step(x[r * n + i], best)
        (<c64*>out)[r] = best


cdef void {op}_c64_cols(
    const char* a, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64* y = <c64*>acc
    cdef Py_ssize_t r, j
    for r in range(rows):
        for j in range(n):
            y[j] = {op}_c64_step(x[r * step + j], y[j])
"""

# The search for a deciding byte stops at the first one.
LOGICAL = """

cdef void {op}_b8_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t r, i
    cdef char value
    if n <= 16:
        for r in range(rows):
            value = {identity}
            for i in range(n):
                value = value {sign} a[r * n + i]
            out[r] = value
    else:
        for r in range(rows):
            out[r] = memchr(a + r * n, {decides}, n) {test} NULL
"""

REAL_TYPES = tuple(C_TYPE)
MODULES = {"reduce_sum": ("sum", "prod", "all", "any"), "reduce_order": ("max", "min")}


def _tree(step, items):
    """The expression that joins items pairwise, so that chains are short and errors small."""
    while len(items) > 1:
        items = [f"{step}({items[k]}, {items[k + 1]})" for k in range(0, len(items), 2)]
    return items[0]


def _step(op, t):
    """The function that joins two values of one type; NaN wins in max and min."""
    words = {"type": C_TYPE[t], "name": f"{op}_{t}_step"}
    if op in ("sum", "prod"):
        return STEP.format(expr="x + y" if op == "sum" else "x * y", **words)
    sign = ">" if op == "max" else "<"
    if t[0] == "f":
        return STEP_NAN.format(sign=sign, **words)
    return STEP.format(expr=f"x if x {sign} y else y", **words)


def _facts(op, t, isa):
    """The words that the templates want for one operation and compute type."""
    total = "f64" if t == "f32" and op in ("sum", "prod") else t  # what is accumulated in
    lane = "f64" if t == "f32" and op == "prod" else t  # float32 products overflow early
    fold = max(2, VECTOR_BYTES[isa] // SIZE[lane])
    step_lane, step_total = f"{op}_{lane}_step", f"{op}_{total}_step"
    return {
        "key": f"{op}_{t}",
        "T": C_TYPE[t],
        "A": C_TYPE[lane],
        "D": C_TYPE[total],
        "stepA": step_lane,
        "stepD": step_total,
        "identity": {"sum": "0", "prod": "1", "max": LOWEST[t], "min": HIGHEST[t]}[op],
        "fold": fold,
        "short": fold,
        "vectors": 8,
        "lanes": 8 * fold,
        "limit": 4 * 8 * fold,
        "block": BLOCK,
        "wide": WIDE,
        "narrow": WIDE // 8,
        "wide_lanes": fold,
        "few_lanes": 16 // SIZE[lane],
        "tree_lane": _tree(step_lane, [f"lane[{k}]" for k in range(fold)]),
        "tree_total": _tree(step_total, [f"total[{k}]" for k in range(fold)]),
        "tree_rows": _tree(step_lane, [f"<{C_TYPE[lane]}>y[{k} * step + j]" for k in range(8)]),
    }


def _lane_counts(t, isa):
    """Lanes of the vectors of 16 bytes and their doubles, up to the widest."""
    return [n for n in (2, 4, 8, 16) if 16 <= n * SIZE[t] <= VECTOR_BYTES[isa]]


def _vectors(isa):
    """The types of vectors of floats."""
    inline, declared = "", ""
    for t in ("f32", "f64"):
        for n in _lane_counts(t, isa):
            words = {"C": C_TYPE[t], "V": f"{t}x{n}", "bytes": n * SIZE[t], "size": SIZE[t]}
            inline += VECTORS.format(integer="int" if t == "f32" else "long long", **words)
            declared += "    ctypedef {C} {V}\n".format(**words)
    return EXTERN.format(inline=inline, declared=declared)


def _fold(key, t, n, narrowest):
    """C lines that fold a vector of n lanes: by halves, and at last by shuffling."""
    if n > narrowest:
        half = n // 2
        low, high = (", ".join(map(str, range(k, k + half))) for k in (0, half))
        parts = ", ".join(f"__builtin_shufflevector(x, x, {k})" for k in (low, high))
        return f"        return {key}_fold_{half}({key}_best_{half}({parts}));"
    lines, apart = [], n // 2
    while apart:
        order = ", ".join(str(k ^ apart) for k in range(n))
        lines.append(f"        x = {key}_best_{n}(x, __builtin_shufflevector(x, x, {order}));")
        apart //= 2
    return "\n".join([*lines, "        return x[0];"])


def _order(op, t, isa):
    """The loops over rows of max or min of floats."""
    counts, facts = _lane_counts(t, isa), _facts(op, t, isa)
    words = {"key": f"{op}_{t}", "C": C_TYPE[t], "sign": ">" if op == "max" else "<"}
    inline, declared, loops = "", "", ""
    for n in counts:
        words |= {"V": f"{t}x{n}", "n": n}
        inline += BEST.format(fold=_fold(words["key"], t, n, counts[0]), **words)
        if n in (counts[0], counts[-1]):
            declared += DECLARED.format(**words)
    for n in sorted({counts[0], counts[-1]}):
        loops += OVER.format(**(words | {"V": f"{t}x{n}", "n": n}))
    return EXTERN.format(inline=inline, declared=declared) + loops + ROWS_ORDER.format(**facts)


def _real(op, isa):
    """All loops of one operation over real types, and their names."""
    text, names = [], {}
    for t in REAL_TYPES:
        text.append(_step(op, t))
    for t in REAL_TYPES:
        facts = _facts(op, t, isa)
        if t[0] == "f" and op in ("max", "min"):
            text += [_order(op, t, isa), COLS.format(**facts)]
            names |= _names(f"{op}_{t}", "rows")
            continue
        text.append(ROW.format(**facts))
        text.append(ROWS.format(kind="rows", O=facts["T"], **facts))
        part = "rows"
        if facts["D"] != facts["T"]:
            part = "part"
            text.append(ROWS.format(kind="part", O=facts["D"], **facts))
        text.append(COLS.format(**facts))
        names |= _names(f"{op}_{t}", part)
    return "".join(text), names


def _complex(op, isa):
    """All loops of one operation over complex64, and their names."""
    if op == "sum":
        fold = VECTOR_BYTES[isa] // 4
        words = {
            "fold": fold,
            "lanes": 8 * fold,
            "vectors": 8,
            "block": BLOCK,
            "wide": WIDE,
            "narrow": WIDE // 8,
        }
        text = ROWS_COMPLEX_SUM.format(**words) + COLS_COMPLEX_SUM.format(**words)
    elif op == "prod":
        text = PROD_COMPLEX
    else:
        sign, worst = (">", "-INFINITY") if op == "max" else ("<", "INFINITY")
        text = ORDER_COMPLEX.format(op=op, sign=sign, worst=worst)
    return text, _names(f"{op}_c64", "rows")


def _logical(op):
    """The loops of all and any, or of min and max of booleans, which are the same."""
    words = (
        {"identity": "1", "sign": "&", "decides": 0, "test": "=="}
        if op in ("all", "min")
        else {"identity": "0", "sign": "|", "decides": 1, "test": "!="}
    )
    step = f"{op}_b8_step"
    text = STEP.format(type="char", name=step, expr=f"x {words['sign']} y") + LOGICAL.format(
        op=op, **words
    )
    text += COLS.format(
        key=f"{op}_b8",
        T="char",
        D="char",
        stepD=step,
        identity=words["identity"],
        tree_rows=_tree(step, [f"y[{k} * step + j]" for k in range(8)]),
        wide=WIDE,
        narrow=WIDE // 8,
    )
    return text, _names(f"{op}_b8", "rows")


def _names(key, part):
    """Names and functions of one table; partial results are rows where the types agree."""
    return {
        f"{key}_rows": f"{key}_rows",
        f"{key}_part": f"{key}_{part}",
        f"{key}_cols": f"{key}_cols",
    }


def render(isa):
    """Cython sources of the reduction kernels for one instruction set, by module name."""
    sources = {}
    for module, ops in MODULES.items():
        parts, names = [HEAD.format(ops=", ".join(ops))], {}
        if module == "reduce_order":
            parts.append(_vectors(isa))
        for op in ops:
            pieces = [] if op in ("all", "any") else [_real(op, isa), _complex(op, isa)]
            if op not in ("sum", "prod"):
                pieces.append(_logical(op))
            for text, found in pieces:
                parts.append(text)
                names |= found
        entries = "".join(
            f'        "{name}": <size_t>&{function},\n' for name, function in names.items()
        )
        parts.append(
            "\n\ndef table():\n"
            '    """Addresses of the kernels, by name."""\n'
            f"    return {{\n{entries}    }}\n"
        )
        sources[module] = "".join(parts)
    return sources
