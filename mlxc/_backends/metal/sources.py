"""Texts of shaders: where they stand, and their own includes put in.

In a checkout they stand beside the package, in a wheel inside it. ``#include "x.h"`` is replaced by
that file's text, each file once; includes in angle brackets are the compiler's own. ``#line`` says
what stands where, for the compiler's messages.
"""

import functools
import re
from pathlib import Path

__all__ = ["expand", "folder", "read"]

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[^\n]*$', re.MULTILINE)


@functools.cache
def folder() -> Path:
    """Where the shaders stand; RuntimeError if they are not there."""
    package = Path(__file__).resolve().parents[2]
    for place in (package.parent / "shaders", package / "_metal" / "shaders"):
        if (place / "common.h").exists():
            return place
    raise RuntimeError(f"[metal] no shaders beside or in {package}; install mlxc again")


def expand(text: str, name: str = "printed.metal") -> str:
    """A source with the headers it includes, and those that they include, in place.

    Args:
        text: the source.
        name: what the compiler calls it in messages.
    """
    return _expand(text, name, set())


def _expand(text, name, seen):
    parts = [f'#line 1 "{name}"\n']
    end = 0
    for match in _INCLUDE.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if match[1] not in seen:
            seen.add(match[1])
            path = folder() / match[1]
            if not path.is_file():
                raise RuntimeError(
                    f"[metal] {name} includes {match[1]!r}, which is not in {folder()}"
                )
            header = path.read_text(encoding="utf-8")
            parts.append(_expand(header, f"shaders/{match[1]}", seen))
            line = text.count("\n", 0, end) + 1
            parts.append(f'#line {line} "{name}"')
    return "".join([*parts, text[end:]])


@functools.cache
def read(file: str) -> str:
    """The whole source of `file`, a family's name without its suffix."""
    text = (folder() / f"{file}.metal").read_text(encoding="utf-8")
    return expand(text, f"shaders/{file}.metal")
