"""Scaled dot-product attention: one row.

Operands are q (batch, heads, queries, size), k (batch, kv_heads, keys, size), v (batch, kv_heads,
keys, width), then a mask (batch, heads, queries, keys) unless ``masking`` is "none", then sinks
(batch, heads) float32 if ``sinks``. Heads are a multiple of kv_heads. Derivatives form the scores
again with ``mx`` operations.
"""

from .rows import Kernel, register

_HALF_OR_SINGLE = ("float32", "float16", "bfloat16")
_MASKS = {"bool": "bool_", "add": "float32"}
_LEAST = -3.4028234663852886e38  # the score of what is masked


def _infer(shapes, dtypes, *, scale, causal, masking, sinks):
    q, k, v = (tuple(shape) for shape in shapes[:3])
    if dtypes[0] not in _HALF_OR_SINGLE or set(dtypes[:3]) != {dtypes[0]}:
        raise ValueError(
            f"[attention] was given {', '.join(dtypes[:3])}; one of {', '.join(_HALF_OR_SINGLE)} "
            f"is needed"
        )
    fits = (
        len(q) == len(k) == len(v) == 4
        and q[0] == k[0] == v[0]
        and k[1:3] == v[1:3]
        and q[3] == k[3]
    )
    if not fits or k[1] == 0 or q[1] % k[1]:
        raise ValueError(
            f"[attention] q {q}, k {k}, v {v}: (batch, heads, queries, size), (batch, kv_heads, "
            f"keys, size) and "
            "(batch, kv_heads, keys, width) are needed, heads a multiple of kv_heads"
        )
    rest = list(zip(shapes[3:], dtypes[3:]))
    expected = [(q[:3] + k[2:3], _MASKS[masking])] if masking != "none" else []
    expected += [(q[:2], "float32")] if sinks else []
    if [(tuple(shape), dtype) for shape, dtype in rest] != expected:
        raise ValueError(f"[attention] mask and sinks are {rest}; {expected} is needed")
    return [(q[:3] + v[3:], dtypes[0])]


