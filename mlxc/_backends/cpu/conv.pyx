"""Launchers of convolutions: an image read as a matrix, times the weights, by the product kernels.

Rules: operands are row-major, channels last. Each group of channels is one product, except where
every channel is a group of its own (depthwise), which has its own loop. A 1 x 1 convolution is a
plain product and nothing is gathered.
"""

from libc.string cimport memset

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._backends.cpu.matmul cimport Family, family, form_of, run_product
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.product cimport OWN, Image, Product, panels_fn
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._table.dtypes import CODE
from mlxc._threads.pool cimport job_fn, par, thread_count

ctypedef void (*fetch_fn)(
    const char* s, Py_ssize_t stride, int form, float* d, Py_ssize_t n
) noexcept nogil
ctypedef void (*store_fn)(
    const float* s, char* d, Py_ssize_t stride, int form, Py_ssize_t n
) noexcept nogil

cdef int FLOAT64 = CODE["float64"]


cdef int set_axes(Py_ssize_t* to, object values, Py_ssize_t missing) except -1:
    """Values of one to three axes, as those of the last of three."""
    cdef Py_ssize_t axis, count = len(values)
    for axis in range(3):
        to[axis] = missing if axis < 3 - count else values[axis - 3 + count]
    return 0


cdef int set_image(Image* image, View* x, View* y, object kernel_size, object params,
                   int which) except -1:
    """The image x as a convolution with result shape y reads it; which: 0 float64's packers, else
    float32's."""
    stride, low, _, kernel_dilation, input_dilation, groups, flip = params
    cdef int spatial = x.ndim - 2
    word = "f64" if which == 0 else "f32"
    image.data = x.data
    image.itemsize = x.itemsize
    image.form = form_of(x.dtype)
    image.pixel = x.shape[x.ndim - 1]
    image.channels = image.pixel // <Py_ssize_t>groups
    set_axes(image.size, [x.shape[1 + k] for k in range(spatial)], 1)
    set_axes(image.out, [y.shape[1 + k] for k in range(spatial)], 1)
    set_axes(image.kernel, kernel_size, 1)
    set_axes(image.stride, stride, 1)
    set_axes(image.low, low, 0)
    set_axes(image.spread, kernel_dilation, 1)
    set_axes(image.gap, input_dilation, 1)
    image.flip = flip
    image.rows = <panels_fn>kernel("matmul_rows_" + word)
    image.columns = <panels_fn>kernel("matmul_columns_" + word)
    return 0


cdef bint is_plain(const Image* image) noexcept nogil:
    """Whether rows of the matrix are the image's pixels as they lie in memory."""
    cdef int axis
    for axis in range(3):
        if image.kernel[axis] != 1 or image.stride[axis] != 1 or image.gap[axis] != 1:
            return False
        if image.low[axis] != 0 or image.out[axis] != image.size[axis]:
            return False
    return True


cdef int run_groups(Product* g, const Family* f, Image* image, Py_ssize_t groups,
                    const Py_ssize_t* step) except -1:
    """One product a group; step: bytes from group to group in a, b, out and the image."""
    cdef Py_ssize_t group
    cdef Product one
    cdef Py_ssize_t bytes_
    cdef char* scratch
    g.workers = thread_count()
    one = g[0]
    f.plan(&one)
    bytes_ = one.scratch_bytes
    scratch = scratch_alloc(bytes_)
    if scratch == NULL and bytes_ > 0:
        raise MemoryError(f"[conv] no memory for {bytes_} bytes of scratch.")
    with nogil:
        for group in range(groups):
            one = g[0]
            one.a += group * step[0]
            one.b += group * step[1]
            one.out += group * step[2]
            f.plan(&one)
            one.scratch = scratch
            run_product(&one, f)
            image.data += step[3]
    scratch_free(scratch, bytes_)
    return 0


