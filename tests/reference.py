"""The real MLX to compare with, where it is installed, and helpers to compare trees.

Rules: MLX is a black box here. Tests against stated formulas always run; only comparisons with
MLX depend on it, through `needs_reference`.
"""

import importlib.util

import numpy as np
import pytest

needs_reference = pytest.mark.skipif(
    importlib.util.find_spec("mlx") is None, reason="the real mlx is not installed"
)


def reference_mlx():
    """The modules (core, nn, optimizers, utils) of the real MLX."""
    import mlx.core
    import mlx.nn
    import mlx.optimizers
    import mlx.utils

    return mlx.core, mlx.nn, mlx.optimizers, mlx.utils


def numpy_leaves(tree, prefix=""):
    """The arrays of a tree as NumPy arrays, by dotted path."""
    if isinstance(tree, dict):
        pairs = tree.items()
    elif isinstance(tree, (list, tuple)):
        pairs = enumerate(tree)
    else:
        return {prefix: as_numpy(tree)}
    leaves = {}
    for key, value in pairs:
        leaves.update(numpy_leaves(value, f"{prefix}.{key}" if prefix else str(key)))
    return leaves


def as_numpy(x):
    """An array of either framework, or a number, as a NumPy array."""
    if hasattr(x, "dtype") and "bfloat16" in str(x.dtype):
        x = x.astype(type(x)([0.0]).dtype)
    return np.array(x)


def assert_same_tree(ours, theirs, rtol=1e-5, atol=1e-6):
    """Assert the same paths, shapes, dtypes and nearly the same values."""
    a, b = numpy_leaves(ours), numpy_leaves(theirs)
    assert list(a) == list(b)
    for path in a:
        assert a[path].shape == b[path].shape, path
        assert a[path].dtype == b[path].dtype, path
        np.testing.assert_allclose(a[path], b[path], rtol=rtol, atol=atol, err_msg=path)
