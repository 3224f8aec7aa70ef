"""Types of mlxc._backends.cpu.tiles, written by docs/stubs.py."""

from typing import Any

class Tiles:
    def pack_streams(self, streams: Any) -> Any: ...
