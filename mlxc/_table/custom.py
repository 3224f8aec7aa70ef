"""The row of users' own Metal kernels, whose text is a parameter."""

from dataclasses import dataclass

from .rows import NO_GRADIENT, Kernel, register

_NO_RULE = NO_GRADIENT(
    "nothing is known of a custom kernel but its text; mx.custom_function gives it derivatives"
)


@dataclass(frozen=True)
class Call:
    """One call of a custom kernel: everything but the operands.

    Values that are equal but not the same (1 and True, 0.0 and -0.0) are kept as text, so that
    equal calls are the same call.
    """

    name: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    source: str
    header: str
    row_contiguous: bool  # whether inputs are copied where they are not row-major
    atomic_outputs: bool
    fast_math: bool
    template: tuple[tuple[str, str], ...]  # parameter, argument: a dtype's name, or a number
    outputs: tuple[tuple[tuple[int, ...], str], ...]  # shape, dtype name
    grid: tuple[int, int, int]  # threads
    threadgroup: tuple[int, int, int]
    init_value: str = ""  # what outputs begin with; empty: nothing in particular


def _infer(shapes, dtypes, *, call):
    return list(call.outputs)


ROWS = register(
    "custom",
    [
        Kernel(
            "metal_kernel",
            doc="A user's own kernel, written in Metal's language.",
            params=("call",),
            outputs=lambda call: len(call.outputs),
            infer=_infer,
            vjp=_NO_RULE,
            jvp=_NO_RULE,
        ),
    ],
)
