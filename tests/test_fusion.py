"""Fused programs give what their operations give one by one, whatever else is held meanwhile.

Random graphs are built in mlxc and in NumPy at the same time, in float64, where both round alike
but for the order of sums. Macro kernels are compared with the expressions that they replace.
"""

import ast
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import double, generator, to_np

import mlxc.core as mx
from mlxc._backends.cpu import macros
from mlxc._graph.evaluate import plan_cache_info
from mlxc._table.fused import MACROS, SCALARS

SIZES = [1, 2, 3, 5, 8, 17, 64, 130]
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

UNARY = ["negative", "abs", "square", "sin", "tanh", "exp", "floor", "sign", "arctan"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "arctan2"]
COMPARISONS = ["less", "greater_equal", "equal"]
REDUCTIONS = ["sum", "max", "min"]


class Pair:
    """A value in mlxc and in NumPy."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, np.asarray(theirs, np.float64)

    def check(self):
        np.testing.assert_allclose(to_np(self.ours), self.theirs, rtol=1e-9, atol=1e-9)


def bounded(pair):
    """Values that stay small, so that differences of rounding do too."""
    if not np.isfinite(pair.theirs).all() or (pair.theirs.size and np.abs(pair.theirs).max() > 1e3):
        return Pair(mx.tanh(pair.ours), np.tanh(pair.theirs))
    return pair


def unary(draw, x):
    name = draw(st.sampled_from(UNARY))
    if name in ("floor", "sign") and x.theirs.size:  # not near a jump
        near = np.abs(x.theirs - np.round(x.theirs)).min()
        name = "sin" if near < 1e-6 else name
    return Pair(getattr(mx, name)(x.ours), getattr(np, name)(x.theirs))


def meeting(draw, x, y):
    """y made to broadcast with x: by taking parts of it, and new axes."""
    ours, theirs = y.ours, y.theirs
    while theirs.ndim > x.theirs.ndim:
        ours, theirs = ours[0], theirs[0]
    for axis in range(-theirs.ndim, 0):
        wanted, have = x.theirs.shape[axis], theirs.shape[axis]
        if have not in (1, wanted):
            key = (..., slice(0, 1)) + (slice(None),) * (-axis - 1)
            ours, theirs = ours[key], theirs[key]
    return Pair(ours, theirs)


def binary(draw, x, y):
    y = meeting(draw, x, y)
    name = draw(st.sampled_from(BINARY + COMPARISONS))
    ours, theirs = getattr(mx, name)(x.ours, y.ours), getattr(np, name)(x.theirs, y.theirs)
    if name in COMPARISONS:
        if name == "equal" or np.isclose(x.theirs, y.theirs, rtol=1e-6, atol=1e-6).any():
            return Pair(x.ours + y.ours, x.theirs + y.theirs)
        ours = mx.where(ours, x.ours, y.ours)
        theirs = np.where(theirs, x.theirs, y.theirs)
    return Pair(ours, theirs)


def reduction(draw, x):
    axes = draw(st.lists(st.integers(0, x.theirs.ndim - 1), unique=True)) if x.theirs.ndim else []
    axes, keepdims = tuple(axes), draw(st.booleans())
    name = draw(st.sampled_from(REDUCTIONS))
    ours = getattr(mx, name)(x.ours, axis=axes, keepdims=keepdims)
    theirs = getattr(np, name)(x.theirs, axis=axes, keepdims=keepdims)
    if keepdims and draw(st.booleans()):  # as a norm or a softmax does
        return Pair(x.ours - ours, x.theirs - theirs)
    return Pair(ours, theirs)


def movement(draw, x):
    ndim = x.theirs.ndim
    kind = draw(
        st.sampled_from(["transpose", "reshape", "expand", "slice", "broadcast", "squeeze"])
    )
    if kind == "transpose":
        axes = draw(st.permutations(range(ndim)))
        return Pair(mx.transpose(x.ours, axes), np.transpose(x.theirs, axes))
    if kind == "reshape":
        return Pair(x.ours.reshape(-1), x.theirs.reshape(-1))
    if kind == "expand" and ndim < 4:
        axis = draw(st.integers(0, ndim))
        return Pair(mx.expand_dims(x.ours, axis), np.expand_dims(x.theirs, axis))
    if kind == "slice" and ndim:
        step = draw(st.sampled_from([1, 2, -1, -3]))
        return Pair(x.ours[::step], x.theirs[::step])
    if kind == "broadcast" and ndim < 4 and x.theirs.size < 2000:
        shape = (draw(st.sampled_from([1, 2, 5])), *x.theirs.shape)
        return Pair(mx.broadcast_to(x.ours, shape), np.broadcast_to(x.theirs, shape))
    if kind == "squeeze" and 1 in x.theirs.shape:
        return Pair(mx.squeeze(x.ours), np.squeeze(x.theirs))
    return x


@st.composite
def graphs(draw):
    """Values of a random graph, each with whether it is evaluated at once, held, or dropped."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = draw(st.lists(st.lists(st.sampled_from(SIZES), max_size=3), min_size=1, max_size=3))
    values = []
    for shape in shapes:
        theirs = rng.uniform(-2, 2, shape)
        values.append(Pair(double(theirs)[0], theirs))
    held = list(values)
    for _ in range(draw(st.integers(1, 25))):
        x, y = (values[draw(st.integers(0, len(values) - 1))] for _ in range(2))
        make = draw(st.sampled_from([unary, unary, binary, binary, binary, reduction, movement]))
        value = bounded(binary(draw, x, y) if make is binary else make(draw, x))
        if value.theirs.size > 200_000:
            continue
        values.append(value)
        fate = draw(st.sampled_from(["drop", "drop", "hold", "evaluate"]))
        if fate == "evaluate":
            mx.eval(value.ours)
        if fate != "drop":
            held.append(value)
    return values[-1], held


