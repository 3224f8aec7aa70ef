"""Arithmetic ranges on the device against the processor's formula."""

import numpy as np
import pytest
from launching import launch, plan

import mlxc._backends.metal.creation  # noqa: F401  enters the launcher


def arange(device, start, step, n, dtype):
    return launch(device, "arange", [], [(dtype, (n,))], (start, step, n, dtype))[0]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
                                   "uint64"])  # fmt: skip
@pytest.mark.parametrize("n", [1, 3, 4, 5, 255, 1024, 1025])
def test_integers_wrap_in_their_dtype(device, dtype, n):
    for start, step in ((0, 1), (-5, 3), (100, -7), (2**62, 2**60)):
        exact = [(start + k * step) % 2**64 for k in range(n)]
        expected = np.array(exact, np.uint64).astype(dtype)
        np.testing.assert_array_equal(arange(device, start, step, n, dtype), expected)


@pytest.mark.parametrize(
    "start, step", [(0.0, 1.0), (0.1, 0.3), (-1e6, 1 / 3), (1e-8, 1e-3), (3.7, -2.9e5), (0.5, 0.0)]
)
def test_floats_are_rounded_once(device, start, step):
    got = arange(device, start, step, 5000, "float32")
    expected = (start + np.arange(5000.0) * step).astype(np.float32)
    assert np.mean(got != expected) < 1e-3  # ties of float64's own rounding
    np.testing.assert_allclose(got, expected, rtol=1.2e-7, atol=1e-12)


def test_nothing_and_what_the_device_lacks_run_nothing():
    assert plan("arange", [], [("f4", (0,))], (0.0, 1.0, 0, "float32")) == []
    assert plan("arange", [], [("f8", (3,))], (0.0, 1.0, 3, "float64")) is None
    assert plan("arange", [], [("f4", (3,))], (1e38, 1e38, 3, "float32")) is None
