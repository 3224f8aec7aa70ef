"""Recurrent layers: Elman, gated recurrent unit, long short-term memory.

Rules: inputs are ``NLD`` or ``LD``; all input projections are one matrix product ahead of the
loop; the result holds the state of every step. Initial values are U(-k, k), k = 1/sqrt(hidden).
"""

import math

import mlxc.core as mx
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

    def _collect(self, steps, x):
        """The states of all steps, stacked along the sequence; none for an empty sequence."""
        if steps:
            return mx.stack(steps, axis=-2)
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
        if self.bias is not None:
            x = mx.addmm(self.bias, x, self.Wxh.T)
        else:
            x = x @ self.Wxh.T
        steps = []
        for t in range(x.shape[-2]):
            now = x[..., t, :]
            hidden = now if hidden is None else mx.addmm(now, hidden, self.Whh.T)
            hidden = self.nonlinearity(hidden)
            steps.append(hidden)
        return self._collect(steps, x)


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
        if self.b is not None:
            x = mx.addmm(self.b, x, self.Wx.T)
        else:
            x = x @ self.Wx.T
        two = 2 * self.hidden_size
        gates, candidates = x[..., :two], x[..., two:]
        steps = []
        for t in range(x.shape[-2]):
            gate, candidate = gates[..., t, :], candidates[..., t, :]
            inner = self.bhn
            if hidden is not None:
                projected = hidden @ self.Wh.T
                gate = gate + projected[..., :two]
                inner = projected[..., two:]
                if self.bhn is not None:
                    inner = inner + self.bhn
            reset, keep = mx.split(mx.sigmoid(gate), 2, axis=-1)
            new = mx.tanh(candidate if inner is None else candidate + reset * inner)
            new = (1 - keep) * new
            hidden = new if hidden is None else new + keep * hidden
            steps.append(hidden)
        return self._collect(steps, x)


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
        if self.bias is not None:
            x = mx.addmm(self.bias, x, self.Wx.T)
        else:
            x = x @ self.Wx.T
        hiddens, cells = [], []
        for t in range(x.shape[-2]):
            parts = x[..., t, :]
            if hidden is not None:
                parts = mx.addmm(parts, hidden, self.Wh.T)
            i, f, g, o = mx.split(parts, 4, axis=-1)
            new = mx.sigmoid(i) * mx.tanh(g)
            cell = new if cell is None else mx.sigmoid(f) * cell + new
            hidden = mx.sigmoid(o) * mx.tanh(cell)
            hiddens.append(hidden)
            cells.append(cell)
        return self._collect(hiddens, x), self._collect(cells, x)
