"""Positional encodings: rotary, sinusoidal, and linear attention biases."""

import math

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module


class RoPE(Module):
    """Rotate pairs of features by angles that grow with position (Su et al., 2021, eq. 34).

    Args:
        dims (int): the leading features that are rotated; further ones are left as they are.
        traditional (bool): whether pairs are neighbours; else features ``i`` and
            ``i + dims / 2`` form a pair. Default: ``False``.
        base (float): base of the angular frequencies. Default: ``10000``.
        scale (float): scale of the positions. Default: ``1.0``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.RoPE(4)(mx.ones((1, 2, 4)))[0, 0].tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, dims, traditional=False, base=10000, scale=1.0):
        super().__init__()
        if not base > 0:
            raise ValueError(f"[RoPE] base must be positive but got {base}")
        self.dims = dims
        self.traditional = traditional
        self.base = base
        self.scale = scale

    def _extra_repr(self):
        return f"{self.dims}, traditional={self.traditional}"

    def __call__(self, x, offset=0):
        _checks.an_array("RoPE", x)
        return mx.fast.rope(
            x,
            self.dims,
            traditional=self.traditional,
            base=self.base,
            scale=self.scale,
            offset=offset,
        )


class SinusoidalPositionalEncoding(Module):
    """Encode positions by sines and cosines (Vaswani et al., 2017, sec. 3.5).

    Args:
        dims (int): features of the encoding; even.
        min_freq (float): lowest frequency. Default: ``0.0001``.
        max_freq (float): highest frequency. Default: ``1``.
        scale (float, optional): factor of the encoding. Default: ``sqrt(2 / dims)``.
        cos_first (bool): whether cosines come before sines. Default: ``False``.
        full_turns (bool): whether frequencies count turns instead of radians.
            Default: ``False``.

    Raises:
        ValueError: when ``dims`` is not positive and even.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.SinusoidalPositionalEncoding(6)(mx.array([0, 1, 2])).shape
        (3, 6)
    """

    def __init__(
        self, dims, min_freq=0.0001, max_freq=1, scale=None, cos_first=False, full_turns=False
    ):
        super().__init__()
        if dims < 2 or dims % 2:
            raise ValueError(
                f"[SinusoidalPositionalEncoding] dims must be positive and even but got {dims}."
            )
        if not (0 < min_freq < math.inf and 0 < max_freq < math.inf):
            raise ValueError(
                "[SinusoidalPositionalEncoding] frequencies must be positive and finite but got "
                f"{min_freq} to {max_freq}."
            )
        half = dims // 2
        # Frequencies fall geometrically from max_freq to min_freq; one alone is max_freq.
        fraction = 1 - mx.arange(0, half) / max(half - 1, 1)
        low, high = math.log(min_freq), math.log(max_freq)
        self._sigmas = mx.exp(fraction * (high - low) + low)
        if full_turns:
            self._sigmas = self._sigmas * (2 * math.pi)
        self.scale = (2 / dims) ** 0.5 if scale is None else scale
        self.cos_first = cos_first

    def __call__(self, x):
        _checks.an_array("SinusoidalPositionalEncoding", x)
        angles = mx.expand_dims(x, -1) * self._sigmas
        waves = [mx.sin(angles), mx.cos(angles)]
        y = mx.concatenate(waves[::-1] if self.cos_first else waves, axis=-1)
        return y if self.scale == 1 else y * self.scale


class ALiBi(Module):
    """Lower attention scores in proportion to distance (Press, Smith, Lewis, 2022, sec. 3).

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.ALiBi()(mx.zeros((1, 4, 2, 2)))[0, 0].tolist()
        [[0.0, -0.25], [-0.25, 0.0]]
    """

    @staticmethod
    def create_alibi_slope(num_heads, dtype=mx.float32):
        """The slope of each head, shape ``(num_heads, 1, 1)``.

        For n heads, n a power of two, slopes are 2^(-8/n), 2^(-16/n), …; other counts take every
        other slope of the next power of two for the rest, as the paper's code does.

        Args:
            num_heads (int): number of heads.
            dtype (Dtype): of the result.
        """

        def powers(n):
            return [2.0 ** (-8.0 * (i + 1) / n) for i in range(n)]

        closest = 2 ** int(math.log2(num_heads))
        slopes = powers(closest) + powers(2 * closest)[::2][: num_heads - closest]
        return mx.reshape(mx.array(slopes), (num_heads, 1, 1)).astype(dtype)

    @staticmethod
    def create_alibi_matrix(
        q_sequence_length, k_sequence_length, num_heads, offset=0, dtype=mx.float32
    ):
        """The biases, shape ``(1, num_heads, q_sequence_length - offset, k_sequence_length)``.

        Args:
            q_sequence_length (int): queries, those before ``offset`` included.
            k_sequence_length (int): keys.
            num_heads (int): number of heads.
            offset (int): position of the first query. Default: ``0``.
            dtype (Dtype): of the result.
        """
        queries = mx.arange(offset, q_sequence_length)
        keys = mx.arange(0, k_sequence_length)
        distance = mx.abs(mx.expand_dims(queries, 1) - mx.expand_dims(keys, 0)).astype(dtype)
        slopes = ALiBi.create_alibi_slope(num_heads, dtype)
        return mx.expand_dims(-distance * slopes, 0)

    def __call__(self, attention_scores, offset=0, mask=None):
        _checks.an_array("ALiBi", attention_scores)
        shape = attention_scores.shape
        if len(shape) < 2 or shape[1] == 0:
            raise ValueError(f"[ALiBi] expected scores (batch, heads, queries, keys), got {shape}")
        biases = ALiBi.create_alibi_matrix(
            q_sequence_length=shape[-2] + offset,
            k_sequence_length=shape[-1],
            num_heads=shape[1],
            offset=offset,
            dtype=attention_scores.dtype,
        )
        if mask is not None:
            biases = biases + mask
        return attention_scores + biases
