"""mlxc: lazy arrays, composable transforms, networks and optimisers, fast on any CPU.

Floor 8: importing any module of the package puts the floors together, so that ``mlxc.core`` is
whole.
"""

from . import _backends, core, transforms
from ._standin import as_mlx
from ._version import __version__

__all__ = ["__version__", "as_mlx", "core", "transforms"]
