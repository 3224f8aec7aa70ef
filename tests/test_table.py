"""The free tests: what every row promises, checked for every row.

A new row is tested by being there: against NumPy for every dtype and layout, its derivatives
against finite differences and each other, vmap against a loop, bad input refused. Rows with no
reference or samples fail.
"""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from support import (
    COMPUTE,
    KIND,
    LAYOUTS,
    NAMES,
    NUMPY,
    as_outputs,
    assert_close,
    check_derivatives,
    direction,
    double,
    generator,
    is_floating,
    laid_out,
    looped,
    of_kind,
    sample,
    to_mx,
    to_np,
    wide,
)

import mlxc.core as mx
from mlxc._table.dtypes import promote
from mlxc._table.rows import NoGradient

ELEMENTWISE, REDUCTIONS = of_kind("elementwise"), of_kind("reduction")
KERNELS, MOVEMENTS = of_kind("kernel"), of_kind("movement")
SHAPE = (5, 7)


def name_of(value):
    return getattr(value, "name", None)


def rows(some):
    """Parametrise a test over rows."""
    return pytest.mark.parametrize("row", some, ids=name_of)


@pytest.fixture(autouse=True)
def quiet():
    """References overflow and divide by zero on purpose."""
    with np.errstate(all="ignore"):
        yield


# ---- elementwise ----


def apply(row, *xs):
    """The public function of a row, or the row itself where it has none."""
    return getattr(mx, row.name)(*xs) if row.public and row.arity < 3 else mx._bind(row.name, xs)


def operand_name(row, name):
    """The dtype that a row computes operands of a dtype in; None if it refuses them."""
    kind = KIND[name]
    if row.name == "select":
        return name
    if name in row.refuses or (row.inputs == "int" and kind in "fc"):
        return None
    if row.inputs == "float" and kind in "biu":
        name = "float32"
    if row.inputs == "bool":
        name = "bool_"
    if row.inputs == "int" and kind == "b" and "b8" not in row.types:
        name = "uint8"
    return name if COMPUTE[name] in row.types else None


def result_name(row, name):
    """The dtype that a row gives for operands computed in a dtype."""
    if row.out == "bool":
        return "bool_"
    return "float32" if row.out == "real" and KIND[name] == "c" else name


def operands(row, rng, name, shape=SHAPE):
    """NumPy operands from a row's domain."""
    domain = row.domain
    if not isinstance(domain[0], tuple):
        domain = (domain,) * row.arity
    if row.name == "power" and KIND[name] in "iu":  # NumPy refuses negative powers of integers
        domain = (domain[0], (0, 3))
    values = [sample(rng, name, shape, *bounds) for bounds in domain]
    if KIND[name] == "b" and row.inputs == "float" and domain[0][1] < 1:  # True lies outside
        values = [np.zeros(shape, bool)] * row.arity
    if (
        row.name in ("floor_divide", "remainder") and KIND[name] == "f"
    ):  # rounding must not cross an integer
        steps = np.floor(wide(values[0])) + rng.uniform(0.1, 0.9, shape)
        values[0] = (steps * wide(values[1])).astype(NUMPY[name])
    if row.name == "select":
        values[0] = sample(rng, "bool_", shape)
    return values


def reference_of(row, xs, name):
    """What NumPy gives for operands: integers in their own dtype, floats in the widest one."""
    function = getattr(np, row.reference) if isinstance(row.reference, str) else row.reference
    computed = operand_name(row, name)
    if row.name == "logaddexp" and KIND[computed] == "c":  # NumPy has it for real numbers only
        return np.log(np.exp(xs[0].astype(complex)) + np.exp(xs[1].astype(complex)))
    first = 1 if row.name == "select" else 0
    if KIND[computed] == "b" and first == 0:
        # NumPy leaves some arithmetic of bools undefined; ours is that of integers, as a bool.
        try:
            result = function(*[x.astype(bool) for x in xs])
        except TypeError:
            result = None
        if result is None or result.dtype != bool:
            result = function(*[x.astype(np.int64) for x in xs]) != 0
        return result
    xs = xs[:first] + [wide(x.astype(NUMPY[computed])) for x in xs[first:]]
    return np.asarray(function(*xs))


