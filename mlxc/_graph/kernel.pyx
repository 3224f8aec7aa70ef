"""The registry of launchers: which function runs a Kernel row."""

cdef dict LAUNCHERS = {}          # name -> Launcher


cdef class Launcher:
    """A compiled launcher's address, or a Python callable."""


cdef int register_launcher(str name, launch_fn launch) except -1:
    """Enter a compiled launcher for the row called name."""
    cdef Launcher launcher = Launcher.__new__(Launcher)
    launcher.compiled = launch
    LAUNCHERS[name] = launcher
    return 0


def register_python_launcher(str name, function):
    """Enter a launcher written in Python: function(outs, ins, params) over NumPy views."""
    cdef Launcher launcher = Launcher.__new__(Launcher)
    launcher.compiled = NULL
    launcher.python = function
    LAUNCHERS[name] = launcher


cdef Launcher find_launcher(str name):
    """The launcher of a row; RuntimeError for a row that no back end runs."""
    launcher = LAUNCHERS.get(name)
    if launcher is None:
        raise RuntimeError(f"[{name}] no back end registered a launcher for this row")
    return launcher
