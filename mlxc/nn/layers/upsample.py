"""Upsampling of sequences, images and volumes: nearest, linear and cubic.

Rules: axes are treated one after the other (the filters are separable); along an axis, every
output is a weighted sum of a few inputs, so that any mode is a table of indices and weights.
Sources: Keys, "Cubic convolution interpolation", 1981, eq. 4, with its free constant as `a`;
for antialiasing, the kernel is widened by the factor of reduction and its weights normalised.
"""

import math

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module


def _triangle(t):
    return mx.maximum(1 - mx.abs(t), 0)


def _cubic(a):
    """Keys' kernel with constant `a`."""

    def kernel(t):
        t = mx.abs(t)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        return mx.where(t <= 1, near, mx.where(t < 2, far, 0))

    return kernel


def _positions(size, out, scale, align_corners):
    """Where the outputs lie in the coordinates of the inputs, shape (out,)."""
    outputs = mx.arange(out).astype(mx.float32)
    if align_corners:
        return outputs * ((size - 1) / max(out - 1, 1))
    # The middle of the outputs lies on the middle of the inputs, whatever rounding did to `out`.
    return outputs * (1 / scale) + ((size - 1) - (out - 1) / scale) / 2


def _taps(size, out, scale, align_corners, kernel, radius):
    """Indices and weights, both (out, taps), of an interpolation whose edge values go on."""
    x = _positions(size, out, scale, align_corners)
    if radius == 1:
        x = mx.clip(x, 0, size - 1)
    first = mx.floor(x) - (radius - 1)
    index = mx.expand_dims(first, 1) + mx.arange(2 * radius).astype(mx.float32)
    weight = kernel(mx.expand_dims(x, 1) - index)
    return mx.clip(index, 0, size - 1).astype(mx.int32), weight


def _antialiased_taps(size, out, scale, kernel, radius):
    """Indices and weights, both (out, taps), of a widened kernel that stops at the edges."""
    x = mx.expand_dims(_positions(size, out, scale, False), 1)
    support = radius / scale
    count = 2 * math.ceil(support) + 1
    index = mx.floor(x) - math.ceil(support) + mx.arange(count).astype(mx.float32)
    weight = kernel((x - index) * scale)
    weight = mx.where((index >= 0) & (index <= size - 1), weight, 0)
    weight = weight / mx.sum(weight, axis=1, keepdims=True)
    return mx.clip(index, 0, size - 1).astype(mx.int32), weight


def _weighted_sum(x, axis, index, weight):
    """Combine the entries `index` of an axis with `weight`, both (out, taps)."""
    shape = [1] * x.ndim
    shape[axis] = index.shape[0]
    total = None
    for k in range(index.shape[1]):
        term = mx.take(x, index[:, k], axis=axis) * mx.reshape(weight[:, k], shape)
        total = term if total is None else total + term
    return total


def _interpolate(x, scale_factor, align_corners, antialias, kernel, radius):
    for axis, scale in enumerate(scale_factor, start=1):
        size = x.shape[axis]
        out = int(scale * size)
        if antialias and scale < 1:
            index, weight = _antialiased_taps(size, out, scale, kernel, radius)
        else:
            index, weight = _taps(size, out, scale, align_corners, kernel, radius)
            if antialias and radius > 1:
                inside = _inside(size, out, scale, radius)
                weight = mx.where(inside, weight, 0)
                weight = weight / mx.sum(weight, axis=1, keepdims=True)
        x = _weighted_sum(x, axis, index, weight)
    return x


def _inside(size, out, scale, radius):
    """Which taps of `_taps` lie within the input."""
    first = mx.floor(_positions(size, out, scale, False)) - (radius - 1)
    index = mx.expand_dims(first, 1) + mx.arange(2 * radius).astype(mx.float32)
    return (index >= 0) & (index <= size - 1)


