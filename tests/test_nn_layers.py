"""Layers against their formulas in NumPy, and calls that do not fit."""

import math

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.nn as nn

RNG = np.random.default_rng(0)


def sample(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(np.array(actual), expected, rtol=tolerance, atol=tolerance)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


POINTS = np.array([-30.0, -3.0, -1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0, 3.0, 30.0])
ERF = np.vectorize(math.erf)
ACTIVATIONS = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "celu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507 * np.where(x > 0, x, 1.67326 * np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "gelu": lambda x: x * (1 + ERF(x / math.sqrt(2))) / 2,
    "gelu_approx": lambda x: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "gelu_fast_approx": lambda x: x * sigmoid(1.702 * x),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "log_sigmoid": lambda x: -np.logaddexp(-x, 0),
    "step": lambda x: (x >= 0).astype(np.int32),
    "softmax": lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(),
    "softmin": lambda x: np.exp(x.min() - x) / np.exp(x.min() - x).sum(),
    "log_softmax": lambda x: x - np.logaddexp.reduce(x),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_follows_its_formula(name):
    close(getattr(nn, name)(mx.array(POINTS.astype(np.float32))), ACTIVATIONS[name](POINTS), 2e-6)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"step"}))
def test_an_activation_keeps_its_dtype_and_has_finite_gradients(name):
    function = getattr(nn, name)
    x = mx.array([-1000.0, -80.0, -1.0, 0.0, 1.0, 80.0, 1000.0])
    assert np.isfinite(np.array(function(x)))[1:].all()
    gradient = mx.grad(lambda x: function(x).sum())(x)
    assert np.isfinite(np.array(gradient)).all()
    for dtype in (mx.float16, mx.bfloat16):
        assert function(x.astype(dtype)).dtype == dtype


def test_elu_has_slope_one_at_zero():
    for function in (nn.elu, nn.celu):
        assert mx.grad(lambda x: function(x).sum())(mx.array([0.0])).tolist() == [1.0]  # noqa: B023


def test_the_gated_unit_and_the_learned_slope():
    x = sample(3, 4)
    close(nn.glu(mx.array(x)), x[:, :2] * sigmoid(x[:, 2:]))
    close(nn.GLU(axis=0)(mx.array(x[:2])), x[:1] * sigmoid(x[1:2]))
    close(nn.PReLU(4, 0.5)(mx.array(x)), np.where(x > 0, x, 0.5 * x))
    with pytest.raises(ValueError):
        nn.glu(mx.ones((3,)))
    with pytest.raises(ValueError, match="foo"):
        nn.GELU("foo")


def test_linear_layers_follow_their_formulas():
    x, y = sample(2, 5, 4), sample(2, 5, 3)
    layer = nn.Linear(4, 3)
    close(layer(mx.array(x)), x @ np.array(layer.weight).T + np.array(layer.bias))
    layer = nn.Bilinear(4, 3, 2)
    expected = np.einsum("bti,oji,btj->bto", x, np.array(layer.weight), y)
    close(layer(mx.array(x), mx.array(y)), expected + np.array(layer.bias))
    assert np.abs(np.array(nn.Linear(16, 50).weight)).max() <= 0.25


def test_a_convolution_is_a_sum_over_windows():
    x = sample(2, 5, 6, 4)
    layer = nn.Conv2d(4, 2, 3, stride=2, padding=1, groups=2)
    w, padded = np.array(layer.weight), np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.array(layer(mx.array(x)))
    assert y.shape == (2, 3, 3, 2)
    for i, j, o in np.ndindex(3, 3, 2):
        window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3, 2 * o : 2 * o + 2]
        close(y[:, i, j, o], (window * w[o]).sum((1, 2, 3)), 1e-4)
    assert nn.Conv1d(4, 2, 3, bias=False)(mx.array(x[:, 0])).shape == (2, 4, 2)
    assert nn.Conv3d(4, 2, 2)(mx.array(sample(1, 3, 3, 3, 4))).shape == (1, 2, 2, 2, 2)


def test_a_transposed_convolution_is_the_adjoint_of_a_convolution():
    layer = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, bias=False)
    x, y = sample(1, 4, 4, 3), sample(1, 7, 7, 2)
    weight = mx.transpose(layer.weight, (3, 1, 2, 0))
    back = mx.conv2d(mx.array(y), weight, stride=2, padding=1)
    left = (np.array(layer(mx.array(x))) * y).sum()
    close(left, (np.array(back) * x).sum(), 1e-3)


