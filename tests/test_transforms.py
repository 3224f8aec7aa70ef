"""Transforms of functions: nesting, trees, hard points, errors, deep graphs, changes in place.

Derivatives of single rows are tested for every row in test_table.py.
"""

import math
import threading
from collections import namedtuple

import numpy as np
import pytest
from support import check_derivatives, double, generator, to_np

import mlxc.core as mx
import mlxc.nn as nn

INF, NAN = math.inf, math.nan


def close(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(to_np(got), np.asarray(expected), rtol=tolerance, atol=tolerance)


def cubes(x):
    return (x**3).sum()


# ---- nesting ----


def test_derivatives_nest_to_any_order():
    f = mx.sin
    values = [math.sin(0.7), math.cos(0.7), -math.sin(0.7), -math.cos(0.7)]
    for order in range(6):
        close(f(mx.array(0.7)), values[order % 4])
        f = mx.grad(f)


def test_an_inner_gradient_sees_outer_variables_as_constants():
    def outer(x):
        inner = mx.grad(lambda y: x * y * y)  # d/dy = 2 x y
        return inner(x)  # 2 x**2

    close(mx.grad(outer)(mx.array(3.0)), 12.0)

    def confusing(x):
        return x * mx.grad(lambda y: x + y)(mx.array(1.0))

    close(mx.grad(confusing)(mx.array(5.0)), 1.0)


def test_jvp_of_vjp_and_vjp_of_jvp_are_hessian_products():
    (x,) = double([0.3, -1.2, 2.0])
    (v,) = double([1.0, 2.0, -1.0])
    expected = 6 * to_np(x) * to_np(v)
    (product,) = mx.jvp(mx.grad(cubes), [x], [v])[1]
    close(product, expected, 1e-12)
    (product,) = mx.vjp(mx.grad(cubes), [x], [v])[1]
    close(product, expected, 1e-12)
    product = mx.grad(lambda x: mx.jvp(cubes, [x], [v])[1][0])(x)
    close(product, expected, 1e-12)


def test_vmap_of_grad_gives_gradients_of_examples():
    rng = generator("examples")
    w, xs, ys = double(*[rng.standard_normal(shape) for shape in ((3, 2), (5, 3), (5, 2))])

    def loss(w, x, y):
        return ((x @ w - y) ** 2).sum()

    gradients = mx.vmap(mx.grad(loss), in_axes=(None, 0, 0))(w, xs, ys)
    expected = np.stack([to_np(mx.grad(loss)(w, x, y)) for x, y in zip(xs, ys)])
    close(gradients, expected, 1e-12)
    total = mx.grad(lambda w: mx.vmap(loss, in_axes=(None, 0, 0))(w, xs, ys).sum())(w)
    close(total, expected.sum(0), 1e-12)


def test_a_jacobian_is_a_vmap_of_vjp_or_of_jvp():
    def f(x):
        return mx.stack([x[0] * x[1], mx.sin(x[2]), x[0] ** 2 + x[2]])

    (x,) = double([0.5, -1.5, 2.5])
    expected = [[-1.5, 0.5, 0.0], [0, 0, math.cos(2.5)], [1.0, 0, 1]]
    (identity,) = double(np.eye(3))
    backward = mx.vmap(lambda u: mx.vjp(f, [x], [u])[1][0])(identity)
    forward = mx.vmap(lambda v: mx.jvp(f, [x], [v])[1][0], out_axes=1)(identity)
    close(backward, expected, 1e-12)
    close(forward, expected, 1e-12)


def test_vmap_of_vmap_maps_two_axes():
    x, y = mx.arange(6.0).reshape(2, 3), mx.arange(4.0)
    product = mx.vmap(mx.vmap(mx.multiply, in_axes=(0, None)), in_axes=(None, 0))(x[0], y)
    close(product, np.outer(to_np(y), to_np(x[0])))
    table = mx.vmap(lambda a: mx.vmap(lambda b: a @ b, in_axes=1)(x))(mx.ones((4, 2)))
    close(table, np.ones((4, 2)) @ to_np(x))


def test_compiled_functions_are_differentiated_and_mapped():
    @mx.compile
    def f(x):
        return mx.exp(x) * x

    x = mx.array([0.1, 0.2])
    close(mx.grad(lambda x: f(x).sum())(x), np.exp(to_np(x)) * (1 + to_np(x)))
    close(mx.vmap(f)(x), np.exp(to_np(x)) * to_np(x))
    close(mx.compile(mx.grad(lambda x: f(x).sum()))(x), np.exp(to_np(x)) * (1 + to_np(x)))
    close(mx.compile(mx.vmap(mx.grad(f)))(x), np.exp(to_np(x)) * (1 + to_np(x)))


def test_checkpoint_changes_no_gradient():
    def f(x):
        return mx.tanh(mx.sin(x) * x).sum()

    (x,) = double([0.3, 0.9])
    close(mx.grad(mx.checkpoint(f))(x), to_np(mx.grad(f)(x)), 1e-12)
    check_derivatives(mx.grad(mx.checkpoint(f)), [x], generator("checkpoint"))


def test_a_function_with_rules_of_its_own_is_asked_for_them():
    @mx.custom_function
    def f(x, y):
        return x * y

    @f.vjp
    def f_vjp(primals, cotangent, output):
        x, y = primals
        return cotangent * y * 10, cotangent * x * 100

    @f.jvp
    def f_jvp(primals, tangents):
        return primals[1] * tangents[0] * 10 + primals[0] * tangents[1] * 100

    x, y = mx.array(2.0), mx.array(3.0)
    assert f(x, y).item() == 6
    assert [g.item() for g in mx.grad(f, argnums=(0, 1))(x, y)] == [30, 200]
    assert mx.jvp(f, [x, y], [x, y])[1][0].item() == 660
    assert mx.vmap(f)(mx.array([1.0, 2.0]), mx.array([3.0, 4.0])).tolist() == [3, 8]
    pairs = mx.vmap(mx.grad(f))(mx.array([1.0, 2.0]), mx.array([3.0, 4.0]))
    assert pairs.tolist() == [30, 40]
    assert mx.grad(mx.compile(f))(x, y).item() == 30


# ---- arguments ----


def test_argnums_choose_arguments():
    def f(x, y, z):
        return x * y * y * z

    xs = [mx.array(v) for v in (2.0, 3.0, 5.0)]
    close(mx.grad(f)(*xs), 45.0)
    close(mx.grad(f, argnums=1)(*xs), 60.0)
    close(mx.grad(f, argnums=[2])(*xs), 18.0)  # one alone is no tuple, as in MLX
    for both in ((0, 2), (2, 0)):  # several come in the order of the arguments
        value, gradients = mx.value_and_grad(f, argnums=both)(*xs)
        assert isinstance(gradients, tuple)
        assert [value.item(), *(g.item() for g in gradients)] == [90.0, 45.0, 18.0]


def test_argnames_choose_keyword_arguments():
    def f(x, *, scale, shift=None):
        return (x * scale + (0 if shift is None else shift)).sum()

    x, scale, shift = mx.array([1.0, 2.0]), mx.array(3.0), mx.array(1.0)
    positional, named = mx.grad(f, argnames="scale")(x, scale=scale)
    assert positional is None
    close(named["scale"], 3.0)
    dx, named = mx.grad(f, argnums=0, argnames=["scale", "shift"])(x, scale=scale, shift=shift)
    close(dx, [3, 3])
    close(named["shift"], 2.0)
    assert set(named) == {"scale", "shift"}


Point = namedtuple("Point", "x y")


def test_trees_keep_their_structure():
    point = Point(mx.array(1.0), mx.array(2.0))
    tree = {"w": [mx.array([1.0, 2.0]), (mx.array(3.0),)], "p": point, "n": None, "k": 4}

    def f(tree):
        return (tree["w"][0] ** 2).sum() + tree["w"][1][0] * tree["p"].x + tree["k"]

    value, gradient = mx.value_and_grad(f)(tree)
    assert value.item() == 12.0
    assert gradient["w"][0].tolist() == [2, 4] and gradient["w"][1][0].item() == 1
    assert isinstance(gradient["p"], Point)
    assert gradient["p"].x.item() == 3 and gradient["p"].y.item() == 0
    assert gradient["n"] is None and gradient["k"] == 4
    mapped = mx.vmap(lambda tree: {"sum": tree["a"] + tree["b"][0]})
    mapped = mapped({"a": mx.arange(3.0), "b": [mx.ones(3)]})
    assert mapped["sum"].tolist() == [1, 2, 3]


def test_values_beside_the_loss_are_passed_through():
    def f(x):
        return (x * x).sum(), {"doubled": 2 * x, "text": "kept"}

    (value, aux), gradient = mx.value_and_grad(f)(mx.array([1.0, 3.0]))
    assert value.item() == 10 and aux["doubled"].tolist() == [2, 6] and aux["text"] == "kept"
    assert gradient.tolist() == [2, 6] and mx.grad(f)(mx.array([1.0, 3.0])).tolist() == [2, 6]


def test_one_array_in_several_places_adds_its_gradients_up():
    x = mx.array(3.0)
    assert [g.item() for g in mx.grad(lambda a, b: a * b, argnums=(0, 1))(x, x)] == [3, 3]
    assert mx.grad(lambda pair: pair[0] * pair[1])([x, x])[0].item() == 3
    assert mx.grad(lambda a: a * x)(x).item() == 3  # x from outside is a constant


def test_what_does_not_depend_on_an_argument_has_gradient_zero():
    x = mx.array([1.0, 2.0])
    assert mx.grad(lambda x: mx.array(3.0))(x).tolist() == [0, 0]
    assert mx.grad(lambda x: mx.stop_gradient(x * x).sum())(x).tolist() == [0, 0]
    outputs, products = mx.vjp(lambda a, b: [a * 2], [x, x], [x])
    assert products[1].tolist() == [0, 0]
    assert mx.jvp(lambda a: [mx.ones((2,))], [x], [x])[1][0].tolist() == [0, 0]


def test_the_outputs_of_a_function_may_be_its_inputs():
    x = mx.array([1.0, 2.0])
    assert mx.grad(lambda x: x)(mx.array(4.0)).item() == 1
    assert mx.vmap(lambda x: x)(x).tolist() == [1, 2]
    assert mx.vmap(lambda x: (x, x))(x)[1].tolist() == [1, 2]
    outputs, products = mx.vjp(lambda a, b: [b, a, b], [x, x], [x, x, x])
    assert [p.tolist() for p in products] == [[1, 2], [2, 4]]
    tangents = mx.jvp(lambda a, b: [b, a], [x, x], [x, 2 * x])[1]
    assert [t.tolist() for t in tangents] == [[2, 4], [1, 2]]


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32, mx.float64], ids=str)
def test_gradients_have_the_dtype_of_their_argument(dtype):
    w = mx.array([1.0, 2.0], dtype=dtype)
    assert mx.grad(lambda w: (w.astype(mx.float32) * mx.array([1.0, 2.0])).sum())(w).dtype == dtype
    assert mx.grad(lambda w: (w * mx.array([1, 2])).sum())(w).dtype == dtype
    assert mx.grad(lambda w: (w * 2.5).sum())(w).dtype == dtype


