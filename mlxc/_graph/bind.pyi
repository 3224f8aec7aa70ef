"""Types of mlxc._graph.bind, written by docs/stubs.py."""

CODES: dict
REFUSED: int
ROWS: list

class Inference: ...

class Output: ...
