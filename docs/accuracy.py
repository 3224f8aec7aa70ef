"""Measures how accurate mlxc is and writes docs/accuracy.md: ``make accuracy``.

Rules: nothing is listed here that the table of rows can tell; a row without a reference is an
error. float64 and complex64 are measured against mpmath at 60 digits (hundreds where large parts
cancel), narrower types against the row's NumPy reference in float64. Arguments are evenly spaced
bit patterns (all of them for 16-bit types), so that every magnitude occurs, and values of the row's
domain. Errors are in units of the last place (ULP) of the exact result; of complex results, the
distance in the plane in units of the last place of the absolute value.
"""

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import mpmath
import numpy as np

import mlxc.core as mx
from mlxc._backends.cpu.kernels import built_modules, supported_isas
from mlxc._table import load_rows
from mlxc._table.dtypes import DTYPES

TARGET = Path(__file__).parent / "accuracy.md"
FLOATS = ("float32", "float16", "bfloat16", "float64", "complex64")
# (bits of the significand, exponent of the least normal number, of the largest)
FORMATS = {
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
    "float32": (24, -126, 127),
    "float64": (53, -1022, 1023),
    "complex64": (24, -126, 127),
}
NUMPY = {name: np.dtype(name) for name in FLOATS if name != "bfloat16"}
NUMPY["bfloat16"] = np.dtype(ml_dtypes.bfloat16)
ROWS = [
    row
    for row in load_rows()
    if row.kind == "elementwise"
    and row.out != "bool"
    and row.inputs != "int"
    and row.name != "select"
]
# mpmath's name of a function, where it is not NumPy's with "arc" for "a".
EXACT = {
    "negative": lambda x: -x,
    "abs": abs,
    "sign": lambda x: mpmath.sign(x) if mpmath.im(x) == 0 else x / abs(x),
    "square": lambda x: x * x,
    "trunc": lambda x: mpmath.floor(x) if x > 0 else mpmath.ceil(x),
    "rint": lambda x: _nearest(mpmath.re(x)) + 1j * _nearest(mpmath.im(x)),
    "stop_gradient": lambda x: x,
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "log2": lambda x: mpmath.log(x) / mpmath.ln2,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "degrees": lambda x: x * 180 / mpmath.pi,
    "radians": lambda x: x * mpmath.pi / 180,
    "conjugate": mpmath.conj,
    "real": mpmath.re,
    "imag": mpmath.im,
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "floor_divide": lambda x, y: mpmath.floor(x / y),
    "remainder": lambda x, y: x - mpmath.floor(x / y) * y,
    "power": lambda x, y: x**y,
    "arctan2": mpmath.atan2,
    "logaddexp": lambda x, y: x + mpmath.log(1 + mpmath.exp(y - x)),
    "maximum": max,
    "minimum": min,
}
# float64's range needs as many digits where large parts cancel.
DIGITS = {"remainder": 700, "sin": 400, "cos": 400, "tan": 400, "logaddexp": 400}
# maximum and minimum choose a complex operand, exactly; log(exp(x) + exp(y)) has branches.
REAL_ONLY = ("maximum", "minimum", "logaddexp")


def _nearest(x):
    low = mpmath.floor(x)
    part = x - low
    return low + (1 if part > 0.5 or (part == 0.5 and low % 2) else 0)


def exact_function(name):
    return EXACT.get(name) or getattr(mpmath, name.replace("arc", "a"))


# ---- arguments ----


def bit_patterns(name, count):
    """Evenly spaced values among all of a dtype's, without NaN and infinities."""
    if name == "complex64":
        x, y = bit_patterns("float32", count), bit_patterns("float32", count)
        mixed = np.random.default_rng(1).permutation(len(y))
        z = (x + 1j * y[mixed]).astype(np.complex64)
        return z[(z.real != 0) & (z.imag != 0)]  # mpmath has no -0 to tell the sides of a cut
    dtype = NUMPY[name]
    bits = 8 * dtype.itemsize
    count = 1 << 16 if bits == 16 else count
    step = (1 << bits) // count | (bits > 16)  # odd: the low bits vary too
    patterns = np.arange(count, dtype=np.uint64) * np.uint64(step)
    x = patterns.astype(f"u{dtype.itemsize}").view(dtype)
    with np.errstate(invalid="ignore"):  # signalling NaN
        return x[np.isfinite(x.astype(np.float64))]


