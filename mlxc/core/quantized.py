"""Quantized matrices: arguments are checked, batch axes turned into indices, and rows bound.

Modes (bits and group size as in :func:`quantize`): "affine" has a scale and a bias a group;
    "mxfp4", "mxfp8" and "nvfp4"
are the formats of the OCP Microscaling specification 1.0 and of NVIDIA, with one byte of scale a
group.
"""

import math
from functools import lru_cache

import mlxc.core as mx
from mlxc._graph import Routine, bind

from ._arguments import as_array

__all__ = [
    "dequantize",
    "from_fp8",
    "gather_qmm",
    "gather_qqmm",
    "qqmm",
    "quantize",
    "quantized_matmul",
    "to_fp8",
]

# Mode to (default group size, default bits, possible group sizes, possible bits).
_MODES = {
    "affine": (64, 4, (32, 64, 128), (1, 2, 3, 4, 5, 6, 8)),
    "mxfp4": (32, 4, (32,), (4,)),
    "mxfp8": (32, 8, (32,), (8,)),
    "nvfp4": (16, 4, (16,), (4,)),
}


def _settings(op, group_size, bits, mode):
    if mode not in _MODES:
        raise ValueError(
            f"[{op}] mode {mode!r} is unknown; choose from {', '.join(map(repr, _MODES))}"
        )
    default_group, default_bits, groups, all_bits = _MODES[mode]
    group_size = default_group if group_size is None else group_size
    bits = default_bits if bits is None else bits
    if group_size not in groups:
        raise ValueError(
            f"[{op}] group_size {group_size} is not possible in mode {mode!r}; choose from {groups}"
        )
    if bits not in all_bits:
        raise ValueError(
            f"[{op}] {bits} bits are not possible in mode {mode!r}; choose from {all_bits}"
        )
    return group_size, bits


def _check_computable(op, name, x):
    if x.dtype not in (mx.float32, mx.float16, mx.bfloat16):
        raise ValueError(f"[{op}] {name} is {x.dtype}; float32, float16 or bfloat16 is needed")


def _global_scale(op, value, mode):
    """The operand of a global scale: none, or one float32 number."""
    if value is None:
        return []
    if mode != "nvfp4":
        raise ValueError(
            f"[{op}] a global scale is possible in mode 'nvfp4' alone, not in {mode!r}"
        )
    value = as_array(value)
    if value.size != 1:
        raise ValueError(
            f"[{op}] the global scale has shape {tuple(value.shape)}; one number is needed"
        )
    return [mx.reshape(value, ()).astype(mx.float32)]


def quantize(w, /, group_size=None, bits=None, mode="affine", *, global_scale=None, stream=None):
    """Pack numbers into few bits each, with a scale (and a bias) for each group along the last
    axis.

    ``affine``: code = round((w - bias) / scale); the scale spans the group's range in 2**bits - 1
    steps, adjusted so that the end of larger magnitude (the bias) and 0 are met exactly; with 1 bit
    the bias is the minimum. ``mxfp4``, ``mxfp8``: E2M1 or E4M3 floats times the least power of two
    that covers the group. ``nvfp4``: E2M1 floats times an E4M3 scale. Halves between two E2M1
    numbers go to the smaller.

    Args:
        w (array): (..., rows, columns), float32, float16 or bfloat16; columns a multiple of the
            group size.
        group_size (int, optional): affine 32, 64 (default) or 128; mxfp4 and mxfp8 32; nvfp4 16.
        bits (int, optional): affine 1, 2, 3, 4 (default), 5, 6 or 8; mxfp4 and nvfp4 4; mxfp8 8.
        mode (str): "affine", "mxfp4", "mxfp8" or "nvfp4".
        global_scale (array, optional): nvfp4: largest magnitude of all of ``w``; scales are in
            units of it / 2688.

    Returns:
        tuple of array: packed codes uint32 (..., rows, columns * bits / 32), scales (..., rows,
            columns / group_size),
        and in mode affine biases like the scales.

    Raises:
        ValueError: for settings, shapes or dtypes that are not possible.

    >>> import mlxc.core as mx
    >>> codes, scales, biases = mx.quantize(mx.ones((2, 64)))
    >>> codes.shape, scales.shape
    ((2, 8), (2, 1))
    """
    w = as_array(w)
    group_size, bits = _settings("quantize", group_size, bits, mode)
    extra = _global_scale("quantize", global_scale, mode)
    _check_computable("quantize", "w", w)
    return bind("quantize", (w, *extra), (group_size, bits, mode, bool(extra)))


