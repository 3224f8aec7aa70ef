"""Matrix products: plain, with an addend, between gathered matrices, and in segments of the inner
axis.

Operands arrive as stacks of matrices with equal leading axes: ``core`` promotes, broadcasts (by
strides of 0, without a copy) and puts axes in front of vectors. All rows accumulate half precision
in float32.
"""

from .rows import Kernel, register

_PRODUCTS = (
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "int32",
    "uint32",
    "int64",
    "uint64",
)
_FLOATS = _PRODUCTS[:4]


def _check(op, shapes, dtypes, allowed):
    a, b = shapes
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ValueError(
            f"[{op}] inner sizes differ: {tuple(a)} @ {tuple(b)}; the last axis of the first must "
            "equal the "
            f"second-to-last of the second."
        )
    if dtypes[0] != dtypes[1] or dtypes[0] not in allowed:
        raise TypeError(
            f"[{op}] was given {dtypes[0]} and {dtypes[1]}; both must be one of "
            f"{', '.join(allowed)}."
        )


def _adjoint(mx, x):
    """The conjugate transpose of each matrix."""
    x = mx.swapaxes(x, -1, -2)
    return mx.conj(x) if x.dtype == mx.complex64 else x


def _stack(mx, batched, operands):
    """All operands with the batch in front; those without one are repeated by a stride of 0."""
    size = next(x.shape[0] for x, has in zip(operands, batched) if has)
    return [x if has else mx.broadcast_to(x, (size, *x.shape)) for x, has in zip(operands, batched)]


def _matmul_infer(shapes, dtypes):
    _check("matmul", shapes, dtypes, _PRODUCTS)
    a, b = shapes
    if tuple(a[:-2]) != tuple(b[:-2]):
        raise ValueError(
            f"[matmul] leading axes differ: {tuple(a)} @ {tuple(b)}; broadcast them first."
        )
    return [((*a[:-1], b[-1]), dtypes[0])]


def _second_factor(mx, ct, a, b):
    """The cotangent of b in a @ b. Where b is a transpose (a layer's weight, say), so is the result
    of a product whose memory is laid out like what was transposed."""
    if mx._is_transposed(b):
        return _adjoint(mx, mx.matmul(_adjoint(mx, ct), a))
    return mx.matmul(_adjoint(mx, a), ct)


def _matmul_vjp(mx, cts, outs, a, b):
    (ct,) = cts
    return mx.matmul(ct, _adjoint(mx, b)), _second_factor(mx, ct, a, b)


def _matmul_vmap(mx, batched, a, b):
    return (mx.matmul(*_stack(mx, batched, (a, b))),)


def _addmm_infer(shapes, dtypes, *, alpha, beta):
    c, *product = shapes
    _check("addmm", product, dtypes[1:], _FLOATS)
    shape = (*product[0][:-1], product[1][-1])
    if (
        tuple(c) != shape
        or dtypes[0] != dtypes[1]
        or tuple(product[0][:-2]) != tuple(product[1][:-2])
    ):
        raise ValueError(
            f"[addmm] c has shape {tuple(c)}, the product {shape}; broadcast and convert c first."
        )
    return [(shape, dtypes[0])]


def _addmm_vjp(mx, cts, outs, c, a, b, *, alpha, beta):
    ct = cts[0] if alpha == 1 else cts[0] * alpha
    return (
        cts[0] if beta == 1 else cts[0] * beta,
        mx.matmul(ct, mx.swapaxes(b, -1, -2)),
        _second_factor(mx, ct, a, b),
    )


def _addmm_jvp(mx, tangents, outs, c, a, b, *, alpha, beta):
    dc, da, db = tangents
    parts = [] if dc is None else [dc * beta]
    parts += [] if da is None else [mx.matmul(da, b) * alpha]
    parts += [] if db is None else [mx.matmul(a, db) * alpha]
    return (sum(parts[1:], parts[0]) if parts else None,)


def _addmm_vmap(mx, batched, c, a, b, *, alpha, beta):
    return (mx.addmm(*_stack(mx, batched, (c, a, b)), alpha=alpha, beta=beta),)


def _gather_infer(shapes, dtypes):
    a, b, left, right = shapes
    _check("gather_mm", (a, b), dtypes[:2], _FLOATS)
    if (
        len(a) != 3
        or len(b) != 3
        or tuple(left) != tuple(right)
        or tuple(dtypes[2:]) != ("int64", "int64")
    ):
        raise ValueError(
            f"[gather_mm] was given shapes {shapes} and index types {dtypes[2:]}; the row takes "
            "two stacks of matrices "
            f"and two int64 index arrays of one shape."
        )
    return [((*left, a[1], b[2]), dtypes[0])]