def test_vmap_places_its_axes_where_it_is_told():
    x = mx.arange(24.0).reshape(2, 3, 4)
    for axis in range(-3, 3):
        close(mx.vmap(lambda a: a.sum(0), in_axes=axis)(x), np.moveaxis(to_np(x), axis, 0).sum(1))
        close(mx.vmap(lambda a: a * 2, in_axes=axis, out_axes=axis)(x), to_np(x) * 2)
    left, right = mx.vmap(lambda a: (a, a[0]), in_axes=2, out_axes=(1, 0))(x)
    assert left.shape == (2, 4, 3) and right.shape == (4, 3)
    mapped = mx.vmap(lambda t, y: t["a"] + t["b"] * y, in_axes=({"a": 0, "b": None}, 1))
    table = mx.arange(6.0).reshape(2, 3)
    close(mapped({"a": mx.ones((3, 2)), "b": mx.ones((2,))}, table), to_np(table).T + 1)
    assert mx.vmap(lambda a: mx.ones((2,)))(x).shape == (2, 2)  # constants are repeated


def test_vmap_over_no_examples_gives_none():
    out = mx.vmap(lambda a: (a @ mx.ones((3, 2))).sum())(mx.zeros((0, 4, 3)))
    assert out.shape == (0,) and out.tolist() == []


