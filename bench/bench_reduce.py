"""Reductions over everything, over rows and over columns."""

from .registry import HALVES, benchmarks, case, named, normal

MATRIX = normal((4096, 1024))


for label, size in {"10": 10, "1e3": 1_000, "1e5": 100_000, "1e6": 10**6, "1e7": 10**7}.items():
    case(f"reduce.sum {label}", normal(size), quick=label == "1e7", size=size, **named("sum"))
case("reduce.max 1e6", normal(1_000_000), **named("max"))
case("reduce.argmax 1e6", normal(1_000_000), **named("argmax"))


def declare(operation, where, axis):
    torch_name = "amax" if operation == "max" else operation
    case(
        f"reduce.{operation} {where} 4096x1024",
        MATRIX,
        mlx=lambda mx, x: getattr(mx, operation)(x, axis=axis),
        numpy=lambda np, x: getattr(np, operation)(x, axis=axis),
        torch=lambda torch, x: getattr(torch, torch_name)(x, dim=axis),
        jax=True,
        also=HALVES if operation == "sum" else (),
    )


for axis, where in ((0, "columns"), (1, "rows")):
    for operation in ("sum", "max", "mean", "var"):
        declare(operation, where, axis)
for rows, columns in ((1_000_000, 8), (8, 1_000_000)):
    for where, axis in (("columns", 0), ("rows", 1)):
        case(
            f"reduce.sum {where} {rows}x{columns}",
            normal((rows, columns)),
            mlx=lambda mx, x, a=axis: mx.sum(x, axis=a),
            numpy=lambda np, x, a=axis: np.sum(x, axis=a),
            torch=lambda torch, x, a=axis: torch.sum(x, dim=a),
            jax=True,
        )
case(
    "reduce.argmax rows 4096x1024",
    MATRIX,
    mlx=lambda mx, x: mx.argmax(x, axis=1),
    numpy=lambda np, x: np.argmax(x, axis=1),
    torch=lambda torch, x: torch.argmax(x, dim=1),
    jax=True,
)
case(
    "reduce.logsumexp rows 4096x1024",
    MATRIX,
    mlx=lambda mx, x: mx.logsumexp(x, axis=1),
    torch=lambda torch, x: torch.logsumexp(x, 1),
    jax=lambda np, x: __import__("jax").nn.logsumexp(x, axis=1),
)
case(
    "reduce.sum of squares 1e6",
    normal(1_000_000),
    mlx=lambda mx, x: mx.sum(x * x),
    numpy=lambda np, x: np.sum(x * x),
    torch=lambda torch, x: torch.sum(x * x),
    jax=True,
)

test_speed = benchmarks(__name__)
