"""What the software Metal promises beyond Apple's: its reading of MSL, its limits, its reports.

Rules: each test is one construct or one fault in a kernel of a few lines; all hold with and without
check mode, whose own reports are in test_faults.py.
"""

import ctypes
import os
import re
import subprocess
import sys
from ctypes import c_int, c_size_t, c_void_p
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from conftest import CHECKING, LIBRARY
from device import Device, MetalError

from mlxc._backends.metal.dispatch import Bytes, Dispatch, Out

ROOT = Path(__file__).resolve().parents[2]
HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
EVERY = "uint i [[thread_position_in_grid]]"
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def kernel(device, text, outs, ins=(), threads=32, group=32, **keywords):
    """Run the first kernel of a text along x; its results."""
    grid, group = (threads, 1, 1), (group, 1, 1)
    return device.run_text(HEAD + text, list(ins), list(outs), grid, group, **keywords)


def refused(device, text, *words, **keywords):
    """The error of a kernel that does not compile, or does not run, names all of these words."""
    with pytest.raises(MetalError) as caught:
        kernel(device, text, [("float32", (64,))], **keywords)
    for word in words:
        assert word in str(caught.value), str(caught.value)


# Reading MSL


def test_arguments_without_a_number_take_the_next_free_one(device):
    text = f"""kernel void add(device const float* a, device float* out [[buffer(1)]],
                               constant float& b, {EVERY}) {{ out[i] = a[i] + b; }}"""
    a = np.arange(32, dtype="f4")
    (got,) = kernel(
        device, text, [("float32", (32,))], [a], more=[Bytes(np.float32(2.5).tobytes())]
    )
    assert (got == a + 2.5).all()


def test_templates_have_names_for_the_host(device):
    text = f"""template <typename T, int N>
        [[kernel]] void fill(device T* out [[buffer(0)]], {EVERY}) {{ out[i] = T(N) / T(2); }}
        #define FILL(name, T) template [[host_name("fill_" name)]] [[kernel]] \\
            decltype(fill<T, 5>) fill<T, 5>;
        FILL("f32", float)
        FILL("i32", int)
        template [[host_name("fill_long")]] kernel void fill<long, 9>(device long*, uint);"""
    for name, dtype, value in (("f32", "float32", 2.5), ("i32", "int32", 2), ("long", "int64", 4)):
        step = Dispatch("", f"fill_{name}", [Out(0)], (32, 1, 1), (32, 1, 1), source=HEAD + text)
        (got,) = device.run([step], [], [(dtype, (32,))])
        assert (got == value).all()


def test_swizzles_are_read_and_written(device):
    text = """kernel void swizzle(device float4* out [[buffer(0)]]) {
        float4 v = float4(1, 2, 3, 4);
        out[0] = v.wzyx;
        v.xz = v.yw + 10;
        out[1] = v;
        v.yx *= float2(2, 3);
        out[2] = float4(v.rg, v.bgra.xy);
        out[3] = float4(float3(v.x), 7.0);
    }"""
    (got,) = kernel(device, text, [("float32", (4, 4))], threads=1, group=1)
    expected = [[4, 3, 2, 1], [12, 2, 14, 4], [36, 4, 14, 4], [36, 36, 36, 7]]
    assert got.tolist() == expected


def test_literals_without_a_suffix_are_float(device):
    text = """kernel void literals(device float* out [[buffer(0)]]) {
        out[0] = 0.1 + 0.2;
        out[1] = 1e8 + 1;
        out[2] = float(1.0h / 3.0h);
        out[3] = 0x1p-3 + 1.;
        out[4] = .5f;
        out[5] = sizeof(0.5) + sizeof(0.5h);
    }"""
    (got,) = kernel(device, text, [("float32", (6,))], threads=1, group=1)
    third = float(np.float16(1) / np.float16(3))
    f = np.float32
    assert got.tolist() == [f(0.1) + f(0.2), f(1e8), f(third), f(1.125), 0.5, 6]


