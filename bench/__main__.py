"""``python -m bench``: mlxc beside NumPy, MLX, PyTorch and JAX, as far as they are installed.

Three tables, each with its facts on top:

* speed: each framework in a process of its own, with the same number of threads, in interleaved
  blocks of a few hundredths of a second. Shown is the median of a case's blocks; the spread is half
  the distance between quartiles, relative to the median.
* memory: the peak of whole training and inference steps (`bench/memory.py` says how).
* threads: cases that take long, with one thread and with all, of mlxc and of PyTorch: how much a
  second processor helps, and how much it helps others.
"""

import argparse
import fnmatch
import os
import sys
import time
from pathlib import Path

from .measuring import Worker, measure, progress, run, summarize
from .memory import measure_memory
from .registry import FRAMEWORKS, installed, load_cases
from .reporting import Table, conclusion, draw_ratios, draw_sizes, facts

RESULTS = Path(__file__).parent / "results"
LONG = 0.5e-3  # seconds from which a case is long


def parse():
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="short blocks, few rounds, the main cases, speed only"
    )
    parser.add_argument(
        "--cases",
        default="*",
        help="a pattern of case names, like 'fused.*'; semicolons separate several",
    )
    parser.add_argument("--peers", default=",".join(FRAMEWORKS[1:]), help="whom to compare with")
    parser.add_argument("--tables", default=",".join(TABLES), help="what to measure")
    parser.add_argument(
        "--threads", type=int, default=len(affinity()), help="threads of every framework"
    )
    parser.add_argument("--rounds", type=int, help="blocks a case and framework")
    parser.add_argument("--name", help="of the result files")
    options = parser.parse_args()
    options.peers = checked(parser, "--peers", options.peers, FRAMEWORKS[1:])
    options.tables = checked(parser, "--tables", options.tables, TABLES)
    if options.quick:
        options.tables = [name for name in options.tables if name == "speed"]
    options.seconds = 0.02 if options.quick else 0.05
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.name = options.name or time.strftime("%Y-%m-%d") + ("-quick" if options.quick else "")
    return options


def checked(parser, option, text, known):
    """The words of an option, in the order of those that are known."""
    words = [word for word in text.split(",") if word]
    if unknown := sorted(set(words) - set(known)):
        parser.error(f"{option} knows {', '.join(known)}; not {', '.join(unknown)}")
    return [word for word in known if word in words]


def affinity():
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def frameworks(options):
    return [name for name in ("mlxc", *options.peers) if installed(name)]


def chosen(options):
    patterns = options.cases.split(";")
    cases = [
        case
        for name, case in load_cases().items()
        if any(fnmatch.fnmatch(name, pattern.strip()) for pattern in patterns)
    ]
    if options.quick and options.cases == "*":
        cases = [case for case in cases if case.quick]
    if not cases:
        sys.exit(f"no case is named like {options.cases!r}")
    return cases


def with_workers(options, threads, work):
    """What ``work`` gives of workers, {name: (framework, number of threads)}; they end with it."""
    workers = {name: Worker(framework, count) for name, (framework, count) in threads.items()}
    try:
        return work(workers)
    finally:
        for worker in workers.values():
            worker.close()


def speed(options, cases):
    names = frameworks(options)
    table = Table(names, "µs", 1e6)
    summaries = with_workers(
        options,
        {name: (name, options.threads) for name in names},
        lambda workers: run(cases, workers, options.rounds, options.seconds, table.row),
    )
    lines = [
        *facts(names, options.threads),
        f"blocks: {options.rounds} of {options.seconds} s a case and framework, interleaved",
        "figures: microseconds, the median of the blocks, and their spread",
        conclusion(summaries),
    ]
    print(f"\n{lines[-1]}")
    path = RESULTS / options.name
    table.write(f"{path}.tsv", summaries, lines)
    draw_ratios(f"{path}.png", summaries, lines[1], "time")
    draw_sizes(f"{path}-sizes.png", cases, summaries, lines[1])


def memory(options, cases):
    names = frameworks(options)
    cases = [case for case in cases if case.memory]
    if not cases:
        return
    table, summaries = Table(names, "MB", 1e-6), {}
    for case in cases:
        summary = {}
        for name in names:
            if name in case.functions:
                progress(f"{case.name}  {name}")
                peak = measure_memory(case, name, options.threads)
                progress("")
                summary[name] = None if isinstance(peak, str) else (peak, 0.0)
                if isinstance(peak, str):
                    print(f"    {name}: {peak[:150]}")
        summaries[case.name] = summary
        table.row(case.name, summary)
    lines = [
        *facts(names, options.threads),
        "figures: megabytes, see bench/memory.py",
        conclusion(summaries),
    ]
    print(f"\n{lines[-1]}")
    path = RESULTS / f"{options.name}-memory"
    table.write(f"{path}.tsv", summaries, lines)
    draw_ratios(f"{path}.png", summaries, lines[1], "peak memory")


def threads(options, cases):
    if options.threads == 1:
        return
    names = [name for name in frameworks(options) if name in ("mlxc", "torch")]
    counts = (1, options.threads)
    path = RESULTS / f"{options.name}-threads.tsv"
    heads = [f"{name} {count}" for name in names for count in counts]

    def work(workers):
        with open(path, "w", encoding="utf-8") as file:
            for line in facts(names, options.threads):
                file.write(f"# {line}\n")
            file.write("# figures: microseconds with so many threads; how many times as fast\n")
            file.write("\t".join(["case", *heads, *(f"{n} speedup" for n in names)]) + "\n")
            for case in cases:
                ours = f"mlxc {options.threads}"
                first = workers[ours].block(case.name, options.seconds)
                if isinstance(first, str) or first < LONG:
                    continue
                taken = measure(case, workers, 3, options.seconds)
                medians = {name: summarize(blocks) for name, blocks in taken.items()}
                cells = [f"{medians[h][0] * 1e6:.4g}" if medians.get(h) else "" for h in heads]
                for name in names:
                    pair = [medians.get(f"{name} {count}") for count in counts]
                    cells.append(f"{pair[0][0] / pair[1][0]:.2f}" if all(pair) else "")
                file.write("\t".join([case.name, *cells]) + "\n")
                print(f"{case.name:<44}" + "".join(f"{cell:>14}" for cell in cells), flush=True)

    print(f"{'case':<44}" + "".join(f"{h + ' µs':>14}" for h in heads) + "       speedups")
    kinds = {f"{name} {count}": (name, count) for name in names for count in counts}
    with_workers(options, kinds, work)
    print(path)


TABLES = {"speed": speed, "memory": memory, "threads": threads}


def main():
    options = parse()
    cases = chosen(options)
    RESULTS.mkdir(exist_ok=True)
    for name in options.tables:
        TABLES[name](options, cases)


if __name__ == "__main__":
    main()
