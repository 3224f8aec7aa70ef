"""The one pool of threads that all kernels share. Floor 1."""
