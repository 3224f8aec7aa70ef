"""Uses everything at once for a long time and watches the memory: ``python -m tests.soak --minutes
20 --seed 1``.

Rules: every round draws one activity; an activity checks what it computed. After a warm-up (a
quarter of the time) neither the process's resident memory nor what mlxc counts may grow beyond what
was seen until then by more than the allowance, or the run fails; cached plans, whose number is
bounded, are counted apart, since filling their cache takes longer than a warm-up. Activities are
found by their decorator, so that a new one takes part by being written.
"""

import argparse
import gc
import os
import random
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim
from mlxc._graph.evaluate import plan_cache_info

ALLOWANCE = 16 << 20  # bytes: the allocator's own scatter
PLAN = 12 << 10  # bytes of a cached plan and its place in the allocator
ACTIVITIES = []


def activity(function):
    ACTIVITIES.append(function)
    return function


def shape_of(rng, axes=2, most=200):
    return tuple(rng.randrange(1, most) for _ in range(axes))


@activity
def training(rng, folder):
    """A few steps of a network with a random width: the loss falls."""
    width = rng.choice((8, 16, 33))
    model = nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.Linear(width, 1))
    optimizer = rng.choice((optim.SGD, optim.Adam, optim.Lion))(learning_rate=1e-2)
    x = mx.random.normal((64, 6))
    y = mx.sum(x, axis=1, keepdims=True)

    def loss(model):
        return mx.mean(mx.square(model(x) - y))

    step = nn.value_and_grad(model, loss)
    losses = []
    for _ in range(8):
        value, gradients = step(model)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
        losses.append(value.item())
    assert losses[-1] < losses[0], losses


@activity
def files(rng, folder):
    """What was saved in a format is what is loaded."""
    kind = rng.choice(("npy", "npz", "safetensors", "gguf"))
    path, x = str(folder / f"soak.{kind}"), mx.random.normal(shape_of(rng))
    if kind == "npy":
        mx.save(path, x)
        back = mx.load(path)
    else:
        write = {"npz": mx.savez, "safetensors": mx.save_safetensors, "gguf": mx.save_gguf}[kind]
        write(path, a=x) if kind == "npz" else write(path, {"a": x})
        back = mx.load(path)["a"]
    assert mx.array_equal(x, back).item()


@activity
def forking(rng, folder):
    """A child computes on its own, with work pending in the parent."""
    pending = mx.ones(shape_of(rng)) * 2
    child = os.fork()
    if child == 0:
        os._exit(0 if mx.all(pending == 2).item() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mx.max(pending).item() == 2


@activity
def threads(rng, folder):
    """Threads evaluate arrays of their own and one that they share."""
    shared, failures = mx.exp(mx.zeros(shape_of(rng))), []

    def work(size):
        ones = mx.ones((size, 7))
        if mx.sum(ones).item() != size * 7 or mx.min(shared).item() != 1:
            failures.append(size)

    workers = [threading.Thread(target=work, args=(rng.randrange(1, 999),)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@activity
def compiled(rng, folder):
    """A compiled function gives what the plain one gives; a new one each time."""
    factor = rng.random()

    def plain(x):
        return mx.softmax(mx.tanh(x * factor) + x.sum(axis=0), axis=-1)

    x = mx.random.normal(shape_of(rng))
    assert mx.allclose(mx.compile(plain)(x), plain(x), atol=1e-5).item()


@activity
def shapes(rng, folder):
    """Every round another shape: plans are made, and forgotten."""
    x = mx.random.uniform(shape=shape_of(rng, rng.randrange(1, 4), 40))
    y = mx.sort(mx.cumsum(x * 2 - x, axis=-1), axis=0)
    a = np.sort(np.cumsum(np.array(x), axis=-1), axis=0)
    np.testing.assert_allclose(np.array(y), a, rtol=1e-4, atol=1e-4)


@activity
def indexing(rng, folder):
    """Parts are read and written in place."""
    rows, columns = shape_of(rng)
    x = mx.zeros((rows, columns))
    x[rng.randrange(rows)] = 3
    x[:, : columns // 2] += 1
    assert mx.sum(x).item() == 3 * columns + rows * (columns // 2)


@activity
def errors(rng, folder):
    """What fails leaves the rest usable."""
    x = mx.ones((3, 4))
    for wrong in (lambda: x @ x, lambda: x[7], lambda: mx.load(str(folder / "nothing.npy"))):
        try:
            mx.eval(wrong())
        except (ValueError, IndexError, OSError):
            continue
        raise AssertionError("no error")
    assert mx.sum(x).item() == 12


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Gauge:
    """Reads memory once everything that can go is gone."""

    def __init__(self):
        self.plans = 0  # the most that were ever cached: the system does not get their memory back

    def read(self):
        """(resident bytes without those of plans, active bytes)"""
        gc.collect()
        mx.clear_cache()
        self.plans = max(self.plans, plan_cache_info()["plans"])
        return resident() - self.plans * PLAN, mx.get_active_memory()


def soak(seconds, seed, say=print, activities=None):
    """Do activities for so many seconds; the bytes by which the two memories grew after the
    warm-up."""
    rng, start, gauge = random.Random(seed), time.monotonic(), Gauge()
    activities = activities or ACTIVITIES
    mx.random.seed(seed)
    highest, grown, rounds, spoken = (0, 0), (0, 0), 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        while (now := time.monotonic() - start) < seconds:
            rng.choice(activities)(rng, Path(folder))
            rounds += 1
            if rounds % 50:
                continue
            memory = gauge.read()
            if now < seconds / 4:
                highest = tuple(map(max, highest, memory))
            else:
                grown = tuple(max(g, m - h) for g, m, h in zip(grown, memory, highest))
            if now - spoken > seconds / 40:
                spoken = now
                say(f"{now:6.0f} s  {rounds:7d} rounds  {resident() >> 20} MiB resident, "
                    f"{memory[1] >> 10} KiB active", flush=True)  # fmt: skip
    return grown


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
    grown = soak(options.minutes * 60, options.seed)
    print(f"after the warm-up: resident {grown[0] >> 10:+d} KiB, active {grown[1]:+d} bytes")
    return int(grown[0] > ALLOWANCE or grown[1] > 1 << 20)


if __name__ == "__main__":
    sys.exit(main())
