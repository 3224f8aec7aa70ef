"""Bytes in and out of files: checked reading, and saving that never leaves a half-written file in
place of an old one.

Rules: nothing is read, and no memory taken, beyond what a file really holds; every fault is a
ValueError that names the file. Nothing here knows arrays of ours: the format modules give and take
NumPy arrays with dtype names.
"""

import contextlib
import io
import os
import stat
import sys
from math import prod

import numpy as np

CHUNK = 1 << 20  # bytes a read
PIECE = 1 << 24  # bytes a write
MAX_DIMS = 32

NUMPY_DTYPES = {
    "bool_": "|b1",
    "uint8": "|u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "int8": "|i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "bfloat16": "<u2",  # its bits
    "complex64": "<c8",
}


ITEMSIZE = {name: int(spec[2:]) for name, spec in NUMPY_DTYPES.items()}  # bytes


class Source:
    """A cursor over a readable stream of known size."""

    def __init__(self, stream, name, size):
        self.name = name
        self.size = size  # bytes, from where the stream stood
        self.at = 0
        self.stream = stream

    def fail(self, fault, right):
        """Refuse the file."""
        raise ValueError(f"[load] {self.name}: {fault}; {right}")

    def need(self, count, what):
        """Refuse the file if fewer than count bytes are left; before any memory is taken for
        them."""
        if count > self.size - self.at:
            self.fail(
                f"{what} needs {count} bytes at offset {self.at}, but the file ends at {self.size}",
                "the file is cut short or corrupt",
            )

    def read(self, count, what):
        """The next count bytes."""
        self.need(count, what)
        out = bytearray(count)
        self._fill(memoryview(out), what)
        return bytes(out)

    def read_array(self, shape, dtype_name, what):
        """The next values, row-major and little-endian, as a NumPy array."""
        dtype = np.dtype(NUMPY_DTYPES[dtype_name])
        count = prod(shape)
        self.need(count * dtype.itemsize, what)
        flat = np.empty(count, dtype)
        self._fill(memoryview(flat.view(np.uint8)), what)
        if dtype_name == "bool_":
            flat = flat.view(np.uint8) != 0
        return flat.astype(dtype.newbyteorder("="), copy=False).reshape(shape)

    def seek(self, offset):
        """Move the cursor; the stream must be able to."""
        self.stream.seek(offset - self.at, os.SEEK_CUR)
        self.at = offset

    def _fill(self, view, what):
        done = 0
        while done < len(view):
            piece = self.stream.read(min(CHUNK, len(view) - done))
            _check_bytes(self.name, piece)
            if not piece:
                self.fail(f"the stream ended within {what}", "the file is cut short or corrupt")
            view[done : done + len(piece)] = piece
            done += len(piece)
        self.at += done


def check_shape(source, shape, what):
    """Refuse what cannot be a shape."""
    if len(shape) > MAX_DIMS:
        source.fail(f"{what} has {len(shape)} dimensions", f"at most {MAX_DIMS} are supported")
    for size in shape:
        if type(size) is not int or not 0 <= size < 1 << 58:
            source.fail(f"{what} has shape {shorten(shape)}", "sizes are integers from 0 to 2**58")
    # Without the zeros, because NumPy and others multiply all sizes in 64 bits.
    if prod(size for size in shape if size) > 1 << 58:
        source.fail(f"{what} has shape {shorten(shape)}", "at most 2**58 elements are addressable")


def shorten(value):
    """A text of a value from a file, short enough for an error message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _check_bytes(name, piece):
    if not isinstance(piece, (bytes, bytearray)):
        raise TypeError(f"[load] {name} gives {type(piece).__name__}; open the file in binary mode")


def _check_regular(path, status):
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"[load] {path} is no regular file; give a file or an open file object")


@contextlib.contextmanager
def open_source(file):
    """A Source over a path or a readable file object; a path is closed at the end."""
    if isinstance(file, (str, os.PathLike)):
        path = os.fspath(file)
        if not os.path.isdir(path):  # opening says that of a directory; a pipe it would wait for
            _check_regular(path, os.stat(path))
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            _check_regular(path, status)
            yield Source(stream, path, status.st_size)
        return
    if not hasattr(file, "read"):
        raise TypeError(
            f"[load] {type(file).__name__} is no file; give a str, a pathlib.Path or a binary "
            "file object"
        )
    name = str(getattr(file, "name", "<file object>"))
    if not (hasattr(file, "seekable") and file.seekable()):
        data = file.read()
        _check_bytes(name, data)
        yield Source(io.BytesIO(data), name, len(data))
        return
    _check_bytes(name, file.read(0))
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    yield Source(file, name, size)


@contextlib.contextmanager
def open_target(op, file, extension):
    """A binary stream to write to: a file object as given, or a path that is replaced only once all
    is written."""
    if not isinstance(file, (str, os.PathLike)):
        if not hasattr(file, "write"):
            raise TypeError(
                f"[{op}] {type(file).__name__} is no file; give a str, a pathlib.Path or a "
                "binary file object"
            )
        yield file
        return
    path = os.fspath(file)
    if not path.endswith(extension):
        path += extension
    path = os.path.realpath(path)  # through a link to the file, not over the link
    if os.path.isdir(path):
        raise IsADirectoryError(f"[{op}] {path} is a directory; give the name of a file")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device
        raise ValueError(
            f"[{op}] {path} is no regular file; give the name of one or an open file object"
        )
    with _replacing(path) as stream:
        yield stream


@contextlib.contextmanager
def _replacing(path):
    """Write beside the file, then rename over it: a reader sees the old file or the whole new one,
    also after a crash."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mode = None
    beside = f"{path}.{os.getpid():x}{os.urandom(4).hex()}.part"
    # 0o666 less the umask, as for any new file.
    handle = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
            os.chmod(beside, mode)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def raw_bytes(values, dtype_name):
    """The little-endian row-major bytes of a NumPy array, without a copy where there need be
    none."""
    values = np.ascontiguousarray(values)
    if sys.byteorder == "big":
        values = values.astype(NUMPY_DTYPES[dtype_name])
    return memoryview(values.reshape(-1).view(np.uint8))


def write_values(stream, values, dtype_name):
    """Write an array's bytes, in pieces between which Ctrl-C is heard."""
    data = raw_bytes(values, dtype_name)
    for start in range(0, len(data), PIECE):
        stream.write(data[start : start + PIECE])
