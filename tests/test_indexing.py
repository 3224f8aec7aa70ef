"""Indexing against NumPy: random keys read, written and combined; derivatives; errors."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import check_derivatives

import mlxc.core as mx
from mlxc._graph import is_evaluated
from mlxc._table.rows import BY_NAME

SETTINGS = settings(max_examples=int(os.environ.get("MLXC_TEST_EXAMPLES", "150")), deadline=None)
INDEX_DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def parted_by_an_empty_ellipsis(key, ndim):
    """NumPy lets an Ellipsis of no axes part index arrays; we, as MLX, do not."""
    used = sum(part.ndim if getattr(part, "dtype", None) == np.bool_ else 1
               for part in key if part is not None and part is not Ellipsis)  # fmt: skip
    return any(part is Ellipsis for part in key) and used == ndim


@st.composite
def slices(draw, size):
    def bound():
        return draw(st.none() | st.integers(-size - 2, size + 2))

    return slice(bound(), bound(), draw(st.sampled_from([None, 1, 2, 3, -1, -2, -3])))


@st.composite
def index_arrays(draw, size, shape):
    dtype = draw(st.sampled_from(INDEX_DTYPES))
    low = 0 if dtype.startswith("u") else -size
    count = int(np.prod(shape))
    values = draw(st.lists(st.integers(low, size - 1), min_size=count, max_size=count))
    return np.array(values, dtype=dtype).reshape(shape)


@st.composite
def keys(draw, shape, masks=True):
    """A key for an array of a shape, as NumPy takes it."""
    index_shape = draw(st.sampled_from([(), (3,), (2, 3), (1, 3), (0,)]))
    parts, axis = [], 0
    while axis < len(shape):
        kinds = ["slice", "slice", "int", "array", "none", "end"] + ["mask"] * masks
        kind = draw(st.sampled_from(kinds))
        if kind == "end":
            break
        if kind == "none":
            if sum(part is None for part in parts) < 2:
                parts.append(None)
            continue
        if kind == "slice":
            parts.append(draw(slices(shape[axis])))
        elif kind == "int":
            parts.append(draw(st.integers(-shape[axis], shape[axis] - 1)))
        elif kind == "array":
            parts.append(draw(index_arrays(shape[axis], index_shape)))
        else:
            # One true element broadcasts with any index arrays beside it.
            width = draw(st.integers(1, len(shape) - axis))
            mask = np.zeros(shape[axis : axis + width], bool)
            mask[tuple(draw(st.integers(0, n - 1)) for n in mask.shape)] = True
            parts.append(mask)
            axis += width - 1
        axis += 1
    if draw(st.booleans()):
        left = len(shape) - axis
        at = draw(st.integers(0, len(parts))) if left == 0 else len(parts)
        parts.insert(at, Ellipsis)
    assume(not parted_by_an_empty_ellipsis(parts, len(shape)))
    return tuple(parts)


@st.composite
def arrays_and_keys(draw, masks=True):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    return np.arange(np.prod(shape), dtype="float32").reshape(shape), draw(keys(shape, masks))


def ours(key):
    """The key with arrays of ours in place of NumPy's."""
    return tuple(mx.array(part) if isinstance(part, np.ndarray) else part for part in key)


def evaluated(x):
    return np.array(x)


@SETTINGS
@given(arrays_and_keys())
def test_reading_by_any_key_is_as_numpys(case):
    x, key = case
    np.testing.assert_array_equal(evaluated(mx.array(x)[ours(key)]), x[key])


@SETTINGS
@given(arrays_and_keys(), st.booleans())
def test_writing_by_any_key_is_as_numpys(case, scalar):
    x, key = case
    shape = x[key].shape
    value = (
        np.float32(-1) if scalar else -1 - np.arange(np.prod(shape), dtype="float32").reshape(shape)
    )
    got, want = mx.array(x), x.copy()
    got[ours(key)] = mx.array(value)
    want[key] = value
    np.testing.assert_array_equal(evaluated(got), want)


