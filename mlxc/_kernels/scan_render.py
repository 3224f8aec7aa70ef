"""Prints the loops of scans: ``cumsum_f32``, ``cummax_i8``, ... one for each stored dtype.

Standard library only: ``setup.py`` runs it. One kernel scans columns start to stop of a row-major
block of n x inner values along its first axis. Rules the loops keep:

* Float sums and products are carried in double, 16-bit floats are widened as they are read.
* Lines (inner = 1) are scanned by vectors where joining their lanes changes no rounding that
  matters: a single chain waits for the latency of every addition. Eight floats are multiplied in
  double before they meet the carry, which cannot overflow.
* Long lines may be cut into pieces, but for products of floats, which may overflow in one piece and
  vanish in another.
* Long work looks for Ctrl-C now and then.
* A NaN stays in cummax and cummin from where it stands. Complex numbers are ordered by real part,
  then by imaginary part.
"""

from mlxc._kernels import vector_templates as vectors

GROUP = 64  # values of a line that are scanned as vectors at a time: a block of widen_f16,
WHOLE = 64  # in steps of so many bytes,
WIDEST = 32  # by vectors of at most so many: wider ones take more steps, and these are dearer

# Stored dtype's short name: the types of pointers to it, of one value, of what max and min carry,
# and the least and largest value.
REAL = {
    "b8": ("b8", "uint8_t", "0", "1"),
    "u8": ("u8", "uint8_t", "0", "255"),
    "u16": ("u16", "uint16_t", "0", "65535"),
    "u32": ("u32", "uint32_t", "0", "<uint32_t>0xFFFFFFFF"),
    "u64": ("u64", "uint64_t", "0", "<uint64_t>0xFFFFFFFFFFFFFFFF"),
    "i8": ("i8", "signed char", "-128", "127"),
    "i16": ("i16", "short", "-32768", "32767"),
    "i32": ("i32", "int32_t", "INT32_MIN", "INT32_MAX"),
    "i64": ("i64", "int64_t", "INT64_MIN", "INT64_MAX"),
    "f16": ("u16", "float", "-INFINITY", "INFINITY"),
    "f32": ("f32", "float", "-INFINITY", "INFINITY"),
    "f64": ("f64", "double", "-INFINITY", "INFINITY"),
    "bf16": ("u16", "float", "-INFINITY", "INFINITY"),
}
FLOATS = ("f16", "f32", "f64", "bf16")
# What vectors carry of a stored dtype, if not itself.
LANE = {**dict.fromkeys(("b8", "u8", "u16", "i8", "i16"), "i32"), "f16": "f32", "bf16": "f32"}
CUT = ("i32", "u32", "i64", "u64", *FLOATS)
JOIN = {"cumsum": "sum", "cumprod": "prod", "cummax": "max", "cummin": "min"}
MODULES = {
    "scan_sum": ("cumsum", "cumprod", "logcumsumexp"),
    "scan_order": ("cummax", "cummin"),
}

HEAD = '''"""Scans {ops}. Written by mlxc/_kernels/scan_render.py: do not edit."""

from libc.math cimport INFINITY, atan2, cos, exp, log, sin
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN

from mlxc._kernels.convert cimport (
    bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, narrow_f16, widen_f16,
)
from mlxc._kernels.types cimport (
    b8_in, b8_out, c64, c64_in, c64_out, f32_in, f32_out, f64_in, f64_out, i8_in, i8_out, i16_in,
    i16_out, i32_in, i32_out, i64_in, i64_out, u8_in, u8_out, u16_in, u16_out, u32_in, u32_out,
    u64_in, u64_out,
)
from mlxc._threads.pool cimport interrupted

cdef enum:
    GROUP = {group}          # values of a line that are scanned as vectors
    BLOCK = 1 << 18     # values of a line between looks for Ctrl-C
    ROWS = 1 << 12      # rows of columns between looks
'''

STEP = """

cdef inline {D} {key}_step({D} x, {D} y) noexcept nogil:
    {body}
"""

