"""Rows that read and write elements by index, and those that put blocks into an array.

Rules they keep: indices are integers, negative ones count from the end, and the launcher refuses
what is out of range. Several index arrays of one shape name one element each along ``axes``
(ascending). The result of ``gather`` has the first ``lead`` of the other axes, then the indices'
axes, then the rest; ``scatter`` takes updates of that shape. ``mode`` says how an update meets what
is there: "none" (the last one stays), "add", "prod", "max", "min".

Derivatives of writing come from two factors, d(out) = fx * dx + write(fu * du): see ``_factors``.
"""

from .dtypes import DTYPES, promote
from .rows import Kernel, register

MODES = ("none", "add", "prod", "max", "min")
_INTEGERS = frozenset(fact.name for fact in DTYPES if fact.kind in "iu")


def _check_indices(op, dtypes):
    for dtype in dtypes:
        if dtype not in _INTEGERS:
            raise IndexError(
                f"[{op}] indices of dtype {dtype.rstrip('_')}; integers would be right"
            )


def _check_write(op, mode, x, update):
    if mode not in MODES:
        raise ValueError(f"[{op}] mode {mode!r}; one of {', '.join(MODES)} would be right")
    if x != update:
        raise ValueError(
            f"[{op}] updates of dtype {update} for an array of {x}; they must be the same"
        )
    if x == "complex64" and mode in ("max", "min"):
        raise ValueError(f"[{op}] complex numbers have no order; mode {mode!r} needs real ones")


def _selected_shape(op, shape, indices, axes, lead):
    """The shape of what the indices name."""
    if len(axes) == len(indices) == 1 and 0 <= axes[0] == lead < len(shape) and shape[lead]:
        return (
            *shape[:lead],
            *indices[0],
            *shape[lead + 1 :],
        )  # the commonest, without the detours
    if not indices or len(indices) != len(axes):
        raise ValueError(
            f"[{op}] {len(indices)} index arrays for {len(axes)} axes; one an axis would be right"
        )
    if any(index != indices[0] for index in indices):
        raise ValueError(f"[{op}] index arrays of shapes {indices}; they must be equal")
    if list(axes) != sorted(set(axes)) or axes[0] < 0 or axes[-1] >= len(shape):
        raise ValueError(f"[{op}] axes {axes} for shape {shape}; they must ascend and exist")
    if 0 not in indices[0]:
        for axis in axes:
            if shape[axis] == 0:
                raise IndexError(f"[{op}] axis {axis} has size 0; there is nothing to index")
    others = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    if not 0 <= lead <= len(others):
        raise ValueError(f"[{op}] {lead} leading axes of {len(others)}")
    return others[:lead] + tuple(indices[0]) + others[lead:]


# ---- gather and scatter ----


def _gather_infer(shapes, dtypes, *, axes, lead):
    _check_indices("take", dtypes[1:])
    return [(_selected_shape("take", shapes[0], shapes[1:], axes, lead), dtypes[0])]


def _gather(mx, x, indices, axes, lead):
    return mx._bind("gather", (x, *indices), (axes, lead))


def _scatter(mx, x, updates, indices, axes, lead, mode):
    return mx._bind("scatter", (x, updates, *indices), (axes, lead, mode))


def _gather_vjp(mx, cts, outs, x, *indices, axes, lead):
    zeros = mx.zeros(x.shape, cts[0].dtype)
    return (_scatter(mx, zeros, cts[0], indices, axes, lead, "add"), *[None for _ in indices])


def _gather_jvp(mx, tangents, outs, x, *indices, axes, lead):
    return (None if tangents[0] is None else _gather(mx, tangents[0], indices, axes, lead),)


def _stretch(mx, size, batched, operand):
    """The operand with a batch axis in front."""
    return operand if batched else mx.broadcast_to(operand, (size, *operand.shape))


def _batch_indices(mx, size, batched, indices):
    """All index arrays with a batch axis, and before them one that names the batch."""
    indices = [_stretch(mx, size, b, index) for b, index in zip(batched, indices)]
    shape = indices[0].shape
    rows = mx.reshape(mx.arange(size, dtype=mx.int64), (size,) + (1,) * (len(shape) - 1))
    return [mx.broadcast_to(rows, shape), *indices]


