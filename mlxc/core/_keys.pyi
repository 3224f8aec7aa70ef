"""Types of the common keys' reader."""

from typing import Any

from mlxc._graph import array

def read_basic(x: array, key: Any) -> array | None: ...
def write_basic(x: array, key: Any, value: Any) -> array | None: ...
