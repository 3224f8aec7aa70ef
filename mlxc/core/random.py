"""Random numbers: distributions composed over the ``random_bits`` row.

Rules: the same key gives the same numbers as MLX gives; a call without a key splits the key in
``state`` and uses the second half, so that a captured ``state`` makes compiled functions random
(a state that has its value is split at once, else within the graph);
nothing here looks at values, so that every function works within a transform. Checks and
composition run once for each kind of arguments (`_distribution`).
"""

import math as _math
import operator as _operator
import os as _os
from functools import partial as _partial

import numpy as _np

import mlxc.core as _mx
from mlxc._backends.cpu.random import split_at_once as _split_at_once
from mlxc._graph import Routine as _Routine
from mlxc._graph import bind as _bind

from ._arguments import as_array as _as_array
from ._draws import Distribution as _Distribution

__all__ = [
    "bernoulli",
    "bits",
    "categorical",
    "gumbel",
    "key",
    "laplace",
    "multivariate_normal",
    "normal",
    "permutation",
    "randint",
    "seed",
    "split",
    "state",
    "truncated_normal",
    "uniform",
]

_SCALARS = (bool, int, float)
# The largest value below 1 of each dtype: uniform numbers lie in a half-open interval.
_BELOW_ONE = {"float32": 1 - 2.0**-24, "float16": 1 - 2.0**-11, "bfloat16": 1 - 2.0**-8}
_ABOVE_MINUS_ONE = -_BELOW_ONE["float32"]
_SQRT2 = _math.sqrt(2.0)
state = [None]  # the implicit key; the last line seeds it


@_Routine
def _halves(whole):
    pair = split(whole)
    return pair[0], pair[1]


def _split_state():
    """The key of one implicit call: the second half of the split state, whose first half is
    kept."""
    whole = state[0]
    pair = _split_at_once(whole)
    if pair is None or state[0] is not whole:
        return _halves.advance(state, ())
    state[0], key = pair
    return key


def _distribution(compose):
    """What draws from a distribution whose graph ``compose`` makes of (key, *arrays, shape,
    *others)."""
    name = compose.__name__[1:]

    @_partial(_Routine, pending=True)
    def given(key, *rest):
        return compose(_checked(name, key), *rest)

    @_partial(_Routine, pending=True)
    def halves(whole, *rest):
        pair = split(whole)
        return pair[0], compose(pair[1], *rest)

    return _Distribution(given, halves, state, lambda key: _as_key(name, key))


def key(seed):
    """Make a key from a seed.

    Args:
        seed (int): From 0 to 2**64 - 1.

    Returns:
        array: The key, uint32 of shape (2,).

    Raises:
        TypeError: The seed is not an integer.
        ValueError: The seed is negative or needs more than 64 bits.

    >>> mx.random.key(3).tolist()
    [0, 3]
    """
    try:
        seed = _operator.index(seed)
    except TypeError:
        raise TypeError(
            f"[key] seed {seed!r} is no integer; give an integer from 0 to 2**64 - 1"
        ) from None
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"[key] seed {seed} is out of range; give an integer from 0 to 2**64 - 1")
    return _mx.array(_np.array([seed >> 32, seed & 0xFFFFFFFF], _np.uint32))


def seed(seed):
    """Seed the implicit key that calls without ``key`` use.

    Args:
        seed (int): From 0 to 2**64 - 1.

    Raises:
        TypeError: The seed is not an integer.
        ValueError: The seed is out of range.

    >>> mx.random.seed(7)
    >>> mx.random.state[0].tolist()
    [0, 7]
    """
    state[0] = key(seed)


