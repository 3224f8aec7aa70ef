"""Builds the compiled modules. What there is to build is found by walking `mlxc`, not listed here.

Rules: a module of `mlxc/_kernels` is built once per instruction set as
`mlxc._kernels.<isa>.<name>`, from its .pyx or from a renderer (`mlxc/_kernels/*_render.py`,
`mlxc/_table/render.py`, which have `render(isa) -> {module name: source}`). Every other .pyx is one
ordinary module. Generated sources go to `build/` and are rewritten only when they change, so that
builds are incremental.

Environment: MLXC_BUILD_ISA=v4 (or v3,v4) builds only those; MLXC_DEBUG_BUILD=1 checks bounds and
keeps debug information; MLXC_STRICT=1 makes warnings errors; MLXC_BUILD_JOBS limits the processes;
MLXC_SANITIZE=address,undefined (or thread) builds with those sanitisers: see tests/sanitize;
MLXC_BUILD_MACHINE=aarch64 builds for another machine than this one: see tests/arm64.
"""

import importlib
import os
import platform
import shlex
import sys
import types
from pathlib import Path

import Cython
from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
os.chdir(ROOT)  # paths below are relative: generated C does not depend on where the project is

ISA_FLAGS = {
    "v2": ["-march=x86-64-v2"],
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "arm64": [],
}
ISAS_OF_MACHINE = {
    "x86_64": ("v2", "v3", "v4"),
    "amd64": ("v2", "v3", "v4"),
    "arm64": ("arm64",),
    "aarch64": ("arm64",),
}
KERNEL_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fwrapv"]
MODULE_FLAGS = ["-O2"]
# What Cython's own output sets off; everything else of -Wall -Wextra stands.
QUIET_FLAGS = [
    "-Wno-unused-function",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
    "-Wno-sign-compare",
    "-Wno-type-limits",  # one formula serves signed and unsigned
]

DEBUG = os.environ.get("MLXC_DEBUG_BUILD", "0") not in ("", "0")
STRICT = os.environ.get("MLXC_STRICT", "0") not in ("", "0")
JOBS = int(os.environ.get("MLXC_BUILD_JOBS") or os.cpu_count() or 1)
SANITIZERS = os.environ.get("MLXC_SANITIZE", "").replace(",", " ").split()
COMMON_FLAGS = ["-Wall", "-Wextra", *QUIET_FLAGS, "-g" if DEBUG else "-g0"]
if STRICT:
    COMMON_FLAGS.append("-Werror")
# Beyond gcc's own choice: a float beyond the integers is undefined in C, and differs by machine.
SANITIZE_LINK = [f"-fsanitize={name}" for name in SANITIZERS]
SANITIZE_FLAGS = [*SANITIZE_LINK, "-O1", "-g1", "-fno-omit-frame-pointer"] if SANITIZERS else []
if "address" in SANITIZERS:
    SANITIZE_FLAGS += ["-fsanitize-recover=address"]  # a report does not end the process
if "undefined" in SANITIZERS:
    SANITIZE_FLAGS += ["-fsanitize=float-cast-overflow"]
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": True,  # x[-1] of a tuple means its last item, not what stands before it
    "cdivision": True,
    "initializedcheck": DEBUG,
}


# Kernels index pointers only.
KERNEL_DIRECTIVES = {"wraparound": False}


def target_isas():
    """The instruction sets to build for: those of the machine, or the chosen ones of them."""
    machine = os.environ.get("MLXC_BUILD_MACHINE") or platform.machine().lower()
    for flag in shlex.split(os.environ.get("ARCHFLAGS", "")):  # how macOS says what to build for
        machine = flag.lower() if flag in ISAS_OF_MACHINE else machine
    if machine not in ISAS_OF_MACHINE:
        known = ", ".join(sorted(ISAS_OF_MACHINE))
        sys.exit(f"mlxc cannot be built for {machine!r}; it knows {known}.")
    known = ISAS_OF_MACHINE[machine]
    chosen = os.environ.get("MLXC_BUILD_ISA", "").replace(",", " ").split()
    unknown = [isa for isa in chosen if isa not in known]
    if unknown:
        sys.exit(f"MLXC_BUILD_ISA names {unknown}; for {machine} there are {list(known)}.")
    return [isa for isa in known if not chosen or isa in chosen]


def import_renderers():
    """The renderer modules. They run before anything is compiled, so bare packages stand in for
    `mlxc` and `mlxc._kernels`."""
    for name in ("mlxc", "mlxc._kernels"):
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT / name.replace(".", "/"))]
        sys.modules[name] = package
    paths = sorted(Path("mlxc/_kernels").glob("*_render.py"))
    paths += [path for path in [Path("mlxc/_table/render.py")] if path.exists()]
    return [(path, importlib.import_module(".".join(path.with_suffix("").parts))) for path in paths]


