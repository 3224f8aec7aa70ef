"""Writes the type stubs from the live package: ``mlxc/core/__init__.pyi``, and one beside each
compiled module that has none written by hand.

``python docs/stubs.py`` writes them, ``--check`` says which are not as they would be written and
exits with 1.

Rules: names and signatures are those of the objects; types are read from the docstrings' Args and
Returns, and from a sample where there is one. What a docstring does not say is Any. A stub whose
first line does not name this file is written by hand and left alone; ``tests/test_house.py`` holds
all of them against their sources.
"""

import importlib
import inspect
import re
import sys
import textwrap
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mlxc.core as mx  # noqa: E402 - found beside this file's folder, installed or not

MARK = "written by docs/stubs.py"
WIDTH = 100
CORE = ROOT / "mlxc/core/__init__.pyi"

# Python's own protocols: what special methods take and give.
BINARY = "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul".split()
SPECIAL = {
    **{
        f"__{prefix}{name}__": "(self, other: Any, /) -> array"
        for name in BINARY
        for prefix in ("", "r", "i")
    },
    **{f"__{name}__": "(self, other: Any, /) -> array" for name in ("lt", "le", "gt", "ge")},
    # Comparing arrays gives an array, which is not what object says.
    **{
        f"__{name}__": "(self, other: Any, /) -> array: ...  # type: ignore[override]"
        for name in ("eq", "ne")
    },
    **{f"__{name}__": "(self) -> array" for name in ("neg", "pos", "abs", "invert", "copy")},
    "__deepcopy__": "(self, memo: Any, /) -> array",
    "__divmod__": "(self, other: Any, /) -> tuple[array, array]",
    "__rdivmod__": "(self, other: Any, /) -> tuple[array, array]",
    "__getitem__": "(self, key: Any, /) -> array",
    "__setitem__": "(self, key: Any, value: Any, /) -> None",
    "__contains__": "(self, value: Any, /) -> bool",
    "__iter__": "(self) -> Iterator[array]",
    "__len__": "(self) -> int",
    "__hash__": "(self) -> int",
    "__bool__": "(self) -> bool",
    "__int__": "(self) -> int",
    "__index__": "(self) -> int",
    "__float__": "(self) -> float",
    "__complex__": "(self) -> complex",
    "__bytes__": "(self) -> bytes",
    "__format__": "(self, spec: str, /) -> str",
    "__array__": "(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray",
    "__dlpack__": "(self, **options: Any) -> Any",
    "__dlpack_device__": "(self) -> tuple[int, int]",
    "__array_namespace__": "(self, api_version: str | None = None) -> Any",
    "__enter__": "(self) -> Any",
    "__exit__": "(self, *error: Any) -> bool | None",
    "__call__": "(self, *args: Any, **kwargs: Any) -> Any",
}

# ---- types: what docstrings say, as annotations ----

PLAIN = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "str",
    "None": "None",
    "path": "PathLike[str]",
}
PARAMETER = {
    **PLAIN,
    "array": "Operand",
    "arrays": "Operand",
    "array of integers": "Operand",
    "number": "complex",
    "scalar": "complex",
    "pathlib.Path": "PathLike[str]",
    "callable": "Callable[..., Any]",
    "dict": "dict[Any, Any]",
    "dict of str to array": "Mapping[str, array]",
    "dict of str to str": "Mapping[str, str]",
    "list or dict": "list[Any] | dict[Any, Any]",
}
RESULT = {
    **PLAIN,
    "array": "array",
    "callable": "Callable[..., Any]",
    "dict": "dict[str, Any]",
    "tuple(array, array)": "tuple[array, array]",
}


def split(text):
    """The alternatives of "int, float or None"."""
    return [part for part in re.split(r",\s*or\s+|,\s*|\s+or\s+", text.strip()) if part]


def annotation(text, known, classes):
    """A docstring's type as an annotation; Any where it says more than annotations do."""
    text = text.strip()
    optional = text.endswith(", optional")
    parts = []
    for part in (
        [text.removesuffix(", optional")]
        if text.removesuffix(", optional") in known
        else split(text.removesuffix(", optional"))
    ):
        parts.append(single(part, known, classes))
    if "Any" in parts:
        return "Any"
    if optional and "None" not in parts:
        parts.append("None")
    return " | ".join(dict.fromkeys(parts))


def single(part, known, classes):
    if part in known:
        return known[part]
    if part in classes:
        return part
    if match := re.fullmatch(r"(sequence|sequences|list|tuple) of (\w+?)s?", part):
        kind, item = match[1], PLAIN.get(match[2], "array" if match[2] == "array" else "Any")
        if known is PARAMETER:
            return f"Sequence[{item}]"
        return f"tuple[{item}, ...]" if kind == "tuple" else f"list[{item}]"
    return "Any"


