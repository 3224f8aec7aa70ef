"""debug.anomaly and profile: who is blamed for a NaN, what is measured, and that both leave nothing
behind.

Rules: a place in the code is told by the text of its line, which stands in the message.
"""

import json
import math
import os
import threading

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim

NAN, INF = math.nan, math.inf


def blame(function):
    """The message with which watching stops a function."""
    with mx.debug.anomaly(), pytest.raises(FloatingPointError) as caught:
        mx.eval(function())
    return str(caught.value)


def passes(function):
    """What a function gives while anomalies are watched."""
    with mx.debug.anomaly():
        result = function()
        mx.eval(result)
    return result


# ---- who is blamed


def test_the_first_operation_with_a_nan_is_named_with_its_operands_and_line():
    def work():
        x = mx.array([[1.0, -2.0], [3.0, 4.0]])
        y = mx.sqrt(x)  # the culprit
        return (y * 2 + 1).sum()

    text = blame(work)
    assert text.startswith("[sqrt] gave NaN in 1 of 4 values of (2, 2) float32, first at (0, 1), ")
    assert "from (2, 2) float32; made" in text and f"{__file__}:" in text
    assert text.endswith("in work: y = mx.sqrt(x)  # the culprit")


def test_an_infinity_is_named_and_can_be_let_pass():
    def work():
        return mx.array([1.0, 0.0]) / mx.array([0.0, 1.0])  # the culprit

    assert blame(work).startswith("[divide] gave an infinity in 1 of 2 values")
    with mx.debug.anomaly(infinities=False):
        assert work().tolist() == [INF, 0.0]
        with pytest.raises(FloatingPointError, match=r"^\[subtract\] gave NaN"):
            mx.eval(work() - work())


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_what_came_in_is_blamed_on_nobody(value):
    x = mx.array([1.0, value])
    assert not math.isfinite(passes(lambda: (x * 2 + 1).sum()).item())
    assert not math.isfinite(passes(lambda: mx.where(x > 0, x, value)[1] * 1.0).item())


def test_a_nan_made_of_given_infinities_is_blamed():
    masked = mx.full((2, 3), -INF)
    text = blame(lambda: mx.softmax(masked, axis=-1))
    assert "gave NaN" in text and "mx.softmax(masked, axis=-1)" in text


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32, mx.float64], ids=str)
def test_every_floating_dtype_is_looked_at(dtype):
    big = mx.array([2.0], dtype=dtype)
    name = dtype.name
    assert f"of (1,) {name}, first" in blame(lambda: mx.power(big, mx.array(2000.0, dtype=dtype)))


