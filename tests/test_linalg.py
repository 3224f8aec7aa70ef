"""Linear algebra against NumPy, derivatives in float64 against differences, and input without an
answer."""

import numpy as np
import pytest
from support import check_derivatives, generator, to_mx, to_np

import mlxc.core as mx
from mlxc._threads import pool

LA = mx.linalg


def matrices(*shape, dtype=np.float32):
    """Random matrices with a strong diagonal."""
    x = generator("linalg", shape).standard_normal(shape)
    for i in range(min(shape[-2:])):
        x[..., i, i] += 3 + i
    return x.astype(dtype)


def positive(*shape, dtype=np.float32):
    x = matrices(*shape)
    return (x @ np.swapaxes(x, -1, -2)).astype(dtype)


def assert_near(got, expected, tolerance=1e-4):
    got, expected = to_np(got), np.asarray(expected)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


SQUARE = matrices(2, 4, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["inv", "det"])
def test_functions_of_square_matrices_equal_numpy(name, dtype):
    x = SQUARE.astype(dtype)
    got = getattr(LA, name)(to_mx(x))
    assert to_np(got).dtype == dtype
    assert_near(got, getattr(np.linalg, name)(x))


@pytest.mark.parametrize("n", [1, 3, 64, 65, 150])
@pytest.mark.parametrize("upper", [False, True])
def test_solve_triangular_reads_one_triangle_alone(n, upper):
    a, b = matrices(2, n, n) + 2 * np.eye(n, dtype=np.float32) * np.sqrt(n), matrices(2, n, 3)
    triangle = np.triu(a) if upper else np.tril(a)
    assert_near(
        LA.solve_triangular(mx.array(a), mx.array(b), upper=upper),
        np.linalg.solve(triangle, b),
        1e-3,
    )
    assert_near(LA.tri_inv(mx.array(a), upper=upper), np.linalg.inv(triangle), 1e-3)


@pytest.mark.parametrize(
    "a, b",
    [
        ((4, 4), (4,)),
        ((4, 4), (4, 2)),
        ((2, 4, 4), (2, 4, 3)),
        ((4, 4), (2, 4, 3)),
        ((2, 1, 4, 4), (3, 4, 1)),
    ],
)
def test_solve_broadcasts_batches(a, b):
    a, b = matrices(*a), generator("solve", b).standard_normal(b).astype(np.float32)
    assert_near(LA.solve(mx.array(a), mx.array(b)), np.linalg.solve(a, b))


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_gives_the_factor_and_its_inverse_the_inverse(upper):
    a = positive(2, 4, 4)
    factor = LA.cholesky(mx.array(a), upper=upper)
    low = np.linalg.cholesky(a)
    assert_near(factor, np.swapaxes(low, -1, -2) if upper else low)
    assert_near(LA.cholesky_inv(factor, upper=upper), np.linalg.inv(a))


# Sizes around those of the kernels' blocks.
SIZES = [1, 2, 7, 16, 17, 32, 33, 64, 100, 129, 257]


def relative(got, expected, dtype):
    """The largest error in units of the precision, relative to the largest number."""
    scale = np.abs(expected).max() * np.finfo(dtype).eps
    return np.abs(np.asarray(got, np.float64) - expected).max() / scale


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_a_cholesky_factor_of_any_size_gives_the_matrix_back(n, upper, dtype):
    x = generator("cholesky", n).standard_normal((n, n))
    a = (x @ x.T / n + np.eye(n)).astype(dtype)
    junk = np.full((n, n), np.nan, dtype)  # in the triangle that is not read
    given = np.triu(a) + np.tril(junk, -1) if upper else np.tril(a) + np.triu(junk, 1)
    for array in (to_mx(given), to_mx(np.ascontiguousarray(given.T)).T):
        factor = to_np(LA.cholesky(array, upper=upper))
        assert factor.dtype == dtype
        assert (factor == (np.triu if upper else np.tril)(factor)).all()
        wide = factor.astype(np.float64)
        assert relative(wide.T @ wide if upper else wide @ wide.T, a, dtype) < 8


