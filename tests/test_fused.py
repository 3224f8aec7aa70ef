"""Softmax, norms, rotary encoding, cross entropy and the gated delta rule against their
formulas."""

import numpy as np
import pytest
from support import check_derivatives, generator, to_mx, to_np

import mlxc.core as mx

FLOATS = {mx.float32: 1e-5, mx.float64: 1e-12, mx.float16: 2e-3, mx.bfloat16: 1.6e-2}


def sample(*shape, dtype=mx.float32):
    return to_mx(generator("fused", shape).standard_normal(shape)).astype(dtype)


def assert_near(got, expected, dtype=mx.float32):
    assert got.dtype == dtype and got.shape == np.shape(expected)
    np.testing.assert_allclose(to_np(got), expected, rtol=FLOATS[dtype], atol=FLOATS[dtype])


def wide(x):
    return to_np(x).astype(np.float64)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()])
def test_softmax_equals_its_formula(dtype, axis):
    x = sample(3, 4, 5, dtype=dtype)
    for precise in (False, True):
        assert_near(mx.softmax(x, axis, precise=precise), softmax(wide(x), axis), dtype)


def test_softmax_of_integers_is_float32_and_of_large_numbers_finite():
    assert_near(mx.softmax(mx.array([1, 2, 3])), softmax(np.array([1.0, 2, 3]), 0))
    assert_near(mx.softmax(mx.array([1e30, 1e30, -mx.inf])), [0.5, 0.5, 0])
    assert mx.softmax(mx.zeros((0, 3)), axis=0).shape == (0, 3)
    assert mx.softmax(mx.array(2.0)).item() == 1.0
    assert np.isnan(to_np(mx.softmax(mx.array([mx.nan, 1.0])))).all()


def test_softmax_of_complex_numbers_sums_to_one():
    z = mx.softmax(mx.array([1 + 1j, 2 - 1j]))
    assert z.dtype == mx.complex64 and abs(z.sum().item() - 1) < 1e-6


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("weighted", [False, True])
def test_rms_norm_equals_its_formula(dtype, weighted):
    x, w = sample(3, 6, dtype=dtype), sample(6, dtype=dtype) if weighted else None
    expected = wide(x) / np.sqrt((wide(x) ** 2).mean(-1, keepdims=True) + 1e-3)
    assert_near(mx.fast.rms_norm(x, w, 1e-3), expected * (wide(w) if weighted else 1), dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "weighted, biased", [(False, False), (True, False), (False, True), (True, True)]
)
def test_layer_norm_equals_its_formula(dtype, weighted, biased):
    x = sample(3, 6, dtype=dtype)
    w, b = (
        sample(6, dtype=dtype) if weighted else None,
        sample(6, dtype=dtype) + 1 if biased else None,
    )
    centred = wide(x) - wide(x).mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
    expected = expected * (wide(w) if weighted else 1) + (wide(b) if biased else 0)
    assert_near(mx.fast.layer_norm(x, w, b, 1e-3), expected, dtype)


def test_norms_promote_as_mlx_does():
    x, w = sample(2, 4, dtype=mx.float16), sample(4)
    assert mx.fast.rms_norm(x, w, 1e-5).dtype == mx.float32
    assert mx.fast.layer_norm(x, w, None, 1e-5).dtype == mx.float32
    assert mx.fast.layer_norm(x, None, w, 1e-5).dtype == mx.float16
    assert mx.fast.layer_norm(mx.zeros((2, 0)), None, None, 1e-5).shape == (2, 0)


def test_norms_in_half_precision_do_not_overflow():
    x = mx.full((1, 4), 1000.0).astype(mx.float16)
    assert_near(mx.fast.rms_norm(x, None, 1e-5), np.ones((1, 4)), mx.float16)


