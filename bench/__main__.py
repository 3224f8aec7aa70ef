"""``python -m bench``: mlxc beside NumPy, MLX, PyTorch and JAX, as far as they are installed.

Rules: each framework runs in a process of its own, with the same number of threads; timed blocks of
a few hundredths of a second are interleaved, ours and theirs in turn, so that what else the machine
does hits all alike. Shown is the median of a case's blocks; the spread is half the distance between
quartiles, relative to the median.
"""

import argparse
import fnmatch
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from .registry import FRAMEWORKS, installed, load_cases

RESULTS = Path(__file__).parent / "results"


def parse():
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="short blocks, few rounds, the main cases"
    )
    parser.add_argument(
        "--cases",
        default="*",
        help="a pattern of case names, like 'fused.*'; commas separate several",
    )
    parser.add_argument("--peers", default=",".join(FRAMEWORKS[1:]), help="whom to compare with")
    parser.add_argument(
        "--threads", type=int, default=len(affinity()), help="threads of every framework"
    )
    parser.add_argument("--rounds", type=int, help="blocks a case and framework")
    parser.add_argument("--name", help="of the result files")
    return parser.parse_args()


def affinity():
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class Worker:
    """A framework in its process."""

    def __init__(self, framework, threads):
        self.framework = framework
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "bench.worker", framework, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
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
    """Of each framework that has the case: its seconds block by block, or a text where it
    failed."""
    taken = {name: [] for name in workers if name in case.functions}
    for _ in range(rounds):
        for name in list(taken):
            if isinstance(taken[name], str):
                continue
            result = workers[name].block(case.name, seconds)
            if isinstance(result, str):
                taken[name] = result
            else:
                taken[name].append(result)
    return taken


def summarize(blocks):
    """(median, spread) of a framework's blocks; None of a failure."""
    if isinstance(blocks, str) or not blocks:
        return None
    middle = statistics.median(blocks)
    if len(blocks) < 4:
        return middle, (max(blocks) - min(blocks)) / 2 / middle
    low, _, high = statistics.quantiles(blocks, n=4)
    return middle, (high - low) / 2 / middle


def ratio(summary):
    """How many times as long as mlxc the best peer takes; above 1 mlxc is ahead. None without a
    peer."""
    ours = summary.get("mlxc")
    theirs = [value[0] for name, value in summary.items() if name != "mlxc" and value]
    return min(theirs) / ours[0] if ours and theirs else None


def microseconds(value):
    """A time for the table: three digits, and the spread where it matters."""
    if value is None:
        return "failed"
    text = f"{value[0] * 1e6:,.3g}" if value[0] < 1e-3 else f"{value[0] * 1e6:,.0f}"
    return text if value[1] < 0.1 else f"{text} ±{value[1]:.0%}"


def row(name, summary, frameworks):
    cells = [microseconds(summary[f]) if f in summary else "" for f in frameworks]
    best = ratio(summary)
    return (
        f"{name:<36}"
        + "".join(f"{cell:>16}" for cell in cells)
        + (f"{best:>9.2f}" if best else f"{'':>9}")
    )


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()


def run(cases, workers, rounds, seconds):
    """Measure all cases, printing the table as it grows; the summaries by case."""
    frameworks = list(workers)
    heads = "".join(f"{name + ' µs':>16}" for name in frameworks)
    print(f"{'case':<36}{heads}{'best/our':>9}")
    summaries, begin = {}, time.monotonic()
    for done, case in enumerate(cases):
        left = (time.monotonic() - begin) / max(done, 1) * (len(cases) - done)
        progress(f"{done}/{len(cases)}  {case.name}" + (f"  {left:.0f} s left" if done else ""))
        taken = measure(case, workers, rounds, seconds)
        summaries[case.name] = {name: summarize(blocks) for name, blocks in taken.items()}
        progress("")
        print(row(case.name, summaries[case.name], frameworks), flush=True)
        for name, blocks in taken.items():
            if isinstance(blocks, str):
                print(f"    {name}: {blocks.splitlines()[0][:150]}")
    return summaries