# ---- hard points ----

HARD = [
    ("x**2 at 0", lambda x: x**2, 0.0, 0.0),
    ("x**3 at 0", lambda x: x**3, 0.0, 0.0),
    ("power(x, 2) at 0", lambda x: mx.power(x, 2), 0.0, 0.0),
    ("power(x, 2.0 as array) at 0", lambda x: mx.power(x, mx.array(2.0)), 0.0, 0.0),
    ("power(x, 0) at 0", lambda x: mx.power(x, mx.array(0.0)), 0.0, 0.0),
    ("x**1 at 0", lambda x: mx.power(x, 1), 0.0, 1.0),
    ("0**x at 2", lambda x: mx.power(mx.array(0.0), x), 2.0, 0.0),
    ("negative base, even power", lambda x: mx.power(x, mx.array(2.0)), -3.0, -6.0),
    ("abs at 0", mx.abs, 0.0, 0.0),
    ("arctan2(x, 1) at 0", lambda x: mx.arctan2(x, mx.array(1.0)), 0.0, 1.0),
    ("arctan2(x, x) at 0", lambda x: mx.arctan2(x, x), 0.0, 0.0),
    ("arctan2 of large numbers", lambda x: mx.arctan2(x, mx.array(1e30)), 1e30, 5e-31),
    ("logaddexp(-inf, x)", lambda x: mx.logaddexp(mx.array(-INF), x), 1.0, 1.0),
    ("logsumexp of -inf and x", lambda x: mx.logsumexp(mx.stack([x, mx.array(-INF)])), 2.0, 1.0),
    ("sigmoid far left", mx.sigmoid, -1e4, 0.0),
    ("tanh far right", mx.tanh, 1e4, 0.0),
    ("softmax of -inf", lambda x: mx.softmax(mx.stack([x, mx.array(-INF)]))[0], 1.0, 0.0),
    ("where hides sqrt(0)", lambda x: mx.where(x > 0, mx.sqrt(mx.where(x > 0, x, 1)), 0), 0.0, 0.0),
    ("maximum(x, 0) at -1", lambda x: mx.maximum(x, 0), -1.0, 0.0),
    (
        "prod with one zero",
        lambda x: mx.prod(mx.stack([x, mx.array(2.0), mx.array(3.0)])),
        0.0,
        6.0,
    ),
    ("prod with two zeros", lambda x: mx.prod(mx.stack([x, x, mx.array(3.0)])), 0.0, 0.0),
    (
        "cumprod with zeros",
        lambda x: mx.cumprod(mx.stack([mx.array(2.0), x, mx.array(3.0)])).sum(),
        0.0,
        8.0,
    ),
    ("norm at 0", lambda x: mx.linalg.norm(mx.stack([x, x])), 0.0, 0.0),
    ("std of equal values", lambda x: mx.std(mx.stack([x, x])), 1.0, 0.0),
    ("var of one value", lambda x: mx.var(mx.stack([x])), 1.0, 0.0),
]