CASES = [(row, name) for row in ELEMENTWISE for name in NAMES if operand_name(row, name)]
REFUSED = [(row, name) for row in ELEMENTWISE for name in NAMES if not operand_name(row, name)]


@pytest.mark.parametrize("row, name", CASES, ids=name_of)
def test_an_elementwise_row_equals_numpy_for_every_dtype(row, name):
    rng = generator(row.name, name)
    xs = operands(row, rng, name)
    out = apply(row, *map(to_mx, xs))
    result = result_name(row, operand_name(row, name))
    assert out.dtype.name == result
    assert_close(out, reference_of(row, xs, name), result, factor=3)


@pytest.mark.parametrize("row, name", REFUSED, ids=name_of)
def test_an_elementwise_row_refuses_a_dtype_it_has_no_formula_for(row, name):
    xs = [to_mx(x) for x in operands(row, generator(row.name), name)]
    with pytest.raises(ValueError, match=rf"\[{row.name}\].*dtype {name.rstrip('_')}"):
        apply(row, *xs)


def usual_name(row):
    """The dtype in which layouts are tested."""
    return "float32" if operand_name(row, "float32") else "int32"


@rows(ELEMENTWISE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_elementwise_row_reads_every_layout(row, layout):
    name = usual_name(row)
    xs = operands(row, generator(row.name, layout), name, (33, 45))
    expected = reference_of(row, xs, name)
    result = result_name(row, operand_name(row, name))
    assert_close(apply(row, *[laid_out(x, layout) for x in xs]), expected, result, factor=3)
    mixed = [laid_out(x, layout if k == 0 else "dense") for k, x in enumerate(xs)]
    assert_close(apply(row, *mixed), expected, result, factor=3)


@rows(ELEMENTWISE)
def test_an_elementwise_row_broadcasts(row):
    name = usual_name(row)
    rng = generator(row.name, "broadcast")
    shapes = [(4, 1, 3), (5, 1), (4, 1, 1)]
    xs = [operands(row, rng, name, shapes[k])[k] for k in range(row.arity)]
    result = result_name(row, operand_name(row, name))
    assert_close(apply(row, *map(to_mx, xs)), reference_of(row, xs, name), result, factor=3)
    stretched = [mx.broadcast_to(to_mx(x[..., :1]), (*x.shape[:-1], 6)) for x in xs]
    full = [np.broadcast_to(x[..., :1], (*x.shape[:-1], 6)) for x in xs]
    assert_close(apply(row, *stretched), reference_of(row, full, name), result, factor=3)


@rows(ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1), (4099,)], ids=str)
def test_an_elementwise_row_takes_every_size(row, shape):
    name = usual_name(row)
    xs = operands(row, generator(row.name, shape), name, shape)
    result = result_name(row, operand_name(row, name))
    assert_close(apply(row, *map(to_mx, xs)), reference_of(row, xs, name), result, factor=3)


@rows([row for row in ELEMENTWISE if row.arity > 1])
def test_an_elementwise_row_refuses_shapes_that_do_not_broadcast(row):
    xs = operands(row, generator(row.name), usual_name(row))
    bad = [to_mx(x[:, :3] if k else x) for k, x in enumerate(xs)]
    with pytest.raises(ValueError, match=rf"\[{row.name}\].*broadcast"):
        apply(row, *bad)


@rows([row for row in ELEMENTWISE if row.arity == 2])
def test_an_elementwise_row_promotes_as_the_dtype_table_says(row):
    rng = generator(row.name, "promotion")
    for first, second in itertools.combinations(NAMES, 2):
        promoted = promote(first, second)
        if operand_name(row, promoted):
            x, y = to_mx(operands(row, rng, first)[0]), to_mx(operands(row, rng, second)[1])
            expected = result_name(row, operand_name(row, promoted))
            assert apply(row, x, y).dtype.name == expected, (first, second)


def differentiable(row):
    """Elementwise rows of floats."""
    return "f64" in row.types and row.inputs != "bool" or row.name == "select"


