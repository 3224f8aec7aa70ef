"""Looks for what the software Metal's compiler cannot see in shaders, and Apple's would refuse.

    python tests/softmetal/lint.py [shaders/scan.metal ...]     (all of shaders/ if none is named)

C++ compilers drop the address spaces of MSL. OpenCL C++ has the same ones, so that clang reads
the shaders as that, too, with opencl/metal.h in place of Metal's library. Rules that are checked:

    spaces     no pointer or reference leaves its address space, none is without one
    warnings   clang's, of both readings
    recursion  no function calls itself, by any way
    loops      every loop has a condition
    types      no double; conditional expressions do not mix half, bfloat and float
    storage    threadgroup variables are declared in kernels, at the outermost level
    names      nothing of Apple's own (__metal_...), no member that reads like a swizzle

What OpenCL refuses and MSL does not is left out: temporaries and `this` are private memory there.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import mslc

import build

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VECTOR = re.compile("(?:char|uchar|short|ushort|int|uint|long|ulong|half|float)[234]")
KEYWORDS = {"global", "local", "generic", "pipe"}  # of OpenCL alone
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-const-variable", "-Wno-bitwise-instead-of-logical"]
OPENCL = ["clang-19", "-x", "cl", "-cl-std=clc++2021", "-target", "spir64", "-cl-no-stdinc"]
OPENCL += ["-fsyntax-only", "-ferror-limit=0", "-fno-caret-diagnostics", *WARNINGS]
# OpenCL gives temporaries, and members reached by `this`, no address space; MSL the thread's.
OWN_SPACE = re.compile(
    "cannot bind reference in (default address space|address space '__generic') "
    "to object in address space '__private'"
)
PLACE = re.compile(r"([^\s<>,:]+):(\d+):\d+")  # in clang's tree; "line" is the file before
DIAGNOSTIC = re.compile(r"(\S+?):(\d+):\d+: (error|warning|note): (.*)")


class Reader(mslc.Translator):
    """MSL as OpenCL C++: attributes go, address spaces stay; notes what breaks rules of tokens."""

    def __init__(self, text):
        super().__init__(text)
        known = re.findall(r"typedef\s+(\w+)\s+(\w+)\s*;", text)
        self.vectors = {new for old, new in known if VECTOR.fullmatch(old)}
        self.ends = set()  # tokens behind which a bracket closes
        self.findings = []  # (token, rule, text)
        self.depth = 0  # of braces
        self.kernel_depth = None  # within which a kernel's body stands

    def found(self, i, rule, text):
        self.findings.append((i, rule, text))

    def token(self, i, kind, text, pending):
        self.look(i, kind, text)
        is_vector = kind == "name" and (VECTOR.fullmatch(text) or text in self.vectors)
        if is_vector and self.at(i + 1) == "(":
            self.ends.add(self.closing(self.significant(i + 1)))
            self.emit(f"(({text})")  # as OpenCL writes float2(x, y)
            self.passed(text)
            return i + 1
        if kind == "name" and text in KEYWORDS:
            text += "_"
        after = super().token(i, kind, text, pending)
        if i in self.ends:
            self.emit(")")
        return after

    def look(self, i, kind, text):
        """The rules that tokens tell."""
        if text in "{}" and kind == "mark":
            self.depth += 1 if text == "{" else -1
            if self.kernel_depth is not None and self.depth == self.kernel_depth:
                self.kernel_depth = None
        elif text == "double" or (kind == "name" and text.startswith("double")):
            self.found(i, "types", "MSL has no double")
        elif text.startswith("__metal_"):
            self.found(i, "names", f"{text} is Apple's own")
        elif text in ("for", "while"):
            self.look_at_loop(i, text)

    def look_at_loop(self, i, word):
        open_ = self.significant(i + 1)
        inside = "".join(self.text(open_ + 1, self.closing(open_)).split())
        endless = inside in ("true", "1") if word == "while" else ";;" in inside
        if endless:
            self.found(i, "loops", f"a {word} without a condition")

    def signature(self, i, name, pending):
        self.kernel_depth = self.depth
        return super().signature(i, name, pending)

    def storage(self, i):
        end = super().storage(i)
        if end and (self.kernel_depth is None or self.depth != self.kernel_depth + 1):
            self.found(i, "storage", "threadgroup variables belong to a kernel's outermost level")
        return end

    def swizzle(self, i, text):
        return text

    def space(self, i, text):
        written = len(self.out)
        after = super().space(i, text)
        if after == i + 1:  # no storage: the word itself
            self.out[written:] = [text]
            self.passed(text)
        return after

    def instance(self, i):
        """Without its attributes: an explicit instantiation, in OpenCL as in C++."""
        written, depth, text = len(self.out), 0, ""
        end = super().instance(i)
        for _, each in self.tokens[i:end]:
            depth += {"[[": 1}.get(each, 0)
            text += each if depth == 0 and each != "kernel" else ""
            depth -= {"]]": 1}.get(each, 0)
        self.out[written:] = [text]
        return end


def diagnostics(output):
    """(file, line, kind, text, notes) of every error and warning."""
    groups = []
    for match in DIAGNOSTIC.finditer(output):
        file, line, kind, text = match.groups()
        if kind == "note" and groups:
            groups[-1][4].append(text)
        elif kind != "note":
            groups.append((file, int(line), kind, text, []))
    return groups


def is_opencl_alone(text, notes):
    """Whether MSL has no objection. Function constants are the number 64 here."""
    if text == "no case matching constant switch condition '64'":
        return True
    candidates = [note for note in notes if note.startswith("candidate")]
    if candidates and all(OWN_SPACE.search(note) for note in candidates):
        return True
    mixed = text.startswith("incompatible operand types")
    return mixed and set(re.findall(r"__(\w+) ", text)) <= {"private"}


def read_as_opencl(text, folder, finding):
    reader = Reader(text)
    body = reader.translate()
    for i, rule, what in reader.findings:
        file, _, line = reader.line(i).rpartition(":")
        finding(file, line, rule, what)
    source = folder / "shader.cl"
    source.write_text(f'#include "{HERE}/opencl/metal.h"\nusing namespace metal;\n{body}\n')
    done = subprocess.run([*OPENCL, source], capture_output=True, text=True)
    for file, line, kind, what, notes in diagnostics(done.stderr):
        if not is_opencl_alone(what, notes):
            rule = "types" if what.startswith("conditional expression") else "spaces"
            finding(file, line, rule if kind == "error" else "warnings", what)
    dump = [*OPENCL, "-w", "-Xclang", "-ast-dump", "-fno-color-diagnostics", source]
    read_tree(subprocess.run(dump, capture_output=True, text=True).stdout, finding)


def read_tree(dump, finding):
    """What clang's tree of the source tells, a line a node: spaces, members, mixed conditionals."""
    file, line, hidden, conditionals = "", 0, None, []
    for text in [*dump.split("\n"), "end"]:
        for place in PLACE.finditer(text.split("'")[0]):
            file, line = file if place[1] == "line" else place[1], int(place[2])
        node = re.search(r"[A-Za-z]\w*", text)
        if not node or "opencl/metal.h" in file:
            continue
        depth, kind = node.start(), node[0]
        while conditionals and conditionals[-1][0] >= depth:
            _, place, converted = conditionals.pop()
            if converted == 1:  # both are, where both are bfloat, which is a class here
                finding(*place, "types", "?: of different types: cast one of them")
        if conditionals and depth - 2 == conditionals[-1][0]:
            mixes = "<FloatingCast>" in text or "<UserDefinedConversion>" in text
            conditionals[-1][2] += mixes
        if kind == "ConditionalOperator":
            conditionals.append([depth, (file, line), 0])
        if hidden is not None and depth > hidden:
            continue  # within what the compiler declares by itself
        if kind.endswith("Decl") or kind == "CStyleCastExpr":
            hidden = depth if " implicit " in text else None
            read_declaration(file, line, kind, text, finding)


