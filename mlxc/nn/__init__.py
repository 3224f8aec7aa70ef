"""Neural networks: modules, layers, losses, initialisers and the transforms of models."""

from mlxc.nn import init, layers, losses, utils
from mlxc.nn.layers import *  # noqa: F403 - the names are those of layers.__all__
from mlxc.nn.layers import __all__ as _layer_names
from mlxc.nn.utils import average_gradients, value_and_grad

__all__ = ["average_gradients", "init", "layers", "losses", "utils", "value_and_grad"]
__all__ += _layer_names
