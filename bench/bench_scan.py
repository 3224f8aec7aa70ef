"""Running sums, products and maxima."""

from .registry import benchmarks, case, normal

for where, axis in (("rows", 1), ("columns", 0)):
    case(
        f"scan.cumsum {where} 1024x1024",
        normal((1024, 1024)),
        quick=axis == 1,
        mlx=lambda mx, x, a=axis: mx.cumsum(x, axis=a),
        numpy=lambda np, x, a=axis: np.cumsum(x, axis=a),
        torch=lambda torch, x, a=axis: torch.cumsum(x, a),
        jax=True,
    )
for label, size in {"10": 10, "1e3": 1_000, "1e5": 100_000, "1e7": 10**7}.items():
    case(
        f"scan.cumsum {label}",
        normal(size),
        size=size,
        mlx=lambda mx, x: mx.cumsum(x, axis=0),
        numpy=lambda np, x: np.cumsum(x),
        torch=lambda torch, x: torch.cumsum(x, 0),
        jax=True,
    )
case(
    "scan.cumprod 1e6",
    lambda rng: [rng.uniform(0.99, 1.01, 1_000_000).astype("float32")],
    mlx=lambda mx, x: mx.cumprod(x, axis=0),
    numpy=lambda np, x: np.cumprod(x),
    torch=lambda torch, x: torch.cumprod(x, 0),
    jax=True,
)
case(
    "scan.cummax rows 1024x1024",
    normal((1024, 1024)),
    mlx=lambda mx, x: mx.cummax(x, axis=1),
    numpy=lambda np, x: np.maximum.accumulate(x, axis=1),
    torch=lambda torch, x: torch.cummax(x, 1).values,
    jax=lambda np, x: __import__("jax").lax.cummax(x, axis=1),
)

test_speed = benchmarks(__name__)