def documented(doc, classes):
    """({parameter: annotation}, annotation of the result) of a docstring; the result of one without
    Returns is None."""
    doc = inspect.cleandoc(doc or "")
    parameters = {}
    if section := re.search(r"^Args:\n((?:(?: .*)?\n?)*)", doc, re.MULTILINE):
        for match in re.finditer(
            r"^ +([\w*, ]+) \(((?:[^()]|\([^()]*\))*)\):", section[1], re.MULTILINE
        ):
            for name in match[1].replace("*", "").split(","):
                parameters[name.strip()] = annotation(match[2], PARAMETER, classes)
    result = re.search(r"^Returns:\n +((?:[^:\n()]|\([^()]*\))+):", doc, re.MULTILINE)
    if result:
        return parameters, annotation(result[1], RESULT, classes)
    return parameters, "Any" if "Returns" in doc or not doc else "None"


# ---- signatures ----


def default(value):
    """A default as a stub says it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value)
        return text if len(text) < 30 and text not in ("inf", "nan", "-inf") else "..."
    return "..."


def signature(function, classes, method=False):
    """``(a: Operand, /) -> array`` of a function."""
    parameters, result = documented(function.__doc__, classes)
    try:
        known = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return f"({'self, ' if method else ''}*args: Any, **kwargs: Any) -> {result}"
    parts, star = [], False
    for k, parameter in enumerate(known):
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        star = star or parameter.kind is parameter.VAR_POSITIONAL
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(
            parameter.kind, ""
        )
        text = prefix + parameter.name
        if not (method and k == 0):
            kind = (
                "Where"
                if parameter.name in ("stream", "s")
                else parameters.get(parameter.name, "Any")
            )
            if (
                parameter.default is None
                and kind != "Any"
                and "None" not in kind
                and kind != "Where"
            ):
                kind += " | None"
            text += f": {kind}"
        if parameter.default is not parameter.empty:
            text += f" = {default(parameter.default)}"
        parts.append(text)
        last = k + 1 == len(known) or known[k + 1].kind is not parameter.POSITIONAL_ONLY
        if parameter.kind is parameter.POSITIONAL_ONLY and last:
            parts.append("/")
    return f"({', '.join(parts)}) -> {result}"


def definition(name, text, indent=""):
    """``def name...: ...``, wrapped."""
    text = f"{indent}def {name}{text}" if "...  #" in text else f"{indent}def {name}{text}: ..."
    if len(text) <= WIDTH:
        return [text]
    first, rest = text.split("(", 1)
    inner, result = rest.rsplit(") ->", 1)
    lines = textwrap.wrap(
        inner, WIDTH - len(indent) - 4, break_long_words=False, break_on_hyphens=False
    )
    return [f"{first}(", *(f"{indent}    {line}" for line in lines), f"{indent}) ->{result}"]


# ---- classes and modules ----


def sample_of(cls):
    """An object of a class, to ask for the types of its attributes; None where none is at hand."""
    samples = (mx.array([[1.0, 2.0]]), mx.float32)
    return next((sample for sample in samples if type(sample) is cls), None)


def attribute(cls, name, classes):
    """The type of an attribute: that of a sample's."""
    sample = sample_of(cls)
    if sample is None:
        return "Any"
    value = getattr(sample, name)
    if name == "shape":
        return "tuple[int, ...]"
    kind = type(value).__name__
    return kind if kind in classes or kind in PLAIN else "Any"


def class_lines(cls, classes):
    """The stub of a class."""
    lines = []
    for name, thing in sorted(vars(cls).items()):
        if name.startswith("_") and name not in SPECIAL:
            continue
        if name in SPECIAL:
            text = SPECIAL[name] if cls is mx.array else SPECIAL[name].replace("array", "Any")
            if (
                f"-> {cls.__name__}" in text
                or cls is mx.array
                or name in ("__enter__", "__exit__", "__call__")
            ):
                lines += definition(name, text, "    ")
            elif name not in (
                "__eq__",
                "__ne__",
                "__hash__",
                "__lt__",
                "__le__",
                "__gt__",
                "__ge__",
            ):
                lines += definition(name, text, "    ")
        elif isinstance(thing, (property, types.GetSetDescriptorType, types.MemberDescriptorType)):
            lines += [
                "    @property",
                f"    def {name}(self) -> {attribute(cls, name, classes)}: ...",
            ]
        elif callable(thing):
            lines += definition(name, signature(thing, classes, method=True), "    ")
    if cls is mx.array:
        lines.insert(0, "    def __init__(self, val: Any, dtype: Dtype | None = None) -> None: ...")
    return (
        [f"class {cls.__name__}:", *(lines or ["    ..."]), ""]
        if lines
        else [f"class {cls.__name__}: ...", ""]
    )


