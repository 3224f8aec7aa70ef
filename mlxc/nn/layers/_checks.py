"""Argument checks that name the layer: `[Layer] what was expected, what was given`.

Rules: checks look at shapes and types only, never at values, so that they cost next to nothing
and hold inside every transform.
"""

import operator

import mlxc.core as mx


def an_array(layer, x):
    """Raise TypeError unless `x` is an array."""
    if not isinstance(x, mx.array):
        raise TypeError(f"[{layer}] expected an array, got {type(x).__name__}; wrap it in mx.array")


def last_axis(layer, x, size, reason):
    """Raise unless `x` is an array whose last axis has `size` entries; `reason` says why."""
    an_array(layer, x)
    shape = x.shape
    if not shape or shape[-1] != size:
        raise ValueError(f"[{layer}] expected last axis {size}, got shape {shape}; {reason}")


def dimensions(layer, x, allowed, layout):
    """Raise unless `x` is an array of an allowed number of axes, laid out as `layout` says."""
    an_array(layer, x)
    if x.ndim not in allowed:
        counts = " or ".join(map(str, allowed))
        raise ValueError(
            f"[{layer}] expected {counts} dimensions ({layout}), got {x.ndim} in shape {x.shape}"
        )


def positive(layer, **sizes):
    """Raise unless every named size is a whole number of at least one."""
    for name, size in sizes.items():
        try:
            number = operator.index(size)
        except TypeError:
            kind = type(size).__name__
            raise TypeError(f"[{layer}] {name} must be an integer, got {kind} {size!r}") from None
        if number < 1:
            raise ValueError(f"[{layer}] {name} must be at least 1, got {number}")


def members(group):
    """The group to work in: all processes unless one is given; TypeError for what is no group."""
    group = mx.distributed.init() if group is None else group
    if not all(callable(getattr(group, name, None)) for name in ("size", "rank")):
        kind = type(group).__name__
        raise TypeError(
            f"[distributed] expected a Group, got {kind}; mx.distributed.init makes one"
        )
    return group


def a_module(op, module):
    """Raise TypeError unless `module` is a tree of parameters."""
    if not hasattr(module, "trainable_parameters"):
        raise TypeError(f"[{op}] expected a Module, got {type(module).__name__}")
