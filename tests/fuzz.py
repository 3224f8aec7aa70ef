"""Calls everything public with hostile arguments: whatever comes in, a result or a clear error
comes out.

``python -m tests.fuzz --calls N --seed S`` prints what it found and exits with the number of
findings; ``--only I`` repeats call I of that seed alone, ``--match TEXT`` calls only targets with
TEXT in their names.

Rules: call I of seed S depends on nothing but S and I, so every finding repeats. Calls run in a
child process with limited memory that notes each call before it is made; when the child dies or
hangs, the note says which call it was, and another child goes on behind it. A call that takes long
is interrupted as by Ctrl-C, and must heed that.
"""

import argparse
import collections
import faulthandler
import gc
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .fuzz_arguments import Arguments
from .fuzz_targets import CLEAR, leaves, targets

MEMORY = 4 << 30  # bytes of address space beyond what the child starts with
PATIENCE = 3  # seconds until a call is interrupted
HANG = 90  # seconds until a call that ignored that counts as hanging
BATCH = 5000  # calls that a child makes
# What Python and NumPy say themselves of arguments that are converted.
PYTHONS_OWN = re.compile(
    r"argument|positional|keyword|expected \d|unpack|iterable|not callable|operand type"
    r"|not supported between|must be (a )?real|object is not|has no len|cannot be interpreted"
    r"|embedded null|only integer scalar arrays|truth value of an|unhashable type|could not convert"
    r"|cannot convert float|can't multiply|can only concat|slice step cannot|array is too big"
    r"|ufunc|DLPack only|in DLTensor"
)


class TooLong(BaseException):
    """What the alarm raises in a call that takes long."""


def transformed(way, function, args, kwargs, mx):
    """The call under a transform over its arrays."""
    places = [k for k, arg in enumerate(args) if isinstance(arg, mx.array)]
    xs = [args[k] for k in places]

    def plain(*arrays):
        full = list(args)
        for k, x in zip(places, arrays):
            full[k] = x
        outputs = list(leaves(function(*full, **kwargs), mx))
        return outputs[0] if len(outputs) == 1 else outputs

    def scalar(*arrays):
        outputs = plain(*arrays)
        return sum(
            [
                mx.abs(x).sum().astype(mx.float32)
                for x in ([outputs] if isinstance(outputs, mx.array) else outputs)
            ]
        )

    if way == "compile":
        return mx.compile(plain)(*xs)
    if way == "vmap":
        return mx.vmap(plain)(*xs)
    if way == "grad":
        return mx.grad(scalar, list(range(len(xs))))(*xs)
    return mx.jvp(plain, xs, xs)


def describe(value, mx):
    """A short text for a report, that evaluates nothing."""
    if isinstance(value, mx.array):
        return f"array{value.shape}:{value.dtype.name}"
    if isinstance(value, (list, tuple)):
        try:
            return "[" + ", ".join(describe(item, mx) for item in value[:8]) + "]"
        except RecursionError:
            return "[endless]"
    if isinstance(value, np.ndarray):
        return f"numpy{value.shape}:{value.dtype}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {describe(v, mx)}" for k, v in value.items()) + "}"
    return (
        repr(value)[:40]
        if isinstance(value, (int, float, str, type(None)))
        else type(value).__name__
    )


def prepare(seed, number, made, mx):
    """(name, way, callable, args, kwargs) of a call."""
    rng = random.Random(f"{seed} {number}")
    name = rng.choice(list(made))
    way = rng.choice(("plain",) * 12 + ("compile", "vmap", "grad", "grad", "jvp"))
    make = Arguments(rng, mx)
    function, args, kwargs = made[name](make)
    return name, way, function, args, kwargs


def judge(error):
    """What is wrong with an exception; an empty text if it is clear."""
    kind = type(error).__name__
    text = str(error)
    if isinstance(error, OSError):
        return ""
    if not isinstance(error, CLEAR) or isinstance(error, RecursionError):
        return f"{kind}: {text}"
    if isinstance(error, MemoryError) or text.startswith("[") or PYTHONS_OWN.search(text):
        return ""
    return "" if is_deliberate(error) else f"bare {kind}: {text}"