@quick
@given(graphs())
def test_a_random_graph_equals_numpy(graph):
    last, held = graph
    last.check()
    for pair in held:
        pair.check()


@quick
@given(graphs())
def test_a_random_graph_evaluated_all_at_once_equals_numpy(graph):
    last, held = graph
    mx.eval([last.ours, *[pair.ours for pair in held]])
    for pair in (last, *held):
        pair.check()


@st.composite
def chains(draw):
    """Elementwise operations of single and half precision over one shape, some values held."""
    names = ["float32", "float16", "bfloat16", "int32", "int8"]
    return draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(names))


@settings(max_examples=40, deadline=None)
@given(chains(), st.sampled_from([(7,), (33, 65), (4, 1, 1000), (9000,)]))
def test_a_chain_of_any_dtype_is_the_same_whether_fused_or_not(chain, shape):
    seed, name = chain
    rng = np.random.default_rng(seed)
    dtype = getattr(mx, name)
    inputs = [mx.array(rng.integers(-5, 6, shape)).astype(dtype) for _ in range(3)]
    names = ["add", "subtract", "multiply", "maximum", "minimum"]
    program = [(rng.choice(names), *rng.integers(0, 100, 2)) for _ in range(12)]
    results = []
    for stepwise in (False, True):
        values = list(inputs)
        for op, i, j in program:
            value = getattr(mx, op)(values[i % len(values)], values[j % len(values)])
            value = mx.clip(value, -100, 100).astype(dtype)
            if stepwise:
                mx.eval(value)
            values.append(value)
        results.append(to_np(sum(values[-4:], values[0])))
    # Small integers are exact in every dtype but bfloat16, which may round inside a program or not.
    np.testing.assert_allclose(results[0], results[1], rtol=2e-2 if name == "bfloat16" else 0)


# ---- shapes of programs that have been wrong once, or would be easily ----


def test_a_value_that_is_reduced_along_leading_axes_may_be_held():
    rng = generator("held")
    x, v = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    for axis in (0, 1, (0, 1), (0, 2)):
        a, b = double(x, v)
        y = a + b * 0.5
        total = (y.sum(axis) ** 2 * 3).sum()
        np.testing.assert_allclose(
            total.item(), (((x + v * 0.5).sum(axis)) ** 2 * 3).sum(), rtol=1e-12
        )
        np.testing.assert_allclose(to_np(y), x + v * 0.5, rtol=1e-12)


