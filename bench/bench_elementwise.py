"""Elementwise operations: a thousand elements show the call, a million the loop, ten million the
memory."""

from .registry import benchmarks, case, named, normal, positive

SIZES = {"1e3": 1_000, "1e6": 1_000_000}
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

for operation, functions in UNARY.items():
    for label, size in SIZES.items():
        quick = (operation, label) == ("exp", "1e6")
        case(f"elementwise.{operation} {label}", positive(size), quick=quick, **functions)
for operation, functions in BINARY.items():
    for label, size in SIZES.items():
        case(f"elementwise.{operation} {label}", positive(size, size), **functions)
case("elementwise.add 1e7", normal(10_000_000, 10_000_000), quick=True, **named("add"))
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
    "elementwise.add float16 1e6",
    normal(1_000_000, 1_000_000, dtype="float16"),
    **named("add"),
)
case(
    "elementwise.astype float16 1e6",
    normal(1_000_000),
    mlx=lambda mx, x: x.astype(mx.float16),
    numpy=lambda np, x: x.astype(np.float16),
    torch=lambda torch, x: x.to(torch.float16),
    jax=True,
)

test_speed = benchmarks(__name__)
