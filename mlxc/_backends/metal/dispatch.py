"""What a launcher of the Metal back end gives: dispatches, which name kernels, arguments and grids.

A launcher is asked once for operands of given dtypes, shapes and strides; what it answers is kept
with the plan and encoded again at every run, when only addresses differ. So a launcher computes
grids and constants, and never sees data.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

from mlxc._table.rows import ROWS

__all__ = [
    "FAULT_BYTES", "LAUNCHERS", "Bytes", "Dispatch", "Faults", "In", "Operand", "Out", "Scratch",
    "fault_text", "launcher",
]  # fmt: skip


@dataclass(frozen=True)
class Operand:
    """What a launcher knows of an array: all but its address."""

    dtype: str  # public name: "float32"
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes; row-major for outputs
    itemsize: int

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class In:
    """The operand at a position; its buffer is bound at its first element."""

    index: int


@dataclass(frozen=True)
class Out:
    """The output at a position."""

    index: int


@dataclass(frozen=True)
class Scratch:
    """Memory of the launch: the same index is the same memory in all of its dispatches."""

    index: int
    nbytes: int


@dataclass(frozen=True)
class Faults:
    """The device's record of the first index that was out of range: FAULT_BYTES, zeros while all
    is well. Whoever waits for the device looks at it, raises `fault_text` and clears it."""


FAULT_BYTES = 32


def fault_text(record: bytes) -> str:
    """What a record says, "" where nothing is wrong.

    Args:
        record: as `report_index` of shaders/common.h writes it.
    """
    raised, row, axis, unsigned, index, size = struct.unpack("<4I2q", record)
    if not raised:
        return ""
    index += (1 << 64) if unsigned and index < 0 else 0
    return f"[{ROWS[row].name}] index {index} is out of range for axis {axis} with size {size}"


@dataclass(frozen=True)
class Bytes:
    """A constant argument: at most 4096 bytes, as `struct.pack` gives them."""

    data: bytes


@dataclass
class Dispatch:
    """One kernel over a grid. `arguments` stand in the order of the kernel's buffer numbers."""

    file: str  # of `shaders/`, without its suffix
    function: str
    arguments: Sequence[In | Out | Scratch | Faults | Bytes]
    grid: tuple[int, int, int]  # threads, or threadgroups if `groups`
    group: tuple[int, int, int]  # threads of a threadgroup
    groups: bool = False
    constants: dict[int, bool | int | float] = field(default_factory=dict)  # function constants
    threadgroup: Sequence[int] = ()  # bytes of threadgroup memory, an argument each
    source: str = ""  # the text of a kernel that stands in no file: a printed program, a user's
    fast_math: bool = False  # whether the compiler may take NaN, infinities and order lightly


# Row name -> launcher(ins, outs, params) -> dispatches in order, or None where the row cannot run
# on the device with these operands: then it runs on the processor, on the same memory.
LAUNCHERS: dict[str, Callable] = {}


def launcher(*rows: str):
    """Enter a function as the launcher of rows; it is handed the row's name first."""

    def enter(function):
        for row in rows:
            LAUNCHERS[row] = lambda *args, _row=row: function(_row, *args)
        return function

    return enter
