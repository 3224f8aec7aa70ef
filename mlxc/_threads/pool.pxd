"""The one thread pool. `par` runs job(arg, chunk, worker) for chunk in range(chunks) on all
threads, and returns when all
are done. Called from within a job, or while another thread uses the pool, it runs the chunks in
the calling thread."""

ctypedef void (*job_fn)(void* arg, Py_ssize_t chunk, int worker) noexcept nogil

cdef enum:
    MAX_WORKERS = 256  # `worker` is below this: scratch may be indexed by it
    BRIEF = 4096       # elements of work that is over before another thread could have the GIL

cdef void par(job_fn job, void* arg, Py_ssize_t chunks) noexcept nogil
# `par` for who holds the GIL: let go of it, unless there is work of few elements only.
cdef void share(job_fn job, void* arg, Py_ssize_t chunks, Py_ssize_t size) noexcept
# How many threads run chunks, the caller included. Until this thread begins work again, `par` uses
# no more: scratch may be made for so many.
cdef int thread_count() noexcept nogil

# Ctrl-C in long work: the main thread looks for signals now and then while it runs chunks. When a
# handler raises, the chunks that are left are skipped and their results are worthless; whoever
# started the work calls raise_if_interrupted behind it. Long jobs ask `interrupted` themselves.
cdef void begin_work() noexcept nogil
cdef void hold_signals(bint held) noexcept nogil  # work that must not stop half-way
cdef bint interrupted() noexcept nogil
cdef int raise_if_interrupted() except -1