@pytest.mark.parametrize("name", ["half", "bfloat"])
def test_half_types_round_after_every_operation(device, name):
    dtype = np.dtype("f2") if name == "half" else BFLOAT16
    text = f"""kernel void round_all(device const {name}* a [[buffer(0)]],
        device const {name}* b [[buffer(1)]], device {name}* out [[buffer(2)]], {EVERY}) {{
        out[i] = a[i] * b[i] + a[i];
    }}"""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(256).astype("f4").astype(dtype) for _ in range(2))
    a[:3], b[:3] = (np.inf, np.nan, 60000), (0, 1, 60000)
    with np.errstate(all="ignore"):
        product = (a.astype("f4") * b.astype("f4")).astype(dtype)
        expected = (product.astype("f4") + a.astype("f4")).astype(dtype)
    (got,) = kernel(device, text, [(dtype, (256,))], [a, b], threads=256)
    np.testing.assert_array_equal(got.astype("f4"), expected.astype("f4"))


def test_bfloat_takes_a_float_only_where_it_is_said(device):
    text = (
        f"kernel void f(device bfloat* out [[buffer(0)]], {EVERY}) {{ float x = 1; out[i] = x; }}"
    )
    refused(device, text, "printed.metal:3")


def test_threadgroup_arrays_of_any_shape_are_shared(device):
    text = """kernel void turn(device int* out [[buffer(0)]],
                               uint2 at [[thread_position_in_threadgroup]]) {
        threadgroup int tile[4][8], last;
        threadgroup int2 pairs[2];
        tile[at.y][at.x] = int(at.y * 8 + at.x);
        if (at.x == 7 && at.y == 3) {
            last = 100;
            pairs[1] = int2(5, 6);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        out[at.x * 4 + at.y] = tile[at.y][at.x] + last + pairs[1].y;
    }"""
    out = [("int32", (8, 4))]
    (got,) = device.run_text(HEAD + text, [], out, (8, 4, 1), (8, 4, 1))
    assert (got == np.arange(32).reshape(4, 8).T + 106).all()


def test_threadgroup_arrays_of_a_template_have_its_type(device):
    text = """template <typename T, int N>
        [[kernel]] void back(device T* x [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
            threadgroup T kept[N + 1];
            kept[i] = x[i];
            threadgroup_barrier(mem_flags::mem_threadgroup);
            x[i] = kept[N - 1 - i];
        }
        template [[host_name("back_64")]] [[kernel]] decltype(back<long, 64>) back<long, 64>;"""
    step = Dispatch("", "back_64", [Out(0)], (64, 1, 1), (64, 1, 1), source=HEAD + text)
    (got,) = device.run([step], [], [np.arange(64)])
    assert got.tolist() == list(range(63, -1, -1))


def test_indices_within_indices_are_no_attributes(device):
    text = f"""kernel void pick(device const int* a [[buffer(0)]], device int* out [[buffer(1)]],
                                {EVERY}) {{ out[i] = a[a[a[i]]]; }}"""
    a = np.random.default_rng(0).permutation(32).astype("i4")
    (got,) = kernel(device, text, [("int32", (32,))], [a])
    assert (got == a[a[a]]).all()


def test_constants_that_are_not_given_are_undefined(device):
    text = f"""constant int given [[function_constant(4)]];
        constant int chosen = is_function_constant_defined(given) ? given : -1;
        kernel void say(device int* out [[buffer(0)]], {EVERY}) {{ out[i] = chosen; }}"""
    assert (kernel(device, text, [("int32", (32,))])[0] == -1).all()
    assert (kernel(device, text, [("int32", (32,))], constants={4: 9})[0] == 9).all()
    refused(device, text, "numbers below 256", constants={4: 9, 256: 1})


def test_program_tables_and_structures_of_constants_are_read(device):
    text = f"""struct Pair {{ short a; long b; }};
        constant float table[3] = {{0.5, 1.5, 2.5}};
        kernel void look(device float* out [[buffer(0)]], constant Pair* pairs [[buffer(1)]],
                         {EVERY}) {{ out[i] = table[i % 3] + pairs[i % 2].a + pairs[i % 2].b; }}"""
    pairs = np.zeros(2, [("a", "i2"), ("", "V6"), ("b", "i8")])
    pairs["a"], pairs["b"] = (1, 2), (10, 20)
    (got,) = kernel(device, text, [("float32", (32,))], more=[Bytes(pairs.tobytes())])
    i = np.arange(32)
    assert (got == i % 3 + 0.5 + np.where(i % 2, 22, 11)).all()


