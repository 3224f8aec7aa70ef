"""Normalisation layers: subtract a mean, divide by a deviation, scale and shift.

Rules: statistics are taken in float32 for narrow dtypes and the result has the input's dtype;
``eps`` keeps every division finite.
"""

from math import prod

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module


def _affine(layer, y):
    """Scale and shift by the layer's weight and bias, where it has them."""
    return layer.weight * y + layer.bias if "weight" in layer else y


class InstanceNorm(Module):
    """Normalise each channel of each sample over space (Ulyanov et al., 2016, eq. 4).

    Args:
        dims (int): number of channels.
        eps (float): added to the variance. Default: ``1e-5``.
        affine (bool): whether to scale and shift by learned values. Default: ``False``.

    Raises:
        ValueError: in a call, when the input has fewer than 3 axes or other channels.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.InstanceNorm(16)(mx.ones((8, 4, 4, 16))).shape
        (8, 4, 4, 16)
    """

    def __init__(self, dims, eps=1e-5, affine=False):
        super().__init__()
        _checks.positive("InstanceNorm", dims=dims)
        if affine:
            self.weight = mx.ones((dims,))
            self.bias = mx.zeros((dims,))
        self.dims = dims
        self.eps = eps

    def _extra_repr(self):
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x):
        _checks.last_axis("InstanceNorm", x, self.dims, "that is its dims")
        if x.ndim < 3:
            raise ValueError(
                "InstanceNorm expects inputs with at least 3 dimensions (N, ..., C) but the "
                f"input has {x.ndim} dimensions."
            )
        axes = tuple(range(1, x.ndim - 1))
        mean = mx.mean(x, axis=axes, keepdims=True)
        variance = mx.var(x, axis=axes, keepdims=True)
        return _affine(self, (x - mean) * mx.rsqrt(variance + self.eps))


