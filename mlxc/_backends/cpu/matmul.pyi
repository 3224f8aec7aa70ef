"""Types of mlxc._backends.cpu.matmul, written by docs/stubs.py."""