def arguments(row, name, count):
    """Operands: any bits, the row's domain, and around 0 and 1."""
    rng = np.random.default_rng(len(row.name))
    domain = row.domain if isinstance(row.domain[0], tuple) else (row.domain,) * row.arity
    parts = []
    for low, high in domain:
        spots = [rng.uniform(low, high, count), rng.normal(0, 0.1, count)]
        spots += [1 + rng.normal(0, 0.01, count), rng.normal(0, 30, count)]
        x = np.concatenate(spots)
        if name == "complex64":
            x = x + 1j * rng.permutation(x)
        bits = bit_patterns(name, count)
        parts.append(np.concatenate([rng.permutation(bits), x.astype(NUMPY[name])]))
    size = min(map(len, parts))
    if row.arity == 1:
        parts[0].sort()
    return [part[:size] for part in parts]


# ---- errors ----


def places(size, name):
    """The unit of the last place of exact absolute values, float64 or mpf."""
    digits, least, _ = FORMATS[name]
    exponent = np.frexp(size)[1] - 1
    return np.ldexp(1.0, np.maximum(exponent, least) - digits + 1)


def narrow_errors(got, exact, name):
    """ULP of float64 results of narrower dtypes; what overflows counts as the next power of two."""
    top = 2.0 ** (FORMATS[name][2] + 1)
    both_nan = np.isnan(got) & np.isnan(exact)
    got, exact = (np.clip(x, -top, top) for x in (got, exact))
    with np.errstate(all="ignore"):
        error = np.abs(got - exact) / places(np.minimum(np.abs(exact), top / 2), name)
    error[both_nan] = 0
    return np.where(np.isnan(error), np.inf, error)


def wide_error(got, exact, name):
    """ULP of one float64 or complex64 result against mpmath's; None where that is undefined."""
    if not mpmath.isfinite(exact) or not mpmath.isfinite(mpmath.mpmathify(got)):
        return None
    size = abs(exact)
    digits, least, most = FORMATS[name]
    if size >= mpmath.ldexp(1, most):
        return None
    exponent = max(mpmath.frexp(size)[1] - 1 if size else least, least)
    return float(abs(mpmath.mpmathify(got) - exact) / mpmath.ldexp(1, exponent - digits + 1))


def apply(row, xs):
    return mx._bind(row.name, tuple(xs))


def to_numpy(x):
    mx.eval(x)  # a half float that is widened at once would never have been rounded
    return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)


def reference(row, xs):
    function = getattr(np, row.reference) if isinstance(row.reference, str) else row.reference
    if row.name == "floor_divide":  # of the quotient as it is rounded
        return np.floor((xs[0].astype(np.float32) / xs[1].astype(np.float32)).astype(np.float64))
    if row.name == "erfinv":  # NumPy has none; the float64 row is measured by itself
        return to_numpy(apply(row, [mx.array(x, dtype=mx.float64) for x in xs]))
    if row.name == "sigmoid":
        return np.where(xs[0] < 0, np.exp(xs[0]), 1.0) / (1 + np.exp(-np.abs(xs[0])))
    return np.asarray(function(*xs), np.float64)


def measure(row, name, count):
    """(largest error, its arguments) of a row for a dtype."""
    xs = arguments(row, name, count if name not in ("float64", "complex64") else count // 50)
    results = to_numpy(apply(row, [mx.array(x, dtype=getattr(mx, name)) for x in xs]))
    if name not in ("float64", "complex64"):
        with np.errstate(all="ignore"):
            exact = reference(row, [x.astype(np.float64) for x in xs])
        errors = narrow_errors(results.astype(np.float64), exact, name)
        worst = int(np.argmax(errors))
        return float(errors[worst]), [str(x[worst]) for x in xs]
    function, worst = exact_function(row.name), (0.0, [str(x[0]) for x in xs])
    kind = complex if name == "complex64" else float
    with mpmath.workdps(DIGITS.get(row.name, 60)):
        for k, got in enumerate(results.tolist()):
            operands = [kind(x[k]) for x in xs]
            exact = exact_of(row, function, operands, name)
            error = None if exact is None else wide_error(got, exact, name)
            if error is not None and error > worst[0]:
                worst = (error, [str(x) for x in operands])
    return worst


def exact_of(row, function, operands, name):
    """mpmath's value where the row is defined and the value is a number, else None."""
    if row.name in ("exp", "expm1", "sigmoid", "sinh", "cosh", "tanh", "logaddexp", "power"):
        if any(abs(x) > 1e4 for x in operands):
            return None
    if name == "complex64" and row.name in ("sin", "cos", "tan") and abs(operands[0]) > 1e4:
        return None
    if row.name == "remainder" and abs(operands[0]) > abs(operands[1]) * 2.0**1000:
        return None
    try:
        if row.name == "floor_divide":
            return mpmath.floor(mpmath.mpf(operands[0] / operands[1]))
        exact = function(*map(mpmath.mpmathify, operands))
    except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.NoConvergence):
        return None
    if name == "float64" and isinstance(exact, mpmath.mpc):
        return None if exact.imag else exact.real
    return exact


