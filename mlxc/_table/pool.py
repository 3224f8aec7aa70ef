"""Pooling: maximum or mean of sliding windows over one to three spatial axes, channels last.

Windows may reach into padding: minus infinity (the least integer) for the maximum, zeros for the
mean. Where several values of a window attain the maximum they share its derivative evenly, as in
the reduction ``max``. The maximum's gradient and tangent are linear in what they carry and each
other's transpose.
"""

from math import prod

from .rows import Kernel, register

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_PARAMS = ("kernel", "stride", "padding")


def _pooled(op, shape, kernel, stride, padding):
    """The result's shape."""
    spatial = len(shape) - 2
    if not 1 <= spatial <= 3:
        raise ValueError(
            f"[{op}] the input has shape {tuple(shape)}; (batch, 1 to 3 spatial axes, channels) is "
            "needed."
        )
    for name, values, least in (
        ("kernel", kernel, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
    ):
        if len(values) != spatial or not all(least <= value < 2**31 for value in values):
            raise ValueError(
                f"[{op}] {name} is {tuple(values)}; {spatial} whole numbers from {least} on are "
                "needed."
            )
    sizes = zip(shape[1:-1], kernel, stride, padding)
    out = (max((n + 2 * p - k) // s + 1, 0) for n, k, s, p in sizes)
    return (shape[0], *out, shape[-1])


def _is_floating(op, dtypes):
    for dtype in dtypes:
        if dtype != dtypes[0] or dtype not in _FLOATS:
            raise TypeError(
                f"[{op}] was given {', '.join(dtypes)}; all must be one of {', '.join(_FLOATS)}."
            )


def _fits(op, given, expected):
    if tuple(given) != tuple(expected):
        raise ValueError(f"[{op}] was given shape {tuple(given)}; {tuple(expected)} is needed.")


def _max_infer(shapes, dtypes, *, kernel, stride, padding):
    if dtypes[0] == "complex64":
        raise TypeError("[max_pool] complex numbers have no maximum; pool their real parts.")
    return [(_pooled("max_pool", shapes[0], kernel, stride, padding), dtypes[0])]


def _mean_infer(shapes, dtypes, *, kernel, stride, padding):
    _is_floating("mean_pool", dtypes)
    return [(_pooled("mean_pool", shapes[0], kernel, stride, padding), dtypes[0])]


def _max_gradient_infer(shapes, dtypes, *, kernel, stride, padding):
    _is_floating("max_pool_gradient", dtypes)
    x, ct = shapes
    _fits("max_pool_gradient", ct, _pooled("max_pool_gradient", x, kernel, stride, padding))
    return [(tuple(x), dtypes[0])]


def _max_tangent_infer(shapes, dtypes, *, kernel, stride, padding):
    _is_floating("max_pool_tangent", dtypes)
    _fits("max_pool_tangent", shapes[1], shapes[0])
    return [(_pooled("max_pool_tangent", shapes[0], kernel, stride, padding), dtypes[0])]


def _mean_gradient_infer(shapes, dtypes, *, kernel, stride, padding, size):
    _is_floating("mean_pool_gradient", dtypes)
    shape = (shapes[0][0], *size, shapes[0][-1])
    _fits("mean_pool_gradient", shapes[0], _pooled("mean_pool", shape, kernel, stride, padding))
    return [(shape, dtypes[0])]


def _chosen(params):
    return tuple(params[name] for name in _PARAMS)


def _max_vjp(mx, cts, outs, x, **params):
    return (mx._bind("max_pool_gradient", (x, cts[0]), _chosen(params)),)


def _max_jvp(mx, tangents, outs, x, **params):
    return (mx._bind("max_pool_tangent", (x, tangents[0]), _chosen(params)),)


def _carried_vjp(transpose):
    """Which values attain the maximum is constant almost everywhere."""

    def vjp(mx, cts, outs, x, carried, **params):
        return None, mx._bind(transpose, (x, cts[0]), _chosen(params))

    return vjp


def _carried_jvp(name):
    def jvp(mx, tangents, outs, x, carried, **params):
        if tangents[1] is None:
            return (mx.zeros(outs[0].shape, outs[0].dtype),)
        return (mx._bind(name, (x, tangents[1]), _chosen(params)),)

    return jvp


def _mean_vjp(mx, cts, outs, x, **params):
    return (mx._bind("mean_pool_gradient", cts, (*_chosen(params), tuple(x.shape[1:-1]))),)


def _mean_gradient_vjp(mx, cts, outs, ct, *, size, **params):
    return (mx._bind("mean_pool", cts, _chosen(params)),)


def _vmap(name, names=_PARAMS):
    """A batch is more images."""

    def vmap(mx, batched, *operands, **params):
        size = next(x.shape[0] for x, has in zip(operands, batched) if has)
        whole = [
            x if has else mx.broadcast_to(x, (size, *x.shape)) for x, has in zip(operands, batched)
        ]
        flat = tuple(mx.reshape(x, (size * x.shape[1], *x.shape[2:])) for x in whole)
        out = mx._bind(name, flat, tuple(params[key] for key in names))
        return (mx.reshape(out, (size, out.shape[0] // size, *out.shape[1:])),)

    return vmap


# Shapes and settings: windows that tile the input, overlap, leave gaps, reach into padding.
_SETTINGS = (
    ((2, 6, 3), dict(kernel=(2,), stride=(2,), padding=(0,))),
    ((2, 7, 6, 2), dict(kernel=(3, 2), stride=(2, 1), padding=(1, 0))),
    ((1, 5, 4, 4, 17), dict(kernel=(2, 1, 2), stride=(1, 3, 2), padding=(1, 0, 1))),
)


def _distinct(mx, rng, shape):
    """Values far enough apart for finite differences."""
    return mx.array((rng.permutation(prod(shape)).reshape(shape) / 8 - 2).astype("float32"))


def _samples(carried=None):
    """Of x, or of x and what is carried, which has the shape of the input or of the result."""

    def samples(mx, rng):
        out = []
        for shape, params in _SETTINGS:
            operands = [_distinct(mx, rng, shape)]
            if carried is not None:
                like = shape if carried == "input" else _pooled("pool", shape, **params)
                operands.append(mx.array(rng.standard_normal(like).astype("float32")))
            out.append((tuple(operands), params))
        return out

    return samples


def _mean_gradient_samples(mx, rng):
    return [
        (
            (_distinct(mx, rng, _pooled("pool", shape, **params)),),
            dict(params, size=shape[1:-1]),
        )
        for shape, params in _SETTINGS
    ]


def _carried(name, doc, infer, transpose, shape):
    """A row that carries a derivative through the maximum."""
    return Kernel(
        name,
        doc=doc,
        params=_PARAMS,
        infer=infer,
        vjp=_carried_vjp(transpose),
        jvp=_carried_jvp(name),
        vmap=_vmap(name),
        contiguous=True,
        samples=_samples(shape),
    )


register(
    "pool",
    [
        Kernel(
            "max_pool",
            doc="The maximum of each window; NaN where there is one.",
            params=_PARAMS,
            infer=_max_infer,
            vjp=_max_vjp,
            jvp=_max_jvp,
            vmap=_vmap("max_pool"),
            contiguous=True,
            samples=_samples(),
        ),
        _carried(
            "max_pool_gradient",
            "The maximum's cotangent, shared by the values that attain it.",
            _max_gradient_infer,
            "max_pool_tangent",
            "result",
        ),
        _carried(
            "max_pool_tangent",
            "The mean tangent of the values that attain the maximum.",
            _max_tangent_infer,
            "max_pool_gradient",
            "input",
        ),
        Kernel(
            "mean_pool",
            doc="The mean of each window.",
            params=_PARAMS,
            infer=_mean_infer,
            vjp=_mean_vjp,
            linear=True,
            vmap=_vmap("mean_pool"),
            contiguous=True,
            samples=_samples(),
        ),
        Kernel(
            "mean_pool_gradient",
            doc="The mean's cotangent, spread over the windows.",
            params=(*_PARAMS, "size"),
            infer=_mean_gradient_infer,
            vjp=_mean_gradient_vjp,
            linear=True,
            vmap=_vmap("mean_pool_gradient", (*_PARAMS, "size")),
            contiguous=True,
            samples=_mean_gradient_samples,
        ),
    ],
)
