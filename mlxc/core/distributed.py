"""The namespace ``mlxc.core.distributed``: groups of processes. A group has one process, the
calling one.

Rules: what one process can answer alone is answered (sums over a group of one are the array
itself), and what needs a second process is refused. No backend that connects processes is there, so
``init(strict=True)`` raises. This module shadows no built-in name, but its functions share theirs
with other modules: use it as ``mx.distributed``.
"""

from operator import index as _index

from ._arguments import as_array as _as_array

__all__ = [
    "Group",
    "all_gather",
    "all_max",
    "all_min",
    "all_sum",
    "init",
    "is_available",
    "recv",
    "recv_like",
    "send",
    "sum_scatter",
]

_BACKENDS = ("any", "mpi", "nccl", "jaccl", "ring")


class Group:
    """Processes that can communicate; made by ``init``.

    Example:
        >>> import mlxc.core as mx
        >>> group = mx.distributed.init()
        >>> group.rank(), group.size()
        (0, 1)
    """

    def rank(self):
        """The number of this process.

        Returns:
            int: 0.
        """
        return 0

    def size(self):
        """How many processes there are.

        Returns:
            int: 1.
        """
        return 1

    def split(self, color, key=-1):
        """The subgroup of the processes that give the same color.

        Args:
            color (int): Which subgroup.
            key (int): The order within it; negative keeps the present one.

        Returns:
            Group: Of this process alone.

        Raises:
            TypeError: If color or key is no integer.
        """
        _index(color), _index(key)
        return Group()

    def __repr__(self):
        return "Group(rank=0, size=1)"


_world = Group()


def _check_backend(op, backend):
    if backend not in _BACKENDS:
        names = ", ".join(map(repr, _BACKENDS))
        raise ValueError(f"[{op}] backend {backend!r}; one of {names} would be right")


def _check_group(op, group):
    """The group that is meant: None is that of all processes."""
    if group is not None and not isinstance(group, Group):
        raise TypeError(f"[{op}] group {group!r}; a Group or None would be right")


def is_available(backend="any"):
    """Whether processes can be connected.

    Args:
        backend (str): "any", "mpi", "nccl", "jaccl" or "ring".

    Returns:
        bool: False: a group has one process.

    Raises:
        ValueError: If no backend has that name.

    Example:
        >>> import mlxc.core as mx
        >>> mx.distributed.is_available()
        False
    """
    _check_backend("is_available", backend)
    return False


def init(strict=False, backend="any", *, all_gather_factory=None):
    """The group of all processes.

    Args:
        strict (bool): Raise where processes cannot be connected, instead of giving a group of one.
        backend (str): "any", "mpi", "nccl", "jaccl" or "ring".
        all_gather_factory (callable, optional): For "jaccl", which is not there.

    Returns:
        Group: Of this process alone.

    Raises:
        RuntimeError: If ``strict``, since there is no backend.
        ValueError: If no backend has that name.

    Example:
        >>> import mlxc.core as mx
        >>> mx.distributed.init().size()
        1
    """
    _check_backend("init", backend)
    if strict:
        raise RuntimeError(
            f"[init] no backend for {backend!r} is there; without strict=True a group of one "
            "process would be given"
        )
    return _world


def _alone(op, x, group):
    """What every sum, maximum and concatenation over one process is."""
    _check_group(op, group)
    return _as_array(x)


def all_sum(x, *, group=None, stream=None):
    """The sum of the arrays of all processes.

    Args:
        x (array): Of any shape.
        group (Group, optional): Whose processes.

    Returns:
        array: ``x``, since there is one process.

    Raises:
        TypeError: If ``group`` is no group.

    Example:
        >>> import mlxc.core as mx
        >>> mx.distributed.all_sum(mx.array([1, 2]))
        array([1, 2], dtype=int32)
    """
    return _alone("all_sum", x, group)


def all_max(x, *, group=None, stream=None):
    """The largest of the values of all processes.

    Args:
        x (array): Of any shape.
        group (Group, optional): Whose processes.

    Returns:
        array: ``x``, since there is one process.

    Raises:
        TypeError: If ``group`` is no group.

    Example:
        >>> import mlxc.core as mx
        >>> mx.distributed.all_max(mx.array([1, 2]))
        array([1, 2], dtype=int32)
    """
    return _alone("all_max", x, group)


def all_min(x, *, group=None, stream=None):
    """The smallest of the values of all processes.

    Args:
        x (array): Of any shape.
        group (Group, optional): Whose processes.

    Returns:
        array: ``x``, since there is one process.

    Raises:
        TypeError: If ``group`` is no group.

    Example:
        >>> import mlxc.core as mx
        >>> mx.distributed.all_min(mx.array([1, 2]))
        array([1, 2], dtype=int32)
    """
    return _alone("all_min", x, group)


def all_gather(x, *, group=None, stream=None):
    """The arrays of all processes, one after the other along the first axis.

    Args:
        x (array): Of the same shape in every process.
        group (Group, optional): Whose processes.

    Returns:
        array: ``x``, since there is one process; with one axis where it had none.

    Raises:
        TypeError: If ``group`` is no group.

    Example:
        >>> import mlxc.core as mx
        >>> mx.distributed.all_gather(mx.array([1, 2]))
        array([1, 2], dtype=int32)
    """
    x = _alone("all_gather", x, group)
    return x if x.ndim else x.reshape(1)


def sum_scatter(x, *, group=None, stream=None):
    """This process's share, along the first axis, of the sum of the arrays of all processes.

    Args:
        x (array): At least one axis; the number of processes divides the first one.
        group (Group, optional): Whose processes.

    Returns:
        array: ``x``, since there is one process.

    Raises:
        TypeError: If ``group`` is no group.
        ValueError: If ``x`` has no axes.

    Example:
        >>> import mlxc.core as mx
        >>> mx.distributed.sum_scatter(mx.array([1, 2]))
        array([1, 2], dtype=int32)
    """
    x = _alone("sum_scatter", x, group)
    if x.ndim == 0:
        raise ValueError(
            "[sum_scatter] an array without axes; at least one axis, to be shared, would be right"
        )
    return x


def send(x, dst, *, group=None, stream=None):
    """Send an array to another process.

    Args:
        x (array): What to send.
        dst (int): The number of the process.
        group (Group, optional): Whose number.

    Raises:
        ValueError: Always, since there is no other process.
    """
    _check_group("send", group)
    raise ValueError(
        f"[send] to process {dst!r} of a group of one; there is no other process to send to"
    )


def recv(shape, dtype, src, *, group=None, stream=None):
    """Receive an array from another process.

    Args:
        shape (sequence of int): Its shape.
        dtype (Dtype): Its dtype.
        src (int): The number of the process.
        group (Group, optional): Whose number.

    Raises:
        ValueError: Always, since there is no other process.
    """
    _check_group("recv", group)
    raise ValueError(
        f"[recv] from process {src!r} of a group of one; there is no other process to receive from"
    )


def recv_like(x, src, *, group=None, stream=None):
    """Receive an array with the shape and dtype of another from another process.

    Args:
        x (array): What it is like.
        src (int): The number of the process.
        group (Group, optional): Whose number.

    Raises:
        ValueError: Always, since there is no other process.
    """
    x = _as_array(x)
    return recv(x.shape, x.dtype, src, group=group, stream=stream)