def _gather_vmap(mx, batched, x, *indices, axes, lead):
    inner = tuple(axis + 1 for axis in axes)
    if not any(batched[1:]):
        return (_gather(mx, x, indices, inner, lead + 1),)
    size = next(op.shape[0] for b, op in zip(batched, (x, *indices)) if b)
    if batched[0]:
        indices = _batch_indices(mx, size, batched[1:], indices)
        out = _gather(mx, x, indices, (0, *inner), lead)
    else:
        indices = [_stretch(mx, size, b, index) for b, index in zip(batched[1:], indices)]
        out = _gather(mx, x, indices, axes, lead)
    return (mx.moveaxis(out, lead, 0),)


def _scatter_infer(shapes, dtypes, *, axes, lead, mode):
    _check_indices("scatter", dtypes[2:])
    _check_write("scatter", mode, dtypes[0], dtypes[1])
    expected = _selected_shape("scatter", shapes[0], shapes[2:], axes, lead)
    if tuple(shapes[1]) != expected:
        raise ValueError(
            f"[scatter] updates of shape {tuple(shapes[1])}; {expected} would be right"
        )
    return [(shapes[0], dtypes[0])]


def _scatter_vmap(mx, batched, x, updates, *indices, axes, lead, mode):
    size = next(op.shape[0] for b, op in zip(batched, (x, updates, *indices)) if b)
    x = _stretch(mx, size, batched[0], x)
    updates = _stretch(mx, size, batched[1], updates)
    inner = tuple(axis + 1 for axis in axes)
    if not any(batched[2:]):
        return (_scatter(mx, x, updates, indices, inner, lead + 1, mode),)
    indices = _batch_indices(mx, size, batched[2:], indices)
    updates = mx.moveaxis(updates, 0, lead)
    return (_scatter(mx, x, updates, indices, (0, *inner), lead, mode),)


# ---- derivatives of writing ----


def _winners(mx, x, updates, read, write):
    """Which updates are still there after all are written: those whose number is."""
    numbers = mx.reshape(mx.arange(updates.size, dtype=mx.int64), updates.shape)
    return read(write(mx.zeros(x.shape, mx.int64), numbers, "none")) == numbers


def _extreme_factors(mx, out, x, updates, read, write):
    """Whatever equals the extreme shares its derivative equally."""
    kept, chosen = (x == out).astype(x.dtype), (updates == read(out)).astype(x.dtype)
    share = 1 / write(kept, chosen, "add")
    return kept * share, chosen * read(share)


def _product_factors(mx, x, updates, read, write):
    """The product of all others: zeros are counted and left out, since one cannot divide by
    them."""
    x_zero, u_zero = x == 0, updates == 0
    one = mx.ones((), x.dtype)
    x_safe, u_safe = mx.where(x_zero, one, x), mx.where(u_zero, one, updates)
    rest = write(x_safe, u_safe, "prod")
    zeros = write(x_zero.astype(mx.int32), u_zero.astype(mx.int32), "add")
    none = mx.zeros((), x.dtype)
    fx = mx.where(zeros == x_zero.astype(mx.int32), rest / x_safe, none)
    fu = mx.where(read(zeros) == u_zero.astype(mx.int32), read(rest) / u_safe, none)
    return fx, fu


def _factors(mx, mode, out, x, updates, read, write, distinct=False):
    """fx of x's shape and fu of the updates' in d(out) = fx * dx + write(fu * du, "add"); None: 1,
    boolean: 1 or 0."""
    if mode == "add":
        return None, None
    if mode == "none":
        touched = write(mx.zeros(x.shape, mx.bool_), mx.ones(updates.shape, mx.bool_), "none")
        return mx.logical_not(touched), None if distinct else _winners(mx, x, updates, read, write)
    if mode == "prod":
        return _product_factors(mx, x, updates, read, write)
    return _extreme_factors(mx, out, x, updates, read, write)


def _times(mx, factor, value):
    """A boolean factor selects, so that infinities it leaves out do not become NaN."""
    if factor is None:
        return value
    if factor.dtype == mx.bool_:
        return mx.where(factor, value, mx.zeros((), value.dtype))
    return factor * value


def _write_vjp(mx, mode, ct, out, x, updates, read, write, distinct=False):
    fx, fu = _factors(mx, mode, out, x, updates, read, write, distinct)
    if mode == "prod" and x.dtype == mx.complex64:  # cotangents take the conjugate factors
        fx, fu = mx.conjugate(fx), mx.conjugate(fu)
    return _times(mx, fx, ct), _times(mx, fu, read(ct))


