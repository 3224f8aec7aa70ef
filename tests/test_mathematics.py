"""The compiled elementwise loops, called by address: accuracy, special values, and every layout.

Rules: every instruction set that this processor runs is tested. Accuracy is measured in units of
the last place against float64; bounds are what the loops reach, rounded up, and not what would be
comfortable. Integers and conversions are compared with Python's integers and NumPy, exactly.
"""

import ctypes
import importlib
import math

import ml_dtypes
import numpy as np
import pytest

from mlxc._backends.cpu.kernels import built_modules, supported_isas
from mlxc._table.dtypes import COMPUTE_TYPES
from mlxc._table.elementwise import ROWS
from mlxc._table.fused import MACROS, VECTORS
from mlxc._table.render import CythonPrinter, render

ISAS = [isa for isa in supported_isas() if built_modules(isa)]
TABLES = {isa: {} for isa in ISAS}
for _isa in ISAS:
    for _module in render(_isa):
        TABLES[_isa].update(importlib.import_module(f"mlxc._kernels.{_isa}.{_module}").table())

NUMPY = dict(
    b8=np.uint8, i32=np.int32, u32=np.uint32, i64=np.int64, u64=np.uint64, f32=np.float32,
    f64=np.float64, c64=np.complex64, u8=np.uint8, i8=np.int8, u16=np.uint16, i16=np.int16,
)  # fmt: skip
INTEGERS = ("i32", "u32", "i64", "u64")
LOOP = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_void_p), ctypes.c_ssize_t)
COPY = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t
)
ROWS_FN = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t
)
INF, NAN = math.inf, math.nan
BY_NAME = {row.name: row for row in ROWS}

pytestmark = pytest.mark.parametrize("isa", ISAS)


@pytest.fixture(autouse=True)
def quiet():
    """References overflow and divide by zero on purpose."""
    with np.errstate(all="ignore"):
        yield


def call(isa, kernel, operands, out):
    """Run a loop over as many elements as `out` has."""
    pointers = (ctypes.c_void_p * (len(operands) + 1))(
        *[operand.ctypes.data for operand in operands], out.ctypes.data
    )
    LOOP(TABLES[isa][kernel])(pointers, out.size)
    return out


def run(isa, kernel, *operands, dtype=np.float32):
    size = max(operand.size for operand in operands)
    return call(isa, kernel, operands, np.empty(size, dtype))


def result_type(row, compute):
    if row.out == "bool":
        return NUMPY["b8"]
    return NUMPY["f32" if row.out == "real" and compute == "c64" else compute]


def ulps(got, exact):
    """Distance in units of the last place of float32; inf where one is special, the other not."""
    rounded = exact.astype(np.float32)
    place = np.maximum(np.spacing(np.abs(rounded)).astype(np.float64), 2.0**-149)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    distance = np.abs(got.astype(np.float64) - exact) / place
    finite = np.isfinite(got) & np.isfinite(rounded)
    return np.where(finite, distance, np.where(same, 0.0, INF))


def any_float32(rng, size):
    """Floats of random bits: all magnitudes, denormals, infinities and NaN."""
    return rng.integers(0, 2**32, size, dtype=np.uint32).view(np.float32)


def samples(name, rng, size=200_000):
    low, high = DOMAINS.get(name, (-1.5, 1.5))
    inside = rng.uniform(low, high, size).astype(np.float32)
    near = rng.uniform(-0.5, 0.5, size).astype(np.float32)
    return np.concatenate([inside, near, any_float32(rng, size)])


# ---- accuracy in float32

DOMAINS = dict(
    exp=(-104, 89), expm1=(-20, 89), log=(0, 10), log2=(0, 4), log10=(0, 10), log1p=(-1, 3),
    tanh=(-10, 10), sigmoid=(-104, 90), erf=(-4, 4), sin=(-1e5, 1e5), cos=(-1e5, 1e5),
    tan=(-1e5, 1e5), sinh=(-89, 89), cosh=(-89, 89),
)  # fmt: skip
# The largest error found over six million arguments, rounded up. 1.1 of tan is the C library's.
BOUNDS = dict(
    exp=1.0, expm1=1.5, log=0.8, log2=0.6, log10=0.6, log1p=0.6, tanh=2.4, sigmoid=2.4, erf=1.5,
    sin=1.6, cos=1.6, tan=1.1, sinh=0.6, cosh=0.6, arcsin=0.6, arccos=0.6, arctan=0.6, arcsinh=0.6,
    arccosh=0.6, arctanh=0.6, sqrt=0.6, rsqrt=1.6, reciprocal=0.6,
)  # fmt: skip
REFERENCES = dict(
    sigmoid=lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
    erf=np.vectorize(math.erf, otypes=[np.float64]),
    rsqrt=lambda x: 1 / np.sqrt(x),
)


