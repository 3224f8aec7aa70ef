"""Types of mlxc._graph.run, written by docs/stubs.py."""
