"""Turn noise into two moons: flow matching in two dimensions (Lipman et al., 2023).

A network learns the velocity x1 - x0 along straight lines from noise x0 to data x1; following the
velocity from new noise gives new data.

Run `python examples/flow2d.py`; it takes some seconds and writes a picture of the samples.
"""

import sys
import time

import numpy as np
from common import Progress, arguments, pyplot, save_figure

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim


class Velocity(nn.Module):
    """Velocity (n, 2) at points (n, 2) and times (n, 1)."""

    def __init__(self, hidden=64):
        super().__init__()
        sizes = (3, hidden, hidden, hidden)
        self.layers = [nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        self.out = nn.Linear(hidden, 2)

    def __call__(self, x, t):
        h = mx.concatenate([x, t], axis=-1)
        for layer in self.layers:
            h = nn.silu(layer(h))
        return self.out(h)


def moons(count, rng):
    """Points on two interleaved half circles, with a little noise."""
    angle = np.pi * rng.random(count)
    upper = rng.random(count) < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle)) - 0.5
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle)) - 0.25
    points = np.stack([x, y], axis=1) + 0.05 * rng.normal(size=(count, 2))
    return points.astype(np.float32)


def sample(model, count, steps=50):
    """Follow the velocity from noise, by Heun's method."""
    x = mx.random.normal((count, 2))
    for i in range(steps):
        t, end = mx.full((count, 1), i / steps), mx.full((count, 1), (i + 1) / steps)
        first = model(x, t)
        second = model(x + first / steps, end)
        x = x + (first + second) / (2 * steps)
        mx.eval(x)
    return np.array(x)


def distance_to_moons(points):
    """The distance of each point to the nearer half circle."""
    x, y = points[:, 0] + 0.5, points[:, 1] + 0.25
    upper = np.hypot(np.hypot(x, np.maximum(y, 0)) - 1, np.minimum(y, 0))
    lower = np.hypot(np.hypot(x - 1, np.minimum(y - 0.5, 0)) - 1, np.maximum(y - 0.5, 0))
    return np.minimum(upper, lower)


def main():
    """Train, sample and draw."""
    args = arguments(__doc__.splitlines()[0], batch_size=256)
    steps = 800 if args.quick else 4000
    mx.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    model = Velocity()
    optimizer = optim.Adam(optim.cosine_decay(5e-3, steps, 1e-4))

    def loss_fn(noise, data, t):
        return nn.losses.mse_loss(model((1 - t) * noise + t * data, t), data - noise)

    loss_and_grad = nn.value_and_grad(model, loss_fn)
    bar, begin = Progress("training", steps), time.perf_counter()
    for step in range(1, steps + 1):
        data = mx.array(moons(args.batch_size, rng))
        noise, t = mx.random.normal(data.shape), mx.random.uniform(shape=(args.batch_size, 1))
        loss, gradients = loss_and_grad(noise, data, t)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
        bar.show(step, f"loss {loss.item():.3f}")
    bar.close()
    seconds = time.perf_counter() - begin
    points = sample(model, 1000)
    far = distance_to_moons(points).mean()
    noise = distance_to_moons(rng.normal(size=(1000, 2))).mean()
    rate = steps / seconds
    print(f"mean distance to the moons {far:.3f} (noise {noise:.3f}), {rate:.0f} steps/s")
    plt = pyplot()
    if plt is not None:
        figure, grid = plt.subplots(1, 2, figsize=(8, 3), sharex=True, sharey=True)
        for axes, cloud, title in zip(grid, (moons(1000, rng), points), ("data", "samples")):
            axes.scatter(*cloud.T, s=3)
            axes.set_title(title)
        save_figure(figure, args.out, "flow2d.png")
    return 0 if far < noise / 3 else 1


if __name__ == "__main__":
    sys.exit(main())
