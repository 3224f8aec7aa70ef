"""mlxc beside the real MLX, as a black box: the same calls must give the same answers.

Rules: this module runs where ``mlx`` is installed (``pip install mlxc[mlx]``), and says so where it
is not; nothing else depends on MLX. What is asked stands in against_mlx_cases.py and
against_mlx_expressions.py; where mlxc answers otherwise on purpose stands, with the reason, in
against_mlx_differences.py. A difference that is not listed fails, and so does one that is listed
and has gone. Every function of MLX must be asked, or named in UNASKED with a reason.
"""

import importlib
import inspect
import re
import warnings

import numpy as np
import pytest
from against_mlx_cases import functions
from against_mlx_differences import DIFFERENCES, UNASKED
from against_mlx_expressions import EXPRESSIONS, SCALARS, SWEEP_BINARY, SWEEP_UNARY
from against_mlx_support import DTYPES, ask, difference, operands

import mlxc.core as ours

theirs = pytest.importorskip("mlx.core", reason="the real MLX is not installed: mlxc[mlx]")

SPACES = ("", "fft", "linalg", "random", "fast", "distributed", "metal", "cuda")
ALIASES = {
    **{f"a{name}": f"arc{name}" for name in ("cos", "cosh", "sin", "sinh", "tan", "tanh")},
    "atan2": "arctan2",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
    "concat": "concatenate",
    "conjugate": "conj",
    "cumulative_prod": "cumprod",
    "cumulative_sum": "cumsum",
    "matrix_norm": "linalg.norm",
    "permute_dims": "transpose",
    "pow": "power",
}
CASES = functions()
CASES.update({alias: CASES[name] for alias, name in ALIASES.items()})
CALLS = {name: [f"mx.{name}({text})" for text in texts] for name, texts in CASES.items()}


def swept():
    """The sweeps: functions over dtypes and pairs of dtypes, operators beside Python numbers."""
    for name in SWEEP_UNARY:
        yield from (f"mx.{name}(A_{dtype})" for dtype in DTYPES)
    for name in SWEEP_BINARY:
        opened = name if "(" in name else f"{name}("
        closed = "])" if "[" in name else ")"
        for a in DTYPES:
            call = "mx." + re.sub(r"\bA\b", f"A_{a}", opened)
            yield from (f"{call}A_{a}, B_{b}{closed}" for b in DTYPES)
    for operator in ("+", "-", "*", "/", "//", "%", "**", "<", "==", "&", "<<"):
        for value in SCALARS if operator != "<<" else ["3"]:
            for name in DTYPES:
                yield f"B_{name} {operator} {value}"
                yield f"{value} {operator} B_{name}"


GROUPS = {**CALLS, "expressions": EXPRESSIONS, "sweeps": list(swept())}


@pytest.fixture(scope="module")
def found():
    """What differs: words by source, by group; and all that was asked."""
    mine, real = operands(ours), operands(theirs)
    words = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for group, sources in GROUPS.items():
            answers = {text: difference(ask(text, mine), ask(text, real)) for text in sources}
            words[group] = {text: said for text, said in answers.items() if said}
    return words


def reasons(source, said):
    """The listed differences that speak of a source."""
    return [
        entry
        for entry in DIFFERENCES
        if re.fullmatch(entry.source, source) and re.search(entry.said, said)
    ]


@pytest.mark.parametrize("group", GROUPS)
def test_mlxc_answers_as_mlx_does(found, group):
    unexplained = {text: said for text, said in found[group].items() if not reasons(text, said)}
    assert not unexplained, "\n".join(f"{text}: {said}" for text, said in unexplained.items())


def test_every_listed_difference_is_there(found):
    met = {
        entry
        for words in found.values()
        for source, said in words.items()
        for entry in reasons(source, said)
    }
    assert [entry for entry in DIFFERENCES if entry not in met] == []


def test_a_wrong_answer_is_noticed():
    mine, real = operands(ours), operands(theirs)
    for wrong, right in (
        ("x + 1e-3", "x"),
        ("x.astype(mx.float16)", "x"),
        ("x[None]", "x"),
        ("[x, y]", "(x, y)"),
        ("len(3)", "mx.sum(x, axis=7)"),
        ("x", "mx.sum(x, axis=7)"),
        ("{'a': x}", "{'b': x}"),
        ("3", "4"),
    ):
        assert difference(ask(wrong, mine), ask(right, real)), wrong
        assert not difference(ask(right, mine), ask(right, real)), right


# ---- names and signatures ----


def space(module, name):
    """A namespace of one framework."""
    return getattr(module, name) if name else module


