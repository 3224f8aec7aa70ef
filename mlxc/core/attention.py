"""Attention: arguments are checked and broadcast, and one ``attention`` row bound (float64:
composed of ``mx`` operations)."""

import mlxc.core as mx
from mlxc._graph import bind

from ._arguments import as_array
from ._products import quick_attention

__all__ = [
    "scaled_dot_product_attention",
]

_OP = "[scaled_dot_product_attention]"


def _check_heads(q, k, v):
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 4:
            raise ValueError(
                f"{_OP} {name} has {x.ndim} dimensions; (batch, heads, sequence, size) is needed"
            )
    if not q.shape[0] == k.shape[0] == v.shape[0]:
        raise ValueError(
            f"{_OP} batch sizes differ: q {q.shape[0]}, k {k.shape[0]}, v {v.shape[0]}"
        )
    if q.shape[3] != k.shape[3]:
        raise ValueError(
            f"{_OP} q has size {q.shape[3]} and k {k.shape[3]} along the last axis; they must agree"
        )
    if tuple(k.shape[1:3]) != tuple(v.shape[1:3]):
        raise ValueError(
            f"{_OP} k {tuple(k.shape)} and v {tuple(v.shape)} must have as many heads and as many "
            f"keys"
        )
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ValueError(
            f"{_OP} {q.shape[1]} query heads are no multiple of {k.shape[1]} key heads"
        )


def _prepare_mask(mask, dtype, shape):
    """The mask's kind and the mask, broadcast to ``shape``: bool, or added in float32 (float64 if
    that is computed)."""
    mask = as_array(mask)
    if mask.ndim > 4:
        raise ValueError(f"{_OP} the mask has {mask.ndim} dimensions; at most 4 are possible")
    if mask.dtype == mx.bool_:
        return "bool", mx.broadcast_to(mask, shape)
    if mx.result_type(mask.dtype, dtype) != dtype:
        raise ValueError(f"{_OP} a mask of {mask.dtype} does not promote to {dtype}; convert it")
    wide = mx.float64 if dtype == mx.float64 else mx.float32
    return "add", mx.broadcast_to(mask.astype(wide), shape)


def _attend_float64(q, k, v, scale, mask, causal, sinks):
    """The same, written out."""
    group = q.shape[1] // k.shape[1]
    k, v = (mx.repeat(x, group, axis=1) if group > 1 else x for x in (k, v))
    scores = (q * scale) @ mx.swapaxes(k, -1, -2)
    if mask is not None:
        scores = (
            mx.where(mask, scores, mx.finfo(mx.float64).min)
            if mask.dtype == mx.bool_
            else scores + mask
        )
    if causal:
        queries, keys = scores.shape[-2:]
        within = mx.arange(keys) <= mx.expand_dims(mx.arange(queries), 1) + (keys - queries)
        scores = mx.where(within, scores, mx.finfo(mx.float64).min)
    if sinks is None:
        return mx.softmax(scores, axis=-1) @ v
    column = mx.broadcast_to(
        mx.expand_dims(mx.expand_dims(sinks, -1), -1), tuple(scores.shape[:-1]) + (1,)
    )
    return mx.softmax(mx.concatenate([scores, column], axis=-1), axis=-1)[..., :-1] @ v


def scaled_dot_product_attention(
    q, k, v, *, scale, mask=None, sinks=None, force_fused=False, stream=None, _causal=False
):
    """Attention of several heads: softmax(scale * q @ k.T + mask) @ v, without storing the scores.

    Args:
        q (array): queries (B, N, T, D), floating.
        k (array): keys (B, K, S, D); each of the K heads serves N / K consecutive query heads.
        v (array): values (B, K, S, E).
        scale (float): factor on the scores, mostly 1 / sqrt(D).
        mask (str or array, optional): "causal" (the last query sees all keys, the one before it all
            but one, and so on); bool, true where a key is seen; or numbers added to the scores.
            Broadcast to (B, N, T, S).
        sinks (array, optional): (N,), for each head a score that takes part in the softmax and has
            value 0.
        force_fused (bool): accepted for compatibility: the computation is always fused.

    Returns:
        array: (B, N, T, E), of the promoted dtype of q, k and v. A query that sees no key gets the
        mean of the values.

    Raises:
        ValueError: for shapes, dtypes or a mask that do not fit.

    Formulas: Vaswani et al. 2017; computed as in Dao et al. 2022, "FlashAttention", sums in
    float32.

    >>> import mlxc.core as mx
    >>> x = mx.ones((1, 1, 2, 4))
    >>> mx.fast.scaled_dot_product_attention(x, x, x, scale=0.5, mask="causal").shape
    (1, 1, 2, 4)
    """
    if sinks is None and not _causal:
        found = quick_attention(q, k, v, scale, mask)
        if found is not None:
            return found
    q, k, v = as_array(q), as_array(k), as_array(v)
    _check_heads(q, k, v)
    dtype = mx.result_type(mx.result_type(q.dtype, k.dtype), v.dtype)
    if not mx.issubdtype(dtype, mx.floating):
        raise ValueError(
            f"{_OP} was given {q.dtype}, {k.dtype}, {v.dtype}; floating dtypes are needed"
        )
    q, k, v = (x.astype(dtype) for x in (q, k, v))
    causal, masking, extra = _causal, "none", []
    if isinstance(mask, str):
        if mask != "causal":
            raise ValueError(f"{_OP} mask {mask!r} is unknown; 'causal' or an array is possible")
        causal = True
    elif mask is not None:
        masking, mask = _prepare_mask(mask, dtype, (q.shape[0], q.shape[1], q.shape[2], k.shape[2]))
        extra.append(mask)
    if sinks is not None:
        sinks = as_array(sinks)
        if tuple(sinks.shape) not in ((q.shape[1],), (q.shape[0], q.shape[1])):
            raise ValueError(
                f"{_OP} sinks have shape {tuple(sinks.shape)}; ({q.shape[1]},), one a head, is "
                f"needed"
            )
        sinks = sinks.astype(mx.float64 if dtype == mx.float64 else mx.float32)
        extra.append(mx.broadcast_to(sinks, (q.shape[0], q.shape[1])))
    if dtype == mx.float64:
        return _attend_float64(
            q,
            k,
            v,
            scale,
            extra[0] if masking != "none" else None,
            causal,
            extra[-1] if sinks is not None else None,
        )
    return bind("attention", (q, k, v, *extra), (float(scale), causal, masking, sinks is not None))