@pytest.mark.parametrize("n", [5, 40, 200])
def test_what_is_not_positive_definite_anywhere_in_a_batch_is_found(n):
    a = np.stack([np.eye(n, dtype=np.float32)] * 3)
    a[1, n - 1, n - 1] = -1e-3
    for upper in (False, True):
        with pytest.raises(np.linalg.LinAlgError, match=r"^\[cholesky\]"):
            mx.eval(LA.cholesky(mx.array(a), upper=upper))
    a[1, n - 1, n - 1] = np.nan
    assert np.isnan(to_np(LA.cholesky(mx.array(a)))[1, n - 1, n - 1])


def backward_error(a, x, b, dtype):
    """Of the system a @ x = b, in units of the precision."""
    a, x = np.asarray(a, np.float64), np.asarray(x, np.float64)
    scale = np.abs(a).sum(axis=1).max() * np.abs(x).max() * np.finfo(dtype).eps
    return np.abs(a @ x - b).max() / scale


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_systems_of_any_size_are_solved_to_the_precision(n, dtype):
    rng = generator("systems", n)
    a, b = rng.standard_normal((n, n)).astype(dtype), rng.standard_normal((n, 5)).astype(dtype)
    assert backward_error(a, to_np(LA.solve(to_mx(a), to_mx(b))), b, dtype) < 3
    inverse = to_np(LA.inv(to_mx(a)))
    assert inverse.dtype == dtype
    assert backward_error(a, inverse, np.eye(n), dtype) < 3
    for upper in (False, True):
        t = a + 2 * np.sqrt(n) * np.eye(n, dtype=dtype)
        x = to_np(LA.solve_triangular(to_mx(t), to_mx(b), upper=upper))
        assert backward_error(np.triu(t) if upper else np.tril(t), x, b, dtype) < 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 5, 40, 130])
def test_determinants_equal_those_of_wider_numbers(n, dtype):
    a = (generator("det", n).standard_normal((3, n, n)) * 1.6 / np.sqrt(n)).astype(dtype)
    expected = np.linalg.det(a.astype(np.float64))
    np.testing.assert_allclose(to_np(LA.det(to_mx(a))), expected.astype(dtype), rtol=1e-3)
    sign, size = (to_np(x) for x in LA.slogdet(to_mx(a)))
    np.testing.assert_array_equal(sign, np.sign(expected))
    np.testing.assert_allclose(size, np.linalg.slogdet(a.astype(np.float64))[1], atol=1e-3)


def test_a_determinant_whose_factors_overflow_is_finite():
    a = np.diag(np.array([1e30, 1e30, 1e-30, 3e-30], np.float32))
    assert_near(LA.det(mx.array(a)), 3.0, 1e-6)


@pytest.mark.parametrize("n", [4, 16, 60])
def test_lu_factor_chooses_the_pivots_that_lapack_chooses(n):
    lu_factor = pytest.importorskip("scipy.linalg").lu_factor
    a = generator("pivots", n).standard_normal((n, n))
    packed, pivots = (to_np(x) for x in LA.lu_factor(to_mx(a)))
    expected, chosen = lu_factor(a)
    np.testing.assert_array_equal(pivots, chosen)
    assert relative(packed, expected, np.float64) < 100


