"""Devices and streams: where operations run. There is one processor, and one GPU where Metal has
one; the streams of a device run in the order of evaluation.

``MLXC_DEFAULT_DEVICE`` (cpu, gpu) says on which of them threads begin; else it is the GPU, if there
is one.
"""

import enum
import itertools
import os
import platform
import threading

from mlxc._backends.metal import available as _has_gpu
from mlxc._graph import begin_on_device, place_on_device
from mlxc._metal.shim import get_device as _metal_device

__all__ = [
    "Device",
    "DeviceType",
    "Stream",
    "StreamContext",
    "ThreadLocalStream",
    "clear_streams",
    "cpu",
    "default_device",
    "default_stream",
    "device_count",
    "device_info",
    "gpu",
    "is_available",
    "new_stream",
    "new_thread_local_stream",
    "new_thread_unsafe_stream",
    "set_default_device",
    "set_default_stream",
    "stream",
    "synchronize",
]


class DeviceType(enum.Enum):
    """The kinds of devices."""

    cpu = 0
    gpu = 1

    def __repr__(self):
        return f"DeviceType.{self.name}"

    def __eq__(self, other):
        if isinstance(other, Device):
            return other.type is self and other.index == 0
        return self is other

    def __hash__(self):
        return hash(self.name)


cpu, gpu = DeviceType.cpu, DeviceType.gpu


class Device:
    """A device to run on.

    Args:
        type (DeviceType): ``mx.cpu`` or ``mx.gpu``.
        index (int): Which of them.

    Example:
        >>> import mlxc.core as mx
        >>> mx.Device(mx.cpu)
        Device(cpu, 0)
    """

    def __init__(self, type, index=0):
        if not isinstance(type, DeviceType):
            raise TypeError(f"[Device] type {type!r}; mx.cpu or mx.gpu would be right")
        self.type = type
        self.index = index

    def __repr__(self):
        return f"Device({self.type.name}, {self.index})"

    def __eq__(self, other):
        if isinstance(other, DeviceType):
            return self.type is other and self.index == 0
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self):
        return hash((self.type, self.index))


class Stream:
    """A sequence of work on a device; made by ``new_stream``."""

    def __init__(self, device, index):
        self.device = device
        self.index = index

    def __repr__(self):
        return f"Stream({self.device!r}, {self.index})"

    def __eq__(self, other):
        return isinstance(other, Stream) and (self.device, self.index) == (
            other.device,
            other.index,
        )

    def __hash__(self):
        return hash((self.device, self.index))


class ThreadLocalStream(Stream):
    """A stream that is another one in each thread."""


_numbers = itertools.count(1)
_devices = [Device(cpu), Device(gpu)] if _has_gpu else [Device(cpu)]


def _first_device():
    """What threads begin with."""
    wanted = os.environ.get("MLXC_DEFAULT_DEVICE", "")
    for device in _devices:
        if device.type.name == wanted:
            return device
    if wanted:
        names = " or ".join(device.type.name for device in _devices)
        raise ImportError(f"[mlxc] MLXC_DEFAULT_DEVICE={wanted}; {names} would be there")
    return _devices[-1]


_first_stream = Stream(_first_device(), 0)
begin_on_device(_first_stream.device.type is gpu)


class _Defaults(threading.local):
    """The default stream, in each thread its own; the thread's nodes are made for its device."""

    def __init__(self):
        self._stream = _first_stream

    @property
    def stream(self):
        return self._stream

    @stream.setter
    def stream(self, value):
        self._stream = value
        place_on_device(value.device.type is gpu)


_defaults = _Defaults()


def _device_of(op, value):
    """A Device for a Device or DeviceType; ValueError where there is none of that kind."""
    if isinstance(value, DeviceType):
        value = Device(value)
    if not isinstance(value, Device):
        raise TypeError(f"[{op}] got {value!r}; mx.cpu, mx.gpu or a Device would be right")
    if not is_available(value):
        there = " and ".join(map(repr, _devices))
        raise ValueError(f"[{op}] {value!r} is not there; this machine has {there}")
    return value


def is_available(device):
    """Whether there is such a device.

    Args:
        device (Device or DeviceType): What is asked about.

    Returns:
        bool: True for the processor, and for the GPU where Metal has one.

    Example:
        >>> import mlxc.core as mx
        >>> mx.is_available(mx.cpu)
        True
    """
    return device in _devices


def device_count(device_type):
    """How many devices of a kind there are.

    Args:
        device_type (DeviceType): ``mx.cpu`` or ``mx.gpu``.

    Returns:
        int: 1 for the processor, 1 or 0 for the GPU.

    Example:
        >>> import mlxc.core as mx
        >>> mx.device_count(mx.cpu)
        1
    """
    return sum(device.type is device_type for device in _devices)


