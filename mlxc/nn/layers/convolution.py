"""Convolutions over one, two or three spatial axes, channels last.

Rules: weights are stored [outputs, *kernel, inputs / groups]; initial values are U(-k, k) with
k = 1/sqrt(inputs of one output), the bias starts at zero.
"""

import math

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module

LAYOUTS = {1: "NLC", 2: "NHWC", 3: "NDHWC"}


def spread(value, n):
    """A value for each of `n` spatial axes."""
    return (value,) * n if isinstance(value, int) else tuple(value)[:n]


def initial_weight(out_channels, kernel, inputs):
    """A new weight of shape [outputs, *kernel, inputs]."""
    bound = math.sqrt(1 / (inputs * math.prod(kernel)))
    return mx.random.uniform(low=-bound, high=bound, shape=(out_channels, *kernel, inputs))


def check_input(layer, x, spatial, channels, weight):
    """Raise unless `x` fits a convolution over `spatial` axes."""
    _checks.dimensions(layer, x, (spatial + 2,), LAYOUTS[spatial])
    _checks.last_axis(layer, x, channels, f"weight has shape {weight.shape}")


class _Conv(Module):
    """What the convolutions share; `spatial` is the number of their spatial axes."""

    spatial = 0

    def _build(self, in_channels, out_channels, kernel, groups, bias):
        name = type(self).__name__
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups}
        _checks.positive(name, **sizes)
        for size in kernel:
            _checks.positive(name, kernel_size=size)
        if in_channels % groups:
            raise ValueError(
                f"The number of input channels ({in_channels}) must be divisible by the number "
                f"of groups ({groups})"
            )
        if out_channels % groups:
            raise ValueError(
                f"[{name}] out_channels ({out_channels}) must be divisible by groups ({groups})"
            )
        self.weight = initial_weight(out_channels, kernel, in_channels // groups)
        if bias:
            self.bias = mx.zeros((out_channels,))

    def _extra_repr(self):
        outputs, *kernel, inputs = self.weight.shape
        groups = getattr(self, "groups", 1)
        kernel = kernel[0] if self.spatial == 1 else tuple(kernel)
        grouping = f", groups={groups}" if self.spatial < 3 else ""
        return (
            f"{inputs * groups}, {outputs}, kernel_size={kernel}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}{grouping}, bias={'bias' in self}"
        )

    def __call__(self, x):
        weight = self["weight"]
        groups = getattr(self, "groups", 1)
        channels = weight.shape[-1] * groups
        check_input(type(self).__name__, x, self.spatial, channels, weight)
        convolve = (mx.conv1d, mx.conv2d, mx.conv3d)[self.spatial - 1]
        y = convolve(x, weight, self.stride, self.padding, self.dilation, groups)
        return y + self["bias"] if "bias" in self else y


class Conv1d(_Conv):
    """Convolution over sequences.

    Args:
        in_channels (int): channels of the input.
        out_channels (int): channels of the output.
        kernel_size (int): length of the filters.
        stride (int): step of the filters. Default: ``1``.
        padding (int): zeros added at both ends. Default: ``0``.
        dilation (int): distance of the filter's taps. Default: ``1``.
        groups (int): groups of channels that are kept apart. Default: ``1``.
        bias (bool): whether to add a learned bias. Default: ``True``.

    Raises:
        ValueError: when sizes and groups do not fit, or, in a call, the input is not ``NLC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Conv1d(3, 8, 5, padding=2)(mx.ones((2, 10, 3))).shape
        (2, 10, 8)
    """

    spatial = 1

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
    ):
        super().__init__()
        self._build(in_channels, out_channels, (kernel_size,), groups, bias)
        self.padding = padding
        self.dilation = dilation
        self.stride = stride
        self.groups = groups


class Conv2d(_Conv):
    """Convolution over images.

    Args:
        in_channels (int): channels of the input.
        out_channels (int): channels of the output.
        kernel_size (int or tuple): size of the filters.
        stride (int or tuple): step of the filters. Default: ``1``.
        padding (int or tuple): zeros added on both sides. Default: ``0``.
        dilation (int or tuple): distance of the filter's taps. Default: ``1``.
        groups (int): groups of channels that are kept apart. Default: ``1``.
        bias (bool): whether to add a learned bias. Default: ``True``.

    Raises:
        ValueError: when sizes and groups do not fit, or, in a call, the input is not ``NHWC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Conv2d(3, 8, 3, stride=2)(mx.ones((2, 9, 9, 3))).shape
        (2, 4, 4, 8)
    """

    spatial = 2

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
    ):
        super().__init__()
        self._build(in_channels, out_channels, spread(kernel_size, 2), groups, bias)
        self.padding = spread(padding, 2)
        self.stride = spread(stride, 2)
        self.dilation = dilation
        self.groups = groups


class Conv3d(_Conv):
    """Convolution over volumes.

    Args:
        in_channels (int): channels of the input.
        out_channels (int): channels of the output.
        kernel_size (int or tuple): size of the filters.
        stride (int or tuple): step of the filters. Default: ``1``.
        padding (int or tuple): zeros added on both sides. Default: ``0``.
        dilation (int or tuple): distance of the filter's taps. Default: ``1``.
        bias (bool): whether to add a learned bias. Default: ``True``.

    Raises:
        ValueError: when a size is below one, or, in a call, the input is not ``NDHWC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Conv3d(1, 4, 3)(mx.ones((2, 5, 5, 5, 1))).shape
        (2, 3, 3, 3, 4)
    """

    spatial = 3

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, bias=True
    ):
        super().__init__()
        self._build(in_channels, out_channels, spread(kernel_size, 3), 1, bias)
        self.padding = spread(padding, 3)
        self.stride = spread(stride, 3)
        self.dilation = dilation