def _write_jvp(mx, mode, tangents, out, x, updates, read, write, distinct=False):
    dx, du = tangents
    if dx is None and du is None:
        return None
    fx, fu = _factors(mx, mode, out, x, updates, read, write, distinct)
    base = mx.zeros(x.shape, x.dtype) if dx is None else _times(mx, fx, dx)
    return base if du is None else write(base, _times(mx, fu, du), "add")


def _scatter_access(mx, indices, axes, lead):
    def read(array):
        return _gather(mx, array, indices, axes, lead)

    def write(array, values, mode):
        return _scatter(mx, array, values, indices, axes, lead, mode)

    return read, write


def _scatter_vjp(mx, cts, outs, x, updates, *indices, axes, lead, mode):
    access = _scatter_access(mx, indices, axes, lead)
    return (*_write_vjp(mx, mode, cts[0], outs[0], x, updates, *access), *[None for _ in indices])


def _scatter_jvp(mx, tangents, outs, x, updates, *indices, axes, lead, mode):
    access = _scatter_access(mx, indices, axes, lead)
    return (_write_jvp(mx, mode, tangents[:2], outs[0], x, updates, *access),)


# ---- along one axis ----


def _along_check(op, x, indices, axis):
    if len(x) != len(indices) or not 0 <= axis < len(x):
        raise ValueError(
            f"[{op}] indices of shape {tuple(indices)} along axis {axis} of shape {tuple(x)}; "
            f"they must have as many axes"
        )
    if x != indices and any(a != b for k, (a, b) in enumerate(zip(x, indices)) if k != axis):
        raise ValueError(
            f"[{op}] indices of shape {tuple(indices)} do not fit shape {tuple(x)}; sizes other "
            f"than that of "
            f"axis {axis} must be equal"
        )
    if x[axis] == 0 and 0 not in indices:
        raise IndexError(f"[{op}] axis {axis} has size 0; there is nothing to index")


def _take_along_infer(shapes, dtypes, *, axis):
    _check_indices("take_along_axis", dtypes[1:])
    _along_check("take_along_axis", *shapes, axis)
    return [(shapes[1], dtypes[0])]


def _take_along(mx, x, indices, axis):
    return mx._bind("take_along_axis", (x, indices), (axis,))


def _put_along(mx, x, updates, indices, axis, mode):
    return mx._bind("put_along_axis", (x, updates, indices), (axis, mode))


def _take_along_vjp(mx, cts, outs, x, indices, *, axis):
    zeros = mx.zeros(x.shape, cts[0].dtype)
    return _put_along(mx, zeros, cts[0], indices, axis, "add"), None


def _take_along_jvp(mx, tangents, outs, x, indices, *, axis):
    return (None if tangents[0] is None else _take_along(mx, tangents[0], indices, axis),)


def _take_along_vmap(mx, batched, x, indices, *, axis):
    size = (x if batched[0] else indices).shape[0]
    x, indices = (_stretch(mx, size, b, op) for b, op in zip(batched, (x, indices)))
    return (_take_along(mx, x, indices, axis + 1),)


def _put_along_infer(shapes, dtypes, *, axis, mode):
    _check_indices("put_along_axis", dtypes[2:])
    _check_write("put_along_axis", mode, dtypes[0], dtypes[1])
    _along_check("put_along_axis", shapes[0], shapes[2], axis)
    if tuple(shapes[1]) != tuple(shapes[2]):
        raise ValueError(
            f"[put_along_axis] updates of shape {tuple(shapes[1])} for indices of shape "
            f"{tuple(shapes[2])}; "
            f"they must be equal"
        )
    return [(shapes[0], dtypes[0])]


def _put_along_access(mx, indices, axis):
    def read(array):
        return _take_along(mx, array, indices, axis)

    def write(array, values, mode):
        return _put_along(mx, array, values, indices, axis, mode)

    return read, write


def _put_along_vjp(mx, cts, outs, x, updates, indices, *, axis, mode):
    access = _put_along_access(mx, indices, axis)
    return (*_write_vjp(mx, mode, cts[0], outs[0], x, updates, *access), None)


def _put_along_jvp(mx, tangents, outs, x, updates, indices, *, axis, mode):
    access = _put_along_access(mx, indices, axis)
    return (_write_jvp(mx, mode, tangents[:2], outs[0], x, updates, *access),)


def _put_along_vmap(mx, batched, x, updates, indices, *, axis, mode):
    operands = (x, updates, indices)
    size = next(op.shape[0] for b, op in zip(batched, operands) if b)
    operands = [_stretch(mx, size, b, op) for b, op in zip(batched, operands)]
    return (_put_along(mx, *operands, axis + 1, mode),)


