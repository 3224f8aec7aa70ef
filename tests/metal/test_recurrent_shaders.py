"""Recurrent cells on the device against their formulas, composed of NumPy-like operations."""

import numpy as np
import pytest
from launching import launch, result

import mlxc._backends.metal.recurrent  # noqa: F401  enters the launchers
import mlxc.core as mx
from mlxc._backends.metal.dispatch import LAUNCHERS
from mlxc._table import recurrent as rows

CELLS = sorted(rows.GATES)
# (batch, steps, size): rows on both sides of a threadgroup's, units of a simdgroup's runs.
SIZES = [(1, 1, 1), (1, 3, 33), (3, 4, 5), (8, 2, 32), (9, 3, 31), (17, 2, 130)]


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def operands(cell, batch, steps, size):
    count = rows.GATES[cell]
    rest = {"rnn": [], "gru": [(size,)], "lstm": [(batch, size)]}[cell]
    shapes = [(batch, steps, count * size), (count * size, size), (batch, size), *rest]
    given = [numbers(seed, *shape) for seed, shape in enumerate(shapes)]
    given[1] /= np.sqrt(size)
    return given


def expected(function, cell, given):
    with mx.stream(mx.cpu):
        return [np.array(x) for x in function(mx, cell, *map(mx.array, given))]


def close(got, wanted):
    assert len(got) == len(wanted)
    for mine, theirs in zip(got, wanted):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)


def outs_like(arrays):
    return [("f4", x.shape) for x in arrays]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_goes_through_a_sequence_as_its_formula_says(device, cell, size):
    given = operands(cell, *size)
    wanted = expected(rows.composed, cell, given)
    close(launch(device, "recurrent", given, outs_like(wanted), (cell,)), wanted)


def saved_by(cell, given):
    """Operands of the way back: cotangents, the weight, the first states, what was saved."""
    outs = expected(rows.composed, cell, given)
    cts = [numbers(20 + i, *out.shape) for i, out in enumerate(outs)]
    if cell == "rnn":
        return [cts[0], given[1], outs[0]]
    if cell == "gru":
        return [cts[0], given[1], given[2], *outs]
    return [cts[0], cts[1], given[1], given[3], outs[1], outs[2]]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_cotangents_come_back_as_the_formula_says(device, cell, size):
    given = saved_by(cell, operands(cell, *size))
    wanted = expected(rows._composed_backward, cell, given)
    close(launch(device, "recurrent_backward", given, outs_like(wanted), (cell,)), wanted)


@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_row_of_the_batch(device, cell):
    given = operands(cell, 10, 3, 5)
    given[0][2, 1] = np.nan
    wanted = expected(rows.composed, cell, given)
    got = launch(device, "recurrent", given, outs_like(wanted), (cell,))[0]
    assert np.isnan(got[2, 1:]).all()
    assert not np.isnan(np.delete(got, 2, 0)).any() and not np.isnan(got[2, 0]).any()


def test_what_is_too_long_or_empty_is_left_to_the_processor():
    for batch, steps, size in ((2, 5000, 4), (0, 3, 4), (2, 3, 0)):
        shapes = [(batch, steps, size), (size, size), (batch, size)]
        ins = [result("f4", shape) for shape in shapes]
        assert LAUNCHERS["recurrent"](ins, [ins[0]], ("rnn",)) is None


def test_states_beyond_32_bits_are_described_step_by_step():
    states = result("f4", (2**18, 64, 2**8))  # 16 GB
    ins = [states, result("f4", (2**8, 2**8)), result("f4", (2**18, 2**8))]
    steps = LAUNCHERS["recurrent"](ins, [states], ("rnn",))
    assert len(steps) == 64 and steps[0].grid == (64, 2**15, 1)
