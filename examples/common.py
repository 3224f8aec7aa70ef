"""What the examples share: arguments, progress bars, the digits, and plots where possible.

Nothing here needs the network; matplotlib is used when it is installed and never required.
"""

import argparse
import os
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def arguments(description, **options):
    """Parse ``--quick``, ``--seed``, ``--out`` and further options given as name=default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    parser.add_argument("--out", default=os.path.join(HERE, "_out"), help="folder for pictures")
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


class Progress:
    """A progress bar on one line of the terminal; elsewhere it prints nothing.

    Args:
        title (str): shown ahead of the bar.
        total (int): number of steps.
    """

    def __init__(self, title, total):
        self.title, self.total = title, max(total, 1)
        self.begin, self.shown = time.perf_counter(), 0.0
        self.terminal = sys.stderr.isatty()

    def show(self, done, note=""):
        """Draw the bar after ``done`` steps."""
        now = time.perf_counter()
        if not self.terminal or (now - self.shown < 0.05 and done < self.total):
            return
        self.shown = now
        full = 24 * done // self.total
        left = (now - self.begin) / max(done, 1) * (self.total - done)
        bar = "█" * full + "░" * (24 - full)
        text = f"{self.title} {bar} {done}/{self.total} {left:4.0f}s left  {note}"
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def close(self):
        """Clear the line."""
        if self.terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def load_digits(test_fraction=0.2, seed=0):
    """The digits as float32 images in [0, 1] and int32 labels, split at random.

    Returns:
        tuple: train images (n, 8, 8), train labels, test images, test labels.
    """
    with np.load(os.path.join(HERE, "data", "digits.npz")) as data:
        images = data["images"].astype(np.float32) / 16.0
        labels = data["labels"].astype(np.int32)
    order = np.random.default_rng(seed).permutation(len(images))
    images, labels = images[order], labels[order]
    cut = int(len(images) * test_fraction)
    return images[cut:], labels[cut:], images[:cut], labels[:cut]


def batches(size, count, rng):
    """Yield index arrays that visit ``count`` samples once, in random order."""
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def pyplot():
    """matplotlib's pyplot, drawing to files, or None where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        print("(no pictures: matplotlib is not installed)")
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def save_figure(figure, out, name):
    """Write a figure to a folder and say where it is."""
    os.makedirs(out, exist_ok=True)
    path = os.path.relpath(os.path.join(out, name))
    figure.savefig(path, dpi=120, bbox_inches="tight")
    print(f"wrote {path}")
