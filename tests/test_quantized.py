"""Quantized matrices: bit-exact packing against the stated formulas, products against unpacked
ones, and bad input."""

import ml_dtypes
import numpy as np
import pytest
from support import generator, to_np

import mlxc.core as mx

AFFINE = [("affine", group, bits) for group in (32, 64, 128) for bits in (1, 2, 3, 4, 5, 6, 8)]
FLOATS = [("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float32)
E2M1 = np.concatenate([E2M1, -E2M1])
E4M3 = np.arange(256).astype(np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)


def settings(mode, group, bits):
    return dict(mode=mode, group_size=group, bits=bits)


def numbers(*shape):
    """Random rows, and rows that are constant, one-sided, on a grid, or tiny."""
    w = generator("quantized", shape).standard_normal(shape).astype(np.float32)
    if shape[-2] >= 8:
        w[..., 1, :] = np.abs(w[..., 1, :])
        w[..., 2, :] = np.round(w[..., 2, :] * 4) / 4
        w[..., 3, :], w[..., 4, :], w[..., 5, :] = 1, 0, -2
        w[..., 6, :] *= 1e-4
    return w


def codes_of(words, bits, n):
    """Codes follow each other from the lowest bit on."""
    spread = np.unpackbits(
        np.ascontiguousarray(to_np(words)).view(np.uint8), axis=-1, bitorder="little"
    )
    spread = spread.reshape(spread.shape[:-1] + (n, bits)).astype(np.int64)
    return (spread << np.arange(bits)).sum(-1)


def affine_reference(w, group, bits):
    """The docstring of quantize, in float32."""
    g = w.reshape(w.shape[:-1] + (-1, group))
    low, high, steps = g.min(-1), g.max(-1), np.float32(2**bits - 1)
    if bits == 1:
        scale, bias = np.maximum(high - low, np.float32(1e-7)), low
    else:
        negative = np.abs(low) > np.abs(high)
        scale = np.maximum((high - low) / steps, np.float32(1e-7))
        scale, edge = np.where(negative, scale, -scale), np.where(negative, low, high)
        count = np.rint(edge / scale)
        scale = np.where(count != 0, edge / np.where(count != 0, count, 1), scale)
        bias = np.where(count != 0, edge, np.float32(0))
    codes = np.clip(np.rint((g - bias[..., None]) / scale[..., None]), 0, steps)
    return codes.reshape(w.shape).astype(np.int64), scale, bias


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
@pytest.mark.parametrize("mode, group, bits", AFFINE)
def test_affine_codes_scales_and_biases_follow_the_formula_bit_by_bit(mode, group, bits, dtype):
    w = mx.array(numbers(16, 256)).astype(dtype)
    words, scales, biases = mx.quantize(w, group, bits)
    codes, scale, bias = affine_reference(to_np(w).astype(np.float32), group, bits)
    np.testing.assert_array_equal(codes_of(words, bits, 256), codes)
    for got, expected in ((scales, scale), (biases, bias)):
        assert got.dtype == dtype
        rounded = mx.array(expected.astype(np.float32)).astype(dtype)
        np.testing.assert_array_equal(to_np(got), to_np(rounded))


def e2m1_codes(x):
    """Nearest, half towards zero, no negative zero."""
    code = np.abs(np.abs(x)[..., None] - E2M1[:8]).argmin(-1)
    return np.where(code == 0, 0, code + 8 * (x < 0))


@pytest.mark.parametrize("mode, group, bits", FLOATS)
def test_float_codes_and_scales_follow_the_formula_bit_by_bit(mode, group, bits):
    w = numbers(16, 256)
    words, scales = mx.quantize(mx.array(w), group, bits, mode)
    g = w.reshape(16, -1, group)
    top = np.abs(g).max(-1) / np.float32(448 if bits == 8 else 6)
    if mode == "nvfp4":
        expected = top.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
        scale = E4M3[expected]
    else:
        power = np.ceil(np.log2(np.where(top == 0, 1, top)))
        expected, scale = (power + 127).astype(np.uint8), np.exp2(power).astype(np.float32)
    np.testing.assert_array_equal(to_np(scales), expected)
    x = (g / np.where(scale == 0, 1, scale)[..., None] * (scale != 0)[..., None]).reshape(w.shape)
    codes = x.astype(ml_dtypes.float8_e4m3fn).view(np.uint8) if bits == 8 else e2m1_codes(x)
    np.testing.assert_array_equal(codes_of(words, bits, 256), codes)


def test_packed_words_are_those_of_mlx():
    w = np.random.RandomState(0).randn(4, 128).astype(np.float32)  # golden: mlx 0.32.4
    words, scales, biases = mx.quantize(mx.array(w))
    assert words[0, :4].tolist() == [2338257822, 2576013464, 1805670781, 2564651071]
    np.testing.assert_array_equal(to_np(scales)[0], np.float32([0.31912372, -0.24295264]))
    np.testing.assert_array_equal(to_np(biases)[0], np.float32([-2.5529897, 1.9436212]))
    assert mx.quantize(mx.array(w), bits=3)[0][0, :3].tolist() == [
        747995055,
        2267461213,
        3010008950,
    ]
    assert mx.quantize(mx.array(w), bits=5)[0][0, :3].tolist() == [
        2513394299,
        1556508541,
        3388576995,
    ]
    assert mx.quantize(mx.array(w), mode="mxfp4")[0][0, :3].tolist() == [
        2496029734,
        302207264,
        3007295893,
    ]
    assert mx.quantize(mx.array(w), mode="mxfp8")[0][0, :3].tolist() == [
        2037409142,
        3664769143,
        1952015829,
    ]
    words, scales = mx.quantize(mx.array(w), mode="nvfp4")
    assert words[0, :3].tolist() == [2513859878, 571760937, 3024077205]
    assert scales[0, :6].tolist() == [44, 46, 43, 41, 41, 42]


def test_the_global_scale_of_nvfp4_widens_the_range_of_scales():
    w = numbers(8, 64)
    top = mx.array(np.abs(w).max())
    parts = mx.quantize(mx.array(w), mode="nvfp4", global_scale=top)
    read = mx.dequantize(*parts, mode="nvfp4", global_scale=top)
    assert read.dtype == mx.float32 and to_np(parts[1]).max() == 126
    assert np.abs(to_np(read) - w).max() < np.abs(w).max() / 5


def unpacked(parts, mode, group, bits):
    """What packed parts stand for, in float64."""
    words, scales = parts[:2]
    n = words.shape[-1] * 32 // bits
    codes = codes_of(words, bits, n)
    scales = to_np(scales)
    if mode != "affine":
        scales = E4M3[scales] if mode == "nvfp4" else np.exp2(scales.astype(np.float64) - 127)
        codes = E4M3[codes] if bits == 8 else E2M1[codes]
    wide = codes * np.repeat(scales, group, -1).astype(np.float64)
    return (
        wide + np.repeat(to_np(parts[2]).astype(np.float64), group, -1)
        if mode == "affine"
        else wide
    )


@pytest.mark.parametrize("mode, group, bits", AFFINE + FLOATS)
def test_dequantize_is_scale_times_code_plus_bias(mode, group, bits):
    parts = mx.quantize(mx.array(numbers(10, 256)), group, bits, mode)
    got = mx.dequantize(*parts, **settings(mode, group, bits))
    assert got.dtype == (mx.float32 if mode == "affine" else mx.bfloat16)
    got = mx.dequantize(*parts, **settings(mode, group, bits), dtype=mx.float32)
    np.testing.assert_allclose(to_np(got), unpacked(parts, mode, group, bits), rtol=1e-6, atol=1e-6)


TOLERANCE = {mx.float32: 2e-5, mx.float16: 2e-3, mx.bfloat16: 2e-2}


def assert_product(got, expected, dtype):
    assert got.dtype == dtype
    bound = TOLERANCE[dtype] * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(to_np(got), expected, rtol=TOLERANCE[dtype], atol=bound)


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("rows", [1, 6, 7, 70])
@pytest.mark.parametrize("mode, group, bits", AFFINE + FLOATS)
def test_a_product_equals_that_of_the_unpacked_matrix(mode, group, bits, rows, transpose):
    for shape in ((50, 256), (33, 128 + group), (3, group)):
        parts = mx.quantize(mx.array(numbers(*shape)), group, bits, mode)
        w = unpacked(parts, mode, group, bits)
        x = (
            generator("x", rows)
            .standard_normal((rows, shape[1] if transpose else shape[0]))
            .astype(np.float32)
        )
        got = mx.quantized_matmul(
            mx.array(x), *parts, transpose=transpose, **settings(mode, group, bits)
        )
        assert_product(got, x.astype(np.float64) @ (w.T if transpose else w), mx.float32)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
@pytest.mark.parametrize("rows", [1, 9, 64])
def test_a_product_in_half_precision_sums_in_single(dtype, rows):
    parts = mx.quantize(mx.array(numbers(40, 512)).astype(dtype))
    x = mx.array(generator("half", rows).standard_normal((rows, 512)).astype(np.float32)).astype(
        dtype
    )
    expected = to_np(x).astype(np.float64) @ unpacked(parts, "affine", 64, 4).T
    assert_product(mx.quantized_matmul(x, *parts), expected, dtype)


def test_a_product_takes_vectors_batches_and_batches_of_matrices():
    w = numbers(3, 20, 64)
    parts = mx.quantize(mx.array(w))
    wide = unpacked(parts, "affine", 64, 4)
    one = [p[0] for p in parts]
    x = generator("batch").standard_normal((3, 5, 64)).astype(np.float32)
    assert_product(mx.quantized_matmul(mx.array(x), *one), x @ wide[0].T, mx.float32)
    assert_product(mx.quantized_matmul(mx.array(x[0, 0]), *one), wide[0] @ x[0, 0], mx.float32)
    assert_product(
        mx.quantized_matmul(mx.array(x), *parts), x @ np.swapaxes(wide, -1, -2), mx.float32
    )
    assert_product(
        mx.quantized_matmul(mx.array(x[0]), *parts), x[0] @ np.swapaxes(wide, -1, -2), mx.float32
    )


@pytest.mark.parametrize("transpose", [True, False])
def test_gather_qmm_multiplies_the_matrices_that_are_named(transpose):
    parts = mx.quantize(mx.array(numbers(3, 20, 64)))
    wide = unpacked(parts, "affine", 64, 4)
    wide = np.swapaxes(wide, -1, -2) if transpose else wide
    x = generator("gather").standard_normal((2, 5, wide.shape[-2])).astype(np.float32)
    lhs, rhs = np.array([[0], [1]]), np.array([2, 0, 2])
    got = mx.gather_qmm(
        mx.array(x),
        *parts,
        lhs_indices=mx.array(lhs),
        rhs_indices=mx.array(rhs),
        transpose=transpose,
    )
    assert_product(got, x[lhs] @ wide[rhs], mx.float32)
    assert (
        mx.gather_qmm(mx.array(x), *parts, rhs_indices=mx.array([1, 1]), transpose=transpose).shape[
            0
        ]
        == 2
    )


@pytest.mark.parametrize("index", [3, -1])
def test_gather_qmm_refuses_a_matrix_that_is_not_there(index):
    parts = mx.quantize(mx.array(numbers(3, 20, 64)))
    with pytest.raises(IndexError, match="gather_qmm"):
        mx.eval(mx.gather_qmm(mx.ones((1, 2, 64)), *parts, rhs_indices=mx.array([index])))


def test_gradients_of_a_product_are_those_of_the_unpacked_product():
    words, scales, biases = mx.quantize(mx.array(numbers(20, 128)))
    x = mx.array(generator("gradient").standard_normal((3, 128)).astype(np.float32))

    def packed(x, s, b):
        return mx.sum(mx.sin(mx.quantized_matmul(x, words, s, b)))

    codes = mx.array(codes_of(words, 4, 128).reshape(20, 2, 64).astype(np.float32))

    def plain(x, s, b):
        w = codes * mx.expand_dims(s, -1) + mx.expand_dims(b, -1)
        return mx.sum(mx.sin(x @ mx.reshape(w, (20, 128)).T))

    for got, expected in zip(
        mx.grad(packed, argnums=(0, 1, 2))(x, scales, biases),
        mx.grad(plain, argnums=(0, 1, 2))(x, scales, biases),
    ):
        np.testing.assert_allclose(to_np(got), to_np(expected), rtol=1e-3, atol=1e-3)
    tangents = [mx.ones(v.shape) for v in (x, scales, biases)]
    forward = [mx.jvp(f, [x, scales, biases], tangents)[1][0].item() for f in (packed, plain)]
    assert abs(forward[0] - forward[1]) < 1e-3 * (1 + abs(forward[1]))


def test_the_gradient_of_gather_qmm_adds_up_repeated_matrices():
    parts = mx.quantize(mx.array(numbers(3, 20, 64)))
    x = mx.array(generator("twice").standard_normal((2, 5, 64)).astype(np.float32))
    lhs, rhs = mx.array([0, 1, 1]), mx.array([0, 2, 2])
    got = mx.grad(lambda x: mx.sum(mx.gather_qmm(x, *parts, lhs_indices=lhs, rhs_indices=rhs)))(x)
    w = unpacked(parts, "affine", 64, 4).sum(-2)
    expected = np.stack([np.tile(w[0], (5, 1)), np.tile(2 * w[2], (5, 1))])
    np.testing.assert_allclose(to_np(got), expected, rtol=1e-4, atol=1e-4)


def test_vmap_of_products_and_packing_equals_a_loop():
    w = mx.array(numbers(3, 20, 64))
    x = mx.array(generator("vmap").standard_normal((3, 5, 64)).astype(np.float32))
    parts = mx.vmap(mx.quantize)(w)
    for k in range(3):
        for got, expected in zip(parts, mx.quantize(w[k])):
            np.testing.assert_array_equal(to_np(got[k]), to_np(expected))
    one = [p[0] for p in parts]
    loop = np.stack([to_np(mx.quantized_matmul(x[k], *one)) for k in range(3)])
    np.testing.assert_allclose(
        to_np(mx.vmap(lambda x: mx.quantized_matmul(x, *one))(x)), loop, rtol=1e-5, atol=1e-5
    )
    loop = np.stack([to_np(mx.quantized_matmul(x[k], *(p[k] for p in parts))) for k in range(3)])
    np.testing.assert_allclose(
        to_np(mx.vmap(mx.quantized_matmul)(x, *parts)), loop, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(
        to_np(mx.vmap(mx.dequantize)(*parts)), to_np(mx.dequantize(*parts))
    )


@pytest.mark.parametrize("mode", ["nvfp4", "mxfp8", "mxfp4"])
def test_qqmm_rounds_both_operands(mode):
    x, w = numbers(5, 64), numbers(9, 64)
    read = [
        to_np(mx.dequantize(*mx.quantize(mx.array(v), mode=mode), mode=mode, dtype=mx.float32))
        for v in (x, w)
    ]
    expected = read[0] @ read[1].T
    np.testing.assert_allclose(
        to_np(mx.qqmm(mx.array(x), mx.array(w), mode=mode)), expected, atol=1e-4
    )
    packed = mx.quantize(mx.array(w), mode=mode)
    np.testing.assert_allclose(to_np(mx.qqmm(mx.array(x), *packed, mode=mode)), expected, atol=1e-4)
    gathered = mx.gather_qqmm(
        mx.array(x[None]), mx.array(w[None]), rhs_indices=mx.array([0, 0]), mode=mode
    )
    np.testing.assert_allclose(to_np(gathered), np.stack([expected] * 2), atol=1e-4)


def test_derivatives_pass_through_the_rounding_of_qqmm():
    x, w = mx.array(numbers(5, 64)), mx.array(numbers(9, 64))
    gradient = mx.grad(lambda x: mx.sum(mx.qqmm(x, w)))(x)
    read = mx.dequantize(*mx.quantize(w, mode="nvfp4"), mode="nvfp4", dtype=mx.float32)
    expected = np.tile(to_np(read).sum(0), (5, 1))
    np.testing.assert_allclose(to_np(gradient), expected, atol=1e-4)


def test_fp8_codes_are_e4m3_and_saturate():
    x = np.concatenate(
        [generator("fp8").standard_normal(2000) * 100, E4M3[:127], (E4M3[:126] + E4M3[1:127]) / 2]
    )
    x = np.concatenate([x, -x]).astype(np.float32)
    expected = np.clip(x, -448, 448).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    np.testing.assert_array_equal(to_np(mx.to_fp8(mx.array(x))), expected)
    assert mx.to_fp8(mx.array([500.0, mx.inf, -mx.inf, mx.nan])).tolist() == [126, 126, 254, 127]
    got = mx.from_fp8(mx.arange(256).astype(mx.uint8), mx.float32)
    np.testing.assert_array_equal(to_np(got), E4M3)
    assert mx.from_fp8(mx.zeros((2,), dtype=mx.uint8)).dtype == mx.bfloat16


def test_empty_matrices_pack_and_multiply():
    assert [p.shape for p in mx.quantize(mx.zeros((0, 64)))] == [(0, 8), (0, 1), (0, 1)]
    parts = mx.quantize(mx.zeros((4, 64)))
    assert mx.quantized_matmul(mx.zeros((0, 64)), *parts).shape == (0, 4)
    nothing = mx.quantize(mx.zeros((0, 64)))
    assert (
        mx.quantized_matmul(mx.zeros((2, 0)), *nothing, transpose=False).tolist()
        == [[0.0] * 64] * 2
    )


PARTS = mx.quantize(mx.ones((4, 64)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: mx.quantize(mx.ones((64,))),
        lambda: mx.quantize(mx.ones((2, 100))),
        lambda: mx.quantize(mx.ones((2, 64), dtype=mx.int32)),
        lambda: mx.quantize(mx.ones((2, 64)).astype(mx.float64)),
        lambda: mx.quantize(mx.ones((2, 64)), bits=7),
        lambda: mx.quantize(mx.ones((2, 64)), group_size=48),
        lambda: mx.quantize(mx.ones((2, 64)), mode="int4"),
        lambda: mx.quantize(mx.ones((2, 64)), mode="mxfp4", bits=8),
        lambda: mx.quantize(mx.ones((2, 64)), mode="mxfp4", global_scale=mx.array(1.0)),
        lambda: mx.dequantize(PARTS[0], PARTS[1]),
        lambda: mx.dequantize(*PARTS, group_size=32),
        lambda: mx.dequantize(PARTS[0].astype(mx.int32), *PARTS[1:]),
        lambda: mx.dequantize(*PARTS, dtype=mx.int32),
        lambda: mx.dequantize(*PARTS, mode="mxfp4"),
        lambda: mx.dequantize(PARTS[0], PARTS[1], mode="mxfp4"),
        lambda: mx.quantized_matmul(mx.ones((2, 32)), *PARTS),
        lambda: mx.quantized_matmul(mx.ones((2, 64), dtype=mx.complex64), *PARTS),
        lambda: mx.gather_qmm(
            mx.ones((1, 2, 64)), *(p[None] for p in PARTS), rhs_indices=mx.array([0.5])
        ),
        lambda: mx.qqmm(mx.ones((2, 64)), PARTS[0]),
        lambda: mx.qqmm(mx.ones((2, 64)), mx.ones((2, 64)), mode="affine"),
        lambda: mx.qqmm(mx.ones((2, 64)), mx.ones((2, 64)), global_scale_x=mx.array(1.0)),
        lambda: mx.to_fp8(mx.array([1])),
        lambda: mx.from_fp8(mx.array([1])),
        lambda: mx.from_fp8(mx.zeros((1,), dtype=mx.uint8), mx.int32),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(ValueError, match=r"^\["):
        mx.eval(call())


def test_codes_have_no_derivative_and_say_so():
    with pytest.raises(ValueError, match="codes"):
        mx.eval(mx.grad(lambda w: mx.sum(mx.quantize(w)[1]))(mx.ones((2, 64))))


# ---- rows of x that become digits, where the processor multiplies these ----


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [4, 8, 3])
@pytest.mark.parametrize(
    "shape",
    [(1, 5, 256), (3, 48, 1024), (6, 7, 2816), (2, 3, 128), (7, 100, 640), (530, 17, 1152)],
)
def test_products_are_as_exact_as_float32(shape, bits, group):
    m, n, k = shape
    rng = np.random.default_rng(k + group)
    # numbers of very different sizes within a group, and groups of very different sizes
    x = rng.standard_normal((m, k)) * 10.0 ** rng.integers(-6, 1, (m, k))
    x = (x * np.repeat(10.0 ** rng.integers(-15, 15, (m, k // group)), group, 1)).astype(np.float32)
    packed = mx.quantize(mx.array(rng.standard_normal((n, k)).astype(np.float32)), group, bits)
    w = to_np(mx.dequantize(*packed, group, bits)).astype(np.float64)
    got = to_np(mx.quantized_matmul(mx.array(x), *packed, True, group, bits)).astype(np.float64)
    size = np.abs(x.astype(np.float64)).sum(1, keepdims=True) * np.abs(w).max(1)
    assert np.all(np.abs(got - x.astype(np.float64) @ w.T) <= 2e-6 * size)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e36, 1e-40, 0.0])
@pytest.mark.parametrize("rows", [2, 21])
def test_products_meet_every_number(rows, value):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((rows, 256)).astype(np.float32)
    x[1, 17] = value
    packed = mx.quantize(mx.array(rng.standard_normal((8, 256)).astype(np.float32)))
    w = np.array(mx.dequantize(*packed)).astype(np.float64)
    got = np.array(mx.quantized_matmul(mx.array(x), *packed))
    with np.errstate(invalid="ignore"):
        want = x.astype(np.float64) @ w.T
    np.testing.assert_allclose(got[0], want[0], rtol=1e-4, atol=1e-4)
    if np.isfinite(value):
        np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-5 * max(10.0, value))
    else:
        assert not np.isfinite(got[1]).any()


def test_products_of_nothing_but_zeros_are_zero():
    packed = mx.quantize(mx.random.normal((8, 256)))
    for rows in (1, 9):
        assert not np.array(mx.quantized_matmul(mx.zeros((rows, 256)), *packed)).any()
