"""The free tests: what every row promises, checked for every row.

A new row is tested by being there: against NumPy for every dtype and layout, its derivatives against finite
differences and each other, vmap against a loop, bad input refused. Rows with no reference or samples fail.
"""

import itertools

import numpy as np
import pytest

import mlxc.core as mx
from mlxc._table.dtypes import promote
from mlxc._table.rows import NoGradient
from support import (
    COMPUTE,
    KIND,
    LAYOUTS,
    NAMES,
    NUMPY,
    as_outputs,
    assert_close,
    check_derivatives,
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
    if row.name in ("floor_divide", "remainder") and KIND[name] == "f":  # rounding must not cross an integer
        steps = np.floor(wide(values[0])) + rng.uniform(0.1, 0.9, shape)
        values[0] = (steps * wide(values[1])).astype(NUMPY[name])
    if row.name == "select":
        values[0] = sample(rng, "bool_", shape)
    return values


def reference_of(row, xs, name):
    """What NumPy gives for operands; in their own dtype for integers, in the widest one for floats."""
    function = getattr(np, row.reference) if isinstance(row.reference, str) else row.reference
    computed = operand_name(row, name)
    if row.name == "logaddexp" and KIND[computed] == "c":  # NumPy has it for real numbers only
        function = lambda x, y: np.log(np.exp(x) + np.exp(y))  # noqa: E731
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
    """The function of a row in its floating operands, with a floating result; select's condition stays fixed."""
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
            second = mx.grad(lambda *a: first(*a).sum(), argnums=j)(*xs)
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
        return None  # constant almost everywhere along the reals only, or ordered: not differentiable there
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
    assert_close(getattr(to_mx(x), row.name)(), reduce_reference(row, x, None, False, result), result, factor=8)


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
        assert_close(getattr(mx, row.name)(mx.sin(stretched), axis=axis), expected, result, factor=8)


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
        check_derivatives(mx.grad(lambda x: (function(x) ** 2 * weights).sum()), [x], rng, tolerance=1e-5)  # noqa: B023


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
