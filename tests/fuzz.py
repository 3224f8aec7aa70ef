"""Calls everything public with hostile arguments: whatever comes in, a result or a clear error comes out.

``python -m tests.fuzz --calls N --seed S`` prints what it found and exits with the number of findings; ``--only I``
repeats call I of that seed alone, ``--match TEXT`` calls only targets with TEXT in their names.

Rules: call I of seed S depends on nothing but S and I, so every finding repeats. Calls run in a child process with
limited memory that notes each call before it is made; when the child dies or hangs, the note says which call it was,
and another child goes on behind it. A call that takes long is interrupted as by Ctrl-C, and must heed that.
"""

import argparse
import collections
import faulthandler
import gc
import importlib
import inspect
import json
import os
import pickle
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

MEMORY = 4 << 30  # bytes of address space beyond what the child starts with
PATIENCE = 3  # seconds until a call is interrupted
HANG = 25  # seconds until a call that ignored that counts as hanging
CLEAR = (ValueError, TypeError, IndexError, RuntimeError, MemoryError, OverflowError, BufferError)
# What Python itself says of arguments that no signature has; and errors of the file system.
PYTHONS_OWN = re.compile(
    r"argument|positional|keyword|expected \d|unpack|iterable|not callable|operand type"
    r"|not supported between|must be (a )?real|object is not|has no len|cannot be interpreted"
    r"|embedded null|only integer scalar arrays|truth value of an|unhashable type|could not convert"
    r"|cannot convert float|can't multiply|can only concat"
)
INTEGERS = (0, 1, -1, 2, 3, -2, 5, 7, -7, 64, 2**15, 2**31 - 1, 2**31, -(2**31), 2**32 + 1, 2**62,
            -(2**62), 2**63 - 1, -(2**63), 2**63, 2**64, 2**100)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, 0.5, -1.5, 1e-45, 1e38, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))
SIZES = (0, 1, 2, 3, 4, 5, 8, 16, 17, 33, 64, 100, 130)
WORDS = ("", "constant", "edge", "same", "full", "valid", "left", "right", "ortho", "forward", "backward", "fro", "nuc",
         "L", "U", "ij", "xy", "affine", "mxfp4", "nvfp4", "mxfp8", "causal", "reflect", "nearest", "linear", "cubic",
         "ij,jk->ik", "i->", "...i,i->...", "none", "mean", "sum", "fuzz.npy", "\0", "é" * 50)  # fmt: skip
DTYPES = ("bool_", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16",
          "float32", "float64", "complex64")  # fmt: skip
SPACES = ("", "fft", "linalg", "random", "fast", "metal", "cuda", "distributed")
SPECIALS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift", "matmul",
            "divmod")  # fmt: skip
ARRAY_NAMES = set("a b c x y v q k w arr array input weight inputs values update operand lhs rhs logits targets scales "
                  "biases mean cov beta gamma condition predictions labels key sorted_sequence bias window".split())
INDEX_NAMES = {"indices", "segments", "lhs_indices", "rhs_indices", "start_indices", "index"}
SIZE_NAMES = {"shape", "s", "reps", "size", "sizes", "slice_size", "num_samples", "repeats"}
DIMS_NAMES = {"dims", "kernel_size", "num_heads", "num_groups", "num_layers", "M", "N", "m", "n_fft"}


class TooLong(BaseException):
    """What the alarm raises in a call that takes long."""


def anything(rng, mx):
    """A value of any type at all."""
    endless = []
    endless.append(endless)
    return rng.choice(
        [
            None, True, False, *INTEGERS, *FLOATS, 1j, complex("nan"), *WORDS, b"x", [], (), {}, set(), object(), int,
            lambda *a: a, [[1], [2, 3]], endless, [None], ["a"], [1.5, 2], [2**70], range(3), slice(None, 2), ...,
            slice(2**62, -(2**63), -1), mx.float32, mx.bfloat16, np.float64(1), np.int8(-1), np.zeros(2, "M8[D]"),
            np.array(["a"]), np.array([None]), np.zeros((1,) * 40), np.zeros((2, 0)), {"a": 1}, mx.array, mx,
            iter([1, 2]), bytearray(b"abcd"), memoryview(b"ab"), np.random, float, Ellipsis, NotImplemented,
        ]
    )  # fmt: skip


