"""Memory shared with other libraries, iteration, and groups of one process."""

import gc
import pickle

import numpy as np
import pytest

import mlxc.core as mx
from mlxc._table.dtypes import DTYPES

NUMPY_NAMES = [fact.name for fact in DTYPES if fact.name != "bfloat16"]


@pytest.mark.parametrize("name", NUMPY_NAMES)
def test_numpy_arrays_come_and_go_without_a_copy(name):
    values = np.arange(6).reshape(2, 3).astype(name.rstrip("_"))
    x = mx.from_dlpack(values)
    assert x.dtype.name == name
    np.testing.assert_array_equal(np.array(x), values)
    values[1, 2] = 0
    assert np.array(x)[1, 2] == 0
    back = np.from_dlpack(x)
    assert back.dtype == values.dtype
    assert back.__array_interface__["data"][0] == values.__array_interface__["data"][0]


def test_strided_and_reversed_memory_keeps_its_values():
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (values.T, values[::-1, ::2], values[1:3, 4], values[2:2]):
        np.testing.assert_array_equal(np.array(mx.from_dlpack(view) + 0), view)


class Tensor:
    """What PyTorch's tensors are to others while they record gradients, or are of bfloat16."""

    def __init__(self, values, recording=True):
        self.values, self.recording = values, recording

    def detach(self):
        return Tensor(self.values, recording=False)

    def resolve_conj(self):
        return self

    resolve_neg = resolve_conj

    def __array__(self, dtype=None, copy=None):
        if self.recording:
            raise RuntimeError("Can't call numpy() on a Tensor that requires grad")
        if self.values.dtype == mx.bfloat16:
            raise TypeError("unsupported ScalarType BFloat16")
        return np.array(self.values, dtype)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()

    def __dlpack__(self, **options):
        if self.recording:
            raise BufferError("Can't export tensors that require gradient")
        return self.values.__dlpack__(**options)


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_tensors_that_record_gradients_give_their_values(dtype):
    values = mx.array([[1.5, -2.0], [0.0, 3.0]], dtype)
    for convert in (mx.array, mx.asarray, mx.from_dlpack):
        found = convert(Tensor(values))
        assert found.dtype == dtype and found.tolist() == values.tolist()
    assert (mx.ones((2, 2), dtype) + Tensor(values)).tolist() == [[2.5, -1], [1, 4]]
    copied = mx.array(Tensor(values))
    copied[0] = 7.0
    assert values[0].tolist() == [1.5, -2.0]


def test_tensors_of_torch_become_arrays():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert mx.array(weight).tolist() == mx.from_dlpack(weight).tolist() == [[1, 2], [3, 4]]
    half = mx.array(weight.T.to(torch.bfloat16))
    assert half.dtype == mx.bfloat16 and half.tolist() == [[1, 3], [2, 4]]
    conjugated = torch.tensor([1 + 2j]).conj()
    assert mx.array(conjugated).tolist() == mx.from_dlpack(conjugated).tolist() == [1 - 2j]


def test_bfloat16_goes_to_torch_and_comes_back():
    torch = pytest.importorskip("torch")
    there = torch.from_dlpack(mx.array([1.5, -2.0], dtype=mx.bfloat16))
    assert there.dtype == torch.bfloat16 and there.tolist() == [1.5, -2.0]
    back = mx.from_dlpack(there)
    assert back.dtype == mx.bfloat16 and back.tolist() == [1.5, -2.0]


def test_foreign_memory_is_never_written_to():
    values = np.ones(1000, np.float32)
    x = mx.from_dlpack(values)
    x += 1
    x = x * 2
    mx.eval(x)
    assert (values == 1).all() and x[0].item() == 4


def test_memory_lives_as_long_as_anybody_needs_it():
    x = mx.from_dlpack(np.arange(1000))
    gc.collect()
    assert x.sum().item() == 499500
    back = np.from_dlpack(mx.arange(1000) + 1)
    gc.collect()
    assert back.sum() == 500500


