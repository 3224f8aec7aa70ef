"""Where mlxc answers otherwise than MLX on purpose, and why.

Rules: a source text is matched whole, what distinguishes the answers is searched. A line that
matches nothing any more fails: the list holds only differences that are there.
"""

from typing import NamedTuple


class Difference(NamedTuple):
    """Answers that differ: which questions, in which way, and the reason."""

    source: str
    said: str
    reason: str


_REFUSED = r"MLX raises (TypeError \(.*incompatible|ValueError \(Invalid type).*mlxc gives"
_CONVERTED = r"MLX raises TypeError \(.*incompatible.*mlxc raises (ValueError|AxisError|IndexError)"
_BAD_CAST = r"MLX raises RuntimeError \(std::bad_cast\)"
_OPERATOR = r"(\+|-|\*|/|//|%|\*\*|<|<=|>|>=)"
_FOREIGN = r"('a'|\[1\.0.*\]|\(1, 2\)|object\(\)|\{\})"

DIFFERENCES = [
    # ---- mlxc takes more ----
    *(
        Difference(source, _REFUSED, "What converts to an array may stand wherever an array may.")
        for source in (
            r"mx\.[\w.]+\((\[1, 2\]|2\.0|2|0\.5|True|\[0\.5, 1\.0\]|\(0\.5,\)|np\.\w+\(.*\))\)",
            r"mx\.\w+\((x, )?\[1\.?0?, 2.*\](, \[3, 4\])?\)",
            r"mx\.(isclose|allclose)\(x, 1\.0\)",
            r"mx\.(searchsorted|where|addmm|full_like|take|put_along_axis|full|reshape|expand_dims"
            r"|flatten|repeat|tile|astype|array)\(.*\)",
            r"q = x \* 1; q\[0\] = \[1, 2, 3, 4\]; result = q",
        )
    ),
    Difference(
        r"mx\.(atleast_\dd|broadcast_arrays)\(.*\)|t\.transpose\(None\)|mx\.array\(np\.ones.*\)",
        _BAD_CAST + ".*mlxc gives",
        "Numbers, None for the usual order, and big-endian values have a meaning.",
    ),
    Difference(
        r"mx\.array\(\[?2\*\*63\]?\)",
        _BAD_CAST + ".*mlxc gives",
        "uint64 holds what int64 does not.",
    ),
    Difference(
        r"mx\.reshape\(x, 12\)|mx\.broadcast_shapes\(\(3, 1\), 4\)",
        "MLX raises",
        "One integer is a shape of one axis.",
    ),
    Difference(
        r"mx\.(divmod|array_equal|issubdtype)\(.*\)",
        _REFUSED,
        "Keywords and positions that MLX documents are taken.",
    ),
    Difference(r"mx\.divmod\(x, y, x\)", "MLX raises TypeError", "The third is the stream."),
    Difference(
        r"-?\w+(\.\d)?(\*\*35)? (&|\||\^|<<|>>) (B_\w+|k)|divmod\(x, y\)",
        "MLX raises TypeError .unsupported operand.*mlxc (gives|raises ValueError .*does not hold)",
        "Operators work with the number on either side, and Python's divmod too.",
    ),
    Difference(
        r"(x|t)\[.*\]",
        "MLX raises ValueError.*mlxc gives",
        "Masks, NumPy arrays, arrays as slice bounds and empty lists index as in NumPy.",
    ),
    Difference(
        r"x\.at\[b\]\.\w+\(1\.0\)", "MLX raises SystemError", "Masks choose what is updated."
    ),
    Difference(
        r"q = x \* 1; q\[1, 2\] = v\[:1\]; result = q",
        "MLX raises ValueError.*mlxc gives",
        "One value is broadcast to one element.",
    ),
    Difference(r"x\.sort\(\)", "MLX raises AttributeError", "Arrays have the method as well."),
    Difference(
        r"mx\.(logsumexp|argmax|argmin)\(e, axis=1\)",
        "MLX raises ValueError.*mlxc gives",
        "No rows have no results: only an empty reduced axis is refused, as in NumPy.",
    ),
    Difference(
        r"mx\.median\(x, axis=\(\)\)", "MLX raises ValueError", "No axes: every value is its own."
    ),
    Difference(
        r"mx\.(vecdot|linalg\.solve|inner|nan_to_num|convolve|qqmm|gather_qqmm)\(.*\)",
        "MLX raises (ValueError|RuntimeError).*mlxc gives",
        "Defined for more shapes, dtypes and modes than MLX's CPU has kernels for.",
    ),
    Difference(
        r"mx\.fft\.\w+\(t, s=.*\)",
        "axes. should not be .None.*mlxc gives",
        "Sizes alone speak of the last axes, as in NumPy.",
    ),
    Difference(
        r"mx\.(grad|jvp)\(.*(linalg\.inv|cumprod|cummax).*\)",
        "(Not implemented|not implemented).*mlxc gives",
        "Every primitive has its derivatives.",
    ),
    Difference(
        r"mx\.(grad|vjp|vmap)\(lambda a(, b)?: .*\)",
        "MLX raises (ValueError|TypeError).*mlxc gives",
        "Leaves that are no arrays pass through; one array needs no list; a loss may have company.",
    ),
    Difference(
        r"mx\.add\(x, y, stream=.*\)",
        "MLX raises",
        "One machine, one stream: a program that names mx.gpu runs, on what there is.",
    ),
    Difference(r"(x [!=]= None|None [!=]= x)", "MLX raises TypeError", "As Python compares."),
    # ---- mlxc refuses what has no meaning ----
    Difference(
        r"mx\.floor_divide\(.*complex64.*\)|(.* // (B_.*|1j)|1j // .*|B_.* // .*)|q = .*//= c; .*",
        "MLX gives.*mlxc raises DtypeError",
        "Complex numbers have no floor.",
    ),
    Difference(
        r"(B_uint64 .* -1|-1 .* B_uint64)",
        "MLX gives.*mlxc raises ValueError",
        "A number that the dtype does not hold is refused for 64 bits as for fewer.",
    ),
    Difference(
        r"mx\.convolve\(A_\w+, B_complex64\)",
        "MLX gives.*mlxc raises ValueError",
        "MLX drops imaginary parts.",
    ),
    Difference(
        r"mx\.(concat|concatenate)\(\[x\], 5\)|mx\.tri\(-1\)|mx\.pad\(e, 1, 'edge'\)"
        r"|mx\.as_strided\(x, \(2,\), \(1, 1\)\)|mx\.segmented_mm\(w, x, .*\)"
        r"|mx\.linalg\.eigh?(vals)?h?\(p, '[XZ]'\)|mx\.fft\.i?rfftn\(t, axes=\[\]\)",
        "MLX gives.*mlxc raises",
        "Arguments that fit nothing are refused, not ignored.",
    ),
    Difference(
        r"mx\.grad\(lambda a: mx\.sum\(a\)(\.astype\(mx\.int32\))?\)\([xi]\)",
        "MLX gives.*mlxc raises ValueError",
        "Integers have no derivative; what MLX gives is no gradient.",
    ),
    Difference(
        r"mx\.array\(b'ab'\)", "MLX gives.*ConversionError", "Bytes are text; a memoryview is not."
    ),
    Difference(
        r"mx\.(metal\.st\w+|device_info)\(.*\)",
        "MLX gives.*mlxc raises",
        "A device that is not there says so.",
    ),
    # ---- mlxc gives the right value ----
    Difference(
        r"mx\.logsumexp\((b, 0|u)\)", "MLX gives values", "MLX exponentiates in small integers."
    ),
    Difference(
        r"mx\.softmax\(i(, 0)?\)", "dtype int32; mlxc float32", "Probabilities are no integers."
    ),
    Difference(
        r"(B_bool_ .* 2\*\*35|2\*\*35 .* B_bool_)",
        "MLX gives (dtype int32; mlxc int64|values)",
        "int32 does not hold the number.",
    ),
    Difference(
        r"B_(bool_|int\d+) \*\* -1", "MLX gives values", "1 to the power of -1 is 1, not 0."
    ),
    Difference(r"mx\.take\(x, -1, 1\)", "Cannot squeeze", "A negative index counts from the end."),
    Difference(r"mx\.to_fp8\(A_float64\)", "MLX gives values", "MLX converts 0 to 63."),
    Difference(
        r"mx\.array\(float\('nan'\), mx\.int32\)",
        "MLX gives values",
        "No integer stands for NaN; C leaves it open, and mlxc gives 0 on every machine.",
    ),
    Difference(
        r"mx\.(linalg\.norm|matrix_norm)\(c, 1\)", "dtype complex64", "A norm is a real number."
    ),
    Difference(
        r"mx\.fft\.i?fftn\(t, axes=\[\]\)", "dtype float32", "A transform's dtype is complex64."
    ),
    # ---- names and kinds ----
    Difference(r"mx\.quantize\(.*\)", "MLX gives 'list'; mlxc 'tuple'", "MLX documents a tuple."),
    Difference(r"(str|repr)\(mx\.\w+\)", "'mlx.core", "The package is called otherwise."),
    Difference(
        r"mx\.fast\.metal_kernel\(.*\)", "MLX gives 'nb_func'; mlxc 'function'", "Both are called."
    ),
    Difference(
        r"mx\.distributed\.is_available\(\)", "MLX gives True", "There is no network back end."
    ),
    Difference(r"mx\.asarray\(x, copy=False\)", "MLX raises", "The array itself is no copy."),
    # ---- other classes of errors ----
    Difference(
        f"({_FOREIGN} {_OPERATOR} x|x {_OPERATOR} {_FOREIGN}|q = .*= ('a'|\\[1.0\\]); result = q"
        r"|mx\.compile\(lambda a, n: a \* n\)\(x, 'u'\))",
        "MLX raises ValueError .Cannot perform.*mlxc raises TypeError",
        "An operator leaves what it does not know to the other operand, as Python wants it.",
    ),
    Difference(
        r".*",
        _BAD_CAST + ".*mlxc raises (TypeError|ConversionError|OverflowError)",
        "std::bad_cast says nothing; what is no integer or array is a TypeError.",
    ),
    Difference(
        r"mx\.(concat|concatenate|pad|diag|put_along_axis|matmul|conv2d|vmap|take)\(.*\)|x @ 2",
        _CONVERTED,
        "The number or sequence is converted first; then its shape does not fit.",
    ),
    Difference(
        r"2 @ x", "unsupported operand.*mlxc raises ValueError", "The number is converted first."
    ),
    Difference(
        r"mx\.random\.(key|seed)\(.*\)", _CONVERTED, "A number out of range is a ValueError."
    ),
    Difference(
        r"mx\.take(_along_axis)?\(x, .*\)|e\[ix\]",
        "mlxc raises IndexError",
        "Whatever is wrong with an index is an IndexError, as in NumPy.",
    ),
    Difference(
        r"x\[slice\(0\.0, 2\)\]", "MLX raises ValueError.*TypeError", "As Python and NumPy say it."
    ),
    Difference(r"del x\[0\]", "NotImplementedError", "Cython's word for it."),
    Difference(r"mx\.arange\(1e10\)", "MemoryError", "Sizes have 64 bits; only memory is missing."),
    Difference(
        r"mx\.(load|save|save_safetensors|save_gguf|import_function)\('.*\)",
        "MLX raises (RuntimeError|ValueError).*mlxc raises FileNotFoundError",
        "The operating system's errors come as Python's.",
    ),
    Difference(
        r"mx\.save\(3, x\)", "MLX raises ValueError.*TypeError", "A number is no file: TypeError."
    ),
    Difference(
        r"mx\.fast\.gated_delta_update\(x, x, x, x, x\)",
        "MLX raises IndexError .SmallVector.*ValueError",
        "MLX looks for axes that are not there; the shapes do not fit.",
    ),
]

_MEMORY = "Sizes of memory are the framework's own; tests/test_memory.py."
_DEVICE = "Needs a device, or states of the process; tests/test_names.py and test_memory.py."
_FILES = "Files and traces are compared in tests/test_io.py and tests/test_exporting.py."
UNASKED = {
    **dict.fromkeys(
        "get_cache_memory get_peak_memory get_memory_limit set_memory_limit get_array_buffer_size "
        "metal.get_active_memory metal.get_peak_memory metal.reset_peak_memory "
        "metal.get_cache_memory metal.set_memory_limit metal.set_cache_limit metal.set_wired_limit "
        "metal.clear_cache".split(),
        _MEMORY,
    ),
    **dict.fromkeys("clear_streams fast.precompiled_cuda_kernel".split(), _DEVICE),
    **dict.fromkeys("export_function exporter export_to_dot".split(), _FILES),
}
