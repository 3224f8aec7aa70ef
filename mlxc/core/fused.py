"""Functions that models are made of, composed so that the scheduler runs each as one pass over a
row.

Rules: half-precision input is computed in float32 and rounded once at the end; gradients follow
    from the parts. The
namespace ``mlxc.core.fast`` publishes these and attention.
"""

from functools import lru_cache

import mlxc.core as mx
from mlxc._graph import Routine

from ._arguments import as_array, normalize_axes

__all__ = [
    "cross_entropy",
    "gated_delta_update",
    "layer_norm",
    "rms_norm",
    "rope",
    "softmax",
]


def _is_floating(x):
    return mx.issubdtype(x.dtype, mx.floating)


def _optional(value):
    return None if value is None else as_array(value)


def _wide(x):
    """float32 for anything narrower, as computations are done; float64 and complex stay."""
    return x if x.dtype in (mx.float32, mx.float64, mx.complex64) else x.astype(mx.float32)


def softmax(a, /, axis=None, *, precise=False, stream=None):
    """exp(a) / sum(exp(a)), shifted by the maximum so that nothing overflows.

    Args:
        a (array): any shape; integers and bool are computed in float32.
        axis (int or sequence of int, optional): the axes to normalise over; all by default.
        precise (bool): accepted for compatibility: sums of half-precision input are always float32
            here.

    Returns:
        array: same shape; the dtype of ``a`` if floating or complex, else float32.

    Raises:
        ValueError: if an axis is out of range or named twice.

    >>> import mlxc.core as mx
    >>> mx.softmax(mx.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    return _softmax((as_array(a),), axis)


@Routine
def _softmax(a, axis):
    dtype = a.dtype if mx.issubdtype(a.dtype, mx.inexact) else mx.float32
    axes = tuple(range(a.ndim)) if axis is None else normalize_axes("softmax", axis, a.ndim)
    x = _wide(a)
    if a.size == 0:
        return x.astype(dtype)
    size = mx.real(x) if dtype == mx.complex64 else x
    exponentials = mx.exp(x - mx.stop_gradient(mx.max(size, axis=axes, keepdims=True)))
    return (exponentials / mx.sum(exponentials, axis=axes, keepdims=True)).astype(dtype)


def _check_norm(op, x, parameters):
    """Refuse what cannot be normalised; the dtype of the result."""
    if x.ndim == 0:
        raise ValueError(
            f"[{op}] was given a 0-dimensional array; at least one dimension is needed"
        )
    if not _is_floating(x):
        raise ValueError(f"[{op}] was given {x.dtype}; a floating dtype is needed")
    dtype = x.dtype
    for name, value in parameters.items():
        if value is None:
            continue
        if value.ndim != 1 or value.shape[0] != x.shape[-1]:
            raise ValueError(
                f"[{op}] {name} has shape {tuple(value.shape)}; it must be ({x.shape[-1]},), the "
                f"last axis of x"
            )
        dtype = mx.result_type(dtype, value.dtype)
    if not mx.issubdtype(dtype, mx.floating):
        raise ValueError(f"[{op}] the operands promote to {dtype}; a floating dtype is needed")
    return dtype


def rms_norm(x, weight, eps, *, stream=None):
    """x / sqrt(mean(x²) + eps) * weight over the last axis.

    Args:
        x (array): (..., n), floating.
        weight (array, optional): (n,); None for no scaling.
        eps (float): added to the mean square.

    Returns:
        array: (..., n), of the promoted dtype.

    Raises:
        ValueError: for another dtype or a weight of another shape.

    Formula: Zhang and Sennrich 2019.

    >>> import mlxc.core as mx
    >>> mx.fast.rms_norm(mx.array([2.0, 2.0]), None, 0.0).tolist()
    [1.0, 1.0]
    """
    return _rms_norm((as_array(x), _optional(weight)), eps)


@Routine
def _rms_norm(x, weight, eps):
    dtype = _check_norm("rms_norm", x, {"weight": weight})
    wide = _wide(x)
    if x.size:
        wide = wide * mx.rsqrt(mx.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return (wide if weight is None else wide * weight).astype(dtype)


def layer_norm(x, weight, bias, eps, *, stream=None):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis.

    Args:
        x (array): (..., n), floating.
        weight (array, optional): (n,); None for no scaling.
        bias (array, optional): (n,); None for no shift.
        eps (float): added to the variance.

    Returns:
        array: (..., n), of the promoted dtype (of ``x`` if there is no weight).

    Raises:
        ValueError: for another dtype, or a weight or bias of another shape.

    Formula: Ba, Kiros and Hinton 2016.

    >>> import mlxc.core as mx
    >>> mx.fast.layer_norm(mx.array([1.0, 3.0]), None, None, 0.0).tolist()
    [-1.0, 1.0]
    """
    return _layer_norm((as_array(x), _optional(weight), _optional(bias)), eps)


