"""Types of mlxc._backends.cpu.random, written by docs/stubs.py."""

from typing import Any

def split_at_once(whole: Any) -> Any: ...
