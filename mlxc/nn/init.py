"""Initialisers: functions that make a function from an array to new values of its shape.

Rules: nothing but the shape of the array is read; samples come from the global random state.
"""

import math

import mlxc.core as mx


def constant(value, dtype=mx.float32):
    """Fill with one value.

    Args:
        value (float): the value.
        dtype (Dtype): of the result.

    Example:
        >>> constant(0.5)(mx.zeros((2,))).tolist()
        [0.5, 0.5]
    """

    def initializer(a):
        return mx.full(a.shape, value, dtype=dtype)

    return initializer


def normal(mean=0.0, std=1.0, dtype=mx.float32):
    """Sample the normal distribution N(mean, std²).

    Args:
        mean (float): its mean.
        std (float): its standard deviation.
        dtype (Dtype): of the result.

    Example:
        >>> normal(std=0.1)(mx.zeros((2, 3))).shape
        (2, 3)
    """

    def initializer(a):
        return mx.random.normal(shape=a.shape, scale=std, loc=mean, dtype=dtype)

    return initializer


def uniform(low=0.0, high=1.0, dtype=mx.float32):
    """Sample the uniform distribution on [low, high).

    Args:
        low (float): its lower end.
        high (float): its upper end.
        dtype (Dtype): of the result.

    Example:
        >>> uniform(-1, 1)(mx.zeros((2, 3))).shape
        (2, 3)
    """

    def initializer(a):
        return mx.random.uniform(low, high, a.shape, dtype=dtype)

    return initializer


def identity(dtype=mx.float32):
    """Make an identity matrix.

    Args:
        dtype (Dtype): of the result.

    Raises:
        ValueError: from the initialiser, when the array is not a square matrix.

    Example:
        >>> identity()(mx.zeros((2, 2))).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    def initializer(a):
        if a.ndim != 2 or a.shape[0] != a.shape[1]:
            raise ValueError(f"The input array must be a square matrix but got shape {a.shape}.")
        return mx.eye(a.shape[0], dtype=dtype)

    return initializer


def _fans(a):
    """Inputs and outputs of one unit of a weight [outputs, *kernel, inputs]."""
    if a.ndim < 2:
        raise ValueError(
            "Glorot / He initialization requires at least 2 dimensional input but input with "
            f"{a.ndim} dimensions."
        )
    outputs, *kernel, inputs = a.shape
    field = math.prod(kernel)
    return inputs * field, outputs * field


def glorot_normal(dtype=mx.float32):
    """Sample N(0, σ²), σ = gain · sqrt(2 / (fan_in + fan_out)) (Glorot, Bengio, 2010, eq. 12).

    Args:
        dtype (Dtype): of the result.

    Returns:
        callable: ``initializer(array, gain=1.0)``.

    Example:
        >>> glorot_normal()(mx.zeros((2, 3)), gain=2.0).shape
        (2, 3)
    """

    def initializer(a, gain=1.0):
        std = gain * math.sqrt(2.0 / sum(_fans(a)))
        return mx.random.normal(shape=a.shape, scale=std, dtype=dtype)

    return initializer


def glorot_uniform(dtype=mx.float32):
    """Sample U(-l, l), l = gain · sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio, 2010, eq. 16).

    Args:
        dtype (Dtype): of the result.

    Returns:
        callable: ``initializer(array, gain=1.0)``.

    Example:
        >>> glorot_uniform()(mx.zeros((2, 3))).shape
        (2, 3)
    """

    def initializer(a, gain=1.0):
        limit = gain * math.sqrt(6.0 / sum(_fans(a)))
        return mx.random.uniform(-limit, limit, a.shape, dtype=dtype)

    return initializer


def _fan(a, mode):
    fan_in, fan_out = _fans(a)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Invalid mode: {mode}. Valid modes are: fan_in, fan_out")
    return fan_in if mode == "fan_in" else fan_out


def he_normal(dtype=mx.float32):
    """Sample N(0, σ²), σ = gain / sqrt(fan) (He, Zhang, Ren, Sun, 2015, eq. 10).

    Args:
        dtype (Dtype): of the result.

    Returns:
        callable: ``initializer(array, mode="fan_in", gain=1.0)``.

    Example:
        >>> he_normal()(mx.zeros((2, 3)), mode="fan_out").shape
        (2, 3)
    """

    def initializer(a, mode="fan_in", gain=1.0):
        std = gain / math.sqrt(_fan(a, mode))
        return mx.random.normal(shape=a.shape, scale=std, dtype=dtype)

    return initializer


def he_uniform(dtype=mx.float32):
    """Sample U(-l, l), l = gain · sqrt(3 / fan) (He, Zhang, Ren, Sun, 2015, eq. 10).

    Args:
        dtype (Dtype): of the result.

    Returns:
        callable: ``initializer(array, mode="fan_in", gain=1.0)``.

    Example:
        >>> he_uniform()(mx.zeros((2, 3))).shape
        (2, 3)
    """

    def initializer(a, mode="fan_in", gain=1.0):
        limit = gain * math.sqrt(3.0 / _fan(a, mode))
        return mx.random.uniform(-limit, limit, a.shape, dtype=dtype)

    return initializer


def sparse(sparsity, mean=0.0, std=1.0, dtype=mx.float32):
    """Sample N(mean, std²) and zero the same fraction of every row (Martens, 2010, sec. 5).

    Args:
        sparsity (float): the fraction of zeros, in [0, 1].
        mean (float): mean of the others.
        std (float): standard deviation of the others.
        dtype (Dtype): of the result.

    Raises:
        ValueError: when the fraction is out of range, or, from the initialiser, the array is
            not a matrix.

    Example:
        >>> int((sparse(0.5)(mx.zeros((3, 4))) == 0).sum())
        6
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"[sparse] sparsity must be in [0, 1], got {sparsity}")

    def initializer(a):
        if a.ndim != 2:
            raise ValueError("Only tensors with 2 dimensions are supported")
        columns = a.shape[1]
        zeros = math.ceil(sparsity * columns)
        order = mx.argsort(mx.random.uniform(shape=a.shape), axis=1)
        values = mx.random.normal(shape=a.shape, scale=std, loc=mean, dtype=dtype)
        # Entry (r, order[r, j]) is zeroed for j < zeros: the rank of a column tells its j.
        rank = mx.argsort(order, axis=1)
        return mx.where(rank < zeros, mx.zeros((), dtype=dtype), values)

    return initializer


def orthogonal(gain=1.0, dtype=mx.float32):
    """Make a matrix with orthonormal rows or columns (Saxe, McClelland, Ganguli, 2014).

    Args:
        gain (float): factor of the result.
        dtype (Dtype): of the result.

    Raises:
        ValueError: from the initialiser, when the array is not a matrix.

    Example:
        >>> w = orthogonal()(mx.zeros((2, 3)))
        >>> bool(mx.allclose(w @ w.T, mx.eye(2), atol=1e-5))
        True
    """

    def initializer(a):
        if a.ndim != 2:
            raise ValueError(
                f"Orthogonal initialization requires a 2D array but got a {a.ndim}D array."
            )
        rows, columns = a.shape
        n = max(rows, columns)
        q, r = mx.linalg.qr(mx.random.normal(shape=(n, n)), stream=mx.cpu)
        # A positive diagonal of R makes Q uniformly distributed (Mezzadri, 2007, sec. 5).
        q = q * mx.where(mx.diag(r) < 0, -1.0, 1.0)
        return (q[:rows, :columns] * gain).astype(dtype)

    return initializer
