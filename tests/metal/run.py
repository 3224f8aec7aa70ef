"""Runs what belongs to the GPU on the device of MLXC_METAL_LIBRARY: `make test-metal`.

    python tests/metal/run.py [--jobs N] [--only WORD] [--seconds 1200]

Rules: jobs are test files, long ones in equal parts, as many at once as there are cores, longest
first; each prints its last line, the seconds that it took and those that it computed. What differs
on a GPU by intention is left out by name, with its reason (`DIFFERENT`, and `ON_NVIDIA` there). In
check mode the software Metal watches every access to memory, which is slow: there run the tests
that reach every kernel, and few of the others.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHADERS = sorted((ROOT / "tests/metal").glob("test_*.py"))
NVIDIA = os.environ.get("MLXC_SOFTMETAL_DEVICE") == "cuda"
# Tests of the whole, run with the GPU as the default device, and in how many parts.
WHOLE = {
    "test_table": 4,
    "test_compile": 2,
    "test_reduce": 2,
    "test_fusion": 1,
    "test_transforms": 1,
}
# Tests that the mode does not change, and those that are about it.
PLAIN_ONLY = ("test_shim", "test_lint", "test_softmetal", "test_clang")
CHECK_ONLY = ("test_faults",)
SOFTWARE_ONLY = ("test_lint", "test_softmetal", "test_clang", *CHECK_ONLY)
DIFFERENT = {
    "test_a_macro_kernel_equals_its_pattern": "macro kernels are the processor's",
    "test_macros_are_found_and_can_be_switched_off": "likewise",
    "test_equal_programs_of_different_plans_are_made_ready_once": "counts what it makes ready",
}
ON_NVIDIA = {
    "test_after_work_that_fails_the_next_runs": "a fault ends the context, and all later work fails"
}


def jobs():
    """(name, file, part, check mode), longest first."""
    software = "libmlxc_metal_soft" in os.environ.get("MLXC_METAL_LIBRARY", "") and not NVIDIA
    found = []
    for name, count in WHOLE.items():
        if NVIDIA and count > 1:  # its compiler takes its time, one kernel after the other
            count = os.cpu_count() or 1
        for part in (f"{k}/{count}" for k in range(1, count + 1)):
            word = f" {part}" if count > 1 else ""
            found.append((name + word, ROOT / f"tests/{name}.py", part, False))
    for check in (True, False) if software else (False,):
        for path in SHADERS:
            unwanted = PLAIN_ONLY if check else CHECK_ONLY
            if path.stem not in unwanted and (software or path.stem not in SOFTWARE_ONLY):
                name = f"{path.stem}{' checked' if check else ''}"
                found.append((name, path, "1/1", check))
    return found


def run(job, seconds):
    """A part of a file's tests: whether they passed, and the seconds that they computed."""
    name, path, part, check = job
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    command += ["-p", "parts", "--part", part]
    left_out = DIFFERENT | (ON_NVIDIA if NVIDIA else {})
    command += ["-k", " and ".join(f"not {word}" for word in left_out)]
    variables = dict(os.environ, MLXC_SOFTMETAL_CHECK="1" if check else "0")
    known = [str(ROOT / "tests/metal"), os.environ.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, known))
    variables.setdefault("MLXC_METAL_CACHE", "0")
    start = time.time()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=out, stderr=subprocess.STDOUT, process_group=0
        )
        timer = threading.Timer(seconds, os.killpg, (child.pid, 9))
        timer.start()
        _, status, used = os.wait4(child.pid, 0)
        timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().strip()
    passed = child.returncode == 0
    if child.returncode < 0:
        text += f"\nended by signal {-child.returncode}; a job has {seconds:.0f} s"
    spent = used.ru_utime + used.ru_stime
    last = text.split("\n")[-1]
    print(f"{time.time() - start:6.1f} s, computing {spent:6.1f} s  {name}: {last}", flush=True)
    if not passed:
        print(text, flush=True)
    return passed, spent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", default="", help="a word in the names of jobs")
    parser.add_argument("--seconds", type=float, default=1200, help="limit of a job")
    given = parser.parse_args()
    if not os.environ.get("MLXC_METAL_LIBRARY"):
        sys.exit("name a library in MLXC_METAL_LIBRARY: tests/softmetal/build.py makes one")
    start = time.time()
    wanted = [job for job in jobs() if given.only in job[0]]
    with ThreadPoolExecutor(given.jobs) as pool:
        done = list(pool.map(lambda job: run(job, given.seconds), wanted))
    passed = sum(ok for ok, _ in done)
    print(
        f"{passed} of {len(done)} jobs passed in {time.time() - start:.0f} s, computing for "
        f"{sum(spent for _, spent in done):.0f} s"
    )
    return 0 if passed == len(done) else 1


if __name__ == "__main__":
    sys.exit(main())
