"""Whole training steps: forward, backward, optimiser, everything evaluated.

MLX's interface runs eagerly, as examples have it; PyTorch eagerly, JAX compiled. All train on one
batch.
"""

import importlib

import numpy as np

from .registry import benchmarks, case


def classes(rng, size):
    return rng.integers(0, 10, size).astype(np.int32)


def digits(rng):
    return [rng.standard_normal((256, 784)).astype(np.float32), classes(rng, 256)]


def images(rng):
    return [rng.standard_normal((64, 28, 28, 1)).astype(np.float32), classes(rng, 64)]


def tokens(rng):
    """Sequences of 64 of 10 tokens; the target is the next one."""
    x = rng.integers(0, 10, (8, 65)).astype(np.int32)
    return [x[:, :-1], x[:, 1:]]


# ---- mlxc and MLX ----


def package_of(mx):
    """(nn, optimizers) beside a core module."""
    name = mx.__name__.split(".")[0]
    return importlib.import_module(f"{name}.nn"), importlib.import_module(f"{name}.optimizers")


def mlx_step(mx, model, x, y):
    nn, optimizers = package_of(mx)
    optimizer = optimizers.Adam(1e-3)
    loss_and_grad = nn.value_and_grad(
        model, lambda model, x, y: nn.losses.cross_entropy(model(x), y, reduction="mean")
    )

    def step():
        loss, gradients = loss_and_grad(model, x, y)
        optimizer.update(model, gradients)
        return loss, model.parameters(), optimizer.state

    return step


def mlx_mlp(mx, x, y):
    nn, _ = package_of(mx)
    model = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    return mlx_step(mx, model, x, y)


def mlx_cnn(mx, x, y):
    nn, _ = package_of(mx)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        lambda x: x.reshape(x.shape[0], -1),
        nn.Linear(7 * 7 * 32, 10),
    )
    return mlx_step(mx, model, x, y)


def mlx_transformer(mx, x, y):
    nn, _ = package_of(mx)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 128)
            self.encoder = nn.TransformerEncoder(2, 128, 4, 512)
            self.head = nn.Linear(128, 10)
            self.mask = nn.MultiHeadAttention.create_additive_causal_mask(64)
            self.freeze(keys="mask", recurse=False)

        def __call__(self, x):
            return self.head(self.encoder(self.embedding(x), self.mask))

    return mlx_step(mx, Model(), x, y)


# ---- PyTorch ----


def torch_step(torch, model, x, y):
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    y = y.long().reshape(-1)

    def step():
        optimizer.zero_grad()
        output = model(x)
        loss = torch.nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_mlp(torch, x, y):
    nn = torch.nn
    model = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    return torch_step(torch, model, x, y)


def torch_cnn(torch, x, y):
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 32, 10),
    ).to(memory_format=torch.channels_last)
    return torch_step(torch, model, x.permute(0, 3, 1, 2), y)


def torch_transformer(torch, x, y):
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True, norm_first=True)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 128)
            self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(128))
            self.head = nn.Linear(128, 10)
            self.mask = nn.Transformer.generate_square_subsequent_mask(64)

        def forward(self, x):
            return self.head(self.encoder(self.embedding(x), self.mask, is_causal=True))

    return torch_step(torch, Model(), x.long(), y)


# ---- JAX ----


def jax_mlp(np, x, y):
    """Adam written out, compiled with the whole step."""
    import jax

    sizes = (784, 256, 256, 10)
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = zip(keys, sizes, sizes[1:])
    weights = [(jax.random.normal(k, (m, n)) / np.sqrt(m), np.zeros(n)) for k, m, n in shapes]

    def loss(weights):
        h = x
        for w, b in weights[:-1]:
            h = jax.nn.relu(h @ w + b)
        logits = h @ weights[-1][0] + weights[-1][1]
        chosen = np.take_along_axis(logits, y[:, None], axis=1)[:, 0]
        return np.mean(jax.nn.logsumexp(logits, axis=1) - chosen)

    @jax.jit
    def train(weights, first, second):
        gradients = jax.grad(loss)(weights)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        weights = jax.tree.map(
            lambda w, m, v: w - 1e-3 * m / (np.sqrt(v) + 1e-8), weights, first, second
        )
        return weights, first, second

    zeros = jax.tree.map(np.zeros_like, weights)
    state = [weights, zeros, zeros]

    def step():
        state[:] = train(*state)
        return state

    return step


case(
    "training.mlp 784-256-256-10, batch 256",
    digits,
    stateful=True,
    quick=True,
    mlx=mlx_mlp,
    torch=torch_mlp,
    jax=jax_mlp,
)
case("training.cnn 28x28, batch 64", images, stateful=True, mlx=mlx_cnn, torch=torch_cnn)
case(
    "training.transformer 2x128, batch 8x64",
    tokens,
    stateful=True,
    mlx=mlx_transformer,
    torch=torch_transformer,
)

test_speed = benchmarks(__name__)