def test_a_copy_is_made_on_demand_only():
    values = np.zeros(4, np.float32)
    copied = mx.from_dlpack(values, copy=True)
    values[:] = 1
    assert copied.tolist() == [0, 0, 0, 0]
    unaligned = np.zeros(41, np.uint8)[1:].view(np.float32)
    assert mx.from_dlpack(unaligned).shape == (10,)
    with pytest.raises(BufferError, match="aligned"):
        mx.from_dlpack(unaligned, copy=False)
    with pytest.raises(BufferError, match="broadcast"):
        mx.broadcast_to(mx.array([1.0]), (3,)).__dlpack__(copy=False)
    assert np.from_dlpack(mx.broadcast_to(mx.array([1.0]), (3,))).tolist() == [1, 1, 1]


def test_read_only_memory_says_so():
    x = mx.from_dlpack(np.arange(3))
    assert not np.from_dlpack(x).flags.writeable
    with pytest.raises(BufferError, match="read-only"):
        x.__dlpack__()


def test_a_capsule_is_used_once():
    from mlxc._graph.dlpack import from_capsule

    capsule = mx.array([1, 2]).__dlpack__()
    assert from_capsule(capsule).tolist() == [1, 2]
    with pytest.raises(ValueError, match="used before"):
        from_capsule(capsule)
    mx.array([1, 2]).__dlpack__()  # nobody takes it: freed all the same


@pytest.mark.parametrize(
    "value, error",
    [
        (3, TypeError),
        ([1, 2], TypeError),
        (np.zeros(2, np.complex128), ValueError),
    ],
)
def test_what_cannot_be_shared_is_refused(value, error):
    with pytest.raises(error, match="from_dlpack"):
        mx.from_dlpack(value)


def test_iterating_gives_the_parts_along_the_first_axis():
    x = mx.array([[1, 2], [3, 4]])
    parts = iter(x)
    assert isinstance(parts, mx.ArrayIterator) and iter(parts) is parts
    assert [part.tolist() for part in parts] == [[1, 2], [3, 4]]
    with pytest.raises(StopIteration):
        next(parts)
    assert len(list(mx.zeros((0, 2)))) == 0
    assert parts.__length_hint__() == 0 and iter(x).__length_hint__() == 2
    with pytest.raises(TypeError, match="no axes"):
        mx.ArrayIterator(mx.array(1.0))
    with pytest.raises(TypeError):
        mx.ArrayIterator([1, 2])


def test_objects_with_an_mlx_array_are_array_like():
    class Wrapper:
        def __mlx_array__(self):
            return mx.array([1, 2])

    assert isinstance(Wrapper(), mx.ArrayLike) and not isinstance(3, mx.ArrayLike)
    assert mx.add(Wrapper(), 1).tolist() == [2, 3]


def test_state_can_be_set():
    x = mx.array([1, 2])
    x.__setstate__(mx.array([[3.0]]).__getstate__())
    assert x.tolist() == [[3]] and pickle.loads(pickle.dumps(x)).tolist() == [[3]]
    assert x.__array_namespace__() is mx


def test_a_group_of_one_changes_nothing():
    group = mx.distributed.init()
    assert (group.rank(), group.size()) == (0, 1) and not mx.distributed.is_available()
    assert group.split(0).size() == 1
    x = mx.array([[1.0, 2.0]])
    for name in ("all_sum", "all_max", "all_min", "all_gather", "sum_scatter"):
        assert getattr(mx.distributed, name)(x, group=group).tolist() == [[1, 2]]
    assert mx.grad(lambda x: mx.distributed.all_sum(x * x).sum())(x).tolist() == [[2, 4]]


def test_what_needs_a_second_process_is_refused():
    x = mx.zeros((2,))
    calls = [
        lambda: mx.distributed.send(x, 0),
        lambda: mx.distributed.recv((2,), mx.float32, 0),
        lambda: mx.distributed.recv_like(x, 1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="group of one"):
            call()
    with pytest.raises(RuntimeError, match="no backend"):
        mx.distributed.init(strict=True)
    with pytest.raises(ValueError, match="would be right"):
        mx.distributed.init(backend="carrier pigeons")
    with pytest.raises(TypeError, match="Group"):
        mx.distributed.all_sum(x, group=3)
