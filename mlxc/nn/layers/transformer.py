"""Attention and transformers (Vaswani et al., "Attention is all you need", 2017).

Rules: sequences are ``(batch, length, features)``; masks are added to scores, so that entries to
be ignored hold minus infinity or the lowest number.
"""

import math

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.activations import relu
from mlxc.nn.layers.base import Module
from mlxc.nn.layers.dropout import Dropout
from mlxc.nn.layers.linear import Linear
from mlxc.nn.layers.normalization import LayerNorm
from mlxc.nn.utils import checkpoint as checkpointed


def _unflatten_heads(x, heads):
    """(batch, length, features) to (batch, heads, length, features of a head)."""
    batch, length, features = x.shape
    return mx.transpose(mx.reshape(x, (batch, length, heads, features // heads)), (0, 2, 1, 3))


class MultiHeadAttention(Module):
    """Scaled dot-product attention with several heads (Vaswani et al., 2017, sec. 3.2).

    Args:
        dims (int): features of the model, and the default of all other sizes.
        num_heads (int): number of heads; it divides ``dims``.
        query_input_dims (int, optional): features of the queries. Default: ``dims``.
        key_input_dims (int, optional): features of the keys. Default: ``dims``.
        value_input_dims (int, optional): features of the values. Default: ``key_input_dims``.
        value_dims (int, optional): features of the projected values. Default: ``dims``.
        value_output_dims (int, optional): features of the output. Default: ``dims``.
        bias (bool): whether the projections have biases. Default: ``False``.

    Raises:
        ValueError: when heads do not divide the features, or, in a call, shapes do not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> x = mx.ones((2, 5, 8))
        >>> nn.MultiHeadAttention(8, 2)(x, x, x).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        dims,
        num_heads,
        query_input_dims=None,
        key_input_dims=None,
        value_input_dims=None,
        value_dims=None,
        value_output_dims=None,
        bias=False,
    ):
        super().__init__()
        _checks.positive("MultiHeadAttention", dims=dims, num_heads=num_heads)
        if dims % num_heads:
            raise ValueError(
                "The input feature dimensions should be divisible by the number of heads "
                f"({dims} % {num_heads}) != 0"
            )
        query_input_dims = query_input_dims or dims
        key_input_dims = key_input_dims or dims
        value_input_dims = value_input_dims or key_input_dims
        value_dims = value_dims or dims
        value_output_dims = value_output_dims or dims
        if value_dims % num_heads:
            raise ValueError(
                f"[MultiHeadAttention] value_dims ({value_dims}) must be divisible by num_heads "
                f"({num_heads})"
            )
        self.num_heads = num_heads
        self.query_proj = Linear(query_input_dims, dims, bias=bias)
        self.key_proj = Linear(key_input_dims, dims, bias=bias)
        self.value_proj = Linear(value_input_dims, value_dims, bias=bias)
        self.out_proj = Linear(value_dims, value_output_dims, bias=bias)

    def __call__(self, queries, keys, values, mask=None):
        for x in (queries, keys, values):
            _checks.dimensions("MultiHeadAttention", x, (3,), "batch, length, features")
        heads = self.num_heads
        queries = _unflatten_heads(self.query_proj(queries), heads)
        keys = _unflatten_heads(self.key_proj(keys), heads)
        values = _unflatten_heads(self.value_proj(values), heads)
        scale = math.sqrt(1 / queries.shape[-1])
        attended = mx.fast.scaled_dot_product_attention(
            queries, keys, values, scale=scale, mask=mask
        )
        batch, _, length, features = attended.shape
        attended = mx.reshape(
            mx.transpose(attended, (0, 2, 1, 3)), (batch, length, heads * features)
        )
        return self.out_proj(attended)

    @staticmethod
    def create_additive_causal_mask(N, dtype=mx.float32):
        """A mask that hides the future: the lowest number above the diagonal, 0 elsewhere.

        Args:
            N (int): length of the sequence.
            dtype (Dtype): of the result.

        Returns:
            array: shape ``(N, N)``.
        """
        positions = mx.arange(N)
        hidden = mx.expand_dims(positions, 1) < mx.expand_dims(positions, 0)
        return hidden.astype(dtype) * mx.finfo(dtype).min


class TransformerEncoderLayer(Module):
    """Self-attention and a two-layer network, each with a residual and a normalisation.

    Args:
        dims (int): features.
        num_heads (int): attention heads.
        mlp_dims (int, optional): hidden features of the network. Default: ``4 * dims``.
        dropout (float): probability of a zero after each part. Default: ``0.0``.
        activation (callable): of the network. Default: :func:`relu`.
        norm_first (bool): whether to normalise ahead of each part. Default: ``True``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.TransformerEncoderLayer(8, 2)(mx.ones((2, 5, 8)), None).shape
        (2, 5, 8)
    """

    def __init__(
        self, dims, num_heads, mlp_dims=None, dropout=0.0, activation=relu, norm_first=True
    ):
        super().__init__()
        mlp_dims = mlp_dims or dims * 4
        self.attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def _network(self, x):
        return self.linear2(self.dropout2(self.activation(self.linear1(x))))

    def __call__(self, x, mask=None):
        if self.norm_first:
            y = self.ln1(x)
            x = x + self.dropout1(self.attention(y, y, y, mask))
            return x + self._network(self.ln2(x))
        x = self.ln1(x + self.dropout1(self.attention(x, x, x, mask)))
        return self.ln2(x + self._network(x))


class TransformerEncoder(Module):
    """A stack of encoder layers and a final normalisation.

    Args:
        num_layers (int): number of layers.
        dims (int): features.
        num_heads (int): attention heads.
        mlp_dims (int, optional): hidden features of the networks. Default: ``4 * dims``.
        dropout (float): probability of a zero after each part. Default: ``0.0``.
        activation (callable): of the networks. Default: :func:`relu`.
        norm_first (bool): whether to normalise ahead of each part. Default: ``True``.
        checkpoint (bool): whether to compute each layer again in the backward pass, which
            saves memory. Default: ``False``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.TransformerEncoder(2, 8, 2)(mx.ones((2, 5, 8)), None).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        num_layers,
        dims,
        num_heads,
        mlp_dims=None,
        dropout=0.0,
        activation=relu,
        norm_first=True,
        checkpoint=False,
    ):
        super().__init__()
        self.layers = [
            TransformerEncoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x, mask=None):
        for layer in self.layers:
            call = checkpointed(layer) if self.checkpoint else layer
            x = call(x, mask)
        return self.ln(x)


class TransformerDecoderLayer(Module):
    """Self-attention, attention to a memory and a two-layer network, each with a residual.

    Args:
        dims (int): features.
        num_heads (int): attention heads.
        mlp_dims (int, optional): hidden features of the network. Default: ``4 * dims``.
        dropout (float): probability of a zero after each part. Default: ``0.0``.
        activation (callable): of the network. Default: :func:`relu`.
        norm_first (bool): whether to normalise ahead of each part. Default: ``True``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> x, memory = mx.ones((2, 5, 8)), mx.ones((2, 3, 8))
        >>> nn.TransformerDecoderLayer(8, 2)(x, memory, None, None).shape
        (2, 5, 8)
    """

    def __init__(
        self, dims, num_heads, mlp_dims=None, dropout=0.0, activation=relu, norm_first=True
    ):
        super().__init__()
        mlp_dims = mlp_dims or dims * 4
        self.self_attention = MultiHeadAttention(dims, num_heads)
        self.cross_attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.ln3 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def _network(self, x):
        return self.linear2(self.dropout3(self.activation(self.linear1(x))))

    def __call__(self, x, memory, x_mask=None, memory_mask=None):
        if self.norm_first:
            y = self.ln1(x)
            x = x + self.dropout1(self.self_attention(y, y, y, x_mask))
            y = self.ln2(x)
            x = x + self.dropout2(self.cross_attention(y, memory, memory, memory_mask))
            return x + self._network(self.ln3(x))
        x = self.ln1(x + self.dropout1(self.self_attention(x, x, x, x_mask)))
        y = self.cross_attention(x, memory, memory, memory_mask)
        x = self.ln2(x + self.dropout2(y))
        return self.ln3(x + self._network(x))


class TransformerDecoder(Module):
    """A stack of decoder layers and a final normalisation.

    Args:
        num_layers (int): number of layers.
        dims (int): features.
        num_heads (int): attention heads.
        mlp_dims (int, optional): hidden features of the networks. Default: ``4 * dims``.
        dropout (float): probability of a zero after each part. Default: ``0.0``.
        activation (callable): of the networks. Default: :func:`relu`.
        norm_first (bool): whether to normalise ahead of each part. Default: ``True``.
        checkpoint (bool): whether to compute each layer again in the backward pass, which
            saves memory. Default: ``False``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> x, memory = mx.ones((2, 5, 8)), mx.ones((2, 3, 8))
        >>> nn.TransformerDecoder(1, 8, 2)(x, memory, None, None).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        num_layers,
        dims,
        num_heads,
        mlp_dims=None,
        dropout=0.0,
        activation=relu,
        norm_first=True,
        checkpoint=False,
    ):
        super().__init__()
        self.layers = [
            TransformerDecoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x, memory, x_mask=None, memory_mask=None):
        for layer in self.layers:
            call = checkpointed(layer) if self.checkpoint else layer
            x = call(x, memory, x_mask, memory_mask)
        return self.ln(x)


class Transformer(Module):
    """An encoder and a decoder that attends to what the encoder returns.

    Args:
        dims (int): features. Default: ``512``.
        num_heads (int): attention heads. Default: ``8``.
        num_encoder_layers (int): layers of the encoder. Default: ``6``.
        num_decoder_layers (int): layers of the decoder. Default: ``6``.
        mlp_dims (int, optional): hidden features of the networks. Default: ``4 * dims``.
        dropout (float): probability of a zero after each part. Default: ``0.0``.
        activation (callable): of the networks. Default: :func:`relu`.
        custom_encoder (Module, optional): in place of the encoder.
        custom_decoder (Module, optional): in place of the decoder.
        norm_first (bool): whether to normalise ahead of each part. Default: ``True``.
        checkpoint (bool): whether to compute each layer again in the backward pass, which
            saves memory. Default: ``False``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> model = nn.Transformer(8, 2, 1, 1)
        >>> model(mx.ones((2, 3, 8)), mx.ones((2, 5, 8)), None, None, None).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        dims=512,
        num_heads=8,
        num_encoder_layers=6,
        num_decoder_layers=6,
        mlp_dims=None,
        dropout=0.0,
        activation=relu,
        custom_encoder=None,
        custom_decoder=None,
        norm_first=True,
        checkpoint=False,
    ):
        super().__init__()
        rest = (dims, num_heads, mlp_dims, dropout, activation, norm_first, checkpoint)
        if custom_encoder is None:
            custom_encoder = TransformerEncoder(num_encoder_layers, *rest)
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(num_decoder_layers, *rest)
        self.encoder = custom_encoder
        self.decoder = custom_decoder

    def __call__(self, src, tgt, src_mask=None, tgt_mask=None, memory_mask=None):
        memory = self.encoder(src, src_mask)
        return self.decoder(tgt, memory, tgt_mask, memory_mask)
