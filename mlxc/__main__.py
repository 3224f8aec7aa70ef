"""``python -m mlxc``: what this installation is and runs on. The first thing to put into a report
of a fault.

``python -m mlxc program.py ...`` and ``python -m mlxc -m module ...`` run a program for which
``mlx`` is mlxc.
"""

import os
import platform
import runpy
import sys

import numpy

import mlxc.core as mx

from ._backends.cpu import kernels
from ._memory import buffer as memory
from ._standin import as_mlx
from ._threads import pool
from ._version import __version__


def processor():
    """The model name of the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def size(nbytes):
    """Bytes as people read them: 1536 is 1.5 KiB."""
    for unit in ("bytes", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.4g} {unit}"
        nbytes /= 1024
    return f"{nbytes:.4g} GiB"


def facts():
    """(what, value) of everything worth knowing, in the order it is printed."""
    built = [isa for isa in kernels.supported_isas() if kernels.built_modules(isa)]
    cache_limit = memory.set_cache_limit(0)  # the only way to ask
    memory.set_cache_limit(cache_limit)
    yield "mlxc", f"{__version__}, {os.path.dirname(__file__)}"
    yield "Python", f"{platform.python_version()}, NumPy {numpy.__version__}"
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield "processor", f"{processor()}, {os.cpu_count()} cores"
    yield "instructions", f"{kernels.ISA} of {', '.join(built)} (MLXC_CPU_ISA)"
    yield "threads", f"{pool.get_num_threads()} (MLXC_NUM_THREADS)"
    yield "devices", f"{'cpu, gpu (Metal)' if mx.metal.is_available() else 'cpu'}"
    yield "default device", str(mx.default_device())
    yield "memory limit", size(memory.get_memory_limit())
    yield "memory in use", size(memory.get_active_memory())
    yield "memory peak", size(memory.get_peak_memory())
    yield "cache", f"{size(memory.get_cache_memory())} of at most {size(cache_limit)}"


def run(arguments):
    """Run a program as Python would, with ``mlx`` standing for mlxc."""
    as_mlx()
    if arguments[0] == "-m":
        if len(arguments) == 1:
            sys.exit("python -m mlxc -m: the name of a module is missing")
        sys.path[0] = os.getcwd()
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0].startswith("-"):
        sys.exit("usage: python -m mlxc [program.py ... | -m module ...]")
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def main():
    if len(sys.argv) > 1:
        run(sys.argv[1:])
        return
    for what, value in facts():
        print(f"{what:<15}{value}")


if __name__ == "__main__":
    main()
