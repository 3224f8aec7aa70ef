"""Formulas written by hand, which fusion should make as fast as a kernel of their own, and MLX's
fast functions.

PyTorch runs its own fused function where it has one, JAX compiles the formula.
"""

import math

from .registry import HALVES, benchmarks, case, normal

ROWS = normal((4096, 1024))
C = math.sqrt(2 / math.pi)


def functional(name, *arguments, **options):
    """A function of torch.nn.functional."""
    return lambda torch, x: getattr(torch.nn.functional, name)(x, *arguments, **options)


def largest(lib, x):
    """Of each row; PyTorch's max gives places, too."""
    return getattr(lib, "amax", lib.max)(x, axis=-1, keepdims=True)


def softmax(lib, x):
    """In NumPy's spelling, which MLX and JAX share."""
    e = lib.exp(x - largest(lib, x))
    return e / lib.sum(e, axis=-1, keepdims=True)


def gelu(lib, x):
    return 0.5 * x * (1 + lib.tanh(C * (x + 0.044715 * (x * x * x))))


def layer_norm(lib, x):
    centered = x - lib.mean(x, axis=-1, keepdims=True)
    variance = lib.mean(centered * centered, axis=-1, keepdims=True)
    return centered / lib.sqrt(variance + 1e-5)


def rms_norm(lib, x):
    return x / lib.sqrt(lib.mean(x * x, axis=-1, keepdims=True) + 1e-5)


def cross_entropy(lib, logits):
    """Of the first class, the mean over rows."""
    top = largest(lib, logits)
    sums = lib.sum(lib.exp(logits - top), axis=-1, keepdims=True)
    return lib.mean(lib.log(sums) + top - logits[:, :1])


def adam(lib, w, g, m, v):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * (g * g)
    return w - 1e-3 * m / (lib.sqrt(v) + 1e-8), m, v


def by_hand(name, inputs, formula, torch, **options):
    """A formula, in variants: what PyTorch compiles is the formula, too."""
    case(f"fused.{name}", inputs, mlx=formula, numpy=formula, torch=torch, jax=True, **options)
    case(f"fused.{name}, compiled", inputs, compiled=True, mlx=formula, torch=formula, jax=formula)


by_hand(
    "gelu tanh 1e6", normal(1_000_000), gelu, functional("gelu", approximate="tanh"), quick=True
)
by_hand("softmax by hand 4096x1024", ROWS, softmax, functional("softmax", -1), quick=True)
by_hand("layer norm by hand 4096x1024", ROWS, layer_norm, functional("layer_norm", (1024,)))
by_hand("rms norm by hand 4096x1024", ROWS, rms_norm, functional("rms_norm", (1024,)))
by_hand(
    "cross entropy 4096x1024",
    ROWS,
    cross_entropy,
    lambda torch, x: torch.nn.functional.cross_entropy(x, torch.zeros(4096, dtype=torch.int64)),
)
by_hand(
    "silu 1e6",
    normal(1_000_000),
    lambda lib, x: x / (1 + lib.exp(-x)),
    functional("silu"),
)
by_hand(
    "mean square error 1e6",
    normal(1_000_000, 1_000_000),
    lambda lib, x, y: lib.mean((x - y) * (x - y)),
    lambda torch, x, y: torch.nn.functional.mse_loss(x, y),
)
by_hand(
    "adam 1e6",
    lambda rng: [rng.uniform(0.1, 1, 1_000_000).astype("float32") for _ in range(4)],
    adam,
    adam,
)
case(
    "fused.softmax 4096x1024",
    ROWS,
    mlx=lambda mx, x: mx.softmax(x, axis=-1),
    torch=functional("softmax", -1),
    jax=lambda np, x: __import__("jax").nn.softmax(x, axis=-1),
    also=HALVES,
)
for label, rows in {"10": 1, "1e3": 100, "1e5": 10_000, "1e7": 1_000_000}.items():
    case(
        f"fused.softmax rows of 10 {label}",
        normal((rows, 10)),
        size=10 * rows,
        mlx=lambda mx, x: mx.softmax(x, axis=-1),
        torch=functional("softmax", -1),
        jax=lambda np, x: __import__("jax").nn.softmax(x, axis=-1),
    )
case(
    "fused.layer_norm 4096x1024",
    ROWS,
    mlx=lambda mx, x: mx.fast.layer_norm(x, None, None, 1e-5),
    torch=functional("layer_norm", (1024,)),
    also=HALVES,
)
case(
    "fused.rms_norm 4096x1024",
    normal((4096, 1024), 1024),
    mlx=lambda mx, x, w: mx.fast.rms_norm(x, w, 1e-5),
    torch=lambda torch, x, w: torch.nn.functional.rms_norm(x, (1024,), w, 1e-5),
    also=HALVES,
)
case(
    "fused.rope 8 heads 512x64",
    normal((1, 8, 512, 64)),
    mlx=lambda mx, x: mx.fast.rope(x, 64, traditional=False, base=1e4, scale=1.0, offset=0),
)

test_speed = benchmarks(__name__)
