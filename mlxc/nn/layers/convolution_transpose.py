"""Transposed convolutions over one, two or three spatial axes, channels last.

Rules: those of `convolution`; weights are stored [outputs, *kernel, inputs]. Source: Dumoulin,
Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4.
"""

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module
from mlxc.nn.layers.convolution import check_input, initial_weight, spread


class _ConvTranspose(Module):
    """What the transposed convolutions share; `spatial` is the number of their spatial axes."""

    spatial = 0

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        output_padding=0,
        bias=True,
    ):
        super().__init__()
        name = type(self).__name__
        _checks.positive(name, in_channels=in_channels, out_channels=out_channels)
        kernel = spread(kernel_size, self.spatial)
        for size in kernel:
            _checks.positive(name, kernel_size=size)
        self.weight = initial_weight(out_channels, kernel, in_channels)
        if bias:
            self.bias = mx.zeros((out_channels,))
        flat = self.spatial == 1
        self.padding = padding if flat else spread(padding, self.spatial)
        self.stride = stride if flat else spread(stride, self.spatial)
        self.dilation = dilation
        self.output_padding = output_padding if flat else spread(output_padding, self.spatial)

    def _extra_repr(self):
        outputs, *kernel, inputs = self.weight.shape
        kernel = kernel[0] if self.spatial == 1 else tuple(kernel)
        return (
            f"{inputs}, {outputs}, kernel_size={kernel}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, "
            f"output_padding={self.output_padding}, bias={'bias' in self}"
        )

    def __call__(self, x):
        weight = self["weight"]
        check_input(type(self).__name__, x, self.spatial, weight.shape[-1], weight)
        functions = (mx.conv_transpose1d, mx.conv_transpose2d, mx.conv_transpose3d)
        y = functions[self.spatial - 1](
            x, weight, self.stride, self.padding, self.dilation, self.output_padding
        )
        return y + self["bias"] if "bias" in self else y


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over sequences.

    Args:
        in_channels (int): channels of the input.
        out_channels (int): channels of the output.
        kernel_size (int): length of the filters.
        stride (int): step of the filters in the output. Default: ``1``.
        padding (int): entries cut off at both ends of the output. Default: ``0``.
        dilation (int): distance of the filter's taps. Default: ``1``.
        output_padding (int): entries added at the end of the output. Default: ``0``.
        bias (bool): whether to add a learned bias. Default: ``True``.

    Raises:
        ValueError: when a size is below one, or, in a call, the input is not ``NLC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.ConvTranspose1d(3, 8, 4, stride=2)(mx.ones((2, 5, 3))).shape
        (2, 12, 8)
    """

    spatial = 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over images.

    Args:
        in_channels (int): channels of the input.
        out_channels (int): channels of the output.
        kernel_size (int or tuple): size of the filters.
        stride (int or tuple): step of the filters in the output. Default: ``1``.
        padding (int or tuple): entries cut off on both sides of the output. Default: ``0``.
        dilation (int or tuple): distance of the filter's taps. Default: ``1``.
        output_padding (int or tuple): entries added at one side of the output. Default: ``0``.
        bias (bool): whether to add a learned bias. Default: ``True``.

    Raises:
        ValueError: when a size is below one, or, in a call, the input is not ``NHWC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.ConvTranspose2d(3, 8, 2, stride=2)(mx.ones((1, 4, 4, 3))).shape
        (1, 8, 8, 8)
    """

    spatial = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over volumes.

    Args:
        in_channels (int): channels of the input.
        out_channels (int): channels of the output.
        kernel_size (int or tuple): size of the filters.
        stride (int or tuple): step of the filters in the output. Default: ``1``.
        padding (int or tuple): entries cut off on both sides of the output. Default: ``0``.
        dilation (int or tuple): distance of the filter's taps. Default: ``1``.
        output_padding (int or tuple): entries added at one side of the output. Default: ``0``.
        bias (bool): whether to add a learned bias. Default: ``True``.

    Raises:
        ValueError: when a size is below one, or, in a call, the input is not ``NDHWC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.ConvTranspose3d(1, 2, 2, stride=2)(mx.ones((1, 3, 3, 3, 1))).shape
        (1, 6, 6, 6, 2)
    """

    spatial = 3
