"""Programs written for MLX run unchanged with mlxc under its name, and give the numbers that MLX
gives."""

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs.py")
NAMES = re.findall(r"^@program\ndef (\w+)", PROGRAMS.read_text(), re.MULTILINE)
# What training amplifies of the last bits; whole numbers and texts are compared exactly.
RELATIVE, ABSOLUTE = 1e-3, 1e-4


def run(*arguments, cwd=None, **environment):
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=600,
    )


def lines_of(*arguments, **options):
    answer = run(*arguments, **options)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout.splitlines()


@functools.cache
def numbers(*python):
    """What each program gives."""
    found = {}
    for line in lines_of(*python, PROGRAMS):
        found.update(json.loads(line))
    return found


def leaves(tree):
    if isinstance(tree, dict):
        tree = [*tree, *tree.values()]
    return [leaf for item in tree for leaf in leaves(item)] if isinstance(tree, list) else [tree]


@pytest.mark.parametrize("name", NAMES)
def test_a_program_for_mlx_gives_the_same_numbers(name):
    ours = leaves(numbers("-m", "mlxc")[name])
    assert len(ours) > 0
    if importlib.util.find_spec("mlx") is None:
        pytest.skip("MLX is not installed")
    theirs = leaves(numbers()[name])
    assert ours == [
        pytest.approx(x, rel=RELATIVE, abs=ABSOLUTE) if isinstance(x, float) else x for x in theirs
    ]


# ---- mlx is mlxc ----


@pytest.fixture
def pretender(tmp_path):
    """A folder with an mlx that must not be imported."""
    (tmp_path / "mlx").mkdir()
    (tmp_path / "mlx/__init__.py").write_text("raise SystemError('another mlx')")
    return tmp_path


def test_a_program_runs_with_mlxc_as_its_mlx(pretender):
    path = pretender / "program.py"
    path.write_text(
        "import sys, mlx, mlx.core as mx, mlx.nn.layers.linear, mlx.optimizers as optim\n"
        "from mlx import nn\n"
        "from mlx.utils import tree_map\n"
        "import mlxc.core, mlxc.nn\n"
        "assert mx is mlxc.core is mlx.core and nn is mlxc.nn and __name__ == '__main__'\n"
        "assert mx.__spec__.name == 'mlxc.core' and mlx.nn.layers.linear.Linear is nn.Linear\n"
        "print(sys.argv[1:], mx.ones(2).tolist(), sys.path[0], __file__)\n"
        "sys.exit(7)\n"
    )
    answer = run("-m", "mlxc", path, "--steps", 3)
    assert answer.stdout.split("\n")[0] == f"['--steps', '3'] [1.0, 1.0] {pretender} {path}"
    assert answer.returncode == 7


def test_data_types_and_versions_are_those_of_mlx(pretender):
    path = pretender / "program.py"
    path.write_text(
        "import importlib.metadata, pickle, mlx.core as mx, mlxc\n"
        "print(mx.float32, repr(mx.array([True]).dtype), type(mx.int8), type(mx.ones(1)))\n"
        "print(mx.__version__ == importlib.metadata.version('mlx') != mlxc.__version__)\n"
        "print(mx.__version__, importlib.metadata.metadata('mlx')['Name'])\n"
        "kept = pickle.loads(pickle.dumps([mx.array, mx.Dtype, mx.bfloat16]))\n"
        "print(kept == [mx.array, mx.Dtype, mx.bfloat16])\n"
        "print('mlx' in {d.metadata['Name'] for d in importlib.metadata.distributions()})\n"
    )
    lines = lines_of("-m", "mlxc", path)
    assert lines[0] == (
        "mlx.core.float32 mlx.core.bool <class 'mlx.core.Dtype'> <class 'mlx.core.array'>"
    )
    assert lines[1] == "True" and re.fullmatch(r"0\.\d+\.\d+ mlx", lines[2])
    assert lines[3:] == ["True", "True"]
    assert lines_of("-c", "import mlxc.core as mx; print(mx.float32, mx.array)") == [
        "mlxc.core.float32 <class 'mlxc.core.array'>"
    ]


def test_a_module_runs_with_mlxc_as_its_mlx(pretender):
    (pretender / "package").mkdir()
    (pretender / "package/__main__.py").write_text(
        "import sys, mlx.core as mx\nprint(sys.argv[1:], mx.__name__)"
    )
    lines = lines_of("-m", "mlxc", "-m", "package", "a", "b", cwd=pretender)
    assert lines == ["['a', 'b'] mlxc.core"]


def test_mlx_that_is_imported_already_is_not_replaced(tmp_path):
    (tmp_path / "mlx").mkdir()
    (tmp_path / "mlx/__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import mlx, mlxc\n"
        "try: mlxc.as_mlx()\n"
        "except ImportError as error: print(error)"
    )
    assert lines_of("-c", code) == [
        "[as_mlx] mlx is imported already; call as_mlx before that",
    ]


def test_names_that_mlxc_does_not_have_are_import_errors(pretender):
    code = (
        "import mlxc; mlxc.as_mlx(); mlxc.as_mlx()\n"
        "for name in ('mlx.unknown', 'mlx.nn.unknown', 'mlxother'):\n"
        "    try: __import__(name)\n"
        "    except ModuleNotFoundError as error: print(error.name)"
    )
    assert lines_of("-c", code, cwd=pretender) == ["mlx.unknown", "mlx.nn.unknown", "mlxother"]


def test_what_cannot_be_run_is_said():
    for arguments, text in ((["-m"], "name of a module"), (["--fast"], "usage")):
        answer = run("-m", "mlxc", *arguments)
        assert answer.returncode == 1 and text in answer.stderr
    assert "No such file" in run("-m", "mlxc", "nowhere.py").stderr
