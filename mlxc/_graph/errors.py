"""Errors that several exception classes catch: what NumPy's users expect and what MLX's do.

Rules: a class stands here only where the two disagree; everything else is a plain built-in
exception.
"""


class ConversionError(TypeError, ValueError):
    """A value that is no number, array or nested list of them."""


class DtypeError(TypeError, ValueError, RuntimeError):
    """An operation that the dtype of an operand does not have."""