@Routine
def _layer_norm(x, weight, bias, eps):
    dtype = _check_norm("layer_norm", x, {"weight": weight, "bias": bias})
    dtype = x.dtype if weight is None else dtype  # as in MLX: a bias alone does not promote
    wide = _wide(x)
    if x.size:
        centred = wide - mx.mean(wide, axis=-1, keepdims=True)
        wide = centred * mx.rsqrt(mx.mean(centred * centred, axis=-1, keepdims=True) + eps)
    wide = wide if weight is None else wide * weight
    return (wide if bias is None else wide + bias).astype(dtype)


@lru_cache(maxsize=64)
def _inverse_frequencies(half, base):
    """base ** (-i / half), as float64 numbers: float32 powers are off by many units at long
    positions."""
    return tuple(float(base) ** (-i / half) for i in range(half))


def _check_rope(a, dims, base, offset, freqs):
    if a.ndim < 3:
        raise ValueError(
            f"[rope] was given {a.ndim} dimensions; (batch, ..., sequence, features) is needed"
        )
    if not _is_floating(a):
        raise ValueError(f"[rope] was given {a.dtype}; a floating dtype is needed")
    if dims < 2 or dims % 2 or dims > a.shape[-1]:
        raise ValueError(
            f"[rope] dims is {dims}; it must be even, positive and at most {a.shape[-1]}"
        )
    if (base is None) == (freqs is None):
        raise ValueError("[rope] exactly one of base and freqs must be given")
    if freqs is not None and tuple(freqs.shape) != (dims // 2,):
        raise ValueError(f"[rope] freqs has shape {tuple(freqs.shape)}; it must be ({dims // 2},)")
    if not mx.issubdtype(offset.dtype, mx.integer):
        raise ValueError(f"[rope] offset is {offset.dtype}; an integer is needed")
    if offset.ndim > 1 or (offset.ndim == 1 and offset.shape[0] not in (1, a.shape[0])):
        raise ValueError(
            f"[rope] offset has shape {tuple(offset.shape)}; a scalar or a vector of {a.shape[0]} "
            f"is needed"
        )


def rope(a, dims, *, traditional, base, scale, offset, freqs=None, stream=None):
    """Rotary positional encoding: pairs of features are turned by angles that grow with the
    position.

    Args:
        a (array): (B, ..., T, D), floating.
        dims (int): how many of the D features are turned; the rest is left as it is. Even.
        traditional (bool): pairs are (2i, 2i + 1) if true, (i, i + dims / 2) if not.
        base (float, optional): pair i turns by base ** (-2i / dims) a position.
        scale (float): factor on positions.
        offset (int or array): position of the first element; an integer array of shape () or (B,).
        freqs (array, optional): (dims / 2,), instead of ``base``: pair i turns by 1 / freqs[i] a
            position.

    Returns:
        array: shape and dtype of ``a``.

    Raises:
        ValueError: for shapes or dtypes that do not fit, or unless exactly one of base and freqs is
            given.

    Formula: Su et al. 2021, "RoFormer".

    >>> import mlxc.core as mx
    >>> x = mx.ones((1, 1, 4))
    >>> mx.fast.rope(x, 4, traditional=False, base=10000.0, scale=1.0, offset=0).tolist()
    [[[1.0, 1.0, 1.0, 1.0]]]
    """
    arrays = (as_array(a), as_array(offset), _optional(freqs))
    return _rope(arrays, dims, bool(traditional), base, scale)


@Routine
def _rope(a, offset, freqs, dims, traditional, base, scale):
    _check_rope(a, dims, base, offset, freqs)
    x, half = _wide(a), dims // 2
    positions = mx.arange(a.shape[-2])
    if offset.ndim:
        offset = mx.reshape(offset, (-1,) + (1,) * (a.ndim - 2))
    positions = mx.expand_dims((positions + offset).astype(x.dtype) * scale, -1)
    if freqs is None:
        angles = positions * mx.array(_inverse_frequencies(half, base), dtype=x.dtype)
    else:
        angles = positions / freqs.astype(x.dtype)
    cos, sin = mx.cos(angles), mx.sin(angles)
    turned = x[..., :dims]
    if traditional:
        first, second = turned[..., 0::2], turned[..., 1::2]
    else:
        first, second = turned[..., :half], turned[..., half:]
    parts = [first * cos - second * sin, first * sin + second * cos]
    if traditional:
        out = mx.reshape(mx.stack(parts, axis=-1), turned.shape)
        parts = [out]
    if dims < a.shape[-1]:
        parts.append(x[..., dims:])
    return (parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=-1)).astype(a.dtype)


