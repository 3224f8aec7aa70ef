"""Kernels of users' own, given as text. Metal's run on the GPU; of CUDA's there is no back end.

The namespace ``mlxc.core.fast`` publishes these. A kernel can be described everywhere, as modules
do when they are imported; calling it needs the device.
"""

from collections.abc import Iterable
from operator import index

import mlxc.core as mx
from mlxc._graph import bind
from mlxc._metal.shim import get_device
from mlxc._table.custom import Call

from ._arguments import as_array, as_shape
from .devices import StreamContext, default_device, default_stream, gpu

__all__ = ["cuda_kernel", "metal_kernel", "precompiled_cuda_kernel"]

_MATH_MODES = {"safe": False, "relaxed": True, "fast": True}
_MOST_BUFFERS = 31  # of a Metal kernel
_MOST_THREADS = 1024  # of a Metal threadgroup


def metal_kernel(
    name,
    input_names,
    output_names,
    source,
    header="",
    ensure_row_contiguous=True,
    atomic_outputs=False,
    compile_options=None,
):
    """A custom Metal kernel from the body of its function; the signature is made around it.

    Args:
        name (str): What errors and profiles call it.
        input_names (list of str): Parameters of the inputs: ``device const T*``, ``constant const
            T*`` below eight elements, ``constant const T&`` of no dimensions.
        output_names (list of str): Parameters of the outputs, ``device T*``, row-major.
        source (str): The body. It may name ``<input>_shape``, ``<input>_strides`` (elements),
            ``<input>_ndim`` and Metal's attributes, such as ``thread_position_in_grid``.
        header (str): What stands before the function.
        ensure_row_contiguous (bool): Whether inputs are copied where they are not row-major.
        atomic_outputs (bool): Whether outputs are ``device atomic<T>*``.
        compile_options (dict, optional): ``"math_mode"``: "safe" (default), "relaxed" or "fast".

    Returns:
        callable: ``kernel(*, inputs, output_shapes, output_dtypes, grid, threadgroup,
            template=None, init_value=None, verbose=False, stream=None)`` gives a list of arrays.
            ``grid`` counts threads; ``template`` has pairs of a name and a bool, int or dtype;
            ``init_value`` is what outputs begin with.

    Raises:
        ValueError: If names or options are not what they should be.

    Example:
        >>> import mlxc.core as mx
        >>> kernel = mx.fast.metal_kernel("copy", ["x"], ["y"], "y[0] = x[0];")
        >>> callable(kernel)
        True
    """
    facts = {
        "name": name,
        "input_names": _names(name, input_names),
        "output_names": _names(name, output_names),
        "source": source,
        "header": header,
        "row_contiguous": bool(ensure_row_contiguous),
        "atomic_outputs": bool(atomic_outputs),
        "fast_math": _is_fast(compile_options),
    }

    def kernel(
        *,
        inputs,
        output_shapes,
        output_dtypes,
        grid,
        threadgroup,
        template=None,
        init_value=None,
        verbose=False,
        stream=None,
    ):
        with StreamContext(default_stream(default_device()) if stream is None else stream):
            _check_device(name)
            arrays = tuple(as_array(x) for x in inputs)
            outputs = _outputs(facts, arrays, output_shapes, output_dtypes)
            call = Call(
                **facts,
                template=tuple((word, _argument(name, x)) for word, x in template or ()),
                outputs=outputs,
                grid=_threads(name, "grid", grid),
                threadgroup=_threads(name, "threadgroup", threadgroup),
                init_value="" if init_value is None else repr(float(init_value)),
            )
            if verbose:
                _show(call, arrays)
            made = bind("metal_kernel", arrays, (call,))
        return list(made) if isinstance(made, tuple) else [made]

    return kernel


def _names(name, words):
    if isinstance(words, str) or not isinstance(words, Iterable) or getattr(words, "ndim", 1) == 0:
        raise TypeError(f"[metal_kernel] {words!r} for {name!r}; a list of names is right")
    for word in words:
        if not isinstance(word, str) or not word.isidentifier():
            raise ValueError(f"[metal_kernel] parameter {word!r} of {name!r}; a C name is right")
    return tuple(words)


