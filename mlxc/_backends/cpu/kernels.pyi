"""Types of mlxc._backends.cpu.kernels, written by docs/stubs.py."""

from typing import Any

ISA: str
TABLE: dict

def built_modules(isa: Any) -> None: ...
def choose_isa() -> None: ...
def supported_isas() -> None: ...
