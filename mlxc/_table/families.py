"""The families, and what each of them has not got, with the reason. One word names a family's files
everywhere.

``tests/test_house.py`` holds the tree against this: a file of `COLUMNS` that is neither there nor
absent by a reason fails, and so does an absence of what is there.
"""

FAMILIES = (
    "elementwise",
    "reduce",
    "scan",
    "movement",
    "creation",
    "indexing",
    "sort",
    "matmul",
    "conv",
    "pool",
    "attention",
    "recurrent",
    "quantized",
    "random",
    "fft",
    "linalg",
    "fused",
    "custom",
)

# What each column asks, and the paths where a family's answer may stand; one of them is enough.
COLUMNS = {
    "row": ("mlxc/_table/{}.py",),
    "kernel": ("mlxc/_kernels/{}.pyx", "mlxc/_kernels/{}_render.py"),
    "launcher": ("mlxc/_backends/cpu/{}.pyx", "mlxc/_backends/cpu/{}.py"),
    "shader": ("shaders/{}.metal",),
    "function": ("mlxc/core/{}.py",),
    "test": ("tests/test_{}.py",),
    "benchmark": ("bench/bench_{}.py",),
}

_PROGRAM = "these rows run in fused programs (_backends/cpu/programs.pyx)"
_STRIDES = "a movement changes strides only: nothing runs"

# (family, column): why there is none.
ABSENCES = {
    ("elementwise", "kernel"): "printed from the rows' formulas by _table/render.py",
    ("elementwise", "launcher"): _PROGRAM,
    ("elementwise", "test"): "tests/test_table.py tests every row, test_mathematics.py the loops",
    ("reduce", "launcher"): _PROGRAM,
    ("movement", "kernel"): _STRIDES,
    ("movement", "launcher"): _STRIDES,
    ("movement", "test"): "tests/test_table.py tests every row, test_shaping.py the functions",
    ("pool", "function"): "nn/layers/pooling.py binds the rows: MLX has no functions of this name",
    ("fused", "kernel"): "macros, printed from their formulas by _table/render.py",
    ("fused", "launcher"): "macros replace groups inside programs (_backends/cpu/macros.py)",
    ("elementwise", "shader"): "printed from the rows' formulas by _backends/metal/expressions.py",
    ("custom", "kernel"): "a user's text, for the GPU only",
    ("custom", "shader"): "a user's text; shaders/custom.h is what it may use",
    ("custom", "test"): "tests/metal/test_custom_kernels.py: there must be a device",
    ("custom", "benchmark"): "its speed is the user's",
    ("fused", "shader"): "the device's compiler fuses what programs print",
    ("linalg", "shader"): "factorisations run on the processor, where all but huge ones are faster",
}
