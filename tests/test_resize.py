"""Plans of growing sequences: made of the plan before, right whatever else changes, and few."""

import numpy as np
import pytest

import mlxc.core as mx
from mlxc._graph.evaluate import plan_cache_info


def resized():
    return plan_cache_info()["resized"]


class Cache:
    """Keys of a growing sequence, in memory that grows in steps."""

    step = 8

    def __init__(self, heads, size):
        self.keys = mx.zeros((1, heads, self.step, size))
        self.offset = 0

    def extended(self, keys):
        before = self.offset
        self.offset += keys.shape[2]
        if self.offset > self.keys.shape[2]:
            more = mx.zeros((1, keys.shape[1], self.step, keys.shape[3]))
            self.keys = mx.concatenate([self.keys[..., :before, :], more], axis=2)
        self.keys[..., before : self.offset, :] = keys
        return self.keys[..., : self.offset, :]


def attended(q, k):
    scores = q @ np.swapaxes(k, -1, -2)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ k


def test_attention_over_a_growing_cache_plans_once_a_step_of_memory():
    rng = np.random.default_rng(0)
    cache, seen, before = Cache(2, 4), np.zeros((1, 2, 0, 4), np.float32), resized()
    for _ in range(30):
        new = rng.standard_normal((1, 2, 1, 4)).astype(np.float32)
        seen = np.concatenate([seen, new], axis=2)
        x = mx.array(new) * 2 - mx.array(new)
        k = cache.extended(x)
        out = mx.fast.scaled_dot_product_attention(x, k, k, scale=1.0) + 0
        mx.eval(out)
        np.testing.assert_allclose(np.array(out), attended(new, seen), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(np.array(k), seen)
    assert resized() - before >= 15


def test_growing_sequences_keep_few_plans():
    x = mx.random.normal((1, 1, 300, 4))
    mx.eval(x)
    before = plan_cache_info()["plans"]
    for n in range(1, 300):
        k = x[..., :n, :]
        mx.eval(mx.fast.scaled_dot_product_attention(x[..., :1, :] * 2, k, k, scale=1.0))
    assert plan_cache_info()["plans"] - before < 20


def test_blocks_are_written_where_the_latest_key_says():
    before = resized()
    for n in range(6):
        x = mx.zeros((8, 3))
        mx.eval(x)
        x[n : n + 2] = mx.ones((2, 3)) * (n + 1)
        want = np.zeros((8, 3))
        want[n : n + 2] = n + 1
        np.testing.assert_array_equal(np.array(x), want)
    assert resized() - before >= 4


@pytest.mark.parametrize("grow", ["values", "rows", "step", "reversed"])
def test_what_programs_see_is_planned_anew(grow):
    data = np.arange(120, dtype=np.float32).reshape(12, 10)
    x = mx.array(data)
    for n in range(1, 6):
        key = {
            "values": np.s_[:, :n], "rows": np.s_[:n], "step": np.s_[::n], "reversed": np.s_[:n:-1],
        }[grow]  # fmt: skip
        np.testing.assert_array_equal(np.array(x[key] * 2 + 1), data[key] * 2 + 1)
        np.testing.assert_allclose(np.array(mx.sum(x[key] * 1, axis=0)), data[key].sum(0))


def test_sizes_that_kernels_make_reach_what_reads_them():
    for n in (3, 5, 4):
        x = mx.arange(24).reshape(6, 4).astype(mx.float32)
        y = mx.random.normal((4, n))
        mx.eval(x, y)
        a, b = np.array(x), np.array(y)
        z = mx.matmul(x, y)
        np.testing.assert_allclose(np.array(mx.matmul(x.T, z)), a.T @ (a @ b), rtol=1e-4)
        z = mx.concatenate([mx.matmul(x, y), mx.matmul(x, y)], axis=1)
        np.testing.assert_allclose(
            np.array(mx.sort(z, axis=1)), np.sort(np.concatenate([a @ b] * 2, 1), 1), rtol=1e-4
        )


def test_a_slice_that_comes_to_need_a_copy_is_copied():
    data = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    x = mx.array(data)
    for n in (8, 7, 5, 8):  # sort wants its lines dense; a reshape of 8 columns moves nothing
        part = mx.reshape(x[:, :n], (3, 2 * n))
        np.testing.assert_array_equal(
            np.array(mx.sort(part, axis=-1)), np.sort(data[:, :n].reshape(3, 2 * n), -1)
        )


def test_results_that_somebody_holds_get_their_own_sizes():
    x = mx.arange(40).reshape(4, 10)
    mx.eval(x)
    for n in range(2, 8):
        part = x[1:3, n - 2 : n]
        ordered = mx.sort(part, axis=1)
        mx.eval(part, ordered)
        np.testing.assert_array_equal(np.array(part), np.arange(40).reshape(4, 10)[1:3, n - 2 : n])
        assert np.array(ordered).shape == (2, 2)
