"""Launchers of pooling: lines of results, images of gradients, spread over the pool of threads."""

from libc.string cimport memset

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._backends.cpu.matmul cimport form_of
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.product cimport OWN
from mlxc._kernels.stencil cimport Pool
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._table.dtypes import DTYPES
from mlxc._threads.pool cimport job_fn, par, thread_count

cdef enum:
    ALONE = 1 << 13     # values that are not worth waking a thread for
    WIDE = 16           # channels of a block

_WORDS = {"f": "f", "i": "i", "u": "u", "b": "u"}
_NAMES = {}                 # (what, dtype) -> the name of the job


cdef job_fn job_of(str what, int dtype) except NULL:
    """The job for a stored dtype: narrow floats are computed in float32."""
    name = _NAMES.get((what, dtype))
    if name is None:
        fact = DTYPES[dtype]
        bits = 32 if form_of(dtype) != OWN else 8 * fact.size
        _NAMES[what, dtype] = name = f"pool_{what}_{_WORDS[fact.kind]}{bits}"
    return <job_fn>kernel(name)


cdef int set_axes(Py_ssize_t* to, tuple values, Py_ssize_t missing) except -1:
    """Values of one to three axes, as those of the last of three."""
    cdef Py_ssize_t axis, count = len(values)
    for axis in range(3):
        to[axis] = missing if axis < 3 - count else values[axis - 3 + count]
    return 0


cdef int set_pool(Pool* g, View* input, View* result, object params) except -1:
    """Sizes and windows; pointers are the caller's."""
    cdef int spatial = input.ndim - 2, axis
    memset(g, 0, sizeof(Pool))
    g.images, g.channels = input.shape[0], input.shape[input.ndim - 1]
    g.form, g.itemsize = form_of(input.dtype), input.itemsize
    for axis in range(3):
        g.size[axis] = input.shape[axis - 2 + spatial] if axis >= 3 - spatial else 1
        g.result[axis] = result.shape[axis - 2 + spatial] if axis >= 3 - spatial else 1
    set_axes(g.kernel, params[0], 1)
    set_axes(g.stride, params[1], 1)
    set_axes(g.padding, params[2], 0)
    g.tiled = True
    for axis in range(3):
        if g.kernel[axis] != g.stride[axis] or g.padding[axis] != 0:
            g.tiled = False
        if g.size[axis] != g.result[axis] * g.stride[axis]:
            g.tiled = False
    return 0


cdef int run_lines(Pool* g, job_fn job, View* result) except -1:
    cdef Py_ssize_t lines = result.size // (g.channels * g.result[2]), line
    with nogil:
        if result.size < ALONE:
            for line in range(lines):
                job(g, line, 0)
        else:
            par(job, g, lines)
    return 0


cdef int launch_max(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: image (n, *size, c)."""
    cdef Pool g
    if outs[0].size == 0:
        return 0
    set_pool(&g, &ins[0], &outs[0], params)
    g.x, g.out = ins[0].data, outs[0].data
    return run_lines(&g, job_of("results", ins[0].dtype), &outs[0])


cdef int launch_mean(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: image."""
    cdef Pool g
    if outs[0].size == 0:
        return 0
    set_pool(&g, &ins[0], &outs[0], params)
    g.x, g.out, g.mean = ins[0].data, outs[0].data, True
    return run_lines(&g, job_of("results", ins[0].dtype), &outs[0])


cdef int launch_tangent(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: image, tangent of the image."""
    cdef Pool g
    if outs[0].size == 0:
        return 0
    set_pool(&g, &ins[0], &outs[0], params)
    g.x, g.carried, g.out = ins[0].data, ins[1].data, outs[0].data
    return run_lines(&g, job_of("tangent", ins[0].dtype), &outs[0])


cdef int run_images(Pool* g, job_fn job, View* out) except -1:
    """A gradient: image by image, and by channels where there are few images."""
    cdef Py_ssize_t blocks = (g.channels + WIDE - 1) // WIDE, unit, bytes_ = 0
    cdef bint alone = out.size < ALONE or thread_count() == 1
    if not alone:
        blocks = max(1, blocks * g.images // (4 * thread_count()))
    g.chunk = min(blocks * WIDE, g.channels)
    g.chunks = (g.channels + g.chunk - 1) // g.chunk
    if g.form != OWN:
        g.worker_bytes = g.size[0] * g.size[1] * g.size[2] * g.chunk * sizeof(float)
        bytes_ = g.worker_bytes * (1 if alone else thread_count())
        g.scratch = scratch_alloc(bytes_)
        if g.scratch == NULL:
            raise MemoryError(f"[pool] no memory for {bytes_} bytes of scratch.")
    with nogil:
        if alone:
            for unit in range(g.images * g.chunks):
                job(g, unit, 0)
        else:
            par(job, g, g.images * g.chunks)
    scratch_free(g.scratch, bytes_)
    return 0


cdef int launch_max_gradient(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: image, cotangent of the result; outs: cotangent of the image."""
    cdef Pool g
    if outs[0].size == 0:
        return 0
    set_pool(&g, &outs[0], &ins[1], params)
    g.x, g.carried, g.out = ins[0].data, ins[1].data, outs[0].data
    return run_images(&g, job_of("gradient", outs[0].dtype), &outs[0])


cdef int launch_mean_gradient(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: cotangent of the result; outs: cotangent of the image."""
    cdef Pool g
    if outs[0].size == 0:
        return 0
    set_pool(&g, &outs[0], &ins[0], params)
    g.carried, g.out, g.mean = ins[0].data, outs[0].data, True
    return run_images(&g, job_of("gradient", outs[0].dtype), &outs[0])


register_launcher("max_pool", launch_max)
register_launcher("max_pool_gradient", launch_max_gradient)
register_launcher("max_pool_tangent", launch_tangent)
register_launcher("mean_pool", launch_mean)
register_launcher("mean_pool_gradient", launch_mean_gradient)
