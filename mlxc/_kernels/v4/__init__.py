"""Kernels compiled for x86-64-v4 (AVX-512).

The build puts the modules here; imported only where the processor can run them.
"""