def bits(shape=(), width=4, key=None, *, stream=None):
    """Draw uniformly distributed unsigned integers over the whole range of their type.

    Args:
        shape (sequence of int): Shape of the result, a key.
        width (int): Bytes a number: 1 (uint8), 2 (uint16) or 4 (uint32).
        key (array): uint32 of shape (..., 2); leading axes lead the result. Default: the implicit
            key.

    Returns:
        array: uint8, uint16 or uint32 of shape ``key.shape[:-1] + shape``.

    Raises:
        ValueError: Bad key, width or shape.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    >>> mx.random.bits((2,), key=mx.random.key(7)).tolist()
    [195045567, 4062205631]
    """
    key = _split_state() if key is None else key
    return _bind("random_bits", (_as_key("bits", key),), (_shape("bits", shape), width))


def split(key, num=2, stream=None):
    """Split a key into independent keys.

    Args:
        key (array): uint32 of shape (2,).
        num (int): How many keys.

    Returns:
        array: uint32 of shape (num, 2), a key a row.

    Raises:
        ValueError: Bad key, or ``num`` negative.

    >>> mx.random.split(mx.random.key(7)).tolist()
    [[966301609, 989289821], [1948237315, 1058547403]]
    """
    return bits((_count("split", num), 2), key=_checked("split", key))


def uniform(low=0, high=1, shape=(), dtype=None, key=None, stream=None):
    """Draw numbers uniformly from the half-open interval [low, high).

    Args:
        low (scalar or array): Lower bound, broadcast to ``shape``.
        high (scalar or array): Upper bound, broadcast to ``shape``.
        shape (sequence of int): Shape of the result.
        dtype (Dtype): float32 (default), float16 or bfloat16.
        key (array): A key. Default: the implicit key.

    Returns:
        array: ``low + (high - low) * u`` with u = 32 random bits / 2**32, below 1.

    Raises:
        ValueError: Bad key, dtype or shape, or bounds that do not broadcast to ``shape``.

    >>> mx.random.uniform(shape=(2,), key=mx.random.key(7))
    array([0.0454126, 0.945806], dtype=float32)
    """
    unit = isinstance(low, _SCALARS) and isinstance(high, _SCALARS) and low == 0 and high == 1
    bounds = (None, None) if unit else (_as_array(low), _as_array(high))
    return _uniform(key, bounds, shape, dtype or _mx.float32)


@_distribution
def _uniform(key, low, high, shape, dtype):
    return _between("uniform", low, high, _shape("uniform", shape), dtype, key)


def normal(shape=(), dtype=None, loc=None, scale=None, key=None, stream=None):
    """Draw from the normal distribution; complex numbers have variance 1/2 in each part.

    Args:
        shape (sequence of int): Shape of the result.
        dtype (Dtype): A floating or complex dtype. Default: float32.
        loc (scalar or array): Mean. Default: 0.
        scale (scalar or array): Standard deviation. Default: 1.
        key (array): A key. Default: the implicit key.

    Returns:
        array: ``scale * sqrt(2) * erfinv(u) + loc`` with u uniform in (-1, 1).

    Raises:
        ValueError: Bad key, dtype or shape.

    >>> mx.random.normal((2,), key=mx.random.key(7))
    array([-1.69106, 1.60548], dtype=float32)
    """
    dtype = dtype or _mx.float32
    loc = None if loc is None else _as_array(loc, dtype)
    scale = None if scale is None else _as_array(scale, dtype)
    return _normal(key, (loc, scale), shape, dtype)


@_distribution
def _normal(key, loc, scale, shape, dtype):
    shape = _shape("normal", shape)
    if dtype == _mx.complex64:
        parts = _mx.erfinv(_symmetric("normal", (*shape, 2), key))
        drawn = _mx.squeeze(_mx.view(parts, _mx.complex64), -1)
        factor = scale
    elif _is_real_floating(dtype):
        drawn = _mx.erfinv(_symmetric("normal", shape, key)).astype(dtype)
        factor = _as_array(_SQRT2, dtype)
        if scale is not None:
            factor = scale * factor
    else:
        raise ValueError(
            f"[normal] dtype {dtype} has no normal distribution; give a floating dtype or complex64"
        )
    if factor is not None:
        drawn = factor * drawn
    return drawn if loc is None else drawn + loc


