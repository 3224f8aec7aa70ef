"""Every row on the device: it runs there unless it says why not, and gives the processor's values.

Values against NumPy, for every dtype and layout, are the free tests of tests/test_table.py, which
`make test-metal` runs with the GPU as the default device; here is what they do not see: where a
step has run.
"""

import numpy as np
import pytest

import mlxc.core as mx
from mlxc._backends.metal.dispatch import LAUNCHERS
from mlxc._metal.shim import get_device
from mlxc._table import load_rows

ROWS = load_rows()
UNORDERED = ("partition", "argpartition")  # on each side of a place in any order
KERNELS = [row for row in ROWS if row.kind == "kernel" and row.samples is not None]


def on(device, function, *args):
    """The arrays of a call, evaluated on a device, and how many dispatches that took."""
    before = get_device().dispatched
    with mx.stream(device):
        outs = function(*args)
        outs = outs if isinstance(outs, (tuple, list)) else (outs,)
        mx.eval(outs)
    return outs, get_device().dispatched - before


def as_float(x):
    wide = mx.float32 if x.dtype == mx.bfloat16 else x.dtype
    return np.array(x.astype(wide))


def assert_same(got, expected, unordered=False):
    """Integers exactly; floats within what other orders of the same sums explain."""
    assert got.shape == expected.shape and got.dtype == expected.dtype
    near, far = as_float(got), as_float(expected)
    if unordered:
        near, far = np.sort(near, axis=None), np.sort(far, axis=None)
    if near.dtype.kind in "biu":
        assert np.array_equal(near, far)
        return
    rough = 2e-2 if got.dtype in (mx.float16, mx.bfloat16) else 2e-5
    scale = np.abs(far[np.isfinite(far)]).max(initial=1.0)
    np.testing.assert_allclose(near, far, rtol=rough, atol=rough * scale)


def samples_of(row):
    for operands, params in row.samples(mx, np.random.default_rng(5)):
        mx.eval(operands)
        yield operands, tuple(params[key] for key in row.params)


@pytest.mark.parametrize("row", KERNELS, ids=lambda row: row.name)
def test_a_kernel_row_gives_the_processors_values_and_runs_where_it_says(row):
    total = 0
    for operands, values in samples_of(row):
        expected, none = on(mx.cpu, mx._bind, row.name, operands, values)
        assert none == 0
        got, dispatched = on(mx.gpu, mx._bind, row.name, operands, values)
        total += dispatched
        for x, y in zip(got, expected):
            assert_same(x, y, row.name in UNORDERED)
    if row.no_kernel:
        assert row.name not in LAUNCHERS, f"{row.name} has a kernel, and says: {row.no_kernel}"
    else:
        assert total > 0, f"{row.name} says that it has a kernel; none has run"


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.kind in ("elementwise", "reduction")], ids=lambda r: r.name
)
def test_a_row_of_programs_runs_on_the_device(row):
    dtype = mx.float32 if row.kind == "reduction" or "f32" in row.types else mx.int32
    x = mx.array(np.linspace(0.1, 0.9, 12).reshape(3, 4), dtype=dtype)
    if row.kind == "elementwise":
        operands = [x] * row.arity
        if row.name == "select":
            operands[0] = x > 0.5
    else:
        operands = [x]
    mx.eval(operands)
    params = ((0,), False) if row.kind == "reduction" else ()
    expected, _ = on(mx.cpu, mx._bind, row.name, tuple(operands), params)
    got, dispatched = on(mx.gpu, mx._bind, row.name, tuple(operands), params)
    assert dispatched > 0
    assert_same(got[0], expected[0])
