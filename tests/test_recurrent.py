"""Recurrent cells: their formulas, their way back, and that nobody can tell how work was dealt out.

`test_table.py` tests the rows' rules on small samples; here are the sizes at which kernels change
their ways.
"""

import numpy as np
import pytest
from support import assert_threads_do_not_matter, generator, to_np

import mlxc.core as mx
import mlxc.nn as nn
from mlxc._table.recurrent import GATES, composed
from mlxc.core.recurrent import run_cell

CELLS = tuple(GATES)
# (batch, steps, size): one unit, blocks that are not full, rows that are no multiple of four, more
# rows than a tile holds, and weights that outgrow a core's cache.
SIZES = [(1, 1, 1), (1, 3, 16), (2, 5, 33), (7, 4, 64), (33, 2, 20), (70, 3, 5), (3, 2, 260)]


def operands(cell, batch, steps, size, seed="recurrent"):
    rng = generator(seed, cell, batch, steps, size)
    shapes = [(batch, steps, GATES[cell] * size), (GATES[cell] * size, size), (batch, size)]
    shapes += {"rnn": [], "gru": [(size,)], "lstm": [(batch, size)]}[cell]
    scales = (1, size**-0.5, 1, 1)
    return [
        (rng.standard_normal(shape) * scale).astype("float32")
        for shape, scale in zip(shapes, scales)
    ]


def run(cell, xs):
    outs = mx._bind("recurrent", tuple(xs), (cell,))
    return list(outs) if isinstance(outs, tuple) else [outs]


def loss(cell, xs, function):
    """A sum in which every state has a weight of its own."""
    total = 0
    for out in function(cell, xs)[: 2 if cell == "lstm" else 1]:
        weights = mx.reshape(mx.cos(mx.arange(out.size).astype(out.dtype)), out.shape)
        total = total + mx.sum(out * weights)
    return total


