"""Joining, parting, repeating and reordering against NumPy; small arithmetic; derivatives;
handles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlxc.core as mx
from mlxc._graph import is_evaluated


def evaluated(x):
    return np.array(x)


def numbers(*shape):
    return np.arange(np.prod(shape), dtype="float32").reshape(shape)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, None])
def test_concatenate_and_stack_are_numpys(axis):
    x = numbers(2, 3, 4)
    parts = [x, -x.transpose(0, 2, 1).copy().transpose(0, 2, 1), x[..., ::-1]]
    ours = [mx.array(x), -mx.array(x), mx.array(x)[..., ::-1]]
    np.testing.assert_array_equal(
        evaluated(mx.concatenate(ours, axis)), np.concatenate(parts, axis)
    )
    if axis is not None:
        np.testing.assert_array_equal(evaluated(mx.stack(ours, axis)), np.stack(parts, axis))


def test_concatenate_promotes_and_takes_operands_of_different_size():
    got = mx.concatenate([mx.array([1, 2]), mx.array([0.5]), mx.zeros((0,))])
    assert (got.dtype, got.tolist()) == (mx.float32, [1.0, 2.0, 0.5])


def test_large_transposed_operands_are_joined_exactly():
    x = numbers(300, 400)
    got = mx.concatenate([mx.array(x).T, mx.array(x[:200]).T], axis=1)
    np.testing.assert_array_equal(evaluated(got), np.concatenate([x.T, x[:200].T], axis=1))


def test_the_derivative_of_concatenate_is_cut_up():
    weight = mx.array(numbers(5))
    grads = mx.grad(lambda a, b: (mx.concatenate([a, b, a]) * weight).sum(), argnums=(0, 1))(
        mx.ones(2), mx.ones(1)
    )
    assert [g.tolist() for g in grads] == [[3.0, 5.0], [2.0]]


@pytest.mark.parametrize("how", [3, [2, 5], [5, 2], [-2], [2, 50], []])
def test_split_is_numpys(how):
    x = numbers(9, 2)
    for got, want in zip(mx.split(mx.array(x), how), np.split(x, how), strict=True):
        np.testing.assert_array_equal(evaluated(got), want)


def test_unstack_undoes_stack():
    parts = [numbers(2, 3) + k for k in range(4)]
    for got, want in zip(
        mx.unstack(mx.stack(list(map(mx.array, parts)), 1), axis=1), parts, strict=True
    ):
        np.testing.assert_array_equal(evaluated(got), want)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("width", [1, (1, 2), ((0, 3), (5, 0)), 7, 0])
def test_pad_is_numpys(mode, width):
    x = numbers(3, 4)
    got = mx.pad(mx.array(x), width, mode=mode)
    np.testing.assert_array_equal(evaluated(got), np.pad(x, width, mode=mode))


def test_pad_converts_its_constant_and_differentiates():
    assert mx.pad(mx.array([1]), 1, constant_values=5.5).tolist() == [5, 1, 5]
    for mode, want in [("constant", [1.0, 1.0]), ("edge", [2.0, 3.0]), ("symmetric", [3.0, 2.0])]:
        got = mx.grad(lambda a, m=mode: mx.pad(a, (1, 2), mode=m).sum())(mx.ones(2))
        assert got.tolist() == want


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_repeat_is_numpys(axis):
    x = numbers(2, 3)
    for times in (0, 1, 3):
        got = mx.repeat(mx.array(x), times, axis)
        np.testing.assert_array_equal(evaluated(got), np.repeat(x, times, axis))


@pytest.mark.parametrize("reps", [2, (2, 1), (2, 1, 3), (), 0, (1, 2, 2, 1)])
def test_tile_is_numpys(reps):
    x = numbers(2, 3)
    np.testing.assert_array_equal(evaluated(mx.tile(mx.array(x), reps)), np.tile(x, reps))


@settings(max_examples=60, deadline=None)
@given(st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([None, 0, 1, (0, 1), (1, 1)]))
def test_roll_is_numpys(first, second, axis):
    x = numbers(3, 4)
    shift = (first, second) if isinstance(axis, tuple) else first
    np.testing.assert_array_equal(
        evaluated(mx.roll(mx.array(x), shift, axis)), np.roll(x, shift, axis)
    )
    np.testing.assert_array_equal(
        evaluated(mx.roll(mx.array(x), first, axis)), np.roll(x, first, axis)
    )


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2)])
def test_flip_is_numpys(axis):
    x = numbers(2, 3, 4)
    np.testing.assert_array_equal(evaluated(mx.flip(mx.array(x), axis)), np.flip(x, axis))


def test_atleast_adds_axes_where_numpy_does():
    for shape in [(), (2,), (2, 3), (2, 3, 4), (2, 3, 4, 5)]:
        x = numbers(*shape)
        for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
            assert getattr(mx, name)(mx.array(x)).shape == getattr(np, name)(x).shape
    assert [x.shape for x in mx.atleast_2d(mx.array(1), mx.zeros(2))] == [(1, 1), (1, 2)]


def test_diff_is_numpys():
    x = np.array([[3, 1, 7, 0], [2, 2, 9, 4]])
    for n in range(6):
        for axis in (0, 1):
            np.testing.assert_array_equal(
                evaluated(mx.diff(mx.array(x), n, axis)), np.diff(x, n, axis)
            )
    assert mx.diff(mx.array([True, False, False])).tolist() == [True, False]
    assert mx.diff(mx.array([3, 1], mx.uint8)).tolist() == [254]


@pytest.mark.parametrize("n", [1, 2, 4, 64, 128, 1024, 12, 24, 20, 80, 28, 56])
def test_the_hadamard_transform_is_orthogonal_and_its_matrix_signs(n):
    matrix = evaluated(mx.hadamard_transform(mx.eye(n), 1.0))
    np.testing.assert_array_equal(np.abs(matrix), np.ones((n, n)))
    np.testing.assert_array_equal(matrix @ matrix.T, n * np.eye(n))
    x = np.random.default_rng(n).standard_normal((2, 3, n)).astype("float32")
    got = evaluated(mx.hadamard_transform(mx.array(x)))
    np.testing.assert_allclose(got, x @ matrix / np.sqrt(n), atol=1e-4)


def test_the_hadamard_transform_keeps_floats_and_converts_integers():
    assert mx.hadamard_transform(mx.ones(4, mx.float16)).dtype == mx.float16
    assert mx.hadamard_transform(mx.ones(4, mx.int32)).tolist() == [2.0, 0.0, 0.0, 0.0]


def test_clip_keeps_nan_and_lets_the_upper_bound_win():
    x = mx.array([-1.0, 0.5, 9.0, float("nan")])
    np.testing.assert_array_equal(evaluated(mx.clip(x, 0, 1)), [0, 0.5, 1, np.nan])
    assert mx.clip(mx.arange(4), None, 2).tolist() == [0, 1, 2, 2]
    assert mx.clip(mx.arange(4), 3, 1).tolist() == [1, 1, 1, 1]
    assert mx.clip(mx.arange(3), 0.5, 1.5).tolist() == [0.5, 1.0, 1.5]


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", "float64"])
def test_nan_to_num_uses_the_dtypes_limits(dtype):
    dtype = getattr(mx, dtype)
    x = mx.array([1.5, float("nan"), float("inf"), -float("inf")], mx.float32).astype(dtype)
    got = mx.nan_to_num(x)
    assert got.dtype == dtype
    limit = mx.finfo(dtype).max
    assert got.tolist() == [1.5, 0.0, limit, -limit]
    assert mx.nan_to_num(x, 1, 2, 3).tolist() == [1.5, 1.0, 2.0, 3.0]
    assert mx.nan_to_num(mx.array([1, 2])).dtype == mx.int32


def test_round_goes_half_to_even_at_any_decimal():
    assert mx.round(mx.array([0.5, 1.5, 2.5, -0.5])).tolist() == [0.0, 2.0, 2.0, -0.0]
    assert mx.round(mx.array([15, 25, -15, 14]), -1).tolist() == [20, 20, -20, 10]
    assert mx.round(mx.array([15, 25]), 1).tolist() == [15, 25]
    np.testing.assert_allclose(
        evaluated(mx.round(mx.array([0.57, 1.21]), 1)), [0.6, 1.2], rtol=1e-6
    )
    assert mx.round(mx.array([1.5 + 2.5j])).tolist() == [2 + 2j]


def test_closeness_treats_infinities_and_nan_as_numpy_does():
    values = np.array([0, 1, 1 + 1e-6, 1.1, np.inf, -np.inf, np.nan], "float32")
    a, b = values[:, None], values[None]
    for equal_nan in (True, False):
        got = mx.isclose(mx.array(a), mx.array(b), equal_nan=equal_nan)
        np.testing.assert_array_equal(evaluated(got), np.isclose(a, b, equal_nan=equal_nan))
    assert mx.allclose(mx.array([1, 2]), mx.array([1.0, 2.0])).item()
    assert not mx.allclose(mx.array([0], mx.uint8), mx.array([255], mx.uint8)).item()


def test_array_equal_compares_shapes_and_values():
    nan = mx.array([float("nan")])
    assert mx.array_equal(mx.array([1, 2]), mx.array([1.0, 2.0])).item()
    assert not mx.array_equal(mx.array([1]), mx.array([1, 1])).item()
    assert not mx.array_equal(nan, nan).item()
    assert mx.array_equal(nan, nan, equal_nan=True).item()


def test_divmod_is_pythons():
    q, r = mx.divmod(mx.array([7, -7, 7, -7]), mx.array([2, 2, -2, -2]))
    assert list(zip(q.tolist(), r.tolist())) == [
        divmod(a, b) for a, b in [(7, 2), (-7, 2), (7, -2), (-7, -2)]
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda: mx.concatenate([]),
        lambda: mx.concatenate([mx.zeros(2), mx.zeros((2, 2))]),
        lambda: mx.stack([mx.zeros(2), mx.zeros(3)]),
        lambda: mx.split(mx.zeros(10), 3),
        lambda: mx.split(mx.zeros(10), 0),
        lambda: mx.pad(mx.zeros(2), -1),
        lambda: mx.pad(mx.zeros(2), 1, mode="wrap"),
        lambda: mx.pad(mx.zeros(0), 1, mode="edge"),
        lambda: mx.repeat(mx.zeros(2), -1),
        lambda: mx.tile(mx.zeros(2), -1),
        lambda: mx.roll(mx.zeros((2, 2)), (1, 2, 3), (0, 1)),
        lambda: mx.diff(mx.zeros(2), -1),
        lambda: mx.hadamard_transform(mx.zeros(5)),
        lambda: mx.clip(mx.zeros(2), None, None),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(ValueError, match=r"^\["):
        call()


@pytest.mark.parametrize(
    "same",
    [
        lambda x: mx.concatenate([x]),
        lambda x: mx.pad(x, 0),
        lambda x: mx.tile(x, 1),
        lambda x: mx.roll(x, 0),
        lambda x: mx.flip(x, []),
        lambda x: mx.atleast_1d(x),
        lambda x: mx.contiguous(x),
        lambda x: mx.positive(x),
        lambda x: mx.round(x),
        lambda x: mx.diff(x, 0),
        lambda x: mx.split(x, 1)[0],
        lambda x: mx.repeat(x, 1),
    ],
)
def test_what_comes_back_has_a_handle_of_its_own(same):
    x = mx.array([1, 2])
    y = same(x)
    y += 1
    assert (x.tolist(), y.tolist()) == ([1, 2], [2, 3])


# Planes that are turned in squares, with edges in both directions; thin ones; several in a row;
# axes that are read backwards, skipped through or repeated.
TURNED = [
    ((1, 0), (70, 33)),
    ((1, 0), (2100, 65)),
    ((1, 0), (7, 300)),
    ((1, 0), (8, 8)),
    ((1, 0), (0, 9)),
    ((0, 2, 1), (3, 129, 67)),
    ((0, 2, 3, 1), (2, 9, 5, 16)),
    ((2, 0, 1), (40, 30, 50)),
    ((3, 1, 2, 0), (20, 3, 4, 70)),
]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "float32", "int64", "complex64"])
@pytest.mark.parametrize("axes, shape", TURNED, ids=str)
def test_transposed_copies_hold_the_same_bits(axes, shape, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype="uint8")
    x = x.view(dtype)[..., 0] if dtype != "bool" else x[..., 0] > 100
    bits = "uint8" if dtype == "bool" else x.dtype.str.replace("f", "u").replace("c", "u")
    got = evaluated(mx.contiguous(mx.transpose(mx.array(x), axes)))
    expected = np.ascontiguousarray(x.transpose(axes))
    np.testing.assert_array_equal(got.view(bits), expected.view(bits))


ROW_LENGTHS = [*range(1, 36), 63, 64, 65, 127, 128, 129, 255, 257, 1023, 1025, 5000]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "int64"])
@pytest.mark.parametrize("step", [1, -1, 2, -2, 3, 0])
def test_rows_of_any_length_and_step_are_moved_whole(dtype, step):
    for n in ROW_LENGTHS:
        x = (np.arange(7 * 5 * n * max(abs(step), 1)) % 251).astype(dtype).reshape(7, 5, -1)
        a = mx.array(x)
        if step == 0:
            x, a = x[..., :1], a[..., :1]
            want, got = np.broadcast_to(x, (7, 5, n)), mx.broadcast_to(a, (7, 5, n))
        else:
            want, got = x[..., ::step], a[..., ::step]
        got = mx.contiguous(mx.transpose(got[1:], (1, 0, 2)))
        np.testing.assert_array_equal(np.array(got), np.transpose(want[1:], (1, 0, 2)))


@pytest.mark.parametrize(
    "part", [np.s_[::-1], np.s_[:, ::-1], np.s_[::2], np.s_[:, 3:], np.s_[5:, 1::3]], ids=str
)
def test_transposed_copies_of_views_hold_the_same_numbers(part):
    x = numbers(150, 90)
    got = evaluated(mx.contiguous(mx.array(x)[part].T))
    np.testing.assert_array_equal(got, x[part].T)


def test_a_transposed_copy_of_a_repeated_axis_repeats_it():
    x = numbers(40)
    got = mx.contiguous(mx.broadcast_to(mx.array(x)[:, None], (40, 30)).T)
    np.testing.assert_array_equal(evaluated(got), np.broadcast_to(x[:, None], (40, 30)).T)


@pytest.mark.parametrize("shape", [(2**62, 8, 5), (2**62, 8, -1), (2**32, 2**32, -1)])
def test_a_shape_of_more_values_than_64_bits_count_is_refused_as_one_that_does_not_fit(shape):
    with pytest.raises(ValueError, match=r"^\[reshape\]"):
        mx.reshape(mx.zeros((4,)), shape)


@pytest.mark.parametrize("shape", [(3, 0, 2**60), (0, 2**31, 2**31), (16, 0, 2**57)])
def test_empty_arrays_whose_other_sizes_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="axes of size 0 counted as 1"):
        mx.broadcast_to(mx.ones((1,) * len(shape)), shape)
    with pytest.raises(ValueError, match="axes of size 0 counted as 1"):
        mx.zeros(shape)


def test_empty_arrays_of_sizes_that_fit_are_computed_with():
    x = mx.broadcast_to(mx.ones((1, 1, 1)), (2**29, 0, 2**29))
    mx.eval(mx.exp(x)[::2], mx.transpose(x) + 1, x.sum(), x.sum(axis=0))
    assert x.sum(axis=-1).shape == (2**29, 0)


@pytest.mark.parametrize(
    "dtype, side", [("uint8", 64), ("float16", 32), ("int32", 16), ("int64", 8)]
)
def test_what_is_left_over_beside_whole_squares_is_transposed_as_well(dtype, side):
    few = side // 4
    sizes = [side - 1, side, *(side + k for k in (1, few, few + 1, side - 1)), 2 * side + few + 1]
    for rows in sizes:
        for columns in sizes:
            x = np.arange(2 * rows * columns).reshape(2, rows, columns).astype(dtype)
            turned = np.array(mx.contiguous(mx.transpose(mx.array(x), (2, 0, 1))))
            np.testing.assert_array_equal(turned, x.transpose(2, 0, 1), err_msg=f"{rows} {columns}")


@pytest.mark.parametrize(
    "view",
    [
        lambda lib, x: x.T,
        lambda lib, x: lib.transpose(x, (1, 2, 0)),
        lambda lib, x: lib.reshape(x, (6, -1)),
        lambda lib, x: lib.expand_dims(x, 1),
        lambda lib, x: lib.swapaxes(x, 0, 2),
    ],
)
def test_views_of_an_array_that_has_its_data_have_it_too(view):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = mx.array(values)
    seen = view(mx, x)
    assert is_evaluated(seen) and not is_evaluated(view(mx, x + 0))
    expected = view(np, values).copy()
    np.testing.assert_array_equal(np.array(seen), expected)
    x[0] = 5.0  # the view keeps its values
    np.testing.assert_array_equal(np.array(seen), expected)
    np.testing.assert_array_equal(np.array(seen * 2 + 1), expected * 2 + 1)
    gradient = mx.grad(lambda x: (view(mx, x) ** 2).sum())(mx.array(values))
    np.testing.assert_array_equal(np.array(gradient), 2 * values)


@pytest.mark.parametrize("shape", [(5, 5), (25,), (-2, 12), (2**62, 4), (2**70,), (0, 24)])
def test_shapes_that_do_not_fit_an_array_that_has_its_data_are_refused(shape):
    with pytest.raises(ValueError, match="reshape"):
        mx.reshape(mx.array(np.zeros(24)), shape)
