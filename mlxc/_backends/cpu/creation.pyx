"""Launcher of arithmetic ranges."""

from libc.stdint cimport uint64_t

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.dtypes cimport dtype_kind
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._threads.pool cimport share

cdef extern from "Python.h":
    unsigned long long PyLong_AsUnsignedLongLongMask(object) except? -1

ctypedef void (*integers_fn)(
    uint64_t start, uint64_t step, char* out, Py_ssize_t n
) noexcept nogil
ctypedef void (*reals_fn)(
    double start, double step, Py_ssize_t first, char* out, Py_ssize_t n
) noexcept nogil

cdef enum:
    PIECE = 1 << 14  # elements a chunk

cdef struct Range:
    integers_fn integers   # NULL: reals
    reals_fn reals
    uint64_t start         # modulo 2**64
    uint64_t step
    double real_start
    double real_step
    char* out
    Py_ssize_t itemsize    # bytes
    Py_ssize_t n

cdef integers_fn[9] INTEGERS       # by bytes of a number
cdef reals_fn[9] REALS


cdef int fill_loops() except -1:
    for size in (1, 2, 4, 8):
        INTEGERS[<int>size] = <integers_fn>kernel(f"arange_{size}")
    for size in (4, 8):
        REALS[<int>size] = <reals_fn>kernel(f"arange_f{8 * size}")
    return 0


fill_loops()


cdef void piece(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Range* job = <Range*>arg
    cdef Py_ssize_t first = chunk * PIECE
    cdef Py_ssize_t n = min(<Py_ssize_t>PIECE, job.n - first)
    cdef char* out = job.out + first * job.itemsize
    if job.integers != NULL:
        job.integers(job.start + <uint64_t>first * job.step, job.step, out, n)
    else:
        job.reals(job.real_start, job.real_step, first, out, n)


cdef int launch_arange(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Range job
    start, step = params[0], params[1]
    job.integers = NULL
    job.reals = NULL
    if dtype_kind[outs[0].dtype] == c"f":
        job.real_start, job.real_step = start, step
        job.reals = REALS[outs[0].itemsize]
    else:
        job.start = PyLong_AsUnsignedLongLongMask(start)
        job.step = PyLong_AsUnsignedLongLongMask(step)
        job.integers = INTEGERS[outs[0].itemsize]
    job.out = outs[0].data
    job.itemsize = outs[0].itemsize
    job.n = outs[0].size
    share(piece, &job, (job.n + PIECE - 1) // PIECE, job.n)
    return 0


register_launcher("arange", launch_arange)
