"""The one row that makes numbers from nothing: an arithmetic range. Constants are scalars stretched
by ``broadcast_to``.
"""

from .dtypes import CODE, DTYPES
from .rows import NO_GRADIENT, Kernel, register

_NO_OPERANDS = NO_GRADIENT("a range has no operands")


def _infer(shapes, dtypes, *, start, step, size, dtype):
    if (
        dtype not in CODE
        or DTYPES[CODE[dtype]].kind not in "iuf"
        or dtype in ("float16", "bfloat16")
    ):
        raise ValueError(f"[arange] dtype {dtype}; integers, float32 and float64 have ranges")
    if size < 0:
        raise ValueError(f"[arange] size {size} is negative; 0 or more would be right")
    return [((size,), dtype)]


def _vmap(mx, batched, *, start, step, size, dtype):
    return (mx._bind("arange", (), (start, step, size, dtype)),)


def _samples(mx, rng):
    return [
        ((), {"start": 3, "step": 2, "size": 7, "dtype": "int32"}),
        ((), {"start": -1, "step": -1, "size": 5, "dtype": "int8"}),
        ((), {"start": 0.5, "step": 0.25, "size": 9, "dtype": "float32"}),
        ((), {"start": 0, "step": 1, "size": 0, "dtype": "int64"}),
    ]


ROWS = register(
    "creation",
    [
        Kernel(
            "arange",
            doc="The numbers start, start + step, ... of a given count.",
            params=("start", "step", "size", "dtype"),
            infer=_infer,
            vjp=_NO_OPERANDS,
            jvp=_NO_OPERANDS,
            vmap=_vmap,
            samples=_samples,
        ),
    ],
)