def measure_all(count):
    """{row: {dtype: (error, arguments)}} on the instruction set in use."""
    table = {}
    for row in ROWS:
        table[row.name] = {}
        for name in FLOATS:
            if name in row.refuses or (name == "complex64" and "c64" not in row.types):
                continue
            if name == "complex64" and row.name in REAL_ONLY:
                continue
            table[row.name][name] = measure(row, name, count)
    return table


# ---- reductions ----

REDUCTIONS = {
    "sum": (mx.sum, lambda x: math.fsum(x), np.sum),
    "mean": (mx.mean, lambda x: math.fsum(x) / len(x), np.mean),
    "var": (mx.var, lambda x: exact_variance(x), np.var),
    "std": (mx.std, lambda x: math.sqrt(exact_variance(x)), np.std),
    "norm": (
        mx.linalg.norm,
        lambda x: math.sqrt(math.fsum(v * v for v in x)),
        np.linalg.norm,
    ),
    "logsumexp": (
        mx.logsumexp,
        lambda x: exact_logsumexp(x),
        lambda a: np.log(np.sum(np.exp(a))),
    ),
    "x @ x": (lambda x: x @ x, lambda x: math.fsum(v * v for v in x), lambda a: a @ a),
    "last of cumsum": (lambda x: mx.cumsum(x)[-1], math.fsum, lambda a: np.cumsum(a)[-1]),
}
SIZE = 1_000_000


def exact_variance(x):
    mean = math.fsum(x) / len(x)
    return math.fsum((v - mean) ** 2 for v in x) / len(x)


def exact_logsumexp(x):
    high = max(x)
    return high + math.log(math.fsum(math.exp(v - high) for v in x))


def data():
    rng = np.random.default_rng(5)
    return {
        "a tenth, a million times": np.full(SIZE, 0.1),
        "uniform in 0..1": rng.uniform(size=SIZE),
        "normal": rng.standard_normal(SIZE),
        "normal + 1000": rng.standard_normal(SIZE) + 1000,
    }


def reduction_lines():
    yield "| reduction | of | float32 | NumPy's float32 | float16 | bfloat16 | float64 |"
    yield "|---|---|---|---|---|---|---|"
    for (reduction, (ours, exact, numpys)), (title, values) in itertools.product(
        REDUCTIONS.items(), data().items()
    ):
        if reduction == "std" or (reduction == "logsumexp" and "1000" in title):
            continue
        cells = []
        for name in ("float32", "numpy", "float16", "bfloat16", "float64"):
            dtype = NUMPY["float32" if name == "numpy" else name]
            x = values.astype(dtype)
            wide = x.astype(np.float64).tolist()
            truth = exact(wide)
            if name == "numpy":
                got = float(numpys(x))
            else:
                got = float(ours(mx.array(x, dtype=getattr(mx, name))).item())
            if not math.isfinite(got) or abs(truth) > 2.0 ** FORMATS[dtype.name][2]:
                cells.append("overflows")
            else:
                cells.append(f"{float(abs(got - truth) / places(abs(truth), dtype.name)):.2f}")
        yield f"| {reduction} | {title} | " + " | ".join(cells) + " |"


# ---- special values ----

SPECIALS = (0.0, -0.0, math.inf, -math.inf, math.nan)


def shown(value):
    if isinstance(value, bool):
        return str(value)
    return "nan" if value != value else f"{value:.6g}"


def special_lines():
    yield "| function | 0 | -0 | inf | -inf | nan |"
    yield "|---|---|---|---|---|---|"
    x = mx.array(SPECIALS)
    for row in load_rows():
        if row.kind == "elementwise" and row.arity == 1 and row.inputs != "int":
            values = apply(row, [x != 0 if row.inputs == "bool" else x]).tolist()
            yield f"| {row.name} | " + " | ".join(map(shown, values)) + " |"


PAIRS = (
    *((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, math.inf), (1.0, math.inf), (math.inf, 0.0)),
    *((math.inf, math.inf), (math.inf, -math.inf), (1.0, math.nan), (math.nan, 0.0)),
)


def pair_lines():
    yield "| function | " + " | ".join(f"{a:g}, {b:g}" for a, b in PAIRS) + " |"
    yield "|---" * (len(PAIRS) + 1) + "|"
    x, y = (mx.array(column) for column in zip(*PAIRS))
    for row in load_rows():
        if row.kind == "elementwise" and row.arity == 2 and row.inputs in ("any", "float"):
            values = apply(row, [x, y]).tolist()
            yield f"| {row.name} | " + " | ".join(map(shown, values)) + " |"


FOLDS = (
    *("sum", "prod", "max", "min", "mean", "var", "logsumexp", "argmax", "argmin", "any", "all"),
    *("cumsum", "cummax", "logcumsumexp", "softmax", "sort", "argsort", "median"),
)
LISTS = {
    "[1, nan, 2]": [1.0, math.nan, 2.0],
    "[1, inf]": [1.0, math.inf],
    "[inf, -inf]": [math.inf, -math.inf],
    "[-inf, -inf]": [-math.inf, -math.inf],
    "[]": [],
}


