"""Prints the loops of the sort family: sorting, selecting, arg-extrema and binary search.

Standard library only: ``setup.py`` runs it. Rules the loops keep:

* Values are sorted as unsigned keys in the same order (``map_*`` and back by ``unmap_*``): 32 bits
  for dtypes of up to 32 bits, 64 for the others. NaN comes last. Complex numbers go by ``rank_*``.
* Places are sorted as ``rank_*`` prints them, key above index in one number of twice the size. No
  two are equal, so every method is stable. There -0 equals 0.
* Lines of a size are sorted together, one a lane, by a network of exchanges (Batcher 1968), which
  takes any length. Alone, short rows are merged from small sorted runs and long ones counted digit
  by digit (LSD radix, digits that all keys share are skipped); selection is a quickselect that
  gives up in favour of sorting.
* The first NaN wins argmax and argmin; of equal values the first.
"""

from mlxc._kernels.reduce_render import ORDERED, Loops, preamble
from mlxc._kernels.vector_templates import C_TYPE

# Stored dtype's short name: the unsigned type of the same bits, bits, kind of number.
STORED = {
    "b8": ("uint8_t", 8, "u"),
    "u8": ("uint8_t", 8, "u"),
    "u16": ("uint16_t", 16, "u"),
    "u32": ("uint32_t", 32, "u"),
    "u64": ("uint64_t", 64, "u"),
    "i8": ("uint8_t", 8, "i"),
    "i16": ("uint16_t", 16, "i"),
    "i32": ("uint32_t", 32, "i"),
    "i64": ("uint64_t", 64, "i"),
    "f16": ("uint16_t", 16, "f"),
    "f32": ("uint32_t", 32, "f"),
    "f64": ("uint64_t", 64, "f"),
    "bf16": ("uint16_t", 16, "f"),
    "c64": ("uint64_t", 64, "c"),
}
INFINITE = {"f16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000, "f64": 0x7FF0000000000000}
KEYS = {4: "uint32_t", 8: "uint64_t", 16: "u128"}
RADIX_FROM = {4: 256, 8: 512, 16: 1024}  # shorter rows are merged
SMALL = {4: 32, 8: 32, 16: 16}  # from runs of so many
ARG_BLOCK = 512  # values of which an extremum is found before it is looked for
SAMPLED = 1024  # values from which on a sample chooses the pivot
LINE = 64  # bytes of a cache line: the lanes of a network
BLOCK = 1 << 18  # elements between looks for Ctrl-C

HEAD_SORT = '''"""Sorting by keys. Written by mlxc/_kernels/sort_render.py: do not edit."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from mlxc._threads.pool cimport interrupted

cdef extern from *:
    """
    typedef unsigned __int128 mlxc_u128;
    """
    ctypedef unsigned long long u128 "mlxc_u128"
'''

KEY_UNSIGNED = """

cdef inline {K} {t}_key({U} b) noexcept nogil:
    return b


cdef inline {U} {t}_bits({K} key) noexcept nogil:
    return <{U}>key


cdef inline {K} {t}_rank({U} b) noexcept nogil:
    return b
"""

KEY_SIGNED = """

cdef inline {K} {t}_key({U} b) noexcept nogil:
    return <{U}>(b ^ <{U}>{sign})


cdef inline {U} {t}_bits({K} key) noexcept nogil:
    return <{U}>(key ^ <{U}>{sign})


cdef inline {K} {t}_rank({U} b) noexcept nogil:
    return {t}_key(b)
"""

# Negative floats order backwards by their bits, and every NaN becomes the largest key.
KEY_FLOAT = """

cdef inline {K} {t}_key({U} b) noexcept nogil:
    cdef {U} key = <{U}>~b if b & <{U}>{sign} else <{U}>(b | <{U}>{sign})
    return <{U}>{ones} if <{U}>(b & <{U}>{size}) > <{U}>{infinite} else key


cdef inline {U} {t}_bits({K} key) noexcept nogil:
    return <{U}>(key ^ <{U}>{sign}) if key & <{U}>{sign} else <{U}>~key


cdef inline {K} {t}_rank({U} b) noexcept nogil:
    return {t}_key(<{U}>0 if b == <{U}>{sign} else b)
"""

# The upper word says which part is NaN, if any; keys of numbers stay below these three.
KEY_COMPLEX = """

cdef enum:
    NAN_IM = 0xFFFFFFFD
    NAN_RE = 0xFFFFFFFE
    NAN_BOTH = 0xFFFFFFFF


cdef inline uint64_t c64_join(uint32_t re, uint32_t im) noexcept nogil:
    if re == <uint32_t>0xFFFFFFFF:
        if im == <uint32_t>0xFFFFFFFF:
            return (<uint64_t>NAN_BOTH << 32) | im
        return (<uint64_t>NAN_RE << 32) | im
    if im == <uint32_t>0xFFFFFFFF:
        return (<uint64_t>NAN_IM << 32) | re
    return (<uint64_t>re << 32) | im


cdef inline uint64_t c64_rank(uint64_t b) noexcept nogil:
    return c64_join(f32_rank(<uint32_t>b), f32_rank(<uint32_t>(b >> 32)))
"""

MAPS = """

cdef void map_{t}(const char* a, Py_ssize_t stride, char* keys, Py_ssize_t n) noexcept nogil:
    cdef {K}* out = <{K}*>keys
    cdef Py_ssize_t i
    if stride == {bytes}:
        for i in range(n):
            out[i] = {t}_key((<const {U}*>a)[i])
    else:
        for i in range(n):
            out[i] = {t}_key((<const {U}*>(a + i * stride))[0])


cdef void unmap_{t}(const char* keys, char* a, Py_ssize_t stride, Py_ssize_t n) noexcept nogil:
    cdef const {K}* key = <const {K}*>keys
    cdef Py_ssize_t i
    if stride == {bytes}:
        for i in range(n):
            (<{U}*>a)[i] = {t}_bits(key[i])
    else:
        for i in range(n):
            (<{U}*>(a + i * stride))[0] = {t}_bits(key[i])
"""

RANKS = """

cdef void rank_{t}(const char* a, Py_ssize_t stride, char* keys, Py_ssize_t n) noexcept nogil:
    cdef {P}* out = <{P}*>keys
    cdef Py_ssize_t i
    if stride == {bytes}:
        for i in range(n):
            out[i] = (<{P}>{t}_rank((<const {U}*>a)[i]) << {half}) | <uint32_t>i
    else:
        for i in range(n):
            out[i] = (<{P}>{t}_rank((<const {U}*>(a + i * stride))[0]) << {half}) | <uint32_t>i
"""

# Where ranked values stood, and the values themselves fetched from there.
PLACES = """

cdef void places_{size}(
    const char* keys, char* out, Py_ssize_t stride, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        (<uint32_t*>(out + i * stride))[0] = <uint32_t>(<const {P}*>keys)[i]
"""

FETCH = """

cdef void fetch_{bytes}_{size}(
    const char* a, Py_ssize_t stride, const char* keys, char* out, Py_ssize_t out_stride,
    Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        (<{U}*>(out + i * out_stride))[0] = (
            <const {U}*>(a + <Py_ssize_t><uint32_t>(<const {P}*>keys)[i] * stride)
        )[0]
"""

# Every value counts those before it: no branch to mispredict, and all of them count at once.
SMALL_RANKED = """

cdef void small_{size}({K}* x, Py_ssize_t n) noexcept nogil:
    cdef {K}[32] value
    cdef {K}[32] place
    cdef {K} other
    cdef Py_ssize_t i, j
    for i in range(32):
        value[i] = x[i] if i < n else <{K}>0
        place[i] = 0
    for j in range(n):
        other = value[j]
        for i in range(32):
            place[i] += (other < value[i]) | ((other == value[i]) & (<{K}>j < <{K}>i))
    for i in range(n):
        x[place[i]] = value[i]
"""

SMALL_INSERTED = """

cdef void small_{size}({K}* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef {K} value
    for i in range(1, n):
        value = x[i]
        j = i
        while j > 0 and value < x[j - 1]:
            x[j] = x[j - 1]
            j -= 1
        x[j] = value
"""

SORT = """

cdef void merge_{size}(
    const {K}* x, const {K}* y, {K}* out, Py_ssize_t nx, Py_ssize_t ny
) noexcept nogil:
    cdef Py_ssize_t i = 0, j = 0, take
    cdef {K} a, b
    while i < nx and j < ny:
        a = x[i]
        b = y[j]
        take = b < a
        out[i + j] = b if take else a
        j += take
        i += 1 - take
    memcpy(out + i + j, x + i, (nx - i) * sizeof({K}))
    memcpy(out + nx + j, y + j, (ny - j) * sizeof({K}))


cdef void merge_runs_{size}({K}* keys, {K}* other, Py_ssize_t n) noexcept nogil:
    cdef {K}* x = keys
    cdef {K}* y = other
    cdef Py_ssize_t i, run = {small}, left, right
    for i in range(0, n, {small}):
        small_{size}(x + i, min(run, n - i))
    while run < n:
        i = 0
        while i < n:
            left = min(run, n - i)
            right = min(run, n - i - left)
            merge_{size}(x + i, x + i + left, y + i, left, right)
            i += 2 * run
        x, y = y, x
        run *= 2
    if x != keys:
        memcpy(keys, x, n * sizeof({K}))


cdef void radix_{size}({K}* keys, {K}* other, Py_ssize_t n, int low) noexcept nogil:
    cdef Py_ssize_t[{size}][256] counts
    cdef Py_ssize_t* count
    cdef {K}* x = keys
    cdef {K}* y = other
    cdef {K} value
    cdef Py_ssize_t i, at, total, start
    cdef int digit, k
    memset(counts, 0, sizeof(counts))
    for start in range(0, n, {block}):
        if start and interrupted():
            return
        for i in range(start, min(start + {block}, n)):
            value = x[i] >> (8 * low)
            for digit in range({size} - low):
                counts[digit][<uint8_t>(value >> (8 * digit))] += 1
    for digit in range({size} - low):
        count = counts[digit]
        if count[<uint8_t>(x[0] >> (8 * (low + digit)))] == n:
            continue
        total = 0
        for k in range(256):
            at = count[k]
            count[k] = total
            total += at
        for start in range(0, n, {block}):
            if start and interrupted():
                return
            for i in range(start, min(start + {block}, n)):
                value = x[i]
                k = <uint8_t>(value >> (8 * (low + digit)))
                y[count[k]] = value
                count[k] += 1
        x, y = y, x
    if x != keys:
        for start in range(0, n, {block}):
            if start and interrupted():
                return
            memcpy(keys + start, x + start, min(<Py_ssize_t>{block}, n - start) * sizeof({K}))


cdef void sort_{size}(char* keys, char* other, Py_ssize_t n, int low) noexcept nogil:
    if n <= {small}:
        small_{size}(<{K}*>keys, n)
    elif n < {radix_from}:
        merge_runs_{size}(<{K}*>keys, <{K}*>other, n)
    else:
        radix_{size}(<{K}*>keys, <{K}*>other, n, low)
"""

# Knuth, volume 3, 5.2.2, algorithm M: sorts n keys, here n rows of a cache line of keys each.
NETWORK = """

cdef inline void exchange_{size}({K}* a, {K}* b) noexcept nogil:
    cdef {K}[{lanes}] x
    cdef {K}[{lanes}] y
    cdef Py_ssize_t l
    for l in range({lanes}):  # all is read before anything is written: a and b might overlap
        x[l] = a[l]
        y[l] = b[l]
    for l in range({lanes}):
        a[l] = x[l] if x[l] < y[l] else y[l]
    for l in range({lanes}):
        b[l] = y[l] if x[l] < y[l] else x[l]


cdef void network_{size}(char* keys, Py_ssize_t n) noexcept nogil:
    cdef {K}* x = <{K}*>keys
    cdef Py_ssize_t top = 1, p, q, r, d, i
    while 2 * top < n:
        top *= 2
    p = top if n > 1 else 0
    while p > 0:
        q, r, d = top, 0, p
        while True:
            while r + d < n:  # runs of p rows, p apart
                for i in range(r, min(r + p, n - d)):
                    exchange_{size}(x + i * {lanes}, x + (i + d) * {lanes})
                r += 2 * p
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
"""

# Keys are distinct. Lomuto's partition without a branch: random keys make branches cost more.
# A long range is cut just beside the place wanted, as a sample tells it, so that little is left
# (Floyd and Rivest 1975). A pivot has one below it: every round takes something away.
SELECT = """

cdef inline {K} middle_{size}({K} a, {K} b, {K} c) noexcept nogil:
    if a < b:
        return b if b < c else (c if a < c else a)
    return a if a < c else (c if b < c else b)


cdef void select_{size}(char* keys, char* other, Py_ssize_t n, Py_ssize_t kth) noexcept nogil:
    cdef {K}* x = <{K}*>keys
    cdef {K}[{small}] sample
    cdef {K} pivot, value
    cdef Py_ssize_t low = 0, high = n, i, j, size, start
    cdef int patience = 64
    while high - low > {small}:
        patience -= 1
        size = high - low
        if patience == 0:
            sort_{size}(<char*>(x + low), other, size, {half_bytes})
            return
        if size < {sampled}:
            pivot = middle_{size}(x[low + size // 4], x[low + size // 2], x[low + size // 4 * 3])
        else:
            for i in range({small}):
                sample[i] = x[low + size // {small} * i]
            small_{size}(sample, {small})
            i = (kth - low) * {small} // size
            pivot = sample[max(<Py_ssize_t>1, i - 1) if 2 * i >= {small} else i + 2]
        j = low
        for start in range(low, high, {block}):
            if start > low and interrupted():
                return
            for i in range(start, min(start + {block}, high)):
                value = x[i]
                x[i] = x[j]
                x[j] = value
                j += value < pivot
        # Everything below the pivot stands before j; the pivot itself does not yet stand at j.
        if kth < j:
            high = j
        else:
            low = j
    small_{size}(x + low, high - low)
"""

HEAD_SEARCH = '''"""Places of extrema and values.

Written by mlxc/_kernels/sort_render.py: do not edit.
"""

from libc.math cimport INFINITY, NAN
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, UINT32_MAX, UINT64_MAX

from mlxc._kernels.convert cimport bf16_to_f32, f16_to_f32
from mlxc._kernels.types cimport c64


cdef inline bint c64_nan(c64 x) noexcept nogil:
    return (x.re != x.re) or (x.im != x.im)


cdef inline bint c64_less(c64 x, c64 y) noexcept nogil:
    """Among numbers only, by real part and then by imaginary part."""
    return x.re < y.re or (x.re == y.re and x.im < y.im)


cdef inline int c64_class(c64 x) noexcept nogil:
    return 2 * (x.re != x.re) + (x.im != x.im)


cdef inline bint c64_before(c64 x, c64 y) noexcept nogil:
    """As sorting orders them: R + Rj, R + NaNj, NaN + Rj, NaN + NaNj."""
    cdef int p = c64_class(x)
    cdef int q = c64_class(y)
    if p != q or p == 3:
        return p < q
    if p == 1:
        return x.re < y.re
    if p == 2:
        return x.im < y.im
    return c64_less(x, y)
'''

# Lines: extrema of blocks, by the loops of reductions, then a search in the best one.
ARG_REAL = """

cdef inline {V} {op}_{t}_best({V} x, {V} y) noexcept nogil:
    {best}


cdef inline bint {op}_{t}_hit({R} x, {R} best) noexcept nogil:
    return {hit}


cdef Py_ssize_t {op}_{t}_line(const {T}* x, Py_ssize_t n) noexcept nogil:
    cdef {R} best, value
    cdef Py_ssize_t i, l, start = 0, found = 0
    cdef int32_t place = 32
    cdef bint better
    if n < {few}:
        best = {load_first}
        for i in range(1, n):
            best = {op}_{t}_best({load_i}, best)
        for i in range(n - 1, -1, -1):  # an index moves without a branch, a float does not
            better = {op}_{t}_hit({load_i}, best)
            found = i if better else found
        return found
    {rows}(<const char*>x, <char*>&best, 1, min(<Py_ssize_t>{block}, n))
    while start + {block} < n{numbers}:
        start += {block}
        {rows}(<const char*>(x + start), <char*>&value, 1, min(<Py_ssize_t>{block}, n - start))
        if {wins}:
            best = value
            found = start
    i = found
    while i + 32 <= n:
        better = False
        for l in range(32):
            better |= {op}_{t}_hit({load_block}, best)
        if better:
            break
        i += 32
    if n < 32:
        while not {op}_{t}_hit({load_i}, best):
            i += 1
        return i
    i = min(i, n - 32)  # what is looked through twice does not hold it
    for l in range(32):
        place = min(place, <int32_t>l if {op}_{t}_hit({load_block}, best) else 32)
    return i + place


cdef void {op}_{t}(
    const char* a, uint32_t* out, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef const {T}* x = <const {T}*>a
    cdef {V}[128] best
    cdef uint32_t[128] found
    cdef {V} value, old
    cdef bint better
    cdef Py_ssize_t i, j, width
    if inner == 1:
        out[0] = <uint32_t>{op}_{t}_line(x, n)
        return
    while start < stop:
        width = min(<Py_ssize_t>128, stop - start)
        x = <const {T}*>a + start
        for j in range(width):
            best[j] = {load_j}
            found[j] = 0
        for i in range(1, n):
            x += inner
            for j in range(width):
                value = {load_j}
                old = best[j]
                better = {wins_column}
                best[j] = value if better else old
                found[j] = <uint32_t>i if better else found[j]
        for j in range(width):
            out[start + j] = found[j]
        start += width
"""

ARG_COMPLEX = """

cdef void {op}_c64(
    const char* a, uint32_t* out, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef const c64* x = <const c64*>a
    cdef c64 best, value
    cdef Py_ssize_t i, j, found
    for j in range(start, stop):
        best = x[j]
        found = 0
        for i in range(1, n):
            if c64_nan(best):
                break
            value = x[i * inner + j]
            if c64_nan(value) or {better}:
                best = value
                found = i
        out[j] = <uint32_t>found
"""

# The number of elements before a value (left), or before and equal to it (right).
SEARCH = """

cdef void searchsorted_{t}(
    const char* a, Py_ssize_t n, const char* values, uint32_t* out, Py_ssize_t count, bint right
) noexcept nogil:
    cdef const {T}* x = <const {T}*>a
    cdef {V} value, other
    cdef Py_ssize_t k, low, length, half
    cdef bint below
    for k in range(count):
        value = {load_value}
        low = 0
        length = n
        while length > 0:
            half = length >> 1
            other = {load_other}
            below = (not ({value_before})) if right else ({other_before})
            low = low + half + 1 if below else low
            length = length - half - 1 if below else half
        out[k] = <uint32_t>low
"""

# Stored dtype's short name: C type stored and compared in.
VALUES = {
    "b8": ("uint8_t", "uint8_t"),
    "u8": ("uint8_t", "uint8_t"),
    "u16": ("uint16_t", "uint16_t"),
    "u32": ("uint32_t", "uint32_t"),
    "u64": ("uint64_t", "uint64_t"),
    "i8": ("signed char", "signed char"),
    "i16": ("short", "short"),
    "i32": ("int32_t", "int32_t"),
    "i64": ("int64_t", "int64_t"),
    "f16": ("uint16_t", "float"),
    "f32": ("float", "float"),
    "f64": ("double", "double"),
    "bf16": ("uint16_t", "float"),
    "c64": ("c64", "c64"),
}


def _hex(bits):
    return f"{bits:#x}" + ("ULL" if bits > 0xFFFFFFFF else "U")


def _maps(t):
    """Keys of one stored dtype, and the names of its functions."""
    unsigned, bits, kind = STORED[t]
    key = 8 if bits == 64 else 4
    words = {
        "t": t,
        "U": unsigned,
        "bytes": bits // 8,
        "K": KEYS[key],
        "P": KEYS[2 * key],
        "half": 8 * key,
        "sign": _hex(1 << (bits - 1)),
        "size": _hex((1 << (bits - 1)) - 1),
        "ones": _hex((1 << bits) - 1),
        "infinite": _hex(INFINITE.get(t, 0)),
    }
    keys = {"u": KEY_UNSIGNED, "i": KEY_SIGNED, "f": KEY_FLOAT, "c": KEY_COMPLEX}[kind]
    if kind == "c":  # no key keeps the sign of a real part of zero and orders it as zero
        return keys + RANKS.format(**words), [f"rank_{t}"]
    text = keys.format(**words) + MAPS.format(**words) + RANKS.format(**words)
    return text, [f"map_{t}", f"unmap_{t}", f"rank_{t}"]


def _render_sort():
    """Keys, sorting, selecting."""
    parts, names = [HEAD_SORT], []
    for t in STORED:
        text, found = _maps(t)
        parts.append(text)
        names += found
    for size, key in KEYS.items():
        words = {"size": size, "K": key, "radix_from": RADIX_FROM[size], "small": SMALL[size]}
        words["block"] = BLOCK
        parts.append((SMALL_RANKED if size < 16 else SMALL_INSERTED).format(**words))
        parts.append(SORT.format(**words))
        names.append(f"sort_{size}")
    for size in (4, 8):
        parts.append(NETWORK.format(size=size, K=KEYS[size], lanes=LINE // size))
        names.append(f"network_{size}")
    for size in (8, 16):
        parts.append(
            SELECT.format(
                size=size,
                K=KEYS[size],
                half_bytes=size // 2,
                small=SMALL[size],
                sampled=SAMPLED,
                block=BLOCK,
            )
        )
        parts.append(PLACES.format(size=size, P=KEYS[size]))
        names += [f"select_{size}", f"places_{size}"]
        for width, unsigned in ((1, "uint8_t"), (2, "uint16_t"), (4, "uint32_t"), (8, "uint64_t")):
            if (width == 8) == (size == 16):
                parts.append(FETCH.format(bytes=width, size=size, U=unsigned, P=KEYS[size]))
                names.append(f"fetch_{width}_{size}")
    return parts, names


def _arg(op, t, loops):
    """argmax or argmin of one stored dtype; loops: of the extrema of rows."""
    if t == "c64":
        better = "c64_less(best, value)" if op == "argmax" else "c64_less(value, best)"
        return ARG_COMPLEX.format(op=op, better=better)
    stored, value = VALUES[t]
    sign = ">" if op == "argmax" else "<"
    best, wins, column = f"return x if x {sign} y else y", f"value {sign} best", f"value {sign} old"
    if value in ("float", "double"):
        best = f"cdef {value} best = x if x {sign} y else y\n    return x if x != x else best"
        wins = f"{wins} or (value != value and best == best)"
        column = f"({column}) | ((value != value) & (old == old))"
    load = t + "_to_f32({})" if t in ("f16", "bf16") else "{}"
    numbers, hit = "", "x == best"
    if value in ("float", "double"):
        numbers = " and best == best"
        hit = "(x == best) | ((x != x) & (best != best))"
    return ARG_REAL.format(
        numbers=numbers,
        rows=f"{loops.key}_rows",
        few=loops.few,
        R=C_TYPE[loops.row],
        block=ARG_BLOCK,
        hit=hit,
        op=op,
        t=t,
        T=stored,
        V=value,
        best=best,
        wins=wins,
        wins_column=column,
        load_first=load.format("x[0]"),
        load_i=load.format("x[i]"),
        load_block=load.format("x[i + l]"),
        load_j=load.format("x[j]"),
    )


def _search(t):
    """searchsorted of one stored dtype."""
    stored, value = VALUES[t]
    if t == "c64":
        value_before, other_before = "c64_before(value, other)", "c64_before(other, value)"
    else:
        value_before, other_before = "value < other", "other < value"
        if value in ("float", "double"):
            value_before += " or (other != other and value == value)"
            other_before += " or (value != value and other == other)"
    load = t + "_to_f32({})" if t in ("f16", "bf16") else "{}"
    return SEARCH.format(
        t=t,
        T=stored,
        V=value,
        value_before=value_before,
        other_before=other_before,
        load_value=load.format(f"(<const {stored}*>values)[k]"),
        load_other=load.format("x[low + half]"),
    )


def _render_search(isa):
    """argmax, argmin, searchsorted."""
    extrema = {(op, t): Loops(op, t, isa) for op in ("max", "min") for t in VALUES if t in ORDERED}
    parts, names = [HEAD_SEARCH, preamble(list(extrema.values()))], []
    parts += [loops.rows() for loops in extrema.values()]
    for t in VALUES:
        for op in ("max", "min"):
            parts.append(_arg("arg" + op, t, extrema.get((op, "u8" if t == "b8" else t))))
        parts.append(_search(t))
        names += [f"argmax_{t}", f"argmin_{t}", f"searchsorted_{t}"]
    return parts, names


def render(isa):
    """Cython sources of the sort family, by module name."""
    sources = {}
    for module, (parts, names) in (("sort", _render_sort()), ("sort_search", _render_search(isa))):
        entries = "".join(f'        "{name}": <size_t>&{name},\n' for name in names)
        parts.append(
            "\n\ndef table():\n"
            '    """Addresses of the kernels, by name."""\n'
            f"    return {{\n{entries}    }}\n"
        )
        sources[module] = "".join(parts)
    return sources
