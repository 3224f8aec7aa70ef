"""Fourier transforms."""

from .registry import benchmarks, case, named, normal

case("fft.rfft rows 1024x1024", normal((1024, 1024)), quick=True, **named("fft.rfft"))
case("fft.fft2 512x512", normal((512, 512)), **named("fft.fft2"))

test_speed = benchmarks(__name__)
