"""Matrix products on the device against float64."""

import numpy as np
import pytest
from launching import BFLOAT16, launch, operand, plan, result

import mlxc._backends.metal.matmul  # noqa: F401  enters the launchers
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

FLOATS = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": BFLOAT16}
TOLERANCE = {"float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def numbers(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(FLOATS[dtype])


def wide(x):
    return x.astype(np.float64)


def close(got, expected, terms, dtype="float32"):
    bound = TOLERANCE[dtype] * np.sqrt(max(terms, 1)) * 4
    np.testing.assert_allclose(wide(got), expected, rtol=TOLERANCE[dtype] * 4, atol=bound)


def product(device, a, b):
    shape = (*a.shape[:-1], b.shape[-1])
    return launch(device, "matmul", [a, b], [(a.dtype, shape)])[0]


SIZES = [
    (1, 1, 1), (1, 5, 3), (4, 130, 33), (5, 5, 5), (31, 33, 15), (32, 32, 16), (33, 31, 17),
    (63, 65, 31), (64, 64, 32), (65, 63, 33), (130, 4, 40), (40, 3, 257), (96, 64, 64),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_product_at_every_edge_of_a_tile_is_right(device, size):
    m, n, k = size
    a, b = numbers(1, m, k), numbers(2, k, n)
    close(product(device, a, b), wide(a) @ wide(b), k)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", [(33, 65, 70), (64, 64, 64), (3, 40, 65), (40, 2, 65)], ids=str)
def test_half_types_are_summed_in_float32(device, dtype, size):
    m, n, k = size
    a, b = numbers(3, m, k, dtype=dtype), numbers(4, k, n, dtype=dtype)
    expected = (wide(a) @ wide(b)).astype(FLOATS[dtype])
    got = product(device, a, b)
    np.testing.assert_allclose(wide(got), wide(expected), rtol=TOLERANCE[dtype], atol=2e-2)


@pytest.mark.parametrize("size", [(40, 36, 20), (3, 40, 130), (40, 3, 130)], ids=str)
def test_transposed_operands_are_read_as_they_lie(device, size):
    m, n, k = size
    a, b = numbers(5, k, m).T, numbers(6, n, k).T
    close(product(device, a, b), wide(a) @ wide(b), k)
    close(product(device, a, np.ascontiguousarray(b)), wide(a) @ wide(b), k)


def test_any_strides_and_negative_ones_are_read_as_they_lie(device):
    a, b = numbers(7, 80, 60)[::-2, ::3], numbers(8, 20, 70)[:, ::-1][:, ::2]
    close(product(device, a, b), wide(a) @ wide(b), 20)


def test_a_batch_with_broadcast_and_permuted_axes_is_right(device):
    a = np.broadcast_to(numbers(9, 3, 1, 5, 33, 7), (3, 4, 5, 33, 7))
    b = numbers(10, 5, 4, 7, 3, 6).transpose(3, 1, 0, 2, 4)
    close(product(device, a, b), wide(a) @ wide(b), 7)
    close(product(device, a[..., :2, :], b), wide(a[..., :2, :]) @ wide(b), 7)


def test_a_long_inner_axis_is_split_and_summed(device):
    a, b = numbers(11, 33, 1030), numbers(12, 1030, 20)
    steps = plan("matmul", [a, b], [("f4", (33, 20))])
    assert [step.function for step in steps] == ["matmul_tiles32_float32", "matmul_sum_float32"]
    close(product(device, a, b), wide(a) @ wide(b), 1030)


@pytest.mark.parametrize("shape", [(1, 2), (33, 1), (1, 40)], ids=str)
def test_a_long_inner_axis_of_few_columns_is_split_and_summed(device, shape):
    m, n = shape
    a, b = numbers(30, m, 8200), numbers(31, 8200, n)
    assert len(plan("matmul", [a, b], [("f4", shape)])) == 2
    close(product(device, a, b), wide(a) @ wide(b), 8200)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [(1, 8, 5), (1, 132, 9), (4, 256, 40), (2, 40, 2100)], ids=str)
def test_few_rows_meet_packs_of_columns_wherever_they_begin(device, size, dtype):
    m, n, k = size
    memory = numbers(15, k * n + 1, dtype=dtype)
    for shift in (0, 1):
        a, b = numbers(14, m, k, dtype=dtype), memory[shift : shift + k * n].reshape(k, n)
        b[k // 2, 1] = np.inf
        steps = plan("matmul", [a, b], [(a.dtype, (m, n))])
        assert steps[0].function == f"matvec_packs_{dtype}" and len(steps) == 1 + (k > 2047)
        expected = wide(a) @ wide(b)
        close(product(device, a, b), expected, k, dtype)


def test_an_empty_inner_axis_gives_zeros_or_the_addend(device):
    for m, n in ((3, 2), (8, 40), (40, 40)):
        empty = [np.zeros((m, 0), "f4"), np.zeros((0, n), "f4")]
        assert np.array_equal(product(device, *empty), np.zeros((m, n)))
        c = numbers(13, m, n)
        (got,) = launch(device, "addmm", [c, *empty], [("f4", (m, n))], (2.0, -3.0))
        close(got, -3 * wide(c), 1)


@pytest.mark.parametrize("size", [(40, 70, 33), (2, 40, 33), (40, 2, 33), (34, 8, 1030)], ids=str)
def test_addmm_scales_both_terms_and_reads_a_broadcast_addend(device, size):
    m, n, k = size
    a, b = numbers(14, m, k), numbers(15, k, n)
    for c in (numbers(16, m, n), np.broadcast_to(numbers(17, n), (m, n)), numbers(18, n, m).T):
        (got,) = launch(device, "addmm", [c, a, b], [("f4", (m, n))], (0.5, -2.0))
        close(got, 0.5 * (wide(a) @ wide(b)) - 2 * wide(c), k)


def test_an_addend_times_zero_is_not_read(device):
    a, b, c = numbers(19, 8, 9), numbers(20, 9, 8), np.full((8, 8), np.nan, "f4")
    (got,) = launch(device, "addmm", [c, a, b], [("f4", (8, 8))], (1.0, 0.0))
    close(got, wide(a) @ wide(b), 9)


@pytest.mark.parametrize("size", [(33, 34, 18), (3, 34, 18), (34, 3, 18)], ids=str)
def test_nan_and_infinity_reach_their_rows_and_columns_alone(device, size):
    m, n, k = size
    a, b = numbers(21, m, k), np.abs(numbers(22, k, n)) + 1
    a[0, k - 1], a[m - 1, 0] = np.nan, np.inf
    expected = wide(a) @ wide(b)
    got = product(device, a, b)
    assert np.array_equal(np.isnan(got), np.isnan(expected))
    assert np.array_equal(np.isinf(got), np.isinf(expected))


def test_a_sum_beyond_half_precision_becomes_infinite(device):
    a = np.full((33, 64), 60, "f2")
    assert np.isposinf(product(device, a, np.full((64, 33), 60, "f2"))).all()


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_integer_products_wrap(device, dtype):
    rng, info = np.random.default_rng(23), np.iinfo(dtype)
    a, b = (rng.integers(info.min, info.max, s, dtype) for s in ((2, 17, 33), (2, 33, 18)))
    with np.errstate(over="ignore"):
        assert np.array_equal(product(device, a, b), a @ b)
        turned = np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2)
        assert np.array_equal(product(device, turned, b), a @ b)


@pytest.mark.parametrize("size", [(17, 18, 33), (1, 16, 16), (2, 1, 0)], ids=str)
def test_complex_products_are_right(device, size):
    m, n, k = size
    a, b = (numbers(i, *s) + 1j * numbers(i + 1, *s) for i, s in ((40, (2, m, k)), (42, (k, n))))
    a, b = a.astype("c8"), np.broadcast_to(b.astype("c8"), (2, k, n))
    np.testing.assert_allclose(product(device, a, b), a @ b, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 34), (33, 34), (34, 2)], ids=str)