class Arguments:
    """Makes hostile arguments; what belongs to one call often fits together, so that kernels are reached."""

    def __init__(self, rng, mx):
        self.rng, self.mx = rng, mx
        self.numbers = np.random.default_rng(rng.getrandbits(32))
        self.base = self.new_shape()
        self.dtype = rng.choice(DTYPES + ("float32",) * 10)

    def chance(self, percent):
        return self.rng.random() * 100 < percent

    def new_shape(self):
        if self.chance(4):
            return tuple([1] * self.rng.choice((6, 12, 31, 32)))
        return tuple(self.rng.choice(SIZES) for _ in range(self.rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5))))

    def small_shape(self):
        shape = self.new_shape()
        while np.prod(shape, dtype=float) > 2**17:
            shape = shape[1:]
        return shape

    def shape_near(self):
        """A shape that often fits the call's base shape."""
        base = self.base
        while np.prod(base, dtype=float) > 2**17:
            base = base[1:]
        return self.rng.choice(
            [base, base, base, base[-1:], base[-2:], (), base[:-2] + base[-2:][::-1], base[:-1] + (1,),
             base[:-1] + (base[-1:] or (1,)), ((1,) + base)[:32], base[:-1], self.small_shape()]
        )  # fmt: skip

    def contents(self, shape, name):
        """NumPy values of a dtype: usual, extreme, or not finite."""
        numbers, way = self.numbers, self.rng.randrange(5)
        if name == "bool_":
            return numbers.integers(0, 2, shape).astype(bool)
        if name[0] in "iu":
            info = np.iinfo(name)
            low, high = [(0, 4), (max(info.min, -9), 10), (info.min, info.max), (0, 1), (0, 100)][way]
            return np.asarray(numbers.integers(low, high, shape, dtype=name))
        values = np.asarray(numbers.normal(size=shape) * (1, 1e30, 1, 1e-30, 10)[way])
        if way == 2 and values.size:
            values.flat[:: max(1, values.size // 3)] = self.rng.choice(FLOATS)
        with np.errstate(over="ignore"):
            if name == "complex64":
                return (values + 1j * values[..., ::-1] if values.ndim else values + 1j).astype(name)
            return values.astype("float32" if name == "bfloat16" else name)

    def array(self, shape=None, name=None):
        """An array of any dtype and layout."""
        mx, rng = self.mx, self.rng
        shape = self.shape_near() if shape is None else shape
        name = name or (self.dtype if self.chance(70) else rng.choice(DTYPES))
        dtype = getattr(mx, name)
        way = rng.randrange(12)
        if way == 1 and len(shape) > 1:
            return mx.array(self.contents(shape[::-1], name), dtype=dtype).T
        if way == 2 and shape:
            return mx.array(self.contents((2 * shape[0] + 1, *shape[1:]), name), dtype=dtype)[1::2]
        if way == 3 and shape:
            return mx.array(self.contents(shape, name), dtype=dtype)[..., ::-1]
        if way == 4 and shape:
            return mx.broadcast_to(mx.array(self.contents(shape[1:], name), dtype=dtype), shape)
        if way == 5 and shape and 0 not in shape:
            reach = 1 + sum(size - 1 for size in shape)
            flat = mx.array(self.contents((reach,), name), dtype=dtype)
            return mx.as_strided(flat, shape, (1,) * len(shape))
        if way == 6:
            return mx.array(self.contents(shape, name), dtype=dtype) + mx.zeros(shape, dtype)
        if way == 7 and name != "bfloat16" and len(shape) <= 32:
            frozen = self.contents(shape, name)
            frozen.flags.writeable = False
            return mx.asarray(frozen, dtype=dtype)
        if way == 8 and self.chance(20):
            huge = rng.choice([(2**31, 1), (2**16, 2**16), (2**57,), (3, 2**31), (2**40, 0), (2**28, 2**29)])
            return mx.broadcast_to(mx.array(self.contents((1,) * len(huge), name), dtype=dtype), huge)
        return mx.array(self.contents(shape, name), dtype=dtype)

    def arraylike(self):
        if self.chance(88):
            return self.array()
        return self.rng.choice(
            [self.contents(self.shape_near(), "float32"), self.rng.choice(INTEGERS), self.rng.choice(FLOATS), [1, 2.5],
             [[1, 2], [3, 4]], [self.array()], True, np.float32(2)]
        )  # fmt: skip

    def integer(self):
        return self.rng.choice(INTEGERS) if self.chance(30) else self.rng.randrange(-3, 9)

    def count(self):
        """A size that often makes sense."""
        return self.rng.choice(INTEGERS) if self.chance(15) else self.rng.choice(SIZES)

    def axis(self):
        if self.chance(12):
            return self.rng.choice([None, 2**31, -(2**31), 2**62, -(2**63), 2**64, 33, -33])
        return self.rng.randrange(-len(self.base) - 1, len(self.base) + 2)

    def several(self, make, most=4):
        return [make() for _ in range(self.rng.randrange(most + 1))]

    def listed(self, make):
        """One, or a list or tuple of several."""
        if self.chance(50):
            return make()
        return self.rng.choice((tuple, list))(self.several(make))

    def pick(self):
        """An index array, mostly inside."""
        high = max((*self.base, 1))
        if self.chance(25):
            return self.array(name=self.rng.choice(("int32", "int64", "uint64", "int8")))
        values = self.numbers.integers(-high, high, self.shape_near())
        return self.mx.array(values, dtype=getattr(self.mx, self.rng.choice(("int32", "uint32", "int64"))))

    def key(self):
        """What may stand in brackets."""
        make = self.rng.choice(
            [self.integer, self.pick, lambda: slice(*[self.rng.choice([None, self.integer()]) for _ in range(3)]),
             lambda: ..., lambda: None, lambda: self.array(name="bool_"), lambda: self.array(self.base, "bool_"),
             lambda: self.array((), "int32"), lambda: [0, 1], lambda: anything(self.rng, self.mx)]
        )  # fmt: skip
        return make()

    def keys(self):
        return self.key() if self.chance(50) else tuple(self.several(self.key))

    def function(self):
        mx = self.mx
        return self.rng.choice(
            [mx.sum, mx.exp, lambda x: x, lambda x: (x * 2).sum(), lambda *a: a[0], lambda x: [x, x + 1], lambda x: None,
             lambda x: x.item(), lambda x, y: x @ y, lambda: 1, lambda x: 1.0, lambda x: {"a": x}]
        )  # fmt: skip

    def named(self, name, default):
        """A value for a parameter, by its name and default."""
        rng, mx = self.rng, self.mx
        if name == "stream":
            return rng.choice([None, None, mx.cpu, mx.default_stream(mx.default_device()), "cpu", 7])
        if name in ("fun", "f", "func", "function"):
            return self.function()
        if name in ("dtype", "to", "from_"):
            return getattr(mx, rng.choice(DTYPES)) if self.chance(90) else anything(rng, mx)
        if name in ("arrays", "arys", "primals", "tangents", "cotangents", "operands"):
            return self.several(self.arraylike)
        if name in ("file", "path", "filename"):
            return rng.choice(["fuzz.npy", "fuzz.npz", "fuzz.safetensors", "fuzz.gguf", "fuzz", "no/fuzz.npy", "\0"])
        if name in INDEX_NAMES:
            return self.pick()
        if name == "mask" or name.startswith("mask_"):
            return rng.choice([None, self.array(name="bool_"), self.array(), "causal"])
        if name in SIZE_NAMES:
            near = tuple(self.shape_near())
            return rng.choice([near, near, (-1,), (2, -1), (), self.listed(self.count)])
        if "axis" in name or "axes" in name or name in ("source", "destination"):
            return self.listed(self.axis) if self.chance(30) else self.axis()
        if name in DIMS_NAMES or name.endswith(("_dims", "_size", "_channels", "_features", "_embeddings")):
            return self.count()
        if name in ("stride", "strides", "padding", "dilation", "pad_width", "kernel_dilation", "input_dilation",
                    "output_padding", "scale_factor", "shift"):  # fmt: skip
            return self.listed(lambda: rng.choice((0, 1, 1, 2, 3, -1, *INTEGERS)))
        if isinstance(default, bool):
            return self.chance(50)
        if isinstance(default, int):
            return self.integer()
        if isinstance(default, float):
            return rng.choice(FLOATS)
        if isinstance(default, str):
            return rng.choice(WORDS)
        if name in ARRAY_NAMES or default is inspect.Parameter.empty:
            return self.arraylike() if self.chance(85) else self.integer()
        return rng.choice([None, self.arraylike(), self.integer(), rng.choice(FLOATS), rng.choice(WORDS)])

    def for_signature(self, signature):
        """Positional and keyword arguments for a callable."""
        args, kwargs, by_name = [], {}, False
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += self.several(lambda name=name: self.named(name.rstrip("s"), parameter.empty))
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            optional = parameter.default is not parameter.empty
            if optional and self.chance(55):
                by_name = True
                continue
            wild = self.chance(3)
            value = anything(self.rng, self.mx) if wild else self.named(name, parameter.default)
            if parameter.kind is parameter.KEYWORD_ONLY or by_name:
                kwargs[name] = value
                if parameter.kind is parameter.POSITIONAL_ONLY:
                    kwargs.pop(name)
            else:
                args.append(value)
        return args, kwargs


def signature_of(function):
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def public_functions(mx):
    """(name, function, signature) of every public callable of mx and its modules."""
    for space in SPACES:
        module = importlib.import_module("mlxc.core" + (f".{space}" if space else ""))
        for name in getattr(module, "__all__", None) or dir(module):
            function = getattr(module, name, None)
            if name.startswith("_") or not callable(function) or inspect.isclass(function):
                continue
            if (signature := signature_of(function)) is not None:
                yield f"mx.{space}.{name}".replace("..", "."), function, signature


def targets():
    """name -> function of Arguments giving (callable, args, kwargs)."""
    import mlxc.core as mx
    import mlxc.nn as nn

    made = {}
    for name, function, signature in public_functions(mx):
        made[name] = lambda make, f=function, s=signature: (f, *make.for_signature(s))
    for name in dir(mx.array):
        method = getattr(mx.array, name)
        if not name.startswith("_") and callable(method):
            made[f"array.{name}"] = lambda make, m=method, s=signature_of(method): (m, *for_method(make, s))
    for space, module in (("nn", nn), ("nn.losses", nn.losses), ("nn.init", nn.init)):
        for name in dir(module):
            item = getattr(module, name)
            if name.startswith("_") or not callable(item) or not (item.__module__ or "").startswith("mlxc"):
                continue
            if inspect.isclass(item) and issubclass(item, nn.Module):
                made[f"{space}.{name}"] = lambda make, c=item, s=signature_of(item): (layer_call(c), *for_layer(make, s))
            elif not inspect.isclass(item) and name not in ("fsdp_apply_gradients",):
                made[f"{space}.{name}"] = lambda make, f=item, s=signature_of(item): (f, *make.for_signature(s))
    made.update(special_targets(mx))
    return made


def for_method(make, signature):
    args, kwargs = make.for_signature(signature) if signature else (make.several(make.integer), {})
    return [make.array(), *args[1 if signature and "self" in signature.parameters else 0 :]], kwargs


def layer_call(cls):
    def build_and_call(arrays, args, kwargs):
        return cls(*args, **kwargs)(*arrays)

    return build_and_call


def for_layer(make, signature):
    args, kwargs = make.for_signature(signature)
    name = "float32" if make.chance(80) else make.dtype
    return [[make.array(name=name) for _ in range(make.rng.choice((1, 1, 1, 2, 3)))], args, kwargs], {}


def special_targets(mx):
    """Operators, conversions, indexing, iteration, files: what is no function with a signature."""
    made = {}
    for name in SPECIALS:
        for prefix in ("", "r", "i"):
            method = getattr(mx.array, f"__{prefix}{name}__", None)
            if method is not None:
                made[f"array.__{prefix}{name}__"] = lambda make, m=method: (m, [make.array(), make.arraylike()], {})
    conversions = (float, int, complex, bool, len, list, repr, bytes, hash, np.array, np.asarray, memoryview, pickle.dumps,
                   np.from_dlpack, abs, iter, lambda x: x.T.mT, lambda x: format(x, ".3f"), lambda x: f"{x}")  # fmt: skip
    for function in conversions:
        made[f"convert.{getattr(function, '__name__', function)}"] = lambda make, f=function: (f, [make.array()], {})
    made["array"] = lambda make: (mx.array, [make.arraylike() if make.chance(50) else anything(make.rng, mx)],
                                  {"dtype": make.named("dtype", None)} if make.chance(50) else {})  # fmt: skip
    made["array.__getitem__"] = lambda make: (mx.array.__getitem__, [make.array(make.base_small()), make.keys()], {})
    made["array.__setitem__"] = lambda make: (set_item, [make.array(make.base_small()), make.keys(), make.arraylike()], {})
    made["array.at"] = lambda make: (
        update_at, [make.rng.choice(("add", "subtract", "multiply", "divide", "maximum", "minimum")),
                    make.array(make.base_small()), make.keys(), make.arraylike()], {})  # fmt: skip
    made["array.__contains__"] = lambda make: (mx.array.__contains__, [make.array(), make.arraylike()], {})
    made["damaged file"] = lambda make: (load_damaged, [mx, make], {})
    for number in range(20):  # as often as twenty functions
        made[f"chain {number}"] = lambda make: (chain, [mx, make], {})
    return made


STEPS = (
    *(lambda mx, make, x, y, name=name: getattr(mx, name)(x) for name in (
        "exp", "sin", "abs", "negative", "sqrt", "square", "tanh", "isnan", "floor", "softmax", "sum", "max", "sort",
        "argmax", "logsumexp", "cumsum", "mean", "transpose", "flatten", "squeeze", "contiguous", "stop_gradient")),
    *(lambda mx, make, x, y, name=name: getattr(mx, name)(x, y) for name in (
        "add", "subtract", "multiply", "divide", "maximum", "power", "less", "matmul", "arctan2", "remainder",
        "logaddexp", "equal", "take", "outer")),
    *(lambda mx, make, x, y, name=name: getattr(mx, name)(x, axis=make.axis(), keepdims=make.chance(50)) for name in (
        "sum", "max", "prod", "all", "var", "argmin", "logsumexp")),
    *(lambda mx, make, x, y, name=name: getattr(mx, name)(x, make.axis()) for name in (
        "softmax", "sort", "argsort", "cumsum", "cummax", "expand_dims", "logcumsumexp")),
    lambda mx, make, x, y: x[make.keys()],
    lambda mx, make, x, y: set_item(mx.array(x), make.keys(), y),
    lambda mx, make, x, y: set_item(x, make.keys(), y),
    lambda mx, make, x, y: update_at("add", x, make.keys(), y),
    lambda mx, make, x, y: x.astype(getattr(mx, make.rng.choice(DTYPES))),
    lambda mx, make, x, y: x.view(getattr(mx, make.rng.choice(DTYPES))),
    lambda mx, make, x, y: mx.where(x > y, x, y),
    lambda mx, make, x, y: mx.concatenate([x, y, x], make.axis()),
    lambda mx, make, x, y: mx.stack([x, x], make.axis()),
    lambda mx, make, x, y: mx.broadcast_to(x, (3, *x.shape)),
    lambda mx, make, x, y: mx.reshape(x, (-1, 2)),
    lambda mx, make, x, y: mx.swapaxes(x, make.axis(), make.axis()),
    lambda mx, make, x, y: x @ x.T,
    lambda mx, make, x, y: (mx.eval(x), x)[1],
)


def chain(mx, make):
    """Some tens of operations on each other's results, evaluated together: what the scheduler fuses."""
    values = [make.array() for _ in range(3)]
    for _ in range(make.rng.randrange(3, 30)):
        x, y = make.rng.choice(values[-6:]), make.rng.choice(values)
        try:
            z = make.rng.choice(STEPS)(mx, make, x, y)
        except CLEAR:
            continue
        if z.size < 2**20:
            values.append(z)
    return values


def base_small(self):
    while np.prod(self.base, dtype=float) > 2**17:
        self.base = self.base[1:]
    return self.base


Arguments.base_small = base_small


def set_item(x, key, value):
    x[key] = value
    return x


def update_at(name, x, key, value):
    return getattr(x.at[key], name)(value)


def load_damaged(mx, make):
    """Save a file, change a few of its bytes, load it."""
    kind = make.rng.choice(("npy", "npz", "safetensors", "gguf"))
    path, x = f"damaged.{kind}", mx.contiguous(make.array(name=make.rng.choice(DTYPES[1:10])))
    if kind == "npy":
        mx.save(path, x)
    elif kind == "npz":
        mx.savez(path, a=x)
    else:
        (mx.save_safetensors if kind == "safetensors" else mx.save_gguf)(path, {"a": x})
    data = bytearray(Path(path).read_bytes())
    for _ in range(make.rng.randrange(1, 5)):
        place = min(len(data) - 1, make.rng.randrange(min(len(data), 300)))
        data[place] = make.rng.choice((0, 255, ord("9"), ord("-"), make.rng.randrange(256)))
    if make.chance(30):
        data = data[: make.rng.randrange(len(data))]
    Path(path).write_bytes(data)
    return mx.load(path)


def leaves(value, mx, depth=0):
    """The arrays in a result."""
    if isinstance(value, mx.array):
        yield value
    elif isinstance(value, (list, tuple)) and depth < 5:
        for item in value[:50]:
            yield from leaves(item, mx, depth + 1)
    elif isinstance(value, dict) and depth < 5:
        for item in list(value.values())[:50]:
            yield from leaves(item, mx, depth + 1)


def transformed(way, function, args, kwargs, mx):
    """The call under a transform over its arrays."""
    places = [k for k, arg in enumerate(args) if isinstance(arg, mx.array)]
    xs = [args[k] for k in places]

    def plain(*arrays):
        full = list(args)
        for k, x in zip(places, arrays):
            full[k] = x
        outputs = list(leaves(function(*full, **kwargs), mx))
        return outputs[0] if len(outputs) == 1 else outputs

    def scalar(*arrays):
        outputs = plain(*arrays)
        return sum([mx.abs(x).sum().astype(mx.float32) for x in ([outputs] if isinstance(outputs, mx.array) else outputs)])

    if way == "compile":
        return mx.compile(plain)(*xs)
    if way == "vmap":
        return mx.vmap(plain)(*xs)
    if way == "grad":
        return mx.grad(scalar, list(range(len(xs))))(*xs)
    return mx.jvp(plain, xs, xs)


def describe(value, mx):
    """A short text for a report, that evaluates nothing."""
    if isinstance(value, mx.array):
        return f"array{value.shape}:{value.dtype.name}"
    if isinstance(value, (list, tuple)):
        try:
            return "[" + ", ".join(describe(item, mx) for item in value[:8]) + "]"
        except RecursionError:
            return "[endless]"
    if isinstance(value, np.ndarray):
        return f"numpy{value.shape}:{value.dtype}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {describe(v, mx)}" for k, v in value.items()) + "}"
    return repr(value)[:40] if isinstance(value, (int, float, str, type(None))) else type(value).__name__


def prepare(seed, number, made, mx):
    """(name, way, callable, args, kwargs) of a call."""
    rng = random.Random(f"{seed} {number}")
    name = rng.choice(list(made))
    way = rng.choice(("plain",) * 12 + ("compile", "vmap", "grad", "grad", "jvp"))
    make = Arguments(rng, mx)
    function, args, kwargs = made[name](make)
    return name, way, function, args, kwargs


def judge(error):
    """What is wrong with an exception; an empty text if it is clear."""
    kind = type(error).__name__
    text = str(error)
    if isinstance(error, OSError):
        return ""
    if not isinstance(error, CLEAR) or isinstance(error, RecursionError):
        return f"{kind}: {text}"
    if isinstance(error, MemoryError) or text.startswith("[") or PYTHONS_OWN.search(text):
        return ""
    return "" if is_deliberate(error) else f"bare {kind}: {text}"


def is_deliberate(error):
    """Whether a raise statement of ours made the error."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "mlxc" in Path(last.filename).parts and "raise" in (last.line or "")


def perform(way, function, args, kwargs, mx):
    """Make a call and compute what it gives; what is wrong with the outcome, and its class."""
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, 1)
    try:
        if way == "plain":
            result = function(*args, **kwargs)
        else:
            result = transformed(way, function, args, kwargs, mx)
        outputs = list(leaves(result, mx))
        mx.eval(outputs)
        for x in outputs:
            if x.size < 1000:
                repr(x)
                np.array(x)
        return "", "result"
    except TooLong:
        return "", "interrupted"
    except Exception as error:
        return judge(error), type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def raise_too_long(_number, _frame):
    raise TooLong


def chosen_targets(match):
    made = {name: make for name, make in targets().items() if match in name}
    if not made:
        sys.exit(f"no target has {match!r} in its name")
    return made


def child(seed, first, last, match):
    """Make calls first to last, in a folder of their own; a line of JSON for each kind of outcome at the end."""
    import mlxc.core as mx

    made = chosen_targets(match)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    signal.signal(signal.SIGALRM, raise_too_long)
    note = os.open("note", os.O_RDWR | os.O_CREAT)
    limits = [(mx.set_memory_limit, mx.get_memory_limit()), (mx.set_cache_limit, 256 << 20)]
    outcomes = collections.Counter()
    with open("outcomes", "a") as log:
        for number in range(first, last):
            faulthandler.dump_traceback_later(HANG, exit=True)
            os.pwrite(note, f"{number}\n(preparing)\n".ljust(400).encode(), 0)
            try:
                name, way, function, args, kwargs = prepare(seed, number, made, mx)
            except (ValueError, MemoryError):  # more than fits, say
                continue
            text = f"{number}\n{name} [{way}] {describe(args, mx)} {describe(kwargs, mx)}\n"
            os.pwrite(note, text[:390].ljust(400).encode("utf-8", "replace"), 0)
            wrong, outcome = perform(way, function, args, kwargs, mx)
            outcomes[outcome] += 1
            if wrong:
                log.write(json.dumps([number, text.split("\n")[1], wrong[:300]]) + "\n")
                log.flush()
            del function, args, kwargs
            for restore, value in limits:
                restore(value)
            if number % 500 == 499:
                gc.collect()
                mx.clear_cache()
    faulthandler.cancel_dump_traceback_later()
    Path("done").write_text(json.dumps(outcomes))


class Report:
    """What batches of calls gave."""

    def __init__(self):
        self.outcomes = collections.Counter()
        self.findings = []  # (number, call, what is wrong)

    @property
    def crashes(self):
        return [finding for finding in self.findings if finding[2].startswith("crash")]

    def show(self):
        print(", ".join(f"{count} {name}" for name, count in self.outcomes.most_common()))
        seen = collections.Counter()
        for number, call, wrong in self.findings:
            kind = (call.split(" ")[0], re.sub(r"[\d.]+", "0", wrong)[:60])
            seen[kind] += 1
            if seen[kind] == 1:
                print(f"call {number}: {call[:200]}\n    {wrong}")
        print(f"{len(self.findings)} findings of {len(seen)} kinds, {len(self.crashes)} of them crashes")


def run_batch(folder, seed, first, last, match):
    """Run calls in one child; (calls made, report lines of a crash or None)."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", "--seed", str(seed), "--match", match]
    root = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(root), *filter(None, sys.path)])
    for name in ("done", "note"):
        Path(folder, name).unlink(missing_ok=True)
    with open(Path(folder, "stderr"), "w+") as errors:
        process = subprocess.Popen(
            [*command, "--batch", str(first), str(last)], cwd=folder, stderr=errors, stdout=errors,
            env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
        )  # fmt: skip
        code = process.wait()
        errors.seek(0)
        said = errors.read()
    if Path(folder, "done").exists():
        return last, None, json.loads(Path(folder, "done").read_text())
    note = Path(folder, "note")
    number, call = (note.read_text(errors="replace").split("\n") + ["", ""])[:2] if note.exists() else ("", "")
    if not number.strip().isdigit():
        raise RuntimeError(f"the child did not start:\n{said[-3000:]}")
    place = re.findall(r'File "([^"]+)", line (\d+) in (\w+)', said)[:3]
    return int(number) + 1, [int(number), call, f"crash (exit {code}): {said[:150]!r} {place}"], {}


