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
    "attention",
    "quantized",
    "random",
    "fft",
    "linalg",
    "fused",
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

# (family, column): why there is none.
ABSENCES = {
    ("elementwise", "kernel"): "printed from the rows' formulas by _table/render.py",
    ("elementwise", "launcher"): "these rows run in fused programs",
    ("elementwise", "shader"): "Metal prints elementwise rows into the fused program's kernel",
    ("reduce", "launcher"): "these rows run in fused programs",
    ("movement", "kernel"): "a movement changes strides only; copies are kernels of elementwise",
    ("movement", "launcher"): "a movement changes strides only: nothing runs",
    ("movement", "shader"): "a movement changes strides only: nothing runs",
    ("fft", "kernel"): "the FFT is NumPy's pocketfft, called by the launcher",
    ("linalg", "kernel"): "factorisations are LAPACK's through NumPy, called by the launcher",
    ("fft", "shader"): "runs on the CPU: MLX's names, not its speed, are what is asked for here",
    ("linalg", "shader"): "runs on the CPU, as MLX's does",
}
