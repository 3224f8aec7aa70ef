"""Timed blocks of cases in processes of their own, and what they say.

Rules: blocks are interleaved, ours and theirs in turn, so that what else the machine does hits all
alike. A framework that takes ``HOPELESS`` times as long as the fastest is measured twice only.
"""

import json
import os
import statistics
import subprocess
import sys
import time

HOPELESS = 4


def environment():
    """Of a process that finds this package."""
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


class Worker:
    """A framework in its process."""

    def __init__(self, framework, threads):
        self.framework = framework
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "bench.worker", framework, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        )

    def block(self, name, seconds):
        """The seconds of one call, measured over one block; a text where it failed."""
        try:
            self.process.stdin.write(json.dumps({"case": name, "seconds": seconds}) + "\n")
            self.process.stdin.flush()
            reply = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            return f"{self.framework} ended with status {self.process.wait()}"
        return reply.get("seconds", reply.get("error"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(case, workers, rounds, seconds):
    """Of each worker whose framework has the case: its seconds block by block, or a text where it
    failed."""
    taken = {name: [] for name, worker in workers.items() if worker.framework in case.functions}
    for number in range(rounds):
        best = min((min(blocks) for blocks in taken.values() if numbers(blocks)), default=0)
        for name, blocks in taken.items():
            if isinstance(blocks, str) or (number > 1 and min(blocks) > HOPELESS * best):
                continue
            result = workers[name].block(case.name, seconds)
            if isinstance(result, str):
                taken[name] = result
            else:
                blocks.append(result)
    return taken


def numbers(blocks):
    return blocks and not isinstance(blocks, str)


def summarize(blocks):
    """(median, spread) of a framework's blocks; None of a failure."""
    if not numbers(blocks):
        return None
    middle = statistics.median(blocks)
    if len(blocks) < 4:
        return middle, (max(blocks) - min(blocks)) / 2 / middle
    low, _, high = statistics.quantiles(blocks, n=4)
    return middle, (high - low) / 2 / middle


def ratio(summary):
    """How many times as much as mlxc the best peer takes; above 1 mlxc is ahead. None without a
    peer."""
    ours = summary.get("mlxc")
    theirs = [value[0] for name, value in summary.items() if name != "mlxc" and value]
    return min(theirs) / ours[0] if ours and theirs else None


def run(cases, workers, rounds, seconds, show):
    """Measure all cases, showing each; the summaries by case."""
    summaries, begin = {}, time.monotonic()
    for done, case in enumerate(cases):
        left = (time.monotonic() - begin) / max(done, 1) * (len(cases) - done)
        progress(f"{done}/{len(cases)}  {case.name}" + (f"  {left:.0f} s left" if done else ""))
        taken = measure(case, workers, rounds, seconds)
        summaries[case.name] = {name: summarize(blocks) for name, blocks in taken.items()}
        progress("")
        show(case.name, summaries[case.name])
        for name, blocks in taken.items():
            if isinstance(blocks, str):
                print(f"    {name}: {blocks.splitlines()[0][:150]}")
    return summaries


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()
