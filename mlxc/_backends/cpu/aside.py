"""Long calls of NumPy aside: in a thread of their own, so that the main thread, which waits,
answers Ctrl-C at once.

Rules: only the main thread gets signals, so only its calls go aside, and only long ones: LAPACK
looks for no signal. What is given up goes on in its thread to its end, on copies: the
memory of the operands may have gone to somebody else by then. The process ends after it: OpenBLAS
never ends if a thread is stopped inside of it. Waiting is for an event, since a ``join`` that
Ctrl-C leaves takes the thread for ended.
"""

import threading

import numpy as np

LONG = 1 << 26  # element operations, some ten milliseconds
PART = 1 << 20  # elements copied at once


def aside(work, launch, outs, ins, params):
    """Launch so many element operations."""
    if work < LONG or threading.current_thread() is not threading.main_thread():
        launch(outs, ins, params)
        return
    operands = [np.empty_like(x) for x in ins]
    copy(operands, ins)
    results = [np.empty_like(out) for out in outs]
    failures = []
    ended = threading.Event()

    def run():
        try:
            launch(results, operands, params)
        except BaseException as error:  # raised again by who waits
            failures.append(error)
        ended.set()

    threading.Thread(target=run, name="mlxc-aside", daemon=False).start()
    ended.wait()
    if failures:
        raise failures[0]
    copy(outs, results)


def copy(targets, sources):
    """Copy arrays part by part: signals are noticed in between."""
    for target, source in zip(targets, sources):
        if source.ndim == 0:
            target[...] = source
            continue
        rows = max(1, len(source) * PART // max(1, source.size))
        for row in range(0, len(source), rows):
            target[row : row + rows] = source[row : row + rows]