def _gather_vjp(mx, cts, outs, a, b, left, right):
    (ct,) = cts
    stack = mx.reshape(ct, (-1, *ct.shape[-2:]))
    each = mx.arange(stack.shape[0], dtype=mx.int64)
    i, j = mx.reshape(left, (-1,)), mx.reshape(right, (-1,))
    da = mx.gather_mm(stack, mx.swapaxes(b, -1, -2), each, j)
    db = mx.gather_mm(mx.swapaxes(a, -1, -2), stack, i, each)
    return (
        mx.zeros(a.shape, a.dtype).at[i].add(da),
        mx.zeros(b.shape, b.dtype).at[j].add(db),
        None,
        None,
    )


def _gather_vmap(mx, batched, a, b, left, right):
    """Batched stacks are laid one after another, and the indices moved along."""
    size = next(x.shape[0] for x, has in zip((a, b, left, right), batched) if has)
    indices = []
    for x, index, has, indexed in zip((a, b), (left, right), batched[:2], batched[2:]):
        index = index if indexed else mx.broadcast_to(index, (size, *index.shape))
        if has:
            first = mx.arange(size, dtype=mx.int64) * x.shape[1]
            index = index + mx.reshape(first, (size,) + (1,) * (index.ndim - 1))
        indices.append(index)
    a, b = (mx.reshape(x, (-1, *x.shape[-2:])) if has else x for x, has in zip((a, b), batched))
    return (mx.gather_mm(a, b, *indices),)


def _segmented_infer(shapes, dtypes):
    a, b, segments = shapes
    _check("segmented_mm", (a, b), dtypes[:2], _FLOATS)
    if len(a) != 2 or len(b) != 2 or not segments or segments[-1] != 2 or dtypes[2] != "int64":
        raise ValueError(
            f"[segmented_mm] was given shapes {shapes} and segments of {dtypes[2]}; the row takes "
            "two matrices and "
            f"int64 segments of shape (..., 2)."
        )
    return [((*segments[:-1], a[0], b[1]), dtypes[0])]


def _segmented_vjp(mx, cts, outs, a, b, segments):
    ct = mx.reshape(cts[0], (-1, *cts[0].shape[-2:]))
    pairs = mx.reshape(segments, (-1, 2))
    k = mx.arange(a.shape[1], dtype=mx.int64)
    inside = mx.logical_and(k >= pairs[:, :1], k < pairs[:, 1:]).astype(ct.dtype)
    da = mx.matmul(ct, mx.swapaxes(b, 0, 1)) * mx.expand_dims(inside, 1)
    db = mx.matmul(mx.swapaxes(a, 0, 1), ct) * mx.expand_dims(inside, 2)
    return mx.sum(da, 0), mx.sum(db, 0), None


def _normal(mx, rng, *shape):
    return mx.array(rng.standard_normal(shape).astype("float32"))


def _matmul_samples(mx, rng):
    shapes = [((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 2)), ((1, 6), (6, 1)), ((9, 3), (3, 10))]
    return [((_normal(mx, rng, *a), _normal(mx, rng, *b)), {}) for a, b in shapes]


def _addmm_samples(mx, rng):
    out = []
    for lead, alpha, beta in (((), 1.0, 1.0), ((2,), 0.5, -2.0)):
        shapes = ((*lead, 3, 5), (*lead, 3, 4), (*lead, 4, 5))
        out.append((tuple(_normal(mx, rng, *s) for s in shapes), dict(alpha=alpha, beta=beta)))
    return out


def _gather_samples(mx, rng):
    left, right = (
        mx.array([[0, 2], [1, 1]], dtype=mx.int64),
        mx.array([[3, 0], [1, 3]], dtype=mx.int64),
    )
    return [((_normal(mx, rng, 3, 2, 4), _normal(mx, rng, 4, 4, 3), left, right), {})]


def _segmented_samples(mx, rng):
    segments = mx.array([[0, 2], [1, 5], [4, 4]], dtype=mx.int64)
    return [((_normal(mx, rng, 3, 5), _normal(mx, rng, 5, 2), segments), {})]


register(
    "matmul",
    [
        Kernel(
            "matmul",
            doc="The matrix product of each pair of matrices.",
            infer=_matmul_infer,
            vjp=_matmul_vjp,
            linear=True,
            vmap=_matmul_vmap,
            samples=_matmul_samples,
        ),
        Kernel(
            "addmm",
            doc="A matrix product times alpha, plus an addend times beta.",
            params=("alpha", "beta"),
            infer=_addmm_infer,
            vjp=_addmm_vjp,
            jvp=_addmm_jvp,
            vmap=_addmm_vmap,
            samples=_addmm_samples,
        ),
        Kernel(
            "gather_mm",
            doc="Products of matrices picked from two stacks by index.",
            infer=_gather_infer,
            vjp=_gather_vjp,
            linear=True,
            vmap=_gather_vmap,
            samples=_gather_samples,
        ),
        Kernel(
            "segmented_mm",
            doc="One product for each segment of the inner axis.",
            infer=_segmented_infer,
            vjp=_segmented_vjp,
            linear=True,
            samples=_segmented_samples,
        ),
    ],
)
