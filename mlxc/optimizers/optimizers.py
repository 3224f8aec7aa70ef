"""The optimisers: one class for each published rule.

Rules: `init_single` and `apply_single` are pure formulas on one array, in the notation of the
paper that the class cites; the learning rate is cast to the dtype of the gradient, so that half
precision parameters stay in half precision.
"""

import math

import mlxc.core as mx
from mlxc.optimizers.base import MultiOptimizer, Optimizer, clip_grad_norm

__all__ = [
    "SGD",
    "AdaDelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "MultiOptimizer",
    "Muon",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
]

# 2**-24: the smallest float16 above zero. A usual eps of 1e-8 would vanish, and 0 / 0 is NaN.
_LEAST_FLOAT16 = 2.0**-24


def _eps_for(eps, dtype):
    return max(eps, _LEAST_FLOAT16) if eps > 0 and dtype == mx.float16 else eps


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak, 1964; Sutskever et al., 2013).

    ``v' = momentum · v + (1 - dampening) · g``, ``w' = w - learning_rate · v'``; with Nesterov
    momentum ``w' = w - learning_rate · (g + momentum · v')``.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        momentum (float): of the average of gradients. Default: ``0``.
        weight_decay (float): added to the gradient as ``weight_decay · w``. Default: ``0``.
        dampening (float): of the momentum. Default: ``0``.
        nesterov (bool): whether to look ahead. Default: ``False``.

    Raises:
        ValueError: when Nesterov momentum has no momentum, or dampening.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> optim.SGD(0.5).apply_gradients({"w": mx.array([1.0])}, {"w": mx.array([2.0])})
        {'w': array([1.5], dtype=float32)}
    """

    def __init__(
        self, learning_rate, momentum=0.0, weight_decay=0.0, dampening=0.0, nesterov=False
    ):
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening.")
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dampening = dampening
        self.nesterov = nesterov

    def init_single(self, parameter, state):
        """Start the average of gradients at zero."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        rate = self.learning_rate.astype(gradient.dtype)
        if self.momentum <= 0:
            return parameter - rate * gradient
        v = self.momentum * state["v"]
        v = v + ((1 - self.dampening) * gradient if self.dampening > 0 else gradient)
        state["v"] = v
        step = gradient + self.momentum * v if self.nesterov else v
        return parameter - rate * step


