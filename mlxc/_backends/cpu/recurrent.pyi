"""Types of mlxc._backends.cpu.recurrent, written by docs/stubs.py."""
