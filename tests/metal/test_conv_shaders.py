"""Convolutions on the device against sums over taps in float64."""

import itertools

import numpy as np
import pytest
from launching import BFLOAT16, launch, operand, plan, result

import mlxc._backends.metal.conv  # noqa: F401  enters the launchers
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

FLOATS = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": BFLOAT16}
TOLERANCE = {"float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def numbers(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(FLOATS[dtype])


def settings(axes, stride=1, low=0, high=0, step=1, gap=1, groups=1, flip=False):
    """The row's parameters; a number stands for every axis."""
    each = [(v,) * axes if isinstance(v, int) else v for v in (stride, low, high, step, gap)]
    return (*each, groups, flip)


def taps(x, kernel, params):
    """(n, *out, taps, c): what each window sees, by spreading, padding and slicing."""
    stride, low, high, step, gap, _, flip = params
    x = x.astype("f8")
    spread = np.zeros((len(x), *((n - 1) * g + 1 for n, g in zip(x.shape[1:-1], gap)), x.shape[-1]))
    spread[(slice(None), *(slice(None, None, g) for g in gap))] = x
    for axis, (front, back) in enumerate(zip(low, high), 1):
        widths = [(0, 0)] * x.ndim
        widths[axis] = (max(front, 0), max(back, 0))
        spread = np.pad(spread, widths)
        keep = [slice(None)] * x.ndim
        keep[axis] = slice(max(-front, 0), spread.shape[axis] - max(-back, 0))
        spread = spread[tuple(keep)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, step)]
    out = [(n - r) // s + 1 for n, r, s in zip(spread.shape[1:], reach, stride)]
    seen = []
    for tap in itertools.product(*map(range, kernel)):
        tap = [k - 1 - t if flip else t for k, t in zip(kernel, tap)]
        first = [t * d for t, d in zip(tap, step)]
        places = [slice(f, f + (n - 1) * s + 1, s) for f, n, s in zip(first, out, stride)]
        seen.append(spread[(slice(None), *places)])
    return np.stack(seen, axis=-2)


def forward(x, w, params):
    groups, o = params[5], w.shape[0]
    seen = taps(x, w.shape[1:-1], params)
    seen = seen.reshape(*seen.shape[:-1], groups, -1)
    w = w.astype("f8").reshape(groups, o // groups, -1, w.shape[-1])
    out = np.einsum("...tgc,gotc->...go", seen, w, optimize=True)
    return out.reshape(*out.shape[:-2], o)


def gradient(x, ct, kernel, params):
    groups, o = params[5], ct.shape[-1]
    seen = taps(x, kernel, params)
    seen = seen.reshape(-1, seen.shape[-2], groups, x.shape[-1] // groups)
    ct = ct.astype("f8").reshape(-1, groups, o // groups)
    return np.einsum("mtgc,mgo->gotc", seen, ct).reshape(o, *kernel, -1)


def check(device, x, w, params, dtype="float32"):
    """Both rows, of one geometry."""
    expected = forward(x, w, params)
    (got,) = launch(device, "conv", [x, w], [(x.dtype, expected.shape)], params)
    terms = np.prod(w.shape[1:])
    close(got, expected, terms, dtype)
    ct = numbers(99, *expected.shape, dtype=dtype)
    kernel = w.shape[1:-1]
    out = [(x.dtype, w.shape)]
    (got,) = launch(device, "conv_weight_gradient", [x, ct], out, (*params, kernel))
    close(got, gradient(x, ct, kernel, params), expected.size // w.shape[0], dtype)


def close(got, expected, terms, dtype):
    scale = 4 * TOLERANCE[dtype] * max(1, np.sqrt(terms))
    np.testing.assert_allclose(got.astype("f8"), expected, rtol=TOLERANCE[dtype] * 4, atol=scale)


GEOMETRIES = [
    settings(2),
    settings(2, stride=(1, 2), low=(1, 0), high=(2, 1)),
    settings(2, step=(1, 2), low=1, high=1),
    settings(2, gap=(2, 3), low=(1, 2)),
    settings(2, flip=True, low=1, high=1),
    settings(2, stride=2, gap=(3, 2), step=(1, 2), low=(-1, 2), high=(2, -1), flip=True),
]


@pytest.mark.parametrize("params", GEOMETRIES, ids=range(len(GEOMETRIES)))
@pytest.mark.parametrize("groups", [1, 2, 6], ids="groups{}".format)
def test_every_setting_of_two_axes_is_right(device, params, groups):
    params = (*params[:5], groups, params[6])
    x, w = numbers(1, 2, 7, 8, 6), numbers(2, 12, 3, 2, 6 // groups)
    check(device, x, w, params)


# Windows, filters and taps x channels on both sides of tiles of 32 and 64.
@pytest.mark.parametrize("size", [(31, 32, 5), (33, 31, 16), (65, 64, 11), (64, 65, 6), (4, 1, 1)])
def test_tiles_of_any_size_are_right(device, size):
    windows, filters, channels = size
    x, w = numbers(3, 1, windows + 2, channels), numbers(4, filters, 3, channels)
    check(device, x, w, settings(1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("groups", [1, 4])
def test_half_types_are_summed_in_float32(device, dtype, groups):
    x, w = numbers(5, 2, 6, 6, 8, dtype=dtype), numbers(6, 36, 3, 3, 8 // groups, dtype=dtype)
    check(device, x, w, settings(2, low=1, high=1, groups=groups), dtype)


def test_three_axes_are_right(device):
    x, w = numbers(7, 1, 4, 3, 5, 4), numbers(8, 6, 2, 3, 2, 2)
    check(device, x, w, settings(3, stride=(1, 1, 2), low=(-1, 0, 2), high=(0, 1, 0), groups=2))


@pytest.mark.parametrize("multiplier", [1, 2, 9])
def test_a_filter_for_each_channel_is_right(device, multiplier):
    x, w = numbers(9, 1, 6, 5, 35), numbers(10, 35 * multiplier, 3, 3, 1)
    check(device, x, w, settings(2, low=1, high=1, groups=35))


@pytest.mark.parametrize("groups", [1, 4])
def test_weights_of_any_strides_are_read_as_they_lie(device, groups):
    x, w = numbers(19, 1, 6, 5, 4), numbers(20, 3, 4 // groups, 12, 2).transpose(2, 0, 3, 1)
    params = settings(2, groups=groups)
    expected = forward(x, w, params)
    (got,) = launch(device, "conv", [x, w], [("f4", expected.shape)], params)
    close(got, expected, 24, "float32")


def test_a_long_inner_axis_is_split_and_added_up(device):
    x, w = numbers(11, 1, 5, 520), numbers(12, 9, 2, 520)
    steps = plan("conv", [x, w], [("f4", (1, 4, 9))], settings(1))
    assert [step.function for step in steps] == ["conv_tiles32_float32", "matmul_sum_float32"]
    check(device, x, w, settings(1))
    for groups in (1, 4, 2):
        x, w = numbers(13, 2, 600, 4), numbers(14, 20 if groups == 2 else 4, 1, 4 // groups)
        check(device, x, w, settings(1, groups=groups))


def test_windows_that_see_only_padding_give_zeros(device):
    x, w = numbers(15, 1, 3, 2), numbers(16, 4, 2, 2)
    params = settings(1, low=5, high=4)
    check(device, x, w, params)
    empty = np.zeros((1, 0, 2), "f4")
    (got,) = launch(device, "conv", [empty, w], [("f4", (1, 3, 4))], settings(1, low=4))
    assert not got.any()


def test_no_channels_and_no_images_give_zeros(device):
    x, w = np.zeros((1, 5, 0), "f4"), np.zeros((4, 2, 0), "f4")
    (got,) = launch(device, "conv", [x, w], [("f4", (1, 4, 4))], settings(1))
    assert not got.any()
    for groups in (1, 2):
        x, ct = np.zeros((0, 5, 2), "f4"), np.zeros((0, 4, 4), "f4")
        out = [("f4", (4, 2, 2 // groups))]
        params = (*settings(1, groups=groups), (2,))
        (got,) = launch(device, "conv_weight_gradient", [x, ct], out, params)
        assert not got.any()


@pytest.mark.parametrize("groups", [1, 2])
def test_nothing_is_multiplied_by_the_gaps_of_an_image(device, groups):
    x, w = np.ones((1, 4, 4, 2), "f4"), np.full((2, 4, 4, 2 // groups), np.inf, "f4")
    params = settings(2, gap=(2, 3), groups=groups)
    (got,) = launch(device, "conv", [x, w], [("f4", (1, 4, 7, 2))], params)
    assert np.isposinf(got).all()
    ct = np.full(got.shape, np.inf, "f4")
    (got,) = launch(device, "conv_weight_gradient", [x, ct], [("f4", w.shape)], (*params, (4, 4)))
    assert np.isposinf(got).all()


def test_results_between_the_pixels_of_a_wide_gap_are_zero(device):
    x, w = numbers(21, 1, 4, 3), numbers(22, 5, 2, 3)
    check(device, x, w, settings(1, gap=5, low=2, high=3))
    check(device, x, w, settings(1, gap=5, stride=3, step=5, high=3))
    assert plan("conv", [x, w], [("f4", (1, 15000, 5))], settings(1, gap=5000)) is None


@pytest.mark.parametrize("groups", [1, 4])
def test_nan_and_infinity_reach_the_windows_that_see_them_alone(device, groups):
    x, w = numbers(17, 1, 9, 4), np.abs(numbers(18, 4, 2, 4 // groups)) + 1
    x[0, 2], x[0, 6, 1] = np.nan, np.inf
    expected = forward(x, w, settings(1, groups=groups))
    (got,) = launch(device, "conv", [x, w], [("f4", (1, 8, 4))], settings(1, groups=groups))
    if groups == 4:
        assert np.array_equal(np.isinf(got), np.isinf(expected))
    assert np.array_equal(np.isnan(got), np.isnan(expected))


def test_counts_beyond_32_bits_are_refused_and_large_images_are_not():
    def image(*shape):
        return Operand("float32", shape, result("f4", shape).strides, 4)

    w = operand(np.zeros((8, 1, 1, 64), "f4"))
    x, out = image(40, 2**11, 2**11, 64), image(40, 2**11, 2**11, 8)
    assert LAUNCHERS["conv"]([x, w], [out], settings(2))
    x, out = image(600, 2**11, 2**11, 64), image(600, 2**11, 2**11, 8)
    assert LAUNCHERS["conv"]([x, w], [out], settings(2)) is None
    x, w = np.zeros((1, 4, 2)), np.zeros((1, 1, 2))
    assert plan("conv", [x, w], [("f8", (1, 4, 1))], settings(1)) is None
