"""What the kernels of Fourier transforms are handed: lines to transform.

A row of the work space is PART real parts and then as many imaginary parts: of one element of
sixteen lines, or of sixteen elements of one line. Strides in bytes.
"""

from mlxc._kernels.types cimport f32

cdef enum:
    PART = 16
    ROW = 32             # numbers of a row of the work space
    MAX_PASSES = 32
    MAX_STARTS = 2       # of at most PART points
    MAX_AXES = 32
    MAX_RADIX = 13
    MAX_HALF = 6         # MAX_RADIX // 2
    STRIDE = 32          # elements of a line between those of the coarse table of its twiddles
    PIECE = 1 << 13      # elements of a task of fft_spread, fft_fold and fft_filter

cdef enum:
    C2C = 0
    R2C = 1
    C2R = 2

cdef struct Pass:
    int radix            # 2, 4 or 8, or an odd prime up to MAX_RADIX
    Py_ssize_t m         # what is left to transform, divided by radix
    Py_ssize_t s         # what has been transformed
    const f32* twiddles  # (m, radix - 1) pairs; of radix 4 and 8: (m, radix)
    const f32* roots     # exp(2 pi i j k / radix) for k and j up to radix / 2, pairs

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
    int lanes                # of fft_rows: parts of a line, at most PART; m: elements of a part
    int starts               # ... passes over fewer parts than PART
    Pass[MAX_STARTS] start
    const f32* roots         # ... of PART parts: exp(-2 pi i j k / 16), (4, 4) pairs
    const f32* turned        # ... its first pass's twiddles, (m / PART, lanes) rows
    const f32* twist         # of fft_lines, or NULL: twiddles of all that is written, see `twisted`
    const f32* chirp         # of fft_spread and fft_fold, or NULL: factors of a line, n pairs
    const char* src
    char* dst
    Py_ssize_t src_stride    # along the line
    Py_ssize_t dst_stride
    int ndim                 # of the axes across the lines
    Py_ssize_t[MAX_AXES] shape
    Py_ssize_t[MAX_AXES] src_steps
    Py_ssize_t[MAX_AXES] dst_steps
    Py_ssize_t first         # line of this call
    Py_ssize_t count         # lines of this call
    Py_ssize_t together      # lines of a task; of fft_lines: units of sixteen lines
    # 2 * (length + 1) rows a worker; of fft_rows: 2 * (m + 1); of fft_spread, fft_filter and
    # fft_fold: the lines of this call, of length pairs
    f32* scratch


cdef inline void place(
    const Lines* g, Py_ssize_t line, const char** src, char** dst
) noexcept nogil:
    """Where a line of this call begins."""
    cdef Py_ssize_t index
    cdef int axis
    line += g.first
    src[0], dst[0] = g.src, g.dst
    for axis in range(g.ndim - 1, -1, -1):
        index = line % g.shape[axis]
        line //= g.shape[axis]
        src[0] += index * g.src_steps[axis]
        dst[0] += index * g.dst_steps[axis]