def cross_entropy(logits, targets, *, stream=None):
    """logsumexp(logits) - logits[target] over the last axis.

    Args:
        logits (array): (..., n), floating.
        targets (array): (...), integer class indices in [0, n).

    Returns:
        array: (...), float32.

    Raises:
        ValueError: for other dtypes or shapes.

    >>> import mlxc.core as mx
    >>> round(mx.fast.cross_entropy(mx.array([[0.0, 0.0]]), mx.array([1])).item(), 4)
    0.6931
    """
    logits, targets = as_array(logits), as_array(targets)
    if not _is_floating(logits):
        raise ValueError(
            f"[cross_entropy] the logits are {logits.dtype}; a floating dtype is needed"
        )
    if not mx.issubdtype(targets.dtype, mx.integer):
        raise ValueError(
            f"[cross_entropy] the targets are {targets.dtype}; integer class indices are needed"
        )
    if logits.ndim == 0 or tuple(targets.shape) != tuple(logits.shape[:-1]):
        raise ValueError(
            f"[cross_entropy] targets have shape {tuple(targets.shape)} and logits "
            f"{tuple(logits.shape)}; "
            "they must agree but for the last axis of the logits"
        )
    x = _wide(logits)
    chosen = mx.squeeze(mx.take_along_axis(x, mx.expand_dims(targets, -1), axis=-1), -1)
    return (mx.logsumexp(x, axis=-1) - chosen).astype(mx.float32)


def _check_gated_delta(q, k, v, gamma, beta, state, mask):
    op = "[gated_delta_update]"
    if q.ndim != 4 or tuple(q.shape) != tuple(k.shape) or v.ndim != 4:
        raise ValueError(
            f"{op} q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}: "
            "q and k must be (B, T, Hk, Dk) and v (B, T, Hv, Dv)"
        )
    (batch, steps, k_heads, k_size), (v_heads, v_size) = q.shape, v.shape[2:]
    if tuple(v.shape[:2]) != (batch, steps) or k_heads == 0 or v_heads % k_heads:
        raise ValueError(
            f"{op} v {tuple(v.shape)} does not fit k {tuple(k.shape)}; Hv must be a multiple of Hk"
        )
    rates = (batch, steps, v_heads)
    if tuple(gamma.shape) not in (rates, rates + (k_size,)) or tuple(beta.shape) != rates:
        raise ValueError(
            f"{op} gamma {tuple(gamma.shape)}, beta {tuple(beta.shape)}: both must be {rates} "
            f"(or gamma {rates + (k_size,)})"
        )
    if state is not None and tuple(state.shape) != (batch, v_heads, v_size, k_size):
        raise ValueError(
            f"{op} the state has shape {tuple(state.shape)}; it must be "
            f"{(batch, v_heads, v_size, k_size)}"
        )
    if mask is not None and tuple(mask.shape) != (batch, steps):
        raise ValueError(
            f"{op} the mask has shape {tuple(mask.shape)}; it must be {(batch, steps)}"
        )


