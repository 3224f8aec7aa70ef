"""Training on the device goes as it goes on the processor: whole models, their gradients and
optimisers, and transforms.

Rules: the same function runs on both, from the same random seed; what the device must have run by
kernels of its own is named, so that a model that falls back to the processor is seen.
"""

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optimizers
from mlxc._backends.metal.dispatch import LAUNCHERS
from mlxc.utils import tree_flatten

BATCH, CLASSES, STEPS = 6, 5, 3
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, CLASSES, BATCH)


@pytest.fixture
def ran(monkeypatch):
    """The rows that kernels of the device were found for."""
    rows = set()

    def note(row, launcher):
        def noting(*operands):
            dispatches = launcher(*operands)
            if dispatches is not None:
                rows.add(row)
            return dispatches

        return noting

    for row, launcher in LAUNCHERS.items():
        monkeypatch.setitem(LAUNCHERS, row, note(row, launcher))
    return rows


def on(device, function):
    """What a function gives with a default device, as NumPy arrays."""
    before = mx.default_device()
    mx.set_default_device(device)
    try:
        mx.random.seed(7)
        return [np.array(x.astype(mx.float32)) for _, x in tree_flatten(function())]
    finally:
        mx.set_default_device(before)


def agree(function, tolerance=2e-5):
    """Both devices give the same, and it is finite."""
    wanted, got = on(mx.cpu, function), on(mx.gpu, function)
    assert len(wanted) == len(got) > 0
    for mine, theirs in zip(got, wanted):
        assert np.isfinite(theirs).all()
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


class Perceptron(nn.Module):
    """Linear layers, normalised, with dropout."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(20, 32), nn.gelu, nn.LayerNorm(32), nn.Dropout(0.3), nn.Linear(32, CLASSES)
        )

    def __call__(self, x):
        return self.layers(x)


class Images(nn.Module):
    """Convolutions, normalised over the batch, and a pool."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm(8)
        self.pool = nn.MaxPool2d(2)
        self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=2)
        self.head = nn.Linear(12, CLASSES)

    def __call__(self, x):
        x = self.pool(nn.relu(self.norm(self.first(x))))
        return self.head(nn.relu(self.second(x)).mean((1, 2)))


class Words(nn.Module):
    """A causal transformer of one block over embedded words."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.attention = nn.MultiHeadAttention(16, 2)
        self.norm = nn.RMSNorm(16)
        self.head = nn.Linear(16, CLASSES)

    def __call__(self, words):
        x = self.embedding(words)
        y = self.norm(x)
        x = x + self.attention(y, y, y, mask="causal")
        return self.head(x[:, -1])


class Sequences(nn.Module):
    """A recurrent layer whose last state decides."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(4, 9)
        self.head = nn.Linear(9, CLASSES)

    def __call__(self, x):
        hidden, _ = self.layer(x)
        return self.head(hidden[:, -1])


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


# What a model learns from, its optimiser, and rows that must have run on the device.
MODELS = {
    Perceptron: (normal(BATCH, 20), lambda: optimizers.Adam(1e-2), {"matmul", "random_bits"}),
    Images: (
        normal(BATCH, 9, 8, 3),
        lambda: optimizers.SGD(0.1, momentum=0.9),
        {"conv", "conv_weight_gradient", "max_pool", "max_pool_gradient"},
    ),
    Words: (
        RNG.integers(0, 11, (BATCH, 7)),
        lambda: optimizers.AdamW(1e-2),
        {"attention", "gather"},
    ),
    Sequences: (
        normal(BATCH, 5, 4),
        lambda: optimizers.RMSprop(1e-2),
        {"recurrent", "recurrent_backward"},
    ),
}


def train(make, inputs, optimiser, dtype=mx.float32):
    """The losses of a few steps, and the parameters after them; they begin on the processor."""
    with mx.stream(mx.cpu):
        model, losses = make(), []
        model.set_dtype(dtype)
        x, y = mx.array(inputs), mx.array(LABELS)
        x = x.astype(dtype) if x.dtype == mx.float32 else x
        mx.eval(model.parameters(), x, y)
    step = nn.value_and_grad(model, lambda x, y: nn.losses.cross_entropy(model(x), y).mean())
    for _ in range(STEPS):
        loss, gradients = step(x, y)
        optimiser.update(model, gradients)
        mx.eval(model.parameters(), optimiser.state, loss)
        losses.append(loss)
    return {"losses": losses, "parameters": model.trainable_parameters()}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_model_learns_on_the_device_what_it_learns_on_the_processor(ran, model):
    inputs, optimiser, rows = MODELS[model]
    agree(lambda: train(model, inputs, optimiser()))
    assert rows <= ran


def test_a_model_in_half_precision_learns_on_the_device(ran):
    def make():
        return nn.Sequential(nn.Linear(20, 12), nn.relu, nn.Linear(12, CLASSES))

    inputs, _, _ = MODELS[Perceptron]
    agree(lambda: train(make, inputs, optimizers.SGD(0.1), mx.bfloat16), 2e-2)
    assert "matmul" in ran


X, W = normal(3, 4), normal(4, 4)


def energy(x, w):
    return (mx.tanh(x @ w) ** 2).sum()


TRANSFORMS = {
    "a gradient of a gradient": lambda x, w: mx.grad(lambda x: mx.grad(energy)(x, w).sum())(x),
    "a tangent": lambda x, w: mx.jvp(lambda x: x @ w, [x], [mx.ones_like(x)])[1],
    "a gradient of each example": lambda x, w: mx.vmap(mx.grad(energy), (0, None))(x, w),
    "a compiled gradient": lambda x, w: mx.compile(mx.value_and_grad(energy, (0, 1)))(x, w),
    "a checkpoint": lambda x, w: mx.grad(mx.checkpoint(energy), 1)(x, w),
}


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_transforms_give_on_the_device_what_they_give_on_the_processor(ran, transform):
    agree(lambda: TRANSFORMS[transform](mx.array(X), mx.array(W)))
    assert "matmul" in ran


def test_a_compiled_step_repeats_on_the_device():
    """The plan that the first call left is run again, on other numbers."""

    def steps():
        step = mx.compile(mx.value_and_grad(energy))
        x, w = mx.array(X), mx.array(W)
        values = []
        for _ in range(4):
            value, gradient = step(x, w)
            x = x - 0.1 * gradient
            values.append(value)
        return [*values, x]

    agree(steps)


def test_a_model_moves_between_devices(ran):
    """Parameters made on the processor are trained on the device, and read back."""
    model = nn.Linear(20, CLASSES)
    x, y = mx.array(MODELS[Perceptron][0]), mx.array(LABELS)
    mx.eval(model.parameters(), x, y)

    def loss(model):
        return nn.losses.cross_entropy(model(x), y).mean()

    agree(lambda: nn.value_and_grad(model, loss)(model))
    assert "addmm" in ran or "matmul" in ran