def exact(name, *operands):
    function = REFERENCES.get(name) or getattr(np, name)
    return function(*[operand.astype(np.float64) for operand in operands])


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_functions_of_one_number_keep_their_bound_over_all_of_float32(isa, name):
    x = samples(name, np.random.default_rng(1))
    error = ulps(run(isa, f"{name}_f32_v", x), exact(name, x))
    worst = int(np.argmax(error))
    assert error[worst] <= BOUNDS[name], f"{error[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize("name", ["arctan2", "logaddexp", "divide", "add"])
def test_functions_of_two_numbers_are_correctly_rounded_almost_always(isa, name):
    rng = np.random.default_rng(2)
    special = np.array([0, -0.0, INF, -INF, NAN, 1, -1, 2, -2, 0.5, 3, -3, 1e-40, 3e38, 16777217])
    x = [np.repeat(special, len(special)), rng.uniform(-20, 20, 100_000), rng.gamma(1, 9, 100_000)]
    y = [np.tile(special, len(special)), rng.uniform(-9, 9, 100_000), rng.uniform(-30, 30, 100_000)]
    x, y = (np.concatenate(parts).astype(np.float32) for parts in (x, y))
    got, expected = run(isa, f"{name}_f32_vv", x, y), exact(name, x, y)
    error = ulps(got, expected)
    worst = int(np.argmax(error))
    assert error[worst] <= 0.6, f"{error[worst]} ulp at {x[worst]!r}, {y[worst]!r}"
    zeros = got == 0
    assert (np.signbit(got) == np.signbit(expected.astype(np.float32)))[zeros].all()


def powers_near_the_ends(rng, low, high, size=50_000):
    """Bases between low and high, exponents whose powers fill the range of float32."""
    x = np.exp2(rng.uniform(low, high, size)).astype(np.float32)
    with np.errstate(all="ignore"):
        y = rng.uniform(-150, 129, size) / np.log2(x.astype(np.float64))
    return x, np.where(np.isfinite(y), y, 1).astype(np.float32)


# Bases, and the bound. Where the logarithm is small and the power near an end of the range, it is
# the digits of the logarithm that count.
@pytest.mark.parametrize(
    ("low", "high", "bound"),
    [(-149, 128, 1.5), (-1.2, 1.2, 1.8), (-1e-2, 1e-2, 1.5), (-1e-6, 1e-6, 1.5)],
)
@pytest.mark.parametrize("unusual", [False, True])
def test_powers_are_exact_but_for_the_last_place(isa, low, high, bound, unusual):
    x, y = powers_near_the_ends(np.random.default_rng(20), low, high)
    if unusual:  # in every block that a loop looks at
        x[::200] = 0
    error = ulps(run(isa, "power_f32_vv", x, y), exact("power", x, y))
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{error[worst]} ulp at {x[worst]!r}, {y[worst]!r}"


def test_a_power_is_the_same_beside_unusual_neighbours(isa):
    rng = np.random.default_rng(21)
    x = np.exp2(rng.uniform(-100, 100, 1000)).astype(np.float32)
    y = rng.uniform(-1, 1, 1000).astype(np.float32)
    alone = run(isa, "power_f32_vv", x, y)
    together = run(isa, "power_f32_vv", np.append(x, x.dtype.type(-1)), np.append(y, y[:1]))
    np.testing.assert_array_equal(alone, together[:-1])


