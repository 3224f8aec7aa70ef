"""Reading and writing at indices."""

import numpy as np

from .registry import benchmarks, case


def table(rng):
    """A table of 10,000 rows of 256, and 8,192 row numbers."""
    rows = rng.integers(0, 10_000, 8_192).astype(np.int32)
    return [rng.standard_normal((10_000, 256)).astype(np.float32), rows]


def updates(rng):
    return [*table(rng), rng.standard_normal((8_192, 256)).astype(np.float32)]


case(
    "indexing.rows 8192 of 10000x256",
    table,
    quick=True,
    mlx=lambda mx, x, rows: x[rows],
    numpy=lambda np, x, rows: x[rows],
    torch=lambda torch, x, rows: x[rows],
    jax=True,
)
case(
    "indexing.add rows 8192 to 10000x256",
    updates,
    mlx=lambda mx, x, rows, y: x.at[rows].add(y),
    torch=lambda torch, x, rows, y: x.index_add(0, rows, y),
    jax=lambda np, x, rows, y: x.at[rows].add(y),
)
case(
    "indexing.take_along_axis 4096x1024",
    lambda rng: [
        rng.standard_normal((4096, 1024)).astype(np.float32),
        rng.integers(0, 1024, (4096, 1024)),
    ],
    mlx=lambda mx, x, k: mx.take_along_axis(x, k, axis=1),
    numpy=lambda np, x, k: np.take_along_axis(x, k, axis=1),
    torch=lambda torch, x, k: torch.gather(x, 1, k),
    jax=True,
)
case(
    "indexing.write a slice 2048x2048",
    lambda rng: [
        rng.standard_normal((2048, 2048)).astype(np.float32),
        rng.standard_normal((1024, 1024)).astype(np.float32),
    ],
    mlx=lambda mx, x, y: mx.slice_update(x, y, mx.array([512, 512]), (0, 1)),
    jax=lambda np, x, y: x.at[512:1536, 512:1536].set(y),
)

case(
    "indexing.add rows 32768 to 1000x64",
    lambda rng: [
        np.zeros((1_000, 64), np.float32),
        rng.integers(0, 1_000, 32_768).astype(np.int32),
        rng.standard_normal((32_768, 64)).astype(np.float32),
    ],
    mlx=lambda mx, x, rows, y: x.at[rows].add(y),
    torch=lambda torch, x, rows, y: x.index_add(0, rows, y),
    jax=lambda np, x, rows, y: x.at[rows].add(y),
)
for label, size in {"10": 10, "1e3": 1_000, "1e5": 100_000, "1e6": 1_000_000, "1e7": 10**7}.items():
    case(
        f"indexing.take {label}",
        lambda rng, n=size: [
            rng.standard_normal(n).astype(np.float32),
            rng.integers(0, n, n).astype(np.int32),
        ],
        size=size,
        mlx=lambda mx, x, k: mx.take(x, k),
        numpy=lambda np, x, k: np.take(x, k),
        torch=lambda torch, x, k: torch.index_select(x, 0, k),
        jax=True,
    )

test_speed = benchmarks(__name__)
