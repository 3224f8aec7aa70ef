"""The GPU as a device of mlxc: what runs there, in which order, on whose memory, and what is said
where that cannot be."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mlxc.core as mx
from mlxc._backends.metal import maps, programs, sources
from mlxc._memory.regions import regions
from mlxc._metal.shim import get_device
from mlxc._table import load_rows
from mlxc._table.dtypes import CODE

ROOT = Path(__file__).resolve().parents[2]
KEY = mx.random.key(3)
ROW = {row.name: row.code for row in load_rows()}


def dispatched(function):
    """A function's result, evaluated, and the dispatches that this took."""
    before = get_device().dispatched
    result = function()
    mx.eval(result)
    return result, get_device().dispatched - before


def python(code, **variables):
    """What a process of its own prints; None among the variables: not set."""
    kept = {key: value for key, value in {**os.environ, **variables}.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip()


# ---- devices and streams


def test_threads_begin_on_the_gpu():
    assert mx.default_device() == mx.gpu and mx.metal.is_available()
    assert mx.is_available(mx.gpu) and mx.device_count(mx.gpu) == 1
    info = mx.device_info(mx.gpu)
    assert info == mx.metal.device_info() == mx.device_info()
    for name in ("device_name", "architecture", "memory_size", "max_buffer_length"):
        assert name in info
    assert "device_name" in mx.device_info(mx.cpu)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, s: mx.add(x, 1, stream=s),
        lambda x, s: mx.sum(x, stream=s),
        lambda x, s: mx.matmul(x, x, stream=s),
        lambda x, s: mx.softmax(x, axis=-1, stream=s),
        lambda x, s: mx.fft.fft(x, stream=s),
        lambda x, s: mx.random.uniform(shape=(5,), key=KEY, stream=s),
        lambda x, s: mx.fast.rms_norm(x, None, 1e-5, stream=s),
        lambda x, s: x.sum(stream=s),
    ],
    ids="add sum matmul softmax fft random fast method".split(),
)
def test_an_operation_runs_where_its_stream_says(function):
    x = mx.array(np.ones((4, 4), np.float32))
    mx.eval(KEY)
    for there in (mx.cpu, mx.default_stream(mx.cpu)):
        assert dispatched(lambda there=there: function(x, there))[1] == 0
    for there in (mx.gpu, mx.new_stream(mx.gpu), None):
        assert dispatched(lambda there=there: function(x, there))[1] > 0


def test_the_default_device_is_each_threads_own():
    x = mx.array(np.ones(5, np.float32))
    seen = []

    def elsewhere():
        seen.append(mx.default_device())
        seen.append(dispatched(lambda: x + 1)[1])

    mx.set_default_device(mx.cpu)
    try:
        assert dispatched(lambda: x + 1)[1] == 0
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    finally:
        mx.set_default_device(mx.gpu)
    assert seen == [mx.Device(mx.gpu), 1]
    with mx.stream(mx.cpu):
        assert mx.default_device() == mx.cpu
    assert mx.default_device() == mx.gpu


def test_values_go_from_one_device_to_the_other():
    x = mx.array(np.arange(6.0), dtype=mx.float32)
    for _ in range(3):
        with mx.stream(mx.cpu):
            x = x * 2 + 1
        x = mx.sqrt(x) + x
    y = np.arange(6.0)
    for _ in range(3):
        y = y * 2 + 1
        y = np.sqrt(y) + y
    np.testing.assert_allclose(np.array(x), y, rtol=1e-6)


def test_what_the_gpu_cannot_runs_on_the_processor_in_the_same_graph():
    x = mx.array(np.linspace(0, 1, 7), dtype=mx.float64)
    y = (mx.sin(x) + 1).astype(mx.float32)
    out, count = dispatched(lambda: mx.exp(y) * 2)
    assert count == 1
    np.testing.assert_allclose(np.array(out), np.exp(np.sin(np.array(x)) + 1) * 2, rtol=1e-6)
    spd = mx.eye(3) * 4 + 1
    with mx.stream(mx.cpu):
        expected = np.linalg.cholesky(np.array(spd))
    np.testing.assert_allclose(np.array(mx.linalg.cholesky(spd) * 1), expected, rtol=1e-6)


def test_async_evaluation_and_synchronize_wait_for_the_gpu():
    x = mx.array(np.arange(1000.0), dtype=mx.float32)
    y = [mx.sin(x + k) for k in range(5)]
    mx.async_eval(*y)
    mx.synchronize()
    mx.synchronize(mx.default_stream(mx.gpu))
    for k in range(5):
        np.testing.assert_allclose(np.array(y[k]), np.sin(np.arange(1000.0) + k), atol=1e-4)


