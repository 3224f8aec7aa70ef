"""Elementwise operations: a thousand elements show the call, a million the loop, ten million the
memory."""

from .registry import HALVES, benchmarks, case, named, normal, positive

SIZES = {"1e3": 1_000, "1e6": 1_000_000}
MORE_SIZES = {"10": 10, "1e5": 100_000, "1e7": 10_000_000}
UNARY = {
    "exp": named("exp"),
    "log": named("log"),
    "sqrt": named("sqrt"),
    "sin": named("sin"),
    "tanh": named("tanh"),
    "erf": {**named("erf", ""), "jax": None},
    "sigmoid": {**named("sigmoid", ""), "jax": None},
}
BINARY = {
    "add": named("add"),
    "divide": named("divide"),
    "maximum": named("maximum"),
    "power": named("power", torch="pow"),
    "less": named("less"),
}


def declare(operation, functions, operands):
    """Two sizes of every function; of one cheap and one dear function more, and of half floats."""
    measured = operation in ("add", "exp")
    for label, size in (SIZES | MORE_SIZES if measured else SIZES).items():
        case(
            f"elementwise.{operation} {label}",
            positive(*[size] * operands),
            quick=(operation, label) in (("exp", "1e6"), ("add", "1e7")),
            also=HALVES if measured and label == "1e6" else (),
            size=size if measured else None,
            **functions,
        )


for operation, functions in UNARY.items():
    declare(operation, functions, 1)
for operation, functions in BINARY.items():
    declare(operation, functions, 2)
case("elementwise.add row 4096x1024", normal((4096, 1024), 1024), **named("add"))
case(
    "elementwise.where 1e6",
    normal(1_000_000, 1_000_000),
    mlx=lambda mx, x, y: mx.where(x > y, x, y),
    numpy=lambda np, x, y: np.where(x > y, x, y),
    torch=lambda torch, x, y: torch.where(x > y, x, y),
    jax=True,
)
case(
    "elementwise.astype float16 1e6",
    normal(1_000_000),
    mlx=lambda mx, x: x.astype(mx.float16),
    numpy=lambda np, x: x.astype(np.float16),
    torch=lambda torch, x: x.to(torch.float16),
    jax=True,
)

case(
    "elementwise.astype bfloat16 to float32 1e6",
    normal(1_000_000),
    dtype="bfloat16",
    mlx=lambda mx, x: x.astype(mx.float32),
    torch=lambda torch, x: x.to(torch.float32),
    jax=lambda np, x: x.astype(np.float32),
)

test_speed = benchmarks(__name__)
