"""Matrix products and what is built from them: inner, outer and tensor products, einsum, Kronecker
products.

Rules: a vector becomes a matrix here and its axis is taken away again here; leading axes broadcast
by strides of 0; a stack of matrices times one matrix is one tall product. ``matmul`` and ``addmm``
refuse integers as MLX does; the functions above them also take integers, which are multiplied
exactly modulo a power of two.
"""

from math import prod

import mlxc.core as mx
from mlxc._graph import Routine, bind

from . import _einsum
from ._arguments import as_array, normalize_axis
from ._products import quick_addmm, quick_matmul

__all__ = [
    "addmm",
    "block_masked_mm",
    "einsum",
    "einsum_path",
    "gather_mm",
    "inner",
    "kron",
    "matmul",
    "outer",
    "segmented_mm",
    "tensordot",
    "vecdot",
]


def _promote(op, arrays, kind):
    """All arrays in their common dtype, which must be of a kind ("inexact", or "floating":
    real)."""
    dtype = arrays[0].dtype
    for x in arrays[1:]:
        if x.dtype != dtype:
            dtype = mx.result_type(dtype, x.dtype)
    if not mx.issubdtype(dtype, mx.inexact if kind == "inexact" else mx.floating):
        given = ", ".join(str(x.dtype) for x in arrays)
        wanted = "floating or complex" if kind == "inexact" else "real floating"
        raise ValueError(
            f"[{op}] was given {given}; their common type must be {wanted}: convert with astype "
            "first."
        )
    return [x if x.dtype == dtype else x.astype(dtype) for x in arrays]


def _check_inner(op, a, b):
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"[{op}] was given shapes {a.shape} and {b.shape}; each needs at least one axis."
        )
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"[{op}] inner sizes differ: {a.shape} @ {b.shape}; the last axis of the first must "
            "equal the "
            f"second-to-last of the second."
        )


def _common_shape(op, *shapes):
    """The shape that all broadcast to."""
    out = []
    for axis in range(-max(map(len, shapes)), 0):
        sizes = {s[axis] for s in shapes if len(s) >= -axis} - {1}
        if len(sizes) > 1:
            raise ValueError(
                f"[{op}] shapes {', '.join(map(str, shapes))} do not broadcast to a common one."
            )
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def _broadcast(x, shape):
    return x if tuple(x.shape) == tuple(shape) else mx.broadcast_to(x, shape)


def _stacks(op, a, b):
    """Both operands with the leading axes they share."""
    if a.ndim == b.ndim and a.shape[:-2] == b.shape[:-2]:
        return a, b
    lead = _common_shape(op, a.shape[:-2], b.shape[:-2])
    return _broadcast(a, (*lead, *a.shape[-2:])), _broadcast(b, (*lead, *b.shape[-2:]))


def _product(op, a, b):
    """a @ b in one dtype that has products, with NumPy's rules for shapes."""
    if a.ndim == 2 and b.ndim == 2 and a.shape[1] == b.shape[0]:
        return bind("matmul", (a, b), ())
    _check_inner(op, a, b)
    a2 = mx.expand_dims(a, 0) if a.ndim == 1 else a
    b2 = mx.expand_dims(b, 1) if b.ndim == 1 else b
    if a2.ndim > 2 and b2.ndim == 2:
        tall = mx.reshape(a2, (prod(a2.shape[:-1]), a2.shape[-1]))
        out = mx.reshape(bind("matmul", (tall, b2), ()), (*a2.shape[:-1], b2.shape[-1]))
    else:
        out = bind("matmul", _stacks(op, a2, b2), ())
    if b.ndim == 1:
        out = mx.squeeze(out, -1)
    return mx.squeeze(out, -1 if b.ndim == 1 else -2) if a.ndim == 1 else out


def _any_product(op, a, b):
    """The same for any dtypes: integers and bool are multiplied in at least 32 bits."""
    dtype = mx.result_type(a.dtype, b.dtype)
    wide = dtype
    if not mx.issubdtype(dtype, mx.inexact) and dtype.size < 4:
        wide = mx.int32
    a, b = (x if x.dtype == wide else x.astype(wide) for x in (a, b))
    out = _product(op, a, b)
    return out if wide == dtype or dtype == mx.bool_ else out.astype(dtype)


