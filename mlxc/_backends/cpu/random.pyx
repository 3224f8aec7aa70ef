"""Launcher of random bits.

Work is cut into pieces of PIECE counter pairs of one key, by sizes alone; every piece writes its
own bytes, so the result does not depend on who runs it.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.array cimport array, wrap
from mlxc._graph.dtypes cimport UINT32
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._graph.node cimport EVALUATED, ON_DEVICE, Node, is_row_major, leaf_node
from mlxc._memory.buffer cimport new_buffer
from mlxc._threads.pool cimport share

ctypedef void (*bits_fn)(
    const char* key, char* out, Py_ssize_t nbytes, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil

cdef enum:
    PIECE = 1 << 15  # counter pairs: 256 KiB of words, some 100 microseconds

cdef struct Work:
    bits_fn fill
    const char* keys      # 8 bytes each
    char* out             # nbytes a key
    Py_ssize_t nbytes
    Py_ssize_t count      # keys
    Py_ssize_t half       # counter pairs a key
    Py_ssize_t pieces     # a key, where a key is cut
    Py_ssize_t together   # keys a piece, where keys are small

cdef bits_fn FILL = <bits_fn>kernel("random_bits")


cdef void run_piece(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """Part of one key's stream."""
    cdef Work* work = <Work*>arg
    cdef Py_ssize_t key = chunk // work.pieces
    cdef Py_ssize_t begin = (chunk % work.pieces) * PIECE
    cdef Py_ssize_t end = min(begin + PIECE, work.half)
    work.fill(work.keys + 8 * key, work.out + key * work.nbytes, work.nbytes, begin, end)


cdef void run_keys(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    """The whole streams of some keys."""
    cdef Work* work = <Work*>arg
    cdef Py_ssize_t key = chunk * work.together
    cdef Py_ssize_t end = min(key + work.together, work.count)
    while key < end:
        work.fill(work.keys + 8 * key, work.out + key * work.nbytes, work.nbytes, 0, work.half)
        key += 1


cdef int launch_random_bits(View* ins, int nin, View* outs, int nout, object params) except -1:
    cdef Work work
    cdef Py_ssize_t chunks
    if outs[0].size == 0:
        return 0
    work.fill = FILL
    work.keys = ins[0].data
    work.out = outs[0].data
    work.count = ins[0].size // 2
    work.nbytes = outs[0].size // work.count * outs[0].itemsize
    work.half = ((work.nbytes + 3) // 4 + 1) // 2
    work.pieces = (work.half + PIECE - 1) // PIECE
    work.together = max(<Py_ssize_t>1, PIECE // work.half)
    chunks = (work.count + work.together - 1) // work.together
    if work.pieces > 1:
        chunks = work.count * work.pieces
    share(run_piece if work.pieces > 1 else run_keys, &work, chunks, outs[0].size)
    return 0


cdef array key_of(const uint32_t* words):
    """A key that has its data."""
    cdef Py_ssize_t size = 2
    cdef Node node = leaf_node(UINT32, 1, &size, new_buffer(8))
    memcpy(node.data, words, 8)
    return wrap(node)


def split_at_once(whole):
    """Both halves of a key that has its value; None for any other: its split is part of the graph.
    """
    cdef uint32_t[4] words
    cdef Node node
    if type(whole) is not array:
        return None
    node = (<array>whole).node
    if (node.flags & ~ON_DEVICE != EVALUATED or node.dtype != UINT32 or node.ndim != 1
            or node.size != 2 or not is_row_major(node)):
        return None
    FILL(node.data, <char*>words, sizeof(words), 0, 2)
    return key_of(words), key_of(words + 2)


register_launcher("random_bits", launch_random_bits)
