"""Functions in files: their graphs, which can be called where their Python code is not.

A file is eight bytes of magic, eight of the header's length (little-endian), a JSON header and the
constants' bytes. The header has, for each trace, the arguments it was made for and its steps: row
names, parameters, operands.

Rules: a file is data, nothing in it is executed. Every field is checked when it is read; the steps
are made by binding rows anew, at import over placeholders, so that a bad file is refused there.
What MLX itself exports is not read.
"""

import json

from mlxc import core as mx
from mlxc._graph import array, as_array, bind, to_numpy
from mlxc._table import load_rows
from mlxc._table.dtypes import CODE
from mlxc.core import _files

from . import trees
from .tracing import Tracing, abstract_like, new_handles
from .walk import walk

__all__ = ["FunctionExporter", "export_function", "exporter", "import_function"]

MAGIC = b"MLXCFN\x00\x01"
ALIGNMENT = 64  # bytes, of each constant from the first one
_ROWS = {row.name: row for row in load_rows()}
_DTYPES = [name for name, _ in sorted(CODE.items(), key=lambda item: item[1])]
_RIGHT = "a file written by mx.export_function of this version would be right"


# ---- arguments: a call with arrays by position and by name ----


def _arguments(op, args, kwargs):
    """Positional arrays and named ones; also given as one sequence and one dict."""
    if len(args) in (1, 2) and isinstance(args[0], (tuple, list)) and not kwargs:
        kwargs = dict(args[1]) if len(args) == 2 else {}
        args = args[0]
    values = [*args, *(kwargs[name] for name in sorted(kwargs))]
    for x in values:
        if not isinstance(x, (array, bool, int, float, complex)) and not hasattr(x, "__array__"):
            raise ValueError(
                f"[{op}] an argument of type {type(x).__name__}; arrays, by position or name, "
                "would be right"
            )
    return [as_array(x) for x in values], len(args), sorted(kwargs)


def _described(shapes, dtypes, positional, names):
    """A call in words, for errors."""
    labels = [*range(1, positional + 1), *names]
    inputs = [
        f"{label}: {dtype.rstrip('_')} {shape}"
        for label, shape, dtype in zip(labels, shapes, dtypes)
    ]
    return "(" + ", ".join(inputs) + ")"


class _Trace:
    """The steps of one trace and the arguments it is for."""

    def __init__(self, steps, outputs, positional, names, shapeless):
        self.steps = steps
        self.outputs = outputs
        self.positional = positional
        self.names = names
        self.shapeless = shapeless
        self.inputs = steps[: positional + len(names)]

    def fits(self, values, positional, names):
        if (positional, names) != (self.positional, self.names):
            return False
        for x, wanted in zip(values, self.inputs):
            if x.dtype.name != wanted.dtype or x.ndim != len(wanted.shape):
                return False
            if not self.shapeless and x.shape != tuple(wanted.shape):
                return False
        return True

    def __str__(self):
        shapes = [
            "any sizes of " + str(s.shape) if self.shapeless else s.shape for s in self.inputs
        ]
        return _described(shapes, [s.dtype for s in self.inputs], self.positional, self.names)

    def apply(self, values):
        """The outputs over arrays that fit."""
        made = list(values)
        for step in self.steps[len(values) :]:
            operands = [made[k] for k in step.operands]
            if step.array is not None:
                made.append(step.array)
            elif step.name == "pick":
                made.append(operands[0][step.params[0]])
            else:
                made.append(bind(step.name, tuple(operands), step.params))
        return tuple(made[k] for k in self.outputs)


def _trace(op, fun, args, kwargs, shapeless):
    """Run a function on placeholders like its arguments."""
    values, positional, names = _arguments(op, args, kwargs)
    with Tracing():
        placeholders = abstract_like(values, [x.shape for x in values])
        handles = new_handles(placeholders)
        result = fun(*handles[:positional], **dict(zip(names, handles[positional:])))
        outputs = trees.flatten(result)[0]
        if not outputs:
            raise ValueError(
                f"[{op}] the function gave {type(result).__name__}; one array or more would be "
                "right"
            )
        steps, ends = walk(outputs, placeholders, True)
    mx.eval([step.array for step in steps if step.array is not None])
    _see_through(steps, ends)
    if shapeless:
        _unbroadcast(steps, len(values))
        _drop_unused(steps, ends)
    return _Trace(steps, ends, positional, names, shapeless)