def normalised(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def test_normalisations_follow_their_formulas():
    x = 3 * sample(4, 5, 6, 8) + 1
    a = mx.array(x)
    close(nn.LayerNorm(8)(a), normalised(x, -1), 1e-4)
    close(nn.RMSNorm(8)(a), x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5), 1e-4)
    close(nn.InstanceNorm(8)(a), normalised(x, (1, 2)), 1e-4)
    close(nn.BatchNorm(8)(a), normalised(x, (0, 1, 2)), 1e-4)
    grouped = normalised(x.reshape(4, 30, 2, 4), (1, 3)).reshape(x.shape)
    close(nn.GroupNorm(2, 8, pytorch_compatible=True)(a), grouped, 1e-4)
    grouped = normalised(x.reshape(4, 30, 4, 2), (1, 2)).reshape(x.shape)
    close(nn.GroupNorm(2, 8)(a), grouped, 1e-4)


def test_batch_norm_averages_its_statistics_and_uses_them():
    x = 2 * sample(6, 3) + 1
    layer = nn.BatchNorm(3, momentum=0.25)
    layer(mx.array(x))
    mean, variance = 0.25 * x.mean(0), 0.75 + 0.25 * x.var(0, ddof=1)
    close(layer.running_mean, mean)
    close(layer.running_var, variance)
    close(layer.eval()(mx.array(x)), (x - mean) / np.sqrt(variance + 1e-5), 1e-4)
    single = nn.BatchNorm(3)
    single(mx.ones((1, 3)))
    assert np.isfinite(np.array(single.running_var)).all()


