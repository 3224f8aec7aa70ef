"""The namespace ``mlxc.core.fast``: fused functions and attention under the names that models
use."""

from .attention import scaled_dot_product_attention
from .fused import (
    cross_entropy,
    cuda_kernel,
    gated_delta_update,
    layer_norm,
    metal_kernel,
    precompiled_cuda_kernel,
    rms_norm,
    rope,
)

__all__ = [
    "cross_entropy",
    "cuda_kernel",
    "gated_delta_update",
    "layer_norm",
    "metal_kernel",
    "precompiled_cuda_kernel",
    "rms_norm",
    "rope",
    "scaled_dot_product_attention",
]
