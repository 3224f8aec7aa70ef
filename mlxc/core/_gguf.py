"""The GGUF format of llama.cpp: typed metadata, then tensors, some of them quantised in blocks.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3,
little-endian, and ggml's published block layouts. Q4_0, Q4_1 and Q8_0 become our own affine
quantisation in groups of 32 (weight, scales, biases) without loss; Q2_K, Q4_K and Q6_K become
float16; bfloat16 stays bfloat16.
"""

import struct
from math import prod

import numpy as np

from ._files import ITEMSIZE, check_shape, raw_bytes, shorten, write_values

_MAGIC = b"GGUF"
_ALIGNMENT = 32  # bytes, unless the metadata says otherwise
_STRING, _ARRAY = 8, 9
_VALUE_DTYPES = {
    0: "uint8",
    1: "int8",
    2: "uint16",
    3: "int16",
    4: "uint32",
    5: "int32",
    6: "float32",
    7: "bool_",
    10: "uint64",
    11: "int64",
    12: "float64",
}
_VALUE_TYPES = {name: code for code, name in _VALUE_DTYPES.items()}
_PLAIN_DTYPES = {
    0: "float32",
    1: "float16",
    24: "int8",
    25: "int16",
    26: "int32",
    27: "int64",
    28: "float64",
    30: "bfloat16",
}
_PLAIN_TYPES = {name: code for code, name in _PLAIN_DTYPES.items()}


