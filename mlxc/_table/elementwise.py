"""Elementwise primitives: one value out of one value of each operand.

Derivatives. `partials` gives one factor an operand: the tangent is the sum of factor times tangent,
the cotangent of an operand is its factor's conjugate times the cotangent (for real numbers the
conjugate is the number). A factor of None is zero. Rows whose rule is no such product, or a cheaper
one, give `vjp` and `jvp`; tangents of None are zero there. Factors are finite wherever the
mathematics is, so masked branches are made harmless before they are computed.
"""

import math

from .rows import Elementwise as E
from .rows import register

LOG_2, LOG_10, ROOT_PI = math.log(2.0), math.log(10.0), math.sqrt(math.pi)


def _floats(expr, integers="", boolean=""):
    """One formula for float32, float64 and complex64, and perhaps others for integers and bool."""
    return _real(expr, integers, boolean) | {"complex": expr}


def _real(expr, integers="", boolean=""):
    """One formula for float32 and float64, and perhaps others for integers and bool."""
    rest = {"int": integers, "bool": boolean}
    return {"float": expr} | {group: formula for group, formula in rest.items() if formula}


def _sum(mx, terms):
    """The sum of those tangents that are not zero."""
    terms = [term for term in terms if term is not None]
    return None if not terms else terms[0] if len(terms) == 1 else mx.add(*terms)


def _abs_jvp(mx, tangents, out, x):
    (t,) = tangents
    return None if t is None else mx.real(mx.multiply(t, mx.conjugate(mx.sign(x))))


def _imag_vjp(mx, ct, out, x):
    if mx.issubdtype(x.dtype, mx.complexfloating):
        return (mx.multiply(ct, mx.array(1j, dtype=x.dtype)),)
    return (mx.zeros_like(x),)


def _through(function):
    """The jvp of a real-linear function: the function of the tangent."""
    return lambda mx, tangents, out, x: (
        None if tangents[0] is None else getattr(mx, function)(tangents[0])
    )


def _subtract_jvp(mx, tangents, out, x, y):
    tx, ty = tangents
    return _sum(mx, (tx, None if ty is None else mx.negative(ty)))


def _remainder_jvp(mx, tangents, out, x, y):
    tx, ty = tangents
    if ty is not None:
        ty = mx.negative(mx.multiply(ty, mx.floor_divide(x, y)))
    return _sum(mx, (tx, ty))


def _select_jvp(mx, tangents, out, c, x, y):
    _, tx, ty = tangents
    if tx is None and ty is None:
        return None
    return mx.where(
        c, mx.zeros_like(ty) if tx is None else tx, mx.zeros_like(tx) if ty is None else ty
    )


def _power_base(mx, out, x, y):
    """y * x**(y - 1), and 0 where y is 0: x**-1 may be infinite there."""
    one = mx.ones_like(y)
    return mx.multiply(y, mx.power(x, mx.subtract(mx.where(mx.equal(y, 0), one, y), one)))


def _power_exponent(mx, out, x, y):
    """x**y * log(x), and 0 where x is 0."""
    zero = mx.equal(x, 0)
    log = mx.log(mx.where(zero, mx.ones_like(x), x))
    return mx.where(zero, mx.zeros_like(out), mx.multiply(out, log))


def _arctan2_factors(mx, y, x):
    """(u, v, m (u**2 + v**2)) with (y, x) = m (u, v): squares of y and x could overflow."""
    m = mx.stop_gradient(mx.maximum(mx.abs(y), mx.abs(x)))
    m = mx.where(mx.equal(m, 0), mx.ones_like(m), m)
    u, v = mx.divide(y, m), mx.divide(x, m)
    r = mx.add(mx.square(u), mx.square(v))
    return u, v, mx.multiply(m, mx.where(mx.equal(r, 0), mx.ones_like(r), r))


def _arctan2_first(mx, out, x, y):
    _, v, scale = _arctan2_factors(mx, x, y)
    return mx.divide(v, scale)


def _arctan2_second(mx, out, x, y):
    u, _, scale = _arctan2_factors(mx, x, y)
    return mx.negative(mx.divide(u, scale))


