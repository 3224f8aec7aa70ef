"""Arrays out of nothing. They are added to, since zeros that nobody reads cost nothing."""

from .registry import benchmarks, case, nothing

case(
    "creation.zeros plus one 1e6",
    nothing,
    quick=True,
    mlx=lambda mx: mx.zeros((1_000_000,)) + 1,
    numpy=lambda np: np.zeros(1_000_000, np.float32) + 1,
    torch=lambda torch: torch.zeros(1_000_000) + 1,
    jax=True,
)
case(
    "creation.arange 1e6",
    nothing,
    mlx=lambda mx: mx.arange(1_000_000, dtype=mx.float32) * 0.5,
    numpy=lambda np: np.arange(1_000_000, dtype=np.float32) * np.float32(0.5),
    torch=lambda torch: torch.arange(1_000_000, dtype=torch.float32) * 0.5,
    jax=True,
)
case(
    "creation.from NumPy 1e6",
    lambda rng: [],
    stateful=True,
    mlx=lambda mx: from_numpy(mx.array),
    torch=lambda torch: from_numpy(lambda x: torch.from_numpy(x).clone()),
)


def from_numpy(convert):
    import numpy as np

    values = np.ones(1_000_000, np.float32)
    return lambda: convert(values)


test_speed = benchmarks(__name__)
