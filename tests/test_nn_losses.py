"""Losses against their formulas in NumPy, at extreme inputs, and with inputs that do not fit."""

import math

import numpy as np
import pytest

import mlxc.core as mx
from mlxc.nn import losses

RNG = np.random.default_rng(1)
A = RNG.normal(size=(3, 4)).astype(np.float32)
B = RNG.normal(size=(3, 4)).astype(np.float32)
CLASSES = np.array([0, 3, 1])
P = np.exp(B) / np.exp(B).sum(1, keepdims=True)
SIGNS = np.sign(B)
VARIANCES = np.abs(B) + 0.1
LOG_P = A - np.log(np.exp(A).sum(1, keepdims=True))
ROWS = np.arange(3)
E = np.abs(A - B)


def norm(x):
    return np.sqrt((x**2).sum(1) + 1e-6)


FORMULAS = [
    ("cross_entropy", (A, CLASSES), {}, -LOG_P[ROWS, CLASSES]),
    ("cross_entropy", (A, P), {}, -(P * LOG_P).sum(1)),
    (
        "cross_entropy",
        (A, CLASSES),
        {"label_smoothing": 0.2},
        -0.8 * LOG_P[ROWS, CLASSES] - 0.2 * LOG_P.mean(1),
    ),
    ("cross_entropy", (A.T.copy(), CLASSES), {"axis": 0}, -LOG_P[ROWS, CLASSES]),
    (
        "cross_entropy",
        (A, CLASSES),
        {"weights": mx.array([1.0, 2.0, 3.0])},
        -LOG_P[ROWS, CLASSES] * [1, 2, 3],
    ),
    ("binary_cross_entropy", (A, P), {}, np.logaddexp(0, A) - A * P),
    (
        "binary_cross_entropy",
        (P, np.abs(SIGNS)),
        {"with_logits": False, "weights": mx.full((3, 4), 2.0)},
        -2 * np.log(P),
    ),
    ("l1_loss", (A, B), {}, E),
    ("mse_loss", (A, B), {}, E**2),
    ("nll_loss", (LOG_P, CLASSES), {}, -LOG_P[ROWS, CLASSES]),
    (
        "gaussian_nll_loss",
        (A, B, VARIANCES),
        {"full": True},
        (np.log(VARIANCES) + E**2 / VARIANCES + math.log(2 * math.pi)) / 2,
    ),
    ("kl_div_loss", (LOG_P, np.log(P)), {}, (P * (np.log(P) - LOG_P)).sum(1)),
    ("smooth_l1_loss", (A, B), {"beta": 0.5}, np.where(E < 0.5, E**2, E - 0.25)),
    ("triplet_loss", (A, B, A + 0.1), {}, np.maximum(norm(A - B) - norm(0.1 + 0 * A) + 1, 0)),
    ("hinge_loss", (A, SIGNS), {}, np.maximum(0, 1 - A * SIGNS)),
    ("huber_loss", (A, B), {"delta": 0.5}, np.where(E <= 0.5, E**2 / 2, 0.5 * (E - 0.25))),
    ("log_cosh_loss", (A, B), {}, np.log(np.cosh(A - B))),
    (
        "cosine_similarity_loss",
        (A, B),
        {},
        (A * B).sum(1) / np.linalg.norm(A, axis=1) / np.linalg.norm(B, axis=1),
    ),
    (
        "margin_ranking_loss",
        (A, B, SIGNS),
        {"margin": 0.5},
        np.maximum(0, -SIGNS * (A - B) + 0.5),
    ),
]


@pytest.mark.parametrize(("name", "inputs", "options", "expected"), FORMULAS)
def test_a_loss_follows_its_formula_in_every_reduction(name, inputs, options, expected):
    arrays = [mx.array(np.asarray(x, np.int32 if x is CLASSES else np.float32)) for x in inputs]
    loss = getattr(losses, name)
    for reduction, reduced in (
        ("none", expected),
        ("mean", expected.mean()),
        ("sum", expected.sum()),
    ):
        result = loss(*arrays, **options, reduction=reduction)
        np.testing.assert_allclose(np.array(result), reduced, rtol=2e-5, atol=2e-6)
    with pytest.raises(ValueError, match="Invalid reduction"):
        loss(*arrays, **options, reduction="median")


