"""The speed of every kernel on the device: GB/s as a share of its copy, TFLOP/s, PyTorch's beside.

    MLXC_METAL_LIBRARY=... python tests/softmetal/cuda_speed.py      (cuda_run.py does)

Rules: device time of many runs in one command buffer less that of few, so that copies to and from
the host do not count; what is bound by memory works on many times the cache. PyTorch's time is its
device's, on arrays of the same shapes. A kernel that fails says so, and the next runs.
MLXC_SPEED_SMALL=1 makes everything tiny, to try the script on the processor.
"""

import functools
import os
import sys
from pathlib import Path

import bare  # noqa: F401  before anything of mlxc
import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metal"))
import launching
import printed
from device import Device

from mlxc._backends.metal import (  # noqa: F401  these enter launchers
    attention,
    conv,
    fft,
    indexing,
    matmul,
    programs,
    quantized,
    random,
    scan,
    sort,
)
from mlxc._backends.metal.dispatch import Dispatch, In, Out

SMALL = bool(os.environ.get("MLXC_SPEED_SMALL"))
SHAPE = (64, 512) if SMALL else (16384, 8192)
FEW, MANY = (1, 2) if SMALL else (3, 23)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
TYPES = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": BFLOAT16}
COPY = """#include "common.h"
kernel void copy_float4(const device float4* x [[buffer(0)]], device float4* y [[buffer(1)]],
    uint i [[thread_position_in_grid]]) { y[i] = x[i]; }
"""


@functools.cache
def the_torch():
    """PyTorch if it has a GPU, else None; that is said once."""
    try:
        import torch

        if torch.cuda.is_available():
            return torch
        print("SPEED torch: it sees no GPU; nothing is compared with it", flush=True)
    except ImportError as error:
        print(f"SPEED torch: {error}; nothing is compared with it", flush=True)
    return None


def torch_seconds(text, shapes, dtype="float32"):
    """Device time of an expression of PyTorch's (t) on arrays x, y, z of its GPU, or None."""
    torch = the_torch()
    if torch is None:
        return None
    try:
        kind = getattr(torch, dtype)
        arrays = [torch.randn(shape, device="cuda").to(kind) for shape in shapes]
        names, code = {"t": torch, **dict(zip("xyz", arrays))}, compile(text, "torch", "eval")
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(3):
            eval(code, names)
        start.record()
        for _ in range(20):
            eval(code, names)
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 20e3
    except Exception as error:
        print(f"SPEED torch: {type(error).__name__}: {str(error)[:120]}", flush=True)
        return None


class Speed:
    """Measures dispatches, and keeps the device's own copy to compare with."""

    def __init__(self):
        self.device = Device(os.environ["MLXC_METAL_LIBRARY"])
        self.copy = None  # bytes a second
        self.failures = 0

    def seconds(self, dispatches, ins, outs):
        self.device.run(dispatches, ins, outs)
        times = []
        for repeat in (FEW, MANY):
            self.device.run(dispatches, ins, outs, repeat=repeat)
            times.append(self.device.seconds)
        return max((times[1] - times[0]) / (MANY - FEW), 1e-9)

    def show(self, name, make, ins, outs, nbytes=0, flops=0, theirs=None):
        """Prints one line. `make` gives the dispatches, `theirs` what torch_seconds is given."""
        try:
            dispatches = make()
            if dispatches is None:
                raise ValueError("the launcher leaves it to the processor")
            seconds = self.seconds(dispatches, ins, outs)
        except Exception as error:
            print(f"SPEED {name:34} failed: {str(error)[:300]}", flush=True)
            self.failures += 1
            return None
        line = f"SPEED {name:34} {1e3 * seconds:9.3f} ms"
        if nbytes:
            line += f" {nbytes / seconds / 1e9:8.0f} GB/s"
            line += f" {nbytes / seconds / self.copy:6.1%} of copy" if self.copy else ""
        if flops:
            line += f" {flops / seconds / 1e12:8.2f} TFLOP/s"
        known = torch_seconds(*theirs) if theirs else None
        if known:
            line += f"  torch {1e3 * known:9.3f} ms, {known / seconds:6.1%} of its speed"
        print(line, flush=True)
        return seconds

    def row(self, name, row, ins, out, params=(), **more):
        self.show(name, lambda: launching.plan(row, ins, [out], params), ins, [out], **more)