def _share(mx, out, x):
    """exp(x - out), the share of x in logaddexp; 0 where out is -inf, with x."""
    return mx.exp(mx.subtract(x, mx.where(mx.equal(out, -math.inf), mx.zeros_like(out), out)))


ZERO = (None,)
ZERO2 = (None, None)

REAL_LINE = [
    E(
        "negative",
        "Elementwise negation.",
        expr={"any": "-x", "bool": None},
        refuses=("bool_",),
        vjp=lambda mx, ct, out, x: (mx.negative(ct),),
        jvp=_through("negative"),
        reference="negative",
    ),
    E(
        "abs",
        "Elementwise absolute value; float32 for complex64.",
        out="real",
        method=True,
        reference="abs",
        expr={"any": "abs(x)", "signed": "-x if x < 0 else x", "unsigned": "x", "bool": "x"},
        vjp=lambda mx, ct, out, x: (mx.multiply(ct, mx.sign(x)),),
        jvp=_abs_jvp,
    ),
    E(
        "sign",
        "Elementwise sign: -1, 0 or 1; NaN of NaN; x / |x| of complex numbers.",
        partials=ZERO,
        reference="sign",
        expr={
            "float": "1 if x > 0 else (-1 if x < 0 else (0 if x == 0 else x))",
            "complex": "sign(x)",
            "signed": "1 if x > 0 else (-1 if x < 0 else 0)",
            "unsigned": "1 if x > 0 else 0",
            "bool": "x",
        },
    ),
    E(
        "square",
        "Elementwise square.",
        expr={"any": "x * x", "bool": "x", "complex": "square(x)"},
        method=True,
        partials=(lambda mx, out, x: mx.multiply(x, 2),),
        reference="square",
    ),
    E(
        "floor",
        "Elementwise floor.",
        expr=_real("floor(x)", "x", "x"),
        partials=ZERO,
        reference="floor",
        steps=True,
    ),
    E(
        "ceil",
        "Elementwise ceiling.",
        expr=_real("ceil(x)", "x", "x"),
        partials=ZERO,
        reference="ceil",
        steps=True,
    ),
    E(
        "trunc",
        "Elementwise rounding towards zero.",
        expr=_real("trunc(x)", "x", "x"),
        partials=ZERO,
        reference="trunc",
        steps=True,
    ),
    E(
        "rint",
        "Elementwise rounding to the nearest integer, half to even.",
        public=False,
        partials=ZERO,
        expr=_floats("rint(x)", "x", "x"),
        reference="rint",
        steps=True,
    ),
    E(
        "stop_gradient",
        "The operand, as a constant to every derivative.",
        expr="x",
        partials=ZERO,
        reference=lambda x: x,
    ),
]


def _function(name, doc, factor, real=False, **more):
    """A row of one floating-point operand, named and computed as in NumPy.

    `factor` is the derivative; `real` says that complex numbers are refused.
    """
    fixed = {"refuses": ("complex64",)} if real else {}
    expr = _real(f"{name}(x)") if real else _floats(f"{name}(x)")
    row = {"expr": expr, "inputs": "float", "partials": (factor,), "reference": name}
    return E(name, doc, **(row | fixed | more))


def _cofactor(mx, x):
    """(1 - x)(1 + x): 1 - x**2 without cancellation near 1."""
    return mx.multiply(mx.subtract(1, x), mx.add(1, x))


def _arccosh_factor(mx, out, x):
    # Two roots, not the root of the product: that would be another branch for complex numbers.
    return mx.multiply(mx.rsqrt(mx.subtract(x, 1)), mx.rsqrt(mx.add(x, 1)))


