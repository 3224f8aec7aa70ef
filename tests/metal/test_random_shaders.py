"""Random bits on the device: bit for bit those of the processor."""

import numpy as np
import pytest
from launching import launch, plan

import mlxc._backends.metal.random  # noqa: F401  enters the launcher
import mlxc.core as mx
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

DTYPES = {1: np.uint8, 2: np.uint16, 4: np.uint32}


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 31, 64, 255, 1000, 1001])
def test_every_width_and_count_gives_the_bits_of_the_processor(device, width, count):
    for lead in ((), (3,), (2, 2)):
        rng = np.random.default_rng(count)
        keys = rng.integers(0, 1 << 32, (*lead, 2), dtype=np.uint32)
        out = [(DTYPES[width], (*lead, count))]
        (got,) = launch(device, "random_bits", [keys], out, ((count,), width))
        with mx.stream(mx.cpu):
            expected = mx._bind("random_bits", (mx.array(keys),), ((count,), width))
        np.testing.assert_array_equal(got, np.array(expected))


def test_a_word_is_that_of_the_reference_implementation(device):
    """Random123's known answer for threefry2x32, 20 rounds, zeros: 6b200159 99ba4efe."""
    keys = np.zeros(2, np.uint32)
    (got,) = launch(device, "random_bits", [keys], [(np.uint32, (1,))], ((1,), 4))
    assert got[0] == 0x6B200159


def test_nothing_is_drawn_where_nothing_is_asked():
    assert plan("random_bits", [np.zeros(2, np.uint32)], [(np.uint32, (0,))], ((0,), 4)) == []


def test_a_stream_beyond_4_gigabytes_is_numbered_in_64_bits():
    key, out = Operand("uint32", (2,), (4,), 4), Operand("uint32", (1 << 32,), (4,), 4)
    (step,) = LAUNCHERS["random_bits"]([key], [out], ((1 << 32,), 4))
    assert step.grid == (1 << 31, 1, 1)
    assert int.from_bytes(step.arguments[2].data[:8], "little") == 1 << 34