def multivariate_normal(mean, cov, shape=(), dtype=None, key=None, stream=None):
    """Draw jointly normal vectors.

    Args:
        mean (array): Means, (..., n).
        cov (array): Covariances, (..., n, n), symmetric and positive semi-definite.
        shape (sequence of int): What the batch axes of ``mean`` and ``cov`` broadcast to. Default:
            just that.
        dtype (Dtype): float32, the only one supported.
        key (array): A key. Default: the implicit key.

    Returns:
        array: float32 of shape ``shape + (n,)``: ``mean + z @ sqrt(cov)``, the root by singular
            values.

    Raises:
        ValueError: Bad key, dtype, or shapes that do not fit.

    >>> mx.random.multivariate_normal(mx.zeros(3), mx.eye(3), key=mx.random.key(7)).shape
    (3,)
    """
    name = "multivariate_normal"
    mean, cov = _as_array(mean), _as_array(cov)
    if dtype is not None and dtype != _mx.float32:
        raise ValueError(f"[{name}] dtype {dtype} is not supported; float32 is")
    if mean.ndim < 1 or cov.ndim < 2:
        raise ValueError(
            f"[{name}] mean has shape {mean.shape} and cov {cov.shape}; shapes (..., n) and "
            "(..., n, n) would be right"
        )
    n = mean.shape[-1]
    if tuple(cov.shape[-2:]) != (n, n):
        raise ValueError(
            f"[{name}] mean has shape {mean.shape} and cov {cov.shape}; the last two axes of cov "
            f"must be ({n}, {n})"
        )
    batch = _broadcast(name, mean.shape[:-1], cov.shape[:-2])
    shape = _broadcast(name, batch, _shape(name, shape))
    mean, cov = mean.astype(_mx.float32), cov.astype(_mx.float32)
    left, values, right = _mx.linalg.svd(cov)
    root = _mx.matmul(left * _mx.expand_dims(_mx.sqrt(values), -2), right)
    drawn = normal((*shape, 1, n), key=key)
    return _mx.squeeze(_mx.matmul(drawn, root), -2) + mean


def randint(low, high, shape=(), dtype=None, key=None, stream=None):
    """Draw integers from the half-open interval [low, high).

    They come from a float32 uniform, as in MLX: where the bounds or the width of the interval
    exceed 2**24 not every integer can come out.

    Args:
        low (scalar or array): Lower bound, broadcast to ``shape``.
        high (scalar or array): Upper bound, broadcast to ``shape``.
        shape (sequence of int): Shape of the result.
        dtype (Dtype): An integer dtype or bool. Default: int32.
        key (array): A key. Default: the implicit key.

    Returns:
        array: Integers of ``dtype``; ``low`` where the interval is empty.

    Raises:
        ValueError: Bad key, dtype, shape or bounds.

    >>> mx.random.randint(0, 10, (4,), key=mx.random.key(7)).tolist()
    [2, 2, 4, 2]
    """
    for bound in (low, high):
        if isinstance(bound, float) and not _math.isfinite(bound):
            raise ValueError(f"[randint] bound {bound} is not finite; give integers")
    return _randint(key, (_as_array(low), _as_array(high)), shape, dtype or _mx.int32)


@_distribution
def _randint(key, low, high, shape, dtype):
    if not (dtype == _mx.bool_ or _mx.issubdtype(dtype, _mx.integer)):
        raise ValueError(
            f"[randint] dtype {dtype} is no integer type; give an integer dtype or bool"
        )
    drawn = _between("randint", low, high, _shape("randint", shape), _mx.float32, key)
    # The float32 of a large bound may lie outside the interval, hence the clamp at the end.
    top = (high - 1).astype(dtype)
    return _mx.maximum(_mx.minimum(_mx.floor(drawn).astype(dtype), top), low.astype(dtype))


