"""The namespace ``mlxc.core.metal``: Apple's GPU. This build has no Metal back end, and says so.

Rules: questions are answered, orders that need the device are refused. The memory functions are
those of ``mlxc.core``, which programs written for MLX also call here.
"""

from .memory import (
    clear_cache,
    get_active_memory,
    get_cache_memory,
    get_peak_memory,
    reset_peak_memory,
    set_cache_limit,
    set_memory_limit,
    set_wired_limit,
)

__all__ = [
    "clear_cache",
    "device_info",
    "get_active_memory",
    "get_cache_memory",
    "get_peak_memory",
    "is_available",
    "reset_peak_memory",
    "set_cache_limit",
    "set_memory_limit",
    "set_wired_limit",
    "start_capture",
    "stop_capture",
]


def is_available():
    """Whether there is a Metal device to run on.

    Returns:
        bool: False.

    Example:
        >>> import mlxc.core as mx
        >>> mx.metal.is_available()
        False
    """
    return False


def device_info():
    """What is known about the Metal device; ``mx.device_info`` tells about any device.

    Returns:
        dict: Empty, since there is none.

    Example:
        >>> import mlxc.core as mx
        >>> mx.metal.device_info()
        {}
    """
    return {}


def start_capture(path):
    """Start to record the work of the Metal device.

    Args:
        path (str): The recording to write, ``*.gputrace``.

    Raises:
        RuntimeError: Always, since there is none.
    """
    raise RuntimeError(f"[metal.start_capture] {path!r}: there is no Metal device to record")


def stop_capture():
    """Stop to record the work of the Metal device.

    Raises:
        RuntimeError: Always, since there is none.
    """
    raise RuntimeError("[metal.stop_capture] there is no Metal device that is recorded")
