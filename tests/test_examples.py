"""Every example runs to its end by one command, offline, with ``--quick``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "common.py")


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_runs_to_its_end(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--quick"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr and done.stdout.strip()


def test_the_digits_classifier_reads_what_it_has_not_seen(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "digits.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "MPLBACKEND": "Agg"},
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("final test accuracy"))
    assert float(line.split()[3].rstrip("%")) >= 97, line
