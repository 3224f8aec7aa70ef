"""Layers whose parameters are spread over the processes of a group.

Rules: a group of one process changes nothing; sizes that the group does not divide are errors,
since processes with different shapes would wait for each other for ever. Sources: Shoeybi et al.,
"Megatron-LM", 2019, section 3; Zhao et al., "PyTorch FSDP", 2023, section 3.2.
"""

import math
from functools import lru_cache

import mlxc.core as mx
from mlxc.nn.layers import _checks
from mlxc.nn.layers.base import Module, without_arrays
from mlxc.nn.layers.quantized import QuantizedLinear, _Quantized
from mlxc.utils import tree_flatten, tree_map_with_path, tree_unflatten


@lru_cache
def sum_gradients(group):
    """Make a function that is the identity forward and sums gradients over a group backward."""
    if group.size() == 1:
        return lambda x: x

    @mx.custom_function
    def identity(x):
        return x

    @identity.vjp
    def identity_vjp(x, cotangent, _):
        return mx.distributed.all_sum(cotangent, group=group)

    return identity


def _divided(layer, what, size, group):
    """The share of one process."""
    processes = group.size()
    if size % processes:
        raise ValueError(
            f"[{layer}] cannot shard {what} {size} across {processes} devices; it must be divisible"
        )
    return size // processes


