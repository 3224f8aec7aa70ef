"""The thread pool: every chunk runs once, whoever calls it and from wherever, also after fork.

`par` is compiled code's; it is reached here through the address that its module exports.
"""

import ctypes
import multiprocessing
import os
import sys
import threading
import time

import pytest
from support import output_of, run_python

from mlxc._threads import pool

JOB = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)


def exported(module, name, prototype):
    """A compiled function that a module exports, callable through ctypes."""
    capsule = module.__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return prototype(get_pointer(capsule, get_name(capsule)))


_par = exported(pool, "par", ctypes.CFUNCTYPE(None, JOB, ctypes.c_void_p, ctypes.c_ssize_t))


def par(function, chunks):
    """Run function(chunk, worker) for every chunk on the pool."""
    failures = []

    def job(_arg, chunk, worker):
        try:
            function(chunk, worker)
        except BaseException as error:  # ctypes would only print it
            failures.append(error)

    _par(JOB(job), None, chunks)
    if failures:
        raise failures[0]


def chunks_run(chunks):
    """How often each of the chunks ran, and by which workers."""
    hits, workers = [0] * chunks, set()

    def count(chunk, worker):
        hits[chunk] += 1
        workers.add(worker)

    par(count, chunks)
    return hits, workers


@pytest.fixture(autouse=True)
def threads_as_before():
    before = pool.get_num_threads()
    yield
    pool.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("chunks", [0, 1, 2, 7, 1000])
def test_every_chunk_runs_exactly_once(threads, chunks):
    pool.set_num_threads(threads)
    for _ in range(5):
        hits, workers = chunks_run(chunks)
        assert hits == [1] * chunks
        assert workers <= set(range(threads))


def test_several_threads_take_part():
    pool.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=30)
    par(lambda chunk, worker: meeting.wait(), 2)  # one thread alone would time out


def test_threads_begin_with_neighbouring_chunks_of_their_own():
    pool.set_num_threads(2)
    for _ in range(3):
        meeting, first = threading.Barrier(2, timeout=30), {}

        def note(chunk, worker, meeting=meeting, first=first):
            if worker not in first:
                first[worker] = chunk
                meeting.wait()

        par(note, 9)
        assert first == {0: 0, 1: 4}


def times_slept():
    """How often threads other than this one gave up their processor to wait."""
    count = 0
    for task in os.listdir("/proc/self/task"):
        if int(task) != threading.get_native_id():
            with open(f"/proc/self/task/{task}/status") as status:
                lines = dict(line.split(":", 1) for line in status)
            count += int(lines["voluntary_ctxt_switches"])
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how often threads slept")
def test_workers_stay_awake_for_work_that_follows_soon():
    pool.set_num_threads(2)
    quiet = ctypes.cast(ctypes.CDLL(None).abs, JOB)  # compiled: the worker waits for no Python
    before = times_slept()
    for _ in range(200):
        _par(quiet, None, 2)
        end = time.perf_counter() + 3e-4
        while time.perf_counter() < end:
            pass
    assert times_slept() - before < 100


@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2,
    reason="threads can be moved from one processor to another where there are two",
)
def test_a_worker_leaves_the_processor_of_the_caller():
    pool.set_num_threads(1)
    before = set(os.listdir("/proc/self/task"))
    pool.set_num_threads(2)
    every, place, apart = os.sched_getaffinity(0), ctypes.CDLL(None).sched_getcpu, 0
    for attempt in range(20):
        meeting, places = threading.Barrier(2, timeout=30), {}

        def note(chunk, worker, meeting=meeting, places=places):
            places[worker] = place()
            meeting.wait()

        if attempt:
            for task in set(os.listdir("/proc/self/task")) - before:
                os.sched_setaffinity(int(task), {place()})
                os.sched_setaffinity(int(task), every)
        par(note, 2)
        apart += places[0] != places[1]
    assert apart > 15


def test_par_within_par_runs_in_the_calling_thread():
    pool.set_num_threads(3)
    hits = [0] * 100

    def outer(chunk, worker):
        here = threading.get_ident()

        def inner(small, inner_worker):
            assert threading.get_ident() == here and inner_worker == 0
            hits[chunk * 10 + small] += 1

        par(inner, 10)

    par(outer, 10)
    assert hits == [1] * 100


def test_many_python_threads_share_the_pool():
    pool.set_num_threads(3)
    wrong = []

    def work():
        for _ in range(50):
            if chunks_run(20)[0] != [1] * 20:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(1, 20):  # and the number of workers changes below their feet
        pool.set_num_threads(1 + number % 4)
    for thread in threads:
        thread.join()
    assert not wrong


def in_child(function):
    """The exit status of a forked child that runs function."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_pool():
    assert chunks_run(100)[0] == [1] * 100


def test_the_pool_runs_in_a_forked_child():
    pool.set_num_threads(3)
    check_pool()
    assert in_child(check_pool) == 0
    check_pool()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_the_pool_runs_in_a_child_forked_while_another_thread_uses_it():
    pool.set_num_threads(3)
    stop = threading.Event()
    # A function of C: one of Python's makes thread states in workers, and a fork at that moment
    # hangs in Python 3.11 itself.
    job = JOB(ctypes.cast(ctypes.CDLL(None).labs, ctypes.c_void_p).value)

    def use():
        while not stop.is_set():
            _par(job, None, 100)

    user = threading.Thread(target=use)
    user.start()
    try:
        assert [in_child(check_pool) for _ in range(10)] == [0] * 10
    finally:
        stop.set()
        user.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_the_pool_runs_in_a_multiprocessing_fork_pool():
    check_pool()
    with multiprocessing.get_context("fork").Pool(2) as processes:
        assert processes.map(_sum_of_hits, [10, 20, 30]) == [10, 20, 30]


def _sum_of_hits(chunks):
    return sum(chunks_run(chunks)[0])


@pytest.mark.parametrize("number", [0, -1, 257, 1 << 70])
def test_a_number_of_threads_that_cannot_be_is_a_value_error(number):
    with pytest.raises(ValueError, match="1 to 256"):
        pool.set_num_threads(number)


@pytest.mark.parametrize("number", [1.5, "2", None])
def test_a_number_of_threads_that_is_no_integer_is_a_type_error(number):
    with pytest.raises(TypeError):
        pool.set_num_threads(number)


def test_the_environment_sets_the_number_of_threads():
    code = "from mlxc._threads.pool import get_num_threads as g; print(g())"
    assert output_of(code, MLXC_NUM_THREADS="5") == "5"
    for wrong in ("0", "many", "257"):
        answer = run_python(code, MLXC_NUM_THREADS=wrong)
        assert answer.returncode != 0
        assert "MLXC_NUM_THREADS" in answer.stderr and "1 to 256" in answer.stderr


USE_POOL = "from test_threads import check_pool, pool; pool.set_num_threads(4); check_pool()\n"


def test_workers_do_not_keep_the_process_from_ending():
    answer = run_python(USE_POOL)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_the_interrupt_signal_reaches_the_main_thread():
    code = USE_POOL + (
        "import os, signal, threading\n"
        "signal.signal(signal.SIGINT, lambda *_: print(threading.current_thread().name))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "for _ in range(1000): pass"
    )
    assert output_of(code) == "MainThread"
