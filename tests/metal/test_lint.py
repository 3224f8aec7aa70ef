"""Rules for shaders (tests/softmetal/lint.py): each is broken once, and kept by the project."""

import sys
from pathlib import Path

import pytest

from mlxc._backends.metal import sources

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/softmetal"))

import lint  # noqa: E402
import printed  # noqa: E402

HEAD = '#include <metal_stdlib>\nusing namespace metal;\n#line 1 "mine.metal"\n'
ARGUMENTS = "device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]"


def findings(text):
    return lint.lint(HEAD + text)


def in_kernel(body, before=""):
    return f"{before}\nkernel void f({ARGUMENTS}) {{\n{body}\n}}\n"


@pytest.mark.parametrize("family", sorted(p.stem for p in (ROOT / "shaders").glob("*.metal")))
def test_the_projects_shaders_keep_the_rules(family):
    assert lint.lint(sources.read(family)) == []


PRINTED = {name: text for name, text in printed.texts() if "300000" not in name}


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_printed_programs_keep_the_rules(name):
    found = lint.lint(sources.expand(PRINTED[name]))
    assert [each for each in found if "unused" not in each] == []  # nobody reads that text


RIGHT = """struct Pair { float first; half second; };
constant bool MINE [[function_constant(0)]];
constant float table[2] = {0.5, 1.5};
inline float both(thread const Pair& p) { return p.first + float(p.second); }
template <typename T> inline void keep(threadgroup T* to, device const T* from, uint i) {
    to[i] = MINE ? from[i] : T(table[i & 1]);
}
template <int N> inline float power(float x) { return x * power<N - 1>(x); }
template <> inline float power<0>(float) { return 1; }
kernel void f(device float* x [[buffer(0)]], constant Pair& p [[buffer(1)]],
              device atomic_uint* n [[buffer(2)]], threadgroup float* more [[threadgroup(0)]],
              uint i [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
    threadgroup float kept[32];
    threadgroup Pair pairs[2];
    keep<float>(kept, x, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    Pair own = pairs[lane & 1];
    own.first = p.first;
    float2 v = float2(kept[lane ^ 1], more[0]).yx;
    atomic_fetch_add_explicit(n, 1u, memory_order_relaxed);
    for (uint k = 0; k < 4; k++)
        v.x += simd_sum(power<3>(v.y)) + both(own);
    device float* to = x + i;
    *to = v.x;
}
"""


def test_what_keeps_the_rules_passes():
    assert findings(RIGHT) == []


BROKEN = {
    "a pointer that leaves its address space": (
        "spaces", in_kernel("threadgroup float t[4];\n    device float* y = t;\n    *y = 1;"), 4),
    "a pointer without an address space": (
        "spaces", in_kernel("float* y = &x[i];\n    *y = 1;"), 3),
    "a parameter without an address space": (
        "spaces", in_kernel("", "inline void take(float* p) { p[0] = 1; }"), 1),
    "a reference without an address space": (
        "spaces", in_kernel("", "inline void take(const float& p) { (void)p; }"), 1),
    "device memory where a thread's is asked for": (
        "spaces", in_kernel("set(x);", "inline void set(thread float* p) { p[0] = 1; }"), 3),
    "a write to constant memory": (
        "spaces", in_kernel("table[i] = x[i];", "constant float table[2] = {0.5, 1.5};"), 3),
    "a cast that changes the address space": (
        "spaces", in_kernel("x[i] = *(threadgroup float*)x;"), 3),
    "a structure of one memory or another": (
        "spaces", in_kernel("Pair q = i > 2 ? p[0] : Pair{1, 2};\n    x[i] = q.first;",
                            "struct Pair { float first, second; };\n").replace(
                                "device float* x [[buffer(0)]]",
                                "device float* x [[buffer(0)]], device Pair* p [[buffer(1)]]"), 4),
    "a function that calls itself": (
        "recursion", in_kernel("x[i] = count(i);",
                               "inline uint count(uint n) { return n ? count(n / 2) : 0; }"), 0),
    "functions that call each other": (
        "recursion", in_kernel("x[i] = even(i);", "bool odd(uint n);\n"
                               "bool even(uint n) { return n == 0 || odd(n - 1); }\n"
                               "bool odd(uint n) { return n != 0 && even(n - 1); }"), 0),
    "a loop without a condition": ("loops", in_kernel("for (;;)\n        x[i] += 1;"), 3),
    "a loop that is always true": ("loops", in_kernel("while (true)\n        x[i] += 1;"), 3),
    "a double": ("types", in_kernel("x[i] = float(double(i) * 2);"), 3),
    "a conditional of half and float": (
        "types", in_kernel("x[i] = i > 2 ? half(x[i]) : x[i];"), 3),
    "a conditional of bfloat and float": (
        "types", in_kernel("x[i] = i > 2 ? x[i] : bfloat(x[i]);"), 3),
    "threadgroup memory of a function": (
        "storage", in_kernel("x[i] = get(i);", "inline float get(uint i) {\n"
                             "    threadgroup float t[4];\n    return t[i];\n}"), 2),
    "threadgroup memory of a block": (
        "storage", in_kernel("if (i) {\n    threadgroup float t[4];\n    x[i] = t[i];\n    }"), 4),
    "a name of Apple's own": ("names", in_kernel("x[i] = __metal_exp(x[i], 0);"), 3),
    "a member that reads like a swizzle": (
        "names", in_kernel("", "struct Pair { float xy, zw; };"), 1),
    "a variable that nobody uses": ("warnings", in_kernel("int unused;\n    x[i] = 1;"), 3),
    "a comparison of signs": ("warnings", in_kernel("if (int(x[i]) < i)\n        x[i] = 1;"), 3),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_rule_is_told_with_its_line(fault):
    rule, text, line = BROKEN[fault]
    found = findings(text)
    place = f"mine.metal:{line}" if line else "shader:0"
    assert any(each.startswith(f"{place}: {rule}: ") for each in found), found


def test_text_that_is_no_msl_is_told():
    assert "not known" in findings("kernel void f(uint i [[thread_position_in_cloud]]) {}")[0]
