"""Rows that run along one axis and keep every partial result.

An exclusive scan starts with the value of an empty one and leaves out the last element; a reverse
scan comes from the end. Derivatives are scans in the other direction.
"""

from .rows import Kernel, register

_PARAMS = ("axis", "reverse", "inclusive")


def _infer(name, refused=(), why=""):
    """Same shape and dtype, with dtypes refused that the public function converts before."""

    def infer(shapes, dtypes, *, axis, reverse, inclusive):
        (shape,), (dtype,) = shapes, dtypes
        if dtype in refused:
            raise ValueError(f"[{name}] got {dtype}; {why}")
        if not 0 <= axis < len(shape):
            raise ValueError(
                f"[{name}] got axis {axis} for {len(shape)} dimensions; an axis from 0 to "
                f"{len(shape) - 1} would be right"
            )
        return [(tuple(shape), dtype)]

    return infer


def _vmap(name):
    """A batch is one more axis in front."""

    def vmap(mx, batched, x, *, axis, reverse, inclusive):
        return (mx._bind(name, (x,), (axis + 1, reverse, inclusive)),)

    return vmap


def _cumsum_vjp(mx, cts, outs, x, *, axis, reverse, inclusive):
    return (mx.cumsum(cts[0], axis=axis, reverse=not reverse, inclusive=inclusive),)


def _without_first_zero(mx, x, axis, reverse, inclusive):
    """x with zeros made 1, where the first zeros are, products without those, and zeros seen."""
    scan = {"axis": axis, "reverse": reverse}
    zero = mx.equal(x, mx.zeros_like(x))
    seen = mx.cumsum(zero.astype(mx.int32), inclusive=True, **scan)
    first = mx.logical_and(zero, mx.equal(seen, mx.array(1, mx.int32)))
    one = mx.ones_like(x)
    others = mx.cumprod(mx.where(first, one, x), inclusive=inclusive, **scan)
    seen_by_out = seen if inclusive else mx.cumsum(zero.astype(mx.int32), inclusive=False, **scan)
    return mx.where(zero, one, x), first, others, seen, seen_by_out


def _holomorphic(vjp):
    """The rule of a holomorphic function, stated for real numbers, with conjugates in and out."""

    def rule(mx, cts, outs, x, **params):
        if x.dtype != mx.complex64:
            return vjp(mx, cts, outs, x, **params)
        (ct,) = vjp(mx, (mx.conjugate(cts[0]),), outs, x, **params)
        return (mx.conjugate(ct),)

    return rule


@_holomorphic
def _cumprod_vjp(mx, cts, outs, x, *, axis, reverse, inclusive):
    """Before the first zero, sums divided by x; at it, products that leave it out; then 0."""
    whole, first, others, seen, _ = _without_first_zero(mx, x, axis, reverse, inclusive)
    back = {"axis": axis, "reverse": not reverse, "inclusive": inclusive}
    none = mx.zeros_like(x)
    at_first = mx.where(first, mx.cumsum(cts[0] * others, **back), none)
    before = mx.cumsum(cts[0] * outs[0], **back) / whole
    return (mx.where(mx.equal(seen, mx.array(0, mx.int32)), before, at_first),)


def _cumprod_jvp(mx, tangents, outs, x, *, axis, reverse, inclusive):
    whole, first, others, _, seen = _without_first_zero(mx, x, axis, reverse, inclusive)
    scan = {"axis": axis, "reverse": reverse, "inclusive": inclusive}
    none = mx.zeros_like(x)
    before = outs[0] * mx.cumsum(tangents[0] / whole, **scan)
    after = others * mx.cumsum(mx.where(first, tangents[0], none), **scan)
    return (mx.where(mx.equal(seen, mx.array(0, mx.int32)), before, after),)


def _shifted(mx, x, axis, ahead):
    """x moved by one along an axis, a zero where nothing comes from."""
    n = x.shape[axis]
    if n == 0:
        return x
    start, stop = [0] * x.ndim, list(x.shape)
    start[axis], stop[axis] = (0, n - 1) if ahead else (1, n)
    rest = mx._bind("slice", (x,), (tuple(start), tuple(stop), (1,) * x.ndim))
    hole = mx.zeros(tuple(1 if a == axis else size for a, size in enumerate(x.shape)), x.dtype)
    return mx.concatenate([hole, rest] if ahead else [rest, hole], axis=axis)


def _attained(mx, name, x, axis, reverse):
    """For every place of the inclusive scan, where its value stands; of ties the last."""
    n = x.shape[axis]
    shape = tuple(n if a == axis else 1 for a in range(x.ndim))
    places = mx.broadcast_to(mx.reshape(mx.arange(n, dtype=mx.int32), shape), x.shape)
    best = mx._bind(name, (x,), (axis, reverse, True))
    new = mx.logical_or(mx.equal(x, best), mx.not_equal(x, x))
    start = mx.full(x.shape, n - 1 if reverse else 0, mx.int32)
    return mx._bind(
        "cummin" if reverse else "cummax", (mx.where(new, places, start),), (axis, reverse, True)
    )


