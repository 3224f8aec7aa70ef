"""Prints the loops of scans: ``cumsum_f32``, ``cummax_i8``, ... one for each stored dtype.

Standard library only: ``setup.py`` runs it. One kernel scans columns start to stop of a row-major
block of n x inner values along its first axis. Rules the loops keep:

* Float sums and products are carried in double, 16-bit floats are widened as they are read.
* Lines (inner = 1) are scanned as eight chains at a time where joining them changes no rounding
  that matters: a single chain waits for the latency of every addition.
* Long work looks for Ctrl-C now and then.
* A NaN stays in cummax and cummin from where it stands. Complex numbers are ordered by real part,
  then by imaginary part.
"""

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
MODULES = {
    "scan_sum": ("cumsum", "cumprod", "logcumsumexp"),
    "scan_order": ("cummax", "cummin"),
}

HEAD = '''"""Scans {ops}. Written by mlxc/_kernels/scan_render.py: do not edit."""

from libc.math cimport INFINITY, atan2, cos, exp, log, sin
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN

from mlxc._kernels.convert cimport bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16
from mlxc._kernels.types cimport (
    b8_in, b8_out, c64, c64_in, c64_out, f32_in, f32_out, f64_in, f64_out, i8_in, i8_out, i16_in,
    i16_out, i32_in, i32_out, i64_in, i64_out, u8_in, u8_out, u16_in, u16_out, u32_in, u32_out,
    u64_in, u64_out,
)
from mlxc._threads.pool cimport interrupted

cdef enum:
    BLOCK = 1 << 18     # values of a line between looks for Ctrl-C
    ROWS = 1 << 12      # rows of columns between looks
'''

STEP = """

cdef inline {D} {key}_step({D} x, {D} y) noexcept nogil:
    {body}
"""

# x and y point at the values that come first; step is 1 or -1.
LINE = """

cdef void {key}_line(
    {pin} x, {pout} y, Py_ssize_t n, Py_ssize_t step, bint inclusive
) noexcept nogil:
    cdef {D} carry = {identity}
    cdef {D} value
    cdef Py_ssize_t i = 0
{chains}
    while i < n:
        if i % BLOCK == BLOCK - 1 and interrupted():
            return
        value = {key}_step(<{D}>{load}, carry)
        y[i * step] = {store_line}
        carry = value
        i += 1
"""

CHAIN_VARIABLES = """    cdef {D}[256] buffer
    cdef {D}[8] chain
    cdef Py_ssize_t c, k
"""

CHAINS = """    while i + 256 <= n:
        if i % BLOCK == BLOCK - 256 and interrupted():
            return
        for c in range(8):
            chain[c] = {identity}
        if inclusive:
            for k in range(32):
                for c in range(8):
                    chain[c] = {key}_step(<{D}>{load_chain}, chain[c])
                    buffer[c * 32 + k] = chain[c]
        else:
            for k in range(32):
                for c in range(8):
                    buffer[c * 32 + k] = chain[c]
                    chain[c] = {key}_step(<{D}>{load_chain}, chain[c])
        for c in range(8):
            for k in range(32):
                value = {key}_step(buffer[c * 32 + k], carry)
                y[(i + c * 32 + k) * step] = {store}
            carry = {key}_step(chain[c], carry)
        i += 256"""

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
        {key}_line(<{pin}>a + first, <{pout}>out + first, n, step, inclusive)
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


def _real(op, t):
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
        "load_chain": load.format("x[(i + c * 32 + k) * step]"),
        "load_column": load.format("x[j]"),
        "store": store.format("value"),
        "store_line": store.format("(value if inclusive else carry)"),
    }
    # Products may overflow in one chain and vanish in another, and double has no wider carry.
    chained = op != "cumprod" and t != "f64"
    words["chains"] = ""
    if chained:
        words["chains"] = CHAIN_VARIABLES.format(**words) + CHAINS.format(**words)
    text = STEP.format(body="\n    ".join(body), **words)
    return text + LINE.format(**words) + COLUMNS.format(**words)


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


def render(isa):
    """Cython sources of the scan kernels, by module name; the same for every instruction set."""
    sources = {}
    for module, ops in MODULES.items():
        parts, names = [HEAD.format(ops=", ".join(ops))], []
        for op in ops:
            for t in FLOATS if op == "logcumsumexp" else REAL:
                if (op, t) == ("cumsum", "b8"):  # counted in int32, after conversion
                    continue
                parts.append(_stateful(op, t) if op == "logcumsumexp" else _real(op, t))
                names.append(f"{op}_{t}")
            parts.append(_stateful(op, "c64"))
            names.append(f"{op}_c64")
        entries = "".join(f'        "{name}": <size_t>&{name},\n' for name in names)
        parts.append(
            "\n\ndef table():\n"
            '    """Addresses of the kernels, by name."""\n'
            f"    return {{\n{entries}    }}\n"
        )
        sources[module] = "".join(parts)
    return sources
