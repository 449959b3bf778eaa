"""Fitting a training to a time: how many steps fit, and what to do when the machine becomes slower or faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .schedule import Schedule

# Fraction of the time budget kept for writing the model.
RESERVE = 0.03
# A plan that is off by less than this is kept.
WORTH_REPLANNING = 0.02


def affordable_steps(budget_seconds: float, spent: float, step_seconds: float, validations_seconds: float) -> int:
    """Steps that fit into what is left of a time budget after `spent`, at least one."""
    left = budget_seconds * (1 - RESERVE) - spent - validations_seconds
    return max(1, int(left / step_seconds))


def keep_to_time(
    schedule: Schedule,
    step: int,
    budget_seconds: float,
    spent: float,
    step_seconds: float,
    curve: Sequence[Mapping[str, float]],
    validations: int,
    regular: bool,
) -> None:
    """Change the number of steps where the machine is slower or faster than planned: at `regular` times, and at once
    where time is up. What the validations still to come will take follows from those in `curve`."""
    taken = [row["validation_seconds"] for row in curve if "validation_seconds" in row]
    missing = (validations - len(taken)) * max(taken, default=0.0)
    remaining = int((budget_seconds * (1 - RESERVE) - spent - missing) / step_seconds)
    planned = schedule.steps - step
    if (regular and planned and abs(remaining - planned) > WORTH_REPLANNING * planned) or remaining < 1 < planned:
        schedule.replan(step, remaining)