def run(calls, seed, match="", first=0, batch=5000, show=False):
    """Make calls; a Report."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        number, last = first, first + calls
        while number < last:
            following, crash, outcomes = run_batch(folder, seed, number, min(number + batch, last), match)
            report.outcomes.update(outcomes)
            if crash:
                report.findings.append(crash)
                if show:
                    print("CRASH", crash, flush=True)
            number = following
        log = Path(folder, "outcomes")
        if log.exists():
            report.findings += [json.loads(line) for line in log.read_text().splitlines()]
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--match", default="", help="only targets with this in their names")
    parser.add_argument("--only", type=int, help="repeat this call, in this process")
    parser.add_argument("--batch", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch:
        child(options.seed, *options.batch, options.match)
        return 0
    if options.only is not None:
        import mlxc.core as mx

        signal.signal(signal.SIGALRM, raise_too_long)
        made = chosen_targets(options.match)
        name, way, function, args, kwargs = prepare(options.seed, options.only, made, mx)
        print(name, way, describe(args, mx), describe(kwargs, mx), flush=True)
        print(perform(way, function, args, kwargs, mx))
        return 0
    print(f"seed {options.seed}", flush=True)
    report = run(options.calls, options.seed, options.match, show=True)
    report.show()
    return min(len(report.findings), 100)


if __name__ == "__main__":
    sys.exit(main())
