"""Convolutions (cross-correlations), channels last: image (n, *size, c), weights (o, *kernel, c /
groups).

Both operands' gradients are convolutions again: the image's with the weights turned round, the
weights' with the image as a matrix of taps; so two rows differentiate each other any number of
times. Padding may be negative: it crops.
"""

from .rows import Kernel, register

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_PARAMS = ("stride", "low", "high", "kernel_dilation", "input_dilation", "groups", "flip")


def _dilated(size, dilation):
    return (size - 1) * dilation + 1 if size > 0 else 0


def _check(x, dtypes, stride, low, high, kernel_dilation, input_dilation, groups):
    spatial = len(x) - 2
    if not 1 <= spatial <= 3:
        raise ValueError(
            f"[conv] the input has shape {tuple(x)}; (batch, 1 to 3 spatial axes, channels) is "
            "needed."
        )
    if dtypes[0] != dtypes[1] or dtypes[0] not in _FLOATS:
        raise TypeError(
            f"[conv] was given {dtypes[0]} and {dtypes[1]}; both must be one of "
            f"{', '.join(_FLOATS)}."
        )
    settings = dict(
        stride=stride,
        low=low,
        high=high,
        kernel_dilation=kernel_dilation,
        input_dilation=input_dilation,
    )
    for name, values in settings.items():
        if len(values) != spatial:
            raise ValueError(f"[conv] {name} has {len(values)} values for {spatial} spatial axes.")
        if name not in ("low", "high") and min(values) < 1:
            raise ValueError(f"[conv] {name} is {tuple(values)}; each must be at least 1.")
        if max(map(abs, values)) >= 2**31:
            raise ValueError(f"[conv] {name} is {tuple(values)}; each must be below 2**31.")
    if groups < 1 or x[-1] % groups:
        raise ValueError(f"[conv] {x[-1]} input channels cannot be split into {groups} groups.")


