"""Rows that rearrange values by strides alone, and the two that reinterpret them (``astype``,
``view``).

All but ``view`` are linear; the vjp of each is its transpose. ``vmap`` rules see the batch on axis
0 of ``x``.
"""

import math

from .rows import Kernel, Movement, register


def _unbroadcast(mx, ct, x, *, shape):
    """Sum over the axes that broadcasting made or stretched."""
    lead = len(shape) - x.ndim
    stretched = tuple(
        axis
        for axis in range(len(shape))
        if axis < lead or (x.shape[axis - lead] == 1 and shape[axis] != 1)
    )
    if stretched:
        ct = mx.sum(ct, stretched, keepdims=True)
    return mx.reshape(ct, x.shape)


def _broadcast_vmap(mx, x, *, shape):
    missing = len(shape) - (x.ndim - 1)
    x = mx.reshape(x, (x.shape[0],) + (1,) * missing + tuple(x.shape[1:]))
    return mx.broadcast_to(x, (x.shape[0],) + shape)


def _unslice(mx, ct, x, *, start, stop, stride):
    """The cotangent written back where it was read, zeros elsewhere."""
    return mx._bind(
        "slice_update", (mx.zeros(x.shape, ct.dtype), ct), (start, stop, stride, "none")
    )


def _strided_indices(mx, shape, strides, offset):
    """For each element of the strided view, its position in the flat source."""
    indices = mx.full((), offset, mx.int64)
    for axis, (size, stride) in enumerate(zip(shape, strides)):
        steps = mx.arange(size, dtype=mx.int64) * stride
        indices = indices + mx.reshape(steps, (size,) + (1,) * (len(shape) - axis - 1))
    return mx.broadcast_to(indices, shape)


def _unstride(mx, ct, x, *, shape, strides, offset):
    indices = mx.reshape(_strided_indices(mx, shape, strides, offset), (-1,))
    flat = mx.zeros((x.size,), ct.dtype).at[indices].add(mx.reshape(ct, (-1,)))
    return mx.reshape(flat, x.shape)


def _strided_vmap(mx, x, *, shape, strides, offset):
    flat = mx.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
    indices = mx.reshape(_strided_indices(mx, shape, strides, offset), (-1,))
    return mx.reshape(mx.take(flat, indices, axis=1), (x.shape[0],) + shape)


def _attach_infer(shapes, dtypes, *, rules):
    return list(zip(shapes[rules.first :], dtypes[rules.first :]))


def _attach_jvp(mx, tangents, outs, *operands, rules):
    return rules.jvp(mx, tangents, outs, operands)


def _inverse(axes):
    return tuple(axes.index(axis) for axis in range(len(axes)))


ROWS = register(
    "movement",
    [
        Movement(
            "astype",
            doc="The values converted to another data type.",
            params=("dtype",),
            shape=lambda shape, dtype: shape,
            transpose=lambda mx, ct, x, *, dtype: ct.astype(x.dtype),
            vmap=lambda mx, x, *, dtype: mx._bind("astype", (x,), (dtype,)),
        ),
        Movement(
            "broadcast_to",
            doc="The values repeated, without a copy, to a larger shape.",
            params=("shape",),
            shape=lambda _, shape: shape,
            transpose=_unbroadcast,
            vmap=_broadcast_vmap,
        ),
        Movement(
            "transpose",
            doc="The axes in another order.",
            params=("axes",),
            shape=lambda shape, axes: tuple(shape[axis] for axis in axes),
            transpose=lambda mx, ct, x, *, axes: mx.transpose(ct, _inverse(axes)),
            vmap=lambda mx, x, *, axes: mx.transpose(x, (0, *(axis + 1 for axis in axes))),
        ),
        Movement(
            "reshape",
            doc="The values in row-major order under another shape of the same size.",
            params=("shape",),
            shape=lambda _, shape: shape,
            transpose=lambda mx, ct, x, *, shape: mx.reshape(ct, x.shape),
            vmap=lambda mx, x, *, shape: mx.reshape(x, (x.shape[0],) + shape),
        ),
        Movement(
            "slice",
            doc="Every stride-th element from start up to stop along each axis.",
            params=("start", "stop", "stride"),
            transpose=_unslice,
            vmap=lambda mx, x, *, start, stop, stride: mx._bind(
                "slice", (x,), ((0, *start), (x.shape[0], *stop), (1, *stride))
            ),
        ),
        Movement(
            "as_strided",
            doc="The flat values under other shape, strides and offset, counted in elements.",
            params=("shape", "strides", "offset"),
            shape=lambda _, shape, strides, offset: shape,
            transpose=_unstride,
            vmap=_strided_vmap,
        ),
        Movement(
            "view",
            doc="The bytes read as another data type.",
            params=("dtype",),
            linear=False,  # bits have no derivative
            transpose=lambda mx, ct, x, *, dtype: mx.zeros(x.shape, x.dtype),
            vmap=lambda mx, x, *, dtype: mx._bind("view", (x,), (dtype,)),
        ),
        Movement(
            "pick",
            doc="One output of a primitive that has several.",
            params=("index",),
            # Transforms gather the cotangents of all outputs.
            transpose=lambda mx, ct, x, *, index: ct,
            vmap=lambda mx, x, *, index: x,
        ),
        Kernel(
            "attach",
            doc="The last operands under other rules of differentiation, which see the first ones.",
            params=("rules",),
            infer=_attach_infer,
            vjp=lambda mx, cts, outs, *operands, rules: rules.vjp(mx, cts, outs, operands),
            jvp=_attach_jvp,
            vmap=lambda mx, batched, *operands, rules: rules.vmap(mx, batched, operands),
            no_kernel="it names its operands; nothing is computed",
            samples=lambda mx, rng: [],
        ),
    ],
)
