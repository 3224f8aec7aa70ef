"""Floor 5: the public ``mx``. Functions stand in one module a family; here they are put together, and arrays get the
methods of the same names. ``import mlxc.core as mx`` gives all of it; transforms (floor 6) publish theirs here too.
"""

import importlib
import math

from mlxc import _backends  # noqa: F401 - makes evaluation possible
from mlxc._backends import cpu as _cpu  # noqa: F401
from mlxc._graph import HOOKS as _HOOKS
from mlxc._graph import array
from mlxc._graph import bind as _bind
from mlxc._graph import bind_method as _bind_method
from mlxc._graph import replace as _replace
from mlxc._graph import to_numpy as _to_numpy

from ._arguments import normalize_axis as _normalize_axis
from ._methods import bind_all as _bind_all

pi, e, inf, nan, euler_gamma = math.pi, math.e, math.inf, math.nan, 0.5772156649015329
newaxis = None

_FLAT = (
    "dtypes", "devices", "memory", "evaluation", "elementwise", "reduce", "scan", "movement", "creation", "shaping",
    "indexing", "sort", "matmul", "conv", "quantized", "io", "interop", "printing",
)
_SPACES = ("fft", "linalg", "random", "fast", "metal", "cuda", "distributed")

for _name in _FLAT + _SPACES:
    if importlib.util.find_spec(f"{__name__}.{_name}") is None: continue
    _module = importlib.import_module(f"{__name__}.{_name}")
    if _name in _FLAT:
        for _public in getattr(_module, '__all__', None) or [n for n, v in vars(_module).items() if not n.startswith('_') and getattr(v, '__module__', '') == _module.__name__]:
            globals()[_public] = getattr(_module, _public)

from .fused import softmax
_bind_all(globals())