def test_powers_of_unusual_numbers_are_those_of_c(isa):
    special = [0, -0.0, INF, -INF, NAN, 1, -1, 2, -2, 0.5, 3, -3, 1e-40, -1e-40, 3e38, 16777217]
    special = np.array([*special, 1e10, -1e10, 5e9, 0.99999994, 1.0000001, -2.5], np.float32)
    x, y = np.repeat(special, len(special)), np.tile(special, len(special))
    got, expected = run(isa, "power_f32_vv", x, y), exact("power", x, y)
    assert ulps(got, expected).max() <= 1.3
    kept = ~np.isnan(expected)
    assert (np.signbit(got) == np.signbit(expected))[kept].all()
    for k, exponent in enumerate(special):  # the loops of one exponent, and of one base
        part = slice(k, None, len(special))
        alone = run(isa, "power_f32_vs", special, np.array([exponent], np.float32))
        if exponent not in (2, 3, -1, 0.5):
            np.testing.assert_array_equal(alone, got[part])
        one = run(isa, "power_f32_sv", np.array([exponent], np.float32), special)
        np.testing.assert_array_equal(one, got[k * len(special) : (k + 1) * len(special)])


def test_the_inverse_error_function_inverts_to_the_last_place(isa):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(-1, 1, 50_000), 1 - np.ldexp(1.0, -np.arange(1, 25))])
    x = x.astype(np.float32)
    y = run(isa, "erfinv_f32_v", x)
    for p, q in zip(x.tolist(), y.tolist()):
        slope = 2 / math.sqrt(math.pi) * math.exp(-q * q)
        # Near 1 the complement keeps the digits.
        off = math.erf(q) - p if abs(p) < 0.5 else (1 - abs(p)) - math.erfc(abs(q))
        assert abs(off) / slope <= 0.7 * np.spacing(np.float32(abs(q))), p


def test_circular_functions_hold_for_arguments_of_any_size(isa):
    x = np.array([1.5e6, 1.7e6, 1e9, 1e22, 3.4e38, -2.5e30], np.float32)
    for name in ("sin", "cos", "tan"):
        mixed = np.concatenate([x, np.linspace(-3, 3, 61).astype(np.float32)])
        assert ulps(run(isa, f"{name}_f32_v", mixed), exact(name, mixed)).max() <= BOUNDS[name]


def test_one_large_argument_among_many_is_seen(isa):
    x = np.linspace(-9, 9, 5000, dtype=np.float32)
    x[3000] = 1e22
    for name in ("sin", "cos", "tan"):
        assert ulps(run(isa, f"{name}_f32_v", x), exact(name, x)).max() <= BOUNDS[name]


@pytest.mark.parametrize("name", ["log1p", "arcsinh", "arccosh", "logaddexp"])
def test_logarithms_keep_their_digits_where_one_more_is_lost_to_rounding(isa, name):
    powers = np.ldexp(1.0, np.arange(20, 127))
    x = np.concatenate([powers, powers * (1 + 2.0**-23), powers * (1 - 2.0**-24)])
    x = x.astype(np.float32)
    operands = (x, x[::-1].copy()) if name == "logaddexp" else (x,)
    got = run(isa, f"{name}_f32_{'v' * len(operands)}", *operands)
    assert ulps(got, exact(name, *operands)).max() <= 0.6


def test_complex_tangents_are_exact_but_for_the_last_place(isa):
    rng = np.random.default_rng(14)
    z = (rng.normal(0, 9, 20_000) + 1j * rng.normal(0, 9, 20_000)).astype(np.complex64)
    for name in ("tan", "tanh"):
        got = run(isa, f"{name}_c64_v", z, dtype=np.complex64).astype(complex)
        exact = getattr(np, name)(z.astype(complex))
        assert (np.abs(got - exact) / np.spacing(np.abs(exact).astype(np.float32))).max() <= 1


def test_complex_tangents_have_the_special_values_of_c(isa):
    cases = [
        (complex(INF, 1), complex(1, 0)),
        (complex(-INF, -1), complex(-1, -0.0)),
        (complex(INF, NAN), complex(1, 0)),
        (complex(NAN, -0.0), complex(NAN, -0.0)),
        (complex(-0.0, 0.0), complex(-0.0, 0.0)),
        (complex(0.0, INF), complex(0, NAN)),
        (complex(2.0, INF), complex(NAN, NAN)),
    ]
    z, expected = np.array(cases, np.complex64).T.copy()
    got = run(isa, "tanh_c64_v", z, dtype=np.complex64)
    for part in ("real", "imag"):
        p, q = getattr(got, part), getattr(expected, part)
        np.testing.assert_array_equal(p, q)
        assert (np.signbit(p) == np.signbit(q))[~np.isnan(q)].all()