def matmul(a, b, /, *, stream=None):
    """Matrix product; leading axes broadcast, and a vector counts as one row (first) or one column
    (second).

    Args:
        a (array): (..., m, k) or (k,), floating or complex (or integer beside such a type).
        b (array): (..., k, n) or (k,).

    Returns:
        array: (..., m, n) in the promoted dtype, without the axes that a vector did not have.

    Raises:
        ValueError: no axes; inner sizes that differ; leading axes that do not broadcast; integers
        alone.

    >>> import mlxc.core as mx
    >>> mx.matmul(mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([1.0, 1.0])).tolist()
    [3.0, 7.0]
    """
    quick = quick_matmul(a, b)
    if quick is not None:
        return quick
    a, b = as_array(a), as_array(b)
    return _product("matmul", *_promote("matmul", (a, b), "inexact"))


def addmm(c, a, b, /, alpha=1.0, beta=1.0, *, stream=None):
    """``alpha * (a @ b) + beta * c`` in one pass over the result.

    Args:
        c (array): what broadcasts to the product's shape.
        a (array): (..., m, k) or (k,), floating or complex.
        b (array): (..., k, n) or (k,).
        alpha (float): weight of the product.
        beta (float): weight of c; c is not read where it is 0.

    Returns:
        array: of the product's shape, in the promoted dtype.

    Raises:
        ValueError: shapes that do not fit; integers only.

    >>> import mlxc.core as mx
    >>> mx.addmm(mx.array([1.0, 2.0]), mx.eye(2), mx.eye(2), alpha=3.0).tolist()
    [[4.0, 2.0], [1.0, 5.0]]
    """
    quick = quick_addmm(c, a, b, alpha, beta)
    if quick is not None:
        return quick
    c, a, b = as_array(c), as_array(a), as_array(b)
    if mx.complex64 in (c.dtype, a.dtype, b.dtype):
        product = matmul(a, b)
        return alpha * product + beta * _broadcast(c, product.shape)
    c, a, b = _promote("addmm", (c, a, b), "floating")
    _check_inner("addmm", a, b)
    a2 = mx.expand_dims(a, 0) if a.ndim == 1 else a
    b2 = mx.expand_dims(b, 1) if b.ndim == 1 else b
    a2, b2 = _stacks("addmm", a2, b2)
    shape = (*a2.shape[:-2], *a.shape[-2:-1], *b.shape[-1:][: b.ndim - 1])
    if _common_shape("addmm", c.shape, shape) != shape:
        raise ValueError(
            f"[addmm] c of shape {c.shape} does not broadcast to the product's shape {shape}."
        )
    c = _broadcast(c, shape)
    if b.ndim == 1:
        c = mx.expand_dims(c, -1)
    if a.ndim == 1:
        c = mx.expand_dims(c, -2)
    out = bind("addmm", (c, a2, b2), (float(alpha), float(beta)))
    return out if out.shape == shape else mx.reshape(out, shape)


def inner(a, b, /, *, stream=None):
    """Sum of products over the last axes; a scalar operand multiplies.

    Args:
        a (array): (..., k), or a scalar.
        b (array): (..., k), or a scalar.

    Returns:
        array: the other axes of a, then those of b.

    Raises:
        ValueError: last axes that differ.

    >>> import mlxc.core as mx
    >>> mx.inner(mx.array([1.0, 2.0]), mx.array([3.0, 4.0])).item()
    11.0
    """
    return _inner((as_array(a), as_array(b)))


@Routine
def _inner(a, b):
    if a.ndim == 0 or b.ndim == 0:
        return mx.multiply(a, b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"[inner] last axes differ: {a.shape} and {b.shape}; they must have the same size."
        )
    return tensordot(a, b, axes=[[-1], [-1]])


