"""clang, which builds on a Mac, warns of nothing in the C code that gcc built here."""

import json
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = """
import json, runpy
made = runpy.run_path("setup.py")["extensions"]()
print(json.dumps([[m.sources[0], m.extra_compile_args, m.include_dirs, m.define_macros]
                  for m in made]))
"""


def modules():
    """(C file, arguments of the compiler) of all modules, kernels of the widest registers only."""
    done = subprocess.run(
        [sys.executable, "-c", LIST], cwd=ROOT, capture_output=True, text=True, check=True
    )
    made = json.loads(done.stdout)
    kernels = sorted({Path(source).parent for source, *_ in made if "build/kernels" in source})
    for source, flags, folders, macros in made:
        if "build/kernels" not in source or Path(source).parent == kernels[-1]:
            named = [f"-I{path}" for path in (*folders, sysconfig.get_path("include"))]
            named += [f"-D{name}={value}" for name, value in macros]
            yield Path("build/cython", source).with_suffix(".c"), [*flags, *named]


def warnings(module):
    path, arguments = module
    command = ["clang-19", "-fsyntax-only", "-Werror", *arguments, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr[:2000]


def test_clang_warns_of_nothing_in_the_compiled_modules():
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(warnings, modules()))
    assert len(found) > 60 and "".join(found) == ""
