"""Convolutions: blocks of lines read where they stand, multiplied by the tiles of conv_render.

Rules: work is cut into blocks of output pixels. The input lines that a block needs are read in
place, or first copied where they need padding, another format or room between pixels; weights are
packed into panels as wide as a tile. Every result is one sum in one order, whatever the blocks are;
gradients of the weights are summed in parts fixed by sizes alone. Stored formats end at copying:
tiles see the compute type only, or pairs of bfloat16 as if each were one float.
"""

from libc.string cimport memcpy, memset

from mlxc._kernels.convert cimport bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16
from mlxc._kernels.product cimport HALF, OWN
from mlxc._kernels.square cimport transpose4
from mlxc._kernels.stencil cimport Axis, Conv, Run, Tile, tile_fn
from mlxc._kernels.tile cimport LANES, narrow_row, widen_row
from mlxc._kernels.types cimport u16

cdef extern from *:
    """
    /* A vector of lanes, each from its place in a vector of memory. */
    static inline void choose_lanes(const float *s, const int *places, float *d) {
    #if defined(__GNUC__) && !defined(__clang__)
        typedef int lanes __attribute__((vector_size(4 * MLXC_LANES), aligned(4), may_alias));
        *(mlxc_vector *)d =
            __builtin_shuffle(*(const mlxc_vector *)s, *(const lanes *)places);
    #else
        for (int i = 0; i < MLXC_LANES; i++) d[i] = s[places[i]];
    #endif
    }
    """
    void choose_lanes(const float*, const int*, float*) noexcept nogil

cdef enum:
    TURNED = 64         # input channels that are packed at a time (a literal where ranges step)
    BLOCK = 16          # ... delivered at a time
    SUMMED = 4096       # elements that are summed at a time
    LONG = 48           # rows of a line that slides, where results are narrowed
    WIDEST = 64         # results that are narrowed side by side
    ROOM = LONG * WIDEST
    SHORT = 16          # rows of lines that are not worth sliding: fewer than that

ctypedef fused real:
    float
    double

# Output pixels in hand, in numbers of their class, and where their input lines stand.
cdef struct Block:
    Py_ssize_t image, depth, top, bottom, left, right
    bint copied
    char* lines                 # copied: (depth taps, slots, span, pitch)
    Py_ssize_t lowest           # number of the first line copied
    Py_ssize_t slots, span      # lines copied, and pixels of each


