"""Files with faults, for every format that is loaded: a good file with some bytes changed, cut or
put in.

``python -m tests.fuzz_files --files N --seed S`` prints what it found and exits with 1 if a file
crashed the process, raised anything but ValueError or took memory; ``--only FORMAT I`` repeats
file I of that seed alone.

Rules: file I of seed S depends on nothing but S and I. Files are loaded in a child process that
notes each number before; the arrays that come are read to their last byte. What is loaded may take
at most MEMORY bytes, whatever the file claims.
"""

import argparse
import io
import json
import mmap
import os
import random
import struct
import sys
import time
import traceback
import tracemalloc
import warnings
import zipfile

import numpy as np

import mlxc.core as mx

FORMATS = ("npy", "npz", "safetensors", "gguf")
KINDS = (*FORMATS, "npy within npz", "safetensors by field")
MEMORY = 1 << 21  # bytes
BATCH = 5000  # files a child loads


def values_of(dtype, shape):
    """An array with values that no other dtype could hold by chance."""
    count = int(np.prod(shape))
    numbers = np.arange(1, count + 1) % 100 - (0 if dtype.startswith(("u", "b")) else 50)
    if dtype == "bool_":
        numbers = numbers % 3 == 0
    if dtype == "complex64":
        numbers = numbers + 0.5j
    return mx.array(numbers.reshape(shape), dtype=getattr(mx, dtype))


def saved(format, x):
    """The bytes of a file that holds one array, named "a" where there are names."""
    file = io.BytesIO()
    if format == "npy":
        mx.save(file, x)
    elif format == "npz":
        mx.savez(file, a=x)
    elif format == "safetensors":
        mx.save_safetensors(file, {"a": x})
    else:
        mx.save_gguf(file, {"a": x}, {})
    return file.getvalue()


def load_bytes(data, format, **options):
    return mx.load(io.BytesIO(data), format=format, **options)


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_file(code, shape, data, name="w.weight", version=3, pairs=(), alignment=32):
    """One tensor of any type. pairs: (key, packed type and value)."""
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(pairs))
    head += b"".join(gguf_string(key) + value for key, value in pairs)
    head += gguf_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], code, 0)
    return head + b"\0" * (-len(head) % alignment) + data


WORDS = b"-1 99999999999999999999 1e999 null [] {} True (1) ' \" , \xff".split()


def valid_files(format):
    """Small valid files that use every part of the format."""
    rng = np.random.default_rng(1)
    if format == "npy":
        return [
            saved("npy", values_of(dtype, (2, 3))) for dtype in ("float32", "bool_", "complex64")
        ]
    if format == "npz":
        file = io.BytesIO()
        mx.savez_compressed(file, values_of("float32", (3, 5)), b=values_of("bool_", (4,)))
        return [saved("npz", values_of("int16", (3,))), file.getvalue()]
    if format == "safetensors":
        file = io.BytesIO()
        arrays = {dtype: values_of(dtype, (2, 2)) for dtype in ("float32", "bfloat16", "bool_")}
        mx.save_safetensors(file, arrays, {"made": "here"})
        return [saved("safetensors", mx.array(1)), file.getvalue()]
    file = io.BytesIO()
    metadata = {
        "s": "text",
        "l": ["a", "b"],
        "n": mx.array(3),
        "m": mx.arange(4),
        "f": mx.array([True, False]),
    }
    mx.save_gguf(file, {"x": values_of("float32", (2, 3)), "y": values_of("int8", (4,))}, metadata)
    pairs = [("general.alignment", struct.pack("<II", 4, 64))]
    blocks = [
        gguf_file(
            code,
            (2, 256),
            rng.integers(0, 256, nbytes, dtype=np.uint8).tobytes(),
            pairs=pairs,
            alignment=64,
        )
        for code, nbytes in ((2, 288), (3, 320), (8, 544), (10, 168), (12, 288), (14, 420))
    ]
    return [file.getvalue(), *blocks]


