"""Types of the creation launcher's module, which has no Python functions."""
