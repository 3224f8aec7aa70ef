"""Prints the loops of reductions: ``op_type_rows``, ``op_type_part`` and ``op_type_cols``, and
those of sums of squares, ``sum_square_type_...`` and ``sum_centered_type_...``.

Standard library only: ``setup.py`` runs it. ``render(isa)`` gives Cython sources by module name,
sized so that each compiles in seconds. The text stands in ``reduce_templates``. Rules the loops
keep:

* Sums are folded from many lanes, in blocks of 2048, into double: 1e8 float32 values add to 1e-6.
* A NaN anywhere makes max and min NaN. Complex numbers are ordered by real part, then imaginary.
* Short rows stay in one vector of lanes; narrow columns are widened by taking several rows as one.
* Columns are read as they lie, a stripe of vectors down a few rows, which stay in registers.
* Squares are summed up as values are read: of values themselves, or of what is left of them when
  a row's or a column's center is taken away.
* What is stored narrower than it is computed (half floats; small integers, of which the extrema are
  taken) is read as it stands: such kernels are named by the stored type.
"""

from mlxc._kernels import vector_templates as vectors
from mlxc._kernels.reduce_templates import (
    COLS,
    COLS_COMPLEX_SUM,
    DOWN,
    EXTERN,
    FEW,
    HEAD,
    LOGICAL,
    ORDER_COMPLEX,
    OVER,
    OVER_ORDER,
    OVER_SUM,
    PROD_COMPLEX,
    ROWS,
    ROWS_COMPLEX_SUM,
    SIDE,
    STEP,
    STEP_NAN,
    TALL,
)
from mlxc._kernels.vector_templates import C_TYPE, HALF, SIZE, VECTOR_BYTES

BLOCK = 2048  # values folded in the lanes' own precision before they go to the total
WIDE = 256  # columns of the buffer that narrow columns of complex numbers are widened into
STRIPE = 8  # vectors of columns that go down the rows together,
ROWS_DOWN = 16  # as many of which are joined in the lanes' own precision
AHEAD = 1024  # bytes from what is read of a few rows to what is asked for

COMPUTED = ("i32", "u32", "i64", "u64", "f32", "f64")
SMALL = ("i8", "u8", "i16", "u16")
ORDERED = (*COMPUTED, *HALF, *SMALL)  # whose extrema are found as they are stored
NUMBERS = ("sum", "prod", "max", "min")  # what is reduced of numbers
SQUARES = ("square", "centered")  # forms of sums
SQUARED = ("f32", *HALF)  # of what
MODULES = {
    "reduce_sum": ("sum", "prod", "all", "any"),
    "reduce_square": SQUARES,
    "reduce_order": ("max", "min"),
}
# What stands in the loops where values have centers: {A} is a center's type, {V} a vector of them.
CENTERS = {
    "centers": ", const char* c",
    "value_of": ", {A} center",
    "from_row": ", {V}_zero() + center",
    "of_row": ", (<const {A}*>c)[r]",
    "middles": ", const {A}* center",
    "from_k": ", {V}_load(center + k * {wide_lanes})",
    "from_end": ", {V}_load(center + end)",
    "of_piece": ", center",
    "of_j": ", center + j",
    "near": "    cdef {A}[{wide}] near\n",
    "bring_near": "            near[j] = (<const {A}*>c)[j % n]\n",
    "of_near": ", near",
    "of_all": ", <const {A}*>c",
}


def _stored_types(op):
    """What an operation reads as it is stored."""
    return {"sum": COMPUTED + HALF, "prod": COMPUTED}.get(op, ORDERED)


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


def _identity(op, t):
    """What leaves every value of a type as it is."""
    if op in ("sum", "prod"):
        return "0" if op == "sum" else "1"
    if t[0] == "f":
        return "-INFINITY" if op == "max" else "INFINITY"
    bits = int(t[1:])
    if bits < 32:
        top = (1 << bits - (t[0] == "i")) - 1
        return str(top if op == "min" else -top - 1 if t[0] == "i" else 0)
    if op == "max":
        return f"INT{bits}_MIN" if t[0] == "i" else "0"
    return f"{'U' if t[0] == 'u' else ''}INT{bits}_MAX"


def _centers(words):
    """What stands in the loops for centers, nothing where there are none."""
    return {k: text.format(**words) if words["centered"] else "" for k, text in CENTERS.items()}


