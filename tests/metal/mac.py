"""What only a Mac can show, in one command and one report: `make check-mac`.

    python tests/metal/mac.py [--steps facts,tests,cache,speed,mlx]

Rules: a step that fails says so, and the next runs; each ends in a line that begins with RESULT.
The library is the one that is linked into mlxc, so that what is tested is what is installed.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("facts", "tests", "cache", "speed", "mlx")
# What the two packages are timed on: a name, the arrays, the expression.
SAME = (
    ("a + b", [(4096, 4096), (4096, 4096)], "a + b"),
    ("softmax", [(8192, 4096)], "mx.softmax(a, axis=-1)"),
    ("sum of rows", [(8192, 4096)], "mx.sum(a, axis=-1)"),
    ("sum of columns", [(8192, 4096)], "mx.sum(a, axis=0)"),
    ("rms_norm", [(8192, 4096), (4096,)], "mx.fast.rms_norm(a, b, 1e-5)"),
    ("matmul", [(2048, 2048), (2048, 2048)], "a @ b"),
    ("matmul, half", [(2048, 2048), (2048, 2048)], "(a @ b)", "float16"),
    ("attention", [(1, 16, 1024, 64)], "mx.fast.scaled_dot_product_attention(a, a, a, scale=0.1)"),
    ("sort", [(4096, 4096)], "mx.sort(a, axis=-1)"),
    ("conv2d", [(16, 64, 64, 64), (64, 3, 3, 64)], "mx.conv2d(a, b, padding=1)"),
)
TIMED = """
import sys, time, numpy as np
import {package}.core as mx
rng = np.random.default_rng(0)
arrays = [mx.array(rng.standard_normal(s).astype(np.float32)).astype(mx.{dtype}) for s in {shapes}]
a, b = (arrays * 2)[:2]
mx.eval(a, b)
def run(count):
    start = time.perf_counter()
    mx.eval([{expression} for _ in range(count)])
    return time.perf_counter() - start
run(2)
seconds = min((run(11) - run(1)) / 10 for _ in range(5))
value = np.array(({expression}).astype(mx.float32)).astype(np.float64)
print(seconds, np.abs(value).sum())
"""


def say(step, text):
    print(f"RESULT {step}: {text}", flush=True)


def variables(**more):
    """The library is named, since tests of shaders open it themselves."""
    import mlxc._metal.shim as shim

    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    known = {"MLXC_METAL_LIBRARY": shim.__file__, "PYTHONPATH": os.pathsep.join(path)}
    return {**os.environ, **known, **more}


def python(*arguments, **more):
    """A process's exit status and what it printed last; all of it is shown."""
    child = subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=variables(**more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    last = ""
    for line in child.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    return child.wait(), last


def facts():
    import mlxc.core as mx

    say("system", f"{platform.platform()}, Python {platform.python_version()}")
    for name, value in mx.metal.device_info().items():
        say("device", f"{name} {value}")


def tests():
    status, last = python("tests/metal/run.py", "--jobs", "2")
    say("tests", last if status in (0, 1) else f"ended with {status}")


def cache():
    """The first use of every kind of kernel, by a process without and one with the archive."""
    code = """
import time, mlxc.core as mx
start = time.perf_counter()
x = mx.ones((64, 64)) * 2
mx.eval(mx.softmax(x @ x, axis=-1), mx.sort(x), mx.cumsum(x), x[mx.array([3, 5])], mx.exp(x))
print(f"{1e3 * (time.perf_counter() - start):.0f} ms")
"""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("without", "with"):
            status, last = python("-c", code, MLXC_METAL_CACHE=folder)
            say("cache", f"first use {name} compiled pipelines: {last if not status else status}")
        say("cache", f"kept: {[path.name for path in Path(folder).iterdir()]}")


def speed():
    """Every kernel's bandwidth as a share of the device's copy, or its TFLOP/s."""
    status, _ = python("tests/softmetal/cuda_speed.py")
    say("speed", f"lines above that begin with SPEED; status {status}")


def mlx():
    """The same expressions by mlxc and by mlx, where it is installed."""
    for name, shapes, expression, *dtype in SAME:
        found = []
        for package in ("mlxc", "mlx"):
            code = TIMED.format(
                package=package,
                shapes=shapes,
                expression=expression,
                dtype=(dtype or ["float32"])[0],
            )
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env=variables(),
                capture_output=True,
                text=True,
            )
            found.append(done.stdout.split() if done.returncode == 0 else None)
        if None in found:
            say("mlx", f"{name}: no figures ({'mlxc' if found[0] is None else 'mlx'} did not run)")
            continue
        (ours, our_sum), (theirs, their_sum) = [list(map(float, each)) for each in found]
        apart = abs(our_sum - their_sum) / max(abs(their_sum), 1e-30)
        say(
            "mlx",
            f"{name}: {1e3 * ours:.3f} ms, mlx {1e3 * theirs:.3f} ms, values {apart:.1e} apart",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", default=",".join(STEPS))
    start = time.time()
    wanted = parser.parse_args().steps.split(",")
    for step in (facts, tests, cache, speed, mlx):
        if step.__name__ in wanted:
            try:
                step()
            except Exception as error:
                say(step.__name__, f"{type(error).__name__}: {error}")
    say("all", f"{time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