def test_complex_values_are_looked_at_and_integers_cannot_be_wrong():
    zero = mx.array([0j])
    assert blame(lambda: zero / zero).startswith("[divide] gave NaN in 1 of 1 values of (1,) compl")
    assert passes(lambda: mx.array([1, 2]) // mx.array([0, 1])).dtype == mx.int32


def test_a_backward_pass_is_blamed_on_the_line_of_the_forward_operation():
    def loss(x):
        y = mx.sqrt(x)  # forward line
        return (y * 2).sum()

    text = blame(lambda: mx.grad(loss)(mx.array([1.0, 0.0])))
    assert "; in the gradient of [sqrt], made" in text
    assert text.endswith("in loss: y = mx.sqrt(x)  # forward line")


def test_a_forward_derivative_and_a_second_one_are_blamed_likewise():
    def slope(x):
        return (x**1.5).sum()  # forward line

    text = blame(lambda: mx.jvp(mx.sqrt, [mx.zeros((2,))], [mx.ones((2,))])[1])
    assert "in the derivative of [sqrt]" in text
    text = blame(lambda: mx.grad(lambda x: mx.grad(slope)(x).sum())(mx.zeros((2,))))
    assert "in the gradient of [power]" in text and text.endswith("(x**1.5).sum()  # forward line")


def test_vmap_keeps_the_line_inside_the_function():
    def one(x):
        return mx.log(x - 1)  # inside

    assert blame(lambda: mx.vmap(one)(mx.ones((3, 2)))).endswith("return mx.log(x - 1)  # inside")
    gradient = mx.vmap(mx.grad(lambda x: one(x).sum()))
    text = blame(lambda: gradient(mx.ones((3, 2)) + 1e-45))
    assert text.endswith("return mx.log(x - 1)  # inside")


def test_compiled_functions_are_watched_also_those_traced_before():
    @mx.compile
    def compiled(x):
        y = mx.log(x)  # inside
        return y.sum()

    assert compiled(mx.ones((2,))).item() == 0
    assert blame(lambda: compiled(mx.full((2,), -1.0))).endswith("y = mx.log(x)  # inside")
    assert math.isnan(compiled(mx.full((2,), -1.0)).item())


def test_rules_of_the_user_are_blamed_on_their_own_line():
    @mx.custom_function
    def same(x):
        return x * 1

    @same.vjp
    def same_vjp(primals, cotangent, output):
        return cotangent / mx.zeros_like(cotangent)  # own rule

    text = blame(lambda: mx.grad(lambda x: same(x).sum())(mx.ones((2,))))
    assert text.startswith("[divide]") and text.endswith("# own rule")


def test_a_checkpoint_that_computes_again_is_blamed_inside():
    def root(x):
        return mx.sqrt(x).sum()  # inside

    text = blame(lambda: mx.grad(mx.checkpoint(root))(mx.zeros((2,))))
    assert "in the gradient of [sqrt]" in text and text.endswith("mx.sqrt(x).sum()  # inside")


def test_a_layer_is_named_beside_the_line_that_called_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    model.layers[0].weight = mx.full((4, 3), 1e30)
    text = blame(lambda: model(mx.full((2, 3), 1e30)))  # the call
    assert "Sequential.__call__" in text and text.endswith("# the call")


def test_infinities_that_a_function_of_ours_masks_are_no_anomaly():
    gradient = passes(lambda: mx.grad(mx.linalg.norm)(mx.zeros((3,))))
    assert np.isfinite(np.array(gradient)).all()
    for activation in (nn.softplus, nn.log_sigmoid, nn.gelu, nn.mish, nn.selu):
        passes(lambda f=activation: mx.grad(lambda x: f(x).sum())(mx.array([1e4, -1e4, 0.0])))
    scores = mx.array([[1e4, -1e4], [0.0, 0.0]])
    labels = mx.array([0, 1])
    passes(lambda: mx.grad(lambda x: nn.losses.cross_entropy(x, labels).mean())(scores))


def test_training_without_a_fault_goes_on_and_gives_the_same():
    def weights():
        mx.random.seed(0)
        model, optimizer = (
            nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)),
            optim.Adam(0.1),
        )
        step = nn.value_and_grad(model, lambda m, x: m(x).square().mean())
        for _ in range(3):
            _, gradients = step(model, mx.ones((3, 4)))
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state)
        return model.layers[0].weight

    with mx.debug.anomaly():
        watched = weights()
    np.testing.assert_allclose(np.array(watched), np.array(weights()), atol=1e-5)


def test_arrays_of_several_outputs_are_watched_together():
    values, vectors = passes(lambda: mx.linalg.eigh(mx.eye(2)))
    assert values.tolist() == [1, 1] and vectors.shape == (2, 2)


def test_what_was_made_before_watching_is_named_without_a_line():
    late = mx.log(mx.array([-1.0])) + 1
    assert "made where anomalies were not watched yet" in blame(lambda: late)


def test_arrays_stay_usable_after_an_anomaly():
    x = mx.array([4.0, -1.0])
    with mx.debug.anomaly():
        y = mx.sqrt(x)
        with pytest.raises(FloatingPointError):
            mx.eval(y + 1)
        assert mx.sqrt(x[:1]).item() == 2
    assert y[0].item() == 2 and math.isnan((y + 1)[1].item())


def test_contexts_nest_and_end_and_decorate():
    def bad():
        return mx.log(mx.array([-1.0]))

    @mx.debug.anomaly()
    def decorated():
        mx.eval(bad())

    with mx.debug.anomaly():
        with mx.debug.anomaly(False):
            mx.eval(bad())
        with pytest.raises(FloatingPointError):
            mx.eval(bad())
    mx.eval(bad())
    for _ in range(2):
        with pytest.raises(FloatingPointError):
            decorated()
    assert mx.debug.set_anomaly(True) is False
    try:
        with pytest.raises(FloatingPointError):
            mx.eval(bad())
    finally:
        assert mx.debug.set_anomaly(False) is True
    mx.eval(bad())


