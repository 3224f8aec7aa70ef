"""Linear layers: y = x Wᵀ + b, its bilinear sibling, and the identity.

Rules: weights are stored [outputs, inputs]; initial values are U(-k, k) with k = 1/sqrt(inputs),
the bounds of LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, section 4.6, up to a factor.
"""

import math

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module
from mlxc.nn.layers.quantized import QQLinear, QuantizedLinear


class Identity(Module):
    """Return the input; arguments of the constructor are ignored.

    Example:
        >>> import mlxc.nn as nn
        >>> nn.Identity(3, anything=4)(5)
        5
    """

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __call__(self, x):
        return x


class Linear(Module):
    """Affine map ``y = x @ W.T + b``.

    Args:
        input_dims (int): size of the last axis of the input.
        output_dims (int): size of the last axis of the output.
        bias (bool): whether to add ``b``. Default: ``True``.

    Raises:
        ValueError: when a size is below one, or, in a call, when the last axis does not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Linear(3, 2)(mx.ones((5, 3))).shape
        (5, 2)
    """

    def __init__(self, input_dims, output_dims, bias=True):
        super().__init__()
        _checks.positive("Linear", input_dims=input_dims, output_dims=output_dims)
        scale = math.sqrt(1.0 / input_dims)
        shape = (output_dims, input_dims)
        self.weight = mx.random.uniform(low=-scale, high=scale, shape=shape)
        if bias:
            self.bias = mx.random.uniform(low=-scale, high=scale, shape=(output_dims,))

    def _extra_repr(self):
        outputs, inputs = self.weight.shape
        return f"input_dims={inputs}, output_dims={outputs}, bias={'bias' in self}"

    def __call__(self, x):
        weight = self["weight"]
        _checks.last_axis("Linear", x, weight.shape[1], f"weight has shape {weight.shape}")
        if "bias" in self:
            return mx.addmm(self["bias"], x, weight.T)
        return x @ weight.T

    def to_quantized(self, group_size=None, bits=None, mode="affine", quantize_input=False):
        """A :class:`QuantizedLinear`, or with ``quantize_input`` a :class:`QQLinear`, of it.

        Args:
            group_size (int, optional): entries that share a scale; by default the mode's.
            bits (int, optional): bits an entry; by default the mode's.
            mode (str): the quantization mode.
            quantize_input (bool): whether activations are quantized too.

        Raises:
            ValueError: when the mode cannot quantize activations.
        """
        if not quantize_input:
            return QuantizedLinear.from_linear(self, group_size, bits, mode=mode)
        if mode not in ("nvfp4", "mxfp8"):
            raise ValueError(
                "Quantized activations are only supported for 'nvfp4' and 'mxfp8' modes, "
                f"got {mode}."
            )
        return QQLinear.from_linear(self, group_size, bits, mode=mode)


class Bilinear(Module):
    """Bilinear map ``y_i = x2ᵀ W_i x1 + b_i``.

    Args:
        input1_dims (int): size of the last axis of the first input.
        input2_dims (int): size of the last axis of the second input.
        output_dims (int): size of the last axis of the output.
        bias (bool): whether to add ``b``. Default: ``True``.

    Raises:
        ValueError: when a size is below one, or, in a call, when a last axis does not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Bilinear(3, 4, 2)(mx.ones((5, 3)), mx.ones((5, 4))).shape
        (5, 2)
    """

    def __init__(self, input1_dims, input2_dims, output_dims, bias=True):
        super().__init__()
        sizes = {"input1_dims": input1_dims, "input2_dims": input2_dims}
        _checks.positive("Bilinear", **sizes, output_dims=output_dims)
        scale = math.sqrt(1.0 / input1_dims)
        shape = (output_dims, input2_dims, input1_dims)
        self.weight = mx.random.uniform(low=-scale, high=scale, shape=shape)
        if bias:
            self.bias = mx.random.uniform(low=-scale, high=scale, shape=(output_dims,))

    def _extra_repr(self):
        outputs, inputs2, inputs1 = self.weight.shape
        return (
            f"input1_dims={inputs1}, input2_dims={inputs2}, output_dims={outputs}, "
            f"bias={'bias' in self}"
        )

    def __call__(self, x1, x2):
        weight = self["weight"]
        outputs, inputs2, inputs1 = weight.shape
        reason = f"weight has shape {weight.shape}"
        _checks.last_axis("Bilinear", x1, inputs1, f"{reason} (first input)")
        _checks.last_axis("Bilinear", x2, inputs2, f"{reason} (second input)")
        if x1.shape[:-1] != x2.shape[:-1]:
            raise ValueError(
                f"[Bilinear] the leading axes differ: {x1.shape} and {x2.shape}; they must match"
            )
        # One matrix product for all W_i: [..., in1] @ [in1, in2 * out].
        flat = mx.reshape(x1, (-1, inputs1)) @ mx.reshape(weight, (-1, inputs1)).T
        flat = mx.reshape(flat, (-1, outputs, inputs2))
        y = flat @ mx.reshape(x2, (-1, inputs2, 1))
        y = mx.reshape(y, (*x1.shape[:-1], outputs))
        return y + self["bias"] if "bias" in self else y
