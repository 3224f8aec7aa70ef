"""Layers whose weights are stored in a few bits, and the conversion of models to them.

Rules: quantized weights are frozen from the start, since their gradients mean nothing; a mode
without biases stores ``None`` for them.
"""

import math

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module, without_arrays
from mlxc.utils import tree_map_with_path

# (group_size, bits) of each mode, see mlxc.core.quantize.
_DEFAULTS = {"affine": (64, 4), "mxfp4": (32, 4), "nvfp4": (16, 4), "mxfp8": (32, 8)}


def _with_defaults(mode, group_size, bits):
    """The group size and the bits of a mode, where they are not given."""
    if mode not in _DEFAULTS:
        raise ValueError(
            f"Invalid quantization mode '{mode}'. Valid modes are: {', '.join(_DEFAULTS)}."
        )
    default_size, default_bits = _DEFAULTS[mode]
    return default_size if group_size is None else group_size, bits or default_bits


def quantize(
    model,
    group_size=None,
    bits=None,
    *,
    mode="affine",
    quantize_input=False,
    class_predicate=None,
):
    """Replace the layers of a model by quantized ones, in place.

    Args:
        model (Module): the model.
        group_size (int, optional): entries that share a scale; by default the mode's.
        bits (int, optional): bits an entry; by default the mode's.
        mode (str): the mode, see :func:`mlxc.core.quantize`. Default: ``"affine"``.
        quantize_input (bool): whether activations are quantized too, for linear layers and the
            modes ``"nvfp4"`` and ``"mxfp8"``. Default: ``False``.
        class_predicate (callable, optional): ``class_predicate(name, module)`` returns whether
            to quantize, or a dict of arguments for ``to_quantized``. By default every layer
            that has ``to_quantized`` is quantized.

    Raises:
        ValueError: when the predicate selects a layer that cannot be quantized.

    Example:
        >>> import mlxc.nn as nn
        >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        >>> nn.quantize(model, bits=8)
        >>> model.layers[0].bits
        8
    """
    _with_defaults(mode, group_size, bits)
    predicate = class_predicate or (lambda _, module: hasattr(module, "to_quantized"))

    def convert(name, module):
        selected = predicate(name, module)
        if not selected:
            return module
        if not hasattr(module, "to_quantized"):
            raise ValueError(f"Unable to quantize model of type {type(module)}")
        if isinstance(selected, dict):
            return module.to_quantized(**selected)
        if not isinstance(selected, bool):
            kind = type(selected).__name__
            raise ValueError(
                f"`class_predicate` must return a bool or a dict of arguments, got {kind}"
            )
        settings = {"group_size": group_size, "bits": bits, "mode": mode}
        if quantize_input:
            settings["quantize_input"] = True
        return module.to_quantized(**settings)

    _checks.a_module("quantize", model)
    leaves = tree_map_with_path(convert, model.leaf_modules(), is_leaf=Module.is_module)
    model.update_modules(leaves)


class _Quantized(Module):
    """What the quantized layers share: how weights are made and described."""

    def _store(self, weight, group_size, bits, mode):
        self.group_size, self.bits = _with_defaults(mode, group_size, bits)
        self.mode = mode
        self.weight, self.scales, *biases = mx.quantize(
            weight, self.group_size, self.bits, mode=mode
        )
        self.biases = biases[0] if biases else None

    def _settings(self):
        return {"group_size": self.group_size, "bits": self.bits, "mode": self.mode}

    def _columns(self):
        """Entries of a row before they were packed into 32-bit words."""
        return self.weight.shape[-1] * 32 // self.bits

    def _product(self, x, name):
        weight, bits = self["weight"], self.bits
        columns = weight.shape[-1] * 32 // bits
        if type(x) is not mx.array or x.shape[-1:] != (columns,):
            _checks.last_axis(name, x, columns, f"packed weight {weight.shape}")
        biases = self.get("biases")
        return mx.quantized_matmul(
            x, weight, self["scales"], biases, True, self.group_size, bits, self.mode
        )

    def _settings_repr(self):
        return f"group_size={self.group_size}, bits={self.bits}, mode={self.mode}"