def _cuts(size, segments):
    """Where an axis of `size` is cut into segments: their number, or their ends (or fractions)."""
    if isinstance(segments, int):
        return [size * i // segments for i in range(1, segments)]
    return [int(size * s) if isinstance(s, float) else s for s in segments]


def _shard_one(name, x, axis, segments, group):
    """This process's share of an array: the same part of each segment of an axis."""
    axis %= x.ndim
    parts = mx.split(x, _cuts(x.shape[axis], segments), axis=axis)
    shares = []
    for part in parts:
        share = _divided("shard", f"axis {axis} of {name}, of size", part.shape[axis], group)
        where = [slice(None)] * part.ndim
        where[axis] = slice(group.rank() * share, (group.rank() + 1) * share)
        shares.append(part[tuple(where)])
    return mx.contiguous(shares[0] if len(shares) == 1 else mx.concatenate(shares, axis=axis))


def _shard(parameters, predicate, group):
    """Shard the arrays of a tree where `predicate(path, array)` names an axis."""

    def shard(path, x):
        chosen = predicate(path, x) if isinstance(x, mx.array) else None
        if chosen is None:
            return x
        axis, segments = chosen if isinstance(chosen, tuple) else (chosen, 1)
        return _shard_one(path, x, axis, segments, group)

    return tree_map_with_path(shard, parameters)


def _all_to_sharded(segments):
    def predicate(path, x):
        return max(x.ndim - 2, 0), segments

    return predicate


def _sharded_to_all(segments):
    def predicate(path, x):
        return None if path.endswith("bias") else (-1, segments)

    return predicate


def _predicate(sharding, segments):
    if callable(sharding):
        return sharding
    if sharding == "all-to-sharded":
        return _all_to_sharded(segments)
    if sharding == "sharded-to-all":
        return _sharded_to_all(segments)
    raise ValueError(
        f"Sharding type {sharding=} not supported, choose one of 'all-to-sharded' or "
        "'sharded-to-all'"
    )


def shard_inplace(module, sharding, *, segments=1, group=None):
    """Keep only this process's share of a module's parameters.

    Args:
        module (Module): the module; its type does not change, so it must itself communicate.
        sharding (str or callable): ``"all-to-sharded"``, ``"sharded-to-all"``, or a function
            of path and array that returns an axis, an axis and segments, or ``None``.
        segments (int or list): parts of the axis to be sharded each by itself, such as the
            three of a fused query, key and value. Default: ``1``.
        group (Group, optional): the processes; all of them by default.

    Raises:
        ValueError: when the sharding is unknown or the group does not divide an axis.

    Example:
        >>> import mlxc.nn as nn
        >>> layer = nn.Linear(4, 6)
        >>> nn.layers.distributed.shard_inplace(layer, "all-to-sharded")
        >>> layer.weight.shape
        (6, 4)
    """
    predicate = _predicate(sharding, segments)
    group = _checks.members(group)
    module.update(_shard(module.parameters(), predicate, group))


def shard_linear(module, sharding, *, segments=1, group=None):
    """Make a sharded layer from a linear or quantized linear layer, which is left as it is.

    Args:
        module (Module): a :class:`Linear` or :class:`QuantizedLinear` layer.
        sharding (str): ``"all-to-sharded"`` or ``"sharded-to-all"``.
        segments (int or list): as for :func:`shard_inplace`. Default: ``1``.
        group (Group, optional): the processes; all of them by default.

    Raises:
        ValueError: when the sharding is unknown or the group does not divide an axis.

    Example:
        >>> import mlxc.nn as nn
        >>> nn.layers.distributed.shard_linear(nn.Linear(4, 6), "sharded-to-all")
        ShardedToAllLinear(input_dims=4, output_dims=6, bias=True)
    """
    _predicate(sharding, segments)
    to_sharded = sharding == "all-to-sharded"
    if isinstance(module, QuantizedLinear):
        cls = QuantizedAllToShardedLinear if to_sharded else QuantizedShardedToAllLinear
        return cls.from_quantized_linear(module, segments=segments, group=group)
    cls = AllToShardedLinear if to_sharded else ShardedToAllLinear
    return cls.from_linear(module, segments=segments, group=group)


class _ShardedLinear(Module):
    """What the two share: initial values as in :class:`Linear`, and making one from it."""

    _sharding = None

    def _build(self, input_dims, output_dims, shape, bias_dims, bias, group):
        scale = math.sqrt(1.0 / input_dims)
        self.weight = mx.random.uniform(low=-scale, high=scale, shape=shape)
        if bias:
            self.bias = mx.random.uniform(low=-scale, high=scale, shape=(bias_dims,))
        self.group = group

    @classmethod
    def from_linear(cls, linear_layer, *, segments=1, group=None):
        """Make one from a :class:`Linear` layer.

        Args:
            linear_layer (Linear): the layer.
            segments (int or list): as for :func:`shard_inplace`. Default: ``1``.
            group (Group, optional): the processes; all of them by default.
        """
        group = _checks.members(group)
        layer = without_arrays(cls, draws=1 + ("bias" in linear_layer))
        predicate = cls._sharding(segments)
        for name, value in _shard(linear_layer.parameters(), predicate, group).items():
            setattr(layer, name, value)
        layer.group = group
        return layer


class AllToShardedLinear(_ShardedLinear):
    """A linear layer of which each process computes a part of the outputs.

    Gradients of the input are summed over the group.

    Args:
        input_dims (int): size of the last axis of the input.
        output_dims (int): outputs of all processes together.
        bias (bool): whether to add a bias. Default: ``True``.
        group (Group, optional): the processes; all of them by default.

    Raises:
        ValueError: when the group does not divide ``output_dims``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.AllToShardedLinear(4, 6)(mx.ones((2, 4))).shape
        (2, 6)
    """

    _sharding = staticmethod(_all_to_sharded)

    def __init__(self, input_dims, output_dims, bias=True, group=None):
        super().__init__()
        _checks.positive("AllToShardedLinear", input_dims=input_dims, output_dims=output_dims)
        group = _checks.members(group)
        share = _divided("AllToShardedLinear", "output_dims", output_dims, group)
        self._build(input_dims, output_dims, (share, input_dims), share, bias, group)

    def _extra_repr(self):
        outputs, inputs = self.weight.shape
        outputs *= self.group.size()
        return f"input_dims={inputs}, output_dims={outputs}, bias={'bias' in self}"

    def __call__(self, x):
        weight = self["weight"]
        _checks.last_axis("AllToShardedLinear", x, weight.shape[1], f"weight {weight.shape}")
        x = sum_gradients(self.group)(x)
        if "bias" in self:
            return mx.addmm(self["bias"], x, weight.T)
        return x @ weight.T


class ShardedToAllLinear(_ShardedLinear):
    """A linear layer whose inputs are spread over processes; all get the whole output.

    Args:
        input_dims (int): inputs of all processes together.
        output_dims (int): size of the last axis of the output.
        bias (bool): whether to add a bias. Default: ``True``.
        group (Group, optional): the processes; all of them by default.

    Raises:
        ValueError: when the group does not divide ``input_dims``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.ShardedToAllLinear(4, 6)(mx.ones((2, 4))).shape
        (2, 6)
    """

    _sharding = staticmethod(_sharded_to_all)

    def __init__(self, input_dims, output_dims, bias=True, group=None):
        super().__init__()
        _checks.positive("ShardedToAllLinear", input_dims=input_dims, output_dims=output_dims)
        group = _checks.members(group)
        share = _divided("ShardedToAllLinear", "input_dims", input_dims, group)
        self._build(input_dims, output_dims, (output_dims, share), output_dims, bias, group)

    def _extra_repr(self):
        outputs, inputs = self.weight.shape
        inputs *= self.group.size()
        return f"input_dims={inputs}, output_dims={outputs}, bias={'bias' in self}"

    def __call__(self, x):
        weight = self["weight"]
        _checks.last_axis("ShardedToAllLinear", x, weight.shape[1], f"weight {weight.shape}")
        y = mx.distributed.all_sum(x @ weight.T, group=self.group)
        return y + self["bias"] if "bias" in self else y


class _QuantizedSharded(_Quantized):
    """What the two share: frozen parameters, and making one from a quantized layer."""

    _sharding = None

    def _build(self, rows, columns, input_dims, output_dims, bias, settings, group):
        _checks.positive(type(self).__name__, input_dims=input_dims, output_dims=output_dims)
        scale = math.sqrt(1 / input_dims)
        weight = mx.random.uniform(low=-scale, high=scale, shape=(rows, columns))
        self._store(weight, *settings)
        if bias:
            self.bias = mx.zeros((output_dims,))
        self.group = group
        self.freeze()

    def unfreeze(self, *args, **kwargs):
        """Thaw submodules, but keep the quantized weight and the bias frozen."""
        super().unfreeze(*args, **kwargs)
        return self.freeze(recurse=False)

    @classmethod
    def from_quantized_linear(cls, quantized_linear_layer, *, segments=1, group=None):
        """Make one from a :class:`QuantizedLinear` layer.

        Args:
            quantized_linear_layer (QuantizedLinear): the layer.
            segments (int or list): as for :func:`shard_inplace`. Default: ``1``.
            group (Group, optional): the processes; all of them by default.
        """
        source = quantized_linear_layer
        group = _checks.members(group)
        layer = without_arrays(cls, draws=1)
        layer.group_size, layer.bits, layer.mode = source.group_size, source.bits, source.mode
        layer.biases = None
        for name, value in _shard(source.parameters(), cls._sharding(segments), group).items():
            setattr(layer, name, value)
        layer.group = group
        return layer.freeze()


class QuantizedAllToShardedLinear(_QuantizedSharded):
    """The quantized form of :class:`AllToShardedLinear`.

    Args:
        input_dims (int): size of the last axis of the input.
        output_dims (int): outputs of all processes together.
        bias (bool): whether to add a bias. Default: ``True``.
        group_size (int): entries that share a scale. Default: ``64``.
        bits (int): bits an entry. Default: ``4``.
        mode (str): the mode, see :func:`mlxc.core.quantize`. Default: ``"affine"``.
        group (Group, optional): the processes; all of them by default.

    Raises:
        ValueError: when the group does not divide ``output_dims``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.QuantizedAllToShardedLinear(64, 6)(mx.ones((2, 64))).shape
        (2, 6)
    """

    _sharding = staticmethod(_all_to_sharded)

    def __init__(
        self,
        input_dims,
        output_dims,
        bias=True,
        group_size=64,
        bits=4,
        mode="affine",
        group=None,
    ):
        super().__init__()
        group = _checks.members(group)
        share = _divided("QuantizedAllToShardedLinear", "output_dims", output_dims, group)
        settings = (group_size, bits, mode)
        self._build(share, input_dims, input_dims, share, bias, settings, group)

    def _extra_repr(self):
        outputs = self.weight.shape[0] * self.group.size()
        return (
            f"input_dims={self._columns()}, output_dims={outputs}, bias={'bias' in self}, "
            f"{self._settings_repr()}"
        )

    def __call__(self, x):
        y = self._product(sum_gradients(self.group)(x), "QuantizedAllToShardedLinear")
        return y + self["bias"] if "bias" in self else y


class QuantizedShardedToAllLinear(_QuantizedSharded):
    """The quantized form of :class:`ShardedToAllLinear`.

    Args:
        input_dims (int): inputs of all processes together.
        output_dims (int): size of the last axis of the output.
        bias (bool): whether to add a bias. Default: ``True``.
        group_size (int): entries that share a scale. Default: ``64``.
        bits (int): bits an entry. Default: ``4``.
        mode (str): the mode, see :func:`mlxc.core.quantize`. Default: ``"affine"``.
        group (Group, optional): the processes; all of them by default.

    Raises:
        ValueError: when the group does not divide ``input_dims``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.QuantizedShardedToAllLinear(64, 6)(mx.ones((2, 64))).shape
        (2, 6)
    """

    _sharding = staticmethod(_sharded_to_all)

    def __init__(
        self,
        input_dims,
        output_dims,
        bias=True,
        group_size=64,
        bits=4,
        mode="affine",
        group=None,
    ):
        super().__init__()
        group = _checks.members(group)
        share = _divided("QuantizedShardedToAllLinear", "input_dims", input_dims, group)
        settings = (group_size, bits, mode)
        self._build(output_dims, share, input_dims, output_dims, bias, settings, group)

    def _extra_repr(self):
        inputs = self._columns() * self.group.size()
        return (
            f"input_dims={inputs}, output_dims={self.weight.shape[0]}, bias={'bias' in self}, "
            f"{self._settings_repr()}"
        )

    def __call__(self, x):
        y = self._product(x, "QuantizedShardedToAllLinear")
        y = mx.distributed.all_sum(y, group=self.group)
        return y + self["bias"] if "bias" in self else y


def _gatherer(group, shapes, compute_dtype):
    """A function from shards to whole parameters, whose gradients are reduced and scattered.

    All shards travel in one message: each process sends its shards end to end.
    """
    processes = group.size()
    sizes = [math.prod(shape) // processes for shape in shapes]

    def join(shards):
        return mx.concatenate([shard.flatten() for shard in shards])

    def gather(*shards):
        if compute_dtype is not None:
            shards = [shard.astype(compute_dtype) for shard in shards]
        rows = mx.reshape(mx.distributed.all_gather(join(shards), group=group), (processes, -1))
        whole, start = [], 0
        for shape, size in zip(shapes, sizes, strict=True):
            whole.append(mx.reshape(rows[:, start : start + size], shape))
            start += size
        return whole

    def scatter(cotangents, shards):
        rows = [mx.reshape(ct, (processes, -1)) for ct in cotangents]
        flat = mx.concatenate(rows, axis=1).flatten()
        own = mx.distributed.sum_scatter(flat, group=group) / processes
        parts, start = [], 0
        for shard in shards:
            part = mx.reshape(own[start : start + shard.size], shard.shape)
            parts.append(part.astype(shard.dtype))
            start += shard.size
        return tuple(parts)

    wrapped = mx.custom_function(gather)

    @wrapped.vjp
    def gather_vjp(shards, cotangents, _):
        many = isinstance(shards, (list, tuple))
        shards = shards if many else (shards,)
        cotangents = cotangents if isinstance(cotangents, (list, tuple)) else (cotangents,)
        parts = scatter(cotangents, shards)
        return parts if many else parts[0]

    return wrapped


class FullyShardedModule(Module):
    """A module of which every process keeps a share of each parameter, cut along axis 0.

    The parameters are gathered for a call, and the gradients averaged and scattered after it,
    so that every process trains its own share.

    Args:
        module (Module): the module.
        group (Group, optional): the processes; all of them by default.
        compute_dtype (Dtype, optional): what gathered parameters are cast to.

    Raises:
        ValueError: when the group does not divide axis 0 of a parameter.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> nn.FullyShardedModule(nn.Linear(4, 6))(mx.ones((2, 4))).shape
        (2, 6)
    """

    def __init__(self, module, group=None, compute_dtype=None):
        super().__init__()
        group = _checks.members(group)
        _checks.a_module("FullyShardedModule", module)
        flat = tree_flatten(module.trainable_parameters())
        for path, x in flat:
            if x.ndim == 0:
                raise ValueError(f"[FullyShardedModule] {path} has no axis to shard")
        whole_shapes = [x.shape for _, x in flat]
        if group.size() > 1:
            shards = [(path, _shard_one(path, x, 0, 1, group)) for path, x in flat]
            module.update(tree_unflatten(shards) if shards else {})
        self.module = module
        # Names of its own: attributes with an underscore are no parameters.
        object.__setattr__(self, "_paths", [path for path, _ in flat])
        self._gather_fn = _gatherer(group, whole_shapes, compute_dtype)

    def _extra_repr(self):
        return f"num_sharded_params={len(self._paths)}"

    def _gathered_call(self, fn, *args, **kwargs):
        """Call `fn` while the module holds whole parameters."""
        own = dict(tree_flatten(self.module.parameters()))
        shards = [own[path] for path in self._paths]
        if not shards:
            return fn(*args, **kwargs)
        whole = self._gather_fn(*shards)
        whole = whole if isinstance(whole, (list, tuple)) else [whole]
        self.module.update(tree_unflatten(list(zip(self._paths, whole, strict=True))))
        try:
            return fn(*args, **kwargs)
        finally:
            back = list(zip(self._paths, shards, strict=True))
            self.module.update(tree_unflatten(back))

    def __call__(self, *args, **kwargs):
        return self._gathered_call(self.module, *args, **kwargs)

    def as_linear(self, *args, **kwargs):
        """Call the module's ``as_linear``, for embeddings."""
        return self._gathered_call(self.module.as_linear, *args, **kwargs)


def fully_shard(module, *, group=None, compute_dtype=None):
    """Wrap a module in a :class:`FullyShardedModule`; a group of one leaves it as it is.

    Args:
        module (Module): the module.
        group (Group, optional): the processes; all of them by default.
        compute_dtype (Dtype, optional): what gathered parameters are cast to.

    Returns:
        Module: the wrapped module, or the module itself.

    Example:
        >>> import mlxc.nn as nn
        >>> nn.fully_shard(nn.Linear(4, 6))
        Linear(input_dims=4, output_dims=6, bias=True)
    """
    group = _checks.members(group)
    _checks.a_module("fully_shard", module)
    if group.size() == 1:
        return module
    return FullyShardedModule(module, group=group, compute_dtype=compute_dtype)
