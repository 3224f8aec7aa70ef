"""Factorisations and solvers. MLX asks for its CPU stream by name."""

import numpy as np

from .registry import benchmarks, case, named, normal


def definite(rng):
    """A symmetric positive definite matrix."""
    x = rng.standard_normal((256, 256)).astype(np.float32)
    return [x @ x.T + 256 * np.eye(256, dtype=np.float32)]


def on_cpu(name):
    """A function of mx.linalg on the CPU."""
    return lambda mx, *xs: getattr(mx.linalg, name)(*xs, stream=mx.cpu)


for operation, inputs in {
    "cholesky": definite,
    "qr": normal((256, 256)),
    "inv": definite,
    "solve": normal((256, 256), (256, 16)),
}.items():
    functions = {**named(f"linalg.{operation}"), "mlx": on_cpu(operation)}
    case(f"linalg.{operation} 256", inputs, quick=operation == "cholesky", **functions)
case("linalg.norm 1e6", normal(1_000_000), **named("linalg.norm", torch="linalg.vector_norm"))

test_speed = benchmarks(__name__)
