"""Runs what belongs to the GPU on the device of MLXC_METAL_LIBRARY: `make test-metal`.

    python tests/metal/run.py [--jobs N] [--only WORD] [--seconds 540]

Rules: jobs are whole test files, as many at once as there are cores, longest first; each prints its
last line and the seconds that it took. What differs on a GPU by intention
is left out by name, with its reason (`DIFFERENT`). In check mode the software Metal watches every
access to memory, which is slow: there run the tests that reach every kernel, and few of the others.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHADERS = sorted((ROOT / "tests/metal").glob("test_*.py"))
# Tests of the whole, run with the GPU as the default device.
WHOLE = ("test_table", "test_transforms", "test_compile", "test_reduce", "test_fusion")
# Tests that the mode does not change, and those that are about it.
PLAIN_ONLY = ("test_shim", "test_lint", "test_softmetal")
CHECK_ONLY = ("test_faults",)
SOFTWARE_ONLY = ("test_lint", "test_softmetal", *CHECK_ONLY)
DIFFERENT = {
    "test_segmented_mm_multiplies_each_segment": "segments out of range are an error on the "
    "processor; the GPU, which cannot raise, clamps them",
    "test_the_sum_of_many_equal_floats_is_right_to_the_last_digits": "sums are compensated on the "
    "processor; on the GPU they are trees of float32",
    "test_a_macro_kernel_equals_its_pattern": "macro kernels are the processor's",
}


def jobs():
    """(name, file, check mode), longest first."""
    software = "libmlxc_metal_soft" in os.environ.get("MLXC_METAL_LIBRARY", "")
    found = [(name, ROOT / f"tests/{name}.py", False) for name in WHOLE]
    for check in (True, False) if software else (False,):
        for path in SHADERS:
            unwanted = PLAIN_ONLY if check else CHECK_ONLY
            if path.stem not in unwanted and (software or path.stem not in SOFTWARE_ONLY):
                found.append((f"{path.stem}{' checked' if check else ''}", path, check))
    return found


def run(job, seconds):
    """One file's tests; whether they passed."""
    name, path, check = job
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    command += ["-k", " and ".join(f"not {word}" for word in DIFFERENT)]
    variables = dict(os.environ, MLXC_SOFTMETAL_CHECK="1" if check else "0")
    variables.setdefault("MLXC_METAL_CACHE", "0")
    start = time.time()
    child = subprocess.Popen(
        command, cwd=ROOT, env=variables, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, process_group=0,
    )  # fmt: skip
    try:
        text = child.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        text = f"{child.communicate()[0]}\nstopped after {seconds} seconds"
    passed = child.returncode == 0
    lines = text.strip().split("\n")
    print(f"{time.time() - start:6.1f} s  {name}: {lines[-1]}", flush=True)
    if not passed:
        print(text, flush=True)
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", default="", help="a word in the names of jobs")
    parser.add_argument("--seconds", type=float, default=540, help="limit of a job")
    given = parser.parse_args()
    if "MLXC_METAL_LIBRARY" not in os.environ and sys.platform != "darwin":
        sys.exit("name a library in MLXC_METAL_LIBRARY: tests/softmetal/build.py makes one")
    start = time.time()
    wanted = [job for job in jobs() if given.only in job[0]]
    with ThreadPoolExecutor(given.jobs) as pool:
        passed = list(pool.map(lambda job: run(job, given.seconds), wanted))
    print(f"{sum(passed)} of {len(passed)} jobs passed in {time.time() - start:.0f} s")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
