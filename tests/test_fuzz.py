"""A small fixed part of what the fuzzer does: see fuzz.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory through /proc and RLIMIT_AS")
def test_hostile_calls_give_results_or_clear_errors():
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    answer = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--calls", "10000", "--seed", "2024"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert answer.returncode == 0, answer.stdout[-5000:] + answer.stderr[-2000:]