DIFFERENTIABLE = [row for row in ELEMENTWISE if differentiable(row)]
ZERO = "stop_gradient"  # the one row whose derivative is not that of its values


def as_float(row, xs):
    """The function of a row in its floating operands, with a floating result; select's condition
    stays fixed."""
    fixed = xs[:1] if row.name == "select" else []

    def function(*free):
        out = apply(row, *fixed, *free)
        return out if is_floating(out) else out.astype(mx.float64)

    return function, xs[len(fixed) :]


def float_operands(row, rng, shape=(4, 3)):
    xs = operands(row, rng, "float64", shape)
    return [to_mx(x) for x in xs]


def slope(function, xs, k, step=1e-6):
    """Elementwise central difference in operand k."""
    ahead = [x + step if i == k else x for i, x in enumerate(xs)]
    behind = [x - step if i == k else x for i, x in enumerate(xs)]
    return (to_np(function(*ahead)) - to_np(function(*behind))) / (2 * step)


@rows([row for row in DIFFERENTIABLE if row.name != ZERO])
def test_the_gradient_of_an_elementwise_row_is_its_slope(row):
    function, xs = as_float(row, float_operands(row, generator(row.name, "gradient")))
    for k in range(len(xs)):
        gradient = mx.grad(lambda *a: function(*a).sum(), argnums=k)(*xs)
        np.testing.assert_allclose(to_np(gradient), slope(function, xs, k), rtol=1e-6, atol=1e-7)


@rows([row for row in DIFFERENTIABLE if row.name != ZERO])
def test_the_second_derivative_of_an_elementwise_row_is_the_slope_of_the_first(row):
    function, xs = as_float(row, float_operands(row, generator(row.name, "second")))
    for k in range(len(xs)):
        first = mx.grad(lambda *a: function(*a).sum(), argnums=k)
        for j in range(len(xs)):
            second = mx.grad(lambda *a, first=first: first(*a).sum(), argnums=j)(*xs)
            np.testing.assert_allclose(to_np(second), slope(first, xs, j), rtol=1e-5, atol=1e-6)


@rows(DIFFERENTIABLE)
def test_jvp_and_vjp_of_an_elementwise_row_agree(row):
    rng = generator(row.name, "jvp")
    function, xs = as_float(row, float_operands(row, rng))
    if row.name == ZERO:
        return check_stopped(function, xs)
    check_derivatives(function, xs, rng)


def check_stopped(function, xs):
    """stop_gradient's tangents and cotangents are zero."""
    assert to_np(mx.vjp(function, xs, xs)[1][0]).any() == 0
    assert to_np(mx.jvp(function, xs, xs)[1][0]).any() == 0


@rows([row for row in DIFFERENTIABLE if operand_name(row, "complex64") and row.name != ZERO])
def test_derivatives_of_an_elementwise_row_hold_for_complex_numbers(row):
    rng = generator(row.name, "complex")
    name = result_name(row, "complex64")
    if KIND[name] == "b" or row.name in ("sign", "rint", "maximum", "minimum"):
        # constant almost everywhere along the reals only, or ordered: not differentiable there
        return None
    xs = [to_mx(x) for x in operands(row, rng, "complex64", (4, 3))]
    function, xs = as_float(row, xs)
    return check_derivatives(function, xs, rng, step=1e-2, tolerance=5e-3)


AXES = {1: [(0,), (1,)], 2: [(0, 0), (1, None), (None, 0), (0, 1)], 3: [(0, 0, 0), (None, 1, 0)]}


@rows(ELEMENTWISE)
def test_vmap_of_an_elementwise_row_equals_a_loop(row):
    name = usual_name(row)
    result = result_name(row, operand_name(row, name))
    xs = [to_mx(x) for x in operands(row, generator(row.name, "vmap"), name, (4, 4))]
    for axes in AXES[row.arity]:
        mapped = mx.vmap(lambda *a: apply(row, *a), in_axes=axes)(*xs)
        (expected,) = looped(lambda *a: apply(row, *a), axes, xs)
        assert_close(mapped, to_np(expected), result)


