"""Launchers of the rows that put strided blocks into an array: concatenate and slice_update."""

from mlxc._backends.cpu.blocks cimport (
    Block, add_axis, copy_view, fold_fn, fold_of, move_parallel, start_block,
)
from mlxc._graph.kernel cimport View, register_launcher


cdef int launch_concatenate(View* ins, int nin, View* outs, int nout, object params) except -1:
    """Each operand is a block of the output."""
    cdef int axis = params[0]
    cdef int d, k
    cdef fold_fn fold = fold_of("none", outs)
    cdef Block block
    cdef char* out = outs[0].data
    with nogil:
        for k in range(nin):
            start_block(&block, outs[0].itemsize, fold)
            for d in range(ins[k].ndim):
                add_axis(&block, ins[k].shape[d], outs[0].strides[d], ins[k].strides[d])
            move_parallel(&block, out, ins[k].data)
            out += ins[k].shape[axis] * outs[0].strides[axis]
    return 0


cdef int launch_slice_update(View* ins, int nin, View* outs, int nout, object params) except -1:
    """A copy of x, then the update combined into the slice."""
    cdef fold_fn copy = fold_of("none", outs)
    cdef fold_fn fold = fold_of(params[3], outs)
    cdef Block block
    cdef char* out = outs[0].data
    cdef Py_ssize_t first, step
    cdef int axis
    cdef bint whole = params[3] == "none" and ins[1].size == outs[0].size
    start_block(&block, outs[0].itemsize, fold)
    for axis in range(ins[0].ndim):
        first, step = params[0][axis], params[2][axis]
        if ins[1].size:
            out += first * outs[0].strides[axis]
        add_axis(&block, ins[1].shape[axis], step * outs[0].strides[axis], ins[1].strides[axis])
    with nogil:
        if not whole:
            copy_view(outs, ins, copy)
        move_parallel(&block, out, ins[1].data)
    return 0


register_launcher("concatenate", launch_concatenate)
register_launcher("slice_update", launch_slice_update)