SHAPES = [(1, 1), (3, 1), (1, 9), (5, 300), (300, 5), (2, 70_000), (70_000, 2), (3, 4, 5, 6)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_and_norms_of_any_shape_and_axis(shape):
    (x,) = double(generator(shape).standard_normal(shape))
    values = to_np(x)
    for axis in range(len(shape)):
        e = np.exp(values - values.max(axis, keepdims=True))
        np.testing.assert_allclose(
            to_np(mx.softmax(x, axis)), e / e.sum(axis, keepdims=True), rtol=1e-10
        )
        centred = x - x.mean(axis, keepdims=True)
        normal = centred * mx.rsqrt((centred * centred).mean(axis, keepdims=True) + 1e-5)
        c = values - values.mean(axis, keepdims=True)
        expected = c / np.sqrt((c * c).mean(axis, keepdims=True) + 1e-5)
        np.testing.assert_allclose(to_np(normal), expected, rtol=1e-8, atol=1e-10)


def test_reductions_feeding_reductions_and_maps():
    x = generator("chain").standard_normal((6, 7, 8))
    (a,) = double(x)
    rows = mx.exp(a).sum(-1)
    both = (rows / rows.sum(-1, keepdims=True)).max(0) + mx.log(rows).min()
    e = np.exp(x).sum(-1)
    expected = (e / e.sum(-1, keepdims=True)).max(0) + np.log(e).min()
    np.testing.assert_allclose(to_np(both), expected, rtol=1e-12)
    np.testing.assert_allclose(to_np(rows), e, rtol=1e-12)


def test_more_values_and_operands_than_a_program_holds():
    rng = generator("wide")
    arrays = [rng.standard_normal(50) for _ in range(120)]
    total, expected = double(arrays[0])[0], arrays[0]
    for other in arrays[1:]:
        total, expected = mx.tanh(total + double(other)[0]), np.tanh(expected + other)
    np.testing.assert_allclose(to_np(total), expected, rtol=1e-9)
    parts = mx.stack([double(a)[0] * 2 for a in arrays])
    np.testing.assert_allclose(to_np(parts.sum(0)), 2 * np.sum(arrays, 0), rtol=1e-12, atol=1e-12)


def test_one_input_read_in_two_layouts():
    (x,) = double(generator("layouts").standard_normal((40, 40)))
    v = to_np(x)
    np.testing.assert_allclose(
        to_np(x + x.T * 2 - x[::-1]), v + v.T * 2 - v[::-1], rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(to_np((x @ x.T + x).sum(0)), (v @ v.T + v).sum(0), rtol=1e-10)


# ---- macro kernels ----


def leaves_of(macro):
    nodes = ast.walk(ast.parse(macro.pattern, mode="eval"))
    return sorted({node.id for node in nodes if isinstance(node, ast.Name)} - FUNCTIONS)


def functions_of(macro):
    tree = ast.parse(macro.pattern, mode="eval")
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call)}


FUNCTIONS = set().union(*map(functions_of, MACROS))


def evaluate_macro(macro, leaves):
    """The pattern's operations on arrays, as a user would write them."""
    scope = {name: getattr(mx, name) for name in FUNCTIONS if name != "cast"}
    scope["cast"] = lambda x: x.astype(mx.float32)
    return eval(macro.pattern, scope, leaves)


def macro_operands(macro, shape):
    rng = generator(macro.kernel, macro.pattern, shape)
    values = {}
    for name in leaves_of(macro):
        values[name] = np.float32(rng.uniform(0.2, 1.5, None if name in SCALARS else shape))
    return values


@pytest.mark.parametrize("macro", MACROS, ids=lambda macro: f"{macro.kernel}-{macro.pattern}")
@pytest.mark.parametrize("shape", [(1,), (15,), (16,), (1000,), (33, 129)], ids=str)
def test_a_macro_kernel_equals_its_pattern(macro, shape, monkeypatch):
    found = []
    rewrite = macros.Matcher.rewrite

    def watched(self):
        values, needed = rewrite(self)
        found.extend(value[1] for value in values if value[0] == "macro")
        return values, needed

    monkeypatch.setattr(macros.Matcher, "rewrite", watched)
    values = macro_operands(macro, shape)
    fused = evaluate_macro(macro, {name: mx.array(v) for name, v in values.items()})
    wide = evaluate_macro(macro, {name: double(v)[0] for name, v in values.items()})
    np.testing.assert_allclose(to_np(fused), to_np(wide), rtol=3e-6, atol=3e-6)
    switched_on = macros.ENABLED and os.environ.get("MLXC_FUSE", "1") != "0"
    # Of a single value the loop is not a macro's.
    assert macro.kernel in found or shape == (1,) or not switched_on


