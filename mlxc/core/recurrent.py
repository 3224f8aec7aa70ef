"""Recurrent cells over sequences, for the layers of ``nn``: arguments as the row wants them."""

import mlxc.core as mx
from mlxc._graph import bind
from mlxc._table.recurrent import composed

__all__ = ["run_cell"]


def run_cell(cell, x, weight, *rest):
    """States of a recurrent cell at every step; the last two operands may be ``None`` for zeros.

    Args:
        cell (str): ``"rnn"``, ``"gru"`` or ``"lstm"``.
        x (array): what the input adds to the gates, ``(..., steps, gates * size)``.
        weight (array): ``(gates * size, size)``.
        rest (array or None): the first hidden states ``(..., size)``, broadcast; then for ``gru``
            the bias of the state's part of the new gate ``(size,)``, for ``lstm`` the first cells.

    Returns:
        tuple(array): hidden states ``(..., steps, size)``, and for ``lstm`` cells as well. Half
        floats are computed in float32.

    Example:
        >>> import mlxc.core as mx
        >>> from mlxc.core.recurrent import run_cell
        >>> (states,) = run_cell("rnn", mx.zeros((2, 5, 3)), mx.zeros((3, 3)), None)
        >>> states.shape
        (2, 5, 3)
    """
    dtype = x.dtype
    for other in (weight, *rest):
        dtype = dtype if other is None else mx.result_type(dtype, other.dtype)
    wide = dtype if dtype == mx.float64 else mx.float32
    *batch, steps, _ = x.shape
    size = weight.shape[-1]
    count = 1
    for each in batch:
        count *= each

    def states(first):
        if first is None:
            return mx.zeros((count, size), wide)
        return mx.reshape(mx.broadcast_to(first.astype(wide), (*batch, size)), (count, size))

    operands = [mx.reshape(x.astype(wide), (count, steps, x.shape[-1])), weight.astype(wide)]
    operands.append(states(rest[0]))
    if cell == "gru":
        operands.append(mx.zeros((size,), wide) if rest[1] is None else rest[1].astype(wide))
    elif cell == "lstm":
        operands.append(states(rest[1]))
    if wide == mx.float64:
        outputs = composed(mx, cell, *operands)
    else:
        outputs = bind("recurrent", tuple(operands), (cell,))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(
        mx.reshape(out, (*batch, steps, size)).astype(dtype)
        for out in outputs[: 2 if cell == "lstm" else 1]
    )
