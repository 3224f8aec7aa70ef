"""Builds mlxc with a sanitiser of gcc's in a tree of its own and runs the tests on it.

``python -m tests.sanitize address`` (or ``undefined``, ``thread``, or ``address,undefined``) exits
with 0 if the tests pass and no sanitiser reported anything. What follows the name is run as a
module instead: ``python -m tests.sanitize address tests.fuzz --calls 20000``.

Rules: sources are copied to ``build/sanitize/NAME`` and built there, incrementally, so that the
build in place is never touched. Reports go to files and are counted, whatever the tests make of the
process that made them: a report is a failure even where a test passes. Memory that is never freed
is not reported (``detect_leaks=0``): Python keeps what it interned until the process ends, so that
every run would report Python's own; tests of flat memory and ``make soak`` look for ours.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tests.elsewhere import ROOT, copy_sources

SUPPRESSIONS = Path(__file__).resolve().parent / "thread.txt"
LIBRARIES = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}
# The thread sanitiser makes everything ten times slower: it runs what threads meet in.
TESTS = {"thread": ["tests/sanitize/races.py", "tests/test_threads.py", "tests/test_memory.py"]}
# Shaders run on a Metal in software, which is built by another compiler without the sanitiser.
EVERYTHING = ["tests", "--ignore=tests/metal"]
ADDRESS_OPTIONS = "detect_leaks=0 halt_on_error=0 allocator_may_return_null=1 handle_segv=0"
# What promises speed, which no sanitised build has, or flat memory, of which a sanitiser keeps what
# was freed; and the fuzzer, which has a run of its own.
UNFIT = "at_the_speed_of or faster_than or importing_is_quick or memory_flat or hostile_calls"


def library(name):
    """Where gcc has the library of a sanitiser."""
    found = subprocess.run(
        ["gcc", f"-print-file-name={LIBRARIES[name]}"], capture_output=True, text=True, check=True
    )
    return str(Path(found.stdout.strip()).resolve())


def environment(names, target, reports):
    """What tests of the build run under: the sanitisers' libraries come before Python's own."""
    common = f"log_path={reports}/report exitcode=99"
    return {
        **os.environ,
        "PYTHONPATH": str(target),
        "PYTHONMALLOC": "malloc",  # objects of Python's own size classes hide what overruns them
        "LD_PRELOAD": " ".join(library(name) for name in names),
        "ASAN_OPTIONS": f"{ADDRESS_OPTIONS} {common}",
        "UBSAN_OPTIONS": f"print_stacktrace=1 {common}",
        "TSAN_OPTIONS": f"suppressions={SUPPRESSIONS} die_after_fork=0 history_size=4 {common}",
        "MLXC_SANITIZED": ",".join(names),
    }


def build(names, target):
    """Build in place in the copy, for one instruction set unless the environment says which."""
    chosen = os.environ.get("MLXC_BUILD_ISA", "v3" if platform.machine() == "x86_64" else "")
    settings = {"MLXC_SANITIZE": ",".join(names), "MLXC_BUILD_ISA": chosen, "MLXC_STRICT": "0"}
    settings["MLXC_DEBUG_BUILD"] = "1"  # Cython's bounds checks on as well
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=target,
        env={**os.environ, "PYTHONPATH": str(target), **settings},
        check=True,
    )


def main(which, *arguments):
    names = which.split(",")
    target = ROOT / "build/sanitize" / which.replace(",", "-")
    copy_sources(target)
    build(names, target)
    reports = target / "build/reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    without_address_randomisation = ["setarch", platform.machine(), "-R"]  # libtsan maps fixed ones
    command = [*without_address_randomisation, sys.executable, "-m"]
    command += arguments or ["pytest", "-p", "no:cacheprovider", *TESTS.get(which, EVERYTHING)]
    command += [] if arguments else ["-k", f"not ({UNFIT})"]
    result = subprocess.run(command, cwd=target, env=environment(names, target, reports))
    found = sorted(path for path in reports.iterdir() if path.stat().st_size)
    for path in found[:20]:
        print(f"== {path.name}", path.read_text(errors="replace")[:6000], sep="\n")
    print(f"{len(found)} processes with reports of the sanitiser ({which})")
    return 1 if found else result.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