def read_declaration(file, line, kind, text, finding):
    match = re.search(r"(\w*) '([^']*)'", text)
    if not match or " implicit " in text:
        return
    typed = ("VarDecl", "ParmVarDecl", "FieldDecl", "CStyleCastExpr")
    if kind in typed and "__generic" in match[2]:
        finding(file, line, "spaces", f"a pointer without an address space: {match[2]}")
    if kind == "FieldDecl" and mslc.SWIZZLE.fullmatch(match[1]):
        finding(file, line, "names", f"the member {match[1]} reads like a swizzle")


def read_as_cplusplus(text, folder, finding):
    """The C++ that runs: its warnings, and who calls whom."""
    source = folder / "shader.cc"
    source.write_text(mslc.translate(text))
    flags = [flag for flag in (*build.SHADER_FLAGS, *build.architecture_flags()) if flag != "-w"]
    command = ["clang++-19", *flags, *WARNINGS, "-fno-caret-diagnostics", "-include"]
    command += [HERE / "compat/kernel.h", "-Xclang", "-disable-llvm-passes", "-S", "-emit-llvm"]
    done = subprocess.run([*command, source, "-o", "-"], capture_output=True, text=True)
    for file, line, kind, what, _ in diagnostics(done.stderr):
        if "compat/" not in file and not what.startswith("unused"):
            finding(file, line, "warnings" if kind == "warning" else "errors", what)
    for name in recursive(done.stdout):
        finding("shader", 0, "recursion", f"{name} calls itself")


def recursive(code):
    """Functions of LLVM's text that are reached from themselves."""
    calls, name = {}, None
    for line in code.split("\n"):
        if line.startswith("define"):
            name = re.search(r'@("[^"]+"|[\w.$]+)\(', line)[1]
            calls[name] = set()
        elif name and (match := re.search(r'\bcall\b.*?@("[^"]+"|[\w.$]+)\(', line)):
            calls[name].add(match[1])
    found, safe = [], set()

    def reaches(start):
        seen, todo = set(), list(calls.get(start, ()))
        while todo:
            each = todo.pop()
            if each == start:
                return True
            if each not in seen and each not in safe:
                seen.add(each)
                todo += calls.get(each, ())
        return False

    for each in calls:
        if reaches(each):
            found.append(each)
        else:
            safe.add(each)
    names = subprocess.run(["c++filt"], input="\n".join(found), capture_output=True, text=True)
    return [name.split("(")[0].replace("msl::", "") for name in names.stdout.split("\n") if name]


def lint(text):
    """What is wrong with a whole source, as `file:line: rule: what`."""
    findings = {}

    def finding(file, line, rule, what):
        findings[f"{file}:{line}: {rule}: {what}"] = None

    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name), []
        path = folder / "shader.metal"
        path.write_text(text)
        try:
            plain = mslc.preprocess(str(path), log)
            read_as_opencl(plain, folder, finding)
            read_as_cplusplus(plain, folder, finding)
        except mslc.Refused as error:
            findings["".join([*log, str(error)]).strip()] = None
    return list(findings)


def main(paths):
    import bare  # noqa: F401  launchers without a compiled mlxc

    from mlxc._backends.metal import sources

    findings = []
    for path in paths or sorted((ROOT / "shaders").glob("*.metal")):
        findings += lint(sources.read(Path(path).stem))
    print(*findings, sep="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
