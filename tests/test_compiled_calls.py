"""Calls of compiled functions stay one node until something else is asked of the graph: whatever
reads, evaluates or transforms their results must find what the operations would have given."""

import gc
import inspect
import threading

import numpy as np
import pytest
from support import output_of, to_np

import mlxc.core as mx
from mlxc._graph.interface import node_count


def pair(x, y):
    """Two results with operations in common, one of which is an argument as it is."""
    z = mx.exp(x) * y
    return z + 1, z.sum(), y


def check(results, x, y):
    z = np.exp(x) * y
    for got, expected in zip(results, (z + 1, z.sum(), y), strict=True):
        np.testing.assert_allclose(to_np(got), expected, rtol=1e-5)


def operands(seed=0):
    generator = np.random.default_rng(seed)
    return [generator.random((3, 4), dtype=np.float32) for _ in range(2)]


def calls(n=3):
    """Results of calls with changing arguments: the first is traced, the second planned, the others
    are run by what the recipe keeps."""
    compiled = mx.compile(pair)
    for seed in range(n):
        x, y = operands(seed)
        yield compiled(mx.array(x), mx.array(y)), x, y


def test_a_call_makes_one_node_and_its_results():
    compiled = mx.compile(lambda x: mx.sin(mx.sort(mx.cos(mx.sort(x)))))
    x = mx.array([1.0, 2.0])
    mx.eval(compiled(x))
    made = []
    from mlxc._graph.node import watch_new_nodes

    watch_new_nodes(made.append)
    try:
        mx.eval(compiled(x))
        mx.eval(compiled(x))
    finally:
        watch_new_nodes(None)
    assert len(made) <= 2 * 2 + 4  # the second call is expanded once more, the third is not


@pytest.mark.parametrize("chosen", [(0, 1, 2), (0,), (1,), (2,), (1, 0), (0, 1)])
def test_any_of_the_results_may_be_evaluated_first(chosen):
    for results, x, y in calls(5):
        mx.eval([results[k] for k in chosen])
        check(results, x, y)


def test_what_is_evaluated_may_change_from_call_to_call():
    for k, (results, x, y) in enumerate(calls(12)):
        mx.eval(results[:1] if k % 3 == 0 else results[1:] if k % 3 == 1 else results)
        check(results, x, y)


def test_results_that_nobody_keeps_are_not_needed():
    for k, (results, x, y) in enumerate(calls(6)):
        first, second = results[:2]
        del results
        if k % 2:
            del first
        np.testing.assert_allclose(second.item(), (np.exp(x) * y).sum(), rtol=1e-5)


def test_arguments_may_be_the_same_array_or_a_constant_of_the_function():
    fixed = mx.array([1.0, 2.0, 3.0])
    other = mx.array([5.0, 6.0, 7.0])
    compiled = mx.compile(lambda x, y: x * 10 + y * fixed)
    for _ in range(3):
        assert compiled(fixed, fixed).tolist() == [11, 24, 39]
        assert compiled(fixed, other).tolist() == [15, 32, 51]
        assert compiled(other, fixed).tolist() == [51, 64, 79]
        assert compiled(other, other).tolist() == [55, 72, 91]
        assert compiled(mx.array([0.0, 0.0, 1.0]), fixed).tolist() == [1, 4, 19]


def test_arguments_may_be_strided_views_or_pending():
    compiled = mx.compile(lambda x: x * 2 + 1)
    whole = mx.arange(12, dtype=mx.float32).reshape(3, 4)
    for _ in range(3):
        assert compiled(whole[:, :3]).tolist() == (to_np(whole)[:, :3] * 2 + 1).tolist()
        assert compiled(whole.T[1:]).tolist() == (to_np(whole).T[1:] * 2 + 1).tolist()
        assert compiled(whole[::-1, 1:]).tolist() == (to_np(whole)[::-1, 1:] * 2 + 1).tolist()
        assert compiled(whole[:, 1:] + 1).tolist() == ((to_np(whole)[:, 1:] + 1) * 2 + 1).tolist()


def test_memory_of_an_argument_that_is_still_held_is_not_written_over():
    compiled = mx.compile(lambda x: x + 1)
    x = mx.zeros((1000,))
    mx.eval(x)
    for step in range(0, 10, 2):
        kept = x
        x = compiled(x)
        mx.eval(x)
        assert kept[0].item() == step and x[0].item() == step + 1
        view = memoryview(x)
        x = compiled(x)
        mx.eval(x)
        assert view[0] == step + 1
        view.release()


