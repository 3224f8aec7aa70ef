"""Kernels compiled for x86-64-v2 (SSE4.2).

The build puts the modules here; imported only where the processor can run them.
"""
