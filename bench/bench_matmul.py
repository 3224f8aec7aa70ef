"""Matrix products: square, batched, thin, of half precision."""

from .registry import HALVES, benchmarks, case, named, normal

for size in (3, 16, 64, 128, 512, 1024, 2048):
    case(
        f"matmul.{size}",
        normal((size, size), (size, size)),
        quick=size == 1024,
        also=HALVES if size == 512 else (),
        **named("matmul"),
    )
case("matmul.batch 32 of 128", normal((32, 128, 128), (32, 128, 128)), **named("matmul"))
case(
    "matmul.vector 2048x2048",
    normal((1, 2048), (2048, 2048)),
    also=HALVES,
    **named("matmul"),
)
case("matmul.thin 8x2048x2048", normal((8, 2048), (2048, 2048)), **named("matmul"))
case("matmul.tall 100000x32x32", normal((100_000, 32), (32, 32)), **named("matmul"))
case("matmul.inner 64x100000x64", normal((64, 100_000), (100_000, 64)), **named("matmul"))
case(
    "matmul.transposed 512",
    normal((512, 512), (512, 512)),
    mlx=lambda mx, x, y: x @ y.T,
    numpy=lambda np, x, y: x @ y.T,
    torch=lambda torch, x, y: x @ y.T,
    jax=True,
)
case(
    "matmul.linear relu 256x784x256",
    normal((256, 784), (256, 784), 256),
    mlx=lambda mx, x, w, b: mx.maximum(mx.addmm(b, x, w.T), 0),
    numpy=lambda np, x, w, b: np.maximum(x @ w.T + b, 0),
    torch=lambda torch, x, w, b: torch.relu(torch.nn.functional.linear(x, w, b)),
    jax=True,
    also=("bfloat16", "compiled"),
)

test_speed = benchmarks(__name__)
