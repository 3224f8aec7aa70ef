"""Functions of shapes alone: composed once for each kind of arguments, right for every kind."""

import functools
import math
import threading

import numpy as np
import pytest

import mlxc.core as mx
from mlxc._graph import Routine, is_evaluated


def counted():
    """A routine, and how often its function has run."""
    runs = []

    @Routine
    def scaled(x, y, factor):
        runs.append((x.shape, factor))
        if x.shape[-1] == 7:
            raise ValueError("seven")
        z = x * factor + mx.arange(x.shape[-1])
        return z if y is None else z + y

    return scaled, runs


def test_a_function_runs_once_for_each_kind_of_arguments():
    scaled, runs = counted()
    for k in range(4):
        for size in (3, 5):
            x = mx.full((2, size), k, mx.float32)
            want = np.full((2, size), 2.0 * k) + np.arange(size)
            np.testing.assert_array_equal(np.array(scaled((x, None), 2.0)), want)
            np.testing.assert_array_equal(np.array(scaled((x, x), 2.0)), want + k)
    assert len(runs) == 4


@pytest.mark.parametrize("pair", [(1, 1.0), (1, True), (0.0, -0.0)])
def test_equal_numbers_of_other_kinds_are_told_apart(pair):
    scaled, runs = counted()
    for factor in pair:
        scaled((mx.ones((3,)), None), factor)
    assert [math.copysign(1, factor) for _, factor in runs] == [math.copysign(1, f) for f in pair]
    assert [type(factor) for _, factor in runs] == [type(factor) for factor in pair]


def test_arguments_of_other_types_have_the_function_run():
    scaled, runs = counted()
    for _ in range(3):
        assert scaled((mx.ones((2,)), None), np.float32(3)).tolist() == [3.0, 4.0]
        assert scaled((mx.ones((2,)), None), mx.array(3.0)).tolist() == [3.0, 4.0]
    assert len(runs) == 6


def test_what_is_refused_once_is_refused_again():
    scaled, runs = counted()
    for _ in range(2):
        with pytest.raises(ValueError, match="seven"):
            scaled((mx.ones((7,)), None), 1.0)
    assert len(runs) == 2


def test_routines_are_seen_by_every_transform():
    scaled, _ = counted()
    x = mx.array([1.0, 2.0, 3.0])
    for _ in range(2):
        grad = mx.grad(lambda x: mx.sum(scaled((x, x), 2.0) ** 2))(x)
        assert grad.tolist() == [2 * 3 * (3 * v + k) for k, v in enumerate([1.0, 2.0, 3.0])]
        rows = mx.vmap(lambda x: scaled((x, None), 2.0))(mx.stack([x, x + 1]))
        assert rows.tolist() == [[2.0, 5.0, 8.0], [4.0, 7.0, 10.0]]
        assert mx.compile(lambda x: scaled((x, None), 2.0))(x).tolist() == [2.0, 5.0, 8.0]


def test_an_input_that_is_the_result_is_another_handle():
    same = Routine(lambda x: x)
    x = mx.array([1.0])
    for _ in range(2):
        y = same((x,))
        y += 1
    assert x.tolist() == [1.0]


def test_several_results_are_a_tuple_whichever_comes_first():
    @Routine
    def both(x):
        first = x + 1
        return first * 2, first, x

    for k in range(3):
        assert [y.item() for y in both((mx.array(float(k)),))] == [2 * k + 2, k + 1, k]


def test_shapes_and_dtypes_are_told_apart_and_those_of_other_numbers_refused():
    runs = []

    @Routine
    def filled(x, shape, dtype):
        runs.append(shape)
        return mx.broadcast_to(x, shape).astype(dtype)

    for _ in range(2):
        for shape, dtype in (((2,), mx.int32), ((2,), mx.int8), ((2, 1), mx.int8)):
            made = filled((mx.array(3),), shape, dtype)
            assert (made.shape, made.dtype) == (shape, dtype)
        with pytest.raises(TypeError):
            filled((mx.array(3),), (2.0,), mx.int32)
    assert len(runs) == 5


def test_results_of_a_pending_routine_are_evaluated_together():
    @functools.partial(Routine, pending=True)
    def both(x):
        return x + 1, x * 2

    x = mx.array(3.0)
    for _ in range(3):
        first, second = both((x,))
        assert not is_evaluated(first) and not is_evaluated(second)
        assert (second - 2 * x).item() == 0.0  # among other nodes
        first, second = both((x,))
        mx.eval(second)  # by itself
        assert is_evaluated(first)
        x = first
    assert x.item() == 6.0


def test_a_state_is_advanced_by_each_call_in_whichever_thread():
    step = Routine(lambda x, y: (x + 1, x + y), pending=True).advance
    state, seen = [mx.array(0)], []

    def work():
        for _ in range(200):
            seen.append(step(state, (mx.array(0),)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(x.item() for x in seen) == list(range(800))
    assert state[0].item() == 800


def test_norms_positions_and_packed_products_are_composed_once(monkeypatch):
    x, w = mx.ones((2, 3, 64)), mx.ones((64,))
    packed = mx.quantize(mx.ones((4, 64)))
    calls = {
        "rms_norm": lambda: mx.fast.rms_norm(x, w, 1e-5),
        "layer_norm": lambda: mx.fast.layer_norm(x, w, w, 1e-5),
        "rope": lambda: mx.fast.rope(
            x, 64, traditional=False, base=1e4, scale=1.0, offset=np.random.randint(9)
        ),
        "softmax": lambda: mx.softmax(x, axis=-1),
        "quantized_matmul": lambda: mx.quantized_matmul(x, *packed),
    }
    first = {name: call() for name, call in calls.items()}
    monkeypatch.setattr(mx, "result_type", None)  # what their functions ask first
    monkeypatch.setattr(mx, "issubdtype", None)
    for name, call in calls.items():
        assert call().shape == first[name].shape


@pytest.mark.parametrize(
    "function",
    [
        lambda x: mx.einsum("ij,jk->ik", x, x),
        lambda x: mx.inner(x, x),
        lambda x: mx.tensordot(x, x, 1),
        lambda x: mx.eye(x.shape[0], dtype=x.dtype),
        lambda x: mx.tril(x, -1),
        lambda x: mx.roll(x, [1, 2], [0, 1]),
        lambda x: mx.stack([x, x], 1),
        lambda x: mx.repeat(x, 2, axis=1),
        lambda x: mx.tile(x, [2, 3]),
        lambda x: mx.linalg.norm(x, axis=1),
        lambda x: mx.linspace(0, 1, x.shape[0]),
        lambda x: mx.std(x, axis=0, ddof=1),
        lambda x: mx.logsumexp(x, axis=[1], keepdims=True),
        lambda x: mx.meshgrid(x[0], x[1])[1],
        lambda x: mx.meshgrid(x[0])[0],
    ],
)
def test_functions_of_many_pieces_put_them_together_once(function, monkeypatch):
    x = mx.array(np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32))
    first = function(x)
    mx.eval(first)
    monkeypatch.setattr(mx, "reshape", None)  # what the pieces are made with
    for name in ("where", "arange", "astype", "transpose", "broadcast_to", "concatenate"):
        monkeypatch.setattr(mx, name, None)
    again = function(x + 0)
    np.testing.assert_array_equal(np.array(first), np.array(again))
