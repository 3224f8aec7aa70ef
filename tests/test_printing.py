"""How arrays are printed. The expected texts were observed from MLX 0.32.4."""

import numpy as np
import pytest

import mlxc.core as mx
from mlxc.core.printing import format_array

OBSERVED = [
    (np.array(1, np.int32), "int32", "array(1, dtype=int32)"),
    (np.array(1, np.float32), "float32", "array(1, dtype=float32)"),
    (np.array(True), "bool_", "array(True, dtype=bool)"),
    (np.array(1 + 2j, np.complex64), "complex64", "array(1+2j, dtype=complex64)"),
    (np.array([], np.float32), "float32", "array([], dtype=float32)"),
    (np.zeros((1, 0), np.float32), "float32", "array([[]], dtype=float32)"),
    (np.zeros((2, 0, 3), np.float32), "float32", "array([[],\n       []], dtype=float32)"),
    (np.zeros((0, 3), np.float32), "float32", "array([], dtype=float32)"),
    (
        np.array([[1, 2], [3, 4.5]], np.float32),
        "float32",
        "array([[1, 2],\n       [3, 4.5]], dtype=float32)",
    ),
    (
        np.array([np.nan, np.inf, -np.inf], np.float32),
        "float32",
        "array([nan, inf, -inf], dtype=float32)",
    ),
    (np.array([True, False]), "bool_", "array([True, False], dtype=bool)"),
    (np.array(-0.0, np.float32), "float32", "array(-0, dtype=float32)"),
    (
        np.array([1e-5, 1e5, 123456], np.float32),
        "float32",
        "array([1e-05, 100000, 123456], dtype=float32)",
    ),
    (
        np.array([1 / 3, 100, 1e38], np.float32),
        "float32",
        "array([0.333333, 100, 1e+38], dtype=float32)",
    ),
    (np.array([1e6, 1e7], np.float32), "float32", "array([1e+06, 1e+07], dtype=float32)"),
    (np.array([1, -128], np.int8), "int8", "array([1, -128], dtype=int8)"),
    (np.array([2**63], np.uint64), "uint64", "array([9223372036854775808], dtype=uint64)"),
    (
        np.array([0.1, 1 / 3, 65504, 1e-7], np.float16),
        "float16",
        "array([0.0999756, 0.333252, 65504, 1.19209e-07], dtype=float16)",
    ),
    (
        np.array([0x3DCD, 0x3EAB, 0x4780, 0x714A], np.uint16),
        "bfloat16",
        "array([0.100098, 0.333984, 65536, 1.00026e+30], dtype=bfloat16)",
    ),
    (
        np.array([0.1, 1 / 3, 1e300, np.nan, 123456789.123]),
        "float64",
        "array([0.1, 0.333333, 1e+300, nan, 1.23457e+08], dtype=float64)",
    ),
    (
        np.array([1 + 2j, -1.5 - 0.25j, complex(np.nan, np.inf), complex(0, -0.0)], np.complex64),
        "complex64",
        "array([1+2j, -1.5-0.25j, nan+infj, 0+-0j], dtype=complex64)",
    ),
    (np.arange(6, dtype=np.int32), "int32", "array([0, 1, 2, 3, 4, 5], dtype=int32)"),
    (np.arange(7, dtype=np.int32), "int32", "array([0, 1, 2, ..., 4, 5, 6], dtype=int32)"),
    (np.zeros((1, 7), np.float32), "float32", "array([[0, 0, 0, ..., 0, 0, 0]], dtype=float32)"),
    (
        np.arange(16, dtype=np.int32).reshape(2, 2, 2, 2),
        "int32",
        "array([[[[0, 1],\n         [2, 3]],\n        [[4, 5],\n         [6, 7]]],\n"
        "       [[[8, 9],\n         [10, 11]],\n        [[12, 13],\n         [14, 15]]]], "
        "dtype=int32)",
    ),
    (
        np.arange(14, dtype=np.int32).reshape(7, 2),
        "int32",
        "array([[0, 1],\n       [2, 3],\n       [4, 5],\n       ...,\n       [8, 9],\n       "
        "[10, 11],\n"
        "       [12, 13]], dtype=int32)",
    ),
]


@pytest.mark.parametrize(("values", "name", "text"), OBSERVED, ids=range(len(OBSERVED)))
def test_arrays_print_as_in_mlx(values, name, text):
    assert format_array(values, name) == text


@pytest.mark.parametrize(
    ("precision", "text"),
    [
        (-1, "array([1, 0.333333, 1e+10, nan], dtype=float32)"),
        (0, "array([1, 0, 10000000000, nan], dtype=float32)"),
        (3, "array([1.000, 0.333, 10000000000.000, nan], dtype=float32)"),
    ],
)
def test_precision_counts_decimal_places(precision, text):
    with mx.printoptions(precision=precision):
        assert format_array(np.array([1, 1 / 3, 1e10, np.nan], np.float32), "float32") == text


def test_precision_applies_to_both_parts_of_complex_numbers_and_not_to_integers():
    with mx.printoptions(precision=3):
        assert (
            format_array(np.array(1 / 3 - 2j, np.complex64), "complex64")
            == "array(0.333-2.000j, dtype=complex64)"
        )
        assert format_array(np.array(3, np.int32), "int32") == "array(3, dtype=int32)"


def test_the_context_restores_the_options_also_after_an_error():
    mx.set_printoptions(precision=4)
    try:
        with pytest.raises(ZeroDivisionError), mx.printoptions(precision=2):
            assert mx.get_printoptions().precision == 2
            raise ZeroDivisionError
        assert mx.get_printoptions().precision == 4
    finally:
        mx.set_printoptions()
    assert mx.get_printoptions().precision == -1


def test_options_handed_out_are_a_copy():
    mx.get_printoptions().precision = 5
    assert mx.get_printoptions().precision == -1


@pytest.mark.parametrize(
    ("precision", "error"), [(1.5, TypeError), ("a", TypeError), (-2, ValueError)]
)
def test_a_bad_precision_is_refused(precision, error):
    with pytest.raises(error, match="precision"):
        mx.set_printoptions(precision)


def test_printing_looks_only_at_what_it_shows():
    large = np.broadcast_to(np.float32(0), (1 << 40, 1 << 20))
    assert format_array(large, "float32").count("0") == 36


def test_repr_and_str_of_arrays_are_this_text():
    x = mx.array([[1.0, 2.0], [3.0, 4.5]])
    assert repr(x) == str(x) == "array([[1, 2],\n       [3, 4.5]], dtype=float32)"