def said_of(program, **switches):
    """What a process prints that runs a program on the processor, switches in its environment."""
    environment = {**os.environ, "MLXC_FUSE": "1", **switches}
    start = "import mlxc.core as mx\nmx.set_default_device(mx.cpu)\n"
    command = [sys.executable, "-c", start + program]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_macros_are_found_and_can_be_switched_off():
    program = "x = mx.array([0.5] * 64)\nprint((x * mx.sigmoid(x)).tolist()[:2])\n"
    texts = [said_of(program, MLXC_MACROS=switch, MLXC_DEBUG="4") for switch in ("1", "0")]
    assert texts[0].splitlines()[-1] == texts[1].splitlines()[-1]
    assert "silu_f32_v" in texts[0] and "silu_f32_v" not in texts[1]


@pytest.mark.parametrize("dtype, short", [("float16", "f16"), ("bfloat16", "bf16")])
def test_single_operations_on_half_floats_take_them_as_they_are_stored(dtype, short):
    start = f"x = mx.array([0.5] * 64).astype(mx.{dtype})\nmx.eval(x)\n"
    for formula, kernel in (("x + x", f"add_{short}_vv"), ("x * 0.5 + x", f"multiply_add_{short}")):
        text = said_of(start + f"mx.eval({formula})\n", MLXC_DEBUG="4", MLXC_MACROS="1")
        code = text.rsplit("tiles", 1)[1]
        assert kernel in code and f"load_{short}_v (0" not in code
    # Where somebody reads on, it is from what was not yet rounded.
    text = said_of(start + "y = x * 0.5\nmx.eval(y, y + x)\n", MLXC_DEBUG="4")
    assert f"multiply_{short}_vs" not in text


def test_a_formula_written_twice_is_computed_once():
    program = "x, y = mx.array([3.0] * 64), mx.array([2.0] * 64)\n"
    program += "print(mx.sum((x - y) * (x - y)).item())\n"
    text = said_of(program, MLXC_MACROS="1", MLXC_DEBUG="4")
    assert text.splitlines()[-1] == "64.0"
    assert text.count("= op subtract") == 1
    assert "subtract_f32_vv" in text


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_what_a_maximum_is_taken_of_is_not_kept_for_its_gradient(name):
    """The result says as well which operand it is: a rectified layer is kept once."""
    program = "x, w = mx.ones((8, 8)), mx.ones((8, 8))\nmx.eval(x, w)\n"
    program += f"f = mx.grad(lambda w: mx.sum(mx.sort(mx.{name}(w + x, 0)) @ x))\n"
    program += "print(f(w).sum().item())"
    first = said_of(program, MLXC_DEBUG="3").split("program ")[1]
    assert f"op {name}" in first and first.count("out slot") == 1


def test_results_that_read_the_same_array_are_one_program():
    """If nothing reads one of them on the way to the other."""
    program = "x, y = mx.array([3.0] * 64), mx.array([2.0] * 64)\nmx.eval(x, y)\n"
    program += "a, b, c = x + y, mx.square(x) - 1, y * 2\nd = mx.sort({0} + 1) + x\n"
    program += "mx.eval(a, b, c, d)\nprint('done')\n"
    program += "print([v.sum().item() for v in (a, b, c, d)])\n"
    outputs = []
    for operand, last in (("a", 576.0), ("y", 384.0)):
        text = said_of(program.format(operand), MLXC_DEBUG="3", MLXC_MACROS="1")
        assert text.splitlines()[-1] == f"[320.0, 512.0, 256.0, {last}]"
        programs = text.partition("done")[0].split("program map")[1:]
        outputs.append(sorted(program.count("out slot") for program in programs))
    assert outputs == [[1, 2, 2], [1, 4]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16"])
def test_tiles_of_long_rows_read_values_of_all_rows_of_one_row_and_of_no_row(dtype):
    """Several tiles a row, the last one shorter, and values that stay the same along them."""
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 9, (5, 100_003)).astype(dtype) for _ in range(2))
    row, number = rng.integers(-9, 9, (5, 1)).astype(dtype), np.array([3]).astype(dtype)
    a, b, c, d = (mx.array(v) for v in (x, y, row, number))
    results = mx.compile(lambda a, b: ((a + c) * d - b, mx.maximum(a, b) * c, a + d))(a, b)
    for result, expected in zip(
        results, ((x + row) * number - y, np.maximum(x, y) * row, x + number), strict=True
    ):
        np.testing.assert_array_equal(result, expected)