@pytest.mark.parametrize("name, function, at, expected", HARD, ids=[case[0] for case in HARD])
def test_a_derivative_is_finite_where_the_mathematics_is(name, function, at, expected):
    (slope,) = mx.jvp(function, [mx.array(at)], [mx.array(1.0)])[1]
    assert mx.grad(function)(mx.array(at)).item() == pytest.approx(expected, rel=1e-5, abs=1e-12)
    assert slope.item() == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_ties_share_the_gradient_of_an_extremum():
    x = mx.array([1.0, 3.0, 3.0, 0.0])
    assert mx.grad(lambda x: x.max())(x).tolist() == [0, 0.5, 0.5, 0]
    assert mx.grad(lambda x: (-x).min())(x).tolist() == [0, -0.5, -0.5, 0]
    pair = mx.grad(lambda a, b: mx.maximum(a, b), argnums=(0, 1))(mx.array(2.0), mx.array(2.0))
    assert sum(g.item() for g in pair) == 1


def test_second_derivatives_are_finite_at_hard_points():
    for function, at, expected in ((lambda x: x**2, 0.0, 2.0), (lambda x: x**3, 0.0, 0.0),
                                   (lambda x: mx.power(x, mx.array(2.0)), 0.0, 2.0)):  # fmt: skip
        assert mx.grad(mx.grad(function))(mx.array(at)).item() == expected


