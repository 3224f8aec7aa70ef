"""Optimisers beside PyTorch's where the definitions agree: the same path, step by step. Runs where
PyTorch is installed; the formulas themselves are tested everywhere in test_optimizers.py."""

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.optimizers as optim

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

START = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(3, 4)
TARGET = np.linspace(2.0, -1.0, 12, dtype=np.float32).reshape(3, 4)

# name: (ours, theirs)
PAIRS = {
    "sgd": (lambda: optim.SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "sgd with momentum": (
        lambda: optim.SGD(0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    ),
    "sgd with nesterov's momentum": (
        lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    ),
    "sgd with weight decay": (
        lambda: optim.SGD(0.1, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01),
    ),
    "adam": (
        lambda: optim.Adam(0.05, bias_correction=True),
        lambda p: torch.optim.Adam(p, 0.05),
    ),
    "adamw": (
        lambda: optim.AdamW(0.05, weight_decay=0.1, bias_correction=True),
        lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
    ),
    "rmsprop": (
        lambda: optim.RMSprop(0.05, alpha=0.9, eps=1e-8),
        lambda p: torch.optim.RMSprop(p, 0.05, alpha=0.9, eps=1e-8),
    ),
    "adagrad": (
        lambda: optim.Adagrad(0.1, eps=1e-8),
        lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-8),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_optimiser_goes_the_way_of_torchs(name):
    ours, theirs = PAIRS[name]
    model = {"w": mx.array(START)}
    weights = torch.tensor(START.copy(), requires_grad=True)
    mine, other = ours(), theirs([weights])
    for _ in range(8):
        gradient = mx.grad(lambda w: ((w - mx.array(TARGET)) ** 2).sum())(model["w"])
        model = mine.apply_gradients({"w": gradient}, model)
        other.zero_grad()
        ((weights - torch.tensor(TARGET)) ** 2).sum().backward()
        other.step()
        np.testing.assert_allclose(
            np.array(model["w"]), weights.detach().numpy(), rtol=2e-5, atol=2e-6
        )