cdef inline Py_ssize_t least(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a < b else b


cdef inline Py_ssize_t most(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a > b else b


# ---- stored formats ----

cdef inline real fetch(const char* s, int form, real kind) noexcept nogil:
    if real is float:
        if form != OWN:
            return f16_to_f32((<const u16*>s)[0]) if form == HALF else bf16_to_f32(
                (<const u16*>s)[0])
    return (<const real*>s)[0]


cdef inline void put(char* d, int form, real value) noexcept nogil:
    if real is float:
        if form != OWN:
            (<u16*>d)[0] = f32_to_f16(value) if form == HALF else f32_to_bf16(value)
            return
    (<real*>d)[0] = value


cdef void widen(const char* s, int form, real* d, Py_ssize_t n) noexcept nogil:
    if real is float:
        if form != OWN:
            widen_row(d, s, 2, n, form)
            return
    memcpy(d, s, n * sizeof(real))


cdef void narrow_rows(const Conv* g, const real* s, Py_ssize_t rows, Py_ssize_t columns, char* d,
                      Py_ssize_t row, Py_ssize_t n) noexcept nogil:
    """n of the columns of some rows, at most ROOM numbers, to rows so many bytes apart: formats of
    short rows are narrowed all at once."""
    cdef u16[ROOM] halves
    cdef const char* source = <const char*>s
    cdef Py_ssize_t r, size = sizeof(real)
    if real is float:
        if g.form != OWN and n == WIDEST:
            for r in range(rows):
                narrow_row(d + r * row, s + r * columns, n, g.form)
            return
        if g.form != OWN:
            narrow_row(<char*>halves, s, rows * columns, g.form)
            source, size = <const char*>halves, 2
    for r in range(rows):
        memcpy(d + r * row, source + r * columns * size, n * size)


# ---- input lines ----

cdef inline Py_ssize_t position(const Axis* axis, Py_ssize_t i, Py_ssize_t tap) noexcept nogil:
    return axis.at + i * axis.move + tap * axis.at_step


cdef void locate(const Conv* g, Py_ssize_t number, Block* b) noexcept nogil:
    """Block number so and so: images, then depth, bands of lines, blocks of columns."""
    cdef Py_ssize_t band = number // g.blocks % g.bands
    b.left = number % g.blocks * g.broad
    b.right = least(b.left + g.broad, g.axis[2].count)
    b.top = band * g.high
    b.bottom = least(b.top + g.high, g.axis[1].count)
    number = number // g.blocks // g.bands
    b.depth = number % g.axis[0].count
    b.image = number // g.axis[0].count


cdef Py_ssize_t shuffle_line(const Conv* g, const char* s, Py_ssize_t pixels,
                             float* to) noexcept nogil:
    """As many lanes of all pixels as whole vectors of input channels serve; their number."""
    cdef int[LANES] places
    cdef Py_ssize_t c, i, p, of_vector = LANES // g.group_out * g.group_in, done = 0
    if g.form != OWN or g.group_in > g.group_out or LANES % g.group_out != 0:
        return 0
    while done + LANES <= g.results and done // LANES * of_vector + LANES <= g.x_pixel:
        done += LANES
    for c in range(g.group_in):
        for i in range(LANES):
            places[i] = <int>(i // g.group_out * g.group_in + c)
        for p in range(pixels):
            for i in range(done // LANES):
                choose_lanes(<const float*>s + p * g.x_pixel + i * of_vector, places,
                             to + p * g.pitch + c * g.wide + i * LANES)
    return done


cdef void spread_line(const Conv* g, const char* s, Py_ssize_t pixels, real* to) noexcept nogil:
    """Pixels for the lanes of all results: channel number c of each result's group."""
    cdef Py_ssize_t c, j, p, group, done = 0
    if real is float:
        done = shuffle_line(g, s, pixels, to)
    for p in range(pixels if done < g.results else 0):
        for c in range(g.group_in):
            for group in range(done // g.group_out, g.results // g.group_out):
                for j in range(g.group_out):
                    to[p * g.pitch + c * g.wide + group * g.group_out + j] = fetch[real](
                        s + (p * g.x_pixel + group * g.group_in + c) * g.itemsize, g.form, 0)


cdef void copy_line(const Conv* g, const char* s, Py_ssize_t first, Py_ssize_t count,
                    real* to) noexcept nogil:
    """Input pixels first to first + count of the line at s; zeros outside it."""
    cdef Py_ssize_t before = least(most(-first, 0), count)
    cdef Py_ssize_t inside = most(least(first + count, g.axis[2].size) - most(first, 0), 0)
    cdef Py_ssize_t p, c
    cdef u16* half
    if before > 0:
        memset(to, 0, before * g.pitch * sizeof(real))
        to += before * g.pitch
    s += most(first, 0) * g.x_bytes
    if g.pairs and g.group_in % 2 != 0:
        for p in range(inside):
            half = <u16*>(to + p * g.pitch)
            for c in range(g.group_in):
                half[c] = (<const u16*>(s + p * g.x_bytes))[c]
            half[g.group_in] = 0  # the last channel's partner
    elif g.pitch == g.x_pixel and (not g.lanes or (g.group_in == 1 and g.group_out == 1)):
        if inside > 0:  # behind the last pixel's channels of a group may be nothing
            widen(s, g.x_form, to, (inside - 1) * g.pitch + g.channels)
    elif g.lanes and (g.group_in > 1 or g.group_out > 1):
        spread_line(g, s, inside, to)
    else:
        for p in range(inside):
            widen(s + p * g.x_bytes, g.x_form, to + p * g.pitch, g.channels)
    p = count - before - inside
    if p > 0:
        memset(to + inside * g.pitch, 0, p * g.pitch * sizeof(real))


cdef void fetch_lines(const Conv* g, Block* b, char* buffer, bint edges,
                      real kind) noexcept nogil:
    """The lines that a block reads: in place if that will do, else copied to the buffer. edges:
    whether reading beyond a line is avoided."""
    cdef const Axis* d = &g.axis[0]
    cdef const Axis* h = &g.axis[1]
    cdef const Axis* w = &g.axis[2]
    cdef Py_ssize_t tap, line, depth, highest
    cdef Py_ssize_t first = position(w, b.left, 0)
    cdef Py_ssize_t last = position(w, b.right - 1, w.taps - 1)
    cdef real* to = <real*>buffer
    b.copied = g.copied or (not edges and (first < 0 or last >= w.size))
    if not b.copied or w.taps == 0:
        return
    b.lines = buffer
    b.lowest = most(position(h, b.top, 0), 0)
    highest = least(position(h, b.bottom - 1, h.taps - 1), h.size - 1)
    b.slots = most(highest - b.lowest + 1, 0)
    b.span = last - first + 1
    for tap in range(d.taps):
        depth = position(d, b.depth, tap)
        if 0 <= depth < d.size:
            for line in range(b.slots):
                copy_line(
                    g,
                    g.x + ((b.image * d.size + depth) * h.size + b.lowest + line) * w.size
                    * g.x_bytes,
                    first, b.span, to + (tap * b.slots + line) * b.span * g.pitch,
                )


cdef const char* line_at(const Conv* g, const Block* b, Py_ssize_t tap, Py_ssize_t line,
                         Py_ssize_t size) noexcept nogil:
    """Where the block's first column reads an input line; NULL where that lies outside."""
    cdef Py_ssize_t depth = position(&g.axis[0], b.depth, tap)
    if line < 0 or line >= g.axis[1].size or depth < 0 or depth >= g.axis[0].size:
        return NULL
    if b.copied:
        return b.lines + (tap * b.slots + line - b.lowest) * b.span * g.pitch * size
    depth = (b.image * g.axis[0].size + depth) * g.axis[1].size + line
    return g.x + (depth * g.axis[2].size + position(&g.axis[2], b.left, 0)) * g.x_pixel * size


cdef inline Py_ssize_t result_at(const Conv* g, const Block* b, Py_ssize_t i,
                                 Py_ssize_t j) noexcept nogil:
    """The pixel of the result at line i and column j of the block's class."""
    cdef const Axis* w = &g.axis[2]
    cdef Py_ssize_t depth = g.axis[0].first + b.depth * g.axis[0].step
    cdef Py_ssize_t line = g.axis[1].first + i * g.axis[1].step
    line += (b.image * g.axis[0].out + depth) * g.axis[1].out
    return line * w.out + w.first + j * w.step


# ---- forward ----

cdef inline real weight(const Conv* g, const char* w, Py_ssize_t c, bint whole,
                        real kind) noexcept nogil:
    """Channel c of the weights of one result, or a pair of channels, which may lack its second."""
    cdef u16[2] pair
    cdef real both = 0
    if real is float:
        if g.pairs:
            pair[0] = (<const u16*>(w + 2 * c * g.w_in))[0]
            pair[1] = (<const u16*>(w + (2 * c + 1) * g.w_in))[0] if whole else 0
            memcpy(&both, pair, 4)
            return both
    return fetch[real](w + c * g.w_in, g.form, 0)


cdef void turn_weights(const Conv* g, const char* w, Py_ssize_t results, Py_ssize_t channels,
                       bint whole, real* to, Py_ssize_t apart) noexcept nogil:
    """to[c * apart + o] = w[o, c] of one tap; whole: the last pair has both of its channels."""
    cdef Py_ssize_t o = 0, c = 0, i, fours = channels // 4 * 4
    if real is float:
        if g.pairs and channels > 0 and not whole:
            fours = (channels - 1) // 4 * 4
        if g.w_in == (2 if g.pairs else 4) and (g.pairs or g.form == OWN):
            while o + 4 <= results:
                for c in range(0, fours, 4):
                    transpose4(w + o * g.w_out + c * sizeof(float), g.w_out,
                               <char*>(to + c * apart + o), apart * sizeof(float))
                for c in range(fours, channels):
                    for i in range(o, o + 4):
                        to[c * apart + i] = weight[real](g, w + i * g.w_out, c,
                                                         whole or c + 1 < channels, 0)
                o += 4
    for c in range(channels):
        for i in range(o, results):
            to[c * apart + i] = weight[real](g, w + i * g.w_out, c, whole or c + 1 < channels, 0)


cdef void pack(const Conv* g, Py_ssize_t unit, real kind) noexcept nogil:
    """Weights of one tap into panels: (panel, tap, channel, column), or (tap line, channel, tap,
    lane)."""
    cdef Py_ssize_t taps_h = g.axis[1].taps, taps_w = g.axis[2].taps
    cdef Py_ssize_t kw = unit % taps_w, kh = unit // taps_w % taps_h, kd = unit // taps_w // taps_h
    cdef Py_ssize_t taps = g.axis[0].taps * taps_h * taps_w, panel = g.vectors * g.width
    cdef Py_ssize_t inner = g.group_in if g.lanes else g.channels
    cdef Py_ssize_t p, first, columns, apart, n, c, c0, c1, j
    cdef Py_ssize_t w_step = g.w_in * (2 if g.pairs else 1)
    cdef real* to
    cdef const char* w = (
        g.w + (g.axis[0].tap + kd * g.axis[0].tap_step) * g.w_tap[0]
        + (g.axis[1].tap + kh * g.axis[1].tap_step) * g.w_tap[1]
        + (g.axis[2].tap + kw * g.axis[2].tap_step) * g.w_tap[2]
    )
    if g.lanes:
        panel = g.wide
    for p in range((g.results + panel - 1) // panel):
        first = p * panel
        columns = least(panel, g.wide - first)
        apart = columns * (taps_w if g.lanes else 1)
        n = least(panel, g.results - first)
        for c0 in range(0, inner, 64):
            c1 = least(inner, c0 + TURNED)
            to = <real*>g.packed + first * taps * inner
            if g.lanes:
                to += ((unit // taps_w * inner + c0) * taps_w + kw) * columns
            else:
                to += (unit * inner + c0) * columns
            turn_weights(g, w + first * g.w_out + c0 * w_step, n, c1 - c0,
                         c1 < inner or g.group_in % 2 == 0, to, apart)
            for c in range(c1 - c0):
                for j in range(n, columns):
                    to[c * apart + j] = 0


cdef Py_ssize_t find_runs(const Conv* g, const Block* b, Py_ssize_t i, const char* packed,
                          Py_ssize_t columns, Run* runs, real kind) noexcept nogil:
    """The runs of output line i: a pair of places for each line of taps that lies inside, and again
    for each tap or channel where these do not follow each other."""
    cdef Py_ssize_t kd, kh, part, count = 0, taps_w = g.axis[2].taps
    cdef Py_ssize_t parts = g.group_in if g.lanes else 1 if g.joined else taps_w
    cdef Py_ssize_t far = g.wide if g.lanes else g.axis[2].at_step * g.pitch
    cdef Py_ssize_t deep = taps_w * (g.group_in * g.wide if g.lanes else g.channels * columns)
    cdef const char* line
    if taps_w == 0:
        return 0
    for kd in range(g.axis[0].taps):
        for kh in range(g.axis[1].taps):
            line = line_at(g, b, kd, position(&g.axis[1], i, kh), sizeof(real))
            if line != NULL:
                for part in range(parts):
                    runs[count].a = line + part * far * sizeof(real)
                    runs[count].b = packed + part * (deep // parts) * sizeof(real)
                    count += 1
            packed += deep * sizeof(real)
    return count


cdef void forward_tile(const Conv* g, const Block* b, Py_ssize_t i, Py_ssize_t j, Py_ssize_t m,
                       Tile* t, Py_ssize_t first, Py_ssize_t columns, Py_ssize_t a_at,
                       Py_ssize_t b_at, real kind) noexcept nogil:
    """m pixels of line i from column j on, result channels first to first + columns."""
    cdef real[384] room  # elements of the largest tile
    cdef Py_ssize_t n = least(columns, g.results - first), size = g.itemsize
    cdef Py_ssize_t step = g.axis[2].step * g.y_pixel
    cdef bint apart = n < columns or g.form != OWN
    cdef char* out = g.y + (result_at(g, b, i, j) * g.y_pixel + first) * size
    t.row = columns if apart else step
    g.tile(t, <int>m, <int>(columns // g.width), a_at, b_at, <char*>room if apart else out)
    if apart:
        narrow_rows(g, room, m, columns, out, step * size, n)


cdef void dense_lines(const Conv* g, const Block* b, Tile* t, Py_ssize_t first, Py_ssize_t columns,
                      const char* packed, real kind) noexcept nogil:
    """The lines of a block, result channels first to first + columns."""
    cdef Py_ssize_t count = b.right - b.left, pieces = (count + g.rows - 1) // g.rows, i, q, j
    t.rb = columns
    for i in range(b.top, b.bottom):
        t.count = find_runs[real](g, b, i, packed, columns, <Run*>t.runs, 0)
        for q in range(pieces):
            j = q * count // pieces
            forward_tile[real](g, b, i, b.left + j, (q + 1) * count // pieces - j, t, first,
                               columns, j * t.ra, 0, 0)


cdef void lanes_tile(const Conv* g, const Block* b, Py_ssize_t i, Py_ssize_t j, Py_ssize_t m,
                     Tile* t, Py_ssize_t first, Py_ssize_t last, Py_ssize_t a_at, Py_ssize_t b_at,
                     tile_fn tile, real kind) noexcept nogil:
    """m pixels of line i from column j on, vectors of lanes first to last: some of them in a go, so
    that formats are narrowed by longer rows."""
    cdef real[ROOM] room
    cdef Py_ssize_t lane = first * g.width, end = last * g.width, wide, n, k
    cdef Py_ssize_t step = g.axis[2].step * g.y_pixel
    cdef char* out = g.y + result_at(g, b, i, j) * g.y_pixel * g.itemsize
    cdef char* to
    cdef bint apart
    while lane < end:
        wide = least(WIDEST, end - lane)
        n = least(wide, g.results - lane)
        apart = n < wide or g.form != OWN
        to = out + lane * g.itemsize
        if apart:
            to = <char*>room
        t.row = wide if apart else step
        for k in range(wide // g.width):
            tile(t, <int>m, 1, a_at + lane + k * g.width, b_at + lane + k * g.width,
                 to + k * g.width * sizeof(real))
        if apart:
            narrow_rows(g, room, m, wide, out + lane * g.itemsize, step * g.itemsize, n)
        lane += wide


cdef void lanes_edge(const Conv* g, const Block* b, Py_ssize_t i, Py_ssize_t j, Tile* t,
                     Py_ssize_t first, Py_ssize_t last, real kind) noexcept nogil:
    """Column j of line i, which taps outside the line do not reach."""
    cdef const Axis* w = &g.axis[2]
    cdef Py_ssize_t tap = 0, end = w.taps
    while tap < end and position(w, j, tap) < 0:
        tap += 1
    while end > tap and position(w, j, end - 1) >= w.size:
        end -= 1
    t.length = end - tap
    lanes_tile[real](g, b, i, j, 1, t, first, last, (j - b.left) * t.ra + tap * t.ca, tap * t.rb,
                     g.tile, 0)
    t.length = w.taps


cdef void lanes_slide(const Conv* g, const Block* b, Py_ssize_t i, Tile* t, Py_ssize_t first,
                      Py_ssize_t last, real kind) noexcept nogil:
    """Line i, which slides past the weights: whole, if its results are written where they belong.
    """
    cdef const Axis* w = &g.axis[2]
    cdef Py_ssize_t count = b.right - b.left, low = 0, high = count + w.taps - 1, j = 0, m
    cdef bint apart = g.wide != g.results or g.form != OWN
    if not b.copied:
        low = most(w.move - 1 - position(w, b.left, 0), 0) // w.move
        high = least(high, most(w.size + w.move - 1 - position(w, b.left, 0), 0) // w.move)
    while j < count:
        m = least(LONG if apart else count, count - j)
        t.first = least(most(low - j, 0), m + w.taps - 1)
        t.last = most(least(high - j, m + w.taps - 1), t.first)
        lanes_tile[real](g, b, i, b.left + j, m, t, first, last, j * t.ca, 0, g.slide, 0)
        j += m


cdef void lanes_lines(const Conv* g, const Block* b, Tile* t, Py_ssize_t first, Py_ssize_t last,
                      real kind) noexcept nogil:
    """The lines of a block, vectors of lanes first to last: these innermost, so that the pixels
    read stay in the first cache."""
    cdef const Axis* w = &g.axis[2]
    cdef Py_ssize_t left = b.left, right = b.right, pieces, i, q, j, m
    cdef bint sliding = 2 <= w.taps <= g.longest and w.move == w.at_step and right - left >= SHORT
    if not b.copied:
        while left < right and position(w, left, 0) < 0:
            left += 1
        while right > left and position(w, right - 1, w.taps - 1) >= w.size:
            right -= 1
    pieces = (right - left + g.rows - 1) // g.rows
    t.rb = g.wide
    for i in range(b.top, b.bottom):
        t.count = find_runs[real](g, b, i, g.packed, g.width, <Run*>t.runs, 0)
        if sliding and t.count > 0:
            lanes_slide[real](g, b, i, t, first, last, 0)
            continue
        for j in range(b.left, left):
            lanes_edge[real](g, b, i, j, t, first, last, 0)
        for q in range(pieces):
            j = left + q * (right - left) // pieces
            m = left + (q + 1) * (right - left) // pieces - j
            lanes_tile[real](g, b, i, j, m, t, first, last, (j - b.left) * t.ra, 0, g.tile, 0)
        for j in range(right, b.right):
            lanes_edge[real](g, b, i, j, t, first, last, 0)


cdef void forward(const Conv* g, Py_ssize_t unit, int worker, real kind) noexcept nogil:
    """One block of output pixels, and one part of the result's channels."""
    cdef Block b
    cdef Tile t
    cdef char* own = g.scratch + worker * g.worker_bytes
    cdef const Axis* w = &g.axis[2]
    cdef Py_ssize_t panel = g.vectors * g.width, panels = (g.wide + panel - 1) // panel, p
    cdef Py_ssize_t first = unit % g.splits * panels // g.splits
    cdef Py_ssize_t last = (unit % g.splits + 1) * panels // g.splits
    cdef Py_ssize_t deep = g.axis[0].taps * g.axis[1].taps * w.taps * g.channels
    locate(g, unit // g.splits, &b)
    fetch_lines[real](g, &b, own, g.lanes, 0)
    t.runs = <Run*>(own + g.line_bytes)
    t.add = False
    t.ra = w.move * g.pitch
    t.ca = w.at_step * g.pitch if g.lanes else 1
    t.length = w.taps if g.lanes else g.channels * (w.taps if g.joined else 1)
    if g.lanes:
        lanes_lines[real](g, &b, &t, first, last, 0)
        return
    for p in range(first, last):
        dense_lines[real](g, &b, &t, p * panel, least(panel, g.wide - p * panel),
                          g.packed + p * panel * deep * sizeof(real), 0)


# ---- gradient of the weights ----

cdef void copy_results(const Conv* g, const Block* b, real* to) noexcept nogil:
    """The block's pixels of the result's gradient, in the compute type, padded to whole vectors."""
    cdef Py_ssize_t i, j
    for i in range(b.top, b.bottom):
        for j in range(b.left, b.right):
            widen(g.y + result_at(g, b, i, j) * g.y_pixel * g.itemsize, g.form, to, g.results)
            to += g.y_pitch


cdef Py_ssize_t pair_runs(const Conv* g, const Block* b, Py_ssize_t kd, Py_ssize_t kh,
                          Py_ssize_t shift, const char* copies, Run* runs,
                          real kind) noexcept nogil:
    """A run for each line of the block that has an input line at this tap; shift: elements to the
    tap or channel in hand."""
    cdef Py_ssize_t i, count = 0
    cdef const char* x
    cdef const char* y
    for i in range(b.top, b.bottom):
        x = line_at(g, b, kd, position(&g.axis[1], i, kh), sizeof(real))
        if x == NULL:
            continue
        x += shift * sizeof(real)
        if g.y_copied:
            y = copies + (i - b.top) * (b.right - b.left) * g.y_pitch * sizeof(real)
        else:
            y = g.y + result_at(g, b, i, b.left) * g.y_pixel * sizeof(real)
        runs[count].a = y if g.swapped else x
        runs[count].b = x if g.swapped else y
        count += 1
    return count


cdef void gradient_tiles(const Conv* g, Tile* t, real* sums, Py_ssize_t rows,
                         Py_ssize_t split) noexcept nogil:
    """Adds all pairs of rows and columns, or those of one part of the columns."""
    cdef Py_ssize_t panel = g.vectors * g.width, panels = (t.row + panel - 1) // panel
    cdef Py_ssize_t pieces = (rows + g.rows - 1) // g.rows, p, q, columns, r, lane
    for p in range(split * panels // g.splits, (split + 1) * panels // g.splits):
        columns = least(panel, t.row - p * panel)
        lane = p * panel if g.lanes else 0
        for q in range(pieces):
            r = q * rows // pieces
            g.tile(t, <int>((q + 1) * rows // pieces - r), <int>(columns // g.width),
                   r * t.ra + lane, p * panel, <char*>(sums + r * t.row + p * panel))


cdef void gradient(const Conv* g, Py_ssize_t unit, int worker, real kind) noexcept nogil:
    """One part of the pixels, one part of the columns."""
    cdef Block b
    cdef Tile t
    cdef char* own = g.scratch + worker * g.worker_bytes
    cdef char* copies = own + g.line_bytes
    cdef Run* runs = <Run*>(own + g.worker_bytes - g.run_bytes)
    cdef const Axis* w = &g.axis[2]
    cdef Py_ssize_t split = unit % g.splits, part = unit // g.splits, s, kd, kh, k
    cdef Py_ssize_t inner = g.group_in if g.lanes else 1 if g.joined else w.taps
    cdef Py_ssize_t far = g.wide if g.lanes else w.at_step * g.pitch
    cdef Py_ssize_t length = w.taps if g.lanes else g.channels * (w.taps if g.joined else 1)
    cdef Py_ssize_t rows = g.results if g.swapped else length
    cdef Py_ssize_t first = part * g.segments // g.parts
    cdef real* sums
    t.runs = runs
    t.row = (length + g.width - 1) // g.width * g.width if g.swapped else g.wide
    t.ra = w.at_step * g.pitch if g.lanes else 1
    t.ca = g.y_pitch if g.swapped else w.move * g.pitch
    t.rb = w.move * g.pitch if g.swapped else g.y_pitch
    for s in range(first, (part + 1) * g.segments // g.parts):
        locate(g, s, &b)
        fetch_lines[real](g, &b, own, False, 0)
        if g.y_copied:
            copy_results(g, &b, <real*>copies)
        t.length = b.right - b.left
        t.add = s > first
        sums = <real*>g.packed + part * g.part_size
        for kd in range(g.axis[0].taps):
            for kh in range(g.axis[1].taps):
                for k in range(inner):
                    t.count = pair_runs[real](g, &b, kd, kh, k * far, copies, runs, 0)
                    if t.count > 0 or not t.add:
                        gradient_tiles(g, &t, sums, rows, split)
                    sums += rows * t.row


cdef void add_parts(const Conv* g, Py_ssize_t unit, real kind) noexcept nogil:
    """Adds the parts of some elements to the first part."""
    cdef Py_ssize_t first = unit * SUMMED, n = least(SUMMED, g.part_size - first), p, k
    cdef real* sums = <real*>g.packed + first
    cdef const real* part
    for p in range(1, g.parts):
        part = sums + p * g.part_size
        for k in range(n):
            sums[k] += part[k]


cdef void deliver(const Conv* g, Py_ssize_t unit, real kind) noexcept nogil:
    """One line of taps of the weights' gradient, put where it belongs."""
    cdef Py_ssize_t taps_h = g.axis[1].taps, taps_w = g.axis[2].taps
    cdef Py_ssize_t kh = unit % taps_h, kd = unit // taps_h, row, k, c, c0, o
    cdef Py_ssize_t c_step, k_step, o_step, inner = g.group_in if g.lanes else g.channels
    cdef const real* sums = <const real*>g.packed
    cdef char* to
    cdef char* w = (
        g.w + (g.axis[0].tap + kd * g.axis[0].tap_step) * g.w_tap[0]
        + (g.axis[1].tap + kh * g.axis[1].tap_step) * g.w_tap[1] + g.axis[2].tap * g.w_tap[2]
    )
    if g.swapped:  # (taps apart, result, (tap,) channel)
        row = inner * (taps_w if g.joined else 1)
        row = (row + g.width - 1) // g.width * g.width
        o_step, c_step = row, 1
        k_step = inner if g.joined else g.results * row
        sums += unit * g.results * row * (1 if g.joined else taps_w)
    else:  # (tap, channel, result), or (channel, tap, result) with lanes
        sums += unit * taps_w * inner * g.wide
        o_step = 1
        c_step = g.wide * (taps_w if g.lanes else 1)
        k_step = g.wide * (1 if g.lanes else inner)
    for k in range(taps_w):
        for c0 in range(0, inner, 16):  # few at a time: their lines stay in the first cache
            for o in range(g.results):
                to = w + o * g.w_out + k * g.axis[2].tap_step * g.w_tap[2]
                for c in range(c0, least(inner, c0 + BLOCK)):
                    put(to + c * g.w_in, g.form, sums[k * k_step + o * o_step + c * c_step])


# ---- jobs ----

cdef void pack_f32(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    pack[float](<const Conv*>arg, unit, 0)


cdef void pack_f64(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    pack[double](<const Conv*>arg, unit, 0)


cdef void forward_f32(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    forward[float](<const Conv*>arg, unit, worker, 0)


cdef void forward_f64(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    forward[double](<const Conv*>arg, unit, worker, 0)


cdef void gradient_f32(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    gradient[float](<const Conv*>arg, unit, worker, 0)


cdef void gradient_f64(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    gradient[double](<const Conv*>arg, unit, worker, 0)


cdef void add_parts_f32(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    add_parts[float](<const Conv*>arg, unit, 0)


cdef void add_parts_f64(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    add_parts[double](<const Conv*>arg, unit, 0)


cdef void deliver_f32(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    deliver[float](<const Conv*>arg, unit, 0)


cdef void deliver_f64(void* arg, Py_ssize_t unit, int worker) noexcept nogil:
    deliver[double](<const Conv*>arg, unit, 0)


def table():
    """Kernel name to address."""
    return {
        "conv_pack_f32": <size_t>&pack_f32,
        "conv_pack_f64": <size_t>&pack_f64,
        "conv_forward_f32": <size_t>&forward_f32,
        "conv_forward_f64": <size_t>&forward_f64,
        "conv_gradient_f32": <size_t>&gradient_f32,
        "conv_gradient_f64": <size_t>&gradient_f64,
        "conv_add_parts_f32": <size_t>&add_parts_f32,
        "conv_add_parts_f64": <size_t>&add_parts_f64,
        "conv_deliver_f32": <size_t>&deliver_f32,
        "conv_deliver_f64": <size_t>&deliver_f64,
    }