# ---- errors that teach ----


def test_gradients_ask_for_scalar_floating_functions():
    x = mx.array([1.0, 2.0])
    for function, message in (
        (lambda x: x, r"shape \(2,\).*scalar"),
        (lambda x: 3.0, "gave float"),
        (lambda x: None, "gave NoneType"),
        (lambda x: (), "gave tuple"),
        (lambda x: x.sum().astype(mx.int32), "dtype int32"),
    ):
        with pytest.raises(ValueError, match=rf"\[grad\].*{message}"):
            mx.grad(function)(x)


def test_gradients_ask_for_floating_arguments_that_exist():
    f = mx.sum
    with pytest.raises(ValueError, match=r"\[grad\].*dtype int32.*astype"):
        mx.grad(f)(mx.array([1, 2]))
    with pytest.raises(ValueError, match=r"\[grad\].*no array"):
        mx.grad(f)(1.0)
    with pytest.raises(ValueError, match=r"\[grad\] argnums \(3,\) of 1 positional"):
        mx.grad(f, argnums=3)(mx.array(1.0))
    with pytest.raises(ValueError, match="counted from 0"):
        mx.grad(f, argnums=-1)
    with pytest.raises(ValueError, match="twice"):
        mx.grad(f, argnums=(0, 0))
    with pytest.raises(ValueError, match="no keyword argument 'y'"):
        mx.grad(f, argnames="y")(mx.array(1.0))
    with pytest.raises(ValueError, match="at least one argument"):
        mx.grad(f, argnums=[])
    with pytest.raises(TypeError):
        mx.grad(f, argnums=1.5)
    for transform in (mx.grad, mx.value_and_grad, mx.vmap, mx.compile, mx.checkpoint):
        with pytest.raises(TypeError, match="not callable"):
            transform(3)


def test_vectors_must_fit_what_they_multiply():
    x = mx.array([1.0, 2.0])
    with pytest.raises(ValueError, match=r"\[vjp\] 2 cotangents for 1"):
        mx.vjp(mx.sin, [x], [x, x])
    with pytest.raises(ValueError, match=r"\[vjp\].*shape \(1,\).*\(2,\) would be right"):
        mx.vjp(mx.sin, [x], [x[:1]])
    with pytest.raises(ValueError, match=r"\[jvp\] 2 tangents for 1"):
        mx.jvp(mx.sin, [x], [x, x])
    with pytest.raises(ValueError, match=r"\[jvp\] outputs of type float"):
        mx.jvp(lambda x: 1.0, [x], [x])


def test_vmap_says_which_sizes_do_not_fit():
    x = mx.ones((2, 3))
    with pytest.raises(ValueError, match=r"\[vmap\] sizes \[2, 3\]"):
        mx.vmap(mx.add, in_axes=(0, 1))(x, x)
    with pytest.raises(ValueError, match=r"\[vmap\] axis 2"):
        mx.vmap(mx.sin, in_axes=2)(x)
    with pytest.raises(ValueError, match=r"\[vmap\] no input"):
        mx.vmap(mx.sin, in_axes=None)(x)
    with pytest.raises(ValueError, match=r"\[vmap\] 1 axes for 2 values"):
        mx.vmap(mx.add, in_axes=(0,))(x, x)
    with pytest.raises(ValueError, match="out_axes None"):
        mx.vmap(mx.sin, out_axes=None)(x)
    with pytest.raises(ValueError, match=r"\[vmap\]"):
        mx.vmap(mx.sin, in_axes="a")(x)
    with pytest.raises(ValueError, match=r"\[vmap\]"):
        mx.vmap(mx.sin, out_axes=7)(x)