def test_memory_of_an_argument_that_nobody_holds_is_reused():
    compiled = mx.compile(lambda x: x + 1)
    x = mx.zeros((1 << 20,))
    mx.eval(x)
    for _ in range(3):
        x = compiled(x)
        mx.eval(x)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    for _ in range(3):
        x = compiled(x)
        mx.eval(x)
    assert mx.get_peak_memory() - before < x.nbytes


def test_a_chain_of_pending_calls_is_one_evaluation():
    compiled = mx.compile(lambda x, y: (x * 0.5 + y, y * 0.5))
    for _ in range(3):
        x, y = mx.array([1.0]), mx.array([1.0])
        expected = [1.0, 1.0]
        for _ in range(20):
            x, y = compiled(x, y)
            expected = [expected[0] * 0.5 + expected[1], expected[1] * 0.5]
        both = x + y
        np.testing.assert_allclose([both.item(), x.item(), y.item()], [sum(expected), *expected])


def test_pending_calls_are_differentiated_through_and_not_into():
    compiled = mx.compile(lambda x: mx.sin(x) * x)
    factor = compiled(mx.array(2.0))  # pending while the gradient is traced
    gradient = mx.grad(lambda x: compiled(x) * factor)(mx.array(1.0))
    expected = (np.cos(1.0) + np.sin(1.0)) * np.sin(2.0) * 2
    np.testing.assert_allclose(gradient.item(), expected, rtol=1e-6)
    rows = mx.vmap(lambda x: compiled(x) * factor)(mx.array([1.0, 2.0]))
    np.testing.assert_allclose(
        to_np(rows), np.sin([1.0, 2.0]) * [1.0, 2.0] * np.sin(2.0) * 2, rtol=1e-6
    )


def test_a_compiled_function_inside_another_is_part_of_it():
    inner = mx.compile(lambda x: mx.exp(x) + 1)
    outer = mx.compile(lambda x, y: inner(x) * inner(y))
    for _ in range(3):
        x, y = mx.array([0.5]), mx.array([1.5])
        np.testing.assert_allclose(outer(x, y).item(), (np.exp(0.5) + 1) * (np.exp(1.5) + 1))


def test_drawings_and_exports_see_the_operations_of_pending_calls(tmp_path):
    compiled = mx.compile(lambda x: mx.exp(x) * 2)
    y = compiled(mx.array([1.0, 2.0]))
    drawing = tmp_path / "graph.dot"
    mx.export_to_dot(str(drawing), y)
    assert "exp" in drawing.read_text()
    np.testing.assert_allclose(to_np(y), np.exp([1.0, 2.0]) * 2, rtol=1e-6)
    late = compiled(mx.array([3.0, 4.0]))
    path = str(tmp_path / "function.mlxfn")
    mx.export_function(path, lambda x: x + late, mx.zeros((2,)))
    (result,) = mx.import_function(path)(mx.zeros((2,)))
    np.testing.assert_allclose(to_np(result), np.exp([3.0, 4.0]) * 2, rtol=1e-6)


def test_an_error_in_the_middle_leaves_the_call_to_be_tried_again():
    """The second operation fails in the plan that the recipe keeps; nothing is lost."""
    compiled = mx.compile(lambda x, i: (x * 2)[i] + mx.sort(x)[:2])
    x = mx.array([3.0, 1.0, 2.0])
    good, bad = mx.array([0, 1]), mx.array([0, 7])
    for _ in range(3):
        assert compiled(x, good).tolist() == [7, 4]
    failing = compiled(x, bad)
    for _ in range(2):
        with pytest.raises(IndexError):
            mx.eval(failing)
    assert compiled(x, good).tolist() == [7, 4]


def test_results_and_calls_that_are_dropped_leave_nothing():
    compiled = mx.compile(pair)
    x, y = (mx.array(v) for v in operands())
    mx.eval(compiled(x, y))
    gc.collect()
    before = node_count()
    for _ in range(100):
        compiled(x, y)
        mx.eval(compiled(x, y)[0])
    assert node_count() == before


def test_bundles_inside_calls_give_all_their_outputs():
    compiled = mx.compile(lambda x: mx.linalg.qr(x, stream=mx.cpu))
    for seed in range(4):
        a = operands(seed)[0]
        q, r = compiled(mx.array(a))
        if seed % 2:
            mx.eval(r)
        np.testing.assert_allclose(to_np(q @ r), a, atol=1e-5)


