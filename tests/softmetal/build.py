"""Builds the software Metal: the shim, unmodified, on a Foundation and a Metal of our own.

    python tests/softmetal/build.py [--compiler gobjc]     prints the path of the library

Rules: what is built stands in build/softmetal/<key>, where the key is a hash of everything that
matters (sources, headers, translator, compilers, flags); a folder is complete or not there. The
tools that compile shaders are copied beside the library, so that both always fit.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OBJC = ROOT / "objc"
LIBRARIES = {"clang": "libmlxc_metal_soft.so", "gobjc": "libmlxc_metal_soft_gobjc.so"}
RUNTIME = ["runtime", "memory", "processor", "compiling", "shadow", "cuda"]
SHIM = [HERE / "foundation.m", HERE / "softmetal.m", OBJC / "mlxc_metal.m"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
OBJC_FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-fPIC", *WARNINGS]
OBJC_FLAGS += ["-Wno-objc-root-class", "-fconstant-string-class=NSConstantString"]
OBJC_FLAGS += [f"-I{HERE}/include", f"-I{HERE}"]
RUNTIME_FLAGS = ["-std=c++17", "-D_GNU_SOURCE", "-O2", "-g", "-fPIC", "-fno-strict-aliasing"]
RUNTIME_FLAGS += [*WARNINGS, f"-I{HERE}", "-static-libstdc++", "-static-libgcc"]
# Of shaders: every half operation rounds, nothing is contracted, nothing assumed of aliases.
SHADER_FLAGS = ["-x", "c++", "-std=c++17", "-O1", "-fPIC", "-w", "-nostdinc", "-nostdinc++"]
SHADER_FLAGS += ["-fno-exceptions", "-fno-rtti", "-fno-strict-aliasing", "-fsigned-char", "-fwrapv"]
SHADER_FLAGS += ["-fno-delete-null-pointer-checks"]  # their use is to be seen, not optimised away
SHADER_FLAGS += ["-ffp-contract=off", "-fno-math-errno"]
SHADER_FLAGS += ["-Xclang", "-ffloat16-excess-precision=none"]
SHADER_FLAGS += ["-ferror-limit=20", "-fno-threadsafe-statics", "-fvisibility=hidden"]


def architecture_flags():
    """Half floats in hardware, where this processor has them."""
    if platform.machine() == "x86_64":
        words = set(Path("/proc/cpuinfo").read_text().split())
        if {"avx2", "f16c", "fma", "bmi2", "movbe"} <= words:
            return ["-march=x86-64-v3"]
    return []


def version(command):
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[0]


def key():
    """A hash of all that what is built depends on; compiled headers also on where they stand."""
    digest = hashlib.sha256(f"{ROOT}\0{sys.executable}\0{platform.machine()}\0".encode())
    paths = [HERE / "build.py", HERE / "mslc.py", *SHIM]
    paths += [path for pattern in ("*.cc", "*.h") for path in HERE.glob(pattern)]
    paths += [path for name in ("include", "compat") for path in (HERE / name).rglob("*")]
    for path in sorted([*paths, *OBJC.glob("*.h")]):
        if path.is_file():
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    for text in [version("clang-19"), version("gcc"), *architecture_flags()]:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def gcc_file(name):
    return Path(run("gcc", f"-print-file-name={name}")).resolve()


def build_shim(folder, compiler):
    """One library a compiler; Objective-C's runtime lies beside it, so that it runs anywhere."""
    flags, tool = OBJC_FLAGS, "gcc"
    libraries = [gcc_file("libobjc.so")]
    if compiler == "clang":
        tool = "clang-19"
        headers = gcc_file("include/objc/objc.h").parents[1]
        flags = [*flags, "-fblocks", "-fobjc-runtime=gcc", "-idirafter", headers]
        flags = [*flags, "-Wno-deprecated-objc-isa-usage"]
        libraries.append(gcc_file("libBlocksRuntime.so"))
    objects = []
    for source in SHIM:
        objects.append(folder / f"{compiler}.{source.stem}.o")
        run(tool, *flags, "-c", source, "-o", objects[-1])
    for library in libraries:
        soname = run("objdump", "-p", library).split("SONAME")[1].split()[0]
        shutil.copy(library, folder / soname)
    out = folder / LIBRARIES[compiler]
    run("g++", "-shared", *objects, folder / "libsoftmetal.so", *libraries, "-o", out,
        "-lpthread", "-Wl,-rpath,$ORIGIN", "-Wl,-z,defs", "-lc")  # fmt: skip
    for path in objects:
        path.unlink()


def build_into(folder):
    flags = [*SHADER_FLAGS, *architecture_flags()]
    (folder / "flags.txt").write_text("\n".join(flags))
    (folder / "python.txt").write_text(sys.executable)
    (folder / "key.txt").write_text(key())
    shutil.copy(HERE / "mslc.py", folder)
    shutil.copytree(HERE / "compat", folder / "compat")
    sources = [HERE / f"{name}.cc" for name in RUNTIME]
    run("clang++-19", *RUNTIME_FLAGS, "-shared", *sources, "-o", folder / "libsoftmetal.so",
        "-Wl,-soname,libsoftmetal.so", "-lpthread", "-ldl")  # fmt: skip
    for compiler in LIBRARIES:
        build_shim(folder, compiler)


def build_headers(folder):
    """Compiled headers remember where they stand, so they are made in place."""
    flags = (folder / "flags.txt").read_text().split("\n")
    flags = ["c++-header" if flag == "c++" else flag for flag in flags]
    check = ["-Xclang", "-fsanitize=thread", "-gline-tables-only"]
    for mode, more in (("plain", []), ("check", check)):
        out = folder / f"kernel.{mode}.pch"
        run("clang++-19", *flags, *more, folder / "compat/kernel.h", "-o", f"{out}.new")
        os.replace(f"{out}.new", out)


def forget_old(parent):
    """Keeps the builds of the last day, and at least four: each has some megabytes."""
    builds = [path.parent for path in parent.glob("*/key.txt")]
    builds.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in builds[4:]:
        if time.time() - folder.stat().st_mtime > 86400:
            shutil.rmtree(folder, ignore_errors=True)


def build(compiler="clang"):
    """Build what is not there; the path of the library."""
    parent = ROOT / "build/softmetal"
    folder = parent / key()
    if not folder.exists():
        parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=parent))
        build_into(scratch)
        try:
            scratch.rename(folder)
        except OSError:
            shutil.rmtree(scratch)  # another process was quicker
        forget_old(parent)
    if not all((folder / f"kernel.{mode}.pch").exists() for mode in ("plain", "check")):
        build_headers(folder)
    os.utime(folder)  # used just now
    return folder / LIBRARIES[compiler]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--compiler", choices=sorted(LIBRARIES), default="clang")
    print(build(parser.parse_args().compiler))
