"""Runs the shaders on an NVIDIA GPU: tests, compute-sanitizer, and the speed of every kernel.

    python tests/softmetal/cuda_run.py [--steps compile,tests,sanitizers,speed] [--seconds 900]

Rules: one command does everything and never stops at a failure: each step has a time limit and ends
in a line that begins with RESULT. It needs the built software Metal (tests/softmetal/build.py, which
also may have run elsewhere: the folder is found under build/softmetal), NVRTC, NumPy, ml_dtypes and
pytest; PyTorch is compared with if it is there. Speeds are device time, as a share of the device's
own copy.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SANITIZERS = ("memcheck", "racecheck", "synccheck")
# Small tests that reach every kernel; sanitizers slow a kernel down a hundredfold.
SANITIZED = "edge or any_number or every_scan or every_dtype or half_types or any_axis or right"


def say(step, text):
    print(f"RESULT {step}: {text}", flush=True)


def environment(library):
    """What the device, and Python without a compiled mlxc, need."""
    variables = dict(os.environ)
    variables.update(
        MLXC_METAL_LIBRARY=str(library),
        MLXC_SOFTMETAL_DEVICE="cuda",
        MLXC_SOFTMETAL_PYTHON=sys.executable,
        PYTHONPATH=os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        PYTHONUNBUFFERED="1",
    )
    return variables


def find_library():
    """The library built last."""
    found = sorted(
        (ROOT / "build/softmetal").glob("*/libmlxc_metal_soft.so"),
        key=lambda path: path.stat().st_mtime,
    )
    if not found:
        sys.exit("build it first: python tests/softmetal/build.py")
    return found[-1]


def run(step, command, variables, limit):
    """Runs a command; its exit status, or None where it ran out of time."""
    start = time.time()
    print(f"--- {step}: {' '.join(map(str, command))}", flush=True)
    try:
        status = subprocess.run(command, env=variables, cwd=ROOT, timeout=max(5, limit)).returncode
    except subprocess.TimeoutExpired:
        status = None
    except OSError as error:
        say(step, f"does not run: {error}")
        return 1
    ended = "out of time" if status is None else f"exit status {status}"
    say(step, f"{ended} after {time.time() - start:.0f} s")
    return status


def step_compile(library, variables, limit):
    """Every shader file by NVRTC, several at once; the cache is not filled by this."""
    sys.path.insert(0, str(HERE))
    import bare  # noqa: F401

    from mlxc._backends.metal import sources

    folder = ROOT / "build/softmetal/cuda"
    folder.mkdir(parents=True, exist_ok=True)

    def one(path):
        text, out = folder / path.name, folder / f"{path.stem}.cubin"
        text.write_text(sources.read(path.stem))
        tool, log = library.parent / "mslc.py", folder / f"{path.stem}.log"
        command = [sys.executable, "-IS", tool, "cuda", text, out, log]
        start = time.time()
        status = subprocess.run(command, env=variables, timeout=limit).returncode
        message = log.read_text()[:600] if status else ""
        return f"{path.name} {'failed' if status else 'compiled'} in {time.time() - start:.1f} s {message}"

    paths = sorted((ROOT / "shaders").glob("*.metal"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for line in pool.map(one, paths):
            say("compile", line)


def pytest_command(*more):
    command = [sys.executable, "-m", "pytest", "-p", "bare", "-p", "no:cacheprovider", "-q"]
    command += ["-W", "default", "--no-header", "--continue-on-collection-errors", "-rf"]
    files = [
        path
        for path in sorted((ROOT / "tests/metal").glob("test_*_shaders.py"))
        if "import mlxc.core" not in path.read_text()  # needs the compiled package
    ]
    return [*command, *more, *files]


def step_tests(library, variables, limit):
    run("tests", pytest_command("--durations=5", "--tb=short"), variables, limit)


def step_sanitizers(library, variables, limit):
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    start = time.time()
    for number, name in enumerate(SANITIZERS):
        left = (limit - (time.time() - start)) / (len(SANITIZERS) - number)
        command = [tool, f"--tool={name}", "--target-processes=application-only"]
        command += ["--error-exitcode=86", "--print-limit=20"]
        run(name, [*command, *pytest_command("--tb=line", "-k", SANITIZED)], variables, left)


def step_speed(library, variables, limit):
    run("speed", [sys.executable, HERE / "cuda_speed.py"], variables, limit)


STEPS = {
    "compile": (step_compile, 0.15),
    "tests": (step_tests, 0.35),
    "speed": (step_speed, 0.2),
    "sanitizers": (step_sanitizers, 0.3),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--seconds", type=float, default=560, help="for all steps together")
    given = parser.parse_args()
    library = find_library()
    variables = environment(library)
    os.environ.update(variables)
    run("device", ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv"], variables, 30)
    say("library", str(library))
    chosen = [name for name in given.steps.split(",") if name]
    whole = sum(STEPS[name][1] for name in chosen)
    end = time.time() + given.seconds
    for name in chosen:
        step, share = STEPS[name]
        limit = min(given.seconds * share / whole, end - time.time())
        whole_left = sum(STEPS[other][1] for other in chosen[chosen.index(name) :])
        limit = max(limit, (end - time.time()) * share / whole_left)
        try:
            step(library, variables, limit)
        except Exception as error:  # the next step still says something
            say(name, f"failed: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
