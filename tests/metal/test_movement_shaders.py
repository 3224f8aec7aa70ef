"""Strided copies on the device against NumPy."""

import numpy as np
import pytest

from mlxc._backends.metal import movement
from mlxc._backends.metal.dispatch import In, Out
from mlxc._backends.metal.movement import copy

SIZES = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def steps_of(array):
    return tuple(stride // array.itemsize for stride in array.strides)


def check(device, view):
    """A view comes out row-major, bit by bit."""
    dense = steps_of(np.empty(view.shape, view.dtype))
    plan = copy(In(0), Out(0), view.shape, steps_of(view), dense, view.itemsize)
    (got,) = device.run(plan, [view], [(view.dtype, view.shape)])
    np.testing.assert_array_equal(got, view)


@pytest.mark.parametrize("width", list(SIZES))
@pytest.mark.parametrize("shape", [(), (1,), (3,), (255,), (256,), (1025,), (3, 67), (2, 3, 4, 5)])
def test_elements_of_every_width_and_shape_are_copied(device, width, shape):
    size = int(np.prod(shape))
    check(device, np.arange(1, size + 1).astype(SIZES[width]).reshape(shape))


def test_views_of_any_strides_are_copied(device):
    x = np.arange(24 * 35, dtype=np.uint32).reshape(24, 35)
    for view in (
        x.T,
        x[::-1],
        x[:, ::-1],
        x[::-2, ::3],
        np.broadcast_to(x[3], (7, 35)),
        np.broadcast_to(x[:, :1], (24, 9)),
        np.broadcast_to(x[:1, :1], (5, 6)),
        x.reshape(4, 6, 5, 7).transpose(2, 0, 3, 1)[:, ::-1],
        np.lib.stride_tricks.as_strided(x, (10, 20), (4, 140)),
    ):
        check(device, view)


def test_a_copy_goes_where_the_target_says(device):
    x, out = np.arange(6, dtype=np.uint16).reshape(2, 3), np.full((4, 8), 99, np.uint16)
    plan = copy(In(0), Out(0), x.shape, (3, 1), (16, -2), 2, offset=8 + 7)
    (got,) = device.run(plan, [x], [out])
    out[1::2, 7:2:-2] = x
    np.testing.assert_array_equal(got, out)


def test_nothing_is_copied_of_an_empty_array():
    assert copy(In(0), Out(0), (3, 0, 2), (0, 2, 1), (0, 2, 1), 4) == []


def test_offsets_and_rows_beyond_32_bits_keep_64():
    (step,) = copy(In(0), Out(0), (1 << 20, 1 << 13), (1, 1 << 20), (1 << 13, 1), 8, 1 << 40)
    facts = step.arguments[2].data
    assert int.from_bytes(facts[8:16], "little") == 1 << 20
    assert int.from_bytes(facts[16:24], "little") == 1 << 40
    assert step.grid[1] * step.grid[2] >= 1 << 20 and max(step.grid) < 1 << 31
    (step,) = copy(In(0), Out(0), (2, 1 << 31), (1 << 33, 2), (1 << 31, 1), 1)
    strides = np.frombuffer(step.arguments[4].data, np.int64)
    np.testing.assert_array_equal(strides, [1 << 33, 1 << 17, 2])
    assert copy(In(0), Out(0), (2, (1 << 31) + 1), (1 << 33, 2), (1 << 32, 1), 1) is None


def test_rows_too_long_to_count_are_cut(device, monkeypatch):
    monkeypatch.setattr(movement, "LIMIT", 100)
    monkeypatch.setattr(movement, "PIECE", 16)
    x = np.arange(3 * 320, dtype=np.uint16).reshape(3, 320)
    for view in (x[0], x[:, ::-2], x[::-1]):
        check(device, view)
