"""The C interface of objc/mlxc_metal.h, where Apple's Metal and the software one do the same.

What only the software Metal promises is in test_softmetal.py.
"""

import ctypes
import mmap
import os
import re
import subprocess
import sys
import threading
import time
from ctypes import c_int, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import pytest
from device import ERROR, MetalError, constants_of

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ["MLXC_METAL_LIBRARY"])
GOBJC = LIBRARY.with_name("libmlxc_metal_soft_gobjc.so")
HEADER = (ROOT / "objc/mlxc_metal.h").read_text()
NAMES = sorted(set(re.findall(r"\b(mlxc_metal_\w+)\(", HEADER)))
DOUBLE = """#include <metal_stdlib>
using namespace metal;
kernel void double_all(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
    x[i] *= 2.0f;
}
"""
CONSTANTS = """#include <metal_stdlib>
using namespace metal;
constant int A [[function_constant(0)]];
constant float B [[function_constant(3)]];
constant bool C [[function_constant(7)]];
kernel void say(device float* x [[buffer(0)]]) {
    x[0] = A;
    x[1] = B;
    x[2] = C;
}
"""
# Each thread of one simdgroup turns a pseudorandom number this often.
BUSY = """#include <metal_stdlib>
using namespace metal;
kernel void busy(device uint* x [[buffer(0)]], constant uint& n [[buffer(1)]],
                 uint i [[thread_position_in_grid]]) {
    uint v = i;
    for (uint k = 0; k < n; k++)
        v = v * 1664525u + 1013904223u;
    x[i] = v;
}
"""
DONE = ctypes.CFUNCTYPE(None, c_void_p)


class Work:
    """A command buffer with one kernel over one buffer of float32, step by step."""

    def __init__(self, device, source, function, nbytes):
        self.device = device
        self.made = []
        self.buffer = self.keep(device.buffer(nbytes))
        self.pipeline = c_void_p(device.pipeline(source, function))
        self.commands = self.keep(device.call("begin", c_void_p(device.queue)))
        self.encoder = self.keep(device.call("encoder", self.commands))

    def keep(self, handle):
        self.made.append(c_void_p(handle))
        return self.made[-1]

    def encode(self, threads, value=None, repeat=1):
        device, encoder = self.device, self.encoder
        device.do("set_pipeline", encoder, self.pipeline)
        device.library.mlxc_metal_set_buffer(encoder, self.buffer, c_size_t(0), c_int(0))
        if value is not None:
            given = np.array([value], np.uint32).tobytes()
            device.library.mlxc_metal_set_bytes(encoder, given, c_size_t(4), c_int(1))
        grid, group = (c_size_t * 3)(threads, 1, 1), (c_size_t * 3)(32, 1, 1)
        for _ in range(repeat):
            device.library.mlxc_metal_dispatch_threads(encoder, grid, group)
        device.do("end", encoder)

    def commit(self, done=None, argument=None):
        self.device.library.mlxc_metal_commit(self.commands, done, argument)

    def wait(self):
        """The error text; empty if all went well."""
        self.device.error.value = b""
        failed = self.device.library.mlxc_metal_wait(self.commands, self.device.error)
        text = self.device.error.value.decode()
        assert bool(failed) == bool(text)
        return text

    def values(self, count, dtype=np.float32):
        address = self.device.contents(self.buffer.value)
        pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_char * (4 * count)))
        return np.frombuffer(pointer.contents, dtype)

    def release(self):
        for handle in reversed(self.made):
            self.device.do("release", handle)


@pytest.fixture
def double(device):
    work = Work(device, DOUBLE, "double_all", 64 * 4)
    yield work
    work.release()


def message(function):
    with pytest.raises(MetalError) as caught:
        function()
    return str(caught.value)


# Devices


def test_every_function_of_the_header_is_in_the_library(device):
    assert len(NAMES) > 30
    for name in NAMES:
        assert hasattr(device.library, name), name
    assert device.library.mlxc_metal_version() == 1


