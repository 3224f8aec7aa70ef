"""Fourier transforms."""

from .registry import benchmarks, case, named, normal

case("fft.rfft rows 1024x1024", normal((1024, 1024)), quick=True, **named("fft.rfft"))
for label, size in {"16": 16, "1e3": 1_000, "1e5": 100_000, "1e6": 1_000_000}.items():
    case(f"fft.rfft {label}", normal(size), size=size, **named("fft.rfft"))
case("fft.fft2 512x512", normal((512, 512)), **named("fft.fft2"))
case("fft.rfftn 64x64x64", normal((64, 64, 64)), **named("fft.rfftn"))

test_speed = benchmarks(__name__)
