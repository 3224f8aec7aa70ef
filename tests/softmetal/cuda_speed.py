"""The speed of every kernel on the device: GB/s as a share of its copy, TFLOP/s, PyTorch's beside.

Rules: device time of many runs in one command buffer less that of few, so that copies to and from
the host do not count; data are many times the cache. A kernel that fails says so, and the next runs.
"""

import os
import sys
from types import SimpleNamespace

import numpy as np

import bare  # noqa: F401, I001
from bare import ROOT

sys.path.insert(0, str(ROOT / "tests/metal"))
from device import Device  # noqa: E402

import ml_dtypes  # noqa: E402

from mlxc._backends.metal import attention, conv, fft, matmul, movement, programs  # noqa: E402, F401
from mlxc._backends.metal import quantized, random, scan, sort  # noqa: E402, F401
from mlxc._backends.metal.dispatch import LAUNCHERS, Dispatch, In, Operand, Out  # noqa: E402
from mlxc._table import load_rows  # noqa: E402
from mlxc._table.dtypes import DTYPES  # noqa: E402

SMALL = bool(os.environ.get("MLXC_SPEED_SMALL"))
ROWS_, COLUMNS = (64, 512) if SMALL else (16384, 8192)
CODE = {dtype.name: code for code, dtype in enumerate(DTYPES)}
ROW = {row.name: row.code for row in load_rows()}
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
COPY = """#include "common.h"
kernel void copy_float4(const device float4* x [[buffer(0)]], device float4* y [[buffer(1)]],
    uint i [[thread_position_in_grid]]) { y[i] = x[i]; }
"""


class Program(SimpleNamespace):
    """As the scheduler makes them: kind, space, values, outputs."""

    def __init__(self, kind, space, values, outputs, row_axes=0, reduced=()):
        super().__init__(kind=kind, space=space, values=values, outputs=outputs)
        self.row_axes, self.reduced = row_axes, reduced


def load(slot, strides, dtype="float32"):
    return ("load", CODE[dtype], slot, 0, strides)


def op(name, *operands, dtype="float32"):
    return ("op", ROW[name], CODE[dtype], operands)


def reduction(name, operand, dtype="float32"):
    return ("reduce", ROW[name], CODE[dtype], operand)


def operand(array):
    name = "bool_" if array.dtype == np.bool_ else str(array.dtype)
    return Operand(name, array.shape, array.strides, array.itemsize)


class Speed:
    """Measures dispatches, and keeps the device's own copy to compare with."""

    def __init__(self):
        self.device = Device(os.environ["MLXC_METAL_LIBRARY"])
        self.copy = None  # bytes a second

    def seconds(self, dispatches, ins, outs):
        few, many = (1, 2) if SMALL else (3, 23)
        self.device.run(dispatches, ins, outs)
        times = []
        for repeat in (few, many):
            self.device.run(dispatches, ins, outs, repeat=repeat)
            times.append(self.device.seconds)
        return max((times[1] - times[0]) / (many - few), 1e-9)

    def show(self, name, make, ins, outs, nbytes=0, flops=0, torch=None):
        """Prints one line. `make` gives the dispatches; `torch` a function of PyTorch's."""
        try:
            dispatches = make()
            if dispatches is None:
                raise ValueError("the launcher leaves it to the processor")
            seconds = self.seconds(dispatches, ins, outs)
        except Exception as error:
            print(f"SPEED {name:34} failed: {str(error)[:300]}", flush=True)
            return None
        line = f"SPEED {name:34} {1e3 * seconds:9.3f} ms"
        if nbytes:
            line += f" {nbytes / seconds / 1e9:8.0f} GB/s"
            line += f" {nbytes / seconds / self.copy:6.1%} of copy" if self.copy else ""
        if flops:
            line += f" {flops / seconds / 1e12:8.2f} TFLOP/s"
        theirs = torch_seconds(torch) if torch else None
        if theirs:
            line += f"  torch {1e3 * theirs:9.3f} ms, {theirs / seconds:6.1%} of its speed"
        print(line, flush=True)
        return seconds

    def row(self, name, row, ins, outs, params=(), **more):
        shapes = [operand(np.broadcast_to(np.zeros(1, dtype), shape)) for dtype, shape in outs]
        packed = []
        for shape in shapes:
            strides, step = [], shape.itemsize
            for extent in reversed(shape.shape):
                strides.insert(0, step)
                step *= extent
            packed.append(Operand(shape.dtype, shape.shape, tuple(strides), shape.itemsize))
        return self.show(
            name, lambda: LAUNCHERS[row]([operand(x) for x in ins], packed, params), ins, outs, **more
        )


