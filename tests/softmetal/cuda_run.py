"""Runs the shaders on an NVIDIA GPU: tests, compute-sanitizer, and the speed of every kernel.

    python tests/softmetal/cuda_run.py [--steps compile,tests,speed,sanitizers] [--seconds 560]

Rules: one command does everything, without a network, and never stops at a failure: each step has
a share of the time and ends in a line that begins with RESULT. It needs NVRTC, a C++ compiler that
preprocesses, NumPy, ml_dtypes, pytest, and the software Metal, which tests/softmetal/build.py built
here or elsewhere (build/softmetal). Without a compiled mlxc the tests of the whole are left out.
PyTorch is compared with where it is there. Without a GPU the shaders are compiled for one, which is
said, and nothing else runs.
"""

import argparse
import concurrent.futures
import ctypes
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SANITIZERS = ("memcheck", "racecheck", "synccheck")


def say(step, text):
    print(f"RESULT {step}: {text}", flush=True)


def missing_gpu():
    """Why there is no GPU to run on; empty if there is one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"no driver of NVIDIA's ({error})"
    count = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return f"the driver says {status}" if status else "" if count.value else "the driver sees none"


def find_library():
    """The library built last."""
    found = (ROOT / "build/softmetal").glob("*/libmlxc_metal_soft.so")
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        sys.exit("build the software Metal first: python tests/softmetal/build.py")
    return newest


def find_nvrtc(library):
    """(path, version) of NVRTC as the translator finds it."""
    sys.path.insert(0, str(library.parent))
    import mslc

    try:
        path = mslc.find_nvrtc()
    except mslc.Refused as error:
        sys.exit(str(error))
    major, minor = ctypes.c_int(), ctypes.c_int()
    ctypes.CDLL(path).nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return path, f"{major.value}.{minor.value}"


def environment(library, nvrtc, version):
    """What the device, and Python without a compiled mlxc, need."""
    cache = ROOT / f"build/softmetal/cuda-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    return dict(
        os.environ,
        MLXC_METAL_LIBRARY=str(library),
        MLXC_NVRTC=nvrtc,
        MLXC_SOFTMETAL_CACHE=str(cache),
        MLXC_SOFTMETAL_CACHE_MB="8192",  # nothing is thrown away while others are about to read it
        MLXC_SOFTMETAL_DEVICE="cuda",
        MLXC_SOFTMETAL_PYTHON=sys.executable,
        PYTHONPATH=os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        PYTHONUNBUFFERED="1",
    )


def run(step, command, variables, limit):
    """Runs a command and prints in one piece what it says; whether it ended well."""
    start, text = time.time(), ""
    try:
        done = subprocess.run(
            command, env=variables, cwd=ROOT, timeout=max(5, limit), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        ended, text = f"exit status {done.returncode}", done.stdout
    except subprocess.TimeoutExpired as error:
        ended, text = "out of time", (error.stdout or b"").decode(errors="replace")
    except OSError as error:
        ended = f"does not run: {error}"
    head = f"--- {step}: {' '.join(map(str, command))}"
    print(f"{head}\n{text.strip()}", flush=True)
    say(step, f"{ended} after {time.time() - start:.0f} s")
    return ended == "exit status 0"


def step_compile(library, variables, limit):
    """Every shader file and a program of each kind by NVRTC, several at once."""
    import bare  # noqa: F401  launchers without a compiled mlxc
    import printed

    from mlxc._backends.metal import sources

    texts = {path.stem: sources.read(path.stem) for path in (ROOT / "shaders").glob("*.metal")}
    texts.update((name, sources.expand(text)) for name, text in printed.texts())
    folder = Path(variables["MLXC_SOFTMETAL_CACHE"]) / "whole"
    folder.mkdir(exist_ok=True)

    def one(name):
        stem = folder / name.replace(" ", "_")
        stem.with_suffix(".metal").write_text(texts[name])
        paths = [stem.with_suffix(suffix) for suffix in (".metal", ".cubin", ".log")]
        command = [sys.executable, "-IS", library.parent / "mslc.py", "cuda", *paths]
        start = time.time()
        status = subprocess.run(command, env=variables, timeout=limit).returncode
        message = paths[2].read_text()[:600] if status else ""
        ended = "failed" if status else "compiled"
        say("compile", f"{name} {ended} in {time.time() - start:.1f} s {message}")
        return status == 0

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return all(pool.map(one, sorted(texts)))


def shader_tests():
    """Files of tests that need no compiled mlxc."""
    files = sorted((ROOT / "tests/metal").glob("test_*_shaders.py"))
    return [path for path in files if "import mlxc.core" not in path.read_text()]


def pytest_command(*more):
    command = [sys.executable, "-m", "pytest", "-p", "bare", "-p", "no:cacheprovider", "-q"]
    command += ["-W", "default", "--no-header", "--continue-on-collection-errors", "-rf"]
    return [*command, *more]


def step_tests(library, variables, limit):
    """As `make test-metal` does where mlxc is compiled, else the tests of shaders."""
    probe = [sys.executable, "-c", "import mlxc.core"]
    if subprocess.run(probe, env=variables, cwd=ROOT, stderr=subprocess.DEVNULL).returncode == 0:
        command = [sys.executable, ROOT / "tests/metal/run.py", f"--seconds={limit:.0f}"]
        return run("tests", command, variables, limit)
    say("tests", "mlxc is not compiled here: the tests of shaders alone")
    command = pytest_command("--durations=5", "--tb=short", *shader_tests())
    return run("tests", command, variables, limit)


def step_sanitizers(library, variables, limit):
    """Each tool with each file of tests, as many at once as there are cores."""
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    end = time.time() + limit

    def one(job):
        name, path = job
        command = [tool, f"--tool={name}", "--target-processes=application-only"]
        command += ["--error-exitcode=86", "--print-limit=20"]
        command += pytest_command("--tb=line", path)
        return run(f"{name} {path.stem}", command, variables, end - time.time())

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return all(list(pool.map(one, itertools.product(SANITIZERS, shader_tests()))))


def step_speed(library, variables, limit):
    return run("speed", [sys.executable, HERE / "cuda_speed.py"], variables, limit)


# Share of the time.
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
    chosen = [name for name in given.steps.split(",") if name]
    library = find_library()
    nvrtc, version = find_nvrtc(library)
    variables = environment(library, nvrtc, version)
    sys.path.insert(0, str(HERE))
    os.environ.update(variables)
    say("library", f"{library}, NVRTC {version}")
    if why := missing_gpu():
        say("device", f"there is no NVIDIA GPU here: {why}; the shaders are compiled for one")
        chosen = [name for name in chosen if name == "compile"]
    else:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv"]
        run("device", query, variables, 30)
    end, good = time.time() + given.seconds, True
    for number, name in enumerate(chosen):
        step, share = STEPS[name]
        left = sum(STEPS[other][1] for other in chosen[number:])
        try:
            good = step(library, variables, (end - time.time()) * share / left) and good
        except Exception as error:  # the next step still says something
            say(name, f"failed: {type(error).__name__}: {error}")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