@SETTINGS
@given(arrays_and_keys(), st.sampled_from(["add", "subtract", "multiply", "maximum", "minimum"]))
def test_combining_by_any_key_counts_repeated_indices(case, name):
    x, key = case
    shape = x[key].shape
    value = np.arange(np.prod(shape), dtype="float32").reshape(shape) % 5 - 1
    want = x.copy()
    getattr(np, name).at(want, key, value)
    got = getattr(mx.array(x).at[ours(key)], name)(mx.array(value))
    np.testing.assert_array_equal(evaluated(got), want)


@SETTINGS
@given(arrays_and_keys(masks=False))
def test_the_derivative_of_reading_adds_up_what_was_read(case):
    x, key = case
    weight = np.arange(1, x[key].size + 1, dtype="float32").reshape(x[key].shape)
    want = np.zeros_like(x)
    np.add.at(want, key, weight)
    got = mx.grad(lambda a: (a[ours(key)] * mx.array(weight)).sum())(mx.array(x))
    np.testing.assert_array_equal(evaluated(got), want)


@SETTINGS
@given(arrays_and_keys(masks=False))
def test_the_derivatives_of_writing_follow_what_is_still_there(case):
    x, key = case
    numbers = np.arange(x.size).reshape(x.shape)
    value = np.ones(x[key].shape, "float32")
    weight = (numbers + 1).astype("float32")

    def loss(a, v):
        a = mx.array(a)
        a[ours(key)] = v
        return (a * mx.array(weight)).sum()

    got_x, got_v = mx.grad(loss, argnums=(0, 1))(mx.array(x), mx.array(value))
    written = np.full(x.shape, -1)
    order = np.arange(value.size).reshape(value.shape)
    written[key] = order
    want_v = np.where(written[key] == order, weight[key], 0)
    np.testing.assert_array_equal(evaluated(got_x), np.where(written < 0, weight, 0))
    np.testing.assert_array_equal(evaluated(got_v), want_v)


@pytest.mark.parametrize("dtype", INDEX_DTYPES + ["float16", "float32", "bfloat16", "complex64"])
def test_adding_at_indices_works_in_every_dtype(dtype):
    dtype = getattr(mx, dtype)
    x = mx.array([1, 2, 3]).astype(dtype)
    got = x.at[mx.array([0, 0, 2])].add(mx.array([1, 2, 3]).astype(dtype))
    assert got.dtype == dtype
    assert got.astype(mx.float32).tolist() == [4, 2, 6]


@pytest.mark.parametrize("mode", ["add", "multiply", "maximum", "minimum"])
@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_derivatives_of_combining_are_those_of_the_same_arithmetic(mode, zeros):
    rng = np.random.default_rng(zeros)
    x = mx.array(rng.standard_normal(4).astype("float32"))
    u = rng.standard_normal(3).astype("float32")
    u[:zeros] = 0
    u = mx.array(u)
    op = {"add": mx.add, "multiply": mx.multiply, "maximum": mx.maximum, "minimum": mx.minimum}[
        mode
    ]
    weight = mx.array([1.0, 2.0, 3.0, 4.0])

    def combined(x, u):
        return (getattr(x.at[mx.array([1, 1, 3])], mode)(u) * weight).sum()

    def spelled_out(x, u):
        parts = [x[0], op(op(x[1], u[0]), u[1]), x[2], op(x[3], u[2])]
        return (mx.stack(parts) * weight).sum()

    got, want = (mx.grad(f, argnums=(0, 1))(x, u) for f in (combined, spelled_out))
    for a, b in zip(got, want):
        if zeros < 2 or mode == "multiply" or mode == "add":
            np.testing.assert_allclose(evaluated(a), evaluated(b), rtol=1e-5)