# The scan of a group of values, as vectors: each is scanned by steps of 1, 2, 4... lanes, those of
# WHOLE bytes are joined, and then what came before joins all of them.
GROUP_TEXT = """\
    static inline void {name}(const {I} *in, {I} *out, {C} *before, int inclusive) {{
        const {V} nothing = ({C}){identity} - ({V}){{0}};
        {V} carry = *before - ({V}){{0}};
        for (int i = 0; i < {group}; i += {parts} * {n}) {{
            {V} last = nothing;
            for (int k = 0; k < {parts}; k++) {{
                {V} x = {load};
{steps}
                {V} part = k ? {join}(last, x) : x;
                if (inclusive) x = {join}(carry, part);
                else x = {join}(carry, __builtin_shufflevector(part, last, {behind}));
                {store};
                last = __builtin_shufflevector(part, part, {lasts});
            }}
            carry = {join}(carry, last);
        }}
        *before = carry[0];
    }}
"""
# Floats read as doubles, and written again: x86's own, since gcc takes what it converts apart.
DOUBLES = {
    "arm64": (
        "__builtin_convertvector(f32x2_load({}), f64x2)",
        "f32x2_store({}, __builtin_convertvector(x, f32x2))",
    ),
    "x86 2": (
        "(f64x2)_mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64((const void *)({}))))",
        "_mm_storel_epi64((void *)({}), _mm_castps_si128(_mm_cvtpd_ps((__m128d)x)))",
    ),
    "x86 4": (
        "(f64x4)_mm256_cvtps_pd(_mm_loadu_ps({}))",
        "_mm_storeu_ps({}, _mm256_cvtpd_ps((__m256d)x))",
    ),
}
SHIFTED = """\
                x = {join}(x, __builtin_shufflevector(x, nothing, {order}));
"""
EXTERN = '\n\ncdef extern from *:\n    """\n{inline}    """\n{declared}'

# x and y point at the values that come first; step is 1 or -1.
LINE = """

cdef void {key}_line(
    {pin} x, {pout} y, Py_ssize_t n, Py_ssize_t step, bint inclusive, {D} carry
) noexcept nogil:
    cdef {D} value
    cdef Py_ssize_t i = 0
{groups}
    while i < n:
        if i % BLOCK == BLOCK - 1 and interrupted():
            return
        value = {key}_step(<{D}>{load}, carry)
        y[i * step] = {store_line}
        carry = value
        i += 1
"""

GROUPS = """\
    cdef {I}[GROUP] values, said
    cdef bint strange
    cdef {L} before = carry
    cdef Py_ssize_t k
{directly}    while i + GROUP <= n:
        if i % BLOCK == BLOCK - GROUP and interrupted():
            return
        before = carry
        if step == 1:
            {load_group}
        else:
            for k in range(GROUP):
                values[k] = <{I}>{load_value}
{scan}
        if step == 1:
            {store_group}
        else:
            for k in range(GROUP):
                y[(i + k) * step] = {store_value}
        carry = <{D}>before
        i += GROUP"""
DIRECTLY = """\
    while step == 1 and i + GROUP <= n:
        if i % BLOCK == BLOCK - GROUP and interrupted():
            return
        {group}(x + i, y + i, &before, inclusive)
        i += GROUP
    carry = <{D}>before
"""
SCAN = "        {group}(values, said, &before, inclusive)"
# A NaN stays from where it stands, which the vectors' maxima do not know.
SCAN_ORDER = """\
        strange = before != before
        for k in range(GROUP):
            strange |= values[k] != values[k]
        if strange:
            for k in range(GROUP):
                said[k] = before
                before = {key}_step(values[k], before)
                said[k] = before if inclusive else said[k]
        else:
            {group}(values, said, &before, inclusive)"""

# Lines in pieces: the scan from what came before.
FROM = """

cdef void {key}_from(
    const char* a, char* out, Py_ssize_t n, Py_ssize_t step, bint inclusive, const char* carry
) noexcept nogil:
    {key}_line(<{pin}>a, <{pout}>out, n, step, inclusive, (<{D}*>carry)[0])
"""

# What a piece of floats adds up to, in double all the way; a rows_fn.
TOTAL = """

cdef void {key}_total(
    const char* a, char* out, Py_ssize_t rows, Py_ssize_t n
) noexcept nogil:
    cdef {pin} x
    cdef double[16] lane
    cdef Py_ssize_t r, i, k
    for r in range(rows):
        x = <{pin}>a + r * n
        for k in range(16):
            lane[k] = 0
        for i in range(0, n - 15, 16):
            for k in range(16):
                lane[k] += x[i + k]
        for i in range(n - n % 16, n):
            lane[0] += x[i]
        for k in range(1, 16):
            lane[0] += lane[k]
        (<double*>out)[r] = lane[0]
"""

