"""The Metal back end: programs printed as MSL, and rows run by the kernels of `shaders/`.

Importing it offers the device to the graph. Where there is none, nothing of it is loaded.
"""

import importlib
import pkgutil

from mlxc._metal.shim import get_device

__all__ = ["available"]

available = get_device() is not None

if available:
    # Launchers register themselves when they are imported; every module is one, or helps one.
    for _module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{_module.name}")
    importlib.import_module(f"{__name__}.execute").offer_device()
