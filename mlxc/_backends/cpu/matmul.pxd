"""Running products over the pool, and how dtypes are stored: shared by launchers."""

from mlxc._graph.kernel cimport View
from mlxc._kernels.product cimport Product, advance_fn, plan_fn, small_fn
from mlxc._threads.pool cimport job_fn

# The kernels of one compute type; complex64 has `whole` alone.
cdef struct Family:
    plan_fn plan
    advance_fn advance
    job_fn pack
    job_fn tile
    job_fn skinny
    job_fn gather
    job_fn whole
    small_fn small

# The kernels for a dtype code; TypeError where there are none.
cdef Family* family(str op, int dtype) except NULL
# How a dtype is stored: OWN, HALF or BRAIN.
cdef int form_of(int dtype) noexcept nogil
# Computes a planned product whose scratch is set; in the calling thread alone if it is small.
cdef void run_product(Product* g, const Family* f) noexcept nogil
# Bytes to matrix number `item` of a view, counting over its leading axes row by row.
cdef Py_ssize_t offset_of(const View* v, Py_ssize_t item) noexcept nogil
