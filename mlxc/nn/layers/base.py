"""`Module`: a dict of parameters and submodules that can be called, walked, frozen and saved.

Rules: arrays, dicts, lists, tuples and modules that are set as attributes live in the dict; all
other attributes are plain Python attributes. Names that begin with ``_`` are never parameters.
A method that replaces many entries checks all of them before it replaces the first.
"""

import os
import textwrap

import mlxc.core as mx
from mlxc.utils import tree_flatten, tree_unflatten

_SHOWN_NAMES = 8


def _is_floating(dtype):
    return mx.issubdtype(dtype, mx.floating)


class Module(dict):
    """Base class of all layers and models: a tree of parameters that knows how to be called.

    Subclass it, call ``super().__init__()``, set arrays and modules as attributes and define
    ``__call__``.

    Example:
        >>> import mlxc.core as mx, mlxc.nn as nn
        >>> class MLP(nn.Module):
        ...     def __init__(self, inputs, hidden):
        ...         super().__init__()
        ...         self.first = nn.Linear(inputs, hidden)
        ...         self.last = nn.Linear(hidden, 1)
        ...     def __call__(self, x):
        ...         return self.last(nn.relu(self.first(x)))
        >>> MLP(2, 8)
        MLP(
          (first): Linear(input_dims=2, output_dims=8, bias=True)
          (last): Linear(input_dims=8, output_dims=1, bias=True)
        )
        >>> MLP(2, 8)(mx.zeros((5, 2))).shape
        (5, 1)
    """

    def __init__(self):
        """Start an empty module in training mode with nothing frozen."""
        self._no_grad = set()
        self._training = True

    # Attributes ---------------------------------------------------------------------------

    @property
    def training(self):
        """Whether the module is in training mode; see :meth:`train`."""
        return self._training

    @property
    def state(self):
        """The module itself: a live dict of everything that :func:`mlxc.core.compile` captures."""
        return self

    def __getattr__(self, key):
        value = dict.get(self, key, _MISSING)
        if value is _MISSING:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}")
        return value

    def __setattr__(self, key, value):
        if isinstance(value, (mx.array, dict, list, tuple)):
            self.__dict__.pop(key, None)
            self[key] = value
        else:
            super().__setattr__(key, value)
            self.pop(key, None)

    def __delattr__(self, key):
        if key in self:
            del self[key]
        else:
            super().__delattr__(key)

    def _extra_repr(self):
        return ""

    def __repr__(self):
        children = tree_flatten(self.children(), is_leaf=self.is_module)
        text = f"{type(self).__name__}({self._extra_repr()}"
        for name, child in children:
            text += "\n" + textwrap.indent(f"({name}): {child!r}", "  ")
        return text + ("\n)" if children else ")")

    # Walking ------------------------------------------------------------------------------

    @staticmethod
    def is_module(value):
        """Whether a value is a module."""
        return isinstance(value, Module)

    @staticmethod
    def valid_child_filter(module, key, value):
        """Select what can lead to submodules: dicts (modules are dicts) and lists."""
        return isinstance(value, (dict, list))

    @staticmethod
    def valid_parameter_filter(module, key, value):
        """Select parameters and what can lead to them, by type and by public name."""
        return isinstance(value, (dict, list, mx.array)) and not key.startswith("_")

    @staticmethod
    def trainable_parameter_filter(module, key, value):
        """Select as :meth:`valid_parameter_filter` does, without what is frozen."""
        return Module.valid_parameter_filter(module, key, value) and key not in module._no_grad

    def filter_and_map(self, filter_fn, map_fn=None, is_leaf_fn=None):
        """Walk the module and keep what a filter selects.

        Args:
            filter_fn (callable): ``filter_fn(module, key, value) -> bool``; inside a list or a
                dict that the module holds, ``key`` is a dotted path.
            map_fn (callable, optional): applied to every kept leaf.
            is_leaf_fn (callable, optional): ``is_leaf_fn(module, key, value) -> bool``; by
                default everything but modules, dicts and lists is a leaf.

        Returns:
            dict: the kept leaves in nested dicts and lists; ``{}`` stands for what was dropped
            from a list or a dict.

        Example:
            >>> import mlxc.nn as nn
            >>> nn.Linear(2, 3).filter_and_map(lambda m, k, v: k == "bias", lambda v: v.shape)
            {'bias': (3,)}
        """

        def unwrap(module, key, value):
            if is_leaf_fn is not None:
                leaf = is_leaf_fn(module, key, value)
            else:
                leaf = not isinstance(value, (dict, list))
            if leaf:
                return value if map_fn is None else map_fn(value)
            if isinstance(value, Module):
                return {k: unwrap(value, k, v) for k, v in value.items() if filter_fn(value, k, v)}
            if isinstance(value, dict):
                return {k: inner(module, f"{key}.{k}", v) for k, v in value.items()}
            if isinstance(value, list):
                return [inner(module, f"{key}.{i}", v) for i, v in enumerate(value)]
            kind = type(value).__name__
            raise RuntimeError(f"[filter_and_map] {key} is a {kind}, which cannot be walked into")

        def inner(module, key, value):
            return unwrap(module, key, value) if filter_fn(module, key, value) else {}

        return {k: unwrap(self, k, v) for k, v in self.items() if filter_fn(self, k, v)}

    def parameters(self):
        """All arrays of the module and its submodules, in nested dicts and lists."""
        return self.filter_and_map(self.valid_parameter_filter)

    def trainable_parameters(self):
        """The arrays that are not frozen, in nested dicts and lists."""
        return self.filter_and_map(self.trainable_parameter_filter)

    def children(self):
        """The direct submodules, in nested dicts and lists."""
        return self.filter_and_map(
            self.valid_child_filter, is_leaf_fn=lambda m, k, v: isinstance(v, Module)
        )

    def leaf_modules(self):
        """The submodules, at any depth, that hold no modules themselves."""

        def is_leaf(module, key, value):
            return isinstance(value, Module) and not tree_flatten(
                value.children(), is_leaf=self.is_module
            )

        return self.filter_and_map(self.valid_child_filter, is_leaf_fn=is_leaf)

    def named_modules(self):
        """The module itself (named ``""``) and all its submodules, with dotted names."""
        found = []
        self.apply_to_modules(lambda name, module: found.append((name, module)))
        return found

    def modules(self):
        """The module itself and all its submodules."""
        return [module for _, module in self.named_modules()]

    def apply_to_modules(self, apply_fn):
        """Call ``apply_fn(name, module)`` for the module and all its submodules.

        Args:
            apply_fn (callable): receives a dotted name and a module.

        Returns:
            Module: this module.
        """
        stack = [("", self)]
        while stack:
            name, module = stack.pop()
            apply_fn(name, module)
            prefix = f".{name}" if name else ""
            stack += tree_flatten(module.children(), prefix=prefix, is_leaf=self.is_module)
        return self

    # Replacing ----------------------------------------------------------------------------

    def update(self, parameters, strict=True):
        """Replace parameters by the arrays of a tree, which may name only some of them.

        Nothing is replaced unless everything can be.

        Args:
            parameters (dict): nested as :meth:`parameters` nests them.
            strict (bool): whether names that the module lacks are an error, or are skipped.

        Returns:
            Module: this module.

        Raises:
            ValueError: for an unknown name, a list that is too long, or a value that is no
                array where the module has one.

        Example:
            >>> import mlxc.core as mx, mlxc.nn as nn
            >>> layer = nn.Linear(2, 1).update({"bias": mx.ones((1,))})
            >>> layer.bias.tolist()
            [1.0]
        """
        plan = []
        _plan_update(self, parameters, strict, "", plan)
        for container, key, value in plan:
            container[key] = value
        return self

    def update_modules(self, modules, strict=True):
        """Replace submodules by the modules of a tree, which may name only some of them.

        Nothing is replaced unless everything can be.

        Args:
            modules (dict): nested as :meth:`children` nests them.
            strict (bool): whether names that the module lacks are an error, or are skipped.

        Returns:
            Module: this module.

        Raises:
            ValueError: for an unknown name, a list that is too long, or a value that is no
                module where the module has one.
        """
        plan = []
        _plan_update_modules(self, modules, strict, "", plan)
        for container, key, value in plan:
            container[key] = value
        return self

    def apply(self, map_fn, filter_fn=None):
        """Replace every parameter by a function of itself.

        Args:
            map_fn (callable): maps an array to an array.
            filter_fn (callable, optional): selects the arrays, as in :meth:`filter_and_map`.

        Returns:
            Module: this module.
        """
        return self.update(self.filter_and_map(filter_fn or self.valid_parameter_filter, map_fn))

    def set_dtype(self, dtype, predicate=_is_floating):
        """Cast parameters.

        Args:
            dtype (Dtype): the new dtype.
            predicate (callable, optional): says by its dtype whether a parameter is cast;
                floating ones by default, all of them for ``None``.
        """

        def cast(x):
            return x.astype(dtype) if predicate is None or predicate(x.dtype) else x

        self.apply(cast)

    # Freezing and modes -------------------------------------------------------------------

    def _validate_keys(self, keys, strict):
        keys = keys if isinstance(keys, list) else [keys]
        if strict:
            for key in keys:
                if key not in self:
                    raise KeyError(f"Module doesn't contain member {key}.")
        return keys

    def _local_parameter_names(self):
        local = self.filter_and_map(
            lambda m, k, v: not isinstance(v, Module) and self.valid_parameter_filter(m, k, v)
        )
        return [name for name, _ in tree_flatten(local)]

    def _for_freezing(self, recurse, keys, strict):
        """The modules to mark, and the validated names."""
        modules = self.modules() if recurse else [self]
        if keys is None:
            return modules, None
        keys = list(keys) if isinstance(keys, (list, tuple, set)) else [keys]
        if strict:
            for key in keys:
                if not any(key in module for module in modules):
                    raise KeyError(f"Module doesn't contain member {key}.")
        return modules, keys

    def freeze(self, *, recurse=True, keys=None, strict=False):
        """Mark parameters as not to be trained.

        Args:
            recurse (bool): whether submodules are frozen too.
            keys (str or list[str], optional): the names to freeze; all by default.
            strict (bool): whether a name that exists nowhere is an error.

        Returns:
            Module: this module.

        Raises:
            KeyError: for an unknown name, when ``strict``.

        Example:
            >>> import mlxc.nn as nn
            >>> list(nn.Linear(2, 1).freeze(keys="weight").trainable_parameters())
            ['bias']
        """
        modules, keys = self._for_freezing(recurse, keys, strict)
        for module in modules:
            module._no_grad.update(module._local_parameter_names() if keys is None else keys)
        return self

    def unfreeze(self, *, recurse=True, keys=None, strict=False):
        """Mark parameters as to be trained again.

        Args:
            recurse (bool): whether submodules are thawed too.
            keys (str or list[str], optional): the names to thaw; all by default.
            strict (bool): whether a name that exists nowhere is an error.

        Returns:
            Module: this module.

        Raises:
            KeyError: for an unknown name, when ``strict``.
        """
        modules, keys = self._for_freezing(recurse, keys, strict)
        for module in modules:
            # Layers with state of their own override this method to keep that state frozen.
            if module is not self and type(module).unfreeze is not Module.unfreeze:
                module.unfreeze(recurse=False, keys=keys)
            elif keys is None:
                module._no_grad.clear()
            else:
                module._no_grad.difference_update(keys)
        return self

    def _set_training_mode(self, mode):
        self._training = mode

    def train(self, mode=True):
        """Set training mode for the module and its submodules, for the layers that have one.

        Args:
            mode (bool): whether to train; ``False`` is :meth:`eval`.

        Returns:
            Module: this module.
        """
        return self.apply_to_modules(lambda _, module: module._set_training_mode(bool(mode)))

    def eval(self):
        """Leave training mode; the same as ``train(False)``."""
        return self.train(False)

    # Files --------------------------------------------------------------------------------

    def load_weights(self, file_or_weights, strict=True):
        """Replace parameters from a file, or from pairs of name and array.

        Args:
            file_or_weights (str, os.PathLike, list or dict): an ``.npz`` or ``.safetensors``
                file, or the weights themselves by dotted name.
            strict (bool): whether the weights must be exactly those of the model, shapes
                included. Otherwise names that the model lacks are skipped and shapes are free.

        Returns:
            Module: this module.

        Raises:
            ValueError: when the weights do not fit; the model is unchanged then.
        """
        weights = file_or_weights
        if isinstance(weights, (str, os.PathLike)):
            weights = mx.load(os.fspath(weights))
        weights = dict(weights)
        if strict:
            self._check_weights(weights)
        if weights:
            self.update(tree_unflatten(weights), strict=False)
        return self

    def _check_weights(self, weights):
        have = tree_flatten(self.parameters(), destination={})
        for names, what in (
            (weights.keys() - have.keys(), "Received {} parameters not in model: \n{}."),
            (have.keys() - weights.keys(), "Missing {} parameters: \n{}."),
        ):
            if names:
                raise ValueError(what.format(len(names), ",\n".join(sorted(names))))
        for name, value in weights.items():
            if not isinstance(value, mx.array):
                kind = type(value)
                raise ValueError(f"Expected mx.array but received {kind} for parameter {name}")
            if value.shape != have[name].shape:
                raise ValueError(
                    f"Expected shape {have[name].shape} but received shape {value.shape} "
                    f"for parameter {name}"
                )

    def save_weights(self, file):
        """Write the parameters to a file.

        Args:
            file (str or os.PathLike): a name that ends in ``.npz`` or ``.safetensors``.

        Raises:
            ValueError: for any other ending.
        """
        file = os.fspath(file)
        parameters = tree_flatten(self.parameters(), destination={})
        if file.endswith(".npz"):
            mx.savez(file, **parameters)
        elif file.endswith(".safetensors"):
            mx.save_safetensors(file, parameters)
        else:
            raise ValueError(
                f"Unsupported file extension for {file}. Use '.npz' or '.safetensors'."
            )


