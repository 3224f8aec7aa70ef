"""Launchers of pooling: a thread a number of the result, or of the gradient."""

import struct
from math import prod

from mlxc._table.dtypes import CODE, DTYPES

from .dispatch import Bytes, Dispatch, In, Operand, Out, Scratch, launcher
from .layout import LIMIT

FLOATS = ("float16", "bfloat16", "float32")
COMPUTE = {fact.name: "i32" if fact.compute == "b8" else fact.compute for fact in DTYPES}


def _packed(image: Operand, result: Operand, params) -> Bytes | None:
    """`struct Pool` of shaders/pool.metal; None where its 32-bit numbers do not suffice."""
    kernel, stride, padding = params[:3]
    missing = 5 - len(image.shape)

    def three(values, fill=1):
        return (fill,) * missing + tuple(values)

    sizes = three(image.shape[1:-1])
    reach = [n + 2 * p + k + s for n, p, k, s in zip(image.shape[1:-1], padding, kernel, stride)]
    if max(*reach, image.size, result.size) >= LIMIT:
        return None
    numbers = (*sizes, *three(result.shape[1:-1]), *three(kernel), *three(stride))
    numbers += (*three(padding, 0), image.shape[-1])
    return Bytes(struct.pack("<16If", *numbers, prod(kernel)))


def _step(name: str, arguments: list, count: int, dtype: str) -> Dispatch:
    return Dispatch("pool", name, arguments, (count, 1, 1), (256, 1, 1), constants={0: CODE[dtype]})


@launcher("max_pool", "mean_pool")
def results(row, ins, outs, params):
    """ins: images (n, *size, c); params: kernel, stride, padding."""
    out = outs[0]
    packed = _packed(ins[0], out, params)
    name = "pool_mean" if row == "mean_pool" else f"pool_max_{COMPUTE[out.dtype]}"
    if packed is None or out.dtype == "float64":
        return None
    return [_step(name, [In(0), Out(0), packed], out.size, out.dtype)]


@launcher("max_pool_tangent")
def max_pool_tangent(row, ins, outs, params):
    """ins: images, their tangent."""
    out = outs[0]
    packed = _packed(ins[0], out, params)
    if packed is None or out.dtype not in FLOATS:
        return None
    return [_step("pool_tangent", [In(0), In(1), Out(0), packed], out.size, out.dtype)]


@launcher("max_pool_gradient")
def max_pool_gradient(row, ins, outs, params):
    """ins: images, the result's cotangent."""
    x, ct = ins
    packed = _packed(x, ct, params)
    if packed is None or x.dtype not in FLOATS:
        return None
    shares = Scratch(0, 8 * max(ct.size, 1))
    first = _step("pool_shares", [In(0), In(1), shares, packed], ct.size, x.dtype)
    second = _step("pool_award", [In(0), shares, Out(0), packed], x.size, x.dtype)
    return [first, second] if ct.size else [second]


@launcher("mean_pool_gradient")
def mean_pool_gradient(row, ins, outs, params):
    """ins: the result's cotangent; params: kernel, stride, padding, size of the images."""
    out = outs[0]
    packed = _packed(out, ins[0], params)
    if packed is None or out.dtype not in FLOATS:
        return None
    return [_step("pool_spread", [In(0), Out(0), packed], out.size, out.dtype)]