def write_if_changed(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def kernel_sources(isas):
    """Write the kernel modules' sources; yields (isa, name, path) of each."""
    handwritten = sorted(Path("mlxc/_kernels").glob("*.pyx"))
    renderers = import_renderers()
    for isa in isas:
        written = set()
        for origin, sources in [
            *((path, {path.stem: path.read_text()}) for path in handwritten),
            *((path, renderer.render(isa)) for path, renderer in renderers),
        ]:
            for name, source in sources.items():
                path = Path("build/kernels", isa, f"{name}.pyx")
                if path in written:
                    sys.exit(f"two kernel sources make a module {name!r}; one of them is {origin}.")
                written.add(path)
                head = f"# Generated by setup.py from {origin}: do not edit.\n"
                write_if_changed(path, head + source)
                yield isa, name, path
        for stale in set(Path("build/kernels", isa).glob("*.pyx")) - written:
            stale.unlink()


def extension(name, path, flags, directives=()):
    source = path.read_text()
    include = ["."]  # headers are named from the project's folder
    if "cimport numpy" in source or "from numpy cimport" in source:
        import numpy

        include.append(numpy.get_include())
    macros = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")] if len(include) > 1 else []
    module = Extension(
        name,
        [str(path)],
        include_dirs=include,
        define_macros=macros,
        extra_compile_args=[*flags, *COMMON_FLAGS, *SANITIZE_FLAGS],
        extra_link_args=SANITIZE_LINK,
    )
    module.cython_directives = dict(directives)
    return module


def add_metal(module):
    """Link the Metal shim into its binding; where there is no Metal, what says so."""
    module.depends += ["objc/mlxc_metal.h", "mlxc/_metal/library.h"]
    if sys.platform == "darwin":
        module.sources.append("objc/mlxc_metal.m")
        module.extra_compile_args += ["-fno-objc-arc", "-fblocks"]
        module.extra_link_args += ["-framework", "Metal", "-framework", "Foundation"]
    else:
        module.sources.append("objc/no_metal.c")
        module.libraries.append("dl")
    return module


def extensions():
    for path in sorted(Path("mlxc").rglob("*.pyx")):
        if path.parent != Path("mlxc/_kernels"):
            module = extension(".".join(path.with_suffix("").parts), path, MODULE_FLAGS)
            yield add_metal(module) if module.name == "mlxc._metal.shim" else module
    for isa, name, path in kernel_sources(target_isas()):
        flags = [*KERNEL_FLAGS, *ISA_FLAGS[isa]]
        yield extension(f"mlxc._kernels.{isa}.{name}", path, flags, KERNEL_DIRECTIVES)


class BuildExtensions(build_ext):
    """Compiles several modules at once, and all of them again when the flags changed. What is built
    in place keeps its objects in one folder, so that `build_ext --inplace` goes on from what
    `pip install -e`, whose folders are temporary ones, has built."""

    def finalize_options(self):
        super().finalize_options()
        if self.inplace:
            self.build_lib, self.build_temp = "build/inplace", "build/objects"
        self.parallel = self.parallel or JOBS
        self.force = self.force or FLAGS_CHANGED


class BuildPython(build_py):
    """Packs the shaders, which stand beside the package, as `mlxc/_metal/shaders`."""

    def run(self):
        super().run()
        if getattr(self, "editable_mode", False):
            return  # found beside the package
        target = Path(self.build_lib, "mlxc/_metal/shaders")
        for path in sorted(Path("shaders").glob("*")):
            if path.suffix in (".metal", ".h"):
                self.mkpath(str(target))
                self.copy_file(str(path), str(target / path.name))


def flags_changed():
    """Whether the last build in this folder had other flags; remembers the present ones."""
    stamp = Path("build/flags.txt")
    flags = (Cython.__version__, DEBUG, DIRECTIVES, MODULE_FLAGS, KERNEL_FLAGS, ISA_FLAGS)
    flags += tuple(SANITIZERS)
    changed = stamp.exists() and stamp.read_text() != repr(flags)
    write_if_changed(stamp, repr(flags))
    return changed


if __name__ == "__main__":
    FLAGS_CHANGED = flags_changed()
    Options.warning_errors = STRICT
    setup(
        ext_modules=cythonize(
            list(extensions()),
            nthreads=JOBS,
            force=FLAGS_CHANGED,
            build_dir="build/cython",
            include_path=["."],
            compiler_directives=DIRECTIVES,
        ),
        cmdclass={"build_ext": BuildExtensions, "build_py": BuildPython},
    )
