"""Attention on the device against float64, scores and all."""

import numpy as np
import pytest
from launching import BFLOAT16, launch, plan, result

import mlxc._backends.metal.attention  # noqa: F401  enters the launcher
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

FLOATS = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": BFLOAT16}
TOLERANCE = {"float32": 3e-6, "float16": 2e-3, "bfloat16": 1.6e-2}
LEAST = np.finfo("f4").min


def numbers(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(FLOATS[dtype])


def reference(q, k, v, scale, causal=False, mask=None, sinks=None):
    q, k, v = (x.astype("f8") for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = scale * q @ k.swapaxes(-1, -2)
    if mask is not None:
        scores = np.where(mask, scores, LEAST) if mask.dtype == bool else scores + mask
    if causal:
        queries, keys = scores.shape[-2:]
        within = np.arange(keys) <= np.arange(queries)[:, None] + keys - queries
        scores = np.where(within, scores, LEAST)
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    if sinks is not None:
        top = np.maximum(top, sinks[..., None, None])
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks[..., None, None] - top)
    return weights / total @ v


def attend(device, q, k, v, scale, causal=False, mask=None, sinks=None):
    masking = "none" if mask is None else "bool" if mask.dtype == bool else "add"
    rest = [x for x in (mask, sinks) if x is not None]
    out = [(q.dtype, (*q.shape[:3], v.shape[3]))]
    params = (scale, causal, masking, sinks is not None)
    return launch(device, "attention", [q, k, v, *rest], out, params)[0]


def agree(device, q, k, v, scale=0.3, dtype="float32", **settings):
    got = attend(device, q, k, v, scale, **settings).astype("f8")
    np.testing.assert_allclose(
        got, reference(q, k, v, scale, **settings), rtol=0, atol=TOLERANCE[dtype] * 3
    )


def operands(queries, keys, size, width=None, heads=2, kv_heads=1, dtype="float32"):
    return (
        numbers(1, 1, heads, queries, size, dtype=dtype),
        numbers(2, 1, kv_heads, keys, size, dtype=dtype),
        numbers(3, 1, kv_heads, keys, width or size, dtype=dtype),
    )


# Queries on both sides of FEW and of a tile, keys of a tile and of a slice.
LENGTHS = [(1, 1), (1, 33), (8, 7), (9, 31), (31, 32), (32, 33), (33, 9), (40, 70)]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_any_number_of_queries_and_keys_is_right(device, lengths, causal):
    agree(device, *operands(*lengths, 64), causal=causal)


@pytest.mark.parametrize("queries", [1, 10])
@pytest.mark.parametrize("size", [1, 8, 63, 64, 80, 96, 128, 256])
def test_any_size_of_a_head_is_right(device, size, queries):
    agree(device, *operands(queries, 17, size))


def test_sizes_beyond_the_tiles_go_one_by_one(device):
    agree(device, *operands(10, 9, 300, 1000), scale=0.05)
    assert plan("attention", operands(1, 1, 1025), [("f4", (1, 2, 1, 1025))],
                (1.0, False, "none", False)) is None  # fmt: skip


@pytest.mark.parametrize("queries", [2, 12])
def test_values_may_be_wider_or_narrower_than_keys(device, queries):
    agree(device, *operands(queries, 19, 64, 40))
    agree(device, *operands(queries, 19, 40, 72))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("queries", [3, 20])
def test_half_types_are_computed_in_float32(device, dtype, queries):
    agree(device, *operands(queries, 40, 64, dtype=dtype), dtype=dtype, causal=True)


@pytest.mark.parametrize("queries", [1, 9])
def test_heads_share_keys_in_groups(device, queries):
    q = numbers(4, 2, 6, queries, 16)
    k, v = numbers(5, 2, 2, 21, 16), numbers(6, 2, 2, 21, 16)
    agree(device, q, k, v)


@pytest.mark.parametrize("queries", [3, 33])
@pytest.mark.parametrize("sunk", [False, True], ids=["plain", "sinks"])
def test_masks_and_sinks_are_applied(device, queries, sunk):
    q, k, v = operands(queries, 37, 32)
    sinks = numbers(7, 1, 2) if sunk else None
    rng = np.random.default_rng(8)
    mask = rng.random((1, 2, queries, 37)) > 0.4
    mask[:, :, 0] = False  # a query that sees nothing averages
    agree(device, q, k, v, mask=mask, sinks=sinks)
    agree(device, q, k, v, mask=numbers(9, 1, 2, queries, 37), sinks=sinks, causal=True)
    hidden = np.broadcast_to(np.where(rng.random(37) > 0.5, 0, -np.inf).astype("f4"), mask.shape)
    agree(device, q, k, v, mask=hidden, sinks=sinks)


def test_queries_before_all_keys_average_them(device):
    agree(device, *operands(40, 5, 16), causal=True)
    agree(device, *operands(7, 2, 16), causal=True)


@pytest.mark.parametrize("queries", [2, 11])
def test_no_keys_give_zeros(device, queries):
    q, k, v = operands(queries, 0, 16)
    assert not attend(device, q, k, v, 1.0).any()
    assert not attend(device, q, k, v, 1.0, sinks=numbers(10, 1, 2)).any()
    hidden = np.full((1, 2, queries, 3), -np.inf, "f4")  # of keys that none sees: 0 / 0
    q, k, v = operands(queries, 3, 16)
    assert np.isnan(attend(device, q, k, v, 1.0, mask=hidden)).all()


@pytest.mark.parametrize("queries", [2, 11])
def test_operands_of_any_strides_are_read_as_they_lie(device, queries):
    q = numbers(11, 1, queries, 2, 32).transpose(0, 2, 1, 3)
    k, v = numbers(12, 1, 24, 2, 32).transpose(0, 2, 1, 3), numbers(13, 1, 2, 32, 48)[..., ::2]
    agree(device, q, k, v.swapaxes(2, 3))


def test_many_keys_of_few_queries_are_split_and_joined(device):
    q, k, v = operands(1, 1100, 16)
    sinks = numbers(14, 1, 2)
    steps = plan("attention", [q, k, v], [("f4", q.shape)], (1.0, False, "none", False))
    names = [step.function for step in steps]
    assert names == ["attention_vector2_float32", "attention_join_float32"]
    agree(device, q, k, v, sinks=sinks, causal=True)
    mask = np.broadcast_to(np.arange(1100) >= 600, (1, 2, 1, 1100))
    agree(device, q, k, v, mask=mask)


@pytest.mark.parametrize("queries", [2, 20])
def test_nan_reaches_the_queries_that_see_it_alone(device, queries):
    q, k, v = operands(queries, queries, 16)
    q[0, 0, 1, 3] = np.nan
    k[0, 0, -1, 0] = np.nan
    got = attend(device, q, k, v, 1.0, causal=True)
    assert np.isnan(got[0, 0, 1]).all() and np.isnan(got[0, :, -1]).all()
    assert not np.isnan(got[0, 1, :-1]).any()


def test_scores_of_any_magnitude_do_not_overflow(device):
    for queries in (1, 10):
        q, k, v = operands(queries, 30, 16)
        agree(device, q * 100, k * 100, v, scale=1.0)


def test_offsets_beyond_32_bits_are_kept():
    far = Operand("float16", (1, 2, 2**21, 128), (2**30, 2**29, 2**14, 2), 2)
    operands = [far, far, far]
    out = [result("f2", far.shape)]
    (step,) = LAUNCHERS["attention"](operands, out, (1.0, True, "none", False))
    assert np.frombuffer(step.arguments[6].data[:32], "i8")[1] == 2**28
    assert LAUNCHERS["attention"]([Operand("float64", far.shape, far.strides, 8)] * 3, out,
                                  (1.0, True, "none", False)) is None  # fmt: skip
