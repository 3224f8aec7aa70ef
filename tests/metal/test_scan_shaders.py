"""Scans on the device against NumPy, at the edges of tiles and parts."""

import numpy as np
import pytest
from launching import BFLOAT16, launch, plan

import mlxc._backends.metal.scan as scan  # enters the launchers
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

OPERATIONS = {"cumsum": np.add, "cumprod": np.multiply, "cummax": np.maximum, "cummin": np.minimum}


def reference(row, x, axis, reverse, inclusive):
    """The scan in a wide type, one value after the other; exclusive ones start with nothing."""
    kind = x.dtype
    floats = kind.kind in "f" or kind == BFLOAT16
    wide = x.astype(np.float64) if floats else x
    wide = np.flip(wide, axis) if reverse else wide
    with np.errstate(all="ignore"):
        if row == "logcumsumexp":
            out, start = np.logaddexp.accumulate(wide, axis), -np.inf
        else:
            out = OPERATIONS[row].accumulate(wide, axis, dtype=wide.dtype)
            start = {"cumsum": 0, "cumprod": 1}.get(row)
        if start is None and floats:
            start = -np.inf if row == "cummax" else np.inf
        elif start is None:
            info = np.iinfo(kind) if kind != np.bool_ else None
            limits = (info.min, info.max) if info else (False, True)
            start = limits[0] if row == "cummax" else limits[1]
        if not inclusive:
            out = np.roll(out, 1, axis)
            out[(slice(None),) * axis + (slice(0, 1),)] = start
        return (np.flip(out, axis) if reverse else out).astype(kind)


def samples(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool_":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype == "bfloat16":
        return rng.normal(size=shape).astype(BFLOAT16)
    if np.dtype(dtype).kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def check(device, row, x, axis, reverse=False, inclusive=True):
    (got,) = launch(device, row, [x], [(x.dtype, x.shape)], (axis, reverse, inclusive))
    expected = reference(row, x, axis, reverse, inclusive)
    if x.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
        return
    eps = {2: 1e-3 if x.dtype == np.float16 else 8e-3}.get(x.itemsize, 1e-6)
    wide = complex if x.dtype.kind == "c" else np.float64
    size = max(1.0, float(np.abs(np.where(np.isfinite(expected), expected, 0)).max()))
    np.testing.assert_allclose(got.astype(wide), expected.astype(wide), rtol=eps * 8,
                               atol=eps * 2 * size)  # fmt: skip


@pytest.mark.parametrize("n", [1, 3, 31, 32, 33, 128, 1023, 1024, 1025, 4097, 9000])
def test_lines_of_any_length_are_summed(device, n):
    check(device, "cumsum", samples("float32", (3, n)), 1)
    check(device, "cumsum", samples("int32", (2, n)), 1, True, False)


@pytest.mark.parametrize("row", [*OPERATIONS, "logcumsumexp"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
def test_every_scan_runs_both_ways_along_any_axis(device, row, reverse, inclusive):
    x = samples("float32", (3, 50, 7))
    for axis in range(3):
        check(device, row, x, axis, reverse, inclusive)


@pytest.mark.parametrize(
    "dtype",
    ["bool_", "uint8", "int16", "uint32", "int64", "uint64", "float16", "bfloat16", "complex64"],
)
def test_every_dtype_keeps_its_own_arithmetic(device, dtype):
    x = samples(dtype, (2, 40))
    for row in OPERATIONS:
        if (dtype, row) == ("bool_", "cumsum"):
            continue
        if dtype == "complex64" and row in ("cummax", "cummin"):
            continue
        if row == "cumprod" and x.dtype.kind not in "biu":
            check(device, row, (x * x.dtype.type(0.7)).astype(x.dtype), 1)
        else:
            check(device, row, x, 1)
            check(device, row, x, 1, True, False)


@pytest.mark.parametrize("row, start", [("cumsum", 0.1), ("cumprod", 1.0001)])
def test_a_long_float_scan_keeps_its_digits(device, row, start):
    x = np.full((1, 20000), start, np.float32)
    (got,) = launch(device, row, [x], [(x.dtype, x.shape)], (1, False, True))
    expected = OPERATIONS[row].accumulate(x.astype(np.float64), 1)
    np.testing.assert_allclose(got, expected, rtol=1e-7)


def test_infinities_and_signs_of_zero_come_through(device):
    x = np.array([[1, np.inf, 2, -np.inf, 3], [-0.0, 2, -0.0, 3e38, 3e38]], np.float32)
    for row in ("cumsum", "cumprod", "cummax"):
        (got,) = launch(device, row, [x], [(x.dtype, x.shape)], (1, False, True))
        with np.errstate(all="ignore"):
            expected = OPERATIONS[row].accumulate(x, 1)
        np.testing.assert_array_equal(got, expected)
        if row != "cumsum":  # sums start from 0
            np.testing.assert_array_equal(np.signbit(got[1]), np.signbit(expected[1]))


def test_complex_numbers_are_ordered_by_their_real_parts_first(device):
    x = np.array([1 + 2j, 1 + 3j, 0 + 9j, 2 - 1j, complex(np.nan, 0), 5j], np.complex64)
    (got,) = launch(device, "cummax", [x], [(x.dtype, x.shape)], (0, False, True))
    np.testing.assert_array_equal(got[:4], [1 + 2j, 1 + 3j, 1 + 3j, 2 - 1j])
    assert np.isnan(got[4:]).all()


def test_a_nan_stays_from_where_it_stands(device):
    x = samples("float32", (2, 2000))
    x[0, 700], x[1, 3] = np.nan, np.inf
    for row in ("cummax", "cummin", "cumsum"):
        check(device, row, x, 1)
    x[1, 900] = -np.inf
    check(device, "logcumsumexp", x, 1)
    check(device, "logcumsumexp", np.full((1, 5), -np.inf, np.float32), 1)


def test_few_long_lines_and_columns_are_cut_in_parts(device, monkeypatch):
    monkeypatch.setattr(scan, "cut", lambda n, lines, wide: 1024 if wide else 64)
    x = samples("float32", (2, 2100))
    assert len(plan("cumsum", [x], [(x.dtype, x.shape)], (1, False, True))) == 3
    assert len(plan("cumsum", [x.T], [(x.dtype, x.T.shape)], (0, False, True))) == 3
    for row in ("cumsum", "cummax", "logcumsumexp"):
        for reverse, inclusive in ((False, True), (True, False)):
            check(device, row, x, 1, reverse, inclusive)
            check(device, row, np.ascontiguousarray(x.T), 0, reverse, inclusive)


def test_what_the_device_lacks_goes_to_the_processor():
    x = samples("float64", (4,))
    assert plan("cumsum", [x], [(x.dtype, x.shape)], (0, False, True)) is None
    x = samples("complex64", (4,))
    assert plan("logcumsumexp", [x], [(x.dtype, x.shape)], (0, False, True)) is None
    x = samples("float32", (3, 0))
    assert plan("cumsum", [x], [(x.dtype, x.shape)], (1, False, True)) == []


def test_lines_beyond_32_bits_are_cut_so_that_counts_fit():
    big = Operand("float32", (1 << 33,), (4,), 4)
    steps = LAUNCHERS["cumsum"]([big], [big], (0, False, True))
    assert len(steps) == 3 and all(size < 1 << 31 for step in steps for size in step.grid)
    assert steps[0].arguments[2].data[:8] == (1 << 33).to_bytes(8, "little")
