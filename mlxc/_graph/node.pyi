"""Types of mlxc._graph.node, written by docs/stubs.py."""

from typing import Any

class Node: ...

def watch_new_nodes(callback: Any) -> Any: ...
