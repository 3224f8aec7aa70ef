"""Convolutions against a loop over taps in double precision."""

import itertools

import numpy as np
import pytest
from support import assert_threads_do_not_matter

import mlxc.core as mx

RNG = np.random.default_rng(11)
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "float16": 5e-3, "bfloat16": 4e-2}
PLAIN = dict(stride=1, low=0, high=0, kernel_dilation=1, input_dilation=1, groups=1, flip=False)

# Shapes of image and weights, and settings: tall and flat products, several blocks of the inner
# axis, plain 1 x 1, depthwise with and without multiples, groups, dilated and cropped inputs,
# nothing at all.
CASES = [
    ((2, 9, 10, 3), (5, 3, 3, 3), dict(low=1, high=1)),
    ((2, 9, 10, 64), (70, 3, 3, 64), dict(low=1, high=1)),
    ((3, 20, 21, 16), (8, 1, 1, 16), {}),
    ((2, 9, 10, 16), (8, 3, 3, 16), dict(low=1, high=1, flip=True)),
    ((2, 9, 10, 64), (64, 3, 3, 1), dict(low=1, high=1, groups=64)),
    ((2, 9, 10, 8), (16, 3, 3, 1), dict(groups=8, stride=2)),
    ((2, 9, 10, 8), (16, 3, 3, 2), dict(groups=4, stride=2)),
    ((2, 50, 3), (4, 5, 3), dict(low=10, high=7, stride=3)),
    ((2, 5, 6, 8), (4, 3, 3, 8), dict(input_dilation=2, low=2, high=3, flip=True)),
    ((4, 20, 20, 8), (520, 3, 3, 8), {}),
    ((2, 30, 30, 70), (33, 2, 2, 70), dict(stride=2, kernel_dilation=3)),
    ((1, 5, 0), (4, 2, 0), {}),
    ((1, 0, 2), (4, 2, 2), dict(low=2, high=1)),
    ((0, 5, 2), (4, 2, 2), {}),
    ((1, 4, 4, 4, 3), (5, 2, 2, 2, 3), dict(low=1, high=1)),
    ((1, 4, 5, 6, 4), (8, 2, 2, 2, 2), dict(groups=2, low=-1)),
    ((2, 7, 7, 5), (3, 2, 2, 5), dict(input_dilation=3)),  # output positions that no tap reaches
    ((1, 6, 5, 6), (4, 3, 3, 6), dict(input_dilation=4, kernel_dilation=2, stride=6, low=3)),
    ((2, 11, 12, 12), (18, 3, 3, 2), dict(groups=6, low=1, high=2, input_dilation=2)),
    ((2, 9, 1, 16), (20, 3, 1, 16), dict(low=0, high=0)),  # lines of one pixel
    ((2, 3, 1200, 2), (3, 2, 5, 2), dict(stride=2, low=2, high=1)),  # lines in several blocks
    ((1, 6, 7, 1024), (17, 2, 2, 1024), dict(low=1)),  # pixels that would meet in the cache
    ((40, 6, 6, 24), (40, 3, 3, 24), dict(low=1, high=1)),  # a gradient in many parts
    ((2, 9, 10, 18), (30, 3, 3, 9), dict(groups=2, low=1)),  # groups that begin amid a pair
    ((2, 9, 10, 36), (60, 3, 3, 18), dict(groups=2, low=1)),
]


def numbers(*shape, dtype="float32"):
    return mx.array(RNG.standard_normal(shape).astype("float32")).astype(getattr(mx, dtype))


def exact(x):
    return np.array(x.astype(mx.float64))


def spread(x, axis, gap):
    """Zeros between the elements of an axis."""
    size = (x.shape[axis] - 1) * gap + 1 if x.shape[axis] else 0
    out = np.zeros(x.shape[:axis] + (size,) + x.shape[axis + 1 :])
    out[(slice(None),) * axis + (slice(None, None, gap),)] = x
    return out


