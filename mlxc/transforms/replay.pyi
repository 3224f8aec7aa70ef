"""Types of mlxc.transforms.replay, written by docs/stubs.py."""

from collections.abc import Sequence
from typing import Any

from mlxc._graph.array import array

def is_arithmetic(row: Any) -> Any: ...
def recipe_of(outputs: Sequence[array], inputs: Sequence[array]) -> Any: ...
def remade(outputs: Sequence[array]) -> list[array]: ...