@pytest.mark.parametrize("transform", [mx.vmap, mx.compile], ids=["vmap", "compile"])
def test_a_value_asked_for_while_traced_says_so(transform):
    x = mx.array([1.0, 2.0])
    for ask in (
        lambda x: x * (1 if x.sum() > 0 else 2),
        lambda x: x * x.sum().item(),
        lambda x: print(x) or x,
        lambda x: x * float(x.sum()),
        lambda x: np.array(x) * x,
        lambda x: mx.eval(x) or x,
    ):
        with pytest.raises(ValueError, match=r"\[eval\].*traces the function"):
            transform(ask)(x)
    assert transform(mx.sin)(x).shape == (2,)


def test_values_are_known_inside_gradients():
    def f(x):
        y = (x * x).sum()
        mx.eval(y)
        assert y.item() > 0
        return y * (2 if y > 1 else 3)

    assert mx.grad(f)(mx.array([1.0, 2.0])).tolist() == [4, 8]
    assert mx.grad(f)(mx.array([0.5])).tolist() == [3]
    assert mx.grad(mx.grad(lambda x: x**3 if x.item() > 0 else x))(mx.array(2.0)).item() == 12


def test_an_error_in_a_traced_function_leaves_everything_usable():
    def fails(x):
        x + 1
        raise KeyError("mine")

    x = mx.array([1.0])
    for transform in (mx.grad, mx.vmap, mx.compile, mx.checkpoint, mx.value_and_grad):
        with pytest.raises(KeyError, match="mine"):
            transform(fails)(x)
    assert (x + 1).item() == 2 and mx.grad(mx.sum)(x).item() == 1


# ---- random functions ----

STEPS = (
    lambda x, y: mx.sin(x) * y,
    lambda x, y: mx.exp(-mx.square(x)) + y,
    lambda x, y: x - x.mean(axis=-1, keepdims=True),
    lambda x, y: mx.softmax(x, axis=0) * x.shape[0],
    lambda x, y: x @ mx.swapaxes(y, -1, -2) @ x / 10,
    lambda x, y: x[::-1] * 2 - y,
    lambda x, y: mx.where(y > 0, x, 0.5 * y),
    lambda x, y: mx.concatenate([x[:, 1:], y[:, :1]], axis=1),
    lambda x, y: x.T.reshape(x.shape) + y,
    lambda x, y: mx.cumsum(x, axis=1) / 4,
    lambda x, y: x * mx.rsqrt(1 + mx.square(y).sum(0)),
    lambda x, y: mx.logaddexp(x, y),
    lambda x, y: mx.take(x, mx.array([2, 0, 1]), axis=0) * y,
    lambda x, y: mx.broadcast_to(x.max(axis=1, keepdims=True), x.shape) + y,
    lambda x, y: mx.sort(x, axis=1) * 0.5 + mx.tanh(y),
)


def random_function(seed):
    """A function of two arrays of shape (3, 4), of a few random steps."""
    rng = np.random.default_rng(seed)
    program = [(STEPS[rng.integers(len(STEPS))], *rng.integers(0, 100, 2)) for _ in range(6)]

    def function(x, y):
        values = [x, y]
        for step, i, j in program:
            values.append(step(values[-1 - i % 3 % len(values)], values[j % len(values)]))
        return values[-1]

    return function


