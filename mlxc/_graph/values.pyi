"""Types of mlxc._graph.values, written by docs/stubs.py."""

from typing import Any

def values_alone(value: Any) -> Any: ...
