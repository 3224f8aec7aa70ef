"""Faults that are planted are found: in small kernels one kind each, and in the project's shaders.

Rules: these run in check mode alone (conftest.py); the plain mode does not see races. A fault in a
shader is an edit of its text, and what finds it is a test that passes on the text as it stands.
"""

import re

import numpy as np
import pytest
import test_indexing_shaders
import test_matmul_shaders
import test_scan_shaders
from device import MetalError

from mlxc._backends.metal import sources
from mlxc._backends.metal.dispatch import Bytes, Dispatch, Out

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
POSITIONS = """uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]],
    uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]]"""


def run(device, body, threads=64, group=64, parameters="", **keywords):
    """A kernel over 64 floats x and 64 uints n; `body` is its text."""
    text = HEAD + (
        "kernel void small(device float* x [[buffer(0)]], device uint* n [[buffer(1)]],\n"
        f"    {parameters} {POSITIONS}) {{\n{body}\n}}\n"
    )
    outs = [np.arange(64, dtype=np.float32), np.zeros(64, np.uint32)]
    return device.run_text(text, [], outs, (threads, 1, 1), (group, 1, 1), **keywords)


def report(device, body, **keywords):
    """What is said of a kernel with a fault."""
    with pytest.raises(MetalError) as caught:
        run(device, body, **keywords)
    return str(caught.value)


# Races

EXCHANGE = """    threadgroup float shared[64];
    shared[t] = x[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    x[i] = shared[63 - t];"""


def test_a_barrier_between_a_write_and_a_read_is_enough(device):
    (x, _) = run(device, EXCHANGE)
    assert x.tolist() == list(range(63, -1, -1))


@pytest.mark.parametrize("instead", ["", "threadgroup_barrier(mem_flags::mem_none);",
                                     "threadgroup_barrier(mem_flags::mem_device);",
                                     "simdgroup_barrier(mem_flags::mem_threadgroup);"])  # fmt: skip
def test_a_missing_or_too_weak_barrier_is_found(device, instead):
    right = "threadgroup_barrier(mem_flags::mem_threadgroup);"
    text = report(device, EXCHANGE.replace(right, instead))
    assert "data race on threadgroup array shared" in text
    assert re.search("printed.metal:[79]: ", text)  # where the later access stands
    assert "thread" in text and "no barrier that orders them" in text


def test_a_barrier_of_simdgroups_orders_one_simdgroup(device):
    body = EXCHANGE.replace("threadgroup_barrier", "simdgroup_barrier")
    within = body.replace("63 - t", "t ^ 31")
    assert run(device, within)[0].tolist() == [i ^ 31 for i in range(64)]
    assert "data race" in report(device, body.replace("63 - t", "t ^ 32"))


def test_memory_of_the_device_needs_its_own_barrier(device):
    body = "x[i] = t;\n    threadgroup_barrier(mem_flags::{});\n    n[i] = uint(x[i ^ 1]);"
    assert run(device, body.format("mem_device"))[1].tolist() == [i ^ 1 for i in range(64)]
    assert "data race on buffer 0" in report(device, body.format("mem_threadgroup"))


def test_threadgroups_that_write_one_element_are_found(device):
    text = report(device, "if (t == 0)\n        n[3] = group;", group=32)
    assert "data race on buffer 1, byte 12" in text and "writes what threadgroup 0 wrote" in text


def test_a_threadgroup_that_reads_what_another_wrote_is_found(device):
    text = report(device, "n[i] = t;\n    x[i] = n[(i + 32) % 64];", group=32)
    assert "data race on buffer 1" in text and "it writes what threadgroup 0 read" in text


def test_a_counter_without_atomics_is_found(device):
    assert "data race" in report(device, "n[0] += 1;")
    atomic = "atomic_fetch_add_explicit((device atomic_uint*)n, 1u, memory_order_relaxed);"
    assert run(device, atomic, group=32)[1][0] == 64


def test_a_plain_access_beside_atomics_is_found(device):
    body = """    device atomic_uint* a = (device atomic_uint*)n;
    atomic_fetch_add_explicit(a, 1u, memory_order_relaxed);
    x[i] = float(n[0]);"""
    assert "data race on buffer 1" in report(device, body)


def test_a_store_that_overtakes_readers_is_found(device):
    text = report(device, EXCHANGE + "\n    shared[t] = 0.0f;")
    assert "data race on threadgroup array shared" in text and "printed.metal:" in text


def test_one_dispatch_may_read_what_another_wrote(device):
    """Each thread writes here what another wrote in the dispatch before."""
    text = HEAD + "kernel void turn(device uint* n [[buffer(0)]], constant uint& to [[buffer(1)]],"
    text += " uint i [[thread_position_in_grid]]) { n[i ^ to] += i; }"
    steps = [
        Dispatch(
            "", "turn", [Out(0), Bytes(bytes([k, 0, 0, 0]))], (64, 1, 1), (16, 1, 1), source=text
        )
        for k in (0, 63, 0)
    ]
    (got,) = device.run(steps, [], [np.zeros(64, np.uint32)])
    assert got.tolist() == [2 * i + 63 - i for i in range(64)]


# Memory


def test_every_byte_outside_of_a_buffer_is_found(device):
    assert "reads buffer 1 past its end: byte 256 of 256" in report(device, "x[i] = n[i + 1];")
    assert "writes buffer 0 before its start: byte -4 of 256" in report(
        device, "x[int(i) - 1] = 0;"
    )


