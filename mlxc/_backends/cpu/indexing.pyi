"""Types of the indexing launchers' module, which has no Python functions."""
