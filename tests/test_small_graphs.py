"""Graphs of a few nodes, evaluated again and again, are found at once and give what they gave."""

import threading

import numpy as np
import pytest
from support import generator

import mlxc.core as mx
from mlxc._graph.interface import has_small_plan, node_count


def evaluated(*arrays):
    mx.eval(*arrays)
    return arrays if len(arrays) > 1 else arrays[0]


def known_after_one(function):
    """Whether the second call of a function is found, and not the first."""
    first = function()
    before = has_small_plan(first)
    mx.eval(first)
    return (before, has_small_plan(function()))


@pytest.fixture
def x():
    return evaluated(mx.array(generator(1).normal(size=(5, 7)).astype(np.float32)) * 1)


# Each size is used by no other test: the table outlives them.
FUNCTIONS = {
    "an operation": lambda x: mx.sin(x),
    "two operands": lambda x: x - x,
    "a number": lambda x: x * 3.5,
    "a view": lambda x: mx.broadcast_to(x, (2, *x.shape)),
    "a moved copy": lambda x: mx.contiguous(x.T),
    "a reduction": lambda x: mx.sum(x, axis=1),
    "a row program": lambda x: mx.exp(x) / mx.sum(mx.exp(x), axis=-1, keepdims=True),
    "a kernel": lambda x: mx.sort(x, axis=0),
    "several steps": lambda x: mx.sort(x @ x.T, axis=0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_small_graph_is_found_the_second_time_and_gives_the_same(name):
    function = FUNCTIONS[name]
    values = generator(2).normal(size=(11 + list(FUNCTIONS).index(name), 13)).astype(np.float32)
    x = evaluated(mx.array(values))
    assert known_after_one(lambda: function(x)) == (False, True)
    long_way = np.array(function(evaluated(mx.array(values).astype(mx.float64))))
    for _ in range(3):
        np.testing.assert_allclose(np.array(function(x)), long_way, rtol=1e-5, atol=1e-6)


def test_what_differs_in_parameters_strides_operands_or_dtypes_is_another_graph():
    x = evaluated(mx.array(generator(3).normal(size=(23, 23)).astype(np.float32)))
    y = evaluated(mx.array(x))
    turned = evaluated(x.T)
    mx.eval(mx.cumsum(x, axis=0), x + x, mx.cos(x))
    assert evaluated(mx.cumsum(x, axis=0)) is not None
    assert evaluated(x + x) is not None
    assert evaluated(mx.cos(x)) is not None
    assert has_small_plan(mx.cumsum(x, axis=0)) and not has_small_plan(mx.cumsum(x, axis=1))
    assert has_small_plan(x + x) and not has_small_plan(x + turned)
    assert has_small_plan(mx.cos(x)) and not has_small_plan(mx.cos(turned))
    assert not has_small_plan(mx.cos(evaluated(x.astype(mx.float16))))
    np.testing.assert_array_equal(np.array(x + y), np.array(x) * 2)


def test_memory_is_taken_over_only_where_nobody_holds_it():
    for _ in range(3):
        x = evaluated(mx.arange(29) * 1.0)
        kept = x
        x = evaluated(x + 1)
        assert kept.tolist() == list(range(29)) and x.tolist() == list(range(1, 30))
        kept = None
        x = evaluated(x + 1)
        assert x.tolist() == list(range(2, 31))
        view = evaluated(x[3:])
        x = evaluated(x * 2)
        assert view.tolist() == list(range(5, 31)) and x.tolist() == list(range(4, 62, 2))


def test_a_value_within_a_small_graph_that_somebody_holds_is_kept():
    x = evaluated(mx.arange(31) * 1.0)
    for held in (False, True, False, True):
        inner = x + 1
        outer = mx.sqrt(inner)
        if not held:
            inner = None
        mx.eval(outer)
        np.testing.assert_allclose(np.array(outer), np.sqrt(np.arange(1, 32)), rtol=1e-6)
        if held:
            assert inner.tolist() == list(range(1, 32))


def test_a_small_graph_that_fails_stays_pending_and_fails_again():
    x = evaluated(mx.arange(37))
    good, bad = evaluated(mx.array([1, 2]), mx.array([1, 99]))
    mx.eval(mx.take(x, good))
    assert has_small_plan(mx.take(x, good))
    y = mx.take(x, bad)
    assert has_small_plan(y)
    for _ in range(2):
        with pytest.raises(IndexError):
            mx.eval(y)
    assert mx.take(x, good).tolist() == [1, 2]


def test_values_that_are_being_traced_keep_their_inputs():
    x = evaluated(mx.arange(41) * 1.0)
    mx.eval(mx.sin(x))

    def loss(x):
        y = mx.sin(x)
        mx.eval(y)
        assert not has_small_plan(mx.sin(x))
        return y.sum()

    for _ in range(2):
        np.testing.assert_allclose(np.array(mx.grad(loss)(x)), np.cos(np.arange(41)), atol=1e-6)


def test_small_graphs_leave_no_nodes_behind():
    x = evaluated(mx.arange(43) * 1.0)
    before = node_count()
    for k in range(2000):
        mx.eval(mx.sin(x * float(k % 3) + 1))
    assert node_count() <= before + 4


def test_threads_evaluate_small_graphs_at_the_same_time():
    wrong = []

    def work(number):
        x = evaluated(mx.arange(47) + number)
        for k in range(500):
            if mx.sort(x * k)[-1].item() != (46 + number) * k or (x + k)[0].item() != number + k:
                wrong.append((number, k))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
