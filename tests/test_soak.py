"""A short soak, and that a leak would be found: see soak.py."""

import sys

import pytest
from support import output_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def test_twenty_seconds_of_everything_leave_memory_flat():
    code = "import sys; sys.argv = ['soak', '--minutes', '0.33', '--seed', '1']\n"
    output_of(code + "from tests.soak import main; sys.exit(main())")


def test_a_soak_sees_an_activity_that_leaks():
    code = (
        "import mlxc.core as mx\n"
        "from tests.soak import ALLOWANCE, soak\n"
        "kept = []\n"
        "def leak(rng, folder):\n"
        "    kept.append(mx.arange(1 << 15) + 1)\n"
        "    mx.eval(kept)\n"
        "grown = soak(3, 1, say=lambda *_, **__: None, activities=[leak])\n"
        "assert grown[0] > ALLOWANCE and grown[1] > ALLOWANCE, grown\n"
    )
    output_of(code)
