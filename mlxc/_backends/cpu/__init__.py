"""The CPU back end: importing it makes programs and kernels runnable on the processor."""

import importlib
import pkgutil

from . import programs
from .kernels import ISA, supported_isas

# Launchers register themselves when they are imported; every module here is one, or helps one.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ISA", "programs", "supported_isas"]
