"""Every formula of the elementwise rows as MSL, against the processor's own kernels.

One kernel a compute type switches over all rows, so that each type is compiled once.
"""

import numpy as np
import pytest
from launching import BFLOAT16

import mlxc.core as mx
from mlxc._backends.metal import expressions
from mlxc._backends.metal.dispatch import Bytes, Dispatch, In, Out
from mlxc._table.dtypes import CODE
from mlxc._table.elementwise import ROWS

NUMPY = {dtype: np.dtype(dtype.rstrip("_")) for dtype in expressions.STORED if dtype != "bfloat16"}
NUMPY["bfloat16"] = BFLOAT16
# Units in the last place of the larger of operand and result's parts, where rows round differently.
ULPS = {
    "f32": {"erfinv": 8, "tan": 8, "arccosh": 8, "arctanh": 8, "sinh": 6, "cosh": 6},
    "c64": {"power": 2000, "log2": 16, "log10": 16},
}
DEFAULT_ULPS = {"f32": 4, "c64": 32}
HALVES = {"float16": (2.0**-10, 2.0**-24), "bfloat16": (2.0**-7, 2.0**-133)}  # ulp of 1, the least


def rows_of(compute):
    """(position, row, formula) of every row with a formula for the type."""
    found = [
        (row, value)
        for row in ROWS
        if (value := expressions.formula(row.name, compute, row.args.split()))
    ]
    return [(k, row, value) for k, (row, value) in enumerate(found)]


def program(compute):
    """The text of a kernel that applies the row whose number it is given, to any stored dtype."""
    kind = expressions.TYPES[compute]
    cases = "".join(
        f"    case {k}: result = {kind}({value.text}); break;\n"
        if value.compute == compute or compute != "c64"
        else f"    case {k}: result = complex64(float({value.text}), 0.0f); break;\n"
        for k, _, value in rows_of(compute)
    )
    held = "int" if compute == "b8" else kind
    return f"""#include "complex.h"
constant int DTYPE [[function_constant(0)]];
kernel void every_row_{compute}(const device uchar* a [[buffer(0)]],
    const device uchar* b [[buffer(1)]], const device bool* conditions [[buffer(2)]],
    device uchar* out [[buffer(3)]], constant uint& number [[buffer(4)]],
    uint i [[thread_position_in_grid]]) {{
    {kind} x = {kind}(Element<{held}>::load(a, i, uint(DTYPE)));
    {kind} y = {kind}(Element<{held}>::load(b, i, uint(DTYPE)));
    bool c = conditions[i];
    {kind} result = x;
    switch (number) {{
{cases}    }}
    Element<{held}>::store(out, i, uint(DTYPE), {held}(result));
}}
"""


def apply(device, dtype, number, x, y, c):
    compute = expressions.compute_type(dtype)
    step = Dispatch(
        "",
        f"every_row_{compute}",
        [In(0), In(1), In(2), Out(0), Bytes(np.uint32(number).tobytes())],
        (x.size, 1, 1),
        (64, 1, 1),
        constants={0: CODE[dtype]},
        source=program(compute),
    )
    return device.run([step], [x, y, c], [(x.dtype, x.shape)])[0]