ROOTS_AND_EXPONENTIALS = [
    _function("sqrt", "Elementwise square root.", lambda mx, out, x: mx.divide(0.5, out),
              method=True, domain=(0.01, 9.0)),
    _function("rsqrt", "Elementwise reciprocal of the square root.",
              lambda mx, out, x: mx.divide(mx.multiply(out, -0.5), x),
              method=True, domain=(0.1, 9.0), reference=lambda x: 1 / x**0.5),
    _function("reciprocal", "Elementwise reciprocal.",
              lambda mx, out, x: mx.negative(mx.square(out)),
              method=True, domain=(0.2, 3.0), expr={"float": "1 / x", "complex": "reciprocal(x)"},
              reference=lambda x: 1 / x),
    _function("exp", "Elementwise exponential.", lambda mx, out, x: out, method=True),
    _function("expm1", "Elementwise exp(x) - 1, accurate near 0.", lambda mx, out, x: mx.exp(x),
              real=True),
    _function("log", "Elementwise natural logarithm.", lambda mx, out, x: mx.reciprocal(x),
              method=True, domain=(0.1, 9.0)),
    _function("log2", "Elementwise logarithm to base 2.",
              lambda mx, out, x: mx.divide(1 / LOG_2, x), method=True, domain=(0.1, 9.0)),
    _function("log10", "Elementwise logarithm to base 10.",
              lambda mx, out, x: mx.divide(1 / LOG_10, x), method=True, domain=(0.1, 9.0)),
    _function("log1p", "Elementwise log(1 + x), accurate near 0.",
              lambda mx, out, x: mx.reciprocal(mx.add(x, 1)), method=True, domain=(-0.9, 9.0)),
    _function("sigmoid", "Elementwise logistic function 1 / (1 + exp(-x)).",
              lambda mx, out, x: mx.multiply(out, mx.subtract(1, out)), real=True,
              reference=lambda x: 1 / (1 + math.e**-x)),
    _function("erf", "Elementwise error function.",
              lambda mx, out, x: mx.multiply(mx.exp(mx.negative(mx.square(x))), 2 / ROOT_PI),
              real=True, reference=lambda x: _on_floats(math.erf, x)),
    _function("erfinv", "Elementwise inverse of the error function.",
              lambda mx, out, x: mx.multiply(mx.exp(mx.square(out)), ROOT_PI / 2), real=True,
              domain=(-0.9, 0.9), reference=lambda x: _on_floats(_erfinv, x)),
    _function("degrees", "Elementwise conversion of radians to degrees.",
              lambda mx, out, x: 180 / math.pi,
              expr={"float": "x * 57.29577951308232", "complex": "degrees(x)"},
              reference=lambda x: x * (180 / math.pi)),
    _function("radians", "Elementwise conversion of degrees to radians.",
              lambda mx, out, x: math.pi / 180,
              expr={"float": "x * 0.017453292519943295", "complex": "radians(x)"},
              reference=lambda x: x * (math.pi / 180)),
]  # fmt: skip

CIRCULAR_AND_HYPERBOLIC = [
    _function("sin", "Elementwise sine.", lambda mx, out, x: mx.cos(x), method=True),
    _function("cos", "Elementwise cosine.", lambda mx, out, x: mx.negative(mx.sin(x)), method=True),
    _function("tan", "Elementwise tangent.", lambda mx, out, x: mx.add(mx.square(out), 1),
              domain=(-1.3, 1.3)),
    _function("arcsin", "Elementwise inverse sine.", lambda mx, out, x: mx.rsqrt(_cofactor(mx, x)),
              aliases=("asin",), domain=(-0.95, 0.95)),
    _function("arccos", "Elementwise inverse cosine.",
              lambda mx, out, x: mx.negative(mx.rsqrt(_cofactor(mx, x))),
              aliases=("acos",), domain=(-0.95, 0.95)),
    _function("arctan", "Elementwise inverse tangent.",
              lambda mx, out, x: mx.reciprocal(mx.add(mx.square(x), 1)), aliases=("atan",)),
    _function("sinh", "Elementwise hyperbolic sine.", lambda mx, out, x: mx.cosh(x)),
    _function("cosh", "Elementwise hyperbolic cosine.", lambda mx, out, x: mx.sinh(x)),
    _function("tanh", "Elementwise hyperbolic tangent.",
              lambda mx, out, x: mx.subtract(1, mx.square(out))),
    _function("arcsinh", "Elementwise inverse hyperbolic sine.",
              lambda mx, out, x: mx.rsqrt(mx.add(mx.square(x), 1)), aliases=("asinh",)),
    _function("arccosh", "Elementwise inverse hyperbolic cosine.", _arccosh_factor,
              aliases=("acosh",), domain=(1.1, 9.0)),
    _function("arctanh", "Elementwise inverse hyperbolic tangent.",
              lambda mx, out, x: mx.reciprocal(_cofactor(mx, x)), aliases=("atanh",),
              domain=(-0.9, 0.9)),
]  # fmt: skip