def outer(a, b, /, *, stream=None):
    """Every element of a times every element of b.

    Args:
        a (array): any shape, taken as a vector.
        b (array): any shape, taken as a vector.

    Returns:
        array: (a.size, b.size).

    >>> import mlxc.core as mx
    >>> mx.outer(mx.array([1, 2]), mx.array([3, 4])).tolist()
    [[3, 4], [6, 8]]
    """
    a, b = as_array(a), as_array(b)
    return mx.multiply(mx.reshape(a, (a.size, 1)), mx.reshape(b, (1, b.size)))


def _contracted(op, a, b, axes):
    """Which axes of a meet which of b, all non-negative."""
    if isinstance(axes, int):
        if axes < 0:
            raise ValueError(f"[{op}] axes is {axes}; a number of axes is not negative.")
        if axes > min(a.ndim, b.ndim):
            raise ValueError(f"[{op}] axes is {axes}, more than {a.shape} or {b.shape} has.")
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    try:
        left, right = (list(x) for x in axes)
    except TypeError:
        raise TypeError(
            f"[{op}] axes is {axes!r}; an int or two sequences of ints are needed."
        ) from None
    if len(left) != len(right):
        raise ValueError(
            f"[{op}] {len(left)} axes of a meet {len(right)} of b; they must be as many."
        )
    left = [normalize_axis(op, axis, a.ndim) for axis in left]
    right = [normalize_axis(op, axis, b.ndim) for axis in right]
    if len(set(left)) != len(left) or len(set(right)) != len(right):
        raise ValueError(f"[{op}] axes {axes} repeat; each axis is contracted once.")
    return left, right


def tensordot(a, b, /, axes=2, *, stream=None):
    """Sum of products over chosen axes.

    Args:
        a (array): any shape.
        b (array): any shape.
        axes (int or two sequences of ints): how many last axes of a meet first axes of b, or which
            meet which.

    Returns:
        array: the other axes of a, then those of b.

    Raises:
        ValueError: sizes that differ, axes that repeat or do not exist.

    >>> import mlxc.core as mx
    >>> mx.tensordot(mx.ones((2, 3)), mx.ones((3, 4)), axes=1).tolist()
    [[3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0]]
    """
    return _tensordot((as_array(a), as_array(b)), axes)


@Routine
def _tensordot(a, b, axes):
    left, right = _contracted("tensordot", a, b, axes)
    sizes = [a.shape[axis] for axis in left]
    if sizes != [b.shape[axis] for axis in right]:
        raise ValueError(
            f"[tensordot] axes {left} of {a.shape} and {right} of {b.shape} differ in size."
        )
    rows = [axis for axis in range(a.ndim) if axis not in left]
    columns = [axis for axis in range(b.ndim) if axis not in right]
    shape = [a.shape[axis] for axis in rows] + [b.shape[axis] for axis in columns]
    k = prod(sizes)
    a = mx.reshape(mx.transpose(a, rows + left), (prod(shape[: len(rows)]), k))
    b = mx.reshape(mx.transpose(b, right + columns), (k, prod(shape[len(rows) :])))
    return mx.reshape(_any_product("tensordot", a, b), shape)


