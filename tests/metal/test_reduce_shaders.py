"""Joins over simdgroups, threadgroups and parts, against NumPy."""

import numpy as np
import pytest
from launching import BFLOAT16

from mlxc._backends.metal.dispatch import Bytes, Dispatch, In, Out
from mlxc._backends.metal.reduce import combine

UFUNC = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
UFUNC |= {"all": np.minimum, "any": np.maximum}
NUMPY = {"i32": "i4", "u32": "u4", "i64": "i8", "u64": "u8", "f32": "f4", "c64": "c8", "b8": "i4"}


def samples(kind, *shape, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "b8":
        return (rng.random(shape) < 0.9).astype(np.int32)
    kind = np.dtype(NUMPY[kind])
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max, shape, kind, endpoint=True)
    values = rng.normal(size=shape)
    return (values + 1j * values[::-1] if kind.kind == "c" else values).astype(kind)


def joined(device, row, compute, dtype, values, turned=False):
    """What the device makes of rows x parts values, which lie part by part if `turned`."""
    rows, parts = values.shape
    laid = np.ascontiguousarray(values.T if turned else values)
    strides = (1, rows) if turned else (parts, 1)
    step = combine(row, compute, dtype, In(0), Out(0), rows, parts, *strides)
    return device.run([step], [laid], [(dtype.rstrip("_"), (rows,))])[0]


@pytest.mark.parametrize("compute, dtype", [("i32", "int32"), ("u32", "uint32"), ("i64", "int64"),
                                            ("u64", "uint64"), ("f32", "float32")])  # fmt: skip
@pytest.mark.parametrize("row", ["sum", "prod", "max", "min"])
def test_parts_are_joined_in_every_type_and_layout(device, compute, dtype, row):
    for rows, parts in ((1, 1), (3, 31), (5, 32), (2, 33), (9, 1000)):
        values = samples(compute, rows, parts)
        wide = "f8" if compute == "f32" else values.dtype
        expected = UFUNC[row].reduce(values, 1, wide)
        for turned in (False, True):
            got = joined(device, row, compute, dtype, values, turned)
            if compute != "f32":
                np.testing.assert_array_equal(got, expected)
            elif row in ("max", "min"):
                np.testing.assert_array_equal(got, expected.astype(np.float32))
            else:
                size = UFUNC[row].reduce(np.abs(values), 1, wide)
                assert (np.abs(got - expected) <= 1e-6 * size + 1e-38).all()


def test_complex_parts_are_joined(device):
    values = samples("c64", 3, 100)
    got = joined(device, "sum", "c64", "complex64", values)
    np.testing.assert_allclose(got, values.astype("c16").sum(1), rtol=1e-5)
    got = joined(device, "max", "c64", "complex64", values)
    np.testing.assert_array_equal(got, values.max(1))
    values[1, 70] = complex(0, np.nan)
    got = joined(device, "min", "c64", "complex64", values)
    np.testing.assert_array_equal(np.isnan(got), [False, True, False])


@pytest.mark.parametrize("row", list(UFUNC))
def test_parts_of_bools_stay_truth_values(device, row):
    values = samples("b8", 6, 40)
    values[0], values[1] = 0, 1
    right = {"sum": np.any, "any": np.any, "max": np.any}.get(row, np.all)
    np.testing.assert_array_equal(joined(device, row, "b8", "bool_", values), right(values, 1))


def test_results_are_rounded_and_wrapped_to_their_dtype(device):
    values = np.full((2, 3), 100, np.int32)
    np.testing.assert_array_equal(joined(device, "sum", "i32", "int8", values), [44, 44])
    values = np.full((1, 2), 1.0009765625, np.float32)
    np.testing.assert_array_equal(joined(device, "sum", "f32", "float16", values), [2.001953125])
    got = joined(device, "prod", "f32", "bfloat16", np.full((1, 2), 1.5, np.float32))
    assert got.dtype == BFLOAT16 and float(got[0]) == 2.25


