"""The one thread pool: own POSIX threads, so that a region costs about a microsecond and a forked
child can go on.

Rules: workers never touch Python and block all signals; they start with the first region and again
in a forked child. A region is published in one word, `ticket`: its number in the upper half, the
chunks nobody has claimed in the lower. A chunk is claimed by compare-and-swap, which fails if
anything changed since the claimer read what to run. Which chunk it is, is settled after that: every
thread has a share of neighbouring chunks, the same at every call, so that what it reads is one run
of memory and may still be in its cache; when that is done it goes on with the others'. The caller
works too and waits only for chunks that were claimed. One thread owns the pool at a time; who finds
it owned (another Python thread, or a job that calls `par`) runs its chunks itself, so nothing ever
waits for the pool.
"""

import operator
import os
import threading

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_create(pthread_t*, void*, void* (*)(void*) noexcept nogil, void*)
    int pthread_join(pthread_t, void**)
    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)
    int pthread_cond_init(pthread_cond_t*, void*)
    int pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*)
    int pthread_cond_signal(pthread_cond_t*)
    int pthread_cond_broadcast(pthread_cond_t*)
    int pthread_atfork(void*, void*, void (*)() noexcept nogil)
    pthread_t pthread_self()
    int pthread_equal(pthread_t, pthread_t)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t*)
    int pthread_sigmask(int, const sigset_t*, sigset_t*)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <time.h>
    /* What several threads write stands on cache lines of its own. */
    typedef struct {
        uint64_t ticket __attribute__((aligned(64)));
        uint64_t done __attribute__((aligned(64)));
        uint64_t owned __attribute__((aligned(64)));
        uint64_t job __attribute__((aligned(64)));
        uint64_t arg, chunks, workers, stop, sleepers, caller_sleeps, interrupted, wanted, shares,
            place;
    } mlxc_pool;
    static __thread uint64_t mlxc_told;
    static inline pthread_t mlxc_thread(unsigned long ident) { return (pthread_t)ident; }
    #ifdef CLOCK_MONOTONIC_COARSE   /* a few milliseconds' steps, a fifth of the cost */
    #define MLXC_CLOCK CLOCK_MONOTONIC_COARSE
    #else
    #define MLXC_CLOCK CLOCK_MONOTONIC
    #endif
    static inline int64_t mlxc_milliseconds(void) {
        struct timespec now;
        clock_gettime(MLXC_CLOCK, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    }
    static inline int mlxc_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, long ms) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += ms * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        return pthread_cond_timedwait(cond, mutex, &until);
    }
    static inline uint64_t mlxc_get(uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline uint64_t mlxc_peek(uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline void mlxc_put(uint64_t *p, uint64_t v) {
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);
    }
    static inline void mlxc_poke(uint64_t *p, uint64_t v) {
        __atomic_store_n(p, v, __ATOMIC_RELAXED);
    }
    static inline uint64_t mlxc_add(uint64_t *p, uint64_t v) {
        return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST);
    }
    static inline uint64_t mlxc_swap(uint64_t *p, uint64_t v) {
        return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
    }
    static inline int mlxc_cas(uint64_t *p, uint64_t old, uint64_t v) {
        return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    #ifdef __linux__
    #include <sched.h>
    static inline uint64_t mlxc_here(void) { return (uint64_t)sched_getcpu(); }
    static void mlxc_leave(uint64_t here) {
        cpu_set_t all, others;
        if (sched_getaffinity(0, sizeof(all), &all) || here >= CPU_SETSIZE) return;
        others = all;
        CPU_CLR(here, &others);
        if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof(others), &others))
            sched_setaffinity(0, sizeof(all), &all);
    }
    #else   /* the system says not where threads run */
    static inline uint64_t mlxc_here(void) { return UINT64_MAX; }
    static void mlxc_leave(uint64_t here) {}
    #endif
    static inline void mlxc_pause(void) {
    #if defined(__x86_64__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ __volatile__("yield");
    #endif
    }
    """
    ctypedef struct Pool "mlxc_pool":
        uint64_t ticket  # region number << 32 | chunks not yet claimed
        uint64_t done  # chunks of this region that are finished
        uint64_t owned  # 1 while a thread runs a region or changes the workers
        uint64_t job  # job_fn; with arg and chunks fixed while ticket has unclaimed chunks
        uint64_t arg  # void*
        uint64_t chunks
        uint64_t workers  # threads that may run chunks of this region
        uint64_t stop  # workers leave when they see it
        uint64_t sleepers  # workers waiting on `wake`
        uint64_t caller_sleeps  # the owner waits on `finished`
        uint64_t interrupted  # 1 when a signal handler has raised: chunks are skipped
        uint64_t wanted  # threads that run chunks, the caller included
        uint64_t shares  # that the chunks are cut into
        uint64_t place  # the processor of the caller
    # The most threads that this thread was told of since it began its work, 0 if none: scratch was
    # made for so many, whatever another thread sets meanwhile.
    uint64_t told "mlxc_told"
    pthread_t thread_of_ident "mlxc_thread"(unsigned long)
    int64_t milliseconds "mlxc_milliseconds"()
    # 0, or not when so many milliseconds have passed
    int wait_shortly "mlxc_wait"(pthread_cond_t*, pthread_mutex_t*, long)
    uint64_t get "mlxc_get"(uint64_t*)
    uint64_t peek "mlxc_peek"(uint64_t*)
    void put "mlxc_put"(uint64_t*, uint64_t)
    void poke "mlxc_poke"(uint64_t*, uint64_t)
    uint64_t add "mlxc_add"(uint64_t*, uint64_t)
    uint64_t swap "mlxc_swap"(uint64_t*, uint64_t)
    bint compare_and_swap "mlxc_cas"(uint64_t*, uint64_t, uint64_t)
    void pause "mlxc_pause"()
    uint64_t here "mlxc_here"()  # the processor that runs this thread
    void leave "mlxc_leave"(uint64_t)  # go on on another one, if this thread may

cdef enum:
    SPINS = 1000  # pauses before a waiting thread lets others go first: some tens of microseconds
    YIELD_EVERY = 16  # pauses from then on
    PATIENCE = 24000  # pauses before it goes to sleep: some milliseconds
    LOOK_EVERY = 50  # milliseconds between looks for signals: they cost taking the GIL
    BEGUN = -2
    ASKED = -1

cdef uint64_t LEFT = 0xFFFFFFFF  # the half of the ticket that counts unclaimed chunks
cdef Pool pool
cdef uint64_t[MAX_WORKERS] next_chunk  # of each share; beyond its end if all were taken
cdef pthread_mutex_t mutex
cdef pthread_cond_t wake
cdef pthread_cond_t finished
cdef pthread_t[MAX_WORKERS] handles
cdef bint started = False  # whether workers were started in this process
cdef int running = 0  # workers that could be started: fewer than wanted - 1 if the system refuses
cdef pthread_t main_thread  # the one in which Python runs signal handlers
# When it looked for signals last; before that, whether it was asked to since work began.
cdef int64_t looked = 0
cdef bint looking = False
cdef object interruption = None  # what a signal handler raised


cdef void par(job_fn job, void* arg, Py_ssize_t chunks) noexcept nogil:
    cdef Py_ssize_t chunk
    cdef bint together = 1 < chunks < <Py_ssize_t>LEFT and peek(&pool.wanted) > 1
    if together and not swap(&pool.owned, 1):
        if not started:
            start_workers()
        run_region(job, arg, chunks)
        put(&pool.owned, 0)
        return
    for chunk in range(chunks):
        if interrupted():
            return
        job(arg, chunk, 0)


cdef void share(job_fn job, void* arg, Py_ssize_t chunks, Py_ssize_t size) noexcept:
    if size < BRIEF:
        par(job, arg, chunks)
    else:
        with nogil:
            par(job, arg, chunks)


cdef void begin_work() noexcept nogil:
    """Work begins. The first look for signals is some time away: short work never pays for it."""
    global looked, told
    told = 0
    if pthread_equal(pthread_self(), main_thread):
        looked = BEGUN


cdef void hold_signals(bint held) noexcept nogil:
    """While signals are held nobody looks for them, so that work goes on to its end."""
    global looking
    looking = held


cdef bint interrupted() noexcept nogil:
    """Whether the work under way shall be given up. The main thread also looks for signals."""
    global looked
    if peek(&pool.interrupted):
        return True
    if not pthread_equal(pthread_self(), main_thread):
        return False
    if looked < 0:           # work of one chunk does not even look at the clock
        looked = ASKED if looked == BEGUN else milliseconds()
        return False
    if milliseconds() - looked < LOOK_EVERY:
        return False
    look_for_signals()
    looked = milliseconds()
    return peek(&pool.interrupted)


cdef void look_for_signals() noexcept nogil:
    """Run Python's signal handlers; keep what they raise for raise_if_interrupted."""
    global looking, interruption
    if looking:  # a handler computes
        return
    looking = True
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            interruption = error
            put(&pool.interrupted, 1)
    looking = False


