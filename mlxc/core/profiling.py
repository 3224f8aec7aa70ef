"""profile: what evaluation spends its time on.

Steps are measured as they run: kernels under the name of their row, fused programs under the list
of rows that they compute. Time is a step's own, without evaluations that run inside of it. Where
nobody profiles, none of this runs.
"""

import json
import os
import threading
import time
from contextlib import ContextDecorator

from mlxc._graph.watching import set_profiler as _set_profiler
from mlxc._graph.watching import step_facts as _step_facts

from ._files import open_target as _open_target
from .evaluation import wait_for_all as _wait_for_all

__all__ = ["profile"]

_WIDTH = 44  # columns of a name in tables


class _Sum:
    """What runs of one kind come to."""

    __slots__ = ("bytes", "calls", "groups", "nanoseconds")

    def __init__(self):
        self.calls = self.groups = 0
        self.nanoseconds = self.bytes = 0.0

    def add(self, calls, groups, nanoseconds, count):
        self.calls += calls
        self.groups += groups
        self.nanoseconds += nanoseconds
        self.bytes += count


class profile(ContextDecorator):
    """A context that measures which operations evaluation spends its time on.

    At its end it prints a table: of every operation the calls, in how many fused groups they were,
    time and bytes read and written (what a fused group takes is shared out evenly among its
    operations, an estimate), and of every fused group the same as measured. Only what is evaluated
    inside the context is seen; evaluation in other threads is seen as well.

    Args:
        trace (str or PathLike, optional): A file to write, in the trace event format that
            ui.perfetto.dev and chrome://tracing open; ``.json`` is appended if it is missing.
        show (bool): Whether to print the table at the end. Default: ``True``.

    Raises:
        OSError: At the end, if the file cannot be written; an old one stays as it was.

    Example:
        >>> import mlxc.core as mx
        >>> with mx.profile(show=False) as p:
        ...     mx.eval(mx.exp(mx.ones((1000,))) + 1)
        >>> p.operations["exp"]["calls"]
        1
    """

    def __init__(self, trace=None, show=True):
        self._trace = None if trace is None else os.fspath(trace)
        self._show = show
        self._clear()

    def _clear(self):
        self._steps = {}  # step: (rows, bytes)
        self._groups = {}  # rows: _Sum
        self._events = []  # (name, rows, bytes, begin, end, thread), for the trace alone
        self._threads = {}  # number: name
        self._stack = []  # of evaluations and steps under way: [step, begin, time inside]
        self._evaluations = 0
        self._between = 0  # nanoseconds of evaluations outside of steps
        self._began = self._ended = time.perf_counter_ns()

    def __enter__(self):
        self._clear()
        self._outer = _set_profiler(self)
        return self

    def __exit__(self, kind, *error):
        try:
            if kind is None:
                _wait_for_all()
        finally:
            _set_profiler(self._outer)
            self._ended = time.perf_counter_ns()
        if self._show:
            print(self.table())
        if self._trace is not None:
            self._write()
        return False

    def begin(self, step):
        """Evaluation (None) or one of its steps begins."""
        if self._outer is not None:
            self._outer.begin(step)
        self._stack.append([step, time.perf_counter_ns(), 0])

    def end(self):
        """What has begun last ends."""
        now = time.perf_counter_ns()
        if self._outer is not None:
            self._outer.end()
        if not self._stack:  # it had begun before the context was entered
            return
        step, began, inside = self._stack.pop()
        if self._stack:
            self._stack[-1][2] += now - began
        if step is None:
            self._evaluations += 1
            self._between += now - began - inside
            rows, count = (), 0
        else:
            if step not in self._steps:
                self._steps[step] = _step_facts(step)
            rows, count = self._steps[step]
            self._groups.setdefault(rows, _Sum()).add(1, 1, now - began - inside, count)
        if self._trace is not None:
            thread = threading.get_native_id()
            self._threads[thread] = threading.current_thread().name
            self._events.append((rows, count, began, now, thread))

    @property
    def seconds(self):
        """Seconds that the context lasted."""
        return (self._ended - self._began) / 1e9

    @property
    def evaluations(self):
        """How many times something was evaluated."""
        return self._evaluations

    @property
    def operations(self):
        """By the name of an operation: ``calls``, ``groups`` (how many of the runs were fused with
        others), ``seconds`` and ``bytes``; most time first."""
        sums = {}
        for rows, total in self._groups.items():
            share = len(rows)
            for name in dict.fromkeys(rows):
                times = rows.count(name)
                part = times / share
                sums.setdefault(name, _Sum()).add(
                    times * total.calls,
                    total.calls if share > 1 else 0,
                    total.nanoseconds * part,
                    total.bytes * part,
                )
        return _sorted(sums)

    @property
    def groups(self):
        """By the tuple of names of what ran together: the same, as measured."""
        return _sorted(self._groups)

    def table(self):
        """What was measured as text: operations, fused groups, and the rest of evaluation."""
        whole = sum(total.nanoseconds for total in self._groups.values()) / 1e9
        lines = [_heading("operation"), *_lines(self.operations, whole)]
        fused = {"+".join(rows): facts for rows, facts in self.groups.items() if len(rows) > 1}
        if fused:
            lines += ["", _heading("fused group"), *_lines(fused, whole)]
        lines += [
            "",
            f"{self.evaluations} evaluations: {whole * 1e3:.3f} ms in steps, "
            f"{self._between / 1e6:.3f} ms around them; the context took "
            f"{self.seconds * 1e3:.3f} ms",
        ]
        return "\n".join(lines)

    def _write(self):
        process = os.getpid()
        events = [
            {
                "ph": "M",
                "name": "thread_name",
                "pid": process,
                "tid": number,
                "args": {"name": name},
            }
            for number, name in self._threads.items()
        ]
        for rows, count, began, ended, thread in self._events:
            events.append(
                {
                    "ph": "X",
                    "name": "+".join(rows) or "evaluate",
                    "cat": "step" if rows else "evaluation",
                    "ts": (began - self._began) / 1e3,  # microseconds
                    "dur": (ended - began) / 1e3,
                    "pid": process,
                    "tid": thread,
                    "args": {"operations": list(rows), "bytes": count},
                }
            )
        text = json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})
        with _open_target("profile", self._trace, ".json") as stream:
            stream.write(text.encode())


def _sorted(sums):
    """The sums as plain values, most time first."""
    order = sorted(sums, key=lambda name: -sums[name].nanoseconds)
    return {
        name: {
            "calls": sums[name].calls,
            "groups": sums[name].groups,
            "seconds": sums[name].nanoseconds / 1e9,
            "bytes": round(sums[name].bytes),
        }
        for name in order
    }


def _heading(what):
    return f"{what:{_WIDTH}} {'calls':>8} {'groups':>8} {'ms':>10} {'%':>6} {'MB':>10} {'GB/s':>7}"


def _lines(table, whole):
    for name, facts in table.items():
        label = name if len(name) <= _WIDTH else name[: _WIDTH - 3] + "..."
        seconds, count = facts["seconds"], facts["bytes"]
        yield (
            f"{label:{_WIDTH}} {facts['calls']:8} {facts['groups']:8} {seconds * 1e3:10.3f} "
            f"{100 * seconds / whole if whole else 0:6.1f} {count / 1e6:10.3f} "
            f"{count / seconds / 1e9 if seconds else 0:7.2f}"
        )
