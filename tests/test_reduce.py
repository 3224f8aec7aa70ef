"""Reductions against NumPy: dtypes, axes, layouts, accuracy, what is undefined, derivatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import assert_threads_do_not_matter

import mlxc.core as mx

NUMBERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32")
WIDE = {"bool_": "int32", "int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"}
SHAPES = st.lists(st.integers(0, 5), min_size=0, max_size=4).map(tuple)


def sample(rng, shape, dtype):
    if dtype == "bool_":
        return rng.random(shape) < 0.5
    if dtype.startswith("float"):
        return np.asarray(rng.normal(size=shape), dtype)
    return np.asarray(rng.integers(0, 100, shape), dtype)


@st.composite
def problems(draw):
    shape = draw(SHAPES)
    axes = draw(st.none() | st.lists(st.integers(0, max(len(shape) - 1, 0)), unique=True))
    axes = None if axes is None or not shape else tuple(axes)
    return shape, axes, draw(st.booleans()), draw(st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from(("bool_", *NUMBERS)), st.sampled_from(("sum", "prod")))
def test_sum_and_prod_are_numpys_in_the_dtypes_of_mlx(problem, dtype, name):
    shape, axes, keepdims, seed = problem
    x = sample(np.random.default_rng(seed), shape, dtype)
    out = getattr(mx, name)(mx.array(x), axes, keepdims)
    wide = WIDE.get(dtype, dtype)
    expected = getattr(np, name)(x, axis=axes, keepdims=keepdims, dtype=wide)
    assert out.dtype == getattr(mx, wide)
    np.testing.assert_allclose(np.array(out), expected, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from(("bool_", *NUMBERS)), st.sampled_from(("max", "min")))
def test_max_and_min_are_numpys_and_refuse_empty_axes(problem, dtype, name):
    shape, axes, keepdims, seed = problem
    x = sample(np.random.default_rng(seed), shape, dtype)
    reduced = range(len(shape)) if axes is None else axes
    if any(shape[axis] == 0 for axis in reduced):
        with pytest.raises(ValueError, match=name):
            getattr(mx, name)(mx.array(x), axes, keepdims)
        return
    out = getattr(mx, name)(mx.array(x), axes, keepdims)
    np.testing.assert_array_equal(np.array(out), getattr(np, name)(x, axis=axes, keepdims=keepdims))


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from(("bool_", *NUMBERS)), st.sampled_from(("all", "any")))
def test_all_and_any_are_numpys(problem, dtype, name):
    shape, axes, keepdims, seed = problem
    x = sample(np.random.default_rng(seed), shape, dtype)
    out = getattr(mx, name)(mx.array(x), axes, keepdims)
    assert out.dtype == mx.bool_
    np.testing.assert_array_equal(np.array(out), getattr(np, name)(x, axis=axes, keepdims=keepdims))


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std", "logsumexp"])
@pytest.mark.parametrize(
    "rows, columns", [(1, 1), (3, 17), (70, 3), (5, 700), (300, 40), (2, 70001)]
)
@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("transposed", [False, True])
def test_long_and_short_axes_of_any_layout_agree_with_float64(
    name, rows, columns, axis, transposed
):
    x = np.random.default_rng(3).uniform(0.99, 1.01, (rows, columns)).astype(np.float32)
    a = mx.array(x)
    if transposed:
        x, a = x.T, a.T
    wide = x.astype(np.float64)
    if name == "logsumexp":
        expected = np.log(np.sum(np.exp(wide), axis))
    else:
        expected = getattr(np, name)(wide, axis)
    out = np.array(getattr(mx, name)(a, axis))
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-7)


def test_the_sum_of_many_equal_floats_is_right_to_the_last_digits():
    x = mx.full((10_000_000,), 0.1, mx.float32)
    exact = 10_000_000 * float(np.float32(0.1))
    assert abs(mx.sum(x).item() / exact - 1) < 1e-6
    columns = mx.sum(mx.reshape(x, (-1, 4)), axis=0)
    np.testing.assert_allclose(np.array(columns), exact / 4, rtol=1e-6)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("n", [1, 5, 40, 700, 5000])
def test_a_nan_anywhere_wins_max_and_min(name, n):
    for place in {0, n // 2, n - 1}:
        x = np.arange(n, dtype=np.float32)
        x[place] = np.nan
        assert np.isnan(getattr(mx, name)(mx.array(x)).item())
        columns = mx.array(np.stack([x, np.ones_like(x)], 1))
        assert np.isnan(np.array(getattr(mx, name)(columns, 0))).tolist() == [True, False]


@pytest.mark.parametrize("n", [1, 3, 4, 7, 15, 16, 17, 31, 33, 127, 129, 255, 257, 300])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_extrema_are_found_at_every_place(dtype, n):
    x = np.zeros((2 * n, n), np.float32)
    x[np.arange(n), np.arange(n)] = 2.0
    x[n + np.arange(n), np.arange(n)] = np.nan
    expected = [2.0] * n + [np.nan] * n
    for axis in (1, 0):
        given = mx.array(x if axis else x.T, dtype=getattr(mx, dtype))
        largest, least = mx.max(given, axis=axis), mx.min(-given, axis=axis)
        np.testing.assert_array_equal(largest.astype(mx.float32), expected)
        np.testing.assert_array_equal(least.astype(mx.float32), np.negative(expected))


@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 63, 64, 65, 127, 129, 300, 1100])
@pytest.mark.parametrize("dtype", [name for name in NUMBERS if "int" in name])
def test_extrema_of_integers_are_found_at_every_place(dtype, n):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    cases = (("max", low, low + 1), ("max", low, high), ("min", high, high - 1), ("min", high, low))
    for name, others, best in cases:
        x = np.full((n, n), others, dtype)
        x[np.arange(n), np.arange(n)] = best
        for axis in (0, 1):
            found = np.array(getattr(mx, name)(mx.array(x), axis=axis))
            np.testing.assert_array_equal(found, np.full(n, best, dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(5, 700), (300, 40), (2, 7001), (41, 3), (1, 1)])
def test_half_floats_are_added_up_without_loss(dtype, shape):
    """Small whole numbers: sums are exact in float32, and what is left is one rounding."""
    x = np.random.default_rng(8).integers(-4, 5, shape).astype(np.float32)
    for axis in (0, 1, None):
        found = mx.sum(mx.array(x, dtype=getattr(mx, dtype)), axis=axis)
        expected = mx.array(x.sum(axis), dtype=getattr(mx, dtype))
        assert mx.array_equal(found, expected).item()
        assert found.dtype == getattr(mx, dtype)


def test_what_is_only_folded_is_read_as_it_is_stored(monkeypatch):
    from mlxc._backends.cpu import lowering

    made = []

    def lower(self, *arguments, **named):
        made.append(original(self, *arguments, **named).describe())
        return self

    original = lowering.Lowering.lower
    monkeypatch.setattr(lowering.Lowering, "lower", lower)
    half = mx.array(np.ones((37, 1009), np.float16))
    small = mx.array(np.ones((41, 1013), np.int8))
    made.clear()
    with mx.stream(mx.cpu):
        for axis in (0, 1, None):
            mx.eval(mx.mean(half, axis=axis), mx.max(small, axis=axis))
        assert made and not any("load_" in text for text in made)
        made.clear()
        mx.eval(mx.var(half, axis=1))
        assert any("sum_centered_f16_rows" in text for text in made)
        assert not any("load_" in text for text in made)
        made.clear()
        mx.eval(mx.softmax(half, axis=1))  # maps read what is widened
    assert any("load_f16" in text and "max_f16_rows" in text for text in made)


SQUARED = [(1, 1), (3, 5), (64, 8), (200, 3), (37, 1009), (5, 9001), (300, 130), (4, 33, 70)]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", SQUARED, ids=str)
def test_squares_are_summed_up_as_values_are_read(dtype, shape):
    rng = np.random.default_rng(4)
    x = mx.array(rng.standard_normal(shape, np.float32) + 3, dtype=getattr(mx, dtype))
    wide = np.array(x.astype(mx.float32)).astype(np.float64)
    ours = x.astype(mx.float32)
    shapes = [shape, shape[-1:], (*shape[:-1], 1)]
    others = [np.float32(2.5), *(rng.standard_normal(s).astype(np.float32) for s in shapes)]
    for axis in (None, *range(len(shape)), (0, len(shape) - 1)):
        found, expected = mx.sum(mx.square(ours), axis=axis), np.square(wide).sum(axis)
        np.testing.assert_allclose(np.array(found), expected, rtol=2e-6)
        for other in [*others, np.float32(wide.mean(axis, keepdims=True))]:
            found = mx.sum(mx.square(ours - mx.array(other)), axis=axis)
            expected = np.square(wide - other).sum(axis)
            np.testing.assert_allclose(np.array(found), expected, rtol=4e-6, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(0, 0), (0, 3), (3, 0), (0, 0, 0), (0, 2, 0), (3, 0, 4)], ids=str
)
def test_squares_of_nothing_are_summed_up(shape):
    x = np.zeros(shape, np.float32)
    for axis in (None, *range(len(shape)), (0, 1)):
        for other in (shape, shape[-1:], (*shape[:-1], 1)):
            for ours in (mx.array(x), mx.zeros(shape)):
                found = mx.sum(mx.square(ours - mx.ones(other)), axis)
                np.testing.assert_array_equal(np.array(found), x.sum(axis))


def test_squares_of_infinities_and_nans_are_what_they_are():
    x = np.zeros((40, 50), np.float32)
    x[3, 7], x[5, 9] = np.inf, np.nan
    for axis in (0, 1):
        np.testing.assert_array_equal(
            np.array(mx.sum(mx.square(mx.array(x)), axis)), (x * x).sum(axis)
        )
        mean = mx.mean(mx.array(x), axis, keepdims=True)
        centered = np.array(mx.sum(mx.square(mx.array(x) - mean), axis))
        assert np.isnan(centered).sum() == 2 and not np.isnan(np.delete(centered, 9)).all()


@pytest.mark.parametrize(
    "shape", [(9, 3000), (8, 9001), (1, 5), (7, 1), (1003, 70), (3000, 9), (999, 31)]
)
@pytest.mark.parametrize("dtype", ["float32", "int32", "complex64", "bool", "float16"])
def test_columns_are_reduced_where_they_stand(dtype, shape):
    x = np.random.default_rng(5).integers(-1, 2, (2, *shape)).astype(dtype)
    names = ("all", "any") if dtype == "bool" else ("sum", "max", "prod", "min")
    for cut in ((), (slice(None), slice(None, None, 2)), (..., slice(1, None))):
        for name in names[:3:2] if dtype == "complex64" else names:
            found = np.array(getattr(mx, name)(mx.array(x)[cut], axis=1))
            expected = getattr(np, name)(x[cut], axis=1)
            np.testing.assert_array_equal(found, expected.astype(found.dtype))


@pytest.mark.parametrize("rows", [1, 2, 16, 17, 35])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "uint32", "int64"])
def test_every_row_of_wide_columns_counts(dtype, rows):
    x = np.random.default_rng(rows).integers(0, 3, (rows, 17003)).astype(dtype)
    with mx.stream(mx.cpu):
        for cut in (slice(None), slice(3, None), slice(None, -11)):
            for name in ("sum", "max", "min", "prod"):
                found = np.array(getattr(mx, name)(mx.array(x)[:, cut], axis=0))
                expected = getattr(np, name)(x[:, cut].astype("float64"), axis=0)
                if name == "prod":
                    found, expected = found % 251, expected.astype(found.dtype) % 251
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(3, 17003), (70, 300), (5000, 7)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_nan_in_any_row_wins_its_column(dtype, shape):
    x = np.zeros(shape, dtype)
    columns = np.linspace(0, shape[1] - 1, shape[0]).astype(int)
    x[np.arange(shape[0]), columns] = np.nan
    for name in ("sum", "max", "min"):
        found = np.isnan(np.array(getattr(mx, name)(mx.array(x), axis=0).astype(mx.float32)))
        np.testing.assert_array_equal(found, np.isnan(x).any(0))


def test_reductions_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(6)
    shapes = ((70, 3000), (1003, 700), (200000, 3), (5, 300000))
    xs = [mx.array(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]

    def everything():
        return [f(x, axis=a) for x in xs for a in (0, 1, None) for f in (mx.sum, mx.max)]

    assert_threads_do_not_matter(everything)


def test_complex_numbers_are_ordered_by_real_then_imaginary_part():
    x = mx.array(np.array([1 + 2j, 1 + 3j, 9j], np.complex64))
    assert mx.max(x).item() == 1 + 3j
    assert mx.min(x).item() == 9j
    assert mx.sum(x).item() == 2 + 14j


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_composites_do_not_overflow_on_the_way(dtype):
    x = mx.full((100_000,), 100.0, getattr(mx, dtype))
    assert mx.mean(x).dtype == getattr(mx, dtype)
    assert mx.mean(x).item() == 100.0
    assert mx.var(x).item() == 0.0
    big = mx.array([-300.0, 300.0]).astype(getattr(mx, dtype))
    assert mx.std(big).item() == pytest.approx(300, rel=1e-2)


@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_variance_along_and_beside_an_axis_of_no_length(axis):
    x = np.zeros((0, 3, 4), np.float32)
    with np.errstate(invalid="ignore"):
        expected = np.var(x, axis=axis)
    np.testing.assert_array_equal(mx.var(mx.array(x), axis=axis), expected)


def test_the_variance_of_numbers_far_from_zero_keeps_its_digits():
    x = np.random.default_rng(0).normal(1e4, 1.0, 100_000).astype(np.float32)
    assert mx.var(mx.array(x)).item() == pytest.approx(np.var(x.astype(np.float64)), rel=1e-4)


def test_means_of_nothing_are_nan_and_ddof_divides_by_what_is_left():
    assert np.isnan(mx.mean(mx.zeros((0,))).item())
    assert np.isnan(mx.var(mx.zeros((0,))).item())
    x = mx.array([1.0, 2.0, 3.0])
    assert mx.var(x, ddof=1).item() == 1.0
    assert np.isinf(mx.var(x, ddof=3).item())
    assert np.isinf(mx.var(x, ddof=5).item())


def test_logsumexp_of_infinite_values_is_what_the_limit_says():
    inf = np.inf
    x = mx.array([[-inf, -inf], [0.0, inf], [-inf, 1.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(np.array(mx.logsumexp(x, 1)), [-inf, inf, 1, np.nan])
    with pytest.raises(ValueError, match="logsumexp"):
        mx.logsumexp(mx.zeros((0,)))


def test_minmax_and_count_nonzero_agree_with_their_parts():
    x = mx.array([[0.0, -2.0], [3.0, 4.0]])
    low, high = mx.minmax(x, axis=1)
    assert (low.tolist(), high.tolist()) == ([-2.0, 3.0], [0.0, 4.0])
    count = mx.count_nonzero(x, axis=0)
    assert (count.tolist(), count.dtype) == ([1, 2], mx.int32)


@pytest.mark.parametrize("axis", [2, -3, (0, 0), (0, -2)])
@pytest.mark.parametrize("name", ["sum", "max", "all", "mean", "var", "logsumexp", "count_nonzero"])
def test_axes_twice_or_out_of_range_are_refused(name, axis):
    with pytest.raises(ValueError, match=name):
        getattr(mx, name)(mx.ones((2, 3)), axis=axis)


def test_no_axes_reduce_nothing():
    x = mx.array([[1.0, 2.0]])
    assert mx.sum(x, ()).tolist() == [[1.0, 2.0]]
    assert mx.sum(mx.array(True)).dtype == mx.int32


@pytest.mark.parametrize(
    "values, expected",
    [([2.0, 0.0, 3.0], [0, 6, 0]), ([2.0, 0.0, 0.0], [0, 0, 0]), ([2.0, 3.0, 4.0], [12, 8, 6])],
)
def test_the_gradient_of_prod_is_right_with_any_number_of_zeros(values, expected):
    assert mx.grad(mx.prod)(mx.array(values)).tolist() == expected


@pytest.mark.parametrize("name", ["max", "min"])
def test_what_attains_an_extremum_shares_its_gradient(name):
    x = mx.array([[1.0, 3.0, 3.0, 1.0]])
    share = mx.grad(lambda a: getattr(mx, name)(a, 1).sum())(x)
    assert share.tolist() == ([[0, 0.5, 0.5, 0]] if name == "max" else [[0.5, 0, 0, 0.5]])


def test_the_gradient_of_logsumexp_is_softmax():
    x = mx.array([1.0, 2.0, -np.inf])
    np.testing.assert_allclose(
        np.array(mx.grad(mx.logsumexp)(x)), [0.26894143, 0.7310586, 0.0], rtol=1e-5
    )


def test_vmap_reduces_each_example_alone():
    x = mx.array(np.random.default_rng(1).normal(size=(4, 3, 5)).astype(np.float32))
    out = mx.vmap(lambda a: mx.sum(a, 0), in_axes=1)(x)
    np.testing.assert_allclose(np.array(out), np.array(x).sum(0), rtol=1e-5)
