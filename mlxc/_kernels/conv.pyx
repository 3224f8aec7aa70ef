"""Convolution: packers that read an image as a matrix, for the product kernels to multiply, and a
depthwise loop.

Rows of that matrix are output pixels, columns are (tap, channel). Runs of channels are copied into
a small block, which the strided packers then turn and widen; so the block is the only place where
the matrix ever stands.
"""

from libc.string cimport memcpy, memset
from mlxc._kernels.product cimport OWN, Image, Product

cdef enum:
    ALONG = 256             # columns of a block of rows (a literal where a range steps by it)
    DOWN = 64               # pixels of a block of columns (likewise)
    BLOCK = 12 * 256 * 8    # bytes: the tallest panel of the widest type

ctypedef fused real:
    float
    double


cdef inline Py_ssize_t least(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a < b else b


cdef inline Py_ssize_t place(const Image* x, int axis, Py_ssize_t out,
                             Py_ssize_t tap) noexcept nogil:
    """Where a tap of an output position reads the input; -1 outside and in the gaps of a dilated
    input."""
    if x.flip:
        tap = x.kernel[axis] - 1 - tap
    cdef Py_ssize_t at = out * x.stride[axis] + tap * x.spread[axis] - x.low[axis]
    if at < 0:
        return -1
    if x.gap[axis] != 1:
        if at % x.gap[axis] != 0:
            return -1
        at //= x.gap[axis]
    return at if at < x.size[axis] else -1


cdef void read_row(const Image* x, Py_ssize_t pixel, Py_ssize_t first, Py_ssize_t count,
                   char* to) noexcept nogil:
    """Columns first to first + count of the row of one output pixel."""
    cdef Py_ssize_t w = pixel % x.out[2], rest = pixel // x.out[2]
    cdef Py_ssize_t h = rest % x.out[1], d = rest // x.out[1] % x.out[0]
    cdef Py_ssize_t n = rest // x.out[1] // x.out[0]
    cdef Py_ssize_t tap = first // x.channels, channel = first % x.channels, run, line, at, kw
    cdef Py_ssize_t in_d, in_h, in_w, size = x.itemsize
    cdef bint joined = x.spread[2] == 1 and x.gap[2] == 1 and not x.flip and x.channels == x.pixel
    while count > 0:
        kw = tap % x.kernel[2]
        line = tap // x.kernel[2]
        in_d = place(x, 0, d, line // x.kernel[1])
        in_h = place(x, 1, h, line % x.kernel[1])
        if in_d < 0 or in_h < 0:  # the rest of the kernel's line lies outside
            run = least(count, (x.kernel[2] - kw) * x.channels - channel)
            memset(to, 0, run * size)
        else:
            at = ((n * x.size[0] + in_d) * x.size[1] + in_h) * x.size[2]
            in_w = w * x.stride[2] + kw - x.low[2]
            if joined and in_w >= 0 and in_w + x.kernel[2] - kw <= x.size[2]:
                run = least(count, (x.kernel[2] - kw) * x.channels - channel)
            else:
                run = least(count, x.channels - channel)
                in_w = place(x, 2, w, kw)
            if in_w < 0:
                memset(to, 0, run * size)
            else:
                memcpy(to, x.data + ((at + in_w) * x.pixel + channel) * size, run * size)
        to += run * size
        count -= run
        channel += run
        tap += channel // x.channels
        channel %= x.channels


cdef void conv_rows(const Product* g, Py_ssize_t first, Py_ssize_t count,
                    char* panels) noexcept nogil:
    """Packs output pixels as rows of the product's first operand."""
    cdef const Image* x = <const Image*>g.image
    cdef char[BLOCK] block
    cdef Product part = g[0]
    cdef Py_ssize_t i, j, k, rows, size = 4 if x.form != OWN else x.itemsize
    part.a = block
    part.a_col = x.itemsize
    part.a_row = ALONG * x.itemsize
    part.a_form = x.form
    part.k0 = 0
    i = 0
    while i < count:
        rows = least(g.mr, count - i)
        for k in range(0, g.kc, 256):
            part.kc = least(ALONG, g.kc - k)
            for j in range(rows):
                read_row(x, first + i + j, g.k0 + k, part.kc, block + j * part.a_row)
            x.rows(&part, 0, rows, panels + (i * g.kc + k * g.mr) * size)
        i += g.mr


cdef void conv_columns(const Product* g, Py_ssize_t first, Py_ssize_t count,
                       char* panels) noexcept nogil:
    """Packs output pixels as the inner axis of the second operand; its columns are taps and
    channels."""
    cdef const Image* x = <const Image*>g.image
    cdef char[BLOCK] block
    cdef Product part = g[0]
    cdef Py_ssize_t i, j, k, columns, size = 4 if x.form != OWN else x.itemsize
    part.b = block
    part.b_col = x.itemsize
    part.b_row = g.nr * x.itemsize
    part.b_form = x.form
    part.k0 = 0
    i = 0
    while i < count:
        columns = least(g.nr, count - i)
        for k in range(0, g.kc, 64):
            part.kc = least(DOWN, g.kc - k)
            for j in range(part.kc):
                read_row(x, g.k0 + k + j, first + i, columns, block + j * part.b_row)
            x.columns(&part, 0, columns, panels + (i * g.kc + k * g.nr) * size)
        i += g.nr


cdef void add_tap(const real* x, const real* w, real* y, Py_ssize_t step,
                  Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t c
    if step == 1:
        for c in range(n):
            y[c] += x[c] * w[c]
    else:
        for c in range(n):
            y[c * step] += x[c] * w[c]


cdef void depthwise(const Image* x, Py_ssize_t line, real kind) noexcept nogil:
    """One line of output pixels: each channel with its own taps, vectorised over channels."""
    cdef Py_ssize_t h = line % x.out[1], d = line // x.out[1] % x.out[0]
    cdef Py_ssize_t n = line // x.out[1] // x.out[0]
    cdef Py_ssize_t channels = x.pixel, many = x.multiplier
    cdef Py_ssize_t taps = x.kernel[0] * x.kernel[1] * x.kernel[2]
    cdef Py_ssize_t w, tap, j, in_d, in_h, in_w, rest, at
    cdef const real* weight = <const real*>x.weight
    cdef real* y = <real*>x.result + line * x.out[2] * channels * many
    memset(y, 0, x.out[2] * channels * many * sizeof(real))
    for tap in range(taps):
        rest = tap // x.kernel[2]
        in_d = place(x, 0, d, rest // x.kernel[1])
        in_h = place(x, 1, h, rest % x.kernel[1])
        if in_d < 0 or in_h < 0:
            continue
        for w in range(x.out[2]):
            in_w = place(x, 2, w, tap % x.kernel[2])
            if in_w < 0:
                continue
            for j in range(many):
                at = ((n * x.size[0] + in_d) * x.size[1] + in_h) * x.size[2] + in_w
                add_tap(
                    <const real*>x.data + at * channels,
                    weight + (j * taps + tap) * channels, y + w * channels * many + j,
                    many, channels,
                )


cdef void depthwise_f32(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    depthwise[float](<const Image*>arg, line, 0)


cdef void depthwise_f64(void* arg, Py_ssize_t line, int worker) noexcept nogil:
    depthwise[double](<const Image*>arg, line, 0)


cdef void depthwise_weight(const Image* x, Py_ssize_t unit, real kind) noexcept nogil:
    """The gradient of one (multiple, tap) of all channels: lines are summed apart, so that few
    digits are lost."""
    cdef Py_ssize_t channels = x.pixel, many = x.multiplier
    cdef Py_ssize_t taps = x.kernel[0] * x.kernel[1] * x.kernel[2]
    cdef Py_ssize_t tap = unit % taps, j = unit // taps, lines = x.lines, line, first, n, w, c
    cdef Py_ssize_t rest, at
    cdef Py_ssize_t in_d, in_h, in_w, kw = tap % x.kernel[2]
    cdef real* total = <real*>x.weight + unit * channels
    cdef const real* a
    cdef const real* y
    cdef real[256] part
    memset(total, 0, channels * sizeof(real))
    for line in range(lines):
        rest = tap // x.kernel[2]
        in_d = place(x, 0, line // x.out[1] % x.out[0], rest // x.kernel[1])
        in_h = place(x, 1, line % x.out[1], rest % x.kernel[1])
        if in_d < 0 or in_h < 0:
            continue
        at = ((line // x.out[1] // x.out[0] * x.size[0] + in_d) * x.size[1] + in_h) * x.size[2]
        for first in range(0, channels, 256):
            n = least(256, channels - first)
            memset(part, 0, sizeof(part))
            for w in range(x.out[2]):
                in_w = place(x, 2, w, kw)
                if in_w < 0:
                    continue
                a = <const real*>x.data + (at + in_w) * channels + first
                y = <const real*>x.result + ((line * x.out[2] + w) * channels + first) * many + j
                for c in range(n):
                    part[c] += a[c] * y[c * many]
            for c in range(n):
                total[first + c] += part[c]


cdef void depthwise_weight_f32(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    depthwise_weight[float](<const Image*>arg, unit, 0)


cdef void depthwise_weight_f64(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    depthwise_weight[double](<const Image*>arg, unit, 0)


def table():
    """Kernel name to address."""
    return {
        "conv_rows": <size_t>&conv_rows,
        "conv_columns": <size_t>&conv_columns,
        "conv_depthwise_f32": <size_t>&depthwise_f32,
        "conv_depthwise_f64": <size_t>&depthwise_f64,
        "conv_depthwise_weight_f32": <size_t>&depthwise_weight_f32,
        "conv_depthwise_weight_f64": <size_t>&depthwise_weight_f64,
    }