@rows([row for row in ELEMENTWISE if row.public and row.arity < 3])
def test_an_elementwise_row_takes_python_numbers_and_has_its_other_names(row):
    name = usual_name(row)
    xs = operands(row, generator(row.name, "numbers"), name, ())
    numbers = [x.item() for x in xs]
    expected = reference_of(row, xs, name)
    result = result_name(row, operand_name(row, name))
    for alias in (row.name, *row.aliases):
        assert_close(getattr(mx, alias)(*numbers), expected, result, factor=3)
    if row.method:
        assert_close(getattr(to_mx(xs[0]), row.name)(), expected, result, factor=3)


# ---- reductions ----

BLOCK = (3, 4, 5)
ALL_AXES = [None, *range(3), -1, (0, 1), (0, 2), (1, 2), (0, 1, 2), ()]


def reduced_name(row, name):
    """The dtype of a reduction of a dtype."""
    if row.out == "bool":
        return "bool_"
    if row.out == "wide" and COMPUTE[name] in ("b8", "i32") and name != "int32":
        return "uint32" if KIND[name] == "u" else "int32"
    return name


def reduce_reference(row, x, axis, keepdims, name):
    """NumPy's reduction in the result's own integers, or the widest floats."""
    axes = tuple(range(x.ndim)) if axis is None else axis
    x = wide(x)
    if KIND[name] in "iu":
        x = x.astype(NUMPY[name])
        if row.name in ("sum", "prod"):
            return getattr(np, row.reference)(x, axis=axes, keepdims=keepdims, dtype=x.dtype)
    return getattr(np, row.reference)(x, axis=axes, keepdims=keepdims)


REDUCED = [(row, name) for row in REDUCTIONS for name in NAMES if name not in row.refuses]


@pytest.mark.parametrize("row, name", REDUCED, ids=name_of)
def test_a_reduction_equals_numpy_for_every_dtype_and_axis(row, name):
    rng = generator(row.name, name)
    x = sample(rng, name, BLOCK, -2, 2)
    result = reduced_name(row, name)
    for axis, keepdims in itertools.product(ALL_AXES, (False, True)):
        out = getattr(mx, row.name)(to_mx(x), axis=axis, keepdims=keepdims)
        assert out.dtype.name == result
        assert_close(out, reduce_reference(row, x, axis, keepdims, result), result, factor=8)
    assert_close(
        getattr(to_mx(x), row.name)(),
        reduce_reference(row, x, None, False, result),
        result,
        factor=8,
    )


@rows(REDUCTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(33, 45), (3, 2053), (2053, 3), (1, 7)], ids=str)
def test_a_reduction_reads_every_layout(row, layout, shape):
    x = sample(generator(row.name, layout), "float32", shape, 0.9, 1.1)
    for axis in (None, 0, 1):
        out = getattr(mx, row.name)(laid_out(x, layout), axis=axis)
        result = reduced_name(row, "float32")
        assert_close(out, reduce_reference(row, x, axis, False, result), result, factor=30)


@rows(REDUCTIONS)
def test_a_reduction_reads_broadcast_operands_and_what_feeds_it(row):
    x = sample(generator(row.name), "float32", (6, 1, 5))
    stretched, full = mx.broadcast_to(to_mx(x), (6, 4, 5)), np.broadcast_to(x, (6, 4, 5))
    result = reduced_name(row, "float32")
    for axis in (None, 0, 1, 2, (0, 2)):
        expected = reduce_reference(row, full, axis, False, result)
        assert_close(getattr(mx, row.name)(stretched, axis=axis), expected, result, factor=8)
        expected = reduce_reference(row, np.sin(wide(full)), axis, False, result)
        assert_close(
            getattr(mx, row.name)(mx.sin(stretched), axis=axis), expected, result, factor=8
        )


@rows(REDUCTIONS)
def test_a_reduction_of_nothing_is_its_identity_or_an_error(row):
    empty = mx.zeros((3, 0, 2))
    if row.identity is None:
        with pytest.raises(ValueError, match=rf"\[{row.name}\].*empty"):
            getattr(mx, row.name)(empty)
    else:
        assert to_np(getattr(mx, row.name)(empty, axis=1)).tolist() == [[row.identity] * 2] * 3
        assert getattr(mx, row.name)(empty).item() == row.identity
    assert getattr(mx, row.name)(empty, axis=0).shape == (0, 2)


