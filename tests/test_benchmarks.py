"""The benchmarks' own machinery: what is compared with what, and how memory is measured."""

import sys

import pytest
from support import output_of

from bench.measuring import HOPELESS, measure, ratio, summarize
from bench.registry import CASES, Case, load_cases


class Timed:
    """A worker whose framework takes a fixed time."""

    def __init__(self, framework, seconds):
        self.framework, self.seconds, self.asked = framework, seconds, 0

    def block(self, name, seconds):
        self.asked += 1
        return self.seconds


def taken_by(**seconds):
    workers = {name: Timed(name, value) for name, value in seconds.items()}
    case = Case("sum.of nothing", "sum", None, dict.fromkeys(seconds))
    return workers, measure(case, workers, 5, 0.01)


def test_who_is_far_behind_is_measured_twice_only():
    workers, taken = taken_by(mlxc=1.0, torch=2.0, mlx=1.1 * HOPELESS)
    assert {name: worker.asked for name, worker in workers.items()} == {
        "mlxc": 5,
        "torch": 5,
        "mlx": 2,
    }
    assert [len(blocks) for blocks in taken.values()] == [5, 5, 2]


def test_a_framework_that_fails_is_no_peer():
    _, taken = taken_by(mlxc=2.0, torch="out of memory", jax=3.0)
    summary = {name: summarize(blocks) for name, blocks in taken.items()}
    assert summary["torch"] is None and ratio(summary) == 1.5


def test_every_variant_of_a_case_has_its_own_name_and_no_numpy():
    load_cases()
    assert "elementwise.exp 1e6, bfloat16" in CASES and "fused.silu 1e6, compiled" in CASES
    for name, case in CASES.items():
        assert case.name == name
        assert not (name.endswith((", float16", ", compiled")) and "numpy" in case.functions)


@pytest.mark.skipif(sys.platform != "linux", reason="the mark can be set back in /proc only")
def test_the_peak_of_a_case_is_what_its_steps_hold_at_once():
    code = (
        "import numpy\n"
        "from bench.memory import peak_of\n"
        "from bench.registry import case\n"
        "def held(lib):\n"
        "    first = lib.ones((10_000_000,), 'float32')\n"
        "    return first + 1\n"
        "case('held', lambda rng: [], mlx=None, numpy=held)\n"
        "print(peak_of('held', 'numpy'))"
    )
    assert 79e6 < int(output_of(code)) < 90e6