def bernoulli(p=0.5, shape=None, key=None, stream=None):
    """Draw booleans that are true with probability p.

    Args:
        p (float or array): Probabilities, broadcast to ``shape``.
        shape (sequence of int): Shape of the result. Default: the shape of ``p``.
        key (array): A key. Default: the implicit key.

    Returns:
        array: bool.

    Raises:
        ValueError: ``p`` is not floating, does not broadcast to ``shape``, or the key is bad.

    >>> mx.random.bernoulli(0.5, (3,), key=mx.random.key(7)).tolist()
    [True, True, True]
    """
    return _bernoulli(key, (_as_array(p),), shape)


@_distribution
def _bernoulli(key, p, shape):
    if not _is_real_floating(p.dtype):
        raise ValueError(f"[bernoulli] p has dtype {p.dtype}; a probability is a floating number")
    shape = tuple(p.shape) if shape is None else _shape("bernoulli", shape)
    _require("bernoulli", shape, p.shape)
    return _between("bernoulli", None, None, shape, _mx.float32, key) < p


def truncated_normal(lower, upper, shape=None, dtype=None, key=None, stream=None):
    """Draw from the standard normal distribution restricted to [lower, upper].

    Args:
        lower (scalar or array): Lower bound, broadcast to ``shape``.
        upper (scalar or array): Upper bound, broadcast to ``shape``.
        shape (sequence of int): Shape of the result. Default: what the bounds broadcast to.
        dtype (Dtype): float32 (default), float16 or bfloat16.
        key (array): A key. Default: the implicit key.

    Returns:
        array: ``sqrt(2) * erfinv(u)``, u uniform between the erf of the bounds over sqrt(2), kept
            within the bounds.

    Raises:
        ValueError: Bad key, dtype or shape.

    >>> mx.random.truncated_normal(0, 5, key=mx.random.key(7))
    array(1.41902, dtype=float32)
    """
    dtype = dtype or _mx.float32
    return _truncated_normal(key, (_as_array(lower), _as_array(upper)), shape, dtype)


@_distribution
def _truncated_normal(key, lower, upper, shape, dtype):
    name = "truncated_normal"
    if not _is_real_floating(dtype):
        raise ValueError(
            f"[{name}] dtype {dtype} is not supported; float32, float16 and bfloat16 are"
        )
    lower, upper = lower.astype(dtype), upper.astype(dtype)
    shape = _broadcast(name, lower.shape, upper.shape) if shape is None else _shape(name, shape)
    root2 = _as_array(_SQRT2, dtype)
    drawn = _between(name, _mx.erf(lower / root2), _mx.erf(upper / root2), shape, dtype, key)
    return _mx.maximum(_mx.minimum(root2 * _mx.erfinv(drawn), upper), lower)


def gumbel(shape=(), dtype=None, key=None, stream=None):
    """Draw from the standard Gumbel distribution, whose distribution function is exp(-exp(-x)).

    Args:
        shape (sequence of int): Shape of the result.
        dtype (Dtype): float32 (default), float16 or bfloat16.
        key (array): A key. Default: the implicit key.

    Returns:
        array: ``-log(-log(u))`` with u uniform in [0, 1).

    Raises:
        ValueError: Bad key, dtype or shape.

    >>> mx.random.gumbel(key=mx.random.key(7))
    array(1.77504, dtype=float32)
    """
    return _gumbel(key, (), shape, dtype or _mx.float32)


@_distribution
def _gumbel(key, shape, dtype):
    drawn = _between("gumbel", None, None, _shape("gumbel", shape), dtype, key)
    return -_mx.log(-_mx.log(drawn))


