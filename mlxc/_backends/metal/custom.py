"""Users' own kernels (``mx.fast.metal_kernel``): the signature that goes around their text.

Rules, MLX's: an input of no dimensions is a reference, one of fewer than eight elements
``constant``, others ``device``; ``<input>_shape``, ``_strides`` (elements) and ``_ndim``, and
Metal's numbers of threads, are parameters where the text names them; outputs are row-major.
"""

import re
import struct
from functools import lru_cache

from .dispatch import Bytes, Dispatch, In, Out, Scratch, launcher
from .layout import dense_strides, element_strides
from .movement import copy

__all__ = ["source_of"]

TYPES = {
    "bool_": "bool",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float16": "float16_t",
    "bfloat16": "bfloat16_t",
    "float32": "float",
    "complex64": "complex64_t",
}
SMALL = 8  # elements from which an input lies in device memory
ATTRIBUTES = {
    **dict.fromkeys(
        """thread_position_in_grid thread_position_in_threadgroup threadgroup_position_in_grid
        threads_per_grid threads_per_threadgroup threadgroups_per_grid
        dispatch_threads_per_threadgroup""".split(),
        "uint3",
    ),
    **dict.fromkeys(
        """thread_index_in_threadgroup thread_index_in_simdgroup thread_index_in_quadgroup
        simdgroup_index_in_threadgroup simdgroups_per_threadgroup threads_per_simdgroup
        quadgroup_index_in_threadgroup quadgroups_per_threadgroup thread_execution_width
        dispatch_simdgroups_per_threadgroup dispatch_quadgroups_per_threadgroup""".split(),
        "uint",
    ),
}
FILL = """#include "custom.h"

kernel void fill(
    device {kind}* out [[buffer(0)]],
    uint index [[thread_position_in_grid]]) {{
    out[index] = {value};
}}
"""


def _type_of(text):
    """A template argument in MSL: a dtype's name becomes its type."""
    return TYPES.get(text, text)


@lru_cache(512)
def _text(call, kinds):
    """The whole source, and its function's name; `kinds`: of each input (dtype, axes, small)."""
    named = set(re.findall(r"\w+", call.source))
    lines = []
    for name, (dtype, ndim, small) in zip(call.input_names, kinds):
        kind = TYPES[dtype]
        if ndim == 0:
            lines.append(f"constant const {kind}& {name}")
        else:
            lines.append(f"{'constant' if small else 'device'} const {kind}* {name}")
        for fact in _facts(name, ndim):
            if fact in named:
                kind = "int64_t*" if fact.endswith("_strides") else "int*"
                kind = "int&" if fact.endswith("_ndim") else kind
                lines.append(f"constant const {kind} {fact}")
    for name, (_, dtype) in zip(call.output_names, call.outputs):
        kind = f"atomic<{TYPES[dtype]}>" if call.atomic_outputs else TYPES[dtype]
        lines.append(f"device {kind}* {name}")
    lines = [f"{line} [[buffer({number})]]" for number, line in enumerate(lines)]
    lines += [f"{kind} {name} [[{name}]]" for name, kind in ATTRIBUTES.items() if name in named]
    function = "custom_" + re.sub(r"\W", "_", call.name)
    parameters = ",\n    ".join(lines)
    arguments = ", ".join(_type_of(text) for _, text in call.template)
    head, tail = "", ""
    if call.template:
        head = "template <" + ", ".join(map(_parameter, call.template)) + ">\n"
        host = f"{function}_" + re.sub(r"\W+", "_", arguments)
        tail = f'template [[host_name("{host}")]] [[kernel]]\n'
        tail += f"decltype({function}<{arguments}>) {function}<{arguments}>;\n"
    text = f'#include "custom.h"\n{call.header}\n{head}[[kernel]] void {function}(\n'
    text += f"    {parameters}) {{\n{call.source}\n}}\n{tail}"
    return text, host if call.template else function


def _parameter(pair):
    name, text = pair
    if text in TYPES:
        return f"typename {name}"
    return f"{'bool' if text in ('true', 'false') else 'int'} {name}"


def _facts(name, ndim):
    return (f"{name}_shape", f"{name}_strides", f"{name}_ndim") if ndim else ()


def source_of(call, kinds):
    """What the compiler is given, and the function's name in it.

    Args:
        call: the table's Call.
        kinds: (dtype name, axes, elements) of each input.
    """
    return _text(call, tuple((dtype, ndim, size < SMALL) for dtype, ndim, size in kinds))


@launcher("metal_kernel")
def metal_kernel(row, ins, outs, params):
    """The call's kernel, after copies of inputs that it wants row-major, and what outputs begin
    with."""
    (call,) = params
    source, function = source_of(call, [(x.dtype, len(x.shape), x.size) for x in ins])
    named = set(re.findall(r"\w+", call.source))
    dispatches, arguments = [], []
    for index, (name, operand) in enumerate(zip(call.input_names, ins)):
        strides, place = element_strides(operand), In(index)
        if strides is None:
            return None
        if call.row_contiguous and not _row_major(operand.shape, strides):
            place = Scratch(index, operand.size * operand.itemsize)
            packed = dense_strides(operand.shape, 1)
            copied = copy(In(index), place, operand.shape, strides, packed, operand.itemsize)
            if copied is None:
                return None
            dispatches += copied
            strides = packed
        arguments.append(place)
        arguments += _fact_bytes(name, operand.shape, strides, named)
    for index, operand in enumerate(outs):
        arguments.append(Out(index))
        if call.init_value and operand.size:
            dispatches.append(_fill(call.init_value, Out(index), operand))
    group = tuple(max(1, min(pair)) for pair in zip(call.threadgroup, call.grid))
    dispatches.append(
        Dispatch("", function, arguments, call.grid, group, source=source, fast_math=call.fast_math)
    )
    return dispatches


def _row_major(shape, strides):
    wanted = dense_strides(shape, 1)
    return all(size == 1 or near == far for size, near, far in zip(shape, strides, wanted))


def _fact_bytes(name, shape, strides, named):
    """The arguments of an input's shape, strides and number of axes, those that the text names."""
    count = len(shape)
    packed = (
        struct.pack(f"<{count}i", *shape),
        struct.pack(f"<{count}q", *strides),
        struct.pack("<i", count),
    )
    return [Bytes(data) for fact, data in zip(_facts(name, count), packed) if fact in named]


def _fill(value, place, operand):
    """A dispatch that writes one value everywhere."""
    kind = TYPES[operand.dtype]
    number = float(value)
    text = f"{kind}({_literal(number)})"
    if kind == "bool":
        text = "true" if number else "false"
    elif kind == "complex64_t":
        text = f"complex64_t{{{_literal(number)}, 0.0f}}"
    elif "int" in kind:
        text = f"{kind}({int(number)})"
    source = FILL.format(kind=kind, value=text)
    return Dispatch("", "fill", [place], (operand.size, 1, 1), (256, 1, 1), source=source)


def _literal(number):
    """A float in MSL."""
    if number != number:
        return "NAN"
    if number in (float("inf"), float("-inf")):
        return "INFINITY" if number > 0 else "-INFINITY"
    return f"{number!r}f"