def _infer(shapes, dtypes, *, stride, low, high, kernel_dilation, input_dilation, groups, flip):
    x, w = shapes
    _check(x, dtypes, stride, low, high, kernel_dilation, input_dilation, groups)
    if len(w) != len(x):
        raise ValueError(
            f"[conv] weights have shape {tuple(w)} for an input of shape {tuple(x)}; as many axes "
            "needed."
        )
    if w[-1] * groups != x[-1] or w[0] % groups:
        raise ValueError(
            f"[conv] input {tuple(x)} and weights {tuple(w)} do not fit with {groups} groups; the "
            "weights' last axis "
            f"must be the input's channels a group, and their first divisible by the groups."
        )
    out = []
    for axis, kernel in enumerate(w[1:-1]):
        reach = _dilated(kernel, kernel_dilation[axis])
        size = _dilated(x[1 + axis], input_dilation[axis]) + low[axis] + high[axis]
        if size < reach or size < 0:
            raise ValueError(
                f"[conv] spatial axis {axis} has size {size} after padding and dilation; the "
                f"kernel reaches {reach}."
            )
        out.append((size - reach) // stride[axis] + 1)
    return [((x[0], *out, w[0]), dtypes[0])]


def _weight_gradient_infer(shapes, dtypes, *, kernel, groups, **rest):
    x, ct = shapes
    params = dict(rest, groups=groups)
    weights = (ct[-1], *kernel, x[-1] // groups if groups > 0 else 0)
    ((expected, dtype),) = _infer([x, weights], dtypes, **params)
    if tuple(ct) != tuple(expected):
        raise ValueError(
            f"[conv] the cotangent has shape {tuple(ct)}; the convolution's result has {expected}."
        )
    return [(weights, dtype)]


def _turned(mx, w, groups):
    """Weights from result channels to input channels: (c, *kernel, o / groups)."""
    o, *kernel, c = w.shape
    w = mx.reshape(w, (groups, o // groups, *kernel, c))
    w = mx.swapaxes(w, 1, -1)
    return mx.reshape(w, (groups * c, *kernel, o // groups))


def _image_gradient(
    mx, ct, w, size, *, stride, low, high, kernel_dilation, input_dilation, groups, flip
):
    """What reaches each input pixel: the cotangent, spread by the stride, convolved with the
    weights turned round."""
    kernel = w.shape[1:-1]
    if 0 in size or 0 in kernel:
        return mx.zeros((ct.shape[0], *size, w.shape[-1] * groups), ct.dtype)
    front = tuple((k - 1) * d - p for k, d, p in zip(kernel, kernel_dilation, low))
    back = tuple(
        _dilated(n, gap) + (k - 1) * d - _dilated(m, s) - p
        for n, gap, k, d, m, s, p in zip(
            size, input_dilation, kernel, kernel_dilation, ct.shape[1:-1], stride, front
        )
    )
    params = (input_dilation, front, back, kernel_dilation, stride, groups, not flip)
    return mx._bind("conv", (ct, _turned(mx, w, groups)), params)


def _vjp(mx, cts, outs, x, w, **params):
    (ct,) = cts
    dx = _image_gradient(mx, ct, w, x.shape[1:-1], **params)
    dw = mx._bind(
        "conv_weight_gradient", (x, ct), (*(params[name] for name in _PARAMS), tuple(w.shape[1:-1]))
    )
    return dx, dw


def _weight_gradient_vjp(mx, cts, outs, x, ct, *, kernel, **params):
    (g,) = cts
    dx = _image_gradient(mx, ct, g, x.shape[1:-1], **params)
    return dx, mx._bind("conv", (x, g), tuple(params[name] for name in _PARAMS))


def _into_channels(mx, x):
    """(batch, n, ..., c) to (n, ..., batch * c): the batch as groups of channels."""
    x = mx.moveaxis(x, 0, -2)
    return mx.reshape(x, (*x.shape[:-2], x.shape[-2] * x.shape[-1]))


def _out_of_channels(mx, x, size):
    x = mx.reshape(x, (*x.shape[:-1], size, x.shape[-1] // size))
    return mx.moveaxis(x, -2, 0)


def _vmap(mx, batched, x, w, *, groups, **params):
    size = (x if batched[0] else w).shape[0]
    if not batched[1]:  # images alone: a larger batch
        flat = mx.reshape(x, (size * x.shape[1], *x.shape[2:]))
        out = mx._bind("conv", (flat, w), _ordered(params, groups))
        return (mx.reshape(out, (size, x.shape[1], *out.shape[1:])),)
    weights = mx.reshape(w, (size * w.shape[1], *w.shape[2:]))
    if not batched[0] and groups == 1:  # weights alone: more result channels
        return (_out_of_channels(mx, mx._bind("conv", (x, weights), _ordered(params, 1)), size),)
    if not batched[0]:
        x = mx.broadcast_to(x, (size, *x.shape))
    out = mx._bind("conv", (_into_channels(mx, x), weights), _ordered(params, groups * size))
    return (_out_of_channels(mx, out, size),)


def _weight_gradient_vmap(mx, batched, x, ct, *, groups, kernel, **params):
    size = (x if batched[0] else ct).shape[0]
    x, ct = (v if has else mx.broadcast_to(v, (size, *v.shape)) for v, has in zip((x, ct), batched))
    pair = (_into_channels(mx, x), _into_channels(mx, ct))
    out = mx._bind("conv_weight_gradient", pair, (*_ordered(params, groups * size), kernel))
    return (mx.reshape(out, (size, out.shape[0] // size, *out.shape[1:])),)


def _ordered(params, groups):
    return tuple(groups if name == "groups" else params[name] for name in _PARAMS)


def _settings():
    """Shapes of image and weights, and parameters: one, two and three spatial axes, all settings in
    use."""
    one = dict(
        stride=(2,),
        low=(1,),
        high=(0,),
        kernel_dilation=(1,),
        input_dilation=(1,),
        groups=1,
        flip=False,
    )
    grouped = dict(
        stride=(1, 2),
        low=(1, 0),
        high=(2, 1),
        kernel_dilation=(1, 2),
        input_dilation=(2, 1),
        groups=2,
        flip=True,
    )
    depth = dict(
        stride=(1, 1),
        low=(1, 1),
        high=(1, 1),
        kernel_dilation=(1, 1),
        input_dilation=(1, 1),
        groups=3,
        flip=False,
    )
    cropped = dict(
        stride=(1,) * 3,
        low=(-1, 0, 2),
        high=(0,) * 3,
        kernel_dilation=(1,) * 3,
        input_dilation=(1,) * 3,
        groups=1,
        flip=False,
    )
    return [
        ((2, 7, 3), (4, 3, 3), one),
        ((2, 5, 6, 4), (6, 3, 2, 2), grouped),
        ((1, 4, 5, 3), (6, 3, 3, 1), depth),
        ((1, 4, 3, 3, 2), (2, 2, 3, 2, 2), cropped),
    ]


def _normal(mx, rng, shape):
    return mx.array(rng.standard_normal(shape).astype("float32"))


def _samples(mx, rng):
    return [((_normal(mx, rng, x), _normal(mx, rng, w)), params) for x, w, params in _settings()]


def _weight_gradient_samples(mx, rng):
    out = []
    for x, w, params in _settings():
        ((y, _),) = _infer([x, w], ["float32", "float32"], **params)
        out.append(((_normal(mx, rng, x), _normal(mx, rng, y)), dict(params, kernel=w[1:-1])))
    return out


register(
    "conv",
    [
        Kernel(
            "conv",
            doc="Convolution of images with weights, channels last.",
            params=_PARAMS,
            infer=_infer,
            vjp=_vjp,
            linear=True,
            vmap=_vmap,
            contiguous=(True, False),
            samples=_samples,
        ),
        Kernel(
            "conv_weight_gradient",
            doc="The weights' gradient of a convolution.",
            params=(*_PARAMS, "kernel"),
            infer=_weight_gradient_infer,
            vjp=_weight_gradient_vjp,
            linear=True,
            vmap=_weight_gradient_vmap,
            contiguous=True,
            samples=_weight_gradient_samples,
        ),
    ],
)
