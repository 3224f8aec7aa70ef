"""Types of mlxc._backends.cpu.kernels, written by docs/stubs.py."""

from typing import Any

ISA: str
TABLE: dict

def built_modules(isa: Any) -> Any: ...
def choose_isa() -> Any: ...
def supported_isas() -> Any: ...
