"""Fit a linear model by gradient descent, with nothing but arrays and `mx.grad`.

Run `python examples/linear_regression.py`; it takes a second and finds the true weights.
"""

import sys
import time

from common import Progress, arguments

import mlxc.core as mx


def main():
    """Draw data from a known line, forget the line, find it again."""
    args = arguments(__doc__.splitlines()[0], features=100, examples=1000)
    steps = 200 if args.quick else 2000
    mx.random.seed(args.seed)
    truth = mx.random.normal((args.features,))
    x = mx.random.normal((args.examples, args.features))
    y = x @ truth + 1e-2 * mx.random.normal((args.examples,))

    def loss_fn(w):
        return 0.5 * mx.mean(mx.square(x @ w - y))

    gradient = mx.grad(loss_fn)
    w = 1e-2 * mx.random.normal((args.features,))
    bar, begin = Progress("fitting", steps), time.perf_counter()
    for step in range(1, steps + 1):
        w = w - 0.1 * gradient(w)
        mx.eval(w)
        bar.show(step)
    bar.close()
    seconds = time.perf_counter() - begin
    error = mx.sqrt(mx.sum(mx.square(w - truth))).item()
    print(f"loss {loss_fn(w).item():.6f}, |w - truth| {error:.5f}, {steps / seconds:.0f} steps/s")
    return 0 if error < 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
