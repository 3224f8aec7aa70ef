"""The namespace ``mlxc.core.fast``: fused functions, attention and custom kernels, under the
names that models use."""

from .attention import scaled_dot_product_attention
from .custom import cuda_kernel, metal_kernel, precompiled_cuda_kernel
from .fused import cross_entropy, gated_delta_update, layer_norm, rms_norm, rope

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
