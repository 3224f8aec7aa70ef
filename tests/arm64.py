"""Builds the kernels for 64-bit ARM and runs tests of theirs under an emulator.

``python -m tests.arm64`` exits with pytest's status; arguments go to pytest.

Rules: the machine's own packages stay as they are: Debian's packages for arm64 (Python, its headers
and what it needs) are unpacked below ``build/arm64/root``, with package lists of their own, and
Python packages as wheels for that platform below ``build/arm64/site``. What has to be installed is
a cross compiler and the emulator: ``gcc-aarch64-linux-gnu`` and ``qemu-user-static``.
"""

import os
import shutil
import subprocess
import sys

from .elsewhere import ROOT, copy_sources

WORK = ROOT / "build/arm64"
SYSTEM, SITE, TREE = WORK / "root", WORK / "site", WORK / "tree"
TOOLS = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "qemu-aarch64-static": "qemu-user-static",
}
WHEELS = ("numpy", "ml_dtypes", "pytest", "hypothesis", "mpmath")
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
# What tests kernels, and the rows of the table through them; no test of these starts a process.
TESTS = (
    *("tests/test_mathematics.py", "tests/test_matmul.py", "tests/test_reduce.py"),
    *("tests/test_scan.py", "tests/test_sort.py", "tests/test_quantized.py", "tests/test_table.py"),
    *("tests/test_conv.py", "tests/test_attention.py", "tests/test_random.py"),
    *("tests/test_fft.py", "tests/test_pool.py", "tests/test_recurrent.py"),
)


def run(*command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


def check_tools():
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        sys.exit(f"not there: {', '.join(missing)}; install with apt-get install")


def unpack_system():
    """Debian's Python for arm64 and what it needs; the machine's own list stays as it is."""
    state = WORK / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    apt = [
        "apt-get", "-q", "-oAPT::Architecture=arm64", "-oAPT::Architectures=arm64",
        f"-oDir::State::Lists={state}/lists", f"-oDir::State::status={state}/status",
        f"-oDir::Cache={state}/cache",
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL}
    run(*apt, "update", **quiet)
    needed = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
    run(*apt, "install", "-y", "--download-only", "--no-install-recommends", *needed, **quiet)
    archives = state / "cache/archives"
    version = next(archives.glob("libpython3.*-stdlib_*")).name.split("-")[0]
    run(*apt, "download", f"{version}-dev", cwd=archives, **quiet)  # without a C library's headers
    for package in sorted(archives.glob("*.deb")):
        run("dpkg-deb", "-x", package, SYSTEM)


def interpreter():
    return next(path for path in (SYSTEM / "usr/bin").glob("python3.*") if "-" not in path.name)


def install_wheels(version):
    """What the tests import, as wheels for that platform."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    run(
        sys.executable, "-m", "pip", "install", "-q", "--target", SITE, "--only-binary=:all:",
        *platforms, "--python-version", version, "--implementation", "cp", *WHEELS,
    )  # fmt: skip


def build(version):
    """Cross-compile in the copy of the sources."""
    suffix = f".cpython-{version.replace('.', '')}-aarch64-linux-gnu.so"
    headers = SYSTEM / "usr/include"
    settings = {
        "MLXC_BUILD_MACHINE": "aarch64",
        "MLXC_BUILD_ISA": "",
        "CC": "aarch64-linux-gnu-gcc",
        "LDSHARED": "aarch64-linux-gnu-gcc -shared",
        "CFLAGS": f"-I{headers}/python{version} -I{headers}",
        "SETUPTOOLS_EXT_SUFFIX": suffix,
        "PYTHONPATH": str(TREE),
    }
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    run(*command, "--plat-name", "linux-aarch64", cwd=TREE, env={**os.environ, **settings})


def main(*arguments):
    check_tools()
    if not SYSTEM.exists():
        unpack_system()
    python = interpreter()
    version = python.name.removeprefix("python")
    if not SITE.exists():
        install_wheels(version)
    copy_sources(TREE)
    build(version)
    command = ["qemu-aarch64-static", "-L", SYSTEM, python, "-m", "pytest"]
    command += ["-p", "no:cacheprovider", *(arguments or TESTS)]
    settings = {"PYTHONPATH": f"{TREE}{os.pathsep}{SITE}", "PYTHONHOME": str(SYSTEM / "usr")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=TREE,
        env={**os.environ, **settings, "PYTHONDONTWRITEBYTECODE": "1"},
    ).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