def facts(frameworks, threads, rounds, seconds):
    """What the figures were measured on."""
    from importlib.metadata import PackageNotFoundError, version

    versions = []
    for name in frameworks:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # mlxc, run from its folder
            from mlxc._version import __version__

            versions.append(f"{name} {__version__}")
    from mlxc.__main__ import processor

    yield f"date: {time.strftime('%Y-%m-%d')}"
    yield f"processor: {processor()}, {threads} threads; load {os.getloadavg()[0]:.1f}"
    yield f"system: {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    yield f"versions: {', '.join(versions)}"
    yield f"blocks: {rounds} of {seconds} s a case and framework, interleaved"
    yield "figures: microseconds, the median of the blocks, and their spread"


def write(path, summaries, frameworks, lines):
    """The table as tab-separated values."""
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(f"# {line}\n")
        heads = [f"{name}\t{name} spread" for name in frameworks]
        file.write("\t".join(["case", *heads, "best peer / mlxc"]) + "\n")
        for name, summary in summaries.items():
            cells = [name]
            for framework in frameworks:
                value = summary.get(framework)
                cells.append(f"{value[0] * 1e6:.4g}\t{value[1]:.3f}" if value else "\t")
            best = ratio(summary)
            file.write("\t".join([*cells, f"{best:.3f}" if best else ""]) + "\n")


def draw(path, ratios, title):
    """The ratios as bars on a logarithmic axis; nothing without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(ratios)
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.2 * len(names)))
    colors = ["#2a7f9e" if ratios[name] >= 1 else "#c8553d" for name in names]
    axes.barh(names, [ratios[name] - 1 for name in names], left=1, color=colors)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("time of the fastest peer / time of mlxc (right of 1: mlxc is ahead)")
    axes.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    return True


def main():
    options = parse()
    patterns = options.cases.split(",")
    cases = [
        case
        for name, case in load_cases().items()
        if any(fnmatch.fnmatch(name, p) for p in patterns)
    ]
    if options.quick and options.cases == "*":
        cases = [case for case in cases if case.quick]
    if not cases:
        sys.exit(f"no case is named like {options.cases!r}")
    unknown = set(options.peers.split(",")) - {"", *FRAMEWORKS}
    if unknown:
        sys.exit(f"--peers knows {', '.join(FRAMEWORKS[1:])}; not {', '.join(sorted(unknown))}")
    rounds, seconds = options.rounds or (3 if options.quick else 7), 0.02 if options.quick else 0.05
    wanted = ["mlxc", *(name for name in FRAMEWORKS[1:] if name in options.peers.split(","))]
    workers = {name: Worker(name, options.threads) for name in wanted if installed(name)}
    try:
        summaries = run(cases, workers, rounds, seconds)
    finally:
        for worker in workers.values():
            worker.close()
    report(
        summaries, list(workers), options, list(facts(workers, options.threads, rounds, seconds))
    )


def report(summaries, frameworks, options, lines):
    """The geometric mean, the files, the picture."""
    ratios = {name: ratio(summary) for name, summary in summaries.items() if ratio(summary)}
    if ratios:
        mean = statistics.geometric_mean(ratios.values())
        ahead = sum(value >= 1 for value in ratios.values())
        print(
            f"\nThe fastest peer takes {mean:.2f} times as long as mlxc (geometric mean of "
            f"{len(ratios)} cases;"
        )
        print(f"mlxc is ahead in {ahead}).")
        lines.append(
            f"geometric mean of best peer / mlxc: {mean:.3f} over {len(ratios)} cases, ahead in "
            f"{ahead}"
        )
    RESULTS.mkdir(exist_ok=True)
    name = options.name or f"{time.strftime('%Y-%m-%d')}{'-quick' if options.quick else ''}"
    write(RESULTS / f"{name}.tsv", summaries, frameworks, lines)
    print(f"{RESULTS / name}.tsv")
    if ratios and draw(RESULTS / f"{name}.png", ratios, lines[1]):
        print(f"{RESULTS / name}.png")


if __name__ == "__main__":
    main()