class RMSprop(Optimizer):
    """Divide by the running root mean square (Tieleman, Hinton, lecture 6.5, 2012).

    ``v' = alpha · v + (1 - alpha) · g²``, ``w' = w - learning_rate · g / (sqrt(v') + eps)``.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        alpha (float): weight of the past. Default: ``0.99``.
        eps (float): added to the denominator. Default: ``1e-8``.

    Raises:
        ValueError: when ``alpha`` or ``eps`` is negative.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> w = optim.RMSprop(0.1).apply_gradients({"w": mx.array([1.0])}, {"w": mx.array([2.0])})
        >>> round(w["w"].item(), 4)
        1.0
    """

    def __init__(self, learning_rate, alpha=0.99, eps=1e-8):
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.alpha = alpha
        self.eps = eps
        if alpha < 0.0:
            raise ValueError(f"RMSprop alpha should be >=0, {alpha} was provided instead")
        if eps < 0.0:
            raise ValueError(f"RMSprop epsilon should be >0, {eps} was provided instead")

    def init_single(self, parameter, state):
        """Start the mean square at zero."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = self.alpha * state["v"] + (1 - self.alpha) * mx.square(gradient)
        state["v"] = v
        return parameter - rate * gradient / (mx.sqrt(v) + _eps_for(self.eps, gradient.dtype))


class Adagrad(Optimizer):
    """Divide by the root of the sum of all squares (Duchi, Hazan, Singer, JMLR 2011, fig. 1).

    ``v' = v + g²``, ``w' = w - learning_rate · g / (sqrt(v') + eps)``.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        eps (float): added to the denominator. Default: ``1e-8``.

    Raises:
        ValueError: when ``eps`` is negative.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> w = optim.Adagrad(0.5).apply_gradients({"w": mx.array([2.0])}, {"w": mx.array([2.0])})
        >>> round(w["w"].item(), 4)
        1.5
    """

    def __init__(self, learning_rate, eps=1e-8):
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.eps = eps
        if eps < 0.0:
            raise ValueError(f"Adagrad epsilon should be >0, {eps} was provided instead")

    def init_single(self, parameter, state):
        """Start the sum of squares at zero."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = state["v"] + mx.square(gradient)
        state["v"] = v
        return parameter - rate * gradient / (mx.sqrt(v) + _eps_for(self.eps, gradient.dtype))


class AdaDelta(Optimizer):
    """Make steps as large as past steps (Zeiler, 2012, algorithm 1).

    ``v' = rho · v + (1 - rho) · g²``, ``d = sqrt(u + eps) / sqrt(v' + eps) · g``,
    ``u' = rho · u + (1 - rho) · d²``, ``w' = w - learning_rate · d``.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        rho (float): weight of the past. Default: ``0.9``.
        eps (float): added under the roots. Default: ``1e-6``.

    Raises:
        ValueError: when ``rho`` or ``eps`` is negative.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> w = optim.AdaDelta(1.0).apply_gradients({"w": mx.array([1.0])}, {"w": mx.array([2.0])})
        >>> round(w["w"].item(), 4)
        1.9968
    """

    def __init__(self, learning_rate, rho=0.9, eps=1e-6):
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.rho = rho
        self.eps = eps
        if rho < 0.0:
            raise ValueError(f"AdaDelta rho should be >=0, {rho} was provided instead")
        if eps < 0.0:
            raise ValueError(f"AdaDelta epsilon should be >0, {eps} was provided instead")

    def init_single(self, parameter, state):
        """Start both mean squares at zero."""
        state["v"] = mx.zeros_like(parameter)
        state["u"] = mx.zeros_like(parameter)

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        v, u = state["v"], state["u"]
        v = self.rho * v + (1 - self.rho) * mx.square(gradient)
        step = mx.sqrt(u + self.eps) / mx.sqrt(v + self.eps) * gradient
        u = self.rho * u + (1 - self.rho) * mx.square(step)
        state["v"], state["u"] = v, u
        return parameter - rate * step


class Adam(Optimizer):
    """Adaptive moments (Kingma, Ba, ICLR 2015, algorithm 1).

    ``m' = b1 · m + (1 - b1) · g``, ``v' = b2 · v + (1 - b2) · g²``,
    ``w' = w - learning_rate · m' / (sqrt(v') + eps)``; with bias correction m' and v' are first
    divided by ``1 - b1^t`` and ``1 - b2^t``.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        betas (tuple[float, float]): weights of the past. Default: ``(0.9, 0.999)``.
        eps (float): added to the denominator. Default: ``1e-8``.
        bias_correction (bool): whether to correct the moments' start at zero.
            Default: ``False``.

    Raises:
        ValueError: when a beta is not in [0, 1) or ``eps`` is negative.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> adam = optim.Adam(0.5, bias_correction=True)
        >>> w = adam.apply_gradients({"w": mx.array([3.0])}, {"w": mx.array([2.0])})
        >>> round(w["w"].item(), 4)
        1.5
    """

    def __init__(self, learning_rate, betas=(0.9, 0.999), eps=1e-8, bias_correction=False):
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        for i, beta in enumerate(betas, start=1):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Adam beta{i} should be in [0, 1), {beta} was provided instead")
        if eps < 0.0:
            raise ValueError(f"Adam epsilon should be >=0, {eps} was provided instead")
        self.betas = list(betas)
        self.eps = eps
        self.bias_correction = bias_correction

    def init_single(self, parameter, state):
        """Start both moments at zero."""
        state["m"] = mx.zeros_like(parameter)
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        b1, b2 = self.betas
        m = b1 * state["m"] + (1 - b1) * gradient
        v = b2 * state["v"] + (1 - b2) * mx.square(gradient)
        state["m"], state["v"] = m, v
        eps = _eps_for(self.eps, gradient.dtype)
        if not self.bias_correction:
            return parameter - rate * m / (mx.sqrt(v) + eps)
        step = self.step
        # The powers are taken in float32: in half precision 1 - b2^t would be 0 at first.
        c1 = (self.learning_rate / (1 - b1**step)).astype(gradient.dtype)
        c2 = mx.rsqrt(1 - b2**step).astype(gradient.dtype)
        return parameter - (c1 * m) / (mx.sqrt(v) * c2 + eps)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov, Hutter, ICLR 2019, algorithm 2).

    ``w' = w · (1 - learning_rate · weight_decay) - (the step of Adam)``.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        betas (tuple[float, float]): weights of the past. Default: ``(0.9, 0.999)``.
        eps (float): added to the denominator. Default: ``1e-8``.
        weight_decay (float): the decay. Default: ``0.01``.
        bias_correction (bool): whether to correct the moments' start at zero.
            Default: ``False``.

    Raises:
        ValueError: when a beta is not in [0, 1) or ``eps`` is negative.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> adam = optim.AdamW(0.5, weight_decay=0.5, bias_correction=True)
        >>> w = adam.apply_gradients({"w": mx.array([3.0])}, {"w": mx.array([2.0])})
        >>> round(w["w"].item(), 4)
        1.0
    """

    def __init__(
        self,
        learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.01,
        bias_correction=False,
    ):
        super().__init__(learning_rate, betas, eps, bias_correction)
        self.weight_decay = weight_decay

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        decayed = parameter * (1 - rate * self.weight_decay)
        return super().apply_single(gradient, decayed, state)


class Adamax(Adam):
    """Adam with the maximum norm (Kingma, Ba, ICLR 2015, algorithm 2, without bias correction).

    ``m' = b1 · m + (1 - b1) · g``, ``v' = max(b2 · v, |g|)``,
    ``w' = w - learning_rate · m' / (v' + eps)``.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        betas (tuple[float, float]): weights of the past. Default: ``(0.9, 0.999)``.
        eps (float): added to the denominator. Default: ``1e-8``.

    Raises:
        ValueError: when a beta is not in [0, 1) or ``eps`` is negative.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> w = optim.Adamax(1.0).apply_gradients({"w": mx.array([3.0])}, {"w": mx.array([2.0])})
        >>> round(w["w"].item(), 4)
        1.9
    """

    def __init__(self, learning_rate, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(learning_rate, betas, eps)

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        b1, b2 = self.betas
        m = b1 * state["m"] + (1 - b1) * gradient
        v = mx.maximum(b2 * state["v"], mx.abs(gradient))
        state["m"], state["v"] = m, v
        return parameter - rate * m / (v + _eps_for(self.eps, gradient.dtype))


class Lion(Optimizer):
    """Follow the sign of the momentum (Chen et al., 2023, algorithm 2).

    ``c = b1 · m + (1 - b1) · g``, ``m' = b2 · m + (1 - b2) · g``,
    ``w' = w - learning_rate · (sign(c) + weight_decay · w)``. Steps are larger than Adam's: take
    a learning rate 3 to 10 times smaller, and a weight decay as much larger.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        betas (tuple[float, float]): weights of the past. Default: ``(0.9, 0.99)``.
        weight_decay (float): the decay. Default: ``0``.

    Raises:
        ValueError: when a beta is not in [0, 1).

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> optim.Lion(0.5).apply_gradients({"w": mx.array([3.0])}, {"w": mx.array([2.0])})
        {'w': array([1.5], dtype=float32)}
    """

    def __init__(self, learning_rate, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        for i, beta in enumerate(betas, start=1):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Lion beta{i} should be in [0, 1), {beta} was provided instead")
        self.betas = list(betas)
        self.weight_decay = weight_decay

    def init_single(self, parameter, state):
        """Start the momentum at zero."""
        state["m"] = mx.zeros_like(parameter)

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        b1, b2 = self.betas
        m = state["m"]
        direction = b1 * m + (1 - b1) * gradient
        state["m"] = b2 * m + (1 - b2) * gradient
        if self.weight_decay > 0:
            parameter = (1 - rate * self.weight_decay) * parameter
        return parameter - rate * mx.sign(direction)


class Adafactor(Optimizer):
    """Adam with factored second moments (Shazeer, Stern, ICML 2018, algorithms 4 to 6).

    The second moment of a matrix is kept as row and column means, so that the state is far
    smaller than the parameters; the learning rate can follow the step and the parameters.

    Args:
        learning_rate (float or callable, optional): the rate, or a schedule, used when
            ``relative_step`` is ``False``.
        eps (tuple[float, float]): added to squared gradients, and least scale of parameters.
            Default: ``(1e-30, 1e-3)``.
        clip_threshold (float): bound of the root mean square of a step. Default: ``1.0``.
        decay_rate (float): exponent of the weight of a new gradient. Default: ``-0.8``.
        beta_1 (float, optional): weight of the past in a first moment; none by default.
        weight_decay (float): the decay. Default: ``0``.
        scale_parameter (bool): whether the rate is relative to the parameters.
            Default: ``True``.
        relative_step (bool): whether the rate follows the step. Default: ``True``.
        warmup_init (bool): whether a relative rate starts at zero. Default: ``False``.

    Raises:
        ValueError: when there is neither a learning rate nor ``relative_step``.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> w = optim.Adafactor().apply_gradients({"w": mx.array([3.0])}, {"w": mx.array([2.0])})
        >>> round(w["w"].item(), 4)
        1.98
    """

    def __init__(
        self,
        learning_rate=None,
        eps=(1e-30, 1e-3),
        clip_threshold=1.0,
        decay_rate=-0.8,
        beta_1=None,
        weight_decay=0.0,
        scale_parameter=True,
        relative_step=True,
        warmup_init=False,
    ):
        super().__init__()
        if learning_rate is not None:
            self._maybe_schedule("learning_rate", learning_rate)
        elif not relative_step:
            raise ValueError("[Adafactor] give a learning_rate, or relative_step=True")
        self.eps = eps
        self.clip_threshold = clip_threshold
        self.decay_rate = decay_rate
        self.beta_1 = beta_1
        self.weight_decay = weight_decay
        self.scale_parameter = scale_parameter
        self.relative_step = relative_step
        self.warmup_init = warmup_init

    def init_single(self, parameter, state):
        """Start all moments at zero."""
        if parameter.ndim >= 2:
            shape, dtype = parameter.shape, parameter.dtype
            state["exp_avg_sq_row"] = mx.zeros(shape[:-1], dtype=dtype)
            state["exp_avg_sq_col"] = mx.zeros(shape[:-2] + shape[-1:], dtype=dtype)
        else:
            state["exp_avg_sq"] = mx.zeros_like(parameter)
        if self.beta_1 is not None:
            state["exp_avg"] = mx.zeros_like(parameter)

    def _rms(self, x):
        return mx.sqrt(mx.mean(mx.square(x)))

    def _rate(self, step, parameter):
        """The learning rate of one parameter (algorithm 6)."""
        if self.relative_step:
            least = 1e-6 * step if self.warmup_init else 1e-2
            rate = mx.minimum(least, mx.rsqrt(step))
        else:
            rate = self.learning_rate
        rate = rate.astype(parameter.dtype)
        if self.scale_parameter:
            rate = rate * mx.maximum(self.eps[1], self._rms(parameter))
        return rate

    def _whitened(self, gradient, state, beta_2):
        """The gradient over the root of its second moment (algorithms 4 and 5)."""
        square = mx.square(gradient) + self.eps[0]
        if gradient.ndim < 2:
            second = beta_2 * state["exp_avg_sq"] + (1 - beta_2) * square
            state["exp_avg_sq"] = second
            return mx.rsqrt(second) * gradient
        row = beta_2 * state["exp_avg_sq_row"] + (1 - beta_2) * mx.mean(square, axis=-1)
        column = beta_2 * state["exp_avg_sq_col"] + (1 - beta_2) * mx.mean(square, axis=-2)
        state["exp_avg_sq_row"], state["exp_avg_sq_col"] = row, column
        row_factor = mx.rsqrt(row / mx.mean(row, axis=-1, keepdims=True))
        factors = mx.expand_dims(row_factor, -1) * mx.expand_dims(mx.rsqrt(column), -2)
        return factors * gradient

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        step = self.step.astype(mx.float32)
        rate = self._rate(step, parameter)
        beta_2 = (1.0 - mx.power(step, self.decay_rate)).astype(gradient.dtype)
        update = self._whitened(gradient, state, beta_2)
        update = update / mx.maximum(1.0, self._rms(update) / self.clip_threshold)
        update = rate * update
        if self.beta_1 is not None:
            update = self.beta_1 * state["exp_avg"] + (1 - self.beta_1) * update
            state["exp_avg"] = update
        if self.weight_decay != 0:
            parameter = parameter + parameter * (-self.weight_decay * rate)
        return parameter - update


class Muon(Optimizer):
    """Orthogonalised momentum (Jordan et al., "Muon", 2024).

    ``v' = momentum · v + (1 - momentum) · g``; of a matrix the step is the nearest orthogonal
    matrix, by Newton–Schulz iterations, times ``sqrt(max(1, rows / columns))``. It is meant for
    the matrices within a network; embeddings, the last layer and vectors go better with
    :class:`AdamW`, see :class:`MultiOptimizer`. Filters are flattened to matrices.

    Args:
        learning_rate (float or callable): the rate, or a schedule.
        momentum (float): weight of the past. Default: ``0.95``.
        weight_decay (float): added to the gradient as ``weight_decay · w``. Default: ``0.01``.
        nesterov (bool): whether to look ahead. Default: ``True``.
        ns_steps (int): iterations. Default: ``5``.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> muon, g = optim.Muon(0.1), mx.array([[1.0, 0.0], [0.0, 5.0]])
        >>> muon.apply_gradients({"w": g}, {"w": g})["w"].shape
        (2, 2)
    """

    def __init__(self, learning_rate, momentum=0.95, weight_decay=0.01, nesterov=True, ns_steps=5):
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.ns_steps = ns_steps

    def init_single(self, parameter, state):
        """Start the momentum at zero."""
        state["v"] = mx.zeros_like(parameter)

    def _orthogonalised(self, x):
        """x (xᵀx)^(-1/2), nearly, by a quintic iteration with Jordan's coefficients."""
        a, b, c = 3.4445, -4.7750, 2.0315
        tall = x.shape[-2] > x.shape[-1]
        x = x.T if tall else x
        x = x / (mx.linalg.norm(x) + 1e-7)
        for _ in range(self.ns_steps):
            gram = x @ x.T
            x = a * x + (b * gram + c * (gram @ gram)) @ x
        return x.T if tall else x

    def apply_single(self, gradient, parameter, state):
        """One step; see the class."""
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        v = self.momentum * state["v"] + (1 - self.momentum) * gradient
        state["v"] = v
        update = gradient * (1 - self.momentum) + v * self.momentum if self.nesterov else v
        rate = self.learning_rate.astype(gradient.dtype)
        if update.ndim >= 2:
            shape = update.shape
            matrix = mx.reshape(update, (shape[0], -1))
            matrix = self._orthogonalised(matrix)
            rate = rate * math.sqrt(max(1, matrix.shape[-2] / matrix.shape[-1]))
            update = mx.reshape(matrix, shape)
        return parameter - rate * update
