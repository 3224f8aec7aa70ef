"""mlxc under the name ``mlx``: programs and packages written for MLX run unchanged.

Rules: ``mlx.X`` is the module ``mlxc.X`` itself, not a copy, so both names may be used side by
side. Nothing is written to the installation: it holds for the process alone. Floor 8.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec

import mlxc.core

from ._graph import show_package

INTERFACE = "0.32.4"  # the MLX whose programming interface this is


def _installed():
    """What ``importlib.metadata`` finds as the distribution mlx: packages ask for its version."""
    from importlib.metadata import Distribution  # not before somebody asks: it takes long

    class Installed(Distribution):
        def read_text(self, filename):
            if filename == "METADATA":
                return f"Metadata-Version: 2.1\nName: mlx\nVersion: {INTERFACE}\n"
            return None

        def locate_file(self, path):
            raise FileNotFoundError(f"{path}: mlx is mlxc in this process, and has no files")

    return Installed()


class _StandIn:
    """Finder and loader of ``mlx`` and everything below it."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "mlx":
            return None
        ours = "mlxc" + name[3:]
        try:
            module = importlib.import_module(ours)
        except ModuleNotFoundError as error:
            if error.name != ours:
                raise
            return None
        return ModuleSpec(name, self, is_package=hasattr(module, "__path__"))

    def find_distributions(self, context=None):
        return [_installed()] if getattr(context, "name", None) in (None, "mlx") else []

    def create_module(self, spec):
        module = sys.modules["mlxc" + spec.name[3:]]
        spec.loader_state = module.__spec__  # importing puts its own in the place
        return module

    def exec_module(self, module):
        module.__spec__ = module.__spec__.loader_state


def as_mlx():
    """Let ``import mlx`` give mlxc in this process from now on, whether MLX is installed or not.

    Data types and arrays then say that they are ``mlx.core``'s, and ``mx.__version__`` is that of
    the MLX whose interface this is; ``mlxc.__version__`` stays.

    ``python -m mlxc program.py`` and ``python -m mlxc -m module`` do the same for a whole program.
    Processes that it starts anew (``spawn``) call it themselves; forked ones need not.

    Raises:
        ImportError: If MLX itself has been imported in this process.

    Example:
        >>> import mlxc
        >>> mlxc.as_mlx()
        >>> import mlx.core as mx
        >>> (mx.ones((2,)) + 1).tolist()
        [2.0, 2.0]
    """
    known = sys.modules.get("mlx")
    if known is not None and known is not sys.modules["mlxc"]:
        raise ImportError("[as_mlx] mlx is imported already; call as_mlx before that")
    if not any(isinstance(finder, _StandIn) for finder in sys.meta_path):
        sys.meta_path.insert(0, _StandIn())
        mlxc.core.__version__ = INTERFACE
        show_package("mlx.core")
