"""Turns MSL into C++ and compiles it: for the software Metal, its check mode, or an NVIDIA device.

    python mslc.py MODE INPUT OUTPUT LOG [DEFINES]      (MODE: plain, check or cuda)

Rules: the translation is of tokens, after preprocessing, and keeps lines; types are left to the C++
compiler and the headers in compat/. What it cannot read is an error with its place. OUTPUT appears
whole or not at all; messages go to LOG. Standard library only: it runs without site-packages.
"""

import ctypes
import glob
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<line>\#[^\n]*)"""
    r"""|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)|(?P<mark>\[\[|\]\]|::|->|[-+*/%&|^!=<>]=|.)""",
    re.S,
)
SPACES = ("device", "constant", "threadgroup", "thread")
BUILTINS = """thread_position_in_grid threads_per_grid threadgroup_position_in_grid
thread_position_in_threadgroup thread_index_in_threadgroup threads_per_threadgroup
dispatch_threads_per_threadgroup threadgroups_per_grid thread_index_in_simdgroup
simdgroup_index_in_threadgroup simdgroups_per_threadgroup threads_per_simdgroup
thread_index_in_quadgroup quadgroup_index_in_threadgroup""".split()
BUFFERS = 31  # of a kernel
SWIZZLE = re.compile("[xyzw]{2,4}|[rgba]{2,4}")
ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=")


class Refused(Exception):
    """Text that is not the MSL this reads."""


