"""Kernels printed for fused programs, against NumPy, in sizes around what decides how they are cut.

Rules: these need no compiled mlxc, so that every tool that watches shaders can watch them too.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

from mlxc._backends.metal import programs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "softmetal"))

import printed

LARGE = (517, 1 + programs.MANY // 517)  # where threads of a strided map take several elements
SMALL = [(1, 1), (3, 5), (1, 1023), (16, 64), (7, 293), (700, 4)]
COLUMNS = [1, 31, 33, 64, 480, 512, 513, 768, 1000, 4096, 4100, 5120, 8192, 8193]


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


EXPECTED = {
    "add": lambda x: x + x,
    "add transposed": lambda x: x + x.reshape(x.shape[::-1]).T,
    "add a row": lambda x: x + x[0],
    "exp": np.exp,
    "softmax of rows": softmax,
    "norm of rows": lambda x: x / np.sqrt((x * x).sum(1, keepdims=True)),
    "sum of rows": lambda x: x.sum(1),
    "sum of columns": lambda x: x.sum(0),
    "sum of all": lambda x: x.sum().reshape(1),
}


def check(device, shape, dtype, wanted):
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(dtype)
    for name, made, inputs, kept, _, _ in printed.cases(*shape, dtype):
        if name not in wanted:
            continue
        dispatches = programs.dispatches(made)
        (got,) = device.run(dispatches, eval(inputs, {"x": x}), [(x.dtype, kept)])
        right = EXPECTED[name](x.astype("f8"))
        relative, least = (2e-3, 1e-3) if dtype == "float16" else (2e-6, 2e-5)
        np.testing.assert_allclose(got.astype("f8"), right, relative, least, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 5), (1, 1023), (16, 64), (7, 293), (700, 4)], ids=str
)
def test_programs_of_every_kind_give_what_numpy_gives(device, shape, dtype):
    check(device, shape, dtype, EXPECTED)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [LARGE, LARGE[::-1], (programs.MANY // 40, 41)], ids=str)
def test_a_thread_of_a_large_map_takes_several_elements(device, shape, dtype):
    dispatched = [programs.dispatches(made) for _, made, *_ in printed.cases(*shape, dtype)]
    threads = [np.prod(d.grid) * np.prod(d.group) for (d, *_) in dispatched[:4]]
    assert max(threads) < 0.6 * np.prod(shape)
    check(device, shape, dtype, ("add", "add transposed", "add a row", "exp"))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("columns", COLUMNS)
def test_rows_of_any_length_are_kept_or_read_again(device, columns, dtype):
    check(device, (5, columns), dtype, ("softmax of rows", "norm of rows"))


def test_what_a_thread_keeps_fits_its_registers():
    for columns in range(1, 20000, 37):
        for short in {columns <= programs.SHORT_ROW, False}:
            for rows in (1, 5000):
                for loads in (1, 2, 3, 9):
                    threads, each = programs._threads_of_row(rows, columns, short, loads)
                    team = programs.SIMD if short else threads
                    assert each * loads <= programs.KEPT and threads <= 1024
                    assert each == 0 or (each * team >= columns and threads <= 512)
