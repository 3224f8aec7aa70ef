"""NumPy's ``.npy`` and ``.npz`` formats, read without evaluating or unpickling anything.

Source: numpy.lib.format ("A simple file format for NumPy arrays"), versions 1.0 to 3.0.
bfloat16 is written as ``<V2``, as MLX does; NumPy shows it as two opaque bytes.
"""

import re
import struct
import zipfile
import zlib
from math import prod

import numpy as np

from ._files import NUMPY_DTYPES, Source, check_shape, shorten, write_values

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 1 << 16
_DTYPE_NAMES = {spec[1:]: name for name, spec in NUMPY_DTYPES.items() if name != "bfloat16"} | {
    "V2": "bfloat16"
}
_FIELD = re.compile(
    r"\s*(['\"])(?P<key>descr|fortran_order|shape)\1\s*:\s*"
    r"(?:(['\"])(?P<text>[^'\"]*)\3|(?P<flag>True|False)|\((?P<sizes>[\d\sL,]*)\))\s*(?:,|$)"
)
# What deflate can make of one byte at most (zlib.net, "Maximum compression factor").
_MAX_INFLATION = 1032
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    OSError,
)


def read_npy(source):
    """One array: (NumPy array, dtype name)."""
    start = source.read(8, "the npy signature")
    if start[:6] != _MAGIC:
        source.fail("it does not begin as an npy file does", r"the first bytes must be \x93NUMPY")
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        source.fail(
            f"npy version {version[0]}.{version[1]} is unknown", "1.0, 2.0 and 3.0 are supported"
        )
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(source.read(width, "the length of the npy header"), "little")
    if length > _MAX_HEADER:
        source.fail(f"the npy header claims {length} bytes", f"at most {_MAX_HEADER} are accepted")
    text = source.read(length, "the npy header").decode(
        "utf-8" if version == (3, 0) else "latin-1", "replace"
    )
    descr, fortran, shape = _parse_header(source, text)
    name = _DTYPE_NAMES.get(descr[1:]) if descr[:1] in "<>|=" else None
    if name is None:
        source.fail(
            f"its values have the NumPy type {shorten(descr)}, which has no counterpart here",
            "convert them with NumPy first",
        )
    what = f"an array of shape {shorten(shape)} and dtype {name.rstrip('_')}"
    check_shape(source, shape, what)
    values = source.read_array(shape[::-1] if fortran else shape, name, what)
    if descr[0] == ">" and values.itemsize > 1:
        values = values.byteswap()
    return (values.T if fortran else values), name


def _parse_header(source, text):
    """descr, fortran_order and shape of a header: a Python dictionary literal of just these."""
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        source.fail(f"the npy header is no dictionary: {shorten(body)}", "the file is corrupt")
    body, at, fields = body[1:-1].strip(), 0, {}
    while at < len(body):
        match = _FIELD.match(body, at)
        if match is None or match["key"] in fields:
            source.fail(
                f"the npy header is not understood from {shorten(body[at:])}",
                "arrays of plain numbers with descr, fortran_order and shape, once each, are "
                "supported",
            )
        fields[match["key"]] = match
        at = match.end()
    if len(fields) != 3:
        source.fail(
            f"the npy header has only {sorted(fields)}",
            "descr, fortran_order and shape must all be there",
        )
    descr, flag, sizes = (
        fields["descr"]["text"],
        fields["fortran_order"]["flag"],
        fields["shape"]["sizes"],
    )
    if descr is None or flag is None or sizes is None:
        source.fail(
            f"the npy header has values of the wrong kind: {shorten(body)}",
            "descr is a string, fortran_order a truth value and shape a tuple",
        )
    return descr, flag == "True", _parse_shape(source, sizes)


def _parse_shape(source, text):
    if not text.strip():
        return ()
    parts = [part.strip() for part in text.split(",")]
    if parts[-1] == "" and len(parts) > 1:
        parts.pop()
    elif len(parts) == 1:
        source.fail(
            f"the npy header has shape ({shorten(text)}), which is no tuple", "(3,) would be right"
        )
    if len(parts) > 64 or not all(re.fullmatch(r"\d{1,19}L?", part) for part in parts):
        source.fail(f"the npy header has shape ({shorten(text)})", "a shape is a tuple of sizes")
    return tuple(int(part.rstrip("L")) for part in parts)


def write_npy(stream, values, dtype_name):
    """Write one array in version 1.0."""
    descr = "<V2" if dtype_name == "bfloat16" else NUMPY_DTYPES[dtype_name]
    shape = tuple(int(size) for size in values.shape)
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode("ascii")
    padding = -(10 + len(header) + 1) % 64
    header += b" " * padding + b"\n"
    stream.write(_MAGIC + bytes((1, 0)) + struct.pack("<H", len(header)) + header)
    write_values(stream, values, dtype_name)


def read_npz(source):
    """All arrays of an archive: name -> (NumPy array, dtype name)."""
    arrays = {}
    try:
        with zipfile.ZipFile(source.stream) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in arrays:
                    source.fail(f"two members are named {shorten(name)}", "names must be unique")
                arrays[name] = _read_member(source, archive, info)
    except _ZIP_FAULTS as fault:
        if isinstance(fault, ValueError) and str(fault).startswith("[load]"):
            raise
        raise ValueError(
            f"[load] {source.name}: {fault or type(fault).__name__}; a zip archive was expected"
        ) from None
    return arrays


def _read_member(source, archive, info):
    """One member, whose declared size must be possible, and true."""
    name = f"{source.name}/{info.filename}"
    if info.flag_bits & 1:
        source.fail(f"member {shorten(info.filename)} is encrypted", "it must not be")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        source.fail(
            f"member {shorten(info.filename)} has compression {info.compress_type}",
            "store or deflate it",
        )
    inflation = 1 if info.compress_type == zipfile.ZIP_STORED else _MAX_INFLATION
    if info.compress_size > source.size or info.file_size > inflation * info.compress_size:
        source.fail(
            f"member {shorten(info.filename)} claims {info.file_size} bytes in "
            f"{info.compress_size} of the archive's "
            f"{source.size}",
            "the archive is corrupt",
        )
    with archive.open(info) as stream:
        member = Source(stream, name, info.file_size)
        pair = read_npy(member)
        if member.at != member.size or stream.read(1):
            member.fail(f"{member.size - member.at} bytes follow the array", "nothing may")
    return pair


def write_npz(stream, arrays, compressed):
    """Write an archive of arrays: name -> (NumPy array, dtype name)."""
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", method, allowZip64=True) as archive:
        for name, (values, dtype_name) in arrays.items():
            info = zipfile.ZipInfo(name + ".npy")
            info.compress_type = method
            info.external_attr = 0o600 << 16
            # A size of 2 GiB or more must be announced before the first byte.
            large = prod(values.shape) * np.dtype(values.dtype).itemsize >= 1 << 30
            with archive.open(info, "w", force_zip64=large) as member:
                write_npy(member, values, dtype_name)