def categorical(logits, axis=-1, shape=None, num_samples=None, key=None, stream=None):
    """Draw indices from categorical distributions given by unnormalised log-probabilities.

    Args:
        logits (array): Log-probabilities along ``axis``.
        axis (int): The axis of a distribution.
        shape (sequence of int): Shape of the result, to which ``logits`` without ``axis``
            broadcasts.
        num_samples (int): Draws a distribution, put on a new last axis. At most one of ``shape``
            and this.
        key (array): A key. Default: the implicit key.

    Returns:
        array: uint32; by default of the shape of ``logits`` without ``axis``.

    Raises:
        IndexError: ``axis`` is out of range.
        ValueError: Both of ``shape`` and ``num_samples``, an empty axis, or shapes that do not fit.

    Source: the Gumbel-max trick.

    >>> mx.random.categorical(mx.array([0.0, 100.0, 0.0]), key=mx.random.key(7))
    array(1, dtype=uint32)
    """
    logits = _as_array(logits)
    axis = _axis("categorical", axis, logits.ndim) - logits.ndim
    if shape is not None and num_samples is not None:
        raise ValueError(
            "[categorical] shape and num_samples were both given; give at most one of them"
        )
    outcomes = logits.shape[axis]
    if outcomes == 0:
        raise ValueError(
            f"[categorical] axis {axis} of logits of shape {tuple(logits.shape)} is empty"
        )
    if num_samples is not None:
        drawn = gumbel((*logits.shape, _count("categorical", num_samples)), key=key)
        return _mx.argmax(_mx.expand_dims(logits, -1) + drawn, axis - 1)
    reduced = list(logits.shape)
    del reduced[axis]
    shape = tuple(reduced) if shape is None else _shape("categorical", shape)
    _require("categorical", shape, reduced)
    full = list(shape)
    full.insert(len(full) + 1 + axis, outcomes)
    return _mx.argmax(logits + gumbel(full, key=key), axis)


def laplace(shape=(), dtype=None, loc=0.0, scale=1.0, key=None, stream=None):
    """Draw from the Laplace distribution.

    Args:
        shape (sequence of int): Shape of the result.
        dtype (Dtype): A floating dtype. Default: float32.
        loc (float): Mean.
        scale (float): Scale b of the density exp(-|x - loc| / b) / (2 b).
        key (array): A key. Default: the implicit key.

    Returns:
        array: ``sign(u) * log1p(-|u|) * scale + loc`` with u uniform in (-1, 1).

    Raises:
        ValueError: Bad key, dtype or shape.

    >>> mx.random.laplace((3,), key=mx.random.key(7)).shape
    (3,)
    """
    dtype = dtype or _mx.float32
    loc = _as_array(loc, dtype) if loc != 0 else None
    scale = _as_array(scale, dtype) if scale != 1 else None
    return _laplace(key, (loc, scale), shape, dtype)


@_distribution
def _laplace(key, loc, scale, shape, dtype):
    if not _is_real_floating(dtype):
        raise ValueError(f"[laplace] dtype {dtype} is not supported; give a real floating dtype")
    u = _symmetric("laplace", _shape("laplace", shape), key)
    drawn = (_mx.sign(u) * _mx.log1p(-_mx.abs(u))).astype(dtype)
    if scale is not None:
        drawn = drawn * scale
    return drawn if loc is None else drawn + loc


def permutation(x, axis=0, key=None, stream=None):
    """Permute at random the numbers below x, or an array along an axis.

    Args:
        x (int or array): How many numbers, or the array to permute.
        axis (int): The axis to permute along.
        key (array): A key. Default: the implicit key.

    Returns:
        array: uint32 of shape (x,), or an array like ``x``.

    Raises:
        IndexError: ``axis`` is out of range.
        ValueError: ``x`` is negative, or the key is bad.

    >>> sorted(mx.random.permutation(4).tolist())
    [0, 1, 2, 3]
    """
    if isinstance(x, _mx.array):
        axis = _axis("permutation", axis, x.ndim)
        return _mx.take(
            x, _mx.argsort(bits((x.shape[axis],), key=_explicit("permutation", key))), axis
        )
    return _mx.argsort(bits((_count("permutation", x),), key=_explicit("permutation", key)))


