"""Types of the strided blocks' module, which has no Python functions."""
