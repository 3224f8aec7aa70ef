"""Embedding: a table of vectors, looked up by integers."""

import math

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module
from mlxc.nn.layers.quantized import QuantizedEmbedding


class Embedding(Module):
    """Map every integer to a row of a learned table; initial values are N(0, 1/dims).

    Args:
        num_embeddings (int): rows of the table.
        dims (int): entries of a row.

    Raises:
        ValueError: in a call, when the input is not of integers.
        IndexError: when an input is out of range.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Embedding(10, 4)(mx.array([1, 2, 1])).shape
        (3, 4)
    """

    def __init__(self, num_embeddings, dims):
        super().__init__()
        _checks.positive("Embedding", dims=dims)
        scale = math.sqrt(1 / dims)
        self.weight = mx.random.normal(shape=(num_embeddings, dims), scale=scale)

    def _extra_repr(self):
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"

    def __call__(self, x):
        if isinstance(x, mx.array) and not mx.issubdtype(x.dtype, mx.integer):
            raise ValueError(f"[Embedding] expected integer indices, got dtype {x.dtype}")
        return self["weight"][x]

    def as_linear(self, x):
        """Use the table as the weight of a linear layer: ``x @ weight.T``, for tied weights.

        Args:
            x (array): shape ``(..., dims)``.

        Returns:
            array: shape ``(..., num_embeddings)``.
        """
        weight = self["weight"]
        _checks.last_axis("Embedding", x, weight.shape[1], f"weight has shape {weight.shape}")
        return x @ weight.T

    def to_quantized(self, group_size=None, bits=None, mode="affine", quantize_input=False):
        """A :class:`QuantizedEmbedding` of it; the arguments are those of that class.

        Raises:
            ValueError: for ``quantize_input``, since the inputs are integers.
        """
        if quantize_input:
            raise ValueError("Quantized input is not supported.")
        return QuantizedEmbedding.from_embedding(self, group_size, bits, mode=mode)
