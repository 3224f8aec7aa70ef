"""Types of mlxc._backends.cpu.programs, written by docs/stubs.py."""

from typing import Any

DEBUG: int

class CpuBackend: ...


class MapProgram: ...


class ReduceProgram:
    def lay_out(self, program: Any, k: Any, name: Any, compute: Any) -> None: ...
    def set_identity(self, row: Any, wide: Any) -> Any: ...


def extreme(combine: Any, dtype: Any) -> None: ...
