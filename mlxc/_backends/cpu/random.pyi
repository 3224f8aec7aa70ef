"""Types of mlxc._backends.cpu.random, written by docs/stubs.py."""
