"""`Module`: what it holds, walks, freezes, replaces, saves; and the transforms of models."""

import copy
import pickle

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.nn as nn
from mlxc.utils import tree_flatten


class Mixed(nn.Module):
    """A module that holds one of everything."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.l = [nn.Linear(2, 3), mx.zeros((2,)), 3]
        self.d = {"x": nn.ReLU(), "y": mx.ones((1,)), "z": "text"}
        self._private = mx.ones((3,))
        self.nest = [[nn.Linear(1, 2)], {"q": nn.Linear(1, 1)}]
        self.number = 4

    def __call__(self, x):
        return self.a(x)


def names(tree):
    return [name for name, _ in tree_flatten(tree)]


def snapshot(module):
    return {name: np.array(value) for name, value in tree_flatten(module.parameters())}


def assert_unchanged(module, before):
    after = snapshot(module)
    assert after.keys() == before.keys()
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


def test_arrays_and_containers_live_in_the_dict_and_others_do_not():
    m = Mixed()
    assert list(m) == ["a", "l", "d", "_private", "nest"]
    assert m.number == 4 and "number" not in m
    m.number = mx.ones((1,))
    assert "number" in m and "number" not in vars(m)
    m.number = None
    assert "number" not in m and m.number is None
    del m.d
    for missing in ("d", "zzz"):
        with pytest.raises(AttributeError, match=f"no attribute '{missing}'"):
            getattr(m, missing)


def test_parameters_are_public_arrays_at_any_depth():
    assert names(Mixed().parameters()) == [
        *("a.weight", "a.bias", "l.0.weight", "l.0.bias", "l.1", "d.y"),
        *("nest.0.0.weight", "nest.0.0.bias", "nest.1.q.weight", "nest.1.q.bias"),
    ]


def test_printing_shows_the_tree_of_modules():
    assert repr(Mixed()) == (
        "Mixed(\n"
        "  (a): Linear(input_dims=2, output_dims=2, bias=True)\n"
        "  (l.0): Linear(input_dims=2, output_dims=3, bias=True)\n"
        "  (d.x): ReLU()\n"
        "  (nest.0.0): Linear(input_dims=1, output_dims=2, bias=True)\n"
        "  (nest.1.q): Linear(input_dims=1, output_dims=1, bias=True)\n"
        ")"
    )


def test_modules_are_walked_with_their_names():
    m = Mixed()
    expected = ["", "nest.1.q", "nest.0.0", "d.x", "l.0", "a"]
    assert [name for name, _ in m.named_modules()] == expected
    assert len(m.modules()) == 6
    leaves = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh()).leaf_modules()
    assert isinstance(leaves["layers"][0]["layers"][0], nn.ReLU)


def test_freezing_marks_parameters():
    m = Mixed()
    assert m.freeze() is m
    assert names(m.trainable_parameters()) == []
    m.unfreeze(keys="bias")
    assert set(names(m.trainable_parameters())) == {
        *("a.bias", "l.0.bias", "nest.0.0.bias", "nest.1.q.bias")
    }
    m.unfreeze(recurse=False)
    assert {"l.1", "d.y"} <= set(names(m.trainable_parameters()))
    with pytest.raises(KeyError, match="zzz"):
        m.freeze(keys="zzz", strict=True)
    assert m.freeze(keys=["bias"], strict=True) is m


def test_running_statistics_are_never_trained():
    model = nn.Sequential(nn.BatchNorm(2), nn.Linear(2, 2))
    assert model.freeze().unfreeze() is model
    assert "layers.0.running_mean" not in names(model.trainable_parameters())
    assert "layers.0.weight" in names(model.trainable_parameters())


def test_training_mode_reaches_every_module():
    m = Mixed()
    assert m.eval() is m and not m.nest[0][0].training
    assert m.train() is m and m.nest[1]["q"].training
    with pytest.raises(AttributeError):
        m.training = False


def test_update_replaces_some_parameters():
    m = Mixed()
    m.update({"a": {"bias": mx.full((2,), 5.0)}, "l": [{}, mx.full((2,), 6.0)]})
    assert m.a.bias.tolist() == [5.0, 5.0] and m.l[1].tolist() == [6.0, 6.0]
    assert len(m.l) == 3


def test_what_a_walk_returns_can_be_put_back():
    m = Mixed()
    m.freeze(recurse=False)
    before = snapshot(m)
    m.update(m.parameters()).update(m.trainable_parameters()).update_modules(m.children())
    assert_unchanged(m, before)


@pytest.mark.parametrize(
    "bad",
    [
        {"foo": mx.ones((1,))},
        {"a": {"weight": 3}},
        {"a": {"weight": None}},
        {"a": mx.ones((1,))},
        {"a": [mx.ones((1,))]},
        {"l": [{}, {}, {}, {"weight": mx.ones((1,))}]},
        {"l": {"0": {}}},
        {"d": {"foo": mx.ones((1,))}},
        {"d": {"z": mx.ones((1,))}},
        {"number": mx.ones((1,))},
        {"nest": [[{"weight": mx.ones((1,))}], {"q": {"foo": mx.ones((1,))}}]},
        [mx.ones((1,))],
    ],
)
def test_an_update_that_does_not_fit_changes_nothing(bad):
    m = Mixed()
    before = snapshot(m)
    if isinstance(bad, dict):
        bad = {"a": {"bias": mx.full((2,), 9.0)}, **bad} if "a" not in bad else bad
    with pytest.raises(ValueError):
        m.update(bad)
    assert_unchanged(m, before)


def test_a_lenient_update_skips_unknown_names():
    m = Mixed().update({"foo": mx.ones((1,)), "a": {"bias": mx.ones((2,))}}, strict=False)
    assert m.a.bias.tolist() == [1.0, 1.0] and "foo" not in m


def test_update_modules_swaps_layers():
    m = Mixed()
    m.update_modules({"a": nn.Tanh(), "l": [nn.Sigmoid()], "nest": [[], {"q": nn.ReLU()}]})
    kinds = [type(x).__name__ for x in (m.a, m.l[0], m.nest[0][0], m.nest[1]["q"])]
    assert kinds == ["Tanh", "Sigmoid", "Linear", "ReLU"]


@pytest.mark.parametrize(
    "bad",
    [
        {"foo": nn.ReLU()},
        {"a": mx.ones((1,))},
        {"l": [nn.ReLU()] * 5},
        {"d": {"foo": nn.ReLU()}},
        {"d": {"y": nn.ReLU()}},
        [nn.ReLU()],
    ],
)
def test_update_modules_that_does_not_fit_changes_nothing(bad):
    m = Mixed()
    with pytest.raises(ValueError):
        m.update_modules({"nest": [[nn.ReLU()]], **bad} if isinstance(bad, dict) else bad)
    assert isinstance(m.nest[0][0], nn.Linear) and isinstance(m.l[0], nn.Linear)


def test_apply_and_set_dtype_map_parameters():
    m = nn.Linear(2, 2)
    m.steps = mx.array([1, 2])
    m.set_dtype(mx.float16)
    assert m.weight.dtype == mx.float16 and m.steps.dtype == mx.int32
    m.apply(lambda x: x * 0)
    assert m.weight.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    with pytest.raises(ValueError, match="int"):
        m.apply(lambda x: 3)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_weights_are_saved_and_loaded(tmp_path, ending):
    model, other = Mixed(), Mixed()
    model.save_weights(tmp_path / f"w.{ending}")
    other.load_weights(tmp_path / f"w.{ending}")
    assert_unchanged(other, snapshot(model))
    with pytest.raises(ValueError, match="extension"):
        model.save_weights(tmp_path / "w.txt")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([("weight", mx.ones((2, 2)))], "Missing 1 parameters: \nbias"),
        ([("weight", mx.ones((2, 2))), ("bias", mx.ones((2,))), ("x", mx.ones((1,)))], "not in"),
        ([("weight", mx.ones((2, 3))), ("bias", mx.ones((2,)))], r"Expected shape \(2, 2\)"),
        ([("weight", np.ones((2, 2))), ("bias", mx.ones((2,)))], "Expected mx.array"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(weights, message):
    layer = nn.Linear(2, 2)
    before = snapshot(layer)
    with pytest.raises(ValueError, match=message):
        layer.load_weights(weights)
    assert_unchanged(layer, before)


def test_lenient_loading_takes_what_fits():
    layer = nn.Linear(2, 2).load_weights({"bias": mx.ones((2,)), "x": mx.ones((1,))}, strict=False)
    assert layer.bias.tolist() == [1.0, 1.0]


def test_modules_are_copied_and_pickled():
    m = nn.Linear(2, 2).freeze(keys="bias")
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert_unchanged(other, snapshot(m))
        assert names(other.trainable_parameters()) == ["weight"]


def test_the_state_is_the_module():
    m = nn.Linear(2, 2)
    assert m.state is m


# Transforms of models -------------------------------------------------------------------------


def test_gradients_are_of_the_trainable_parameters():
    model = nn.Linear(3, 1)
    model.freeze(keys="bias")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    value, gradients = nn.value_and_grad(model, lambda x, scale=1: (model(x) * scale).sum())(
        mx.array(x), scale=2
    )
    assert names(gradients) == ["weight"]
    np.testing.assert_allclose(np.array(gradients["weight"]), 2 * x.sum(0, keepdims=True))
    expected = 2 * (x @ np.array(model.weight).T + np.array(model.bias)).sum()
    np.testing.assert_allclose(value.item(), expected, rtol=1e-5)


def test_a_model_has_its_own_arrays_back_after_a_transform():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2))
    weight, mean = model.layers[0].weight, model.layers[1].running_mean
    nn.value_and_grad(model, lambda x: model(x).sum())(mx.ones((3, 2)))
    assert model.layers[0].weight is weight
    assert model.layers[1].running_mean is not mean

    def fail(x):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        nn.value_and_grad(model, fail)(mx.ones((3, 2)))
    assert model.layers[0].weight is weight


def test_auxiliary_values_are_passed_on():
    model = nn.Linear(2, 1)
    (loss, extra), _ = nn.value_and_grad(model, lambda x: (model(x).sum(), model(x)))(
        mx.ones((3, 2))
    )
    assert loss.shape == () and extra.shape == (3, 1)


def test_checkpointed_layers_have_the_same_gradients():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = mx.array(np.linspace(-1, 1, 6).reshape(2, 3).astype(np.float32))
    weight = model.layers[0].weight

    def loss(x, call):
        return mx.square(call(x)).sum()

    plain, expected = nn.value_and_grad(model, loss)(x, model)
    value, gradients = nn.value_and_grad(model, loss)(x, nn.utils.checkpoint(model))
    assert model.layers[0].weight is weight
    np.testing.assert_allclose(value.item(), plain.item(), rtol=1e-6)
    for (name, a), (_, b) in zip(tree_flatten(gradients), tree_flatten(expected), strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-5, err_msg=name)
    with pytest.raises(TypeError, match="checkpoint"):
        nn.utils.checkpoint(nn.Module(), 3)


# Groups of processes: a stand-in for the group tells what would be sent -------------------------


class Group:
    """Two processes, of which this is the second."""

    def size(self):
        return 2

    def rank(self):
        return 1


@pytest.mark.parametrize("limit", [0, 20, 1 << 20])
def test_gradients_are_averaged_in_groups_of_one_dtype(monkeypatch, limit):
    sent = []

    def all_sum(x, group=None, stream=None):
        sent.append(x.dtype)
        return x * 3

    monkeypatch.setattr(mx.distributed, "all_sum", all_sum)
    gradients = {
        "a": mx.array([[1.0, 2.0]]),
        "b": [mx.array([4.0]), mx.array([6.0], dtype=mx.float16), mx.array([8.0])],
    }
    averaged = nn.average_gradients(gradients, Group(), all_reduce_size=limit)
    assert averaged["a"].tolist() == [[1.5, 3.0]]
    assert [x.tolist() for x in averaged["b"]] == [[6.0], [9.0], [12.0]]
    assert averaged["b"][1].dtype == mx.float16
    assert len(sent) == {0: 4, 20: 3, 1 << 20: 3}[limit]


def test_a_sharded_norm_is_summed_over_the_group(monkeypatch):
    monkeypatch.setattr(mx.distributed, "all_sum", lambda x, group=None: x * 4)
    clipped, norm = nn.utils.clip_grad_norm_sharded({"w": mx.array([3.0, 4.0])}, 1.0, Group())
    assert norm.item() == 10.0
    np.testing.assert_allclose(np.array(clipped["w"]), [0.3, 0.4], rtol=1e-5)


def test_sharded_layers_keep_their_part():
    linear = nn.Linear(4, 6)
    weight, bias = np.array(linear.weight), np.array(linear.bias)
    part = nn.AllToShardedLinear.from_linear(linear, group=Group())
    np.testing.assert_array_equal(np.array(part.weight), weight[3:])
    np.testing.assert_array_equal(np.array(part.bias), bias[3:])
    assert repr(part) == "AllToShardedLinear(input_dims=4, output_dims=6, bias=True)"
    fused = nn.AllToShardedLinear.from_linear(nn.Linear(4, 12), segments=3, group=Group())
    assert fused.weight.shape == (6, 4)
    part = nn.ShardedToAllLinear.from_linear(linear, group=Group())
    np.testing.assert_array_equal(np.array(part.weight), weight[:, 2:])
    np.testing.assert_array_equal(np.array(part.bias), bias)
    with pytest.raises(ValueError, match="divisible"):
        nn.AllToShardedLinear(4, 5, group=Group())
    quantized = nn.QuantizedLinear(64, 6)
    part = nn.QuantizedAllToShardedLinear.from_quantized_linear(quantized, group=Group())
    np.testing.assert_array_equal(np.array(part.weight), np.array(quantized.weight)[3:])
    assert names(part.unfreeze().trainable_parameters()) == []


def test_unknown_shardings_are_refused():
    shard = nn.layers.distributed
    for call in (shard.shard_linear, shard.shard_inplace):
        with pytest.raises(ValueError, match="not supported"):
            call(nn.Linear(4, 6), "sideways")
    layer = nn.Linear(4, 6)
    shard.shard_inplace(layer, lambda path, x: 0 if path == "weight" else None, group=Group())
    assert layer.weight.shape == (3, 4) and layer.bias.shape == (6,)


def test_a_fully_sharded_module_gathers_and_scatters(monkeypatch):
    sent = {}

    def all_gather(x, group=None):
        sent["gathered"] = x
        return mx.concatenate([x, x])

    def sum_scatter(x, group=None):
        sent["scattered"] = x
        return x[x.size // 2 :] * 2

    monkeypatch.setattr(mx.distributed, "all_gather", all_gather)
    monkeypatch.setattr(mx.distributed, "sum_scatter", sum_scatter)
    whole = nn.Linear(3, 4)
    model = nn.fully_shard(whole, group=Group())
    assert isinstance(model, nn.FullyShardedModule)
    assert model.module.weight.shape == (2, 3) and model.module.bias.shape == (2,)
    x = mx.array(np.arange(6, dtype=np.float32).reshape(2, 3))
    weight = np.concatenate([np.array(model.module.weight)] * 2)
    bias = np.concatenate([np.array(model.module.bias)] * 2)
    expected = np.array(x) @ weight.T + bias
    np.testing.assert_allclose(np.array(model(x)), expected, rtol=1e-5, atol=1e-6)
    _, gradients = nn.value_and_grad(model, lambda x: model(x).sum())(x)
    np.testing.assert_allclose(
        np.array(gradients["module"]["weight"]), np.tile(np.array(x).sum(0), (2, 1)), rtol=1e-6
    )
    assert gradients["module"]["bias"].tolist() == [2.0, 2.0]
    assert model.module.weight.shape == (2, 3)
