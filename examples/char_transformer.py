"""Train a small transformer on the text of a Python module, and let it write as it learns.

Run `python examples/char_transformer.py`; it takes some minutes (`--quick`: seconds).
"""

import inspect
import math
import sys
import textwrap
import time

import numpy as np
from common import Progress, arguments

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim
from mlxc.utils import tree_flatten


class CharModel(nn.Module):
    """Characters in, logits of the next character out; the future is masked."""

    def __init__(self, characters, context, dims=64, heads=4, layers=2):
        super().__init__()
        self.characters = nn.Embedding(characters, dims)
        self.positions = nn.Embedding(context, dims)
        self.body = nn.TransformerEncoder(layers, dims, heads, activation=nn.gelu)

    def __call__(self, x):
        """Logits (batch, length, characters) of indices (batch, length)."""
        length = x.shape[1]
        mask = nn.MultiHeadAttention.create_additive_causal_mask(length)
        h = self.characters(x) + self.positions(mx.arange(length))
        return self.characters.as_linear(self.body(h, mask))


def write(model, start, length, context, key, temperature=0.8):
    """Continue a list of indices, one sampled character after the other."""
    text = list(start)
    model.eval()
    for _ in range(length):
        logits = model(mx.array([text[-context:]]))[0, -1]
        key, now = mx.random.split(key)
        text.append(mx.random.categorical(logits / temperature, key=now).item())
    model.train()
    return text


def main():
    """Read, train and write."""
    args = arguments(__doc__.splitlines()[0], context=64, batch_size=32)
    steps, every = (120, 60) if args.quick else (1500, 250)
    text = inspect.getsource(textwrap) + inspect.getsource(inspect)
    vocabulary = sorted(set(text))
    number = {c: i for i, c in enumerate(vocabulary)}
    data = np.array([number[c] for c in text], dtype=np.int32)
    mx.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    model = CharModel(len(vocabulary), args.context)
    size = sum(x.size for _, x in tree_flatten(model.parameters()))
    print(f"{len(text)} characters, {len(vocabulary)} kinds, {size} parameters")
    warm = steps // 20
    rate = optim.join_schedules(
        [optim.linear_schedule(0.0, 3e-3, warm), optim.cosine_decay(3e-3, steps - warm, 1e-4)],
        [warm],
    )
    optimizer = optim.AdamW(rate, weight_decay=0.05, bias_correction=True)

    def loss_fn(x, y):
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    loss_and_grad = nn.value_and_grad(model, loss_fn)
    bar, begin, losses = Progress("training", steps), time.perf_counter(), []
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(data) - args.context - 1, args.batch_size)
        windows = np.stack([data[s : s + args.context + 1] for s in starts])
        loss, gradients = loss_and_grad(mx.array(windows[:, :-1]), mx.array(windows[:, 1:]))
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state, loss)
        losses.append(loss.item())
        bar.show(step, f"loss {losses[-1]:.3f}")
        if step % every == 0:
            bar.close()
            bits = np.mean(losses[-every:]) / math.log(2)
            print(f"--- step {step}: {bits:.2f} bits a character, it writes:")
            start = [number[c] for c in "def "]
            sample = write(model, start, 160, args.context, mx.random.key(step))
            print(textwrap.indent("".join(vocabulary[i] for i in sample), "    "))
    seconds = time.perf_counter() - begin
    print(f"final loss {np.mean(losses[-20:]):.3f}, {steps / seconds:.1f} steps/s")
    return 0 if np.mean(losses[-20:]) < np.mean(losses[:5]) - 0.5 else 1


if __name__ == "__main__":
    sys.exit(main())
