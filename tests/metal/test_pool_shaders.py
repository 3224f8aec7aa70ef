"""Pooling on the device against windows taken one by one."""

import itertools

import numpy as np
import pytest
from launching import BFLOAT16, launch, plan, result

import mlxc._backends.metal.pool  # noqa: F401  enters the launchers
from mlxc._backends.metal.dispatch import LAUNCHERS

# Shapes, and kernel, stride, padding: windows that tile the images, overlap, leave gaps or a rest,
# reach into padding, see all of an image.
CASES = [
    ((2, 9, 5), ((2,), (2,), (0,))),
    ((2, 9, 3), ((3,), (1,), (1,))),
    ((2, 7, 9, 3), ((3, 2), (2, 3), (1, 1))),
    ((1, 7, 8, 1), ((2, 2), (3, 3), (0, 0))),
    ((2, 4, 4, 2), ((4, 4), (4, 4), (0, 0))),
    ((1, 4, 5, 6, 2), ((2, 3, 2), (1, 2, 2), (1, 0, 1))),
]
MANY = pytest.mark.parametrize("shape, params", CASES, ids=range(len(CASES)))
TOLERANCE = {"f4": 1e-6, "f2": 2e-3, BFLOAT16: 1.6e-2}


def numbers(seed, shape, dtype="f4"):
    """Small whole numbers: maxima that several values attain are frequent."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def windows(shape, params):
    """(place in the result, places of the pixels that it sees), and the result's shape."""
    kernel, stride, padding = params
    sizes = zip(shape[1:-1], kernel, stride, padding)
    out = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in sizes)
    found = []
    for at in itertools.product(*map(range, out)):
        seen = itertools.product(
            *(
                range(max(i * s - p, 0), min(i * s - p + k, n))
                for i, n, k, s, p in zip(at, shape[1:-1], kernel, stride, padding)
            )
        )
        found.append((at, list(seen)))
    return found, (shape[0], *out, shape[-1])


def sees(x, places):
    """What a window sees: (pixels, n, c)."""
    return np.stack([x[(slice(None), *place)] for place in places]).astype("f8")


def maxima(x, params):
    found, shape = windows(x.shape, params)
    out = np.zeros(shape)
    for at, places in found:
        out[(slice(None), *at)] = sees(x, places).max(0)
    return out


def carry(x, params, carried, back):
    """What comes with the maxima, shared by all that attain one; or goes back to them."""
    found, shape = windows(x.shape, params)
    out = np.zeros(x.shape if back else shape)
    for at, places in found:
        at = (slice(None), *at)
        seen = sees(x, places)
        chosen = seen == seen.max(0)
        weights = chosen / chosen.sum(0)
        if not back:
            out[at] = (weights * sees(carried, places)).sum(0)
            continue
        for weight, place in zip(weights, places):
            out[(slice(None), *place)] += weight * carried[at]
    return out


def means(x, params, back=None):
    """Means, or what the result's cotangent spreads over images of shape `back`."""
    found, shape = windows(back or x.shape, params)
    out = np.zeros(back or shape)
    for at, places in found:
        at = (slice(None), *at)
        if back is None:
            out[at] = sees(x, places).sum(0) / np.prod(params[0])
        for place in places if back else ():
            out[(slice(None), *place)] += x[at].astype("f8") / np.prod(params[0])
    return out


def check(device, row, ins, expected, params, dtype="f4"):
    (got,) = launch(device, row, ins, [(dtype, expected.shape)], params)
    bound = TOLERANCE[dtype] * 8
    np.testing.assert_allclose(got.astype("f8"), expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@MANY
def test_windows_give_maxima_and_means(device, shape, params, dtype):
    x = numbers(1, shape, dtype)
    check(device, "max_pool", [x], maxima(x, params), params, dtype)
    check(device, "mean_pool", [x], means(x, params), params, dtype)


@MANY
def test_what_maxima_carry_is_shared_by_all_that_attain_them(device, shape, params):
    x, tangent = numbers(2, shape), numbers(3, shape)
    check(device, "max_pool_tangent", [x, tangent], carry(x, params, tangent, False), params)
    ct = numbers(4, windows(shape, params)[1])
    check(device, "max_pool_gradient", [x, ct], carry(x, params, ct, True), params)


@MANY
def test_a_mean_spreads_its_cotangent(device, shape, params):
    ct = numbers(5, windows(shape, params)[1])
    size = (*params, shape[1:-1])
    check(device, "mean_pool_gradient", [ct], means(ct, params, shape), size)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16], ids=str)
