"""Types of mlxc._graph.layouts, written by docs/stubs.py."""
