"""Drawings of pending graphs, in the DOT language of Graphviz
(https://graphviz.org/doc/info/lang.html)."""

import io
import os

from mlxc._graph import array

from . import trees
from .walk import walk

__all__ = ["export_to_dot"]


def _quoted(text):
    """A DOT string."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _name(k):
    """Names of nodes in order: A to Z, then A1, B1, ..."""
    turn, letter = divmod(k, 26)
    return chr(ord("A") + letter) + (str(turn) if turn else "")


def export_to_dot(file, *args, **kwargs):
    """Draw the graph that computes arrays, up to what is evaluated already, for Graphviz.

    Operations are boxes, values are ellipses with their dtype and shape.

    Args:
        file (str, path or text file): What to write.
        *args (arrays or trees of arrays): The arrays that the graph computes.
        **kwargs (array): Arrays of the graph by the names to show.

    Raises:
        ValueError: If there is no array.
        TypeError: If ``file`` is no file.

    Example:
        >>> import io, mlxc.core as mx
        >>> out, x = io.StringIO(), mx.array([1.0])
        >>> mx.export_to_dot(out, mx.exp(x), x=x)
        >>> "exp" in out.getvalue()
        True
    """
    outputs = trees.flatten(args)[0]
    if not outputs:
        raise ValueError("[export_to_dot] no arrays; those that the graph computes would be right")
    named = [(name, x) for name, x in kwargs.items() if isinstance(x, array)]
    steps, ends = walk(outputs + [x for _, x in named], [], False)
    labels = {end: name for (name, _), end in zip(named, ends[len(outputs) :])}
    ends = ends[: len(outputs)]
    text = io.StringIO()
    text.write("digraph {\n")
    count = 0
    for k, step in enumerate(steps):
        if k not in labels and (step.name is None or k in ends):
            labels[k] = _name(count)
            count += 1
        _draw(text, k, step, labels)
    for end in dict.fromkeys(ends):
        text.write(f"{{ rank=sink; value{end}; }}\n")
    text.write("}\n")
    _write(file, text.getvalue())


def _draw(text, k, step, labels):
    """One step: an operation with its edges, and the value it gives where that has a name."""
    kind = f"{step.dtype.rstrip('_')} {list(step.shape)}"
    if step.name is None:
        text.write(
            f"{{ rank=source; value{k} [label={_quoted(labels[k])}, tooltip={_quoted(kind)}]; }}\n"
        )
    else:
        text.write(f"node{k} [label={_quoted(step.name)}, shape=box, tooltip={_quoted(kind)}];\n")
        if k in labels:
            text.write(
                f"value{k} [label={_quoted(labels[k])}, tooltip={_quoted(kind)}];\nnode{k} -> "
                f"value{k};\n"
            )
    for operand in step.operands:
        source = "value" if operand in labels else "node"
        text.write(f"{source}{operand} -> node{k};\n")


def _write(file, text):
    if isinstance(file, (str, os.PathLike)):
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(text)
    elif hasattr(file, "write"):
        file.write(text)
    else:
        raise TypeError(
            f"[export_to_dot] {type(file).__name__} is no file; a path or an open text file "
            "would be right"
        )