def upsample_nearest(x, scale_factor):
    """Repeat or drop entries.

    Args:
        x (array): shape ``(batch, *spatial, channels)``.
        scale_factor (tuple of float): one for each spatial axis.

    Returns:
        array: the resized array, of the same dtype.
    """
    for axis, scale in enumerate(scale_factor, start=1):
        size = x.shape[axis]
        out = int(scale * size)
        if scale == int(scale) and scale >= 1:
            x = mx.repeat(x, int(scale), axis=axis)
            continue
        # Integers, not floats: the position decides which entry is taken.
        if out > size:
            nearest = [(2 * i + 1) * size // (2 * out) for i in range(out)]
        else:
            nearest = [i * size // out for i in range(out)]
        x = mx.take(x, mx.array(nearest, dtype=mx.int32), axis=axis)
    return x


def upsample_linear(x, scale_factor, align_corners=False, antialias=False):
    """Interpolate linearly along every spatial axis.

    Args:
        x (array): shape ``(batch, *spatial, channels)``.
        scale_factor (tuple of float): one for each spatial axis.
        align_corners (bool): whether the outermost entries stay where they are.
        antialias (bool): whether to average over what a reduction would skip.

    Returns:
        array: the resized array.
    """
    _check_antialias(align_corners, antialias)
    return _interpolate(x, scale_factor, align_corners, antialias, _triangle, 1)


def upsample_cubic(x, scale_factor, align_corners=False, antialias=False):
    """Interpolate cubically along every spatial axis.

    Args:
        x (array): shape ``(batch, *spatial, channels)``.
        scale_factor (tuple of float): one for each spatial axis.
        align_corners (bool): whether the outermost entries stay where they are.
        antialias (bool): whether to average over what a reduction would skip, with Keys'
            constant -0.5 instead of -0.75.

    Returns:
        array: the resized array.
    """
    _check_antialias(align_corners, antialias)
    kernel = _cubic(-0.5 if antialias else -0.75)
    return _interpolate(x, scale_factor, align_corners, antialias, kernel, 2)


def _check_antialias(align_corners, antialias):
    if antialias and align_corners:
        raise ValueError(
            "[Upsample] antialias=True with align_corners=True is not supported. "
            "Use align_corners=False for antialiased interpolation."
        )


class Upsample(Module):
    """Resize the spatial axes, all but the first and the last.

    Args:
        scale_factor (float or tuple): for all spatial axes, or for each.
        mode (str): ``"nearest"``, ``"linear"`` or ``"cubic"``. Default: ``"nearest"``.
        align_corners (bool): whether the outermost entries stay where they are.
            Default: ``False``.
        antialias (bool): whether to average over what a reduction would skip.
            Default: ``False``.

    Raises:
        ValueError: for other modes, for combinations that do not exist, and, in a call, when
            the input has no spatial axis or there is not one factor for each.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> x = mx.array([1.0, 3.0]).reshape(1, 2, 1)
        >>> nn.Upsample(2)(x).flatten().tolist()
        [1.0, 1.0, 3.0, 3.0]
        >>> nn.Upsample(2, mode="linear")(x).flatten().tolist()
        [1.0, 1.5, 2.5, 3.0]
    """

    def __init__(self, scale_factor, mode="nearest", align_corners=False, antialias=False):
        super().__init__()
        if mode not in ("nearest", "linear", "cubic"):
            raise ValueError(f"[Upsample] Got unsupported upsampling algorithm: {mode}")
        if antialias and mode == "nearest":
            raise ValueError(
                "[Upsample] Antialiasing is not supported for nearest neighbor upsampling"
            )
        _check_antialias(align_corners, antialias)
        if isinstance(scale_factor, (list, tuple)):
            self.scale_factor = tuple(map(float, scale_factor))
        else:
            self.scale_factor = float(scale_factor)
        factors = self.scale_factor
        for factor in factors if isinstance(factors, tuple) else (factors,):
            if not (math.isfinite(factor) and factor > 0):
                raise ValueError(f"[Upsample] scale_factor must be positive, got {scale_factor}")
        self.mode = mode
        self.align_corners = align_corners
        self.antialias = antialias

    def _extra_repr(self):
        return (
            f"scale_factor={self.scale_factor}, mode={self.mode!r}, "
            f"align_corners={self.align_corners}" + (", antialias=True" if self.antialias else "")
        )

    def __call__(self, x):
        _checks.an_array("Upsample", x)
        spatial = x.ndim - 2
        if spatial < 1:
            raise ValueError(
                "[Upsample] The input should have at least 1 spatial dimension which means it "
                f"should be at least 3D but {x.ndim}D was provided"
            )
        scales = self.scale_factor
        if not isinstance(scales, tuple):
            scales = (scales,) * spatial
        if len(scales) != spatial:
            raise ValueError(
                "[Upsample] One scale per spatial dimension is required but scale_factor="
                f"{scales} and the number of spatial dimensions were {spatial}"
            )
        if any(int(s * n) < 1 for s, n in zip(scales, x.shape[1:-1], strict=True)):
            raise ValueError(
                f"[Upsample] scale_factor={scales} leaves nothing of an input of shape {x.shape}"
            )
        if self.mode == "nearest":
            return upsample_nearest(x, scales)
        resize = upsample_linear if self.mode == "linear" else upsample_cubic
        return resize(x, scales, self.align_corners, self.antialias)
