"""The device that tests of shaders run on.

Rules: these tests need a library of Metal's, the Mac's own or the software one, which the
environment names in MLXC_METAL_LIBRARY (`make test-metal` sets it); without it none is collected.
What is promised by the software one alone is not asked of another.
"""

import os

import pytest

LIBRARY = os.environ.get("MLXC_METAL_LIBRARY", "")
SOFTWARE = "libmlxc_metal_soft" in LIBRARY
CHECKING = SOFTWARE and os.environ.get("MLXC_SOFTMETAL_CHECK", "0") not in ("", "0")

collect_ignore = []
collect_ignore_glob = [] if LIBRARY else ["test_*.py"]  # there is no device to run on
if not SOFTWARE:
    collect_ignore += ["test_softmetal.py", "test_lint.py", "test_clang.py"]
if not CHECKING:
    collect_ignore += ["test_faults.py"]  # faults that the check mode finds


@pytest.fixture(scope="session")
def device():
    from device import Device

    return Device(LIBRARY)
