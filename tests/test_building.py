"""What setup.py makes of its environment: sanitisers, another machine; and copies to build in.

Rules: setup.py runs in a copy of the sources, since it writes the kernels that it renders.
"""

import json
import os
import subprocess
import sys

import elsewhere
import pytest
from elsewhere import copy_sources

LIST = """
import json, runpy
made = runpy.run_path("setup.py")["extensions"]()
print(json.dumps([[each.name, each.extra_compile_args, each.extra_link_args] for each in made]))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    target = tmp_path_factory.mktemp("tree")
    copy_sources(target)
    return target


def run_setup(tree, **settings):
    return subprocess.run(
        [sys.executable, "-c", LIST],
        cwd=tree,
        env={**os.environ, "MLXC_BUILD_ISA": "", "PYTHONPATH": str(tree), **settings},
        capture_output=True,
        text=True,
    )


def extensions(tree, **settings):
    """{name: (flags of the compiler, of the linker)}"""
    answer = run_setup(tree, **settings)
    assert answer.returncode == 0, answer.stderr
    return {name: (compiling, linking) for name, compiling, linking in json.loads(answer.stdout)}


def test_every_module_is_built_with_the_sanitisers_that_are_asked_for(tree):
    made = extensions(tree, MLXC_SANITIZE="address,undefined")
    for compiling, linking in made.values():
        assert {"-fsanitize=address", "-fsanitize=undefined"} <= {*compiling} & {*linking}
        assert "-fsanitize=float-cast-overflow" in compiling
    assert not any("sanitize" in repr(flags) for flags in extensions(tree).values())


def test_kernels_are_built_for_the_machine_that_is_asked_for(tree):
    made = extensions(tree, MLXC_BUILD_MACHINE="aarch64")
    isas = {name.split(".")[2] for name in made if name.startswith("mlxc._kernels.")}
    assert isas == {"arm64"}
    assert not any("-march=x86-64" in repr(flags) for flags in made.values())


def test_a_machine_that_nobody_knows_is_refused(tree):
    answer = run_setup(tree, MLXC_BUILD_MACHINE="pdp11")
    assert answer.returncode == 1
    assert "mlxc cannot be built for 'pdp11'" in answer.stderr


def test_a_copy_follows_the_sources_and_keeps_what_was_built(tmp_path, monkeypatch):
    origin, copy = tmp_path / "origin", tmp_path / "copy"
    (origin / "mlxc").mkdir(parents=True)
    for name in ("mlxc/a.py", "mlxc/b.py", "mlxc/c.so", "setup.py"):
        (origin / name).write_text(name)
    monkeypatch.setattr(elsewhere, "ROOT", origin)
    copy_sources(copy)
    assert sorted(path.name for path in copy.rglob("*.*")) == ["a.py", "b.py", "setup.py"]

    built = copy / "mlxc/a.so"
    built.write_text("compiled")
    unchanged = (copy / "mlxc/a.py").stat().st_mtime_ns
    (origin / "mlxc/b.py").unlink()
    (origin / "setup.py").write_text("new")
    copy_sources(copy)
    assert sorted(path.name for path in copy.rglob("*.*")) == ["a.py", "a.so", "setup.py"]
    assert (copy / "setup.py").read_text() == "new"
    assert (copy / "mlxc/a.py").stat().st_mtime_ns == unchanged