def reference(x, w, *, stride, low, high, kernel_dilation, input_dilation, groups, flip):
    spatial = x.ndim - 2
    if flip:
        w = np.flip(w, tuple(range(1, 1 + spatial)))
    for axis in range(1, 1 + spatial):
        x = spread(x, axis, input_dilation)
        widths = [(0, 0)] * x.ndim
        widths[axis] = (max(low, 0), max(high, 0))
        x = np.pad(x, widths)
        x = np.take(x, range(max(-low, 0), x.shape[axis] - max(-high, 0)), axis)
    reach = [(k - 1) * kernel_dilation + 1 for k in w.shape[1:-1]]
    out = [(n - r) // stride + 1 for n, r in zip(x.shape[1:], reach)]
    y = np.zeros((x.shape[0], *out, w.shape[0]))
    inside, outside = w.shape[-1], w.shape[0] // groups
    for g in range(groups):
        for taps in itertools.product(*map(range, w.shape[1:-1])):
            starts = [t * kernel_dilation for t in taps]
            at = [slice(s, s + (n - 1) * stride + 1, stride) for s, n in zip(starts, out)]
            part = x[(slice(None), *at, slice(g * inside, (g + 1) * inside))]
            weights = w[(slice(g * outside, (g + 1) * outside), *taps)]
            y[..., g * outside : (g + 1) * outside] += part @ weights.T
    return y


def general(x, w, *, low, high, **settings):
    return mx.conv_general(x, w, padding=([low], [high]), **settings)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("image, weights, settings", CASES)
def test_conv_general_agrees_with_a_loop_over_taps(image, weights, settings, dtype):
    settings = PLAIN | settings
    x, w = numbers(*image, dtype=dtype), numbers(*weights, dtype=dtype)
    y = general(x, w, **settings)
    expected = reference(exact(x), exact(w), **settings)
    assert y.shape == expected.shape
    assert str(y.dtype).endswith(dtype)
    scale = reference(np.abs(exact(x)), np.abs(exact(w)), **settings)
    assert (np.abs(exact(y) - expected) <= TOLERANCE[dtype] * (1 + scale)).all()


@pytest.mark.parametrize("image, weights, settings", CASES)
def test_gradients_are_the_adjoint_of_the_convolution(image, weights, settings):
    settings = PLAIN | settings
    x, w = numbers(*image), numbers(*weights)
    ct = numbers(*general(x, w, **settings).shape)
    (y,), (dx, dw) = mx.vjp(lambda x, w: general(x, w, **settings), [x, w], [ct])
    assert dx.shape == x.shape and dw.shape == w.shape
    along_x, along_w = exact(numbers(*image)), exact(numbers(*weights))
    for got, direction, moved in (
        (dx, along_x, reference(along_x, exact(w), **settings)),
        (dw, along_w, reference(exact(x), along_w, **settings)),
    ):
        expected = (moved * exact(ct)).sum()
        assert abs((exact(got) * direction).sum() - expected) <= 1e-3 * (
            1 + np.abs(moved).sum() ** 0.5
        )


def test_second_derivatives_go_through_both_rows():
    x, w = numbers(1, 6, 2), numbers(3, 2, 2)

    def slope(w):
        return mx.sum(mx.grad(lambda x: mx.sum(mx.conv1d(x, w, stride=2) ** 2))(x) ** 2)

    gradient, step = exact(mx.grad(slope)(w)), 1e-2
    along = numbers(3, 2, 2)
    change = (slope(w + step * along) - slope(w - step * along)).item() / (2 * step)
    assert abs((gradient * exact(along)).sum() - change) <= 1e-2 * (1 + abs(change))


@pytest.mark.parametrize("batched", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("groups", [1, 2])
def test_vmap_agrees_with_one_example_at_a_time(batched, groups):
    x, w = numbers(3, 2, 7, 4), numbers(3, 6, 3, 4 // groups)
    x = x if batched[0] == 0 else x[0]
    w = w if batched[1] == 0 else w[0]
    out = mx.vmap(lambda x, w: mx.conv1d(x, w, padding=1, groups=groups), in_axes=batched)(x, w)
    for k in range(3):
        one = mx.conv1d(
            x[k] if batched[0] == 0 else x, w[k] if batched[1] == 0 else w, padding=1, groups=groups
        )
        assert np.allclose(np.array(out[k]), np.array(one), atol=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("bfloat16", 0.2)])
def test_operands_of_any_strides_are_convolved(dtype, tolerance):
    x, w = numbers(9, 2, 3, 9, dtype=dtype), numbers(9, 3, 2, 11, dtype=dtype)
    channels_last, weights = mx.transpose(x, (1, 2, 3, 0)), mx.transpose(w, (3, 1, 2, 0))
    expected = reference(exact(channels_last), exact(weights), **PLAIN)
    assert np.allclose(exact(mx.conv2d(channels_last, weights)), expected, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("channels", [2, 3, 5])
def test_an_infinite_number_reaches_the_pixels_that_see_it_alone(dtype, channels):
    x = np.ones((1, 6, 7, channels))
    x[0, 2, 3] = np.inf
    image, weights = mx.array(x), mx.ones((20, 1, 1, channels))
    y = mx.conv2d(image.astype(getattr(mx, dtype)), weights.astype(getattr(mx, dtype)))
    assert (np.isfinite(exact(y)).all(-1) == np.isfinite(x).all(-1)).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("image, weights, settings", CASES)
def test_results_do_not_depend_on_the_number_of_threads(image, weights, settings, dtype):
    settings = PLAIN | settings
    x, w = numbers(*image, dtype=dtype), numbers(*weights, dtype=dtype)
    ct = numbers(*general(x, w, **settings).shape, dtype=dtype)

    def everything():
        y, gradients = mx.vjp(lambda x, w: general(x, w, **settings), [x, w], [ct])
        return y + gradients

    assert_threads_do_not_matter(everything)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("taps", range(1, 9))
@pytest.mark.parametrize("channels", [5, 16, 70])
def test_long_lines_of_single_channels_agree_with_a_loop_over_taps(channels, taps, dtype):
    for low, high, step in ((0, 0, 1), (taps // 2, taps // 2, 1), (taps + 3, 20, 1), (1, 0, 2)):
        settings = dict(low=low, high=high, stride=step, kernel_dilation=step, groups=channels)
        x = numbers(2, 3, 101, channels, dtype=dtype)
        w = numbers(channels, 2, taps, 1, dtype=dtype)
        got, expected = general(x, w, **settings), reference(exact(x), exact(w), **PLAIN | settings)
        error = np.abs(exact(got) - expected).max() / max(np.abs(expected).max(), 1)
        assert error < TOLERANCE[dtype]


def test_an_infinite_number_of_a_long_line_reaches_the_pixels_that_see_it_alone():
    x, w = mx.zeros((1, 3, 40, 16)), mx.ones((16, 3, 3, 1))
    x[:, 1, 0] = x[:, 1, 30] = mx.inf
    found = np.isfinite(np.array(mx.conv2d(x, w, padding=1, groups=16)))
    seen = np.isin(np.arange(40), (0, 1, 29, 30, 31))
    np.testing.assert_array_equal(found, np.broadcast_to(~seen[:, None], found.shape))


def test_nothing_is_multiplied_by_the_zeros_of_a_dilated_input():
    x, w = mx.ones((1, 4, 4, 3)), mx.full((2, 4, 4, 3), float("inf"))
    y = mx.conv_general(x, w, input_dilation=2)  # 0 * inf would be NaN
    assert (np.array(y) == np.inf).all()


@pytest.mark.parametrize(
    "stride, padding, dilation, extra", [(1, 0, 1, 0), (2, 1, 1, 1), (3, 0, 2, 0)]
)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_spreads_each_input_value(
    stride, padding, dilation, extra, groups
):
    x, w = numbers(2, 5, 4), numbers(6, 3, 4 // groups)
    expected = np.zeros((2, 4 * stride + 2 * dilation + 1 + extra, 6))
    for g in range(groups):
        inside = slice(g * 4 // groups, (g + 1) * 4 // groups)
        outside = slice(g * 6 // groups, (g + 1) * 6 // groups)
        for i, k in itertools.product(range(5), range(3)):
            at = i * stride + k * dilation
            expected[:, at, outside] += exact(x)[:, i, inside] @ exact(w)[outside, k].T
    expected = expected[:, padding : expected.shape[1] - padding]
    out = mx.conv_transpose1d(x, w, stride, padding, dilation, extra, groups)
    assert np.allclose(exact(out), expected, atol=1e-4)


def test_transposed_convolutions_have_the_documented_shape():
    out = mx.conv_transpose2d(
        mx.ones((1, 3, 3, 2)), mx.ones((4, 3, 3, 2)), (2, 1), (1, 0), 1, (1, 0)
    )
    assert out.shape == (1, 6, 5, 4)
    out = mx.conv_transpose3d(mx.ones((1, 3, 3, 3, 2)), mx.ones((4, 3, 3, 3, 2)), 2, 1, 1, 1)
    assert out.shape == (1, 6, 6, 6, 4)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolve_agrees_with_numpy(mode):
    for n, m in [(3, 2), (2, 3), (4, 4), (5, 4), (5, 3), (1, 1), (300, 70)]:
        a, v = numbers(n), numbers(m)
        expected = np.convolve(exact(a), exact(v), mode)
        assert np.allclose(exact(mx.convolve(a, v, mode)), expected, atol=1e-4)


BAD = [
    (lambda: mx.conv1d(mx.ones((1, 5, 2)), mx.ones((3, 2, 3))), "do not fit"),
    (lambda: mx.conv1d(mx.ones((5, 2)), mx.ones((3, 2, 2))), "3 axes"),
    (lambda: mx.conv1d(mx.ones((1, 5, 2)), mx.ones((3, 2))), "as many"),
    (lambda: mx.conv1d(mx.ones((1, 5, 2)), mx.ones((3, 2, 2)), 0), "stride"),
    (lambda: mx.conv1d(mx.ones((1, 5, 2)), mx.ones((3, 7, 2))), "reaches 7"),
    (lambda: mx.conv1d(mx.ones((1, 5, 2)), mx.ones((3, 2, 1)), groups=2), "groups"),
    (lambda: mx.conv1d(mx.ones((1, 5, 2)), mx.ones((4, 2, 1)), groups=0), "groups"),
    (lambda: mx.conv1d(mx.ones((1, 5, 2), mx.int32), mx.ones((4, 2, 2), mx.int32)), "floating"),
    (lambda: mx.conv2d(mx.ones((1, 5, 5, 2)), mx.ones((3, 2, 2, 2)), (2, 1, 1)), "3 values"),
    (lambda: mx.conv_general(mx.ones((1, 5, 2)), mx.ones((3, 2, 2)), input_dilation=0), "dilation"),
    (lambda: mx.conv1d(mx.ones((1, 5, 2)), mx.ones((3, 2, 2)), padding=2**40), "below"),
    (lambda: mx.convolve(mx.ones(3), mx.ones(0)), "empty"),
    (lambda: mx.convolve(mx.ones((3, 2)), mx.ones(3)), "one axis"),
    (lambda: mx.convolve(mx.ones(3), mx.ones(2), "other"), "mode"),
]


@pytest.mark.parametrize("call, words", BAD)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_padding_by_name_is_refused():
    with pytest.raises(TypeError, match="padding"):
        mx.conv2d(mx.ones((1, 5, 5, 2)), mx.ones((3, 2, 2, 2)), padding="same")
