"""Types of mlxc._graph.evaluate, written by docs/stubs.py."""

from typing import Any

def plan_cache_info() -> Any: ...
