"""The one late binding: array methods, and the functions behind special methods.

A method is the public function of the same name with the array as its first argument.
"""

import inspect

from mlxc._graph import HOOKS, bind_method, to_numpy
from mlxc._table.elementwise import ROWS

# Methods that are no elementwise row marked ``method``; the function takes the array first.
_METHODS = (
    "all",
    "any",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "as_strided",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "diag",
    "diagonal",
    "flatten",
    "logcumsumexp",
    "logsumexp",
    "max",
    "mean",
    "min",
    "moveaxis",
    "prod",
    "round",
    "sort",
    "split",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "unflatten",
    "var",
    "view",
    "conj",
    "maximum",
    "minimum",
    "partition",
)


def _method(function, name):
    def method(self, *args, **kwargs):
        return function(self, *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"array.{name}"
    method.__doc__ = function.__doc__
    method.__signature__ = _signature(function)
    return method


def _signature(function):
    """The function's signature with the array as ``self``: what help() shows."""
    first, *others = inspect.signature(function).parameters.values()
    itself = first.replace(name="self", kind=inspect.Parameter.POSITIONAL_ONLY)
    return inspect.Signature([itself, *others])


def _sizes(sizes):
    """Sizes given one by one or as one sequence."""
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def _shape_methods(space):
    def reshape(self, *shape, stream=None):
        return space["reshape"](self, _sizes(shape))

    def transpose(self, *axes, stream=None):
        if not axes or axes == (None,):
            return space["transpose"](self)
        return space["transpose"](self, _sizes(axes))

    def astype(self, dtype, stream=None):
        return space["astype"](self, dtype)

    for method in (reshape, transpose, astype):
        method.__qualname__ = f"array.{method.__name__}"
        method.__doc__ = space[method.__name__].__doc__
        bind_method(method.__name__, method)


def _state(x):
    """What a pickle holds: bytes, dtype name, shape."""
    values = to_numpy(x.view(_space["uint16"]) if x.dtype.name == "bfloat16" else x)
    return values.tobytes(), x.dtype.name, x.shape


def _repr(x):
    return _space["format_array"](to_numpy(x), x.dtype.name)


_space = {}


def bind_all(space):
    """Bind methods and hooks from the public namespace."""
    _space.update(space)
    from .printing import format_array

    _space["format_array"] = format_array
    for row in ROWS:
        if row.method:
            bind_method(row.name, _method(space[row.name], row.name))
    for name in _METHODS:
        if name in space:
            bind_method(name, _method(space[name], name))
    _shape_methods(space)
    bind_method("real", property(space["real"], doc=space["real"].__doc__))
    bind_method("imag", property(space["imag"], doc=space["imag"].__doc__))
    if "matrix_transpose" in space:
        bind_method("mT", property(space["matrix_transpose"], doc="The last two axes exchanged."))
    HOOKS.update(
        iter=space["ArrayIterator"], getstate=_state, repr=_repr, bytes=lambda x: _state(x)[0]
    )
    for name in ("stack", "matmul", "divmod", "any", "getitem", "setitem", "from_dlpack"):
        if name in space:
            HOOKS[name] = space[name]
    from . import indexing

    HOOKS.update(getitem=indexing.getitem, setitem=indexing.setitem)
    bind_method("at", property(indexing.ArrayAt))