class Translator:
    """One pass over the tokens of a preprocessed source."""

    def __init__(self, text):
        self.tokens = [(m.lastgroup, m.group()) for m in TOKEN.finditer(text)]
        self.out = []
        self.before = [";", ";"]  # significant tokens passed, the last two
        self.kernels = {}  # name -> arguments as (kind, number), limit of threads
        self.templates = set()
        self.instances = []  # (name for the host, the C++ function)
        self.constants = {}  # name -> number
        self.arrays = 0

    # Reading

    def significant(self, i):
        """The next token that is neither space nor comment."""
        while i < len(self.tokens) and self.tokens[i][0] in ("space", "comment", "line"):
            i += 1
        return i

    def at(self, i):
        i = self.significant(i)
        return self.tokens[i][1] if i < len(self.tokens) else ""

    def line(self, i):
        """Where token i stands, as `file:line`."""
        name, number = "shader", 1
        for kind, text in self.tokens[:i]:
            if kind == "line" and (match := re.match(r'#\s*(?:line\s+)?(\d+)\s+"([^"]*)"', text)):
                number, name = int(match[1]) - 1, match[2]
            number += text.count("\n")
        return f"{name}:{number}"

    def refuse(self, i, what):
        raise Refused(f"{self.line(i)}: error: {what}")

    def closing(self, i):
        """The token that closes the bracket at i."""
        pairs, depth = {"(": ")", "[": "]", "{": "}", "[[": "]]"}, []
        for k in range(i, len(self.tokens)):
            text = self.tokens[k][1]
            if text in pairs:
                depth.append(pairs[text])
            elif depth and text == "]]" and depth[-1] == "]":
                depth.pop()  # a[b[i]]: two brackets, not the end of an attribute
                if depth and depth[-1] == "]":
                    depth.pop()
                if not depth:
                    return k
            elif depth and text == depth[-1]:
                depth.pop()
                if not depth:
                    return k
        self.refuse(i, f"{self.tokens[i][1]} is not closed")

    def text(self, i, j):
        return "".join(text for _, text in self.tokens[i:j])

    # Writing

    def emit(self, text):
        self.out.append(text)

    def passed(self, text):
        self.before = [self.before[1], text]

    def translate(self, i=0, end=None):
        end = len(self.tokens) if end is None else end
        pending = {}  # of the declaration being read: kernel, limit, template
        while i < end:
            kind, text = self.tokens[i]
            if kind in ("space", "comment"):
                self.emit(text)
                i += 1
            elif kind == "line":
                # g++ begins files with line 0, which stands for nothing and NVRTC refuses.
                self.emit(re.sub(r'^#\s*([1-9]\d*)\s+("[^"]*").*|^#\s*0\s.*', line_of, text))
                i += 1
            else:
                i = self.token(i, kind, text, pending)
        return "".join(self.out)

    def token(self, i, kind, text, pending):
        """Translates what begins at token i; gives where it ends."""
        if text in (";", "}"):
            pending.clear()
        if text == "template":
            if self.at(i + 1) == "[[":
                return self.instance(i)
            pending["template"] = True
        elif text == "[[":
            return self.attribute(i, pending)
        elif text == "kernel":
            pending["kernel"] = True
            return i + 1
        elif kind == "name" and pending.get("kernel") and self.at(i + 1) == "(":
            return self.signature(i, text, pending)
        elif text in SPACES:
            return self.space(i, text)
        elif text == "is_function_constant_defined":
            return self.defined(i)
        elif kind == "number":
            text = number(text)
        elif kind == "name" and self.before[1] in (".", "->") and SWIZZLE.fullmatch(text):
            text = self.swizzle(i, text)
        self.emit(text)
        self.passed(text)
        return i + 1

    def swizzle(self, i, text):
        following = self.at(i + 1)
        if following == "(":
            return text
        call = "sm_select" if following in ASSIGNMENTS else "sm_swizzle"
        places = ", ".join(str("xyzw".find(c) if c in "xyzw" else "rgba".find(c)) for c in text)
        return f"template {call}<{places}>()"

    def attribute(self, i, pending):
        end = self.closing(i)
        text = self.text(i + 1, end)
        if re.match(r"\s*kernel\b", text):
            pending["kernel"] = True
        if match := re.search(r"max_total_threads_per_threadgroup\s*\((.*)\)", text, re.S):
            pending["limit"] = match[1]
        self.emit("\n" * text.count("\n"))
        return end + 1

    def defined(self, i):
        open_ = self.significant(i + 1)
        close = self.closing(open_)
        name = self.text(open_ + 1, close).strip()
        if name not in self.constants:
            self.refuse(i, f"{name} is no function constant")
        self.emit(f"SM_CONSTANT_DEFINED({name}, {self.constants[name]})")
        self.passed(")")
        return close + 1

    def instance(self, i):
        """`template [[host_name("x")]] [[kernel]] void f<float>(...);`"""
        k, name = self.significant(i + 1), ""
        while self.tokens[k][1] == "[[":
            close = self.closing(k)
            if match := re.search(r"host_name\s*\((.*)\)", self.text(k, close), re.S):
                name = "".join(re.findall(r'"([^"]*)"', match[1]))
            k = self.significant(close + 1)
        if not name:
            self.refuse(i, "an instantiation without [[host_name]]")
        end = k
        while self.tokens[end][1] != ";":
            end += 1
        while self.tokens[k][1] in ("kernel", "void"):
            k = self.significant(k + 1)
        if self.tokens[k][1] == "decltype":
            k = self.significant(self.closing(self.significant(k + 1)) + 1)
        depth, stop = 0, k
        while stop < end and not (self.tokens[stop][1] == "(" and depth == 0):
            depth += {"<": 1, ">": -1}.get(self.tokens[stop][1], 0)
            stop += 1
        function = " ".join(self.text(k, stop).split())
        self.instances.append((name, re.sub(r"\bconstant\b", "const", function)))
        self.emit("\n" * self.text(i, end).count("\n"))
        self.passed(";")
        return end + 1

    def signature(self, i, name, pending):
        """The parameters of a kernel: attributes become (kind, number), numbers are dealt out."""
        open_ = self.significant(i + 1)
        close = self.closing(open_)
        if name in self.kernels:
            self.refuse(i, f"a second kernel {name}: give each its own name")
        arguments, k = [], open_ + 1
        self.emit(f"{name}(")
        while k < close:
            k, argument = self.parameter(k, close)
            if argument:
                arguments.append(argument)
        self.emit(")")
        used = {number for kind, number in arguments if kind == "buffer"}
        for kind, number_ in arguments:
            if arguments.count((kind, number_)) > 1 and kind == "buffer":
                self.refuse(i, f"two arguments have buffer {number_}")
            if kind == "buffer" and number_.isdigit() and int(number_) >= BUFFERS:
                self.refuse(i, f"buffer {number_}: a kernel has {BUFFERS}, from 0 on")
        for at, (kind, number_) in enumerate(arguments):
            if kind is None:
                number_ = str(next(n for n in range(99) if str(n) not in used))
                used.add(number_)
                arguments[at] = ("buffer", number_)
        self.kernels[name] = (arguments, pending.get("limit", "0"))
        if pending.get("template"):
            self.templates.add(name)
        pending.clear()
        self.passed(")")
        return close + 1

    def parameter(self, k, close):
        """One parameter, up to its comma."""
        argument, seen, depth = (None, ""), False, 0
        self.before = ["(", "("]
        while k < close:
            kind, text = self.tokens[k]
            if text == "," and depth == 0:
                self.emit(",")
                k += 1
                break
            if text == "[[":
                end = self.closing(k)
                argument = self.binding(k, self.text(k + 1, end))
                k = end + 1
                continue
            depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(text, 0)
            if kind in ("space", "comment", "line"):
                self.emit(text)
                k += 1
            else:
                seen = True
                k = self.token(k, kind, text, {})
        return k, argument if seen else None

    def binding(self, k, text):
        for match in re.finditer(r"(\w+)\s*(?:\(([^()]*)\))?", text):
            name, number_ = match[1], (match[2] or "").strip()
            if name == "buffer":
                return ("buffer", number_)
            if name == "threadgroup":
                return ("threadgroup_memory", number_)
            if name in BUILTINS:
                return (name, "0")
        self.refuse(k, f"[[{text.strip()}]] is not known")

    def space(self, i, text):
        """An address space: dropped, or const for `constant`; storage where it declares some."""
        if text == "constant" and self.before[1] in (";", "}", "static", "{"):
            end = self.function_constant(i)
            if end:
                return end
        if text == "threadgroup" and self.before[1] in (";", "{", "}"):
            end = self.storage(i)
            if end:
                return end
        of_member = self.before[1] == ")" or self.before == [")", "const"]
        if text == "constant" and not of_member:
            if self.before[1] not in ("const", "constexpr") and self.at(i + 1) != "const":
                self.emit("const")
            self.passed("const")
        return i + 1

    def function_constant(self, i):
        end = i
        while self.tokens[end][1] not in (";", "{", "(", "="):
            end += 1 if self.tokens[end][1] != "[[" else self.closing(end) - end + 1
        text = " ".join(self.text(i + 1, end).split())
        match = re.fullmatch(
            r"(?:constexpr |const )*(.+?) ?\b(\w+) ?\[\[ ?function_constant ?\( ?(\d+) ?\) ?\]\]",
            text,
        )
        if not match or self.tokens[end][1] != ";":
            return None
        self.constants[match[2]] = match[3]
        self.emit(f"SM_FUNCTION_CONSTANT({match[1]}, {match[2]}, {match[3]});")
        self.passed(";")
        return end + 1

    def storage(self, i):
        """`threadgroup float a[32], b;` within a kernel; None for pointers and references."""
        end, depth = i + 1, 0
        while self.tokens[end][1] != ";":
            text = self.tokens[end][1]
            depth += {"<": 1, ">": -1, "(": 1, ")": -1}.get(text, 0)
            if depth == 0 and text in ("*", "&", "=") and "[" not in self.text(i, end):
                return None
            end += 1
        parts = split(self.text(i + 1, end))
        match = re.match(r"\s*(.+?)\s*\b(\w+)\s*((?:\[.*\])?)\s*$", parts[0], re.S)
        if not match:
            self.refuse(i, "a threadgroup declaration that is not `threadgroup T x[N];`")
        declared = [(match[2], match[3])]
        for part in parts[1:]:
            match_ = re.match(r"\s*(\w+)\s*((?:\[.*\])?)\s*$", part, re.S)
            declared.append((match_[1], match_[2]))
        for name, extents in declared:
            self.emit(f"typedef {match[1]} {name}_sm_type{extents}; ")
            self.emit(f"SM_THREADGROUP({self.arrays}, {name}_sm_type, {name});")
            self.arrays += 1
        self.passed(";")
        return end + 1

    # The table of kernels

    def entries(self):
        """(name for the host, C++ function, arguments, limit of threads) of every kernel."""
        plain = [(name, name) for name in self.kernels if name not in self.templates]
        for name, function in plain + self.instances:
            base = re.match(r"[\w:]+", function)[0].split("::")[-1]
            if base not in self.kernels:
                raise Refused(f"error: {name} instantiates {base}, which is no kernel")
            arguments, limit = self.kernels[base]
            kinds = [f", sm_argument<sm_{kind}, {number_}>" for kind, number_ in arguments]
            yield name, f"sm_launch<&{function}{''.join(kinds)}>", limit


