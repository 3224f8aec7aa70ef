"""The Cython text that ``reduce_render`` fills in and puts together."""

HEAD = '''"""Reductions {ops}. Written by mlxc/_kernels/reduce_render.py: do not edit."""

from libc.math cimport INFINITY, NAN
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, UINT32_MAX, UINT64_MAX
from libc.string cimport memchr

from mlxc._kernels.convert cimport bf16_to_f32, f16_to_f32

cdef extern from *:
    void ask "__builtin_prefetch"(const void*, int, int) noexcept nogil

ctypedef struct c64:
    float re
    float im

ctypedef struct c128:
    double re
    double im
'''

STEP = """

cdef inline {type} {name}({type} x, {type} y) noexcept nogil:
    return {expr}
"""

# Two selects, not one with "or": the first is the processor's own maximum, and both vectorise.
STEP_NAN = """

cdef inline {type} {name}({type} x, {type} y) noexcept nogil:
    cdef {type} best = x if x {sign} y else y
    return x if x != x else best
"""

EXTERN = '\n\ncdef extern from *:\n    """\n{inline}    """\n{declared}'

# Sums of floats: lanes are added in blocks, and blocks in double.
OVER_SUM = """

cdef inline double {key}_over_{n}(
    const {T}* a, Py_ssize_t size{value_of}
) noexcept nogil:
    \"\"\"At least {n} values.\"\"\"
    cdef {V}[8] lane
    cdef {V} value
    cdef {W} total = {W}_zero()
    cdef Py_ssize_t i = 0, k, stop
    while i + 8 * {n} <= size:
        stop = size if size - i < {block} else i + {block}
        for k in range(8):
            lane[k] = {load}(a + i + k * {n}{from_row})
        i += 8 * {n}
        while i + 8 * {n} <= stop:
            for k in range(8):
                lane[k] = lane[k] + {load}(a + i + k * {n}{from_row})
            i += 8 * {n}
        value = {tree}
        total = total + {doubles}
    value = {V}_zero()
    while i + {n} <= size:
        value = value + {load}(a + i{from_row})
        i += {n}
    if i < size:
        value = value + {V}_last({load}(a + size - {n}{from_row}), size - i, 0)
    if size < 8 * {n}:
        return <double>sum_{V}_fold(value)
    return sum_{W}_fold(total + {doubles})
"""

OVER = """

cdef inline {A} {key}_over_{n}(const {T}* a, Py_ssize_t size) noexcept nogil:
    \"\"\"At least {n} values.\"\"\"
    cdef {V}[8] lane
    cdef Py_ssize_t i = {n}, k
    lane[0] = {load}(a)
    if size >= 16 * {n}:
        for k in range(1, 8):
            lane[k] = {load}(a + k * {n})
        i = 8 * {n}
        while i + 8 * {n} <= size:
            for k in range(8):
                lane[k] = {join}(lane[k], {load}(a + i + k * {n}))
            i += 8 * {n}
        lane[0] = {tree}
    while i + {n} <= size:
        lane[0] = {join}(lane[0], {load}(a + i))
        i += {n}
    if i < size:
        lane[0] = {join}(lane[0], {rest})
    return {join}_fold(lane[0])
"""

# Extrema of floats; NaNs are noted on the way, and win at the end.
OVER_ORDER = """

cdef inline {A} {key}_over_{n}(const {T}* a, Py_ssize_t size) noexcept nogil:
    \"\"\"At least {n} values.\"\"\"
    cdef {V}[8] lane
    cdef {V} value, other
    cdef {V}_flags strange
    cdef Py_ssize_t i = {n}, k
    lane[0] = {load}(a)
    strange = {V}_flag({V}_none(), lane[0], lane[0])
    if size >= 16 * {n}:
        for k in range(1, 8):
            lane[k] = {load}(a + k * {n})
            strange = {V}_flag(strange, lane[k], lane[k])
        i = 8 * {n}
        while i + 8 * {n} <= size:
            for k in range(0, 8, 2):
                value = {load}(a + i + k * {n})
                other = {load}(a + i + (k + 1) * {n})
                strange = {V}_flag(strange, value, other)
                lane[k] = {join}(lane[k], value)
                lane[k + 1] = {join}(lane[k + 1], other)
            i += 8 * {n}
        lane[0] = {tree}
    while i < size:
        value = {load}(a + (i if i + {n} <= size else size - {n}))  # the last may overlap
        strange = {V}_flag(strange, value, value)
        lane[0] = {join}(lane[0], value)
        i += {n}
    return <{A}>NAN if {V}_flagged(strange) else {join}_fold(lane[0])
"""

ROWS = """

cdef void {key}_{kind}(
    const char* a{centers}, char* out, Py_ssize_t rows, Py_ssize_t n
) noexcept nogil:
    cdef const {T}* x = <const {T}*>a
    cdef {O}* y = <{O}*>out
    cdef {A} value
    cdef Py_ssize_t r, i
    if n >= {wide_lanes}:
        for r in range(rows):
            y[r] = <{O}>{key}_over_{wide_lanes}(x + r * n, n{of_row})
    elif n >= {few_lanes}:
        for r in range(rows):
            y[r] = <{O}>{key}_over_{few_lanes}(x + r * n, n{of_row})
    else:
        for r in range(rows):
            value = {identity}
            for i in range(n):
                value = {stepA}(value, <{A}>{read})
            y[r] = <{O}>value
"""

