"""Every layer, loss and initialiser against the real MLX: names, values, outputs, gradients."""

import numpy as np
import pytest
from reference import assert_same_tree, needs_reference, reference_mlx

import mlxc.core as mx
import mlxc.nn as nn
from mlxc.utils import tree_flatten

pytestmark = needs_reference


def sample(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


X = sample(2, 5, 4)
IMAGE = sample(2, 6, 7, 4)
VOLUME = sample(2, 4, 5, 4, 4)
SEQUENCE = sample(2, 9, 4)

# (how to build the layer, NumPy inputs of a call)
LAYERS = [
    ("nn.Identity(3, a=1)", (X,)),
    ("nn.Linear(4, 3)", (X,)),
    ("nn.Linear(4, 3, bias=False)", (X,)),
    ("nn.Bilinear(4, 3, 2)", (sample(5, 4), sample(5, 3))),
    ("nn.Bilinear(4, 3, 2, bias=False)", (sample(2, 5, 4), sample(2, 5, 3))),
    ("nn.Conv1d(4, 6, 3)", (SEQUENCE,)),
    ("nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False)", (SEQUENCE,)),
    ("nn.Conv2d(4, 6, 3)", (IMAGE,)),
    ("nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=1, groups=2)", (IMAGE,)),
    ("nn.Conv3d(4, 6, 3, padding=1)", (VOLUME,)),
    ("nn.ConvTranspose1d(4, 6, 3, stride=2)", (SEQUENCE,)),
    ("nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, bias=False)", (IMAGE,)),
    ("nn.ConvTranspose3d(4, 6, 2, padding=1)", (VOLUME,)),
    ("nn.LayerNorm(4)", (X,)),
    ("nn.LayerNorm(4, bias=False)", (X,)),
    ("nn.LayerNorm(4, affine=False, eps=1e-2)", (X,)),
    ("nn.RMSNorm(4)", (X,)),
    ("nn.BatchNorm(4)", (X,)),
    ("nn.BatchNorm(4)", (IMAGE,)),
    ("nn.BatchNorm(4).eval()", (IMAGE,)),
    ("nn.BatchNorm(4, affine=False, track_running_stats=False)", (IMAGE,)),
    ("nn.BatchNorm(4, affine=False, track_running_stats=False).eval()", (IMAGE,)),
    ("nn.GroupNorm(2, 4)", (IMAGE,)),
    ("nn.GroupNorm(2, 4)", (X[:, 0],)),
    ("nn.GroupNorm(2, 4, affine=False, pytorch_compatible=True)", (IMAGE,)),
    ("nn.InstanceNorm(4)", (IMAGE,)),
    ("nn.InstanceNorm(4, affine=True)", (X,)),
    ("nn.RNN(4, 3)", (X,)),
    ("nn.RNN(4, 3, bias=False)", (X[0],)),
    ("nn.RNN(4, 3)", (X, sample(2, 3))),
    ("nn.GRU(4, 3)", (X,)),
    ("nn.GRU(4, 3, bias=False)", (X,)),
    ("nn.GRU(4, 3)", (X, sample(2, 3))),
    ("nn.LSTM(4, 3)", (X,)),
    ("nn.LSTM(4, 3, bias=False)", (X[0],)),
    ("nn.LSTM(4, 3)", (X, sample(2, 3), sample(2, 3))),
    ("nn.MultiHeadAttention(8, 2)", (sample(2, 5, 8), sample(2, 6, 8), sample(2, 6, 8))),
    (
        "nn.MultiHeadAttention(8, 2, 3, 4, 5, 6, 7, bias=True)",
        (sample(2, 5, 3), sample(2, 6, 4), sample(2, 6, 5)),
    ),
    ("nn.TransformerEncoderLayer(8, 2, 5)", (sample(2, 5, 8), None)),
    ("nn.TransformerEncoderLayer(8, 2, norm_first=False)", (sample(2, 5, 8), None)),
    ("nn.TransformerEncoder(2, 8, 2)", (sample(2, 5, 8), None)),
    (
        "nn.TransformerDecoderLayer(8, 2, norm_first=False)",
        (sample(2, 5, 8), sample(2, 3, 8), None, None),
    ),
    ("nn.TransformerDecoder(2, 8, 2)", (sample(2, 5, 8), sample(2, 3, 8), None, None)),
    ("nn.Transformer(8, 2, 1, 1)", (sample(2, 5, 8), sample(2, 3, 8), None, None, None)),
    (
        "nn.Transformer(8, 2, 1, 1, checkpoint=True)",
        (sample(2, 5, 8), sample(2, 3, 8), None, None, None),
    ),
    ("nn.RoPE(4)", (sample(1, 2, 5, 4),)),
    ("nn.RoPE(4, traditional=True, scale=2.0, base=100)", (sample(1, 2, 5, 6),)),
    ("nn.SinusoidalPositionalEncoding(6)", (np.arange(5, dtype=np.float32),)),
    (
        "nn.SinusoidalPositionalEncoding(8, 1e-3, 2, scale=2, cos_first=True, full_turns=True)",
        (np.arange(5, dtype=np.float32),),
    ),
    ("nn.ALiBi()", (sample(1, 6, 3, 5),)),
    ("nn.MaxPool1d(2)", (SEQUENCE,)),
    ("nn.MaxPool1d(3, stride=2, padding=1)", (SEQUENCE,)),
    ("nn.MaxPool2d(2)", (IMAGE,)),
    ("nn.MaxPool2d((3, 2), (1, 2), padding=1)", (IMAGE,)),
    ("nn.MaxPool2d(2, padding=2)", (IMAGE,)),
    ("nn.MaxPool3d(2)", (VOLUME,)),
    ("nn.MaxPool3d(3, 1, (1, 0, 1))", (VOLUME,)),
    ("nn.AvgPool1d(3, 1)", (SEQUENCE,)),
    ("nn.AvgPool2d(2)", (IMAGE,)),
    ("nn.AvgPool2d(3, 2, 1)", (IMAGE,)),
    ("nn.AvgPool3d(2, 1)", (VOLUME,)),
    ("nn.Sequential(nn.Linear(4, 3), nn.relu, nn.Tanh())", (X,)),
    ("nn.QuantizedLinear(64, 4)", (sample(3, 64),)),
    ("nn.QuantizedLinear(64, 4, bias=False, bits=8, group_size=32)", (sample(3, 64),)),
    ("nn.Linear(64, 4).to_quantized(mode='mxfp4')", (sample(3, 64),)),
    ("nn.AllToShardedLinear(4, 6)", (X,)),
    ("nn.ShardedToAllLinear(4, 6)", (X,)),
    ("nn.ShardedToAllLinear.from_linear(nn.Linear(4, 6), segments=2)", (X,)),
    ("nn.QuantizedAllToShardedLinear(64, 6)", (sample(3, 64),)),
    ("nn.QuantizedShardedToAllLinear(64, 6, bias=False)", (sample(3, 64),)),
    ("nn.FullyShardedModule(nn.Linear(4, 6))", (X,)),
    ("nn.fully_shard(nn.Linear(4, 6))", (X,)),
    ("nn.PReLU(4, 0.1)", (X,)),
]
LAYERS += [
    (f"nn.Upsample({s}, mode='{mode}'{rest})", (SEQUENCE,))
    for s in (2, 3, 1.5, 2.7, 0.5, 0.6, 0.37, 1.0, 4 / 3)
    for mode in ("nearest", "linear", "cubic")
    for rest in ("", ", align_corners=True", ", antialias=True")
    if not (mode == "nearest" and rest)
]
LAYERS += [
    ("nn.Upsample((2, 1.5), mode='cubic')", (IMAGE,)),
    ("nn.Upsample((2, 0.5), mode='linear', antialias=True)", (IMAGE,)),
    ("nn.Upsample(2)", (VOLUME,)),
]
LAYERS += [
    (f"nn.{name}", (X,))
    for name in (
        "CELU(2.0) ELU() GELU() GELU('fast') GELU('precise') GELU('tanh') GLU() HardShrink() "
        "HardTanh() Hardswish() LeakyReLU() LogSigmoid() LogSoftmax() Mish() PReLU() ReLU() "
        "ReLU2() ReLU6() SELU() SiLU() Sigmoid() Softmax() Softmin() Softplus() Softshrink() "
        "Softsign() Step() Tanh()"
    ).split()
]


def run_layer(framework, namespace, build, inputs):
    """Everything observable of a layer: text, parameters, output, gradients, parameters after."""
    framework.random.seed(7)
    layer = eval(build, {"nn": namespace})
    text = repr(layer).split(" at 0x")[0]
    parameters = layer.parameters()
    arrays = [None if x is None else framework.array(x) for x in inputs]

    def loss(*args):
        result = layer(*args)
        parts = result if isinstance(result, tuple) else (result,)
        return sum((p.astype(framework.float32) ** 2).sum() for p in parts)

    output = layer(*arrays)
    gradients = {}
    if layer.trainable_parameters():
        _, gradients = namespace.value_and_grad(layer, loss)(*arrays)
    trainable = [name for name, _ in tree_flatten(layer.trainable_parameters())]
    return text, trainable, parameters, output, gradients, layer.parameters()


@pytest.mark.parametrize(("build", "inputs"), LAYERS, ids=[build for build, _ in LAYERS])
def test_a_layer_is_that_of_mlx(build, inputs):
    core, reference, _, _ = reference_mlx()
    ours = run_layer(mx, nn, build, inputs)
    theirs = run_layer(core, reference, build, inputs)
    if "RNN" not in build:  # Its text holds the address of a function.
        assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    for a, b in zip(ours[2:], theirs[2:], strict=True):
        assert_same_tree(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["Embedding(7, 64)", "QuantizedEmbedding(7, 64)"])
def test_an_embedding_is_that_of_mlx(name):
    core, reference, _, _ = reference_mlx()
    results = []
    for framework, namespace in ((mx, nn), (core, reference)):
        framework.random.seed(3)
        layer = eval(f"nn.{name}", {"nn": namespace})
        ids = framework.array([[1, 2], [6, 0]])
        linear = layer.as_linear(framework.array(sample(3, 64)))
        results.append((repr(layer), [layer.parameters(), layer(ids), linear]))
    assert results[0][0] == results[1][0]
    assert_same_tree(results[0][1], results[1][1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("Dropout(0.4)", (3, 5)),
        ("Dropout2d(0.4)", (2, 3, 3, 8)),
        ("Dropout2d(0.4)", (3, 3, 8)),
        ("Dropout3d(0.4)", (2, 3, 3, 3, 8)),
        ("Dropout3d(0.4)", (3, 3, 3, 8)),
    ],
)
def test_dropout_draws_what_mlx_draws(layer, shape):
    core, reference, _, _ = reference_mlx()
    results = []
    for framework, namespace in ((mx, nn), (core, reference)):
        framework.random.seed(5)
        results.append(eval(f"nn.{layer}", {"nn": namespace})(framework.ones(shape)))
    assert_same_tree(*results)


INITIALISERS = [
    ("constant(3)", (3, 5), {}),
    ("normal(1.0, 2.0)", (3, 5), {}),
    ("uniform(-1, 2)", (3, 5), {}),
    ("identity()", (4, 4), {}),
    ("glorot_normal()", (3, 2, 5), {"gain": 2.0}),
    ("glorot_uniform()", (3, 2, 5), {}),
    ("he_normal()", (3, 2, 5), {"mode": "fan_out", "gain": 2.0}),
    ("he_uniform()", (3, 2, 5), {}),
    ("sparse(0.4)", (3, 5), {}),
    ("sparse(0.3, 1.0, 2.0)", (5, 3), {}),
    ("orthogonal()", (3, 5), {}),
    ("orthogonal(2.0)", (5, 3), {}),
]


@pytest.mark.parametrize(("build", "shape", "options"), INITIALISERS)
def test_an_initialiser_draws_what_mlx_draws(build, shape, options):
    core, reference, _, _ = reference_mlx()
    results = []
    for framework, namespace in ((mx, nn), (core, reference)):
        framework.random.seed(11)
        initialiser = eval(f"init.{build}", {"init": namespace.init})
        results.append(initialiser(framework.zeros(shape), **options))
    assert_same_tree(*results, rtol=1e-4, atol=1e-5)


A, B = sample(3, 4), sample(3, 4, seed=1)
CLASSES = np.array([0, 3, 1])
PROBABILITIES = np.abs(sample(3, 4, seed=2)) / 8
SIGNS = np.sign(B).astype(np.float32)
LOSSES = [
    ("cross_entropy", (A, CLASSES), {}),
    ("cross_entropy", (A, CLASSES), {"label_smoothing": 0.1, "reduction": "mean"}),
    ("cross_entropy", (A, PROBABILITIES), {}),
    ("cross_entropy", (A, PROBABILITIES), {"label_smoothing": 0.2, "reduction": "sum"}),
    ("cross_entropy", (A.T.copy(), CLASSES), {"axis": 0}),
    ("binary_cross_entropy", (A, PROBABILITIES), {}),
    ("binary_cross_entropy", (PROBABILITIES, np.abs(SIGNS)), {"with_logits": False}),
    ("l1_loss", (A, B), {}),
    ("mse_loss", (A, B), {"reduction": "none"}),
    ("nll_loss", (A, CLASSES), {}),
    ("gaussian_nll_loss", (A, B, PROBABILITIES), {"full": True}),
    ("kl_div_loss", (A, B), {"reduction": "mean"}),
    ("smooth_l1_loss", (A, B), {"beta": 0.7, "reduction": "none"}),
    ("triplet_loss", (A, B, PROBABILITIES), {}),
    ("triplet_loss", (A, B, PROBABILITIES), {"p": 3, "margin": 2.0}),
    ("hinge_loss", (A, SIGNS), {}),
    ("huber_loss", (A, B), {"delta": 0.5}),
    ("log_cosh_loss", (A, B), {}),
    ("cosine_similarity_loss", (A, B), {}),
    ("margin_ranking_loss", (A, B, SIGNS), {"margin": 0.5}),
]


@pytest.mark.parametrize(("name", "inputs", "options"), LOSSES)
def test_a_loss_and_its_gradient_are_those_of_mlx(name, inputs, options):
    core, reference, _, _ = reference_mlx()
    results = []
    for framework, namespace in ((mx, nn), (core, reference)):
        loss = getattr(namespace.losses, name)
        arrays = [framework.array(x) for x in inputs]

        def total(*args, loss=loss):
            return loss(*args, **options).sum()

        results.append([loss(*arrays, **options), framework.grad(total)(*arrays)])
    assert_same_tree(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["quantize", "quantize-with-predicate"])
def test_quantize_replaces_the_layers_that_mlx_replaces(name):
    _, reference, _, _ = reference_mlx()

    def predicate(path, layer):
        return {"bits": 8} if path == "layers.3" else hasattr(layer, "to_quantized")

    texts = []
    for namespace in (nn, reference):
        model = namespace.Sequential(
            namespace.Linear(64, 64),
            namespace.Embedding(4, 64),
            namespace.ReLU(),
            namespace.Linear(64, 64, bias=False),
        )
        namespace.quantize(model, class_predicate=predicate if "-" in name else None)
        texts.append(repr(model))
    assert texts[0] == texts[1]


def test_alibi_biases_are_those_of_mlx():
    core, reference, _, _ = reference_mlx()
    for heads in (1, 2, 3, 6, 8, 12):
        ours = nn.ALiBi.create_alibi_matrix(4, 5, heads, offset=1)
        assert_same_tree(ours, reference.ALiBi.create_alibi_matrix(4, 5, heads, offset=1))
    scores, mask = sample(1, 4, 3, 5), sample(3, 5)
    ours = nn.ALiBi()(mx.array(scores), offset=2, mask=mx.array(mask))
    assert_same_tree(ours, reference.ALiBi()(core.array(scores), offset=2, mask=core.array(mask)))


def test_a_causal_mask_is_that_of_mlx():
    _, reference, _, _ = reference_mlx()
    ours = nn.MultiHeadAttention.create_additive_causal_mask(4)
    assert_same_tree(ours, reference.MultiHeadAttention.create_additive_causal_mask(4))


def test_every_name_of_mlx_nn_is_here():
    _, reference, _, _ = reference_mlx()
    for ours, theirs in ((nn, reference), (nn.init, reference.init), (nn.losses, reference.losses)):
        public = {
            name
            for name, value in vars(theirs).items()
            if getattr(value, "__module__", "").startswith("mlx.nn") and name[0] != "_"
        }
        assert public <= set(dir(ours))
