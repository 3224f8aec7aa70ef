"""Launcher of random bits: a thread a counter pair of a key."""

import struct

from .dispatch import Bytes, Dispatch, In, Out, launcher
from .layout import LIMIT, SPREAD, spread
from .movement import block

__all__ = ["random_bits"]


@launcher("random_bits")
def random_bits(row, ins, outs, params):
    """One dispatch."""
    (keys,), (out,) = ins, outs
    if out.size == 0:
        return []
    count = keys.size // 2
    nbytes = out.size // count * out.itemsize
    words = (nbytes + 3) // 4
    pairs = (words + 1) // 2
    if pairs > LIMIT or count >= SPREAD * SPREAD:
        return None
    facts = Bytes(struct.pack("<QQII", nbytes, count, pairs, words % 2))
    grid = (pairs, *spread(count))
    return [Dispatch("random", "random_bits", [In(0), Out(0), facts], grid, block(*grid[:2]))]