def test_vectors_have_the_sizes_of_metal(device):
    names = ["float2", "float3", "float4", "packed_float3", "half3", "uchar3", "long3", "bool4"]
    sizes = "".join(f"out[{k}] = sizeof({name});" for k, name in enumerate(names))
    text = f"kernel void sizes(device int* out [[buffer(0)]]) {{ {sizes} }}"
    (got,) = kernel(device, text, [("int32", (8,))], threads=1, group=1)
    assert got.tolist() == [8, 16, 16, 12, 8, 4, 32, 4]


def test_positions_in_a_ragged_grid_are_right(device):
    text = """kernel void where(device uint* out [[buffer(0)]],
        uint3 at [[thread_position_in_grid]], uint3 all [[threads_per_grid]],
        uint3 group [[threadgroup_position_in_grid]], uint3 groups [[threadgroups_per_grid]],
        uint3 in [[thread_position_in_threadgroup]], uint3 size [[threads_per_threadgroup]],
        uint index [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
        uint band [[simdgroup_index_in_threadgroup]]) {
        uint flat = (at.z * all.y + at.y) * all.x + at.x;
        bool good = all.x == 7 && all.y == 5 && all.z == 3 && groups.x == 2 && groups.y == 2 &&
                    groups.z == 2 && at.x == group.x * 4 + in.x && at.y == group.y * 3 + in.y &&
                    at.z == group.z * 2 + in.z && size.x == (group.x == 1 ? 3 : 4) &&
                    index == (in.z * size.y + in.y) * size.x + in.x && lane == index % 32 &&
                    band == index / 32;
        out[flat] = good;
    }"""
    (got,) = device.run_text(HEAD + text, [], [("uint32", (105,))], (7, 5, 3), (4, 3, 2))
    assert (got == 1).all()


# Simdgroups

SIMD = {
    "simd_sum(x)": lambda x: np.full(32, x.sum()),
    "simd_product(x - 3)": lambda x: np.full(32, np.prod(x - 3)),
    "simd_min(x)": lambda x: np.full(32, x.min()),
    "simd_max(x)": lambda x: np.full(32, x.max()),
    "simd_and(x)": lambda x: np.full(32, np.bitwise_and.reduce(x)),
    "simd_or(x)": lambda x: np.full(32, np.bitwise_or.reduce(x)),
    "simd_xor(x)": lambda x: np.full(32, np.bitwise_xor.reduce(x)),
    "simd_prefix_inclusive_sum(x)": np.cumsum,
    "simd_prefix_exclusive_sum(x)": lambda x: np.cumsum(x) - x,
    "simd_shuffle(x, 31 - lane)": lambda x: x[::-1],
    "simd_shuffle_xor(x, 5)": lambda x: x[np.arange(32) ^ 5],
    "lane < 2 ? x : simd_shuffle_up(x, 2)": None,
    "simd_shuffle_and_fill_down(x, 9, 3)": lambda x: np.r_[x[3:], [9, 9, 9]],
    "simd_shuffle_rotate_up(x, 1)": lambda x: np.roll(x, 1),
    "simd_broadcast(x, 7)": lambda x: np.full(32, x[7]),
    "simd_broadcast_first(x)": lambda x: np.full(32, x[0]),
    "int(uint((ulong)simd_ballot(x > 3)))": lambda x: np.full(
        32, (1 << np.arange(32))[x > 3].sum()
    ),
    "simd_any(x > 3) + 2 * simd_all(x > 3)": lambda x: np.full(32, 1),
    "quad_shuffle_xor(x, 1)": lambda x: x[np.arange(32) ^ 1],
}


@pytest.mark.parametrize("call", [call for call, expected in SIMD.items() if expected])
def test_lanes_exchange_what_the_function_says(device, call):
    text = f"""kernel void lanes(device const int* in [[buffer(0)]], device int* out [[buffer(1)]],
        uint i [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {{
        int x = in[i];
        out[i] = {call};
    }}"""
    x = np.random.default_rng(2).integers(1, 7, 64).astype("i4")
    x[:2] = 4  # simd_all needs a lane beside it
    (got,) = kernel(device, text, [("int32", (64,))], [x], threads=64)
    with np.errstate(over="ignore"):
        expected = np.concatenate([SIMD[call](x[:32]), SIMD[call](x[32:])])
    np.testing.assert_array_equal(got, expected.astype(np.int64).astype(np.int32))


