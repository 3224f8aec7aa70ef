"""Optimisers and schedules: against the papers' formulas in NumPy, and against the real MLX."""

import copy
import math

import numpy as np
import pytest
from reference import assert_same_tree, needs_reference, numpy_leaves, reference_mlx

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim

W = np.linspace(-1.0, 1.2, 12).reshape(3, 4).astype(np.float32)
GRADIENTS = [np.random.default_rng(i).normal(size=(3, 4)).astype(np.float32) for i in range(4)]


def run(optimizer, gradients=GRADIENTS, w=W):
    """The parameter after some steps, as float64."""
    parameters = {"w": mx.array(w)}
    for g in gradients:
        parameters = optimizer.apply_gradients({"w": mx.array(g)}, parameters)
    return np.array(parameters["w"], dtype=np.float64)


def check(optimizer, step, **start):
    """Compare with `step(w, g, t, state) -> w` in float64."""
    w, state = W.astype(np.float64), {k: np.zeros_like(W, np.float64) for k in start["zeros"]}
    for t, g in enumerate(GRADIENTS, start=1):
        w = step(w, g.astype(np.float64), t, state)
    np.testing.assert_allclose(run(optimizer), w, rtol=2e-5, atol=2e-6)


# Formulas -------------------------------------------------------------------------------------


def test_sgd_follows_the_gradient():
    check(optim.SGD(0.1), lambda w, g, t, s: w - 0.1 * g, zeros=())


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum_and_decay_follows_its_formula(nesterov):
    def step(w, g, t, s):
        g = g + 0.01 * w
        s["v"] = 0.9 * s["v"] + g
        return w - 0.1 * (g + 0.9 * s["v"] if nesterov else s["v"])

    check(optim.SGD(0.1, 0.9, 0.01, nesterov=nesterov), step, zeros="v")


def test_sgd_dampening_weakens_new_gradients():
    def step(w, g, t, s):
        s["v"] = 0.9 * s["v"] + 0.75 * g
        return w - 0.1 * s["v"]

    check(optim.SGD(0.1, momentum=0.9, dampening=0.25), step, zeros="v")


def test_rmsprop_follows_its_formula():
    def step(w, g, t, s):
        s["v"] = 0.9 * s["v"] + 0.1 * g**2
        return w - 0.1 * g / (np.sqrt(s["v"]) + 1e-3)

    check(optim.RMSprop(0.1, alpha=0.9, eps=1e-3), step, zeros="v")


def test_adagrad_follows_its_formula():
    def step(w, g, t, s):
        s["v"] = s["v"] + g**2
        return w - 0.1 * g / (np.sqrt(s["v"]) + 1e-8)

    check(optim.Adagrad(0.1), step, zeros="v")


def test_adadelta_follows_its_formula():
    def step(w, g, t, s):
        s["v"] = 0.9 * s["v"] + 0.1 * g**2
        d = np.sqrt(s["u"] + 1e-4) / np.sqrt(s["v"] + 1e-4) * g
        s["u"] = 0.9 * s["u"] + 0.1 * d**2
        return w - 0.5 * d

    check(optim.AdaDelta(0.5, eps=1e-4), step, zeros="vu")


@pytest.mark.parametrize("decay", [None, 0.1])
@pytest.mark.parametrize("correct", [False, True])
def test_adam_and_adamw_follow_their_formulas(correct, decay):
    def step(w, g, t, s):
        w = w * (1 - 0.1 * (decay or 0))
        s["m"] = 0.9 * s["m"] + 0.1 * g
        s["v"] = 0.99 * s["v"] + 0.01 * g**2
        m, v = s["m"], s["v"]
        if correct:
            m, v = m / (1 - 0.9**t), v / (1 - 0.99**t)
        return w - 0.1 * m / (np.sqrt(v) + 1e-6)

    options = {"betas": (0.9, 0.99), "eps": 1e-6, "bias_correction": correct}
    if decay is None:
        check(optim.Adam(0.1, **options), step, zeros="mv")
    else:
        check(optim.AdamW(0.1, weight_decay=decay, **options), step, zeros="mv")


