"""The version, in this one place: packaging and ``mlxc.__version__`` read it. Floor 0."""

__version__ = "0.1.0"
