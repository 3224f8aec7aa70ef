"""Random bits: the one random primitive. Every distribution is a composite over it.

Bits are a function of the key alone (Threefry-2x32 with 20 rounds over a counter), so a row with
the same key always gives the same numbers, and results neither depend on the order of evaluation
nor on the number of threads.
"""

from math import prod

from .rows import NO_GRADIENT, Kernel, register

_DTYPE_OF_WIDTH = {1: "uint8", 2: "uint16", 4: "uint32"}
# The counter has 32 bits: beyond this the numbers would repeat.
MAX_WORDS = 1 << 32


def _infer(shapes, dtypes, *, shape, width):
    (keys,), (dtype,) = shapes, dtypes
    if dtype != "uint32":
        raise ValueError(
            f"[bits] the key has dtype {dtype}; keys are uint32, as mx.random.key makes them"
        )
    if not keys or keys[-1] != 2:
        raise ValueError(f"[bits] the key has shape {tuple(keys)}; a key has shape (2,)")
    if width not in _DTYPE_OF_WIDTH:
        raise ValueError(f"[bits] width {width!r}; the width of a number is 1, 2 or 4 bytes")
    if any(size < 0 for size in shape):
        raise ValueError(f"[bits] shape {tuple(shape)} has a negative size; sizes are 0 or more")
    if prod(shape) * width > 4 * MAX_WORDS:
        raise ValueError(
            f"[bits] shape {tuple(shape)} asks for more than 2**32 words of one key, which would "
            "repeat; "
            f"split the key and draw in parts"
        )
    return [((*keys[:-1], *shape), _DTYPE_OF_WIDTH[width])]


def _vmap(mx, batched, keys, *, shape, width):
    # Leading axes of the keys lead the result, so a batch of keys is one call.
    return (mx._bind("random_bits", (keys,), (shape, width)),)


def _samples(mx, rng):
    def keys(*shape):
        return mx.array(rng.integers(0, 1 << 32, (*shape, 2), dtype="uint32"))

    return [
        ((keys(),), {"shape": (5, 3), "width": 4}),
        ((keys(),), {"shape": (), "width": 4}),
        ((keys(),), {"shape": (7,), "width": 1}),
        ((keys(),), {"shape": (3, 3), "width": 2}),
        ((keys(),), {"shape": (0,), "width": 4}),
        ((keys(3),), {"shape": (5,), "width": 2}),
        ((keys(2, 2),), {"shape": (3,), "width": 4}),
    ]


ROWS = register(
    "random",
    [
        Kernel(
            "random_bits",
            doc="Uniform random bits: ``shape`` numbers of ``width`` bytes for each key (..., 2).",
            params=("shape", "width"),
            infer=_infer,
            vjp=NO_GRADIENT("random bits do not depend smoothly on the key"),
            jvp=NO_GRADIENT("random bits do not depend smoothly on the key"),
            vmap=_vmap,
            contiguous=True,
            samples=_samples,
        ),
    ],
)