BIG = mx.array([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4]])
EXTREMES = {
    "cross_entropy": lambda x: losses.cross_entropy(x, mx.array([1, 0])),
    "binary_cross_entropy": lambda x: losses.binary_cross_entropy(x, mx.zeros((2, 3))),
    "smooth_l1_loss": lambda x: losses.smooth_l1_loss(x * 1e30, mx.zeros((2, 3)), 1.0, "sum"),
    "huber_loss": lambda x: losses.huber_loss(x * 1e30, mx.zeros((2, 3))),
    "log_cosh_loss": lambda x: losses.log_cosh_loss(x, mx.zeros((2, 3))),
    "triplet_loss": lambda x: losses.triplet_loss(x, x, x),
    "gaussian_nll_loss": lambda x: losses.gaussian_nll_loss(x, x, mx.zeros((2, 3))),
    "hinge_loss": lambda x: losses.hinge_loss(x, mx.ones((2, 3))),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_losses_and_gradients_stay_finite_at_extreme_inputs(name):
    function = EXTREMES[name]
    assert np.isfinite(np.array(function(BIG))).all()
    assert np.isfinite(np.array(mx.grad(lambda x: function(x).sum())(BIG))).all()


def test_certain_probabilities_cost_at_most_a_hundred():
    loss = losses.binary_cross_entropy(
        mx.array([0.0, 1.0, 1.0]), mx.array([1, 0, 1]), with_logits=False, reduction="none"
    )
    assert loss.tolist() == [100.0, 100.0, 0.0]


def test_impossible_classes_cost_nothing_when_they_have_no_probability():
    logits = mx.array([[0.0, 0.0, -float("inf")]])
    target = mx.array([[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(losses.cross_entropy(logits, target).item(), math.log(2), rtol=1e-5)
    with np.errstate(divide="ignore"):
        logs = mx.array(np.log(np.array([[0.5, 0.5, 0.0]], np.float32)))
    assert losses.kl_div_loss(logs, logs).item() == 0.0


def test_half_precision_losses_keep_their_dtype():
    a = mx.array(A, dtype=mx.float16)
    loss = losses.cross_entropy(a, mx.array(CLASSES))
    assert loss.dtype == mx.float16
    np.testing.assert_allclose(np.array(loss), -LOG_P[ROWS, CLASSES], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", "binary_cross_entropy l1_loss mse_loss smooth_l1_loss".split())
def test_shapes_of_predictions_and_targets_must_be_the_same(name):
    with pytest.raises(ValueError, match=rf"\[{name}\] .*\(2, 3\).*\(3,\)"):
        getattr(losses, name)(mx.ones((2, 3)), mx.ones((3,)))
    with pytest.raises(TypeError, match="float"):
        getattr(losses, name)(mx.ones((2, 3)), 1.0)


@pytest.mark.parametrize("name", "kl_div_loss hinge_loss huber_loss log_cosh_loss".split())
def test_one_row_of_targets_or_a_number_stands_for_all(name):
    loss = getattr(losses, name)
    expected = loss(mx.array(A), mx.array(np.broadcast_to(B[0], A.shape))).tolist()
    assert loss(mx.array(A), mx.array(B[0])).tolist() == expected
    expected = loss(mx.array(A), mx.full(A.shape, 0.5)).tolist()
    assert loss(mx.array(A), 0.5).tolist() == expected == loss(mx.array(A), mx.array(0.5)).tolist()
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(5,\)|\(5,\).*\(2, 3\)"):
        loss(mx.ones((2, 3)), mx.ones((5,)))


def test_one_vector_is_compared_with_many():
    a, b, row = mx.array(A), mx.array(B), mx.broadcast_to(mx.array(B[0]), A.shape)
    similar = losses.cosine_similarity_loss
    np.testing.assert_allclose(similar(a, b[:1]), similar(a, row), rtol=1e-6)
    assert (
        losses.triplet_loss(a, b[0], a + 1).tolist() == losses.triplet_loss(a, row, a + 1).tolist()
    )


def test_inputs_that_do_not_fit_are_refused():
    x, y = mx.ones((2, 3)), mx.array([0, 1])
    for call in (
        lambda: losses.cross_entropy(x, mx.array([0, 1, 2])),
        lambda: losses.cross_entropy(x, y, axis=2),
        lambda: losses.cross_entropy(x, y, label_smoothing=1.0),
        lambda: losses.cross_entropy(x, y, label_smoothing=-0.1),
        lambda: losses.cross_entropy(x, y, weights=mx.ones((3,))),
        lambda: losses.binary_cross_entropy(x, x, weights=mx.ones((3,))),
        lambda: losses.nll_loss(x, mx.array([0, 1, 2])),
        lambda: losses.gaussian_nll_loss(x, x, mx.ones((3,))),
        lambda: losses.smooth_l1_loss(x, x, beta=-1.0),
        lambda: losses.triplet_loss(x, x, mx.ones((5,))),
        lambda: losses.margin_ranking_loss(x, x, mx.ones((3,))),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(TypeError, match="integers"):
        losses.cross_entropy(x, mx.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="array"):
        losses.cross_entropy(x, [0, 1])


@pytest.mark.parametrize(
    "name", ["hinge_loss", "huber_loss", "log_cosh_loss", "kl_div_loss", "cosine_similarity_loss"]
)
def test_what_is_no_array_or_does_not_broadcast_is_said_in_our_words(name):
    loss = getattr(losses, name)
    with pytest.raises(ValueError, match=r"^\["):
        loss(np.zeros((3, 64), np.float32), mx.zeros((64, 3)))
    with pytest.raises(TypeError, match=r"^\["):
        loss("a", 3)


def test_a_norm_of_degree_0_is_no_norm():
    with pytest.raises(ValueError, match=r"\[triplet_loss\] p is 0"):
        losses.triplet_loss(mx.array(A), mx.array(B), mx.array(B), p=0)