def split(text):
    """At commas outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"<": 1, "(": 1, "[": 1, ">": -1, ")": -1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def number(text):
    """MSL's literals without a suffix are float; h is half, bf bfloat."""
    hexadecimal = text[:2] in ("0x", "0X")
    if match := re.fullmatch(r"(.*?)(bf|BF|h|H)", text):
        if not hexadecimal:
            value = match[1] if re.search("[.eE]", match[1]) else match[1] + ".0"
            return f"{'half' if match[2] in 'hH' else 'bfloat'}({value}f)"
    real = re.search("[pP]" if hexadecimal else "[.eE]", text)
    return text + "f" if real and text[-1] not in "fF" else text


def host_table(entries):
    """The table of kernels that the runtime looks for in a library."""
    rows = "".join(
        f'    {{"{name}", {launch}::run, {limit}}},\n' for name, launch, limit in entries
    )
    return (
        'extern "C" __attribute__((visibility("default"))) const softmetal::Kernel '
        f"sm_kernels[] = {{\n{rows}    {{nullptr, nullptr, 0}}}};\n"
    )


def cuda_kernels(entries):
    """One function a kernel; -DSM_ONLY -DSM_ONLY_k_<name> compiles one alone, which is quick."""
    text = ""
    for name, launch, limit in entries:
        symbol = "k_" + re.sub(r"\W", "_", name)
        text += (
            f"#if !defined(SM_ONLY) || defined(SM_ONLY_{symbol})\n"
            f'extern "C" __global__ void __launch_bounds__({limit} ? {limit} : 1024) {symbol}'
            f"(const __grid_constant__ sm_parameters p) {{ {launch}::run(p); }}\n#endif\n"
        )
    return text


