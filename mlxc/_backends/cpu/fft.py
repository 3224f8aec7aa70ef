"""Launcher of the Fourier transforms: NumPy's pocketfft, which computes float32 data in float32.

NumPy releases the interpreter lock while it transforms.
"""

import numpy as np

from mlxc._graph.kernel import register_python_launcher

# NumPy 1 cannot write into an array that it is given, and computes in float64.
_WRITES_INTO = int(np.__version__.split(".")[0]) >= 2


def launch_fft(outs, ins, params):
    """Transform ``ins[0]`` into ``outs[0]``; parameters as in the row."""
    (out,), (x,) = outs, ins
    axes, sizes, kind, inverse, norm = params
    if out.size == 0:
        return
    name = {"c2c": "ifft" if inverse else "fft", "r2c": "rfft", "c2r": "irfft"}[kind]
    target = {"out": out} if _WRITES_INTO else {}
    if len(axes) == 1:
        result = getattr(np.fft, name)(x, n=sizes[0], axis=axes[0], norm=norm, **target)
    else:
        result = getattr(np.fft, name + "n")(x, s=sizes, axes=axes, norm=norm, **target)
    if not _WRITES_INTO:
        out[...] = result


register_python_launcher("fft", launch_fft)