class QuantizedLinear(_Quantized):
    """A :class:`Linear` layer with a quantized weight.

    Args:
        input_dims (int): size of the last axis of the input.
        output_dims (int): size of the last axis of the output.
        bias (bool): whether to add a bias, which is not quantized. Default: ``True``.
        group_size (int, optional): entries that share a scale; by default the mode's.
        bits (int, optional): bits an entry; by default the mode's.
        mode (str): the mode, see :func:`mlxc.core.quantize`. Default: ``"affine"``.

    Raises:
        ValueError: when the mode is unknown, or the group size does not divide the inputs.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.QuantizedLinear(64, 4)(mx.ones((2, 64))).shape
        (2, 4)
    """

    def __init__(
        self, input_dims, output_dims, bias=True, group_size=None, bits=None, mode="affine"
    ):
        super().__init__()
        _checks.positive("QuantizedLinear", input_dims=input_dims, output_dims=output_dims)
        scale = math.sqrt(1 / input_dims)
        shape = (output_dims, input_dims)
        weight = mx.random.uniform(low=-scale, high=scale, shape=shape)
        self._store(weight, group_size, bits, mode)
        if bias:
            self.bias = mx.zeros((output_dims,))
        self.freeze()

    def _extra_repr(self):
        return (
            f"input_dims={self._columns()}, output_dims={self.weight.shape[0]}, "
            f"bias={'bias' in self}, {self._settings_repr()}"
        )

    def __call__(self, x):
        y = self._product(x, "QuantizedLinear")
        return y + self["bias"] if "bias" in self else y

    @classmethod
    def from_linear(cls, linear_layer, group_size=None, bits=None, mode="affine"):
        """Quantize a :class:`Linear` layer; its bias stays trainable.

        Args:
            linear_layer (Linear): the layer.
            group_size (int, optional): entries that share a scale; by default the mode's.
            bits (int, optional): bits an entry; by default the mode's.
            mode (str): the mode.
        """
        layer = without_arrays(cls, draws=1)
        layer._store(linear_layer.weight, group_size, bits, mode)
        layer.freeze()
        if "bias" in linear_layer:
            layer.bias = linear_layer.bias
        return layer


class QuantizedEmbedding(_Quantized):
    """An :class:`Embedding` with a quantized table.

    Args:
        num_embeddings (int): rows of the table.
        dims (int): entries of a row.
        group_size (int, optional): entries that share a scale; by default the mode's.
        bits (int, optional): bits an entry; by default the mode's.
        mode (str): the mode, see :func:`mlxc.core.quantize`. Default: ``"affine"``.

    Raises:
        ValueError: when the mode is unknown, or the group size does not divide ``dims``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.QuantizedEmbedding(10, 64)(mx.array([1, 2])).shape
        (2, 64)
    """

    def __init__(self, num_embeddings, dims, group_size=None, bits=None, mode="affine"):
        super().__init__()
        _checks.positive("QuantizedEmbedding", num_embeddings=num_embeddings, dims=dims)
        scale = math.sqrt(1 / dims)
        weight = mx.random.normal(shape=(num_embeddings, dims), scale=scale)
        self._store(weight, group_size, bits, mode)
        self.num_embeddings = num_embeddings
        self.dims = dims
        self.freeze()

    def _extra_repr(self):
        return f"{self.num_embeddings}, {self.dims}, {self._settings_repr()}"

    def __call__(self, x):
        biases = self.get("biases")
        return mx.dequantize(
            self["weight"][x],
            scales=self["scales"][x],
            biases=None if biases is None else biases[x],
            **self._settings(),
        )

    def as_linear(self, x):
        """Use the table as the weight of a linear layer, as :meth:`Embedding.as_linear` does."""
        return self._product(x, "QuantizedEmbedding")

    @classmethod
    def from_embedding(cls, embedding_layer, group_size=None, bits=None, mode="affine"):
        """Quantize an :class:`Embedding`.

        Args:
            embedding_layer (Embedding): the layer.
            group_size (int, optional): entries that share a scale; by default the mode's.
            bits (int, optional): bits an entry; by default the mode's.
            mode (str): the mode.
        """
        layer = without_arrays(cls, draws=1)
        layer._store(embedding_layer.weight, group_size, bits, mode)
        layer.num_embeddings, layer.dims = embedding_layer.weight.shape
        layer.freeze()
        return layer


