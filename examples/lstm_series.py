"""Forecast a noisy seasonal series with an LSTM, and save and resume the training on the way.

Run `python examples/lstm_series.py`; it takes some seconds and beats the naive forecast.
"""

import os
import sys
import tempfile
import time

import numpy as np
from common import Progress, arguments, pyplot, save_figure

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim
from mlxc.utils import load_checkpoint, save_checkpoint


class Forecaster(nn.Module):
    """The next value from the values so far."""

    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden)
        self.head = nn.Linear(hidden, 1)

    def __call__(self, x):
        """Forecasts (batch, length) of the values that follow those of x (batch, length)."""
        hidden, _ = self.lstm(mx.expand_dims(x, -1))
        return x + mx.squeeze(self.head(hidden), -1)


def series(length, rng):
    """Two seasons and some noise."""
    t = np.arange(length)
    values = np.sin(2 * np.pi * t / 25) + 0.5 * np.sin(2 * np.pi * t / 7)
    return (values + 0.05 * rng.normal(size=length)).astype(np.float32)


def main():
    """Train in two halves, with a checkpoint between them, and forecast."""
    args = arguments(__doc__.splitlines()[0], window=50, batch_size=32)
    steps = 100 if args.quick else 400
    mx.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    values = series(2000, rng)
    train, test = values[:1600], values[1600:]
    path = os.path.join(tempfile.mkdtemp(), "lstm.safetensors")
    model, optimizer = Forecaster(), optim.Adam(5e-3)

    bar, begin = Progress("training", steps), time.perf_counter()
    for step in range(1, steps + 1):
        if step == steps // 2:
            save_checkpoint(path, model, optimizer, step=step)
            model, optimizer = Forecaster(), optim.Adam(5e-3)
            print(f"saved and resumed at step {load_checkpoint(path, model, optimizer)['step']}")
        starts = rng.integers(0, len(train) - args.window - 1, args.batch_size)
        windows = np.stack([train[s : s + args.window + 1] for s in starts])

        def loss_fn(x, y, model=model):
            return nn.losses.mse_loss(model(x), y)

        x, y = mx.array(windows[:, :-1]), mx.array(windows[:, 1:])
        loss, gradients = nn.value_and_grad(model, loss_fn)(x, y)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
        bar.show(step, f"loss {loss.item():.5f}")
    bar.close()

    forecast = np.array(model(mx.array(test[None, :-1])))[0]
    error = np.sqrt(np.mean((forecast - test[1:])[args.window :] ** 2))
    naive = np.sqrt(np.mean((test[:-1] - test[1:])[args.window :] ** 2))
    seconds = time.perf_counter() - begin
    print(f"root mean square error {error:.4f}; naive forecast {naive:.4f}; {seconds:.1f} s")
    plt = pyplot()
    if plt is not None:
        figure, axes = plt.subplots(figsize=(8, 3))
        axes.plot(test[101:201], label="series")
        axes.plot(forecast[100:200], label="forecast, one step ahead")
        axes.legend()
        save_figure(figure, args.out, "lstm_series.png")
    return 0 if error < naive else 1


if __name__ == "__main__":
    sys.exit(main())