@pytest.mark.parametrize("mode", ["add", "multiply", "maximum"])
def test_jvp_agrees_with_vjp_in_writing(mode):
    rng = np.random.default_rng(0)
    x, u, dx, du = (mx.array(rng.standard_normal(n).astype("float32")) for n in (5, 3, 5, 3))
    ct = mx.array(rng.standard_normal(5).astype("float32"))

    def f(x, u):
        return getattr(x.at[mx.array([1, 1, 4])], mode)(u)

    _, (tangent,) = mx.jvp(f, [x, u], [dx, du])
    _, (cx, cu) = mx.vjp(f, [x, u], [ct])
    left = (tangent * ct).sum().item()
    assert left == pytest.approx(((cx * dx).sum() + (cu * du).sum()).item(), rel=1e-5)


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0)])
def test_vmap_of_reading_and_writing_is_a_loop(in_axes):
    rng = np.random.default_rng(1)
    x = mx.array(rng.standard_normal((3, 4, 5)).astype("float32"))
    i = mx.array(rng.integers(-4, 4, (3, 2)))
    take = [mx.array(v) if axis == 0 else mx.array(v)[0] for v, axis in zip((x, i), in_axes)]

    def read(a, i):
        return a[:, i % 4]

    def write(a, i):
        return a.at[i, 1:3].add(2.0)

    def along(a, i):
        rows = mx.broadcast_to(mx.reshape(i, (2, 1)), (2, a.shape[1]))
        put = mx.put_along_axis(a, rows, mx.ones((2, 1)), axis=0)
        return mx.take_along_axis(put * 2, rows, axis=0)

    for f in (read, write, along):
        got = mx.vmap(f, in_axes=in_axes)(*take)
        for k in range(3):
            row = [v[k] if axis == 0 else v for v, axis in zip(take, in_axes)]
            np.testing.assert_array_equal(evaluated(got[k]), evaluated(f(*row)))


def test_taking_rows_of_a_large_table_is_exact():
    rng = np.random.default_rng(2)
    table = rng.standard_normal((5000, 96)).astype("float32")
    rows = rng.integers(0, 5000, (64, 50))
    np.testing.assert_array_equal(
        evaluated(mx.take(mx.array(table), mx.array(rows), 0)), table[rows]
    )


def test_adding_many_rows_to_a_large_table_is_numpys_sum():
    rng = np.random.default_rng(3)
    table = rng.integers(-9, 9, (500, 300)).astype("float32")
    rows, values = rng.integers(0, 500, 4000), rng.integers(-9, 9, (4000, 300)).astype("float32")
    want = table.copy()
    np.add.at(want, rows, values)
    got = mx.array(table).at[mx.array(rows)].add(mx.array(values))
    np.testing.assert_array_equal(evaluated(got), want)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, None])
def test_take_along_and_put_along_an_axis_are_numpys(axis):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 4, 5)).astype("float32")
    index = np.argsort(x, axis=axis)
    value = -np.arange(index.size, dtype="float32").reshape(index.shape)
    got = mx.take_along_axis(mx.array(x), mx.array(index), axis)
    np.testing.assert_array_equal(evaluated(got), np.take_along_axis(x, index, axis))
    put = mx.put_along_axis(mx.array(x), mx.array(index), mx.array(value), axis)
    np.put_along_axis(x, index, value, axis)
    np.testing.assert_array_equal(evaluated(put), x)


def test_take_along_an_axis_broadcasts_both_sides():
    x = mx.array([[1, 2, 3], [4, 5, 6]])
    assert mx.take_along_axis(x, mx.array([[2, 0]]), 1).tolist() == [[3, 1], [6, 4]]
    assert mx.take_along_axis(x[:1], mx.array([[2], [0]]), 1).tolist() == [[3], [1]]


def test_a_mask_reads_and_writes_what_it_covers():
    x = mx.array([[1, 2], [3, 4]])
    assert x[x > 2].tolist() == [3, 4]
    assert x[mx.array([True, False])].tolist() == [[1, 2]]
    x[x > 2] = mx.array([7, 8])
    assert x.tolist() == [[1, 2], [7, 8]]
    x[np.array([False, True])] = mx.array([0, 9])
    assert x.tolist() == [[1, 2], [0, 9]]


def test_writing_one_value_under_a_mask_works_inside_vmap_and_reading_is_refused_clearly():
    def fill(a):
        a = mx.array(a)
        a[a > 2] = 0
        return a

    assert mx.vmap(fill)(mx.array([[1, 5], [3, 2]])).tolist() == [[1, 0], [0, 2]]
    with pytest.raises(ValueError, match="mask"):
        mx.vmap(lambda a: a[a > 2])(mx.array([[1, 5], [3, 2]]))


