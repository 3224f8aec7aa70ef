"""A small fixed part of what the fuzzer does, and what it found, minimised: see fuzz.py."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mlxc.core as mx
import mlxc.nn as nn
from mlxc.core import _files

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


@pytest.mark.parametrize("size", [2**31, 2**32, 2**40])
def test_a_product_without_its_empty_axis_may_be_too_large(size):
    x = mx.zeros((size, 0))
    with pytest.raises(ValueError, match=r"\[matmul\] shape .* is larger than memory can be"):
        x @ x.T


def test_a_triangular_matrix_that_cannot_be_solved_with_is_named():
    a = mx.array([[0.0, 0.0], [1.0, 1.0]])
    for solve in (mx.linalg.cholesky_inv, mx.linalg.tri_inv):
        with pytest.raises(np.linalg.LinAlgError, match=r"^\[solve_triangular\]"):
            mx.eval(solve(a, stream=mx.cpu))


def test_an_activation_takes_what_an_operation_takes():
    assert nn.hardswish(bytearray([1, 9])).tolist() == pytest.approx([4 / 6, 9.0])


def test_the_inverse_of_a_triangle_with_an_infinite_number_is_what_arithmetic_says():
    inverse = mx.linalg.tri_inv(mx.array([[1.0, 0.0], [np.inf, 2.0]]), stream=mx.cpu)
    assert inverse[0].tolist() == [1.0, 0.0]
    assert inverse[1, 0].item() == -np.inf


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
@pytest.mark.parametrize("convert", [np.asarray, np.array, memoryview, lambda x: np.add(x, 1)])
def test_a_signal_while_numpy_waits_for_an_array_is_heard(convert):
    class Stop(BaseException):
        pass

    def stop(number, frame):
        raise Stop

    x = mx.sum(mx.broadcast_to(mx.array(1.0), (2**36,)))
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Stop):
            convert(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_large_arrays_are_written_in_pieces_between_which_signals_are_heard(monkeypatch):
    written = []

    class Full(io.BytesIO):
        def write(self, data):
            written.append(len(data))
            return super().write(data)

    monkeypatch.setattr(_files, "PIECE", 1000)
    for save in (mx.save, lambda file, x: mx.save_safetensors(file, {"x": x}),
                 lambda file, x: mx.save_gguf(file, {"x": x}, {})):  # fmt: skip
        file = Full()
        save(file, mx.zeros((5000,), mx.int8))
        assert written and max(written) <= 1000
        assert len(file.getvalue()) > 5000
        written.clear()


def test_a_mirrored_margin_of_any_width_is_refused_or_made():
    with pytest.raises(ValueError, match=r"^\[pad\] widths"):
        mx.pad(mx.zeros((3,)), 2**100, mode="reflect")


def test_a_range_from_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match=r"^\[arange\]"):
        mx.arange(np.array([object()]))


@pytest.mark.parametrize("names", [np.array(1), 5, "xy", None])
def test_names_of_a_kernels_parameters_are_a_list(names):
    with pytest.raises(TypeError, match=r"^\[metal_kernel\]"):
        mx.fast.metal_kernel("f", names, ["y"], "y[0] = 1;")


def test_options_of_a_kernel_are_a_dictionary():
    with pytest.raises(ValueError, match=r"^\[metal_kernel\] compile_options inf"):
        mx.fast.metal_kernel("f", ["x"], ["y"], "", compile_options=np.inf)
