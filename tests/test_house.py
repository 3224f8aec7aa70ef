"""Guards of the house: what docs/design.md says about files holds for every file.

Rules: a guard takes the root of a tree and gives a list of complaints, one a line; the tests run it
on the project, and on a small tree with one fault planted, because a guard that never failed proves
nothing. What is unknown fails.
"""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "_table": 0,
    "_version": 0,
    "_memory": 1,
    "_threads": 1,
    "_metal": 1,
    "_kernels": 2,
    "_graph": 3,
    "_backends": 4,
    "core": 5,
    "transforms": 6,
    "nn": 7,
    "optimizers": 7,
    "utils": 7,
    "__init__": 8,
    "__main__": 8,
    "_standin": 8,
}
NOT_OURS = {"build", "dist", "__pycache__", "_build", "_out", "node_modules"}
MAX_FILE, MAX_FUNCTION, MAX_LINE = 800, 60, 100
SOURCES = {".py", ".pyi", ".pyx", ".pxd", ".metal", ".m", ".h"}


def files(root):
    """The project's own files: what git knows or would add; without git all but build outputs."""
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True)
        paths = [root / name for name in listed.stdout.split("\0") if name]
        return sorted(path for path in paths if path.is_file())
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file()
        and path.suffix not in {".so", ".pyc"}
        and not any(
            part in NOT_OURS or part.startswith(".") or part.endswith(".egg-info")
            for part in path.relative_to(root).parts[:-1]
        )
    )


def sources(root, *suffixes, under=""):
    folder = root / under
    return [path for path in files(root) if path.suffix in suffixes and folder in path.parents]


def module_name(root, path):
    """mlxc/core/fft.py is mlxc.core.fft, mlxc/core/__init__.py is mlxc.core.__init__."""
    return ".".join(path.relative_to(root).with_suffix("").parts)


# Floors


def imports(path, name):
    """(line number, module) of every import and cimport of the file, wherever in it; relative ones
    resolved."""
    text = path.read_text()
    if path.suffix in {".py", ".pyi"}:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = "." * node.level + (node.module or "")
                names = [alias.name for alias in node.names]
                yield from ((node.lineno, each) for each in absolute(origin, names, name))
        return
    text = re.sub(r'"""(?s:.*?)"""', lambda match: "\n" * match.group().count("\n"), text)
    text = re.sub(r"\(([^()]*)\)", lambda match: match.group().replace("\n", " "), text)
    for number, line in enumerate(text.split("\n"), 1):
        line = line.split("#")[0].strip()
        if match := re.match(r"from\s+([\w.]+)\s+c?import\s+(.*)", line):
            names = [part.split()[0] for part in match[2].strip("() ").split(",") if part.strip()]
            yield from ((number, each) for each in absolute(match[1], names, name))
        elif match := re.match(r"c?import\s+(.*)", line):
            yield from ((number, part.split()[0]) for part in match[1].split(","))


def absolute(origin, names, importer):
    """The modules that `from origin import names` may mean, seen from module importer."""
    dots = len(origin) - len(origin.lstrip("."))
    parts = origin.lstrip(".").split(".") if origin.strip(".") else []
    if dots:
        parts = importer.split(".")[:-dots] + parts
    if parts == ["mlxc"]:
        return [f"mlxc.{each}" if each in FLOORS else "mlxc.__init__" for each in names]
    return [".".join(parts)]


def house_of(module):
    """The package of the second level that a module of mlxc stands in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def check_floors(root):
    complaints, sideways = [], set()
    for path in sources(root, ".py", ".pyx", ".pxd", under="mlxc"):
        name = module_name(root, path)
        here = house_of(name)
        if here not in FLOORS:
            complaints.append(f"{path}: {here!r} stands on no floor")
            continue
        for line, target in imports(path, name):
            if target.split(".")[0] != "mlxc":
                if FLOORS[here] == 0 and target.split(".")[0] not in sys.stdlib_module_names:
                    complaints.append(f"{path}:{line}: floor 0 imports {target}")
                continue
            there = house_of(target)
            if there not in FLOORS:
                complaints.append(f"{path}:{line}: {target} stands on no floor")
            elif FLOORS[there] > FLOORS[here]:
                complaints.append(f"{path}:{line}: imports {target}, which is above")
            elif there != here and FLOORS[there] == FLOORS[here]:
                sideways.add((here, there))
    complaints += [f"{a} and {b} import each other" for a, b in sideways if (b, a) in sideways]
    return complaints


# The grid of families


def load(path):
    """A module by its path alone, without the package it stands in."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RENDERERS = ("render", "render_halves")  # of the loops of elementwise rows


