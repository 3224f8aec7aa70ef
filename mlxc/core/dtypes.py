"""Data types, their categories, and what can be asked about them."""

import enum

from mlxc._graph import DTYPES, ConversionError, Dtype, array
from mlxc._table.dtypes import DTYPES as FACTS
from mlxc._table.dtypes import promote

__all__ = [
    "Dtype",
    "DtypeCategory",
    "can_cast",
    "finfo",
    "iinfo",
    "isdtype",
    "issubdtype",
    "result_type",
]

for _dtype in DTYPES:
    globals()[_dtype.name] = _dtype
    __all__.append(_dtype.name)


class DtypeCategory(enum.Enum):
    """Kinds of dtypes, nested: every dtype is ``generic``, the floats are ``floating``, ``inexact``
    and ``number``."""

    complexfloating = "c"
    floating = "f"
    inexact = "fc"
    signedinteger = "i"
    unsignedinteger = "u"
    integer = "iu"
    number = "iufc"
    generic = "biufc"


for _category in DtypeCategory:
    globals()[_category.name] = _category
    __all__.append(_category.name)

_KIND = {fact.name: fact.kind for fact in FACTS}
_BY_NAME = {dtype.name: dtype for dtype in DTYPES}

# The array API standard's names of kinds.
_STANDARD_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def issubdtype(arg1, arg2):
    """Whether a dtype or category lies within another.

    Args:
        arg1 (Dtype or DtypeCategory): What is asked about.
        arg2 (Dtype or DtypeCategory): What it may lie within.

    Returns:
        bool: True if every value of arg1 is one of arg2.

    Raises:
        TypeError: If an argument is neither.

    Example:
        >>> import mlxc.core as mx
        >>> mx.issubdtype(mx.int32, mx.integer)
        True
    """
    for argument in (arg1, arg2):
        if not isinstance(argument, (Dtype, DtypeCategory)):
            raise ConversionError(
                f"[issubdtype] got {argument!r}; a Dtype or a DtypeCategory would be right"
            )
    if isinstance(arg2, Dtype):
        return arg1 is arg2
    kinds = _KIND[arg1.name] if isinstance(arg1, Dtype) else arg1.value
    return all(kind in arg2.value for kind in kinds)


def isdtype(dtype, kind):
    """Whether a dtype is of a kind, in the words of the array API standard.

    Args:
        dtype (Dtype): What is asked about.
        kind (Dtype, str, or tuple of them): A dtype, or "bool", "signed integer", "unsigned
            integer", "integral",
            "real floating", "complex floating" or "numeric".

    Returns:
        bool: True if the dtype is of one of the kinds.

    Raises:
        ValueError: If a kind is unknown.

    Example:
        >>> import mlxc.core as mx
        >>> mx.isdtype(mx.float32, ("bool", "real floating"))
        True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, Dtype):
        return dtype is kind
    if kind not in _STANDARD_KINDS:
        known = ", ".join(map(repr, _STANDARD_KINDS))
        raise ValueError(f"[isdtype] kind {kind!r}; one of {known} would be right")
    return _KIND[dtype.name] in _STANDARD_KINDS[kind]


def _dtype_of(op, value):
    if isinstance(value, array):
        return value.dtype
    if isinstance(value, Dtype):
        return value
    raise ConversionError(f"[{op}] got {value!r}; an array or a Dtype would be right")


def result_type(*arrays_and_dtypes):
    """The dtype in which values of given dtypes meet.

    Args:
        *arrays_and_dtypes (array or Dtype): One or more.

    Returns:
        Dtype: The promoted dtype.

    Raises:
        ValueError: If nothing is given.
        TypeError: If something is neither.

    Example:
        >>> import mlxc.core as mx
        >>> mx.result_type(mx.int32, mx.float16)
        mlxc.core.float16
    """
    if not arrays_and_dtypes:
        raise ValueError("[result_type] nothing given; one array or dtype at least would be right")
    names = [_dtype_of("result_type", value).name for value in arrays_and_dtypes]
    result = names[0]
    for name in names[1:]:
        result = promote(result, name)
    return _BY_NAME[result]


def can_cast(from_, to):
    """Whether promoting a dtype with another gives the other.

    Args:
        from_ (array or Dtype): Where values come from.
        to (Dtype): Where they would go.

    Returns:
        bool: True if ``to`` holds them by the rules of promotion.

    Raises:
        TypeError: If an argument is neither.

    Example:
        >>> import mlxc.core as mx
        >>> mx.can_cast(mx.int32, mx.float32), mx.can_cast(mx.float32, mx.int32)
        (True, False)
    """
    return promote(_dtype_of("can_cast", from_).name, _dtype_of("can_cast", to).name) == to.name


class finfo:
    """Limits of a floating-point dtype: bits, dtype, eps, max, min, smallest_normal.

    Args:
        dtype (Dtype or array): float16, bfloat16, float32, float64, or complex64 (its parts).

    Raises:
        ValueError: If the dtype is not of floating point.

    Example:
        >>> import mlxc.core as mx
        >>> mx.finfo(mx.float16).max
        65504.0
    """

    # dtype: (bits of the exponent, bits of the fraction)
    _FORMATS = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}

    def __init__(self, dtype):
        dtype = _dtype_of("finfo", dtype)
        name = "float32" if dtype.name == "complex64" else dtype.name
        if name not in self._FORMATS:
            raise ValueError(
                f"[finfo] dtype {dtype.name.rstrip('_')}; a floating-point dtype would be right"
            )
        exponent, fraction = self._FORMATS[name]
        bias = 2 ** (exponent - 1) - 1
        self.bits = 1 + exponent + fraction
        self.dtype = _BY_NAME[name]
        self.eps = 2.0**-fraction
        self.max = (2.0 - self.eps) * 2.0**bias
        self.min = -self.max
        self.smallest_normal = 2.0 ** (1 - bias)

    def __repr__(self):
        return f"finfo(min={self.min}, max={self.max}, dtype={self.dtype.name})"


class iinfo:
    """Limits of an integer dtype: bits, dtype, max, min.

    Args:
        dtype (Dtype or array): An integer dtype.

    Raises:
        ValueError: If the dtype is not an integer one.

    Example:
        >>> import mlxc.core as mx
        >>> mx.iinfo(mx.int8).min
        -128
    """

    def __init__(self, dtype):
        self.dtype = _dtype_of("iinfo", dtype)
        kind = _KIND[self.dtype.name]
        if kind not in "iu":
            raise ValueError(
                f"[iinfo] dtype {self.dtype.name.rstrip('_')}; an integer dtype would be right"
            )
        self.bits = 8 * self.dtype.size
        self.max = 2 ** (self.bits - (kind == "i")) - 1
        self.min = -(2 ** (self.bits - 1)) if kind == "i" else 0

    def __repr__(self):
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype.name})"
