"""Arrays of other libraries: DLPack both ways, and the names by which libraries and type checkers
know ours.

Rules: memory is shared where it can be and copied where it must be; shared foreign memory is never
written to.
"""

import sys
from typing import Protocol, runtime_checkable

from mlxc._graph import HOOKS, bind_method, rebuild, replace, values_alone
from mlxc._graph.dlpack import from_capsule, to_capsule

from ._keys import ArrayIterator
from .linalg import norm as matrix_norm

__all__ = ["ArrayIterator", "ArrayLike", "from_dlpack", "matrix_norm"]

_CPU = (1, 0)  # DLPack's number of the processor


@runtime_checkable
class ArrayLike(Protocol):
    """Anything with a method ``__mlx_array__`` that gives an array; functions take it as an
    operand."""

    def __mlx_array__(self):
        """The array that the object stands for."""


def from_dlpack(x, /, *, copy=None):
    """An array over the memory of another library's array.

    Dtypes stay as they are, float64 too. What the other library writes to shared memory later is
    seen by the array.

    Args:
        x: An object with ``__dlpack__`` and ``__dlpack_device__``, in memory of the processor.
        copy (bool, optional): True always copies, False never does; by default copies where sharing
            is impossible.

    Returns:
        array: The shape and dtype of ``x``.

    Raises:
        TypeError: If ``x`` does not support DLPack.
        BufferError: If its memory is not the processor's, or must be copied under ``copy=False``.
        ValueError: If its dtype is none of ours.

    Source: the DLPack specification, https://dmlc.github.io/dlpack/latest/python_spec.html

    Example:
        >>> import numpy, mlxc.core as mx
        >>> mx.from_dlpack(numpy.arange(3))
        array([0, 1, 2], dtype=int64)
    """
    if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
        raise TypeError(
            f"[from_dlpack] {type(x).__name__} has no __dlpack__ and __dlpack_device__; an array "
            "of a library that supports DLPack would be right"
        )
    x = values_alone(x)
    device = x.__dlpack_device__()
    if device[0] not in (1, 3):
        raise BufferError(
            f"[from_dlpack] {type(x).__name__} on DLPack device {tuple(device)}; move it to the "
            "CPU first"
        )
    result = from_capsule(_capsule(x))
    if result is None:  # its elements are not aligned
        if copy is False:
            raise BufferError(
                "[from_dlpack] the memory is not aligned, so it must be copied; copy=None would "
                "do it"
            )
        import numpy

        values = numpy.from_dlpack(x)
        return rebuild(values.tobytes(), str(values.dtype).replace("bool", "bool_"), values.shape)
    if copy:
        return rebuild(*HOOKS["getstate"](result))
    return result


def _capsule(x):
    """The capsule of an object, in the newest version that it knows."""
    try:
        return x.__dlpack__(max_version=(1, 0))
    except TypeError:
        return x.__dlpack__()


def _dlpack(x, stream=None, max_version=None, dl_device=None, copy=None):
    """The memory of an array as a DLPack capsule: what ``array.__dlpack__`` gives."""
    if stream is not None:
        raise BufferError(
            f"[__dlpack__] stream {stream!r}; None would be right for memory of the processor"
        )
    if dl_device is not None and tuple(dl_device) != _CPU:
        raise BufferError(
            f"[__dlpack__] device {tuple(dl_device)}; {_CPU}, the processor, would be right"
        )
    versioned = max_version is not None and max_version[0] >= 1
    capsule = None if copy else to_capsule(x, versioned)
    if capsule is None and copy is False:
        raise BufferError(
            "[__dlpack__] elements share memory (a broadcast), so they must be copied; "
            "copy=None would do it"
        )
    return to_capsule(rebuild(*HOOKS["getstate"](x)), versioned) if capsule is None else capsule


def _namespace():
    """The module whose functions take arrays, for array-API programs."""
    return sys.modules["mlxc.core"]


def _set_state(self, state):
    """Take over a pickled state: bytes, dtype name, shape."""
    replace(self, rebuild(*state))


HOOKS.update(dlpack=_dlpack, namespace=_namespace)
bind_method("__setstate__", _set_state)
