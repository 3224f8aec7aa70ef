"""docs/accuracy.md is true: its tables are measured again, with fewer arguments."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from support import assert_threads_do_not_matter

import mlxc.core as mx

ROOT = Path(__file__).resolve().parents[1]


def load_module():
    spec = importlib.util.spec_from_file_location("accuracy", ROOT / "docs/accuracy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


accuracy = load_module()
TEXT = (ROOT / "docs/accuracy.md").read_text()


def written_bounds():
    """{function: {dtype: ULP}} as the document has them."""
    lines = TEXT.split("## Elementwise functions")[1].split("## Reductions")[0].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {
        name: {
            dtype: float(bound) for dtype, bound in zip(accuracy.FLOATS, bounds) if bound.strip()
        }
        for name, *bounds in cells[1:]
    }


BOUNDS = written_bounds()


def test_every_row_of_the_table_is_in_the_document():
    assert set(BOUNDS) == {row.name for row in accuracy.ROWS}
    assert all("float32" in bounds for bounds in BOUNDS.values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # references overflow
@pytest.mark.parametrize("row", accuracy.ROWS, ids=lambda row: row.name)
def test_a_function_keeps_the_accuracy_that_is_written(row):
    for name, bound in BOUNDS[row.name].items():
        error, xs = accuracy.measure(row, name, 4000)
        # Other arguments than those of the table may be a little worse than its worst.
        assert error <= 1.3 * bound + 0.05, (name, error, xs)


def test_no_function_is_off_by_more_than_four_places():
    worst = {
        name: bound
        for name, bounds in BOUNDS.items()
        for dtype, bound in bounds.items()
        if bound > 4
    }
    # Where the logarithm is near 0 its two terms cancel.
    assert set(worst) <= {"logaddexp"}


def test_a_wrong_result_would_be_seen():
    exact = np.array([1.0, 2.0, 1e-40, 0.1])
    wrong = np.nextafter(exact.astype(np.float32), np.float32(9)).astype(np.float64)
    assert (accuracy.narrow_errors(wrong, exact, "float32") > 0.4).all()
    assert accuracy.narrow_errors(np.array([math.nan]), np.array([1.0]), "float32") == math.inf


@pytest.mark.parametrize("lines", ["special_lines", "pair_lines", "fold_lines", "promotion_lines"])
def test_the_tables_of_rules_are_what_the_code_does(lines):
    assert "\n".join(getattr(accuracy, lines)()) in TEXT


@pytest.mark.parametrize("title", list(accuracy.data()))
def test_reductions_of_a_million_floats_are_off_by_few_last_places(title):
    x = accuracy.data()[title].astype(np.float32)
    wide = x.astype(np.float64).tolist()
    for name, (ours, exact, numpys) in accuracy.REDUCTIONS.items():
        if name == "logsumexp" and "1000" in title:
            continue
        truth = exact(wide)
        place = accuracy.places(abs(truth), "float32")
        error = abs(ours(mx.array(x)).item() - truth) / place
        # What is left of a sum of normal numbers is a ten-thousandth of them; with v2 28 places.
        assert error <= max(50, abs(numpys(x) - truth) / place), name


THREADED = {
    "sum": lambda x: mx.sum(x),
    "sum of columns": lambda x: mx.sum(x, axis=0),
    "var": lambda x: mx.var(x),
    "logsumexp": lambda x: mx.logsumexp(x),
    "norm": lambda x: mx.linalg.norm(x),
    "cumsum": lambda x: mx.cumsum(x, axis=None),
    "softmax": lambda x: mx.softmax(x, axis=-1),
    "product": lambda x: x @ x.T,
    "product of vectors": lambda x: x.reshape(-1) @ x.reshape(-1),
    "chain": lambda x: mx.exp(mx.sin(x) * 3 + x.sum(axis=1, keepdims=True)),
    "normalised": lambda x: mx.fast.layer_norm(x, None, None, 1e-5),
    "convolution": lambda x: mx.conv1d(x[None, :, :64], x[:96, :192].reshape(96, 3, 64)),
    "sorted": lambda x: mx.sort(x, axis=0),
    "gradient": lambda x: mx.grad(lambda v: mx.sum(mx.tanh(v @ v.T)))(x[:300]),
}


@pytest.mark.parametrize("name", THREADED)
def test_the_bits_do_not_depend_on_the_number_of_threads(name):
    x = mx.array(np.random.default_rng(3).standard_normal((1111, 777)).astype(np.float32))
    assert_threads_do_not_matter(lambda: THREADED[name](x))
