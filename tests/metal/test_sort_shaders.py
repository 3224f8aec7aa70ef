"""Sorting, extrema and binary search on the device against NumPy."""

import numpy as np
import pytest
from launching import BFLOAT16, launch, plan

import mlxc._backends.metal.sort as sort  # enters the launchers
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

DTYPES = [
    "bool_", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "complex64",
]  # fmt: skip


def samples(dtype, shape, seed=0):
    """Few different values, so that there are ties; NaN, infinities and both zeros in floats."""
    x = np.random.default_rng(seed).integers(0, 40, shape)
    if dtype == "bool_":
        return (x & 1).astype(np.bool_)
    kind = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    if kind.kind == "u":
        return (x * (np.iinfo(kind).max // 40)).astype(kind)
    if kind.kind == "i":
        return ((x - 20) * (np.iinfo(kind).max // 40)).astype(kind)
    pool = np.linspace(-3, 3, 40)
    pool[:6] = np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-7
    values = pool[x].astype(kind)
    if kind.kind == "c":
        values.imag = pool[x[..., ::-1]]
    return values.astype(kind)


def order_of(x, axis):
    """The stable order of NumPy; -0 equals 0, NaN comes last."""
    wide = x.astype(np.float64) if x.dtype == BFLOAT16 or x.dtype == np.float16 else x
    if x.dtype.kind == "c":
        keys = [np.isnan(x.imag), np.isnan(x.real)]
        parts = [np.nan_to_num(part, nan=0, posinf=9, neginf=-9) for part in (x.imag, x.real)]
        parts[0], parts[1] = parts[0] + 0.0, np.where(keys[1], parts[0], parts[1]) + 0.0
        return np.lexsort([parts[0], parts[1], keys[0], keys[1]], axis=axis)
    return np.argsort(wide, axis=axis, kind="stable")


def places(device, row, x, *params):
    return launch(device, row, [x], [(np.uint32, x.shape)], params)[0]


def same_values(got, expected):
    wide = complex if got.dtype.kind == "c" else np.float64
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_array_equal(got.astype(wide), expected.astype(wide))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_ordered_stably_with_nan_last(device, dtype):
    x = samples(dtype, (3, 70))
    order = order_of(x, 1)
    if dtype != "complex64":
        np.testing.assert_array_equal(places(device, "argsort", x, 1), order)
    (got,) = launch(device, "sort", [x], [(x.dtype, x.shape)], (1,))
    same_values(got, np.take_along_axis(x, order, 1))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 255, 256, 257, 511, 2047, 2048, 2049, 4096, 4097, 9001])
def test_lines_of_any_length_are_sorted(device, n):
    x = np.random.default_rng(n).integers(0, max(n // 3, 2), (2, n)).astype(np.int32)
    np.testing.assert_array_equal(places(device, "argsort", x, 1), order_of(x, 1))
    (got,) = launch(device, "sort", [x], [(x.dtype, x.shape)], (1,))
    np.testing.assert_array_equal(got, np.sort(x, 1))


def test_wide_keys_are_merged_with_their_places(device):
    x = np.random.default_rng(1).integers(-(1 << 62), 1 << 62, 5000)
    x[::7] = x[0]
    np.testing.assert_array_equal(places(device, "argsort", x, 0), order_of(x, 0))
    (got,) = launch(device, "sort", [x], [(x.dtype, x.shape)], (0,))
    np.testing.assert_array_equal(got, np.sort(x))
    z = samples("complex64", (2500,))
    (got,) = launch(device, "sort", [z], [(z.dtype, z.shape)], (0,))
    same_values(got, z[order_of(z, 0)])


def test_any_axis_is_sorted(device):
    x = samples("float32", (5, 40, 6))
    for axis in range(3):
        np.testing.assert_array_equal(places(device, "argsort", x, axis), order_of(x, axis))


def test_zeros_are_sorted_by_sign_as_values_and_are_equal_as_places(device):
    x = np.array([0.0, -0.0, 0.0, -0.0], np.float32)
    (got,) = launch(device, "sort", [x], [(x.dtype, x.shape)], (0,))
    np.testing.assert_array_equal(np.signbit(got), [True, True, False, False])
    np.testing.assert_array_equal(places(device, "argsort", x, 0), [0, 1, 2, 3])


def test_a_partition_has_its_kth_value_in_place(device):
    x = samples("float16", (2, 300))
    (got,) = launch(device, "partition", [x], [(x.dtype, x.shape)], (17, 1))
    expected = np.take_along_axis(x, order_of(x, 1), 1)
    same_values(got[:, 17], expected[:, 17])
    np.testing.assert_array_equal(places(device, "argpartition", x, 17, 1)[:, 17],
                                  order_of(x, 1)[:, 17])  # fmt: skip


def extrema(x, axis, row):
    """The first NaN, else the first best."""
    wide = x.astype(np.float64) if x.dtype.kind not in "biuc" else x
    nan = np.isnan(wide) if wide.dtype.kind in "fc" else np.zeros(x.shape, bool)
    if x.dtype.kind == "c":
        rank = np.argsort(order_of(np.where(nan, 0, x).astype(x.dtype), axis), axis)
        key = np.where(nan, 0, x).astype(np.complex128) + 0.0
        best = np.take_along_axis(key, np.expand_dims(
            (np.argmax if row == "argmax" else np.argmin)(rank, axis), axis), axis)  # fmt: skip
        hit = key == best
    else:
        filled = np.where(nan, 0, wide)
        low = row == "argmin"
        filled = np.where(nan, np.inf if low else -np.inf, wide) if nan.any() else filled
        hit = filled == (np.min if low else np.max)(filled, axis, keepdims=True)
    return np.argmax(np.where(nan.any(axis, keepdims=True), nan, hit), axis)


@pytest.mark.parametrize("row", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_extremum_is_found_in_every_dtype(device, dtype, row):
    for shape, axis in (((4, 300), 1), ((3, 50, 5), 1), ((4, 9), 0)):
        x = samples(dtype, shape, seed=3)
        x.reshape(-1)[:8] = x.reshape(-1)[8]
        kept = tuple(size for k, size in enumerate(shape) if k != axis)
        (got,) = launch(device, row, [x], [(np.uint32, kept)], (axis, False))
        np.testing.assert_array_equal(got, extrema(x, axis, row))


NARROW = ["bool_", "int8", "uint8", "int16", "uint16", "float16", "bfloat16"]


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("shape", [(3, 256), (2, 4100), (5, 1023), (9000, 8), (300, 6)], ids=str)
def test_narrow_values_are_searched_in_words_wherever_they_begin(device, shape, dtype):
    for shift in (0, 1):
        whole = samples(dtype, (shape[0] * shape[1] + shift,), seed=5)
        x = whole[shift:].reshape(shape)
        for row, axis in (("argmax", 0), ("argmax", 1), ("argmin", 0), ("argmin", 1)):
            (got,) = launch(device, row, [x], [(np.uint32, (shape[1 - axis],))], (axis, False))
            np.testing.assert_array_equal(got, extrema(x, axis, row))


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_the_first_of_many_infinities_and_of_nan_is_found(device, dtype):
    x = np.full((6, 700), -np.inf).astype(BFLOAT16 if dtype == "bfloat16" else dtype)
    x[1] = np.inf
    x[2, 600], x[3, [400, 401]], x[4, 5:] = np.inf, np.nan, np.nan
    for row in ("argmax", "argmin"):
        for axis, each in ((1, x), (0, np.ascontiguousarray(x.T))):
            (got,) = launch(device, row, [each], [(np.uint32, (6,))], (axis, False))
            np.testing.assert_array_equal(got, extrema(x, 1, row))


def test_long_lines_are_searched_in_parts(device, monkeypatch):
    monkeypatch.setattr(sort, "PART", 300)
    x = np.random.default_rng(0).integers(0, 1000, (3, 2000)).astype(np.float32)
    for row, right in (("argmax", np.argmax), ("argmin", np.argmin)):
        assert len(plan(row, [x], [(np.uint32, (3,))], (1, False))) == 2
        (got,) = launch(device, row, [x], [(np.uint32, (3,))], (1, False))
        np.testing.assert_array_equal(got, right(x, 1))
        turned = np.ascontiguousarray(x.T)
        (got,) = launch(device, row, [turned], [(np.uint32, (3,))], (0, False))
        np.testing.assert_array_equal(got, right(x, 1))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64", "float32", "bfloat16"])
def test_places_in_a_sorted_sequence_are_found(device, dtype):
    x = samples(dtype, (50,))
    sequence, values = x[order_of(x, 0)], samples(dtype, (7, 9), 1)
    wide = np.float64 if x.dtype.kind not in "biu" else x.dtype
    for right in (False, True):
        (got,) = launch(device, "searchsorted", [sequence, values], [(np.uint32, (7, 9))], (right,))
        side = "right" if right else "left"
        expected = np.searchsorted(sequence.astype(wide), values.astype(wide), side)
        np.testing.assert_array_equal(got, expected)


def test_an_empty_sequence_and_no_values_are_searched(device):
    empty, values = np.zeros(0, np.int32), np.arange(3, dtype=np.int32)
    (got,) = launch(device, "searchsorted", [empty, values], [(np.uint32, (3,))], (False,))
    np.testing.assert_array_equal(got, [0, 0, 0])
    assert plan("searchsorted", [values, empty], [(np.uint32, (0,))], (False,)) == []
    assert plan("sort", [empty], [(np.int32, (0,))], (0,)) == []


def test_float64_goes_to_the_processor():
    x = np.zeros(4)
    assert plan("argsort", [x], [(np.uint32, (4,))], (0,)) is None
    assert plan("argmax", [x], [(np.uint32, ())], (0, False)) is None


def test_values_beyond_4_gigabytes_have_places_and_grids_that_fit():
    big, out = Operand("float32", (3, 1 << 30), (1 << 32, 4), 4), Operand("uint32", (3,), (4,), 4)
    steps = LAUNCHERS["argmax"]([big], [out], (1, False))
    assert all(size < 1 << 31 for step in steps for size in step.grid)
    assert LAUNCHERS["sort"]([Operand("int8", (1 << 32,), (1,), 1)], [out], (0,)) is None