def test_an_address_outside_of_every_buffer_is_found(device):
    for address in ("x[i + (1ul << 46)] = 0;", "x[i] = *(device float*)0;"):
        assert "outside every buffer" in report(device, address)


def test_a_buffer_that_is_not_bound_is_named(device):
    text = report(device, "x[i] = far[i];", parameters="device float* far [[buffer(7)]],")
    assert "reads buffer 7, which is not bound" in text


def test_bytes_by_value_end_where_they_end(device):
    parameters, more = "constant uint* given [[buffer(2)]],", [Bytes(bytes(8))]
    assert run(device, "n[i] = given[1];", parameters=parameters, more=more)[1].sum() == 0
    text = report(device, "n[i] = given[2];", parameters=parameters, more=more)
    assert "reads the bytes of argument 2, byte 8 of 8" in text


def test_threadgroup_memory_outside_of_its_arrays_is_found(device):
    body = "    threadgroup float shared[64];\n    shared[t + 1] = 0;\n    x[i] = 0;"
    assert "writes threadgroup array shared past its end, byte 256 of 256" in report(device, body)
    parameters = "threadgroup float* shared [[threadgroup(0)]],"
    body = "shared[t] = 0;\n    x[i] = shared[t];"
    assert run(device, body, parameters=parameters, threadgroup=[256])[0].sum() == 0
    text = report(device, body, parameters=parameters, threadgroup=[240])
    assert "threadgroup array [[threadgroup]] past its end" in text


def test_an_address_that_is_not_aligned_is_found(device):
    body = "x[i] = *(device float*)((device uchar*)x + 4 * i + 2);"
    assert "an address that is not a multiple of that" in report(device, body)


def test_reading_what_nobody_wrote_gives_nan(device):
    (x, _) = run(device, "    threadgroup float shared[64];\n    x[i] = shared[t];")
    assert np.isnan(x).all()


def test_what_is_found_names_kernel_thread_and_threadgroup(device):
    text = report(device, "if (i == 37)\n        n[64] = 1;", group=32)
    assert "kernel small: " in text
    assert text.endswith("; thread (5, 0, 0) of threadgroup (1, 0, 0)")


# The project's shaders


def cancelling_halves(device):
    """Sums that pass far beyond half precision and come back."""
    a = np.concatenate([np.full((3, 64), 200), np.full((3, 64), -200)], 1).astype("f2")
    b = np.full((128, 2), 100, "f2")
    got = test_matmul_shaders.product(device, a, b)
    assert (got == 0).all()


MATMUL, SCAN, INDEXING = test_matmul_shaders, test_scan_shaders, test_indexing_shaders

# Fault: (file, what is edited as a pattern and its replacement, a test of the family, the report).
FAULTS = {
    "a missing barrier": (
        "matmul", r"(b_loader\.load\([^;]*;\s*)threadgroup_barrier\([^;]*;", r"\1",
        lambda device: MATMUL.test_a_product_at_every_edge_of_a_tile_is_right(device, (33, 31, 17)),
        "data race on threadgroup array",
    ),
    "memory used again too early": (
        "scan", r"(total = shared\[simdgroups\];\s*)threadgroup_barrier\([^;]*;", r"\1",
        lambda device: SCAN.test_lines_of_any_length_are_summed(device, 4097),
        "data race on threadgroup array shared",
    ),
    "a barrier of the wrong memory": (
        "scan", r"simdgroup_barrier\(mem_flags::mem_threadgroup\)",
        "simdgroup_barrier(mem_flags::mem_device)",
        lambda device: SCAN.test_lines_of_any_length_are_summed(device, 4097),
        "data race on threadgroup array shared",
    ),
    "a loop that goes one too far": (
        "scan", r"i < end \? uint\(min\(end - i, ", "i <= end ? uint(min(end + 1 - i, ",
        lambda device: SCAN.test_every_scan_runs_both_ways_along_any_axis(
            device, "cumsum", False, True),
        "past its end",
    ),
    "a bound that lets one more through": (
        "movement", r"i < n; i \+= p\.step", "i <= n; i += p.step",
        INDEXING.test_a_single_element_and_nothing_are_put,
        "past its end",
    ),
    "a wrong stride": (
        "movement", r"(source\[from [^;]*)source_strides\[last\]", r"\1target_strides[last]",
        INDEXING.test_updates_and_indices_are_read_as_they_lie,
        "",
    ),
    "a buffer that nobody binds": (
        "scan", r"A \*offsets \[\[buffer\(3\)", "A *offsets [[buffer(9)",
        lambda device: SCAN.test_few_long_lines_and_columns_are_cut_in_parts(
            device, pytest.MonkeyPatch()),
        "buffer 9, which is not bound",
    ),
    "an index without its bounds": (
        "indexing", r"return index < 0 \? 0 : p\.size - 1;", "return index;",
        lambda device: INDEXING.test_an_index_out_of_range_is_named_and_reaches_nothing(
            device, -(2**40), "int64"),
        "outside every buffer",
    ),
    "a sum that overflows half precision": (
        "matmul", r"float own\[ROWS\]", "half own[ROWS]",
        cancelling_halves,
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_real_shader_is_found(device, monkeypatch, fault):
    family, pattern, planted, check, words = FAULTS[fault]
    check(device)  # the shader as it stands
    read = sources.read
    edited = re.sub(pattern, planted, read(family))
    assert edited != read(family)
    monkeypatch.setattr(sources, "read", lambda name: edited if name == family else read(name))
    with pytest.raises((MetalError, AssertionError)) as caught:
        check(device)
    assert words in str(caught.value)
