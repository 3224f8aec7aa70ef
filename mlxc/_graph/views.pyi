"""Types of mlxc._graph.views, written by docs/stubs.py."""
