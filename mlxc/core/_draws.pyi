"""Types of mlxc.core._draws, written by docs/stubs.py."""

from typing import Any

class Distribution:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