@pytest.mark.parametrize("row", ["max", "min"])
def test_a_nan_among_the_parts_wins(device, row):
    values = samples("f32", 40, 40)
    values[:, 3] = np.inf
    values[np.arange(40), np.arange(40)] = np.nan
    assert np.isnan(joined(device, row, "f32", "float32", values)).all()


# ---- threadgroups ----

BLOCK = """#include "reduce.h"
template <typename Op, typename T>
[[kernel]] void blocks(const device T* x [[buffer(0)]], device T* out [[buffer(1)]],
                       uint t [[thread_index_in_threadgroup]],
                       uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
    threadgroup T shared[33];
    T total;
    T all = block_reduce<Op, T>(x[t], shared, lane, simdgroup, simdgroups);
    T before = block_prefix<Op, T>(x[t], total, shared, lane, simdgroup, simdgroups);
    out[3 * t] = all;
    out[3 * t + 1] = before;
    out[3 * t + 2] = total;
}
"""
ONE = """template [[host_name("{op}_{T}")]] [[kernel]] decltype(blocks<{op}<{T}>, {T}>)
    blocks<{op}<{T}>, {T}>;
"""
KINDS = {"int": "i32", "uint": "u32", "long": "i64", "ulong": "u64", "float": "f32", "bool": "b8"}
NAMES = {"sum": "Sum", "max": "Maximum", "min": "Minimum", "any": "Any", "all": "All"}
PAIRS = [
    (row, kind)
    for kind in KINDS
    for row in (("any", "all") if kind == "bool" else ("sum", "max", "min"))
]
SOURCE = BLOCK + "".join(ONE.format(op=NAMES[row], T=kind) for row, kind in PAIRS)


@pytest.mark.parametrize("row, kind", PAIRS)
def test_every_thread_of_a_block_gets_the_join_and_what_came_before(device, row, kind):
    for threads in (32, 64, 256, 1024):
        x = samples(KINDS[kind], threads, seed=threads)
        x = x.astype(np.bool_) if kind == "bool" else x
        step = Dispatch("", f"{NAMES[row]}_{kind}", [In(0), Out(0)], (1, 1, 1), (threads, 1, 1),
                        groups=True, source=SOURCE)  # fmt: skip
        (got,) = device.run([step], [x], [(x.dtype, (threads, 3))])
        upto = UFUNC[row].accumulate(x, dtype="f8" if kind == "float" else x.dtype)
        close = {"rtol": 1e-5, "atol": 1e-5} if (row, kind) == ("sum", "float") else {"rtol": 0}
        for column in (0, 2):
            np.testing.assert_allclose(got[:, column], np.full(threads, upto[-1]), **close)
        np.testing.assert_allclose(got[1:, 1], upto[:-1], **close)


# ---- threads ----

RUNNING = """#include "reduce.h"
kernel void run_{T}(const device {T}* x [[buffer(0)]], device {T}* out [[buffer(1)]],
                    constant uint& n [[buffer(2)]], uint t [[thread_position_in_grid]]) {{
    Running<Sum<{T}>, {T}> part;
    for (uint i = 0; i < n; i++)
        part.add(x[t * n + i]);
    out[t] = part.total();
}}
"""


@pytest.mark.parametrize("kind", ["float", "complex64", "int"])
def test_a_thread_adds_thousands_and_keeps_the_digits(device, kind):
    n = 20000
    x = np.full((3, n), 0.1, np.float32)
    x[1] *= np.where(np.arange(n) % 2, 1, -3)
    if kind == "complex64":
        x = (x + 2j * x[::-1]).astype(np.complex64)
    elif kind == "int":
        x = (10 * x).astype(np.int32)
    else:
        x[2, 7] = np.inf
    step = Dispatch("", f"run_{kind}", [In(0), Out(0), Bytes(np.uint32(n).tobytes())], (3, 1, 1),
                    (3, 1, 1), groups=False, source=RUNNING.format(T=kind))  # fmt: skip
    (got,) = device.run([step], [x], [(x.dtype, (3,))])
    wide = x.astype("c16" if kind == "complex64" else "f8")
    np.testing.assert_allclose(got, wide.sum(1), rtol=1e-7)
