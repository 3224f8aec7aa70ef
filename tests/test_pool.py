"""Pooling against windows taken one by one, and its derivatives against each other."""

import itertools

import numpy as np
import pytest
from support import assert_threads_do_not_matter

import mlxc.core as mx
import mlxc.nn as nn

RNG = np.random.default_rng(5)
TOLERANCE = {"float32": 1e-6, "float64": 1e-14, "float16": 2e-3, "bfloat16": 2e-2}

# Shapes and kernel, stride, padding: windows that tile the input, overlap, leave gaps or a rest,
# reach into padding; whole blocks of channels and fewer; one to three axes.
CASES = [
    ((2, 9, 16), (2,), (2,), (0,)),
    ((2, 9, 3), (3,), (1,), (1,)),
    ((2, 8, 6, 32), (2, 2), (2, 2), (0, 0)),
    ((2, 7, 9, 19), (3, 2), (2, 3), (1, 1)),
    ((1, 7, 9, 1), (2, 2), (3, 3), (0, 0)),
    ((3, 4, 5, 6, 17), (2, 3, 2), (1, 2, 2), (1, 0, 1)),
    ((70, 5, 5, 16), (3, 3), (2, 2), (1, 1)),
]
LAYERS = {
    (1, "max"): nn.MaxPool1d,
    (2, "max"): nn.MaxPool2d,
    (3, "max"): nn.MaxPool3d,
    (1, "mean"): nn.AvgPool1d,
    (2, "mean"): nn.AvgPool2d,
    (3, "mean"): nn.AvgPool3d,
}


def layer(kind, kernel, stride, padding):
    return LAYERS[len(kernel), kind](kernel, stride, padding)


def windows(x, kernel, stride, padding, fill):
    """(position in the result, slices of the padded input) of every window; the padded input."""
    width = [(0, 0), *((p, p) for p in padding), (0, 0)]
    x = np.pad(x, width, constant_values=fill)
    counts = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], kernel, stride)]
    places = []
    for at in itertools.product(*map(range, counts)):
        taken = (slice(i * s, i * s + k) for i, s, k in zip(at, stride, kernel))
        places.append(((slice(None), *at), (slice(None), *taken)))
    return places, x, counts


def expected(kind, x, kernel, stride, padding):
    fill = -np.inf if kind == "max" else 0
    places, x, counts = windows(x, kernel, stride, padding, fill)
    out = np.zeros((x.shape[0], *counts, x.shape[-1]))
    axes = tuple(range(1, x.ndim - 1))
    for at, taken in places:
        out[at] = (np.max if kind == "max" else np.mean)(x[taken], axes)
    return out


def expected_gradient(kind, x, ct, kernel, stride, padding):
    """Each window's cotangent, shared by what attains its maximum, or by all."""
    places, padded, _ = windows(x, kernel, stride, padding, -np.inf if kind == "max" else 0)
    out, axes = np.zeros(padded.shape), tuple(range(1, x.ndim - 1))
    for at, taken in places:
        window = padded[taken]
        chosen = np.ones(window.shape)
        if kind == "max":
            chosen = (window == window.max(axes, keepdims=True)) | np.isnan(window)
        share = ct[at] / chosen.sum(axes)
        out[taken] += chosen * share.reshape(x.shape[0], *[1] * len(kernel), x.shape[-1])
    inside = (slice(p, p + n) for p, n in zip(padding, x.shape[1:-1]))
    return out[(slice(None), *inside)]


def numbers(shape, dtype="float32", steps=3):
    """Few different values, so that maxima are attained several times."""
    values = RNG.integers(-steps, steps + 1, shape).astype("float32")
    return mx.array(values).astype(getattr(mx, dtype))


def exact(x):
    return np.array(x.astype(mx.float64))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("shape, kernel, stride, padding", CASES)
def test_pooling_agrees_with_windows_taken_one_by_one(shape, kernel, stride, padding, kind, dtype):
    x, pooling = numbers(shape, dtype), layer(kind, kernel, stride, padding)
    y = pooling(x)
    want = expected(kind, exact(x), kernel, stride, padding)
    assert y.shape == want.shape and y.dtype == x.dtype
    assert np.allclose(exact(y), want, atol=TOLERANCE[dtype] * 3)
    ct = numbers(y.shape, dtype)
    _, (dx,) = mx.vjp(pooling, [x], [ct])
    want = expected_gradient(kind, exact(x), exact(ct), kernel, stride, padding)
    assert np.allclose(exact(dx), want, atol=TOLERANCE[dtype] * 16)


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("shape, kernel, stride, padding", CASES)
def test_tangents_are_the_transpose_of_gradients(shape, kernel, stride, padding, kind):
    x, pooling = numbers(shape), layer(kind, kernel, stride, padding)
    t = mx.array(RNG.standard_normal(shape).astype("float32"))
    (y,), (moved,) = mx.jvp(pooling, [x], [t])
    ct = mx.array(RNG.standard_normal(y.shape).astype("float32"))
    _, (dx,) = mx.vjp(pooling, [x], [ct])
    assert np.isclose((exact(dx) * exact(t)).sum(), (exact(moved) * exact(ct)).sum(), atol=1e-3)


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_second_derivatives_go_through_all_rows(kind):
    x, pooling = numbers((2, 6, 5, 3)), layer(kind, (2, 3), (1, 2), (1, 0))
    ct = numbers(pooling(x).shape)

    def pulled(ct):
        return mx.sum(mx.vjp(pooling, [x], [ct])[1][0] ** 2)

    along = numbers(ct.shape)
    slope = mx.sum(mx.grad(pulled)(ct) * along).item()
    change = (pulled(ct + 0.5 * along) - pulled(ct - 0.5 * along)).item()
    assert np.isclose(slope, change, rtol=1e-4)  # a quadratic: differences are exact


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_vmap_agrees_with_one_example_at_a_time(kind):
    x, pooling = numbers((3, 2, 6, 6, 4)), layer(kind, (3, 2), (2, 2), (1, 0))
    gradient = mx.grad(lambda x: mx.sum(pooling(x) ** 2))
    for function in (pooling, gradient):
        out = mx.vmap(function)(x)
        for k in range(3):
            assert np.allclose(exact(out[k]), exact(function(x[k])), atol=1e-6)