def check_grid(root):
    table = load(root / "mlxc/_table/families.py")
    complaints = []
    for family in table.FAMILIES:
        for column, patterns in table.COLUMNS.items():
            paths = [pattern.format(family) for pattern in patterns]
            present = any((root / path).exists() for path in paths)
            reason = table.ABSENCES.get((family, column), "")
            if present and reason:
                complaints.append(f"{family} has a {column}, and ABSENCES says: {reason}")
            elif not present and not reason:
                complaints.append(f"{family} has no {column}: neither {' nor '.join(paths)}")
    for family, column in table.ABSENCES:
        if family not in table.FAMILIES or column not in table.COLUMNS:
            complaints.append(f"ABSENCES names ({family}, {column}), which is not in the grid")
    for path in sorted((root / "mlxc/_table").glob("*.py")):
        if path.stem not in {*table.FAMILIES, "__init__", "rows", "dtypes", "families", *RENDERERS}:
            complaints.append(f"{path}: {path.stem!r} is no family")
    return complaints


# Sizes


def functions_of(path):
    """(first line, name, lines without the docstring) of every function."""
    text = path.read_text()
    if path.suffix in {".py", ".pyi"}:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node, clean=False) is not None:
                    size -= node.body[0].end_lineno - node.body[0].lineno + 1
                yield node.lineno, node.name, size
        return
    lines = text.split("\n")
    for first, line in enumerate(lines):
        match = re.match(r"( *)(?:def|cdef|cpdef)\b[^=]*?(\w+)\(", line)
        if not match or re.match(r" *cdef (class|extern|struct)", line):
            continue
        last, docstring, inside = first, 0, False
        for number in range(first + 1, len(lines)):
            body = lines[number]
            outside = body.strip() and not inside and indent(body) <= len(match[1])
            if outside and body.strip()[0] != ")":
                break
            quotes = body.count('"""')
            docstring += inside or quotes > 0
            inside ^= quotes % 2 == 1
            last = number if body.strip() else last
        yield first + 1, match[2], last - first + 1 - docstring


def indent(line):
    return len(line) - len(line.lstrip())


def check_sizes(root):
    complaints = []
    for path in files(root):
        if path.suffix not in SOURCES:
            continue
        lines = path.read_text().split("\n")
        if len(lines) > MAX_FILE + 1:
            complaints.append(f"{path}: {len(lines)} lines; at most {MAX_FILE}")
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE:
                complaints.append(f"{path}:{number}: {len(line)} columns; at most {MAX_LINE}")
        if path.suffix in {".py", ".pyx", ".pxd"}:
            for number, name, size in functions_of(path):
                if size > MAX_FUNCTION:
                    limit = f"at most {MAX_FUNCTION}"
                    complaints.append(f"{path}:{number}: {name} has {size} lines; {limit}")
    return complaints


# Generated files


def check_generated(root):
    complaints = []
    for path in files(root):
        if path.suffix == ".c" and path.parent.name == "objc":
            continue  # written by hand: what answers where there is no Metal
        if path.suffix in {".c", ".cpp", ".so", ".o", ".dylib", ".metallib", ".pyc"}:
            complaints.append(f"{path}: generated, but not ignored")
        elif path.suffix in SOURCES:
            first = path.read_text().split("\n", 1)[0]
            if re.match(r"\W*(auto-?)?generated (by|from)\b", first, re.IGNORECASE):
                complaints.append(f"{path}: says it is generated, but is not ignored")
    return complaints


# Stubs