COMPLEX_PARTS = [
    E(
        "conjugate",
        "Elementwise complex conjugate; real numbers stay as they are.",
        aliases=("conj",),
        expr={"any": "x", "complex": "conjugate(x)"},
        reference="conjugate",
        vjp=lambda mx, ct, out, x: (mx.conjugate(ct),),
        jvp=_through("conjugate"),
    ),
    E(
        "real",
        "Elementwise real part; real numbers stay as they are.",
        out="real",
        expr={"any": "x", "complex": "real(x)"},
        vjp=lambda mx, ct, out, x: (mx.astype(ct, x.dtype),),
        jvp=_through("real"),
        reference="real",
    ),
    E(
        "imag",
        "Elementwise imaginary part, 0 for real numbers.",
        out="real",
        expr={"any": "0", "complex": "imag(x)"},
        vjp=_imag_vjp,
        jvp=_through("imag"),
        reference="imag",
    ),
]

PREDICATES = [
    E(
        "isnan",
        "Whether an element is NaN, in either part if complex.",
        out="bool",
        partials=ZERO,
        reference="isnan",
        expr={"any": "0", "float": "x != x", "complex": "isnan(x)"},
    ),
    E(
        "isinf",
        "Whether an element is infinite, in either part if complex.",
        out="bool",
        partials=ZERO,
        expr={"any": "0", "float": "abs(x) == inf", "complex": "isinf(x)"},
        reference="isinf",
    ),
    E(
        "isposinf",
        "Whether an element is positive infinity (the real part, if complex).",
        out="bool",
        partials=ZERO,
        expr={"any": "0", "float": "x == inf", "complex": "isposinf(x)"},
        reference=lambda x: x.real == math.inf,
    ),
    E(
        "isneginf",
        "Whether an element is negative infinity (the real part, if complex).",
        out="bool",
        partials=ZERO,
        expr={"any": "0", "float": "x == -inf", "complex": "isneginf(x)"},
        reference=lambda x: x.real == -math.inf,
    ),
    E(
        "isfinite",
        "Whether an element is neither infinite nor NaN.",
        out="bool",
        partials=ZERO,
        reference="isfinite",
        expr={"any": "1", "float": "abs(x) < inf", "complex": "isfinite(x)"},
    ),
    E(
        "logical_not",
        "Whether an element is zero.",
        out="bool",
        inputs="bool",
        expr={"bool": "x == 0"},
        partials=ZERO,
        reference="logical_not",
    ),
]