def test_other_threads_are_watched_too():
    caught = []

    def work():
        try:
            mx.eval(mx.log(mx.array([-1.0])))  # in a thread
        except FloatingPointError as error:
            caught.append(str(error))

    with mx.debug.anomaly():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(caught) == 1 and caught[0].endswith("# in a thread")


# ---- profile


def test_calls_bytes_and_fused_groups_are_counted():
    x = mx.random.normal((64, 64))
    mx.eval(x)
    with mx.profile(show=False) as p:
        for _ in range(3):
            mx.eval(mx.sort(mx.tanh(x) + 1, axis=0))
    assert p.evaluations == 3
    assert p.operations["sort"]["calls"] == 3 and p.operations["sort"]["groups"] == 0
    assert p.operations["sort"]["bytes"] == 3 * 2 * 64 * 64 * 4
    assert p.operations["tanh"]["calls"] == p.operations["tanh"]["groups"] == 3
    assert p.groups["tanh", "add"]["bytes"] == 3 * (2 * 64 * 64 * 4 + 4)
    assert 0 < sum(facts["seconds"] for facts in p.operations.values()) < p.seconds


def test_the_table_is_printed_and_names_operations_and_groups(capsys):
    x = mx.ones((8, 8))
    with mx.profile() as p:
        mx.eval(mx.exp(x) + 1, x @ x)
    printed = capsys.readouterr().out
    assert printed == p.table() + "\n"
    assert "matmul" in printed and "exp+add" in printed and "1 evaluations" in printed


def test_nothing_is_measured_outside_of_the_context():
    with mx.profile(show=False) as p:
        pass
    mx.eval(mx.ones((3,)) * 2)
    assert p.operations == {} and p.evaluations == 0 and "operation" in p.table()


def test_contexts_of_profiles_nest_and_both_see_what_is_inside():
    with mx.profile(show=False) as outer:
        mx.eval(mx.exp(mx.ones((3,))))
        with mx.profile(show=False) as inner:
            mx.eval(mx.sin(mx.ones((3,))))
    assert "sin" in inner.operations and "exp" not in inner.operations
    assert {"sin", "exp"} <= set(outer.operations)


def test_the_trace_is_in_the_format_of_the_viewers(tmp_path):
    path = tmp_path / "t.json"
    path.write_text("old")
    with mx.profile(trace=path, show=False):
        mx.eval(mx.exp(mx.ones((100,))) + 1)
        thread = threading.Thread(target=lambda: mx.eval(mx.ones((2, 2)) @ mx.ones((2, 2))))
        thread.start()
        thread.join()
        assert path.read_text() == "old"
    trace = json.loads(path.read_text())
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    names = [event for event in trace["traceEvents"] if event["ph"] == "M"]
    assert {"exp+add", "matmul", "evaluate"} <= {event["name"] for event in spans}
    assert all(event["ts"] >= 0 and event["dur"] >= 0 for event in spans)
    assert len({event["tid"] for event in spans}) == len(names) == 2
    assert {event["pid"] for event in spans} == {os.getpid()}
    for step in spans:
        if step["name"] != "evaluate":  # lies within an evaluation of its thread
            end = step["ts"] + step["dur"]
            assert any(
                outer["tid"] == step["tid"]
                and outer["name"] == "evaluate"
                and outer["ts"] <= step["ts"]
                and end <= outer["ts"] + outer["dur"]
                for outer in spans
            )
    assert list(tmp_path.iterdir()) == [path]


def test_a_trace_that_cannot_be_written_is_said_and_profiling_ends(tmp_path):
    with pytest.raises(OSError), mx.profile(trace=tmp_path / "absent" / "t.json", show=False):
        mx.eval(mx.ones((3,)) + 1)
    with mx.profile(show=False) as p:
        mx.eval(mx.ones((3,)) + 1)
    assert p.evaluations == 1


def test_an_error_inside_ends_the_profile_and_the_time_is_kept():
    with pytest.raises(IndexError), mx.profile(show=False) as p:
        mx.eval(mx.take(mx.ones((3,)), mx.array([5])))
    assert "take" in p.operations or "gather" in p.operations
    mx.eval(mx.ones((3,)) + 1)
    assert "add" not in p.operations


def test_evaluation_in_the_background_is_waited_for():
    with mx.profile(show=False) as p:
        mx.async_eval(mx.ones((500, 500)) @ mx.ones((500, 500)))
    assert p.operations["matmul"]["calls"] == 1