def test_adamax_follows_its_formula():
    def step(w, g, t, s):
        s["m"] = 0.9 * s["m"] + 0.1 * g
        s["v"] = np.maximum(0.999 * s["v"], np.abs(g))
        return w - 0.1 * s["m"] / (s["v"] + 1e-8)

    check(optim.Adamax(0.1), step, zeros="mv")


def test_lion_follows_its_formula():
    def step(w, g, t, s):
        c = 0.9 * s["m"] + 0.1 * g
        s["m"] = 0.99 * s["m"] + 0.01 * g
        return w - 0.01 * (np.sign(c) + 0.1 * w)

    check(optim.Lion(0.01, weight_decay=0.1), step, zeros="m")


def test_adafactor_follows_its_formula():
    def step(w, g, t, s):
        b = 1 - t**-0.8
        square = g**2 + 1e-30
        s["r"] = b * s["r"][:, :1] + (1 - b) * square.mean(1, keepdims=True)
        s["c"] = b * s["c"][:1] + (1 - b) * square.mean(0, keepdims=True)
        u = g / np.sqrt(s["r"] * s["c"] / s["r"].mean())
        u = u / max(1, math.sqrt((u**2).mean()))
        rate = min(1e-2, 1 / math.sqrt(t)) * max(1e-3, math.sqrt((w**2).mean()))
        return w - rate * u

    check(optim.Adafactor(), step, zeros="rc")


def test_muon_steps_have_singular_values_near_one():
    stepped = run(optim.Muon(1.0, momentum=0.0, weight_decay=0.0), GRADIENTS[:1])
    singular = np.linalg.svd(W - stepped, compute_uv=False)
    assert np.all(singular > 0.5) and np.all(singular < 1.5)


def test_muon_of_a_tall_matrix_is_scaled_by_its_shape():
    g = GRADIENTS[0].T.copy()
    options = {"momentum": 0.0, "weight_decay": 0.0}
    tall = W.T - run(optim.Muon(1.0, **options), [g], W.T.copy())
    wide = W - run(optim.Muon(1.0, **options), [g.T.copy()])
    np.testing.assert_allclose(tall, wide.T * math.sqrt(4 / 3), rtol=1e-4, atol=1e-5)


# Behaviour ------------------------------------------------------------------------------------


def test_a_zero_gradient_in_half_precision_is_not_nan():
    for optimizer in (optim.Adam(0.1), optim.AdamW(0.1), optim.RMSprop(0.1), optim.Adagrad(0.1)):
        w = mx.array([1.0, 2.0], dtype=mx.float16)
        g = mx.array([0.0, 1.0], dtype=mx.float16)
        result = optimizer.apply_gradients({"w": g}, {"w": w})["w"]
        assert result.dtype == mx.float16
        assert np.isfinite(np.array(result)).all()


def test_a_gradient_of_another_shape_is_refused_and_nothing_changes():
    optimizer = optim.Adam(0.1)
    optimizer.init({"w": mx.ones((2,))})
    with pytest.raises(ValueError, match=r"\[Adam\] the gradient of 'a.w' has shape \(2,\)"):
        optimizer.apply_gradients({"a": {"w": mx.ones((2,))}}, {"a": {"w": mx.ones((2, 2))}})
    assert optimizer.step.item() == 0


def test_a_gradient_without_parameter_is_an_error():
    with pytest.raises(KeyError):
        optim.SGD(0.1).apply_gradients({"b": mx.ones((2,))}, {"w": mx.ones((2,))})


def test_parameters_that_appear_later_get_their_state():
    optimizer = optim.Adam(0.1)
    p = {"a": mx.ones((2,)), "b": [mx.ones((2,))]}
    optimizer.apply_gradients({"a": p["a"]}, p)
    before = optimizer.state["a"]["m"].tolist()
    optimizer.init(p)
    assert optimizer.state["a"]["m"].tolist() == before
    assert optimizer.apply_gradients(p, p)["b"][0].shape == (2,)


def test_a_parameter_may_not_be_named_as_a_number_of_the_optimiser():
    with pytest.raises(ValueError, match="'step'"):
        optim.SGD(0.1).init({"step": mx.ones((2,))})


