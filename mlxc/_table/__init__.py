"""The table: every primitive is one row, and everything else is derived from it or checked against
it.

Floor 0. Standard library only, because ``setup.py`` reads it before anything is compiled.
"""

import importlib
import importlib.util

from .families import FAMILIES


def load_rows():
    """All rows, numbered, by importing every family's module."""
    for family in FAMILIES:
        if importlib.util.find_spec(f"{__name__}.{family}"):
            importlib.import_module(f"{__name__}.{family}")
    from .rows import ROWS

    return ROWS