def test_simd_functions_take_no_type_that_metal_refuses(device):
    for kind in ("long", "bool"):
        text = f"""kernel void f(device {kind}* out [[buffer(0)]], {EVERY}) {{
            out[i] = simd_sum(out[i]);
        }}"""
        refused(device, text, "simd functions take no bool and no 64-bit types")


@pytest.mark.parametrize("name", ["float", "half", "bfloat"])
def test_simdgroup_matrices_multiply_and_accumulate(device, name):
    dtype = {"float": np.dtype("f4"), "half": np.dtype("f2"), "bfloat": BFLOAT16}[name]
    text = f"""kernel void multiply(device const {name}* a [[buffer(0)]],
        device const {name}* b [[buffer(1)]], device float* out [[buffer(2)]]) {{
        simdgroup_matrix<{name}, 8, 8> left, right;
        simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
        simdgroup_load(left, a, 8);
        simdgroup_load(right, b, 8, ulong2(0, 0), true);
        simdgroup_multiply_accumulate(sum, left, right, sum);
        simdgroup_store(sum, out, 8);
    }}"""
    rng = np.random.default_rng(3)
    a, b = (rng.integers(-8, 8, (8, 8)).astype("f4").astype(dtype) for _ in range(2))
    (got,) = kernel(device, text, [("float32", (8, 8))], [a, b])
    assert (got == a.astype("f8") @ b.astype("f8").T + 1).all()


def test_lanes_hold_the_elements_that_they_hold_on_apples_devices(device):
    text = """kernel void places(device const float* a [[buffer(0)]],
                                 device float* out [[buffer(1)]],
                                 uint lane [[thread_index_in_simdgroup]]) {
        simdgroup_float8x8 m;
        simdgroup_load(m, a, 8);
        out[2 * lane] = m.thread_elements()[0];
        out[2 * lane + 1] = m.thread_elements()[1];
    }"""
    (got,) = kernel(device, text, [("float32", (64,))], [np.arange(64, dtype="f4")])
    lane = np.arange(32)
    row = (lane >> 2 & 4) + (lane >> 1 & 3)
    column = (lane >> 3 & 1) * 4 + (lane & 1) * 2
    assert (got[::2] == 8 * row + column).all() and (got[1::2] == got[::2] + 1).all()


@pytest.mark.parametrize("name", ["int", "uint", "float"])
def test_atomics_of_many_threadgroups_add_up(device, name):
    text = f"""kernel void count(device atomic_{name}* out [[buffer(0)]], {EVERY}) {{
        atomic_fetch_add_explicit(&out[i % 4], {name}(1), memory_order_relaxed);
    }}"""
    dtype = {"int": "i4", "uint": "u4", "float": "f4"}[name]
    (got,) = kernel(device, text, [np.zeros(4, dtype)], threads=4096)
    assert (got == 1024).all()


def test_a_lock_free_maximum_finds_the_maximum(device):
    text = f"""kernel void largest(device atomic_uint* out [[buffer(0)]], {EVERY}) {{
        uint mine = i * 2654435761u, seen = atomic_load_explicit(out, memory_order_relaxed);
        while (seen < mine && !atomic_compare_exchange_weak_explicit(
                   out, &seen, mine, memory_order_relaxed, memory_order_relaxed)) {{}}
    }}"""
    (got,) = kernel(device, text, [np.zeros(1, "u4")], threads=1000)
    assert got[0] == (np.arange(1000, dtype=np.uint32) * np.uint32(2654435761)).max()


def test_mathematics_has_the_edge_cases_of_metal(device):
    text = """kernel void edges(device float* out [[buffer(0)]]) {
        out[0] = fmin(NAN, 2.0f);
        out[1] = max(-INFINITY, NAN);
        out[2] = sign(-0.0f);
        out[3] = clamp(5.0f, 0.0f, 1.0f);
        out[4] = select(1.0f, 2.0f, true);
        out[5] = float(clz(1u)) + float(ctz(8u)) + float(popcount(255u));
        out[6] = rint(2.5f);
        out[7] = as_type<float>(0x40490fdbu);
    }"""
    (got,) = kernel(device, text, [("float32", (8,))], threads=1, group=1)
    assert got.tolist() == [2, -np.inf, 0, 1, 2, 42, 2, np.float32(np.pi)]
    assert np.signbit(got[2])


