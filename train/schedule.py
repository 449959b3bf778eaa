"""How far a training has come at each step, and the learning rate that goes with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

# PyTorch's OneCycleLR defaults, after Smith & Topin 2018 (arXiv 1708.07120).
RISE = 0.3
START_DIVISOR = 25.0
END_DIVISOR = 1e4
MOMENTUM = (0.85, 0.95)


@dataclass
class Schedule:
    """Progress from 0 to 1 over `steps`, as straight lines between `knots` (step, progress).

    A training that must end on time may change its mind about the number of steps on the way; the knots say
    when and how, so that it can be repeated exactly.
    """

    knots: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def of_steps(cls, steps: int) -> Schedule:
        return cls([(0, 0.0), (steps, 1.0)])

    @property
    def steps(self) -> int:
        return self.knots[-1][0]

    def progress(self, step: int) -> float:
        for (a, p), (b, q) in zip(self.knots, self.knots[1:], strict=False):
            if step <= b:
                return p + (q - p) * (step - a) / (b - a)
        return 1.0

    def replan(self, step: int, remaining: int) -> None:
        """From `step` on, finish within `remaining` steps (at least one)."""
        here = (step, self.progress(step))
        self.knots = [k for k in self.knots[:-1] if k[0] < step]
        self.knots += [here, (step + max(1, remaining), 1.0)]

    def end(self, step: int) -> None:
        """Be finished with the steps done at `step`."""
        here = (step, self.progress(step))
        self.knots = [*(k for k in self.knots if k[0] < step), here]


def one_cycle(progress: float, largest: float) -> tuple[float, float]:
    """Learning rate and Adam's first momentum at `progress`: up along a cosine, then down a longer one."""
    start, end = largest / START_DIVISOR, largest / START_DIVISOR / END_DIVISOR
    if progress < RISE:
        part = progress / RISE
        return _cosine(start, largest, part), _cosine(MOMENTUM[1], MOMENTUM[0], part)
    part = (progress - RISE) / (1 - RISE)
    return _cosine(largest, end, part), _cosine(MOMENTUM[0], MOMENTUM[1], part)


def crossed(before: float, after: float, parts: int) -> bool:
    """Whether one of the `parts` equal parts of the whole ends in (before, after]."""
    # A hair is added because 3/10 of a schedule may come out as 0.29999999999999993.
    return math.floor(after * parts + 1e-9) > math.floor(before * parts + 1e-9)


def _cosine(a: float, b: float, part: float) -> float:
    return b + (a - b) * (1 + math.cos(math.pi * part)) / 2
