"""Models, losses and optimisers together: whole training runs, compiled, in half precision."""

from functools import partial

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim
from mlxc.utils import tree_flatten

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([0, 1, 1, 0])


def xor_model():
    mx.random.seed(1)
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))


def loss_of(model):
    return lambda x, y: nn.losses.cross_entropy(model(x), y, reduction="mean")


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.SGD(0.5, momentum=0.9),
        optim.RMSprop(1e-2),
        optim.Adagrad(0.2),
        optim.AdaDelta(5.0),
        optim.Adam(3e-2),
        optim.AdamW(3e-2),
        optim.Adamax(3e-2),
        optim.Lion(1e-2),
        optim.Adafactor(5e-2, relative_step=False),
        optim.MultiOptimizer([optim.Muon(5e-2), optim.Adam(3e-2)], [lambda p, a: a.ndim == 2]),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_every_optimiser_learns_the_exclusive_or(optimizer):
    model = xor_model()
    loss_and_grad = nn.value_and_grad(model, loss_of(model))
    for _ in range(200):
        loss, gradients = loss_and_grad(mx.array(X), mx.array(Y))
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
    assert loss.item() < 0.1
    assert np.array(mx.argmax(model(mx.array(X)), axis=1)).tolist() == Y.tolist()


class Everything(nn.Module):
    """Convolution, pooling, statistics, dropout and tuples of numbers in one model."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm(4)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(16, 2)

    def __call__(self, x):
        x = self.pool(nn.relu(self.norm(self.conv(x))))
        return self.head(self.dropout(x.reshape(x.shape[0], -1)))


def run_everything(compiled, initialise):
    mx.random.seed(4)
    model, optimizer = Everything(), optim.AdamW(optim.cosine_decay(1e-2, 10))
    if initialise:
        optimizer.init(model.trainable_parameters())
    state = [model.state, optimizer.state, mx.random.state]

    def step(x, y):
        loss, gradients = nn.value_and_grad(model, loss_of(model))(x, y)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        return loss

    if compiled:
        step = partial(mx.compile, inputs=state, outputs=state)(step)
    rng, losses = np.random.default_rng(0), []
    for _ in range(6):
        x = mx.array(rng.normal(size=(8, 4, 4, 1)).astype(np.float32))
        y = mx.array(rng.integers(0, 2, 8))
        loss = step(x, y)
        mx.eval(state, loss)
        losses.append(loss.item())
    return losses, {k: np.array(v) for k, v in tree_flatten(model.parameters())}


@pytest.mark.parametrize("initialise", [True, False])
def test_a_compiled_step_trains_as_a_plain_one(initialise):
    plain, parameters = run_everything(False, initialise)
    compiled, same = run_everything(True, initialise)
    np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)
    for name in parameters:
        np.testing.assert_allclose(same[name], parameters[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_a_model_learns_in_half_precision(dtype):
    model = xor_model()
    model.set_dtype(dtype)
    optimizer = optim.Adam(3e-2)
    loss_and_grad = nn.value_and_grad(model, loss_of(model))
    for _ in range(150):
        loss, gradients = loss_and_grad(mx.array(X, dtype=dtype), mx.array(Y))
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
    assert loss.dtype == dtype and loss.item() < 0.2
    assert all(v.dtype == dtype for _, v in tree_flatten(model.parameters()))


def test_low_rank_updates_of_a_quantized_layer_are_trained():
    mx.random.seed(0)
    layer = nn.QuantizedLinear(64, 8, bias=False)

    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = layer
            self.a = mx.random.normal((64, 2)) * 0.1
            self.b = mx.zeros((2, 8))

        def __call__(self, x):
            return self.base(x) + x @ self.a @ self.b

    model, optimizer = Adapted(), optim.Adam(1e-2)
    x = mx.random.normal((32, 64))
    target = model(x) + x[:, :1]
    loss_and_grad = nn.value_and_grad(model, lambda x, y: nn.losses.mse_loss(model(x), y))
    first, gradients = loss_and_grad(x, target)
    assert sorted(name for name, _ in tree_flatten(gradients)) == ["a", "b"]
    for _ in range(200):
        loss, gradients = loss_and_grad(x, target)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
    assert loss.item() < 0.1 * first.item()