COLUMNS = """

cdef void {key}_columns(
    {pin} x, {pout} y, Py_ssize_t n, Py_ssize_t step, Py_ssize_t width, bint inclusive
) noexcept nogil:
    cdef {D}[128] carry
    cdef {D} value
    cdef Py_ssize_t i, j
    for j in range(width):
        carry[j] = {identity}
    for i in range(n):
        if i % ROWS == ROWS - 1 and interrupted():
            return
        if inclusive:
            for j in range(width):
                value = {key}_step(<{D}>{load_column}, carry[j])
                y[j] = {store}
                carry[j] = value
        else:
            for j in range(width):
                value = carry[j]
                carry[j] = {key}_step(<{D}>{load_column}, value)
                y[j] = {store}
        x += step
        y += step


cdef void {key}(
    const char* a, char* out, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t stop,
    bint reverse, bint inclusive
) noexcept nogil:
    cdef Py_ssize_t j
    cdef Py_ssize_t first = (n - 1) * inner if reverse else 0
    cdef Py_ssize_t step = -inner if reverse else inner
    if inner == 1:
        {key}_line(<{pin}>a + first, <{pout}>out + first, n, step, inclusive, {identity})
        return
    for j in range(start, stop, 128):
        {key}_columns(
            <{pin}>a + first + j, <{pout}>out + first + j, n, step, min(<Py_ssize_t>128, stop - j),
            inclusive,
        )
"""

# A state, how a value joins it, and what it says: scans whose carry is more than one number.
STATEFUL = """

cdef struct {key}_state:
    {fields}


cdef inline void {key}_start({key}_state* s) noexcept nogil:
    {start}


cdef inline void {key}_join({key}_state* s, {V} x) noexcept nogil:
    {join}


cdef inline {V} {key}_say({key}_state* s) noexcept nogil:
    {say}


cdef void {key}(
    const char* a, char* out, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t stop,
    bint reverse, bint inclusive
) noexcept nogil:
    cdef {pin} x = <{pin}>a
    cdef {pout} y = <{pout}>out
    cdef {key}_state[16] states
    cdef Py_ssize_t i, j, k, at, width
    for j in range(start, stop, 16):
        width = min(<Py_ssize_t>16, stop - j)
        for k in range(width):
            {key}_start(&states[k])
        for i in range(n):
            if i % ROWS == ROWS - 1 and interrupted():
                return
            at = (n - 1 - i if reverse else i) * inner + j
            for k in range(width):
                if inclusive:
                    {key}_join(&states[k], {load})
                    y[at + k] = {store}
                else:
                    y[at + k] = {store}
                    {key}_join(&states[k], {load})
"""

LOG_STATE = {
    "fields": ["double top  # the largest value so far", "double total  # sum of exp(x - top)"],
    "start": ["s.top = -INFINITY", "s.total = 0"],
    "join": [
        "if x == s.top:",
        "    s.total += 1 if x > -INFINITY else 0",
        "elif x < s.top:",
        "    s.total += exp(<double>x - s.top)",
        "else:",
        "    s.total = s.total * exp(s.top - <double>x) + 1",
        "    s.top = x",
    ],
    "say": ["return <{V}>(s.top + log(s.total))"],
}
LOG_STATE_COMPLEX = {
    "fields": ["double top  # the largest real part so far", "double re", "double im"],
    "start": ["s.top = -INFINITY", "s.re = s.im = 0"],
    "join": [
        "cdef double scale",
        "if x.re == -INFINITY:",
        "    return",
        "if not (x.re <= s.top):",
        "    scale = exp(s.top - <double>x.re)",
        "    s.re *= scale",
        "    s.im *= scale",
        "    s.top = x.re",
        "scale = 1 if x.re == s.top else exp(<double>x.re - s.top)",
        "s.re += scale * cos(x.im)",
        "s.im += scale * sin(x.im)",
    ],
    "say": [
        "cdef c64 out",
        "out.re = <float>(s.top + 0.5 * log(s.re * s.re + s.im * s.im))",
        "out.im = <float>atan2(s.im, s.re)",
        "return out",
    ],
}
PAIR = ["double re", "double im"]
SAY_PAIR = ["cdef c64 out", "out.re = <float>s.re", "out.im = <float>s.im", "return out"]


def _order_complex(sign, worst):
    return {
        "fields": ["float re", "float im"],
        "start": [f"s.re = s.im = {worst}"],
        "join": [
            "cdef bint better",
            "if s.re != s.re or s.im != s.im:",
            "    return",
            f"better = x.re {sign} s.re or (x.re == s.re and x.im {sign} s.im)",
            "if better or x.re != x.re or x.im != x.im:",
            "    s.re = x.re",
            "    s.im = x.im",
        ],
        "say": SAY_PAIR,
    }


