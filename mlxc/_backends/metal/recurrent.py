"""Launchers of recurrent cells: one dispatch for each step of a sequence."""

import struct

from .dispatch import Bytes, Dispatch, In, Operand, Out, launcher
from .layout import LIMIT, SPREAD, up

CELLS = {"rnn": 0, "gru": 1, "lstm": 2}
ROWS = 8  # of a batch, in one threadgroup
MOST = 4096  # steps: each is a dispatch that a plan keeps
END = 2**32 - 1  # the step that leaves the first states' cotangent


def _steps(name: str, cell: str, states: Operand, arguments: list, order, wide: int, threads: int):
    """Dispatches of threadgroups for `wide` units, for states (batch, steps, size)."""
    batch, steps, size = states.shape
    if 0 in states.shape or steps > MOST or up(batch, ROWS) > SPREAD or 4 * size >= LIMIT:
        return None
    return [
        Dispatch(
            "recurrent",
            name,
            [*arguments, Bytes(struct.pack("<4I", batch, steps, size, step))],
            (up(size, wide), up(batch, ROWS), 1),
            (threads, 1, 1),
            groups=True,
            constants={0: CELLS[cell]},
        )
        for step in order
    ]


@launcher("recurrent")
def recurrent(row, ins, outs, params):
    """ins: x, weight, hidden, inner bias (gru) or cell (lstm); outs: hidden states, cells (lstm),
    gates (not rnn)."""
    (cell,) = params
    hiddens = outs[0]
    arguments = [In(0), In(1), In(2), In(len(ins) - 1)]
    arguments += [Out(0), Out(1 if cell == "lstm" else 0), Out(len(outs) - 1)]
    order = range(hiddens.shape[1])
    return _steps("recurrent_forward", cell, hiddens, arguments, order, 4, 128)


@launcher("recurrent_backward")
def recurrent_backward(row, ins, outs, params):
    """ins: cotangents of states, and cells (lstm), weight, first states (not rnn), states, gates
    (not rnn); outs: cotangents of gates, of the first hidden state, of the first cell (lstm)."""
    (cell,) = params
    places = {"rnn": (0, 0, 1, 2, 2, 2), "gru": (0, 0, 1, 2, 3, 4), "lstm": (0, 1, 2, 3, 4, 5)}
    arguments = [In(place) for place in places[cell]]
    arguments += [Out(0), Out(1), Out(len(outs) - 1)]
    order = [*reversed(range(ins[0].shape[1])), END]
    return _steps("recurrent_backward", cell, ins[0], arguments, order, 32, 256)