def test_the_tiles_of_an_optimiser_fit_the_first_level_cache():
    """However many numbers it takes: they are no tiles."""
    program = "import mlxc.optimizers as optim\nadam = optim.AdamW(1e-3)\n"
    program += "w, g = {'w': mx.ones((9, 5000))}, {'w': mx.ones((9, 5000))}\nmx.eval(w, g)\n"
    program += "for _ in range(2):\n    w = adam.apply_gradients(g, w)\n"
    program += "    mx.eval(w, adam.state)\n"
    text = said_of(program, MLXC_MACROS="1", MLXC_DEBUG="4")
    tiles = [line.split()[-1] for line in text.splitlines() if line.startswith("tiles 1 x 45000")]
    streams = 4  # weights, gradients and two moments
    assert len(tiles) == 2
    assert int(tiles[-1]) * 4 * streams <= 8192  # the next tiles come meanwhile


@pytest.mark.parametrize(
    ("dtype", "narrowing"), [("float16", "round_f16_v"), ("bfloat16", "round_bf16_v"),
                             ("uint8", "wrap_u8_v"), ("int16", "wrap_i16_v")]
)  # fmt: skip
def test_a_cast_narrows_once_for_what_is_stored_and_once_for_who_reads_on(dtype, narrowing):
    program = f"x = mx.array([1.2001] * 64)\ny = x.astype(mx.{dtype})\n"
    assert narrowing not in said_of(program + "mx.eval(y)\n", MLXC_DEBUG="4")
    text = said_of(program + "z = y.astype(mx.float32) - x\nmx.eval(y, z)\n", MLXC_DEBUG="4")
    assert text.count(narrowing) == 1
    x = np.float32([1.2001, 300.7, -2.5, 70000.0, np.nan] if dtype[0] in "fb" else [1.2001, 77.7])
    a = mx.array(np.tile(x, 20))
    y = a.astype(getattr(mx, dtype))
    z = y.astype(mx.float32)
    mx.eval(y, z)
    np.testing.assert_array_equal(to_np(y.astype(mx.float32)), to_np(z))


def test_a_formula_written_twice_is_written_to_both_places():
    x, y = mx.array([3.0, 4.0] * 50) + 1, mx.array([1.0, 2.0] * 50) + 1
    first, second = x - y, x - y
    product = first * second
    del x, y
    mx.eval(first, second, product)
    second += 1
    for value, expected in ((first, 2.0), (second, 3.0), (product, 4.0)):
        np.testing.assert_array_equal(to_np(value), np.full(100, expected, np.float32))


def test_memory_is_not_taken_over_from_an_operand_that_a_square_reads_later():
    x, y = np.float32([1, 2, 3, 4] * 5), np.float32([2, 4, 6, 9] * 5)
    a, b = mx.array(x), mx.array(y)
    mx.eval(a, b)
    difference = a - b
    held = a + 1
    square = difference * (a - b)
    del a, b, difference
    mx.eval(held, square)
    np.testing.assert_array_equal(to_np(held), x + 1)
    np.testing.assert_array_equal(to_np(square), (x - y) ** 2)