def test_gradients_of_half_types_are_added_in_float32(device, dtype):
    shape, params = CASES[1]
    x, ct = numbers(6, shape, dtype), numbers(7, windows(shape, params)[1], dtype)
    expected = carry(x, params, ct.astype("f8"), True)
    check(device, "max_pool_gradient", [x, ct], expected, params, dtype)
    expected = means(ct, params, shape)
    check(device, "mean_pool_gradient", [ct], expected, (*params, shape[1:-1]), dtype)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_maxima_of_integers_are_exact_and_padding_is_the_least(device, dtype):
    x = np.random.default_rng(8).integers(0, 256, (2, 5, 3, 8), np.uint8).view(dtype)
    x = x % 2 == 1 if dtype == "?" else x
    x[0, 0] = False if dtype == "?" else np.iinfo(dtype).min
    params = ((2,), (2,), (1,))
    x = x.reshape(2, 5, -1)
    found, shape = windows(x.shape, params)
    expected = np.zeros(shape, dtype)
    for at, places in found:
        expected[(slice(None), *at)] = np.max([x[(slice(None), *place)] for place in places], 0)
    (got,) = launch(device, "max_pool", [x], [(x.dtype, shape)], params)
    assert np.array_equal(got, expected)


def test_a_window_of_padding_alone_is_minus_infinity_or_zero(device):
    x, params = np.full((1, 2, 1), -np.inf, "f4"), ((2,), (2,), (2,))
    (got,) = launch(device, "max_pool", [x], [("f4", (1, 3, 1))], params)
    assert np.isneginf(got).all()
    (got,) = launch(device, "mean_pool", [np.ones_like(x)], [("f4", (1, 3, 1))], params)
    assert not got[0, 0] and got[0, 1] == 1
    params = ((2,), (1,), (1,))  # padding takes its share of what minus infinity attains
    ct = np.ones((1, 3, 1), "f4")
    (got,) = launch(device, "max_pool_gradient", [x, ct], [("f4", x.shape)], params)
    assert np.array_equal(got, np.ones((1, 2, 1)))


def test_nan_wins_in_the_windows_that_see_it_alone(device):
    x, params = numbers(9, (1, 8, 2)), ((2,), (2,), (0,))
    x[0, 3, 1] = np.nan
    (got,) = launch(device, "max_pool", [x], [("f4", (1, 4, 2))], params)
    assert np.isnan(got[0, 1, 1]) and np.isnan(got).sum() == 1
    ct = np.ones((1, 4, 2), "f4")
    (got,) = launch(device, "max_pool_gradient", [x, ct], [("f4", x.shape)], params)
    assert got[0, 2, 1] == 0 and got[0, 3, 1] == 1


def test_images_smaller_than_a_window_get_no_gradient(device):
    x, ct, params = numbers(10, (1, 2, 3)), np.zeros((1, 0, 3), "f4"), ((4,), (1,), (0,))
    for row, ins, more in (("max_pool_gradient", [x, ct], ()), ("mean_pool_gradient", [ct], (2,))):
        given = (*params, more) if more else params
        (got,) = launch(device, row, ins, [("f4", x.shape)], given)
        assert not got.any()


def test_what_is_too_large_or_of_double_precision_is_left_to_the_processor():
    params = ((2,), (2,), (0,))
    assert plan("max_pool", [np.zeros((1, 4, 1))], [("f8", (1, 2, 1))], params) is None
    x, out = result("f4", (2**20, 2**10, 4)), result("f4", (2**20, 2**9, 4))
    assert LAUNCHERS["max_pool"]([x], [out], params) is None