def _halves(blocks, at):
    """The float16 at a byte position of each block, as a column."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2")


def _nibbles(packed):
    """The 4-bit numbers of bytes that hold elements i and i + 16 of a block, packed again as
    elements 2i and 2i + 1."""
    numbers = np.concatenate([packed & 15, packed >> 4], axis=1)
    return numbers[:, 0::2] | (numbers[:, 1::2] << 4)


def _affine_4_symmetric(blocks):
    scales = _halves(blocks, 0)
    return _nibbles(blocks[:, 2:18]), scales, scales * np.float16(-8)


def _affine_4(blocks):
    return _nibbles(blocks[:, 4:20]), _halves(blocks, 0), _halves(blocks, 2)


def _affine_8(blocks):
    scales = _halves(blocks, 0)
    return blocks[:, 2:34] ^ np.uint8(128), scales, scales * np.float16(-128)


def _q2_k(blocks):
    """256 values: 16 sub-blocks of 16, with 4-bit scales and minima."""
    count = len(blocks)
    scales = (blocks[:, :16] & 15).reshape(count, 2, 4, 2, 1)
    minima = (blocks[:, :16] >> 4).reshape(count, 2, 4, 2, 1)
    packed = blocks[:, 16:80].reshape(count, 2, 1, 2, 16)
    numbers = (packed >> np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 1, 4, 1, 1)) & 3
    d, dmin = (_halves(blocks, at).astype(np.float32).reshape(count, 1, 1, 1, 1) for at in (80, 82))
    return (d * scales) * numbers - dmin * minima


def _q4_k(blocks):
    """256 values: 8 sub-blocks of 32, with 6-bit scales and minima spread over 12 bytes."""
    count = len(blocks)
    low, middle, high = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = np.concatenate([low & 63, (high & 15) | ((low >> 6) << 4)], axis=1).reshape(
        count, 4, 2, 1
    )
    minima = np.concatenate([middle & 63, (high >> 4) | ((middle >> 6) << 4)], axis=1).reshape(
        count, 4, 2, 1
    )
    packed = blocks[:, 16:144].reshape(count, 4, 1, 32)
    numbers = np.concatenate([packed & 15, packed >> 4], axis=2)
    d, dmin = (_halves(blocks, at).astype(np.float32).reshape(count, 1, 1, 1) for at in (0, 2))
    return (d * scales) * numbers - dmin * minima


def _q6_k(blocks):
    """256 values: 16 sub-blocks of 16; 4 low bits, then 2 high bits, then signed 8-bit scales."""
    count = len(blocks)
    low = blocks[:, :128].reshape(count, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(count, 2, 4, 32)
    high = blocks[:, 128:192].reshape(count, 2, 1, 32)
    high = (high >> np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 1, 4, 1)) & 3
    numbers = (low | (high << 4)).astype(np.int8) - np.int8(32)
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).reshape(count, 2, 4, 2, 1)
    d = _halves(blocks, 208).astype(np.float32).reshape(count, 1, 1, 1, 1)
    return (d * scales) * numbers.reshape(count, 2, 4, 2, 16)


# type: (values a block, bytes a block, bits a value or None, what unpacks it)
_BLOCKS = {
    2: (32, 18, 4, _affine_4_symmetric),
    3: (32, 20, 4, _affine_4),
    8: (32, 34, 8, _affine_8),
    10: (256, 84, None, _q2_k),
    12: (256, 144, None, _q4_k),
    14: (256, 210, None, _q6_k),
}


def read_gguf(source):
    """All arrays, name -> (NumPy array, dtype name), and the metadata: the same pairs, strings,
    lists of strings."""
    if source.read(4, "the GGUF signature") != _MAGIC:
        source.fail("it does not begin as a GGUF file does", "the first bytes must be GGUF")
    version = _number(source, "<I", "the version")
    if version not in (2, 3):
        source.fail(f"GGUF version {version} is unknown", "2 and 3 (little-endian) are supported")
    tensors, pairs = (
        _number(source, "<Q", "the tensor count"),
        _number(source, "<Q", "the metadata count"),
    )
    source.need(
        13 * pairs + 24 * tensors, f"a header of {pairs} metadata pairs and {tensors} tensors"
    )
    metadata = {}
    for _ in range(pairs):
        key = _string(source, "a metadata key")
        if key in metadata:
            source.fail(f"metadata key {shorten(key)} occurs twice", "keys must be unique")
        metadata[key] = _value(source, key)
    entries = [_entry(source) for _ in range(tensors)]
    return _read_tensors(source, entries, _alignment(source, metadata)), metadata


def _number(source, form, what):
    (number,) = struct.unpack(form, source.read(struct.calcsize(form), what))
    return number


def _string(source, what):
    text = source.read(_number(source, "<Q", f"the length of {what}"), what)
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        source.fail(f"{what} is {shorten(text)}", "text must be UTF-8")


def _value(source, key):
    """One metadata value."""
    what = f"metadata {shorten(key)}"
    code = _number(source, "<I", what)
    if code == _STRING:
        return _string(source, what)
    if code in _VALUE_DTYPES:
        return source.read_array((), _VALUE_DTYPES[code], what), _VALUE_DTYPES[code]
    if code != _ARRAY:
        source.fail(f"{what} has type {code}", "types 0 to 12 exist")
    code, count = _number(source, "<I", what), _number(source, "<Q", what)
    if code == _STRING:
        source.need(8 * count, what)
        return [_string(source, what) for _ in range(count)]
    if code == _ARRAY:
        source.fail(
            f"{what} is an array of arrays", "arrays of numbers and of strings are supported"
        )
    if code not in _VALUE_DTYPES:
        source.fail(f"{what} is an array of type {code}", "types 0 to 12 exist")
    return source.read_array((count,), _VALUE_DTYPES[code], what), _VALUE_DTYPES[code]


def _alignment(source, metadata):
    value = metadata.get("general.alignment")
    if value is None:
        return _ALIGNMENT
    alignment = (
        int(value[0])
        if isinstance(value, tuple) and value[1] == "uint32" and value[0].ndim == 0
        else 0
    )
    if not 8 <= alignment <= 1 << 20 or alignment % 8:
        source.fail(
            f"general.alignment is {shorten(value)}", "a multiple of 8 in uint32 was expected"
        )
    return alignment


def _entry(source):
    """One tensor's name, shape (outermost first), type and offset into the data."""
    name = _string(source, "a tensor name")
    what = f"tensor {shorten(name)}"
    dims = _number(source, "<I", what)
    source.need(8 * dims, f"the shape of {what}, of {dims} dimensions,")
    shape = struct.unpack(f"<{dims}Q", source.read(8 * dims, what))[::-1]
    check_shape(source, shape, what)
    code, offset = _number(source, "<I", what), _number(source, "<Q", what)
    if code in _BLOCKS:
        block = _BLOCKS[code][0]
        if not shape or shape[-1] % block:
            source.fail(
                f"{what} has shape {shape} and is quantised in blocks of {block}",
                "the last axis must fit",
            )
        nbytes = prod(shape) // block * _BLOCKS[code][1]
    elif code in _PLAIN_DTYPES:
        nbytes = prod(shape) * ITEMSIZE[_PLAIN_DTYPES[code]]
    else:
        source.fail(
            f"{what} has type {code}, which is not supported",
            "F32, F16, BF16, F64, I8, I16, I32, I64, Q4_0, Q4_1, Q8_0, Q2_K, Q4_K and Q6_K are",
        )
    return name, shape, code, offset, nbytes


