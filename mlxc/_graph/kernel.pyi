"""Types of mlxc._graph.kernel, written by docs/stubs.py."""

from typing import Any

class Launcher: ...

def register_python_launcher(name: Any, function: Any) -> Any: ...
