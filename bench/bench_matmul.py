"""Matrix products: square, batched, thin, of half precision."""

from .registry import benchmarks, case, named, normal

for size in (128, 512, 1024):
    case(
        f"matmul.{size}", normal((size, size), (size, size)), quick=size == 1024, **named("matmul")
    )
case("matmul.batch 32 of 128", normal((32, 128, 128), (32, 128, 128)), **named("matmul"))
case("matmul.vector 2048x2048", normal((1, 2048), (2048, 2048)), **named("matmul"))
case("matmul.thin 8x2048x2048", normal((8, 2048), (2048, 2048)), **named("matmul"))
case(
    "matmul.transposed 512",
    normal((512, 512), (512, 512)),
    mlx=lambda mx, x, y: x @ y.T,
    numpy=lambda np, x, y: x @ y.T,
    torch=lambda torch, x, y: x @ y.T,
    jax=True,
)
case(
    "matmul.bfloat16 512",
    normal((512, 512), (512, 512)),
    stateful=True,
    mlx=lambda mx, x, y: halves(x.astype(mx.bfloat16), y.astype(mx.bfloat16)),
    torch=lambda torch, x, y: halves(x.to(torch.bfloat16), y.to(torch.bfloat16)),
    jax=lambda np, x, y: halves(x.astype("bfloat16"), y.astype("bfloat16")),
)
case(
    "matmul.linear relu 256x784x256",
    normal((256, 784), (256, 784), 256),
    mlx=lambda mx, x, w, b: mx.maximum(mx.addmm(b, x, w.T), 0),
    numpy=lambda np, x, w, b: np.maximum(x @ w.T + b, 0),
    torch=lambda torch, x, w, b: torch.relu(torch.nn.functional.linear(x, w, b)),
    jax=True,
)


def halves(x, y):
    return lambda: x @ y


test_speed = benchmarks(__name__)