@pytest.mark.parametrize("seed", range(40))
def test_transforms_of_a_random_function_agree(seed):
    function, rng = random_function(seed), generator(seed)
    x, y = double(rng.standard_normal((3, 4)), rng.standard_normal((3, 4)))
    check_derivatives(function, [x, y], rng, rounds=1)
    close(mx.compile(function)(x, y), to_np(function(x, y)), 1e-12)
    close(mx.checkpoint(function)(x, y), to_np(function(x, y)), 1e-12)
    weights = double(rng.standard_normal((3, 4)))[0]

    def gradient(x, y):
        return mx.grad(lambda x: (function(x, y) * weights).sum())(x)

    close(mx.compile(gradient)(x, y), to_np(gradient(x, y)), 1e-10)
    xs, ys = double(rng.standard_normal((2, 3, 4)), rng.standard_normal((3, 2, 4)))
    for f in (function, gradient):
        mapped = to_np(mx.vmap(f, in_axes=(0, 1))(xs, ys))
        close(mapped, [to_np(f(xs[k], ys[:, k])) for k in range(2)], 1e-10)
        mapped = to_np(mx.vmap(f, in_axes=(None, 1), out_axes=2)(x, ys))
        close(mapped, np.stack([to_np(f(x, ys[:, k])) for k in range(2)], axis=2), 1e-10)
    check_derivatives(mx.compile(gradient), [x, y], rng, tolerance=1e-5, rounds=1)


# ---- deep graphs ----


def run_in_a_small_thread(function):
    """Run a function in a thread of 256 KiB of stack; what it raises is raised here."""
    errors = []

    def target():
        try:
            function()
        except BaseException as error:
            errors.append(error)

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    if errors:
        raise errors[0]


def test_a_chain_of_a_million_operations_is_evaluated_and_freed():
    from mlxc._graph import set_pending_limit

    def chain():
        before = set_pending_limit(10_000_000)  # let it grow as deep as that
        try:
            grow()
        finally:
            set_pending_limit(before)

    def grow():
        x = start = mx.array(0.0)
        for _ in range(1_000_000):
            x = x + 1
        assert x.item() == 1_000_000
        x = start
        for _ in range(1_000_000):
            x = mx.negative(x)
        del x  # never evaluated

    limit = set_pending_limit(3_000_000)  # by itself, so long a graph would be evaluated on the way
    try:
        run_in_a_small_thread(chain)
    finally:
        set_pending_limit(limit)


def test_the_gradient_of_a_function_a_hundred_thousand_operations_deep():
    def deep(x):
        for _ in range(100_000):
            x = x * 1.00001
        return x

    def check():
        gradient = mx.grad(deep)(mx.array(2.0))
        assert gradient.item() == pytest.approx(1.00001**100_000, rel=1e-2)
        (tangent,) = mx.jvp(deep, [mx.array(2.0)], [mx.array(1.0)])[1]
        assert tangent.item() == gradient.item()

    run_in_a_small_thread(check)


def test_vmap_and_compile_of_a_deep_function():
    def deep(x):
        for _ in range(20_000):
            x = x + 1
        return x

    def check():
        assert mx.vmap(deep)(mx.array([1.0, 2.0])).tolist() == [20_001, 20_002]
        assert mx.compile(deep)(mx.array(1.0)).item() == 20_001

    run_in_a_small_thread(check)


def test_graphs_are_freed_when_nothing_holds_them():
    from mlxc._graph import node_count

    def step(w):
        return w - 0.1 * mx.grad(lambda w: (mx.tanh(w) ** 2).sum())(w)

    w = mx.ones((4,))
    mx.eval(w)
    before = node_count()
    for _ in range(50):
        w = step(w)
        mx.eval(w)
    assert node_count() <= before + 8


# ---- changes in place ----


