"""Macro kernels: frequent groups of elementwise rows that one loop computes in a single pass
over float32 tiles.

They are no primitives: the scheduler replaces a group that matches a pattern by the kernel, and the
tests prove each kernel equal to its pattern. Operands whose names are in VECTORS are vectors; those
in SCALARS are values read once.
"""

from dataclasses import dataclass

VECTORS, SCALARS = "xyz", "stuv"


@dataclass(frozen=True)
class Macro:
    """One kernel, `name_f32_layout`, with a layout letter an operand in the order of `args`.

    Macros of one kernel name have one expression; they differ in the pattern that leads to it.
    """

    name: str
    # nested calls of rows on operands; commutative rows match either order, squares either spelling
    pattern: str
    expr: str  # what the kernel computes, in the language of Elementwise.expr
    args: str

    @property
    def layout(self) -> str:
        return "".join("v" if arg in VECTORS else "s" for arg in self.args.split())

    @property
    def kernel(self) -> str:
        return f"{self.name}_f32_{self.layout}"


# Larger patterns stand before those they contain: the first match wins.
MACROS = (
    # Optimizers: the steps of Adam with decay and without; the average of squares, and their sum.
    Macro(
        "adam_step_decayed",
        "subtract(multiply(x, u), divide(multiply(y, s), add(sqrt(z), t)))",
        "x * u - (y * s) / (sqrt(z) + t)",
        "x u y s z t",
    ),
    Macro(
        "adam_step",
        "subtract(x, divide(multiply(y, s), add(sqrt(z), t)))",
        "x - (y * s) / (sqrt(z) + t)",
        "x y s z t",
    ),
    Macro(
        "average_square",
        "add(multiply(x, s), multiply(square(y), t))",
        "x * s + y * y * t",
        "x s y t",
    ),
    Macro(
        "average_square",
        "add(multiply(x, s), multiply(multiply(y, t), y))",
        "x * s + y * y * t",
        "x s y t",
    ),
    Macro(
        "gelu_tanh",
        "multiply(multiply(x, s),"
        " add(tanh(multiply(add(x, multiply(multiply(multiply(x, x), x), v)), u)), t))",
        "x * s * (tanh((x * x * x * v + x) * u) + t)",
        "x s t u v",
    ),
    Macro(
        "gelu_tanh",
        "multiply(multiply(x, s),"
        " add(tanh(multiply(add(x, multiply(multiply(multiply(x, v), x), x)), u)), t))",
        "x * s * (tanh((x * x * x * v + x) * u) + t)",
        "x s t u v",
    ),
    Macro("add_square", "add(x, square(y))", "x + y * y", "x y"),
    Macro("divide_sqrt", "divide(x, add(sqrt(y), s))", "x / (sqrt(y) + s)", "x y s"),
    # Normalisations: scale and shift, with the mean s and the reciprocal deviation t of a row.
    Macro(
        "normalize_apply",
        "add(multiply(multiply(subtract(x, s), t), y), z)",
        "(x - s) * t * y + z",
        "x s t y z",
    ),
    Macro("normalize", "multiply(subtract(x, s), t)", "(x - s) * t", "x s t"),
    # Activations. gelu by tanh is: power, scale_add_scale, gate_tanh.
    Macro(
        "gelu_erf",
        "divide(multiply(x, add(erf(divide(x, s)), t)), u)",
        "x * (erf(x / s) + t) / u",
        "x s t u",
    ),
    Macro(
        "gate_tanh", "multiply(multiply(x, s), add(tanh(y), t))", "x * s * (tanh(y) + t)", "x s y t"
    ),
    Macro("scale_multiply", "multiply(multiply(x, s), y)", "x * s * y", "x s y"),
    Macro(
        "cubic",
        "multiply(add(multiply(multiply(multiply(x, x), x), s), x), t)",
        "(x * x * x * s + x) * t",
        "x s t",
    ),
    Macro("scale_add_scale", "multiply(add(multiply(x, s), y), t)", "(x * s + y) * t", "x s y t"),
    Macro("silu", "multiply(x, sigmoid(x))", "x * sigmoid(x)", "x"),
    Macro("divide_exp", "divide(x, add(exp(negative(y)), s))", "x / (exp(-y) + s)", "x y s"),
    Macro("divide_exp", "divide(s, add(exp(negative(y)), t))", "s / (exp(-y) + t)", "y s t"),
    Macro("gate_sigmoid", "multiply(x, sigmoid(y))", "x * sigmoid(y)", "x y"),
    # Their derivatives.
    Macro("tanh_backward", "multiply(x, subtract(s, square(y)))", "x * (s - y * y)", "x s y"),
    Macro(
        "sigmoid_backward", "multiply(x, multiply(y, subtract(s, y)))", "x * (y * (s - y))", "x y s"
    ),
    Macro("relu_backward", "multiply(x, cast(greater(y, s)))", "x if y > s else 0 * x", "x y s"),
    Macro("multiply_subtract", "multiply(x, subtract(y, s))", "x * (y - s)", "x y s"),
    # Softmax, and squared distances.
    Macro("exp_subtract", "exp(subtract(x, s))", "exp(x - s)", "x s"),
    Macro("square_subtract", "square(subtract(x, s))", "(x - s) * (x - s)", "x s"),
    Macro("square_subtract", "square(subtract(x, y))", "(x - y) * (x - y)", "x y"),
    # Products and sums.
    Macro("multiply_add", "add(multiply(x, s), multiply(y, t))", "x * s + y * t", "x s y t"),
    Macro("multiply_add", "add(multiply(x, s), t)", "x * s + t", "x s t"),
    Macro("multiply_add", "add(multiply(x, y), z)", "x * y + z", "x y z"),
    Macro("multiply_add", "add(multiply(x, s), y)", "x * s + y", "x s y"),
    Macro("subtract_multiply", "subtract(x, multiply(y, s))", "x - y * s", "x y s"),
)
