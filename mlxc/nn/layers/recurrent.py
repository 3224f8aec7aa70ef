"""Recurrent layers: Elman, gated recurrent unit, long short-term memory.

Rules: inputs are ``NLD`` or ``LD``; all input projections are one matrix product, and the rest of
the sequence one row of the table; the result holds the state of every step. Initial values are
U(-k, k), k = 1/sqrt(hidden).
"""

import math

import mlxc.core as mx
from mlxc.core.recurrent import run_cell
from mlxc.nn.layers import _checks
from mlxc.nn.layers.activations import tanh
from mlxc.nn.layers.base import Module


class _Recurrent(Module):
    """What the three share: initial values, checks, and running over a sequence."""

    def _draw(self, *shape):
        bound = 1.0 / math.sqrt(self.hidden_size)
        return mx.random.uniform(low=-bound, high=bound, shape=shape)

    def _check(self, x, weight, **states):
        name = type(self).__name__
        _checks.last_axis(name, x, weight.shape[-1], f"the input weight has shape {weight.shape}")
        if x.ndim < 2:
            raise ValueError(f"[{name}] expected NLD or LD, got shape {x.shape}")
        for what, state in states.items():
            if state is not None:
                _checks.last_axis(name, state, self.hidden_size, f"{what} has hidden_size entries")

    def _projected(self, x, weight, bias):
        """What the input adds to every gate."""
        return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)

    def _nothing(self, x):
        """The states of an empty sequence."""
        return mx.zeros((*x.shape[:-1], self.hidden_size), x.dtype)


class RNN(_Recurrent):
    """Elman layer ``h' = tanh(Wxh x + Whh h + b)`` (Elman, "Finding structure in time", 1990).

    Args:
        input_size (int): features of the input.
        hidden_size (int): features of the state.
        bias (bool): whether to add a bias. Default: ``True``.
        nonlinearity (callable, optional): in place of tanh.

    Raises:
        ValueError: when the nonlinearity cannot be called, or, in a call, shapes do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.RNN(3, 4)(mx.ones((2, 5, 3))).shape
        (2, 5, 4)
    """

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity=None):
        super().__init__()
        _checks.positive("RNN", input_size=input_size, hidden_size=hidden_size)
        self.nonlinearity = nonlinearity or tanh
        if not callable(self.nonlinearity):
            raise ValueError(f"Nonlinearity must be callable. Current value: {nonlinearity}.")
        self.hidden_size = hidden_size
        self.Wxh = self._draw(hidden_size, input_size)
        self.Whh = self._draw(hidden_size, hidden_size)
        self.bias = self._draw(hidden_size) if bias else None

    def _extra_repr(self):
        return (
            f"input_dims={self.Wxh.shape[1]}, hidden_size={self.hidden_size}, "
            f"nonlinearity={self.nonlinearity}, bias={self.bias is not None}"
        )

    def __call__(self, x, hidden=None):
        self._check(x, self.Wxh, hidden=hidden)
        x = self._projected(x, self.Wxh, self.bias)
        if x.shape[-2] == 0:
            return self._nothing(x)
        if self.nonlinearity in (tanh, mx.tanh):
            return run_cell("rnn", x, self.Whh, hidden)[0]
        steps = []
        for t in range(x.shape[-2]):
            now = x[..., t, :]
            hidden = now if hidden is None else mx.addmm(now, hidden, self.Whh.T)
            hidden = self.nonlinearity(hidden)
            steps.append(hidden)
        return mx.stack(steps, axis=-2)


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al., EMNLP 2014, eq. 5–8, with a bias inside the reset).

    ``r = σ(Wxr x + Whr h + br)``, ``z = σ(Wxz x + Whz h + bz)``,
    ``n = tanh(Wxn x + bn + r (Whn h + bhn))``, ``h' = (1 - z) n + z h``.

    Args:
        input_size (int): features of the input.
        hidden_size (int): features of the state.
        bias (bool): whether to add biases. Default: ``True``.

    Raises:
        ValueError: in a call, when shapes do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.GRU(3, 4)(mx.ones((2, 5, 3))).shape
        (2, 5, 4)
    """

    def __init__(self, input_size, hidden_size, bias=True):
        super().__init__()
        _checks.positive("GRU", input_size=input_size, hidden_size=hidden_size)
        self.hidden_size = hidden_size
        self.Wx = self._draw(3 * hidden_size, input_size)
        self.Wh = self._draw(3 * hidden_size, hidden_size)
        self.b = self._draw(3 * hidden_size) if bias else None
        self.bhn = self._draw(hidden_size) if bias else None

    def _extra_repr(self):
        return (
            f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, "
            f"bias={self.b is not None}"
        )

    def __call__(self, x, hidden=None):
        self._check(x, self.Wx, hidden=hidden)
        x = self._projected(x, self.Wx, self.b)
        if x.shape[-2] == 0:
            return self._nothing(x)
        return run_cell("gru", x, self.Wh, hidden, self.bhn)[0]


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter, Schmidhuber, 1997; forget gate: Gers et al., 2000).

    ``i, f, o = σ(…)``, ``g = tanh(…)``, each of ``Wx x + Wh h + b``;
    ``c' = f c + i g``, ``h' = o tanh(c')``.

    Args:
        input_size (int): features of the input.
        hidden_size (int): features of the state.
        bias (bool): whether to add a bias. Default: ``True``.

    Returns:
        A call returns the hidden and the cell states of all steps, two arrays.

    Raises:
        ValueError: in a call, when shapes do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> hidden, cell = nn.LSTM(3, 4)(mx.ones((2, 5, 3)))
        >>> hidden.shape, cell.shape
        ((2, 5, 4), (2, 5, 4))
    """

    def __init__(self, input_size, hidden_size, bias=True):
        super().__init__()
        _checks.positive("LSTM", input_size=input_size, hidden_size=hidden_size)
        self.hidden_size = hidden_size
        self.Wx = self._draw(4 * hidden_size, input_size)
        self.Wh = self._draw(4 * hidden_size, hidden_size)
        self.bias = self._draw(4 * hidden_size) if bias else None

    def _extra_repr(self):
        return (
            f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, "
            f"bias={self.bias is not None}"
        )

    def __call__(self, x, hidden=None, cell=None):
        self._check(x, self.Wx, hidden=hidden, cell=cell)
        x = self._projected(x, self.Wx, self.bias)
        if x.shape[-2] == 0:
            return self._nothing(x), self._nothing(x)
        return run_cell("lstm", x, self.Wh, hidden, cell)
