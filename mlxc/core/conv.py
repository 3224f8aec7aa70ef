"""Convolutions (cross-correlations, as in neural networks), channels last, and their transposes.

Rules: every function here makes one ``conv`` row. Numbers for all spatial axes are given once or
one an axis. A transposed convolution is the convolution of the input spread by the stride, with the
kernel reversed.
"""

from operator import index

import mlxc.core as mx
from mlxc._graph import bind

from ._arguments import as_array

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_general",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolve",
]


def _operands(op, x, w):
    """Both operands in their common dtype, which must be real floating, with fitting numbers of
    axes."""
    x, w = as_array(x), as_array(w)
    dtype = mx.result_type(x.dtype, w.dtype)
    if not mx.issubdtype(dtype, mx.floating):
        raise ValueError(
            f"[{op}] was given {x.dtype} and {w.dtype}; a real floating type is needed: use astype."
        )
    if not 3 <= x.ndim <= 5:
        raise ValueError(
            f"[{op}] the input has shape {x.shape}; (batch, 1 to 3 spatial axes, channels) is "
            "needed."
        )
    if w.ndim != x.ndim:
        raise ValueError(
            f"[{op}] the weights have shape {w.shape} for an input of shape {x.shape}; as many "
            "axes needed."
        )
    return x.astype(dtype), w.astype(dtype)


def _spatial(op, x, count):
    if as_array(x).ndim != count + 2:
        raise ValueError(
            f"[{op}] the input has shape {as_array(x).shape}; {count + 2} axes are needed."
        )


def _each(op, name, value, spatial):
    """One integer an axis, from one for all or one an axis."""
    try:
        values = [index(v) for v in value] if isinstance(value, (list, tuple)) else [index(value)]
    except TypeError:
        raise TypeError(
            f"[{op}] {name} is {value!r}; an int or one int a spatial axis is needed."
        ) from None
    if len(values) == 1:
        values *= spatial
    if len(values) != spatial:
        raise ValueError(
            f"[{op}] {name} is {value!r}: {len(values)} values for {spatial} spatial axes."
        )
    return tuple(values)


def _paddings(op, padding, spatial):
    """Padding in front and behind; a pair of sequences gives each apart."""
    if isinstance(padding, (list, tuple)) and any(isinstance(p, (list, tuple)) for p in padding):
        if len(padding) != 2:
            raise ValueError(f"[{op}] padding is {padding!r}; a pair (in front, behind) is needed.")
        return tuple(_each(op, "padding", p, spatial) for p in padding)
    both = _each(op, "padding", padding, spatial)
    return both, both


def _conv(op, x, w, stride, padding, kernel_dilation, input_dilation, groups, flip):
    x, w = _operands(op, x, w)
    spatial = x.ndim - 2
    low, high = _paddings(op, padding, spatial)
    params = (
        _each(op, "stride", stride, spatial),
        low,
        high,
        _each(op, "kernel_dilation", kernel_dilation, spatial),
        _each(op, "input_dilation", input_dilation, spatial),
        index(groups),
        bool(flip),
    )
    return bind("conv", (x, w), params)


def _conv_transpose(op, x, w, stride, padding, dilation, output_padding, groups):
    x, w = _operands(op, x, w)
    spatial = x.ndim - 2
    stride = _each(op, "stride", stride, spatial)
    dilation = _each(op, "dilation", dilation, spatial)
    padding = _each(op, "padding", padding, spatial)
    extra = _each(op, "output_padding", output_padding, spatial)
    low = tuple((k - 1) * d - p for k, d, p in zip(w.shape[1:-1], dilation, padding))
    high = tuple(p + e for p, e in zip(low, extra))
    ones = (1,) * spatial
    return bind("conv", (x, w), (ones, low, high, dilation, stride, index(groups), True))


