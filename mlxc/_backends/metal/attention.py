"""Launcher of attention: tiles of queries, or a threadgroup a query where they are few.

Few queries over many keys (decoding) would leave a device idle, so the keys are split then and the
parts joined by a second kernel.
"""

import struct

from .dispatch import Bytes, Dispatch, In, Out, Scratch, launcher
from .layout import LIMIT, element_strides, spread, up

FLOATS = ("float16", "bfloat16", "float32")
MASKS = {"none": 0, "bool": 1, "add": 2}
FEW = 8  # queries that go one by one
TILED = (64, 128, 256)  # sizes of a head that have tiles
KEPT = (2, 4, 8, 32)  # numbers that a lane keeps of a head
BUSY = 128  # threadgroups that keep a device busy
DEPTH = 256  # shortest part of the keys


def _packed(strides, masking, sinks, q, k, v, scale, parts) -> bytes:
    """`struct Attention` of shaders/attention.metal."""
    rest = list(strides[3:])
    mask = rest.pop(0) if masking != "none" else (0,) * 4
    sink = rest.pop(0) if sinks else (0,) * 2
    batch, heads, queries, size = q.shape
    counts = (heads, heads // k.shape[1], queries, k.shape[2], size, v.shape[3])
    longs = (*strides[0], *strides[1], *strides[2], *mask, *sink)
    units = batch * heads * queries
    depth = up(k.shape[2], parts)
    return struct.pack("<18q9If", *longs, *counts, units, parts, depth, scale)


def _parts(units: int, keys: int) -> int:
    return max(1, min(BUSY // max(1, units), keys // DEPTH))


@launcher("attention")
def attention(row, ins, outs, params):
    """ins: q, k, v, a mask unless masking is "none", sinks if there are; params as in the row."""
    scale, causal, masking, sinks = params
    q, k, v = ins[:3]
    out = outs[0]
    strides = [element_strides(operand) for operand in ins]
    batch, heads, queries, size = q.shape
    keys, width = v.shape[2:]
    largest = max(size, width)
    units = batch * heads * queries
    if q.dtype not in FLOATS or None in strides or largest > 32 * KEPT[-1]:
        return None
    if max(units * max(_parts(units, keys), 1), keys, batch * heads) >= LIMIT:
        return None
    constants = {0: MASKS[masking], 1: bool(causal), 2: bool(sinks), 3: up(size, 8)}
    constants |= {4: up(width, 8), 5: False, 6: strides[1][3] == strides[2][3] == 1}
    mask = In(3) if masking != "none" else In(0)
    sink = In(len(ins) - 1) if sinks else In(0)
    operands = [In(0), In(1), In(2), mask, sink, Out(0)]
    if queries > FEW and largest <= TILED[-1]:
        bucket = next(number for number in TILED if number >= largest)
        packed = Bytes(_packed(strides, masking, sinks, q, k, v, scale, 1))
        step = Dispatch(
            "attention",
            f"attention_tiles{bucket}_{q.dtype}",
            [*operands, packed],
            (up(queries, 32), *spread(batch * heads)),
            (128, 1, 1),
            groups=True,
            constants=constants,
        )
        return [step]
    parts = _parts(units, keys)
    packed = Bytes(_packed(strides, masking, sinks, q, k, v, scale, parts))
    return _one_by_one(operands, packed, constants, out, units, largest, parts)


def _one_by_one(operands, packed, constants, out, units, largest, parts) -> list[Dispatch]:
    """A threadgroup for each query and part of the keys."""
    each = next(number for number in KEPT if 32 * number >= largest)
    constants = constants | {5: parts > 1}
    width = out.shape[-1]
    joined = Scratch(0, 4 * units * parts * (width + 2)) if parts > 1 else Out(0)
    first = Dispatch(
        "attention",
        f"attention_vector{each}_{out.dtype}",
        [*operands, packed, joined],
        (parts, *spread(units)),
        (128 if each > 8 else 256, 1, 1),
        groups=True,
        constants=constants,
    )
    if parts == 1:
        return [first]
    second = Dispatch(
        "attention",
        f"attention_join_{out.dtype}",
        [joined, Out(0), packed],
        (width, units, 1),
        (min(width, 256), 1, 1),
        constants=constants,
    )
    return [first, second]
