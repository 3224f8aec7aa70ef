"""Launchers of packed matrices: rows of codes, and products by the number of rows of x.

Operands are row-major (the rows say so). Settings that differ between calls but not within one are
function constants, so that a kernel exists once for each format of numbers.
"""

import struct
from dataclasses import replace

from mlxc._table.rows import BY_NAME

from .dispatch import Bytes, Dispatch, Faults, In, Operand, Out, launcher
from .layout import LIMIT, spread, up

NUMBERS = ("float32", "float16", "bfloat16")
FORMS = {"float32": 0, "float16": 1, "bfloat16": 2, "uint8": 3}
MODES = {"affine": 0, "mxfp4": 1, "mxfp8": 1, "nvfp4": 2}
FEW = 4  # rows of x that go row by row
HIGH, WIDE = 32, 64  # tiles of the result


def _settings(group_size, bits, mode, scales: Operand, factor=False) -> dict:
    """Function constants of shaders/quantized.h."""
    return {0: bits, 1: group_size, 2: MODES[mode], 3: FORMS[scales.dtype], 4: factor}


def _product(ins: list[Operand], out: Operand, params, gathered: bool) -> list[Dispatch] | None:
    transpose, group_size, bits, mode = params
    x, w, scales = ins[:3]
    m, k = x.shape[-2:]
    n = out.shape[-1]
    items = out.size // max(1, m * n)
    x_count, w_count = (ins[0].shape[0], ins[1].shape[0]) if gathered else (1, 1)
    if max(m, n, k, items) >= LIMIT or 0 in (x_count, w_count):
        return None
    tiles = up(m, HIGH)
    row_bytes = 4 * w.shape[-1]
    packed = struct.pack(
        "<4Q8I",
        *(m * k, w.shape[-2] * row_bytes, w.shape[-2] * scales.shape[-1], row_bytes),
        *(m, n, k, scales.shape[-1], items, x_count, w_count, tiles),
    )
    if m > FEW:
        name, columns, threads = "packed_tiles", tiles * up(n, WIDE), 128
    elif transpose:
        name, columns, threads = "packed_along", up(n, 16), 128
    else:
        name, columns, threads = "packed_across", up(n, 256), 256
    indices = [In(len(ins) - 2), In(len(ins) - 1)] if gathered else [In(1), In(1)]
    biases = In(3 if mode == "affine" else 2)
    step = Dispatch(
        "quantized",
        f"{name}_{x.dtype}",
        [In(0), In(1), In(2), biases, Out(0), Bytes(packed), *indices],
        (columns, *spread(items)),
        (threads, 1, 1),
        groups=True,
        constants=_settings(group_size, bits, mode, scales)
        | {5: gathered, 6: bool(transpose), 7: min(m, FEW)},
    )
    if not gathered or out.size == 0:
        return [step]
    code = Bytes(struct.pack("<I", BY_NAME["gather_qmm"].code))
    check = replace(
        step,
        function="packed_check",
        arguments=[*indices, Bytes(packed), code, Faults()],
        grid=(items, 1, 1),
        group=(32, 1, 1),
        groups=False,
    )
    return [check, step]


@launcher("quantized_matmul")
def quantized_matmul(row, ins, outs, params):
    """ins: x (m, k), codes, scales, biases if affine; params: transpose, group_size, bits, mode."""
    return _product(ins, outs[0], params, False)


@launcher("gather_qmm")
def gather_qmm(row, ins, outs, params):
    """Like quantized_matmul with stacks, then uint32 numbers of their items."""
    return _product(ins, outs[0], params, True)


def _rows(function: str, arguments: list, packs: int, settings: dict) -> list[Dispatch] | None:
    """A thread for eight numbers, in whole threadgroups."""
    if packs >= LIMIT:
        return None
    constants = settings | {5: False, 6: False, 7: 0}
    grid = (up(packs, 256) * 256 if function.startswith("quantize") else packs, 1, 1)
    step = Dispatch("quantized", function, arguments, grid, (256, 1, 1), constants=constants)
    return [step]


@launcher("quantize")
def quantize(row, ins, outs, params):
    """ins: numbers, a global factor if there is one; outs: codes, scales, biases if affine."""
    group_size, bits, mode, factor = params
    packs = ins[0].size // 8
    arguments = [In(0), Out(0), Out(1), Out(2 if mode == "affine" else 1), In(int(factor))]
    arguments.append(Bytes(struct.pack("<I", packs if packs < LIMIT else 0)))
    settings = _settings(group_size, bits, mode, outs[1], factor)
    return _rows(f"quantize_{ins[0].dtype}", arguments, packs, settings)


@launcher("dequantize")
def dequantize(row, ins, outs, params):
    """ins: codes, scales, biases if affine, a global factor if there is one."""
    group_size, bits, mode, dtype, factor = params
    biases = In(2 if mode == "affine" else 1)
    arguments = [In(0), In(1), biases, In(len(ins) - 1), Out(0)]
    settings = _settings(group_size, bits, mode, ins[1], factor)
    return _rows(f"dequantize_{dtype}", arguments, outs[0].size // 8, settings)


@launcher("to_fp8")
def to_fp8(row, ins, outs, params):
    """ins: numbers of any floating type but float64."""
    if ins[0].dtype not in NUMBERS or ins[0].size >= LIMIT:
        return None
    settings = {0: 8, 1: 32, 2: 1, 3: 3, 4: False, 5: False, 6: False, 7: 0}
    function = f"to_fp8_{ins[0].dtype}"
    arguments = [In(0), Out(0)]
    grid = (ins[0].size, 1, 1)
    return [Dispatch("quantized", function, arguments, grid, (256, 1, 1), constants=settings)]
