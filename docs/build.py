"""Writes the reference, one page a public module, from the docstrings: docs/_build/<module>.md.

Rules: nothing is listed here but the modules; what a module publishes is in the reference. A public
name without a docstring is an error, not a gap.
"""

import importlib
import inspect
import sys
from pathlib import Path

MODULES = (
    "mlxc",
    "mlxc.core",
    "mlxc.core.debug",
    "mlxc.core.fast",
    "mlxc.core.fft",
    "mlxc.core.linalg",
    "mlxc.core.random",
    "mlxc.nn",
    "mlxc.nn.init",
    "mlxc.nn.losses",
    "mlxc.optimizers",
    "mlxc.utils",
)
TARGET = Path(__file__).parent / "_build"


def heading(name, thing):
    """The name with its signature, where Python knows it."""
    try:
        return f"{name}{inspect.signature(thing)}"
    except (TypeError, ValueError):
        return name


def published(module):
    """(name, thing) of every function and class that a module publishes, by name."""
    for name in sorted(vars(module)):
        thing = getattr(module, name)
        if not name.startswith("_") and callable(thing):
            yield name, thing


def page(module):
    """The page of one module and the names on it that have no docstring."""
    parts, silent = [f"# {module.__name__}", inspect.getdoc(module) or ""], []
    for name, thing in published(module):
        text = inspect.getdoc(thing)
        parts.append(f"## {name}\n\n```python\n{heading(name, thing)}\n```\n\n{text}")
        if not text:
            silent.append(f"{module.__name__}.{name}")
    return "\n\n".join(parts) + "\n", silent


def main():
    TARGET.mkdir(exist_ok=True)
    silent = []
    for name in MODULES:
        text, without = page(importlib.import_module(name))
        (TARGET / f"{name}.md").write_text(text)
        silent += without
    print(f"{len(MODULES)} pages in {TARGET}")
    if silent:
        sys.exit("no docstring: " + ", ".join(silent))


if __name__ == "__main__":
    main()