_MISSING = object()


def _entries(tree):
    """The (key, value) pairs of a dict or list of replacements, else None."""
    if isinstance(tree, dict):
        return tree.items()
    return enumerate(tree) if isinstance(tree, (list, tuple)) else None


def _reject(path, value):
    raise ValueError(
        f"Received invalid type: {type(value).__name__}. "
        f"It does not fit {path or 'the module itself'!r}, which was left unchanged."
    )


def _unknown(kind, path, owner, key):
    known = ", ".join(repr(name) for name in list(owner)[:_SHOWN_NAMES])
    raise ValueError(
        f'Module does not have {kind} named "{key}". '
        f"It is not in {path or type(owner).__name__!r}, which has {known or 'none'}."
    )


def _plan_update(target, tree, strict, path, plan):
    """Append to `plan` the assignments that put the arrays of `tree` into `target`."""
    entries = _entries(tree)
    is_list = isinstance(target, list)
    if entries is None or (not path and not isinstance(tree, dict)):
        return _reject(path, tree)
    if isinstance(tree, (list, tuple)) != is_list and tree:
        return _unknown("parameter", path, target, next(iter(entries))[0]) if strict else None
    for key, new in entries:
        where = f"{path}.{key}" if path else str(key)
        if isinstance(new, (dict, list, tuple)) and not new:
            continue  # A walk leaves an empty dict where it took nothing.
        if is_list and key >= len(target):
            if strict:
                _out_of_bounds(key, target)
            continue
        if not is_list and key not in target:
            if strict:
                _unknown("parameter", path, target, key)
            continue
        old = target[key]
        if isinstance(old, mx.array):
            if not isinstance(new, mx.array):
                _reject(where, new)
            plan.append((target, key, new))
        elif isinstance(old, (dict, list)) and isinstance(new, (dict, list, tuple)):
            _plan_update(old, new, strict, where, plan)
        elif strict:
            _reject(where, new)


