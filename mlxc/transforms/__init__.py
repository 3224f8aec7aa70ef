"""Floor 6: transforms of functions. Importing it publishes them in ``mlxc.core``."""

from mlxc import core

from . import functions
from .functions import grad, jvp, value_and_grad, vjp, vmap

for _module in (functions,):
    for _name in _module.__all__:
        setattr(core, _name, getattr(_module, _name))

__all__ = ["grad", "jvp", "value_and_grad", "vjp", "vmap"]
