"""Dropout: zero random entries, or random channels, while training.

Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", JMLR 2014, in the
"inverted" form that scales by 1/(1-p) while training; for channels: Tompson, Goroshin, Jain,
LeCun, Bregler, "Efficient object localization using convolutional networks", CVPR 2015.
"""

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module


class _Dropout(Module):
    """What the three have in common; a subclass says which entries share a coin."""

    def __init__(self, p=0.5):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"The dropout probability {p} is not in [0, 1)")
        self._p_1 = 1 - p

    def _extra_repr(self):
        return f"p={1 - self._p_1}"

    def _mask_shape(self, x):
        raise NotImplementedError

    def __call__(self, x):
        _checks.an_array(type(self).__name__, x)
        shape = self._mask_shape(x)
        if self._p_1 == 1 or not self.training:
            return x
        mask = mx.random.bernoulli(self._p_1, shape)
        return mask * x * (1 / self._p_1)  # the number last: it takes the dtype of x


class Dropout(_Dropout):
    """Zero entries with probability ``p`` while training and scale the others by 1/(1-p).

    Args:
        p (float): probability of a zero, in [0, 1). Default: ``0.5``.

    Raises:
        ValueError: when ``p`` is out of range.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Dropout(0.5).eval()(mx.ones((3,))).tolist()
        [1.0, 1.0, 1.0]
    """

    def _mask_shape(self, x):
        return x.shape


def _channel_mask_shape(x, spatial):
    """One coin for each channel, and for each sample when the input has a batch axis."""
    if x.ndim not in (spatial + 1, spatial + 2):
        raise ValueError(
            f"Received input with {x.ndim} dimensions. "
            f"Expected {spatial + 1} or {spatial + 2} dimensions."
        )
    batch = x.shape[: x.ndim - spatial - 1]
    return (*batch, *[1] * spatial, x.shape[-1])


class Dropout2d(_Dropout):
    """Zero whole channels of images with probability ``p`` while training.

    Args:
        p (float): probability that a channel is zeroed, in [0, 1). Default: ``0.5``.

    Raises:
        ValueError: when ``p`` is out of range, or the input is not ``NHWC`` or ``HWC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Dropout2d(0.5)(mx.ones((2, 4, 4, 3))).shape
        (2, 4, 4, 3)
    """

    def _mask_shape(self, x):
        return _channel_mask_shape(x, 2)


class Dropout3d(_Dropout):
    """Zero whole channels of volumes with probability ``p`` while training.

    Args:
        p (float): probability that a channel is zeroed, in [0, 1). Default: ``0.5``.

    Raises:
        ValueError: when ``p`` is out of range, or the input is not ``NDHWC`` or ``DHWC``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Dropout3d(0.5)(mx.ones((2, 4, 4, 4, 3))).shape
        (2, 4, 4, 4, 3)
    """

    def _mask_shape(self, x):
        return _channel_mask_shape(x, 3)
