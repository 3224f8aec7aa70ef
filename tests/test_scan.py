"""Scans against NumPy: every dtype, axis and direction, carried precision, derivatives."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import assert_threads_do_not_matter

import mlxc.core as mx

UFUNC = {
    "cumsum": np.add,
    "cumprod": np.multiply,
    "cummax": np.maximum,
    "cummin": np.minimum,
    "logcumsumexp": np.logaddexp,
}
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
DIRECTIONS = list(itertools.product((False, True), (True, False)))


def empty_value(name, dtype):
    """What an exclusive scan starts with."""
    if name in ("cumsum", "cumprod"):
        return int(name == "cumprod")
    if dtype == np.bool_:
        return name == "cummin"
    if np.dtype(dtype).kind in "ui":
        limits = np.iinfo(dtype)
        return limits.min if name == "cummax" else limits.max
    return np.inf if name == "cummin" else -np.inf


def reference(name, x, axis, reverse, inclusive):
    """The scan by NumPy."""
    x = np.flip(x, axis) if reverse else x
    out = UFUNC[name].accumulate(x, axis=axis, dtype=x.dtype)
    if not inclusive and x.shape[axis]:
        start = np.full_like(np.take(out, [0], axis), empty_value(name, x.dtype))
        out = np.concatenate([start, np.delete(out, -1, axis)], axis)
    return np.flip(out, axis) if reverse else out


@st.composite
def problems(draw):
    shape = draw(st.lists(st.integers(0, 6), min_size=1, max_size=3).map(tuple))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return shape, axis, draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from(INTEGERS), st.sampled_from(list(UFUNC)[:4]))
def test_integer_scans_are_numpys_and_keep_their_dtype(problem, dtype, name):
    shape, axis, reverse, inclusive, seed = problem
    x = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    out = getattr(mx, name)(mx.array(x), axis, reverse=reverse, inclusive=inclusive)
    assert out.dtype == getattr(mx, dtype)
    np.testing.assert_array_equal(np.array(out), reference(name, x, axis, reverse, inclusive))


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from(list(UFUNC)))
def test_float_scans_are_numpys(problem, name):
    shape, axis, reverse, inclusive, seed = problem
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    out = getattr(mx, name)(mx.array(x), axis, reverse=reverse, inclusive=inclusive)
    expected = reference(name, x.astype(np.float64), axis, reverse, inclusive)
    np.testing.assert_allclose(np.array(out), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", list(UFUNC))
@pytest.mark.parametrize(
    "shape, axis", [((1000,), 0), ((3, 5000), 1), ((700, 3), 0), ((40, 600), 0)]
)
@pytest.mark.parametrize("reverse, inclusive", DIRECTIONS)
def test_long_axes_agree_with_float64(name, shape, axis, reverse, inclusive):
    x = np.random.default_rng(1).uniform(0.99, 1.01, shape).astype(np.float32)
    out = getattr(mx, name)(mx.array(x), axis, reverse=reverse, inclusive=inclusive)
    expected = reference(name, x.astype(np.float64), axis, reverse, inclusive)
    np.testing.assert_allclose(np.array(out), expected, rtol=1e-6)


def test_a_long_float_sum_keeps_its_digits():
    out = np.array(mx.cumsum(mx.full((3_000_000,), 0.1, mx.float32)))
    exact = np.arange(1, 3_000_001) * float(np.float32(0.1))
    np.testing.assert_allclose(out, exact, rtol=1e-7)


CUT = [("cumsum", "float32"), ("cumsum", "float16"), ("cumsum", "int64"), ("cumprod", "int32")]
CUT += [("cummax", "float32"), ("cummin", "uint32"), ("cummax", "int8"), ("cumprod", "float32")]


@pytest.mark.parametrize("name, dtype", CUT)
@pytest.mark.parametrize("n", [64, 129, 40_003, 100_000])
@pytest.mark.parametrize("reverse, inclusive", DIRECTIONS)
def test_lines_are_scanned_in_pieces_of_any_length(name, dtype, n, reverse, inclusive):
    rng = np.random.default_rng(n)
    x = rng.integers(-3, 4, (2, n)) if dtype[0] != "u" else rng.integers(0, 9, (2, n))
    if name == "cumprod":
        x = np.where(x == 2, -1, 1)
    x = x.astype(dtype)
    out = getattr(mx, name)(mx.array(x), 1, reverse=reverse, inclusive=inclusive)
    wide = x.astype(np.float64) if dtype == "float16" else x
    found, expected = np.array(out), reference(name, wide, 1, reverse, inclusive)
    np.testing.assert_array_equal(found, expected.astype(found.dtype))


def test_scans_of_long_lines_do_not_depend_on_the_number_of_threads():
    x = mx.array(np.random.default_rng(5).standard_normal((3, 70_001), np.float32))
    assert_threads_do_not_matter(lambda: [mx.cumsum(x, 1), mx.cummax(x, 1), mx.cumprod(x, 1)])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_nan_stays_in_the_pieces_behind_it(reverse):
    x = np.random.default_rng(6).standard_normal(100_000).astype(np.float32)
    x[[70, -9]] = np.nan, np.inf
    along = x[::-1] if reverse else x
    for name, least in (("cummax", np.maximum), ("cummin", np.minimum)):
        out = np.array(getattr(mx, name)(mx.array(x), 0, reverse=reverse))
        np.testing.assert_array_equal(out[::-1] if reverse else out, least.accumulate(along))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_scans_are_carried_wider_and_rounded_once(dtype):
    out = mx.cumsum(mx.ones((5000,), getattr(mx, dtype)))
    assert out.dtype == getattr(mx, dtype)
    expected = mx.arange(1, 5001, dtype=mx.float32).astype(getattr(mx, dtype))
    assert mx.array_equal(out, expected).item()


def test_booleans_are_counted_in_int32_and_dtype_converts_first():
    x = mx.array([True, False, True])
    assert (mx.cumsum(x).tolist(), mx.cumsum(x).dtype) == ([1, 1, 2], mx.int32)
    assert (mx.cumprod(x).tolist(), mx.cumprod(x).dtype) == ([True, False, False], mx.bool_)
    wide = mx.cumsum(mx.array([250, 10], mx.uint8), dtype=mx.int32)
    assert (wide.tolist(), wide.dtype) == ([250, 260], mx.int32)


def test_complex_scans_are_numpys():
    x = np.random.default_rng(2).normal(size=(3, 18)).view(np.complex128).astype(np.complex64)
    np.testing.assert_allclose(np.array(mx.cumsum(mx.array(x), 1)), np.cumsum(x, 1), rtol=1e-4)
    np.testing.assert_allclose(np.array(mx.cumprod(mx.array(x), 1)), np.cumprod(x, 1), rtol=1e-4)
    logs = np.array(mx.logcumsumexp(mx.array(x), 1))
    np.testing.assert_allclose(np.exp(logs), np.cumsum(np.exp(x), 1), rtol=1e-4, atol=1e-5)


def test_no_axis_scans_the_flattened_array_and_a_scalar_becomes_one_value():
    assert mx.cumsum(mx.array([[1, 2], [3, 4]])).tolist() == [1, 3, 6, 10]
    assert mx.cumsum(mx.array(3)).tolist() == [3]
    assert mx.cumulative_sum is mx.cumsum and mx.cumulative_prod is mx.cumprod


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_a_nan_stays_from_where_it_stands(name):
    x = mx.array([1.0, np.nan, 3.0])
    assert np.isnan(np.array(getattr(mx, name)(x))).tolist() == [False, True, True]
    assert np.isnan(np.array(getattr(mx, name)(x, reverse=True))).tolist() == [True, True, False]


def test_logcumsumexp_neither_overflows_nor_makes_nan_of_infinities():
    inf = np.inf
    x = mx.array([-inf, 1000.0, 1000.0, inf, inf, -inf])
    expected = [-inf, 1000.0, 1000.6931472, inf, inf, inf]
    np.testing.assert_allclose(np.array(mx.logcumsumexp(x)), expected, rtol=1e-6)
    assert mx.logcumsumexp(mx.array([1, 2])).dtype == mx.float32


@pytest.mark.parametrize("name", list(UFUNC))
def test_axes_out_of_range_are_refused(name):
    for axis in (2, -3):
        with pytest.raises(ValueError, match=name):
            getattr(mx, name)(mx.ones((2, 3)), axis=axis)
    with pytest.raises(ValueError, match=name):
        getattr(mx, name)(mx.array(1.0), axis=0)


def differences(name, x, ct, axis, reverse, inclusive, step=1e-6):
    """The vjp by central differences."""

    def value(y):
        out = reference(name, y, axis, reverse, inclusive)
        return (np.where(np.isinf(out), 0, out) * ct).sum()

    out = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        out[place] = (value(up) - value(down)) / (2 * step)
    return out


@pytest.mark.parametrize("name", list(UFUNC))
@pytest.mark.parametrize("shape, axis", [((6,), 0), ((3, 5), 1), ((4, 2), 0), ((1,), 0)])
@pytest.mark.parametrize("reverse, inclusive", DIRECTIONS)
@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_derivatives_are_those_of_finite_differences(name, shape, axis, reverse, inclusive, zeros):
    rng = np.random.default_rng(7)
    x = rng.permutation(int(np.prod(shape))).reshape(shape) / 3 - 1.1
    x.flat[rng.permutation(x.size)[: zeros if name == "cumprod" else 0]] = 0
    ct, tangent = rng.normal(size=shape), rng.normal(size=shape)

    def scan(a):
        return getattr(mx, name)(a, axis, reverse=reverse, inclusive=inclusive)

    a, b, t = (mx.array(v.astype(np.float32)) for v in (x, ct, tangent))
    gradient = np.array(mx.vjp(scan, [a], [b])[1][0])
    expected = differences(name, x, ct, axis, reverse, inclusive)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3)
    pushed = np.array(mx.jvp(scan, [a], [t])[1][0])
    np.testing.assert_allclose(
        (pushed * ct).sum(), (gradient * tangent).sum(), rtol=1e-3, atol=1e-3
    )


def test_the_latest_of_equal_values_gets_the_gradient_of_cummax():
    x = mx.array([1.0, 3.0, 3.0, 2.0])
    assert mx.grad(lambda a: mx.cummax(a).sum())(x).tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize("name", list(UFUNC))
def test_vmap_scans_each_example_alone(name):
    x = np.random.default_rng(3).normal(size=(4, 3, 5)).astype(np.float32)
    out = mx.vmap(lambda a: getattr(mx, name)(a, 1), in_axes=1, out_axes=1)(mx.array(x))
    np.testing.assert_allclose(
        np.array(out), reference(name, x, 2, False, True), rtol=1e-4, atol=1e-5
    )


def test_scans_of_transposed_and_strided_arrays_see_values_not_memory():
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(np.array(mx.cumsum(mx.array(x).T, 0)), np.cumsum(x.T, 0))
    np.testing.assert_array_equal(
        np.array(mx.cumsum(mx.array(x)[:, ::2], 1)), np.cumsum(x[:, ::2], 1)
    )
