"""What all optimisers share: state, schedules, and walking trees of gradients.

Rules: an optimiser changes nothing but its own state and what it returns; the state is a tree of
arrays with the structure of the parameters, beside ``step`` and the scheduled numbers, so that it
can be saved, captured by `compile` and restored.
"""

import mlxc.core as mx
from mlxc.nn.layers.base import Module
from mlxc.utils import tree_flatten, tree_map, tree_merge, tree_reduce, tree_unflatten


class OptimizerState(dict):
    """A dict that makes an empty dict for every key it is asked for and lacks.

    Example:
        >>> state = OptimizerState()
        >>> state["layer"]["momentum"] = 1
        >>> state
        {'layer': {'momentum': 1}}
    """

    def __getitem__(self, key):
        if key not in self:
            self[key] = OptimizerState()
        return super().__getitem__(key)

    def get(self, key, default=None):
        """The value of a key, or the default, which is not stored."""
        return super().__getitem__(key) if key in self else default


class Optimizer:
    """Base class: subclasses say how one array is updated, the base class walks the tree.

    A subclass defines ``init_single(parameter, state)`` and
    ``apply_single(gradient, parameter, state)``.

    Args:
        schedulers (dict, optional): functions of the step by the name of what they set.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> class Sign(optim.Optimizer):
        ...     def init_single(self, parameter, state):
        ...         pass
        ...     def apply_single(self, gradient, parameter, state):
        ...         return parameter - 0.5 * mx.sign(gradient)
        >>> Sign().apply_gradients({"w": mx.array([3.0])}, {"w": mx.array([1.0])})
        {'w': array([0.5], dtype=float32)}
    """

    def __init__(self, schedulers=None):
        self._initialized = False
        self._state = {"step": mx.array(0, mx.uint64)}
        self._schedulers = dict(schedulers or {})

    def update(self, model, gradients):
        """Apply gradients to a model.

        Args:
            model (Module): receives the new parameters.
            gradients (dict): a tree, such as :func:`mlxc.nn.value_and_grad` gives.

        Raises:
            KeyError, IndexError: when the model lacks a parameter of the tree.
            ValueError: when a gradient does not have the shape of its parameter.
        """
        model.update(self.apply_gradients(gradients, model))

    def init(self, parameters):
        """Make the state of parameters that have none yet; the first update does it otherwise.

        Args:
            parameters (dict): a tree of arrays, or a module.

        Raises:
            ValueError: when a parameter has the name of a number of the optimiser.

        Example:
            >>> import mlxc.nn as nn, mlxc.optimizers as optim
            >>> optimizer = optim.SGD(learning_rate=0.1, momentum=0.9)
            >>> optimizer.init(nn.Linear(2, 2).trainable_parameters())
            >>> list(optimizer.state)
            ['step', 'learning_rate', 'weight', 'bias']
        """
        if isinstance(parameters, Module):
            parameters = parameters.trainable_parameters()
        if isinstance(parameters, dict):
            for name in parameters:
                if isinstance(self._state.get(name), mx.array):
                    raise ValueError(
                        f"[{type(self).__name__}] a parameter is named {name!r}, which is a "
                        "number of the optimiser; give it another name"
                    )
        self._state = self._extended(self._state, parameters)
        self._initialized = True

    def _extended(self, state, parameters):
        """`state` with new entries for the parameters that have none."""
        if isinstance(parameters, dict):
            state = state if isinstance(state, dict) else {}
            for key, value in parameters.items():
                state[key] = self._extended(state.get(key), value)
            return state
        if isinstance(parameters, (list, tuple)):
            old = list(state) if isinstance(state, (list, tuple)) else []
            old += [None] * (len(parameters) - len(old))
            new = [self._extended(s, p) for s, p in zip(old, parameters, strict=False)]
            return type(parameters)(new + old[len(new) :])
        if isinstance(state, dict) and state:
            return state
        fresh = {}
        self.init_single(parameters, fresh)
        return fresh

    def init_single(self, parameter, state):
        """Make the state of one array; subclasses define it.

        Args:
            parameter (array): the array.
            state (dict): receives the entries.
        """
        raise NotImplementedError(f"{type(self).__name__} must define init_single")

    def apply_gradients(self, gradients, parameters):
        """Compute updated parameters, and advance the state.

        Args:
            gradients (dict): a tree of gradients.
            parameters (dict): a tree of arrays, or a module; a superset of ``gradients``.

        Returns:
            dict: the updated arrays, in the structure of ``gradients``.

        Raises:
            KeyError, IndexError: when ``parameters`` lacks an entry of ``gradients``.
            ValueError: when a gradient does not have the shape of its parameter.
        """
        if isinstance(gradients, (list, tuple, mx.array)):
            # The state is a dict: trees without names get one entry of it.
            name = "parameters"
            return self.apply_gradients({name: gradients}, {name: parameters})[name]
        self._check_shapes(gradients, parameters)
        if not self._initialized or not _covers(self._state, gradients):
            self.init(gradients)
        for name, schedule in self._schedulers.items():
            self._state[name] = _as_array(schedule(self.step))
        self._state["step"] = self.step + 1
        return tree_map(self.apply_single, gradients, parameters, self._state)

    def _check_shapes(self, gradients, parameters):
        """Raise before anything changes when a gradient does not fit its parameter."""
        if _fit(gradients, parameters):
            return
        found = tree_flatten(tree_map(lambda g, p: (g, p), gradients, parameters), is_leaf=_is_pair)
        for path, (gradient, parameter) in found:
            if gradient.shape != parameter.shape:
                raise ValueError(
                    f"[{type(self).__name__}] the gradient of {path!r} has shape "
                    f"{gradient.shape}, the parameter {parameter.shape}; they must match"
                )

    def apply_single(self, gradient, parameter, state):
        """Compute one updated array; subclasses define it.

        Args:
            gradient (array): its gradient.
            parameter (array): the array.
            state (dict): its state, which is advanced.

        Returns:
            array: the updated array.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply_single")

    @property
    def state(self):
        """The state: a tree of arrays that can be saved and set again."""
        return self._state

    @state.setter
    def state(self, state):
        self._initialized = False
        self._state = state

    @property
    def step(self):
        """The number of updates, an array."""
        return self._state["step"]

    @property
    def learning_rate(self):
        """The learning rate, an array."""
        return self._state["learning_rate"]

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self._state["learning_rate"] = _as_array(learning_rate)

    def _maybe_schedule(self, name, value):
        """Store a number, or a function of the step that gives it before every update."""
        if callable(value):
            self._schedulers[name] = value
            value = value(self.step)
        self._state[name] = _as_array(value)


def _fit(gradients, parameters):
    """Whether every gradient has a parameter of its shape."""
    if isinstance(gradients, dict):
        pairs = gradients.items()
    elif isinstance(gradients, (list, tuple)):
        pairs = enumerate(gradients)
    else:
        return gradients.shape == parameters.shape
    try:
        return all(_fit(gradient, parameters[key]) for key, gradient in pairs)
    except (KeyError, IndexError):
        return False


def _is_pair(node):
    return isinstance(node, tuple) and len(node) == 2 and isinstance(node[0], mx.array)


def _as_array(value):
    return value if isinstance(value, mx.array) else mx.array(value)


def _covers(state, gradients):
    """Whether a state has an entry for every gradient."""
    if isinstance(gradients, dict):
        return (
            isinstance(state, dict)
            and gradients.keys() <= state.keys()
            and all(_covers(state[key], value) for key, value in gradients.items())
        )
    if isinstance(gradients, (list, tuple)):
        return (
            isinstance(state, (list, tuple))
            and len(state) >= len(gradients)
            and all(map(_covers, state, gradients))
        )
    return isinstance(state, dict)


class MultiOptimizer(Optimizer):
    """Different optimisers for different parameters.

    Args:
        optimizers (list[Optimizer]): the optimisers; the last one takes what is left.
        filters (list[callable]): one for each optimiser but the last, a function of the dotted
            path and the array that says whether the optimiser takes it.

    Raises:
        ValueError: when the number of filters does not fit.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> both = optim.MultiOptimizer(
        ...     [optim.SGD(1.0), optim.SGD(0.5)], [lambda path, _: path.endswith("weight")]
        ... )
        >>> g = {"weight": mx.array([1.0]), "bias": mx.array([1.0])}
        >>> {k: v.item() for k, v in both.apply_gradients(g, g).items()}
        {'weight': 0.0, 'bias': 0.5}
    """

    def __init__(self, optimizers, filters=()):
        super().__init__()
        self._state = {}
        filters = list(filters)
        if len(filters) != len(optimizers) - 1:
            raise ValueError(f"Given {len(filters)} filters but {len(optimizers) - 1} needed.")
        self.optimizers = list(optimizers)
        self.filters = [*filters, lambda path, array: True]

    def _split_dictionary(self, gradients):
        """The part of a tree that each optimiser takes."""
        if len(self.optimizers) == 1:
            return [gradients]
        parts = [[] for _ in self.optimizers]
        for path, gradient in tree_flatten(gradients):
            for part, selects in zip(parts, self.filters, strict=True):
                if selects(path, gradient):
                    part.append((path, gradient))
                    break
        return [tree_unflatten(part) if part else {} for part in parts]

    def init(self, parameters):
        """Make the state of parameters that have none yet."""
        if isinstance(parameters, Module):
            parameters = parameters.trainable_parameters()
        for optimizer, part in zip(
            self.optimizers, self._split_dictionary(parameters), strict=True
        ):
            optimizer.init(part)
        self._initialized = True

    def apply_gradients(self, gradients, parameters):
        """Compute updated parameters, each by its optimiser; see :class:`Optimizer`."""
        updated = {}
        parts = self._split_dictionary(gradients)
        for optimizer, part in zip(self.optimizers, parts, strict=True):
            updated = tree_merge(updated, optimizer.apply_gradients(part, parameters))
        return updated

    @property
    def state(self):
        """The states of all optimisers: ``{"states": [...]}``."""
        return {"states": [optimizer.state for optimizer in self.optimizers]}

    @state.setter
    def state(self, state):
        states = state.get("states")
        if states is None or len(states) != len(self.optimizers):
            raise ValueError(
                f"Invalid state provided: it needs 'states', one for each of the "
                f"{len(self.optimizers)} optimisers"
            )
        for optimizer, own in zip(self.optimizers, states, strict=True):
            optimizer.state = own

    @property
    def learning_rate(self):
        """The learning rate of the first optimiser; setting it sets all of them."""
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        for optimizer in self.optimizers:
            optimizer.learning_rate = learning_rate


def clip_grad_norm(grads, max_norm):
    """Scale gradients so that their common norm is at most a bound (Pascanu et al., 2013, alg. 1).

    Args:
        grads (dict): a tree of gradients.
        max_norm (float): the bound.

    Returns:
        tuple: the scaled tree and the norm before, a float32 array.

    Example:
        >>> import mlxc.core as mx, mlxc.optimizers as optim
        >>> grads, norm = optim.clip_grad_norm({"w": mx.array([3.0, 4.0])}, max_norm=1.0)
        >>> norm.item()
        5.0
    """
    squares = tree_reduce(
        # In float32: the squares of half precision gradients overflow.
        lambda total, g: total + mx.sum(mx.square(g.astype(mx.float32))),
        grads,
        mx.array(0.0),
    )
    norm = mx.sqrt(squares)
    factor = mx.minimum(max_norm / (norm + 1e-6), 1.0)

    def scale(g):
        return g * factor.astype(g.dtype) if mx.issubdtype(g.dtype, mx.inexact) else g * factor

    return tree_map(scale, grads), norm