@pytest.mark.parametrize("n", [3, 20, 100])
def test_a_singular_matrix_in_a_batch_is_found(n):
    a = np.stack([matrices(n, n)] * 3)
    a[2, :, n // 2] = 0
    for call in (lambda: LA.inv(mx.array(a)), lambda: LA.solve(mx.array(a), mx.ones((n, 2)))):
        with pytest.raises(np.linalg.LinAlgError, match="singular"):
            mx.eval(call())
    assert LA.det(mx.array(a))[2].item() == 0
    assert LA.slogdet(mx.array(a))[1][2].item() == -np.inf


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("at", [(0, 0), (2, 1), (39, 39)])
def test_nan_and_infinity_stay_within_their_matrix(value, at):
    a = matrices(2, 40, 40)
    expected = np.linalg.inv(a[0])
    a[1][at] = value
    with np.errstate(all="ignore"):
        whole = np.linalg.inv(a)
    got = to_np(LA.inv(mx.array(a)))
    assert_near(got[0], expected)
    assert np.isnan(got[1]).any() == np.isnan(whole[1]).any()
    for x in (*LA.qr(mx.array(a)), *LA.lu(mx.array(a)), LA.solve(mx.array(a), mx.array(a))):
        mx.eval(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("tall", [1, 3])
def test_qr_of_any_size_is_orthogonal_with_the_signs_of_lapack(n, tall, dtype):
    a = generator("qr", n).standard_normal((n * tall, n)).astype(dtype)
    for given in (a, np.ascontiguousarray(a.T)):
        q, r = (to_np(x) for x in LA.qr(to_mx(given)))
        assert q.dtype == r.dtype == dtype and (np.triu(r) == r).all()
        np.testing.assert_array_equal(np.sign(np.diag(r)), np.sign(np.diag(np.linalg.qr(given)[1])))
        q = q.astype(np.float64)
        assert np.abs(q.T @ q - np.eye(q.shape[1])).max() < 20 * np.finfo(dtype).eps
        assert relative(q @ r, given, dtype) < 8 + np.sqrt(n)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-20, 1e20, 1e37])
def test_qr_does_not_depend_on_the_scale(scale):
    a = (matrices(6, 3).astype(np.float64) * scale / 10).astype(np.float32)
    q, _ = (to_np(x).astype(np.float64) for x in LA.qr(mx.array(a)))
    assert np.abs(q.T @ q - np.eye(3)).max() < (1e-5 if scale > 1e-40 else 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 3, 16, 37])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_each_of_many_small_matrices_has_its_own_answer(n, count, dtype):
    a = generator("small", n, count).standard_normal((count, n, n)).astype(dtype)
    b = generator("sides", n, count).standard_normal((count, n, 11)).astype(dtype)
    x, inverse = (to_np(y) for y in (LA.solve(to_mx(a), to_mx(b)), LA.inv(to_mx(a))))
    q, r = (to_np(y) for y in LA.qr(to_mx(a)))
    square = (a @ np.swapaxes(a, 1, 2) + np.eye(n)).astype(dtype)
    low, up = (to_np(LA.cholesky(to_mx(square), upper=upper)) for upper in (False, True))
    np.testing.assert_array_equal(low, np.swapaxes(up, 1, 2))
    for k in range(count):
        assert backward_error(a[k], x[k], b[k], dtype) < 3
        assert backward_error(a[k], inverse[k], np.eye(n), dtype) < 3
        assert np.abs(q[k].T @ q[k] - np.eye(n)).max() < 20 * np.finfo(dtype).eps
        assert relative(q[k].astype(np.float64) @ r[k], a[k], dtype) < 20
        assert relative(low[k].astype(np.float64) @ up[k], square[k], dtype) < 8
        assert (r[k] == np.triu(r[k])).all() and (low[k] == np.tril(low[k])).all()
    expected = np.linalg.slogdet(a.astype(np.float64))
    sign, size = (to_np(y) for y in LA.slogdet(to_mx(a)))
    np.testing.assert_array_equal(sign, expected[0])
    np.testing.assert_allclose(size, expected[1], atol=1e-3)
    np.testing.assert_allclose(to_np(LA.det(to_mx(a))), sign * np.exp(size), rtol=1e-3)


