"""The namespace ``mlxc.core.cuda``: NVIDIA's GPUs, for which there is no back end."""

__all__ = ["is_available"]


def is_available():
    """Whether there is a CUDA device to run on.

    Returns:
        bool: False.

    Example:
        >>> import mlxc.core as mx
        >>> mx.cuda.is_available()
        False
    """
    return False