def _columns(words, n, size):
    """The loops over columns; rows are read as vectors of n values of a size in bytes."""
    words = {**words, "wide_lanes": n, "wide": STRIPE * n, "down": ROWS_DOWN}
    words |= _centers(words)
    text, choices = "", ""
    for count in range(STRIPE, 0, -1):
        lines = max(1, count * n * size // 64)
        text += DOWN.format(count=count, lines=lines, **words)
        choices += f"    elif count == {count}:\n"
        choices += "        {key}_down_{count}(x{of_piece}, acc, rows, n, step, soon)\n".format(
            count=count, **words
        )
    return text + TALL.format(choices=choices, **words) + COLS.format(**words)


class Loops:
    """The kernels of one operation over one stored type: values are read as lanes of `lane`, rows
    give values of `lane` or `total`, and columns are added up in `total`. The form says which
    squares they are of, if any."""

    def __init__(self, op, t, isa, form=""):
        self.op, self.t, self.isa, self.form = op, t, isa, form
        compute = "f32" if t in HALF else t
        self.lane = "f64" if (op, compute) == ("prod", "f32") else compute
        wide = op in ("sum", "prod") and compute == "f32"
        self.total = "f64" if wide else "i32" if t in SMALL else compute
        self.row = "i32" if t in SMALL else compute
        self.few, self.wide = vectors.lanes(self.lane, isa)
        self.counts = sorted({self.few, self.wide})
        self.key = f"{op}_{form}_{t}" if form else f"{op}_{t}"
        if t in HALF:
            read, load = t + "_to_f32({})", t + "_load_{n}"
        else:
            read, load = "{}", f"{self.lane}x{{n}}_load"
            if self.lane != compute:
                load = "f32_wide_{n}"
        self.plain_load = load
        self.load = f"{t}_{form}_{{n}}" if form else load
        self.sticky = op in ("max", "min") and self.lane[0] == "f"
        self.words = {
            "key": self.key,
            "T": "uint16_t" if t in HALF else C_TYPE[t],
            "A": C_TYPE[self.lane],
            "D": C_TYPE[self.total],
            "stepA": f"{op}_{self.lane}_step",
            "stepD": f"{op}_{self.total}_step",
            "identity": _identity(op, self.lane),
            "few_lanes": self.few,
            "wide_lanes": self.wide,
            "read": self.squared(read.format("x[r * n + i]"), "(<const float*>c)[r]"),
            "read_row": self.squared(read.format("x[r * step + i]"), "center[i]"),
            "block": BLOCK,
            "wide": STRIPE * self.wide,
            "centered": form == "centered",
        }

    def squared(self, value, center):
        """A value as the form has it."""
        if not self.form:
            return value
        return f"square_f32({value}{' - ' + center if self.form == 'centered' else ''})"

    def c_types(self):
        """The vectors that the loops need, as (type, count)."""
        for n in self.counts:
            yield self.lane, n
            if self.t in HALF:
                yield from (("u32", n), ("u16", n))
            if self.op == "sum" and self.lane == "f32":
                yield "f64", n // 2
            if self.load.startswith("f32_wide"):
                yield "f32", n

    def c_functions(self):
        """C functions by what they are called in C, with Cython's declarations."""
        made = {}
        for n in self.counts:
            vector = f"{self.lane}x{n}"
            made[vector] = vectors.declared(self.lane, n)
            made[f"{self.op}_{vector}"] = vectors.join(self.op, self.lane, n, self.isa)
            if self.op in ("sum", "prod"):
                made[f"{vector}_last"] = vectors.last(self.lane, n)
            elif self.lane[0] == "f":
                made[f"{vector}_flags"] = vectors.flags(self.lane, n, self.isa)
            if self.load.startswith("f32_wide"):
                made[f"f32_wide_{n}"] = vectors.load_wide(n)
            if self.op == "sum" and self.lane == "f32":
                made[f"f64x{n // 2}"] = vectors.declared("f64", n // 2)
                made[f"sum_f64x{n // 2}"] = vectors.join("sum", "f64", n // 2, self.isa)
                made[f"{vector}_doubles"] = vectors.doubles(n)
            if self.t in HALF:
                made[f"{self.t}_load_{n}"] = vectors.load_half(self.t, n, self.isa)
            if self.form:
                made["square_f32"] = vectors.SQUARE
                made[self.load.format(n=n)] = vectors.load_square(
                    self.load.format(n=n), self.plain_load.format(n=n), n, self.t, self.form
                )
        if self.sticky:
            made[f"sticky_{self.op}_{vector}"] = vectors.sticky(self.op, self.lane, self.wide)
        return made

    def over(self, n):
        """The loop over one row by vectors of n values."""
        vector, load = f"{self.lane}x{n}", self.load.format(n=n)
        join, lanes = f"{self.op}_{vector}", [f"lane[{k}]" for k in range(8)]
        words = {**self.words, "n": n, "V": vector, "W": vector, "load": load, "join": join}
        words |= _centers(words)
        words["tree"] = _tree(join, lanes)
        if self.op == "sum" and self.lane[0] == "f":
            words["doubles"] = "value"
            if self.lane == "f32":
                words |= {"W": f"f64x{n // 2}", "doubles": f"{vector}_doubles(value)"}
            return OVER_SUM.format(**words)
        if self.op in ("max", "min") and self.lane[0] == "f":
            return OVER_ORDER.format(**words)
        rest = f"{load}(a + size - {n})"
        if self.op in ("sum", "prod"):
            rest = f"{vector}_last({rest}, size - i, {words['identity']})"
        return OVER.format(rest=rest, **words)

    def rows(self):
        """The loops over rows."""
        text = "".join(self.over(n) for n in self.counts)
        return text + self.folds("rows", self.row)

    def folds(self, kind, out):
        """The loop over rows, each to a value of type `out`."""
        vector = f"{self.lane}x{self.wide}"
        words = self.words | _centers({**self.words, "V": vector})
        return ROWS.format(kind=kind, O=C_TYPE[out], **words)

    def source(self):
        """All loops."""
        text = self.rows()
        if self.row != self.total:
            text += self.folds("part", self.total)
        vector = f"{self.lane}x{self.wide}"
        words = {
            **self.words,
            "V": vector,
            "load": self.load.format(n=self.wide),
            "join": f"sticky_{self.op}_{vector}" if self.sticky else f"{self.op}_{vector}",
        }
        text += self.few_rows(words)
        words["identity"] = _identity(self.op, self.total)
        return text + _columns(words, self.wide, SIZE.get(self.t, 2))

    def has_few(self):
        """Whether there are loops over a few rows: results are what is joined."""
        return self.lane == self.row and self.form != "centered"

    def few_rows(self, words):
        """The loops over columns of a few rows, if there are any."""
        if not self.has_few():
            return ""
        size = SIZE.get(self.t, 2)
        text = ""
        for count in (4, 1):
            lines = max(1, count * self.wide * size // 64)
            text += SIDE.format(count=count, lines=lines, ahead=AHEAD, **words)
        return text + FEW.format(**words)

    def steps(self):
        """What joins two values, by name."""
        return {(self.op, t): _step(self.op, t) for t in (self.lane, self.total, self.row)}

    def names(self):
        """Names and functions of the table."""
        names = _names(self.key, "rows" if self.row == self.total else "part")
        if self.has_few():
            names[f"{self.key}_few"] = f"{self.key}_few"
        return names


class Logical:
    """The kernels of all and any, or of min and max of booleans, which are the same: as they are
    stored, columns as extrema of bytes."""

    def __init__(self, op, isa):
        self.op, self.isa = op, isa
        self.lowest = op in ("all", "min")
        self.extremum = "min" if self.lowest else "max"
        self.wide = vectors.lanes("u8", isa)[1]

    def c_types(self):
        """The vector that columns need, as (type, count)."""
        yield "u8", self.wide

    def c_functions(self):
        """As of `Loops`."""
        vector = f"u8x{self.wide}"
        join = vectors.join(self.extremum, "u8", self.wide, self.isa)
        return {
            vector: vectors.declared("u8", self.wide),
            f"{self.extremum}_{vector}": join,
        }

    def steps(self):
        """What joins two values, by name."""
        expr = f"x {'&' if self.lowest else '|'} y"
        step = STEP.format(type=C_TYPE["u8"], name=f"{self.op}_b8_step", expr=expr)
        return {(self.op, "b8"): step}

    def source(self):
        """All loops."""
        rows = (
            {"identity": "1", "sign": "&", "decides": 0, "test": "=="}
            if self.lowest
            else {"identity": "0", "sign": "|", "decides": 1, "test": "!="}
        )
        vector = f"u8x{self.wide}"
        columns = {
            "key": f"{self.op}_b8",
            "T": C_TYPE["u8"],
            "A": C_TYPE["u8"],
            "D": C_TYPE["u8"],
            "V": vector,
            "load": f"{vector}_load",
            "join": f"{self.extremum}_{vector}",
            "stepD": f"{self.op}_b8_step",
            "identity": rows["identity"],
            "read_row": "x[r * step + i]",
            "centered": False,
        }
        return LOGICAL.format(op=self.op, **rows) + _columns(columns, self.wide, 1)

    def names(self):
        """Names and functions of the table."""
        return _names(f"{self.op}_b8", "rows")


def preamble(loops):
    """What loops call: functions in C, and what joins two values."""
    functions, steps = {}, {}
    for each in loops:
        functions |= each.c_functions()
        steps |= each.steps()
    types = [pair for each in loops for pair in each.c_types()]
    inline = vectors.HEAD + vectors.types(types) + "".join(c for c, _ in functions.values())
    text = EXTERN.format(inline=inline, declared="".join(d for _, d in functions.values()))
    return text + "".join(steps.values())


def _real(ops, isa):
    """All loops of some operations over real numbers and booleans, and their names."""
    loops = [Loops(op, t, isa) for op in ops if op in NUMBERS for t in _stored_types(op)]
    loops += [Loops("sum", t, isa, form) for form in ops if form in SQUARES for t in SQUARED]
    loops += [Logical(op, isa) for op in ops if op not in ("sum", "prod", *SQUARES)]
    names = {}
    for each in loops:
        names |= each.names()
    return preamble(loops) + "".join(each.source() for each in loops), names


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
        pieces = [_real(ops, isa)] + [_complex(op, isa) for op in ops if op in NUMBERS]
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
