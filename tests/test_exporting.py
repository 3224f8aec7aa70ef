"""Functions in files and drawings of graphs."""

import io
import random
import re

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.nn as nn


@pytest.fixture
def path(tmp_path):
    return tmp_path / "function.mlxfn"


def same(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-5, atol=1e-6)


def several(x, y):
    """Rows of every kind: elementwise, reduction, movement, kernels of one and of several
    outputs."""
    u, s, vt = mx.linalg.svd(x)
    return {"a": mx.exp(x) + y * 2, "b": [x.sum(axis=0), mx.sort(x.T)], "c": s, "d": x @ x.T}


def leaves(tree):
    return [tree["a"], *tree["b"], tree["c"], tree["d"]]


def test_an_imported_function_gives_what_the_exported_one_gives(path):
    x, y = mx.random.normal((2, 3), key=mx.random.key(0)), mx.array([1.0, 2.0, 3.0])
    mx.export_function(path, several, x, y=y, metadata="a text")
    function, text = mx.import_function(path, return_metadata=True)
    assert text == "a text"
    same(function(x + 1, y=y), leaves(several(x + 1, y)))
    same(function((x,), {"y": y}), leaves(several(x, y)))


def test_weights_and_gradients_travel_along(path):
    net = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 1))
    x = mx.random.normal((4, 3), key=mx.random.key(1))
    mx.export_function(path, mx.grad(lambda x: net(x).sum()), x)
    same(mx.import_function(path)(x), [mx.grad(lambda x: net(x).sum())(x)])


def test_rules_of_custom_functions_stay_behind(path):
    mx.export_function(path, mx.checkpoint(lambda x: mx.sin(x) * 2), mx.array([1.0]))
    same(mx.import_function(path)(mx.array([0.5])), [mx.sin(mx.array([0.5])) * 2])


def test_several_traces_stand_in_one_file(path):
    with mx.exporter(path, lambda *xs: sum(xs)) as export:
        export(mx.array(1))
        export(mx.array(1), mx.array(2))
    with pytest.raises(RuntimeError, match="closed"):
        export(mx.array(1))
    function = mx.import_function(path)
    assert (
        function(mx.array(3))[0].item() == 3 and function(mx.array(3), mx.array(4))[0].item() == 7
    )
    with pytest.raises(ValueError, match="what was exported takes"):
        function(mx.array(1.5))


def test_sizes_may_differ_only_where_that_was_asked_for(path):
    x, y = mx.zeros((2, 3)), mx.zeros((3,))
    mx.export_function(path, lambda x, y: mx.exp(x + y) * 2, x, y, shapeless=True)
    same(mx.import_function(path)(mx.ones((4, 5)), mx.ones(5)), [mx.exp(mx.full((4, 5), 2.0)) * 2])
    mx.export_function(path, lambda x, y: mx.exp(x + y) * 2, x, y)
    with pytest.raises(ValueError, match="import_function"):
        mx.import_function(path)(mx.ones((4, 5)), mx.ones(5))


@pytest.mark.parametrize("dtype", ["bool_", "int8", "uint64", "bfloat16", "float64", "complex64"])
def test_constants_keep_their_bits(path, dtype):
    weights = mx.array([1, 0, 3], dtype=getattr(mx, dtype))
    mx.export_function(path, lambda x: weights, mx.array(1.0))
    (got,) = mx.import_function(path)(mx.array(1.0))
    assert got.dtype == weights.dtype and got.tolist() == weights.tolist()


def test_a_callback_is_told_the_graph():
    told = []
    mx.export_function(told.append, lambda x, y: x + y, mx.array(1.0), y=mx.array(2.0))
    kinds = [entry["type"] for entry in told]
    assert kinds == ["inputs", "keyword_inputs", "outputs", "constants", "primitive"]
    assert told[-1]["name"] == "add" and told[1]["keywords"][0][0] == "y"
    with pytest.raises(ValueError, match="metadata"):
        mx.export_function(told.append, mx.exp, mx.array(1.0), metadata="text")


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda path: mx.export_function(path, 3, mx.array(1)), TypeError),
        (lambda path: mx.export_function(path, mx.exp, "text"), ValueError),
        (lambda path: mx.export_function(path, lambda x: None, mx.array(1)), ValueError),
        (lambda path: mx.export_function(path, mx.exp, mx.array(1), metadata=3), TypeError),
        (lambda path: mx.exporter(path, mx.exp).close(), ValueError),
    ],
)
def test_what_cannot_be_exported_is_refused(path, call, error):
    with pytest.raises(error, match="export"):
        call(path)
    assert not path.exists()


def test_no_damaged_file_does_more_than_raise_a_value_error(path):
    mx.export_function(path, several, mx.ones((2, 3)), y=mx.ones(3))
    raw = path.read_bytes()
    length = int.from_bytes(raw[8:16], "little")
    head, rest = raw[16 : 16 + length], raw[16 + length :]
    numbers = [match.span() for match in re.finditer(rb"-?\d+", head)]
    rng = random.Random(0)
    damaged = [raw[:cut] for cut in rng.sample(range(len(raw)), 20)]
    for _ in range(200):
        first, last = rng.choice(numbers)
        number = str(rng.choice([-1, 0, 1, 2, 99, 1 << 40, 1 << 62, 1 << 70])).encode()
        changed = head[:first] + number + head[last:]
        damaged.append(raw[:8] + len(changed).to_bytes(8, "little") + changed + rest)
    for text in (b"[" * 100000, b"{}", b"null", head.replace(b'"exp"', b'"attach"')):
        damaged.append(raw[:8] + len(text).to_bytes(8, "little") + text + rest)
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            mx.eval(mx.import_function(path)(mx.ones((2, 3)), y=mx.ones(3)))
        except ValueError as error:
            assert "import_function" in str(error)
            refused += 1
    assert refused > 150


def test_the_graph_of_pending_arrays_is_drawn():
    out, x = io.StringIO(), mx.array([1.0, 2.0])
    mx.export_to_dot(out, mx.exp(x) + x, x=x)
    text = out.getvalue()
    assert text.startswith("digraph {") and text.count("shape=box") == 2
    assert 'label="exp"' in text and 'label="x"' in text


def test_a_drawing_goes_to_a_file_and_deep_graphs_are_drawn(tmp_path):
    x = mx.array(1.0)
    for _ in range(3000):
        x = x + 1
    mx.export_to_dot(tmp_path / "graph.dot", x)
    assert (tmp_path / "graph.dot").read_text().count('label="add"') >= 1
    with pytest.raises(ValueError, match="no arrays"):
        mx.export_to_dot(tmp_path / "graph.dot")
    with pytest.raises(TypeError, match="no file"):
        mx.export_to_dot(3, x)
