"""Whole training steps: forward, backward, optimiser, everything evaluated.

MLX's interface and PyTorch run eagerly, as examples have it, and compiled: of MLX's the whole step,
of PyTorch the model with its loss, beside its fused Adam. JAX is always compiled. All train on one
batch.
"""

import importlib
from functools import partial

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


def sequences(rng):
    return [rng.standard_normal((32, 50, 32)).astype(np.float32), classes(rng, 32)]


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


def mlx_compiled_step(mx, model, x, y):
    nn, optimizers = package_of(mx)
    optimizer = optimizers.Adam(1e-3)
    optimizer.init(model.trainable_parameters())
    state = [model.state, optimizer.state]
    loss_and_grad = nn.value_and_grad(
        model, lambda model, x, y: nn.losses.cross_entropy(model(x), y, reduction="mean")
    )

    def step(x, y):
        loss, gradients = loss_and_grad(model, x, y)
        optimizer.update(model, gradients)
        return loss

    compiled = mx.compile(step, inputs=state, outputs=state)
    return lambda: (compiled(x, y), state)


def mlx_mlp(mx, x, y, step=mlx_step):
    nn, _ = package_of(mx)
    model = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    return step(mx, model, x, y)


def mlx_cnn(mx, x, y, step=mlx_step):
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
    return step(mx, model, x, y)


def mlx_lstm(mx, x, y, step=mlx_step):
    nn, _ = package_of(mx)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(32, 128)
            self.head = nn.Linear(128, 10)

        def __call__(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    return step(mx, Model(), x, y)


def mlx_transformer(mx, x, y, step=mlx_step):
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

    return step(mx, Model(), x, y)


# ---- PyTorch ----


def torch_step(torch, model, x, y, compiled):
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=compiled)
    y = y.long().reshape(-1)

    def loss_of(x, y):
        output = model(x)
        return torch.nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), y)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step():
        optimizer.zero_grad()
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_mlp(torch, x, y, compiled=False):
    nn = torch.nn
    model = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    return torch_step(torch, model, x, y, compiled)


def torch_cnn(torch, x, y, compiled=False):
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
    return torch_step(torch, model, x.permute(0, 3, 1, 2), y, compiled)


def torch_lstm(torch, x, y, compiled=False):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(32, 128, batch_first=True)
            self.head = nn.Linear(128, 10)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    return torch_step(torch, Model(), x, y, compiled)


def torch_transformer(torch, x, y, compiled=False):
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

    return torch_step(torch, Model(), x.long(), y, compiled)


# ---- JAX ----


def jax_entropy(np, logits, y):
    import jax

    chosen = np.take_along_axis(logits, y[..., None], axis=-1)[..., 0]
    return np.mean(jax.nn.logsumexp(logits, axis=-1) - chosen)


def jax_weights(np, shapes):
    """Random arrays of given shapes, by name; names that begin with b are zeros."""
    import jax

    keys = jax.random.split(jax.random.key(0), len(shapes))
    return {
        name: np.zeros(shape) if name[0] == "b" else jax.random.normal(key, shape) * 0.05
        for key, (name, shape) in zip(keys, shapes.items())
    }


def jax_step(np, weights, forward, x, y):
    """Adam written out, compiled with the whole step."""
    import jax

    @jax.jit
    def train(weights, first, second):
        gradients = jax.grad(lambda w: jax_entropy(np, forward(w, x), y))(weights)
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


def jax_mlp(np, x, y):
    import jax

    sizes = (784, 256, 256, 10)
    shapes = {}
    for k, (m, n) in enumerate(zip(sizes, sizes[1:])):
        shapes |= {f"w{k}": (m, n), f"b{k}": (n,)}

    def forward(w, x):
        for k in range(2):
            x = jax.nn.relu(x @ w[f"w{k}"] + w[f"b{k}"])
        return x @ w["w2"] + w["b2"]

    return jax_step(np, jax_weights(np, shapes), forward, x, y)


def jax_cnn(np, x, y):
    import jax

    shapes = {"k0": (3, 3, 1, 16), "b0": (16,), "k1": (3, 3, 16, 32), "b1": (32,)}
    shapes |= {"w": (7 * 7 * 32, 10), "b": (10,)}

    def forward(w, x):
        for k in range(2):
            x = jax.lax.conv_general_dilated(
                x, w[f"k{k}"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(x + w[f"b{k}"])
            x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return x.reshape(x.shape[0], -1) @ w["w"] + w["b"]

    return jax_step(np, jax_weights(np, shapes), forward, x, y)


def jax_lstm(np, x, y):
    import jax

    shapes = {"wx": (32, 512), "wh": (128, 512), "bias": (512,), "w": (128, 10), "b": (10,)}

    def forward(w, x):
        def cell(state, inputs):
            h, c = state
            i, f, g, o = np.split(inputs + h @ w["wh"], 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * np.tanh(g)
            h = jax.nn.sigmoid(o) * np.tanh(c)
            return (h, c), None

        inputs = np.swapaxes(x @ w["wx"] + w["bias"], 0, 1)
        start = np.zeros((x.shape[0], 128))
        (h, _), _ = jax.lax.scan(cell, (start, start), inputs)
        return h @ w["w"] + w["b"]

    return jax_step(np, jax_weights(np, shapes), forward, x, y)


def jax_transformer(np, x, y):
    """Two pre-normalised layers of width 128 with 4 heads."""
    import jax

    shapes = {"embedding": (10, 128), "head": (128, 10), "b": (10,)}
    for k in range(2):
        shapes |= {f"qkv{k}": (128, 384), f"out{k}": (128, 128)}
        shapes |= {f"up{k}": (128, 512), f"bu{k}": (512,), f"down{k}": (512, 128), f"bd{k}": (128,)}

    def normalized(x):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)

    def forward(w, x):
        h = w["embedding"][x]
        batch, length, _ = h.shape
        for k in range(2):
            parts = np.split(normalized(h) @ w[f"qkv{k}"], 3, axis=-1)
            q, key, v = (p.reshape(batch, length, 4, 32) for p in parts)
            mixed = jax.nn.dot_product_attention(q, key, v, is_causal=True)
            h = h + mixed.reshape(batch, length, 128) @ w[f"out{k}"]
            up = jax.nn.relu(normalized(h) @ w[f"up{k}"] + w[f"bu{k}"])
            h = h + up @ w[f"down{k}"] + w[f"bd{k}"]
        return normalized(h) @ w["head"] + w["b"]

    return jax_step(np, jax_weights(np, shapes), forward, x, y)


MODELS = (
    ("mlp 784-256-256-10, batch 256", digits, mlx_mlp, torch_mlp, jax_mlp),
    ("cnn 28x28, batch 64", images, mlx_cnn, torch_cnn, jax_cnn),
    ("lstm 32-128, batch 32x50", sequences, mlx_lstm, torch_lstm, jax_lstm),
    ("transformer 2x128, batch 8x64", tokens, mlx_transformer, torch_transformer, jax_transformer),
)
for _name, _data, _mlx, _torch, _jax in MODELS:
    case(
        f"training.{_name}",
        _data,
        stateful=True,
        memory=True,
        quick=_mlx is mlx_mlp,
        mlx=_mlx,
        torch=_torch,
        jax=_jax,
    )
    case(
        f"training.{_name}, compiled",
        _data,
        stateful=True,
        memory=True,
        quick=_mlx is mlx_mlp,
        mlx=partial(_mlx, step=mlx_compiled_step),
        torch=partial(_torch, compiled=True),
        jax=_jax,
    )

test_speed = benchmarks(__name__)