def test_threads_call_and_evaluate_one_compiled_function():
    compiled = mx.compile(lambda x, y: mx.tanh(x) @ y + x)
    wrong = []

    def work(seed):
        x = np.random.default_rng(seed).random((8, 8), dtype=np.float32)
        for _ in range(50):
            got = to_np(compiled(mx.array(x), mx.array(x.T)))
            if not np.allclose(got, np.tanh(x) @ x.T + x, rtol=1e-4):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_compiled_function_looks_like_its_function():
    @mx.compile
    def scaled(x, by=2.0):
        """x times by."""
        return x * by

    class Model:
        weight = 3.0

        @mx.compile
        def forward(self, x):
            return x * self.weight

    assert scaled.__name__ == "scaled" and scaled.__doc__ == "x times by."
    assert str(inspect.signature(scaled)) == "(x, by=2.0)"
    assert "scaled" in repr(scaled)
    for _ in range(3):
        assert scaled(mx.array(2.0)).item() == 4 and scaled(mx.array(2.0), by=3.0).item() == 6
        assert Model().forward(mx.array(2.0)).item() == 6


def test_state_in_any_container_is_read_and_written():
    class Box(dict):
        """As modules are."""

    state = [Box(w=mx.array(1.0)), {"t": (mx.array(2.0), [mx.array(3.0)])}]
    handle = state[1]["t"][0]

    def step(x):
        state[0]["w"] = state[0]["w"] + x
        state[1]["t"][1][0] = state[1]["t"][1][0] * 2
        state[1]["t"] = (state[1]["t"][0] - x, state[1]["t"][1])
        return state[0]["w"] * 1

    compiled = mx.compile(step, inputs=state, outputs=state)
    for k in range(1, 4):
        assert compiled(mx.array(1.0)).item() == 1 + k
        assert type(state[0]) is Box and state[0]["w"].item() == 1 + k
        assert state[1]["t"][1][0].item() == 3 * 2**k
        assert state[1]["t"][0].item() == 2 - k
    assert handle.item() == 2


def test_state_that_contains_itself_is_an_error():
    state = [mx.array(1.0)]
    state.append(state)
    with pytest.raises(RecursionError):
        mx.compile(lambda x: x, inputs=state)(mx.array(1.0))


def test_simplify_computes_common_subexpressions_once():
    x = mx.array([1.0, 2.0])
    y = mx.sort(x) + mx.sort(x)
    before = node_count()
    mx.simplify(y)
    assert node_count() < before
    assert y.tolist() == [2, 4]
    mx.simplify(x, y)
    assert x.tolist() == [1, 2] and y.tolist() == [2, 4]


def test_very_long_chains_of_calls_are_dropped_and_evaluated_without_recursion():
    code = (
        "import threading; threading.stack_size(256 * 1024)\n"
        "import mlxc.core as mx\n"
        "from mlxc._graph.array import set_pending_limit\n"
        "set_pending_limit(10_000_000)\n"
        "f = mx.compile(lambda x: x * 0.5 + 1)\n"
        "def work():\n"
        "    for evaluated in (False, True):\n"
        "        x = mx.array(0.0)\n"
        "        for _ in range(100_000): x = f(x)\n"
        "        if evaluated: print(x.item())\n"
        "        del x\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start(); thread.join()"
    )
    assert output_of(code) == "2.0"


def test_sums_and_products_of_a_constant_array_are_not_kept():
    constant, x = mx.arange(50_000, dtype=mx.float32), mx.ones((50_000,))
    mx.eval(constant, x)
    before = mx.get_active_memory()
    function = mx.compile(lambda x: x * 0.5 + (2.0 - mx.square(constant)) * 0.25)
    for _ in range(3):
        y = function(x)
        mx.eval(y)
    np.testing.assert_allclose(y, 0.5 + (2.0 - np.arange(50_000.0) ** 2) * 0.25, rtol=1e-6)
    del y
    assert mx.get_active_memory() - before < 10_000


def test_arithmetic_on_a_constant_may_be_evaluated_by_somebody_else():
    """Then it lets go of its operands, which the recipe still needs."""
    constant, kept = mx.array([1.0, 2.0, 3.0]), []

    def function(x):
        kept.append(constant * 3.0)
        return x + kept[-1]

    compiled = mx.compile(function)
    results = [compiled(mx.array([1.0, 1.0, 1.0])).tolist()]
    assert kept[0].tolist() == [3, 6, 9]
    results += [compiled(mx.array([1.0, 1.0, 1.0])).tolist() for _ in range(2)]
    assert results == [[4, 7, 10]] * 3
