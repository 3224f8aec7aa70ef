"""Kernels printed for fused programs, against NumPy, in sizes around what decides how they are cut.

Rules: these need no compiled mlxc, so that every tool that watches shaders can watch them too.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from device import dtype_of

from mlxc._backends.metal import maps, programs
from mlxc._table.dtypes import CODE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "softmetal"))

import printed
from printed import ROW, program

LARGE = (517, 1 + maps.MANY // 517)  # where threads of a strided map take several elements
SMALL = [(1, 1), (3, 5), (1, 1023), (16, 64), (7, 293), (700, 4)]
COLUMNS = [1, 31, 33, 64, 480, 512, 513, 768, 1000, 4096, 4100, 5120, 8192, 8193]


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


EXPECTED = {
    "add": lambda x: x + x,
    "add transposed": lambda x: x + x.reshape(x.shape[::-1]).T,
    "add a row": lambda x: x + x[0],
    "exp": np.exp,
    "softmax of rows": softmax,
    "norm of rows": lambda x: x / np.sqrt((x * x).sum(1, keepdims=True)),
    "sum of rows": lambda x: x.sum(1),
    "sum of columns": lambda x: x.sum(0),
    "sum of all": lambda x: x.sum().reshape(1),
}


TOLERANCE = {"float32": (2e-6, 2e-5), "float16": (2e-3, 1e-3), "bfloat16": (1.6e-2, 8e-3)}


def shifted(x, by):
    """The array a few elements into memory of its own."""
    memory = np.zeros(x.size + by, x.dtype)
    memory[by:] = x.reshape(-1)
    return memory[by:].reshape(x.shape)


def check(device, shape, dtype, wanted, shift=0):
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(dtype_of(dtype))
    x = shifted(x, shift)
    for name, made, inputs, kept, _, _ in printed.cases(*shape, dtype):
        if name not in wanted:
            continue
        dispatches = programs.dispatches(made)
        (got,) = device.run(dispatches, eval(inputs, {"x": x}), [(dtype, kept)])
        right = EXPECTED[name](x.astype("f8"))
        relative, least = TOLERANCE[dtype]
        if dtype == "bfloat16":  # sums are rounded when they are stored
            least *= max(1, np.sqrt(x.size / right.size) / 8)
        np.testing.assert_allclose(got.astype("f8"), right, relative, least, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 5), (1, 1023), (16, 64), (7, 293), (700, 4)], ids=str
)
def test_programs_of_every_kind_give_what_numpy_gives(device, shape, dtype):
    check(device, shape, dtype, EXPECTED)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [LARGE, LARGE[::-1], (maps.MANY // 40, 41)], ids=str)
def test_a_thread_of_a_large_map_takes_several_elements(device, shape, dtype):
    dispatched = [programs.dispatches(made) for _, made, *_ in printed.cases(*shape, dtype)]
    threads = [np.prod(d.grid) * np.prod(d.group) for (d, *_) in dispatched[:4]]
    assert max(threads) < 0.6 * np.prod(shape)
    check(device, shape, dtype, ("add", "add transposed", "add a row", "exp"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("columns", COLUMNS)
def test_rows_of_any_length_are_kept_or_read_again(device, columns, dtype):
    check(device, (5, columns), dtype, ("softmax of rows", "norm of rows"))


def test_what_a_thread_keeps_fits_its_registers():
    for columns in range(1, 20000, 37):
        for short in {columns <= programs.SHORT_ROW, False}:
            for rows in (1, 5000):
                for loads, pack in ((1, 1), (2, 1), (3, 2), (9, 1), (1, 4)):
                    threads, each = programs._threads_of_row(rows, columns, short, loads, pack)
                    team = programs.SIMD if short else threads
                    room = programs.KEPT * (2 if pack > 1 and loads == 1 else 1)
                    assert each * pack * loads <= room and threads <= 1024
                    assert each == 0 or (each * team >= columns and threads <= 512)


# ---- packs of narrow elements


def pointwise(shape, loads, *operations):
    """A map: loads are (dtype, strides in elements), operations are values; the last dtype is the
    result's."""
    values = [
        ("load", CODE[dtype], slot, 0, tuple(step * dtype_of(dtype).itemsize for step in strides))
        for slot, (dtype, strides) in enumerate(loads)
    ]
    values += operations
    return values, len(loads)


