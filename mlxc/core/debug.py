"""The namespace ``mlxc.core.debug``: which operation first made a NaN or an infinity.

While anomalies are watched every operation is evaluated by itself (nothing is fused, nothing
compiled) and its results are looked at. Nodes are known by address, in a table of the places in the
user's code that made them. Otherwise nothing of this runs.

Two rules decide who is blamed:

* An operation whose results have a NaN though its operands have none, or an infinity though its
  operands are finite. What came in from outside is blamed on nobody.
* Inside a function or a derivative of ours, values may be infinite that are masked before it ends.
  They are blamed once one of them leaves it.
"""

import linecache as _linecache
import os as _os
import sys as _sys
import threading as _threading
from contextlib import ContextDecorator as _ContextDecorator

import numpy as _np

from mlxc._graph import handle as _handle
from mlxc._graph.node import watch_new_nodes as _watch_new_nodes
from mlxc._graph.watching import computes as _computes
from mlxc._graph.watching import is_bundle as _is_bundle
from mlxc._graph.watching import row_name as _row_name
from mlxc._graph.watching import set_watcher as _set_watcher

from .dtypes import uint16 as _uint16

__all__ = ["anomaly", "set_anomaly"]

_OURS = _os.path.dirname(_os.path.dirname(_os.path.abspath(__file__))) + _os.sep


class _Place:
    """What made a node: a line of the user's code, a function of ours in between or none, and the
    operation that a transform derived it from or none."""

    __slots__ = ("derived", "file", "function", "group", "inside", "line")

    def __init__(self, frame, inside, derived=None, serial=0):
        self.file, self.line, self.function = None, 0, ""
        if frame is not None:
            self.file, self.line = frame.f_code.co_filename, frame.f_lineno
            self.function = frame.f_code.co_name
        self.inside = inside
        self.derived = derived
        # Nodes of one call of a function of ours, or of one rule, are one group; a node that the
        # user's code makes by itself is in none.
        own = inside is None and not serial
        self.group = None if own else (id(frame), frame and frame.f_lasti, serial)

    def moved(self, other):
        """The same, at the line of another place."""
        self.file, self.line, self.function = other.file, other.line, other.function
        self.inside = other.inside
        return self

    def __str__(self):
        derived = f"in the {self.derived}, " if self.derived else ""
        if self.file is None:
            return derived + "made where anomalies were not watched yet"
        inside = f" by {self.inside}" if self.inside else ""
        text = _linecache.getline(self.file, self.line).strip()
        return f"{derived}made{inside} at {self.file}:{self.line} in {self.function}: {text}"


def _user_frame(frame):
    """The innermost frame outside of mlxc, and the names of the functions of ours that it called,
    the first and the last one, or None."""
    first = last = None
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        first = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
        last = last or first
        frame = frame.f_back
    return frame, first if first == last else f"{last} in {first}"


class _Level:
    """A transform at work: the user's frame that it runs in, the node it has come to, and what it
    makes of that: its "gradient", its "derivative" or its "batch"."""

    def __init__(self, how):
        self.how = how
        self.frame = _user_frame(_sys._getframe(2))[0]
        self.place = None
        self.name = ""
        self.serial = 0


class _Work(_threading.local):
    """What a thread is doing: its transforms, innermost last."""

    def __init__(self):
        self.levels = []
        self.serial = 0
        self.looking = False


class _Watcher:
    """Sees nodes as they are made, derived from others, and evaluated."""

    def __init__(self, infinities):
        self.infinities = infinities
        self.places = {}  # address of a node: its place; a new node there replaces it
        self.work = _Work()
        self.roots = None  # of the evaluation under way
        self.suspects = {}  # in it: address of a node: (the node, group, message)

    def made(self, address):
        """A node is made."""
        if self.work.looking:
            return
        frame, inside = _user_frame(_sys._getframe(1))
        level = self.work.levels[-1] if self.work.levels else None
        if level is None or level.place is None:
            place = _Place(frame, inside)
        else:
            # In another frame the user's own rule is at work, or a checkpoint that computes again.
            ours = frame is level.frame
            if ours and level.how == "batch":
                place = level.place
            else:
                derived = f"{level.how} of [{level.name}]"
                place = _Place(frame, inside, derived, level.serial if ours else 0)
                place = place.moved(level.place) if ours else place
        self.places[address] = place

    def enter(self, how):
        """A transform begins."""
        self.work.levels.append(_Level(how))

    def follow(self, address, op):
        """A transform comes to a node: what is made from now on is derived from that."""
        if self.work.levels:
            self.work.serial += 1
            level = self.work.levels[-1]
            level.place = self.places.get(address) or _Place(None, None)
            level.name = _row_name(op)
            level.serial = self.work.serial

    def leave(self):
        """A transform ends."""
        if self.work.levels:
            self.work.levels.pop()

    def evaluated(self, op, operands, results, roots):
        """An operation has its results."""
        if self.work.looking:
            return
        self.work.looking = True
        try:
            if roots is not self.roots:
                self.roots, self.suspects = roots, {}
            self.judge(op, operands, [node for node in results if not _is_bundle(node)])
        finally:
            self.work.looking = False

    def judge(self, op, operands, results):
        """Raise if a value that should not be there has come to where the user sees it."""
        if not results:
            return
        place = self.places.get(id(results[0])) or _Place(None, None)
        suspect = None
        for node in operands:
            suspect = suspect or self.suspects.get(id(node))
        if suspect is not None and place.group != suspect[1]:
            raise FloatingPointError(suspect[2])
        found = [_count(node) for node in results]
        nans, infinities = (sum(counts) for counts in zip(*found))
        if not nans and not (infinities and self.infinities):
            return
        if suspect is None:
            if not _computes(op) or not self.is_new(operands, nans):
                return
            suspect = (None, place.group, _message(op, operands, results, found, place))
        if place.group is None or any(node is root for node in results for root in self.roots):
            raise FloatingPointError(suspect[2])
        for node in results:
            self.suspects[id(node)] = (node, *suspect[1:])

    def is_new(self, operands, nans):
        """Whether operands do not explain a result with NaN, or with infinities only."""
        given = [_count(node) for node in operands]
        if nans and not any(count for count, _ in given):
            return True
        return not nans and not any(count for counts in given for count in counts)


