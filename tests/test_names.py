"""The public names that are promised: those of MLX, one a line in names.txt, under the same path.

Rules: a name that is missing fails; none is skipped. Names of attributes are asked of an instance.
Names that need a device which is not there exist as well, and say so when they are used.
"""

import importlib
from pathlib import Path

import pytest

import mlxc.core as mx

NAMES = Path(__file__).with_name("names.txt").read_text().split()
INSTANCES = {
    "mlxc.core.Device": mx.Device(mx.cpu),
    "mlxc.core.Stream": mx.default_stream(mx.cpu),
    "mlxc.core.array": mx.array([1, 2, 3]),
}
MODULES = (
    "core",
    "core.fast",
    "core.fft",
    "core.linalg",
    "core.random",
    "nn",
    "optimizers",
    "utils",
)


def find(name):
    """The thing of a dotted name, or AttributeError."""
    parts = name.split(".")
    thing, path = importlib.import_module(parts[0]), parts[0]
    for part in parts[1:]:
        path = f"{path}.{part}"
        if hasattr(thing, part):
            thing = getattr(thing, part)
            continue
        owner = path.rpartition(".")[0]
        try:
            thing = importlib.import_module(path)
        except ModuleNotFoundError:
            # an attribute of instances, or of what a property of arrays gives
            instance = (
                INSTANCES.get(owner) if owner in INSTANCES else INSTANCES["mlxc.core.array"].at
            )
            if owner not in INSTANCES and owner != "mlxc.core.array.at":
                raise AttributeError(f"there is no {path}") from None
            thing = getattr(instance, part)
    return thing


def missing(names):
    """The names that nothing stands for."""
    absent = []
    for name in names:
        try:
            find(name)
        except AttributeError:
            absent.append(name)
    return absent


def test_every_promised_name_exists():
    assert missing(NAMES) == []


def test_a_missing_name_is_found_missing():
    unknown = [
        "mlxc.core.sine",
        "mlxc.nn.Linear.forwards",
        "mlxc.core.array.at.plus",
        "mlxc.nothing",
    ]
    assert missing(unknown) == unknown


# What MLX does not have, and Python's way of giving a namespace more names.
ADDITIONS = {
    "core": {"argwhere", "nonzero", "profile"},
    "core.debug": {"anomaly", "set_anomaly"},
    "core.random": {"bits", "state"},
    "utils": {"load_checkpoint", "save_checkpoint"},
}
SPACES = (
    "core",
    "core.cuda",
    "core.debug",
    "core.distributed",
    "core.fast",
    "core.fft",
    "core.linalg",
    "core.metal",
    "core.random",
    "nn",
    "nn.init",
    "nn.losses",
    "optimizers",
    "utils",
)


def unpromised(space, module):
    """Public names of a namespace that are neither promised nor said to be additions; of packages
    in Python, their modules are none."""
    modules = () if space.startswith("core") else type(module)
    return {
        name
        for name in vars(module)
        if not name.startswith("_")
        and f"mlxc.{space}.{name}" not in NAMES
        and f"{space}.{name}" not in SPACES
        and not (modules and isinstance(getattr(module, name), modules))
    }


@pytest.mark.parametrize("space", SPACES)
def test_namespaces_hold_what_is_promised_and_nothing_by_accident(space):
    module = importlib.import_module(f"mlxc.{space}")
    assert unpromised(space, module) == ADDITIONS.get(space, set())


def test_a_name_that_slipped_into_a_namespace_is_found():
    module = type(mx)("space")
    module.as_array = module.absolute = module._hidden = 1
    assert unpromised("core.fft", module) == {"absolute", "as_array"}


def test_names_are_sorted_and_stand_once():
    assert sorted(set(NAMES)) == NAMES and len(NAMES) > 700


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_has_a_docstring(module):
    space = importlib.import_module(f"mlxc.{module}")
    published = {
        name: getattr(space, name)
        for name in getattr(space, "__all__", vars(space))
        if name[0] != "_"
    }
    silent = [name for name, thing in published.items() if callable(thing) and not thing.__doc__]
    assert silent == []


def test_devices_that_are_not_there_say_so():
    assert not mx.metal.is_available() and not mx.cuda.is_available()
    assert mx.metal.device_info() == {}
    for name, call in {
        "metal": lambda: mx.metal.start_capture("trace.gputrace"),
        "metal_kernel": lambda: mx.fast.metal_kernel(
            name="f", input_names=["x"], output_names=["y"], source=""
        )(
            inputs=[mx.ones(1)],
            output_shapes=[(1,)],
            output_dtypes=[mx.float32],
            grid=(1, 1, 1),
            threadgroup=(1, 1, 1),
        ),  # fmt: skip
        "cuda_kernel": lambda: mx.fast.cuda_kernel(
            name="f", input_names=["x"], output_names=["y"], source=""
        ),
    }.items():
        with pytest.raises(RuntimeError, match=name):
            call()
    with pytest.raises(ValueError, match="this machine has"):
        mx.set_default_device(mx.gpu)
