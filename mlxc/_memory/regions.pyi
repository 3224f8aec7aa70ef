"""Types of mlxc._memory.regions, written by docs/stubs.py."""

from typing import Any

def regions() -> Any: ...