def test_threads_may_use_the_gpu_side_by_side():
    wrong = []

    def work(seed):
        for k in range(10):
            x = mx.full((100,), seed * 100 + k)
            if not mx.all((x * 2 + 1).sum() == 200 * (seed * 100 + k) + 100).item():
                wrong.append((seed, k))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- what is sent


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: mx.sin(x * 2 + 1) / 3, 1),
        (lambda x: mx.softmax(x, axis=-1), 1),
        (lambda x: mx.fast.layer_norm(x, x[0], x[1], 1e-5), 1),
        (lambda x: (x.T + x).sum(axis=0), 1),
        (lambda x: x[::-1, 1:3].T.reshape(-1), 1),
        (lambda x: mx.zeros((0, 3)) + 1, 0),
    ],
    ids="map softmax layer_norm reduce copy empty".split(),
)
def test_a_fused_group_is_one_dispatch(function, expected):
    x = mx.array(np.random.default_rng(1).standard_normal((6, 6)), dtype=mx.float32)
    out, count = dispatched(lambda: function(x))
    assert count == expected
    with mx.stream(mx.cpu):
        reference = function(x)
    np.testing.assert_allclose(np.array(out), np.array(reference), rtol=1e-5, atol=1e-6)


def test_one_kernel_serves_all_sizes_and_is_compiled_once(monkeypatch):
    compiled = []
    expand = sources.expand
    monkeypatch.setattr(
        sources, "expand", lambda text, *a: compiled.append(text) or expand(text, *a)
    )
    for size in (50, 51, 2000, 70001):
        x = mx.array(np.arange(size), dtype=mx.float32)
        assert mx.all(mx.cos(mx.floor(x) * 0 + 0.25) * 7 == mx.cos(mx.array(0.25)) * 7).item()
    assert 0 < len(compiled) == len(set(compiled)) <= 6


def test_a_large_program_says_64_bit_offsets_and_covers_every_element():
    for size, whole in ((2**31 - 1, "uint"), (2**31, "ulong"), (2**33 + 5, "ulong")):
        float32 = CODE["float32"]
        program = SimpleNamespace(
            kind="map", space=(size,), row_axes=0, reduced=(),
            values=[("load", float32, 0, 0, (4,)), ("op", ROW["exp"], float32, (0,))],
            outputs=[(1, float32, 1, (4,))],
        )  # fmt: skip
        (dispatch,) = programs.dispatches(program)
        assert f"const {whole} i = " in dispatch.source
        threads = dispatch.group[0] * maps.EACH
        assert dispatch.grid[0] * threads >= size > (dispatch.grid[0] - 1) * threads
        assert max(dispatch.grid) < 2**32


def test_a_large_strided_program_says_64_bit_offsets():
    float32 = CODE["float32"]
    program = SimpleNamespace(
        kind="map", space=(70000, 70000), row_axes=0, reduced=(),
        values=[("load", float32, 0, 0, (4, 280000))],
        outputs=[(0, float32, 1, (280000, 4))],
    )  # fmt: skip
    (dispatch,) = programs.dispatches(program)
    assert "long r_in0" in dispatch.source and "const ulong row" in dispatch.source


def test_a_profile_measures_the_work_itself():
    source = "float s = 0; for (uint k = 0; k < 400000; k++) s = metal::sin(s + 1.0f); out[0] = s;"
    slow = mx.fast.metal_kernel("slow", [], ["out"], source)

    def run():
        (out,) = slow(
            inputs=[], output_shapes=[(1,)], output_dtypes=[mx.float32],
            grid=(1, 1, 1), threadgroup=(1, 1, 1),
        )  # fmt: skip
        mx.eval(out)

    run()
    with mx.profile(show=False) as profile:
        run()
    assert profile.operations["metal_kernel"]["seconds"] > 1e-3


def test_a_value_that_somebody_holds_is_written_by_one_thread():
    """In check mode a race is found where every thread writes it."""
    x = mx.array(np.arange(3000.0), dtype=mx.float32)
    rows = mx.array(np.arange(12.0).reshape(3, 4), dtype=mx.float32)
    for function in (
        lambda s: (x * s, s),
        lambda s: (rows.T * s, s),
        lambda s: (mx.softmax(rows * s, axis=-1), s),
    ):
        mx.eval(x, rows)
        value, count = dispatched(lambda f=function: f(mx.sin(mx.array(2.0)) + 1))
        assert abs(value[1].item() - (np.sin(2) + 1)) < 1e-6 and count == 1


# ---- memory


