"""Trees, and checkpoints: properties over random trees, files that do not fit, resumed training."""

import os
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import needs_reference, reference_mlx

import mlxc.core as mx
import mlxc.nn as nn
import mlxc.optimizers as optim
from mlxc.utils import (
    load_checkpoint,
    save_checkpoint,
    tree_flatten,
    tree_map,
    tree_map_with_path,
    tree_merge,
    tree_reduce,
    tree_unflatten,
)

LEAVES = st.integers() | st.text(max_size=3)
NAMES = st.sampled_from(["a", "b", "weight", "x1"])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
# Empty containers are not in a flat tree.
FULL_TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    ),
)
Pair = namedtuple("Pair", "left right")


@given(FULL_TREES)
def test_unflatten_is_the_inverse_of_flatten(tree):
    assert tree_unflatten(tree_flatten(tree)) == tree
    assert tree_unflatten(tree_flatten(tree, destination={})) == tree


@given(TREES)
def test_mapping_the_identity_changes_nothing(tree):
    assert tree_map(lambda leaf: leaf, tree) == tree
    assert tree_map(lambda a, b: (a, b)[1], tree, tree) == tree


@given(TREES)
def test_paths_of_map_and_flatten_agree(tree):
    found = []
    tree_map_with_path(lambda path, leaf: found.append((path or "", leaf)), tree)
    assert found == tree_flatten(tree)


@given(TREES)
def test_reduce_visits_every_leaf(tree):
    assert tree_reduce(lambda count, leaf: count + 1, tree, 0) == len(tree_flatten(tree))


@given(FULL_TREES)
def test_merging_with_nothing_changes_nothing(tree):
    assert tree_merge(tree, None) == tree
    assert tree_merge(None, tree) == tree


@needs_reference
@given(TREES, TREES)
def test_trees_are_treated_as_mlx_treats_them(a, b):
    _, _, _, reference = reference_mlx()
    assert tree_flatten(a, prefix=".p") == reference.tree_flatten(a, prefix=".p")
    assert tree_unflatten(tree_flatten(a)) == reference.tree_unflatten(tree_flatten(a))
    assert tree_reduce(lambda x, y: f"{x}{y}", a) == reference.tree_reduce(
        lambda x, y: f"{x}{y}", a
    )
    try:
        expected = reference.tree_merge(a, b, lambda x, y: (x, y))
    except (ValueError, TypeError):
        return
    if not any(c in str((a, b)) for c in ("[]", "{}")):
        assert tree_merge(a, b, lambda x, y: (x, y)) == expected


def test_tuples_and_named_tuples_keep_their_type():
    assert tree_map(lambda x: x + 1, (1, [2])) == (2, [3])
    mapped = tree_map(lambda x: x + 1, Pair(1, [2]))
    assert isinstance(mapped, Pair) and mapped == Pair(2, [3])
    mapped = tree_map_with_path(lambda path, x: path, Pair(1, [2]))
    assert mapped == Pair("0", ["1.0"])


def test_a_predicate_says_what_is_a_leaf():
    tree = {"a": [1, 2], "b": 3}

    def is_list(node):
        return isinstance(node, list)

    assert tree_flatten(tree, is_leaf=is_list) == [("a", [1, 2]), ("b", 3)]
    assert tree_map(str, tree, is_leaf=is_list) == {"a": "[1, 2]", "b": "3"}
    assert tree_reduce(lambda n, leaf: n + 1, tree, 0, is_list) == 2


def test_flatten_appends_to_a_destination():
    assert tree_flatten({"a": 1}, destination=[7]) == [7, ("a", 1)]
    assert tree_flatten({"a": 1}, ".p", destination={"z": 0}) == {"z": 0, "p.a": 1}
    with pytest.raises(ValueError, match="destination"):
        tree_flatten({"a": 1}, destination=())


def test_a_companion_without_an_entry_is_an_error():
    with pytest.raises(KeyError, match="'a'"):
        tree_map(lambda x, y: x, {"a": 1}, {})
    with pytest.raises(IndexError, match="1"):
        tree_map(lambda x, y: x, [1, 2], [1])


@pytest.mark.parametrize(
    ("flat", "tree"),
    [
        ([], []),
        ([("", 3)], 3),
        ([("1", 1), ("0", 2)], [2, 1]),
        ([("0", 1), ("3", 2)], [1, {}, {}, 2]),
        ([("10", 1), ("9", 2)], [{}] * 9 + [2, 1]),
        ([("0", 1), ("a", 2)], {"0": 1, "a": 2}),
        ([("a.0", 1), ("a.x", 3)], {"a": {"0": 1, "x": 3}}),
    ],
)
def test_unflatten_makes_lists_of_numbers_and_dicts_of_names(flat, tree):
    assert tree_unflatten(flat) == tree


