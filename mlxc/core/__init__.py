"""Floor 5: the public ``mx``. Functions stand in one module a family; here they are put together,
and arrays get the methods of the same names. Transforms (floor 6) publish theirs here too.
"""

import importlib as _importlib
import math as _math
import sys as _sys

from mlxc._backends import cpu as _cpu  # importing it makes evaluation possible
from mlxc._backends import metal as _metal_backend  # and on a GPU, where there is one
from mlxc._graph import array
from mlxc._graph import bind as _bind
from mlxc._graph import is_transposed as _is_transposed  # for rules of the table
from mlxc._graph import replace as _replace
from mlxc._version import __version__

from ._arguments import normalize_axis as _normalize_axis
from ._methods import bind_all as _bind_all

pi, e, inf, nan, euler_gamma = _math.pi, _math.e, _math.inf, _math.nan, 0.5772156649015329
newaxis = None

# Modules whose functions are names of mx itself ...
_FLAT = (
    "dtypes",
    "devices",
    "memory",
    "evaluation",
    "elementwise",
    "reduce",
    "scan",
    "movement",
    "creation",
    "shaping",
    "arithmetic",
    "indexing",
    "sort",
    "matmul",
    "conv",
    "quantized",
    "io",
    "interop",
    "printing",
    "profiling",
)
# ... and modules that are names of mx.
_SPACES = ("fft", "linalg", "random", "fast", "metal", "cuda", "distributed", "debug")

for _name in _FLAT + _SPACES:
    _module = _importlib.import_module(f"{__name__}.{_name}")
    if _name in _FLAT:
        globals().update({name: getattr(_module, name) for name in _module.__all__})

from . import recurrent  # noqa: E402 - used by layers only
from .fused import softmax  # noqa: E402 - must not be hidden by the modules above

if _metal_backend.available:
    from ._streams import heed_streams as _heed_streams

    _heed_streams(globals())
    for _name in _SPACES:
        _heed_streams(vars(globals()[_name]))

# What a module publishes is here; the module itself is found by importing it.
for _name in [name for name in globals() if f"{__name__}.{name}" in _sys.modules]:
    if _name not in _SPACES and globals()[_name] is _sys.modules[f"{__name__}.{_name}"]:
        del globals()[_name]

_bind_all(globals())

__all__ = sorted(name for name in globals() if not name.startswith("_"))
