"""The language of ``einsum``: subscripts to labels, and the order in which operands are contracted.

Works on labels and sizes alone and knows no arrays. An axis that ``...`` stands for gets a number
as its label, counted from the right (0 is the last), so that operands with different numbers of
them broadcast as NumPy's do.
"""

from math import prod
from typing import NamedTuple


class Equation(NamedTuple):
    """A parsed equation: the labels of each operand and of the output, and the size of each
    label."""

    operands: list[tuple]
    output: tuple
    sizes: dict


def parse(subscripts, shapes):
    """The equation that ``subscripts`` says for operands of these shapes; ValueError says what is
    wrong with it."""
    if not isinstance(subscripts, str):
        raise TypeError(
            f"[einsum] the subscripts are {type(subscripts).__name__}; a string such as "
            "'ij,jk->ik' is needed."
        )
    text = "".join(subscripts.split())
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(
            f"[einsum] {subscripts!r} names {len(terms)} operands and {len(shapes)} were given; "
            "they must be as many."
        )
    for term in [*terms, right]:
        for letter in term.replace("...", "", 1):
            if not (letter.isascii() and letter.isalpha()):
                raise ValueError(
                    f"[einsum] {letter!r} in {subscripts!r} is no subscript; letters and one "
                    "'...' are."
                )
    operands = [_labels(term, len(shape), subscripts) for term, shape in zip(terms, shapes)]
    sizes = _sizes(operands, shapes)
    hidden = tuple(sorted((x for x in sizes if isinstance(x, int)), reverse=True))
    if arrow:
        output = _output(right, hidden, sizes, subscripts)
    else:
        once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        output = (*hidden, *once)
    return Equation(operands, output, sizes)


def _labels(term, ndim, subscripts):
    before, dots, after = term.partition("...")
    spare = ndim - len(before) - len(after)
    if spare < 0 or (spare and not dots):
        raise ValueError(
            f"[einsum] {term!r} in {subscripts!r} names {len(before) + len(after)} axes of an "
            f"operand with {ndim}."
        )
    return (*before, *range(spare - 1, -1, -1), *after)


def _output(right, hidden, sizes, subscripts):
    before, dots, after = right.partition("...")
    letters = before + after
    if len(set(letters)) != len(letters):
        raise ValueError(
            f"[einsum] {right!r} in {subscripts!r} repeats a subscript; an output axis is named "
            "once."
        )
    for letter in letters:
        if letter not in sizes:
            raise ValueError(
                f"[einsum] output subscript {letter!r} in {subscripts!r} is in no operand."
            )
    return (*before, *(hidden if dots else ()), *after)


def _sizes(operands, shapes):
    """The size of each label; a size of 1 gives way to any other."""
    sizes = {}
    for number, (labels, shape) in enumerate(zip(operands, shapes)):
        here = {}
        for label, size in zip(labels, shape):
            if here.setdefault(label, size) != size:
                raise ValueError(
                    f"[einsum] repeated subscript {label!r} stands for sizes {here[label]} and "
                    f"{size} in operand "
                    f"{number} of shape {tuple(shape)}; a diagonal needs equal sizes."
                )
            known = sizes.get(label, 1)
            if known != size and 1 not in (known, size):
                raise ValueError(
                    f"[einsum] operand {number} of shape {tuple(shape)} has size {size} where "
                    f"others have {known}; "
                    f"one subscript stands for one size (or 1)."
                )
            sizes[label] = size if known == 1 else known
    return sizes


def kept(one, other, rest, output):
    """The labels, in order, that a contraction of two operands must keep for the rest and the
    output."""
    wanted = set(output).union(*rest)
    return tuple(dict.fromkeys(label for label in (*one, *other) if label in wanted))


def cost(labels, terms, contracts, sizes):
    """Multiplications and additions of one contraction, as NumPy counts them."""
    return prod(sizes[label] for label in labels) * (max(1, terms - 1) + contracts)


def contraction_path(equation):
    """Pairs of positions to contract: at each step what shrinks the data most, then what costs
    least.

    A contracted pair leaves the list and the result joins its end. Returns the path, and for each
    step its number of labels and its cost.
    """
    terms = [tuple(dict.fromkeys(labels)) for labels in equation.operands]
    sizes, output = equation.sizes, equation.output
    if len(terms) <= 2:
        labels = set().union(*terms)
        contracts = bool(labels - set(output))
        return [tuple(range(len(terms)))], [
            (len(labels), cost(labels, len(terms), contracts, sizes))
        ]
    path, steps = [], []
    while len(terms) > 1:
        choices = []
        for i in range(len(terms)):
            for j in range(i + 1, len(terms)):
                rest = [t for k, t in enumerate(terms) if k not in (i, j)]
                out = kept(terms[i], terms[j], rest, output)
                union = set(terms[i]) | set(terms[j])
                spent = cost(union, 2, bool(union - set(out)), sizes)
                volumes = [prod(sizes[label] for label in t) for t in (terms[i], terms[j], out)]
                apart = not set(terms[i]) & set(terms[j])  # outer products come last
                choices.append(
                    (apart, volumes[2] - volumes[0] - volumes[1], spent, i, j, out, len(union))
                )
        *_, spent, i, j, out, labels = min(choices, key=lambda c: c[:5])
        path.append((i, j))
        steps.append((labels, spent))
        terms = [t for k, t in enumerate(terms) if k not in (i, j)] + [out]
    return path, steps


def describe(subscripts, equation, steps):
    """The table that ``einsum_path`` returns beside the path."""
    everything = set(equation.sizes)
    terms = len(equation.operands)
    contracts = bool(everything - set(equation.output))
    naive = cost(everything, terms, contracts, equation.sizes)
    text = "".join(subscripts.split())
    if "->" not in text:
        text += "->" + "".join(c for c in equation.output if isinstance(c, str))
    return (
        f"  Complete contraction:  {text}\n"
        f"         Naive scaling:  {len(everything)}\n"
        f"     Optimized scaling:  {max(labels for labels, _ in steps)}\n"
        f"      Naive FLOP count:  {naive}\n"
        f"  Optimized FLOP count:  {sum(spent for _, spent in steps)}\n"
    )