COMPLEX = {
    "cumsum": {
        "fields": PAIR,
        "start": ["s.re = s.im = 0"],
        "join": ["s.re += x.re", "s.im += x.im"],
        "say": SAY_PAIR,
    },
    "cumprod": {
        "fields": PAIR,
        "start": ["s.re = 1", "s.im = 0"],
        "join": [
            "cdef double re = s.re * x.re - s.im * x.im",
            "s.im = s.re * x.im + s.im * x.re",
            "s.re = re",
        ],
        "say": SAY_PAIR,
    },
    "cummax": _order_complex(">", "-INFINITY"),
    "cummin": _order_complex("<", "INFINITY"),
    "logcumsumexp": LOG_STATE_COMPLEX,
}


def _access(t):
    """How a value of a stored dtype is read from ``{}`` and how ``value`` is stored."""
    if t in ("f16", "bf16"):
        return t + "_to_f32({})", f"f32_to_{t}(<float>{{}})"
    return "{}", f"<{REAL[t][1]}>{{}}"


def _step(op, t):
    """Carry type, first carry, and the lines that join a value x and a carry y."""
    _, value, lowest, highest = REAL[t]
    if op in ("cumsum", "cumprod"):
        carry = "double" if t in FLOATS else value
        sign, identity = ("+", "0") if op == "cumsum" else ("*", "1")
        return carry, identity, [f"return <{carry}>(x {sign} y)"]
    sign, identity = (">", lowest) if op == "cummax" else ("<", highest)
    if t not in FLOATS:
        return value, identity, [f"return x if x {sign} y else y"]
    # The carry wins if it is NaN, then the value if that is.
    return (
        value,
        identity,
        [f"cdef {value} best = x if x {sign} y else y", "return x if x != x else best"],
    )


