"""Types of mlxc._backends.cpu.linalg, written by docs/stubs.py."""
