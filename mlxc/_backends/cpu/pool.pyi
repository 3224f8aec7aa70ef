"""Types of mlxc._backends.cpu.pool, written by docs/stubs.py."""