def test_nonzero_and_argwhere_are_numpys():
    x = np.array([[0, 3], [5, 0], [0, 7]])
    for got, want in zip(mx.nonzero(mx.array(x)), np.nonzero(x)):
        np.testing.assert_array_equal(evaluated(got), want)
    np.testing.assert_array_equal(evaluated(mx.argwhere(mx.array(x))), np.argwhere(x))
    assert mx.argwhere(mx.array(3)).shape == (1, 0)


@pytest.mark.parametrize("known", [True, False])
def test_blocks_at_computed_positions_are_read_and_written(known):
    def position(*values):
        start = mx.array(values[0] if len(values) == 1 else values)
        return start if known else start + 0

    x = np.arange(60).reshape(3, 4, 5)
    a, start = mx.array(x), position(1, 2)
    block = mx.slice(a, start, axes=(0, 2), slice_size=(2, 3, 2))
    np.testing.assert_array_equal(evaluated(block), x[1:3, :3, 2:4])
    got = mx.slice_update(a, -block, start, axes=(0, 2))
    want = x.copy()
    want[1:3, :3, 2:4] *= -1
    np.testing.assert_array_equal(evaluated(got), want)
    assert mx.slice(a, position(-1), axes=(0,), slice_size=(1, 1, 1)).item() == 40
    for bad in ((2, 0), (-4, 0)):
        with pytest.raises(IndexError):
            mx.eval(mx.slice(a, position(*bad), axes=(0, 1), slice_size=(2, 1, 1)))
        with pytest.raises(IndexError):
            mx.eval(mx.slice_update(a, a[:2, :1, :1], position(*bad), axes=(0, 1)))


def test_a_block_that_replaces_everything_is_a_handle_of_its_own():
    x = mx.array([1, 2])
    out = mx.slice_update(mx.zeros((2,), mx.int32), x, mx.array(0), (0,))
    out += 1
    assert (out.tolist(), x.tolist()) == ([2, 3], [1, 2])


@pytest.mark.parametrize(
    "shape, key",
    [
        ((3, 300, 5, 40), np.s_[2:0:-1, 70:260:3, :, 5:]),
        ((2, 3, 70_000), np.s_[:, ::2, 60_000:100:-7]),
        ((200_001,), np.s_[3:199_000:5]),
        ((1, 4, 33, 1024), np.s_[:, 3, 32::-2, 1:-1]),
        ((40_000, 1, 3), np.s_[39_000:20_000:-1, :, 2]),
        ((5, 60_000), np.s_[1:4, 16_383:16_385]),
        ((5, 60_000), np.s_[1:4, 9:9]),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "int64"])
def test_updates_of_slices_of_large_arrays_are_numpys(shape, key, dtype):
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    value = (7 + 3 * np.arange(x[key].size)).reshape(x[key].shape).astype(dtype)
    put, added = x.copy(), x.copy()
    put[key] = value
    added[key] += value
    held = mx.array(x)
    got = mx.array(held)
    got[key] = mx.array(value)
    np.testing.assert_array_equal(evaluated(got), put)
    np.testing.assert_array_equal(evaluated(held.at[key].add(mx.array(value))), added)
    np.testing.assert_array_equal(evaluated(held), x)
    zeros = mx.zeros(shape, getattr(mx, dtype)).at[key].add(mx.array(value))
    np.testing.assert_array_equal(evaluated(zeros), added - x)


ALONG = [((40, 3001), 1), ((40, 3001), 0), ((700, 1500), 0), ((50_001,), 0), ((3, 9, 4111), 1)]


@pytest.mark.parametrize("shape, axis", ALONG)
@pytest.mark.parametrize("index_dtype", INDEX_DTYPES)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "int64"])
def test_large_selections_along_an_axis_are_numpys(shape, axis, index_dtype, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, shape).astype(dtype)
    size = min(shape[axis], np.iinfo(index_dtype).max)
    low = 0 if index_dtype.startswith("u") else -size
    indices = rng.integers(low, size, shape).astype(index_dtype)
    a, k = mx.array(x), mx.array(indices)
    want = np.take_along_axis(x, indices.astype(np.int64), axis)
    np.testing.assert_array_equal(evaluated(mx.take_along_axis(a, k, axis)), want)
    strided = mx.take_along_axis(a.T, k.T, x.ndim - 1 - axis)
    np.testing.assert_array_equal(evaluated(strided), want.T)
    columns = indices.reshape(-1)[:99].reshape(3, 33).astype(np.int64) % shape[-1]
    got = mx.take(a, mx.array(columns), -1)
    np.testing.assert_array_equal(evaluated(got), np.take(x, columns, -1))
    want = x.copy()
    np.put_along_axis(want, indices.astype(np.int64), np.array(7, dtype), axis)
    np.testing.assert_array_equal(evaluated(mx.put_along_axis(a, k, mx.array(7), axis)), want)


