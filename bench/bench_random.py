"""Random numbers, a million at a time. NumPy draws float32 from its newest generator."""

from .registry import benchmarks, case, nothing

N = 1_000_000


def with_numpy(draw):
    def make(np):
        generator = np.random.default_rng(0)
        return lambda: draw(generator, np)

    return make


def with_jax(draw):
    def make(np):
        import jax

        key = jax.random.key(0)
        compiled = jax.jit(lambda key: draw(jax.random, key))
        return lambda: compiled(key)

    return make


def declare(name, mlx, numpy, torch, jax, label="1e6", **options):
    case(
        f"random.{name} {label}",
        nothing,
        stateful=True,
        mlx=lambda mx: lambda: mlx(mx),
        numpy=with_numpy(numpy),
        torch=lambda lib: lambda: torch(lib),
        jax=with_jax(jax),
        **options,
    )


for label, count in {"10": 10, "1e3": 1_000, "1e5": 100_000, "1e6": N, "1e7": 10 * N}.items():
    declare(
        "normal",
        lambda mx, n=count: mx.random.normal((n,)),
        lambda rng, np, n=count: rng.standard_normal(n, np.float32),
        lambda torch, n=count: torch.randn(n),
        lambda random, key, n=count: random.normal(key, (n,)),
        label=label,
        size=count,
        quick=count == N,
    )
declare(
    "uniform",
    lambda mx: mx.random.uniform(shape=(N,)),
    lambda rng, np: rng.random(N, np.float32),
    lambda torch: torch.rand(N),
    lambda random, key: random.uniform(key, (N,)),
)
declare(
    "bernoulli",
    lambda mx: mx.random.bernoulli(0.9, (N,)),
    lambda rng, np: rng.random(N, np.float32) < 0.9,
    lambda torch: torch.rand(N) < 0.9,
    lambda random, key: random.bernoulli(key, 0.9, (N,)),
)
declare(
    "randint",
    lambda mx: mx.random.randint(0, 100, (N,)),
    lambda rng, np: rng.integers(0, 100, N, np.int32),
    lambda torch: torch.randint(0, 100, (N,), dtype=torch.int32),
    lambda random, key: random.randint(key, (N,), 0, 100),
)

test_speed = benchmarks(__name__)
