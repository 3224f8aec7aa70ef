"""Fourier transforms on the device against NumPy's in float64."""

import numpy as np
import pytest
from launching import launch, plan, result

import mlxc._backends.metal.fft  # noqa: F401  enters the launcher
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

NAMES = {"c2c": ("fft", "ifft"), "r2c": ("rfft", "rfft"), "c2r": ("irfft", "irfft")}


def signal(seed, *shape, real=False):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x.astype("f4") if real else (x + 1j * rng.standard_normal(shape)).astype("c8")


def half(sizes, axes, shape):
    """The shape with the last transformed axis halved."""
    shape = list(shape)
    shape[axes[-1]] = sizes[-1] // 2 + 1
    return tuple(shape)


def check(device, x, axes, sizes, kind, inverse=False, norm="backward"):
    shape = list(x.shape)
    for axis, n in zip(axes, sizes):
        shape[axis] = n
    shape = half(sizes, axes, shape) if kind == "r2c" else tuple(shape)
    dtype = "f4" if kind == "c2r" else "c8"
    wide = x.astype("f8" if kind == "r2c" else "c16")
    transform = getattr(np.fft, NAMES[kind][inverse] + "n")
    expected = transform(wide, s=sizes, axes=axes, norm=norm)
    params = (axes, sizes, kind, inverse or kind == "c2r", norm)
    (got,) = launch(device, "fft", [x], [(dtype, shape)], params)
    bound = 2e-6 * np.sqrt(np.mean(np.abs(expected) ** 2)) * np.log2(2 * np.prod(sizes))
    assert np.abs(got - expected).max(initial=0) <= bound


RADIX_LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 16, 30, 49, 64, 105, 125, 243, 360, 512, 1000, 2401, 4096]
OTHER_LENGTHS = [11, 13, 23, 101, 1009, 2039]


@pytest.mark.parametrize("n", RADIX_LENGTHS + OTHER_LENGTHS)
@pytest.mark.parametrize("inverse", [False, True], ids=["forwards", "backwards"])
def test_a_transform_of_any_length_is_right(device, n, inverse):
    check(device, signal(n, 2, n), (-1,), (n,), "c2c", inverse)


@pytest.mark.parametrize("n", [4098, 8192, 2311])
def test_long_transforms_are_right(device, n):
    for inverse in (False, True):
        check(device, signal(n, 1, n), (-1,), (n,), "c2c", inverse)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 8, 11, 22, 27, 64, 4200])
def test_real_transforms_keep_half_of_the_spectrum(device, n):
    check(device, signal(n, 3, n, real=True), (-1,), (n,), "r2c")
    check(device, signal(n, 3, n // 2 + 1), (-1,), (n,), "c2r")


def test_a_mirrored_transform_of_an_odd_long_length_is_right(device):
    check(device, signal(7, 1, 2063 // 2 + 1), (-1,), (2063,), "c2r")


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("kind", ["c2c", "r2c", "c2r"])
def test_every_norm_over_several_axes_is_right(device, kind, norm):
    sizes, axes = (5, 6, 11), (-3, -1, -2)
    shape = (2, 5, 11, 6)
    shape = half(sizes, axes, shape) if kind == "c2r" else shape
    x = signal(1, *shape, real=kind == "r2c")
    for inverse in (False, True) if kind == "c2c" else (False,):
        check(device, x, axes, sizes, kind, inverse, norm)


@pytest.mark.parametrize("n", [16, 24, 13, 4100])
def test_axes_of_any_stride_are_read_as_they_lie(device, n):
    x = signal(2, 2 * n, 3)[::-2]
    check(device, x, (-2,), (n,), "c2c")
    check(device, np.broadcast_to(x.T[1:2], (2, 3, n)), (-1,), (n,), "c2c")


def test_many_short_transforms_share_threadgroups(device):
    check(device, signal(3, 300, 8), (-1,), (8,), "c2c")
    check(device, signal(4, 8, 301), (-2,), (8,), "c2c")
    check(device, signal(5, 3, 5, 7, 12, real=True), (-1,), (12,), "r2c")


def test_nan_fills_its_own_transform_alone(device):
    x = signal(6, 3, 60)
    x[1, 7] = np.nan
    params = ((-1,), (60,), "c2c", False, "backward")
    (got,) = launch(device, "fft", [x], [("c8", (3, 60))], params)
    assert np.isnan(got[1]).all() and not np.isnan(got[[0, 2]]).any()


def test_scratch_memory_of_one_number_has_one_size():
    x = np.zeros((2, 1009, 5000), "c8")
    params = ((-2, -1), (1009, 5000), "c2c", False, "backward")
    sizes = {}
    for step in plan("fft", [x], [("c8", x.shape)], params):
        for argument in step.arguments:
            if type(argument).__name__ == "Scratch":
                assert sizes.setdefault(argument.index, argument.nbytes) == argument.nbytes
    assert len(sizes) == 3


def test_lengths_beyond_two_passes_are_left_to_the_processor():
    params = ((-1,), (2**25,), "c2c", False, "backward")
    x = Operand("complex64", (2**25,), (8,), 8)
    assert LAUNCHERS["fft"]([x], [result("c8", (2**25,))], params) is None
    prime = 2**24 - 3
    x, params = Operand("complex64", (prime,), (8,), 8), ((-1,), (prime,), *params[2:])
    assert LAUNCHERS["fft"]([x], [result("c8", (prime,))], params) is None


def test_offsets_beyond_32_bits_are_kept():
    x = Operand("complex64", (4, 64), (2**36, 8), 8)
    params = ((-1,), (64,), "c2c", False, "backward")
    (step,) = LAUNCHERS["fft"]([x], [result("c8", (4, 64))], params)
    assert np.frombuffer(step.arguments[3].data[:16], "i8")[1] == 2**33