def fold_lines():
    yield "| function | " + " | ".join(LISTS) + " |"
    yield "|---" * (len(LISTS) + 1) + "|"
    for name in FOLDS:
        cells = []
        for values in LISTS.values():
            try:
                result = getattr(mx, name)(mx.array(values, dtype=mx.float32), axis=-1).tolist()
            except ValueError:
                cells.append("ValueError")
                continue
            many = isinstance(result, list)
            cells.append(
                "[" + ", ".join(map(shown, result)) + "]" if many else shown(result)
            )  # fmt: skip
        yield f"| {name} | " + " | ".join(cells) + " |"


# ---- promotion ----


def promotion_lines():
    names = [fact.name for fact in DTYPES]
    yield "| | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for a in names:
        x = mx.zeros((1,), getattr(mx, a))
        cells = [mx.where(True, x, mx.zeros((1,), getattr(mx, b))).dtype.name for b in names]
        yield f"| **{a}** | " + " | ".join(cells) + " |"
    yield ""
    yield "| with a Python number | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for number in (True, 1, 1.0, 1j):
        cells = [(mx.zeros((1,), getattr(mx, b)) * number).dtype.name for b in names]
        yield f"| {type(number).__name__} | " + " | ".join(cells) + " |"


# ---- the document ----


def on_every_set(count):
    """What each instruction set gives, the worst of all."""
    worst = {}
    for isa in [isa for isa in supported_isas() if built_modules(isa)]:
        answer = subprocess.run(
            [sys.executable, __file__, "--measure", str(count)],
            env={**os.environ, "MLXC_CPU_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            check=True,
        )
        for row, cells in json.loads(answer.stdout).items():
            for name, (error, xs) in cells.items():
                cell = worst.setdefault(row, {}).setdefault(name, (-1.0, xs))
                if error > cell[0]:
                    worst[row][name] = (error, xs)
    return worst


def elementwise_lines(count):
    yield "| function | " + " | ".join(FLOATS) + " | worst argument of float32 | of float64 |"
    yield "|---" * (len(FLOATS) + 3) + "|"
    for row, cells in on_every_set(count).items():
        numbers = [f"{cells[name][0]:.2f}" if name in cells else "" for name in FLOATS]
        worst = [", ".join(cells[name][1]) for name in ("float32", "float64")]
        yield f"| {row} | " + " | ".join(numbers + worst) + " |"


TEXT = """# How accurate it is

Written by `make accuracy` (docs/accuracy.py); do not edit.

## Elementwise functions

The largest error found, in units of the last place (ULP) of the exact result: 0.5 is correct
rounding. The worst of all instruction sets that the measuring machine runs ({isas}). 16-bit types:
every value of one operand. float32: {count} bit patterns evenly spaced over all, and as many from
the usual domain, around 0 and around 1, against NumPy's float64. float64 and complex64: a fiftieth
of that against mpmath. Complex errors are distances in the plane. `floor_divide` is measured
against the floor of the rounded quotient. `tests/test_accuracy.py` measures again, with fewer
arguments, and fails where this table is exceeded.

{elementwise}

## Reductions

Of a million numbers, against exact sums (`math.fsum`), in ULP of the result.

{reductions}

Results are the same bits for 1, 2 and 7 threads: work is split by its size and parts are combined
in order (`tests/test_accuracy.py::test_the_bits_do_not_depend_on_the_number_of_threads`).

## NaN and infinities

One table for every device. Floats to integers: NaN gives 0, what is too large the nearest integer
there is. Integers divided by zero give 0 (`floor_divide`, `remainder`). NaN sorts last; comparisons
with NaN are false, except `not_equal`.

{specials}

{pairs}

{folds}

## Promotion

The dtype in which two arrays meet. `tests/test_promotion.py` states all pairs again and checks them
for every operation of two operands.

{promotion}

A Python number does not widen an array of its kind or a higher one: bool < int < float < complex.
An int, a float or a complex number beside an array of a lower kind gives int32, float32, complex64.
"""


def main():
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure_all(int(sys.argv[2]))))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    parts = dict(
        elementwise=elementwise_lines(count),
        reductions=reduction_lines(),
        specials=special_lines(),
        pairs=pair_lines(),
        folds=fold_lines(),
        promotion=promotion_lines(),
    )
    isas = ", ".join(isa for isa in supported_isas() if built_modules(isa))
    texts = {key: "\n".join(lines) for key, lines in parts.items()}
    TARGET.write_text(TEXT.format(isas=isas, count=f"{count:,}", **texts))


if __name__ == "__main__":
    main()
