"""Fused programs of every kind, as the scheduler makes them: for what looks at printed kernels.

Rules: two axes; what is read and written is row-major but where a case says otherwise.
"""

from types import SimpleNamespace

from mlxc._backends.metal import programs
from mlxc._table import load_rows
from mlxc._table.dtypes import CODE, DTYPES

ROW = {row.name: row.code for row in load_rows()}


def program(kind, shape, values, outputs, row_axes=0, reduced=()):
    """A stand-in for mlxc._graph.program.Program, which is compiled."""
    return SimpleNamespace(
        kind=kind, space=shape, values=values, outputs=outputs, row_axes=row_axes, reduced=reduced
    )


def cases(rows, columns, dtype="float32"):
    """(name, program, its inputs as text, the result's shape, bytes moved, PyTorch's text).

    Inputs and PyTorch's text are of `x`, an array of that shape; bytes count in arrays of x's size.
    """
    code = CODE[dtype]
    item = DTYPES[code].size
    shape, dense = (rows, columns), (item * columns, item)

    def load(slot, strides):
        return ("load", code, slot, 0, strides)

    def op(name, *operands):
        return ("op", ROW[name], code, operands)

    def reduction(name, operand):
        return ("reduce", ROW[name], code, operand)

    def pointwise(*values, kind="map", row_axes=0):
        slot = sum(value[0] == "load" for value in values)
        outputs = [(len(values) - 1, code, slot, dense)]
        return program(kind, shape, list(values), outputs, row_axes)

    x, y = load(0, dense), load(1, dense)
    yield "add", pointwise(x, y, op("add", 0, 1)), "[x, x]", shape, 3, "x + x"
    made = pointwise(x, load(1, (item, item * rows)), op("add", 0, 1))
    turned = "[x, x.reshape(x.shape[::-1]).T]"
    yield "add transposed", made, turned, shape, 3, "x + x.reshape(x.shape[::-1]).T"
    made = pointwise(x, load(1, (0, item)), op("add", 0, 1))
    yield "add a row", made, "[x, x[0]]", shape, 2, "x + x[0]"
    yield "exp", pointwise(x, op("exp", 0)), "[x]", shape, 2, "t.exp(x)"
    made = pointwise(
        x, reduction("max", 0), op("subtract", 0, 1), op("exp", 2), reduction("sum", 3),
        op("divide", 3, 4), kind="rows", row_axes=1,
    )  # fmt: skip
    yield "softmax of rows", made, "[x]", shape, 2, "t.softmax(x, 1)"
    made = pointwise(
        x, op("square", 0), reduction("sum", 1), op("rsqrt", 2), op("multiply", 0, 3),
        kind="rows", row_axes=1,
    )  # fmt: skip
    yield "norm of rows", made, "[x]", shape, 2, "t.nn.functional.rms_norm(x, x.shape[1:])"
    for name, reduced, kept, strides, text in (
        ("rows", (1,), (rows,), (item, 0), "x.sum(1)"),
        ("columns", (0,), (columns,), (0, item), "x.sum(0)"),
        ("all", (0, 1), (1,), (0, 0), "x.sum()"),
    ):
        outputs = [(1, code, 1, strides)]
        made = program("reduce", shape, [x, reduction("sum", 0)], outputs, reduced=reduced)
        yield f"sum of {name}", made, "[x]", kept, 1, text


def texts():
    """(name, source) of each kernel that is printed for short and for long axes."""
    for rows, columns in ((64, 100), (40, 3000), (2, 300_000)):
        for name, made, *_ in cases(rows, columns):
            for k, dispatch in enumerate(programs.dispatches(made)):
                if dispatch.source:
                    yield f"{name} {rows}x{columns} {k}", dispatch.source
