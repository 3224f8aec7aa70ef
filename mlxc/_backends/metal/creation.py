"""Launcher of arithmetic ranges."""

import struct

from .dispatch import Bytes, Dispatch, Out, launcher
from .expressions import STORED
from .layout import LIMIT, up
from .movement import block

__all__ = ["arange"]

EACH = 4  # numbers a thread
LARGEST = 1e37  # beyond it partial sums of float32 might overflow
MASK = (1 << 64) - 1


def parts(value):
    """A float64 as a sum of three float32."""
    found = []
    for _ in range(3):
        (part,) = struct.unpack("<f", struct.pack("<f", value))
        found.append(part)
        value -= part
    return found


@launcher("arange")
def arange(row, ins, outs, params):
    """One dispatch."""
    (out,), (start, step, n, dtype) = outs, params
    if n == 0:
        return []
    threads = up(n, EACH)
    if dtype not in STORED or threads >= LIMIT:
        return None
    if dtype == "float32":
        if not max(abs(start), abs(step), abs(start + n * step)) < LARGEST:
            return None
        if start == step == 0:
            return None  # sums of parts lose the sign of zero
        facts = struct.pack("<QI3f3f4x", n, threads, *parts(start), *parts(step))
        kernel = "range_float32"
    else:
        facts = struct.pack("<QQQI4x", n, start & MASK, step & MASK, threads)
        kernel = f"range_{out.itemsize}"
    grid = (threads, 1, 1)
    return [Dispatch("creation", kernel, [Out(0), Bytes(facts)], grid, block(*grid[:2]))]
