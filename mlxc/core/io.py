"""Saving and loading arrays: ``.npy``, ``.npz``, ``.safetensors`` and ``.gguf``.

Rules: files are checked field by field, and a bad one raises ValueError naming file and fault
before memory is taken for it; nothing is ever unpickled; a save by path replaces the old file only
once the new one is complete.
"""

import os

import numpy as np

import mlxc.core as mx

from ._arguments import as_array
from ._files import open_source, open_target
from ._gguf import read_gguf, write_gguf
from ._npy import read_npy, read_npz, write_npy, write_npz
from ._safetensors import read_safetensors, write_safetensors

__all__ = ["load", "save", "save_gguf", "save_safetensors", "savez", "savez_compressed"]

_FORMATS = ("npy", "npz", "safetensors", "gguf")


def save(file, arr):
    """Save an array in NumPy's ``.npy`` format.

    Args:
        file (str, pathlib.Path or binary file object): Where to; ``.npy`` is added to a path that
            lacks it.
        arr (array): Any shape and dtype. bfloat16 is written as ``<V2``.

    Raises:
        OSError: The file cannot be written.

    >>> import io
    >>> file = io.BytesIO()
    >>> mx.save(file, mx.array([1, 2]))
    >>> len(file.getvalue())
    136
    """
    pair = _to_numpy(arr)
    with open_target("save", file, ".npy") as stream:
        write_npy(stream, *pair)


def savez(file, *args, **kwargs):
    """Save arrays in NumPy's ``.npz`` format, uncompressed.

    Args:
        file (str, pathlib.Path or binary file object): Where to; ``.npz`` is added to a path that
            lacks it.
        *args (arrays): Saved under the names arr_0, arr_1, …
        **kwargs (arrays): Saved under their names.

    Raises:
        ValueError: A keyword is also the name of a positional array.
        OSError: The file cannot be written.

    >>> import io
    >>> file = io.BytesIO()
    >>> mx.savez(file, mx.array([1, 2]), b=mx.array(3))
    >>> sorted(mx.load(io.BytesIO(file.getvalue()), format="npz"))
    ['arr_0', 'b']
    """
    _savez("savez", file, args, kwargs, compressed=False)


def savez_compressed(file, *args, **kwargs):
    """Save arrays in NumPy's ``.npz`` format, compressed.

    Args:
        file (str, pathlib.Path or binary file object): Where to; ``.npz`` is added to a path that
            lacks it.
        *args (arrays): Saved under the names arr_0, arr_1, …
        **kwargs (arrays): Saved under their names.

    Raises:
        ValueError: A keyword is also the name of a positional array.
        OSError: The file cannot be written.

    >>> import io
    >>> file = io.BytesIO()
    >>> mx.savez_compressed(file, b=mx.zeros(1000))
    >>> len(file.getvalue()) < 1000
    True
    """
    _savez("savez_compressed", file, args, kwargs, compressed=True)


def save_safetensors(file, arrays, metadata=None):
    """Save arrays in the ``.safetensors`` format.

    Args:
        file (str, pathlib.Path or binary file object): Where to; ``.safetensors`` is added to a
            path that lacks it.
        arrays (dict of str to array): The arrays by name.
        metadata (dict of str to str): Further texts to keep.

    Raises:
        TypeError: ``arrays`` is not a dict with string keys.
        ValueError: ``metadata`` does not map strings to strings, or an array is named
            ``__metadata__``.
        OSError: The file cannot be written.

    Source: https://huggingface.co/docs/safetensors.

    >>> import io
    >>> file = io.BytesIO()
    >>> mx.save_safetensors(file, {"w": mx.array([1, 2])}, {"made": "here"})
    >>> mx.load(io.BytesIO(file.getvalue()), format="safetensors", return_metadata=True)
    ({'w': array([1, 2], dtype=int32)}, {'made': 'here'})
    """
    pairs = _named("save_safetensors", arrays)
    if "__metadata__" in pairs:
        raise ValueError(
            "[save_safetensors] an array is named __metadata__; the format keeps that name to "
            "itself"
        )
    if metadata is not None and not (
        isinstance(metadata, dict)
        and all(isinstance(text, str) for pair in metadata.items() for text in pair)
    ):
        raise ValueError("[save_safetensors] metadata must be a dict of strings to strings")
    with open_target("save_safetensors", file, ".safetensors") as stream:
        write_safetensors(stream, pairs, metadata)


