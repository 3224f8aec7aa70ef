"""Types of mlxc._graph.recipe, written by docs/stubs.py."""

from typing import Any

class Prepared: ...

class Recipe:
    def __len__(self) -> int: ...
    @property
    def inputs(self) -> Any: ...
