"""Copies into another arrangement: transposes, joins, slices, padding."""

from .registry import benchmarks, case, normal

MATRIX = normal((2048, 2048))


def transposed(name, shape, **options):
    case(
        f"movement.{name}",
        normal(shape),
        mlx=lambda mx, x: mx.contiguous(x.T),
        numpy=lambda np, x: np.ascontiguousarray(x.T),
        torch=lambda torch, x: x.T.contiguous(),
        jax=lambda np, x: x.T,
        **options,
    )


transposed("transpose 2048x2048", (2048, 2048), quick=True)
case(
    "movement.permute 64x128x8x16",
    normal((64, 128, 8, 16)),
    mlx=lambda mx, x: mx.contiguous(mx.transpose(x, (0, 2, 1, 3))),
    numpy=lambda np, x: np.ascontiguousarray(np.transpose(x, (0, 2, 1, 3))),
    torch=lambda torch, x: x.permute(0, 2, 1, 3).contiguous(),
    jax=lambda np, x: np.transpose(x, (0, 2, 1, 3)),
)
case(
    "movement.concatenate 2 of 1024x1024",
    normal((1024, 1024), (1024, 1024)),
    mlx=lambda mx, x, y: mx.concatenate([x, y], axis=1),
    numpy=lambda np, x, y: np.concatenate([x, y], axis=1),
    torch=lambda torch, x, y: torch.cat([x, y], 1),
    jax=True,
)
case(
    "movement.strided slice 2048x2048",
    MATRIX,
    mlx=lambda mx, x: mx.contiguous(x[::2, ::2]),
    numpy=lambda np, x: np.ascontiguousarray(x[::2, ::2]),
    torch=lambda torch, x: x[::2, ::2].contiguous(),
    jax=lambda np, x: x[::2, ::2],
)
case(
    "movement.pad 2048x2048",
    MATRIX,
    mlx=lambda mx, x: mx.pad(x, 1),
    numpy=lambda np, x: np.pad(x, 1),
    torch=lambda torch, x: torch.nn.functional.pad(x, (1, 1, 1, 1)),
    jax=True,
)

for label, shape in {
    "10": (2, 5),
    "1e3": (10, 100),
    "1e5": (313, 317),
    "1e7": (3163, 3167),
}.items():
    transposed(f"transpose of odd sizes {label}", shape, size=shape[0] * shape[1])
transposed("transpose float16 2048x2048", (2048, 2048), dtype="float16")
case(
    "movement.transpose axes 31x33x1001",
    normal((31, 33, 1001)),
    mlx=lambda mx, x: mx.contiguous(mx.transpose(x, (2, 1, 0))),
    numpy=lambda np, x: np.ascontiguousarray(np.transpose(x, (2, 1, 0))),
    torch=lambda torch, x: x.permute(2, 1, 0).contiguous(),
    jax=lambda np, x: np.transpose(x, (2, 1, 0)),
)

test_speed = benchmarks(__name__)