def _packed(op, w, scales, biases, mode):
    """The operands of a packed matrix, scales and biases of one dtype."""
    w, scales = as_array(w), as_array(scales)
    if mode != "affine":
        if biases is not None:
            raise ValueError(f"[{op}] there are no biases in mode {mode!r}; pass None")
        return [w, scales]
    if biases is None:
        raise ValueError(f"[{op}] mode 'affine' needs biases")
    biases = as_array(biases)
    dtype = mx.result_type(scales.dtype, biases.dtype)
    return [w, scales.astype(dtype), biases.astype(dtype)]


def dequantize(
    w,
    /,
    scales,
    biases=None,
    group_size=None,
    bits=None,
    mode="affine",
    global_scale=None,
    dtype=None,
    *,
    stream=None,
):
    """Unpack what :func:`quantize` packed: scale * code + bias, or scale * value of the code.

    Args:
        w (array): packed codes, uint32.
        scales, biases: as returned by :func:`quantize`.
        group_size, bits, mode, global_scale: as they were given to it.
        dtype (Dtype, optional): of the result; by default that of the scales (affine), else
            bfloat16, or float32 if there is a global scale.

    Returns:
        array: (..., rows, columns).

    Raises:
        ValueError: if the parts do not fit each other.

    >>> import mlxc.core as mx
    >>> mx.dequantize(*mx.quantize(mx.ones((1, 64))))[0, 0].item()
    1.0
    """
    group_size, bits = _settings("dequantize", group_size, bits, mode)
    parts = _packed("dequantize", w, scales, biases, mode)
    extra = _global_scale("dequantize", global_scale, mode)
    if dtype is None:
        dtype = parts[1].dtype if mode == "affine" else mx.float32 if extra else mx.bfloat16
    if not mx.issubdtype(dtype, mx.floating):
        raise ValueError(f"[dequantize] dtype {dtype} is asked for; a floating one is needed")
    computed = mx.float32 if dtype == mx.float64 else dtype
    name = {mx.float32: "float32", mx.float16: "float16", mx.bfloat16: "bfloat16"}[computed]
    out = bind("dequantize", (*parts, *extra), (group_size, bits, mode, name, bool(extra)))
    return out if computed == dtype else out.astype(dtype)


def _product_operands(op, x, w, scales, biases, mode):
    """x and the packed matrix, with x in the dtype of the result."""
    x, parts = as_array(x), _packed(op, w, scales, biases, mode)
    dtype = mx.result_type(x.dtype, parts[1].dtype) if mode == "affine" else x.dtype
    x = x.astype(dtype)
    _check_computable(op, "x", x)
    if parts[0].ndim < 2 or x.ndim < 1:
        raise ValueError(
            f"[{op}] x {tuple(x.shape)} and w {tuple(parts[0].shape)}: w must have at least 2 "
            f"dimensions"
        )
    return x, parts


def _flat(x):
    """Batch axes joined to one."""
    return mx.reshape(x, (math.prod(x.shape[:-2]),) + tuple(x.shape[-2:]))


def _numbers(shape):
    """Flat numbers of the items of a batch, in its shape."""
    return mx.reshape(mx.arange(math.prod(shape)), shape).astype(mx.uint32)


def _bind_gather(x, parts, lhs, rhs, settings):
    """Products of items ``lhs`` of x with items ``rhs`` of the packed matrices; indices
    broadcast."""
    shape = mx.broadcast_shapes(tuple(lhs.shape), tuple(rhs.shape))
    lhs, rhs = (mx.reshape(mx.broadcast_to(i, shape), (-1,)) for i in (lhs, rhs))
    out = bind("gather_qmm", (_flat(x), *map(_flat, parts), lhs, rhs), settings)
    return mx.reshape(out, tuple(shape) + tuple(out.shape[-2:]))


def quantized_matmul(
    x,
    w,
    /,
    scales,
    biases=None,
    transpose=True,
    group_size=None,
    bits=None,
    mode="affine",
    *,
    stream=None,
):
    """Product with a packed matrix that is unpacked on the way.

    Args:
        x (array): (..., m, k) or (k,), float32, float16 or bfloat16.
        w (array): packed codes uint32 of a matrix (n, k), or (k, n) if not ``transpose``; batch
            axes broadcast.
        scales, biases, group_size, bits, mode: as in :func:`dequantize`.
        transpose (bool): multiply by the transposed matrix.

    Returns:
        array: (..., m, n), of the dtype that x, scales and biases promote to. Sums are float32.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit.

    >>> import mlxc.core as mx
    >>> mx.quantized_matmul(mx.ones((1, 64)), *mx.quantize(mx.ones((2, 64)))).tolist()
    [[64.0, 64.0]]
    """
    biases = None if biases is None else as_array(biases)
    arrays = (as_array(x), as_array(w), as_array(scales), biases)
    return _quantized_matmul(arrays, bool(transpose), group_size, bits, mode)


