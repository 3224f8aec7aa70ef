"""eval and async_eval."""

import threading
from concurrent.futures import ThreadPoolExecutor

from mlxc._graph import arrays_of, eval

__all__ = ["async_eval", "eval"]

_lock = threading.Lock()
_pending = []
_worker = None


def async_eval(*args):
    """Start to compute the values of arrays in the background; whoever reads one waits for it.

    Args:
        *args (arrays or trees of arrays): As for eval.

    Example:
        >>> import mlxc.core as mx
        >>> x = mx.ones((2,)) + 1
        >>> mx.async_eval(x)
        >>> x
        array([2, 2], dtype=float32)
    """
    global _worker
    arrays = arrays_of(args)
    with _lock:
        if _worker is None:
            _worker = ThreadPoolExecutor(1, thread_name_prefix="mlxc-async-eval")
        _pending[:] = [job for job in _pending if not job.done()]
        _pending.append(_worker.submit(eval, arrays))


def wait_for_all():
    """Wait for what async_eval has started, and raise what went wrong there."""
    with _lock:
        jobs, _pending[:] = _pending[:], []
    for job in jobs:
        job.result()


def _after_fork():
    """The worker thread does not exist in the child."""
    global _worker, _lock
    _worker = None
    _lock = threading.Lock()
    _pending.clear()


def _register():
    import os

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


_register()
