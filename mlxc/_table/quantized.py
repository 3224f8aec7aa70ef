"""Quantized matrices: packing, unpacking, and products with a packed matrix.

A packed matrix is uint32 words (..., rows, columns * bits / 32) with scales (..., rows, columns /
group_size) and, in the mode "affine", biases like the scales; other modes have uint8 scales. Codes
are integers, so nothing is differentiated by them; scales and biases of the affine mode are
ordinary numbers.
"""

from .rows import NO_GRADIENT, Kernel, register

_FLOATING = ("float32", "float16", "bfloat16")
_CODES = NO_GRADIENT(
    "codes are integers; compute the loss from dequantize(...), whose scales and biases have "
    "gradients"
)


def _words(columns, bits):
    return columns * bits // 32


def _check_packed(op, shapes, dtypes, group_size, bits, mode):
    """Refuse a packed matrix whose parts do not fit each other; its shape once unpacked."""
    affine = mode == "affine"
    w, scales = tuple(shapes[0]), tuple(shapes[1])
    if dtypes[0] != "uint32" or len(w) < 2:
        raise ValueError(
            f"[{op}] w is {dtypes[0]} of shape {w}; packed uint32 of at least 2 dimensions is "
            f"needed"
        )
    if dtypes[1] not in (_FLOATING if affine else ("uint8",)):
        raise ValueError(
            f"[{op}] scales are {dtypes[1]}; {'floating' if affine else 'uint8'} is needed in "
            f"mode {mode!r}"
        )
    columns = w[-1] * 32 // bits
    expected = w[:-1] + (columns // group_size,)
    if scales != expected or columns % group_size:
        raise ValueError(
            f"[{op}] w of shape {w} with {bits} bits in groups of {group_size} needs scales of "
            f"shape {expected}; "
            f"{scales} was given"
        )
    if affine and (tuple(shapes[2]), dtypes[2]) != (scales, dtypes[1]):
        raise ValueError(
            f"[{op}] biases are {dtypes[2]} of shape {tuple(shapes[2])}; they must be like the "
            f"scales"
        )
    return w[:-1] + (columns,)


def _quantize_infer(shapes, dtypes, *, group_size, bits, mode, has_global):
    shape, dtype = tuple(shapes[0]), dtypes[0]
    if dtype not in _FLOATING:
        raise ValueError(f"[quantize] was given {dtype}; one of {', '.join(_FLOATING)} is needed")
    if len(shape) < 2 or shape[-1] % group_size:
        raise ValueError(
            f"[quantize] shape {shape}: the last of at least 2 axes must be a multiple of "
            f"{group_size}"
        )
    codes = (shape[:-1] + (_words(shape[-1], bits),), "uint32")
    groups = shape[:-1] + (shape[-1] // group_size,)
    return (
        [codes, (groups, dtype), (groups, dtype)]
        if mode == "affine"
        else [codes, (groups, "uint8")]
    )


def _quantize_vmap(mx, batched, w, *rest, group_size, bits, mode, has_global):
    if has_global and batched[1]:
        raise ValueError("[quantize] vmap over the global scale is not possible; use one for all")
    return mx.quantize(w, group_size, bits, mode, global_scale=rest[0] if has_global else None)


def _dequantize_infer(shapes, dtypes, *, group_size, bits, mode, dtype, has_global):
    return [(_check_packed("dequantize", shapes, dtypes, group_size, bits, mode), dtype)]


def _sum_groups(mx, x, group_size):
    return mx.sum(mx.reshape(x, tuple(x.shape[:-1]) + (-1, group_size)), axis=-1)


def _plain_codes(mx, w, scales, group_size, bits):
    """The codes themselves as numbers."""
    ones = mx.ones(scales.shape)
    return mx.dequantize(w, ones, mx.zeros(scales.shape), group_size, bits)


def _parts_vjp(mx, ct, w, scales, biases, group_size, bits):
    """Cotangents of scales and biases from the unpacked matrix's."""
    ct = ct.astype(mx.float32)
    ct_scales = _sum_groups(mx, ct * _plain_codes(mx, w, scales, group_size, bits), group_size)
    return ct_scales.astype(scales.dtype), _sum_groups(mx, ct, group_size).astype(biases.dtype)


def _dequantize_vjp(mx, cts, outs, w, scales, *rest, group_size, bits, mode, dtype, has_global):
    if mode != "affine":
        return (None,) * (2 + len(rest))
    return (None, *_parts_vjp(mx, cts[0], w, scales, rest[0], group_size, bits))


def _like_biases(mx, d_scales, d_biases, scales):
    """Tangents with zeros for those that are missing."""
    zeros = mx.zeros(scales.shape, dtype=scales.dtype)
    return zeros if d_scales is None else d_scales, zeros if d_biases is None else d_biases


def _dequantize_jvp(
    mx, tangents, outs, w, scales, *rest, group_size, bits, mode, dtype, has_global
):
    if mode != "affine":
        return (mx.zeros_like(outs[0]),)
    parts = _like_biases(mx, tangents[1], tangents[2], scales)
    return (mx.dequantize(w, *parts, group_size, bits, dtype=outs[0].dtype),)


def _all_batched(mx, batched, operands):
    """Operands with an axis in front, of the size of those that are batched."""
    count = next(x.shape[0] for x, is_batched in zip(operands, batched) if is_batched)
    return [
        x if is_batched else mx.broadcast_to(x, (count,) + tuple(x.shape))
        for x, is_batched in zip(operands, batched)
    ]


def _dequantize_vmap(mx, batched, w, scales, *rest, group_size, bits, mode, dtype, has_global):
    if has_global and batched[-1]:
        raise ValueError("[dequantize] vmap over the global scale is not possible; use one for all")
    own = 3 if mode == "affine" else 2
    parts = _all_batched(mx, batched[:own], (w, scales, *rest)[:own])
    out = mx.dequantize(
        *parts, group_size=group_size, bits=bits, mode=mode, dtype=getattr(mx, dtype),
        global_scale=rest[-1] if has_global else None,
    )  # fmt: skip
    return (out,)


def _product_shape(op, shapes, dtypes, transpose, group_size, bits, mode):
    """Of x times the unpacked matrix, without batch axes."""
    x, dtype = tuple(shapes[0]), dtypes[0]
    if dtype not in _FLOATING or len(x) < 2:
        raise ValueError(f"[{op}] x is {dtype} of shape {x}; a floating matrix is needed")
    rows, columns = _check_packed(op, shapes[1:], dtypes[1:], group_size, bits, mode)[-2:]
    inner, outer = (columns, rows) if transpose else (rows, columns)
    if x[-1] != inner:
        raise ValueError(
            f"[{op}] x of shape {x} and a matrix that is {(rows, columns)} unpacked do not fit"
            f"{' (transposed)' if transpose else ''}; the last axis of x must be {inner}"
        )
    return (x[-2], outer)


def _matmul_infer(shapes, dtypes, *, transpose, group_size, bits, mode):
    out = _product_shape("quantized_matmul", shapes, dtypes, transpose, group_size, bits, mode)
    return [(out, dtypes[0])]


def _matmul_vjp(mx, cts, outs, x, w, scales, *rest, transpose, group_size, bits, mode):
    biases = rest[0] if rest else None
    ct_x = mx.quantized_matmul(
        cts[0], w, scales, biases, not transpose, group_size, bits, mode
    ).astype(x.dtype)
    if mode != "affine":
        return ct_x, None, None
    left, right = (cts[0], x) if transpose else (x, cts[0])
    ct_w = mx.swapaxes(left, 0, 1).astype(mx.float32) @ right.astype(mx.float32)
    return (ct_x, None, *_parts_vjp(mx, ct_w, w, scales, biases, group_size, bits))


def _matmul_jvp(mx, tangents, outs, x, w, scales, *rest, transpose, group_size, bits, mode):
    out = mx.zeros_like(outs[0])
    settings = (transpose, group_size, bits, mode)
    if tangents[0] is not None:
        out = out + mx.quantized_matmul(
            tangents[0], w, scales, rest[0] if rest else None, *settings
        )
    if mode == "affine" and (tangents[2] is not None or tangents[3] is not None):
        out = out + mx.quantized_matmul(
            x, w, *_like_biases(mx, tangents[2], tangents[3], scales), *settings
        )
    return (out,)


def _matmul_vmap(mx, batched, x, *packed, transpose, group_size, bits, mode):
    settings = dict(transpose=transpose, group_size=group_size, bits=bits, mode=mode)
    if not any(batched[1:]):
        return (mx.quantized_matmul(x, *packed, **settings),)
    packed = _all_batched(mx, batched[1:], packed)
    return (mx.quantized_matmul(x, *packed, **settings),)


def _gather_infer(shapes, dtypes, *, transpose, group_size, bits, mode):
    out = _product_shape("gather_qmm", shapes[:-2], dtypes[:-2], transpose, group_size, bits, mode)
    if (
        dtypes[-2:] != ["uint32", "uint32"]
        or len(shapes[-1]) != 1
        or tuple(shapes[-1]) != tuple(shapes[-2])
    ):
        raise ValueError(
            "[gather_qmm] lhs_indices and rhs_indices must be uint32 vectors of one size"
        )
    if len(shapes[0]) != 3 or len(shapes[1]) != 3:
        raise ValueError("[gather_qmm] x and w must have 3 dimensions")
    return [(tuple(shapes[-1]) + out, dtypes[0])]


def _gather_vjp(mx, cts, outs, x, w, scales, *rest, transpose, group_size, bits, mode):
    biases, (lhs, rhs) = rest[0] if mode == "affine" else None, rest[-2:]
    ct_items = mx.gather_qmm(
        cts[0],
        w,
        scales,
        biases,
        rhs_indices=rhs,
        transpose=not transpose,
        group_size=group_size,
        bits=bits,
        mode=mode,
    )
    ct_x = mx.zeros(x.shape, dtype=x.dtype).at[lhs].add(ct_items.astype(x.dtype))
    if mode != "affine":
        return ct_x, None, None, None, None
    items = mx.take(x, lhs, axis=0)
    left, right = (cts[0], items) if transpose else (items, cts[0])
    ct_w = mx.swapaxes(left, -1, -2).astype(mx.float32) @ right.astype(mx.float32)
    shape = tuple(scales.shape[:-1]) + (scales.shape[-1] * group_size,)
    ct_w = mx.zeros(shape).at[rhs].add(ct_w)
    return (ct_x, None, *_parts_vjp(mx, ct_w, w, scales, biases, group_size, bits), None, None)


def _gather_jvp(mx, tangents, outs, x, w, scales, *rest, transpose, group_size, bits, mode):
    biases, (lhs, rhs) = rest[0] if mode == "affine" else None, rest[-2:]
    settings = dict(
        lhs_indices=lhs,
        rhs_indices=rhs,
        transpose=transpose,
        group_size=group_size,
        bits=bits,
        mode=mode,
    )
    out = mx.zeros_like(outs[0])
    if tangents[0] is not None:
        out = out + mx.gather_qmm(tangents[0], w, scales, biases, **settings)
    if mode == "affine" and (tangents[2] is not None or tangents[3] is not None):
        out = out + mx.gather_qmm(
            x, w, *_like_biases(mx, tangents[2], tangents[3], scales), **settings
        )
    return (out,)


def _normal(mx, rng, *shape):
    return mx.array(rng.standard_normal(shape).astype("float32"))


_SETTINGS = dict(group_size=32, bits=4, mode="affine")


def _quantize_samples(mx, rng):
    return [((_normal(mx, rng, 3, 64),), _SETTINGS | dict(has_global=False))]


def _dequantize_samples(mx, rng):
    packed = mx.quantize(_normal(mx, rng, 3, 64), 32, 4)
    return [(tuple(packed), _SETTINGS | dict(dtype="float32", has_global=False))]


def _matmul_samples(mx, rng):
    packed = mx.quantize(_normal(mx, rng, 5, 64), 32, 4)
    return [
        ((_normal(mx, rng, 2, n), *packed), _SETTINGS | dict(transpose=transpose))
        for n, transpose in ((64, True), (5, False))
    ]


def _gather_samples(mx, rng):
    packed = mx.quantize(_normal(mx, rng, 3, 5, 64), 32, 4)
    lhs, rhs = (mx.array(i).astype(mx.uint32) for i in ([0, 1, 1], [2, 0, 2]))
    return [((_normal(mx, rng, 2, 4, 64), *packed, lhs, rhs), _SETTINGS | dict(transpose=True))]


ROWS = register(
    "quantized",
    [
        Kernel(
            "quantize",
            doc="Numbers to packed codes with a scale (and bias) a group.",
            params=("group_size", "bits", "mode", "has_global"),
            outputs=lambda group_size, bits, mode, has_global: 3 if mode == "affine" else 2,
            infer=_quantize_infer,
            vjp=_CODES,
            vmap=_quantize_vmap,
            samples=_quantize_samples,
            contiguous=True,
        ),
        Kernel(
            "dequantize",
            doc="Packed codes to numbers.",
            params=("group_size", "bits", "mode", "dtype", "has_global"),
            infer=_dequantize_infer,
            vjp=_dequantize_vjp,
            jvp=_dequantize_jvp,
            vmap=_dequantize_vmap,
            samples=_dequantize_samples,
            contiguous=True,
        ),
        Kernel(
            "to_fp8",
            doc="Numbers to 8-bit floats (E4M3), kept as uint8.",
            infer=lambda shapes, dtypes: [(tuple(shapes[0]), "uint8")],
            vjp=_CODES,
            vmap=lambda mx, batched, x: (mx.to_fp8(x),),
            samples=lambda mx, rng: [((_normal(mx, rng, 3, 7),), {})],
            contiguous=True,
        ),
        Kernel(
            "quantized_matmul",
            doc="Product of a matrix with a packed matrix.",
            params=("transpose", "group_size", "bits", "mode"),
            infer=_matmul_infer,
            vjp=_matmul_vjp,
            jvp=_matmul_jvp,
            vmap=_matmul_vmap,
            samples=_matmul_samples,
            contiguous=True,
        ),
        Kernel(
            "gather_qmm",
            doc="Products of chosen matrices with chosen packed matrices.",
            params=("transpose", "group_size", "bits", "mode"),
            infer=_gather_infer,
            vjp=_gather_vjp,
            jvp=_gather_jvp,
            samples=_gather_samples,
            contiguous=True,
        ),
    ],
)
