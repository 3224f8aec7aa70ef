"""Types of mlxc._backends.cpu.scan, written by docs/stubs.py."""
