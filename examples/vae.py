"""A variational autoencoder of handwritten digits (Kingma, Welling, 2014).

Run `python examples/vae.py`; it takes some seconds and writes reconstructions and new digits.
"""

import sys
import time

import numpy as np
from common import Progress, arguments, batches, load_digits, pyplot, save_figure

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim


class VAE(nn.Module):
    """64 pixels to a normal distribution over a few latent numbers, and back."""

    def __init__(self, latent, hidden=128):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, hidden), nn.SiLU())
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, 64))

    def __call__(self, x):
        """Logits of the pixels, means and log variances of the latent numbers."""
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        noise = mx.random.normal(mean.shape)
        return self.decoder(mean + mx.exp(0.5 * log_variance) * noise), mean, log_variance


def loss_fn(model, x):
    """The negative evidence bound in nats a digit (Kingma, Welling, 2014, eq. 10)."""
    logits, mean, log_variance = model(x)
    pixels = nn.losses.binary_cross_entropy(logits, x, reduction="sum")
    divergence = -0.5 * mx.sum(1 + log_variance - mx.square(mean) - mx.exp(log_variance))
    return (pixels + divergence) / x.shape[0]


def draw(model, images, latent, out):
    """Save digits beside their reconstructions, and digits that nobody wrote."""
    plt = pyplot()
    if plt is None:
        return
    logits, _, _ = model(mx.array(images[:10]))
    rows = [images[:10], mx.sigmoid(logits)]
    rows += [mx.sigmoid(model.decoder(mx.random.normal((10, latent)))) for _ in range(2)]
    figure, grid = plt.subplots(4, 10, figsize=(8, 3.4))
    for axes, picture in zip(grid.flat, np.concatenate([np.array(r) for r in rows]), strict=True):
        axes.imshow(picture.reshape(8, 8), cmap="gray_r")
        axes.axis("off")
    figure.suptitle("digits, their reconstructions, and two rows of new ones")
    save_figure(figure, out, "vae.png")


def main():
    """Train, measure and draw."""
    args = arguments(__doc__.splitlines()[0], latent=8, batch_size=64)
    epochs = 10 if args.quick else 100
    mx.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    train_x, _, test_x, _ = load_digits(seed=args.seed)
    train_x, test_x = train_x.reshape(-1, 64), test_x.reshape(-1, 64)
    model, optimizer = VAE(args.latent), optim.Adam(2e-3)
    loss_and_grad = nn.value_and_grad(model, loss_fn)
    first = loss_fn(model, mx.array(test_x)).item()
    bar, begin = Progress("training", epochs), time.perf_counter()
    for epoch in range(1, epochs + 1):
        for chosen in batches(args.batch_size, len(train_x), rng):
            loss, gradients = loss_and_grad(model, mx.array(train_x[chosen]))
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state)
        bar.show(epoch, f"loss {loss.item():.2f}")
    bar.close()
    last = loss_fn(model, mx.array(test_x)).item()
    seconds = time.perf_counter() - begin
    print(f"test loss {first:.2f} before, {last:.2f} after {epochs} epochs in {seconds:.1f} s")
    draw(model, test_x, args.latent, args.out)
    return 0 if last < first - 10 else 1


if __name__ == "__main__":
    sys.exit(main())
