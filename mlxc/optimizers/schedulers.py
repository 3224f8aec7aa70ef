"""Schedules: functions from the step, a number or an array, to a learning rate.

Rules: a schedule keeps no state, so that it can be resumed, joined and compiled.
"""

import math

import mlxc.core as mx


def exponential_decay(init, decay_rate):
    """``init · decay_rate^step``.

    Args:
        init (float): first value.
        decay_rate (float): factor of every step.

    Example:
        >>> exponential_decay(0.5, 0.5)(2)
        0.125
    """

    def schedule(step):
        return init * decay_rate**step

    return schedule


def step_decay(init, decay_rate, step_size):
    """``init · decay_rate^floor(step / step_size)``.

    Args:
        init (float): first value.
        decay_rate (float): factor of every ``step_size`` steps.
        step_size (int): steps between two factors.

    Raises:
        ValueError: when ``step_size`` is below one.

    Example:
        >>> step_decay(0.5, 0.5, 10)(25)
        0.125
    """
    if step_size <= 0:
        raise ValueError(f"step_size must be greater than 0, but got {step_size}.")

    def schedule(step):
        return init * (decay_rate ** (step // step_size))

    return schedule


def cosine_decay(init, decay_steps, end=0.0):
    """Half a cosine from ``init`` to ``end`` (Loshchilov, Hutter, "SGDR", 2017, eq. 5).

    Args:
        init (float): first value.
        decay_steps (int): steps until ``end``, which stays from there.
        end (float): last value. Default: ``0``.

    Raises:
        ValueError: when ``decay_steps`` is below one.

    Example:
        >>> round(cosine_decay(1.0, 10)(5).item(), 4)
        0.5
    """
    if decay_steps <= 0:
        raise ValueError(f"decay_steps must be greater than 0, but got {decay_steps}.")

    def schedule(step):
        done = mx.minimum(step, decay_steps)
        decay = 0.5 * (1.0 + mx.cos((math.pi / decay_steps) * done))
        return end + decay * (init - end)

    return schedule


def linear_schedule(init, end, steps):
    """A straight line from ``init`` to ``end``.

    Args:
        init (float): first value.
        end (float): last value.
        steps (int): steps until ``end``, which stays from there.

    Raises:
        ValueError: when ``steps`` is below one.

    Example:
        >>> linear_schedule(0.0, 1.0, 4)(1).item()
        0.25
    """
    if steps < 1:
        raise ValueError(f"steps must be greater than 0, but got {steps}.")

    def schedule(step):
        done = mx.minimum(step, steps)
        return done * ((end - init) / steps) + init

    return schedule


def join_schedules(schedules, boundaries):
    """Run schedules one after the other; each counts steps from its own beginning.

    Args:
        schedules (list[callable]): the schedules.
        boundaries (list[int]): the steps at which the second, third, … begins.

    Raises:
        ValueError: when there is no schedule, or not one boundary less than schedules.

    Example:
        >>> warm = join_schedules([linear_schedule(0.0, 1.0, 4), cosine_decay(1.0, 10)], [4])
        >>> warm(2).item(), warm(4).item()
        (0.5, 1.0)
    """
    if len(schedules) == 0:
        raise ValueError("Must provide at least 1 schedule to join.")
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(
            f"Received {len(boundaries)} boundaries but expected {len(schedules) - 1}."
        )

    def schedule(step):
        value = schedules[0](step)
        for boundary, following in zip(boundaries, schedules[1:], strict=True):
            # Never below 0, where unsigned steps would wrap around.
            since = mx.maximum(step, boundary) - boundary
            value = mx.where(step < boundary, value, following(since))
        return value

    return schedule