@Routine
def _quantized_matmul(x, w, scales, biases, transpose, group_size, bits, mode):
    op = "quantized_matmul"
    group_size, bits = _settings(op, group_size, bits, mode)
    x, parts = _product_operands(op, x, w, scales, biases, mode)
    settings = (transpose, group_size, bits, mode)
    if parts[0].ndim == 2:
        rows = mx.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
        out = bind(op, (rows, *parts), settings)
        return mx.reshape(out, tuple(x.shape[:-1]) + (out.shape[-1],))
    vector = x.ndim == 1
    x = mx.expand_dims(x, 0) if vector else x
    out = _bind_gather(
        x, parts, _numbers(tuple(x.shape[:-2])), _numbers(tuple(parts[0].shape[:-2])), settings
    )
    return mx.squeeze(out, -2) if vector else out


def _indices(op, name, value, batch):
    """Indices of matrices as uint32; by default all of them."""
    if value is None:
        return _numbers(tuple(batch))
    value = as_array(value)
    if not mx.issubdtype(value.dtype, mx.integer):
        raise ValueError(f"[{op}] {name} is {value.dtype}; integers are needed")
    return value.astype(mx.uint32)


def gather_qmm(
    x,
    w,
    /,
    scales,
    biases=None,
    lhs_indices=None,
    rhs_indices=None,
    transpose=True,
    group_size=None,
    bits=None,
    mode="affine",
    global_scale=None,
    *,
    sorted_indices=False,
    stream=None,
):
    """:func:`quantized_matmul` of chosen matrices of two batches.

    Args:
        x (array): (..., m, k).
        w, scales, biases, transpose, group_size, bits, mode: as in :func:`quantized_matmul`, with
            batch axes.
        lhs_indices (array, optional): integers, flat numbers of matrices of ``x``; all by default.
        rhs_indices (array, optional): integers, flat numbers of packed matrices; broadcast with
            ``lhs_indices``.
        global_scale: not possible on the CPU.
        sorted_indices (bool): accepted; it makes no difference here.

    Returns:
        array: shape of the broadcast indices + (m, n).

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; IndexError (when evaluated) for a
            number out of range.

    >>> import mlxc.core as mx
    >>> packed = mx.quantize(mx.ones((3, 2, 64)))
    >>> mx.gather_qmm(mx.ones((1, 1, 64)), *packed, rhs_indices=mx.array([0, 2])).shape
    (2, 1, 2)
    """
    op = "gather_qmm"
    if global_scale is not None:
        raise ValueError(f"[{op}] a global scale is not possible on the CPU; pass None")
    group_size, bits = _settings(op, group_size, bits, mode)
    x, parts = _product_operands(op, x, w, scales, biases, mode)
    if x.ndim < 2:
        raise ValueError(f"[{op}] x has {x.ndim} dimension; matrices are needed")
    lhs = _indices(op, "lhs_indices", lhs_indices, x.shape[:-2])
    rhs = _indices(op, "rhs_indices", rhs_indices, parts[0].shape[:-2])
    return _bind_gather(x, parts, lhs, rhs, (bool(transpose), group_size, bits, mode))


def _round_trip(x, group_size, bits, mode, global_scale):
    """x as its quantized form reads, with the derivative of x itself (straight-through, Bengio et
    al. 2013)."""
    packed = quantize(x, group_size, bits, mode, global_scale=global_scale)
    read = dequantize(
        *packed,
        group_size=group_size,
        bits=bits,
        mode=mode,
        global_scale=global_scale,
        dtype=x.dtype,
    )
    return x + mx.stop_gradient(read - x)


def _quantized_operands(op, x, w, scales, group_size, bits, mode, global_scale_x, global_scale_w):
    """x and w as their quantized forms read, w unpacked if it was packed."""
    group_size, bits = _settings(op, group_size, bits, mode)
    if mode == "affine":
        raise ValueError(
            f"[{op}] mode 'affine' is not possible; choose from 'nvfp4', 'mxfp8' and 'mxfp4'"
        )
    if (global_scale_x is None) != (global_scale_w is None):
        raise ValueError(
            f"[{op}] global_scale_x and global_scale_w must be given both or not at all"
        )
    x, w = as_array(x), as_array(w)
    _check_computable(op, "x", x)
    if w.dtype != mx.uint32:
        _check_computable(op, "w", w)
        w = _round_trip(w, group_size, bits, mode, global_scale_w)
    elif scales is None:
        raise ValueError(f"[{op}] w is packed; its scales must be given")
    else:
        w = dequantize(
            w,
            scales,
            group_size=group_size,
            bits=bits,
            mode=mode,
            global_scale=global_scale_w,
            dtype=x.dtype,
        )
    if x.ndim < 1 or x.shape[-1] != w.shape[-1]:
        raise ValueError(
            f"[{op}] x {tuple(x.shape)} and w {tuple(w.shape)} (unpacked): the last axes must agree"
        )
    rows = mx.expand_dims(x, 0) if x.ndim == 1 else x
    rows = _round_trip(rows, group_size, bits, mode, global_scale_x)
    return (rows[0] if x.ndim == 1 else rows), w