def test_a_model_is_updated_in_place():
    model = nn.Linear(2, 1)
    before = np.array(model.weight)
    gradients = {"weight": mx.ones((1, 2)), "bias": mx.ones((1,))}
    optim.SGD(0.5).update(model, gradients)
    np.testing.assert_allclose(np.array(model.weight), before - 0.5)


def test_the_state_can_be_taken_and_set():
    first, second = optim.Adam(0.1), optim.Adam(0.9)
    run(first, GRADIENTS[:2])
    second.state = copy.deepcopy(first.state)
    np.testing.assert_array_equal(run(first, GRADIENTS[2:]), run(second, GRADIENTS[2:]))


def test_the_base_class_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="must define"):
        optim.Optimizer().apply_gradients({"w": mx.ones((1,))}, {"w": mx.ones((1,))})


@pytest.mark.parametrize(
    "build",
    [
        "SGD(0.1, nesterov=True)",
        "SGD(0.1, momentum=0.9, dampening=0.1, nesterov=True)",
        "RMSprop(0.1, alpha=-1)",
        "RMSprop(0.1, eps=-1)",
        "Adagrad(0.1, eps=-1)",
        "AdaDelta(0.1, rho=-1)",
        "AdaDelta(0.1, eps=-1)",
        "Adam(0.1, betas=(1.0, 0.9))",
        "Adam(0.1, eps=-1)",
        "Lion(0.1, betas=(0.9, 2))",
        "Adafactor(relative_step=False)",
        "MultiOptimizer([optim.SGD(0.1), optim.SGD(0.1)], [])",
        "linear_schedule(0, 1, 0)",
        "cosine_decay(0.1, 0)",
        "step_decay(0.1, 0.5, 0)",
        "join_schedules([], [])",
        "join_schedules([abs], [1])",
    ],
)
def test_settings_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError):
        eval(f"optim.{build}")


def test_a_learning_rate_can_be_set():
    optimizer = optim.SGD(0.1)
    optimizer.learning_rate = 0.5
    assert optimizer.learning_rate.item() == 0.5
    with pytest.raises(AttributeError):
        optimizer.step = 3


def test_each_optimiser_of_several_takes_its_part():
    both = optim.MultiOptimizer(
        [optim.SGD(1.0), optim.Adam(0.1)], [lambda path, array: array.ndim > 1]
    )
    p = {"a": [{"w": mx.ones((2, 2))}, {"b": mx.ones((2,))}]}
    updated = both.apply_gradients(p, p)
    assert updated["a"][0]["w"].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert 0.6 < updated["a"][1]["b"][0].item() < 0.7
    assert [s["step"].item() for s in both.state["states"]] == [1, 1]
    both.learning_rate = 0.25
    assert [o.learning_rate.item() for o in both.optimizers] == [0.25, 0.25]
    with pytest.raises(ValueError, match="Invalid state"):
        both.state = {"states": [{}]}


def test_clipping_scales_to_the_bound_and_reports_the_norm():
    clipped, norm = optim.clip_grad_norm({"a": mx.array([3.0]), "b": [mx.array([4.0])]}, 1.0)
    assert norm.item() == 5.0
    np.testing.assert_allclose(clipped["b"][0].item(), 0.8, rtol=1e-5)
    clipped, _ = optim.clip_grad_norm({"a": mx.array([3.0])}, 10.0)
    assert clipped["a"].item() == 3.0


def test_clipping_does_not_overflow_in_half_precision():
    clipped, norm = optim.clip_grad_norm({"a": mx.full((4,), 3e4, dtype=mx.float16)}, 1.0)
    assert norm.item() == 6e4
    assert clipped["a"].dtype == mx.float16
    np.testing.assert_allclose(np.array(clipped["a"]), 0.5, rtol=1e-2)


def test_an_optimizer_state_makes_missing_levels():
    state = optim.OptimizerState()
    state["a"]["b"] = 1
    assert state == {"a": {"b": 1}}
    assert state.get("zzz") is None and "zzz" not in state