def test_unflatten_refuses_what_is_no_tree():
    with pytest.raises(ValueError, match="twice"):
        tree_unflatten([("a", 1), ("a", 2)])
    with pytest.raises(ValueError, match="holes"):
        tree_unflatten([("999999999999", 1)])


def test_merge_joins_disjoint_trees_and_refuses_overlap():
    assert tree_merge({"a": [1, None]}, {"a": [None, 2], "b": 3}) == {"a": [1, 2], "b": 3}
    assert tree_merge({"a": {}}, {"a": 3}) == {"a": 3}
    assert tree_merge([1], [None, 2, 3]) == [1, 2, 3]
    assert tree_merge({"a": 1}, {"a": 2}, lambda x, y: x + y) == {"a": 3}
    for a, b in [({"a": 1}, {"a": 2}), ({}, []), ({"a": [1]}, {"a": {"b": 1}})]:
        with pytest.raises(ValueError):
            tree_merge(a, b)


# Checkpoints ----------------------------------------------------------------------------------


class Net(nn.Module):
    """A small model with dropout, statistics and frozen parameters."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 8), nn.BatchNorm(8), nn.Dropout(0.5)]
        self.head = nn.Linear(8, 1)
        self.head.freeze(keys="bias")

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def start(seed):
    mx.random.seed(seed)
    rates = optim.cosine_decay(1e-2, 20)
    both = [optim.AdamW(rates), optim.SGD(rates, momentum=0.9)]
    return Net(), optim.MultiOptimizer(both, [lambda path, array: array.ndim > 1])


def train(model, optimizer, steps):
    loss_and_grad = nn.value_and_grad(model, lambda x: mx.mean(mx.square(model(x) - 1)))
    losses = []
    for _ in range(steps):
        loss, gradients = loss_and_grad(mx.random.normal((16, 4)))
        optimizer.update(model, gradients)
        mx.eval(model.state, optimizer.state)
        losses.append(loss.item())
    return losses


def test_resumed_training_gives_the_same_bits(tmp_path):
    path = tmp_path / "run.safetensors"
    model, optimizer = start(3)
    train(model, optimizer, 5)
    save_checkpoint(path, model, optimizer, step=5, best=0.25, name="run")
    expected = train(model, optimizer, 5)

    other, fresh = start(99)
    other.head.unfreeze()
    assert load_checkpoint(path, other, fresh) == {"step": 5, "best": 0.25, "name": "run"}
    assert train(other, fresh, 5) == expected
    for (name, a), (_, b) in zip(
        tree_flatten(model.parameters()), tree_flatten(other.parameters()), strict=True
    ):
        np.testing.assert_array_equal(np.array(a), np.array(b), err_msg=name)
    assert "bias" not in other.head.trainable_parameters()


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path):
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, nn.Linear(2, 3))
    for model, message in (
        (nn.Linear(2, 4), "shape"),
        (nn.Linear(2, 3, bias=False), "not in the model"),
        (nn.Sequential(nn.Linear(2, 3)), "missing"),
    ):
        before = [np.array(v) for _, v in tree_flatten(model.parameters())]
        with pytest.raises(ValueError, match=message):
            load_checkpoint(path, model)
        after = [np.array(v) for _, v in tree_flatten(model.parameters())]
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="no optimiser state"):
        load_checkpoint(path, nn.Linear(2, 3), optim.SGD(0.1))


def test_plain_weights_and_missing_files_are_told_apart(tmp_path):
    path = tmp_path / "weights.safetensors"
    nn.Linear(2, 3).save_weights(path)
    with pytest.raises(ValueError, match="load_weights"):
        load_checkpoint(path, nn.Linear(2, 3))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere", nn.Linear(2, 3))


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    model = nn.Linear(2, 3)
    save_checkpoint(path, model, step=1)

    def fail(source, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        save_checkpoint(path, model, step=2)
    monkeypatch.undo()
    assert load_checkpoint(path, model) == {"step": 1}
    assert os.listdir(tmp_path) == ["run.safetensors"]
    with pytest.raises(TypeError, match="JSON"):
        save_checkpoint(path, model, bad=object())
