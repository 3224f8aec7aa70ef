"""Prints the rows' formulas, conversions between dtypes, loads and stores as MSL.

A value lives in the MSL type of its compute type (`TYPES`); memory holds the MSL type of its dtype
(`STORED`). Rules kept, as on the processor: signed arithmetic wraps (through unsigned types), and
whoever stores a row's result in a narrow integer dtype wraps it at once (`wrap`), so that a fused
group gives what single operations give. What is printed calls functions of `shaders/common.h` and
of the headers that `Formula.headers` names.
"""

from dataclasses import dataclass

from mlxc._table.dtypes import CODE, DTYPES
from mlxc._table.render import Printer
from mlxc._table.rows import BY_NAME, Elementwise

__all__ = ["HEADERS", "STORED", "TYPES", "Formula", "cast", "formula", "function", "load", "store"]

# Compute types to MSL. There is no float64.
TYPES = {
    "b8": "bool",
    "i32": "int",
    "u32": "uint",
    "i64": "long",
    "u64": "ulong",
    "f32": "float",
    "c64": "complex64",
}
# Dtypes as they lie in memory.
STORED = {
    "bool_": "bool",
    "uint8": "uchar",
    "uint16": "ushort",
    "uint32": "uint",
    "uint64": "ulong",
    "int8": "char",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "float16": "half",
    "float32": "float",
    "bfloat16": "bfloat",
    "complex64": "complex64",
}
# What includes what: the text of a program needs the longest chain that its formulas name.
HEADERS = ("common.h", "mathematics.h", "complex.h")

_INTEGERS = ("i32", "u32", "i64", "u64")
_WRAPPING = {"+": "wrapping_add", "-": "wrapping_subtract", "*": "wrapping_multiply"}
_COMPLEX_OPERATORS = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide",
    "==": "equal", "!=": "not_equal",
    "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal",
}  # fmt: skip
_NARROW = ("uint8", "uint16", "int8", "int16")


@dataclass(frozen=True)
class Formula:
    """A printed expression: its text, the compute type of its value, the headers it needs."""

    text: str
    compute: str
    headers: tuple[str, ...]


class MetalPrinter(Printer):
    """MSL on one compute type; `names` says what stands for the formula's operands."""

    def __init__(self, compute: str, names: dict[str, str]):
        self.compute = compute
        self.names = names
        self.headers = {"common.h"}

    def visit(self, node):
        if name := self.names.get(getattr(node, "id", None)):
            return name
        return super().visit(node)

    def number(self, value) -> str:
        if self.compute == "f32":
            return f"{float(value)!r}f"
        if self.compute == "c64":
            return f"complex64({float(value)!r}f, 0.0f)"
        return f"{TYPES[self.compute]}({value})"

    def infinity(self) -> str:
        return "INFINITY"

    def unary(self, symbol: str, operand: str) -> str:
        if symbol == "-" and self.compute in _INTEGERS:
            return f"wrapping_negative<{TYPES[self.compute]}>({operand})"
        return super().unary(symbol, operand)

    def binary(self, symbol: str, left: str, right: str) -> str:
        if self.compute == "c64":
            return self.call(_COMPLEX_OPERATORS[symbol], [left, right])
        if self.compute in _INTEGERS and symbol in _WRAPPING:
            return f"{_WRAPPING[symbol]}<{TYPES[self.compute]}>({left}, {right})"
        return super().binary(symbol, left, right)

    def choose(self, test: str, yes: str, no: str) -> str:
        return f"({test} ? {yes} : {no})"

    def call(self, name: str, args: list[str]) -> str:
        self.headers.add("complex.h" if self.compute == "c64" else "mathematics.h")
        suffix = "int" if self.compute in _INTEGERS else self.compute
        kind = f"<{TYPES[self.compute]}>" if self.compute in _INTEGERS else ""
        return f"{name}_{suffix}{kind}({', '.join(args)})"


def _headers(used) -> tuple[str, ...]:
    """The chain of headers up to the last one used."""
    last = max(HEADERS.index(header) for header in used)
    return HEADERS[: last + 1]


def formula(row: str, compute: str, operands: list[str]) -> Formula | None:
    """A row's value in MSL, or None where MSL has no such type or the row no such formula.

    Args:
        row: the name of an elementwise row.
        compute: the compute type of its operands.
        operands: what stands for them; each may be written several times.
    """
    facts = BY_NAME[row]
    if not isinstance(facts, Elementwise) or compute not in TYPES:
        return None
    text = facts.formula(compute)
    if text is None:
        return None
    result = "b8" if facts.out == "bool" else compute
    if facts.out == "real" and compute == "c64":
        result = "f32"
    constant = text in ("0", "1")
    printer = MetalPrinter(result if constant else compute, dict(zip(facts.args.split(), operands)))
    value = printer.expression(text)
    if result == "b8":
        value = f"bool({value})"
    return Formula(value, result, _headers(printer.headers))


def function(row: str, compute: str) -> tuple[str, Formula] | None:
    """A row as an inline function: its name, and a Formula that holds the whole text."""
    args = BY_NAME[row].args.split()
    value = formula(row, compute, args)
    if value is None:
        return None
    kinds = ["bool" if arg == "c" else TYPES[compute] for arg in args]
    name = f"row_{row}_{compute}"
    head = ", ".join(f"{kind} {arg}" for kind, arg in zip(kinds, args))
    text = f"inline {TYPES[value.compute]} {name}({head}) {{ return {value.text}; }}\n"
    return name, Formula(text, value.compute, value.headers)


def compute_type(dtype: str) -> str:
    """The compute type of a dtype."""
    return DTYPES[CODE[dtype]].compute


def wrap(value: str, dtype: str) -> str:
    """A value of the dtype's compute type as the dtype would hold it, in the compute type."""
    return f"int({STORED[dtype]}({value}))" if dtype in _NARROW else value


def _convert(value: str, a: str, b: str) -> str:
    """A value of compute type `a` in compute type `b`."""
    if a == b:
        return value
    if a == "c64":
        if b == "b8":
            return f"bool(({value}.x != 0.0f) | ({value}.y != 0.0f))"
        return _convert(f"{value}.x", "f32", b)
    if b == "b8":
        return f"({value} != {TYPES[a]}(0))"
    if b == "c64":
        return f"complex64(float({value}), 0.0f)"
    if a == "f32":
        return f"f32_to_{b}({value})"
    return f"{TYPES[b]}({value})"


def cast(value: str, source: str, target: str) -> str:
    """A value of one dtype's compute type converted to another dtype, in that one's compute type.

    `value` is a name or in parentheses. Half types round here, narrow integers wrap.
    """
    value = _convert(value, compute_type(source), compute_type(target))
    if target in ("float16", "bfloat16") and source != target:
        return f"float({STORED[target]}({value}))"
    return wrap(value, target)


def load(element: str, dtype: str) -> str:
    """A stored element in its compute type."""
    kind = TYPES[compute_type(dtype)]
    return element if STORED[dtype] == kind else f"{kind}({element})"


def store(value: str, dtype: str) -> str:
    """A value of the dtype's compute type as it is stored."""
    kind = TYPES[compute_type(dtype)]
    return value if STORED[dtype] == kind else f"{STORED[dtype]}({value})"
