"""Public functions of the elementwise family: one a row, made from the table; and ``where``."""

from mlxc._graph import binary_function, select, unary_function
from mlxc._table.elementwise import ROWS

__all__ = ["where"]


def _signature(row):
    """What help() shows in the first line: operands are taken by position."""
    names = ["a"] if row.arity == 1 else ["a", "b"]
    return ", ".join(names)


def _docstring(row):
    """One sentence from the row; arguments and result follow from its kind."""
    operands = "a" if row.arity == 1 else "a, b"
    dtypes = {
        "any": "any dtype",
        "float": "integers are converted to float32",
        "bool": "converted to bool",
        "int": "integers or bool",
    }[row.inputs]
    result = {
        "same": "the (promoted) dtype of the operands",
        "bool": "bool",
        "real": "the operands' dtype, float32 for complex64",
    }[row.out]
    broadcast = "" if row.arity == 1 else " Shapes are broadcast together, dtypes promoted."
    return (
        f"{row.doc}\n\nArgs:\n    {operands} (array or number): {dtypes}.{broadcast}\n"
        f"    stream (Stream, optional): Where to run.\n\nReturns:\n    array: Of {result}.\n\n"
        "Raises:\n    ValueError: If the shapes cannot be broadcast together or a dtype has no "
        "such operation.\n"
    )


def _public(row):
    """The function of a row, named and documented."""
    function = (unary_function if row.arity == 1 else binary_function)(row.name)
    function.__name__ = function.__qualname__ = row.name
    function.__module__ = "mlxc.core"
    function.__doc__ = _docstring(row)
    return function


for _row in ROWS:
    if _row.public and _row.arity <= 2:
        _function = _public(_row)
        for _name in (_row.name, *_row.aliases):
            globals()[_name] = _function
            __all__.append(_name)


def where(condition, x, y, /, *, stream=None):
    """Choose from ``x`` where ``condition`` holds, from ``y`` elsewhere.

    Args:
        condition (array): Converted to bool.
        x (array or number): Values where the condition holds.
        y (array or number): Values elsewhere. All three are broadcast together; x and y are
            promoted.
        stream (Stream, optional): Where to run.

    Returns:
        array: Of the promoted dtype of x and y.

    Raises:
        ValueError: If the shapes cannot be broadcast together.

    Example:
        >>> import mlxc.core as mx
        >>> mx.where(mx.array([True, False]), 1, 2)
        array([1, 2], dtype=int32)
    """
    return select(condition, x, y)