def torch_seconds(function):
    """Device time of a function of PyTorch's on its GPU, or None without one."""
    try:
        import torch

        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        run = function(torch)
        for _ in range(3):
            run()
        start.record()
        for _ in range(20):
            run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 20e3
    except Exception as error:
        print(f"SPEED torch: {type(error).__name__}: {str(error)[:120]}", flush=True)
        return None


def on_torch(text, *shapes, dtype="float32"):
    """A function for torch_seconds: `text` with t (torch) and x, y, z of shapes on the GPU."""

    def make(torch):
        kind = getattr(torch, dtype)
        arrays = [torch.randn(shape, device="cuda").to(kind) for shape in shapes]
        names = {"t": torch, **dict(zip("xyzw", arrays))}
        code = compile(text, "torch", "eval")
        return lambda: eval(code, names)

    return make


def memory_bound(speed, x):
    """What moves memory: as a share of the copy."""
    rows, columns = x.shape
    size, shape = x.nbytes, x.shape
    dense, line = (4 * columns, 4), ((np.float32, shape),)
    copy = [Dispatch("", "copy_float4", [In(0), Out(0)], (x.size // 4, 1, 1), (256, 1, 1), source=COPY)]
    own = torch_seconds(on_torch("y.copy_(x)", shape, shape))
    if own:
        speed.copy = 2 * size / own
        print(f"SPEED device's own copy {speed.copy / 1e9:.0f} GB/s", flush=True)
    seconds = speed.show("copy float4", lambda: copy, [x], line, nbytes=2 * size)
    if seconds and not speed.copy:
        speed.copy = 2 * size / seconds

    def program(name, made, ins, outs, nbytes, text, *shapes):
        torch = on_torch(text, *shapes)
        speed.show(name, lambda: programs.dispatches(made), ins, outs, nbytes=nbytes, torch=torch)

    out = [(2, CODE["float32"], 2, dense)]
    add = Program("map", shape, [load(0, dense), load(1, dense), op("add", 0, 1)], out)
    program("add", add, [x, x], line, 3 * size, "x + y", shape, shape)
    turned = x.reshape(columns, rows).T
    values = [load(0, dense), load(1, turned.strides), op("add", 0, 1)]
    program("add of a transposed array", Program("map", shape, values, out), [x, turned], line,
            3 * size, "x + y.T", shape, shape[::-1])  # fmt: skip
    values = [load(0, dense), load(1, (0, 4)), op("add", 0, 1)]
    program("add of a broadcast row", Program("map", shape, values, out), [x, x[0]], line, 2 * size,
            "x + y", shape, shape[1:])  # fmt: skip
    values = [load(0, dense), op("exp", 0)]
    made = Program("map", shape, values, [(1, CODE["float32"], 1, dense)])
    program("exp", made, [x], line, 2 * size, "t.exp(x)", shape)
    rows_of(speed, x, program)
    few = ((np.float32, (rows,)),)
    speed.row("argmax of rows", "argmax", [x], [(np.uint32, (rows,))], (1,), nbytes=size,
              torch=on_torch("x.argmax(1)", shape))  # fmt: skip
    speed.row("cumsum of rows", "cumsum", [x], line, (1, False, True), nbytes=2 * size,
              torch=on_torch("x.cumsum(1)", shape))  # fmt: skip
    del few


def rows_of(speed, x, program):
    """Softmax, norms and reductions."""
    rows, columns = x.shape
    size, shape, line = x.nbytes, x.shape, ((np.float32, x.shape),)
    dense, f32 = (4 * columns, 4), CODE["float32"]
    values = [load(0, dense), reduction("max", 0), op("subtract", 0, 1), op("exp", 2)]
    values += [reduction("sum", 3), op("divide", 3, 4)]
    made = Program("rows", shape, values, [(5, f32, 1, dense)], row_axes=1)
    program("softmax of rows", made, [x], line, 2 * size, "t.softmax(x, 1)", shape)
    values = [load(0, dense), op("square", 0), reduction("sum", 1), op("rsqrt", 2)]
    made = Program("rows", shape, [*values, op("multiply", 0, 3)], [(4, f32, 1, dense)], row_axes=1)
    program("norm of rows", made, [x], line, 2 * size,
            f"t.nn.functional.rms_norm(x, ({columns},))", shape)  # fmt: skip
    for name, reduced, kept, strides in (
        ("rows", (1,), (rows,), (4, 0)),
        ("columns", (0,), (columns,), (0, 4)),
        ("all", (0, 1), (1,), (0, 0)),
    ):
        values = [load(0, dense), reduction("sum", 0)]
        made = Program("reduce", shape, values, [(1, f32, 1, strides)], reduced=reduced)
        axes = "" if len(reduced) == 2 else f"{reduced[0]}"
        program(f"sum of {name}", made, [x], ((np.float32, kept),), size, f"x.sum({axes})", shape)


def arithmetic_bound(speed, n):
    """Products and attention: TFLOP/s, PyTorch's beside. PyTorch is kept from using TF32."""
    for dtype, name in ((np.dtype("f4"), "float32"), (np.dtype("f2"), "float16"), (BFLOAT16, "bfloat16")):
        x = (np.arange(n * n).reshape(n, n) % 17 - 8).astype(np.float32).astype(dtype)
        speed.row(f"matmul {n} {name}", "matmul", [x, x], [(dtype, (n, n))], flops=2 * n**3,
                  torch=on_torch("x @ y", (n, n), (n, n), dtype=name))  # fmt: skip
    x = (np.arange(n * n).reshape(n, n) % 17 - 8).astype(np.float32)
    speed.row(f"matmul 1 x {n} float32", "matmul", [x[:1], x], [("f4", (1, n))], nbytes=x.nbytes,
              torch=on_torch("x @ y", (1, n), (n, n)))  # fmt: skip
    heads, length, width = (2, 64, 64) if SMALL else (32, 2048, 128)
    shape = (1, heads, length, width)
    for dtype, name in ((np.dtype("f4"), "float32"), (np.dtype("f2"), "float16")):
        q = (np.arange(np.prod(shape)).reshape(shape) % 13 / 13).astype(dtype)
        text = "t.nn.functional.scaled_dot_product_attention(x, y, z)"
        speed.row(f"attention {length} {name}", "attention", [q, q, q], [(dtype, shape)],
                  (0.1, False, "none", False), flops=4 * heads * length**2 * width,
                  torch=on_torch(text, shape, shape, shape, dtype=name))  # fmt: skip
    lines = 16 if SMALL else 4096
    x = np.ones((lines, 1024), np.complex64)
    speed.row("fft of 1024", "fft", [x], [("c8", x.shape)], ((-1,), (1024,), "c2c", False, "backward"),
              nbytes=2 * x.nbytes, torch=on_torch("t.fft.fft(x)", x.shape, dtype="complex64"))  # fmt: skip
    x = np.random.default_rng(0).random((lines, 1024), np.float32)
    speed.row("sort of 1024", "sort", [x], [("f4", x.shape)], (1,), nbytes=2 * x.nbytes,
              torch=on_torch("x.sort(1)[0]", x.shape))  # fmt: skip


def main():
    speed = Speed()
    print(f"SPEED on {speed.device.info().name.decode()}", flush=True)
    x = np.random.default_rng(0).random((64, COLUMNS), np.float32)
    memory_bound(speed, np.tile(x, (max(1, ROWS_ // 64), 1)))
    arithmetic_bound(speed, 64 if SMALL else 4096)


if __name__ == "__main__":
    main()