@pytest.mark.parametrize("shape, axis", ALONG)
@pytest.mark.parametrize("bad", [1 << 22, -(1 << 22)])
def test_an_index_out_of_range_is_found_wherever_it_stands(shape, axis, bad):
    rng = np.random.default_rng(1)
    x = mx.zeros(shape)
    for position in [0, 1, 2, 3, 4, -1, *rng.integers(0, x.size, 3)]:
        indices = np.zeros(shape, np.int32)
        indices.reshape(-1)[position] = bad
        for read in (lambda k: mx.take_along_axis(x, k, axis),
                     lambda k: mx.put_along_axis(x, k, mx.array(1), axis),
                     lambda k: mx.take(x, k)):  # fmt: skip
            with pytest.raises(IndexError, match=f"index {bad} is out of range"):
                mx.eval(read(mx.array(indices)))


@pytest.mark.parametrize("shape", [(3001,), (70, 401), (2, 3, 997)])
def test_many_repeated_indices_of_elements_combine_in_their_order(shape):
    rng = np.random.default_rng(2)
    x = rng.integers(0, 9, shape).astype(np.float32)
    k = rng.integers(-shape[-1], shape[-1], (4, 1500))
    value = rng.integers(0, 9, (*shape[:-1], *k.shape)).astype(np.float32)
    a, index, v = mx.array(x), mx.array(k), mx.array(value)
    added, put = x.copy(), x.copy()
    np.add.at(added, (..., k), value)
    for row in range(4):
        for column in range(1500):
            put[..., k[row, column]] = value[..., row, column]
    np.testing.assert_array_equal(evaluated(a.at[..., index].add(v)), added)
    a[..., index] = v
    np.testing.assert_array_equal(evaluated(a), put)
    with pytest.raises(IndexError, match="out of range"):
        mx.eval(mx.array(x).at[..., mx.array([0, shape[-1]])].add(1))


def test_reading_everything_gives_a_handle_of_its_own():
    x = mx.array([1, 2])
    for y in (x[...], x[:], x[()]):
        y += 1
    assert x.tolist() == [1, 2]


def test_assignment_leaves_other_handles_alone():
    x = mx.array([1, 2, 3])
    y, view = mx.array(x), x[1:]
    x[1] = 9
    assert (x.tolist(), y.tolist(), view.tolist()) == ([1, 9, 3], [1, 2, 3], [2, 3])


def test_an_update_is_written_where_its_array_stands_if_nobody_else_holds_it():
    x = mx.zeros((64, 1000))
    mx.eval(x)
    mx.reset_peak_memory()
    start = mx.get_active_memory()
    for k in range(5):
        x[k : k + 1] = k + 1.0
        mx.eval(x)
    assert mx.get_peak_memory() < start + 1.5 * x.nbytes
    assert x[:6, 7].tolist() == [1, 2, 3, 4, 5, 0]


@pytest.mark.parametrize("mode", ["put", "add"])
def test_an_update_leaves_whoever_else_holds_its_array_alone(mode):
    def change(a, b):
        if mode == "put":
            a[1:, ::2] = b
        else:
            a = a.at[1:, ::2].add(b)
        return a

    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    wanted = change(mx.array(base), mx.full((3, 3), 5.0)).tolist()
    x = mx.array(base)
    view = x[2:]  # pending, of the same memory
    y = change(x + 0.0, mx.full((3, 3), 5.0))
    z = change(mx.array(x), mx.full((3, 3), 5.0))
    mx.eval(y, z, view)
    assert y.tolist() == z.tolist() == wanted and view.tolist() == base[2:].tolist()
    shared = np.array(x, copy=False)
    kept = change(x, x[:3, ::2]) if mode == "add" else change(x + 0, x[:3, ::2])
    mx.eval(kept)
    np.testing.assert_array_equal(shared, base)
    moved = mx.array(base)
    moved[1:] = moved[:-1]
    np.testing.assert_array_equal(moved, np.concatenate([base[:1], base[:-1]]))
    reader = mx.array(base)
    doubled = reader * 2  # reads what the update would be written over
    reader[:2] = mx.ones((2, 6))
    mx.eval(reader, doubled)
    np.testing.assert_array_equal(doubled, base * 2)