@pytest.mark.parametrize("shape", [(20, 3, 7), (20, 8, 2)])
def test_qr_of_small_matrices_that_are_not_square(shape):
    a = generator("small qr", shape).standard_normal(shape)
    q, r = (to_np(y) for y in LA.qr(to_mx(a)))
    expected = np.linalg.qr(a)
    np.testing.assert_allclose(q, expected[0], atol=1e-12)
    np.testing.assert_allclose(r, expected[1], atol=1e-12)


FACTORISATIONS = {
    "cholesky": LA.cholesky,
    "inv": LA.inv,
    "solve": lambda a: LA.solve(a, a[..., :3] + 1),
    "solve_triangular": lambda a: LA.solve_triangular(a, a[..., :3] + 1),
    "lu": LA.lu,
    "qr": LA.qr,
    "det": LA.det,
    "slogdet": LA.slogdet,
}


@pytest.mark.parametrize("name", FACTORISATIONS)
@pytest.mark.parametrize("shape", [(300, 300), (40, 50, 50), (500, 3, 3)])
def test_factorisations_do_not_depend_on_the_number_of_threads(name, shape):
    a = mx.array(positive(*shape) / shape[-1])
    before = pool.set_num_threads(1)
    try:
        alone = [to_np(x) for x in as_tuple(FACTORISATIONS[name](a))]
        pool.set_num_threads(3)
        together = [to_np(x) for x in as_tuple(FACTORISATIONS[name](a))]
    finally:
        pool.set_num_threads(before)
    for x, y in zip(alone, together, strict=True):
        np.testing.assert_array_equal(x, y)


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


@pytest.mark.parametrize("name", FACTORISATIONS)
def test_matrices_of_any_strides_are_factored(name):
    a = positive(6, 20, 20)
    whole = np.zeros((20, 12, 40), np.float32)
    whole[:, ::2, 1::2] = a.transpose(1, 0, 2)  # batch axis in the middle, every other number
    strided = mx.array(whole)[:, ::2, 1::2].transpose(1, 0, 2)
    expected = [to_np(x) for x in as_tuple(FACTORISATIONS[name](mx.array(a)))]
    got = [to_np(x) for x in as_tuple(FACTORISATIONS[name](strided))]
    for x, y in zip(got, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)


