"""Types of mlxc._backends.cpu.sort, written by docs/stubs.py."""