# Text that is refused


@pytest.mark.parametrize("text, words", [
    ("kernel void f(device float* x [[buffer(0)]], uint i [[thread_position_in_cloud]]) {}",
     "[[thread_position_in_cloud]] is not known"),
    ("kernel void f(device float* x [[buffer(0)]]) {}\nkernel void f(device int* x) {}",
     "a second kernel f"),
    ("template <typename T> kernel void f(device T* x [[buffer(0)]]) {}\n"
     "template [[kernel]] decltype(f<float>) f<float>;", "without [[host_name]]"),
    ("kernel void f(device float* x [[buffer(0)]], device float* y [[buffer(0)]]) {}",
     "two arguments have buffer 0"),
    ("kernel void f(device float* x [[buffer(31)]]) {}", "buffer 31: a kernel has 31, from 0"),
    ("kernel void f(device float* x [[buffer(0)]]) { x[0] = erf(1.0f); }", "'erf'"),
    ("kernel void f(device float* x [[buffer(0)]]) { x[0] = (1 +; }", "expected expression"),
    ("#error this is no shader", "this is no shader"),
    ('#include "absent.h"', "absent.h"),
])  # fmt: skip
def test_text_that_is_no_msl_is_refused_with_its_place(device, text, words):
    with pytest.raises(MetalError) as caught:
        device.compile(f'{HEAD}#line 30 "mine.metal"\n{text}\n')
    assert words in str(caught.value)
    assert re.search(r"mine\.metal:3[01]", str(caught.value))


# Limits and faults


@pytest.mark.parametrize("settings, words", [
    (dict(group=1056, threads=1056), "1056 threads a threadgroup; 1 to 1024"),
    (dict(threadgroup=[32784]), "32784 bytes of threadgroup memory; at most 32768"),
    (dict(threadgroup=[20]), "20 bytes; it must be a multiple of 16"),
    (dict(threads=0), "an empty grid"),
    (dict(more=[Bytes(bytes(4097))]), "4097 bytes by value; 1 to 4096"),
    (dict(more=[Bytes(b"")]), "0 bytes by value"),
    (dict(more=[Bytes(bytes(4))] * 31), "argument 31: a kernel has at most 31"),
])  # fmt: skip
def test_what_exceeds_the_limits_of_apples_devices_is_an_error(device, settings, words):
    text = f"kernel void f(device float* x [[buffer(0)]], {EVERY}) {{ x[i] = 1; }}"
    refused(device, text, words, **settings)
    assert (kernel(device, text, [("float32", (64,))], threads=64)[0] == 1).all()  # and goes on


def test_static_threadgroup_memory_counts(device):
    text = f"""kernel void f(device float* x [[buffer(0)]], {EVERY}) {{
        threadgroup float a[8193];
        a[i] = 1;
        x[i] = a[i];
    }}"""
    refused(device, text, "32772 bytes of threadgroup memory; at most 32768")


def test_a_kernel_may_ask_for_smaller_threadgroups(device):
    text = f"""[[kernel, max_total_threads_per_threadgroup(64)]] void few(
        device float* x [[buffer(0)]], {EVERY}) {{ x[i] = 1; }}""".replace("[[kernel,", "[[")
    text = text.replace("void few", "kernel void few")
    refused(device, text, "96 threads a threadgroup; 1 to 64", threads=96, group=96)


def test_memory_that_nobody_wrote_is_nan(device):
    text = f"""kernel void f(device float* out [[buffer(0)]], device float* out2 [[buffer(1)]],
                             {EVERY}) {{
        threadgroup float kept[32];
        out2[i] = kept[i];
    }}"""
    got = kernel(device, text, [("float32", (32,)), ("float32", (32,))])
    assert np.isnan(got).all()


