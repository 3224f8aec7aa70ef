"""Memory in use and its limits."""

from mlxc._graph import arrays_of, buffer_extent, is_evaluated
from mlxc._memory.buffer import (
    clear_cache,
    get_active_memory,
    get_cache_memory,
    get_memory_limit,
    get_peak_memory,
    reset_peak_memory,
    set_cache_limit,
    set_memory_limit,
    set_wired_limit,
)

__all__ = [
    "clear_cache",
    "get_active_memory",
    "get_array_buffer_size",
    "get_cache_memory",
    "get_memory_limit",
    "get_peak_memory",
    "reset_peak_memory",
    "set_cache_limit",
    "set_memory_limit",
    "set_wired_limit",
]


def get_array_buffer_size(*args):
    """Bytes of the memory behind arrays, each block counted once.

    Args:
        *args (arrays or trees of arrays): Evaluated arrays.

    Returns:
        int: Bytes, as allocated.

    Raises:
        ValueError: If an array is not evaluated.

    Example:
        >>> import mlxc.core as mx
        >>> x = mx.zeros((1000,)) + 1
        >>> mx.eval(x)
        >>> mx.get_array_buffer_size(x, x) >= 4000
        True
    """
    blocks = {}
    for x in arrays_of(args):
        if not is_evaluated(x):
            raise ValueError(
                "[get_array_buffer_size] an array is not evaluated yet; call eval first"
            )
        address, size = buffer_extent(x)
        blocks[address] = size
    return sum(blocks.values())