def _plan_update_modules(target, tree, strict, path, plan):
    """Append to `plan` the assignments that put the modules of `tree` into `target`."""
    entries = _entries(tree)
    is_list = isinstance(target, list)
    if entries is None or (not path and not isinstance(tree, dict)):
        return _reject(path, tree)
    if isinstance(tree, (list, tuple)) != is_list and tree:
        return _unknown("sub-module", path, target, next(iter(entries))[0]) if strict else None
    for key, new in entries:
        where = f"{path}.{key}" if path else str(key)
        if is_list and key >= len(target):
            if strict:
                _out_of_bounds(key, target)
            continue
        if not is_list and key not in target:
            if strict:
                _unknown("sub-module", path, target, key)
            continue
        old = target[key]
        if isinstance(new, Module):
            if isinstance(old, Module):
                plan.append((target, key, new))
            elif strict:
                _reject(where, new)
        elif isinstance(old, (dict, list)) and isinstance(new, (dict, list, tuple)):
            _plan_update_modules(old, new, strict, where, plan)
        elif strict and new != {}:
            _reject(where, new)


def _out_of_bounds(index, target):
    raise ValueError(
        f"List index {index} is out of bounds for destination of length {len(target)}."
    )


def without_arrays(kind, draws):
    """A layer of a kind, to be given the arrays of another one.

    The random state moves on as if as many arrays had been drawn, as it does in MLX, so that a
    program that converts layers gets the same numbers afterwards.
    """
    layer = kind.__new__(kind)
    Module.__init__(layer)
    for _ in range(draws):
        mx.random.uniform()
    return layer
