"""Types of mlxc.transforms.rules, written by docs/stubs.py."""

INEXACT: tuple

class GradientError: ...
