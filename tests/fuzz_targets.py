"""What the fuzzer calls: everything public, the operators, chains of operations, damaged files.

Rules: a target is a function of Arguments that gives (callable, args, kwargs); targets are found
in the public namespaces, so that what is added there is tested from then on.
"""

import importlib
import inspect
import pickle
from pathlib import Path

import numpy as np

from .fuzz_arguments import DTYPES, anything

CLEAR = (ValueError, TypeError, IndexError, RuntimeError, MemoryError, OverflowError, BufferError)
SPACES = ("", "fft", "linalg", "random", "fast", "metal", "cuda", "distributed")
SPECIALS = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
    "matmul",
    "divmod",
)


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
        made[name] = plain_target(function, signature)
    for name in dir(mx.array):
        method = getattr(mx.array, name)
        if not name.startswith("_") and callable(method):
            made[f"array.{name}"] = method_target(method, signature_of(method))
    for space, module in (("nn", nn), ("nn.losses", nn.losses), ("nn.init", nn.init)):
        for name in dir(module):
            item = getattr(module, name)
            ours = callable(item) and (item.__module__ or "").startswith("mlxc")
            if name.startswith("_") or not ours:
                continue
            if not inspect.isclass(item):
                made[f"{space}.{name}"] = plain_target(item, signature_of(item))
            elif issubclass(item, nn.Module):
                made[f"{space}.{name}"] = layer_target(item, signature_of(item))
    made.update(special_targets(mx))
    return made


def plain_target(function, signature):
    return lambda make: (function, *make.for_signature(signature))


def method_target(method, signature):
    return lambda make: (method, *for_method(make, signature))


def layer_target(cls, signature):
    return lambda make: (layer_call(cls), *for_layer(make, signature))


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
    return [
        [make.array(name=name) for _ in range(make.rng.choice((1, 1, 1, 2, 3)))],
        args,
        kwargs,
    ], {}


CONVERSIONS = (
    *(float, int, complex, bool, len, list, repr, bytes, hash, abs, iter),
    *(np.array, np.asarray, np.from_dlpack, memoryview, pickle.dumps),
    lambda x: x.T.mT,
    lambda x: format(x, ".3f"),
    lambda x: f"{x}",
)


def special_targets(mx):
    """Operators, conversions, indexing, iteration, files: what is no function with a signature."""
    made = {}
    for function in CONVERSIONS:
        name = f"convert.{getattr(function, '__name__', function)}"
        made[name] = lambda make, f=function: (f, [make.array()], {})
    for name in SPECIALS:
        for prefix in ("", "r", "i"):
            method = getattr(mx.array, f"__{prefix}{name}__", None)
            if method is not None:
                made[f"array.__{prefix}{name}__"] = lambda make, m=method: (
                    m,
                    [make.array(), make.arraylike()],
                    {},
                )
    made["array"] = lambda make: (
        mx.array,
        [make.arraylike() if make.chance(50) else anything(make.rng, mx)],
        {"dtype": make.named("dtype", None)} if make.chance(50) else {},
    )
    made["array.__getitem__"] = lambda make: (
        mx.array.__getitem__,
        [make.array(make.small_base()), make.keys()],
        {},
    )
    made["array.__setitem__"] = lambda make: (
        set_item,
        [make.array(make.small_base()), make.keys(), make.arraylike()],
        {},
    )
    made["array.at"] = lambda make: (
        update_at,
        [
            make.rng.choice(("add", "subtract", "multiply", "divide", "maximum", "minimum")),
            make.array(make.small_base()),
            make.keys(),
            make.arraylike(),
        ],
        {},
    )
    made["array.__contains__"] = lambda make: (
        mx.array.__contains__,
        [make.array(), make.arraylike()],
        {},
    )
    made["damaged file"] = lambda make: (load_damaged, [mx, make], {})
    for number in range(20):  # as often as twenty functions
        made[f"chain {number}"] = lambda make: (chain, [mx, make], {})
    return made


STEPS = (
    *(
        lambda mx, make, x, y, name=name: getattr(mx, name)(x)
        for name in (
            "exp",
            "sin",
            "abs",
            "negative",
            "sqrt",
            "square",
            "tanh",
            "isnan",
            "floor",
            "softmax",
            "sum",
            "max",
            "sort",
            "argmax",
            "logsumexp",
            "cumsum",
            "mean",
            "transpose",
            "flatten",
            "squeeze",
            "contiguous",
            "stop_gradient",
        )
    ),
    *(
        lambda mx, make, x, y, name=name: getattr(mx, name)(x, y)
        for name in (
            "add",
            "subtract",
            "multiply",
            "divide",
            "maximum",
            "power",
            "less",
            "matmul",
            "arctan2",
            "remainder",
            "logaddexp",
            "equal",
            "take",
            "outer",
        )
    ),
    *(
        lambda mx, make, x, y, name=name: getattr(mx, name)(
            x, axis=make.axis(), keepdims=make.chance(50)
        )
        for name in ("sum", "max", "prod", "all", "var", "argmin", "logsumexp")
    ),
    *(
        lambda mx, make, x, y, name=name: getattr(mx, name)(x, make.axis())
        for name in (
            "softmax",
            "sort",
            "argsort",
            "cumsum",
            "cummax",
            "expand_dims",
            "logcumsumexp",
        )
    ),
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
    """Some tens of operations on each other's results, evaluated together: what the scheduler
    fuses."""
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