SHAPES = [(4, 4), (5, 3), (3, 5), (2, 4, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_qr_and_svd_rebuild_the_matrix(shape):
    a = matrices(*shape)
    q, r = LA.qr(mx.array(a))
    assert_near(q @ r, a)
    assert_near(r, np.triu(to_np(r)))
    u, s, vt = (to_np(x) for x in LA.svd(mx.array(a)))
    k = min(shape[-2:])
    assert u.shape[-1] == shape[-2] and vt.shape[-1] == shape[-1]
    assert_near(u[..., :k] * s[..., None, :] @ vt[..., :k, :], a)
    assert_near(LA.svd(mx.array(a), compute_uv=False), s)


@pytest.mark.parametrize("shape", SHAPES)
def test_pinv_equals_numpy_and_ignores_lost_rank(shape):
    a = matrices(*shape)
    assert_near(LA.pinv(mx.array(a)), np.linalg.pinv(a))
    assert_near(LA.pinv(mx.ones((2, 2))), np.full((2, 2), 0.25))


def test_eigh_reads_the_triangle_that_is_named():
    a = positive(2, 4, 4)
    for triangle, other in (("L", np.tril), ("U", np.triu)):
        w, v = (to_np(x) for x in LA.eigh(mx.array(other(a)), triangle))
        assert_near(LA.eigvalsh(mx.array(other(a)), triangle), np.linalg.eigvalsh(a))
        assert_near(a @ v, w[..., None, :] * v, 1e-3)


def test_eigh_takes_complex_matrices():
    a = matrices(3, 3) + 1j * matrices(3, 3).T
    a = (a + a.conj().T).astype(np.complex64)
    w, v = LA.eigh(mx.array(a))
    assert w.dtype == mx.float32 and v.dtype == mx.complex64
    assert_near(w, np.linalg.eigvalsh(a))


def test_eig_is_always_complex():
    a = np.array([[0, 1], [-1, 0]], dtype=np.float32)
    w, v = LA.eig(mx.array(a))
    assert w.dtype == v.dtype == mx.complex64
    assert_near(to_np(v) * to_np(w), a @ to_np(v))
    assert_near(np.sort_complex(to_np(LA.eigvals(mx.array(a)))), [-1j, 1j])


@pytest.mark.parametrize("shape", [*SHAPES, (130, 130), (2, 70, 100), (100, 70)])
def test_lu_rebuilds_the_matrix(shape):
    a = generator("lu", shape).standard_normal(shape).astype(np.float32)
    p, low, up = (to_np(x) for x in LA.lu(mx.array(a)))
    assert p.dtype == np.uint32 and np.abs(low).max() <= 1 + 1e-6
    assert_near(np.take_along_axis(low, p[..., None].astype(int), axis=-2) @ up, a, 1e-3)


def test_lu_factor_gives_exchanges():
    packed, pivots = LA.lu_factor(mx.array([[1.0, 2.0], [3.0, 4.0]]))
    assert_near(packed, [[3, 4], [1 / 3, 2 / 3]])
    assert pivots.tolist() == [1, 1] and pivots.dtype == mx.uint32


def test_lu_of_a_singular_matrix_exists():
    p, low, up = LA.lu(mx.zeros((2, 2)))
    assert (p.tolist(), low.tolist(), up.tolist()) == ([0, 1], [[1, 0], [0, 1]], [[0, 0], [0, 0]])


def test_slogdet_of_a_singular_matrix_is_zero_and_minus_infinity():
    sign, size = LA.slogdet(mx.array([[1.0, 2.0], [2.0, 4.0]]))
    assert (sign.item(), size.item()) == (0.0, -np.inf)
    assert LA.det(mx.array([[1, 2], [3, 4]])).dtype == mx.float32


@pytest.mark.parametrize("sizes", [(3, 3), (2, 3), (3, 2), (2, 2)])
def test_cross_fills_a_missing_component_with_zero(sizes):
    a, b = (matrices(4, n)[:, :n] for n in sizes)
    filled = [np.pad(x, ((0, 0), (0, 3 - x.shape[1]))) for x in (a, b)]
    assert_near(LA.cross(mx.array(a), mx.array(b)), np.cross(*filled))
    assert_near(LA.cross(mx.array(a.T), mx.array(b.T), axis=0), np.cross(*filled).T)


ORDERS = [None, 0, 1, -1, 2, -2, 3, 0.5, np.inf, -np.inf]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_vector_norm_equals_numpy(order, keepdims):
    x = matrices(3, 5)
    got = LA.norm(mx.array(x), order, axis=1, keepdims=keepdims)
    assert_near(got, np.linalg.norm(x, order, axis=1, keepdims=keepdims))


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (2, 0)])
def test_a_matrix_norm_equals_numpy(order, axes):
    x = matrices(3, 4, 5)
    for keepdims in (False, True):
        got = LA.norm(mx.array(x), order, axis=axes, keepdims=keepdims)
        assert_near(got, np.linalg.norm(x, order, axis=axes, keepdims=keepdims))


def test_a_norm_of_complex_numbers_is_real():
    z = np.array([3 + 4j, 0], dtype=np.complex64)
    for order in (None, 1, 2, 3, np.inf):
        got = LA.norm(mx.array(z), order)
        assert got.dtype == mx.float32
        assert_near(got, 5.0)


def test_a_norm_in_half_precision_does_not_overflow():
    got = LA.norm(mx.array([300.0, 400.0]).astype(mx.float16))
    assert got.dtype == mx.float16 and got.item() == 500.0