# ---- blocks ----


def _slice_update_infer(shapes, dtypes, *, start, stop, stride, mode):
    _check_write("slice_update", mode, dtypes[0], dtypes[1])
    shape, update = tuple(shapes[0]), tuple(shapes[1])
    if not len(start) == len(stop) == len(stride) == len(shape):
        raise ValueError(f"[slice_update] {len(start)} axes given for shape {shape}")
    expected = []
    for axis, (low, high, step) in enumerate(zip(start, stop, stride)):
        if step == 0:
            raise ValueError("[slice_update] a stride of 0; any other number would be right")
        size = len(range(low, high, step))
        if size and not (0 <= low < shape[axis] and 0 <= low + (size - 1) * step < shape[axis]):
            raise IndexError(
                f"[slice_update] {low}:{high}:{step} leaves axis {axis} with size {shape[axis]}"
            )
        expected.append(size)
    if update != tuple(expected):
        raise ValueError(
            f"[slice_update] an update of shape {update}; {tuple(expected)} would be right"
        )
    return [(shape, dtypes[0])]


def _slice_access(mx, params):
    def read(array):
        return mx._bind("slice", (array,), params)

    def write(array, values, mode):
        return mx._bind("slice_update", (array, values), (*params, mode))

    return read, write


def _slice_update_vjp(mx, cts, outs, x, update, *, start, stop, stride, mode):
    access = _slice_access(mx, (start, stop, stride))
    return _write_vjp(mx, mode, cts[0], outs[0], x, update, *access, distinct=True)


def _slice_update_jvp(mx, tangents, outs, x, update, *, start, stop, stride, mode):
    access = _slice_access(mx, (start, stop, stride))
    return (_write_jvp(mx, mode, tangents, outs[0], x, update, *access, distinct=True),)


def _slice_update_vmap(mx, batched, x, update, *, start, stop, stride, mode):
    size = (x if batched[0] else update).shape[0]
    x, update = (_stretch(mx, size, b, op) for b, op in zip(batched, (x, update)))
    params = ((0, *start), (size, *stop), (1, *stride), mode)
    return (mx._bind("slice_update", (x, update), params),)


def _concatenate_infer(shapes, dtypes, *, axis):
    first = tuple(shapes[0])
    dtype = dtypes[0]
    for shape, other in zip(shapes, dtypes):
        if len(shape) != len(first) or any(
            a != b for k, (a, b) in enumerate(zip(shape, first)) if k != axis
        ):
            raise ValueError(
                f"[concatenate] shapes {first} and {tuple(shape)} along axis {axis}; all other "
                f"sizes must be equal"
            )
        dtype = promote(dtype, other)
    if any(other != dtype for other in dtypes):
        raise ValueError(
            f"[concatenate] operands of dtypes {', '.join(dtypes)}; they must be the same"
        )
    return [((*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :]), dtype)]


def _cut(mx, x, axis, low, high):
    start = tuple(low if k == axis else 0 for k in range(x.ndim))
    stop = tuple(high if k == axis else size for k, size in enumerate(x.shape))
    return mx._bind("slice", (x,), (start, stop, (1,) * x.ndim))


def _concatenate_vjp(mx, cts, outs, *operands, axis):
    parts, low = [], 0
    for x in operands:
        parts.append(_cut(mx, cts[0], axis, low, low + x.shape[axis]))
        low += x.shape[axis]
    return tuple(parts)


def _concatenate_jvp(mx, tangents, outs, *operands, axis):
    parts = [mx.zeros(x.shape, x.dtype) if t is None else t for t, x in zip(tangents, operands)]
    return (mx._bind("concatenate", tuple(parts), (axis,)),)


def _concatenate_vmap(mx, batched, *operands, axis):
    size = next(op.shape[0] for b, op in zip(batched, operands) if b)
    operands = tuple(_stretch(mx, size, b, op) for b, op in zip(batched, operands))
    return (mx._bind("concatenate", operands, (axis + 1,)),)


# ---- samples ----


def _normal(mx, rng, *shape):
    return mx.array(rng.standard_normal(shape).astype("float32"))


def _integers(mx, values, dtype="int32"):
    return mx.array(values).astype(getattr(mx, dtype))


