"""Tell two kinds of digits apart by logistic regression, with `mx.value_and_grad` and `mx.compile`.

Run `python examples/logistic_regression.py`; it takes a second and ends near 96 %.
"""

import sys
import time

import numpy as np
from common import Progress, arguments, load_digits

import mlxc.core as mx


def main():
    """Learn to tell even digits below five from the others: 0, 2 and 4 against the rest."""
    args = arguments(__doc__.splitlines()[0], rate=2.0)
    steps = 200 if args.quick else 1500
    train_x, train_y, test_x, test_y = load_digits(seed=args.seed)
    x = mx.array(train_x.reshape(len(train_x), -1))
    t = mx.array((train_y <= 4) & (train_y % 2 == 0)).astype(mx.float32)

    def loss_fn(parameters):
        logits = x @ parameters["w"] + parameters["b"]
        # log(1 + exp(z)) - t z: the cross entropy, without overflow.
        return mx.mean(mx.logaddexp(0.0, logits) - t * logits)

    value_and_grad = mx.value_and_grad(loss_fn)

    @mx.compile
    def step(parameters):
        loss, gradients = value_and_grad(parameters)
        return loss, {k: parameters[k] - args.rate * gradients[k] for k in parameters}

    parameters = {"w": mx.zeros((64,)), "b": mx.zeros(())}
    bar, begin = Progress("fitting", steps), time.perf_counter()
    for i in range(1, steps + 1):
        loss, parameters = step(parameters)
        mx.eval(loss, parameters)
        bar.show(i, f"loss {loss.item():.4f}")
    bar.close()
    seconds = time.perf_counter() - begin
    logits = mx.array(test_x.reshape(len(test_x), -1)) @ parameters["w"] + parameters["b"]
    accuracy = np.mean((np.array(logits) > 0) == ((test_y <= 4) & (test_y % 2 == 0)))
    print(f"loss {loss.item():.4f}, test accuracy {accuracy:.2%}, {steps / seconds:.0f} steps/s")
    return 0 if accuracy > 0.93 else 1


if __name__ == "__main__":
    sys.exit(main())