def rope(x, dims, traditional, inverse, scale, offset):
    """The rotation as a product of complex numbers."""
    steps = np.arange(x.shape[-2]) + np.reshape(offset, (-1,) + (1,) * (x.ndim - 2))
    turn = np.exp(1j * scale * steps[..., None] * inverse)
    part, half = x[..., :dims], dims // 2
    pair = (
        (part[..., 0::2], part[..., 1::2]) if traditional else (part[..., :half], part[..., half:])
    )
    z = (pair[0] + 1j * pair[1]) * turn
    both = (
        np.stack([z.real, z.imag], -1).reshape(part.shape)
        if traditional
        else np.concatenate([z.real, z.imag], -1)
    )
    return np.concatenate([both, x[..., dims:]], -1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("dims", [2, 8])
@pytest.mark.parametrize("offset", [0, 7, [3, 11]])
def test_rope_turns_pairs_of_features(dtype, traditional, dims, offset):
    x = sample(2, 3, 5, 8, dtype=dtype)
    given = mx.array(offset) if isinstance(offset, list) else offset
    settings = dict(traditional=traditional, scale=0.5, offset=given)
    inverse = 100.0 ** (-np.arange(dims // 2) / (dims // 2))
    got = mx.fast.rope(x, dims, base=100.0, **settings)
    assert_near(got, rope(wide(x), dims, traditional, inverse, 0.5, offset), dtype)
    got = mx.fast.rope(x, dims, base=None, freqs=to_mx(1 / inverse).astype(mx.float32), **settings)
    np.testing.assert_allclose(
        to_np(got),
        rope(wide(x), dims, traditional, inverse, 0.5, offset),
        atol=max(FLOATS[dtype], 1e-5),
        rtol=1e-2,
    )


def test_rope_is_accurate_at_long_positions():
    x = sample(1, 1, 2, 64)
    inverse = 10000.0 ** (-np.arange(32) / 32)
    got = mx.fast.rope(x, 64, traditional=False, base=10000.0, scale=1.0, offset=4000)
    np.testing.assert_allclose(to_np(got), rope(wide(x), 64, False, inverse, 1.0, 4000), atol=2e-3)


def test_cross_entropy_equals_its_formula_in_float32():
    targets = mx.array([[0, 1, 2], [3, 2, 1]])
    for dtype in FLOATS:
        x = sample(2, 3, 4, dtype=dtype)
        picked = np.take_along_axis(softmax(wide(x), -1), to_np(targets)[..., None], -1)[..., 0]
        got = mx.fast.cross_entropy(x, targets)
        assert got.dtype == mx.float32
        np.testing.assert_allclose(to_np(got), -np.log(picked), rtol=1e-5, atol=1e-5)


def gated_delta(q, k, v, gamma, beta, state, mask):
    repeat = v.shape[2] // k.shape[2]
    q, k = np.repeat(q, repeat, 2), np.repeat(k, repeat, 2)
    gamma = gamma[..., None, :] if gamma.ndim == 4 else gamma[..., None, None]
    outs = []
    for t in range(q.shape[1]):
        faded = state * gamma[:, t]
        error = (v[:, t] - np.einsum("bhvk,bhk->bhv", faded, k[:, t])) * beta[:, t, :, None]
        updated = faded + error[..., None] * k[:, t, :, None, :]
        keep = mask[:, t, None, None]
        outs.append(np.einsum("bhvk,bhk->bhv", updated, q[:, t]) * keep)
        state = np.where(keep[..., None], updated, state)
    return np.stack(outs, 1), state


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_gated_delta_update_equals_its_recurrence(features, started, masked):
    q, k, v = sample(2, 5, 2, 3), sample(2, 5, 2, 3) * 0.5, sample(2, 5, 4, 6)
    gamma = mx.sigmoid(sample(*((2, 5, 4, 3) if features else (2, 5, 4))))
    beta = mx.sigmoid(sample(2, 5, 4))
    state = sample(2, 4, 6, 3) if started else None
    mask = (
        mx.array([[True, True, False, True, True], [True, False, True, True, False]])
        if masked
        else None
    )
    expected = gated_delta(
        *(wide(x) for x in (q, k, v, gamma, beta)),
        wide(state) if started else np.zeros((2, 4, 6, 3)),
        to_np(mask) if masked else np.ones((2, 5), dtype=bool),
    )
    for got, want in zip(mx.fast.gated_delta_update(q, k, v, gamma, beta, state, mask), expected):
        assert_near(got, want)


def test_gated_delta_update_of_half_precision_keeps_its_state_in_single():
    q = sample(1, 3, 1, 2, dtype=mx.float16)
    out, state = mx.fast.gated_delta_update(q, q, q, mx.sigmoid(q[..., 0]), mx.sigmoid(q[..., 1]))
    assert out.dtype == mx.float16 and state.dtype == mx.float32


DERIVATIVES = {
    "softmax": (lambda x: mx.softmax(x, -1), [(3, 5)]),
    "softmax over all": (mx.softmax, [(3, 5)]),
    "rms_norm": (lambda x, w: mx.fast.rms_norm(x, w, 1e-3), [(3, 5), (5,)]),
    "layer_norm": (lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-3), [(3, 5), (5,), (5,)]),
    "rope": (
        lambda x: mx.fast.rope(x, 4, traditional=True, base=10.0, scale=1.0, offset=3),
        [(1, 3, 6)],
    ),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_equal_differences(name):
    function, shapes = DERIVATIVES[name]
    check_derivatives(function, [sample(*s, dtype=mx.float64) for s in shapes], generator(name))


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot():
    x, targets = sample(2, 4), mx.array([1, 3])
    got = mx.grad(lambda x: mx.sum(mx.fast.cross_entropy(x, targets)))(x)
    assert_near(got, softmax(wide(x), -1) - np.eye(4)[[1, 3]])


def test_vmap_of_fused_functions_equals_a_loop():
    x, w = sample(3, 2, 4), sample(3, 4)
    loop = np.stack([to_np(mx.fast.rms_norm(a, b, 1e-5)) for a, b in zip(x, w)])
    assert_near(mx.vmap(lambda a, b: mx.fast.rms_norm(a, b, 1e-5))(x, w), loop)
    loop = np.stack([to_np(mx.softmax(a)) for a in x])
    assert_near(mx.vmap(mx.softmax)(x), loop)


def rope_call(x=None, dims=4, base=10.0, freqs=None, offset=0):
    x = mx.ones((2, 3, 4)) if x is None else x
    return mx.fast.rope(x, dims, traditional=True, base=base, scale=1.0, offset=offset, freqs=freqs)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mx.softmax(mx.ones((2,)), axis=1),
        lambda: mx.fast.rms_norm(mx.array([1, 2]), None, 1e-5),
        lambda: mx.fast.rms_norm(mx.array(1.0), None, 1e-5),
        lambda: mx.fast.rms_norm(mx.ones((2, 4)), mx.ones((3,)), 1e-5),
        lambda: mx.fast.layer_norm(mx.ones((2, 4)), mx.ones((4, 1)), None, 1e-5),
        lambda: mx.fast.layer_norm(mx.array([1, 2]), None, None, 1e-5),
        lambda: rope_call(dims=3),
        lambda: rope_call(dims=6),
        lambda: rope_call(dims=0),
        lambda: rope_call(base=None),
        lambda: rope_call(freqs=mx.ones((2,))),
        lambda: rope_call(base=None, freqs=mx.ones((3,))),
        lambda: rope_call(offset=mx.array(2.5)),
        lambda: rope_call(offset=mx.array([1, 2, 3])),
        lambda: rope_call(x=mx.ones((3, 4))),
        lambda: rope_call(x=mx.ones((2, 3, 4), dtype=mx.int32)),
        lambda: mx.fast.cross_entropy(mx.ones((2, 3)), mx.array([1])),
        lambda: mx.fast.cross_entropy(mx.ones((2, 3)), mx.array([1.0, 2.0])),
        lambda: mx.fast.cross_entropy(mx.array([1, 2]), mx.array(1)),
        lambda: mx.fast.gated_delta_update(
            *[mx.ones((1, 2, 1, 3))] * 3, mx.ones((1, 2)), mx.ones((1, 2, 1))
        ),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises((ValueError, IndexError), match=r"^\["):
        call()


def test_custom_kernels_say_that_there_is_no_such_device():
    with pytest.raises(RuntimeError, match="no CUDA"):
        mx.fast.cuda_kernel("k", ["x"], ["y"], "")
    with pytest.raises(RuntimeError, match="no Metal"):
        mx.fast.metal_kernel("k", ["x"], ["y"], "")(
            inputs=[mx.ones(1)], output_shapes=[(1,)], output_dtypes=[mx.float32],
            grid=(1, 1, 1), threadgroup=(1, 1, 1),
        )  # fmt: skip
    with pytest.raises(RuntimeError, match="no CUDA"):
        mx.fast.precompiled_cuda_kernel(
            name="k", compiled_source=b"", inputs=[], output_shapes=[], output_dtypes=[],
            scalars=[],
            grid=(1, 1, 1), threadgroup=(1, 1, 1),
        )  # fmt: skip


def test_the_module_fast_can_be_imported():
    import mlxc.core.fast as fast

    assert fast.rms_norm is mx.fast.rms_norm