def test_steps_that_repeat_take_no_more_memory():
    x = mx.array(np.random.default_rng(0).standard_normal((64, 64)), dtype=mx.float32)

    def step(x):
        return mx.tanh(x @ x.T / 64) + x * 0.5

    for k in range(12):
        x = step(x)
        mx.eval(x)
        if k == 3:
            before = mx.get_active_memory(), regions()[0]
    assert (mx.get_active_memory(), regions()[0]) == before


def test_memory_of_others_is_read_where_it_lies_and_small_arrays_share_pages():
    lent = np.arange(100_000, dtype=np.float32)[3:]
    x = mx.from_dlpack(lent) if hasattr(mx, "from_dlpack") else mx.array(lent)
    assert mx.sum(x[10:20]).item() == lent[10:20].sum()
    small = [mx.array([float(k)]) + 1 for k in range(300)]
    mx.eval(small)
    count, slabs, viewed = regions()
    assert slabs > 0 and viewed > 0 and count < 300
    assert [x.item() for x in small] == [k + 1 for k in range(300)]


def test_every_block_may_have_pages_of_its_own():
    code = "import mlxc.core as mx; print([(mx.ones(k) * 2).sum().item() for k in (1, 9, 5000)])"
    assert python(code, MLXC_METAL_SLABS="0") == "[2.0, 18.0, 10000.0]"


# ---- failures


BAD = """
import mlxc.core as mx
bad = mx.fast.metal_kernel("bad", ["x"], ["y"], "y[1ul << 40] = x[0];")
done = mx.ones(20) + 1
mx.eval(done)
(out,) = bad(
    inputs=[done], output_shapes=[(20,)], output_dtypes=[mx.float32],
    grid=(1, 1, 1), threadgroup=(1, 1, 1),
)
error = None
try:
    mx.eval(out)
except RuntimeError as raised:
    error = str(raised)
"""


def test_work_that_fails_names_its_kernel():
    told = python(BAD + "print(error)")
    if "Software" in mx.device_info(mx.gpu)["device_name"]:  # Apple's GPUs need not notice
        assert "could not finish the work" in told and "custom_bad" in told


def test_after_work_that_fails_the_next_runs():
    """What was computed before stays as well."""
    assert python(BAD + "print(mx.sum(done).item(), done[3].item())") == "40.0 2.0"


def test_a_child_of_fork_is_told_and_may_use_the_processor():
    code = """
import os, mlxc.core as mx
mx.eval(mx.ones(3) + 1)
if os.fork() == 0:
    try:
        mx.eval(mx.ones(4) * 3)
    except RuntimeError as error:
        print(error, flush=True)
    mx.set_default_device(mx.cpu)
    print((mx.ones(4) * 3).sum().item(), flush=True)
    os._exit(0)
os.wait()
print((mx.ones(4) * 3).sum().item())
"""
    lines = python(code).split("\n")
    assert "fork" in lines[0] and "spawn" in lines[0] and lines[1:] == ["12.0", "12.0"]


# ---- the library and the caches


def test_the_environment_names_the_first_device():
    code = "import mlxc.core as mx; print(mx.default_device(), mx.is_available(mx.gpu))"
    assert python(code, MLXC_DEFAULT_DEVICE="cpu") == "Device(cpu, 0) True"
    assert python(code, MLXC_DEFAULT_DEVICE="gpu") == "Device(gpu, 0) True"
    assert "cpu or gpu would be there" in python(code, MLXC_DEFAULT_DEVICE="tpu")


def test_a_library_that_does_not_load_is_named():
    message = python("import mlxc.core", MLXC_METAL_LIBRARY="/nowhere/libmetal.so")
    assert "ImportError" in message and "/nowhere/libmetal.so" in message


def test_without_a_device_nothing_of_the_back_end_is_loaded():
    if sys.platform == "darwin":
        pytest.skip("the library is linked into mlxc here: there is a device")
    code = """
import sys, mlxc.core as mx
names = sorted(name for name in sys.modules if "_backends.metal." in name)
print(mx.default_device(), mx.metal.device_info(), names)
"""
    assert python(code, MLXC_METAL_LIBRARY=None) == "Device(cpu, 0) {} []"


def test_compiled_pipelines_are_kept_in_a_file_that_may_be_broken(tmp_path):
    code = "import mlxc.core as mx; print(mx.exp(mx.ones(8) * 0).sum().item())"
    variables = {"MLXC_METAL_CACHE": str(tmp_path / "cache")}
    assert python(code, **variables) == "8.0"
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.suffix == ".archive" and kept.stat().st_size > 0
    assert python(code, **variables) == "8.0"
    kept.write_bytes(b"broken")
    assert python(code, **variables) == "8.0"
    assert list((tmp_path / "cache").iterdir()) == [kept]
    assert python(code, MLXC_METAL_CACHE="/proc/none") == "8.0"
