"""Products with quantised weights: one token, and a batch."""

from .registry import benchmarks, case, normal


def declare(rows, bits, **options):
    def make(mx, x, w):
        quantized = mx.quantize(w, group_size=64, bits=bits)
        mx.eval(quantized)
        return lambda: mx.quantized_matmul(x, *quantized, transpose=True, group_size=64, bits=bits)

    inputs = normal((rows, 2048), (2048, 2048))
    case(f"quantized.{bits} bits {rows}x2048x2048", inputs, stateful=True, mlx=make, **options)


declare(1, 4, quick=True)
declare(1, 8)
declare(64, 4)
case(
    "quantized.quantize 4 bits 2048x2048",
    normal((2048, 2048)),
    mlx=lambda mx, w: mx.quantize(w, group_size=64, bits=4),
)

test_speed = benchmarks(__name__)