def test_a_device_tells_what_it_can_do(device):
    info = device.info()
    assert info.name and info.memory > 1 << 28
    assert 0 < info.max_buffer <= info.memory and info.recommended <= info.memory
    assert info.threadgroup_memory >= 32768 and info.simd_width == 32 and info.max_threads == 1024
    assert info.page in (4096, 16384) and info.unified == 1


def test_a_device_that_is_not_there_is_an_error(device):
    count = device.library.mlxc_metal_device_count()
    assert count >= 1
    for index in (-1, count, 2**31 - 1):
        assert "no device of that number" in message(lambda i=index: device.call("device", i))


def test_where_there_is_no_metal_every_call_says_so(tmp_path):
    out = tmp_path / "none.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, ROOT / "objc/no_metal.c", "-o", out], check=True)
    library = ctypes.CDLL(str(out))
    assert [name for name in NAMES if not hasattr(library, name)] == []
    assert library.mlxc_metal_version() == 1 and library.mlxc_metal_device_count() == 0
    error = ctypes.create_string_buffer(ERROR)
    for name, arguments in {
        "device": [0], "buffer": [None, c_size_t(4)], "wrap": [None, None, c_size_t(0)],
        "library": [None, b"", 0], "pipeline": [None, None, b"", None, 0, None],
        "archive": [None, b""], "queue": [None], "begin": [None], "encoder": [None],
    }.items():  # fmt: skip
        function = getattr(library, f"mlxc_metal_{name}")
        function.restype = c_void_p
        error.value = b""
        assert function(*arguments, error) is None and b"no Metal here" in error.value, name
    for name, arguments in {
        "wait": [None], "archive_save": [None, b""], "capture_start": [None, b""]
    }.items():  # fmt: skip
        error.value = b""
        assert getattr(library, f"mlxc_metal_{name}")(*arguments, error) == 1
        assert b"no Metal here" in error.value, name


# Buffers


def test_buffers_are_counted_until_they_are_released(device):
    before = device.library.mlxc_metal_allocated(c_void_p(device.handle))
    buffer = device.buffer(1 << 20)
    assert device.library.mlxc_metal_length(c_void_p(buffer)) == 1 << 20
    assert device.library.mlxc_metal_allocated(c_void_p(device.handle)) >= before + (1 << 20)
    device.do("release", c_void_p(buffer))
    assert device.library.mlxc_metal_allocated(c_void_p(device.handle)) == before


def test_a_buffer_that_the_device_cannot_give_is_an_error(device):
    assert "no buffer of that size" in message(lambda: device.buffer(1 << 60))


