"""Cases: a name, inputs, and a function a framework.

Rules: a case is declared once and used by pytest and by the comparison alike. Files of cases import
no framework; what a
function needs of one it is handed: ``mlxc.core`` or ``mlx.core``, ``numpy``, ``torch``, or
``jax.numpy``. Every framework is given the same inputs, and its result is complete when the clock
stops.
"""

import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass, replace

import numpy as np

FRAMEWORKS = ("mlxc", "numpy", "mlx", "torch", "jax")
HALVES = ("float16", "bfloat16")
CASES = {}


@dataclass
class Case:
    """One comparison. ``functions`` takes (library, *inputs); of a stateful case it gives a
    function to repeat."""

    name: str
    family: str
    inputs: object
    functions: dict
    stateful: bool = False
    jit: bool = True
    quick: bool = False
    size: int | None = None
    dtype: str | None = None
    compiled: bool = False
    memory: bool = False

    def start(self, framework):
        """A function without arguments that does the work once, results complete."""
        library, to, finish = load(framework)
        inputs = [to(x) for x in self.inputs(np.random.default_rng(0))]
        if self.dtype:
            inputs = [converted(library, x, self.dtype) for x in inputs]
        function = self.functions[framework]
        if self.stateful:
            step = function(library, *inputs)
            return lambda: finish(step())

        def call(*xs):
            return function(library, *xs)

        if self.compiled or (framework == "jax" and self.jit):
            call = compiler(library)(call)
        return lambda: finish(call(*inputs))


def case(name, inputs, *, mlx, numpy=None, torch=None, jax=None, also=(), **options):
    """Declare a case. ``mlx`` serves mlxc and MLX; ``jax=True`` takes the function of NumPy.

    Each word of ``also`` declares a variant without NumPy: a half dtype, which floating inputs are
    converted to, or "compiled", where each framework compiles the function. ``size`` is how many
    elements a case has that stands in the picture of time against size; ``memory`` puts it into
    the table of peak memory.
    """
    functions = {
        "mlxc": mlx,
        "mlx": mlx,
        "numpy": numpy,
        "torch": torch,
        "jax": numpy if jax is True else jax,
    }
    functions = {key: function for key, function in functions.items() if function is not None}
    if name in CASES:
        raise ValueError(f"two cases are named {name!r}")
    CASES[name] = main = Case(name, name.split(".")[0], inputs, functions, **options)
    others = {key: function for key, function in functions.items() if key != "numpy"}
    for word in also:
        how = {"compiled": True} if word == "compiled" else {"dtype": word}
        variant = replace(main, name=f"{name}, {word}", functions=others, quick=False, **how)
        CASES[variant.name] = variant


def converted(library, x, dtype):
    """A floating array in another dtype; others as they are."""
    if library.__name__ == "torch":
        return x.to(getattr(library, dtype)) if x.is_floating_point() else x
    return x.astype(getattr(library, dtype)) if "float" in str(x.dtype) else x


def compiler(library):
    """What compiles functions of a library."""
    if library.__name__ == "jax.numpy":
        import jax

        return jax.jit
    return library.compile


def load(framework):
    """(library, NumPy array -> its array, result -> None once it is complete) of a framework."""
    if framework in ("mlxc", "mlx"):
        core = importlib.import_module(f"{framework}.core")
        core.set_default_device(core.cpu)  # where all are compared
        return core, core.array, core.eval
    if framework == "torch":
        import torch

        return torch, torch.from_numpy, lambda result: None
    if framework == "jax":
        import jax

        return jax.numpy, jax.device_put, jax.block_until_ready
    return np, lambda x: x, lambda result: None


def installed(framework):
    return importlib.util.find_spec(framework) is not None


def load_cases():
    """All cases of all families, by name."""
    import bench

    for module in pkgutil.iter_modules(bench.__path__):
        if module.name.startswith("bench_"):
            importlib.import_module(f"bench.{module.name}")
    return CASES


def benchmarks(module):
    """The test of a family's file: each of its cases, mlxc alone, with pytest-benchmark."""
    import pytest

    family = module.rpartition("_")[2]
    names = [name for name in CASES if name.split(".")[0] == family]

    @pytest.mark.parametrize("name", names)
    def test_speed(benchmark, name):
        step = CASES[name].start("mlxc")
        step()
        benchmark(step)

    return test_speed


# ---- inputs ----


def normal(*shapes, dtype=np.float32):
    """Inputs of standard normal values, one a shape."""
    return lambda rng: [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def positive(*shapes):
    """Inputs between 0.1 and 2."""
    return lambda rng: [rng.uniform(0.1, 2, shape).astype(np.float32) for shape in shapes]


def nothing(rng):
    """No inputs."""
    return []


# ---- functions of the same name everywhere ----


def named(mlx, numpy=None, torch=None, **keywords):
    """Functions that call what has a name in each library; NumPy's and PyTorch's default to MLX's.
    A name may be dotted. An empty name: this library has none."""

    def caller(name):
        def call(library, *inputs):
            for part in name.split("."):
                library = getattr(library, part)
            return library(*inputs, **keywords)

        return call if name else None

    numpy = mlx if numpy is None else numpy
    torch = mlx if torch is None else torch
    functions = {"mlx": caller(mlx), "numpy": caller(numpy), "torch": caller(torch)}
    return {**functions, "jax": functions["numpy"]}
