"""Types of mlxc._backends.cpu.conv, written by docs/stubs.py."""
