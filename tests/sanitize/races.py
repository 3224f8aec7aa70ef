"""What threads meet in, for the thread sanitiser: the pool, the buffer cache, evaluation.

Rules: values are checked too, so that a run without the sanitiser says something; sizes are small,
since the sanitiser makes every load and store a call.
"""

import threading

import pytest

import mlxc.core as mx
from mlxc._threads import pool

THREADS = 4


def together(*functions, rounds=20):
    """Run functions in threads of their own, THREADS times each; the first failure is raised."""
    failures = []

    def repeat(function):
        try:
            for number in range(rounds):
                function(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=repeat, args=(f,)) for f in functions * THREADS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(autouse=True)
def several_workers():
    before = pool.set_num_threads(3)
    yield
    pool.set_num_threads(before)


def check_mathematics(number):
    x = mx.arange(5000.0) + number
    assert mx.sum(x - number).item() == 5000 * 4999 / 2


def check_product(number):
    x = mx.ones((65, 65))
    assert mx.sum(x @ x).item() == 65**3


def check_sort(number):
    x = mx.arange(3000)[::-1]
    assert mx.sort(x)[7].item() == 7


def test_maps_reductions_products_and_sorts_in_many_threads():
    together(check_mathematics, check_product, check_sort)


def test_one_lazy_array_evaluated_by_many_threads():
    for _ in range(10):
        shared = mx.exp(mx.zeros((4000,))) + 1

        def check(number, shared=shared):
            assert mx.sum(shared).item() == 8000

        together(check, rounds=2)


def test_the_cache_is_cleared_and_limited_while_threads_allocate():
    before = mx.set_cache_limit(1 << 22)

    def trouble(number):
        mx.clear_cache()
        mx.set_cache_limit((1 << 20) * (1 + number % 4))
        assert mx.get_active_memory() >= 0 <= mx.get_cache_memory()
        mx.reset_peak_memory()

    try:
        together(check_mathematics, trouble)
    finally:
        mx.set_cache_limit(before)


def test_the_number_of_threads_changes_while_threads_compute():
    def change(number):
        pool.set_num_threads(1 + number % 4)

    together(check_mathematics, check_product, change)


def test_gradients_and_compiled_functions_in_many_threads():
    step = mx.compile(mx.grad(lambda x: mx.sum(mx.sin(x) * x)))

    def check(number):
        x = mx.zeros((1000,)) + number
        expected = mx.sin(x) + x * mx.cos(x)
        assert mx.allclose(step(x), expected, rtol=1e-4, atol=1e-4).item()

    together(check, rounds=5)


def test_random_numbers_drawn_in_many_threads():
    def check(number):
        x = mx.random.uniform(shape=(2000,))
        assert 0.3 < mx.mean(x).item() < 0.7

    together(check)
