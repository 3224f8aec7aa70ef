"""Asking mlxc and the real MLX the same question and comparing the answers.

Rules: MLX is a black box. An answer is a tree of arrays, numbers, strings and None, or the class
of an error. Two answers agree if their structure, dtypes and shapes are equal and their values
near (tolerances of the dtype). An error of mlxc agrees if code that catches what MLX raises, among
FAMILIES, catches it.
"""

import types

import numpy as np

FAMILIES = (ValueError, TypeError, IndexError, RuntimeError, OverflowError)
DTYPES = (
    "bool_ uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 bfloat16 "
    "complex64"
).split()
TOLERANCES = {  # relative and absolute
    "float16": (4e-3, 2e-3),
    "bfloat16": (3e-2, 1e-2),
    "float32": (2e-5, 2e-5),
    "float64": (1e-6, 1e-6),
    "complex64": (5e-5, 5e-5),
}


def operands(mx):
    """The names that cases use, as arrays of one framework."""
    rng = np.random.default_rng(5)

    def real(*shape):
        return mx.array(rng.uniform(-0.9, 0.9, shape).astype(np.float32))

    def whole(*shape):
        return mx.array(rng.integers(0, 9, shape).astype(np.int32))

    x, y, v, w, t, q = real(3, 4), real(3, 4), real(4), real(4, 5), real(2, 3, 4), real(4, 4)
    i, k = whole(3, 4), whole(3, 4) + 1
    space = {
        "np": np,
        "mx": mx,
        "x": x,
        "y": y,
        "v": v,
        "w": w,
        "t": t,
        "q": q,
        "p": q @ mx.transpose(q) + 3 * mx.eye(4),
        "s": mx.array(0.5),
        "e": mx.zeros((0, 4)),
        "i": i,
        "k": k,
        "ix": mx.array([[0, 2], [1, 0]]),
        "b": x > y,
        "u": i.astype(mx.uint8),
        "l": i.astype(mx.int64),
        "c": x + 1j * y,
        "h": x.astype(mx.float16),
        "g": x.astype(mx.bfloat16),
        "d": x.astype(mx.float64),
        "z": mx.array([0.0, float("inf"), -1.0, float("nan"), -float("inf"), 2.0]),
        "K": mx.array([0, 7], dtype=mx.uint32),
        "qw": real(64, 128),
        "qx": real(3, 128),
        "r": real(1, 2, 5, 8),
        "a1": real(2, 9, 4),
        "k1": real(3, 3, 4),
        "k1g": real(2, 3, 2),
        "a2": real(2, 6, 7, 4),
        "k2": real(3, 3, 2, 4),
        "k2g": real(4, 3, 2, 2),
        "a3": real(1, 4, 5, 4, 2),
        "k3": real(3, 2, 2, 2, 2),
    }
    for name in DTYPES:  # for sweeps: A_ and B_ hold values that every operation defines
        space[f"A_{name}"] = mx.array([1, 0, 3, 1, 2]).astype(getattr(mx, name))
        space[f"B_{name}"] = mx.array([1, 3, 2, 1, 1]).astype(getattr(mx, name))
    return space


def code_of(source):
    """Compiled source: an expression, or statements that bind ``result``."""
    try:
        return compile(source, source, "eval")
    except SyntaxError:
        return compile(source, source, "exec")


def ask(source, space):
    """The answer to a source text: the value as a tree, or the class of the error."""
    scope = dict(space)
    try:
        value = eval(code_of(source), scope)
        return tree(scope["result"] if value is None and "result" in scope else value, space["mx"])
    except Exception as error:  # whatever is raised is the answer
        return type(error), str(error)


def tree(value, mx):
    """A value without framework: arrays become (dtype name, NumPy values)."""
    if isinstance(value, mx.array):
        values = value.astype(mx.float32) if value.dtype == mx.bfloat16 else value
        name = str(value.dtype).rpartition(".")[2].rstrip("_")
        return ("array", name, np.array(values))
    if isinstance(value, mx.Dtype):
        return str(value).rpartition(".")[2].rstrip("_")
    if isinstance(value, dict):
        return {key: tree(item, mx) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *[tree(item, mx) for item in value]]
    if isinstance(value, (bool, int, float, complex, str, bytes, type(None), np.ndarray)):
        return value
    if isinstance(value, types.GeneratorType):
        return [tree(item, mx) for item in value]
    return type(value).__name__


def is_error(answer):
    return isinstance(answer, tuple) and isinstance(answer[0], type)


def difference(ours, theirs):
    """What distinguishes two answers, in words; empty where they agree."""
    if is_error(theirs):
        if not is_error(ours):
            return f"MLX raises {said(theirs)}; mlxc gives {short(ours)}"
        if not same_family(ours[0], theirs[0]):
            return f"MLX raises {said(theirs)}; mlxc raises {said(ours)}"
        return ""
    if is_error(ours):
        return f"MLX gives {short(theirs)}; mlxc raises {said(ours)}"
    return unequal(ours, theirs)


def same_family(ours, theirs):
    """Whether catching what MLX raises catches what mlxc raises."""
    caught = [family for family in FAMILIES if issubclass(theirs, family)] or [theirs]
    return any(issubclass(ours, family) for family in caught)


def unequal(ours, theirs):
    """What distinguishes two values of ``tree``."""
    if type(ours) is not type(theirs):
        return f"MLX gives {short(theirs)}; mlxc {short(ours)}"
    if isinstance(theirs, tuple):
        if ours[1] != theirs[1]:
            return f"MLX gives dtype {theirs[1]}; mlxc {ours[1]}"
        return unequal_values(ours[2], theirs[2], ours[1])
    if isinstance(theirs, np.ndarray):
        if ours.dtype != theirs.dtype:
            return f"MLX gives NumPy dtype {theirs.dtype}; mlxc {ours.dtype}"
        return unequal_values(ours, theirs, str(theirs.dtype))
    if isinstance(theirs, dict):
        if list(ours) != list(theirs):
            return f"MLX gives keys {list(theirs)}; mlxc {list(ours)}"
        ours, theirs = list(ours.values()), list(theirs.values())
    if isinstance(theirs, list):
        if len(ours) != len(theirs):
            return f"MLX gives {short(theirs)}; mlxc {short(ours)}"
        return next(filter(None, map(unequal, ours, theirs)), "")
    if isinstance(theirs, (float, complex)):
        same = np.isclose(ours, theirs, rtol=2e-5, atol=1e-6, equal_nan=True)
    else:
        same = ours == theirs
    return "" if same else f"MLX gives {theirs!r}; mlxc {ours!r}"


def unequal_values(ours, theirs, name):
    """Where shapes or values differ by more than the dtype's tolerance."""
    if ours.shape != theirs.shape:
        return f"MLX gives shape {theirs.shape}; mlxc {ours.shape}"
    relative, absolute = TOLERANCES.get(name, (0, 0))
    near = np.isclose(ours, theirs, rtol=relative, atol=absolute, equal_nan=True)
    if near.all():
        return ""
    return f"MLX gives values {theirs[~near][:4]} of {name}; mlxc {ours[~near][:4]}"


def said(error):
    """An error's class and the beginning of its message."""
    return f"{error[0].__name__} ({(error[1].splitlines() or [''])[0][:80]})"


def short(answer):
    """The beginning of an answer."""
    return repr(answer).replace("\n", " ")[:100]