def _see_through(steps, ends):
    """Let operands skip ``attach`` nodes, which carry Python functions: the values are those of
    their last operands."""
    behind = {}
    for k, step in enumerate(steps):
        step.operands = tuple(behind.get(o, o) for o in step.operands)
        if step.name == "pick" and steps[step.operands[0]].name == "attach":
            attach = steps[step.operands[0]]
            behind[k] = attach.operands[attach.params[0].first + step.params[0]]
    ends[:] = [behind.get(k, k) for k in ends]
    _drop_unused(steps, ends)


def _drop_unused(steps, ends):
    """Remove the steps that no output needs, inputs excepted."""
    needed = set(ends)
    for k in reversed(range(len(steps))):
        if k in needed:
            needed.update(steps[k].operands)
    place, kept = {}, []
    for k, step in enumerate(steps):
        if k in needed or (step.name is None and step.array is None):
            place[k] = len(kept)
            kept.append(step)
            step.operands = tuple(place[o] for o in step.operands)
    steps[:] = kept
    ends[:] = [place[k] for k in ends]


def _unbroadcast(steps, inputs):
    """Undo broadcasts that elementwise rows make themselves, so that they adapt to other sizes."""
    for step in steps[inputs:]:
        if step.name is None or _ROWS[step.name].kind != "elementwise":
            continue
        sources = tuple(
            steps[k].operands[0] if steps[k].name == "broadcast_to" else k for k in step.operands
        )
        if mx.broadcast_shapes(*(steps[k].shape for k in sources)) == tuple(step.shape):
            step.operands = sources


# ---- the file ----


