"""Rows that order values along an axis, or find places among ordered values.

NaN counts as larger than every number; -0 equals 0; equal values keep their order. Places are
uint32.
"""

from math import prod

from .rows import Kernel, register

LIMIT = 1 << 32  # places are 32-bit


def _check_axis(name, shape, axis):
    if not 0 <= axis < len(shape):
        raise ValueError(
            f"[{name}] got axis {axis} for {len(shape)} dimensions; an axis from 0 to "
            f"{len(shape) - 1} would be right"
        )
    if shape[axis] > LIMIT:
        raise ValueError(f"[{name}] got {shape[axis]} values along axis {axis}; at most 2**32 fit")


def _infer_sort(name, places):
    def infer(shapes, dtypes, *, axis):
        _check_axis(name, shapes[0], axis)
        return [(tuple(shapes[0]), "uint32" if places else dtypes[0])]

    return infer


def _infer_partition(name, places):
    def infer(shapes, dtypes, *, kth, axis):
        (shape,) = shapes
        _check_axis(name, shape, axis)
        if not 0 <= kth < max(shape[axis], 1):
            raise ValueError(
                f"[{name}] got kth {kth} along axis {axis} of shape {tuple(shape)}; "
                f"0 to {shape[axis] - 1} would be right"
            )
        return [(tuple(shape), "uint32" if places else dtypes[0])]

    return infer


def _infer_extremum(name):
    def infer(shapes, dtypes, *, axis, keepdims):
        (shape,) = shapes
        _check_axis(name, shape, axis)
        if shape[axis] == 0:
            raise ValueError(
                f"[{name}] axis {axis} of shape {tuple(shape)} is empty; one value is needed"
            )
        middle = (1,) if keepdims else ()
        return [((*shape[:axis], *middle, *shape[axis + 1 :]), "uint32")]

    return infer


def _infer_searchsorted(shapes, dtypes, *, right):
    sequence, values = shapes
    if len(sequence) != 1:
        raise ValueError(
            f"[searchsorted] got a sorted sequence of shape {tuple(sequence)}; (n,) would be right"
        )
    if dtypes[0] != dtypes[1]:
        raise ValueError(
            f"[searchsorted] got {dtypes[0]} and {dtypes[1]}; one dtype would be right"
        )
    if sequence[0] >= LIMIT:
        raise ValueError(
            f"[searchsorted] got {sequence[0]} values; fewer than 2**32 would be right"
        )
    return [(tuple(values), "uint32")]


def _flat_vjp(mx, cts, outs, *operands, **params):
    """Places are constant almost everywhere."""
    return tuple(mx.zeros(x.shape, x.dtype) for x in operands)


def _flat_jvp(mx, tangents, outs, *operands, **params):
    return (mx.zeros(outs[0].shape, outs[0].dtype),)


def _order(mx, x, kth, axis):
    """Where the values of a sorted (kth None) or partitioned array came from."""
    if kth is None:
        return mx._bind("argsort", (x,), (axis,))
    return mx._bind("argpartition", (x,), (kth, axis))


def _moved_vjp(mx, cts, outs, x, *, axis, kth=None):
    """Every cotangent goes back to where its value came from."""
    order = _order(mx, x, kth, axis)
    return (mx.take_along_axis(cts[0], mx._bind("argsort", (order,), (axis,)), axis=axis),)


def _moved_jvp(mx, tangents, outs, x, *, axis, kth=None):
    return (mx.take_along_axis(tangents[0], _order(mx, x, kth, axis), axis=axis),)


def _vmap_sort(name):
    return lambda mx, batched, x, *, axis: (mx._bind(name, (x,), (axis + 1,)),)


def _vmap_partition(name):
    return lambda mx, batched, x, *, kth, axis: (mx._bind(name, (x,), (kth, axis + 1)),)


def _vmap_extremum(name):
    return lambda mx, batched, x, *, axis, keepdims: (mx._bind(name, (x,), (axis + 1, keepdims)),)


def _vmap_searchsorted(mx, batched, sequence, values, *, right):
    if not batched[0]:
        return (mx._bind("searchsorted", (sequence, values), (right,)),)
    found = [
        mx._bind("searchsorted", (sequence[k], values[k] if batched[1] else values), (right,))
        for k in range(sequence.shape[0])
    ]
    if not found:
        shape = values.shape[1:] if batched[1] else values.shape
        return (mx.zeros((0, *shape), mx.uint32),)
    return (mx.stack(found),)


def _samples(*params):
    """Permutations, so that finite differences do not reorder anything."""

    def samples(mx, rng):
        def values(*shape):
            return mx.array(rng.permutation(prod(shape)).reshape(shape).astype("float32") / 4)

        cases = (((7,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 2), 1), ((2, 40), 1))
        return [
            ((values(*shape),), {**given, "axis": axis})
            for shape, axis in cases
            for given in params
        ]

    return samples


def _samples_searchsorted(mx, rng):
    sequence = mx.array(rng.permutation(9).astype("float32"))
    values = mx.array(rng.normal(size=(3, 4)).astype("float32") * 5)
    return [((mx.sort(sequence), values), {"right": right}) for right in (False, True)]


def _extremum(name, doc):
    return Kernel(
        name,
        doc=doc,
        params=("axis", "keepdims"),
        infer=_infer_extremum(name),
        vjp=_flat_vjp,
        jvp=_flat_jvp,
        vmap=_vmap_extremum(name),
        contiguous=True,
        samples=_samples({"keepdims": False}, {"keepdims": True}),
    )


ROWS = register(
    "sort",
    [
        Kernel(
            "sort",
            doc="The values along an axis in ascending order, NaN last.",
            params=("axis",),
            infer=_infer_sort("sort", places=False),
            vjp=_moved_vjp,
            jvp=_moved_jvp,
            vmap=_vmap_sort("sort"),
            contiguous=True,
            samples=_samples({}),
        ),
        Kernel(
            "argsort",
            doc="Places of the values along an axis in ascending order, stable, NaN last.",
            params=("axis",),
            infer=_infer_sort("argsort", places=True),
            vjp=_flat_vjp,
            jvp=_flat_jvp,
            vmap=_vmap_sort("argsort"),
            contiguous=True,
            samples=_samples({}),
        ),
        Kernel(
            "partition",
            doc="The kth value along an axis in its sorted place, no larger one before it.",
            params=("kth", "axis"),
            infer=_infer_partition("partition", places=False),
            vjp=_moved_vjp,
            jvp=_moved_jvp,
            vmap=_vmap_partition("partition"),
            contiguous=True,
            samples=_samples({"kth": 0}, {"kth": 1}),
        ),
        Kernel(
            "argpartition",
            doc="Places of the values as partition moves them.",
            params=("kth", "axis"),
            infer=_infer_partition("argpartition", places=True),
            vjp=_flat_vjp,
            jvp=_flat_jvp,
            vmap=_vmap_partition("argpartition"),
            contiguous=True,
            samples=_samples({"kth": 0}, {"kth": 1}),
        ),
        _extremum(
            "argmax", "Place of the first largest value along an axis, of the first NaN if any."
        ),
        _extremum(
            "argmin", "Place of the first smallest value along an axis, of the first NaN if any."
        ),
        Kernel(
            "searchsorted",
            doc="How many values of a sorted sequence stand before each value.",
            params=("right",),
            infer=_infer_searchsorted,
            vjp=_flat_vjp,
            jvp=_flat_jvp,
            vmap=_vmap_searchsorted,
            contiguous=True,
            samples=_samples_searchsorted,
        ),
    ],
)