def run_map(device, shape, loads, operations, dtype, arrays):
    values, slot = pointwise(shape, loads, *operations)
    item = dtype_of(dtype.rstrip("_")).itemsize
    dense = tuple(item * int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    made = program("map", shape, values, [(len(values) - 1, CODE[dtype], slot, dense)])
    (dispatch,) = programs.dispatches(made)
    (got,) = device.run([dispatch], arrays, [(dtype.rstrip("_"), shape)])
    return got, dispatch.source


def integers(dtype, size, seed=0):
    x = np.random.default_rng(seed).integers(0, 256, size * dtype.itemsize, np.uint8)
    return x.view(dtype) if dtype != np.bool_ else (x & 1).astype(bool)


SIZES = [1, 2, 3, 4, 7, 1023, 1024, 4097, 6001]


@pytest.mark.parametrize("dtype", ["bool_", "int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("size", SIZES)
def test_narrow_integers_go_in_packs_whose_last_may_have_less(device, size, dtype):
    kind = np.dtype(dtype.rstrip("_"))
    x, y = integers(kind, size), integers(kind, size, 1)
    name, right = ("logical_or", x | y) if kind == np.bool_ else ("add", x + y)
    for shift in (0, 1, 3):
        operation = ("op", ROW[name], CODE[dtype], (0, 1))
        loads = [(dtype.rstrip("_") if dtype != "bool_" else dtype, (1,))] * 2
        got, text = run_map(
            device, (size,), loads, [operation], dtype, [shifted(x, shift), shifted(y, 1)]
        )
        assert ("load_pack" in text) == (size >= 4 // kind.itemsize)
        np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize(
    "source, target",
    [("float16", "float32"), ("float32", "bfloat16"), ("bfloat16", "float16"), ("int8", "float32"),
     ("float32", "float16"), ("uint8", "float16"), ("int16", "uint8"), ("bool_", "bfloat16")],
)  # fmt: skip
@pytest.mark.parametrize("size", [5, 2050, 5000])
def test_conversions_read_packs_of_one_size_and_write_those_of_another(
    device, size, source, target
):
    kind = dtype_of(source.rstrip("_"))
    x = integers(kind, size) if kind.kind in "biu" else np.linspace(-9, 9, size).astype(kind)
    cast = ("cast", CODE[source], CODE[target], 0)
    for shift in (0, 1):
        got, text = run_map(device, (size,), [(source, (1,))], [cast], target, [shifted(x, shift)])
        assert "load_pack" in text
        np.testing.assert_array_equal(got, x.astype(dtype_of(target)))


@pytest.mark.parametrize("columns", [2, 6, 64, 65, 300])
def test_rows_that_repeat_and_columns_that_repeat_meet_packs(device, columns):
    rows = 70
    x = np.random.default_rng(2).normal(size=(rows, columns)).astype("f2")
    add = [("op", ROW["add"], CODE["float16"], (0, 1)), ("op", ROW["add"], CODE["float16"], (3, 2))]
    loads = [("float16", (columns, 1)), ("float16", (0, 1)), ("float16", (1, 0))]
    for shift in (0, 1):
        arrays = [shifted(x, shift), x[0], np.ascontiguousarray(x[:, 0])]
        got, text = run_map(device, (rows, columns), loads, add, "float16", arrays)
        assert ("load_pack" in text) == (columns % 2 == 0)
        wide = x.astype("f4")
        np.testing.assert_array_equal(got, ((wide + wide[0]) + wide[:, :1]).astype("f2"))


def test_a_value_that_all_elements_share_is_written_once_beside_packs(device):
    x = np.linspace(0, 1, 3001).astype("f2")
    code = CODE["float16"]
    values = [("load", code, 0, 0, (2,)), ("load", code, 1, 0, (0,))]
    values += [("op", ROW["exp"], code, (1,)), ("op", ROW["multiply"], code, (0, 2))]
    made = program("map", (3001,), values, [(3, code, 2, (2,)), (2, code, 3, (0,))])
    outs = [("float16", (3001,)), ("float16", (1,))]
    product, factor = device.run(programs.dispatches(made), [x, np.zeros(1, "f2")], outs)
    np.testing.assert_array_equal(product, x)
    assert factor == [1.0]


HALVES = ["float16", "bfloat16"]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(5, 256), (3, 4100), (40, 66), (2, 20000)], ids=str)
def test_halves_at_an_odd_place_are_read_one_by_one(device, shape, dtype):
    check(device, shape, dtype, set(EXPECTED) - {"sum of all"}, shift=1)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("columns", [64, 1024, 20000])
def test_nan_and_infinity_in_either_half_of_a_word_reach_their_rows_alone(device, columns, dtype):
    x = np.random.default_rng(3).uniform(-1, 1, (6, columns)).astype(dtype_of(dtype))
    x[0, 0], x[1, columns - 1], x[2, 7], x[3, 8], x[4] = np.nan, np.nan, -np.inf, np.inf, -np.inf
    ((made, inputs, kept),) = (
        each[1:4] for each in printed.cases(*x.shape, dtype) if each[0] == "softmax of rows"
    )
    (got,) = device.run(programs.dispatches(made), eval(inputs, {"x": x}), [(dtype, kept)])
    with np.errstate(all="ignore"):
        right = softmax(x.astype("f8"))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(right))
    np.testing.assert_allclose(got[[2, 5]].astype("f8"), right[[2, 5]], 1e-2, 1e-5)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float16", "bfloat16"])
@pytest.mark.parametrize("axis", [0, 1])
def test_extrema_of_narrow_elements_are_found_in_packs(device, axis, dtype):
    kind = dtype_of(dtype)
    for shape in ((9, 8), (33, 700), (300, 36), (70, 6000), (5, 7)):
        x = integers(np.dtype("i2"), shape[0] * shape[1]).reshape(shape).astype(kind)
        if kind.kind not in "iu":
            x[0, 1] = np.nan
        step, kept = kind.itemsize, shape[1 - axis]
        strides = (0, step) if axis == 0 else (step, 0)
        values = [("load", CODE[dtype], 0, 0, (step * shape[1], step))]
        values.append(("reduce", ROW["max"], CODE[dtype], 0))
        made = program("reduce", shape, values, [(1, CODE[dtype], 1, strides)], reduced=(axis,))
        for shift in (0, 1):
            dispatches = programs.dispatches(made)
            packed = shape[1] % (4 // step) == 0
            assert ("load_pack" in dispatches[0].source) == packed
            (got,) = device.run(dispatches, [shifted(x, shift)], [(dtype, (kept,))])
            np.testing.assert_array_equal(got.astype("f8"), x.astype("f8").max(axis))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("columns", [8, 33, 5000])
def test_what_a_row_is_divided_by_may_be_of_any_size(device, columns, dtype):
    large, small = (3e38, 2.4e-38) if dtype == "bfloat16" else (6e4, 6.2e-5)
    tops = np.array([1, 3, large, small, 0, np.inf, np.nan, 0.7])
    factors = np.random.default_rng(4).uniform(-1, 1, columns)
    factors[columns // 2] = 1
    with np.errstate(all="ignore"):
        x = (tops[:, None] * factors).astype(dtype_of(dtype))
    code, item = CODE[dtype], 2
    values = [("load", code, 0, 0, (item * columns, item)), ("reduce", ROW["max"], code, 0)]
    values.append(("op", ROW["divide"], code, (0, 1)))
    outputs = [(2, code, 1, (item * columns, item))]
    made = program("rows", x.shape, values, outputs, row_axes=1)
    (dispatch,) = programs.dispatches(made)
    assert "Divisor" in dispatch.source
    (got,) = device.run([dispatch], [x], [(dtype, x.shape)])
    with np.errstate(all="ignore"):
        right = x.astype("f8") / x.astype("f8").max(1, keepdims=True)
    relative = TOLERANCE[dtype][0]
    np.testing.assert_allclose(got.astype("f8"), right, relative, 1e-7)
