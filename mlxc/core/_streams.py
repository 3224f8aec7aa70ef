"""The argument ``stream`` of public functions, where there is more than one device.

A node's device is that of the thread's default stream when it is made; ``stream=s`` means the same
as ``with mx.stream(s)``. Where there is only the processor, functions stay as they are.
"""

import functools
import inspect

from .devices import StreamContext

__all__ = ["heed_streams"]


def _takes_stream(function):
    if not callable(function) or inspect.isclass(function) or inspect.ismodule(function):
        return False
    try:
        return "stream" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return "stream=None" in (getattr(function, "__doc__", None) or "")


def _heeding(function):
    @functools.wraps(function)
    def placed(*args, **kwargs):
        stream = kwargs.get("stream")
        if stream is None:
            return function(*args, **kwargs)
        with StreamContext(stream):
            return function(*args, **kwargs)

    return placed


def heed_streams(names):
    """Make the functions in a dict of names obey their argument ``stream``.

    Args:
        names (dict): A namespace, which is changed; one function under two names stays one.
    """
    made = {}
    for name, value in list(names.items()):
        if not name.startswith("_") and _takes_stream(value):
            if id(value) not in made:
                made[id(value)] = _heeding(value)
            names[name] = made[id(value)]