def special_values(dtype, row):
    """Where formulas change: zeros, ones, ends of ranges, what is no number."""
    kind = NUMPY[dtype]
    if dtype == "bool_":
        return np.array([False, True])
    if dtype == "complex64":
        parts = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-20, 30.0, np.inf, -np.inf, np.nan]
        special = np.array([complex(a, b) for a in parts for b in parts], kind)
        if row.name == "log1p":  # log|1e-20| here, where the processor squares it away
            special = special[(special.real != -1) | (np.abs(special.imag) != np.float32(1e-20))]
        return special
    if expressions.compute_type(dtype) == "f32":
        values = [0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 0.1, 88.5, -90, 100.0, np.inf, -np.inf]
        values += [np.nan] if dtype == "float16" else [np.nan, 1e-30, -1e-30, 1e30, -1e30, 16777217]
        return np.array(values).astype(kind)
    info = np.iinfo(kind)
    values = [0, 1, 2, 3, 7, 31, 33, 64, info.max, info.max - 1, info.max // 3, info.min]
    values += [info.min + 1, -1, -2, -3, -7] if info.min < 0 else []
    return np.array(values, kind)


def drawn_values(dtype, row, rng, n):
    """Two operands of n values each from the row's domain."""
    kind = NUMPY[dtype]
    if dtype == "bool_":
        return np.zeros((2, 0), kind)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        more = rng.integers(info.min, info.max, (2, n), kind)
        more[1, : n // 2] %= 40
        return more
    single = not isinstance(row.domain[0], tuple)
    pairs = (row.domain,) * 2 if single else row.domain
    more = [rng.uniform(*pair, n) for pair in pairs[:2]]
    if dtype == "complex64":
        more = [m + 1j * rng.uniform(-3, 3, n) for m in more]
    elif single and row.domain == (-3.0, 3.0):
        size = 4 if dtype == "float16" else 8
        more[0][: n // 2] = rng.normal(size=n // 2) * 10.0 ** rng.integers(-size, size, n // 2)
    return [m.astype(kind) for m in more]


def values_of(dtype, row, rng):
    """Pairs of operands: every special value with every other, then samples of the domain."""
    special = special_values(dtype, row)
    x, y = special, special
    if row.arity > 1 and dtype != "complex64":
        x, y = np.repeat(special, special.size), np.tile(special, special.size)
    elif row.arity > 1:
        y = np.roll(special, 37)
    with np.errstate(all="ignore"):
        more = drawn_values(dtype, row, rng, 600 if NUMPY[dtype].itemsize > 2 else 150)
    x, y = np.concatenate([x, more[0]]), np.concatenate([y, more[1]])
    return x, y, rng.integers(0, 2, x.size).astype(np.bool_)


def on_processor(row, x, y, c):
    """What the processor gives, half types as float32."""
    operands = {"x": mx.array(x), "y": mx.array(y), "c": mx.array(c)}
    with mx.stream(mx.cpu):
        result = mx._bind(row.name, tuple(operands[arg] for arg in row.args.split()), ())
        return np.array(result.astype(mx.float32) if result.dtype == mx.bfloat16 else result)


def finite(array):
    """The array with zeros for infinite and undefined parts."""
    if array.dtype.kind != "c":
        return np.where(np.isfinite(array), array, 0)
    return finite(array.real) + 1j * finite(array.imag)


def allowance(row, dtype, expected, x, y):
    """The largest error of each value: units of the result, or of operands that cancel."""
    compute = expressions.compute_type(dtype)
    size = np.abs(finite(expected)).astype(np.float64)
    if row.name == "logaddexp":
        size = np.maximum(size, np.maximum(np.abs(finite(x)), np.abs(finite(y))))
    ulps = ULPS.get(compute, {}).get(row.name, DEFAULT_ULPS.get(compute, 0))
    allowed = ulps * np.maximum(size, 2.0**-126) * 2.0**-23
    if dtype in HALVES:  # a float on the other side of what rounds up
        unit, least = HALVES[dtype]
        allowed += np.maximum(size * unit, least)
    return allowed


def differs(row, dtype, mine, right, allowed, unsigned):
    """Where one part of a value is wrong. The sign of an infinity beside NaN is nobody's."""
    if mine.dtype.kind != "f":
        return mine != right
    mine = np.where(unsigned, np.abs(mine), mine)
    right = np.where(unsigned, np.abs(right), right)
    with np.errstate(all="ignore"):
        close = np.abs(mine.astype(np.float64) - right) <= allowed
    same = (mine == right) | (np.isnan(mine) & np.isnan(right))
    if row.arity == 1 or row.name in ("remainder", "arctan2", "power", "divide"):
        same &= (np.signbit(mine) == np.signbit(right)) | (right != 0)
    if dtype != "complex64":  # whose error is that of both parts; elsewhere zeros are exact
        close &= (right != 0) | (np.abs(mine) < 1.2e-38) & (mine != 0)
    return ~(same | close)


def complaints(row, dtype, got, expected, x, y):
    """Where a value is wrong, in words."""
    if dtype in HALVES:
        got, expected = got.astype(np.float32), expected.astype(np.float32)
    allowed = allowance(row, dtype, expected, x.astype("f8") if dtype in HALVES else x, y)
    if dtype == "complex64":
        unsigned = np.isnan(expected)
        parts = [(got.real, expected.real.astype(np.float32))]
        if expected.dtype.kind == "c":
            parts.append((got.imag, expected.imag))
        bad = np.zeros(x.shape, bool)
        for mine, right in parts:
            bad |= differs(row, dtype, mine, right, allowed, unsigned | (right == 0))
        bad &= ~((row.name == "power") & ~(np.isfinite(x) & np.isfinite(y)))
    else:
        bad = differs(row, dtype, got, expected.astype(got.dtype), allowed, np.False_)
    return [f"{x[k]!r}, {y[k]!r}: {got[k]!r}, not {expected[k]!r}" for k in np.flatnonzero(bad)]


@pytest.mark.parametrize("dtype", NUMPY)
def test_every_row_gives_what_the_processor_gives(device, dtype):
    wrong = []
    for number, row, _ in rows_of(expressions.compute_type(dtype)):
        if dtype in row.refuses:
            continue
        x, y, c = values_of(dtype, row, np.random.default_rng(number))
        got = apply(device, dtype, number, x, y, c)
        expected = on_processor(row, x, y, c)
        found = complaints(row, dtype, got, expected, x, y)
        wrong += [f"{row.name}: {len(found)} of {x.size}: " + "; ".join(found[:3])] if found else []
    assert not wrong, "\n".join(wrong)


def test_a_type_without_a_format_on_the_device_has_no_formula():
    assert expressions.formula("add", "f64", ["x", "y"]) is None
    assert expressions.formula("sqrt", "i32", ["x"]) is None
    assert expressions.formula("sum", "f32", ["x"]) is None


CASTS = [
    ("float32", "int8"), ("float32", "uint8"), ("float32", "int32"), ("float32", "uint32"),
    ("float32", "int64"), ("float32", "uint64"), ("float32", "bool_"), ("float32", "float16"),
    ("float32", "bfloat16"), ("float32", "complex64"), ("int64", "int16"), ("int32", "float16"),
    ("uint64", "float32"), ("int64", "float32"), ("complex64", "float32"), ("complex64", "bool_"),
    ("complex64", "int16"), ("uint8", "bfloat16"), ("bool_", "float32"), ("int32", "bool_"),
]  # fmt: skip


def cast_program():
    """A kernel a conversion: memory to memory."""
    kernels = []
    for source, target in CASTS:
        loaded = f"({expressions.load('a[i]', source)})"
        value = expressions.store(expressions.cast(loaded, source, target), target)
        kernels.append(
            f"kernel void cast_{source}_{target}(const device {expressions.STORED[source]}* a "
            f"[[buffer(0)]], device {expressions.STORED[target]}* out [[buffer(1)]], "
            f"uint i [[thread_position_in_grid]]) {{ out[i] = {value}; }}\n"
        )
    return '#include "complex.h"\n' + "".join(kernels)


def bits(array):
    return np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)


@pytest.mark.parametrize("source, target", CASTS, ids=str)
def test_conversions_give_the_bits_that_the_processor_gives(device, source, target):
    rng = np.random.default_rng(1)
    if source in ("float32", "complex64"):
        x = np.concatenate(
            [[0.0, -0.0, 1.5, -1.5, 255.7, 256.0, -129.0, 65519.0, 65520.0, 1e-7, 5e-8, 3e9, -3e9],
             [2.0**31, -(2.0**31), 2.0**63, -(2.0**63), 1.5 * 2.0**63, 2.0**64, np.inf, -np.inf],
             [np.nan, 1e38], rng.normal(size=200) * 10.0 ** rng.integers(-6, 12, 200)]
        ).astype(source)  # fmt: skip
        if source == "complex64":
            x.imag = x.real[::-1]
    else:
        kind = np.dtype(source.rstrip("_"))
        x = rng.integers(0, 256, 200 * kind.itemsize, np.uint8)
        x = (x & 1).astype(np.bool_) if kind == np.bool_ else x.view(kind)
    with mx.stream(mx.cpu):
        expected = mx.array(x).astype(getattr(mx, target)).view(mx.uint8)
    width = expected.size // x.size
    step = Dispatch(
        "", f"cast_{source}_{target}", [In(0), Out(0)], (x.size, 1, 1), (64, 1, 1),
        source=cast_program(),
    )  # fmt: skip
    (got,) = device.run([step], [x], [(np.dtype(f"V{width}"), (x.size,))])
    got, expected = bits(got).reshape(x.size, width), np.array(expected).reshape(x.size, width)
    nan = np.isnan(x) if source in ("float32", "complex64") else np.zeros(x.size, bool)
    floats = target in ("float32", "float16", "bfloat16", "complex64")
    keep = ~nan if floats else np.ones(x.size, bool)
    np.testing.assert_array_equal(got[keep], expected[keep])
