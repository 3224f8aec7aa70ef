"""Recurrent cells over whole sequences: one row, and one for its way back (backpropagation through
time; Werbos 1990).

A sequence x (batch, steps, gates * size) holds what the input contributes to every gate, biases
included; weight (gates * size, size) turns a state into the rest. ``cell`` says which formula:

* ``rnn``: 1 gate; operands x, weight, hidden (batch, size); gives all hidden states.
* ``gru``: 3 gates (reset, keep, new); x, weight, hidden, inner bias (size); gives all hidden states
  and what the gates were (batch, steps, 4 * size): reset, keep, the state's part of new, new.
* ``lstm``: 4 gates (in, forget, new, out); x, weight, hidden, cell; gives all hidden states, all
  cells, and what the gates were.

Gates stand as they came out of their sigmoid or tanh. They are saved for the way back; whoever
differentiates them, or differentiates twice, gets the derivatives of ``composed``.
"""

from .rows import Kernel, register

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_OUTPUTS = {"rnn": 1, "gru": 2, "lstm": 3}
_BACK = {"rnn": 2, "gru": 2, "lstm": 3}


def _expect(name, cell, shapes, dtypes, expected):
    """Refuse other shapes than expected, and other dtypes than float32."""
    if [tuple(shape) for shape in shapes] != expected or set(dtypes) != {"float32"}:
        given = ", ".join(f"{dtype} {tuple(shape)}" for shape, dtype in zip(shapes, dtypes))
        raise ValueError(
            f"[{name}] the {cell} cell was given {given}; float32 of the shapes {expected} would "
            "be right"
        )


def _sizes(name, cell, sequence, weight):
    """Batch, steps and size, from what must be (batch, steps, ...) and (gates * size, size)."""
    if cell not in GATES or len(sequence) != 3 or len(weight) != 2 or sequence[1] < 1:
        raise ValueError(
            f"[{name}] cell {cell!r}, sequence {tuple(sequence)}, weight {tuple(weight)}; one of "
            f"{', '.join(GATES)}, (batch, steps, features) with a step at least, and (gates * "
            "size, size) would be right"
        )
    return sequence[0], sequence[1], weight[1]


def _infer(shapes, dtypes, *, cell):
    if len(shapes) < 2:
        raise ValueError(f"[recurrent] {len(shapes)} operands; a sequence and a weight come first")
    batch, steps, size = _sizes("recurrent", cell, shapes[0], shapes[1])
    gates, state = GATES[cell], (batch, size)
    rest = {"rnn": [state], "gru": [state, (size,)], "lstm": [state, state]}[cell]
    expected = [(batch, steps, gates * size), (gates * size, size), *rest]
    _expect("recurrent", cell, shapes, dtypes, expected)
    states, saved = (batch, steps, size), (batch, steps, 4 * size)
    outputs = {"rnn": [states], "gru": [states, saved], "lstm": [states, states, saved]}[cell]
    return [(shape, "float32") for shape in outputs]


def _infer_backward(shapes, dtypes, *, cell):
    """Operands: cotangents of the states, the weight, the first states, what was saved."""
    if len(shapes) < 3:
        raise ValueError(f"[recurrent_backward] {len(shapes)} operands; 4 at least would be right")
    weight = shapes[2] if cell == "lstm" else shapes[1]
    batch, steps, size = _sizes("recurrent_backward", cell, shapes[0], weight)
    states, saved, state = (batch, steps, size), (batch, steps, 4 * size), (batch, size)
    matrix = (GATES[cell] * size, size)
    expected = {
        "rnn": [states, matrix, states],
        "gru": [states, matrix, state, states, saved],
        "lstm": [states, states, matrix, state, states, saved],
    }[cell]
    _expect("recurrent_backward", cell, shapes, dtypes, expected)
    first = states if cell == "rnn" else saved
    return [(shape, "float32") for shape in [first] + [state] * (_BACK[cell] - 1)]


# ---- the formulas ----


def _turned(mx, state, weight):
    return mx.matmul(state, mx.transpose(weight, (1, 0)))


def _split(mx, x, count):
    return mx.split(x, count, axis=-1)


