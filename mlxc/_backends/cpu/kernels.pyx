"""The loops of the instruction set in use, by name.

The best set this processor has is chosen at import; ``MLXC_CPU_ISA`` (v2, v3, v4) overrides the
choice.
"""

import importlib
import os
import pkgutil

from mlxc._table.dtypes import DTYPES

cdef extern from *:
    """
    #if defined(__x86_64__)
    static int mlxc_isa_level(void) {
        __builtin_cpu_init();
        if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt")) return 1;
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")
            || !__builtin_cpu_supports("bmi2"))
            return 2;
        if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")
            || !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")
            || !__builtin_cpu_supports("avx512cd")) return 3;
        return 4;
    }
    #else
    static int mlxc_isa_level(void) { return 0; }
    #endif
    """
    int mlxc_isa_level()


def supported_isas():
    """The instruction sets that this processor runs, best first."""
    level = mlxc_isa_level()
    if level == 0:
        return ["arm64"]
    if level == 1:
        raise ImportError("[mlxc] this processor lacks SSE4.2 and POPCNT; x86-64-v2 is the least "
                          "that mlxc runs on")
    return [f"v{k}" for k in range(level, 1, -1)]


def built_modules(isa):
    """Names of the kernel modules that were built for an instruction set."""
    package = importlib.import_module(f"mlxc._kernels.{isa}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def choose_isa():
    """MLXC_CPU_ISA if it is set (and possible), else the best that was built."""
    possible = [isa for isa in supported_isas() if built_modules(isa)]
    wanted = os.environ.get("MLXC_CPU_ISA", "")
    if wanted and wanted not in possible:
        raise ImportError(f"[mlxc] MLXC_CPU_ISA={wanted}; one of {', '.join(possible)} would run "
                          f"here")
    if not possible:
        raise ImportError("[mlxc] no kernels were built for this processor; build mlxc on it")
    return wanted or possible[0]


ISA = choose_isa()
TABLE = {}
for _name in built_modules(ISA):
    TABLE.update(importlib.import_module(f"mlxc._kernels.{ISA}.{_name}").table())


cdef void* kernel(str name) except NULL:
    """The address of a loop; KeyError-like ImportError names what is missing."""
    address = TABLE.get(name)
    if address is None:
        raise RuntimeError(f"[kernels] there is no loop {name!r} for instruction set {ISA}")
    return <void*><size_t>address


cdef void* kernel_or_null(str name):
    """The address of a loop, NULL if there is none."""
    address = TABLE.get(name, 0)
    return <void*><size_t>address


cdef int fill_by_dtype(void** loops, str prefix) except -1:
    """The loops of a prefix by the code of a dtype, NULL where there is none: looked up once, since
    names cost more than small arrays."""
    for code, fact in enumerate(DTYPES):
        loops[<int>code] = kernel_or_null(prefix + fact.short)
    return 0