def test_the_measure_of_accuracy_sees_one_unit_of_the_last_place(isa):
    x = np.linspace(1, 2, 100, dtype=np.float32)
    wrong = np.nextafter(run(isa, "sqrt_f32_v", x), np.float32(9))
    assert ulps(wrong, np.sqrt(x.astype(np.float64))).max() > 0.9


# ---- special values

# (argument, result), for every function.
SPECIALS = dict(
    exp=[(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN), (89.0, INF), (-110.0, 0)],
    expm1=[
        (0.0, 0.0),
        (-0.0, -0.0),
        (INF, INF),
        (-INF, -1),
        (NAN, NAN),
        (89.0, INF),
        (1e-45, 1e-45),
    ],
    log=[(0.0, -INF), (-0.0, -INF), (1.0, 0), (INF, INF), (-1.0, NAN), (-INF, NAN), (NAN, NAN)],
    log2=[(0.0, -INF), (8.0, 3), (2.0**-149, -149), (INF, INF), (-1.0, NAN), (NAN, NAN)],
    log10=[(0.0, -INF), (1000.0, 3), (INF, INF), (-1.0, NAN), (NAN, NAN)],
    log1p=[(-0.0, -0.0), (-1.0, -INF), (INF, INF), (-2.0, NAN), (NAN, NAN), (1e-45, 1e-45)],
    tanh=[(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (1e-45, 1e-45)],
    sigmoid=[
        (0.0, 0.5),
        (INF, 1),
        (-INF, 0),
        (NAN, NAN),
        (-100.0, float(np.float32(math.exp(-100)))),
    ],
    erf=[(-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN)],
    erfinv=[(-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (NAN, NAN)],
    sin=[(-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    cos=[(0.0, 1), (INF, NAN), (NAN, NAN)],
    tan=[(-0.0, -0.0), (INF, NAN), (NAN, NAN)],
    sinh=[(-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN), (1e-45, 1e-45)],
    cosh=[(0.0, 1), (INF, INF), (-INF, INF), (NAN, NAN)],
    arcsin=[(-0.0, -0.0), (1.0, math.pi / 2), (1.01, NAN), (NAN, NAN)],
    arccos=[(1.0, 0), (-1.0, math.pi), (-1.01, NAN), (NAN, NAN)],
    arctan=[(-0.0, -0.0), (INF, math.pi / 2), (-INF, -math.pi / 2), (NAN, NAN)],
    arcsinh=[(-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN), (1e-45, 1e-45)],
    arccosh=[(1.0, 0), (INF, INF), (0.5, NAN), (-3.0, NAN), (NAN, NAN)],
    arctanh=[(-0.0, -0.0), (1.0, INF), (-1.0, -INF), (2.0, NAN), (NAN, NAN)],
    sqrt=[(-0.0, -0.0), (INF, INF), (-1.0, NAN), (NAN, NAN)],
    rsqrt=[(0.0, INF), (-0.0, -INF), (INF, 0), (-1.0, NAN), (NAN, NAN)],
    reciprocal=[(0.0, INF), (-0.0, -INF), (INF, 0), (-INF, -0.0), (NAN, NAN)],
    sign=[(0.0, 0), (-3.0, -1), (INF, 1), (-INF, -1), (NAN, NAN)],
    abs=[(-0.0, 0.0), (-INF, INF), (NAN, NAN)],
    rint=[(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, -0.0), (-1.5, -2), (INF, INF), (NAN, NAN)],
    isfinite=[(0.0, 1), (INF, 0), (-INF, 0), (NAN, 0)],
    isinf=[(0.0, 0), (INF, 1), (-INF, 1), (NAN, 0)],
    isnan=[(0.0, 0), (INF, 0), (-INF, 0), (NAN, 1)],
    isposinf=[(INF, 1), (-INF, 0), (NAN, 0)],
    isneginf=[(INF, 0), (-INF, 1), (NAN, 0)],
)


@pytest.mark.parametrize("name", sorted(SPECIALS))
@pytest.mark.parametrize("compute", ["f32", "f64"])
def test_special_values_come_out_as_the_standard_of_c_has_them(isa, name, compute):
    cases = SPECIALS[name]
    if compute == "f64" and name in ("exp", "expm1", "sigmoid"):  # where float32 overflows
        cases = [case for case in cases if abs(case[0]) < 80 or not math.isfinite(case[0])]
    dtype = NUMPY[compute]
    x, expected = np.array(cases, dtype).T.copy()
    # With and without ordinary neighbours: a vector may take another path than the rest.
    for padding in (0, 37):
        padded = np.concatenate([x, np.full(padding, 0.25, dtype)])
        out = result_type(BY_NAME[name], compute)
        got = run(isa, f"{name}_{compute}_v", padded, dtype=out)[: len(x)]
        np.testing.assert_allclose(got, expected, rtol=1e-6 if compute == "f32" else 1e-15)
        if BY_NAME[name].out != "bool":
            kept = ~np.isnan(expected)
            assert (np.signbit(got) == np.signbit(expected))[kept].all(), (name, x, got)


@pytest.mark.parametrize("compute", ["f32", "f64"])
def test_maximum_and_minimum_propagate_nan(isa, compute):
    x = np.array([1, NAN, NAN, 3], NUMPY[compute])
    y = np.array([NAN, 1, NAN, 2], NUMPY[compute])
    for name in ("maximum", "minimum"):
        got = run(isa, f"{name}_{compute}_vv", x, y, dtype=NUMPY[compute])
        np.testing.assert_array_equal(got, getattr(np, name)(x, y))


def test_remainder_has_the_sign_of_the_divisor_and_is_exact(isa):
    rng = np.random.default_rng(4)
    special = np.array(
        [0.0, -0.0, 5.5, -5.5, INF, -INF, NAN, 1e30, -1e30, 1e-30, 3, -3], np.float32
    )
    x = np.concatenate([np.repeat(special, len(special)), any_float32(rng, 20_000)])
    y = np.concatenate([np.tile(special, len(special)), any_float32(rng, 20_000)])
    for a, b in ((x, y), (np.abs(special[:6]) + 1, np.full(6, 0.7, np.float32))):
        got = run(isa, "remainder_f32_vv", a, b)
        np.testing.assert_array_equal(got, np.remainder(a, b))


def test_powers_with_a_frequent_scalar_exponent_equal_powers(isa):
    x = np.random.default_rng(5).uniform(-9, 9, 1000).astype(np.float32)
    x[:4] = [0.0, -0.0, INF, -INF]
    for exponent in (2, 3, -1, 0.5, 2.5, 7):
        s = np.array([exponent], np.float32)
        got, expected = run(isa, "power_f32_vs", x, s), exact("power", x, np.full_like(x, exponent))
        assert ulps(got, expected).max() <= 1.6, exponent
        assert (np.signbit(got) == np.signbit(expected))[:4].all(), exponent


# ---- integers


def wrapped(value, info):
    value &= (1 << info.bits) - 1
    return value - (1 << info.bits) if info.min < 0 and value >> (info.bits - 1) else value


def python_integer(name, x, y, bits):
    """What the rows promise, in Python's integers."""
    if name == "floor_divide":
        return x // y if y else 0
    if name == "remainder":
        return x % y if y else 0
    if name == "left_shift":
        return x << y if 0 <= y < bits else 0
    if name == "right_shift":
        return x >> (y if 0 <= y < bits else bits)
    if y < 0:
        return 1 if x == 1 else (-1) ** (y & 1) if x == -1 else 0
    return pow(x, y, 1 << bits)


@pytest.mark.parametrize("compute", INTEGERS)
@pytest.mark.parametrize(
    "name", ["floor_divide", "remainder", "power", "left_shift", "right_shift"]
)
def test_integer_functions_are_defined_for_every_pair(isa, compute, name):
    dtype = NUMPY[compute]
    info, rng = np.iinfo(dtype), np.random.default_rng(6)
    edges = [0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 65, info.max, info.max - 1, info.min, info.min + 1]
    edges = np.array(edges + ([-1, -2, -3, -32, -64] if info.min else []), dtype=object)
    x = np.concatenate([np.repeat(edges, len(edges)), rng.integers(info.min, info.max, 500, dtype)])
    y = np.concatenate([np.tile(edges, len(edges)), rng.integers(0, 70, 500)])
    x, y = x.astype(dtype), y.astype(dtype)
    got = run(isa, f"{name}_{compute}_vv", x, y, dtype=dtype)
    expected = [
        wrapped(python_integer(name, p, q, info.bits), info) for p, q in zip(x.tolist(), y.tolist())
    ]
    assert got.tolist() == expected


# ---- every kernel


def operands_for(row, compute, rng, size):
    """Operands inside the row's domain, of a compute type."""
    domains = row.domain if isinstance(row.domain[0], tuple) else (row.domain,) * row.arity
    for name, (low, high) in zip(row.args.split(), domains):
        values = rng.uniform(low, high, size)
        if name == "c" or compute == "b8":
            yield (values > (low + high) / 2).astype(np.uint8)
        elif compute == "c64":
            yield (values + 1j * rng.uniform(-1, 1, size)).astype(np.complex64)
        elif compute[0] == "u":
            yield np.abs(values * 5 + 1).astype(NUMPY[compute])
        else:
            yield (values * (5 if compute[0] == "i" else 1)).astype(NUMPY[compute])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_loop_agrees_with_numpy_on_every_type(isa, row):
    rng = np.random.default_rng(7)
    for compute in row.types:
        operands = list(operands_for(row, compute, rng, 203))
        got = run(isa, f"{row.name}_{compute}_{'v' * row.arity}", *operands,
                  dtype=result_type(row, compute))  # fmt: skip
        if compute == "b8":
            operands = [operand.astype(bool) for operand in operands]
        elif row.name == "select":
            operands[0] = operands[0].astype(bool)
        if row.name in ("floor_divide", "remainder", "power") and compute not in ("f32", "f64"):
            continue  # the tests of integers, and of complex powers, say more
        if compute == "b8" and row.name in ("subtract", "sign"):
            expected = operands[0] ^ operands[1] if row.arity == 2 else operands[0]
        elif compute == "c64" and row.name in ("logaddexp",):
            expected = np.log(np.exp(operands[0]) + np.exp(operands[1]))
        else:
            reference = row.reference if callable(row.reference) else getattr(np, row.reference)
            expected = reference(*operands)
        tolerance = 1e-13 if compute == "f64" else 3e-6
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance, err_msg=compute)


@pytest.mark.parametrize("row", [row for row in ROWS if row.arity > 1], ids=lambda row: row.name)
def test_scalar_layouts_agree_with_the_loop_over_vectors(isa, row):
    rng = np.random.default_rng(8)
    found = 0
    for compute in row.types:
        stem = f"{row.name}_{compute}_"
        for kernel in (kernel for kernel in TABLES[isa] if kernel.startswith(stem)):
            letters = kernel[len(stem) :]
            if "s" not in letters or set(letters) - {"v", "s"}:
                continue
            found += 1
            operands = list(operands_for(row, compute, rng, 301))
            operands = [x if c == "v" else x[:1].copy() for x, c in zip(operands, letters)]
            out = result_type(row, compute)
            got = run(isa, kernel, *operands, dtype=out)
            whole = [np.ascontiguousarray(np.broadcast_to(x, 301)) for x in operands]
            expected = run(isa, stem + "v" * row.arity, *whole, dtype=out)
            np.testing.assert_allclose(got, expected, rtol=2e-7, err_msg=kernel)
    assert found or not {"f32", "i32"} & set(row.types)


@pytest.mark.parametrize("short", ["f16", "bf16"])
def test_loops_on_stored_half_floats_equal_widening_computing_and_narrowing(isa, short):
    rng = np.random.default_rng(15)
    found = 0
    for kernel in TABLES[isa]:
        name, word, letters = (kernel.rsplit("_", 2) + ["", ""])[:3]
        if word != short or set(letters) - {"v", "s"} or name in ("load", "store", "round"):
            continue
        found += 1
        for size in (1, 63, 64, 65, 1000):
            stored = [rng.integers(0, 2**16, size, dtype=np.uint16) for _ in letters]
            wide = [run(isa, f"load_{short}_v", x) for x in stored]
            wide = [x if letter == "v" else x[:1].copy() for x, letter in zip(wide, letters)]
            got = run(isa, kernel, *(x if letter == "v" else w for x, w, letter in
                                     zip(stored, wide, letters)), dtype=np.uint16)  # fmt: skip
            got = run(isa, f"load_{short}_v", got)
            expected = run(isa, f"round_{short}_v", run(isa, f"{name}_f32_{letters}", *wide))
            np.testing.assert_array_equal(got, expected, err_msg=f"{kernel} {size}")
            signs = np.isfinite(expected)
            np.testing.assert_array_equal(np.signbit(got)[signs], np.signbit(expected)[signs])
    assert found > 40


@pytest.mark.parametrize("name", ["exp", "sin", "negative", "sqrt"])
def test_a_loop_may_write_over_its_operand(isa, name):
    x = np.linspace(0.1, 5, 777).astype(np.float32)
    expected = run(isa, f"{name}_f32_v", x)
    np.testing.assert_array_equal(call(isa, f"{name}_f32_v", [x], x), expected)


def test_every_size_writes_its_elements_and_no_other(isa):
    x = np.linspace(0, 1, 80).astype(np.float32)
    for size in range(70):
        out = np.full(80, 7, np.float32)
        call(isa, "square_f32_v", [x], out[:size])
        np.testing.assert_array_equal(out[:size], x[:size] * x[:size])
        assert (out[size:] == 7).all()


def test_all_instruction_sets_have_the_same_loops(isa):
    assert set(TABLES[isa]) == set(TABLES[ISAS[0]])


# ---- complex


def test_complex_powers_are_those_of_complex128(isa):
    rng = np.random.default_rng(9)
    x, y = rng.uniform(-3, 3, (2, 500, 2)).astype(np.float32).view(np.complex64)[..., 0]
    x[:3], y[:3] = [0, 0, 2], [0, 2, 0]
    got = run(isa, "power_c64_vv", x.copy(), y.copy(), dtype=np.complex64)
    expected = x.astype(np.complex128) ** y.astype(np.complex128)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_finite_complex_number_over_an_infinite_one_is_zero(isa):
    x = np.array([1 + 1j, -2 + 3j], np.complex64)
    y = np.array([complex(INF, 1), complex(2, -INF)], np.complex64)
    assert (run(isa, "divide_c64_vv", x, y, dtype=np.complex64) == 0).all()


def test_complex_quotients_do_not_overflow_on_the_way(isa):
    x = np.array([1e30 + 1e30j, 1e-30 + 0j], np.complex64)
    got = run(isa, "divide_c64_vv", x, x.copy(), dtype=np.complex64)
    np.testing.assert_allclose(got, 1, rtol=1e-6)


# ---- conversions


@pytest.mark.parametrize("short, dtype", [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_half_floats_widen_exactly_and_narrow_to_the_nearest(isa, short, dtype):
    bits = np.arange(65536, dtype=np.uint16)
    for part in (bits, bits[5:12]):  # with and without whole blocks
        wide = run(isa, f"load_{short}_v", part)
        np.testing.assert_array_equal(wide, part.view(dtype).astype(np.float32))
    rng = np.random.default_rng(10)
    ties = np.array([65519.99, 65520, 65504, 2.0**-25, 2.0**-25 * 1.001, 1.0009766, -0.0])
    x = np.concatenate(
        [
            any_float32(rng, 300_001),
            rng.uniform(-7e4, 7e4, 99_999),
            rng.uniform(0, 1e-4, 9999),
            ties,
        ]
    ).astype(np.float32)
    expected = x.astype(dtype).astype(np.float32)
    narrow = run(isa, f"store_{short}_v", x, dtype=np.uint16).view(dtype).astype(np.float32)
    np.testing.assert_array_equal(narrow, expected)
    np.testing.assert_array_equal(np.signbit(narrow), np.signbit(x))
    np.testing.assert_array_equal(run(isa, f"round_{short}_v", x), expected)


LAST = {bits: 2**bits - 1 for bits in (31, 32, 63, 64)}
TO_INTEGERS = dict(
    i32=[(-1.5, -1), (2.0**31, LAST[31]), (-3e9, -(2**31)), (INF, LAST[31]), (NAN, 0), (3.9, 3)],
    u32=[(-1.0, LAST[32]), (4294967040.0, 4294967040), (-0.5, 0), (NAN, 0), (INF, LAST[32])],
    i64=[(-1.5, -1), (9.3e18, LAST[63]), (-INF, -(2**63)), (INF, LAST[63]), (NAN, 0)],
    u64=[(-1.0, LAST[64]), (2.0**63, 2**63), (2e19, LAST[64]), (INF, LAST[64]), (NAN, 0), (7.7, 7)],
    b8=[(0.0, 0), (-0.0, 0), (0.1, 1), (-3.0, 1), (NAN, 1), (INF, 1)],
)  # fmt: skip


@pytest.mark.parametrize("target", sorted(TO_INTEGERS))
@pytest.mark.parametrize("source", ["f32", "f64"])
def test_floats_out_of_range_become_the_same_integers_everywhere(isa, source, target):
    x = np.array([case[0] for case in TO_INTEGERS[target]], NUMPY[source])
    for repeat in (1, 9):
        got = run(isa, f"cast_{source}_{target}_v", np.tile(x, repeat), dtype=NUMPY[target])
        assert got.tolist() == [case[1] for case in TO_INTEGERS[target]] * repeat


def test_casts_between_all_compute_types_keep_small_numbers(isa):
    for a in COMPUTE_TYPES:
        for b in COMPUTE_TYPES:
            if a != b:
                x = np.tile([0, 1, 1, 0] if a == "b8" else [0, 1, 2, 77], 9).astype(NUMPY[a])
                got = run(isa, f"cast_{a}_{b}_v", x, dtype=NUMPY[b])
                expected = x != 0 if b == "b8" else x.real.astype(NUMPY[b])
                np.testing.assert_array_equal(got, expected, err_msg=f"{a} to {b}")


@pytest.mark.parametrize("short", ["u8", "i8", "u16", "i16"])
def test_narrow_integers_wrap(isa, short):
    x = np.random.default_rng(11).integers(-(2**31), 2**31, 999, dtype=np.int64).astype(np.int32)
    narrow = x.astype(NUMPY[short])
    assert (run(isa, f"store_{short}_v", x, dtype=NUMPY[short]) == narrow).all()
    assert (run(isa, f"wrap_{short}_v", x, dtype=np.int32) == narrow).all()
    assert (run(isa, f"load_{short}_v", narrow, dtype=np.int32) == narrow).all()


# ---- moves


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("steps", [(1, 1), (0, 1), (2, 1), (-1, 1), (2, 3), (0, 2), (-2, -1)])
def test_copies_follow_strides_of_either_sign(isa, size, steps):
    dtype, n = np.dtype(f"u{size}"), 20
    source = np.random.default_rng(12).integers(1, 200, 64).astype(dtype)
    target = np.zeros(64, dtype)
    starts = [40 if step < 0 else 0 for step in steps]
    COPY(TABLES[isa][f"copy_{size}"])(
        source.ctypes.data + starts[0] * size, steps[0] * size,
        target.ctypes.data + starts[1] * size, steps[1] * size, n,
    )  # fmt: skip
    expected = np.zeros(64, dtype)
    k = np.arange(n)
    expected[starts[1] + k * steps[1]] = source[starts[0] + k * steps[0]]
    np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_fills_and_expansions_repeat_values(isa, size):
    values = np.array([3, 5, 7], f"u{size}")
    out = np.zeros(33, values.dtype)
    assert (call(isa, f"fill_{size}_s", [values], out) == 3).all()
    rows = ROWS_FN(TABLES[isa][f"expand_{size}"])
    rows(values.ctypes.data, out.ctypes.data, 3, 11)
    np.testing.assert_array_equal(out, np.repeat(values, 11))


# ---- macro kernels and the printer

PATTERN_FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "cast": lambda condition: condition.astype(np.float64),
}


@pytest.mark.parametrize("macro", MACROS, ids=lambda macro: macro.pattern)
def test_a_macro_kernel_computes_its_pattern(isa, macro):
    rng = np.random.default_rng(13)
    names = macro.args.split()
    operands = {
        name: rng.uniform(0.2, 2, 500 if name in VECTORS else 1).astype(np.float32)
        for name in names
    }
    got = run(isa, macro.kernel, *operands.values())
    wide = {name: value.astype(np.float64) for name, value in operands.items()}
    functions = {row.name: getattr(np, row.name, None) for row in ROWS} | PATTERN_FUNCTIONS
    expected = eval(macro.pattern, functions, wide)
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)


def test_the_printer_refuses_what_is_not_in_its_language(isa):
    for text in ("x ** 2", "x and y", "a < b < c", "[x]"):
        with pytest.raises(ValueError, match=r"\[render\]"):
            CythonPrinter("f32").expression(text)


def test_modules_are_printed_the_same_each_time(isa):
    assert render(isa) == render(isa)
