"""Launchers of convolutions: what there is to do, cut into blocks for the pool.

Rules: the image is row-major, channels last; weights have any strides. Each group of channels is a
convolution of its own, except where groups are so narrow that vectors run across them (`lanes`). A
dilated input is taken class by class of output positions. How sums are cut follows from sizes
alone; how work is shared does not change results.
"""

from libc.string cimport memset

from mlxc._backends.cpu.kernels cimport kernel
from mlxc._backends.cpu.matmul cimport form_of
from mlxc._graph.kernel cimport View, register_launcher
from mlxc._kernels.product cimport BRAIN, OWN
from mlxc._kernels.stencil cimport Axis, Conv, Run
from mlxc._memory.buffer cimport scratch_alloc, scratch_free
from mlxc._table.dtypes import CODE
from mlxc._threads.pool cimport interrupted, job_fn, par, thread_count

cdef enum:
    ALONE = 1 << 17         # multiply-adds that are not worth waking a thread for
    LONG = 1 << 28          # of a unit at most, where it can be cut: some milliseconds
    PIXELS = 256            # of a block: packed weights are read once for each
    BROAD = 480             # most columns of a block
    LINES = 1 << 18         # bytes of copied lines, about
    PAIRS = 1 << 16         # bytes of image and result of a block of a gradient, about
    PARTS = 32              # partial sums of a gradient at most
    SUMS = 1 << 23          # bytes of them, about
    SUMMED = 4096           # elements that a unit adds up
    ALIAS = 4096            # bytes after which addresses meet in the first cache

ctypedef void (*measures_fn)(Conv* g) noexcept nogil

cdef int FLOAT64 = CODE["float64"]

# The jobs of one compute type.
cdef struct Jobs:
    measures_fn measures
    job_fn pack, forward, gradient, add_parts, deliver

cdef Jobs[2] JOBS
cdef bint[2] RESOLVED
RESOLVED[0] = RESOLVED[1] = False

# The settings of one spatial axis, as the row has them.
cdef struct Setting:
    Py_ssize_t size, out, kernel, stride, low, spread, gap
    Py_ssize_t w_tap        # bytes


cdef Jobs* jobs_of(int dtype) except NULL:
    cdef int which = dtype == FLOAT64
    cdef Jobs* jobs = &JOBS[which]
    if not RESOLVED[which]:
        word = "f64" if which else "f32"
        jobs.measures = <measures_fn>kernel("conv_measures_" + word)
        jobs.pack = <job_fn>kernel("conv_pack_" + word)
        jobs.forward = <job_fn>kernel("conv_forward_" + word)
        jobs.gradient = <job_fn>kernel("conv_gradient_" + word)
        jobs.add_parts = <job_fn>kernel("conv_add_parts_" + word)
        jobs.deliver = <job_fn>kernel("conv_deliver_" + word)
        RESOLVED[which] = True
    return jobs


# ---- the problem ----

cdef int read_settings(Setting* s, View* x, View* y, View* w, object params) except -1:
    """Three axes; missing ones in front."""
    stride, low, _, spread, gap = params[:5]
    cdef int count = x.ndim - 2, axis, k
    for axis in range(3):
        k = axis - 3 + count
        if k < 0:
            s[axis].size = s[axis].out = s[axis].kernel = 1
            s[axis].stride = s[axis].spread = s[axis].gap = 1
            s[axis].low = s[axis].w_tap = 0
            continue
        s[axis].size, s[axis].out, s[axis].kernel = x.shape[1 + k], y.shape[1 + k], w.shape[1 + k]
        s[axis].stride, s[axis].low, s[axis].spread = stride[k], low[k], spread[k]
        s[axis].gap, s[axis].w_tap = gap[k], w.strides[1 + k]
    return 0


cdef bint is_trivial(const Setting* s) noexcept nogil:
    """Whether nothing happens along an axis."""
    return s.kernel == 1 and s.stride == 1 and s.gap == 1 and s.low == 0 and s.out == s.size


cdef void simplify(Setting* s, Conv* g) noexcept nogil:
    """Long lines are fast: where nothing happens along all axes they become one, images too; an
    axis of one pixel goes to the front."""
    cdef int _turn
    cdef Setting last
    if is_trivial(&s[0]) and is_trivial(&s[1]) and is_trivial(&s[2]):
        s[2].size = s[2].out = g.images * s[0].size * s[1].size * s[2].size
        g.images = s[0].size = s[0].out = s[1].size = s[1].out = 1
    for _turn in range(2):
        if s[2].size == 1 and is_trivial(&s[2]):
            last = s[2]
            s[2], s[1], s[0] = s[1], s[0], last