# Complex sums are sums of floats whose lanes alternate between real and imaginary parts.
ROWS_COMPLEX_SUM = """

cdef void sum_c64_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef const float* x
    cdef float* y = <float*>out
    cdef float[{lanes}] lane
    cdef double[{fold}] total
    cdef Py_ssize_t r, i, l, k, stop, size = 2 * n
    for r in range(rows):
        x = <const float*>a + r * size
        i = 0
        for l in range({fold}):
            total[l] = 0
        while i + {lanes} <= size:
            stop = size if size - i < {block} else i + {block}
            for l in range({lanes}):
                lane[l] = x[i + l]
            i += {lanes}
            while i + {lanes} <= stop:
                for l in range({lanes}):
                    lane[l] += x[i + l]
                i += {lanes}
            for k in range(1, {vectors}):
                for l in range({fold}):
                    lane[l] += lane[k * {fold} + l]
            for l in range({fold}):
                total[l] += lane[l]
        while i + {fold} <= size:
            for l in range({fold}):
                total[l] += x[i + l]
            i += {fold}
        while i < size:
            total[0] += x[i]
            total[1] += x[i + 1]
            i += 2
        for l in range(2, {fold}, 2):
            total[0] += total[l]
            total[1] += total[l + 1]
        y[2 * r] = <float>total[0]
        y[2 * r + 1] = <float>total[1]
"""

# Columns: vectors of a few rows are joined before the accumulators are touched.
DOWN = """

cdef inline void {key}_down_{count}(
    const {T}* x{middles}, {D}* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step,
    Py_ssize_t soon
) noexcept nogil:
    \"\"\"Columns of {count} vectors, the last of which may overlap the one before it. So many of
    the next rows are asked for.\"\"\"
    cdef {V}[{count}] lane
    cdef {A}[{count} * {wide_lanes}] joined
    cdef Py_ssize_t r, k, end = n - {wide_lanes}
    for k in range({count} - 1):
        lane[k] = {load}(x + k * {wide_lanes}{from_k})
    lane[{count} - 1] = {load}(x + end{from_end})
    for r in range(1, rows):
        if r <= soon:
            for k in range({lines}):
                ask(<const char*>(x + {down} * step) + 64 * k, 0, 2)    # second level
        x += step
        for k in range({count} - 1):
            lane[k] = {join}(lane[k], {load}(x + k * {wide_lanes}{from_k}))
        lane[{count} - 1] = {join}(lane[{count} - 1], {load}(x + end{from_end}))
    for k in range({count} - 1):
        {V}_store(joined + k * {wide_lanes}, lane[k])
    {V}_store(joined + end, lane[{count} - 1])
    for k in range(n):
        acc[k] = {stepD}(acc[k], <{D}>joined[k])
"""

TALL = """

cdef inline void {key}_piece(
    const {T}* x{middles}, {D}* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step,
    Py_ssize_t soon
) noexcept nogil:
    cdef Py_ssize_t count = (n + {wide_lanes} - 1) // {wide_lanes}, r, i
    if n < {wide_lanes}:
        for r in range(rows):
            for i in range(n):
                acc[i] = {stepD}(acc[i], <{D}>{read_row})
{choices}

cdef void {key}_tall(
    const {T}* x{middles}, {D}* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef Py_ssize_t r, j, width, count, soon
    for r in range(0, rows, {down}):
        count = rows - r if rows - r < {down} else {down}
        soon = rows - r - count if rows - r - count < {down} else {down}
        if step <= {wide}:
            soon = 0     # rows that lie side by side come unasked
        j = 0
        while j < n:
            width = n - j if n - j < {wide} else {wide}
            if 0 < n - j - width < {wide_lanes}:
                width -= {wide_lanes}    # so that what is left fills a vector
            {key}_piece(x + r * step + j{of_j}, acc + j, count, width, step, soon)
            j += width
"""

# Narrow columns are widened by taking several rows as one, of whole vectors if that can be.
COLS = """

cdef void {key}_cols(
    const char* a{centers}, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const {T}* x = <const {T}*>a
    cdef {D}* y = <{D}*>acc
    cdef {D}[{wide}] buffer
{near}    cdef Py_ssize_t j, k, many
    if 0 < 2 * n <= {wide} and rows >= 64 and step == n:
        many = {wide} // n
        while many > 1 and many * n % {wide_lanes}:
            many -= 1
        if many == 1:
            many = {wide} // n
        for j in range(many * n):
            buffer[j] = {identity}
{bring_near}        {key}_tall(x{of_near}, buffer, rows // many, many * n, many * n)
        for k in range(many):
            for j in range(n):
                y[j] = {stepD}(y[j], buffer[k * n + j])
        x += rows // many * many * n
        rows %= many
    {key}_tall(x{of_all}, y, rows, n, step)
"""

