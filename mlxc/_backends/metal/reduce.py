"""The last pass of long reductions. The rows themselves come in programs (``programs.py``), which
cut what is long into parts and leave one value a part."""

import struct

from mlxc._table.dtypes import CODE

from .dispatch import Bytes, Dispatch, Out, Scratch
from .layout import up

__all__ = ["OPERATIONS", "combine"]

TEAMS = 4  # simdgroups of a threadgroup
# Numbers of the operations in shaders/reduce.h, for all reduction rows.
OPERATIONS = {"sum": 0, "prod": 1, "max": 2, "min": 3, "any": 2, "all": 3}
OF_BOOLS = {"sum": "any", "prod": "all"}


def combine(
    row: str,
    compute: str,
    dtype: str,
    partials: Scratch,
    out: Out,
    rows: int,
    parts: int,
    row_stride: int,
    part_stride: int,
) -> Dispatch:
    """The dispatch that joins the parts of every result.

    Args:
        row: the name of the reduction row.
        compute: the compute type of its operand; parts of ``b8`` lie in memory as int, 0 or 1.
        dtype: of the results.
        partials: rows x parts values of the compute type.
        out: where the results go, row-major.
        rows: how many results.
        parts: how many values each is joined from.
        row_stride: elements from the parts of one result to those of the next.
        part_stride: elements from a part to the next of the same result.
    """
    if compute == "b8":
        row, compute = OF_BOOLS.get(row, row), "i32"
    facts = Bytes(struct.pack("<4Q", rows, parts, row_stride, part_stride))
    return Dispatch(
        "reduce",
        f"join_parts_{compute}",
        [partials, out, facts],
        (up(rows, TEAMS), 1, 1),
        (32 * TEAMS, 1, 1),
        groups=True,
        constants={0: OPERATIONS[row], 1: CODE[dtype]},
    )