ARITHMETIC = [
    E(
        "add",
        "Elementwise sum; logical or of bools.",
        args="x y",
        expr={"any": "x + y", "bool": "x | y"},
        commutative=True,
        vjp=lambda mx, ct, out, x, y: (ct, ct),
        jvp=lambda mx, ts, out, x, y: _sum(mx, ts),
        reference="add",
    ),
    E(
        "subtract",
        "Elementwise difference; exclusive or of bools.",
        args="x y",
        expr={"any": "x - y", "bool": "x ^ y"},
        vjp=lambda mx, ct, out, x, y: (ct, mx.negative(ct)),
        jvp=_subtract_jvp,
        reference="subtract",
    ),
    E(
        "multiply",
        "Elementwise product; logical and of bools.",
        args="x y",
        expr={"any": "x * y", "bool": "x & y"},
        commutative=True,
        partials=(lambda mx, out, x, y: y, lambda mx, out, x, y: x),
        reference="multiply",
    ),
    E(
        "divide",
        "Elementwise quotient in floating point.",
        args="x y",
        expr=_floats("x / y"),
        inputs="float",
        domain=((-3.0, 3.0), (0.2, 3.0)),
        reference="divide",
        partials=(
            lambda mx, out, x, y: mx.reciprocal(y),
            lambda mx, out, x, y: mx.negative(mx.divide(out, y)),
        ),
    ),
    E(
        "floor_divide",
        "Elementwise quotient rounded down; an integer over zero is 0.",
        args="x y",
        partials=ZERO2,
        expr=_real("floor(x / y)", "floor_divide(x, y)", "x & y"),
        domain=((-3.0, 3.0), (0.2, 3.0)),
        reference="floor_divide",
        steps=True,
        refuses=("complex64",),
    ),
    E(
        "remainder",
        "Elementwise remainder of floor_divide, of the divisor's sign; 0 of integers over zero.",
        args="x y",
        expr=_real("remainder(x, y)", "remainder(x, y)", "0"),
        domain=((-3.0, 3.0), (0.2, 3.0)),
        vjp=lambda mx, ct, out, x, y: (ct, mx.negative(mx.multiply(ct, mx.floor_divide(x, y)))),
        jvp=_remainder_jvp,
        reference="remainder",
        steps=True,
        refuses=("complex64",),
    ),
    E(
        "power",
        "Elementwise power; negative powers of integers are truncated to integers.",
        args="x y",
        expr={"any": "power(x, y)", "bool": "x | (y == 0)"},
        aliases=("pow",),
        domain=((0.2, 3.0), (-2.0, 2.0)),
        partials=(_power_base, _power_exponent),
        reference="power",
    ),
    E(
        "arctan2",
        "Elementwise angle of the point (y, x), the first operand being y.",
        args="x y",
        inputs="float",
        expr=_real("arctan2(x, y)"),
        aliases=("atan2",),
        partials=(_arctan2_first, _arctan2_second),
        reference="arctan2",
        refuses=("complex64",),
    ),
    E(
        "logaddexp",
        "Elementwise log(exp(x) + exp(y)), without overflow.",
        args="x y",
        expr=_floats("logaddexp(x, y)"),
        inputs="float",
        commutative=True,
        reference="logaddexp",
        partials=(
            lambda mx, out, x, y: _share(mx, out, x),
            lambda mx, out, x, y: _share(mx, out, y),
        ),
    ),
    E(
        "maximum",
        "Elementwise larger operand; NaN if either is NaN.",
        args="x y",
        commutative=True,
        reference="maximum",
        expr={
            "int": "x if x > y else y",
            "bool": "x | y",
            "float": "x if (x > y) | (x != x) else y",
            "complex": "maximum(x, y)",
        },
        partials=(
            # x > y where the result is: what gave x need not be kept for the gradient.
            lambda mx, out, x, y: mx.greater(out, y),
            lambda mx, out, x, y: mx.logical_not(mx.greater(out, y)),
        ),
    ),
    E(
        "minimum",
        "Elementwise smaller operand; NaN if either is NaN.",
        args="x y",
        commutative=True,
        reference="minimum",
        expr={
            "int": "x if x < y else y",
            "bool": "x & y",
            "float": "x if (x < y) | (x != x) else y",
            "complex": "minimum(x, y)",
        },
        partials=(
            lambda mx, out, x, y: mx.less(out, y),
            lambda mx, out, x, y: mx.logical_not(mx.less(out, y)),
        ),
    ),
]


def _comparison(name, doc, symbol, **more):
    return E(
        name,
        doc,
        args="x y",
        expr=f"x {symbol} y",
        out="bool",
        partials=ZERO2,
        reference=name,
        **more,
    )


COMPARISONS = [
    _comparison("equal", "Whether operands are equal.", "==", commutative=True),
    _comparison("not_equal", "Whether operands differ.", "!=", commutative=True),
    _comparison("less", "Whether the first operand is less.", "<"),
    _comparison("less_equal", "Whether the first operand is less or equal.", "<="),
    _comparison("greater", "Whether the first operand is greater.", ">"),
    _comparison("greater_equal", "Whether the first operand is greater or equal.", ">="),
    E(
        "equal_nan",
        "Whether operands are equal or both NaN.",
        args="x y",
        out="bool",
        public=False,
        commutative=True,
        expr={
            "any": "x == y",
            "float": "(x == y) | ((x != x) & (y != y))",
            "complex": "(x == y) | (isnan(x) & isnan(y))",
        },
        partials=ZERO2,
        reference=lambda x, y: (x == y) | ((x != x) & (y != y)),
    ),
]

