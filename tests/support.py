"""What tests over the table share: samples by dtype, layouts, tolerances, checks of derivatives.

``run_python`` and ``output_of`` run code in a process of its own.

Rules: samples come from a generator seeded by the name of what is tested, so a failure repeats.
References are NumPy's, in the widest type; derivatives are compared in float64 wherever the
primitive computes it.
"""

import os
import subprocess
import sys
import zlib

import ml_dtypes
import numpy as np

import mlxc.core as mx
from mlxc._table import load_rows
from mlxc._table.dtypes import DTYPES
from mlxc._threads import pool

ROWS = load_rows()
NAMES = [fact.name for fact in DTYPES]
KIND = {fact.name: fact.kind for fact in DTYPES}
COMPUTE = {fact.name: fact.compute for fact in DTYPES}
NUMPY = {name: np.dtype(name.rstrip("_")) for name in NAMES if name != "bfloat16"}
NUMPY["bfloat16"] = np.dtype(ml_dtypes.bfloat16)

# Relative and absolute error that rounding the result to a dtype, and a few roundings before,
# explain.
TOLERANCE = {
    "float16": (1.2e-3, 1e-4),
    "bfloat16": (8e-3, 1e-4),
    "float32": (4e-6, 4e-6),
    "float64": (1e-12, 1e-12),
    "complex64": (1e-5, 1e-5),
}


def of_kind(kind):
    """The rows of one kind."""
    return [row for row in ROWS if row.kind == kind]


def generator(*names):
    """A random generator that depends on names alone."""
    return np.random.default_rng(zlib.crc32(" ".join(map(str, names)).encode()))


def sample(rng, name, shape, low=-3.0, high=3.0):
    """Values of a dtype between bounds, as NumPy holds them; complex ones off the branch cuts."""
    kind = KIND[name]
    if kind == "b":
        return np.array(rng.integers(0, 2, shape), dtype=bool)
    if kind in "iu":
        first = int(np.ceil(low)) if kind == "i" else max(0, int(np.ceil(low)))
        last = max(first, int(np.floor(high)))
        return np.array(rng.integers(first, last + 1, shape)).astype(NUMPY[name])
    values = rng.uniform(low, high, shape)
    if kind == "c":
        values = values + 1j * rng.uniform(0.1, 1.0, shape) * rng.choice([-1, 1], shape)
    return np.array(values).astype(NUMPY[name])


def to_mx(values):
    """A NumPy array as an array of the same dtype (float64 stays float64)."""
    values = np.asarray(values)
    return mx.array(values, dtype=mx.float64) if values.dtype == np.float64 else mx.array(values)


def to_np(x):
    """An array's values; bfloat16 as float32."""
    return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)


def wide(values):
    """Values in the widest NumPy dtype of their kind: what references compute in."""
    values = np.asarray(values)
    if values.dtype == NUMPY["bfloat16"] or values.dtype.kind == "f":
        return values.astype(np.float64)
    return values.astype(np.complex128) if values.dtype.kind == "c" else values


def assert_close(got, expected, name, factor=1):
    """Equal shapes, and values equal within the tolerance of a dtype; integers exactly."""
    got = to_np(got) if isinstance(got, mx.array) else np.asarray(got)
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    if KIND[name] in "biu":
        np.testing.assert_array_equal(got, expected)
        return
    relative, absolute = TOLERANCE[name]
    np.testing.assert_allclose(got, expected, rtol=relative * factor, atol=absolute * factor)


def double(*arrays):
    """NumPy values as float64 arrays."""
    return [mx.array(np.asarray(a, np.float64), dtype=mx.float64) for a in arrays]


LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: mx.transpose(to_mx(np.ascontiguousarray(x.T))),
    "strided": lambda x: to_mx(np.repeat(np.repeat(x, 2, 0), 3, 1))[::2, 1::3],
    "reversed": lambda x: to_mx(np.ascontiguousarray(x[::-1, ::-1]))[::-1, ::-1],
    "offset": lambda x: to_mx(np.pad(x, 1))[1:-1, 1:-1],
    "column": lambda x: to_mx(np.stack([x, x], axis=-1))[..., 1],
}