@pytest.mark.parametrize("body, words", [
    ("x[i] = x[i + 30000];", "reads buffer 0 past its end"),
    ("x[i + 30000] = 1;", "writes buffer 0 past its end"),
    ("x[i - 30000ul] = 1;", "writes buffer 0 before its start"),
    ("((device float*)((device uchar*)x + 256))[i] = 1;", "past its end: byte 256 of 256"),
    ("x[i] = far[i];", "reads buffer 5, which is not bound"),
    ("x[i] = 7 / (((device int*)x)[i] + 1);", "integer division by zero"),
    ("int deep[1 << 16]; for (int k = 0; k < 1 << 16; k++) deep[k] = k; x[i] = deep[i];",
     "beyond the stack of a thread"),
])  # fmt: skip
def test_memory_that_is_not_the_kernels_is_a_fault(device, body, words):
    text = f"""kernel void f(device float* x [[buffer(0)]], device float* far [[buffer(5)]],
                             {EVERY}) {{ {body} }}"""
    refused(device, text, "kernel f: ", words, "; thread (", threads=64)
    good = f"kernel void g(device float* x [[buffer(0)]], {EVERY}) {{ x[i] = 1; }}"
    assert (kernel(device, good, [("float32", (64,))], threads=64)[0] == 1).all()


@pytest.mark.parametrize("body, words", [
    ("if (t < 32) threadgroup_barrier(mem_flags::mem_none);", "divergent synchronisation"),
    ("if (t > 3) return; threadgroup_barrier(mem_flags::mem_none);", "divergent synchronisation"),
    ("x[t] = t < 7 ? simd_sum(1.0f) : simd_shuffle(1.0f, 0);", "lanes of one simdgroup"),
    ("if (t < 7) simdgroup_barrier(mem_flags::mem_none); else x[t] = simd_sum(1.0f);",
     "lanes of one simdgroup"),
    ("if (t == 40) threadgroup_barrier(mem_flags::mem_none); else x[t] = simd_sum(1.0f);",
     "divergent synchronisation"),
])  # fmt: skip
def test_divergent_synchronisation_is_a_fault(device, body, words):
    text = f"""kernel void f(device float* x [[buffer(0)]],
                             uint t [[thread_index_in_threadgroup]]) {{ {body} }}"""
    refused(device, text, words, threads=64, group=64)


def test_lanes_that_have_returned_are_left_out(device):
    text = """kernel void f(device uint* x [[buffer(0)]], uint t [[thread_index_in_threadgroup]]) {
        if (t >= 20)
            return;
        x[t] = simd_sum(1u);
    }"""
    (got,) = kernel(device, text, [np.zeros(32, "u4")])
    assert got.tolist() == [20] * 20 + [0] * 12


def test_only_the_first_complaint_is_told(device):
    text = f"kernel void f(device float* x [[buffer(0)]], {EVERY}) {{ x[i + 1024 * i] = 1; }}"
    refused(device, text, "past its end", threads=4096)


def test_encoders_are_used_one_at_a_time_and_ended(device):
    library = device.library
    commands = c_void_p(device.call("begin", c_void_p(device.queue)))
    encoder = c_void_p(device.call("encoder", commands))
    with pytest.raises(MetalError, match="gives no encoder"):
        device.call("encoder", commands)
    device.do("end", encoder)
    grid = (c_size_t * 3)(1, 1, 1)
    library.mlxc_metal_dispatch_threads(encoder, grid, grid)
    library.mlxc_metal_commit(commands, None, None)
    assert library.mlxc_metal_wait(commands, device.error) == 1
    assert b"a second encoder while one is open" in device.error.value
    for handle in (encoder, commands):
        device.do("release", handle)


def test_an_offset_beyond_a_buffer_is_an_error(device):
    commands = c_void_p(device.call("begin", c_void_p(device.queue)))
    encoder = c_void_p(device.call("encoder", commands))
    buffer = c_void_p(device.buffer(16))
    device.library.mlxc_metal_set_buffer(encoder, buffer, c_size_t(17), c_int(2))
    device.do("end", encoder)
    device.library.mlxc_metal_commit(commands, None, None)
    assert device.library.mlxc_metal_wait(commands, device.error) == 1
    assert b"argument 2: offset 17 into a buffer of 16 bytes" in device.error.value
    for handle in (buffer, encoder, commands):
        device.do("release", handle)


# The library