def test_changes_in_place_inside_a_function_are_differentiated():
    def f(x):
        y = x * 1
        y += x
        y *= x
        y[0] = 0
        return y.sum()

    assert mx.grad(f)(mx.array([1.0, 2.0, 3.0])).tolist() == [0, 8, 12]
    assert mx.vmap(f)(mx.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [8, 32]


def test_a_function_may_change_its_argument_without_the_caller_seeing_it():
    def f(x):
        x += 1
        return (x * x).sum()

    x = mx.array([1.0, 2.0])
    assert mx.grad(f)(x).tolist() == [4, 6] and x.tolist() == [1, 2]
    assert mx.grad(lambda x: f(x))(x).tolist() == [4, 6] and x.tolist() == [1, 2]

    def doubles(x, y):
        x *= 2
        y += x
        return x * y

    assert mx.vmap(doubles)(mx.stack([x, x]), mx.stack([x, x])).tolist() == [[6, 24], [6, 24]]
    assert mx.vmap(doubles, in_axes=(0, None))(mx.stack([x]), x).tolist() == [[6, 24]]
    assert x.tolist() == [1, 2]
    assert mx.jvp(doubles, [x, x], [x, x])[1][0].tolist() == [12, 48]
    assert mx.vjp(doubles, [x, x], [x])[1][0].tolist() == [10, 40] and x.tolist() == [1, 2]
    compiled = mx.compile(doubles)
    assert compiled(x, x).tolist() == compiled(x, x).tolist() == [6, 24] and x.tolist() == [1, 2]


def test_values_used_before_a_change_keep_theirs():
    x = mx.array([1.0, 2.0, 3.0])
    y, z = x * 2, x[1:]
    x += 10
    x[0] = 5
    assert y.tolist() == [2, 4, 6] and z.tolist() == [2, 3] and x.tolist() == [5, 12, 13]
    view = x.reshape(3)
    view += 1
    assert x.tolist() == [5, 12, 13]
    alias = x
    alias -= 1
    assert x.tolist() == [4, 11, 12]


def test_evaluation_in_place_never_writes_to_what_is_still_held():
    rng = np.random.default_rng(0)
    for _ in range(20):
        x = mx.array(rng.standard_normal(5000).astype(np.float32))
        expected = np.array(x)
        y = x
        kept = []
        for k in range(6):
            y = y * 1.5 + 1
            if k % 2:
                mx.eval(y)
            kept.append((y, expected := expected * np.float32(1.5) + np.float32(1)))
        for array, value in kept:
            close(array, value, 1e-5)


# ---- threads ----


def test_arrays_made_in_one_thread_are_used_in_another():
    made, results = [], []

    def make():
        x = mx.arange(1000.0)
        made.append((x, mx.sin(x) + 1))  # not evaluated

    def use():
        x, y = made[0]
        results.append(float((y * 2).sum().item()))
        results.append(mx.grad(lambda x: (x * y).sum())(x).shape)

    for work in (make, use):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert results[0] == pytest.approx(float((2 * (np.sin(np.arange(1000.0)) + 1)).sum()), rel=1e-5)
    assert results[1] == (1000,)


def test_threads_transform_at_the_same_time():
    failures = []

    def work(seed):
        try:
            rng = np.random.default_rng(seed)
            w = mx.array(rng.standard_normal((8, 8)).astype(np.float32))
            for _ in range(20):
                gradient = mx.grad(lambda w: mx.tanh(w @ w).sum())(w)
                tangent = mx.vmap(lambda row: mx.softmax(row))(gradient)
                assert np.isfinite(to_np(tangent)).all()
                close(to_np(tangent).sum(1), np.ones(8))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_integers_among_what_is_differentiated_get_gradients_of_their_own_dtype():
    parameters = {
        "w": mx.array([1.0, 2.0]),
        "rows": mx.array([1, 0]),
        "on": mx.array([True, False]),
    }
    gradients = mx.grad(lambda p: (p["w"][p["rows"]] * p["on"] * 3.0).sum())(parameters)
    assert gradients["w"].tolist() == [0, 3]
    assert gradients["rows"].dtype == mx.int32 and gradients["rows"].tolist() == [0, 0]
    assert gradients["on"].dtype == mx.bool_
    model = nn.Linear(2, 1)
    model.table = mx.array([3, 4])
    step = nn.value_and_grad(model, lambda m: m(mx.ones((1, 2)) * m.table).sum())
    assert step(model)[1]["weight"].tolist() == [[3, 4]]
