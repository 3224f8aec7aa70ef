"""Types of mlxc._graph.routine, written by docs/stubs.py."""

from typing import Any

class Routine:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
