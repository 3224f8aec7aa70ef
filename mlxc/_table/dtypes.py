"""The data types and how they combine. The order of ``DTYPES`` is the numbering that compiled code
uses.

A dtype is *stored* in one format and *computed* in another: narrow integers compute in int32 and
half-precision floats in float32, so that the loops stay few. ``COMPUTE_TYPES`` are the formats that
loops exist for.
"""

from typing import NamedTuple


class DtypeFact(NamedTuple):
    """What is known about one dtype without any compiled code."""

    name: str  # as in ``mx.<name>``
    size: int  # bytes an element
    kind: str  # "b" bool, "u" unsigned, "i" signed, "f" floating, "c" complex
    compute: str  # the compute type its arithmetic is done in
    short: str  # the word in kernel names and conversions


DTYPES = (
    DtypeFact("bool_", 1, "b", "b8", "b8"),
    DtypeFact("uint8", 1, "u", "i32", "u8"),
    DtypeFact("uint16", 2, "u", "i32", "u16"),
    DtypeFact("uint32", 4, "u", "u32", "u32"),
    DtypeFact("uint64", 8, "u", "u64", "u64"),
    DtypeFact("int8", 1, "i", "i32", "i8"),
    DtypeFact("int16", 2, "i", "i32", "i16"),
    DtypeFact("int32", 4, "i", "i32", "i32"),
    DtypeFact("int64", 8, "i", "i64", "i64"),
    DtypeFact("float16", 2, "f", "f32", "f16"),
    DtypeFact("float32", 4, "f", "f32", "f32"),
    DtypeFact("float64", 8, "f", "f64", "f64"),
    DtypeFact("bfloat16", 2, "f", "f32", "bf16"),
    DtypeFact("complex64", 8, "c", "c64", "c64"),
)
CODE = {fact.name: code for code, fact in enumerate(DTYPES)}

# The order is the numbering that compiled code uses.
COMPUTE_TYPES = ("b8", "i32", "u32", "i64", "u64", "f32", "f64", "c64")
COMPUTE_SIZE = {"b8": 1, "i32": 4, "u32": 4, "i64": 8, "u64": 8, "f32": 4, "f64": 8, "c64": 8}

_SIGNED_OF_SIZE = {1: "int8", 2: "int16", 4: "int32", 8: "int64"}


def promote(a: str, b: str) -> str:
    """The dtype in which values of dtypes ``a`` and ``b`` meet; names in, name out.

    Within a kind the larger wins. Signed meets unsigned in the signed type that holds both; where
    there is none (uint64 with a signed type) in float32. float16 meets bfloat16 in float32. Complex
    wins over everything.
    """
    if a == b:
        return a
    x, y = DTYPES[CODE[a]], DTYPES[CODE[b]]
    if "buifc".index(x.kind) > "buifc".index(y.kind):
        x, y = y, x
    if y.kind == "c" or x.kind == "b":
        return y.name
    if y.kind == "f":
        if x.kind != "f":
            return y.name
        if x.size == y.size:  # float16 with bfloat16
            return "float32"
        return x.name if x.size > y.size else y.name
    if x.kind == y.kind:
        return x.name if x.size > y.size else y.name
    if y.size > x.size:  # y signed and larger
        return y.name
    return _SIGNED_OF_SIZE[2 * x.size] if x.size < 8 else "float32"