class QQLinear(Module):
    """A linear layer, without bias, that quantizes its input as well as its weight.

    In training mode the weight is kept in full and quantized on the fly, so that it can be
    trained; in evaluation mode only the quantized weight is kept.

    Args:
        input_dims (int): size of the last axis of the input.
        output_dims (int): size of the last axis of the output.
        group_size (int, optional): entries that share a scale; by default the mode's.
        bits (int, optional): bits an entry; by default the mode's.
        mode (str): ``"nvfp4"`` or ``"mxfp8"``. Default: ``"nvfp4"``.

    Raises:
        ValueError: when the mode is unknown.

    Example:
        >>> import mlxc.nn as nn
        >>> nn.QQLinear(64, 4)
        QQLinear(input_dims=64, output_dims=4, group_size=16, bits=4, mode=nvfp4)
    """

    def __init__(self, input_dims, output_dims, group_size=None, bits=None, mode="nvfp4"):
        super().__init__()
        _checks.positive("QQLinear", input_dims=input_dims, output_dims=output_dims)
        self.group_size, self.bits = _with_defaults(mode, group_size, bits)
        self.mode = mode
        self._quantized = False
        scale = math.sqrt(1 / input_dims)
        shape = (output_dims, input_dims)
        self.weight = mx.random.uniform(low=-scale, high=scale, shape=shape)

    def _columns(self):
        columns = self.weight.shape[-1]
        return columns * 32 // self.bits if self._quantized else columns

    def _extra_repr(self):
        return (
            f"input_dims={self._columns()}, output_dims={self.weight.shape[0]}, "
            f"group_size={self.group_size}, bits={self.bits}, mode={self.mode}"
        )

    def _settings(self):
        return {"group_size": self.group_size, "bits": self.bits, "mode": self.mode}

    def quantize(self):
        """Keep only the quantized weight, as evaluation mode does."""
        if not self._quantized:
            self.weight, self.scales, *_ = mx.quantize(self.weight, **self._settings())
            self._quantized = True

    def dequantize(self):
        """Keep the weight in full, as training mode does."""
        if self._quantized:
            self.weight = mx.dequantize(self.weight, scales=self.scales, **self._settings())
            del self.scales
            self._quantized = False

    def _set_training_mode(self, mode):
        super()._set_training_mode(mode)
        if mode:
            self.dequantize()
        else:
            self.quantize()

    def __call__(self, x):
        _checks.last_axis("QQLinear", x, self._columns(), f"weight {self.weight.shape}")
        return mx.qqmm(x, self["weight"], scales=self.get("scales"), **self._settings())

    @classmethod
    def from_linear(cls, linear_layer, group_size=None, bits=None, mode="nvfp4"):
        """Make one from a :class:`Linear` layer without bias.

        Args:
            linear_layer (Linear): the layer.
            group_size (int, optional): entries that share a scale; by default the mode's.
            bits (int, optional): bits an entry; by default the mode's.
            mode (str): the mode.

        Raises:
            NotImplementedError: when the layer has a bias.
        """
        if "bias" in linear_layer:
            raise NotImplementedError("QQLinear does not support bias yet.")
        layer = without_arrays(cls, draws=1)
        layer.group_size, layer.bits = _with_defaults(mode, group_size, bits)
        layer.mode = mode
        layer._quantized = False
        layer.weight = linear_layer.weight
        layer._set_training_mode(linear_layer.training)
        return layer