def test_a_schedule_sets_the_rate_before_every_step():
    optimizer = optim.SGD(lambda step: 1.0 / (step + 1))
    assert optimizer.learning_rate.item() == 1.0
    rates = []
    for _ in range(3):
        optimizer.update({}, {})
        rates.append(round(optimizer.learning_rate.item(), 4))
    assert rates == [1.0, 0.5, 0.3333]


SCHEDULES = {
    "exponential_decay(0.1, 0.9)": lambda t: 0.1 * 0.9**t,
    "step_decay(0.1, 0.9, 4)": lambda t: 0.1 * 0.9 ** (t // 4),
    "cosine_decay(0.1, 10, 0.01)": lambda t: (
        0.01 + 0.045 * (1 + math.cos(math.pi * min(t, 10) / 10))
    ),
    "linear_schedule(0.2, 0.1, 5)": lambda t: 0.2 - 0.02 * min(t, 5),
    "join_schedules([optim.linear_schedule(0, 0.1, 3), optim.exponential_decay(0.1, 1.5)], [3])": (
        lambda t: 0.1 * t / 3 if t < 3 else 0.1 * 1.5 ** (t - 3)
    ),
}


@pytest.mark.parametrize("build", SCHEDULES)
def test_a_schedule_follows_its_formula_for_numbers_and_arrays(build):
    schedule = eval(f"optim.{build}")
    for t in (0, 1, 3, 4, 9, 10, 25):
        for step in (t, mx.array(t), mx.array(t, mx.uint64)):
            np.testing.assert_allclose(float(schedule(step)), SCHEDULES[build](t), rtol=1e-5)


# Against MLX ----------------------------------------------------------------------------------

OPTIMISERS = [
    "SGD(0.1)",
    "SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1)",
    "SGD(0.1, momentum=0.9, dampening=0.1)",
    "SGD(lambda step: 0.1 / (step + 1))",
    "RMSprop(0.1)",
    "Adagrad(0.1)",
    "AdaDelta(0.1)",
    "Adam(0.1)",
    "Adam(0.1, bias_correction=True)",
    "AdamW(0.1)",
    "AdamW(optim.cosine_decay(0.1, 3), bias_correction=True)",
    "Adamax(0.1)",
    "Lion(0.1, weight_decay=0.1)",
    "Adafactor()",
    "Adafactor(0.1, relative_step=False, beta_1=0.9, weight_decay=0.1)",
    "Adafactor(0.1, scale_parameter=False, warmup_init=True)",
    "Muon(0.1)",
    "Muon(0.1, nesterov=False, weight_decay=0.0)",
    "MultiOptimizer([optim.Adam(0.1), optim.SGD(0.2)], [lambda p, a: 'w' in p])",
]


@needs_reference
@pytest.mark.parametrize("build", OPTIMISERS)
def test_an_optimiser_and_its_state_are_those_of_mlx(build):
    core, _, reference, _ = reference_mlx()
    shapes = {"w": (3, 4), "wt": (4, 3), "b": (4,), "conv": (4, 2, 2, 3)}
    results = []
    for framework, namespace in ((mx, optim), (core, reference)):
        rng = np.random.default_rng(0)

        def draw(framework=framework, rng=rng):
            arrays = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
            return {"layers": [{k: framework.array(a)} for k, a in arrays.items()]}

        optimizer = eval(f"optim.{build}", {"optim": namespace})
        parameters = draw()
        for _ in range(3):
            parameters = optimizer.apply_gradients(draw(), parameters)
        results.append((parameters, optimizer.state))
    assert_same_tree(results[0][0], results[1][0], rtol=2e-4, atol=2e-5)
    if not build.startswith("Multi"):
        assert set(numpy_leaves(results[0][1])) == set(numpy_leaves(results[1][1]))
    assert_same_tree(results[0][1], results[1][1], rtol=2e-4, atol=2e-5)


@needs_reference
def test_every_optimiser_of_mlx_is_here():
    _, _, reference, _ = reference_mlx()
    public = {
        name
        for name, value in vars(reference).items()
        if getattr(value, "__module__", "").startswith("mlx.optimizers")
    }
    assert public <= set(dir(optim))
