"""Prints C functions on vectors of one instruction set, which Cython loops call.

Standard library only: renderers run while ``setup.py`` does. A vector of n values of a type t is
named ``{t}x{n}`` and may be read from any address. Rules:

* Written with vectors of the compiler wherever that gives the processor's own instruction; where it
  does not (maxima, half floats), with intrinsics, and plainly for sets that have none.
* What joins two numbers says nothing of NaNs: ``flag`` notes them aside, two vectors at a time.
* Functions here give a pair: the text in C, and its declarations for Cython.
"""

VECTOR_BYTES = {"v2": 16, "v3": 32, "v4": 64, "arm64": 16}
NARROWEST = 16  # bytes of the vectors that short rows are read by

C_TYPE = {
    "i8": "signed char",
    "u8": "unsigned char",
    "i16": "short",
    "u16": "unsigned short",
    "i32": "int32_t",
    "u32": "uint32_t",
    "i64": "int64_t",
    "u64": "uint64_t",
    "f32": "float",
    "f64": "double",
}
SIZE = {t: int(t[1:]) // 8 for t in C_TYPE}
HALF = ("f16", "bf16")

HEAD = """\
    #include <stdint.h>
    #if defined(__x86_64__)
    #include <immintrin.h>
    #elif defined(__aarch64__)
    #include <arm_neon.h>
    #endif
"""

TYPE = """\
    typedef {C} {V} __attribute__((vector_size({bytes}), aligned({size}), may_alias));
"""

ACCESS = """\
    static inline {V} {V}_zero(void) {{ {V} x = {{0}}; return x; }}
    static inline {V} {V}_load(const {C} *a) {{ return *(const {V} *)a; }}
    static inline void {V}_store({C} *a, {V} x) {{ *({V} *)a = x; }}
"""

# Only the last values of a vector; what stands before them becomes `other`.
LAST = """\
    static const {I} {V}_after[2 * {n}] = {{{after}}};
    static inline {V} {V}_last({V} x, Py_ssize_t count, {C} other) {{
        i{bits}x{n} keep = *(const i{bits}x{n} *)({V}_after + count);
        {V} rest = other - ({V}){{0}};
        return ({V})((keep & (i{bits}x{n})x) | (~keep & (i{bits}x{n})rest));
    }}
"""

FLAG_MASKS = """\
    typedef unsigned {V}_flags;
    static inline {V}_flags {V}_none(void) {{ return 0; }}
    static inline {V}_flags {V}_flag({V}_flags f, {V} x, {V} y) {{
        return f | {prefix}_cmp_{suffix}_mask(({R})x, ({R})y, _CMP_UNORD_Q);
    }}
    static inline int {V}_flagged({V}_flags f) {{ return f != 0; }}
"""
FLAG_X86 = """\
    typedef {V} {V}_flags;
    static inline {V}_flags {V}_none(void) {{ return {V}_zero(); }}
    static inline {V}_flags {V}_flag({V}_flags f, {V} x, {V} y) {{
        return ({V}){prefix}_or_{suffix}(({R})f, {unordered});
    }}
    static inline int {V}_flagged({V}_flags f) {{ return {prefix}_movemask_{suffix}(({R})f); }}
"""
FLAG_PLAIN = """\
    typedef i{bits}x{n} {V}_flags;
    static inline {V}_flags {V}_none(void) {{ return i{bits}x{n}_zero(); }}
    static inline {V}_flags {V}_flag({V}_flags f, {V} x, {V} y) {{
        return f | (x != x) | (y != y);
    }}
    static inline int {V}_flagged({V}_flags f) {{
        int found = 0;
        for (int k = 0; k < {n}; k++) found |= f[k] != 0;
        return found;
    }}
"""

JOIN = """\
    static inline {V} {op}_{V}({V} x, {V} y) {{ return {expr}; }}
"""
JOIN_SELECTED = """\
    static inline {V} {op}_{V}({V} x, {V} y) {{
        i{bits}x{n} take = (i{bits}x{n})(x {sign} y);
        return ({V})((take & (i{bits}x{n})x) | (~take & (i{bits}x{n})y));
    }}
"""

FOLD = """\
    static inline {C} {op}_{V}_fold({V} x) {{
{lines}
        return x[0];
    }}
"""

DOUBLES = """\
    static inline f64x{half} f32x{n}_doubles(f32x{n} x) {{
        return __builtin_convertvector(__builtin_shufflevector(x, x, {low}), f64x{half})
             + __builtin_convertvector(__builtin_shufflevector(x, x, {high}), f64x{half});
    }}
"""

LOAD_WIDE = """\
    static inline f64x{n} f32_wide_{n}(const float *a) {{
        return __builtin_convertvector(*(const f32x{n} *)a, f64x{n});
    }}
"""

# NaN wins, if either is one.
STICKY = """\
    static inline {V} sticky_{op}_{V}({V} x, {V} y) {{
        i{bits}x{n} strange = (i{bits}x{n})(x != x) | (i{bits}x{n})(y != y);
        return ({V})((i{bits}x{n}){op}_{V}(x, y) | strange);
    }}
"""

SQUARE = (
    "    static inline float square_f32(float x) { return x * x; }\n",
    "    float square_f32(float x) noexcept nogil\n",
)
LOAD_SQUARE = """\
    static inline f32x{n} {name}(const {C} *a{parameter}) {{
        f32x{n} x = {load}(a){minus};
        return x * x;
    }}
"""

LOAD_HALF = """\
    static inline f32x{n} {t}_load_{n}(const uint16_t *a) {{
        return (f32x{n}){expr};
    }}
"""
# As f16_to_f32 of convert.pxd.
LOAD_F16_BY_BITS = """\
    static inline f32x{n} f16_load_{n}(const uint16_t *a) {{
        u32x{n} h = __builtin_convertvector(*(const u16x{n} *)a, u32x{n});
        u32x{n} magnitude = (h & 0x7fff) << 13;
        u32x{n} bits = (u32x{n})((f32x{n})magnitude * 0x1p112f);
        bits |= (u32x{n})(magnitude >= 0x0f800000) & 0x7f800000;
        bits |= (u32x{n})(magnitude > 0x0f800000) & 0x00400000;
        return (f32x{n})(bits | (h & 0x8000) << 16);
    }}
"""


def lanes(t, isa):
    """How many values of a type the vectors hold: the shortest and the widest."""
    counts = {NARROWEST // SIZE[t], VECTOR_BYTES[isa] // SIZE[t]}
    return min(counts), max(counts)


def _register(t, size):
    """What intrinsics call a vector: prefix of functions, suffix, type."""
    prefix = "_mm" if size == 16 else f"_mm{8 * size}"
    if t[0] == "f":
        return prefix, "ps" if t == "f32" else "pd", f"__m{8 * size}" + ("d" if t == "f64" else "")
    return prefix, f"ep{t}", f"__m{8 * size}i"


def _words(t, n):
    return {"V": f"{t}x{n}", "C": C_TYPE[t], "n": n, "size": SIZE[t], "bits": 8 * SIZE[t]}


def types(wanted):
    """Typedefs of pairs (type, count), and how their values are read."""
    pairs = sorted(set(wanted) | {(f"i{8 * SIZE[t]}", n) for t, n in wanted})
    text = "".join(TYPE.format(bytes=n * SIZE[t], **_words(t, n)) for t, n in pairs)
    return text + "".join(ACCESS.format(**_words(t, n)) for t, n in pairs)


def declared(t, n):
    """A vector type, for Cython."""
    words = _words(t, n)
    return "", (
        "    ctypedef {C} {V}\n"
        "    {V} {V}_zero() noexcept nogil\n"
        "    {V} {V}_load(const {C}* a) noexcept nogil\n"
        "    void {V}_store({C}* a, {V} x) noexcept nogil\n"
    ).format(**words)


def last(t, n):
    """A vector's last values."""
    after, words = ", ".join(["0"] * n + ["-1"] * n), _words(t, n)
    return LAST.format(after=after, I=C_TYPE[f"i{words['bits']}"], **words), (
        "    {V} {V}_last({V} x, Py_ssize_t count, {C} other) noexcept nogil\n".format(**words)
    )


def flags(t, n, isa):
    """Notes of NaNs among vectors of floats."""
    prefix, suffix, register = _register(t, n * SIZE[t])
    words = {"prefix": prefix, "suffix": suffix, "R": register, **_words(t, n)}
    arguments = f"({register})x, ({register})y"
    words["unordered"] = f"{prefix}_cmp_{suffix}({arguments}, _CMP_UNORD_Q)"
    if n * SIZE[t] == NARROWEST:
        words["unordered"] = f"{prefix}_cmpunord_{suffix}({arguments})"
    text = {"v4": FLAG_MASKS, "arm64": FLAG_PLAIN}.get(isa, FLAG_X86)
    return text.format(**words), (
        "    ctypedef int {V}_flags\n"
        "    {V}_flags {V}_none() noexcept nogil\n"
        "    {V}_flags {V}_flag({V}_flags f, {V} x, {V} y) noexcept nogil\n"
        "    bint {V}_flagged({V}_flags f) noexcept nogil\n"
    ).format(**words)


def join(op, t, n, isa):
    """What joins two vectors (sum, prod, max or min), and the numbers of one."""
    words = {"op": op, **_words(t, n)}
    prefix, suffix, register = _register(t, n * SIZE[t])
    if op in ("sum", "prod"):
        text = JOIN.format(expr="x + y" if op == "sum" else "x * y", **words)
    elif isa == "arm64" or (t in ("i64", "u64") and isa != "v4"):
        text = JOIN_SELECTED.format(sign=">" if op == "max" else "<", **words)
    else:
        call = f"({words['V']}){prefix}_{op}_{suffix}(({register})x, ({register})y)"
        text = JOIN.format(expr=call, **words)
    return text + _fold(words), (
        "    {V} {op}_{V}({V} x, {V} y) noexcept nogil\n"
        "    {C} {op}_{V}_fold({V} x) noexcept nogil\n"
    ).format(**words)


def _fold(words):
    """One number of a vector: halves are joined, and their halves."""
    lines, n, join = [], words["n"], "{op}_{V}".format(**words)
    apart = n // 2
    while apart:
        order = ", ".join(str(k ^ apart) for k in range(n))
        lines.append(f"        x = {join}(x, __builtin_shufflevector(x, x, {order}));")
        apart //= 2
    return FOLD.format(lines="\n".join(lines), **words)


def sticky(op, t, n):
    """max or min of two vectors of floats, NaN where either is."""
    words = {"op": op, **_words(t, n)}
    declaration = "    {V} sticky_{op}_{V}({V} x, {V} y) noexcept nogil\n"
    return STICKY.format(**words), declaration.format(**words)


def _halves(n):
    low, high = (", ".join(map(str, range(k, k + n // 2))) for k in (0, n // 2))
    return {"n": n, "half": n // 2, "low": low, "high": high}


def doubles(n):
    """The halves of a vector of n floats added as doubles."""
    declaration = "    f64x{half} f32x{n}_doubles(f32x{n} x) noexcept nogil\n"
    return DOUBLES.format(**_halves(n)), declaration.format(**_halves(n))


def load_wide(n):
    """n floats read as doubles."""
    return LOAD_WIDE.format(n=n), f"    f64x{n} f32_wide_{n}(const float* a) noexcept nogil\n"


def load_square(name, load, n, t, form):
    """The squares of n values that `load` reads, centered ones less a vector of centers."""
    words = {"name": name, "load": load, "n": n, "C": C_TYPE.get(t, "uint16_t")}
    words |= {"parameter": "", "minus": ""}
    if form == "centered":
        words |= {"parameter": f", f32x{n} center", "minus": " - center"}
    declaration = "    f32x{n} {name}(const {C}* a{parameter}) noexcept nogil\n"
    return LOAD_SQUARE.format(**words), declaration.format(**words)


def load_half(t, n, isa):
    """A vector of floats read from 16-bit ones."""
    declaration = f"    f32x{n} {t}_load_{n}(const uint16_t* a) noexcept nogil\n"
    if t == "f16" and isa == "v2":
        return LOAD_F16_BY_BITS.format(n=n), declaration
    prefix, read = {
        16: ("_mm512", "_mm256_loadu_si256((const void *)a)"),
        8: ("_mm256", "_mm_loadu_si128((const void *)a)"),
        4: ("_mm", "_mm_loadl_epi64((const void *)a)"),
    }[n]
    if isa == "arm64":
        expr = "vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(a)))"
        expr = expr if t == "f16" else "vshlq_n_u32(vmovl_u16(vld1_u16(a)), 16)"
    elif t == "f16":
        expr = f"{prefix}_cvtph_ps({read})"
    else:
        expr = f"{prefix}_slli_epi32({prefix}_cvtepu16_epi32({read}), 16)"
    return LOAD_HALF.format(t=t, n=n, expr=expr), declaration
