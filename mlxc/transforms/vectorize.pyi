"""Types of mlxc.transforms.vectorize, written by docs/stubs.py."""

from typing import Any

def replay_batched(mx: Any, outputs: Any, inputs: Any, values: Any) -> Any: ...