def names_of_stub(path):
    """Public top-level names of a stub, and the public methods of its classes as class.method."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
            body = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AnnAssign)]
            names |= {f"{node.name}.{getattr(item, 'name', '')}" for item in body}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def names_of_pyx(path):
    """Public Python names of a Cython source: functions, values, classes and class.method."""
    names, owners, owner = set(), set(), ""
    text = re.sub(r'"""(?s:.*?)"""', "", path.read_text())
    for line in text.split("\n"):
        if match := re.match(r"(?:cdef )?class (\w+)", line):
            owner = match[1]
            owners.add(owner)
        elif match := re.match(r"(?:def|cpdef\b[^(=]*?)\s*(\w+)\(", line):
            names.add(match[1])
        elif match := re.match(r"([A-Za-z]\w*)(?:: [^=]+)? = ", line):
            names.add(match[1])
        elif match := re.match(r"    (?:def|cpdef\b[^(=]*?)\s*([a-z]\w*)\(", line):
            names.add(f"{owner}.{match[1]}") if owner else None
        if line and not line[0].isspace() and not re.match(r"(cdef )?class |@|#", line):
            owner = ""
    declared = path.with_suffix(".pxd")
    text += declared.read_text() if declared.exists() else ""
    # What is declared, without what it is set to.
    cdefs = re.findall(r"^cdef\b[^(#\n]*", text, re.MULTILINE)
    of_c = set(re.findall(r"\w+", re.sub(r"=[^,]*", " ", "\n".join(cdefs).replace("\n", " , "))))
    return {name for name in names - of_c | owners if not name.startswith("_")}


def check_stubs(root):
    complaints = []
    for path in sources(root, ".pyx", under="mlxc"):
        if path.parent == root / "mlxc/_kernels":
            continue  # kernel modules export nothing but table(); see check_kernels
        stub = path.with_suffix(".pyi")
        if not stub.exists():
            complaints.append(f"{path}: no stub {stub.name}")
            continue
        defined, stated = names_of_pyx(path), names_of_stub(stub)
        complaints += [f"{stub}: {name} is missing" for name in sorted(defined - stated)]
        # Methods may be bound later, on a higher floor; functions and classes may not.
        extra = {name for name in stated - defined if "." not in name}
        complaints += [f"{stub}: {name} is not in {path.name}" for name in sorted(extra)]
    return complaints


def check_kernels(root):
    """Kernel modules export table() and know neither Python objects nor anything above them."""
    complaints = []
    for path in sources(root, ".pyx", under="mlxc/_kernels"):
        names = {name for name in names_of_pyx(path) if "." not in name}
        if names != {"table"}:
            complaints.append(f"{path}: exports {sorted(names)}; a kernel module exports table()")
        text = re.sub(
            r"\(([^()]*)\)", lambda match: match.group().replace("\n", " "), path.read_text()
        )
        for line in text.split("\n"):
            if re.match(r"cdef (?!class|enum|struct|union|extern|inline)[^=]*\)[^=]*:$", line):
                if "noexcept nogil" not in line:
                    complaints.append(f"{path}: not noexcept nogil: {line}")
    return complaints


def check_pages(root):
    """What the pages for contributors name as files is there; an F stands for a family. What is
    built may be missing."""
    complaints = []
    for page in sorted((root / "docs").glob("*.md")) + [root / "CONTRIBUTING.md"]:
        text = page.read_text() if page.exists() else ""
        for name in re.findall(r"`([\w.]+(?:/[\w.]+)+)`", text):
            if name.startswith("build/"):
                continue
            pattern = re.sub("(?<![A-Za-z])F(?![A-Za-z])", "*", name)
            if not any(
                any(root.glob(f"{at}{pattern}{end}")) for at in ("", "mlxc/") for end in ("", ".*")
            ):
                complaints.append(f"{page}: there is no {name}")
    return complaints


GUARDS = [
    check_floors,
    check_grid,
    check_sizes,
    check_generated,
    check_stubs,
    check_kernels,
    check_pages,
]


@pytest.mark.parametrize("guard", GUARDS)
def test_the_house_keeps_its_rules(guard):
    complaints = guard(ROOT)
    assert not complaints, "\n".join(["", *complaints]).replace(f"{ROOT}/", "")


# Every guard is broken once: the tree without the fault passes, with the fault it does not.

FAMILIES_SOURCE = """
FAMILIES = ("scan",)
COLUMNS = {"row": ("mlxc/_table/{}.py",), "shader": ("shaders/{}.metal",)}
ABSENCES = {("scan", "shader"): "a reason"}
"""
NODE = "from .._memory.buffer cimport (\n    Buffer,\n)\n\ndef bind(x):\n    return x\n"
KERNEL = "cdef void f(char* a) noexcept nogil:\n    pass\n\ndef table():\n    return {}\n"
METHOD = "\ncdef class Node:\n    def size(self):\n        return 1\n"
SOUND_TREE = {
    "mlxc/__init__.py": "from . import core\n",
    "mlxc/core/__init__.py": "from .._graph import node\nfrom mlxc._table import scan\n",
    "mlxc/_graph/__init__.py": "",
    "mlxc/_graph/node.pyx": NODE,
    "mlxc/_graph/node.pyi": "def bind(x: object) -> object: ...\n",
    "mlxc/_kernels/scan.pyx": KERNEL,
    "mlxc/_memory/buffer.pxd": "cdef class Buffer:\n    pass\n",
    "mlxc/_table/families.py": FAMILIES_SOURCE,
    "mlxc/_table/scan.py": "import math\n",
    "mlxc/_threads/pool.pxd": "",
    "docs/design.md": "`_graph/node` and `_table/F.py` are there.\n",
}
LONG_FUNCTION = "def long():\n" + "    pass\n" * MAX_FUNCTION
FAULTS = {
    "an upward import": (check_floors, "mlxc/_graph/__init__.py", "from ..core import fft\n"),
    "an upward cimport": (
        check_floors,
        "mlxc/_memory/buffer.pxd",
        "from mlxc._graph.node cimport bind\n",
    ),
    "a late upward import": (check_floors, "mlxc/core/a.py", "def f():\n    import mlxc.nn\n"),
    "an import of the whole": (check_floors, "mlxc/core/a.py", "import mlxc\n"),
    "a module on no floor": (check_floors, "mlxc/helpers.py", ""),
    "an import from no floor": (check_floors, "mlxc/core/a.py", "from mlxc.helpers import x\n"),
    "floor 0 with a dependency": (check_floors, "mlxc/_table/scan.py", "import numpy\n"),
    "neighbours in a circle": (
        check_floors,
        {
            "mlxc/_threads/pool.pxd": "from .._memory.buffer cimport Buffer\n",
            "mlxc/_memory/buffer.pxd": "from .._threads cimport pool\n",
        },
        None,
    ),
    "a family without a row": (check_grid, "mlxc/_table/scan.py", None),
    "an absence that is none": (check_grid, "shaders/scan.metal", ""),
    "a word that is no family": (check_grid, "mlxc/_table/scanning.py", ""),
    "an absence of nothing known": (
        check_grid,
        "mlxc/_table/families.py",
        FAMILIES_SOURCE.replace('("scan", "shader"): "a reason"', '("scam", "shader"): "a reason"'),
    ),
    "a long file": (check_sizes, "shaders/scan.metal", "\n" * (MAX_FILE + 1)),
    "a long line": (check_sizes, "tests/test_scan.py", "#" * (MAX_LINE + 1)),
    "a long Python function": (check_sizes, "mlxc/core/a.py", LONG_FUNCTION),
    "a long Cython function": (
        check_sizes,
        "mlxc/_graph/node.pyx",
        LONG_FUNCTION.replace("def long()", "cdef int* long(int a) except NULL"),
    ),
    "a committed C file": (check_generated, "mlxc/_graph/node.c", ""),
    "a committed generated source": (
        check_generated,
        "mlxc/_kernels/scan.pyx",
        "# Generated by setup.py from nowhere: do not edit.\n",
    ),
    "a module without a stub": (check_stubs, "mlxc/_graph/node.pyi", None),
    "a stub that forgot a name": (check_stubs, "mlxc/_graph/node.pyi", ""),
    "a stub with a name too many": (
        check_stubs,
        "mlxc/_graph/node.pyi",
        SOUND_TREE["mlxc/_graph/node.pyi"] + "def gone() -> None: ...\n",
    ),
    "a stub that forgot a method": (check_stubs, "mlxc/_graph/node.pyx", NODE + METHOD),
    "a page that names a file that is gone": (
        check_pages,
        "docs/design.md",
        "`_table/scan` and `_table/F.py` are there, `_graph/walk` is not.\n",
    ),
    "a kernel module with more names": (
        check_kernels,
        "mlxc/_kernels/scan.pyx",
        KERNEL + "\ndef helper():\n    pass\n",
    ),
    "a kernel that may raise": (
        check_kernels,
        "mlxc/_kernels/scan.pyx",
        KERNEL.replace("noexcept nogil", "except *"),
    ),
}


def plant(root, tree):
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink()
        else:
            path.write_text(text)


@pytest.mark.parametrize("guard", GUARDS)
def test_a_sound_tree_passes(tmp_path, guard):
    plant(tmp_path, SOUND_TREE)
    assert guard(tmp_path) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(tmp_path, fault):
    guard, where, text = FAULTS[fault]
    plant(tmp_path, SOUND_TREE)
    plant(tmp_path, where if isinstance(where, dict) else {where: text})
    assert len(guard(tmp_path)) >= 1


def test_an_ignored_generated_file_is_allowed(tmp_path):
    plant(tmp_path, {**SOUND_TREE, ".gitignore": "*.c\n", "mlxc/_graph/node.c": ""})
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert check_generated(tmp_path) == []
    plant(tmp_path, {".gitignore": ""})
    assert len(check_generated(tmp_path)) == 1


def test_the_stubs_are_as_the_live_package_has_it():
    generator = load(ROOT / "docs/stubs.py")
    made = generator.stubs()
    assert [str(path.relative_to(ROOT)) for path in generator.stale(made)] == [], "make docs"
    path, text = next(iter(made.items()))
    assert generator.stale({path: text + "def gone() -> None: ...\n"}) == [path]