def _extremum_vjp(name):
    """Every cotangent goes to where its value stood."""

    def vjp(mx, cts, outs, x, *, axis, reverse, inclusive):
        if x.size == 0:
            return (cts[0],)
        ct = cts[0] if inclusive else _shifted(mx, cts[0], axis, ahead=reverse)
        places = mx.moveaxis(_attained(mx, name, x, axis, reverse), axis, -1)
        n = places.shape[-1]
        rows = mx.reshape(mx.arange(x.size // n, dtype=mx.int64) * n, (-1, 1))
        flat = mx.reshape(mx.reshape(places, (-1, n)).astype(mx.int64) + rows, (-1,))
        ct = mx.moveaxis(ct, axis, -1)
        summed = mx.zeros((x.size,), ct.dtype).at[flat].add(mx.reshape(ct, (-1,)))
        return (mx.moveaxis(mx.reshape(summed, ct.shape), -1, axis),)

    return vjp


def _extremum_jvp(name):
    def jvp(mx, tangents, outs, x, *, axis, reverse, inclusive):
        if x.size == 0:
            return (tangents[0],)
        tangent = mx.take_along_axis(tangents[0], _attained(mx, name, x, axis, reverse), axis=axis)
        return (tangent if inclusive else _shifted(mx, tangent, axis, ahead=not reverse),)

    return jvp


def _log(mx, x):
    """Logarithm, -inf for what is not positive."""
    positive = mx.greater(x, mx.zeros_like(x))
    return mx.where(
        positive, mx.log(mx.where(positive, x, mx.ones_like(x))), mx.full(x.shape, -mx.inf, x.dtype)
    )


def _less(mx, x, y):
    """x - y, -inf where x is: there is nothing to take from."""
    nothing = mx.full(x.shape, -mx.inf, x.dtype)
    empty = mx.logical_or(mx.equal(x, nothing), mx.equal(y, nothing))
    return mx.where(empty, nothing, x - mx.where(empty, mx.zeros_like(y), y))


@_holomorphic
def _logcumsumexp_vjp(mx, cts, outs, x, *, axis, reverse, inclusive):
    """The sum of ct exp(x - out), positive and negative parts apart, in logarithms: no overflow."""
    back = {"axis": axis, "reverse": not reverse, "inclusive": inclusive}
    if x.dtype == mx.complex64:
        weight = mx.where(mx.isfinite(outs[0]), cts[0] * mx.exp(-outs[0]), mx.zeros_like(cts[0]))
        return (mx.exp(x) * mx.cumsum(weight, **back),)

    def part(ct):
        reached = mx.logcumsumexp(_less(mx, _log(mx, ct), outs[0]), **back)
        return mx.exp(mx.where(mx.equal(x, mx.full(x.shape, -mx.inf, x.dtype)), x, x + reached))

    return (part(cts[0]) - part(-cts[0]),)


def _logcumsumexp_jvp(mx, tangents, outs, x, *, axis, reverse, inclusive):
    scan = {"axis": axis, "reverse": reverse, "inclusive": inclusive}
    if x.dtype == mx.complex64:
        total = mx.cumsum(tangents[0] * mx.exp(x), **scan)
        return (mx.where(mx.isfinite(outs[0]), total * mx.exp(-outs[0]), mx.zeros_like(total)),)

    def part(tangent):
        gathered = mx.logcumsumexp(x + _log(mx, tangent), **scan)
        return mx.exp(_less(mx, gathered, outs[0]))

    return (part(tangents[0]) - part(-tangents[0]),)


def _samples(positive=False):
    def samples(mx, rng):
        def values(*shape):
            x = rng.uniform(0.5, 1.5, shape) if positive else rng.normal(size=shape)
            return mx.array(x.astype("float32"))

        return [
            ((values(*shape),), {"axis": axis, "reverse": reverse, "inclusive": inclusive})
            for shape, axis in (((7,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 2), 1), ((0, 3), 0))
            for reverse in (False, True)
            for inclusive in (True, False)
        ]

    return samples


ROWS = register(
    "scan",
    [
        Kernel(
            "cumsum",
            doc="Sums of all values up to each one along an axis.",
            params=_PARAMS,
            infer=_infer("cumsum", ("bool_",), "convert it to int32 first"),
            vjp=_cumsum_vjp,
            linear=True,
            vmap=_vmap("cumsum"),
            contiguous=True,
            samples=_samples(),
        ),
        Kernel(
            "cumprod",
            doc="Products of all values up to each one along an axis.",
            params=_PARAMS,
            infer=_infer("cumprod"),
            vjp=_cumprod_vjp,
            jvp=_cumprod_jvp,
            vmap=_vmap("cumprod"),
            contiguous=True,
            samples=_samples(positive=True),
        ),
        Kernel(
            "cummax",
            doc="The largest of all values up to each one along an axis; NaN from a NaN on.",
            params=_PARAMS,
            infer=_infer("cummax"),
            vjp=_extremum_vjp("cummax"),
            jvp=_extremum_jvp("cummax"),
            vmap=_vmap("cummax"),
            contiguous=True,
            samples=_samples(),
        ),
        Kernel(
            "cummin",
            doc="The smallest of all values up to each one along an axis; NaN from a NaN on.",
            params=_PARAMS,
            infer=_infer("cummin"),
            vjp=_extremum_vjp("cummin"),
            jvp=_extremum_jvp("cummin"),
            vmap=_vmap("cummin"),
            contiguous=True,
            samples=_samples(),
        ),
        Kernel(
            "logcumsumexp",
            doc="Logarithms of the sums of exponentials up to each value along an axis.",
            params=_PARAMS,
            infer=_infer(
                "logcumsumexp",
                ("bool_", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
                "convert it to float32 first",
            ),
            vjp=_logcumsumexp_vjp,
            jvp=_logcumsumexp_jvp,
            vmap=_vmap("logcumsumexp"),
            contiguous=True,
            samples=_samples(),
        ),
    ],
)
