"""Adapt a trained, frozen and quantized network to new labels with low-rank updates (LoRA).

Hu et al., 2021: beside each frozen weight W a product B A of rank r is trained. Here a network
learns to read digits; then it is quantized to 8 bits, and adapted to tell odd from even digits.

Run `python examples/lora.py`; it takes some seconds and trains under a tenth of the parameters.
"""

import math
import sys

import numpy as np
from common import Progress, arguments, batches, load_digits

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim
from mlxc.utils import tree_flatten, tree_map_with_path


class LoRALinear(nn.Module):
    """A frozen linear layer, plain or quantized, and a trained update of low rank."""

    def __init__(self, linear, inputs, outputs, rank=4, scale=2.0):
        super().__init__()
        self.linear = linear
        self.scale = scale
        self.a = mx.random.uniform(
            low=-1 / math.sqrt(inputs), high=1 / math.sqrt(inputs), shape=(inputs, rank)
        )
        self.b = mx.zeros((rank, outputs))

    def __call__(self, x):
        return self.linear(x) + self.scale * ((x @ self.a) @ self.b)


def fit(model, x, y, epochs, rng, title):
    """Train the parameters that are not frozen."""
    optimizer = optim.Adam(2e-3)

    def loss_fn(x, y):
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    loss_and_grad = nn.value_and_grad(model, loss_fn)
    bar = Progress(title, epochs)
    for epoch in range(1, epochs + 1):
        for chosen in batches(64, len(x), rng):
            loss, gradients = loss_and_grad(mx.array(x[chosen]), mx.array(y[chosen]))
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state)
        bar.show(epoch, f"loss {loss.item():.4f}")
    bar.close()


def accuracy(model, x, y):
    """The share of samples that the model classifies as y."""
    return float(np.mean(np.array(mx.argmax(model(mx.array(x)), axis=1)) == y))


def count(tree):
    """The number of entries of all arrays of a tree."""
    return sum(x.size for _, x in tree_flatten(tree))


def main():
    """Train, quantize, adapt."""
    args = arguments(__doc__.splitlines()[0], rank=4)
    epochs = 8 if args.quick else 30
    mx.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    train_x, train_y, test_x, test_y = load_digits(seed=args.seed)
    train_x, test_x = train_x.reshape(-1, 64), test_x.reshape(-1, 64)

    sizes = (64, 256, 256, 64)
    layers = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    fit(model, train_x, train_y, epochs, rng, "digits")
    whole = count(model)
    print(f"digits: accuracy {accuracy(model, test_x, test_y):.2%}, {whole} parameters")

    nn.quantize(model, bits=8, class_predicate=lambda path, m: isinstance(m, nn.Linear))
    print(f"in 8 bits: accuracy {accuracy(model, test_x, test_y):.2%}")
    model.freeze()

    def adapt(path, layer):
        if not isinstance(layer, nn.QuantizedLinear):
            return layer
        index = int(path.split(".")[-1]) // 2
        outputs = (*sizes[1:], 10)[index]
        return LoRALinear(layer, sizes[index], outputs, args.rank)

    adapted = tree_map_with_path(adapt, model.leaf_modules(), is_leaf=nn.Module.is_module)
    model.update_modules(adapted)
    odd_or_even, answers = train_y % 2, test_y % 2
    before = accuracy(model, test_x, answers)
    fit(model, train_x, odd_or_even, epochs, rng, "odd or even")
    after = accuracy(model, test_x, answers)
    trained = count(model.trainable_parameters())
    print(
        f"odd or even: accuracy {before:.2%} before, {after:.2%} after training {trained} "
        f"parameters, {trained / whole:.1%} of the network"
    )
    return 0 if after > 0.93 else 1


if __name__ == "__main__":
    sys.exit(main())
