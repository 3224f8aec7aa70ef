"""Types of mlxc._graph.evaluate, written by docs/stubs.py."""

from typing import Any

class Lesson: ...

def plan_cache_info() -> Any: ...
