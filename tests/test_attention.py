"""Attention against the formula written out, its derivatives, every kind of mask, and bad input."""

import numpy as np
import pytest
from support import generator, to_mx, to_np

import mlxc.core as mx

TOLERANCE = {mx.float32: 2e-5, mx.float64: 1e-10, mx.float16: 4e-3, mx.bfloat16: 3e-2}
# (batch, query heads, key heads, queries, keys, size, width): few and many rows, whole and partial
# tiles.
SHAPES = [
    (1, 2, 1, 3, 5, 4, 6),
    (2, 4, 2, 70, 130, 16, 24),
    (1, 8, 2, 1, 300, 64, 64),
    (1, 2, 2, 64, 64, 32, 32),
    (1, 3, 1, 40, 261, 20, 33),
    (1, 1, 1, 9, 3, 8, 8),
]


def operands(shape, dtype=mx.float32):
    batch, heads, kv_heads, queries, keys, size, width = shape
    rng = generator("attention", shape)
    dims = (
        (batch, heads, queries, size),
        (batch, kv_heads, keys, size),
        (batch, kv_heads, keys, width),
    )
    return [to_mx(rng.standard_normal(d)).astype(dtype) for d in dims]


def reference(q, k, v, scale, mask=None, sinks=None):
    q, k, v = (to_np(x).astype(np.float64) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // k.shape[1], 1) for x in (k, v))
    scores = scale * q @ np.swapaxes(k, -1, -2)
    if isinstance(mask, str):
        queries, keys = scores.shape[-2:]
        mask = mx.array(np.arange(keys) <= np.arange(queries)[:, None] + keys - queries)
    if mask is not None:
        mask = to_np(mask)
        scores = (
            np.where(mask, scores, np.finfo(np.float32).min)
            if mask.dtype == bool
            else scores + mask
        )
    if sinks is not None:
        column = np.broadcast_to(
            to_np(sinks)[:, None, None].astype(np.float64), scores.shape[:-1] + (1,)
        )
        scores = np.concatenate([scores, column], -1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    return weights[..., : v.shape[2]] @ v


def masks(shape):
    batch, heads, _, queries, keys, _, _ = shape
    rng = generator("masks", shape)
    return {
        "none": None,
        "causal": "causal",
        "bool": mx.array(rng.random((batch, 1, queries, keys)) > 0.4),
        "added": mx.array(rng.standard_normal((queries, keys)).astype(np.float16)),
        "nothing seen": mx.zeros((queries, keys), dtype=mx.bool_),
    }


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["none", "causal", "bool", "added", "nothing seen"])
@pytest.mark.parametrize("sunk", [False, True])
def test_attention_equals_the_formula(shape, kind, sunk, dtype):
    q, k, v = operands(shape, dtype)
    mask = masks(shape)[kind]
    if kind == "added" and dtype == mx.bfloat16:
        mask = mask.astype(mx.bfloat16)
    sinks = to_mx(generator("sinks").standard_normal(shape[1])).astype(dtype) if sunk else None
    got = mx.fast.scaled_dot_product_attention(q, k, v, scale=0.3, mask=mask, sinks=sinks)
    assert got.dtype == dtype
    expected = reference(q, k, v, 0.3, mask, sinks)
    np.testing.assert_allclose(to_np(got), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_attention_reads_transposed_operands_in_place():
    rng = generator("transposed")
    q, k, v = (mx.array(rng.standard_normal((2, 9, 4, 8)).astype(np.float32)) for _ in range(3))
    turned = [mx.transpose(x, (0, 2, 1, 3)) for x in (q, k, v)]
    got = mx.fast.scaled_dot_product_attention(*turned, scale=0.5)
    np.testing.assert_allclose(to_np(got), reference(*turned, 0.5), rtol=2e-5, atol=2e-5)
    turned = [mx.swapaxes(x, -1, -2) for x in (q, k, v)]
    got = mx.fast.scaled_dot_product_attention(*turned, scale=0.5, mask="causal")
    np.testing.assert_allclose(to_np(got), reference(*turned, 0.5, "causal"), rtol=2e-5, atol=2e-5)


def test_attention_does_not_overflow():
    q, k, v = operands(SHAPES[0])
    got = mx.fast.scaled_dot_product_attention(q * 1e4, k * 1e4, v, scale=1.0)
    np.testing.assert_allclose(
        to_np(got), reference(q * 1e4, k * 1e4, v, 1.0), rtol=1e-3, atol=1e-3
    )


def test_scores_that_are_all_minus_infinity_give_nan_and_spare_other_queries():
    q, k, v = operands(SHAPES[0])
    mask = np.zeros((3, 5), dtype=np.float32)
    mask[1], mask[2, :4] = -np.inf, -np.inf
    got = to_np(mx.fast.scaled_dot_product_attention(q, k, v, scale=1.0, mask=mx.array(mask)))
    assert np.isnan(got[:, :, 1]).all() and np.isfinite(got[:, :, [0, 2]]).all()
    np.testing.assert_allclose(got[0, :, 2], np.tile(to_np(v)[0, 0, 4], (2, 1)), rtol=1e-5)


def test_no_keys_give_zeros_and_no_queries_nothing():
    q, k, v = operands((1, 2, 1, 3, 5, 4, 6))
    got = mx.fast.scaled_dot_product_attention(q, k[:, :, :0], v[:, :, :0], scale=1.0)
    assert got.shape == (1, 2, 3, 6) and not to_np(got).any()
    assert mx.fast.scaled_dot_product_attention(q[:, :, :0], k, v, scale=1.0).shape == (1, 2, 0, 6)


def written_out(q, k, v, mask, sinks, scale):
    """Differentiable, by other operations."""
    group = q.shape[1] // k.shape[1]
    scores = scale * (q @ mx.swapaxes(mx.repeat(k, group, axis=1), -1, -2))
    if mask is not None:
        scores = mx.where(mask, scores, -1e30) if mask.dtype == mx.bool_ else scores + mask
    e = mx.exp(scores)
    total = mx.sum(e, axis=-1, keepdims=True)
    if sinks is not None:
        total = total + mx.exp(mx.reshape(sinks, (1, -1, 1, 1)))
    return (e / total) @ mx.repeat(v, group, axis=1)


@pytest.mark.parametrize("kind", ["none", "causal", "bool", "added"])
@pytest.mark.parametrize("sunk", [False, True])
def test_derivatives_equal_those_of_the_formula(kind, sunk):
    shape = (2, 4, 2, 5, 7, 8, 6)
    q, k, v = operands(shape)
    mask = masks(shape)[kind]
    causal = mx.array(np.arange(7) <= np.arange(5)[:, None] + 2)
    fixed = causal if kind == "causal" else mask if kind == "bool" else None
    xs = [q, k, v]
    if kind == "added":
        xs.append(mask.astype(mx.float32))
    if sunk:
        xs.append(mx.array([0.1, 1.0, -1.0, 2.0]))

    def split(rest):
        return rest[0] if kind == "added" else fixed, rest[-1] if sunk else None

    def fused(q, k, v, *rest):
        mask, sinks = split(rest)
        mask = "causal" if kind == "causal" else mask
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=0.4, mask=mask, sinks=sinks)

    def plain(q, k, v, *rest):
        return written_out(q, k, v, *split(rest), 0.4)

    rng = generator("directions")
    tangents = [mx.array(rng.standard_normal(x.shape).astype(np.float32)) for x in xs]
    ct = mx.array(rng.standard_normal((2, 4, 5, 6)).astype(np.float32))
    results = [(mx.vjp(f, xs, [ct])[1], mx.jvp(f, xs, tangents)[1]) for f in (fused, plain)]
    for got, expected in zip(results[0][0] + results[0][1], results[1][0] + results[1][1]):
        np.testing.assert_allclose(to_np(got), to_np(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("axes", [(0, 0, 0), (0, None, None), (None, 0, 0)])
def test_vmap_equals_a_loop(axes):
    examples = [operands((2, 4, 2, 5, 7, 8, 6)) for _ in range(2)]
    examples[1] = [2 * x for x in examples[1]]
    given = [
        mx.stack([e[i] for e in examples]) if a == 0 else examples[0][i] for i, a in enumerate(axes)
    ]

    def function(q, k, v):
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=0.4, mask="causal")

    loop = [function(*(g[i] if a == 0 else g for g, a in zip(given, axes))) for i in range(2)]
    got = mx.vmap(function, in_axes=axes)(*given)
    np.testing.assert_allclose(to_np(got), np.stack([to_np(x) for x in loop]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda q, k, v: dict(q=q[0]),
        lambda q, k, v: dict(k=k[:1]),
        lambda q, k, v: dict(k=k[..., :3]),
        lambda q, k, v: dict(v=v[:, :, :4]),
        lambda q, k, v: dict(q=q[:, :3]),
        lambda q, k, v: dict(q=q.astype(mx.int32), k=k.astype(mx.int32), v=v.astype(mx.int32)),
        lambda q, k, v: dict(mask="future"),
        lambda q, k, v: dict(mask=mx.zeros((1, 1, 1, 3, 5))),
        lambda q, k, v: dict(mask=mx.zeros((2, 5))),
        lambda q, k, v: dict(mask=mx.zeros((3, 5), dtype=mx.complex64)),
        lambda q, k, v: dict(sinks=mx.zeros((3,))),
    ],
)
def test_what_does_not_fit_is_refused(call):
    q, k, v = operands((2, 4, 2, 3, 5, 4, 6))
    settings = dict(q=q, k=k, v=v, scale=1.0) | call(q, k, v)
    with pytest.raises(ValueError, match=r"\["):
        mx.eval(
            mx.fast.scaled_dot_product_attention(
                settings.pop("q"), settings.pop("k"), settings.pop("v"), **settings
            )
        )