def in_double(cell, xs):
    return composed(mx, cell, *xs)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_cell_equals_its_formula_in_double(cell, sizes):
    xs = operands(cell, *sizes)
    expected = composed(mx, cell, *[mx.array(x.astype("float64")) for x in xs])
    for out, wide in zip(run(cell, [mx.array(x) for x in xs]), expected, strict=True):
        np.testing.assert_allclose(to_np(out), to_np(wide), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_way_back_equals_that_of_the_formula_in_double(cell, sizes):
    xs = operands(cell, *sizes)
    numbers = list(range(len(xs)))
    got = mx.grad(lambda *each: loss(cell, each, run), numbers)(*map(mx.array, xs))
    wide = [mx.array(x.astype("float64")) for x in xs]
    expected = mx.grad(lambda *each: loss(cell, each, in_double), numbers)(*wide)
    for one, other in zip(got, expected, strict=True):
        scale = max(1.0, float(np.abs(to_np(other)).max()))
        np.testing.assert_allclose(to_np(one) / scale, to_np(other) / scale, atol=3e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sizes", [(33, 3, 40), (2, 3, 200), (9, 3, 260)], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(cell, sizes):
    xs = [mx.array(x) for x in operands(cell, *sizes)]

    def everything():
        outs = run(cell, xs)
        grads = mx.grad(lambda *each: loss(cell, each, run), list(range(len(xs))))(*xs)
        return [*outs, *grads]

    assert_threads_do_not_matter(everything)


@pytest.mark.parametrize("cell", CELLS)
def test_a_nan_stays_in_its_row_and_the_steps_behind_it(cell):
    xs = operands(cell, 6, 4, 18)
    xs[0][2, 1, :] = np.nan
    states = to_np(run(cell, [mx.array(x) for x in xs])[0])
    assert np.isnan(states[2, 1:]).all()
    states[2, 1:] = 0
    assert np.isfinite(states).all()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("held", [slice(0, 1), slice(-2, -1)], ids=["first", "last"])
def test_gates_that_nobody_holds_take_no_memory_and_the_states_are_the_same(cell, held):
    xs = [mx.array(x) for x in operands(cell, 8, 500, 33)]
    saved = run(cell, xs)
    expected = [to_np(x) for x in saved][held]
    gates = saved[-1].nbytes
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    outs = run(cell, xs)[held]
    mx.eval(outs)
    assert mx.get_peak_memory() - before < gates
    for out, wanted in zip(outs, expected, strict=True):
        np.testing.assert_array_equal(to_np(out), wanted)


@pytest.mark.parametrize("cell", CELLS)
def test_large_inputs_saturate_without_overflow(cell):
    xs = operands(cell, 2, 3, 17)
    xs[0] *= 1e30
    assert all(np.isfinite(to_np(out)).all() for out in run(cell, [mx.array(x) for x in xs])[:1])


@pytest.mark.parametrize("cell", CELLS)
def test_derivatives_of_what_the_gates_were_hold(cell):
    if cell == "rnn":
        assert len(run(cell, map(mx.array, operands(cell, 2, 2, 3)))) == 1  # nothing is saved
        return
    xs = [mx.array(x) for x in operands(cell, 2, 3, 4)]

    def total(x, function):
        return mx.sum(mx.sin(function(cell, [x, *xs[1:]])[-1]))

    got = mx.grad(lambda x: total(x, run))(xs[0])
    expected = mx.grad(lambda x: total(x, in_double))(xs[0])
    np.testing.assert_allclose(to_np(got), to_np(expected), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_second_derivatives_equal_those_of_the_formula(cell):
    xs = [mx.array(x) for x in operands(cell, 2, 3, 4)]

    def bend(x, function):
        first = mx.grad(lambda x: loss(cell, [x, *xs[1:]], function))
        return mx.sum(mx.square(first(x)))

    got = mx.grad(lambda x: bend(x, run))(xs[0])
    expected = mx.grad(lambda x: bend(x, in_double))(xs[0])
    np.testing.assert_allclose(to_np(got), to_np(expected), atol=2e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float64], ids=str)
def test_other_floating_dtypes_give_their_own(cell, dtype):
    x, weight, hidden, *rest = (mx.array(x).astype(dtype) for x in operands(cell, 3, 4, 6))
    other = rest or ([None] if cell != "rnn" else [])
    for out, single in zip(
        run_cell(cell, x, weight, hidden, *other),
        run_cell(
            cell,
            *(x if x is None else x.astype(mx.float32) for x in (x, weight, hidden, *other)),
        ),
        strict=True,
    ):
        assert out.dtype == dtype
        tolerance = {mx.float16: 1e-3, mx.bfloat16: 1e-2, mx.float64: 1e-5}[dtype]
        np.testing.assert_allclose(
            to_np(out.astype(mx.float32)), to_np(single.astype(mx.float32)), atol=tolerance
        )


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_layer_takes_sequences_without_and_with_many_batch_axes(layer):
    model, rng = layer(3, 5), generator("axes")
    x = mx.array(rng.standard_normal((2, 3, 4, 3)).astype("float32"))
    whole, parts = model(x), [[model(x[i, j]) for j in range(3)] for i in range(2)]
    for k, states in enumerate(whole if layer is nn.LSTM else (whole,)):
        for i in range(2):
            for j in range(3):
                part = parts[i][j][k] if layer is nn.LSTM else parts[i][j]
                np.testing.assert_allclose(to_np(states[i, j]), to_np(part), atol=1e-6)


def test_a_layer_with_another_nonlinearity_is_composed():
    model = nn.RNN(3, 5, nonlinearity=nn.relu)
    states = to_np(model(mx.ones((2, 4, 3))))
    now = np.zeros((2, 5), "float32")
    inputs = np.ones((2, 3)) @ to_np(model.Wxh).T + to_np(model.bias)
    for t in range(4):
        now = np.maximum(inputs + now @ to_np(model.Whh).T, 0)
        np.testing.assert_allclose(states[:, t], now, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", ["weight", "state", "dtype", "steps", "cell"])
def test_what_does_not_fit_is_refused(bad):
    x, weight, hidden = (mx.array(x) for x in operands("rnn", 2, 3, 4))
    cell = "rnn"
    if bad == "weight":
        weight = weight[:3]
    elif bad == "state":
        hidden = hidden[:1]
    elif bad == "dtype":
        x = x.astype(mx.float64)
    elif bad == "steps":
        x = x[:, :0]
    else:
        cell = "perceptron"
    with pytest.raises((ValueError, KeyError), match=r"recurrent|perceptron"):
        mx.eval(mx._bind("recurrent", (x, weight, hidden), (cell,)))


def test_an_empty_batch_has_no_states():
    for layer in (nn.RNN(3, 4), nn.GRU(3, 4)):
        assert layer(mx.zeros((0, 5, 3))).shape == (0, 5, 4)
        gradient = mx.grad(lambda x, layer=layer: mx.sum(layer(x)))(mx.zeros((0, 5, 3)))
        assert gradient.shape == (0, 5, 3)