LOGIC_AND_BITS = [
    E(
        "logical_and",
        "Whether both operands are non-zero.",
        args="x y",
        expr={"bool": "x & y"},
        inputs="bool",
        out="bool",
        commutative=True,
        partials=ZERO2,
        reference="logical_and",
    ),
    E(
        "logical_or",
        "Whether either operand is non-zero.",
        args="x y",
        expr={"bool": "x | y"},
        inputs="bool",
        out="bool",
        commutative=True,
        partials=ZERO2,
        reference="logical_or",
    ),
    E(
        "logical_xor",
        "Whether exactly one operand is non-zero.",
        args="x y",
        expr={"bool": "x ^ y"},
        inputs="bool",
        out="bool",
        commutative=True,
        partials=ZERO2,
        reference="logical_xor",
    ),
    E(
        "bitwise_invert",
        "Elementwise complement of the bits; logical not of bools.",
        inputs="int",
        partials=ZERO,
        expr={"int": "~x", "bool": "x == 0"},
        reference="invert",
    ),
    E(
        "bitwise_and",
        "Elementwise and of the bits.",
        args="x y",
        expr={"int": "x & y", "bool": "x & y"},
        inputs="int",
        commutative=True,
        partials=ZERO2,
        reference="bitwise_and",
    ),
    E(
        "bitwise_or",
        "Elementwise or of the bits.",
        args="x y",
        expr={"int": "x | y", "bool": "x | y"},
        inputs="int",
        commutative=True,
        partials=ZERO2,
        reference="bitwise_or",
    ),
    E(
        "bitwise_xor",
        "Elementwise exclusive or of the bits.",
        args="x y",
        inputs="int",
        commutative=True,
        expr={"int": "x ^ y", "bool": "x ^ y"},
        partials=ZERO2,
        reference="bitwise_xor",
    ),
    E(
        "left_shift",
        "Elementwise shift of the bits to the left; a count outside the width gives 0.",
        args="x y",
        expr={"int": "left_shift(x, y)"},
        inputs="int",
        aliases=("bitwise_left_shift",),
        partials=ZERO2,
        domain=((0, 9), (0, 6)),
        reference="left_shift",
    ),
    E(
        "right_shift",
        "Elementwise shift of the bits to the right; a count outside the width leaves the sign.",
        args="x y",
        expr={"int": "right_shift(x, y)"},
        inputs="int",
        aliases=("bitwise_right_shift",),
        partials=ZERO2,
        domain=((0, 99), (0, 6)),
        reference="right_shift",
    ),
    E(
        "select",
        "x where c is true, y elsewhere.",
        args="c x y",
        expr="x if c else y",
        public=False,
        vjp=lambda mx, ct, out, c, x, y: (
            None,
            mx.where(c, ct, mx.zeros_like(ct)),
            mx.where(c, mx.zeros_like(ct), ct),
        ),
        jvp=_select_jvp,
        reference="where",
    ),
]


def _on_floats(function, x):
    """A function of one number, over a NumPy array of any shape, without importing NumPy."""
    flat = [function(float(v)) for v in x.ravel()]
    result = x.astype("float64").ravel()
    result[:] = flat
    return result.reshape(x.shape)


def _erfinv(p):
    """Newton's iteration, for the reference: slow and sure for |p| < 0.999."""
    y = 0.0
    for _ in range(60):
        y -= (math.erf(y) - p) / (2 / ROOT_PI * math.exp(-y * y))
    return y


ROWS = register(
    "elementwise",
    [
        *REAL_LINE,
        *ROOTS_AND_EXPONENTIALS,
        *CIRCULAR_AND_HYPERBOLIC,
        *COMPLEX_PARTS,
        *PREDICATES,
        *ARITHMETIC,
        *COMPARISONS,
        *LOGIC_AND_BITS,
    ],
)
