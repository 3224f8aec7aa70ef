"""One framework in a process of its own: told the name of a case, it answers the seconds of one
timed block.

``python -m bench.worker FRAMEWORK THREADS`` reads a line of JSON a request: {"case", "seconds"},
and writes one a reply: {"seconds": of one call, "calls"} or {"error"}. The first block of a case
also warms up and finds how many calls fill a block.
"""

import gc
import json
import os
import sys
import time


def limit_threads(threads):
    """Before a framework is loaded: the variables that they read, and as many processors as
    threads."""
    for name in ("MLXC", "OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


class Cases:
    """The case under measurement: its function, and how many calls make a block."""

    def __init__(self, framework):
        self.framework = framework
        self.name = None

    def begin(self, name, seconds):
        from .registry import CASES

        self.name = self.step = None
        gc.collect()
        self.step = CASES[name].start(self.framework)
        self.name = name
        self.step()  # compiles, allocates
        self.calls = 1
        while True:
            taken = self.block(self.calls)
            if taken > 0.25 * seconds or self.calls > 1 << 22:
                break
            self.calls *= 4
        self.calls = max(1, int(self.calls * seconds / max(taken, 1e-9)))
        return taken if self.calls == 1 else self.block(self.calls)

    def block(self, calls):
        """The seconds that calls take."""
        step = self.step
        gc.disable()
        begin = time.perf_counter()
        for _ in range(calls):
            step()
        taken = time.perf_counter() - begin
        gc.enable()
        return taken

    def answer(self, request):
        if request["case"] != self.name:
            taken = self.begin(request["case"], request["seconds"])
        else:
            taken = self.block(self.calls)
        return {"seconds": taken / self.calls, "calls": self.calls}


def main():
    framework, threads = sys.argv[1], int(sys.argv[2])
    limit_threads(threads)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is no reply
    if framework == "torch":
        import torch

        torch.set_num_threads(threads)
    from .registry import load_cases

    load_cases()
    cases = Cases(framework)
    for line in sys.stdin:
        try:
            reply = cases.answer(json.loads(line))
        except Exception as error:  # told to whoever asks, who shows it
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