def gated_delta_update(q, k, v, gamma, beta, initial_state=None, mask=None, stream=None):
    """Linear attention by the gated delta rule: a state matrix a head that decays, and is corrected
    towards v at k.

    For every step: S = gamma S; S = S + beta (v - S k) kᵀ; out = S q.

    Args:
        q (array): queries (B, T, Hk, Dk), floating.
        k (array): keys (B, T, Hk, Dk). Each serves Hv / Hk consecutive heads of values.
        v (array): values (B, T, Hv, Dv).
        gamma (array): decay (B, T, Hv), or (B, T, Hv, Dk) for one a key feature.
        beta (array): rate of correction (B, T, Hv).
        initial_state (array, optional): (B, Hv, Dv, Dk); zeros by default.
        mask (array, optional): bool (B, T); where it is false the state is left alone and the
            output 0.

    Returns:
        list of array: outputs (B, T, Hv, Dv) of the dtype of ``q``, and the last state (B, Hv, Dv,
            Dk).

    Raises:
        ValueError: for shapes that do not fit.

    Formula: Yang, Kautz and Hatamizadeh 2024, "Gated delta networks", eq. 10. Steps are computed
    one by one.

    >>> import mlxc.core as mx
    >>> one = mx.ones((1, 1, 1, 1))
    >>> rate = mx.ones((1, 1, 1))
    >>> out, state = mx.fast.gated_delta_update(one, one, one, rate, rate)
    >>> out.item(), state.item()
    (1.0, 1.0)
    """
    q, k, v, gamma, beta = (as_array(x) for x in (q, k, v, gamma, beta))
    initial_state = None if initial_state is None else as_array(initial_state)
    mask = None if mask is None else as_array(mask)
    _check_gated_delta(q, k, v, gamma, beta, initial_state, mask)
    batch, steps, k_heads, k_size = q.shape
    v_heads, v_size = v.shape[2:]
    state_dtype = mx.float32 if initial_state is None else initial_state.dtype
    state = (
        mx.zeros((batch, v_heads, v_size, k_size))
        if initial_state is None
        else _wide(initial_state)
    )
    repeat = v_heads // k_heads
    queries, keys = (_wide(mx.repeat(x, repeat, axis=2) if repeat > 1 else x) for x in (q, k))
    values, rates = _wide(v), mx.expand_dims(_wide(beta), -1)
    decay = mx.expand_dims(_wide(gamma), -2 if gamma.ndim == 4 else -1)
    decay = decay if gamma.ndim == 4 else mx.expand_dims(decay, -1)
    outs = []
    for t in range(steps):
        key = mx.expand_dims(keys[:, t], -2)
        faded = state * decay[:, t]
        error = (values[:, t] - mx.sum(faded * key, axis=-1)) * rates[:, t]
        updated = faded + mx.expand_dims(error, -1) * key
        outs.append(mx.sum(updated * mx.expand_dims(queries[:, t], -2), axis=-1))
        if mask is None:
            state = updated
        else:
            keep = mx.reshape(mask[:, t], (-1, 1, 1, 1))
            outs[-1] = mx.where(keep[..., 0], outs[-1], 0.0)
            state = mx.where(keep, updated, state)
    out = mx.stack(outs, axis=1) if outs else mx.zeros(v.shape)
    return [out.astype(q.dtype), state.astype(state_dtype)]
