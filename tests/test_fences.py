"""No kernel touches memory before or behind its operands: they stand at the edge of what may be
read, so that one byte too many ends the process.

Rules: kernels run in a child process, which says which row it is at. Memory is shared with mlxc
through DLPack: kernels see the very bytes.
"""

import ctypes
import mmap
import os
import subprocess
import sys

import numpy as np
import pytest
from support import KIND, of_kind, sample, to_np
from test_conv import CASES, numbers
from test_table import SAMPLED, cases

import mlxc.core as mx

PAGE = mmap.PAGESIZE
SIDES = ("before", "behind")
NO_ACCESS = 0  # PROT_NONE


def fenced(x, side):
    """A dense array equal to x, with a page that must not be touched at its first or last byte."""
    mx.eval(x)
    values = np.array(mx.view(x, mx.uint16) if x.dtype == mx.bfloat16 else x, order="C")
    if values.size == 0:
        return x
    pages = -(-values.nbytes // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + page * PAGE), PAGE, NO_ACCESS):
            raise OSError("mprotect failed")
    offset = PAGE if side == "before" else (pages + 1) * PAGE - values.nbytes
    copy = np.frombuffer(memory, values.dtype, values.size, offset).reshape(values.shape)
    copy[...] = values
    shared = mx.from_dlpack(copy, copy=False)
    return mx.view(shared, mx.bfloat16) if x.dtype == mx.bfloat16 else shared


def run_elementwise(side):
    for row in of_kind("elementwise"):
        for dtype in ("float32", "float16", "bfloat16", "int8", "uint32", "int64", "complex64"):
            rng = np.random.default_rng(1)
            xs = [mx.array(sample(rng, dtype, (37,))) for _ in range(row.arity)]
            xs = [fenced(x != 0 if row.inputs == "bool" else x, side) for x in xs]
            try:
                mx.eval(mx._bind(row.name, tuple(xs)))
            except ValueError:
                continue  # not for this dtype


def run_reductions(side):
    for name in ("sum", "prod", "max", "argmin", "all", "logsumexp", "var"):
        for dtype in ("float32", "float16", "int8", "float64", "complex64"):
            x = mx.array(sample(np.random.default_rng(1), dtype, (37, 19, 3)))
            for axis in (0, 1, 2, (0, 2), None):
                if KIND[dtype] != "c" or name in ("sum", "prod"):
                    if name == "argmin" and isinstance(axis, tuple):
                        continue
                    mx.eval(getattr(mx, name)(fenced(x, side), axis=axis))


def run_kernels(side):
    """The samples of every row: results as without fences."""
    for row in SAMPLED:
        for xs, params in cases(row):
            print(row.name, params, flush=True)
            expected = mx._bind(row.name, tuple(xs), params)
            got = mx._bind(row.name, tuple(fenced(x, side) for x in xs), params)
            for a, b in zip(*(r if isinstance(r, (list, tuple)) else [r] for r in (expected, got))):
                if row.name not in ("empty",):
                    np.testing.assert_array_equal(to_np(a), to_np(b))


def run_convolutions(side):
    for image, weights, settings in CASES:
        for dtype in ("float32", "bfloat16"):
            x, w = (fenced(numbers(*shape, dtype=dtype), side) for shape in (image, weights))
            print(image, weights, settings, dtype, flush=True)
            low, high = settings.get("low", 0), settings.get("high", 0)
            options = {k: v for k, v in settings.items() if k not in ("low", "high")}
            if low < 0 or high < 0:
                continue
            axes = len(image) - 2
            mx.eval(mx.conv_general(x, w, padding=([low] * axes, [high] * axes), **options))


RUNS = {run.__name__: run for run in (run_elementwise, run_reductions, run_kernels)}
RUNS["run_convolutions"] = run_convolutions


def in_child(code):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("run", RUNS)
def test_nothing_is_touched_beyond_operands(run, side):
    answer = in_child(f"import test_fences; test_fences.{run}({side!r})")
    assert answer.returncode == 0, answer.stdout[-300:] + answer.stderr[-3000:]


@pytest.mark.parametrize("side, place", [("before", -1), ("behind", 5)])
def test_one_value_too_many_would_be_seen(side, place):
    code = (
        "import test_fences as t, mlxc.core as mx, ctypes, numpy as np\n"
        f"x = np.from_dlpack(t.fenced(mx.arange(5), {side!r}))\n"
        f"print(ctypes.c_int.from_address(x.ctypes.data + 4 * {place}))"
    )
    assert in_child(code).returncode < 0
    assert in_child(code.replace(f"4 * {place}", "4 * 2")).returncode == 0