def test_memory_is_not_taken_over_from_an_operand_that_a_macro_reads_later():
    # The gradient g is held, and could be written where v lies: but v * 0.9 + g reads v after that.
    target = np.linspace(2.0, -1.0, 12, dtype=np.float32)
    w, v = np.linspace(-1.0, 1.0, 12, dtype=np.float32), np.zeros(12, np.float32)
    ours = [mx.array(w), mx.array(v)]
    mx.eval(ours)
    for _ in range(4):
        g = (ours[0] - mx.array(target)) * 2.0 * 1.5
        ours[1] = ours[1] * 0.9 + g
        ours[0] = ours[0] - 0.1 * ours[1]
        mx.eval(ours, g)
        expected = (w - target) * 3.0
        v = v * 0.9 + expected
        w = w - 0.1 * v
        np.testing.assert_allclose(to_np(g), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(to_np(ours[0]), w, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(to_np(ours[1]), v, rtol=1e-5, atol=1e-6)


def test_memory_is_not_taken_over_from_what_a_difference_reads_once_more():
    # One result is written where x lies: but the other computes x - mean in a pass of its own.
    x = np.linspace(-2.0, 5.0, 64, dtype=np.float32).reshape(4, 16)
    ours = mx.array(x)
    mx.eval(ours)
    difference = ours - mx.mean(ours, axis=1, keepdims=True)
    first = mx.exp(difference)
    second = mx.square(difference) + mx.sum(first, axis=1, keepdims=True)
    del ours, difference
    mx.eval(first, second)
    centered = x - x.mean(1, keepdims=True)
    np.testing.assert_allclose(to_np(first), np.exp(centered), rtol=1e-5)
    expected = centered**2 + np.exp(centered).sum(1, keepdims=True)
    np.testing.assert_allclose(to_np(second), expected, rtol=1e-5)


def test_plans_are_for_their_constants_exactly():
    signs = []
    for zero in (0.0, -0.0):
        x = mx._bind("arange", (), (zero, zero, 3, "float32"))
        signs.append(np.signbit(np.array(x)).tolist())
    assert signs == [[False] * 3, [True] * 3]


def test_plans_with_a_nan_constant_are_found_again():
    x = mx.ones((2, 2))
    counts = []
    for _ in range(3):
        mx.eval(mx.addmm(x, x, x, alpha=float("nan")))
        counts.append(plan_cache_info()["plans"])
    assert counts[1] == counts[2]


@pytest.mark.parametrize("length", range(8184, 8194))
def test_a_primitive_of_several_outputs_is_planned_with_them_wherever_a_window_ends(length):
    x = mx.eye(2)
    for _ in range(length):
        x = x + 0.0
    values, vectors = mx.linalg.eigh(x)
    mx.eval(values, vectors)
    assert values.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16], ids=str)
def test_half_floats_that_are_compared_stepped_or_converted_are_what_is_stored(dtype):
    a, b = (mx.array(generator(k).normal(size=(40, 30)), dtype=dtype) for k in (1, 2))
    for function in (lambda: a + b, lambda: mx.exp(a) * b, lambda: a - mx.mean(b, axis=1)[:, None]):
        stored = function()
        mx.eval(stored)
        assert mx.array_equal(stored, function()).item()
        assert not mx.any(function() < stored).item()
        assert (function().astype(mx.float32) - stored.astype(mx.float32)).tolist() == [
            [0] * 30
        ] * 40
        for step in (mx.floor, mx.ceil, mx.round):
            assert (step(function() * 64) - step(stored * 64)).tolist() == [[0] * 30] * 40
        assert (
            (function() * 64).astype(mx.int32) - (stored * 64).astype(mx.int32)
        ).any().item() == 0


def test_equal_programs_of_different_plans_are_made_ready_once(monkeypatch):
    from mlxc._backends.cpu import programs

    made = []

    class Counted(programs.Lowering):
        def __init__(self, program, *rest, **named):
            made.append(program.describe([""] * 1000))
            super().__init__(program, *rest, **named)

    monkeypatch.setattr(programs, "Lowering", Counted)
    x, other = mx.arange(7 * 11, dtype=mx.float32).reshape(7, 11) / 77, mx.arange(40)
    mx.eval(x, other)
    for n in range(5, 15):  # ten plans
        y, z = mx.tanh(x * 3.5) + mx.exp(x), mx.sort(other[n::-1])
        mx.eval(y, z)
        np.testing.assert_allclose(y, np.tanh(np.array(x) * 3.5) + np.exp(np.array(x)), rtol=1e-5)
        assert z.tolist() == list(range(n + 1))
    assert len([text for text in made if "over (7, 11)" in text]) in (1, 2)  # slots may settle
