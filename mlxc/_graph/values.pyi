"""Types of mlxc._graph.values, written by docs/stubs.py."""

from typing import Any

def first_leaf(value: Any) -> Any: ...
