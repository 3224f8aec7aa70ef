"""Fourier transforms against NumPy, their derivatives, framing, and bad input."""

import numpy as np
import pytest
from support import assert_threads_do_not_matter, generator, to_np

import mlxc.core as mx

TRANSFORMS = ("fft", "ifft", "rfft", "irfft")


def complex_sample(*shape):
    rng = generator("fft", shape)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def real_sample(*shape):
    return generator("fft", shape).standard_normal(shape).astype(np.float32)


def fitting(name, *shape):
    return real_sample(*shape) if name.startswith("r") else complex_sample(*shape)


def assert_near(got, expected, tolerance=1e-5):
    got, expected = to_np(got), np.asarray(expected)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("n", [None, 1, 4, 9])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_along_one_axis_equals_numpy(name, axis, n, norm):
    x = fitting(name, 5, 7)
    got = getattr(mx.fft, name)(mx.array(x), n=n, axis=axis, norm=norm)
    assert_near(got, getattr(np.fft, name)(x, n=n, axis=axis, norm=norm))


SHORT = (2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 20, 27, 32, 45, 60, 64, 77, 91, 100, 128, 240)
PRIME = (17, 34, 53, 101, 202, 257)
LENGTHS = (
    SHORT + PRIME + (256, 272, 360, 400, 486, 512, 625, 1000, 1001, 1024, 1040, 1331, 2002, 2048)
)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("count", [1, 4, 16, 19])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_many_lines_of_every_kind_of_length_equal_numpy(name, count, n):
    x = fitting(name, count, n // 2 + 1 if name == "irfft" else n)
    expected = getattr(np.fft, name)(x.astype(complex if x.dtype.kind == "c" else float), n=n)
    scale = np.abs(expected).max()
    assert_near(getattr(mx.fft, name)(mx.array(x), n=n) / scale, expected / scale, 4e-7)
    columns = getattr(mx.fft, name)(mx.array(np.ascontiguousarray(x.T)), n=n, axis=0)
    assert_near(columns.T / scale, expected / scale, 4e-7)


@pytest.mark.parametrize("n", [65536, 66150, 65537, 131070, 40000, 99225])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_line_longer_than_the_cache_equals_numpy(name, n):
    x = fitting(name, 3, n // 2 + 1 if name == "irfft" else n)[::2]
    expected = getattr(np.fft, name)(x.astype(complex if x.dtype.kind == "c" else float), n=n)
    scale = np.abs(expected).max()
    got = getattr(mx.fft, name)(mx.array(x), n=n)
    assert_near(got / scale, expected / scale, 4e-7)
    columns = getattr(mx.fft, name)(mx.array(np.ascontiguousarray(x.T)), n=n, axis=0)
    assert_near(columns.T / scale, expected / scale, 4e-7)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_lines_of_any_strides_are_transformed(name):
    x = fitting(name, 6, 513, 10)
    pieces = x[::-1, 1:, ::2], np.broadcast_to(x[:1, :, 1:9], (5, 513, 8)), x.transpose(2, 0, 1)
    views = mx.array(x)[::-1, 1:, ::2], mx.broadcast_to(mx.array(x)[:1, :, 1:9], (5, 513, 8))
    for piece, view in zip(pieces, (*views, mx.array(x).transpose(2, 0, 1)), strict=True):
        for axis in range(3):
            n = 8 if name == "irfft" and piece.shape[axis] == 5 else None
            expected = getattr(np.fft, name)(piece, n=n, axis=axis)
            assert_near(getattr(mx.fft, name)(view, n=n, axis=axis), expected)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_nan_spoils_its_own_line_alone(name):
    x = fitting(name, 20, 33)
    x[3, 5] = np.nan
    spoiled = np.isnan(to_np(getattr(mx.fft, name)(mx.array(x)))).any(axis=1)
    assert spoiled.tolist() == [line == 3 for line in range(20)]


def test_transforms_do_not_depend_on_the_number_of_threads():
    x = mx.array(complex_sample(70, 96))

    def everything():
        return mx.fft.fft2(x), mx.fft.irfft2(x), mx.fft.rfft(mx.real(x)), mx.fft.ifft(x, axis=0)

    assert_threads_do_not_matter(everything)


@pytest.mark.parametrize(
    "s, axes", [(None, None), ((4, 9), (0, 2)), ((3, 8), (2, 1)), (None, (1,))]
)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_along_several_axes_equals_numpy(name, s, axes):
    x = fitting(name, 3, 5, 6)
    got = getattr(mx.fft, name + "n")(mx.array(x), s=s, axes=axes)
    assert_near(got, getattr(np.fft, name + "n")(x, s=s, axes=axes))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_of_planes_takes_the_last_two_axes(name):
    x = fitting(name, 3, 5, 6)
    assert_near(getattr(mx.fft, name + "2")(mx.array(x)), getattr(np.fft, name + "2")(x))


@pytest.mark.parametrize(
    "dtype", [mx.bool_, mx.int32, mx.float16, mx.bfloat16, mx.float32, mx.float64]
)
def test_every_dtype_becomes_complex64(dtype):
    x = mx.array([1, 0, 1, 1]).astype(dtype)
    got = mx.fft.fft(x)
    assert got.dtype == mx.complex64
    assert_near(got, np.fft.fft([1, 0, 1, 1]))


def test_the_inverse_real_transform_is_float32():
    assert mx.fft.irfft(mx.array([1.0, 2.0])).dtype == mx.float32


def test_a_transform_reads_transposed_input():
    x = complex_sample(4, 6)
    assert_near(mx.fft.fft(mx.array(x).T), np.fft.fft(x.T))


def test_a_transform_of_no_rows_is_empty():
    assert mx.fft.fft(mx.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mx.fft.fft(mx.zeros((4,)), n=0),
        lambda: mx.fft.fft(mx.zeros((4,)), n=-3),
        lambda: mx.fft.fft(mx.zeros((0,))),
        lambda: mx.fft.fft(mx.array(1.0)),
        lambda: mx.fft.fft(mx.zeros((4,)), norm="sideways"),
        lambda: mx.fft.fftn(mx.zeros((4, 4)), axes=(0, 0)),
        lambda: mx.fft.fftn(mx.zeros((4, 4)), s=(2, 2), axes=(0,)),
        lambda: mx.fft.fftn(mx.zeros((4,)), s=(2, 2)),
        lambda: mx.fft.irfft(mx.zeros((1,))),
        lambda: mx.fft.rfftn(mx.zeros((4,)), axes=()),
        lambda: mx.fft.fftfreq(0),
        lambda: mx.fft.fftfreq(4, d=0.0),
    ],
)
def test_what_cannot_be_transformed_is_refused(call):
    with pytest.raises(ValueError, match=r"\["):
        mx.eval(call())


def test_a_bad_axis_is_refused():
    with pytest.raises((ValueError, IndexError)):
        mx.fft.fft(mx.zeros((4,)), axis=1)


@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies_and_shifts_equal_numpy(n):
    assert_near(mx.fft.fftfreq(n, 0.5), np.fft.fftfreq(n, 0.5))
    assert_near(mx.fft.rfftfreq(n, 0.5), np.fft.rfftfreq(n, 0.5))
    x = np.arange(n * 3).reshape(n, 3)
    for axes in (None, 0, (0, 1)):
        assert_near(mx.fft.fftshift(mx.array(x), axes), np.fft.fftshift(x, axes))
        assert_near(mx.fft.ifftshift(mx.array(x), axes), np.fft.ifftshift(x, axes))


def real_inner(u, v):
    return float(np.vdot(to_np(u), to_np(v)).real)


@pytest.mark.parametrize(
    "function, x",
    [
        (lambda x: mx.fft.fft(x, n=5), complex_sample(3, 6)),
        (lambda x: mx.fft.ifftn(x, axes=(1, 0), norm="ortho"), complex_sample(3, 6)),
        (lambda x: mx.fft.rfft(x, axis=0), real_sample(5, 3)),
        (lambda x: mx.fft.rfft2(x, norm="forward"), real_sample(5, 4)),
        (lambda x: mx.fft.irfft(x, n=6), complex_sample(3, 4)),
        (lambda x: mx.fft.irfft2(x, s=(3, 7)), complex_sample(3, 4)),
    ],
)
def test_the_vjp_is_the_adjoint_and_the_jvp_the_function_itself(function, x):
    x = mx.array(x)
    rng = generator("adjoint")
    v = mx.array(np.asarray(rng.standard_normal(x.shape), dtype=to_np(x).dtype))
    (out,), (tangent,) = mx.jvp(lambda x: function(x), [x], [v])
    ct = mx.array(np.asarray(rng.standard_normal(out.shape), dtype=to_np(out).dtype))
    _, (back,) = mx.vjp(function, [x], [ct])
    assert back.dtype == x.dtype
    assert_near(tangent, function(v))
    assert abs(real_inner(ct, tangent) - real_inner(back, v)) < 1e-3


def test_vmap_equals_a_loop():
    x = mx.array(complex_sample(3, 4, 5))
    for function in (lambda x: mx.fft.fft(x, axis=0), lambda x: mx.fft.irfftn(x, axes=(0, 1))):
        assert_near(mx.vmap(function)(x), np.stack([to_np(function(row)) for row in x]))


def frames_of(signal, n_fft, hop):
    count = 1 + (len(signal) - n_fft) // hop
    return np.stack([signal[i * hop : i * hop + n_fft] for i in range(count)])


@pytest.mark.parametrize("mode", ["reflect", "constant", "edge"])
def test_stft_is_the_transform_of_windowed_frames(mode):
    x, window = real_sample(30), np.hanning(6).astype(np.float32)
    padded = np.pad(x, 4, mode=mode)
    full = np.pad(window, 1)
    got = mx.fft.stft(mx.array(x), n_fft=8, hop_length=3, window=mx.array(window), pad_mode=mode)
    assert_near(got, np.fft.rfft(frames_of(padded, 8, 3) * full).T)


def test_stft_reflects_a_signal_shorter_than_the_padding_more_than_once():
    x = np.arange(3, dtype=np.float32)
    padded = np.pad(x, 4, mode="reflect")
    assert_near(mx.fft.stft(mx.array(x), n_fft=8), np.fft.rfft(frames_of(padded, 8, 2)).T)


def test_stft_of_complex_input_has_all_frequencies():
    x = complex_sample(20)
    got = mx.fft.stft(mx.array(x), n_fft=8, center=False)
    assert_near(got, np.fft.fft(frames_of(x, 8, 2)).T)


@pytest.mark.parametrize("n_fft, hop", [(8, None), (8, 3), (7, 2)])
@pytest.mark.parametrize("length", [None, 20, 40])
def test_istft_inverts_stft(n_fft, hop, length):
    x = real_sample(2, 32)
    window = mx.array(np.hamming(n_fft).astype(np.float32))
    spectra = mx.fft.stft(mx.array(x), n_fft, hop, window=window)
    got = to_np(mx.fft.istft(spectra, n_fft, hop, window=window, length=length))
    shared = min(32, got.shape[-1]) - (0 if hop is None else 3)
    assert length is None or got.shape[-1] == length
    np.testing.assert_allclose(got[:, :shared], x[:, :shared], atol=1e-4)


@pytest.mark.parametrize("name", ["n_fft", "hop_length", "win_length", "length"])
def test_sizes_of_frames_that_are_no_integers_are_named(name):
    spectra = mx.fft.stft(mx.zeros((64,)), n_fft=8)
    with pytest.raises(TypeError, match=rf"\[istft\] {name} is 0.5; it must be an integer"):
        mx.fft.istft(spectra, **{name: 0.5})


def test_stft_has_a_gradient():
    x = mx.array(real_sample(24))
    gradient = mx.grad(lambda x: mx.sum(mx.abs(mx.fft.stft(x, n_fft=8)) ** 2))(x)
    assert gradient.shape == (24,) and np.isfinite(to_np(gradient)).all()


@pytest.mark.parametrize(
    "settings",
    [
        dict(n_fft=0),
        dict(n_fft=64, center=False),
        dict(n_fft=8, hop_length=0),
        dict(n_fft=8, win_length=9),
        dict(n_fft=8, window=mx.ones((2, 4))),
        dict(n_fft=8, pad_mode="mirror"),
    ],
)
def test_stft_refuses_settings_that_do_not_fit(settings):
    with pytest.raises(ValueError, match=r"\[stft\]"):
        mx.fft.stft(mx.zeros((32,)), **settings)


def test_istft_refuses_what_holds_no_frames():
    with pytest.raises(ValueError, match=r"\[istft\]"):
        mx.fft.istft(mx.zeros((5,)))
    with pytest.raises(ValueError, match=r"\[istft\]"):
        mx.fft.istft(mx.zeros((5, 0)))
