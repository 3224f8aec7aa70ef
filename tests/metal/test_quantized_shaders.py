"""Packed matrices on the device against the processor's kernels and float64."""

import numpy as np
import pytest
from launching import BFLOAT16, launch, plan, result

import mlxc._backends.metal.quantized  # noqa: F401  enters the launchers
import mlxc.core as mx
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

FLOATS = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": BFLOAT16}
AFFINE = [(group, bits, "affine") for bits in (1, 2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
SETTINGS = [*AFFINE, (32, 4, "mxfp4"), (32, 8, "mxfp8"), (16, 4, "nvfp4")]
FEW_SETTINGS = [(64, 3, "affine"), (32, 4, "affine"), (32, 8, "affine"), *SETTINGS[-3:]]


def numbers(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(FLOATS[dtype])


def host(x):
    return (
        np.array(x.astype(mx.float32)).astype(BFLOAT16) if x.dtype == mx.bfloat16 else np.array(x)
    )


def guest(x):
    return mx.array(x.astype("f4")).astype(mx.bfloat16) if x.dtype == BFLOAT16 else mx.array(x)


def packed(x, group, bits, mode):
    """Codes, scales and perhaps biases by the processor, and the numbers that they stand for."""
    parts = mx.quantize(guest(x), group, bits, mode)
    plain = mx.dequantize(*parts, group_size=group, bits=bits, mode=mode, dtype=mx.float32)
    return [host(part) for part in parts], np.array(plain, "f8")


def close(got, expected, terms, dtype="float32"):
    step = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    scale = 1 + np.abs(expected).max(initial=0)
    np.testing.assert_allclose(
        got.astype("f8"), expected, rtol=0, atol=scale * step * max(1, np.sqrt(terms) / 4)
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_quantize_and_dequantize_give_what_the_processor_gives(device, setting, dtype):
    group, bits, mode = setting
    x = numbers(bits, 3, 5, 256, dtype=dtype)
    x[0, 0, :group], x[0, 1, :group] = 0, 3  # groups without a range
    parts, _ = packed(x, group, bits, mode)
    outs = [(part.dtype, part.shape) for part in parts]
    got = launch(device, "quantize", [x], outs, (group, bits, mode, False))
    for mine, theirs in zip(got, parts):
        assert np.array_equal(mine, theirs)
    back = mx.dequantize(
        *map(guest, parts), group_size=group, bits=bits, mode=mode, dtype=mx.float32
    )
    params = (group, bits, mode, "float32", False)
    (got,) = launch(device, "dequantize", parts, [("f4", x.shape)], params)
    np.testing.assert_allclose(got, np.array(back), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("setting", FEW_SETTINGS, ids=str)
def test_quantize_treats_nan_infinity_and_tiny_numbers_as_the_processor_does(device, setting):
    group, bits, mode = setting
    x = numbers(1, 8, 128)
    x[0, 3], x[1, 4], x[2, 5], x[4] = np.nan, np.inf, -np.inf, np.nan
    x[3], x[5], x[6, :2] = 1e-30, 3e38, (-0.0, 1e-9)
    parts, _ = packed(x, group, bits, mode)
    outs = [(part.dtype, part.shape) for part in parts]
    got = launch(device, "quantize", [x], outs, (group, bits, mode, False))
    finite = [0, 3, 4, 5, 6, 7] if mode == "affine" else range(8)
    for mine, theirs in zip(got, parts):
        assert np.array_equal(mine[finite], theirs[finite], equal_nan=mine.dtype.kind == "f")


def test_a_global_factor_scales_the_scales(device):
    x, factor = numbers(2, 4, 64), np.array(2.5, "f4")
    parts = mx.quantize(mx.array(x), 16, 4, "nvfp4", global_scale=mx.array(factor))
    parts = [np.array(part) for part in parts]
    outs = [(part.dtype, part.shape) for part in parts]
    got = launch(device, "quantize", [x, factor], outs, (16, 4, "nvfp4", True))
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(got, parts))
    back = mx.dequantize(
        *map(mx.array, parts), group_size=16, bits=4, mode="nvfp4", global_scale=mx.array(factor)
    )
    params = (16, 4, "nvfp4", "float32", True)
    (got,) = launch(device, "dequantize", [*parts, factor], [("f4", x.shape)], params)
    np.testing.assert_allclose(got, np.array(back), rtol=1e-6)


@pytest.mark.parametrize("transpose", [True, False], ids=["by_rows", "by_columns"])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_products_with_a_packed_matrix_are_right(device, setting, transpose):
    group, bits, mode = setting
    n, k = (35, 256) if transpose else (256, 35)
    parts, plain = packed(numbers(3, *((n, k) if transpose else (k, n))), group, bits, mode)
    plain = plain.T if transpose else plain
    for m in (2, 7):
        x = numbers(4, m, k)
        params = (transpose, group, bits, mode)
        (got,) = launch(device, "quantized_matmul", [x, *parts], [("f4", (m, n))], params)
        close(got, x.astype("f8") @ plain, k)


@pytest.mark.parametrize("transpose", [True, False], ids=["by_rows", "by_columns"])
@pytest.mark.parametrize("m", [1, 4, 5, 31, 33])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_products_at_the_edges_of_tiles_in_half_types_are_right(device, dtype, m, transpose):
    n, k = (65, 96) if transpose else (96, 65)
    shape = (n, k) if transpose else (k, n)
    parts, plain = packed(numbers(5, *shape, dtype=dtype), 32, 4, "affine")
    x = numbers(6, m, k, dtype=dtype)
    out = [(FLOATS[dtype], (m, n))]
    (got,) = launch(device, "quantized_matmul", [x, *parts], out, (transpose, 32, 4, "affine"))
    close(got, x.astype("f8") @ (plain.T if transpose else plain), k, dtype)


def test_scales_may_be_of_another_type_than_x(device):
    parts, plain = packed(numbers(7, 24, 64, dtype="bfloat16"), 32, 4, "affine")
    x = numbers(8, 6, 64)
    params = (True, 32, 4, "affine")
    (got,) = launch(device, "quantized_matmul", [x, *parts], [("f4", (6, 24))], params)
    close(got, x.astype("f8") @ plain.T, 64)


@pytest.mark.parametrize("transpose", [True, False], ids=["by_rows", "by_columns"])
@pytest.mark.parametrize("m", [1, 9])
@pytest.mark.parametrize("setting", FEW_SETTINGS[2:], ids=str)
def test_gathered_products_take_the_items_that_the_indices_name(device, setting, m, transpose):
    group, bits, mode = setting
    n, k = (20, 128) if transpose else (128, 20)
    shape = (3, n, k) if transpose else (3, k, n)
    parts, plain = packed(numbers(9, *shape), group, bits, mode)
    x, lhs, rhs = numbers(10, 2, m, k), np.array([0, 1, 1, 0], "u4"), np.array([2, 0, 2, 1], "u4")
    operands = [x, *parts, lhs, rhs]
    params = (transpose, group, bits, mode)
    (got,) = launch(device, "gather_qmm", operands, [("f4", (4, m, n))], params)
    plain = plain.swapaxes(1, 2) if transpose else plain
    close(got, x.astype("f8")[lhs] @ plain[rhs], k)


def test_an_item_out_of_range_is_an_error_and_reads_no_foreign_memory(device):
    parts, plain = packed(numbers(11, 2, 16, 32), 32, 4, "affine")
    x, near, far = numbers(12, 2, 3, 32), np.array([1], "u4"), np.array([2**32 - 1], "u4")
    params, out = (True, 32, 4, "affine"), [("f4", (1, 3, 16))]
    for lhs, rhs in ((near, far), (far, near)):
        with pytest.raises(IndexError, match=r"\[gather_qmm\] index 4294967295 .* size 2"):
            launch(device, "gather_qmm", [x, *parts, lhs, rhs], out, params)
    steps = plan("gather_qmm", [x, *parts, far, far], out, params)
    (got,) = device.run(steps[1:], [x, *parts, far, far], out)  # without the check
    close(got, x.astype("f8")[[1]] @ plain[[1]].swapaxes(1, 2), 32)


def test_nan_and_infinity_of_x_reach_their_rows_alone(device):
    parts, plain = packed(np.abs(numbers(13, 20, 64)) + 1, 32, 4, "affine")
    for m in (3, 20):
        x = np.abs(numbers(14, m, 64))
        x[0, 5], x[2, 63] = np.nan, np.inf
        params = (True, 32, 4, "affine")
        (got,) = launch(device, "quantized_matmul", [x, *parts], [("f4", (m, 20))], params)
        expected = x.astype("f8") @ plain.T
        assert np.array_equal(np.isnan(got), np.isnan(expected))
        assert np.array_equal(np.isinf(got), np.isinf(expected))


@pytest.mark.parametrize("dtype", FLOATS)
def test_eight_bit_floats_are_the_nearest(device, dtype):
    x = np.concatenate([numbers(15, 300) * 100, [0, -0.0, np.nan, np.inf, -np.inf, 1e-3, 449]])
    x = x.astype(FLOATS[dtype])
    (got,) = launch(device, "to_fp8", [x], [("u1", x.shape)])
    assert np.array_equal(got, np.array(mx.to_fp8(guest(x))))


def test_an_empty_inner_axis_gives_zeros(device):
    w, scales = np.zeros((0, 8), "u4"), np.zeros((0, 2), "f4")
    for m in (2, 9):
        operands = [np.zeros((m, 0), "f4"), w, scales, scales]
        params = (False, 32, 4, "affine")
        (got,) = launch(device, "quantized_matmul", operands, [("f4", (m, 64))], params)
        assert np.array_equal(got, np.zeros((m, 64)))


def test_offsets_beyond_32_bits_are_kept():
    x, w = np.zeros((1, 2**16), "f4"), Operand("uint32", (2**20, 2**13), (2**15, 4), 4)
    scales = Operand("float32", (2**20, 2**10), (2**12, 4), 4)
    operands = [result("f4", x.shape), w, scales, scales]
    params = (True, 64, 4, "affine")
    (step,) = LAUNCHERS["quantized_matmul"](operands, [result("f4", (1, 2**20))], params)
    assert np.frombuffer(step.arguments[5].data[:32], "u8")[1] == 2**35
    assert plan("to_fp8", [np.zeros(3)], [("u1", (3,))]) is None