def test_wrapped_pages_are_what_kernels_read_and_write(device):
    page = device.info().page
    memory = mmap.mmap(-1, 3 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    begin = start + -start % page
    values = np.frombuffer(memory, np.float32, page // 4, begin - start)
    values[:] = np.arange(page // 4)
    work = Work(device, DOUBLE, "double_all", 4)
    wrapped = device.call("wrap", c_void_p(device.handle), c_void_p(begin), c_size_t(page))
    work.buffer = work.keep(wrapped)
    assert device.contents(wrapped) == begin
    work.encode(page // 4)
    work.commit()
    assert work.wait() == ""
    work.release()
    assert (values == 2 * np.arange(page // 4)).all()  # the memory outlives the buffer


def test_only_whole_pages_are_wrapped(device):
    page = device.info().page
    memory = np.zeros(4 * page, np.uint8)
    begin = memory.ctypes.data + -memory.ctypes.data % page
    for address, nbytes in ((begin + 64, page), (begin, page - 4), (begin, 0), (None, page)):
        text = message(
            lambda a=address, n=nbytes: device.call(
                "wrap", c_void_p(device.handle), c_void_p(a), c_size_t(n)
            )
        )
        assert "only whole pages" in text


# Programs


def test_a_source_that_does_not_compile_names_the_line(device):
    text = '#line 7 "shaders/mine.metal"\nkernel void f(device float* x [[buffer(0)]]) { y = 1; }'
    error = message(lambda: device.compile(text))
    assert error.startswith("[metal] the source does not compile: ")
    assert re.search(r"shaders/mine\.metal[:(]7\b", error) and re.search("""['"]y['"]""", error)


def test_an_error_text_of_any_length_fits(device):
    lines = "\n".join(f"    undeclared_name_{i}_{'x' * 400} = 1;" for i in range(18))
    error = message(lambda: device.compile(f"kernel void f() {{\n{lines}\n}}"))
    assert 3000 < len(error) < ERROR


def test_a_source_that_is_no_utf8_is_refused(device):
    library = device.library.mlxc_metal_library
    device.error.value = b""
    assert not library(c_void_p(device.handle), b"// \xff\xfe\n", 0, device.error)
    assert device.error.value == b"[metal] the source does not compile"


def test_a_kernel_that_is_not_in_the_library_is_named(device):
    error = message(lambda: device.pipeline(DOUBLE, "triple_all"))
    assert error.startswith("[metal] the library has no kernel 'triple_all'")


def test_function_constants_are_what_the_kernel_sees(device):
    for values in ((7, 2.5, True), (-3, -0.0, False), (7, 2.5, False)):
        constants = dict(zip((0, 3, 7), values))
        (got,) = device.run_text(CONSTANTS, [], [("float32", (3,))], (1, 1, 1), constants=constants)
        assert got.tolist() == [*map(float, values)]
        assert np.signbit(got[1]) == np.signbit(values[1])


def test_a_pipeline_tells_how_many_threads_it_takes(device):
    pipeline = c_void_p(device.pipeline(DOUBLE, "double_all"))
    assert 32 <= device.library.mlxc_metal_max_threads(pipeline) <= 1024
    assert device.library.mlxc_metal_simd_width(pipeline) == 32


# The cache of pipelines


def archive_of(device, path):
    return c_void_p(device.call("archive", c_void_p(device.handle), os.fsencode(path)))


def save(device, archive, path):
    device.error.value = b""
    failed = device.library.mlxc_metal_archive_save(archive, os.fsencode(path), device.error)
    assert bool(failed) == bool(device.error.value)
    return device.error.value.decode()


def test_an_archive_is_written_and_opened_again(device, tmp_path):
    path = tmp_path / "pipelines"
    library = c_void_p(device.compile(DOUBLE))
    for _ in range(2):
        archive = archive_of(device, path)
        pipeline = device.call(
            "pipeline", c_void_p(device.handle), library, b"double_all", None, 0, archive
        )
        device.do("release", c_void_p(pipeline))
        assert save(device, archive, path) == ""
        device.do("release", archive)
        assert path.stat().st_size > 0
    assert os.listdir(tmp_path) == ["pipelines"]  # no half-written file stays


def test_an_archive_of_another_system_is_begun_anew(device, tmp_path):
    path = tmp_path / "pipelines"
    path.write_bytes(b"what is this?" * 100)
    archive = archive_of(device, path)
    assert save(device, archive, path) == ""
    device.do("release", archive)
    assert b"what is this" not in path.read_bytes()


def test_an_archive_that_cannot_be_written_says_so(device, tmp_path):
    archive = archive_of(device, tmp_path / "none")
    assert "cannot be written" in save(device, archive, tmp_path / "missing" / "pipelines")
    assert "path of the archive is too long" in save(device, archive, "x" * 5000)
    (tmp_path / "folder").mkdir()
    assert "cannot be moved" in save(device, archive, tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]
    device.do("release", archive)


def test_names_and_paths_that_are_no_utf8_are_refused(device, tmp_path):
    wild = os.fsencode(tmp_path) + b"/\xff\xfe"
    archive = archive_of(device, tmp_path / "none")
    assert "the path is no UTF-8" in save(device, archive, wild)
    Path(os.fsdecode(wild)).write_bytes(b"something")
    device.do("release", archive_of(device, Path(os.fsdecode(wild))))  # begun anew
    device.do("release", archive)
    handle, library = c_void_p(device.handle), c_void_p(device.compile(DOUBLE))
    assert device.library.mlxc_metal_capture_start(handle, wild, device.error) == 1
    assert device.error.value == b"[metal] the path is no UTF-8"
    text = message(lambda: device.call("pipeline", handle, library, b"\xff", None, 0, None))
    assert "the kernel's name is no UTF-8" in text


# Work


def test_dispatches_of_an_encoder_run_one_after_another(double):
    values = double.values(64)
    values[:] = np.arange(64)
    double.encode(64, repeat=10)
    double.commit()
    assert double.wait() == ""
    assert (values == 1024.0 * np.arange(64)).all()
    assert double.device.library.mlxc_metal_finished(double.commands) == 1
    assert double.device.library.mlxc_metal_gpu_seconds(double.commands) > 0


def test_threadgroups_may_be_counted_instead_of_threads(device, double):
    device.do("set_pipeline", double.encoder, double.pipeline)
    device.library.mlxc_metal_set_buffer(double.encoder, double.buffer, c_size_t(64), c_int(0))
    values = double.values(64)
    values[:] = 1
    groups, group = (c_size_t * 3)(3, 1, 1), (c_size_t * 3)(16, 1, 1)
    device.library.mlxc_metal_dispatch_groups(double.encoder, groups, group)
    device.do("end", double.encoder)
    double.commit()
    assert double.wait() == ""
    assert values.tolist() == [1.0] * 16 + [2.0] * 48  # from the offset on


def test_a_command_buffer_without_work_ends_well(double):
    double.device.do("end", double.encoder)
    double.commit()
    assert double.wait() == ""


def test_completion_is_told_once(double):
    calls = []
    done = DONE(lambda argument: calls.append(argument))
    double.values(64)[:] = 1
    double.encode(64)
    double.commit(done, c_void_p(77))
    assert double.wait() == ""
    deadline = time.time() + 20
    while not calls and time.time() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert calls == [77]


def seen_until_finished(device, steps):
    """What is said of work of some steps, from its sending until it is said to have ended."""
    work, seen = Work(device, BUSY, "busy", 4 * 256), []
    work.encode(256, value=steps)
    work.commit()
    while not seen or not seen[-1]:
        seen.append(device.library.mlxc_metal_finished(work.commands))
    assert work.wait() == ""
    work.release()
    return seen


def test_work_is_unfinished_until_it_has_ended(device):
    for steps in (2_000_000, 32_000_000, 512_000_000):  # a fast device ends the first at once
        seen = seen_until_finished(device, steps)
        if seen[0] == 0:
            break
    assert seen[0] == 0 and seen[-1] == 1


def test_command_buffers_of_many_threads_do_not_disturb_each_other(device):
    wrong = []

    def one(seed):
        for _ in range(10):
            work = Work(device, DOUBLE, "double_all", 256 * 4)
            values = work.values(256)
            values[:] = seed
            work.encode(256, repeat=3)
            work.commit()
            if device.library.mlxc_metal_wait(work.commands, None) or (values != 8 * seed).any():
                wrong.append(seed)
            work.release()

    device.pipeline(DOUBLE, "double_all")
    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Recording


def test_a_capture_needs_the_environment_that_metal_asks_for(device, tmp_path, monkeypatch):
    monkeypatch.delenv("MTL_CAPTURE_ENABLED", raising=False)
    start = device.library.mlxc_metal_capture_start
    device.error.value = b""
    assert start(c_void_p(device.handle), os.fsencode(tmp_path / "x.gputrace"), device.error)
    assert b"MTL_CAPTURE_ENABLED=1" in device.error.value


def test_releasing_nothing_is_allowed(device):
    device.library.mlxc_metal_release(None)


def test_constants_travel_as_their_bits():
    given = constants_of({0: True, 5: -1, 9: 1.5})
    assert [(c.index, c.type, c.bits) for c in given] == [
        (0, 53, 1),
        (5, 29, 0xFFFFFFFF),
        (9, 3, 0x3FC00000),
    ]


@pytest.mark.skipif(not GOBJC.exists(), reason="this library has no twin compiled by gobjc")
def test_what_gobjc_compiles_passes_these_tests_too():
    """In a process of its own: two libraries have classes of the same names."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    command += ["--deselect", f"{__file__}::test_what_gobjc_compiles_passes_these_tests_too"]
    variables = {**os.environ, "MLXC_METAL_LIBRARY": str(GOBJC)}
    command += ["-k", "not gobjc"]
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
