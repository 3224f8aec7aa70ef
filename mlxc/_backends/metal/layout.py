"""Layouts as launchers reason about them: element strides, joined axes, grids of many groups."""

from .dispatch import Operand

__all__ = [
    "LIMIT",
    "SPREAD",
    "dense_strides",
    "element_strides",
    "joined",
    "spread",
    "threads_for",
    "up",
]

LIMIT = 2**31  # extents and counts that kernels hold in 32 bits stay below it
SPREAD = 32768  # threadgroups along y; more stand along z


def up(n: int, step: int) -> int:
    """How many steps cover n."""
    return -(-n // step)


def threads_for(n: int, each: int) -> int:
    """Threads of a threadgroup, 32 to 256, that take n values at `each` a thread, if any do."""
    threads = 32
    while threads < 256 and threads * each < n:
        threads *= 2
    return threads


def spread(count: int) -> tuple[int, int]:
    """`count` threadgroups along y and z; a kernel drops numbers from `count` on."""
    return (count, 1) if count <= SPREAD else (SPREAD, up(count, SPREAD))


def element_strides(operand: Operand) -> tuple[int, ...] | None:
    """Strides in elements, or None where an element stands at no multiple of its size."""
    if any(stride % operand.itemsize for stride in operand.strides):
        return None
    return tuple(stride // operand.itemsize for stride in operand.strides)


def dense_strides(shape, step: int) -> tuple[int, ...]:
    """Strides of a row-major array without gaps, whose last axis goes by `step`."""
    strides: list[int] = []
    for extent in reversed(shape):
        strides.insert(0, step)
        step *= max(extent, 1)
    return tuple(strides)


def joined(shape, *strides):
    """Shape and strides without axes of size 1, neighbours joined where all strides allow it."""
    out: list[list[int]] = []
    for extent, *steps in zip(shape, *strides):
        if extent == 1:
            continue
        if out and all(before == extent * step for before, step in zip(out[-1][1:], steps)):
            out[-1] = [out[-1][0] * extent, *steps]
        else:
            out.append([extent, *steps])
    columns = list(zip(*out)) or [()] * (1 + len(strides))
    return tuple(tuple(column) for column in columns)
