"""Rows that reduce along axes. Their loops are printed by ``_kernels/reduce_render.py``.

float32 sums and products are accumulated in float64, so that partial results lose nothing. Mean,
variance, logsumexp and their kin are composites of these rows (``core/reduce.py``).
"""

from .rows import Reduction, register

DOUBLE = {"f32": "f64"}


def _kept(axes, ndim):
    return tuple(axis for axis in range(ndim) if axis not in axes)


def _spread(mx, value, x, axes, keepdims):
    """A reduced array with its axes back, as size 1 ones, so that it meets x by broadcasting."""
    if keepdims:
        return value
    return mx.reshape(
        value, tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    )


def _sum_vjp(mx, ct, out, x, *, axes, keepdims):
    return (mx.broadcast_to(_spread(mx, ct, x, axes, keepdims), x.shape),)


def _others(mx, x, axes):
    """For every element, the product of the others along the axes.

    Made of exclusive products from both ends, so that zeros, one or several, are right.
    """
    kept = _kept(axes, x.ndim)
    order = kept + axes
    moved = mx.transpose(x, order)
    flat = mx.reshape(moved, tuple(x.shape[axis] for axis in kept) + (-1,)) if x.size else moved
    before = mx.cumprod(flat, axis=-1, inclusive=False)
    after = mx.cumprod(flat, axis=-1, inclusive=False, reverse=True)
    inverse = tuple(order.index(axis) for axis in range(x.ndim))
    return mx.transpose(mx.reshape(before * after, moved.shape), inverse)


def _prod_vjp(mx, ct, out, x, *, axes, keepdims):
    if not axes or x.size == 0:
        return _sum_vjp(mx, ct, out, x, axes=axes, keepdims=keepdims)
    others = _others(mx, x, axes)
    if x.dtype == mx.complex64:
        others = mx.conjugate(others)
    return (_spread(mx, ct, x, axes, keepdims) * others,)


def _prod_jvp(mx, tangents, out, x, *, axes, keepdims):
    (tangent,) = tangents
    if not axes or x.size == 0:
        return mx.sum(tangent, axes, keepdims=keepdims)
    return mx.sum(tangent * _others(mx, x, axes), axes, keepdims=keepdims)


def _share(mx, out, x, axes, keepdims):
    """The derivative of an extremum: what attains it (NaNs, where it is NaN) shares it evenly."""
    best = _spread(mx, out, x, axes, keepdims)
    attains = mx.logical_or(mx.equal(x, best), mx.not_equal(x, x)).astype(x.dtype)
    return attains / mx.sum(attains, axes, keepdims=True)


def _extremum_vjp(mx, ct, out, x, *, axes, keepdims):
    return (_spread(mx, ct, x, axes, keepdims) * _share(mx, out, x, axes, keepdims),)


def _extremum_jvp(mx, tangents, out, x, *, axes, keepdims):
    return mx.sum(tangents[0] * _share(mx, out, x, axes, keepdims), axes, keepdims=keepdims)


def _flat_vjp(mx, ct, out, x, *, axes, keepdims):
    """Truth values are constant almost everywhere."""
    return (mx.zeros(x.shape, x.dtype),)


def _flat_jvp(mx, tangents, out, x, *, axes, keepdims):
    return mx.zeros(out.shape, out.dtype)


ROWS = register(
    "reduce",
    [
        Reduction(
            "sum",
            doc="The sum over axes; 0 where they are empty.",
            combine="add",
            accumulate=DOUBLE,
            out="wide",
            identity=0,
            vjp=_sum_vjp,
            jvp=lambda mx, tangents, out, x, *, axes, keepdims: mx.sum(
                tangents[0], axes, keepdims=keepdims
            ),
            reference="sum",
        ),
        Reduction(
            "prod",
            doc="The product over axes; 1 where they are empty.",
            combine="multiply",
            accumulate=DOUBLE,
            out="wide",
            identity=1,
            vjp=_prod_vjp,
            jvp=_prod_jvp,
            reference="prod",
        ),
        Reduction(
            "max",
            doc="The largest value over axes; NaN where there is one.",
            combine="maximum",
            identity=None,
            vjp=_extremum_vjp,
            jvp=_extremum_jvp,
            reference="max",
        ),
        Reduction(
            "min",
            doc="The smallest value over axes; NaN where there is one.",
            combine="minimum",
            identity=None,
            vjp=_extremum_vjp,
            jvp=_extremum_jvp,
            reference="min",
        ),
        Reduction(
            "all",
            doc="Whether every value over axes is true (not zero).",
            combine="logical_and",
            inputs="bool",
            out="bool",
            identity=1,
            vjp=_flat_vjp,
            jvp=_flat_jvp,
            reference="all",
        ),
        Reduction(
            "any",
            doc="Whether some value over axes is true (not zero).",
            combine="logical_or",
            inputs="bool",
            out="bool",
            identity=0,
            vjp=_flat_vjp,
            jvp=_flat_jvp,
            reference="any",
        ),
    ],
)