def _grouped(mx, x, kv_heads):
    """(batch, heads, ...) as float32 (batch, kv_heads, group, ...)."""
    return mx.reshape(
        x.astype(mx.float32), (x.shape[0], kv_heads, x.shape[1] // kv_heads) + tuple(x.shape[2:])
    )


def _shared(mx, x):
    """Keys or values as float32 (batch, kv_heads, 1, keys, ...)."""
    return mx.expand_dims(x.astype(mx.float32), 2)


def _t(mx, x):
    return mx.swapaxes(x, -1, -2)


def _weights(mx, q, k, rest, scale, causal, masking, sinks):
    """The softmax weights (batch, kv_heads, group, queries, keys), what a sink takes, and where
    scores count."""
    kv_heads = k.shape[1]
    scores = (_grouped(mx, q, kv_heads) * scale) @ _t(mx, _shared(mx, k))
    seen = None
    if masking == "bool":
        seen = _grouped(mx, rest[0], kv_heads) != 0
        scores = mx.where(seen, scores, _LEAST)
    elif masking == "add":
        scores = scores + _grouped(mx, rest[0], kv_heads)
    if causal:
        queries, keys = scores.shape[-2:]
        within = mx.arange(keys) <= mx.expand_dims(mx.arange(queries), 1) + (keys - queries)
        scores = mx.where(within, scores, _LEAST)
        seen = within if seen is None else mx.logical_and(seen, within)
    if not sinks:
        return mx.softmax(scores, axis=-1), None, seen
    sink = mx.broadcast_to(
        mx.expand_dims(mx.expand_dims(_grouped(mx, rest[-1], kv_heads), -1), -1),
        scores.shape[:-1] + (1,),
    )
    weights = mx.softmax(mx.concatenate([scores, sink], axis=-1), axis=-1)
    return weights[..., :-1], weights[..., -1:], seen


def _vjp(mx, cts, outs, q, k, v, *rest, scale, causal, masking, sinks):
    """Dao et al. 2022, "FlashAttention", appendix B.4; a sink is a score whose value is 0."""
    kv_heads = k.shape[1]
    weights, sink_weights, seen = _weights(mx, q, k, rest, scale, causal, masking, sinks)
    ct, out = _grouped(mx, cts[0], kv_heads), _grouped(mx, outs[0], kv_heads)
    mean = mx.sum(ct * out, axis=-1, keepdims=True)
    ct_scores = weights * (ct @ _t(mx, _shared(mx, v)) - mean)
    if seen is not None:
        ct_scores = mx.where(seen, ct_scores, 0.0)
    ct_q = (ct_scores @ _shared(mx, k)) * scale
    ct_k = mx.sum(_t(mx, ct_scores) @ _grouped(mx, q, kv_heads), axis=2) * scale
    ct_v = mx.sum(_t(mx, weights) @ ct, axis=2)
    result = [mx.reshape(ct_q, q.shape).astype(q.dtype), ct_k.astype(k.dtype), ct_v.astype(v.dtype)]
    if masking != "none":
        result.append(mx.reshape(ct_scores, rest[0].shape) if masking == "add" else None)
    if sinks:
        result.append(mx.reshape(-mx.sum(sink_weights * mean, axis=(-2, -1)), rest[-1].shape))
    return tuple(result)


def _jvp(mx, tangents, outs, q, k, v, *rest, scale, causal, masking, sinks):
    kv_heads = k.shape[1]
    weights, sink_weights, seen = _weights(mx, q, k, rest, scale, causal, masking, sinks)
    dq, dk, dv = tangents[:3]
    d_scores = mx.zeros_like(weights)
    if dq is not None:
        d_scores = d_scores + (_grouped(mx, dq, kv_heads) * scale) @ _t(mx, _shared(mx, k))
    if dk is not None:
        d_scores = d_scores + (_grouped(mx, q, kv_heads) * scale) @ _t(mx, _shared(mx, dk))
    if masking == "add" and tangents[3] is not None:
        d_scores = d_scores + _grouped(mx, tangents[3], kv_heads)
    if seen is not None:
        d_scores = mx.where(seen, d_scores, 0.0)
    mean = mx.sum(weights * d_scores, axis=-1, keepdims=True)
    if sinks and tangents[-1] is not None:
        d_sink = mx.expand_dims(mx.expand_dims(_grouped(mx, tangents[-1], kv_heads), -1), -1)
        mean = mean + sink_weights * d_sink
    out = (weights * (d_scores - mean)) @ _shared(mx, v)
    if dv is not None:
        out = out + weights @ _shared(mx, dv)
    return (mx.reshape(out, outs[0].shape).astype(q.dtype),)


def _vmap(mx, batched, *operands, scale, causal, masking, sinks):
    """The examples join the batch."""
    count = next(x.shape[0] for x, is_batched in zip(operands, batched) if is_batched)
    joined = []
    for x, is_batched in zip(operands, batched):
        x = x if is_batched else mx.broadcast_to(x, (count,) + tuple(x.shape))
        joined.append(mx.reshape(x, (count * x.shape[1],) + tuple(x.shape[2:])))
    rest = joined[3:]
    out = mx.fast.scaled_dot_product_attention(
        *joined[:3],
        scale=scale,
        mask=rest[0] if masking != "none" else None,
        sinks=rest[-1] if sinks else None,
        _causal=causal,
    )
    return (mx.reshape(out, (count, -1) + tuple(out.shape[1:])),)


def _samples(mx, rng):
    def normal(*shape):
        return mx.array(rng.standard_normal(shape).astype("float32"))

    q, k, v = normal(2, 4, 5, 8), normal(2, 2, 7, 8), normal(2, 2, 7, 6)
    plain = dict(scale=0.4, causal=False, masking="none", sinks=False)
    return [
        ((q, k, v), plain),
        ((q, k, v), plain | dict(causal=True)),
        ((q, k, v, normal(2, 4, 5, 7)), plain | dict(masking="add")),
        ((q, k, v, normal(2, 4)), plain | dict(sinks=True)),
    ]


ROWS = register(
    "attention",
    [
        Kernel(
            "attention",
            doc="softmax(scale * q @ k.T + mask) @ v without storing the scores.",
            params=("scale", "causal", "masking", "sinks"),
            infer=_infer,
            vjp=_vjp,
            jvp=_jvp,
            vmap=_vmap,
            samples=_samples,
        )
    ],
)