def public(name):
    """MLX's functions in a namespace, by name."""
    found = vars(space(theirs, name))
    return {
        key: value
        for key, value in found.items()
        if key[0] != "_" and type(value).__name__ in ("nb_func", "nb_method", "function")
    }


def test_every_name_of_mlx_is_there():
    missing = [
        f"{name}.{key}"
        for name in SPACES
        for key in dir(space(theirs, name))
        if key[0] != "_" and not hasattr(space(ours, name), key)
    ]
    assert missing == []
    assert [key for key in dir(theirs.array) if not hasattr(ours.array, key)] == []


def test_every_function_of_mlx_is_asked():
    text = "\n".join([*EXPRESSIONS, *SWEEP_UNARY, *(f"mx.{name}(" for name in SWEEP_BINARY)])
    mentioned = {match.rstrip(".") for match in re.findall(r"mx\.([\w.]+)\(", text)}
    for name in SPACES:
        for key in public(name):
            path = f"{name}.{key}".lstrip(".")
            assert (path in CALLS or path in mentioned) != (path in UNASKED), path
    for key, value in vars(theirs.array).items():
        if type(value).__name__ == "nb_method" and key[0] != "_":
            assert re.search(rf"\.{key}\(", text), f"array.{key}"


def parameters(doc):
    """The parameters of MLX's documented signatures: (name, by keyword, by position, default)."""
    for line in (doc or "").splitlines():
        head = re.match(r"(?:def )?(\w+)\((.*)\)(?: ->.*)?$", line)
        if not head:
            return
        pieces = split(head[2])
        names = [re.match(r"/|\*{0,2}\w*", piece)[0] for piece in pieces]
        slash = names.index("/") if "/" in names else -1
        star = next((k for k, text in enumerate(names) if text[:1] == "*"), len(names))
        for k, (text, piece) in enumerate(zip(names, pieces)):
            if text in ("/", "self") or text[:1] == "*":
                continue
            default = re.search(r" ?= ?([^=\]]+|\[.*\])$", piece)
            yield text, k > slash, k < star, default and default[1].strip()


def split(text):
    """A parameter list at its outer commas."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [piece.strip() for piece in pieces if piece.strip()]


def default_of(text):
    """A documented default as a value; dtypes and empty lists are None or () in mlxc."""
    if text in ("float32", "int32", "bfloat16"):
        return None
    value = eval(text)
    return tuple(value) if isinstance(value, list) else value


def refuses(real, names, by_position):
    """Whether MLX, whatever its documentation says, refuses its parameters so."""
    x, stream = theirs.array([1, 2]), theirs.default_stream(theirs.cpu)
    values = [theirs.float32 if name == "dtype" else x for name in names]
    try:
        real(*values, stream) if by_position else real(**dict(zip(names, values)))
    except TypeError:
        return True
    return False


def faults(path, real, mine):
    """Where mlxc's signature refuses what MLX accepts."""
    taken = inspect.signature(mine).parameters
    kinds = {parameter.kind for parameter in taken.values()}
    documented = list(parameters(real.__doc__))
    operands_of = [name for name, *_ in documented if name != "stream"]
    for name, keyword, position, default in documented:
        parameter = taken.get(name)
        if parameter is None:
            if keyword and inspect.Parameter.VAR_KEYWORD not in kinds:
                yield f"{path} has no {name}"
            continue
        if keyword and parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            if not refuses(real, operands_of, False):
                yield f"{path} takes {name} by position only"
        if position and keyword and parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if not refuses(real, operands_of, True):
                yield f"{path} takes {name} by keyword only"
        if default is not None and parameter.default != default_of(default):
            if default_of(default) not in ((), None) or parameter.default not in ((), None):
                yield f"{path} has {name}={parameter.default!r}, MLX {default}"


def test_every_parameter_of_mlx_is_accepted():
    wrong = []
    for name in SPACES:
        for key, real in public(name).items():
            wrong += faults(f"{name}.{key}".lstrip("."), real, getattr(space(ours, name), key))
    for key, real in vars(theirs.array).items():
        if type(real).__name__ == "nb_method" and key[0] != "_":
            wrong += faults(f"array.{key}", real, getattr(ours.array, key))
    assert wrong == []


def test_the_spaces_are_those_of_mlx():
    found = [key for key, value in vars(theirs).items() if inspect.ismodule(value)]
    assert sorted(found) == sorted(SPACES[1:])
    for key in found:
        assert importlib.import_module(f"mlxc.core.{key}") is getattr(ours, key)
