"""Floor 6: transforms of functions. Importing it publishes them in ``mlxc.core``."""

from mlxc import core

from . import attached, compiled, drawing, exporting, functions

for _module in (functions, attached, compiled, exporting, drawing):
    for _name in _module.__all__:
        setattr(core, _name, getattr(_module, _name))