def with_faults(rng, data):
    """A file with one to four faults."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = (
            rng.randrange(len(data) + 1)
            if rng.random() < 0.5
            else rng.randrange(min(len(data), 160) + 1)
        )
        kind = rng.randrange(7)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            size = rng.choice([4, 8])
            number = rng.choice(
                [0, 1, -1, 1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1, rng.randrange(1 << 16)]
            )
            data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + rng.randint(1, 16)]
        elif kind == 4:
            data[at:at] = data[: rng.randint(1, 64)]
        elif kind == 5:
            data[at : at + rng.randrange(3)] = rng.choice(WORDS)
        else:
            digits = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
            if digits:
                data[rng.choice(digits)] = rng.choice(b"0123456789-")
    return bytes(data)


def resealed(data):
    """An npy file as the member of an archive with the right checksum, so that faults reach the
    inner parser."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", data)
    return file.getvalue()


def with_other_field(rng, data):
    """A safetensors file with another value in a field of its header, which keeps its form."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = rng.choice(list(header))
    entry = header[name]
    key = rng.choice(list(entry))
    others = [-1, 0, 1, 3, 1 << 31, (1 << 32) + 1, 1 << 62, 1 << 64, 0.5, "F32", "x", None, [], {}]
    if isinstance(entry[key], list) and entry[key] and rng.random() < 0.8:
        entry[key][rng.randrange(len(entry[key]))] = rng.choice(others)
    elif rng.random() < 0.2:
        del entry[key]
    else:
        entry[key] = rng.choice([*others, "BF16", "I64", [1 << 32, 1 << 32], [2], [0, 8], [4, 2]])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


class Source:
    """The files of a kind, by number."""

    def __init__(self, kind, seed):
        self.kind, self.seed = kind, seed
        self.format = {"npy within npz": "npz"}.get(kind, kind.split()[0])
        self.valid = valid_files(kind.split()[0])

    def file(self, number):
        rng = random.Random(f"{self.seed} {number}")
        data = self.valid[number % len(self.valid)]
        if self.kind == "safetensors by field":
            return with_other_field(rng, data)
        data = with_faults(rng, data)
        return resealed(data) if self.kind == "npy within npz" else data

    def try_file(self, number):
        """What is wrong with the outcome of loading a file, and whether it was refused."""
        data = self.file(number)
        tracemalloc.reset_peak()
        mx.reset_peak_memory()
        before = tracemalloc.get_traced_memory()[0] + mx.get_active_memory()
        try:
            loaded = load_bytes(data, self.format)
            for x in loaded.values() if isinstance(loaded, dict) else [loaded]:
                bytes(np.asarray(mx.view(mx.contiguous(x).reshape(-1), mx.uint8)))
            refused = False
        except ValueError:
            refused = True
        except Exception as error:
            return "".join(traceback.format_exception(error)[-3:]), True
        taken = tracemalloc.get_traced_memory()[1] + mx.get_peak_memory() - before
        return (f"took {taken} bytes" if taken > MEMORY else ""), refused


def try_files(source, first, last, note=None):
    """Load files first to last: [(number, what is wrong)] and how many were refused."""
    findings, refused = [], 0
    tracemalloc.start()
    try:
        for number in range(first, last):
            if note is not None:
                note[:8] = struct.pack("<q", number)
            wrong, no = source.try_file(number)
            refused += no
            if wrong:
                findings.append((number, wrong))
    finally:
        tracemalloc.stop()
    return findings, refused


def in_child(source, first, last):
    """(the number after the last file that was tried, whether any was a finding)"""
    note = mmap.mmap(-1, 8)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        findings, refused = try_files(source, first, last, note)
        for number, wrong in findings[:5]:
            print(f"{source.kind} file {number}: {wrong}")
        print(f"{source.kind}: {last - first} files, {refused} refused, {len(findings)} findings")
        sys.stdout.flush()
        os._exit(bool(findings))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status in (0, 1):
        return last, bool(status)
    number = struct.unpack("<q", note[:8])[0]
    print(f"{source.kind} file {number}: crash (exit {status})")
    return number + 1, True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs=2, help="a kind and a number: repeat this file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.only:
        kind, number = options.only
        print(try_files(Source(kind, options.seed), int(number), int(number) + 1))
        return 0
    print(f"seed {options.seed}")
    found = False
    for kind in KINDS:
        source, number, last = Source(kind, options.seed), 0, options.files // len(KINDS)
        while number < last:
            number, wrong = in_child(source, number, min(number + BATCH, last))
            found |= wrong
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