def is_deliberate(error):
    """Whether a raise statement of ours made the error."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "mlxc" in Path(last.filename).parts and "raise" in (last.line or "")


def perform(way, function, args, kwargs, mx):
    """Make a call and compute what it gives; what is wrong with the outcome, and its class."""
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        if way == "plain":
            result = function(*args, **kwargs)
        else:
            result = transformed(way, function, args, kwargs, mx)
        outputs = list(leaves(result, mx))
        mx.eval(outputs)
        for x in outputs:
            if x.size < 1000:
                repr(x)
                np.array(x)
        return "", "result"
    except TooLong:
        return "", "interrupted"
    except Exception as error:
        return judge(error), type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def raise_too_long(_number, _frame):
    raise TooLong


def chosen_targets(match):
    made = {name: make for name, make in targets().items() if match in name}
    if not made:
        sys.exit(f"no target has {match!r} in its name")
    return made


def child(seed, first, last, match):
    """Make calls first to last, in a folder of their own; a line of JSON for each kind of outcome
    at the end."""
    import mlxc.core as mx

    made = chosen_targets(match)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    signal.signal(signal.SIGALRM, raise_too_long)
    note = os.open("note", os.O_RDWR | os.O_CREAT)
    limits = [(mx.set_memory_limit, mx.get_memory_limit()), (mx.set_cache_limit, 256 << 20)]
    outcomes = collections.Counter()
    with open("outcomes", "a") as log:
        for number in range(first, last):
            faulthandler.dump_traceback_later(HANG, exit=True)
            os.pwrite(note, f"{number}\n(preparing)\n".ljust(400).encode(), 0)
            try:
                name, way, function, args, kwargs = prepare(seed, number, made, mx)
            except (ValueError, MemoryError):  # more than fits, say
                continue
            text = f"{number}\n{name} [{way}] {describe(args, mx)} {describe(kwargs, mx)}\n"
            os.pwrite(note, text[:390].ljust(400).encode("utf-8", "replace"), 0)
            try:
                wrong, outcome = perform(way, function, args, kwargs, mx)
            except TooLong:  # the alarm went off just behind the call
                wrong, outcome = "", "interrupted"
            outcomes[outcome] += 1
            if wrong:
                log.write(json.dumps([number, text.split("\n")[1], wrong[:300]]) + "\n")
                log.flush()
            del function, args, kwargs
            for restore, value in limits:
                restore(value)
            if number % 500 == 499:
                gc.collect()
                mx.clear_cache()
    faulthandler.cancel_dump_traceback_later()
    Path("done").write_text(json.dumps(outcomes))


class Report:
    """What batches of calls gave."""

    def __init__(self):
        self.outcomes = collections.Counter()
        self.findings = []  # (number, call, what is wrong)

    @property
    def crashes(self):
        return [finding for finding in self.findings if finding[2].startswith("crash")]

    def show(self):
        print(", ".join(f"{count} {name}" for name, count in self.outcomes.most_common()))
        seen = collections.Counter()
        for number, call, wrong in self.findings:
            kind = (call.split(" ")[0], re.sub(r"[\d.]+", "0", wrong)[:60])
            seen[kind] += 1
            if seen[kind] == 1:
                print(f"call {number}: {call[:200]}\n    {wrong}")
        print(f"{len(self.findings)} findings of {len(seen)} kinds, {len(self.crashes)} crashes")


def run_batch(folder, seed, first, last, match):
    """Run calls in one child; (calls made, report lines of a crash or None)."""
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "tests.fuzz",
        "--seed",
        str(seed),
        "--match",
        match,
    ]
    root = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(root), *filter(None, sys.path)])
    for name in ("done", "note"):
        Path(folder, name).unlink(missing_ok=True)
    with open(Path(folder, "stderr"), "w+") as errors:
        process = subprocess.Popen(
            [*command, "--batch", str(first), str(last)],
            cwd=folder,
            stderr=errors,
            stdout=errors,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        code = process.wait()
        errors.seek(0)
        said = errors.read()
    if Path(folder, "done").exists():
        return last, None, json.loads(Path(folder, "done").read_text())
    note = Path(folder, "note")
    number, call = (
        (note.read_text(errors="replace").split("\n") + ["", ""])[:2] if note.exists() else ("", "")
    )
    if not number.strip().isdigit() or (code == 1 and "Timeout" not in said):
        raise RuntimeError(f"the fuzzer failed in call {number}:\n{said[-3000:]}")
    place = re.findall(r'File "([^"]+)", line (\d+) in (\w+)', said)[:3]
    return int(number) + 1, [int(number), call, f"crash (exit {code}): {said[:150]!r} {place}"], {}


def run_batches(seed, first, last, match):
    """Make calls first to last, in as many children as it takes; a Report."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        while first < last:
            first, crash, outcomes = run_batch(folder, seed, first, last, match)
            report.outcomes.update(outcomes)
            if crash:
                report.findings.append(crash)
                print("CRASH", crash, flush=True)
        log = Path(folder, "outcomes")
        if log.exists():
            report.findings += [json.loads(line) for line in log.read_text().splitlines()]
    return report


def run(calls, seed, match="", jobs=1):
    """Make calls, in so many processes at a time; a Report."""
    report = Report()
    with ThreadPoolExecutor(jobs) as threads:
        parts = [
            threads.submit(run_batches, seed, first, min(first + BATCH, calls), match)
            for first in range(0, calls, BATCH)
        ]
        for part in parts:
            report.outcomes.update(part.result().outcomes)
            report.findings += part.result().findings
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--match", default="", help="only targets with this in their names")
    parser.add_argument("--only", type=int, help="repeat this call, in this process")
    parser.add_argument("--batch", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch:
        child(options.seed, *options.batch, options.match)
        return 0
    if options.only is not None:
        import mlxc.core as mx

        signal.signal(signal.SIGALRM, raise_too_long)
        made = chosen_targets(options.match)
        name, way, function, args, kwargs = prepare(options.seed, options.only, made, mx)
        print(name, way, describe(args, mx), describe(kwargs, mx), flush=True)
        print(perform(way, function, args, kwargs, mx))
        return 0
    print(f"seed {options.seed}", flush=True)
    report = run(options.calls, options.seed, options.match, options.jobs)
    report.show()
    return min(len(report.findings), 100)


if __name__ == "__main__":
    sys.exit(main())