@pytest.mark.parametrize("order", [None, 1, 2, 3, np.inf])
def test_the_gradient_of_a_norm_at_zero_is_finite(order):
    assert np.isfinite(to_np(mx.grad(lambda x: LA.norm(x, order))(mx.zeros((3,))))).all()


def symmetric(a):
    return a + mx.swapaxes(a, -1, -2)


DERIVATIVES = {
    "inv": (LA.inv, [(2, 4, 4)]),
    "tri_inv": (LA.tri_inv, [(4, 4)]),
    "pinv of a tall matrix": (LA.pinv, [(4, 3)]),
    "pinv of a wide matrix": (LA.pinv, [(2, 3, 4)]),
    "cholesky": (lambda a: LA.cholesky(symmetric(a) + 9 * mx.eye(3, dtype=a.dtype)), [(2, 3, 3)]),
    "upper cholesky": (
        lambda a: LA.cholesky(symmetric(a) + 9 * mx.eye(3, dtype=a.dtype), upper=True),
        [(3, 3)],
    ),
    "cholesky_inv": (LA.cholesky_inv, [(3, 3)]),
    "qr": (LA.qr, [(2, 4, 4)]),
    "qr of a tall matrix": (LA.qr, [(5, 3)]),
    "qr of a wide matrix": (LA.qr, [(2, 3, 5)]),
    "svd": (LA.svd, [(2, 4, 4)]),
    "svd of a tall matrix": (lambda a: (LA.svd(a)[0][:, :3], *LA.svd(a)[1:]), [(5, 3)]),
    "svd of a wide matrix": (lambda a: (*LA.svd(a)[:2], LA.svd(a)[2][:, :3]), [(2, 3, 5)]),
    "singular values": (lambda a: LA.svd(a, compute_uv=False), [(2, 3, 5)]),
    "eigh": (lambda a: LA.eigh(symmetric(a)), [(2, 4, 4)]),
    "eigvalsh": (lambda a: LA.eigvalsh(symmetric(a)), [(3, 3)]),
    "solve": (LA.solve, [(2, 4, 4), (2, 4, 3)]),
    "solve of a vector": (LA.solve, [(4, 4), (4,)]),
    "solve_triangular": (LA.solve_triangular, [(4, 4), (2, 4, 3)]),
    "upper solve_triangular": (
        lambda a, b: LA.solve_triangular(a, b, upper=True),
        [(4, 4), (4, 3)],
    ),
    "det": (LA.det, [(2, 3, 3)]),
    "slogdet": (lambda a: LA.slogdet(a)[1], [(2, 3, 3)]),
    "cross": (LA.cross, [(4, 3), (4, 3)]),
    "norm 3": (lambda a: LA.norm(a, 3), [(7,)]),
    "nuclear norm": (lambda a: LA.norm(a, "nuc"), [(4, 3)]),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_equal_differences(name):
    function, shapes = DERIVATIVES[name]
    xs = []
    for i, shape in enumerate(shapes):
        x = generator(name, i).standard_normal(shape)
        for j in range(min(shape[-2:]) if len(shape) > 1 else 0):
            x[..., j, j] += 3 + j
        xs.append(to_mx(x))
    check_derivatives(function, xs, generator(name), tolerance=1e-5)


def test_the_gradient_of_det_exists_at_a_singular_matrix():
    a = mx.array([[1.0, 2.0], [2.0, 4.0]])
    assert_near(mx.grad(LA.det)(a), [[4, -2], [-2, 1]])


def test_the_second_derivative_of_det_is_that_of_its_formula():
    a = to_mx(matrices(3, 3, dtype=np.float64))
    check_derivatives(mx.grad(LA.det), [a], generator("det twice"), tolerance=1e-5)


def test_coinciding_singular_values_give_no_nan():
    gradient = mx.grad(lambda a: mx.sum(LA.svd(a)[0]) + mx.sum(LA.eigh(a)[1]))(mx.eye(3))
    assert np.isfinite(to_np(gradient)).all()


@pytest.mark.parametrize("call", [lambda a: LA.eig(a)[0], lambda a: LA.lu(a)[1]])
def test_what_has_no_derivative_says_so(call):
    with pytest.raises(ValueError, match="differentiable"):
        mx.eval(mx.grad(lambda a: mx.sum(mx.real(call(a))))(mx.array(SQUARE[0])))


@pytest.mark.parametrize(
    "name", ["inv", "pinv", "cholesky", "qr", "svd", "eigh", "det", "slogdet", "lu", "lu_factor"]
)
def test_vmap_equals_a_loop(name):
    a = mx.array(positive(3, 4, 4))
    got = mx.vmap(getattr(LA, name))(a)
    each = [getattr(LA, name)(x) for x in a]
    if isinstance(got, mx.array):
        got, each = (got,), [(x,) for x in each]
    for k, value in enumerate(got):
        assert_near(value, np.stack([to_np(x[k]) for x in each]))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (0, 1)])