def test_gathered_products_take_the_matrices_that_the_indices_name(device, size):
    m, n = size
    a, b = numbers(24, 5, m, 19), numbers(25, 4, 19, n)
    left = np.array([[4, 0, 1], [3, 3, 2]])
    right = np.broadcast_to(np.array([3, 0, 1]), (2, 3))
    (got,) = launch(device, "gather_mm", [a, b, left, right], [("f4", (2, 3, m, n))])
    close(got, wide(a)[left] @ wide(b)[right], 19)


FAR = [(7, 0), (-1, 1), (0, 2), (1, -(2**40)), (2**40, 0)]


@pytest.mark.parametrize("pair", FAR, ids=str)
def test_an_index_out_of_range_is_an_error_and_reads_no_foreign_memory(device, pair):
    a, b = numbers(26, 2, 8, 9), numbers(27, 2, 9, 8)
    left, right = (np.array([0, 1, each]) for each in pair)
    out = [("f4", (3, 8, 8))]
    said = next(each for each in pair if each not in (0, 1))
    with pytest.raises(IndexError, match=rf"\[gather_mm\] index {said} is out of range .* size 2"):
        launch(device, "gather_mm", [a, b, left, right], out)
    steps = plan("gather_mm", [a, b, left, right], out)
    (got,) = device.run(steps[1:], [a, b, left, right], out)  # without the check
    close(got, wide(a)[left.clip(0, 1)] @ wide(b)[right.clip(0, 1)], 9)


