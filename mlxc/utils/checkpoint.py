"""One file that holds all of a training run, and one call each to write and to resume it.

The file is a safetensors file: any reader can open it. Rules: a save is atomic (a temporary file
beside the target, then ``os.replace``), so a crash leaves the old checkpoint or the new one and
never half of one; a load checks every name, shape and dtype before it changes anything.
"""

import contextlib
import json
import os
import secrets

import mlxc.core as mx
from mlxc.utils.tree import tree_flatten, tree_unflatten

_FORMAT = "mlxc-checkpoint-1"


def save_checkpoint(path, model, optimizer=None, *, step=0, **extra):
    """Write model, optimiser, random state and step into one file, atomically.

    Training that is resumed from the file with :func:`load_checkpoint` gives the same bits as
    training that was never interrupted.

    Args:
        path (str or os.PathLike): the file to write, by custom ``*.safetensors``.
        model (Module): its parameters and which of them are frozen are saved.
        optimizer (Optimizer, optional): its state is saved.
        step (int): the number of the training step.
        **extra: values that JSON can hold (epoch, best loss...), handed back by the load.

    Raises:
        TypeError: when an extra value cannot be written as JSON.
        OSError: when the file cannot be written.

    Example:
        >>> import os, tempfile
        >>> import mlxc.nn as nn, mlxc.optimizers as optim
        >>> model, optimizer = nn.Linear(2, 1), optim.Adam(1e-3)
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> save_checkpoint(path, model, optimizer, step=7, epoch=2)
        >>> load_checkpoint(path, model, optimizer)
        {'step': 7, 'epoch': 2}
    """
    try:
        details = json.dumps({"step": int(step), **extra})
    except TypeError as error:
        raise TypeError(
            f"[save_checkpoint] an extra value is not JSON ({error}); pass numbers and strings"
        ) from None
    arrays = tree_flatten(model.parameters(), prefix=".model", destination={})
    if optimizer is not None:
        tree_flatten(optimizer.state, prefix=".optimizer", destination=arrays)
    tree_flatten(list(mx.random.state), prefix=".random", destination=arrays)
    frozen = {name: sorted(m._no_grad) for name, m in model.named_modules() if m._no_grad}
    metadata = {
        "format": _FORMAT,
        "details": details,
        "frozen": json.dumps(frozen),
        "has_optimizer": json.dumps(optimizer is not None),
    }
    for name, value in arrays.items():
        if not isinstance(value, mx.array):
            kind = type(value).__name__
            raise TypeError(f"[save_checkpoint] {name} is a {kind}; only arrays can be saved")

    path = os.fspath(path)
    # The suffix stays last: the writer adds one of its own otherwise.
    temporary = f"{path}.{os.getpid()}-{secrets.token_hex(4)}.safetensors"
    try:
        mx.save_safetensors(temporary, arrays, metadata)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def load_checkpoint(path, model, optimizer=None):
    """Restore what :func:`save_checkpoint` wrote, so that training goes on bit for bit.

    Args:
        path (str or os.PathLike): the file.
        model (Module): receives the parameters and their frozen marks.
        optimizer (Optimizer, optional): receives the state.

    Returns:
        dict: ``step`` and the extra values of the save.

    Raises:
        ValueError: when the file is not a checkpoint or does not fit; nothing is changed then.
        FileNotFoundError: when there is no such file.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"[load_checkpoint] there is no file {path}")
    arrays, metadata = mx.load(path, format="safetensors", return_metadata=True)
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"[load_checkpoint] {path} has format {metadata.get('format')!r}, not {_FORMAT!r}; "
            "read plain weights with Module.load_weights"
        )
    parts = {"model": [], "optimizer": [], "random": []}
    for name, value in arrays.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise ValueError(f"[load_checkpoint] {path} holds an unknown entry {name!r}")
        parts[part].append((rest, value))
    _check_weights(path, model, parts["model"])
    if optimizer is not None and not json.loads(metadata["has_optimizer"]):
        raise ValueError(f"[load_checkpoint] {path} holds no optimiser state")

    mx.eval(list(arrays.values()))
    model.update(tree_unflatten(parts["model"]) if parts["model"] else {})
    frozen = json.loads(metadata["frozen"])
    for name, module in model.named_modules():
        module._no_grad.clear()
        module._no_grad.update(frozen.get(name, ()))
    if optimizer is not None:
        optimizer.state = tree_unflatten(parts["optimizer"])
    high, low = dict(parts["random"])["0"].tolist()
    mx.random.seed(high << 32 | low)
    return json.loads(metadata["details"])


def _check_weights(path, model, weights):
    """Compare names, shapes and dtypes of a file and a model."""
    have = tree_flatten(model.parameters(), destination={})
    given = dict(weights)
    missing, unknown = sorted(have.keys() - given.keys()), sorted(given.keys() - have.keys())
    if missing or unknown:
        raise ValueError(
            f"[load_checkpoint] {path} does not fit the model: "
            f"missing {missing[:5]}, not in the model {unknown[:5]}"
        )
    for name, value in given.items():
        want = have[name]
        if (value.shape, value.dtype) != (want.shape, want.dtype):
            raise ValueError(
                f"[load_checkpoint] {name} has shape {value.shape} and dtype {value.dtype} in "
                f"{path}, but {want.shape} and {want.dtype} in the model"
            )
