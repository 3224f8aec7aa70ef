"""Benchmarks: each case is declared once, in the file of its family, for mlxc and its peers.

``python -m bench`` compares; ``pytest bench`` measures mlxc alone with pytest-benchmark.
"""
