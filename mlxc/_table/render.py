"""Prints Cython kernel modules from the elementwise rows, the conversions between dtypes and the
macro kernels.

Standard library only: `setup.py` calls `render`. An expression is parsed by `ast` and printed by a
`Printer`, of which there is one a target language; only printers know how a language writes a
construct or names a function. One module a compute type keeps compilation short and parallel;
float32 is spread over several.
"""

import ast

from . import render_halves as halves
from .dtypes import COMPUTE_TYPES
from .elementwise import ROWS
from .fused import MACROS

_SYMBOLS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.USub: "-", ast.Invert: "~",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


class Printer:
    """Walks an expression of a row. A subclass says how its language writes numbers, operators,
    choices and calls.
    """

    def expression(self, text: str) -> str:
        return self.visit(ast.parse(text, mode="eval").body)

    def visit(self, node: ast.AST) -> str:
        match node:
            case ast.Constant(value=value):
                return self.number(value)
            case ast.Name(id="inf"):
                return self.infinity()
            case ast.Name(id=name):
                return name
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _SYMBOLS:
                return self.unary(_SYMBOLS[type(op)], self.visit(operand))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _SYMBOLS:
                symbol = _SYMBOLS[type(op)]
                if self.is_condition(left):
                    return f"({self.visit(left)} {symbol} {self.visit(right)})"
                return self.binary(symbol, self.visit(left), self.visit(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _SYMBOLS:
                return self.binary(_SYMBOLS[type(op)], self.visit(left), self.visit(right))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.choose(self.visit(test), self.visit(body), self.visit(orelse))
            case ast.Call(func=ast.Name(id=name), args=args):
                return self.call(name, [self.visit(arg) for arg in args])
        raise ValueError(
            f"[render] no rule for {ast.unparse(node)!r} in the language of expressions"
        )

    def is_condition(self, node: ast.AST) -> bool:
        """Whether a part is a truth value, whose operators are the language's own."""
        if isinstance(node, ast.Call):
            return node.func.id.startswith("is")
        return (
            isinstance(node, ast.Compare)
            or isinstance(node, ast.BinOp)
            and self.is_condition(node.left)
        )

    def number(self, value) -> str:
        raise NotImplementedError

    def infinity(self) -> str:
        raise NotImplementedError

    def unary(self, symbol: str, operand: str) -> str:
        return f"({symbol}{operand})"

    def binary(self, symbol: str, left: str, right: str) -> str:
        return f"({left} {symbol} {right})"

    def choose(self, test: str, yes: str, no: str) -> str:
        raise NotImplementedError

    def call(self, name: str, args: list[str]) -> str:
        raise NotImplementedError


_INTEGER_FUNCTIONS = ("floor_divide", "remainder", "power", "left_shift", "right_shift")
_COMPLEX_OPERATORS = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide",
    "==": "equal", "!=": "not_equal",
    "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal",
}  # fmt: skip


class CythonPrinter(Printer):
    """Cython on one compute type; collects the functions it calls, as {pxd name: {function}}."""

    def __init__(self, compute: str, everywhere: bool = False):
        self.compute = compute
        self.everywhere = (
            everywhere  # whether functions of limited range give way to those of full range
        )
        self.used: dict[str, set[str]] = {}

    def use(self, module: str, function: str) -> str:
        self.used.setdefault(module, set()).add(function)
        return function

    def number(self, value) -> str:
        return f"<{self.compute}>{value!r}"

    def infinity(self) -> str:
        return f"<{self.compute}>{self.use('mathematics', 'INFINITY')}"

    def unary(self, symbol: str, operand: str) -> str:
        if self.compute == "c64":
            return f"{self.use('complex', 'negative_c64')}({operand})"
        return super().unary(symbol, operand)

    def binary(self, symbol: str, left: str, right: str) -> str:
        if self.compute == "c64":
            return f"{self.use('complex', _COMPLEX_OPERATORS[symbol] + '_c64')}({left}, {right})"
        return super().binary(symbol, left, right)

    def choose(self, test: str, yes: str, no: str) -> str:
        return f"({yes} if {test} else {no})"

    def call(self, name: str, args: list[str]) -> str:
        if self.compute == "c64":
            function = self.use("complex", f"{name}_c64")
        elif self.compute in ("i32", "u32", "i64", "u64") and name in _INTEGER_FUNCTIONS:
            function = self.use("integer", f"{name}_int")
        else:
            limited = self.everywhere and (name, self.compute) in LIMITS
            function = self.use(
                "mathematics", f"{name}_any_{self.compute}" if limited else f"{name}_{self.compute}"
            )
        return f"{function}({', '.join(args)})"


# Where a row's fast function holds. The loop first looks whether all operands of a block are
# inside; if not, the block runs with the `_any` function, which holds everywhere.
GUARDED = 1024  # elements of a block: read twice, they stay in the first-level cache
LIMITS = {
    ("sin", "f32"): "abs(x) < 1.6e6",
    ("cos", "f32"): "abs(x) < 1.6e6",
    ("tan", "f32"): "abs(x) < 1.6e6",
    ("remainder", "f32"): "(abs(x) < abs(y) * 5e8) & (abs(y) < inf)",
    ("log", "f32"): "is_normal(x)",
    ("power", "f32"): "is_plain_power(x, y)",
}
# Values of a scalar second operand for which a loop of its own pays. The square root is not the
# power 1/2 of -0 and -inf.
SCALAR_CASES = {
    ("power", "f32"): {
        "2": "x * x",
        "3": "x * x * x",
        "-1": "1 / x",
        "0.5": "inf if x == -inf else sqrt(x + 0)",
    },
}
# Rows with conditions on one operand alone: were it a scalar, gcc would hold the condition as one
# truth value and not vectorise the loop. The scalar is spread over a block instead, and the loop
# over vectors called.
SPREAD = (("power", "f32"),)
# Types whose bits may be moved as another type's, for rows that only choose.
_MOVED_AS = {"c64": "u64"}


class Module:
    """The text of one kernel module: functions, what they import, and `table()`."""

    def __init__(self, about: str):
        self.about = about
        self.imports: list[str] = []
        self.functions: list[tuple[str, str]] = []  # name, text
        self.used: dict[str, set[str]] = {}  # functions by the pxd they come from

    def add(self, name: str, text: str) -> None:
        self.functions.append((name, text))

    def use(self, used: dict[str, set[str]]) -> None:
        for module, names in used.items():
            self.used.setdefault(module, set()).update(names)

    def source(self, isa: str) -> str:
        lines = [f'"""{self.about} Compiled for {isa}."""', ""]
        for module in sorted(self.used):
            lines.append(
                f"from mlxc._kernels.{module} cimport {', '.join(sorted(self.used[module]))}"
            )
        lines += [*self.imports, "from mlxc._kernels.types cimport *", ""]
        lines += [text for _, text in self.functions]
        lines += ["def table():", '    """Addresses by kernel name."""']
        lines.append(f"    cdef size_t[{len(self.functions)}] addresses")
        lines += [
            f"    addresses[{i}] = <size_t><void*>{name}"
            for i, (name, _) in enumerate(self.functions)
        ]
        lines.append("    names = (")
        lines += [f'        "{name}",' for name, _ in self.functions]
        lines.append("    )")
        lines.append("    return {name: addresses[i] for i, name in enumerate(names)}")
        return "\n".join(lines) + "\n"


def _names(*formulas: str) -> set[str]:
    return {
        part.id
        for text in formulas
        for part in ast.walk(ast.parse(text))
        if isinstance(part, ast.Name)
    }


def _loop(name, operands, letters, result, value, used, guard=None, cases=()):
    """One loop_fn. `operands` are (name, type) pairs, of which `used` are read; `value` is what
    an element becomes.

    `guard` is (condition, value where it fails for any element of a block); `cases` are (test
    before the loop, value).
    """
    head = [f"cdef void {name}(char** args, Py_ssize_t n) noexcept nogil:"]
    loads, vectors = [], []
    for k, ((operand, kind), letter) in enumerate(zip(operands, letters)):
        if operand not in used:
            continue
        if letter == "v":
            head.append(f"    cdef {kind}_in {operand}s = <{kind}_in>args[{k}]")
            loads.append(f"{operand} = {operand}s[i]")
            vectors.append(f"    cdef {kind} {operand}")
        else:
            head.append(f"    cdef {kind} {operand} = (<{kind}_in>args[{k}])[0]")
    head.append(f"    cdef {result}_out out = <{result}_out>args[{len(operands)}]")
    head += [*vectors, "    cdef Py_ssize_t i"]

    def loop(value, margin, span="n"):
        value = value if result == "c64" else f"<{result}>({value})"
        yield f"{margin}for i in range({span}):"
        yield from (f"{margin}    {line}" for line in (*loads, f"out[i] = {value}"))

    body = []
    for test, special in cases:
        body += [f"    if {test}:", *loop(special, " " * 8), "        return"]
    if guard:
        head += ["    cdef Py_ssize_t low, high", "    cdef i32 inside"]
        condition, general = guard
        body += [
            f"    for low in range(0, n, {GUARDED}):",
            f"        high = min(low + {GUARDED}, n)",
        ]
        body += ["        inside = 1", "        for i in range(low, high):"]
        body += [
            f"            {line}" for line in (*loads, f"inside = inside & <i32>({condition})")
        ]
        body += ["        if inside:", *loop(value, " " * 12, "low, high")]
        body += ["        else:", *loop(general, " " * 12, "low, high")]
    else:
        body += loop(value, "    ")
    return "\n".join([*head, *body]) + "\n\n"


_SPREAD = """\
    cdef {kind}[256] spread
    cdef char* block[3]
    for i in range(256):
        spread[i] = {scalar}
    for i in range(0, n, 256):
        block[{vector_at}] = args[{vector_at}] + i * sizeof({kind})
        block[{scalar_at}] = <char*>spread
        block[2] = args[2] + i * sizeof({kind})
        {whole}(block, min(256, n - i))

"""


def _layouts(row, compute):
    """Which operands kernels read as vectors: all, and for the common types also scalars."""
    yield "v" * row.arity
    if row.arity == 2 and compute in ("f32", "i32"):
        yield "vs"
        if not row.commutative:
            yield "sv"
    elif row.arity == 3 and compute == "f32":
        yield from ("vvs", "vsv")


def _result(row, compute, kind):
    """The type that a row's kernels write."""
    if row.out == "bool":
        return "b8"
    return "f32" if row.out == "real" and compute == "c64" else kind


def _row_kernels(module, row, compute):
    """All layouts of one row for one compute type."""
    formula = row.formula(compute)
    chooses = row.name in ("select", "stop_gradient")  # no arithmetic: any type of that size does
    kind = _MOVED_AS.get(compute, compute) if chooses else compute
    result = _result(row, compute, kind)
    operands = [(arg, "b8" if arg == "c" else kind) for arg in row.args.split()]
    printer = CythonPrinter(result if formula in ("0", "1") else kind)
    value, guard = printer.expression(formula), None
    if (row.name, compute) in LIMITS:
        general = CythonPrinter(kind, everywhere=True)
        guard = printer.expression(LIMITS[row.name, compute]), general.expression(formula)
        module.use(general.used)
    for letters in _layouts(row, compute):
        cases = SCALAR_CASES.get((row.name, compute), {}) if letters == "vs" else {}
        cases = [(f"y == {number}", printer.expression(e)) for number, e in cases.items()]
        name = f"{row.name}_{compute}_{letters}"
        spread = (row.name, compute) in SPREAD and "s" in letters
        test = None if spread else guard  # the loop over vectors makes it
        text = _loop(name, operands, letters, result, value, _names(formula), test, cases)
        if spread:
            at = letters.index("s")
            text = text[: text.rindex("    for i in range(n)")] + _SPREAD.format(
                kind=kind,
                scalar=operands[at][0],
                scalar_at=at,
                vector_at=1 - at,
                whole=f"{row.name}_{compute}_vv",
            )
        module.add(name, text)
    module.use(printer.used)


# ---- conversions ----


def _cast(a, b, printer):
    """The conversion of x from compute type a to b, as Cython."""
    if b == "b8":
        return "(x.re != 0) | (x.im != 0)" if a == "c64" else "x != 0"
    value, source = ("x.re", "f32") if a == "c64" else ("x", a)
    if b == "c64":
        return f"{printer.use('complex', 'make_c64')}(<f32>x, <f32>0)"
    if source in ("f32", "f64") and b not in ("f32", "f64"):
        return f"{printer.use('convert', f'{source}_to_{b}')}({value})"
    return f"<{b}>{value}"


_INTEGERS = ("u8", "i8", "u16", "i16")
_BLOCK = """\
cdef void {name}(char** args, Py_ssize_t n) noexcept nogil:
    cdef {source}_in xs = <{source}_in>args[0]
    cdef {target}_out out = <{target}_out>args[1]
    cdef Py_ssize_t i
    cdef long done = {block}(out, xs, n)  # what the hardware has converted
    for i in range(done, n):
        out[i] = {value}

"""


def _conversions() -> Module:
    module = Module("Conversions between compute types, and to and from the narrow stored ones.")
    printer = CythonPrinter("f32")

    def add(name, source, target, value):
        module.add(name, _loop(name, [("x", source)], "v", target, value, {"x"}))

    for a in COMPUTE_TYPES:
        for b in COMPUTE_TYPES:
            if a != b:
                add(f"cast_{a}_{b}_v", a, b, _cast(a, b, printer))
    for short in _INTEGERS:
        add(f"load_{short}_v", short, "i32", "<i32>x")
        add(f"store_{short}_v", "i32", short, f"<{short}>x")
        add(f"wrap_{short}_v", "i32", "i32", f"<{short}>x")
    widen, narrow = (printer.use("convert", f) for f in ("bf16_to_f32", "f32_to_bf16"))
    add("load_bf16_v", "u16", "f32", f"{widen}(x)")
    add("store_bf16_v", "f32", "u16", f"{narrow}(x)")
    add("round_bf16_v", "f32", "f32", f"{widen}({narrow}(x))")
    widen, narrow = (printer.use("convert", f) for f in ("f16_to_f32", "f32_to_f16"))
    for name, source, target, block, value in (
        ("load_f16_v", "u16", "f32", "widen_f16_block", f"{widen}(xs[i])"),
        ("store_f16_v", "f32", "u16", "narrow_f16_block", f"{narrow}(xs[i])"),
        ("round_f16_v", "f32", "f32", "round_f16_block", f"{widen}({narrow}(xs[i]))"),
    ):
        block = printer.use("convert", block)
        text = _BLOCK.format(name=name, source=source, target=target, block=block, value=value)
        module.add(name, text)
    module.use(printer.used)
    return module


_MOVES = """\
cdef void copy_{size}(
    const char* src, Py_ssize_t src_stride, char* dst, Py_ssize_t dst_stride, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    cdef word{size} value
    if src_stride == {size} and dst_stride == {size}:
        memcpy(dst, src, {size} * n)
    elif src_stride == 0 and dst_stride == {size}:
        value = (<const word{size}*>src)[0]
        for i in range(n):
            (<word{size}*>dst)[i] = value
    elif dst_stride == {size}:
        for i in range(n):
            (<word{size}*>dst)[i] = (<const word{size}*>(src + i * src_stride))[0]
    else:
        for i in range(n):
            value = (<const word{size}*>(src + i * src_stride))[0]
            (<word{size}*>(dst + i * dst_stride))[0] = value

cdef void fill_{size}_s(char** args, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef word{size} value = (<const word{size}*>args[0])[0]
    cdef word{size}* out = <word{size}*>args[1]
    for i in range(n):
        out[i] = value

cdef void expand_{size}(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, row
    cdef word{size} value
    cdef word{size}* to
    for row in range(rows):
        value = (<const word{size}*>a)[row]
        to = <word{size}*>out + row * n
        for i in range(n):
            to[i] = value

"""


def _moves() -> Module:
    module = Module("Moving elements of one size: strided copies, fills, columns to rows.")
    module.imports.append("from libc.string cimport memcpy")
    for size in (1, 2, 4, 8):
        module.add(f"copy_{size}", _MOVES.format(size=size))
        module.functions += [(f"fill_{size}_s", ""), (f"expand_{size}", "")]
    return module


def _half(short) -> Module:
    """What is cheap, from half floats to half floats as they are stored: widening and narrowing
    apart from it would take longer. Rows of short loops, and the macro kernels."""
    module = Module(f"Rows and macro kernels on {short} as it is stored.")
    module.imports += halves.imports(short)
    printer = CythonPrinter("f32")
    for row in ROWS:
        cheap = "f32" in row.types and _module_name(row, "f32") == "elementwise_f32"
        names, formula = row.args.split(), row.formula("f32")
        if cheap and row.out != "bool" and "c" not in names and formula not in ("x", "0"):
            for letters in _layouts(row, "f32"):
                value = printer.expression(formula)
                module.add(*halves.half_loop(short, row.name, names, letters, value))
    for macro in {macro.kernel: macro for macro in MACROS}.values():
        value, names = printer.expression(macro.expr), macro.args.split()
        module.add(*halves.half_loop(short, macro.name, names, macro.layout, value))
    module.use(printer.used)
    return module


def _fused() -> Module:
    module = Module("Macro kernels: groups of rows in one loop.")
    printer = CythonPrinter("f32")
    for macro in {macro.kernel: macro for macro in MACROS}.values():
        operands = [(arg, "f32") for arg in macro.args.split()]
        value, used = printer.expression(macro.expr), _names(macro.expr)
        module.add(macro.kernel, _loop(macro.kernel, operands, macro.layout, "f32", value, used))
    module.use(printer.used)
    return module


# Rows whose float32 loops are long to compile go to modules of their own.
_F32_PARTS = {
    "elementwise_f32_exponential": (
        "exp", "expm1", "log", "log2", "log10", "log1p", "sigmoid", "erf", "erfinv",
        "sinh", "cosh", "tanh",
    ),
    "elementwise_f32_circular": (
        "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2",
        "arcsinh", "arccosh", "arctanh", "power", "logaddexp", "remainder",
    ),
}  # fmt: skip


def _module_name(row, compute):
    if compute == "f32":
        for part, names in _F32_PARTS.items():
            if row.name in names:
                return part
    return f"elementwise_{compute}"


def render(isa: str) -> dict[str, str]:
    """Cython sources of all elementwise kernel modules, by module name.

    They are the same for every instruction set `isa`, which only their docstrings name.
    """
    modules = {}
    for row in ROWS:
        for compute in row.types:
            name = _module_name(row, compute)
            about = f"Elementwise kernels: {name[12:]}."
            _row_kernels(modules.setdefault(name, Module(about)), row, compute)
    modules["elementwise_convert"] = _conversions()
    modules["elementwise_move"] = _moves()
    modules["elementwise_fused"] = _fused()
    for short in ("f16", "bf16"):
        modules[f"elementwise_{short}"] = _half(short)
    return {name: module.source(isa) for name, module in modules.items()}
