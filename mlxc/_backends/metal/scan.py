"""Launcher of scans: cumsum, cumprod, cummax, cummin, logcumsumexp along one axis."""

import struct
from math import prod

from mlxc._table.dtypes import CODE

from .dispatch import Bytes, Dispatch, In, Out, Scratch, launcher
from .expressions import STORED, compute_type
from .layout import LIMIT, threads_for, up
from .reduce import OPERATIONS

__all__ = ["scan"]

EACH = 8  # values a thread takes at a time: of scan.metal
THREADS = 256  # of a threadgroup at most
BUSY = 1024  # simdgroups that keep a device busy
PARTS_DOWN = 8  # as many threads down columns, of which each reads little at a time
SIZES = {"i32": 4, "u32": 4, "i64": 8, "u64": 8, "f32": 8, "c64": 8}  # floats are pairs
LOGSUMEXP = 4  # of scan.metal


def arithmetic(row, dtype):
    """The type a scan is computed in: the word of its kernels, or None."""
    if dtype not in STORED or (row == "logcumsumexp" and dtype == "complex64"):
        return None  # what logarithms of sums are joined from holds two floats
    kind = compute_type(dtype)
    return "i32" if kind == "b8" else kind


def operation_of(row, dtype):
    """The number of a scan's operation. Products of bools are minima; core refuses their sums."""
    if row == "logcumsumexp":
        return LOGSUMEXP
    name = "all" if dtype == "bool_" and row == "cumprod" else row.removeprefix("cum")
    return OPERATIONS[name]


def cut(n, lines, wide):
    """Values a part: few long lines are cut, so that the device is busy. Where they are `wide` a
    threadgroup has a part, else a thread."""
    threads, step = (THREADS, THREADS * EACH) if wide else (1, 64)
    wanted = 32 * BUSY * (1 if wide else PARTS_DOWN)
    part = up(up(n, up(wanted, lines * threads)), step) * step
    return max(part, 4 * step)


@launcher("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
def scan(row, ins, outs, params):
    """One dispatch, or three where lines are cut in parts."""
    (x,), (axis, reverse, inclusive) = ins, params
    kind = arithmetic(row, x.dtype)
    if kind is None:
        return None
    if x.size == 0:
        return []
    n, inner = x.shape[axis], prod(x.shape[axis + 1 :])
    lines = x.size // n
    if lines >= LIMIT:
        return None
    wide = inner == 1
    part = cut(n, lines, wide)
    parts = up(n, part)
    if parts * lines >= LIMIT:
        return None
    facts = Bytes(struct.pack("<4Q", n, inner, part, parts))
    constants = {
        0: operation_of(row, x.dtype),
        1: CODE[x.dtype],
        2: bool(reverse),
        3: bool(inclusive),
        4: parts > 1,
    }
    if wide:
        threads = threads_for(n, EACH)
        shape = {"grid": (parts * lines, 1, 1), "group": (threads, 1, 1), "groups": True}
    else:
        shape = {"grid": (lines, parts, 1), "group": (min(lines, THREADS), 1, 1)}
    kernel = "scan_lines" if wide else "scan_columns"
    offsets = Scratch(0, SIZES[kind] * lines * parts) if parts > 1 else In(0)
    last = Dispatch(
        "scan", f"{kernel}_{kind}", [In(0), Out(0), facts, offsets], constants=constants, **shape
    )
    if parts == 1:
        return [last]
    totals = "scan_totals" if wide else "scan_column_totals"
    return [
        Dispatch("scan", f"{totals}_{kind}", [In(0), offsets, facts], constants=constants, **shape),
        Dispatch(
            "scan", f"scan_offsets_{kind}", [offsets, facts], (lines, 1, 1), (32, 1, 1),
            groups=True, constants=constants,
        ),
        last,
    ]  # fmt: skip
