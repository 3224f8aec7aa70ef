"""Reductions over everything, over rows and over columns."""

from .registry import benchmarks, case, named, normal

MATRIX = normal((4096, 1024))

case("reduce.sum 1e7", normal(10_000_000), quick=True, **named("sum"))
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
    )


for axis, where in ((0, "columns"), (1, "rows")):
    for operation in ("sum", "max", "mean", "var"):
        declare(operation, where, axis)
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
