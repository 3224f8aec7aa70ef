"""Kernels compiled for 64-bit ARM (NEON).

The build puts the modules here; imported only where the processor can run them.
"""
