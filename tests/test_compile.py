"""Compiled functions: the same values as the function itself, for every row and for random graphs;
containers, caches, errors; and memory that stays flat over a long training loop."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import generator, to_np
from test_table import cases, operands

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim
from mlxc._graph import node_count
from mlxc._graph.evaluate import plan_cache_info
from mlxc._table import load_rows

ROWS = load_rows()
POINTWISE = [row for row in ROWS if row.kind == "elementwise"]
REDUCTIONS = [row for row in ROWS if row.kind == "reduction"]
KERNELS = [
    row for row in ROWS if row.kind == "kernel" and row.name not in ("attach", "metal_kernel")
]


def check(function, *xs):
    """The compiled function twice (traced, then made from the recipe) against the function."""
    plain = function(*xs)
    compiled = mx.compile(function)
    for _ in range(2):
        given_back = compiled(*xs)
        for ours, theirs in zip(as_list(given_back), as_list(plain)):
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            np.testing.assert_allclose(to_np(ours), to_np(theirs), rtol=1e-5, atol=1e-6)


def as_list(values):
    return [values] if isinstance(values, mx.array) else list(values)


@pytest.mark.parametrize("row", POINTWISE, ids=lambda row: row.name)
def test_a_compiled_elementwise_row_is_the_row(row):
    name = "float32" if "float32" not in row.refuses and "f32" in row.types else "int32"
    if row.inputs == "int":
        name = "int32"
    xs = [mx.array(x) for x in operands(row, generator(row.name), name)]
    check(lambda *xs: mx._bind(row.name, xs, ()), *xs)


@pytest.mark.parametrize("row", REDUCTIONS, ids=lambda row: row.name)
def test_a_compiled_reduction_is_the_reduction(row):
    x = mx.array(generator(row.name).uniform(-1, 1, (3, 4, 5)) > 0)
    x = x if row.inputs == "bool" else x.astype(mx.float32) + 0.5
    for axes in ((0,), (2,), (0, 2), (0, 1, 2)):
        check(lambda x, axes=axes: mx._bind(row.name, (x,), (axes, False)), x)


@pytest.mark.parametrize("row", KERNELS, ids=lambda row: row.name)
def test_a_compiled_kernel_is_the_kernel(row):
    for xs, params in cases(row):
        check(lambda *xs, params=params: mx._bind(row.name, xs, params), *xs)


UNARY = ("sin", "tanh", "square", "abs", "negative", "sigmoid")
BINARY = ("add", "subtract", "multiply", "maximum", "arctan2")


@st.composite
def programs(draw):
    """Instructions over a growing list of values, all of shape (4, 6) or its broadcasts."""
    steps = []
    for size in range(2, 2 + draw(st.integers(1, 20))):
        kind = draw(st.sampled_from(("unary", "binary", "binary", "normalize", "flip", "move")))
        first, second = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
        name = draw(st.sampled_from(UNARY if kind == "unary" else BINARY))
        steps.append((kind, name, first, second))
    return steps


def run(steps, x, y):
    """The last values of a program."""
    values = [x, y]
    for kind, name, first, second in steps:
        a, b = values[first], values[second]
        if kind == "unary":
            made = getattr(mx, name)(a)
        elif kind == "binary":
            made = mx.tanh(getattr(mx, name)(a, b))
        elif kind == "normalize":
            made = a - a.mean(axis=-1, keepdims=True) + b.max(axis=0)
        elif kind == "flip":
            made = a[::-1, 1:].sum(axis=1, keepdims=True) * 0.1 + b
        else:
            made = (a.T @ b).mean() + a
        values.append(made)
    return values[-1], values[len(values) // 2]


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 2**32 - 1))
def test_a_compiled_random_graph_is_the_graph(steps, seed):
    rng = np.random.default_rng(seed)
    x, y = (mx.array(rng.uniform(-1, 1, (4, 6)).astype(np.float32)) for _ in range(2))
    plain = run(steps, x, y)
    compiled = mx.compile(lambda x, y: run(steps, x, y))
    compiled(y, x)
    for ours, theirs in zip(compiled(x, y), plain):
        np.testing.assert_allclose(to_np(ours), to_np(theirs), rtol=1e-4, atol=1e-5)


def test_python_runs_once_a_kind_of_arguments():
    seen = []

    def function(x, scale=1.0):
        seen.append((x.shape, x.dtype, scale))
        return x * scale

    compiled = mx.compile(function)
    for _ in range(3):
        compiled(mx.ones((2,)))
        compiled(mx.ones((3,)))
        compiled(mx.ones((2,), mx.float16))
        assert compiled(mx.ones((2,)), scale=3.0).tolist() == [3, 3]
        assert compiled(mx.ones((2,)), scale=4.0).tolist() == [4, 4]
    assert len(seen) == 5


def test_common_subexpressions_are_made_once_and_dead_code_is_left_out():
    from mlxc.transforms.replay import recipe_of
    from mlxc.transforms.tracing import abstract_like

    (x,) = abstract_like([mx.ones((3,))], [(3,)])
    unused = mx.exp(x) * 5
    twice = mx.sin(x) + mx.sin(x)
    assert len(recipe_of([twice], [x])) == 2 and unused.shape == (3,)


def test_captured_state_is_read_and_written():
    state = {"count": mx.array(0), "parts": [mx.zeros((2,))]}

    def step(x):
        state["count"] = state["count"] + 1
        state["parts"][0] = state["parts"][0] + x
        return state["parts"][0].sum()

    compiled = mx.compile(step, inputs=state, outputs=state)
    sums = [compiled(mx.ones((2,))).item() for _ in range(3)]
    assert sums == [2, 4, 6] and state["count"].item() == 3
    state["count"] = mx.array(10)
    compiled(mx.ones((2,)))
    assert state["count"].item() == 11


def test_random_state_goes_through_a_compiled_function():
    mx.random.seed(1)
    compiled = mx.compile(
        lambda: mx.random.uniform(shape=(3,)), inputs=mx.random.state, outputs=mx.random.state
    )
    draws = [compiled().tolist() for _ in range(3)]
    mx.random.seed(1)
    assert draws == [mx.random.uniform(shape=(3,)).tolist() for _ in range(3)]


def test_a_failing_function_leaves_captured_containers_as_they_were():
    state = {"a": mx.array(1.0)}

    def step(x):
        state["a"] = state["a"] + x
        state["new"] = x
        raise KeyError("no")

    with pytest.raises(KeyError):
        mx.compile(step, inputs=state, outputs=state)(mx.array(2.0))
    assert list(state) == ["a"] and state["a"].item() == 1


def test_a_value_that_is_needed_while_tracing_is_refused():
    with pytest.raises(ValueError, match="is not known while vmap or compile traces"):
        mx.compile(lambda x: x * 2 if x.item() > 0 else x)(mx.array(1.0))
    with pytest.raises(ValueError, match=r"\[compile\]"):
        mx.compile(lambda x, extra: x)(mx.array(1.0), bytearray(b"x"))


def test_disabled_compilation_runs_the_function_every_time():
    seen = []
    compiled = mx.compile(lambda x: seen.append(1) or x + 1)
    mx.disable_compile()
    try:
        compiled(mx.array(1.0))
        compiled(mx.array(1.0))
    finally:
        mx.enable_compile()
    assert len(seen) == 2


def test_gradients_go_through_compiled_functions_and_are_compiled():
    f = mx.compile(lambda x: (mx.sin(x) * x).sum())
    x = mx.array([0.5, 1.5])
    expected = np.cos([0.5, 1.5]) * [0.5, 1.5] + np.sin([0.5, 1.5])
    np.testing.assert_allclose(to_np(mx.grad(f)(x)), expected, rtol=1e-5)
    np.testing.assert_allclose(to_np(mx.compile(mx.grad(f))(x)), expected, rtol=1e-5)
    assert mx.vmap(f)(mx.stack([x, x])).shape == (2,)


def test_a_long_training_loop_keeps_its_nodes_plans_and_memory():
    mx.random.seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = optim.Adam(1e-3)
    x, y = mx.random.normal((16, 4)), mx.random.normal((16, 1))
    step = nn.value_and_grad(model, lambda m: ((m(x) - y) ** 2).mean())

    def train(steps):
        for _ in range(steps):
            _, gradients = step(model)
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state)

    train(50)
    nodes, plans, memory = node_count(), plan_cache_info()["plans"], mx.get_active_memory()
    train(10_000)
    assert node_count() <= nodes + 8
    assert plan_cache_info()["plans"] == plans
    assert mx.get_active_memory() <= memory + 4096


def test_constants_that_compare_equal_are_traced_apart():
    scaled = mx.compile(lambda x, s: x * s)
    signs = [math.copysign(1, scaled(mx.array(1.0), s).item()) for s in (0.0, -0.0, 0.0)]
    assert signs == [1, -1, 1]
    kinds = mx.compile(lambda x, s: mx.array(s) + x)
    assert [kinds(mx.array(True), s).dtype for s in (1, True, 1.0)] == [
        mx.int32,
        mx.bool_,
        mx.float32,
    ]


def test_a_nan_constant_is_traced_once():
    traced = []

    @mx.compile
    def f(x, s):
        traced.append(s)
        return x * s

    for _ in range(3):
        assert math.isnan(f(mx.array(1.0), float("nan")).item())
    assert len(traced) == 1


def test_weights_that_a_compiled_function_gave_a_model_have_values_afterwards():
    model = nn.Linear(3, 1)

    @mx.compile
    def loss(parameters, x):
        model.update(parameters)
        return model(x).sum()

    parameters = model.trainable_parameters()
    before = model.weight.tolist()
    value, gradients = mx.value_and_grad(loss)(parameters, mx.ones((2, 3)))
    assert model.weight.tolist() == before
    assert gradients["bias"].tolist() == [2] and math.isfinite(value.item())