def line_of(found):
    """A compiler's note of where the next line comes from, as the preprocessor reads it."""
    return f"#line {found[1]} {found[2]}" if found[1] else ""


def cuda_constants(numbers):
    """Function constants come as macros: a set of values is a compilation, as in Metal."""
    return '#include "kernel.h"\n' + "".join(
        f"#ifdef SM_VALUE_{n}\n#define SM_GIVEN_{n} 1\n#else\n"
        f"#define SM_GIVEN_{n} 0\n#define SM_VALUE_{n} 0ul\n#endif\n"
        for n in sorted(set(numbers))
    )


def translate(text, cuda=False):
    """C++ for preprocessed MSL."""
    translator = Translator(text)
    body = translator.translate()
    entries = list(translator.entries())
    names = [name for name, _, _ in entries]
    for name in names:
        if names.count(name) > 1:
            raise Refused(f"error: {names.count(name)} kernels are named {name}")
    head = cuda_constants(translator.constants.values()) if cuda else ""
    tail = cuda_kernels(entries) if cuda else host_table(entries)
    return (
        f"{head}namespace msl {{\nusing namespace metal;\n{body}\n"
        f'#line 1 "kernels"\n{tail}}} // namespace msl\n'
    )


# Compiling


def run(command, log):
    """A command's output; its messages go to the log."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Refused(f"{command[0]} does not run: {error}") from None
    log.append(done.stderr)
    if done.returncode:
        raise Refused("")
    return done.stdout


def preprocess(path, log):
    """The source with macros and conditions resolved, under names that Metal defines."""
    compiler = next((c for c in ("clang++-19", "g++", "c++") if shutil.which(c)), "c++")
    command = [compiler, "-E", "-x", "c++", "-std=c++17", "-nostdinc", "-nostdinc++", "-undef"]
    command += ["-D__METAL_VERSION__=310", "-D__METAL__=1", "-w", f"-I{HERE}/compat/stubs", path]
    text = run(command, log)
    name = os.path.basename(path)
    return text.replace(f'"{path}"', '"shader.metal"').replace(name, "shader.metal")


def compile_host(mode, source, out, log):
    flags = (HERE / "flags.txt").read_text().split("\n")
    if mode == "check":
        flags += ["-Xclang", "-fsanitize=thread", "-gline-tables-only"]
        flags += ["-mllvm", "-tsan-instrument-func-entry-exit=0"]
    command = ["clang++-19", *flags, "-include-pch", f"{HERE}/kernel.{mode}.pch", "-shared"]
    command += ["-nostartfiles", "-nostdlib", source, "-x", "none", f"{HERE}/libsoftmetal.so"]
    run([*command, "-lm", "-lgcc", "-o", out], log)


def find_nvrtc():
    """NVRTC, from where its wheel, CUDA or PyTorch put it."""
    patterns = [os.environ.get("MLXC_NVRTC", "")]
    for folder in [*sys.path, *glob.glob("/opt/*/.venv/lib/python3*/site-packages")]:
        patterns += [f"{folder}/nvidia/*/lib/libnvrtc.so.*"]
    prefix = "/*/*/lib/python3*/*-packages/nvidia/*/lib/libnvrtc.so.*"
    patterns += ["/usr/local/cuda*/lib64/libnvrtc.so*", prefix, "/usr/lib/*/libnvrtc.so*"]
    patterns += ["/usr/local/cuda*/targets/*/lib/libnvrtc.so*"]
    for pattern in patterns:
        for path in sorted(glob.glob(pattern) if pattern else [], key=len):
            if "builtins" not in path and ".alt." not in path:
                return path
    raise Refused("NVRTC is not here: name it in MLXC_NVRTC, or install nvidia-cuda-nvrtc")


def compile_cuda(text, defines, out, log):
    path = find_nvrtc()
    # NVRTC asks for its other half by name alone: it is loaded from where this one lies.
    for builtins in glob.glob(f"{os.path.dirname(path)}/libnvrtc-builtins.so.*"):
        ctypes.CDLL(builtins)
    library = ctypes.CDLL(path)
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"shader.cu", 0, None, None)
    architecture = os.environ.get("MLXC_CUDA_ARCHITECTURE", "sm_90")
    options = [f"-arch={architecture}", "-std=c++17", "-default-device", "-lineinfo"]
    options += [f"-I{HERE}/compat", "-fmad=true", "-w", *defines.split()]
    array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    status = library.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    message = ctypes.create_string_buffer(size.value + 1)
    library.nvrtcGetProgramLog(program, message)
    log.append(message.value.decode(errors="replace"))
    if status:
        raise Refused("")
    library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    binary = ctypes.create_string_buffer(size.value)
    library.nvrtcGetCUBIN(program, binary)
    Path(out).write_bytes(binary.raw)


def prune(folder):
    """Keeps the cache of shaders small: what was not used for longest goes."""
    limit = int(os.environ.get("MLXC_SOFTMETAL_CACHE_MB", "256")) << 20
    entries, total = [], 0
    for entry in os.scandir(folder):
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # another process was quicker
        total += status.st_size
        # Whatever else lies there is being made, or was left by a process that was killed.
        if entry.name.endswith((".so", ".cubin")) or time.time() - status.st_mtime > 3600:
            entries.append((status.st_mtime, status.st_size, entry.path))
    for _, size, path in sorted(entries):
        if total <= limit:
            break
        total -= size
        try:
            os.unlink(path)
        except OSError:
            pass  # another process was quicker


def main(mode, source, out, log_path, defines=""):
    log, scratch = [], f"{out}.{os.getpid()}"
    code = f"{scratch}.cc"
    status = 0
    try:
        text = translate(preprocess(source, log), cuda=mode == "cuda")
        if mode == "cuda":
            compile_cuda(text, defines, scratch, log)
        else:
            Path(code).write_text(text)
            compile_host(mode, code, scratch, log)
        prune(os.path.dirname(out))  # before there is what must not go
        os.replace(scratch, out)
    except Refused as error:
        log.append(str(error))
        status = 1
    if not os.environ.get("MLXC_SOFTMETAL_KEEP") and os.path.exists(code):
        os.unlink(code)
    Path(log_path).write_text("".join(log).replace(f"{source}", "shader.metal"))
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