def _values(node):
    """The floating values of an evaluated node for NumPy, bfloat16 widened; None for others."""
    x = _handle(node)
    kind = x.dtype.name
    if kind == "bfloat16":
        bits = _np.asarray(x.view(_uint16)).astype(_np.uint32) << 16
        return bits.view(_np.float32)
    if kind.startswith(("float", "complex")):
        return _np.asarray(x)
    return None


def _count(node):
    """How many values of a node are NaN, and how many infinite."""
    values = _values(node)
    if values is None or _np.isfinite(values).all():
        return 0, 0
    nans = int(_np.isnan(values).sum())
    return nans, int((~_np.isfinite(values)).sum()) - nans


def _message(op, operands, results, found, place):
    """Which operation gave what, of what, and where it stands in the user's code."""
    node, (nans, infinities) = next(
        (node, counts) for node, counts in zip(results, found) if any(counts)
    )
    values = _values(node)
    bad = _np.isnan(values) if nans else _np.isinf(values)
    first = tuple(int(index) for index in _np.argwhere(bad)[0])
    what = "NaN" if nans else "an infinity"
    count = nans or infinities
    given = ", ".join(_kind(node) for node in operands) or "no operands"
    return (
        f"[{_row_name(op)}] gave {what} in {count} of {values.size} values of {_kind(node)}, first "
        f"at {first}, from {given}; {place}"
    )


def _kind(node):
    x = _handle(node)
    return f"{x.shape} {x.dtype.name.rstrip('_')}"


_lock = _threading.RLock()
_settings = [(False, True)]  # (on, infinities): what set_anomaly says, then the contexts entered
_suspended = []  # how what must not run while watching was before: (switch, state)
_switches = []


def _while_watching(switch):
    """Have ``switch(False)`` called while anomalies are watched; it gives how it was."""
    _switches.append(switch)
    return switch


def _apply():
    """Do what the innermost setting says."""
    on, infinities = _settings[-1]
    while _suspended:
        switch, state = _suspended.pop()
        switch(state)
    if not on:
        _watch_new_nodes(None)
        _set_watcher(None, None)
        return
    watcher = _Watcher(infinities)
    _suspended.extend([(switch, switch(False)) for switch in _switches])
    _set_watcher(watcher.evaluated, watcher)
    _watch_new_nodes(watcher.made)


class anomaly(_ContextDecorator):
    """A context in which the first NaN or infinity that an operation makes is an error naming it.

    The error says which operation, with shapes and dtypes, and the line of your code that made it;
    of a backward pass, the line of the forward operation. Arrays must be evaluated inside the
    context. It is meant for finding a fault: operations run one by one, uncompiled.

    Args:
        on (bool): False lets pass what an outer context would catch. Default: ``True``.
        infinities (bool): False looks for NaN alone. Default: ``True``.

    Raises:
        FloatingPointError: From evaluation in the context.

    Example:
        >>> import mlxc.core as mx
        >>> with mx.debug.anomaly():
        ...     try:
        ...         mx.eval(mx.log(mx.array([1.0, -1.0])).sum())
        ...     except FloatingPointError as error:
        ...         print(str(error).split(";")[0])
        [log] gave NaN in 1 of 2 values of (2,) float32, first at (1,), from (2,) float32
    """

    def __init__(self, on=True, infinities=True):
        self._setting = (bool(on), bool(infinities))
        self._entered = []

    def __enter__(self):
        with _lock:
            setting = list(self._setting)  # a list is itself alone: contexts may end in any order
            self._entered.append(setting)
            _settings.append(setting)
            _apply()
        return self

    def __exit__(self, *error):
        with _lock:
            setting = self._entered.pop()
            _settings[:] = [other for other in _settings if other is not setting]
            _apply()
        return False


def set_anomaly(on, infinities=True):
    """Watch for anomalies from now on, as the context ``anomaly`` does, or stop to.

    Args:
        on (bool): Whether to watch.
        infinities (bool): False looks for NaN alone. Default: ``True``.

    Returns:
        bool: Whether they were watched before.

    Example:
        >>> import mlxc.core as mx
        >>> mx.debug.set_anomaly(True)
        False
        >>> mx.debug.set_anomaly(False)
        True
    """
    with _lock:
        before = _settings[0][0]
        _settings[0] = (bool(on), bool(infinities))
        _apply()
    return before
