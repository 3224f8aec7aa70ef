"""What MLX's documents show, as programs of our own, held to what the documents promise.

Rules: a program uses nothing but the public interface and is written as its reader would write it.
"""

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim
from mlxc.utils import tree_flatten, tree_map, tree_unflatten


class Network(nn.Module):
    """Three linear layers in a list, with a rectifier between them."""

    def __init__(self, inputs, outputs, hidden=128):
        super().__init__()
        sizes = [inputs, hidden, hidden, outputs]
        self.layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]

    def __call__(self, x):
        for position, layer in enumerate(self.layers):
            if position:
                x = mx.maximum(x, 0)
            x = layer(x)
        return x


@pytest.fixture
def network():
    return Network(2, 10)


# ---- modules ----


def test_parameters_of_a_list_of_layers_are_a_nested_tree(network):
    parameters = network.parameters()
    assert list(parameters) == ["layers"] and len(parameters["layers"]) == 3
    assert parameters["layers"][0]["weight"].shape == (128, 2)
    assert parameters["layers"][2]["bias"].shape == (10,)


def test_printing_a_parameter_initialises_it(network):
    text = str(network.parameters()["layers"][0])
    assert text.startswith("{'weight': array([[") and "float32" in text


def test_evaluating_the_parameters_initialises_the_model(network):
    mx.eval(network.parameters())
    bound = 2**-0.5
    assert abs(np.array(network.layers[0].weight)).max() <= bound


def test_a_printed_model_names_its_layers_and_their_sizes(network):
    assert str(network).splitlines() == [
        "Network(",
        "  (layers.0): Linear(input_dims=2, output_dims=128, bias=True)",
        "  (layers.1): Linear(input_dims=128, output_dims=128, bias=True)",
        "  (layers.2): Linear(input_dims=128, output_dims=10, bias=True)",
        ")",
    ]


def test_shapes_are_mapped_over_the_parameters(network):
    shapes = tree_map(lambda p: p.shape, network.parameters())
    assert shapes == {
        "layers": [
            {"weight": (128, 2), "bias": (128,)},
            {"weight": (128, 128), "bias": (128,)},
            {"weight": (10, 128), "bias": (10,)},
        ]
    }


def test_parameters_are_counted_over_the_flat_tree(network):
    count = sum(value.size for _, value in tree_flatten(network.parameters()))
    assert count == (2 * 128 + 128) + (128 * 128 + 128) + (128 * 10 + 10)


def test_a_flat_tree_is_unflattened_to_what_it_was(network):
    flat = tree_flatten(network.parameters())
    assert [name for name, _ in flat][:2] == ["layers.0.weight", "layers.0.bias"]
    again = tree_unflatten(flat)
    assert tree_map(lambda p: p.shape, again) == tree_map(lambda p: p.shape, network.parameters())


def test_update_replaces_the_parameters_that_it_is_given(network):
    network.update(tree_map(mx.zeros_like, network.parameters()))
    assert network(mx.ones((4, 2))).tolist() == [[0.0] * 10] * 4
    network.update({"layers": [{}, {}, {"bias": mx.ones((10,))}]})
    assert network(mx.ones((4, 2))).tolist() == [[1.0] * 10] * 4


def test_frozen_parameters_are_left_out_of_training(network):
    network.layers[0].freeze()
    names = [name for name, _ in tree_flatten(network.trainable_parameters())]
    assert "layers.0.weight" not in names and "layers.1.weight" in names
    loss_and_grad = nn.value_and_grad(network, lambda x: network(x).sum())
    _, gradients = loss_and_grad(mx.ones((1, 2)))
    assert [name for name, _ in tree_flatten(gradients)] == names


# ---- gradients ----


def test_gradients_of_a_loss_that_captures_the_model_are_those_of_its_parameters(network):
    def loss(x, y):
        return (network(x) - y).square().mean()

    x, y = mx.random.normal((8, 2)), mx.zeros((8, 10))
    value, gradients = nn.value_and_grad(network, loss)(x, y)
    assert value.shape == () and value.item() == pytest.approx(loss(x, y).item())
    assert tree_map(lambda g: g.shape, gradients) == tree_map(
        lambda p: p.shape, network.parameters()
    )


def test_the_functional_pattern_gives_the_same_gradients(network):
    x, y = mx.random.normal((8, 2)), mx.ones((8, 10))

    def loss(parameters):
        network.update(parameters)
        return nn.losses.mse_loss(network(x), y)

    before = network.trainable_parameters()
    value, gradients = mx.value_and_grad(loss)(before)
    network.update(before)
    expected_value, expected = nn.value_and_grad(
        network, lambda: nn.losses.mse_loss(network(x), y)
    )()
    assert value.item() == pytest.approx(expected_value.item())
    for (name, got), (same_name, wanted) in zip(tree_flatten(gradients), tree_flatten(expected)):
        assert name == same_name
        np.testing.assert_allclose(np.array(got), np.array(wanted), rtol=1e-5, atol=1e-7)


def test_transforms_compose():
    def cubed(x):
        return x * x * x

    assert mx.grad(cubed)(mx.array(2.0)).item() == 12
    assert mx.grad(mx.grad(cubed))(mx.array(2.0)).item() == 12
    assert mx.vmap(mx.grad(cubed))(mx.array([1.0, 2.0])).tolist() == [3, 12]
    outputs, tangents = mx.jvp(cubed, [mx.array(2.0)], [mx.array(1.0)])
    assert outputs[0].item() == 8 and tangents[0].item() == 12
    outputs, cotangents = mx.vjp(cubed, [mx.array(2.0)], [mx.array(2.0)])
    assert outputs[0].item() == 8 and cotangents[0].item() == 24
    value, gradient = mx.value_and_grad(cubed)(mx.array(3.0))
    assert (value.item(), gradient.item()) == (27, 27)