def composed(mx, cell, x, weight, hidden, other=None):
    """What the row computes, of ``mx`` operations, in any floating dtype; a tuple."""
    hiddens, cells, saved = [], [], []
    for t in range(x.shape[1]):
        now = x[:, t]
        if cell == "rnn":
            hidden = mx.tanh(now + _turned(mx, hidden, weight))
        elif cell == "gru":
            reset, keep, new = _split(mx, now, 3)
            for_reset, for_keep, inner = _split(mx, _turned(mx, hidden, weight), 3)
            reset, keep = mx.sigmoid(reset + for_reset), mx.sigmoid(keep + for_keep)
            inner = inner + other
            new = mx.tanh(new + reset * inner)
            hidden = (1 - keep) * new + keep * hidden
            saved.append(mx.concatenate([reset, keep, inner, new], axis=-1))
        else:
            i, f, g, o = _split(mx, now + _turned(mx, hidden, weight), 4)
            i, f, g, o = mx.sigmoid(i), mx.sigmoid(f), mx.tanh(g), mx.sigmoid(o)
            other = f * other + i * g
            hidden = o * mx.tanh(other)
            cells.append(other)
            saved.append(mx.concatenate([i, f, g, o], axis=-1))
        hiddens.append(hidden)
    return tuple(mx.stack(steps, axis=1) for steps in (hiddens, cells, saved) if steps)


def _composed_backward(mx, cell, *operands):
    """What the row ``recurrent_backward`` computes, of ``mx`` operations."""
    ct_cells = operands[1] if cell == "lstm" else None
    cts, (weight, *rest) = operands[0], operands[2 if cell == "lstm" else 1 :]
    states = rest[-1] if cell == "rnn" else rest[-2]
    steps = cts.shape[1]
    ct_hidden = mx.zeros_like(cts[:, 0])
    ct_cell, back = ct_hidden, []
    for t in range(steps - 1, -1, -1):
        ct = cts[:, t] + ct_hidden
        before = rest[0] if t == 0 else states[:, t - 1]
        carried = 0
        if cell == "rnn":
            part = turned = ct * (1 - states[:, t] * states[:, t])
        elif cell == "gru":
            reset, keep, inner, new = _split(mx, rest[2][:, t], 4)
            d_new = ct * (1 - keep) * (1 - new * new)
            d_keep = ct * (before - new) * keep * (1 - keep)
            d_reset = d_new * inner * reset * (1 - reset)
            turned = mx.concatenate([d_reset, d_keep, d_new * reset], axis=-1)
            part, carried = mx.concatenate([turned, d_new], axis=-1), ct * keep
        else:
            i, f, g, o = _split(mx, rest[2][:, t], 4)
            level = mx.tanh(states[:, t])
            d_cell = ct_cell + ct_cells[:, t] + ct * o * (1 - level * level)
            d_out = ct * level * o * (1 - o)
            d_in, d_new = d_cell * g * i * (1 - i), d_cell * i * (1 - g * g)
            d_forget = d_cell * before * f * (1 - f)
            part = turned = mx.concatenate([d_in, d_forget, d_new, d_out], axis=-1)
            ct_cell = d_cell * f
        ct_hidden = carried + mx.matmul(turned, weight)
        back.append(part)
    first = mx.stack(back[::-1], axis=1)
    return (first, ct_hidden, ct_cell) if cell == "lstm" else (first, ct_hidden)


# ---- rules ----


def _zeros(mx, ct, out):
    return mx.zeros_like(out) if ct is None else ct


def _vjp(mx, cts, outs, x, weight, hidden, other=None, *, cell):
    operands = (x, weight, hidden) if other is None else (x, weight, hidden, other)
    if cell != "rnn" and cts[-1] is not None:
        full = [_zeros(mx, ct, out) for ct, out in zip(cts, outs)]
        return tuple(mx.vjp(lambda *each: composed(mx, cell, *each), operands, full)[1])
    ct = _zeros(mx, cts[0], outs[0])
    if cell == "lstm":
        ct_cells = _zeros(mx, cts[1], outs[1])
        given = (ct, ct_cells, weight, other, outs[1], outs[2])
    else:
        given = (ct, weight, outs[0]) if cell == "rnn" else (ct, weight, hidden, *outs)
    back, *firsts = mx._bind("recurrent_backward", given, (cell,))
    size = weight.shape[1]
    turned = back[..., : weight.shape[0]]  # cotangents of the product with the weight
    before = mx.concatenate([mx.expand_dims(hidden, 1), outs[0][:, :-1]], axis=1)
    ct_weight = mx.matmul(
        mx.transpose(mx.reshape(turned, (-1, weight.shape[0])), (1, 0)),
        mx.reshape(before, (-1, size)),
    )
    ct_x = back
    if cell == "gru":
        ct_x = mx.concatenate([back[..., : 2 * size], back[..., 3 * size :]], axis=-1)
        firsts.append(mx.sum(back[..., 2 * size : 3 * size], axis=(0, 1)))
    return (ct_x, ct_weight, *firsts)