def _gather_samples(mx, rng):
    x = _normal(mx, rng, 4, 5, 3)
    i, j = _integers(mx, [[0, -1], [2, 2]]), _integers(mx, [[1, 4], [-5, 0]])
    return [
        ((x, _integers(mx, [3, 0, -4, 3], "int8")), {"axes": (0,), "lead": 0}),
        ((x, _integers(mx, [1, 1], "uint32")), {"axes": (2,), "lead": 2}),
        ((x, i, j), {"axes": (0, 1), "lead": 0}),
        ((x, i, j), {"axes": (0, 1), "lead": 1}),
        ((x, _integers(mx, 2)), {"axes": (1,), "lead": 1}),
    ]


def _scatter_samples(mx, rng):
    x = _normal(mx, rng, 4, 5, 3)
    index = _integers(mx, [1, 3, 1])
    i, j = _integers(mx, [0, 0, -1]), _integers(mx, [1, 1, 2])
    samples = []
    for mode in MODES:
        samples.append(
            ((x, _normal(mx, rng, 4, 3, 3), index), {"axes": (1,), "lead": 1, "mode": mode})
        )
        samples.append(
            ((x, _normal(mx, rng, 3, 3), i, j), {"axes": (0, 1), "lead": 0, "mode": mode})
        )
    return samples


def _take_along_samples(mx, rng):
    x = _normal(mx, rng, 4, 5)
    return [
        ((x, mx.array(rng.integers(-5, 5, (4, 3)))), {"axis": 1}),
        ((x, mx.array(rng.integers(0, 4, (7, 5)))), {"axis": 0}),
    ]


def _put_along_samples(mx, rng):
    x, indices = _normal(mx, rng, 4, 5), mx.array(rng.integers(-4, 4, (3, 5)))
    return [((x, _normal(mx, rng, 3, 5), indices), {"axis": 0, "mode": mode}) for mode in MODES]


def _slice_update_samples(mx, rng):
    x, update = _normal(mx, rng, 4, 5), _normal(mx, rng, 2, 3)
    where = {"start": (1, 4), "stop": (4, -1), "stride": (2, -2)}
    return [((x, update), {**where, "mode": mode}) for mode in MODES]


def _concatenate_samples(mx, rng):
    a, b, c = _normal(mx, rng, 2, 3), _normal(mx, rng, 2, 4), _normal(mx, rng, 3, 2)
    return [((a, b), {"axis": 1}), ((a, mx.transpose(c), a), {"axis": 0}), ((a,), {"axis": 0})]


ROWS = register(
    "indexing",
    [
        Kernel(
            "gather",
            doc="The elements or blocks that index arrays name.",
            params=("axes", "lead"),
            infer=_gather_infer,
            vjp=_gather_vjp,
            jvp=_gather_jvp,
            vmap=_gather_vmap,
            samples=_gather_samples,
        ),
        Kernel(
            "scatter",
            doc="A copy with updates put, or combined, where index arrays say.",
            params=("axes", "lead", "mode"),
            infer=_scatter_infer,
            vjp=_scatter_vjp,
            jvp=_scatter_jvp,
            vmap=_scatter_vmap,
            samples=_scatter_samples,
        ),
        Kernel(
            "take_along_axis",
            doc="For each position, the element that an index names along one axis.",
            params=("axis",),
            infer=_take_along_infer,
            vjp=_take_along_vjp,
            jvp=_take_along_jvp,
            vmap=_take_along_vmap,
            samples=_take_along_samples,
        ),
        Kernel(
            "put_along_axis",
            doc="A copy with updates put, or combined, where an index says along one axis.",
            params=("axis", "mode"),
            infer=_put_along_infer,
            vjp=_put_along_vjp,
            jvp=_put_along_jvp,
            vmap=_put_along_vmap,
            samples=_put_along_samples,
        ),
        Kernel(
            "slice_update",
            doc="A copy with an update put into, or combined with, a strided slice.",
            params=("start", "stop", "stride", "mode"),
            infer=_slice_update_infer,
            vjp=_slice_update_vjp,
            jvp=_slice_update_jvp,
            vmap=_slice_update_vmap,
            overwrites=True,
            samples=_slice_update_samples,
        ),
        Kernel(
            "concatenate",
            doc="Arrays one after the other along an axis.",
            params=("axis",),
            infer=_concatenate_infer,
            vjp=_concatenate_vjp,
            jvp=_concatenate_jvp,
            vmap=_concatenate_vmap,
            samples=_concatenate_samples,
        ),
    ],
)
