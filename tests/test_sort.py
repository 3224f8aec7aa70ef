"""The sort family against NumPy: every dtype and axis, NaN, stability, derivatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import assert_threads_do_not_matter

import mlxc.core as mx

DTYPES = (
    *("bool_", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "complex64"),
)


def sample(rng, shape, dtype):
    """Values with ties, and for floats NaN, infinities and both zeros."""
    if dtype == "bool_":
        return rng.random(shape) < 0.5
    if dtype[0] in "ui":
        limits = np.iinfo(dtype)
        few = rng.integers(0, 9, shape).astype(dtype)
        return few if rng.random() < 0.5 else rng.integers(limits.min, limits.max, shape, dtype)
    x = rng.normal(size=shape) if rng.random() < 0.5 else rng.integers(-3, 4, shape) * 1.0
    for value in (np.nan, np.inf, -np.inf, -0.0):
        x = np.where(rng.random(shape) < 0.05, value, x)
    if dtype == "complex64":
        x = x + 1j * rng.integers(-2, 3, shape)
    return x.astype(dtype)


@st.composite
def problems(draw):
    shape = draw(st.lists(st.integers(0, 40), min_size=1, max_size=3).map(tuple))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    dtype = draw(st.sampled_from(DTYPES))
    return sample(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), shape, dtype), axis


def sorted_by_numpy(x, axis):
    # Through places: some releases of NumPy sort float16 wrongly where they vectorise it.
    return np.take_along_axis(x, np.argsort(x, axis, kind="stable"), axis)


@settings(deadline=None, max_examples=80)
@given(problems())
def test_sort_and_argsort_are_numpys_stable_ones(problem):
    x, axis = problem
    np.testing.assert_array_equal(np.array(mx.sort(mx.array(x), axis)), sorted_by_numpy(x, axis))
    places = mx.argsort(mx.array(x), axis)
    assert places.dtype == mx.uint32
    np.testing.assert_array_equal(np.array(places), np.argsort(x, axis, kind="stable"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 24, 25, 300, 1200, 70_000])
def test_lines_of_every_length_are_sorted(dtype, n):
    x = sample(np.random.default_rng(n), (n,), dtype)
    np.testing.assert_array_equal(np.array(mx.sort(mx.array(x))), sorted_by_numpy(x, 0))
    np.testing.assert_array_equal(np.array(mx.argsort(mx.array(x))), np.argsort(x, kind="stable"))
    for kth in {0, n // 3, n - 1}:
        parted = np.array(mx.partition(mx.array(x), kth))
        expected = sorted_by_numpy(x, 0)
        np.testing.assert_array_equal(parted[kth], expected[kth])
        np.testing.assert_array_equal(sorted_by_numpy(parted[:kth], 0), expected[:kth])
        np.testing.assert_array_equal(sorted_by_numpy(parted[kth:], 0), expected[kth:])
        places = np.array(mx.argpartition(mx.array(x), kth))
        np.testing.assert_array_equal(x[places], parted)


def test_sorting_keeps_the_sign_of_zero_and_bfloat16():
    out = np.array(mx.sort(mx.array([0.0, -1.0, -0.0])))
    assert sorted(np.signbit(out[1:]).tolist()) == [False, True]
    x = mx.array([2.5, np.nan, -np.inf, 1.0]).astype(mx.bfloat16)
    assert str(mx.sort(x).astype(mx.float32).tolist()) == "[-inf, 1.0, 2.5, nan]"


@pytest.mark.parametrize("shape, axis", [((3, 50), 1), ((50, 3), 0), ((2, 700, 5), 1), ((4, 1), 1)])
def test_topk_are_the_largest(shape, axis):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for k in {1, shape[axis] // 2, shape[axis]} - {0}:
        out = np.array(mx.topk(mx.array(x), k, axis))
        expected = np.take(np.sort(x, axis), range(shape[axis] - k, shape[axis]), axis)
        np.testing.assert_array_equal(np.sort(out, axis), expected)
    assert mx.topk(mx.array(x), 0, axis).shape[axis] == 0


@settings(deadline=None, max_examples=60)
@given(problems(), st.booleans(), st.sampled_from(("argmax", "argmin")))
def test_argmax_and_argmin_are_numpys(problem, keepdims, name):
    x, axis = problem
    if x.shape[axis] == 0:
        with pytest.raises(ValueError, match=name):
            getattr(mx, name)(mx.array(x), axis)
        return
    out = getattr(mx, name)(mx.array(x), axis, keepdims)
    assert out.dtype == mx.uint32
    np.testing.assert_array_equal(np.array(out), getattr(np, name)(x, axis, keepdims=keepdims))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("n", [1, 127, 128, 1025, 50_000])
def test_the_first_nan_or_the_first_extremum_wins(name, n):
    x = np.zeros(n, np.float32)
    assert getattr(mx, name)(mx.array(x)).item() == 0
    x[n // 2] = 1 if name == "argmax" else -1
    x[-1] = x[n // 2]
    assert getattr(mx, name)(mx.array(x)).item() == n // 2
    x[n * 2 // 3 :] = np.nan
    assert getattr(mx, name)(mx.array(x)).item() == n * 2 // 3
    assert getattr(mx, name)(mx.array(x), keepdims=True).shape == (1,)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.sampled_from(DTYPES), st.booleans(), st.integers(0, 2**32 - 1))
def test_searchsorted_is_numpys(n, dtype, right, seed):
    rng = np.random.default_rng(seed)
    sequence = sorted_by_numpy(sample(rng, (n,), dtype), 0)
    values = sample(rng, (3, 5), dtype)
    side = "right" if right else "left"
    out = mx.searchsorted(mx.array(sequence), mx.array(values), side)
    assert out.dtype == mx.uint32
    np.testing.assert_array_equal(np.array(out), np.searchsorted(sequence, values, side))


def test_searchsorted_compares_in_the_common_dtype():
    assert mx.searchsorted(mx.array([1, 2, 3]), mx.array([2.5])).tolist() == [2]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 12))
def test_unique_is_numpys_cut_off_or_filled_up(values, size):
    x = np.array(values, np.int32)
    out, index, inverse, counts = mx.unique(mx.array(x), size, True, True, True, fill_value=77)
    found, first, back, count = np.unique(x, True, True, True)
    n = min(size, len(found))
    assert out.tolist() == [*found[:n].tolist(), *[77] * (size - n)]
    assert index.tolist()[:n] == first[:n].tolist()
    assert inverse.tolist() == np.minimum(back.ravel(), size - 1).tolist()
    assert counts.tolist() == [*count[:n].tolist(), *[0] * (size - n)]
    assert (index.dtype, inverse.dtype, counts.dtype) == (mx.uint32, mx.uint32, mx.int32)


def test_unique_of_nothing_wants_something_to_fill_with():
    assert mx.unique(mx.zeros((0,)), 0).shape == (0,)
    assert mx.unique(mx.zeros((0,)), 2, fill_value=7).tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="unique"):
        mx.unique(mx.zeros((0,)), 1)
    with pytest.raises(ValueError, match="unique"):
        mx.unique(mx.array([1]), -1)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 7), (1, 1, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_median_is_numpys_and_nan_where_there_is_one(axis, shape, keepdims):
    x = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    for values in (x, np.where(x > 1.5, np.nan, x)):
        out = np.array(mx.median(mx.array(values), axis, keepdims))
        np.testing.assert_allclose(out, np.median(values, axis, keepdims=keepdims), rtol=1e-6)


def test_the_median_of_integers_is_float32_and_of_nothing_an_error():
    out = mx.median(mx.array([1, 2]))
    assert (out.item(), out.dtype) == (1.5, mx.float32)
    with pytest.raises(ValueError, match="median"):
        mx.median(mx.zeros((0,)))


def test_what_is_out_of_range_is_refused():
    x = mx.ones((2, 3))
    for name in ("sort", "argsort", "argmax", "argmin", "median"):
        for axis in (2, -3):
            with pytest.raises(ValueError, match=name):
                getattr(mx, name)(x, axis=axis)
    for kth in (3, -4):
        for name in ("partition", "argpartition"):
            with pytest.raises(ValueError, match=name):
                getattr(mx, name)(x, kth)
    for k in (4, -1):
        with pytest.raises(ValueError, match="topk"):
            mx.topk(x, k)
    with pytest.raises(TypeError, match="topk"):
        mx.topk(x, 1.5)
    with pytest.raises(ValueError, match="searchsorted"):
        mx.searchsorted(x, x)
    with pytest.raises(ValueError, match="side"):
        mx.searchsorted(mx.array([1.0]), mx.array([1.0]), side="middle")


@pytest.mark.parametrize("name", ["sort", "partition", "topk", "median"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cotangents_go_back_to_where_values_came_from(name, axis):
    rng = np.random.default_rng(5)
    x = rng.permutation(60).reshape(3, 4, 5).astype(np.float32)
    count = (1,) if name in ("partition", "topk") else ()

    def order(a):
        if name == "median":
            return mx.median(a, axis, keepdims=True)
        return getattr(mx, name)(a, *count, axis=axis)

    out = order(mx.array(x))
    ct = rng.normal(size=tuple(out.shape)).astype(np.float32)
    tangent = rng.normal(size=x.shape).astype(np.float32)
    gradient = np.array(mx.vjp(order, [mx.array(x)], [mx.array(ct)])[1][0])
    pushed = np.array(mx.jvp(order, [mx.array(x)], [mx.array(tangent)])[1][0])
    np.testing.assert_allclose((pushed * ct).sum(), (gradient * tangent).sum(), rtol=1e-3)
    shift = np.array(order(mx.array(x + 0.01 * tangent))) - np.array(out)
    np.testing.assert_allclose(shift / 0.01, pushed, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["sort", "argsort", "argmax", "argmin"])
def test_vmap_orders_each_example_alone(name):
    x = np.random.default_rng(6).normal(size=(4, 3, 5)).astype(np.float32)
    out = mx.vmap(lambda a: getattr(mx, name)(a, axis=1), in_axes=1, out_axes=0)(mx.array(x))
    np.testing.assert_array_equal(np.array(out), getattr(np, name)(np.moveaxis(x, 1, 0), axis=2))


def test_vmap_of_searchsorted_takes_batches_of_sequences_and_of_values():
    sequences = mx.array([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    values = mx.array([[2.0], [2.0]])
    assert mx.vmap(mx.searchsorted)(sequences, values).tolist() == [[1], [2]]
    assert mx.vmap(mx.searchsorted, (None, 0))(sequences[0], values).tolist() == [[1], [1]]
    assert mx.vmap(mx.searchsorted, (0, None))(sequences, values[0]).tolist() == [[1], [2]]


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 31, 33, 100, 129, 513, 1024, 1025])
@pytest.mark.parametrize("count", [1, 3, 17])
def test_lines_that_are_sorted_together_do_not_mix(dtype, n, count):
    x = sample(np.random.default_rng(n), (count, n), dtype)
    np.testing.assert_array_equal(mx.sort(mx.array(x), axis=1), np.sort(x, axis=1))
    np.testing.assert_array_equal(
        mx.argsort(mx.array(x), axis=1), np.argsort(x, axis=1, kind="stable")
    )
    np.testing.assert_array_equal(mx.sort(mx.array(x.T.copy()), axis=0), np.sort(x, axis=1).T)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool_", "complex64"])
@pytest.mark.parametrize("n", [1, 2, 10, 127, 128, 129])
@pytest.mark.parametrize("count", [7, 8, 63, 65, 300])
def test_extrema_of_short_rows_are_numpys(dtype, n, count):
    x = sample(np.random.default_rng(n * count), (count, n), dtype)
    np.testing.assert_array_equal(mx.argmax(mx.array(x), axis=1), np.argmax(x, axis=1))
    np.testing.assert_array_equal(mx.argmin(mx.array(x), axis=1), np.argmin(x, axis=1))


def test_order_does_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(3)
    xs = [mx.array(sample(rng, shape, "float32")) for shape in ((2000, 30), (50, 1000), (3, 90000))]

    def everything():
        return [f(x, axis=1) for x in xs for f in (mx.sort, mx.argsort, mx.argmax, mx.argmin)]

    assert_threads_do_not_matter(everything)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int64"])
@pytest.mark.parametrize("n", [1, 3, 16, 31, 32, 33, 63, 64, 65, 100, 1023, 1024, 1025, 3000])
def test_the_first_extremum_is_found_at_every_place(dtype, n):
    places = sorted({*range(0, n, max(1, n // 37)), n - 1})
    x = np.zeros((len(places), n), np.float32)
    for row, place in enumerate(places):
        x[row, place:] = np.where(np.arange(n - place) % 5, 1, 2)  # again after the first
    given = mx.array(x, dtype=getattr(mx, dtype))
    assert mx.argmax(given, axis=1).tolist() == places
    assert mx.argmin(-given, axis=1).tolist() == places
    assert [mx.argmax(row).item() for row in given] == places
    if "float" in dtype:
        x[np.arange(len(places)), places] = np.nan
        given = mx.array(x, dtype=getattr(mx, dtype))
        assert mx.argmax(given, axis=1).tolist() == places
        assert mx.argmin(given, axis=1).tolist() == places


@pytest.mark.parametrize("kind", ["random", "ascending", "descending", "equal", "few", "waves"])
@pytest.mark.parametrize("kth", [0, 1, 50, 5000, 9900, 9998, 9999])
def test_any_place_of_long_lines_of_any_order_is_selected(kind, kth):
    n, rng = 10_000, np.random.default_rng(7)
    x = {
        "random": rng.standard_normal(n),
        "ascending": np.arange(n),
        "descending": -np.arange(n),
        "equal": np.zeros(n),
        "few": rng.integers(0, 3, n),
        "waves": np.sin(np.arange(n) / 31),
    }[kind].astype(np.float32)
    found = np.array(mx.partition(mx.array(x), kth))
    ordered = np.sort(x)
    assert found[kth] == ordered[kth]
    np.testing.assert_array_equal(np.sort(found[:kth]), ordered[:kth])
    np.testing.assert_array_equal(np.sort(found[kth:]), ordered[kth:])