def conv_general(
    input,
    weight,
    /,
    stride=1,
    padding=0,
    kernel_dilation=1,
    input_dilation=1,
    groups=1,
    flip=False,
    *,
    stream=None,
):
    """Convolution with everything that can be chosen, over one to three spatial axes.

    Args:
        input (array): (n, *size, c), real floating.
        weight (array): (o, *kernel, c / groups).
        stride (int or sequence): step of the kernel.
        padding (int, sequence or pair of sequences): zeros around the input, in front and behind;
            negative crops.
        kernel_dilation (int or sequence): distance of the kernel's taps.
        input_dilation (int or sequence): distance that the input is spread to, with zeros between.
        groups (int): parts that the channels are split into, convolved apart.
        flip (bool): whether taps are taken in reverse order.

    Returns:
        array: (n, *out, o), out = (size spread and padded - reach of the kernel) // stride + 1.

    Raises:
        ValueError: shapes that do not fit, or numbers out of range.

    >>> import mlxc.core as mx
    >>> x = mx.arange(4, dtype=mx.float32).reshape(1, 4, 1)
    >>> mx.conv_general(x, mx.ones((1, 2, 1)), padding=([1], [0])).reshape(-1).tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    return _conv(
        "conv_general",
        input,
        weight,
        stride,
        padding,
        kernel_dilation,
        input_dilation,
        groups,
        flip,
    )


def conv1d(input, weight, /, stride=1, padding=0, dilation=1, groups=1, *, stream=None):
    """Convolution over one spatial axis.

    Args:
        input (array): (n, length, c), real floating.
        weight (array): (o, kernel, c / groups).
        stride (int): step of the kernel.
        padding (int): zeros on both sides.
        dilation (int): distance of the kernel's taps.
        groups (int): parts that the channels are split into, convolved apart.

    Returns:
        array: (n, out, o).

    Raises:
        ValueError: shapes that do not fit, or numbers out of range.

    >>> import mlxc.core as mx
    >>> mx.conv1d(mx.ones((1, 4, 1)), mx.ones((1, 3, 1))).reshape(-1).tolist()
    [3.0, 3.0]
    """
    _spatial("conv1d", input, 1)
    return _conv("conv1d", input, weight, stride, padding, dilation, 1, groups, False)


def conv2d(input, weight, /, stride=1, padding=0, dilation=1, groups=1, *, stream=None):
    """Convolution over two spatial axes.

    Args:
        input (array): (n, height, width, c), real floating.
        weight (array): (o, kernel height, kernel width, c / groups).
        stride (int or pair): step of the kernel.
        padding (int or pair): zeros on both sides.
        dilation (int or pair): distance of the kernel's taps.
        groups (int): parts that the channels are split into, convolved apart.

    Returns:
        array: (n, out height, out width, o).

    Raises:
        ValueError: shapes that do not fit, or numbers out of range.

    >>> import mlxc.core as mx
    >>> mx.conv2d(mx.ones((1, 3, 3, 1)), mx.ones((1, 2, 2, 1))).reshape(2, 2).tolist()
    [[4.0, 4.0], [4.0, 4.0]]
    """
    _spatial("conv2d", input, 2)
    return _conv("conv2d", input, weight, stride, padding, dilation, 1, groups, False)


def conv3d(input, weight, /, stride=1, padding=0, dilation=1, groups=1, *, stream=None):
    """Convolution over three spatial axes.

    Args:
        input (array): (n, depth, height, width, c), real floating.
        weight (array): (o, kernel depth, kernel height, kernel width, c / groups).
        stride (int or triple): step of the kernel.
        padding (int or triple): zeros on both sides.
        dilation (int or triple): distance of the kernel's taps.
        groups (int): parts that the channels are split into, convolved apart.

    Returns:
        array: (n, out depth, out height, out width, o).

    Raises:
        ValueError: shapes that do not fit, or numbers out of range.

    >>> import mlxc.core as mx
    >>> mx.conv3d(mx.ones((1, 2, 2, 2, 1)), mx.ones((1, 2, 2, 2, 1))).item()
    8.0
    """
    _spatial("conv3d", input, 3)
    return _conv("conv3d", input, weight, stride, padding, dilation, 1, groups, False)


def conv_transpose1d(
    input, weight, /, stride=1, padding=0, dilation=1, output_padding=0, groups=1, *, stream=None
):
    """Transposed convolution over one spatial axis: each input value spreads the kernel over the
    output.

    Args:
        input (array): (n, length, c), real floating.
        weight (array): (o, kernel, c / groups).
        stride (int): distance in the output of neighbours in the input.
        padding (int): what is cropped on both sides of the output.
        dilation (int): distance of the kernel's taps.
        output_padding (int): what is added behind.
        groups (int): parts that the channels are split into, convolved apart.

    Returns:
        array: (n, (length - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding +
        1, o).

    Raises:
        ValueError: shapes that do not fit, or numbers out of range.

    >>> import mlxc.core as mx
    >>> mx.conv_transpose1d(mx.ones((1, 2, 1)), mx.ones((1, 2, 1)), stride=2).reshape(-1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    _spatial("conv_transpose1d", input, 1)
    return _conv_transpose(
        "conv_transpose1d", input, weight, stride, padding, dilation, output_padding, groups
    )


def conv_transpose2d(
    input, weight, /, stride=1, padding=0, dilation=1, output_padding=0, groups=1, *, stream=None
):
    """Transposed convolution over two spatial axes: each input value spreads the kernel over the
    output.

    Args:
        input (array): (n, height, width, c), real floating.
        weight (array): (o, kernel height, kernel width, c / groups).
        stride (int or pair): distance in the output of neighbours in the input.
        padding (int or pair): what is cropped on both sides of the output.
        dilation (int or pair): distance of the kernel's taps.
        output_padding (int or pair): what is added behind.
        groups (int): parts that the channels are split into, convolved apart.

    Returns:
        array: (n, out height, out width, o), sizes as for ``conv_transpose1d``.

    Raises:
        ValueError: shapes that do not fit, or numbers out of range.

    >>> import mlxc.core as mx
    >>> mx.conv_transpose2d(mx.ones((1, 1, 1, 1)), mx.ones((1, 2, 2, 1))).reshape(2, 2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    _spatial("conv_transpose2d", input, 2)
    return _conv_transpose(
        "conv_transpose2d", input, weight, stride, padding, dilation, output_padding, groups
    )


def conv_transpose3d(
    input, weight, /, stride=1, padding=0, dilation=1, output_padding=0, groups=1, *, stream=None
):
    """Transposed convolution over three spatial axes: each input value spreads the kernel over the
    output.

    Args:
        input (array): (n, depth, height, width, c), real floating.
        weight (array): (o, kernel depth, kernel height, kernel width, c / groups).
        stride (int or triple): distance in the output of neighbours in the input.
        padding (int or triple): what is cropped on both sides of the output.
        dilation (int or triple): distance of the kernel's taps.
        output_padding (int or triple): what is added behind.
        groups (int): parts that the channels are split into, convolved apart.

    Returns:
        array: (n, out depth, out height, out width, o), sizes as for ``conv_transpose1d``.

    Raises:
        ValueError: shapes that do not fit, or numbers out of range.

    >>> import mlxc.core as mx
    >>> mx.conv_transpose3d(mx.ones((1, 1, 1, 1, 1)), mx.ones((1, 2, 1, 1, 1))).reshape(-1).tolist()
    [1.0, 1.0]
    """
    _spatial("conv_transpose3d", input, 3)
    return _conv_transpose(
        "conv_transpose3d", input, weight, stride, padding, dilation, output_padding, groups
    )


def convolve(a, v, /, mode="full", *, stream=None):
    """Discrete convolution of two sequences; the longer one is convolved with the shorter.

    Args:
        a (array): (n,), real floating.
        v (array): (m,), not empty.
        mode (str): "full", all n + m - 1 overlaps; "same", the middle max(n, m); "valid", complete
            overlaps only.

    Returns:
        array: one axis.

    Raises:
        ValueError: other numbers of axes, empty sequences, an unknown mode, integers alone.

    >>> import mlxc.core as mx
    >>> mx.convolve(mx.array([1.0, 2.0, 3.0]), mx.array([1.0, 1.0])).tolist()
    [1.0, 3.0, 5.0, 3.0]
    """
    a, v = as_array(a), as_array(v)
    if a.ndim != 1 or v.ndim != 1:
        raise ValueError(
            f"[convolve] was given shapes {a.shape} and {v.shape}; both must have one axis."
        )
    if a.size == 0 or v.size == 0:
        raise ValueError("[convolve] was given an empty sequence; both need at least one element.")
    if a.size < v.size:
        a, v = v, a
    m = v.size
    paddings = {"full": ([m - 1], [m - 1]), "same": ([m // 2], [(m - 1) // 2]), "valid": ([0], [0])}
    if mode not in paddings:
        raise ValueError(f"[convolve] mode is {mode!r}; 'full', 'same' or 'valid' is needed.")
    a, v = mx.reshape(a, (1, a.size, 1)), mx.reshape(v, (1, m, 1))
    return mx.reshape(_conv("convolve", a, v, 1, paddings[mode], 1, 1, 1, True), (-1,))
