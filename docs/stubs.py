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
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mlxc.core as mx  # noqa: E402 - found beside this file's folder, installed or not

# The compiled types that say they are the package's, and where they are defined.
HOMES = {"array": "mlxc._graph.array", "Dtype": "mlxc._graph.dtypes"}
MARK = "written by docs/stubs.py"
WIDTH = 100
CORE = ROOT / "mlxc/core/__init__.pyi"

# Python's own protocols: what special methods take and give.
BINARY = "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul".split()
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
SPECIAL = {
    **{
        f"__{prefix}{name}__": "(self, other: Any, /) -> array"
        for name in BINARY
        for prefix in ("", "r", "i")
    },
    **{f"__{name}__": "(self, other: Any, /) -> array" for name in COMPARISONS},
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

OBJECT = {f"__{name}__" for name in (*COMPARISONS, "hash", "format")}
# Comparing arrays gives an array, which is not what object says.
OVERRIDES = dict.fromkeys(("__eq__", "__ne__"), "  # type: ignore[override]")
PROPERTIES = (property, types.GetSetDescriptorType, types.MemberDescriptorType)

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
    if "Operand" in parts:  # which numbers are too
        parts = [part for part in parts if part not in ("complex", "float", "int", "bool")]
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
    return parameters, "Any" if "Returns" in doc else None


# ---- signatures ----


def default(value):
    """A default as a stub says it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value)
        return text if len(text) < 30 and text not in ("inf", "nan", "-inf") else "..."
    return "..."


def signature(function, classes, method=False, silent="Any"):
    """(parameters, result) of a function; silent is the result of one that does not say it."""
    parameters, result = documented(function.__doc__, classes)
    result = result or silent
    try:
        known = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return (["self"] if method else []) + ["*args: Any", "**kwargs: Any"], result
    parts, star = [], False
    for k, parameter in enumerate(known):
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        if method and k == 0:
            parts.append("self")
        else:
            parts.append(stated(parameter, parameters.get(parameter.name, "Any")))
        last = k + 1 == len(known) or known[k + 1].kind is not parameter.POSITIONAL_ONLY
        if parameter.kind is parameter.POSITIONAL_ONLY and last:
            parts.append("/")
    return parts, result


def stated(parameter, kind):
    """One parameter with its type and default."""
    if parameter.name in ("stream", "s"):
        kind = "Where"
    elif parameter.default is None and kind != "Any" and "None" not in kind:
        kind += " | None"
    prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{prefix}{parameter.name}: {kind}"
    if parameter.default is not parameter.empty:
        text += f" = {default(parameter.default)}"
    return text


def definition(name, parts, result, indent=""):
    """``def name(...) -> ...: ...``, wrapped between parameters."""
    text = f"{indent}def {name}({', '.join(parts)}) -> {result}: ..."
    if len(text) <= WIDTH:
        return [text]
    lines = [""]
    for part in parts:
        if lines[-1] and len(indent) + 4 + len(f"{lines[-1]} {part},") > WIDTH:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{part},"
    lines = [f"{indent}    {line}" for line in lines]
    return [f"{indent}def {name}(", *lines, f"{indent}) -> {result}: ..."]


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


def special(cls, name):
    """The line of a special method, or none where object's own says the same."""
    if cls is mx.array:
        return [f"    def {name}{SPECIAL[name]}: ..." + OVERRIDES.get(name, "")]
    if name in OBJECT:
        return []
    return [f"    def {name}{re.sub('array', 'Any', SPECIAL[name])}: ..."]


def method(cls, name, thing, classes):
    """A method; a late-bound one of arrays has the signature of the function of its name."""
    function = getattr(mx, name, None) if cls is mx.array else None
    if function is None or name in ("reshape", "transpose"):
        return definition(name, *signature(thing, classes, True), "    ")
    parts, result = signature(function, classes)
    parts[0] = "self"
    if len(parts) > 1 and parts[1] == "/":
        del parts[1]
    return definition(name, parts, result, "    ")


def class_lines(cls, classes):
    """The stub of a class."""
    lines = []
    if cls is mx.array:
        lines.append("    def __init__(self, val: Any, dtype: Dtype | None = None) -> None: ...")
    for name, thing in sorted(vars(cls).items()):
        if name in SPECIAL:
            lines += special(cls, name)
        elif name.startswith("_"):
            continue
        elif isinstance(thing, PROPERTIES):
            kind = attribute(cls, name, classes)
            lines += ["    @property", f"    def {name}(self) -> {kind}: ..."]
        elif callable(thing):
            lines += method(cls, name, thing, classes)
    if not lines:
        return [f"class {cls.__name__}: ...", ""]
    return [f"class {cls.__name__}:", *lines, ""]


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
    whole = "\n".join([f'"""{title}"""', "", *imports, "", text])
    return re.sub(r"\n{3,}", "\n\n", whole).rstrip() + "\n"


def defined_in(module, path):
    """(name, thing) of what a compiled module defines itself, by name."""
    assigned = set(re.findall(r"^([A-Za-z]\w*)(?:: [^=\n]+)? = ", path.read_text(), re.MULTILINE))
    for name, thing in sorted(vars(module).items()):
        if name.startswith("_"):
            continue
        if inspect.isclass(thing) or callable(thing):
            if HOMES.get(name, getattr(thing, "__module__", None)) == module.__name__:
                yield name, thing
        elif name in assigned:
            yield name, thing


def compiled_stub(path):
    """The stub of one compiled module."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name)
    classes = set(HOMES)
    values, functions, classes_body = [], [], []
    for key, thing in defined_in(module, path):
        if inspect.isclass(thing):
            classes_body += ["", *class_lines(thing, classes)]
        elif callable(thing):
            functions += definition(key, *signature(thing, classes))
        else:
            values.append(f"{key}: {type(thing).__name__}")
    body = [*values, *classes_body, *([""] if values else []), *functions]
    text, own = "\n".join(body), {key for key, _ in defined_in(module, path)}
    text = text.replace("Operand", "Any").replace("Where", "Any")
    imports = [
        f"from {where} import {key}"
        for key, where in HOMES.items()
        if key not in own and re.search(rf"(->|:|\||\[) ?{key}\b", text)
    ]
    return finished(f"Types of {name}, {MARK}.", [*imports, *([""] if imports else []), text])


def home(name, thing):
    """The module of mlxc that a class of mx stands in."""
    if name in HOMES:
        return HOMES[name]
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
            functions += definition(name, *signature(thing, classes, silent="None"))
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


def stale(made):
    """The stubs that are not as they would be written."""
    return [path for path, text in made.items() if not path.exists() or path.read_text() != text]


def main():
    try:
        made = stubs()
    except ModuleNotFoundError as error:
        sys.exit(f"{error}: build the project first")
    changed = stale(made)
    if "--check" in sys.argv[1:] and changed:
        names = ", ".join(str(path.relative_to(ROOT)) for path in changed)
        sys.exit(f"not as docs/stubs.py writes them: {names}")
    for path in changed:
        path.write_text(made[path])
    print(f"{len(changed)} stubs written" if changed else "all stubs are current")


if __name__ == "__main__":
    main()
