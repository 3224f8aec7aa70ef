"""Activation functions, each as a function and as a module.

Rules: functions are elementwise unless they take an axis, keep floating dtypes, and have finite
values and derivatives wherever the mathematics has: exponentials only ever see arguments that
cannot overflow, also in the branch that is not taken (its derivative would be inf · 0 = NaN).
"""

import math

import mlxc.core as mx
from mlxc.nn.layers._checks import an_array, positive
from mlxc.nn.layers.base import Module


def _negative_part(x):
    """min(x, 0) whose derivative at 0 is 1, that of the branch that takes x = 0."""
    return mx.where(x > 0, 0, x)


def sigmoid(x):
    """Logistic sigmoid ``1 / (1 + exp(-x))``.

    Example:
        >>> sigmoid(mx.array([0.0])).tolist()
        [0.5]
    """
    return mx.sigmoid(x)


def tanh(x):
    """Hyperbolic tangent.

    Example:
        >>> tanh(mx.array([0.0])).tolist()
        [0.0]
    """
    return mx.tanh(x)


def relu(x):
    """Rectified linear unit ``max(x, 0)`` (Nair, Hinton, ICML 2010).

    Example:
        >>> relu(mx.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return mx.maximum(x, 0)


def relu2(x):
    """Squared rectified linear unit ``max(x, 0)²`` (So et al., "Primer", 2021).

    Example:
        >>> relu2(mx.array([-1.0, 3.0])).tolist()
        [0.0, 9.0]
    """
    return mx.square(mx.maximum(x, 0))


def relu6(x):
    """``min(max(x, 0), 6)`` (Krizhevsky, 2010).

    Example:
        >>> relu6(mx.array([-1.0, 7.0])).tolist()
        [0.0, 6.0]
    """
    return mx.minimum(mx.maximum(x, 0), 6.0)


def leaky_relu(x, negative_slope=0.01):
    """``max(x, negative_slope · x)`` (Maas, Hannun, Ng, 2013).

    Example:
        >>> leaky_relu(mx.array([-2.0, 2.0]), 0.5).tolist()
        [-1.0, 2.0]
    """
    return mx.maximum(negative_slope * x, x)


def prelu(x, alpha):
    """``max(x, 0) + alpha · min(x, 0)`` with a learned alpha (He, Zhang, Ren, Sun, ICCV 2015).

    Args:
        x (array): the input.
        alpha (array): broadcast against ``x``.

    Raises:
        TypeError: If ``x`` or ``alpha`` is no array.
        ValueError: If ``alpha`` does not broadcast to the shape of ``x``.

    Example:
        >>> prelu(mx.array([-2.0, 2.0]), mx.array([0.25])).tolist()
        [-0.5, 2.0]
    """
    an_array("prelu", x)
    if not isinstance(alpha, (mx.array, int, float)):
        kind = type(alpha).__name__
        raise TypeError(f"[prelu] alpha is a {kind}; an array or a number would be right")
    return mx.maximum(0, x) + alpha * mx.minimum(0, x)


def elu(x, alpha=1.0):
    """``x`` where positive, else ``alpha · (exp(x) - 1)`` (Clevert et al., ICLR 2016, eq. 15).

    Example:
        >>> elu(mx.array([0.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return mx.where(x > 0, x, alpha * mx.expm1(_negative_part(x)))


def celu(x, alpha=1.0):
    """``max(x, 0) + alpha · (exp(min(x, 0) / alpha) - 1)`` (Barron, 2017, eq. 2).

    Example:
        >>> celu(mx.array([0.0, 2.0]), 2.0).tolist()
        [0.0, 2.0]
    """
    return mx.where(x > 0, x, alpha * mx.expm1(_negative_part(x) / alpha))


def selu(x):
    """Self-normalising ELU: ``1.0507 · elu(x, 1.67326)`` (Klambauer et al., NIPS 2017, eq. 2).

    Example:
        >>> selu(mx.array([0.0])).tolist()
        [0.0]
    """
    return elu(x, 1.67326) * 1.0507


def silu(x):
    """``x · sigmoid(x)``, also called swish (Elfwing, Uchibe, Doya, 2017).

    Example:
        >>> silu(mx.array([0.0])).tolist()
        [0.0]
    """
    return x * mx.sigmoid(x)


def mish(x):
    """``x · tanh(softplus(x))`` (Misra, 2019).

    Example:
        >>> mish(mx.array([0.0])).tolist()
        [0.0]
    """
    return x * mx.tanh(softplus(x))


def gelu(x):
    """``x · Φ(x)`` with the normal distribution function Φ (Hendrycks, Gimpel, 2016).

    Example:
        >>> round(gelu(mx.array(1.0)).item(), 4)
        0.8413
    """
    return x * (1 + mx.erf(x / math.sqrt(2))) / 2


def gelu_approx(x):
    """GELU by a hyperbolic tangent, within 0.0005 on [-6, 6] (Hendrycks, Gimpel, 2016, sec. 2).

    Example:
        >>> round(gelu_approx(mx.array(1.0)).item(), 3)
        0.841
    """
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
    return 0.5 * x * (1 + mx.tanh(inner))


def gelu_fast_approx(x):
    """GELU by ``x · sigmoid(1.702 x)``, within 0.015 on [-6, 6] (Hendrycks, Gimpel, 2016, sec. 2).

    Example:
        >>> round(gelu_fast_approx(mx.array(1.0)).item(), 3)
        0.846
    """
    return x * mx.sigmoid(1.702 * x)


def glu(x, axis=-1):
    """Gated linear unit: the halves a, b of an axis give ``a · sigmoid(b)`` (Dauphin et al., 2017).

    Args:
        x (array): an even number of entries along ``axis``.
        axis (int): the axis to halve.

    Raises:
        ValueError: when the axis has an odd number of entries.

    Example:
        >>> glu(mx.array([2.0, 0.0])).tolist()
        [1.0]
    """
    a, b = mx.split(x, 2, axis=axis)
    return a * mx.sigmoid(b)


def hardswish(x):
    """``x · min(max(x + 3, 0), 6) / 6`` (Howard et al., "MobileNetV3", 2019, sec. 5.2).

    Example:
        >>> hardswish(mx.array([0.0, 3.0])).tolist()
        [0.0, 3.0]
    """
    return mx.multiply(x, mx.minimum(mx.maximum(mx.add(x, 3), 0), 6)) / 6


def hard_tanh(x, min_val=-1.0, max_val=1.0):
    """``max(min(x, max_val), min_val)`` (Collobert, 2004).

    Example:
        >>> hard_tanh(mx.array([-5.0, 0.5])).tolist()
        [-1.0, 0.5]
    """
    return mx.minimum(mx.maximum(x, min_val), max_val)


def hard_shrink(x, lambd=0.5):
    """``x`` outside of [-lambd, lambd], else 0 (Donoho, Johnstone, 1994).

    Example:
        >>> hard_shrink(mx.array([0.2, 2.0])).tolist()
        [0.0, 2.0]
    """
    return mx.where(mx.abs(x) > lambd, x, 0)


def softshrink(x, lambd=0.5):
    """``x`` moved towards 0 by ``lambd``, and 0 within (Donoho, 1995).

    Example:
        >>> softshrink(mx.array([0.2, 2.0])).tolist()
        [0.0, 1.5]
    """
    return mx.where(mx.abs(x) > lambd, x - mx.sign(x) * lambd, 0)


def softsign(x):
    """``x / (1 + |x|)`` (Glorot, Bengio, AISTATS 2010).

    Example:
        >>> softsign(mx.array([1.0])).tolist()
        [0.5]
    """
    return x / (1 + mx.abs(x))


def softplus(x):
    """``log(1 + exp(x))`` without overflow (Dugas et al., 2001).

    Example:
        >>> softplus(mx.array([1000.0])).tolist()
        [1000.0]
    """
    return mx.logaddexp(x, 0)


def log_sigmoid(x):
    """``log(sigmoid(x)) = -softplus(-x)``.

    Example:
        >>> log_sigmoid(mx.array([-1000.0])).tolist()
        [-1000.0]
    """
    return -softplus(-x)


def softmax(x, axis=-1):
    """``exp(x) / sum(exp(x))`` along an axis.

    Example:
        >>> softmax(mx.array([0.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    return mx.softmax(x, axis=axis)


def softmin(x, axis=-1):
    """``exp(-x) / sum(exp(-x))`` along an axis.

    Example:
        >>> softmin(mx.array([0.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    return mx.softmax(-x, axis=axis)


def log_softmax(x, axis=-1):
    """``x - log(sum(exp(x)))`` along an axis.

    Example:
        >>> round(log_softmax(mx.array([0.0, 0.0]))[0].item(), 4)
        -0.6931
    """
    return x - mx.logsumexp(x, axis=axis, keepdims=True)


def step(x, threshold=0.0):
    """1 where ``x >= threshold``, else 0, as int32.

    Example:
        >>> step(mx.array([-1.0, 0.0])).tolist()
        [0, 1]
    """
    return mx.where(x >= threshold, 1, 0)


class _Activation(Module):
    """A module without parameters that calls the function `_function`."""

    _function = None

    def __call__(self, x):
        return type(self)._function(x)


class Sigmoid(_Activation):
    """:func:`sigmoid` as a module."""

    _function = staticmethod(sigmoid)


class Tanh(_Activation):
    """:func:`tanh` as a module."""

    _function = staticmethod(tanh)


class ReLU(_Activation):
    """:func:`relu` as a module."""

    _function = staticmethod(relu)


class ReLU2(_Activation):
    """:func:`relu2` as a module."""

    _function = staticmethod(relu2)


class ReLU6(_Activation):
    """:func:`relu6` as a module."""

    _function = staticmethod(relu6)


class SELU(_Activation):
    """:func:`selu` as a module."""

    _function = staticmethod(selu)


class SiLU(_Activation):
    """:func:`silu` as a module."""

    _function = staticmethod(silu)


class Mish(_Activation):
    """:func:`mish` as a module."""

    _function = staticmethod(mish)


class Hardswish(_Activation):
    """:func:`hardswish` as a module."""

    _function = staticmethod(hardswish)


class HardTanh(_Activation):
    """:func:`hard_tanh` as a module."""

    _function = staticmethod(hard_tanh)


class Softsign(_Activation):
    """:func:`softsign` as a module."""

    _function = staticmethod(softsign)


class Softplus(_Activation):
    """:func:`softplus` as a module."""

    _function = staticmethod(softplus)


class LogSigmoid(_Activation):
    """:func:`log_sigmoid` as a module."""

    _function = staticmethod(log_sigmoid)


class Softmax(_Activation):
    """:func:`softmax` over the last axis as a module."""

    _function = staticmethod(softmax)


class Softmin(_Activation):
    """:func:`softmin` over the last axis as a module."""

    _function = staticmethod(softmin)


class LogSoftmax(_Activation):
    """:func:`log_softmax` over the last axis as a module."""

    _function = staticmethod(log_softmax)


class LeakyReLU(Module):
    """:func:`leaky_relu` as a module.

    Args:
        negative_slope (float): the slope of the negative side.
    """

    def __init__(self, negative_slope=0.01):
        super().__init__()
        self._negative_slope = negative_slope

    def __call__(self, x):
        return leaky_relu(x, self._negative_slope)


class PReLU(Module):
    """:func:`prelu` with a learned alpha.

    Args:
        num_parameters (int): one alpha for all features, or one for each. Default: ``1``.
        init (float): the initial alpha. Default: ``0.25``.

    Raises:
        TypeError: If ``num_parameters`` is no integer or ``init`` no number.
        ValueError: If ``num_parameters`` is less than 1.
    """

    def __init__(self, num_parameters=1, init=0.25):
        super().__init__()
        positive("PReLU", num_parameters=num_parameters)
        try:
            alpha = float(init)
        except (TypeError, ValueError):
            kind = type(init).__name__
            raise TypeError(f"[PReLU] init is a {kind}; a number would be right") from None
        self.weight = mx.full((num_parameters,), alpha)

    def __call__(self, x):
        return prelu(x, self.weight)


class ELU(Module):
    """:func:`elu` as a module.

    Args:
        alpha (float): the limit of the negative side is ``-alpha``.
    """

    def __init__(self, alpha=1.0):
        super().__init__()
        self._alpha = alpha

    def __call__(self, x):
        return elu(x, self._alpha)


class CELU(Module):
    """:func:`celu` as a module.

    Args:
        alpha (float): the limit of the negative side is ``-alpha``.
    """

    def __init__(self, alpha=1.0):
        super().__init__()
        self._alpha = alpha

    def __call__(self, x):
        return celu(x, self._alpha)


class GLU(Module):
    """:func:`glu` as a module.

    Args:
        axis (int): the axis to halve.
    """

    def __init__(self, axis=-1):
        super().__init__()
        self.axis = axis

    def __call__(self, x):
        return glu(x, axis=self.axis)


class HardShrink(Module):
    """:func:`hard_shrink` as a module.

    Args:
        lambd (float): half the width of the zero zone.
    """

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def __call__(self, x):
        return hard_shrink(x, self.lambd)


class Softshrink(Module):
    """:func:`softshrink` as a module.

    Args:
        lambd (float): half the width of the zero zone.
    """

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def __call__(self, x):
        return softshrink(x, self.lambd)


class Step(Module):
    """:func:`step` as a module.

    Args:
        threshold (float): where the step is.
    """

    def __init__(self, threshold=0.0):
        super().__init__()
        self.threshold = threshold

    def __call__(self, x):
        return step(x, self.threshold)


_GELUS = {"none": gelu, "precise": gelu_approx, "tanh": gelu_approx, "fast": gelu_fast_approx}


class GELU(Module):
    """:func:`gelu`, or one of its approximations, as a module.

    Args:
        approx (str): ``"none"``, ``"precise"`` or ``"tanh"`` (:func:`gelu_approx`), or
            ``"fast"`` (:func:`gelu_fast_approx`).

    Raises:
        ValueError: for any other ``approx``.
    """

    def __init__(self, approx="none"):
        super().__init__()
        if approx not in _GELUS:
            raise ValueError(
                f"The approximation should be in {list(_GELUS)} but {approx!r} was given"
            )
        self._approx = approx

    def __call__(self, x):
        return _GELUS[self._approx](x)