@rows(REDUCTIONS)
@pytest.mark.parametrize("axis", [3, -4, (0, 0), (0, -3), "a", 1.5], ids=str)
def test_a_reduction_refuses_wrong_axes(row, axis):
    with pytest.raises((ValueError, TypeError), match=rf"\[{row.name}\]"):
        getattr(mx, row.name)(mx.zeros((2, 3, 4)), axis=axis)


@rows([row for row in REDUCTIONS if row.out != "bool"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_derivatives_of_a_reduction_hold_along_all_axes(row, keepdims):
    rng = generator(row.name, "gradient")
    (x,) = double(rng.uniform(-2, 2, (2, 3, 4)))
    for axis in ALL_AXES:

        def function(x, axis=axis):
            return getattr(mx, row.name)(x, axis=axis, keepdims=keepdims)

        check_derivatives(function, [x], rng)
        weights = mx.array(rng.standard_normal(function(x).shape), dtype=mx.float64)

        def weighted(x, function=function, weights=weights):
            return (function(x) ** 2 * weights).sum()

        check_derivatives(mx.grad(weighted), [x], rng, tolerance=1e-5)


@rows([row for row in REDUCTIONS if row.out != "bool"])
def test_derivatives_of_a_reduction_hold_for_complex_numbers(row):
    rng = generator(row.name, "complex")
    x = to_mx(sample(rng, "complex64", (2, 3, 4), -1, 1))
    for axis in ALL_AXES:
        check_derivatives(
            lambda x, axis=axis: getattr(mx, row.name)(x, axis=axis), [x], rng, 1e-3, 1e-2
        )


@rows([row for row in REDUCTIONS if row.out == "bool"])
def test_derivatives_of_truth_values_are_zero(row):
    (x,) = double([[0.0, 1.0], [2.0, 0.0]])
    gradient = mx.grad(lambda x: (getattr(mx, row.name)(x, axis=0).astype(mx.float64) * x).sum())(x)
    expected = getattr(np, row.name)(to_np(x), axis=0)
    assert to_np(gradient).tolist() == [expected.tolist()] * 2


@rows(REDUCTIONS)
def test_vmap_of_a_reduction_equals_a_loop(row):
    x = to_mx(sample(generator(row.name, "vmap"), "float32", (3, 4, 5)))
    result = reduced_name(row, "float32")
    for axis, keepdims, batch in itertools.product((None, 0, 1, (0, 1)), (False, True), (0, 1, 2)):

        def function(x, axis=axis, keepdims=keepdims):
            return getattr(mx, row.name)(x, axis=axis, keepdims=keepdims)

        (expected,) = looped(function, (batch,), [x])
        assert_close(mx.vmap(function, in_axes=batch)(x), to_np(expected), result)


@rows(REDUCTIONS)
def test_a_reduction_hands_nan_on_as_numpy_does(row):
    x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0], [np.inf, -np.inf, 0.0]], np.float32)
    for axis in (0, 1):
        expected = getattr(np, row.reference)(x, axis=axis)
        np.testing.assert_array_equal(to_np(getattr(mx, row.name)(to_mx(x), axis=axis)), expected)


# ---- movement ----