def _processor_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def device_info(d=None):
    """What is known about a device.

    Args:
        d (Device or DeviceType, optional): Default: the default device.

    Returns:
        dict: ``device_name``, ``architecture``, ``memory_size`` (bytes) where the system tells it;
            of the GPU also ``max_buffer_length`` and ``max_recommended_working_set_size`` (bytes).

    Raises:
        ValueError: If there is no such device.

    Example:
        >>> import mlxc.core as mx
        >>> "device_name" in mx.device_info()
        True
    """
    if _device_of("device_info", default_device() if d is None else d).type is gpu:
        return dict(_metal_device().info)
    info = {"architecture": platform.machine(), "device_name": _processor_name()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        info["memory_size"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return info


def default_device():
    """The device that operations run on.

    Returns:
        Device: The one that was set, or that threads begin with.

    Example:
        >>> import mlxc.core as mx
        >>> mx.is_available(mx.default_device())
        True
    """
    return _defaults.stream.device


def set_default_device(device):
    """Choose the device that operations run on.

    Args:
        device (Device or DeviceType): One that is there.

    Raises:
        ValueError: If there is no such device.

    Example:
        >>> import mlxc.core as mx
        >>> mx.set_default_device(mx.cpu)
    """
    _defaults.stream = Stream(_device_of("set_default_device", device), 0)


def default_stream(device):
    """The stream that operations on a device go to.

    Args:
        device (Device or DeviceType): One that is there.

    Returns:
        Stream: This thread's, if it is on that device; else the device's first.

    Example:
        >>> import mlxc.core as mx
        >>> mx.default_stream(mx.cpu)
        Stream(Device(cpu, 0), 0)
    """
    device = _device_of("default_stream", device)
    stream = _defaults.stream
    return stream if stream.device == device else Stream(device, 0)


def set_default_stream(stream):
    """Choose the stream that operations go to.

    Args:
        stream (Stream): On a device that is there.

    Raises:
        TypeError: If it is no stream.

    Example:
        >>> import mlxc.core as mx
        >>> mx.set_default_stream(mx.default_stream(mx.cpu))
    """
    if not isinstance(stream, Stream):
        raise TypeError(f"[set_default_stream] got {stream!r}; a Stream would be right")
    _device_of("set_default_stream", stream.device)
    _defaults.stream = stream


def new_stream(device):
    """A new stream on a device.

    Args:
        device (Device or DeviceType): One that is there.

    Returns:
        Stream: Another one each time.

    Raises:
        ValueError: If there is no such device.

    Example:
        >>> import mlxc.core as mx
        >>> mx.new_stream(mx.cpu).device
        Device(cpu, 0)
    """
    return Stream(_device_of("new_stream", device), next(_numbers))


def new_thread_unsafe_stream(device):
    """A new stream that any thread may use; here every stream is one.

    Args:
        device (Device or DeviceType): One that is there.

    Returns:
        Stream: Another one each time.

    Example:
        >>> import mlxc.core as mx
        >>> mx.new_thread_unsafe_stream(mx.cpu).device
        Device(cpu, 0)
    """
    return Stream(_device_of("new_thread_unsafe_stream", device), next(_numbers))


def new_thread_local_stream(device):
    """A new stream that stands for another one in each thread.

    Args:
        device (Device or DeviceType): One that is there.

    Returns:
        ThreadLocalStream: Another one each time.

    Example:
        >>> import mlxc.core as mx
        >>> mx.new_thread_local_stream(mx.cpu).device
        Device(cpu, 0)
    """
    return ThreadLocalStream(_device_of("new_thread_local_stream", device), next(_numbers))


def clear_streams():
    """Forget the streams of this thread: the default one is the first again.

    Example:
        >>> import mlxc.core as mx
        >>> mx.clear_streams()
    """
    _defaults.stream = _first_stream


def synchronize(stream=None):
    """Wait until the work of a stream is done.

    Args:
        stream (Stream, Device or DeviceType, optional): Default: the default stream.

    Raises:
        TypeError: If it is none of these.

    Example:
        >>> import mlxc.core as mx
        >>> mx.synchronize()
    """
    if stream is not None and not isinstance(stream, Stream):
        _device_of("synchronize", stream)
    from .evaluation import wait_for_all

    wait_for_all()


class StreamContext:
    """``with mx.stream(s):`` operations go to a stream meanwhile."""

    def __init__(self, s):
        self._stream = s if isinstance(s, Stream) else Stream(_device_of("stream", s), 0)
        self._before = None

    def __enter__(self):
        self._before = _defaults.stream
        _defaults.stream = self._stream

    def __exit__(self, *error):
        _defaults.stream = self._before
        return False


def stream(s):
    """A context in which operations go to a stream or device.

    Args:
        s (Stream, Device or DeviceType): Where to.

    Returns:
        StreamContext: To be used with ``with``.

    Raises:
        ValueError: If there is no such device.

    Example:
        >>> import mlxc.core as mx
        >>> with mx.stream(mx.cpu):
        ...     x = mx.zeros((2,))
    """
    return StreamContext(s)
