"""The peak memory of a case: ``python -m bench.memory FRAMEWORK THREADS CASE`` prints its bytes.

Method: in a process of its own the case runs twice and is dropped, so that modules are loaded and
code is compiled; what frameworks keep for reuse is given up, free memory goes back to the system,
and what then is resident is the baseline. The case is made anew and runs twice; the high-water mark
of the resident set is set back, and the case runs five times more. The mark less the baseline is
the peak: weights, state, batch, what a step needs at once, and what caches keep. Where there is no
/proc, the mark cannot be set back and includes compiling.
"""

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys

from .measuring import environment

STEPS = 5


def resident(field):
    """A field of /proc/self/status in bytes; without it the peak since the process began."""
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith(field))
        return int(line.split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak():
    """Give free memory back, and begin a new high-water mark."""
    gc.collect()
    if os.path.exists("/proc/self/clear_refs"):
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")


def peak_of(case, framework):
    """Bytes of this process above what it takes before the case is there."""
    from .registry import CASES, load

    library, _, _ = load(framework)
    started(CASES[case], framework)
    getattr(library, "clear_cache", int)()
    forget_peak()
    before = resident("VmRSS")
    step = started(CASES[case], framework)
    forget_peak()
    for _ in range(STEPS):
        step()
    return resident("VmHWM") - before


def started(case, framework):
    """The step of a case, run twice: it has compiled and allocated."""
    step = case.start(framework)
    step(), step()
    return step


def measure_memory(case, framework, threads):
    """The peak in bytes, measured in a new process; a text where it failed."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.memory", framework, str(threads)]
    answer = subprocess.run(
        [*command, case.name], capture_output=True, text=True, env=environment()
    )
    if answer.returncode:
        return (answer.stderr.strip().splitlines() or [f"status {answer.returncode}"])[-1]
    return json.loads(answer.stdout.splitlines()[-1])


def main():
    from .registry import load_cases
    from .worker import limit_threads

    framework, threads, case = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    limit_threads(threads)
    load_cases()
    print(json.dumps(peak_of(case, framework)))


if __name__ == "__main__":
    main()