def _is_fast(options):
    options = {} if options is None else options
    mode = options.get("math_mode", "safe") if isinstance(options, dict) else None
    if mode not in _MATH_MODES or set(options) - {"math_mode"}:
        raise ValueError(
            f"[metal_kernel] compile_options {options!r}; a dict of 'math_mode' alone, one of "
            f"{list(_MATH_MODES)}, would be right"
        )
    return _MATH_MODES[mode]


def _check_device(name):
    if get_device() is None:
        raise RuntimeError(
            f"[metal_kernel] {name!r} cannot run: there is no Metal device; write it with mx "
            "operations"
        )
    if default_device().type is not gpu:
        raise RuntimeError(
            f"[metal_kernel] {name!r} cannot run on {default_device()!r}; stream=mx.gpu would be "
            "right"
        )


def _outputs(facts, arrays, shapes, dtypes):
    """(shape, dtype name) of each output; ValueError where arrays are not as many as parameters."""
    name = facts["name"]
    wanted = len(facts["input_names"]), len(facts["output_names"])
    if len(arrays) != wanted[0]:
        raise ValueError(f"[metal_kernel] {name!r} got {len(arrays)} inputs; it has {wanted[0]}")
    if len(shapes) != wanted[1] or len(dtypes) != wanted[1]:
        raise ValueError(
            f"[metal_kernel] {name!r} got {len(shapes)} output shapes and {len(dtypes)} dtypes; "
            f"it has {wanted[1]} outputs"
        )
    if sum(wanted) > _MOST_BUFFERS:
        raise ValueError(
            f"[metal_kernel] {name!r} has {sum(wanted)} arrays; at most {_MOST_BUFFERS} fit"
        )
    for x in arrays:
        _type_name(name, x.dtype)
    return tuple(
        (as_shape("metal_kernel", shape), _type_name(name, dtype))
        for shape, dtype in zip(shapes, dtypes)
    )


def _type_name(name, dtype):
    """The table's name of a dtype that Metal has."""
    if not isinstance(dtype, mx.Dtype) or dtype == mx.float64:
        raise ValueError(f"[metal_kernel] {name!r} got {dtype!r}; any dtype but float64 is right")
    word = str(dtype).rpartition(".")[2]
    return "bool_" if word == "bool" else word


def _argument(name, value):
    """A template argument as text."""
    if isinstance(value, mx.Dtype):
        return _type_name(name, value)
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(index(value))
    except TypeError:
        raise TypeError(
            f"[metal_kernel] template argument {value!r} of {name!r}; a bool, an int or a dtype "
            "would be right"
        ) from None


def _threads(name, word, counts):
    counts = tuple(map(index, counts))
    if len(counts) != 3 or min(counts) < (word == "threadgroup") or max(counts) >= 2**32:
        raise ValueError(
            f"[metal_kernel] {word} {counts} of {name!r}; three positive numbers would be right"
        )
    total = counts[0] * counts[1] * counts[2]
    if word == "threadgroup" and total > _MOST_THREADS:
        raise ValueError(
            f"[metal_kernel] {word} {counts} of {name!r} has {total} threads; at most "
            f"{_MOST_THREADS} would be right"
        )
    return counts


def _show(call, arrays):
    """Print what the compiler is given."""
    from mlxc._backends.metal.custom import source_of

    kinds = [(_type_name(call.name, x.dtype), x.ndim, x.size) for x in arrays]
    print(source_of(call, kinds)[0])


def cuda_kernel(
    name, input_names, output_names, source, header="", ensure_row_contiguous=True, shared_memory=0
):
    """A custom CUDA kernel from source; there is no CUDA back end, so it always raises.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        f"[cuda_kernel] {name!r} cannot be built: no CUDA back end; write it with mx operations"
    )


def precompiled_cuda_kernel(
    *,
    name,
    compiled_source,
    inputs,
    output_shapes,
    output_dtypes,
    scalars,
    grid,
    threadgroup,
    shared_memory=0,
    init_value=None,
    ensure_row_contiguous=False,
    stream=None,
):
    """A precompiled CUDA kernel; there is no CUDA back end, so it always raises.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(f"[precompiled_cuda_kernel] {name!r} cannot run: no CUDA back end")
