"""Buffers and their cache: aligned, bounded, counted, whole after fork and under threads."""

import ctypes
import itertools
import threading

import pytest
from support import output_of
from test_threads import exported, in_child

from mlxc._memory import buffer as memory

new_buffer = exported(memory, "new_buffer", ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_ssize_t))
scratch_alloc = exported(
    memory, "scratch_alloc", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_ssize_t)
)
scratch_free = exported(
    memory, "scratch_free", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t)
)
SIZES = [1, 63, 64, 65, 255, 256, 257, 320, 321, 4097, 100_000, (4 << 20) - 1, 4 << 20, 9_999_999]


@pytest.fixture(autouse=True)
def limits_as_before():
    memory.clear_cache()
    limit = memory.set_cache_limit(1 << 30)
    yield
    memory.set_cache_limit(limit)
    memory.clear_cache()


def active_with(nbytes):
    """The bytes by which active memory grows with a buffer, which is given back."""
    before = memory.get_active_memory()
    kept = new_buffer(nbytes)
    grown = memory.get_active_memory() - before
    del kept
    assert memory.get_active_memory() == before
    return grown


@pytest.mark.parametrize("nbytes", SIZES)
def test_a_block_is_aligned_holds_its_bytes_and_wastes_at_most_a_quarter(nbytes):
    assert nbytes <= active_with(nbytes) <= max(64, 1.25 * nbytes + 64)
    data = scratch_alloc(nbytes)
    ctypes.memset(data, 255, nbytes)
    assert data % 64 == 0
    if nbytes >= 4 << 20:
        assert data % (2 << 20) == 0
    scratch_free(data, nbytes)


def test_blocks_in_use_do_not_overlap():
    ranges = sorted((scratch_alloc(size), size) for size in SIZES * 3)
    for (start, size), (following, _) in itertools.pairwise(ranges):
        assert start + size <= following
    for start, size in ranges:
        scratch_free(start, size)


def test_a_buffer_of_no_bytes_is_allowed():
    assert active_with(0) == 64


def test_a_freed_block_is_used_again():
    first = scratch_alloc(12_345_678)
    scratch_free(first, 12_345_678)
    again = scratch_alloc(12_000_000)  # same size class
    assert again == first
    scratch_free(again, 12_000_000)


def test_freed_memory_is_counted_as_cache_until_it_is_cleared():
    size = active_with(1_000_000)
    assert memory.get_cache_memory() == size
    memory.clear_cache()
    assert memory.get_cache_memory() == 0


def test_the_peak_is_kept_until_it_is_reset():
    memory.reset_peak_memory()
    grown = active_with(5_000_000)
    assert memory.get_peak_memory() >= grown
    memory.reset_peak_memory()
    assert memory.get_peak_memory() == 0


def test_the_cache_stays_below_its_limit():
    memory.set_cache_limit(1 << 20)
    for size in SIZES * 5:
        blocks = [new_buffer(size) for _ in range(4)]
        del blocks
        assert memory.get_cache_memory() <= 1 << 20


def test_a_lowered_limit_frees_at_once():
    active_with(50_000_000)
    assert memory.get_cache_memory() >= 50_000_000
    assert memory.set_cache_limit(1000) == 1 << 30
    assert memory.get_cache_memory() <= 1000


def test_the_class_unused_for_longest_is_evicted_first():
    old, new = scratch_alloc(600_000), scratch_alloc(900_000)
    memory.set_cache_limit(1_100_000)
    scratch_free(old, 600_000)
    scratch_free(new, 900_000)
    assert scratch_alloc(900_000) == new
    assert memory.get_cache_memory() == 0
    scratch_free(new, 900_000)


@pytest.mark.parametrize("nbytes", [-1, 1 << 45, 1 << 62, (1 << 63) - 1])
def test_an_absurd_size_is_a_memory_error(nbytes):
    before = memory.get_active_memory()
    with pytest.raises(MemoryError, match=r"\[memory\]"):
        new_buffer(nbytes)
    assert scratch_alloc(nbytes) is None
    assert memory.get_active_memory() == before


def test_a_memory_limit_that_was_set_is_kept():
    code = (
        "import ctypes\n"
        "from mlxc._memory import buffer as m\n"
        "from test_memory import new_buffer\n"
        "m.set_memory_limit(m.get_active_memory() + 1_000_000)\n"
        "kept = []\n"
        "try:\n"
        "    while len(kept) < 1000: kept.append(new_buffer(10_000))\n"
        "except MemoryError as error: print(len(kept), error)\n"
    )
    number, message = output_of(code).split(" ", 1)
    assert 90 <= int(number) <= 100 and "set_memory_limit" in message


def test_limits_return_the_one_before():
    before = memory.set_memory_limit(1 << 40)
    assert memory.get_memory_limit() == memory.set_memory_limit(before) == 1 << 40
    assert memory.set_wired_limit(7) == 0
    assert memory.set_wired_limit(0) == 7


@pytest.mark.parametrize("name", ["set_cache_limit", "set_memory_limit", "set_wired_limit"])
def test_a_limit_is_a_size(name):
    for wrong in (-1, 1 << 63):
        with pytest.raises(ValueError, match=name):
            getattr(memory, name)(wrong)
    with pytest.raises(TypeError):
        getattr(memory, name)(1.5)


def hammer(rounds=300):
    for number in range(rounds):
        size = SIZES[number % 10]
        data = scratch_alloc(size)
        ctypes.memset(data, number % 256, size)
        assert ctypes.string_at(data, size) == bytes([number % 256]) * size
        scratch_free(data, size)


def test_many_threads_do_not_get_the_same_block():
    failures = []

    def work():
        try:
            hammer()
        except AssertionError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_the_cache_is_whole_in_a_child_forked_while_another_thread_allocates():
    stop = threading.Event()

    def use():
        while not stop.is_set():
            hammer(20)

    user = threading.Thread(target=use)
    user.start()
    try:
        assert [in_child(hammer) for _ in range(10)] == [0] * 10
    finally:
        stop.set()
        user.join()
