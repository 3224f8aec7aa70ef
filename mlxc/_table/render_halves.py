"""Prints loops that read and write half floats as they are stored, in one pass.

Standard library only. float16 is widened and narrowed by the hardware, a block at a time.
bfloat16 is read in words of two, the upper halves of two float32 that need not change their lanes.
Signs are changed where they stand.
"""

_VALUE = """\
cdef inline f32 {kernel}_value({values}) noexcept nogil:
    return <f32>({value})

"""
_F16 = """\
cdef inline void {kernel}_block({arguments}, uint16_t* out) noexcept nogil:
    cdef f32[BLOCK] {wide}, results
    cdef int k
    {widen}
    for k in range(BLOCK):
        results[k] = {kernel}_value({each})
    narrow_f16(out, results)

cdef void {kernel}(char** args, Py_ssize_t n) noexcept nogil:
    {operands}
    cdef u16_out out = <u16_out>args[{arity}]
    cdef uint16_t[BLOCK] {last}, results
    cdef Py_ssize_t i = 0, rest = n % BLOCK
    while i + BLOCK <= n:
        {kernel}_block({block}, out + i)
        i += BLOCK
    if rest:
        {fill}
        {kernel}_block({tail}, results)
        memcpy(out + i, results, 2 * rest)

"""
_BF16 = """\
cdef void {kernel}(char** args, Py_ssize_t n) noexcept nogil:
    {operands}
    cdef word4* out = <word4*>args[{arity}]
    cdef Py_ssize_t i
    for i in range(n // 2):
        out[i] = f32_pair_to_bf16({kernel}_value({even}), {kernel}_value({odd}))
    if n % 2:
        (<u16_out>out)[n - 1] = f32_to_bf16({kernel}_value({tail}))

"""
_BITS = """\
cdef void {kernel}(char** args, Py_ssize_t n) noexcept nogil:
    cdef u16_in x = <u16_in>args[0]
    cdef u16_out out = <u16_out>args[1]
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = {value}

"""
_BITWISE = {"negative": "x[i] ^ 0x8000", "abs": "x[i] & 0x7FFF"}
# Of each format: the loop, what its module imports, and what stands in the loop for operands: for
# a vector, for a single value, between them.
_FORMATS = {
    "f16": (
        _F16,
        (
            "from libc.stdint cimport uint16_t",
            "from libc.string cimport memcpy, memset",
            "from mlxc._kernels.convert cimport BLOCK, narrow_f16, widen_f16",
        ),
        {
            "operands": ("cdef u16_in {a}s = <u16_in>args[{k}]", "{single}", "\n    "),
            "arguments": ("const uint16_t* {a}s", "f32 {a}", ", "),
            "wide": ("{a}_wide", "", ", "),
            "widen": ("widen_f16({a}_wide, {a}s)", "", "\n    "),
            "each": ("{a}_wide[k]", "{a}", ", "),
            "last": ("{a}_last", "", ", "),
            "block": ("{a}s + i", "{a}", ", "),
            "fill": (
                "memset({a}_last, 0, 2 * BLOCK)\n        memcpy({a}_last, {a}s + i, 2 * rest)",
                "",
                "\n        ",
            ),
            "tail": ("{a}_last", "{a}", ", "),
        },
    ),
    "bf16": (
        _BF16,
        (
            "from mlxc._kernels.convert cimport (",
            "    bf16_even, bf16_odd, bf16_to_f32, f32_pair_to_bf16, f32_to_bf16,",
            ")",
        ),
        {
            "operands": ("cdef const word4* {a}s = <const word4*>args[{k}]", "{single}", "\n    "),
            "even": ("bf16_even({a}s[i])", "{a}", ", "),
            "odd": ("bf16_odd({a}s[i])", "{a}", ", "),
            "tail": ("bf16_to_f32((<u16_in>{a}s)[n - 1])", "{a}", ", "),
        },
    ),
}
_SINGLE = "cdef f32 {a} = (<f32_in>args[{k}])[0]"


def imports(short):
    """Lines that a module of one format begins with."""
    return _FORMATS[short][1]


def half_loop(short, name, operands, letters, value):
    """One loop_fn: its name and text. Vectors are of the format `short`, single values float32;
    `value` is what an element becomes."""
    template, _, parts = _FORMATS[short]
    kernel = f"{name}_{short}_{letters}"
    if name in _BITWISE:
        return kernel, _BITS.format(kernel=kernel, value=_BITWISE[name])
    words = {
        part: between.join(
            text
            for k, (a, letter) in enumerate(zip(operands, letters))
            if (
                text := (vector if letter == "v" else single).format(
                    a=a, k=k, single=_SINGLE.format(a=a, k=k)
                )
            )
        )
        for part, (vector, single, between) in parts.items()
    }
    values = ", ".join(f"f32 {a}" for a in operands)
    head = _VALUE.format(kernel=kernel, values=values, value=value)
    return kernel, head + template.format(kernel=kernel, arity=len(operands), **words)
