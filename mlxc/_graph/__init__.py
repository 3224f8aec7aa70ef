"""Floor 3: arrays, nodes, the scheduler and evaluation. What floors above use is named here."""

from .array import (
    HOOKS,
    array,
    bind_method,
    rebuild,
    set_pending_limit,
    show_package,
    to_numpy,
)
from .dtypes import DTYPES, Dtype
from .errors import ConversionError, DtypeError
from .interface import (
    arrays_of,
    as_array,
    astype,
    begin_on_device,
    binary_function,
    bind,
    broadcast,
    buffer_extent,
    eval,
    handle,
    is_abstract,
    is_evaluated,
    is_transposed,
    node_count,
    place_on_device,
    reduce_axes,
    replace,
    reshape_to,
    select,
    transpose_to,
    unary_function,
)
from .routine import Routine
from .values import values_alone

__all__ = [name for name in dir() if not name.startswith("_")]
