"""Reading and writing by index on the device against NumPy."""

import numpy as np
import pytest
from launching import BFLOAT16, launch, plan

import mlxc._backends.metal.indexing as indexing  # enters the launchers
from mlxc._backends.metal.dispatch import LAUNCHERS, Operand

UFUNC = {"add": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
DTYPES = [
    "bool_", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "complex64",
]  # fmt: skip

PAIRS = [
    (dtype, mode)
    for dtype in DTYPES
    for mode in ("none", "add", "prod", "max", "min")
    if dtype != "complex64" or mode not in ("max", "min")  # complex numbers have no order
]


def samples(dtype, *shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool_":
        return rng.integers(0, 2, shape).astype(np.bool_)
    kind = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    if kind.kind in "iu":
        return rng.integers(0, 100, shape).astype(kind)
    values = rng.integers(-8, 8, shape) / 4
    return (values + 1j * values[..., ::-1] if kind.kind == "c" else values).astype(kind)


def same(got, expected):
    np.testing.assert_array_equal(got.view(f"V{got.itemsize}"), expected.view(f"V{got.itemsize}"))


def near(got, expected):
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
    else:
        wide = complex if got.dtype.kind == "c" else np.float64
        eps = {2: 2e-2 if got.dtype == BFLOAT16 else 2e-3}.get(got.itemsize, 2e-6)
        np.testing.assert_allclose(got.astype(wide), expected.astype(wide), rtol=eps, atol=eps)


def write(x, where, updates, mode):
    """x with updates at a NumPy index, duplicates combined one after the other."""
    out = x.copy()
    if mode == "none":
        out[where] = updates
    elif x.dtype == np.bool_:
        (np.logical_or if mode in ("add", "max") else np.logical_and).at(out, where, updates)
    elif x.dtype.kind == "f" or x.dtype == BFLOAT16:
        out = out.astype(np.float64)
        UFUNC[mode].at(out, where, updates.astype(np.float64))
        out = out.astype(x.dtype)
    else:
        UFUNC[mode].at(out, where, updates)
    return out


# ---- gather ----


def gather(device, x, indices, axes, lead):
    moved = np.moveaxis(x, axes, range(lead, lead + len(axes)))
    expected = moved[(slice(None),) * lead + tuple(np.asarray(i).astype(int) for i in indices)]
    params = (tuple(axes), lead)
    (got,) = launch(device, "gather", [x, *indices], [(x.dtype, expected.shape)], params)
    same(got, np.ascontiguousarray(expected))


@pytest.mark.parametrize("dtype", ["bool_", "int16", "bfloat16", "float32", "complex64"])
def test_elements_and_blocks_of_any_width_are_gathered(device, dtype):
    x = samples(dtype, 6, 5, 40)
    gather(device, x, [np.array([[3, 0, -1], [5, -6, 2]])], (0,), 0)
    gather(device, x, [np.array([3, 0, -1], np.int8)], (1,), 1)
    gather(device, x, [np.array([3, 0, -1, 39], np.int32)], (2,), 2)
    gather(device, x, [np.array(2, np.uint64)], (1,), 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32"])
def test_indices_of_any_integer_dtype_name_the_same(device, dtype):
    x = samples("float32", 200, 3)
    gather(device, x, [np.array([0, 120, 7, 7], dtype)], (0,), 0)


def test_several_index_arrays_name_one_element_each(device):
    x = samples("float32", 4, 5, 6, 33)
    i, j = np.array([[0, -1], [2, 2]]), np.array([[1, 4], [-5, 0]], np.int16)
    gather(device, x, [i, j], (0, 1), 0)
    gather(device, x, [i, j], (1, 2), 1)
    gather(device, x[:, ::-1, :, ::2], [i, j], (1, 2), 1)


@pytest.mark.parametrize("size", [511, 512, 513, 515, 2050])
def test_long_rows_are_gathered_by_threads_that_take_several_elements(device, size):
    x = samples("float32", 5, 3, 2 * size)
    index = [np.array([4, -5, 2])]
    gather(device, x[:, 0, :size], index, (0,), 0)
    gather(device, x[:, :, 1::2], index, (0,), 0)  # two trailing axes
    gather(device, x[:, 1, ::-2], index, (0,), 0)
    gather(device, x[:, :, ::2], [np.array([2, -3])], (1,), 1)
    gather(device, x[:, :, :size], [np.array([0, 3]), np.array([1, -1])], (0, 1), 0)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "complex64"])
@pytest.mark.parametrize("size", [512, 520, 528, 2050, 5120])
def test_long_rows_of_neighbours_are_gathered_in_packs_wherever_they_begin(device, size, dtype):
    index = [np.array([[4, -5, 2]])]
    for shift in (0, 1, 4):
        memory = samples(dtype, 5 * 3 * size + shift)
        x = memory[shift:].reshape(5, 3, size)
        for each, axis in ((x[:, 1], 0), (x, 1), (x.reshape(5, -1)[:, :size], 0)):
            where = index if axis == 0 else [np.array([2, 0, -1])]
            steps = plan("gather", [each, *where], [(x.dtype, (1,))], ((axis,), axis))
            packed = steps[-1].constants[6] == indexing.CLOSE_TAIL
            assert packed == (size * x.itemsize % 16 == 0)
            gather(device, each, where, (axis,), axis)
        gather(device, x, [np.array([0, 3]), np.array([1, -1])], (0, 1), 0)


def test_operands_are_gathered_from_where_they_lie(device):
    x = samples("float32", 30, 40)
    rows = np.array([9, 1, 4, 4, 0, 3], np.int32)
    gather(device, x.T, [rows], (0,), 0)
    gather(device, x[::-2, ::3], [rows[::2]], (0,), 0)
    gather(device, np.broadcast_to(x[:1], (12, 40)), [rows[::-1]], (1,), 1)


@pytest.mark.parametrize(
    "index, dtype", [(5, "int64"), (-6, "int8"), (2**40, "int64"), (-(2**40), "int64"),
                     (2**64 - 1, "uint64"), (255, "uint8")]
)  # fmt: skip
def test_an_index_out_of_range_is_named_and_reaches_nothing(device, index, dtype):
    x, wild = samples("float32", 3, 5), np.array([[4, 0, index]], dtype)
    also = np.zeros_like(wild)
    said = rf"index {index} is out of range for axis 1 with size 5"
    for row, ins, shape, params in (
        ("gather", [x, wild], (3, 1, 3), ((1,), 1)),
        ("gather", [x, also, wild], (1, 3), ((0, 1), 0)),
        ("take_along_axis", [x[:1], wild], (1, 3), (1,)),
        ("scatter", [x, x[:, None, :3], wild], (3, 5), ((1,), 1, "add")),
        ("scatter", [x, x[:1, :3], also, wild], (3, 5), ((0, 1), 0, "none")),
        ("put_along_axis", [x[:1], x[:1, :3], wild], (1, 5), (1, "none")),
    ):
        with pytest.raises(IndexError, match=rf"\[{row}\] {said}"):
            launch(device, row, ins, [(x.dtype, shape)], params)


def test_elements_along_an_axis_are_taken(device):
    x, rng = samples("float32", 5, 6, 7), np.random.default_rng(0)
    for axis in range(3):
        shape = tuple(9 if k == axis else size for k, size in enumerate(x.shape))
        index = rng.integers(-x.shape[axis], x.shape[axis], shape)
        (got,) = launch(device, "take_along_axis", [x, index], [(x.dtype, shape)], (axis,))
        same(got, np.take_along_axis(x, index, axis))
    index = np.array([[2, 0], [1, 1]], np.uint8)
    turned = samples("int16", 2, 4)[:, ::-1]
    (got,) = launch(device, "take_along_axis", [turned, index.T], [("i2", (2, 2))], (1,))
    same(got, np.take_along_axis(turned, index.T.astype(int), 1))


def test_nothing_is_gathered_without_work():
    x, none = samples("float32", 5, 3), np.zeros(0, np.int32)
    assert plan("gather", [x, none], [(x.dtype, (0, 3))], ((0,), 0)) == []


# ---- scatter ----


def scatter(device, x, updates, indices, axes, lead, mode):
    moved = np.moveaxis(x.copy(), axes, range(lead, lead + len(axes)))
    where = (slice(None),) * lead + tuple(np.asarray(i).astype(int) for i in indices)
    expected = np.moveaxis(write(moved, where, updates, mode), range(lead, lead + len(axes)), axes)
    (got,) = launch(
        device, "scatter", [x, updates, *indices], [(x.dtype, x.shape)], (tuple(axes), lead, mode)
    )
    near(got, np.ascontiguousarray(expected))


@pytest.mark.parametrize("dtype, mode", PAIRS)
def test_duplicate_destinations_are_combined_in_order(device, dtype, mode):
    index = np.array([3, 0, 3, -1, 0, 3, 2])
    scatter(device, samples(dtype, 6), samples(dtype, 7, seed=1), [index], (0,), 0, mode)
    scatter(device, samples(dtype, 5, 40), samples(dtype, 7, 40, seed=1), [index], (0,), 0, mode)


@pytest.mark.parametrize("mode", ["none", "add", "max"])
def test_updates_go_to_blocks_named_by_several_indices(device, mode):
    x = samples("float32", 3, 4, 5, 6)
    i, j = np.array([[0, 0, -1], [1, 0, 2]]), np.array([[1, 1, 2], [4, 1, 1]], np.int8)
    scatter(device, x, samples("float32", 3, 2, 3, 6, seed=1), [i, j], (1, 2), 1, mode)
    scatter(device, x.transpose(0, 2, 1, 3), samples("float32", 3, 2, 3, 6), [j, i], (1, 2), 1,
            mode)  # fmt: skip


def test_many_updates_meet_at_few_places(device):
    index = np.random.default_rng(0).integers(0, 3, 5000).astype(np.int32)
    x, updates = np.zeros(3, np.int32), samples("int32", 5000)
    scatter(device, x, updates, [index], (0,), 0, "add")
    scatter(device, x, updates, [index], (0,), 0, "none")
    x, updates = samples("float32", 3, 32), samples("float32", 5000, 32)
    scatter(device, x, updates, [index], (0,), 0, "add")


def test_updates_and_indices_are_read_as_they_lie(device):
    x = samples("float32", 6, 4)[::-1].T
    updates = np.broadcast_to(np.float32(2), (4, 3))
    scatter(device, x, updates, [np.array([5, 1, 1, 3, 0, 1])[::-2]], (1,), 1, "add")


@pytest.mark.parametrize("mode", ["none", "add", "prod", "max", "min"])
def test_updates_are_put_along_an_axis(device, mode):
    x, rng = samples("float32", 5, 6, 3), np.random.default_rng(0)
    for axis in range(3):
        shape = tuple(9 if k == axis else size for k, size in enumerate(x.shape))
        index = rng.integers(-x.shape[axis], x.shape[axis], shape)
        updates = samples("float32", *shape, seed=1)
        where = list(np.ogrid[tuple(slice(size) for size in shape)])
        where[axis] = index
        (got,) = launch(
            device, "put_along_axis", [x, updates, index], [(x.dtype, x.shape)], (axis, mode)
        )
        near(got, write(x, tuple(where), updates, mode))


# ---- blocks ----


@pytest.mark.parametrize("mode", ["none", "add", "prod", "max", "min"])
@pytest.mark.parametrize("dtype", ["bool_", "int8", "uint64", "float16", "float32"])
def test_a_slice_is_put_or_combined_backwards_too(device, dtype, mode):
    x, update = samples(dtype, 7, 50), samples(dtype, 20, 3, seed=1).T
    where = (slice(1, 7, 2), slice(44, 4, -2))
    (got,) = launch(
        device, "slice_update", [x, update], [(x.dtype, x.shape)], ((1, 44), (7, 4), (2, -2), mode)
    )
    near(got, write(x, where, update, mode))


def test_a_single_element_and_nothing_are_put(device):
    x = samples("float32", 4)
    one = np.array([9], np.float32)
    for mode in ("none", "add"):
        (got,) = launch(
            device, "slice_update", [x, one], [(x.dtype, (4,))], ((2,), (3,), (1,), mode)
        )
        same(got, write(x, (slice(2, 3),), one, mode))
    (got,) = launch(
        device, "slice_update", [x, one[:0]], [(x.dtype, (4,))], ((2,), (2,), (1,), "none")
    )
    same(got, x)


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32", "complex64"])
def test_arrays_are_put_one_after_the_other_along_any_axis(device, dtype):
    a, b, c = samples(dtype, 3, 4, 5), samples(dtype, 5, 4, 3).T[:, ::-1], samples(dtype, 3, 4, 0)
    for parts, axis in (((a, b, c), 2), ((a, b[..., ::-1]), 0), ((a, a[:, :1]), 1), ((a,), 0)):
        expected = np.concatenate(parts, axis)
        (got,) = launch(device, "concatenate", parts, [(a.dtype, expected.shape)], (axis,))
        same(got, expected)


def test_elements_between_the_multiples_of_their_size_go_to_the_processor():
    odd = np.zeros(64, np.uint8)[: 7 * 6].reshape(7, 6)[:, :4].view(np.int32)
    assert odd.strides == (6, 4)
    out = [(np.int32, (14, 1))]
    assert plan("concatenate", [odd, odd], out, (0,)) is None


def test_rows_of_an_embedding_beyond_4_gigabytes_are_reached_by_64_bit_offsets():
    table = Operand("float32", (1 << 24, 1024), (4096, 4), 4)
    index, out = Operand("int32", (8,), (4,), 4), Operand("float32", (8, 1024), (4096, 4), 4)
    (step,) = LAUNCHERS["gather"]([table, index], [out], ((0,), 0))
    about = step.arguments[4].data
    assert int.from_bytes(about[24:32], "little") == 1 << 24
    assert int.from_bytes(about[32:40], "little") == 1024


def test_arrays_beyond_4_gigabytes_are_put_behind_each_other():
    table = Operand("int64", (1 << 20, 1 << 12), (1 << 15, 8), 8)
    both = Operand("int64", (1 << 21, 1 << 12), (1 << 15, 8), 8)
    steps = LAUNCHERS["concatenate"]([table, table], [both], (0,))
    assert [int.from_bytes(step.arguments[2].data[16:24], "little") for step in steps] == [
        0,
        1 << 32,
    ]
    assert all(size < 1 << 31 for step in steps for size in step.grid)
    odd = Operand("uint8", ((1 << 31) + 1, 3), (3, 1), 1)
    out = Operand("uint8", ((1 << 32) + 2, 3), (3, 1), 1)
    assert LAUNCHERS["concatenate"]([odd, odd], [out], (0,)) is None  # no rows to cut it into