def _diagonal(x, labels):
    """The operand with each label once: repeated ones walk the diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = mx.diagonal(x, 0, first, second)  # the diagonal becomes the last axis
            labels = tuple(c for k, c in enumerate(labels) if k not in (first, second)) + (label,)
    return x, labels


def _arrange(x, labels, order):
    """Axes by label in a given order; labels that are missing become axes of size 1."""
    present = [label for label in order if label in labels]
    places = [labels.index(label) for label in present]
    if places != list(range(len(places))):
        x = mx.transpose(x, places)
    missing = tuple(k for k, label in enumerate(order) if label not in labels)
    return mx.expand_dims(x, missing) if missing else x


def _contract(x, xl, y, yl, out, sizes):
    """Two operands to one with the labels ``out``; what is not in ``out`` is summed."""
    for_x = tuple(label for label in xl if label not in out and label not in yl)
    for_y = tuple(label for label in yl if label not in out and label not in xl)
    if for_x:
        x, xl = mx.sum(x, [xl.index(c) for c in for_x]), tuple(c for c in xl if c not in for_x)
    if for_y:
        y, yl = mx.sum(y, [yl.index(c) for c in for_y]), tuple(c for c in yl if c not in for_y)
    inside = tuple(label for label in xl if label not in out)
    if not inside:
        return mx.multiply(_arrange(x, xl, out), _arrange(y, yl, out)), out
    batch = tuple(label for label in xl if label in out and label in yl)
    rows = tuple(label for label in xl if label not in yl)
    columns = tuple(label for label in yl if label not in xl)
    lead, m, n, k = ([sizes[c] for c in group] for group in (batch, rows, columns, inside))
    x = mx.reshape(_arrange(x, xl, batch + rows + inside), (*lead, prod(m), prod(k)))
    y = mx.reshape(_arrange(y, yl, batch + inside + columns), (*lead, prod(k), prod(n)))
    return mx.reshape(_any_product("einsum", x, y), (*lead, *m, *n)), batch + rows + columns


def einsum(subscripts, *operands, stream=None):
    """Einstein summation: axes that share a letter are multiplied, letters that the output lacks
    are summed.

    Args:
        subscripts (str): such as ``"ij,jk->ik"``; ``...`` stands for axes that broadcast; without
            ``->`` the output
            has the letters that occur once, sorted.
        *operands (array): as many as there are terms.

    Returns:
        array: with one axis for each output letter, in the promoted dtype.

    Raises:
        ValueError: subscripts that cannot be read, or that do not fit the operands.

    >>> import mlxc.core as mx
    >>> mx.einsum("ii->i", mx.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [1.0, 4.0]
    """
    return _contracted_as(tuple([as_array(x) for x in operands]), subscripts)


@Routine
def _contracted_as(*operands):
    """einsum of arrays, the subscripts last."""
    *arrays, subscripts = operands
    equation = _einsum.parse(subscripts, [tuple(x.shape) for x in arrays])
    sizes, output = equation.sizes, equation.output
    terms = []
    for x, labels in zip(arrays, equation.operands):
        x, labels = _diagonal(x, labels)
        terms.append((_broadcast(x, tuple(sizes[label] for label in labels)), labels))
    path, _ = _einsum.contraction_path(equation)
    if len(terms) == 1:
        x, labels = terms[0]
        gone = [k for k, label in enumerate(labels) if label not in output]
        if gone:
            x = mx.sum(x, gone)
        return _arrange(x, tuple(label for label in labels if label in output), output)
    for i, j in path:
        (x, xl), (y, yl) = terms[i], terms[j]
        terms = [t for k, t in enumerate(terms) if k not in (i, j)]
        out = _einsum.kept(xl, yl, [labels for _, labels in terms], output)
        terms.append(_contract(x, xl, y, yl, out, sizes))
    x, labels = terms[0]
    return _arrange(x, labels, output)


def einsum_path(subscripts, *operands):
    """The order in which ``einsum`` contracts its operands.

    Args:
        subscripts (str): as for ``einsum``.
        *operands (array): of which only the shapes are looked at.

    Returns:
        tuple(list(tuple(int, int)), str): pairs of positions, each result joining the end of the
        list, and a table
        of costs.

    Raises:
        ValueError: as ``einsum``.

    >>> import mlxc.core as mx
    >>> mx.einsum_path("ij,jk,kl->il", mx.ones((20, 30)), mx.ones((30, 2)), mx.ones((2, 20)))[0]
    [(0, 1), (0, 1)]
    """
    equation = _einsum.parse(subscripts, [tuple(as_array(x).shape) for x in operands])
    path, steps = _einsum.contraction_path(equation)
    return path, _einsum.describe(subscripts, equation, steps)


def kron(a, b, *, stream=None):
    """Kronecker product: each element of a replaced by itself times b.

    Args:
        a (array): any shape; the shorter shape gets axes of size 1 in front.
        b (array): any shape.

    Returns:
        array: each size is the product of the sizes of a and b.

    >>> import mlxc.core as mx
    >>> mx.kron(mx.array([1, 2]), mx.array([1, 1])).tolist()
    [1, 1, 2, 2]
    """
    a, b = as_array(a), as_array(b)
    ndim = max(a.ndim, b.ndim)
    left = (1,) * (ndim - a.ndim) + tuple(a.shape)
    right = (1,) * (ndim - b.ndim) + tuple(b.shape)
    a = mx.reshape(a, [size for x in left for size in (x, 1)])
    b = mx.reshape(b, [size for y in right for size in (1, y)])
    return mx.reshape(mx.multiply(a, b), [x * y for x, y in zip(left, right)])


def vecdot(a, b, /, axis=-1, *, stream=None):
    """Dot products of vectors along an axis, the first conjugated if complex; other axes broadcast.

    Args:
        a (array): at least one axis.
        b (array): at least one axis.
        axis (int): where the vectors lie, in each array's own counting.

    Returns:
        array: the broadcast shape without the axis, in the promoted dtype (at least int32).

    Raises:
        ValueError: no axes, or vectors of different length.

    >>> import mlxc.core as mx
    >>> mx.vecdot(mx.array([[1, 2], [3, 4]]), mx.array([[5, 6], [7, 8]])).tolist()
    [17, 53]
    """
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"[vecdot] was given shapes {a.shape} and {b.shape}; each needs at least one axis."
        )
    a = mx.moveaxis(a, normalize_axis("vecdot", axis, a.ndim), -1)
    b = mx.moveaxis(b, normalize_axis("vecdot", axis, b.ndim), -1)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"[vecdot] vectors have {a.shape[-1]} and {b.shape[-1]} elements; they must have as "
            "many."
        )
    if a.dtype == mx.complex64:
        a = mx.conj(a)
    return mx.sum(mx.multiply(a, b), -1)


def _masked(x, mask, block):
    """Each block of x kept or dropped by a bool mask, or multiplied by a number."""
    if mask is None:
        return x
    mask = as_array(mask)
    grid = tuple((size + block - 1) // block for size in x.shape[-2:])
    shape = _common_shape("block_masked_mm", mask.shape, (*x.shape[:-2], *grid))
    if shape[-2:] != grid:
        raise ValueError(
            f"[block_masked_mm] a mask of shape {mask.shape} does not fit a grid of {grid} blocks."
        )
    mask = mx.expand_dims(_broadcast(mask, shape), (-1, -3))
    mask = mx.broadcast_to(mask, (*shape[:-2], grid[0], block, grid[1], block))
    mask = mx.reshape(mask, (*shape[:-2], grid[0] * block, grid[1] * block))
    mask = mask[..., : x.shape[-2], : x.shape[-1]]
    if mask.dtype == mx.bool_:
        return mx.where(mask, x, mx.zeros((), x.dtype))
    return mx.multiply(x, mask.astype(x.dtype))


def block_masked_mm(
    a, b, /, block_size=64, mask_out=None, mask_lhs=None, mask_rhs=None, *, stream=None
):
    """Matrix product of which square blocks of the operands or of the result are masked.

    Args:
        a (array): (..., m, k), real floating.
        b (array): (..., k, n).
        block_size (int): rows and columns of a block.
        mask_out (array): (..., ceil(m / block_size), ceil(n / block_size)); bool keeps or drops,
            numbers multiply.
        mask_lhs (array): the same for a.
        mask_rhs (array): the same for b.

    Returns:
        array: (..., m, n).

    Raises:
        ValueError: shapes that do not fit, or a dtype that is not floating.

    >>> import mlxc.core as mx
    >>> mask = mx.array([[True, False], [False, True]])
    >>> mx.block_masked_mm(mx.ones((2, 2)), mx.ones((2, 2)), 1, mask).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    a, b = _promote("block_masked_mm", (as_array(a), as_array(b)), "inexact")
    if block_size < 1:
        raise ValueError(
            f"[block_masked_mm] block_size is {block_size}; blocks have at least one row."
        )
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(
            f"[block_masked_mm] was given shapes {a.shape} and {b.shape}; both must be matrices."
        )
    product = _product(
        "block_masked_mm", _masked(a, mask_lhs, block_size), _masked(b, mask_rhs, block_size)
    )
    return _masked(product, mask_out, block_size)


def _index(op, given, stack):
    """Flat indices into a stack of matrices as int64; by default each matrix once, in the stack's
    shape."""
    if given is None:
        lead = tuple(stack.shape[:-2])
        return mx.reshape(mx.arange(prod(lead), dtype=mx.int64), lead)
    given = as_array(given)
    if not mx.issubdtype(given.dtype, mx.integer):
        raise ValueError(f"[{op}] indices are {given.dtype}; integers are needed.")
    return given.astype(mx.int64)


def gather_mm(a, b, /, lhs_indices=None, rhs_indices=None, *, sorted_indices=False, stream=None):
    """Products of matrices picked by index; nothing is copied to pick them.

    Args:
        a (array): (..., m, k), real floating.
        b (array): (..., k, n).
        lhs_indices (array): which matrices of a, counted over its leading axes row by row; all, if
            None.
        rhs_indices (array): which of b; broadcast against lhs_indices.
        sorted_indices (bool): accepted for MLX's sake; the result does not depend on it.

    Returns:
        array: (*indices.shape, m, n).

    Raises:
        ValueError: shapes or dtypes that do not fit. IndexError: an index out of bounds, when
        evaluated.

    >>> import mlxc.core as mx
    >>> b = mx.array([[[1.0]], [[2.0]], [[3.0]]])
    >>> mx.gather_mm(mx.ones((1, 1)), b, None, mx.array([2, 0])).tolist()
    [[[3.0]], [[1.0]]]
    """
    a, b = _promote("gather_mm", (as_array(a), as_array(b)), "floating")
    _check_inner("gather_mm", a, b)
    a2 = mx.expand_dims(a, 0) if a.ndim == 1 else a
    b2 = mx.expand_dims(b, 1) if b.ndim == 1 else b
    if lhs_indices is None and rhs_indices is None:
        return _product("gather_mm", a, b)
    left, right = _index("gather_mm", lhs_indices, a2), _index("gather_mm", rhs_indices, b2)
    shape = _common_shape("gather_mm", tuple(left.shape), tuple(right.shape))
    a2 = mx.reshape(a2, (prod(a2.shape[:-2]), *a2.shape[-2:]))
    b2 = mx.reshape(b2, (prod(b2.shape[:-2]), *b2.shape[-2:]))
    out = bind("gather_mm", (a2, b2, _broadcast(left, shape), _broadcast(right, shape)), ())
    if b.ndim == 1:
        out = mx.squeeze(out, -1)
    return mx.squeeze(out, -1 if b.ndim == 1 else -2) if a.ndim == 1 else out


def segmented_mm(a, b, /, segments, *, stream=None):
    """One product for each segment of the inner axis.

    Args:
        a (array): (m, k), real floating.
        b (array): (k, n).
        segments (array): (..., 2) integers, from and to along k; to <= from is an empty segment.

    Returns:
        array: (..., m, n).

    Raises:
        ValueError: shapes or dtypes that do not fit. IndexError: a segment out of bounds, when
        evaluated.

    >>> import mlxc.core as mx
    >>> mx.segmented_mm(mx.ones((1, 4)), mx.ones((4, 1)), mx.array([[0, 1], [1, 4]])).tolist()
    [[[1.0]], [[3.0]]]
    """
    a, b = _promote("segmented_mm", (as_array(a), as_array(b)), "floating")
    segments = as_array(segments)
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(
            f"[segmented_mm] was given shapes {a.shape} and {b.shape}; both must have two axes."
        )
    if segments.ndim == 0 or segments.shape[-1] != 2:
        raise ValueError(
            f"[segmented_mm] segments have shape {segments.shape}; (..., 2) is needed."
        )
    _check_inner("segmented_mm", a, b)
    return bind("segmented_mm", (a, b, _index("segmented_mm", segments, a)), ())
