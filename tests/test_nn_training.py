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


# ---- models as arguments ----


def squares(model, x):
    return (model(x) ** 2).sum()


def flat(tree):
    return {name: value.tolist() for name, value in tree_flatten(tree)}


def test_a_model_that_is_an_argument_is_itself_inside_of_the_function():
    model, x = xor_model(), mx.array(X)
    weight, seen = model.layers[0].weight, []

    def loss(model, x, scale=1.0):
        seen.append(model)
        return squares(model, x) * scale

    expected = flat(nn.value_and_grad(model, squares)(model, x)[1])
    value, gradients = mx.value_and_grad(loss)(model, x)
    assert seen[0] is model and value.item() == squares(model, x).item()
    assert flat(gradients) == expected and type(gradients) is dict
    named = mx.grad(lambda x, net: squares(net, x), argnums=[], argnames=["net"])(x, net=model)
    assert flat(named[1]["net"]) == expected
    assert model.layers[0].weight is weight


def test_a_model_keeps_what_the_function_has_changed_in_it():
    model = nn.Sequential(nn.BatchNorm(2), nn.Linear(2, 2))
    mx.grad(squares)(model, mx.array([[1.0, 2.0], [3.0, 5.0]]))
    np.testing.assert_allclose(model.layers[0].running_mean.tolist(), [0.2, 0.35], rtol=1e-6)

    def loss(parameters):
        parameters["mean"] = 0.5 * parameters["mean"] + parameters["w"][0].mean()
        return (parameters["w"][0] * parameters.pop("once")).sum()

    parameters = {"w": [mx.array([1.0, 3.0])], "mean": mx.array(4.0), "once": mx.array(2.0)}
    weight = parameters["w"][0]
    assert mx.grad(loss)(parameters)["w"][0].tolist() == [2, 2]
    assert parameters["mean"].item() == 4 and parameters["w"][0] is weight


def test_a_model_has_its_arrays_back_after_an_error():
    model = xor_model()
    before = dict(tree_flatten(model))

    def loss(model):
        model.layers[0].bias = mx.zeros(16)
        raise KeyError("no such thing")

    with pytest.raises(KeyError, match="no such thing"):
        mx.grad(loss)(model)
    after = dict(tree_flatten(model))
    assert [name for name in after if after[name] is not before[name]] == ["layers.0.bias"]


def test_one_model_as_two_arguments_has_two_gradients():
    model, x = nn.Linear(2, 1), mx.array(X)
    both = mx.grad(lambda a, b: (a(x) * 3 * b(x)).sum(), argnums=(0, 1))(model, model)
    once = mx.grad(lambda a: (a(x) * 3 * model(x)).sum())(model)
    np.testing.assert_allclose(np.add(*(g["weight"] for g in both)), once["weight"], rtol=1e-6)


def test_tuples_of_types_of_their_own_stay_what_they_are():
    class Pair(tuple):
        pass

    gradients = mx.grad(lambda p: (p[0] * p[1]).sum())(Pair([mx.ones(2), mx.zeros(2)]))
    assert type(gradients) is Pair and gradients[1].tolist() == [1, 1]