FLOAT32, INT32 = NAMES.index("float32"), NAMES.index("int32")
MOVES = [  # name, shape, parameters, what NumPy says
    ("astype", (3, 4), (FLOAT32,), lambda x: x.astype(np.float32)),
    ("broadcast_to", (3, 1, 4), ((2, 3, 5, 4),), lambda x: np.broadcast_to(x, (2, 3, 5, 4))),
    ("broadcast_to", (), ((2, 3),), lambda x: np.broadcast_to(x, (2, 3))),
    ("broadcast_to", (1, 1), ((2, 0),), lambda x: np.broadcast_to(x, (2, 0))),
    ("transpose", (2, 3, 4), ((2, 0, 1),), lambda x: np.transpose(x, (2, 0, 1))),
    ("transpose", (), ((),), lambda x: x),
    ("reshape", (2, 3, 4), ((4, 6),), lambda x: x.reshape(4, 6)),
    ("reshape", (2, 3, 4), ((2, 2, 1, 3, 2),), lambda x: x.reshape(2, 2, 1, 3, 2)),
    ("reshape", (1, 1), ((),), lambda x: x.reshape(())),
    ("slice", (5, 6), ((0, 5), (5, -1), (2, -2)), lambda x: x[0:5:2, ::-2]),
    ("slice", (5, 6), ((1, 2), (4, 2), (1, 1)), lambda x: x[1:4, 2:2]),
    ("as_strided", (12,), ((3, 4), (2, 1), 1), lambda x: np.stack([x[1:5], x[3:7], x[5:9]])),
    ("as_strided", (3, 4), ((4, 2), (-1, 0), 7), lambda x: np.stack([x.ravel()[7:3:-1]] * 2, 1)),
    ("view", (3, 4), (INT32,), lambda x: x.view(np.int32)),
]  # fmt: skip
each_move = pytest.mark.parametrize(
    "name, shape, params, reference",
    MOVES,
    ids=lambda value: value if isinstance(value, str) else "",
)


def test_every_movement_row_is_tested_here():
    named = {move[0] for move in MOVES} | {"pick"}  # pick: by kernels of several outputs
    assert {row.name for row in MOVEMENTS} == named


@each_move
def test_a_movement_row_equals_numpy_in_every_layout(name, shape, params, reference):
    x = sample(generator(name), "float64" if name != "view" else "float32", shape)
    if name == "astype":
        x = x.astype(np.float16)
    expected = reference(x)
    out = mx._bind(name, (to_mx(x),), params)
    assert out.shape == expected.shape
    np.testing.assert_array_equal(to_np(out), expected)
    turned = mx.transpose(to_mx(np.ascontiguousarray(x.T)))
    np.testing.assert_array_equal(to_np(mx._bind(name, (turned,), params)), expected)
    if x.ndim:
        spaced = to_mx(np.repeat(x, 2, -1))[..., ::2]
        np.testing.assert_array_equal(to_np(mx._bind(name, (spaced,), params)), expected)
    if x.dtype.kind == "f" and name != "view":
        computed = mx._bind(name, (to_mx(x) * 2 - 1,), params)
        rounding = 2e-3 if x.dtype == np.float16 else 0  # halves are not rounded inside a program
        np.testing.assert_allclose(
            to_np(computed), reference(x * 2 - 1), rtol=rounding, atol=rounding
        )


@each_move
def test_derivatives_of_a_movement_row_hold(name, shape, params, reference):
    if name == "view":
        params = (NAMES.index("float64"),)
    rng = generator(name, "gradient")
    if name == "astype":
        x = to_mx(rng.standard_normal(shape).astype(np.float32))
        wider = (NAMES.index("float64"),)
        return check_derivatives(lambda x: mx._bind(name, (x,), wider), [x], rng, 1e-2, 1e-4)
    (x,) = double(rng.standard_normal(shape))
    if name == "view":  # bits have no derivative
        return check_stopped(lambda x: mx._bind(name, (x,), params), [x])
    return check_derivatives(lambda x: mx._bind(name, (x,), params), [x], rng)


@each_move
def test_vmap_of_a_movement_row_equals_a_loop(name, shape, params, reference):
    x = to_mx(sample(generator(name, "vmap"), "float32", (3, *shape)))
    for size in (3, 0):
        mapped = mx.vmap(lambda x: mx._bind(name, (x,), params))(x[:size])
        expected = [reference(to_np(row)) for row in x[:size]]
        assert mapped.shape == (size, *reference(to_np(x[0])).shape)
        if expected:
            np.testing.assert_array_equal(to_np(mapped), np.stack(expected))


# ---- kernels ----

GAUGED = ("cholesky", "eigh")  # read one triangle: differentiated along symmetric directions
# Rows whose parameters are functions or texts: test_transforms.py, metal/test_custom_kernels.py.
SAMPLED = [row for row in KERNELS if row.name not in ("attach", "metal_kernel")]
SMOOTH = [row for row in SAMPLED if not isinstance(row.vjp, NoGradient)]