# ---- optimisers ----


def batches(size, x, y, rng):
    order = rng.permutation(len(y))
    for first in range(0, len(y), size):
        chosen = mx.array(order[first : first + size])
        yield x[chosen], y[chosen]


OPTIMISERS = {
    "SGD": dict(learning_rate=0.1, momentum=0.9),
    "RMSprop": dict(learning_rate=1e-2),
    "Adagrad": dict(learning_rate=5e-2),
    "Adafactor": dict(learning_rate=1e-2, relative_step=False, scale_parameter=False),
    "AdaDelta": dict(learning_rate=5.0),
    "Adam": dict(learning_rate=1e-2),
    "AdamW": dict(learning_rate=1e-2),
    "Adamax": dict(learning_rate=1e-2),
    "Lion": dict(learning_rate=2e-3),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_training_loop_learns_with_every_optimiser(name):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((256, 2)).astype(np.float32)
    x, y = mx.array(points), mx.array((points[:, 0] * points[:, 1] > 0).astype(np.int32))
    mx.random.seed(0)
    model = Network(2, 2, hidden=32)
    mx.eval(model.parameters())

    def loss_fn(model, x, y):
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    loss_and_grad_fn = nn.value_and_grad(model, loss_fn)
    optimizer = getattr(optim, name)(**OPTIMISERS[name])
    first = loss_fn(model, x, y).item()
    for _ in range(12):
        for inputs, targets in batches(64, x, y, rng):
            loss, gradients = loss_and_grad_fn(model, inputs, targets)
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state)
    assert optimizer.state["step"].item() == 48
    assert loss_fn(model, x, y).item() < 0.7 * first


def test_an_optimiser_works_on_plain_trees_of_arrays():
    parameters = {"w": mx.array([1.0, 2.0])}
    gradients = mx.grad(lambda p: (p["w"] * p["w"]).sum())(parameters)
    updated = optim.SGD(learning_rate=0.25).apply_gradients(gradients, parameters)
    assert updated["w"].tolist() == [0.5, 1.0] and parameters["w"].tolist() == [1, 2]


# ---- random numbers ----


def test_the_implicit_state_moves_on_with_every_call():
    assert len({mx.random.uniform().item() for _ in range(3)}) == 3
    mx.random.seed(7)
    first = mx.random.normal((3,)).tolist()
    mx.random.seed(7)
    assert mx.random.normal((3,)).tolist() == first


def test_an_explicit_key_gives_the_same_numbers_every_time():
    key = mx.random.key(0)
    assert len({mx.random.uniform(key=key).item() for _ in range(3)}) == 1
    one, two = mx.random.split(key)
    assert mx.random.uniform(key=one).item() != mx.random.uniform(key=two).item()


# ---- arrays ----


def test_default_types_are_float32_and_int32():
    assert mx.array(1.0).dtype == mx.float32 and mx.array(1).dtype == mx.int32
    assert mx.array(True).dtype == mx.bool_ and mx.zeros((2,)).dtype == mx.float32
    assert mx.array(np.ones(2)).dtype == mx.float32


@pytest.mark.parametrize(
    "name, size",
    [
        ("bool_", 1),
        ("uint8", 1),
        ("uint16", 2),
        ("uint32", 4),
        ("uint64", 8),
        ("int8", 1),
        ("int16", 2),
        ("int32", 4),
        ("int64", 8),
        ("float16", 2),
        ("bfloat16", 2),
        ("float32", 4),
        ("complex64", 8),
    ],
)
def test_data_types_have_the_stated_size(name, size):
    dtype = getattr(mx, name)
    assert dtype.size == size and mx.zeros((3,), dtype).nbytes == 3 * size


def test_arrays_are_lazy_until_somebody_looks():
    x = mx.array([1.0, 2.0])
    y = (x + 1) * 2
    mx.eval(y)
    assert y.tolist() == [4, 6] and y.sum().item() == 10
    assert str(y) == "array([4, 6], dtype=float32)"


def test_devices_and_streams_are_named():
    assert mx.default_device() == mx.Device(mx.cpu)
    with mx.stream(mx.cpu):
        assert mx.add(1, 2, stream=mx.cpu).item() == 3
    stream = mx.new_stream(mx.cpu)
    assert mx.add(1, 2, stream=stream).item() == 3
    mx.synchronize(stream)


def test_arrays_are_saved_and_loaded(tmp_path):
    x = {"a": mx.arange(3), "b": mx.ones((2, 2), mx.bfloat16)}
    mx.save_safetensors(str(tmp_path / "x.safetensors"), x)
    back = mx.load(str(tmp_path / "x.safetensors"))
    assert back["a"].tolist() == [0, 1, 2] and back["b"].dtype == mx.bfloat16
    mx.savez(str(tmp_path / "x.npz"), a=x["a"])
    assert mx.load(str(tmp_path / "x.npz"))["a"].tolist() == [0, 1, 2]
    mx.save(str(tmp_path / "x.npy"), x["a"])
    assert mx.load(str(tmp_path / "x.npy")).tolist() == [0, 1, 2]
