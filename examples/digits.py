"""Recognise handwritten digits with a small convolutional network: the demo of `make demo`.

Run `python examples/digits.py`; it needs no network, takes a few seconds and ends above 97 %.
"""

import sys
import time

import numpy as np
from common import Progress, arguments, batches, load_digits, pyplot, save_figure

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim


class ConvNet(nn.Module):
    """Two convolutions, each followed by pooling, and two linear layers."""

    def __init__(self, channels=16, hidden=64):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.1)
        self.hidden = nn.Linear(2 * channels * 2 * 2, hidden)
        self.out = nn.Linear(hidden, 10)

    def __call__(self, images):
        """Logits (batch, 10) of images (batch, 8, 8, 1)."""
        x = self.pool(nn.relu(self.conv1(images)))
        x = self.pool(nn.relu(self.conv2(x)))
        x = mx.reshape(x, (x.shape[0], -1))
        return self.out(self.dropout(nn.relu(self.hidden(x))))


def loss_fn(model, images, labels):
    """Mean cross entropy."""
    return nn.losses.cross_entropy(model(images), labels, reduction="mean")


def predict(model, images):
    """The most likely class of each image."""
    model.eval()
    classes = mx.argmax(model(images), axis=1)
    model.train()
    return np.array(classes)


def train(model, data, epochs, batch_size, seed):
    """Train and return the loss of every step."""
    train_x, train_y, test_x, test_y = data
    rng = np.random.default_rng(seed)
    per_epoch = -(-len(train_x) // batch_size)
    rate = optim.cosine_decay(8e-3, epochs * per_epoch, 1e-4)
    optimizer = optim.AdamW(rate, bias_correction=True)
    loss_and_grad = nn.value_and_grad(model, loss_fn)
    losses = []
    for epoch in range(epochs):
        bar = Progress(f"epoch {epoch + 1:2}", per_epoch)
        begin, first = time.perf_counter(), len(losses)
        for step, chosen in enumerate(batches(batch_size, len(train_x), rng), start=1):
            images, labels = mx.array(train_x[chosen]), mx.array(train_y[chosen])
            loss, gradients = loss_and_grad(model, images, labels)
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state, loss)
            losses.append(loss.item())
            bar.show(step, f"loss {losses[-1]:.4f}")
        bar.close()
        accuracy = np.mean(predict(model, mx.array(test_x)) == test_y)
        print(
            f"epoch {epoch + 1:2}: loss {np.mean(losses[first:]):.4f}, "
            f"test accuracy {accuracy:.2%}, {time.perf_counter() - begin:.2f} s"
        )
    return losses


def draw(losses, images, labels, predicted, out):
    """Save the loss curve and the digits that were misread."""
    plt = pyplot()
    if plt is None:
        return
    figure, axes = plt.subplots(figsize=(6, 3.5))
    axes.semilogy(losses, linewidth=0.8)
    axes.set(xlabel="step", ylabel="cross entropy", title="digits: training loss")
    save_figure(figure, out, "digits_loss.png")
    wrong = np.flatnonzero(predicted != labels)[:12]
    figure, grid = plt.subplots(2, 6, figsize=(8, 3.2))
    for axes, i in zip(grid.flat, list(wrong) + [None] * (12 - len(wrong)), strict=True):
        axes.axis("off")
        if i is not None:
            axes.imshow(images[i], cmap="gray_r")
            axes.set_title(f"{labels[i]} read as {predicted[i]}", fontsize=8)
    save_figure(figure, out, "digits_misread.png")


def main():
    """Train, test and draw."""
    args = arguments(__doc__.splitlines()[0], epochs=20, batch_size=32)
    mx.random.seed(args.seed)
    train_x, train_y, test_x, test_y = load_digits(seed=args.seed)
    train_x, test_x = train_x[..., None], test_x[..., None]
    model = ConvNet()
    print(model)
    print(f"{len(train_x)} digits to learn from, {len(test_x)} to be tested on")
    epochs = 8 if args.quick else args.epochs
    begin = time.perf_counter()
    data = (train_x, train_y, test_x, test_y)
    losses = train(model, data, epochs, args.batch_size, args.seed)
    predicted = predict(model, mx.array(test_x))
    accuracy = np.mean(predicted == test_y)
    misread = int(np.sum(predicted != test_y))
    print(
        f"final test accuracy {accuracy:.2%} ({misread} of {len(test_y)} misread) "
        f"after {time.perf_counter() - begin:.1f} s"
    )
    draw(losses, test_x[..., 0], test_y, predicted, args.out)
    return 0 if accuracy >= 0.97 else 1


if __name__ == "__main__":
    sys.exit(main())
