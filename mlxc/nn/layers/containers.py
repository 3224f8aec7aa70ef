"""Containers: modules that call other modules."""

from mlxc.nn.layers.base import Module


class Sequential(Module):
    """Call modules or plain functions one after the other.

    Args:
        *modules (callable): what to call, in order.

    Raises:
        TypeError: when one of them cannot be called.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.Sequential(nn.Linear(2, 3), nn.relu)(mx.ones((1, 2))).shape
        (1, 3)
    """

    def __init__(self, *modules):
        super().__init__()
        for i, module in enumerate(modules):
            if not callable(module):
                kind = type(module).__name__
                raise TypeError(f"[Sequential] entry {i} is a {kind}, which cannot be called")
        self.layers = list(modules)

    def __call__(self, x):
        for module in self.layers:
            x = module(x)
        return x