def save_gguf(file, arrays, metadata=None):
    """Save arrays in llama.cpp's ``.gguf`` format.

    Args:
        file (str, pathlib.Path or binary file object): Where to; ``.gguf`` is added to a path that
            lacks it.
        arrays (dict of str to array): The arrays by name: floating, or int8 to int64.
        metadata (dict of str to array, str or list of str): Scalars, 1-D arrays and texts to keep.

    Raises:
        TypeError: ``arrays`` or ``metadata`` is not a dict with string keys, or a metadata value is
            of another type.
        ValueError: GGUF has no type for an array.
        OSError: The file cannot be written.

    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

    >>> import io
    >>> file = io.BytesIO()
    >>> mx.save_gguf(file, {"w": mx.array([1.0, 2.0])}, {"name": "two"})
    >>> mx.load(io.BytesIO(file.getvalue()), format="gguf", return_metadata=True)
    ({'w': array([1, 2], dtype=float32)}, {'name': 'two'})
    """
    pairs = _named("save_gguf", arrays)
    values = {}
    for key, value in _dict_of_names(
        "save_gguf", "metadata", {} if metadata is None else metadata
    ).items():
        if isinstance(value, mx.array):
            values[key] = _to_numpy(value)
        elif isinstance(value, str) or (
            isinstance(value, list) and all(isinstance(text, str) for text in value)
        ):
            values[key] = value
        else:
            raise TypeError(
                f"[save_gguf] metadata {key!r} is a {type(value).__name__}; give an array, a str "
                "or a list of str"
            )
    with open_target("save_gguf", file, ".gguf") as stream:
        write_gguf(stream, pairs, values)


def load(file, /, format=None, return_metadata=False, *, stream=None):
    """Load arrays from a file.

    Args:
        file (str, pathlib.Path or binary file object): The file.
        format (str): ``npy``, ``npz``, ``safetensors`` or ``gguf``. Default: the extension of the
            file's name.
        return_metadata (bool): Whether to return the metadata, too (safetensors and gguf).

    Returns:
        array, dict or tuple: An array (npy), a dict of names to arrays, or a tuple of such a dict
        and the metadata. Tensors of a gguf file that are quantised as Q4_0, Q4_1 or Q8_0 come as
        three arrays, ``x.weight``, ``x.scales`` and ``x.biases``, ready for ``quantized_matmul``
        with a group size of 32; Q2_K, Q4_K and Q6_K come as float16.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The format is unknown, or the file is not a valid file of its format.

    >>> import io
    >>> file = io.BytesIO()
    >>> mx.save(file, mx.array([1, 2]))
    >>> mx.load(io.BytesIO(file.getvalue()), format="npy")
    array([1, 2], dtype=int32)
    """
    format = _format_of(file) if format is None else format
    if format not in _FORMATS:
        raise ValueError(
            f"[load] file format {format!r} is unknown; choose from {', '.join(_FORMATS)}"
        )
    if return_metadata and format in ("npy", "npz"):
        raise ValueError(
            f"[load] {format} files have no metadata; only safetensors and gguf files do"
        )
    with open_source(file) as source:
        if format == "npy":
            return _to_array(*read_npy(source))
        if format == "npz":
            return _to_arrays(read_npz(source))
        pairs, metadata = read_safetensors(source) if format == "safetensors" else read_gguf(source)
    arrays = _to_arrays(pairs)
    if not return_metadata:
        return arrays
    return arrays, {
        key: _to_array(*value) if isinstance(value, tuple) else value
        for key, value in metadata.items()
    }


def _format_of(file):
    """The extension of a file's name."""
    name = file if isinstance(file, (str, os.PathLike)) else getattr(file, "name", "")
    name = os.fspath(name) if isinstance(name, (str, os.PathLike)) else ""
    extension = os.path.splitext(name)[1][1:]
    if not extension:
        raise ValueError(
            f"[load] the name {name!r} has no extension to tell the format by; "
            f"give format={' or '.join(map(repr, _FORMATS))}"
        )
    return extension


def _savez(op, file, args, kwargs, compressed):
    arrays = {name: _to_numpy(arr) for name, arr in kwargs.items()}
    for i, arr in enumerate(args):
        name = f"arr_{i}"
        if name in arrays:
            raise ValueError(
                f"[{op}] {name} is both a keyword and the name of positional array {i}; rename it"
            )
        arrays[name] = _to_numpy(arr)
    with open_target(op, file, ".npz") as stream:
        write_npz(stream, arrays, compressed)


def _dict_of_names(op, what, given):
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise TypeError(
            f"[{op}] {what} is {type(given).__name__}; a dict with str keys would be right"
        )
    return given


def _named(op, arrays):
    return {name: _to_numpy(arr) for name, arr in _dict_of_names(op, "arrays", arrays).items()}


def _dtype_name(dtype):
    name = str(dtype).rpartition(".")[2]
    return "bool_" if name == "bool" else name


def _to_numpy(arr):
    """An array's values for the format modules: (NumPy array, dtype name), bfloat16 as its bits."""
    arr = as_array(arr)
    name = _dtype_name(arr.dtype)
    return np.asarray(mx.view(arr, mx.uint16) if name == "bfloat16" else arr), name


def _to_array(values, dtype_name):
    if dtype_name == "bfloat16":
        return mx.view(mx.array(values), mx.bfloat16)
    return mx.array(values, dtype=getattr(mx, dtype_name))


def _to_arrays(pairs):
    return {name: _to_array(*pair) for name, pair in pairs.items()}