def qqmm(
    x,
    w,
    scales=None,
    group_size=None,
    bits=None,
    mode="nvfp4",
    global_scale_x=None,
    global_scale_w=None,
    *,
    stream=None,
):
    """Product x @ w.T in which both are quantized: x on the way, w too unless it is packed already.

    Args:
        x (array): (..., m, k), float32, float16 or bfloat16.
        w (array): (n, k) of the same dtypes, or packed uint32.
        scales (array, optional): of a packed ``w``.
        group_size, bits, mode: as in :func:`quantize`; not "affine".
        global_scale_x, global_scale_w (array, optional): nvfp4; both or none.

    Returns:
        array: (..., m, n). Derivatives pass through the rounding.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit.

    >>> import mlxc.core as mx
    >>> mx.qqmm(mx.ones((1, 32)), mx.ones((2, 32)), mode="mxfp8").tolist()
    [[32.0, 32.0]]
    """
    x, w = _quantized_operands(
        "qqmm", x, w, scales, group_size, bits, mode, global_scale_x, global_scale_w
    )
    return x @ mx.swapaxes(w, -1, -2)


def gather_qqmm(
    x,
    w,
    /,
    scales=None,
    lhs_indices=None,
    rhs_indices=None,
    group_size=None,
    bits=None,
    mode="nvfp4",
    global_scale_x=None,
    global_scale_w=None,
    *,
    sorted_indices=False,
    stream=None,
):
    """:func:`qqmm` of chosen matrices of two batches; indices as in :func:`gather_qmm`.

    Returns:
        array: shape of the broadcast indices + (m, n).

    >>> import mlxc.core as mx
    >>> mx.gather_qqmm(mx.ones((1, 1, 16)), mx.ones((3, 2, 16)), rhs_indices=mx.array([0, 2])).shape
    (2, 1, 2)
    """
    op = "gather_qqmm"
    x, w = _quantized_operands(
        op, x, w, scales, group_size, bits, mode, global_scale_x, global_scale_w
    )
    if x.ndim < 2:
        raise ValueError(f"[{op}] x has {x.ndim} dimension; matrices are needed")
    lhs = _indices(op, "lhs_indices", lhs_indices, x.shape[:-2])
    rhs = _indices(op, "rhs_indices", rhs_indices, w.shape[:-2])
    return mx.gather_mm(
        _flat(x), mx.swapaxes(_flat(w), -1, -2), lhs, rhs, sorted_indices=sorted_indices
    )


def to_fp8(x, *, stream=None):
    """Numbers to 8-bit floats (E4M3), to nearest and half to even; beyond 448 they become 448, NaN
    stays NaN.

    Args:
        x (array): floating.

    Returns:
        array: uint8, the bits.

    Raises:
        ValueError: if ``x`` is not floating.

    >>> import mlxc.core as mx
    >>> mx.to_fp8(mx.array([1.0, 448.0])).tolist()
    [56, 126]
    """
    x = as_array(x)
    if not mx.issubdtype(x.dtype, mx.floating):
        raise ValueError(f"[to_fp8] was given {x.dtype}; a floating dtype is needed")
    return bind("to_fp8", (x.astype(mx.float32) if x.dtype == mx.float64 else x,), ())


@lru_cache(maxsize=1)
def _fp8_values():
    """What the 256 codes of E4M3 stand for."""
    values = []
    for code in range(256):
        exponent, mantissa = code >> 3 & 15, code & 7
        size = math.ldexp(mantissa + (8 if exponent else 0), max(exponent, 1) - 10)
        size = math.nan if code & 127 == 127 else size
        values.append(math.copysign(size, -1.0 if code > 127 else 1.0))
    return tuple(values)


def from_fp8(x, dtype=None, *, stream=None):
    """8-bit floats (E4M3) to numbers.

    Args:
        x (array): uint8, the bits.
        dtype (Dtype, optional): of the result, floating; bfloat16 by default.

    Returns:
        array: same shape.

    Raises:
        ValueError: if ``x`` is not uint8 or ``dtype`` not floating.

    >>> import mlxc.core as mx
    >>> mx.from_fp8(mx.to_fp8(mx.array([1.5])), mx.float32).tolist()
    [1.5]
    """
    x = as_array(x)
    dtype = mx.bfloat16 if dtype is None else dtype
    if x.dtype != mx.uint8:
        raise ValueError(f"[from_fp8] was given {x.dtype}; uint8 is needed")
    if not mx.issubdtype(dtype, mx.floating):
        raise ValueError(f"[from_fp8] dtype {dtype} is asked for; a floating one is needed")
    return mx.take(mx.array(_fp8_values(), dtype=dtype), x, axis=0)
