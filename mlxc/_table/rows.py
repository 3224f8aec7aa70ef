"""The kinds of rows. A row says what a primitive is; loops, functions, transforms, tests and docs
follow from it.

Rules are handed the public namespace (``mx``), so that the table imports nothing. Every row states
every rule or says ``NO_GRADIENT`` with the reason; ``check`` fails at import, not in a user's
backward pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NoGradient:
    """Says aloud that a primitive has no derivative, and why."""

    reason: str


def NO_GRADIENT(reason: str) -> NoGradient:
    """A rule that is known to be absent; the reason is shown to whoever asks for the derivative."""
    return NoGradient(reason)


@dataclass
class Row:
    """What all kinds share."""

    name: str  # the primitive: unique, also the kernel's first word
    doc: str = ""  # one sentence
    family: str = field(default="", init=False)  # the file the row stands in
    code: int = field(default=-1, init=False)  # position in ROWS: the number compiled code uses
    kind = "abstract"


@dataclass
class Elementwise(Row):
    """One value out of one value of each operand. ``expr`` is the single definition of what it
    computes.

    ``expr`` is an expression in a Python subset (arithmetic, comparisons, ``a if c else b``, calls
    of the functions of ``_kernels``' mathematics) over the operands' names. Where kinds of numbers
    need different formulas it is a mapping from compute type or group ("float" f32 f64, "int" i32
    u32 i64 u64, "signed", "unsigned", "complex", "bool", "any") to expression; the most specific
    wins; a compute type without a formula is not supported.
    """

    args: str = "x"  # names of the operands, separated by blanks
    expr: Any = ""
    # what operands are converted to: "any" promoted, "float", "bool", "int" (others refused)
    inputs: str = "any"
    out: str = "same"  # "same" as the operands, "bool", "real" (float32 for complex operands)
    partials: Any = (
        None  # one function (mx, out, *operands) -> factor an operand, or None; or NO_GRADIENT(...)
    )
    jvp: Any = (
        None  # (mx, tangents, out, *operands) where a factor does not say it (non-holomorphic, say)
    )
    vjp: Any = (
        None  # (mx, ct, out, *operands) -> a cotangent an operand; for rules that are not factors
    )
    reference: Any = None  # NumPy's name, or a function of NumPy arrays
    domain: Any = (-3.0, 3.0)  # where tests sample: one pair, or a pair an operand
    aliases: Sequence[str] = ()  # more public names
    public: bool = True  # whether ``mx.<name>`` exists
    method: bool = False  # whether ``array.<name>()`` exists
    commutative: bool = False
    steps: bool = False  # whether the value jumps where an operand crosses an integer
    refuses: Sequence[str] = ()  # dtype names for which the operation has no meaning
    types: Sequence[str] = ()  # filled by the registry: compute types with a formula
    kind = "elementwise"

    @property
    def arity(self) -> int:
        return len(self.args.split())

    @property
    def jumps(self) -> bool:
        """Whether digits of an operand that are not stored could be seen in the value."""
        return self.steps or self.out == "bool"

    def formula(self, compute: str) -> str | None:
        """The expression for one compute type, or None."""
        if isinstance(self.expr, str):
            return self.expr
        groups = {
            "b8": ("b8", "bool", "any"),
            "i32": ("i32", "signed", "int", "any"),
            "i64": ("i64", "signed", "int", "any"),
            "u32": ("u32", "unsigned", "int", "any"),
            "u64": ("u64", "unsigned", "int", "any"),
            "f32": ("f32", "float", "any"),
            "f64": ("f64", "float", "any"),
            "c64": ("c64", "complex", "any"),
        }
        for group in groups[compute]:
            if group in self.expr:
                return self.expr[group]
        return None


@dataclass
class Reduction(Row):
    """Many values to one along axes: parameters ``axes`` (sorted, non-negative) and ``keepdims``.

    ``combine`` names the elementwise row that joins two partial results. ``accumulate`` maps the
    compute type of the operand to the compute type that partial results are kept in.
    """

    combine: str = ""
    accumulate: Mapping[str, str] = field(default_factory=dict)  # absent: the operand's own type
    inputs: str = "any"
    out: str = "same"  # "same", "bool", "wide" (bool and narrow integers to 32 bits)
    identity: Any = 0  # value of an empty reduction; None: an empty reduction is an error
    vjp: Any = None  # (mx, ct, out, x, *, axes, keepdims) -> (cotangent,)
    jvp: Any = None  # (mx, (tangent,), out, x, *, axes, keepdims) -> tangent
    reference: Any = None
    aliases: Sequence[str] = ()
    method: bool = True
    refuses: Sequence[str] = ()
    params = ("axes", "keepdims")
    kind = "reduction"


@dataclass
class Movement(Row):
    """The same values in another arrangement, by strides alone; linear, so the vjp is the
    transpose.

    The layout rule itself is compiled (``_graph/movement.pyx``), one function a name.
    """

    params: Sequence[str] = ()
    shape: Callable | None = None  # (shape, **params) -> shape, for tests and documentation
    transpose: Any = None  # (mx, ct, x, **params) -> cotangent
    vmap: Any = None  # (mx, x, **params) -> out, x batched along axis 0
    linear: bool = True  # False: constant to every derivative
    kind = "movement"


@dataclass
class Kernel(Row):
    """Everything that does not fuse: a kernel of its own, with all rules said.

    ``infer`` is handed lists of shapes and dtype names and gives a list of (shape, dtype name), one
    an output; it is also where bad input is refused. ``vmap`` is handed which operands are batched
    (along axis 0) and gives the outputs, batched along axis 0; ``None`` there means that examples
    are computed one by one.
    """

    params: Sequence[str] = ()
    outputs: int | Callable = 1  # how many, or a function of the parameters
    infer: Any = None  # (shapes, dtypes, **params) -> [(shape, dtype), ...]
    vjp: Any = None  # (mx, cts, outs, *operands, **params) -> cotangent (or None) an operand
    # (mx, tangents, outs, *operands, **params) -> tangents an output; None among tangents: zero
    jvp: Any = None
    linear: bool = False  # outputs linear in every operand taken alone: then jvp follows by itself
    vmap: Any = None  # (mx, batched, *operands, **params) -> outputs
    # whether vjp takes None as the cotangent of an output that nobody differentiates (else: zeros)
    partial_cotangents: bool = False
    # whether the kernel wants row-major operands (the planner copies others): all, or one by one
    contiguous: bool | Sequence[bool] = False
    # whether the kernel may find its only output over its first operand; it must not fail then
    overwrites: bool = False
    # whether the processor's kernel leaves its last output out if nobody holds it: that comes
    # without elements
    skips_last: bool = False
    samples: Any = None  # (mx, rng) -> [(operands, params), ...] for the free tests
    no_kernel: str = ""  # why there is no Metal kernel, if there is none
    kind = "kernel"


ROWS: list[Row] = []
BY_NAME: dict[str, Row] = {}


def register(family: str, rows: Sequence[Row]) -> Sequence[Row]:
    """Enter one family's rows into the table, checking that each is whole."""
    for row in rows:
        check(row)
        row.family = family
        row.code = len(ROWS)
        if row.name in BY_NAME:
            raise ValueError(f"[table] two rows are named {row.name!r}")
        ROWS.append(row)
        BY_NAME[row.name] = row
    return rows


def check(row: Row) -> None:
    """Refuse a row in which a rule is neither given nor said to be absent."""
    if not row.doc:
        raise ValueError(f"[table] {row.name}: a row has a one-sentence doc")
    if isinstance(row, Elementwise):
        from .dtypes import COMPUTE_TYPES

        row.types = tuple(t for t in COMPUTE_TYPES if row.formula(t) is not None)
        if row.partials is None and row.vjp is None:
            raise ValueError(
                f"[table] {row.name}: give partials, vjp and jvp, or NO_GRADIENT(reason)"
            )
        if isinstance(row.partials, tuple) and len(row.partials) != row.arity:
            raise ValueError(f"[table] {row.name}: one partial an operand")
        if row.vjp is not None and row.jvp is None and not isinstance(row.vjp, NoGradient):
            raise ValueError(f"[table] {row.name}: a vjp wants a jvp beside it")
    elif isinstance(row, Reduction):
        if row.vjp is None or (row.jvp is None and not isinstance(row.vjp, NoGradient)):
            raise ValueError(f"[table] {row.name}: vjp and jvp, or NO_GRADIENT(reason)")
    elif isinstance(row, Movement):
        if row.transpose is None or row.vmap is None:
            raise ValueError(f"[table] {row.name}: transpose and vmap rules")
    elif isinstance(row, Kernel):
        if row.infer is None or row.vjp is None:
            raise ValueError(f"[table] {row.name}: infer and vjp (or NO_GRADIENT(reason))")
        if row.jvp is None and not row.linear and not isinstance(row.vjp, NoGradient):
            raise ValueError(f"[table] {row.name}: a jvp, linear=True, or NO_GRADIENT(reason)")
