"""What a launcher is handed: views of operands, and the registry of launchers by row name."""

cdef struct View:
    char* data                  # first element
    int dtype                   # code in _table.dtypes
    int ndim
    Py_ssize_t itemsize         # bytes
    Py_ssize_t size             # elements
    const Py_ssize_t* shape
    const Py_ssize_t* strides   # bytes

# ins: operands in any strides (row-major if the row says contiguous); outs: row-major, freshly
# allocated, not cleared. params: the row's parameters as a tuple in the order of row.params. Raise
# as usual.
ctypedef int (*launch_fn)(View* ins, int nin, View* outs, int nout, object params) except -1

cdef int register_launcher(str name, launch_fn launch) except -1

cdef class Launcher:
    cdef launch_fn compiled
    cdef object python

cdef Launcher find_launcher(str name)