def test_assigned_values_take_the_arrays_dtype():
    x = mx.array([1, 2, 3])
    x[0] = 7.9
    x[1] = True
    assert (x.dtype, x.tolist()) == (mx.int32, [7, 1, 3])
    y = mx.zeros(2, mx.float64)
    y[0] = 0.1
    assert y.tolist() == [0.1, 0.0]


@pytest.mark.parametrize(
    "read, message",
    [
        (lambda x: x[4], r"index 4 is out of range for axis 0 with size 4"),
        (lambda x: x[:, -4], r"index -4 is out of range for axis 1 with size 3"),
        (lambda x: x[mx.array([0, 10])], r"index 10 is out of range for axis 0 with size 4"),
        (lambda x: x[mx.array([-5])], r"index -5 is out of range for axis 0 with size 4"),
        (lambda x: x[:, mx.array([2**64 - 1], mx.uint64)], r"index 18446744073709551615 is out"),
        (lambda x: mx.take(x, mx.array([12])), r"index 12 is out of range for axis 0 with size 12"),
        (lambda x: mx.take_along_axis(x, mx.array([[3]]), 1), r"\[take_along_axis\] index 3 is"),
        (lambda x: mx.put_along_axis(x, mx.array([[-4]]), mx.array(0), 1), r"index -4 is out"),
        (lambda x: x.at[mx.array([4])].add(1), r"\[scatter\] index 4 is out of range"),
        (lambda x: x[0, 0, 0], r"3 indices for an array with 2 axes"),
        (lambda x: x[..., ...], r"two Ellipses"),
        (lambda x: x[1.5], r"a key of type float"),
        (lambda x: x[mx.array([1.0])], r"indices of dtype .*float32"),
        (lambda x: x[mx.array([True, False])], r"mask of shape \(2,\) for axes of shape \(4,\)"),
    ],
)
def test_keys_that_do_not_fit_raise_index_errors_that_say_why(read, message):
    with pytest.raises(IndexError, match=message):
        mx.eval(read(mx.zeros((4, 3))))


def test_values_that_do_not_fit_are_refused():
    x = mx.zeros((2, 3))
    with pytest.raises(ValueError, match=r"shape \(2,\) for a selection of shape \(3,\)"):
        x[0] = mx.ones(2)
    with pytest.raises(ValueError, match="step cannot be zero"):
        x[::0]
    with pytest.raises(ValueError, match="no indices"):
        x.at.add(1)


