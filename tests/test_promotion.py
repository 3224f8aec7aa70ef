"""The dtype in which operands meet: every pair, stated here by hand and not by the code's rule.

Rules: the table is literal, so that a change of a rule has to be made twice. Pairs are tried on
every public operation of two operands, in both orders.
"""

import itertools

import numpy as np
import pytest
from support import KIND, NAMES, of_kind

import mlxc.core as mx

TABLE = """
        b1  u8  u16 u32 u64 i8  i16 i32 i64 f16 f32 f64 bf  c64
    b1  b1  u8  u16 u32 u64 i8  i16 i32 i64 f16 f32 f64 bf  c64
    u8  u8  u8  u16 u32 u64 i16 i16 i32 i64 f16 f32 f64 bf  c64
    u16 u16 u16 u16 u32 u64 i32 i32 i32 i64 f16 f32 f64 bf  c64
    u32 u32 u32 u32 u32 u64 i64 i64 i64 i64 f16 f32 f64 bf  c64
    u64 u64 u64 u64 u64 u64 f32 f32 f32 f32 f16 f32 f64 bf  c64
    i8  i8  i16 i32 i64 f32 i8  i16 i32 i64 f16 f32 f64 bf  c64
    i16 i16 i16 i32 i64 f32 i16 i16 i32 i64 f16 f32 f64 bf  c64
    i32 i32 i32 i32 i64 f32 i32 i32 i32 i64 f16 f32 f64 bf  c64
    i64 i64 i64 i64 i64 f32 i64 i64 i64 i64 f16 f32 f64 bf  c64
    f16 f16 f16 f16 f16 f16 f16 f16 f16 f16 f16 f32 f64 f32 c64
    f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f64 f32 c64
    f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 c64
    bf  bf  bf  bf  bf  bf  bf  bf  bf  bf  f32 f32 f64 bf  c64
    c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64
"""
SHORT = dict(zip(TABLE.split()[:14], NAMES))
CELLS = [line.split() for line in TABLE.strip().splitlines()[1:]]
EXPECTED = {
    (SHORT[a], SHORT[b]): SHORT[cell]
    for a, *cells in CELLS
    for b, cell in zip(TABLE.split()[:14], cells)
}
FLOATING = {name for name in NAMES if KIND[name] in "fc"}
BINARY = [row for row in of_kind("elementwise") if row.arity == 2 and row.public]


def zeros(name):
    return mx.zeros((2,), getattr(mx, name))


def expected_result(row, meeting):
    """The dtype of a row's result for operands that meet in a dtype; None if it refuses them."""
    if row.out == "bool":
        return None if row.inputs == "int" and meeting in FLOATING else "bool_"
    if row.inputs == "int" and meeting in FLOATING:
        return None
    if row.inputs == "float" and meeting not in FLOATING:
        return "float32"
    return None if meeting in row.refuses else meeting


def test_the_table_has_every_pair():
    assert set(EXPECTED) == set(itertools.product(NAMES, NAMES))
    assert all(EXPECTED[a, b] == EXPECTED[b, a] for a, b in EXPECTED)


@pytest.mark.parametrize("row", BINARY, ids=lambda row: row.name)
def test_operands_of_every_pair_of_dtypes_meet_as_the_table_says(row):
    function = getattr(mx, row.name)
    for (a, b), meeting in EXPECTED.items():
        expected = expected_result(row, meeting)
        if row.inputs == "int" and meeting == "bool_" and expected == "bool_":
            continue  # shifts of bools: tests/test_table.py
        if expected is None:
            with pytest.raises(ValueError, match=rf"\[{row.name}\]"):
                function(zeros(a), zeros(b))
        else:
            assert function(zeros(a), zeros(b)).dtype.name == expected, (a, b)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: mx.where(True, x, y),
        lambda x, y: mx.concatenate([x, y]),
        lambda x, y: mx.stack([x, y]),
    ],
    ids=["where", "concatenate", "stack"],
)
def test_what_joins_arrays_promotes_them_the_same_way(function):
    for (a, b), meeting in EXPECTED.items():
        assert function(zeros(a), zeros(b)).dtype.name == meeting, (a, b)


def test_a_python_number_widens_an_array_of_a_lower_kind_only():
    for name in NAMES:
        kind = KIND[name]
        x = zeros(name)
        assert (x * True).dtype.name == name
        assert (x * 1).dtype.name == (name if kind != "b" else "int32"), name
        assert (x * 1.0).dtype.name == (name if kind in "fc" else "float32"), name
        assert (x * 1j).dtype.name == "complex64", name


def test_values_are_converted_to_the_dtype_in_which_they_meet():
    for (a, b), meeting in EXPECTED.items():
        if "bfloat16" in (a, b, meeting):
            continue
        x, y = mx.array([1, 0, 1]), mx.array([1, 1, 0])
        got = mx.maximum(x.astype(getattr(mx, a)), y.astype(getattr(mx, b)))
        np.testing.assert_array_equal(np.array(got), np.array([1, 1, 1], meeting.rstrip("_")))
