"""Products with quantised weights: one token, and a batch.

PyTorch multiplies bfloat16 values by 4 bits in groups of 64, and by 8 bits a row, with the
operators that its own tools for quantised models call.
"""

from .registry import benchmarks, case, normal


def declare(rows, bits, **options):
    def make(mx, x, w):
        quantized = mx.quantize(w, group_size=64, bits=bits)
        mx.eval(quantized)
        return lambda: mx.quantized_matmul(x, *quantized, transpose=True, group_size=64, bits=bits)

    case(
        f"quantized.{bits} bits {rows}x2048x2048",
        normal((rows, 2048), (2048, 2048)),
        stateful=True,
        mlx=make,
        torch=torch_4_bits if bits == 4 else torch_8_bits,
        **options,
    )


def torch_4_bits(torch, x, w):
    numbers = torch.randint(0, 16, w.shape, dtype=torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers, 1)
    scales = torch.ones((w.shape[1] // 64, w.shape[0], 2), dtype=torch.bfloat16)
    x = x.to(torch.bfloat16)
    return lambda: torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, 64, scales)


def torch_8_bits(torch, x, w):
    numbers = torch.randint(-128, 128, w.shape, dtype=torch.int8)
    scales = torch.ones(w.shape[0], dtype=torch.bfloat16)
    x = x.to(torch.bfloat16)
    return lambda: torch._weight_int8pack_mm(x, numbers, scales)


declare(1, 4, quick=True)
declare(1, 8)
declare(64, 4)
declare(64, 8)
case(
    "quantized.quantize 4 bits 2048x2048",
    normal((2048, 2048)),
    mlx=lambda mx, w: mx.quantize(w, group_size=64, bits=4),
)

test_speed = benchmarks(__name__)
