"""From arrays to a run on the device: what the back end does for one operation, with no graph."""

import ml_dtypes
import numpy as np

from mlxc._backends.metal.dispatch import LAUNCHERS, Operand
from mlxc._backends.metal.layout import dense_strides

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def operand(array):
    """What a launcher is told of a NumPy array."""
    name = "bool_" if array.dtype == np.bool_ else str(array.dtype)
    return Operand(name, array.shape, array.strides, array.itemsize)


def result(dtype, shape):
    """What a launcher is told of a result: it is row-major."""
    dtype = np.dtype(dtype)
    strides = dense_strides(shape, dtype.itemsize)
    name = "bool_" if dtype == np.bool_ else str(dtype)
    return Operand(name, tuple(shape), strides, dtype.itemsize)


def plan(row, ins, outs, params=()):
    """The dispatches for arrays and (dtype, shape) pairs, or None."""
    operands = [operand(np.asarray(x)) for x in ins]
    return LAUNCHERS[row](operands, [result(*out) for out in outs], tuple(params))


def launch(device, row, ins, outs, params=()):
    """Run a row on the device; the results, in the order of `outs`."""
    dispatches = plan(row, ins, outs, params)
    assert dispatches is not None, f"{row} has no kernel for these operands"
    return device.run(dispatches, [np.asarray(x) for x in ins], outs)
