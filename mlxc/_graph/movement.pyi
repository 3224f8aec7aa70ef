"""Types of mlxc._graph.movement, written by docs/stubs.py."""