cdef int launch_conv(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: image (n, *size, c), weights (o, *kernel, c / groups)."""
    cdef View* x = &ins[0]
    cdef View* w = &ins[1]
    cdef View* y = &outs[0]
    cdef Family* f
    cdef Image image
    cdef Product g
    cdef Py_ssize_t groups = params[5], taps = 1, o = w.shape[0]
    cdef Py_ssize_t[4] step
    cdef int k
    if y.size == 0:
        return 0
    f = family("conv", y.dtype)
    set_image(&image, x, y, [w.shape[k] for k in range(1, w.ndim - 1)], params,
              0 if y.dtype == FLOAT64 else 1)
    if groups == image.pixel and groups > 1 and w.size > 0:
        return run_depthwise(&image, x, w, y, False)
    for k in range(1, w.ndim - 1):
        taps *= w.shape[k]
    memset(&g, 0, sizeof(Product))
    g.m, g.n, g.k = y.size // o, o // groups, taps * image.channels
    g.a, g.a_row, g.a_col, g.a_form = x.data, image.pixel * x.itemsize, x.itemsize, form_of(x.dtype)
    g.b, g.b_row, g.b_col, g.b_form = w.data, w.itemsize, g.k * w.itemsize, form_of(w.dtype)
    g.out, g.out_row, g.out_col, g.out_form = y.data, o * y.itemsize, y.itemsize, form_of(y.dtype)
    g.alpha = 1
    step[0] = step[3] = image.channels * x.itemsize
    step[1] = g.n * g.k * w.itemsize
    step[2] = g.n * y.itemsize
    if not is_plain(&image):
        g.plain = True
        g.image = &image
        g.rows = <panels_fn>kernel("conv_rows")
        step[0] = 0
    return run_groups(&g, f, &image, groups, step)


cdef int launch_weight_gradient(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: image, gradient of the result (n, *out, o); outs: gradient of the weights (o, *kernel, c
    / groups)."""
    cdef View* x = &ins[0]
    cdef View* y = &ins[1]
    cdef View* w = &outs[0]
    cdef Family* f
    cdef Image image
    cdef Product g
    cdef Py_ssize_t groups = params[5], o = w.shape[0]
    cdef Py_ssize_t[4] step
    cdef int k
    if w.size == 0:
        return 0
    f = family("conv", w.dtype)
    set_image(&image, x, y, [w.shape[k] for k in range(1, w.ndim - 1)], params[:7],
              0 if w.dtype == FLOAT64 else 1)
    if groups == image.pixel and groups > 1 and y.size > 0:
        return run_depthwise(&image, x, w, y, True)
    memset(&g, 0, sizeof(Product))
    g.m, g.n, g.k = o // groups, w.size // o, y.size // o
    g.a, g.a_row, g.a_col, g.a_form = y.data, y.itemsize, o * y.itemsize, form_of(y.dtype)
    g.b, g.b_form, g.b_row, g.b_col = x.data, form_of(x.dtype), image.pixel * x.itemsize, x.itemsize
    g.out, g.out_row, g.out_col, g.out_form = w.data, g.n * w.itemsize, w.itemsize, form_of(w.dtype)
    g.alpha = 1
    g.plain = True
    g.image = &image
    g.columns = <panels_fn>kernel("conv_columns")
    step[0] = g.m * y.itemsize
    step[1] = 0
    step[2] = g.m * g.n * w.itemsize
    step[3] = image.channels * x.itemsize
    return run_groups(&g, f, &image, groups, step)


cdef struct Conversion:
    const char* s
    char* d
    Py_ssize_t n
    int form
    fetch_fn fetch
    store_fn store      # NULL: fetch


cdef void convert_piece(void* arg, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Conversion* c = <Conversion*>arg
    cdef Py_ssize_t i = chunk * 65536, n = min(<Py_ssize_t>65536, c.n - i)
    if c.store == NULL:
        c.fetch(c.s + 2 * i, 2, c.form, <float*>c.d + i, n)
    else:
        c.store(<const float*>c.s + i, c.d + 2 * i, 2, c.form, n)


cdef void convert(Conversion* c) noexcept nogil:
    """A contiguous 16-bit array to float32, or back."""
    par(convert_piece, c, (c.n + 65535) // 65536)


cdef void order_weights(View* w, char* ordered, Image* image, fetch_fn fetch,
                        store_fn store) noexcept nogil:
    """(channel, multiple, tap), as stored, to or from (multiple, tap, channel) in the compute type:
    from, if store."""
    cdef Py_ssize_t channels = image.pixel, multiplier = image.multiplier, j, tap, c
    cdef Py_ssize_t taps = w.size // (channels * multiplier), size = 8 if w.itemsize == 8 else 4
    cdef int form = form_of(w.dtype)
    cdef char* s
    cdef char* d
    for j in range(multiplier):
        for tap in range(taps):
            for c in range(channels):
                s = w.data + ((c * multiplier + j) * taps + tap) * w.itemsize
                d = ordered + ((j * taps + tap) * channels + c) * size
                if size == 8 and store == NULL:
                    (<double*>d)[0] = (<double*>s)[0]
                elif size == 8:
                    (<double*>s)[0] = (<double*>d)[0]
                elif store == NULL:
                    fetch(s, w.itemsize, form, <float*>d, 1)
                else:
                    store(<const float*>d, s, w.itemsize, form, 1)


cdef int run_depthwise(Image* image, View* x, View* w, View* y, bint gradient) except -1:
    """Every channel a group: y of x and w, or w of x and y. Scratch holds the weights in order and
    wide copies."""
    cdef bint narrow = form_of(y.dtype) != OWN
    cdef Py_ssize_t x_at = (w.size * max(4, w.itemsize) + 63) // 64 * 64
    cdef Py_ssize_t y_at = x_at + ((x.size * 4 + 63) // 64 * 64 if narrow else 0)
    cdef Py_ssize_t bytes_ = y_at + (y.size * 4 if narrow else 0)
    cdef char* scratch
    cdef Conversion c
    name = "conv_depthwise_weight_" if gradient else "conv_depthwise_"
    cdef job_fn job = <job_fn>kernel(name + ("f64" if y.dtype == FLOAT64 else "f32"))
    cdef store_fn store = <store_fn>kernel("matmul_store_f32")
    c.fetch = <fetch_fn>kernel("matmul_fetch_f32")
    c.store = NULL
    c.form = form_of(y.dtype)
    scratch = scratch_alloc(bytes_)
    if scratch == NULL:
        raise MemoryError(f"[conv] no memory for {bytes_} bytes of scratch.")
    with nogil:
        image.multiplier = w.shape[0] // image.pixel
        image.lines = y.size // (w.shape[0] * image.out[2])
        image.weight = scratch
        image.result = y.data
        if narrow:
            c.s, c.d, c.n = x.data, scratch + x_at, x.size
            convert(&c)
            image.data = scratch + x_at
            image.result = scratch + y_at
        if gradient:
            if narrow:
                c.s, c.d, c.n = y.data, scratch + y_at, y.size
                convert(&c)
            par(job, image, w.size // image.pixel)
            order_weights(w, scratch, image, c.fetch, store)
        else:
            order_weights(w, scratch, image, c.fetch, NULL)
            par(job, image, image.lines)
            if narrow:
                c.store = store
                c.s, c.d, c.n = scratch + y_at, y.data, y.size
                convert(&c)
    scratch_free(scratch, bytes_)
    return 0


register_launcher("conv", launch_conv)
register_launcher("conv_weight_gradient", launch_weight_gradient)