def test_a_nan_is_the_maximum_and_takes_the_gradient():
    x = mx.array([1.0, float("nan"), 3.0, 2.0, 1.0, 0.0]).reshape(1, 6, 1)
    x = mx.concatenate([x] * 17, axis=-1)
    y = np.array(nn.MaxPool1d(3)(x))
    assert np.isnan(y[0, 0]).all() and (y[0, 1] == 2).all()
    (dx,) = mx.vjp(nn.MaxPool1d(3), [x], [mx.ones((1, 2, 17))])[1]
    assert (np.array(dx)[0] == np.array([[0, 1, 0, 1, 0, 0]]).T).all()


def test_padding_shares_a_maximum_of_minus_infinity():
    x = mx.full((1, 2, 2, 1), -float("inf"))
    (dx,) = mx.vjp(nn.MaxPool2d(2, 2, 1), [x], [mx.ones((1, 2, 2, 1))])[1]
    assert dx.flatten().tolist() == [0.25] * 4


@pytest.mark.parametrize(
    "dtype", ["bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
def test_integers_have_maxima_of_their_own_type_and_means_in_float32(dtype):
    info = np.iinfo(dtype) if dtype != "bool_" else None
    values = [0, 1, 0, 0] if info is None else [info.min, info.max, info.min, info.min]
    x = mx.array(np.array(values, dtype)).reshape(1, 4, 1)
    y = nn.MaxPool1d(2, 2)(x)
    assert y.dtype == x.dtype and y.flatten().tolist() == [values[1], values[0]]
    assert nn.MaxPool1d(2, 4, 3)(x).flatten().tolist()[0] == values[0]
    assert nn.AvgPool1d(2)(x).dtype == mx.float32


def test_complex_numbers_are_pooled():
    x = mx.array(np.array([1 + 1j, 3, 2, 1j]).astype("complex64")).reshape(1, 4, 1)
    assert nn.MaxPool1d(2)(x).flatten().tolist() == [3, 2]
    assert nn.AvgPool1d(2)(x).flatten().tolist() == [2 + 0.5j, 1 + 0.5j]


def test_windows_larger_than_the_input_give_nothing():
    x = mx.ones((2, 3, 3, 4))
    for pooling in (nn.MaxPool2d(4), nn.AvgPool2d(4)):
        y, (dx,) = mx.vjp(pooling, [x], [mx.ones((2, 0, 0, 4))])
        assert y[0].shape == (2, 0, 0, 4) and exact(dx).sum() == 0
    assert nn.MaxPool2d(2)(mx.ones((0, 4, 4, 3))).shape == (0, 2, 2, 3)


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_results_do_not_depend_on_the_number_of_threads(kind):
    x, pooling = numbers((2, 40, 41, 70)), layer(kind, (3, 3), (2, 2), (1, 1))
    ct = numbers(pooling(x).shape)

    def everything():
        y, gradients = mx.vjp(pooling, [x], [ct])
        return y + gradients

    assert_threads_do_not_matter(everything)


BAD = [
    ((2, 3, 3, 1), ((2,), (2, 2), (0, 0)), "kernel"),
    ((2, 3, 3, 1), ((2, 2), (0, 2), (0, 0)), "stride"),
    ((2, 3, 3, 1), ((2, 2), (2, 2), (0, -1)), "padding"),
    ((2, 3), ((), (), ()), "needed"),
]


@pytest.mark.parametrize("shape, params, words", BAD)
def test_windows_that_do_not_fit_are_refused(shape, params, words):
    for row in ("max_pool", "mean_pool"):
        with pytest.raises(ValueError, match=words):
            mx._bind(row, (mx.ones(shape),), params)


@pytest.mark.parametrize("channels", [64, 65, 80, 130])
@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 2, 1), (7, 7, 0), (4, 1, 2)])
def test_many_channels_are_pooled_like_few(channels, kernel, stride, padding):
    x = np.random.default_rng(4).standard_normal((2, 9, 8, channels)).astype(np.float32)
    x[0, 3, 3, ::7], x[1, 5, 5, 3] = np.inf, np.nan
    for layer in (nn.MaxPool2d, nn.AvgPool2d):
        pool = layer(kernel, stride, padding)
        parts = [pool(mx.array(x[..., k : k + 5])) for k in range(0, channels, 5)]
        expected = np.concatenate([np.array(part) for part in parts], axis=-1)
        np.testing.assert_allclose(np.array(pool(mx.array(x))), expected, rtol=1e-6, atol=1e-6)