def pooled(x, k, s, p, reduce, fill):
    padded = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), constant_values=fill)
    rows, columns = ((n - k) // s + 1 for n in padded.shape[1:3])
    y = np.empty((x.shape[0], rows, columns, x.shape[3]), x.dtype)
    for i, j in np.ndindex(rows, columns):
        y[:, i, j] = reduce(padded[:, s * i : s * i + k, s * j : s * j + k], axis=(1, 2))
    return y


@pytest.mark.parametrize(("k", "s", "p"), [(2, 2, 0), (3, 3, 1), (3, 2, 1), (2, 3, 0), (3, 1, 0)])
def test_pooling_reduces_windows(k, s, p):
    x = sample(2, 7, 8, 3)
    close(nn.MaxPool2d(k, s, p)(mx.array(x)), pooled(x, k, s, p, np.max, -np.inf))
    close(nn.AvgPool2d(k, s, p)(mx.array(x)), pooled(x, k, s, p, np.mean, 0))


def test_pooling_sends_the_gradient_to_the_maximum():
    x = mx.array(np.array([1.0, 3.0, 2.0, 0.0], np.float32).reshape(1, 4, 1))
    for layer, expected in (
        (nn.MaxPool1d(2), [0.0, 1.0, 1.0, 0.0]),
        (nn.MaxPool1d(3, 1), [0.0, 2.0, 0.0, 0.0]),
        (nn.AvgPool1d(2), [0.5, 0.5, 0.5, 0.5]),
    ):
        gradient = mx.grad(lambda x, layer=layer: layer(x).sum())(x)
        assert gradient.flatten().tolist() == expected


def test_integers_are_pooled_as_integers():
    x = mx.array(np.arange(8).reshape(1, 8, 1))
    assert nn.MaxPool1d(3, 2, 1)(x).flatten().tolist() == [1, 3, 5, 7]


def test_recurrent_layers_follow_their_formulas():
    x, h, c = sample(2, 3, 4), sample(2, 5), sample(2, 5)
    rnn, gru, lstm = nn.RNN(4, 5), nn.GRU(4, 5), nn.LSTM(4, 5)
    states = np.array(rnn(mx.array(x), mx.array(h)))
    now = h
    for t in range(3):
        inputs = x[:, t] @ np.array(rnn.Wxh).T + np.array(rnn.bias)
        now = np.tanh(inputs + now @ np.array(rnn.Whh).T)
        close(states[:, t], now)
    states, now = np.array(gru(mx.array(x), mx.array(h))), h
    for t in range(3):
        xr, xz, xn = np.split(x[:, t] @ np.array(gru.Wx).T + np.array(gru.b), 3, axis=1)
        hr, hz, hn = np.split(now @ np.array(gru.Wh).T, 3, axis=1)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        n = np.tanh(xn + r * (hn + np.array(gru.bhn)))
        now = (1 - z) * n + z * now
        close(states[:, t], now)
    hidden, cell = (np.array(s) for s in lstm(mx.array(x), mx.array(h), mx.array(c)))
    now = h
    for t in range(3):
        gates = x[:, t] @ np.array(lstm.Wx).T + np.array(lstm.bias) + now @ np.array(lstm.Wh).T
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        now = sigmoid(o) * np.tanh(c)
        close(cell[:, t], c)
        close(hidden[:, t], now)


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_an_empty_sequence_has_no_states(layer):
    result = layer(3, 4)(mx.zeros((2, 0, 3)))
    for states in result if isinstance(result, tuple) else (result,):
        assert states.shape == (2, 0, 4)


def test_attention_is_a_weighted_mean_of_values():
    layer, x = nn.MultiHeadAttention(8, 2, bias=True), sample(2, 5, 8)
    mask = nn.MultiHeadAttention.create_additive_causal_mask(5)

    def project(linear):
        y = x @ np.array(linear.weight).T + np.array(linear.bias)
        return y.reshape(2, 5, 2, 4).transpose(0, 2, 1, 3)

    q, k, v = (project(p) for p in (layer.query_proj, layer.key_proj, layer.value_proj))
    scores = q @ k.transpose(0, 1, 3, 2) / 2 + np.array(mask)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = (weights / weights.sum(-1, keepdims=True)) @ v
    y = y.transpose(0, 2, 1, 3).reshape(2, 5, 8)
    y = y @ np.array(layer.out_proj.weight).T + np.array(layer.out_proj.bias)
    a = mx.array(x)
    close(layer(a, a, a, mask), y, 1e-4)


def test_positions_are_encoded_by_sines_and_rotations():
    y = np.array(nn.SinusoidalPositionalEncoding(4, scale=1)(mx.array([0.0, 2.0])))
    close(y[1], [math.sin(2), math.sin(2e-4), math.cos(2), math.cos(2e-4)])
    x = sample(1, 1, 3, 4)
    y = np.array(nn.RoPE(4)(mx.array(x)))
    angles = np.outer(np.arange(3), [1, 0.01])
    a, b = x[0, 0, :, :2], x[0, 0, :, 2:]
    close(y[0, 0, :, :2], a * np.cos(angles) - b * np.sin(angles))
    close(y[0, 0, :, 2:], a * np.sin(angles) + b * np.cos(angles))
    close(nn.ALiBi()(mx.zeros((1, 4, 1, 3)))[0, :, 0, 2], [-2 * 4.0**-i for i in (1, 2, 3, 4)])


def test_dropout_keeps_the_mean_and_zeroes_channels():
    mx.random.seed(0)
    y = np.array(nn.Dropout(0.25)(mx.ones((200, 200))))
    assert set(np.unique(y).round(4)) == {0.0, np.float32(1.3333)}
    assert abs(y.mean() - 1) < 0.02
    y = np.array(nn.Dropout2d(0.5)(mx.ones((4, 3, 3, 16))))
    assert ((y == y[:, :1, :1]).all()) and 0 < (y == 0).mean() < 1
    x = mx.ones((3,))
    assert nn.Dropout(0.0)(x) is x and nn.Dropout(0.5).eval()(x) is x


@pytest.mark.parametrize("layer", [nn.Dropout, nn.Dropout2d, nn.Dropout3d])
def test_dropout_keeps_the_precision_of_its_input(layer):
    images = mx.ones((2, 3, 4, 5))
    for dtype in (mx.float16, mx.bfloat16, mx.float32, mx.complex64):
        assert layer(0.3)(images.astype(dtype)).dtype == dtype


def test_upsampling_of_constants_changes_only_the_shape():
    for mode in ("nearest", "linear", "cubic"):
        for scale in (2, 0.5, 1.3):
            y = np.array(nn.Upsample(scale, mode=mode)(mx.ones((1, 8, 8, 2))))
            assert y.shape == (1, int(8 * scale), int(8 * scale), 2)
            close(y, np.ones_like(y), 1e-5)


def test_quantized_layers_are_near_the_layers_they_come_from():
    linear, x = nn.Linear(64, 8), mx.array(sample(5, 64))
    near = nn.QuantizedLinear.from_linear(linear, bits=8)
    close(near(x), np.array(linear(x)), 0.05)
    table = nn.Embedding(10, 64)
    near = table.to_quantized(bits=8)
    ids = mx.array([1, 5])
    close(near(ids), np.array(table(ids)), 0.01)
    assert "bias" in near.parameters() or list(near.trainable_parameters()) == []


# Calls that do not fit ------------------------------------------------------------------------

ones = mx.ones
BAD_CALLS = [
    ("Linear(4, 3)", (ones((2, 5)),), ValueError, r"\[Linear\] .* axis 4, .*\(2, 5\)"),
    ("Linear(4, 3)", (mx.array(1.0),), ValueError, r"\[Linear\]"),
    ("Linear(4, 3)", ([1, 2],), TypeError, r"\[Linear\] expected an array, got list"),
    ("Bilinear(4, 3, 2)", (ones((2, 4)), ones((2, 2))), ValueError, r"\[Bilinear\]"),
    ("Bilinear(4, 3, 2)", (ones((2, 4)), ones((3, 3))), ValueError, "leading axes"),
    ("Conv1d(4, 3, 2)", (ones((2, 3)),), ValueError, r"\[Conv1d\] expected 3 dimensions"),
    ("Conv2d(4, 3, 2)", (ones((2, 5, 5, 3)),), ValueError, r"\[Conv2d\] expected last axis 4"),
    ("Conv2d(4, 3, 2)", (ones((5, 5, 4)),), ValueError, r"\[Conv2d\]"),
    ("ConvTranspose1d(4, 3, 2)", (ones((2, 5, 3)),), ValueError, r"\[ConvTranspose1d\]"),
    ("LayerNorm(4)", (ones((2, 3)),), ValueError, r"\[LayerNorm\]"),
    ("RMSNorm(4)", (ones((2, 3)),), ValueError, r"\[RMSNorm\]"),
    ("BatchNorm(4)", (ones((2, 3)),), ValueError, r"\[BatchNorm\]"),
    ("BatchNorm(4)", (ones((4,)),), ValueError, "2, 3 or 4 dimensions"),
    ("GroupNorm(2, 4)", (ones((2, 3)),), ValueError, r"\[GroupNorm\]"),
    ("InstanceNorm(4)", (ones((2, 4)),), ValueError, "at least 3"),
    ("Embedding(3, 4)", (mx.array([1.0]),), ValueError, r"\[Embedding\] expected integer"),
    ("Embedding(3, 4).as_linear", (ones((2, 3)),), ValueError, r"\[Embedding\]"),
    ("RNN(3, 4)", (ones((2, 5)),), ValueError, r"\[RNN\]"),
    ("RNN(3, 4)", (ones((3,)),), ValueError, r"\[RNN\]"),
    ("GRU(3, 4)", (ones((2, 3)), ones((3,))), ValueError, r"\[GRU\]"),
    ("LSTM(3, 4)", (ones((2, 2, 5)),), ValueError, r"\[LSTM\]"),
    ("MultiHeadAttention(8, 2)", (ones((1, 2, 3)),) * 3, ValueError, "expected last axis 8"),
    ("MultiHeadAttention(8, 2)", (ones((2, 8)),) * 3, ValueError, r"\[MultiHeadAttention\]"),
    ("MaxPool2d(2)", (ones((2, 4)),), ValueError, r"\[MaxPool2d\]"),
    ("AvgPool1d(2)", (3,), TypeError, r"\[AvgPool1d\]"),
    ("Dropout2d()", (ones((2, 4)),), ValueError, "Expected 3 or 4"),
    ("Dropout3d()", (ones((2, 4, 4)),), ValueError, "Expected 4 or 5"),
    ("Upsample(2)", (ones((2, 2)),), ValueError, r"\[Upsample\]"),
    ("Upsample((2, 3))", (ones((2, 2, 2)),), ValueError, r"\[Upsample\]"),
    ("Upsample(0.01)", (ones((2, 2, 2)),), ValueError, "leaves nothing"),
    ("ALiBi()", (ones((2,)),), ValueError, r"\[ALiBi\]"),
    ("QuantizedLinear(64, 3)", (ones((2, 60)),), ValueError, r"\[QuantizedLinear\]"),
    ("QQLinear(64, 3)", (ones((2, 60)),), ValueError, r"\[QQLinear\]"),
]


@pytest.mark.parametrize(("build", "inputs", "error", "message"), BAD_CALLS)
def test_a_call_that_does_not_fit_names_the_layer(build, inputs, error, message):
    layer = eval(f"nn.{build}")
    with pytest.raises(error, match=message):
        layer(*inputs)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        ("Linear(0, 2)", ValueError),
        ("Linear(-1, 2)", ValueError),
        ("Linear(2.5, 2)", TypeError),
        ("Conv1d(4, 3, 2, groups=3)", ValueError),
        ("Conv2d(4, 3, 2, groups=2)", ValueError),
        ("Conv2d(4, 3, 0)", ValueError),
        ("GroupNorm(3, 4)", ValueError),
        ("Dropout(1.0)", ValueError),
        ("Dropout(-0.1)", ValueError),
        ("RNN(3, 4, nonlinearity=3)", ValueError),
        ("MultiHeadAttention(8, 3)", ValueError),
        ("MaxPool2d(0)", ValueError),
        ("MaxPool2d((2, 3, 4))", ValueError),
        ("MaxPool2d(2, stride=0)", ValueError),
        ("MaxPool2d(2, padding=-1)", ValueError),
        ("MaxPool2d('a')", ValueError),
        ("Upsample(2, mode='x')", ValueError),
        ("Upsample(-1)", ValueError),
        ("Upsample(2, antialias=True)", ValueError),
        ("Upsample(2, 'linear', True, True)", ValueError),
        ("SinusoidalPositionalEncoding(5)", ValueError),
        ("Sequential(3)", TypeError),
        ("QuantizedLinear(60, 3)", ValueError),
        ("QuantizedLinear(64, 3, mode='x')", ValueError),
        ("QQLinear.from_linear(nn.Linear(64, 3))", NotImplementedError),
        ("Linear(64, 3).to_quantized(quantize_input=True)", ValueError),
        ("Embedding(4, 64).to_quantized(quantize_input=True)", ValueError),
        ("quantize(nn.Linear(64, 64), mode='x')", ValueError),
        ("quantize(nn.Sequential(nn.ReLU()), class_predicate=lambda p, m: True)", ValueError),
        ("init.identity()(mx.zeros((2, 3)))", ValueError),
        ("init.he_normal()(mx.zeros((3,)))", ValueError),
        ("init.he_uniform()(mx.zeros((3, 3)), mode='x')", ValueError),
        ("init.sparse(1.5)", ValueError),
        ("init.sparse(0.5)(mx.zeros((3,)))", ValueError),
        ("init.orthogonal()(mx.zeros((3,)))", ValueError),
    ],
)
def test_sizes_and_settings_that_make_no_sense_are_refused(build, error):
    with pytest.raises(error):
        eval(f"nn.{build}")


def test_an_index_out_of_range_is_an_error():
    with pytest.raises(IndexError):
        mx.eval(nn.Embedding(3, 4)(mx.array([7])))


def test_initial_values_have_their_moments():
    mx.random.seed(0)
    a = mx.zeros((200, 100))
    for build, std in (
        (nn.init.normal(0, 0.5), 0.5),
        (nn.init.uniform(-1, 1), 1 / math.sqrt(3)),
        (nn.init.glorot_normal(), math.sqrt(2 / 300)),
        (nn.init.glorot_uniform(), math.sqrt(2 / 300)),
        (nn.init.he_normal(), math.sqrt(1 / 100)),
        (nn.init.he_uniform(), math.sqrt(1 / 100)),
    ):
        close(np.array(build(a)).std(), std, 0.02)
    zeros = (np.array(nn.init.sparse(0.3)(a)) == 0).sum(1)
    assert (zeros == 30).all()
    q = np.array(nn.init.orthogonal()(a))
    close(q.T @ q, np.eye(100), 1e-4)
