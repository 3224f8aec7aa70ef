"""Kernels ready to run, each made once: libraries by their source, pipelines by function and
constants.

Pipelines are also kept in a file of the user's cache folder, from where a later process gets them
without compiling. Rules: the file is written at the end of the process, beside its place, and moved
there at once, so that no process ever sees half of it; one that does not open is begun anew.
``MLXC_METAL_CACHE=0`` turns it off, another value names the folder.
"""

import atexit
import contextlib
import hashlib
import os
import re
import sys
from pathlib import Path

from . import sources

__all__ = ["Pipelines"]


def cache_folder() -> Path | None:
    """Where compiled pipelines are kept; None where they are not."""
    wanted = os.environ.get("MLXC_METAL_CACHE", "")
    if wanted == "0":
        return None
    if wanted:
        return Path(wanted)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mlxc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlxc"


class Pipelines:
    """The pipelines of one device."""

    def __init__(self, device):
        self.device = device
        self.libraries = {}
        self.pipelines = {}
        self.archive = None
        self.path = None
        self.added = False
        self.opened = False

    def get(self, file, source, function, constants, fast_math=False):
        """The pipeline of a function in a file of `shaders/`, or in a source."""
        key = (file, source, function, tuple(sorted(constants.items())), fast_math)
        pipeline = self.pipelines.get(key)
        if pipeline is None:
            if not self.opened:
                self._open_archive()
            library = self.library(file, source, function, fast_math)
            pipeline = self.device.pipeline(library, function, constants, self.archive)
            self.pipelines[key] = pipeline
            self.added = True
        return pipeline

    def library(self, file, source, function, fast_math=False):
        """The compiled library of a file of `shaders/`, or of a source with a function."""
        key = (file, source, fast_math)
        if key not in self.libraries:
            text = sources.expand(source) if source else sources.read(file)
            name = f"kernel {function}" if source else f"shaders/{file}.metal"
            self.libraries[key] = self.device.library(name, text, fast_math)
        return self.libraries[key]

    def _open_archive(self):
        self.opened = True
        folder = cache_folder()
        if folder is None:
            return
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            info = self.device.info
            name = re.sub(r"\W+", "-", f"{info['device_name']}-{info['architecture']}")
            system = hashlib.sha256(repr(os.uname()[2:]).encode()).hexdigest()[:12]
            self.path = folder / f"metal-{name}-{system}.archive"
            self.archive = self.device.archive(str(self.path))
        if self.archive is not None:
            atexit.register(self.save)

    def save(self):
        """Write the archive, if this process added to it; where that fails the next compiles."""
        if not self.added or self.archive is None or self.device.owner != os.getpid():
            return
        beside = self.path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self.archive.save(str(beside))
            os.replace(beside, self.path)
        with contextlib.suppress(OSError):
            beside.unlink()
