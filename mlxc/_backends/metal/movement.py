"""Strided copies, which other launchers put together: rows of movement themselves run nothing."""

import struct
from math import prod

from .dispatch import Bytes, Dispatch
from .layout import LIMIT, SPREAD, joined, spread, up

__all__ = ["block", "copy", "pack_longs", "pack_uints"]

WORK = 4  # elements a thread of the copy kernels
PIECE = 1 << 16  # elements of the rows that a longer axis is cut into


def pack_uints(values) -> Bytes:
    """An array of uint; one that is empty still needs a buffer."""
    return Bytes(struct.pack(f"<{len(values)}I", *values) or bytes(4))


def pack_longs(values) -> Bytes:
    """An array of long."""
    return Bytes(struct.pack(f"<{len(values)}q", *values) or bytes(8))


def block(width, height):
    """Threads of a group in a grid of width x height: 256, wide first."""
    wide = min(256, width)
    return wide, max(1, min(256 // wide, height)), 1


def copy(source, target, shape, source_strides, target_strides, itemsize, offset=0):
    """A copy of elements: a list of one Dispatch, of none if there is nothing, or None.

    Args:
        source: what is read, an In, Out or Scratch.
        target: what is written.
        shape: of the elements.
        source_strides: in elements.
        target_strides: in elements.
        itemsize: bytes of an element: 1, 2, 4 or 8.
        offset: elements of the target before the first one written.
    """
    if 0 in shape:
        return []
    sizes, near, far = joined(shape, source_strides, target_strides)
    if not sizes:
        sizes, near, far = (1,), (0,), (0,)
    if sizes[-1] >= LIMIT and sizes[-1] % PIECE == 0:  # a row is counted in 31 bits
        sizes = (*sizes[:-1], sizes[-1] // PIECE, PIECE)
        near, far = ((*each[:-1], each[-1] * PIECE, each[-1]) for each in (near, far))
    rows = prod(sizes[:-1])
    if max(sizes) >= LIMIT or rows >= SPREAD * SPREAD:
        return None
    step = up(sizes[-1], WORK)
    facts = Bytes(struct.pack("<IIQq", len(sizes), step, rows, offset))
    arguments = [source, target, facts, pack_uints(sizes), pack_longs(near), pack_longs(far)]
    grid = (step, *spread(rows))
    return [Dispatch("movement", f"copy_{itemsize}", arguments, grid, block(*grid[:2]))]