class LayerNorm(Module):
    """Normalise the last axis (Ba, Kiros, Hinton, 2016, eq. 3 and 4).

    Args:
        dims (int): size of the last axis.
        eps (float): added to the variance. Default: ``1e-5``.
        affine (bool): whether to scale by learned values. Default: ``True``.
        bias (bool): whether to shift too. Default: ``True``.

    Raises:
        ValueError: in a call, when the last axis has another size.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.LayerNorm(4)(mx.ones((2, 4))).tolist()[0]
        [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, dims, eps=1e-5, affine=True, bias=True):
        super().__init__()
        _checks.positive("LayerNorm", dims=dims)
        if affine:
            self.weight = mx.ones((dims,))
            if bias:
                self.bias = mx.zeros((dims,))
        self.eps = eps
        self.dims = dims

    def _extra_repr(self):
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x):
        _checks.last_axis("LayerNorm", x, self.dims, "that is its dims")
        return mx.fast.layer_norm(x, self.get("weight"), self.get("bias"), self.eps)


class RMSNorm(Module):
    """Divide by the root mean square of the last axis (Zhang, Sennrich, 2019, eq. 4).

    Args:
        dims (int): size of the last axis.
        eps (float): added to the mean square. Default: ``1e-5``.

    Raises:
        ValueError: in a call, when the last axis has another size.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.RMSNorm(4)(mx.ones((2, 4))).shape
        (2, 4)
    """

    def __init__(self, dims, eps=1e-5):
        super().__init__()
        _checks.positive("RMSNorm", dims=dims)
        self.weight = mx.ones((dims,))
        self.eps = eps

    def _extra_repr(self):
        return f"{self.weight.shape[0]}, eps={self.eps}"

    def __call__(self, x):
        weight = self["weight"]
        _checks.last_axis("RMSNorm", x, weight.shape[0], "that is its dims")
        return mx.fast.rms_norm(x, weight, self.eps)


class GroupNorm(Module):
    """Normalise groups of channels of each sample over space (Wu, He, 2018, eq. 7).

    Args:
        num_groups (int): number of groups.
        dims (int): number of channels.
        eps (float): added to the variance. Default: ``1e-5``.
        affine (bool): whether to scale and shift by learned values. Default: ``True``.
        pytorch_compatible (bool): whether a group is a run of neighbouring channels, as in
            PyTorch; otherwise channel c is in group ``c % num_groups``. Default: ``False``.

    Raises:
        ValueError: when the groups do not divide ``dims``, or, in a call, the channels differ.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.GroupNorm(2, 8)(mx.ones((3, 5, 5, 8))).shape
        (3, 5, 5, 8)
    """

    def __init__(self, num_groups, dims, eps=1e-5, affine=True, pytorch_compatible=False):
        super().__init__()
        _checks.positive("GroupNorm", num_groups=num_groups, dims=dims)
        if dims % num_groups:
            raise ValueError(
                f"The number of features ({dims}) must be evenly divisible by the number of "
                f"groups ({num_groups})."
            )
        if affine:
            self.bias = mx.zeros((dims,))
            self.weight = mx.ones((dims,))
        self.num_groups = num_groups
        self.dims = dims
        self.eps = eps
        self.pytorch_compatible = pytorch_compatible

    def _extra_repr(self):
        return (
            f"{self.num_groups}, {self.dims}, eps={self.eps}, affine={'weight' in self}, "
            f"pytorch_compatible={self.pytorch_compatible}"
        )

    def __call__(self, x):
        _checks.last_axis("GroupNorm", x, self.dims, "that is its dims")
        groups, size = self.num_groups, self.dims // self.num_groups
        shape = x.shape
        if x.ndim < 2:
            raise ValueError(f"[GroupNorm] expected at least 2 dimensions (N, C), got {shape}")
        batch, space = shape[0], prod(shape[1:-1])
        split = (groups, size) if self.pytorch_compatible else (size, groups)
        axes = (1, 3) if self.pytorch_compatible else (1, 2)
        y = mx.reshape(x, (batch, space, *split))
        mean = mx.mean(y, axis=axes, keepdims=True)
        variance = mx.var(y, axis=axes, keepdims=True)
        y = mx.reshape((y - mean) * mx.rsqrt(variance + self.eps), shape)
        return _affine(self, y)


class BatchNorm(Module):
    """Normalise each channel over the batch and space (Ioffe, Szegedy, 2015, algorithm 1).

    While training it uses the statistics of the batch and averages them, with Bessel's
    correction for the variance, into ``running_mean`` and ``running_var``, which it uses
    afterwards. Those two are never trained.

    Args:
        num_features (int): number of channels.
        eps (float): added to the variance. Default: ``1e-5``.
        momentum (float): weight of a new batch in the running statistics. Default: ``0.1``.
        affine (bool): whether to scale and shift by learned values. Default: ``True``.
        track_running_stats (bool): whether to keep running statistics. Default: ``True``.

    Raises:
        ValueError: in a call, when the input is not ``NC``, ``NLC`` or ``NHWC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.BatchNorm(4)(mx.ones((5, 4))).shape
        (5, 4)
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True):
        super().__init__()
        _checks.positive("BatchNorm", num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = mx.ones((num_features,))
            self.bias = mx.zeros((num_features,))
        if track_running_stats:
            self.running_mean = mx.zeros((num_features,))
            self.running_var = mx.ones((num_features,))
            self.freeze(keys=["running_mean", "running_var"], recurse=False)

    def unfreeze(self, *args, **kwargs):
        """Thaw as :meth:`Module.unfreeze` does, but keep the running statistics frozen."""
        super().unfreeze(*args, **kwargs)
        if self.track_running_stats:
            self.freeze(keys=["running_mean", "running_var"], recurse=False)
        return self

    def _extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={'weight' in self}, track_running_stats={self.track_running_stats}"
        )

    def __call__(self, x):
        _checks.an_array("BatchNorm", x)
        if x.ndim not in (2, 3, 4):
            raise ValueError(
                f"Expected input tensor to have 2, 3 or 4 dimensions, but got {x.ndim}"
            )
        _checks.last_axis("BatchNorm", x, self.num_features, "that is its num_features")
        if self.training or not self.track_running_stats:
            axes = tuple(range(x.ndim - 1))
            mean, variance = mx.mean(x, axis=axes), mx.var(x, axis=axes)
            if self.training and self.track_running_stats:
                self._track(mean, variance, x.size // self.num_features)
        else:
            mean, variance = self.running_mean, self.running_var
        return _affine(self, (x - mean) * mx.rsqrt(variance + self.eps))

    def _track(self, mean, variance, count):
        # A single sample has no unbiased variance: it counts as it is, not as 0 / 0.
        unbiased = variance * (count / max(count - 1, 1))
        keep, new = 1 - self.momentum, self.momentum
        self.running_mean = keep * self.running_mean + new * mx.stop_gradient(mean)
        self.running_var = keep * self.running_var + new * mx.stop_gradient(unbiased)
