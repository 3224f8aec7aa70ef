"""How arrays look: ``array([[1, 2], [3, 4.5]], dtype=float32)``, rows on lines of their own, as MLX
prints them.

Rules: floating numbers have six significant digits, or a fixed number of decimal places where
``precision`` is set; an axis of more than six entries shows three at either end. Only what is shown
is looked at, so that large arrays print fast.
"""

import operator
import reprlib
import threading

import numpy as np

from mlxc._graph import array

__all__ = ["PrintOptions", "get_printoptions", "printoptions", "set_printoptions"]

_EDGE = 3  # entries shown at either end of a long axis


class PrintOptions:
    """How arrays are printed.

    Args:
        precision (int): Decimal places of floating numbers; -1 for six significant digits.

    >>> mx.PrintOptions(precision=3).precision
    3
    """

    __slots__ = ("precision",)

    def __init__(self, precision=-1):
        try:
            self.precision = operator.index(precision)
        except TypeError:
            raise TypeError(
                f"[PrintOptions] precision {precision!r} is no integer; 3 would be right"
            ) from None
        if not -1 <= self.precision <= 1000:
            raise ValueError(
                f"[PrintOptions] precision {precision} is out of range; give -1 (default) to 1000"
            )

    def __repr__(self):
        return f"PrintOptions(precision={self.precision})"

    def __eq__(self, other):
        return isinstance(other, PrintOptions) and self.precision == other.precision

    __hash__ = None


_current = PrintOptions()
_lock = threading.Lock()


def set_printoptions(precision=-1):
    """Set how floating numbers are printed from now on.

    Args:
        precision (int): Decimal places; -1 for six significant digits.

    Raises:
        TypeError: ``precision`` is not an integer.
        ValueError: ``precision`` is below -1 or above 1000.

    >>> mx.set_printoptions(precision=2)
    >>> mx.array(1 / 3)
    array(0.33, dtype=float32)
    >>> mx.set_printoptions()
    """
    global _current
    _current = PrintOptions(precision)


def get_printoptions():
    """Get how floating numbers are printed: a copy, which can be changed without effect.

    Returns:
        PrintOptions: The options in force.

    >>> mx.get_printoptions().precision
    -1
    """
    return PrintOptions(_current.precision)


class printoptions:
    """Set how floating numbers are printed within a ``with`` block.

    Args:
        precision (int): Decimal places; -1 for six significant digits.

    >>> with mx.printoptions(precision=3):
    ...     print(mx.array(1 / 3))
    array(0.333, dtype=float32)
    """

    def __init__(self, precision=-1):
        self._options = PrintOptions(precision)
        self._before = []

    def __enter__(self):
        global _current
        with _lock:
            self._before.append(_current)
            _current = self._options
        return self

    def __exit__(self, *exception):
        global _current
        with _lock:
            _current = self._before.pop()


def format_array(values, dtype_name):
    """The text of an array.

    Args:
        values (numpy.ndarray): Its values; bfloat16 may come as its bits (uint16).
        dtype_name (str): The dtype as in ``mx.<name>``.

    Returns:
        str: As ``repr`` and ``str`` of the array give it.
    """
    write = _writer(values.dtype, dtype_name)
    return f"array({_rows(values, write, len('array('))}, dtype={dtype_name.rstrip('_')})"


def _rows(values, write, indent):
    """One axis: values on one line, rows on lines of their own."""
    if values.ndim == 0:
        return write(values[()])
    size = values.shape[0]
    shown = range(size) if size <= 2 * _EDGE else (*range(_EDGE), *range(size - _EDGE, size))
    parts = [_rows(values[i, ...], write, indent + 1) for i in shown]
    if size > 2 * _EDGE:
        parts.insert(_EDGE, "...")
    return "[" + (", " if values.ndim == 1 else ",\n" + " " * (indent + 1)).join(parts) + "]"


def _writer(dtype, dtype_name):
    """The function that writes one value."""
    precision = _current.precision
    spec = ".6g" if precision < 0 else f".{precision}f"
    if dtype_name == "bfloat16" and dtype == np.uint16:
        return lambda bits: format(float(np.uint32(int(bits) << 16).view(np.float32)), spec)
    if dtype.kind == "f":
        return lambda value: format(float(value), spec)
    if dtype.kind == "c":
        return lambda value: _complex(complex(value), spec)
    return lambda value: str(value.item())


def _complex(value, spec):
    # The sign is that of a comparison, so that a negative zero or a NaN comes after a plus.
    sign = "" if value.imag < 0 else "+"
    return f"{format(value.real, spec)}{sign}{format(value.imag, spec)}j"


def _print_short_forms():
    """Teach reprlib, which pytest and debuggers print with, about arrays: up to Python 3.12 it
    takes any class named "array" for array.array."""
    of_standard_library = reprlib.Repr.repr_array

    def repr_array(self, x, level):
        return repr(x) if isinstance(x, array) else of_standard_library(self, x, level)

    reprlib.Repr.repr_array = repr_array


_print_short_forms()
