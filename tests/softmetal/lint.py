"""WIP"""
import re, subprocess, sys, os
from pathlib import Path
HERE = Path(__file__).resolve().parent
sys.path.insert(0,str(HERE))
import mslc
VECTOR = re.compile("(?:char|uchar|short|ushort|int|uint|long|ulong|half|float)[234]")
class Reader(mslc.Translator):
    def __init__(self, text):
        super().__init__(text)
        self.vectors = {new for old, new in re.findall(r"typedef\s+(\w+)\s+(\w+)\s*;", text) if VECTOR.fullmatch(old)}
        self.ends = set()
    def token(self, i, kind, text, pending):
        if kind == "name" and (VECTOR.fullmatch(text) or text in self.vectors) and self.at(i + 1) == "(":
            self.ends.add(self.closing(self.significant(i + 1)))
            self.emit(f"(({text})")
            self.passed(text)
            return i + 1
        after = super().token(i, kind, text, pending)
        if i in self.ends:
            self.emit(")")
        return after
    def swizzle(self, i, text):
        return text
    def space(self, i, text):
        out = len(self.out)
        after = super().space(i, text)
        if after == i + 1:
            del self.out[out:]
            self.emit(text)
            self.passed(text)
        return after
    def instance(self, i):
        out = len(self.out)
        end = super().instance(i)
        tokens = self.tokens[i:end]
        text, depth = "", 0
        for kind, t in tokens:
            if t == "[[": depth += 1
            if depth == 0 and t != "kernel": text += t
            if t == "]]": depth -= 1
        del self.out[out:]
        self.emit(text)
        return end
def main(path):
    import bare
    from mlxc._backends.metal import sources
    log=[]
    src=Path("/tmp/m1/lint.metal"); src.write_text(sources.read(path))
    try:
        text = mslc.preprocess(str(src), log)
    except mslc.Refused: print(log); return
    body = Reader(text).translate()
    code = f'#include "{HERE}/lint/metal.h"\nusing namespace metal;\n{body}\n'
    out = Path("/tmp/m1/lint.cl"); out.write_text(code)
    r=subprocess.run(["clang-19","-x","cl","-cl-std=clc++2021","-target","spir64","-cl-no-stdinc","-fsyntax-only","-Wall","-Wextra","-ferror-limit=0",out],capture_output=True,text=True)
    print(path, r.returncode, r.stderr.count("error:"), r.stderr.count("warning:"))
    print("\n".join(l for l in r.stderr.splitlines() if "error:" in l or "warning:" in l))
for p in sys.argv[1:]: main(p)
