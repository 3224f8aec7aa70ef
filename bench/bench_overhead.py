"""What a call costs: ten elements, so that arithmetic is nothing."""

from .registry import benchmarks, case, normal

TEN = normal(10)


def chain(lib, x):
    """Twenty operations."""
    for _ in range(10):
        x = x * 0.5 + 1.0
    return x


def products(x):
    """Eight kernels that do not fuse."""
    for _ in range(8):
        x = x @ x
    return x


def squares(x):
    return (x * x * 0.5 + x).sum()


def torch_gradient(torch, x):
    x = x.clone().requires_grad_()
    return lambda: torch.autograd.grad(squares(x), x)


def jax_gradient(np, x, jit=False):
    import jax

    gradient = jax.jit(jax.grad(squares)) if jit else jax.grad(squares)
    return lambda: gradient(x)


def jax_batch(np, x):
    import jax

    return compiled(jax.vmap(squares), x)


case(
    "overhead.a+b of 10 elements",
    normal(10, 10),
    quick=True,
    mlx=lambda mx, a, b: a + b,
    numpy=lambda np, a, b: a + b,
    torch=lambda torch, a, b: a + b,
    jax=lambda np, a, b: a + b,
    jit=False,
)
case(
    "overhead.20 operations on 10 elements",
    TEN,
    quick=True,
    mlx=chain,
    numpy=chain,
    torch=chain,
    jax=chain,
    jit=False,
)
case(
    "overhead.compiled 20 operations",
    TEN,
    stateful=True,
    mlx=lambda mx, x: compiled(mx.compile(lambda x: chain(mx, x)), x),
    jax=lambda np, x: compiled(__import__("jax").jit(lambda x: chain(np, x)), x),
)
case(
    "overhead.gradient of a small function",
    TEN,
    stateful=True,
    mlx=lambda mx, x: compiled(mx.grad(squares), x),
    torch=torch_gradient,
    jax=jax_gradient,
)
case(
    "overhead.compiled gradient",
    TEN,
    stateful=True,
    mlx=lambda mx, x: compiled(mx.compile(mx.grad(squares)), x),
    torch=torch_gradient,
    jax=lambda np, x: jax_gradient(np, x, jit=True),
)
case(
    "overhead.vmap of a small function",
    normal((10, 10)),
    stateful=True,
    mlx=lambda mx, x: compiled(mx.vmap(squares), x),
    torch=lambda torch, x: compiled(torch.vmap(squares), x),
    jax=jax_batch,
)
case(
    "overhead.eight compiled kernels",
    normal((4, 4)),
    stateful=True,
    mlx=lambda mx, x: compiled(mx.compile(products), x),
    torch=lambda torch, x: compiled(products, x),
    jax=lambda np, x: compiled(__import__("jax").jit(products), x),
)


def compiled(function, x):
    return lambda: function(x)


test_speed = benchmarks(__name__)
