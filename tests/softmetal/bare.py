"""Makes mlxc's launchers importable where mlxc is not compiled: its packages, without their code.

Rules: imported before anything of mlxc (pytest's `-p bare`). Launchers know the standard library
alone, so that they run without the rest.
"""

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

for name in ("mlxc", "mlxc._backends", "mlxc._backends.metal"):
    package = types.ModuleType(name)
    package.__path__ = [str(ROOT / name.replace(".", "/"))]
    sys.modules[name] = package

from mlxc._table import load_rows  # noqa: E402  launchers look rows up

load_rows()
