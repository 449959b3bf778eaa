"""How much of each structure virtual tissue has to hold for its drawn labels to take the area that real ones take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuropil.simulate.appearance import drawn_numbers
from neuropil.tissue.parameters import Enrichment, TissueParameters

# Which enrichment sets the share of the area that a class's labels take.
SHARES_SET_BY: Mapping[str, str] = {
    "share mitochondrion": "mitochondria",
    "share vesicle": "vesicles",
    "share psd": "synapses",
}
# Steps at most, and how near (ratio) all shares have to be for the last of them to be it.
STEPS, NEAR = 4, 1.05
# Least and largest enrichment tried, and the longest step by which it is multiplied.
_LEAST, _LONGEST = 0.1, 2.5
# Slopes of ln share over ln enrichment that a secant may have: tissue is drawn anew, so a short one may say anything.
_SLOPES = (0.4, 1.5)

Draw = Callable[[TissueParameters], Sequence[Any]]


@dataclass(frozen=True)
class CompositionStep:
    """An enrichment that was tried, and the shares of the area that its labels took."""

    enrichment: dict[str, float]
    shares: dict[str, float]

    def farthest(self, goal: Mapping[str, float]) -> float:
        """The largest |ln| of a share over the real one's; what the labels lack counts as tenfold too little."""
        return max(abs(_log_ratio(goal, self.shares, name)) for name in _wanted(goal))


def _wanted(goal: Mapping[str, float]) -> list[str]:
    return [name for name in SHARES_SET_BY if name in goal]


def _log_ratio(goal: Mapping[str, float], shares: Mapping[str, float], name: str) -> float:
    return math.log(goal[name] / max(shares.get(name, 0.0), 0.1 * goal[name]))


def fit_composition(
    goal: Mapping[str, float], parameters: TissueParameters, drawn: Draw, step: Callable[[str], None]
) -> tuple[TissueParameters, list[CompositionStep]]:
    """The parameters with the enrichment whose labels' shares come nearest to the goal's, and the steps taken.

    goal: numbers by the names of `appearance`; without a share that an enrichment sets nothing changes. drawn: labels
    (n, y, x) of each block of tissue of some parameters. Shares are brought nearer by secants on logarithms, each
    enrichment by its own.
    """
    names = _wanted(goal)
    if not names:
        return parameters, []
    tried: list[CompositionStep] = []
    enrichment = parameters.enrichment
    for number in range(STEPS):
        labels = drawn(parameters.model_copy(update={"enrichment": enrichment}))
        measured = [drawn_numbers(field) for field in labels]
        shares = {n: sum(one.get(n, 0.0) for one in measured) / len(measured) for n in names}
        tried.append(CompositionStep(enrichment.model_dump(), shares))
        off = tried[-1].farthest(goal)
        said = ", ".join(f"{n.removeprefix('share ')} {shares[n]:.4f} of {goal[n]:.4f}" for n in names)
        step(f"tissue {number + 1}: {said}")
        if off < math.log(NEAR):
            break
        enrichment = _next(goal, tried)
    best = min(tried, key=lambda one: one.farthest(goal))
    return parameters.model_copy(update={"enrichment": Enrichment(**best.enrichment)}), tried


def _next(goal: Mapping[str, float], tried: Sequence[CompositionStep]) -> Enrichment:
    """The enrichment that the last two steps say will meet the goal."""
    here, changed = tried[-1], {}
    for name in _wanted(goal):
        key = SHARES_SET_BY[name]
        slope = 1.0
        if len(tried) > 1:
            before = tried[-2]
            ran = math.log(here.enrichment[key] / before.enrichment[key])
            if abs(ran) > 0.05:
                rose = _log_ratio(goal, before.shares, name) - _log_ratio(goal, here.shares, name)
                slope = min(max(rose / ran, _SLOPES[0]), _SLOPES[1])
        factor = math.exp(_log_ratio(goal, here.shares, name) / slope)
        limit = next(m.le for m in Enrichment.model_fields[key].metadata if hasattr(m, "le"))
        value = here.enrichment[key] * min(max(factor, 1.0 / _LONGEST), _LONGEST)
        changed[key] = round(min(max(value, _LEAST), float(limit)), 3)
    return Enrichment(**(here.enrichment | changed))
