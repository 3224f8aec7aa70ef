"""Types of mlxc._graph.routine, written by docs/stubs.py."""

from typing import Any

class Routine:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def advance(self, state: Any, arrays: Any, others: Any = ...) -> Any: ...