cdef Py_ssize_t common(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """The greatest common divisor."""
    while b:
        a, b = b, a % b
    return a


cdef Py_ssize_t period(const Setting* s) noexcept nogil:
    """How many classes of output positions there are."""
    return s.gap // common(s.stride, s.gap)


cdef void set_axis(Axis* axis, const Setting* s, Py_ssize_t number, bint flip) noexcept nogil:
    """The output positions number, number + period ... and the taps that reach the input there."""
    cdef Py_ssize_t tap_step = s.gap // common(s.spread, s.gap), tap, start
    axis.size, axis.out, axis.first, axis.step = s.size, s.out, number, period(s)
    axis.count = (s.out - number + axis.step - 1) // axis.step if number < s.out else 0
    axis.move = axis.step * s.stride // s.gap
    axis.at_step = tap_step * s.spread // s.gap
    axis.tap_step = -tap_step if flip else tap_step
    axis.taps = axis.tap = axis.at = 0
    for tap in range(min(tap_step, s.kernel)):
        start = number * s.stride + tap * s.spread - s.low
        if start % s.gap == 0:
            axis.at = start // s.gap
            axis.tap = s.kernel - 1 - tap if flip else tap
            axis.taps = (s.kernel - tap + tap_step - 1) // tap_step
            return


cdef int set_conv(Conv* g, View* x, View* y, View* w, Py_ssize_t groups, Jobs* jobs,
                  bint forward) except -1:
    """Everything but the axes and the plan."""
    memset(g, 0, sizeof(Conv))
    g.images = x.shape[0]
    g.x, g.y, g.w = x.data, y.data, w.data
    g.form, g.itemsize = form_of(x.dtype), x.itemsize
    g.x_pixel, g.y_pixel = x.shape[x.ndim - 1], w.shape[0]
    g.w_out, g.w_in = w.strides[0], w.strides[w.ndim - 1]
    g.channels, g.results = w.shape[w.ndim - 1], w.shape[0] // groups
    g.group_in, g.group_out = g.channels, g.results
    # Each lane reads the channels of its own group: with few results a group, less work than
    # vectors that are mostly empty.
    g.lanes = groups > 1 and g.group_out <= 4 and g.group_in <= 8
    if g.lanes:
        g.channels, g.results = g.x_pixel, g.y_pixel
    g.x_form, g.x_bytes = g.form, g.x_pixel * g.itemsize
    g.pairs = forward and g.form == BRAIN and not g.lanes and g.channels > 1
    jobs.measures(g)
    if g.pairs:
        g.x_form, g.channels = OWN, (g.channels + 1) // 2
        g.x_pixel //= 2  # of an odd number of channels lines are copied
    g.wide = (g.results + g.width - 1) // g.width * g.width
    return 0


# ---- the plan ----

cdef Py_ssize_t pieces(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


cdef Py_ssize_t shared_out(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    """A size near the given one that cuts n evenly."""
    return pieces(n, pieces(n, size)) if n > 0 else 1


cdef Py_ssize_t block_bytes(const Conv* g, Py_ssize_t size) noexcept nogil:
    """Of the copied lines of a block, and room for a vector behind."""
    cdef const Axis* h = &g.axis[1]
    cdef const Axis* w = &g.axis[2]
    cdef Py_ssize_t slots = (g.high - 1) * h.move + max(h.taps - 1, 0) * h.at_step + 1
    cdef Py_ssize_t span = (g.broad - 1) * w.move + max(w.taps - 1, 0) * w.at_step + 1
    return g.axis[0].taps * min(slots, h.size) * span * g.pitch * size + 256


cdef void plan_blocks(Conv* g, Py_ssize_t pixels, Py_ssize_t bytes_,
                      Py_ssize_t size) noexcept nogil:
    """Blocks of about so many pixels, unless their lines need more than so many bytes."""
    g.broad = shared_out(g.axis[2].count, BROAD)
    g.high = shared_out(g.axis[1].count, max(1, pixels // g.broad))
    while g.high > 1 and block_bytes(g, size) > bytes_:
        g.high = (g.high + 1) // 2
    g.blocks = pieces(g.axis[2].count, g.broad)
    g.bands = pieces(g.axis[1].count, g.high)


cdef void plan_lines(Conv* g, Py_ssize_t size) noexcept nogil:
    """How input lines are read."""
    cdef bint spread = g.lanes and (g.group_in > 1 or g.group_out > 1)
    g.pitch = g.group_in * g.wide if spread else g.wide if g.lanes else g.channels
    g.copied = g.x_form != OWN or spread or (g.lanes and g.wide != g.results)
    g.copied |= g.pairs and g.group_in % 2 != 0
    if not g.lanes and g.pitch * g.axis[2].move * size % ALIAS == 0:
        g.pitch += 64 // size  # rows of a tile would push each other out of the cache
        g.copied = True
    elif not g.copied:
        g.pitch = g.x_pixel
    g.joined = g.axis[2].taps <= 1 or (g.axis[2].at_step == 1 and g.pitch == g.channels)


cdef void plan_forward(Conv* g, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t want = 4 * thread_count(), panels = pieces(g.wide, g.vectors * g.width), blocks
    cdef Py_ssize_t taps = g.axis[0].taps * g.axis[1].taps
    cdef double deep = <double>taps * g.axis[2].taps * (g.group_in if g.lanes else g.channels)
    plan_lines(g, size)
    # What is copied for single channels costs as much as their products: tall blocks share more.
    plan_blocks(g, 4 * PIXELS if g.lanes and g.copied else PIXELS, LINES, size)
    blocks = g.images * g.axis[0].count * g.bands * g.blocks
    g.splits = max(1, min(panels, pieces(want, max(1, blocks))))
    while g.splits < panels and deep * g.high * g.broad * g.wide > <double>LONG * g.splits:
        g.splits = min(panels, 2 * g.splits)
    if blocks * g.splits < want and g.high > 1:
        g.high = max(1, g.high * blocks * g.splits // want)
        g.bands = pieces(g.axis[1].count, g.high)
        blocks = g.images * g.axis[0].count * g.bands * g.blocks
    g.units = blocks * g.splits
    g.line_bytes = pieces(block_bytes(g, size), 64) * 64
    g.run_bytes = taps * (g.group_in if g.lanes else g.axis[2].taps) * sizeof(Run)
    g.worker_bytes = pieces(g.line_bytes + g.run_bytes, 64) * 64


cdef void plan_gradient(Conv* g, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t taps = g.axis[0].taps * g.axis[1].taps, length, columns, copies
    plan_lines(g, size)
    length = g.axis[2].taps if g.lanes else g.channels * (g.axis[2].taps if g.joined else 1)
    columns = pieces(length, g.width) * g.width
    # Whichever of both wastes less of its vectors is the columns.
    g.swapped = not g.lanes and columns * g.results < length * g.wide
    if g.swapped and columns != length:
        g.copied = True
    g.y_copied = g.form != OWN or (not g.swapped and g.wide != g.results)
    g.y_pitch = g.wide if g.y_copied else g.axis[2].step * g.y_pixel
    plan_blocks(g, max(64, PAIRS // ((g.pitch + g.wide) * size)), LINES, size)
    g.segments = g.images * g.axis[0].count * g.bands * g.blocks
    g.part_size = taps * (g.results * columns if g.swapped else length * g.wide)
    g.part_size *= g.group_in if g.lanes else 1 if g.joined else g.axis[2].taps
    g.parts = max(1, min(min(g.segments, PARTS), SUMS // max(1, g.part_size * size)))
    columns = pieces(columns if g.swapped else g.wide, g.vectors * g.width)
    g.splits = max(1, min(columns, pieces(4 * thread_count(), g.parts)))
    g.units = g.parts * g.splits
    copies = g.high * g.broad * g.wide * size + 256 if g.y_copied else 0
    g.line_bytes = pieces(block_bytes(g, size), 64) * 64
    g.run_bytes = pieces(g.high * sizeof(Run), 64) * 64
    g.worker_bytes = g.line_bytes + pieces(copies, 64) * 64 + g.run_bytes


# ---- running ----

cdef inline void run_units(job_fn job, Conv* g, Py_ssize_t units, bint alone) noexcept nogil:
    cdef Py_ssize_t unit
    if alone:
        for unit in range(units):
            if unit and interrupted():
                return
            job(g, unit, 0)
    else:
        par(job, g, units)


cdef int run_class(Conv* g, const Jobs* jobs, bint gradient, Py_ssize_t groups) except -1:
    """All groups of the class of output positions in hand."""
    cdef Py_ssize_t size = 8 if g.itemsize == 8 else 4, packed, bytes_, _group
    cdef Py_ssize_t taps = g.axis[0].taps * g.axis[1].taps * g.axis[2].taps
    cdef double work = <double>g.images * g.axis[0].count * g.axis[1].count * g.axis[2].count
    cdef bint alone
    cdef char* scratch
    if gradient:
        plan_gradient(g, size)
        packed = g.parts * g.part_size * size
    else:
        plan_forward(g, size)
        packed = taps * (g.group_in if g.lanes else g.channels) * g.wide * size
    work *= taps * g.group_in * g.wide
    alone = thread_count() == 1 or work < ALONE
    packed = pieces(packed, 64) * 64
    bytes_ = packed + g.worker_bytes * (1 if alone else thread_count())
    scratch = scratch_alloc(bytes_)
    if scratch == NULL:
        raise MemoryError(f"[conv] no memory for {bytes_} bytes of scratch.")
    g.packed = scratch
    g.scratch = scratch + packed
    with nogil:
        for _group in range(groups):
            if gradient:
                run_units(jobs.gradient, g, g.units, alone)
                run_units(jobs.add_parts, g, pieces(g.part_size, SUMMED) if g.parts > 1 else 0,
                          alone)
                run_units(jobs.deliver, g, g.axis[0].taps * g.axis[1].taps, alone)
            else:
                run_units(jobs.pack, g, taps, alone)
                run_units(jobs.forward, g, g.units, alone)
            g.x += g.group_in * g.itemsize
            g.y += g.results * g.itemsize
            g.w += g.results * g.w_out
    scratch_free(scratch, bytes_)
    return 0


cdef int run_classes(View* x, View* y, View* w, object params, bint gradient) except -1:
    """Class after class of output positions: one, unless the input is dilated."""
    cdef Setting[3] settings
    cdef Conv whole, g
    cdef Jobs* jobs = jobs_of(x.dtype)
    cdef Py_ssize_t groups = params[5], number, classes
    cdef bint flip = params[6]
    set_conv(&whole, x, y, w, groups, jobs, not gradient)
    read_settings(settings, x, y, w, params)
    simplify(settings, &whole)
    classes = period(&settings[0]) * period(&settings[1]) * period(&settings[2])
    for number in range(classes):
        g = whole
        set_axis(&g.axis[2], &settings[2], number % period(&settings[2]), flip)
        set_axis(&g.axis[1], &settings[1],
                 number // period(&settings[2]) % period(&settings[1]), flip)
        set_axis(&g.axis[0], &settings[0],
                 number // period(&settings[2]) // period(&settings[1]), flip)
        g.w_tap[0], g.w_tap[1] = settings[0].w_tap, settings[1].w_tap
        g.w_tap[2] = settings[2].w_tap
        if g.axis[0].count == 0 or g.axis[1].count == 0 or g.axis[2].count == 0:
            continue
        if gradient and (g.axis[0].taps == 0 or g.axis[1].taps == 0 or g.axis[2].taps == 0):
            continue
        run_class(&g, jobs, gradient, 1 if g.lanes else groups)
    return 0


cdef int launch_conv(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: image (n, *size, c), weights (o, *kernel, c / groups)."""
    cdef View* y = &outs[0]
    if y.size == 0:
        return 0
    if ins[0].size == 0 or ins[1].size == 0:
        memset(y.data, 0, y.size * y.itemsize)
        return 0
    return run_classes(&ins[0], y, &ins[1], params, False)


cdef int launch_weight_gradient(View* ins, int nin, View* outs, int nout, object params) except -1:
    """ins: image, gradient of the result (n, *out, o); outs: gradient of the weights (o, *kernel, c
    / groups)."""
    cdef View* w = &outs[0]
    memset(w.data, 0, w.size * w.itemsize)  # taps that reach nothing
    if w.size == 0 or ins[0].size == 0 or ins[1].size == 0:
        return 0
    return run_classes(&ins[0], &ins[1], w, params[:7], True)


register_launcher("conv", launch_conv)
register_launcher("conv_weight_gradient", launch_weight_gradient)
