"""Train without modules: pure functions of a tree of parameters, batched and differentiated.

The style of JAX: `predict` takes one sample; `mx.vmap` makes it take a batch, `mx.value_and_grad`
its gradient, `mx.compile` a step; per-sample gradients and a Hessian-vector product follow.

Run `python examples/functional.py`; it takes a few seconds.
"""

import sys
import time

import numpy as np
from common import Progress, arguments, batches, load_digits

import mlxc.core as mx
from mlxc.utils import tree_flatten, tree_map


def initial(sizes):
    """Weights and biases of a network with the given sizes."""
    return [
        {"w": mx.random.normal((a, b)) * (2 / a) ** 0.5, "b": mx.zeros((b,))}
        for a, b in zip(sizes[:-1], sizes[1:], strict=True)
    ]


def predict(parameters, pixels):
    """Log probabilities (10,) of one digit (64,)."""
    h = pixels
    for layer in parameters[:-1]:
        h = mx.maximum(h @ layer["w"] + layer["b"], 0)
    logits = h @ parameters[-1]["w"] + parameters[-1]["b"]
    return logits - mx.logsumexp(logits)


def sample_loss(parameters, pixels, target):
    """Cross entropy of one digit and a one-hot target (10,)."""
    return -mx.sum(predict(parameters, pixels) * target)


def loss_fn(parameters, pixels, targets):
    """Mean cross entropy of a batch."""
    return mx.mean(mx.vmap(sample_loss, in_axes=(None, 0, 0))(parameters, pixels, targets))


def main():
    """Train, then ask for derivatives of other kinds."""
    args = arguments(__doc__.splitlines()[0], rate=0.1)
    epochs = 5 if args.quick else 30
    mx.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    train_x, train_y, test_x, test_y = load_digits(seed=args.seed)
    train_x, test_x = train_x.reshape(-1, 64), test_x.reshape(-1, 64)
    one_hot = np.eye(10, dtype=np.float32)
    parameters = initial((64, 64, 10))

    @mx.compile
    def step(parameters, pixels, targets):
        loss, gradients = mx.value_and_grad(loss_fn)(parameters, pixels, targets)
        return loss, tree_map(lambda p, g: p - args.rate * g, parameters, gradients)

    bar, begin = Progress("training", epochs), time.perf_counter()
    for epoch in range(1, epochs + 1):
        for chosen in batches(32, len(train_x), rng):
            targets = mx.array(one_hot[train_y[chosen]])
            loss, parameters = step(parameters, mx.array(train_x[chosen]), targets)
            mx.eval(loss, parameters)
        bar.show(epoch, f"loss {loss.item():.4f}")
    bar.close()
    batched = mx.vmap(predict, in_axes=(None, 0))
    accuracy = np.mean(np.array(mx.argmax(batched(parameters, mx.array(test_x)), 1)) == test_y)
    print(f"test accuracy {accuracy:.2%} in {time.perf_counter() - begin:.1f} s")

    x, y = mx.array(test_x[:8]), mx.array(one_hot[test_y[:8]])
    per_sample = mx.vmap(mx.grad(sample_loss), in_axes=(None, 0, 0))(parameters, x, y)
    mean = tree_map(lambda g: mx.mean(g, axis=0), per_sample)
    whole = mx.grad(loss_fn)(parameters, x, y)
    pairs = zip(tree_flatten(mean), tree_flatten(whole), strict=True)
    worst = max(mx.max(mx.abs(a - b)).item() for (_, a), (_, b) in pairs)
    print(f"the mean of single gradients differs from the gradient of the batch by {worst:.1e}")

    gradient = mx.grad(lambda image: sample_loss(parameters, image, y[0]))
    direction = mx.random.normal((64,))
    _, (curvature,) = mx.jvp(gradient, [x[0]], [direction])
    h = 1e-2
    difference = (gradient(x[0] + h * direction) - gradient(x[0] - h * direction)) / (2 * h)
    error = mx.max(mx.abs(curvature - difference)).item()
    print(f"Hessian-vector product differs from finite differences by {error:.1e}")
    return 0 if accuracy > 0.93 and worst < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
