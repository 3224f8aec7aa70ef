"""What kernels of all kinds of programs share: loops over a thread's steps, offsets along axes,
the dispatch of a text."""

import struct

from .dispatch import Bytes, Dispatch, In, Out

__all__ = [
    "GROUP", "GROUPS_ARGUMENT", "GROUP_ARGUMENT", "KEPT", "LANE_ARGUMENTS", "SIMD",
    "THREAD_ARGUMENT", "add_inner", "close_loop", "dispatch", "extend", "open_loop", "packs",
    "print_values",
]  # fmt: skip

GROUP = 256  # threads of a threadgroup, where nothing else says it
KEPT = 32  # elements that a thread keeps in registers at most
SIMD = 32

GROUP_ARGUMENT = "uint3 group [[threadgroup_position_in_grid]]"
THREAD_ARGUMENT = "uint3 thread_in_group [[thread_position_in_threadgroup]]"
GROUPS_ARGUMENT = "uint3 groups [[threadgroups_per_grid]]"
LANE_ARGUMENTS = (
    "uint lane [[thread_index_in_simdgroup]]",
    "uint simdgroup [[simdgroup_index_in_threadgroup]]",
)


def dispatch(kernel, name, attributes, grid, group, extra=(), constants=()):
    loads = sum(not stream.written for stream in kernel.streams)
    arguments = [*map(In, range(loads)), *map(Out, range(len(kernel.outputs))), *extra]
    letter = "q" if kernel.wide else "i"
    layout = kernel.layout or [0]
    arguments.insert(len(kernel.streams), Bytes(struct.pack(f"<{len(layout)}{letter}", *layout)))
    source = kernel.source(name, attributes, constants)
    return Dispatch("", name, arguments, grid, group, groups=True, source=source)


def print_values(kernel, wanted, at, depth):
    """Statements of the values in `wanted`, in order."""
    for k in sorted(wanted):
        kernel.statement(k, at, depth)


def open_loop(kernel, each, index, start, apart, condition):
    """A loop over this thread's steps, those that meet a condition if that is not empty."""
    kernel.add("#pragma unroll", 0)
    kernel.add(f"for (uint k = 0; k < {each}; k++) {{")
    kernel.add(f"const {kernel.whole} {index} = {start} + k * {apart};", 2)
    kernel.add(f"if ({condition}) {{" if condition else "{", 2)


def close_loop(kernel):
    kernel.add("}", 2)
    kernel.add("}")


def extend(kernel, known, prefix, index, sizes, strides, depth=1):
    """Adds offsets along more axes to those that are known: name of a stream -> text."""
    for k in kernel.add_offsets(prefix, index, sizes, strides, depth=depth):
        name = kernel.streams[k].name
        inner = f"{prefix}_{name}"
        known[name] = f"{known[name]} + {inner}" if name in known else inner
    return known


def add_inner(kernel, prefix, index, sizes, strides, before, above, depth=1):
    """Offsets within something whose own offsets are `before` (of the streams in `above`): name of
    the stream -> offset as text."""
    names = [stream.name for stream in kernel.streams]
    known = {names[k]: f"{before}_{names[k]}" for k in above}
    for k in kernel.add_offsets(prefix, index, sizes, strides, depth=depth):
        inner = f"{prefix}_{names[k]}"
        known[names[k]] = f"{known[names[k]]} + {inner}" if k in above else inner
    return known


def packs(kernel):
    """A word in the name of a kernel of packs."""
    return f"packs{kernel.pack}" if kernel.pack > 1 else ""