@pytest.mark.parametrize("segment", [(-1, 3), (4, 51), (-(2**40), 2**40)], ids=str)
def test_a_segment_beyond_the_inner_axis_is_an_error(device, segment):
    a, b, out = numbers(43, 8, 50), numbers(44, 50, 8), [("f4", (2, 8, 8))]
    said = segment[0] if segment[0] < 0 else segment[1]
    with pytest.raises(IndexError, match=rf"\[segmented_mm\] index {said} .* size 50"):
        launch(device, "segmented_mm", [a, b, np.array([[0, 50], segment])], out)
    (got,) = launch(device, "segmented_mm", [a, b, np.array([[0, 50], [90, -5]])], out)
    close(got[0], wide(a) @ wide(b), 50)  # an empty segment may lie anywhere
    assert not got[1].any()


@pytest.mark.parametrize("size", [(2, 34), (33, 34), (34, 2)], ids=str)
def test_segments_of_the_inner_axis_are_multiplied_apart(device, size):
    m, n = size
    a, b = numbers(28, m, 50), numbers(29, 50, n)
    segments = np.array([[0, 20], [20, 50], [7, 7], [30, 3]])
    (got,) = launch(device, "segmented_mm", [a, b, segments], [("f4", (4, m, n))])
    expected = np.stack([wide(a)[:, i:j] @ wide(b)[i:j] for i, j in segments])
    close(got, expected, 50)


def test_what_the_device_cannot_compute_is_left_to_the_processor():
    x = np.zeros((4, 4))
    assert plan("matmul", [x, x], [("f8", (4, 4))]) is None
    x = operand(np.zeros((4, 4), "f4"))
    odd = Operand("float32", (4, 4), (18, 4), 4)
    assert LAUNCHERS["matmul"]([odd, x], [result("f4", (4, 4))], ()) is None


def test_offsets_beyond_32_bits_are_kept(device):
    """A matrix of 40 GB is described, not made: strides travel as 64-bit numbers."""
    far = Operand("float32", (3, 100_000, 40_000), (16_000_000_000, 160_000, 4), 4)
    other = Operand("float32", (3, 40_000, 64), (10_240_000, 256, 4), 4)
    (step,) = LAUNCHERS["matmul"]([far, other], [result("f4", (3, 100_000, 64))], ())
    packed = np.frombuffer(step.arguments[5].data[: 28 * 8], "i8")
    assert packed[0] == 40_000 and packed[10] == 4_000_000_000


def test_counts_beyond_32_bits_are_refused():
    a, b = Operand("float32", (2**32, 1), (4, 4), 4), Operand("float32", (1, 8), (32, 4), 4)
    assert LAUNCHERS["matmul"]([a, b], [result("f4", (2**32, 8))], ()) is None