def laid_out(values, layout):
    """An array equal to two-dimensional NumPy values whose memory has the layout."""
    if layout == "dense":
        return to_mx(values)
    return LAYOUTS[layout](values)


def is_floating(x):
    """Whether an array can be differentiated with respect to."""
    return KIND[x.dtype.name] in "fc"


def direction(rng, x):
    """Random values like x's."""
    values = rng.standard_normal(x.shape)
    if KIND[x.dtype.name] == "c":
        values = values + 1j * rng.standard_normal(x.shape)
    return mx.array(np.asarray(values), dtype=x.dtype)


def inner(xs, ys):
    """The real inner product of two lists of arrays, in float64."""
    pairs = zip(xs, ys)
    return sum(float(np.vdot(wide(to_np(x)), wide(to_np(y))).real) for x, y in pairs)


def check_derivatives(function, xs, rng, step=1e-6, tolerance=1e-6, rounds=2):
    """jvp and vjp of a function of arrays against each other and against central differences.

    The function gives an array or several; along random directions v and weights u, (f(x + hv) -
    f(x - hv)) / 2h, jvp(v) and vjp(u) must agree: u . Jv = v . J'u.
    """
    for _ in range(rounds):
        vs = [direction(rng, x) for x in xs]
        outputs, tangents = mx.jvp(function, xs, vs)
        us = [direction(rng, o) for o in outputs]
        _, cotangents = mx.vjp(function, xs, us)
        for x, ct in zip(xs, cotangents):
            assert ct.shape == x.shape and ct.dtype == x.dtype
        for o, t in zip(outputs, tangents):
            assert t.shape == o.shape and t.dtype == o.dtype
        forward, backward = inner(us, tangents), inner(cotangents, vs)
        ahead = as_outputs(function(*[x + v * step for x, v in zip(xs, vs)]))
        behind = as_outputs(function(*[x - v * step for x, v in zip(xs, vs)]))
        slopes = [difference(a, b) / (2 * step) for a, b in zip(ahead, behind)]
        numeric = sum(float(np.vdot(wide(to_np(u)), s).real) for u, s in zip(us, slopes))
        scale = 1 + sum(float(np.abs(to_np(t)).sum()) for t in tangents)
        assert abs(forward - backward) <= tolerance * scale, ("jvp and vjp", forward, backward)
        assert abs(forward - numeric) <= tolerance * scale, (
            "jvp and differences",
            forward,
            numeric,
        )


def assert_threads_do_not_matter(function):
    """The arrays that a function computes have the same bits with 1, 2 and 7 threads."""
    before, found = pool.get_num_threads(), []
    try:
        for threads in (1, 2, 7):
            pool.set_num_threads(threads)
            found.append([to_np(x).tobytes() for x in as_outputs(function())])
    finally:
        pool.set_num_threads(before)
    for number, outputs in enumerate(zip(*found, strict=True)):
        assert len(set(outputs)) == 1, f"output {number}"


def difference(a, b):
    """a - b, and 0 where both are the same infinity."""
    a, b = wide(to_np(a)), wide(to_np(b))
    same = a == b
    return np.where(same, 0, a) - np.where(same, 0, b)


def as_outputs(value):
    """A function's result as a list of arrays."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def looped(function, axes, xs):
    """What vmap means: the function applied example by example, results stacked."""
    size = next(x.shape[axis] for x, axis in zip(xs, axes) if axis is not None)
    results = []
    for k in range(size):
        examples = [x if axis is None else mx.take(x, k, axis=axis) for x, axis in zip(xs, axes)]
        results.append(as_outputs(function(*examples)))
    return [mx.stack(list(outputs)) for outputs in zip(*results)]


def run_python(code, **environment):
    """Run code in a new process that finds the project and this folder's modules."""
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def output_of(code, **environment):
    """What a new process prints; it must end well."""
    answer = run_python(code, **environment)
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-3000:]
    return answer.stdout.strip()