def cases(row):
    """A row's samples, their parameters in order."""
    assert row.samples is not None, f"{row.name} has no samples"
    given = row.samples(mx, generator(row.name))
    assert given, f"{row.name} has no samples"
    return [(list(xs), tuple(params[name] for name in row.params)) for xs, params in given]


def run_kernel(row, xs, params):
    if row.name in GAUGED:
        xs = [(x + mx.conjugate(mx.swapaxes(x, -1, -2))) / 2 for x in xs]
    return as_outputs(mx._bind(row.name, tuple(xs), params))


def in_double(row, xs, params):
    """The operands in float64 if the row computes it, else as they are."""
    wider = [x.astype(mx.float64) if x.dtype == mx.float32 else x for x in xs]
    try:
        outputs = run_kernel(row, wider, params)
        mx.eval(outputs)
    except (ValueError, TypeError):
        return xs
    floating = [out for out in outputs if is_floating(out)]
    return wider if all(out.dtype != mx.float32 for out in floating) else xs


def of_floats(row, xs, params):
    """The row as a function of its floating operands, giving floating outputs."""
    free = [k for k, x in enumerate(xs) if is_floating(x)]

    def function(*values):
        operands = list(xs)
        for k, value in zip(free, values):
            operands[k] = value
        outputs = run_kernel(row, operands, params)
        return [out if is_floating(out) else out.astype(mx.float64) for out in outputs]

    return function, [xs[k] for k in free]


@rows(SAMPLED)
def test_a_kernel_says_the_shapes_and_dtypes_it_gives(row):
    for xs, params in cases(row):
        shapes, dtypes = [x.shape for x in xs], [x.dtype.name for x in xs]
        inferred = row.infer(shapes, dtypes, **dict(zip(row.params, params)))
        outputs = as_outputs(mx._bind(row.name, tuple(xs), params))
        said = [(tuple(shape), dtype) for shape, dtype in inferred]
        assert said == [(out.shape, out.dtype.name) for out in outputs]
        for out in outputs:
            assert to_np(out).shape == out.shape


@rows(SAMPLED)
def test_a_kernel_reads_every_layout(row):
    for xs, params in cases(row):
        dense = [to_np(out) for out in run_kernel(row, xs, params)]
        turned = [mx.transpose(mx.array(to_np(x).T.copy())) for x in xs]
        spaced = [mx.array(np.repeat(to_np(x), 2, -1))[..., ::2] if x.ndim else x for x in xs]
        offset = [mx.array(np.pad(to_np(x), 1))[(slice(1, -1),) * x.ndim] for x in xs]
        for operands in (turned, spaced, offset):
            for got, expected in zip(run_kernel(row, operands, params), dense):
                np.testing.assert_allclose(to_np(got), expected, rtol=1e-4, atol=1e-5)


@rows(SMOOTH)
def test_derivatives_of_a_kernel_hold(row):
    rng = generator(row.name, "gradient")
    for xs, params in cases(row):
        function, free = of_floats(row, in_double(row, xs, params), params)
        if all(x.dtype == mx.float64 for x in free):
            check_derivatives(function, free, rng, tolerance=1e-5)
        else:
            check_derivatives(function, free, rng, step=5e-3, tolerance=2e-2)


def in_complex(row, xs, params, rng):
    """The operands in complex64 if the row takes them, else None."""
    wider = [x + 1j * direction(rng, x) if x.dtype == mx.float32 else x for x in xs]
    try:
        outputs = run_kernel(row, wider, params)
        mx.eval(outputs)
    except (ValueError, TypeError):
        return None
    return wider if any(KIND[out.dtype.name] == "c" for out in outputs) else None


@rows(SMOOTH)
def test_derivatives_of_a_kernel_hold_for_complex_numbers(row):
    rng = generator(row.name, "complex")
    for xs, params in cases(row):
        operands = in_complex(row, xs, params, rng)
        if operands is not None and row.name not in ("svd", "eigh"):  # their vectors have a phase
            function, free = of_floats(row, operands, params)
            check_derivatives(function, free, rng, step=1e-3, tolerance=1e-2)


