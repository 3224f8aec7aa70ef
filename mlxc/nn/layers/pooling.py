"""Pooling: the maximum or the mean of sliding windows over one, two or three spatial axes.

Rules: a layer checks its settings and binds one row of the family ``pool``; integers have maxima of
their own type, and means in float32.
"""

import functools

import mlxc.core as mx
from mlxc.nn.layers.base import Module


def _value_for_each_axis(value, n, what):
    """A tuple of `n` whole numbers, from a number or a tuple."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,) * n
    if isinstance(value, (tuple, list)) and len(value) == n:
        if all(isinstance(v, int) for v in value):
            return tuple(value)
    raise ValueError(f"{what} must be an integer or a tuple containing {n} integers")


class _Pool(Module):
    """What all pooling layers share: `spatial` axes, settings and their checks."""

    spatial = 0

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        name, n = type(self).__name__, self.spatial
        padding = 0 if padding is None else padding
        stride = kernel_size if stride is None else stride
        self._kernel_size = _value_for_each_axis(kernel_size, n, f"[{name}] 'kernel_size'")
        self._stride = _value_for_each_axis(stride, n, f"[{name}] 'stride'")
        self._padding = _value_for_each_axis(padding, n, f"[{name}] 'padding'")
        for what, values in (("kernel_size", self._kernel_size), ("stride", self._stride)):
            if min(values) < 1:
                raise ValueError(f"[{name}] '{what}' must be positive but got {values}.")
        if min(self._padding) < 0:
            raise ValueError(f"[{name}] 'padding' must be non-negative but got {self._padding}.")

    def _extra_repr(self):
        return f"kernel_size={self._kernel_size}, stride={self._stride}, padding={self._padding}"

    def __call__(self, x):
        name, n = type(self).__name__, self.spatial
        if not isinstance(x, mx.array):
            raise TypeError(f"[{name}] expected an array, got {type(x).__name__}")
        if x.ndim != n + 2:
            raise ValueError(
                f"[{name}] expected {n + 2} dimensions (batch, {n} spatial, channels), "
                f"got shape {x.shape}"
            )
        return self._pool(x)

    def _bind(self, name, x):
        # Tuples stand in the module's dictionary: asked there, they are found at once.
        settings = self["_kernel_size"], self["_stride"], self["_padding"]
        return mx._bind(name, (x,), settings)


class _MaxPool(_Pool):
    """Pooling by the maximum."""

    def _pool(self, x):
        if x.dtype == mx.complex64:
            return self._shifted_maxima(x)
        return self._bind("max_pool", x)

    def _shifted_maxima(self, x):
        """Complex numbers, whose order no kernel knows: maxima of shifted slices, axis by axis."""
        width = [(0, 0), *((p, p) for p in self._padding), (0, 0)]
        x = mx.pad(x, width, constant_values=-float("inf"))
        for axis, (k, s) in enumerate(zip(self._kernel_size, self._stride, strict=True), start=1):
            count = max((x.shape[axis] - k) // s + 1, 0)
            at = (mx.arange(count) * s + shift for shift in range(k))
            x = functools.reduce(mx.maximum, (mx.take(x, indices, axis=axis) for indices in at))
        return x


class _AvgPool(_Pool):
    """Pooling by the mean; padding counts as zeros."""

    def _pool(self, x):
        if x.dtype == mx.complex64:
            return self._bind("mean_pool", mx.real(x)) + 1j * self._bind("mean_pool", mx.imag(x))
        if x.dtype != mx.float32 and not mx.issubdtype(x.dtype, mx.floating):
            x = x.astype(mx.float32)
        return self._bind("mean_pool", x)


class MaxPool1d(_MaxPool):
    """Maximum over sliding windows of sequences, ``NLC``.

    Args:
        kernel_size (int or tuple): length of the windows.
        stride (int or tuple, optional): step of the windows. Default: ``kernel_size``.
        padding (int or tuple): entries of minus infinity added at both ends. Default: ``0``.

    Raises:
        ValueError: for sizes or inputs that do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.MaxPool1d(2)(mx.array([[[1.0], [3.0], [2.0], [0.0]]])).tolist()
        [[[3.0], [2.0]]]
    """

    spatial = 1


class AvgPool1d(_AvgPool):
    """Mean over sliding windows of sequences, ``NLC``.

    Args:
        kernel_size (int or tuple): length of the windows.
        stride (int or tuple, optional): step of the windows. Default: ``kernel_size``.
        padding (int or tuple): zeros added at both ends. Default: ``0``.

    Raises:
        ValueError: for sizes or inputs that do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.AvgPool1d(2)(mx.array([[[1.0], [3.0], [2.0], [0.0]]])).tolist()
        [[[2.0], [1.0]]]
    """

    spatial = 1


class MaxPool2d(_MaxPool):
    """Maximum over sliding windows of images, ``NHWC``.

    Args:
        kernel_size (int or tuple): size of the windows.
        stride (int or tuple, optional): step of the windows. Default: ``kernel_size``.
        padding (int or tuple): entries of minus infinity added on both sides. Default: ``0``.

    Raises:
        ValueError: for sizes or inputs that do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.MaxPool2d(2)(mx.ones((8, 32, 32, 4))).shape
        (8, 16, 16, 4)
    """

    spatial = 2


class AvgPool2d(_AvgPool):
    """Mean over sliding windows of images, ``NHWC``.

    Args:
        kernel_size (int or tuple): size of the windows.
        stride (int or tuple, optional): step of the windows. Default: ``kernel_size``.
        padding (int or tuple): zeros added on both sides. Default: ``0``.

    Raises:
        ValueError: for sizes or inputs that do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.AvgPool2d(3, stride=2)(mx.ones((8, 33, 33, 4))).shape
        (8, 16, 16, 4)
    """

    spatial = 2


class MaxPool3d(_MaxPool):
    """Maximum over sliding windows of volumes, ``NDHWC``.

    Args:
        kernel_size (int or tuple): size of the windows.
        stride (int or tuple, optional): step of the windows. Default: ``kernel_size``.
        padding (int or tuple): entries of minus infinity added on both sides. Default: ``0``.

    Raises:
        ValueError: for sizes or inputs that do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.MaxPool3d(2)(mx.ones((2, 4, 4, 4, 1))).shape
        (2, 2, 2, 2, 1)
    """

    spatial = 3


class AvgPool3d(_AvgPool):
    """Mean over sliding windows of volumes, ``NDHWC``.

    Args:
        kernel_size (int or tuple): size of the windows.
        stride (int or tuple, optional): step of the windows. Default: ``kernel_size``.
        padding (int or tuple): zeros added on both sides. Default: ``0``.

    Raises:
        ValueError: for sizes or inputs that do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.AvgPool3d(2)(mx.ones((2, 4, 4, 4, 1))).shape
        (2, 2, 2, 2, 1)
    """

    spatial = 3