def _jvp_of(function):
    """The derivative of the composed formula."""

    def jvp(mx, tangents, outs, *operands, cell):
        full = [_zeros(mx, t, x) for t, x in zip(tangents, operands)]
        return tuple(mx.jvp(lambda *each: function(mx, cell, *each), operands, full)[1])

    return jvp


def _vjp_backward(mx, cts, outs, *operands, cell):
    full = [_zeros(mx, ct, out) for ct, out in zip(cts, outs)]
    return tuple(mx.vjp(lambda *each: _composed_backward(mx, cell, *each), operands, full)[1])


def _vmap_of(name, shared):
    """Examples join the batch, unless ``shared`` operands (weights) differ between them."""

    def vmap(mx, batched, *operands, cell):
        count = next(x.shape[0] for x, each in zip(operands, batched) if each)
        alike = shared(cell)
        if any(batched[k] for k in alike):
            examples = [
                mx._bind(
                    name,
                    tuple(x[k] if each else x for x, each in zip(operands, batched)),
                    (cell,),
                )
                for k in range(count)
            ]
            examples = [each if isinstance(each, tuple) else (each,) for each in examples]
            return tuple(mx.stack(list(outputs)) for outputs in zip(*examples))
        joined = []
        for k, (x, each) in enumerate(zip(operands, batched)):
            if k not in alike:
                x = x if each else mx.broadcast_to(x, (count, *x.shape))
                x = mx.reshape(x, (count * x.shape[1], *x.shape[2:]))
            joined.append(x)
        outputs = mx._bind(name, tuple(joined), (cell,))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(
            mx.reshape(out, (count, out.shape[0] // count, *out.shape[1:])) for out in outputs
        )

    return vmap


def _samples(mx, rng):
    def normal(*shape):
        return mx.array(rng.standard_normal(shape).astype("float32"))

    batch, steps, size = 3, 4, 5
    state = (batch, size)
    rest = {"rnn": [state], "gru": [state, (size,)], "lstm": [state, state]}
    return [
        (
            (
                normal(batch, steps, count * size),
                normal(count * size, size) * 0.5,
                *(normal(*shape) for shape in rest[cell]),
            ),
            {"cell": cell},
        )
        for cell, count in GATES.items()
    ]


def _samples_backward(mx, rng):
    samples = []
    for operands, params in _samples(mx, rng):
        cell, weight = params["cell"], operands[1]
        outs = mx._bind("recurrent", operands, (cell,))
        outs = outs if isinstance(outs, tuple) else (outs,)
        cts = [mx.array(rng.standard_normal(out.shape).astype("float32")) for out in outs]
        if cell == "rnn":
            given = (cts[0], weight, outs[0])
        elif cell == "gru":
            given = (cts[0], weight, operands[2], *outs)
        else:
            given = (cts[0], cts[1], weight, operands[3], outs[1], outs[2])
        samples.append((given, params))
    return samples


ROWS = register(
    "recurrent",
    [
        Kernel(
            "recurrent",
            doc="A recurrent cell over every step of a sequence.",
            params=("cell",),
            outputs=_OUTPUTS.__getitem__,
            infer=_infer,
            vjp=_vjp,
            jvp=_jvp_of(composed),
            partial_cotangents=True,
            vmap=_vmap_of("recurrent", lambda cell: (1, 3) if cell == "gru" else (1,)),
            contiguous=True,
            skips_last=True,
            samples=_samples,
        ),
        Kernel(
            "recurrent_backward",
            doc="Cotangents of the gates of a recurrent cell, and of its first states.",
            params=("cell",),
            outputs=_BACK.__getitem__,
            infer=_infer_backward,
            vjp=_vjp_backward,
            jvp=_jvp_of(_composed_backward),
            vmap=_vmap_of("recurrent_backward", lambda cell: (2,) if cell == "lstm" else (1,)),
            contiguous=True,
            samples=_samples_backward,
        ),
    ],
)
