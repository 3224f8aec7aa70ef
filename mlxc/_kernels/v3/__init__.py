"""Kernels compiled for x86-64-v3 (AVX2, FMA).

The build puts the modules here; imported only where the processor can run them.
"""