def _to_json(value):
    """A parameter as JSON: tuples become lists, floats and complex numbers keep every bit."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    raise ValueError(
        f"[export_function] a parameter of type {type(value).__name__} has no place in a file"
    )


def _from_json(value):
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is list:
        return tuple([_from_json(item) for item in value])
    if type(value) is dict and len(value) == 1:
        ((kind, text),) = value.items()
        if kind == "float":
            return float.fromhex(text)
        if kind == "complex":
            real, imaginary = text
            return complex(float.fromhex(real), float.fromhex(imaginary))
    raise ValueError(f"a parameter {_files.shorten(value)}")


def _header_of(traces, shapeless, metadata):
    """The header, and the constants as NumPy arrays in the order of their offsets."""
    constants, place, offset, listed = [], {}, 0, []
    for trace in traces:
        steps = []
        for k, step in enumerate(trace.steps):
            entry = {"shape": list(step.shape), "dtype": step.dtype}
            if step.array is not None:
                if id(step.array) not in place:
                    place[id(step.array)] = offset
                    values = to_numpy(
                        step.array.view(mx.uint16) if step.dtype == "bfloat16" else step.array
                    )
                    constants.append(_files.raw_bytes(values, step.dtype))
                    offset += -(-len(constants[-1]) // ALIGNMENT) * ALIGNMENT
                entry["offset"] = place[id(step.array)]
            elif k >= len(trace.inputs):
                entry.update(
                    row=step.name, operands=list(step.operands), params=_to_json(tuple(step.params))
                )
            steps.append(entry)
        listed.append(
            {
                "positional": trace.positional,
                "names": trace.names,
                "outputs": list(trace.outputs),
                "steps": steps,
            }
        )
    return {
        "dtypes": _DTYPES,
        "shapeless": shapeless,
        "metadata": metadata,
        "traces": listed,
    }, constants


def _write(file, traces, shapeless, metadata):
    header, constants = _header_of(traces, shapeless, metadata)
    text = json.dumps(header, allow_nan=False).encode()
    with _files.open_target("export_function", file, "") as stream:
        stream.write(MAGIC + len(text).to_bytes(8, "little") + text)
        for values in constants:
            stream.write(values)
            stream.write(b"\0" * (-len(values) % ALIGNMENT))


def _read(file):
    """The header and a function that reads a constant; a ValueError that names the fault
    otherwise."""
    with _files.open_source(file) as source:
        if source.size < 16 or source.read(8, "the magic") != MAGIC:
            source.fail("no exported function of mlxc", _RIGHT)
        length = int.from_bytes(source.read(8, "the header's length"), "little")
        text = source.read(length, "the header")
        first = source.at
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            source.fail("the header is no JSON", _RIGHT)

        def constant(shape, dtype, offset):
            _files.check_shape(source, shape, "a constant")
            if type(offset) is not int or not 0 <= offset <= source.size - first:
                source.fail(f"a constant at {offset!r}", "an offset within the file would be right")
            source.seek(first + offset)
            values = source.read_array(tuple(shape), dtype, "a constant")
            if dtype == "bfloat16":
                return mx.array(values).view(mx.bfloat16)
            return mx.array(values, dtype=getattr(mx, dtype))

        return _traces_of(source, header, constant)


def _need(condition, what):
    if not condition:
        raise ValueError(what)


def _traces_of(source, header, constant):
    """The traces of a header, and the metadata; whatever is wrong with them is said with the file's
    name."""
    try:
        _need(type(header) is dict, "a header that is no object")
        _need(header.get("dtypes") == _DTYPES, "dtypes of another version")
        _need(type(header.get("shapeless")) is bool, "no word on shapes")
        _need(type(header.get("metadata")) in (str, type(None)), "metadata that is no text")
        _need(type(header.get("traces")) is list and header["traces"], "no traces")
        traces = [_trace_of(entry, header["shapeless"], constant) for entry in header["traces"]]
        for trace in traces:
            _check(trace)
    except RecursionError:
        source.fail("parameters nested too deep", _RIGHT)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        source.fail(str(error) or type(error).__name__, _RIGHT)
    return traces, header["metadata"]


def _trace_of(entry, shapeless, constant):
    """A trace, its fields checked one by one."""
    _need(type(entry) is dict, "a trace that is no object")
    positional, names, ends = entry.get("positional"), entry.get("names"), entry.get("outputs")
    listed = entry.get("steps")
    _need(
        type(listed) is list and type(ends) is list and type(names) is list,
        "a trace without its lists",
    )
    _need(
        all(type(name) is str for name in names) and sorted(set(names)) == names,
        "names that are not sorted texts",
    )
    _need(
        type(positional) is int and 0 <= positional <= len(listed) - len(names),
        "a number of inputs out of range",
    )
    steps = []
    for k, step in enumerate(listed):
        steps.append(_step_of(step, k, k < positional + len(names), constant))
    _need(
        ends and all(type(k) is int and 0 <= k < len(steps) for k in ends), "outputs out of range"
    )
    return _Trace(steps, ends, positional, names, shapeless)


class _Step:
    """A step as read: the fields of walk.Step."""

    def __init__(self, name, params, dtype, shape, operands, array):
        self.name, self.params, self.dtype, self.shape = name, params, dtype, shape
        self.operands, self.array = operands, array


def _step_of(step, position, is_input, constant):
    _need(type(step) is dict, "a step that is no object")
    dtype, shape = step.get("dtype"), step.get("shape")
    _need(type(dtype) is str and dtype in CODE, f"dtype {_files.shorten(dtype)}")
    _need(type(shape) is list and len(shape) <= _files.MAX_DIMS, "a step without a shape")
    _need(
        all(type(size) is int and 0 <= size < 1 << 58 for size in shape),
        f"shape {_files.shorten(shape)}",
    )
    if is_input:
        return _Step(None, (), dtype, tuple(shape), (), None)
    if "offset" in step:
        return _Step(None, (), dtype, tuple(shape), (), constant(shape, dtype, step["offset"]))
    name, operands, params = step.get("row"), step.get("operands"), _from_json(step.get("params"))
    _need(type(name) is str and name in _ROWS and name != "attach", f"row {_files.shorten(name)}")
    _need(
        type(operands) is list and type(params) is tuple,
        f"row {name} without operands or parameters",
    )
    _need(
        all(type(k) is int and 0 <= k < position for k in operands),
        f"operands of {name} out of range",
    )
    return _Step(name, params, dtype, tuple(shape), tuple(operands), None)


def _check(trace):
    """Make every step over placeholders: rows refuse what is wrong, and shapes must be those that
    the file states."""
    with Tracing():
        made = abstract_like(
            [mx.zeros((), getattr(mx, s.dtype)) for s in trace.inputs],
            [tuple(s.shape) for s in trace.inputs],
        )
        for step in trace.steps[len(trace.inputs) :]:
            operands = [made[k] for k in step.operands]
            if step.array is not None:
                made.append(step.array)
                continue
            if step.name == "pick":
                _check_pick(operands, step.params)
                x = operands[0][step.params[0]]
            else:
                _need(
                    all(isinstance(o, array) for o in operands),
                    f"{step.name} of a step with several outputs",
                )
                _check_row(_ROWS[step.name], operands, step.params)
                x = bind(step.name, tuple(operands), step.params)
            made.append(x)
            if isinstance(x, array):
                same = x.shape == tuple(step.shape) and x.dtype.name == step.dtype
                _need(
                    same,
                    f"{step.name} gives {x.dtype.name} {x.shape}, not {step.dtype} "
                    f"{tuple(step.shape)}",
                )
        _need(all(isinstance(made[k], array) for k in trace.outputs), "an output that is no array")


def _check_pick(operands, params):
    _need(len(operands) == 1 and type(operands[0]) is tuple, "pick of a step with one output")
    _need(
        len(params) == 1 and type(params[0]) is int and 0 <= params[0] < len(operands[0]),
        f"pick {params}",
    )


def _check_row(row, operands, params):
    """What binding takes on trust: how many operands and parameters, and what movements permute."""
    if row.kind == "elementwise":
        _need(len(operands) == row.arity and not params, f"{row.name} of {len(operands)} operands")
        return
    wanted = tuple(row.params)
    _need(
        len(params) == len(wanted), f"{row.name} with {len(params)} parameters, not {len(wanted)}"
    )
    if row.kind == "kernel":
        return
    _need(len(operands) == 1, f"{row.name} of {len(operands)} operands")
    ndim = operands[0].ndim
    for name, value in zip(wanted, params):
        if name in ("axes", "shape", "start", "stop", "stride", "strides"):
            _need(
                type(value) is tuple and all(type(v) is int and abs(v) < 1 << 58 for v in value),
                f"{row.name} {name}",
            )
        elif name == "keepdims":
            _need(type(value) is bool, f"{row.name} {name} {value!r}")
        else:
            _need(type(value) is int and abs(value) < 1 << 58, f"{row.name} {name} {value!r}")
        if name == "dtype":
            _need(0 <= value < len(_DTYPES), f"{row.name} to dtype {value}")
    if row.name == "transpose":
        _need(sorted(params[0]) == list(range(ndim)), f"transpose {params[0]} of {ndim} axes")
    elif row.kind == "reduction":
        _need(
            list(params[0]) == sorted(set(params[0])) and all(0 <= a < ndim for a in params[0]),
            f"axes {params[0]}",
        )


# ---- the public functions ----


class FunctionExporter:
    """Exports several traces of one function to a file; made by ``exporter`` and used with
    ``with``.

    Called with arrays it adds the trace of the function for them; ``close`` writes the file.
    """

    def __init__(self, file, fun, shapeless, metadata):
        self._file, self._function = file, fun
        self._shapeless, self._metadata = shapeless, metadata
        self._traces = []
        self._open = True

    def __call__(self, *args, **kwargs):
        if not self._open:
            raise RuntimeError("[exporter] the exporter is closed; a new one would be right")
        self._traces.append(_trace("exporter", self._function, args, kwargs, self._shapeless))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.close()
        self._open = False
        return False

    def close(self):
        """Write the file; no more traces can be added.

        Raises:
            ValueError: If there is no trace to write.
        """
        if not self._open:
            return
        if not self._traces:
            raise ValueError("[exporter] nothing to write; call the exporter with arrays first")
        _write(self._file, self._traces, self._shapeless, self._metadata)
        self._open = False


def _check_arguments(op, fun, metadata):
    if not callable(fun):
        raise TypeError(
            f"[{op}] {type(fun).__name__} is not callable; a function of arrays would be right"
        )
    if metadata is not None and not isinstance(metadata, str):
        raise TypeError(f"[{op}] metadata of type {type(metadata).__name__}; a str would be right")


def exporter(file, fun, *, shapeless=False, metadata=None):
    """An exporter of several traces of a function to one file.

    Args:
        file (str or path): What to write, when the exporter is closed.
        fun (callable): Takes arrays, gives one or a tree of them.
        shapeless (bool): Let the sizes of axes differ from those traced.
        metadata (str, optional): A text to keep with the function.

    Returns:
        FunctionExporter: To be called with the arrays of each trace.

    Raises:
        TypeError: If ``fun`` is not callable or ``metadata`` no text.

    Example:
        >>> import os, tempfile, mlxc.core as mx
        >>> path = os.path.join(tempfile.mkdtemp(), "sum.mlxfn")
        >>> with mx.exporter(path, lambda *xs: sum(xs)) as export:
        ...     export(mx.array(1))
        ...     export(mx.array(1), mx.array(2))
        >>> mx.import_function(path)(mx.array(3), mx.array(4))
        (array(7, dtype=int32),)
    """
    _check_arguments("exporter", fun, metadata)
    return FunctionExporter(file, fun, bool(shapeless), metadata)


def export_function(file_or_callback, fun, *args, shapeless=False, metadata=None, **kwargs):
    """Write the graph of a function, traced for example arguments, to a file.

    Args:
        file_or_callback (str, path or callable): The file; a callable is handed dicts that describe
            the graph instead: its inputs, keyword inputs, outputs, constants and each primitive.
        fun (callable): Takes arrays, gives one or a tree of them.
        *args (array): Example arguments; also a tuple of arrays and a dict of named ones.
        shapeless (bool): Let the sizes of axes differ from those traced.
        metadata (str, optional): A text to keep with the function, in a file only.
        **kwargs (array): Named example arguments.

    Raises:
        ValueError: If an argument is no array, ``fun`` gives none, or ``metadata`` is given with a
            callable.

    Example:
        >>> import os, tempfile, mlxc.core as mx
        >>> path = os.path.join(tempfile.mkdtemp(), "add.mlxfn")
        >>> mx.export_function(path, lambda x, y: x + y, mx.array(1), y=mx.array(2))
        >>> mx.import_function(path)(mx.array(3), y=mx.array(4))
        (array(7, dtype=int32),)
    """
    _check_arguments("export_function", fun, metadata)
    trace = _trace("export_function", fun, args, kwargs, bool(shapeless))
    if not callable(file_or_callback):
        _write(file_or_callback, [trace], bool(shapeless), metadata)
        return
    if metadata is not None:
        raise ValueError(
            "[export_function] metadata is kept in files only; a path instead of a callable "
            "would be right"
        )
    _report(file_or_callback, trace)


def _report(callback, trace):
    """Describe a trace to a callback, one dict at a time."""
    names = {k: f"x{k}" for k in range(len(trace.steps))}

    def entry(k):
        step = trace.steps[k]
        return names[k], tuple(step.shape), getattr(mx, step.dtype)

    inputs = range(len(trace.inputs))
    callback({"type": "inputs", "inputs": [entry(k) for k in inputs]})
    keywords = [(name, names[trace.positional + k]) for k, name in enumerate(trace.names)]
    callback({"type": "keyword_inputs", "keywords": keywords})
    callback({"type": "outputs", "outputs": [entry(k) for k in trace.outputs]})
    constants = [
        (names[k], step.array) for k, step in enumerate(trace.steps) if step.array is not None
    ]
    callback({"type": "constants", "constants": constants})
    for k, step in enumerate(trace.steps):
        if step.name is not None:
            callback(
                {
                    "type": "primitive",
                    "name": step.name,
                    "inputs": [entry(o) for o in step.operands],
                    "outputs": [entry(k)],
                    "arguments": list(step.params),
                }
            )


def import_function(file, return_metadata=False):
    """Read a function that ``export_function`` or ``exporter`` has written.

    Args:
        file (str or path): Of our own format; it is data, and nothing in it is executed.
        return_metadata (bool): Also give the text kept with the function.

    Returns:
        callable: Takes arrays as the exported traces did and gives a tuple of arrays; with the
            metadata, if asked for.

    Raises:
        ValueError: If the file is not whole or states anything impossible.
        FileNotFoundError: If there is no such file.

    Example:
        >>> import os, tempfile, mlxc.core as mx
        >>> path = os.path.join(tempfile.mkdtemp(), "exp.mlxfn")
        >>> mx.export_function(path, mx.exp, mx.zeros((2,)), metadata="version 1")
        >>> function, text = mx.import_function(path, return_metadata=True)
        >>> text, function(mx.zeros((2,)))
        ('version 1', (array([1, 1], dtype=float32),))
    """
    try:
        traces, metadata = _read(file)
    except ValueError as error:
        raise ValueError(str(error).replace("[load]", "[import_function]", 1)) from None

    def imported(*args, **kwargs):
        values, positional, names = _arguments("import_function", args, kwargs)
        for trace in traces:
            if trace.fits(values, positional, names):
                return trace.apply(values)
        given = _described(
            [x.shape for x in values], [x.dtype.name for x in values], positional, names
        )
        known = "; ".join(map(str, traces))
        raise ValueError(f"[import_function] called with {given}; what was exported takes {known}")

    return (imported, metadata or "") if return_metadata else imported
