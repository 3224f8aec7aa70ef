"""Copies of the project's sources, to be built in another way than the build in place.

Rules: a file is copied when it differs, and then carries the time of copying, so that a second
build in the copy compiles what changed and no more. Nothing outside the copy is written.
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_built = shutil.ignore_patterns(
    "build", ".*", "*.so", "__pycache__", "dist", "*.egg-info", "_build"
)


def sources(folder):
    """The files below a folder that are not built, and in no folder that is."""
    entries = sorted(folder.iterdir())
    left_out = _built(str(folder), [entry.name for entry in entries])
    for entry in entries:
        if entry.name in left_out or entry.is_symlink():
            continue
        if entry.is_dir():
            yield from sources(entry)
        else:
            yield entry


def copy_sources(target):
    """Make the folder `target` hold the project's sources as they are now, and what was built."""
    copied = set()
    for source in sources(ROOT):
        copy = target / source.relative_to(ROOT)
        copied.add(copy)
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    for stale in set(sources(target)) - copied:
        stale.unlink()