def copies(speed, x):
    """The device's own copy, and ours: what everything that moves memory is measured by."""
    own = torch_seconds("y.copy_(x)", [x.shape] * 2)
    if own:
        speed.copy = 2 * x.nbytes / own
        print(f"SPEED device's own copy {speed.copy / 1e9:.0f} GB/s", flush=True)
    grid = (x.size // 4, 1, 1)
    step = Dispatch("", "copy_float4", [In(0), Out(0)], grid, (256, 1, 1), source=COPY)
    outs = [(x.dtype, x.shape)]
    seconds = speed.show("copy float4", lambda: [step], [x], outs, nbytes=2 * x.nbytes)
    if seconds and not speed.copy:
        speed.copy = 2 * x.nbytes / seconds


def programs_of(speed, x, dtype, only=()):
    """Fused programs of every kind, or those named."""
    x = x.astype(TYPES[dtype])
    for name, made, inputs, kept, moved, text in printed.cases(*x.shape, dtype):
        if only and name not in only:
            continue
        ins, outs = eval(inputs, {"x": x}), [(x.dtype, kept)]
        said = name if dtype == "float32" else f"{name}, {dtype}"
        speed.show(said, lambda made=made: programs.dispatches(made), ins, outs,
                   nbytes=moved * x.nbytes, theirs=(text, [x.shape], dtype))  # fmt: skip


def memory_bound(speed, x):
    rows, columns = shape = x.shape
    for dtype in TYPES:
        programs_of(speed, x, dtype)
        y, said = x.astype(TYPES[dtype]), f", {dtype}"
        for axis, name in enumerate(("columns", "rows")):
            kept = (shape[1 - axis],)
            speed.row(f"argmax of {name}{said}", "argmax", [y], ("u4", kept), (axis,),
                      nbytes=y.nbytes, theirs=(f"x.argmax({axis})", [shape], dtype))  # fmt: skip
        flat = y.reshape(-1)
        speed.row(f"argmax of all{said}", "argmax", [flat], ("u4", ()), (0,),
                  nbytes=y.nbytes, theirs=("x.argmax()", [shape], dtype))  # fmt: skip
    speed.row("cumsum of rows", "cumsum", [x], ("f4", shape), (1, False, True),
              nbytes=2 * x.nbytes, theirs=("x.cumsum(1)", [shape]))  # fmt: skip
    index = np.random.default_rng(0).permutation(rows)
    text = "x[t.randperm(x.shape[0], device=x.device)]"
    speed.row("gather of rows", "gather", [x, index], ("f4", shape), ((0,), 0),
              nbytes=2 * x.nbytes, theirs=(text, [shape]))  # fmt: skip
    keys = np.arange(2 * (rows // 16), dtype=np.uint32).reshape(-1, 2)
    out = ("u4", (len(keys), 4 * columns))
    speed.row("random bits", "random_bits", [keys], out, ((4 * columns,), 4),
              nbytes=len(keys) * 16 * columns)  # fmt: skip
    lines = 2 * rows
    z = np.ones((lines, 1024), np.complex64)
    speed.row("fft of 1024", "fft", [z], ("c8", z.shape),
              ((-1,), (1024,), "c2c", False, "backward"), nbytes=2 * z.nbytes,
              theirs=("t.fft.fft(x)", [z.shape], "complex64"))  # fmt: skip
    v = np.random.default_rng(0).random((lines, 1024), np.float32)
    speed.row("sort of 1024", "sort", [v], ("f4", v.shape), (1,), nbytes=2 * v.nbytes,
              theirs=("x.sort(1)[0]", [v.shape]))  # fmt: skip


def products(speed, n):
    """PyTorch does not use TF32 unless it is told to."""
    for name, dtype in TYPES.items():
        x = (np.arange(n * n).reshape(n, n) % 17 - 8).astype("f4").astype(dtype)
        speed.row(f"matmul {n} {name}", "matmul", [x, x], (dtype, (n, n)), flops=2 * n**3,
                  theirs=("x @ y", [(n, n)] * 2, name))  # fmt: skip
    n *= 1 if SMALL else 4  # what follows is bound by memory
    x = (np.arange(n * n).reshape(n, n) % 17 - 8).astype("f4")
    speed.row(f"matmul 1 x {n} float32", "matmul", [x[:1], x], ("f4", (1, n)), nbytes=x.nbytes,
              theirs=("x @ y", [(1, n), (n, n)]))  # fmt: skip
    groups = (n, n // 64)
    codes, scales = np.ones((n, n // 8), np.uint32), np.ones(groups, "f2")
    for m in (1, 64):
        x = np.ones((m, n), "f2")
        speed.row(f"quantized matmul {m} x {n}, 4 bits", "quantized_matmul",
                  [x, codes, scales, scales], ("f2", (m, n)), (True, 64, 4, "affine"),
                  nbytes=codes.nbytes + 2 * scales.nbytes, flops=2 * m * n * n,
                  theirs=("x @ y", [(m, n), (n, n)], "float16"))  # fmt: skip


def images_and_attention(speed):
    n, side, channels = (1, 8, 16) if SMALL else (32, 64, 256)
    x, w = np.ones((n, side, side, channels), "f4"), np.ones((channels, 3, 3, channels), "f4")
    params = ((1, 1), (1, 1), (1, 1), (1, 1), (1, 1), 1, False)
    theirs = [(n, channels, side, side), (channels, channels, 3, 3)]
    speed.row(f"conv 3x3 of {channels} channels", "conv", [x, w], ("f4", x.shape), params,
              flops=2 * x.size * 9 * channels,
              theirs=("t.nn.functional.conv2d(x, y, padding=1)", theirs))  # fmt: skip
    shape = (1, 2, 64, 64) if SMALL else (1, 32, 2048, 128)
    _, heads, length, width = shape
    for name in ("float32", "float16"):
        q = (np.arange(np.prod(shape)).reshape(shape) % 13 / 13).astype(TYPES[name])
        text = "t.nn.functional.scaled_dot_product_attention(x, y, z)"
        speed.row(f"attention {length} {name}", "attention", [q, q, q], (q.dtype, shape),
                  (0.1, False, "none", False), flops=4 * heads * length**2 * width,
                  theirs=(text, [shape] * 3, name))  # fmt: skip


def main():
    speed = Speed()
    print(f"SPEED on {speed.device.info().name.decode()}", flush=True)
    x = np.random.default_rng(0).random((64, SHAPE[1]), np.float32)
    x = np.tile(x, (SHAPE[0] // 64, 1))
    copies(speed, x)
    memory_bound(speed, x)
    products(speed, 64 if SMALL else 4096)
    images_and_attention(speed)
    return speed.failures


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