def test_everything_that_is_made_is_released(device):
    text = f"kernel void f(device float* x [[buffer(0)]], {EVERY}) {{ x[i] = 1; }}"
    wrong = f"kernel void f(device float* x [[buffer(0)]], {EVERY}) {{ x[i + 9999999] = 1; }}"
    device.library.softmetal_living_objects.restype = ctypes.c_long

    def once():
        kernel(device, text, [("float32", (64,))], threads=64)
        refused(device, wrong, "past its end")
        refused(device, "kernel void f() { nonsense }", "does not compile")
        device.library.mlxc_metal_device_info(
            c_void_p(device.handle), ctypes.create_string_buffer(999)
        )
        device.library.mlxc_metal_release(c_void_p(device.call("device", 0)))

    once()
    before = device.library.softmetal_living_objects()
    allocated = device.library.mlxc_metal_allocated(c_void_p(device.handle))
    for _ in range(5):
        once()
    assert device.library.softmetal_living_objects() == before
    assert device.library.mlxc_metal_allocated(c_void_p(device.handle)) == allocated


def test_a_capture_holds_a_line_a_dispatch(device, tmp_path, monkeypatch):
    monkeypatch.setenv("MTL_CAPTURE_ENABLED", "1")
    path = tmp_path / "one.gputrace"
    start = device.library.mlxc_metal_capture_start
    handle, text = (
        c_void_p(device.handle),
        f"kernel void f(device float* x [[buffer(0)]], {EVERY}) {{}}",
    )
    assert start(handle, os.fsencode(path), device.error) == 0
    assert start(handle, os.fsencode(path), device.error) == 1
    assert b"a capture is under way" in device.error.value
    kernel(device, text, [("float32", (64,))], threads=64)
    device.library.mlxc_metal_capture_stop()
    assert path.read_text() == "f grid 64 1 1 group 32 1 1\n"
    assert start(handle, os.fsencode(path), device.error) == 1
    assert b"the file is there already" in device.error.value


def in_a_process(program, **variables):
    """Runs Python with a device of its own; what it prints."""
    code = f"""import sys
sys.path[:0] = {[str(ROOT / "tests/metal"), *sys.path]!r}
from device import Device
device = Device({LIBRARY!r})
TEXT = "kernel void f(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {{"
TEXT += " x[i] = 3; }}"
def run(text=TEXT):
    return device.run_text(text, [], [("float32", (5000,))], (5000, 1, 1))[0].sum()
{program}"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_child_of_a_fork_computes_too():
    program = """
import os
assert run() == 15000
child = os.fork()
if child == 0:
    os._exit(0 if run() == 15000 else 1)
print(os.waitpid(child, 0)[1], run() == 15000)"""
    assert in_a_process(program) == "0 True"


def test_a_shader_is_compiled_once_and_kept(tmp_path):
    cache = dict(MLXC_SOFTMETAL_CACHE=str(tmp_path))
    assert in_a_process("print(run() == 15000)", **cache) == "True"
    (kept,) = tmp_path.iterdir()
    made = kept.stat().st_ino
    assert in_a_process("print(run() == 15000)", **cache, PATH="/nowhere") == "True"
    assert [path.stat().st_ino for path in tmp_path.iterdir()] == [made]
    other = "0" if CHECKING else "1"
    in_a_process("run()", **cache, MLXC_SOFTMETAL_CHECK=other)
    in_a_process("run(TEXT + '//')", **cache)
    assert len(list(tmp_path.iterdir())) == 3  # another mode, another source


def test_the_cache_of_shaders_is_bounded(tmp_path):
    cache = dict(MLXC_SOFTMETAL_CACHE=str(tmp_path), MLXC_SOFTMETAL_CACHE_MB="0")
    old = tmp_path / "of_long_ago.so"
    old.write_bytes(bytes(100))
    assert in_a_process("print(run() == 15000)", **cache) == "True"
    (kept,) = tmp_path.iterdir()
    assert kept != old


def test_a_compiler_that_does_not_run_is_told(tmp_path):
    program = """
try:
    run()
except Exception as error:
    print(error)"""
    variables = dict(MLXC_SOFTMETAL_CACHE=str(tmp_path), PATH="/nowhere")
    assert "does not run" in in_a_process(program, **variables)
    variables = dict(MLXC_SOFTMETAL_CACHE=str(tmp_path), MLXC_SOFTMETAL_PYTHON="/nowhere/python")
    assert "the compiler did not run: /nowhere/python" in in_a_process(program, **variables)


def test_a_second_device_object_shares_the_library():
    assert Device(LIBRARY).info().name == b"Software Metal"
