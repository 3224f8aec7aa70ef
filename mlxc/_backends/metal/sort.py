"""Launchers of the sort family: sort, argsort, partition, argpartition, argmax, argmin,
searchsorted.

A partition is a whole sort: the kth value stands in its place, and selection would need as many
passes on the device.
"""

import struct
from math import prod

from mlxc._table.dtypes import CODE

from .dispatch import Bytes, Dispatch, In, Out, Scratch, launcher
from .expressions import STORED
from .layout import LIMIT, spread, threads_for, up

__all__ = ["extremum", "order", "search", "sorted_pairs"]

EACH, THREADS = 8, 256  # of sort.metal
BLOCK = EACH * THREADS
TO_SCRATCH, TO_VALUES, TO_PLACES, TO_FETCHED = range(4)
PART = 1 << 14  # values of a part in searches of extrema along lines
PARTS = 2048  # of a line at most
BUSY = 1 << 18  # threads that search down columns, at 64 values each or more


def key_of(itemsize):
    """The word of the kernels for keys of elements of that many bytes, and the keys' bytes."""
    return ("u64", 8) if itemsize == 8 else ("u32", 4)


def lines_of(x, axis):
    """(n, inner, lines) of a row-major operand."""
    n, inner = x.shape[axis], prod(x.shape[axis + 1 :])
    return n, inner, x.size // n if n else 0


def facts(n, inner=1, width=0, parts=0, itemsize=0):
    return Bytes(struct.pack("<QQQII", n, inner, width, parts, itemsize))


def blocks_kernel(n, word):
    """The kernel that sorts blocks of lines of n values, and its threads."""
    threads = threads_for(n, EACH)
    return f"sort_{'small' if threads == 32 else 'blocks'}_{word}", threads


def sorted_pairs(source, word, constants, n, inner, lines, scratch):
    """Blocks and merges that leave keys and places in scratch memory: dispatches, then the two.

    Args:
        source: what holds the values.
        word: of the kernels: "u32" or "u64".
        constants: of the kernels; 3 becomes TO_SCRATCH.
        scratch: the index of the first of four Scratch arguments that are used.
    """
    size, kept = 8 if word == "u64" else 4, constants[2]
    near, far = (
        (
            Scratch(scratch + 2 * k, size * n * lines),
            Scratch(scratch + 2 * k + 1, 4 * n * lines if kept else 4),
        )
        for k in (0, 1)
    )
    constants = constants | {3: TO_SCRATCH}
    kernel, threads = blocks_kernel(n, word)
    blocks = up(n, threads * EACH)
    steps = [
        Dispatch(
            "sort", kernel, [source, near[0], *near, facts(n, inner)], (blocks * lines, 1, 1),
            (threads, 1, 1), groups=True, constants=constants,
        )
    ]  # fmt: skip
    width = BLOCK
    while width < n:
        steps.append(
            Dispatch(
                "sort", f"sort_merge_{word}", [*near, *far, facts(n, inner, width)],
                (blocks * lines, 1, 1), (THREADS, 1, 1), groups=True, constants=constants,
            )
        )  # fmt: skip
        near, far, width = far, near, 2 * width
    return steps, near


@launcher("sort", "argsort", "partition", "argpartition")
def order(row, ins, outs, params):
    """One dispatch for lines of up to 2048 values; else blocks, merges and a last one."""
    (x,), axis = ins, params[-1]
    if x.dtype not in STORED:
        return None
    if x.size == 0:
        return []
    n, inner, lines = lines_of(x, axis)
    if n >= LIMIT or lines * up(n, BLOCK) >= LIMIT:
        return None
    word, _ = key_of(x.itemsize)
    wants_places = row.startswith("arg")
    fetched = not wants_places and (x.dtype == "complex64" or row == "partition")
    finish = TO_PLACES if wants_places else TO_FETCHED if fetched else TO_VALUES
    constants = {0: CODE[x.dtype], 1: finish != TO_VALUES, 2: finish != TO_VALUES, 3: finish}
    constants[4] = False
    if n <= BLOCK and not fetched:
        kernel, threads = blocks_kernel(n, word)
        arguments = [In(0), Out(0), Out(0), Out(0), facts(n, inner)]
        return [
            Dispatch(
                "sort", kernel, arguments, (lines, 1, 1), (threads, 1, 1), groups=True,
                constants=constants,
            )
        ]  # fmt: skip
    steps, pairs = sorted_pairs(In(0), word, constants, n, inner, lines, 0)
    last = facts(n, inner, parts=lines, itemsize=x.itemsize)
    return [
        *steps,
        Dispatch(
            "sort", f"sort_finish_{word}", [In(0), Out(0), *pairs, last], (n, *spread(lines)),
            (min(n, THREADS), 1, 1), constants=constants,
        ),
    ]  # fmt: skip


@launcher("argmax", "argmin")
def extremum(row, ins, outs, params):
    """The first best value of each line; long lines are searched in parts."""
    (x,), axis = ins, params[0]
    if x.dtype not in STORED:
        return None
    n, inner, lines = lines_of(x, axis)
    if outs[0].size == 0:
        return []
    if n >= LIMIT or lines >= LIMIT:
        return None
    word, size = key_of(x.itemsize)
    count = max(1, 4 // x.itemsize)
    count = 1 if (n if inner == 1 else inner) % count else count
    parts = up(n, PART) if lines < 4096 else 1
    if inner > 1:
        parts = max(parts, min(n // 64, up(BUSY, lines // count)))
    width = up(up(n, min(parts, PARTS)), 4) * 4  # whole words of narrow values
    parts = up(n, width)
    finish = TO_PLACES if parts == 1 else TO_SCRATCH
    constants = {0: CODE[x.dtype], 1: True, 2: True, 3: finish, 4: row == "argmin"}
    kept = [Out(0), Out(0)]
    if parts > 1:
        kept = [Scratch(0, size * lines * parts), Scratch(1, 4 * lines * parts)]
    constants[5] = count
    about = facts(n, inner, width, parts)
    arguments = [In(0), Out(0), *kept, about]
    if inner == 1:
        first = Dispatch(
            "sort", f"extremum_lines_{word}", arguments, (parts * lines, 1, 1),
            (threads_for(width // count, EACH), 1, 1), groups=True, constants=constants,
        )  # fmt: skip
    else:
        first = Dispatch(
            "sort", f"extremum_columns_{word}", arguments, (lines // count, parts, 1),
            (min(lines // count, THREADS), 1, 1), constants=constants,
        )  # fmt: skip
    if parts == 1:
        return [first]
    last = Dispatch(
        "sort", f"extremum_parts_{word}", [Out(0), *kept, about], (lines, 1, 1), (32, 1, 1),
        groups=True, constants=constants,
    )  # fmt: skip
    return [first, last]


@launcher("searchsorted")
def search(row, ins, outs, params):
    """A binary search a value."""
    sequence, values = ins
    if values.dtype not in STORED or values.size >= LIMIT:
        return None
    if values.size == 0:
        return []
    word, _ = key_of(values.itemsize)
    constants = {0: CODE[values.dtype], 1: True, 2: False, 3: TO_PLACES, 4: False}
    about = facts(sequence.size, width=int(params[0]))
    return [
        Dispatch(
            "sort", f"search_sorted_{word}", [In(0), In(1), Out(0), about], (values.size, 1, 1),
            (min(values.size, THREADS), 1, 1), constants=constants,
        )
    ]  # fmt: skip
