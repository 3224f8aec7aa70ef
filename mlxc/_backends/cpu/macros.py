"""Finds groups of a program's values that one macro kernel computes in a single pass.

The patterns stand in ``_table/fused.py``. A match replaces its last value; what only the match used
is left out. Absorbed values must have no other reader. ``MLXC_MACROS=0`` turns all of it off.
"""

import ast
import os

from mlxc._table import load_rows
from mlxc._table.dtypes import DTYPES
from mlxc._table.fused import MACROS, SCALARS

from .kernels import TABLE

ENABLED = os.environ.get("MLXC_MACROS", "1") != "0"
ROWS = load_rows()
COMMUTATIVE = {row.name for row in ROWS if getattr(row, "commutative", False)}


def _squared(name, operands):
    """A call as patterns and values are compared: x * x is a square."""
    if name == "multiply" and operands[0] == operands[1]:
        return "square", operands[:1]
    return name, operands


def _parse(node):
    """A pattern as nested (row name, children) tuples; leaves are names."""
    if isinstance(node, ast.Call):
        return _squared(node.func.id, tuple(_parse(argument) for argument in node.args))
    return node.id


PATTERNS = {}
for _macro in MACROS:
    if _macro.kernel in TABLE:
        _tree = _parse(ast.parse(_macro.pattern, mode="eval").body)
        PATTERNS.setdefault(_tree[0], []).append((_macro, _tree))


def operands_of(value):
    """Indices of the values that a value reads."""
    if value[0] in ("op", "macro", "squares"):
        return value[3]
    return (value[3],) if value[0] in ("cast", "reduce") else ()


class Matcher:
    """One program's values against all patterns. ``single`` says of an index whether one value
    serves the tile, ``central`` of two whether squares of the first less the second can be summed
    up as the first is read."""

    def __init__(self, values, outputs, single, central):
        self.values = values
        self.single = single
        self.central = central
        self.readers = [0] * len(values)
        for value in values:
            for operand in set(operands_of(value)):
                self.readers[operand] += 1
        self.outputs = outputs
        for index in outputs:
            self.readers[index] += 2  # must be computed by itself

    def call(self, index):
        """The row and the operands of a float32 elementwise value; "cast" is one from bool; None
        of others."""
        value = self.values[index]
        if value[0] == "op":
            if DTYPES[value[2]].compute == "f32":
                return _squared(ROWS[value[1]].name, value[3])
        elif (
            value[0] == "cast"
            and DTYPES[value[1]].compute == "b8"
            and DTYPES[value[2]].compute == "f32"
        ):
            return "cast", operands_of(value)
        return None, ()

    def match(self, tree, index, bound, root=False):
        """Bindings of the pattern's leaves if the value at index matches, else None."""
        if isinstance(tree, str):
            if tree in bound:
                return bound if bound[tree] == index else None
            if (tree in SCALARS) != self.single[index]:
                return None
            return {**bound, tree: index}
        name, children = tree
        found, given = self.call(index)
        if found != name or not (root or self.readers[index] == 1 or self.cheap(index)):
            return None
        orders = [given, given[::-1]] if name in COMMUTATIVE and len(given) == 2 else [given]
        for order in orders:
            result = bound
            for child, operand in zip(children, order):
                result = self.match(child, operand, result)
                if result is None:
                    break
            if result is not None:
                return result
        return None

    def cheap(self, index):
        """Whether a value is better computed once more, in the pass of a macro, than kept."""
        name, given = self.call(index)
        return name == "subtract" and self.single[given[1]] and index not in self.outputs

    def squares(self, index):
        """("squares", row, dtype, operands) of a sum of squares; the second operand is a center.
        None of other values."""
        kind, row_code, dtype, operand = self.values[index]
        if ROWS[row_code].name != "sum" or DTYPES[dtype].compute != "f32":
            return None
        found, given = self.call(operand)
        if found != "square" or self.readers[operand] != 1:
            return None
        inner, pair = self.call(given[0])
        if inner == "subtract" and self.central(*pair):
            given = pair
        return "squares", row_code, dtype, given

    def rewrite(self):
        """The values with matches replaced by ("macro", kernel, dtype, operands) and sums of
        squares by theirs, and which are still needed."""
        values = list(self.values)
        needed = [False] * len(values)
        for index in range(len(values) - 1, -1, -1):
            if self.readers[index] >= 2 or values[index][0] == "reduce":
                needed[index] = True
            if not needed[index]:
                continue
            if values[index][0] == "reduce":
                values[index] = self.squares(index) or values[index]
            for macro, tree in PATTERNS.get(self.call(index)[0], ()):
                bound = None if self.single[index] else self.match(tree, index, {}, root=True)
                if bound is not None:
                    arguments = tuple(bound[a] for a in macro.args.split())
                    values[index] = ("macro", macro.kernel, values[index][2], arguments)
                    break
            for operand in operands_of(values[index]):
                needed[operand] = True
        return values, needed
