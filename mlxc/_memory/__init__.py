"""The bytes behind arrays: buffers, their cache, and how much of it there may be. Floor 1."""
