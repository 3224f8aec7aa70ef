"""The programs of README.md run, one after the other, as a reader would type them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_every_program_of_the_readme_runs():
    programs = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(programs) >= 5
    space = {"__name__": "readme"}
    for program in programs:
        exec(compile(program, "README.md", "exec"), space)
    assert space["b"].shape == (2, 2) and str(space["b"].dtype) == "mlxc.core.float32"


def test_every_file_that_the_readme_links_to_is_there():
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
        assert (ROOT / target).exists(), target


def test_every_variable_of_the_readme_is_read_somewhere():
    sources = [*(ROOT / "mlxc").rglob("*.py"), *(ROOT / "mlxc").rglob("*.pyx"), ROOT / "setup.py"]
    text = "\n".join(path.read_text() for path in sources)
    for name in set(re.findall(r"`(MLXC_\w+)", README)):
        assert name in text, name