# Columns of a few rows: nothing but registers stands between what is read and the results.
SIDE = """

cdef inline void {key}_side_{count}(
    const {T}* x, {A}* out, Py_ssize_t rows, Py_ssize_t step
) noexcept nogil:
    cdef {V}[{count}] lane
    cdef Py_ssize_t r, k
    for k in range({lines}):
        ask(<const char*>x + {ahead} + 64 * k, 0, 2)
    for k in range({count}):
        lane[k] = {load}(x + k * {wide_lanes})
    for r in range(1, rows):
        x += step
        for k in range({lines}):
            ask(<const char*>x + {ahead} + 64 * k, 0, 2)
        for k in range({count}):
            lane[k] = {join}(lane[k], {load}(x + k * {wide_lanes}))
    for k in range({count}):
        {V}_store(out + k * {wide_lanes}, lane[k])
"""

FEW = """

cdef void {key}_few(
    const char* a, char* out, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    \"\"\"At least a row.\"\"\"
    cdef const {T}* x = <const {T}*>a
    cdef {A}* y = <{A}*>out
    cdef Py_ssize_t i = 0, r
    while i + 4 * {wide_lanes} <= n:
        {key}_side_4(x + i, y + i, rows, step)
        i += 4 * {wide_lanes}
    while i + {wide_lanes} <= n:
        {key}_side_1(x + i, y + i, rows, step)
        i += {wide_lanes}
    if i < n and n >= {wide_lanes}:
        {key}_side_1(x + n - {wide_lanes}, y + n - {wide_lanes}, rows, step)
        i = n
    while i < n:
        y[i] = {identity}
        for r in range(rows):
            y[i] = {stepA}(y[i], <{A}>{read_row})
        i += 1
"""

COLS_COMPLEX_SUM = """

cdef void sum_c64_cols(
    const char* a, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const float* x = <const float*>a
    cdef float* y = <float*>acc
    cdef double[{wide}] buffer
    cdef Py_ssize_t r, start, j, k, size, many, width = 2 * n
    if 0 < width <= {narrow} and rows >= 64 and step == n:
        many = {wide} // width
        size = many * width
        for j in range(size):
            buffer[j] = 0
        for r in range(rows // many):
            for j in range(size):
                buffer[j] += x[r * size + j]
        for j in range(width):
            for k in range(1, many):
                buffer[j] += buffer[k * width + j]
            y[j] += <float>buffer[j]
        x += rows // many * size
        rows %= many
    for start in range(0, width, {wide}):
        size = width - start if width - start < {wide} else {wide}
        for j in range(size):
            buffer[j] = y[start + j]
        for r in range(rows):
            for j in range(size):
                buffer[j] += x[2 * r * step + start + j]
        for j in range(size):
            y[start + j] = <float>buffer[j]
"""

PROD_COMPLEX = """

cdef inline c128 times(c128 x, c64 y) noexcept nogil:
    cdef c128 out
    out.re = x.re * y.re - x.im * y.im
    out.im = x.re * y.im + x.im * y.re
    return out


cdef void prod_c64_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64* y = <c64*>out
    cdef c128 total
    cdef Py_ssize_t r, i
    for r in range(rows):
        total.re = 1
        total.im = 0
        for i in range(n):
            total = times(total, x[r * n + i])
        y[r].re = <float>total.re
        y[r].im = <float>total.im


cdef void prod_c64_cols(
    const char* a, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64* y = <c64*>acc
    cdef c128 total
    cdef Py_ssize_t r, j
    for j in range(n):
        total.re = y[j].re
        total.im = y[j].im
        for r in range(rows):
            total = times(total, x[r * step + j])
        y[j].re = <float>total.re
        y[j].im = <float>total.im
"""

ORDER_COMPLEX = """

cdef inline c64 {op}_c64_step(c64 x, c64 y) noexcept nogil:
    if (y.re != y.re) or (y.im != y.im):
        return y
    if (x.re != x.re) or (x.im != x.im):
        return x
    return x if (x.re {sign} y.re) or (x.re == y.re and x.im {sign} y.im) else y


cdef void {op}_c64_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64 best
    cdef Py_ssize_t r, i
    for r in range(rows):
        best.re = best.im = {worst}
        for i in range(n):
            best = {op}_c64_step(x[r * n + i], best)
        (<c64*>out)[r] = best


cdef void {op}_c64_cols(
    const char* a, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64* y = <c64*>acc
    cdef Py_ssize_t r, j
    for r in range(rows):
        for j in range(n):
            y[j] = {op}_c64_step(x[r * step + j], y[j])
"""

# The search for a deciding byte stops at the first one.
LOGICAL = """

cdef void {op}_b8_rows(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t r, i
    cdef char value
    if n <= 16:
        for r in range(rows):
            value = {identity}
            for i in range(n):
                value = value {sign} a[r * n + i]
            out[r] = value
    else:
        for r in range(rows):
            out[r] = memchr(a + r * n, {decides}, n) {test} NULL
"""
