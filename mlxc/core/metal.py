"""The namespace ``mlxc.core.metal``: Apple's GPU.

Rules: questions are answered everywhere, orders that need the device are refused where there is
none. The memory functions are those of ``mlxc.core``, which programs written for MLX also call
here.
"""

from mlxc._metal.shim import get_device as _get_device

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
        bool: True where there is one.

    Example:
        >>> import mlxc.core as mx
        >>> mx.metal.is_available() == mx.is_available(mx.gpu)
        True
    """
    return _get_device() is not None


def device_info():
    """What is known about the Metal device; ``mx.device_info`` tells about any device.

    Returns:
        dict: As ``mx.device_info(mx.gpu)``; empty where there is none.

    Example:
        >>> import mlxc.core as mx
        >>> bool(mx.metal.device_info()) == mx.metal.is_available()
        True
    """
    device = _get_device()
    return {} if device is None else dict(device.info)


def _recorded(op):
    device = _get_device()
    if device is None:
        raise RuntimeError(f"[metal.{op}] there is no Metal device to record")
    return device


def start_capture(path):
    """Start to record the work of the Metal device, for Xcode.

    Args:
        path (str): The recording to write, ``*.gputrace``. Metal wants ``MTL_CAPTURE_ENABLED=1`` in
            the environment.

    Raises:
        RuntimeError: If there is no device, or Metal refuses.
    """
    _recorded("start_capture").start_capture(path)


def stop_capture():
    """Stop to record the work of the Metal device.

    Raises:
        RuntimeError: If there is no device.
    """
    _recorded("stop_capture").stop_capture()