def finished(title, body):
    """A stub: title, the imports that its body needs, body."""
    text = "\n".join(body)

    def used(names):
        return [name for name in names if re.search(rf"\b{name}\b", text)]

    imports = []
    if names := used(["Callable", "Iterator", "Mapping", "Sequence"]):
        imports.append(f"from collections.abc import {', '.join(names)}")
    imports += [f"from os import {name}" for name in used(["PathLike"])]
    if names := used(["Any", "TypeAlias"]):
        imports.append(f"from typing import {', '.join(names)}")
    if used([r"np\.ndarray"]):
        imports += ["", "import numpy as np"]
    return "\n".join([f'"""{title}"""', *([""] if imports else []), *imports, "", text.strip(), ""])


def defined_in(module, path):
    """(name, thing) of what a compiled module defines itself, by name."""
    assigned = set(re.findall(r"^([A-Za-z]\w*)(?:: [^=]+)? = ", path.read_text(), re.MULTILINE))
    for name, thing in sorted(vars(module).items()):
        if name.startswith("_"):
            continue
        if inspect.isclass(thing) or callable(thing):
            if getattr(thing, "__module__", None) == module.__name__:
                yield name, thing
        elif name in assigned:
            yield name, thing


def compiled_stub(path):
    """The stub of one compiled module."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name)
    classes = {"array", "Dtype"}
    values, functions, classes_body = [], [], []
    for key, thing in defined_in(module, path):
        if inspect.isclass(thing):
            classes_body += ["", *class_lines(thing, classes)]
        elif callable(thing):
            functions += definition(key, signature(thing, set()).replace("Operand", "array"))
        else:
            values.append(f"{key}: {type(thing).__name__}")
    body = [*values, *classes_body, *([""] if values else []), *functions]
    text, own = "\n".join(body), {key for key, _ in defined_in(module, path)}
    text = text.replace("Operand", "Any").replace("Where", "Any")
    imports = []
    if "array" not in own and re.search(r"\barray\b", text):
        imports.append("from mlxc._graph.array import array")
    if "Dtype" not in own and re.search(r"\bDtype\b", text):
        imports.append("from mlxc._graph.dtypes import Dtype")
    return finished(f"Types of {name}, {MARK}.", [*imports, *([""] if imports else []), text])


def home(name, thing):
    """The module of mlxc that a class of mx stands in."""
    for key in (getattr(thing, "__module__", ""), *sorted(sys.modules)):
        if key.startswith("mlxc.") and key != "mlxc.core":
            if getattr(sys.modules.get(key), name, None) is thing:
                return key
    raise LookupError(f"{name} stands in no module of mlxc")


def core_stub():
    """The stub of the public namespace."""
    public = {name: thing for name, thing in sorted(vars(mx).items()) if not name.startswith("_")}
    classes = {name for name, thing in public.items() if inspect.isclass(thing)}
    imports, spaces, values, functions = [], [], [], []
    for name, thing in public.items():
        if inspect.ismodule(thing):
            if thing.__name__ == f"mlxc.core.{name}" and not callable(thing):
                spaces.append(f"from . import {name} as {name}")
        elif inspect.isclass(thing):
            imports.append(f"from {home(name, thing)} import {name} as {name}")
        elif callable(thing):
            functions += definition(name, signature(thing, classes))
        else:
            values.append(f"{name}: {type(thing).__name__ if thing is not None else None}")
    body = [
        *sorted(imports),
        "",
        *spaces,
        "",
        "Operand: TypeAlias = array | ArrayLike | np.ndarray | complex | Sequence[Any]",
        "Where: TypeAlias = Stream | Device | DeviceType | None",
        "",
        *values,
        "",
        *functions,
    ]
    return finished(f"Types of mlxc.core, {MARK}.", body)


def stubs():
    """{path: text} of all stubs that this file writes."""
    made = {CORE: core_stub()}
    for path in sorted((ROOT / "mlxc").rglob("*.pyx")):
        stub = path.with_suffix(".pyi")
        by_hand = stub.exists() and MARK not in stub.read_text().split("\n", 1)[0]
        if path.parent != ROOT / "mlxc/_kernels" and not by_hand:
            made[stub] = compiled_stub(path)
    return made


def main():
    stale = []
    for path, text in stubs().items():
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in sys.argv[1:]:
                path.write_text(text)
    if stale and "--check" in sys.argv[1:]:
        sys.exit("not as docs/stubs.py writes them: " + ", ".join(stale))
    print(f"{len(stale)} stubs written" if stale else "all stubs are current")


if __name__ == "__main__":
    main()
