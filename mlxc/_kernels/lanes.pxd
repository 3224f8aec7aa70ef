"""What the kernels of Fourier transforms are handed: lines to transform, sixteen at a time, one a
lane.

A row of the work space is PART real parts and then as many imaginary parts, of one element of all
lines. Strides in bytes.
"""

from mlxc._kernels.types cimport f32

cdef enum:
    PART = 16
    ROW = 32             # numbers of a row of the work space
    MAX_PASSES = 32
    MAX_AXES = 32

cdef enum:
    C2C = 0
    R2C = 1
    C2R = 2

cdef struct Pass:
    int radix            # 2, 3, 4, 5 or 8
    Py_ssize_t m         # what is left to transform, divided by radix
    Py_ssize_t s         # what has been transformed
    const f32* twiddles  # (m, radix - 1) pairs; of radix 4 and 8: (m, radix)

cdef struct Lines:
    int kind
    bint inverse
    bint halved              # real lines of even length, transformed as complex ones of half of it
    f32 scale
    Py_ssize_t n             # time domain
    Py_ssize_t length        # of the complex transform
    int passes
    Pass[MAX_PASSES] plan
    const f32* turns         # halved: exp(-2 pi i k / n) for k up to n / 2, pairs
    const char* src
    char* dst
    Py_ssize_t src_stride    # along the line
    Py_ssize_t dst_stride
    int ndim                 # of the axes across the lines
    Py_ssize_t[MAX_AXES] shape
    Py_ssize_t[MAX_AXES] src_steps
    Py_ssize_t[MAX_AXES] dst_steps
    Py_ssize_t count         # lines
    Py_ssize_t together      # units of sixteen lines of a task
    f32* scratch             # 2 * (length + 1) rows a worker
