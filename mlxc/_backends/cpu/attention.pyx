"""Launcher of attention: checks that have been made are not repeated; units of query rows are
spread over the pool."""

from libc.string cimport memset

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.attend cimport ADDITIVE, BOOLEAN, UNIT, UNMASKED, Attend
from mlxc._kernels.tile cimport BF16, F16, F32
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._table.dtypes import CODE
from mlxc._threads.pool cimport job_fn, par, thread_count

ctypedef Py_ssize_t (*scratch_fn)(Py_ssize_t size, Py_ssize_t width) noexcept nogil

cdef job_fn UNIT_JOB = <job_fn>kernel("attention_unit")
cdef scratch_fn SCRATCH = <scratch_fn>kernel("attention_scratch")
cdef dict FORMS = {CODE["float32"]: F32, CODE["float16"]: F16, CODE["bfloat16"]: BF16}


cdef void take_strides(Py_ssize_t* target, const View* view) noexcept nogil:
    cdef int i
    for i in range(view.ndim):
        target[i] = view.strides[i]


cdef int launch_attention(View* ins, int nin, View* outs, int nout, object params) except -1:
    """Operands q, k, v, then the mask and the sinks if the parameters say so."""
    cdef Attend g
    cdef View* q = &ins[0]
    cdef View* out = &outs[0]
    cdef Py_ssize_t chunks, nbytes
    cdef int at = 3
    scale, causal, masking, has_sinks = params
    if out.size == 0:
        return 0
    memset(&g, 0, sizeof(Attend))
    g.q, g.k, g.v, g.out = q.data, ins[1].data, ins[2].data, out.data
    take_strides(g.q_strides, q)
    take_strides(g.k_strides, &ins[1])
    take_strides(g.v_strides, &ins[2])
    g.kv_heads = ins[1].shape[1]
    g.group = q.shape[1] // g.kv_heads
    g.queries = q.shape[2]
    g.keys = ins[1].shape[2]
    g.size = q.shape[3]
    g.width = out.shape[3]
    g.form = FORMS[out.dtype]
    g.itemsize = <int>out.itemsize
    g.causal = causal
    g.scale = scale
    g.masking = {"none": UNMASKED, "bool": BOOLEAN, "add": ADDITIVE}[masking]
    if g.keys == 0:
        memset(out.data, 0, out.size * out.itemsize)
        return 0
    if g.masking != UNMASKED:
        g.mask = ins[at].data
        take_strides(g.mask_strides, &ins[at])
        at += 1
    if has_sinks:
        g.sinks = ins[at].data
        take_strides(g.sink_strides, &ins[at])
    g.units = (g.group * g.queries + UNIT - 1) // UNIT
    chunks = q.shape[0] * g.kv_heads * g.units
    g.scratch_bytes = (SCRATCH(g.size, g.width) + 63) // 64 * 64
    nbytes = g.scratch_bytes * thread_count()
    g.scratch = scratch_alloc(nbytes)
    if g.scratch == NULL:
        raise MemoryError(f"[attention] no memory for {nbytes} bytes of scratch")
    with nogil:
        par(UNIT_JOB, &g, chunks)
    scratch_free(g.scratch, nbytes)
    return 0


register_launcher("attention", launch_attention)
