"""Matrix products and what is built from them, against NumPy in double precision."""

import itertools

import numpy as np
import pytest
from support import assert_threads_do_not_matter

import mlxc.core as mx

RNG = np.random.default_rng(7)
TOLERANCE = {
    "float32": 3e-6,
    "float64": 1e-13,
    "float16": 2e-3,
    "bfloat16": 1e-2,
    "complex64": 3e-6,
}
# One, few, odd and many rows and columns; inner sizes beyond one block; empty axes.
SIZES = [
    (1, 1, 1), (1, 7, 1), (3, 0, 4), (0, 3, 2), (2, 3, 0), (1, 300, 70), (8, 513, 70), (5, 70, 600),
    (600, 65, 3), (300, 33, 1), (9, 10, 11), (13, 40, 33), (100, 1100, 130), (1100, 20, 260),
    (1, 70000, 1), (2, 5000, 30), (64, 64, 64),
]  # fmt: skip


def numbers(*shape, dtype="float32"):
    if dtype == "complex64":
        return mx.array(
            (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(dtype)
        )
    return mx.array(RNG.standard_normal(shape).astype("float32")).astype(getattr(mx, dtype))


def exact(x):
    """The values in double precision."""
    if x.dtype == mx.complex64:
        return np.array(x).astype(np.complex128)
    return np.array(x.astype(mx.float64))


def laid_out(x, layout):
    """The same values with other strides."""
    if layout == "transposed":
        return mx.swapaxes(mx.contiguous(mx.swapaxes(x, -1, -2)), -1, -2)
    if layout == "sliced":
        return mx.repeat(mx.repeat(x, 2, -1), 3, -2)[..., ::3, ::2]
    if layout == "reversed":
        return mx.contiguous(x[..., ::-1, ::-1])[..., ::-1, ::-1]
    return x


def check(out, reference, scale, dtype):
    assert out.shape == reference.shape
    assert str(out.dtype).endswith(dtype)
    error = np.abs(exact(out) - reference)
    assert (error <= TOLERANCE[dtype] * (1 + scale + np.abs(reference))).all()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_matmul_agrees_with_numpy_for_all_sizes(dtype):
    for m, k, n in SIZES:
        a, b = numbers(m, k, dtype=dtype), numbers(k, n, dtype=dtype)
        scale = np.abs(exact(a)) @ np.abs(exact(b))
        check(mx.matmul(a, b), exact(a) @ exact(b), scale, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64"])
def test_matmul_reads_operands_of_any_strides(dtype):
    layouts = ["plain", "transposed", "sliced", "reversed"]
    for m, k, n in [(1, 40, 50), (7, 90, 30), (30, 90, 5), (50, 40, 70)]:
        for left, right in itertools.product(layouts, layouts):
            a, b = numbers(m, k, dtype=dtype), numbers(k, n, dtype=dtype)
            scale = np.abs(exact(a)) @ np.abs(exact(b))
            out = mx.matmul(laid_out(a, left), laid_out(b, right))
            check(out, exact(a) @ exact(b), scale, dtype)


@pytest.mark.parametrize(
    "left, right",
    [
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((3,), (4, 3, 2)), ((5, 2, 3), (3,)),
        ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((0, 2, 3), (3, 4)),
        ((2, 3, 0), (2, 0, 4)), ((20, 6, 5), (20, 5, 4)), ((3, 120, 130), (3, 130, 140)),
        ((6, 1, 40), (40, 50)),
    ],
)  # fmt: skip
def test_leading_axes_broadcast_as_numpy_s_do(left, right):
    a, b = numbers(*left), numbers(*right)
    reference = np.matmul(exact(a), exact(b))
    check(a @ b, reference, 30.0, "float32")


def test_a_broadcast_stack_is_multiplied_like_copies():
    a, b = numbers(6, 7, 40), numbers(40, 50)
    out = mx.matmul(a, mx.broadcast_to(b, (6, 40, 50)))
    check(out, exact(a) @ exact(b), 30.0, "float32")
    rows = mx.swapaxes(numbers(7, 6, 40), 0, 1)  # not one stack of rows
    check(mx.matmul(rows, mx.broadcast_to(b, (6, 40, 50))), exact(rows) @ exact(b), 30.0, "float32")


def test_half_precision_accumulates_in_float32():
    a = mx.full((1, 4096), 0.1, mx.float16)
    b = mx.ones((4096, 16), mx.float16)
    assert np.allclose(exact(a @ b), 4096 * exact(a)[0, 0], rtol=1e-3)


def test_matmul_of_nan_and_infinity_follows_arithmetic():
    a = mx.array([[np.inf, 0.0], [np.nan, 1.0]])
    out = np.array(a @ mx.array([[1.0, 0.0], [0.0, 1.0]]))
    assert np.isnan(out[0, 1]) and out[0, 0] == np.inf
    assert np.isnan(out[1]).all()


def test_the_sum_of_an_empty_inner_axis_is_zero():
    assert mx.matmul(mx.ones((2, 0)), mx.ones((0, 3))).tolist() == [[0.0] * 3] * 2


def test_results_do_not_depend_on_how_often_they_are_computed():
    a, b = numbers(300, 700), numbers(700, 260)
    first = np.array(a @ b)
    assert all((np.array(mx.matmul(a, b)) == first).all() for _ in range(3))


def test_mixed_dtypes_meet_in_their_promoted_one():
    assert mx.matmul(mx.ones((2, 2), mx.int32), mx.ones((2, 2))).dtype == mx.float32
    assert mx.matmul(mx.ones((2, 2), mx.bfloat16), mx.ones((2, 2), mx.float16)).dtype == mx.float32


@pytest.mark.parametrize(
    "left, right, words",
    [
        ((2, 3), (2, 3), "inner sizes differ"),
        ((), (3,), "at least one axis"),
        ((2, 2, 3), (3, 3, 4), "broadcast"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(left, right, words):
    with pytest.raises(ValueError, match=words):
        mx.matmul(mx.ones(left), mx.ones(right))


def test_matmul_of_integers_is_refused():
    with pytest.raises(ValueError, match="floating"):
        mx.matmul(mx.ones((2, 2), mx.int32), mx.ones((2, 2), mx.int32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_addmm_adds_what_broadcasts(dtype):
    for m, k, n in [(5, 6, 7), (1, 300, 60), (150, 600, 40), (3, 0, 4)]:
        a, b = numbers(m, k, dtype=dtype), numbers(k, n, dtype=dtype)
        for shape in [(n,), (m, 1), (m, n), (1,), ()]:
            c = numbers(*shape, dtype=dtype)
            reference = 0.5 * (exact(a) @ exact(b)) - 2 * exact(c)
            check(mx.addmm(c, a, b, alpha=0.5, beta=-2.0), reference, 60.0, dtype)


def test_addmm_of_vectors_and_stacks():
    a, b, c = numbers(4), numbers(4, 3), numbers(3)
    check(mx.addmm(c, a, b), exact(a) @ exact(b) + exact(c), 5.0, "float32")
    a, b, c = numbers(5, 2, 4), numbers(4, 3), numbers(5, 1, 3)
    check(mx.addmm(c, a, b), exact(a) @ exact(b) + exact(c), 5.0, "float32")
    assert mx.addmm(mx.array(1.0), mx.ones(4), mx.ones(4)).item() == 5.0


def test_addmm_refuses_an_addend_larger_than_the_product():
    with pytest.raises(ValueError, match="broadcast"):
        mx.addmm(mx.ones((5, 2, 3)), mx.ones((2, 4)), mx.ones((4, 3)))


def test_gradients_of_matmul_and_addmm():
    a, b, c = numbers(3, 4), numbers(4, 5), numbers(5)
    weight = numbers(3, 5)
    da, db = mx.grad(lambda a, b: mx.sum(weight * (a @ b)), argnums=(0, 1))(a, b)
    check(da, exact(weight) @ exact(b).T, 9.0, "float32")
    check(db, exact(a).T @ exact(weight), 9.0, "float32")

    def loss(c, a, b):
        return mx.sum(weight * mx.addmm(c, a, b, alpha=2.0, beta=3.0))

    dc, da, _ = mx.grad(loss, argnums=(0, 1, 2))(c, a, b)
    check(dc, 3 * exact(weight).sum(0), 9.0, "float32")
    check(da, 2 * exact(weight) @ exact(b).T, 9.0, "float32")


def test_vmap_of_matmul_repeats_the_operand_without_a_batch():
    a, b = numbers(6, 3, 4), numbers(4, 5)
    check(mx.vmap(mx.matmul, in_axes=(0, None))(a, b), exact(a) @ exact(b), 9.0, "float32")
    check(
        mx.vmap(mx.matmul, in_axes=(None, 0))(b.T, a.swapaxes(1, 2)),
        exact(b).T @ np.swapaxes(exact(a), 1, 2),
        9.0,
        "float32",
    )


def test_inner_outer_kron_and_vecdot_agree_with_numpy():
    a, b = numbers(2, 3), numbers(4, 3)
    check(mx.inner(a, b), np.inner(exact(a), exact(b)), 5.0, "float32")
    check(mx.inner(mx.array(2.0), b), 2 * exact(b), 5.0, "float32")
    check(mx.outer(a, b), np.outer(exact(a), exact(b)), 5.0, "float32")
    check(mx.kron(a, b), np.kron(exact(a), exact(b)), 5.0, "float32")
    z = numbers(2, 3, dtype="complex64")
    check(mx.vecdot(z, z + 1), (exact(z).conj() * (exact(z) + 1)).sum(-1), 9.0, "complex64")
    assert mx.vecdot(mx.array([[1, 2], [3, 4]]), mx.array([5, 6])).tolist() == [17, 39]
    with pytest.raises(ValueError, match="inner"):
        mx.inner(mx.ones((2, 3)), mx.ones((4, 2)))


@pytest.mark.parametrize(
    "left, right, axes",
    [
        ((2, 3, 4), (3, 4, 2), 2), ((2, 3), (4, 2), 0), ((2, 3, 4), (3, 4, 2), [[1, 2], [0, 1]]),
        ((2, 3, 4), (3, 4, 2), [[-2], [-3]]), ((2, 0), (0, 3), 1),
    ],
)  # fmt: skip
def test_tensordot_agrees_with_numpy(left, right, axes):
    a, b = numbers(*left), numbers(*right)
    check(mx.tensordot(a, b, axes=axes), np.tensordot(exact(a), exact(b), axes), 9.0, "float32")


def test_tensordot_refuses_axes_that_do_not_exist():
    for axes in (9, -1, [[7], [0]], [[0, 1], [0]], [[0, 0], [1, 1]]):
        with pytest.raises(ValueError, match="tensordot"):
            mx.tensordot(mx.ones((2, 2, 2)), mx.ones((2, 2, 2)), axes=axes)


EQUATIONS = [
    ("ij,jk", (2, 3), (3, 2)), ("ij,jk->ki", (2, 3), (3, 2)), ("ii->i", (3, 3)), ("ii", (3, 3)),
    ("ij->", (3, 3)), ("ij->ji", (2, 3)), ("i,i->", (3,), (3,)), ("i,j->ij", (2,), (3,)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 2)), ("i...->...", (2, 3)), ("ij,ij->", (2, 3), (1, 3)),
    ("iJ,Jk->iJk", (2, 3), (3, 2)), (",->", (), ()), ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)),
    ("ii,ii->i", (3, 3), (3, 3)), ("ijij->ji", (2, 3, 2, 3)), ("ij,kl->ik", (2, 3), (2, 3)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("...a,...b->...ab", (4, 2), (3, 1, 3)),
    ("abc,cd,def->abef", (2, 3, 4), (4, 5), (5, 6, 2)), ("iii->i", (3, 3, 3)),
    ("a,a,a->a", (3,), (3,), (3,)), (" i j , j k -> i k ", (2, 3), (3, 2)),
]  # fmt: skip


@pytest.mark.parametrize("equation, shapes", [(e, s) for e, *s in EQUATIONS])
def test_einsum_agrees_with_numpy(equation, shapes):
    operands = [numbers(*shape) for shape in shapes]
    reference = np.asarray(np.einsum(equation, *map(exact, operands)))
    check(mx.einsum(equation, *operands), reference, 9.0, "float32")


def test_einsum_of_integers_is_exact():
    a, b = mx.array([[2**20, 3]]), mx.array([[7], [2**20]])
    assert mx.einsum("ij,jk->ik", a, b).tolist() == [[10 * 2**20]]
    small = mx.array([[200, 100]], dtype=mx.uint8)
    assert mx.inner(small, small).tolist() == [[(200 * 200 + 100 * 100) % 256]]


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("ij,jk", [(2, 3)]), ("ij,jk", [(2, 3), (2, 3)]), ("ij,j->ii", [(2, 3), (3,)]),
        ("ij->k", [(2, 3)]), ("ij->i->j", [(2, 3)]), ("i1->i", [(2, 3)]), ("ijk", [(2, 3)]),
        ("ii->i", [(2, 3)]), ("......i", [(2, 3)]), ("i..", [(2, 3)]),
    ],
)  # fmt: skip
def test_einsum_refuses_what_it_cannot_read(equation, shapes):
    with pytest.raises(ValueError, match="einsum"):
        mx.einsum(equation, *(mx.ones(shape) for shape in shapes))


def test_einsum_path_contracts_what_shrinks_most():
    shapes = [(20, 30), (30, 2), (2, 20)]
    path, text = mx.einsum_path("ij,jk,kl->il", *(mx.ones(shape) for shape in shapes))
    assert path == [(0, 1), (0, 1)]
    assert "Naive FLOP count:  72000" in text
    assert "Optimized FLOP count:  4000" in text


def expanded(mask, block, rows, columns):
    return np.kron(np.array(mask), np.ones((block, block)))[:rows, :columns]


def test_block_masked_mm_masks_operands_and_result():
    a, b = numbers(40, 50), numbers(50, 33)
    keep, weights = mx.array([[True, False], [True, True]]), numbers(2, 2)
    left, right = exact(a) * expanded(keep, 32, 40, 50), exact(b) * expanded(weights, 32, 50, 33)
    reference = (left @ right) * expanded(keep, 32, 40, 33)
    check(mx.block_masked_mm(a, b, 32, keep, keep, weights), reference, 30.0, "float32")
    with pytest.raises(ValueError, match="block_masked_mm"):
        mx.block_masked_mm(a, b, 32, mx.ones((2, 3)))


def test_block_masked_mm_drops_nan_of_masked_blocks():
    a = mx.array([[np.nan, 1.0]])
    out = mx.block_masked_mm(a, mx.ones((2, 1)), 1, None, mx.array([[False, True]]))
    assert out.tolist() == [[1.0]]


def test_gather_mm_picks_matrices():
    a, b = numbers(3, 2, 4), numbers(5, 4, 6)
    left, right = mx.array([[0], [2]]), mx.array([1, 4, 2])
    reference = exact(a)[np.array(left)] @ exact(b)[np.array(right)]
    check(mx.gather_mm(a, b, left, right), reference, 9.0, "float32")
    check(mx.gather_mm(a[:1], b, None, right), exact(a)[:1] @ exact(b)[[1, 4, 2]], 9.0, "float32")


def test_gather_mm_refuses_indices_out_of_bounds():
    for left, right in (([3], [0]), ([0], [5]), ([-1], [0])):
        with pytest.raises(IndexError, match="gather_mm"):
            mx.eval(
                mx.gather_mm(
                    mx.ones((3, 2, 4)), mx.ones((5, 4, 2)), mx.array(left), mx.array(right)
                )
            )
    with pytest.raises(ValueError, match="integers"):
        mx.gather_mm(mx.ones((3, 2, 4)), mx.ones((5, 4, 2)), mx.array([0.0]))


def test_gather_mm_differentiates_through_repeated_indices():
    a, b = numbers(2, 2, 3), numbers(3, 3, 2)
    index = mx.array([1, 1, 0])
    gradient = mx.grad(lambda b: mx.sum(mx.gather_mm(a, b, mx.array([0, 1, 1]), index)))(b)
    rows = exact(a).sum(1)
    assert np.allclose(exact(gradient)[1], np.repeat((rows[0] + rows[1])[:, None], 2, 1), 1e-4)
    assert not exact(gradient)[2].any()


def test_segmented_mm_multiplies_each_segment():
    a, b = numbers(3, 900), numbers(900, 4)
    segments = mx.array([[0, 2], [2, 2], [5, 3], [1, 900], [0, 515]], dtype=mx.uint32)
    out = exact(mx.segmented_mm(a, b, segments))
    for piece, (start, stop) in zip(out, segments.tolist()):
        assert np.allclose(piece, exact(a)[:, start:stop] @ exact(b)[start:stop], atol=1e-3)
    with pytest.raises(IndexError, match="segmented_mm"):
        mx.eval(mx.segmented_mm(a, b, mx.array([[0, 901]])))
    with pytest.raises(ValueError, match="segmented_mm"):
        mx.segmented_mm(a, b, mx.array([0, 2, 4]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    "m, k, n",
    [(100, 33, 9), (13, 1, 16), (37, 1601, 17), (70, 8, 12), (25, 21000, 19), (6, 300, 2100),
     (300, 40, 600), (23, 1024, 50)],
)  # fmt: skip
@pytest.mark.parametrize("left", ["rows", "columns", "steps"])
@pytest.mark.parametrize("right", ["rows", "columns", "steps"])
def test_products_of_small_integers_are_exact_in_every_layout(m, k, n, left, right, dtype):
    def operand(rows, columns, layout):
        if layout == "columns":
            return operand(columns, rows, "rows").T
        step = 2 if layout == "steps" else 1
        x = mx.array(RNG.integers(-3, 4, (rows, step * columns)).astype("float32"))
        return x.astype(getattr(mx, dtype))[:, ::step]

    a, b = operand(m, k, left), operand(k, n, right)
    expected = mx.array((exact(a) @ exact(b)).astype("float32")).astype(getattr(mx, dtype))
    assert np.array_equal(exact(a @ b), exact(expected))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_whatever_is_left_over_beside_whole_tiles_is_right(dtype):
    whole = RNG.integers(-3, 4, (2, 80, 80)).astype("float32")
    for m, n in itertools.product([*range(1, 27), 47], [9, 16, 17, 31, 33, 40, 49, 63, 70]):
        a, b = (mx.array(x).astype(getattr(mx, dtype)) for x in whole)
        out = exact(a[:m, 3:14] @ b[3:14, 5 : 5 + n])
        assert np.array_equal(out, whole[0, :m, 3:14] @ whole[1, 3:14, 5 : 5 + n])


@pytest.mark.parametrize("m, k, n", [(3, 4, 5), (2, 40, 3), (20, 7, 1), (16, 24, 5), (4, 9, 40)])
@pytest.mark.parametrize("left, right", [("rows", "columns"), ("columns", "rows")])
def test_each_product_of_a_stack_of_small_ones_is_its_own(m, k, n, left, right):
    def stack(rows, columns, layout):
        if layout == "columns":
            return mx.swapaxes(stack(columns, rows, "rows"), 1, 2)
        return mx.array(RNG.integers(-3, 4, (300, rows, columns)).astype("float32"))

    a, b = stack(m, k, left), stack(k, n, right)
    assert np.array_equal(exact(a @ b), exact(a) @ exact(b))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "complex64"])
@pytest.mark.parametrize("right", ["rows", "columns", "backwards"])
def test_small_products_neither_see_nor_touch_what_lies_beside_them(dtype, right):
    sizes = [(2, 2, 2), (3, 5, 7), (8, 8, 8), (13, 3, 17), (5, 32, 33), (32, 1, 64), (1, 9, 1)]
    for m, k, n in sizes:
        a = RNG.integers(-3, 4, (11, 7, m, k)).astype("float32")
        b = np.full((13, 7, k + 1, n + 2), np.nan, "float32")
        b[1:12, :, :k, 1 : n + 1] = RNG.integers(-3, 4, (11, 7, k, n))
        given = mx.array(b).astype(getattr(mx, dtype))[1:12, :, :k, 1 : n + 1]
        if right == "columns":
            given = laid_out(given, "transposed")
        elif right == "backwards":
            given = laid_out(given, "reversed")
        out = mx.array(a).astype(getattr(mx, dtype)) @ given
        assert np.array_equal(exact(out), a @ b[1:12, :, :k, 1 : n + 1])


def test_small_products_are_scaled_and_added_to():
    a, b, c = numbers(50, 4, 6), numbers(50, 6, 5), numbers(50, 4, 5)
    reference = 2 * exact(c) - 0.5 * (exact(a) @ exact(b))
    check(mx.addmm(c, a, b, alpha=-0.5, beta=2.0), reference, 30.0, "float32")


def test_small_products_do_not_depend_on_the_number_of_threads():
    a, b = numbers(3000, 5, 6), numbers(3000, 6, 7)
    assert_threads_do_not_matter(lambda: a @ b)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64"])
def test_short_rows_times_a_vector_see_nothing_beside_them(dtype):
    for k in [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 40, 63, 100, 129]:
        for rows, columns in ((5, 1), (17, 1), (300, 1), (67, 3)):
            a = np.full((rows + 2, k + 3), np.inf, "float32")
            a[1:-1, 1 : k + 1] = RNG.integers(-3, 4, (rows, k))
            b = RNG.integers(-3, 4, (k, columns)).astype("float32")
            left, right = (mx.array(x).astype(getattr(mx, dtype)) for x in (a, b))
            inner, expected = left[1:-1, 1 : k + 1], a[1:-1, 1 : k + 1] @ b
            assert np.array_equal(exact(inner @ right), expected)
            assert np.array_equal(exact(right.T @ inner.T), expected.T)
            assert np.array_equal(exact(inner[::-1] @ right), expected[::-1])


def test_a_split_inner_axis_is_scaled_and_added_to_once():
    a, b, c = numbers(40, 9000), numbers(9000, 50), numbers(40, 50)
    reference = 2 * exact(c) - 0.5 * (exact(a) @ exact(b))
    check(mx.addmm(c, a, b, alpha=-0.5, beta=2.0), reference, 9000.0, "float32")
    check(mx.addmm(c.T, b.T, a.T, alpha=-0.5, beta=2.0), reference.T, 9000.0, "float32")


@pytest.mark.parametrize("m, k, n", [(64, 40000, 30), (16, 900, 2048), (70, 70, 70)])
def test_products_do_not_depend_on_the_number_of_threads(m, k, n):
    a, b = numbers(m, k), numbers(k, n)
    assert_threads_do_not_matter(lambda: a @ b)


def test_a_turned_matrix_times_a_vector_is_the_vector_times_the_matrix_bit_by_bit():
    for k, n in ((20000, 16), (4097, 37), (300, 3)):
        matrix, vector = numbers(k, n), numbers(k)
        assert np.array_equal(matrix.T @ vector, vector @ matrix)


def test_products_of_bfloat16_pass_on_what_is_not_finite():
    a = np.ones((20, 33), "float32")
    a[3, 4], a[5, 32] = np.inf, np.nan
    product = exact(mx.array(a).astype(mx.bfloat16) @ mx.ones((33, 40)).astype(mx.bfloat16))
    assert (product[3] == np.inf).all() and np.isnan(product[5]).all() and (product[0] == 33).all()