def _read_tensors(source, entries, alignment):
    start = source.at + -source.at % alignment
    end = 0
    for name, _, _, offset, nbytes in sorted(entries, key=lambda entry: entry[3:]):
        what = f"tensor {shorten(name)}"
        if offset % alignment:
            source.fail(
                f"{what} is at offset {offset}", f"offsets must be multiples of {alignment}"
            )
        if nbytes and offset < end:
            source.fail(
                f"{what} at offset {offset} overlaps the tensor that ends at {end}",
                "the file is corrupt",
            )
        if nbytes and start + offset + nbytes > source.size:
            source.fail(
                f"{what} ends at byte {start + offset + nbytes} of {source.size}",
                "the file is cut short",
            )
        end = max(end, offset + nbytes)
    arrays = {}
    for name, shape, code, offset, nbytes in entries:
        if nbytes:
            source.seek(start + offset)
        for made, pair in _tensor(source, name, shape, code, nbytes):
            if made in arrays:
                source.fail(f"two tensors are named {shorten(made)}", "names must be unique")
            arrays[made] = pair
    return arrays


def _tensor(source, name, shape, code, nbytes):
    """What one tensor becomes: pairs of a name and (NumPy array, dtype name)."""
    what = f"tensor {shorten(name)}"
    if code in _PLAIN_DTYPES:
        return [(name, (source.read_array(shape, _PLAIN_DTYPES[code], what), _PLAIN_DTYPES[code]))]
    block, block_bytes, bits, unpack = _BLOCKS[code]
    blocks = source.read_array((nbytes // block_bytes, block_bytes), "uint8", what)
    # Scales near the largest float16 overflow; so they do in MLX.
    with np.errstate(over="ignore", invalid="ignore"):
        if bits is None:
            values = unpack(blocks).astype(np.float16).reshape(shape)
            return [(name, (values, "float16"))]
        packed, scales, biases = unpack(blocks)
    stem = name.removesuffix(".weight")
    groups = (*shape[:-1], shape[-1] // block)
    words = np.ascontiguousarray(packed).view("<u4").reshape(*shape[:-1], shape[-1] * bits // 32)
    return [
        (name, (words, "uint32")),
        (f"{stem}.scales", (scales.reshape(groups), "float16")),
        (f"{stem}.biases", (biases.reshape(groups), "float16")),
    ]


def write_gguf(stream, arrays, metadata):
    """Write arrays, name -> (NumPy array, dtype name), and metadata: such pairs, strings or lists
    of strings."""
    header = [_MAGIC, struct.pack("<IQQ", 3, len(arrays), len(metadata))]
    for key, value in metadata.items():
        header += [_packed(key), _packed_value(key, value)]
    at = 0
    for name, (values, dtype_name) in arrays.items():
        if dtype_name not in _PLAIN_TYPES:
            raise ValueError(
                f"[save_gguf] array {shorten(name)} has dtype {dtype_name.rstrip('_')}, which "
                "GGUF has no type for; "
                f"{', '.join(_PLAIN_TYPES)} can be saved"
            )
        shape = values.shape[::-1]
        header += [_packed(name), struct.pack(f"<I{len(shape)}Q", len(shape), *shape)]
        header.append(struct.pack("<IQ", _PLAIN_TYPES[dtype_name], at))
        at += values.nbytes + -values.nbytes % _ALIGNMENT
    header = b"".join(header)
    stream.write(header + b"\0" * (-len(header) % _ALIGNMENT))
    for values, dtype_name in arrays.values():
        write_values(stream, values, dtype_name)
        stream.write(b"\0" * (-values.nbytes % _ALIGNMENT))


def _packed(text):
    text = text.encode("utf-8")
    return struct.pack("<Q", len(text)) + text


def _packed_value(key, value):
    """One metadata value with its type in front."""
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _packed(value)
    if isinstance(value, list):
        return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_packed, value))
    values, dtype_name = value
    code = _VALUE_TYPES.get(dtype_name)
    if code is None or values.ndim > 1:
        raise ValueError(
            f"[save_gguf] metadata {shorten(key)} is an array of dtype {dtype_name.rstrip('_')} "
            f"and {values.ndim} "
            "dimensions; scalars and 1-D arrays of bool, integers, float32 and float64 can be "
            "saved"
        )
    data = bytes(raw_bytes(values, dtype_name))
    if values.ndim == 0:
        return struct.pack("<I", code) + data
    return struct.pack("<IIQ", _ARRAY, code, len(values)) + data