class Group:
    """The scan of a group of values: read as `read`, carried as `lane`."""

    def __init__(self, op, t, isa):
        self.read = self.lane = LANE.get(t, t)
        if self.read == "f32" and op in ("cumsum", "cumprod"):
            self.lane = "f64"
        self.join, self.isa = JOIN[op], isa
        self.n = min(vectors.VECTOR_BYTES[isa], WIDEST) // vectors.SIZE[self.lane]
        self.name = f"{self.join}_{self.read}_{self.lane}_group"
        self.identity = _identity(op, self.lane)

    def types(self):
        """The vectors that it needs, as (type, count)."""
        return {(self.lane, self.n), (self.read, self.n)}

    def functions(self):
        """C functions by name, with Cython's declarations."""
        n, vector = self.n, f"{self.lane}x{self.n}"
        join = f"{self.join}_{vector}"
        load = f"{self.read}x{n}_load(in + i + k * {n})"
        store = f"{self.read}x{n}_store(out + i + k * {n}, x)"
        if self.read != self.lane:
            load, store = DOUBLES["arm64" if self.isa == "arm64" else f"x86 {n}"]
            load, store = load.format(f"in + i + k * {n}"), store.format(f"out + i + k * {n}")
        steps, words, apart = "", {}, 1
        while apart < n:
            order = ", ".join(str(k - apart if k >= apart else n + k) for k in range(n))
            words = {"behind": order} if apart == 1 else words
            steps += SHIFTED.format(join=join, order=order)
            apart *= 2
        words |= {"name": self.name, "I": vectors.C_TYPE[self.read], "V": vector}
        words |= {"load": load, "store": store}
        words |= {"C": vectors.C_TYPE[self.lane], "n": n, "join": join, "group": GROUP}
        words |= {"parts": WHOLE // (n * vectors.SIZE[self.lane]), "identity": self.identity}
        words["lasts"] = ", ".join([str(n - 1)] * n)
        text = GROUP_TEXT.format(steps=steps.rstrip("\n"), **words)
        declaration = "    void {name}(const {I}* a, {I}* b, {C}* c, bint d) noexcept nogil\n"
        return {
            f"{vector} {self.join}": vectors.join(self.join, self.lane, n, self.isa),
            self.name: (text, declaration.format(**words)),
        }


def _identity(op, t):
    """What leaves every value of a vector's type as it is, in C."""
    if op in ("cumsum", "cumprod"):
        return "0" if op == "cumsum" else "1"
    if t[0] == "f":
        return "-INFINITY" if op == "cummax" else "INFINITY"
    if op == "cummax":
        return f"INT{t[1:]}_MIN" if t[0] == "i" else "0"
    return f"{'U' if t[0] == 'u' else ''}INT{t[1:]}_MAX"


def _grouped(op, t):
    """Whether lines are scanned by vectors: double has no wider carry."""
    return t != "f64" or op in ("cummax", "cummin")


def _in_pieces(op, t):
    """Whether lines may be cut: what is carried is what reductions add up to."""
    exact = t in CUT and _grouped(op, t)
    return exact and not (op == "cumprod" and t in FLOATS)


def _groups(words, op, t, isa):
    """The loop over groups of a line."""
    group, read = Group(op, t, isa), _access(t)[0].format("x[i + k]")
    wide = vectors.C_TYPE[group.read]
    words = {**words, "I": wide, "L": vectors.C_TYPE[group.lane], "group": group.name}
    load_group = f"for k in range(GROUP):\n                values[k] = <{wide}>{read}"
    store_group = "for k in range(GROUP):\n                y[i + k] = {store_value}".format(**words)
    if t == "f16":
        load_group, store_group = "widen_f16(values, x + i)", "narrow_f16(y + i, said)"
    scan = SCAN_ORDER if op in ("cummax", "cummin") and t in FLOATS else SCAN
    directly = DIRECTLY.format(**words) if scan is SCAN and group.read == t else ""
    return GROUPS.format(
        load_group=load_group,
        store_group=store_group,
        scan=scan.format(**words),
        directly=directly,
        **words,
    )


def _real(op, t, isa):
    """Source of one kernel over real numbers."""
    carry, identity, body = _step(op, t)
    load, store = _access(t)
    words = {
        "key": f"{op}_{t}",
        "D": carry,
        "identity": identity,
        "pin": REAL[t][0] + "_in",
        "pout": REAL[t][0] + "_out",
        "load": load.format("x[i * step]"),
        "load_value": load.format("x[(i + k) * step]"),
        "load_column": load.format("x[j]"),
        "store": store.format("value"),
        "store_line": store.format("(value if inclusive else carry)"),
        "store_value": store.format("said[k]"),
    }
    words["groups"] = _groups(words, op, t, isa) if _grouped(op, t) else ""
    text = STEP.format(body="\n    ".join(body), **words) + LINE.format(**words)
    if _in_pieces(op, t):
        text += FROM.format(**words)
    if (op, t) == ("cumsum", "f32"):
        text += TOTAL.format(**words)
    return text + COLUMNS.format(**words)


def _stateful(op, t):
    """Source of one kernel whose carry is a structure."""
    rules = COMPLEX[op] if t == "c64" else LOG_STATE
    value = "c64" if t == "c64" else REAL[t][1]
    load, store = ("{}", "{}") if t == "c64" else _access(t)
    key = f"{op}_{t}"
    pointer = "c64" if t == "c64" else REAL[t][0]
    return STATEFUL.format(
        key=key,
        V=value,
        pin=pointer + "_in",
        pout=pointer + "_out",
        load=load.format("x[at + k]"),
        store=store.format(f"{key}_say(&states[k])"),
        **{name: "\n    ".join(lines).replace("{V}", value) for name, lines in rules.items()},
    )


def _vectors(ops, isa):
    """The C functions that the loops of a module call."""
    groups = [Group(op, t, isa) for op in ops if op in JOIN for t in REAL if _grouped(op, t)]
    functions = {}
    for group in groups:
        functions |= group.functions()
    types = vectors.types(set().union(*(group.types() for group in groups)))
    inline = vectors.HEAD + "    #include <math.h>\n" + types
    inline += "".join(text for text, _ in functions.values())
    declared = [text for name, (_, text) in functions.items() if name.endswith("_group")]
    return EXTERN.format(inline=inline, declared="".join(declared))


def _names(op, t):
    """Kernels of one operation over a stored dtype, in the table and in the source."""
    names = {f"{op}_{t}": f"{op}_{t}"}
    if t != "c64" and op in JOIN and _in_pieces(op, t):
        names[f"{op}_from_{t}"] = f"{op}_{t}_from"
    if (op, t) == ("cumsum", "f32"):
        names[f"{op}_total_{t}"] = f"{op}_{t}_total"
    return names


def render(isa):
    """Cython sources of the scan kernels for one instruction set, by module name."""
    sources = {}
    for module, ops in MODULES.items():
        head = HEAD.format(ops=", ".join(ops), group=GROUP)
        parts, names = [head, _vectors(ops, isa)], {}
        for op in ops:
            for t in FLOATS if op == "logcumsumexp" else REAL:
                if (op, t) == ("cumsum", "b8"):  # counted in int32, after conversion
                    continue
                parts.append(_stateful(op, t) if op not in JOIN else _real(op, t, isa))
                names |= _names(op, t)
            parts.append(_stateful(op, "c64"))
            names |= _names(op, "c64")
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