@rows(SMOOTH)
def test_second_derivatives_of_a_kernel_hold_or_are_said_to_be_absent(row):
    rng = generator(row.name, "second")
    for xs, params in cases(row)[:4]:
        function, free = of_floats(row, in_double(row, xs, params), params)
        if not all(x.dtype == mx.float64 for x in free):
            continue
        weights = [direction(rng, out) for out in function(*free)]

        def gradient(*free, function=function, weights=weights):
            return mx.vjp(function, list(free), weights)[1]

        try:
            mx.jvp(gradient, free, free)
        except ValueError as error:
            assert "has no derivative" in str(error)
            continue
        check_derivatives(gradient, free, rng, tolerance=1e-4, rounds=1)


@rows([row for row in SAMPLED if isinstance(row.vjp, NoGradient)])
def test_a_kernel_without_derivative_says_why(row):
    for xs, params in cases(row):
        function, free = of_floats(row, xs, params)
        if free:
            reason = rf"{row.name} .*has no derivative: {row.vjp.reason[:20]}"
            with pytest.raises(ValueError, match=reason):
                mx.vjp(function, free, function(*free))


def varied(x, count):
    """Examples like x: scaled where floating, turned around where not."""
    if is_floating(x):
        return mx.stack([x * (1 + 0.25 * k) for k in range(count)])
    return mx.stack([x if k % 2 == 0 or x.ndim == 0 else x[::-1] for k in range(count)])


@rows(SAMPLED)
def test_vmap_of_a_kernel_equals_a_loop(row):
    for xs, params in cases(row)[:6]:
        if not xs:
            continue
        rest = len(xs) - 1
        choices = {(0,) * len(xs), (0,) + (None,) * rest, (None,) * rest + (0,)}
        for axes in sorted(choices, key=str):
            batch = [x if axis is None else varied(x, 3) for x, axis in zip(xs, axes)]

            def function(*xs, params=params):
                return run_kernel(row, xs, params)

            mapped = mx.vmap(function, in_axes=axes)(*batch)
            for got, expected in zip(mapped, looped(function, axes, batch)):
                assert got.shape == expected.shape and got.dtype == expected.dtype
                np.testing.assert_allclose(to_np(got), to_np(expected), rtol=2e-4, atol=2e-5)


@rows(SAMPLED)
def test_vmap_of_a_kernel_over_no_examples_keeps_its_shapes(row):
    xs, params = cases(row)[0]
    if xs:
        batch = [mx.zeros((0, *x.shape), x.dtype) for x in xs]
        mapped = mx.vmap(lambda *xs: run_kernel(row, xs, params))(*batch)
        expected = run_kernel(row, xs, params)
        assert [out.shape for out in mapped] == [(0, *out.shape) for out in expected]
        mx.eval(mapped)


@rows(SAMPLED)
def test_a_kernel_refuses_operands_of_the_wrong_rank(row):
    xs, params = cases(row)[0]
    if xs and row.name not in ("to_fp8", "concatenate"):
        with pytest.raises((ValueError, TypeError, IndexError)):
            mx.eval(mx._bind(row.name, tuple(mx.zeros((), x.dtype) for x in xs), params))


# ---- the device ----


def test_every_kernel_has_a_launcher_of_the_device_or_says_why_not():
    from mlxc._backends.metal import dispatch

    folder = Path(dispatch.__file__).parent
    for path in folder.glob("*.py"):
        if "@launcher(" in path.read_text(encoding="utf-8"):
            importlib.import_module(f"mlxc._backends.metal.{path.stem}")
    names = {row.name for row in KERNELS}
    assert set(dispatch.LAUNCHERS) <= names
    for row in KERNELS:
        assert (row.name in dispatch.LAUNCHERS) != bool(row.no_kernel), row.name


@rows(ELEMENTWISE)
def test_every_formula_is_printed_for_the_device(row):
    from mlxc._backends.metal import expressions

    for compute in row.types:
        printed = expressions.formula(row.name, compute, row.args.split())
        assert (printed is None) == (compute == "f64"), compute
