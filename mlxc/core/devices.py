"""Devices and streams: where operations run. There is one processor; its streams run in the order
of evaluation."""

import enum
import itertools
import os
import platform
import threading

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
_cpu_device = Device(cpu)


class _Defaults(threading.local):
    """The default stream, in each thread its own."""

    def __init__(self):
        self.stream = Stream(_cpu_device, 0)


_defaults = _Defaults()


def _device_of(op, value):
    """A Device for a Device or DeviceType; ValueError where there is none of that kind."""
    if isinstance(value, DeviceType):
        value = Device(value)
    if not isinstance(value, Device):
        raise TypeError(f"[{op}] got {value!r}; mx.cpu, mx.gpu or a Device would be right")
    if not is_available(value):
        raise ValueError(f"[{op}] {value!r} is not there; this machine has {_cpu_device!r} only")
    return value


def is_available(device):
    """Whether there is such a device.

    Args:
        device (Device or DeviceType): What is asked about.

    Returns:
        bool: True for the processor.

    Example:
        >>> import mlxc.core as mx
        >>> mx.is_available(mx.cpu)
        True
    """
    if isinstance(device, Device):
        return device.type is cpu and device.index == 0
    return device is cpu


def device_count(device_type):
    """How many devices of a kind there are.

    Args:
        device_type (DeviceType): ``mx.cpu`` or ``mx.gpu``.

    Returns:
        int: 1 for the processor.

    Example:
        >>> import mlxc.core as mx
        >>> mx.device_count(mx.cpu)
        1
    """
    return 1 if device_type is cpu else 0


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
        dict: ``device_name``, ``architecture``, ``memory_size`` (bytes) where the system tells it.

    Raises:
        ValueError: If there is no such device.

    Example:
        >>> import mlxc.core as mx
        >>> "device_name" in mx.device_info()
        True
    """
    _device_of("device_info", default_device() if d is None else d)
    info = {"architecture": platform.machine(), "device_name": _processor_name()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        info["memory_size"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return info


def default_device():
    """The device that operations run on.

    Returns:
        Device: The processor.

    Example:
        >>> import mlxc.core as mx
        >>> mx.default_device()
        Device(cpu, 0)
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
        Stream: The default one.

    Example:
        >>> import mlxc.core as mx
        >>> mx.default_stream(mx.cpu)
        Stream(Device(cpu, 0), 0)
    """
    _device_of("default_stream", device)
    return _defaults.stream


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
    _defaults.stream = Stream(_cpu_device, 0)


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
