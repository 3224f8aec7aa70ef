"""Sorting, order, and the largest few."""

from .registry import benchmarks, case, normal

for label, size in {"10": 10, "1e3": 1_000, "1e5": 100_000, "1e6": 1_000_000}.items():
    case(
        f"sort.sort {label}",
        normal(size),
        quick=label == "1e6",
        size=size,
        mlx=lambda mx, x: mx.sort(x),
        numpy=lambda np, x: np.sort(x),
        torch=lambda torch, x: torch.sort(x).values,
        jax=True,
    )
case(
    "sort.partition 1e6",
    normal(1_000_000),
    mlx=lambda mx, x: mx.partition(x, 500_000),
    numpy=lambda np, x: np.partition(x, 500_000),
    jax=lambda np, x: np.partition(x, 500_000),
)
case(
    "sort.argpartition rows 1024x1024",
    normal((1024, 1024)),
    mlx=lambda mx, x: mx.argpartition(x, 512, axis=1),
    numpy=lambda np, x: np.argpartition(x, 512, axis=1),
    jax=True,
)
case(
    "sort.sort rows 1024x1024",
    normal((1024, 1024)),
    mlx=lambda mx, x: mx.sort(x, axis=1),
    numpy=lambda np, x: np.sort(x, axis=1),
    torch=lambda torch, x: torch.sort(x, 1).values,
    jax=True,
)
case(
    "sort.argsort rows 1024x1024",
    normal((1024, 1024)),
    mlx=lambda mx, x: mx.argsort(x, axis=1),
    numpy=lambda np, x: np.argsort(x, axis=1),
    torch=lambda torch, x: torch.argsort(x, 1),
    jax=True,
)
case(
    "sort.topk 50 of 32768, 16 rows",
    normal((16, 32768)),
    mlx=lambda mx, x: mx.topk(x, 50, axis=1),
    numpy=lambda np, x: np.partition(x, -50, axis=1)[:, -50:],
    torch=lambda torch, x: torch.topk(x, 50, 1, sorted=False).values,
    jax=lambda np, x: __import__("jax").lax.top_k(x, 50)[0],
)

test_speed = benchmarks(__name__)