def test_vmap_of_solve_takes_either_operand(axes):
    a, b = matrices(3, 4, 4), matrices(3, 4, 2)
    operands = [mx.array(a if axes[0] == 0 else a[0])]
    b_given = b[0] if axes[1] is None else np.moveaxis(b, 0, axes[1])
    operands.append(mx.array(np.ascontiguousarray(b_given)))
    expected = np.linalg.solve(a if axes[0] == 0 else a[0], b if axes[1] is not None else b[0])
    assert_near(mx.vmap(LA.solve, in_axes=axes)(*operands), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda: LA.inv(mx.ones((2, 2))),
        lambda: LA.solve(mx.zeros((2, 2)), mx.ones((2,))),
        lambda: LA.solve_triangular(mx.array([[0.0, 0.0], [1.0, 1.0]]), mx.ones((2,))),
        lambda: LA.cholesky(-mx.eye(3)),
        lambda: LA.svd(mx.full((2, 2), mx.nan)),
        lambda: LA.eig(mx.full((2, 2), mx.inf)),
    ],
)
def test_a_matrix_without_an_answer_raises_when_evaluated(call):
    with pytest.raises(np.linalg.LinAlgError, match=r"^\["):
        mx.eval(call())


@pytest.mark.parametrize(
    "call",
    [
        lambda: LA.inv(mx.ones((2, 3))),
        lambda: LA.inv(mx.ones((2,))),
        lambda: LA.inv(mx.eye(2).astype(mx.int32)),
        lambda: LA.inv(mx.eye(2).astype(mx.float16)),
        lambda: LA.tri_inv(mx.ones((2, 3))),
        lambda: LA.eigh(mx.eye(2), "Q"),
        lambda: LA.solve(mx.eye(2), mx.ones((3,))),
        lambda: LA.solve(mx.ones((3, 2, 2)), mx.ones((4, 2, 1))),
        lambda: LA.solve(mx.eye(2).astype(mx.complex64), mx.ones((2,))),
        lambda: LA.det(mx.ones((2,))),
        lambda: LA.det(mx.eye(2).astype(mx.complex64)),
        lambda: LA.cross(mx.ones((4,)), mx.ones((4,))),
        lambda: LA.norm(mx.eye(2), 3),
        lambda: LA.norm(mx.ones((2,)), "fro"),
        lambda: LA.norm(mx.eye(2), "bad"),
        lambda: LA.norm(mx.ones((2, 2, 2)), 2),
        lambda: LA.norm(mx.ones((2, 2)), axis=(0, 0)),
    ],
)
def test_bad_input_is_refused_at_once(call):
    with pytest.raises(ValueError, match=r"^\["):
        call()


@pytest.mark.parametrize(
    "name", ["inv", "svd", "qr", "eigh", "eig", "lu", "det", "pinv", "cholesky"]
)
@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_empty_matrices_give_empty_answers(name, shape):
    mx.eval(getattr(LA, name)(mx.zeros(shape)))
