"""Arrays from nothing: against NumPy, with MLX's call forms and dtype rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlxc.core as mx


def evaluated(x):
    return np.array(x)


@pytest.mark.parametrize(
    "args, want, dtype",
    [
        ((5,), [0, 1, 2, 3, 4], "int32"),
        ((5.0,), [0, 1, 2, 3, 4], "float32"),
        ((1, 5), [1, 2, 3, 4], "int32"),
        ((5, 1, -2), [5, 3], "int32"),
        ((0, 1, 0.25), [0, 0.25, 0.5, 0.75], "float32"),
        ((5, 2), [], "int32"),
        ((3, None, mx.int8), [0, 1, 2], "int8"),
        ((0, 3, None, mx.int8), [0, 1, 2], "int8"),
        ((2**31, 2**31 + 2), [2**31, 2**31 + 1], "int64"),
        ((0, 3, 0.5, mx.int32), [0] * 6, "int32"),
        ((0, 3, 1, mx.float16), [0, 1, 2], "float16"),
        ((0, 3, 1, mx.complex64), [0, 1, 2], "complex64"),
        ((-3,), [], "int32"),
    ],
)
def test_arange_takes_all_call_forms(args, want, dtype):
    got = mx.arange(*args)
    assert got.dtype == getattr(mx, dtype)
    assert got.tolist() == want


def test_arange_takes_keywords():
    assert mx.arange(stop=3).tolist() == [0, 1, 2]
    assert mx.arange(start=1, stop=3).tolist() == [1, 2]
    assert mx.arange(6, step=2).tolist() == [0, 2, 4]
    assert mx.arange(stop=6, step=3, dtype=mx.float32).tolist() == [0.0, 3.0]


@settings(max_examples=100, deadline=None)
@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(-50, 50).filter(bool))
def test_integer_ranges_are_numpys(start, stop, step):
    np.testing.assert_array_equal(
        evaluated(mx.arange(start, stop, step)), np.arange(start, stop, step)
    )


def test_a_long_float_range_is_rounded_once():
    want = (0.1 + 0.3 * np.arange(200_000)).astype("float32")
    got = evaluated(mx.arange(0.1, 0.1 + 0.3 * 199_999.5, 0.3))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mx.arange(0, 1, 0),
        lambda: mx.arange(0, float("inf")),
        lambda: mx.arange(float("nan")),
        lambda: mx.arange(True),
        lambda: mx.arange(0, 2, dtype=mx.bool_),
        lambda: mx.zeros((2, -1)),
        lambda: mx.eye(-1),
        lambda: mx.linspace(0, 1, -1),
        lambda: mx.tril(mx.zeros(3)),
        lambda: mx.diag(mx.zeros((2, 2, 2))),
        lambda: mx.diagonal(mx.zeros((2, 2)), 0, 1, 1),
        lambda: mx.broadcast_shapes(),
        lambda: mx.broadcast_shapes((2,), (3,)),
        lambda: mx.meshgrid(mx.zeros(2), indexing="yx"),
        lambda: mx.asarray(np.zeros(2), copy=False),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(ValueError, match=r"^\["):
        call()


def test_constants_have_the_dtypes_asked_for():
    assert mx.zeros((2, 3)).dtype == mx.float32
    assert mx.ones(2, mx.int8).tolist() == [1, 1]
    assert mx.full((2,), 3).dtype == mx.int32
    assert mx.full((2,), True).dtype == mx.bool_
    assert mx.full((2, 2), mx.array([1, 2], mx.int8)).tolist() == [[1, 2], [1, 2]]
    assert mx.full_like(mx.zeros(2, mx.int32), 1.5).tolist() == [1, 1]
    assert mx.zeros_like(mx.ones((2,), mx.float16)).dtype == mx.float16
    assert mx.ones_like(mx.zeros((2, 0))).shape == (2, 0)
    assert mx.empty((2,)).shape == mx.empty_like(mx.zeros(2)).shape == (2,)


@pytest.mark.parametrize(
    "n, m, k", [(3, 3, 0), (2, 4, 1), (4, 2, -1), (3, None, 7), (0, 2, 0), (1, 1, -1)]
)
def test_eye_and_tri_are_numpys(n, m, k):
    np.testing.assert_array_equal(evaluated(mx.eye(n, m, k)), np.eye(n, m, k))
    np.testing.assert_array_equal(evaluated(mx.tri(n, m, k)), np.tri(n, m, k))
    np.testing.assert_array_equal(evaluated(mx.identity(n)), np.identity(n))


@pytest.mark.parametrize("k", [-5, -1, 0, 1, 2, 5])
@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (2, 3, 3)])
def test_triangles_and_diagonals_are_numpys(shape, k):
    x = np.arange(1, np.prod(shape) + 1).reshape(shape)
    a = mx.array(x)
    np.testing.assert_array_equal(evaluated(mx.tril(a, k)), np.tril(x, k))
    np.testing.assert_array_equal(evaluated(mx.triu(a, k)), np.triu(x, k))
    for axes in [(0, 1), (-1, 0)]:
        np.testing.assert_array_equal(evaluated(mx.diagonal(a, k, *axes)), np.diagonal(x, k, *axes))
        np.testing.assert_array_equal(evaluated(mx.trace(a, k, *axes)), np.trace(x, k, *axes))
    np.testing.assert_array_equal(evaluated(mx.diag(mx.array([1, 2, 3]), k)), np.diag([1, 2, 3], k))


def test_the_derivative_of_a_diagonal_is_a_diagonal():
    got = mx.grad(lambda a: (mx.diag(a) * mx.array([1.0, 2.0])).sum())(mx.ones((2, 2)))
    assert got.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    got = mx.grad(lambda a: (mx.diag(a, 1) * 3).sum())(mx.ones(2))
    assert got.tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    "args",
    [
        (0, 1, 5),
        (0, 1, 5, False),
        (1, -1, 7),
        (0, 1, 1),
        (0, 1, 0),
        (0.1, 0.7, 1000),
        (-1e6, 1e6, 50),
    ],
)
def test_linspace_is_numpys(args):
    got = evaluated(mx.linspace(*args))
    np.testing.assert_allclose(got, np.linspace(*args).astype("float32"), rtol=1e-6, atol=1e-6)
    if args[2] > 1 and len(args) == 3:
        assert got[-1] == np.float32(args[1])


def test_linspace_of_integers_truncates():
    assert mx.linspace(0, 10, 4, dtype=mx.int32).tolist() == [0, 3, 6, 10]


@pytest.mark.parametrize("name", ["hanning", "hamming", "blackman", "bartlett"])
@pytest.mark.parametrize("size", [0, 1, 2, 5, 64, 1001])
def test_windows_are_numpys(name, size):
    got = getattr(mx, name)(size)
    np.testing.assert_allclose(evaluated(got), getattr(np, name)(size), atol=2e-6)
    assert got.dtype == mx.float32


@pytest.mark.parametrize("indexing", ["xy", "ij"])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_meshgrid_is_numpys(indexing, sparse, count):
    axes = [np.arange(2), np.arange(3), np.arange(4)][:count]
    got = mx.meshgrid(*map(mx.array, axes), indexing=indexing, sparse=sparse)
    want = np.meshgrid(*axes, indexing=indexing, sparse=sparse)
    assert len(got) == len(want)
    for a, b in zip(got, want):
        np.testing.assert_array_equal(evaluated(a), b)


def test_broadcasting_shapes_and_arrays():
    assert mx.broadcast_shapes((1, 2), (3, 1), (2,)) == (3, 2)
    assert mx.broadcast_shapes((0, 1), (1, 4)) == (0, 4)
    a, b = mx.broadcast_arrays(mx.ones((2, 1)), mx.zeros(3))
    assert a.shape == b.shape == (2, 3)
    assert mx.broadcast_arrays() == []


def test_asarray_gives_a_handle_of_its_own():
    a = mx.array([1, 2])
    b = mx.asarray(a)
    b += 1
    assert a.tolist() == [1, 2]
    assert mx.asarray(np.ones(2)).dtype == mx.float32
    assert mx.asarray(a, mx.float32).tolist() == [1.0, 2.0]
