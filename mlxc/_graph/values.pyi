"""Types of mlxc._graph.values, written by docs/stubs.py."""