def _between(name, low, high, shape, dtype, key):
    """Uniform numbers between two bounds, None for 0 and 1; ``name`` is whom errors speak of."""
    below_one = _BELOW_ONE.get(str(dtype).rpartition(".")[2])
    if below_one is None:
        raise ValueError(
            f"[{name}] dtype {dtype} is not supported; float32, float16 and bfloat16 are"
        )
    words = bits(shape, key=key)
    # 2**-32 is a power of two, so multiplying rounds as dividing by 2**32 does: not at all.
    unit = words.astype(_mx.float32) * _as_array(2.0**-32, _mx.float32)
    unit = _mx.minimum(unit.astype(dtype), _as_array(below_one, dtype))
    if low is None:
        return unit
    low, high = low.astype(dtype), high.astype(dtype)
    _require(name, shape, _broadcast(name, low.shape, high.shape))
    return (high - low) * unit + low


def _symmetric(name, shape, key):
    """Uniform float32 numbers in (-1, 1)."""
    low = _as_array(_ABOVE_MINUS_ONE, _mx.float32)
    return _between(name, low, _as_array(1.0, _mx.float32), shape, _mx.float32, key)


def _explicit(name, key):
    return _split_state() if key is None else _checked(name, key)


def _checked(name, key):
    """One key, not a batch of them: those are for ``vmap`` and ``bits``."""
    _as_key(name, key)
    if key.dtype != _mx.uint32 or tuple(key.shape) != (2,):
        raise ValueError(
            f"[{name}] the key has dtype {key.dtype} and shape {tuple(key.shape)}; a key is "
            "uint32 of shape (2,)"
        )
    return key


def _as_key(name, key):
    """A key of whatever shape."""
    if not isinstance(key, _mx.array):
        raise TypeError(
            f"[{name}] the key is a {type(key).__name__}; keys are arrays made by mx.random.key"
        )
    return key


def _shape(name, shape):
    """A shape as a tuple of sizes, none of them negative."""
    try:
        shape = tuple(_operator.index(size) for size in shape)
    except TypeError:
        raise TypeError(
            f"[{name}] shape {shape!r} is no sequence of integers; (2, 3) would be right"
        ) from None
    if any(size < 0 for size in shape):
        raise ValueError(f"[{name}] shape {shape} has a negative size; sizes are 0 or more")
    return shape


def _axis(name, axis, ndim):
    """An axis counted from the front; IndexError, as in MLX, where there is no such axis."""
    if not -ndim <= axis < ndim:
        raise IndexError(
            f"[{name}] axis {axis} of an array of {ndim} dimensions; "
            + (f"{-ndim} to {ndim - 1} would be right" if ndim else "it must have at least one")
        )
    return axis % ndim


def _count(name, n):
    """How many of something, as an int that is not negative."""
    try:
        n = _operator.index(n)
    except TypeError:
        raise TypeError(
            f"[{name}] {n!r} was given where a count belongs; give an integer"
        ) from None
    if n < 0:
        raise ValueError(f"[{name}] count {n} is negative; counts are 0 or more")
    return n


def _broadcast(name, a, b):
    """What two shapes broadcast to."""
    out = [1] * max(len(a), len(b))
    for shape in (a, b):
        for back, size in enumerate(reversed(tuple(shape)), 1):
            if size != 1:
                if out[-back] not in (1, size):
                    raise ValueError(
                        f"[{name}] shapes {tuple(a)} and {tuple(b)} cannot be broadcast together"
                    )
                out[-back] = size
    return tuple(out)


def _require(name, shape, given):
    """Refuse operands that do not broadcast to the shape asked for."""
    if _broadcast(name, shape, given) != shape:
        raise ValueError(
            f"[{name}] operands of shape {tuple(given)} cannot be broadcast to the shape {shape} "
            "of the result"
        )


def _is_real_floating(dtype):
    return _mx.issubdtype(dtype, _mx.floating)


state[0] = key(int.from_bytes(_os.urandom(8), "little"))
