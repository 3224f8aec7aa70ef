"""The safetensors format: a JSON header of names, dtypes, shapes and byte ranges, then the bytes.

Source: https://huggingface.co/docs/safetensors. Checked as the format demands: ranges are in
the file, do not overlap, leave no holes, and agree with shape and dtype. 8-bit floats come as their
bits, in uint8.
"""

import json
import struct
from math import prod

from ._files import ITEMSIZE, check_shape, shorten, write_values

_MAX_HEADER = 100_000_000  # bytes; the format's own limit
_WRITTEN = {
    "bool_": "BOOL",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "bfloat16": "BF16",
    "complex64": "C64",
}
_READ = {word: name for name, word in _WRITTEN.items()} | {
    "F8_E4M3": "uint8",
    "F8_E5M2": "uint8",
    "F8_E8M0": "uint8",
}


def read_safetensors(source):
    """All arrays, name -> (NumPy array, dtype name), and the metadata, str -> str."""
    length = int.from_bytes(source.read(8, "the length of the safetensors header"), "little")
    if length > _MAX_HEADER:
        source.fail(
            f"the header claims {length} bytes", f"safetensors allows at most {_MAX_HEADER}"
        )
    header = _parse(source, source.read(length, "the safetensors header"))
    start = source.at
    metadata = _check_metadata(source, header.pop("__metadata__", None))
    entries = {
        name: _check_entry(source, name, entry, source.size - start)
        for name, entry in header.items()
    }
    _check_ranges(source, entries, source.size - start)
    arrays = {}
    for name, (dtype_name, shape, begin, _) in entries.items():
        source.seek(start + begin)
        arrays[name] = (source.read_array(shape, dtype_name, f"tensor {shorten(name)}"), dtype_name)
    return arrays, metadata


def _parse(source, text):
    def unique(pairs):
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice in one object")
        return found

    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as fault:
        source.fail(
            f"its header cannot be read: {shorten(str(fault))}",
            "it must be a JSON object with unique names",
        )
    if not isinstance(header, dict):
        source.fail(f"its header is {shorten(header)}", "it must be a JSON object")
    return header


def _check_metadata(source, metadata):
    if metadata is None:  # also MLX's ``null``
        return {}
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        source.fail(f"__metadata__ is {shorten(metadata)}", "it must map strings to strings")
    return metadata


def _check_entry(source, name, entry, room):
    """One tensor's dtype name, shape and byte range, all of them possible."""
    what = f"tensor {shorten(name)}"
    if not isinstance(entry, dict):
        source.fail(f"{what} is described by {shorten(entry)}", "an object was expected")
    word, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(word, str) or word not in _READ:
        source.fail(f"{what} has dtype {shorten(word)}", f"{', '.join(_READ)} are supported")
    if not isinstance(shape, list):
        source.fail(f"{what} has shape {shorten(shape)}", "a list of sizes was expected")
    check_shape(source, shape, what)
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or any(type(offset) is not int for offset in offsets)
    ):
        source.fail(f"{what} has data_offsets {shorten(offsets)}", "two integers were expected")
    begin, end = offsets
    if not 0 <= begin <= end <= room:
        source.fail(
            f"{what} has data_offsets {shorten(offsets)}",
            f"they must rise from 0 to at most {room}",
        )
    needed = prod(shape) * ITEMSIZE[_READ[word]]
    if needed != end - begin:
        source.fail(
            f"{what} has {end - begin} bytes",
            f"shape {shorten(shape)} and dtype {word} need {shorten(needed)}",
        )
    return _READ[word], tuple(shape), begin, end


def _check_ranges(source, entries, room):
    """The ranges of all tensors cover the data once, without overlaps and holes."""
    at, before = 0, None
    for begin, end, name in sorted(
        (begin, end, name) for name, (_, _, begin, end) in entries.items()
    ):
        if begin < at:
            source.fail(
                f"tensors {shorten(before)} and {shorten(name)} overlap", "the file is corrupt"
            )
        if begin > at:
            source.fail(
                f"bytes {at} to {begin} of the data belong to no tensor",
                "the format allows no holes",
            )
        at, before = end, name
    if at != room:
        source.fail(
            f"bytes {at} to {room} of the data belong to no tensor",
            "the format allows none after the last",
        )


def write_safetensors(stream, arrays, metadata):
    """Write arrays, name -> (NumPy array, dtype name), and metadata, str -> str or None."""
    header = {} if metadata is None else {"__metadata__": dict(metadata)}
    # Wider types first, so that every tensor is aligned when the file is mapped into memory.
    order = sorted(arrays, key=lambda name: -arrays[name][0].dtype.itemsize)
    ends, at = {}, 0
    for name in order:
        at += arrays[name][0].nbytes
        ends[name] = at
    for name, (values, dtype_name) in arrays.items():
        header[name] = {
            "dtype": _WRITTEN[dtype_name],
            "shape": list(values.shape),
            "data_offsets": [ends[name] - values.nbytes, ends[name]],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(
            f"[save_safetensors] the header would have {len(text)} bytes; safetensors allows at "
            f"most {_MAX_HEADER}"
        )
    stream.write(struct.pack("<Q", len(text)) + text)
    for name in order:
        write_values(stream, *arrays[name])