cdef int raise_if_interrupted() except -1:
    """Raise what a signal handler raised while chunks ran; they may go on after that."""
    global interruption
    if not peek(&pool.interrupted) or not pthread_equal(pthread_self(), main_thread):
        return 0
    error = interruption
    interruption = None
    put(&pool.interrupted, 0)
    raise error


cdef int thread_count() noexcept nogil:
    global told
    cdef uint64_t now = peek(&pool.wanted)
    told = now if told == 0 or now < told else told
    return <int>told


cdef void run_region(job_fn job, void* arg, Py_ssize_t chunks) noexcept nogil:
    cdef uint64_t region = (peek(&pool.ticket) >> 32) + 1
    cdef uint64_t shares = min(<uint64_t>chunks, peek(&pool.wanted)), share
    cdef Py_ssize_t _extra
    poke(&pool.job, <uint64_t>job)
    poke(&pool.arg, <uint64_t>arg)
    poke(&pool.chunks, chunks)
    poke(&pool.workers, told if told else <uint64_t>MAX_WORKERS)
    poke(&pool.done, 0)
    poke(&pool.shares, shares)
    poke(&pool.place, here())
    for share in range(shares):
        poke(&next_chunk[share], <uint64_t>chunks * share // shares)
    put(&pool.ticket, (region << 32) | <uint64_t>chunks)
    if get(&pool.sleepers):
        pthread_mutex_lock(&mutex)
        for _extra in range(min(chunks - 1, <Py_ssize_t>get(&pool.sleepers))):
            pthread_cond_signal(&wake)
        pthread_mutex_unlock(&mutex)
    take_chunks(0)
    wait_for(chunks)


cdef bint take_chunks(int worker) noexcept nogil:
    """Run chunks until none is left; whether there was one."""
    cdef uint64_t ticket, chunks = 0, ran = 0, claimed
    cdef job_fn job
    cdef void* arg
    while True:
        ticket = get(&pool.ticket)
        if ticket & LEFT == 0:
            break
        job = <job_fn>peek(&pool.job)
        arg = <void*>peek(&pool.arg)
        chunks = peek(&pool.chunks)
        if <uint64_t>worker >= peek(&pool.workers):
            break
        claimed = ticket & LEFT if interrupted() else 1  # all at once, to run none
        if compare_and_swap(&pool.ticket, ticket, ticket - claimed):
            if not peek(&pool.interrupted):
                job(arg, take_chunk(worker, chunks), worker)
            ran += claimed
    if ran == 0:
        return False
    # The region cannot end before these are counted, so `chunks` is still this region's.
    chunks = peek(&pool.chunks)
    if add(&pool.done, ran) == chunks and get(&pool.caller_sleeps):
        pthread_mutex_lock(&mutex)
        pthread_cond_signal(&finished)
        pthread_mutex_unlock(&mutex)
    return True


cdef Py_ssize_t take_chunk(int worker, uint64_t chunks) noexcept nogil:
    """A chunk for who has claimed one: of its own share, or else of the others in turn. There is
    one left for every claim, and a share that is used up stays so: one round finds it."""
    cdef uint64_t shares = peek(&pool.shares), share = <uint64_t>worker % shares, chunk
    while True:
        if peek(&next_chunk[share]) < chunks * (share + 1) // shares:
            chunk = add(&next_chunk[share], 1) - 1
            if chunk < chunks * (share + 1) // shares:
                return <Py_ssize_t>chunk
        share = share + 1 if share + 1 < shares else 0


cdef inline void wait_a_little(int spins) noexcept nogil:
    """The next region mostly follows within a millisecond, and waking a thread takes long: where
    processors are virtual, they must be woken, too. Others who want the processor go first."""
    pause()
    if spins > SPINS and spins % YIELD_EVERY == 0:
        sched_yield()


cdef void wait_for(Py_ssize_t chunks) noexcept nogil:
    cdef int _spin
    for _spin in range(PATIENCE):
        if get(&pool.done) == <uint64_t>chunks:
            return
        wait_a_little(_spin)
    pthread_mutex_lock(&mutex)
    put(&pool.caller_sleeps, 1)
    while get(&pool.done) != <uint64_t>chunks:
        if not pthread_equal(pthread_self(), main_thread):
            pthread_cond_wait(&finished, &mutex)
        elif wait_shortly(&finished, &mutex, LOOK_EVERY):   # the main thread looks for signals
            pthread_mutex_unlock(&mutex)
            interrupted()
            pthread_mutex_lock(&mutex)
    put(&pool.caller_sleeps, 0)
    pthread_mutex_unlock(&mutex)


cdef inline void move_apart() noexcept nogil:
    """A worker on the processor of the caller would only take turns with it, and on a busy system
    could stay there for seconds."""
    cdef uint64_t place
    if peek(&pool.ticket) & LEFT:
        place = peek(&pool.place)
        if here() == place:
            leave(place)


cdef void* worker_main(void* number) noexcept nogil:
    cdef int worker = <int><Py_ssize_t>number
    cdef int spins = 0
    cdef uint64_t region, seen = 0
    while not get(&pool.stop):
        move_apart()
        region = get(&pool.ticket) >> 32
        if take_chunks(worker) or region != seen:   # others may have been faster
            seen = region
            spins = 0
        elif spins < PATIENCE:
            wait_a_little(spins)
            spins += 1
        else:
            sleep_until_work(seen)
    return NULL


cdef void sleep_until_work(uint64_t seen) noexcept nogil:
    """Until there is another region than the one seen last."""
    pthread_mutex_lock(&mutex)
    add(&pool.sleepers, 1)
    while get(&pool.ticket) >> 32 == seen and not get(&pool.stop):
        pthread_cond_wait(&wake, &mutex)
    add(&pool.sleepers, <uint64_t>-1)
    pthread_mutex_unlock(&mutex)


cdef void start_workers() noexcept nogil:
    """Called by the owner. A worker that cannot be started is done without."""
    global started, running
    cdef sigset_t every, before
    sigfillset(&every)
    pthread_sigmask(SIG_SETMASK, &every, &before)
    started = True
    running = 0
    while running < <int>peek(&pool.wanted) - 1:
        if pthread_create(&handles[running], NULL, worker_main, <void*><Py_ssize_t>(running + 1)):
            break
        running += 1
    pthread_sigmask(SIG_SETMASK, &before, NULL)


cdef void stop_workers() noexcept nogil:
    """Called by the owner."""
    global started, running
    cdef int worker
    put(&pool.stop, 1)
    pthread_mutex_lock(&mutex)
    pthread_cond_broadcast(&wake)
    pthread_mutex_unlock(&mutex)
    for worker in range(running):
        pthread_join(handles[worker], NULL)
    put(&pool.stop, 0)
    started = False
    running = 0


cdef void begin_process() noexcept nogil:
    """Also in a forked child: the parent's workers do not exist there, and its locks have no
    holder."""
    global started, running, main_thread
    main_thread = pthread_self()
    pthread_mutex_init(&mutex, NULL)
    pthread_cond_init(&wake, NULL)
    pthread_cond_init(&finished, NULL)
    put(&pool.ticket, 0)
    put(&pool.stop, 0)
    put(&pool.sleepers, 0)
    put(&pool.caller_sleeps, 0)
    put(&pool.owned, 0)
    started = False
    running = 0


def get_num_threads():
    """The number of threads that kernels run on, the calling one included.

    Returns:
        int: 1 to 256; ``MLXC_NUM_THREADS`` at import if it was set, else the processors this
            process may use.

    >>> get_num_threads() >= 1
    True
    """
    return <int>peek(&pool.wanted)


def set_num_threads(n):
    """Set the number of threads that kernels run on. Results do not depend on it.

    Args:
        n (int): 1 to 256, the calling thread included.

    Returns:
        int: the number before.

    Raises:
        TypeError: if ``n`` is not an integer.
        ValueError: if ``n`` is not in 1..256.

    >>> before = set_num_threads(2)
    >>> set_num_threads(before)
    2
    """
    cdef int count = checked_count(operator.index(n), "[set_num_threads] n")
    cdef int before
    with nogil:
        while swap(&pool.owned, 1):
            sched_yield()
        before = <int>peek(&pool.wanted)
        if count != before:
            stop_workers()
            poke(&pool.wanted, count)
        put(&pool.owned, 0)
    return before


cdef int checked_count(object n, str what) except -1:
    if not 1 <= n <= MAX_WORKERS:
        raise ValueError(f"{what} is {n}; give a number of threads from 1 to {MAX_WORKERS}.")
    return n


def _threads_at_start():
    text = os.environ.get("MLXC_NUM_THREADS", "").strip()
    if text:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(
                f"MLXC_NUM_THREADS is {text!r}; give a number of threads from 1 to {MAX_WORKERS}."
            ) from None
        return checked_count(number, "MLXC_NUM_THREADS")
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MAX_WORKERS)
    return min(os.cpu_count() or 1, MAX_WORKERS)


poke(&pool.wanted, <uint64_t><int>_threads_at_start())
begin_process()
main_thread = thread_of_ident(threading.main_thread().ident)
if pthread_atfork(NULL, NULL, <void (*)() noexcept nogil>begin_process):
    raise MemoryError("[threads] pthread_atfork failed")