def test_no_index_crashes_the_process():
    code = (
        "import mlxc.core as mx\n"
        "x = mx.zeros((4, 4))\n"
        "for v in (2**31, -2**31, 2**62, -2**63):\n"
        "    i = mx.array([v], mx.int64)\n"
        "    for f in (lambda: x[i], lambda: x.at[i].add(1), lambda: mx.take(x, i, 1)):\n"
        "        try:\n            mx.eval(f())\n        except IndexError:\n            continue\n"
        "        raise SystemExit(3)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


ROWS = ["gather", "scatter", "take_along_axis", "put_along_axis", "slice_update", "concatenate"]


def samples(name):
    """The row's own samples as (function of the floats, floats as float64, all operands, function
    of all)."""
    row = BY_NAME[name]
    for operands, params in row.samples(mx, np.random.default_rng(0)):
        values = tuple(params[key] for key in row.params)
        at = [k for k, x in enumerate(operands) if x.dtype == mx.float32]

        def apply(*xs, values=values):
            return mx._bind(name, xs, values)

        def of_floats(*floats, operands=operands, at=at, apply=apply):
            chosen = dict(zip(at, floats))
            return apply(*[chosen.get(k, x) for k, x in enumerate(operands)])

        yield of_floats, [operands[k].astype(mx.float64) for k in at], operands, apply


@pytest.mark.parametrize("name", ROWS)
def test_derivatives_of_the_rows_are_slopes_in_both_directions(name):
    for function, floats, _, _ in samples(name):
        check_derivatives(function, floats, np.random.default_rng(1))


@pytest.mark.parametrize("name", ROWS)
def test_vmap_of_the_rows_is_a_loop_whatever_is_batched(name):
    for _, _, operands, apply in samples(name):
        for batched in itertools.product([False, True], repeat=len(operands)):
            if not any(batched):
                continue
            stacks = [mx.stack([x, x[..., ::-1] if x.ndim else x]) for x in operands]
            axes = tuple(0 if b else None for b in batched)
            got = mx.vmap(apply, in_axes=axes)(
                *[s if b else x for b, s, x in zip(batched, stacks, operands)]
            )
            for k in range(2):
                row = apply(*[s[k] if b else x for b, s, x in zip(batched, stacks, operands)])
                np.testing.assert_array_equal(evaluated(got[k]), evaluated(row))


@pytest.mark.parametrize("stride", [2**63, -(2**63) - 1, 2**100])
def test_strides_beyond_any_address_reach_one_value(stride):
    x = mx.arange(4)
    place = 0 if stride > 0 else 3
    assert x[::stride].tolist() == [place]
    x[::stride] = 7
    assert x[place].item() == 7 and x.tolist().count(7) == 1
    assert x.at[::stride].add(1)[place].item() == 8


@pytest.mark.parametrize("key", [2, (1, slice(None, 2)), slice(1, 3), (Ellipsis, -1), slice(0, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, bool])
def test_numbers_are_put_at_common_keys_without_a_plan(monkeypatch, key, dtype):
    monkeypatch.setattr(sys.modules["mlxc.core.indexing"], "_writing_plan", None)
    want = np.arange(12).reshape(3, 4).astype(dtype)
    x = mx.array(want)
    x[key] = 1
    want[key] = 1
    np.testing.assert_array_equal(np.array(x), want)
    assert np.array(x).dtype == want.dtype


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        np.s_[1:3],
        np.s_[::-2],
        np.s_[3:1],
        np.s_[:, None],
        np.s_[..., -1],
        np.s_[1, None, ::-1],
    ],
    ids=str,
)
def test_a_part_of_an_array_that_has_its_data_has_it_too(key):
    values = np.arange(20, dtype=np.float32).reshape(4, 5)
    for x, theirs in ((mx.array(values), values), (mx.array(values).T, values.T)):
        mx.eval(x)
        part = x[key]
        assert is_evaluated(part)
        assert not is_evaluated((x + 0)[key])
        np.testing.assert_array_equal(np.array(part), theirs[key])
        x[key] = 7.0  # the part keeps its values
        np.testing.assert_array_equal(np.array(part), theirs[key])
        np.testing.assert_array_equal(np.array((part + 1) * 2), (theirs[key] + 1) * 2)


def test_parts_of_what_is_traced_are_parts_of_the_graph():
    x = mx.arange(6) * 1.0
    mx.eval(x)
    np.testing.assert_array_equal(np.array(mx.grad(lambda x: x[1:3].sum())(x)), [0, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(np.array(mx.compile(lambda x: x[-1])(x)), 5)


@pytest.mark.parametrize(
    "shape, axis", [((0, 3), 0), ((1, 0, 130), 1), ((3, 0), 1), ((0,), 0), ((2, 0, 5, 3), 1)]
)
@pytest.mark.parametrize("dtype", [mx.float16, mx.float32])
def test_along_an_axis_of_no_length_nothing_is_taken_and_nothing_put(shape, axis, dtype):
    x, index = mx.zeros(shape, dtype), mx.zeros(shape, mx.int32)
    assert evaluated(mx.take_along_axis(x, index, axis)).shape == shape
    assert evaluated(mx.put_along_axis(x, index, mx.array(1, dtype), axis)).shape == shape
